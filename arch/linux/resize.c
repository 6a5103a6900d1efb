/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "arch/linux/linux_int.h"

/*
 * More and fewer frames at run time.  Growing is missing frames on purpose and
 * replacing them: whatever comes takes the same way as after a theft.
 */

/* The pool misses `n` more; each has its record for GAINED. */
static int
want_more(struct linux_pool *lp, size_t n)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&lp->lp_lock);
	if (n <= lp->lp_max - MIN(lp->lp_counts.total, lp->lp_max))
		r = events_reserve_locked(lp, n);
	if (r == 0) {
		lp->lp_counts.total += n;
		lp->lp_counts.missing += n;
	}
	pthread_mutex_unlock(&lp->lp_lock);
	return r;
}

/* Give up on `n` of the missing frames. */
static void
want_less(struct linux_pool *lp, size_t n)
{
	pthread_mutex_lock(&lp->lp_lock);
	n = MIN(n, lp->lp_counts.missing);
	lp->lp_counts.total -= n;
	lp->lp_counts.missing -= n;
	events_unreserve_locked(lp, n);
	pthread_mutex_unlock(&lp->lp_lock);
}

/* Free frames for the pool; what is raised too much is lowered later. */
static size_t
raise_for(struct linux_pool *lp, size_t nframes)
{
	size_t before = lp->lp_raised;

	if (!lp->lp_may_raise || !lp->lp_may_write_nr)
		return 0;
	if (!lp->lp_prefer_runs || sysfs_raise_runs(lp, nframes) < nframes)
		(void)sysfs_raise(lp, nframes); /* what came is counted */
	return lp->lp_raised - before;
}

int
linux_pool_grow(void *ctx, size_t nframes)
{
	struct linux_pool *lp = ctx;
	size_t raised;
	int came;
	int r;

	if (nframes == 0 || nframes > INT32_MAX)
		return nframes == 0 ? 0 : -ENOSPC;
	r = want_more(lp, nframes);
	if (r < 0)
		return r;
	pthread_mutex_lock(&lp->lp_resize);
	raised = raise_for(lp, nframes);
	came = reclaim_missing(lp);
	if (came < (int)nframes)
		want_less(lp, nframes - (size_t)MAX(came, 0));
	if (raised > (size_t)MAX(came, 0))
		sysfs_lower(lp, raised - (size_t)MAX(came, 0));
	pthread_mutex_unlock(&lp->lp_resize);
	return came;
}

/* All of the range leaves the inventory, or none of it. */
static int
pull_range(struct linux_pool *lp, vm_paddr_t pa, size_t nframes,
    uint32_t *slots)
{
	int r = 0;

	pthread_mutex_lock(&lp->lp_lock);
	for (size_t i = 0; i < nframes && r == 0; i++) {
		slots[i] =
		    inventory_find(&lp->lp_inv, pa + i * lp->lp_frame_size);
		if (slots[i] == INVENTORY_NONE)
			r = -ENOENT;
	}
	for (size_t i = 0; i < nframes && r == 0; i++)
		inventory_pull(&lp->lp_inv, slots[i]);
	if (r == 0) {
		lp->lp_counts.standby -= nframes;
		lp->lp_counts.total -= nframes;
	}
	pthread_mutex_unlock(&lp->lp_lock);
	return r;
}

int
linux_pool_shrink(void *ctx, vm_paddr_t pa, size_t nframes)
{
	struct linux_pool *lp = ctx;
	uint32_t *slots;
	int r;

	if (nframes == 0)
		return 0;
	if (nframes > lp->lp_max || pa % lp->lp_frame_size != 0)
		return -ENOENT;
	slots = lp->lp_sys->calloc(nframes, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	r = pull_range(lp, pa, nframes, slots);
	if (r == 0) {
		pthread_mutex_lock(&lp->lp_resize);
		for (size_t i = 0; i < nframes; i++)
			standby_give_back(lp, slots[i]);
		sysfs_lower(lp, nframes);
		pthread_mutex_unlock(&lp->lp_resize);
	}
	free(slots);
	return r;
}
