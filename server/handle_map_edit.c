/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Requests that change what is in a map.  What they mean is in map_edit.c.
 */

#include "server/dispatch.h"
#include "server/map.h"

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
handle_map_sync(struct call *call)
{
	const Holdfast__V1__MapSync *op = call->request->map_sync;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_sync(map, op->start, op->end, op->syncio,
		    op->invalidate, &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_submap(struct call *call)
{
	const Holdfast__V1__MapSubmap *op = call->request->map_submap;
	struct map *map = call_map(call, op->map), *submap;

	if (map == NULL)
		return CALL_DONE;
	submap = call_map(call, op->submap);
	if (submap != NULL)
		(void)map_submap(map, op->start, op->end, submap,
		    &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_simplify(struct call *call)
{
	const Holdfast__V1__MapSimplify *op = call->request->map_simplify;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_simplify(map, op->addr, &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_flags(struct call *call)
{
	const Holdfast__V1__MapFlags *op = call->request->map_flags;
	struct map *map = call_map(call, op->map);

	if (map != NULL)
		(void)map_modflags(map, op->set, op->clear, &call->answer);
	return CALL_DONE;
}

/* Bit n of `set` is field n + 3: one row each. */
static void
limits_change(const Holdfast__V1__MapLimits *op, struct vm_map_limits *limits)
{
	if ((op->set & 0x01) != 0)
		limits->vmem = op->vmem;
	if ((op->set & 0x02) != 0)
		limits->stack = op->stack;
	if ((op->set & 0x04) != 0)
		limits->memlock = op->memlock;
	if ((op->set & 0x08) != 0)
		limits->swap = op->swap;
	if ((op->set & 0x10) != 0)
		limits->nentries = op->nentries;
	if ((op->set & 0x20) != 0)
		limits->overcommit = int_from_wire(op->overcommit);
	if ((op->set & 0x40) != 0)
		limits->cluster_anon = int_from_wire(op->cluster_anon);
	if ((op->set & 0x80) != 0)
		limits->stack_guard = op->stack_guard;
}

static void
limits_reply(struct call *call, const struct vm_map_limits *limits)
{
	static Holdfast__V1__MapLimitsResult empty =
	    HOLDFAST__V1__MAP_LIMITS_RESULT__INIT;
	Holdfast__V1__MapLimitsResult *result =
	    call_alloc(call, sizeof(*result));

	if (result == NULL)
		return;
	*result = empty;
	result->vmem = limits->vmem;
	result->stack = limits->stack;
	result->memlock = limits->memlock;
	result->swap = limits->swap;
	result->nentries = limits->nentries;
	result->overcommit = (uint32_t)limits->overcommit;
	result->cluster_anon = (uint32_t)limits->cluster_anon;
	result->stack_guard = limits->stack_guard;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LIMITS;
	call->reply.map_limits = result;
}

enum call_outcome
handle_map_limits(struct call *call)
{
	const Holdfast__V1__MapLimits *op = call->request->map_limits;
	struct map *map = op->set == 0 ? call_map_read(call, op->map)
				       : call_map(call, op->map);
	struct vm_map_limits limits;

	if (map == NULL)
		return CALL_DONE;
	vm_map_get_limits(map->vm, &limits);
	limits_change(op, &limits);
	if ((op->set & ~0xffu) != 0)
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "set must name limits by bits 0 to 7; it is 0x%x", op->set);
	else if (op->set == 0 ||
		 map_set_limits(map, &limits, &call->answer) == KERN_SUCCESS)
		limits_reply(call, &limits);
	return CALL_DONE;
}

enum call_outcome
handle_map_watch(struct call *call)
{
	uint64_t id = call->request->map_watch->map;
	struct map *map = call_map_read(call, id);
	int r;

	if (map == NULL)
		return CALL_DONE;
	r = watch_arm(map, call->session, id);
	if (r < 0)
		(void)answer_refuse_errno(&call->answer, r, "watch");
	return CALL_DONE;
}
