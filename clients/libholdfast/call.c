/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Requests out, replies in.
 *
 * A reply is accepted when it answers a request of this exchange that has no
 * answer yet, has a status this library knows, carries the result that was
 * asked for, and as many descriptors as it may.  The descriptors of a packet
 * are split among its replies in order.  Anything else ends the connection.
 *
 * Unpacking takes its memory from a fixed arena, so a daemon cannot make a
 * client allocate without bound, and the common path calls no malloc.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clients/libholdfast/holdfast_int.h"

int
hf_usable(const struct holdfast *h)
{
	if (h == NULL)
		return -EINVAL;
	if (*h->mine == 0)
		return -EPERM;
	return h->broken;
}

int
hf_broken(struct holdfast *h, int r)
{
	if (h->broken == 0) {
		h->broken = r;
		hf_conn_end(&h->conn);
	}
	return r;
}

/* Daemon text reaches terminals: no control characters. */
static void
make_printable(char *text)
{
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void
say_v(struct holdfast *h, const char *format, va_list args)
{
	(void)vsnprintf(h->error, sizeof(h->error), format, args);
	make_printable(h->error);
}

void
hf_say(struct holdfast *h, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(h, format, args);
	va_end(args);
}

int
hf_mistrust(struct holdfast *h, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(h, format, args);
	va_end(args);
	return hf_broken(h, -EPROTO);
}

/* The wire's status as enum holdfast_status; -1: no such. */
static int
status_from_wire(Holdfast__V1__Status status)
{
	if (status >= HOLDFAST__V1__STATUS__STATUS_SUCCESS &&
	    status <= HOLDFAST__V1__STATUS__STATUS_WOULD_BLOCK)
		return (int)status - 1;
	if (status >= HOLDFAST__V1__STATUS__STATUS_VERSION &&
	    status <= HOLDFAST__V1__STATUS__STATUS_CANCELLED)
		return (int)status;
	return -1;
}

static int
send_requests(struct holdfast *h, const struct hf_exchange *exchange)
{
	struct wire_out out;

	wire_out_init(&out, h->packet, h->packet_max);
	for (size_t i = 0; i < exchange->n; i++) {
		int r;

		exchange->requests[i].id = h->next_id + i;
		r = wire_append_request(&out, &exchange->requests[i]);
		if (r < 0)
			return r;
	}
	return hf_conn_send(&h->conn, out.buf, out.len);
}

/* Which replies of an exchange are still missing. */
struct pending {
	uint64_t base; /* id of request 0 */
	size_t nleft;
	uint64_t done[(HOLDFAST_BATCH_MAX + 63) / 64];
};

static bool
pending_take(struct pending *pending, uint64_t id, size_t n, size_t *nthp)
{
	uint64_t nth = id - pending->base;
	uint64_t bit = UINT64_C(1) << (nth % 64);

	if (nth >= n || (pending->done[nth / 64] & bit) != 0)
		return false;
	pending->done[nth / 64] |= bit;
	pending->nleft--;
	*nthp = (size_t)nth;
	return true;
}

/* Move the next `n` descriptors of a packet to *to.  false: not so many. */
static bool
split_fds(struct hf_fds *from, size_t *atp, size_t n, struct hf_fds *to)
{
	to->n = 0;
	if (n > from->n - *atp)
		return false;
	for (; to->n < n; to->n++)
		to->fd[to->n] = hf_fds_take(from, (*atp)++);
	return true;
}

static int
accept_reply(struct holdfast *h, const struct hf_exchange *exchange,
    struct pending *pending, const Holdfast__V1__Reply *reply,
    struct hf_fds *fds)
{
	int status = status_from_wire(reply->status), r;
	size_t nth;

	if (!pending_take(pending, reply->id, exchange->n, &nth))
		return hf_mistrust(h,
		    "the daemon answered request %llu, "
		    "which waits for no answer",
		    (unsigned long long)reply->id);
	if (status < 0)
		return hf_mistrust(h,
		    "the daemon answered with the unknown "
		    "status %d",
		    (int)reply->status);
	if (status != HF_OK) {
		if (fds->n != 0)
			return hf_mistrust(h, "the daemon sent descriptors "
					      "with a refusal");
		hf_say(h, "%s", reply->message);
	} else if (reply->result_case != exchange->expect) {
		return hf_mistrust(h,
		    "the daemon sent result %d where %d "
		    "was due",
		    (int)reply->result_case, (int)exchange->expect);
	} else if (fds->n > exchange->nfds_max) {
		return hf_mistrust(h,
		    "the daemon sent %zu descriptors where "
		    "at most %zu are due",
		    fds->n, exchange->nfds_max);
	}
	r = exchange->accept(h, exchange->arg, nth, status, reply, fds);
	return r < 0 ? hf_broken(h, r) : 0;
}

/*
 * The number of every ContigCancel: its answer says nothing that the answer to
 * what it cancelled does not say.
 */
#define CANCEL_ID (UINT64_C(1) << 63)

static bool
is_answer_to_cancel(struct holdfast *h, const Holdfast__V1__Reply *reply)
{
	if (reply->id != CANCEL_ID || reply->nfds != 0 ||
	    atomic_load(&h->cancels) == 0)
		return false;
	atomic_fetch_sub(&h->cancels, 1);
	return true;
}

/*
 * Is it the answer to what was posted?  Only a daemon that is about to go
 * refuses that; one that does not know quiet requests says that it was done.
 */
static bool
is_answer_to_post(struct holdfast *h, const Holdfast__V1__Reply *reply)
{
	if (h->posted == 0 || reply->id != h->posted || reply->nfds != 0 ||
	    (reply->status != HOLDFAST__V1__STATUS__STATUS_SUCCESS &&
		reply->status != HOLDFAST__V1__STATUS__STATUS_SHUTTING_DOWN))
		return false;
	h->posted = 0;
	return true;
}

static int
accept_packet(struct holdfast *h, const struct hf_exchange *exchange,
    struct pending *pending, const Holdfast__V1__ServerPacket *packet,
    struct hf_fds *fds)
{
	size_t at = 0;

	for (size_t i = 0; i < packet->n_events; i++) {
		int r = hf_map_event(h, packet->events[i]);

		if (r < 0)
			return r;
	}
	if (packet->reclaim != NULL) {
		int r = hf_reclaim_event(h, packet->reclaim);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < packet->n_lost; i++)
		hf_lost_event(h, packet->lost[i]);
	if (packet->n_replies == 0 && packet->n_events == 0 &&
	    packet->reclaim == NULL && packet->n_lost == 0)
		return hf_mistrust(h, "the daemon sent an empty packet");
	for (size_t i = 0; i < packet->n_replies; i++) {
		const Holdfast__V1__Reply *reply = packet->replies[i];
		struct hf_fds own;
		int r;

		if (is_answer_to_cancel(h, reply) ||
		    is_answer_to_post(h, reply))
			continue;
		if (!split_fds(fds, &at, reply->nfds, &own))
			return hf_mistrust(h, "the daemon announced more "
					      "descriptors than it sent");
		r = accept_reply(h, exchange, pending, reply, &own);
		hf_fds_close(&own);
		if (r < 0)
			return r;
	}
	if (at != fds->n)
		return hf_mistrust(h, "the daemon sent descriptors that "
				      "belong to no reply");
	return 0;
}

static int
receive_replies(struct holdfast *h, const struct hf_exchange *exchange,
    struct pending *pending)
{
	Holdfast__V1__ServerPacket *packet;
	struct hf_fds fds;
	size_t size;
	int r;

	r = hf_conn_receive(&h->conn, h->packet, HOLDFAST_PACKET_MAX, &size,
	    exchange->nfds_max, &fds);
	if (r == -EPROTO)
		return hf_mistrust(h,
		    "the daemon sent an oversize packet, too "
		    "many descriptors, or descriptors without data");
	if (r < 0)
		return hf_broken(h, r);
	wire_arena_reset(&h->arena);
	packet = wire_unpack_server(&h->arena, h->packet, size);
	if (packet == NULL)
		r = hf_mistrust(h, "the daemon sent a packet that does not "
				   "parse");
	else
		r = accept_packet(h, exchange, pending, packet, &fds);
	hf_fds_close(&fds);
	return r;
}

bool
hf_take_events(struct holdfast *h)
{
	static const struct hf_exchange none = {0};
	struct pending pending = {.base = h->next_id};

	if (!hf_conn_is_readable(&h->conn))
		return false;
	return hf_conn_begin(&h->conn) == 0 &&
	       receive_replies(h, &none, &pending) == 0;
}

int
hf_post(struct holdfast *h, Holdfast__V1__Request *request)
{
	const struct hf_exchange exchange = {.requests = request, .n = 1};
	int r;

	h->error[0] = '\0';
	r = hf_conn_begin(&h->conn);
	if (r == 0)
		r = send_requests(h, &exchange);
	h->posted = h->next_id++;
	return r < 0 ? hf_broken(h, r) : 0;
}

static int
send_cancel(struct holdfast *h, uint64_t id)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigCancel op = HOLDFAST__V1__CONTIG_CANCEL__INIT;
	uint8_t packet[128];
	struct wire_out out;
	int r;

	op.request = id;
	request.id = CANCEL_ID;
	request.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_CANCEL;
	request.contig_cancel = &op;
	wire_out_init(&out, packet, sizeof(packet));
	r = wire_append_request(&out, &request);
	if (r < 0)
		return r;
	atomic_fetch_add(&h->cancels, 1);
	r = hf_conn_send_now(h->conn.fd, out.buf, out.len);
	if (r < 0)
		atomic_fetch_sub(&h->cancels, 1);
	return r;
}

int
holdfast_contig_cancel(struct holdfast *h)
{
	uint64_t id;

	if (h == NULL)
		return -EINVAL;
	/* In this order: the call sets the number and then looks. */
	atomic_store(&h->cancel, true);
	id = atomic_load(&h->waiting);
	return id == 0 ? -ENOENT : send_cancel(h, id);
}

static int
exchange_begin(struct holdfast *h, const struct hf_exchange *exchange)
{
	if (!exchange->waits)
		return hf_conn_begin(&h->conn);
	atomic_store(&h->cancel, false);
	return hf_conn_begin_for(&h->conn, exchange->wait_ms);
}

/* It was sent: from here on it can be cancelled, and perhaps was. */
static int
exchange_sent(struct holdfast *h, const struct hf_exchange *exchange)
{
	if (!exchange->waits)
		return 0;
	atomic_store(&h->waiting, h->next_id);
	return atomic_load(&h->cancel) ? send_cancel(h, h->next_id) : 0;
}

int
hf_exchange(struct holdfast *h, const struct hf_exchange *exchange)
{
	struct pending pending = {.base = h->next_id, .nleft = exchange->n};
	int r;

	h->error[0] = '\0';
	r = exchange_begin(h, exchange);
	if (r == 0)
		r = send_requests(h, exchange);
	if (r == -EMSGSIZE)
		return r; /* nothing was sent */
	if (r == 0)
		r = exchange_sent(h, exchange);
	h->next_id += exchange->n;
	if (r < 0)
		r = hf_broken(h, r);
	while (r == 0 && pending.nleft > 0)
		r = receive_replies(h, exchange, &pending);
	h->posted = 0; /* it was carried out before */
	if (exchange->waits)
		atomic_store(&h->waiting, 0);
	return r;
}

struct single {
	int status;
	const Holdfast__V1__Reply *reply;
	struct hf_fds *fds;
};

static int
accept_single(struct holdfast *h, void *arg, size_t nth, int status,
    const Holdfast__V1__Reply *reply, struct hf_fds *fds)
{
	struct single *single = arg;

	(void)h;
	(void)nth;
	single->status = status;
	single->reply = reply;
	if (single->fds != NULL) {
		*single->fds = *fds;
		fds->n = 0;
	}
	return 0;
}

static int
call_one(struct holdfast *h, const struct hf_exchange *how,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds)
{
	struct single single = {.fds = fds};
	struct hf_exchange exchange = *how;
	int r = hf_usable(h);

	exchange.n = 1;
	exchange.accept = accept_single;
	exchange.arg = &single;
	if (fds != NULL)
		fds->n = 0;
	if (r == 0)
		r = hf_exchange(h, &exchange);
	if (r < 0) {
		if (fds != NULL)
			hf_fds_close(fds);
		return r;
	}
	if (replyp != NULL)
		*replyp = single.reply;
	return single.status;
}

int
hf_call(struct holdfast *h, Holdfast__V1__Request *request,
    Holdfast__V1__Reply__ResultCase expect, size_t nfds_max,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds)
{
	struct hf_exchange exchange = {
	    .requests = request,
	    .expect = expect,
	    .nfds_max = nfds_max,
	};

	return call_one(h, &exchange, replyp, fds);
}

int
hf_call_waiting(struct holdfast *h, Holdfast__V1__Request *request,
    Holdfast__V1__Reply__ResultCase expect, size_t nfds_max, int64_t wait_ms,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds)
{
	struct hf_exchange exchange = {
	    .requests = request,
	    .expect = expect,
	    .nfds_max = nfds_max,
	    .waits = true,
	    .wait_ms = wait_ms,
	};

	return call_one(h, &exchange, replyp, fds);
}

int
hf_call_bare(struct holdfast *h, Holdfast__V1__Request *request)
{
	return hf_call(h, request, HOLDFAST__V1__REPLY__RESULT__NOT_SET, 0,
	    NULL, NULL);
}
