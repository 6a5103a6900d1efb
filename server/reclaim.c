/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>

#include "core/kassert.h"
#include "server/log.h"
#include "server/reclaim.h"
#include "server/session.h"
#include "server/span.h"

#define RECLAIM_AGAIN_MS 1000

static void
reclaim_arm(struct event *timer, unsigned ms)
{
	const struct timeval tv = {
	    .tv_sec = ms / 1000,
	    .tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};

	if (evtimer_add(timer, &tv) < 0)
		log_error("reclaim_timer", "text=\"cannot be set\"");
}

/* ---- Clients ----------------------------------------------------- */

void
reclaim_listen(struct reclaim *reclaim, struct session *session)
{
	struct reclaim_listener *listener = &session->reclaim;

	if (listener->listens)
		return;
	listener->session = session;
	listener->listens = true;
	listener->asked = listener->awaited = false;
	TAILQ_INSERT_TAIL(&reclaim->listeners, listener, entry);
}

/* The last answer ends the asking. */
static void
reclaim_heard(struct reclaim *reclaim, struct reclaim_listener *listener)
{
	listener->asked = false;
	if (!listener->awaited)
		return;
	listener->awaited = false;
	MPASS(reclaim->nawaited > 0);
	if (--reclaim->nawaited > 0)
		return;
	(void)evtimer_del(reclaim->timer);
	pool_wake(reclaim->pool);
}

void
reclaim_answered(struct reclaim *reclaim, struct session *session)
{
	reclaim_heard(reclaim, &session->reclaim);
}

void
reclaim_unlisten(struct reclaim *reclaim, struct session *session)
{
	struct reclaim_listener *listener = &session->reclaim;

	if (!listener->listens)
		return;
	reclaim_heard(reclaim, listener);
	listener->listens = false;
	TAILQ_REMOVE(&reclaim->listeners, listener, entry);
}

/* Who has not answered by now will not be waited for. */
static void
reclaim_expired(evutil_socket_t fd, short what, void *arg)
{
	struct reclaim *reclaim = arg;
	struct reclaim_listener *listener;

	(void)fd;
	(void)what;
	log_info("reclaim_unanswered", "sessions=%zu", reclaim->nawaited);
	TAILQ_FOREACH (listener, &reclaim->listeners, entry)
		listener->awaited = false;
	reclaim->nawaited = 0;
	pool_wake(reclaim->pool);
}

/* Ask all who listen, or those of one tenant.  false: there is nobody. */
static bool
reclaim_ask(struct reclaim *reclaim, const struct reclaim_try *attempt,
    const struct tenant *only, vm_size_t bytes)
{
	struct reclaim_listener *listener;
	bool any = false;

	if (reclaim->options.deadline_ms == 0)
		return false;
	TAILQ_FOREACH (listener, &reclaim->listeners, entry) {
		struct session *session = listener->session;

		if (session == attempt->asker || session->doomed ||
		    (only != NULL && session->tenant != only))
			continue;
		any = any || !listener->asked || listener->awaited;
		if (listener->asked)
			continue; /* and has yet to answer, or never will */
		listener->asked = listener->awaited = true;
		reclaim->nasks++;
		if (reclaim->nawaited++ == 0)
			reclaim_arm(reclaim->timer,
			    reclaim->options.deadline_ms);
		session_send_reclaim(session, bytes,
		    reclaim->options.deadline_ms);
	}
	return any;
}

/* ---- Growing ----------------------------------------------------- */

static void
reclaim_grow_run(struct job *job)
{
	struct reclaim *reclaim =
	    (struct reclaim *)((char *)job - offsetof(struct reclaim, job));
	const struct arch *arch = reclaim->pool->arch;

	reclaim->grown = arch->ops->pool_grow(arch->ctx, &reclaim->grow);
}

static void
reclaim_grow_done(struct job *job)
{
	struct reclaim *reclaim =
	    (struct reclaim *)((char *)job - offsetof(struct reclaim, job));

	reclaim->growing = false;
	pool_note(reclaim->pool, false);
	if (reclaim->grown > 0)
		reclaim->ngrown += (uint64_t)reclaim->grown;
	log_info("reclaim_grow", "frames=%zu came=%d", reclaim->grow.nframes,
	    reclaim->grown);
	pool_drain_events(reclaim->pool);
	pool_wake(reclaim->pool);
}

/* Where to grow for it: a node, -1 for any.  false: nowhere. */
static bool
reclaim_node(const struct pool *pool, const struct waiter *waiter, int *nodep)
{
	struct arch_pool_info info;

	*nodep = waiter->req->domain;
	if (waiter->domains == 0)
		return true;
	pool->arch->ops->pool_info(pool->arch->ctx, &info);
	for (int n = 0; n < VM_PHYS_DOMAINS; n++) {
		*nodep = (waiter->req->domain + n) % VM_PHYS_DOMAINS;
		if ((waiter->domains & info.nodes) >> *nodep & 1)
			return true;
	}
	return false;
}

static bool
reclaim_grow(struct reclaim *reclaim, const struct waiter *waiter)
{
	const struct contig_req *req = waiter->req;
	struct pool *pool = reclaim->pool;
	int node;

	if (!reclaim->options.grow || pool->arch->ops->pool_grow == NULL ||
	    roundup2(req->size, pool->frame_size) > pool_room(pool) ||
	    !reclaim_node(pool, waiter, &node))
		return false;
	reclaim->growing = true;
	reclaim->grow = (struct arch_grow){
	    .node = node,
	    .nframes = (size_t)(roundup2(req->size, pool->frame_size) /
				pool->frame_size),
	};
	reclaim->job.run = reclaim_grow_run;
	reclaim->job.done = reclaim_grow_done;
	pool_note(pool, true);
	workers_submit(pool->workers, &reclaim->job);
	return true;
}

/* Dissolve what is ready where it makes room, in the first domain that has. */
static bool
reclaim_dissolve(struct pool *pool, const struct waiter *waiter)
{
	struct contig_req req = *waiter->req;
	bool any = false;

	if (waiter->domains == 0)
		return stock_dissolve_for(pool, &req) > 0;
	for (int n = 0; n < VM_PHYS_DOMAINS && !any; n++) {
		req.domain = (waiter->req->domain + n) % VM_PHYS_DOMAINS;
		any = (waiter->domains >> req.domain & 1) != 0 &&
		      stock_dissolve_for(pool, &req) > 0;
	}
	return any;
}

/* ---- Steps ------------------------------------------------------- */

/* Is something under way, whoever set it in motion? */
static bool
reclaim_is_moving(struct pool *pool, struct reclaim_try *attempt,
    const struct waiter *waiter, bool nowait)
{
	struct reclaim *reclaim = &pool->reclaim;
	const struct waiter *kept = pool->waitq.kept;

	attempt->dissolves = attempt->dissolves &&
			     pool->stock.nframes > pool->stock.nframes_ready;
	attempt->asks = attempt->asks && reclaim->nawaited > 0;
	attempt->grows = attempt->grows && reclaim->growing;
	attempt->hurries = attempt->hurries && pool->nrecycled < attempt->until;
	/* What was held back for idle time would be there by now without. */
	if (workers_hurry(pool->workers) && attempt->until == 0) {
		attempt->hurries = true;
		attempt->until = pool->nrecycled + pool->nrecycling;
	}
	if (attempt->hurries || attempt->dissolves || attempt->asks ||
	    attempt->grows)
		return true;
	return !nowait && (span_may_come(pool, waiter->tenant) ||
			      (kept != NULL && kept != waiter));
}

/*
 * What tenants keep idle comes back.  As long as somebody waits no more falls
 * idle, so this is one step, whatever else is under way.
 */
static bool
reclaim_idle(struct pool *pool, struct reclaim_try *attempt,
    struct tenant *only)
{
	if (pool_call_idle(pool, only) == 0)
		return false;
	attempt->hurries = true;
	attempt->until = pool->nrecycled + pool->nrecycling;
	(void)workers_hurry(pool->workers);
	return true;
}

bool
reclaim_begin(struct pool *pool, struct reclaim_try *attempt,
    const struct waiter *waiter, int rv, uint32_t flags)
{
	struct reclaim *reclaim = &pool->reclaim;
	bool nowait = (flags & M_NOWAIT) != 0, quota = rv == REFUSED_QUOTA;
	vm_size_t bytes = roundup2(waiter->req->size, pool->frame_size);

	if (attempt->epoch != reclaim->epoch) {
		attempt->epoch = reclaim->epoch;
		attempt->step = RECLAIM_STOCK;
	}
	if (reclaim_is_moving(pool, attempt, waiter, nowait))
		return true;
	if (reclaim_idle(pool, attempt, quota ? waiter->tenant : NULL))
		return true;
	if (attempt->step == RECLAIM_STOCK) {
		attempt->step = RECLAIM_CLIENTS;
		attempt->dissolves = !quota && reclaim_dissolve(pool, waiter);
		if (attempt->dissolves)
			return true;
	}
	if (nowait || (flags & M_NORECLAIM) != 0)
		return false;
	if (attempt->step == RECLAIM_CLIENTS) {
		attempt->step = RECLAIM_GROW;
		attempt->asks = reclaim_ask(reclaim, attempt,
		    quota ? waiter->tenant : NULL, bytes);
		if (attempt->asks)
			return true;
	}
	if (attempt->step == RECLAIM_GROW && !quota) {
		if (reclaim->growing)
			return true; /* for another; then perhaps for us */
		attempt->step = RECLAIM_NOTHING;
		attempt->grows = reclaim_grow(reclaim, waiter);
		if (attempt->grows)
			return true;
	}
	if (!event_pending(reclaim->again, EV_TIMEOUT, NULL))
		reclaim_arm(reclaim->again, RECLAIM_AGAIN_MS);
	return false;
}

/* Patient waiters go through all steps again. */
static void
reclaim_from_anew(evutil_socket_t fd, short what, void *arg)
{
	struct reclaim *reclaim = arg;

	(void)fd;
	(void)what;
	if (reclaim->pool->waitq.n == 0)
		return;
	reclaim->epoch++;
	waitq_kick(&reclaim->pool->waitq);
}

/* ---- Life -------------------------------------------------------- */

int
reclaim_init(struct reclaim *reclaim, struct pool *pool,
    struct event_base *base, const struct reclaim_options *options)
{
	*reclaim = (struct reclaim){.options = *options, .pool = pool};
	TAILQ_INIT(&reclaim->listeners);
	reclaim->timer = evtimer_new(base, reclaim_expired, reclaim);
	reclaim->again = evtimer_new(base, reclaim_from_anew, reclaim);
	if (reclaim->timer == NULL || reclaim->again == NULL)
		return error_origin(-ENOMEM);
	return 0;
}

void
reclaim_fini(struct reclaim *reclaim)
{
	if (reclaim->timer != NULL)
		event_free(reclaim->timer);
	if (reclaim->again != NULL)
		event_free(reclaim->again);
	*reclaim = (struct reclaim){0};
}
