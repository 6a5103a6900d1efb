/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_tree_check() and vm_map_check(): every invariant that
 * docs/design/vm_map.md tags, in the order of that page.  The text begins with
 * the tag.
 */

#include "core/vm_map_int.h"

/* The tree, leaf by leaf in order of address. */

struct tree_walk {
	const struct vm_tree *tree;
	const struct vm_leaf *first;
	vm_offset_t next; /* where the next leaf must begin */
	uint64_t nentries;
	const char *bad; /* the first broken invariant */
};

static void
walk_expect(struct tree_walk *walk, bool cond, const char *what)
{
	if (!cond && walk->bad == NULL)
		walk->bad = what;
}

static uint32_t
page_of(const struct vm_leaf *leaf, vm_offset_t addr)
{
	return (uint32_t)((addr - leaf->base) >> leaf->pageshift);
}

static void
check_fill(struct tree_walk *walk, unsigned count, unsigned least,
    unsigned most)
{
	walk_expect(walk, count >= least && count <= most,
	    "[tree.fill] a node has too few or too many slots");
}

static void
check_leaf(struct tree_walk *walk, const struct vm_leaf *leaf)
{
	bool far = false;

	if (leaf->count == 0 || leaf->count > VM_LEAF_FANOUT)
		return; /* [tree.fill] has been said */
	if (walk->first == NULL)
		walk->first = leaf;
	walk_expect(walk, vm_leaf_start(leaf, 0) == walk->next,
	    "[tree.limit] a leaf does not begin where the last one says");
	walk_expect(walk, leaf->base <= vm_leaf_start(leaf, 0),
	    "[tree.bounds] a leaf begins in front of its base");
	for (unsigned i = 0; i < leaf->count; i++) {
		struct vm_map_entry *entry = vm_leaf_entry(leaf, i);
		bool first = leaf == walk->first && i == 0;

		walk_expect(walk,
		    vm_leaf_end(leaf, i) <= vm_leaf_gap_end(leaf, i),
		    "[map.order] entries overlap or are out of order");
		walk_expect(walk, first == (entry == NULL),
		    "[tree.header] the header is not the first slot alone");
		if (entry == NULL) {
			walk_expect(walk,
			    leaf->base == walk->tree->min &&
				leaf->start[0] == 0 && leaf->item[0] == 0,
			    "[tree.header] the header has a length");
			continue;
		}
		walk_expect(walk, entry->start < entry->end,
		    "[map.order] an entry is empty");
		walk_expect(walk,
		    leaf->start[i] == page_of(leaf, entry->start) &&
			leaf->item[i] == vm_leaf_item(leaf, entry->start,
					     entry->end, entry) &&
			entry->start == vm_leaf_start(leaf, i) &&
			entry->end == vm_leaf_end(leaf, i),
		    "[tree.bounds] a leaf and its entry disagree");
		far |= vm_item_is_far(leaf->item[i]);
		walk->nentries++;
	}
	walk_expect(walk, leaf->far == far,
	    "[tree.far] a leaf does not know of a length, or of one too many");
	walk_expect(walk,
	    leaf->wide == ((vm_leaf_end(leaf, leaf->count - 1) - leaf->base) >>
			      leaf->pageshift > UINT32_MAX),
	    "[tree.wide] a leaf does not know how far it reaches");
	walk->next = leaf->limit;
}

/* The column of a leaf, one gap after the other. */
static struct vm_fit
plain_fit(const struct vm_tree *tree, const struct vm_leaf *leaf)
{
	struct vm_fit fit = vm_fit_all(0);

	for (unsigned i = 0; i < leaf->count; i++)
		fit = vm_fit_max(fit, vm_gap_fit(tree, vm_leaf_end(leaf, i),
					  vm_leaf_gap_end(leaf, i)));
	return fit;
}

static struct vm_fit
check_subtree(struct tree_walk *walk, const void *p, unsigned level,
    vm_offset_t key, bool isroot)
{
	const struct vm_tree *tree = walk->tree;
	const struct vm_node *node = p;
	struct vm_fit most = vm_fit_all(0);

	if (level == 0) {
		const struct vm_leaf *leaf = p;

		check_fill(walk, leaf->count,
		    isroot || leaf->limit == tree->max ? 1 : VM_LEAF_MINFILL,
		    VM_LEAF_FANOUT);
		walk_expect(walk, vm_leaf_start(leaf, 0) == key,
		    "[tree.key] a key is not the first start below it");
		check_leaf(walk, leaf);
		return walk->bad == NULL ? plain_fit(tree, leaf) : most;
	}
	check_fill(walk, node->count, isroot ? 2 : VM_NODE_MINFILL,
	    VM_NODE_FANOUT);
	for (unsigned i = node->count; i < VM_NODE_FANOUT; i++)
		walk_expect(walk,
		    node->key[i] == VM_TREE_NOWHERE &&
			(node->fit[0][i] | node->fit[1][i] | node->fit[2][i]) ==
			    0,
		    "[tree.blank] a search may find a slot without a child");
	for (unsigned i = 0; i < VM_NODE_PIVOTS; i++)
		walk_expect(walk, node->pivot[i] == node->key[8 * i],
		    "[tree.pivot] a pivot is not its key");
	walk_expect(walk, node->key[0] == key,
	    "[tree.key] a key is not the first start below it");
	for (unsigned i = 0; i < node->count && walk->bad == NULL; i++) {
		struct vm_fit fit = check_subtree(walk, node->child[i],
		    level - 1, node->key[i], false);

		for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
			walk_expect(walk,
			    node->fit[a][i] == (uint32_t)fit.pages[a],
			    "[tree.fit] a column is not the largest fit below");
		most = vm_fit_max(most, fit);
	}
	return most;
}

/* The remembered place is where a search would arrive. */
static void
check_finger(struct tree_walk *walk)
{
	const struct vm_tree *tree = walk->tree;
	struct vm_cursor cur;
	bool same;

	if (tree->finger_end == VM_TREE_NOWHERE || walk->bad != NULL)
		return;
	vm_tree_seek(tree, tree->finger_end - 1, &cur);
	same = cur.leaf == tree->finger.leaf && cur.slot == tree->finger.slot &&
	       vm_leaf_end(cur.leaf, cur.slot) == tree->finger_end;
	for (unsigned level = 0; level < tree->height; level++)
		same &= cur.node[level] == tree->finger.node[level] &&
			cur.at[level] == tree->finger.at[level];
	walk_expect(walk, same, "[tree.finger] it points to another place");
}

const char *
vm_tree_check(const struct vm_tree *tree)
{
	struct tree_walk walk = {.tree = tree, .next = tree->min};

	(void)check_subtree(&walk, tree->root, tree->height, tree->min, true);
	walk_expect(&walk, walk.next == tree->max,
	    "[tree.limit] the last leaf does not end at the map's end");
	walk_expect(&walk, walk.nentries == tree->count,
	    "[map.count] the tree has not as many entries as it says");
	check_finger(&walk);
	return walk.bad;
}

/* The entries. */

struct check {
	vm_map_t map;
	vm_size_t size, user_wired, charge;
	const char *bad; /* the first broken invariant */
};

static void
expect(struct check *check, bool cond, const char *what)
{
	MPASS(cond || what != NULL);

	if (!cond && check->bad == NULL)
		check->bad = what;
}

static void
check_rights(struct check *check, const struct vm_map_entry *entry)
{
	expect(check, (entry->protection & ~entry->max_protection) == 0,
	    "[map.rights] an entry has rights beyond its maximum");
	expect(check, (entry->gap_prot & ~entry->gap_max) == 0,
	    "[map.rights] a stack gap has rights beyond its maximum");
	expect(check, entry->max_protection <= VM_PROT_ALL,
	    "[map.rights] unknown rights");
	expect(check,
	    entry->inheritance >= VM_INHERIT_SHARE &&
		entry->inheritance <= VM_INHERIT_ZERO,
	    "[map.rights] unknown inheritance");
}

static void
check_bare(struct check *check, const struct vm_map_entry *entry)
{
	expect(check, !entry->bare || vm_entry_is_bare(entry),
	    "[map.bare] a leaf says that an entry holds nothing, but it does");
}

static void
check_guard(struct check *check, const struct vm_map_entry *entry)
{
	if (!entry_is_guard(entry)) {
		expect(check, (entry->eflags & MAP_ENTRY_STACK_GAP) == 0,
		    "[map.guard] a stack gap that is no guard");
		return;
	}
	expect(check, entry->object.vm_object == NULL,
	    "[map.guard] a guard has an object");
	expect(check, !entry->cred, "[map.guard] a guard is charged");
	expect(check, entry->wired_count == 0, "[map.guard] a guard is wired");
	expect(check, entry->max_protection == VM_PROT_NONE,
	    "[map.guard] a guard has rights");
}

static void
check_wiring(struct check *check, const struct vm_map_entry *entry)
{
	expect(check, entry->wired_count >= 0,
	    "[map.wired] an entry is wired less than never");
	expect(check, entry_system_wired(entry) >= 0,
	    "[map.wired] an entry is user-wired but not wired");
	expect(check,
	    (entry->eflags &
		(MAP_ENTRY_IN_TRANSITION | MAP_ENTRY_WIRE_SKIPPED)) == 0,
	    "[map.wired] an entry is left in transition");
	if ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0)
		check->user_wired += entry_size(entry);
}

static void
check_object(struct check *check, const struct vm_map_entry *entry)
{
	vm_object_t object = entry->object.vm_object;
	const char *bad;

	if (object == NULL || (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		return;
	bad = vm_object_check(object);
	expect(check, bad == NULL, bad);
	expect(check,
	    !entry->cred || vm_object_cred(object) == NULL ||
		(entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0,
	    "[map.charge] entry and object are both charged");
}

static void
check_entry(struct check *check, const struct vm_map_entry *entry)
{
	vm_map_t map = check->map;

	vm_map_assert_locked(map);

	expect(check, ((entry->start | entry->end) & (map->pagesize - 1)) == 0,
	    "[map.page] an entry is not page aligned");
	expect(check, !entry->pending,
	    "[map.charge] an entry is left half charged");
	check_rights(check, entry);
	check_bare(check, entry);
	check_guard(check, entry);
	check_wiring(check, entry);
	check_object(check, entry);
	if (!entry_is_guard(entry))
		check->size += entry_size(entry);
	if (entry->cred)
		check->charge += entry_size(entry);
}

const char *
vm_map_check(vm_map_t map)
{
	struct check check = {.map = map};
	struct vm_map_entry *entry, *prev = NULL;
	struct vm_cursor cur;

	vm_map_assert_locked(map);

	check.bad = vm_tree_check(&map->tree);
	if (check.bad != NULL)
		return check.bad;
	for (entry = vm_map_seek_next(map, map->tree.min, &cur); entry != NULL;
	     entry = vm_map_next(map, &cur)) {
		check_entry(&check, entry);
		expect(&check,
		    map->unmerged || prev == NULL ||
			!vm_map_mergeable(prev, entry),
		    "[map.merge] two neighbours should be one entry");
		prev = entry;
	}
	expect(&check, check.size == map->size,
	    "[map.size] the size is not the sum of the entries");
	expect(&check, check.user_wired == map->user_wired,
	    "[map.wired] the user-wired sum is wrong");
	expect(&check, check.charge <= vm_account_reserved(map->account),
	    "[map.charge] entries are charged more than is reserved");
	return check.bad;
}
