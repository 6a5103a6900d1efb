/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Faults and forks on the wire, and the order in which they are carried out.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/dispatch.h"
#include "server/map_mode.h"
#include "server/memory.h"
#include "server/peer.h"
#include "server/slow.h"

/* ---- Replies ----------------------------------------------------- */

static void
fault_reply(struct call *call, struct map *map, uint64_t id,
    const struct map_faulted *faulted)
{
	static Holdfast__V1__MapFaultResult empty =
	    HOLDFAST__V1__MAP_FAULT_RESULT__INIT;
	const struct map_piece *piece = &faulted->piece;
	Holdfast__V1__MapFaultResult *result;
	int index;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return;
	*result = empty;
	result->piece = call_alloc(call, sizeof(*result->piece));
	if (result->piece == NULL)
		return;
	entry_on_wire(call, map, &faulted->info, result->piece);
	entry_cut(result->piece, piece);
	result->kind = faulted->kind;
	if (piece->fd >= 0) {
		index = call_add_fd(call, id, piece->fd);
		if (index < 0) {
			(void)answer_refuse_errno(&call->answer, index,
			    "descriptor");
			return;
		}
		result->piece->fd_index = (uint32_t)index + 1;
		result->piece->file_offset = piece->offset;
	}
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_FAULT;
	call->reply.map_fault = result;
}

/* ---- Taking turns ------------------------------------------------ */

static void
slow_free(struct slow *slow)
{
	slow->server->nslow--;
	barrier_fini(&slow->barrier);
	if (slow->child != NULL)
		map_detach(slow->child);
	map_detach(slow->map);
	free(slow);
}

/* Let those run that waited for this one. */
static void
slow_next(struct map *map)
{
	struct slow *slow;

	while (TAILQ_EMPTY(&map->barriers) && map->copying == 0 &&
	       (slow = TAILQ_FIRST(&map->slow)) != NULL) {
		TAILQ_REMOVE(&map->slow, slow, entry);
		slow->queued = false;
		slow_run(slow);
	}
}

/* The end of one: the reply is filled in, or the refusal. */
static void
slow_finish(struct slow *slow)
{
	struct map *map = slow->map;

	map->attached++;
	if (slow->call != NULL)
		call_finish(slow->call);
	slow_free(slow);
	slow_next(map);
	map_detach(map);
}

void
slow_refused(struct slow *slow)
{
	MPASS(slow->call == NULL || slow->call->answer.code != KERN_SUCCESS);
	slow_finish(slow);
}

static void
slow_passed(struct barrier *barrier)
{
	struct slow *slow =
	    (struct slow *)((char *)barrier - offsetof(struct slow, barrier));

	slow->passed = true;
	slow_run(slow);
}

static void
slow_cancel(struct call *call)
{
	struct slow *slow = call->object;

	call_drop(call);
	slow->call = NULL;
	if (slow->child != NULL)
		map_detach(take_ptr(slow->child));
	if (slow->queued) {
		TAILQ_REMOVE(&slow->map->slow, slow, entry);
		slow_free(slow);
	} else if (slow_stop_super(slow)) {
		slow_finish(slow);
	} /* else what it waits for ends by itself */
}

/* One of the map, not yet in its queue.  NULL: refused. */
static struct slow *
slow_new(struct call *call, struct map *map, uint64_t id)
{
	struct slow *slow = memory_calloc(1, sizeof(*slow));

	if (slow == NULL) {
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "request");
		return NULL;
	}
	slow->server = call->session->server;
	slow->map = map;
	slow->id = id;
	slow->barrier.done = slow_passed;
	slow->server->nslow++;
	map->attached++;
	if (barrier_init(&slow->barrier, map, call->session) < 0)
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "request");
	else
		slow->call = call_keep(call, slow_cancel);
	if (slow->call == NULL) {
		slow_free(slow);
		return NULL;
	}
	slow->call->object = slow;
	return slow;
}

/* It runs now if nothing is in front of it. */
static void
slow_start(struct slow *slow)
{
	slow->queued = true;
	TAILQ_INSERT_TAIL(&slow->map->slow, slow, entry);
	slow_next(slow->map);
}

/* ---- Faults ------------------------------------------------------ */

static void
slow_fault(struct slow *slow)
{
	vm_offset_t page = slow->addr & -slow->map->arch->machine->page_size;
	struct session *before = slow->server->acting;
	struct map_faulted faulted;
	int rv;

	slow->server->acting = slow->call->session;
	rv = map_fault(slow->map, slow->addr, slow->access, &faulted,
	    &slow->call->answer);
	slow->server->acting = before;
	if (rv == KERN_RESTART) {
		slow_copy_super(slow);
		return;
	}
	if (rv == KERN_SUCCESS && faulted.moved &&
	    barrier_begin(&slow->barrier, page,
		page + slow->map->arch->machine->page_size, false))
		return;
	if (rv == KERN_SUCCESS)
		fault_reply(slow->call, slow->map, slow->id, &faulted);
	slow_finish(slow);
}

/* Nobody else shows the map, nobody waits: the usual case. */
static bool
fault_at_once(struct call *call, struct map *map)
{
	const Holdfast__V1__MapFault *op = call->request->map_fault;
	struct map_faulted faulted;
	int rv;

	if (watch_has_others(map, call->session) ||
	    !TAILQ_EMPTY(&map->barriers) || map->copying > 0)
		return false;
	rv = map_fault(map, op->addr, prot_from_wire(op->access), &faulted,
	    &call->answer);
	if (rv == KERN_SUCCESS)
		fault_reply(call, map, op->map, &faulted);
	return rv != KERN_RESTART;
}

static bool
call_mirrored(struct call *call, const struct map *map)
{
	if (map->file != NULL)
		return true;
	(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
	    "map must be one that was created to be mirrored");
	return false;
}

enum call_outcome
handle_map_fault(struct call *call)
{
	const Holdfast__V1__MapFault *op = call->request->map_fault;
	bool reads = (op->access & ~(uint32_t)VM_PROT_READ) == 0;
	struct map *map =
	    reads ? call_map_read(call, op->map) : call_map(call, op->map);
	struct slow *slow;

	if (map == NULL || !call_mirrored(call, map) ||
	    fault_at_once(call, map))
		return CALL_DONE;
	slow = slow_new(call, map, op->map);
	if (slow == NULL)
		return CALL_DONE;
	slow->addr = op->addr;
	slow->access = prot_from_wire(op->access);
	slow_start(slow);
	return CALL_WAITS;
}

/* ---- Forks ------------------------------------------------------- */

/* Group and mode of the child, where others than the parent's are wanted. */
static int
child_mode(struct slow *slow, struct map *rights)
{
	_cleanup_(peer_fini) struct peer peer = {0};
	int r;

	*rights = (struct map){
	    .tenant = slow->map->tenant,
	    .group = slow->map->group,
	    .mode = slow->map->mode,
	};

	if (slow->mode == 0 && slow->group == 0)
		return KERN_SUCCESS;
	r = peer_init(&peer, slow->call->session->fd);
	if (r < 0)
		return answer_refuse_errno(&slow->call->answer, r,
		    "credentials");
	return map_chmod(rights, &peer, slow->mode != 0, slow->mode,
	    slow->group, &slow->call->answer);
}

static void
slow_forked(struct slow *slow)
{
	if (slow->child->vm == NULL)
		(void)answer_refuse(&slow->call->answer, REFUSED_UNKNOWN_ID,
		    "the new map was destroyed by somebody else meanwhile");
	else
		call_attached(slow->call, take_ptr(slow->child), MAP_MAY_ALL,
		    false);
	if (slow->call->answer.code != KERN_SUCCESS)
		map_fork_failed(slow->map);
	slow_finish(slow);
}

static void
slow_fork(struct slow *slow)
{
	struct map *map = slow->map, rights;
	int rv;

	rv = child_mode(slow, &rights);
	if (rv == KERN_SUCCESS)
		rv = map_fork(map, slow->name, &slow->child,
		    &slow->call->answer);
	if (rv != KERN_SUCCESS) {
		slow_finish(slow);
		return;
	}
	slow->child->group = rights.group;
	slow->child->mode = rights.mode;
	if (!barrier_begin(&slow->barrier, map->min, map->max, true))
		slow_forked(slow);
}

enum call_outcome
handle_map_fork(struct call *call)
{
	const Holdfast__V1__MapFork *op = call->request->map_fork;
	struct map *map = call_map_read(call, op->map);
	struct slow *slow;

	if (map == NULL || map_check_owner(map, call->session, "fork it",
			       &call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	if (strlen(op->name) > HOLDFAST_NAME_MAX) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "name must be at most %d bytes", HOLDFAST_NAME_MAX);
		return CALL_DONE;
	}
	slow = slow_new(call, map, op->map);
	if (slow == NULL)
		return CALL_DONE;
	slow->is_fork = true;
	(void)snprintf(slow->name, sizeof(slow->name), "%s", op->name);
	slow->mode = op->mode;
	slow->group = op->group;
	slow_start(slow);
	return CALL_WAITS;
}

void
slow_run(struct slow *slow)
{
	if (slow->call == NULL) {
		slow_finish(slow);
	} else if (slow->is_fork && slow->passed) {
		slow_forked(slow);
	} else if (slow->map->vm == NULL) {
		(void)answer_refuse(&slow->call->answer, REFUSED_UNKNOWN_ID,
		    "map must not be one that was destroyed");
		slow_finish(slow);
	} else if (slow->is_fork) {
		slow_fork(slow);
	} else {
		slow_fault(slow);
	}
}

/* ---- Acknowledgements -------------------------------------------- */

/* No reply: it is one itself. */
enum call_outcome
handle_map_ack(struct call *call)
{
	const Holdfast__V1__MapAck *op = call->request->map_ack;
	struct map *map = call_map_any(call, op->map);

	call->session->acks_due -= call->session->acks_due > 0;
	if (map != NULL)
		watch_ack(map, call->session, op->map, op->ack);
	return CALL_WAITS;
}
