/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Wiring.
 *
 * An entry's wired_count is the number of its system wirings, plus one if it
 * is user-wired: system wirings nest, user wirings do not.  The kernel drops
 * the map's lock to fault pages in, and so needs entries in transition; here a
 * wiring is decided and committed under one lock.
 */

#include "core/vm_map_int.h"

/* One call: what is asked, and what it has set aside on the way. */
struct wiring {
	vm_offset_t start, end;
	struct vm_map_range range; /* what is there, unless start is end */
	bool outside; /* nothing is mapped where it starts, wherever clamped */
	bool user;
	bool holes_ok;
	vm_prot_t need;     /* rights that an entry must have */
	vm_size_t added;    /* bytes that become user-wired */
	vm_size_t reserved; /* bytes of swap, for copies */
	vm_size_t credit;   /* bytes the commit gives back: taken off already */
	unsigned nobjects;  /* objects, for copies and for what has none */
};

static void
wiring_make(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags,
    struct wiring *w)
{
	vm_map_clamp(map, &start, &end);
	*w = (struct wiring){
	    .start = start,
	    .end = end,
	    .outside = start < map->tree.min || start == map->tree.max,
	    .user = (flags & VM_MAP_WIRE_USER) != 0,
	    .holes_ok = (flags & VM_MAP_WIRE_HOLESOK) != 0,
	    .need = (flags & VM_MAP_WIRE_WRITE) != 0 ? VM_PROT_WRITE : 0,
	};
	if (start < end)
		vm_map_range_find(map, start, end, &w->range);
}

/* W1: may the range begin like that? */
static int
wiring_begin(vm_map_t map, const struct wiring *w)
{
	struct vm_cursor cur;
	bool mapped;

	if (w->outside)
		mapped = false;
	else if (w->start == w->end)
		mapped = vm_map_seek(map, w->start, &cur) != NULL;
	else
		mapped =
		    w->range.first != NULL && w->range.first->start <= w->start;
	return mapped || w->holes_ok ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
}

/* W2: entries without the rights are passed over, like holes. */
static bool
wiring_skips(const struct wiring *w, const struct vm_map_entry *entry)
{
	return (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
	       (entry->protection & (VM_PROT_READ | VM_PROT_EXECUTE)) == 0 ||
	       (entry->protection & w->need) != w->need;
}

/* Is there a hole behind the entry, before the next one or the range's end? */
static bool
wiring_hole_behind(const struct wiring *w, const struct vm_map_entry *entry,
    const struct vm_map_entry *next)
{
	return entry->end < w->end &&
	       (next == NULL || entry->end < next->start);
}

/* The part of the entry that lies in the range. */
static vm_size_t
wiring_overlap(const struct wiring *w, const struct vm_map_entry *entry)
{
	MPASS(entry->start < w->end && entry->end > w->start);

	return MIN(entry->end, w->end) - MAX(entry->start, w->start);
}

/* A wired page is there: wiring faults in what the entry allows. */
static bool
wiring_writes(const struct vm_map_entry *entry)
{
	return (entry->protection & VM_PROT_WRITE) != 0;
}

/* What wiring one entry can be refused for, but for its place. */
static int
wire_check_entry(vm_map_t map, struct wiring *w,
    const struct vm_map_entry *entry)
{
	bool was_user = (entry->eflags & MAP_ENTRY_USER_WIRED) != 0;
	vm_size_t limit = map->limits.memlock;
	vm_size_t bytes = wiring_overlap(w, entry);
	bool cut;

	vm_map_assert_wlocked(map);

	if (wiring_skips(w, entry))
		return w->holes_ok ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
	if (w->user && !was_user) {
		/* W5, and BUG-5: counted when it becomes user-wired. */
		w->added += bytes;
		if (limit != 0 && map->user_wired + w->added > limit)
			return KERN_RESOURCE_SHORTAGE;
	}
	if (entry->wired_count != 0)
		return KERN_SUCCESS;
	cut = bytes < entry_size(entry);
	w->nobjects += vm_map_touch_changes(map, entry, wiring_writes(entry));
	if (!cut && entry->cred && wiring_writes(entry) &&
	    (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 &&
	    entry->object.vm_object != NULL &&
	    vm_object_is_sole(entry->object.vm_object)) {
		vm_account_release(map->account, bytes);
		w->credit += bytes;
	}
	if (!vm_map_touch_charges(entry, wiring_writes(entry),
		cut && vm_map_clip_backs(map, entry)))
		return KERN_SUCCESS;
	if (!vm_map_swap_reserve(map, bytes))
		return KERN_RESOURCE_SHORTAGE;
	if (!cut && vm_object_is_sole(entry->object.vm_object))
		vm_account_release(map->account, bytes); /* no copy */
	else
		w->reserved += bytes;
	return KERN_SUCCESS;
}

/*
 * Let `check` look at every entry of the range in turn, together with the one
 * behind it; the first code that is not KERN_SUCCESS is the answer.  Cutting
 * at either end is refused when that entry's turn comes, as the kernel does.
 */
static int
wiring_check(vm_map_t map, struct wiring *w,
    int (*check)(vm_map_t map, struct wiring *w,
	const struct vm_map_entry *entry, const struct vm_map_entry *next))
{
	struct vm_map_entry *entry, *next;
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(map);

	rv = wiring_begin(map, w);
	if (rv != KERN_SUCCESS || w->start == w->end)
		return rv;
	rv = vm_map_range_check_start(map, &w->range);
	cur = w->range.cur;
	for (entry = w->range.first; entry != NULL && rv == KERN_SUCCESS;
	     entry = next) {
		next = entry == w->range.last ? NULL : vm_map_next(map, &cur);
		if (next == NULL)
			rv = vm_map_range_check_end(map, &w->range);
		if (rv == KERN_SUCCESS)
			rv = check(map, w, entry, next);
	}
	return rv;
}

/*
 * What vm_map_wire() can refuse.  Swap that copies need is reserved on the
 * way; the caller gives it back on failure.
 */
static int
wire_check(vm_map_t map, struct wiring *w, const struct vm_map_entry *entry,
    const struct vm_map_entry *next)
{
	int rv = wire_check_entry(map, w, entry);

	if (rv == KERN_SUCCESS && !w->holes_ok &&
	    wiring_hole_behind(w, entry, next))
		rv = KERN_INVALID_ADDRESS;
	return rv;
}

/* Count one wiring of an entry that lies in the range. */
static void
wire_entry(vm_map_t map, const struct wiring *w, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	bool was_user = (entry->eflags & MAP_ENTRY_USER_WIRED) != 0;

	MPASS(entry->start >= w->start && entry->end <= w->end);

	if (wiring_skips(w, entry) || (w->user && was_user))
		return;
	if (entry->wired_count == 0) {
		/* What was reserved goes back when all entries are done. */
		if (vm_map_touch_charges(entry, wiring_writes(entry), false))
			vm_account_charge(map->account, entry_size(entry));
		vm_map_touch_commit(map, entry, wiring_writes(entry), sparep);
		vm_map_pmap_enter(map, entry->start, entry->end,
		    entry->protection);
	}
	vm_map_entry_burden(map, entry);
	entry->wired_count++;
	if (w->user) {
		entry->eflags |= MAP_ENTRY_USER_WIRED;
		map->user_wired += entry_size(entry);
	}
	map->updates++;
}

static void
unwire_entry(vm_map_t map, const struct wiring *w, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	(void)sparep; /* only wiring needs objects */
	if (w->user && (entry->eflags & MAP_ENTRY_USER_WIRED) == 0)
		return;
	MPASS(entry->wired_count > 0);
	entry->wired_count--;
	if (w->user) {
		entry->eflags &= ~(uint32_t)MAP_ENTRY_USER_WIRED;
		map->user_wired -= entry_size(entry);
	}
	map->updates++;
}

/* Set aside what the commit needs. */
static int
wiring_reserve(vm_map_t map, const struct wiring *w, vm_object_t *sparep)
{
	vm_map_assert_wlocked(map);

	if (w->start == w->end)
		return KERN_SUCCESS;
	return vm_map_range_reserve(map, &w->range, w->nobjects, sparep);
}

/* Cut the range out of its entries, apply, and merge what became alike. */
static void
wiring_commit(vm_map_t map, struct wiring *w, vm_object_t *sparep,
    void (*apply)(vm_map_t map, const struct wiring *w,
	struct vm_map_entry *entry, vm_object_t *sparep))
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	if (w->start == w->end || w->range.first == NULL)
		return;
	vm_map_range_clip(map, &w->range, sparep);
	VM_MAP_RANGE_FOREACH(map, &w->range, cur, entry)
	apply(map, w, entry, sparep);
	vm_object_spare_fini(sparep);
	vm_map_range_merge(map, &w->range);
}

void
vm_map_wire_new(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_object_t *sparep)
{
	struct wiring w;

	vm_map_assert_wlocked(map);

	wiring_make(map, start, end, VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES,
	    &w);
	if (wiring_check(map, &w, wire_check) == KERN_SUCCESS) {
		MPASS(w.reserved == 0 && w.credit == 0 && w.nobjects <= 1);
		wiring_commit(map, &w, sparep, wire_entry);
	}
}

static int
wire_locked(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags)
{
	vm_object_t spare = NULL;
	struct wiring w;
	int rv;

	vm_map_assert_wlocked(map);

	wiring_make(map, start, end, flags, &w);
	rv = wiring_check(map, &w, wire_check);
	vm_account_charge(map->account, w.credit);
	if (rv == KERN_SUCCESS)
		rv = wiring_reserve(map, &w, &spare);
	if (rv == KERN_SUCCESS)
		wiring_commit(map, &w, &spare, wire_entry);
	else
		vm_object_spare_fini(&spare);
	vm_account_release(map->account, w.reserved);
	return rv;
}

int
vm_map_wire_locked(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags)
{
	return start == end ? KERN_SUCCESS
			    : wire_locked(map, start, end, flags);
}

int
vm_map_wire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags)
{
	int rv;

	if (start == end)
		return KERN_SUCCESS;
	vm_map_lock(map);
	rv = wire_locked(map, start, end, flags);
	vm_map_unlock(map);
	return rv;
}

/* What vm_map_unwire() can refuse.  Pure. */
static int
unwire_check(vm_map_t map, struct wiring *w, const struct vm_map_entry *entry,
    const struct vm_map_entry *next)
{
	(void)map; /* unwiring has no limits */
	if (!w->holes_ok && wiring_hole_behind(w, entry, next))
		return KERN_INVALID_ADDRESS;
	/* W4 */
	if (!w->user && entry_system_wired(entry) == 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

int
vm_map_unwire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags)
{
	vm_object_t spare = NULL;
	struct wiring w;
	int rv;

	if (start == end)
		return KERN_SUCCESS;
	vm_map_lock(map);
	wiring_make(map, start, end, flags, &w);
	rv = wiring_check(map, &w, unwire_check);
	if (rv == KERN_SUCCESS)
		rv = wiring_reserve(map, &w, &spare);
	if (rv == KERN_SUCCESS)
		wiring_commit(map, &w, &spare, unwire_entry);
	vm_map_unlock(map);
	return rv;
}
