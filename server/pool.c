/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/pool.h"
#include "server/span.h"

/* Add runs of consecutive frames, `frames` in ascending order. */
static int
pool_load(struct pool *pool, const struct arch_frame *frames, size_t n)
{
	vm_size_t size = pool->frame_size;

	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n; j++) {
			if (frames[j].pa != frames[j - 1].pa + size ||
			    frames[j].domain != frames[i].domain)
				break;
		}
		if (vm_phys_add_seg(pool->phys, frames[i].pa,
			frames[j - 1].pa + size, frames[i].domain,
			NULL) != KERN_SUCCESS)
			return error_origin(-ENOMEM);
	}
	return 0;
}

static int
pool_take_stock(struct pool *pool)
{
	_cleanup_(freep) struct arch_frame *frames = NULL;
	const struct arch_ops *ops = pool->arch->ops;
	size_t n = 0, have;
	int r;

	r = ops->pool_frames(pool->arch->ctx, NULL, 0, &n);
	if (r < 0)
		return r;
	frames = calloc(n + 1, sizeof(*frames));
	pool->late_max = 2 * n + 16;
	pool->late = calloc(pool->late_max, sizeof(*pool->late));
	if (frames == NULL || pool->late == NULL)
		return error_origin(-ENOMEM);
	r = ops->pool_frames(pool->arch->ctx, frames, n, &have);
	if (r < 0)
		return r;
	return pool_load(pool, frames, MIN(n, have));
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
    struct event_base *base)
{
	struct arch_pool_info info;
	int r;

	*pool = (struct pool){.arch = arch, .workers = workers};
	TAILQ_INIT(&pool->limbo);
	TAILQ_INIT(&pool->stuck);
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
	pool->phys = vm_phys_create(arch, arch->machine->page_size);
	if (pool->phys == NULL)
		return error_origin(-ENOMEM);
	return pool_take_stock(pool);
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

/* false: the books do not allow it yet. */
static bool
pool_apply(struct pool *pool, const struct arch_event *event)
{
	vm_paddr_t pa = event->frame.pa;
	int rv;

	switch (event->kind) {
	case ARCH_FRAME_LOST:
		rv = vm_phys_remove_seg(pool->phys, pa, pa + pool->frame_size);
		if (rv == KERN_FAILURE || rv == KERN_RESOURCE_SHORTAGE)
			return false; /* its span is not back yet; or later */
		log_warn("frame_lost", "domain=%d known=%d",
		    event->frame.domain, rv == KERN_SUCCESS);
		return true;
	case ARCH_FRAME_GAINED:
		if (pool_cancel_late_loss(pool, pa))
			return true;
		rv = vm_phys_add_seg(pool->phys, pa, pa + pool->frame_size,
		    event->frame.domain, NULL);
		if (rv == KERN_SUCCESS)
			log_info("frame_gained", "domain=%d",
			    event->frame.domain);
		return rv == KERN_SUCCESS;
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

void
pool_drain_events(struct pool *pool)
{
	const struct arch *arch = pool->arch;
	struct arch_event event;

	if (pool->phys == NULL)
		return;
	if (pool->nlate > 0)
		pool_apply_late(pool);
	while (arch->ops->pool_event(arch->ctx, &event)) {
		if (pool_apply(pool, &event))
			continue;
		if (pool->nlate == pool->late_max) {
			log_error("inventory", "what=\"event dropped\"");
			continue;
		}
		pool->late[pool->nlate++] = event;
	}
}

/*
 * A run at the beginning of a frame takes the fewest frames; where the request
 * does not allow one, any run will do.
 */
static int
pool_find(struct pool *pool, const struct contig_req *req, vm_paddr_t *pap)
{
	struct contig_req aligned = *req;
	int rv;

	if (req->alignment < pool->frame_size) {
		aligned.alignment = pool->frame_size;
		rv = vm_phys_find_contig(pool->phys, &aligned, pap);
		if (rv == KERN_SUCCESS)
			return rv;
	}
	return vm_phys_find_contig(pool->phys, req, pap);
}

int
pool_take(struct pool *pool, const struct contig_req *req, vm_paddr_t *startp,
    vm_paddr_t *endp, int *domainp)
{
	struct vm_phys_run seg;
	vm_paddr_t pa, start, end;
	int rv;

	if (pool->phys == NULL)
		return KERN_NO_SPACE;
	rv = pool_find(pool, req, &pa);
	if (rv != KERN_SUCCESS)
		return rv;
	start = rounddown2(pa, pool->frame_size);
	end = roundup2(pa + req->size, pool->frame_size);
	rv = vm_phys_take(pool->phys, start, end);
	KASSERT(rv != KERN_NO_SPACE, "frames are free or taken as a whole");
	if (rv != KERN_SUCCESS)
		return rv;
	*domainp = vm_phys_next_seg(pool->phys, start, &seg) ? seg.domain : 0;
	*startp = start;
	*endp = end;
	return KERN_SUCCESS;
}

void
pool_give(struct pool *pool, vm_paddr_t start, vm_paddr_t end)
{
	int rv = vm_phys_free_contig(pool->phys, start, end);

	KASSERT(rv == KERN_SUCCESS, "frames come back once");
	if (rv != KERN_SUCCESS)
		log_error("inventory", "what=\"frames came back twice\"");
}

/* Lowest and highest address of the pool.  false: it is empty. */
static bool
pool_bounds(struct pool *pool, vm_paddr_t *lowp, vm_paddr_t *highp)
{
	struct vm_phys_run seg;
	vm_paddr_t pa = 0;

	if (!vm_phys_next_seg(pool->phys, 0, &seg))
		return false;
	*lowp = seg.start;
	for (; vm_phys_next_seg(pool->phys, pa, &seg); pa = seg.end)
		*highp = seg.end;
	return true;
}

int
pool_refuse(struct pool *pool, const struct contig_req *req, bool tell,
    struct answer *answer)
{
	vm_paddr_t lowest = 0, highest = 0;
	struct vm_phys_stats stats;

	if (pool->phys == NULL)
		return answer_refuse(answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
	if (!pool_bounds(pool, &lowest, &highest))
		return answer_refuse(answer, REFUSED_NO_POOL,
		    "the daemon's pool of huge pages is empty");
	if (req->high <= lowest) {
		if (tell)
			return answer_refuse(answer, KERN_NO_SPACE,
			    "high must be above 0x%llx, the pool's lowest "
			    "address; it is 0x%llx",
			    (unsigned long long)lowest,
			    (unsigned long long)req->high);
		return answer_refuse(answer, KERN_NO_SPACE,
		    "high must be above the pool's lowest address; it is "
		    "0x%llx",
		    (unsigned long long)req->high);
	}
	if (req->low >= highest) {
		if (tell)
			return answer_refuse(answer, KERN_NO_SPACE,
			    "low must be below 0x%llx, the end of the pool; "
			    "it is 0x%llx",
			    (unsigned long long)highest,
			    (unsigned long long)req->low);
		return answer_refuse(answer, KERN_NO_SPACE,
		    "low must be below the end of the pool; it is 0x%llx",
		    (unsigned long long)req->low);
	}
	vm_phys_stats(pool->phys, &stats);
	if (req->size > stats.largest_run)
		return answer_refuse(answer, KERN_NO_SPACE,
		    "size must be at most 0x%llx, the pool's largest free "
		    "run; it is 0x%llx",
		    (unsigned long long)stats.largest_run,
		    (unsigned long long)req->size);
	return answer_refuse(answer, KERN_NO_SPACE,
	    "no free run of 0x%llx bytes satisfies low, high, alignment and "
	    "boundary together",
	    (unsigned long long)req->size);
}

void
pool_wake(struct pool *pool)
{
	waitq_kick(&pool->waitq);
	stock_poke(pool);
}
