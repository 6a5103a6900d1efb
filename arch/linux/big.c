/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * Gigantic pages beside the frames of a pool.
 *
 * They are a pool of their own, lp_big, which knows only its one size.  Here
 * the two look like one: a range of whole gigantic pages becomes a span of
 * those, and one that holds a part of any has it taken apart first:
 *
 *	big standby --> kernel --demote--> 512 free frames --> standby
 *
 * Both free lists are stacks, so what is given back is what is taken apart, and
 * what comes then is what lies on top; as ever the addresses tell.
 */

void
big_pool_info(void *ctx, struct arch_pool_info *infop)
{
	struct linux_pool *lp = ctx;
	struct arch_pool_info big;

	linux_pool_info(lp, infop);
	if (lp->lp_big == NULL)
		return;
	linux_pool_info(lp->lp_big, &big);
	infop->nspans += big.nspans;
	infop->nlimbo += big.nlimbo;
	infop->big_size = big.frame_size;
	infop->nbig = big.nstandby;
	infop->nbig_missing = big.nmissing;
	if (big.pin < infop->pin)
		infop->pin = big.pin; /* what any span can be sure of */
}

bool
big_pool_event(void *ctx, struct arch_event *evp)
{
	struct linux_pool *lp = ctx;

	return linux_pool_event(lp, evp) ||
	       (lp->lp_big != NULL && linux_pool_event(lp->lp_big, evp));
}

int
big_pool_refill(void *ctx)
{
	struct linux_pool *lp = ctx;
	int came = reclaim_missing(lp);
	int big = lp->lp_big != NULL ? reclaim_missing(lp->lp_big) : 0;

	if (came < 0)
		return big > 0 ? big : came;
	return came + MAX(big, 0);
}

int
big_pool_frames(void *ctx, struct arch_frame *frames, size_t max, size_t *np)
{
	struct linux_pool *lp = ctx;

	if (lp->lp_big != NULL)
		return linux_pool_frames(lp->lp_big, frames, max, np);
	*np = 0;
	return 0;
}

int
big_pool_grow(void *ctx, const struct arch_grow *grow)
{
	struct linux_pool *lp = ctx;

	if (grow->frame_size == LINUX_GIGANTIC && lp->lp_big != NULL)
		return linux_pool_grow(lp->lp_big, grow);
	return linux_pool_grow(lp, grow);
}

static bool
is_big_standby(struct linux_pool *big, vm_paddr_t pa)
{
	bool found;

	pthread_mutex_lock(&big->lp_lock);
	found = inventory_find(&big->lp_inv, pa) != INVENTORY_NONE;
	pthread_mutex_unlock(&big->lp_lock);
	return found;
}

/* Is [pa, end) made of gigantic pages that nobody owns? */
static bool
is_whole(struct linux_pool *big, vm_paddr_t pa, vm_paddr_t end)
{
	if (pa == end || pa % LINUX_GIGANTIC != 0 || end % LINUX_GIGANTIC != 0)
		return false;
	for (; pa < end; pa += LINUX_GIGANTIC)
		if (!is_big_standby(big, pa))
			return false;
	return true;
}

/* The end of a range, or 0 where there is none. */
static vm_paddr_t
range_end(const struct linux_pool *lp, vm_paddr_t pa, size_t nframes)
{
	if (nframes > (UINT64_MAX - pa) / lp->lp_frame_size)
		return 0;
	return pa + nframes * lp->lp_frame_size;
}

int
big_pool_shrink(void *ctx, vm_paddr_t pa, size_t nframes)
{
	struct linux_pool *lp = ctx;
	vm_paddr_t end = range_end(lp, pa, nframes);

	if (lp->lp_big != NULL && end > pa && is_whole(lp->lp_big, pa, end))
		return linux_pool_shrink(lp->lp_big, pa,
		    (end - pa) / LINUX_GIGANTIC);
	return linux_pool_shrink(lp, pa, nframes);
}

/* ---- Taking apart ------------------------------------------------ */

/* Take the page out of the big standby; *nodep is where it is. */
static int
big_pull(struct linux_pool *big, vm_paddr_t pa, uint32_t *slotp, int *nodep)
{
	uint32_t slot;
	int r = 0;

	pthread_mutex_lock(&big->lp_lock);
	slot = inventory_find(&big->lp_inv, pa);
	if (slot == INVENTORY_NONE)
		r = -ENOENT;
	else
		r = events_reserve_locked(big, 2); /* LOST, GAINED */
	if (r == 0) {
		*nodep = big->lp_inv.slots[slot].domain;
		*slotp = slot;
		inventory_pull(&big->lp_inv, slot);
		big->lp_counts.standby--;
		big->lp_counts.total--;
	}
	pthread_mutex_unlock(&big->lp_lock);
	return r;
}

/* It is no frame of the big pool any more. */
static void
big_forget(struct linux_pool *big)
{
	pthread_mutex_lock(&big->lp_lock);
	events_unreserve_locked(big, 2);
	pthread_mutex_unlock(&big->lp_lock);
}

/*
 * The kernel could not take it apart: the big pool misses it, and takes it, or
 * another one, back.
 */
static void
big_return(struct linux_pool *big, vm_paddr_t pa, int node)
{
	pthread_mutex_lock(&big->lp_lock);
	big->lp_counts.total++;
	big->lp_counts.missing++;
	events_unreserve_locked(big, 1);
	events_push_locked(big, ARCH_FRAME_LOST, pa, node);
	pthread_mutex_unlock(&big->lp_lock);
	(void)reclaim_missing(big); /* else at the next refill */
}

static bool
kernel_takes_apart(struct linux_pool *lp, int node)
{
	bool done;

	pthread_mutex_lock(&lp->lp_resize);
	pthread_mutex_lock(&lp->lp_big->lp_resize);
	done = sysfs_take_apart(lp, lp->lp_big, node);
	pthread_mutex_unlock(&lp->lp_big->lp_resize);
	pthread_mutex_unlock(&lp->lp_resize);
	return done;
}

static int
take_apart(struct linux_pool *lp, vm_paddr_t pa)
{
	struct linux_pool *big = lp->lp_big;
	struct arch_span *span;
	uint32_t slot = INVENTORY_NONE;
	int node = 0;
	int r;

	r = span_expect(lp, pa, LINUX_GIGANTIC / lp->lp_frame_size, 0, &span);
	if (r < 0)
		return r;
	r = big_pull(big, pa, &slot, &node);
	if (r < 0) {
		span_expect_none(lp, span);
		return r;
	}
	span->domain = node;
	standby_give_back(big, slot);
	if (!kernel_takes_apart(lp, node)) {
		span_expect_none(lp, span);
		big_return(big, pa, node);
		return -EIO;
	}
	big_forget(big);
	(void)reclaim_span(lp, span); /* what is out is lost */
	span_give_up(lp, span);
	return 0;
}

int
big_pool_demote(void *ctx, vm_paddr_t pa)
{
	struct linux_pool *lp = ctx;
	int r = -ENOENT;

	if (lp->lp_big == NULL)
		return r;
	pthread_mutex_lock(&lp->lp_demote);
	if (is_big_standby(lp->lp_big, pa))
		r = take_apart(lp, pa);
	pthread_mutex_unlock(&lp->lp_demote);
	return r;
}

int
big_span_assemble(void *ctx, vm_paddr_t pa, size_t nframes,
    struct arch_span **spanp)
{
	struct linux_pool *lp = ctx;
	struct linux_pool *big = lp->lp_big;
	vm_paddr_t end = range_end(lp, pa, nframes);
	int r;

	if (big == NULL || end <= pa)
		return linux_span_assemble(lp, pa, nframes, spanp);
	if (is_whole(big, pa, end))
		return linux_span_assemble(big, pa, (end - pa) / LINUX_GIGANTIC,
		    spanp);
	for (vm_paddr_t at = rounddown2(pa, LINUX_GIGANTIC); at < end;
	     at += LINUX_GIGANTIC) {
		r = big_pool_demote(lp, at);
		if (r < 0 && r != -ENOENT)
			return r == -EIO ? -EAGAIN : r;
	}
	return linux_span_assemble(lp, pa, nframes, spanp);
}
