/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "server/log.h"
#include "server/span.h"

#define SPAN_SMALL_FRAMES 4 /* a job of that many is small */
#define LIMBO_MS_MIN      50
#define LIMBO_MS_MAX      5000

static vm_size_t
span_size(const struct span *span)
{
	return span->end - span->start;
}

static size_t
span_nframes(const struct span *span)
{
	return (size_t)(span_size(span) / span->pool->frame_size);
}

static void
span_free(struct span *span)
{
	struct pool *pool = span->pool;

	MPASS(TAILQ_EMPTY(&span->waiters));
	quota_discharge(&span->bytes);
	quota_discharge(&span->fd);
	MPASS(pool->nspans > 0);
	pool->nspans--;
	free(span);
}

/*
 * Everything in it that is still taken is nobody's buffer: make it free, so
 * that the whole run can leave the arena.
 */
static void
span_release_runs(struct span *span)
{
	struct vm_phys *arena = span->tenant->arena;
	vm_paddr_t at = span->start;
	struct vm_phys_run run;
	int rv;

	while (at < span->end) {
		vm_paddr_t next = span->end, resume = span->end;

		if (vm_phys_next_free(arena, at, &run) &&
		    run.start < span->end) {
			next = MAX(run.start, at);
			resume = run.end;
		}
		if (at < next) {
			rv = vm_phys_free_contig(arena, at, next);
			KASSERT(rv == KERN_SUCCESS, "a hole is not free");
		}
		at = resume;
	}
}

/* false: no memory for it now. */
static bool
span_leave_arena(struct span *span)
{
	int rv;

	if (!span->in_arena)
		return true;
	if (span->tainted)
		span_release_runs(span);
	rv = vm_phys_remove_seg(span->tenant->arena, span->start, span->end);
	if (rv == KERN_RESOURCE_SHORTAGE)
		return false;
	KASSERT(rv == KERN_SUCCESS, "a span without users is all free");
	span->in_arena = false;
	return true;
}

static void
pool_arm_limbo(struct pool *pool)
{
	struct timeval tv;

	pool->limbo_ms = MAX(pool->limbo_ms, LIMBO_MS_MIN);
	tv.tv_sec = pool->limbo_ms / 1000;
	tv.tv_usec = (suseconds_t)(pool->limbo_ms % 1000) * 1000;
	if (evtimer_add(pool->limbo_timer, &tv) < 0)
		log_error("limbo_timer", "text=\"cannot be set\"");
}

/* Try again later to take it from its arena. */
static void
span_stick(struct span *span)
{
	if (!span->stuck)
		TAILQ_INSERT_TAIL(&span->pool->stuck, span, entry);
	span->stuck = true;
	pool_arm_limbo(span->pool);
}

static void
span_unstick(struct span *span)
{
	if (span->stuck)
		TAILQ_REMOVE(&span->pool->stuck, span, entry);
	span->stuck = false;
}

/* One that never had frames, or has them no more, goes. */
static void
span_dispose(struct span *span)
{
	span->state = SPAN_DEAD;
	if (!span_leave_arena(span)) {
		span_stick(span);
		return;
	}
	span_unstick(span);
	pool_give(span->pool, span->start, span->end);
	span_free(span);
}

/* ---- Assembling -------------------------------------------------- */

static void
span_assemble_run(struct job *job)
{
	struct span *span =
	    (struct span *)((char *)job - offsetof(struct span, job));
	const struct arch *arch = span->pool->arch;

	span->r = arch->ops->span_assemble(arch->ctx, span->start,
	    span_nframes(span), &span->frames);
}

/* Tell everybody who waits; each may start to wait for something else. */
static void
span_tell(struct span *span, int r)
{
	struct span_waiter *waiter;

	while ((waiter = TAILQ_FIRST(&span->waiters)) != NULL) {
		span_unwait(span, waiter);
		waiter->ready(waiter, r);
	}
}

/*
 * The frames are back in the books before anybody is told, so that a waiter
 * that plans anew can have them.  Waiters give up their runs first.
 */
static void
span_failed(struct span *span)
{
	struct pool *pool = span->pool;
	struct span_waiter_list told = TAILQ_HEAD_INITIALIZER(told);
	struct span_waiter *waiter;
	int r = span->r;

	log_warn("span_failed", "tenant=%s frames=%zu errno=%d text=\"%s\"",
	    span->tenant->name, span_nframes(span), -r, strerror(-r));
	span->tainted = true; /* what the waiters took is void */
	span->users = 0;
	TAILQ_CONCAT(&told, &span->waiters, entry);
	span_dispose(span);
	pool_drain_events(pool);
	while ((waiter = TAILQ_FIRST(&told)) != NULL) {
		TAILQ_REMOVE(&told, waiter, entry);
		waiter->waiting = false;
		waiter->ready(waiter, r);
	}
	pool_wake(pool);
}

static void
span_assemble_done(struct job *job)
{
	struct span *span =
	    (struct span *)((char *)job - offsetof(struct span, job));
	const struct arch *arch = span->pool->arch;

	if (span->r < 0) {
		span_failed(span);
		return;
	}
	arch->ops->span_info(arch->ctx, span->frames, &span->info);
	span->state = SPAN_LIVE;
	pool_drain_events(span->pool);
	log_debug("span_live", "tenant=%s span=%llu frames=%zu",
	    span->tenant->name, (unsigned long long)span->id,
	    span_nframes(span));
	span_use(span);
	span_tell(span, 0);
	span_unuse(span); /* if all who waited are gone, so is it */
}

/* Charges, books and arena; undone by the caller if it fails. */
static int
span_reserve(struct span *span, bool in_arena, struct answer *answer)
{
	struct quota *quota = &span->tenant->quota;
	int rv;

	if (quota_charge(&span->bytes, quota, QUOTA_BYTES, span_size(span)) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_BYTES,
		    span_size(span));
	if (quota_charge(&span->fd, quota, QUOTA_FDS, 1) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_FDS, 1);
	if (!in_arena)
		return KERN_SUCCESS;
	rv = vm_phys_add_seg(span->tenant->arena, span->start, span->end,
	    span->domain, span);
	if (rv != KERN_SUCCESS)
		return answer_refuse_kern(answer, rv, "contigmalloc");
	span->in_arena = true;
	return KERN_SUCCESS;
}

int
span_new(struct span **spanp, struct pool *pool, struct tenant *tenant,
    const struct contig_req *req, bool in_arena, struct answer *answer)
{
	struct span *span;
	int rv;

	if (pool->phys == NULL)
		return pool_refuse(pool, req, false, answer);
	span = calloc(1, sizeof(*span));
	if (span == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "contigmalloc");
	span->pool = pool;
	span->tenant = tenant;
	TAILQ_INIT(&span->waiters);
	rv = pool_take(pool, req, &span->start, &span->end, &span->domain);
	if (rv != KERN_SUCCESS) {
		free(span);
		if (rv == KERN_NO_SPACE)
			return pool_refuse(pool, req, tenant->addresses_allowed,
			    answer);
		return answer_refuse_kern(answer, rv, "contigmalloc");
	}
	pool->nspans++;
	rv = span_reserve(span, in_arena, answer);
	if (rv != KERN_SUCCESS) {
		pool_give(pool, span->start, span->end);
		span_free(span);
		return rv;
	}
	span->id = ++tenant->last_span;
	span->state = SPAN_ASSEMBLING;
	span->users = 1;
	span->job.run = span_assemble_run;
	span->job.done = span_assemble_done;
	span->job.small = span_nframes(span) <= SPAN_SMALL_FRAMES;
	workers_submit(pool->workers, &span->job);
	*spanp = span;
	return KERN_SUCCESS;
}

bool
span_may_come(const struct pool *pool, const struct tenant *tenant)
{
	return pool->nrecycling > 0 || tenant->nrecycling > 0;
}

/* ---- Recycling --------------------------------------------------- */

static void
span_recycle_run(struct job *job)
{
	struct span *span =
	    (struct span *)((char *)job - offsetof(struct span, job));
	const struct arch *arch = span->pool->arch;

	/* Only a span that was shown can have been changed, and only the first
	 * time: afterwards it is revoked. */
	span->nbad = 0;
	if (span->shown &&
	    arch->ops->span_verify(arch->ctx, span->frames, &span->nbad) < 0)
		span->nbad = span_nframes(span);
	span->shown = false;
	span->r = arch->ops->span_recycle(arch->ctx, span->frames);
}

static void
span_enter_limbo(struct span *span)
{
	struct pool *pool = span->pool;

	if (span->job.done != NULL && span->state == SPAN_RECYCLING)
		log_warn("span_limbo",
		    "tenant=%s span=%llu frames=%zu errno=%d",
		    span->tenant->name, (unsigned long long)span->id,
		    span_nframes(span), -span->r);
	span->state = SPAN_LIMBO;
	pool->nlimbo_frames += span_nframes(span);
	span->tenant->limbo_bytes += span_size(span);
	if (TAILQ_EMPTY(&pool->limbo))
		pool->limbo_ms = LIMBO_MS_MIN;
	TAILQ_INSERT_TAIL(&pool->limbo, span, entry);
	pool_arm_limbo(pool);
}

static void
span_leave_limbo(struct span *span)
{
	struct pool *pool = span->pool;

	TAILQ_REMOVE(&pool->limbo, span, entry);
	pool->nlimbo_frames -= span_nframes(span);
	span->tenant->limbo_bytes -= span_size(span);
}

static void
span_recycle_done(struct job *job)
{
	struct span *span =
	    (struct span *)((char *)job - offsetof(struct span, job));
	struct pool *pool = span->pool;

	MPASS(pool->nrecycling > 0 && span->tenant->nrecycling > 0);
	pool->nrecycling--;
	span->tenant->nrecycling--;
	if (span->nbad > 0) {
		span->tenant->tampered += span->nbad;
		log_warn("span_tampered", "tenant=%s span=%llu frames=%zu",
		    span->tenant->name, (unsigned long long)span->id,
		    span->nbad);
	}
	if (span->r < 0) {
		span_enter_limbo(span);
	} else {
		log_debug("span_recycled", "tenant=%s span=%llu frames=%zu",
		    span->tenant->name, (unsigned long long)span->id,
		    span_nframes(span));
		pool_give(pool, span->start, span->end);
		span_free(span);
	}
	pool_drain_events(pool);
	pool_wake(pool);
}

static void
span_recycle(struct span *span)
{
	struct pool *pool = span->pool;

	span->state = SPAN_RECYCLING;
	pool->nrecycling++;
	span->tenant->nrecycling++;
	span->job.run = span_recycle_run;
	span->job.done = span_recycle_done;
	workers_submit(pool->workers, &span->job);
}

/* The last user of a live one is gone. */
static void
span_retire(struct span *span)
{
	if (!span_leave_arena(span)) {
		span_stick(span); /* it may find users again meanwhile */
		return;
	}
	span_unstick(span);
	span_recycle(span);
}

static void
span_retry_stuck(struct pool *pool)
{
	struct span_list stuck = TAILQ_HEAD_INITIALIZER(stuck);
	struct span *span;

	TAILQ_CONCAT(&stuck, &pool->stuck, entry);
	while ((span = TAILQ_FIRST(&stuck)) != NULL) {
		TAILQ_REMOVE(&stuck, span, entry);
		span->stuck = false;
		if (span->state == SPAN_DEAD)
			span_dispose(span);
		else if (span->users == 0)
			span_retire(span);
	}
}

void
span_retry_limbo(struct pool *pool)
{
	struct span *span, *next;

	span_retry_stuck(pool);

	pool->limbo_ms = MIN(pool->limbo_ms * 2, LIMBO_MS_MAX);
	for (span = TAILQ_FIRST(&pool->limbo); span != NULL; span = next) {
		next = TAILQ_NEXT(span, entry);
		span_leave_limbo(span);
		span_recycle(span);
	}
}

void
span_abandon_limbo(struct pool *pool)
{
	struct span *span;

	if (pool->limbo_timer != NULL)
		(void)evtimer_del(pool->limbo_timer);
	while ((span = TAILQ_FIRST(&pool->stuck)) != NULL) {
		TAILQ_REMOVE(&pool->stuck, span, entry);
		span_free(span);
	}
	while ((span = TAILQ_FIRST(&pool->limbo)) != NULL) {
		log_warn("span_abandoned", "tenant=%s span=%llu frames=%zu",
		    span->tenant->name, (unsigned long long)span->id,
		    span_nframes(span));
		span_leave_limbo(span);
		span_free(span);
	}
}

/* ---- Users ------------------------------------------------------- */

void
span_use(struct span *span)
{
	MPASS(span->state == SPAN_ASSEMBLING || span->state == SPAN_LIVE);
	span->users++;
}

void
span_unuse(struct span *span)
{
	MPASS(span->users > 0);
	if (--span->users > 0 || span->state == SPAN_DEAD)
		return;
	if (span->state == SPAN_ASSEMBLING) {
		/* If no worker has begun, it is as if it never was. */
		if (workers_cancel(span->pool->workers, &span->job))
			span_dispose(span);
		return;
	}
	span_retire(span);
}

void
span_wait(struct span *span, struct span_waiter *waiter)
{
	MPASS(span->state == SPAN_ASSEMBLING && !waiter->waiting);
	waiter->waiting = true;
	TAILQ_INSERT_TAIL(&span->waiters, waiter, entry);
}

void
span_unwait(struct span *span, struct span_waiter *waiter)
{
	if (!waiter->waiting)
		return;
	waiter->waiting = false;
	TAILQ_REMOVE(&span->waiters, waiter, entry);
}

void
span_taint(struct span *span)
{
	struct vm_phys *arena = span->tenant->arena;
	vm_paddr_t at = span->start;
	struct vm_phys_run run;

	if (!span->in_arena || span->tainted)
		return;
	span->tainted = true;
	while (vm_phys_next_free(arena, at, &run) && run.start < span->end) {
		/* Without memory for the record the run stays allocatable;
		 * a buffer there would be verified again. */
		if (vm_phys_take(arena, run.start, run.end) != KERN_SUCCESS)
			return;
		at = run.end;
	}
}

void
span_soil(struct span *span, vm_paddr_t start, vm_paddr_t end)
{
	MPASS(span->start <= start && start < end && end <= span->end);
	if (span->dirty_start == span->dirty_end) {
		span->dirty_start = start;
		span->dirty_end = end;
		return;
	}
	span->dirty_start = MIN(span->dirty_start, start);
	span->dirty_end = MAX(span->dirty_end, end);
}

bool
span_is_dirty(const struct span *span, vm_paddr_t start, vm_paddr_t end)
{
	return start < span->dirty_end && span->dirty_start < end;
}
