/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc(9) through the wire: what is given, what is refused, who gets
 * what, and what happens when frames change, are withheld, or time runs out.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)

static const struct rig_options backed = {.memfd = true};

/* No tenant keeps a span of which it has no buffer. */
static void
rig_without_idle(struct rig *rig)
{
	static struct server_options options;

	server_options_default(&options);
	options.addresses.all = true;
	options.pool.idle = 0;
	rig_init(rig, &(struct rig_options){.memfd = true, .server = &options});
}

/* Frames in standby, once everything has come to rest. */
static uint64_t
standby(struct client *client)
{
	rig_settle(client->rig);
	return client_pool(client)->frames_standby;
}

TEST(contig__a_buffer_is_where_the_reply_says)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;
	struct stat st;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 3 * RIG_FRAME + 1, 0, &result),
	    (int)OK);
	ASSERT_EQ(result->size, 3 * RIG_FRAME + PAGE);
	ASSERT_EQ(result->span_size, 4 * RIG_FRAME);
	ASSERT_EQ(result->frame_size, RIG_FRAME);
	ASSERT_EQ(result->pa, result->span_pa + result->offset);
	ASSERT_TRUE(result->span_pa >= RIG_BASE);
	ASSERT_EQ(result->span_pa % RIG_FRAME, 0u);
	ASSERT_TRUE(result->verified);
	ASSERT_EQ(client.nfds, 1u);
	ASSERT_EQ(fstat(client.fds[0], &st), 0);
	ASSERT_EQ((uint64_t)st.st_size, result->span_size);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_EQ(standby(&client), 16u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__low_high_alignment_and_boundary_hold)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *result;
	uint64_t seed = test_seed();
	struct client client;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	for (int i = 0; i < 200; i++) {
		random_req(&seed, 1024, 2048, &alloc);
		if (client_alloc_req(&client, &alloc, &result) != (int)OK)
			continue;
		expect_satisfied(&alloc, result);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	}
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Refusals: the sentence names the argument, nothing changes -- */

struct refusal {
	const char *argument;
	int status;
	Holdfast__V1__ContigAlloc alloc;
};

#define ALLOC(...)                                                             \
	{                                                                      \
		.base = PROTOBUF_C_MESSAGE_INIT(                               \
		    &holdfast__v1__contig_alloc__descriptor),                  \
		__VA_ARGS__                                                    \
	}

TEST(contig__bad_arguments_are_named_and_leave_no_trace)
{
	const struct refusal refusals[] = {
	    {"size", REFUSED(INVALID_ARGUMENT), ALLOC(.size = 0)},
	    {"size", REFUSED(INVALID_ARGUMENT), ALLOC(.size = UINT64_MAX)},
	    {"alignment", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = PAGE, .alignment = 3 * PAGE)},
	    {"boundary", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = PAGE, .boundary = 5 * PAGE)},
	    {"boundary", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = 4 * PAGE, .boundary = 2 * PAGE)},
	    {"high", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = PAGE, .low = 8 * PAGE, .high = 4 * PAGE)},
	    {"high", REFUSED(NO_SPACE), ALLOC(.size = PAGE, .high = 1 << 22)},
	    {"low", REFUSED(NO_SPACE),
		ALLOC(.size = PAGE, .low = UINT64_C(1) << 40)},
	    {"size", REFUSED(NO_SPACE), ALLOC(.size = 17 * RIG_FRAME)},
	    {"flags", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = PAGE, .flags = 0x8000)},
	    {"flags", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = PAGE, .flags = M_NOWAIT | M_WAITOK)},
	    {"domain must be a NUMA node below 8; it is 98",
		REFUSED(INVALID_ARGUMENT), ALLOC(.size = PAGE, .domain = 99)},
	    {"domain must be a NUMA node below 8; it is -3",
		REFUSED(INVALID_ARGUMENT), ALLOC(.size = PAGE, .domain = -2)},
	    {"domain must be one in which the pool has memory (0); it is 3",
		REFUSED(NO_SPACE), ALLOC(.size = PAGE, .domain = 4)},
	    {"type", REFUSED(INVALID_ARGUMENT),
		ALLOC(.size = PAGE,
		    .type = (char *)"a_name_that_is_longer_than_31_bytes")},
	};
	struct client client;
	struct rig rig;
	int nfds;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	nfds = test_nfds();
	for (size_t i = 0; i < nitems(refusals); i++) {
		const struct refusal *r = &refusals[i];

		Holdfast__V1__ContigAlloc alloc = r->alloc;

		if (alloc.type == NULL)
			alloc.type = (char *)"";
		ASSERT_EQ(client_alloc_req(&client, &alloc, NULL), r->status);
		if (strstr(client_sentence(&client), r->argument) == NULL)
			test_fail(__FILE__, __LINE__, "case %zu: \"%s\"", i,
			    client_sentence(&client));
		ASSERT_EQ(client.nfds, 0u);
		ASSERT_EQ(test_nfds(), nfds);
		ASSERT_EQ(standby(&client), 16u);
		ASSERT_EQ(client_tenant(&client)->buffers, 0u);
	}
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__a_limit_below_the_pool_names_its_lowest_address_to_the_trusted)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct server_options options;
	struct client client;
	struct rig rig;

	alloc.size = 8192;
	alloc.alignment = 32 << 10;
	alloc.boundary = 1 << 20;
	alloc.high = 1 << 22;
	rig_init(&rig, NULL);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc_req(&client, &alloc, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "0x100000000"));
	client_close(&client);
	rig_fini(&rig);

	server_options_default(&options);
	rig_init(&rig, &(struct rig_options){.server = &options});
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc_req(&client, &alloc, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_NULL(strstr(client_sentence(&client), "0x100000000"));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "lowest address"));
	client_close(&client);
	rig_fini(&rig);
}

/* The figure behind "at most" or "at least"; 0: the sentence has none. */
static uint64_t
limit_of(const char *sentence)
{
	const char *at = strstr(sentence, "at most 0x");

	at = at != NULL ? at : strstr(sentence, "at least 0x");
	return at == NULL ? 0 : strtoull(at + strcspn(at, "0"), NULL, 16);
}

/* What the sentence of a refusal asks for is granted, and no more than that. */
static void
expect_true_limit(struct client *client, Holdfast__V1__ContigAlloc alloc)
{
	char said[512];
	Holdfast__V1__ContigAllocResult *result;
	Holdfast__V1__ContigAlloc beyond = alloc;
	uint64_t limit;

	(void)snprintf(said, sizeof(said), "%s", client_sentence(client));
	limit = limit_of(said);
	if (strncmp(said, "size", 4) == 0) {
		alloc.alignment = alloc.boundary = beyond.boundary = 0;
		alloc.size = limit != 0 ? limit : PAGE; /* there is nothing */
		beyond.size = limit + PAGE;
	} else if (strncmp(said, "alignment", 9) == 0) {
		alloc.boundary = 0;
		alloc.alignment = limit;
		beyond.alignment = 2 * limit;
	} else if (strncmp(said, "boundary", 8) == 0) {
		alloc.boundary = limit;
		beyond.boundary = limit / 2;
	} else {
		test_fail(__FILE__, __LINE__, "no argument is named: %s", said);
	}
	if (limit != 0) {
		ASSERT_NE(client_alloc_req(client, &beyond, NULL), (int)OK);
		if (client_alloc_req(client, &alloc, &result) != (int)OK)
			test_fail(__FILE__, __LINE__, "\"%s\", then \"%s\"",
			    said, client_sentence(client));
		ASSERT_EQ(client_free(client, result->buffer), (int)OK);
	} else if (strncmp(said, "boundary", 8) != 0) {
		ASSERT_NE(client_alloc_req(client, &alloc, NULL), (int)OK);
	}
	rig_settle(client->rig);
}

TEST(contig__a_refusal_names_the_argument_and_the_limit_that_would_do)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *result;
	uint64_t seed = test_seed();
	struct client client;
	struct rig rig;
	int nrefused = 0;

	rig_without_idle(&rig);
	client_join(&client, &rig);
	for (int i = 0; i < 6; i++) { /* every other frame, or so, is taken */
		Holdfast__V1__ContigAlloc taken =
		    ALLOC(.size = RIG_FRAME, .type = (char *)"",
			.low = RIG_BASE + (2 * (uint64_t)i + 2) * RIG_FRAME,
			.high = RIG_BASE + (2 * (uint64_t)i + 3) * RIG_FRAME);

		ASSERT_EQ(client_alloc_req(&client, &taken, NULL), (int)OK);
	}
	for (int i = 0; i < 600; i++) {
		random_req(&seed, 2048, 4096, &alloc);
		if (client_alloc_req(&client, &alloc, &result) == (int)OK) {
			ASSERT_EQ(client_free(&client, result->buffer),
			    (int)OK);
			rig_settle(&rig);
			continue;
		}
		nrefused++;
		expect_true_limit(&client, alloc);
	}
	ASSERT_GT(nrefused, 50);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__addresses_are_told_only_to_those_allowed)
{
	Holdfast__V1__PoolRuns runs = HOLDFAST__V1__POOL_RUNS__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigAllocResult *result;
	struct server_options options;
	struct client client;
	struct rig rig;

	request.op_case = HOLDFAST__V1__REQUEST__OP_POOL_RUNS;
	request.pool_runs = &runs;
	server_options_default(&options);
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	ASSERT_EQ(result->pa, 0u);
	ASSERT_EQ(result->span_pa, 0u);
	ASSERT_EQ(client_call(&client, &request)->status, REFUSED(DENIED));
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Ids --------------------------------------------------------- */

TEST(contig__unknown_stale_and_foreign_numbers_are_unknown)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client, other;
	uint64_t mine, theirs;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	client_join(&other, &rig);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	mine = result->buffer;
	ASSERT_EQ(client_alloc(&other, PAGE, 0, &result), (int)OK);
	theirs = result->buffer;
	ASSERT_NE(mine, theirs);
	ASSERT_EQ(client_free(&client, 0), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_free(&client, UINT64_MAX), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_free(&client, mine + 1), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_free(&client, theirs), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_detach(&client, mine), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_free(&client, mine), (int)OK);
	ASSERT_EQ(client_free(&client, mine), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_free(&other, theirs), (int)OK);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__a_quiet_free_is_answered_only_where_it_is_refused)
{
	Holdfast__V1__ContigFree op = HOLDFAST__V1__CONTIG_FREE__INIT;
	Holdfast__V1__Ping ping = HOLDFAST__V1__PING__INIT;
	request_t free_it = HOLDFAST__V1__REQUEST__INIT;
	request_t again = HOLDFAST__V1__REQUEST__INIT;
	request_t *all[] = {&free_it, &free_it, &again};
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	op.buffer = result->buffer;
	op.quiet = true;
	free_it.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_FREE;
	free_it.contig_free = &op;
	again.op_case = HOLDFAST__V1__REQUEST__OP_PING;
	again.ping = &ping;
	client_send(&client, all, 1);
	ASSERT_EQ(client_tenant(&client)->buffers, 0u);
	client_send(&client, all, 3); /* both come too late */
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->n_replies, 3u);
	ASSERT_EQ(client.packet->replies[0]->status,
	    HOLDFAST__V1__STATUS__STATUS_UNKNOWN_ID);
	ASSERT_EQ(client.packet->replies[1]->status,
	    HOLDFAST__V1__STATUS__STATUS_UNKNOWN_ID);
	ASSERT_EQ(client.packet->replies[2]->status, OK);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Spans ------------------------------------------------------- */

TEST(contig__small_buffers_share_a_span_and_it_goes_home_with_their_tenant)
{
	Holdfast__V1__ContigAllocResult *result;
	uint64_t first, second, span;
	struct client client, other;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	client_join(&other, &rig);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	first = result->buffer;
	span = result->span;
	ASSERT_EQ(client_alloc(&other, PAGE, 0, &result), (int)OK);
	second = result->buffer;
	ASSERT_EQ(result->span, span);
	ASSERT_EQ(standby(&client), 15u);
	ASSERT_EQ(client_free(&client, first), (int)OK);
	ASSERT_EQ(standby(&client), 15u);
	ASSERT_EQ(client_free(&other, second), (int)OK);
	ASSERT_EQ(standby(&client), 15u);
	ASSERT_EQ(client_pool(&client)->frames_idle, 1u);
	client_close(&other);
	ASSERT_EQ(standby(&client), 15u);
	client_close(&client);
	rig_settle(&rig);
	ASSERT_EQ(rig.server->pool.nspans, 0u);
	rig_fini(&rig);
}

TEST(contig__different_tenants_never_share_a_span)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client, other;
	uint64_t span_pa;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	client_join_as(&other, &rig, 4711);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	span_pa = result->span_pa;
	ASSERT_EQ(client_alloc(&other, PAGE, 0, &result), (int)OK);
	ASSERT_NE(result->span_pa, span_pa);
	ASSERT_EQ(client_tenant(&other)->buffers, 1u);
	ASSERT_EQ(standby(&client), 14u);
	client_close(&other);
	ASSERT_EQ(standby(&client), 15u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__a_batch_of_small_buffers_assembles_one_span)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	request_t requests[32], *list[32];
	struct client client;
	struct rig rig;
	size_t n = 0;

	alloc.size = PAGE;
	rig_init(&rig, &backed);
	client_join(&client, &rig);
	for (size_t i = 0; i < nitems(requests); i++) {
		holdfast__v1__request__init(&requests[i]);
		requests[i].op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC;
		requests[i].contig_alloc = &alloc;
		list[i] = &requests[i];
	}
	client_send(&client, list, nitems(requests));
	while (n < nitems(requests)) {
		ASSERT_TRUE(client_receive(&client));
		for (size_t i = 0; i < client.packet->n_replies; i++)
			ASSERT_EQ(client.packet->replies[i]->status, OK);
		n += client.packet->n_replies;
	}
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_ASSEMBLE), 1u);
	ASSERT_EQ(client_pool(&client)->spans, 1u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__freed_bytes_are_zeroed_for_the_next_if_asked)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	uint64_t offset, keep, size;
	struct rig rig;
	char *p;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	keep = result->buffer;
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	offset = result->offset;
	size = result->span_size;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, client.fds[0],
	    0);
	ASSERT_TRUE(p != MAP_FAILED);
	memset(p + offset, 0xaa, PAGE);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_EQ(client_alloc(&client, PAGE, M_ZERO, &result), (int)OK);
	ASSERT_EQ(result->offset, offset);
	for (size_t i = 0; i < PAGE; i++)
		ASSERT_EQ(p[offset + i], 0);
	ASSERT_EQ(client_free(&client, keep), (int)OK);
	ASSERT_EQ(munmap(p, size), 0);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Waiting, dying, failing ------------------------------------- */

TEST(contig__memory_that_is_on_its_way_back_is_waited_for)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;

	rig_init(&rig, &backed);
	sim_delay_us(rig.arch, 3000);
	client_join(&client, &rig);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME, 0, &result),
		    (int)OK);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	}
	ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME, 0, &result), (int)OK);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, NULL), (int)REFUSED(NO_SPACE));
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__a_client_that_dies_while_it_waits_leaves_nothing)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct client client, other;
	struct rig rig;

	rig_init(&rig, &backed);
	sim_delay_us(rig.arch, 2000);
	client_join(&other, &rig);
	for (int i = 0; i < 20; i++) {
		client_join(&client, &rig);
		for (int j = 0; j < 4; j++) {
			alloc.size = (uint64_t)(1 + (i + j) % 5) * RIG_FRAME;
			(void)client_post_alloc(&client, &alloc);
			for (int k = 0; k < i % 4; k++)
				rig_turn(&rig);
		}
		client_close(&client);
	}
	ASSERT_EQ(standby(&other), 16u);
	ASSERT_EQ(client_tenant(&other)->requests->used, 0u);
	client_close(&other);
	rig_fini(&rig);
}

TEST(contig__a_race_for_a_frame_is_answered_from_another_run)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;

	rig_without_idle(&rig);
	client_join(&client, &rig);
	sim_fail_call(rig.arch, SIM_ASSEMBLE, EAGAIN, 2);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_ASSEMBLE), 3u);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	sim_fail_call(rig.arch, SIM_ASSEMBLE, EAGAIN, 100);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, NULL),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	sim_fail_call(rig.arch, SIM_ASSEMBLE, EMFILE, 1);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, NULL),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	sim_fail_call(rig.arch, SIM_ASSEMBLE, 0, 0);
	ASSERT_EQ(standby(&client), 16u);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__no_failing_allocation_leaves_a_trace)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;
	int status;

	rig_without_idle(&rig);
	client_join(&client, &rig);
	for (uint64_t nth = 1; nth < 100; nth++) {
		sim_fail_nth(rig.arch, nth);
		status = client_alloc(&client, PAGE, 0, &result);
		if (status == (int)OK) {
			ASSERT_EQ(client_free(&client, result->buffer),
			    (int)OK);
			rig_settle(&rig);
			if (sim_nfailed(rig.arch) == 0)
				break;
		}
		sim_fail_never(rig.arch);
		/* Its frames go back by way of a worker. */
		while (standby(&client) != 16)
			(void)usleep(1000);
		ASSERT_EQ(client_tenant(&client)->bytes->used, 0u);
	}
	sim_fail_never(rig.arch);
	ASSERT_EQ(standby(&client), 16u);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Limbo and tampering ----------------------------------------- */

TEST(contig__withheld_frames_stay_charged_until_they_come_back)
{
	Holdfast__V1__ContigAllocResult *result;
	struct arch_span *span;
	struct client client;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 2 * RIG_FRAME, 0, &result), (int)OK);
	span = sim_span_at(rig.arch, result->pa);
	sim_withhold(rig.arch, span, true);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_EQ(standby(&client), 14u);
	ASSERT_EQ(client_pool(&client)->frames_limbo, 2u);
	ASSERT_EQ(client_tenant(&client)->bytes->used, 2 * RIG_FRAME);
	ASSERT_EQ(client_tenant(&client)->limbo_bytes, 2 * RIG_FRAME);
	sim_withhold(rig.arch, span, false);
	while (client_pool(&client)->frames_limbo > 0)
		(void)usleep(1000);
	ASSERT_EQ(standby(&client), 16u);
	ASSERT_EQ(client_tenant(&client)->bytes->used, 0u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__a_span_with_changed_frames_gives_no_new_buffers)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	uint64_t pa, span, buffer;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	pa = result->span_pa;
	span = result->span;
	buffer = result->buffer;
	ASSERT_TRUE(sim_tamper(rig.arch, pa, SIM_NO_FRAME));
	ASSERT_EQ(client_alloc(&client, PAGE, 0, &result), (int)OK);
	ASSERT_NE(result->span, span);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_EQ(client_free(&client, buffer), (int)OK);
	ASSERT_EQ(standby(&client), 14u); /* one frame is lost for good */
	ASSERT_EQ(client_pool(&client)->frames_total, 15u);
	ASSERT_EQ(client_pool(&client)->frames_idle, 1u);
	ASSERT_EQ(client_tenant(&client)->tampered, 1u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__the_inventory_follows_frames_that_come_and_go)
{
	struct client client;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_TRUE(sim_lose_frame(rig.arch, RIG_BASE));
	ASSERT_EQ(client_pool(&client)->frames_total, 15u);
	ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME, 0, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_TRUE(sim_gain_frame(rig.arch, RIG_BASE, 0));
	ASSERT_EQ(client_pool(&client)->frames_total, 16u);
	ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME, 0, NULL), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__frames_that_were_taken_are_replaced_in_time)
{
	struct client client;
	struct rig rig;

	rig_init(&rig, &backed);
	client_join(&client, &rig);
	ASSERT_TRUE(sim_lose_frame(rig.arch, RIG_BASE));
	ASSERT_EQ(client_pool(&client)->frames_total, 15u);
	ASSERT_EQ(client_pool(&client)->frames_missing, 1u);
	while (client_pool(&client)->frames_total < 16)
		(void)usleep(10000);
	ASSERT_EQ(client_pool(&client)->frames_missing, 0u);
	ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME, 0, NULL), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Quotas, lists, statistics ----------------------------------- */

TEST(contig__quota_of_bytes_is_one_tenants_own)
{
	struct server_options options;
	struct client client, other;
	struct rig rig;

	server_options_default(&options);
	options.limits.limit[QUOTA_BYTES] = 4 * RIG_FRAME;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	client_join_as(&other, &rig, 4711);
	ASSERT_EQ(client_alloc(&client, 4 * RIG_FRAME, 0, NULL), (int)OK);
	ASSERT_EQ(client_alloc(&client, PAGE, 0, NULL), (int)REFUSED(QUOTA));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "bytes of spans"));
	ASSERT_EQ(client_alloc(&other, 4 * RIG_FRAME, 0, NULL), (int)OK);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__quota_of_requests_bounds_what_waits)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	request_t request[3], *list[3];
	struct server_options options;
	unsigned refused = 0;
	struct client client;
	struct rig rig;
	size_t n = 0;

	server_options_default(&options);
	options.limits.limit[QUOTA_REQUESTS] = 2;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	sim_delay_us(rig.arch, 2000);
	client_join(&client, &rig);
	alloc.size = RIG_FRAME;
	for (size_t i = 0; i < nitems(request); i++) {
		holdfast__v1__request__init(&request[i]);
		request[i].op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC;
		request[i].contig_alloc = &alloc;
		list[i] = &request[i];
	}
	client_send(&client, list, nitems(request));
	while (n < nitems(request)) {
		ASSERT_TRUE(client_receive(&client));
		for (size_t i = 0; i < client.packet->n_replies; i++)
			refused +=
			    client.packet->replies[i]->status == REFUSED(QUOTA);
		n += client.packet->n_replies;
	}
	ASSERT_EQ(refused, 1u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__list_and_type_statistics_tell_what_is_held)
{
	Holdfast__V1__ContigList list_op = HOLDFAST__V1__CONTIG_LIST__INIT;
	Holdfast__V1__TypeStats stats_op = HOLDFAST__V1__TYPE_STATS__INIT;
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	request_t list = HOLDFAST__V1__REQUEST__INIT;
	request_t stats = HOLDFAST__V1__REQUEST__INIT;
	struct client client;
	struct rig rig;
	reply_t *reply;
	size_t n = 0;

	list.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_LIST;
	list.contig_list = &list_op;
	stats.op_case = HOLDFAST__V1__REQUEST__OP_TYPE_STATS;
	stats.type_stats = &stats_op;
	alloc.size = PAGE;
	alloc.type = (char *)"devbuf";
	rig_init(&rig, &backed);
	client_join(&client, &rig);
	for (int i = 0; i < 600; i++)
		ASSERT_EQ(client_alloc_req(&client, &alloc, NULL), (int)OK);
	do {
		reply = client_call(&client, &list);
		n += reply->contig_list->n_buffers;
		list_op.from = reply->contig_list->next;
	} while (list_op.from != 0);
	ASSERT_EQ(n, 600u);
	reply = client_call(&client, &stats);
	ASSERT_EQ(reply->type_stats->n_types, 1u);
	ASSERT_EQ(strcmp(reply->type_stats->types[0]->type, "devbuf"), 0);
	ASSERT_EQ(reply->type_stats->types[0]->allocs, 600u);
	ASSERT_EQ(reply->type_stats->types[0]->bytes, 600 * PAGE);
	client_close(&client);
	rig_fini(&rig);
}

TEST(contig__pool_runs_are_listed_once_and_in_order)
{
	Holdfast__V1__PoolRuns op = HOLDFAST__V1__POOL_RUNS__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__PoolRunsResult *runs;
	struct client client;
	struct rig rig;

	request.op_case = HOLDFAST__V1__REQUEST__OP_POOL_RUNS;
	request.pool_runs = &op;
	rig_init(&rig, &backed);
	client_join(&client, &rig);
	alloc.size = RIG_FRAME;
	alloc.low = RIG_BASE + 4 * RIG_FRAME;
	alloc.high = RIG_BASE + 5 * RIG_FRAME;
	ASSERT_EQ(client_alloc_req(&client, &alloc, NULL), (int)OK);
	runs = client_call(&client, &request)->pool_runs;
	ASSERT_EQ(runs->n_segments, 1u);
	ASSERT_EQ(runs->segments[0]->start, RIG_BASE);
	ASSERT_EQ(runs->segments[0]->end, RIG_BASE + 16 * RIG_FRAME);
	ASSERT_EQ(runs->n_free, 2u);
	ASSERT_EQ(runs->free[0]->end, RIG_BASE + 4 * RIG_FRAME);
	ASSERT_EQ(runs->free[1]->start, RIG_BASE + 5 * RIG_FRAME);
	ASSERT_EQ(runs->next, 0u);
	client_close(&client);
	rig_fini(&rig);
}
