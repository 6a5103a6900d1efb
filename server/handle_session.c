/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Hello, Ping and the status requests.
 */

#include <stdio.h>
#include <string.h>

#include "server/dispatch.h"

#define RUNS_MAX 256 /* of each kind in one reply */

enum call_outcome
handle_hello(struct call *call)
{
	static Holdfast__V1__HelloResult empty =
	    HOLDFAST__V1__HELLO_RESULT__INIT;
	const Holdfast__V1__Hello *hello = call->request->hello;
	struct session *session = call->session;
	struct server *server = session->server;
	Holdfast__V1__HelloResult *result;

	if (hello->version_min == 0 ||
	    hello->version_min > hello->version_max) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "version_min must be from 1 to version_max; it is %u",
		    hello->version_min);
		return CALL_DONE;
	}
	if (hello->version_min > HOLDFAST_VERSION_MAX ||
	    hello->version_max < HOLDFAST_VERSION_MIN) {
		(void)answer_refuse(&call->answer, REFUSED_VERSION,
		    "the versions must meet %d to %d; they are %u to %u",
		    HOLDFAST_VERSION_MIN, HOLDFAST_VERSION_MAX,
		    hello->version_min, hello->version_max);
		return CALL_DONE;
	}
	if (strlen(hello->name) > HOLDFAST_NAME_MAX) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "name must be at most %d bytes", HOLDFAST_NAME_MAX);
		return CALL_DONE;
	}
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->version = HOLDFAST_VERSION_MAX;
	result->page_size = server->arch->machine->page_size;
	result->frame_size = server->pool.frame_size;
	result->addresses_allowed = session->tenant->addresses_allowed;
	result->machine = (char *)server->arch->machine->name;
	result->packet_max = HOLDFAST_PACKET_MAX;
	result->batch_max = HOLDFAST_BATCH_MAX;
	result->session = session->serial;
	(void)snprintf(session->name, sizeof(session->name), "%s", hello->name);
	session->negotiated = true;
	if (!transport_is_blocked(&session->transport))
		(void)event_del(session->timer);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_HELLO;
	call->reply.hello = result;
	return CALL_DONE;
}

enum call_outcome
handle_ping(struct call *call)
{
	(void)call; /* a success without a result */
	return CALL_DONE;
}

static Holdfast__V1__Pin
pin_on_wire(enum arch_pin pin)
{
	switch (pin) {
	case ARCH_PIN_LONGTERM:
		return HOLDFAST__V1__PIN__PIN_LONGTERM;
	case ARCH_PIN_MLOCK:
		return HOLDFAST__V1__PIN__PIN_MLOCK;
	case ARCH_PIN_NONE:
		break;
	}
	return HOLDFAST__V1__PIN__PIN_NONE;
}

static void
pool_status_fill(struct server *server, Holdfast__V1__PoolStatusResult *result)
{
	struct pool *pool = &server->pool;
	struct arch_pool_info info;
	struct vm_phys_stats stats = {0};

	server->arch->ops->pool_info(server->arch->ctx, &info);
	result->frame_size = pool->frame_size;
	result->frames_missing = info.nmissing;
	result->pin = pin_on_wire(info.pin);
	result->addresses_known = info.addresses_known;
	result->simulated = info.simulated;
	if (info.degraded != NULL)
		result->degraded = (char *)info.degraded;
	result->spans = pool->nspans;
	result->sessions = server->nsessions;
	result->tenants = server->ntenants;
	result->uptime_ms = server_now_ms() - server->started_ms;
	if (pool->phys == NULL)
		return;
	vm_phys_stats(pool->phys, &stats);
	result->frames_total = stats.total / pool->frame_size;
	/* The stock is nobody's. */
	result->frames_standby =
	    stats.free / pool->frame_size + pool->stock.nframes;
	result->frames_limbo = pool->nlimbo_frames;
	result->frames_in_use = result->frames_total - result->frames_standby -
				result->frames_limbo;
	result->free_bytes = result->frames_standby * pool->frame_size;
	result->largest_run = stock_largest_run(pool);
	result->frames_ready = pool->stock.nframes_ready;
	result->stock_hits = pool->stock.hits;
	result->stock_misses = pool->stock.misses;
	result->waiting = pool->waitq.n;
	result->reclaim_asks = pool->reclaim.nasks;
}

enum call_outcome
handle_pool_status(struct call *call)
{
	static Holdfast__V1__PoolStatusResult empty =
	    HOLDFAST__V1__POOL_STATUS_RESULT__INIT;
	struct server *server = call->session->server;
	Holdfast__V1__PoolStatusResult *result;

	if (server->pool.phys == NULL) {
		(void)answer_refuse(&call->answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
		return CALL_DONE;
	}
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	pool_drain_events(&server->pool);
	pool_status_fill(server, result);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_STATUS;
	call->reply.pool_status = result;
	return CALL_DONE;
}

/* What an account says of one resource. */
static Holdfast__V1__Quota *
quota_on_wire(struct call *call, enum quota_resource resource)
{
	static Holdfast__V1__Quota empty = HOLDFAST__V1__QUOTA__INIT;
	const struct quota *quota = &call->session->tenant->quota;
	Holdfast__V1__Quota *result = call_alloc(call, sizeof(*result));

	if (result == NULL)
		return NULL;
	*result = empty;
	result->used = quota->used[resource];
	result->limit = quota->limit[resource];
	result->highwater = quota->highwater[resource];
	return result;
}

enum call_outcome
handle_tenant_status(struct call *call)
{
	static Holdfast__V1__TenantStatusResult empty =
	    HOLDFAST__V1__TENANT_STATUS_RESULT__INIT;
	struct tenant *tenant = call->session->tenant;
	Holdfast__V1__TenantStatusResult *result;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->tenant = tenant->name;
	result->bytes = quota_on_wire(call, QUOTA_BYTES);
	result->base_bytes = quota_on_wire(call, QUOTA_BASE_BYTES);
	result->fds = quota_on_wire(call, QUOTA_FDS);
	result->requests = quota_on_wire(call, QUOTA_REQUESTS);
	result->sessions = quota_on_wire(call, QUOTA_SESSIONS);
	result->map_entries = quota_on_wire(call, QUOTA_ENTRIES);
	result->buffers = tenant->quota.used[QUOTA_BUFFERS];
	result->maps = tenant->quota.used[QUOTA_MAPS];
	result->entries = tenant->quota.used[QUOTA_ENTRIES];
	result->tampered = tenant->tampered;
	result->limbo_bytes = tenant->limbo_bytes;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_TENANT_STATUS;
	call->reply.tenant_status = result;
	return CALL_DONE;
}

/* ---- Runs of the pool -------------------------------------------- */

struct run_list {
	Holdfast__V1__Run *runs[RUNS_MAX];
	size_t n;
	bool full;
};

static void
run_list_add(struct call *call, struct run_list *list,
    const struct vm_phys_run *run)
{
	static Holdfast__V1__Run empty = HOLDFAST__V1__RUN__INIT;
	Holdfast__V1__Run *result = call_alloc(call, sizeof(*result));

	if (result == NULL)
		return;
	*result = empty;
	result->start = run->start;
	result->end = run->end;
	result->domain = run->domain;
	list->runs[list->n++] = result;
}

static bool
pool_next_seg(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp)
{
	return vm_phys_next_seg(pool->phys, pa, runp);
}

/* Runs that end above `from`, as many as fit; returns where they end. */
static vm_paddr_t
run_list_fill(struct call *call, struct run_list *list, vm_paddr_t from,
    bool (*next)(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp))
{
	struct pool *pool = &call->session->server->pool;
	struct vm_phys_run run;
	vm_paddr_t at = from;

	while (next(pool, at, &run)) {
		if (list->n == RUNS_MAX) {
			list->full = true;
			return at;
		}
		run_list_add(call, list, &run);
		at = run.end;
	}
	return UINT64_MAX;
}

static void
run_list_fill_limbo(struct call *call, struct run_list *list)
{
	struct pool *pool = &call->session->server->pool;
	struct span *span;

	TAILQ_FOREACH (span, &pool->limbo, entry) {
		struct vm_phys_run run = {.start = span->start,
		    .end = span->end,
		    .domain = span->domain};

		if (list->n < RUNS_MAX)
			run_list_add(call, list, &run);
	}
}

/* What lies beyond `end` belongs to the next reply. */
static void
run_list_cut(struct run_list *list, vm_paddr_t end)
{
	while (list->n > 0 && list->runs[list->n - 1]->start >= end)
		list->n--;
}

static bool
pool_runs_allowed(struct call *call)
{
	if (call->session->server->pool.phys == NULL)
		(void)answer_refuse(&call->answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
	else if (!call->session->tenant->addresses_allowed)
		(void)answer_refuse(&call->answer, REFUSED_DENIED,
		    "physical addresses are not told to this tenant");
	return call->answer.code == KERN_SUCCESS;
}

enum call_outcome
handle_pool_runs(struct call *call)
{
	static Holdfast__V1__PoolRunsResult empty =
	    HOLDFAST__V1__POOL_RUNS_RESULT__INIT;
	vm_paddr_t from = call->request->pool_runs->from, end, end_free;
	Holdfast__V1__PoolRunsResult *result;
	struct run_list *lists;

	if (!pool_runs_allowed(call))
		return CALL_DONE;
	result = call_alloc(call, sizeof(*result));
	lists = call_alloc(call, 3 * sizeof(*lists));
	if (result == NULL || lists == NULL)
		return CALL_DONE;
	*result = empty;
	end = run_list_fill(call, &lists[0], from, pool_next_seg);
	end_free = run_list_fill(call, &lists[1], from, stock_next_free);
	end = MIN(end, end_free); /* a macro: no calls inside */
	if (from == 0)
		run_list_fill_limbo(call, &lists[2]);
	if (end != UINT64_MAX) {
		run_list_cut(&lists[0], end);
		run_list_cut(&lists[1], end);
		result->next = end;
	}
	result->segments = lists[0].runs;
	result->n_segments = lists[0].n;
	result->free = lists[1].runs;
	result->n_free = lists[1].n;
	result->limbo = lists[2].runs;
	result->n_limbo = lists[2].n;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_RUNS;
	call->reply.pool_runs = result;
	return CALL_DONE;
}
