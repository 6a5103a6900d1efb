/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The host's pool: the books over every frame that the daemon holds.
 *
 * A vm_phys at page grain whose allocated parts are whole frames: what is free
 * in it is in the standby, what is not belongs to a span.  Frames come and go
 * on their own; the back end's events tell, and are applied here as soon as
 * the books allow.  Loop thread only.  Design: docs/design/server.md.
 */

#include <stdbool.h>
#include <sys/queue.h>

#include "arch/arch.h"
#include "core/vm_phys.h"
#include "server/reclaim.h"
#include "server/status.h"
#include "server/stock.h"
#include "server/waitq.h"

struct event;
struct event_base;
struct span;
struct workers;

struct pool {
	const struct arch *arch;
	struct workers *workers;
	struct vm_phys *phys; /* NULL: no pool */
	vm_size_t frame_size; /* bytes; 0: no pool */
	TAILQ_HEAD(span_list, span) limbo;
	struct span_list stuck; /* no memory to take them from an arena */
	struct event *limbo_timer;
	unsigned limbo_ms;  /* until the next try */
	struct waitq waitq; /* who waits for frames */
	struct stock stock; /* ready-made spans */
	struct reclaim reclaim;
	size_t nspans;     /* of tenants, whatever their state */
	size_t nrecycling; /* on a worker, on their way back */
	size_t nlimbo_frames;
	struct arch_event *late; /* events that the books do not allow yet */
	size_t nlate, late_max;
	bool closing; /* spans in limbo are not retried for ever */
};

/* Take stock of the standby.  -errno. */
int pool_init(struct pool *pool, const struct arch *arch,
    struct workers *workers, struct event_base *base);
/* Every span is gone or in limbo.  Zeroed memory is fine. */
void pool_fini(struct pool *pool);

/* Apply what the back end has to tell. */
void pool_drain_events(struct pool *pool);

/*
 * Take the whole frames around a run that satisfies `req`: [*startp, *endp).
 * KERN_NO_SPACE: there is no such run.  KERN_RESOURCE_SHORTAGE.
 */
int pool_take(struct pool *pool, const struct contig_req *req,
    vm_paddr_t *startp, vm_paddr_t *endp, int *domainp);
/* Give whole frames back. */
void pool_give(struct pool *pool, vm_paddr_t start, vm_paddr_t end);

/* Say why pool_take() found nothing.  Names addresses only if `tell`. */
int pool_refuse(struct pool *pool, const struct contig_req *req, bool tell,
    struct answer *answer);

/* Frames may have come: let those who wait try again, soon. */
void pool_wake(struct pool *pool);
