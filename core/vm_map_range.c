/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Ranges: cut one out of its entries, and merge again what has become alike.
 *
 *	      start                      end
 *	[  first  |  )[        )[   last  |  )
 *
 * Calls that work on a range look for it once, with vm_map_range_find(), and
 * decide and commit on what that found.
 */

#include "core/vm_map_int.h"

/* Reserves. */

int
vm_map_reserve(vm_map_t map, unsigned n, unsigned net)
{
	uint64_t limit = map->limits.nentries;
	int rv;

	vm_map_assert_wlocked(map);

	if (limit != 0 && net > 0 && map->tree.count + net > limit)
		return KERN_RESOURCE_SHORTAGE;
	rv = uma_zone_reserve(&map->entries, n);
	if (rv == KERN_SUCCESS)
		rv = vm_tree_reserve(&map->tree, n);
	return rv;
}

void
vm_map_entry_burden_slow(vm_map_t map, struct vm_map_entry *entry)
{
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	vm_tree_seek(&map->tree, entry->start, &cur);
	MPASS(vm_cursor_entry(&cur) == entry);
	cur.leaf->item[cur.slot] &= ~VM_ITEM_BARE;
	entry->bare = false;
}

bool
vm_map_clip_backs(vm_map_t map, const struct vm_map_entry *entry)
{
	return entry->object.vm_object == NULL && !entry_is_guard(entry) &&
	       !vm_map_is_system(map);
}

void
vm_map_range_find(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_map_range *range)
{
	struct vm_map_entry *first;
	struct vm_cursor back;

	vm_map_assert_locked(map);
	MPASS(map->tree.min <= start && start < end && end <= map->tree.max);

	range->start = start;
	range->end = end;
	first = vm_map_seek_next(map, start, &range->cur);
	if (first != NULL && first->start >= end)
		first = NULL;
	range->first = range->last = first;
	range->cut_start = first != NULL && first->start < start;
	range->cut_end = false;
	if (first == NULL)
		return;
	if (first->end < end) {
		(void)vm_map_seek(map, end - 1, &back);
		range->last = vm_cursor_entry(&back);
	}
	range->cut_end = range->last->end > end;
}

/* May the entry be cut at `addr`? */
static int
grain_check(vm_map_t map, const struct vm_map_entry *entry, vm_offset_t addr)
{
	MPASS(entry->start < addr && addr < entry->end);
	MPASS(powerof2(vm_map_entry_grain(map, entry)));

	if ((addr & (vm_map_entry_grain(map, entry) - 1)) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

int
vm_map_range_check_start(vm_map_t map, const struct vm_map_range *range)
{
	if (!range->cut_start)
		return KERN_SUCCESS;
	return grain_check(map, range->first, range->start);
}

int
vm_map_range_check_end(vm_map_t map, const struct vm_map_range *range)
{
	if (!range->cut_end)
		return KERN_SUCCESS;
	return grain_check(map, range->last, range->end);
}

int
vm_map_range_check(vm_map_t map, const struct vm_map_range *range)
{
	int rv = vm_map_range_check_start(map, range);

	return rv != KERN_SUCCESS ? rv : vm_map_range_check_end(map, range);
}

unsigned
vm_map_range_nclips(const struct vm_map_range *range)
{
	return (unsigned)range->cut_start + (unsigned)range->cut_end;
}

int
vm_map_range_reserve_objects(vm_map_t map, const struct vm_map_range *range,
    unsigned nobjects, vm_object_t *sparep)
{
	bool first = range->cut_start && vm_map_clip_backs(map, range->first);
	bool last = range->cut_end && vm_map_clip_backs(map, range->last);

	/* If it is one entry, the first clip makes the object for both. */
	if (range->first == range->last && first)
		last = false;
	nobjects += (unsigned)first + (unsigned)last;
	if (nobjects == 0)
		return KERN_SUCCESS;
	return vm_object_spare_add(map->pmap->arch, nobjects, sparep);
}

int
vm_map_range_reserve(vm_map_t map, const struct vm_map_range *range,
    unsigned nobjects, vm_object_t *sparep)
{
	unsigned n = vm_map_range_nclips(range);
	int rv = n > 0 ? vm_map_reserve(map, n, n) : KERN_SUCCESS;

	vm_map_assert_wlocked(map);

	if (rv == KERN_SUCCESS)
		rv = vm_map_range_reserve_objects(map, range, nobjects, sparep);
	return rv;
}

/* Clipping. */

vm_size_t
vm_map_entry_grain(vm_map_t map, const struct vm_map_entry *entry)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	unsigned index = (entry->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) >>
			 MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;

	MPASS(index < VM_MAXPAGESIZES);

	return index == 0 ? 1 : machine->pagesizes[index];
}

void
vm_map_entry_back(vm_map_t map, struct vm_map_entry *entry, vm_object_t *sparep)
{
	vm_object_t object;

	MPASS(entry->object.vm_object == NULL && !entry_is_guard(entry));

	vm_map_entry_burden(map, entry);
	object = vm_object_spare_take(sparep, entry_size(entry));
	entry->object.vm_object = object;
	entry->offset = 0;
	if (entry->cred)
		vm_object_set_charge(object, map->account, entry_size(entry));
	entry->cred = false;
}

void
vm_map_entry_charge_object(vm_map_t map, struct vm_map_entry *entry)
{
	vm_object_t object = entry->object.vm_object;
	vm_size_t bytes = vm_object_size(object);

	MPASS(entry->cred);

	if (bytes > entry_size(entry))
		vm_account_charge(map->account, bytes - entry_size(entry));
	else
		vm_account_release(map->account, entry_size(entry) - bytes);
	vm_object_set_charge(object, map->account, bytes);
	entry->cred = false;
}

/*
 * Two entries are going to share what this one has: let the object, rather
 * than the entry, hold the charge.
 */
static void
clip_charge_object(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	MPASS((entry->eflags & MAP_ENTRY_IN_TRANSITION) == 0);

	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		return; /* what it shows is no object: each half pays */
	if (vm_map_clip_backs(map, entry))
		vm_map_entry_back(map, entry, sparep);
	else if (entry->cred && entry->object.vm_object != NULL &&
		 (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
		vm_map_entry_charge_object(map, entry);
}

/* A second entry with the same attributes; its reference is still to come. */
static struct vm_map_entry *
entry_copy(vm_map_t map, const struct vm_map_entry *entry)
{
	struct vm_map_entry *clone = uma_zalloc_reserved(&map->entries);

	MPASS(entry->start < entry->end);

	*clone = *entry;
	clone->pending = false;
	return clone;
}

static struct vm_map_entry *
entry_clone(vm_map_t map, const struct vm_map_entry *entry)
{
	struct vm_map_entry *clone = entry_copy(map, entry);

	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
		vm_object_reference_many(clone->object.vm_object, 1);
	return clone;
}

/* An entry moves its beginning: its offset follows, unless it has none. */
static void
entry_advance(struct vm_map_entry *entry, vm_size_t distance)
{
	MPASS(distance > 0);

	if (!entry_is_guard(entry))
		entry->offset += distance;
}

void
vm_map_clip_start(vm_map_t map, struct vm_cursor *cur, vm_offset_t addr,
    vm_object_t *sparep)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *lower;

	MPASS(addr < entry->end);

	if (addr <= entry->start)
		return;
	clip_charge_object(map, entry, sparep);
	lower = entry_clone(map, entry);
	entry_advance(entry, addr - entry->start);
	vm_tree_split(&map->tree, cur, addr, lower, entry);
	(void)vm_tree_next(&map->tree, cur);
	map->updates++;
	MPASS(vm_cursor_entry(cur) == entry && entry->start == addr);
}

void
vm_map_clip_end(vm_map_t map, struct vm_cursor *cur, vm_offset_t addr,
    vm_object_t *sparep)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *upper;

	MPASS(addr > entry->start);

	if (addr >= entry->end)
		return;
	clip_charge_object(map, entry, sparep);
	upper = entry_clone(map, entry);
	entry_advance(upper, addr - entry->start);
	vm_tree_split(&map->tree, cur, addr, entry, upper);
	map->updates++;
	MPASS(vm_cursor_entry(cur) == entry && entry->end == addr);
}

void
vm_map_clip_middle(vm_map_t map, struct vm_cursor *cur, vm_offset_t start,
    vm_offset_t end)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *lower, *upper;

	MPASS(entry->start < start && start < end && end < entry->end);
	MPASS((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0);
	MPASS(!vm_map_clip_backs(map, entry));

	clip_charge_object(map, entry, NULL);
	vm_object_reference_many(entry->object.vm_object, 2);
	lower = entry_copy(map, entry);
	upper = entry_copy(map, entry);
	entry_advance(upper, end - entry->start);
	entry_advance(entry, start - entry->start);
	vm_tree_carve(&map->tree, cur, start, end, lower, upper);
	map->updates += 2;
	MPASS(vm_cursor_entry(cur) == entry);
	MPASS(entry->start == start && entry->end == end);
}

void
vm_map_range_clip(vm_map_t map, struct vm_map_range *range, vm_object_t *sparep)
{
	struct vm_cursor back;

	if (range->cut_end && range->first != range->last) {
		(void)vm_map_seek(map, range->end, &back);
		vm_map_clip_end(map, &back, range->end, sparep);
		/* That may have moved the first entry to another leaf. */
		(void)vm_map_seek(map, range->first->start, &range->cur);
	}
	if (range->cut_start)
		vm_map_clip_start(map, &range->cur, range->start, sparep);
	if (range->cut_end && range->first == range->last)
		vm_map_clip_end(map, &range->cur, range->end, sparep);
	range->cut_start = range->cut_end = false;
	MPASS(range->first == NULL ||
	      vm_cursor_entry(&range->cur) == range->first);
}

/* Merging. */

bool
vm_map_mergeable(const struct vm_map_entry *prev,
    const struct vm_map_entry *entry)
{
	MPASS(prev->end <= entry->start);

	if ((entry->eflags & MAP_ENTRY_NOMERGE) != 0)
		return false;
	return prev->protection == entry->protection &&
	       prev->end == entry->start &&
	       prev->object.vm_object == entry->object.vm_object &&
	       (prev->object.vm_object == NULL ||
		   prev->offset + entry_size(prev) == entry->offset) &&
	       prev->eflags == entry->eflags &&
	       prev->max_protection == entry->max_protection &&
	       prev->inheritance == entry->inheritance &&
	       prev->wired_count == entry->wired_count &&
	       prev->cred == entry->cred;
}

void
vm_map_entry_retire(vm_map_t map, struct vm_map_entry *entry)
{
	vm_map_assert_wlocked(map);

	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
	    entry->object.vm_object == NULL) {
		uma_zfree(&map->entries, entry);
		return;
	}
	entry->next_dead = map->dead;
	map->dead = entry;
}

bool
vm_map_try_merge(vm_map_t map, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *prev;
	struct vm_cursor front;

	MPASS(entry != NULL);

	if ((entry->eflags & MAP_ENTRY_NOMERGE) != 0)
		return false;
	if (cur->slot > 0) {
		if (vm_leaf_end(cur->leaf, cur->slot - 1) != entry->start)
			return false;
		prev = vm_leaf_entry(cur->leaf, cur->slot - 1);
	} else {
		front = *cur;
		prev = vm_map_prev(map, &front);
		if (vm_cursor_gap_start(&front) != entry->start)
			return false;
	}
	if (prev == NULL || !vm_map_mergeable(prev, entry))
		return false;

	entry->offset = prev->offset;
	vm_tree_merge(&map->tree, cur);
	vm_map_entry_retire(map, prev);
	map->updates++;
	MPASS(vm_cursor_entry(cur) == entry);
	return true;
}

/* Two entries that the one behind them took over, with what they show. */
static void
entries_absorb(vm_map_t map, struct vm_map_entry *one,
    struct vm_map_entry *other)
{
	if (one->object.vm_object != NULL)
		vm_object_drop_many(one->object.vm_object, 2,
		    &map->dead_objects);
	uma_zfree(&map->entries, one);
	uma_zfree(&map->entries, other);
}

/* Do three neighbours in one leaf touch?  Slots behind each other. */
static bool
slots_touch(const struct vm_leaf *leaf, unsigned slot)
{
	return slot > 0 && slot + 1 < leaf->count &&
	       vm_leaf_end(leaf, slot - 1) == vm_leaf_start(leaf, slot) &&
	       vm_leaf_end(leaf, slot) == vm_leaf_start(leaf, slot + 1) &&
	       vm_leaf_entry(leaf, slot - 1) != NULL;
}

void
vm_map_merge_neighbours(vm_map_t map, struct vm_cursor *cur)
{
	const struct vm_leaf *leaf = cur->leaf;
	struct vm_map_entry *entry = vm_cursor_entry(cur), *prev, *next;
	unsigned slot = cur->slot;

	MPASS(entry != NULL);

	if (slots_touch(leaf, slot) &&
	    vm_map_mergeable(prev = vm_leaf_entry(leaf, slot - 1), entry) &&
	    vm_map_mergeable(entry, next = vm_leaf_entry(leaf, slot + 1))) {
		next->offset = prev->offset;
		vm_tree_heal(&map->tree, cur);
		entries_absorb(map, prev, entry);
		map->updates += 2;
		MPASS(vm_cursor_entry(cur) == next);
		return;
	}
	(void)vm_map_try_merge(map, cur);
	if (vm_cursor_gap_start(cur) == vm_cursor_gap_end(cur) &&
	    vm_tree_next(&map->tree, cur))
		(void)vm_map_try_merge(map, cur);
}

void
vm_map_range_merge(vm_map_t map, struct vm_map_range *range)
{
	struct vm_map_entry *entry = range->first;

	vm_map_assert_wlocked(map);

	while (entry != NULL) {
		bool behind = entry->start >= range->end;

		(void)vm_map_try_merge(map, &range->cur);
		if (behind)
			return;
		entry = vm_map_next(map, &range->cur);
	}
}
