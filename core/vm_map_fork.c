/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vmspace_fork(): a second map, entry by entry, as inheritance says.
 *
 *	COPY   both see the same pages until one of them writes
 *	SHARE  both see the same object
 *	ZERO   the child sees fresh zeroes
 *	NONE   the child has nothing there; guards are copied unless NONE
 *
 * Everything that the child can need is set aside before the parent changes.
 */

#include "core/vm_map_int.h"

static vm_inherit_t
fork_inheritance(const struct vm_map_entry *entry)
{
	if (entry_is_guard(entry) && entry->inheritance != VM_INHERIT_NONE)
		return VM_INHERIT_COPY;
	return entry->inheritance;
}

/* Wired pages may not be shared by copy on write: they are copied now. */
static bool
fork_copies_now(const struct vm_map_entry *entry)
{
	return entry->wired_count != 0 &&
	       (entry->protection & VM_PROT_WRITE) != 0;
}

/* What the child needs. */
struct fork_need {
	uint64_t nentries;
	unsigned nobjects;
	vm_size_t charge; /* bytes, for the child's account */
};

static void
need_entry(const struct vm_map_entry *entry, struct fork_need *need)
{
	vm_object_t object = entry->object.vm_object;
	vm_size_t size = entry_size(entry);

	switch (fork_inheritance(entry)) {
	case VM_INHERIT_NONE:
		return;
	case VM_INHERIT_ZERO:
		need->charge += size;
		break;
	case VM_INHERIT_SHARE:
		need->nobjects += object == NULL;
		need->nobjects += (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
		break;
	default:
		need->nobjects += object != NULL;
		if (fork_copies_now(entry) ||
		    (object == NULL ? entry->cred
				    : vm_object_is_anon(object) &&
					  entry_is_charged(entry)))
			need->charge += size;
	}
	need->nentries++;
}

/* Walk the parent.  KERN_INVALID_ARGUMENT: it has a window to a submap. */
static int
need_map(vm_map_t map, struct fork_need *need)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_locked(map);

	*need = (struct fork_need){0};
	for (entry = vm_map_seek_next(map, map->tree.min, &cur); entry != NULL;
	     entry = vm_map_next(map, &cur)) {
		if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
			return KERN_INVALID_ARGUMENT;
		need_entry(entry, need);
	}
	return KERN_SUCCESS;
}

/* An empty map like the parent.  NULL: no memory. */
static vm_map_t
child_create(vm_map_t map, pmap_t pmap)
{
	vm_map_t child;

	child = vm_map_create(pmap, map->tree.min, map->tree.max);
	if (child == NULL)
		return NULL;
	child->flags = map->flags & (MAP_ASLR | MAP_ASLR_IGNSTART |
					MAP_ASLR_STACK | MAP_WXORX);
	child->anon_loc = map->anon_loc;
	vm_map_set_limits_locked(child, &map->limits);
	child->pager = map->pager;
	child->random = map->random;
	child->random_arg = map->random_arg;
	return child;
}

/* Set aside what the child needs.  KERN_RESOURCE_SHORTAGE. */
static int
child_reserve(vm_map_t child, const struct fork_need *need, vm_object_t *sparep)
{
	int rv;

	vm_map_assert_wlocked(child);
	MPASS(child->tree.count == 0);

	rv = uma_zone_reserve(&child->entries, need->nentries);
	if (rv == KERN_SUCCESS)
		rv = vm_tree_reserve_append(&child->tree, need->nentries);
	if (rv == KERN_SUCCESS)
		rv = vm_object_spare_add(child->pmap->arch, need->nobjects,
		    sparep);
	if (rv == KERN_SUCCESS && !vm_map_swap_reserve(child, need->charge))
		rv = KERN_RESOURCE_SHORTAGE;
	return rv;
}

/* One fork: the two maps, and what was set aside. */
struct fork {
	vm_map_t map, child;
	struct vm_cursor end; /* of the child */
	vm_object_t spare;
	vm_object_t copies; /* of what is wired, in the order of the entries */
	vm_size_t charge;   /* bytes of the child's reservation not yet used */
};

/* The child pays for `bytes`. */
static void
fork_charge(struct fork *f, vm_size_t bytes)
{
	vm_size_t reserved = MIN(bytes, f->charge);

	f->charge -= reserved;
	vm_account_charge(f->child->account, bytes - reserved);
}

static void
fork_link(struct fork *f, const struct vm_map_entry *copy)
{
	struct vm_map_entry *entry = uma_zalloc_reserved(&f->child->entries);

	MPASS(copy->wired_count == 0 && !copy->pending);

	*entry = *copy;
	vm_tree_insert(&f->child->tree, &f->end, entry);
	f->child->updates++;
	if (!entry_is_guard(entry))
		f->child->size += entry_size(entry);
}

/* A copy of the parent's entry that is neither wired nor charged. */
static struct vm_map_entry
fork_entry(const struct vm_map_entry *entry, uint32_t drop)
{
	struct vm_map_entry copy = *entry;

	copy.eflags &= ~(drop | MAP_ENTRY_USER_WIRED);
	copy.wired_count = 0;
	copy.cred = false;
	copy.bare = false;
	return copy;
}

/* K1 where the entry shows an anonymous object: both shall pay for writing. */
static void
fork_copy_anon(struct fork *f, struct vm_map_entry *entry,
    struct vm_map_entry *copy)
{
	bool needs_copy = (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
	bool charged = entry_is_charged(entry);
	vm_size_t size = entry_size(entry);
	vm_map_t map = f->map;

	MPASS(vm_object_is_anon(entry->object.vm_object));

	vm_object_collapse(entry->object.vm_object, &map->dead_objects);
	if (vm_object_is_onemapping(entry->object.vm_object))
		vm_object_split(&entry->object.vm_object, &entry->offset, size,
		    &f->spare, &map->dead_objects);
	vm_object_reference(entry->object.vm_object);
	vm_object_clear_onemapping(entry->object.vm_object);
	if (entry->cred && !needs_copy)
		vm_map_entry_charge_object(map, entry);
	if (!charged)
		return;
	copy->cred = true;
	fork_charge(f, size);
	if (!needs_copy) {
		entry->cred = true;
		vm_account_charge(map->account, size);
	}
}

/* K1 */
static void
fork_copy(struct fork *f, struct vm_map_entry *entry)
{
	struct vm_map_entry copy = fork_entry(entry, MAP_ENTRY_WRITECNT);
	vm_object_t object = entry->object.vm_object;
	vm_size_t size = entry_size(entry);

	MPASS((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0);

	if (fork_copies_now(entry)) {
		copy.object.vm_object = vm_object_spare_take(&f->copies, size);
		copy.offset = 0;
		copy.eflags &= ~(uint32_t)MAP_ENTRY_VN_EXEC;
		fork_charge(f, size);
		vm_object_set_charge(copy.object.vm_object, f->child->account,
		    size);
	} else if (object == NULL) {
		copy.cred = entry->cred;
		if (entry->cred)
			fork_charge(f, size);
	} else {
		if (vm_object_is_anon(object))
			fork_copy_anon(f, entry, &copy);
		else
			vm_object_reference(object);
		entry->eflags |= MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY;
		copy.eflags |= MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY;
		copy.object = entry->object;
		copy.offset = entry->offset;
		vm_map_pmap_protect(f->map, entry->start, entry->end,
		    entry->protection & (vm_prot_t)~VM_PROT_WRITE);
	}
	fork_link(f, &copy);
}

/* K2 */
static void
fork_share(struct fork *f, struct vm_map_entry *entry)
{
	vm_map_t map = f->map;
	struct vm_map_entry copy;

	MPASS(!entry_is_guard(entry));

	if (entry->object.vm_object == NULL)
		vm_map_entry_back(map, entry, &f->spare);
	if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		vm_map_touch_shared(map, entry, &f->spare);
	else if (entry->cred)
		vm_map_entry_charge_object(map, entry);
	vm_object_reference(entry->object.vm_object);
	if (vm_object_is_anon(entry->object.vm_object))
		vm_object_clear_onemapping(entry->object.vm_object);
	copy = fork_entry(entry, 0);
	fork_link(f, &copy);
}

/* K3 */
static void
fork_zero(struct fork *f, const struct vm_map_entry *entry)
{
	struct vm_map_entry copy =
	    fork_entry(entry, MAP_ENTRY_WRITECNT | MAP_ENTRY_VN_EXEC |
				  MAP_ENTRY_SPLIT_BOUNDARY_MASK);

	MPASS(!entry_is_guard(entry));

	copy.object.vm_object = NULL;
	copy.offset = 0;
	copy.inheritance = VM_INHERIT_ZERO;
	copy.cred = true;
	fork_charge(f, entry_size(entry));
	fork_link(f, &copy);
}

/* All entries of the parent, from what was set aside. */
static void
fork_commit(struct fork *f)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	for (entry = vm_map_seek_next(f->map, f->map->tree.min, &cur);
	     entry != NULL; entry = vm_map_next(f->map, &cur))
		switch (fork_inheritance(entry)) {
		case VM_INHERIT_NONE:
			break;
		case VM_INHERIT_ZERO:
			fork_zero(f, entry);
			break;
		case VM_INHERIT_SHARE:
			fork_share(f, entry);
			break;
		default:
			fork_copy(f, entry);
		}
	MPASS(f->copies == NULL);
	f->map->updates++;
	f->map->unmerged = true; /* marking copies may make neighbours alike */
	vm_account_release(f->child->account, f->charge);
	vm_object_spare_fini(&f->spare);
}

/* Copy what is wired, before anything is shared. */
static int
fork_copy_wired(struct fork *f)
{
	vm_object_t *tail = &f->copies;
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(f->map);

	for (entry = vm_map_seek_next(f->map, f->map->tree.min, &cur);
	     entry != NULL; entry = vm_map_next(f->map, &cur)) {
		if (fork_inheritance(entry) != VM_INHERIT_COPY ||
		    !fork_copies_now(entry))
			continue;
		rv = vm_object_spare_copy(f->child->pmap->arch,
		    entry->object.vm_object, entry->offset, entry_size(entry),
		    f->child->pager, &tail);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	return KERN_SUCCESS;
}

static int
fork_locked(vm_map_t map, vm_map_t child)
{
	struct fork f = {.map = map, .child = child};
	struct fork_need need;
	int rv;

	vm_map_assert_wlocked(map);

	rv = need_map(map, &need);
	if (rv == KERN_SUCCESS)
		rv = fork_copy_wired(&f);
	if (rv == KERN_SUCCESS)
		rv = child_reserve(child, &need, &f.spare);
	if (rv != KERN_SUCCESS) {
		vm_object_spare_fini(&f.spare);
		vm_object_spare_fini(&f.copies);
		return rv;
	}
	f.charge = need.charge;
	(void)vm_map_seek(child, child->tree.min, &f.end); /* the header */
	fork_commit(&f);
	return KERN_SUCCESS;
}

int
vmspace_fork(vm_map_t map, pmap_t pmap, vm_map_t *childp)
{
	vm_map_t child;
	int rv;

	child = child_create(map, pmap != NULL ? pmap : map->pmap);
	if (child == NULL)
		return KERN_RESOURCE_SHORTAGE;
	vm_map_lock(map);
	vm_map_lock(child);
	rv = fork_locked(map, child);
	/* Entries that now differ no more stay apart in both maps. */
	if (rv == KERN_SUCCESS)
		map->unmerged = child->unmerged = true;
	vm_map_unlock(child);
	vm_map_unlock(map);
	if (rv != KERN_SUCCESS) {
		vm_map_destroy(child);
		return rv;
	}
	*childp = child;
	return KERN_SUCCESS;
}
