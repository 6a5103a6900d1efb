/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Physical allocators to compare with: other people's ideas, our own code.
 *
 * Each serves one stretch of memory, [start, end), in pages of 4 KiB.  `alloc`
 * takes the constraints of contigmalloc(9); the domain does not count.
 */

#include "core/vm_phys.h"

#define PEER_PAGE UINT64_C(4096)

struct peer_ops {
	const char *name;
	void *(*create)(vm_paddr_t start, vm_paddr_t end);
	void (*destroy)(void *peer);
	bool (
	    *alloc)(void *peer, const struct contig_req *req, vm_paddr_t *pap);
	void (*free)(void *peer, vm_paddr_t pa, vm_size_t size);
	vm_size_t (*largest)(void *peer); /* longest free run, bytes */
};

extern const struct peer_ops peer_holdfast; /* core/vm_phys.h itself */

/*
 * Boundary tags in order of address, a hash that finds what is freed, and an
 * index of the free ones:
 *
 * vmem	   Bonwick's: lists by size class, first of the smallest class that fits
 * tlsf	   two levels of lists; the head of the first list that is sure to fit
 * best	   the smallest run that fits, the lowest of those
 * first   the lowest run that fits
 */
extern const struct peer_ops peer_vmem, peer_tlsf, peer_best, peer_first;

/* One bit a page, first fit from the bottom, as Linux's CMA does it. */
extern const struct peer_ops peer_bitmap;

/*
 * Binary buddies of up to 16 MiB as in FreeBSD: only the first page of a free
 * block is a candidate, or of neighbouring blocks of 16 MiB.
 */
extern const struct peer_ops peer_buddy;

/* The lowest place in [start, end) that satisfies the request. */
bool peer_fit(const struct contig_req *req, vm_size_t size, vm_paddr_t start,
    vm_paddr_t end, vm_paddr_t *pap);
