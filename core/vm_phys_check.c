/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_phys_check(): every invariant of docs/design/vm_phys.md.  Linear.
 */

#include "core/vm_phys_node_int.h"

/* What a walk over one tree has found so far. */
struct tree_walk {
	const struct rt_store *store;
	vm_paddr_t last; /* end of the run before */
	uint64_t nruns, nleaves, ninners;
	const char *broken;
};

static void
tree_broken(struct tree_walk *walk, const char *text)
{
	MPASS(text != NULL);

	if (walk->broken == NULL)
		walk->broken = text;
}

/* Add one run to a summary, the slow way. */
static void
sum_run(struct rt_sum *sum, const struct rt_store *store, vm_paddr_t start,
    vm_paddr_t end)
{
	vm_paddr_t from = start >> store->page_shift;
	vm_paddr_t upto = end >> store->page_shift;

	MPASS(start < end);

	sum->classes |= UINT64_C(1) << rt_class(upto - from);
	for (unsigned l = 0; l < RT_LEVELS; l++) {
		int16_t npages = 0;

		from = roundup2(from, UINT64_C(1) << l);
		if (from < upto)
			npages = (int16_t)MIN(upto - from, RT_MAX);
		if (npages > rt_sum_max(sum, l))
			sum->max[l / 8][l % 8] = npages;
	}
}

static void
check_measures(struct tree_walk *walk, const struct rt_leaf *leaf, unsigned i)
{
	struct rt_leaf fresh = *leaf;

	MPASS(i < leaf->n);

	rt_leaf_measure(&fresh, i, walk->store->page_shift);
	if (memcmp(&fresh, leaf, sizeof(fresh)) != 0)
		tree_broken(walk, "[phys.measure] of a run");
}

static struct rt_sum
check_leaf(struct tree_walk *walk, const struct rt_leaf *leaf)
{
	struct rt_sum sum = {0};

	MPASS(leaf->n <= RT_LEAF);

	for (unsigned i = 0; i < RT_LEAF; i++) {
		if (i >= leaf->n) {
			if (leaf->start[i] != UINT64_MAX ||
			    leaf->cls[i] != RT_NCLASS ||
			    leaf->length[i / 8][i % 8] != 0)
				tree_broken(walk, "[phys.fill] unused place");
			continue;
		}
		if (leaf->start[i] < walk->last ||
		    leaf->start[i] >= leaf->end[i]) {
			tree_broken(walk, "[phys.order] runs out of order");
			return sum;
		}
		walk->last = leaf->end[i];
		sum_run(&sum, walk->store, leaf->start[i], leaf->end[i]);
		check_measures(walk, leaf, i);
	}
	walk->nleaves++;
	walk->nruns += leaf->n;
	return sum;
}

static void
sum_add(struct rt_sum *sum, const struct rt_sum *more)
{
	sum->classes |= more->classes;
	for (unsigned l = 0; l < RT_LEVELS; l++)
		if (rt_sum_max(more, l) > rt_sum_max(sum, l))
			sum->max[l / 8][l % 8] = rt_sum_max(more, l);
}

/* Does `known` say of runs what there is, and of measures enough? */
static bool
sum_covers(const struct rt_sum *known, const struct rt_sum *below)
{
	if (known->classes != below->classes)
		return false;
	for (unsigned l = 0; l < RT_LEVELS; l++)
		if (rt_sum_max(known, l) < rt_sum_max(below, l) ||
		    rt_sum_max(known, l) > RT_MAX)
			return false;
	return true;
}

static struct rt_sum
slot_sum(struct rt_inner *inner, unsigned i)
{
	struct rt_sum sum = {0};

	MPASS(i < RT_FAN);

	for (unsigned c = 0; c < RT_NCLASS; c++)
		sum.classes |= (uint64_t)(*inner_having(inner, c) >> i & 1)
			       << c;
	for (unsigned l = 0; l < RT_LEVELS; l++)
		*lane(sum.max, l) = *inner_max(inner, l, i);
	return sum;
}

static bool
slot_is_blank(struct rt_inner *inner, unsigned i)
{
	static const struct rt_sum nothing;
	struct rt_sum sum = slot_sum(inner, i);

	return inner->first[i] == RT_NO_START && inner->child[i] == NULL &&
	       memcmp(&sum, &nothing, sizeof(sum)) == 0;
}

/* The lowest start: the first field of either kind of node. */
static vm_paddr_t
node_first(const void *node, unsigned height)
{
	MPASS(height > 0);

	if (height == 1)
		return ((const struct rt_leaf *)node)->start[0];
	return ((const struct rt_inner *)node)->first[0];
}

static unsigned
node_n(const void *node, unsigned height)
{
	MPASS(height > 0);

	if (height == 1)
		return ((const struct rt_leaf *)node)->n;
	return ((const struct rt_inner *)node)->n;
}

static struct rt_sum
check_node(struct tree_walk *walk, void *node, unsigned height)
{
	struct rt_inner *inner = node;
	struct rt_sum sum = {0};

	MPASS(height > 0 && height <= RT_HEIGHT);

	if (height == 1)
		return check_leaf(walk, node);
	walk->ninners++;
	for (unsigned i = 0; i < inner->n; i++) {
		void *child = inner->child[i];
		struct rt_sum below, known;
		unsigned half = height == 2 ? RT_LEAF / 2 : RT_FAN / 2;

		if (node_n(child, height - 1) < half)
			tree_broken(walk,
			    "[phys.fill] node less than half full");
		if (inner->first[i] != node_first(child, height - 1))
			tree_broken(walk,
			    "[phys.first] key is not the child's");
		below = check_node(walk, child, height - 1);
		known = slot_sum(inner, i);
		if (!sum_covers(&known, &below))
			tree_broken(walk, "[phys.sum] summary of a child");
		for (unsigned l = 0; height > 2 && l < RT_LEVELS; l++)
			if (inner_longest(child, l) > rt_sum_max(&known, l))
				tree_broken(walk,
				    "[phys.sum] bound of a child");
		sum_add(&sum, &below);
	}
	for (unsigned i = inner->n; i < RT_FAN; i++)
		if (!slot_is_blank(inner, i))
			tree_broken(walk, "[phys.fill] unused slot");
	return sum;
}

const char *
rt_check(const struct rt_store *store, const struct rt *rt, uint64_t *nrunsp,
    uint64_t *nleavesp, uint64_t *ninnersp)
{
	struct tree_walk walk = {.store = store};
	struct rt_sum sum;

	if ((rt->root == NULL) != (rt->height == 0))
		return "[phys.fill] height of an empty tree";
	if (rt->root == NULL)
		return NULL;
	if (node_n(rt->root, rt->height) < (rt->height == 1 ? 1 : 2))
		return "[phys.fill] root with too few";
	sum = check_node(&walk, rt->root, rt->height);
	if (!sum_covers(&rt->sum, &sum))
		tree_broken(&walk, "[phys.sum] summary of a tree");
	*nrunsp += walk.nruns;
	*nleavesp += walk.nleaves;
	*ninnersp += walk.ninners;
	return walk.broken;
}

/* The runs of one tree against the segments. */
static const char *
check_runs(struct vm_phys *phys, int d, unsigned zone, vm_size_t *freep)
{
	struct rt *rt = &phys->domains[d]->rt[zone];
	struct rt_path path;
	bool more = rt_seek(rt, 0, &path);
	vm_paddr_t page_mask = (UINT64_C(1) << phys->page_shift) - 1;
	vm_paddr_t last = 0;

	MPASS(zone < PHYS_NZONES);

	for (; more; more = rt_next(rt, &path)) {
		vm_paddr_t start = path.leaf->start[path.pos];
		vm_paddr_t end = path.leaf->end[path.pos];
		struct phys_seg *seg = phys_seg_at(phys, start);

		if (((start | end) & page_mask) != 0)
			return "[phys.page] run is not whole pages";
		if (seg == NULL || end > seg->end || seg->domain != d)
			return "[phys.seg] run is not in one segment";
		if (start == last && start > seg->start && last != 0)
			return "[phys.merge] runs that touch";
		if (phys_zone(end - 1) != zone)
			return "[phys.zone] run in another zone's tree";
		*freep += end - start;
		last = end;
	}
	return NULL;
}

/* Runs that touch across two zones of one domain. */
static const char *
check_domain(struct vm_phys *phys, int d, uint64_t *nrunsp, uint64_t *nleavesp,
    uint64_t *ninnersp)
{
	struct phys_domain *domain = phys->domains[d];
	vm_size_t nfree = 0;
	const char *broken;

	MPASS(phys->domains[d] != NULL);

	for (unsigned z = 0; z < PHYS_NZONES; z++) {
		bool used = (domain->used >> z & 1) != 0;

		if (used != (domain->rt[z].height > 0))
			return "[phys.zone] used bit of a zone";
		if (used && (domain->possible >> z & 1) == 0)
			return "[phys.zone] possible bit of a zone";
		broken = rt_check(&phys->store, &domain->rt[z], nrunsp,
		    nleavesp, ninnersp);
		if (broken == NULL)
			broken = check_runs(phys, d, z, &nfree);
		if (broken != NULL)
			return broken;
	}
	return nfree == domain->free ? NULL : "[phys.count] bytes of a domain";
}

/* Segments in order, apart, and joined where they can be. */
static const char *
check_segs(struct vm_phys *phys)
{
	struct phys_seg *seg, *next;
	vm_size_t total = 0, above = 0;
	uint64_t nsegs = 0;

	for (seg = phys_seg_next(phys, 0); seg != NULL; seg = next) {
		next = phys_seg_next(phys, seg->end);
		if (seg->start >= seg->end ||
		    (next != NULL && next->start < seg->end))
			return "[phys.seg] segments overlap";
		if (next != NULL && next->start == seg->end &&
		    next->domain == seg->domain && next->owner == seg->owner)
			return "[phys.seg] segments that should be one";
		total += seg->end - seg->start;
		if (seg->end > UINT64_C(1) << 32)
			above += seg->end - MAX(seg->start, UINT64_C(1) << 32);
		nsegs++;
	}
	if (total != phys->total || above != phys->above_4g ||
	    nsegs != phys->nsegs)
		return "[phys.count] segments";
	return NULL;
}

/* Runs of neighbouring zones may touch only where segments part. */
static const char *
check_merge(struct vm_phys *phys)
{
	struct vm_phys_run run, next;
	bool more = vm_phys_next_free(phys, 0, &run);

	while (more) {
		more = vm_phys_next_free(phys, run.end, &next);
		if (more && next.start == run.end &&
		    phys_seg_at(phys, run.start) ==
			phys_seg_at(phys, next.start))
			return "[phys.merge] runs that touch";
		run = next;
	}
	return NULL;
}

const char *
vm_phys_check(struct vm_phys *phys)
{
	uint64_t nruns = 0, nleaves = 0, ninners = 0, ntrees = 0;
	vm_size_t nfree = 0;
	const char *broken = check_segs(phys);

	for (int d = 0; d < VM_PHYS_DOMAINS && broken == NULL; d++) {
		if (phys->domains[d] == NULL)
			continue;
		broken = check_domain(phys, d, &nruns, &nleaves, &ninners);
		nfree += phys->domains[d]->free;
		ntrees +=
		    (uint64_t)__builtin_popcountll(phys->domains[d]->possible);
	}
	if (broken != NULL)
		return broken;
	if (nruns != phys->nruns || nfree != phys->free ||
	    ntrees != phys->ntrees)
		return "[phys.count] runs, bytes or trees";
	if (nleaves != uma_zone_used(&phys->store.leaves) ||
	    ninners != uma_zone_used(&phys->store.inners))
		return "[phys.count] nodes";
	if (!rt_store_suffices(&phys->store, phys->nruns + phys->ntaken,
		phys->ntrees))
		return "[phys.reserve] too few nodes for what may come back";
	return check_merge(phys);
}
