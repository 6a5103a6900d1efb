/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What changes entries that are there: protect, inherit, madvise, wire, and
 * stacks.  The core decides; here its arguments are checked, what a clip adds
 * is charged, and a refusal gets its sentence.
 */

#include "server/map.h"

/* What every range has to be, and what two clips cost. */
static int
map_check_edit(struct map *map, vm_offset_t start, vm_offset_t end, int strict,
    const struct vm_refusal *why, struct answer *answer)
{
	int rv = strict;

	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, why);
	rv = map_check_cut(map, start, "start", answer);
	if (rv == KERN_SUCCESS)
		rv = map_check_cut(map, end, "end", answer);
	if (rv == KERN_SUCCESS)
		rv = map_afford(map, 0, answer);
	return rv;
}

/* The end of every edit. */
static int
map_edited(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    const char *what, struct answer *answer)
{
	map_settle(map);
	if (rv == KERN_SUCCESS) {
		if (start < end)
			watch_changed(map, start, end);
		return rv;
	}
	if (rv == KERN_INVALID_ADDRESS)
		return answer_refuse(answer, rv,
		    "[0x%llx, 0x%llx) must be all mapped, and is not",
		    (unsigned long long)start, (unsigned long long)end);
	if (rv == KERN_PROTECTION_FAILURE)
		return answer_refuse(answer, rv,
		    "%s must not ask for more than the maximum protection of "
		    "what is in [0x%llx, 0x%llx)",
		    what, (unsigned long long)start, (unsigned long long)end);
	if (rv == KERN_NO_SPACE)
		return answer_refuse(answer, rv,
		    "something is in [0x%llx, 0x%llx) already, or it is over a "
		    "limit",
		    (unsigned long long)start, (unsigned long long)end);
	return answer_refuse_kern(answer, rv, what);
}

int
map_protect(struct map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
    vm_prot_t max, int flags, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_protect(map->vm, start, end, prot, max, flags, &why);
	rv = map_check_edit(map, start, end, rv, &why, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_protect(map->vm, start, end, prot, max, flags);
	return map_edited(map, rv, start, end, "vm_map_protect", answer);
}

int
map_inherit(struct map *map, vm_offset_t start, vm_offset_t end,
    int inheritance, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_inherit(map->vm, start, end, inheritance, &why);
	rv = map_check_edit(map, start, end, rv, &why, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_inherit(map->vm, start, end, (vm_inherit_t)inheritance);
	return map_edited(map, rv, start, end, "vm_map_inherit", answer);
}

int
map_madvise(struct map *map, vm_offset_t start, vm_offset_t end, int advice,
    struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_madvise(map->vm, start, end, advice, &why);
	rv = map_check_edit(map, start, end, rv, &why, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_madvise(map->vm, start, end, advice);
	return map_edited(map, rv, start, end, "vm_map_madvise", answer);
}

/* Only the user's wirings: those of the system are the daemon's own. */
static int
map_check_wire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	if ((flags & VM_MAP_WIRE_USER) == 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "flags must have VM_MAP_WIRE_USER");
	rv = vm_strict_wire(map->vm, start, end, flags, &why);
	return map_check_edit(map, start, end, rv, &why, answer);
}

int
map_wire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer)
{
	int rv = map_check_wire(map, start, end, flags, answer);

	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_wire(map->vm, start, end, flags);
	return map_edited(map, rv, start, end, "vm_map_wire", answer);
}

int
map_unwire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer)
{
	int rv = map_check_wire(map, start, end, flags, answer);

	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_unwire(map->vm, start, end, flags);
	return map_edited(map, rv, start, end, "vm_map_unwire", answer);
}

int
map_stack(struct map *map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_stack(map->vm, addrbos, max_ssize, prot, max, cow, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	rv = map_afford(map, max_ssize, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_stack(map->vm, addrbos, max_ssize, prot, max, cow);
	return map_edited(map, rv, addrbos, addrbos + max_ssize, "vm_map_stack",
	    answer);
}

int
map_growstack(struct map *map, vm_offset_t addr, struct answer *answer)
{
	struct vm_refusal why;
	struct vm_map_entry_info info = {0};
	vm_map_entry_t entry;
	int rv;

	rv = vm_strict_lookup(map->vm, addr, 0, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	vm_map_lock_read(map->vm);
	if (vm_map_lookup_entry(map->vm, addr, &entry))
		vm_map_entry_info(entry, &info);
	vm_map_unlock_read(map->vm);
	/* It cannot grow by more than the gap that it grows into. */
	rv = map_afford(map, info.end - info.start, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_growstack(map->vm, addr);
	map_settle(map);
	if (rv == KERN_SUCCESS) {
		if (info.start < info.end)
			watch_changed(map, info.start, info.end);
		return rv;
	}
	return answer_refuse(answer, rv,
	    "no stack can grow to 0x%llx: it is in no gap of one, or a limit "
	    "is "
	    "in the way",
	    (unsigned long long)addr);
}
