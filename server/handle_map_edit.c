/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Requests that change what is in a map.  What they mean is in map_edit.c.
 */

#include <limits.h>

#include "server/dispatch.h"
#include "server/map.h"

/* Wider fields on the wire: what does not fit is refused by the checks. */
static vm_prot_t
prot_from_wire(uint32_t prot)
{
	return prot > UINT8_MAX ? UINT8_MAX : (vm_prot_t)prot;
}

static int
int_from_wire(uint32_t value)
{
	return value > INT_MAX ? INT_MAX : (int)value;
}

enum call_outcome
handle_map_protect(struct call *call)
{
	const Holdfast__V1__MapProtect *op = call->request->map_protect;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_protect(map, op->start, op->end,
		    prot_from_wire(op->prot), prot_from_wire(op->max_prot),
		    int_from_wire(op->flags), &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_inherit(struct call *call)
{
	const Holdfast__V1__MapInherit *op = call->request->map_inherit;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_inherit(map, op->start, op->end,
		    int_from_wire(op->inheritance), &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_madvise(struct call *call)
{
	const Holdfast__V1__MapMadvise *op = call->request->map_madvise;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_madvise(map, op->start, op->end,
		    int_from_wire(op->advice), &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_wire(struct call *call)
{
	const Holdfast__V1__MapWire *op = call->request->map_wire;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_wire(map, op->start, op->end,
		    int_from_wire(op->flags), &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_unwire(struct call *call)
{
	const Holdfast__V1__MapUnwire *op = call->request->map_unwire;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_unwire(map, op->start, op->end,
		    int_from_wire(op->flags), &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_stack(struct call *call)
{
	const Holdfast__V1__MapStack *op = call->request->map_stack;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_stack(map, op->addrbos, op->max_ssize,
		    prot_from_wire(op->prot), prot_from_wire(op->max_prot),
		    int_from_wire(op->cow), &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_growstack(struct call *call)
{
	const Holdfast__V1__MapGrowstack *op = call->request->map_growstack;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_growstack(map, op->addr, &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_watch(struct call *call)
{
	uint64_t id = call->request->map_watch->map;
	struct map *map = call_map(call, id);
	int r;

	if (map == NULL)
		return CALL_DONE;
	r = watch_arm(map, call->session, id);
	if (r < 0)
		(void)answer_refuse_errno(&call->answer, r, "watch");
	return CALL_DONE;
}
