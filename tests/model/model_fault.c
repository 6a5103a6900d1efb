/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The naive map: lookup with copy on write, stacks, fork.
 */

#include <stdlib.h>

#include "tests/model/model_int.h"

/* Lookup */

/* Copy on write comes due: put a private object in front. */
static int
make_private(struct model_map *map, struct model_entry *entry)
{
	vm_size_t size = model_entry_size(entry);
	struct model_object *before = entry->object;

	if (!entry->charged) {
		if (!model_reserve(map->account, size))
			return KERN_RESOURCE_SHORTAGE;
		entry->charged = true;
	}
	model_object_shadow(&entry->object, &entry->offset, size, map->account,
	    false);
	if (entry->object == before) /* nobody else had it */
		model_release(map->account, size);
	entry->charged = false;
	entry->eflags &= ~(uint32_t)MAP_ENTRY_NEEDS_COPY;
	return KERN_SUCCESS;
}

int
model_touch(struct model_map *map, struct model_entry *entry, bool write)
{
	int rv;

	if (write && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0) {
		rv = make_private(map, entry);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	if (entry->object == NULL)
		model_back(map, entry);
	return KERN_SUCCESS;
}

static int growstack(struct model_map *map, vm_offset_t addr);

/* L1, but for undoing. */
static int
lookup(struct model_map *map, vm_offset_t addr, vm_prot_t fault_type,
    size_t *ip, vm_prot_t *protp)
{
	struct model_entry *entry;
	vm_prot_t want;
	bool write;
	int rv;

	if (!model_map_lookup_entry(map, addr, ip))
		return KERN_INVALID_ADDRESS;
	entry = &map->entries[*ip];
	if ((fault_type & VM_PROT_FAULT_LOOKUP) != 0 &&
	    entry->prot == VM_PROT_NONE &&
	    (entry->eflags & MAP_ENTRY_STACK_GAP) != 0) {
		if (growstack(map, addr) != KERN_SUCCESS)
			return KERN_PROTECTION_FAILURE;
		MODEL_CHECK(model_map_lookup_entry(map, addr, ip));
		entry = &map->entries[*ip];
	}
	want = fault_type & VM_PROT_ALL;
	if ((want & entry->prot) != want || entry->prot == VM_PROT_NONE)
		return KERN_PROTECTION_FAILURE;
	if ((fault_type & VM_PROT_COPY) != 0 &&
	    (entry->max & VM_PROT_WRITE) == 0 &&
	    (entry->eflags & MAP_ENTRY_COW) == 0)
		return KERN_PROTECTION_FAILURE;
	if (entry->wired != 0)
		want = entry->prot;
	write = (want & VM_PROT_WRITE) != 0 || (fault_type & VM_PROT_COPY) != 0;
	*protp = entry->prot;
	if (!write && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		*protp &= (vm_prot_t)~VM_PROT_WRITE;
	rv = model_touch(map, entry, write);
	return rv;
}

int
model_map_lookup(struct model_map *map, vm_offset_t addr, vm_prot_t fault_type,
    size_t *ip, struct model_object **objectp, vm_pindex_t *pindexp,
    vm_prot_t *protp, bool *wiredp)
{
	struct model_entry *entry;
	vm_prot_t prot = VM_PROT_NONE;
	size_t i;
	int rv;

	model_begin(map);
	rv = model_end(lookup(map, addr, fault_type, &i, &prot));
	if (rv != KERN_SUCCESS)
		return rv;
	entry = &map->entries[i];
	*ip = i;
	*objectp = entry->object;
	*pindexp = (entry->offset + (addr - entry->start)) / model_page(map);
	*protp = prot;
	*wiredp = entry->wired != 0;
	return KERN_SUCCESS;
}

int
model_map_lookup_locked(struct model_map *map, vm_offset_t addr,
    vm_prot_t fault_type, size_t *ip, struct model_object **objectp,
    vm_pindex_t *pindexp, vm_prot_t *protp, bool *wiredp)
{
	struct model_entry before;
	vm_prot_t prot = VM_PROT_NONE;
	size_t i;
	int rv;

	if (!model_map_lookup_entry(map, addr, &i))
		return KERN_INVALID_ADDRESS;
	before = map->entries[i];
	if ((fault_type & VM_PROT_FAULT_LOOKUP) != 0 &&
	    (before.eflags & MAP_ENTRY_STACK_GAP) != 0)
		return KERN_FAILURE;
	model_begin(map);
	rv = lookup(map, addr, fault_type, &i, &prot);
	if (rv == KERN_RESOURCE_SHORTAGE ||
	    (rv == KERN_SUCCESS &&
		(map->entries[i].object != before.object ||
		    map->entries[i].eflags != before.eflags)))
		rv = KERN_FAILURE;
	model_abort();
	if (rv != KERN_SUCCESS)
		return rv;
	*ip = i;
	*objectp = before.object;
	*pindexp = (before.offset + (addr - before.start)) / model_page(map);
	*protp = prot;
	*wiredp = before.wired != 0;
	return KERN_SUCCESS;
}

/* Stacks */

/* T1 without the limit; `cow` as for insert. */
int
model_stack(struct model_map *map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow)
{
	vm_offset_t top = addrbos + max_ssize, bottom;
	vm_size_t guard = map->limits.stack_guard, init = VM_MAP_STACK_GROW;
	struct model_entry *gap;
	size_t i;
	int rv;

	if (max_ssize == 0 || !model_range_valid(map, addrbos, top))
		return KERN_INVALID_ADDRESS;
	if (guard >= max_ssize)
		return KERN_INVALID_ARGUMENT;
	if (max_ssize < init + guard)
		init = max_ssize - guard;
	i = model_first_above(map, addrbos);
	if (i < map->n && map->entries[i].start < top)
		return KERN_NO_SPACE;
	bottom = top - init;
	rv = model_insert(map, NULL, 0, bottom, top, prot, max,
	    cow | MAP_STACK_AREA);
	if (rv != KERN_SUCCESS || bottom == addrbos)
		return rv;
	rv = model_insert(map, NULL, 0, addrbos, bottom, VM_PROT_NONE,
	    VM_PROT_NONE, MAP_CREATE_GUARD | MAP_CREATE_STACK_GAP);
	if (rv != KERN_SUCCESS)
		return rv;
	MODEL_CHECK(model_map_lookup_entry(map, addrbos, &i));
	gap = &map->entries[i];
	gap->gap_prot = prot;
	gap->gap_max = max;
	gap->gap_guard = guard;
	return KERN_SUCCESS;
}

int
model_map_stack(struct model_map *map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow)
{
	vm_size_t limit = map->limits.vmem;

	if (limit != 0 &&
	    model_map_size(map) + MIN(max_ssize, VM_MAP_STACK_GROW) > limit)
		return KERN_NO_SPACE;
	model_begin(map);
	return model_end(model_stack(map, addrbos, max_ssize, prot, max, cow));
}

/* Bytes of the stack that begins with entry i. */
static vm_size_t
stack_size(const struct model_map *map, size_t i)
{
	vm_size_t size = 0;

	do {
		size += model_entry_size(&map->entries[i]);
		i++;
	} while (i < map->n &&
		 map->entries[i].start == map->entries[i - 1].end &&
		 (map->entries[i].eflags & MAP_ENTRY_GROWS_DOWN) != 0);
	return size;
}

/* T2: how much the stack above gap i grows for `addr`. */
static int
growth(const struct model_map *map, size_t i, vm_offset_t addr,
    vm_size_t *amountp)
{
	const struct model_entry *gap = &map->entries[i];
	const struct vm_map_limits *limits = &map->limits;
	vm_size_t page = model_page(map), amount, most, have;

	most = model_entry_size(gap);
	if (gap->gap_guard > most)
		return KERN_NO_SPACE;
	most -= gap->gap_guard;
	amount = (gap->end - addr + page - 1) / page * page;
	if (amount > most)
		return KERN_NO_SPACE;
	have = stack_size(map, i + 1);
	if (limits->stack != 0 && have + amount > limits->stack)
		return KERN_NO_SPACE;
	amount = (amount + VM_MAP_STACK_GROW - 1) / VM_MAP_STACK_GROW *
		 VM_MAP_STACK_GROW;
	if (amount > most)
		amount = most;
	if (limits->stack != 0 && have + amount > limits->stack)
		amount = limits->stack / page * page - have;
	if ((map->flags & MAP_WIREFUTURE) != 0 && limits->memlock != 0 &&
	    model_map_user_wired(map) + amount > limits->memlock)
		return KERN_NO_SPACE;
	if (limits->vmem != 0 && model_map_size(map) + amount > limits->vmem)
		return KERN_NO_SPACE;
	*amountp = amount;
	return KERN_SUCCESS;
}

static int
growstack(struct model_map *map, vm_offset_t addr)
{
	struct model_entry *gap;
	vm_prot_t prot, max;
	vm_offset_t top;
	vm_size_t amount;
	size_t i;
	int rv;

	if (!model_map_lookup_entry(map, addr, &i))
		return KERN_FAILURE;
	gap = &map->entries[i];
	if ((gap->eflags & MAP_ENTRY_GUARD) == 0)
		return KERN_SUCCESS;
	if ((gap->eflags & MAP_ENTRY_STACK_GAP) == 0 || i + 1 == map->n ||
	    map->entries[i + 1].start != gap->end ||
	    (map->entries[i + 1].eflags & MAP_ENTRY_GROWS_DOWN) == 0)
		return KERN_FAILURE;
	rv = growth(map, i, addr, &amount);
	if (rv != KERN_SUCCESS)
		return rv;
	top = gap->end;
	prot = gap->gap_prot;
	max = gap->gap_max;
	gap->end -= amount;
	if (gap->start == gap->end)
		model_unlink(map, i);
	rv = model_insert(map, NULL, 0, top - amount, top, prot, max,
	    MAP_STACK_AREA);
	if (rv != KERN_SUCCESS)
		return rv; /* undoing puts the gap back */

	/* As for a mapping made later, the result of wiring is not asked. */
	if ((map->flags & MAP_WIREFUTURE) != 0)
		(void)model_wire(map, top - amount, top,
		    VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES);
	return KERN_SUCCESS;
}

int
model_map_growstack(struct model_map *map, vm_offset_t addr)
{
	model_begin(map);
	return model_end(growstack(map, addr));
}

/* Fork */

void
model_copy_wired(struct model_map *map, struct model_entry *entry)
{
	struct model_object *source = entry->object;
	struct model_account *cred = entry->charged ? map->account : NULL;

	if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0) {
		entry->object =
		    model_object_anon(model_entry_size(entry), cred);
		entry->offset = 0;
		entry->charged = false;
		if (source != NULL)
			model_object_deallocate(source);
	}
	entry->eflags &= ~(uint32_t)(MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY);
}

/* The entry's part of an object that is mapped once becomes its own object. */
static void
split_object(struct model_entry *entry)
{
	struct model_object *whole = entry->object, *part;
	vm_size_t size = model_entry_size(entry);

	if (whole->refs <= 1)
		return;
	part = model_object_anon(size, whole->cred);
	if (whole->cred != NULL)
		model_reserve_force(whole->cred, size);
	if (whole->backing != NULL) {
		part->backing = whole->backing;
		part->backing_offset = whole->backing_offset + entry->offset;
		whole->backing->shadows++;
		whole->backing->refs++;
	}
	entry->object = part;
	entry->offset = 0;
	model_object_deallocate(whole);
}

/* K1 for an entry with an anonymous object. */
static void
fork_copy_object(struct model_map *map, struct model_map *child,
    struct model_entry *entry, struct model_entry *copy)
{
	bool charged = model_entry_is_charged(entry);
	bool needs_copy = (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
	vm_size_t size = model_entry_size(entry);

	model_object_collapse(entry->object);
	if (entry->object->onemapping)
		split_object(entry);
	entry->object->refs++;
	entry->object->onemapping = false;
	if (entry->charged && !needs_copy) {
		model_release(map->account, size);
		model_reserve_force(map->account, entry->object->size);
		model_object_charge(entry->object, map->account);
		entry->charged = false;
	}
	copy->object = entry->object;
	if (!charged)
		return;
	copy->charged = true;
	model_reserve_force(child->account, size);
	if (!needs_copy) {
		entry->charged = true;
		model_reserve_force(map->account, size);
	}
}

static void
fork_copy(struct model_map *map, struct model_map *child,
    struct model_entry *entry)
{
	struct model_entry copy = *entry;

	copy.eflags &= ~(uint32_t)(MAP_ENTRY_USER_WIRED | MAP_ENTRY_WRITECNT);
	copy.wired = 0;
	copy.charged = false;
	copy.object = NULL;
	if (entry->wired != 0 && (entry->prot & VM_PROT_WRITE) != 0) {
		copy.object =
		    model_object_anon(model_entry_size(&copy), child->account);
		model_reserve_force(child->account, model_entry_size(&copy));
		copy.offset = 0;
		copy.eflags &= ~(uint32_t)MAP_ENTRY_VN_EXEC;
	} else if (entry->object == NULL) {
		copy.offset = 0;
		copy.charged = entry->charged;
		if (entry->charged)
			model_reserve_force(child->account,
			    model_entry_size(&copy));
	} else {
		if (model_object_is_anon(entry->object))
			fork_copy_object(map, child, entry, &copy);
		else {
			model_object_reference(entry->object);
			copy.object = entry->object;
		}
		entry->eflags |= MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY;
		copy.eflags |= MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY;
		copy.offset = entry->offset;
	}
	model_link(child, &copy);
}

static void
fork_share(struct model_map *map, struct model_map *child,
    struct model_entry *entry)
{
	struct model_entry copy;
	struct model_object *object;

	if (entry->object == NULL)
		model_back(map, entry);
	object = entry->object;
	object->refs++;
	if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0) {
		model_object_shadow(&entry->object, &entry->offset,
		    model_entry_size(entry),
		    entry->charged ? map->account : NULL, true);
		entry->eflags &= ~(uint32_t)MAP_ENTRY_NEEDS_COPY;
		entry->charged = false;
		model_object_deallocate(object);
	} else {
		object->onemapping = false;
		if (entry->charged) {
			model_release(map->account, model_entry_size(entry));
			model_reserve_force(map->account, object->size);
			model_object_charge(object, map->account);
			entry->charged = false;
		}
	}
	copy = *entry;
	copy.eflags &= ~(uint32_t)MAP_ENTRY_USER_WIRED;
	copy.wired = 0;
	model_link(child, &copy);
}

static void
fork_zero(struct model_map *child, const struct model_entry *entry)
{
	struct model_entry copy = {.start = entry->start,
	    .end = entry->end,
	    .eflags =
		entry->eflags &
		~(uint32_t)(MAP_ENTRY_USER_WIRED | MAP_ENTRY_WRITECNT |
			    MAP_ENTRY_VN_EXEC | MAP_ENTRY_SPLIT_BOUNDARY_MASK),
	    .prot = entry->prot,
	    .max = entry->max,
	    .inherit = VM_INHERIT_ZERO,
	    .charged = true};

	model_reserve_force(child->account, model_entry_size(&copy));
	model_link(child, &copy);
}

int
model_map_fork(struct model_map *map, struct model_map **childp)
{
	struct model_map *child;
	struct model_entry *entry;
	vm_inherit_t how;

	model_begin(map);
	child = model_map_create(map->machine, map->min, map->max);
	child->flags = map->flags & (MAP_ASLR | MAP_ASLR_IGNSTART |
					MAP_ASLR_STACK | MAP_WXORX);
	child->anon_loc = map->anon_loc;
	child->random = map->random;
	child->random_arg = map->random_arg;
	model_map_set_limits(child, &map->limits);
	for (size_t i = 0; i < map->n; i++) {
		entry = &map->entries[i];
		how = entry->inherit;
		if ((entry->eflags & MAP_ENTRY_GUARD) != 0 &&
		    how != VM_INHERIT_NONE)
			how = VM_INHERIT_COPY;
		if (how == VM_INHERIT_COPY)
			fork_copy(map, child, entry);
		else if (how == VM_INHERIT_SHARE)
			fork_share(map, child, entry);
		else if (how == VM_INHERIT_ZERO)
			fork_zero(child, entry);
	}
	if ((child->account->overcommit & 1) != 0 &&
	    child->account->limit != 0 &&
	    child->account->reserved > child->account->limit) {
		model_abort();
		free(child->entries);
		free(child);
		return KERN_RESOURCE_SHORTAGE;
	}
	model_commit();
	*childp = child;
	return KERN_SUCCESS;
}
