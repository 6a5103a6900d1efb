/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * vm_phys: physical memory in segments that come and go, free space at page
 * grain.
 *
 * One type for every level (host pool, tenant, client process).  The caller
 * serialises calls on one vm_phys.  Runs never cross a segment; neighbouring
 * segments with the same domain and the same owner are one segment.
 * The search is exact: if a run that satisfies the request exists, it is found.
 * Design: docs/design/vm_phys.md.
 */

#include "arch/arch.h"
#include "core/vm.h"

struct vm_phys;

/* Constraints of contigmalloc(9). */
struct contig_req {
	vm_size_t size;       /* bytes, > 0; rounded up to pages */
	vm_paddr_t low;       /* first acceptable byte */
	vm_paddr_t high;      /* one past the last acceptable byte */
	vm_paddr_t alignment; /* power of two */
	vm_paddr_t boundary;  /* power of two not to cross; 0: none */
	int domain;           /* NUMA domain; -1: any */
};

struct vm_phys_run {
	vm_paddr_t start, end; /* half-open */
	int domain;
	void *owner;
};

struct vm_phys_stats {
	vm_size_t total;       /* bytes in segments */
	vm_size_t free;        /* bytes */
	vm_size_t largest_run; /* bytes */
	uint64_t nsegs, nruns;
};

/* Create an empty one with pages of `page_size` bytes.  NULL: no memory. */
struct vm_phys *vm_phys_create(const struct arch *arch, vm_size_t page_size);
void vm_phys_destroy(struct vm_phys *phys); /* whatever is allocated */
vm_size_t vm_phys_page_size(const struct vm_phys *phys);

/*
 * Add [start, end), all of it free.
 * KERN_INVALID_ARGUMENT: empty, not page aligned, domain out of range, or it
 * overlaps a segment.  KERN_RESOURCE_SHORTAGE: no memory for the record.
 */
int vm_phys_add_seg(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end,
    int domain, void *owner);

/*
 * Remove [start, end), which must be wholly inside segments and wholly free.
 * KERN_INVALID_ARGUMENT: empty or not page aligned.  KERN_INVALID_ADDRESS: not
 * in a segment.  KERN_FAILURE: part is allocated.  KERN_RESOURCE_SHORTAGE: it
 * is the middle of a segment, and there is no memory for the record of what
 * is left; a whole segment, or its edge, never needs memory.
 */
int vm_phys_remove_seg(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end);

/*
 * Take one run that satisfies `req`; store its first byte.
 * KERN_INVALID_ARGUMENT: contig_req_check() refuses it.
 * KERN_NO_SPACE: no free run satisfies it; nothing changed.
 * KERN_RESOURCE_SHORTAGE: no memory for the record.
 */
int vm_phys_alloc_contig(struct vm_phys *phys, const struct contig_req *req,
    vm_paddr_t *pap);

/* The same search without taking anything. */
int vm_phys_find_contig(struct vm_phys *phys, const struct contig_req *req,
    vm_paddr_t *pap);

/*
 * Take exactly [start, end), which must lie in one segment.
 * KERN_INVALID_ARGUMENT: empty or not page aligned.  KERN_NO_SPACE: part of it
 * is not free.  KERN_RESOURCE_SHORTAGE: no memory for the record.
 */
int vm_phys_take(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end);

/*
 * Give [start, end) back: what was taken in one call, or in several that lie
 * side by side, each of them whole.  Never needs memory, whatever else was
 * given back, and how.
 * KERN_INVALID_ARGUMENT: empty or not page aligned.  KERN_INVALID_ADDRESS: not
 * inside one segment.  KERN_FAILURE: part of it is free already.
 */
int vm_phys_free_contig(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end);

/*
 * Give back a part of what was taken; the rest stays taken, and each piece of
 * it can come back as a whole.
 * Codes as above, and KERN_RESOURCE_SHORTAGE: it leaves a piece more than
 * there was, and there is no memory for the record; nothing changed.
 */
int vm_phys_free_part(struct vm_phys *phys, vm_paddr_t start, vm_paddr_t end);

/*
 * What was taken in one call will come back in up to `more` pieces more, each
 * of them then as good as taken on its own.
 * KERN_RESOURCE_SHORTAGE: no memory for their records.
 */
int vm_phys_expect_pieces(struct vm_phys *phys, uint64_t more);

/*
 * Could the request be met if nothing were taken?  What can not, can never,
 * with the segments as they are: do not wait for it.  Linear in the segments.
 */
bool vm_phys_possible(struct vm_phys *phys, const struct contig_req *req);

/* The first free run, or segment, that ends above `pa`; false: none. */
bool vm_phys_next_free(struct vm_phys *phys, vm_paddr_t pa,
    struct vm_phys_run *runp);
bool vm_phys_next_seg(struct vm_phys *phys, vm_paddr_t pa,
    struct vm_phys_run *runp);

void vm_phys_stats(struct vm_phys *phys, struct vm_phys_stats *statsp);

/* NULL, or the tag and text of the first broken invariant. */
const char *vm_phys_check(struct vm_phys *phys);

/*
 * Which argument of a request cannot be met by any memory, if any.
 * `arg` is its name and `rule` what it must be; both are static.
 */
struct contig_refusal {
	const char *arg;
	const char *rule;
	uint64_t limit; /* the figure in the rule, if it has one */
};
int contig_req_check(const struct contig_req *req, vm_size_t page_size,
    struct contig_refusal *whyp);
