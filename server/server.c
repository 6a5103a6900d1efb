/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/server.h"
#include "server/session.h"

#define TENANTS_KEPT  256  /* beyond it, tenants without anything are forgot */
#define REFILL_MS_MIN 1000 /* until what is missing is looked for */
#define REFILL_MS_MAX 64000
#define STOP_POLL_MS  5
#define REPLY_ARENA   (128u << 10)

uint64_t
server_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
server_options_default(struct server_options *options)
{
	*options = (struct server_options){
	    .nworkers = 2,
	    .hello_timeout_ms = 10000,
	    .stall_timeout_ms = 10000,
	    .ack_timeout_ms = 2000,
	    .quarantine = {.hold_ms = 60 * 1000},
	    .reclaim = {.deadline_ms = 250},
	    .pool = {.idle = 2},
	};
	quota_limits_default(&options->limits);
}

/* ---- Tenants ----------------------------------------------------- */

static bool
address_policy_allows(const struct address_policy *policy, uid_t uid)
{
	for (size_t i = 0; i < policy->nuids; i++) {
		if (policy->uids[i] == uid)
			return true;
	}
	return policy->all;
}

/* Forget one that holds nothing, so that passing uids do not pile up. */
static void
server_evict_tenant(struct server *server)
{
	struct tenant *tenant;

	TAILQ_FOREACH (tenant, &server->tenants, entry) {
		if (quota_is_empty(&tenant->quota)) {
			TAILQ_REMOVE(&server->tenants, tenant, entry);
			server->ntenants--;
			tenant_free(tenant);
			return;
		}
	}
}

struct tenant *
server_tenant(struct server *server, uid_t uid)
{
	struct tenant *tenant;

	TAILQ_FOREACH (tenant, &server->tenants, entry) {
		if (tenant->uid == uid)
			return tenant;
	}
	if (server->ntenants >= TENANTS_KEPT)
		server_evict_tenant(server);
	tenant = tenant_new(uid, &server->options.limits,
	    server->pool.phys == NULL ? NULL : &server->pool);
	if (tenant == NULL)
		return NULL;
	tenant->addresses_allowed =
	    address_policy_allows(&server->options.addresses, uid);
	TAILQ_INSERT_TAIL(&server->tenants, tenant, entry);
	server->ntenants++;
	return tenant;
}

/* ---- Sessions ---------------------------------------------------- */

static void
server_reap(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct session *session;

	(void)fd;
	(void)what;
	while ((session = TAILQ_FIRST(&server->doomed)) != NULL) {
		TAILQ_REMOVE(&server->doomed, session, entry);
		server->nsessions--;
		session_free(session);
	}
}

int
server_accept(struct server *server, int fd)
{
	struct session *session;
	int r;

	if (server->stopping)
		return -ESHUTDOWN;
	r = session_new(&session, server, fd);
	if (r < 0)
		return r;
	server->nsessions++;
	return 0;
}

/* ---- Inventory --------------------------------------------------- */

static void
server_refill_run(struct job *job)
{
	struct server *server =
	    (struct server *)((char *)job - offsetof(struct server, refill));

	server->refilled = server->arch->ops->pool_refill(server->arch->ctx);
}

/* Look after the inventory later; nothing does while nothing is lacking. */
static void
server_tick_later(struct server *server)
{
	const struct timeval tv = {
	    .tv_sec = server->refill_ms / 1000,
	    .tv_usec = (suseconds_t)(server->refill_ms % 1000) * 1000,
	};

	if (evtimer_add(server->tick, &tv) < 0)
		log_error("inventory", "what=\"timer cannot be set\"");
}

static void
server_refill_done(struct job *job)
{
	struct server *server =
	    (struct server *)((char *)job - offsetof(struct server, refill));

	server->refilling = false;
	/* In vain: ask less and less often. */
	server->refill_ms = server->refilled > 0
				? REFILL_MS_MIN
				: MIN(2 * server->refill_ms, REFILL_MS_MAX);
	pool_drain_events(&server->pool);
	pool_wake(&server->pool);
	server_tick_later(server);
}

/* What is missing might be had again, and what was put off be done. */
static void
server_ticked(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct arch_pool_info info;

	(void)fd;
	(void)what;
	pool_drain_events(&server->pool);
	server->arch->ops->pool_info(server->arch->ctx, &info);
	if (server->stopping || server->refilling)
		return;
	if (info.nmissing + info.nbig_missing > 0 &&
	    server->arch->ops->pool_refill != NULL) {
		server->refilling = true;
		workers_submit(server->workers, &server->refill);
	} else if (server->pool.nlate > 0) {
		server->refill_ms = MIN(2 * server->refill_ms, REFILL_MS_MAX);
		server_tick_later(server);
	} else {
		server->refill_ms = REFILL_MS_MIN;
	}
}

static void
server_lacks(void *arg)
{
	struct server *server = arg;

	if (!server->refilling &&
	    !event_pending(server->tick, EV_TIMEOUT, NULL))
		server_tick_later(server);
}

static int
server_start_tick(struct server *server)
{
	server->refill_ms = REFILL_MS_MIN;
	server->refill.run = server_refill_run;
	server->refill.done = server_refill_done;
	if (server->pool.phys == NULL)
		return 0;
	server->tick = evtimer_new(server->base, server_ticked, server);
	if (server->tick == NULL)
		return error_origin(-ENOMEM);
	server->pool.lacks = server_lacks;
	server->pool.lacks_arg = server;
	server_lacks(server); /* it may have begun with less */
	return 0;
}

/* ---- Life -------------------------------------------------------- */

static bool
server_is_quiet(const struct server *server)
{
	return server->nsessions == 0 && server->nslow == 0 &&
	       workers_pending(server->workers) == 0 &&
	       server->pool.nrecycling == 0;
}

static void
server_stop_poll(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval again = {.tv_usec = STOP_POLL_MS * 1000};
	struct server *server = arg;
	bool late = server_now_ms() >= server->stop_deadline_ms;

	(void)fd;
	(void)what;
	/* Jobs end by themselves; only what is in limbo may take for ever. */
	if (server_is_quiet(server) &&
	    (late || TAILQ_EMPTY(&server->pool.limbo))) {
		(void)event_base_loopbreak(server->base);
		return;
	}
	if (evtimer_add(server->limit, &again) < 0)
		(void)event_base_loopbreak(server->base);
}

void
server_stop(struct server *server, unsigned timeout_ms)
{
	struct session *session;

	if (server->stopping)
		return;
	server->stopping = true;
	server->stop_deadline_ms = server_now_ms() + timeout_ms;
	while ((session = TAILQ_FIRST(&server->sessions)) != NULL)
		session_doom(session, "shutdown");
	stock_stop(&server->pool);
	quarantine_stop(&server->quarantine);
	event_active(server->limit, EV_TIMEOUT, 0);
}

int
server_run(struct server *server)
{
	if (event_base_dispatch(server->base) < 0)
		return error_origin(-EIO);
	return 0;
}

void
server_free(struct server *server)
{
	struct session *session;
	struct tenant *tenant;

	if (server == NULL)
		return;
	quarantine_stop(&server->quarantine);
	while ((session = TAILQ_FIRST(&server->sessions)) != NULL)
		session_doom(session, "server_free");
	if (server->reaper != NULL)
		server_reap(-1, 0, server);
	span_abandon_limbo(&server->pool);
	workers_free(server->workers);
	quarantine_fini(&server->quarantine);
	while ((tenant = TAILQ_FIRST(&server->tenants)) != NULL) {
		TAILQ_REMOVE(&server->tenants, tenant, entry);
		tenant_free(tenant);
	}
	pool_fini(&server->pool);
	if (server->reaper != NULL)
		event_free(server->reaper);
	if (server->limit != NULL)
		event_free(server->limit);
	if (server->tick != NULL)
		event_free(server->tick);
	if (server->base != NULL)
		event_base_free(server->base);
	wire_arena_fini(&server->in);
	wire_arena_fini(&server->out);
	machines_fini(&server->machines);
	free(server->recv_buf);
	free(server->send_buf);
	free(server);
}

static void
server_freep(struct server **serverp)
{
	server_free(*serverp);
}

/* One thread runs the loop: it needs no locks. */
static struct event_base *
server_base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	if (config == NULL)
		return NULL;
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
	/* Changes are made at once: session_readable() rests on that. */
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

static int
server_buffers(struct server *server)
{
	int r;

	r = wire_arena_init(&server->in, HOLDFAST_UNPACK_MAX);
	if (r == 0)
		r = wire_arena_init(&server->out, REPLY_ARENA);
	if (r < 0)
		return error_origin(r);
	server->recv_buf = memory_alloc(HOLDFAST_PACKET_MAX + 1);
	server->send_buf = memory_alloc(HOLDFAST_PACKET_MAX);
	if (server->recv_buf == NULL || server->send_buf == NULL)
		return error_origin(-ENOMEM);
	return 0;
}

int
server_new(struct server **serverp, const struct arch *arch,
    const struct server_options *options)
{
	_cleanup_(server_freep) struct server *server = NULL;
	int r;

	server = memory_calloc(1, sizeof(*server));
	if (server == NULL)
		return error_origin(-ENOMEM);
	TAILQ_INIT(&server->tenants);
	TAILQ_INIT(&server->sessions);
	TAILQ_INIT(&server->doomed);
	TAILQ_INIT(&server->verifies);
	TAILQ_INIT(&server->pool.limbo);
	server->arch = arch;
	server->options = *options;
	server->pmap.arch = arch;
	server->started_ms = server_now_ms();
	server->base = server_base_new();
	if (server->base == NULL)
		return error_origin(-ENOMEM);
	r = server_buffers(server);
	if (r == 0)
		r = machines_init(&server->machines, arch);
	if (r < 0)
		return r;
	server->reaper = event_new(server->base, -1, 0, server_reap, server);
	server->limit = evtimer_new(server->base, server_stop_poll, server);
	if (server->reaper == NULL || server->limit == NULL)
		return error_origin(-ENOMEM);
	r = workers_new(&server->workers, server->base,
	    options->nworkers == 0 ? 2 : options->nworkers);
	if (r < 0)
		return r;
	r = pool_init(&server->pool, arch, server->workers, server->base,
	    &options->pool);
	if (r == 0)
		r = quarantine_init(&server->quarantine, server->base,
		    &options->quarantine);
	if (r == 0)
		r = stock_init(&server->pool.stock, &server->pool, server->base,
		    &options->stock);
	if (r == 0)
		r = reclaim_init(&server->pool.reclaim, &server->pool,
		    server->base, &options->reclaim);
	if (r == 0)
		r = server_start_tick(server);
	if (r < 0)
		return r;
	*serverp = take_ptr(server);
	return 0;
}
