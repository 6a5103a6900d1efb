/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What operators do to the pool: its size, drain, balance, big frames.  The
 * kernel's side is in tests/arch and tests/system.
 */

#include <errno.h>
#include <string.h>

#include "server/resize.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define NOBODY       65534
#define ACTION(name) HOLDFAST__V1__POOL_ACTION__POOL_ACTION_##name

static void
rig_with(struct rig *rig, struct client *client, struct rig_options *options,
    vm_size_t max, vm_size_t min)
{
	struct server_options server;

	server_options_default(&server);
	server.addresses.all = true;
	server.pool.max = max;
	server.pool.min = min;
	options->server = &server;
	rig_init(rig, options);
	client_join(client, rig);
}

TEST(pool_change__grows_and_shrinks_within_its_bounds)
{
	struct rig_options options = {.nframes = 8};
	Holdfast__V1__PoolStatusResult *pool;
	Holdfast__V1__PoolChangeResult *result;
	struct client client;
	struct rig rig;

	rig_with(&rig, &client, &options, 12 * RIG_FRAME, 4 * RIG_FRAME);
	ASSERT_EQ(client_change(&client, ACTION(GROW), 5, false, -1, NULL),
	    (int)REFUSED(DENIED));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "pool-max"));
	ASSERT_EQ(client_change(&client, ACTION(GROW), 4, false, -1, &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 4u);
	ASSERT_EQ(result->nruns, 1u);
	ASSERT_EQ(result->runs[0]->start, RIG_BASE + 8 * RIG_FRAME);
	ASSERT_EQ(result->largest_run, 4 * RIG_FRAME);
	pool = client_pool(&client);
	ASSERT_EQ(pool->frames_total, 12u);
	ASSERT_EQ(pool->largest_run, 12 * RIG_FRAME);
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 9, false, -1, NULL),
	    (int)REFUSED(DENIED));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "pool-min"));
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 8, false, -1, &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 8u);
	ASSERT_EQ(client_pool(&client)->frames_total, 4u);
	ASSERT_EQ(client_change(&client, ACTION(GROW), 0, false, -1, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_change(&client, ACTION(GROW), 1, true, -1, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_change(&client, ACTION(GROW), 1, false, 5, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_HAS(client_sentence(&client), "may use (0); it is 5");
	ASSERT_EQ(client_change(&client, 77, 1, false, -1, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool_change__gets_fewer_frames_than_asked_for_where_there_are_fewer)
{
	struct rig_options options = {.nframes = 8};
	Holdfast__V1__PoolChangeResult *result;
	Holdfast__V1__ContigAllocResult *buffer;
	struct client client;
	struct rig rig;

	rig_with(&rig, &client, &options, 16 * RIG_FRAME, 0);
	sim_limit_growth(rig.arch, 3);
	ASSERT_EQ(client_change(&client, ACTION(GROW), 5, false, -1, &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 3u);
	sim_fail_call(rig.arch, SIM_GROW, ENOMEM, 1);
	ASSERT_EQ(client_change(&client, ACTION(GROW), 5, false, -1, NULL),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	/* Only free frames go, and what the back end keeps is kept. */
	ASSERT_EQ(client_alloc(&client, 4 * RIG_FRAME, 0, &buffer), (int)OK);
	sim_fail_call(rig.arch, SIM_SHRINK, ENOENT, 1);
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 7, false, -1, NULL),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	ASSERT_EQ(client_pool(&client)->frames_total, 11u);
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 9, false, -1, &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 7u);
	ASSERT_EQ(client_pool(&client)->frames_total, 4u);
	ASSERT_EQ(client_pool(&client)->frames_in_use, 4u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool_change__shrinks_where_runs_are_short)
{
	struct rig_options options = {.nframes = 16};
	Holdfast__V1__ContigAllocResult *at[3];
	struct client client;
	struct rig rig;

	rig_with(&rig, &client, &options, 0, 0);
	for (int i = 0; i < 3; i++) {
		Holdfast__V1__ContigAlloc alloc =
		    HOLDFAST__V1__CONTIG_ALLOC__INIT;

		alloc.size = RIG_FRAME;
		alloc.low = RIG_BASE + 2 * (uint64_t)i * RIG_FRAME;
		alloc.high = alloc.low + RIG_FRAME;
		ASSERT_EQ(client_alloc_req(&client, &alloc, &at[i]), (int)OK);
	}
	/* Free: frames 1, 3, and 5 to 15. */
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 2, false, -1, NULL),
	    (int)OK);
	ASSERT_EQ(client_pool(&client)->largest_run, 11 * RIG_FRAME);
	ASSERT_EQ(client_pool(&client)->frames_standby, 11u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool_change__is_for_operators)
{
	struct server_options server;
	struct rig_options options = {.nframes = 8, .server = &server};
	uid_t uids[1] = {NOBODY - 1};
	struct client client;
	struct rig rig;

	server_options_default(&server);
	server.operators.uids = uids;
	server.operators.nuids = 1;
	rig_init(&rig, &options);
	client_join_as(&client, &rig, NOBODY);
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 1, false, -1, NULL),
	    (int)REFUSED(DENIED));
	ASSERT_EQ(client_change(&client, ACTION(DRAIN), 0, false, -1, NULL),
	    (int)REFUSED(DENIED));
	ASSERT_FALSE(client_pool(&client)->is_operator);
	client_close(&client);
	client_join_as(&client, &rig, NOBODY - 1);
	ASSERT_TRUE(client_pool(&client)->is_operator);
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 1, false, -1, NULL),
	    (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool_change__drains)
{
	Holdfast__V1__ContigAllocResult *buffer;
	struct client client;
	struct rig rig;
	uint64_t object, id;

	rig_init(&rig, NULL);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 4096, 0, &buffer), (int)OK);
	id = buffer->buffer;
	ASSERT_EQ(client_change(&client, ACTION(DRAIN), 0, false, -1, NULL),
	    (int)OK);
	ASSERT_TRUE(client_pool(&client)->draining);
	ASSERT_EQ(client_alloc(&client, 4096, 0, NULL),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "drained"));
	ASSERT_EQ(client_object(&client,
		      HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER, RIG_FRAME,
		      &object),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	ASSERT_EQ(client_free(&client, id), (int)OK);
	ASSERT_EQ(client_change(&client, ACTION(UNDRAIN), 0, false, -1, NULL),
	    (int)OK);
	ASSERT_EQ(client_alloc(&client, 4096, 0, &buffer), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Balance ----------------------------------------------------- */

TEST(resize_plan__moves_towards_the_mean)
{
	struct resize_node nodes[VM_PHYS_DOMAINS] = {{20, 20}, {4, 4}};
	int from = -1, to = -1;

	ASSERT_EQ(resize_plan(nodes, 3, &from, &to), 8u);
	ASSERT_EQ(from, 0);
	ASSERT_EQ(to, 1);
	nodes[0].free = 3;
	ASSERT_EQ(resize_plan(nodes, 3, &from, &to), 3u);
	nodes[0].free = 0;
	ASSERT_EQ(resize_plan(nodes, 3, &from, &to), 0u);
	/* One apart is as equal as it gets. */
	nodes[0] = (struct resize_node){8, 8};
	nodes[1] = (struct resize_node){7, 7};
	ASSERT_EQ(resize_plan(nodes, 3, &from, &to), 0u);
	/* A node that has nothing counts, one outside the mask does not. */
	nodes[1] = (struct resize_node){0, 0};
	ASSERT_EQ(resize_plan(nodes, 3, &from, &to), 4u);
	ASSERT_EQ(resize_plan(nodes, 1, &from, &to), 0u);
	ASSERT_EQ(resize_plan(nodes, 0, &from, &to), 0u);
}

static void
count_nodes(struct rig *rig, size_t *on)
{
	struct vm_phys_run run;

	on[0] = on[1] = 0;
	for (vm_paddr_t at = 0;
	     vm_phys_next_seg(rig->server->pool.phys, at, &run); at = run.end)
		on[run.domain] += (size_t)((run.end - run.start) / RIG_FRAME);
}

TEST(pool_change__balances_nodes)
{
	struct rig_options options = {.nframes = 200, .nframes_far = 10};
	Holdfast__V1__PoolChangeResult *result;
	struct client client;
	struct rig rig;
	size_t on[2];

	rig_with(&rig, &client, &options, 0, 0);
	ASSERT_EQ(client_change(&client, ACTION(REBALANCE), 0, false, -1,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 95u);
	count_nodes(&rig, on);
	ASSERT_EQ(on[0], 105u);
	ASSERT_EQ(on[1], 105u);
	ASSERT_EQ(client_change(&client, ACTION(REBALANCE), 0, false, -1,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 0u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool_change__balance_ends_when_no_more_frames_come)
{
	struct rig_options options = {.nframes = 200, .nframes_far = 10};
	Holdfast__V1__PoolChangeResult *result;
	struct client client;
	struct rig rig;
	size_t on[2];

	rig_with(&rig, &client, &options, 0, 0);
	sim_fail_call(rig.arch, SIM_GROW, ENOMEM, 1);
	ASSERT_EQ(client_change(&client, ACTION(REBALANCE), 0, false, -1,
		      &result),
	    (int)REFUSED(RESOURCE_SHORTAGE));
	count_nodes(&rig, on);
	ASSERT_EQ(on[0], 200u);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Big frames -------------------------------------------------- */

TEST(pool__serves_large_requests_from_big_frames)
{
	struct rig_options options = {.nframes = 16, .nbig = 2};
	Holdfast__V1__ContigAllocResult *buffer;
	Holdfast__V1__PoolStatusResult *pool;
	struct client client;
	uint64_t id;
	struct rig rig;

	rig_with(&rig, &client, &options, 0, 0);
	pool = client_pool(&client);
	ASSERT_EQ(pool->big_size, RIG_BIG);
	ASSERT_EQ(pool->big_total, 2u);
	ASSERT_EQ(pool->frames_total, 24u);
	ASSERT_EQ(client_alloc(&client, RIG_BIG, 0, &buffer), (int)OK);
	ASSERT_EQ(buffer->frame_size, RIG_BIG);
	id = buffer->buffer;
	ASSERT_EQ(client_pool(&client)->big_standby, 1u);
	ASSERT_EQ(client_free(&client, id), (int)OK);
	/* Small ones leave them whole. */
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, &buffer), (int)OK);
	ASSERT_EQ(buffer->frame_size, RIG_FRAME);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->big_standby, 2u);
	ASSERT_EQ(client_pool(&client)->frames_in_use, 1u);
	client_close(&client);
	rig_fini(&rig);
}

/* A window of one frame and the edges of two: the one, not an edge. */
TEST(pool__takes_the_frame_that_is_wholly_within_a_small_requests_bounds)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *buffer;
	uint64_t frame = RIG_BASE + 4 * RIG_FRAME;
	struct rig_options options = {0};
	struct client client;
	struct rig rig;

	rig_with(&rig, &client, &options, 0, 0);
	alloc.size = 8192;
	alloc.low = frame - 8192;
	alloc.high = frame + RIG_FRAME + 8192;
	ASSERT_EQ(client_alloc_req(&client, &alloc, &buffer), (int)OK);
	ASSERT_EQ(rounddown2(buffer->pa, RIG_FRAME), frame);
	/* Where no frame is, the one with an edge in them will do. */
	alloc.high = frame;
	ASSERT_EQ(client_alloc_req(&client, &alloc, &buffer), (int)OK);
	ASSERT_EQ(buffer->pa, alloc.low);
	ASSERT_EQ(client_pool(&client)->frames_in_use, 2u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool__takes_big_frames_apart_when_there_is_nothing_else)
{
	struct rig_options options = {.nframes = 2, .nbig = 2};
	Holdfast__V1__ContigAllocResult *buffer;
	struct client client;
	uint64_t id;
	struct rig rig;

	rig_with(&rig, &client, &options, 0, 0);
	ASSERT_EQ(client_alloc(&client, 3 * RIG_FRAME, 0, &buffer), (int)OK);
	ASSERT_EQ(buffer->frame_size, RIG_FRAME);
	id = buffer->buffer;
	ASSERT_EQ(client_pool(&client)->big_total, 1u);
	ASSERT_EQ(client_pool(&client)->frames_total, 10u);
	ASSERT_EQ(client_free(&client, id), (int)OK);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_standby, 10u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(pool_change__takes_big_frames_apart)
{
	struct rig_options options = {.nframes = 2, .nbig = 3};
	Holdfast__V1__PoolChangeResult *result;
	struct client client;
	struct rig rig;

	rig_with(&rig, &client, &options, 0, 0);
	ASSERT_EQ(client_change(&client, ACTION(DEMOTE), 2, false, -1, &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 2u);
	ASSERT_EQ(client_pool(&client)->big_total, 1u);
	ASSERT_EQ(client_pool(&client)->largest_run, 2 * RIG_BIG);
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 5, true, -1, NULL),
	    (int)REFUSED(DENIED));
	ASSERT_EQ(client_change(&client, ACTION(SHRINK), 2, true, -1, &result),
	    (int)OK);
	ASSERT_EQ(result->frames, 1u);
	ASSERT_EQ(client_pool(&client)->big_total, 0u);
	ASSERT_EQ(client_pool(&client)->frames_total, 10u);
	client_close(&client);
	rig_fini(&rig);
}
