/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOLDFAST_CACHE_H
#define HOLDFAST_CACHE_H

/*
 * Span cache: pinned memory without a system call or a round trip.
 *
 * A cache imports spans from holdfastd and cuts them up in this process.
 * Every object lies inside one huge page, so it is physically contiguous, and
 * its physical address is two loads away.  Objects are cached by size class
 * in each thread; nothing is ever written into a free object.
 *
 *	struct holdfast_cache *cache;
 *
 *	if (holdfast_cache_create(h, NULL, &cache) != HF_OK)
 *		errx(1, "%s", holdfast_error(h));
 *	void *ring = holdfast_cache_alloc_aligned(cache, 16384, 4096);
 *	uint64_t pa = holdfast_cache_vtophys(cache, ring);
 *	holdfast_cache_free(cache, ring);
 *
 * Threads.  Any thread may allocate, and free what another one allocated.
 * What a thread has cached goes back when it ends.  The handle behind the
 * cache is used under the cache's own lock: nobody else may use it while the
 * cache exists.
 *
 * Fork.  The memory is not in the child: allocation returns NULL there and
 * free does nothing.  The parent notices nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast; /* <holdfast.h> */
struct holdfast_cache;

struct holdfast_cache_options {
	uint64_t span_size; /* bytes to import at a time; 0: 32 MiB */
	uint64_t
	    max_bytes; /* bytes to hold at most; 0: what the quota allows */
	uint64_t low, high; /* physical bounds of every span; high 0: none */
	int domain;         /* NUMA node, where domain_set */
	bool domain_set;
	uint32_t domains; /* NUMA nodes of the spans, and the order of nodes: */
	int policy;       /* HF_DOMAINSET_*; as in holdfast_contig_req */
	const char *type; /* malloc type; NULL: "cache" */
	/*
	 * Start a thread that waits for the daemon to want memory back, and
	 * gives it, with what other threads have cached.  It takes no signals.
	 * Every request of the cache to the daemon wakes it up for nothing,
	 * and each allocation and each free calls the library and takes a
	 * mutex there, for which only this thread ever competes.
	 */
	bool attend;
};

struct holdfast_cache_stats {
	uint64_t span_bytes;        /* imported */
	uint64_t slab_bytes;        /* of those, cut into objects */
	uint64_t free_bytes;        /* of those, in whole blocks */
	uint64_t imports, releases; /* spans, so far */
};

/* Largest object: one huge page of 2 MiB. */
#define HOLDFAST_CACHE_MAX (UINT64_C(2) << 20)

/*
 * Make an empty cache over `h`.  `options` may be NULL.  The first span is
 * imported by the first allocation.  -ENOMEM: no address space for it.
 * -EAGAIN, -EMFILE ...: no thread for `attend`.
 */
int holdfast_cache_create(struct holdfast *h,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep);

/*
 * Give every span back.  What was allocated from it is gone; no other thread
 * may be using it.  NULL is fine.
 */
void holdfast_cache_destroy(struct holdfast_cache *cache);

/*
 * `size` bytes (1 to HOLDFAST_CACHE_MAX), aligned to 16, or to the size where
 * that is a power of two.  Contents are undefined.  NULL: no memory, or a
 * size out of bounds.
 */
void *holdfast_cache_alloc(struct holdfast_cache *cache, size_t size);

/*
 * The same, aligned to `alignment` bytes, a power of two up to
 * HOLDFAST_CACHE_MAX, virtually and physically.
 */
void *holdfast_cache_alloc_aligned(struct holdfast_cache *cache, size_t size,
    size_t alignment);

/*
 * The constraints of contigmalloc(9) from cached spans: aligned, and not
 * crossing a multiple of `boundary` (a power of two >= size; 0: none).
 */
void *holdfast_cache_contig(struct holdfast_cache *cache, size_t size,
    size_t alignment, uint64_t boundary);

/*
 * The whole of contigmalloc(9) from cached spans: `size` bytes of any number
 * in one piece, in [low, high) of physical memory, aligned to `alignment`,
 * not crossing a multiple of `boundary`; both powers of two, 0: no matter;
 * low and high 0: anywhere.  Spans are imported for it where the cached ones
 * do not serve.  The virtual address is aligned as the physical one up to
 * HOLDFAST_CACHE_MAX.  Takes a lock, and whole multiples of 64 KiB, unless
 * holdfast_cache_contig() could do it: then that does.
 * NULL: no such memory, or no such request, or one that reaches beyond a huge
 * page while the daemon does not tell this tenant addresses:
 * holdfast_contigmalloc() can do that.
 */
void *holdfast_cache_contigmalloc(struct holdfast_cache *cache, size_t size,
    uint64_t low, uint64_t high, uint64_t alignment, uint64_t boundary);

/* Give back.  NULL is fine; anything else must be from this cache. */
void holdfast_cache_free(struct holdfast_cache *cache, void *p);

/* `n` objects at once; returns how many were to be had. */
unsigned holdfast_cache_alloc_bulk(struct holdfast_cache *cache, size_t size,
    void **objs, unsigned n);
/* `n` objects that were allocated with the same size. */
void holdfast_cache_free_bulk(struct holdfast_cache *cache, size_t size,
    void *const *objs, unsigned n);

/* Physical address of a byte in an object; 0 where it is not told. */
uint64_t holdfast_cache_vtophys(const struct holdfast_cache *cache,
    const void *p);

/*
 * Give wholly free spans back to the daemon.  This thread's cached objects are
 * taken along, other threads' when they call next.  Returns the bytes given
 * back.
 */
uint64_t holdfast_cache_trim(struct holdfast_cache *cache);

/*
 * Do what the daemon asks for: give idle spans back when others need memory.
 * It costs one poll(2) when there is nothing to do.  A program that allocates
 * and frees need not call it: what passes between threads' caches and the
 * rest looks too, at most a hundred times a second.  Nor need one that set
 * `attend`.  Any other calls it when holdfast_fd() of the handle is readable,
 * or now and then, lest others wait in vain for a moment.
 * 0; -EPERM: in a forked child; -EPIPE ...: the handle's connection is over.
 */
int holdfast_cache_dispatch(struct holdfast_cache *cache);

void holdfast_cache_stats(struct holdfast_cache *cache,
    struct holdfast_cache_stats *statsp);

#include "holdfast_cache_inline.h"

#ifdef __cplusplus
}
#endif

#endif
