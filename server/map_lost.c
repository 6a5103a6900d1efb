/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Bad memory under maps: which of a map's addresses show it, who is told, and
 * what may no longer be mapped.
 */

#include "core/kassert.h"
#include "server/map.h"
#include "server/object.h"
#include "server/session.h"
#include "server/span.h"

/* The superpages that an entry shows; NULL: it shows others, or none. */
static const struct object *
entry_super(const struct vm_map_entry_info *info)
{
	const struct object *object = object_of(info->object);

	return object != NULL && object->type == OBJT_SUPER ? object : NULL;
}

/* Where the entry shows [start, end) of the span.  false: nowhere. */
static bool
entry_shows(const struct vm_map_entry_info *info, const struct span *span,
    vm_paddr_t start, vm_paddr_t end, vm_offset_t *addrp, vm_size_t *sizep)
{
	const struct object *object = entry_super(info);
	vm_paddr_t first, from, to;

	if (object == NULL || object->span != span)
		return false;
	first = span->start + info->offset;
	from = MAX(start, first);
	to = MIN(end, first + (info->end - info->start));
	if (from >= to)
		return false;
	*addrp = info->start + (from - first);
	*sizep = to - from;
	return true;
}

void
map_tell_lost(struct map *map, struct session *session, uint64_t id,
    const struct span *span, vm_paddr_t start, vm_paddr_t end)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	vm_offset_t addr;
	vm_size_t size;

	if (map->vm == NULL)
		return;
	vm_map_lock_read(map->vm);
	for (entry = vm_map_entry_first(map->vm); entry != NULL;
	     entry = vm_map_entry_succ(map->vm, entry)) {
		vm_map_entry_info(entry, &info);
		if (entry_shows(&info, span, start, end, &addr, &size))
			session_send_map_lost(session, id, addr, size);
	}
	vm_map_unlock_read(map->vm);
}

bool
map_is_lost(const struct vm_map_entry_info *info, vm_offset_t *startp,
    vm_offset_t *endp)
{
	const struct object *object = entry_super(info);
	vm_size_t size;

	if (object == NULL || object->span == NULL ||
	    !entry_shows(info, object->span, object->span->bad_start,
		object->span->bad_end, startp, &size))
		return false;
	*endp = *startp + size;
	return true;
}
