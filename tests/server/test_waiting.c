/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Requests that wait: in what order they are served, how they end, and what is
 * tried for them (and for others) before they are refused.
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)

static struct server_options options;

static void
wait_rig(struct rig *rig, size_t nframes)
{
	options.addresses.all = true;
	rig_init(rig, &(struct rig_options){
			  .nframes = nframes,
			  .memfd = true,
			  .server = &options,
		      });
}

/* Ask for frames and do not wait for the answer; returns the number. */
static uint64_t
ask_for(struct client *client, uint64_t nframes, uint32_t flags, uint64_t ms)
{
	REQUEST(ContigAlloc, CONTIG_ALLOC, contig_alloc);

	op.size = nframes * RIG_FRAME;
	op.flags = flags;
	op.deadline_ms = ms;
	return client_post(client, &request);
}

/* The answer to one request: its status, and the buffer if there is one. */
static int
answer_of(struct client *client, uint64_t id, uint64_t *bufferp)
{
	reply_t *reply;

	ASSERT_TRUE(client_receive(client));
	reply = client->packet->replies[0];
	ASSERT_EQ(reply->id, id);
	ASSERT_EQ(reply->message[0] != '\0', reply->status != OK);
	if (bufferp != NULL && reply->status == OK)
		*bufferp = reply->contig_alloc->buffer;
	return (int)reply->status;
}

static uint64_t
take(struct client *client, uint64_t nframes)
{
	uint64_t buffer, id = ask_for(client, nframes, 0, 0);

	ASSERT_EQ(answer_of(client, id, &buffer), (int)OK);
	return buffer;
}

static int
bare(struct client *client, int op, void *message)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;

	request.op_case = (Holdfast__V1__Request__OpCase)op;
	request.ping = message;
	return (int)client_call(client, &request)->status;
}

TEST(waiting__waitok_waits_and_others_are_refused)
{
	struct client client, other;
	uint64_t held, id, got;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&other, &rig);
	held = take(&other, 8);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_NOWAIT, NULL),
	    (int)REFUSED(NO_SPACE));
	id = ask_for(&client, 3, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_pool(&other)->waiting, 1u);
	ASSERT_EQ(client_tenant(&other)->requests->used, 1u);
	ASSERT_EQ(client_free(&other, held), (int)OK);
	ASSERT_EQ(answer_of(&client, id, &got), (int)OK);
	ASSERT_EQ(client_pool(&other)->waiting, 0u);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

TEST(waiting__what_could_never_be_is_refused_at_once)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.limits.limit[QUOTA_BYTES] = 6 * RIG_FRAME;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 9 * RIG_FRAME, M_WAITOK, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_alloc(&client, 7 * RIG_FRAME, M_WAITOK, NULL),
	    (int)REFUSED(QUOTA));
	client_close(&client);
	rig_fini(&rig);
}

TEST(waiting__a_quota_is_waited_for_too)
{
	struct client client, other;
	uint64_t held, id;
	struct rig rig;

	server_options_default(&options);
	options.limits.limit[QUOTA_BYTES] = 4 * RIG_FRAME;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&other, &rig);
	held = take(&other, 3);
	id = ask_for(&client, 2, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_free(&other, held), (int)OK);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

/* What a tenant frees inside a span that it keeps serves its own. */
TEST(waiting__a_hole_in_the_tenants_own_span_will_do)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *result;
	struct client client, other;
	uint64_t first, id, pa;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 1);
	client_join(&client, &rig);
	client_join(&other, &rig);
	ASSERT_EQ(client_alloc(&other, RIG_FRAME / 2, 0, &result), (int)OK);
	first = result->buffer;
	pa = result->pa;
	ASSERT_EQ(client_alloc(&other, RIG_FRAME / 2, 0, &result), (int)OK);
	alloc.size = RIG_FRAME / 2;
	alloc.flags = M_WAITOK;
	id = client_post_alloc(&client, &alloc);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_free(&other, first), (int)OK);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	ASSERT_EQ(client.packet->replies[0]->contig_alloc->pa, pa);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

/* ---- Order ------------------------------------------------------- */

TEST(waiting__one_tenant_is_served_in_order)
{
	uint64_t held[4], id[3], buffer;
	struct client client[3], other;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&other, &rig);
	for (int i = 0; i < 4; i++)
		held[i] = take(&other, 1);
	for (int i = 0; i < 3; i++)
		client_join(&client[i], &rig);
	for (int i = 0; i < 3; i++) {
		id[i] = ask_for(&client[i], i == 0 ? 2 : 1, M_WAITOK, 0);
		ASSERT_FALSE(client_is_answered(&client[i]));
	}
	/* One frame: enough for the second, but it is not its turn. */
	ASSERT_EQ(client_free(&other, held[0]), (int)OK);
	ASSERT_FALSE(client_is_answered(&client[1]));
	ASSERT_FALSE(client_is_answered(&client[2]));
	/* The next two make a run of two for the first, whichever they are. */
	ASSERT_EQ(client_free(&other, held[1]), (int)OK);
	ASSERT_EQ(answer_of(&client[0], id[0], &buffer), (int)OK);
	ASSERT_FALSE(client_is_answered(&client[1]));
	ASSERT_EQ(client_free(&other, held[2]), (int)OK);
	ASSERT_EQ(answer_of(&client[1], id[1], NULL), (int)OK);
	ASSERT_FALSE(client_is_answered(&client[2]));
	ASSERT_EQ(client_free(&client[0], buffer), (int)OK);
	ASSERT_EQ(answer_of(&client[2], id[2], NULL), (int)OK);
	for (int i = 0; i < 3; i++)
		client_close(&client[i]);
	client_close(&other);
	rig_fini(&rig);
}

TEST(waiting__tenants_take_turns)
{
	struct client holder, many, few;
	uint64_t held[4], id_many[3], id_few;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&holder, &rig);
	client_join_as(&many, &rig, 4711);
	client_join_as(&few, &rig, 4712);
	for (int i = 0; i < 4; i++)
		held[i] = take(&holder, 1);
	for (int i = 0; i < 3; i++)
		id_many[i] = ask_for(&many, 1, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&many));
	id_few = ask_for(&few, 1, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&few));
	ASSERT_EQ(client_free(&holder, held[0]), (int)OK);
	ASSERT_EQ(answer_of(&many, id_many[0], NULL), (int)OK);
	/* The second of the one waits behind the first of the other. */
	ASSERT_EQ(client_free(&holder, held[1]), (int)OK);
	ASSERT_EQ(answer_of(&few, id_few, NULL), (int)OK);
	ASSERT_FALSE(client_is_answered(&many));
	ASSERT_EQ(client_free(&holder, held[2]), (int)OK);
	ASSERT_EQ(answer_of(&many, id_many[1], NULL), (int)OK);
	ASSERT_EQ(client_free(&holder, held[3]), (int)OK);
	ASSERT_EQ(answer_of(&many, id_many[2], NULL), (int)OK);
	client_close(&few);
	client_close(&many);
	client_close(&holder);
	rig_fini(&rig);
}

/*
 * Two frames of four are always in use by small requests, which come and go;
 * without keeping there would never be a run of four.
 */
TEST(waiting__a_large_request_is_not_starved_by_small_ones)
{
	struct client small, large;
	uint64_t held[4], id = 0, buffer = 0;
	int turns = 0, status = 0;
	bool kept = false;
	struct rig rig;
	size_t n = 4;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join_as(&small, &rig, 4711);
	client_join(&large, &rig);
	for (int i = 0; i < 4; i++)
		held[i] = take(&small, 1);
	id = ask_for(&large, 4, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&large));
	while (!client_is_answered(&large)) {
		ASSERT_LT(++turns, 200);
		/* The oldest goes, and another one is wanted at once. */
		if (n > 0) {
			ASSERT_EQ(client_free(&small, held[0]), (int)OK);
			memmove(held, held + 1, --n * sizeof(held[0]));
		}
		rig_settle(&rig);
		status = client_alloc(&small, RIG_FRAME, M_NOWAIT, NULL);
		if (status == (int)OK)
			held[n++] =
			    small.packet->replies[0]->contig_alloc->buffer;
		else
			kept = kept || strstr(client_sentence(&small),
					   "waited longer") != NULL;
	}
	ASSERT_EQ(answer_of(&large, id, &buffer), (int)OK);
	ASSERT_TRUE(kept);
	printf("served after %d turns\n", turns);
	ASSERT_EQ(client_free(&large, buffer), (int)OK);
	rig_settle(&rig);
	ASSERT_EQ(client_alloc(&small, RIG_FRAME, M_NOWAIT, NULL), (int)OK);
	client_close(&large);
	client_close(&small);
	rig_fini(&rig);
}

/* Frames are kept for a second; then those who are there get them. */
TEST(waiting__frames_are_not_kept_for_ever)
{
	struct client small, large, holder;
	uint64_t held[3], end;
	struct rig rig;
	int status;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&holder, &rig);
	client_join_as(&small, &rig, 4711);
	client_join_as(&large, &rig, 4712);
	(void)take(&holder, 1); /* and keeps it */
	for (int i = 0; i < 3; i++)
		held[i] = take(&small, 1);
	(void)ask_for(&large, 4, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&large));
	for (int i = 0; i < 9; i++) {
		ASSERT_EQ(client_free(&small, held[0]), (int)OK);
		rig_settle(&rig);
		if (client_alloc(&small, RIG_FRAME, M_NOWAIT, NULL) != (int)OK)
			break;
		memmove(held, held + 1, 2 * sizeof(held[0]));
		held[2] = small.packet->replies[0]->contig_alloc->buffer;
	}
	ASSERT_NOT_NULL(rig.server->pool.waitq.kept);
	end = server_now_ms() + 20000;
	do {
		status = client_alloc(&small, RIG_FRAME, M_NOWAIT, NULL);
		(void)usleep(10000);
		ASSERT_LT(server_now_ms(), end);
	} while (status != (int)OK);
	ASSERT_FALSE(client_is_answered(&large));
	client_close(&large);
	client_close(&small);
	client_close(&holder);
	rig_fini(&rig);
}

/* ---- How they end ------------------------------------------------ */

TEST(waiting__a_deadline_that_passes_is_said)
{
	struct client client, other;
	uint64_t id, held;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&client, &rig);
	client_join(&other, &rig);
	held = take(&other, 4);
	id = ask_for(&client, 2, M_WAITOK, 30);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)REFUSED(TIMED_OUT));
	ASSERT_HAS(client_sentence(&client), "30 ms");
	ASSERT_EQ(client_pool(&client)->waiting, 0u);
	ASSERT_EQ(client_tenant(&client)->requests->used, 0u);
	/* One whose memory comes in time does not hear of it. */
	id = ask_for(&client, 2, M_WAITOK, 60000);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_free(&other, held), (int)OK);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

TEST(waiting__a_deadline_needs_waitok_and_a_bound)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct client client;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&client, &rig);
	alloc.size = PAGE;
	alloc.deadline_ms = 5;
	ASSERT_EQ(client_alloc_req(&client, &alloc, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_HAS(client_sentence(&client), "deadline_ms");
	alloc.flags = M_WAITOK;
	alloc.deadline_ms = UINT64_MAX;
	ASSERT_EQ(client_alloc_req(&client, &alloc, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	client_close(&client);
	rig_fini(&rig);
}

TEST(waiting__a_request_can_be_cancelled_once)
{
	struct client client, other;
	uint64_t id;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&client, &rig);
	client_join(&other, &rig);
	(void)take(&other, 4);
	id = ask_for(&client, 2, M_WAITOK, 0);
	ASSERT_FALSE(client_is_answered(&client));
	/* Only by its own session. */
	(void)client_post_cancel(&other, id);
	ASSERT_TRUE(client_receive(&other));
	ASSERT_EQ(other.packet->replies[0]->status, REFUSED(UNKNOWN_ID));
	(void)client_post_cancel(&client, id);
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->n_replies, 2u);
	ASSERT_EQ(client.packet->replies[0]->id, id);
	ASSERT_EQ(client.packet->replies[0]->status, REFUSED(CANCELLED));
	ASSERT_EQ(client.packet->replies[1]->status, OK);
	(void)client_post_cancel(&client, id);
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->replies[0]->status, REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_pool(&client)->waiting, 0u);
	ASSERT_EQ(client_tenant(&client)->buffers, 1u);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

/* Also while a worker is at it. */
TEST(waiting__cancelling_at_any_moment_leaves_nothing)
{
	struct client client, other;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 8);
	sim_delay_us(rig.arch, 1500);
	client_join(&client, &rig);
	client_join(&other, &rig);
	for (int i = 0; i < 60; i++) {
		uint64_t id =
		    ask_for(&client, 1 + (uint64_t)i % 8, M_WAITOK, 0);
		size_t n = 0;

		for (int k = 0; k < i; k++)
			rig_turn(&rig);
		(void)client_post_cancel(&client, id);
		while (n < 2) {
			ASSERT_TRUE(client_receive(&client));
			for (size_t k = 0; k < client.packet->n_replies; k++) {
				reply_t *reply = client.packet->replies[k];

				n++;
				if (reply->result_case ==
				    HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC) {
					uint64_t buffer =
					    reply->contig_alloc->buffer;

					/* It came first: then free it. */
					if (n < 2)
						ASSERT_TRUE(
						    client_receive(&client));
					n = 2;
					ASSERT_EQ(client_free(&client, buffer),
					    (int)OK);
					break;
				}
			}
		}
	}
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&other)->frames_standby, 8u);
	ASSERT_EQ(client_tenant(&other)->requests->used, 0u);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

TEST(waiting__a_dead_clients_requests_vanish_and_the_next_is_served)
{
	struct client client, other, last;
	uint64_t id, held;
	struct rig rig;

	server_options_default(&options);
	wait_rig(&rig, 4);
	client_join(&client, &rig);
	client_join(&last, &rig);
	client_join(&other, &rig);
	held = take(&other, 2);
	(void)take(&other, 1);
	for (int i = 0; i < 5; i++)
		(void)ask_for(&client, 4, M_WAITOK, i == 0 ? 60000 : 0);
	ASSERT_FALSE(client_is_answered(&client));
	id = ask_for(&last, 1, M_WAITOK, 0);
	(void)held;
	ASSERT_FALSE(client_is_answered(&last)); /* it waits behind them */
	client_close(&client);
	ASSERT_EQ(answer_of(&last, id, NULL), (int)OK);
	ASSERT_EQ(client_pool(&last)->waiting, 0u);
	ASSERT_EQ(client_tenant(&last)->requests->used, 0u);
	client_close(&last);
	client_close(&other);
	rig_fini(&rig);
}

TEST(waiting__a_tenants_waiting_requests_are_bounded)
{
	struct client client, other;
	uint64_t id = 0;
	struct rig rig;

	server_options_default(&options);
	options.limits.limit[QUOTA_REQUESTS] = 5;
	wait_rig(&rig, 4);
	client_join(&client, &rig);
	client_join_as(&other, &rig, 4711);
	(void)take(&other, 4);
	for (int i = 0; i < 6; i++)
		id = ask_for(&client, 1, M_WAITOK, 0);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)REFUSED(QUOTA));
	ASSERT_HAS(client_sentence(&client), "requests in flight");
	ASSERT_EQ(client_pool(&other)->waiting, 5u);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

/* ---- Memory that is asked back ----------------------------------- */

static void
listen_as(struct client *client, bool on)
{
	Holdfast__V1__ReclaimListen op = HOLDFAST__V1__RECLAIM_LISTEN__INIT;

	op.listen = on;
	ASSERT_EQ(bare(client, HOLDFAST__V1__REQUEST__OP_RECLAIM_LISTEN, &op),
	    (int)OK);
}

static uint64_t
asked_of(struct client *client)
{
	ASSERT_TRUE(client_receive(client));
	ASSERT_EQ(client->packet->n_replies, 0u);
	ASSERT_NOT_NULL(client->packet->reclaim);
	return client->packet->reclaim->bytes;
}

static void
say_done(struct client *client)
{
	Holdfast__V1__ReclaimDone op = HOLDFAST__V1__RECLAIM_DONE__INIT;

	ASSERT_EQ(bare(client, HOLDFAST__V1__REQUEST__OP_RECLAIM_DONE, &op),
	    (int)OK);
}

TEST(reclaim__a_client_that_listens_is_asked_and_what_it_gives_is_used)
{
	struct client client, cache;
	uint64_t held, id;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.deadline_ms = 20000;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join_as(&cache, &rig, 4711);
	listen_as(&cache, true);
	held = take(&cache, 5);
	(void)take(&cache, 3);
	id = ask_for(&client, 4, 0, 0); /* not even M_WAITOK */
	ASSERT_EQ(asked_of(&cache), 4 * RIG_FRAME);
	ASSERT_EQ(cache.packet->reclaim->deadline_ms, 20000u);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_free(&cache, held), (int)OK);
	say_done(&cache);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	ASSERT_EQ(client_pool(&client)->reclaim_asks, 1u);
	client_close(&client);
	client_close(&cache);
	rig_fini(&rig);
}

TEST(reclaim__an_answer_without_memory_refuses_at_once)
{
	struct client client, cache;
	uint64_t id;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.deadline_ms = 1000000; /* not waited for */
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&cache, &rig);
	listen_as(&cache, true);
	(void)take(&cache, 8);
	id = ask_for(&client, 4, 0, 0);
	(void)asked_of(&cache);
	say_done(&cache);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)REFUSED(NO_SPACE));
	/* The same when it goes away instead, or listens no more. */
	id = ask_for(&client, 4, 0, 0);
	(void)asked_of(&cache);
	listen_as(&cache, false);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_alloc(&client, 4 * RIG_FRAME, 0, NULL),
	    (int)REFUSED(NO_SPACE));
	listen_as(&cache, true);
	id = ask_for(&client, 4, 0, 0);
	(void)asked_of(&cache);
	client_close(&cache);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(reclaim__a_client_that_does_not_answer_is_not_waited_for)
{
	struct client client, cache;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.deadline_ms = 20;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&cache, &rig);
	listen_as(&cache, true);
	(void)take(&cache, 8);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL),
	    (int)REFUSED(NO_SPACE));
	(void)asked_of(&cache);
	say_done(&cache); /* late, and no harm */
	client_close(&client);
	client_close(&cache);
	rig_fini(&rig);
}

TEST(reclaim__nowait_noreclaim_and_its_own_session_ask_nobody)
{
	struct client client, cache;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.deadline_ms = 1000000;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&cache, &rig);
	listen_as(&cache, true);
	(void)take(&cache, 8);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_NOWAIT, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_NORECLAIM, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_alloc(&cache, RIG_FRAME, 0, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_pool(&client)->reclaim_asks, 0u);
	client_close(&client);
	client_close(&cache);
	rig_fini(&rig);
}

/* Another tenant's idle memory does not help against one's own limit. */
TEST(reclaim__for_a_quota_only_the_tenants_own_clients_are_asked)
{
	struct client client, mine, theirs;
	uint64_t held, id;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.deadline_ms = 20000;
	options.limits.limit[QUOTA_BYTES] = 4 * RIG_FRAME;
	wait_rig(&rig, 16);
	client_join(&client, &rig);
	client_join(&mine, &rig);
	client_join_as(&theirs, &rig, 4711);
	listen_as(&mine, true);
	listen_as(&theirs, true);
	held = take(&mine, 4);
	(void)take(&theirs, 4);
	id = ask_for(&client, 2, 0, 0);
	(void)asked_of(&mine);
	ASSERT_FALSE(client_is_answered(&theirs));
	ASSERT_EQ(client_free(&mine, held), (int)OK);
	say_done(&mine);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	client_close(&theirs);
	client_close(&mine);
	client_close(&client);
	rig_fini(&rig);
}

TEST(reclaim__the_pool_grows_last_and_only_if_it_may)
{
	struct client client, cache;
	uint64_t id;
	struct rig rig;

	server_options_default(&options);
	options.reclaim =
	    (struct reclaim_options){.deadline_ms = 20000, .grow = true};
	options.stock = (struct stock_options){.share = 50, .min = 2};
	options.pool.max = 12 * RIG_FRAME;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&cache, &rig);
	listen_as(&cache, true);
	(void)take(&cache, 7);
	while (rig.server->pool.stock.nspans_ready != 1) {
		rig_turn(&rig);
		(void)usleep(1000);
	}
	id = ask_for(&client, 4, 0, 0);
	/* The stock does not stand in the way: the cache is asked first. */
	(void)asked_of(&cache);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_GROW), 0u);
	say_done(&cache);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_GROW), 1u);
	ASSERT_EQ(client_pool(&client)->frames_total, 12u);
	client_close(&cache);
	client_close(&client);
	rig_fini(&rig);
}

TEST(reclaim__a_pool_that_cannot_grow_refuses)
{
	static const int errors[] = {ENOSPC, ENOMEM, EINVAL};
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.grow = true;
	options.pool.max = 16 * RIG_FRAME;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	(void)take(&client, 8);
	for (size_t i = 0; i < nitems(errors); i++) {
		sim_fail_call(rig.arch, SIM_GROW, errors[i], 1);
		ASSERT_EQ(client_alloc(&client, 2 * RIG_FRAME, 0, NULL),
		    (int)REFUSED(NO_SPACE));
		ASSERT_EQ(client_pool(&client)->frames_total, 8u);
	}
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_GROW), 3u);
	/* Nor beyond its limit. */
	ASSERT_EQ(client_alloc(&client, 9 * RIG_FRAME, 0, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_GROW), 3u);
	client_close(&client);
	rig_fini(&rig);
}

/* A patient request asks again from time to time. */
TEST(reclaim__a_patient_request_asks_again)
{
	struct client client, cache;
	uint64_t held, id;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.deadline_ms = 20000;
	wait_rig(&rig, 8);
	client_join(&client, &rig);
	client_join(&cache, &rig);
	listen_as(&cache, true);
	held = take(&cache, 8);
	id = ask_for(&client, 4, M_WAITOK, 0);
	(void)asked_of(&cache);
	say_done(&cache);
	ASSERT_FALSE(client_is_answered(&client));
	(void)asked_of(&cache);
	ASSERT_EQ(client_free(&cache, held), (int)OK);
	say_done(&cache);
	ASSERT_EQ(answer_of(&client, id, NULL), (int)OK);
	client_close(&cache);
	client_close(&client);
	rig_fini(&rig);
}
