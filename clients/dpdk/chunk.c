/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * One physically contiguous run: asked for, mapped, described, given back.
 *
 * The run is mapped here and not by libholdfast, because DPDK checks
 * alignment and bounds on virtual addresses: both addresses must agree
 * modulo more than the request's own alignment.
 *
 *	reserve      |<---------- size + congruence ----------->|
 *	keep              |<-------- size -------->|
 *	                  ^ == pa (mod congruence)
 */

#include "clients/dpdk/holdfast_dpdk_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_memory.h>

#define CONGRUENCE_MIN (UINT64_C(2) << 20)
#define CONGRUENCE_MAX (UINT64_C(1) << 30)

/* A failed call's sentence; empty where the daemon has it. */
static _Thread_local char sentence[256];

int
hfd_fail(int rv, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(sentence, sizeof(sentence), format, ap);
	va_end(ap);
	return rv;
}

int
hfd_fail_daemon(int rv)
{
	sentence[0] = '\0';
	return rv;
}

const char *
holdfast_dpdk_error(const struct holdfast *h)
{
	return sentence[0] != '\0' || h == NULL ? sentence : holdfast_error(h);
}

uint64_t
holdfast_dpdk_congruence(uint64_t size)
{
	uint64_t modulus = CONGRUENCE_MIN;

	while (modulus < size && modulus < CONGRUENCE_MAX)
		modulus *= 2;
	return modulus;
}

static void
event_ignored(enum rte_mem_event event, const void *addr, size_t len, void *arg)
{
	(void)event;
	(void)addr;
	(void)len;
	(void)arg;
}

/* EAL takes memory event callbacks exactly where it is not in legacy mode,
   and has no other way to ask. */
static int
eal_is_dynamic(void)
{
	static const char name[] = "holdfast_dpdk_probe";

	if (rte_mem_event_callback_register(name, event_ignored, NULL) != 0)
		return 0;
	(void)rte_mem_event_callback_unregister(name, NULL); /* just made */
	return 1;
}

int
hfd_ready(struct holdfast *h, uint64_t *frame_sizep)
{
	struct holdfast_pool_status status;
	int rv;

	if (rte_lcore_count() == 0)
		return hfd_fail(-ENOTSUP, "call rte_eal_init() first");
	if (!rte_eal_has_hugepages() || !eal_is_dynamic())
		return hfd_fail(-ENOTSUP,
		    "EAL runs with --no-huge or "
		    "--legacy-mem, where it does not check that memory is "
		    "IOVA-contiguous; use --in-memory");
	rv = holdfast_pool_status(h, &status);
	if (rv != 0)
		return hfd_fail_daemon(rv);
	if (!status.addresses_known)
		return hfd_fail(-ENOTSUP,
		    "the daemon does not know physical addresses: %s",
		    status.degraded[0] != '\0' ? status.degraded : "no reason");
	if (status.frame_size == 0)
		return hfd_fail(HF_NO_POOL, "the daemon has no pool");
	*frame_sizep = status.frame_size;
	return 0;
}

/* Pure: the first address >= base that equals pa modulo the power of two. */
static uintptr_t
congruent_from(uintptr_t base, uint64_t pa, uint64_t modulus)
{
	return base + ((pa - base) & (modulus - 1));
}

static int
chunk_map(struct hfd_chunk *chunk)
{
	const struct holdfast_buf *buf = chunk->buf;
	uint64_t modulus = holdfast_dpdk_congruence(chunk->size);
	size_t reserved = chunk->size + modulus;
	uintptr_t start, end;
	char *base;

	base = mmap(NULL, reserved, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return hfd_fail(-errno, "cannot reserve %zu bytes of addresses",
		    reserved);
	start = congruent_from((uintptr_t)base, buf->pa, modulus);
	end = start + chunk->size;
	if (mmap((void *)start, chunk->size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED | MAP_POPULATE, buf->fd,
		(off_t)buf->fd_offset) == MAP_FAILED) {
		int saved = errno;

		(void)munmap(base, reserved); /* our own reservation */
		return hfd_fail(-saved, "cannot map the buffer: %s",
		    strerror(saved));
	}
	/* The slack on either side; failing would only cost addresses. */
	if (start > (uintptr_t)base)
		(void)munmap(base, start - (uintptr_t)base);
	if ((uintptr_t)base + reserved > end)
		(void)munmap((void *)end, (uintptr_t)base + reserved - end);
	chunk->addr = (void *)start;
	return 0;
}

int
hfd_chunk_acquire(struct holdfast *h, uint64_t size, uint64_t frame_size,
    struct hfd_chunk *chunk)
{
	struct holdfast_contig_req req = {
	    .size = size,
	    .alignment = frame_size,
	    .type = "dpdk",
	    .no_map = true,
	};
	int rv;

	*chunk = (struct hfd_chunk){.size = size};
	rv = holdfast_contigmalloc(h, &req, &chunk->buf);
	if (rv != 0)
		return hfd_fail_daemon(rv);
	if (!chunk->buf->pa_known)
		rv = hfd_fail(-ENOTSUP,
		    "the daemon does not tell this client addresses");
	else if (chunk->buf->size < size || chunk->buf->pa % frame_size != 0)
		rv = hfd_fail(-EPROTO, "the daemon gave another buffer than "
				       "was asked for");
	else
		rv = chunk_map(chunk);
	if (rv != 0)
		hfd_chunk_release(h, chunk);
	return rv;
}

void
hfd_chunk_release(struct holdfast *h, struct hfd_chunk *chunk)
{
	if (chunk->addr != NULL)
		(void)munmap(chunk->addr, chunk->size); /* a whole mapping */
	/* Where the daemon is gone, it has the memory back already. */
	(void)holdfast_contigfree(h, chunk->buf);
	*chunk = (struct hfd_chunk){0};
}

uint64_t *
hfd_chunk_table(const struct hfd_chunk *chunk, unsigned int *np)
{
	uint64_t frame_size = chunk->buf->frame_size;
	unsigned int n = (unsigned int)(chunk->size / frame_size);
	uint64_t *table = calloc(n, sizeof(*table));

	if (table == NULL)
		return NULL;
	for (unsigned int i = 0; i < n; i++)
		table[i] = chunk->buf->pa + i * frame_size;
	*np = n;
	return table;
}

void
hfd_chunk_describe(const struct hfd_chunk *chunk,
    struct holdfast_dpdk_chunk *out)
{
	*out = (struct holdfast_dpdk_chunk){
	    .addr = chunk->addr,
	    .size = chunk->size,
	    .pa = chunk->buf->pa,
	    .page_size = chunk->buf->frame_size,
	    .pin = (int)chunk->buf->pin,
	    .domain = chunk->buf->domain,
	};
}
