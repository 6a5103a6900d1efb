/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The invented machine.
 *
 * The inventory is one array of frames in ascending order of address, each in
 * one state.  A frame that goes away keeps its place in the array, so that a
 * daemon's later "give it back" finds something to compare with.
 *
 *	STANDBY --assemble--> SPAN --recycle--> STANDBY
 *	   |                    |
 *	   lose, tamper        tamper, then recycle
 *	   v                    v
 *	  GONE <----------------+
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/sim/sim.h"

#define FRAME_DEFAULT (UINT64_C(2) << 20)
#define ALLOC_ALIGN   64

enum frame_state {
	FRAME_STANDBY,
	FRAME_SPAN,
	FRAME_GONE,
	FRAME_BAD, /* gone for good */
};

struct frame {
	vm_paddr_t pa;
	int domain;
	enum frame_state state;
	bool big; /* part of a big one */
};

/* A frame of a span that is not where it should be. */
struct tamper {
	vm_paddr_t pa, now;
	bool poisoned;
	struct tamper *next;
};

struct arch_span {
	struct arch_span_info info;
	struct tamper *tampered;
	bool withheld, limbo;
	struct arch_span *next;
};

struct event_node {
	struct arch_event event;
	struct event_node *next;
};

/* Locks: (a) atomic, (c) constant after sim_create(), (l) `lock`. */
struct sim {
	struct arch arch;            /* (c) */
	struct arch_ops ops;         /* (c) */
	vm_size_t frame_size;        /* (c) bytes */
	vm_size_t big_size;          /* (c) bytes; 0: no big frames */
	size_t growth_max;           /* (l) of the next growth */
	bool memfd, addresses_known; /* (c) */
	enum arch_pin pin;           /* (c) */
	pthread_mutex_t lock;
	struct frame *frames;                   /* (l) ascending */
	size_t nframes, maxframes;              /* (l) */
	size_t nmissing;                        /* (l) lost less gained */
	struct arch_span *spans;                /* (l) */
	struct event_node *events;              /* (l) */
	struct event_node **events_tail;        /* (l) */
	int call_error[SIM_NCALLS];             /* (l) positive errno */
	unsigned call_times[SIM_NCALLS];        /* (l) */
	uint64_t ncalls[SIM_NCALLS];            /* (l) */
	atomic_uint delay_us;                   /* (a) */
	atomic_size_t live, live_bytes;         /* (a) */
	atomic_size_t max_bytes;                /* (a) */
	_Atomic uint64_t nasked, nfailed;       /* (a) */
	_Atomic uint64_t fail_first, fail_last; /* (a) 1-based, inclusive */
};

static struct sim *
sim_of(struct arch *arch)
{
	return arch->ctx;
}

/* Metadata. */

static void *
sim_alloc(void *ctx, size_t size)
{
	struct sim *sim = ctx;
	size_t rounded = roundup2(size, (size_t)ALLOC_ALIGN);
	size_t limit = atomic_load(&sim->max_bytes);
	void *p;

	if (limit != 0 && atomic_load(&sim->live_bytes) + size > limit)
		return NULL;
	p = aligned_alloc(ALLOC_ALIGN, rounded);
	if (p == NULL)
		return NULL;
	memset(p, 0, rounded);
	atomic_fetch_add(&sim->live, 1);
	atomic_fetch_add(&sim->live_bytes, size);
	return p;
}

static void
sim_free(void *ctx, void *p, size_t size)
{
	struct sim *sim = ctx;

	if (p == NULL)
		return;
	atomic_fetch_sub(&sim->live, 1);
	atomic_fetch_sub(&sim->live_bytes, size);
	free(p);
}

static bool
sim_inject(void *ctx)
{
	struct sim *sim = ctx;
	uint64_t n = atomic_fetch_add(&sim->nasked, 1) + 1;

	if (n < atomic_load(&sim->fail_first) ||
	    n > atomic_load(&sim->fail_last))
		return false;
	atomic_fetch_add(&sim->nfailed, 1);
	return true;
}

size_t
sim_live(struct arch *arch)
{
	return atomic_load(&sim_of(arch)->live);
}

size_t
sim_live_bytes(struct arch *arch)
{
	return atomic_load(&sim_of(arch)->live_bytes);
}

uint64_t
sim_nasked(struct arch *arch)
{
	return atomic_load(&sim_of(arch)->nasked);
}

uint64_t
sim_nfailed(struct arch *arch)
{
	return atomic_load(&sim_of(arch)->nfailed);
}

static void
sim_fail_range(struct sim *sim, uint64_t first, uint64_t last)
{
	atomic_store(&sim->fail_first, UINT64_MAX);
	atomic_store(&sim->nasked, 0);
	atomic_store(&sim->nfailed, 0);
	atomic_store(&sim->fail_last, last);
	atomic_store(&sim->fail_first, first);
}

void
sim_fail_nth(struct arch *arch, uint64_t n)
{
	sim_fail_range(sim_of(arch), n, n);
}

void
sim_fail_from(struct arch *arch, uint64_t n)
{
	sim_fail_range(sim_of(arch), n, UINT64_MAX);
}

void
sim_fail_never(struct arch *arch)
{
	sim_fail_range(sim_of(arch), UINT64_MAX, 0);
}

void
sim_limit_bytes(struct arch *arch, size_t bytes)
{
	atomic_store(&sim_of(arch)->max_bytes, bytes);
}

/* The inventory. */

/* Index of the first frame at or above `pa`. */
static size_t
frame_lower_bound(const struct sim *sim, vm_paddr_t pa)
{
	size_t low = 0, high = sim->nframes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sim->frames[middle].pa < pa)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct frame *
frame_find(struct sim *sim, vm_paddr_t pa)
{
	size_t i = frame_lower_bound(sim, pa);

	return i < sim->nframes && sim->frames[i].pa == pa ? &sim->frames[i]
							   : NULL;
}

static bool
frames_reserve(struct sim *sim, size_t n)
{
	struct frame *grown;
	size_t max = MAX(sim->maxframes * 2, n);

	if (n <= sim->maxframes)
		return true;
	grown = realloc(sim->frames, max * sizeof(*grown));
	if (grown == NULL)
		return false;
	sim->frames = grown;
	sim->maxframes = max;
	return true;
}

/* Put a new frame in its place; the caller has reserved room. */
static void
frame_insert(struct sim *sim, vm_paddr_t pa, int domain, bool big)
{
	size_t i = frame_lower_bound(sim, pa);
	struct frame *f = &sim->frames[i];

	memmove(f + 1, f, (sim->nframes - i) * sizeof(*f));
	*f = (struct frame){.pa = pa,
	    .domain = domain,
	    .state = FRAME_STANDBY,
	    .big = big};
	sim->nframes++;
}

static bool
frames_add_segment(struct sim *sim, const struct sim_segment *seg, bool big)
{
	vm_size_t grain = big ? sim->big_size : sim->frame_size;
	vm_paddr_t start = roundup2(seg->start, grain);
	vm_paddr_t end = rounddown2(seg->end, grain);

	if (start < seg->start || start >= end)
		return seg->start < seg->end;
	if (!frames_reserve(sim,
		sim->nframes + (size_t)((end - start) / sim->frame_size)))
		return false;
	for (vm_paddr_t pa = start; pa < end; pa += sim->frame_size) {
		if (frame_find(sim, pa) != NULL)
			return false;
		frame_insert(sim, pa, seg->domain, big);
	}
	return true;
}

/*
 * Queue an event.  Memory for it is the test process's own: without it nothing
 * could be reported, so there is no going on.
 */
static void
event_push(struct sim *sim, enum arch_event_kind kind, vm_paddr_t pa,
    int domain)
{
	struct event_node *node = calloc(1, sizeof(*node));

	if (node == NULL)
		abort();
	node->event.kind = kind;
	node->event.frame = (struct arch_frame){.pa = pa, .domain = domain};
	node->event.size = sim->frame_size;
	*sim->events_tail = node;
	sim->events_tail = &node->next;
}

static bool
sim_pool_event(void *ctx, struct arch_event *evp)
{
	struct sim *sim = ctx;
	struct event_node *node;

	pthread_mutex_lock(&sim->lock);
	node = sim->events;
	if (node != NULL) {
		*evp = node->event;
		sim->events = node->next;
		if (sim->events == NULL)
			sim->events_tail = &sim->events;
	}
	pthread_mutex_unlock(&sim->lock);
	free(node);
	return node != NULL;
}

static bool
frame_lose(struct sim *sim, vm_paddr_t pa)
{
	struct frame *f = frame_find(sim, pa);

	if (f == NULL || f->state != FRAME_STANDBY)
		return false;
	f->state = FRAME_GONE;
	sim->nmissing++;
	event_push(sim, ARCH_FRAME_LOST, pa, f->domain);
	return true;
}

static bool
frame_gain(struct sim *sim, vm_paddr_t pa, int domain)
{
	struct frame *f = frame_find(sim, pa);

	if (pa % sim->frame_size != 0 ||
	    (f != NULL && f->state != FRAME_GONE) ||
	    !frames_reserve(sim, sim->nframes + 1))
		return false;
	f = frame_find(sim, pa); /* reserving may have moved it */
	if (f == NULL)
		frame_insert(sim, pa, domain, false);
	else
		*f = (struct frame){.pa = pa, .domain = domain};
	if (sim->nmissing > 0)
		sim->nmissing--;
	event_push(sim, ARCH_FRAME_GAINED, pa, domain);
	return true;
}

bool
sim_lose_frame(struct arch *arch, vm_paddr_t pa)
{
	struct sim *sim = sim_of(arch);
	bool done;

	pthread_mutex_lock(&sim->lock);
	done = frame_lose(sim, pa);
	pthread_mutex_unlock(&sim->lock);
	return done;
}

bool
sim_gain_frame(struct arch *arch, vm_paddr_t pa, int domain)
{
	struct sim *sim = sim_of(arch);
	bool done;

	pthread_mutex_lock(&sim->lock);
	done = frame_gain(sim, pa, domain);
	pthread_mutex_unlock(&sim->lock);
	return done;
}

static void
sim_pool_info(void *ctx, struct arch_pool_info *infop)
{
	struct sim *sim = ctx;

	*infop = (struct arch_pool_info){
	    .frame_size = sim->frame_size,
	    .pin = sim->pin,
	    .addresses_known = sim->addresses_known,
	    .simulated = true,
	    .degraded = "the machine is simulated: addresses are invented",
	    .big_size = sim->big_size,
	};
	size_t nbig = 0;

	pthread_mutex_lock(&sim->lock);
	for (size_t i = 0; i < sim->nframes; i++) {
		bool free = sim->frames[i].state == FRAME_STANDBY;

		infop->nodes |= UINT64_C(1) << (sim->frames[i].domain % 64);
		nbig += free && sim->frames[i].big;
		infop->nstandby += free && !sim->frames[i].big;
	}
	if (nbig > 0)
		infop->nbig = nbig / (sim->big_size / sim->frame_size);
	for (struct arch_span *span = sim->spans; span; span = span->next) {
		infop->nspans++;
		infop->nlimbo += span->limbo;
	}
	infop->nmissing = sim->nmissing;
	pthread_mutex_unlock(&sim->lock);
}

/* The error that this call was told to give, as -errno, or 0.  Locked. */
static int
call_begin(struct sim *sim, enum sim_call call)
{
	sim->ncalls[call]++;
	if (sim->call_times[call] == 0)
		return 0;
	sim->call_times[call]--;
	return -sim->call_error[call];
}

/* Frames that nobody owns, or the first one of each such big frame. */
static int
frames_list(struct sim *sim, bool big, struct arch_frame *frames, size_t max,
    size_t *np)
{
	size_t n = 0;
	int r;

	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_POOL_FRAMES);
	for (size_t i = 0; r == 0 && i < sim->nframes; i++) {
		const struct frame *f = &sim->frames[i];

		if (f->state != FRAME_STANDBY || f->big != big ||
		    (big && f->pa % sim->big_size != 0))
			continue;
		if (n < max)
			frames[n] = (struct arch_frame){
			    .pa = f->pa,
			    .domain = f->domain,
			};
		n++;
	}
	pthread_mutex_unlock(&sim->lock);
	if (r == 0)
		*np = n;
	return r;
}

static int
sim_pool_frames(void *ctx, struct arch_frame *frames, size_t max, size_t *np)
{
	return frames_list(ctx, false, frames, max, np);
}

static int
sim_pool_big_frames(void *ctx, struct arch_frame *frames, size_t max,
    size_t *np)
{
	return frames_list(ctx, true, frames, max, np);
}

static void
sim_dawdle(struct sim *sim)
{
	unsigned delay_us = atomic_load(&sim->delay_us);

	if (delay_us != 0)
		(void)usleep(delay_us); /* a signal only shortens the delay */
}

/* What went away comes back, the lowest first. */
static int
sim_pool_refill(void *ctx)
{
	struct sim *sim = ctx;
	int r, n = 0;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_REFILL);
	for (size_t i = 0; r == 0 && i < sim->nframes; i++) {
		struct frame *f = &sim->frames[i];

		if (sim->nmissing > 0 && f->state == FRAME_GONE)
			n += frame_gain(sim, f->pa, f->domain);
	}
	pthread_mutex_unlock(&sim->lock);
	return r < 0 ? r : n;
}

/* New frames lie above every other one. */
static int
sim_pool_grow(void *ctx, const struct arch_grow *grow)
{
	struct sim *sim = ctx;
	vm_paddr_t pa = 0;
	size_t n;
	int r;

	if (grow->frame_size != 0 && grow->frame_size != sim->frame_size)
		return -EINVAL;
	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_GROW);
	n = MIN(grow->nframes, sim->growth_max);
	sim->growth_max = SIZE_MAX;
	if (r == 0 && !frames_reserve(sim, sim->nframes + n))
		r = -ENOMEM;
	if (sim->nframes > 0)
		pa = sim->frames[sim->nframes - 1].pa + sim->frame_size;
	for (size_t i = 0; r >= 0 && i < n; i++, pa += sim->frame_size, r++) {
		frame_insert(sim, pa, MAX(grow->node, 0), false);
		event_push(sim, ARCH_FRAME_GAINED, pa, MAX(grow->node, 0));
		((struct event_node *)((char *)sim->events_tail -
				       offsetof(struct event_node, next)))
		    ->event.grown = true;
	}
	pthread_mutex_unlock(&sim->lock);
	return r;
}

void
sim_limit_growth(struct arch *arch, size_t nframes)
{
	struct sim *sim = sim_of(arch);

	pthread_mutex_lock(&sim->lock);
	sim->growth_max = nframes;
	pthread_mutex_unlock(&sim->lock);
}

static bool frames_standby(struct sim *sim, vm_paddr_t pa, size_t nframes);

static int
sim_pool_shrink(void *ctx, vm_paddr_t pa, size_t nframes)
{
	struct sim *sim = ctx;
	size_t first;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_SHRINK);
	if (r == 0 && nframes > 0 && !frames_standby(sim, pa, nframes))
		r = -ENOENT;
	if (r == 0 && nframes > 0) {
		first = frame_lower_bound(sim, pa);
		memmove(&sim->frames[first], &sim->frames[first + nframes],
		    (sim->nframes - first - nframes) * sizeof(struct frame));
		sim->nframes -= nframes;
	}
	pthread_mutex_unlock(&sim->lock);
	return r;
}

/* The big frame around `pa` is one no more. */
static void
big_split(struct sim *sim, vm_paddr_t pa)
{
	vm_paddr_t start = rounddown2(pa, sim->big_size);

	for (pa = start; pa < start + sim->big_size; pa += sim->frame_size)
		frame_find(sim, pa)->big = false;
}

static int
sim_pool_demote(void *ctx, vm_paddr_t pa)
{
	struct sim *sim = ctx;
	struct frame *f;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_DEMOTE);
	f = frame_find(sim, pa);
	if (r == 0 && (f == NULL || !f->big || f->state != FRAME_STANDBY ||
			  pa % sim->big_size != 0))
		r = -ENOENT;
	if (r == 0)
		big_split(sim, pa);
	pthread_mutex_unlock(&sim->lock);
	return r;
}

/* Spans. */

static struct arch_span *
span_of_frame(struct sim *sim, vm_paddr_t pa)
{
	for (struct arch_span *span = sim->spans; span; span = span->next)
		if (pa >= span->info.pa &&
		    pa - span->info.pa <
			span->info.nframes * span->info.frame_size)
			return span;
	return NULL;
}

static vm_size_t
span_size(const struct arch_span *span)
{
	return span->info.nframes * span->info.frame_size;
}

static void
span_free(struct arch_span *span)
{
	struct tamper *t;

	while ((t = span->tampered) != NULL) {
		span->tampered = t->next;
		free(t);
	}
	if (span->info.fd >= 0)
		(void)close(span->info.fd); /* nothing is written back */
	free(span);
}

/* A file whose seals can still be set: the span is revoked with them. */
static int
span_open(struct sim *sim, struct arch_span *span)
{
	int fd;

	if (!sim->memfd)
		return 0;
	fd = memfd_create("holdfast-sim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	span->info.fd = fd;
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)span_size(span)) < 0)
		return -errno;
	return 0;
}

/* Whole big frames stay so; others in the range are taken apart. */
static vm_size_t
frames_unite(struct sim *sim, vm_paddr_t pa, size_t nframes)
{
	vm_paddr_t end = pa + nframes * sim->frame_size;
	bool whole = sim->big_size != 0 && pa % sim->big_size == 0 &&
		     end % sim->big_size == 0;

	for (vm_paddr_t at = pa; whole && at < end; at += sim->frame_size)
		whole = frame_find(sim, at)->big;
	for (vm_paddr_t at = pa; !whole && at < end; at += sim->frame_size)
		if (frame_find(sim, at)->big)
			big_split(sim, at);
	return whole ? sim->big_size : sim->frame_size;
}

static int
span_new(struct sim *sim, vm_paddr_t pa, size_t nframes,
    struct arch_span **spanp)
{
	struct arch_span *span = calloc(1, sizeof(*span));
	vm_size_t size = frames_unite(sim, pa, nframes);
	int r;

	if (span == NULL)
		return -ENOMEM;
	span->info = (struct arch_span_info){
	    .fd = -1,
	    .frame_size = size,
	    .nframes = nframes * sim->frame_size / size,
	    .pa = pa,
	    .pin = sim->pin,
	    .verified = sim->addresses_known,
	};
	r = span_open(sim, span);
	if (r < 0) {
		span_free(span);
		return r;
	}
	*spanp = span;
	return 0;
}

/* The frames [pa, ...) are all there and in the standby. */
static bool
frames_standby(struct sim *sim, vm_paddr_t pa, size_t nframes)
{
	for (size_t i = 0; i < nframes; i++) {
		struct frame *f = frame_find(sim, pa + i * sim->frame_size);

		if (f == NULL || f->state != FRAME_STANDBY)
			return false;
	}
	return nframes > 0;
}

static int
sim_span_assemble(void *ctx, vm_paddr_t pa, size_t nframes,
    struct arch_span **spanp)
{
	struct sim *sim = ctx;
	struct arch_span *span = NULL;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_ASSEMBLE);
	if (r == 0 && !frames_standby(sim, pa, nframes))
		r = -ENOENT;
	if (r == 0)
		r = span_new(sim, pa, nframes, &span);
	if (r == 0) {
		for (size_t i = 0; i < nframes; i++)
			frame_find(sim, pa + i * sim->frame_size)->state =
			    FRAME_SPAN;
		span->info.domain = frame_find(sim, pa)->domain;
		span->next = sim->spans;
		sim->spans = span;
		*spanp = span;
	}
	pthread_mutex_unlock(&sim->lock);
	return r;
}

static void
sim_span_info(void *ctx, struct arch_span *span, struct arch_span_info *infop)
{
	struct sim *sim = ctx;

	pthread_mutex_lock(&sim->lock);
	*infop = span->info;
	pthread_mutex_unlock(&sim->lock);
}

/* Bytes that the span's file still has; a holder may have truncated it. */
static vm_size_t
span_present(const struct arch_span *span)
{
	struct stat st;

	if (span->info.fd < 0)
		return span->limbo ? 0 : span_size(span);
	if (fstat(span->info.fd, &st) < 0)
		return 0;
	return (vm_size_t)st.st_size;
}

static int
sim_span_verify(void *ctx, struct arch_span *span, size_t *nbadp)
{
	struct sim *sim = ctx;
	size_t nbad = 0;
	vm_size_t present;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_VERIFY);
	present = rounddown2(span_present(span), span->info.frame_size);
	if (present < span_size(span))
		nbad += (size_t)((span_size(span) - present) /
				 span->info.frame_size);
	for (struct tamper *t = span->tampered; t != NULL; t = t->next)
		nbad += t->pa - span->info.pa < present;
	pthread_mutex_unlock(&sim->lock);
	if (r == 0)
		*nbadp = nbad;
	return r;
}

static int
sim_span_check(void *ctx, struct arch_span *span, size_t first, size_t n,
    unsigned char *states)
{
	struct sim *sim = ctx;
	vm_size_t size = span->info.frame_size;
	vm_size_t present;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_VERIFY);
	if (r == 0 && span->limbo)
		r = -ESTALE;
	present = span_present(span);
	for (size_t i = 0; i < n; i++)
		states[i] = (first + i + 1) * size <= present
				? ARCH_FRAME_SOUND
				: ARCH_FRAME_ELSEWHERE;
	for (struct tamper *t = span->tampered; t != NULL; t = t->next) {
		size_t i = (size_t)((t->pa - span->info.pa) / size);

		if (i >= first && i - first < n)
			states[i - first] = t->poisoned ? ARCH_FRAME_POISONED
							: ARCH_FRAME_ELSEWHERE;
	}
	pthread_mutex_unlock(&sim->lock);
	return r;
}

static int
sim_span_zero(void *ctx, struct arch_span *span, vm_size_t off, vm_size_t len)
{
	struct sim *sim = ctx;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_ZERO);
	if (r == 0 && (off > span_size(span) || len > span_size(span) - off))
		r = -EINVAL;
	else if (r == 0 && span_present(span) < off + len)
		r = -EFAULT;
	/* A hole in a file of ordinary pages reads as zeroes. */
	else if (r == 0 && len > 0 && span->info.fd >= 0 &&
		 fallocate(span->info.fd,
		     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
		     (off_t)len) < 0)
		r = -errno;
	pthread_mutex_unlock(&sim->lock);
	return r;
}

/* Take the memory away from whoever still maps it. */
static void
span_revoke(struct arch_span *span)
{
	span->info.pin = ARCH_PIN_NONE;
	if (span->info.fd < 0)
		return;
	/* Fails where the holder sealed it first; then there is nothing more
	 * that can be taken. */
	(void)fcntl(span->info.fd, F_ADD_SEALS,
	    F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SEAL);
	(void)!ftruncate(span->info.fd, 0);
}

/* Give the frames back, and tell of those that came back as others. */
static void
span_return_frames(struct sim *sim, struct arch_span *span)
{
	for (vm_size_t at = 0; at < span_size(span); at += sim->frame_size)
		frame_find(sim, span->info.pa + at)->state = FRAME_STANDBY;
	for (struct tamper *t = span->tampered; t != NULL; t = t->next) {
		int domain = frame_find(sim, t->pa)->domain;

		if (!t->poisoned)
			event_push(sim, ARCH_SPAN_CHANGED, t->pa, domain);
		(void)frame_lose(sim, t->pa); /* it is in the standby */
		if (t->poisoned)
			frame_find(sim, t->pa)->state = FRAME_BAD;
		if (t->now != SIM_NO_FRAME)
			(void)frame_gain(sim, t->now, domain);
	}
}

static void
span_unlink(struct sim *sim, struct arch_span *span)
{
	struct arch_span **linkp = &sim->spans;

	while (*linkp != span)
		linkp = &(*linkp)->next;
	*linkp = span->next;
}

static int
sim_span_recycle(void *ctx, struct arch_span *span)
{
	struct sim *sim = ctx;
	int r;

	sim_dawdle(sim);
	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_RECYCLE);
	if (r == 0 && span->withheld)
		r = -EBUSY;
	if (r == 0 || r == -EBUSY)
		span_revoke(span);
	if (r == -EBUSY)
		span->limbo = true;
	if (r == 0) {
		span_return_frames(sim, span);
		span_unlink(sim, span);
	}
	pthread_mutex_unlock(&sim->lock);
	if (r == 0)
		span_free(span);
	return r;
}

static int
sim_base_file(void *ctx, vm_size_t size, int *fdp)
{
	struct sim *sim = ctx;
	int fd, r;

	pthread_mutex_lock(&sim->lock);
	r = call_begin(sim, SIM_BASE_FILE);
	pthread_mutex_unlock(&sim->lock);
	if (r < 0)
		return r;
	if (size > INT64_MAX)
		return -EFBIG;
	fd = memfd_create("holdfast-base", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
		0) {
		r = -errno;
		(void)close(fd); /* nothing is in it */
		return r;
	}
	*fdp = fd;
	return 0;
}

/* What a test can make happen. */

void
sim_fail_call(struct arch *arch, enum sim_call call, int error, unsigned times)
{
	struct sim *sim = sim_of(arch);

	pthread_mutex_lock(&sim->lock);
	sim->call_error[call] = error;
	sim->call_times[call] = times;
	pthread_mutex_unlock(&sim->lock);
}

uint64_t
sim_ncalls(struct arch *arch, enum sim_call call)
{
	struct sim *sim = sim_of(arch);
	uint64_t n;

	pthread_mutex_lock(&sim->lock);
	n = sim->ncalls[call];
	pthread_mutex_unlock(&sim->lock);
	return n;
}

void
sim_delay_us(struct arch *arch, unsigned delay_us)
{
	atomic_store(&sim_of(arch)->delay_us, delay_us);
}

struct arch_span *
sim_span_at(struct arch *arch, vm_paddr_t pa)
{
	struct sim *sim = sim_of(arch);
	struct arch_span *span;

	pthread_mutex_lock(&sim->lock);
	span = span_of_frame(sim, pa);
	pthread_mutex_unlock(&sim->lock);
	return span;
}

void
sim_withhold(struct arch *arch, struct arch_span *span, bool withheld)
{
	struct sim *sim = sim_of(arch);

	pthread_mutex_lock(&sim->lock);
	span->withheld = withheld;
	pthread_mutex_unlock(&sim->lock);
}

static bool
span_tampered_at(const struct arch_span *span, vm_paddr_t pa)
{
	for (struct tamper *t = span->tampered; t != NULL; t = t->next)
		if (t->pa == pa)
			return true;
	return false;
}

/* `now` is nowhere yet, neither in the inventory nor in a tampered span. */
static bool
address_unused(struct sim *sim, vm_paddr_t now)
{
	struct frame *f = frame_find(sim, now);

	if (now % sim->frame_size != 0 || (f != NULL && f->state != FRAME_GONE))
		return false;
	for (struct arch_span *span = sim->spans; span; span = span->next)
		for (struct tamper *t = span->tampered; t; t = t->next)
			if (t->now == now)
				return false;
	return true;
}

static bool
span_tamper(struct arch *arch, vm_paddr_t pa, vm_paddr_t now, bool poisoned)
{
	struct sim *sim = sim_of(arch);
	struct tamper *t = calloc(1, sizeof(*t));
	struct arch_span *span;
	bool done = false;

	if (t == NULL)
		return false;
	pthread_mutex_lock(&sim->lock);
	span = span_of_frame(sim, pa);
	if (span != NULL && pa % sim->frame_size == 0 &&
	    !span_tampered_at(span, pa) &&
	    (now == SIM_NO_FRAME || address_unused(sim, now))) {
		*t = (struct tamper){pa, now, poisoned, span->tampered};
		span->tampered = t;
		done = true;
	}
	pthread_mutex_unlock(&sim->lock);
	if (!done)
		free(t);
	return done;
}

bool
sim_tamper(struct arch *arch, vm_paddr_t pa, vm_paddr_t now)
{
	return span_tamper(arch, pa, now, false);
}

bool
sim_poison(struct arch *arch, vm_paddr_t pa)
{
	return span_tamper(arch, pa, SIM_NO_FRAME, true);
}

/* Life. */

static const struct arch_ops sim_ops = {
    .name = "sim",
    .alloc = sim_alloc,
    .free = sim_free,
    .inject = sim_inject,
    .pool_info = sim_pool_info,
    .pool_frames = sim_pool_frames,
    .pool_event = sim_pool_event,
    .pool_refill = sim_pool_refill,
    .pool_big_frames = sim_pool_big_frames,
    .pool_grow = sim_pool_grow,
    .pool_shrink = sim_pool_shrink,
    .pool_demote = sim_pool_demote,
    .span_assemble = sim_span_assemble,
    .span_info = sim_span_info,
    .span_verify = sim_span_verify,
    .span_check = sim_span_check,
    .span_zero = sim_span_zero,
    .span_recycle = sim_span_recycle,
    .base_file = sim_base_file,
};

static bool
sim_init(struct sim *sim, const struct sim_options *options)
{
	const char *name = options->machine ? options->machine : "x86_64";

	sim->ops = sim_ops;
	if (options->no_inject)
		sim->ops.inject = NULL;
	sim->arch.ops = &sim->ops;
	sim->arch.ctx = sim;
	sim->arch.machine = arch_machine_find(name, options->page_size);
	sim->frame_size =
	    options->frame_size ? options->frame_size : FRAME_DEFAULT;
	sim->big_size = options->big_size;
	sim->growth_max = SIZE_MAX;
	sim->memfd = options->memfd;
	sim->addresses_known = !options->no_address;
	sim->pin = options->pin;
	sim->events_tail = &sim->events;
	sim_fail_range(sim, UINT64_MAX, 0);
	if (sim->arch.machine == NULL || !powerof2(sim->frame_size))
		return false;
	for (size_t i = 0; i < options->nsegments; i++)
		if (!frames_add_segment(sim, &options->segments[i], false))
			return false;
	for (size_t i = 0; i < options->nbig_segments; i++)
		if (!frames_add_segment(sim, &options->big_segments[i], true))
			return false;
	return true;
}

struct arch *
sim_create(const struct sim_options *options)
{
	static const struct sim_options none;
	struct sim *sim = calloc(1, sizeof(*sim));

	if (sim == NULL)
		return NULL;
	if (pthread_mutex_init(&sim->lock, NULL) != 0) {
		free(sim);
		return NULL;
	}
	if (!sim_init(sim, options != NULL ? options : &none)) {
		sim_destroy(&sim->arch);
		return NULL;
	}
	return &sim->arch;
}

void
sim_destroy(struct arch *arch)
{
	struct sim *sim;
	struct arch_event ev;

	if (arch == NULL)
		return;
	sim = sim_of(arch);
	for (struct arch_span *span; (span = sim->spans) != NULL;) {
		sim->spans = span->next;
		span_free(span);
	}
	while (sim_pool_event(sim, &ev))
		;
	pthread_mutex_destroy(&sim->lock);
	free(sim->frames);
	free(sim);
}
