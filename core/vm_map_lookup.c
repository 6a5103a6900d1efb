/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a fault meets: vm_map_lookup(), and what touching an entry changes.
 *
 * An entry that needs a copy gets a shadow object at the first write; one
 * without an object gets one at the first touch of any kind.
 */

#include "core/vm_map_int.h"

static bool
touch_copies(const struct vm_map_entry *entry, bool write)
{
	return write && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

bool
vm_map_touch_changes(vm_map_t map, const struct vm_map_entry *entry, bool write)
{
	MPASS((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0);

	return touch_copies(entry, write) ||
	       (entry->object.vm_object == NULL && !vm_map_is_system(map));
}

bool
vm_map_touch_charges(const struct vm_map_entry *entry, bool write, bool backed)
{
	return touch_copies(entry, write) && (!entry->cred || backed);
}

/* The first write to an entry that needs a copy; its charge is reserved. */
static void
entry_make_private(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	vm_size_t size = entry_size(entry);

	MPASS((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0);

	vm_map_entry_burden(map, entry);
	if (vm_object_shadow(&entry->object.vm_object, &entry->offset, size,
		sparep))
		vm_object_set_charge(entry->object.vm_object, map->account,
		    size);
	else
		vm_account_release(map->account, size);
	entry->cred = false;
	entry->eflags &= ~(uint32_t)MAP_ENTRY_NEEDS_COPY;
}

void
vm_map_touch_commit(vm_map_t map, struct vm_map_entry *entry, bool write,
    vm_object_t *sparep)
{
	vm_map_assert_wlocked(map);

	if (touch_copies(entry, write))
		entry_make_private(map, entry, sparep);
	if (entry->object.vm_object == NULL && !vm_map_is_system(map))
		vm_map_entry_back(map, entry, sparep);
	map->updates++;
}

void
vm_map_touch_shared(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	vm_object_t source = entry->object.vm_object;
	vm_size_t size = entry_size(entry);
	bool shadowed;

	vm_map_assert_wlocked(map);
	MPASS((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 && source != NULL);

	/* The reference makes sure that there is a shadow. */
	vm_object_reference(source);
	shadowed = vm_object_shadow(&entry->object.vm_object, &entry->offset,
	    size, sparep);
	MPASS(shadowed);
	if (entry->cred)
		vm_object_set_charge(entry->object.vm_object, map->account,
		    size);
	vm_object_drop(source, &map->dead_objects);
	entry->cred = false;
	entry->eflags &= ~(uint32_t)MAP_ENTRY_NEEDS_COPY;
	map->updates++;
}

/* The result of a lookup. */
struct lookup {
	struct vm_map_entry *entry;
	vm_prot_t prot; /* the rights to map it with */
	bool write;     /* the access is a write, or wants a copy */
	bool changes;   /* touching it changes the entry */
};

/* Does the fault hit the gap of a stack, which may grow? */
static bool
hits_stack_gap(const struct vm_map_entry *entry, vm_prot_t fault_type)
{
	return (fault_type & VM_PROT_FAULT_LOOKUP) != 0 &&
	       entry->protection == VM_PROT_NONE &&
	       (entry->eflags & MAP_ENTRY_STACK_GAP) != 0;
}

/* Whether rights like these allow the access. */
static bool
access_allowed(vm_prot_t prot, vm_prot_t max, uint32_t eflags,
    vm_prot_t fault_type)
{
	vm_prot_t want = fault_type & VM_PROT_ALL;

	if ((want & ~prot) != 0 || prot == VM_PROT_NONE)
		return false;
	return (fault_type & VM_PROT_COPY) == 0 || (max & VM_PROT_WRITE) != 0 ||
	       (eflags & MAP_ENTRY_COW) != 0;
}

/* Whether the access is allowed, and what it does.  Pure. */
static int
lookup_decide(vm_map_t map, struct vm_map_entry *entry, vm_prot_t fault_type,
    struct lookup *lookup)
{
	vm_prot_t want = fault_type & VM_PROT_ALL;

	vm_map_assert_locked(map);

	if (!access_allowed(entry->protection, entry->max_protection,
		entry->eflags, fault_type))
		return KERN_PROTECTION_FAILURE;
	if (entry->wired_count != 0)
		want = entry->protection;

	lookup->entry = entry;
	lookup->prot = entry->protection;
	lookup->write =
	    (fault_type & VM_PROT_COPY) != 0 || (want & VM_PROT_WRITE) != 0;
	lookup->changes = vm_map_touch_changes(map, entry, lookup->write);
	if (!lookup->write && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		lookup->prot &= (vm_prot_t)~VM_PROT_WRITE;
	return KERN_SUCCESS;
}

/* Touch with an object that is set aside. */
static int
touch(vm_map_t map, struct vm_map_entry *entry, bool write, vm_object_t *sparep)
{
	vm_map_assert_wlocked(map);

	if (vm_map_touch_charges(entry, write, false) &&
	    !vm_map_swap_reserve(map, entry_size(entry)))
		return KERN_RESOURCE_SHORTAGE;
	vm_map_touch_commit(map, entry, write, sparep);
	return KERN_SUCCESS;
}

/* Grow a stack, if the access is one that what grows will allow. */
static int
lookup_grow(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    const struct vm_map_entry *gap)
{
	bool nomem;

	vm_map_assert_wlocked(map);
	MPASS((gap->eflags & MAP_ENTRY_STACK_GAP) != 0);

	if (!access_allowed(gap->gap_prot, gap->gap_max, 0, fault_type))
		return KERN_PROTECTION_FAILURE;
	if (vm_map_growstack_locked(map, addr, &nomem) == KERN_SUCCESS)
		return KERN_SUCCESS;
	return nomem ? KERN_RESOURCE_SHORTAGE : KERN_PROTECTION_FAILURE;
}

/*
 * One try under the map's read lock (no `sparep`), or, where something must
 * change, under its write lock.  KERN_RESTART: the write lock is needed.
 */
static int
lookup_try(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    vm_object_t *sparep, struct lookup *lookup)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	int rv;

	if (addr < map->tree.min)
		return KERN_INVALID_ADDRESS;
	entry = vm_map_seek(map, addr, &cur);
	if (entry == NULL)
		return KERN_INVALID_ADDRESS;
	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0) {
		lookup->entry = entry;
		return KERN_SUCCESS;
	}
	if (hits_stack_gap(entry, fault_type)) {
		if (sparep == NULL)
			return KERN_RESTART;
		rv = lookup_grow(map, addr, fault_type, entry);
		if (rv != KERN_SUCCESS)
			return rv;
		entry = vm_map_seek(map, addr, &cur);
		MPASS(entry != NULL && !entry_is_guard(entry));
	}
	rv = lookup_decide(map, entry, fault_type, lookup);
	if (rv != KERN_SUCCESS || !lookup->changes)
		return rv;
	return sparep == NULL ? KERN_RESTART
			      : touch(map, entry, lookup->write, sparep);
}

/* The second try, under the write lock; on success it is a read lock. */
static int
lookup_write(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    struct lookup *lookup)
{
	vm_object_t spare = NULL;
	int rv;

	rv = vm_object_spare_add(map->pmap->arch, 1, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_lock(map);
	rv = lookup_try(map, addr, fault_type, &spare, lookup);
	if (rv == KERN_SUCCESS)
		vm_map_lock_downgrade(map);
	else
		vm_map_unlock(map);
	vm_object_spare_fini(&spare);
	return rv;
}

/* Both tries; on success the map is read-locked. */
static int
lookup_in(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    struct lookup *lookup)
{
	int rv;

	vm_map_lock_read(map);
	rv = lookup_try(map, addr, fault_type, NULL, lookup);
	if (rv == KERN_SUCCESS)
		return rv;
	vm_map_unlock_read(map);
	return rv != KERN_RESTART ? rv
				  : lookup_write(map, addr, fault_type, lookup);
}

int
vm_map_lookup(vm_map_t *mapp, vm_offset_t addr, vm_prot_t fault_type,
    vm_map_entry_t *entryp, vm_object_t *objectp, vm_pindex_t *pindexp,
    vm_prot_t *protp, bool *wiredp)
{
	struct lookup lookup = {0};
	struct vm_map_entry *entry;
	vm_map_t map = *mapp;
	int rv;

	for (;;) {
		rv = lookup_in(map, addr, fault_type, &lookup);
		if (rv != KERN_SUCCESS)
			return rv;
		entry = lookup.entry;
		if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
			break;
		/* The addresses in a submap are those of its parent. */
		vm_map_unlock_read(map);
		map = entry->object.sub_map;
	}
	*mapp = map;
	*entryp = entry;
	*objectp = entry->object.vm_object;
	*pindexp = (entry->offset + (addr - entry->start)) / map->pagesize;
	*protp = lookup.prot;
	*wiredp = entry->wired_count != 0;
	return KERN_SUCCESS;
}

int
vm_map_lookup_locked(vm_map_t *mapp, vm_offset_t addr, vm_prot_t fault_type,
    vm_map_entry_t *entryp, vm_object_t *objectp, vm_pindex_t *pindexp,
    vm_prot_t *protp, bool *wiredp)
{
	vm_map_t map = *mapp;
	struct vm_map_entry *entry;
	struct lookup lookup = {0};
	int rv;

	vm_map_assert_locked(map);

	rv = lookup_try(map, addr, fault_type, NULL, &lookup);
	if (rv != KERN_SUCCESS)
		return rv == KERN_RESTART ? KERN_FAILURE : rv;
	entry = lookup.entry;
	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		return KERN_FAILURE;
	*entryp = entry;
	*objectp = entry->object.vm_object;
	*pindexp = (entry->offset + (addr - entry->start)) / map->pagesize;
	*protp = lookup.prot;
	*wiredp = entry->wired_count != 0;
	return KERN_SUCCESS;
}

void
vm_map_lookup_done(vm_map_t map, vm_map_entry_t entry)
{
	MPASS(entry != NULL);

	vm_map_unlock_read(map);
}
