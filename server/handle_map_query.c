/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Requests that ask of a map, and who may ask: what a session attached for
 * reading can do, and the mode that says so.
 */

#include "server/cleanup.h"
#include "server/dispatch.h"
#include "server/map_mode.h"

/* ---- Rights ------------------------------------------------------ */

struct map *
call_map_any(struct call *call, uint64_t id)
{
	struct map *map = idtable_get(&call->session->ids, ID_MAP, id);

	return map != NULL ? map : call_object(call, ID_MAP_READ, id, "map");
}

struct map *
call_map_read(struct call *call, uint64_t id)
{
	struct map *map = call_map_any(call, id);

	if (map != NULL && map->vm == NULL) {
		(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_ID,
		    "map must not be one that was destroyed");
		return NULL;
	}
	return map;
}

unsigned
call_access(const struct call *call, uint64_t id)
{
	return idtable_get(&call->session->ids, ID_MAP_READ, id) != NULL
		   ? MAP_MAY_READ
		   : MAP_MAY_ALL;
}

struct map *
call_map(struct call *call, uint64_t id)
{
	struct map *map = idtable_get(&call->session->ids, ID_MAP, id);

	if (map != NULL && map->vm != NULL)
		return map;
	map = call_map_read(call, id);
	if (map == NULL)
		return NULL;
	(void)answer_refuse(&call->answer, REFUSED_DENIED,
	    "map must be one that the caller may change: of uid %u, group %u, "
	    "mode 0%o it may only look",
	    (unsigned)map->tenant->uid, (unsigned)map->group, map->mode);
	return NULL;
}

enum call_outcome
handle_map_chmod(struct call *call)
{
	const Holdfast__V1__MapChmod *op = call->request->map_chmod;
	struct map *map = call_map_read(call, op->map);
	_cleanup_(peer_fini) struct peer peer = {0};
	int r;

	if (map == NULL ||
	    map_check_owner(map, call->session, "give it other rights",
		&call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	r = peer_init(&peer, call->session->fd);
	if (r < 0)
		(void)answer_refuse_errno(&call->answer, r, "credentials");
	else
		(void)map_chmod(map, &peer, op->set_mode, op->mode, op->group,
		    &call->answer);
	return CALL_DONE;
}

/* ---- Questions --------------------------------------------------- */

static void
truth_reply(struct call *call, bool is_true)
{
	static Holdfast__V1__MapTruth empty = HOLDFAST__V1__MAP_TRUTH__INIT;
	Holdfast__V1__MapTruth *result = call_alloc(call, sizeof(*result));

	if (result == NULL)
		return;
	*result = empty;
	result->truth = is_true;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_TRUTH;
	call->reply.map_truth = result;
}

enum call_outcome
handle_map_check_protection(struct call *call)
{
	const Holdfast__V1__MapCheckProtection *op =
	    call->request->map_check_protection;
	struct map *map = call_map_read(call, op->map);
	vm_prot_t prot = prot_from_wire(op->prot);
	struct vm_refusal why;
	bool is_true;
	int rv;

	if (map == NULL)
		return CALL_DONE;
	rv =
	    vm_strict_check_protection(map->vm, op->start, op->end, prot, &why);
	if (rv != KERN_SUCCESS) {
		(void)answer_refuse_strict(&call->answer, rv, &why);
		return CALL_DONE;
	}
	vm_map_lock_read(map->vm);
	is_true = vm_map_check_protection(map->vm, op->start, op->end, prot);
	vm_map_unlock_read(map->vm);
	truth_reply(call, is_true);
	return CALL_DONE;
}

enum call_outcome
handle_map_check_boundary(struct call *call)
{
	const Holdfast__V1__MapCheckBoundary *op =
	    call->request->map_check_boundary;
	struct map *map = call_map_read(call, op->map);
	struct vm_refusal why;
	bool is_true;
	int rv;

	if (map == NULL)
		return CALL_DONE;
	rv = vm_strict_range(map->vm, op->start, op->end, &why);
	if (rv != KERN_SUCCESS) {
		(void)answer_refuse_strict(&call->answer, rv, &why);
		return CALL_DONE;
	}
	vm_map_lock_read(map->vm);
	is_true = vm_map_check_boundary(map->vm, op->start, op->end);
	vm_map_unlock_read(map->vm);
	truth_reply(call, is_true);
	return CALL_DONE;
}

static bool
find_entry(struct map *map, vm_offset_t addr, struct vm_map_entry_info *infop,
    bool *anyp)
{
	vm_map_entry_t entry;
	bool found;

	vm_map_lock_read(map->vm);
	found = vm_map_lookup_entry(map->vm, addr, &entry);
	*anyp = entry != NULL;
	if (entry != NULL)
		vm_map_entry_info(entry, infop);
	vm_map_unlock_read(map->vm);
	return found;
}

enum call_outcome
handle_map_lookup_entry(struct call *call)
{
	static Holdfast__V1__MapLookupEntryResult empty =
	    HOLDFAST__V1__MAP_LOOKUP_ENTRY_RESULT__INIT;
	const Holdfast__V1__MapLookupEntry *op =
	    call->request->map_lookup_entry;
	struct map *map = call_map_read(call, op->map);
	Holdfast__V1__MapLookupEntryResult *result;
	struct vm_map_entry_info info;
	bool any;

	if (map == NULL)
		return CALL_DONE;
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->found = find_entry(map, op->addr, &info, &any);
	if (any) {
		result->entry = call_alloc(call, sizeof(*result->entry));
		if (result->entry == NULL)
			return CALL_DONE;
		entry_on_wire(call, map, &info, result->entry);
	}
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LOOKUP_ENTRY;
	call->reply.map_lookup_entry = result;
	return CALL_DONE;
}

enum call_outcome
handle_map_stat(struct call *call)
{
	static Holdfast__V1__MapStatResult empty =
	    HOLDFAST__V1__MAP_STAT_RESULT__INIT;
	uint64_t id = call->request->map_stat->map;
	struct map *map = call_map_read(call, id);
	Holdfast__V1__MapStatResult *result;

	if (map == NULL)
		return CALL_DONE;
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->name = map->name;
	result->min = map->min;
	result->max = map->max;
	result->size = vm_map_size(map->vm);
	result->nentries = vm_map_nentries(map->vm);
	result->timestamp = vm_map_timestamp(map->vm);
	result->reserved = vm_map_reserved(map->vm);
	result->user_wired = vm_map_user_wired(map->vm);
	result->owner = map->tenant->uid;
	result->group = map->group;
	result->mode = map->mode;
	result->access = call_access(call, id);
	result->sessions = map->attached;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_STAT;
	call->reply.map_stat = result;
	return CALL_DONE;
}
