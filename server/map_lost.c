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
    vm_paddr_t start, vm_paddr_t end, struct map_lost *lostp)
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
	*lostp = (struct map_lost){
	    .addr = info->start + (from - first),
	    .size = to - from,
	    .object = object->number,
	    .offset = from - span->start,
	};
	return true;
}

void
map_tell_lost(struct map *map, struct session *session, uint64_t id,
    const struct span *span, vm_paddr_t start, vm_paddr_t end)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	struct map_lost lost;

	if (map->vm == NULL)
		return;
	vm_map_lock_read(map->vm);
	for (entry = vm_map_entry_first(map->vm); entry != NULL;
	     entry = vm_map_entry_succ(map->vm, entry)) {
		vm_map_entry_info(entry, &info);
		if (entry_shows(&info, span, start, end, &lost))
			session_send_map_lost(session, id, &lost);
	}
	vm_map_unlock_read(map->vm);
}

bool
map_is_lost(const struct vm_map_entry_info *info, vm_offset_t *startp,
    vm_offset_t *endp)
{
	const struct object *object = entry_super(info);
	struct map_lost lost;

	if (object == NULL || object->span == NULL ||
	    !entry_shows(info, object->span, object->span->bad_start,
		object->span->bad_end, &lost))
		return false;
	*startp = lost.addr;
	*endp = lost.addr + lost.size;
	return true;
}
