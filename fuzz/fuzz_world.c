/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The whole world: several maps as tenants, objects, frames and buffers out of
 * one little physical memory.  Every write is told apart from every other, so
 * that nobody ever reads what somebody else wrote, what is new reads zero,
 * and every page of memory is free or has one owner.
 */

#include "fuzz/map_target.h"
#include "fuzz/ops.h"

const struct fuzz_target fuzz_target = {.name = "fuzz_world",
    .ops = FUZZ_OPS_WORLD,
    .run = map_target_run,
    .sometimes = map_sometimes,
    .required = SEEN(SEEN_SHORTAGE) | SEEN(SEEN_TWO_MAPS) |
		SEEN(SEEN_NO_SPACE) | SEEN(SEEN_SHARED) | SEEN(SEEN_COPIED) |
		SEEN(SEEN_THROUGH) | SEEN(SEEN_ZERO) | SEEN(SEEN_NO_FRAME) |
		SEEN(SEEN_BUFFER) | SEEN(SEEN_REUSED)};
