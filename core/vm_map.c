/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Maps: life, locking, lookup, iteration.
 *
 * Entries that leave a map under its lock go on map->dead with their object
 * references; unlocking drops those, and calls release functions of objects
 * only when the lock is gone.
 */

#include "core/vm_map_int.h"

/* Alignments that the tree keeps columns for. */
static void
tree_alignments(const struct arch_machine *machine,
    vm_size_t align[VM_TREE_ALIGNS])
{
	vm_size_t large =
	    machine->nsuper > 0 ? machine->super[0] : machine->page_size;
	vm_size_t small = machine->nsuper > 1 ? machine->super[1] : 64 << 10;

	MPASS(machine->page_size > 0 && machine->nsuper <= 2);

	align[0] = machine->page_size;
	align[2] = MAX(large, align[0]);
	align[1] = MIN(MAX(small, align[0]), align[2]);
}

vm_map_t
vm_map_create(pmap_t pmap, vm_offset_t min, vm_offset_t max)
{
	const struct arch *arch = pmap->arch;
	vm_size_t align[VM_TREE_ALIGNS];
	struct vm_account *account;
	vm_map_t map;

	MPASS(min < max);

	map = uma_malloc(arch, sizeof(*map));
	if (map == NULL)
		return NULL;
	account = vm_account_create(arch);
	if (account == NULL) {
		uma_free(arch, map, sizeof(*map));
		return NULL;
	}
	*map = (struct vm_map){
	    .pmap = pmap,
	    .pagesize = arch->machine->page_size,
	    .account = account,
	    .limits = {.cluster_anon = 1,
		.stack_guard = arch->machine->page_size},
	};
	tree_alignments(arch->machine, align);
	if (vm_tree_init(&map->tree, arch, min, max, align) != KERN_SUCCESS) {
		vm_tree_fini(&map->tree);
		vm_account_unref(account);
		uma_free(arch, map, sizeof(*map));
		return NULL;
	}
	uma_zone_init(&map->entries, arch, sizeof(struct vm_map_entry));
	vm_rwlock_init(&map->lock, VM_RANK_MAP);
	return map;
}

void
vm_map_destroy(vm_map_t map)
{
	const struct arch *arch;

	if (map == NULL)
		return;
	arch = map->pmap->arch;
	vm_map_lock(map);
	vm_map_clear(map);
	vm_map_unlock(map);

	MPASS(map->size == 0 && map->user_wired == 0);
	vm_tree_fini(&map->tree);
	uma_zone_fini(&map->entries);
	vm_account_unref(map->account);
	vm_rwlock_fini(&map->lock);
	uma_free(arch, map, sizeof(*map));
}

vm_offset_t
vm_map_min(vm_map_t map)
{
	return map->tree.min;
}

vm_offset_t
vm_map_max(vm_map_t map)
{
	return map->tree.max;
}

pmap_t
vm_map_pmap(vm_map_t map)
{
	return map->pmap;
}

vm_size_t
vm_map_size(vm_map_t map)
{
	return map->size;
}

uint64_t
vm_map_nentries(vm_map_t map)
{
	return map->tree.count;
}

uint64_t
vm_map_timestamp(vm_map_t map)
{
	return map->timestamp;
}

vm_size_t
vm_map_reserved(vm_map_t map)
{
	return vm_account_reserved(map->account);
}

vm_size_t
vm_map_user_wired(vm_map_t map)
{
	return map->user_wired;
}

size_t
vm_map_metadata(vm_map_t map)
{
	return sizeof(*map) + sizeof(*map->account) + map->entries.uz_bytes +
	       vm_tree_bytes(&map->tree);
}

bool
vm_map_is_system(vm_map_t map)
{
	return (map->flags & MAP_SYSTEM_MAP) != 0;
}

void
vm_map_modflags(vm_map_t map, uint32_t set, uint32_t clear)
{
	map->flags = (map->flags | set) & ~clear;
}

bool
vm_map_range_valid(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	return start <= end && start >= map->tree.min && end <= map->tree.max;
}

void
vm_map_set_limits_locked(vm_map_t map, const struct vm_map_limits *limits)
{
	bool strict = (limits->overcommit & 1) != 0 && limits->swap != 0;

	MPASS((limits->stack_guard & (map->pagesize - 1)) == 0);

	map->limits = *limits;
	vm_account_set_limit(map->account, strict ? limits->swap : UINT64_MAX);
}

void
vm_map_set_limits(vm_map_t map, const struct vm_map_limits *limits)
{
	vm_map_lock(map);
	vm_map_set_limits_locked(map, limits);
	vm_map_unlock(map);
}

void
vm_map_get_limits(vm_map_t map, struct vm_map_limits *limits)
{
	vm_map_lock_read(map);
	*limits = map->limits;
	vm_map_unlock_read(map);
}

void
vm_map_set_anon_loc(vm_map_t map, vm_offset_t addr)
{
	vm_map_lock(map);
	map->anon_loc = addr;
	vm_map_unlock(map);
}

vm_offset_t
vm_map_anon_loc(vm_map_t map)
{
	return map->anon_loc;
}

void
vm_map_set_random(vm_map_t map, uint64_t (*next)(void *arg, uint64_t bound),
    void *arg)
{
	vm_map_lock(map);
	map->random = next;
	map->random_arg = arg;
	vm_map_unlock(map);
}

bool
vm_map_swap_reserve(vm_map_t map, vm_size_t bytes)
{
	MPASS((bytes & (map->pagesize - 1)) == 0);

	return vm_account_reserve(map->account, bytes);
}

/*
 * Locking.  The lock is inside an opaque map, where clang's analysis cannot
 * follow callers; vm_map_assert_*locked() checks them instead.
 */

#define MAP_NO_TSA VM_TSA(no_thread_safety_analysis)

MAP_NO_TSA void
vm_map_lock(vm_map_t map)
{
	vm_rwlock_wlock(&map->lock);
	map->timestamp++;
}

/*
 * FreeBSD checks a map when it has been edited more often than it has
 * entries.  That is a few instructions an edit, and many cache misses; so
 * VM_INVARIANTS=1 waits for sixteen times as many, and 2 does not wait.
 */
static void
map_check_amortised(vm_map_t map)
{
	const char *bad;

	vm_map_assert_wlocked(map);

	if (VM_INVARIANTS == 0 || map->updates == 0)
		return;
	if (VM_INVARIANTS == 1 &&
	    map->updates < 16 * (map->tree.count + VM_LEAF_FANOUT))
		return;
	map->updates = 0;
	bad = vm_map_check(map);
	if (bad != NULL)
		kassert_panic(__FILE__, __LINE__, bad);
}

/* Entries that left the map with objects. */
MAP_NO_TSA static void
map_reap_entries(vm_map_t map, vm_object_t *deadp)
{
	struct vm_map_entry *entry;

	vm_map_assert_wlocked(map);

	vm_objects_lock();
	while ((entry = map->dead) != NULL) {
		map->dead = entry->next_dead;
		vm_object_drop_locked(entry->object.vm_object, deadp);
		uma_zfree(&map->entries, entry);
	}
	vm_objects_unlock();
}

/* Free what left the map; its objects that nobody has are the result. */
static inline vm_object_t
map_reap(vm_map_t map)
{
	vm_object_t dead = map->dead_objects;

	map->dead_objects = NULL;
	if (map->dead != NULL)
		map_reap_entries(map, &dead);
	if (map->tree.count == 0)
		uma_zone_trim(&map->entries);
	return dead;
}

MAP_NO_TSA void
vm_map_unlock(vm_map_t map)
{
	vm_object_t dead;

	vm_map_assert_wlocked(map);

	dead = map_reap(map);
	map_check_amortised(map);
	vm_rwlock_wunlock(&map->lock);
	if (dead != NULL)
		vm_object_bury(dead);
}

MAP_NO_TSA void
vm_map_lock_read(vm_map_t map)
{
	vm_rwlock_rlock(&map->lock);
}

MAP_NO_TSA void
vm_map_unlock_read(vm_map_t map)
{
	vm_rwlock_runlock(&map->lock);
}

MAP_NO_TSA bool
vm_map_trylock(vm_map_t map)
{
	if (!vm_rwlock_try_wlock(&map->lock))
		return false;
	map->timestamp++;
	return true;
}

MAP_NO_TSA bool
vm_map_trylock_read(vm_map_t map)
{
	return vm_rwlock_try_rlock(&map->lock);
}

MAP_NO_TSA int
vm_map_lock_upgrade(vm_map_t map)
{
	uint64_t seen = map->timestamp;

	vm_map_assert_locked(map);

	if (vm_rwlock_try_upgrade(&map->lock)) {
		map->timestamp++;
		return 0;
	}
	vm_rwlock_runlock(&map->lock);
	vm_rwlock_wlock(&map->lock);
	map->timestamp++;
	if (map->timestamp == seen + 1)
		return 0;
	vm_map_unlock(map);
	return 1;
}

MAP_NO_TSA void
vm_map_lock_downgrade(vm_map_t map)
{
	vm_object_t dead;

	vm_map_assert_wlocked(map);

	dead = map_reap(map);
	map_check_amortised(map);
	vm_rwlock_downgrade(&map->lock);
	vm_object_bury(dead);
}

bool
vm_map_locked(vm_map_t map)
{
	return vm_rwlock_is_wlocked(&map->lock);
}

/* Lookup and iteration. */

bool
vm_map_lookup_entry(vm_map_t map, vm_offset_t addr, vm_map_entry_t *entryp)
{
	vm_map_assert_locked(map);

	if (addr < map->tree.min) {
		*entryp = NULL;
		return false;
	}
	return map->tree.isa->lookup(&map->tree, addr, entryp);
}

vm_map_entry_t
vm_map_entry_first(vm_map_t map)
{
	struct vm_cursor cur;

	vm_map_assert_locked(map);

	return vm_map_seek_next(map, map->tree.min, &cur);
}

vm_map_entry_t
vm_map_entry_succ(vm_map_t map, vm_map_entry_t entry)
{
	struct vm_cursor cur;

	if (entry == NULL)
		return vm_map_entry_first(map);
	(void)vm_map_seek(map, entry->start, &cur);
	MPASS(vm_cursor_entry(&cur) == entry);
	return vm_map_next(map, &cur);
}

vm_map_entry_t
vm_map_entry_pred(vm_map_t map, vm_map_entry_t entry)
{
	struct vm_cursor cur;

	MPASS(entry != NULL);

	(void)vm_map_seek(map, entry->start, &cur);
	MPASS(vm_cursor_entry(&cur) == entry);
	return vm_map_prev(map, &cur);
}

void
vm_map_entry_info(vm_map_entry_t entry, struct vm_map_entry_info *infop)
{
	MPASS(entry->start < entry->end);

	*infop = (struct vm_map_entry_info){
	    .start = entry->start,
	    .end = entry->end,
	    .object = (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0
			  ? NULL
			  : entry->object.vm_object,
	    .offset = entry->offset,
	    .eflags = entry->eflags,
	    .protection = entry->protection,
	    .max_protection = entry->max_protection,
	    .inheritance = entry->inheritance,
	    .wired_count = entry->wired_count,
	    .charge = entry->cred ? entry_size(entry) : 0,
	};
}

/* The mirror. */

void
vm_map_pmap_removed(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	const struct pmap_hooks *hooks = map->pmap->hooks;

	if (hooks->remove != NULL)
		hooks->remove(map->pmap, start, end);
}

void
vm_map_pmap_protected(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	const struct pmap_hooks *hooks = map->pmap->hooks;

	if (hooks->protect != NULL)
		hooks->protect(map->pmap, start, end, prot);
}

void
vm_map_pmap_enter(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	const struct pmap_hooks *hooks = map->pmap->hooks;

	MPASS(start < end);

	if (hooks != NULL && hooks->enter != NULL)
		hooks->enter(map->pmap, start, end, prot);
}
