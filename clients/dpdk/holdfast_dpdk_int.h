/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What heap.c and extmem.c share: chunks, and the sentence of a failure.
 */

#include "clients/dpdk/holdfast_dpdk.h"
#include "clients/libholdfast/holdfast.h"

/* A run from holdfast, mapped congruent to its physical address. */
struct hfd_chunk {
	struct holdfast_buf *buf; /* ours until hfd_chunk_release() */
	void *addr;               /* NULL: not mapped */
	uint64_t size;            /* bytes, whole frames */
};

/* Keep the sentence for holdfast_dpdk_error() and return `rv`. */
int hfd_fail(int rv, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The daemon refused or went away: its sentence is the one. */
int hfd_fail_daemon(int rv);

/*
 * Can this process use a table of addresses, and what is the grain?
 * -ENOTSUP as the public header has it; the daemon's refusals.
 */
int hfd_ready(struct holdfast *h, uint64_t *frame_sizep);

/* Allocate `size` bytes, whole frames, in one run and map them. */
int hfd_chunk_acquire(struct holdfast *h, uint64_t size, uint64_t frame_size,
    struct hfd_chunk *chunk);
/* Unmap and give back; accepts a half-built or released chunk. */
void hfd_chunk_release(struct holdfast *h, struct hfd_chunk *chunk);

/*
 * The table that DPDK wants, one address a huge page, in a malloc'ed array
 * that the caller frees (DPDK copies it).  NULL: no memory.
 */
uint64_t *hfd_chunk_table(const struct hfd_chunk *chunk, unsigned int *np);

/* Fill the public form. */
void hfd_chunk_describe(const struct hfd_chunk *chunk,
    struct holdfast_dpdk_chunk *out);
