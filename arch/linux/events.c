/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * What happens to a frame must not get lost for want of memory, so the record
 * is there before the frame leaves the standby: each span reserves what its
 * end can need (invariant [pool.events]).
 */

static size_t
queued(const struct linux_pool *lp)
{
	return lp->lp_event_tail - lp->lp_event_head;
}

int
events_reserve_locked(struct linux_pool *lp, size_t n)
{
	size_t need = queued(lp) + lp->lp_event_reserved + n;
	struct arch_event *events;
	size_t cap;

	if (need > lp->lp_event_cap) {
		cap = MAX(need * 2, 64);
		events = lp->lp_sys->calloc(cap, sizeof(*events));
		if (events == NULL)
			return -ENOMEM;
		if (queued(lp) > 0)
			memcpy(events, &lp->lp_events[lp->lp_event_head],
			    queued(lp) * sizeof(*events));
		free(lp->lp_events);
		lp->lp_events = events;
		lp->lp_event_tail = queued(lp);
		lp->lp_event_head = 0;
		lp->lp_event_cap = cap;
	}
	lp->lp_event_reserved += n;
	return 0;
}

void
events_unreserve_locked(struct linux_pool *lp, size_t n)
{
	MPASS(lp->lp_event_reserved >= n);
	lp->lp_event_reserved -= n;
}

void
events_push_locked(struct linux_pool *lp, enum arch_event_kind kind,
    vm_paddr_t pa, int domain)
{
	MPASS(queued(lp) < lp->lp_event_cap);
	if (lp->lp_event_tail == lp->lp_event_cap) {
		memmove(lp->lp_events, &lp->lp_events[lp->lp_event_head],
		    queued(lp) * sizeof(*lp->lp_events));
		lp->lp_event_tail = queued(lp);
		lp->lp_event_head = 0;
	}
	lp->lp_events[lp->lp_event_tail++] =
	    (struct arch_event){kind, {pa, domain}, lp->lp_frame_size, false};
}

bool
events_pop_locked(struct linux_pool *lp, struct arch_event *evp)
{
	if (queued(lp) == 0)
		return false;
	*evp = lp->lp_events[lp->lp_event_head++];
	return true;
}

void
events_gained_locked(struct linux_pool *lp, const struct arch_frame *frame,
    bool grown)
{
	MPASS(lp->lp_counts.missing > 0);
	lp->lp_counts.missing--;
	lp->lp_counts.standby++;
	events_unreserve_locked(lp, 1);
	events_push_locked(lp, ARCH_FRAME_GAINED, frame->pa, frame->domain);
	lp->lp_events[lp->lp_event_tail - 1].grown = grown;
}
