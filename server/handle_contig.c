/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc(9), contigfree(9) and what tells about them.
 */

#include <string.h>

#include "core/kassert.h"
#include "server/contig.h"
#include "server/dispatch.h"

#define BUFFERS_PER_REPLY 256
#define CONGRUENCE_MAX    (UINT64_C(1) << 30)

typedef Holdfast__V1__ContigAllocResult pb_buffer;

static void
buffer_on_wire(const struct buffer *buffer, uint64_t id, pb_buffer *result)
{
	static pb_buffer empty = HOLDFAST__V1__CONTIG_ALLOC_RESULT__INIT;
	const struct span *span = buffer->span;
	const struct arch_span_info *info = &span->info;
	uint64_t wanted = MAX(buffer->req.alignment, buffer->req.boundary);

	*result = empty;
	result->buffer = id;
	result->size = buffer->size;
	result->offset = buffer_offset(buffer);
	result->span_size = span->end - span->start;
	result->frame_size = info->frame_size;
	result->pin = pin_on_wire(info->pin);
	result->verified = info->verified;
	result->domain = span->domain;
	result->span = span->id;
	result->congruence = info->frame_size;
	if (buffer->tenant->addresses_allowed) {
		result->pa = buffer->pa;
		result->span_pa = span->start;
		result->congruence =
		    MAX(info->frame_size, MIN(wanted, CONGRUENCE_MAX));
	}
}

/* The buffer is live: number it and describe it. */
static void
contig_alloc_succeed(struct call *call, struct buffer *buffer)
{
	pb_buffer *result = call_alloc(call, sizeof(*result));
	uint64_t id;
	int r;

	if (result == NULL) {
		contig_free(buffer);
		return;
	}
	r = idtable_add(&call->session->ids, ID_BUFFER, buffer, &id);
	if (r < 0) {
		contig_free(buffer);
		(void)answer_refuse_errno(&call->answer, r, "buffer");
		return;
	}
	buffer_on_wire(buffer, id, result);
	if (buffer->span->info.fd >= 0)
		(void)fdlist_add(&call->fds, buffer->span->info.fd);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC;
	call->reply.contig_alloc = result;
}

static void
contig_alloc_ready(struct buffer *buffer, struct answer *answer)
{
	struct call *call = buffer->owner;

	call->answer = *answer;
	if (answer->code == KERN_SUCCESS)
		contig_alloc_succeed(call, buffer);
	else
		contig_free(buffer);
	call_finish(call);
}

static void
contig_alloc_cancel(struct call *call)
{
	contig_free(call->object);
	call_drop(call);
}

#define DOMAINS_ALL ((UINT32_C(1) << VM_PHYS_DOMAINS) - 1)
static_assert(HOLDFAST__V1__DOMAINSET_POLICY__DOMAINSET_POLICY_ROUNDROBIN ==
		      DOMAINSET_POLICY_ROUNDROBIN &&
		  HOLDFAST__V1__DOMAINSET_POLICY__DOMAINSET_POLICY_FIRSTTOUCH ==
		      DOMAINSET_POLICY_FIRSTTOUCH &&
		  HOLDFAST__V1__DOMAINSET_POLICY__DOMAINSET_POLICY_PREFER ==
		      DOMAINSET_POLICY_PREFER &&
		  HOLDFAST__V1__DOMAINSET_POLICY__DOMAINSET_POLICY_INTERLEAVE ==
		      DOMAINSET_POLICY_INTERLEAVE,
    "the wire has the core's policies");

static bool
policy_prefers(unsigned policy)
{
	return policy == DOMAINSET_POLICY_FIRSTTOUCH ||
	       policy == DOMAINSET_POLICY_PREFER;
}

static const char *
policy_name(unsigned policy)
{
	static const char *const names[] = {"none", "round-robin",
	    "first-touch", "prefer", "interleave"};

	MPASS(policy < nitems(names));
	return names[policy];
}

/* Without a mask if there is neither a policy nor a choice of domains. */
static bool
contig_alloc_domains(struct call *call, const Holdfast__V1__ContigAlloc *alloc,
    struct domainset *dsp)
{
	unsigned policy = (unsigned)alloc->policy;
	int rv = KERN_SUCCESS;

	if (alloc->domain < 0 || alloc->domain > VM_PHYS_DOMAINS)
		rv = answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "domain must be a NUMA node below %d; it is %lld",
		    VM_PHYS_DOMAINS, (long long)alloc->domain - 1);
	else if ((alloc->domains & ~DOMAINS_ALL) != 0)
		rv = answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "domains must be made of NUMA nodes below %d, so at most "
		    "0x%x; it is 0x%x",
		    VM_PHYS_DOMAINS, DOMAINS_ALL, alloc->domains);
	else if (policy > DOMAINSET_POLICY_INTERLEAVE)
		rv = answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "policy must be at most %d (interleave); it is %u",
		    DOMAINSET_POLICY_INTERLEAVE, policy);
	else if (policy_prefers(policy) && alloc->domain == 0)
		rv = answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "domain must be given with policy %u (%s)", policy,
		    policy_name(policy));
	else if (!policy_prefers(policy) && alloc->domain != 0 &&
		 (policy != 0 || alloc->domains != 0))
		rv = answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "domain must not be given with policy %u (%s) and domains "
		    "0x%x; it is %d",
		    policy, policy_name(policy), alloc->domains,
		    alloc->domain - 1);
	*dsp = (struct domainset){.ds_policy = (int)policy,
	    .ds_prefer = alloc->domain - 1};
	if (policy != 0 || alloc->domains != 0)
		dsp->ds_mask =
		    alloc->domains != 0 ? alloc->domains : DOMAINS_ALL;
	return rv == KERN_SUCCESS;
}

static bool
contig_alloc_params(struct call *call, struct contig_params *params)
{
	const Holdfast__V1__ContigAlloc *alloc = call->request->contig_alloc;
	const struct arch_machine *machine =
	    call->session->server->arch->machine;
	size_t len = strlen(alloc->type);
	struct domainset domains;

	if (len > HOLDFAST_TYPE_MAX) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "type must be at most %d bytes; it is %zu",
		    HOLDFAST_TYPE_MAX, len);
		return false;
	}
	if (!contig_alloc_domains(call, alloc, &domains))
		return false;
	*params = (struct contig_params){
	    .req =
		{
		    .size = alloc->size,
		    .low = alloc->low,
		    .high = alloc->high != 0
				? alloc->high
				: UINT64_C(1) << machine->paddr_bits,
		    .alignment = alloc->alignment != 0 ? alloc->alignment
						       : machine->page_size,
		    .boundary = alloc->boundary,
		    .domain = alloc->domain - 1,
		},
	    .domains = domains,
	    .flags = alloc->flags,
	    .type = len == 0 ? "contig" : alloc->type,
	    .device = alloc->device,
	    .deadline_ms = alloc->deadline_ms,
	    .asker = call->session,
	};
	return true;
}

enum call_outcome
handle_contig_alloc(struct call *call)
{
	struct session *session = call->session;
	struct contig_params params;
	struct buffer *buffer;
	struct call *kept;

	workers_busy(session->server->workers);
	if (!contig_alloc_params(call, &params))
		return CALL_DONE;
	if (contig_alloc(&session->server->pool, session->tenant,
		session->server->base, &params, contig_alloc_ready, NULL,
		&buffer, &call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	if (buffer->state == BUFFER_LIVE) {
		contig_alloc_succeed(call, buffer);
		return CALL_DONE;
	}
	kept = call_keep(call, contig_alloc_cancel);
	if (kept == NULL) {
		contig_free(buffer);
		return CALL_DONE;
	}
	kept->object = buffer;
	buffer->owner = kept;
	return CALL_WAITS;
}

/* The request of that number, if it waits for memory. */
static struct call *
contig_call_find(const struct session *session, uint64_t id)
{
	struct call *call;

	TAILQ_FOREACH (call, &session->calls, entry) {
		if (call->request_id == id &&
		    call->cancel == contig_alloc_cancel)
			return call;
	}
	return NULL;
}

enum call_outcome
handle_contig_cancel(struct call *call)
{
	uint64_t id = call->request->contig_cancel->request;
	struct call *other = contig_call_find(call->session, id);

	if (other == NULL)
		(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_ID,
		    "request must be the number of a ContigAlloc that has not "
		    "been answered; it is 0x%llx",
		    (unsigned long long)id);
	else
		contig_cancel(other->object);
	return CALL_DONE;
}

enum call_outcome
handle_reclaim_listen(struct call *call)
{
	struct session *session = call->session;
	struct reclaim *reclaim = &session->server->pool.reclaim;

	if (call->request->reclaim_listen->listen)
		reclaim_listen(reclaim, session);
	else
		reclaim_unlisten(reclaim, session);
	return CALL_DONE;
}

enum call_outcome
handle_reclaim_done(struct call *call)
{
	struct session *session = call->session;

	reclaim_answered(&session->server->pool.reclaim, session);
	return CALL_DONE;
}

enum call_outcome
handle_contig_free(struct call *call)
{
	bool quiet = call->request->contig_free->quiet;
	uint64_t id = call->request->contig_free->buffer;
	struct buffer *buffer = call_object(call, ID_BUFFER, id, "buffer");

	if (buffer == NULL)
		return CALL_DONE;
	workers_busy(call->session->server->workers);
	idtable_remove(&call->session->ids, id);
	contig_free(buffer);
	return quiet ? CALL_QUIET : CALL_DONE;
}

enum call_outcome
handle_contig_list(struct call *call)
{
	static Holdfast__V1__ContigListResult empty =
	    HOLDFAST__V1__CONTIG_LIST_RESULT__INIT;
	const struct idtable *ids = &call->session->ids;
	Holdfast__V1__ContigListResult *result;
	uint64_t id = call->request->contig_list->from;
	pb_buffer *buffers;
	void *object;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->buffers =
	    call_alloc(call, BUFFERS_PER_REPLY * sizeof(*result->buffers));
	buffers = call_alloc(call, BUFFERS_PER_REPLY * sizeof(*buffers));
	if (result->buffers == NULL || buffers == NULL)
		return CALL_DONE;
	while (idtable_next(ids, ID_BUFFER, id, &id, &object)) {
		if (result->n_buffers == BUFFERS_PER_REPLY) {
			result->next = id;
			break;
		}
		buffer_on_wire(object, id, &buffers[result->n_buffers]);
		result->buffers[result->n_buffers] =
		    &buffers[result->n_buffers];
		result->n_buffers++;
		id++; /* the index is in its low bits */
	}
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_CONTIG_LIST;
	call->reply.contig_list = result;
	return CALL_DONE;
}

static void
type_on_wire(const struct tenant_type *type, Holdfast__V1__TypeStat *stat)
{
	static Holdfast__V1__TypeStat empty = HOLDFAST__V1__TYPE_STAT__INIT;
	const struct malloc_type_stats *stats = &type->stats;

	*stat = empty;
	stat->type = (char *)type->name;
	stat->allocs = stats->mts_numallocs;
	stat->frees = stats->mts_numfrees;
	stat->bytes = stats->mts_memalloced - stats->mts_memfreed;
	stat->highwater = stats->mts_highwater;
	stat->failures = stats->mts_failures;
}

enum call_outcome
handle_type_stats(struct call *call)
{
	static Holdfast__V1__TypeStatsResult empty =
	    HOLDFAST__V1__TYPE_STATS_RESULT__INIT;
	struct tenant *tenant = call->session->tenant;
	Holdfast__V1__TypeStatsResult *result;
	Holdfast__V1__TypeStat *stats;
	struct tenant_type *type;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->types =
	    call_alloc(call, (tenant->ntypes + 1) * sizeof(*result->types));
	stats = call_alloc(call, (tenant->ntypes + 1) * sizeof(*stats));
	if (result->types == NULL || stats == NULL)
		return CALL_DONE;
	TAILQ_FOREACH (type, &tenant->types, entry) {
		type_on_wire(type, &stats[result->n_types]);
		result->types[result->n_types] = &stats[result->n_types];
		result->n_types++;
	}
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_TYPE_STATS;
	call->reply.type_stats = result;
	return CALL_DONE;
}
