/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a mirror of a map needs beside vm_map(9): objects that it knows behind
 * anonymous entries, and where the pages are that an entry shows.
 */

#include "core/vm_fault.h"
#include "core/vm_map_int.h"

void
vm_map_back(vm_map_t map, vm_map_entry_t entry, vm_object_t object)
{
	vm_map_assert_wlocked(map);
	MPASS(entry->object.vm_object == NULL && !entry_is_guard(entry));
	MPASS((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0);
	KASSERT(object->release != NULL, "what backs it is not known");
	KASSERT(object->size * object->pagesize >= entry_size(entry),
	    "the object is smaller than the entry");

	vm_map_entry_burden(map, entry);
	/* Whoever made the object answers for its memory. */
	if (entry->cred)
		vm_account_release(map->account, entry_size(entry));
	entry->cred = false;
	entry->eflags &= ~(uint32_t)(MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY);
	entry->object.vm_object = object;
	entry->offset = 0;
	map->updates++;
}

void
vm_map_own(vm_map_t map, vm_map_entry_t entry)
{
	vm_object_t object;

	vm_map_assert_wlocked(map);

	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
	    (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
		return;
	object = entry->object.vm_object;
	if (object == NULL || object->release == NULL ||
	    vm_object_refs(object) != 1)
		return;
	if (entry->cred)
		vm_account_release(map->account, entry_size(entry));
	entry->cred = false;
	entry->eflags &= ~(uint32_t)(MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY);
	map->updates++;
}

/* How many of the pages from `page` on have frames that follow its own. */
static vm_pindex_t
run_length(const struct vm_pages *pages, const struct vm_page *page,
    vm_pindex_t max)
{
	const struct vm_page *next;
	vm_pindex_t n = 1;

	while (n < max) {
		next = vm_pages_find(pages, page->pindex + n);
		if (next == NULL || next->frame != page->frame + n)
			break;
		n++;
	}
	return n;
}

static struct vm_run
run_find(vm_object_t object, vm_pindex_t pindex, vm_pindex_t max)
{
	const struct vm_object *front = object;
	struct vm_page *page;

	for (; object != NULL && pindex < object->size;
	     object = object->backing) {
		max = MIN(max, object->size - pindex);
		if (object->type != OBJT_SWAP || object->release != NULL)
			return (struct vm_run){object, true, object == front,
			    pindex, max};
		page = vm_pages_next(&object->pages, pindex);
		if (page != NULL && page->pindex == pindex)
			return (struct vm_run){object, false, object == front,
			    page->frame, run_length(&object->pages, page, max)};
		if (page != NULL)
			max = MIN(max, page->pindex - pindex);
		pindex += object->backing_offset / object->pagesize;
	}
	return (struct vm_run){.npages = max};
}

void
vm_object_run(vm_object_t object, vm_pindex_t pindex, vm_pindex_t max,
    struct vm_run *runp)
{
	MPASS(max > 0);

	vm_objects_lock();
	*runp = run_find(object, pindex, max);
	vm_objects_unlock();
	MPASS(runp->npages > 0 && runp->npages <= max);
}

unsigned
vm_object_nshadows(vm_object_t object)
{
	unsigned n;

	vm_objects_lock();
	n = object->nshadows;
	vm_objects_unlock();
	return n;
}
