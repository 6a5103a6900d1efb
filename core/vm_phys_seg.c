/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Segments, in a treap by address.
 *
 * The priority of a segment is a hash of its first address, so the shape of
 * the treap depends on what is in it and not on how it came there.
 */

#include "core/kassert.h"
#include "core/vm_phys_int.h"

static uint64_t
seg_priority(const struct phys_seg *seg)
{
	uint64_t z = seg->start * UINT64_C(0x9e3779b97f4a7c15);

	MPASS(seg->start < seg->end);

	return (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
}

struct phys_seg *
phys_seg_next(struct vm_phys *phys, vm_paddr_t pa)
{
	struct phys_seg *found = NULL, *seg = phys->segs;

	while (seg != NULL) {
		if (seg->end > pa) {
			found = seg;
			seg = seg->left;
		} else {
			seg = seg->right;
		}
	}
	MPASS(found == NULL || found->start < found->end);
	return found;
}

struct phys_seg *
phys_seg_at(struct vm_phys *phys, vm_paddr_t pa)
{
	struct phys_seg *seg = phys->hint;

	MPASS(seg == NULL || seg->start < seg->end);

	if (seg == NULL || pa < seg->start || pa >= seg->end)
		seg = phys_seg_next(phys, pa);
	if (seg == NULL || seg->start > pa)
		return NULL;
	phys->hint = seg;
	return seg;
}

/* Part the treap at `start`: [*leftp below, *rightp from there on). */
static void
treap_split(struct phys_seg *root, vm_paddr_t start, struct phys_seg **leftp,
    struct phys_seg **rightp)
{
	MPASS(leftp != rightp);

	while (root != NULL) {
		if (root->start < start) {
			*leftp = root;
			leftp = &root->right;
			root = root->right;
		} else {
			*rightp = root;
			rightp = &root->left;
			root = root->left;
		}
	}
	*leftp = *rightp = NULL;
}

void
phys_seg_link(struct vm_phys *phys, struct phys_seg *seg)
{
	struct phys_seg **linkp = &phys->segs;
	uint64_t priority = seg_priority(seg);

	MPASS(seg->start < seg->end);

	while (*linkp != NULL && seg_priority(*linkp) >= priority)
		linkp = seg->start < (*linkp)->start ? &(*linkp)->left
						     : &(*linkp)->right;
	treap_split(*linkp, seg->start, &seg->left, &seg->right);
	*linkp = seg;
	phys->nsegs++;
}

void
phys_seg_unlink(struct vm_phys *phys, struct phys_seg *seg)
{
	struct phys_seg **linkp = &phys->segs;
	struct phys_seg *left = seg->left, *right = seg->right;

	while (*linkp != seg) {
		MPASS(*linkp != NULL);
		linkp = seg->start < (*linkp)->start ? &(*linkp)->left
						     : &(*linkp)->right;
	}
	while (left != NULL && right != NULL) {
		if (seg_priority(left) >= seg_priority(right)) {
			*linkp = left;
			linkp = &left->right;
			left = left->right;
		} else {
			*linkp = right;
			linkp = &right->left;
			right = right->left;
		}
	}
	*linkp = left != NULL ? left : right;
	if (phys->hint == seg)
		phys->hint = NULL;
	phys->nsegs--;
}
