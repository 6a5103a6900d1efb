/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Wiring, forks and copy on write: user and system wirings, what a fork copies
 * at once and what at the first touch, rights that come and go meanwhile.
 */

#include "fuzz/map_target.h"
#include "fuzz/ops.h"

const struct fuzz_target fuzz_target = {.name = "fuzz_wire",
    .ops = FUZZ_OPS_WIRE,
    .run = map_target_run,
    .sometimes = map_sometimes,
    .required = SEEN(SEEN_SHORTAGE) | SEEN(SEEN_TWO_MAPS) | SEEN(SEEN_SHARED) |
		SEEN(SEEN_COPIED) | SEEN(SEEN_THROUGH) | SEEN(SEEN_ZERO) |
		SEEN(SEEN_WIRED_FORK) | SEEN(SEEN_SYSTEM)};
