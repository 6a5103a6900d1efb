/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc_domainset(9) through the wire, on two simulated NUMA nodes:
 * policies, what is refused, and requests that wait for one of several.
 */

#include <string.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE       UINT64_C(4096)
#define POLICY(p)  HOLDFAST__V1__DOMAINSET_POLICY__DOMAINSET_POLICY_##p
#define NOBODY_HAS (-1)

static struct server_options options;
static vm_paddr_t far_start; /* of node 1 */

static void
numa_rig(struct rig *rig, size_t near, size_t far)
{
	options.addresses.all = true;
	far_start = RIG_BASE + (near + 1) * RIG_FRAME;
	rig_init(rig, &(struct rig_options){.nframes = near,
			  .nframes_far = far,
			  .memfd = true,
			  .server = &options});
}

static Holdfast__V1__ContigAlloc
set_of(uint64_t size, uint32_t domains, int policy, int domain)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;

	alloc.size = size;
	alloc.domains = domains;
	alloc.policy = (Holdfast__V1__DomainsetPolicy)policy;
	alloc.domain = domain;
	return alloc;
}

/* The node that the answer names; NOBODY_HAS: KERN_NO_SPACE. */
static int
node_of(struct client *client, Holdfast__V1__ContigAlloc alloc,
    uint64_t *bufferp)
{
	Holdfast__V1__ContigAllocResult *result;
	int status = client_alloc_req(client, &alloc, &result);

	if (status == (int)REFUSED(NO_SPACE))
		return NOBODY_HAS;
	ASSERT_EQ(status, (int)OK);
	ASSERT_EQ(result->domain, result->pa < far_start ? 0 : 1);
	if (bufferp != NULL)
		*bufferp = result->buffer;
	return result->domain;
}

static void
ask(struct client *client, Holdfast__V1__ContigAlloc alloc, uint32_t flags)
{
	alloc.flags = flags;
	(void)client_post_alloc(client, &alloc);
}

/* The node of the answer that comes; NOBODY_HAS: it was refused. */
static int
answered(struct client *client)
{
	ASSERT_TRUE(client_receive(client));
	return client->packet->replies[0]->status == OK
		   ? client->packet->replies[0]->contig_alloc->domain
		   : NOBODY_HAS;
}

/* ---- Policies ---------------------------------------------------- */

TEST(domains__a_fixed_set_is_kept_to)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 16, 4);
	client_join(&client, &rig);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 2, 0, 0), NULL),
		    1);
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 2, 0, 0), NULL),
	    NOBODY_HAS);
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "of domain 1"));
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 0, 0, 2), NULL),
	    NOBODY_HAS);
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 1, 0, 0), NULL), 0);
	client_close(&client);
	rig_fini(&rig);
}

/* From the one after the last used, whoever of the tenant asks. */
TEST(domains__round_robin_takes_turns_and_goes_past_a_full_one)
{
	struct client client, other;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 16, 2);
	client_join(&client, &rig);
	client_join(&other, &rig);
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 0, POLICY(ROUNDROBIN), 0),
		      NULL),
	    0);
	ASSERT_EQ(node_of(&other, set_of(RIG_FRAME, 3, 0, 0), NULL), 1);
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 3, POLICY(ROUNDROBIN), 0),
		      NULL),
	    0);
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 3, 0, 0), NULL), 1);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 3, 0, 0), NULL),
		    0);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* What is smaller than a frame is cut from spans, of which each node has. */
TEST(domains__round_robin_takes_turns_within_spans)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 4, 4);
	client_join(&client, &rig);
	for (int i = 0; i < 40; i++)
		ASSERT_EQ(node_of(&client,
			      set_of(PAGE, 3, POLICY(ROUNDROBIN), 0), NULL),
		    i % 2);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_standby, 6u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(domains__prefer_and_first_touch_fall_back_to_the_others)
{
	static const int policies[] = {POLICY(PREFER), POLICY(FIRSTTOUCH)};
	struct client client;
	struct rig rig;

	for (size_t i = 0; i < nitems(policies); i++) {
		server_options_default(&options);
		numa_rig(&rig, 2, 3);
		client_join(&client, &rig);
		for (int n = 0; n < 5; n++)
			ASSERT_EQ(node_of(&client,
				      set_of(RIG_FRAME, 0, policies[i], 2),
				      NULL),
			    n < 3 ? 1 : 0);
		ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 0, policies[i], 2),
			      NULL),
		    NOBODY_HAS);
		client_close(&client);
		rig_fini(&rig);
	}
}

/* Preferred, but not in the mask: as if there were none. */
TEST(domains__a_preferred_one_outside_the_mask_is_not_used)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 2, 3);
	client_join(&client, &rig);
	for (int n = 0; n < 2; n++)
		ASSERT_EQ(node_of(&client,
			      set_of(RIG_FRAME, 1, POLICY(PREFER), 2), NULL),
		    0);
	ASSERT_EQ(node_of(&client, set_of(RIG_FRAME, 1, POLICY(PREFER), 2),
		      NULL),
	    NOBODY_HAS);
	client_close(&client);
	rig_fini(&rig);
}

TEST(domains__interleave_changes_every_16_mib)
{
	static const int nodes[] = {0, 0, 1, 1, 0};
	struct client client;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 16, 16);
	client_join(&client, &rig);
	for (size_t i = 0; i < nitems(nodes); i++)
		ASSERT_EQ(node_of(&client,
			      set_of(4 * RIG_FRAME, 0, POLICY(INTERLEAVE), 0),
			      NULL),
		    nodes[i]);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Refusals ---------------------------------------------------- */

TEST(domains__bad_sets_are_named_and_leave_no_trace)
{
	const struct {
		const char *names;
		Holdfast__V1__ContigAlloc alloc;
	} bad[] = {
	    {"domains must be made of NUMA nodes below 8, so at most 0xff",
		set_of(PAGE, 256, 0, 0)},
	    {"policy must be at most 4", set_of(PAGE, 0, 5, 0)},
	    {"policy must be at most 4", set_of(PAGE, 0, -1, 0)},
	    {"domain must be given with policy 3 (prefer)",
		set_of(PAGE, 0, POLICY(PREFER), 0)},
	    {"domain must be given with policy 2 (first-touch)",
		set_of(PAGE, 3, POLICY(FIRSTTOUCH), 0)},
	    {"domain must not be given with policy 1 (round-robin)",
		set_of(PAGE, 0, POLICY(ROUNDROBIN), 1)},
	    {"domain must not be given with policy 4 (interleave)",
		set_of(PAGE, 1, POLICY(INTERLEAVE), 1)},
	    {"domain must not be given with policy 0 (none) and domains 0x2",
		set_of(PAGE, 2, 0, 2)},
	    {"domain must be a NUMA node below 8; it is 8",
		set_of(PAGE, 0, POLICY(PREFER), 9)},
	};
	struct client client;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 4, 4);
	client_join(&client, &rig);
	for (size_t i = 0; i < nitems(bad); i++) {
		ASSERT_EQ(client_alloc_req(&client, &bad[i].alloc, NULL),
		    (int)REFUSED(INVALID_ARGUMENT));
		if (strstr(client_sentence(&client), bad[i].names) == NULL)
			test_fail(__FILE__, __LINE__, "case %zu: \"%s\"", i,
			    client_sentence(&client));
		ASSERT_EQ(client_tenant(&client)->buffers, 0u);
	}
	/* Nodes that this machine has not: nothing of theirs is free. */
	ASSERT_EQ(node_of(&client, set_of(PAGE, 0xfc, 0, 0), NULL), NOBODY_HAS);
	/* No turn was taken. */
	ASSERT_EQ(node_of(&client, set_of(PAGE, 3, 0, 0), NULL), 0);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Waiting ----------------------------------------------------- */

TEST(domains__a_set_waits_for_any_of_its_nodes_and_for_no_other)
{
	uint64_t near, far, unused;
	struct client client, other;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 2, 2);
	client_join(&client, &rig);
	client_join(&other, &rig);
	ASSERT_EQ(node_of(&other, set_of(2 * RIG_FRAME, 1, 0, 0), &near), 0);
	ASSERT_EQ(node_of(&other, set_of(2 * RIG_FRAME, 2, 0, 0), &far), 1);
	ask(&client, set_of(RIG_FRAME, 2, 0, 0), M_WAITOK);
	ASSERT_EQ(client_free(&other, near), (int)OK);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_free(&other, far), (int)OK);
	ASSERT_EQ(answered(&client), 1);
	/* Of two nodes either will do. */
	ASSERT_EQ(node_of(&other, set_of(2 * RIG_FRAME, 1, 0, 0), &near), 0);
	ASSERT_EQ(node_of(&other, set_of(RIG_FRAME, 2, 0, 0), &unused), 1);
	ask(&client, set_of(RIG_FRAME, 0, POLICY(PREFER), 2), M_WAITOK);
	ASSERT_FALSE(client_is_answered(&client));
	ASSERT_EQ(client_free(&other, near), (int)OK);
	ASSERT_EQ(answered(&client), 0);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* None of the nodes asked for could ever hold it. */
TEST(domains__what_no_node_of_the_set_could_hold_is_refused_at_once)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 8, 2);
	client_join(&client, &rig);
	ask(&client, set_of(3 * RIG_FRAME, 2, 0, 0), M_WAITOK);
	ASSERT_EQ(answered(&client), NOBODY_HAS);
	ask(&client, set_of(3 * RIG_FRAME, 3, 0, 0), M_WAITOK);
	ASSERT_EQ(answered(&client), 0);
	client_close(&client);
	rig_fini(&rig);
}

/* Frames of a node that a starving set cannot use are not kept for it. */
TEST(domains__frames_of_other_nodes_are_not_kept_for_a_starving_set)
{
	struct client client, other;
	uint64_t far, buffer;
	struct rig rig;

	server_options_default(&options);
	numa_rig(&rig, 8, 2);
	client_join(&client, &rig);
	client_join_as(&other, &rig, 4711);
	ASSERT_EQ(node_of(&other, set_of(2 * RIG_FRAME, 2, 0, 0), &far), 1);
	ask(&client, set_of(2 * RIG_FRAME, 2, 0, 0), M_WAITOK);
	ASSERT_FALSE(client_is_answered(&client));
	/* Far more passes it by than what it waits for. */
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(node_of(&other, set_of(8 * RIG_FRAME, 1, 0, 0),
			      &buffer),
		    0);
		ASSERT_NULL(rig.server->pool.waitq.kept);
		ASSERT_EQ(client_free(&other, buffer), (int)OK);
	}
	ASSERT_EQ(client_free(&other, far), (int)OK);
	ASSERT_EQ(answered(&client), 1);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Reclaim ----------------------------------------------------- */

TEST(domains__ready_spans_of_any_node_of_the_set_are_dissolved)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.stock = (struct stock_options){.share = 50, .min = 8};
	numa_rig(&rig, 4, 8);
	client_join(&client, &rig);
	ASSERT_EQ(node_of(&client, set_of(4 * RIG_FRAME, 1, 0, 0), NULL), 0);
	ASSERT_EQ(node_of(&client, set_of(2 * RIG_FRAME, 2, 0, 0), NULL), 1);
	for (int i = 0; i < 2000 && rig.server->pool.stock.nspans_ready == 0;
	     i++) {
		rig_turn(&rig);
		(void)usleep(1000);
	}
	ASSERT_GT(rig.server->pool.stock.nspans_ready, 0u);
	/* Node 0 comes first and has nothing to dissolve. */
	ASSERT_EQ(node_of(&client, set_of(6 * RIG_FRAME, 3, POLICY(PREFER), 1),
		      NULL),
	    1);
	client_close(&client);
	rig_fini(&rig);
}

TEST(domains__the_pool_grows_on_a_node_of_the_set)
{
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.reclaim.grow = true;
	options.pool.max = 16 * RIG_FRAME;
	numa_rig(&rig, 4, 4);
	client_join(&client, &rig);
	ASSERT_EQ(node_of(&client, set_of(4 * RIG_FRAME, 2, 0, 0), NULL), 1);
	/* The mask begins with nodes that the machine has not. */
	ASSERT_EQ(node_of(&client,
		      set_of(2 * RIG_FRAME, 0xfe, POLICY(PREFER), 5), NULL),
	    1);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_GROW), 1u);
	client_close(&client);
	rig_fini(&rig);
}
