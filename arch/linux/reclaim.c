/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdatomic.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * Taking frames back.
 *
 * A span's file is cut from its end, a frame at a time, and after each cut the
 * standby asks the kernel for a frame.  It gets the one that was cut off
 * exactly when nobody holds it any more: that success is the proof.  What
 * comes instead is looked at:
 *
 *	ours, of this span       it is back
 *	ours, of another span    that one's comes back (it was in limbo, or its
 *	                         holder punched a hole)
 *	anybody's                replaces a frame we miss, or is kept aside so
 *	                         that the next try reaches deeper, and given
 *	                         back to the kernel in the end
 */

/* Tries after the first round that may find nothing, for a holder who regrows
 * his file while we cut it. */
#define RECLAIM_TRIES     8
/* Frames that the first search for a span holds aside; each next one twice as
 * many, up to so many bytes. */
#define RECLAIM_ASIDE     16
#define RECLAIM_ASIDE_MAX (1ul << 30)

struct aside {
	size_t n; /* (p) */
	size_t max;
	uint32_t slots[LINUX_FOREIGN_MAX];
};

static void
span_gets_back(struct linux_pool *lp, struct arch_span *span, size_t i)
{
	MPASS(span->nout > 0 && span->where[i] == FRAME_OUT);
	span->where[i] = FRAME_BACK;
	span->nout--;
	if (span->state == SPAN_LIMBO)
		lp->lp_counts.limbo--;
	else
		lp->lp_counts.spans--;
	lp->lp_counts.standby++;
}

/* Whose frame is it?  NULL: nobody's. */
static struct arch_span *
owner_of(struct linux_pool *lp, vm_paddr_t pa)
{
	for (struct arch_span *s = lp->lp_spans; s != NULL; s = s->next)
		if (span_expects(lp, s, pa) >= 0)
			return s;
	return NULL;
}

/* Put the frame in the inventory if it belongs there. */
static bool
claim(struct linux_pool *lp, struct arch_span *span, uint32_t slot,
    const struct arch_frame *frame)
{
	struct arch_span *owner;
	bool ours = true;

	pthread_mutex_lock(&lp->lp_lock);
	owner = span_expects(lp, span, frame->pa) >= 0
		    ? span
		    : owner_of(lp, frame->pa);
	if (owner != NULL) {
		span_gets_back(lp, owner,
		    (size_t)span_expects(lp, owner, frame->pa));
	} else if (lp->lp_counts.missing > 0) {
		events_gained_locked(lp, frame, false);
	} else {
		ours = false;
	}
	if (ours)
		inventory_hold(&lp->lp_inv, slot, frame);
	pthread_mutex_unlock(&lp->lp_lock);
	return ours;
}

/*
 * The slot for the next frame.  Where addresses are hidden a frame is known by
 * its slot, so it comes back to the one it left.
 */
static uint32_t
grab_slot(struct linux_pool *lp, const struct arch_span *span)
{
	uint32_t slot;

	if (!lp->lp_addresses && span != NULL)
		return span->from[0];
	pthread_mutex_lock(&lp->lp_lock);
	slot = inventory_grab(&lp->lp_inv);
	pthread_mutex_unlock(&lp->lp_lock);
	return slot;
}

static void
drop_slot(struct linux_pool *lp, const struct arch_span *span, uint32_t slot)
{
	if (!lp->lp_addresses && span != NULL)
		return;
	standby_disown(lp, slot);
	pthread_mutex_lock(&lp->lp_lock);
	inventory_drop(&lp->lp_inv, slot);
	pthread_mutex_unlock(&lp->lp_lock);
}

/* Keep the slot's frame until the search is over, if there is room. */
static void
set_aside(struct linux_pool *lp, struct aside *aside, uint32_t slot)
{
	bool room;

	pthread_mutex_lock(&lp->lp_lock);
	room = aside->n < aside->max;
	if (room)
		aside->slots[aside->n++] = slot;
	pthread_mutex_unlock(&lp->lp_lock);
	if (!room)
		standby_give_back(lp, slot);
}

/*
 * Cut `span` (unless NULL) by one frame, take one frame and see whose it is.
 * Returns 1 when it was one of the pool's, 0 when it was not.  -ENOSPC: the
 * kernel has none.
 */
static int
take_one(struct linux_pool *lp, struct arch_span *span, size_t *keepp,
    struct aside *aside)
{
	struct arch_frame frame;
	uint32_t slot;
	int r;

	slot = grab_slot(lp, span);
	if (slot == INVENTORY_NONE)
		return -ENOSPC;
	if (span != NULL && span->nframes == 1 && lp->lp_addresses)
		standby_own(lp, slot); /* likely to be a span again */
	r = standby_move_in(lp, slot, span != NULL ? span->domain : lp->lp_node,
	    span != NULL ? span->fd : -1, keepp);
	if (r < 0) {
		drop_slot(lp, span, slot);
		return r;
	}
	r = standby_identify(lp, slot, &frame);
	if (r == 0 && claim(lp, span, slot, &frame))
		return 1;
	set_aside(lp, aside, slot);
	return 0;
}

int
reclaim_take(struct linux_pool *lp, int node, uint32_t *slotp,
    struct arch_frame *framep)
{
	struct arch_span *owner;
	uint32_t slot;
	int r;

	slot = grab_slot(lp, NULL);
	if (slot == INVENTORY_NONE)
		return -ENOSPC;
	r = standby_move_in(lp, slot, node >= 0 ? node : lp->lp_node, -1, NULL);
	if (r < 0) {
		drop_slot(lp, NULL, slot);
		return r;
	}
	r = standby_identify(lp, slot, framep);
	if (r < 0) {
		standby_give_back(lp, slot);
		return r;
	}
	*slotp = slot;
	pthread_mutex_lock(&lp->lp_lock);
	owner = owner_of(lp, framep->pa);
	if (owner != NULL) {
		span_gets_back(lp, owner,
		    (size_t)span_expects(lp, owner, framep->pa));
		inventory_hold(&lp->lp_inv, slot, framep);
	}
	pthread_mutex_unlock(&lp->lp_lock);
	return owner == NULL ? 1 : 0;
}

static struct aside
aside_new(const struct linux_pool *lp, unsigned nbusy)
{
	size_t max = MAX(RECLAIM_ASIDE_MAX / lp->lp_frame_size, 1);

	max = MIN(max, LINUX_FOREIGN_MAX);
	return (struct aside){
	    .max = MIN(max, (size_t)RECLAIM_ASIDE << MIN(nbusy, 16)),
	};
}

static void
aside_give_back(struct linux_pool *lp, struct aside *aside)
{
	while (aside->n > 0)
		standby_give_back(lp, aside->slots[--aside->n]);
}

/* Frames still out of the span, or missing from the pool. */
static size_t
still_wanted(struct linux_pool *lp, const struct arch_span *span)
{
	size_t n;

	pthread_mutex_lock(&lp->lp_lock);
	n = span != NULL ? span->nout : lp->lp_counts.missing;
	pthread_mutex_unlock(&lp->lp_lock);
	return n;
}

/*
 * Look for frames that did not come back at once.  Their place on the kernel's
 * stack may be under others', so those are held meanwhile.  A frame that is
 * freed just before they are given back ends up under `max` of them, which is
 * why there is one more try with the aside full, and why searches take turns.
 */
static void
search(struct linux_pool *lp, struct arch_span *span, struct aside *aside)
{
	size_t keep = 0;
	size_t failed = 0;
	bool full = false;
	int r = 0;

	while (!full && failed < RECLAIM_TRIES && still_wanted(lp, span) > 0) {
		full = aside->n == aside->max;
		r = take_one(lp, span, &keep, aside);
		if (r < 0)
			failed++;
	}
}

/* The first round, shared with the helpers: a cut for every frame. */
struct cutting {
	struct linux_pool *lp;
	struct arch_span *span;
	struct aside *aside;
	size_t keep;         /* (turn) frames the file still has */
	atomic_size_t ncuts; /* cuts begun */
};

static void
cut_run(void *arg)
{
	struct cutting *cut = arg;

	while (atomic_fetch_add(&cut->ncuts, 1) < cut->span->nframes)
		(void)take_one(cut->lp, cut->span, &cut->keep,
		    cut->aside); /* what fails is searched for later */
}

size_t
reclaim_span(struct linux_pool *lp, struct arch_span *span)
{
	struct aside aside = aside_new(lp, span->nbusy);
	struct cutting cut = {lp, span, &aside, span->nframes, 0};
	size_t out;

	if (span->nframes < LINUX_TEAM_FRAMES)
		cut_run(&cut);
	else
		team_run(&lp->lp_team, cut_run, &cut);
	if (aside.n > 0 || still_wanted(lp, span) > 0) {
		pthread_mutex_lock(&lp->lp_search);
		search(lp, span, &aside);
		aside_give_back(lp, &aside);
		pthread_mutex_unlock(&lp->lp_search);
	}
	out = still_wanted(lp, span);
	span->nbusy += out > 0;
	return out;
}

int
reclaim_missing(struct linux_pool *lp)
{
	struct aside aside = aside_new(lp, 0);
	int came = 0;
	int r = 0;

	while (r >= 0 && aside.n < aside.max && still_wanted(lp, NULL) > 0) {
		r = take_one(lp, NULL, NULL, &aside);
		if (r == 1)
			came++;
	}
	aside_give_back(lp, &aside);
	return came > 0 || r >= 0 || r == -ENOSPC ? came : r;
}
