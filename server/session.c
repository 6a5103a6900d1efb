/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/contig.h"
#include "server/dispatch.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/session.h"

#define EVENT_MAX 64 /* bytes in a packet with one event */
#define READS_MAX 16 /* packets of one session before it is others' turn */

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Descriptors that may be on their way before we ask whether any arrived. */
#define SENT_FDS_CHECK 64

/* ---- Ending ------------------------------------------------------ */

void
session_doom(struct session *session, const char *why)
{
	struct server *server = session->server;

	if (session->doomed)
		return;
	session->doomed = true;
	log_info("session_end", "session=%u tenant=%s pid=%d why=%s",
	    session->serial, session->tenant->name, (int)session->pid, why);
	(void)event_del(session->readable);
	(void)event_del(session->writable);
	(void)event_del(session->timer);
	if (session->peer != NULL)
		(void)event_del(session->peer);
	TAILQ_REMOVE(&server->sessions, session, entry);
	TAILQ_INSERT_TAIL(&server->doomed, session, entry);
	event_active(server->reaper, EV_TIMEOUT, 0);
}

static void
session_drop_maps(struct session *session, enum id_kind kind)
{
	uint64_t id = 0;
	void *map;

	while (idtable_next(&session->ids, kind, id, &id, &map)) {
		idtable_remove(&session->ids, id);
		watch_drop(map, session, id);
		map_detach(map);
	}
}

static void
session_drop_objects(struct session *session)
{
	struct call *call;
	uint64_t id;
	void *object;

	reclaim_unlisten(&session->server->pool.reclaim, session);
	while ((call = TAILQ_FIRST(&session->calls)) != NULL)
		call->cancel(call);
	session_drop_maps(session, ID_MAP);
	session_drop_maps(session, ID_MAP_READ);
	id = 0;
	while (idtable_next(&session->ids, ID_OBJECT, id, &id, &object)) {
		idtable_remove(&session->ids, id);
		object_drop(object);
	}
	id = 0;
	while (idtable_next(&session->ids, ID_BUFFER, id, &id, &object)) {
		idtable_remove(&session->ids, id);
		quarantine_bury(&session->server->quarantine, object);
	}
}

static void
event_freep(struct event **eventp)
{
	if (*eventp != NULL)
		event_free(take_ptr(*eventp));
}

void
session_free(struct session *session)
{
	if (session == NULL)
		return;
	session_drop_objects(session);
	transport_fini(&session->transport);
	/* Events before the descriptors that they watch. */
	event_freep(&session->readable);
	event_freep(&session->writable);
	event_freep(&session->peer);
	event_freep(&session->timer);
	fd_closep(&session->fd);
	fd_closep(&session->pidfd);
	quota_discharge(&session->charge);
	quota_discharge(&session->fds);
	quota_discharge(&session->queued_fds);
	quota_discharge(&session->queued_bytes);
	quota_discharge(&session->sent_fds);
	if (session->tenant != NULL)
		tenant_left(session->tenant);
	idtable_fini(&session->ids);
	free(session);
}

static void
session_freep(struct session **sessionp)
{
	session_free(*sessionp);
}

/* ---- Sending ----------------------------------------------------- */

static void
session_arm(struct session *session, unsigned ms)
{
	struct timeval tv = {
	    .tv_sec = ms / 1000,
	    .tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};

	if (evtimer_add(session->timer, &tv) < 0)
		session_doom(session, "timer");
}

/* Pay for what is queued; read nothing more until it is gone. */
static void
session_blocked(struct session *session)
{
	const struct transport *transport = &session->transport;

	if (quota_recharge(&session->queued_bytes, transport->queued_bytes) <
		0 ||
	    quota_recharge(&session->queued_fds, transport->queued_fds) < 0) {
		session_doom(session, "unread_replies");
		return;
	}
	if (event_pending(session->writable, EV_WRITE, NULL))
		return;
	(void)event_del(session->readable);
	if (event_add(session->writable, NULL) < 0) {
		session_doom(session, "event");
		return;
	}
	session_arm(session, session->server->options.stall_timeout_ms);
}

/*
 * Descriptors in the peer's queue are ours to answer for until it reads.
 * Looked at before more go there: those would never be found to be read.
 */
static void
session_charge_sent(struct session *session, size_t nfds)
{
	uint64_t sent = session->sent_fds.amount;

	if (sent >= SENT_FDS_CHECK && transport_is_drained(&session->transport))
		sent = 0;
	if (quota_recharge(&session->sent_fds, sent + nfds) < 0)
		session_doom(session, "unread_descriptors");
}

static void
session_send(struct session *session, const struct wire_out *packet,
    const struct fdlist *fds)
{
	int r;

	if (fds->n > 0 && !session->doomed)
		session_charge_sent(session, fds->n);
	if (session->doomed)
		return;
	r = transport_send(&session->transport, packet->buf, packet->len, fds);
	if (r == -ENOBUFS) {
		session_doom(session, "slow_reader");
		return;
	}
	if (r < 0) {
		session_doom(session, "send");
		return;
	}
	if (transport_is_blocked(&session->transport))
		session_blocked(session);
}

void
session_flush(struct session *session)
{
	if (session->packet.n > 0)
		session_send(session, &session->packet, &session->packet_fds);
	wire_out_init(&session->packet, session->server->send_buf,
	    HOLDFAST_PACKET_MAX);
	fdlist_init(&session->packet_fds);
}

/* false: it does not fit behind what is there. */
static bool
session_append(struct session *session, const Holdfast__V1__Reply *reply,
    const struct fdlist *fds)
{
	if (fds->n > HOLDFAST_FDS_MAX - session->packet_fds.n)
		return false;
	if (wire_append_reply(&session->packet, reply) < 0)
		return false;
	(void)fdlist_append(&session->packet_fds, fds); /* room was seen */
	return true;
}

void
session_reply(struct session *session, Holdfast__V1__Reply *reply,
    const struct fdlist *fds)
{
	if (session->doomed)
		return;
	reply->nfds = (uint32_t)fds->n;
	if (!session_append(session, reply, fds)) {
		session_flush(session);
		if (!session_append(session, reply, fds)) {
			session_doom(session, "reply_too_large");
			return;
		}
	}
	if (!session->packet_open)
		session_flush(session);
}

/* Something that is nobody's reply; numbers only. */
static void
session_push(struct session *session, const Holdfast__V1__ServerPacket *packet)
{
	uint8_t bytes[EVENT_MAX];
	struct wire_out out;

	wire_out_init(&out, bytes, sizeof(bytes));
	MPASS(holdfast__v1__server_packet__get_packed_size(packet) <=
	      sizeof(bytes));
	out.len = holdfast__v1__server_packet__pack(packet, bytes);
	session_send(session, &out, &(struct fdlist){0});
}

void
session_send_event(struct session *session, uint64_t map, vm_offset_t start,
    vm_offset_t end)
{
	session_send_change(session, map, start, end, 0, false);
}

void
session_send_change(struct session *session, uint64_t map, vm_offset_t start,
    vm_offset_t end, uint64_t ack, bool write_protect)
{
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__Event event = HOLDFAST__V1__EVENT__INIT;
	Holdfast__V1__Event *events[1] = {&event};

	event.map = map;
	event.start = start;
	event.end = end;
	event.ack = ack;
	session->acks_due += ack != 0;
	event.write_protect = write_protect;
	packet.n_events = 1;
	packet.events = events;
	session_push(session, &packet);
}

void
session_send_reclaim(struct session *session, uint64_t bytes, uint64_t ms)
{
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__ReclaimRequest request =
	    HOLDFAST__V1__RECLAIM_REQUEST__INIT;

	request.bytes = bytes;
	request.deadline_ms = ms;
	packet.reclaim = &request;
	session_push(session, &packet);
}

void
session_send_lost(struct session *session, uint64_t buffer, uint64_t offset,
    uint64_t size)
{
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__FrameLost lost = HOLDFAST__V1__FRAME_LOST__INIT;
	Holdfast__V1__FrameLost *all[1] = {&lost};

	lost.buffer = buffer;
	lost.offset = offset;
	lost.size = size;
	packet.n_lost = 1;
	packet.lost = all;
	session_push(session, &packet);
}

void
session_send_map_lost(struct session *session, uint64_t map,
    const struct map_lost *what)
{
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__FrameLost lost = HOLDFAST__V1__FRAME_LOST__INIT;
	Holdfast__V1__FrameLost *all[1] = {&lost};

	lost.map = map;
	lost.addr = what->addr;
	lost.size = what->size;
	lost.object = what->object;
	lost.offset = what->offset;
	packet.n_lost = 1;
	packet.lost = all;
	session_push(session, &packet);
}

/* ---- Events ------------------------------------------------------ */

/* Carry out one packet.  false: there is none, or the session ends. */
static bool
session_read(struct session *session)
{
	struct server *server = session->server;
	Holdfast__V1__ClientPacket *packet;
	size_t len = 0;

	switch (transport_recv(&session->transport, server->recv_buf,
	    HOLDFAST_PACKET_MAX + 1, &len)) {
	case TRANSPORT_AGAIN:
		return false;
	case TRANSPORT_END:
		session_doom(session, "hangup");
		return false;
	case TRANSPORT_BROKEN:
		session_doom(session, "broken_framing");
		return false;
	case TRANSPORT_PACKET:
		break;
	}
	wire_arena_reset(&server->in);
	packet = wire_unpack_client(&server->in, server->recv_buf, len);
	if (packet == NULL) {
		session_doom(session, "malformed_packet");
		return false;
	}
	session->answered = false;
	dispatch_packet(session, packet);
	return !session->doomed;
}

/* May there be another packet that the loop will not tell of? */
static bool
session_reads_on(const struct session *session)
{
	if (!session->sequential || transport_is_blocked(&session->transport))
		return false; /* the loop tells of everything, or will again */
	return !session->answered || session->acks_due > 0;
}

static void
session_readable(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < READS_MAX; i++) {
		if (!session_read(session) || !session_reads_on(session))
			return;
	}
	/* Others first; then the loop tells of it again. */
	(void)event_del(session->readable);
	if (event_add(session->readable, NULL) < 0)
		session_doom(session, "event");
}

void
session_one_by_one(struct session *session)
{
	bool pending = event_pending(session->readable, EV_READ, NULL) != 0;

	session->sequential = true;
	if (pending)
		(void)event_del(session->readable);
	(void)event_assign(session->readable, session->server->base,
	    session->fd, EV_READ | EV_PERSIST | EV_ET, session_readable,
	    session);
	if (pending && event_add(session->readable, NULL) < 0)
		session_doom(session, "event");
}

static void
session_writable(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;
	size_t before = session->transport.queued_bytes;

	(void)fd;
	(void)what;
	if (transport_flush(&session->transport) < 0) {
		session_doom(session, "send");
		return;
	}
	/* Shrinking never fails. */
	(void)quota_recharge(&session->queued_bytes,
	    session->transport.queued_bytes);
	(void)quota_recharge(&session->queued_fds,
	    session->transport.queued_fds);
	if (transport_is_blocked(&session->transport)) {
		if (session->transport.queued_bytes < before)
			session_arm(session,
			    session->server->options.stall_timeout_ms);
		return;
	}
	(void)event_del(session->writable);
	(void)event_del(session->timer);
	if (event_add(session->readable, NULL) < 0)
		session_doom(session, "event");
}

static void
session_peer_gone(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_doom(arg, "process_gone");
}

static void
session_expired(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	(void)fd;
	(void)what;
	session_doom(session,
	    transport_is_blocked(&session->transport) ? "stalled" : "no_hello");
}

/* ---- Beginning --------------------------------------------------- */

/* A pidfd of the process that connected, or -1 where the kernel has none. */
static int
peer_pidfd(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	/* Before Linux 6.5: a process that took over the number meanwhile
	 * would be watched instead, and the hang-up still ends the session. */
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int
session_charge(struct session *session)
{
	struct quota *quota = &session->tenant->quota;
	int r;

	r = quota_charge(&session->charge, quota, QUOTA_SESSIONS, 1);
	if (r == 0)
		r = quota_charge(&session->fds, quota, QUOTA_FDS, 2);
	if (r == 0)
		r = quota_charge(&session->queued_bytes, quota, QUOTA_QUEUED,
		    0);
	if (r == 0)
		r = quota_charge(&session->queued_fds, quota, QUOTA_FDS, 0);
	if (r == 0)
		r = quota_charge(&session->sent_fds, quota, QUOTA_FDS, 0);
	return r;
}

static int
session_watch(struct session *session, int fd)
{
	struct event_base *base = session->server->base;

	session->readable = event_new(base, fd, EV_READ | EV_PERSIST,
	    session_readable, session);
	session->writable = event_new(base, fd, EV_WRITE | EV_PERSIST,
	    session_writable, session);
	session->timer = evtimer_new(base, session_expired, session);
	if (session->readable == NULL || session->writable == NULL ||
	    session->timer == NULL)
		return error_origin(-ENOMEM);
	if (session->pidfd >= 0) {
		session->peer = event_new(base, session->pidfd, EV_READ,
		    session_peer_gone, session);
		if (session->peer == NULL || event_add(session->peer, NULL) < 0)
			return error_origin(-ENOMEM);
	}
	if (event_add(session->readable, NULL) < 0)
		return error_origin(-ENOMEM);
	return 0;
}

int
session_new(struct session **sessionp, struct server *server, int fd)
{
	_cleanup_(session_freep) struct session *session = NULL;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return error_origin(-errno);
	session = memory_calloc(1, sizeof(*session));
	if (session == NULL)
		return error_origin(-ENOMEM);
	session->fd = -1;
	session->pidfd = -1;
	session->server = server;
	session->serial = ++server->last_serial;
	session->pid = cred.pid;
	TAILQ_INIT(&session->calls);
	transport_init(&session->transport, fd);
	idtable_init(&session->ids, session->serial);
	wire_out_init(&session->packet, server->send_buf, HOLDFAST_PACKET_MAX);
	fdlist_init(&session->packet_fds);
	session->tenant = server_tenant(server, cred.uid);
	if (session->tenant == NULL)
		return error_origin(-ENOMEM);
	r = session_charge(session);
	if (r < 0)
		return r;
	session->pidfd = peer_pidfd(fd, cred.pid);
	r = session_watch(session, fd);
	if (r < 0)
		return r;
	session->fd = fd; /* ours from here on */
	TAILQ_INSERT_TAIL(&server->sessions, session, entry);
	session_arm(session, server->options.hello_timeout_ms);
	log_info("session_start", "session=%u tenant=%s pid=%d",
	    session->serial, session->tenant->name, (int)session->pid);
	*sessionp = take_ptr(session);
	return 0;
}
