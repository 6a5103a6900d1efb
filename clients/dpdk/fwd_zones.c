/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The same request, made to holdfast's heap and to DPDK's own.
 */

#include "clients/dpdk/fwd.h"

#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>
#include <rte_memzone.h>

#define STEP (UINT64_C(2) << 20) /* a huge page */

static const struct rte_memzone *
zone_reserve(const char *name, int socket_id, struct fwd_zone *zone)
{
	const struct rte_memzone *mz;

	mz = rte_memzone_reserve(name, zone->size, socket_id,
	    RTE_MEMZONE_IOVA_CONTIG);
	zone->granted = mz != NULL;
	if (mz == NULL)
		(void)snprintf(zone->error, sizeof(zone->error), "%s",
		    rte_strerror(rte_errno));
	else
		zone->iova = mz->iova;
	return mz;
}

/* Every byte that begins a huge page, and the last one, lie where holdfast
   put them, one after the other. */
static bool
zone_is_ours(const struct holdfast_dpdk_heap *heap,
    const struct rte_memzone *mz)
{
	uint64_t at = 0, pa;

	for (;;) {
		const char *p = (const char *)mz->addr + at;

		if (holdfast_dpdk_heap_vtophys(heap, p, &pa) != 0 ||
		    pa != mz->iova + at)
			return false;
		if (at == mz->len - 1)
			return true;
		at = at + STEP < mz->len ? at + STEP : mz->len - 1;
	}
}

static int
ask_ours(const struct holdfast_dpdk_heap *heap, struct fwd_zone *zone)
{
	int socket_id = holdfast_dpdk_heap_socket_id(heap);
	const struct rte_memzone *mz;

	mz = zone_reserve("hf_fwd_ours", socket_id, zone);
	if (mz == NULL) {
		fprintf(stderr, "hf_dpdk_fwd: no zone of %llu bytes: %s\n",
		    (unsigned long long)zone->size, zone->error);
		return -1;
	}
	zone->physical = true;
	zone->contiguous = zone_is_ours(heap, mz);
	(void)rte_memzone_free(mz); /* just reserved */
	if (!zone->contiguous) {
		fprintf(stderr,
		    "hf_dpdk_fwd: the zone of %llu bytes is not "
		    "where holdfast put it\n",
		    (unsigned long long)zone->size);
		return -1;
	}
	return 0;
}

/* Here only the kernel knows, and it tells only privileged processes. */
static void
ask_theirs(struct fwd_zone *zone)
{
	const struct rte_memzone *mz;
	uint64_t pa;

	mz = zone_reserve("hf_fwd_theirs", SOCKET_ID_ANY, zone);
	if (mz == NULL)
		return;
	zone->physical = rte_mem_virt2phy(mz->addr) == mz->iova;
	zone->contiguous = zone->physical;
	for (uint64_t at = 0; at < mz->len && zone->contiguous; at += 4096) {
		pa = rte_mem_virt2phy((const char *)mz->addr + at);
		zone->contiguous = pa == mz->iova + at;
	}
	(void)rte_memzone_free(mz); /* just reserved */
}

int
fwd_zones(const struct fwd_options *options,
    const struct holdfast_dpdk_heap *heap, struct fwd_result *result)
{
	const uint64_t sizes[FWD_ZONES] = {1 << 20, 3 << 20, options->zone};
	int r = 0;

	for (size_t i = 0; i < FWD_ZONES; i++) {
		result->ours[i].size = sizes[i];
		result->theirs[i].size = sizes[i];
		if (ask_ours(heap, &result->ours[i]) != 0)
			r = -1;
		ask_theirs(&result->theirs[i]);
	}
	return r;
}
