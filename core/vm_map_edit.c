/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Insert, clip, merge, delete.
 *
 * Each public call decides first, without side effects, then sets aside what
 * the commit can use (entries, tree nodes, objects for clipped entries that
 * have none), and then commits in code that cannot fail.
 */

#include "core/vm_map_int.h"

/* Inserting. */

/* The bits of the cow word that become bits of the entry. */
static uint32_t
eflags_from_cow(int cow)
{
	uint32_t boundary = (uint32_t)(cow & MAP_SPLIT_BOUNDARY_MASK) >>
			    MAP_SPLIT_BOUNDARY_SHIFT;
	uint32_t eflags = boundary << MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;

#define COW_BIT(from, to) (((cow & (from)) != 0) ? (uint32_t)(to) : 0)
	eflags |=
	    COW_BIT(MAP_COPY_ON_WRITE, MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY);
	eflags |= COW_BIT(MAP_NOFAULT, MAP_ENTRY_NOFAULT);
	eflags |= COW_BIT(MAP_DISABLE_SYNCER, MAP_ENTRY_NOSYNC);
	eflags |= COW_BIT(MAP_CREATE_GUARD, MAP_ENTRY_GUARD);
	eflags |= COW_BIT(MAP_DISABLE_COREDUMP, MAP_ENTRY_NOCOREDUMP);
	eflags |= COW_BIT(MAP_WRITECOUNT, MAP_ENTRY_WRITECNT);
	eflags |= COW_BIT(MAP_STACK_AREA, MAP_ENTRY_GROWS_DOWN);
	eflags |= COW_BIT(MAP_CREATE_STACK_GAP, MAP_ENTRY_STACK_GAP);
	eflags |= COW_BIT(MAP_VN_EXEC, MAP_ENTRY_VN_EXEC);
#undef COW_BIT
	return eflags;
}

/* I5: the split boundary, if any, fits the machine and the range. */
static int
boundary_check(vm_map_t map, const struct vm_map_new *ins)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	int index =
	    (ins->cow & MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	vm_size_t mask;

	MPASS(index >= 0 && index < VM_MAXPAGESIZES);

	if (index == 0)
		return KERN_SUCCESS;
	if (index >= machine->npagesizes)
		return KERN_INVALID_ARGUMENT;
	mask = machine->pagesizes[index] - 1; /* all ones: not supported */
	if (((ins->start | ins->end) & mask) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

/* I1 and I2: what is refused before the map is looked at. */
static int
insert_check_early(vm_map_t map, const struct vm_map_new *ins)
{
	KASSERT((ins->prot & ~ins->max) == 0, "rights beyond the maximum");
	KASSERT((ins->cow & MAP_NOFAULT) == 0 || ins->object == NULL ||
		    (ins->cow & MAP_SPLIT_BOUNDARY_MASK) != 0,
	    "an object that cannot be faulted");
	KASSERT(((ins->start | ins->end | ins->offset) & (map->pagesize - 1)) ==
		    0,
	    "not page aligned");

	if (ins->start == ins->end ||
	    !vm_map_range_valid(map, ins->start, ins->end))
		return KERN_INVALID_ADDRESS;
	if ((map->flags & MAP_WXORX) != 0 &&
	    (ins->prot & (VM_PROT_WRITE | VM_PROT_EXECUTE)) ==
		(VM_PROT_WRITE | VM_PROT_EXECUTE))
		return KERN_PROTECTION_FAILURE;
	return KERN_SUCCESS;
}

/* I4 and I5: what is refused when the range is free. */
static int
insert_check_late(vm_map_t map, const struct vm_map_new *ins)
{
	if ((ins->cow & MAP_CREATE_GUARD) != 0 &&
	    (ins->object != NULL || ins->max != VM_PROT_NONE))
		return KERN_INVALID_ARGUMENT;
	return boundary_check(map, ins);
}

int
vm_map_insert_check(vm_map_t map, const struct vm_map_new *ins)
{
	int rv = insert_check_early(map, ins);

	return rv != KERN_SUCCESS ? rv : insert_check_late(map, ins);
}

bool
vm_map_is_free(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_cursor *cur)
{
	MPASS(start <= end);

	return vm_map_seek(map, start, cur) == NULL &&
	       end <= vm_cursor_gap_end(cur);
}

/* A1: may swap be reserved for this, and must it be? */
static bool
insert_is_chargeable(const struct vm_map_new *ins)
{
	return (ins->cow &
		   (MAP_ACC_NO_CHARGE | MAP_NOFAULT | MAP_CREATE_GUARD)) == 0;
}

bool
vm_map_insert_charges(const struct vm_map_new *ins)
{
	if (!insert_is_chargeable(ins))
		return false;
	return (ins->cow & MAP_ACC_CHARGED) != 0 ||
	       ((ins->prot & VM_PROT_WRITE) != 0 &&
		   ((ins->cow & MAP_COPY_ON_WRITE) != 0 ||
		       ins->object == NULL));
}

int
vm_map_insert_charge(vm_map_t map, const struct vm_map_new *ins, bool *chargedp)
{
	vm_size_t bytes = ins->end - ins->start;
	bool charged = vm_map_insert_charges(ins);

	vm_map_assert_wlocked(map);

	if (charged && (ins->cow & MAP_ACC_CHARGED) != 0)
		vm_account_charge(map->account, bytes);
	else if (charged && !vm_map_swap_reserve(map, bytes))
		return KERN_RESOURCE_SHORTAGE;
	*chargedp = charged;
	return KERN_SUCCESS;
}

static vm_inherit_t
insert_inheritance(const struct vm_map_new *ins)
{
	return (ins->cow & MAP_INHERIT_SHARE) != 0 ? VM_INHERIT_SHARE
						   : VM_INHERIT_DEFAULT;
}

/*
 * M1, M4: may a new anonymous range go on with what `prev` shows?  BUG-14:
 * gaps do not, FreeBSD extends a stale one.
 */
static bool
coalesce_agrees(vm_map_t map, const struct vm_map_entry *prev,
    const struct vm_map_new *ins, bool charged)
{
	const int never = MAP_STACK_AREA | MAP_VN_EXEC | MAP_CREATE_STACK_GAP;
	struct vm_account *cred = charged ? map->account : NULL;
	uint32_t eflags;

	/* What needs no look at the entry comes first. */
	if (ins->object != NULL || (never & ins->cow) != 0 || prev == NULL ||
	    prev->end != ins->start)
		return false;
	eflags = eflags_from_cow(ins->cow);
	if ((prev->eflags & ~(uint32_t)MAP_ENTRY_USER_WIRED) != eflags)
		return false;
	if (prev->cred == charged)
		return true;
	return (eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
	       prev->object.vm_object != NULL &&
	       vm_object_cred(prev->object.vm_object) == cred;
}

static bool
coalesce_extends(const struct vm_map_entry *prev, const struct vm_map_new *ins)
{
	return prev->inheritance == insert_inheritance(ins) &&
	       prev->protection == ins->prot &&
	       prev->max_protection == ins->max && prev->wired_count == 0;
}

/* Make the object of `prev` long enough for the new range too. */
static bool
coalesce_objects(vm_map_t map, struct vm_map_entry *prev,
    const struct vm_map_new *ins, bool charged)
{
	bool needs_copy = (ins->cow & MAP_COPY_ON_WRITE) != 0;
	struct vm_coalesce how = {
	    .offset = prev->offset,
	    .prev_size = entry_size(prev),
	    .next_size = ins->end - ins->start,
	    .charged = charged && !needs_copy,
	};

	MPASS(ins->object == NULL && prev->end == ins->start);

	return vm_object_coalesce(prev->object.vm_object, &how,
	    &map->dead_objects);
}

/* Extend the entry at the cursor over the new range behind it. */
static void
insert_extend(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);

	MPASS(prev->end == ins->start);

	if (!entry_is_guard(prev))
		map->size += ins->end - ins->start;
	vm_tree_resize(&map->tree, cur, prev->start, ins->end);
	map->updates++;
}

static struct vm_map_entry *
entry_create(vm_map_t map, const struct vm_map_new *ins, bool charged)
{
	struct vm_map_entry *entry = uma_zalloc_reserved(&map->entries);

	MPASS(ins->start < ins->end);

	*entry = (struct vm_map_entry){
	    .start = ins->start,
	    .end = ins->end,
	    .object.vm_object = ins->object,
	    .offset = ins->offset,
	    .eflags = eflags_from_cow(ins->cow),
	    .protection = ins->prot,
	    .max_protection = ins->max,
	    .inheritance = insert_inheritance(ins),
	    .cred = charged,
	};
	return entry;
}

/* Try to merge the entry at the cursor with both its neighbours. */
static void
merge_both(vm_map_t map, struct vm_cursor *cur)
{
	MPASS(vm_cursor_entry(cur) != NULL);

	(void)vm_map_try_merge(map, cur);
	if (vm_cursor_gap_start(cur) == vm_cursor_gap_end(cur) &&
	    vm_tree_next(&map->tree, cur))
		(void)vm_map_try_merge(map, cur);
}

static void
insert_link(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins,
    bool charged)
{
	struct vm_map_entry *entry = entry_create(map, ins, charged);

	MPASS(vm_cursor_gap_start(cur) <= ins->start);

	if (!entry_is_guard(entry))
		map->size += entry_size(entry);
	vm_tree_insert(&map->tree, cur, entry);
	map->updates++;
	merge_both(map, cur);
	if ((ins->cow & (MAP_PREFAULT | MAP_PREFAULT_PARTIAL)) != 0)
		vm_map_pmap_enter(map, ins->start, ins->end, ins->prot);
}

/*
 * Enter the new range behind the cursor.  Without `room` only the entry in
 * front may grow; false: it cannot, and nothing has changed.
 */
static bool
insert_enter(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins,
    bool charged, bool room)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);
	struct vm_map_new cont = *ins;
	bool agrees, extends;

	vm_map_assert_wlocked(map);

	if (ins->object != NULL)
		vm_object_mapped(ins->object);
	agrees = coalesce_agrees(map, prev, ins, charged);
	extends = agrees && coalesce_extends(prev, ins);
	if (!extends && !room)
		return false;
	if (!agrees || !coalesce_objects(map, prev, ins, charged)) {
		if (room)
			insert_link(map, cur, ins, charged);
		return room;
	}
	if (extends) {
		insert_extend(map, cur, ins);
		if (vm_cursor_gap_start(cur) == vm_cursor_gap_end(cur) &&
		    vm_tree_next(&map->tree, cur))
			(void)vm_map_try_merge(map, cur);
		return true;
	}
	if (prev->object.vm_object != NULL) {
		cont.object = prev->object.vm_object;
		cont.offset = prev->offset + entry_size(prev);
		vm_object_reference(cont.object);
		/* The object already pays for the new range. */
		if (vm_object_cred(cont.object) != NULL &&
		    (prev->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
			charged = false;
	}
	insert_link(map, cur, &cont, charged);
	return true;
}

void
vm_map_insert_commit(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins, bool charged)
{
	bool entered;

	vm_map_assert_wlocked(map);

	entered = insert_enter(map, cur, ins, charged, true);
	MPASS(entered);
}

int
vm_map_insert_at(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins)
{
	uint64_t limit = map->limits.nentries;
	bool room = limit == 0 || map->tree.count < limit;
	bool charged;
	int rv;

	vm_map_assert_wlocked(map);

	rv = vm_map_reserve(map, 1, 0);
	if (rv == KERN_SUCCESS)
		rv = vm_map_insert_charge(map, ins, &charged);
	if (rv != KERN_SUCCESS)
		return rv;
	if (insert_enter(map, cur, ins, charged, room))
		return KERN_SUCCESS;
	if (charged)
		vm_account_release(map->account, ins->end - ins->start);
	return KERN_RESOURCE_SHORTAGE;
}

int
vm_map_insert(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max, int cow)
{
	struct vm_map_new ins = {
	    .object = object,
	    .offset = offset,
	    .start = start,
	    .end = end,
	    .prot = prot,
	    .max = max,
	    .cow = cow,
	};
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(map);

	rv = insert_check_early(map, &ins);
	if (rv != KERN_SUCCESS)
		return rv;
	if (!vm_map_is_free(map, start, end, &cur))
		return KERN_NO_SPACE;
	rv = insert_check_late(map, &ins);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_map_insert_at(map, &cur, &ins);
}

/* Deleting. */

int
vm_map_delete_check(vm_map_t map, const struct vm_map_range *range)
{
	struct vm_map_entry *entry = range->first;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_locked(map);

	rv = vm_map_range_check_start(map, range);
	if (rv != KERN_SUCCESS || entry == NULL)
		return rv;
	if (!vm_map_is_system(map)) {
		if (entry_system_wired(entry) > 0)
			return KERN_WOULD_BLOCK;
		if (entry != range->last)
			cur = range->cur;
		while (entry != range->last) {
			entry = vm_map_next(map, &cur);
			if (entry_system_wired(entry) > 0)
				return KERN_WOULD_BLOCK;
		}
	}
	return vm_map_range_check_end(map, range);
}

int
vm_map_delete_reserve(vm_map_t map, const struct vm_map_range *range,
    unsigned ninserts, vm_object_t *sparep)
{
	unsigned n = vm_map_range_nclips(range) + ninserts, nremoved = 0;
	struct vm_map_entry *entry = range->first;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(map);

	if (n == 0)
		return KERN_SUCCESS;
	/* What goes makes up for what comes; four will do for any call. */
	if (entry != NULL) {
		cur = range->cur;
		nremoved = 1;
		while (entry != range->last && nremoved < 4) {
			entry = vm_map_next(map, &cur);
			nremoved++;
		}
	}
	rv = vm_map_reserve(map, n, n - MIN(n, nremoved));
	if (rv == KERN_SUCCESS)
		rv = vm_map_range_reserve_objects(map, range, 0, sparep);
	return rv;
}

void
vm_map_entry_delete(vm_map_t map, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	vm_size_t size = entry_size(entry);

	MPASS(entry != NULL);

	if ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0)
		map->user_wired -= size;
	if (!entry_is_guard(entry))
		map->size -= size;
	if (entry->cred)
		vm_account_release(map->account, size);
	vm_map_pmap_remove(map, entry->start, entry->end);
	if (entry->object.vm_object != NULL &&
	    (entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
		vm_object_unmapped(entry->object.vm_object, entry->offset, size,
		    &map->dead_objects);
	vm_tree_remove(&map->tree, cur);
	vm_map_entry_retire(map, entry);
	map->updates++;
}

void
vm_map_delete_commit(vm_map_t map, struct vm_map_range *range,
    vm_object_t *sparep)
{
	struct vm_map_entry *entry = range->first;
	bool last;

	vm_map_assert_wlocked(map);

	if (entry == NULL)
		return;
	vm_map_range_clip(map, range, sparep);
	for (;;) {
		last = entry == range->last;
		vm_map_entry_delete(map, &range->cur);
		if (last)
			break;
		entry = vm_map_next(map, &range->cur);
	}
	vm_object_spare_fini(sparep);
}

/* The general case: cuts, holes, any number of entries. */
static int
delete_range(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_range range;
	vm_object_t spare = NULL;
	int rv;

	vm_map_assert_wlocked(map);

	vm_map_range_find(map, start, end, &range);
	rv = vm_map_delete_check(map, &range);
	if (rv == KERN_SUCCESS)
		rv = vm_map_delete_reserve(map, &range, 0, &spare);
	if (rv == KERN_SUCCESS)
		vm_map_delete_commit(map, &range, &spare);
	return rv;
}

int
vm_map_delete(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	/* FreeBSD does not clamp here; what is outside has no entries. */
	vm_map_clamp(map, &start, &end);
	if (start == end)
		return KERN_SUCCESS;
	entry = vm_map_seek(map, start, &cur);
	if (entry == NULL || entry->start != start || entry->end != end)
		return delete_range(map, start, end);
	/* Exactly one: nothing is cut, so nothing is set aside. */
	if (!vm_map_is_system(map) && entry_system_wired(entry) > 0)
		return KERN_WOULD_BLOCK;
	vm_map_entry_delete(map, &cur);
	return KERN_SUCCESS;
}

int
vm_map_remove(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	int rv;

	vm_map_lock(map);
	rv = vm_map_delete(map, start, end);
	vm_map_unlock(map);
	return rv;
}

/* Bytes that deleting [start, end) out of one entry gives back at once. */
static vm_size_t
entry_releases(vm_map_t map, const struct vm_map_entry *entry,
    vm_offset_t start, vm_offset_t end)
{
	bool cut = entry->start < start || entry->end > end;
	vm_object_t object = entry->object.vm_object;
	vm_ooffset_t offset = entry->offset;
	vm_size_t own = 0;

	if (entry->start < start)
		offset += start - entry->start;
	start = MAX(start, entry->start);
	end = MIN(end, entry->end);
	MPASS(start < end);

	if (entry->cred) {
		bool moves = object == NULL
				 ? vm_map_clip_backs(map, entry)
				 : (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0;

		/* The clip gives the charge to the object, cut at its end. */
		if (cut && moves)
			return object == NULL && end == entry->end ? end - start
								   : 0;
		own = end - start;
	}
	if (object == NULL || (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		return own;
	return own + vm_object_truncation(object, map->account, offset,
			 end - start, cut);
}

int
vm_map_replace_charge(vm_map_t map, vm_offset_t start, vm_offset_t end,
    const struct vm_map_new *ins, bool *chargedp)
{
	vm_size_t bytes = ins->end - ins->start, back = 0;
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	if (!vm_map_insert_charges(ins) || (ins->cow & MAP_ACC_CHARGED) != 0)
		return vm_map_insert_charge(map, ins, chargedp);
	for (entry = vm_map_seek_next(map, start, &cur);
	     entry != NULL && entry->start < end;
	     entry = vm_map_next(map, &cur))
		back += entry_releases(map, entry, start, end);
	/* Ask as if it were gone, but keep it until the commit. */
	vm_account_release(map->account, back);
	*chargedp = vm_map_swap_reserve(map, bytes);
	vm_account_charge(map->account, back);
	return *chargedp ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
}

void
vm_map_clear(vm_map_t map)
{
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	while (vm_map_seek_next(map, map->tree.min, &cur) != NULL)
		vm_map_entry_delete(map, &cur);
}
