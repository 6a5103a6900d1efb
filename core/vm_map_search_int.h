/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The two descents and the two edits, written once and compiled for each
 * instruction set; and the set's table, struct vm_tree_isa.
 *
 * Included by vm_map_search.c and vm_map_search_x86.c with these defined for
 * the set at hand:
 *
 *	ISA(name)      the function's name with the set's suffix
 *	ISA_NAME       the set's name, a string
 *	ISA_TARGET     the function attribute that allows its instructions
 *	ISA_RANK8      rank8(keys, addr): how many of eight keys (ascending)
 *	               are at or below addr
 *	ISA_RANK_LEAF  rank_leaf(leaf, page): the same for a leaf's starts
 *	ISA_FIRST      first(values, from, need): the first of VM_NODE_FANOUT
 *	               values at or above from that is at least need, > 0;
 *	               VM_NODE_FANOUT: none
 *	ISA_GAP        gap(leaf, from, n, want): the first slot at or above
 *	               from and below n whose gap, which ends at the next
 *	               slot, holds the request; or n
 *	ISA_INNER      inner_fit(tree, leaf, except): the column of those gaps
 *	               of a leaf that end at an entry, and not behind `except`
 *	ISA_CHILDREN   children_fit(node, slot, fit): the column of an index
 *	               node whose child at `slot` has the column `fit`
 *	ISA_SURE       levels up to which a column is carried without asking
 *	               whether it changes: half the time it does, and a wrong
 *	               guess costs more than doing it for nothing
 *	ISA_OPEN       open(leaf, slot, with): move the slots from there on up
 *	               by one, and fill it
 *	ISA_CLOSE      close(leaf, slot): move those behind it down by one
 *	ISA_CUT        cut(leaf, slot, cut): make three slots of one
 *	ISA_JOIN       join(leaf, slot, n, item): make one of it and n behind
 */

/* The last slot of a leaf that starts at or below `addr`. */
ISA_TARGET static inline unsigned
ISA(leaf_slot)(const struct vm_leaf *leaf, vm_offset_t addr)
{
	uint64_t page = (addr - leaf->base) >> leaf->pageshift;

	MPASS(addr >= leaf->base && leaf->count > 0);

	if (__builtin_expect(leaf->wide, 0))
		return vm_leaf_slot_wide(leaf, addr);
	return ISA_RANK_LEAF(leaf, (uint32_t)MIN(page, UINT32_MAX)) - 1;
}

/*
 * The last child of an index node that begins at or below `addr`.  Its line is
 * on its way while the keys are compared.
 */
ISA_TARGET static inline unsigned
ISA(node_slot)(const struct vm_node *node, vm_offset_t addr)
{
	unsigned first = 8 * (ISA_RANK8(node->pivot, addr) - 1);

	MPASS(VM_INVARIANTS < 2 || first < VM_NODE_FANOUT);

	__builtin_prefetch(node->child + first);
	return first + ISA_RANK8(node->key + first, addr) - 1;
}

ISA_TARGET static void
ISA(seek)(const struct vm_tree *tree, vm_offset_t addr, struct vm_cursor *cur)
{
	vm_offset_t at = key_address(addr);
	void *p = tree->root;

	for (unsigned level = tree->height; level > 0; level--) {
		struct vm_node *node = p;
		unsigned slot = ISA(node_slot)(node, at);

		VM_TREE_VISIT();
		cur->node[level - 1] = node;
		cur->at[level - 1] = slot;
		p = node->child[slot];
	}
	cur->leaf = p;
	leaf_prefetch(tree, p);
	cur->slot = ISA(leaf_slot)(cur->leaf, addr);
}

ISA_TARGET static bool
ISA(lookup)(const struct vm_tree *tree, vm_offset_t addr,
    struct vm_map_entry **entryp)
{
	vm_offset_t at = key_address(addr), page;
	const void *p = tree->root;
	const struct vm_leaf *leaf;
	unsigned slot;

	for (unsigned level = tree->height; level > 0; level--) {
		const struct vm_node *node = p;

		VM_TREE_VISIT();
		p = node->child[ISA(node_slot)(node, at)];
	}
	leaf = p;
	if (__builtin_expect(leaf->wide || leaf->far, 0))
		return vm_leaf_lookup_wide(leaf, addr, entryp);
	/* What is 2^32 pages away is behind all that such a leaf has. */
	page = (addr - leaf->base) >> leaf->pageshift;
	slot = ISA_RANK_LEAF(leaf, (uint32_t)MIN(page, UINT32_MAX)) - 1;
	MPASS(slot < leaf->count);
	*entryp = vm_leaf_entry(leaf, slot);
	return page - leaf->start[slot] < (leaf->item[slot] & VM_ITEM_FAR);
}

/*
 * From child `p` at `level` down to the first leaf whose column promises
 * enough.  false: there is none, which only the root does not say beforehand.
 */
ISA_TARGET static inline bool
ISA(sink)(const struct vm_tree *tree, void *p, unsigned level,
    const struct gap_want *want, struct vm_cursor *cur)
{
	for (; level > 0; level--) {
		struct vm_node *node = p;
		unsigned slot =
		    ISA_FIRST(node->fit[want->column], 0, want->promise);

		if (slot == VM_NODE_FANOUT)
			return false;
		MPASS(slot < node->count);
		VM_TREE_VISIT();
		cur->node[level - 1] = node;
		cur->at[level - 1] = slot;
		p = node->child[slot];
	}
	leaf_prefetch(tree, p);
	cur->leaf = p;
	return true;
}

/*
 * Up from the cursor's leaf until a sibling to the right promises enough, and
 * down into it.  false: there is none.
 */
ISA_TARGET static inline bool
ISA(climb)(const struct vm_tree *tree, const struct gap_want *want,
    struct vm_cursor *cur)
{
	for (unsigned level = 1; level <= tree->height; level++) {
		struct vm_node *node = cur->node[level - 1];
		unsigned slot = ISA_FIRST(node->fit[want->column],
		    cur->at[level - 1] + 1, want->promise);

		VM_TREE_VISIT();
		if (slot < VM_NODE_FANOUT) {
			cur->at[level - 1] = slot;
			return ISA(sink)(tree, node->child[slot], level - 1,
			    want, cur);
		}
	}
	return false;
}

/* The first slot of a leaf at or above `from` whose gap will do, or count. */
ISA_TARGET static inline unsigned
ISA(leaf_gap)(const struct vm_leaf *leaf, unsigned from,
    const struct gap_want *want)
{
	unsigned last = leaf->count - 1, slot;

	VM_TREE_VISIT();
	if (__builtin_expect(leaf->wide || leaf->far || !want->narrow, 0))
		return vm_leaf_gap_wide(leaf, from, want->req);
	if (from < last) {
		slot = ISA_GAP(leaf, from, last, want);
		if (slot < last)
			return slot;
	}
	return from <= last && gap_holds(vm_leaf_end(leaf, last), leaf->limit,
				   want->req)
		   ? last
		   : leaf->count;
}

/*
 * The first leaf that promises enough from req->start on.  If it is the one
 * that holds req->start, *slotp is the first slot that may be taken whole, and
 * true says that the gap in front of that, cut at req->start, will do.  leaf
 * NULL: there is none.
 */
ISA_TARGET static inline bool
ISA(fit_begin)(const struct vm_tree *tree, const struct gap_want *want,
    struct vm_cursor *cur, unsigned *slotp, vm_offset_t *gapp)
{
	const struct vm_gap_req *req = want->req;
	vm_offset_t gap, end;

	*slotp = 0;
	if (req->start == tree->min && tree->height > 0) {
		/* From the beginning: no address to go by. */
		if (!ISA(sink)(tree, tree->root, tree->height, want, cur))
			cur->leaf = NULL;
		return false;
	}
	ISA(seek)(tree, req->start, cur);
	*slotp = cur->slot + 1;
	gap = MAX(vm_leaf_end(cur->leaf, cur->slot), req->start);
	end = vm_leaf_gap_end(cur->leaf, cur->slot);
	*gapp = gap;
	return gap < end && gap_holds(gap, end, req);
}

/*
 * Lowest fit at or above req->start.  The columns are exact for aligned
 * requests without phase, so the first leaf that promises enough has it; for
 * others a leaf may disappoint, and the search goes on behind it.
 */
ISA_TARGET static bool
ISA(fit)(const struct vm_tree *tree, const struct vm_gap_req *req,
    unsigned column, struct vm_cursor *cur, vm_offset_t *addrp)
{
	struct gap_want want = gap_want(tree, req, column);
	vm_offset_t gap;
	unsigned slot;

	if (!ISA(fit_begin)(tree, &want, cur, &slot, &gap)) {
		if (cur->leaf == NULL)
			return false;
		slot = ISA(leaf_gap)(cur->leaf, slot, &want);
		while (slot == cur->leaf->count) {
			if (!ISA(climb)(tree, &want, cur))
				return false;
			slot = ISA(leaf_gap)(cur->leaf, 0, &want);
		}
		cur->slot = slot;
		gap = vm_leaf_end(cur->leaf, slot);
	}
	MPASS(cur->slot < cur->leaf->count && gap >= req->start);
	*addrp = gap + ((req->phase - gap) & (req->align - 1));
	return true;
}

/* Columns. */

/* The largest fits of a leaf without those of the gap behind `except`. */
ISA_TARGET static inline struct vm_fit
ISA(leaf_fit_except)(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned except)
{
	if (__builtin_expect(leaf->wide || leaf->far, 0))
		return vm_leaf_fit_wide(tree, leaf, except);
	return fit_with_last(tree, leaf, except, ISA_INNER(tree, leaf, except));
}

ISA_TARGET static struct vm_fit
ISA(leaf_fit)(const struct vm_tree *tree, const struct vm_leaf *leaf)
{
	return ISA(leaf_fit_except)(tree, leaf, VM_LEAF_FANOUT);
}

/*
 * What the column of a node was made by may have shrunk; only then all its
 * children must be asked, and before the store: see insert().
 */
ISA_TARGET static void
ISA(column_update)(struct vm_cursor *cur, unsigned level, unsigned height,
    struct vm_fit fit)
{
	MPASS(0 < level && level <= height);

	for (;; level++) {
		struct vm_node *node = cur->node[level - 1];
		unsigned slot = cur->at[level - 1];
		struct vm_fit old = vm_column_get(node, slot), up, most;

		if (level == height) {
			vm_column_set(node, slot, fit);
			return;
		}
		up = vm_column_get(cur->node[level], cur->at[level]);
		most = vm_fit_max(fit, up);
		if (level <= ISA_SURE || vm_lanes_any((old.pages == up.pages) &
						      (fit.pages < old.pages)))
			most = ISA_CHILDREN(node, slot, fit);
		vm_column_set(node, slot, fit);
		fit = most;
		if (level > ISA_SURE && !vm_lanes_any(fit.pages != up.pages))
			return;
	}
}

/* A leaf now has a gap like this: its columns can only have grown. */
ISA_TARGET static inline void
ISA(column_grow)(const struct vm_tree *tree, struct vm_cursor *cur,
    struct vm_fit fit)
{
	for (unsigned level = 0; level < tree->height; level++) {
		struct vm_node *node = cur->node[level];
		unsigned slot = cur->at[level];
		struct vm_fit old = vm_column_get(node, slot);

		if (level + 1 > ISA_SURE &&
		    !vm_lanes_any(fit.pages > old.pages))
			return;
		fit = vm_fit_max(fit, old);
		vm_column_set(node, slot, fit);
	}
}

/* Edits. */

/*
 * [start, end) is about to be taken out of the gap [low, high) behind the
 * cursor.  Mostly that gap made the column, so nobody asks whether it did; but
 * where a map grows at its end there is always room enough left.
 */
ISA_TARGET static inline void
ISA(gap_fills)(const struct vm_tree *tree, struct vm_cursor *cur,
    vm_offset_t low, vm_offset_t high, vm_offset_t start, vm_offset_t end)
{
	struct vm_fit rest = vm_gap_fit(tree, end, high);
	struct vm_fit fit = vm_column_get(cur->node[0], cur->at[0]);

	if (!vm_lanes_any(rest.pages < fit.pages))
		return;
	rest = vm_fit_max(rest, vm_gap_fit(tree, low, start));
	fit = ISA(leaf_fit_except)(tree, cur->leaf, cur->slot);
	ISA(column_update)(cur, 1, tree->height, vm_fit_max(rest, fit));
}

/* The leaf is asked before it changes: what was just stored is slow to read. */
ISA_TARGET static void
ISA(insert)(struct vm_tree *tree, struct vm_cursor *cur,
    struct vm_map_entry *entry)
{
	vm_offset_t low = vm_cursor_gap_start(cur);
	vm_offset_t high = vm_cursor_gap_end(cur);
	vm_offset_t start = entry->start, end = entry->end;
	struct vm_leaf *leaf = cur->leaf;
	uint64_t item = vm_leaf_item(leaf, start, end, entry);

	MPASS(low <= start && start < end && end <= high);
	MPASS(leaf->count < VM_LEAF_FANOUT);

	if (tree->height > 0)
		ISA(gap_fills)(tree, cur, low, high, start, end);
	cur->slot++;
	ISA_OPEN(leaf, cur->slot,
	    ((struct vm_leaf_slot){vm_leaf_page(leaf, start), item}));
	leaf->count++;
	leaf->wide |= vm_leaf_reaches(leaf, end);
	leaf->far |= vm_item_is_far(item);
	tree->count++;
}

ISA_TARGET static void
ISA(remove)(struct vm_tree *tree, struct vm_cursor *cur)
{
	struct vm_leaf *leaf = cur->leaf;
	unsigned slot = cur->slot;
	struct vm_fit fit;

	MPASS(0 < slot && slot < leaf->count);

	fit = vm_gap_fit(tree, vm_leaf_end(leaf, slot - 1),
	    vm_leaf_gap_end(leaf, slot));
	ISA(column_grow)(tree, cur, fit);
	ISA_CLOSE(leaf, slot);
	leaf->count--;
	vm_leaf_narrow(leaf);
	cur->slot--;
	tree->count--;
}

const struct vm_tree_isa ISA(vm_tree_isa) = {
    .name = ISA_NAME,
    .seek = ISA(seek),
    .lookup = ISA(lookup),
    .fit = ISA(fit),
    .insert = ISA(insert),
    .remove = ISA(remove),
    .column_update = ISA(column_update),
    .leaf_fit = ISA(leaf_fit),
    .node_fit = ISA_CHILDREN,
    .leaf_open = ISA_OPEN,
    .leaf_close = ISA_CLOSE,
    .leaf_cut = ISA_CUT,
    .leaf_join = ISA_JOIN,
};

#undef ISA
#undef ISA_NAME
#undef ISA_TARGET
#undef ISA_RANK8
#undef ISA_RANK_LEAF
#undef ISA_FIRST
#undef ISA_GAP
#undef ISA_INNER
#undef ISA_CHILDREN
#undef ISA_SURE
#undef ISA_OPEN
#undef ISA_CLOSE
#undef ISA_CUT
#undef ISA_JOIN
