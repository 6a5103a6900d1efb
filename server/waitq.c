/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>

#include "core/kassert.h"
#include "server/log.h"
#include "server/tenant.h"
#include "server/waitq.h"

#define WAITQ_KEEP_MS 1000 /* longest that frames are kept for one waiter */
#define WAITQ_TURNS   64   /* requests served in one turn of the loop */

/* ---- Order ------------------------------------------------------- */

void
waitq_join(struct waitq *queue, struct waiter *waiter, bool patient)
{
	struct tenant *tenant = waiter->tenant;

	if (waiter->waiting)
		return;
	waiter->waiting = true;
	waiter->patient = patient;
	waiter->passed = 0;
	queue->n++;
	if (!patient) {
		TAILQ_INSERT_TAIL(&queue->hasty, waiter, entry);
		return;
	}
	if (TAILQ_EMPTY(&tenant->waiters))
		TAILQ_INSERT_TAIL(&queue->ring, tenant, ring);
	TAILQ_INSERT_TAIL(&tenant->waiters, waiter, entry);
}

void
waitq_leave(struct waitq *queue, struct waiter *waiter)
{
	struct tenant *tenant = waiter->tenant;

	if (!waiter->waiting)
		return;
	MPASS(queue->n > 0);
	waiter->waiting = false;
	queue->n--;
	if (!waiter->patient) {
		TAILQ_REMOVE(&queue->hasty, waiter, entry);
		return;
	}
	TAILQ_REMOVE(&tenant->waiters, waiter, entry);
	if (TAILQ_EMPTY(&tenant->waiters))
		TAILQ_REMOVE(&queue->ring, tenant, ring);
	if (queue->kept == waiter) {
		queue->kept = NULL;
		(void)evtimer_del(queue->timer);
	}
	/* The next of the tenant has its first chance; so has who was kept
	 * from something. */
	waitq_kick(queue);
}

bool
waitq_is_behind(const struct waiter *waiter)
{
	const struct waiter *first = TAILQ_FIRST(&waiter->tenant->waiters);

	return first != NULL && first != waiter;
}

/* ---- Keeping ----------------------------------------------------- */

/* Could any byte of [start, end) be part of what it waits for? */
static bool
waiter_wants(const struct waiter *waiter, vm_paddr_t start, vm_paddr_t end,
    int domain)
{
	const struct contig_req *req = waiter->req;

	if (start >= req->high || req->low >= end)
		return false;
	return waiter->domains != 0 ? (waiter->domains >> domain & 1) != 0
				    : req->domain < 0 || req->domain == domain;
}

bool
waitq_allows(const struct waitq *queue, const struct waiter *self,
    vm_paddr_t start, vm_paddr_t end, int domain)
{
	const struct waiter *kept = queue->kept;

	return kept == NULL || kept == self ||
	       !waiter_wants(kept, start, end, domain);
}

static void
waitq_keep(struct waitq *queue, struct waiter *waiter)
{
	static const struct timeval tv = {
	    .tv_sec = WAITQ_KEEP_MS / 1000,
	    .tv_usec = WAITQ_KEEP_MS % 1000 * 1000,
	};

	waiter->passed = 0;
	if (evtimer_add(queue->timer, &tv) == 0)
		queue->kept = waiter;
}

static void
waitq_keep_expired(evutil_socket_t fd, short what, void *arg)
{
	struct waitq *queue = arg;

	(void)fd;
	(void)what;
	queue->kept = NULL;
	waitq_kick(queue);
}

void
waitq_took(struct waitq *queue, const struct waiter *self, vm_paddr_t start,
    vm_paddr_t end, int domain)
{
	struct tenant *tenant;

	TAILQ_FOREACH (tenant, &queue->ring, ring) {
		struct waiter *first = TAILQ_FIRST(&tenant->waiters);

		if (first == self || !waiter_wants(first, start, end, domain))
			continue;
		first->passed += end - start;
		if (queue->kept == NULL && first->passed >= first->req->size)
			waitq_keep(queue, first);
	}
}

/* ---- Retrying ---------------------------------------------------- */

/* Serve one tenant's first waiter; false: nobody can be served. */
static bool
waitq_serve_one(struct waitq *queue)
{
	struct tenant *tenant;

	TAILQ_FOREACH (tenant, &queue->ring, ring) {
		struct waiter *first = TAILQ_FIRST(&tenant->waiters);

		if (first->retry(first))
			continue;
		/* Its tenant goes behind the others. */
		if (!TAILQ_EMPTY(&tenant->waiters)) {
			TAILQ_REMOVE(&queue->ring, tenant, ring);
			TAILQ_INSERT_TAIL(&queue->ring, tenant, ring);
		}
		return true;
	}
	return false;
}

/* Each once; those that wait again go to the end, until the next time. */
static void
waitq_serve_hasty(struct waitq *queue)
{
	struct waiter *waiter;
	size_t n = 0;

	TAILQ_FOREACH (waiter, &queue->hasty, entry)
		n++;
	for (; n > 0; n--) {
		waiter = TAILQ_FIRST(&queue->hasty);
		if (waiter == NULL)
			return;
		TAILQ_REMOVE(&queue->hasty, waiter, entry);
		TAILQ_INSERT_TAIL(&queue->hasty, waiter, entry);
		(void)waiter->retry(waiter);
	}
}

static void
waitq_run(evutil_socket_t fd, short what, void *arg)
{
	struct waitq *queue = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; waitq_serve_one(queue); i++) {
		if (i == WAITQ_TURNS) {
			waitq_kick(queue); /* requests want the loop too */
			return;
		}
	}
	waitq_serve_hasty(queue);
}

void
waitq_kick(struct waitq *queue)
{
	if (queue->n > 0)
		event_active(queue->kick, EV_TIMEOUT, 0);
}

/* ---- Life -------------------------------------------------------- */

int
waitq_init(struct waitq *queue, struct event_base *base)
{
	*queue = (struct waitq){0};
	TAILQ_INIT(&queue->ring);
	TAILQ_INIT(&queue->hasty);
	queue->kick = event_new(base, -1, 0, waitq_run, queue);
	queue->timer = evtimer_new(base, waitq_keep_expired, queue);
	if (queue->kick == NULL || queue->timer == NULL)
		return error_origin(-ENOMEM);
	return 0;
}

void
waitq_fini(struct waitq *queue)
{
	MPASS(queue->n == 0);
	if (queue->kick != NULL)
		event_free(queue->kick);
	if (queue->timer != NULL)
		event_free(queue->timer);
	queue->kick = queue->timer = NULL;
}
