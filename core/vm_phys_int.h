/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The inside of vm_phys: run trees, segments, the search.
 *
 * For core/, tests, fuzz targets and benches only.  Invariants and their tags:
 * docs/design/vm_phys.md.
 */

#include <assert.h>

#include "core/uma.h"
#include "core/vm_param.h"
#include "core/vm_phys.h"

/*
 * A run tree: free runs in ascending order, in a B+-tree whose inner nodes
 * know of each child which run lengths it has.
 */
#define RT_LEAF   32 /* runs in a leaf at most; half of it at least */
#define RT_FAN    64 /* children of an inner node at most; half at least */
#define RT_HEIGHT 10 /* levels at most: 16^10 runs are more than there are */
#define RT_LEVELS 10 /* alignments of 2^0 to 2^9 pages: 4 KiB to 2 MiB */
#define RT_NCLASS 64 /* classes of lengths */

/*
 * Longest measure, in pages: what is longer counts as this.  A length clamped
 * to INT16_MAX, less what any level's alignment can cost, is at least this.
 */
#define RT_MAX (INT16_MAX - ((1 << (RT_LEVELS - 1)) - 1))

/* Eight measures, handled at once where the machine can. */
typedef int16_t rt_lanes __attribute__((vector_size(16)));
typedef uint64_t rt_masks __attribute__((vector_size(16)));
#define RT_ROW 2 /* rt_lanes that hold RT_LEVELS measures; the rest are 0 */

/* gcc leaves short loops alone at -O2. */
#ifdef __clang__
#define RT_UNROLL
#else
#define RT_UNROLL _Pragma("GCC unroll 16")
#endif

/* What is known of all runs below a child. */
struct rt_sum {
	uint64_t classes; /* bit c: it has a run of class c */
	/* Lane l: pages of the longest run counted from its first page that
	 * is a multiple of 2^l, or more; at most RT_MAX. */
	rt_lanes max[RT_ROW];
};

/* What the last three hold follows from the first two; unused ones are 0. */
struct rt_leaf {
	_Alignas(64) vm_paddr_t start[RT_LEAF]; /* [n, RT_LEAF): all ones */
	vm_paddr_t end[RT_LEAF];
	rt_lanes length[RT_LEAF / 8]; /* pages, clamped to INT16_MAX */
	rt_lanes offset[RT_LEAF / 8]; /* pages to the next multiple of 512 */
	_Alignas(16) uint8_t cls[RT_LEAF]; /* [n, RT_LEAF): RT_NCLASS */
	unsigned n;
};

struct rt_inner {
	/* lowest start; [n, RT_FAN): all ones */
	_Alignas(64) vm_paddr_t first[RT_FAN];
	void *child[RT_FAN]; /* rt_inner, or rt_leaf on the lowest level */
	/* By level, of each child: as in rt_sum; [n, RT_FAN): 0 */
	rt_lanes max[RT_LEVELS][RT_FAN / 8];
	rt_masks having[RT_NCLASS / 2]; /* by class: bit i: child i has it */
	unsigned n;
};

struct rt {
	void *root;        /* NULL: empty */
	unsigned height;   /* 0: empty, 1: the root is a leaf */
	struct rt_sum sum; /* of all of it */
};

/* One run in a tree and the way to it. */
struct rt_path {
	struct rt_leaf *leaf;
	unsigned pos;
	uint8_t at[RT_HEIGHT]; /* [0] the root's child ... */
	struct rt_inner
	    *inner[RT_HEIGHT]; /* [0] the root; height - 1 of them */
};

/* Where trees have their nodes and measures from. */
struct rt_store {
	struct uma_zone leaves, inners;
	unsigned page_shift;
	uint64_t nruns, ntrees; /* for which there are nodes enough */
};

/*
 * Zones end where the common devices' address masks do: at 16 MiB, at 4 GiB,
 * nowhere.  A run belongs to the zone of its last byte.
 */
#define PHYS_NZONES 3

struct phys_domain {
	struct rt rt[PHYS_NZONES];
	unsigned used;     /* bits: zones whose tree is not empty */
	unsigned possible; /* bits: zones that a segment ever reached */
	vm_size_t free;    /* bytes */
};

/* A tree to look in.  No run of it ends above `top`. */
struct phys_tree {
	struct rt *rt;
	struct phys_domain *domain;
	unsigned zone;
	vm_paddr_t top;
};

struct phys_seg {
	vm_paddr_t start, end;
	int domain;
	void *owner;
	struct phys_seg *left, *right; /* treap by start */
};

struct vm_phys {
	const struct arch *arch;
	unsigned page_shift;
	struct phys_domain *domains[VM_PHYS_DOMAINS]; /* NULL: no memory */
	struct rt_store store;
	struct uma_zone segzone;
	struct phys_seg *segs; /* treap */
	struct phys_seg *hint; /* segment of the last free, or NULL */
	vm_size_t total, free; /* bytes */
	vm_size_t above_4g;    /* bytes of segments above 4 GiB */
	uint64_t nsegs, nruns;
	uint64_t
	    ntaken; /* pieces handed out, each to come back whole; or more */
	/* All that are possible: high zones first, in a zone high domains. */
	struct phys_tree trees[PHYS_NZONES * VM_PHYS_DOMAINS];
	unsigned ntrees;
	unsigned zone_trees[PHYS_NZONES + 1]; /* [z]: where zone z ends */
};

/* A request in the units of the search. */
struct phys_query {
	vm_size_t size; /* bytes, whole pages */
	vm_paddr_t low, high, alignment, boundary;
};

/* Run trees: core/vm_phys_tree.c. */

void rt_store_init(struct rt_store *store, const struct arch *arch,
    unsigned page_shift);
void rt_store_fini(struct rt_store *store);
int rt_store_reserve_slow(struct rt_store *store, uint64_t nruns,
    uint64_t ntrees);
bool rt_store_suffices(const struct rt_store *store, uint64_t nruns,
    uint64_t ntrees);

/* Point at the first run that ends above `pa`; false: there is none. */
bool rt_seek(struct rt *rt, vm_paddr_t pa, struct rt_path *path);
bool rt_next(struct rt *rt, struct rt_path *path); /* to the one behind */

void rt_insert(struct rt_store *store, struct rt *rt, vm_paddr_t start,
    vm_paddr_t end);
/* In front of the run of the path, which must be where it belongs. */
void rt_insert_at(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end);
void rt_delete(struct rt_store *store, struct rt *rt, struct rt_path *path);
/* The run of the path and the next one of its leaf become one. */
void rt_join(struct rt_store *store, struct rt *rt, struct rt_path *path);
/* Move an edge; the run keeps its place among its neighbours. */
void rt_resize(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end);

/* Bytes in the longest run; 0: empty. */
vm_size_t rt_largest(const struct rt_store *store, const struct rt *rt);

/*
 * Lengths up to 7 pages have a class each; above there are four to a power of
 * two, and the last has everything from 2^17 pages.
 */
static inline unsigned
rt_class(uint64_t npages)
{
	unsigned n = (unsigned)MIN(npages, UINT64_C(1) << 17), log, cls;

	log = 31 - (unsigned)__builtin_clz(n | 4);
	cls = 4 * (log - 2) + (n >> (log - 2) & 3) + 3;
	return n < 4 ? n - 1 : cls;
}

/* Fill in what follows from start and end of run `i` of a leaf. */
static inline void
rt_leaf_measure(struct rt_leaf *leaf, unsigned i, unsigned page_shift)
{
	uint64_t from = leaf->start[i] >> page_shift;
	uint64_t npages = (leaf->end[i] >> page_shift) - from;

	((int16_t *)leaf->length)[i] = (int16_t)MIN(npages, INT16_MAX);
	((int16_t *)leaf->offset)[i] =
	    (int16_t)(-from & ((1u << (RT_LEVELS - 1)) - 1));
	leaf->cls[i] = (uint8_t)rt_class(npages);
}

/* Make sure of the nodes for `nruns` runs in `ntrees` trees. */
static inline int
rt_store_reserve(struct rt_store *store, uint64_t nruns, uint64_t ntrees)
{
	if (nruns <= store->nruns && ntrees <= store->ntrees &&
	    store->leaves.uz_nfree > 0 &&
	    store->leaves.uz_arch->ops->inject == NULL)
		return KERN_SUCCESS;
	return rt_store_reserve_slow(store, nruns, ntrees);
}

static inline int16_t
rt_sum_max(const struct rt_sum *sum, unsigned level)
{
	return sum->max[level / 8][level % 8];
}

const char *rt_check(const struct rt_store *store, const struct rt *rt,
    uint64_t *nrunsp, uint64_t *nleavesp, uint64_t *ninnersp);

/* The search: core/vm_phys_find.c. */

/*
 * Where in the free run [start, end) the request goes, if it fits.  Exact.
 * _high: the highest place; contig_fit: the one that leaves the fewest pieces,
 * the higher of two.
 */
bool contig_fit_high(const struct phys_query *query, vm_paddr_t start,
    vm_paddr_t end, vm_paddr_t *pap);
bool contig_fit(const struct phys_query *query, vm_paddr_t start,
    vm_paddr_t end, vm_paddr_t *pap);

/*
 * Search the trees of `only` (NULL: of all), of two that will do the first.
 * true: *treep is the one, *path the run in it and *pap the place in that.
 */
bool phys_search(const struct phys_tree *trees, unsigned ntrees,
    const struct phys_domain *only, const struct rt_store *store,
    const struct phys_query *query, const struct phys_tree **treep,
    struct rt_path *path, vm_paddr_t *pap);

/* Free runs: core/vm_phys_run.c. */

/* A free run, where it is kept. */
struct phys_run {
	struct phys_domain *domain;
	unsigned zone;
	vm_paddr_t start, end;
	struct rt_path path;
};

static inline void
phys_run_read(struct phys_run *run)
{
	run->start = run->path.leaf->start[run->path.pos];
	run->end = run->path.leaf->end[run->path.pos];
}

/* The first run of the domain that ends above `pa`; false: there is none. */
bool phys_run_seek(struct phys_domain *domain, vm_paddr_t pa,
    struct phys_run *run);

/*
 * Cut [start, end) out of a run.  Needs nodes for one run more.
 *
 *	[run.start      start      end      run.end)
 *	 stays          taken      stays
 */
void phys_run_carve(struct vm_phys *phys, struct phys_run *run,
    vm_paddr_t start, vm_paddr_t end);

/* What lies about a range that is to become free. */
struct phys_around {
	bool before, after; /* runs that touch it, in its segment */
	bool found;         /* `at` is the one before or, if it does not touch,
			     * the first above */
	bool near;          /* the one after is the next in the leaf of `at` */
	struct phys_run at;
	struct phys_run next; /* the one after `at`, where that is before and
			       * it is not near */
};

/* Look about [start, end) in `seg`.  false: part of it is free already. */
bool phys_look_around(struct vm_phys *phys, const struct phys_seg *seg,
    vm_paddr_t start, vm_paddr_t end, struct phys_around *around);

/* Make [start, end) free.  Needs nodes for one run more, at most. */
void phys_run_release(struct vm_phys *phys, const struct phys_seg *seg,
    vm_paddr_t start, vm_paddr_t end, struct phys_around *around);

/* Segments: core/vm_phys_seg.c. */

struct phys_seg *phys_seg_at(struct vm_phys *phys, vm_paddr_t pa);
/* First segment that ends above `pa`, or NULL. */
struct phys_seg *phys_seg_next(struct vm_phys *phys, vm_paddr_t pa);
void phys_seg_link(struct vm_phys *phys, struct phys_seg *seg);
void phys_seg_unlink(struct vm_phys *phys, struct phys_seg *seg);

/* The lowest start in a tree: what both kinds of node begin with. */
static inline vm_paddr_t
rt_first(const struct rt *rt)
{
	static_assert(offsetof(struct rt_leaf, start) == 0 &&
			  offsetof(struct rt_inner, first) == 0,
	    "a node begins with its lowest start");
	return *(const vm_paddr_t *)rt->root;
}

static inline unsigned
phys_zone(vm_paddr_t last)
{
	return (unsigned)(last >> 24 != 0) + (unsigned)(last >> 32 != 0);
}

/* Where a zone ends; of the last, its last byte. */
static inline vm_paddr_t
phys_zone_top(unsigned zone)
{
	static const vm_paddr_t tops[PHYS_NZONES] = {UINT64_C(1) << 24,
	    UINT64_C(1) << 32, UINT64_MAX};

	return tops[zone];
}
