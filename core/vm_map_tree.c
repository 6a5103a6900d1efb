/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Edits of the entry tree.
 *
 *	index   | key fit child | key fit child | ...       level 2
 *	             |
 *	index   | key fit child | ...                        level 1
 *	             |
 *	leaf    | hdr )   gap   [ entry )  [ entry ) gap  |   count slots
 *
 * An edit changes one leaf, then the columns above it as far as they change.
 * The gap in front of a leaf's first entry belongs to the leaf before, so
 * edits of slot 0 touch two leaves.  Keys are exact: the key of a child is the
 * start of the first entry below it, and the first leaf begins with a header
 * that never goes, so no search falls off the left side of a child.
 *
 * Every leaf but the last, and every index node but the root, is at least a
 * quarter full.  A full leaf gives a sibling half of what that has room for;
 * where both are full too it splits in the middle, or leaves nearly all behind
 * when it grows at the end of the map.  One that gets too small joins a sibling
 * or borrows from it.
 */

#include <string.h>

#include "core/kassert.h"
#include "core/vm_map_int.h"

#define LEAF_APPEND (VM_LEAF_FANOUT - VM_LEAF_FANOUT / 6) /* left behind */
#define LEAF_JOIN   (VM_LEAF_FANOUT - VM_LEAF_FANOUT / 4) /* at most, of two */
#define LEAF_ROOMY  (VM_LEAF_FANOUT - VM_LEAF_FANOUT / 4) /* at most */
#define NODE_APPEND (VM_NODE_FANOUT - VM_NODE_MINFILL)
#define NODE_JOIN   (VM_NODE_FANOUT - VM_NODE_MINFILL)

/* Bounds in leaves. */

/* The pages from one base to another, modulo 2^32. */
static uint32_t
base_distance(const struct vm_leaf *leaf, vm_offset_t from, vm_offset_t to)
{
	return (uint32_t)((to - from) >> leaf->pageshift);
}

static vm_offset_t
leaf_last_end(const struct vm_leaf *leaf)
{
	return vm_leaf_end(leaf, leaf->count - 1);
}

/* Count from another base; bounds stay right modulo 2^32. */
static void
leaf_rebase(struct vm_leaf *leaf, vm_offset_t base)
{
	uint32_t shift = base_distance(leaf, base, leaf->base);
	vm_offset_t end = leaf_last_end(leaf);

	MPASS((base & (((vm_offset_t)1 << leaf->pageshift) - 1)) == 0);

	for (unsigned i = 0; i < leaf->count; i++)
		leaf->start[i] += shift;
	leaf->base = base;
	leaf->wide = vm_leaf_reaches(leaf, end);
}

/*
 * Slots [from, from + n) of one leaf to [to, to + n) of another, which may then
 * seem further than it is.
 */
static void
leaf_copy(struct vm_leaf *dst, unsigned to, const struct vm_leaf *src,
    unsigned from, unsigned n)
{
	uint32_t shift = base_distance(src, dst->base, src->base);

	MPASS(to + n <= VM_LEAF_FANOUT && from + n <= VM_LEAF_FANOUT);

	for (unsigned i = 0; i < n; i++)
		dst->start[to + i] = src->start[from + i] + shift;
	memcpy(dst->item + to, src->item + from, n * sizeof(dst->item[0]));
	dst->far |= src->far;
}

/* Slots [from, count) of one leaf to [to, ...) of the same. */
static void
leaf_slide(struct vm_leaf *leaf, unsigned to, unsigned from)
{
	unsigned n = leaf->count - from;

	MPASS(from <= leaf->count && to + n <= VM_LEAF_FANOUT);

	memmove(leaf->start + to, leaf->start + from,
	    n * sizeof(leaf->start[0]));
	memmove(leaf->item + to, leaf->item + from, n * sizeof(leaf->item[0]));
}

/* Columns. */

static struct vm_fit
leaf_fit(const struct vm_tree *tree, const struct vm_leaf *leaf)
{
	MPASS(leaf->count > 0 && leaf->count <= VM_LEAF_FANOUT);

	return tree->isa->leaf_fit(tree, leaf);
}

static struct vm_fit
node_fit(const struct vm_tree *tree, const struct vm_node *node)
{
	MPASS(node->count > 0 && node->count <= VM_NODE_FANOUT);

	return tree->isa->node_fit(node, 0, vm_column_get(node, 0));
}

/* The leaf at the cursor changed in some way. */
static void
leaf_changed(struct vm_tree *tree, struct vm_cursor *cur)
{
	if (tree->height > 0)
		tree->isa->column_update(cur, 1, tree->height,
		    leaf_fit(tree, cur->leaf));
}

static void
node_set_key(struct vm_node *node, unsigned slot, vm_offset_t key)
{
	MPASS(slot < node->count);

	node->key[slot] = key;
	if (slot % 8 == 0)
		node->pivot[slot / 8] = key;
}

/* The first entry of the cursor's leaf now starts at `key`. */
static void
key_update(struct vm_tree *tree, struct vm_cursor *cur, vm_offset_t key)
{
	unsigned slot;

	/* The header is the first of all: not every slot on the way is 0. */
	for (unsigned level = 1;; level++) {
		MPASS(level <= tree->height);
		slot = cur->at[level - 1];
		node_set_key(cur->node[level - 1], slot, key);
		if (slot > 0)
			return;
	}
}

/* Steps. */

/* The cursor to the leaf beside it; false at the end of the tree. */
static bool
cursor_move_leaf(const struct vm_tree *tree, struct vm_cursor *cur, int step)
{
	unsigned level = 1;
	void *p;

	MPASS(step == 1 || step == -1);

	while (
	    level <= tree->height &&
	    (step < 0 ? cur->at[level - 1] == 0
		      : cur->at[level - 1] + 1 == cur->node[level - 1]->count))
		level++;
	if (level > tree->height)
		return false;

	cur->at[level - 1] += (unsigned)step;
	p = cur->node[level - 1]->child[cur->at[level - 1]];
	while (--level > 0) {
		struct vm_node *node = p;

		cur->node[level - 1] = node;
		cur->at[level - 1] = step < 0 ? node->count - 1 : 0;
		p = node->child[cur->at[level - 1]];
	}
	cur->leaf = p;
	cur->slot = step < 0 ? cur->leaf->count - 1 : 0;
	return true;
}

bool
vm_tree_next(const struct vm_tree *tree, struct vm_cursor *cur)
{
	MPASS(cur->slot < cur->leaf->count);

	if (cur->slot + 1 < cur->leaf->count) {
		cur->slot++;
		return true;
	}
	return cursor_move_leaf(tree, cur, 1);
}

bool
vm_tree_prev(const struct vm_tree *tree, struct vm_cursor *cur)
{
	MPASS(cur->slot < cur->leaf->count);

	if (cur->slot > 0) {
		cur->slot--;
		return true;
	}
	return cursor_move_leaf(tree, cur, -1);
}

bool
vm_tree_fit_finger(const struct vm_tree *tree, const struct vm_gap_req *req,
    struct vm_cursor *cur, vm_offset_t *addrp)
{
	const struct vm_cursor *at = &tree->finger;
	vm_offset_t end = vm_cursor_gap_end(at);

	MPASS(vm_cursor_gap_start(at) == req->start);

	if (vm_gap_usable(req->start, end, req->align, req->phase) <
	    req->length)
		return false;
	*addrp = req->start + ((req->phase - req->start) & (req->align - 1));
	cur->leaf = at->leaf;
	cur->slot = at->slot;
	for (unsigned level = 0; level < tree->height; level++) {
		cur->node[level] = at->node[level];
		cur->at[level] = at->at[level];
	}
	return true;
}

/* Growing. */

/* Keys have moved. */
static void
node_pivot(struct vm_node *node)
{
	for (unsigned i = 0; i < VM_NODE_PIVOTS; i++)
		node->pivot[i] = node->key[8 * i];
}

/* Slots [from, to) of an index node are not in use any more. */
static void
node_blank(struct vm_node *node, unsigned from, unsigned to)
{
	MPASS(from <= to && to <= VM_NODE_FANOUT);

	for (unsigned i = from; i < to; i++) {
		node->key[i] = VM_TREE_NOWHERE;
		for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
			node->fit[a][i] = 0;
	}
	node_pivot(node);
}

static struct vm_node *
node_new(struct vm_tree *tree)
{
	struct vm_node *node = uma_zalloc_reserved(&tree->nodes);

	node->count = 0;
	node_blank(node, 0, VM_NODE_FANOUT);
	return node;
}

/* Move slots [from, count) of `left` to the empty `right`. */
static void
leaf_move_tail(struct vm_leaf *left, unsigned from, struct vm_leaf *right)
{
	MPASS(0 < from && from < left->count);

	right->pageshift = left->pageshift;
	right->base = vm_leaf_start(left, from);
	right->limit = left->limit;
	right->count = left->count - from;
	right->wide = vm_leaf_reaches(right, leaf_last_end(left));
	right->far = false;
	leaf_copy(right, 0, left, from, right->count);
	left->limit = right->base;
	left->count = from;
	vm_leaf_narrow(left);
	vm_leaf_narrow(right);
}

static void
node_move_tail(struct vm_node *left, unsigned from, struct vm_node *right)
{
	unsigned n = left->count - from;

	MPASS(from < left->count);

	memcpy(right->key, left->key + from, n * sizeof(right->key[0]));
	memcpy(right->child, left->child + from, n * sizeof(right->child[0]));
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		memcpy(right->fit[a], left->fit[a] + from,
		    n * sizeof(right->fit[a][0]));
	node_blank(left, from, left->count);
	node_pivot(right);
	right->count = n;
	left->count = from;
}

/* Make room for one slot at `slot`; it is to be filled. */
static void
node_open(struct vm_node *node, unsigned slot)
{
	unsigned n = node->count - slot;

	MPASS(node->count < VM_NODE_FANOUT && slot <= node->count);

	memmove(node->key + slot + 1, node->key + slot,
	    n * sizeof(node->key[0]));
	memmove(node->child + slot + 1, node->child + slot,
	    n * sizeof(node->child[0]));
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		memmove(node->fit[a] + slot + 1, node->fit[a] + slot,
		    n * sizeof(node->fit[a][0]));
	node->count++;
}

static void
node_close(struct vm_node *node, unsigned slot)
{
	unsigned n = node->count - slot - 1;

	MPASS(slot < node->count);

	memmove(node->key + slot, node->key + slot + 1,
	    n * sizeof(node->key[0]));
	memmove(node->child + slot, node->child + slot + 1,
	    n * sizeof(node->child[0]));
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		memmove(node->fit[a] + slot, node->fit[a] + slot + 1,
		    n * sizeof(node->fit[a][0]));
	node->count--;
	node_blank(node, node->count, node->count + 1);
}

/* A new root above the old one, which becomes its only child. */
static void
tree_grow(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_node *root = node_new(tree);

	MPASS(tree->height < VM_TREE_DEPTH);

	root->count = 1;
	node_set_key(root, 0, tree->min);
	root->child[0] = tree->root;
	vm_column_set(root, 0, vm_fit_all(0)); /* node_add() sets it */
	tree->root = root;
	cur->node[tree->height] = root;
	cur->at[tree->height] = 0;
	tree->height++;
}

static void
node_put(struct vm_node *node, unsigned slot, vm_offset_t key, void *child,
    struct vm_fit fit)
{
	node_open(node, slot);
	node->key[slot] = key;
	node_pivot(node);
	node->child[slot] = child;
	vm_column_set(node, slot, fit);
}

/*
 * Put `child` behind the cursor's child at `level` - 1, whose column is now
 * `left`.  The cursor stays where it is.  The two together have the gaps that
 * the one had, so nothing changes above, unless the node splits in turn.
 */
static void
node_add(struct vm_tree *tree, struct vm_cursor *cur, unsigned level,
    struct vm_fit left, vm_offset_t key, void *child, struct vm_fit fit)
{
	struct vm_node *node, *right;
	unsigned slot, keep;

	MPASS(level > 0);

	if (level > tree->height)
		tree_grow(tree, cur);
	node = cur->node[level - 1];
	slot = cur->at[level - 1];
	vm_column_set(node, slot, left);
	if (node->count < VM_NODE_FANOUT) {
		node_put(node, slot + 1, key, child, fit);
		return;
	}

	keep = slot == node->count - 1 ? NODE_APPEND : VM_NODE_FANOUT / 2;
	right = node_new(tree);
	node_move_tail(node, keep, right);
	if (slot < keep)
		node_put(node, slot + 1, key, child, fit);
	else
		node_put(right, slot - keep + 1, key, child, fit);
	node_add(tree, cur, level + 1, node_fit(tree, node), right->key[0],
	    right, node_fit(tree, right));
	if (slot >= keep) {
		cur->node[level - 1] = right;
		cur->at[level - 1] = slot - keep;
		cur->at[level]++;
	}
}

/* Shrinking. */

/* The first `n` slots of `right` to the end of `left`, its neighbour. */
static void
leaf_shift_left(struct vm_leaf *left, struct vm_leaf *right, unsigned n)
{
	bool wide =
	    left->wide || vm_leaf_reaches(left, vm_leaf_end(right, n - 1));

	MPASS(0 < n && n <= right->count && left->count + n <= VM_LEAF_FANOUT);

	left->limit = n < right->count ? vm_leaf_start(right, n) : right->limit;
	leaf_copy(left, left->count, right, 0, n);
	left->count += n;
	left->wide = wide;
	vm_leaf_narrow(left);
	leaf_slide(right, 0, n);
	right->count -= n;
	if (right->count > 0) {
		leaf_rebase(right, left->limit);
		vm_leaf_narrow(right);
	}
}

/* The last `n` slots of `left` to the front of `right`. */
static void
leaf_shift_right(struct vm_leaf *left, struct vm_leaf *right, unsigned n)
{
	unsigned from = left->count - n;
	vm_offset_t base = vm_leaf_start(left, from);

	MPASS(0 < n && n < left->count && right->count + n <= VM_LEAF_FANOUT);

	leaf_rebase(right, base);
	leaf_slide(right, n, 0);
	leaf_copy(right, 0, left, from, n);
	right->count += n;
	left->count = from;
	left->limit = base;
	vm_leaf_narrow(left);
	vm_leaf_narrow(right);
}

/*
 * Half of what a leaf beside the full one has room for goes there: leaves are
 * fuller that way, so there are fewer.  Columns and keys further up stay, as
 * the two have the same gaps as before.
 */
static void
leaves_even(struct vm_tree *tree, struct vm_node *parent, unsigned slot)
{
	struct vm_leaf *left = parent->child[slot];
	struct vm_leaf *right = parent->child[slot + 1];
	unsigned half = (left->count + right->count) / 2;

	MPASS(slot + 1 < parent->count);

	if (left->count < half)
		leaf_shift_left(left, right, half - left->count);
	else
		leaf_shift_right(left, right, left->count - half);
	vm_column_set(parent, slot, leaf_fit(tree, left));
	vm_column_set(parent, slot + 1, leaf_fit(tree, right));
	node_set_key(parent, slot + 1, vm_leaf_start(right, 0));
}

static bool
leaf_has_room(const struct vm_node *parent, unsigned slot)
{
	const struct vm_leaf *leaf;

	if (slot >= parent->count)
		return false;
	leaf = parent->child[slot];
	return leaf->count <= LEAF_ROOMY;
}

/* Make room in the full leaf at the cursor without a new one, if possible. */
static bool
leaf_relieve(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_node *parent = cur->node[0];
	unsigned at = cur->at[0], left;
	struct vm_leaf *first;

	if (leaf_has_room(parent, at + 1)) {
		left = at;
	} else if (at > 0 && leaf_has_room(parent, at - 1)) {
		left = at - 1;
		first = parent->child[left];
		cur->slot += first->count;
	} else {
		return false;
	}
	leaves_even(tree, parent, left);
	/* The cursor counts from the first of the two. */
	first = parent->child[left];
	cur->at[0] = cur->slot < first->count ? left : left + 1;
	if (cur->at[0] != left)
		cur->slot -= first->count;
	cur->leaf = parent->child[cur->at[0]];
	return true;
}

void
vm_tree_split_leaf(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_leaf *left = cur->leaf, *right;
	bool append = cur->slot == left->count - 1 && left->limit == tree->max;
	unsigned keep = append ? LEAF_APPEND : VM_LEAF_FANOUT / 2;

	MPASS(left->count == VM_LEAF_FANOUT);

	if (!append && tree->height > 0 && leaf_relieve(tree, cur))
		return;
	right = uma_zalloc_reserved(&tree->leaves);
	leaf_move_tail(left, keep, right);
	node_add(tree, cur, 1, leaf_fit(tree, left), right->base, right,
	    leaf_fit(tree, right));
	if (cur->slot >= keep) {
		cur->leaf = right;
		cur->slot -= keep;
		cur->at[0]++;
	}
}

static void
node_shift_left(struct vm_node *left, struct vm_node *right, unsigned n)
{
	unsigned to = left->count, rest = right->count - n;

	MPASS(n <= right->count && to + n <= VM_NODE_FANOUT);

	memcpy(left->key + to, right->key, n * sizeof(left->key[0]));
	memcpy(left->child + to, right->child, n * sizeof(left->child[0]));
	memmove(right->key, right->key + n, rest * sizeof(right->key[0]));
	memmove(right->child, right->child + n, rest * sizeof(right->child[0]));
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
		memcpy(left->fit[a] + to, right->fit[a],
		    n * sizeof(left->fit[a][0]));
		memmove(right->fit[a], right->fit[a] + n,
		    rest * sizeof(right->fit[a][0]));
	}
	node_blank(right, rest, right->count);
	node_pivot(left);
	left->count = to + n;
	right->count = rest;
}

static void
node_shift_right(struct vm_node *left, struct vm_node *right, unsigned n)
{
	unsigned from = left->count - n, had = right->count;

	MPASS(n <= left->count && had + n <= VM_NODE_FANOUT);

	memmove(right->key + n, right->key, had * sizeof(right->key[0]));
	memmove(right->child + n, right->child, had * sizeof(right->child[0]));
	memcpy(right->key, left->key + from, n * sizeof(right->key[0]));
	memcpy(right->child, left->child + from, n * sizeof(right->child[0]));
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
		memmove(right->fit[a] + n, right->fit[a],
		    had * sizeof(right->fit[a][0]));
		memcpy(right->fit[a], left->fit[a] + from,
		    n * sizeof(right->fit[a][0]));
	}
	node_blank(left, from, left->count);
	node_pivot(right);
	left->count = from;
	right->count = had + n;
}

/*
 * Level the children at `slot` and `slot` + 1 of an index node at level 1:
 * true when the right one is empty now.
 */
static bool
level_leaves(struct vm_tree *tree, struct vm_node *parent, unsigned slot)
{
	struct vm_leaf *left = parent->child[slot];
	struct vm_leaf *right = parent->child[slot + 1];
	unsigned total = left->count + right->count;

	MPASS(slot + 1 < parent->count);

	if (total > LEAF_JOIN) {
		leaves_even(tree, parent, slot);
		return false;
	}
	leaf_shift_left(left, right, right->count);
	vm_column_set(parent, slot, leaf_fit(tree, left));
	return true;
}

/* The same one level up. */
static bool
level_nodes(const struct vm_tree *tree, struct vm_node *parent, unsigned slot)
{
	struct vm_node *left = parent->child[slot];
	struct vm_node *right = parent->child[slot + 1];
	unsigned total = left->count + right->count;

	MPASS(slot + 1 < parent->count);

	if (total <= NODE_JOIN)
		node_shift_left(left, right, right->count);
	else if (left->count < total / 2)
		node_shift_left(left, right, total / 2 - left->count);
	else
		node_shift_right(left, right, left->count - total / 2);

	vm_column_set(parent, slot, node_fit(tree, left));
	if (right->count == 0)
		return true;
	vm_column_set(parent, slot + 1, node_fit(tree, right));
	node_set_key(parent, slot + 1, right->key[0]);
	return false;
}

/*
 * The cursor's leaf has become too small: level it with a sibling, and so on
 * up the path.  The cursor is stale afterwards.
 */
static void
tree_shrink(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_node *node;

	for (unsigned level = 1; level <= tree->height; level++) {
		unsigned slot = cur->at[level - 1];
		bool empty;

		node = cur->node[level - 1];
		MPASS(node->count >= 2);
		if (slot > 0)
			slot--;
		empty = level == 1 ? level_leaves(tree, node, slot)
				   : level_nodes(tree, node, slot);
		if (!empty)
			return;
		uma_zfree(level == 1 ? &tree->leaves : &tree->nodes,
		    node->child[slot + 1]);
		node_close(node, slot + 1);
		if (node->count >= VM_NODE_MINFILL)
			return;
	}
	node = tree->root;
	if (node->count == 1) {
		tree->root = node->child[0];
		tree->height--;
		uma_zfree(&tree->nodes, node);
	}
}

static void
leaf_close(const struct vm_tree *tree, struct vm_leaf *leaf, unsigned slot)
{
	MPASS(slot < leaf->count && vm_leaf_entry(leaf, slot) != NULL);
	MPASS(leaf->count > 1);

	tree->isa->leaf_close(leaf, slot);
	leaf->count--;
}

/*
 * The leaf at `cur` lost a slot: give it a decent fill, then put the cursor
 * at `front`.  The header and an entry at the map's minimum start at the same
 * address; but then the latter is what `front` is at, for it is not empty.
 */
static void
cursor_settle(struct vm_tree *tree, struct vm_cursor *cur,
    const struct vm_cursor *front)
{
	vm_offset_t key = vm_leaf_start(front->leaf, front->slot);

	MPASS(cur->leaf->count > 0);

	if (cur->leaf->count < VM_LEAF_MINFILL && tree->height > 0) {
		tree_shrink(tree, cur);
		vm_tree_seek(tree, key, cur);
	} else if (cur != front) {
		*cur = *front;
	}
}

/* The first entry of a leaf goes; its gap is the leaf's before. */
static void
remove_first(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_leaf *leaf = cur->leaf;
	struct vm_cursor front = *cur;

	(void)vm_tree_prev(tree, &front); /* the header is in front of all */
	leaf_close(tree, leaf, 0);
	vm_leaf_narrow(leaf);
	front.leaf->limit = vm_leaf_start(leaf, 0);
	key_update(tree, cur, front.leaf->limit);
	leaf_changed(tree, cur);
	leaf_changed(tree, &front);
	cursor_settle(tree, cur, &front);
}

void
vm_tree_remove(struct vm_tree *tree, struct vm_cursor *cur)
{
	KASSERT(vm_cursor_entry(cur) != NULL, "the header stays");

	tree->finger_end = VM_TREE_NOWHERE;
	if (cur->slot == 0) {
		tree->count--;
		remove_first(tree, cur);
		return;
	}
	tree->isa->remove(tree, cur);
	if (cur->leaf->count < VM_LEAF_MINFILL)
		cursor_settle(tree, cur, cur);
}

void
vm_tree_resize(struct vm_tree *tree, struct vm_cursor *cur, vm_offset_t start,
    vm_offset_t end)
{
	struct vm_leaf *leaf = cur->leaf;
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	struct vm_cursor front;

	KASSERT(entry != NULL, "the header has no length");
	MPASS(start < end && end <= vm_cursor_gap_end(cur));

	tree->finger_end = VM_TREE_NOWHERE;
	entry->end = end;
	if (start != entry->start) {
		entry->start = start;
		if (cur->slot == 0) {
			front = *cur;
			(void)vm_tree_prev(tree, &front);
			MPASS(vm_cursor_gap_start(&front) <= start);
			front.leaf->limit = start;
			key_update(tree, cur, start);
			leaf_changed(tree, &front);
		}
		if (start < leaf->base)
			leaf_rebase(leaf, start);
	}
	vm_leaf_put(leaf, cur->slot, start, end, entry);
	vm_leaf_narrow(leaf);
	leaf_changed(tree, cur);
}

void
vm_tree_split(struct vm_tree *tree, struct vm_cursor *cur, vm_offset_t addr,
    struct vm_map_entry *lower, struct vm_map_entry *upper)
{
	vm_offset_t start, end;
	struct vm_leaf *leaf;
	unsigned slot;

	MPASS(vm_cursor_entry(cur) == lower || vm_cursor_entry(cur) == upper);
	MPASS(vm_leaf_start(cur->leaf, cur->slot) < addr);
	MPASS(addr < vm_cursor_gap_start(cur));

	tree->finger_end = VM_TREE_NOWHERE;
	if (cur->leaf->count == VM_LEAF_FANOUT)
		vm_tree_split_leaf(tree, cur);
	leaf = cur->leaf;
	slot = cur->slot;
	start = vm_leaf_start(leaf, slot);
	end = vm_leaf_end(leaf, slot);
	lower->start = start;
	upper->end = end;
	lower->end = upper->start = addr;

	/* No gap changes, so nothing above the leaf does. */
	tree->isa->leaf_open(leaf, slot + 1,
	    (struct vm_leaf_slot){vm_leaf_page(leaf, addr),
		vm_leaf_item(leaf, addr, end, upper)});
	leaf->count++;
	vm_leaf_put(leaf, slot, start, addr, lower);
	vm_leaf_narrow(leaf);
	tree->count++;
}

void
vm_tree_carve(struct vm_tree *tree, struct vm_cursor *cur, vm_offset_t start,
    vm_offset_t end, struct vm_map_entry *lower, struct vm_map_entry *upper)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	struct vm_leaf *leaf = cur->leaf;

	MPASS(entry->start < start && start < end && end < entry->end);

	if (leaf->count + 2 > VM_LEAF_FANOUT) {
		vm_tree_split(tree, cur, start, lower, entry);
		(void)vm_tree_next(tree, cur);
		vm_tree_split(tree, cur, end, entry, upper);
		return;
	}
	tree->finger_end = VM_TREE_NOWHERE;
	lower->start = entry->start;
	lower->end = entry->start = start;
	upper->end = entry->end;
	upper->start = entry->end = end;
	tree->isa->leaf_cut(leaf, cur->slot,
	    &(struct vm_leaf_cut){
		{vm_leaf_page(leaf, start), vm_leaf_page(leaf, end)},
		{vm_leaf_item(leaf, lower->start, start, lower),
		    vm_leaf_item(leaf, start, end, entry),
		    vm_leaf_item(leaf, end, upper->end, upper)},
	    });
	leaf->count += 2;
	vm_leaf_narrow(leaf);
	tree->count += 2;
	cur->slot++;
}

/* The same across the border of two leaves. */
static void
merge_first(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	struct vm_leaf *leaf = cur->leaf;
	struct vm_cursor front = *cur;

	(void)vm_tree_prev(tree, &front);
	MPASS(vm_cursor_entry(&front) != NULL);
	MPASS(vm_cursor_gap_start(&front) == entry->start);

	/* The survivor moves to the leaf in front, and brings its gap along. */
	entry->start = vm_leaf_start(front.leaf, front.slot);
	vm_leaf_put(front.leaf, front.slot, entry->start, entry->end, entry);
	leaf_close(tree, leaf, 0);
	vm_leaf_narrow(leaf);
	front.leaf->limit = vm_leaf_start(leaf, 0);
	key_update(tree, cur, front.leaf->limit);
	leaf_changed(tree, cur);
	leaf_changed(tree, &front);
	cursor_settle(tree, cur, &front);
}

/* Make one slot of it and `n` behind, for `entry`, whose bounds are right. */
static void
leaf_join(const struct vm_tree *tree, struct vm_leaf *leaf, unsigned slot,
    unsigned n, struct vm_map_entry *entry)
{
	uint64_t item = vm_leaf_item(leaf, entry->start, entry->end, entry);

	MPASS(n > 0 && slot + n < leaf->count);

	tree->isa->leaf_join(leaf, slot, n, item);
	leaf->count -= n;
	leaf->far |= vm_item_is_far(item);
}

void
vm_tree_merge(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	struct vm_leaf *leaf = cur->leaf;
	vm_offset_t start;

	MPASS(entry != NULL);

	tree->finger_end = VM_TREE_NOWHERE;
	tree->count--;
	if (cur->slot == 0) {
		merge_first(tree, cur);
		return;
	}
	/* Only a gap of no length goes, so nothing above the leaf changes. */
	start = vm_leaf_start(leaf, cur->slot - 1);
	MPASS(vm_leaf_entry(leaf, cur->slot - 1) != NULL);
	MPASS(vm_leaf_end(leaf, cur->slot - 1) == entry->start);
	entry->start = start;
	cur->slot--;
	leaf_join(tree, leaf, cur->slot, 1, entry);
	if (leaf->count < VM_LEAF_MINFILL)
		cursor_settle(tree, cur, cur);
}

void
vm_tree_heal(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_leaf *leaf = cur->leaf;
	unsigned slot = cur->slot - 1;
	struct vm_map_entry *entry = vm_leaf_entry(leaf, slot + 2);

	MPASS(cur->slot > 0 && cur->slot + 1 < leaf->count);
	MPASS(vm_leaf_entry(leaf, slot) != NULL);
	MPASS(vm_leaf_end(leaf, slot) == vm_leaf_start(leaf, slot + 1));
	MPASS(vm_leaf_end(leaf, slot + 1) == vm_leaf_start(leaf, slot + 2));

	tree->finger_end = VM_TREE_NOWHERE;
	entry->start = vm_leaf_start(leaf, slot);
	leaf_join(tree, leaf, slot, 2, entry);
	tree->count -= 2;
	cur->slot = slot;
	if (leaf->count < VM_LEAF_MINFILL)
		cursor_settle(tree, cur, cur);
}

/* Life. */

int
vm_tree_init(struct vm_tree *tree, const struct arch *arch, vm_offset_t min,
    vm_offset_t max, const vm_size_t align[VM_TREE_ALIGNS])
{
	struct vm_leaf *leaf;

	MPASS(min < max);
	MPASS(powerof2(align[0]) && align[0] > 1);
	MPASS(align[0] <= align[1] && align[1] <= align[2]);
	MPASS(align[2] / align[0] <= VM_FIT_MAX);
	MPASS(((min | max) & (align[0] - 1)) == 0);

	*tree = (struct vm_tree){
	    .pageshift = (unsigned)__builtin_ctzll(align[0]),
	    .min = min,
	    .max = max,
	    .isa = vm_tree_isa_best(),
	    .finger_end = VM_TREE_NOWHERE,
	};
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
		MPASS(powerof2(align[a]));
		tree->align[a] = align[a];
		tree->pad[a] = (int32_t)(align[a] / align[0] - 1);
	}
	uma_zone_init(&tree->leaves, arch, sizeof(struct vm_leaf));
	uma_zone_init(&tree->nodes, arch, sizeof(struct vm_node));
	leaf = uma_zalloc(&tree->leaves);
	if (leaf == NULL)
		return KERN_RESOURCE_SHORTAGE;

	leaf->base = min;
	leaf->limit = max;
	leaf->pageshift = (uint8_t)tree->pageshift;
	leaf->wide = leaf->far = false;
	leaf->count = 1;
	vm_leaf_put(leaf, 0, min, min, NULL);
	tree->root = leaf;
	return KERN_SUCCESS;
}

void
vm_tree_fini(struct vm_tree *tree)
{
	uma_zone_fini(&tree->leaves);
	uma_zone_fini(&tree->nodes);
	tree->root = NULL;
}

int
vm_tree_reserve(struct vm_tree *tree, unsigned n)
{
	int rv;

	MPASS(tree->root != NULL);

	/* Each insert can split a leaf, every level above it, and the root. */
	rv = uma_zone_reserve(&tree->leaves, n);
	if (rv == KERN_SUCCESS)
		rv = uma_zone_reserve(&tree->nodes, n * (tree->height + 1));
	return rv;
}

int
vm_tree_reserve_append(struct vm_tree *tree, uint64_t n)
{
	uint64_t nleaves, nnodes;
	int rv;

	/* What grows at its end leaves so many slots behind each time. */
	nleaves = n / LEAF_APPEND + 1;
	nnodes = nleaves / (NODE_APPEND - 1) + VM_TREE_DEPTH;
	rv = uma_zone_reserve(&tree->leaves, nleaves);
	if (rv == KERN_SUCCESS)
		rv = uma_zone_reserve(&tree->nodes, nnodes);
	return rv;
}

size_t
vm_tree_bytes(const struct vm_tree *tree)
{
	return tree->leaves.uz_bytes + tree->nodes.uz_bytes;
}
