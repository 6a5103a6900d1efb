/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What forking a map asks beside vmspace_fork().
 */

#include "core/kassert.h"
#include "core/vm_fault.h"
#include "server/map.h"

/* Wired pages are copied at once, while everybody waits: not too many. */
#define FORK_WIRED_MAX (UINT64_C(8) << 20) /* bytes */

/* Is it copied at once, because it is wired? */
static bool
copied_now(const struct vm_map_entry_info *info)
{
	return info->inheritance == VM_INHERIT_COPY && info->wired_count > 0 &&
	       (info->protection & VM_PROT_WRITE) != 0;
}

int
map_fork_check(struct map *parent, struct answer *answer)
{
	struct vm_map_entry_info info;
	const struct object *object;
	uint64_t wired = 0, zeroes = 0, number = 0;
	struct quota *quota = &parent->tenant->quota;
	vm_map_entry_t entry;

	vm_map_lock_read(parent->vm);
	for (entry = vm_map_entry_first(parent->vm);
	     entry != NULL && number == 0;
	     entry = vm_map_entry_succ(parent->vm, entry)) {
		vm_map_entry_info(entry, &info);
		if (info.inheritance == VM_INHERIT_ZERO)
			zeroes += info.end - info.start;
		if ((info.eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
		    !copied_now(&info))
			continue;
		object = object_of(info.object);
		if (object != NULL && object->type == OBJT_SUPER)
			number = object->number;
		wired += info.end - info.start;
	}
	vm_map_unlock_read(parent->vm);
	if (number != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "object %llu is of superpages and wired, and would be "
		    "copied at once: unwire it, or let it be inherited with "
		    "VM_INHERIT_SHARE",
		    (unsigned long long)number);
	if (wired > FORK_WIRED_MAX)
		return answer_refuse(answer, KERN_RESOURCE_SHORTAGE,
		    "what is wired is copied at once, at most 0x%llx bytes; "
		    "it is 0x%llx",
		    (unsigned long long)FORK_WIRED_MAX,
		    (unsigned long long)wired);
	if (zeroes + wired > quota->limit[QUOTA_BASE_BYTES] -
				 MIN(quota->used[QUOTA_BASE_BYTES],
				     quota->limit[QUOTA_BASE_BYTES]))
		return answer_refuse_quota(answer, quota, QUOTA_BASE_BYTES,
		    zeroes + wired);
	return KERN_SUCCESS;
}

void
map_fork_failed(struct map *parent)
{
	vm_map_entry_t entry;

	if (parent->vm == NULL)
		return;
	vm_map_lock(parent->vm);
	for (entry = vm_map_entry_first(parent->vm); entry != NULL;
	     entry = vm_map_entry_succ(parent->vm, entry))
		vm_map_own(parent->vm, entry);
	vm_map_unlock(parent->vm);
}

void
map_fork_shared(struct map *parent)
{
	struct vm_map_entry_info info;
	struct object *object;
	vm_map_entry_t entry;
	vm_object_t vm;

	vm_map_lock_read(parent->vm);
	for (entry = vm_map_entry_first(parent->vm); entry != NULL;
	     entry = vm_map_entry_succ(parent->vm, entry)) {
		vm_map_entry_info(entry, &info);
		if ((info.eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
			continue;
		for (vm = info.object; vm != NULL; vm = vm_object_backing(vm)) {
			object = object_of(vm);
			if (object != NULL)
				object->shared = true;
		}
	}
	vm_map_unlock_read(parent->vm);
}
