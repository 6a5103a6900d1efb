/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A DPDK malloc heap over holdfast's memory.
 *
 * Construction: heap record, then each chunk: allocate, map, add.  Teardown
 * in the exact reverse.  DPDK removes memory only by the very (address,
 * length) it was added with, so a chunk is added in one piece and never
 * split.
 */

#include "clients/dpdk/holdfast_dpdk_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* DPDK's own limit for a heap's name, which no header tells. */
#define HEAP_NAME_SIZE 32

struct holdfast_dpdk_heap {
	struct holdfast *h;
	char name[HEAP_NAME_SIZE];
	int socket_id;
	struct hfd_chunk *chunks; /* n_chunks of them, in order of growth */
	size_t n_chunks;
	size_t room; /* for how many there is memory */
};

/* ---- Chunks in and out ----------------------------------------------------
 */

static int
heap_reserve(struct holdfast_dpdk_heap *heap)
{
	size_t room = heap->room == 0 ? 4 : heap->room * 2;
	struct hfd_chunk *chunks;

	if (heap->n_chunks < heap->room)
		return 0;
	chunks = realloc(heap->chunks, room * sizeof(*chunks));
	if (chunks == NULL)
		return hfd_fail(-ENOMEM, "out of memory");
	heap->chunks = chunks;
	heap->room = room;
	return 0;
}

static int
dpdk_add(const struct holdfast_dpdk_heap *heap, const struct hfd_chunk *chunk)
{
	unsigned int n = 0;
	uint64_t *table = hfd_chunk_table(chunk, &n);
	int r = 0;

	if (table == NULL)
		return hfd_fail(-ENOMEM, "out of memory");
	if (rte_malloc_heap_memory_add(heap->name, chunk->addr, chunk->size,
		table, n, chunk->buf->frame_size) != 0)
		r = hfd_fail(-rte_errno,
		    "DPDK does not take %zu more bytes "
		    "into heap %s: %s",
		    (size_t)chunk->size, heap->name, rte_strerror(rte_errno));
	free(table);
	return r;
}

/* One chunk of exactly `size` bytes, or nothing. */
static int
heap_add_chunk(struct holdfast_dpdk_heap *heap, uint64_t size,
    uint64_t frame_size)
{
	struct hfd_chunk chunk;
	int rv;

	rv = heap_reserve(heap);
	if (rv != 0)
		return rv;
	rv = hfd_chunk_acquire(heap->h, size, frame_size, &chunk);
	if (rv != 0)
		return rv;
	rv = dpdk_add(heap, &chunk);
	if (rv != 0) {
		hfd_chunk_release(heap->h, &chunk);
		return rv;
	}
	heap->chunks[heap->n_chunks++] = chunk;
	return 0;
}

/*
 * Remove the last chunks until `keep` are left.  -errno of DPDK, with what
 * it did not let go of still in place and no sentence set.
 */
static int
heap_trim(struct holdfast_dpdk_heap *heap, size_t keep)
{
	while (heap->n_chunks > keep) {
		struct hfd_chunk *last = &heap->chunks[heap->n_chunks - 1];

		if (rte_malloc_heap_memory_remove(heap->name, last->addr,
			last->size) != 0)
			return -rte_errno;
		hfd_chunk_release(heap->h, last);
		heap->n_chunks--;
	}
	return 0;
}

/* Halve the piece each time that no run is long enough for it. */
static int
heap_fill(struct holdfast_dpdk_heap *heap, uint64_t size, uint64_t frame_size,
    uint32_t flags)
{
	uint64_t left = size, piece = size;
	int rv;

	while (left > 0) {
		rv = heap_add_chunk(heap, piece, frame_size);
		if (rv == HF_NO_SPACE && (flags & HOLDFAST_DPDK_SCATTER) != 0 &&
		    piece > frame_size) {
			piece = piece / frame_size / 2 * frame_size;
			continue;
		}
		if (rv != 0)
			return rv;
		left -= piece;
		if (piece > left)
			piece = left;
	}
	return 0;
}

int
holdfast_dpdk_heap_grow(struct holdfast_dpdk_heap *heap, uint64_t size,
    uint32_t flags)
{
	size_t had = heap->n_chunks;
	uint64_t frame_size;
	int rv;

	rv = hfd_ready(heap->h, &frame_size);
	if (rv != 0)
		return rv;
	if (size == 0 || size > UINT64_MAX - frame_size)
		return hfd_fail(-EINVAL, "size %llu is not possible",
		    (unsigned long long)size);
	size = (size + frame_size - 1) / frame_size * frame_size;
	rv = heap_fill(heap, size, frame_size, flags);
	/* Unused so far, so DPDK lets go; the first failure is told. */
	if (rv != 0)
		(void)heap_trim(heap, had);
	return rv;
}

/* ---- Life ------------------------------------------------------------------
 */

static int
heap_register(struct holdfast_dpdk_heap *heap, const char *name)
{
	if (name == NULL || name[0] == '\0' ||
	    strlen(name) >= sizeof(heap->name))
		return hfd_fail(-EINVAL, "a heap's name has 1 to %zu bytes",
		    sizeof(heap->name) - 1);
	(void)strcpy(heap->name, name); /* fits: just measured */
	if (rte_malloc_heap_create(name) != 0)
		return hfd_fail(-rte_errno, "DPDK does not make heap %s: %s",
		    name, rte_strerror(rte_errno));
	heap->socket_id = rte_malloc_heap_get_socket(name);
	return 0;
}

int
holdfast_dpdk_heap_create(struct holdfast *h, const char *name, uint64_t size,
    uint32_t flags, struct holdfast_dpdk_heap **heapp)
{
	struct holdfast_dpdk_heap *heap;
	uint64_t frame_size;
	int rv;

	rv = hfd_ready(h, &frame_size);
	if (rv != 0)
		return rv;
	heap = calloc(1, sizeof(*heap));
	if (heap == NULL)
		return hfd_fail(-ENOMEM, "out of memory");
	heap->h = h;
	rv = heap_register(heap, name);
	if (rv != 0) {
		free(heap);
		return rv;
	}
	rv = holdfast_dpdk_heap_grow(heap, size, flags);
	if (rv != 0) {
		(void)rte_malloc_heap_destroy(name); /* empty, so it goes */
		free(heap->chunks);
		free(heap);
		return rv;
	}
	*heapp = heap;
	return 0;
}

int
holdfast_dpdk_heap_destroy(struct holdfast_dpdk_heap *heap)
{
	struct rte_malloc_socket_stats stats;
	int r;

	if (heap == NULL)
		return 0;
	/* All or nothing: DPDK would refuse only the chunks in use. */
	if (rte_malloc_get_socket_stats(heap->socket_id, &stats) == 0 &&
	    stats.alloc_count > 0)
		return hfd_fail(-EBUSY,
		    "heap %s still has %u allocations of "
		    "%zu bytes",
		    heap->name, stats.alloc_count, stats.heap_allocsz_bytes);
	r = heap_trim(heap, 0);
	if (r == 0 && rte_malloc_heap_destroy(heap->name) != 0)
		r = -rte_errno;
	if (r != 0)
		return hfd_fail(r, "DPDK does not let go of heap %s: %s",
		    heap->name, rte_strerror(-r));
	free(heap->chunks);
	free(heap);
	return 0;
}

/* ---- Questions --------------------------------------------------------------
 */

int
holdfast_dpdk_heap_socket_id(const struct holdfast_dpdk_heap *heap)
{
	return heap->socket_id;
}

int
holdfast_dpdk_heap_chunk(const struct holdfast_dpdk_heap *heap, size_t i,
    struct holdfast_dpdk_chunk *chunkp)
{
	if (i >= heap->n_chunks)
		return -ENOENT;
	hfd_chunk_describe(&heap->chunks[i], chunkp);
	return 0;
}

int
holdfast_dpdk_heap_vtophys(const struct holdfast_dpdk_heap *heap, const void *p,
    uint64_t *pap)
{
	for (size_t i = 0; i < heap->n_chunks; i++) {
		const struct hfd_chunk *chunk = &heap->chunks[i];
		uintptr_t offset = (uintptr_t)p - (uintptr_t)chunk->addr;

		if (offset < chunk->size) {
			*pap = chunk->buf->pa + offset;
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- Verification
 * ------------------------------------------------------------ */

struct walk {
	const struct holdfast_dpdk_heap *heap;
	struct holdfast_dpdk_verdict *verdict;
};

/* The kernel's own word for the first and the last byte, where it is told. */
static void
verify_with_kernel(const struct rte_mbuf *m,
    struct holdfast_dpdk_verdict *verdict)
{
	const char *first = m->buf_addr, *last = first + m->buf_len - 1;
	rte_iova_t pa = rte_mem_virt2phy(first);

	if (pa == RTE_BAD_IOVA)
		return;
	verdict->kernel_asked++;
	if (pa != m->buf_iova ||
	    rte_mem_virt2phy(last) != m->buf_iova + m->buf_len - 1)
		verdict->kernel_differs++;
}

static void
verify_mbuf(struct rte_mempool *mp, void *opaque, void *obj, unsigned int i)
{
	const struct walk *walk = opaque;
	struct holdfast_dpdk_verdict *verdict = walk->verdict;
	const struct rte_mbuf *m = obj;
	const char *last = (const char *)m->buf_addr + m->buf_len - 1;
	uint64_t pa, pa_last;

	(void)mp;
	(void)i;
	verdict->objects++;
	if (holdfast_dpdk_heap_vtophys(walk->heap, m->buf_addr, &pa) != 0 ||
	    holdfast_dpdk_heap_vtophys(walk->heap, last, &pa_last) != 0) {
		verdict->outside++;
		return;
	}
	if (m->buf_iova != pa)
		verdict->wrong++;
	if (pa_last - pa != m->buf_len - 1u)
		verdict->broken++;
	if (m->buf_iova < verdict->pa_lowest)
		verdict->pa_lowest = m->buf_iova;
	if (m->buf_iova > verdict->pa_highest)
		verdict->pa_highest = m->buf_iova;
	verify_with_kernel(m, verdict);
}

int
holdfast_dpdk_heap_verify(const struct holdfast_dpdk_heap *heap,
    struct rte_mempool *mp, struct holdfast_dpdk_verdict *verdict)
{
	struct walk walk = {.heap = heap, .verdict = verdict};

	*verdict = (struct holdfast_dpdk_verdict){.pa_lowest = UINT64_MAX};
	(void)rte_mempool_obj_iter(mp, verify_mbuf, &walk);
	if (verdict->objects == 0 || verdict->objects != mp->size ||
	    verdict->outside > 0 || verdict->wrong > 0 || verdict->broken > 0 ||
	    verdict->kernel_differs > 0)
		return hfd_fail(-EUCLEAN,
		    "of %llu mbufs %llu lie outside, "
		    "%llu have another address than holdfast gave, %llu are "
		    "not contiguous, %llu differ from the kernel",
		    (unsigned long long)verdict->objects,
		    (unsigned long long)verdict->outside,
		    (unsigned long long)verdict->wrong,
		    (unsigned long long)verdict->broken,
		    (unsigned long long)verdict->kernel_differs);
	return 0;
}
