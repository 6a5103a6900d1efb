/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Contestants of bench_local: allocators of small objects in one process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICKS       (1u << 18)
#define LOCAL_FIXED 2048u

enum local_loop {
	LOOP_LIFO,
	LOOP_LIFO_POINTER,
	LOOP_BULK,
	LOOP_CHURN,
	LOOP_HANDOVER,
	LOOP_ONE_THREAD,
	LOOP_TWO_THREADS,
	LOOP_VTOPHYS,
	LOOP_CONTIG,
	LOOP_WINDOW,
	NLOOPS
};

struct contestant {
	const char *name;
	void *(*alloc)(size_t size); /* NULL: only one size, see get */
	void (*free)(void *p);
	/* Of objects of LOCAL_FIXED bytes; NULL: none. */
	bool (*get)(void **objs, unsigned n);
	void (*put)(void **objs, unsigned n);
	uint64_t (*vtophys)(void *p); /* NULL: cannot */
	unsigned pairs_max;           /* to time; 0: any.  Slow ones have few */
	size_t live_max;              /* objects it can keep alive; 0: any */
};

/* A contestant with its own copy of every loop; ns for one pair. */
struct entrant {
	const struct contestant *c;
	double (*run[NLOOPS])(size_t live); /* NULL: does not take part */
};

extern unsigned local_pairs;
extern uint32_t local_place[PICKS]; /* which of `live` objects is next */
extern uint16_t local_size[PICKS];  /* 64 bytes to 2 KiB */

/* Where the picks lie among `live` objects: no division inside a round. */
void local_place_among(size_t live);

/* DPDK's mempool and heap on real huge pages; how many. */
unsigned dpdk_entrants(const char *program, struct entrant *out);
void dpdk_end(void);
