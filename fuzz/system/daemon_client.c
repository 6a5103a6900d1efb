/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The clients of the daemon target: they connect, ask, read, and remember what
 * they were given.
 */

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/system/daemon.h"
#include "server/session.h"

#define TURNS_MAX 2000

static uint8_t packets[DAEMON_CLIENTS][HOLDFAST_PACKET_MAX];

static unsigned
slot_of(const struct daemon *d, const struct daemon_client *c)
{
	return (unsigned)(c - d->clients);
}

/* ---- Connecting -----------------------------------------------------------
 */

/* A map to begin with, so that what changes maps finds one. */
static void
make_map(struct daemon_client *c)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapCreate create = HOLDFAST__V1__MAP_CREATE__INIT;

	request.id = c->next_id++;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CREATE;
	request.map_create = &create;
	c->pending[1].id = request.id;
	c->pending[1].op = (uint32_t)request.op_case;
	c->pending[1].known = true;
	(void)wire_append_request(&c->out, &request); /* there is room */
}

static void
say_hello(struct daemon *d, struct daemon_client *c)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.name = (char *)(uintptr_t) "fuzz";
	request.id = c->next_id++;
	request.op_case = HOLDFAST__V1__REQUEST__OP_HELLO;
	request.hello = &hello;
	c->pending[0].id = request.id;
	c->pending[0].op = (uint32_t)request.op_case;
	c->pending[0].known = true;
	(void)wire_append_request(&c->out, &request); /* it is empty */
	if (d->own_maps)
		make_map(c);
	daemon_flush(d, c, 0);
}

void
daemon_open(struct daemon *d, unsigned slot, unsigned tenant, bool hello)
{
	struct daemon_client *c = &d->clients[slot];
	int fds[2];

	if (c->fd >= 0)
		daemon_close(d, c);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->next_id = 1;
	c->tenant = tenant;
	wire_out_init(&c->out, packets[slot], sizeof(packets[slot]));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, fds) < 0)
		return;
	/* A short queue is soon full when nobody reads. */
	if (d->short_queues)
		(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &(int){2048},
		    sizeof(int));
	sys_env.uid = SYS_UID + tenant;
	if (server_accept(d->server, fds[1]) < 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return;
	}
	c->fd = fds[0];
	d->rep->nchecks++; /* sessions, for the rate */
	if (hello)
		say_hello(d, c);
}

void
daemon_close(struct daemon *d, struct daemon_client *c)
{
	(void)d;
	if (c->fd < 0)
		return;
	for (unsigned i = 0; i < c->nbuffers; i++)
		if (c->buffers[i].fd >= 0)
			(void)close(c->buffers[i].fd);
	(void)close(c->fd);
	c->fd = -1;
	c->nbuffers = 0;
	memset(c->nids, 0, sizeof(c->nids));
}

/* ---- Asking ---------------------------------------------------------------
 */

struct chooser {
	struct daemon *d;
	struct daemon_client *c;
	bool known;
};

/* The nth buffer of a client. */
static uint64_t
buffer_id(const struct daemon_client *c, unsigned n)
{
	return c->nbuffers == 0
		   ? 0
		   : c->buffers[c->nbuffers - 1 - n % c->nbuffers].id;
}

static uint64_t
id_of(const struct daemon_client *c, enum sys_id kind, unsigned n)
{
	if (kind == SYS_ID_BUFFER)
		return buffer_id(c, n);
	return c->nids[kind] == 0
		   ? 0
		   : c->ids[kind][c->nids[kind] - 1 - n % c->nids[kind]];
}

static bool
is_known(const struct daemon_client *c, enum sys_id kind, uint64_t id)
{
	if (kind == SYS_ID_OBJECT && id == 0)
		return true; /* anonymous */
	for (unsigned i = 0; kind == SYS_ID_BUFFER && i < c->nbuffers; i++)
		if (c->buffers[i].id == id)
			return true;
	for (unsigned i = 0; kind != SYS_ID_BUFFER && i < c->nids[kind]; i++)
		if (c->ids[kind][i] == id)
			return true;
	return false;
}

/* Mostly the session's own, else another's, one near it, or nonsense. */
static uint64_t
choose_id(void *arg, enum sys_id kind, uint8_t b)
{
	struct chooser *ch = arg;
	struct daemon *d = ch->d;
	enum sys_id other = (enum sys_id)((kind + 1 + (b & 1)) % SYS_NIDS);
	uint64_t id;

	if (kind == SYS_ID_OBJECT && b % 2 == 0 && b < 0xb0)
		id = 0;
	else if (b < 0xb0)
		id = id_of(ch->c, kind, b >> (kind == SYS_ID_OBJECT));
	else if (b < 0xc0)
		id = id_of(ch->c, other, b >> 1 & 3);
	else if (b < 0xe0)
		id = id_of(&d->clients[b % DAEMON_CLIENTS], kind, b >> 2 & 3);
	else if (b < 0xe8)
		id = ch->c->dead[b % DAEMON_DEAD];
	else if (b < 0xf0)
		id = id_of(ch->c, kind, 0) + (b & 7);
	else
		id = sys_figure(b);
	if (!is_known(ch->c, kind, id))
		ch->known = false;
	return id;
}

static void
forget(struct daemon_client *c, enum sys_id kind, uint64_t id)
{
	c->dead[c->ndead++ % DAEMON_DEAD] = id;
	if (kind == SYS_ID_BUFFER) {
		for (unsigned i = 0; i < c->nbuffers; i++) {
			if (c->buffers[i].id != id)
				continue;
			if (c->buffers[i].fd >= 0)
				(void)close(c->buffers[i].fd);
			c->buffers[i] = c->buffers[--c->nbuffers];
			return;
		}
		return;
	}
	for (unsigned i = 0; i < c->nids[kind]; i++)
		if (c->ids[kind][i] == id) {
			c->ids[kind][i] = c->ids[kind][--c->nids[kind]];
			return;
		}
}

/* What is given back is forgotten when it is sent: it may be anybody's. */
static void
forget_what_goes(struct daemon_client *c, const Holdfast__V1__Request *request)
{
	switch (request->op_case) {
	case HOLDFAST__V1__REQUEST__OP_CONTIG_FREE:
		forget(c, SYS_ID_BUFFER, request->contig_free->buffer);
		break;
	case HOLDFAST__V1__REQUEST__OP_OBJECT_DESTROY:
		forget(c, SYS_ID_OBJECT, request->object_destroy->object);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_DETACH:
		forget(c, SYS_ID_MAP, request->map_detach->map);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_DESTROY:
		forget(c, SYS_ID_MAP, request->map_destroy->map);
		break;
	default:
		break;
	}
}

void
daemon_request(struct daemon *d, struct daemon_client *c,
    const struct sys_record *rec)
{
	const ProtobufCFieldDescriptor *choice =
	    sys_choice(&holdfast__v1__request__descriptor, rec->what);
	struct chooser chooser = {d, c, true};
	struct sys_fill fill = {choose_id, &chooser, MAP_DEFAULT_MIN};
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	struct pending *p = NULL;

	for (unsigned i = 0; i < DAEMON_PENDING && p == NULL; i++)
		if (c->pending[i].id == 0)
			p = &c->pending[i];
	if (p == NULL)
		return; /* a client that waits for so many asks no more */
	sys_fill(&fill, &p->body, choice->descriptor, rec->operand);
	request.id = c->next_id;
	request.op_case = (Holdfast__V1__Request__OpCase)choice->id;
	request.ping = (void *)&p->body; /* one pointer for all of them */
	if (wire_append_request(&c->out, &request) < 0)
		return;
	c->next_id++;
	p->id = request.id;
	p->op = choice->id;
	p->step = d->step;
	p->known = chooser.known;
	if (chooser.known)
		forget_what_goes(c, &request);
	d->rep->nops++;
	if (sys_is_traced()) {
		fprintf(stderr, "client %u: #%llu ", slot_of(d, c),
		    (unsigned long long)request.id);
		sys_print(&p->body.base);
		fprintf(stderr, "\n");
	}
}

void
daemon_ask_entries(struct daemon *d, struct daemon_client *c)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapEntries ask = HOLDFAST__V1__MAP_ENTRIES__INIT;
	struct pending *p = NULL;

	for (unsigned i = 0; i < DAEMON_PENDING && p == NULL; i++)
		if (c->pending[i].id == 0)
			p = &c->pending[i];
	if (p == NULL)
		return;
	ask.map = d->readback.map;
	ask.from = d->readback.start;
	ask.end = d->readback.end;
	memcpy(&p->body, &ask, sizeof(ask));
	request.id = c->next_id++;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES;
	request.map_entries = &ask;
	p->id = request.id;
	p->op = (uint32_t)request.op_case;
	p->known = true;
	(void)wire_append_request(&c->out, &request); /* it is empty */
	d->readback.asked = true;
	d->readback.by = c;
	d->readback.id = request.id;
	daemon_flush(d, c, 0);
}

void
daemon_flush(struct daemon *d, struct daemon_client *c, unsigned nfds)
{
	int fds[4] = {0, 0, 0, 0}; /* any descriptor will do */

	if (c->out.len > 0 &&
	    !sys_send(c->fd, c->out.buf, c->out.len, fds, nfds))
		c->wild =
		    true; /* it did not leave, and what it asked is moot */
	wire_out_init(&c->out, packets[slot_of(d, c)], HOLDFAST_PACKET_MAX);
	d->npackets++;
}

/* ---- Reading --------------------------------------------------------------
 */

static void
take_reply(struct daemon *d, struct daemon_client *c,
    const Holdfast__V1__Reply *reply, const int *fds, size_t nfds)
{
	struct pending *p = NULL;

	for (unsigned i = 0; i < DAEMON_PENDING && p == NULL; i++)
		if (c->pending[i].id == reply->id && reply->id != 0)
			p = &c->pending[i];
	if (p == NULL && !c->wild)
		(void)fuzz_found(d->rep, "wire", "reply",
		    "request %llu was not asked or is answered twice",
		    (unsigned long long)reply->id);
	daemon_check_reply(d, c, p, reply, fds, nfds);
	if (p != NULL)
		p->id = 0;
}

static void
take_packet(struct daemon *d, struct daemon_client *c, const uint8_t *buf,
    size_t len, int *fds, size_t nfds)
{
	Holdfast__V1__ServerPacket *packet;
	size_t at = 0;

	wire_arena_reset(&d->arena);
	packet = wire_unpack_server(&d->arena, buf, len);
	if (packet == NULL) {
		(void)fuzz_found(d->rep, "wire", "packet",
		    "the daemon sent what does not parse");
		return;
	}
	for (size_t i = 0; i < packet->n_replies; i++) {
		const Holdfast__V1__Reply *reply = packet->replies[i];

		if (reply->nfds > nfds - at) {
			(void)fuzz_found(d->rep, "wire", "fds",
			    "more descriptors announced than sent");
			return;
		}
		take_reply(d, c, reply, fds + at, reply->nfds);
		at += reply->nfds;
	}
	if (at != nfds)
		(void)fuzz_found(d->rep, "wire", "fds",
		    "descriptors belong to no reply");
}

static bool
is_hung_up(const struct daemon_client *c)
{
	struct pollfd p = {.fd = c->fd};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0;
}

/* true: hung up, so that the server has something to do. */
static bool
drain(struct daemon *d, struct daemon_client *c)
{
	static uint8_t buf[HOLDFAST_PACKET_MAX];
	int fds[SYS_FDS_MAX];
	size_t nfds;
	ssize_t n;

	if (c->paused) {
		if (!is_hung_up(c))
			return false;
		daemon_close(d, c);
		return true;
	}
	while ((n = sys_receive(c->fd, buf, sizeof(buf), fds, &nfds)) > 0) {
		take_packet(d, c, buf, (size_t)n, fds, nfds);
		sys_close_all(fds, nfds);
	}
	if (n < 0)
		return false;
	sys_close_all(fds, nfds);
	daemon_close(d, c);
	return true;
}

/* Each session reads one packet a turn.  false: it does not come to rest. */
static bool
turn_loop(struct server *server, unsigned turns_min)
{
	unsigned turns = 0;

	do {
		(void)event_base_loop(server->base,
		    EVLOOP_ONCE | EVLOOP_NONBLOCK);
		if (++turns > TURNS_MAX)
			return false;
	} while (turns < turns_min || workers_pending(server->workers) > 0 ||
		 !TAILQ_EMPTY(&server->doomed));
	return true;
}

void
daemon_settle(struct daemon *d)
{
	bool again;

	d->npackets++; /* something to settle for */
	do {
		again = false;
		if (!turn_loop(d->server, 1 + d->npackets)) {
			(void)fuzz_found(d->rep, "hang", "settle",
			    "the loop does not come to rest");
			return;
		}
		d->npackets = 0;
		for (unsigned i = 0; i < DAEMON_CLIENTS; i++)
			if (d->clients[i].fd >= 0)
				again |= drain(d, &d->clients[i]);
	} while (again);
	daemon_check_buffers(d);
	daemon_check_quotas(d);
}
