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
	bool outside; /* nothing is mapped where it starts, wherever clamped */
	bool user;
	bool holes_ok;
	vm_prot_t need;     /* rights that an entry must have */
	vm_size_t reserved; /* bytes of swap, for copies */
	vm_size_t credit;   /* bytes the commit gives back: taken off already */
	unsigned nobjects;  /* objects, for copies and for what has none */
};

static struct wiring
wiring_make(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags)
{
	vm_map_clamp(map, &start, &end);
	return (struct wiring){
	    .start = start,
	    .end = end,
	    .outside = start < map->tree.min || start == map->tree.max,
	    .user = (flags & VM_MAP_WIRE_USER) != 0,
	    .holes_ok = (flags & VM_MAP_WIRE_HOLESOK) != 0,
	    .need = (flags & VM_MAP_WIRE_WRITE) != 0 ? VM_PROT_WRITE : 0,
	};
}

/* W1: the first entry concerned, if the range may begin like that. */
static int
wiring_begin(vm_map_t map, const struct wiring *w, struct vm_cursor *cur,
    struct vm_map_entry **entryp)
{
	*entryp = NULL;
	if (w->outside)
		return w->holes_ok ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
	*entryp = vm_map_seek(map, w->start, cur);
	if (*entryp != NULL)
		return KERN_SUCCESS;
	if (!w->holes_ok)
		return KERN_INVALID_ADDRESS;
	*entryp = vm_map_next(map, cur);
	return KERN_SUCCESS;
}

/* W2: entries without the rights are passed over, like holes. */
static bool
wiring_skips(const struct wiring *w, const struct vm_map_entry *entry)
{
	return (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
	       (entry->protection & (VM_PROT_READ | VM_PROT_EXECUTE)) == 0 ||
	       (entry->protection & w->need) != w->need;
}

/* Is there a hole behind the entry at the cursor, before the range ends? */
static bool
wiring_hole_behind(const struct wiring *w, const struct vm_cursor *cur)
{
	vm_offset_t end = vm_cursor_gap_start(cur);

	return end < w->end && end < vm_cursor_gap_end(cur);
}

/* The part of the entry that lies in the range. */
static vm_size_t
wiring_overlap(const struct wiring *w, const struct vm_map_entry *entry)
{
	MPASS(entry->start < w->end && entry->end > w->start);

	return MIN(entry->end, w->end) - MAX(entry->start, w->start);
}

/* The range may be cut out of this entry. */
static int
wiring_clip_check(vm_map_t map, const struct wiring *w,
    const struct vm_map_entry *entry)
{
	int rv = KERN_SUCCESS;

	if (entry->start < w->start)
		rv = vm_map_clip_check(map, w->start);
	if (rv == KERN_SUCCESS && entry->end > w->end)
		rv = vm_map_clip_check(map, w->end);
	return rv;
}

/* A wired page is there: wiring faults in what the entry allows. */
static bool
wiring_writes(const struct vm_map_entry *entry)
{
	return (entry->protection & VM_PROT_WRITE) != 0;
}

/* What wiring one entry can be refused for, but for its place. */
static int
wire_check_entry(vm_map_t map, struct wiring *w, vm_size_t *addedp,
    const struct vm_map_entry *entry)
{
	bool was_user = (entry->eflags & MAP_ENTRY_USER_WIRED) != 0;
	vm_size_t limit = map->limits.memlock;
	vm_size_t bytes = wiring_overlap(w, entry);
	bool cut;

	if (wiring_skips(w, entry))
		return w->holes_ok ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
	if (w->user && !was_user) {
		/* W5, and BUG-5: counted when it becomes user-wired. */
		*addedp += bytes;
		if (limit != 0 && map->user_wired + *addedp > limit)
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
 * All that vm_map_wire() can refuse, in the kernel's order.  Swap that copies
 * need is reserved on the way; the caller gives it back on failure.
 */
static int
wire_check(vm_map_t map, struct wiring *w)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	vm_size_t added = 0;
	int rv;

	rv = wiring_begin(map, w, &cur, &entry);
	if (rv != KERN_SUCCESS || w->start == w->end)
		return rv;
	for (; entry != NULL && entry->start < w->end;
	     entry = vm_map_next(map, &cur)) {
		rv = wiring_clip_check(map, w, entry);
		if (rv == KERN_SUCCESS)
			rv = wire_check_entry(map, w, &added, entry);
		if (rv != KERN_SUCCESS)
			return rv;
		if (!w->holes_ok && wiring_hole_behind(w, &cur))
			return KERN_INVALID_ADDRESS;
	}
	return KERN_SUCCESS;
}

/* Count one wiring of an entry that lies in the range. */
static void
wire_entry(vm_map_t map, const struct wiring *w, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	bool was_user = (entry->eflags & MAP_ENTRY_USER_WIRED) != 0;

	if (wiring_skips(w, entry) || (w->user && was_user))
		return;
	if (entry->wired_count == 0) {
		if (vm_map_touch_charges(entry, wiring_writes(entry), false) &&
		    vm_object_is_sole(entry->object.vm_object))
			vm_account_charge(map->account, entry_size(entry));
		vm_map_touch_commit(map, entry, wiring_writes(entry), sparep);
		vm_map_pmap_enter(map, entry->start, entry->end,
		    entry->protection);
	}
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

/* Cut the range out of its entries, apply, and merge what became alike. */
static void
wiring_commit(vm_map_t map, const struct wiring *w, vm_object_t *sparep,
    void (*apply)(vm_map_t map, const struct wiring *w,
	struct vm_map_entry *entry, vm_object_t *sparep))
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	entry = vm_map_seek_next(map, w->start, &cur);
	if (entry != NULL && entry->start < w->start)
		vm_map_clip_start(map, &cur, w->start, sparep);
	for (; entry != NULL && entry->start < w->end;
	     entry = vm_map_next(map, &cur)) {
		vm_map_clip_end(map, &cur, w->end, sparep);
		apply(map, w, entry, sparep);
	}
	vm_object_spare_fini(sparep);
	vm_map_merge_range(map, w->start, w->end);
}

void
vm_map_wire_new(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_object_t *sparep)
{
	struct wiring w;

	vm_map_assert_wlocked(map);

	w = wiring_make(map, start, end,
	    VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES);
	if (wire_check(map, &w) == KERN_SUCCESS) {
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

	if (start == end)
		return KERN_SUCCESS;
	w = wiring_make(map, start, end, flags);
	rv = wire_check(map, &w);
	vm_account_charge(map->account, w.credit);
	if (rv == KERN_SUCCESS && w.start == w.end)
		return rv;
	if (rv == KERN_SUCCESS)
		rv = vm_object_spare_add(map->pmap->arch, w.nobjects, &spare);
	if (rv == KERN_SUCCESS)
		rv = vm_map_reserve_clips(map, w.start, w.end, &spare);
	if (rv == KERN_SUCCESS) {
		wiring_commit(map, &w, &spare, wire_entry);
		return KERN_SUCCESS;
	}
	vm_account_release(map->account, w.reserved);
	vm_object_spare_fini(&spare);
	return rv;
}

int
vm_map_wire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags)
{
	int rv;

	vm_map_lock(map);
	rv = wire_locked(map, start, end, flags);
	vm_map_unlock(map);
	return rv;
}

/* All that vm_map_unwire() can refuse.  Pure. */
static int
unwire_check(vm_map_t map, const struct wiring *w)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	int rv;

	rv = wiring_begin(map, w, &cur, &entry);
	if (rv != KERN_SUCCESS || w->start == w->end)
		return rv;
	for (; entry != NULL && entry->start < w->end;
	     entry = vm_map_next(map, &cur)) {
		rv = wiring_clip_check(map, w, entry);
		if (rv != KERN_SUCCESS)
			return rv;
		if (!w->holes_ok && wiring_hole_behind(w, &cur))
			return KERN_INVALID_ADDRESS;
		/* W4 */
		if (!w->user && entry_system_wired(entry) == 0)
			return KERN_INVALID_ARGUMENT;
	}
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
	w = wiring_make(map, start, end, flags);
	rv = unwire_check(map, &w);
	if (rv == KERN_SUCCESS && w.start < w.end)
		rv = vm_map_reserve_clips(map, w.start, w.end, &spare);
	if (rv == KERN_SUCCESS && w.start < w.end)
		wiring_commit(map, &w, &spare, unwire_entry);
	vm_map_unlock(map);
	return rv;
}
