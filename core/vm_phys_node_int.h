/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Nodes of run trees, what a tree is built of: runs and slots side by side,
 * measures, summaries, and the store that nodes come from.
 *
 * A leaf's own figures are exact, and so are the classes of every summary.
 * A longest measure is a bound: at least that of the runs below.  Who visits
 * a child in vain lowers it to what it found (core/vm_phys_find.c).
 */

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/kassert.h"
#include "core/vm_phys_int.h"

#define RT_NO_START UINT64_MAX

typedef int8_t rt_bytes __attribute__((vector_size(16)));

/*
 * Bit i: byte i, which is all ones or all zeroes, is not 0.  Each keeps a bit
 * of its own, and the eight of a word fold into one byte.
 */
static inline unsigned
bytes_mask_plain(rt_bytes bytes)
{
	static const rt_bytes bits = {1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8,
	    16, 32, 64, -128};
	uint64_t words[2];

	bytes &= bits;
	memcpy(words, &bytes, sizeof(words));
	for (unsigned i = 0; i < 2; i++)
		words[i] = (words[i] * UINT64_C(0x0101010101010101)) >> 56;
	return (unsigned)(words[0] | words[1] << 8);
}

/* The same for the lanes of `low` and, above them, of `high`. */
static inline unsigned
lanes_mask_plain(rt_lanes low, rt_lanes high)
{
	rt_bytes bytes;

	for (unsigned i = 0; i < 8; i++) {
		bytes[i] = (int8_t)low[i];
		bytes[8 + i] = (int8_t)high[i];
	}
	return bytes_mask_plain(bytes);
}

/* x86-64 has both in an instruction or two. */
#ifdef __SSE2__
static inline unsigned
bytes_mask(rt_bytes bytes)
{
	return (unsigned)_mm_movemask_epi8((__m128i)bytes);
}

static inline unsigned
lanes_mask(rt_lanes low, rt_lanes high)
{
	return (unsigned)_mm_movemask_epi8(
	    _mm_packs_epi16((__m128i)low, (__m128i)high));
}
#else
#define bytes_mask bytes_mask_plain
#define lanes_mask lanes_mask_plain
#endif

static inline bool
lanes_any(rt_lanes lanes)
{
	uint64_t words[2];

	memcpy(words, &lanes, sizeof(words));
	return (words[0] | words[1]) != 0;
}

/* Written lane by lane: both compilers make one instruction of it. */
static inline rt_lanes
lanes_max(rt_lanes a, rt_lanes b)
{
	for (unsigned i = 0; i < 8; i++)
		a[i] = MAX(a[i], b[i]);
	return a;
}

static inline rt_lanes
lanes_min(rt_lanes a, int16_t b)
{
	for (unsigned i = 0; i < 8; i++)
		a[i] = MIN(a[i], b);
	return a;
}

/* Element i of what is stored as lanes. */
static inline int16_t *
lane(rt_lanes *lanes, unsigned i)
{
	return (int16_t *)lanes + i;
}

/*
 * How many of the keys are at most `pa`; unused keys are all ones.  The last
 * key of each eight first, then the eight that it leads to.
 */
static inline unsigned
rt_keys_upto(const vm_paddr_t *keys, unsigned nkeys, vm_paddr_t pa)
{
	const vm_paddr_t *eight;
	unsigned eights = 0, n = 0;

	static_assert(RT_FAN % 8 == 0 && RT_LEAF % 8 == 0, "whole eights");

	RT_UNROLL
	for (unsigned i = 7; i + 8 < nkeys; i += 8)
		eights += keys[i] <= pa;
	eight = keys + 8 * eights;
	RT_UNROLL
	for (unsigned i = 0; i < 8; i++)
		n += eight[i] <= pa;
	return 8 * eights + n;
}

/*
 * Edits touch most of a leaf, and where there is much memory it is far away:
 * let all of it come at once.
 */
static inline void
leaf_prefetch(const struct rt_leaf *leaf)
{
	RT_UNROLL
	for (size_t at = 0; at < sizeof(*leaf); at += 64)
		__builtin_prefetch((const char *)leaf + at);
}

/* The runs of a leaf that are of the class, one bit each. */
static inline uint32_t
leaf_of_class(const struct rt_leaf *leaf, unsigned cls)
{
	const rt_bytes *classes = (const rt_bytes *)leaf->cls;

	static_assert(RT_LEAF == 32, "a bit for each run");
	return bytes_mask(classes[0] == (int8_t)cls) |
	       bytes_mask(classes[1] == (int8_t)cls) << 16;
}

/* Longest measures: of a leaf, exact; of an inner node, from its slots. */
int16_t leaf_longest(const struct rt_leaf *leaf, unsigned level);
int16_t inner_longest(const struct rt_inner *inner, unsigned level);

/* The measures of one run at all levels. */
void leaf_measures(const struct rt_leaf *leaf, unsigned i,
    rt_lanes max[RT_ROW]);

static inline uint64_t *
inner_having(struct rt_inner *inner, unsigned cls)
{
	return (uint64_t *)inner->having + cls;
}

/* What is known of child `at` at a level. */
static inline int16_t *
inner_max(struct rt_inner *inner, unsigned level, unsigned at)
{
	return lane(inner->max[level], at);
}

/* The measures that are known of child `at`, all at once. */
static inline void
slot_max(const struct rt_inner *inner, unsigned at, rt_lanes max[RT_ROW])
{
	const int16_t *known = (const int16_t *)inner->max + at;

	static_assert(RT_LEVELS == 10, "all are named");
#define KNOWN(l) known[(l)*RT_FAN]
	max[0] = (rt_lanes){KNOWN(0), KNOWN(1), KNOWN(2), KNOWN(3), KNOWN(4),
	    KNOWN(5), KNOWN(6), KNOWN(7)};
	max[1] = (rt_lanes){KNOWN(8), KNOWN(9)};
#undef KNOWN
}

static inline void
slot_set_max(struct rt_inner *inner, unsigned at, const rt_lanes max[RT_ROW])
{
	for (unsigned l = 0; l < RT_LEVELS; l++)
		*inner_max(inner, l, at) = max[l / 8][l % 8];
}

/* Bring a node and the one behind it; the store must have what they take. */

struct rt_leaf *leaf_new(struct rt_store *store);
struct rt_inner *inner_new(struct rt_store *store);

/* The run at `pos` and all behind it move up; the leaf has room. */
void leaf_insert(struct rt_leaf *leaf, unsigned pos, vm_paddr_t start,
    vm_paddr_t end, unsigned page_shift);
void leaf_remove(struct rt_leaf *leaf, unsigned pos);

/* A child, and what its parent knows of it. */
struct rt_child {
	void *node; /* NULL: there is none */
	vm_paddr_t first;
	struct rt_sum sum;
};

struct rt_child leaf_as_child(struct rt_leaf *leaf);
struct rt_child inner_as_child(struct rt_inner *inner);

void slot_set(struct rt_inner *inner, unsigned at,
    const struct rt_child *child);
void inner_insert(struct rt_inner *inner, unsigned at,
    const struct rt_child *child);

/* Move the upper half of a full node into a new one. */
struct rt_leaf *leaf_split(struct rt_store *store, struct rt_leaf *leaf);
struct rt_inner *inner_split(struct rt_store *store, struct rt_inner *inner);

/*
 * The child at `at` has too few: join it with a neighbour, or let both have
 * half.  `leaves`: children are leaves.
 */
void inner_fix(struct rt_store *store, struct rt_inner *inner, unsigned at,
    bool leaves);
