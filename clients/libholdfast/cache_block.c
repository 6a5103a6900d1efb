/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Blocks of the span cache: an arena (core/vm_arena.h) of chunks over what is
 * imported from the daemon.
 *
 * The arena knows physical addresses.  Beside it stands the area, one stretch
 * of reserved addresses in which imported spans are mapped, each at the first
 * gap that holds it.  What is known of a chunk or a frame lies in tables
 * beside the area, never in the memory itself.
 *
 * Where the daemon does not tell addresses, spans get invented ones here, by
 * their place in the area; what is asked of the arena then is what is asked
 * inside one frame, and that holds all the same.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clients/libholdfast/cache_int.h"

#define AREA_MAX    (UINT64_C(256) << 30)
#define AREA_MIN    (UINT64_C(4) << 30)
#define PA_INVENTED (UINT64_C(1) << 50) /* no machine has memory there */
#define IDLE_MAX    2 /* spans; beyond so many they go back ... */
#define IDLE_MIN    1 /* ... until so many are left for the next burst */

struct cache_span {
	struct cache_import import;
	uint32_t first; /* frame of the area */
};

/* ---- Memory ---------------------------------------- */

static void *
table(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void
table_free(void *p, uint64_t bytes)
{
	if (p != NULL)
		(void)munmap(p, bytes);
}

/* Reserve the area, aligned to a frame. */
static char *
reserve(uint64_t size)
{
	char *p = mmap(NULL, size + FRAME, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *start;

	if (p == MAP_FAILED)
		return NULL;
	start = (char *)(((uintptr_t)p + FRAME - 1) & ~(uintptr_t)(FRAME - 1));
	if (start != p)
		(void)munmap(p, (size_t)(start - p));
	(void)munmap(start + size, (size_t)(p + FRAME - start));
	return start;
}

/* What the arena keeps its records in. */
static void *
records_alloc(void *ctx, size_t size)
{
	void *p = aligned_alloc(64, (size + 63) / 64 * 64);

	(void)ctx;
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

static void
records_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)size;
	free(p);
}

static const struct arch_ops records_ops = {.name = "client",
    .alloc = records_alloc,
    .free = records_free};
static const struct arch records = {.ops = &records_ops};

/* ---- Spans ---------------------------------------- */

/* The first gap of so many frames in the area, or nframes: there is none. */
static uint32_t
gap_find(const struct blocks *b, uint64_t want)
{
	uint64_t free = 0;

	for (uint32_t i = 0; i < b->nframes; i++) {
		free = b->base_of[i] == 0 ? free + 1 : 0;
		if (free == want)
			return (uint32_t)(i + 1 - want);
	}
	return b->nframes;
}

static char *
frame_at(const struct blocks *b, uint32_t frame)
{
	return b->area + ((uint64_t)frame << FRAME_SHIFT);
}

/* Map a span at its place and fill the tables in; 0, -errno. */
static int
span_map(struct blocks *b, struct cache_span *span)
{
	const struct cache_import *import = &span->import;
	char *at = frame_at(b, span->first);
	uint64_t base = import->pa != 0
			    ? import->pa
			    : PA_INVENTED + (uint64_t)(at - b->area);

	if (mmap(at, import->size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED, import->fd,
		(off_t)import->offset) == MAP_FAILED)
		return -errno;
	/* A child must not share what the parent's threads hand out. */
	(void)madvise(at, import->size, MADV_DONTFORK);
	for (uint64_t off = 0; off < import->size; off += FRAME) {
		uint32_t i = span->first + (uint32_t)(off >> FRAME_SHIFT);

		b->base_of[i] = base + off;
		b->pa_of[i] = import->pa != 0 ? import->pa + off : 0;
	}
	return 0;
}

static void
span_unmap(struct blocks *b, const struct cache_span *span)
{
	char *at = frame_at(b, span->first);
	uint64_t frames = span->import.size >> FRAME_SHIFT;

	/* If that fails the next span is mapped over it. */
	(void)mmap(at, span->import.size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	memset(&b->base_of[span->first], 0, frames * sizeof(*b->base_of));
	memset(&b->pa_of[span->first], 0, frames * sizeof(*b->pa_of));
}

/* What the daemon is asked for: whole frames about a run for `req`. */
static struct cache_want
want_of(const struct contig_req *req)
{
	struct cache_want want = {
	    .size = (req->size + FRAME - 1) & ~(FRAME - 1),
	    .alignment = req->alignment > FRAME ? req->alignment : FRAME,
	    .boundary = req->boundary,
	    .low = req->low & ~(FRAME - 1),
	    .high = req->high,
	};

	if (want.boundary != 0 && want.boundary < want.size)
		want.boundary = 0; /* of one frame a part will do */
	if (want.high != 0 && want.high <= UINT64_MAX - FRAME)
		want.high = (want.high + FRAME - 1) & ~(FRAME - 1);
	return want;
}

/* A daemon that is wrong about addresses gets its span back. */
static bool
import_is_sound(const struct cache_import *import,
    const struct cache_want *want)
{
	return import->size == want->size && import->pa % FRAME == 0 &&
	       import->pa < PA_INVENTED - import->size;
}

static int
span_import(void *arg, const struct contig_req *req, vm_size_t quantum,
    bool must, struct vm_arena_span *spanp)
{
	struct blocks *b = arg;
	struct cache_want want = want_of(req);
	struct cache_span *span;
	int rv = KERN_RESOURCE_SHORTAGE;

	(void)quantum;
	(void)must;
	if (want.size < req->size || want.size > b->area_size ||
	    (b->max_bytes != 0 && b->span_bytes + want.size > b->max_bytes))
		return KERN_NO_SPACE;
	span = calloc(1, sizeof(*span));
	if (span == NULL)
		return KERN_RESOURCE_SHORTAGE;
	span->first = gap_find(b, want.size >> FRAME_SHIFT);
	if (span->first == b->nframes ||
	    b->source.import(b->source.arg, &want, &span->import) != 0) {
		free(span);
		return KERN_NO_SPACE; /* less may be had */
	}
	if (!import_is_sound(&span->import, &want) || span_map(b, span) < 0) {
		b->source.release(b->source.arg, span->import.handle);
		free(span);
		return rv;
	}
	b->span_bytes += want.size;
	b->imports++;
	*spanp = (struct vm_arena_span){.start = b->base_of[span->first],
	    .end = b->base_of[span->first] + want.size,
	    .handle = span};
	return KERN_SUCCESS;
}

static void
span_release(void *arg, const struct vm_arena_span *lent)
{
	struct blocks *b = arg;
	struct cache_span *span = lent->handle;

	if (!b->ending)
		span_unmap(b, span);
	b->span_bytes -= span->import.size;
	b->releases++;
	b->released_bytes += span->import.size;
	b->source.release(b->source.arg, span->import.handle);
	free(span);
}

void
blocks_trim(struct blocks *b)
{
	(void)pthread_mutex_lock(&b->lock);
	(void)vm_arena_trim(b->arena, 0);
	(void)pthread_mutex_unlock(&b->lock);
}

uint64_t
blocks_released(struct blocks *b)
{
	uint64_t bytes;

	(void)pthread_mutex_lock(&b->lock);
	bytes = b->released_bytes;
	(void)pthread_mutex_unlock(&b->lock);
	return bytes;
}

/* ---- Life ---------------------------------------- */

static int
arena_init(struct blocks *b)
{
	struct vm_arena_options options = {
	    .page_size = 4096,
	    .grain = CHUNK,
	    .quantum = FRAME,
	    .span_size = b->span_size,
	    .idle_max = IDLE_MAX * b->span_size,
	    .idle_min = IDLE_MIN * b->span_size,
	};
	struct vm_arena_source source = {.import = span_import,
	    .release = span_release,
	    .arg = b};

	b->arena = vm_arena_create(&records, &options, &source);
	return b->arena != NULL ? 0 : -ENOMEM;
}

int
blocks_init(struct blocks *b, const struct cache_source *source,
    uint64_t span_size, uint64_t max_bytes)
{
	uint64_t size = AREA_MAX, nchunks;

	memset(b, 0, sizeof(*b));
	(void)pthread_mutex_init(&b->lock, NULL);
	b->source = *source;
	b->span_size = span_size;
	b->max_bytes = max_bytes;
	while ((b->area = reserve(size)) == NULL)
		if ((size /= 2) < AREA_MIN)
			return -ENOMEM;
	b->area_size = size;
	b->nframes = (uint32_t)(size >> FRAME_SHIFT);
	nchunks = size >> CHUNK_SHIFT;
	b->kind_of = table(nchunks);
	b->nidle_of = table(nchunks * sizeof(*b->nidle_of));
	b->large_of = table(nchunks * sizeof(*b->large_of));
	b->pa_of = table(b->nframes * sizeof(*b->pa_of));
	b->base_of = table(b->nframes * sizeof(*b->base_of));
	if (b->kind_of == NULL || b->nidle_of == NULL || b->large_of == NULL ||
	    b->pa_of == NULL || b->base_of == NULL)
		return -ENOMEM;
	return arena_init(b);
}

void
blocks_fini(struct blocks *b, bool release)
{
	uint64_t nchunks = b->area_size >> CHUNK_SHIFT;

	b->ending = true; /* all is unmapped at once */
	if (release)      /* in a child the arena may be in any state */
		vm_arena_destroy(b->arena);
	if (b->area != NULL)
		(void)munmap(b->area, b->area_size);
	table_free(b->kind_of, nchunks);
	table_free(b->nidle_of, nchunks * sizeof(*b->nidle_of));
	table_free(b->large_of, nchunks * sizeof(*b->large_of));
	table_free(b->pa_of, b->nframes * sizeof(*b->pa_of));
	table_free(b->base_of, b->nframes * sizeof(*b->base_of));
	if (release)
		(void)pthread_mutex_destroy(&b->lock);
	if (b->source.fini != NULL)
		b->source.fini(b->source.arg);
}

/* ---- Blocks ---------------------------------------- */

/* Where what the arena handed out lies in the area. */
static char *
address_of(struct blocks *b, vm_paddr_t pa)
{
	const struct cache_span *span;
	struct vm_arena_span lent = {0};

	(void)vm_arena_span_at(b->arena, pa, &lent); /* it is there */
	span = lent.handle;
	return frame_at(b, span->first) + (pa - lent.start);
}

static vm_paddr_t
base_of(const struct blocks *b, const char *p)
{
	uint64_t off = (uint64_t)(p - b->area);

	return b->base_of[off >> FRAME_SHIFT] + (off & (FRAME - 1));
}

/* After something was said to the source. */
static void
hear(struct blocks *b)
{
	if (b->source.heard != NULL && b->source.heard(b->source.arg))
		atomic_store(&b->asked, true);
}

/* Whole chunks for `req`, which is made good; NULL: none. */
static char *
take_locked(struct blocks *b, struct contig_req *req)
{
	uint64_t imports = b->imports;
	vm_paddr_t pa;
	int rv;

	req->domain = -1;
	if (req->high == 0)
		req->high = UINT64_MAX;
	rv = vm_arena_alloc(b->arena, req, &pa);
	if (rv != KERN_SUCCESS || b->imports != imports)
		hear(b);
	if (rv != KERN_SUCCESS)
		return NULL;
	return address_of(b, pa);
}

static void
give_locked(struct blocks *b, char *p, uint64_t size)
{
	(void)vm_arena_free(b->arena, base_of(b, p), size); /* it is ours */
}

char *
blocks_alloc(struct blocks *b, unsigned order, uint8_t class)
{
	struct contig_req req = {.size = CHUNK << order,
	    .alignment = CHUNK << order};
	char *block;

	(void)pthread_mutex_lock(&b->lock);
	block = take_locked(b, &req);
	if (block != NULL)
		memset(&b->kind_of[chunk_index(b, block)], class + 1,
		    (size_t)1 << order);
	(void)pthread_mutex_unlock(&b->lock);
	return block;
}

void
blocks_free(struct blocks *b, char *block, unsigned order)
{
	(void)pthread_mutex_lock(&b->lock);
	memset(&b->kind_of[chunk_index(b, block)], 0, (size_t)1 << order);
	give_locked(b, block, CHUNK << order);
	(void)pthread_mutex_unlock(&b->lock);
}

/*
 * Does `p` keep what is asked for?  What reaches beyond one frame does not
 * show in an invented address.
 */
static bool
is_kept(const struct blocks *b, const char *p, const struct contig_req *req)
{
	uint64_t off = (uint64_t)(p - b->area);
	bool told = b->pa_of[off >> FRAME_SHIFT] != 0;
	bool one = off / FRAME == (off + req->size - 1) / FRAME;

	return told ||
	       (req->low == 0 && req->high == UINT64_MAX &&
		   req->alignment <= FRAME && (req->boundary == 0 || one));
}

void *
blocks_alloc_large(struct blocks *b, const struct contig_req *wanted)
{
	struct contig_req req = *wanted;
	struct large *large;
	char *p;

	(void)pthread_mutex_lock(&b->lock);
	p = take_locked(b, &req);
	if (p != NULL && !is_kept(b, p, &req)) {
		give_locked(b, p, req.size);
		p = NULL;
	}
	if (p != NULL) {
		large = &b->large_of[chunk_index(b, p)];
		*large = (struct large){.start = p, .size = req.size};
	}
	(void)pthread_mutex_unlock(&b->lock);
	return p;
}

bool
blocks_free_large(struct blocks *b, char *p)
{
	struct large *large = &b->large_of[chunk_index(b, p)];
	bool ours;

	(void)pthread_mutex_lock(&b->lock);
	ours = large->start == p;
	if (ours) {
		give_locked(b, p, large->size);
		*large = (struct large){0};
	}
	(void)pthread_mutex_unlock(&b->lock);
	return ours;
}

void
blocks_stats(struct blocks *b, struct holdfast_cache_stats *statsp)
{
	struct vm_arena_stats arena;

	(void)pthread_mutex_lock(&b->lock);
	vm_arena_stats(b->arena, &arena);
	*statsp = (struct holdfast_cache_stats){
	    .span_bytes = arena.span_bytes,
	    .slab_bytes = arena.used_bytes,
	    .free_bytes = arena.span_bytes - arena.used_bytes,
	    .imports = b->imports,
	    .releases = b->releases,
	};
	(void)pthread_mutex_unlock(&b->lock);
}
