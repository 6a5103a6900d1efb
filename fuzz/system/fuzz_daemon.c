/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The daemon in this process: several tenants over real socketpairs, the
 * kernel's credentials replaced, time turned by the program, arch/sim below
 * with its faults.
 *
 * Header: byte 0 frames, 1 who is told addresses, 2 quota, 3 memfds, 4 and 5
 * failing allocations, 6
 * short queues, 7 no maps of their own.  When all sessions are closed
 * everything is as before.
 */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/system/daemon.h"
#include "server/session.h"

#define RECORDS_MAX 256

enum action {
	A_REQUEST,
	A_OPEN,
	A_CLOSE,
	A_MANGLE,
	A_EMPTY,
	A_OVERSIZE,
	A_SHUTDOWN,
	A_PAUSE,
	A_CLOCK,
	A_TOUCH,
	A_TAMPER,
	A_INJECT,
	A_BACKEND,
	A_GONE,
	A_FLOOD,
	NACTIONS
};

static const char *const names[] = {"request", "open", "close", "mangle",
    "empty", "oversize", "shutdown", "pause", "clock", "touch", "tamper",
    "inject", "backend", "gone", "flood"};

/* Options in a record's second byte. */
#define WHO_KEEP 0x04 /* wait for more requests before sending */
#define WHO_FDS  0x08 /* descriptors come along */

enum seen {
	SEEN_QUOTA,
	SEEN_LIMBO,
	SEEN_INJECTED,
	SEEN_THREE,
	SEEN_BLOCKED,
	SEEN_TAMPERED,
	SEEN_NO_MEMORY,
};
static const char *const sometimes[] = {"quota", "limbo", "injected-failure",
    "three-sessions", "blocked-writer", "tampered", "no-memory", NULL};

/* ---- Actions --------------------------------------------------------------
 */

static void
do_mangle(struct daemon *d, struct daemon_client *c,
    const struct sys_record *rec)
{
	daemon_request(d, c, rec);
	if (c->out.len == 0)
		return;
	for (unsigned i = 5; i < 8; i++) {
		size_t at = (size_t)rec->operand[i] * 7 + rec->operand[4];

		c->out.buf[at % c->out.len] ^=
		    (uint8_t)(1u << (rec->operand[i] & 7));
	}
	c->wild = true;
	daemon_flush(d, c, 0);
}

static void
do_empty(struct daemon_client *c, const struct sys_record *rec)
{
	int fds[4] = {0, 0, 0, 0};

	(void)sys_send(c->fd, "", 0, fds, rec->what % 4); /* full is fine */
	c->wild = true;
}

static void
do_oversize(struct daemon_client *c, const struct sys_record *rec)
{
	static uint8_t big[HOLDFAST_PACKET_MAX + 2];

	/* At the limit and one beyond; zeroes do not parse. */
	(void)sys_send(c->fd, big, HOLDFAST_PACKET_MAX - 1 + rec->what % 3,
	    NULL, 0);
	c->wild = true;
}

static struct session *
nth_session(struct daemon *d, unsigned n)
{
	struct session *s;

	TAILQ_FOREACH (s, &d->server->sessions, entry)
		if (n-- == 0)
			return s;
	return NULL;
}

/* Timers that are due then fire in the next turn of the loop. */
static void
do_clock(const struct sys_record *rec)
{
	static const unsigned steps[] = {1, 20, 200, 1100, 5000, 11000, 70000,
	    4000000};

	sys_env.now_ms += steps[rec->what % nitems_of(steps)];
}

/* Frames come and go by themselves; holders move and withhold theirs. */
static void
do_tamper(struct daemon *d, const struct sys_record *rec)
{
	uint64_t pa = SYS_POOL + SYS_FRAME * (rec->operand[0] & 0x0f);
	uint64_t to = SYS_POOL + SYS_FRAME * (16 + (rec->operand[1] & 0x0f));
	struct arch_span *span = sim_span_at(d->arch, pa);

	d->spoiled = true;
	switch (rec->what % 5) {
	case 0:
		(void)sim_tamper(d->arch, pa, to);
		break;
	case 1:
		if (span != NULL)
			sim_withhold(d->arch, span, true);
		break;
	case 2:
		if (span != NULL)
			sim_withhold(d->arch, span, false);
		break;
	case 3:
		(void)sim_lose_frame(d->arch, pa);
		break;
	default:
		(void)sim_gain_frame(d->arch, to, 0);
		break;
	}
	d->rep->seen |= 1u << SEEN_TAMPERED;
}

/* The server's own memory runs out, or what the core allocates. */
static void
do_inject(struct daemon *d, const struct sys_record *rec)
{
	if ((rec->what & 0x20) != 0) {
		sys_env.memory_nth =
		    rec->what % 4 == 0 ? 0 : 1 + (rec->operand[0] & 0x3f);
		sys_env.memory_sticky = rec->what % 4 == 1;
	} else if (rec->what % 3 == 0)
		sim_fail_never(d->arch);
	else if (rec->what % 3 == 1)
		sim_fail_nth(d->arch, 1 + (rec->operand[0] & 0x1f));
	else
		sim_fail_from(d->arch, 1 + (rec->operand[0] & 0x1f));
}

static void
do_backend(struct daemon *d, const struct sys_record *rec)
{
	static const int errors[] = {12, 28, 16, 5, 11}; /* ENOMEM ENOSPC EBUSY
							     EIO EAGAIN */

	sim_fail_call(d->arch, (enum sim_call)(rec->what % SIM_NCALLS),
	    errors[rec->operand[0] % 5], 1 + rec->operand[1] % 3);
}

static void
do_gone(struct daemon *d, const struct sys_record *rec)
{
	struct session *s = nth_session(d, rec->what & 3);

	if (s != NULL && s->peer != NULL)
		event_active(s->peer, EV_READ, 0);
}

static void
do_flood(struct daemon *d, struct daemon_client *c,
    const struct sys_record *rec)
{
	unsigned n = 2 + rec->operand[4] % 40;

	while (n-- > 0 && c->fd >= 0) {
		daemon_request(d, c, rec);
		if ((n & 7) == 0)
			daemon_flush(d, c, 0);
	}
}

static void
do_request(struct daemon *d, struct daemon_client *c,
    const struct sys_record *rec)
{
	daemon_request(d, c, rec);
	if ((rec->who & WHO_KEEP) != 0 && (rec->who & 0x80) == 0)
		return;
	if ((rec->who & WHO_FDS) != 0 && (rec->who & 0xc0) == 0xc0) {
		c->wild = true;
		daemon_flush(d, c, 1 + (rec->who >> 4 & 3));
		return;
	}
	daemon_flush(d, c, 0);
}

/* Look at what a change has done before anybody else can. */
static void
read_back(struct daemon *d, struct daemon_client *c)
{
	if (d->readback.wanted && c->fd >= 0 && !c->paused && !c->wild &&
	    c->out.len == 0) {
		sim_fail_never(d->arch);
		sys_env.memory_nth = 0;
		daemon_ask_entries(d, c);
		daemon_settle(d);
	}
	d->readback = (struct readback){0};
}

static void
act(struct daemon *d, const struct sys_record *rec)
{
	unsigned slot = rec->who % DAEMON_CLIENTS;
	struct daemon_client *c = &d->clients[slot];
	enum action action = (enum action)(rec->action % NACTIONS);

	d->step++;
	if (sys_is_traced())
		fprintf(stderr, "%s %u %u\n", names[action], slot, rec->what);
	if (action == A_OPEN)
		daemon_open(d, slot, rec->what % DAEMON_TENANTS,
		    rec->operand[0] < 0xc0);
	else if (c->fd < 0)
		daemon_open(d, slot, slot % DAEMON_TENANTS, true);
	if (c->fd < 0) {
		daemon_settle(d);
		return;
	}
	switch (action) {
	case A_REQUEST:
		do_request(d, c, rec);
		break;
	case A_OPEN:
	case NACTIONS:
		break;
	case A_CLOSE:
		daemon_close(d, c);
		break;
	case A_MANGLE:
		do_mangle(d, c, rec);
		break;
	case A_EMPTY:
		do_empty(c, rec);
		break;
	case A_OVERSIZE:
		do_oversize(c, rec);
		break;
	case A_SHUTDOWN:
		(void)shutdown(c->fd, rec->what % 3); /* 0, 1, 2 are all */
		c->wild = true;
		break;
	case A_PAUSE:
		c->paused = !c->paused;
		break;
	case A_CLOCK:
		do_clock(rec);
		break;
	case A_TOUCH:
		if (!d->spoiled)
			daemon_touch(d, c, rec->what);
		break;
	case A_TAMPER:
		do_tamper(d, rec);
		break;
	case A_INJECT:
		do_inject(d, rec);
		break;
	case A_BACKEND:
		do_backend(d, rec);
		break;
	case A_GONE:
		do_gone(d, rec);
		break;
	case A_FLOOD:
		do_flood(d, c, rec);
		break;
	}
	d->readback.wanted = false;
	daemon_settle(d);
	if (action == A_REQUEST)
		read_back(d, c);
}

/* ---- Life -----------------------------------------------------------------
 */

static void
note_rare(struct daemon *d)
{
	const struct session *s;
	uint64_t *seen = &d->rep->seen;

	if (d->server->nsessions >= 3)
		*seen |= 1u << SEEN_THREE;
	if (!TAILQ_EMPTY(&d->server->pool.limbo))
		*seen |= 1u << SEEN_LIMBO;
	if (sim_nfailed(d->arch) > 0)
		*seen |= 1u << SEEN_INJECTED;
	if (sys_env.memory_nfailed > 0)
		*seen |= 1u << SEEN_NO_MEMORY;
	TAILQ_FOREACH (s, &d->server->sessions, entry) {
		if (transport_is_blocked(&s->transport))
			*seen |= 1u << SEEN_BLOCKED;
		for (unsigned i = 0; i < QUOTA_NRESOURCES; i++)
			if (s->tenant->quota.used[i] > 1 &&
			    s->tenant->quota.used[i] ==
				s->tenant->quota.limit[i])
				*seen |= 1u << SEEN_QUOTA;
	}
}

static void
run_daemon(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct daemon d;
	uint8_t header[SYS_HEADER] = {0};
	unsigned nfds = sys_nfds(), n = 0;
	struct sys_record rec;
	size_t off = 0;

	memset(rep, 0, sizeof(*rep));
	memset(&d, 0, sizeof(d));
	memcpy(header, data, size < SYS_HEADER ? size : SYS_HEADER);
	d.rep = rep;
	for (unsigned i = 0; i < DAEMON_CLIENTS; i++)
		d.clients[i].fd = -1;
	sys_env_begin();
	if (wire_arena_init(&d.arena, 1 << 18) == 0 &&
	    daemon_begin(&d, header)) {
		while (!rep->found && n++ < RECORDS_MAX &&
		       sys_next(data, size, &off, &rec)) {
			act(&d, &rec);
			note_rare(&d);
		}
		daemon_end(&d);
	}
	daemon_free(&d);
	sys_env_end();
	if (sys_nfds() != nfds)
		(void)fuzz_found(rep, "leak", "fds",
		    "%u descriptors, %u before", sys_nfds(), nfds);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_daemon",
    .ops = (UINT64_C(1) << NACTIONS) - 1,
    .run = run_daemon,
    .sometimes = sometimes};
