/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "core/vm_arena.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/pool.h"
#include "server/resize.h"
#include "server/span.h"

/* Add runs of consecutive frames, `frames` in ascending order. */
static int
pool_load(struct vm_phys *phys, vm_size_t size, const struct arch_frame *frames,
    size_t n)
{
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n; j++) {
			if (frames[j].pa != frames[j - 1].pa + size ||
			    frames[j].domain != frames[i].domain)
				break;
		}
		if (vm_phys_add_seg(phys, frames[i].pa, frames[j - 1].pa + size,
			frames[i].domain, NULL) != KERN_SUCCESS)
			return error_origin(-ENOMEM);
	}
	return 0;
}

/* Enter what `list` names; *np: how many. */
static int
pool_enter(struct pool *pool, struct vm_phys *phys, vm_size_t size,
    int (*list)(void *ctx, struct arch_frame *frames, size_t max, size_t *np),
    size_t *np)
{
	_cleanup_(freep) struct arch_frame *frames = NULL;
	size_t have;
	int r;

	r = list(pool->arch->ctx, NULL, 0, np);
	if (r < 0)
		return r;
	frames = memory_calloc(*np + 1, sizeof(*frames));
	if (frames == NULL)
		return error_origin(-ENOMEM);
	r = list(pool->arch->ctx, frames, *np, &have);
	if (r < 0)
		return r;
	return pool_load(phys, size, frames, MIN(*np, have));
}

static int
pool_take_stock(struct pool *pool, const struct arch_pool_info *info)
{
	const struct arch_ops *ops = pool->arch->ops;
	vm_size_t page = pool->arch->machine->page_size;
	size_t n = 0, nbig = 0;
	int r;

	pool->phys = vm_phys_create(pool->arch, page);
	if (pool->phys == NULL)
		return error_origin(-ENOMEM);
	r = pool_enter(pool, pool->phys, pool->frame_size, ops->pool_frames,
	    &n);
	if (r < 0)
		return r;
	if (info->big_size != 0) {
		pool->big_size = info->big_size;
		pool->big = vm_phys_create(pool->arch, page);
		if (pool->big == NULL)
			return error_origin(-ENOMEM);
		r = pool_enter(pool, pool->big, pool->big_size,
		    ops->pool_big_frames, &nbig);
		if (r < 0)
			return r;
	}
	pool->late_max = 2 * n + 16;
	pool->late = memory_calloc(pool->late_max, sizeof(*pool->late));
	return pool->late == NULL ? error_origin(-ENOMEM) : 0;
}

static void
pool_limbo_expired(evutil_socket_t fd, short what, void *arg)
{
	struct pool *pool = arg;

	(void)fd;
	(void)what;
	span_retry_limbo(pool);
}

int
pool_init(struct pool *pool, const struct arch *arch, struct workers *workers,
    struct event_base *base, const struct pool_options *options)
{
	struct vm_phys_stats stats;
	struct arch_pool_info info;
	int r;

	*pool = (struct pool){.arch = arch,
	    .workers = workers,
	    .options = *options};
	TAILQ_INIT(&pool->resizes);
	TAILQ_INIT(&pool->spans);
	TAILQ_INIT(&pool->tenants);
	TAILQ_INIT(&pool->limbo);
	r = waitq_init(&pool->waitq, base);
	if (r < 0)
		return r;
	pool->limbo_timer = evtimer_new(base, pool_limbo_expired, pool);
	if (pool->limbo_timer == NULL)
		return error_origin(-ENOMEM);
	arch->ops->pool_info(arch->ctx, &info);
	pool->frame_size = info.frame_size;
	if (info.frame_size == 0 ||
	    info.frame_size < arch->machine->page_size) {
		pool->frame_size = 0;
		return 0;
	}
	r = pool_take_stock(pool, &info);
	if (r < 0)
		return r;
	pool_stats(pool, &stats);
	pool->options.max = MAX(pool->options.max, stats.total);
	log_info("pool_runs", "runs=%llu largest=%llu total=%llu",
	    (unsigned long long)stats.nruns,
	    (unsigned long long)stats.largest_run,
	    (unsigned long long)stats.total);
	return 0;
}

void
pool_fini(struct pool *pool)
{
	stock_fini(&pool->stock);
	reclaim_fini(&pool->reclaim);
	waitq_fini(&pool->waitq);
	if (pool->limbo_timer != NULL)
		event_free(pool->limbo_timer);
	if (pool->phys != NULL)
		vm_phys_destroy(pool->phys);
	if (pool->big != NULL)
		vm_phys_destroy(pool->big);
	free(pool->late);
	*pool = (struct pool){0};
}

/* A frame that was reported lost and not applied yet came back. */
static bool
pool_cancel_late_loss(struct pool *pool, vm_paddr_t pa)
{
	for (size_t i = 0; i < pool->nlate; i++) {
		if (pool->late[i].kind == ARCH_FRAME_LOST &&
		    pool->late[i].frame.pa == pa) {
			pool->late[i] = pool->late[--pool->nlate];
			return true;
		}
	}
	return false;
}

/* Whose books a frame of that size is in. */
static struct vm_phys *
pool_books(struct pool *pool, vm_size_t size)
{
	return pool->big != NULL && size == pool->big_size ? pool->big
							   : pool->phys;
}

/* A big frame may have moved to the books of the others meanwhile. */
static int
pool_lose(struct pool *pool, vm_paddr_t pa, vm_size_t size)
{
	int rv = vm_phys_remove_seg(pool_books(pool, size), pa, pa + size);

	if (rv == KERN_INVALID_ADDRESS && size != pool->frame_size)
		rv = vm_phys_remove_seg(pool->phys, pa, pa + size);
	return rv;
}

/* false: the books do not allow it yet. */
static bool
pool_apply(struct pool *pool, const struct arch_event *event)
{
	vm_paddr_t pa = event->frame.pa;
	int rv;

	switch (event->kind) {
	case ARCH_FRAME_LOST:
		rv = pool_lose(pool, pa, event->size);
		if (rv == KERN_FAILURE || rv == KERN_RESOURCE_SHORTAGE)
			return false; /* its span is not back yet; or later */
		log_warn("frame_lost", "domain=%d known=%d",
		    event->frame.domain, rv == KERN_SUCCESS);
		return true;
	case ARCH_FRAME_GAINED:
		if (pool_cancel_late_loss(pool, pa))
			return true;
		rv = vm_phys_add_seg(pool_books(pool, event->size), pa,
		    pa + event->size, event->frame.domain, NULL);
		if (rv != KERN_SUCCESS)
			return false;
		log_debug("frame_gained", "domain=%d", event->frame.domain);
		resize_gained(pool, event);
		return true;
	case ARCH_SPAN_CHANGED:
		log_warn("span_changed", "domain=%d", event->frame.domain);
		return true;
	}
	return true;
}

static void
pool_apply_late(struct pool *pool)
{
	size_t n = pool->nlate;

	/* What is kept moves down; applying one may cancel a kept one. */
	pool->nlate = 0;
	for (size_t i = 0; i < n; i++) {
		struct arch_event event = pool->late[i];

		if (!pool_apply(pool, &event))
			pool->late[pool->nlate++] = event;
	}
}

/* Keep it until the books allow it. */
static void
pool_put_off(struct pool *pool, const struct arch_event *event)
{
	struct arch_event *late;

	if (pool->nlate == pool->late_max) {
		late = memory_realloc(pool->late, 2 * pool->late_max,
		    sizeof(*late));
		if (late == NULL) {
			log_error("inventory", "what=\"event dropped\"");
			return;
		}
		pool->late = late;
		pool->late_max *= 2;
	}
	pool->late[pool->nlate++] = *event;
}

void
pool_drain_events(struct pool *pool)
{
	const struct arch *arch = pool->arch;
	struct arch_event event;
	bool lacks = false;

	if (pool->phys == NULL)
		return;
	if (pool->nlate > 0)
		pool_apply_late(pool);
	while (arch->ops->pool_event(arch->ctx, &event)) {
		lacks = lacks || event.kind == ARCH_FRAME_LOST;
		if (!pool_apply(pool, &event))
			pool_put_off(pool, &event);
	}
	if ((lacks || pool->nlate > 0) && pool->lacks != NULL)
		pool->lacks(pool->lacks_arg);
	/* Whatever changed it is over, but for what the resizes do. */
	if (TAILQ_EMPTY(&pool->resizes) && !pool->reclaim.growing)
		pool_note(pool, false);
}

static int
pool_take_from(struct vm_phys *phys, vm_size_t frame_size,
    const struct contig_req *req, vm_paddr_t *startp, vm_paddr_t *endp,
    int *domainp)
{
	struct vm_arena_cut cut;
	struct vm_phys_run seg;
	int rv;

	rv = vm_arena_find_cut(phys, req, frame_size, &cut);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_phys_take(phys, cut.start, cut.end);
	KASSERT(rv != KERN_NO_SPACE, "frames are free or taken as a whole");
	if (rv != KERN_SUCCESS)
		return rv;
	*domainp = vm_phys_next_seg(phys, cut.start, &seg) ? seg.domain : 0;
	*startp = cut.start;
	*endp = cut.end;
	return KERN_SUCCESS;
}

int
pool_demote(struct pool *pool, vm_paddr_t pa)
{
	vm_paddr_t end = pa + pool->big_size;
	struct vm_phys_run seg;
	int rv;

	if (!vm_phys_next_seg(pool->big, pa, &seg) || seg.start > pa)
		return KERN_INVALID_ADDRESS;
	rv = vm_phys_remove_seg(pool->big, pa, end);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_phys_add_seg(pool->phys, pa, end, seg.domain, NULL);
	if (rv != KERN_SUCCESS && vm_phys_add_seg(pool->big, pa, end,
				      seg.domain, NULL) != KERN_SUCCESS)
		log_error("inventory", "what=\"big frame dropped\"");
	if (rv == KERN_SUCCESS)
		pool_note(pool, true);
	return rv;
}

/* Only parts of big frames would do: turn those into frames. */
static int
pool_demote_for(struct pool *pool, const struct contig_req *req)
{
	struct vm_arena_cut cut;
	vm_paddr_t at;
	int rv = vm_arena_find_cut(pool->big, req, pool->frame_size, &cut);

	if (rv != KERN_SUCCESS)
		return rv;
	for (at = rounddown2(cut.pa, pool->big_size);
	     at < cut.pa + req->size && rv == KERN_SUCCESS;
	     at += pool->big_size)
		rv = pool_demote(pool, at);
	return rv;
}

/* Would whole big frames not waste much? */
static bool
pool_suits_big(const struct pool *pool, const struct contig_req *req)
{
	return req->size >= pool->big_size &&
	       roundup2(req->size, pool->big_size) - req->size <= req->size / 8;
}

int
pool_take(struct pool *pool, const struct contig_req *req, vm_paddr_t *startp,
    vm_paddr_t *endp, int *domainp)
{
	int rv;

	if (pool->phys == NULL || pool->draining)
		return KERN_NO_SPACE;
	if (pool->big != NULL && pool_suits_big(pool, req)) {
		rv = pool_take_from(pool->big, pool->big_size, req, startp,
		    endp, domainp);
		if (rv != KERN_NO_SPACE)
			return rv;
	}
	rv = pool_take_from(pool->phys, pool->frame_size, req, startp, endp,
	    domainp);
	if (rv != KERN_NO_SPACE || pool->big == NULL ||
	    pool_demote_for(pool, req) != KERN_SUCCESS)
		return rv;
	return pool_take_from(pool->phys, pool->frame_size, req, startp, endp,
	    domainp);
}

/* The books that [start, ...) is in. */
static struct vm_phys *
pool_books_at(struct pool *pool, vm_paddr_t start)
{
	struct vm_phys_run seg;

	if (pool->big != NULL && vm_phys_next_seg(pool->big, start, &seg) &&
	    seg.start <= start)
		return pool->big;
	return pool->phys;
}

void
pool_give(struct pool *pool, vm_paddr_t start, vm_paddr_t end)
{
	int rv = vm_phys_free_contig(pool_books_at(pool, start), start, end);

	KASSERT(rv == KERN_SUCCESS, "frames come back once");
	if (rv != KERN_SUCCESS)
		log_error("inventory", "what=\"frames came back twice\"");
}

void
pool_stats(const struct pool *pool, struct vm_phys_stats *statsp)
{
	struct vm_phys_stats big = {0};

	vm_phys_stats(pool->phys, statsp);
	if (pool->big == NULL)
		return;
	vm_phys_stats(pool->big, &big);
	statsp->total += big.total;
	statsp->free += big.free;
	statsp->largest_run = MAX(statsp->largest_run, big.largest_run);
	statsp->nsegs += big.nsegs;
	statsp->nruns += big.nruns;
}

bool
pool_next_seg(const struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp,
    bool *bigp)
{
	bool found = vm_phys_next_seg(pool->phys, pa, runp);
	struct vm_phys_run big;

	*bigp = pool->big != NULL && vm_phys_next_seg(pool->big, pa, &big) &&
		(!found || big.start < runp->start);
	if (*bigp)
		*runp = big;
	return found || *bigp;
}

void
pool_note(const struct pool *pool, bool begins)
{
	if (pool->options.note != NULL)
		pool->options.note(pool->options.note_arg, begins);
}

vm_size_t
pool_room(const struct pool *pool)
{
	struct vm_phys_stats stats;

	pool_stats(pool, &stats);
	return pool->options.max - MIN(pool->options.max, stats.total);
}

vm_size_t
pool_call_idle(struct pool *pool, struct tenant *only)
{
	struct tenant *tenant;
	vm_size_t bytes = 0;

	if (only != NULL)
		return vm_arena_trim(only->arena, 0);
	TAILQ_FOREACH (tenant, &pool->tenants, borrower)
		bytes += vm_arena_trim(tenant->arena, 0);
	return bytes;
}

vm_size_t
pool_idle(const struct pool *pool)
{
	const struct tenant *tenant;
	vm_size_t bytes = 0;

	TAILQ_FOREACH (tenant, &pool->tenants, borrower)
		bytes += tenant_idle(tenant);
	return bytes;
}

void
pool_drain(struct pool *pool, bool on)
{
	pool->draining = on;
	if (on) {
		stock_dissolve_all(pool);
		(void)pool_call_idle(pool, NULL);
	}
	pool_wake(pool); /* those who wait are refused, or go on */
}

void
pool_wake(struct pool *pool)
{
	waitq_kick(&pool->waitq);
	stock_poke(pool);
}
