/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOLDFAST_DPDK_H
#define HOLDFAST_DPDK_H

/*
 * libholdfast_dpdk: give holdfast's memory to a DPDK application.
 *
 * This header is the manual.  It needs neither DPDK's headers nor more of
 * holdfast's than holdfast.h.
 *
 *	struct holdfast *h;
 *	struct holdfast_dpdk_heap *heap;
 *	struct rte_mempool *mp;
 *
 *	rte_eal_init(argc, argv);              // --in-memory
 *	holdfast_connect(NULL, &h);
 *	if (holdfast_dpdk_heap_create(h, "holdfast", 64 << 20, 0, &heap) != 0)
 *		errx(1, "%s", holdfast_dpdk_error(h));
 *	mp = rte_pktmbuf_pool_create("pool", 8192, 256, 0,
 *	    RTE_MBUF_DEFAULT_BUF_SIZE, holdfast_dpdk_heap_socket_id(heap));
 *	...
 *	rte_mempool_free(mp);
 *	holdfast_dpdk_heap_destroy(heap);      // before rte_eal_cleanup()
 *	rte_eal_cleanup();
 *	holdfast_close(h);
 *
 * Two ways.  A *heap* (struct holdfast_dpdk_heap) is an external DPDK malloc
 * heap with a socket id of its own: mempools, rings, hashes, memzones and
 * device queues created on that socket id land in it, headers and data.  An
 * *extmem* (struct holdfast_dpdk_extmem) is a memory area that DPDK only
 * knows the addresses of: its content is left alone, and mbufs point their
 * data into it.
 *
 * IOVA.  Each chunk is one physically contiguous run, and DPDK gets a table
 * with the physical address of every huge page of it.  So an mbuf's buf_iova
 * and a memzone's iova are physical addresses, in a process with no
 * privilege as well, whatever `--iova-mode` EAL chose.  A chunk is mapped
 * at a virtual address that equals its physical one modulo
 * holdfast_dpdk_congruence(size), so that the alignment and the `bound` of
 * rte_memzone_reserve_bounded(), which DPDK checks on the virtual address,
 * hold for the physical one too.
 *
 * EAL.  Use `--in-memory`; never `--no-huge` or `--legacy-mem` (EAL then
 * grants RTE_MEMZONE_IOVA_CONTIG without looking).  The create calls refuse
 * such a process with -ENOTSUP.
 *
 * Results.  0; a positive enum holdfast_status when the daemon refused; or
 * -errno.  holdfast_dpdk_error() has the sentence for all three.
 *
 * Threads.  One thread at a time for a handle and all that was made with it.
 * Calls take DPDK's own locks; call them outside the data path.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast;
struct holdfast_dpdk_heap;
struct holdfast_dpdk_extmem;
struct rte_mempool;

/* Flags of a heap and of its growth. */
/* Where no run is long enough, take several shorter ones. */
#define HOLDFAST_DPDK_SCATTER 0x1u

/* The sentence for the last failure of this library in this thread, or the
   handle's own where the daemon refused.  Never NULL. */
const char *holdfast_dpdk_error(const struct holdfast *h);

/*
 * The modulus by which virtual and physical address agree for a chunk of
 * `size` bytes: the next power of two, at least 2 MiB, at most 1 GiB.
 */
uint64_t holdfast_dpdk_congruence(uint64_t size);

/* ---- Heap ---------------------------------------------------------------- */

/*
 * Allocate `size` bytes (> 0, rounded up to huge pages) and make a DPDK
 * malloc heap called `name` of them.  The handle must outlive the heap.
 *
 * DPDK writes its own records into the memory and zeroes the rest.  It has
 * room for 32 heaps, and for about 120 chunks over all of them.
 *
 * -EINVAL: no name, a name of 32 bytes or more, or size 0.  -EEXIST: a heap
 * has that name.  -ENOSPC: DPDK is at a limit above.  -ENOTSUP: EAL was not
 * started, runs with --no-huge or --legacy-mem, or the daemon does not tell
 * addresses.  HF_NO_SPACE: no run is long enough (see HOLDFAST_DPDK_SCATTER).
 * HF_QUOTA.  A failure leaves neither heap nor memory behind.
 */
int holdfast_dpdk_heap_create(struct holdfast *h, const char *name,
    uint64_t size, uint32_t flags, struct holdfast_dpdk_heap **heapp);

/*
 * Add `size` bytes more.  Errors as holdfast_dpdk_heap_create(); a failure
 * leaves the heap as it was.
 */
int holdfast_dpdk_heap_grow(struct holdfast_dpdk_heap *heap, uint64_t size,
    uint32_t flags);

/*
 * Take the heap out of DPDK, last chunk first, and give the memory back.
 * NULL is fine.  -EBUSY: something allocated in it still lives; nothing
 * changed, free that and call again.
 */
int holdfast_dpdk_heap_destroy(struct holdfast_dpdk_heap *heap);

/* What DPDK calls take as socket_id: 256 or more. */
int holdfast_dpdk_heap_socket_id(const struct holdfast_dpdk_heap *heap);

/* One physically contiguous piece, as holdfast gave it. */
struct holdfast_dpdk_chunk {
	void *addr;         /* where it is mapped */
	uint64_t size;      /* bytes, whole huge pages */
	uint64_t pa;        /* physical address of its first byte */
	uint64_t page_size; /* bytes in one of its huge pages */
	int pin;            /* enum holdfast_pin: what keeps it in place */
	int domain;         /* NUMA node */
};

/* Chunk number `i` (from 0, in the order of growth).  -ENOENT: past them. */
int holdfast_dpdk_heap_chunk(const struct holdfast_dpdk_heap *heap, size_t i,
    struct holdfast_dpdk_chunk *chunkp);

/*
 * The physical address that holdfast gave for `p`, without asking DPDK.
 * -ENOENT: not in this heap.  O(chunks).
 */
int holdfast_dpdk_heap_vtophys(const struct holdfast_dpdk_heap *heap,
    const void *p, uint64_t *pap);

/* What a walk over a mempool found; see holdfast_dpdk_heap_verify(). */
struct holdfast_dpdk_verdict {
	uint64_t objects;        /* mbufs in the pool */
	uint64_t outside;        /* whose data is not in the heap */
	uint64_t wrong;          /* whose buf_iova is not holdfast's address */
	uint64_t broken;         /* whose data is not physically contiguous */
	uint64_t kernel_asked;   /* that the kernel told the address of */
	uint64_t kernel_differs; /* and whose address was another */
	uint64_t pa_lowest;      /* lowest and highest buf_iova seen */
	uint64_t pa_highest;
};

/*
 * Compare buf_iova of every mbuf of `mp`, in use or not, with the address
 * that holdfast gave; and, where this process may read it (CAP_SYS_ADMIN),
 * with the kernel's own (rte_mem_virt2phy).  0: all are right, and the pool
 * is not empty.  -EUCLEAN: not; `verdict` says how many.
 */
int holdfast_dpdk_heap_verify(const struct holdfast_dpdk_heap *heap,
    struct rte_mempool *mp, struct holdfast_dpdk_verdict *verdict);

/* ---- External memory ------------------------------------------------------
 */

/*
 * Allocate `size` bytes in one run and register them with DPDK
 * (rte_extmem_register).  DPDK neither reads nor writes the content.
 * Errors as holdfast_dpdk_heap_create().
 */
int holdfast_dpdk_extmem_create(struct holdfast *h, uint64_t size,
    struct holdfast_dpdk_extmem **extp);

/*
 * Undo it.  NULL is fine.  Every mempool over it must be freed before;
 * -EBUSY: one of holdfast_dpdk_extmem_pool() is not; nothing changed.
 */
int holdfast_dpdk_extmem_destroy(struct holdfast_dpdk_extmem *ext);

void holdfast_dpdk_extmem_chunk(const struct holdfast_dpdk_extmem *ext,
    struct holdfast_dpdk_chunk *chunkp);

/*
 * A packet mbuf pool whose data rooms are cut from `ext`, while the mbufs
 * themselves live in EAL's heap of `socket_id`.  One pool an extmem.
 * `data_room` counts RTE_PKTMBUF_HEADROOM; <= 65535.  Such mbufs are
 * "pinned external": drivers with the fast-free offload and AF_XDP do not
 * take them; use a heap there.
 *
 * -ENOMEM: `ext` is too small for `n`.  -EBUSY: it has a pool.  Free it with
 * holdfast_dpdk_extmem_pool_free().
 */
int holdfast_dpdk_extmem_pool(struct holdfast_dpdk_extmem *ext,
    const char *name, unsigned int n, unsigned int cache, uint16_t priv_size,
    uint16_t data_room, int socket_id, struct rte_mempool **mpp);
void holdfast_dpdk_extmem_pool_free(struct holdfast_dpdk_extmem *ext);

#ifdef __cplusplus
}
#endif

#endif
