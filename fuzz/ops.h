/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The operations that mean something to each target, for the target itself,
 * the generator and the mutators.
 */

#include "fuzz/prog/prog.h"

#define FUZZ_BIT(op) (UINT64_C(1) << (op))

#define FUZZ_OPS_MAP                                                           \
	(FUZZ_BIT(HF_MAP) | FUZZ_BIT(HF_DESTROY) | FUZZ_BIT(HF_OBJECT) |       \
	    FUZZ_BIT(HF_DEREF) | FUZZ_BIT(HF_INSERT) | FUZZ_BIT(HF_FIND) |     \
	    FUZZ_BIT(HF_FIND_MIN) | FUZZ_BIT(HF_FIXED) |                       \
	    FUZZ_BIT(HF_FINDSPACE) | FUZZ_BIT(HF_DELETE) |                     \
	    FUZZ_BIT(HF_REMOVE) | FUZZ_BIT(HF_LOOKUP) | FUZZ_BIT(HF_ENTRY) |   \
	    FUZZ_BIT(HF_CHECK) | FUZZ_BIT(HF_STAT) | FUZZ_BIT(HF_PROTECT) |    \
	    FUZZ_BIT(HF_INHERIT) | FUZZ_BIT(HF_MADVISE) | FUZZ_BIT(HF_WIRE) |  \
	    FUZZ_BIT(HF_UNWIRE) | FUZZ_BIT(HF_SYNC) | FUZZ_BIT(HF_STACK) |     \
	    FUZZ_BIT(HF_GROWSTACK) | FUZZ_BIT(HF_CHECK_PROTECTION) |           \
	    FUZZ_BIT(HF_FORK) | FUZZ_BIT(HF_LIMIT) | FUZZ_BIT(HF_FLAGS) |      \
	    FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_STACK                                                         \
	(FUZZ_BIT(HF_STACK) | FUZZ_BIT(HF_GROWSTACK) | FUZZ_BIT(HF_TOUCH) |    \
	    FUZZ_BIT(HF_LIMIT) | FUZZ_BIT(HF_REMOVE) | FUZZ_BIT(HF_INSERT) |   \
	    FUZZ_BIT(HF_FIXED) | FUZZ_BIT(HF_PROTECT) | FUZZ_BIT(HF_WIRE) |    \
	    FUZZ_BIT(HF_UNWIRE) | FUZZ_BIT(HF_INHERIT) | FUZZ_BIT(HF_FORK) |   \
	    FUZZ_BIT(HF_DESTROY) | FUZZ_BIT(HF_FLAGS) | FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_WIRE                                                          \
	(FUZZ_BIT(HF_WIRE) | FUZZ_BIT(HF_UNWIRE) | FUZZ_BIT(HF_FORK) |         \
	    FUZZ_BIT(HF_TOUCH) | FUZZ_BIT(HF_LOOKUP) | FUZZ_BIT(HF_PROTECT) |  \
	    FUZZ_BIT(HF_INHERIT) | FUZZ_BIT(HF_MADVISE) |                      \
	    FUZZ_BIT(HF_OBJECT) | FUZZ_BIT(HF_DEREF) | FUZZ_BIT(HF_INSERT) |   \
	    FUZZ_BIT(HF_FIXED) | FUZZ_BIT(HF_REMOVE) | FUZZ_BIT(HF_DELETE) |   \
	    FUZZ_BIT(HF_DESTROY) | FUZZ_BIT(HF_FLAGS) | FUZZ_BIT(HF_LIMIT) |   \
	    FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_WORLD                                                         \
	(FUZZ_BIT(HF_MAP) | FUZZ_BIT(HF_DESTROY) | FUZZ_BIT(HF_OBJECT) |       \
	    FUZZ_BIT(HF_DEREF) | FUZZ_BIT(HF_INSERT) | FUZZ_BIT(HF_FIND) |     \
	    FUZZ_BIT(HF_FIXED) | FUZZ_BIT(HF_REMOVE) | FUZZ_BIT(HF_TOUCH) |    \
	    FUZZ_BIT(HF_PROTECT) | FUZZ_BIT(HF_INHERIT) |                      \
	    FUZZ_BIT(HF_MADVISE) | FUZZ_BIT(HF_WIRE) | FUZZ_BIT(HF_UNWIRE) |   \
	    FUZZ_BIT(HF_FORK) | FUZZ_BIT(HF_CONTIG) |                          \
	    FUZZ_BIT(HF_CONTIGFREE) | FUZZ_BIT(HF_STACK) |                     \
	    FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_TREE                                                          \
	(FUZZ_BIT(HF_INSERT) | FUZZ_BIT(HF_DELETE) | FUZZ_BIT(HF_REMOVE) |     \
	    FUZZ_BIT(HF_FIXED) | FUZZ_BIT(HF_PROTECT) | FUZZ_BIT(HF_INHERIT) | \
	    FUZZ_BIT(HF_MADVISE) | FUZZ_BIT(HF_FIND) | FUZZ_BIT(HF_ENTRY) |    \
	    FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_SCHED                                                         \
	(FUZZ_BIT(HF_THREAD) | FUZZ_BIT(HF_LOCK) | FUZZ_BIT(HF_INSERT) |       \
	    FUZZ_BIT(HF_FIND) | FUZZ_BIT(HF_FIXED) | FUZZ_BIT(HF_FINDSPACE) |  \
	    FUZZ_BIT(HF_REMOVE) | FUZZ_BIT(HF_PROTECT) |                       \
	    FUZZ_BIT(HF_INHERIT) | FUZZ_BIT(HF_LOOKUP) | FUZZ_BIT(HF_ENTRY) |  \
	    FUZZ_BIT(HF_CHECK_PROTECTION) | FUZZ_BIT(HF_FORK))

#define FUZZ_OPS_PHYS                                                          \
	(FUZZ_BIT(HF_THREAD) | FUZZ_BIT(HF_SEG) | FUZZ_BIT(HF_UNSEG) |         \
	    FUZZ_BIT(HF_CONTIG) | FUZZ_BIT(HF_CONTIGFREE) |                    \
	    FUZZ_BIT(HF_PHYS) | FUZZ_BIT(HF_GIVE) | FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_RELATE                                                        \
	(FUZZ_BIT(HF_INSERT) | FUZZ_BIT(HF_FIND) | FUZZ_BIT(HF_REMOVE) |       \
	    FUZZ_BIT(HF_PROTECT) | FUZZ_BIT(HF_INHERIT) |                      \
	    FUZZ_BIT(HF_MADVISE) | FUZZ_BIT(HF_WIRE) | FUZZ_BIT(HF_UNWIRE))

#define FUZZ_OPS_CONTIG                                                        \
	(FUZZ_BIT(HF_SEG) | FUZZ_BIT(HF_UNSEG) | FUZZ_BIT(HF_CONTIG) |         \
	    FUZZ_BIT(HF_CONTIGFREE) | FUZZ_BIT(HF_PHYS) | FUZZ_BIT(HF_TAKE) |  \
	    FUZZ_BIT(HF_GIVE) | FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_RUNS                                                          \
	(FUZZ_BIT(HF_SEG) | FUZZ_BIT(HF_UNSEG) | FUZZ_BIT(HF_TAKE) |           \
	    FUZZ_BIT(HF_GIVE) | FUZZ_BIT(HF_MADVISE) | FUZZ_BIT(HF_INHERIT) |  \
	    FUZZ_BIT(HF_THREAD) | FUZZ_BIT(HF_CONTIG) |                        \
	    FUZZ_BIT(HF_CONTIGFREE) | FUZZ_BIT(HF_PHYS) | FUZZ_BIT(HF_INJECT))

#define FUZZ_OPS_CALLS                                                         \
	(FUZZ_OPS_MAP | FUZZ_BIT(HF_SUBMAP) | FUZZ_BIT(HF_TOUCH) |             \
	    FUZZ_BIT(HF_LOCK))
