/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Why the core refused.
 *
 * A code of vm_map(9) stands for several reasons.  Nothing has changed since,
 * so the map still shows which it was: it is looked at again, and the sentence
 * names the entry, the hole or the limit.  Where two reasons hold, the first
 * that is found is told.
 */

#include "server/map.h"

#define ULL(x) ((unsigned long long)(x))

/* The first thing in a range for which `wrong` is true. */
typedef bool map_wrong(const struct vm_map_entry_info *info, uint32_t arg);

static bool
why_entry(struct map *map, vm_offset_t start, vm_offset_t end, map_wrong *wrong,
    uint32_t arg, struct vm_map_entry_info *infop)
{
	vm_map_entry_t entry;
	bool found = false;

	vm_map_lock_read(map->vm);
	if (!vm_map_lookup_entry(map->vm, start, &entry))
		entry = vm_map_entry_succ(map->vm, entry);
	for (; entry != NULL && !found;
	     entry = vm_map_entry_succ(map->vm, entry)) {
		vm_map_entry_info(entry, infop);
		if (infop->start >= end)
			break;
		found = wrong(infop, arg);
	}
	vm_map_unlock_read(map->vm);
	return found;
}

/* The first address of the range that is in no entry; `end`: all are. */
static vm_offset_t
why_hole(struct map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry_info info;
	vm_offset_t at = start;
	vm_map_entry_t entry;

	vm_map_lock_read(map->vm);
	while (at < end && vm_map_lookup_entry(map->vm, at, &entry)) {
		vm_map_entry_info(entry, &info);
		at = info.end;
	}
	vm_map_unlock_read(map->vm);
	return at < end ? at : end;
}

static bool
is_window(const struct vm_map_entry_info *info, uint32_t arg)
{
	(void)arg;
	return (info->eflags & MAP_ENTRY_IS_SUB_MAP) != 0;
}

static bool
is_bounded(const struct vm_map_entry_info *info, uint32_t arg)
{
	(void)arg;
	return (info->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) != 0;
}

static bool
may_not(const struct vm_map_entry_info *info, uint32_t prot)
{
	uint32_t guard = info->eflags & MAP_ENTRY_GUARD;

	return guard == 0 && (prot & ~(uint32_t)info->max_protection) != 0;
}

/* As vm_map_wire() skips it: neither read nor executed, or not written. */
static bool
not_wirable(const struct vm_map_entry_info *info, uint32_t flags)
{
	return (info->protection & (VM_PROT_READ | VM_PROT_EXECUTE)) == 0 ||
	       ((flags & VM_MAP_WIRE_WRITE) != 0 &&
		   (info->protection & VM_PROT_WRITE) == 0);
}

static bool
no_system_wiring(const struct vm_map_entry_info *info, uint32_t arg)
{
	bool user = (info->eflags & MAP_ENTRY_USER_WIRED) != 0;

	(void)arg;
	return info->wired_count <= (user ? 1 : 0);
}

static int
refuse_hole(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    struct answer *answer)
{
	return answer_refuse(answer, rv,
	    "[0x%llx, 0x%llx) must be all mapped; nothing is at 0x%llx",
	    ULL(start), ULL(end), ULL(why_hole(map, start, end)));
}

static int
refuse_argument(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    const char *what, struct answer *answer)
{
	struct vm_map_entry_info info;

	if (why_entry(map, start, end, is_window, 0, &info))
		return answer_refuse(answer, rv,
		    "[0x%llx, 0x%llx) must hold no window to a submap; one is "
		    "at 0x%llx",
		    ULL(start), ULL(end), ULL(info.start));
	if (why_entry(map, start, end, is_bounded, 0, &info))
		return answer_refuse(answer, rv,
		    "%s must not cut or copy the large pages of MAP_SPLIT_"
		    "BOUNDARY in [0x%llx, 0x%llx)",
		    what, ULL(info.start), ULL(info.end));
	return answer_refuse_kern(answer, rv, what);
}

static int
refuse_shortage(struct map *map, int rv, const char *what,
    struct answer *answer)
{
	struct vm_map_limits limits;

	vm_map_get_limits(map->vm, &limits);
	if (limits.nentries != 0 &&
	    vm_map_nentries(map->vm) + MAP_ENTRIES_PER_OP > limits.nentries)
		return answer_refuse(answer, rv,
		    "%s: limits.nentries (0x%llx) must hold what there is "
		    "(0x%llx), and more",
		    what, ULL(limits.nentries), ULL(vm_map_nentries(map->vm)));
	if ((limits.overcommit & 1) != 0 && limits.swap != 0)
		return answer_refuse(answer, rv,
		    "%s: limits.swap (0x%llx) must hold what the map has "
		    "reserved (0x%llx), and more; or the daemon is out of "
		    "memory",
		    what, ULL(limits.swap), ULL(vm_map_reserved(map->vm)));
	return answer_refuse_kern(answer, rv, what);
}

int
map_refuse_edit(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    const char *what, struct answer *answer)
{
	if (rv == KERN_INVALID_ADDRESS)
		return refuse_hole(map, rv, start, end, answer);
	if (rv == KERN_INVALID_ARGUMENT)
		return refuse_argument(map, rv, start, end, what, answer);
	if (rv == KERN_RESOURCE_SHORTAGE)
		return refuse_shortage(map, rv, what, answer);
	return answer_refuse_kern(answer, rv, what);
}

static int
refuse_wxorx(int rv, struct answer *answer)
{
	return answer_refuse(answer, rv,
	    "prot must not hold both write and execute in a map with "
	    "MAP_WXORX");
}

int
map_refuse_enter(struct map *map, int rv, struct answer *answer)
{
	if (rv == KERN_PROTECTION_FAILURE)
		return refuse_wxorx(rv, answer);
	if (rv == KERN_RESOURCE_SHORTAGE)
		return refuse_shortage(map, rv, "vm_map_insert", answer);
	return answer_refuse_kern(answer, rv, "vm_map_insert");
}

int
map_refuse_protect(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    vm_prot_t asked, struct answer *answer)
{
	struct vm_map_entry_info info;

	if (rv == KERN_OUT_OF_BOUNDS)
		return answer_refuse(answer, rv,
		    "prot must be within max where both are set; together they "
		    "are 0x%x",
		    asked);
	if (rv != KERN_PROTECTION_FAILURE)
		return map_refuse_edit(map, rv, start, end, "vm_map_protect",
		    answer);
	if (!why_entry(map, start, end, may_not, asked, &info))
		return refuse_wxorx(rv, answer);
	return answer_refuse(answer, rv,
	    "prot and max must be within the maximum protection (0x%x) of what "
	    "is at 0x%llx; they are 0x%x",
	    info.max_protection, ULL(info.start), asked);
}

int
map_refuse_wire(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    int flags, struct answer *answer)
{
	struct vm_map_entry_info info;
	struct vm_map_limits limits;

	vm_map_get_limits(map->vm, &limits);
	if (rv == KERN_RESOURCE_SHORTAGE && limits.memlock != 0 &&
	    (flags & VM_MAP_WIRE_USER) != 0)
		return answer_refuse(answer, rv,
		    "limits.memlock (0x%llx) must hold what the user has wired "
		    "(0x%llx) and what is in [0x%llx, 0x%llx)",
		    ULL(limits.memlock), ULL(vm_map_user_wired(map->vm)),
		    ULL(start), ULL(end));
	if (rv == KERN_INVALID_ADDRESS && why_hole(map, start, end) == end &&
	    why_entry(map, start, end, not_wirable, (uint32_t)flags, &info))
		return answer_refuse(answer, rv,
		    "what is wired must be readable or executable, and with "
		    "VM_MAP_WIRE_WRITE writable; what is at 0x%llx is not",
		    ULL(info.start));
	return map_refuse_edit(map, rv, start, end, "vm_map_wire", answer);
}

int
map_refuse_unwire(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    int flags, struct answer *answer)
{
	struct vm_map_entry_info info;

	if (rv == KERN_INVALID_ARGUMENT && (flags & VM_MAP_WIRE_USER) == 0 &&
	    why_entry(map, start, end, no_system_wiring, 0, &info))
		return answer_refuse(answer, rv,
		    "[0x%llx, 0x%llx) must all be wired by the system; what is "
		    "at 0x%llx is not",
		    ULL(start), ULL(end), ULL(info.start));
	return map_refuse_edit(map, rv, start, end, "vm_map_unwire", answer);
}

static bool
is_anything(const struct vm_map_entry_info *info, uint32_t arg)
{
	(void)info;
	(void)arg;
	return true;
}

int
map_refuse_stack(struct map *map, int rv, vm_offset_t addrbos,
    vm_size_t max_ssize, struct answer *answer)
{
	vm_offset_t end = addrbos + max_ssize;
	struct vm_map_entry_info info;
	struct vm_map_limits limits;

	vm_map_get_limits(map->vm, &limits);
	if (rv == KERN_NO_SPACE &&
	    why_entry(map, addrbos, end, is_anything, 0, &info))
		return answer_refuse(answer, rv,
		    "nothing may be in [0x%llx, 0x%llx); something is at "
		    "0x%llx",
		    ULL(addrbos), ULL(end), ULL(info.start));
	if (rv == KERN_NO_SPACE)
		return answer_refuse(answer, rv,
		    "limits.vmem (0x%llx) must hold the map (0x%llx) and the "
		    "first part of the stack",
		    ULL(limits.vmem), ULL(vm_map_size(map->vm)));
	if (rv == KERN_INVALID_ARGUMENT)
		return answer_refuse(answer, rv,
		    "max_ssize must be above limits.stack_guard (0x%llx); it "
		    "is 0x%llx",
		    ULL(limits.stack_guard), ULL(max_ssize));
	if (rv == KERN_PROTECTION_FAILURE)
		return refuse_wxorx(rv, answer);
	return map_refuse_edit(map, rv, addrbos, end, "vm_map_stack", answer);
}

int
map_refuse_growstack(struct map *map, int rv, vm_offset_t addr,
    struct answer *answer)
{
	struct vm_map_limits limits;

	if (rv == KERN_FAILURE)
		return answer_refuse(answer, rv,
		    "addr must be in the gap of a stack; 0x%llx is not",
		    ULL(addr));
	if (rv != KERN_NO_SPACE)
		return answer_refuse_kern(answer, rv, "vm_map_growstack");
	vm_map_get_limits(map->vm, &limits);
	return answer_refuse(answer, rv,
	    "no stack may grow to 0x%llx: it must end above its guard, and "
	    "stay within limits.stack (0x%llx), limits.vmem (0x%llx) and, with "
	    "MAP_WIREFUTURE, limits.memlock (0x%llx)",
	    ULL(addr), ULL(limits.stack), ULL(limits.vmem),
	    ULL(limits.memlock));
}
