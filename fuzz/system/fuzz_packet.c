/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Packets of arbitrary bytes: through wire.c in both directions, against what
 * protobuf-c says of them, and into a daemon.
 *
 * Header: bit 0 of byte 0: the rest is a packet as it stands; otherwise its
 * records build one and then damage it.  Bit 1: it goes to the client's side.
 */

#include <string.h>

#include "fuzz/system/daemon.h"

#define ARENA HOLDFAST_UNPACK_MAX

enum action { A_REQUEST, A_REPLY, A_FLIP, A_CUT, A_COPY, NACTIONS };

enum seen { SEEN_ACCEPTED, SEEN_REFUSED, SEEN_BATCH, SEEN_EXHAUSTED };
static const char *const sometimes[] = {"accepted", "refused", "batch",
    "arena-exhausted", NULL};

struct packet {
	struct fuzz_report *rep;
	struct wire_out out;
	struct wire_arena arena;
	uint64_t next_id;
};

static uint64_t
any_id(void *arg, enum sys_id kind, uint8_t b)
{
	(void)arg;
	(void)kind;
	return b;
}

/* ---- Building -------------------------------------------------------------
 */

static void
append(struct packet *p, const struct sys_record *rec, bool request)
{
	const ProtobufCMessageDescriptor *d =
	    request ? &holdfast__v1__request__descriptor
		    : &holdfast__v1__reply__descriptor;
	const ProtobufCFieldDescriptor *choice = sys_choice(d, rec->what);
	struct sys_fill fill = {any_id, NULL, MAP_DEFAULT_MIN};
	Holdfast__V1__Request req = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Reply reply = HOLDFAST__V1__REPLY__INIT;
	union sys_message body;

	sys_fill(&fill, &body, choice->descriptor, rec->operand);
	req.id = reply.id = p->next_id++;
	if (request) {
		req.op_case = (Holdfast__V1__Request__OpCase)choice->id;
		req.ping = (void *)&body;
		(void)wire_append_request(&p->out, &req); /* full is fine */
		return;
	}
	reply.status = (Holdfast__V1__Status)rec->who;
	reply.nfds = rec->operand[11];
	reply.result_case = (Holdfast__V1__Reply__ResultCase)choice->id;
	reply.hello = (void *)&body;
	(void)wire_append_reply(&p->out, &reply);
}

static void
damage(struct packet *p, const struct sys_record *rec)
{
	struct wire_out *out = &p->out;
	size_t at, n;

	if (out->len == 0)
		return;
	at = ((size_t)rec->operand[0] << 8 | rec->operand[1]) % out->len;
	n = rec->operand[2];
	switch ((enum action)(rec->action % NACTIONS)) {
	case A_FLIP:
		out->buf[at] ^= rec->operand[3] != 0 ? rec->operand[3] : 0x80;
		break;
	case A_CUT:
		n = n < out->len - at ? n : out->len - at;
		memmove(out->buf + at, out->buf + at + n, out->len - at - n);
		out->len -= n;
		break;
	default:
		n = n < out->len - at ? n : out->len - at;
		n = n < out->size - out->len ? n : out->size - out->len;
		memmove(out->buf + at + n, out->buf + at, out->len - at);
		out->len += n;
		break;
	}
}

static void
build(struct packet *p, const uint8_t *data, size_t size)
{
	struct sys_record rec;
	size_t off = 0;
	unsigned n;

	while (sys_next(data, size, &off, &rec)) {
		p->rep->nops++;
		/* Large figures everywhere; many of the same. */
		for (unsigned i = 0; i < SYS_OPERANDS && rec.who >= 0x40; i++)
			rec.operand[i] |= 0xf8;
		n = rec.who >= 0xc0 ? 280 : 1;
		switch ((enum action)(rec.action % NACTIONS)) {
		case A_REQUEST:
		case A_REPLY:
			while (n-- > 0)
				append(p, &rec,
				    rec.action % NACTIONS == A_REQUEST);
			break;
		default:
			damage(p, &rec);
			break;
		}
	}
}

/* ---- Holding wire.c against protobuf-c ------------------------------------
 */

/* Fields that nobody knows are not written again: leave them out. */
static void
strip(ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	m->n_unknown_fields = 0;
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		char *base = (char *)m;
		ProtobufCMessage **many, *one;
		size_t n;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			memcpy(&n, base + f->quantifier_offset, sizeof(n));
			memcpy(&many, base + f->offset, sizeof(many));
			while (n > 0)
				strip(many[--n]);
			continue;
		}
		if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
			uint32_t which;

			memcpy(&which, base + f->quantifier_offset,
			    sizeof(which));
			if (which != f->id)
				continue;
		}
		memcpy(&one, base + f->offset, sizeof(one));
		if (one != NULL)
			strip(one);
	}
}

/* The same message, written by wire.c and by protobuf-c. */
static void
check_written(struct packet *p, const ProtobufCMessage *whole,
    const struct wire_out *ours)
{
	static uint8_t theirs[HOLDFAST_PACKET_MAX];
	size_t len = protobuf_c_message_get_packed_size(whole);

	if (len > sizeof(theirs)) {
		(void)fuzz_found(p->rep, "wire", "append",
		    "%zu bytes fitted into a packet", len);
		return;
	}
	(void)protobuf_c_message_pack(whole, theirs);
	if (len != ours->len || memcmp(theirs, ours->buf, len) != 0)
		(void)fuzz_found(p->rep, "wire", "append",
		    "%zu bytes are not the %zu that protobuf-c writes",
		    ours->len, len);
}

static void
check_client(struct packet *p, const uint8_t *buf, size_t len)
{
	static uint8_t again[HOLDFAST_PACKET_MAX];
	Holdfast__V1__ClientPacket *got, *theirs, one;
	struct wire_out out;

	wire_arena_reset(&p->arena);
	got = wire_unpack_client(&p->arena, buf, len);
	theirs = holdfast__v1__client_packet__unpack(NULL, len, buf);
	p->rep->seen |= 1u << (got != NULL ? SEEN_ACCEPTED : SEEN_REFUSED);
	if (p->arena.exhausted)
		p->rep->seen |= 1u << SEEN_EXHAUSTED;
	if (got != NULL && theirs == NULL)
		(void)fuzz_found(p->rep, "wire", "unpack",
		    "protobuf-c refuses what wire.c accepts");
	if (got == NULL && theirs != NULL && !p->arena.exhausted &&
	    theirs->n_requests <= HOLDFAST_BATCH_MAX)
		(void)fuzz_found(p->rep, "wire", "unpack",
		    "protobuf-c accepts what wire.c refuses");
	if (got != NULL && got->n_requests > HOLDFAST_BATCH_MAX)
		(void)fuzz_found(p->rep, "wire", "unpack", "%zu requests",
		    got->n_requests);
	for (size_t i = 0; got != NULL && i < got->n_requests; i++) {
		Holdfast__V1__Request *request = got->requests[i];

		p->rep->nchecks++;
		holdfast__v1__client_packet__init(&one);
		one.n_requests = 1;
		one.requests = &request;
		strip(&request->base);
		wire_out_init(&out, again, sizeof(again));
		if (wire_append_request(&out, request) == 0)
			check_written(p, &one.base, &out);
		if (i > 0)
			p->rep->seen |= 1u << SEEN_BATCH;
	}
	if (theirs != NULL)
		holdfast__v1__client_packet__free_unpacked(theirs, NULL);
}

static void
check_reply(struct packet *p, Holdfast__V1__Reply *reply)
{
	static uint8_t again[HOLDFAST_PACKET_MAX];
	Holdfast__V1__ServerPacket one;
	struct wire_out out;

	p->rep->nchecks++;
	holdfast__v1__server_packet__init(&one);
	one.n_replies = 1;
	one.replies = &reply;
	wire_out_init(&out, again, sizeof(again));
	if (wire_append_reply(&out, reply) < 0)
		return;
	check_written(p, &one.base, &out);
	if (wire_reply_size(reply) != out.len)
		(void)fuzz_found(p->rep, "wire", "size",
		    "%zu bytes were announced, %zu are there",
		    wire_reply_size(reply), out.len);
}

static void
check_server(struct packet *p, const uint8_t *buf, size_t len)
{
	Holdfast__V1__ServerPacket *got, *theirs;

	wire_arena_reset(&p->arena);
	got = wire_unpack_server(&p->arena, buf, len);
	theirs = holdfast__v1__server_packet__unpack(NULL, len, buf);
	if (got != NULL && theirs == NULL)
		(void)fuzz_found(p->rep, "wire", "unpack",
		    "protobuf-c refuses what wire.c accepts");
	if (got != NULL && got->n_replies > HOLDFAST_BATCH_MAX)
		(void)fuzz_found(p->rep, "wire", "unpack", "%zu replies",
		    got->n_replies);
	for (size_t i = 0; got != NULL && i < got->n_replies; i++) {
		Holdfast__V1__Reply *reply = got->replies[i];

		strip(&reply->base);
		check_reply(p, reply);
	}
	if (theirs != NULL)
		holdfast__v1__server_packet__free_unpacked(theirs, NULL);
}

/* ---- Into a daemon --------------------------------------------------------
 */

static void
serve(struct packet *p, const uint8_t *buf, size_t len)
{
	static const uint8_t plain[SYS_HEADER];
	static struct daemon d;

	memset(&d, 0, sizeof(d));
	d.rep = p->rep;
	for (unsigned i = 0; i < DAEMON_CLIENTS; i++)
		d.clients[i].fd = -1;
	sys_env_begin();
	if (wire_arena_init(&d.arena, 1 << 18) == 0 &&
	    daemon_begin(&d, plain)) {
		daemon_open(&d, 0, 0, true);
		daemon_settle(&d);
		d.clients[0].wild = true;
		(void)sys_send(d.clients[0].fd, buf, len, NULL, 0);
		daemon_settle(&d);
		daemon_end(&d);
	}
	daemon_free(&d);
	sys_env_end();
}

static void
run_packet(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static uint8_t buf[HOLDFAST_PACKET_MAX];
	struct packet p = {.rep = rep, .next_id = 1};
	unsigned nfds = sys_nfds();

	memset(rep, 0, sizeof(*rep));
	wire_out_init(&p.out, buf, sizeof(buf));
	if (wire_arena_init(&p.arena, ARENA) < 0)
		return;
	if (size >= SYS_HEADER && (data[0] & 1) != 0) {
		p.out.len = size - SYS_HEADER < sizeof(buf) ? size - SYS_HEADER
							    : sizeof(buf);
		memcpy(buf, data + SYS_HEADER, p.out.len);
		rep->nops++;
	} else {
		build(&p, data, size);
	}
	check_client(&p, buf, p.out.len);
	check_server(&p, buf, p.out.len);
	wire_arena_fini(&p.arena);
	if (!rep->found && p.out.len > 0)
		serve(&p, buf, p.out.len);
	if (sys_nfds() != nfds)
		(void)fuzz_found(rep, "leak", "fds", "%u descriptors, not %u",
		    sys_nfds(), nfds);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_packet",
    .ops = (UINT64_C(1) << NACTIONS) - 1,
    .run = run_packet,
    .sometimes = sometimes};
