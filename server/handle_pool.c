/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The pool: what it is, and what operators do to it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/contig.h"
#include "server/dispatch.h"
#include "server/memory.h"
#include "server/resize.h"

#define RUNS_MAX 256 /* of each kind in one reply */

bool
call_is_operator(const struct call *call)
{
	const struct session *session = call->session;

	return privilege_is_operator(&session->server->options.operators,
	    session->fd);
}

bool
call_must_be_operator(struct call *call)
{
	if (call_is_operator(call))
		return true;
	(void)answer_refuse(&call->answer, REFUSED_DENIED,
	    "only an operator may do this: root, or whom --operators or "
	    "--operator-group names");
	return false;
}

/* ---- Status ------------------------------------------------------ */

Holdfast__V1__Pin
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

/* What operators care for. */
static void
pool_status_fill_more(struct server *server,
    Holdfast__V1__PoolStatusResult *result)
{
	struct pool *pool = &server->pool;
	struct vm_phys_stats stats;

	result->pool_max = pool->options.max;
	result->pool_min = pool->options.min;
	result->draining = pool->draining;
	result->frames_quarantined = quarantine_nframes(&server->quarantine);
	result->frames_tampered = pool->ntampered;
	result->frames_poisoned = pool->npoisoned;
	if (pool->big == NULL)
		return;
	vm_phys_stats(pool->big, &stats);
	result->big_size = pool->big_size;
	result->big_total = stats.total / pool->big_size;
	result->big_standby = stats.free / pool->big_size;
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
	pool_stats(pool, &stats);
	result->frames_total = stats.total / pool->frame_size;
	/* The stock is nobody's. */
	result->frames_standby =
	    stats.free / pool->frame_size + pool->stock.nframes;
	result->frames_limbo = pool->nlimbo_frames;
	result->frames_in_use = result->frames_total - result->frames_standby -
				result->frames_limbo;
	result->free_bytes = result->frames_standby * pool->frame_size;
	result->largest_run = MAX(stats.largest_run, stock_largest_run(pool));
	result->frames_idle = pool_idle(pool) / pool->frame_size;
	result->frames_ready = pool->stock.nframes_ready;
	result->spans_ready = pool->stock.nspans_ready;
	result->stock_hits = pool->stock.hits;
	result->stock_misses = pool->stock.misses;
	result->waiting = pool->waitq.n;
	result->reclaim_asks = pool->reclaim.nasks;
	pool_status_fill_more(server, result);
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
	result->is_operator = call_is_operator(call);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_STATUS;
	call->reply.pool_status = result;
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
    const struct vm_phys_run *run, bool big)
{
	static Holdfast__V1__Run empty = HOLDFAST__V1__RUN__INIT;
	Holdfast__V1__Run *result = call_alloc(call, sizeof(*result));

	if (result == NULL)
		return;
	*result = empty;
	result->start = run->start;
	result->end = run->end;
	result->domain = run->domain;
	result->big = big;
	list->runs[list->n++] = result;
}

/* What is free in the books of either kind, or in stock. */
static bool
next_free(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp,
    bool *bigp)
{
	bool found = stock_next_free(pool, pa, runp);
	struct vm_phys_run big;

	*bigp = pool->big != NULL && vm_phys_next_free(pool->big, pa, &big) &&
		(!found || big.start < runp->start);
	if (*bigp)
		*runp = big;
	return found || *bigp;
}

static bool
next_seg(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp, bool *bigp)
{
	return pool_next_seg(pool, pa, runp, bigp);
}

/* Runs that end above `from`, as many as fit; returns where they end. */
static vm_paddr_t
run_list_fill(struct call *call, struct run_list *list, vm_paddr_t from,
    bool (*next)(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp,
	bool *bigp))
{
	struct pool *pool = &call->session->server->pool;
	struct vm_phys_run run;
	vm_paddr_t at = from;
	bool big;

	while (next(pool, at, &run, &big)) {
		if (list->n == RUNS_MAX) {
			list->full = true;
			return at;
		}
		run_list_add(call, list, &run, big);
		at = run.end;
	}
	return UINT64_MAX;
}

static void
run_list_add_span(struct call *call, struct run_list *list,
    const struct span *span)
{
	struct vm_phys_run run = {.start = span->start,
	    .end = span->end,
	    .domain = span->domain};

	if (list->n < RUNS_MAX)
		run_list_add(call, list, &run, false);
}

static int
run_compare(const void *a, const void *b)
{
	const Holdfast__V1__Run *const *x = a;
	const Holdfast__V1__Run *const *y = b;

	return (*x)->start < (*y)->start ? -1 : (*x)->start > (*y)->start;
}

/* Ascending, each once: several buffers of a span may be quarantined. */
static void
run_list_sort(struct run_list *list)
{
	size_t n = 0;

	qsort(list->runs, list->n, sizeof(*list->runs), run_compare);
	for (size_t i = 0; i < list->n; i++)
		if (n == 0 || list->runs[i]->start != list->runs[n - 1]->start)
			list->runs[n++] = list->runs[i];
	list->n = n;
}

static void
run_list_fill_limbo(struct call *call, struct run_list *list)
{
	struct pool *pool = &call->session->server->pool;
	struct span *span;

	TAILQ_FOREACH (span, &pool->limbo, entry)
		run_list_add_span(call, list, span);
	run_list_sort(list);
}

static void
run_list_fill_quarantine(struct call *call, struct run_list *list)
{
	struct quarantine *quarantine = &call->session->server->quarantine;
	struct quarantined *held;

	TAILQ_FOREACH (held, &quarantine->held, entry)
		run_list_add_span(call, list, held->buffer->span);
	run_list_sort(list);
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
	lists = call_alloc(call, 4 * sizeof(*lists));
	if (result == NULL || lists == NULL)
		return CALL_DONE;
	*result = empty;
	end = run_list_fill(call, &lists[0], from, next_seg);
	end_free = run_list_fill(call, &lists[1], from, next_free);
	end = MIN(end, end_free); /* a macro: no calls inside */
	if (from == 0) {
		run_list_fill_limbo(call, &lists[2]);
		run_list_fill_quarantine(call, &lists[3]);
	}
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
	result->quarantine = lists[3].runs;
	result->n_quarantine = lists[3].n;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_RUNS;
	call->reply.pool_runs = result;
	return CALL_DONE;
}

/* ---- Changing it ------------------------------------------------- */

static void
change_on_wire(struct call *call, const struct resize *resize)
{
	static Holdfast__V1__PoolChangeResult empty =
	    HOLDFAST__V1__POOL_CHANGE_RESULT__INIT;
	Holdfast__V1__PoolChangeResult *result;
	struct run_list *list;

	result = call_alloc(call, sizeof(*result));
	list = call_alloc(call, sizeof(*list));
	if (result == NULL || list == NULL)
		return;
	*result = empty;
	result->frames = resize->done;
	result->nruns = resize->nruns;
	for (size_t i = 0; i < resize->nruns; i++) {
		const struct vm_phys_run *run = &resize->runs[i];

		result->largest_run =
		    MAX(result->largest_run, run->end - run->start);
		if (list->n < RUNS_MAX &&
		    call->session->tenant->addresses_allowed)
			run_list_add(call, list, run, resize->big);
	}
	result->runs = list->runs;
	result->n_runs = list->n;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_CHANGE;
	call->reply.pool_change = result;
}

static void
change_ready(struct resize *resize)
{
	struct call *call = resize->owner;

	if (call != NULL) {
		/* Nothing at all came, and the kernel said why. */
		if (resize->done == 0 && resize->r < 0)
			(void)answer_refuse_errno(&call->answer, resize->r,
			    "changing the pool");
		else
			change_on_wire(call, resize);
		call_finish(call);
	}
	resize_free(resize);
}

/* The change goes on without it. */
static void
change_cancel(struct call *call)
{
	struct resize *resize = call->object;

	resize->owner = NULL;
	call_drop(call);
}

static enum call_outcome
change_size(struct call *call, const Holdfast__V1__PoolChange *change,
    enum resize_kind kind)
{
	struct resize *resize = memory_calloc(1, sizeof(*resize));
	struct call *kept = NULL;

	if (resize != NULL)
		kept = call_keep(call, change_cancel);
	if (kept == NULL) {
		free(resize);
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "request");
		return CALL_DONE;
	}
	resize->kind = kind;
	resize->big = change->big;
	resize->domain = change->domain - 1;
	resize->asked = (size_t)MIN(change->frames, SIZE_MAX / 2);
	resize->ready = change_ready;
	resize->owner = kept;
	kept->object = resize;
	if (resize_begin(&call->session->server->pool, resize, &call->answer) ==
	    KERN_SUCCESS)
		return CALL_WAITS;
	call_drop(kept);
	resize_free(resize);
	return CALL_DONE;
}

static enum call_outcome
change_drain(struct call *call, bool on)
{
	static Holdfast__V1__PoolChangeResult empty =
	    HOLDFAST__V1__POOL_CHANGE_RESULT__INIT;

	pool_drain(&call->session->server->pool, on);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_CHANGE;
	call->reply.pool_change = &empty;
	return CALL_DONE;
}

enum call_outcome
handle_pool_change(struct call *call)
{
	const Holdfast__V1__PoolChange *change = call->request->pool_change;

	if (!call_must_be_operator(call))
		return CALL_DONE;
	if (call->session->server->pool.phys == NULL) {
		(void)answer_refuse(&call->answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
		return CALL_DONE;
	}
	if (change->domain < 0) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "domain must be a NUMA node; it is %lld",
		    (long long)change->domain - 1);
		return CALL_DONE;
	}
	switch (change->action) {
	case HOLDFAST__V1__POOL_ACTION__POOL_ACTION_GROW:
		return change_size(call, change, RESIZE_GROW);
	case HOLDFAST__V1__POOL_ACTION__POOL_ACTION_SHRINK:
		return change_size(call, change, RESIZE_SHRINK);
	case HOLDFAST__V1__POOL_ACTION__POOL_ACTION_REBALANCE:
		return change_size(call, change, RESIZE_REBALANCE);
	case HOLDFAST__V1__POOL_ACTION__POOL_ACTION_DEMOTE:
		return change_size(call, change, RESIZE_DEMOTE);
	case HOLDFAST__V1__POOL_ACTION__POOL_ACTION_DRAIN:
		return change_drain(call, true);
	case HOLDFAST__V1__POOL_ACTION__POOL_ACTION_UNDRAIN:
		return change_drain(call, false);
	default:
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "action must be one of the POOL_ACTION_*; it is %d",
		    (int)change->action);
		return CALL_DONE;
	}
}
