/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Deleting.
 *
 * Each public call decides first, without side effects, then sets aside what
 * the commit can use (entries, tree nodes, objects for clipped entries that
 * have none), and then commits in code that cannot fail.
 */

#include "core/vm_map_int.h"

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

	MPASS(!entry->pending);

	if ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0) {
		MPASS(map->user_wired >= size);
		map->user_wired -= size;
	}
	if (!entry_is_guard(entry)) {
		MPASS(map->size >= size);
		map->size -= size;
	}
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
	MPASS(range->last != NULL && entry->start < range->end);
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

/*
 * The entry at the cursor, if it is exactly this one and its leaf says all that
 * its removal needs: in a large map what it would be waited for is the entry.
 */
static inline bool
delete_bare(vm_map_t map, struct vm_cursor *cur, vm_offset_t start,
    vm_offset_t end)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);

	if (!vm_leaf_is_bare(cur->leaf, cur->slot) ||
	    vm_leaf_start(cur->leaf, cur->slot) != start ||
	    vm_leaf_end(cur->leaf, cur->slot) != end)
		return false;
	MPASS(VM_INVARIANTS < 2 || vm_entry_is_bare(entry));
	MPASS(map->size >= end - start);

	__builtin_prefetch(entry, 1); /* it goes to the free ones */
	map->size -= end - start;
	vm_map_pmap_remove(map, start, end);
	vm_tree_remove(&map->tree, cur);
	uma_zfree(&map->entries, entry);
	map->updates++;
	return true;
}

int
vm_map_delete(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_cursor here, *cur = &here;
	struct vm_map_entry *entry;

	vm_map_assert_wlocked(map);

	/* FreeBSD does not clamp here; what is outside has no entries. */
	vm_map_clamp(map, &start, &end);
	if (start == end)
		return KERN_SUCCESS;
	/* What came last often goes first, and the tree knows where it is. */
	if (end == map->tree.finger_end)
		cur = &map->tree.finger;
	else
		vm_tree_seek(&map->tree, start, cur);
	if (delete_bare(map, cur, start, end))
		return KERN_SUCCESS;
	entry = vm_cursor_entry(cur);
	if (entry == NULL || entry->start != start || entry->end != end)
		return delete_range(map, start, end);
	/* Exactly one: nothing is cut, so nothing is set aside. */
	if (entry->wired_count != 0 && entry_system_wired(entry) > 0 &&
	    !vm_map_is_system(map))
		return KERN_WOULD_BLOCK;
	vm_map_entry_delete(map, cur);
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
	bool window = (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0;
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
		if (cut && moves && !window)
			return object == NULL && end == entry->end ? end - start
								   : 0;
		own = end - start;
	}
	if (object == NULL || window)
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
