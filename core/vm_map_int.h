/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The map inside: its structures, and what its source files share.
 *
 * Lock legend: (c) constant after creation, (m) the map's lock, (a) atomic.
 */

#include <assert.h>

#include "core/kassert.h"
#include "core/lock.h"
#include "core/vm_map.h"
#include "core/vm_map_tree_int.h"
#include "core/vm_object_int.h"

/* One cache line, so that a million of them are a million misses, not two. */
struct vm_map_entry {
	vm_offset_t start, end; /* (m) [start, end) */
	union {
		vm_object_t vm_object; /* (m) NULL: none yet */
		vm_map_t sub_map;      /* (m) with MAP_ENTRY_IS_SUB_MAP */
	} object;
	vm_ooffset_t offset; /* (m) bytes into the object */
	union {
		struct vm_map_entry *next_dead; /* (m) on map->dead */
		vm_size_t guard; /* (m) stack gap: bytes never to grow into */
	};
	uint32_t eflags;             /* (m) MAP_ENTRY_* */
	int wired_count;             /* (m) system wirings + (user ? 1 : 0) */
	vm_prot_t protection;        /* (m) */
	vm_prot_t max_protection;    /* (m) */
	vm_prot_t gap_prot, gap_max; /* (m) stack gap: rights of what grows */
	vm_inherit_t inheritance;    /* (m) */
	bool cred;    /* (m) the map's account holds end - start for it */
	bool pending; /* (m) charged by the call that is going on */
	bool bare;    /* (m) vm_entry_is_bare(), and its leaf knows it */
} __attribute__((aligned(64)));
static_assert(sizeof(struct vm_map_entry) == 64, "an entry is a cache line");

/*
 * Nothing but the entry itself goes when this one does, and nobody can mind: no
 * object, no charge, no wiring, no guard.  What is entered like that is `bare`
 * until vm_map_entry_burden(): its leaf says so, and it is removed unread.
 */
static inline bool
vm_entry_is_bare(const struct vm_map_entry *entry)
{
	return entry->object.vm_object == NULL && !entry->cred &&
	       entry->wired_count == 0 &&
	       (entry->eflags & MAP_ENTRY_GUARD) == 0;
}

/* An entry, and what its leaf says of it.  The header is NULL. */
static inline uint64_t
vm_leaf_item(const struct vm_leaf *leaf, vm_offset_t start, vm_offset_t end,
    const struct vm_map_entry *entry)
{
	uint64_t pages = (end - start) >> leaf->pageshift;
	uint64_t addr = (uintptr_t)entry;
	uint64_t bare = entry != NULL && entry->bare ? VM_ITEM_BARE : 0;

	MPASS(addr >> 48 == 0 && (addr & 63) == 0);

	return addr << VM_ITEM_LIFT | bare |
	       (pages < VM_ITEM_FAR ? pages : VM_ITEM_FAR);
}

/* Store bounds and entry in a slot; entries in front stay where they are. */
static inline void
vm_leaf_put(struct vm_leaf *leaf, unsigned slot, vm_offset_t start,
    vm_offset_t end, const struct vm_map_entry *entry)
{
	MPASS(slot < leaf->count && leaf->base <= start && start <= end);

	leaf->start[slot] = vm_leaf_page(leaf, start);
	leaf->item[slot] = vm_leaf_item(leaf, start, end, entry);
	leaf->wide |= vm_leaf_reaches(leaf, end);
	leaf->far |= vm_item_is_far(leaf->item[slot]);
}

struct vm_map {
	struct vm_rwlock lock;   /* rank VM_RANK_MAP */
	struct vm_tree tree;     /* (m) */
	struct uma_zone entries; /* (m) */
	pmap_t pmap;             /* (c) */
	vm_size_t pagesize;      /* (c) bytes */
	uint64_t timestamp;      /* (m) */
	vm_size_t size;          /* (m) bytes in entries that are no guards */
	vm_size_t user_wired;    /* (m) bytes in entries with USER_WIRED */
	uint32_t flags;          /* (m) MAP_* */
	bool unmerged;           /* (m) since a fork neighbours may be alike */
	vm_offset_t anon_loc; /* (m) where anonymous mappings cluster; 0: no */
	struct vm_map_limits limits; /* (m) */
	struct vm_account *account;  /* (c) one reference */
	struct vm_pager *pager;      /* (m) borrowed; NULL: no frames */
	struct vm_map_entry *dead;   /* (m) left the map; freed at unlock */
	vm_object_t dead_objects;    /* (m) collapsed; freed after unlock */
	uint64_t updates;            /* (m) edits since vm_map_check() ran */
	uint64_t (*random)(void *arg, uint64_t bound); /* (m) NULL: no ASLR */
	void *random_arg;
};

/* What a new entry is made from. */
struct vm_map_new {
	vm_object_t object;
	vm_ooffset_t offset;
	vm_offset_t start, end;
	vm_prot_t prot, max;
	int cow;
};

static inline bool
entry_is_guard(const struct vm_map_entry *entry)
{
	return (entry->eflags & MAP_ENTRY_GUARD) != 0;
}

static inline vm_size_t
entry_size(const struct vm_map_entry *entry)
{
	return entry->end - entry->start;
}

static inline int
entry_system_wired(const struct vm_map_entry *entry)
{
	return entry->wired_count -
	       ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0 ? 1 : 0);
}

/* Somebody pays for writing to it: the entry, or the object that it shows. */
static inline bool
entry_is_charged(const struct vm_map_entry *entry)
{
	return entry->cred ||
	       ((entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
		   vm_object_cred(entry->object.vm_object) != NULL);
}

/* vm_map.c */

#define vm_map_assert_wlocked(map)                                             \
	KASSERT(vm_rwlock_is_wlocked(&(map)->lock), "the map is not locked")
#define vm_map_assert_locked(map)                                              \
	KASSERT(vm_rwlock_is_locked(&(map)->lock), "the map is not locked")

/*
 * The cursor to the entry that holds `addr`, and that entry; or NULL, and the
 * cursor to the entry, or header, in front of `addr`.
 */
static inline struct vm_map_entry *
vm_map_seek(vm_map_t map, vm_offset_t addr, struct vm_cursor *cur)
{
	vm_map_assert_locked(map);
	MPASS(addr >= map->tree.min);

	vm_tree_seek(&map->tree, addr, cur);
	return addr < vm_cursor_gap_start(cur) ? vm_cursor_entry(cur) : NULL;
}

/* Step to the next entry; NULL: the last. */
static inline struct vm_map_entry *
vm_map_next(vm_map_t map, struct vm_cursor *cur)
{
	vm_map_assert_locked(map);

	return vm_tree_next(&map->tree, cur) ? vm_cursor_entry(cur) : NULL;
}

/* Step to the entry in front; NULL: there is none.  Not from the header. */
static inline struct vm_map_entry *
vm_map_prev(vm_map_t map, struct vm_cursor *cur)
{
	bool moved = vm_tree_prev(&map->tree, cur);

	MPASS(moved); /* at least to the header */
	return vm_cursor_entry(cur);
}

/* As seek, but what begins behind `addr` will do; NULL: nothing is behind. */
static inline struct vm_map_entry *
vm_map_seek_next(vm_map_t map, vm_offset_t addr, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_map_seek(map, addr, cur);

	return entry != NULL ? entry : vm_map_next(map, cur);
}

/*
 * FreeBSD's clamp: cut [start, end) to the map.  What is not in it becomes
 * empty, and may then lie below the map.
 */
static inline void
vm_map_clamp(vm_map_t map, vm_offset_t *startp, vm_offset_t *endp)
{
	*startp = MAX(*startp, map->tree.min);
	*endp = MIN(*endp, map->tree.max);
	*startp = MIN(*startp, *endp);
}

void vm_map_set_limits_locked(vm_map_t map, const struct vm_map_limits *limits);

/*
 * Reserve swap within the limits of the map.  false: it would exceed them.
 * What is reserved is given back with vm_account_release(map->account, ...).
 */
bool vm_map_swap_reserve(vm_map_t map, vm_size_t bytes);

/* Tell the mirror of the map, if there is one. */
void vm_map_pmap_removed(vm_map_t map, vm_offset_t start, vm_offset_t end);
void vm_map_pmap_protected(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot);
void vm_map_pmap_enter(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot);

static inline void
vm_map_pmap_remove(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	MPASS(start < end);

	if (map->pmap->hooks != NULL)
		vm_map_pmap_removed(map, start, end);
}

static inline void
vm_map_pmap_protect(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	MPASS(start < end);

	if (map->pmap->hooks != NULL)
		vm_map_pmap_protected(map, start, end, prot);
}

/* vm_map_range.c */

/*
 * The entry, which is in the map, is about to get an object, a charge or a
 * wiring: let its leaf know that it has to be looked at from now on.
 */
void vm_map_entry_burden_slow(vm_map_t map, struct vm_map_entry *entry);

static inline void
vm_map_entry_burden(vm_map_t map, struct vm_map_entry *entry)
{
	if (entry->bare)
		vm_map_entry_burden_slow(map, entry);
}

/* An entry with one of these never merges with the one in front of it. */
#define MAP_ENTRY_NOMERGE                                                      \
	(MAP_ENTRY_GROWS_DOWN | MAP_ENTRY_IN_TRANSITION |                      \
	    MAP_ENTRY_IS_SUB_MAP | MAP_ENTRY_VN_EXEC | MAP_ENTRY_STACK_GAP)

/*
 * Set aside what `n` new entries need.  `net` of them will stay: that many
 * must be within the limit.  KERN_RESOURCE_SHORTAGE.
 */
int vm_map_reserve(vm_map_t map, unsigned n, unsigned net);

/* The same for one entry that replaces none, whatever the limit. */
static inline int
vm_map_reserve_one(vm_map_t map)
{
	if (map->entries.uz_nfree > 0 && vm_tree_has_reserve(&map->tree))
		return KERN_SUCCESS;
	return vm_map_reserve(map, 1, 0);
}

/* The entry may only be cut at multiples of this; 1: anywhere. */
vm_size_t vm_map_entry_grain(vm_map_t map, const struct vm_map_entry *entry);

/* Will cutting this entry give it an object, and its charge to that? */
bool vm_map_clip_backs(vm_map_t map, const struct vm_map_entry *entry);

/*
 * Cut the entry at the cursor, if `addr` lies strictly inside it.  Entry and
 * object come out of the reserve.  clip_start: the cursor and the entry are
 * then the part from `addr` on; clip_end: the part up to `addr`.
 */
void vm_map_clip_start(vm_map_t map, struct vm_cursor *cur, vm_offset_t addr,
    vm_object_t *sparep);
void vm_map_clip_end(vm_map_t map, struct vm_cursor *cur, vm_offset_t addr,
    vm_object_t *sparep);

/*
 * Cut [start, end) out of the middle of the entry at the cursor, which needs
 * no object for that.  The cursor and the entry are then that part.
 */
void vm_map_clip_middle(vm_map_t map, struct vm_cursor *cur, vm_offset_t start,
    vm_offset_t end);

/* Give an entry that has no object one of its own, and its charge to that. */
void vm_map_entry_back(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep);

/* The entry's charge becomes its object's, which is charged as a whole. */
void vm_map_entry_charge_object(vm_map_t map, struct vm_map_entry *entry);

/* M: may these neighbours be one entry? */
bool vm_map_mergeable(const struct vm_map_entry *prev,
    const struct vm_map_entry *entry);

/* Merge the entry at the cursor with the one in front of it, if they agree. */
bool vm_map_try_merge(vm_map_t map, struct vm_cursor *cur);

/* Try to merge the entry at the cursor with both its neighbours. */
void vm_map_merge_neighbours(vm_map_t map, struct vm_cursor *cur);

static inline void
vm_map_merge_both(vm_map_t map, struct vm_cursor *cur)
{
	MPASS(vm_cursor_entry(cur) != NULL);

	/* What is behind would have to have the same flags. */
	if ((vm_cursor_entry(cur)->eflags & MAP_ENTRY_NOMERGE) == 0)
		vm_map_merge_neighbours(map, cur);
}

/*
 * A range and what is in it.  Edits outside make it stale; clipping and
 * deleting keep it.
 */
struct vm_map_range {
	vm_offset_t start, end;
	struct vm_map_entry *first, *last; /* NULL: nothing is there */
	struct vm_cursor cur;              /* at the first entry */
	bool cut_start; /* the first entry begins in front of the range */
	bool cut_end;   /* the last entry ends behind it */
};

/* Look for what is in [start, end), which is not empty and in the map. */
void vm_map_range_find(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_map_range *range);

/* Walk the entries of a range; the cursor is the walk's own. */
#define VM_MAP_RANGE_FOREACH(map, range, cur, entry)                           \
	for ((entry) = vm_map_range_begin((range), &(cur)); (entry) != NULL;   \
	     (entry) = vm_map_range_next((map), (range), &(cur), (entry)))

static inline struct vm_map_entry *
vm_map_range_begin(const struct vm_map_range *range, struct vm_cursor *cur)
{
	if (range->first != range->last)
		*cur = range->cur;
	return range->first;
}

static inline struct vm_map_entry *
vm_map_range_next(vm_map_t map, const struct vm_map_range *range,
    struct vm_cursor *cur, const struct vm_map_entry *entry)
{
	return entry == range->last ? NULL : vm_map_next(map, cur);
}

/*
 * May the range be cut out of its entries: at its start, at its end, at both?
 * KERN_INVALID_ARGUMENT: no, a split boundary forbids it.  Pure.
 */
int vm_map_range_check_start(vm_map_t map, const struct vm_map_range *range);
int vm_map_range_check_end(vm_map_t map, const struct vm_map_range *range);
int vm_map_range_check(vm_map_t map, const struct vm_map_range *range);

/* How many entries cutting adds. */
unsigned vm_map_range_nclips(const struct vm_map_range *range);

/*
 * Set aside what cutting needs, and `nobjects` objects more.
 * KERN_RESOURCE_SHORTAGE.  reserve_objects: only the objects.
 */
int vm_map_range_reserve(vm_map_t map, const struct vm_map_range *range,
    unsigned nobjects, vm_object_t *sparep);
int vm_map_range_reserve_objects(vm_map_t map, const struct vm_map_range *range,
    unsigned nobjects, vm_object_t *sparep);

/* Cut the range out, from the reserve. */
void vm_map_range_clip(vm_map_t map, struct vm_map_range *range,
    vm_object_t *sparep);

/*
 * Merge what has become alike: each entry of the range with the one in front
 * of it, and the one behind the range too.  The range is stale afterwards.
 */
void vm_map_range_merge(vm_map_t map, struct vm_map_range *range);

/* Put what left the tree on the way to its end. */
void vm_map_entry_retire(vm_map_t map, struct vm_map_entry *entry);

/* vm_map_edit.c */

/* Would vm_map_insert() refuse this, whatever is in the map?  Pure. */
int vm_map_insert_check(vm_map_t map, const struct vm_map_new *ins);

/*
 * Insert what insert_check() passed into the free range behind the cursor.
 * KERN_RESOURCE_SHORTAGE.
 */
int vm_map_insert_at(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins);

/* A1: does this need swap, and reserve it.  KERN_RESOURCE_SHORTAGE. */
bool vm_map_insert_charges(const struct vm_map_new *ins);
int vm_map_insert_charge(vm_map_t map, const struct vm_map_new *ins,
    bool *chargedp);

/* insert_at() when the caller has reserved the entry and, if any, the charge.
 */
void vm_map_insert_commit(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins, bool charged);

/* Is [start, end) free?  Then the cursor is in front of it. */
bool vm_map_is_free(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_cursor *cur);

/* Take the entry at the cursor out of the map; the cursor goes in front. */
void vm_map_entry_delete(vm_map_t map, struct vm_cursor *cur);

/* Remove every entry, wired or not. */
void vm_map_clear(vm_map_t map);

/* The parts of vm_map_delete(): pure, and infallible after a reserve. */
int vm_map_delete_check(vm_map_t map, const struct vm_map_range *range);
int vm_map_delete_reserve(vm_map_t map, const struct vm_map_range *range,
    unsigned ninserts, vm_object_t *sparep);
void vm_map_delete_commit(vm_map_t map, struct vm_map_range *range,
    vm_object_t *sparep);

/*
 * Reserve the charge of `ins`, counting what deleting its range first will
 * give back.  KERN_RESOURCE_SHORTAGE.
 */
int vm_map_replace_charge(vm_map_t map, vm_offset_t start, vm_offset_t end,
    const struct vm_map_new *ins, bool *chargedp);

/* vm_map_stack.c */

/* A stack and the gap below it, as vm_map_stack_layout() lays them out. */
struct vm_map_stack {
	struct vm_map_new stack, gap;
	bool has_gap;
	bool charged;    /* the stack's swap is reserved */
	vm_size_t guard; /* bytes at the bottom of the gap that never grow */
	vm_prot_t prot, max;
};

/*
 * Lay out a stack of at most `max_ssize` bytes from `addrbos` on, with
 * `growsize` bytes to begin with.  Pure; whether it is free is not asked.
 * KERN_INVALID_ADDRESS, KERN_INVALID_ARGUMENT: as vm_map_stack().
 */
int vm_map_stack_layout(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_size_t growsize, vm_prot_t prot, vm_prot_t max, int cow,
    struct vm_map_stack *stackp);

/* Enter it where it is free, from a reserve of two entries. */
void vm_map_stack_commit(vm_map_t map, const struct vm_map_stack *stack);

/* All of it: the codes of vm_map_stack() but for its limit. */
int vm_map_stack_locked(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_size_t growsize, vm_prot_t prot, vm_prot_t max, int cow);

/*
 * Write-locked by the caller.  See vm_map_growstack().  *nomemp: whether it
 * failed for want of metadata.
 */
int vm_map_growstack_locked(vm_map_t map, vm_offset_t addr, bool *nomemp);

/* vm_map_wire.c */

/*
 * User-wire the one entry [start, end), which has just been made, from a
 * reserve of one object; leave it alone if that is refused.
 */
void vm_map_wire_new(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_object_t *sparep);

/* vm_map_protect.c */

/*
 * Copy what a wired entry shows, now rather than at the first write.  Takes an
 * object from the reserve if the entry needs a copy.
 */
void vm_map_entry_copy_wired(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep);

/* vm_map_lookup.c */

/*
 * Does touching the entry change it, taking one object from the reserve; and
 * must its size be reserved in the account before?  `backed`: a clip will
 * first give its charge to an object.
 */
bool vm_map_touch_changes(vm_map_t map, const struct vm_map_entry *entry,
    bool write);
bool vm_map_touch_charges(const struct vm_map_entry *entry, bool write,
    bool backed);
void vm_map_touch_commit(vm_map_t map, struct vm_map_entry *entry, bool write,
    vm_object_t *sparep);

/*
 * The same for an entry that needs a copy and is about to be shared: what is
 * behind it becomes private to the two, without a write.
 */
void vm_map_touch_shared(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep);
