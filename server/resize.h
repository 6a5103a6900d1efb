/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Changing the size of the pool at run time, one change after the other.
 *
 * The books change on the loop, the kernel's side on a worker: what shrinks
 * leaves the books first, what grows enters them with its event.  A change
 * that was asked for is carried out to its end, whoever asked.  Loop thread
 * only.  Design: docs/design/resize.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "server/pool.h"
#include "server/worker.h"

enum resize_kind {
	RESIZE_GROW,
	RESIZE_SHRINK,
	RESIZE_DEMOTE,    /* big frames into frames */
	RESIZE_REBALANCE, /* free frames, until NUMA nodes have the same */
};

struct resize {
	/* Filled in by the caller. */
	enum resize_kind kind;
	bool big;     /* GROW, SHRINK: big frames */
	int domain;   /* GROW, SHRINK: NUMA node; -1: any */
	size_t asked; /* frames, or big frames */
	/*
	 * Called once, when it is over; then the struct is the callee's.
	 * `done` frames came, went, were taken apart, or have moved; `runs` is
	 * where, merged and ascending.
	 */
	void (*ready)(struct resize *resize);
	void *owner; /* for `ready`; whoever leaves sets it to NULL */

	int r; /* 0, or the first -errno */
	size_t done;
	struct vm_phys_run *runs; /* freed by resize_free() */
	size_t nruns;

	/* Its own. */
	TAILQ_ENTRY(resize) entry;
	struct pool *pool;
	struct job job;
	enum resize_kind step;  /* of a REBALANCE: GROW, SHRINK */
	struct arch_grow grow;  /* of the job */
	size_t first, runs_max; /* runs of this step begin there */
	int from;               /* REBALANCE: the node that shrinks next */
	size_t came;            /* of the last step */
};

/*
 * Start it, or queue it.  On KERN_SUCCESS `ready` will be called, perhaps
 * before this returns; else it is as if nobody had asked:
 * KERN_INVALID_ARGUMENT: no such frames or node here.  REFUSED_DENIED: the
 * configuration does not allow that size.
 */
int resize_begin(struct pool *pool, struct resize *resize,
    struct answer *answer);
/* The struct and its runs.  NULL is fine. */
void resize_free(struct resize *resize);

/* From the pool: a frame came.  Those of the change under way are noted. */
void resize_gained(struct pool *pool, const struct arch_event *event);

/* What one step of a rebalance would do. */
struct resize_node {
	size_t total, free; /* frames */
};
/*
 * Pure: how many frames to move from which node to which, so that the largest
 * comes nearer to the smallest without passing the mean.  0: they are as equal
 * as free frames allow.  Nodes whose bit in `mask` is clear have no part.
 */
size_t resize_plan(const struct resize_node *nodes, uint64_t mask, int *fromp,
    int *top);
