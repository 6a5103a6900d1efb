/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A session: one connection of one process.
 *
 * It ends when the socket hangs up or when the process is gone (its pidfd),
 * whichever comes first, when it breaks the framing, and when it leaves
 * replies unread.  Whatever it holds dies with it.  A session that must end is
 * doomed first and closed from the loop, so that no caller loses it under its
 * hands.  Loop thread only.  Design: docs/design/server.md.
 */

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "proto/wire.h"
#include "server/idtable.h"
#include "server/server.h"
#include "server/status.h"
#include "server/transport.h"

struct call;
TAILQ_HEAD(call_list, call);

struct session {
	TAILQ_ENTRY(session) entry;
	struct server *server;
	struct tenant *tenant;
	uint32_t serial;
	pid_t pid;
	int fd, pidfd; /* owned */
	struct event *readable, *writable, *peer, *timer;
	struct transport transport;
	bool negotiated;
	bool doomed;
	bool sequential;   /* see session_one_by_one() */
	bool answered;     /* a request of this packet that it waits for */
	unsigned acks_due; /* asked for, and perhaps never given */
	char name[HOLDFAST_NAME_MAX + 1];
	struct idtable ids;
	struct call_list calls; /* that wait for a worker */
	struct quota_charge charge, fds;
	struct quota_charge queued_bytes, queued_fds; /* in our queue */
	struct quota_charge sent_fds; /* in the peer's, perhaps */
	struct wire_out packet;       /* replies of the packet in work */
	struct fdlist packet_fds;
	bool packet_open;
	struct reclaim_listener reclaim; /* a cache to give back from */
};

/* Serve `fd`, which is the session's on success. */
int session_new(struct session **sessionp, struct server *server, int fd);
/* NULL is fine. */
void session_free(struct session *session);

/*
 * The client has said that it waits for the answer to a request before it
 * sends another.  From now on the kernel is not asked whether there is more
 * after each packet: what does not keep to it waits for the next packet.
 */
void session_one_by_one(struct session *session);

/* End it soon; `why` is a word for the log. */
void session_doom(struct session *session, const char *why);

/*
 * Send a reply, or add it to the packet in work.  `fds` are borrowed until the
 * packet is sent: whoever might close one of them calls session_flush() first.
 */
void session_reply(struct session *session, Holdfast__V1__Reply *reply,
    const struct fdlist *fds);
/* Send the packet in work, if there is one. */
void session_flush(struct session *session);

/* Tell it that [start, end) of its map of that number has changed. */
void session_send_event(struct session *session, uint64_t map,
    vm_offset_t start, vm_offset_t end);
/* Ask it to give back up to `bytes` within `ms`. */
void session_send_reclaim(struct session *session, uint64_t bytes, uint64_t ms);
/* The same, and that it has to answer with `ack`. */
void session_send_change(struct session *session, uint64_t map,
    vm_offset_t start, vm_offset_t end, uint64_t ack, bool write_protect);
/* Tell it that the memory under `size` bytes of its buffer is bad. */
void session_send_lost(struct session *session, uint64_t buffer,
    uint64_t offset, uint64_t size);
/* The same of what its map of that number shows. */
struct map_lost {
	vm_offset_t addr;
	uint64_t size;
	uint64_t object, offset; /* its number; bytes into it */
};
void session_send_map_lost(struct session *session, uint64_t map,
    const struct map_lost *what);
