/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_phys: segments, requests, and what comes back.
 *
 *	segment	[------------ owner A -----------)[---- owner B ----)
 *	free	   [---)      [------------------)[--)        [-----)
 *
 * A free run lies in one segment, and no two of one segment touch.  Runs are
 * kept in one tree for each domain and zone.  Every edit finds out first
 * whether it can be done, then makes sure of its nodes, then changes trees in
 * code that cannot fail.
 */

#include <string.h>

#include "core/kassert.h"
#include "core/vm_phys_int.h"

vm_size_t
vm_phys_page_size(const struct vm_phys *phys)
{
	MPASS(phys->page_shift < 64);

	return UINT64_C(1) << phys->page_shift;
}

/* Under VM_INVARIANTS=2 every edit ends here. */
static void
edited(struct vm_phys *phys)
{
#if VM_INVARIANTS > 1
	const char *broken = vm_phys_check(phys);

	if (broken != NULL)
		kassert_panic(__FILE__, __LINE__, broken);
#else
	(void)phys;
#endif
}

/* Life. */

struct vm_phys *
vm_phys_create(const struct arch *arch, vm_size_t page_size)
{
	struct vm_phys *phys;

	MPASS(page_size > 0 && powerof2(page_size));

	phys = uma_malloc(arch, sizeof(*phys));
	if (phys == NULL)
		return NULL;
	phys->arch = arch;
	phys->page_shift = (unsigned)__builtin_ctzll(page_size);
	rt_store_init(&phys->store, arch, phys->page_shift);
	uma_zone_init(&phys->segzone, arch, sizeof(struct phys_seg));
	return phys;
}

void
vm_phys_destroy(struct vm_phys *phys)
{
	if (phys == NULL)
		return;
	for (int d = 0; d < VM_PHYS_DOMAINS; d++)
		uma_free(phys->arch, phys->domains[d],
		    sizeof(*phys->domains[d]));
	rt_store_fini(&phys->store);
	uma_zone_fini(&phys->segzone);
	uma_free(phys->arch, phys, sizeof(*phys));
}

/* Reserve: nodes for every run that is, and that can come back, and `more`. */
static int
phys_reserve(struct vm_phys *phys, uint64_t more)
{
	MPASS(phys->nruns + phys->ntaken + more >= more);

	return rt_store_reserve(&phys->store, phys->nruns + phys->ntaken + more,
	    phys->ntrees);
}

/* Segments. */

static int
range_check(const struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end)
{
	vm_paddr_t mask = vm_phys_page_size(phys) - 1;

	if (start >= end || ((start | end) & mask) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

static int
domain_reserve(struct vm_phys *phys, int d)
{
	MPASS(d >= 0 && d < VM_PHYS_DOMAINS);

	if (phys->domains[d] != NULL)
		return KERN_SUCCESS;
	phys->domains[d] = uma_malloc(phys->arch, sizeof(*phys->domains[d]));
	return phys->domains[d] != NULL ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
}

/* The zones from that of the first byte to that of the last. */
static unsigned
zones_of(vm_paddr_t start, vm_paddr_t end)
{
	unsigned first = phys_zone(start), last = phys_zone(end - 1);

	MPASS(start < end);

	return (2u << last) - (1u << first);
}

static vm_size_t
bytes_above_4g(vm_paddr_t start, vm_paddr_t end)
{
	start = MAX(start, UINT64_C(1) << 32);
	return end > start ? end - start : 0;
}

/* List the possible trees; zone_trees[z] is where zone z ends. */
static void
list_trees(struct vm_phys *phys)
{
	MPASS(phys->ntrees <= nitems(phys->trees));

	phys->ntrees = 0;
	for (unsigned z = PHYS_NZONES; z-- > 0;) {
		phys->zone_trees[z + 1] = phys->ntrees;
		for (int d = VM_PHYS_DOMAINS; d-- > 0;) {
			struct phys_domain *domain = phys->domains[d];

			if (domain == NULL || (domain->possible >> z & 1) == 0)
				continue;
			phys->trees[phys->ntrees++] =
			    (struct phys_tree){&domain->rt[z], domain, z,
				phys_zone_top(z)};
		}
	}
	phys->zone_trees[0] = phys->ntrees;
}

static bool
seg_joins(const struct phys_seg *seg, int domain, void *owner)
{
	MPASS(seg->start < seg->end);

	return seg->domain == domain && seg->owner == owner;
}

/* Enter [start, end) as a segment, or as part of those it touches. */
static struct phys_seg *
seg_enter(struct vm_phys *phys, struct phys_seg *fresh, vm_paddr_t start,
    vm_paddr_t end, int domain, void *owner)
{
	struct phys_seg *before, *after, *seg = fresh;

	MPASS(start < end && fresh != NULL);

	before = start > 0 ? phys_seg_at(phys, start - 1) : NULL;
	after = phys_seg_at(phys, end);
	if (before != NULL && seg_joins(before, domain, owner)) {
		start = before->start;
		phys_seg_unlink(phys, before);
		uma_zfree(&phys->segzone, before);
	}
	if (after != NULL && seg_joins(after, domain, owner)) {
		end = after->end;
		phys_seg_unlink(phys, after);
		uma_zfree(&phys->segzone, after);
	}
	*seg = (struct phys_seg){.start = start,
	    .end = end,
	    .domain = domain,
	    .owner = owner};
	phys_seg_link(phys, seg);
	return seg;
}

int
vm_phys_add_seg(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end,
    int domain, void *owner)
{
	struct phys_seg *seg;
	struct phys_around around;
	unsigned zones, fresh;
	int rv;

	if (range_check(phys, start, end) != KERN_SUCCESS || domain < 0 ||
	    domain >= VM_PHYS_DOMAINS)
		return KERN_INVALID_ARGUMENT;
	seg = phys_seg_next(phys, start);
	if (seg != NULL && seg->start < end)
		return KERN_INVALID_ARGUMENT;
	rv = domain_reserve(phys, domain);
	if (rv != KERN_SUCCESS)
		return rv;
	zones = zones_of(start, end);
	fresh = (unsigned)__builtin_popcount(
	    zones & ~phys->domains[domain]->possible);
	rv = rt_store_reserve(&phys->store, phys->nruns + phys->ntaken + 1,
	    phys->ntrees + fresh);
	if (rv != KERN_SUCCESS)
		return rv;
	seg = uma_zalloc(&phys->segzone);
	if (seg == NULL)
		return KERN_RESOURCE_SHORTAGE;

	if (fresh > 0) {
		phys->domains[domain]->possible |= zones;
		list_trees(phys);
	}
	phys->total += end - start;
	phys->above_4g += bytes_above_4g(start, end);
	seg = seg_enter(phys, seg, start, end, domain, owner);
	(void)phys_look_around(phys, seg, start, end,
	    &around); /* nothing is free */
	phys_run_release(phys, seg, start, end, &around);
	edited(phys);
	return KERN_SUCCESS;
}

/* The run that holds all of [start, end), which lies in `seg`. */
static bool
run_holding(struct vm_phys *phys, const struct phys_seg *seg, vm_paddr_t start,
    vm_paddr_t end, struct phys_run *run)
{
	MPASS(seg->start <= start && start < seg->end && start < end);

	return phys_run_seek(phys->domains[seg->domain], start, run) &&
	       run->start <= start && end <= run->end;
}

/*
 * May [start, end) go: is it all in segments, and all free?  *middlep: it is
 * in the middle of one segment, so that two pieces are left.
 */
static int
seg_remove_check(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end,
    bool *middlep)
{
	int rv = KERN_SUCCESS;

	MPASS(start < end);

	*middlep = false;
	while (start < end) {
		struct phys_seg *seg = phys_seg_at(phys, start);
		struct phys_run run;
		vm_paddr_t upto;

		if (seg == NULL)
			return KERN_INVALID_ADDRESS;
		*middlep |= seg->start < start && end < seg->end;
		upto = MIN(end, seg->end);
		if (!run_holding(phys, seg, start, upto, &run))
			rv = KERN_FAILURE;
		start = upto;
	}
	return rv;
}

/*
 * Cut [start, end) out of its segment; `spare` is used, and NULLed, where
 * something is left on both sides.
 */
static void
seg_carve(struct vm_phys *phys, struct phys_seg *seg, vm_paddr_t start,
    vm_paddr_t end, struct phys_seg **sparep)
{
	struct phys_seg old = *seg;

	MPASS(seg->start <= start && start < end && end <= seg->end);

	phys_seg_unlink(phys, seg);
	if (old.start < start) {
		seg->end = start;
		phys_seg_link(phys, seg);
		seg = NULL;
	}
	if (end < old.end) {
		if (seg == NULL) {
			seg = *sparep;
			*sparep = NULL;
		}
		*seg = old;
		seg->start = end;
		phys_seg_link(phys, seg);
		seg = NULL;
	}
	uma_zfree(&phys->segzone, seg);
}

int
vm_phys_remove_seg(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end)
{
	struct phys_seg *spare = NULL;
	bool middle = false;
	int rv;

	rv = range_check(phys, start, end);
	if (rv == KERN_SUCCESS)
		rv = seg_remove_check(phys, start, end, &middle);
	if (rv == KERN_SUCCESS && middle)
		rv = phys_reserve(phys, 1);
	if (rv != KERN_SUCCESS)
		return rv;
	if (middle && (spare = uma_zalloc(&phys->segzone)) == NULL)
		return KERN_RESOURCE_SHORTAGE;

	while (start < end) {
		struct phys_seg *seg = phys_seg_at(phys, start);
		struct phys_run run;
		vm_paddr_t upto = MIN(end, seg->end);

		(void)run_holding(phys, seg, start, upto, &run); /* checked */
		phys_run_carve(phys, &run, start, upto);
		phys->total -= upto - start;
		phys->above_4g -= bytes_above_4g(start, upto);
		seg_carve(phys, seg, start, upto, &spare);
		start = upto;
	}
	MPASS(spare == NULL);
	edited(phys);
	return KERN_SUCCESS;
}

/* Requests. */

static int
refuse(struct contig_refusal *whyp, const char *arg, const char *rule,
    uint64_t limit)
{
	if (whyp != NULL)
		*whyp = (struct contig_refusal){arg, rule, limit};
	return KERN_INVALID_ARGUMENT;
}

int
contig_req_check(const struct contig_req *req, vm_size_t page_size,
    struct contig_refusal *whyp)
{
	vm_size_t size;

	MPASS(page_size > 0 && powerof2(page_size));

	if (req->size == 0)
		return refuse(whyp, "size", "must be at least", 1);
	if (req->size > rounddown2(UINT64_MAX, page_size))
		return refuse(whyp, "size",
		    "must not overflow when rounded to pages; at most",
		    rounddown2(UINT64_MAX, page_size));
	size = roundup2(req->size, page_size);
	if (req->alignment == 0 || !powerof2(req->alignment))
		return refuse(whyp, "alignment", "must be a power of two", 0);
	if (!powerof2(req->boundary))
		return refuse(whyp, "boundary", "must be 0 or a power of two",
		    0);
	if (req->boundary != 0 && req->boundary < size)
		return refuse(whyp, "boundary",
		    "must be 0 or at least the size rounded to pages,", size);
	if (req->low >= req->high)
		return refuse(whyp, "low", "must be below high,", req->high);
	if (req->domain < -1 || req->domain >= VM_PHYS_DOMAINS)
		return refuse(whyp, "domain", "must be -1 (any) or below",
		    VM_PHYS_DOMAINS);
	return KERN_SUCCESS;
}

/* The request in whole pages.  false: the window has no page in it. */
static bool
query_init(const struct vm_phys *phys, const struct contig_req *req,
    struct phys_query *query)
{
	vm_size_t page = vm_phys_page_size(phys);

	MPASS(req->size > 0);

	query->size = roundup2(req->size, page);
	query->low = roundup2(req->low, page);
	query->high = rounddown2(req->high, page);
	query->alignment = MAX(req->alignment, page);
	query->boundary = req->boundary;
	return query->low >= req->low && query->low < query->high &&
	       query->high - query->low >= query->size;
}

/*
 * Is memory below 4 GiB worth saving for those who need it?  As FreeBSD has
 * it: where there is a lot above.
 */
static bool
low_is_scarce(const struct vm_phys *phys)
{
	MPASS(phys->above_4g <= phys->total);

	return phys->above_4g > UINT64_C(64) << 30;
}

/* The trees of zones [first, last], of one domain or, for -1, of all. */
static bool
zones_find(struct vm_phys *phys, int only, unsigned first, unsigned last,
    const struct phys_query *query, struct phys_run *run, vm_paddr_t *pap)
{
	unsigned begin = phys->zone_trees[last + 1];
	unsigned end = phys->zone_trees[first];
	const struct phys_domain *domain =
	    only >= 0 ? phys->domains[only] : NULL;
	const struct phys_tree *tree;

	MPASS(first <= last && last < PHYS_NZONES);
	MPASS(only < VM_PHYS_DOMAINS);

	if ((only >= 0 && domain == NULL) ||
	    !phys_search(&phys->trees[begin], end - begin, domain, &phys->store,
		query, &tree, &run->path, pap))
		return false;
	run->domain = tree->domain;
	run->zone = tree->zone;
	phys_run_read(run);
	return true;
}

/* Low memory is spent last: below 16 MiB always, below 4 GiB if scarce. */
static bool
phys_find(struct vm_phys *phys, int only, const struct phys_query *query,
    struct phys_run *run, vm_paddr_t *pap)
{
	MPASS(query->size > 0 && query->low < query->high);

	if (low_is_scarce(phys))
		return zones_find(phys, only, 2, 2, query, run, pap) ||
		       zones_find(phys, only, 1, 1, query, run, pap) ||
		       zones_find(phys, only, 0, 0, query, run, pap);
	return zones_find(phys, only, 1, 2, query, run, pap) ||
	       zones_find(phys, only, 0, 0, query, run, pap);
}

int
vm_phys_find_contig(struct vm_phys *phys, const struct contig_req *req,
    vm_paddr_t *pap)
{
	struct phys_query query;
	struct phys_run run;

	MPASS(req != NULL && pap != NULL);

	if (contig_req_check(req, vm_phys_page_size(phys), NULL) !=
	    KERN_SUCCESS)
		return KERN_INVALID_ARGUMENT;
	if (!query_init(phys, req, &query) ||
	    !phys_find(phys, req->domain, &query, &run, pap))
		return KERN_NO_SPACE;
	return KERN_SUCCESS;
}

bool
vm_phys_possible(struct vm_phys *phys, const struct contig_req *req)
{
	struct phys_query query;
	struct phys_seg *seg;
	vm_paddr_t pa;

	if (contig_req_check(req, vm_phys_page_size(phys), NULL) !=
		KERN_SUCCESS ||
	    !query_init(phys, req, &query))
		return false;
	MPASS(query.size > 0);
	for (seg = phys_seg_next(phys, query.low); seg != NULL;
	     seg = phys_seg_next(phys, seg->end))
		if ((req->domain < 0 || req->domain == seg->domain) &&
		    contig_fit(&query, seg->start, seg->end, &pa))
			return true;
	return false;
}

int
vm_phys_alloc_contig(struct vm_phys *phys, const struct contig_req *req,
    vm_paddr_t *pap)
{
	struct phys_query query;
	struct phys_run run;
	vm_paddr_t pa;
	int rv;

	MPASS(req != NULL && pap != NULL);

	if (contig_req_check(req, vm_phys_page_size(phys), NULL) !=
	    KERN_SUCCESS)
		return KERN_INVALID_ARGUMENT;
	if (!query_init(phys, req, &query) ||
	    !phys_find(phys, req->domain, &query, &run, &pa))
		return KERN_NO_SPACE;
	/* One run for what may be left in two pieces, one for its return. */
	rv = phys_reserve(phys, 2);
	if (rv != KERN_SUCCESS)
		return rv;

	phys_run_carve(phys, &run, pa, pa + query.size);
	phys->ntaken++;
	edited(phys);
	*pap = pa;
	return KERN_SUCCESS;
}

int
vm_phys_take(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end)
{
	struct phys_seg *seg;
	struct phys_run run;
	int rv;

	rv = range_check(phys, start, end);
	if (rv != KERN_SUCCESS)
		return rv;
	seg = phys_seg_at(phys, start);
	if (seg == NULL || !run_holding(phys, seg, start, end, &run))
		return KERN_NO_SPACE;
	rv = phys_reserve(phys, 2);
	if (rv != KERN_SUCCESS)
		return rv;

	phys_run_carve(phys, &run, start, end);
	phys->ntaken++;
	edited(phys);
	return KERN_SUCCESS;
}

/* Look about a range that is to come back. */
static int
give_check(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end,
    struct phys_seg **segp, struct phys_around *around)
{
	struct phys_seg *seg;

	if (range_check(phys, start, end) != KERN_SUCCESS)
		return KERN_INVALID_ARGUMENT;
	seg = phys_seg_at(phys, start);
	if (seg == NULL || end > seg->end)
		return KERN_INVALID_ADDRESS;
	if (!phys_look_around(phys, seg, start, end, around))
		return KERN_FAILURE;
	*segp = seg;
	return KERN_SUCCESS;
}

/* Pieces that are out, at most: no page is part of two. */
static void
taken_add(struct vm_phys *phys, int more)
{
	uint64_t npages = (phys->total - phys->free) >> phys->page_shift;

	MPASS(more >= 0 || phys->ntaken > 0);

	phys->ntaken += (uint64_t)(int64_t)more;
	phys->ntaken = MIN(phys->ntaken, npages);
}

int
vm_phys_expect_pieces(struct vm_phys *phys, uint64_t more)
{
	int rv = phys_reserve(phys, more);

	MPASS(more < INT32_MAX);

	if (rv == KERN_SUCCESS)
		taken_add(phys, (int)more);
	return rv;
}

int
vm_phys_free_contig(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end)
{
	struct phys_seg *seg;
	struct phys_around around;
	int rv = give_check(phys, start, end, &seg, &around);

	if (rv != KERN_SUCCESS)
		return rv;
	KASSERT(phys->ntaken > 0, "memory is out that nobody took");

	phys_run_release(phys, seg, start, end, &around);
	taken_add(phys, -1);
	edited(phys);
	return KERN_SUCCESS;
}

/*
 * How many pieces more are out when this one is back, at most.  Where both of
 * its edges are free, or borders, it was one or several whole ones.
 */
static int
pieces_more(const struct phys_seg *seg, vm_paddr_t start, vm_paddr_t end,
    const struct phys_around *around)
{
	int more = -1;

	MPASS(start < end);
	MPASS(seg->start <= start && end <= seg->end);

	more += start != seg->start && !around->before;
	more += end != seg->end && !around->after;
	return more;
}

int
vm_phys_free_part(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end)
{
	struct phys_seg *seg;
	struct phys_around around;
	int more, rv = give_check(phys, start, end, &seg, &around);

	if (rv != KERN_SUCCESS)
		return rv;
	more = pieces_more(seg, start, end, &around);
	/* One run and `more` pieces. */
	if (more >= 0 && phys_reserve(phys, 1 + (uint64_t)more) != KERN_SUCCESS)
		return KERN_RESOURCE_SHORTAGE;

	phys_run_release(phys, seg, start, end, &around);
	taken_add(phys, more);
	edited(phys);
	return KERN_SUCCESS;
}

/* Queries. */

bool
vm_phys_next_free(struct vm_phys *phys, vm_paddr_t pa, struct vm_phys_run *runp)
{
	struct phys_run run, best = {.start = UINT64_MAX};
	struct phys_seg *seg;

	MPASS(runp != NULL);

	for (int d = 0; d < VM_PHYS_DOMAINS; d++)
		if (phys->domains[d] != NULL &&
		    phys_run_seek(phys->domains[d], pa, &run) &&
		    run.start < best.start)
			best = run;
	if (best.start == UINT64_MAX)
		return false;
	seg = phys_seg_at(phys, best.start);
	*runp =
	    (struct vm_phys_run){best.start, best.end, seg->domain, seg->owner};
	return true;
}

bool
vm_phys_next_seg(struct vm_phys *phys, vm_paddr_t pa, struct vm_phys_run *runp)
{
	struct phys_seg *seg = phys_seg_next(phys, pa);

	MPASS(runp != NULL);

	if (seg == NULL)
		return false;
	*runp =
	    (struct vm_phys_run){seg->start, seg->end, seg->domain, seg->owner};
	return true;
}

void
vm_phys_stats(struct vm_phys *phys, struct vm_phys_stats *statsp)
{
	MPASS(phys->free <= phys->total);

	*statsp = (struct vm_phys_stats){
	    .total = phys->total,
	    .free = phys->free,
	    .nsegs = phys->nsegs,
	    .nruns = phys->nruns,
	};
	for (int d = 0; d < VM_PHYS_DOMAINS; d++) {
		struct phys_domain *domain = phys->domains[d];

		if (domain == NULL)
			continue;
		for (unsigned z = 0; z < PHYS_NZONES; z++)
			statsp->largest_run = MAX(statsp->largest_run,
			    rt_largest(&phys->store, &domain->rt[z]));
	}
}
