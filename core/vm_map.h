/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * vm_map(9): ordered ranges of an address space.
 *
 * A map owns its entries; an entry owns one reference to its object.  Calls
 * lock the map themselves unless they say "write-locked by the caller".
 * Names, codes and order of checks are FreeBSD's (docs/freebsd-names.md lists
 * what differs).  Addresses and lengths are bytes and multiples of the page
 * size; that, and what FreeBSD asserts, is asserted: vm_strict.h has the
 * checks for callers that do not trust their arguments.
 *
 * A failed call changes nothing and leaves its out-parameters untouched.
 * Design: docs/design/vm_map.md.
 */

#include "arch/pmap.h"
#include "core/vm.h"
#include "core/vm_param.h"

/* What a map may use; every map has its own.  0 means no limit. */
struct vm_map_limits {
	vm_size_t vmem;  /* RLIMIT_VMEM: bytes in entries that are no guards */
	vm_size_t stack; /* RLIMIT_STACK: bytes a stack may grow to */
	vm_size_t memlock; /* bytes user-wired */
	vm_size_t swap;    /* bytes reserved (overcommit bit 0) */
	uint64_t nentries; /* entries */
	int overcommit;    /* vm.overcommit: 0 only counts */
	int cluster_anon;  /* vm.cluster_anon: 0 never, 1 no hint, 2 always */
	vm_size_t stack_guard; /* bytes of guard below a stack */
};

/* A copy of one entry, for readers outside core/. */
struct vm_map_entry_info {
	vm_offset_t start, end;
	vm_object_t object; /* borrowed; NULL: none yet */
	vm_ooffset_t offset;
	uint32_t eflags; /* MAP_ENTRY_* */
	vm_prot_t protection, max_protection;
	vm_inherit_t inheritance;
	int wired_count;
	vm_size_t charge; /* bytes this entry has reserved by itself */
};

/*
 * Create an empty map over [min, max).  NULL: no memory.
 * The pmap is borrowed for the life of the map.
 */
vm_map_t vm_map_create(pmap_t pmap, vm_offset_t min, vm_offset_t max);

/* Remove every entry and free the map.  NULL is fine. */
void vm_map_destroy(vm_map_t map);

vm_offset_t vm_map_min(vm_map_t map);
vm_offset_t vm_map_max(vm_map_t map);
pmap_t vm_map_pmap(vm_map_t map);
vm_size_t vm_map_size(vm_map_t map); /* bytes, guards not counted */
uint64_t vm_map_nentries(vm_map_t map);
uint64_t vm_map_timestamp(vm_map_t map); /* +1 at each exclusive lock */
void vm_map_modflags(vm_map_t map, uint32_t set, uint32_t clear);
bool vm_map_range_valid(vm_map_t map, vm_offset_t start, vm_offset_t end);
void vm_map_set_limits(vm_map_t map, const struct vm_map_limits *limits);
void vm_map_get_limits(vm_map_t map, struct vm_map_limits *limits);

bool vm_map_is_system(vm_map_t map);
vm_size_t vm_map_reserved(vm_map_t map);   /* swap charged to it, bytes */
vm_size_t vm_map_user_wired(vm_map_t map); /* bytes */
size_t vm_map_metadata(vm_map_t map);      /* bytes that the map itself takes */

/* Where anonymous mappings cluster; 0: nowhere yet. */
vm_offset_t vm_map_anon_loc(vm_map_t map);
void vm_map_set_anon_loc(vm_map_t map, vm_offset_t addr);

/*
 * The generator of ASLR: next(arg, bound) is in [0, bound).  Without one the
 * map never randomises, whatever its flags.
 */
void vm_map_set_random(vm_map_t map,
    uint64_t (*next)(void *arg, uint64_t bound), void *arg);

/*
 * The lock family.  Exclusive locks add 1 to the time stamp.  Unlocking frees
 * what left the map, and calls release functions of objects without the lock.
 */
void vm_map_lock(vm_map_t map);
void vm_map_unlock(vm_map_t map);
void vm_map_lock_read(vm_map_t map);
void vm_map_unlock_read(vm_map_t map);
bool vm_map_trylock(vm_map_t map);
bool vm_map_trylock_read(vm_map_t map);
bool vm_map_locked(vm_map_t map); /* exclusively, by anybody */

/*
 * Read to write.  0: locked exclusively, and nobody wrote in between.
 * 1: somebody did; the map is not locked at all.
 */
int vm_map_lock_upgrade(vm_map_t map);
void vm_map_lock_downgrade(vm_map_t map); /* write to read, atomically */

/*
 * Find the entry that holds `addr`.  true: *entryp holds it.  false: *entryp
 * is its predecessor, or NULL where there is none.  Read-locked by the caller.
 */
bool vm_map_lookup_entry(vm_map_t map, vm_offset_t addr,
    vm_map_entry_t *entryp);
/* Read-locked by the caller; NULL past either end.  succ(NULL) is the first. */
vm_map_entry_t vm_map_entry_first(vm_map_t map);
vm_map_entry_t vm_map_entry_succ(vm_map_t map, vm_map_entry_t entry);
vm_map_entry_t vm_map_entry_pred(vm_map_t map, vm_map_entry_t entry);
void vm_map_entry_info(vm_map_entry_t entry, struct vm_map_entry_info *infop);

/*
 * Enter [start, end).  The caller's reference to `object` becomes the entry's
 * on success.  Write-locked by the caller.
 * KERN_INVALID_ADDRESS: empty, inverted or outside the map.
 * KERN_PROTECTION_FAILURE: W and X on a W^X map.
 * KERN_NO_SPACE: something is there.
 * KERN_INVALID_ARGUMENT: guard with object or rights; split boundary.
 * KERN_RESOURCE_SHORTAGE: reservation or memory.
 */
int vm_map_insert(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max, int cow);

/*
 * Lowest free address at or above `start` with `length` bytes behind it.
 * 0: found, stored in *addrp.  1: none.  Read-locked by the caller.
 */
int vm_map_findspace(vm_map_t map, vm_offset_t start, vm_size_t length,
    vm_offset_t *addrp);

/*
 * Find space and insert.  *addrp: lowest address wanted, then the address got.
 * `max_addr`: exclusive end of what is acceptable, 0 for none.  `find_space`:
 * VMFS_*.  Codes of vm_map_insert; KERN_NO_SPACE: no gap fits.
 */
int vm_map_find(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t *addrp, vm_size_t length, vm_offset_t max_addr, int find_space,
    vm_prot_t prot, vm_prot_t max, int cow);
int vm_map_find_min(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t *addrp, vm_size_t length, vm_offset_t default_addr,
    vm_offset_t max_addr, int find_space, vm_prot_t prot, vm_prot_t max,
    int cow);

/* The same, write-locked by the caller. */
int vm_map_find_locked(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t *addrp, vm_size_t length, vm_offset_t max_addr, int find_space,
    vm_prot_t prot, vm_prot_t max, int cow);

/*
 * Only search: the lowest free multiple of `alignment` (a power of two) at or
 * above *addrp.  KERN_NO_SPACE.  Write-locked by the caller.
 */
int vm_map_find_aligned(vm_map_t map, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, vm_offset_t alignment);

/* Put an entry exactly at `start`, replacing what is there, atomically. */
int vm_map_fixed(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t start, vm_size_t length, vm_prot_t prot, vm_prot_t max,
    int cow);

/*
 * Remove [start, end); holes are fine.  KERN_WOULD_BLOCK: a system wiring is
 * in the way.  delete: write-locked by the caller; remove: clamps and locks.
 */
int vm_map_delete(vm_map_t map, vm_offset_t start, vm_offset_t end);
int vm_map_remove(vm_map_t map, vm_offset_t start, vm_offset_t end);

int vm_map_protect(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t new_prot, vm_prot_t new_maxprot, int flags);
int vm_map_inherit(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_inherit_t new_inheritance);
int vm_map_madvise(vm_map_t map, vm_offset_t start, vm_offset_t end,
    int advice);
int vm_map_wire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags);
/* The same, write-locked by the caller. */
int vm_map_wire_locked(vm_map_t map, vm_offset_t start, vm_offset_t end,
    int flags);
int vm_map_unwire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags);
int vm_map_sync(vm_map_t map, vm_offset_t start, vm_offset_t end, bool syncio,
    bool invalidate);
#define vm_map_clean vm_map_sync /* its older name */
/* Read-locked by the caller, both. */
bool vm_map_check_boundary(vm_map_t map, vm_offset_t start, vm_offset_t end);
bool vm_map_check_protection(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot);
int vm_map_stack(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow);
int vm_map_growstack(vm_map_t map, vm_offset_t addr);

/*
 * A second map over the same range, entry by entry, as inheritance says: COPY
 * (copy on write), SHARE, ZERO, NONE.  It has its own account and the same
 * limits.  `pmap` NULL: the parent's.  The caller owns the child.
 * KERN_RESOURCE_SHORTAGE: memory, or what the child reserves is over the limit.
 * KERN_INVALID_ARGUMENT: the map has a window to a submap.
 */
int vmspace_fork(vm_map_t map, pmap_t pmap, vm_map_t *childp);

/*
 * What a fault at `addr` meets.  On success the map is read-locked until
 * vm_map_lookup_done().
 */
int vm_map_lookup(vm_map_t *mapp, vm_offset_t addr, vm_prot_t fault_type,
    vm_map_entry_t *entryp, vm_object_t *objectp, vm_pindex_t *pindexp,
    vm_prot_t *protp, bool *wiredp);
void vm_map_lookup_done(vm_map_t map, vm_map_entry_t entry);

/*
 * The same, read-locked by the caller, and changing nothing.
 * KERN_FAILURE: it would have to change something, or there is a submap.
 */
int vm_map_lookup_locked(vm_map_t *mapp, vm_offset_t addr, vm_prot_t fault_type,
    vm_map_entry_t *entryp, vm_object_t *objectp, vm_pindex_t *pindexp,
    vm_prot_t *protp, bool *wiredp);

/*
 * Make [start, end) a window to the same addresses of `submap`, which the
 * caller keeps for as long as the window exists.
 * KERN_INVALID_ARGUMENT: not in one entry; it has an object, is a copy or a
 * guard; or it is wider, and cutting it would give it an object.
 */
int vm_map_submap(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_map_t submap);

/*
 * Give an entry that has no object yet one with a handle, from its first byte
 * on; the caller's reference becomes the entry's, and what the entry had
 * reserved is given back.  A mirror uses it to know where anonymous memory is.
 * Write-locked by the caller.
 */
void vm_map_back(vm_map_t map, vm_map_entry_t entry, vm_object_t object);

/*
 * An entry that needs a copy of memory with a handle, which nobody else refers
 * to any more, needs none: it may write there.  Write-locked by the caller.
 */
void vm_map_own(vm_map_t map, vm_map_entry_t entry);

/* Merge the entry with its neighbours where they agree.  Write-locked. */
void vm_map_simplify_entry(vm_map_t map, vm_map_entry_t entry);

/*
 * Verify every invariant that docs/design/vm_map.md tags.  Returns NULL, or
 * the tag and text of the first that is broken.  Read-locked by the caller.
 */
const char *vm_map_check(vm_map_t map);
