/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Contestants of bench_local: allocators of small objects in one process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct contestant {
	const char *name;
	void *(*alloc)(size_t size); /* NULL: only one size, see fixed */
	void (*free)(void *p);
	/* Of objects of LOCAL_FIXED bytes; NULL: none. */
	bool (*get)(void **objs, unsigned n);
	void (*put)(void **objs, unsigned n);
	uint64_t (*vtophys)(void *p); /* NULL: cannot */
	uint64_t (*vtophys_fixed)(void *p);
	unsigned alloc_rounds; /* how many pairs to time; slow ones have few */
	size_t live_max;       /* objects that it can keep alive */
};

#define LOCAL_FIXED 2048u

/* DPDK's mempool and heap on real huge pages; how many contestants. */
unsigned dpdk_contestants(const char *program, struct contestant *out);
void dpdk_end(void);
