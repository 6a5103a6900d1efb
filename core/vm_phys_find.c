/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The search: which run of a tree, and which place in it.
 *
 * Three stages, each a bounded descent that prefers high addresses:
 *
 *	1. plain requests: the smallest class of lengths that has a run,
 *	2. any run whose length alone guarantees a fit,
 *	3. every run whose length does not rule a fit out.
 *
 * The third makes the search exact.  For a plain request, and for an alignment
 * that the tree keeps a measure for, it never visits a run in vain but at the
 * two edges of the window.
 */

#include "core/kassert.h"
#include "core/vm_phys_int.h"

#define CLASS_TRIES 3 /* runs looked at in stage 1 */

static const unsigned level_shift[RT_LEVELS] = RT_LEVEL_SHIFTS;

/* [pa, pa + size) has no multiple of the boundary inside. */
static bool
crosses(const struct phys_query *query, vm_paddr_t pa)
{
	return query->boundary != 0 &&
	       ((pa ^ (pa + query->size - 1)) & -query->boundary) != 0;
}

bool
contig_fit_high(const struct phys_query *query, vm_paddr_t start,
    vm_paddr_t end, vm_paddr_t *pap)
{
	vm_paddr_t pa;

	MPASS(query->size > 0 && powerof2(query->alignment));
	MPASS(query->boundary == 0 || query->size <= query->boundary);
	MPASS(start < end);

	start = MAX(start, query->low);
	end = MIN(end, query->high);
	if (start >= end || end - start < query->size)
		return false;
	pa = rounddown2(end - query->size, query->alignment);
	if (pa < start)
		return false;
	if (crosses(query, pa)) {
		/* Below the multiple that is in the way.  It is a multiple of
		 * the alignment too, or nothing aligned could cross it. */
		end = rounddown2(pa + query->size - 1, query->boundary);
		if (end - start < query->size || end < start)
			return false;
		pa = rounddown2(end - query->size, query->alignment);
		if (pa < start)
			return false;
	}
	MPASS(!crosses(query, pa));
	*pap = pa;
	return true;
}

bool
contig_fit_low(const struct phys_query *query, vm_paddr_t start, vm_paddr_t end,
    vm_paddr_t *pap)
{
	vm_paddr_t pa;

	MPASS(query->size > 0 && powerof2(query->alignment));
	MPASS(query->boundary == 0 || query->size <= query->boundary);
	MPASS(start < end);

	start = MAX(start, query->low);
	end = MIN(end, query->high);
	pa = roundup2(start, query->alignment);
	if (pa < start || pa >= end || end - pa < query->size)
		return false; /* the first test catches wrap-around */
	if (crosses(query, pa)) {
		pa = rounddown2(pa + query->size - 1, query->boundary);
		if (end - pa < query->size)
			return false;
	}
	MPASS(!crosses(query, pa));
	*pap = pa;
	return true;
}

bool
contig_fit(const struct phys_query *query, vm_paddr_t start, vm_paddr_t end,
    vm_paddr_t *pap)
{
	vm_paddr_t high, low;

	if (!contig_fit_high(query, start, end, &high))
		return false;
	*pap = high;
	if (high + query->size == end)
		return true;
	if (contig_fit_low(query, start, end, &low) && low == start)
		*pap = low;
	return true;
}

/* One descent. */
struct hunt {
	const struct phys_query *query;
	const struct rt_store *store;
	uint64_t classes; /* only runs of these */
	unsigned level;   /* and with max[level] */
	uint32_t want;    /* of at least so many pages */
	unsigned tries;   /* runs that may still be looked at */
	unsigned height;
	struct rt_path *path;
	vm_paddr_t pa; /* the place found */
};

static bool
leaf_hunt(struct hunt *h, struct rt_leaf *leaf)
{
	const struct phys_query *query = h->query;

	for (unsigned i = leaf->n; i-- > 0;) {
		struct rt_sum sum = {0};

		if (leaf->start[i] >= query->high)
			continue;
		if (leaf->end[i] <= query->low)
			return false;
		if (leaf->end[i] - leaf->start[i] < query->size)
			continue;
		rt_sum_run(&sum, h->store, leaf->start[i], leaf->end[i]);
		if ((sum.classes & h->classes) == 0 ||
		    sum.max[h->level] < h->want)
			continue;
		if (contig_fit(query, leaf->start[i], leaf->end[i], &h->pa)) {
			h->path->leaf = leaf;
			h->path->pos = i;
			return true;
		}
		if (--h->tries == 0)
			return false;
	}
	return false;
}

/* From the right; the tree is at most RT_HEIGHT high, so is the recursion. */
static bool
node_hunt(struct hunt *h, void *node, unsigned depth)
{
	const struct phys_query *query = h->query;
	struct rt_inner *inner = node;

	if (depth + 1 == h->height)
		return leaf_hunt(h, node);
	h->path->inner[depth] = inner;
	for (unsigned i = inner->n; i-- > 0;) {
		if (inner->max[h->level][i] < h->want ||
		    (inner->classes[i] & h->classes) == 0 ||
		    inner->first[i] >= query->high)
			continue;
		/* Runs of a child end where the next child begins, or below. */
		if (i + 1 < inner->n && inner->first[i + 1] <= query->low)
			return false;
		h->path->at[depth] = i;
		if (node_hunt(h, inner->child[i], depth + 1))
			return true;
		if (h->tries == 0)
			return false;
	}
	return false;
}

static bool
rt_hunt(struct rt *rt, struct hunt *h, uint64_t classes, unsigned level,
    uint32_t want, unsigned tries)
{
	if (rt->sum.max[level] < want || (rt->sum.classes & classes) == 0)
		return false;
	h->classes = classes;
	h->level = level;
	h->want = want;
	h->tries = tries;
	return node_hunt(h, rt->root, 0);
}

static bool
hunt_classes(struct rt *rt, struct hunt *h, uint64_t npages)
{
	uint64_t classes = rt->sum.classes & -(UINT64_C(1) << rt_class(npages));

	for (unsigned i = 0; i < CLASS_TRIES && classes != 0; i++) {
		if (rt_hunt(rt, h, classes & -classes, 0, 0, 1))
			return true;
		classes &= classes - 1;
	}
	return false;
}

/* The last level that is no stricter than the alignment. */
static unsigned
level_needed(const struct phys_query *query, unsigned page_shift)
{
	unsigned l = 0;

	while (l + 1 < RT_LEVELS &&
	       query->alignment >= UINT64_C(1)
				       << (page_shift + level_shift[l + 1]))
		l++;
	return l;
}

bool
rt_find(struct rt *rt, const struct rt_store *store,
    const struct phys_query *query, struct rt_path *path, vm_paddr_t *pap)
{
	struct hunt h = {.query = query, .store = store, .path = path};
	uint64_t npages = query->size >> store->page_shift;
	unsigned needed = level_needed(query, store->page_shift);
	vm_paddr_t unit = UINT64_C(1)
			  << (store->page_shift + level_shift[needed]);
	uint64_t enough = npages;
	unsigned sure = needed;
	bool found;

	MPASS(query->size > 0 && query->low < query->high);

	h.height = rt->height;
	if (rt->height == 0 || rt->sum.max[needed] < MIN(npages, UINT32_MAX) ||
	    rt_first(rt) >= query->high)
		return false;
	if (query->alignment > unit)
		sure++;
	/* Of two halves that a boundary parts, one is long enough. */
	if (query->boundary > query->alignment)
		enough *= 2;
	found = query->alignment <= UINT64_C(1) << store->page_shift &&
		hunt_classes(rt, &h, npages);
	if (!found && sure < RT_LEVELS && enough < UINT32_MAX &&
	    (sure != needed || enough != npages))
		found = rt_hunt(rt, &h, ~UINT64_C(0), sure, (uint32_t)enough,
		    UINT32_MAX);
	if (!found)
		found = rt_hunt(rt, &h, ~UINT64_C(0), needed,
		    (uint32_t)MIN(npages, UINT32_MAX), UINT32_MAX);
	if (found)
		*pap = h.pa;
	return found;
}
