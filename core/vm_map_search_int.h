/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The two descents, written once and compiled for each instruction set.
 *
 * Included by vm_map_search.c with these defined for the set at hand:
 *
 *	ISA(name)      the function's name with the set's suffix
 *	ISA_TARGET     the function attribute that allows its instructions
 *	ISA_RANK       rank(keys, n, addr): how many of the first n keys of an
 *	               index node (ascending) are at or below addr
 *	ISA_RANK_LEAF  the same for the first n starts of a leaf, in pages
 *	ISA_FIRST      first(values, from, n, need): the first index at or
 *	               above from with a value of at least need, or n
 *	ISA_GAP        gap(leaf, from, n, want): the first slot at or above
 *	               from and below n whose gap, which ends at the next
 *	               slot, holds the request; or n
 */

/* The last slot of a leaf that starts at or below `addr`. */
ISA_TARGET static inline unsigned
ISA(leaf_slot)(const struct vm_leaf *leaf, vm_offset_t addr)
{
	uint64_t page = (addr - leaf->base) >> leaf->pageshift;

	if (__builtin_expect(leaf->wide, 0))
		return leaf_slot_wide(leaf, addr);
	return ISA_RANK_LEAF(leaf->start, leaf->count,
		   (uint32_t)MIN(page, UINT32_MAX)) -
	       1;
}

ISA_TARGET static void
ISA(seek)(const struct vm_tree *tree, vm_offset_t addr, struct vm_cursor *cur)
{
	void *p = tree->root;

	for (unsigned level = tree->height; level > 0; level--) {
		struct vm_node *node = p;
		unsigned slot = ISA_RANK(node->key, node->count, addr) - 1;

		cur->node[level - 1] = node;
		cur->at[level - 1] = slot;
		p = node->child[slot];
	}
	cur->leaf = p;
	leaf_prefetch(tree, p);
	cur->slot = ISA(leaf_slot)(cur->leaf, addr);
}

/*
 * From child `p` at `level` down to the first leaf whose column promises
 * enough.  Every index node on the way has such a child.
 */
ISA_TARGET static inline void
ISA(sink)(const struct vm_tree *tree, void *p, unsigned level,
    const struct gap_want *want, struct vm_cursor *cur)
{
	for (; level > 0; level--) {
		struct vm_node *node = p;
		unsigned slot = ISA_FIRST(node->fit[want->column], 0,
		    node->count, want->promise);

		MPASS(slot < node->count);
		cur->node[level - 1] = node;
		cur->at[level - 1] = slot;
		p = node->child[slot];
	}
	leaf_prefetch(tree, p);
	cur->leaf = p;
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
		    cur->at[level - 1] + 1, node->count, want->promise);

		if (slot < node->count) {
			cur->at[level - 1] = slot;
			ISA(sink)
			(tree, node->child[slot], level - 1, want, cur);
			return true;
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

	if (__builtin_expect(leaf->wide || !want->narrow, 0))
		return leaf_gap_wide(leaf, from, want->req);
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
	const struct vm_node *root = tree->root;
	vm_offset_t gap, end;

	*slotp = 0;
	if (req->start == tree->min && tree->height > 0) {
		/* From the beginning: no address to go by. */
		cur->leaf = NULL;
		if (ISA_FIRST(root->fit[want->column], 0, root->count,
			want->promise) < root->count)
			ISA(sink)(tree, tree->root, tree->height, want, cur);
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
	*addrp = gap + ((req->phase - gap) & (req->align - 1));
	return true;
}

#undef ISA
#undef ISA_TARGET
#undef ISA_RANK
#undef ISA_RANK_LEAF
#undef ISA_FIRST
#undef ISA_GAP
