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

		cur->path[level - 1].node = node;
		cur->path[level - 1].slot = slot;
		p = node->child[slot];
	}
	cur->leaf = p;
	cur->slot = ISA_RANK(cur->leaf->start, cur->leaf->count, addr) - 1;
}

/*
 * From child `p` at `level` down to the first leaf whose column promises
 * `need` pages.  Every index node on the way has such a child.
 */
ISA_TARGET static inline void
ISA(sink)(void *p, unsigned level, unsigned column, uint32_t need,
    struct vm_cursor *cur)
{
	for (; level > 0; level--) {
		struct vm_node *node = p;
		unsigned slot =
		    ISA_FIRST(node->fit[column], 0, node->count, need);

		MPASS(slot < node->count);
		cur->path[level - 1].node = node;
		cur->path[level - 1].slot = slot;
		p = node->child[slot];
	}
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
		struct vm_node *node = cur->path[level - 1].node;
		unsigned slot = ISA_FIRST(node->fit[column],
		    cur->path[level - 1].slot + 1, node->count, need);

		if (slot < node->count) {
			cur->path[level - 1].slot = slot;
			ISA(sink)
			(node->child[slot], level - 1, column, need, cur);
			return true;
		}
	}
	return false;
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
	struct vm_leaf *leaf;
	vm_offset_t gap;
	unsigned slot;

	ISA(seek)(tree, req->start, cur);
	leaf = cur->leaf;
	slot = cur->slot;
	gap = MAX(leaf->end[slot], req->start);
	if (gap >= leaf->start[slot + 1] ||
	    vm_gap_usable(gap, leaf->start[slot + 1], req->align, req->phase) <
		req->length) {
		slot = ISA_GAP(leaf, slot + 1, req);
		while (slot == leaf->count) {
			if (!ISA(climb)(tree, column, need, cur))
				return false;
			leaf = cur->leaf;
			slot = ISA_GAP(leaf, 0, req);
		}
		gap = leaf->end[slot];
	}
	cur->slot = slot;
	*addrp = gap + ((req->phase - gap) & (req->align - 1));
	return true;
}

#undef ISA
#undef ISA_TARGET
#undef ISA_RANK
#undef ISA_FIRST
#undef ISA_GAP
