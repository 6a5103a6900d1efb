/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "core/vm_arena.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/span.h"
#include "server/verify.h"

#define SPAN_SMALL_FRAMES 4 /* a job of that many is small */
#define LINGER_PART       4 /* of a frame: buffers of at most that */
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

/* For the log. */
static const char *
span_owner(const struct span *span)
{
	return span->tenant == NULL ? "stock" : span->tenant->name;
}

static void
span_free(struct span *span)
{
	struct pool *pool = span->pool;

	MPASS(TAILQ_EMPTY(&span->waiters));
	quota_discharge(&span->bytes);
	quota_discharge(&span->fd);
	MPASS(span->tenant == NULL || pool->nspans > 0);
	if (span->tenant != NULL)
		TAILQ_REMOVE(&pool->spans, span, all);
	pool->nspans -= span->tenant != NULL;
	free(span);
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

/* One that never had frames, or has them no more, goes. */
static void
span_dispose(struct span *span)
{
	MPASS(!span->in_arena);
	pool_give(span->pool, span->start, span->end);
	span_free(span);
}

/* ---- In arenas --------------------------------------------------- */

/* It lies idle there, or is closed and nothing is cut from it. */
static void
span_came_back(void *arg, const struct vm_arena_span *lent)
{
	struct span *span = lent->handle;

	(void)arg;
	MPASS(span->in_arena && span->ncut == 0);
	span->in_arena = false;
	span_unuse(span);
}

struct vm_arena *
span_arena_new(const struct pool *pool)
{
	const struct vm_arena_options options = {
	    .page_size = pool->arch->machine->page_size,
	    .quantum = pool->frame_size,
	    .idle_max = pool->options.idle * pool->frame_size,
	    .idle_min = pool->options.idle / 2 * pool->frame_size,
	};
	const struct vm_arena_source source = {.release = span_came_back};

	return vm_arena_create(pool->arch, &options, &source);
}

/* The arena is a user of it from here on. */
static int
span_lend(struct span *span, struct tenant *tenant)
{
	const struct vm_arena_span lent = {
	    .start = span->start,
	    .end = span->end,
	    .domain = span->domain,
	    .handle = span,
	};
	int rv = vm_arena_lend(tenant->arena, &lent);

	if (rv != KERN_SUCCESS)
		return rv;
	span->in_arena = true;
	span->users++;
	return rv;
}

/* It is lost, with all that is cut from it. */
static void
span_evict(struct span *span)
{
	struct vm_arena_span lent;
	int rv;

	if (!span->in_arena)
		return;
	rv = vm_arena_evict(span->tenant->arena, span->start, &lent);
	KASSERT(rv == KERN_SUCCESS, "what is lent is in the arena");
	(void)rv;
	MPASS(lent.handle == span);
	span->in_arena = false;
	span->ncut = 0;
}

void
span_taint(struct span *span)
{
	int rv;

	if (!span->in_arena)
		return;
	rv = vm_arena_close(span->tenant->arena, span->start);
	KASSERT(rv == KERN_SUCCESS, "what is lent is in the arena");
	(void)rv;
}

int
span_cut(struct tenant *tenant, const struct contig_req *req,
    struct span **spanp, vm_paddr_t *pap)
{
	struct vm_arena_span lent;
	bool found;
	int rv = vm_arena_alloc(tenant->arena, req, pap);

	if (rv != KERN_SUCCESS)
		return rv;
	found = vm_arena_span_at(tenant->arena, *pap, &lent);
	KASSERT(found, "what is cut is cut from a span");
	(void)found;
	*spanp = lent.handle;
	(*spanp)->ncut++;
	span_use(*spanp);
	return rv;
}

/*
 * May it stay in the arena though nothing is cut from it any more?  Small
 * buffers come again and cost little to clear; large ones come from stock,
 * cleared.  Where others want frames, or nobody is there to want it, it goes.
 */
static bool
span_may_linger(const struct span *span, vm_size_t size)
{
	const struct pool *pool = span->pool;

	return span->state == SPAN_LIVE &&
	       size <= pool->frame_size / LINGER_PART && pool->waitq.n == 0 &&
	       !pool->draining && TAILQ_EMPTY(&pool->resizes) &&
	       span->tenant->quota.used[QUOTA_SESSIONS] > 0;
}

void
span_uncut(struct span *span, vm_paddr_t pa, vm_size_t size, bool keep)
{
	int rv;

	MPASS(span->in_arena && span->ncut > 0);
	if (--span->ncut == 0 && !(keep && span_may_linger(span, size)))
		span_taint(span);
	rv = vm_arena_free(span->tenant->arena, pa, size);
	KASSERT(rv == KERN_SUCCESS, "a buffer is freed once");
	(void)rv;
	span_unuse(span);
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
	    span_owner(span), span_nframes(span), -r, strerror(-r));
	span_evict(span); /* what the waiters took is void */
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

/* One for the stock was assembled, or could not be. */
static void
span_made(struct span *span)
{
	struct pool *pool = span->pool;
	int r = span->r;

	if (r == 0)
		span->state = SPAN_READY;
	stock_made(pool, span, r); /* a worker may have it from here on */
	if (r < 0)
		span_forget(span);
	pool_drain_events(pool);
	if (pool->waitq.n > 0)
		pool_wake(pool);
}

static void
span_assemble_done(struct job *job)
{
	struct span *span =
	    (struct span *)((char *)job - offsetof(struct span, job));
	const struct arch *arch = span->pool->arch;

	if (span->r == 0)
		arch->ops->span_info(arch->ctx, span->frames, &span->info);
	if (span->tenant == NULL) {
		span_made(span);
		return;
	}
	if (span->r < 0) {
		span_failed(span);
		return;
	}
	span->state = SPAN_LIVE;
	pool_drain_events(span->pool);
	log_debug("span_live", "tenant=%s span=%llu frames=%zu",
	    span_owner(span), (unsigned long long)span->id, span_nframes(span));
	span_use(span);
	span_tell(span, 0);
	span_unuse(span); /* if all who waited are gone, so is it */
}

/*
 * Charges and arena; nothing is left of it where it fails.  What one request
 * fills has nothing for others: it need not be in the arena.
 */
static int
span_reserve(struct span *span, struct tenant *tenant,
    const struct contig_req *req, bool share, struct answer *answer)
{
	bool lend = share && span_size(span) > req->size;
	struct quota *quota = &tenant->quota;
	int rv = KERN_SUCCESS;

	if (quota_charge(&span->bytes, quota, QUOTA_BYTES, span_size(span)) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_BYTES,
		    span_size(span));
	if (quota_charge(&span->fd, quota, QUOTA_FDS, 1) < 0)
		rv = answer_refuse_quota(answer, quota, QUOTA_FDS, 1);
	if (rv == KERN_SUCCESS && lend) {
		rv = span_lend(span, tenant);
		if (rv != KERN_SUCCESS)
			(void)answer_refuse_kern(answer, rv, "contigmalloc");
	}
	if (rv != KERN_SUCCESS) {
		quota_discharge(&span->bytes);
		quota_discharge(&span->fd);
		return rv;
	}
	span->users++;
	span->tenant = tenant;
	span->id = ++tenant->last_span;
	span->serial = ++span->pool->last_serial;
	TAILQ_INSERT_TAIL(&span->pool->spans, span, all);
	span->pool->nspans++;
	return rv;
}

/* The struct, and frames for it. */
static int
span_take(struct span **spanp, struct pool *pool, const struct contig_req *req)
{
	struct span *span = memory_calloc(1, sizeof(*span));
	int rv;

	if (span == NULL)
		return KERN_RESOURCE_SHORTAGE;
	span->pool = pool;
	TAILQ_INIT(&span->waiters);
	rv = pool_take(pool, req, &span->start, &span->end, &span->domain);
	if (rv != KERN_SUCCESS) {
		free(span);
		return rv;
	}
	span->state = SPAN_ASSEMBLING;
	span->job.run = span_assemble_run;
	span->job.done = span_assemble_done;
	span->job.small = span_nframes(span) <= SPAN_SMALL_FRAMES;
	*spanp = span;
	return rv;
}

void
span_forget(struct span *span)
{
	MPASS(span->tenant == NULL);
	pool_give(span->pool, span->start, span->end);
	span_free(span);
}

struct span *
span_prepare(struct pool *pool, size_t nframes)
{
	const struct contig_req req = {
	    .size = nframes * pool->frame_size,
	    .high = UINT64_C(1) << pool->arch->machine->paddr_bits,
	    .alignment = pool->frame_size,
	    .domain = -1,
	};
	struct span *span;
	vm_paddr_t pa;

	/* No big frame is taken apart for it. */
	if (vm_phys_find_contig(pool->phys, &req, &pa) != KERN_SUCCESS ||
	    span_take(&span, pool, &req) != KERN_SUCCESS)
		return NULL;
	span->job.background = true;
	return span;
}

void
span_assemble(struct span *span)
{
	workers_submit(span->pool->workers, &span->job);
}

/* Is it kept for a request that has waited longer? */
static bool
span_is_kept(const struct span *span, const struct waiter *self)
{
	return !waitq_allows(&span->pool->waitq, self, span->start, span->end,
	    span->domain);
}

static int
span_refuse_kept(struct answer *answer)
{
	return answer_refuse(answer, KERN_NO_SPACE,
	    "the frames that would do are kept for a request that has waited "
	    "longer");
}

/* false: none in stock.  true: *rvp tells. */
static bool
span_from_stock(struct span **spanp, struct pool *pool,
    const struct waiter *self, const struct contig_req *req, bool share,
    struct answer *answer, int *rvp)
{
	struct span *span = stock_find(pool, req, self->waiting);

	if (span == NULL || span_is_kept(span, self))
		return false;
	*rvp = span_reserve(span, self->tenant, req, share, answer);
	if (*rvp == KERN_SUCCESS) {
		stock_gave(pool, span);
		span->state = SPAN_LIVE;
		waitq_took(&pool->waitq, self, span->start, span->end,
		    span->domain);
		*spanp = span;
	}
	return true;
}

int
span_new(struct span **spanp, struct pool *pool, const struct waiter *self,
    const struct contig_req *req, bool share, struct answer *answer)
{
	struct tenant *tenant = self->tenant;
	struct span *span;
	int rv;

	if (pool->phys == NULL)
		return pool_refuse(pool, req, false, answer);
	if (span_from_stock(spanp, pool, self, req, share, answer, &rv))
		return rv;
	rv = span_take(&span, pool, req);
	if (rv == KERN_NO_SPACE)
		return pool_refuse(pool, req, tenant->addresses_allowed,
		    answer);
	if (rv != KERN_SUCCESS)
		return answer_refuse_kern(answer, rv, "contigmalloc");
	rv = span_is_kept(span, self)
		 ? span_refuse_kept(answer)
		 : span_reserve(span, tenant, req, share, answer);
	if (rv != KERN_SUCCESS) {
		span_forget(span);
		return rv;
	}
	waitq_took(&pool->waitq, self, span->start, span->end, span->domain);
	span_assemble(span);
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

	/* Only a span that was shown can have been changed, and memory goes
	 * bad in stock, too.  The first time: afterwards it is revoked. */
	span->nbad = span->nbadmem = 0;
	if ((span->shown || (span->tenant == NULL && !span->withheld)) &&
	    span_count(arch, span->frames, span->info.nframes, &span->nbad,
		&span->nbadmem) < 0)
		span->nbad = span->info.nframes;
	span->shown = false;
	span->r = arch->ops->span_recycle(arch->ctx, span->frames);
}

static void
span_enter_limbo(struct span *span)
{
	struct pool *pool = span->pool;

	if (span->job.done != NULL && span->state == SPAN_RECYCLING)
		log_warn("span_limbo",
		    "tenant=%s span=%llu frames=%zu errno=%d", span_owner(span),
		    (unsigned long long)span->id, span_nframes(span), -span->r);
	span->state = SPAN_LIMBO;
	pool->nlimbo_frames += span_nframes(span);
	if (span->tenant != NULL)
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
	if (span->tenant != NULL)
		span->tenant->limbo_bytes -= span_size(span);
}

/* One more, or less, on its way to the pool. */
static void
span_count_recycling(struct span *span, int by)
{
	span->pool->nrecycling += (size_t)by;
	if (span->tenant != NULL)
		span->tenant->nrecycling += (size_t)by;
}

static void
span_recycle_done(struct job *job)
{
	struct span *span =
	    (struct span *)((char *)job - offsetof(struct span, job));
	struct pool *pool = span->pool;

	span_count_recycling(span, -1);
	pool->nrecycled++;
	if (span->tenant == NULL && !span->withheld)
		stock_lost(pool, span); /* to the pool, or to limbo */
	span->withheld = span->r < 0;
	span_note_bad(span, span->nbad, span->nbadmem);
	if (span->r < 0) {
		span_enter_limbo(span);
	} else {
		log_debug("span_recycled", "tenant=%s span=%llu frames=%zu",
		    span_owner(span), (unsigned long long)span->id,
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
	span_count_recycling(span, 1);
	span->job.run = span_recycle_run;
	span->job.done = span_recycle_done;
	span->job.background = pool->waitq.n == 0;
	workers_submit(pool->workers, &span->job);
}

void
span_dissolve(struct span *span)
{
	MPASS(span->state == SPAN_READY && span->tenant == NULL);
	span_recycle(span);
}

void
span_retry_limbo(struct pool *pool)
{
	struct span *span, *next;

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
	while ((span = TAILQ_FIRST(&pool->limbo)) != NULL) {
		log_warn("span_abandoned", "tenant=%s span=%llu frames=%zu",
		    span_owner(span), (unsigned long long)span->id,
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
	if (--span->users > 0)
		return;
	MPASS(!span->in_arena);
	if (span->state == SPAN_ASSEMBLING) {
		/* If no worker has begun, it is as if it never was. */
		if (workers_cancel(span->pool->workers, &span->job))
			span_dispose(span);
		return;
	}
	span_recycle(span);
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
span_note_bad(struct span *span, size_t nbad, size_t npoisoned)
{
	struct pool *pool = span->pool;

	/* What moved in stock was nobody's doing. */
	if (nbad > span->ntampered && span->tenant != NULL) {
		span->tenant->tampered += nbad - span->ntampered;
		pool->ntampered += nbad - span->ntampered;
		span->ntampered = nbad;
		log_warn("span_tampered", "tenant=%s span=%llu frames=%zu",
		    span_owner(span), (unsigned long long)span->id, nbad);
	}
	if (npoisoned > span->npoisoned) {
		pool->npoisoned += npoisoned - span->npoisoned;
		span->npoisoned = npoisoned;
		log_warn("span_poisoned", "tenant=%s span=%llu frames=%zu",
		    span_owner(span), (unsigned long long)span->id, npoisoned);
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
