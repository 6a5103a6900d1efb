/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Stacks: growth by request and by touch, guards, limits, what forks and
 * rights make of them, and that what grows is zeroes.
 */

#include "fuzz/map_target.h"
#include "fuzz/ops.h"

const struct fuzz_target fuzz_target = {.name = "fuzz_stack",
    .ops = FUZZ_OPS_STACK,
    .run = map_target_run,
    .sometimes = map_sometimes,
    .required = SEEN(SEEN_SHORTAGE) | SEEN(SEEN_TWO_MAPS) | SEEN(SEEN_GROWN) |
		SEEN(SEEN_GUARD) | SEEN(SEEN_LIMIT) | SEEN(SEEN_ZERO) |
		SEEN(SEEN_COPIED) | SEEN(SEEN_PROTECTION)};
