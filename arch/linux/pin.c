/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * A ring is never used for I/O, only for its table of registered buffers:
 * each is a FOLL_LONGTERM pin that lives as long as its slot, whatever
 * becomes of the mapping.  A ring made with CAP_IPC_LOCK charges nobody's
 * RLIMIT_MEMLOCK, also later and for another uid (measured on Linux 6.18).
 *
 * Emptying a slot unpins at once on Linux 6.18, but up to a second later on
 * 6.1: there a span is in limbo for that long.
 */

static int
ring_open(struct linux_pool *lp, int *fdp)
{
	struct io_uring_rsrc_register table = {
	    .nr = LINUX_RING_SLOTS,
	    .flags = IORING_RSRC_REGISTER_SPARSE,
	};
	int fd;
	int r;

	fd = lp->lp_sys->ring_setup(1);
	if (fd < 0)
		return fd;
	r = lp->lp_sys->ring_register(fd, IORING_REGISTER_BUFFERS2, &table,
	    sizeof(table));
	if (r < 0) {
		(void)lp->lp_sys->close(fd); /* it pins nothing yet */
		return r;
	}
	*fdp = fd;
	return 0;
}

/* Put `len` bytes at `va` into a slot; NULL and 0 empty it. */
static int
ring_update(struct linux_pool *lp, uint32_t slot, void *va, size_t len)
{
	struct iovec iov = {va, len};
	struct io_uring_rsrc_update2 update = {
	    .offset = slot % LINUX_RING_SLOTS,
	    .data = (uintptr_t)&iov,
	    .nr = 1,
	};
	int r;

	r = lp->lp_sys
		->ring_register(lp->lp_pins.rings[slot / LINUX_RING_SLOTS],
		    IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));
	if (r < 0)
		return r;
	return r == 1 ? 0 : -EIO;
}

int
pins_init(struct linux_pool *lp, size_t nslots)
{
	struct linux_pins *pins = &lp->lp_pins;
	size_t nrings;
	int r;

	nrings = (nslots + LINUX_RING_SLOTS - 1) / LINUX_RING_SLOTS;
	nrings = MIN(nrings, LINUX_RINGS);
	pins->free =
	    lp->lp_sys->calloc(nrings * LINUX_RING_SLOTS, sizeof(*pins->free));
	if (pins->free == NULL)
		return -ENOMEM;
	while (pins->nrings < nrings) {
		r = ring_open(lp, &pins->rings[pins->nrings]);
		if (r < 0)
			return r;
		pins->nrings++;
	}
	for (size_t i = nrings * LINUX_RING_SLOTS; i-- > 0;)
		pins->free[pins->nfree++] = (uint32_t)i;
	return 0;
}

void
pins_fini(struct linux_pool *lp)
{
	struct linux_pins *pins = &lp->lp_pins;

	while (pins->nrings > 0)
		(void)lp->lp_sys->close(pins->rings[--pins->nrings]);
	free(pins->free);
	pins->free = NULL;
	pins->nfree = 0;
}

static int
slot_take(struct linux_pins *pins, uint32_t *slotp)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&pins->lock);
	if (pins->nfree > 0) {
		*slotp = pins->free[--pins->nfree];
		r = 0;
	}
	pthread_mutex_unlock(&pins->lock);
	return r;
}

static void
slot_drop(struct linux_pins *pins, uint32_t slot)
{
	pthread_mutex_lock(&pins->lock);
	pins->free[pins->nfree++] = slot;
	pthread_mutex_unlock(&pins->lock);
}

/* Slots that a span is pinned in, where frames are small enough. */
#define PIN_PIECES 32

size_t
pins_frames(const struct linux_pool *lp, size_t nframes)
{
	size_t most = MAX(LINUX_RING_SLOT_MAX / lp->lp_frame_size, 1);

	return MIN((nframes + PIN_PIECES - 1) / PIN_PIECES, most);
}

int
pins_take(struct linux_pool *lp, struct arch_span *span, size_t first, size_t n)
{
	struct linux_pins *pins = &lp->lp_pins;
	uint32_t slot;
	int r;

	r = slot_take(pins, &slot);
	if (r < 0)
		return r;
	r = ring_update(lp, slot, span->va + first * lp->lp_frame_size,
	    n * lp->lp_frame_size);
	if (r < 0) {
		slot_drop(pins, slot);
		return r;
	}
	pthread_mutex_lock(&pins->lock);
	span->slots[span->nslots++] = slot;
	pthread_mutex_unlock(&pins->lock);
	return 0;
}

void
pins_drop(struct linux_pool *lp, struct arch_span *span)
{
	size_t kept = 0;

	for (size_t i = 0; i < span->nslots; i++) {
		if (ring_update(lp, span->slots[i], NULL, 0) == 0)
			slot_drop(&lp->lp_pins, span->slots[i]);
		else /* still pinned: the next call tries again */
			span->slots[kept++] = span->slots[i];
	}
	span->nslots = kept;
	if (kept == 0)
		span->pin = ARCH_PIN_NONE;
}
