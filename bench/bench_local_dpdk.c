/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * DPDK beside the span cache: rte_mempool with its per-lcore cache, and the
 * malloc heap, both on huge pages of DPDK's own.
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

#include "bench/bench_local_loops.h"

static struct rte_mempool *pool;
static char runtime[] = "/tmp/hf-bench-dpdk-XXXXXX"; /* EAL leaves folders */

static void *
heap_alloc(size_t size)
{
	return rte_malloc(NULL, size, 0);
}

static bool
pool_get(void **objs, unsigned n)
{
	return rte_mempool_get_bulk(pool, objs, n) == 0;
}

static void
pool_put(void **objs, unsigned n)
{
	rte_mempool_put_bulk(pool, objs, n);
}

static uint64_t
pool_vtophys(void *p)
{
	return rte_mempool_virt2iova(p);
}

static uint64_t
heap_vtophys(void *p)
{
	return rte_malloc_virt2iova(p);
}

static const struct contestant pools = {.name = "rte_mempool, cache 256",
    .get = pool_get,
    .put = pool_put,
    .vtophys = pool_vtophys};

static const struct contestant heap = {.name = "rte_malloc",
    .alloc = heap_alloc,
    .free = rte_free,
    .vtophys = heap_vtophys,
    .pairs_max = 100000,
    .live_max = 4096};

LOCAL_STAMP_FIXED(pools)
LOCAL_STAMP_VTOPHYS(pools)
LOCAL_STAMP_ANY(heap)
LOCAL_STAMP_VTOPHYS(heap)

static double
heap_run_lifo(size_t live)
{
	return lifo(&heap, live);
}

static const struct entrant entrants[] = {
    {.c = &pools,
	.run = {[LOOP_LIFO] = pools_run_lifo,
	    [LOOP_BULK] = pools_run_bulk,
	    [LOOP_VTOPHYS] = pools_run_vtophys}},
    {.c = &heap,
	.run = {[LOOP_LIFO] = heap_run_lifo,
	    [LOOP_LIFO_POINTER] = heap_run_lifo_pointer,
	    [LOOP_CHURN] = heap_run_churn,
	    [LOOP_HANDOVER] = heap_run_handover,
	    [LOOP_ONE_THREAD] = heap_run_one_thread,
	    [LOOP_TWO_THREADS] = heap_run_two_threads,
	    [LOOP_VTOPHYS] = heap_run_vtophys}},
};

unsigned
dpdk_entrants(const char *program, struct entrant *out)
{
	char name[64];
	char *argv[] = {name, (char[]){"--in-memory"},
	    (char[]){"--no-telemetry"}, (char[]){"--no-pci"}, (char[]){"-l"},
	    (char[]){"0"}, (char[]){"-m"}, (char[]){"256"},
	    (char[]){"--log-level=lib.eal:error"}, NULL};

	(void)snprintf(name, sizeof(name), "%s", program);
	if (mkdtemp(runtime) == NULL || setenv("RUNTIME_DIRECTORY", runtime, 1))
		return 0;
	if (rte_eal_init(9, argv) < 0) {
		warnx("no DPDK beside it: rte_eal_init failed");
		return 0;
	}
	pool = rte_mempool_create("bench", 16383, LOCAL_FIXED, 256, 0, NULL,
	    NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	if (pool == NULL) {
		warnx("no rte_mempool: %s", rte_strerror(rte_errno));
		return 0;
	}
	memcpy(out, entrants, sizeof(entrants));
	return 2;
}

void
dpdk_end(void)
{
	if (pool != NULL)
		rte_mempool_free(pool);
	(void)rte_eal_cleanup();
	for (size_t i = 0; i < 3; i++) {
		static const char *const below[] = {"/dpdk/rte", "/dpdk", ""};
		char path[64];

		(void)snprintf(path, sizeof(path), "%s%s", runtime, below[i]);
		(void)rmdir(path);
	}
}
