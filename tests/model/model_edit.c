/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The naive map: calls that change what a range may do, not where it lies.
 */

#include <stdlib.h>

#include "tests/model/model_int.h"

/* Clip both ends of a range. */
static int
clip_range(struct model_map *map, vm_offset_t start, vm_offset_t end)
{
	int rv;

	rv = model_clip(map, start);
	if (rv != KERN_SUCCESS)
		return rv;
	return model_clip(map, end);
}

/* Protect */

/* P2: may every entry of the range have what is asked? */
static int
protect_check(const struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t want)
{
	const struct model_entry *entry;
	vm_prot_t max;

	for (size_t i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++) {
		entry = &map->entries[i];
		if ((entry->eflags & MAP_ENTRY_STACK_GAP) != 0)
			max = entry->gap_max;
		else if ((entry->eflags & MAP_ENTRY_GUARD) != 0)
			continue;
		else
			max = entry->max;
		if ((want & max) != want)
			return KERN_PROTECTION_FAILURE;
	}
	return KERN_SUCCESS;
}

/* P4: an entry that becomes writable has to pay. */
static int
protect_charge(struct model_map *map, struct model_entry *entry)
{
	struct model_object *object = entry->object;
	vm_size_t size = model_entry_size(entry);

	if (object == NULL || (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0) {
		if (!model_reserve(map->account, size))
			return KERN_RESOURCE_SHORTAGE;
		entry->charged = true;
	} else if (model_object_is_anon(object)) {
		if (!model_reserve(map->account, object->size))
			return KERN_RESOURCE_SHORTAGE;
		model_object_charge(object, map->account);
	}
	return KERN_SUCCESS;
}

/* P1, P3 */
static void
protect_apply(struct model_map *map, struct model_entry *entry, vm_prot_t prot,
    vm_prot_t max, int flags)
{
	bool gap = (entry->eflags & MAP_ENTRY_STACK_GAP) != 0;
	vm_prot_t *protp = gap ? &entry->gap_prot : &entry->prot;
	vm_prot_t *maxp = gap ? &entry->gap_max : &entry->max;
	vm_prot_t old = *protp;

	if (!gap && (entry->eflags & MAP_ENTRY_GUARD) != 0)
		return;
	if ((flags & VM_MAP_PROTECT_SET_MAXPROT) != 0) {
		*maxp = max;
		*protp &= max;
	}
	if ((flags & VM_MAP_PROTECT_SET_PROT) != 0)
		*protp = prot;
	if (!gap &&
	    (entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_USER_WIRED)) ==
		(MAP_ENTRY_COW | MAP_ENTRY_USER_WIRED) &&
	    (entry->prot & VM_PROT_WRITE) != 0 && (old & VM_PROT_WRITE) == 0)
		model_copy_wired(map, entry);
}

/*
 * With GROWSDOWN, a range whose first entry is a stack begins at the gap below
 * it, or where there is none, with the first entry of the map.
 */
static vm_offset_t
protect_start(const struct model_map *map, vm_offset_t start, vm_offset_t end)
{
	size_t i = model_first_above(map, start);

	if (i == map->n || map->entries[i].start >= end ||
	    (map->entries[i].eflags & MAP_ENTRY_GROWS_DOWN) == 0)
		return start;
	while (i > 0 && (map->entries[i].eflags & MAP_ENTRY_STACK_GAP) == 0)
		i--;
	return map->entries[i].start;
}

static int
protect(struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, vm_prot_t max, int flags)
{
	bool set_prot = (flags & VM_MAP_PROTECT_SET_PROT) != 0;
	bool set_max = (flags & VM_MAP_PROTECT_SET_MAXPROT) != 0;
	struct model_entry *entry;
	size_t i;
	int rv;

	rv = protect_check(map, start, end,
	    (vm_prot_t)((set_prot ? prot : 0) | (set_max ? max : 0)));
	if (rv != KERN_SUCCESS)
		return rv;
	rv = model_clip(map, start);
	if (rv != KERN_SUCCESS)
		return rv;
	for (i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++) {
		if (map->entries[i].end > end) {
			rv = model_clip(map, end);
			if (rv != KERN_SUCCESS)
				return rv;
		}
		entry = &map->entries[i];
		if (!set_prot || (prot & VM_PROT_WRITE) == 0 ||
		    (entry->prot & VM_PROT_WRITE) != 0 ||
		    (entry->eflags & MAP_ENTRY_GUARD) != 0 ||
		    model_entry_is_charged(entry))
			continue;
		rv = protect_charge(map, entry);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	for (i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++)
		protect_apply(map, &map->entries[i], prot, max, flags);
	model_merge_range(map, start, end);
	return KERN_SUCCESS;
}

int
model_map_protect(struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t new_prot, vm_prot_t new_maxprot, int flags)
{
	int both = VM_MAP_PROTECT_SET_PROT | VM_MAP_PROTECT_SET_MAXPROT;
	vm_prot_t wx = VM_PROT_WRITE | VM_PROT_EXECUTE;

	if (start == end)
		return KERN_SUCCESS;
	if ((flags & both) == both && (new_prot & new_maxprot) != new_prot)
		return KERN_OUT_OF_BOUNDS;
	if ((map->flags & MAP_WXORX) != 0 &&
	    (flags & VM_MAP_PROTECT_SET_PROT) != 0 && (new_prot & wx) == wx)
		return KERN_PROTECTION_FAILURE;
	model_clamp(map, &start, &end);
	if (start == end)
		return KERN_SUCCESS;
	if ((flags & VM_MAP_PROTECT_GROWSDOWN) != 0)
		start = protect_start(map, start, end);
	model_begin(map);
	return model_end(
	    protect(map, start, end, new_prot, new_maxprot, flags));
}

/* Inherit */

static int
inherit(struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_inherit_t value)
{
	struct model_entry *entry;
	size_t i;
	int rv;

	rv = clip_range(map, start, end);
	if (rv != KERN_SUCCESS)
		return rv;
	for (i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++) {
		entry = &map->entries[i];
		if (value == VM_INHERIT_COPY &&
		    (entry->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) != 0)
			return KERN_INVALID_ARGUMENT;
		if (value != VM_INHERIT_ZERO ||
		    (entry->eflags & MAP_ENTRY_GUARD) == 0)
			entry->inherit = value;
	}
	model_merge_range(map, start, end);
	return KERN_SUCCESS;
}

int
model_map_inherit(struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_inherit_t new_inheritance)
{
	if (new_inheritance < VM_INHERIT_SHARE ||
	    new_inheritance > VM_INHERIT_ZERO)
		return KERN_INVALID_ARGUMENT;
	if (start == end)
		return KERN_SUCCESS;
	model_clamp(map, &start, &end);
	if (start == end)
		return KERN_SUCCESS;
	model_begin(map);
	return model_end(inherit(map, start, end, new_inheritance));
}

/* Madvise */

/* The flags that an advice clears and sets; false: it changes no entry. */
static bool
advice_flags(int advice, uint32_t *clearp, uint32_t *setp)
{
	static const struct {
		int advice;
		uint32_t clear, set;
	} table[] = {
	    {VM_MADV_NORMAL, MAP_ENTRY_BEHAV_MASK, MAP_ENTRY_BEHAV_NORMAL},
	    {VM_MADV_RANDOM, MAP_ENTRY_BEHAV_MASK, MAP_ENTRY_BEHAV_RANDOM},
	    {VM_MADV_SEQUENTIAL, MAP_ENTRY_BEHAV_MASK,
		MAP_ENTRY_BEHAV_SEQUENTIAL},
	    {VM_MADV_NOSYNC, 0, MAP_ENTRY_NOSYNC},
	    {VM_MADV_AUTOSYNC, MAP_ENTRY_NOSYNC, 0},
	    {VM_MADV_NOCORE, 0, MAP_ENTRY_NOCOREDUMP},
	    {VM_MADV_CORE, MAP_ENTRY_NOCOREDUMP, 0},
	};

	for (size_t i = 0; i < nitems(table); i++)
		if (table[i].advice == advice) {
			*clearp = table[i].clear;
			*setp = table[i].set;
			return true;
		}
	return false;
}

int
model_map_madvise(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int advice)
{
	uint32_t clear, set;
	size_t i;
	int rv;

	if (advice < VM_MADV_NORMAL || advice > VM_MADV_CORE)
		return KERN_INVALID_ARGUMENT;
	if (start == end || !advice_flags(advice, &clear, &set))
		return KERN_SUCCESS;
	model_clamp(map, &start, &end);
	if (start == end)
		return KERN_SUCCESS;
	model_begin(map);
	rv = clip_range(map, start, end);
	if (rv == KERN_SUCCESS) {
		for (i = model_first_above(map, start);
		     i < map->n && map->entries[i].start < end; i++)
			map->entries[i].eflags =
			    (map->entries[i].eflags & ~clear) | set;
		model_merge_range(map, start, end);
	}
	return model_end(rv);
}

/* Wire, unwire */

/* W1: where the range begins, or INVALID_ADDRESS. */
static int
wire_start(const struct model_map *map, vm_offset_t start, int flags)
{
	size_t i;

	if (model_map_lookup_entry(map, start, &i) ||
	    (flags & VM_MAP_WIRE_HOLESOK) != 0)
		return KERN_SUCCESS;
	return KERN_INVALID_ADDRESS;
}

/* Does a hole follow entry i before `end`? */
static bool
hole_after(const struct model_map *map, size_t i, vm_offset_t end)
{
	return map->entries[i].end < end &&
	       (i + 1 == map->n ||
		   map->entries[i + 1].start > map->entries[i].end);
}

static int
wire_entry(struct model_map *map, struct model_entry *entry, int flags)
{
	bool user = (flags & VM_MAP_WIRE_USER) != 0;
	bool was_user = (entry->eflags & MAP_ENTRY_USER_WIRED) != 0;
	vm_prot_t need = (flags & VM_MAP_WIRE_WRITE) != 0 ? VM_PROT_WRITE : 0;

	if ((entry->prot & (VM_PROT_READ | VM_PROT_EXECUTE)) == 0 ||
	    (entry->prot & need) != need)
		return (flags & VM_MAP_WIRE_HOLESOK) != 0
			   ? KERN_SUCCESS
			   : KERN_INVALID_ADDRESS;
	if (user && was_user)
		return KERN_SUCCESS;
	if (user) {
		entry->eflags |= MAP_ENTRY_USER_WIRED;
		if (map->limits.memlock != 0 &&
		    model_map_user_wired(map) > map->limits.memlock)
			return KERN_RESOURCE_SHORTAGE;
	}
	entry->wired++;
	if (entry->wired > 1)
		return KERN_SUCCESS;
	return model_touch(map, entry, (entry->prot & VM_PROT_WRITE) != 0);
}

/* The range is clamped and not empty. */
int
model_wire(struct model_map *map, vm_offset_t start, vm_offset_t end, int flags)
{
	size_t i;
	int rv;

	rv = wire_start(map, start, flags);
	if (rv != KERN_SUCCESS || start == end)
		return rv;
	rv = model_clip(map, start);
	if (rv != KERN_SUCCESS)
		return rv;
	for (i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++) {
		if (map->entries[i].end > end) {
			rv = model_clip(map, end);
			if (rv != KERN_SUCCESS)
				return rv;
		}
		rv = wire_entry(map, &map->entries[i], flags);
		if (rv != KERN_SUCCESS)
			return rv;
		if ((flags & VM_MAP_WIRE_HOLESOK) == 0 &&
		    hole_after(map, i, end))
			return KERN_INVALID_ADDRESS;
	}
	model_merge_range(map, start, end);
	return KERN_SUCCESS;
}

int
model_map_wire(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int flags)
{
	if (start == end)
		return KERN_SUCCESS;
	model_clamp(map, &start, &end);
	model_begin(map);
	return model_end(model_wire(map, start, end, flags));
}

static int
unwire(struct model_map *map, vm_offset_t start, vm_offset_t end, int flags)
{
	bool user = (flags & VM_MAP_WIRE_USER) != 0;
	struct model_entry *entry;
	size_t i;
	int rv;

	rv = wire_start(map, start, flags);
	if (rv != KERN_SUCCESS || start == end)
		return rv;
	rv = model_clip(map, start);
	if (rv != KERN_SUCCESS)
		return rv;
	for (i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++) {
		if (map->entries[i].end > end) {
			rv = model_clip(map, end);
			if (rv != KERN_SUCCESS)
				return rv;
		}
		entry = &map->entries[i];
		if ((flags & VM_MAP_WIRE_HOLESOK) == 0 &&
		    hole_after(map, i, end))
			return KERN_INVALID_ADDRESS;
		if (!user && model_entry_system_wired(entry) == 0)
			return KERN_INVALID_ARGUMENT;
		if (user && (entry->eflags & MAP_ENTRY_USER_WIRED) == 0)
			continue;
		entry->wired--;
		if (user)
			entry->eflags &= ~(uint32_t)MAP_ENTRY_USER_WIRED;
	}
	model_merge_range(map, start, end);
	return KERN_SUCCESS;
}

int
model_map_unwire(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int flags)
{
	if (start == end)
		return KERN_SUCCESS;
	model_clamp(map, &start, &end);
	model_begin(map);
	return model_end(unwire(map, start, end, flags));
}

/* Sync, check_protection */

int
model_map_sync(struct model_map *map, vm_offset_t start, vm_offset_t end,
    bool syncio, bool invalidate)
{
	const struct model_entry *entry;
	vm_size_t boundary;
	size_t i;

	(void)syncio; /* nothing here has a pager that could fail */
	model_clamp(map, &start, &end);
	if (!model_map_lookup_entry(map, start, &i))
		return KERN_INVALID_ADDRESS;
	if (start == end) {
		start = map->entries[i].start;
		end = map->entries[i].end;
	}
	for (; i < map->n && map->entries[i].start < end; i++) {
		entry = &map->entries[i];
		boundary = model_entry_boundary(map, entry);
		if (invalidate && (entry->eflags & MAP_ENTRY_USER_WIRED) != 0)
			return KERN_INVALID_ARGUMENT;
		if (invalidate &&
		    (start % boundary != 0 || end % boundary != 0))
			return KERN_INVALID_ARGUMENT;
		if (hole_after(map, i, end))
			return KERN_INVALID_ADDRESS;
	}
	return KERN_SUCCESS;
}

bool
model_map_check_protection(const struct model_map *map, vm_offset_t start,
    vm_offset_t end, vm_prot_t prot)
{
	size_t i;

	if (!model_map_lookup_entry(map, start, &i))
		return false;
	for (; start < end; i++) {
		if (i == map->n || map->entries[i].start > start ||
		    (map->entries[i].prot & prot) != prot)
			return false;
		start = map->entries[i].end;
	}
	return true;
}

bool
model_map_check_boundary(const struct model_map *map, vm_offset_t start,
    vm_offset_t end)
{
	const vm_offset_t edges[] = {start, end};
	const struct model_entry *entry;
	size_t i;

	if (!model_range_valid(map, start, end))
		return false;
	for (size_t e = 0; e < nitems(edges) && start < end; e++) {
		if (!model_map_lookup_entry(map, edges[e], &i))
			continue;
		entry = &map->entries[i];
		if (entry->start < edges[e] &&
		    edges[e] % model_entry_boundary(map, entry) != 0)
			return false;
	}
	return true;
}
