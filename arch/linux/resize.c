/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * More and fewer frames at run time.
 *
 * Growing gathers what the kernel has, somewhat more than is wanted, keeps the
 * longest runs and gives the rest back.  A gathered frame that turns out to be
 * one the pool waits for (a holder let go of it) goes where it belongs.
 */

/* Frames taken beyond the wanted ones, to choose from. */
#define GROW_SPARE_MAX (LINUX_FOREIGN_MAX / 2)

/* Room for `n` more, each with its record for GAINED. */
static int
grow_reserve(struct linux_pool *lp, size_t n)
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

/* Give up on `n` of them. */
static void
grow_unreserve(struct linux_pool *lp, size_t n)
{
	pthread_mutex_lock(&lp->lp_lock);
	n = MIN(n, lp->lp_counts.missing);
	lp->lp_counts.total -= n;
	lp->lp_counts.missing -= n;
	events_unreserve_locked(lp, n);
	pthread_mutex_unlock(&lp->lp_lock);
}

/* Free frames for the pool; returns how many to take. */
static size_t
grow_raise(struct linux_pool *lp, const struct arch_grow *grow)
{
	size_t spare = MIN(grow->nframes, GROW_SPARE_MAX);

	if (lp->lp_frame_size >= LINUX_GIGANTIC)
		spare = 0;
	if (!lp->lp_may_raise || !lp->lp_may_write_nr)
		return grow->nframes + spare;
	/* What was taken apart last lies on top, in order. */
	if (lp->lp_prefer_runs &&
	    sysfs_raise_runs(lp, grow->node, grow->nframes) >= grow->nframes)
		return grow->nframes;
	(void)sysfs_raise(lp, grow->node,
	    grow->nframes + spare); /* what came is counted */
	return grow->nframes + spare;
}

/*
 * Take up to `want` frames; the slots stay BUSY.  Returns how many.
 */
static size_t
grow_gather(struct linux_pool *lp, int node, size_t want,
    struct arch_frame *frames, uint32_t *slots)
{
	size_t n = 0;
	int r = 0;

	while (n < want && r >= 0) {
		r = reclaim_take(lp, node, &slots[n], &frames[n]);
		n += r == 1;
	}
	return n;
}

/*
 * Of the `n` gathered frames the best `want` become the pool's, the others the
 * kernel's again.  While they are in the inventory nobody knows of them.
 */
static size_t
grow_choose(struct linux_pool *lp, struct arch_frame *frames, uint32_t *slots,
    size_t n, size_t want)
{
	size_t taken = 0;

	pthread_mutex_lock(&lp->lp_lock);
	for (size_t i = 0; i < n; i++)
		inventory_hold(&lp->lp_inv, slots[i], &frames[i]);
	want = MIN(want, n);
	if (inventory_choose(frames, n, want, lp->lp_frame_size) < 0)
		want = 0;
	want = MIN(want, lp->lp_counts.missing);
	for (; taken < want; taken++)
		events_gained_locked(lp, &frames[taken], true);
	for (size_t i = want; i < n; i++) {
		slots[i] = inventory_find(&lp->lp_inv, frames[i].pa);
		inventory_pull(&lp->lp_inv, slots[i]);
	}
	pthread_mutex_unlock(&lp->lp_lock);
	for (size_t i = want; i < n; i++)
		standby_give_back(lp, slots[i]);
	return taken;
}

static ssize_t
grow_take(struct linux_pool *lp, const struct arch_grow *grow, size_t want)
{
	struct arch_frame *frames;
	uint32_t *slots;
	ssize_t came = -ENOMEM;
	size_t n;

	frames = lp->lp_sys->calloc(want, sizeof(*frames));
	slots = lp->lp_sys->calloc(want, sizeof(*slots));
	if (frames != NULL && slots != NULL) {
		n = grow_gather(lp, grow->node, want, frames, slots);
		came =
		    (ssize_t)grow_choose(lp, frames, slots, n, grow->nframes);
	}
	free(frames);
	free(slots);
	return came;
}

/* What frames the pool was missing before are not what was asked for. */
static int
pool_grow(struct linux_pool *lp, const struct arch_grow *grow)
{
	ssize_t before;
	size_t raised;
	size_t n;
	ssize_t came;
	int r;

	r = grow_reserve(lp, grow->nframes);
	if (r < 0)
		return r;
	pthread_mutex_lock(&lp->lp_resize);
	before = sysfs_raised(lp);
	came = grow_take(lp, grow, grow_raise(lp, grow));
	raised = (size_t)(sysfs_raised(lp) - before);
	n = (size_t)MAX(came, 0);
	grow_unreserve(lp, grow->nframes - n);
	if (raised > n)
		sysfs_lower(lp, grow->node, raised - n);
	pthread_mutex_unlock(&lp->lp_resize);
	return (int)came;
}

int
linux_pool_grow(void *ctx, const struct arch_grow *grow)
{
	struct linux_pool *lp = ctx;

	if (grow->frame_size != 0 && grow->frame_size != lp->lp_frame_size)
		return -EINVAL;
	if (grow->node >= 0 && !sysfs_has_node(lp, grow->node))
		return -EINVAL;
	if (grow->nframes == 0 || grow->nframes > INT32_MAX)
		return grow->nframes == 0 ? 0 : -ENOSPC;
	return pool_grow(lp, grow);
}

/* All of the range leaves the inventory, or none of it. */
static int
pull_range(struct linux_pool *lp, vm_paddr_t pa, size_t nframes,
    uint32_t *slots, int *nodep)
{
	int r = 0;

	pthread_mutex_lock(&lp->lp_lock);
	for (size_t i = 0; i < nframes && r == 0; i++) {
		slots[i] =
		    inventory_find(&lp->lp_inv, pa + i * lp->lp_frame_size);
		if (slots[i] == INVENTORY_NONE)
			r = -ENOENT;
	}
	for (size_t i = 0; i < nframes && r == 0; i++) {
		*nodep = lp->lp_inv.slots[slots[i]].domain;
		inventory_pull(&lp->lp_inv, slots[i]);
	}
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
	int node = -1;
	int r;

	if (nframes == 0)
		return 0;
	if (nframes > lp->lp_max || pa % lp->lp_frame_size != 0)
		return -ENOENT;
	slots = lp->lp_sys->calloc(nframes, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	r = pull_range(lp, pa, nframes, slots, &node);
	if (r == 0) {
		pthread_mutex_lock(&lp->lp_resize);
		for (size_t i = 0; i < nframes; i++)
			standby_give_back(lp, slots[i]);
		sysfs_lower(lp, node, nframes);
		pthread_mutex_unlock(&lp->lp_resize);
	}
	free(slots);
	return r;
}
