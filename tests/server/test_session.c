/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Sessions: negotiation, identity, framing, ending, slow readers.  Not here:
 * what the operations do (test_contig.c, test_maps.c).
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

TEST(session__hello_gives_a_version_and_the_machine)
{
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__HelloResult *result;
	struct client client;
	struct rig rig;

	rig_init(&rig, NULL);
	client_open(&client, &rig);
	hello.version_min = 1;
	hello.version_max = 9;
	request.op_case = HOLDFAST__V1__REQUEST__OP_HELLO;
	request.hello = &hello;
	result = client_call(&client, &request)->hello;
	ASSERT_EQ(result->version, 1u);
	ASSERT_EQ(result->page_size, 4096u);
	ASSERT_EQ(result->frame_size, RIG_FRAME);
	ASSERT_TRUE(result->addresses_allowed);
	ASSERT_EQ(strcmp(result->machine, "x86_64"), 0);
	ASSERT_EQ(result->packet_max, (uint32_t)HOLDFAST_PACKET_MAX);
	ASSERT_EQ(result->batch_max, (uint32_t)HOLDFAST_BATCH_MAX);
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__refuses_versions_that_do_not_meet)
{
	struct client client;
	struct rig rig;

	rig_init(&rig, NULL);
	client_open(&client, &rig);
	ASSERT_EQ(client_hello(&client, 2, 7), (int)REFUSED(VERSION));
	ASSERT_EQ(client_hello(&client, 0, 7), (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_hello(&client, 3, 2), (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_ping(&client), (int)REFUSED(NOT_NEGOTIATED));
	ASSERT_EQ(client_hello(&client, 1, 1), (int)OK);
	ASSERT_EQ(client_ping(&client), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__refuses_a_request_without_an_operation)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	struct client client;
	struct rig rig;

	rig_init(&rig, NULL);
	client_join(&client, &rig);
	ASSERT_EQ(client_call(&client, &request)->status,
	    REFUSED(UNKNOWN_REQUEST));
	ASSERT_EQ(client_ping(&client), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__answers_a_batch_in_one_packet_in_order)
{
	request_t requests[HOLDFAST_BATCH_MAX], *list[HOLDFAST_BATCH_MAX];
	Holdfast__V1__Ping ping = HOLDFAST__V1__PING__INIT;
	struct client client;
	struct rig rig;

	rig_init(&rig, NULL);
	client_join(&client, &rig);
	for (size_t i = 0; i < HOLDFAST_BATCH_MAX; i++) {
		holdfast__v1__request__init(&requests[i]);
		requests[i].op_case = HOLDFAST__V1__REQUEST__OP_PING;
		requests[i].ping = &ping;
		list[i] = &requests[i];
	}
	client_send(&client, list, HOLDFAST_BATCH_MAX);
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->n_replies, (size_t)HOLDFAST_BATCH_MAX);
	for (size_t i = 0; i < HOLDFAST_BATCH_MAX; i++) {
		ASSERT_EQ(client.packet->replies[i]->id, requests[i].id);
		ASSERT_EQ(client.packet->replies[i]->status, OK);
	}
	client_close(&client);
	rig_fini(&rig);
}

/* ---- What breaks the framing ends the connection, and only that one  */

struct rude {
	const char *what;
	const void *bytes;
	size_t len;
	size_t nfds;
};

static void
check_rude(struct rig *rig, struct client *polite, const struct rude *rude)
{
	int fds[RIG_FDS], nfds = test_nfds();
	struct client client;

	client_join(&client, rig);
	for (size_t i = 0; i < rude->nfds; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		ASSERT_TRUE(fds[i] >= 0);
	}
	client_send_raw(&client, rude->bytes, rude->len, fds, rude->nfds);
	for (size_t i = 0; i < rude->nfds; i++)
		(void)close(fds[i]);
	if (!client_is_cut(&client))
		test_fail(__FILE__, __LINE__, "not cut off: %s", rude->what);
	client_close(&client);
	ASSERT_EQ(test_nfds(), nfds);
	ASSERT_EQ(client_ping(polite), (int)OK);
	ASSERT_EQ(client_pool(polite)->sessions, 1u);
}

TEST(session__is_cut_off_when_it_breaks_the_framing)
{
	static const uint8_t nonsense[] = {0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t short_length[] = {0x0a, 0x20, 0x08, 0x01};
	static const uint8_t ping[] = {0x0a, 0x04, 0x08, 0x01, 0x1a, 0x00};
	uint8_t *large = calloc(1, HOLDFAST_PACKET_MAX + 1);
	uint8_t *many = malloc(2 * (HOLDFAST_BATCH_MAX + 1));
	uint8_t *flood = malloc(HOLDFAST_PACKET_MAX);
	const struct rude rude[] = {
	    {"bytes that are no message", nonsense, sizeof(nonsense), 0},
	    {"a length beyond the packet", short_length, sizeof(short_length),
		0},
	    {"an oversize packet", large, HOLDFAST_PACKET_MAX + 1, 0},
	    {"one request too many", many, 2 * (HOLDFAST_BATCH_MAX + 1), 0},
	    {"more requests than memory", flood, HOLDFAST_PACKET_MAX, 0},
	    {"a descriptor", ping, sizeof(ping), 1},
	    {"many descriptors", ping, sizeof(ping), RIG_FDS},
	    {"an empty packet", ping, 0, 0},
	    {"an empty packet with descriptors", ping, 0, 3},
	};
	struct client polite;
	struct rig rig;

	ASSERT_TRUE(large != NULL && many != NULL && flood != NULL);
	for (size_t i = 0; i <= HOLDFAST_BATCH_MAX; i++)
		memcpy(many + 2 * i, (uint8_t[]){0x0a, 0x00}, 2);
	for (size_t i = 0; i < HOLDFAST_PACKET_MAX / 2; i++)
		memcpy(flood + 2 * i, (uint8_t[]){0x0a, 0x00}, 2);
	rig_init(&rig, NULL);
	client_join(&polite, &rig);
	for (size_t i = 0; i < nitems(rude); i++)
		check_rude(&rig, &polite, &rude[i]);
	client_close(&polite);
	rig_fini(&rig);
	free(large);
	free(many);
	free(flood);
}

/* ---- Ending ------------------------------------------------------ */

TEST(session__ends_when_the_client_shuts_one_way_down)
{
	struct client client, other;
	struct rig rig;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	client_join(&client, &rig);
	client_join(&other, &rig);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL), (int)OK);
	ASSERT_EQ(shutdown(client.fd, SHUT_WR), 0);
	ASSERT_TRUE(client_is_cut(&client));
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&other)->frames_standby, 16u);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

TEST(session__one_that_says_no_hello_is_dropped)
{
	struct server_options options;
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.hello_timeout_ms = 20;
	rig_init(&rig, &(struct rig_options){.server = &options});
	client_open(&client, &rig);
	ASSERT_FALSE(client_receive(&client));
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Slow readers ------------------------------------------------ */

/* Ask for much and read nothing until the server stops reading us. */
static size_t
fill_up(struct client *client)
{
	static const uint8_t status[] = {0x0a, 0x04, 0x08, 0x01, 0x22, 0x00};
	size_t n = 0;

	for (;;) {
		ssize_t sent = send(client->fd, status, sizeof(status),
		    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0)
			return n;
		n++;
		rig_turn(client->rig);
	}
}

TEST(session__a_slow_reader_loses_nothing_when_it_reads_on)
{
	struct client client;
	struct rig rig;
	size_t asked, n = 0;

	rig_init(&rig, NULL);
	client_join(&client, &rig);
	asked = fill_up(&client);
	ASSERT_TRUE(asked > 1);
	while (n < asked) {
		ASSERT_TRUE(client_receive(&client));
		n += client.packet->n_replies;
	}
	ASSERT_EQ(n, asked);
	ASSERT_EQ(client_ping(&client), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__a_client_that_never_reads_is_dropped)
{
	struct server_options options;
	struct client client, other;
	struct rig rig;
	ssize_t n;

	server_options_default(&options);
	options.stall_timeout_ms = 50;
	rig_init(&rig, &(struct rig_options){.server = &options});
	client_join(&client, &rig);
	client_join(&other, &rig);
	(void)fill_up(&client);
	(void)usleep(80 * 1000);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&other)->sessions, 1u);
	do
		n = recv(client.fd, client.buf, HOLDFAST_PACKET_MAX, 0);
	while (n > 0);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

TEST(session__descriptors_that_were_read_are_owed_no_more)
{
	Holdfast__V1__ContigAllocResult *buffer;
	struct server_options options;
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.addresses.all = true;
	options.limits.limit[QUOTA_FDS] = 128; /* spans count too */
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	for (int i = 0; i < 400; i++) {
		ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, &buffer),
		    (int)OK);
		ASSERT_EQ(client.nfds, 1u);
		ASSERT_EQ(client_free(&client, buffer->buffer), (int)OK);
	}
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__one_that_leaves_descriptors_unread_is_dropped)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct server_options options;
	struct client client, other;
	struct rig rig;

	server_options_default(&options);
	options.limits.limit[QUOTA_FDS] = 80;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	client_join(&other, &rig);
	alloc.size = 4096;
	for (int i = 0; i < 100 && client_pool(&other)->sessions == 2; i++) {
		(void)client_post_alloc(&client, &alloc);
		rig_settle(&rig);
	}
	ASSERT_EQ(client_pool(&other)->sessions, 1u);
	client_close(&client);
	client_close(&other);
	rig_fini(&rig);
}

TEST(session__one_too_many_is_refused)
{
	struct server_options options;
	struct client client, second;
	struct rig rig;
	int fds[2];

	server_options_default(&options);
	options.limits.limit[QUOTA_SESSIONS] = 2;
	rig_init(&rig, &(struct rig_options){.server = &options});
	client_join(&client, &rig);
	client_join(&second, &rig);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds),
	    0);
	ASSERT_EQ(server_accept(rig.server, fds[1]), -EDQUOT);
	(void)close(fds[0]);
	(void)close(fds[1]);
	client_close(&second);
	rig_settle(&rig);
	client_join(&second, &rig);
	client_close(&second);
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__tenant_status_counts_what_is_held)
{
	Holdfast__V1__TenantStatusResult *status;
	struct client client;
	struct rig rig;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 3 * RIG_FRAME, 0, NULL), (int)OK);
	status = client_tenant(&client);
	ASSERT_EQ(status->bytes->used, 3 * RIG_FRAME);
	ASSERT_EQ(status->bytes->highwater, 3 * RIG_FRAME);
	ASSERT_EQ(status->buffers, 1u);
	ASSERT_EQ(status->sessions->used, 1u);
	ASSERT_EQ(status->requests->used, 0u);
	ASSERT_TRUE(strncmp(status->tenant, "uid:", 4) == 0);
	client_close(&client);
	rig_fini(&rig);
}

TEST(session__without_a_pool_says_so)
{
	struct client client;
	struct rig rig;

	rig_init(&rig, &(struct rig_options){.without_pool = true});
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 4096, 0, NULL), (int)REFUSED(NO_POOL));
	ASSERT_EQ(client_object(&client, 2, RIG_FRAME, NULL),
	    (int)REFUSED(NO_POOL));
	ASSERT_EQ(client_map_create(&client, "m", NULL), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}
