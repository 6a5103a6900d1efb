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
 * Bonwick's vmem: boundary tags, free ones in lists by size class, the first
 * of the smallest class that fits; a hash finds what is freed.
 */
extern const struct peer_ops peer_vmem;

/* One bit a page, first fit from the bottom, as Linux's CMA does it. */
extern const struct peer_ops peer_bitmap;
