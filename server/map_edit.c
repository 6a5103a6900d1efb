/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What changes entries that are there: protect, inherit, madvise, wire,
 * stacks, windows; and the map as a whole.  The core decides; here its
 * arguments are checked, what a clip adds is charged, and a refusal gets its
 * sentence.
 */

#include <errno.h>
#include <stdlib.h>

#include "server/cleanup.h"
#include "server/map.h"
#include "server/memory.h"

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

/* The end of every edit.  Returns what the core said of it. */
static int
map_edited(struct map *map, int rv, vm_offset_t start, vm_offset_t end)
{
	map_settle(map);
	if (rv == KERN_SUCCESS && start < end)
		watch_changed(map, start, end);
	return rv;
}

int
map_protect(struct map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
    vm_prot_t max, int flags, struct answer *answer)
{
	vm_prot_t asked = VM_PROT_NONE;
	struct vm_refusal why;
	int rv;

	rv = vm_strict_protect(map->vm, start, end, prot, max, flags, &why);
	rv = map_check_edit(map, start, end, rv, &why, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	if ((flags & VM_MAP_PROTECT_SET_PROT) != 0)
		asked |= prot;
	if ((flags & VM_MAP_PROTECT_SET_MAXPROT) != 0)
		asked |= max;
	rv = vm_map_protect(map->vm, start, end, prot, max, flags);
	return map_edited(map, rv, start, end) == KERN_SUCCESS
		   ? rv
		   : map_refuse_protect(map, rv, start, end, asked, answer);
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
	return map_edited(map, rv, start, end) == KERN_SUCCESS
		   ? rv
		   : map_refuse_edit(map, rv, start, end, "vm_map_inherit",
			 answer);
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
	return map_edited(map, rv, start, end) == KERN_SUCCESS
		   ? rv
		   : map_refuse_edit(map, rv, start, end, "vm_map_madvise",
			 answer);
}

static int
map_check_wire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer)
{
	struct vm_refusal why;
	int rv;

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
	/* A worker empties what nothing may keep from being deleted then. */
	if (map->punching > 0 && (flags & VM_MAP_WIRE_USER) == 0)
		return answer_refuse(answer, KERN_WOULD_BLOCK,
		    "a deletion in the map must end first");
	rv = vm_map_wire(map->vm, start, end, flags);
	return map_edited(map, rv, start, end) == KERN_SUCCESS
		   ? rv
		   : map_refuse_wire(map, rv, start, end, flags, answer);
}

int
map_unwire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer)
{
	int rv = map_check_wire(map, start, end, flags, answer);

	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_unwire(map->vm, start, end, flags);
	return map_edited(map, rv, start, end) == KERN_SUCCESS
		   ? rv
		   : map_refuse_unwire(map, rv, start, end, flags, answer);
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
	if (rv == KERN_SUCCESS &&
	    map_back_anonymous(map, addrbos, addrbos + max_ssize, answer) !=
		KERN_SUCCESS) {
		(void)vm_map_remove(map->vm, addrbos, addrbos + max_ssize);
		map_settle(map);
		return answer->code;
	}
	return map_edited(map, rv, addrbos, addrbos + max_ssize) == KERN_SUCCESS
		   ? rv
		   : map_refuse_stack(map, rv, addrbos, max_ssize, answer);
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
		struct answer unsaid;

		/* Without an object it is filled page by page, by faults. */
		(void)map_back_anonymous(map, info.start, info.end, &unsaid);
		if (info.start < info.end)
			watch_changed(map, info.start, info.end);
		return rv;
	}
	return map_refuse_growstack(map, rv, addr, answer);
}

/* ---- Without an effect on memory --------------------------------- */

int
map_sync(struct map *map, vm_offset_t start, vm_offset_t end, bool syncio,
    bool invalidate, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_range(map->vm, start, end, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	rv = vm_map_sync(map->vm, start, end, syncio, invalidate);
	if (rv == KERN_INVALID_ARGUMENT)
		return answer_refuse(answer, rv,
		    "[0x%llx, 0x%llx) must hold nothing wired by the user, and "
		    "cut no superpage, to be invalidated",
		    (unsigned long long)start, (unsigned long long)end);
	return rv == KERN_SUCCESS ? rv
				  : map_refuse_edit(map, rv, start, end,
					"vm_map_sync", answer);
}

int
map_simplify(struct map *map, vm_offset_t addr, struct answer *answer)
{
	struct vm_refusal why;
	vm_map_entry_t entry;
	bool found;
	int rv;

	rv = vm_strict_lookup(map->vm, addr, 0, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	vm_map_lock(map->vm);
	found = vm_map_lookup_entry(map->vm, addr, &entry);
	if (found)
		vm_map_simplify_entry(map->vm, entry);
	vm_map_unlock(map->vm);
	map_settle(map);
	return found ? rv
		     : answer_refuse(answer, KERN_INVALID_ADDRESS,
			   "nothing is at 0x%llx", (unsigned long long)addr);
}

int
map_find_aligned(struct map *map, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, vm_offset_t alignment, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_find_aligned(map->vm, *addrp, length, alignment, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	vm_map_lock(map->vm);
	rv = vm_map_find_aligned(map->vm, addrp, length, max_addr, alignment);
	vm_map_unlock(map->vm);
	if (rv != KERN_SUCCESS)
		return answer_refuse(answer, rv,
		    "no free range of 0x%llx bytes lies at a multiple of "
		    "0x%llx at or above 0x%llx",
		    (unsigned long long)length, (unsigned long long)alignment,
		    (unsigned long long)*addrp);
	return rv;
}

/* ---- The map as a whole ------------------------------------------ */

int
map_set_limits(struct map *map, const struct vm_map_limits *limits,
    struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_limits(map->vm, limits, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	vm_map_set_limits(map->vm, limits);
	return rv;
}

int
map_modflags(struct map *map, uint32_t set, uint32_t clear,
    struct answer *answer)
{
	uint32_t known = MAP_WIREFUTURE | MAP_ASLR | MAP_ASLR_IGNSTART |
			 MAP_WXORX | MAP_ASLR_STACK;

	if (((set | clear) & ~known) != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "set and clear must hold only flags that a caller may set "
		    "(0x%x); they are 0x%x and 0x%x",
		    known, set, clear);
	vm_map_lock(map->vm);
	vm_map_modflags(map->vm, set, clear);
	vm_map_unlock(map->vm);
	return KERN_SUCCESS;
}

/* ---- Windows ----------------------------------------------------- */

static int
map_check_submap(struct map *map, const struct map *submap,
    struct answer *answer)
{
	if (map == submap || map->nparents > 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "map must not be a submap: windows do not nest");
	if (map->tenant != submap->tenant || map->arch != submap->arch)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "submap must be of the same owner and machine as map");
	return KERN_SUCCESS;
}

/* Room for one more submap, so that the window can be noted. */
static int
map_reserve_submap(struct map *map)
{
	struct map **subs;

	subs = memory_realloc(map->subs, map->nsubs + 1, sizeof(*subs));
	if (subs == NULL)
		return -ENOMEM;
	map->subs = subs;
	return 0;
}

static void
map_note_submap(struct map *map, struct map *submap)
{
	for (size_t i = 0; i < map->nsubs; i++) {
		if (map->subs[i] == submap)
			return;
	}
	map->subs[map->nsubs++] = submap;
	submap->attached++;
	submap->nparents++;
}

void
map_drop_submaps(struct map *map)
{
	while (map->nsubs > 0) {
		struct map *submap = map->subs[--map->nsubs];

		submap->nparents--;
		map_detach(submap);
	}
	free(take_ptr(map->subs));
}

int
map_submap(struct map *map, vm_offset_t start, vm_offset_t end,
    struct map *submap, struct answer *answer)
{
	struct vm_refusal why;
	int r, rv;

	rv = vm_strict_range(map->vm, start, end, &why);
	rv = map_check_edit(map, start, end, rv, &why, answer);
	if (rv == KERN_SUCCESS)
		rv = map_check_submap(map, submap, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	r = map_reserve_submap(map);
	if (r < 0)
		return answer_refuse_errno(answer, r, "submap");
	rv = map_unback(map, start, end);
	if (rv == KERN_SUCCESS)
		rv = vm_map_submap(map->vm, start, end, submap->vm);
	map_settle(map);
	if (rv == KERN_INVALID_ARGUMENT)
		return answer_refuse(answer, rv,
		    "[0x%llx, 0x%llx) must be one entry without an object",
		    (unsigned long long)start, (unsigned long long)end);
	if (rv != KERN_SUCCESS)
		return answer_refuse_kern(answer, rv, "vm_map_submap");
	map_note_submap(map, submap);
	watch_changed(map, start, end);
	return rv;
}
