/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Programs out of nothing, and out of other programs.
 *
 * Everything is a pure function of its seed.  The operations that may appear
 * come as a bit mask, one bit an opcode.
 */

#include "fuzz/prog/prog.h"

/* A small generator (splitmix64). */
static inline uint64_t
gen_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* A number below `n`, which is at least 1. */
static inline unsigned
gen_below(uint64_t *state, unsigned n)
{
	return (unsigned)((gen_random(state) >> 11) % n);
}

/* One record of a random operation of `ops`, operands biased. */
uint64_t gen_record(uint64_t *state, uint64_t ops);

/*
 * A whole program of at most `max` bytes: a preset, a cadence, perhaps faults,
 * and operations of a random subset of `ops` with random weights (swarm).
 * Returns its size.
 */
size_t gen_program(uint64_t seed, uint64_t ops, uint8_t *data, size_t max);

/*
 * Change a program in place; it has `size` bytes and may grow to `max`; one in
 * GEN_FRESH is a whole new one.  Returns the new size, a whole number of
 * records.
 */
#define GEN_FRESH 4
size_t gen_mutate(uint64_t seed, uint64_t ops, uint8_t *data, size_t size,
    size_t max);

/* Head of one, tail of the other. */
size_t gen_crossover(uint64_t seed, const uint8_t *a, size_t asize,
    const uint8_t *b, size_t bsize, uint8_t *out, size_t max);
