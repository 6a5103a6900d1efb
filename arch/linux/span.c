/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * The life of a span:
 *
 *	new        file, mapping, records: all that can run out
 *	pull       its frames leave the inventory (nobody else can want them)
 *	fill       each frame from its standby slot to its place in the file,
 *	           mapped, pinned, read back (fill.c)
 *	(live)     somebody has the fd
 *	revoke     unpinned, unmapped here
 *	reclaim    file cut to nothing, frames proved free and taken back
 *	(limbo)    some frame is withheld: reclaim again later
 *	free
 *
 * The file is sealed GROW|SEAL before anybody sees it.  So a holder cannot
 * seal it himself, which leaves us the right to truncate it: that is what
 * revocation rests on (docs/design/pool.md, [span.seals]).
 */

/* What one frame's end can need: LOST, CHANGED, and GAINED for one missed. */
#define SPAN_EVENTS 3

ssize_t
span_expects(const struct linux_pool *lp, const struct arch_span *span,
    vm_paddr_t pa)
{
	size_t i;

	if (span == NULL || pa < span->pa)
		return -1;
	i = (pa - span->pa) / lp->lp_frame_size;
	return i < span->nframes && span->where[i] == FRAME_OUT ? (ssize_t)i
								: -1;
}

static size_t
span_size(const struct linux_pool *lp, const struct arch_span *span)
{
	return span->nframes * lp->lp_frame_size;
}

static void
span_unmap(struct linux_pool *lp, struct arch_span *span)
{
	if (span->va != NULL)
		(void)lp->lp_sys->munmap(span->va, span_size(lp, span));
	span->va = NULL;
}

/* What is not on the list of the pool. */
static void
span_free(struct linux_pool *lp, struct arch_span *span)
{
	span_unmap(lp, span);
	if (span->fd >= 0)
		(void)lp->lp_sys->close(span->fd);
	free(span->slots);
	free(span->from);
	free(span->where);
	free(span);
}

static int
span_alloc_tables(struct linux_pool *lp, struct arch_span *span)
{
	size_t nslots = span->nframes / pins_frames(lp, span->nframes) + 1;

	span->slots = lp->lp_sys->calloc(nslots, sizeof(*span->slots));
	span->from = lp->lp_sys->calloc(span->nframes, sizeof(*span->from));
	span->where = lp->lp_sys->calloc(span->nframes, 1);
	if (span->slots == NULL || span->from == NULL || span->where == NULL)
		return -ENOMEM;
	memset(span->where, FRAME_IN_SLOT, span->nframes);
	return 0;
}

static int
span_map(struct linux_pool *lp, struct arch_span *span)
{
	void *va;
	int r;

	r = lp->lp_sys->mmap(&va, span_size(lp, span), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, span->fd);
	if (r == 0)
		span->va = va;
	return r;
}

/* `in_file`: with a file of its own. */
static int
span_new(struct linux_pool *lp, vm_paddr_t pa, size_t nframes, bool in_file,
    struct arch_span **spanp)
{
	struct arch_span *span;
	int r;

	span = lp->lp_sys->calloc(1, sizeof(*span));
	if (span == NULL)
		return -ENOMEM;
	span->fd = -1;
	span->pool = lp;
	span->pa = pa;
	span->nframes = nframes;
	r = span_alloc_tables(lp, span);
	if (r == 0 && in_file)
		r = memfd_frames(lp, "holdfast-span", nframes, SPAN_SEALS,
		    &span->fd);
	if (r == 0 && in_file)
		r = span_map(lp, span);
	if (r < 0) {
		span_free(lp, span);
		return r;
	}
	*spanp = span;
	return 0;
}

static void
span_link_locked(struct linux_pool *lp, struct arch_span *span)
{
	span->prev = NULL;
	span->next = lp->lp_spans;
	if (span->next != NULL)
		span->next->prev = span;
	lp->lp_spans = span;
	lp->lp_nspans++;
}

static void
span_unlink_locked(struct linux_pool *lp, struct arch_span *span)
{
	if (span->next != NULL)
		span->next->prev = span->prev;
	if (span->prev != NULL)
		span->prev->next = span->next;
	else
		lp->lp_spans = span->next;
	lp->lp_nspans--;
	events_unreserve_locked(lp, span->nevents);
	span->nevents = 0;
}

/* All of the span's frames are in the standby, on one node. */
static int
pull_check_locked(struct linux_pool *lp, struct arch_span *span)
{
	const struct inventory *inv = &lp->lp_inv;

	for (size_t i = 0; i < span->nframes; i++) {
		uint32_t slot =
		    inventory_find(inv, span->pa + i * lp->lp_frame_size);

		if (slot == INVENTORY_NONE)
			return -ENOENT;
		span->from[i] = slot;
		if (inv->slots[slot].domain != inv->slots[span->from[0]].domain)
			return -ENOENT; /* no run spans two nodes */
	}
	span->domain = inv->slots[span->from[0]].domain;
	return 0;
}

static int
span_pull_locked(struct linux_pool *lp, struct arch_span *span)
{
	int r;

	r = pull_check_locked(lp, span);
	if (r < 0)
		return r;
	r = events_reserve_locked(lp, SPAN_EVENTS * span->nframes);
	if (r < 0)
		return r;
	span->nevents = SPAN_EVENTS * span->nframes;
	for (size_t i = 0; i < span->nframes; i++)
		inventory_pull(&lp->lp_inv, span->from[i]);
	lp->lp_counts.standby -= span->nframes;
	lp->lp_counts.spans += span->nframes;
	span_link_locked(lp, span);
	return 0;
}

static int
span_pull(struct linux_pool *lp, struct arch_span *span)
{
	int r;

	pthread_mutex_lock(&lp->lp_lock);
	r = span_pull_locked(lp, span);
	pthread_mutex_unlock(&lp->lp_lock);
	return r;
}

void
span_frame_left(struct linux_pool *lp, struct arch_span *span, size_t i)
{
	pthread_mutex_lock(&lp->lp_lock);
	span->where[i] = FRAME_OUT;
	span->nout++;
	if (lp->lp_addresses)
		inventory_drop(&lp->lp_inv, span->from[i]);
	pthread_mutex_unlock(&lp->lp_lock);
}

int
span_frame_check(const struct linux_pool *lp, const struct arch_span *span,
    size_t i)
{
	vm_paddr_t pa;
	int r;

	r = pagemap_read(lp, span->va + i * lp->lp_frame_size, &pa);
	if (r == -EPERM && !lp->lp_addresses)
		return 0;
	if (r == -ENODATA)
		return -EAGAIN;
	if (r < 0)
		return r;
	return pa == span->pa + i * lp->lp_frame_size ? 0 : -EAGAIN;
}

/* Put the frames that are still in their slots back; returns how many left. */
static size_t
span_unpull(struct linux_pool *lp, struct arch_span *span)
{
	size_t nleft = span->nframes;

	pthread_mutex_lock(&lp->lp_lock);
	for (size_t i = 0; i < span->nframes; i++) {
		struct arch_frame frame = {
		    span->pa + i * lp->lp_frame_size,
		    span->domain,
		};

		if (span->where[i] != FRAME_IN_SLOT)
			continue;
		inventory_hold(&lp->lp_inv, span->from[i], &frame);
		lp->lp_counts.standby++;
		lp->lp_counts.spans--;
		nleft--;
	}
	pthread_mutex_unlock(&lp->lp_lock);
	return nleft;
}

/* A record that the span reserved becomes an event. */
static void
span_event_locked(struct linux_pool *lp, struct arch_span *span,
    enum arch_event_kind kind, size_t i)
{
	MPASS(span->nevents > 0);
	span->nevents--;
	events_unreserve_locked(lp, 1);
	events_push_locked(lp, kind, span->pa + i * lp->lp_frame_size,
	    span->domain);
}

/* The pool misses frame `i` from now on; its GAINED keeps a record. */
static void
frame_lost_locked(struct linux_pool *lp, struct arch_span *span, size_t i)
{
	span_event_locked(lp, span, ARCH_FRAME_LOST, i);
	MPASS(span->nevents > 0);
	span->nevents--;
	span->where[i] = FRAME_BACK;
	span->nout--;
	if (span->state == SPAN_LIMBO)
		lp->lp_counts.limbo--;
	else
		lp->lp_counts.spans--;
	lp->lp_counts.missing++;
	if (!lp->lp_addresses)
		inventory_drop(&lp->lp_inv, span->from[i]);
}

static void
span_unpin(struct linux_pool *lp, struct arch_span *span)
{
	/* Unpinning frees what the holder punched: see standby.c. */
	order_enter(lp);
	pins_drop(lp, span);
	order_leave(lp, order_pass(lp));
}

void
span_give_up(struct linux_pool *lp, struct arch_span *span)
{
	pthread_mutex_lock(&lp->lp_lock);
	for (size_t i = 0; i < span->nframes; i++)
		if (span->where[i] == FRAME_OUT)
			frame_lost_locked(lp, span, i);
	span_unlink_locked(lp, span);
	pthread_mutex_unlock(&lp->lp_lock);
	span_free(lp, span);
}

/* Undo an assembly that got stuck half-way. */
static void
span_abort(struct linux_pool *lp, struct arch_span *span)
{
	size_t nleft = span_unpull(lp, span);

	span_unpin(lp, span);
	span_unmap(lp, span);
	if (nleft > 0)
		(void)reclaim_span(lp, span); /* what is out is lost, below */
	span_give_up(lp, span);
}

int
span_expect(struct linux_pool *lp, vm_paddr_t pa, size_t nframes, int domain,
    struct arch_span **spanp)
{
	struct arch_span *span;
	int r;

	r = span_new(lp, pa, nframes, false, &span);
	if (r < 0)
		return r;
	pthread_mutex_lock(&lp->lp_lock);
	r = events_reserve_locked(lp, SPAN_EVENTS * nframes);
	if (r == 0) {
		span->nevents = SPAN_EVENTS * nframes;
		span->domain = domain;
		span->nout = nframes;
		memset(span->where, FRAME_OUT, nframes);
		lp->lp_counts.total += nframes;
		lp->lp_counts.spans += nframes;
		span_link_locked(lp, span);
	}
	pthread_mutex_unlock(&lp->lp_lock);
	if (r < 0)
		span_free(lp, span);
	else
		*spanp = span;
	return r;
}

void
span_expect_none(struct linux_pool *lp, struct arch_span *span)
{
	pthread_mutex_lock(&lp->lp_lock);
	MPASS(span->nout == span->nframes);
	lp->lp_counts.total -= span->nframes;
	lp->lp_counts.spans -= span->nframes;
	span_unlink_locked(lp, span);
	pthread_mutex_unlock(&lp->lp_lock);
	span_free(lp, span);
}

/* Will the file of a frame in the standby do? */
static bool
span_may_adopt(struct linux_pool *lp, vm_paddr_t pa, size_t nframes)
{
	bool may;

	pthread_mutex_lock(&lp->lp_lock);
	may = nframes == 1 && standby_is_own_locked(lp, pa);
	pthread_mutex_unlock(&lp->lp_lock);
	return may;
}

int
linux_span_assemble(void *ctx, vm_paddr_t pa, size_t nframes,
    struct arch_span **spanp)
{
	struct linux_pool *lp = ctx;
	struct arch_span *span;
	int r;

	if (nframes == 0)
		return -EINVAL;
	if (nframes > lp->lp_max || pa % lp->lp_frame_size != 0)
		return -ENOENT;
	r = span_new(lp, pa, nframes, !span_may_adopt(lp, pa, nframes), &span);
	if (r < 0)
		return r;
	r = span_pull(lp, span);
	if (r < 0) {
		span_free(lp, span);
		return r;
	}
	r = fill_span(lp, span);
	if (r < 0) {
		span_abort(lp, span);
		return r;
	}
	*spanp = span;
	return 0;
}

void
linux_span_info(void *ctx, struct arch_span *span, struct arch_span_info *infop)
{
	struct linux_pool *lp = span->pool;

	(void)ctx;
	*infop = (struct arch_span_info){
	    .fd = span->fd,
	    .frame_size = lp->lp_frame_size,
	    .nframes = span->nframes,
	    .pa = span->pa,
	    .domain = span->domain,
	    .pin = span->pin,
	    .verified = span->verified,
	};
}

int
linux_span_verify(void *ctx, struct arch_span *span, size_t *nbadp)
{
	struct linux_pool *lp = span->pool;
	size_t nbad = 0;
	int r;

	(void)ctx;
	if (span->va == NULL)
		return -ESTALE; /* revoked: there is nothing to read */
	for (size_t i = 0; i < span->nframes; i++) {
		r = span_frame_check(lp, span, i);
		if (r == -EAGAIN)
			nbad++;
		else if (r < 0)
			return r;
	}
	*nbadp = nbad;
	return 0;
}

int
linux_span_check(void *ctx, struct arch_span *span, size_t first, size_t n,
    unsigned char *states)
{
	struct linux_pool *lp = span->pool;
	int r;

	(void)ctx;
	if (span->va == NULL)
		return -ESTALE;
	if (first > span->nframes || n > span->nframes - first)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		vm_paddr_t pa = span->pa + (first + i) * lp->lp_frame_size;

		r = span_frame_check(lp, span, first + i);
		if (r < 0 && r != -EAGAIN)
			return r;
		states[i] = ARCH_FRAME_SOUND;
		if (r == -EAGAIN)
			states[i] = pagemap_frame_is_poisoned(lp, pa)
					? ARCH_FRAME_POISONED
					: ARCH_FRAME_ELSEWHERE;
	}
	return 0;
}

/* Are the frames under [off, off + len) mapped here?  Faults nothing in. */
static int
range_check(const struct linux_pool *lp, const struct arch_span *span,
    vm_size_t off, vm_size_t len)
{
	size_t last = (off + len - 1) / lp->lp_frame_size;

	for (size_t i = off / lp->lp_frame_size; i <= last; i++)
		if (span_frame_check(lp, span, i) < 0)
			return -EFAULT;
	return 0;
}

int
linux_span_zero(void *ctx, struct arch_span *span, vm_size_t off, vm_size_t len)
{
	struct linux_pool *lp = span->pool;
	ssize_t n;
	int r;

	(void)ctx;
	if (span->va == NULL)
		return -ESTALE;
	if (off > span_size(lp, span) || len > span_size(lp, span) - off)
		return -EINVAL;
	if (len == 0)
		return 0;
	/* A hole would be filled with a frame of nobody's choice. */
	r = range_check(lp, span, off, len);
	for (vm_size_t done = 0; r == 0 && done < len; done += (vm_size_t)n) {
		/* The kernel writes: where we would get SIGBUS, EFAULT. */
		n = lp->lp_sys->read(lp->lp_zero, span->va + off + done,
		    len - done);
		if (n == -EINTR)
			n = 0;
		else if (n <= 0)
			r = n < 0 ? (int)n : -EIO;
	}
	return r < 0 ? r : range_check(lp, span, off, len);
}

/* Say which frames are not what the span was assembled from. */
static void
span_note_changes(struct linux_pool *lp, struct arch_span *span)
{
	for (size_t i = 0; i < span->nframes; i++) {
		if (span_frame_check(lp, span, i) != -EAGAIN)
			continue;
		pthread_mutex_lock(&lp->lp_lock);
		span_event_locked(lp, span, ARCH_SPAN_CHANGED, i);
		pthread_mutex_unlock(&lp->lp_lock);
	}
}

static void
span_revoke(struct linux_pool *lp, struct arch_span *span)
{
	if (span->va != NULL)
		span_note_changes(lp, span);
	span_unpin(lp, span);
	span_unmap(lp, span);
}

static void
span_to_limbo_locked(struct linux_pool *lp, struct arch_span *span)
{
	if (span->state == SPAN_LIMBO)
		return;
	span->state = SPAN_LIMBO;
	lp->lp_nlimbo++;
	lp->lp_counts.spans -= span->nout;
	lp->lp_counts.limbo += span->nout;
}

/*
 * A frame that the kernel has retired, or made base pages of because there were
 * more than nr_hugepages, will never come: the pool misses it, and the span
 * need not wait for it.
 */
static void
span_drop_gone(struct linux_pool *lp, struct arch_span *span)
{
	for (size_t i = 0; i < span->nframes; i++) {
		vm_paddr_t pa = span->pa + i * lp->lp_frame_size;
		bool gone = !pagemap_frame_is_huge(lp, pa) ||
			    pagemap_frame_is_poisoned(lp, pa);

		pthread_mutex_lock(&lp->lp_lock);
		if (gone && span->where[i] == FRAME_OUT)
			frame_lost_locked(lp, span, i);
		pthread_mutex_unlock(&lp->lp_lock);
	}
}

int
linux_span_recycle(void *ctx, struct arch_span *span)
{
	struct linux_pool *lp = span->pool;
	bool done;

	(void)ctx;
	span_revoke(lp, span);
	if (reclaim_span(lp, span) > 0)
		span_drop_gone(lp, span);
	pthread_mutex_lock(&lp->lp_lock);
	done = span->nout == 0;
	if (!done) {
		span_to_limbo_locked(lp, span);
	} else {
		if (span->state == SPAN_LIMBO)
			lp->lp_nlimbo--;
		span_unlink_locked(lp, span);
	}
	pthread_mutex_unlock(&lp->lp_lock);
	if (!done)
		return -EBUSY;
	span_free(lp, span);
	/* A good moment to look for what was stolen: frames are coming free. */
	(void)reclaim_missing(lp);
	return 0;
}

void
span_close_all(struct linux_pool *lp)
{
	struct arch_span *span;

	while ((span = lp->lp_spans) != NULL) {
		pins_drop(lp, span);
		span_unlink_locked(lp, span);
		span_free(lp, span);
	}
}
