/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Threads and depots of the span cache.
 *
 * A thread keeps, for each class, an array of free objects.  Allocation pops,
 * free pushes; both are a handful of instructions and touch neither a lock nor
 * the object.  In front of the arrays stands one hot slot a thread: what is
 * freed and at once allocated again passes through it without waiting for the
 * array's counter.  An empty array is refilled from the class's depot, a full
 * one gives half away to it, so that objects freed by one thread reach another.
 * A depot cuts slabs of one block; classes above 32 KiB are blocks.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/cache_int.h"

#define SPAN_DEFAULT (UINT64_C(32) << 20)
#define BIN_BYTES    (UINT64_C(1) << 20) /* a thread keeps of one class */
#define BIN_MAX      256u
#define BIN_MIN      4u
#define IDLE_SPANS   1 /* kept against the next burst */
#define IDLE_SLABS   8 /* objects of so many may lie in a depot */

/* This thread's caches, and the one that was used last; never NULL. */
static struct tcache nobody;
static __thread struct tcache *list __attribute__((tls_model("initial-exec")));
static __thread struct tcache *mine __attribute__((tls_model("initial-exec"))) =
    &nobody;

uint8_t class_by_16[SMALL_MAX / 16 + 1];

/* Which caches and thread caches exist.  Taken before any other lock. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct holdfast_cache *all;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

/* ---- Depots ---------------------------------------- */

static int
depot_room(struct depot *d, size_t more)
{
	size_t room = d->room != 0 ? d->room : BIN_MAX;
	void **objs;

	while (room < d->n + more)
		room *= 2;
	if (room == d->room)
		return 0;
	objs = realloc(d->objs, room * sizeof(*objs));
	if (objs == NULL)
		return -ENOMEM;
	d->objs = objs;
	d->room = room;
	return 0;
}

static unsigned
class_order(unsigned class)
{
	return class < NSMALL ? 0 : class - NSMALL;
}

/* Objects in a slab. */
static size_t
slab_objs(unsigned class)
{
	return (size_t)(CHUNK / class_size(class));
}

/* The depot's lock is held, and there is room. */
static void
depot_push(struct holdfast_cache *cache, unsigned class, void *const *objs,
    size_t n)
{
	struct depot *d = &cache->depots[class];
	size_t whole = slab_objs(class);

	memcpy(&d->objs[d->n], objs, n * sizeof(*objs));
	d->n += n;
	for (size_t i = 0; i < n; i++)
		d->nwhole +=
		    ++cache->blocks
			  .nidle_of[chunk_index(&cache->blocks, objs[i])] ==
		    whole;
}

static void
depot_pop(struct holdfast_cache *cache, unsigned class, void **objs, size_t n)
{
	struct depot *d = &cache->depots[class];
	size_t whole = slab_objs(class);

	d->n -= n;
	memcpy(objs, &d->objs[d->n], n * sizeof(*objs));
	for (size_t i = 0; i < n; i++)
		d->nwhole -= cache->blocks.nidle_of[chunk_index(&cache->blocks,
				 objs[i])]-- == whole;
}

/* Up to `n` objects into `objs`: from the stack, then from slabs. */
static unsigned
depot_get(struct holdfast_cache *cache, unsigned class, void **objs, unsigned n)
{
	struct depot *d = &cache->depots[class];
	uint64_t size = class_size(class);
	unsigned got = 0;

	(void)pthread_mutex_lock(&d->lock);
	while (got < n) {
		if (d->n > 0) {
			unsigned k = d->n < n - got ? (unsigned)d->n : n - got;

			depot_pop(cache, class, &objs[got], k);
			got += k;
		} else if ((uint64_t)(d->cut_end - d->cut) >= size) {
			objs[got++] = d->cut;
			d->cut += size;
		} else if (got > 0 && class >= NSMALL) {
			break; /* no more than asked for of what is large */
		} else {
			d->cut = blocks_alloc(&cache->blocks,
			    class_order(class), (uint8_t) class);
			d->cut_end = d->cut;
			if (d->cut == NULL)
				break;
			d->cut_end += CHUNK << class_order(class);
		}
	}
	(void)pthread_mutex_unlock(&d->lock);
	return got;
}

/*
 * Give back the slabs of which every object is here; the depot is locked.
 * While they are taken out of the stack their counts go on to twice as many:
 * only then is nothing of a slab in it, and somebody else may have it.
 */
static void
depot_trim_locked(struct holdfast_cache *cache, unsigned class)
{
	struct depot *d = &cache->depots[class];
	size_t kept = 0, whole = slab_objs(class);

	for (; d->cut != NULL &&
	       (uint64_t)(d->cut_end - d->cut) >= class_size(class) &&
	       depot_room(d, 1) == 0;
	     d->cut += class_size(class)) {
		void *obj = d->cut;

		depot_push(cache, class, &obj, 1);
	}
	if (d->nwhole == 0)
		return;
	for (size_t i = 0; i < d->n; i++) {
		uint32_t chunk = chunk_index(&cache->blocks, d->objs[i]);
		uint16_t *nidle = &cache->blocks.nidle_of[chunk];

		if (*nidle < whole) {
			d->objs[kept++] = d->objs[i];
		} else if (++*nidle == 2 * whole) {
			*nidle = 0;
			blocks_free(&cache->blocks,
			    cache->blocks.area +
				((uint64_t)chunk << CHUNK_SHIFT),
			    0);
		}
	}
	d->n = kept;
	d->nwhole = 0;
}

static void
depot_trim(struct holdfast_cache *cache, unsigned class)
{
	struct depot *d = &cache->depots[class];

	(void)pthread_mutex_lock(&d->lock);
	depot_trim_locked(cache, class);
	(void)pthread_mutex_unlock(&d->lock);
}

/*
 * Let whole slabs go when they are some, and a good part of what lies here,
 * so that looking for them costs little in the long run.
 */
static bool
depot_shed_locked(struct holdfast_cache *cache, unsigned class)
{
	struct depot *d = &cache->depots[class];

	if (d->nwhole < IDLE_SLABS || d->nwhole * slab_objs(class) < d->n / 4)
		return false;
	depot_trim_locked(cache, class);
	return true;
}

/* Take `n` objects.  Large ones go straight back to the blocks. */
static void
depot_put(struct holdfast_cache *cache, unsigned class, void *const *objs,
    unsigned n)
{
	struct depot *d = &cache->depots[class];
	bool shed = true;

	if (class >= NSMALL) {
		for (unsigned i = 0; i < n; i++)
			blocks_free(&cache->blocks, objs[i],
			    class_order(class));
	} else {
		(void)pthread_mutex_lock(&d->lock);
		/* Without memory for the stack they wait for the end. */
		if (depot_room(d, n) == 0)
			depot_push(cache, class, objs, n);
		shed = depot_shed_locked(cache, class);
		(void)pthread_mutex_unlock(&d->lock);
	}
	if (shed)
		(void)blocks_trim(&cache->blocks, IDLE_SPANS);
}

static void
depots_trim(struct holdfast_cache *cache)
{
	for (unsigned c = 0; c < NSMALL; c++)
		depot_trim(cache, c);
}

/* ---- Threads ---------------------------------------- */

static void
tcache_flush(struct tcache *t)
{
	if (t->hot != NULL)
		depot_put(t->cache, t->hot_class, &t->hot, 1);
	t->hot = NULL;
	for (unsigned c = 0; c < NCLASSES; c++)
		if (t->bins[c].n > 0) {
			depot_put(t->cache, c, t->bins[c].objs, t->bins[c].n);
			t->bins[c].n = 0;
		}
}

static void
tcache_free(struct tcache *t)
{
	for (unsigned c = 0; c < NCLASSES; c++)
		free(t->bins[c].objs);
	free(t);
}

static void
tcache_unlink(struct tcache *t)
{
	struct tcache **p = &t->cache->tcaches;

	while (*p != t)
		p = &(*p)->sibling;
	*p = t->sibling;
}

/* A thread ends: what it cached goes to the depots. */
static void
thread_ends(void *first)
{
	struct tcache *t = first, *next;

	(void)pthread_mutex_lock(&registry);
	for (; t != NULL; t = next) {
		next = t->next;
		if (t->cache != NULL) {
			tcache_flush(t);
			tcache_unlink(t);
		}
		tcache_free(t);
	}
	(void)pthread_mutex_unlock(&registry);
	list = NULL;
	mine = &nobody;
}

static void
before_fork(void)
{
	(void)pthread_mutex_lock(&registry);
}

static void
after_fork_in_parent(void)
{
	(void)pthread_mutex_unlock(&registry);
}

/* The spans are not mapped here, and locks may be in any state. */
static void
after_fork_in_child(void)
{
	for (struct holdfast_cache *c = all; c != NULL; c = c->next) {
		c->forked = true;
		for (struct tcache *t = c->tcaches; t != NULL; t = t->sibling)
			t->cache = NULL;
		c->tcaches = NULL;
	}
	(void)pthread_mutex_init(&registry, NULL);
}

void
classes_init(void)
{
	unsigned class = 0;

	for (unsigned i = 1; i < sizeof(class_by_16); i++) {
		class += class_size(class) < i * UINT64_C(16);
		class_by_16[i] = (uint8_t) class;
	}
}

static void
prepare(void)
{
	classes_init();
	(void)pthread_key_create(&key, thread_ends);
	(void)pthread_atfork(before_fork, after_fork_in_parent,
	    after_fork_in_child);
}

static uint32_t
bin_cap(unsigned class)
{
	uint64_t n = BIN_BYTES / class_size(class);

	return n > BIN_MAX ? BIN_MAX : n < BIN_MIN ? BIN_MIN : (uint32_t)n;
}

static struct tcache *
tcache_new(struct holdfast_cache *cache)
{
	struct tcache *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);

	if (t == NULL)
		return NULL;
	memset(t, 0, sizeof(*t));
	for (unsigned c = 0; c < NCLASSES; c++) {
		t->bins[c].cap = bin_cap(c);
		t->bins[c].objs = calloc(t->bins[c].cap, sizeof(void *));
		if (t->bins[c].objs == NULL) {
			tcache_free(t);
			return NULL;
		}
	}
	t->cache = cache;
	return t;
}

/*
 * This thread's cache of `cache`, to the front of its list; made where there
 * is none.  Thread caches of caches that are gone are freed on the way.
 */
static struct tcache *
tcache_find(struct holdfast_cache *cache)
{
	struct tcache **p = &list, *t;

	if (cache->forked)
		return NULL;
	while ((t = *p) != NULL && t->cache != cache) {
		if (t->cache != NULL) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		if (mine == t)
			mine = &nobody;
		tcache_free(t);
	}
	if (t != NULL) {
		*p = t->next;
	} else {
		t = tcache_new(cache);
		if (t == NULL)
			return NULL;
		(void)pthread_mutex_lock(&registry);
		t->sibling = cache->tcaches;
		cache->tcaches = t;
		(void)pthread_mutex_unlock(&registry);
	}
	t->next = list;
	list = mine = t;
	(void)pthread_setspecific(key, list);
	return t;
}

static inline struct tcache *
tcache_get(struct holdfast_cache *cache)
{
	struct tcache *t = mine;

	if (__builtin_expect(t->cache == cache, 1))
		return t;
	return tcache_find(cache);
}

/* ---- Allocation ---------------------------------------- */

static __attribute__((noinline)) void *
alloc_slow(struct holdfast_cache *cache, unsigned class)
{
	struct tcache *t = tcache_get(cache);
	struct bin *bin;

	if (t == NULL)
		return NULL;
	bin = &t->bins[class];
	if (bin->n == 0)
		bin->n = depot_get(cache, class, bin->objs, bin->cap / 2);
	if (bin->n == 0) { /* slabs of other classes may be idle */
		depots_trim(cache);
		bin->n = depot_get(cache, class, bin->objs, 1);
	}
	return bin->n > 0 ? bin->objs[--bin->n] : NULL;
}

static inline void *
alloc_class(struct holdfast_cache *cache, unsigned class)
{
	struct tcache *t = mine;
	struct bin *bin;

	if (__builtin_expect(t->cache != cache, 0))
		return alloc_slow(cache, class);
	if (t->hot == NULL) {
		t->hot_class = class;
	} else if (t->hot_class == class) {
		void *p = t->hot;

		t->hot = NULL;
		return p;
	}
	bin = &t->bins[class];
	if (__builtin_expect(bin->n == 0, 0))
		return alloc_slow(cache, class);
	return bin->objs[--bin->n];
}

void *
holdfast_cache_alloc(struct holdfast_cache *cache, size_t size)
{
	if (__builtin_expect(size - 1 >= HOLDFAST_CACHE_MAX, 0))
		return NULL;
	return alloc_class(cache, class_of_size(size));
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
	return holdfast_cache_alloc(cache, size);
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

static __attribute__((noinline)) void
free_slow(struct holdfast_cache *cache, unsigned class, void *p)
{
	struct tcache *t = tcache_get(cache);
	struct bin *bin;
	unsigned keep;

	if (t == NULL) {
		if (!cache->forked)
			depot_put(cache, class, &p, 1);
		return;
	}
	bin = &t->bins[class];
	if (bin->n == bin->cap) {
		keep = bin->cap / 2;
		depot_put(cache, class, &bin->objs[keep], bin->n - keep);
		bin->n = keep;
	}
	bin->objs[bin->n++] = p;
}

void
holdfast_cache_free(struct holdfast_cache *cache, void *p)
{
	struct tcache *t = mine;
	struct bin *bin;
	unsigned class;
	uint64_t off;

	off = (uint64_t)((char *)p - cache->blocks.area);
	if (__builtin_expect(off >= cache->blocks.area_size, 0)) {
		if (p == NULL)
			return;
		abort(); /* not an object of this cache: never go on */
	}
	class = cache->blocks.class_of[off >> CHUNK_SHIFT] - 1u;
	if (__builtin_expect(class >= NCLASSES, 0))
		abort();
	if (__builtin_expect(t->cache != cache, 0)) {
		free_slow(cache, class, p);
		return;
	}
	if (t->hot == NULL && t->hot_class == class) {
		t->hot = p;
		return;
	}
	bin = &t->bins[class];
	if (__builtin_expect(bin->n == bin->cap, 0)) {
		free_slow(cache, class, p);
		return;
	}
	bin->objs[bin->n++] = p;
}

/* Bursts of 32 are the usual ones: give the compiler their size. */
static inline void
copy(void **to, void *const *from, unsigned n)
{
	if (n == 32)
		memcpy(to, from, 32 * sizeof(*to));
	else
		memcpy(to, from, n * sizeof(*to));
}

unsigned
holdfast_cache_alloc_bulk(struct holdfast_cache *cache, size_t size,
    void **objs, unsigned n)
{
	unsigned class, got = 0;
	struct tcache *t;

	if (size - 1 >= HOLDFAST_CACHE_MAX)
		return 0;
	class = class_of_size(size);
	t = tcache_get(cache);
	if (t != NULL && t->bins[class].n >= n) {
		t->bins[class].n -= n;
		copy(objs, &t->bins[class].objs[t->bins[class].n], n);
		return n;
	}
	while (got < n && (objs[got] = alloc_class(cache, class)) != NULL)
		got++;
	return got;
}

void
holdfast_cache_free_bulk(struct holdfast_cache *cache, size_t size,
    void *const *objs, unsigned n)
{
	unsigned class = class_of_size(size);
	struct tcache *t = tcache_get(cache);

	if (t != NULL && t->bins[class].cap - t->bins[class].n >= n) {
		copy(&t->bins[class].objs[t->bins[class].n], objs, n);
		t->bins[class].n += n;
		return;
	}
	for (unsigned i = 0; i < n; i++)
		holdfast_cache_free(cache, objs[i]);
}

uint64_t
holdfast_cache_vtophys(const struct holdfast_cache *cache, const void *p)
{
	uint64_t off = (uint64_t)((const char *)p - cache->blocks.area);
	uint64_t pa;

	if (__builtin_expect(off >= cache->blocks.area_size, 0))
		return 0;
	pa = cache->blocks.pa_of[off >> FRAME_SHIFT];
	return pa != 0 ? pa + (off & (FRAME - 1)) : 0;
}

uint64_t
holdfast_cache_trim(struct holdfast_cache *cache)
{
	if (cache->forked)
		return 0;
	if (mine->cache == cache)
		tcache_flush(mine);
	depots_trim(cache);
	return blocks_trim(&cache->blocks, 0);
}

void
holdfast_cache_stats(struct holdfast_cache *cache,
    struct holdfast_cache_stats *statsp)
{
	struct blocks *b = &cache->blocks;

	(void)pthread_mutex_lock(&b->lock);
	*statsp = (struct holdfast_cache_stats){
	    .span_bytes = b->span_bytes,
	    .slab_bytes = b->block_bytes,
	    .free_bytes = b->span_bytes - b->block_bytes,
	    .imports = b->imports,
	    .releases = b->releases,
	};
	(void)pthread_mutex_unlock(&b->lock);
}

/* ---- Caches ---------------------------------------- */

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
	(void)pthread_once(&once, prepare);
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
	for (unsigned c = 0; c < NCLASSES; c++)
		(void)pthread_mutex_init(&cache->depots[c].lock, NULL);
	(void)pthread_mutex_lock(&registry);
	cache->next = all;
	all = cache;
	(void)pthread_mutex_unlock(&registry);
	*cachep = cache;
	return 0;
}

void
holdfast_cache_destroy(struct holdfast_cache *cache)
{
	struct holdfast_cache **p = &all;

	if (cache == NULL)
		return;
	(void)pthread_mutex_lock(&registry);
	while (*p != cache)
		p = &(*p)->next;
	*p = cache->next;
	for (struct tcache *t = cache->tcaches; t != NULL; t = t->sibling)
		t->cache = NULL; /* freed by its thread */
	(void)pthread_mutex_unlock(&registry);
	for (unsigned c = 0; c < NCLASSES; c++) {
		free(cache->depots[c].objs);
		if (!cache->forked) /* in a child it may look taken */
			(void)pthread_mutex_destroy(&cache->depots[c].lock);
	}
	blocks_fini(&cache->blocks, !cache->forked);
	free(cache);
}
