/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who waits for frames, and whose turn it is.
 *
 * Patient waiters (M_WAITOK) queue first in, first out within their tenant,
 * and tenants take turns.  Hasty ones wait only for what is known to be on its
 * way; they are asked last, and leave by themselves when nothing more comes.
 *
 * A large request must not be starved by small ones that take every frame as
 * it comes.  So each tenant's first waiter counts what others were given that
 * it could have had; when that is as much as it asked for, what fits it is
 * kept for it, for a second at most, and then the others have their turn.
 *
 * Retries run from an event of their own, never inside whoever gave memory
 * back.  Loop thread only.  Design: docs/design/stock.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/vm_phys.h"

struct event;
struct event_base;
struct tenant;

struct waiter {
	TAILQ_ENTRY(waiter) entry;
	struct tenant *tenant;
	const struct contig_req *req; /* borrowed; what it waits for */
	uint32_t domains;             /* of these any will do; 0: as req says */
	/*
	 * Try again.  true: it waits on.  false: it has left the queue, and
	 * may be gone.
	 */
	bool (*retry)(struct waiter *waiter);
	bool waiting, patient;
	vm_size_t passed; /* bytes others got that would have done for it */
};
TAILQ_HEAD(waiter_list, waiter);
TAILQ_HEAD(waitq_ring, tenant);

struct waitq {
	struct waitq_ring ring;   /* tenants with patient waiters, by turn */
	struct waiter_list hasty; /* in the order they came */
	size_t n;                 /* waiters */
	struct waiter *kept; /* the one that frames are kept for, or NULL */
	struct event *kick;  /* runs the retries */
	struct event *timer; /* ends the keeping */
};

/* -errno.  Zeroed memory is fine for waitq_fini(). */
int waitq_init(struct waitq *queue, struct event_base *base);
void waitq_fini(struct waitq *queue);

/* Wait behind those of its tenant; one that waits already keeps its place. */
void waitq_join(struct waitq *queue, struct waiter *waiter, bool patient);
/* Whether it waits or not. */
void waitq_leave(struct waitq *queue, struct waiter *waiter);

/* Something came back: let those whose turn it is try again, soon. */
void waitq_kick(struct waitq *queue);

/*
 * May a request take [start, end)?  `self` is its waiter, waiting or not.
 * false: it is kept for somebody who has waited longer.
 */
bool waitq_allows(const struct waitq *queue, const struct waiter *self,
    vm_paddr_t start, vm_paddr_t end, int domain);
/* A request took it. */
void waitq_took(struct waitq *queue, const struct waiter *self,
    vm_paddr_t start, vm_paddr_t end, int domain);

/* true: its tenant has others that wait patiently and came first. */
bool waitq_is_behind(const struct waiter *waiter);
