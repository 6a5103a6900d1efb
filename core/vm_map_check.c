/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map_check(): every invariant that docs/design/vm_map.md tags, in the order
 * of that page.  The text begins with the tag.
 */

#include "core/vm_map_int.h"

struct check {
	vm_map_t map;
	vm_size_t size, user_wired, charge;
	const char *bad; /* the first broken invariant */
};

static void
expect(struct check *check, bool cond, const char *what)
{
	MPASS(cond || what != NULL);

	if (!cond && check->bad == NULL)
		check->bad = what;
}

static void
check_rights(struct check *check, const struct vm_map_entry *entry)
{
	expect(check, (entry->protection & ~entry->max_protection) == 0,
	    "[map.rights] an entry has rights beyond its maximum");
	expect(check, (entry->gap_prot & ~entry->gap_max) == 0,
	    "[map.rights] a stack gap has rights beyond its maximum");
	expect(check, entry->max_protection <= VM_PROT_ALL,
	    "[map.rights] unknown rights");
	expect(check,
	    entry->inheritance >= VM_INHERIT_SHARE &&
		entry->inheritance <= VM_INHERIT_ZERO,
	    "[map.rights] unknown inheritance");
}

static void
check_guard(struct check *check, const struct vm_map_entry *entry)
{
	if (!entry_is_guard(entry)) {
		expect(check, (entry->eflags & MAP_ENTRY_STACK_GAP) == 0,
		    "[map.guard] a stack gap that is no guard");
		return;
	}
	expect(check, entry->object.vm_object == NULL,
	    "[map.guard] a guard has an object");
	expect(check, !entry->cred, "[map.guard] a guard is charged");
	expect(check, entry->wired_count == 0, "[map.guard] a guard is wired");
	expect(check, entry->max_protection == VM_PROT_NONE,
	    "[map.guard] a guard has rights");
}

static void
check_wiring(struct check *check, const struct vm_map_entry *entry)
{
	expect(check, entry->wired_count >= 0,
	    "[map.wired] an entry is wired less than never");
	expect(check, entry_system_wired(entry) >= 0,
	    "[map.wired] an entry is user-wired but not wired");
	expect(check,
	    (entry->eflags &
		(MAP_ENTRY_IN_TRANSITION | MAP_ENTRY_WIRE_SKIPPED)) == 0,
	    "[map.wired] an entry is left in transition");
	if ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0)
		check->user_wired += entry_size(entry);
}

static void
check_object(struct check *check, const struct vm_map_entry *entry)
{
	vm_object_t object = entry->object.vm_object;
	const char *bad;

	if (object == NULL || (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		return;
	bad = vm_object_check(object);
	expect(check, bad == NULL, bad);
	expect(check,
	    !entry->cred || vm_object_cred(object) == NULL ||
		(entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0,
	    "[map.charge] entry and object are both charged");
}

static void
check_entry(struct check *check, const struct vm_map_entry *entry)
{
	vm_map_t map = check->map;

	vm_map_assert_locked(map);

	expect(check, ((entry->start | entry->end) & (map->pagesize - 1)) == 0,
	    "[map.page] an entry is not page aligned");
	expect(check, !entry->pending,
	    "[map.charge] an entry is left half charged");
	check_rights(check, entry);
	check_guard(check, entry);
	check_wiring(check, entry);
	check_object(check, entry);
	if (!entry_is_guard(entry))
		check->size += entry_size(entry);
	if (entry->cred)
		check->charge += entry_size(entry);
}

const char *
vm_map_check(vm_map_t map)
{
	struct check check = {.map = map};
	struct vm_map_entry *entry, *prev = NULL;
	struct vm_cursor cur;

	vm_map_assert_locked(map);

	check.bad = vm_tree_check(&map->tree);
	if (check.bad != NULL)
		return check.bad;
	for (entry = vm_map_seek_next(map, map->tree.min, &cur); entry != NULL;
	     entry = vm_map_next(map, &cur)) {
		check_entry(&check, entry);
		expect(&check,
		    map->unmerged || prev == NULL ||
			!vm_map_mergeable(prev, entry),
		    "[map.merge] two neighbours should be one entry");
		prev = entry;
	}
	expect(&check, check.size == map->size,
	    "[map.size] the size is not the sum of the entries");
	expect(&check, check.user_wired == map->user_wired,
	    "[map.wired] the user-wired sum is wrong");
	expect(&check, check.charge <= vm_account_reserved(map->account),
	    "[map.charge] entries are charged more than is reserved");
	return check.bad;
}
