/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Calls that change what a range may do, not where it lies: protect, inherit,
 * madvise, submap; and those that only look: sync, check_protection.
 */

#include "core/vm_map_int.h"

/* One call of vm_map_protect(). */
struct protect {
	struct vm_map_range range;
	vm_prot_t prot, max;
	bool set_prot, set_max;
	bool copies_wired; /* some user-wired entry has to be copied */
};

/* A user-wired entry that becomes writable is copied at once. */
static bool
protect_copies(const struct protect *p, const struct vm_map_entry *entry)
{
	uint32_t both = MAP_ENTRY_COW | MAP_ENTRY_USER_WIRED;

	return p->set_prot && (p->prot & VM_PROT_WRITE) != 0 &&
	       (entry->protection & VM_PROT_WRITE) == 0 &&
	       (entry->eflags & both) == both;
}

/* P2: may every entry of the range have what is asked?  Pure. */
static int
protect_check(vm_map_t map, struct protect *p)
{
	vm_prot_t want = (vm_prot_t)((p->set_prot ? p->prot : 0) |
				     (p->set_max ? p->max : 0));
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	vm_prot_t max;

	vm_map_assert_wlocked(map);

	VM_MAP_RANGE_FOREACH(map, &p->range, cur, entry)
	{
		if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
			return KERN_INVALID_ARGUMENT;
		max = entry->max_protection;
		if (entry_is_guard(entry)) {
			if ((entry->eflags & MAP_ENTRY_STACK_GAP) == 0)
				continue;
			max = entry->gap_max;
		}
		if ((want & ~max) != 0)
			return KERN_PROTECTION_FAILURE;
		p->copies_wired |= protect_copies(p, entry);
	}
	return KERN_SUCCESS;
}

/*
 * What P4 reserves for an entry that becomes writable: for the entry as it
 * will be after the clip, for the object that the clip will give it, or for
 * the object that it has.
 */
static vm_size_t
protect_charge(vm_map_t map, const struct protect *p,
    const struct vm_map_entry *entry)
{
	bool cut = entry->start < p->range.start || entry->end > p->range.end;
	bool backs = cut && vm_map_clip_backs(map, entry);
	vm_object_t object = entry->object.vm_object;
	vm_size_t overlap;

	MPASS(entry->start < p->range.end && entry->end > p->range.start);

	if (!p->set_prot || entry_is_guard(entry) ||
	    (p->prot & ~entry->protection & VM_PROT_WRITE) == 0)
		return 0;
	overlap =
	    MIN(entry->end, p->range.end) - MAX(entry->start, p->range.start);
	if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		return entry->cred && !backs ? 0 : overlap;
	if (entry_is_charged(entry))
		return 0;
	if (backs)
		return entry_size(entry);
	if (object == NULL)
		return overlap;
	return vm_object_type(object) == OBJT_SWAP ? vm_object_size(object) : 0;
}

/* Is it the object, as it is now, that pays for the entry? */
static bool
protect_charges_object(const struct vm_map_entry *entry)
{
	return entry->object.vm_object != NULL &&
	       (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0;
}

/*
 * There is nothing to charge: an object that was cut down to nothing still
 * gets somebody who pays.
 */
static bool
protect_charges_empty(const struct protect *p, const struct vm_map_entry *entry)
{
	return p->set_prot && protect_charges_object(entry) &&
	       (p->prot & ~entry->protection & VM_PROT_WRITE) != 0 &&
	       !entry_is_charged(entry) &&
	       vm_object_type(entry->object.vm_object) == OBJT_SWAP;
}

/* Undo protect_reserve() for the entries in front of `stop`. */
static void
protect_unreserve(vm_map_t map, const struct protect *p,
    const struct vm_map_entry *stop)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	vm_size_t bytes;

	VM_MAP_RANGE_FOREACH(map, &p->range, cur, entry)
	{
		if (entry == stop)
			return;
		if (!entry->pending)
			continue;
		entry->pending = false;
		/* Charged as a whole it looks paid for; take that off first. */
		if (protect_charges_object(entry))
			vm_object_clear_charge(entry->object.vm_object);
		bytes = protect_charge(map, p, entry);
		vm_account_release(map->account, bytes);
	}
}

/*
 * P4: reserve swap for every entry that becomes writable, and mark it.  An
 * object is charged at once, so that the next entry that shows it is not.
 * BUG-7: when one reservation fails the others are given back.
 */
static int
protect_reserve(vm_map_t map, const struct protect *p)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	vm_size_t bytes;
	int rv = KERN_SUCCESS;
	bool pays;

	vm_map_assert_wlocked(map);

	VM_MAP_RANGE_FOREACH(map, &p->range, cur, entry)
	{
		if (entry == p->range.last)
			rv = vm_map_range_check_end(map, &p->range);
		bytes = protect_charge(map, p, entry);
		/* Above the limit even nothing cannot be reserved. */
		pays = bytes > 0 || protect_charges_empty(p, entry);
		if (rv == KERN_SUCCESS && pays &&
		    !vm_map_swap_reserve(map, bytes))
			rv = KERN_RESOURCE_SHORTAGE;
		if (rv != KERN_SUCCESS) {
			protect_unreserve(map, p, entry);
			return rv;
		}
		entry->pending = pays;
		if (entry->pending && protect_charges_object(entry) &&
		    !vm_object_try_charge(entry->object.vm_object, map->account,
			bytes)) {
			entry->pending = false;
			vm_account_release(map->account, bytes);
		}
	}
	return KERN_SUCCESS;
}

/* The entry, cut to the range, takes the charge that was reserved for it. */
static void
protect_take_charge(vm_map_t map, struct vm_map_entry *entry)
{
	vm_object_t object = entry->object.vm_object;

	vm_map_assert_wlocked(map);

	if (!entry->pending)
		return;
	entry->pending = false;
	vm_map_entry_burden(map, entry);
	if (object == NULL || (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		entry->cred = true;
	else if (vm_object_cred(object) == NULL)
		vm_object_set_charge(object, map->account,
		    vm_object_size(object));
}

void
vm_map_entry_copy_wired(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	vm_size_t size = entry_size(entry);

	MPASS((entry->eflags & MAP_ENTRY_USER_WIRED) != 0);

	if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0) {
		vm_object_drop(entry->object.vm_object, &map->dead_objects);
		entry->object.vm_object = vm_object_spare_take(sparep, size);
		entry->offset = 0;
		MPASS(entry->cred); /* it can be written to */
		vm_object_set_charge(entry->object.vm_object, map->account,
		    size);
		entry->cred = false;
	}
	entry->eflags &= ~(uint32_t)(MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY);
}

/* P1, P3: the new rights of one entry. */
static void
protect_apply(vm_map_t map, const struct protect *p, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	bool gap = (entry->eflags & MAP_ENTRY_STACK_GAP) != 0;
	vm_prot_t *protp = gap ? &entry->gap_prot : &entry->protection;
	vm_prot_t *maxp = gap ? &entry->gap_max : &entry->max_protection;
	bool copies = protect_copies(p, entry);
	vm_prot_t old = *protp;

	if (entry_is_guard(entry) && !gap)
		return;
	if (p->set_max) {
		*maxp = p->max;
		*protp &= p->max;
	}
	if (p->set_prot)
		*protp = p->prot;
	MPASS((*protp & ~*maxp) == 0);
	if (copies)
		vm_map_entry_copy_wired(map, entry, sparep);
	if (*protp != old && !gap)
		vm_map_pmap_protect(map, entry->start, entry->end, *protp);
}

static void
protect_commit(vm_map_t map, struct protect *p, vm_object_t *sparep,
    vm_object_t *copiesp)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	vm_map_range_clip(map, &p->range, sparep);
	VM_MAP_RANGE_FOREACH(map, &p->range, cur, entry)
	{
		protect_take_charge(map, entry);
		protect_apply(map, p, entry, copiesp);
	}
	map->updates++;
	vm_map_range_merge(map, &p->range);
}

/* GROWSDOWN: the range begins with the gap of the stack that it begins in. */
static vm_offset_t
protect_start(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_cursor cur;
	struct vm_map_entry *entry = vm_map_seek_next(map, start, &cur);
	struct vm_map_entry *prev;

	if (entry == NULL || entry->start >= end ||
	    (entry->eflags & MAP_ENTRY_GROWS_DOWN) == 0)
		return start;
	while ((entry->eflags & MAP_ENTRY_STACK_GAP) == 0 &&
	       (prev = vm_map_prev(map, &cur)) != NULL)
		entry = prev;
	return entry->start;
}

/* Copy what a user-wired entry shows that is about to become writable. */
static int
protect_copy_wired(vm_map_t map, const struct protect *p, vm_object_t *sparep)
{
	vm_object_t *tail = sparep;
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	int rv;

	VM_MAP_RANGE_FOREACH(map, &p->range, cur, entry)
	{
		vm_offset_t start = MAX(entry->start, p->range.start);
		vm_offset_t end = MIN(entry->end, p->range.end);

		if (!protect_copies(p, entry) ||
		    (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
			continue;
		rv = vm_object_spare_copy(map->pmap->arch,
		    entry->object.vm_object,
		    entry->offset + (start - entry->start), end - start,
		    map->pager, &tail);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	return KERN_SUCCESS;
}

static int
protect_locked(vm_map_t map, struct protect *p)
{
	vm_object_t spare = NULL, copies = NULL;
	int rv;

	rv = protect_check(map, p);
	if (rv == KERN_SUCCESS)
		rv = vm_map_range_check_start(map, &p->range);
	if (rv == KERN_SUCCESS)
		rv = vm_map_range_reserve(map, &p->range, 0, &spare);
	if (rv == KERN_SUCCESS && p->copies_wired)
		rv = protect_copy_wired(map, p, &copies);
	if (rv == KERN_SUCCESS)
		rv = protect_reserve(map, p);
	if (rv == KERN_SUCCESS)
		protect_commit(map, p, &spare, &copies);
	vm_object_spare_fini(&spare);
	vm_object_spare_fini(&copies);
	return rv;
}

/*
 * Cut [start, end) out of the entry at the cursor.  KERN_RESTART: the charge of
 * an entry that needs a copy would go to an object.  KERN_RESOURCE_SHORTAGE.
 */
static int
protect_cut(vm_map_t map, struct vm_cursor *cur, vm_offset_t start,
    vm_offset_t end)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	bool middle = entry->start < start && end < entry->end;
	bool backs = vm_map_clip_backs(map, entry);
	vm_object_t spare = NULL;
	int rv;

	MPASS(entry->start < start || end < entry->end);

	if (backs && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		return KERN_RESTART;
	rv = vm_map_reserve(map, middle ? 2 : 1, middle ? 2 : 1);
	if (rv == KERN_SUCCESS && backs) {
		rv = vm_object_spare_add(map->pmap->arch, 1, &spare);
		if (rv == KERN_SUCCESS)
			vm_map_entry_back(map, entry, &spare);
	}
	if (rv != KERN_SUCCESS)
		return rv;
	if (middle) {
		vm_map_clip_middle(map, cur, start, end);
	} else {
		vm_map_clip_start(map, cur, start, NULL);
		vm_map_clip_end(map, cur, end, NULL);
	}
	return KERN_SUCCESS;
}

/*
 * P4 for one entry that is not cut: reserve swap for it, or for the object
 * that it shows.  KERN_RESTART: it is a special one.
 */
static int
protect_pay(vm_map_t map, struct vm_map_entry *entry)
{
	vm_object_t object = entry->object.vm_object;
	vm_size_t bytes = entry_size(entry);

	MPASS(!entry->cred && !entry_is_guard(entry));

	if (object == NULL) {
		if (!vm_map_swap_reserve(map, bytes))
			return KERN_RESOURCE_SHORTAGE;
		vm_map_entry_burden(map, entry);
		entry->cred = true;
		return KERN_SUCCESS;
	}
	bytes = vm_object_size(object);
	if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 ||
	    vm_object_type(object) != OBJT_SWAP || bytes == 0)
		return KERN_RESTART;
	if (!vm_map_swap_reserve(map, bytes))
		return KERN_RESOURCE_SHORTAGE;
	if (!vm_object_try_charge(object, map->account, bytes))
		vm_account_release(map->account, bytes);
	return KERN_SUCCESS;
}

/*
 * The common case: new rights for one entry, or for part of one that nobody
 * has to pay for.  KERN_RESTART: it is something else.  Other codes as
 * protect_locked() would answer.  What depends on the old rights alone is
 * asked last: they are as likely one thing as another, and a wrong guess
 * costs the processor more than all the rest.
 */
static inline int
protect_entry(vm_map_t map, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
	const uint32_t special = MAP_ENTRY_IS_SUB_MAP | MAP_ENTRY_GUARD |
				 MAP_ENTRY_STACK_GAP | MAP_ENTRY_USER_WIRED |
				 MAP_ENTRY_SPLIT_BOUNDARY_MASK;
	struct vm_map_entry *entry;
	bool at_start, at_end;
	struct vm_cursor cur;
	vm_prot_t old;
	int rv;

	vm_map_assert_wlocked(map);

	vm_tree_seek(&map->tree, start, &cur);
	entry = vm_cursor_entry(&cur);
	if (entry == NULL || entry->end < end || (entry->eflags & special) != 0)
		return KERN_RESTART;
	if ((prot & ~entry->max_protection) != 0)
		return KERN_PROTECTION_FAILURE;
	at_start = entry->start == start;
	at_end = entry->end == end;
	old = entry->protection;
	if (!entry->cred && (prot & ~old & VM_PROT_WRITE) != 0 &&
	    !entry_is_charged(entry)) {
		if (!at_start || !at_end)
			return KERN_RESTART;
		rv = protect_pay(map, entry);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	if (!at_start || !at_end) {
		rv = protect_cut(map, &cur, start, end);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	MPASS(entry->start == start && entry->end == end && !entry->pending);

	entry->protection = prot;
	if (map->pmap->hooks != NULL && prot != old)
		vm_map_pmap_protected(map, start, end, prot);
	map->updates++;
	/* Between two parts of what it was it now differs from both. */
	if (at_start || at_end || prot == old)
		vm_map_merge_both(map, &cur);
	return KERN_SUCCESS;
}

/* Any range, any flags. */
static int
protect_range(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct protect *p, int flags)
{
	vm_map_assert_wlocked(map);

	if ((flags & VM_MAP_PROTECT_GROWSDOWN) != 0)
		start = protect_start(map, start, end);
	vm_map_range_find(map, start, end, &p->range);
	return protect_locked(map, p);
}

int
vm_map_protect(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t new_prot, vm_prot_t new_maxprot, int flags)
{
	struct protect p;
	vm_prot_t wx = VM_PROT_WRITE | VM_PROT_EXECUTE;
	int rv = KERN_SUCCESS;

	if (start == end)
		return KERN_SUCCESS;
	p.prot = new_prot;
	p.max = new_maxprot;
	p.set_prot = (flags & VM_MAP_PROTECT_SET_PROT) != 0;
	p.set_max = (flags & VM_MAP_PROTECT_SET_MAXPROT) != 0;
	p.copies_wired = false;
	if (p.set_prot && p.set_max && (new_prot & ~new_maxprot) != 0)
		return KERN_OUT_OF_BOUNDS;
	vm_map_lock(map);
	vm_map_clamp(map, &start, &end);
	if ((map->flags & MAP_WXORX) != 0 && p.set_prot &&
	    (new_prot & wx) == wx)
		rv = KERN_PROTECTION_FAILURE;
	else if (start < end) {
		rv = KERN_RESTART;
		if (flags == VM_MAP_PROTECT_SET_PROT)
			rv = protect_entry(map, start, end, new_prot);
		if (rv == KERN_RESTART)
			rv = protect_range(map, start, end, &p, flags);
	}
	vm_map_unlock(map);
	return rv;
}

/* H1: COPY may not split what has a split boundary.  Pure. */
static int
inherit_check(vm_map_t map, const struct vm_map_range *range,
    vm_inherit_t new_inheritance)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_locked(map);

	rv = vm_map_range_check(map, range);
	if (rv != KERN_SUCCESS || new_inheritance != VM_INHERIT_COPY)
		return rv;
	VM_MAP_RANGE_FOREACH(map, range, cur, entry)
	if ((entry->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

static int
inherit_locked(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_inherit_t new_inheritance)
{
	struct vm_map_entry *entry;
	struct vm_map_range range;
	vm_object_t spare = NULL;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(map);

	vm_map_range_find(map, start, end, &range);
	rv = inherit_check(map, &range, new_inheritance);
	if (rv == KERN_SUCCESS)
		rv = vm_map_range_reserve(map, &range, 0, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_range_clip(map, &range, &spare);
	VM_MAP_RANGE_FOREACH(map, &range, cur, entry)
	if (!entry_is_guard(entry) || new_inheritance != VM_INHERIT_ZERO)
		entry->inheritance = new_inheritance;
	map->updates++;
	vm_object_spare_fini(&spare);
	vm_map_range_merge(map, &range); /* BUG-2: the first one too */
	return KERN_SUCCESS;
}

int
vm_map_inherit(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_inherit_t new_inheritance)
{
	int rv = KERN_SUCCESS;

	if (new_inheritance < VM_INHERIT_SHARE ||
	    new_inheritance > VM_INHERIT_ZERO)
		return KERN_INVALID_ARGUMENT;
	if (start == end)
		return KERN_SUCCESS;
	vm_map_lock(map);
	vm_map_clamp(map, &start, &end);
	if (start < end)
		rv = inherit_locked(map, start, end, new_inheritance);
	vm_map_unlock(map);
	return rv;
}

/* What an advice does to the flags of an entry. */
struct advice {
	uint32_t clear, set; /* MAP_ENTRY_* */
	bool flags;          /* it is one that changes flags */
};

static const struct advice advices[] = {
    [VM_MADV_NORMAL] = {MAP_ENTRY_BEHAV_MASK, MAP_ENTRY_BEHAV_NORMAL, true},
    [VM_MADV_RANDOM] = {MAP_ENTRY_BEHAV_MASK, MAP_ENTRY_BEHAV_RANDOM, true},
    [VM_MADV_SEQUENTIAL] = {MAP_ENTRY_BEHAV_MASK, MAP_ENTRY_BEHAV_SEQUENTIAL,
	true},
    [VM_MADV_WILLNEED] = {0, 0, false},
    [VM_MADV_DONTNEED] = {0, 0, false},
    [VM_MADV_FREE] = {0, 0, false},
    [VM_MADV_NOSYNC] = {0, MAP_ENTRY_NOSYNC, true},
    [VM_MADV_AUTOSYNC] = {MAP_ENTRY_NOSYNC, 0, true},
    [VM_MADV_NOCORE] = {0, MAP_ENTRY_NOCOREDUMP, true},
    [VM_MADV_CORE] = {MAP_ENTRY_NOCOREDUMP, 0, true},
};

static int
advise_flags(vm_map_t map, vm_offset_t start, vm_offset_t end,
    const struct advice *advice)
{
	struct vm_map_entry *entry;
	struct vm_map_range range;
	vm_object_t spare = NULL;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(map);

	vm_map_range_find(map, start, end, &range);
	rv = vm_map_range_check(map, &range);
	if (rv == KERN_SUCCESS)
		rv = vm_map_range_reserve(map, &range, 0, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_range_clip(map, &range, &spare);
	VM_MAP_RANGE_FOREACH(map, &range, cur, entry)
	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
		entry->eflags = (entry->eflags & ~advice->clear) | advice->set;
	map->updates++;
	vm_object_spare_fini(&spare);
	vm_map_range_merge(map, &range);
	return KERN_SUCCESS;
}

/* V1: WILLNEED maps what is resident; nothing is clipped. */
static void
advise_willneed(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	for (entry = vm_map_seek_next(map, start, &cur);
	     entry != NULL && entry->start < end;
	     entry = vm_map_next(map, &cur))
		if (!entry_is_guard(entry) && entry->wired_count == 0 &&
		    (entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
			vm_map_pmap_enter(map, MAX(start, entry->start),
			    MIN(end, entry->end), entry->protection);
}

/* V1: FREE gives pages back where nobody else could tell. */
static void
advise_free(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *entry;
	struct vm_map_range range;
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	vm_map_range_find(map, start, end, &range);
	VM_MAP_RANGE_FOREACH(map, &range, cur, entry)
	{
		vm_offset_t low = MAX(start, entry->start);
		vm_offset_t high = MIN(end, entry->end);

		if (entry_is_guard(entry) || entry->wired_count != 0 ||
		    entry->object.vm_object == NULL ||
		    (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
			continue;
		vm_map_pmap_remove(map, low, high);
		vm_object_discard(entry->object.vm_object,
		    entry->offset + (low - entry->start), high - low);
	}
}

int
vm_map_madvise(vm_map_t map, vm_offset_t start, vm_offset_t end, int advice)
{
	int rv = KERN_SUCCESS;

	if (advice < 0 || (size_t)advice >= nitems(advices))
		return KERN_INVALID_ARGUMENT; /* BUG-16: not an errno */
	if (start == end)
		return KERN_SUCCESS;
	vm_map_lock(map);
	vm_map_clamp(map, &start, &end);
	if (start < end && advices[advice].flags)
		rv = advise_flags(map, start, end, &advices[advice]);
	else if (start < end && advice == VM_MADV_WILLNEED)
		advise_willneed(map, start, end);
	else if (start < end && advice == VM_MADV_FREE)
		advise_free(map, start, end);
	vm_map_unlock(map);
	return rv;
}

/* Y1: what may not be synchronised.  Pure. */
static int
sync_check(vm_map_t map, vm_offset_t start, vm_offset_t end, bool invalidate)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_locked(map);
	MPASS(start >= map->tree.min);

	entry = vm_map_seek(map, start, &cur);
	if (entry == NULL)
		return KERN_INVALID_ADDRESS;
	if (start == end) {
		start = entry->start;
		end = entry->end;
	}
	for (; entry != NULL && entry->start < end;
	     entry = vm_map_next(map, &cur)) {
		vm_size_t grain = vm_map_entry_grain(map, entry);

		if (invalidate &&
		    ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0 ||
			((start | end) & (grain - 1)) != 0))
			return KERN_INVALID_ARGUMENT;
		if (entry->end < end && entry->end < vm_cursor_gap_end(&cur))
			return KERN_INVALID_ADDRESS;
	}
	return KERN_SUCCESS;
}

int
vm_map_sync(vm_map_t map, vm_offset_t start, vm_offset_t end, bool syncio,
    bool invalidate)
{
	int rv;

	(void)syncio; /* no object has a pager that writes back */
	if (end < map->tree.min)
		return KERN_INVALID_ADDRESS; /* nothing is mapped there */
	vm_map_lock_read(map);
	vm_map_clamp(map, &start, &end);
	rv = sync_check(map, start, end, invalidate);
	vm_map_unlock_read(map);
	return rv;
}

bool
vm_map_check_protection(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_locked(map);

	if (start < map->tree.min ||
	    (entry = vm_map_seek(map, start, &cur)) == NULL)
		return false;
	while (start < end) {
		if (entry == NULL || entry->start > start ||
		    (prot & ~entry->protection) != 0)
			return false;
		start = entry->end;
		entry = vm_map_next(map, &cur);
	}
	return true;
}

bool
vm_map_check_boundary(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_range range;

	vm_map_assert_locked(map);

	if (!vm_map_range_valid(map, start, end))
		return false;
	if (start == end)
		return true;
	vm_map_range_find(map, start, end, &range);
	return vm_map_range_check(map, &range) == KERN_SUCCESS;
}

/*
 * May [start, end) become a window?  It must be in one entry without object,
 * and cutting that must not give it one.  Pure.
 */
static int
submap_check(vm_map_t map, const struct vm_map_range *range)
{
	struct vm_map_entry *entry = range->first;

	MPASS(range->start < range->end);

	if (entry == NULL || entry->start > range->start ||
	    entry->end < range->end)
		return KERN_INVALID_ARGUMENT;
	if ((entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_IS_SUB_MAP |
				 MAP_ENTRY_GUARD)) != 0 ||
	    entry->object.vm_object != NULL)
		return KERN_INVALID_ARGUMENT;
	if (vm_map_range_nclips(range) > 0 && vm_map_clip_backs(map, entry))
		return KERN_INVALID_ARGUMENT;
	return vm_map_range_check(map, range);
}

static int
submap_locked(vm_map_t map, vm_offset_t start, vm_offset_t end, vm_map_t submap)
{
	struct vm_map_range range;
	vm_object_t spare = NULL;
	int rv;

	if (start == end)
		return KERN_INVALID_ARGUMENT;
	vm_map_range_find(map, start, end, &range);
	rv = submap_check(map, &range);
	if (rv == KERN_SUCCESS)
		rv = vm_map_range_reserve(map, &range, 0, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_range_clip(map, &range, &spare);
	vm_map_entry_burden(map, range.first);
	range.first->eflags |= MAP_ENTRY_IS_SUB_MAP;
	range.first->object.sub_map = submap;
	range.first->offset = 0;
	map->updates++;
	MPASS(spare == NULL);
	return KERN_SUCCESS;
}

int
vm_map_submap(vm_map_t map, vm_offset_t start, vm_offset_t end, vm_map_t submap)
{
	int rv;

	MPASS(map != submap);

	vm_map_lock(map);
	vm_map_clamp(map, &start, &end);
	rv = submap_locked(map, start, end, submap);
	if (rv == KERN_SUCCESS)
		submap->flags |= MAP_IS_SUB_MAP;
	vm_map_unlock(map);
	return rv;
}

void
vm_map_simplify_entry(vm_map_t map, vm_map_entry_t entry)
{
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	(void)vm_map_seek(map, entry->start, &cur);
	MPASS(vm_cursor_entry(&cur) == entry);
	(void)vm_map_try_merge(map, &cur);
	if (vm_tree_next(&map->tree, &cur))
		(void)vm_map_try_merge(map, &cur);
}
