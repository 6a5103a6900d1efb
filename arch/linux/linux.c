/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/linux/linux_int.h"
#include "arch/linux/meta.h"
#include "core/kassert.h"

/* One for the process: pools come and go, and share it. */
static struct linux_meta linux_metadata = LINUX_META_INIT;

static void *
linux_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return linux_meta_alloc(&linux_metadata, size);
}

static void
linux_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	linux_meta_free(&linux_metadata, p, size);
}

void
linux_pool_info(void *ctx, struct arch_pool_info *infop)
{
	struct linux_pool *lp = ctx;

	pthread_mutex_lock(&lp->lp_lock);
	*infop = (struct arch_pool_info){
	    .frame_size = lp->lp_frame_size,
	    .nstandby = lp->lp_counts.standby,
	    .nspans = lp->lp_nspans,
	    .nlimbo = lp->lp_nlimbo,
	    .nmissing = lp->lp_counts.missing,
	    .pin = lp->lp_pin,
	    .addresses_known = lp->lp_addresses,
	    .degraded = lp->lp_degraded,
	    .nodes = sysfs_nodes(lp),
	};
	pthread_mutex_unlock(&lp->lp_lock);
}

int
linux_pool_frames(void *ctx, struct arch_frame *frames, size_t max, size_t *np)
{
	struct linux_pool *lp = ctx;
	int r;

	pthread_mutex_lock(&lp->lp_lock);
	r = inventory_frames(&lp->lp_inv, frames, max, np);
	pthread_mutex_unlock(&lp->lp_lock);
	return r;
}

bool
linux_pool_event(void *ctx, struct arch_event *evp)
{
	struct linux_pool *lp = ctx;
	bool some;

	pthread_mutex_lock(&lp->lp_lock);
	some = events_pop_locked(lp, evp);
	pthread_mutex_unlock(&lp->lp_lock);
	return some;
}

static int
linux_base_file(void *ctx, vm_size_t size, int *fdp)
{
	if (size == 0 || size > INT64_MAX)
		return -EINVAL;
	return memfd_base(ctx, size, fdp);
}

static const struct arch_ops linux_ops = {
    .name = "linux",
    .alloc = linux_alloc,
    .free = linux_free,
    .pool_info = big_pool_info,
    .pool_frames = linux_pool_frames,
    .pool_event = big_pool_event,
    .pool_refill = big_pool_refill,
    .pool_big_frames = big_pool_frames,
    .pool_grow = big_pool_grow,
    .pool_shrink = big_pool_shrink,
    .pool_demote = big_pool_demote,
    .span_assemble = big_span_assemble,
    .span_info = linux_span_info,
    .span_verify = linux_span_verify,
    .span_check = linux_span_check,
    .span_zero = linux_span_zero,
    .span_recycle = linux_span_recycle,
    .base_file = linux_base_file,
};

static int
open_files(struct linux_pool *lp)
{
	const struct linux_sys *sys = lp->lp_sys;

	lp->lp_pagemap = sys->open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (lp->lp_pagemap == -EACCES)
		lp->lp_pagemap = -EPERM; /* hidden, and so says each read */
	if (lp->lp_pagemap < 0 && lp->lp_pagemap != -EPERM)
		return lp->lp_pagemap;
	lp->lp_zero = sys->open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (lp->lp_zero < 0)
		return lp->lp_zero;
	/* Only tells retired frames from withheld ones, so it may be absent. */
	lp->lp_kpageflags = sys->open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	return sysfs_open(lp);
}

/* What the pool lacks, in one sentence. */
static void
note_degraded(struct linux_pool *lp, const struct arch_linux_config *cfg)
{
	bool pinned = lp->lp_pin == ARCH_PIN_LONGTERM;

	if (!lp->lp_addresses && !pinned)
		lp->lp_degraded = "physical addresses are hidden (no "
				  "CAP_SYS_ADMIN) and frames cannot be pinned";
	else if (!lp->lp_addresses)
		lp->lp_degraded = "physical addresses are hidden: the pool was "
				  "opened without CAP_SYS_ADMIN";
	else if (!pinned && cfg->pin == ARCH_LINUX_PIN_NEVER)
		lp->lp_degraded = "frames are not pinned, as was asked for: "
				  "the kernel may move them";
	else if (!pinned)
		lp->lp_degraded = "frames are not pinned: io_uring is not to "
				  "be had, so the kernel may move them";
}

/* Tries, and how long each waits, for a kernel that unpins late. */
#define PROBE_TRIES   300
#define PROBE_WAIT_US 10000

/* Recycle the probe; a kernel that unpins late needs more than one try. */
static int
probe_recycle(struct linux_pool *lp, struct arch_span *span)
{
	int r = linux_span_recycle(lp, span);

	for (int i = 0; i < PROBE_TRIES && r == -EBUSY; i++) {
		usleep(PROBE_WAIT_US);
		r = linux_span_recycle(lp, span);
	}
	return r;
}

#define PROBE_TURNS 16

/* The whole life of a span of one frame, to see what spans can get. */
static int
probe_span_once(struct linux_pool *lp)
{
	struct arch_frame frame;
	struct arch_span *span;
	size_t n;
	int r;

	r = inventory_frames(&lp->lp_inv, &frame, 1, &n);
	if (r == 0)
		r = linux_span_assemble(lp, frame.pa, 1, &span);
	if (r < 0)
		return r;
	if (span->pin != ARCH_PIN_LONGTERM)
		lp->lp_pin = ARCH_PIN_NONE;
	return probe_recycle(lp, span);
}

/* A process that frees or takes pages just now may have the frame away. */
static int
probe_span(struct linux_pool *lp)
{
	int r = -EAGAIN;

	for (int i = 0; r == -EAGAIN && i < PROBE_TURNS; i++)
		r = probe_span_once(lp);
	return r;
}

static int
open_pins(struct linux_pool *lp, const struct arch_linux_config *cfg)
{
	struct arch_event event;
	int r = -EPERM;

	if (cfg->pin != ARCH_LINUX_PIN_NEVER)
		r = pins_init(lp, lp->lp_max);
	if (r == 0)
		lp->lp_pin = ARCH_PIN_LONGTERM;
	else if (cfg->pin == ARCH_LINUX_PIN_REQUIRE)
		return r;
	r = probe_span(lp);
	if (lp->lp_pin == ARCH_PIN_NONE)
		pins_fini(lp);
	/* Nobody has seen the inventory yet, so nothing has changed in it. */
	while (linux_pool_event(lp, &event))
		continue;
	return r;
}

static void
pool_free(struct linux_pool *lp)
{
	int fds[] = {lp->lp_pagemap, lp->lp_kpageflags, lp->lp_zero};

	span_close_all(lp);
	pins_fini(lp);
	standby_close(lp);
	sysfs_close(lp);
	for (size_t i = 0; i < nitems(fds); i++)
		if (fds[i] >= 0)
			(void)lp->lp_sys->close(fds[i]);
	free(lp->lp_events);
	pthread_mutex_destroy(&lp->lp_lock);
	order_fini(&lp->lp_order);
	team_fini(&lp->lp_team);
	pthread_mutex_destroy(&lp->lp_search);
	pthread_mutex_destroy(&lp->lp_resize);
	pthread_mutex_destroy(&lp->lp_pins.lock);
	pthread_mutex_destroy(&lp->lp_demote);
	free(lp);
}

static unsigned
helpers_of(const struct arch_linux_config *cfg)
{
	long ncpus;

	if (cfg->helpers == ARCH_LINUX_NO_HELPERS)
		return 0;
	if (cfg->helpers > 0)
		return cfg->helpers;
	ncpus = sysconf(_SC_NPROCESSORS_ONLN);
	return ncpus > 1 ? (unsigned)MIN(ncpus - 1, 3) : 0;
}

/* Frames it may ever have: those of big ones that are taken apart too. */
static size_t
frames_max(const struct arch_linux_config *cfg)
{
	size_t max = MAX(cfg->nframes, cfg->nframes_max);

	if (cfg->frame_size >= LINUX_GIGANTIC)
		return max;
	return max + MAX(cfg->nbig, cfg->nbig_max) * LINUX_PER_BIG(cfg);
}

static struct linux_pool *
pool_new(const struct arch_linux_config *cfg)
{
	const struct linux_sys *sys =
	    cfg->sys != NULL ? cfg->sys : &linux_sys_real;
	struct linux_pool *lp = sys->calloc(1, sizeof(*lp));

	if (lp == NULL)
		return NULL;
	lp->lp_sys = sys;
	lp->lp_frame_size =
	    cfg->frame_size != 0 ? cfg->frame_size : LINUX_FRAME;
	lp->lp_page_shift =
	    (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	lp->lp_node = cfg->node;
	lp->lp_pin_want = cfg->pin;
	lp->lp_max = frames_max(cfg);
	lp->lp_may_raise = cfg->may_raise;
	lp->lp_prefer_runs = cfg->prefer_runs;
	for (size_t i = 0; i < LINUX_SHARDS; i++)
		lp->lp_standby[i] = -1;
	lp->lp_pagemap = lp->lp_kpageflags = -1;
	lp->lp_zero = lp->lp_free_fd = -1;
	pthread_mutex_init(&lp->lp_lock, NULL);
	order_init(&lp->lp_order);
	team_init(&lp->lp_team, helpers_of(cfg));
	pthread_mutex_init(&lp->lp_search, NULL);
	pthread_mutex_init(&lp->lp_resize, NULL);
	pthread_mutex_init(&lp->lp_pins.lock, NULL);
	pthread_mutex_init(&lp->lp_demote, NULL);
	return lp;
}

static int
config_check(const struct arch_linux_config *cfg)
{
	if (cfg->nframes == 0 || cfg->nframes > UINT32_MAX / 8 ||
	    cfg->nframes_max > UINT32_MAX / 8 || cfg->spare_percent > 400)
		return -EINVAL;
	if (cfg->frame_size != 0 &&
	    (!powerof2(cfg->frame_size) || cfg->frame_size < 65536))
		return -EINVAL;
	if (cfg->nbig > UINT16_MAX || cfg->nbig_max > UINT16_MAX ||
	    (cfg->nbig > 0 && cfg->frame_size >= LINUX_GIGANTIC))
		return -EINVAL;
	return cfg->nframes_min > cfg->nframes ? -EINVAL : 0;
}

static int
pool_open(const struct arch_linux_config *cfg, struct linux_pool **lpp)
{
	struct linux_pool *lp;
	int r;

	lp = pool_new(cfg);
	if (lp == NULL)
		return -ENOMEM;
	lp->lp_numa = numa_has_nodes(lp);
	r = open_files(lp);
	if (r == 0)
		r = standby_open(lp, cfg);
	if (r == 0)
		r = open_pins(lp, cfg);
	if (r < 0) {
		pool_free(lp);
		return r;
	}
	*lpp = lp;
	return 0;
}

/*
 * Gigantic pages first: they are harder to get.  Without addresses no frame
 * could be told from one of the other size.
 */
static int
pool_open_big(const struct arch_linux_config *cfg, struct linux_pool **bigp)
{
	struct arch_linux_config big = {
	    .frame_size = LINUX_GIGANTIC,
	    .nframes = cfg->nbig,
	    .nframes_max = cfg->nbig_max,
	    .node = cfg->node,
	    .may_raise = cfg->may_raise,
	    .pin = cfg->pin,
	    .helpers = cfg->helpers,
	    .sys = cfg->sys,
	};

	return cfg->nbig == 0 ? 0 : pool_open(&big, bigp);
}

int
arch_linux_open(const struct arch_linux_config *cfg, struct arch *archp)
{
	struct linux_pool *big = NULL;
	struct linux_pool *lp;
	int r;

	r = config_check(cfg);
	if (r == 0)
		r = pool_open_big(cfg, &big);
	if (r < 0)
		return r;
	r = pool_open(cfg, &lp);
	if (r < 0) {
		if (big != NULL)
			pool_free(big);
		return r;
	}
	lp->lp_big = big;
	note_degraded(lp, cfg);
	*archp = (struct arch){&linux_ops, lp, arch_machine_host()};
	return 0;
}

void
arch_linux_close(struct arch *archp)
{
	struct linux_pool *lp = archp->ctx;
	struct linux_pool *big = lp->lp_big;

	MPASS(archp->ops == &linux_ops);
	/* In this order: gigantic pages that were taken apart can only be put
	 * together again once their frames are the kernel's. */
	pool_free(lp);
	if (big != NULL)
		pool_free(big);
	*archp = (struct arch){0};
}

void
arch_linux_counts(const struct arch *arch, struct arch_linux_counts *countsp)
{
	struct linux_pool *lp = arch->ctx;

	MPASS(arch->ops == &linux_ops);
	pthread_mutex_lock(&lp->lp_lock);
	*countsp = lp->lp_counts;
	pthread_mutex_unlock(&lp->lp_lock);
}

/* By node, as arch_linux_raised_nodes() has it.  false: it is being changed. */
static bool
pool_raised(struct linux_pool *lp, long long *raised)
{
	if (lp == NULL)
		return true;
	if (pthread_mutex_trylock(&lp->lp_resize) != 0)
		return false;
	for (size_t i = 0; i < lp->lp_nnodes; i++)
		raised[1 + lp->lp_nodes[i].id] += lp->lp_nodes[i].raised;
	pthread_mutex_unlock(&lp->lp_resize);
	return true;
}

bool
arch_linux_raised_nodes(const struct arch *arch,
    struct arch_linux_raised nodes[1 + ARCH_LINUX_NODES])
{
	struct linux_pool *lp = arch->ctx;
	long long frames[1 + ARCH_LINUX_NODES] = {0};
	long long big[1 + ARCH_LINUX_NODES] = {0};

	MPASS(arch->ops == &linux_ops);
	if (!pool_raised(lp, frames) || !pool_raised(lp->lp_big, big))
		return false;
	for (size_t i = 0; i <= ARCH_LINUX_NODES; i++)
		nodes[i] = (struct arch_linux_raised){frames[i], big[i]};
	return true;
}

bool
arch_linux_raised(const struct arch *arch, struct arch_linux_raised *raisedp)
{
	struct arch_linux_raised nodes[1 + ARCH_LINUX_NODES];
	struct arch_linux_raised sum = {0, 0};

	if (!arch_linux_raised_nodes(arch, nodes))
		return false;
	for (size_t i = 0; i <= ARCH_LINUX_NODES; i++) {
		sum.frames += nodes[i].frames;
		sum.big += nodes[i].big;
	}
	*raisedp = sum;
	return true;
}
