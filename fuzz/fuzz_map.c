/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * All of vm_map against the naive model: find, edit, protect, wire, stacks,
 * several maps, forks, limits.  No memory is touched.
 */

#include "fuzz/map_target.h"
#include "fuzz/ops.h"

const struct fuzz_target fuzz_target = {.name = "fuzz_map",
    .ops = FUZZ_OPS_MAP,
    .run = map_target_run,
    .sometimes = map_sometimes,
    .required = SEEN(SEEN_SHORTAGE) | SEEN(SEEN_MANY) | SEEN(SEEN_TWO_MAPS) |
		SEEN(SEEN_NO_SPACE) | SEEN(SEEN_PROTECTION) |
		SEEN(SEEN_SHARED) | SEEN(SEEN_GROWN) | SEEN(SEEN_LIMIT) |
		SEEN(SEEN_WIRED_FORK) | SEEN(SEEN_SYSTEM)};
