/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What several threads may see of a few small maps.
 *
 * The state is a few bytes a page, so it can be copied; so every order in
 * which operations that overlap may have taken effect is followed, and an
 * answer is wrong when no order gives it.
 */

#include "fuzz/prog/run.h"

#define SCHED_THREADS 4
#define SCHED_MAPS    3
#define SCHED_PAGES   32

struct sched_page {
	uint8_t present, prot, inherit;
};

struct sched_maps {
	struct sched_page page[SCHED_MAPS][SCHED_PAGES];
	bool live[SCHED_MAPS];
};

struct sched_world {
	vm_offset_t min;
	vm_size_t page;
	unsigned npages;
};

/* Do an operation; the status, and what it found in *valuep. */
int sched_model_apply(const struct sched_world *w, struct sched_maps *m,
    const struct hf_call *call, uint64_t *valuep);

/* Histories ---------------------------------------------------------------- */

struct history;

/* There is one; this begins it anew. */
struct history *history_create(const struct sched_world *w);

/* A thread begins an operation, and has its answer. */
void history_call(struct history *h, unsigned thread,
    const struct hf_call *call);
/* false: no order of what overlaps explains it.  `none`: it had no effect. */
bool history_return(struct history *h, unsigned thread, int status,
    uint64_t value, bool none);

/* There were too many orders to follow; nothing is known any more. */
bool history_lost(const struct history *h);

/* The states that may be, when nothing is going on. */
unsigned history_nstates(const struct history *h);
const struct sched_maps *history_state(const struct history *h, unsigned i);
