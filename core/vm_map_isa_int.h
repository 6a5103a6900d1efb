/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the searches of the entry tree share, whatever the instruction set:
 * requests in pages, and leaves that do not fit 32 bits.
 *
 * vm_map_search.c has the plain set and chooses one, vm_map_search_x86.c the
 * vectors; vm_map_search_int.h is what each of them is compiled from.
 */

#include <assert.h>
#include <string.h>

#include "core/kassert.h"
#include "core/vm_map_int.h"

static_assert(VM_LEAF_FANOUT == 32,
    "starts of a leaf are two registers, items four");
static_assert(VM_NODE_FANOUT % 16 == 0 && VM_NODE_FANOUT <= 64,
    "an index node is whole registers, and its slots the bits of a word");

/* The sets there are; ask vm_tree_isa_best() for one that will run. */
extern const struct vm_tree_isa vm_tree_isa_plain;
#if defined(__x86_64__)
extern const struct vm_tree_isa vm_tree_isa_avx2, vm_tree_isa_avx512;
#endif

/*
 * Wide and far leaves, by their entries.  slot: the last that starts at or
 * below `addr`; lookup: as vm_tree_isa; gap: the first slot from `from` on
 * whose gap will do, or count; fit: the column without the gap behind `except`.
 */
unsigned vm_leaf_slot_wide(const struct vm_leaf *leaf, vm_offset_t addr);
bool vm_leaf_lookup_wide(const struct vm_leaf *leaf, vm_offset_t addr,
    struct vm_map_entry **entryp);
unsigned vm_leaf_gap_wide(const struct vm_leaf *leaf, unsigned from,
    const struct vm_gap_req *req);
struct vm_fit vm_leaf_fit_wide(const struct vm_tree *tree,
    const struct vm_leaf *leaf, unsigned except);

/* Trees of more entries than this do not stay in the caches near a core. */
#define CACHED_ENTRIES 20000

/*
 * In a tree that is larger than a cache the lines of a leaf are all misses,
 * and independent: ask for all of them before waiting for one.
 */
static inline void
leaf_prefetch(const struct vm_tree *tree, const void *leaf)
{
	if (tree->count > CACHED_ENTRIES)
		for (size_t i = 0; i < sizeof(struct vm_leaf); i += 64)
			__builtin_prefetch((const char *)leaf + i);
}

static inline bool
gap_holds(vm_offset_t start, vm_offset_t end, const struct vm_gap_req *req)
{
	return vm_gap_usable(start, end, req->align, req->phase) >= req->length;
}

/* As `addr`, but below the keys of slots that are not in use. */
static inline vm_offset_t
key_address(vm_offset_t addr)
{
	return MIN(addr, VM_TREE_NOWHERE - 1);
}

/* A request, in pages. */
struct gap_want {
	const struct vm_gap_req *req;
	unsigned column;
	uint32_t promise; /* what the column of a leaf must be at least */
	bool narrow;      /* what follows says all there is to say */
	uint32_t need;    /* pages */
	uint32_t mask;    /* alignment, less one */
	uint32_t phase;
};

static inline struct gap_want
gap_want(const struct vm_tree *tree, const struct vm_gap_req *req,
    unsigned column)
{
	uint64_t pages = ((req->length - 1) >> tree->pageshift) + 1;
	uint64_t align = req->align >> tree->pageshift;

	return (struct gap_want){
	    .req = req,
	    .column = column,
	    .promise = (uint32_t)MIN(pages, VM_FIT_MAX),
	    .narrow = ((pages | align) >> 31) == 0 &&
		      (req->phase & (tree->align[0] - 1)) == 0,
	    .need = (uint32_t)pages,
	    .mask = (uint32_t)(align - 1),
	    .phase = (uint32_t)(req->phase >> tree->pageshift),
	};
}

/* The phase, counted from where the leaf counts. */
static inline uint32_t
leaf_phase(const struct vm_leaf *leaf, uint32_t phase)
{
	return phase - (uint32_t)(leaf->base >> leaf->pageshift);
}

/* Where an entry ends, in the leaf's pages; not for a far one. */
static inline uint32_t
leaf_end_page(const struct vm_leaf *leaf, unsigned slot)
{
	return leaf->start[slot] + (uint32_t)(leaf->item[slot] & VM_ITEM_FAR);
}

/* Columns of a leaf that are known but for the gap behind the last entry. */
static inline struct vm_fit
fit_with_last(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned except, struct vm_fit fit)
{
	if (except == leaf->count - 1)
		return fit;
	return vm_fit_max(fit,
	    vm_gap_fit(tree, vm_leaf_end(leaf, leaf->count - 1), leaf->limit));
}

/* Three maxima of 32 bits to a column. */
static inline struct vm_fit
fit_make(const uint32_t pages[VM_TREE_ALIGNS])
{
	struct vm_fit fit;

	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		fit.pages[a] = (int32_t)MIN(pages[a], VM_FIT_MAX);
	fit.pages[VM_TREE_ALIGNS] = fit.pages[0];
	return fit;
}

/* Edits of a leaf by moving memory, for sets that have nothing better. */

static inline void
leaf_open_plain(struct vm_leaf *leaf, unsigned slot, struct vm_leaf_slot with)
{
	unsigned n = leaf->count - slot;

	MPASS(slot <= leaf->count && leaf->count < VM_LEAF_FANOUT);

	memmove(leaf->start + slot + 1, leaf->start + slot,
	    n * sizeof(leaf->start[0]));
	memmove(leaf->item + slot + 1, leaf->item + slot,
	    n * sizeof(leaf->item[0]));
	leaf->start[slot] = with.start;
	leaf->item[slot] = with.item;
}

static inline void
leaf_close_plain(struct vm_leaf *leaf, unsigned slot)
{
	unsigned n = leaf->count - slot - 1;

	MPASS(slot < leaf->count);

	memmove(leaf->start + slot, leaf->start + slot + 1,
	    n * sizeof(leaf->start[0]));
	memmove(leaf->item + slot, leaf->item + slot + 1,
	    n * sizeof(leaf->item[0]));
}

static inline void
leaf_cut_plain(struct vm_leaf *leaf, unsigned slot,
    const struct vm_leaf_cut *cut)
{
	unsigned n = leaf->count - slot - 1;

	MPASS(slot < leaf->count && leaf->count + 2 <= VM_LEAF_FANOUT);

	memmove(leaf->start + slot + 3, leaf->start + slot + 1,
	    n * sizeof(leaf->start[0]));
	memmove(leaf->item + slot + 3, leaf->item + slot + 1,
	    n * sizeof(leaf->item[0]));
	memcpy(leaf->start + slot + 1, cut->start, sizeof(cut->start));
	memcpy(leaf->item + slot, cut->item, sizeof(cut->item));
}

static inline void
leaf_join_plain(struct vm_leaf *leaf, unsigned slot, unsigned n, uint64_t item)
{
	unsigned rest = leaf->count - slot - n - 1;

	MPASS(slot + n < leaf->count);

	memmove(leaf->start + slot + 1, leaf->start + slot + 1 + n,
	    rest * sizeof(leaf->start[0]));
	memmove(leaf->item + slot + 1, leaf->item + slot + 1 + n,
	    rest * sizeof(leaf->item[0]));
	leaf->item[slot] = item;
}
