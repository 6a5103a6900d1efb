/* SPDX-License-Identifier: BSD-2-Clause */

/*
 *	chunk | header | block 0 | block 1 | ... | block 31 |     2 MiB
 *
 * A chunk with a free block is on the list; a full one is found again by
 * rounding the address of a block down.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/linux/meta.h"
#include "core/kassert.h"
#include "core/vm.h"

#define BLOCKS     32
#define BLOCK_MIN  (ARCH_META_BLOCK / 2) /* from here on a block */
#define MAPPED_MIN ((size_t)1 << 20)     /* from here on a mapping */

struct meta_chunk {
	struct meta_chunk *next, *prev; /* on the list of those with room */
	uint32_t used;                  /* a bit for each block that is out */
	uint32_t dirty;                 /* for each that has been */
};

#define BLOCKS_AT (LINUX_META_CHUNK - BLOCKS * ARCH_META_BLOCK)

static_assert(BLOCKS_AT >= sizeof(struct meta_chunk) && BLOCKS_AT % 64 == 0,
    "the header fits in front of the blocks");

static bool
is_block(size_t size)
{
	return size >= BLOCK_MIN && size <= ARCH_META_BLOCK;
}

static void
chunk_link(struct linux_meta *meta, struct meta_chunk *chunk)
{
	chunk->prev = NULL;
	chunk->next = meta->room;
	if (meta->room != NULL)
		meta->room->prev = chunk;
	meta->room = chunk;
}

static void
chunk_unlink(struct linux_meta *meta, struct meta_chunk *chunk)
{
	if (chunk->next != NULL)
		chunk->next->prev = chunk->prev;
	if (chunk->prev != NULL)
		chunk->prev->next = chunk->next;
	else
		meta->room = chunk->next;
}

/* 2 MiB of address space, aligned to as much.  NULL: none left. */
static void *
chunk_map(void)
{
	size_t size = 2 * LINUX_META_CHUNK, head;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)p & (LINUX_META_CHUNK - 1);
	if (head > 0)
		(void)munmap(p, head); /* ours: cannot fail but for memory */
	(void)munmap(p + head + LINUX_META_CHUNK, LINUX_META_CHUNK - head);
	return p + head;
}

static bool
chunk_new(struct linux_meta *meta)
{
	struct meta_chunk *chunk = chunk_map();

	if (chunk == NULL)
		return false;
	/* Advice: base pages do as well, only slower. */
	(void)madvise(chunk, LINUX_META_CHUNK,
	    meta->base_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	chunk_link(meta, chunk);
	meta->bytes += LINUX_META_CHUNK;
	meta->idle += LINUX_META_CHUNK;
	return true;
}

static void
chunk_drop(struct linux_meta *meta, struct meta_chunk *chunk)
{
	MPASS(chunk->used == 0);

	chunk_unlink(meta, chunk);
	meta->bytes -= LINUX_META_CHUNK;
	meta->idle -= LINUX_META_CHUNK;
	(void)munmap(chunk, LINUX_META_CHUNK);
}

/*
 * Make the pages of a new block at once: where they are base pages, a page
 * fault for each costs more than they do.
 */
static void
block_populate(char *block)
{
#ifdef MADV_POPULATE_WRITE
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)block & ~(page - 1);
	uintptr_t to =
	    ((uintptr_t)block + ARCH_META_BLOCK + page - 1) & ~(page - 1);

	/* An old kernel does not know how, and faults do the same. */
	(void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
#else
	(void)block;
#endif
}

/* A free block of the first chunk with room; whether it was out before. */
static char *
block_take_locked(struct linux_meta *meta, bool *dirtyp)
{
	struct meta_chunk *chunk = meta->room;
	unsigned i;

	if (chunk->used == 0)
		meta->idle -= LINUX_META_CHUNK;
	MPASS(chunk->used != UINT32_MAX);
	i = (unsigned)__builtin_ctz(~chunk->used);
	*dirtyp = (chunk->dirty >> i & 1) != 0;
	chunk->used |= (uint32_t)1 << i;
	chunk->dirty |= (uint32_t)1 << i;
	if (chunk->used == UINT32_MAX)
		chunk_unlink(meta, chunk);
	return (char *)chunk + BLOCKS_AT + i * ARCH_META_BLOCK;
}

static void *
block_alloc(struct linux_meta *meta, size_t size)
{
	char *block = NULL;
	bool dirty = false;

	pthread_mutex_lock(&meta->lock);
	if (meta->room != NULL || chunk_new(meta))
		block = block_take_locked(meta, &dirty);
	pthread_mutex_unlock(&meta->lock);
	if (block == NULL)
		return NULL;
	if (dirty)
		memset(block, 0, size);
	else
		block_populate(block);
	return block;
}

static void
block_free(struct linux_meta *meta, char *block)
{
	uintptr_t offset = (uintptr_t)block & (LINUX_META_CHUNK - 1);
	struct meta_chunk *chunk = (void *)(block - offset);
	uint32_t bit = (uint32_t)1 << (offset - BLOCKS_AT) / ARCH_META_BLOCK;

	MPASS(
	    offset >= BLOCKS_AT && (offset - BLOCKS_AT) % ARCH_META_BLOCK == 0);

	pthread_mutex_lock(&meta->lock);
	MPASS((chunk->used & bit) != 0);
	if (chunk->used == UINT32_MAX)
		chunk_link(meta, chunk);
	chunk->used &= ~bit;
	if (chunk->used == 0) {
		meta->idle += LINUX_META_CHUNK;
		if (meta->idle > meta->keep)
			chunk_drop(meta, chunk);
	}
	pthread_mutex_unlock(&meta->lock);
}

void *
linux_meta_alloc(struct linux_meta *meta, size_t size)
{
	void *p;

	MPASS(size > 0);

	if (is_block(size))
		return block_alloc(meta, size);
	if (size >= MAPPED_MIN) {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return p == MAP_FAILED ? NULL : p;
	}
	size = roundup2(size, (size_t)64);
	p = aligned_alloc(64, size);
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

void
linux_meta_free(struct linux_meta *meta, void *p, size_t size)
{
	MPASS(size > 0);

	if (p != NULL && is_block(size))
		block_free(meta, p);
	else if (p != NULL && size >= MAPPED_MIN)
		(void)munmap(p, size); /* whole mapping: cannot fail */
	else
		free(p);
}

void
linux_meta_trim(struct linux_meta *meta)
{
	struct meta_chunk *chunk, *next;

	pthread_mutex_lock(&meta->lock);
	for (chunk = meta->room; chunk != NULL; chunk = next) {
		next = chunk->next;
		if (chunk->used == 0)
			chunk_drop(meta, chunk);
	}
	pthread_mutex_unlock(&meta->lock);
}
