/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Arenas: memory that is cut up here and imported in spans from elsewhere.
 *
 * One allocator at each level that hands memory on: the host's pool, a
 * tenant's memory, a client process.  An arena imports whole quanta from the
 * one above as it needs them, and gives spans back when they lie idle, but
 * not each at once.  What it hands out lies in one span of its own, so two
 * arenas never share a quantum.
 *
 * The caller serialises calls on an arena and on all those it imports from.
 * The physical search is that of core/vm_phys.h.  Design:
 * docs/design/vm_arena.md.
 */

#include "core/vm_phys.h"

struct vm_arena;

/* Whole quanta, on loan from the source. */
struct vm_arena_span {
	vm_paddr_t start, end; /* half-open, multiples of the quantum */
	int domain;
	void *handle; /* the source's own */
};

/*
 * Where spans come from.  Both are called by the arena, under whatever guards
 * it, and must not call it back.
 */
struct vm_arena_source {
	/*
	 * NULL: spans come by vm_arena_lend() and vm_arena_add() alone.
	 * Find a run for `req`, and hand over the whole quanta it lies in.
	 * Unless it `must` be, less will do too: do not reclaim for it.
	 * KERN_NO_SPACE: there is none.  KERN_RESOURCE_SHORTAGE, or any other
	 * code: not now.  Nothing changed then, and *spanp is not written.
	 */
	int (*import)(void *arg, const struct contig_req *req,
	    vm_size_t quantum, bool must, struct vm_arena_span *spanp);
	/* Take one back that was imported.  Cannot fail. */
	void (*release)(void *arg, const struct vm_arena_span *span);
	/*
	 * Nothing was to be had: ask others for what they have idle.  Bytes
	 * that came back to where import() looks; 0 ends it.  NULL: nobody.
	 */
	vm_size_t (*reclaim)(void *arg);
	void *arg;
};

struct vm_arena_options {
	vm_size_t page_size; /* of the search; the same at every level */
	vm_size_t grain;     /* what is handed out is whole ones of these,
			      * aligned; 0: pages */
	vm_size_t quantum;   /* of spans; a multiple of the grain */
	vm_size_t span_size; /* bytes to import at a time, if that much is to
			      * be had; 0: what is asked for */
	vm_size_t idle_max;  /* bytes in idle spans; beyond them ... */
	vm_size_t idle_min;  /* ... spans go back until so many are left */
};

struct vm_arena_stats {
	vm_size_t span_bytes; /* imported, or added */
	vm_size_t used_bytes; /* of those, handed out, in whole grains */
	vm_size_t idle_bytes; /* in spans on loan of which nothing is out */
	vm_size_t largest_run;
	uint64_t nspans;
	uint64_t nimports, nreleases; /* spans on loan that came, and left */
	uint64_t nallocs, nfrees;     /* calls that succeeded */
	uint64_t nfailures;           /* allocations refused */
};

/*
 * An empty arena.  `source` is copied; NULL: spans come by vm_arena_add()
 * alone.  The options' sizes are powers of two, but for span_size, idle_max
 * and idle_min, which are multiples of the quantum; all asserted.
 * NULL: no memory.
 */
struct vm_arena *vm_arena_create(const struct arch *arch,
    const struct vm_arena_options *options,
    const struct vm_arena_source *source);

/* Spans that were imported go back, whatever lies in them.  NULL is fine. */
void vm_arena_destroy(struct vm_arena *arena);

/*
 * Add a span, all of it free; it stays until it is removed.
 * KERN_INVALID_ARGUMENT: not whole quanta, or it overlaps another.
 * KERN_RESOURCE_SHORTAGE: no memory for the record.
 */
int vm_arena_add(struct vm_arena *arena, const struct vm_arena_span *span);

/*
 * Add a span that somebody else imported: it is on loan, and goes back through
 * the source's release() when it lies idle, as if import() had brought it.
 * Codes as vm_arena_add() has them; on a refusal it is still the caller's.
 */
int vm_arena_lend(struct vm_arena *arena, const struct vm_arena_span *span);

/*
 * Hand out nothing more of the span that begins at `start`.  What is out of it
 * comes back as before, though of what comes back twice only as much is
 * refused as is not out any more; with the last of it the span, if it is on
 * loan, goes back to the source: at once, if nothing is out now.  Without
 * memory for records a later vm_arena_alloc() may answer
 * KERN_RESOURCE_SHORTAGE where it would have had to look past the span.
 * KERN_INVALID_ADDRESS: no span begins there.
 */
int vm_arena_close(struct vm_arena *arena, vm_paddr_t start);

/*
 * Take out the span that begins at `start`, whatever is handed out of it: that
 * is void, and does not come back.  The source is not told: the span is the
 * caller's, in *spanp.  Never needs memory.
 * KERN_INVALID_ADDRESS: no span begins there.
 */
int vm_arena_evict(struct vm_arena *arena, vm_paddr_t start,
    struct vm_arena_span *spanp);

/*
 * Remove the span that begins at `start`.
 * KERN_INVALID_ADDRESS: none does, or it is on loan.  KERN_FAILURE:
 * something of it is handed out; nothing changed.
 */
int vm_arena_remove(struct vm_arena *arena, vm_paddr_t start);

/*
 * Hand out whole grains with a run that satisfies `req`; *pap is the first
 * byte of the run, which is that of the first grain where the request can have
 * it so.  Imports where the arena's own spans have none.
 * KERN_INVALID_ARGUMENT: contig_req_check() refuses it.  KERN_NO_SPACE: there
 * is no such run, neither here nor at the source.  KERN_RESOURCE_SHORTAGE, or
 * what the source answered: no memory for records.  Nothing is handed out.
 */
int vm_arena_alloc(struct vm_arena *arena, const struct contig_req *req,
    vm_paddr_t *pap);

/*
 * Take back what vm_arena_alloc() handed out for `size` bytes at `pa`.  Never
 * needs memory.  KERN_INVALID_ADDRESS, KERN_FAILURE: as vm_phys_free_contig().
 */
int vm_arena_free(struct vm_arena *arena, vm_paddr_t pa, vm_size_t size);

/* Give idle spans on loan back until at most `keep` bytes are idle; bytes. */
vm_size_t vm_arena_trim(struct vm_arena *arena, vm_size_t keep);

/* The span that holds `pa`; false: none does. */
bool vm_arena_span_at(struct vm_arena *arena, vm_paddr_t pa,
    struct vm_arena_span *spanp);

void vm_arena_stats(struct vm_arena *arena, struct vm_arena_stats *statsp);

/* NULL, or the tag and text of the first broken invariant. */
const char *vm_arena_check(struct vm_arena *arena);

/*
 * The source functions of an arena below another; `arg` is the one above.
 * Exact where everything that is taken from the one above is whole quanta of
 * that size; otherwise a run may be missed whose quanta are partly taken.
 */
int vm_arena_import(void *arg, const struct contig_req *req, vm_size_t quantum,
    bool must, struct vm_arena_span *spanp);
void vm_arena_release(void *arg, const struct vm_arena_span *span);

/* Whole units, and the run in them that satisfies a request. */
struct vm_arena_cut {
	vm_paddr_t pa;         /* the run's first byte */
	vm_paddr_t start, end; /* the units */
};

/*
 * The rule by which every level cuts: units that begin with the run, wholly
 * within the request's bounds, as they are the fewest; where there are none,
 * those about any run.  For books of which whole units are free or taken.
 * KERN_NO_SPACE: no run satisfies `req`.
 */
int vm_arena_find_cut(struct vm_phys *phys, const struct contig_req *req,
    vm_size_t unit, struct vm_arena_cut *cutp);
