/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the targets that drive maps have in common: the core beside the naive
 * map, and beside the naive contents where memory is touched.
 *
 * Oracles: codes and out-parameters of every operation; the whole state at the
 * program's cadence; the core's checker; contents of every page touched;
 * physical memory conserved; failures leave no trace; nothing is left.
 */

#include "fuzz/target.h"

/* Rare states; bits of fuzz_report.seen, names in map_sometimes. */
enum map_seen {
	SEEN_SHORTAGE, /* an injected failure ended an operation */
	SEEN_MANY,     /* more than 32 entries */
	SEEN_TWO_MAPS,
	SEEN_NO_SPACE,
	SEEN_PROTECTION,
	SEEN_SHARED,     /* an object with three references */
	SEEN_GROWN,      /* a stack grew by growstack or by a touch */
	SEEN_GUARD,      /* growth or touch refused at a guard */
	SEEN_LIMIT,      /* a limit refused something */
	SEEN_COPIED,     /* a touch copied a page */
	SEEN_THROUGH,    /* a touch read through to an object behind */
	SEEN_ZERO,       /* a touch made a page of zeroes */
	SEEN_NO_FRAME,   /* a touch found physical memory exhausted */
	SEEN_WIRED_FORK, /* a map with wired entries was forked */
	SEEN_SYSTEM,     /* a system wiring stopped a removal */
	SEEN_BUFFER,     /* a contiguous buffer beside frames */
	SEEN_REUSED,     /* a frame was used a second time */
};
#define SEEN(bit) (UINT64_C(1) << (bit))

extern const char *const map_sometimes[];

/* fuzz_target.run for all of them; fuzz_target.ops says what may happen. */
void map_target_run(const uint8_t *data, size_t size, struct fuzz_report *rep);
