/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The worlds that a program may begin in.  Numbers are for ever: append only.
 */

#include "fuzz/prog/run.h"

#define K(n) (UINT64_C(n) << 10)
#define M(n) (UINT64_C(n) << 20)
#define G(n) (UINT64_C(n) << 30)

static const struct hf_preset presets[] = {
    /* The world of vmsh. */
    {"default", "x86_64", 0, M(1), G(4), .segs = {{M(16), M(272), 0}}},
    /* The world of the specification's vectors. */
    {"vectors", "x86_64", 0, K(64), M(1), .segs = {{0, M(16), 0}}},
    /* Two banks, odd edges, a hole. */
    {"banks", "x86_64", 0, K(4), G(1),
	.segs = {{K(4), K(636), 0}, {M(1), M(9) + K(12), 0},
	    {M(32), M(48), 1}}},
    {"aarch64-4k", "aarch64", K(4), K(4), G(1), .segs = {{M(64), M(96), 0}}},
    {"aarch64-16k", "aarch64", K(16), K(16), G(4),
	.segs = {{M(64), M(160), 0}}},
    {"aarch64-64k", "aarch64", K(64), K(64), G(16),
	.segs = {{M(512), G(2), 0}}},
    {"riscv64", "riscv64", 0, K(4), G(1), .segs = {{G(2), G(2) + M(32), 0}}},
    /* Few pages, where everything collides. */
    {"tiny", "x86_64", 0, K(64), K(128), .segs = {{K(64), K(256), 0}}},
    /* Four domains whose segments interleave. */
    {"numa", "x86_64", 0, M(1), G(1),
	.segs = {{0, M(2), 0}, {M(2), M(4), 1}, {M(4), M(6), 0},
	    {M(8), M(12), 2}, {M(12), M(12) + K(28), 3}}},
    /* Memory around 4 GiB and at the end of the address space. */
    {"high", "x86_64", 0, K(4), UINT64_C(1) << 47,
	.segs = {{G(4) - M(4), G(4) + M(4), 0},
	    {(UINT64_C(1) << 42) - M(8), (UINT64_C(1) << 42) - M(1), 0}}},
    /* Little physical memory, for exhaustive comparison. */
    {"phys-one", "x86_64", 0, K(64), M(1), .segs = {{K(64), K(320), 0}}},
    {"phys-two", "x86_64", 0, K(64), M(1),
	.segs = {{0, K(128), 0}, {K(144), K(400), 1}, {K(512), K(540), 0}}},
    {"phys-super", "x86_64", 0, K(64), M(1), .segs = {{M(3), M(9) + K(4), 0}}},
    /*
     * Every page of a program is 2^24 pages here, so that no length fits the
     * word that the map's tree has for it.
     */
    {"far", "x86_64", 0, K(4), UINT64_C(1) << 47,
	.segs = {{G(1), G(1) + M(4), 0}}, .unit = UINT64_C(1) << 36},
    /*
     * Programs begin 2^33 pages behind the start of the map, whose leaves
     * count 2^32 pages.
     */
    {"wide", "x86_64", 0, K(4), UINT64_C(1) << 47,
	.segs = {{G(1), G(1) + M(4), 0}}, .lead = UINT64_C(1) << 45},
};

const struct hf_preset *
hf_preset(unsigned i)
{
	return &presets[i % nitems(presets)];
}

unsigned
hf_npresets(void)
{
	return nitems(presets);
}
