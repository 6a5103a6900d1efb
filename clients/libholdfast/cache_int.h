/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The inside of the span cache: classes, blocks, and where spans come from.
 *
 * Three layers, each asking the one below under its own lock:
 *   threads   arrays of object pointers by class; no lock
 *   depots    what threads hand to each other, and slabs being cut up
 *   blocks    64 KiB to 2 MiB, and buffers of any size, from an arena of
 *             imported spans
 */

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/libholdfast/holdfast_cache.h"
#include "core/vm_arena.h"

/* A chunk is a slab and the smallest block, a frame the largest. */
#define CHUNK_SHIFT  HOLDFAST_CACHE_CHUNK_SHIFT
#define CHUNK        (UINT64_C(1) << CHUNK_SHIFT)
#define FRAME_SHIFT  HOLDFAST_CACHE_FRAME_SHIFT
#define FRAME        (UINT64_C(1) << FRAME_SHIFT)
#define FRAME_CHUNKS (1u << (FRAME_SHIFT - CHUNK_SHIFT))
#define NORDERS      (FRAME_SHIFT - CHUNK_SHIFT + 1)

/*
 * Classes: multiples of 16 up to 128, then four to a doubling up to 32 KiB,
 * then the orders of blocks.
 */
#define SMALL_MAX ((uint64_t)HOLDFAST_CACHE_SMALL)
#define NSMALL    40
#define NCLASSES  (NSMALL + NORDERS)

static_assert(NCLASSES + 1 == HOLDFAST_CACHE_KINDS, "a kind is a class + 1");

/* What a source is asked for: whole frames in one piece. */
struct cache_want {
	uint64_t size; /* bytes */
	/* As in contigmalloc(9); high is never 0. */
	uint64_t alignment, boundary, low, high;
};

/* A span as its source hands it over. */
struct cache_import {
	int fd;          /* borrowed until the release */
	uint64_t offset; /* of the span in fd */
	uint64_t size;   /* bytes, whole frames */
	uint64_t pa;     /* 0: not told */
	void *handle;    /* for the release */
};

struct cache_source {
	/* 0, or non-zero where there is none of that kind. */
	int (*import)(void *arg, const struct cache_want *want,
	    struct cache_import *importp);
	void (*release)(void *arg, void *handle);
	void (*fini)(void *arg); /* the cache is gone; may be NULL */
	/*
	 * Does somebody want memory back?  Does not wait.  -errno: nobody can
	 * ask any more.  NULL: nobody ever does, and the rest is not set.
	 */
	int (*listen)(void *arg, bool *askedp);
	/* The same of what was heard in the middle of import or release. */
	bool (*heard)(void *arg);
	int (*answer)(void *arg); /* we gave back what we could; 0, -errno */
	int fd;                   /* readable when it is time to listen */
	void *arg;
};
/* All but fini() are called under the blocks' lock. */

/* ---- Blocks -------------------------------------------------------------- */

struct large {
	char *start; /* NULL: none begins in this chunk */
	uint64_t size;
};

struct blocks {
	pthread_mutex_t lock;
	struct cache_source source;    /* (c) */
	char *area;                    /* (c) reserved address space */
	uint64_t area_size;            /* (c) bytes */
	uint64_t span_size, max_bytes; /* (c) bytes */
	uint32_t nframes;              /* (c) in the area */
	struct vm_arena *arena;        /* (b) of what is imported */
	uint8_t *kind_of;           /* (b) by chunk: class + 1; 0: no object */
	uint16_t *nidle_of;         /* (d) by chunk: objects in the depot */
	struct large *large_of;     /* (b) by chunk */
	uint64_t *pa_of;            /* (b) by frame; 0: not told */
	uint64_t *base_of;          /* (b) by frame: as the arena has it */
	uint64_t span_bytes;        /* (b) imported */
	uint64_t imports, releases; /* (b) spans, so far */
	uint64_t released_bytes;    /* (b) of those that went */
	bool ending;                /* the cache goes */
	atomic_bool asked;          /* heard, and not yet answered */
};
/*
 * Lock legend: (c) constant after init, (b) blocks.lock, (d) the lock of the
 * depot whose slab the chunk is.
 */

int blocks_init(struct blocks *b, const struct cache_source *source,
    uint64_t span_size, uint64_t max_bytes);
/* Unmap everything; `release`: and give the spans back to their source. */
void blocks_fini(struct blocks *b, bool release);

/* One block of CHUNK << order bytes for objects of `class`, or NULL. */
char *blocks_alloc(struct blocks *b, unsigned order, uint8_t class);
/* Idle spans go back when they are more than the cache likes to keep. */
void blocks_free(struct blocks *b, char *block, unsigned order);

/*
 * A buffer of any size, in whole chunks; high 0: no bound.  NULL: there is
 * none, or the request is none, or the daemon does not tell addresses and the
 * request cannot be kept without them.
 */
void *blocks_alloc_large(struct blocks *b, const struct contig_req *wanted);
/* false: no such buffer begins at `p`, which lies in the area. */
bool blocks_free_large(struct blocks *b, char *p);

/* Release all idle spans. */
void blocks_trim(struct blocks *b);
/* Bytes that were given back so far, here or as they fell idle. */
uint64_t blocks_released(struct blocks *b);

void blocks_stats(struct blocks *b, struct holdfast_cache_stats *statsp);

static inline uint32_t
chunk_index(const struct blocks *b, const void *p)
{
	return (uint32_t)((uint64_t)((const char *)p - b->area) >> CHUNK_SHIFT);
}

/* ---- Threads and depots ----------------------------------------------- */

struct tcache {
	struct holdfast_cache_thread
	    front; /* first: what the inline code has */
	/* NULL: the cache is gone; its thread frees this. */
	_Atomic(struct holdfast_cache *) owner;
	struct tcache *next;    /* others of this thread */
	struct tcache *sibling; /* others of this cache; registry lock */
	void **arrays;          /* (c) of all bins */
	/*
	 * (c) The cache's own thread may take the objects: they are guarded by
	 * the lock, and front.cache is always NULL.
	 */
	bool attended;
	pthread_mutex_t lock;
	atomic_bool poked; /* see tcaches_flush() */
};

struct depot {
	_Alignas(64) pthread_mutex_t lock;
	void **objs; /* a stack */
	size_t n, room;
	size_t nwhole;       /* slabs of which every object is in the stack */
	char *cut, *cut_end; /* slab being cut up, not yet handed out */
};

/* Who looks whether the daemon wants memory back, and when. */
struct attend {
	_Atomic uint64_t due_ms; /* of the coarse clock */
	bool wanted;             /* (c) a thread for it; struct tcache */
	bool runs;               /* (c) there is one */
	pthread_t thread;        /* (c) */
	int stop_fd;             /* (c) readable: end */
};

struct holdfast_cache {
	struct holdfast_cache_front front; /* first: what the inline code has */
	struct blocks blocks;
	struct depot depots[NCLASSES];
	struct tcache *tcaches;      /* registry lock */
	struct holdfast_cache *next; /* registry lock */
	struct attend attend;
	atomic_bool forked; /* we are in a child: nothing is here */
};

/*
 * Up to `n` objects of `class` into `objs`: from the depot, then from a slab.
 * How many there were.
 */
unsigned depot_get(struct holdfast_cache *cache, unsigned class, void **objs,
    unsigned n);
/* Take `n` objects.  Blocks go straight back to the blocks. */
void depot_put(struct holdfast_cache *cache, unsigned class, void *const *objs,
    unsigned n);
/* Give whole slabs back to the blocks. */
void depots_trim(struct holdfast_cache *cache);

/* Enter a cache into the registry, which forks and threads look at. */
void registry_enter(struct holdfast_cache *cache);
/* Remove it; nothing of it is in any thread afterwards. */
void registry_remove(struct holdfast_cache *cache);
/*
 * This thread's part of `cache`; made where there is none.  It is locked, if
 * it has to be: tcache_put().  NULL: no memory, or in a forked child.
 */
struct tcache *tcache_get(struct holdfast_cache *cache);
/* The same; NULL where there is none. */
struct tcache *tcache_get_if_any(struct holdfast_cache *cache);
static inline void
tcache_put(struct tcache *t)
{
	if (t != NULL && t->attended)
		(void)pthread_mutex_unlock(&t->lock);
}
/* Its objects go to the depots.  It is this thread's, or locked, or both. */
void tcache_flush(struct tcache *t);
/*
 * The objects of all threads go to the depots: of `mine`, which the caller got
 * and which may be NULL; of others now, if they are attended and not in the
 * middle of something; of the rest when they next pass through tcache_get(),
 * where they give back what is idle then.
 */
void tcaches_flush(struct holdfast_cache *cache, struct tcache *mine);

/* holdfast_cache_trim(), with what tcache_get() returned, or NULL. */
uint64_t cache_give_back(struct holdfast_cache *cache, struct tcache *mine);

/*
 * Look whether the daemon wants memory back, if that is due; give it then.
 * No lock is held but that of `mine`, which is what tcache_get() returned.
 * Costs a look at a clock that needs no system call.
 */
void attend_look(struct holdfast_cache *cache, struct tcache *mine);
/* Answer what was heard in the middle of something else. */
void attend_heard(struct holdfast_cache *cache, struct tcache *mine);
/* Start the thread that does nothing else.  0, -errno. */
int attend_start(struct holdfast_cache *cache);
void attend_stop(struct holdfast_cache *cache); /* if there is one */

/* Objects in a bin. */
static inline unsigned
bin_count(const struct holdfast_cache_bin *bin)
{
	return (unsigned)(bin->top - bin->base);
}

/* As holdfast_cache_create(), over any source; it is the cache's from here. */
int cache_create_over(const struct cache_source *source,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep);

/* ---- Classes ------------------------------------------------------------ */

/* Bytes of an object of this class. */
static inline uint64_t
class_size(unsigned class)
{
	unsigned step;

	if (class < 8)
		return (class + 1) * UINT64_C(16);
	if (class >= NSMALL)
		return CHUNK << (class - NSMALL);
	step = class - 8;
	return (UINT64_C(5) + step % 4) << (5 + step / 4);
}

/* The smallest class that holds `size` bytes, 1 to SMALL_MAX. */
unsigned class_small(uint64_t size);

/* The smallest class that holds `size` bytes, 1 to HOLDFAST_CACHE_MAX. */
static inline unsigned
class_of_size(const struct holdfast_cache *cache, uint64_t size)
{
	if (__builtin_expect(size <= SMALL_MAX, 1))
		return cache->front.kind_by_size[(size - 1) / 16] - 1u;
	return size <= CHUNK ? NSMALL
			     : NSMALL + 64u - CHUNK_SHIFT -
				   (unsigned)__builtin_clzll(size - 1);
}
