/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOLDFAST_POOL_H
#define HOLDFAST_POOL_H

/*
 * The pool: changing it, checking it, device memory, memory that went bad.
 * The third part of <holdfast.h>, which includes this.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast;
struct holdfast_buf;
struct holdfast_run;

/* ---- For operators ------------------------------------------------------ */

/* An operator is uid 0, or whom the daemon's configuration names. */

enum holdfast_pool_action {
	HF_POOL_GROW = 1,      /* by `frames`, preferring long runs */
	HF_POOL_SHRINK = 2,    /* by `frames` that are free */
	HF_POOL_DRAIN = 3,     /* refuse every new allocation */
	HF_POOL_UNDRAIN = 4,   /* and no more */
	HF_POOL_REBALANCE = 5, /* free frames, until NUMA nodes have the same */
	HF_POOL_DEMOTE = 6,    /* take `frames` free big frames apart */
};

struct holdfast_pool_change {
	enum holdfast_pool_action action;
	uint64_t frames;
	bool big;   /* GROW, SHRINK: big frames */
	int domain; /* GROW, SHRINK: NUMA node, where domain_set */
	bool domain_set;
};
struct holdfast_pool_changed {
	uint64_t frames;      /* that came, went, have moved or fell apart */
	uint64_t nruns;       /* runs they make */
	uint64_t largest_run; /* bytes */
	/* The first 256 of them; malloc'ed; NULL where addresses are not told.
	 */
	struct holdfast_run *runs;
	size_t nruns_told;
};

/*
 * Change the pool, and wait until it is done; the change goes on if this call
 * times out.  Fewer frames than asked for are HF_OK, and `frames` says how
 * many.
 * HF_DENIED: not an operator, or beyond pool_max or pool_min.
 * HF_INVALID_ARGUMENT: no such action, frames or node.  HF_RESOURCE_SHORTAGE:
 * the kernel gave none.  HF_NO_POOL.
 */
int holdfast_pool_change(struct holdfast *h,
    const struct holdfast_pool_change *change,
    struct holdfast_pool_changed *changedp);

/* ---- Truth -------------------------------------------------------------- */

#define HF_BAD_SPANS_MAX 64

struct holdfast_bad_span {
	char tenant[64];
	uint64_t span;       /* its number within the tenant */
	uint64_t frames;     /* in it */
	uint64_t mismatches; /* frames that are not where they were */
	uint64_t poisoned;   /* frames whose memory went bad */
	uint64_t pa;         /* of the span; 0 where not told */
};
struct holdfast_verified {
	uint64_t spans, frames; /* read */
	uint64_t mismatches, poisoned;
	uint64_t unread; /* spans that could not be read, or went meanwhile */
	bool all;        /* of every tenant; otherwise of the caller's */
	struct holdfast_bad_span bad[HF_BAD_SPANS_MAX];
	size_t nbad;
	/* Of spans in stock, which are nobody's; not in the above. */
	uint64_t ready_spans, ready_frames;
	uint64_t ready_mismatches, ready_poisoned;
};

/*
 * Let the daemon read the address of every frame of every live span again: of
 * all for an operator, of the caller's tenant for others.  For an operator also
 * of what is in stock.
 * HF_RESOURCE_SHORTAGE: one is under way on this handle.  HF_NO_POOL.
 */
int holdfast_verify(struct holdfast *h, struct holdfast_verified *verifiedp);

/*
 * The memory under `size` bytes at `offset` of a buffer went bad: what was
 * there is lost, and touching it is a SIGBUS; the rest of the buffer is as it
 * was.  Free it when it can be spared, here too: the daemon never gives that
 * frame out again.  Called from holdfast_dispatch() only.
 */
typedef void holdfast_lost_fn(struct holdfast *h, struct holdfast_buf *buf,
    uint64_t offset, uint64_t size, void *arg);
/* Be told; `fn` NULL: no more.  Without it what the daemon tells is dropped. */
int holdfast_on_lost(struct holdfast *h, holdfast_lost_fn *fn, void *arg);

/*
 * The same of `size` bytes from `addr` on in a map of this handle: an entry of
 * superpages shows them.  holdfast_map_fault() there answers HF_FAILURE, and a
 * process that mirrors the map from now on has nothing mapped there.  Delete
 * the entry when the rest of it can be spared.
 */
struct holdfast_map;
typedef void holdfast_map_lost_fn(struct holdfast *h, struct holdfast_map *map,
    uint64_t addr, uint64_t size, void *arg);
int holdfast_on_map_lost(struct holdfast *h, holdfast_map_lost_fn *fn,
    void *arg);

/* ---- Device memory ------------------------------------------------------ */

/*
 * A buffer asked for with `device` whose process is gone without having freed
 * it: held, since a device may still write there.
 */
struct holdfast_quarantined {
	uint64_t id;
	uint64_t size;    /* bytes */
	uint64_t age_ms;  /* since its process went */
	uint64_t left_ms; /* until it is released by itself; 0: never */
	uint64_t pa;      /* 0 where not told */
	char tenant[64];
	char type[32]; /* malloc type */
};

/* All for an operator, the tenant's for others, in a malloc'ed array. */
int holdfast_quarantine(struct holdfast *h, struct holdfast_quarantined **heldp,
    size_t *np);
/*
 * Release one, or all (id 0); *np: how many.  For operators.
 * HF_DENIED.  HF_UNKNOWN_ID: there is none of that number.
 */
int holdfast_release(struct holdfast *h, uint64_t id, uint64_t *np);
/* Runs of frames that are held, ascending, in a malloc'ed array. */
int holdfast_quarantine_runs(struct holdfast *h, struct holdfast_run **runsp,
    size_t *np);

#ifdef __cplusplus
}
#endif

#endif
