/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The daemon without its main(): one event loop that owns everything.
 *
 * Tests make one over arch/sim, hand it one end of a socketpair and drive the
 * loop themselves.  Design: docs/design/server.md.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "proto/wire.h"
#include "server/map.h"
#include "server/pool.h"
#include "server/privilege.h"
#include "server/quarantine.h"
#include "server/span.h"
#include "server/tenant.h"
#include "server/verify.h"
#include "server/worker.h"

struct session;

/* Whose requests are told physical addresses. */
struct address_policy {
	bool all;
	uid_t *uids; /* owned by whoever made it */
	size_t nuids;
};

struct server_options {
	size_t nworkers; /* 0: 2 */
	struct quota_limits limits;
	struct address_policy addresses;
	unsigned hello_timeout_ms; /* until a client must have said Hello */
	unsigned stall_timeout_ms; /* a client may leave replies unread */
	struct stock_options stock;
	struct reclaim_options reclaim;
	unsigned ack_timeout_ms; /* until it must have carried out a change */
	struct pool_options pool;
	struct operator_policy operators;
	struct quarantine_options quarantine;
};

struct server {
	struct event_base *base;
	struct session *acting;  /* whose request is carried out, or NULL */
	const struct arch *arch; /* borrowed */
	struct server_options options;
	struct workers *workers;
	struct pool pool;
	struct pmap pmap; /* for objects: the daemon's own machine */
	struct machines machines;
	struct quarantine quarantine;
	struct verify_list verifies; /* under way */
	struct tenant_list tenants;
	size_t ntenants;
	TAILQ_HEAD(session_list, session) sessions, doomed;
	size_t nsessions;
	size_t nslow; /* calls that wait for other processes, see map_fault */
	uint32_t last_serial;
	struct event *reaper; /* closes doomed sessions */
	struct event *limit;  /* ends a shutdown that takes too long */
	struct event *tick;   /* looks after the inventory */
	struct job refill;
	bool refilling;
	int refilled;       /* what the last one brought */
	unsigned refill_ms; /* until the next try */
	bool stopping;
	uint64_t stop_deadline_ms;
	uint64_t started_ms;
	struct wire_arena in, out; /* of the packet in work */
	uint8_t *recv_buf;         /* HOLDFAST_PACKET_MAX + 1 bytes */
	uint8_t *send_buf;         /* HOLDFAST_PACKET_MAX bytes */
};

/* Sensible values for every option. */
void server_options_default(struct server_options *options);

/* Make one with an event base and workers of its own.  -errno. */
int server_new(struct server **serverp, const struct arch *arch,
    const struct server_options *options);
/* Everything must have stopped (server_stop(), then the loop).  NULL is fine.
 */
void server_free(struct server *server);

/*
 * Serve a connected socket, which is the server's on success.  Who the peer
 * is comes from the kernel.  -EDQUOT: one session too many for its tenant.
 */
int server_accept(struct server *server, int fd);

/*
 * End all sessions and bring every frame home.  The loop exits when that is
 * done, or after `timeout_ms`.
 */
void server_stop(struct server *server, unsigned timeout_ms);

/* Run until server_stop() is through.  -errno: the loop failed. */
int server_run(struct server *server);

/* The tenant of that uid, made if need be.  NULL: no memory. */
struct tenant *server_tenant(struct server *server, uid_t uid);

uint64_t server_now_ms(void);
