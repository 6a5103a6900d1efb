/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The structure-aware mutator for libFuzzer.  One in eight mutations is the
 * engine's own, on bytes: every byte string is a program.
 */

#include "fuzz/gen.h"
#include "fuzz/target.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
    unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t asize,
    const uint8_t *b, size_t bsize, uint8_t *out, size_t max, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	if (seed % 8 == 0)
		return LLVMFuzzerMutate(data, size, max);
	return gen_mutate(seed, fuzz_target.ops, data, size, max);
}

size_t
LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t asize, const uint8_t *b,
    size_t bsize, uint8_t *out, size_t max, unsigned seed)
{
	return gen_crossover(seed, a, asize, b, bsize, out, max);
}
