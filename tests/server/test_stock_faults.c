/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory, descriptors and calls of the back end fail, one after another, while
 * spans are made ready, handed out and dissolved, requests wait, time out and
 * are cancelled, and clients are asked for memory.  Afterwards everything is
 * as it was.
 */

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/server/failing.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define FRAMES 8

static struct server_options options;

static void
faulty_rig(struct rig *rig)
{
	server_options_default(&options);
	options.addresses.all = true;
	options.stock = (struct stock_options){
	    .share = 50,
	    .min = 2,
	    .tick_ms = 2,
	};
	options.reclaim.deadline_ms = 5;
	rig_init(rig, &(struct rig_options){
			  .nframes = FRAMES,
			  .memfd = true,
			  .server = &options,
		      });
}

/* A client that the server may cut off at any moment. */
struct frail {
	struct client client;
	bool cut;
};

static void
frail_open(struct frail *frail, struct rig *rig)
{
	frail->cut = !client_open_failing(&frail->client, rig);
}

static void
frail_send(struct frail *frail, request_t *request)
{
	struct client *client = &frail->client;
	struct wire_out out;

	if (frail->cut)
		return;
	wire_out_init(&out, client->buf, HOLDFAST_PACKET_MAX);
	request->id = client->next_id++;
	ASSERT_EQ(wire_append_request(&out, request), 0);
	if (send(client->fd, out.buf, out.len, MSG_NOSIGNAL) < 0)
		frail->cut = true;
}

/* The next packet with replies; NULL: cut off. */
static reply_t *
frail_hear(struct frail *frail)
{
	while (!frail->cut) {
		if (!client_receive(&frail->client))
			frail->cut = true;
		else if (frail->client.packet->n_replies > 0)
			return frail->client.packet->replies[0];
	}
	return NULL;
}

/* The reply to it if it is a success. */
static reply_t *
frail_call(struct frail *frail, request_t *request)
{
	reply_t *reply;

	frail_send(frail, request);
	reply = frail_hear(frail);
	if (reply == NULL || reply->status == OK)
		return reply;
	if (reply->status != REFUSED(RESOURCE_SHORTAGE) &&
	    reply->status != REFUSED(NO_SPACE) &&
	    reply->status != REFUSED(UNKNOWN_ID) &&
	    reply->status != REFUSED(TIMED_OUT))
		test_fail(__FILE__, __LINE__, "status %d: %s",
		    (int)reply->status, reply->message);
	return NULL;
}

static void
frail_hello(struct frail *frail)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Hello op = HOLDFAST__V1__HELLO__INIT;

	op.version_min = op.version_max = 1;
	request.op_case = HOLDFAST__V1__REQUEST__OP_HELLO;
	request.hello = &op;
	if (frail_call(frail, &request) == NULL)
		frail->cut = true;
}

static void
alloc_request(request_t *request, Holdfast__V1__ContigAlloc *op, uint64_t n,
    uint32_t flags)
{
	holdfast__v1__request__init(request);
	holdfast__v1__contig_alloc__init(op);
	op->size = n * RIG_FRAME;
	op->flags = flags;
	request->op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC;
	request->contig_alloc = op;
}

/* The number of the buffer; 0: refused. */
static uint64_t
frail_alloc(struct frail *frail, uint64_t n, uint32_t flags, uint64_t ms)
{
	Holdfast__V1__ContigAlloc op;
	request_t request;
	reply_t *reply;

	alloc_request(&request, &op, n, flags);
	op.deadline_ms = ms;
	reply = frail_call(frail, &request);
	return reply == NULL ? 0 : reply->contig_alloc->buffer;
}

static void
frail_free(struct frail *frail, uint64_t buffer)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigFree op = HOLDFAST__V1__CONTIG_FREE__INIT;

	op.buffer = buffer;
	request.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_FREE;
	request.contig_free = &op;
	if (buffer != 0)
		(void)frail_call(frail, &request);
}

static void
frail_listen(struct frail *frail)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ReclaimListen op = HOLDFAST__V1__RECLAIM_LISTEN__INIT;

	op.listen = true;
	request.op_case = HOLDFAST__V1__REQUEST__OP_RECLAIM_LISTEN;
	request.reclaim_listen = &op;
	(void)frail_call(frail, &request);
}

static void
frail_done(struct frail *frail)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ReclaimDone op = HOLDFAST__V1__RECLAIM_DONE__INIT;

	request.op_case = HOLDFAST__V1__REQUEST__OP_RECLAIM_DONE;
	request.reclaim_done = &op;
	(void)frail_call(frail, &request);
}

/* A request that waits, and is cancelled or answered. */
static void
frail_cancel(struct frail *frail, uint64_t n)
{
	Holdfast__V1__ContigCancel cancel = HOLDFAST__V1__CONTIG_CANCEL__INIT;
	request_t request, other = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigAlloc op;
	uint64_t buffer = 0;
	size_t nreplies = 0;

	alloc_request(&request, &op, n, M_WAITOK);
	frail_send(frail, &request);
	for (int i = 0; i < 3; i++)
		rig_turn(frail->client.rig);
	cancel.request = request.id;
	other.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_CANCEL;
	other.contig_cancel = &cancel;
	frail_send(frail, &other);
	while (nreplies < 2 && frail_hear(frail) != NULL) {
		Holdfast__V1__ServerPacket *packet = frail->client.packet;

		for (size_t i = 0; i < packet->n_replies; i++, nreplies++)
			if (packet->replies[i]->result_case ==
			    HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC)
				buffer =
				    packet->replies[i]->contig_alloc->buffer;
	}
	frail_free(frail, buffer);
}

/* Two clients contend for eight frames. */
static void
contend(struct rig *rig)
{
	struct frail client, cache;
	uint64_t held, small, large, late;

	frail_open(&client, rig);
	frail_open(&cache, rig);
	frail_hello(&client);
	frail_hello(&cache);
	frail_listen(&cache);
	small = frail_alloc(&client, 1, M_ZERO, 0); /* from stock, or not */
	held = frail_alloc(&cache, 3, 0, 0);
	large = frail_alloc(&client, 4, M_NOWAIT, 0); /* stock dissolves */
	frail_free(&client, small);
	late = frail_alloc(&client, 4, M_WAITOK, 3); /* asks, and times out */
	frail_done(&cache);
	frail_free(&cache, held);
	frail_cancel(&client, 6);
	frail_free(&client, large);
	frail_free(&client, late);
	(void)frail_alloc(&client, FRAMES, M_WAITOK, 100);
	client_close(&client.client);
	client_close(&cache.client);
}

static void
check_home(struct rig *rig, int nfds)
{
	struct stock *stock = &rig->server->pool.stock;
	uint64_t end = server_now_ms() + 10000;
	struct vm_phys_stats stats;

	for (;;) {
		struct tenant *tenant = TAILQ_FIRST(&rig->server->tenants);

		rig_settle(rig);
		vm_phys_stats(rig->server->pool.phys, &stats);
		if (stats.free + stock->nframes_ready * RIG_FRAME ==
			stats.total &&
		    rig->server->nsessions == 0 &&
		    rig->server->pool.waitq.n == 0 &&
		    (tenant == NULL || quota_is_empty(&tenant->quota)) &&
		    test_nfds() - (int)stock->nspans_ready == nfds)
			break;
		if (server_now_ms() > end)
			test_fail(__FILE__, __LINE__, "something is held");
		(void)usleep(1000);
	}
	ASSERT_NULL(vm_phys_check(rig->server->pool.phys));
	ASSERT_NULL(vm_phys_check(stock->runs));
}

/* What stays open for ever, once everything has been used. */
static int
warm_up(struct rig *rig)
{
	struct stock *stock = &rig->server->pool.stock;

	contend(rig);
	contend(rig);
	do
		rig_settle(rig);
	while (stock->nframes != stock->nframes_ready ||
	       rig->server->nsessions > 0 || rig->server->pool.nspans > 0 ||
	       rig->server->pool.nrecycling > 0);
	return test_nfds() - (int)stock->nspans_ready;
}

TEST_TIMEOUT(stock_faults__no_failing_allocation_leaves_a_trace, 120)
{
	unsigned long nth, clean = 0;
	struct rig rig;
	int nfds;

	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	faulty_rig(&rig);
	rig_around_turn = arm;
	nfds = warm_up(&rig);
	for (nth = 1; nth < 2000 && clean < 3; nth++) {
		atomic_store(&nfailed, 0);
		atomic_store(&countdown, nth);
		contend(&rig);
		atomic_store(&countdown, 0);
		check_home(&rig, nfds);
		clean = atomic_load(&nfailed) == 0 ? clean + 1 : 0;
	}
	printf("%lu places to fail\n", nth - 4);
	ASSERT_EQ(clean, 3u);
	ASSERT_TRUE(nth > 20);
	rig_around_turn = NULL;
	rig_fini(&rig);
}

TEST_TIMEOUT(stock_faults__no_failing_metadata_leaves_a_trace, 120)
{
	uint64_t nth, clean = 0;
	struct rig rig;
	int nfds;

	faulty_rig(&rig);
	nfds = warm_up(&rig);
	for (nth = 1; nth < 2000 && clean < 3; nth++) {
		sim_fail_nth(rig.arch, nth);
		contend(&rig);
		clean = sim_nfailed(rig.arch) == 0 ? clean + 1 : 0;
		sim_fail_never(rig.arch);
		check_home(&rig, nfds);
	}
	printf("%llu places to fail\n", (unsigned long long)nth - 4);
	ASSERT_EQ(clean, 3u);
	ASSERT_TRUE(nth > 8);
	rig_fini(&rig);
}

/* The nth call of each kind, with what it may answer. */
TEST_TIMEOUT(stock_faults__no_failing_call_of_the_back_end_leaves_a_trace, 120)
{
	static const struct {
		enum sim_call call;
		int error;
	} faults[] = {
	    {SIM_ASSEMBLE, EAGAIN},
	    {SIM_ASSEMBLE, ENOENT},
	    {SIM_ASSEMBLE, EMFILE},
	    {SIM_ASSEMBLE, ENOMEM},
	    {SIM_RECYCLE, EBUSY},
	};
	struct rig rig;
	int nfds;

	faulty_rig(&rig);
	nfds = warm_up(&rig);
	for (size_t i = 0; i < nitems(faults); i++) {
		for (unsigned times = 1; times <= 8; times++) {
			sim_fail_call(rig.arch, faults[i].call, faults[i].error,
			    times);
			contend(&rig);
			sim_fail_call(rig.arch, faults[i].call, 0, 0);
			check_home(&rig, nfds);
		}
	}
	rig_fini(&rig);
}
