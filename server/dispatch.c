/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "server/dispatch.h"
#include "server/log.h"
#include "server/memory.h"

struct operation {
	enum call_outcome (*handle)(struct call *call);
	const char *name;
	bool first; /* allowed before Hello */
	bool drops; /* may close a descriptor that waits in the packet */
};

#define OP(name) HOLDFAST__V1__REQUEST__OP_##name

/* clang-format off */
static const struct operation operations[] = {
    [OP(HELLO)] = {handle_hello, "Hello", true, false},
    [OP(PING)] = {handle_ping, "Ping", false, false},
    [OP(POOL_STATUS)] = {handle_pool_status, "PoolStatus", false, false},
    [OP(TENANT_STATUS)] = {handle_tenant_status, "TenantStatus", false, false},
    [OP(POOL_RUNS)] = {handle_pool_runs, "PoolRuns", false, false},
    [OP(CONTIG_ALLOC)] = {handle_contig_alloc, "ContigAlloc", false, false},
    [OP(CONTIG_FREE)] = {handle_contig_free, "ContigFree", false, true},
    [OP(CONTIG_LIST)] = {handle_contig_list, "ContigList", false, false},
    [OP(TYPE_STATS)] = {handle_type_stats, "TypeStats", false, false},
    [OP(CONTIG_CANCEL)] = {handle_contig_cancel, "ContigCancel", false, false},
    [OP(RECLAIM_LISTEN)] = {handle_reclaim_listen, "ReclaimListen", false, false},
    [OP(RECLAIM_DONE)] = {handle_reclaim_done, "ReclaimDone", false, false},
    [OP(OBJECT_CREATE)] = {handle_object_create, "ObjectCreate", false, false},
    [OP(OBJECT_DESTROY)] = {handle_object_destroy, "ObjectDestroy", false, true},
    [OP(MAP_CREATE)] = {handle_map_create, "MapCreate", false, false},
    [OP(MAP_ATTACH)] = {handle_map_attach, "MapAttach", false, false},
    [OP(MAP_DETACH)] = {handle_map_detach, "MapDetach", false, true},
    [OP(MAP_DESTROY)] = {handle_map_destroy, "MapDestroy", false, true},
    [OP(MAP_INSERT)] = {handle_map_insert, "MapInsert", false, false},
    [OP(MAP_FIND)] = {handle_map_find, "MapFind", false, true},
    [OP(MAP_FINDSPACE)] = {handle_map_findspace, "MapFindspace", false, false},
    [OP(MAP_DELETE)] = {handle_map_delete, "MapDelete", false, true},
    [OP(MAP_LOOKUP)] = {handle_map_lookup, "MapLookup", false, false},
    [OP(MAP_ENTRIES)] = {handle_map_entries, "MapEntries", false, false},
    [OP(MAP_CHECK)] = {handle_map_check, "MapCheck", false, false},
    [OP(MAP_LIST)] = {handle_map_list, "MapList", false, false},
    [OP(MAP_PROTECT)] = {handle_map_protect, "MapProtect", false, false},
    [OP(MAP_INHERIT)] = {handle_map_inherit, "MapInherit", false, false},
    [OP(MAP_MADVISE)] = {handle_map_madvise, "MapMadvise", false, false},
    [OP(MAP_WIRE)] = {handle_map_wire, "MapWire", false, false},
    [OP(MAP_UNWIRE)] = {handle_map_unwire, "MapUnwire", false, false},
    [OP(MAP_STACK)] = {handle_map_stack, "MapStack", false, false},
    [OP(MAP_GROWSTACK)] = {handle_map_growstack, "MapGrowstack", false, false},
    [OP(MAP_WATCH)] = {handle_map_watch, "MapWatch", false, false},
    [OP(MAP_FIXED)] = {handle_map_fixed, "MapFixed", false, true},
    [OP(MAP_FIND_MIN)] = {handle_map_find_min, "MapFindMin", false, true},
    [OP(MAP_FIND_ALIGNED)] = {handle_map_find_aligned, "MapFindAligned", false, false},
    [OP(MAP_SYNC)] = {handle_map_sync, "MapSync", false, false},
    [OP(MAP_CHECK_PROTECTION)] = {handle_map_check_protection, "MapCheckProtection", false, false},
    [OP(MAP_CHECK_BOUNDARY)] = {handle_map_check_boundary, "MapCheckBoundary", false, false},
    [OP(MAP_LOOKUP_ENTRY)] = {handle_map_lookup_entry, "MapLookupEntry", false, false},
    [OP(MAP_SUBMAP)] = {handle_map_submap, "MapSubmap", false, false},
    [OP(MAP_SIMPLIFY)] = {handle_map_simplify, "MapSimplify", false, false},
    [OP(MAP_LIMITS)] = {handle_map_limits, "MapLimits", false, false},
    [OP(MAP_FLAGS)] = {handle_map_flags, "MapFlags", false, false},
    [OP(MAP_STAT)] = {handle_map_stat, "MapStat", false, false},
    [OP(MAP_CHMOD)] = {handle_map_chmod, "MapChmod", false, false},
    [OP(MAP_FORK)] = {handle_map_fork, "MapFork", false, false},
    [OP(MAP_FAULT)] = {handle_map_fault, "MapFault", false, true},
    [OP(MAP_ACK)] = {handle_map_ack, "MapAck", false, false},
    [OP(POOL_CHANGE)] = {handle_pool_change, "PoolChange", false, false},
    [OP(VERIFY)] = {handle_verify, "Verify", false, false},
    [OP(QUARANTINE_LIST)] = {handle_quarantine_list, "QuarantineList", false, false},
    [OP(QUARANTINE_RELEASE)] = {handle_quarantine_release, "QuarantineRelease", false, true},
};
/* clang-format on */

static const struct operation *
operation_find(const pb_request *request)
{
	size_t op = (size_t)request->op_case;

	if (op >= nitems(operations) || operations[op].handle == NULL)
		return NULL;
	return &operations[op];
}

/* May it be carried out now?  Refuses otherwise. */
static bool
call_is_allowed(struct call *call, const struct operation *operation)
{
	struct session *session = call->session;

	if (operation == NULL) {
		(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_REQUEST,
		    "the request must hold an operation that version %d has",
		    HOLDFAST_VERSION_MAX);
		return false;
	}
	if (!session->negotiated && !operation->first) {
		(void)answer_refuse(&call->answer, REFUSED_NOT_NEGOTIATED,
		    "%s must come after a Hello that succeeded",
		    operation->name);
		return false;
	}
	if (session->server->stopping) {
		(void)answer_refuse(&call->answer, REFUSED_SHUTTING_DOWN,
		    "the daemon is shutting down");
		return false;
	}
	return true;
}

static void
call_init(struct call *call, struct session *session, const pb_request *request)
{
	call->session = session;
	call->request = request;
	call->request_id = request->id;
	call->cancel = NULL;
	call->object = NULL;
	answer_init(&call->answer);
	holdfast__v1__reply__init(&call->reply);
	fdlist_init(&call->fds);
	fdlist_init(&call->originals);
	fdlist_init(&call->opened);
	call->opened.owned = true;
}

static void
call_reply(struct call *call)
{
	pb_reply *reply = &call->reply;

	reply->id = call->request_id;
	reply->status =
	    (Holdfast__V1__Status)status_from_code(call->answer.code);
	if (call->answer.code != KERN_SUCCESS) {
		reply->message = call->answer.text;
		reply->result_case = HOLDFAST__V1__REPLY__RESULT__NOT_SET;
		fdlist_close(&call->fds);
	}
	session_reply(call->session, reply, &call->fds);
	if (call->opened.n > 0) { /* borrowed until it is sent */
		session_flush(call->session);
		fdlist_close(&call->opened);
	}
	wire_arena_reset(&call->session->server->out);
}

/* Does a client that waits for its answers wait for this one? */
static bool
request_is_awaited(const pb_request *request)
{
	switch (request->op_case) {
	case OP(CONTIG_CANCEL):
		return false;
	case OP(CONTIG_FREE):
		return !request->contig_free->quiet;
	default:
		return true;
	}
}

static void
dispatch_request(struct session *session, const pb_request *request)
{
	const struct operation *operation = operation_find(request);
	enum call_outcome outcome = CALL_DONE;
	struct call call;

	call_init(&call, session, request);
	if (call_is_allowed(&call, operation)) {
		if (operation->drops && session->packet_fds.n > 0)
			session_flush(session);
		session->server->acting = session;
		outcome = operation->handle(&call);
		session->server->acting = NULL;
	}
	if (outcome == CALL_DONE) {
		session->answered |= request_is_awaited(request);
		if (call.answer.code != KERN_SUCCESS)
			log_debug("refused", "session=%u op=%s code=%s",
			    session->serial,
			    operation == NULL ? "unknown" : operation->name,
			    status_name(call.answer.code));
		call_reply(&call);
	}
}

void
dispatch_packet(struct session *session,
    const Holdfast__V1__ClientPacket *packet)
{
	session->packet_open = true;
	for (size_t i = 0; i < packet->n_requests && !session->doomed; i++)
		dispatch_request(session, packet->requests[i]);
	session->packet_open = false;
	session_flush(session);
}

struct call *
call_keep(struct call *call, void (*cancel)(struct call *call))
{
	struct call *kept = memory_alloc(sizeof(*kept));

	if (kept == NULL) {
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "request");
		return NULL;
	}
	*kept = (struct call){
	    .session = call->session,
	    .request_id = call->request_id,
	    .cancel = cancel,
	};
	kept->opened.owned = true;
	holdfast__v1__reply__init(&kept->reply);
	TAILQ_INSERT_TAIL(&call->session->calls, kept, entry);
	return kept;
}

void
call_drop(struct call *call)
{
	TAILQ_REMOVE(&call->session->calls, call, entry);
	free(call);
}

void
call_finish(struct call *call)
{
	call_reply(call);
	call_drop(call);
}

void *
call_alloc(struct call *call, size_t size)
{
	void *p = wire_arena_alloc(&call->session->server->out, size);

	if (p == NULL)
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "reply");
	return p;
}

void *
call_object(struct call *call, enum id_kind kind, uint64_t id, const char *arg)
{
	void *object = idtable_get(&call->session->ids, kind, id);

	if (object == NULL)
		(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_ID,
		    "%s must be a number that this session was given and has "
		    "not given back; it is 0x%llx",
		    arg, (unsigned long long)id);
	return object;
}
