/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The calls of vm_map(9) that change entries which are there, and stacks.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "clients/libholdfast/map_int.h"

#define WIRE_USER  1u           /* VM_MAP_WIRE_USER */
#define STACK_AREA 0x1000u      /* MAP_STACK_AREA */
#define STACK_STEP (128u << 10) /* bytes, at least what a stack grows by */

int
holdfast_map_protect(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t prot, uint32_t max_prot, uint32_t flags)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapProtect op = HOLDFAST__V1__MAP_PROTECT__INIT;
	int r;

	op.map = map->id;
	op.start = start;
	op.end = end;
	op.prot = prot;
	op.max_prot = max_prot;
	op.flags = flags;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_PROTECT;
	request.map_protect = &op;
	r = hf_call_bare(map->h, &request);
	return r == HF_OK ? hf_map_sync(map, start, end) : r;
}

int
holdfast_map_inherit(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t inheritance)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapInherit op = HOLDFAST__V1__MAP_INHERIT__INIT;
	int r;

	op.map = map->id;
	op.start = start;
	op.end = end;
	op.inheritance = inheritance;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_INHERIT;
	request.map_inherit = &op;
	r = hf_call_bare(map->h, &request);
	return r == HF_OK ? hf_map_sync(map, start, end) : r;
}

/* ---- Advice and wiring ----------------------------------------------------
 */

/* Linux's word for it; -1: it has none, or none that keeps the contents. */
static int
advice_to_linux(uint32_t advice)
{
	switch (advice) {
	case HF_ADVICE_NORMAL:
		return MADV_NORMAL;
	case HF_ADVICE_RANDOM:
		return MADV_RANDOM;
	case HF_ADVICE_SEQUENTIAL:
		return MADV_SEQUENTIAL;
	case HF_ADVICE_WILLNEED:
		return MADV_WILLNEED;
	case HF_ADVICE_NOCORE:
		return MADV_DONTDUMP;
	case HF_ADVICE_CORE:
		return MADV_DODUMP;
	default:
		return -1;
	}
}

/* Do something to each mapped piece of a range; the first failure ends it. */
static int
each_piece(struct holdfast_map *map, uint64_t start, uint64_t end,
    int (*act)(void *at, size_t length, const struct hf_piece *piece, int arg),
    int arg)
{
	int r = 0;

	for (size_t i = 0; i < map->mirror.n && r == 0; i++) {
		const struct hf_piece *piece = &map->mirror.pieces[i];
		uint64_t low = piece->start > start ? piece->start : start;
		uint64_t high = piece->end < end ? piece->end : end;

		if (low < high)
			r = act((void *)(uintptr_t)low, (size_t)(high - low),
			    piece, arg);
	}
	return r;
}

static int
advise(void *at, size_t length, const struct hf_piece *piece, int advice)
{
	(void)piece;
	(void)madvise(at, length, advice); /* only advice */
	return 0;
}

int
holdfast_map_madvise(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t advice)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapMadvise op = HOLDFAST__V1__MAP_MADVISE__INIT;
	int linux_advice = advice_to_linux(advice), r;

	op.map = map->id;
	op.start = start;
	op.end = end;
	op.advice = advice;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_MADVISE;
	request.map_madvise = &op;
	r = hf_call_bare(map->h, &request);
	if (r == HF_OK && linux_advice >= 0)
		(void)each_piece(map, start, end, advise, linux_advice);
	return r;
}

static int
wire(void *at, size_t length, const struct hf_piece *piece, int arg)
{
	(void)arg;
	if (madvise(at, length,
		(piece->prot & PROT_WRITE) != 0 ? MADV_POPULATE_WRITE
						: MADV_POPULATE_READ) < 0 ||
	    mlock(at, length) < 0)
		return -errno;
	return 0;
}

static int
unwire(void *at, size_t length, const struct hf_piece *piece, int arg)
{
	(void)piece;
	(void)arg;
	(void)munlock(at, length); /* no less than nothing */
	return 0;
}

static int
tell_unwire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapUnwire op = HOLDFAST__V1__MAP_UNWIRE__INIT;

	op.map = map->id;
	op.start = start;
	op.end = end;
	op.flags = flags | WIRE_USER;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_UNWIRE;
	request.map_unwire = &op;
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_wire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapWire op = HOLDFAST__V1__MAP_WIRE__INIT;
	int r;

	op.map = map->id;
	op.start = start;
	op.end = end;
	op.flags = flags | WIRE_USER;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_WIRE;
	request.map_wire = &op;
	r = hf_call_bare(map->h, &request);
	if (r != HF_OK)
		return r;
	r = each_piece(map, start, end, wire, 0);
	if (r < 0) {
		(void)each_piece(map, start, end, unwire, 0);
		(void)tell_unwire(map, start, end, flags & HF_WIRE_HOLESOK);
		hf_say(map->h, "the range cannot be wired in this process; "
			       "RLIMIT_MEMLOCK may be in the way");
	}
	return r;
}

int
holdfast_map_unwire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags)
{
	int r = tell_unwire(map, start, end, flags);

	if (r == HF_OK)
		(void)each_piece(map, start, end, unwire, 0);
	return r;
}

/* ---- Stacks ----------------------------------------------------------------
 */

int
holdfast_map_stack(struct holdfast_map *map,
    const struct holdfast_map_args *args)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapStack op = HOLDFAST__V1__MAP_STACK__INIT;
	int r;

	op.map = map->id;
	op.addrbos = args->addr;
	op.max_ssize = args->length;
	op.prot = args->prot;
	op.max_prot = args->max_prot;
	op.cow = args->cow | STACK_AREA;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_STACK;
	request.map_stack = &op;
	r = hf_call_bare(map->h, &request);
	return r == HF_OK
		   ? hf_map_sync(map, args->addr, args->addr + args->length)
		   : r;
}

int
holdfast_map_growstack(struct holdfast_map *map, uint64_t addr)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapGrowstack op = HOLDFAST__V1__MAP_GROWSTACK__INIT;
	uint64_t page = addr & -map->h->info.page_size, end = map->max;
	int r;

	op.map = map->id;
	op.addr = addr;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_GROWSTACK;
	request.map_growstack = &op;
	r = hf_call_bare(map->h, &request);
	if (r != HF_OK)
		return r;
	/* From below what was touched, as it grows in steps, to the stack. */
	for (size_t i = 0; i < map->mirror.n && end == map->max; i++)
		if (map->mirror.pieces[i].start > page)
			end = map->mirror.pieces[i].start;
	return hf_map_sync(map,
	    page - map->min > STACK_STEP ? page - STACK_STEP : map->min, end);
}
