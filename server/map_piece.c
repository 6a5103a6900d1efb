/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Where the bytes of a mirrored map are.
 *
 *	entry    |------------------------------|
 *	shadow        c   c c                       frames of copies
 *	object   |==============================|   its extent
 *	pieces   |ro-||w|ro||w-||------ro-------|
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/kassert.h"
#include "core/vm_fault.h"
#include "server/map.h"
#include "server/memory.h"

#define RESIDENT_STEPS 4096 /* pieces and stretches that are counted apart */

/* Is its memory nobody's but an anonymous entry's? */
static struct object *
object_anon(vm_object_t vm)
{
	struct object *object = object_of(vm);

	return object != NULL && object->extent.file != NULL ? object : NULL;
}

/* Where a run of the chain is.  A file is made where there was none yet. */
static int
run_place(struct map *map, const struct vm_run *run, int *fdp,
    uint64_t *offsetp, struct answer *answer)
{
	vm_size_t page = map->arch->machine->page_size;
	struct object *object;
	int r;

	*fdp = -1;
	*offsetp = run->frame * page;
	if (run->object == NULL)
		return KERN_SUCCESS;
	if (!run->handle) {
		*fdp = map->file->fd;
		return KERN_SUCCESS;
	}
	object = object_of(run->object);
	r = object_fd(object, map->arch, fdp);
	if (r == -EDQUOT)
		return answer_refuse_quota(answer, &map->tenant->quota,
		    QUOTA_BASE_BYTES, object->size);
	if (r < 0)
		return answer_refuse_errno(answer, r, "file of base pages");
	object_place(object, run->frame * page, fdp, offsetp);
	return KERN_SUCCESS;
}

/* Bad memory is a piece of its own, with nothing there. */
static void
piece_lose(const struct vm_map_entry_info *info, struct map_piece *piece)
{
	vm_offset_t start, end;

	if (!map_is_lost(info, &start, &end) || end <= piece->start ||
	    start >= piece->end)
		return;
	if (start > piece->start) {
		piece->end = start;
		return;
	}
	piece->end = MIN(piece->end, end);
	piece->fd = -1;
	piece->lost = true;
}

/* Of a map that is not mirrored: the rest of the entry. */
static int
piece_of_entry(struct map *map, const struct vm_map_entry_info *info,
    vm_offset_t addr, struct map_piece *piece, struct answer *answer)
{
	int rv;

	*piece = (struct map_piece){
	    .start = addr,
	    .end = info->end,
	    .prot = info->protection,
	};
	rv = map_entry_fd(map, info, &piece->fd, &piece->offset, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	piece->offset += addr - info->start;
	piece_lose(info, piece);
	return rv;
}

int
map_piece_at(struct map *map, const struct vm_map_entry_info *info,
    vm_offset_t addr, struct map_piece *piecep, struct answer *answer)
{
	vm_size_t page = map->arch->machine->page_size;
	struct vm_run run;
	int rv;

	MPASS(info->start <= addr && addr < info->end && addr % page == 0);
	if (map->file == NULL)
		return piece_of_entry(map, info, addr, piecep, answer);
	*piecep = (struct map_piece){.start = addr, .end = info->end, .fd = -1};
	if (info->object == NULL ||
	    (info->eflags & (MAP_ENTRY_GUARD | MAP_ENTRY_IS_SUB_MAP)) != 0)
		return KERN_SUCCESS;
	vm_object_run(info->object,
	    (info->offset + (addr - info->start)) / page,
	    (info->end - addr) / page, &run);
	rv = run_place(map, &run, &piecep->fd, &piecep->offset, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	piecep->end = addr + run.npages * page;
	piecep->prot = info->protection;
	if (!run.front || (info->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		piecep->prot &= (vm_prot_t)~VM_PROT_WRITE;
	piece_lose(info, piecep);
	return rv;
}

/* ---- Counting ---------------------------------------------------- */

/* Pages that the kernel has of a stretch of a file. */
static uint64_t
resident_in_file(int fd, uint64_t offset, uint64_t size, vm_size_t page)
{
	off_t at = (off_t)offset, end = (off_t)(offset + size), data, hole;
	uint64_t n = 0;

	for (int i = 0; i < RESIDENT_STEPS && at < end; i++) {
		data = lseek(fd, at, SEEK_DATA);
		if (data < 0 || data >= end)
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		n += ((uint64_t)(hole - data) + page - 1) / page;
		at = hole;
	}
	return n;
}

static void
count_run(const struct map *map, const struct vm_run *run, bool sole,
    struct map_counts *counts)
{
	vm_size_t page = map->arch->machine->page_size;
	uint64_t n = run->npages, offset;
	int fd;

	if (run->object == NULL)
		return;
	if (run->handle && vm_object_type(run->object) != OBJT_SUPER) {
		object_place(object_of(run->object), run->frame * page, &fd,
		    &offset);
		n = fd < 0 ? 0 : resident_in_file(fd, offset, n * page, page);
	}
	counts->resident += n;
	if (run->front && sole)
		counts->resident_private += n;
}

void
map_count(const struct map *map, const struct vm_map_entry_info *info,
    struct map_counts *countsp)
{
	vm_size_t page = map->arch->machine->page_size;
	vm_pindex_t at = info->offset / page;
	vm_pindex_t end = at + (info->end - info->start) / page;
	struct vm_run run;
	bool sole;

	*countsp = (struct map_counts){0};
	if (info->object == NULL ||
	    (info->eflags & (MAP_ENTRY_GUARD | MAP_ENTRY_IS_SUB_MAP)) != 0)
		return;
	countsp->refs = vm_object_refs(info->object);
	countsp->shadows = vm_object_nshadows(info->object);
	sole = countsp->refs == 1;
	for (int i = 0; i < RESIDENT_STEPS && at < end; i++) {
		vm_object_run(info->object, at, end - at, &run);
		count_run(map, &run, sole, countsp);
		at += run.npages;
	}
}

/* ---- Anonymous entries ------------------------------------------- */

/* Is it one that must have an object and has none?  Map locked. */
static bool
entry_wants_object(vm_map_entry_t entry, struct vm_map_entry_info *info)
{
	vm_map_entry_info(entry, info);
	return info->object == NULL && info->max_protection != VM_PROT_NONE &&
	       (info->eflags & (MAP_ENTRY_GUARD | MAP_ENTRY_IS_SUB_MAP)) == 0;
}

int
map_back_anonymous(struct map *map, vm_offset_t start, vm_offset_t end,
    struct answer *answer)
{
	struct vm_map_entry_info info;
	struct object *object;
	vm_map_entry_t entry;
	int rv = KERN_SUCCESS;

	if (map->file == NULL)
		return rv;
	vm_map_lock(map->vm);
	if (!vm_map_lookup_entry(map->vm, start, &entry))
		entry = entry == NULL ? vm_map_entry_first(map->vm)
				      : vm_map_entry_succ(map->vm, entry);
	for (; entry != NULL && rv == KERN_SUCCESS;
	     entry = vm_map_entry_succ(map->vm, entry)) {
		bool wants = entry_wants_object(entry, &info);

		if (info.start >= end)
			break;
		if (!wants)
			continue;
		rv = object_create_anon(map->tenant, &map->pmap, map->file,
		    info.end - info.start, &object, answer);
		if (rv == KERN_SUCCESS)
			vm_map_back(map->vm, entry, object->vm);
	}
	vm_map_unlock(map->vm);
	return rv;
}

int
map_unback(struct map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry_info info;
	int rv;

	if (map->file == NULL || start >= end)
		return KERN_SUCCESS;
	info = map_entry_at(map, start);
	if (info.start != start || info.end != end ||
	    (info.eflags & (MAP_ENTRY_COW | MAP_ENTRY_IS_SUB_MAP)) != 0 ||
	    object_anon(info.object) == NULL ||
	    vm_object_refs(info.object) != 1)
		return KERN_SUCCESS; /* no window can be there */
	rv = vm_map_fixed(map->vm, NULL, 0, start, end - start, info.protection,
	    info.max_protection, 0);
	if (rv == KERN_SUCCESS)
		(void)vm_map_inherit(map->vm, start, end, info.inheritance);
	return rv;
}

/* ---- What a deletion leaves unreachable -------------------------- */

/* Does the object stay, though this part of it goes? */
static bool
trim_entry(const struct vm_map_entry_info *info, vm_offset_t start,
    vm_offset_t end, struct map_trim *trim)
{
	struct object *object = object_anon(info->object);
	vm_offset_t low = MAX(start, info->start), high = MIN(end, info->end);
	bool whole = low == info->start && high == info->end;

	if (object == NULL || object->shared ||
	    (whole && vm_object_refs(info->object) == 1))
		return false;
	*trim = (struct map_trim){
	    .object = info->object,
	    .offset = info->offset + (low - info->start),
	    .size = high - low,
	};
	return true;
}

/* Those of [start, end), into `trims` where it is not NULL.  Read-locked. */
static size_t
trims_walk(struct map *map, vm_offset_t start, vm_offset_t end,
    struct map_trim *trims)
{
	struct vm_map_entry_info info;
	struct map_trim trim;
	vm_map_entry_t entry;
	size_t n = 0;

	if (!vm_map_lookup_entry(map->vm, start, &entry))
		entry = entry == NULL ? vm_map_entry_first(map->vm)
				      : vm_map_entry_succ(map->vm, entry);
	for (; entry != NULL; entry = vm_map_entry_succ(map->vm, entry)) {
		vm_map_entry_info(entry, &info);
		if (info.start >= end)
			break;
		if ((info.eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
		    !trim_entry(&info, start, end, &trim))
			continue;
		if (trims != NULL) {
			vm_object_reference(trim.object);
			trims[n] = trim;
		}
		n++;
	}
	return n;
}

int
map_trims_collect(struct map *map, vm_offset_t start, vm_offset_t end,
    struct map_trims *trims)
{
	size_t n;

	*trims = (struct map_trims){0};
	if (map->file == NULL || start >= end)
		return 0;
	vm_map_lock_read(map->vm);
	n = trims_walk(map, start, end, NULL);
	if (n > 0)
		trims->trims = memory_calloc(n, sizeof(*trims->trims));
	if (trims->trims != NULL)
		trims->n = trims_walk(map, start, end, trims->trims);
	vm_map_unlock_read(map->vm);
	return n == trims->n ? 0 : -ENOMEM;
}

void
map_trims_end(struct map_trims *trims, bool commit)
{
	for (size_t i = 0; i < trims->n; i++) {
		struct map_trim *trim = &trims->trims[i];

		if (commit)
			extent_trim(&object_of(trim->object)->extent,
			    trim->offset, trim->size);
		vm_object_deallocate(trim->object);
	}
	free(trims->trims);
	*trims = (struct map_trims){0};
}
