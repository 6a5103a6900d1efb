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

/* A page in a byte: 0 nothing there; otherwise its rights and inheritance. */
typedef uint8_t sched_page;

static inline sched_page
sched_page_make(uint64_t prot, uint64_t inherit)
{
	return (sched_page)(0x80 | (inherit & 7) << 3 | (prot & 7));
}

static inline uint8_t
sched_page_prot(sched_page page)
{
	return page & 7;
}

static inline uint8_t
sched_page_inherit(sched_page page)
{
	return page >> 3 & 7;
}

struct sched_maps {
	sched_page page[SCHED_MAPS][SCHED_PAGES];
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
