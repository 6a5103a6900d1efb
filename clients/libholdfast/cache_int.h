/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The inside of the span cache: classes, blocks, and where spans come from.
 *
 * Three layers, each asking the one below under its own lock:
 *   threads   arrays of object pointers by class; no lock
 *   depots    what threads hand to each other, and slabs being cut up
 *   blocks    a buddy allocator of 64 KiB to 2 MiB inside imported spans
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/libholdfast/holdfast_cache.h"

#define CHUNK_SHIFT  16 /* a slab; the smallest block */
#define CHUNK        (UINT64_C(1) << CHUNK_SHIFT)
#define FRAME_SHIFT  21 /* a huge page; the largest block */
#define FRAME        (UINT64_C(1) << FRAME_SHIFT)
#define FRAME_CHUNKS (1u << (FRAME_SHIFT - CHUNK_SHIFT))
#define NORDERS      (FRAME_SHIFT - CHUNK_SHIFT + 1)

/*
 * Classes: multiples of 16 up to 128, then four to a doubling up to 32 KiB,
 * then the orders of blocks.
 */
#define SMALL_MAX (UINT64_C(32) << 10)
#define NSMALL    40
#define NCLASSES  (NSMALL + NORDERS)

/* A span as its source hands it over. */
struct cache_import {
	int fd;          /* borrowed until the release */
	uint64_t offset; /* of the span in fd */
	uint64_t size;   /* bytes, whole frames */
	uint64_t pa;     /* 0: not told */
	void *handle;    /* for the release */
};

struct cache_source {
	/* 0, or non-zero where there is none of that size. */
	int (*import)(void *arg, uint64_t size, struct cache_import *importp);
	void (*release)(void *arg, void *handle);
	void (*fini)(void *arg); /* the cache is gone; may be NULL */
	void *arg;
};

/* ---- Blocks -------------------------------------------------------------- */

struct chunk {
	uint32_t next, prev; /* in the free list of its order; CHUNK_NIL ends */
	uint8_t order;       /* of the free block that begins here */
	bool free;           /* a free block begins here */
};

#define CHUNK_NIL UINT32_MAX

struct cache_span {
	struct cache_import import; /* size 0: the slot is empty */
	uint32_t nfree;             /* whole frames free */
};

struct blocks {
	pthread_mutex_t lock;
	struct cache_source source;    /* (c) */
	char *area;                    /* (c) reserved address space */
	uint64_t area_size;            /* (c) bytes */
	uint64_t span_size, max_bytes; /* (c) bytes */
	uint8_t *class_of;        /* (b) by chunk: class + 1; 0: no object */
	uint64_t *pa_of;          /* (b) by frame; 0: not told */
	uint16_t *nidle_of;       /* (d) by chunk: objects in the depot */
	struct chunk *chunks;     /* (b) */
	struct cache_span *spans; /* (b) by slot */
	uint32_t nslots;          /* (c) */
	uint32_t nused;           /* (b) slots ever used */
	uint32_t nidle;           /* (b) spans wholly free */
	uint32_t head[NORDERS];   /* (b) free blocks by order */
	uint64_t span_bytes, block_bytes; /* (b) imported; handed out */
	uint64_t imports, releases;       /* (b) */
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
void blocks_free(struct blocks *b, char *block, unsigned order);

/* Release idle spans until at most `keep` are left; bytes given back. */
uint64_t blocks_trim(struct blocks *b, uint32_t keep);

static inline uint32_t
chunk_index(const struct blocks *b, const void *p)
{
	return (uint32_t)((uint64_t)((const char *)p - b->area) >> CHUNK_SHIFT);
}

/* ---- Threads and depots -----------------------------------------------------
 */

struct bin {
	uint32_t n, cap; /* objects, and how many it may hold */
	void **objs;
};

struct tcache {
	struct holdfast_cache *cache; /* NULL: its cache is gone */
	struct tcache *next;          /* others of this thread */
	struct tcache *sibling;       /* others of this cache; registry lock */
	void *hot;                    /* the object freed last, or NULL */
	unsigned hot_class;           /* its class, or the one it may have */
	struct bin bins[NCLASSES];
};

struct depot {
	_Alignas(64) pthread_mutex_t lock;
	void **objs; /* a stack */
	size_t n, room;
	size_t nwhole;       /* slabs of which every object is in the stack */
	char *cut, *cut_end; /* slab being cut up, not yet handed out */
};

struct holdfast_cache {
	struct blocks blocks;
	struct depot depots[NCLASSES];
	struct tcache *tcaches;      /* registry lock */
	struct holdfast_cache *next; /* registry lock */
	bool forked;                 /* we are in a child: nothing is here */
};

/* As holdfast_cache_create(), over any source; it is the cache's from here. */
int cache_create_over(const struct cache_source *source,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep);

/* ---- Classes
 * ------------------------------------------------------------------ */

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

/* By size in units of 16 bytes, up to SMALL_MAX; filled by classes_init(). */
extern uint8_t class_by_16[SMALL_MAX / 16 + 1];
void classes_init(void);

/* The smallest class that holds `size` bytes, 1 to HOLDFAST_CACHE_MAX. */
static inline unsigned
class_of_size(uint64_t size)
{
	if (__builtin_expect(size <= SMALL_MAX, 1))
		return class_by_16[(size + 15) / 16];
	return size <= CHUNK ? NSMALL
			     : NSMALL + 64u - CHUNK_SHIFT -
				   (unsigned)__builtin_clzll(size - 1);
}
