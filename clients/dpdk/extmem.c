/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory that DPDK knows the addresses of and leaves alone, and a packet
 * pool whose data rooms are cut from it.
 */

#include "clients/dpdk/holdfast_dpdk_int.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_memory.h>

struct holdfast_dpdk_extmem {
	struct holdfast *h;
	struct hfd_chunk chunk;
	struct rte_mempool *pool; /* NULL: none */
};

static int
extmem_register(const struct hfd_chunk *chunk)
{
	unsigned int n = 0;
	uint64_t *table = hfd_chunk_table(chunk, &n);
	int r = 0;

	if (table == NULL)
		return hfd_fail(-ENOMEM, "out of memory");
	if (rte_extmem_register(chunk->addr, chunk->size, table, n,
		chunk->buf->frame_size) != 0)
		r = hfd_fail(-rte_errno,
		    "DPDK does not register %zu bytes: "
		    "%s",
		    (size_t)chunk->size, rte_strerror(rte_errno));
	free(table);
	return r;
}

int
holdfast_dpdk_extmem_create(struct holdfast *h, uint64_t size,
    struct holdfast_dpdk_extmem **extp)
{
	struct holdfast_dpdk_extmem *ext;
	uint64_t frame_size;
	int rv;

	rv = hfd_ready(h, &frame_size);
	if (rv != 0)
		return rv;
	if (size == 0 || size > UINT64_MAX - frame_size)
		return hfd_fail(-EINVAL, "size %llu is not possible",
		    (unsigned long long)size);
	size = (size + frame_size - 1) / frame_size * frame_size;
	ext = calloc(1, sizeof(*ext));
	if (ext == NULL)
		return hfd_fail(-ENOMEM, "out of memory");
	ext->h = h;
	rv = hfd_chunk_acquire(h, size, frame_size, &ext->chunk);
	if (rv == 0) {
		rv = extmem_register(&ext->chunk);
		if (rv != 0)
			hfd_chunk_release(h, &ext->chunk);
	}
	if (rv != 0) {
		free(ext);
		return rv;
	}
	*extp = ext;
	return 0;
}

int
holdfast_dpdk_extmem_destroy(struct holdfast_dpdk_extmem *ext)
{
	if (ext == NULL)
		return 0;
	if (ext->pool != NULL)
		return hfd_fail(-EBUSY, "pool %s still lies in it",
		    ext->pool->name);
	if (rte_extmem_unregister(ext->chunk.addr, ext->chunk.size) != 0)
		return hfd_fail(-rte_errno, "DPDK does not unregister: %s",
		    rte_strerror(rte_errno));
	hfd_chunk_release(ext->h, &ext->chunk);
	free(ext);
	return 0;
}

void
holdfast_dpdk_extmem_chunk(const struct holdfast_dpdk_extmem *ext,
    struct holdfast_dpdk_chunk *chunkp)
{
	hfd_chunk_describe(&ext->chunk, chunkp);
}

int
holdfast_dpdk_extmem_pool(struct holdfast_dpdk_extmem *ext, const char *name,
    unsigned int n, unsigned int cache, uint16_t priv_size, uint16_t data_room,
    int socket_id, struct rte_mempool **mpp)
{
	/* No data room may share a cache line with its neighbour. */
	size_t element = RTE_ALIGN_CEIL((size_t)data_room, RTE_CACHE_LINE_SIZE);
	struct rte_pktmbuf_extmem area = {
	    .buf_ptr = ext->chunk.addr,
	    .buf_iova = ext->chunk.buf->pa,
	    .buf_len = ext->chunk.size,
	    .elt_size = (uint16_t)element,
	};

	if (ext->pool != NULL)
		return hfd_fail(-EBUSY, "pool %s lies in it already",
		    ext->pool->name);
	if (data_room == 0 || element > UINT16_MAX)
		return hfd_fail(-EINVAL, "data room %u is not possible",
		    data_room);
	if (ext->chunk.size / element < n)
		return hfd_fail(-ENOMEM,
		    "%u data rooms of %zu bytes do not fit "
		    "into %zu bytes",
		    n, element, (size_t)ext->chunk.size);
	ext->pool = rte_pktmbuf_pool_create_extbuf(name, n, cache, priv_size,
	    data_room, socket_id, &area, 1);
	if (ext->pool == NULL)
		return hfd_fail(-rte_errno, "DPDK does not make pool %s: %s",
		    name, rte_strerror(rte_errno));
	*mpp = ext->pool;
	return 0;
}

void
holdfast_dpdk_extmem_pool_free(struct holdfast_dpdk_extmem *ext)
{
	rte_mempool_free(ext->pool);
	ext->pool = NULL;
}
