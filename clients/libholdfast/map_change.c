/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The calls of vm_map(9) that change entries which are there, and stacks; the
 * map's flags, owner and mode.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "clients/libholdfast/map_int.h"
#include "clients/libholdfast/request.h"

/* Here they are names of messages. */
#undef MAP_STACK
#undef MAP_SYNC

#define WIRE_USER  1u           /* VM_MAP_WIRE_USER */
#define STACK_AREA 0x1000u      /* MAP_STACK_AREA */
#define STACK_STEP (128u << 10) /* bytes, at least what a stack grows by */

/* Send it, and do here what became of [start, end). */
static int
change(struct holdfast_map *map, Holdfast__V1__Request *request, uint64_t start,
    uint64_t end)
{
	int r = hf_call_bare(map->h, request);

	return r == HF_OK ? hf_map_sync(map, start, end) : r;
}

int
holdfast_map_protect(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t prot, uint32_t max_prot, uint32_t flags)
{
	HF_RANGE_REQUEST(map, start, end, MapProtect, MAP_PROTECT, map_protect);

	op.prot = prot;
	op.max_prot = max_prot;
	op.flags = flags;
	return change(map, &request, start, end);
}

int
holdfast_map_inherit(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t inheritance)
{
	HF_RANGE_REQUEST(map, start, end, MapInherit, MAP_INHERIT, map_inherit);

	op.inheritance = inheritance;
	return change(map, &request, start, end);
}

int
holdfast_map_submap(struct holdfast_map *map, uint64_t start, uint64_t end,
    struct holdfast_map *submap)
{
	HF_RANGE_REQUEST(map, start, end, MapSubmap, MAP_SUBMAP, map_submap);

	if (submap->h != map->h) {
		hf_say(map->h, "the submap is another connection's");
		return HF_INVALID_ARGUMENT;
	}
	op.submap = submap->id;
	return change(map, &request, start, end);
}

/* What the process sees stays as it is. */

int
holdfast_map_sync(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	HF_RANGE_REQUEST(map, start, end, MapSync, MAP_SYNC, map_sync);

	if ((flags & ~(HF_SYNC_IO | HF_SYNC_INVALIDATE)) != 0) {
		hf_say(map->h, "flags must be of HF_SYNC_*; they are %#x",
		    flags);
		return HF_INVALID_ARGUMENT;
	}
	op.syncio = (flags & HF_SYNC_IO) != 0;
	op.invalidate = (flags & HF_SYNC_INVALIDATE) != 0;
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_simplify(struct holdfast_map *map, uint64_t addr)
{
	HF_MAP_REQUEST(map, MapSimplify, MAP_SIMPLIFY, map_simplify);

	op.addr = addr;
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_modflags(struct holdfast_map *map, uint32_t set, uint32_t clear)
{
	HF_MAP_REQUEST(map, MapFlags, MAP_FLAGS, map_flags);

	op.set = set;
	op.clear = clear;
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_chmod(struct holdfast_map *map, uint32_t mode)
{
	HF_MAP_REQUEST(map, MapChmod, MAP_CHMOD, map_chmod);

	op.set_mode = true;
	op.mode = mode;
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_chgrp(struct holdfast_map *map, uint32_t group)
{
	HF_MAP_REQUEST(map, MapChmod, MAP_CHMOD, map_chmod);

	op.group = (uint64_t)group + 1;
	return hf_call_bare(map->h, &request);
}

/* ---- Advice and wiring ----------------------------------------------------
 */

/* Do something to each mapped piece of a range; the first failure ends it. */
static int
each_piece(struct holdfast_map *map, uint64_t start, uint64_t end,
    int (*act)(void *at, size_t length, const struct hf_piece *piece))
{
	int r = 0;

	hf_map_lock(map);
	for (size_t i = 0; i < map->mirror.n && r == 0; i++) {
		const struct hf_piece *piece = &map->mirror.pieces[i];
		uint64_t low = piece->start > start ? piece->start : start;
		uint64_t high = piece->end < end ? piece->end : end;

		if (low < high)
			r = act((void *)(uintptr_t)low, (size_t)(high - low),
			    piece);
	}
	hf_map_unlock(map);
	return r;
}

static int
will_need(void *at, size_t length, const struct hf_piece *piece)
{
	(void)piece;
	(void)madvise(at, length, MADV_WILLNEED); /* only advice */
	return 0;
}

int
holdfast_map_madvise(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t advice)
{
	int r;
	HF_RANGE_REQUEST(map, start, end, MapMadvise, MAP_MADVISE, map_madvise);

	op.advice = advice;
	/* DONTNEED and FREE become nothing: Linux's would lose the contents. */
	r = change(map, &request, start, end);
	if (r == HF_OK && advice == HF_ADVICE_WILLNEED)
		(void)each_piece(map, start, end, will_need);
	return r;
}

static int
wire(void *at, size_t length, const struct hf_piece *piece)
{
	if (madvise(at, length,
		(piece->prot & PROT_WRITE) != 0 ? MADV_POPULATE_WRITE
						: MADV_POPULATE_READ) < 0)
		return -errno;
	return piece->huge || mlock(at, length) == 0 ? 0 : -errno;
}

/* VM_MAP_WIRE_*: of the user unless it is said otherwise. */
static uint32_t
wire_flags(uint32_t flags)
{
	return (flags & HF_WIRE_SYSTEM) != 0 ? flags & ~HF_WIRE_SYSTEM
					     : flags | WIRE_USER;
}

static int
tell_unwire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	HF_RANGE_REQUEST(map, start, end, MapUnwire, MAP_UNWIRE, map_unwire);

	op.flags = wire_flags(flags);
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_wire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	int r;
	HF_RANGE_REQUEST(map, start, end, MapWire, MAP_WIRE, map_wire);

	op.flags = wire_flags(flags);
	r = hf_call_bare(map->h, &request);
	if (r != HF_OK)
		return r;
	/* What is wired must not move when it is written. */
	r = hf_map_copy_now(map, start, end);
	if (r == HF_OK)
		r = hf_map_sync(map, start, end);
	if (r == HF_OK) /* sync only tries to lock */
		r = each_piece(map, start, end, wire);
	if (r != HF_OK) {
		char why[sizeof(map->h->error)];

		memcpy(why, map->h->error, sizeof(why));
		(void)tell_unwire(map, start, end,
		    flags & (HF_WIRE_HOLESOK | HF_WIRE_SYSTEM));
		(void)hf_map_sync(map, start, end);
		memcpy(map->h->error, why, sizeof(why));
		if (r < 0)
			hf_say(map->h,
			    "the range cannot be wired in this process; "
			    "RLIMIT_MEMLOCK may be in the way");
	}
	return r;
}

int
holdfast_map_unwire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	int r = tell_unwire(map, start, end, flags);

	return r == HF_OK ? hf_map_sync(map, start, end) : r;
}

/* ---- Stacks ----------------------------------------------------------------
 */

int
holdfast_map_stack(struct holdfast_map *map,
    const struct holdfast_map_args *args)
{
	HF_MAP_REQUEST(map, MapStack, MAP_STACK, map_stack);

	op.addrbos = args->addr;
	op.max_ssize = args->length;
	op.prot = args->prot;
	op.max_prot = args->max_prot;
	op.cow = args->cow | STACK_AREA;
	return change(map, &request, args->addr, args->addr + args->length);
}

int
holdfast_map_growstack(struct holdfast_map *map, uint64_t addr)
{
	uint64_t page = addr & -map->h->info.page_size, end = map->max;
	int r;
	HF_MAP_REQUEST(map, MapGrowstack, MAP_GROWSTACK, map_growstack);

	op.addr = addr;
	r = hf_call_bare(map->h, &request);
	if (r != HF_OK)
		return r;
	/* From below what was touched, as it grows in steps, to the stack. */
	hf_map_lock(map);
	for (size_t i = 0; i < map->mirror.n && end == map->max; i++)
		if (map->mirror.pieces[i].start > page)
			end = map->mirror.pieces[i].start;
	hf_map_unlock(map);
	return hf_map_sync(map,
	    page - map->min > STACK_STEP ? page - STACK_STEP : map->min, end);
}
