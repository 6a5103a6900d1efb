/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The way of a buffer:
 *
 *	plan: arena, else span --- none, but it may wait ---> STARVED
 *	  |         ^                                            |
 *	  |         +------------- its turn ---------------------+
 *	  v
 *	span assembling? ----> WAITING ---(failed: plan again)
 *	  v
 *	dirty and M_ZERO, or large and shown? ---> PREPARING ---(changed: taint
 *	  v                                         the span and plan again)
 *	LIVE
 */

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/contig.h"
#include "server/log.h"
#include "server/memory.h"

#define CONTIG_TRIES         6 /* plans for one request */
#define VERIFY_FRAMES_INLINE 8 /* under 10 us on the loop */
#define CONTIG_DEADLINE_MAX  (7u * 24 * 3600 * 1000) /* ms: a week */
#define CONTIG_GRACE_MS      50
#define CONTIG_FLAGS                                                           \
	(M_NOWAIT | M_WAITOK | M_ZERO | M_NODUMP | M_NORECLAIM | M_USE_RESERVE)

static int contig_plan(struct buffer *buffer, struct answer *answer);

static void
buffer_release(struct buffer *buffer)
{
	MPASS(!buffer->waiter.waiting);
	if (buffer->deadline != NULL)
		event_free(buffer->deadline);
	quota_discharge(&buffer->charge);
	quota_discharge(&buffer->request);
	free(buffer);
}

/* Let go of the run and the span.  What devices wrote to goes for good. */
static void
buffer_leave_span(struct buffer *buffer, bool soiled)
{
	struct span *span = take_ptr(buffer->span);

	if (soiled)
		span_soil(span, buffer->pa, buffer->pa + buffer->size);
	if (buffer->cut)
		span_uncut(span, buffer->pa, buffer->size, !buffer->device);
	else
		span_unuse(span);
	buffer->cut = false;
}

static void
buffer_live(struct buffer *buffer)
{
	buffer->state = BUFFER_LIVE;
	if (buffer->deadline != NULL)
		(void)evtimer_del(buffer->deadline);
	buffer->span->shown = true;
	quota_discharge(&buffer->request);
	tenant_type_alloc(buffer->type, buffer->size);
}

/* ---- Preparing a run of a live span ------------------------------ */

static void
buffer_prepare_run(struct job *job)
{
	struct buffer *buffer =
	    (struct buffer *)((char *)job - offsetof(struct buffer, job));
	const struct arch *arch = buffer->pool->arch;
	struct arch_span *frames = buffer->span->frames;

	buffer->nbad = 0;
	buffer->r = arch->ops->span_verify(arch->ctx, frames, &buffer->nbad);
	if (buffer->r == 0 && buffer->nbad == 0 && buffer->zero_size > 0)
		buffer->r = arch->ops->span_zero(arch->ctx, frames,
		    buffer->zero_offset, buffer->zero_size);
}

/* The holder changed the frames: look elsewhere. */
static int
buffer_replan(struct buffer *buffer, struct answer *answer)
{
	struct span *span = buffer->span;

	log_warn("span_tainted", "tenant=%s span=%llu", buffer->tenant->name,
	    (unsigned long long)span->id);
	span_taint(span);
	buffer_leave_span(buffer, true);
	return contig_plan(buffer, answer);
}

static void
buffer_tell(struct buffer *buffer, struct answer *answer)
{
	if (answer->code != KERN_SUCCESS)
		buffer->type->stats.mts_failures++;
	if (answer->code != KERN_SUCCESS || buffer->state == BUFFER_LIVE)
		buffer->ready(buffer, answer);
}

static void
buffer_prepare_done(struct job *job)
{
	struct buffer *buffer =
	    (struct buffer *)((char *)job - offsetof(struct buffer, job));
	struct answer answer;

	if (buffer->state == BUFFER_ORPHAN) {
		buffer_leave_span(buffer, true);
		buffer_release(buffer);
		return;
	}
	answer_init(&answer);
	if (buffer->r == 0 && buffer->nbad == 0)
		buffer_live(buffer);
	else
		(void)buffer_replan(buffer, &answer); /* told below */
	buffer_tell(buffer, &answer);
}

/* What of it may hold another's bytes, if that matters. */
static void
buffer_plan_zero(struct buffer *buffer)
{
	const struct span *span = buffer->span;
	vm_paddr_t start = MAX(buffer->pa, span->dirty_start);
	vm_paddr_t end = MIN(buffer->pa + buffer->size, span->dirty_end);

	buffer->zero_size = 0;
	if ((buffer->flags & M_ZERO) == 0 || start >= end)
		return;
	buffer->zero_offset = start - span->start;
	buffer->zero_size = end - start;
}

/* The span is live: what is left to do before the reply? */
static int
buffer_prepare(struct buffer *buffer, struct answer *answer)
{
	const struct arch *arch = buffer->pool->arch;
	struct span *span = buffer->span;
	size_t nbad = 0;

	buffer_plan_zero(buffer);
	if (!span->shown) {
		buffer_live(buffer); /* read back when it was assembled */
		return KERN_SUCCESS;
	}
	if (buffer->zero_size == 0 &&
	    span->info.nframes <= VERIFY_FRAMES_INLINE) {
		if (arch->ops->span_verify(arch->ctx, span->frames, &nbad) <
			0 ||
		    nbad > 0)
			return buffer_replan(buffer, answer);
		buffer_live(buffer);
		return KERN_SUCCESS;
	}
	buffer->state = BUFFER_PREPARING;
	buffer->job.run = buffer_prepare_run;
	buffer->job.done = buffer_prepare_done;
	buffer->job.small = buffer->size <= 4 * span->info.frame_size &&
			    span->info.nframes <= 64;
	workers_submit(buffer->pool->workers, &buffer->job);
	return KERN_SUCCESS;
}

/* ---- Planning ---------------------------------------------------- */

static void
buffer_span_ready(struct span_waiter *waiter, int r)
{
	struct buffer *buffer =
	    (struct buffer *)((char *)waiter -
			      offsetof(struct buffer, span_waiter));
	struct answer answer;

	answer_init(&answer);
	if (r == 0) {
		(void)buffer_prepare(buffer, &answer); /* told below */
	} else {
		buffer->span = NULL;
		buffer->cut = false;
		if (r == -EAGAIN || r == -ENOENT)
			(void)contig_plan(buffer, &answer);
		else
			(void)answer_refuse_errno(&answer, r,
			    "assembling the span");
	}
	buffer_tell(buffer, &answer);
}

static bool
buffer_retry(struct waiter *waiter)
{
	struct buffer *buffer =
	    (struct buffer *)((char *)waiter - offsetof(struct buffer, waiter));
	struct answer answer;

	answer_init(&answer);
	buffer->tries = 0;
	(void)contig_plan(buffer, &answer); /* told below */
	if (buffer->waiter.waiting)
		return true;
	buffer_tell(buffer, &answer);
	return false;
}

static bool
buffer_is_patient(const struct buffer *buffer)
{
	return (buffer->flags & M_WAITOK) != 0;
}

/* A run of the spans in the tenant's arena. */
static int
contig_cut(struct buffer *buffer)
{
	int rv =
	    span_cut(buffer->tenant, &buffer->req, &buffer->span, &buffer->pa);

	buffer->cut = rv == KERN_SUCCESS;
	return rv;
}

/* All of a new span, or a run of it if the arena got it. */
static int
contig_take_from(struct buffer *buffer, struct span *span,
    struct answer *answer)
{
	int rv;

	if (!span->in_arena) {
		buffer->span = span;
		buffer->pa = span->start;
		return KERN_SUCCESS;
	}
	rv = contig_cut(buffer);
	if (rv != KERN_SUCCESS) {
		span_taint(span); /* it goes */
		(void)answer_refuse_kern(answer, rv, "contigmalloc");
	}
	MPASS(rv != KERN_SUCCESS || buffer->span == span);
	span_unuse(span); /* the buffer uses it, or nobody */
	return rv;
}

/* Find a run in the arena, or in a new span of it; in one domain, or any. */
static int
contig_take_in(struct buffer *buffer, struct answer *answer)
{
	struct span *span;
	int rv;

	rv = contig_cut(buffer);
	if (rv == KERN_SUCCESS)
		return rv;
	if (rv != KERN_NO_SPACE)
		return answer_refuse_kern(answer, rv, "contigmalloc");
	/* What the tenant has is for all of it; frames go in turn. */
	if (buffer_is_patient(buffer) && waitq_is_behind(&buffer->waiter))
		return answer_refuse(answer, KERN_NO_SPACE,
		    "others of the tenant have waited longer");
	rv = span_new(&span, buffer->pool, &buffer->waiter, &buffer->req, true,
	    answer);
	if (rv != KERN_SUCCESS)
		return rv;
	return contig_take_from(buffer, span, answer);
}

/* In the first domain of its set that has a run. */
static int
contig_take(struct buffer *buffer, struct answer *answer)
{
	struct domainset *turn = &buffer->tenant->turn;
	struct domainset *ds = &buffer->domains;
	int rv = KERN_NO_SPACE, first = -1;

	if (ds->ds_mask == 0)
		return contig_take_in(buffer, answer);
	ds->ds_cursor = turn->ds_cursor;
	ds->ds_taken = turn->ds_taken;
	for (int n = 0; n < VM_PHYS_DOMAINS && rv == KERN_NO_SPACE; n++) {
		int domain = domainset_nth(ds, n);

		if (domain < 0)
			continue;
		first = first < 0 ? domain : first;
		buffer->req.domain = domain;
		rv = contig_take_in(buffer, answer);
	}
	if (rv == KERN_SUCCESS) {
		answer_init(answer); /* others of the set had none */
		domainset_advance(ds, buffer->req.domain, buffer->size);
		turn->ds_cursor = ds->ds_cursor;
		turn->ds_taken = ds->ds_taken;
	} else {
		buffer->req.domain = first; /* reclaim begins there */
	}
	return rv;
}

static bool
buffer_may_use(const struct buffer *buffer, int domain)
{
	MPASS(domain >= 0 && domain < VM_PHYS_DOMAINS);

	return buffer->domains.ds_mask != 0
		   ? (buffer->domains.ds_mask >> domain & 1) != 0
		   : buffer->req.domain < 0 || buffer->req.domain == domain;
}

/* Would an empty pool, or an unused quota, do? */
static bool
buffer_may_ever(const struct buffer *buffer)
{
	const struct contig_req *req = &buffer->req;
	const struct quota *quota = &buffer->tenant->quota;
	struct pool *pool = buffer->pool;
	struct vm_phys_run seg;
	vm_paddr_t pa;
	bool big;

	if (roundup2(req->size, pool->frame_size) > quota->limit[QUOTA_BYTES])
		return false;
	if (pool->reclaim.options.grow && req->size <= pool_room(pool))
		return true;
	for (vm_paddr_t at = req->low;
	     pool_next_seg(pool, at, &seg, &big) && seg.start < req->high;
	     at = seg.end) {
		if (buffer_may_use(buffer, seg.domain) &&
		    stock_fits(req, seg.start, seg.end, &pa))
			return true;
	}
	return false;
}

/* Nothing for it now: wait, or be refused with `rv`. */
static int
contig_starve(struct buffer *buffer, int rv, struct answer *answer)
{
	struct waitq *queue = &buffer->pool->waitq;
	bool moves = false, patient = buffer_is_patient(buffer);

	if (rv == KERN_NO_SPACE || rv == REFUSED_QUOTA)
		moves = reclaim_begin(buffer->pool, &buffer->reclaim,
			    &buffer->waiter, rv, buffer->flags) ||
			(patient && buffer_may_ever(buffer));
	if (!moves) {
		waitq_leave(queue, &buffer->waiter);
		return rv;
	}
	buffer->state = BUFFER_STARVED;
	waitq_join(queue, &buffer->waiter, patient);
	answer_init(answer);
	return KERN_SUCCESS;
}

/*
 * KERN_SUCCESS: the buffer is live or waits.  Otherwise it has no span and
 * waits for nothing.
 */
static int
contig_plan(struct buffer *buffer, struct answer *answer)
{
	int rv;

	buffer->state = BUFFER_WAITING;
	if (buffer->tries++ == CONTIG_TRIES)
		return answer_refuse(answer, KERN_RESOURCE_SHORTAGE,
		    "another process keeps taking the frames");
	rv = contig_take(buffer, answer);
	if (rv != KERN_SUCCESS)
		return contig_starve(buffer, rv, answer);
	waitq_leave(&buffer->pool->waitq, &buffer->waiter);
	if (buffer->span->state != SPAN_ASSEMBLING)
		return buffer_prepare(buffer, answer);
	span_wait(buffer->span, &buffer->span_waiter);
	return rv;
}

static int
buffer_arm(struct buffer *buffer, uint64_t ms)
{
	const struct timeval tv = {
	    .tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};

	return evtimer_add(buffer->deadline, &tv) < 0 ? -ENOMEM : 0;
}

static void
buffer_expired(evutil_socket_t fd, short what, void *arg)
{
	struct buffer *buffer = arg;
	struct answer answer;

	(void)fd;
	(void)what;
	/* Its memory is being made ready: refuse it only if that fails. */
	if (buffer->state != BUFFER_STARVED &&
	    buffer_arm(buffer, CONTIG_GRACE_MS) == 0)
		return;
	answer_init(&answer);
	(void)answer_refuse(&answer, REFUSED_TIMED_OUT,
	    "no 0x%llx bytes that satisfy the request came free in %llu ms",
	    (unsigned long long)buffer->size,
	    (unsigned long long)buffer->deadline_ms);
	buffer_tell(buffer, &answer);
}

/* Start the clock of one that waits with a deadline. */
static int
buffer_start_clock(struct buffer *buffer, struct event_base *base,
    struct answer *answer)
{
	if (buffer->state == BUFFER_LIVE || buffer->deadline_ms == 0)
		return KERN_SUCCESS;
	buffer->deadline = evtimer_new(base, buffer_expired, buffer);
	if (buffer->deadline == NULL ||
	    buffer_arm(buffer, buffer->deadline_ms) < 0)
		return answer_refuse_errno(answer, -ENOMEM, "contigmalloc");
	return KERN_SUCCESS;
}

/* ---- From outside ------------------------------------------------ */

static int
contig_check(struct pool *pool, const struct contig_params *params,
    struct answer *answer)
{
	struct contig_refusal why;
	uint32_t flags = params->flags;
	int rv;

	if ((flags & ~(uint32_t)CONTIG_FLAGS) != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "flags must be made of M_NOWAIT, M_WAITOK, M_ZERO, "
		    "M_NODUMP, M_NORECLAIM and M_USE_RESERVE; it is 0x%x",
		    flags);
	if ((flags & M_NOWAIT) != 0 && (flags & M_WAITOK) != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "flags must not hold both M_NOWAIT and M_WAITOK");
	if (params->deadline_ms > CONTIG_DEADLINE_MAX ||
	    (params->deadline_ms != 0 && (flags & M_WAITOK) == 0))
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "deadline_ms must be at most %u and come with M_WAITOK; "
		    "it is %llu",
		    CONTIG_DEADLINE_MAX,
		    (unsigned long long)params->deadline_ms);
	rv = contig_req_check(&params->req, pool->arch->machine->page_size,
	    &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_contig(answer, rv, &why, &params->req);
	return rv;
}

static int
contig_new(struct pool *pool, struct tenant *tenant,
    const struct contig_params *params, struct buffer **bufferp,
    struct answer *answer)
{
	struct tenant_type *type = tenant_type_get(tenant, params->type);
	vm_size_t page = pool->arch->machine->page_size;
	struct buffer *buffer;

	if (type == NULL)
		return answer_refuse(answer, KERN_RESOURCE_SHORTAGE,
		    "type must be one of at most %d names", TENANT_TYPES_MAX);
	buffer = memory_calloc(1, sizeof(*buffer));
	if (buffer == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "contigmalloc");
	if (quota_charge(&buffer->charge, &tenant->quota, QUOTA_BUFFERS, 1) <
	    0) {
		free(buffer);
		return answer_refuse_quota(answer, &tenant->quota,
		    QUOTA_BUFFERS, 1);
	}
	if (quota_charge(&buffer->request, &tenant->quota, QUOTA_REQUESTS, 1) <
	    0) {
		buffer_release(buffer);
		return answer_refuse_quota(answer, &tenant->quota,
		    QUOTA_REQUESTS, 1);
	}
	buffer->pool = pool;
	buffer->tenant = tenant;
	buffer->type = type;
	buffer->req = params->req;
	buffer->req.size = roundup2(params->req.size, page);
	buffer->domains = params->domains;
	buffer->size = buffer->req.size;
	buffer->flags = params->flags;
	buffer->device = params->device;
	buffer->deadline_ms = params->deadline_ms;
	buffer->span_waiter.ready = buffer_span_ready;
	buffer->waiter.retry = buffer_retry;
	buffer->waiter.tenant = tenant;
	buffer->waiter.req = &buffer->req;
	buffer->waiter.domains = params->domains.ds_mask;
	buffer->reclaim.asker = params->asker;
	*bufferp = buffer;
	return KERN_SUCCESS;
}

int
contig_alloc(struct pool *pool, struct tenant *tenant, struct event_base *base,
    const struct contig_params *params,
    void (*ready)(struct buffer *buffer, struct answer *answer), void *owner,
    struct buffer **bufferp, struct answer *answer)
{
	struct buffer *buffer = NULL;
	int rv;

	rv = contig_check(pool, params, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	if (pool->phys == NULL || pool->draining)
		return pool_refuse(pool, &params->req, false, answer);
	rv = contig_new(pool, tenant, params, &buffer, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	buffer->ready = ready;
	buffer->owner = owner;
	rv = contig_plan(buffer, answer);
	if (rv != KERN_SUCCESS) {
		buffer->type->stats.mts_failures++;
		buffer_release(buffer);
		return rv;
	}
	rv = buffer_start_clock(buffer, base, answer);
	if (rv != KERN_SUCCESS) {
		contig_free(buffer);
		return rv;
	}
	*bufferp = buffer;
	return rv;
}

void
contig_free(struct buffer *buffer)
{
	switch (buffer->state) {
	case BUFFER_LIVE:
		tenant_type_free(buffer->type, buffer->size);
		break;
	case BUFFER_PREPARING:
		if (!workers_cancel(buffer->pool->workers, &buffer->job)) {
			buffer->state = BUFFER_ORPHAN;
			return;
		}
		break;
	case BUFFER_WAITING:
		if (buffer->span != NULL)
			span_unwait(buffer->span, &buffer->span_waiter);
		break;
	case BUFFER_STARVED:
		waitq_leave(&buffer->pool->waitq, &buffer->waiter);
		break;
	case BUFFER_ORPHAN:
		MPASS(false);
		break;
	}
	if (buffer->span != NULL) {
		waitq_kick(&buffer->pool->waitq); /* its bytes may do */
		buffer_leave_span(buffer, buffer->state != BUFFER_WAITING);
	}
	buffer_release(buffer);
}

void
contig_cancel(struct buffer *buffer)
{
	struct answer answer;

	MPASS(buffer->state != BUFFER_LIVE && buffer->state != BUFFER_ORPHAN);
	answer_init(&answer);
	(void)answer_refuse(&answer, REFUSED_CANCELLED,
	    "the request was cancelled");
	buffer_tell(buffer, &answer); /* and its owner frees it */
}
