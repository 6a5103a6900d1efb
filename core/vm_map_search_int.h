/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The two descents, written once and compiled for each instruction set.
 *
 * Included by vm_map_search.c with these defined for the set at hand:
 *
 *	ISA(name)      the function's name with the set's suffix
 *	ISA_TARGET     the function attribute that allows its instructions
 *	ISA_RANK       rank(keys, n, addr): how many of the first n keys
 *	               (ascending) are at or below addr
 *	ISA_FIRST      first(values, from, n, need): the first index at or
 *	               above from with a value of at least need, or n
 *	ISA_GAP        gap(leaf, from, req): the first slot at or above from
 *	               whose gap holds the request, or leaf->count
 */

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
	cur->slot = ISA_RANK(cur->leaf->start, cur->leaf->count, addr) - 1;
}

/*
 * From child `p` at `level` down to the first leaf whose column promises
 * `need` pages.  Every index node on the way has such a child.
 */
ISA_TARGET static inline void
ISA(sink)(const struct vm_tree *tree, void *p, unsigned level, unsigned column,
    uint32_t need, struct vm_cursor *cur)
{
	for (; level > 0; level--) {
		struct vm_node *node = p;
		unsigned slot =
		    ISA_FIRST(node->fit[column], 0, node->count, need);

		MPASS(slot < node->count);
		cur->node[level - 1] = node;
		cur->at[level - 1] = slot;
		p = node->child[slot];
	}
	leaf_prefetch(tree, p);
	cur->leaf = p;
}

/*
 * Up from the cursor's leaf until a sibling to the right promises `need`
 * pages, and down into it.  false: there is none.
 */
ISA_TARGET static inline bool
ISA(climb)(const struct vm_tree *tree, unsigned column, uint32_t need,
    struct vm_cursor *cur)
{
	for (unsigned level = 1; level <= tree->height; level++) {
		struct vm_node *node = cur->node[level - 1];
		unsigned slot = ISA_FIRST(node->fit[column],
		    cur->at[level - 1] + 1, node->count, need);

		if (slot < node->count) {
			cur->at[level - 1] = slot;
			ISA(sink)
			(tree, node->child[slot], level - 1, column, need, cur);
			return true;
		}
	}
	return false;
}

/*
 * The first leaf that promises `need` pages from req->start on.  If it is the
 * one that holds req->start, *slotp is the first slot that may be taken whole,
 * and true says that the gap in front of that, cut at req->start, will do.
 * leaf NULL: there is none.
 */
ISA_TARGET static inline bool
ISA(fit_begin)(const struct vm_tree *tree, const struct vm_gap_req *req,
    unsigned column, uint32_t need, struct vm_cursor *cur, unsigned *slotp,
    vm_offset_t *gapp)
{
	const struct vm_node *root = tree->root;
	vm_offset_t gap, end;

	*slotp = 0;
	if (req->start == tree->min && tree->height > 0) {
		/* From the beginning: no address to go by. */
		cur->leaf = NULL;
		if (ISA_FIRST(root->fit[column], 0, root->count, need) <
		    root->count)
			ISA(sink)
		(tree, tree->root, tree->height, column, need, cur);
		return false;
	}
	ISA(seek)(tree, req->start, cur);
	*slotp = cur->slot + 1;
	gap = MAX(cur->leaf->end[cur->slot], req->start);
	end = cur->leaf->start[cur->slot + 1];
	*gapp = gap;
	return gap < end &&
	       vm_gap_usable(gap, end, req->align, req->phase) >= req->length;
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
	vm_size_t pages = ((req->length - 1) >> tree->pageshift) + 1;
	uint32_t need = (uint32_t)MIN(pages, UINT32_MAX);
	vm_offset_t gap;
	unsigned slot;

	if (!ISA(fit_begin)(tree, req, column, need, cur, &slot, &gap)) {
		if (cur->leaf == NULL)
			return false;
		slot = ISA_GAP(cur->leaf, slot, req);
		while (slot == cur->leaf->count) {
			if (!ISA(climb)(tree, column, need, cur))
				return false;
			slot = ISA_GAP(cur->leaf, 0, req);
		}
		cur->slot = slot;
		gap = cur->leaf->end[slot];
	}
	*addrp = gap + ((req->phase - gap) & (req->align - 1));
	return true;
}

#undef ISA
#undef ISA_TARGET
#undef ISA_RANK
#undef ISA_FIRST
#undef ISA_GAP
