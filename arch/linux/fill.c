/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdatomic.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * Filling a span, shared with the helpers.
 *
 * A span is filled in pieces.  Whoever has moved the frames of a piece also
 * pins and reads them: the first pin looks at each of the kernel's records of
 * 512 base pages a frame, none of which is in the cache, and while one thread
 * waits for those another one can have all of the memory's speed for zeroing.
 */

struct filling {
	struct linux_pool *lp;
	struct arch_span *span;
	atomic_size_t next;   /* frame nobody has begun */
	atomic_int error;     /* the first one; nobody begins another piece */
	atomic_bool unpinned; /* some piece could not be pinned */
};

/* Mapped first, then pinned, then read: pinning may itself move a page. */
static int
piece_settle(struct filling *fill, size_t first, size_t n)
{
	struct linux_pool *lp = fill->lp;
	struct arch_span *span = fill->span;
	int r;

	r = pagemap_touch(lp, span->va + first * lp->lp_frame_size,
	    n * lp->lp_frame_size, true);
	if (r < 0)
		return r;
	if (lp->lp_pin == ARCH_PIN_LONGTERM) {
		r = pins_take(lp, span, first, n);
		if (r < 0 && lp->lp_pin_want == ARCH_LINUX_PIN_REQUIRE)
			return r;
		if (r < 0)
			atomic_store(&fill->unpinned, true);
	}
	r = 0;
	for (size_t i = first; i < first + n && r == 0; i++)
		r = span_frame_check(lp, span, i);
	return r;
}

static int
piece_fill(struct filling *fill, size_t first, size_t n)
{
	struct arch_span *span = fill->span;
	int r;

	for (size_t i = first; i < first + n; i++) {
		r = standby_move_out(fill->lp, span->from[i], span, i);
		if (r < 0)
			return r == -ENOSPC ? -EAGAIN : r;
	}
	return piece_settle(fill, first, n);
}

static void
fill_run(void *arg)
{
	struct filling *fill = arg;
	size_t nframes = fill->span->nframes;
	size_t piece = pins_frames(fill->lp, nframes);
	size_t i;
	int r;

	while (atomic_load(&fill->error) == 0 &&
	       (i = atomic_fetch_add(&fill->next, piece)) < nframes) {
		int none = 0;

		r = piece_fill(fill, i, MIN(piece, nframes - i));
		if (r < 0)
			atomic_compare_exchange_strong(&fill->error, &none, r);
	}
}

int
fill_span(struct linux_pool *lp, struct arch_span *span)
{
	struct filling fill = {lp, span, 0, 0, false};

	MPASS(span->nslots == 0);
	if (span->fd < 0) /* the slot's file will do, or has gone meanwhile */
		atomic_store(&fill.error, standby_adopt(lp, span)
					      ? piece_settle(&fill, 0, 1)
					      : -EAGAIN);
	else if (span->nframes < LINUX_TEAM_FRAMES)
		fill_run(&fill);
	else
		team_run(&lp->lp_team, fill_run, &fill);
	if (atomic_load(&fill.error) < 0)
		return atomic_load(&fill.error);
	if (atomic_load(&fill.unpinned))
		pins_drop(lp, span); /* all of it, or none */
	else
		span->pin = lp->lp_pin;
	span->verified = lp->lp_addresses;
	return 0;
}
