/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The search: which run of which tree, and which place in it.
 *
 * Three stages, each a bounded descent in every tree, from high addresses:
 *
 *	1. requests that any pages will do for, but for very long ones, those
 *	   for whole superpages and, while memory is scarce, others with large
 *	   alignments: the smallest classes of lengths that have a run; for
 *	   those of middle length the shortest of some runs,
 *	2. any run whose length alone guarantees a fit,
 *	3. every run whose length does not rule a fit out.
 *
 * The third makes the search exact.  It never visits a run in vain but at the
 * two edges of the window, except for alignments of more than 512 pages and
 * for boundaries that some run which is long enough straddles.
 *
 * The choice depends on what is free and on nothing else: not on the shape of
 * the trees, nor on the order in which runs came to be.
 */

#include "core/vm_phys_node_int.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
    "the first lane is the lowest part of a word");

#define CLASS_TRIES     3  /* classes looked at in stage 1 */
#define RUN_TRIES       16 /* runs of each */
#define FRAME_TRIES     64 /* the same, of requests for whole superpages */
#define SUPERPAGE_PAGES (1u << (RT_LEVELS - 1))
/*
 * Lengths in pages (1, 12 and 24 MiB): of these a request takes the
 * shortest run that is found, shorter ones and longer ones the highest of a
 * class, and the longest ones the highest of all.  So memory stays densest.
 */
#define SHORTEST_MIN    256
#define SHORTEST_MAX    3072
#define CLASS_MAX       6144
/*
 * Memory without a run of so many pages (64 MiB) is scarce.  Then alignments
 * of SHORTEST_MIN and more go by classes, too: no long run is there to be
 * kept, and the middle ones last longer.
 */
#define SCARCE_PAGES    16384

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
		MPASS(end > start); /* the multiple is above pa */
		if (end - start < query->size)
			return false;
		pa = rounddown2(end - query->size, query->alignment);
		if (pa < start)
			return false;
	}
	MPASS(!crosses(query, pa));
	*pap = pa;
	return true;
}

/*
 * The lowest place from `start` on, in a run that has one: `high` is the
 * highest.  What would cross a multiple of the boundary begins there.
 */
static vm_paddr_t
contig_fit_low(const struct phys_query *query, vm_paddr_t start,
    vm_paddr_t high)
{
	vm_paddr_t pa;

	MPASS(query->size > 0 && powerof2(query->alignment));
	MPASS(!crosses(query, high));

	start = MAX(start, query->low);
	pa = roundup2(start, query->alignment);
	if (crosses(query, pa))
		pa = rounddown2(pa + query->size - 1, query->boundary);
	MPASS(pa >= start && pa <= high && !crosses(query, pa));
	return pa;
}

/* With constraints that may move it away from the end of the run. */
static bool
contig_fit_slow(const struct phys_query *query, vm_paddr_t start,
    vm_paddr_t end, vm_paddr_t *pap)
{
	vm_paddr_t high;

	MPASS(start < end);

	if (!contig_fit_high(query, start, end, &high))
		return false;
	*pap = high;
	if (high + query->size == end)
		return true;
	if (contig_fit_low(query, start, high) == start)
		*pap = start;
	return true;
}

static inline bool
run_fit(const struct phys_query *query, vm_paddr_t start, vm_paddr_t end,
    vm_paddr_t *pap)
{
	vm_paddr_t pa = end - query->size;

	MPASS(start < end && query->size > 0);

	/* Most often the end of the run will do as it is. */
	if (end - start >= query->size && start >= query->low &&
	    end <= query->high && (pa & (query->alignment - 1)) == 0 &&
	    !crosses(query, pa)) {
		*pap = pa;
		return true;
	}
	return end - start >= query->size &&
	       contig_fit_slow(query, start, end, pap);
}

bool
contig_fit(const struct phys_query *query, vm_paddr_t start, vm_paddr_t end,
    vm_paddr_t *pap)
{
	return run_fit(query, start, end, pap);
}

/* The shortest run of a class yet. */
struct shortest {
	vm_paddr_t pa; /* the place in it */
	const struct phys_tree *tree;
	struct rt_path path;
};

/* One descent. */
struct hunt {
	const struct phys_query *query;
	unsigned cls;   /* only runs of this; RT_NCLASS: of any */
	unsigned level; /* only runs with max[level] */
	int16_t want;   /* of at least so many pages */
	unsigned tries; /* runs that may still be looked at */
	unsigned height;
	bool bounded; /* the window cuts the tree */
	struct rt_path *path;
	vm_paddr_t pa; /* the place found */
	const struct phys_tree *tree;
	struct shortest *best; /* NULL: the first run that fits will do */
	vm_size_t below;       /* only runs shorter than this; bytes */
};

/*
 * The runs of a leaf that have what the summaries promise.  This is the same
 * for a run whatever leaf it is in, so the choice does not depend on how runs
 * are spread over leaves.
 */
static uint32_t
leaf_mask(const struct hunt *h, const struct rt_leaf *leaf)
{
	rt_lanes fits[RT_LEAF / 8];
	int16_t unit;

	static_assert(RT_LEAF == 32, "a bit for each run");
	MPASS(leaf->n > 0);

	if (h->cls < RT_NCLASS)
		return leaf_of_class(leaf, h->cls);
	unit = (int16_t)((1 << h->level) - 1);
	for (unsigned v = 0; v < RT_LEAF / 8; v++)
		fits[v] = leaf->length[v] - (leaf->offset[v] & unit) >= h->want;
	return lanes_mask(fits[0], fits[1]) | lanes_mask(fits[2], fits[3])
						  << 16;
}

/* It fits, and there may be a shorter one.  Is there none? */
static bool
shortest_keep(struct hunt *h)
{
	const struct rt_path *path = h->path;
	vm_size_t size =
	    path->leaf->end[path->pos] - path->leaf->start[path->pos];

	MPASS(size >= h->query->size && size < h->below);

	*h->best = (struct shortest){h->pa, h->tree, *path};
	h->below = size;
	return size == h->query->size;
}

static bool
leaf_hunt(struct hunt *h, struct rt_leaf *leaf)
{
	const struct phys_query *query = h->query;
	uint32_t mask;

	mask = leaf_mask(h, leaf);
	leaf_prefetch(leaf);
	while (mask != 0) {
		unsigned i = 31 - (unsigned)__builtin_clz(mask);

		mask &= ~(UINT32_C(1) << i);
		if (leaf->start[i] >= query->high)
			continue;
		if (leaf->end[i] <= query->low)
			return false;
		if (leaf->end[i] - leaf->start[i] < h->below &&
		    run_fit(query, leaf->start[i], leaf->end[i], &h->pa)) {
			h->path->leaf = leaf;
			h->path->pos = i;
			if (h->best == NULL || shortest_keep(h))
				return true;
		}
		if (--h->tries == 0)
			return false;
	}
	return false;
}

/* The children with max[level] of at least `want`. */
static uint64_t
level_mask(const struct rt_inner *inner, unsigned level, int16_t want)
{
	const rt_lanes *max = inner->max[level];
	uint64_t mask = 0;

	static_assert(RT_FAN <= 64, "a bit for each child");
	RT_UNROLL
	for (unsigned v = RT_FAN / 8; v > 0; v -= 2)
		mask = mask << 16 |
		       lanes_mask(max[v - 2] >= want, max[v - 1] >= want);
	return mask;
}

/*
 * The children that may have runs in [low, high): from the one that `low` is
 * in, as runs of a child end where the next begins or below, to the last that
 * begins below `high`.
 */
static uint64_t
window_mask(const struct rt_inner *inner, const struct phys_query *query)
{
	unsigned from = rt_keys_upto(inner->first, RT_FAN, query->low);
	unsigned upto = rt_keys_upto(inner->first, RT_FAN, query->high - 1);

	MPASS(from <= upto && upto <= inner->n);

	from -= from > 0;
	if (upto == 0)
		return 0;
	return UINT64_MAX >> (RT_FAN - upto) & UINT64_MAX << from;
}

static uint64_t
node_mask(const struct hunt *h, struct rt_inner *inner)
{
	uint64_t mask = h->cls < RT_NCLASS
			    ? *inner_having(inner, h->cls)
			    : level_mask(inner, h->level, h->want);

	MPASS(inner->n == RT_FAN || mask >> inner->n == 0);

	if (h->bounded && mask != 0)
		mask &= window_mask(inner, h->query);
	return mask;
}

/* Nothing was found below slot `at`: know no more of it than there is. */
static void
slot_tighten(const struct hunt *h, struct rt_inner *inner, unsigned at,
    bool leaf)
{
	int16_t *known = inner_max(inner, h->level, at);
	int16_t longest = leaf ? leaf_longest(inner->child[at], h->level)
			       : inner_longest(inner->child[at], h->level);

	MPASS(longest <= *known);

	*known = longest;
}

/* From the right; the tree is at most RT_HEIGHT high, so is the recursion. */
static bool
node_hunt(struct hunt *h, void *node, unsigned depth)
{
	struct rt_inner *inner = node;
	uint64_t mask;

	if (depth + 1 == h->height)
		return leaf_hunt(h, node);
	h->path->inner[depth] = inner;
	mask = node_mask(h, inner);
	while (mask != 0) {
		unsigned i = 63 - (unsigned)__builtin_clzll(mask);

		h->path->at[depth] = (uint8_t)i;
		if (node_hunt(h, inner->child[i], depth + 1))
			return true;
		if (h->tries == 0)
			return false;
		if (h->cls == RT_NCLASS)
			slot_tighten(h, inner, i, depth + 2 == h->height);
		mask &= ~(UINT64_C(1) << i);
	}
	return false;
}

/* As slot_tighten(), for a tree. */
static void
tree_tighten(const struct hunt *h, struct rt *rt)
{
	int16_t *known = lane(rt->sum.max, h->level);
	int16_t longest = rt->height == 1 ? leaf_longest(rt->root, h->level)
					  : inner_longest(rt->root, h->level);

	MPASS(longest <= *known);

	*known = longest;
}

/* Where all stages look. */
struct search {
	const struct phys_tree *trees[PHYS_NZONES * VM_PHYS_DOMAINS];
	unsigned ntrees;
	struct hunt hunt;
};

static bool
hunt_trees(struct search *s)
{
	struct hunt *h = &s->hunt;

	for (unsigned i = 0; i < s->ntrees; i++) {
		struct rt *rt = s->trees[i]->rt;
		unsigned tries = h->tries;

		if (h->cls < RT_NCLASS
			? (rt->sum.classes >> h->cls & 1) == 0
			: rt_sum_max(&rt->sum, h->level) < h->want)
			continue;
		h->height = rt->height;
		h->bounded = h->query->low > rt_first(rt) ||
			     h->query->high < s->trees[i]->top;
		h->tree = s->trees[i];
		if (node_hunt(h, rt->root, 0))
			return true;
		if (h->cls == RT_NCLASS)
			tree_tighten(h, rt);
		h->tries = tries;
	}
	return false;
}

/* The classes that have runs, in any of the trees. */
static uint64_t
classes_all(const struct search *s)
{
	uint64_t classes = 0;

	for (unsigned i = 0; i < s->ntrees; i++)
		classes |= s->trees[i]->rt->sum.classes;
	return classes;
}

/* May the request go by classes, stage 1? */
static bool
classes_suit(const struct search *s, uint64_t npages, uint64_t align)
{
	MPASS(npages > 0 && align > 0);

	if (align == 1)
		return npages < CLASS_MAX;
	if (align < SHORTEST_MIN || npages < align)
		return false;
	return align >= SUPERPAGE_PAGES ||
	       classes_all(s) >> rt_class(SCARCE_PAGES) == 0;
}

/* How many runs of a class to look at for the shortest; 0: the first does. */
static unsigned
shortest_tries(uint64_t npages, uint64_t align)
{
	if (align >= SUPERPAGE_PAGES)
		return FRAME_TRIES;
	return align > 1 || (npages >= SHORTEST_MIN && npages < SHORTEST_MAX)
		   ? RUN_TRIES
		   : 0;
}

/* The shortest of a class, if that was asked for and there is one. */
static bool
shortest_take(struct hunt *h)
{
	const struct shortest *best = h->best;

	if (h->below == UINT64_MAX)
		return false;
	MPASS(best != NULL && h->below >= h->query->size);
	*h->path = best->path;
	h->pa = best->pa;
	h->tree = best->tree;
	return true;
}

/*
 * Stage 1: the smallest classes, some runs of each.  The shortest of them of
 * the first class that has one, or else the first.
 */
static bool
hunt_classes(struct search *s, uint64_t npages, uint64_t align)
{
	unsigned tries = shortest_tries(npages, align);
	struct shortest best;
	uint64_t classes = classes_all(s);

	s->hunt.best = tries > 0 ? &best : NULL;
	s->hunt.below = UINT64_MAX;
	classes &= -(UINT64_C(1) << rt_class(npages));
	for (unsigned i = 0; i < CLASS_TRIES && classes != 0; i++) {
		s->hunt.cls = (unsigned)__builtin_ctzll(classes);
		s->hunt.tries = tries > 0 ? tries : RUN_TRIES;
		if (hunt_trees(s) || shortest_take(&s->hunt))
			return true;
		classes &= classes - 1;
	}
	return false;
}

/* Stages 2 and 3: any run with max[level] of at least `npages`. */
static bool
hunt_level(struct search *s, unsigned level, uint64_t npages)
{
	s->hunt.best = NULL;
	s->hunt.below = UINT64_MAX;
	s->hunt.cls = RT_NCLASS;
	s->hunt.level = level;
	s->hunt.want = (int16_t)MIN(npages, RT_MAX);
	s->hunt.tries = UINT32_MAX;
	return hunt_trees(s);
}

/* Could the tree have a run that fits? */
static bool
tree_hopeful(const struct phys_tree *tree, const struct phys_query *query,
    unsigned level, uint64_t npages)
{
	return tree->rt->height > 0 &&
	       rt_sum_max(&tree->rt->sum, level) >=
		   (int16_t)MIN(npages, RT_MAX) &&
	       rt_first(tree->rt) < query->high && tree->top > query->low;
}

bool
phys_search(const struct phys_tree *trees, unsigned ntrees,
    const struct phys_domain *only, const struct rt_store *store,
    const struct phys_query *query, const struct phys_tree **treep,
    struct rt_path *path, vm_paddr_t *pap)
{
	uint64_t npages = query->size >> store->page_shift;
	uint64_t align = query->alignment >> store->page_shift;
	unsigned log, level;
	struct search s;
	bool found;

	MPASS(query->size > 0 && query->low < query->high && align > 0);
	MPASS(ntrees <= nitems(s.trees));

	log = (unsigned)__builtin_ctzll(align);
	level = MIN(log, RT_LEVELS - 1u);
	s.hunt.query = query;
	s.hunt.path = path; /* each stage sets the rest */
	s.ntrees = 0;
	for (unsigned i = 0; i < ntrees; i++)
		if ((only == NULL || trees[i].domain == only) &&
		    tree_hopeful(&trees[i], query, level, npages))
			s.trees[s.ntrees++] = &trees[i];
	if (s.ntrees == 0)
		return false;
	found =
	    classes_suit(&s, npages, align) && hunt_classes(&s, npages, align);
	/* Of two halves that a boundary parts, one is long enough. */
	if (!found && query->boundary > query->alignment && log == level &&
	    2 * npages < RT_MAX)
		found = hunt_level(&s, level, 2 * npages);
	if (!found)
		found = hunt_level(&s, level, npages);
	if (!found)
		return false;
	*treep = s.hunt.tree;
	*pap = s.hunt.pa;
	return true;
}
