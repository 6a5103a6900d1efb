/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Threads that are none: they take turns at the points where the core locks,
 * and a number says whose turn it is.  Nothing else switches, so a schedule
 * can be had again.
 *
 * Compiled with FUZZ_SCHED_REAL they are real threads, which run as they like:
 * that is for ThreadSanitizer.
 */

#include <stdbool.h>
#include <stdint.h>

#define SCHED_SWITCHES 20000 /* more than any program needs */

enum sched_end { SCHED_DONE, SCHED_DEADLOCK, SCHED_LIVELOCK };

/*
 * Run `body(arg, i)` for each of n threads (at most 4) until all have
 * returned, in an order that `seed` decides.
 */
enum sched_end sched_run(unsigned n, void (*body)(void *arg, unsigned i),
    void *arg, uint64_t seed);

/* Let somebody else have a turn, perhaps. */
void sched_yield_here(void);

/* One at a time, where threads are real; nothing where they are not. */
void sched_enter(void);
void sched_leave(void);

/* How often the turn has changed; threads that waited for a lock. */
uint64_t sched_switches(void);
uint64_t sched_waits(void);
