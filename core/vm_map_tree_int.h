/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The entry tree: a B+-tree of ranges that knows its gaps.
 *
 * Leaves hold the entries in address order with their bounds beside them; a
 * gap belongs to the entry in front of it, and slot 0 of the first leaf is a
 * header of no length at the map's minimum, which owns the first gap.  Each
 * child of an index node has the first address in it and, for each of three
 * alignments, the most pages that one of its gaps can hold at that alignment:
 * so the lowest fit is one descent, aligned or not.
 *
 * The owner locks.  Edits allocate nothing that vm_tree_reserve() has not set
 * aside, and cannot fail; searches write nothing but the cursor.
 * Design: docs/design/vm_map.md, tags [tree.*].
 */

#include <assert.h>
#include <stddef.h>

#include "core/kassert.h"
#include "core/uma.h"
#include "core/vm.h"

#define VM_LEAF_FANOUT  32 /* a multiple of 8, up to 32 */
#define VM_NODE_FANOUT  64 /* a multiple of 16, up to 64 */
#define VM_NODE_PIVOTS  (VM_NODE_FANOUT / 8)
#define VM_LEAF_MINFILL (VM_LEAF_FANOUT / 4) /* of all but the last */
#define VM_NODE_MINFILL (VM_NODE_FANOUT / 4) /* of all but the root */
#define VM_TREE_ALIGNS  3  /* page, smaller superpage, larger superpage */
#define VM_TREE_DEPTH   10 /* index levels; 8^11 entries at the least */

/*
 * Starts are kept in pages from `base`, modulo 2^32, and an entry's address and
 * length share a word: seven cache lines a leaf, of which a lookup reads four.
 * A leaf whose entries reach further than 2^32 pages is wide: its starts are
 * still right modulo 2^32, but whoever needs them whole or compares them asks
 * the entries.  A leaf is far if some length does not fit its word; whoever
 * needs that asks the entry.
 */
struct vm_leaf {
	vm_offset_t base;  /* at or below the first start; page aligned */
	vm_offset_t limit; /* where the next leaf begins, or the map ends */
	uint32_t count;
	uint8_t pageshift;
	bool wide, far;
	uint32_t start[VM_LEAF_FANOUT] __attribute__((aligned(64)));
	uint64_t item[VM_LEAF_FANOUT]; /* vm_leaf_item(); 0: the header */
} __attribute__((aligned(64)));

static_assert(sizeof(struct vm_leaf) == 448, "seven lines");

/* The low bits of an item: pages; all ones: at least so many. */
#define VM_ITEM_SHIFT 22
#define VM_ITEM_FAR   (((uint64_t)1 << (VM_ITEM_SHIFT - 1)) - 1)
/* The bit above: the entry is bare, see struct vm_map_entry. */
#define VM_ITEM_BARE  (VM_ITEM_FAR + 1)
/* An entry's address has 48 bits, and the low 6 are 0. */
#define VM_ITEM_ALIGN 6
#define VM_ITEM_LIFT  (VM_ITEM_SHIFT - VM_ITEM_ALIGN)

/*
 * Slots from `count` on have a key that is above every address, and no room,
 * so that no search has to ask how many there are.
 */
struct vm_node {
	vm_offset_t pivot[VM_NODE_PIVOTS]; /* every eighth key, in one line */
	vm_offset_t key[VM_NODE_FANOUT];   /* start of the first entry below */
	/* most pages one gap below can hold at each alignment, saturated */
	uint32_t fit[VM_TREE_ALIGNS][VM_NODE_FANOUT];
	void *child[VM_NODE_FANOUT]; /* level 1: vm_leaf; above: vm_node */
	uint32_t count;
} __attribute__((aligned(64)));

/*
 * One column of vm_node.fit, as a register.  The last lane repeats the first.
 * Pages beyond VM_FIT_MAX count as that many, so that signed comparisons do.
 */
#define VM_FIT_MAX   0x3fffffff
#define VM_FIT_LANES 4
typedef int32_t vm_lanes __attribute__((vector_size(4 * VM_FIT_LANES)));

struct vm_fit {
	vm_lanes pages;
};

/*
 * A place in the tree; any edit but through it makes it stale.  node[0] is the
 * leaf's parent, and at[] the slots that lead down.
 */
struct vm_cursor {
	struct vm_leaf *leaf;
	struct vm_node *node[VM_TREE_DEPTH];
	unsigned at[VM_TREE_DEPTH];
	unsigned slot; /* in the leaf */
};

#define VM_TREE_NOWHERE UINT64_MAX /* no page begins or ends there */

struct vm_tree {
	void *root;      /* a vm_leaf when height is 0, else a vm_node */
	unsigned height; /* index levels above the leaves */
	unsigned pageshift;
	vm_offset_t min, max;
	vm_size_t align[VM_TREE_ALIGNS]; /* bytes; ascending; [0] is a page */
	vm_lanes pad;                    /* the same in pages, less one */
	uint64_t count;                  /* entries; the header is none */
	/* where the last insert was that might be followed by the next */
	struct vm_cursor finger;
	vm_offset_t finger_end; /* of the entry there; VM_TREE_NOWHERE: none */
	const struct vm_tree_isa *isa;
	struct uma_zone leaves, nodes;
};

/* A gap that can hold `length` bytes at an address congruent to `phase`. */
struct vm_gap_req {
	vm_offset_t start; /* lowest address, in [min, max) */
	vm_size_t length;  /* bytes, > 0 */
	vm_size_t align;   /* power of two, at least a page */
	vm_offset_t phase; /* bytes, below align */
};

/* What a leaf has of one entry. */
struct vm_leaf_slot {
	uint32_t start;
	uint64_t item;
};

/* One entry that becomes three, the first of which starts where it did. */
struct vm_leaf_cut {
	uint32_t start[2]; /* of the second and the third */
	uint64_t item[3];
};

/* The searches, compiled for one instruction set.  See vm_map_search.c. */
struct vm_tree_isa {
	const char *name; /* "plain", "avx2", "avx512" */
	void (*seek)(const struct vm_tree *tree, vm_offset_t addr,
	    struct vm_cursor *cur);
	/* seek() without a cursor: does the entry hold `addr`? */
	bool (*lookup)(const struct vm_tree *tree, vm_offset_t addr,
	    struct vm_map_entry **entryp);
	bool (*fit)(const struct vm_tree *tree, const struct vm_gap_req *req,
	    unsigned column, struct vm_cursor *cur, vm_offset_t *addrp);
	/* vm_tree_insert(), where the leaf has a free slot */
	void (*insert)(struct vm_tree *tree, struct vm_cursor *cur,
	    struct vm_map_entry *entry);
	/* take out what is not in slot 0; the leaf may be too small then */
	void (*remove)(struct vm_tree *tree, struct vm_cursor *cur);
	/*
	 * store the column of the cursor's child at `level` - 1 in its parent,
	 * and carry the change up as far as it shows
	 */
	void (*column_update)(struct vm_cursor *cur, unsigned level,
	    unsigned height, struct vm_fit fit);
	/* the largest fits of a leaf, and of an index node */
	struct vm_fit (
	    *leaf_fit)(const struct vm_tree *tree, const struct vm_leaf *leaf);
	struct vm_fit (*node_fit)(const struct vm_node *node, unsigned slot,
	    struct vm_fit);
	/* move the slots from one on up and fill it; move those behind down */
	void (*leaf_open)(struct vm_leaf *leaf, unsigned slot,
	    struct vm_leaf_slot with);
	void (*leaf_close)(struct vm_leaf *leaf, unsigned slot);
	/* make three slots of one; make one of it and `n` behind */
	void (*leaf_cut)(struct vm_leaf *leaf, unsigned slot,
	    const struct vm_leaf_cut *cut);
	void (*leaf_join)(struct vm_leaf *leaf, unsigned slot, unsigned n,
	    uint64_t item);
};

/*
 * Nodes and leaves that this thread's searches have looked at; counted with
 * VM_INVARIANTS=2 only.  Whoever asks sets it to 0 first.
 */
extern _Thread_local uint64_t vm_tree_visits;
#define VM_TREE_VISIT() ((void)(VM_INVARIANTS >= 2 && ++vm_tree_visits != 0))

/* The fastest that this processor has; `name`: that one, or NULL. */
const struct vm_tree_isa *vm_tree_isa_best(void);
const struct vm_tree_isa *vm_tree_isa_find(const char *name);

/*
 * Make an empty tree over [min, max), which are multiples of the page size.
 * `align`: three ascending powers of two, the first of them the page size.
 * KERN_RESOURCE_SHORTAGE: no memory.
 */
int vm_tree_init(struct vm_tree *tree, const struct arch *arch, vm_offset_t min,
    vm_offset_t max, const vm_size_t align[VM_TREE_ALIGNS]);
void vm_tree_fini(struct vm_tree *tree);

/* Set aside what `n` inserts can need.  KERN_RESOURCE_SHORTAGE. */
int vm_tree_reserve(struct vm_tree *tree, unsigned n);

/* Is there enough for one insert, and nobody who would fail it? */
static inline bool
vm_tree_has_reserve(const struct vm_tree *tree)
{
	return tree->leaves.uz_nfree > 0 &&
	       tree->nodes.uz_nfree > tree->height &&
	       tree->leaves.uz_arch->ops->inject == NULL;
}

/* The same for `n` inserts in ascending order at the end. */
int vm_tree_reserve_append(struct vm_tree *tree, uint64_t n);

/* The last entry that starts at or below `addr`, or the header. */
static inline void
vm_tree_seek(const struct vm_tree *tree, vm_offset_t addr,
    struct vm_cursor *cur)
{
	tree->isa->seek(tree, addr, cur);
}

/* vm_tree_fit() in the gap behind the finger, where the search begins. */
bool vm_tree_fit_finger(const struct vm_tree *tree,
    const struct vm_gap_req *req, struct vm_cursor *cur, vm_offset_t *addrp);

/*
 * The lowest address that satisfies `req`; the cursor is then at the entry in
 * front of the gap, ready for vm_tree_insert().  false: there is none.
 */
static inline bool
vm_tree_fit(const struct vm_tree *tree, const struct vm_gap_req *req,
    struct vm_cursor *cur, vm_offset_t *addrp)
{
	unsigned column = 0;

	MPASS(req->start >= tree->min && req->start < tree->max);
	MPASS(req->length > 0);
	MPASS((req->align & (req->align - 1)) == 0);
	MPASS(req->align >= tree->align[0] && req->phase < req->align);

	if (req->start == tree->finger_end &&
	    vm_tree_fit_finger(tree, req, cur, addrp))
		return true;
	/* The strictest column that the request implies. */
	while (column + 1 < VM_TREE_ALIGNS &&
	       tree->align[column + 1] <= req->align &&
	       (req->phase & (tree->align[column + 1] - 1)) == 0)
		column++;
	return tree->isa->fit(tree, req, column, cur, addrp);
}

/* Step; false at either end of the tree, the cursor then stays. */
bool vm_tree_next(const struct vm_tree *tree, struct vm_cursor *cur);
bool vm_tree_prev(const struct vm_tree *tree, struct vm_cursor *cur);

/* Split the full leaf at the cursor; the cursor stays at its entry. */
void vm_tree_split_leaf(struct vm_tree *tree, struct vm_cursor *cur);

/* Put `entry` into the gap behind the cursor, and move the cursor to it. */
static inline void
vm_tree_insert(struct vm_tree *tree, struct vm_cursor *cur,
    struct vm_map_entry *entry)
{
	tree->finger_end = VM_TREE_NOWHERE;
	if (__builtin_expect(cur->leaf->count == VM_LEAF_FANOUT, 0))
		vm_tree_split_leaf(tree, cur);
	tree->isa->insert(tree, cur, entry);
}

/* Take out the entry at the cursor, and move the cursor in front of it. */
void vm_tree_remove(struct vm_tree *tree, struct vm_cursor *cur);

/* Give the entry at the cursor other bounds; its neighbours stay. */
void vm_tree_resize(struct vm_tree *tree, struct vm_cursor *cur,
    vm_offset_t start, vm_offset_t end);

/*
 * Cut the entry at the cursor in two at `addr`: `lower` and `upper`, one of
 * which is the entry itself, get the parts.  The cursor is then at the lower.
 * One insert of the reserve.
 */
void vm_tree_split(struct vm_tree *tree, struct vm_cursor *cur,
    vm_offset_t addr, struct vm_map_entry *lower, struct vm_map_entry *upper);

/*
 * Cut [start, end) out of the middle of the entry at the cursor, which keeps
 * that part; `lower` and `upper` get the others.  The cursor stays with it.
 * Two inserts of the reserve.
 */
void vm_tree_carve(struct vm_tree *tree, struct vm_cursor *cur,
    vm_offset_t start, vm_offset_t end, struct vm_map_entry *lower,
    struct vm_map_entry *upper);

/*
 * Let the entry at the cursor take over the range of the one in front of it,
 * which it touches and which leaves the tree.
 */
void vm_tree_merge(struct vm_tree *tree, struct vm_cursor *cur);

/*
 * Let the entry behind the cursor, in the same leaf, take over the ranges of
 * the two in front of it, also there, which touch it and leave the tree.  The
 * cursor is then at what is left.
 */
void vm_tree_heal(struct vm_tree *tree, struct vm_cursor *cur);

/* NULL, or the tag and text of the first broken invariant. */
const char *vm_tree_check(const struct vm_tree *tree);

/* Bytes of metadata that the tree holds, used or not. */
size_t vm_tree_bytes(const struct vm_tree *tree);

/* What vm_leaf_start() and vm_leaf_end() do where the leaf does not know. */
vm_offset_t vm_leaf_start_wide(const struct vm_leaf *leaf, unsigned slot);
vm_offset_t vm_leaf_end_wide(const struct vm_leaf *leaf, unsigned slot);

/* The entry in a slot; NULL: the header. */
static inline struct vm_map_entry *
vm_leaf_entry(const struct vm_leaf *leaf, unsigned slot)
{
	return (
	    struct vm_map_entry *)(uintptr_t)(leaf->item[slot] >>
					      VM_ITEM_SHIFT << VM_ITEM_ALIGN);
}

/* The entry at the cursor; NULL: the header. */
static inline struct vm_map_entry *
vm_cursor_entry(const struct vm_cursor *cur)
{
	return vm_leaf_entry(cur->leaf, cur->slot);
}

/* Can the entry in a slot be removed without a look at it? */
static inline bool
vm_leaf_is_bare(const struct vm_leaf *leaf, unsigned slot)
{
	return (leaf->item[slot] & VM_ITEM_BARE) != 0;
}

/* The bounds of the entry in a slot, or of the header. */
static inline vm_offset_t
vm_leaf_start(const struct vm_leaf *leaf, unsigned slot)
{
	if (__builtin_expect(leaf->wide, 0))
		return vm_leaf_start_wide(leaf, slot);
	return leaf->base + ((vm_offset_t)leaf->start[slot] << leaf->pageshift);
}

static inline vm_offset_t
vm_leaf_end(const struct vm_leaf *leaf, unsigned slot)
{
	vm_offset_t pages = leaf->item[slot] & VM_ITEM_FAR;

	if (__builtin_expect(leaf->wide || pages == VM_ITEM_FAR, 0))
		return vm_leaf_end_wide(leaf, slot);
	return leaf->base + ((leaf->start[slot] + pages) << leaf->pageshift);
}

/* Where the gap behind a slot ends. */
static inline vm_offset_t
vm_leaf_gap_end(const struct vm_leaf *leaf, unsigned slot)
{
	return slot + 1 < leaf->count ? vm_leaf_start(leaf, slot + 1)
				      : leaf->limit;
}

/* The gap behind the cursor is [gap_start, gap_end). */
static inline vm_offset_t
vm_cursor_gap_start(const struct vm_cursor *cur)
{
	return vm_leaf_end(cur->leaf, cur->slot);
}

static inline vm_offset_t
vm_cursor_gap_end(const struct vm_cursor *cur)
{
	return vm_leaf_gap_end(cur->leaf, cur->slot);
}

/* Bytes that [start, end) can hold behind the first address that fits. */
static inline vm_size_t
vm_gap_usable(vm_offset_t start, vm_offset_t end, vm_size_t align,
    vm_offset_t phase)
{
	vm_size_t pad = (phase - start) & (align - 1);

	return end - start > pad ? end - start - pad : 0;
}

/* Lanes of `x` where `mask` is all ones, of `y` where it is 0. */
static inline vm_lanes
vm_lanes_pick(vm_lanes mask, vm_lanes x, vm_lanes y)
{
	return (mask & x) | (~mask & y);
}

static inline bool
vm_lanes_any(vm_lanes mask)
{
	typedef uint64_t halves __attribute__((vector_size(16)));
	halves both = (halves)mask;

	return (both[0] | both[1]) != 0;
}

static inline struct vm_fit
vm_fit_max(struct vm_fit x, struct vm_fit y)
{
	return (struct vm_fit){
	    vm_lanes_pick(x.pages > y.pages, x.pages, y.pages)};
}

/* The same number in every lane, saturated. */
static inline struct vm_fit
vm_fit_all(uint64_t pages)
{
	int32_t n = pages < VM_FIT_MAX ? (int32_t)pages : VM_FIT_MAX;

	return (struct vm_fit){{n, n, n, n}};
}

/* The column of one gap. */
static inline struct vm_fit
vm_gap_fit(const struct vm_tree *tree, vm_offset_t start, vm_offset_t end)
{
	uint64_t pages = (end - start) >> tree->pageshift;
	int32_t gap = pages < INT32_MAX ? (int32_t)pages : INT32_MAX;
	int32_t neg = (int32_t)(0 - (uint32_t)(start >> tree->pageshift));
	vm_lanes pad = (vm_lanes){neg, neg, neg, neg} & tree->pad, room;

	MPASS(start <= end);

	/* Saturated last: a gap that grows must never seem smaller. */
	room = (vm_lanes){gap, gap, gap, gap} - pad;
	room &= ~(room >> 31);
	return (struct vm_fit){vm_lanes_pick(room > VM_FIT_MAX,
	    vm_fit_all(VM_FIT_MAX).pages, room)};
}

static inline struct vm_fit
vm_column_get(const struct vm_node *node, unsigned slot)
{
	int32_t page = (int32_t)node->fit[0][slot];

	MPASS(slot < node->count);

	return (struct vm_fit){{page, (int32_t)node->fit[1][slot],
	    (int32_t)node->fit[2][slot], page}};
}

static inline void
vm_column_set(struct vm_node *node, unsigned slot, struct vm_fit fit)
{
	MPASS(slot < node->count);

	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		node->fit[a][slot] = (uint32_t)fit.pages[a];
}

/* Bounds to pages of a leaf, modulo 2^32. */
static inline uint32_t
vm_leaf_page(const struct vm_leaf *leaf, vm_offset_t addr)
{
	return (uint32_t)((addr - leaf->base) >> leaf->pageshift);
}

/* The leaf ends at `end`; does that need more than 32 bits? */
static inline bool
vm_leaf_reaches(const struct vm_leaf *leaf, vm_offset_t end)
{
	MPASS(end >= leaf->base);

	return (end - leaf->base) >> leaf->pageshift > UINT32_MAX;
}

static inline bool
vm_item_is_far(uint64_t item)
{
	return (item & VM_ITEM_FAR) == VM_ITEM_FAR;
}

/* A wide or far leaf lost something: perhaps it is not so any more. */
void vm_leaf_narrow_slow(struct vm_leaf *leaf);

static inline void
vm_leaf_narrow(struct vm_leaf *leaf)
{
	if (__builtin_expect(leaf->wide || leaf->far, 0))
		vm_leaf_narrow_slow(leaf);
}

/* The last edit went through the finger: it stays until the next. */
static inline void
vm_tree_point(struct vm_tree *tree)
{
	tree->finger_end = vm_leaf_end(tree->finger.leaf, tree->finger.slot);
}
