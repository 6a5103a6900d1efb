/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Faults of processes that mirror a map.
 *
 * The core decides; here a stack that grows gets its object first, because the
 * core would give it one that nobody knows the place of, and the answer becomes
 * a stretch of a file.
 */

#include "core/kassert.h"
#include "core/vm_fault.h"
#include "server/map.h"

struct vm_map_entry_info
map_entry_at(struct map *map, vm_offset_t addr)
{
	struct vm_map_entry_info info = {0};
	vm_map_entry_t entry;

	vm_map_lock_read(map->vm);
	if (vm_map_lookup_entry(map->vm, addr, &entry))
		vm_map_entry_info(entry, &info);
	vm_map_unlock_read(map->vm);
	return info;
}

static int
fault_refused(struct map *map, vm_offset_t addr, int rv, struct answer *answer)
{
	const struct quota *quota = &map->tenant->quota;

	switch (rv) {
	case KERN_INVALID_ADDRESS:
		return answer_refuse(answer, rv, "nothing is at 0x%llx",
		    (unsigned long long)addr);
	case KERN_PROTECTION_FAILURE:
		return answer_refuse(answer, rv,
		    "what is at 0x%llx does not allow this access, or is a "
		    "guard that no stack may grow into",
		    (unsigned long long)addr);
	case KERN_RESOURCE_SHORTAGE:
		if (quota->used[QUOTA_BASE_BYTES] +
			map->arch->machine->page_size >
		    quota->limit[QUOTA_BASE_BYTES])
			return answer_refuse_quota(answer, quota,
			    QUOTA_BASE_BYTES, map->arch->machine->page_size);
		break;
	default:
		break;
	}
	return answer_refuse_kern(answer, rv, "vm_fault");
}

/* For a fault a stack that may not grow is no place to touch. */
static int
fault_grow(struct map *map, vm_offset_t addr, struct answer *answer)
{
	int rv = map_growstack(map, addr, answer);

	if (rv == KERN_NO_SPACE || rv == KERN_FAILURE)
		rv = answer->code = KERN_PROTECTION_FAILURE;
	return rv;
}

/* Would the access write to superpages that a copy still shares? */
static bool
fault_copies_super(const struct vm_map_entry_info *info, vm_prot_t access)
{
	const struct object *object = object_of(info->object);

	return object != NULL && object->type == OBJT_SUPER &&
	       (access & VM_PROT_WRITE) != 0 &&
	       (info->protection & VM_PROT_WRITE) != 0 &&
	       (info->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

/* The piece that `addr` is in: whole where nothing was copied, or lost. */
static int
fault_piece(struct map *map, vm_offset_t addr, struct map_faulted *faulted,
    struct answer *answer)
{
	vm_offset_t page = addr & -map->arch->machine->page_size, start, end;

	if (object_of(faulted->info.object) != NULL &&
	    !map_is_lost(&faulted->info, &start, &end))
		page = faulted->info.start;
	return map_piece_at(map, &faulted->info, page, &faulted->piece, answer);
}

static int
fault_check_lost(const struct vm_map_entry_info *info, vm_offset_t addr,
    struct answer *answer)
{
	vm_offset_t start, end;

	if (!map_is_lost(info, &start, &end) || addr < start || addr >= end)
		return KERN_SUCCESS;
	return answer_refuse(answer, KERN_FAILURE,
	    "the memory at 0x%llx went bad: what was there is lost",
	    (unsigned long long)addr);
}

/* Where nobody else has what the entry shows any more, it need not copy. */
static void
map_own(struct map *map, vm_offset_t addr)
{
	struct vm_map_entry_info info;
	struct object *object;
	vm_map_entry_t entry;

	vm_map_lock(map->vm);
	if (vm_map_lookup_entry(map->vm, addr, &entry)) {
		vm_map_own(map->vm, entry);
		vm_map_entry_info(entry, &info);
		object = object_of(info.object);
		if (object != NULL &&
		    (info.eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
		    vm_object_refs(info.object) == 1)
			object->shared = false;
	}
	vm_map_unlock(map->vm);
}

int
map_fault(struct map *map, vm_offset_t addr, vm_prot_t access,
    struct map_faulted *faultedp, struct answer *answer)
{
	struct map_faulted faulted = {0};
	struct vm_fault fault;
	struct vm_refusal why;
	int rv;

	MPASS(map->file != NULL);
	rv = vm_strict_lookup(map->vm, addr, access, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	faulted.info = map_entry_at(map, addr);
	if ((faulted.info.eflags & MAP_ENTRY_STACK_GAP) != 0)
		rv = fault_grow(map, addr, answer);
	else
		rv = fault_check_lost(&faulted.info, addr, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	if ((access & VM_PROT_WRITE) != 0)
		map_own(map, addr);
	faulted.info = map_entry_at(map, addr);
	if (fault_copies_super(&faulted.info, access))
		return KERN_RESTART;
	rv = map_afford(map, 0, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_fault(map->vm, addr, access, &fault);
	map_settle(map);
	if (rv != KERN_SUCCESS)
		return fault_refused(map, addr, rv, answer);
	faulted.info = map_entry_at(map, addr);
	faulted.kind = (unsigned)fault.kind;
	faulted.moved = fault.kind == VM_FAULT_COPY;
	rv = fault_piece(map, addr, &faulted, answer);
	if (rv == KERN_SUCCESS)
		*faultedp = faulted;
	return rv;
}
