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

#include "core/kassert.h"
#include "core/vm_phys_int.h"

#define RT_NO_START UINT64_MAX

/* Bit i: lane i, which is all ones or all zeroes, is not 0. */
static inline unsigned
lanes_mask(rt_lanes lanes)
{
	static const rt_lanes bits = {1, 2, 4, 8, 16, 32, 64, 128};
	uint64_t words[2];

	lanes &= bits;
	memcpy(words, &lanes, sizeof(words));
	words[0] |= words[1];
	words[0] |= words[0] >> 32;
	return (unsigned)(words[0] | words[0] >> 16) & 0xff;
}

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
	unsigned eights = 0, n;

	static_assert(RT_FAN % 8 == 0 && RT_LEAF % 8 == 0, "whole eights");

	RT_UNROLL
	for (unsigned i = 7; i + 8 < nkeys; i += 8)
		eights += keys[i] <= pa;
	n = 8 * eights;
	RT_UNROLL
	for (unsigned i = 0; i < 8; i++)
		n += keys[8 * eights + i] <= pa;
	return n;
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

/* Which of eight bytes, all below 128, are `byte`: their high bits. */
static inline uint64_t
bytes_equal(const uint8_t *bytes, unsigned byte)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	word ^= ones * byte;
	return ~(word + ones * 0x7f) & ones * 0x80;
}

/* Has the leaf a run of the class? */
static inline bool
leaf_has_class(const struct rt_leaf *leaf, unsigned cls)
{
	uint64_t some = 0;

	static_assert(RT_LEAF % 8 == 0, "eight classes at a time");
	for (unsigned i = 0; i < RT_LEAF; i += 8)
		some |= bytes_equal(&leaf->cls[i], cls);
	return some != 0;
}

/* Longest measures: of a leaf, exact; of an inner node, from its slots. */
int16_t leaf_longest(const struct rt_leaf *leaf, unsigned level);
int16_t inner_longest(const struct rt_inner *inner, unsigned level);

/* The measures of one run at all levels. */
void leaf_measures(const struct rt_leaf *leaf, unsigned i,
    rt_lanes max[RT_ROW]);

static inline uint32_t *
inner_having(struct rt_inner *inner, unsigned cls)
{
	return (uint32_t *)inner->having + cls;
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
