/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * libholdfast_dpdk inside a real EAL, against the daemon at HOLDFAST_SOCKET.
 *
 * Covered: heaps (addresses, congruence, contiguous and bounded memzones,
 * verification, growth, scatter, every refusal, teardown), external memory.
 * Run as root and as a uid with no capability.  Not covered: devices that do
 * DMA; secondary processes.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_memory.h>
#include <rte_memzone.h>

#include "clients/dpdk/holdfast_dpdk.h"
#include "clients/libholdfast/holdfast.h"
#include "tests/test.h"

#define MIB   (UINT64_C(1) << 20)
#define FRAME (2 * MIB)

/* ---- EAL and a handle around each case
 * ------------------------------------------ */

static void
eal_start(const char *memory)
{
	char *argv[] = {"test", (char *)(uintptr_t)memory, "--no-telemetry",
	    "--no-pci", "--lcores=0@0", "--log-level=*:critical",
	    "--no-shconf"};

	if (rte_eal_init(7, argv) < 0)
		test_skip("EAL does not start here");
}

/*
 * End EAL and the case with it: EAL's interrupt thread goes on and uses the
 * descriptors that EAL leaves open, so they can neither be closed nor be
 * counted.  Ours were counted before.
 */
static _Noreturn void
eal_end(void)
{
	ASSERT_EQ(rte_eal_cleanup(), 0);
	(void)fflush(NULL);
	_exit(0);
}

struct world {
	struct holdfast *h;
	struct holdfast_pool_status before;
	int nfds;
};

static struct world
world_open(void)
{
	struct world w;

	if (getenv("HOLDFAST_SOCKET") == NULL)
		test_skip("no daemon: HOLDFAST_SOCKET is not set");
	eal_start("--in-memory");
	ASSERT_EQ(holdfast_connect(NULL, &w.h), 0);
	/* What the case before us gave back may be on its way. */
	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(holdfast_pool_status(w.h, &w.before), 0);
		if (w.before.frames_limbo == 0)
			break;
		(void)usleep(10000);
	}
	w.nfds = test_nfds();
	return w;
}

/*
 * The daemon answers a free before the kernel has proved the frames idle.
 * More than was free at the start is what the case before us had kept.
 */
static void
expect_free(struct holdfast *h, uint64_t bytes)
{
	struct holdfast_pool_status status;

	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(holdfast_pool_status(h, &status), 0);
		if (status.free_bytes >= bytes)
			return;
		(void)usleep(10000);
	}
	ASSERT_GE(status.free_bytes, bytes);
}

/* Everything is back: memory in the pool, descriptors here.  Ends the case. */
static _Noreturn void
world_close(struct world *w)
{
	ASSERT_EQ(test_nfds(), w->nfds);
	expect_free(w->h, w->before.free_bytes);
	holdfast_close(w->h);
	eal_end();
}

static struct holdfast_dpdk_heap *
heap_of(struct world *w, uint64_t size)
{
	struct holdfast_dpdk_heap *heap;
	int rv = holdfast_dpdk_heap_create(w->h, "test", size, 0, &heap);

	if (rv != 0)
		test_fail(__FILE__, __LINE__, "heap of %llu: %d, %s",
		    (unsigned long long)size, rv, holdfast_dpdk_error(w->h));
	return heap;
}

static size_t
nchunks(const struct holdfast_dpdk_heap *heap)
{
	struct holdfast_dpdk_chunk chunk;
	size_t n = 0;

	while (holdfast_dpdk_heap_chunk(heap, n, &chunk) == 0)
		n++;
	return n;
}

/* ---- Addresses
 * --------------------------------------------------------------------- */

TEST(holdfast_dpdk_congruence__is_a_power_of_two_within_bounds)
{
	ASSERT_EQ(holdfast_dpdk_congruence(1), 2 * MIB);
	ASSERT_EQ(holdfast_dpdk_congruence(2 * MIB), 2 * MIB);
	ASSERT_EQ(holdfast_dpdk_congruence(2 * MIB + 1), 4 * MIB);
	ASSERT_EQ(holdfast_dpdk_congruence(64 * MIB), 64 * MIB);
	ASSERT_EQ(holdfast_dpdk_congruence(1024 * MIB), 1024 * MIB);
	ASSERT_EQ(holdfast_dpdk_congruence(UINT64_MAX), 1024 * MIB);
}

TEST(heap_create__gives_dpdk_the_addresses_of_holdfast)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, 8 * MIB);
	int socket_id = holdfast_dpdk_heap_socket_id(heap);
	struct holdfast_dpdk_chunk chunk;
	uint64_t pa;
	char *p;

	ASSERT_GE(socket_id, 256);
	ASSERT_EQ(holdfast_dpdk_heap_chunk(heap, 0, &chunk), 0);
	ASSERT_EQ(chunk.size, 8 * MIB);
	ASSERT_EQ(chunk.page_size, FRAME);
	p = rte_zmalloc_socket("test", 3 * MIB, 0, socket_id);
	ASSERT_NOT_NULL(p);
	for (size_t at = 0; at < 3 * MIB; at += MIB) {
		const struct rte_memseg *seg =
		    rte_mem_virt2memseg(p + at, NULL);
		rte_iova_t kernel = rte_mem_virt2phy(p + at);

		ASSERT_NOT_NULL(seg);
		ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, p + at, &pa), 0);
		ASSERT_EQ(seg->iova + ((uintptr_t)p + at - seg->addr_64), pa);
		ASSERT_TRUE(pa >= chunk.pa && pa < chunk.pa + chunk.size);
		ASSERT_TRUE(kernel == RTE_BAD_IOVA || kernel == pa);
		ASSERT_TRUE(kernel != RTE_BAD_IOVA || getuid() != 0);
	}
	rte_free(p);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

TEST(heap_vtophys__knows_only_the_heap)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, FRAME);
	struct holdfast_dpdk_chunk chunk;
	uint64_t pa;
	char *end;

	ASSERT_EQ(holdfast_dpdk_heap_chunk(heap, 0, &chunk), 0);
	end = (char *)chunk.addr + chunk.size;
	ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, end - 1, &pa), 0);
	ASSERT_EQ(pa, chunk.pa + chunk.size - 1);
	ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, end, &pa), -ENOENT);
	ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, (char *)chunk.addr - 1, &pa),
	    -ENOENT);
	ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, &w, &pa), -ENOENT);
	ASSERT_EQ(holdfast_dpdk_heap_chunk(heap, 1, &chunk), -ENOENT);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

TEST(heap_create__maps_congruent_to_the_physical_address)
{
	struct world w = world_open();

	for (uint64_t size = FRAME; size <= 8 * MIB; size += FRAME) {
		struct holdfast_dpdk_heap *heap = heap_of(&w, size);
		uint64_t modulus = holdfast_dpdk_congruence(size);
		struct holdfast_dpdk_chunk chunk;

		ASSERT_EQ(holdfast_dpdk_heap_chunk(heap, 0, &chunk), 0);
		ASSERT_EQ((uintptr_t)chunk.addr % modulus, chunk.pa % modulus);
		ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	}
	world_close(&w);
}

/* ---- Memzones
 * ------------------------------------------------------------------------ */

TEST(heap__serves_a_contiguous_memzone_of_8_mib)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, 10 * MIB);
	const struct rte_memzone *mz;
	uint64_t pa;

	mz = rte_memzone_reserve("zone", 8 * MIB,
	    holdfast_dpdk_heap_socket_id(heap), RTE_MEMZONE_IOVA_CONTIG);
	ASSERT_NOT_NULL(mz);
	for (size_t at = 0; at < mz->len; at += 4096) {
		const char *p = (const char *)mz->addr + at;

		ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, p, &pa), 0);
		ASSERT_EQ(pa, mz->iova + at);
	}
	ASSERT_EQ(rte_memzone_free(mz), 0);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

/* DPDK looks at the virtual address; congruence makes it true of the other. */
TEST(heap__keeps_a_memzone_inside_a_physical_boundary)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, 16 * MIB);
	int socket_id = holdfast_dpdk_heap_socket_id(heap);
	const struct rte_memzone *mz[3];

	for (int i = 0; i < 3; i++) {
		char name[16];
		uint64_t first, last;

		(void)snprintf(name, sizeof(name), "bound%d", i);
		mz[i] = rte_memzone_reserve_bounded(name, 3 * MIB, socket_id,
		    RTE_MEMZONE_IOVA_CONTIG, 64 << 10, 4 * MIB);
		if (mz[i] == NULL)
			break; /* the run begins in the middle of 4 MiB */
		ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, mz[i]->addr, &first),
		    0);
		last = first + mz[i]->len - 1;
		ASSERT_EQ(mz[i]->iova, first);
		ASSERT_EQ(first % (64 << 10), 0u);
		ASSERT_EQ(first / (4 * MIB), last / (4 * MIB));
	}
	ASSERT_NOT_NULL(mz[0]);
	ASSERT_NOT_NULL(mz[1]);
	for (int i = 0; i < 3 && mz[i] != NULL; i++)
		ASSERT_EQ(rte_memzone_free(mz[i]), 0);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

/* ---- Verification
 * --------------------------------------------------------------------- */

TEST(heap_verify__accepts_a_pool_in_the_heap)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, 8 * MIB);
	struct holdfast_dpdk_verdict verdict;
	struct rte_mempool *mp;

	mp = rte_pktmbuf_pool_create("pool", 1000, 32, 0,
	    RTE_MBUF_DEFAULT_BUF_SIZE, holdfast_dpdk_heap_socket_id(heap));
	ASSERT_NOT_NULL(mp);
	ASSERT_EQ(holdfast_dpdk_heap_verify(heap, mp, &verdict), 0);
	ASSERT_EQ(verdict.objects, 1000u);
	ASSERT_EQ(verdict.wrong + verdict.outside + verdict.broken, 0u);
	ASSERT_EQ(verdict.kernel_asked, getuid() == 0 ? 1000u : 0u);
	ASSERT_EQ(verdict.kernel_differs, 0u);
	rte_mempool_free(mp);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

TEST(heap_verify__finds_one_wrong_address)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, 8 * MIB);
	struct holdfast_dpdk_verdict verdict;
	struct rte_mempool *mp;
	struct rte_mbuf *m;

	mp = rte_pktmbuf_pool_create("pool", 1000, 0, 0,
	    RTE_MBUF_DEFAULT_BUF_SIZE, holdfast_dpdk_heap_socket_id(heap));
	ASSERT_NOT_NULL(mp);
	m = rte_pktmbuf_alloc(mp);
	ASSERT_NOT_NULL(m);
	m->buf_iova += 4096;
	ASSERT_EQ(holdfast_dpdk_heap_verify(heap, mp, &verdict), -EUCLEAN);
	ASSERT_EQ(verdict.wrong, 1u);
	ASSERT_EQ(verdict.kernel_differs, getuid() == 0 ? 1u : 0u);
	m->buf_iova -= 4096;
	rte_pktmbuf_free(m);
	rte_mempool_free(mp);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

TEST(heap_verify__finds_a_pool_that_lies_elsewhere)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, FRAME);
	struct holdfast_dpdk_verdict verdict;
	struct rte_mempool *mp;

	mp = rte_pktmbuf_pool_create("pool", 64, 0, 0,
	    RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	ASSERT_NOT_NULL(mp);
	ASSERT_EQ(holdfast_dpdk_heap_verify(heap, mp, &verdict), -EUCLEAN);
	ASSERT_EQ(verdict.outside, 64u);
	rte_mempool_free(mp);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

/* ---- Growth and teardown
 * ----------------------------------------------------------------- */

TEST(heap_destroy__refuses_while_something_lives)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, FRAME);
	int socket_id = holdfast_dpdk_heap_socket_id(heap);
	void *p, *q;

	ASSERT_EQ(holdfast_dpdk_heap_grow(heap, FRAME, 0), 0);
	p = rte_malloc_socket("test", 4096, 0, socket_id);
	ASSERT_NOT_NULL(p);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), -EBUSY);
	ASSERT_HAS(holdfast_dpdk_error(w.h), "still has 1 allocation");
	ASSERT_EQ(nchunks(heap), 2u);
	/* It still works. */
	q = rte_malloc_socket("test", MIB, 0, socket_id);
	ASSERT_NOT_NULL(q);
	rte_free(q);
	rte_free(p);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	ASSERT_EQ(rte_malloc_heap_get_socket("test"), -1);
	world_close(&w);
}

TEST(heap_grow__adds_chunks_that_the_heap_uses)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, FRAME);
	int socket_id = holdfast_dpdk_heap_socket_id(heap);
	void *p[5];

	for (int i = 0; i < 4; i++)
		ASSERT_EQ(holdfast_dpdk_heap_grow(heap, FRAME, 0), 0);
	ASSERT_EQ(nchunks(heap), 5u);
	for (int i = 0; i < 5; i++) {
		uint64_t pa;

		p[i] = rte_malloc_socket("test", MIB + MIB / 2, 0, socket_id);
		ASSERT_NOT_NULL(p[i]);
		ASSERT_EQ(holdfast_dpdk_heap_vtophys(heap, p[i], &pa), 0);
		ASSERT_EQ(rte_malloc_virt2iova(p[i]), pa);
	}
	for (int i = 0; i < 5; i++)
		rte_free(p[i]);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

TEST(heap_grow__leaves_the_heap_as_it_was_when_refused)
{
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap = heap_of(&w, FRAME);
	void *p;

	ASSERT_GT(holdfast_dpdk_heap_grow(heap, UINT64_C(1) << 40, 0), 0);
	ASSERT_TRUE(holdfast_dpdk_error(w.h)[0] != '\0');
	ASSERT_GT(holdfast_dpdk_heap_grow(heap, UINT64_C(1) << 40,
		      HOLDFAST_DPDK_SCATTER),
	    0);
	ASSERT_EQ(holdfast_dpdk_heap_grow(heap, 0, 0), -EINVAL);
	ASSERT_EQ(holdfast_dpdk_heap_grow(heap, UINT64_MAX, 0), -EINVAL);
	ASSERT_EQ(nchunks(heap), 1u);
	expect_free(w.h, w.before.free_bytes - FRAME);
	p = rte_malloc_socket("test", MIB, 0,
	    holdfast_dpdk_heap_socket_id(heap));
	ASSERT_NOT_NULL(p);
	rte_free(p);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	world_close(&w);
}

/* Take a frame out of the middle of the longest run, so that what is free is
   no run. */
static struct holdfast_buf *
split_the_pool(struct world *w)
{
	struct holdfast_run *segs, *runs, longest = {0};
	struct holdfast_contig_req req = {.size = FRAME, .no_map = true};
	struct holdfast_buf *buf;
	size_t nsegs, nruns;

	ASSERT_EQ(holdfast_pool_runs(w->h, &segs, &nsegs, &runs, &nruns), 0);
	for (size_t i = 0; i < nruns; i++)
		if (runs[i].end - runs[i].start > longest.end - longest.start)
			longest = runs[i];
	free(segs);
	free(runs);
	if (longest.end - longest.start < 3 * FRAME)
		test_skip("the pool has no run of three frames");
	req.low =
	    longest.start + (longest.end - longest.start) / 2 / FRAME * FRAME;
	req.high = req.low + FRAME;
	ASSERT_EQ(holdfast_contigmalloc(w->h, &req, &buf), 0);
	return buf;
}

TEST(heap_create__scatters_only_when_asked)
{
	struct world w = world_open();
	struct holdfast_buf *splitter = split_the_pool(&w);
	struct holdfast_dpdk_chunk chunk;
	struct holdfast_dpdk_heap *heap;
	struct holdfast_pool_status status;
	uint64_t size, sum = 0;

	ASSERT_EQ(holdfast_pool_status(w.h, &status), 0);
	size = status.largest_run / FRAME * FRAME + FRAME;
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, "test", size, 0, &heap),
	    HF_NO_SPACE);
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, "test", size,
		      HOLDFAST_DPDK_SCATTER, &heap),
	    0);
	ASSERT_GE(nchunks(heap), 2u);
	for (size_t i = 0; holdfast_dpdk_heap_chunk(heap, i, &chunk) == 0; i++)
		sum += chunk.size;
	ASSERT_EQ(sum, size);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	ASSERT_EQ(holdfast_contigfree(w.h, splitter), 0);
	world_close(&w);
}

TEST(heap_create__can_be_done_again_and_again)
{
	struct world w = world_open();

	for (int i = 0; i < 20; i++)
		ASSERT_EQ(holdfast_dpdk_heap_destroy(heap_of(&w, 4 * MIB)), 0);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(NULL), 0);
	world_close(&w);
}

/* ---- Refusals
 * ------------------------------------------------------------------------------
 */

TEST(heap_create__refuses_bad_names_and_sizes)
{
	static const char long_name[] = "12345678901234567890123456789012";
	struct world w = world_open();
	struct holdfast_dpdk_heap *heap, *other;

	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, NULL, FRAME, 0, &heap),
	    -EINVAL);
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, "", FRAME, 0, &heap), -EINVAL);
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, long_name, FRAME, 0, &heap),
	    -EINVAL);
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, long_name + 1, FRAME, 0,
		      &heap),
	    0);
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, long_name + 1, FRAME, 0,
		      &other),
	    -EEXIST);
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap), 0);
	ASSERT_EQ(holdfast_dpdk_heap_create(w.h, "test", 0, 0, &heap), -EINVAL);
	/* A refused one leaves the name free. */
	ASSERT_EQ(holdfast_dpdk_heap_destroy(heap_of(&w, 1)), 0);
	world_close(&w);
}

TEST(heap_create__refuses_an_eal_that_was_not_started)
{
	struct holdfast_dpdk_heap *heap;
	struct holdfast *h;

	if (getenv("HOLDFAST_SOCKET") == NULL)
		test_skip("no daemon: HOLDFAST_SOCKET is not set");
	ASSERT_EQ(holdfast_connect(NULL, &h), 0);
	ASSERT_EQ(holdfast_dpdk_heap_create(h, "test", FRAME, 0, &heap),
	    -ENOTSUP);
	ASSERT_HAS(holdfast_dpdk_error(h), "rte_eal_init");
	holdfast_close(h);
}

/* There EAL grants "contiguous" memory without looking. */
TEST(heap_create__refuses_an_eal_without_huge_pages)
{
	struct holdfast_dpdk_heap *heap;
	struct holdfast *h;

	if (getenv("HOLDFAST_SOCKET") == NULL)
		test_skip("no daemon: HOLDFAST_SOCKET is not set");
	eal_start("--no-huge");
	ASSERT_EQ(holdfast_connect(NULL, &h), 0);
	ASSERT_EQ(holdfast_dpdk_heap_create(h, "test", FRAME, 0, &heap),
	    -ENOTSUP);
	ASSERT_HAS(holdfast_dpdk_error(h), "--in-memory");
	holdfast_close(h);
	eal_end();
}

/* ---- External memory
 * ------------------------------------------------------------------------ */

TEST(extmem_pool__puts_every_data_room_into_the_run)
{
	struct world w = world_open();
	struct holdfast_dpdk_extmem *ext;
	struct holdfast_dpdk_chunk chunk;
	struct rte_mempool *mp, *other;
	struct rte_mbuf *m[100];

	ASSERT_EQ(holdfast_dpdk_extmem_create(w.h, 4 * MIB, &ext), 0);
	holdfast_dpdk_extmem_chunk(ext, &chunk);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "ext", 1000, 0, 0, 2176,
		      SOCKET_ID_ANY, &mp),
	    0);
	ASSERT_EQ(rte_pktmbuf_alloc_bulk(mp, m, 100), 0);
	for (size_t i = 0; i < 100; i++) {
		uint64_t offset =
		    (uint64_t)((char *)m[i]->buf_addr - (char *)chunk.addr);
		rte_iova_t kernel = rte_mem_virt2phy(m[i]->buf_addr);

		ASSERT_LE(offset + m[i]->buf_len, chunk.size);
		ASSERT_EQ(m[i]->buf_iova, chunk.pa + offset);
		ASSERT_TRUE(kernel == RTE_BAD_IOVA || kernel == m[i]->buf_iova);
	}
	rte_pktmbuf_free_bulk(m, 100);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "two", 10, 0, 0, 2176,
		      SOCKET_ID_ANY, &other),
	    -EBUSY);
	ASSERT_EQ(holdfast_dpdk_extmem_destroy(ext), -EBUSY);
	holdfast_dpdk_extmem_pool_free(ext);
	ASSERT_EQ(holdfast_dpdk_extmem_destroy(ext), 0);
	world_close(&w);
}

TEST(extmem_create__leaves_the_content_alone)
{
	struct world w = world_open();
	struct holdfast_dpdk_extmem *ext;
	struct holdfast_dpdk_chunk chunk;
	struct rte_mempool *mp;
	const char *last;

	ASSERT_EQ(holdfast_dpdk_extmem_create(w.h, FRAME, &ext), 0);
	holdfast_dpdk_extmem_chunk(ext, &chunk);
	last = (const char *)chunk.addr + chunk.size - 1;
	(void)memset(chunk.addr, 0x5a, chunk.size);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "ext", 500, 0, 0, 2176,
		      SOCKET_ID_ANY, &mp),
	    0);
	ASSERT_EQ(*(const char *)chunk.addr, 0x5a);
	ASSERT_EQ(*last, 0x5a);
	holdfast_dpdk_extmem_pool_free(ext);
	ASSERT_EQ(holdfast_dpdk_extmem_destroy(ext), 0);
	world_close(&w);
}

TEST(extmem_pool__refuses_more_than_fits)
{
	struct world w = world_open();
	struct holdfast_dpdk_extmem *ext;
	struct rte_mempool *mp;

	ASSERT_EQ(holdfast_dpdk_extmem_create(w.h, 0, &ext), -EINVAL);
	ASSERT_EQ(holdfast_dpdk_extmem_create(w.h, 1, &ext), 0);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "ext", 964, 0, 0, 2176,
		      SOCKET_ID_ANY, &mp),
	    -ENOMEM);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "ext", 1, 0, 0, 0,
		      SOCKET_ID_ANY, &mp),
	    -EINVAL);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "ext", 1, 0, 0, 65535,
		      SOCKET_ID_ANY, &mp),
	    -EINVAL);
	ASSERT_EQ(holdfast_dpdk_extmem_pool(ext, "ext", 963, 0, 0, 2176,
		      SOCKET_ID_ANY, &mp),
	    0);
	holdfast_dpdk_extmem_pool_free(ext);
	ASSERT_EQ(holdfast_dpdk_extmem_destroy(ext), 0);
	holdfast_dpdk_extmem_destroy(NULL);
	world_close(&w);
}
