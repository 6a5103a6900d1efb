/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOLDFAST_CACHE_INLINE_H
#define HOLDFAST_CACHE_INLINE_H

/*
 * The fast paths of the span cache, for the compiler to put in their place.
 *
 * Included by <holdfast_cache.h>; nothing here is called by name.  Where it
 * optimises, the compiler may put these bodies in the place of calls of
 * holdfast_cache_alloc(), _free(), their _bulk() and _vtophys(); elsewhere,
 * and for who takes their address, the library has the same functions.  Define
 * HOLDFAST_CACHE_NO_INLINE to have only those.
 *
 * The two structures below are read and written by what was compiled into
 * programs, so their layout is part of the library's soversion.  Their
 * members are nobody else's business.
 *
 * A "kind" is a class of sizes, counted from 1; 0 is none.
 */

#define HOLDFAST_CACHE_KINDS       47
#define HOLDFAST_CACHE_SMALL       32768 /* sizes up to it have a table */
#define HOLDFAST_CACHE_CHUNK_SHIFT 16    /* objects in one are of one kind */
#define HOLDFAST_CACHE_FRAME_SHIFT 21

/* What begins a cache: constant but for the contents of the tables. */
struct holdfast_cache_front {
	const char *area;       /* reserved addresses; all objects are there */
	uint64_t area_size;     /* bytes */
	const uint8_t *kind_of; /* by chunk of the area */
	const uint64_t *pa_of;  /* by frame of the area; 0: not told */
	uint8_t
	    kind_by_size[HOLDFAST_CACHE_SMALL / 16]; /* by (size - 1) / 16 */
};

/* Free objects of one kind: an array with a NULL below its first. */
struct holdfast_cache_bin {
	void **top;  /* one past the last object */
	void **full; /* top may not pass it */
	void **base; /* top where there is none */
	size_t room; /* what the array could hold */
};

/* What a thread keeps of a cache. */
struct holdfast_cache_thread {
	/* NULL: somebody wants the thread to pass through the library. */
	struct holdfast_cache *cache;
	void *hot;       /* the object that was freed last ... */
	size_t hot_kind; /* ... if this is not 0 */
	struct holdfast_cache_bin bins[HOLDFAST_CACHE_KINDS];
};

/* Of the cache that this thread used last; never NULL. */
extern __thread struct holdfast_cache_thread *holdfast_cache_mine
    __attribute__((tls_model("initial-exec")));

/* The slow paths. */
void *holdfast_cache_alloc_slow(struct holdfast_cache *cache, size_t size);
void holdfast_cache_free_slow(struct holdfast_cache *cache, void *p);
void holdfast_cache_spill(struct holdfast_cache_thread *t, size_t kind,
    void *p);
unsigned holdfast_cache_alloc_bulk_slow(struct holdfast_cache *cache,
    size_t size, void **objs, unsigned n);
void holdfast_cache_free_bulk_slow(struct holdfast_cache *cache,
    void *const *objs, unsigned n);

#define HOLDFAST_CACHE_RARELY(x) __builtin_expect(!!(x), 0)
/* In its place, or not at all: there is no function of these names. */
#define HOLDFAST_CACHE_INLINE                                                  \
	extern __inline__ __attribute__((__gnu_inline__, __always_inline__))

/* Is this thread's cache of `cache` at hand? */
HOLDFAST_CACHE_INLINE bool
holdfast_cache_is_mine(const struct holdfast_cache_thread *t,
    const struct holdfast_cache *cache)
{
	return __atomic_load_n(&t->cache, __ATOMIC_RELAXED) == cache;
}

/*
 * The hot slot comes first: what is freed and at once allocated again passes
 * through it, and need not wait until the bin's top was stored and loaded.
 */
HOLDFAST_CACHE_INLINE void *
holdfast_cache_alloc_fast(struct holdfast_cache *cache, size_t size)
{
	const struct holdfast_cache_front *f =
	    (const struct holdfast_cache_front *)(const void *)cache;
	struct holdfast_cache_thread *t = holdfast_cache_mine;
	struct holdfast_cache_bin *bin;
	size_t kind;
	void *p;

	if (HOLDFAST_CACHE_RARELY(size - 1 >= HOLDFAST_CACHE_SMALL ||
				  !holdfast_cache_is_mine(t, cache)))
		return holdfast_cache_alloc_slow(cache, size);
	kind = f->kind_by_size[(size - 1) >> 4];
	if (t->hot_kind == kind) {
		t->hot_kind = 0;
		return t->hot;
	}
	bin = &t->bins[kind];
	p = bin->top[-1];
	if (HOLDFAST_CACHE_RARELY(p == NULL))
		return holdfast_cache_alloc_slow(cache, size);
	bin->top--;
	return p;
}

HOLDFAST_CACHE_INLINE void
holdfast_cache_free_fast(struct holdfast_cache *cache, void *p)
{
	const struct holdfast_cache_front *f =
	    (const struct holdfast_cache_front *)(const void *)cache;
	struct holdfast_cache_thread *t = holdfast_cache_mine;
	uint64_t off = (uint64_t)((const char *)p - f->area);
	struct holdfast_cache_bin *bin;
	size_t kind, old_kind;
	void *old;

	if (HOLDFAST_CACHE_RARELY(
		off >= f->area_size || !holdfast_cache_is_mine(t, cache))) {
		holdfast_cache_free_slow(cache, p);
		return;
	}
	kind = f->kind_of[off >> HOLDFAST_CACHE_CHUNK_SHIFT];
	if (HOLDFAST_CACHE_RARELY(kind == 0)) {
		holdfast_cache_free_slow(cache, p);
		return;
	}
	old = t->hot;
	old_kind = t->hot_kind;
	t->hot = p;
	t->hot_kind = kind;
	if (old_kind == 0)
		return;
	bin = &t->bins[old_kind];
	if (HOLDFAST_CACHE_RARELY(bin->top == bin->full)) {
		holdfast_cache_spill(t, old_kind, old);
		return;
	}
	*bin->top++ = old;
}

HOLDFAST_CACHE_INLINE uint64_t
holdfast_cache_vtophys_fast(const struct holdfast_cache *cache, const void *p)
{
	const struct holdfast_cache_front *f =
	    (const struct holdfast_cache_front *)(const void *)cache;
	uint64_t off = (uint64_t)((const char *)p - f->area), pa;

	if (HOLDFAST_CACHE_RARELY(off >= f->area_size))
		return 0;
	pa = f->pa_of[off >> HOLDFAST_CACHE_FRAME_SHIFT];
	off &= (UINT64_C(1) << HOLDFAST_CACHE_FRAME_SHIFT) - 1;
	return pa != 0 ? pa + off : 0;
}

/* Bursts of 32 are the usual ones: give the compiler their size. */
HOLDFAST_CACHE_INLINE void
holdfast_cache_copy(void **to, void *const *from, unsigned n)
{
	if (n == 32)
		__builtin_memcpy(to, from, 32 * sizeof(*to));
	else
		__builtin_memcpy(to, from, n * sizeof(*to));
}

HOLDFAST_CACHE_INLINE unsigned
holdfast_cache_alloc_bulk_fast(struct holdfast_cache *cache, size_t size,
    void **objs, unsigned n)
{
	const struct holdfast_cache_front *f =
	    (const struct holdfast_cache_front *)(const void *)cache;
	struct holdfast_cache_thread *t = holdfast_cache_mine;
	struct holdfast_cache_bin *bin;

	if (HOLDFAST_CACHE_RARELY(size - 1 >= HOLDFAST_CACHE_SMALL ||
				  !holdfast_cache_is_mine(t, cache)))
		return holdfast_cache_alloc_bulk_slow(cache, size, objs, n);
	bin = &t->bins[f->kind_by_size[(size - 1) >> 4]];
	if (HOLDFAST_CACHE_RARELY((size_t)(bin->top - bin->base) < n))
		return holdfast_cache_alloc_bulk_slow(cache, size, objs, n);
	bin->top -= n;
	holdfast_cache_copy(objs, bin->top, n);
	return n;
}

HOLDFAST_CACHE_INLINE void
holdfast_cache_free_bulk_fast(struct holdfast_cache *cache, size_t size,
    void *const *objs, unsigned n)
{
	const struct holdfast_cache_front *f =
	    (const struct holdfast_cache_front *)(const void *)cache;
	struct holdfast_cache_thread *t = holdfast_cache_mine;
	struct holdfast_cache_bin *bin;

	if (HOLDFAST_CACHE_RARELY(size - 1 >= HOLDFAST_CACHE_SMALL ||
				  !holdfast_cache_is_mine(t, cache))) {
		holdfast_cache_free_bulk_slow(cache, objs, n);
		return;
	}
	bin = &t->bins[f->kind_by_size[(size - 1) >> 4]];
	if (HOLDFAST_CACHE_RARELY((size_t)(bin->full - bin->top) < n)) {
		holdfast_cache_free_bulk_slow(cache, objs, n);
		return;
	}
	holdfast_cache_copy(bin->top, objs, n);
	bin->top += n;
}

#undef HOLDFAST_CACHE_INLINE

#if defined(__OPTIMIZE__) && !defined(HOLDFAST_CACHE_NO_INLINE)
#define HOLDFAST_CACHE_BODY extern __inline__ __attribute__((__gnu_inline__))

HOLDFAST_CACHE_BODY void *
holdfast_cache_alloc(struct holdfast_cache *cache, size_t size)
{
	return holdfast_cache_alloc_fast(cache, size);
}

HOLDFAST_CACHE_BODY void
holdfast_cache_free(struct holdfast_cache *cache, void *p)
{
	holdfast_cache_free_fast(cache, p);
}

HOLDFAST_CACHE_BODY unsigned
holdfast_cache_alloc_bulk(struct holdfast_cache *cache, size_t size,
    void **objs, unsigned n)
{
	return holdfast_cache_alloc_bulk_fast(cache, size, objs, n);
}

HOLDFAST_CACHE_BODY void
holdfast_cache_free_bulk(struct holdfast_cache *cache, size_t size,
    void *const *objs, unsigned n)
{
	holdfast_cache_free_bulk_fast(cache, size, objs, n);
}

HOLDFAST_CACHE_BODY uint64_t
holdfast_cache_vtophys(const struct holdfast_cache *cache, const void *p)
{
	return holdfast_cache_vtophys_fast(cache, p);
}

#undef HOLDFAST_CACHE_BODY
#endif
#undef HOLDFAST_CACHE_RARELY

#endif
