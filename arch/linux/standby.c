/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * The kernel keeps free huge pages of a node on a stack.  A frame that is
 * freed and at once allocated again is therefore the same frame, unless
 * another process came between; that is found out afterwards, from the
 * pagemap.  lp_order keeps our own threads from coming between.
 */

static bool
slot_is_own(const struct linux_pool *lp, uint32_t slot)
{
	return lp->lp_own[slot].va != NULL;
}

static int
slot_fd(const struct linux_pool *lp, uint32_t slot)
{
	return slot_is_own(lp, slot) ? lp->lp_own[slot].fd
				     : lp->lp_standby[slot % LINUX_SHARDS];
}

static size_t
slot_index(const struct linux_pool *lp, uint32_t slot)
{
	return slot_is_own(lp, slot) ? 0 : slot / LINUX_SHARDS;
}

static void *
slot_va(struct linux_pool *lp, uint32_t slot)
{
	if (slot_is_own(lp, slot))
		return lp->lp_own[slot].va;
	return lp->lp_map[slot % LINUX_SHARDS] +
	       slot / LINUX_SHARDS * lp->lp_frame_size;
}

/* ---- Files of their own ------------------------------------------------- */

static void
own_close(struct linux_pool *lp, struct own_file *own)
{
	if (own->va == NULL)
		return;
	(void)lp->lp_sys->munmap(own->va, lp->lp_frame_size);
	(void)lp->lp_sys->close(own->fd); /* its frame is gone already */
}

/* One more, or none. */
static bool
own_count(struct linux_pool *lp)
{
	bool room;

	pthread_mutex_lock(&lp->lp_lock);
	room = lp->lp_counts.own < LINUX_OWN_MAX;
	lp->lp_counts.own += room;
	pthread_mutex_unlock(&lp->lp_lock);
	return room;
}

/* The slot has none from here on; the caller's. */
static struct own_file
own_take(struct linux_pool *lp, uint32_t slot)
{
	struct own_file own = lp->lp_own[slot];

	if (own.va == NULL)
		return own;
	lp->lp_own[slot] = (struct own_file){0};
	pthread_mutex_lock(&lp->lp_lock);
	MPASS(lp->lp_counts.own > 0);
	lp->lp_counts.own--;
	pthread_mutex_unlock(&lp->lp_lock);
	return own;
}

void
standby_own(struct linux_pool *lp, uint32_t slot)
{
	struct own_file own = {.fd = -1};
	void *va = NULL;
	int r;

	MPASS(!slot_is_own(lp, slot));
	if (!own_count(lp))
		return;
	r = memfd_frames(lp, "holdfast-span", 1, SPAN_SEALS, &own.fd);
	if (r == 0)
		r = lp->lp_sys->mmap(&va, lp->lp_frame_size,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, own.fd);
	if (r == 0) {
		own.va = va;
		lp->lp_own[slot] = own;
		return;
	}
	if (own.fd >= 0)
		(void)lp->lp_sys->close(own.fd); /* nothing is in it */
	pthread_mutex_lock(&lp->lp_lock);
	lp->lp_counts.own--;
	pthread_mutex_unlock(&lp->lp_lock);
}

void
standby_disown(struct linux_pool *lp, uint32_t slot)
{
	struct own_file own = own_take(lp, slot);

	own_close(lp, &own);
}

bool
standby_is_own_locked(const struct linux_pool *lp, vm_paddr_t pa)
{
	uint32_t slot = inventory_find(&lp->lp_inv, pa);

	return slot != INVENTORY_NONE && slot_is_own(lp, slot);
}

bool
standby_adopt(struct linux_pool *lp, struct arch_span *span)
{
	struct own_file own = own_take(lp, span->from[0]);

	MPASS(span->fd < 0 && span->nframes == 1);
	if (own.va == NULL)
		return false;
	span->fd = own.fd;
	span->va = own.va;
	span_frame_left(lp, span, 0);
	return true;
}

/* ---- Moving ------------------------------------------------------------- */

int
standby_move_out(struct linux_pool *lp, uint32_t slot, struct arch_span *span,
    size_t index)
{
	struct own_file own = {0};
	uint64_t turn;
	int r;

	r = numa_bind(lp, span->domain);
	if (r < 0)
		return r;
	order_enter(lp);
	r = memfd_punch(lp, slot_fd(lp, slot), slot_index(lp, slot));
	if (r == 0) {
		own = own_take(lp, slot); /* before others may have the slot */
		span_frame_left(lp, span, index);
	}
	turn = order_pass(lp);
	if (r == 0)
		r = memfd_take(lp, span->fd, index,
		    span->va + index * lp->lp_frame_size, true);
	order_leave(lp, turn);
	own_close(lp, &own);
	(void)numa_bind(lp, -1); /* back to the default cannot fail */
	return r;
}

int
standby_move_in(struct linux_pool *lp, uint32_t slot, int domain, int fd,
    size_t *keepp)
{
	uint64_t turn;
	int r;

	r = numa_bind(lp, domain);
	if (r < 0)
		return r;
	order_enter(lp);
	if (fd >= 0) {
		*keepp -= *keepp > 0;
		r = memfd_cut(lp, fd, *keepp);
	}
	turn = order_pass(lp);
	if (r == 0)
		r = memfd_take(lp, slot_fd(lp, slot), slot_index(lp, slot),
		    slot_va(lp, slot), false);
	order_leave(lp, turn);
	(void)numa_bind(lp, -1); /* back to the default cannot fail */
	return r;
}

/*
 * Where addresses are hidden, each slot has an invented one, and no two of
 * them are neighbours: then nobody can be promised contiguity.
 */
static vm_paddr_t
invented_pa(const struct linux_pool *lp, uint32_t slot)
{
	return (2 * (vm_paddr_t)slot + 1) * lp->lp_frame_size;
}

int
standby_identify(struct linux_pool *lp, uint32_t slot,
    struct arch_frame *framep)
{
	void *va = slot_va(lp, slot);
	vm_paddr_t pa = invented_pa(lp, slot);
	int r;

	r = pagemap_touch(lp, va, lp->lp_frame_size, false);
	if (r == 0 && lp->lp_addresses)
		r = pagemap_read(lp, va, &pa);
	if (r == 0)
		*framep = (struct arch_frame){pa, numa_node_of(lp, va)};
	if (r == 0 && !slot_is_own(lp, slot))
		pagemap_forget(lp, va, lp->lp_frame_size);
	return r;
}

void
standby_give_back(struct linux_pool *lp, uint32_t slot)
{
	int r;

	order_enter(lp);
	r = memfd_punch(lp, slot_fd(lp, slot), slot_index(lp, slot));
	order_leave(lp, order_pass(lp));
	if (r < 0)
		return; /* the slot keeps a frame nobody counts on */
	standby_disown(lp, slot);
	pthread_mutex_lock(&lp->lp_lock);
	inventory_drop(&lp->lp_inv, slot);
	pthread_mutex_unlock(&lp->lp_lock);
}

static int
shard_map(struct linux_pool *lp, size_t i, size_t nframes)
{
	void *va;
	int r;

	r = memfd_frames(lp, "holdfast-standby", nframes, F_SEAL_SEAL,
	    &lp->lp_standby[i]);
	if (r < 0)
		return r;
	r = lp->lp_sys->mmap(&va, lp->lp_map_size, PROT_READ,
	    MAP_SHARED | MAP_NORESERVE, lp->lp_standby[i]);
	if (r == 0)
		lp->lp_map[i] = va;
	return r;
}

static int
standby_map(struct linux_pool *lp, size_t nslots)
{
	size_t nframes = nslots / LINUX_SHARDS;
	int r = 0;

	lp->lp_map_size = nframes * lp->lp_frame_size;
	for (size_t i = 0; i < LINUX_SHARDS && r == 0; i++)
		r = shard_map(lp, i, nframes);
	return r;
}

/* Take up to `want` frames into slots; store which and how many. */
static int
standby_gather(struct linux_pool *lp, size_t want, struct arch_frame *frames,
    size_t *np)
{
	size_t n = 0;
	int r = 0;

	while (n < want) {
		uint32_t slot = inventory_grab(&lp->lp_inv);

		MPASS(slot != INVENTORY_NONE);
		r = standby_move_in(lp, slot, lp->lp_node, -1, NULL);
		if (r < 0) {
			inventory_drop(&lp->lp_inv, slot);
			break;
		}
		r = standby_identify(lp, slot, &frames[n]);
		if (r < 0)
			break;
		inventory_hold(&lp->lp_inv, slot, &frames[n++]);
	}
	*np = n;
	return r == -ENOSPC ? 0 : r;
}

/* Keep the best `want` of the `n` gathered frames. */
static int
standby_trim(struct linux_pool *lp, struct arch_frame *frames, size_t n,
    size_t want)
{
	int r;

	r = inventory_choose(frames, n, want, lp->lp_frame_size);
	if (r < 0)
		return r;
	for (size_t i = want; i < n; i++) {
		uint32_t slot = inventory_find(&lp->lp_inv, frames[i].pa);

		inventory_pull(&lp->lp_inv, slot);
		standby_give_back(lp, slot);
	}
	sysfs_lower(lp, -1, n - want);
	return 0;
}

/* Can the kernel tell addresses?  Asked of the first frame. */
static int
standby_probe(struct linux_pool *lp, bool without)
{
	vm_paddr_t pa;
	int r;

	r = standby_move_in(lp, 0, lp->lp_node, -1, NULL);
	if (r < 0)
		return r;
	r = pagemap_touch(lp, slot_va(lp, 0), lp->lp_frame_size, false);
	if (r == 0)
		r = pagemap_read(lp, slot_va(lp, 0), &pa);
	lp->lp_addresses = r == 0;
	(void)memfd_punch(lp, slot_fd(lp, 0), slot_index(lp, 0));
	return r == -EPERM && without ? 0 : r;
}

/*
 * Frames taken beyond the wanted ones where runs matter and gigantic pages are
 * not to be had: after the kernel's scattered leftovers come whole blocks.  At
 * most half of what would be idle, so that nobody runs out of memory over it.
 */
static size_t
run_spare(const struct linux_pool *lp, const struct arch_linux_config *cfg)
{
	vm_size_t pool = cfg->nframes * lp->lp_frame_size;
	vm_size_t idle = (vm_size_t)MAX(sysconf(_SC_AVPHYS_PAGES), 0)
			 << lp->lp_page_shift;

	if (!cfg->may_raise || !cfg->prefer_runs || idle <= pool)
		return 0;
	return MIN(2 * LINUX_GIGANTIC, (idle - pool) / 2) / lp->lp_frame_size;
}

/* How many frames to take at first.  What is too many is given back. */
static int
standby_raise(struct linux_pool *lp, const struct arch_linux_config *cfg,
    size_t spare, size_t *wantp)
{
	size_t came;

	if (!cfg->may_raise || !lp->lp_may_write_nr)
		return 0; /* what cannot be lowered again is not raised */
	came = cfg->prefer_runs ? sysfs_raise_runs(lp, -1, cfg->nframes) : 0;
	if (came >= cfg->nframes) {
		*wantp = came;
		return 0;
	}
	*wantp += spare;
	return sysfs_raise(lp, -1, *wantp);
}

static int
standby_fill(struct linux_pool *lp, const struct arch_linux_config *cfg,
    size_t want)
{
	size_t min = cfg->nframes_min > 0 ? cfg->nframes_min : cfg->nframes;
	struct arch_frame *frames;
	size_t n;
	int r;

	frames = lp->lp_sys->calloc(want, sizeof(*frames));
	if (frames == NULL)
		return -ENOMEM;
	r = standby_gather(lp, want, frames, &n);
	if (r == 0 && n < min)
		r = -ENOSPC;
	if (r == 0)
		r = standby_trim(lp, frames, n, MIN(n, cfg->nframes));
	free(frames);
	lp->lp_counts.total = MIN(n, cfg->nframes);
	lp->lp_counts.standby = lp->lp_counts.total;
	return r;
}

int
standby_open(struct linux_pool *lp, const struct arch_linux_config *cfg)
{
	size_t want = cfg->nframes + cfg->nframes * cfg->spare_percent / 100;
	size_t per = LINUX_GIGANTIC / lp->lp_frame_size;
	size_t spare = run_spare(lp, cfg);
	size_t most;
	int r;

	most = MAX(want + spare, roundup2(cfg->nframes, MAX(per, 1)));
	most = MAX(most, lp->lp_max) + LINUX_FOREIGN_MAX;
	most = roundup2(most, (size_t)LINUX_SHARDS);
	r = inventory_init(&lp->lp_inv, (uint32_t)most, lp->lp_frame_size);
	if (r == 0) {
		lp->lp_own = lp->lp_sys->calloc(most, sizeof(*lp->lp_own));
		r = lp->lp_own == NULL ? -ENOMEM : 0;
	}
	if (r == 0)
		r = standby_map(lp, most);
	if (r == 0)
		r = standby_raise(lp, cfg, spare, &want);
	if (r == 0)
		r = standby_probe(lp, cfg->without_addresses);
	if (r == 0)
		r = standby_fill(lp, cfg, want);
	return r;
}

void
standby_close(struct linux_pool *lp)
{
	for (uint32_t i = 0; lp->lp_own != NULL && i < lp->lp_inv.nslots; i++)
		own_close(lp, &lp->lp_own[i]);
	free(lp->lp_own);
	lp->lp_own = NULL;
	for (size_t i = 0; i < LINUX_SHARDS; i++) {
		if (lp->lp_map[i] != NULL)
			(void)lp->lp_sys->munmap(lp->lp_map[i],
			    lp->lp_map_size);
		if (lp->lp_standby[i] >= 0)
			(void)lp->lp_sys->close(lp->lp_standby[i]);
	}
	inventory_fini(&lp->lp_inv);
	sysfs_restore(lp);
}
