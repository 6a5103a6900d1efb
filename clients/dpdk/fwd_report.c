/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What hf_dpdk_fwd prints.  Each part is silent under --json, which prints
 * everything at the end.
 */

#include "clients/dpdk/fwd.h"

#include <inttypes.h>
#include <stdio.h>

#include <rte_eal.h>

#define MIB (UINT64_C(1) << 20)

static const char *
pin_name(int pin)
{
	static const char *const names[] = {"unknown", "none", "mlock",
	    "longterm"};

	return pin >= 1 && pin <= 3 ? names[pin] : names[0];
}

/* ---- Text
 * ---------------------------------------------------------------------- */

void
fwd_print_memory(const struct fwd_options *options,
    const struct holdfast_dpdk_heap *heap)
{
	struct holdfast_dpdk_chunk chunk;

	if (options->json)
		return;
	printf("memory\n");
	for (size_t i = 0; holdfast_dpdk_heap_chunk(heap, i, &chunk) == 0; i++)
		printf("  %4" PRIu64 " MiB  physical %#" PRIx64 "-%#" PRIx64
		       ", pin %s\n"
		       "            mapped at %p, the same address modulo "
		       "%" PRIu64 " MiB\n",
		    chunk.size / MIB, chunk.pa, chunk.pa + chunk.size,
		    pin_name(chunk.pin), chunk.addr,
		    holdfast_dpdk_congruence(chunk.size) / MIB);
	printf("  DPDK malloc heap \"holdfast\" is socket id %d\n\n",
	    holdfast_dpdk_heap_socket_id(heap));
}

static void
zone_text(const struct fwd_zone *zone, char *text, size_t size)
{
	if (!zone->granted)
		(void)snprintf(text, size, "refused: %s", zone->error);
	else if (!zone->physical)
		(void)snprintf(text, size, "virtual only, at %#" PRIx64,
		    zone->iova);
	else
		(void)snprintf(text, size, "%s at %#" PRIx64,
		    zone->contiguous ? "contiguous" : "SCATTERED", zone->iova);
}

void
fwd_print_zones(const struct fwd_options *options,
    const struct fwd_result *result)
{
	char ours[80], theirs[80];
	bool blind = false;

	if (options->json)
		return;
	printf("physically contiguous memzones (RTE_MEMZONE_IOVA_CONTIG)\n"
	       "            %-28s %s\n",
	    "holdfast's heap", "DPDK's own heap");
	for (size_t i = 0; i < FWD_ZONES; i++) {
		zone_text(&result->ours[i], ours, sizeof(ours));
		zone_text(&result->theirs[i], theirs, sizeof(theirs));
		printf("  %4" PRIu64 " MiB  %-28s %s\n",
		    result->ours[i].size / MIB, ours, theirs);
		if (result->theirs[i].granted && !result->theirs[i].physical)
			blind = true;
	}
	if (blind)
		printf("  (\"virtual only\": EAL runs with IOVA as VA; where "
		       "that memory lies is not known)\n");
	printf("\n");
}

void
fwd_print_forward(const struct fwd_options *options,
    const struct fwd_result *result)
{
	const struct fwd_forward *f = &result->forward;

	if (options->json)
		return;
	printf("packets\n"
	       "  %" PRIu64 " packets between %s0 and %s1 in %.3f s: "
	       "%.1f million a second\n",
	    f->packets, f->driver, f->driver, f->seconds,
	    f->seconds > 0 ? (double)f->packets / f->seconds / 1e6 : 0);
	if (options->ports == FWD_PORTS_NULL)
		printf("  each was written at one end and read at the other\n");
	else
		printf("  by reference, no byte copied; each of the packets "
		       "going round came back as it was "
		       "sent: %s\n",
		    f->damaged == 0 && f->lost == 0 ? "yes" : "NO");
	printf("\n");
}

void
fwd_print_verdict(const struct fwd_options *options,
    const struct fwd_result *result)
{
	const struct holdfast_dpdk_verdict *v = &result->verdict;

	if (options->json)
		return;
	printf("addresses\n"
	       "  %" PRIu64 " of %" PRIu64 " mbufs carry the physical address "
	       "that holdfast gave\n",
	    v->objects - v->outside - v->wrong, v->objects);
	if (v->objects > v->outside)
		printf("  from %#" PRIx64 " to %#" PRIx64 "\n", v->pa_lowest,
		    v->pa_highest);
	if (v->kernel_asked > 0)
		printf("  %" PRIu64 " of %" PRIu64 " agree with the kernel "
		       "(rte_mem_virt2phy)\n",
		    v->kernel_asked - v->kernel_differs, v->kernel_asked);
	else
		printf("  the kernel tells this process no physical address "
		       "(CAP_SYS_ADMIN is missing): holdfast did\n");
	printf("\n");
}

/* ---- JSON
 * ------------------------------------------------------------------------ */

static const char *
boolean(bool value)
{
	return value ? "true" : "false";
}

static void
json_zones(const char *name, const struct fwd_zone *zones)
{
	printf("\"%s\":[", name);
	for (size_t i = 0; i < FWD_ZONES; i++)
		printf("%s{\"size\":%" PRIu64
		       ",\"granted\":%s,\"iova\":%" PRIu64
		       ",\"physical\":%s,\"contiguous\":%s}",
		    i == 0 ? "" : ",", zones[i].size, boolean(zones[i].granted),
		    zones[i].iova, boolean(zones[i].physical),
		    boolean(zones[i].contiguous));
	printf("],");
}

static void
json_chunks(const struct holdfast_dpdk_heap *heap)
{
	struct holdfast_dpdk_chunk chunk;

	printf("\"chunks\":[");
	for (size_t i = 0; holdfast_dpdk_heap_chunk(heap, i, &chunk) == 0; i++)
		printf("%s{\"pa\":%" PRIu64 ",\"va\":%" PRIu64
		       ",\"size\":%" PRIu64 ",\"page_size\":%" PRIu64
		       ",\"pin\":\"%s\"}",
		    i == 0 ? "" : ",", chunk.pa,
		    (uint64_t)(uintptr_t)chunk.addr, chunk.size,
		    chunk.page_size, pin_name(chunk.pin));
	printf("],");
}

void
fwd_print_json(const struct fwd_options *options,
    const struct holdfast_dpdk_heap *heap, const struct fwd_result *result,
    bool pass)
{
	const struct holdfast_dpdk_verdict *v = &result->verdict;
	const struct fwd_forward *f = &result->forward;

	if (!options->json)
		return;
	printf("{\"iova_mode\":\"%s\",\"socket_id\":%d,",
	    rte_eal_iova_mode() == RTE_IOVA_PA ? "pa" : "va",
	    holdfast_dpdk_heap_socket_id(heap));
	json_chunks(heap);
	json_zones("zones_holdfast", result->ours);
	json_zones("zones_dpdk", result->theirs);
	printf("\"forward\":{\"driver\":\"%s\",\"packets\":%" PRIu64
	       ",\"damaged\":%" PRIu64 ",\"lost\":%" PRIu64
	       ",\"seconds\":%.6f},",
	    f->driver == NULL ? "" : f->driver, f->packets, f->damaged, f->lost,
	    f->seconds);
	printf("\"mbufs\":{\"objects\":%" PRIu64 ",\"outside\":%" PRIu64
	       ",\"wrong\":%" PRIu64 ",\"broken\":%" PRIu64
	       ",\"kernel_asked\":%" PRIu64 ",\"kernel_differs\":%" PRIu64
	       "},\"pass\":%s}\n",
	    v->objects, v->outside, v->wrong, v->broken, v->kernel_asked,
	    v->kernel_differs, boolean(pass));
}
