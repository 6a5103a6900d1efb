/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Sessions that have promised to wait for their answers (Hello.sequential):
 * the loop tells once of what comes, so nothing that needs an answer may be
 * left behind something that needs none.
 */

#include "tests/server/rig.h"
#include "tests/test.h"

#define MANY 100 /* packets; more than are read in one go */

static void
join(struct client *client, struct rig *rig)
{
	REQUEST(Hello, HELLO, hello);

	client_open(client, rig);
	op.version_min = op.version_max = 1;
	op.sequential = true;
	ASSERT_EQ(client_call(client, &request)->status, OK);
}

static uint64_t
post_quiet_free(struct client *client, uint64_t buffer)
{
	REQUEST(ContigFree, CONTIG_FREE, contig_free);

	op.buffer = buffer;
	op.quiet = true;
	return client_post(client, &request);
}

/* Everything that comes, up to the answer to the last request sent. */
static void
receive_last(struct client *client)
{
	do
		ASSERT_TRUE(client_receive(client));
	while (client->packet->replies[0]->id != client->next_id - 1);
	ASSERT_EQ(client->packet->replies[0]->status, OK);
}

TEST(sequential__requests_behind_a_quiet_one_are_answered)
{
	Holdfast__V1__ContigAllocResult *buffer;
	struct client client;
	struct rig rig;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	join(&client, &rig);
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(client_alloc(&client, 4096, 0, &buffer), (int)OK);
		(void)post_quiet_free(&client, buffer->buffer);
		(void)client_post_ping(&client);
		receive_last(&client);
	}
	ASSERT_EQ(client_tenant(&client)->buffers, 0u);
	client_close(&client);
	rig_fini(&rig);
}

/* `post` is refused, if it is answered at all. */
static void
expect_ping_behind(uint64_t (*post)(struct client *client, uint64_t id))
{
	struct client client;
	struct rig rig;

	rig_init(&rig, NULL);
	join(&client, &rig);
	(void)post(&client, 1);
	(void)client_post_ping(&client);
	receive_last(&client);
	client_close(&client);
	rig_fini(&rig);
}

TEST(sequential__requests_behind_a_refused_quiet_one_are_answered)
{
	expect_ping_behind(post_quiet_free);
}

TEST(sequential__requests_behind_a_cancel_are_answered)
{
	expect_ping_behind(client_post_cancel);
}

TEST(sequential__a_cancel_reaches_what_waits)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct client client;
	struct rig rig;
	uint64_t id;

	rig_init(&rig, &(struct rig_options){.memfd = true, .nframes = 1});
	join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL), (int)OK);
	alloc.size = RIG_FRAME;
	alloc.flags = M_WAITOK;
	id = client_post_alloc(&client, &alloc);
	/* Both before the server looks. */
	(void)client_post_cancel(&client, id);
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->replies[0]->id, id);
	ASSERT_EQ(client.packet->replies[0]->status, REFUSED(CANCELLED));
	ASSERT_EQ(client_ping(&client), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(sequential__many_quiet_requests_do_not_keep_others_waiting)
{
	struct client client, other;
	unsigned nping = 0;
	struct rig rig;

	rig_init(&rig, NULL);
	join(&client, &rig);
	join(&other, &rig);
	for (int i = 0; i < MANY; i++)
		(void)post_quiet_free(&client, 1);
	(void)client_post_ping(&other);
	rig_turn(&rig);
	receive_last(&other);
	while (nping++ < 3) {
		(void)client_post_ping(&client);
		receive_last(&client);
	}
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(sequential__what_breaks_the_promise_waits_and_is_not_lost)
{
	struct client client;
	struct rig rig;

	rig_init(&rig, NULL);
	join(&client, &rig);
	for (int i = 0; i < 3; i++)
		(void)client_post_ping(&client);
	rig_settle(&rig);
	for (int i = 0; i < 2; i++) {
		(void)client_post_ping(&client);
		rig_settle(&rig);
	}
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(client_receive(&client));
	client_close(&client);
	rig_fini(&rig);
}

TEST(sequential__a_hang_up_behind_a_request_is_seen)
{
	struct client client, other;
	struct rig rig;

	rig_init(&rig, NULL);
	client_join(&other, &rig);
	join(&client, &rig);
	(void)post_quiet_free(&client, 1);
	client_close(&client);
	join(&client, &rig);
	(void)client_post_ping(&client);
	client_close(&client);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&other)->sessions, 1u);
	client_close(&other);
	rig_fini(&rig);
}
