/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The span cache: allocation, free, and the life of a cache.
 *
 * A thread keeps, for each class, an array of free objects.  Allocation pops,
 * free pushes; both are a handful of instructions in the program itself
 * (holdfast_cache_inline.h) and touch neither a lock nor the object.  An empty
 * array is refilled from the class's depot, a full one gives half away to it,
 * so that objects freed by one thread reach another (cache_depot.c).  A depot
 * cuts slabs of one block; classes above 32 KiB are blocks (cache_block.c).
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOLDFAST_CACHE_NO_INLINE /* the functions themselves are here */
#include "clients/libholdfast/cache_int.h"

#define SPAN_DEFAULT (UINT64_C(32) << 20)

/* ---- Slow paths ---------------------------------------- */

static __attribute__((noinline)) void *
refill(struct holdfast_cache *cache, struct tcache *t, unsigned class)
{
	struct holdfast_cache_bin *bin = &t->front.bins[class + 1];
	void *p;

	attend_look(cache, t);
	bin->top +=
	    depot_get(cache, class, bin->base, (unsigned)(bin->room / 2));
	if (bin->top == bin->base) { /* slabs of other classes may be idle */
		depots_trim(cache);
		bin->top += depot_get(cache, class, bin->base, 1);
	}
	p = bin->top > bin->base ? *--bin->top : NULL;
	attend_heard(cache, t);
	return p;
}

/* Of any class, where the inline code has not the size, or no object. */
static void *
pop(struct holdfast_cache *cache, struct tcache *t, unsigned class)
{
	struct holdfast_cache_bin *bin = &t->front.bins[class + 1];

	if (t->front.hot_kind == class + 1) {
		t->front.hot_kind = 0;
		return t->front.hot;
	}
	if (bin->top > bin->base)
		return *--bin->top;
	return refill(cache, t, class);
}

void *
holdfast_cache_alloc_slow(struct holdfast_cache *cache, size_t size)
{
	struct tcache *t;
	void *p = NULL;

	if (size - 1 >= HOLDFAST_CACHE_MAX)
		return NULL;
	t = tcache_get(cache);
	if (t != NULL)
		p = pop(cache, t, class_of_size(cache, size));
	tcache_put(t);
	return p;
}

/* A full bin gives half of its objects away, and takes one. */
void
holdfast_cache_spill(struct holdfast_cache_thread *mine, size_t kind, void *p)
{
	struct tcache *t = (struct tcache *)(void *)mine;
	struct holdfast_cache *cache = atomic_load(&t->owner);
	struct holdfast_cache_bin *bin = &mine->bins[kind];
	size_t keep = bin->room / 2;

	bin->top = bin->base + keep;
	depot_put(cache, (unsigned)kind - 1, bin->top,
	    (unsigned)(bin->room - keep));
	*bin->top++ = p;
	attend_look(cache, t);
}

static void
push(struct holdfast_cache_thread *t, size_t kind, void *p)
{
	struct holdfast_cache_bin *bin = &t->bins[kind];

	if (bin->top == bin->full)
		holdfast_cache_spill(t, kind, p);
	else
		*bin->top++ = p;
}

/* A buffer of the arena's, or not an object of this cache: never go on. */
static void
free_large(struct holdfast_cache *cache, char *p)
{
	uint64_t off = (uint64_t)(p - cache->front.area);

	if (off < cache->front.area_size && atomic_load(&cache->forked))
		return;
	if (off >= cache->front.area_size ||
	    !blocks_free_large(&cache->blocks, p))
		abort();
}

void
holdfast_cache_free_slow(struct holdfast_cache *cache, void *p)
{
	uint64_t off = (uint64_t)((char *)p - cache->front.area);
	struct tcache *t;
	size_t kind;

	if (p == NULL)
		return;
	kind = off < cache->front.area_size
		   ? cache->front.kind_of[off >> CHUNK_SHIFT]
		   : 0;
	if (kind == 0) {
		free_large(cache, p);
		return;
	}
	t = tcache_get(cache);
	if (t != NULL)
		push(&t->front, kind, p);
	else if (!atomic_load(&cache->forked))
		depot_put(cache, (unsigned)kind - 1, &p, 1);
	tcache_put(t);
}

/* ---- One object ---------------------------------------- */

void *
holdfast_cache_alloc(struct holdfast_cache *cache, size_t size)
{
	return holdfast_cache_alloc_fast(cache, size);
}

void
holdfast_cache_free(struct holdfast_cache *cache, void *p)
{
	holdfast_cache_free_fast(cache, p);
}

uint64_t
holdfast_cache_vtophys(const struct holdfast_cache *cache, const void *p)
{
	return holdfast_cache_vtophys_fast(cache, p);
}

static inline size_t
power_of_two(size_t size)
{
	return size <= 16
		   ? 16
		   : (size_t)1 << (64 - __builtin_clzll(
					    (unsigned long long)size - 1));
}

void *
holdfast_cache_alloc_aligned(struct holdfast_cache *cache, size_t size,
    size_t alignment)
{
	if (alignment == 0 || (alignment & (alignment - 1)) != 0)
		return NULL;
	if (alignment > 16) /* objects of such a class are aligned to it */
		size = power_of_two(size > alignment ? size : alignment);
	return holdfast_cache_alloc_fast(cache, size);
}

void *
holdfast_cache_contig(struct holdfast_cache *cache, size_t size,
    size_t alignment, uint64_t boundary)
{
	if ((boundary & (boundary - 1)) != 0 ||
	    (boundary != 0 && boundary < size) || size == 0)
		return NULL;
	/* A power of two aligned to itself crosses no larger one. */
	if (boundary != 0 && size <= HOLDFAST_CACHE_MAX)
		size = power_of_two(size);
	return holdfast_cache_alloc_aligned(cache, size,
	    alignment != 0 ? alignment : 1);
}

void *
holdfast_cache_contigmalloc(struct holdfast_cache *cache, size_t size,
    uint64_t low, uint64_t high, uint64_t alignment, uint64_t boundary)
{
	struct contig_req req = {.size = size,
	    .low = low,
	    .high = high,
	    .alignment = alignment != 0 ? alignment : 1,
	    .boundary = boundary};
	struct tcache *mine;
	void *p;

	if (low == 0 && high == 0 && size <= HOLDFAST_CACHE_MAX &&
	    alignment <= HOLDFAST_CACHE_MAX)
		return holdfast_cache_contig(cache, size, alignment, boundary);
	if (atomic_load(&cache->forked))
		return NULL;
	p = blocks_alloc_large(&cache->blocks, &req);
	if (p == NULL) { /* slabs may be idle where it wants to be */
		depots_trim(cache);
		p = blocks_alloc_large(&cache->blocks, &req);
	}
	mine = tcache_get_if_any(cache);
	attend_look(cache, mine);
	attend_heard(cache, mine);
	tcache_put(mine);
	return p;
}

/* ---- Many at once ---------------------------------------- */

unsigned
holdfast_cache_alloc_bulk_slow(struct holdfast_cache *cache, size_t size,
    void **objs, unsigned n)
{
	unsigned class, got = 0;
	struct tcache *t;

	if (size - 1 >= HOLDFAST_CACHE_MAX)
		return 0;
	class = class_of_size(cache, size);
	t = tcache_get(cache);
	while (
	    t != NULL && got < n && (objs[got] = pop(cache, t, class)) != NULL)
		got++;
	tcache_put(t);
	return got;
}

void
holdfast_cache_free_bulk_slow(struct holdfast_cache *cache, void *const *objs,
    unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		holdfast_cache_free_fast(cache, objs[i]);
}

unsigned
holdfast_cache_alloc_bulk(struct holdfast_cache *cache, size_t size,
    void **objs, unsigned n)
{
	return holdfast_cache_alloc_bulk_fast(cache, size, objs, n);
}

void
holdfast_cache_free_bulk(struct holdfast_cache *cache, size_t size,
    void *const *objs, unsigned n)
{
	holdfast_cache_free_bulk_fast(cache, size, objs, n);
}

/* ---- Giving back, and figures ---------------------------------------- */

uint64_t
cache_give_back(struct holdfast_cache *cache, struct tcache *mine)
{
	uint64_t before = blocks_released(&cache->blocks);

	/* What falls idle on the way may go before the last step. */
	tcaches_flush(cache, mine);
	depots_trim(cache);
	blocks_trim(&cache->blocks);
	return blocks_released(&cache->blocks) - before;
}

uint64_t
holdfast_cache_trim(struct holdfast_cache *cache)
{
	struct tcache *mine;
	uint64_t bytes;

	if (atomic_load(&cache->forked))
		return 0;
	mine = tcache_get_if_any(cache);
	bytes = cache_give_back(cache, mine);
	tcache_put(mine);
	return bytes;
}

void
holdfast_cache_stats(struct holdfast_cache *cache,
    struct holdfast_cache_stats *statsp)
{
	blocks_stats(&cache->blocks, statsp);
}

/* ---- Caches ---------------------------------------- */

unsigned
class_small(uint64_t size)
{
	unsigned class = 0;

	while (class_size(class) < size)
		class ++;
	return class;
}

static void
front_init(struct holdfast_cache *cache)
{
	struct holdfast_cache_front *f = &cache->front;

	f->area = cache->blocks.area;
	f->area_size = cache->blocks.area_size;
	f->kind_of = cache->blocks.kind_of;
	f->pa_of = cache->blocks.pa_of;
	for (unsigned i = 0; i < sizeof(f->kind_by_size); i++)
		f->kind_by_size[i] =
		    (uint8_t)(class_small((i + 1) * UINT64_C(16)) + 1);
}

int
cache_create_over(const struct cache_source *source,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep)
{
	struct holdfast_cache *cache;
	uint64_t span = SPAN_DEFAULT;
	int r;

	if (options != NULL && options->span_size != 0)
		span = (options->span_size + FRAME - 1) & ~(FRAME - 1);
	cache = aligned_alloc(64, (sizeof(*cache) + 63) / 64 * 64);
	if (cache == NULL) {
		if (source->fini != NULL)
			source->fini(source->arg);
		return -ENOMEM;
	}
	memset(cache, 0, sizeof(*cache));
	r = blocks_init(&cache->blocks, source, span,
	    options != NULL ? options->max_bytes : 0);
	if (r < 0) {
		blocks_fini(&cache->blocks, false);
		free(cache);
		return r;
	}
	front_init(cache);
	for (unsigned c = 0; c < NCLASSES; c++)
		(void)pthread_mutex_init(&cache->depots[c].lock, NULL);
	cache->attend.wanted = options != NULL && options->attend;
	registry_enter(cache);
	r = cache->attend.wanted ? attend_start(cache) : 0;
	if (r < 0)
		holdfast_cache_destroy(cache);
	else
		*cachep = cache;
	return r;
}

void
holdfast_cache_destroy(struct holdfast_cache *cache)
{
	bool forked;

	if (cache == NULL)
		return;
	attend_stop(cache);
	registry_remove(cache);
	forked = atomic_load(&cache->forked);
	for (unsigned c = 0; c < NCLASSES; c++) {
		free(cache->depots[c].objs);
		if (!forked) /* in a child it may look taken */
			(void)pthread_mutex_destroy(&cache->depots[c].lock);
	}
	blocks_fini(&cache->blocks, !forked);
	free(cache);
}
