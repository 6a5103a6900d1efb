/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Blocks of the span cache: a buddy allocator inside imported spans.
 *
 * The area is one stretch of reserved addresses, divided into slots of
 * span_size.  A span is mapped at the start of its slot, so that an address
 * gives its chunk and its frame by a shift; what is known of a chunk lies in
 * tables beside the area, never in the memory itself.  Blocks do not cross a
 * frame, so a span is idle when all its frames are.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clients/libholdfast/cache_int.h"

#define AREA_MAX (UINT64_C(256) << 30)
#define AREA_MIN (UINT64_C(4) << 30)

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

int
blocks_init(struct blocks *b, const struct cache_source *source,
    uint64_t span_size, uint64_t max_bytes)
{
	uint64_t size = AREA_MAX;

	memset(b, 0, sizeof(*b));
	(void)pthread_mutex_init(&b->lock, NULL);
	b->source = *source;
	b->span_size = span_size;
	b->max_bytes = max_bytes;
	memset(b->head, 0xff, sizeof(b->head)); /* CHUNK_NIL */
	while ((b->area = reserve(size)) == NULL)
		if ((size /= 2) < AREA_MIN)
			return -ENOMEM;
	b->area_size = size;
	b->nslots = (uint32_t)(size / span_size);
	b->kind_of = table(size >> CHUNK_SHIFT);
	b->pa_of = table((size >> FRAME_SHIFT) * sizeof(*b->pa_of));
	b->nidle_of = table((size >> CHUNK_SHIFT) * sizeof(*b->nidle_of));
	b->chunks = table((size >> CHUNK_SHIFT) * sizeof(*b->chunks));
	b->spans = table(b->nslots * sizeof(*b->spans));
	if (b->kind_of == NULL || b->pa_of == NULL || b->chunks == NULL ||
	    b->spans == NULL || b->nidle_of == NULL)
		return -ENOMEM;
	return 0;
}

/* ---- Free lists ---------------------------------------- */

static void
list_push(struct blocks *b, uint32_t i, unsigned order)
{
	struct chunk *c = &b->chunks[i];

	*c = (struct chunk){.next = b->head[order],
	    .prev = CHUNK_NIL,
	    .order = (uint8_t)order,
	    .free = true};
	if (c->next != CHUNK_NIL)
		b->chunks[c->next].prev = i;
	b->head[order] = i;
}

static void
list_remove(struct blocks *b, uint32_t i)
{
	struct chunk *c = &b->chunks[i];

	if (c->prev != CHUNK_NIL)
		b->chunks[c->prev].next = c->next;
	else
		b->head[c->order] = c->next;
	if (c->next != CHUNK_NIL)
		b->chunks[c->next].prev = c->prev;
	c->free = false;
}

static struct cache_span *
span_of(struct blocks *b, uint32_t chunk)
{
	return &b->spans[((uint64_t)chunk << CHUNK_SHIFT) / b->span_size];
}

static uint32_t
span_frames(const struct cache_span *span)
{
	return (uint32_t)(span->import.size >> FRAME_SHIFT);
}

/* A whole frame was taken from, or given back to, the span it is in. */
static void
frame_taken(struct blocks *b, uint32_t chunk)
{
	struct cache_span *span = span_of(b, chunk);

	b->nidle -= span->nfree == span_frames(span);
	span->nfree--;
}

static void
frame_given(struct blocks *b, uint32_t chunk)
{
	struct cache_span *span = span_of(b, chunk);

	span->nfree++;
	b->nidle += span->nfree == span_frames(span);
}

/* ---- Spans ---------------------------------------- */

static uint32_t
empty_slot(const struct blocks *b)
{
	for (uint32_t i = 0; i < b->nused; i++)
		if (b->spans[i].import.size == 0)
			return i;
	return b->nused;
}

/* Map a span into its slot and give its frames to the free list. */
static int
span_enter(struct blocks *b, uint32_t slot, const struct cache_import *import)
{
	char *at = b->area + slot * b->span_size;
	uint32_t first = chunk_index(b, at);

	if (mmap(at, import->size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED, import->fd,
		(off_t)import->offset) == MAP_FAILED)
		return -errno;
	/* A child must not share what the parent's threads hand out. */
	(void)madvise(at, import->size, MADV_DONTFORK);
	b->spans[slot].import = *import;
	b->spans[slot].nfree = 0;
	for (uint64_t off = 0; off < import->size; off += FRAME) {
		uint32_t i = first + (uint32_t)(off >> CHUNK_SHIFT);

		b->pa_of[i / FRAME_CHUNKS] =
		    import->pa != 0 ? import->pa + off : 0;
		list_push(b, i, NORDERS - 1);
		frame_given(b, i);
	}
	if (slot == b->nused)
		b->nused++;
	b->span_bytes += import->size;
	b->imports++;
	return 0;
}

/* Import a span: of the usual size, or the largest that is to be had. */
static int
span_import(struct blocks *b)
{
	uint32_t slot = empty_slot(b);
	struct cache_import import;
	uint64_t size = b->span_size;

	if (slot == b->nslots)
		return -ENOMEM;
	if (b->max_bytes != 0)
		while (size >= FRAME && b->span_bytes + size > b->max_bytes)
			size = (size / 2) & ~(FRAME - 1);
	for (; size >= FRAME; size = (size / 2) & ~(FRAME - 1)) {
		int r;

		if (b->source.import(b->source.arg, size, &import) != 0)
			continue;
		r = span_enter(b, slot, &import);
		if (r < 0)
			b->source.release(b->source.arg, import.handle);
		return r;
	}
	return -ENOMEM;
}

static uint64_t
span_release(struct blocks *b, uint32_t slot)
{
	struct cache_span *span = &b->spans[slot];
	char *at = b->area + slot * b->span_size;
	uint64_t size = span->import.size;

	for (uint64_t off = 0; off < size; off += FRAME) {
		list_remove(b, chunk_index(b, at + off));
		b->pa_of[chunk_index(b, at + off) / FRAME_CHUNKS] = 0;
	}
	(void)mmap(at, size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	b->source.release(b->source.arg, span->import.handle);
	b->nidle--;
	b->span_bytes -= size;
	b->releases++;
	memset(span, 0, sizeof(*span));
	return size;
}

static uint64_t
trim_locked(struct blocks *b, uint32_t keep)
{
	uint64_t bytes = 0;

	for (uint32_t i = b->nused; i-- > 0 && b->nidle > keep;)
		if (b->spans[i].import.size != 0 &&
		    b->spans[i].nfree == span_frames(&b->spans[i]))
			bytes += span_release(b, i);
	return bytes;
}

uint64_t
blocks_trim(struct blocks *b, uint32_t keep)
{
	uint64_t bytes;

	(void)pthread_mutex_lock(&b->lock);
	bytes = trim_locked(b, keep);
	(void)pthread_mutex_unlock(&b->lock);
	return bytes;
}

void
blocks_shed(struct blocks *b, uint32_t most, uint32_t keep)
{
	(void)pthread_mutex_lock(&b->lock);
	if (b->nidle > most)
		(void)trim_locked(b, keep);
	(void)pthread_mutex_unlock(&b->lock);
}

void
blocks_fini(struct blocks *b, bool release)
{
	for (uint32_t i = 0; b->spans != NULL && i < b->nused; i++)
		if (release && b->spans[i].import.size != 0)
			b->source.release(b->source.arg,
			    b->spans[i].import.handle);
	if (b->area != NULL)
		(void)munmap(b->area, b->area_size);
	table_free(b->kind_of, b->area_size >> CHUNK_SHIFT);
	table_free(b->pa_of, (b->area_size >> FRAME_SHIFT) * sizeof(*b->pa_of));
	table_free(b->nidle_of,
	    (b->area_size >> CHUNK_SHIFT) * sizeof(*b->nidle_of));
	table_free(b->chunks,
	    (b->area_size >> CHUNK_SHIFT) * sizeof(*b->chunks));
	table_free(b->spans, b->nslots * sizeof(*b->spans));
	if (release)
		(void)pthread_mutex_destroy(&b->lock);
	if (b->source.fini != NULL)
		b->source.fini(b->source.arg);
}

/* ---- Blocks ---------------------------------------- */

static void
mark(struct blocks *b, uint32_t first, unsigned order, uint8_t kind)
{
	memset(&b->kind_of[first], kind, (size_t)1 << order);
}

static char *
block_take(struct blocks *b, unsigned order, uint8_t class)
{
	unsigned from = order;
	uint32_t i;

	while (from < NORDERS && b->head[from] == CHUNK_NIL)
		from++;
	if (from == NORDERS)
		return NULL;
	i = b->head[from];
	list_remove(b, i);
	if (from == NORDERS - 1)
		frame_taken(b, i);
	while (from > order) {
		from--;
		list_push(b, i + (1u << from), from);
	}
	mark(b, i, order, (uint8_t)(class + 1));
	b->block_bytes += CHUNK << order;
	return b->area + ((uint64_t)i << CHUNK_SHIFT);
}

/* After something was said to the source. */
static void
hear(struct blocks *b)
{
	if (b->source.heard != NULL && b->source.heard(b->source.arg))
		atomic_store(&b->asked, true);
}

char *
blocks_alloc(struct blocks *b, unsigned order, uint8_t class)
{
	char *block;

	(void)pthread_mutex_lock(&b->lock);
	block = block_take(b, order, class);
	if (block == NULL) {
		if (span_import(b) == 0)
			block = block_take(b, order, class);
		hear(b);
	}
	(void)pthread_mutex_unlock(&b->lock);
	return block;
}

void
blocks_free(struct blocks *b, char *block, unsigned order)
{
	uint32_t i = chunk_index(b, block);

	(void)pthread_mutex_lock(&b->lock);
	mark(b, i, order, 0);
	b->block_bytes -= CHUNK << order;
	for (; order < NORDERS - 1; order++) {
		uint32_t buddy = i ^ (1u << order);

		if (!b->chunks[buddy].free || b->chunks[buddy].order != order)
			break;
		list_remove(b, buddy);
		i &= ~(1u << order);
	}
	list_push(b, i, order);
	if (order == NORDERS - 1)
		frame_given(b, i);
	(void)pthread_mutex_unlock(&b->lock);
}
