/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What is tried before a request is refused for want of frames: call in what
 * tenants keep idle, dissolve ready-made spans, ask clients for the idle spans
 * of their caches, let the pool grow; each once a request, in this order.  A
 * request that waits patiently tries all of it again from time to time.  Loop
 * thread only.
 * Design: docs/design/stock.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "arch/arch.h"
#include "server/waitq.h"
#include "server/worker.h"

struct pool;
struct session;

struct reclaim_options {
	unsigned deadline_ms; /* for clients to answer; 0: they are not asked */
	bool grow;            /* the pool may grow for a request */
};

enum reclaim_step {
	RECLAIM_STOCK,
	RECLAIM_CLIENTS,
	RECLAIM_GROW,
	RECLAIM_NOTHING, /* all of it was tried */
};

/* How far one request is; zeroed: nothing tried. */
struct reclaim_try {
	const struct session *asker; /* is not asked itself; may be NULL */
	enum reclaim_step step;      /* the next one */
	unsigned epoch;
	/* Waits for what it set in motion. */
	bool hurries, dissolves, asks, grows;
	uint64_t until; /* so many spans came back: what it hurried, once */
};

/* In each session; zeroed: does not listen. */
struct reclaim_listener {
	TAILQ_ENTRY(reclaim_listener) entry;
	struct session *session;
	bool listens;
	bool asked;   /* and has not answered: is not asked again */
	bool awaited; /* somebody still waits for the answer */
};

struct reclaim {
	struct reclaim_options options;
	struct pool *pool;
	TAILQ_HEAD(reclaim_listener_list, reclaim_listener) listeners;
	size_t nawaited;     /* of them */
	struct event *timer; /* ends the asking */
	struct event *again; /* for those who wait patiently */
	unsigned epoch;      /* counts those times */
	struct job job;      /* growing */
	bool growing;
	struct arch_grow grow; /* of the job: wanted */
	int grown;             /* of the job: what came */
	uint64_t nasks, ngrown;
};

/* -errno.  Zeroed memory is fine for reclaim_fini(). */
int reclaim_init(struct reclaim *reclaim, struct pool *pool,
    struct event_base *base, const struct reclaim_options *options);
void reclaim_fini(struct reclaim *reclaim);

/*
 * A request found no frames (KERN_NO_SPACE) or no quota (REFUSED_QUOTA), `rv`:
 * go one step on.  `flags`: M_NOWAIT only dissolves and calls in, M_NORECLAIM
 * asks nobody.  true: something is on its way that may help, so wait for it.
 */
bool reclaim_begin(struct pool *pool, struct reclaim_try *attempt,
    const struct waiter *waiter, int rv, uint32_t flags);

/* A client announces that it has a cache to give back from, or no more. */
void reclaim_listen(struct reclaim *reclaim, struct session *session);
void reclaim_unlisten(struct reclaim *reclaim, struct session *session);
/* It has given back what it could. */
void reclaim_answered(struct reclaim *reclaim, struct session *session);
