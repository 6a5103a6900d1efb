/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Spans that tenants keep though they have no buffer in them.
 *
 * Covered: small buffers that come and go take one span, how much stays, what
 * does not; whoever is refused otherwise gets it (other tenants, the tenant's
 * own quota, operators), at once or after waiting, and sees nothing of what
 * was there; bad, changed and device memory; clients that die; memory that
 * runs out.
 */

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/vm_arena.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE   UINT64_C(4096)
#define SMALL  (2 * PAGE)
#define NOBODY 65534
#define FRAMES UINT64_C(16)

typedef Holdfast__V1__ContigAllocResult result_t;

static struct server_options options;

/* `idle` frames may stay with each tenant, which may have `quota` bytes. */
static void
rig_idle(struct rig *rig, struct client *client, unsigned idle, uint64_t quota)
{
	server_options_default(&options);
	options.addresses.all = true;
	options.pool.idle = idle;
	if (quota > 0)
		options.limits.limit[QUOTA_BYTES] = quota;
	rig_init(rig, &(struct rig_options){.memfd = true, .server = &options});
	client_join(client, rig);
}

static uint64_t
alloc(struct client *client, uint64_t size, uint32_t flags)
{
	result_t *result;

	ASSERT_EQ(client_alloc(client, size, flags, &result), (int)OK);
	return result->buffer;
}

/* One comes and goes, so that a span is left. */
static void
leave_one(struct client *client)
{
	ASSERT_EQ(client_free(client, alloc(client, SMALL, 0)), (int)OK);
	rig_settle(client->rig);
	ASSERT_EQ(client_tenant(client)->idle_bytes, RIG_FRAME);
}

static uint64_t
standby(struct client *client)
{
	rig_settle(client->rig);
	return client_pool(client)->frames_standby;
}

static void
check_arenas(struct rig *rig)
{
	struct tenant *tenant;

	TAILQ_FOREACH (tenant, &rig->server->tenants, entry)
		ASSERT_NULL(vm_arena_check(tenant->arena));
}

/* ---- What stays -------------------------------------------------- */

TEST(idle__a_small_buffer_that_comes_and_goes_takes_one_span)
{
	struct client client;
	struct rig rig;

	rig_idle(&rig, &client, 2, 0);
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(client_free(&client, alloc(&client, SMALL, 0)),
		    (int)OK);
	ASSERT_EQ(client_tenant(&client)->spans_taken, 1u);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_ASSEMBLE), 1u);
	ASSERT_EQ(standby(&client), FRAMES - 1);
	ASSERT_EQ(client_pool(&client)->frames_idle, 1u);
	ASSERT_EQ(client_tenant(&client)->bytes->used, RIG_FRAME);
	client_close(&client);
	rig_settle(&rig);
	ASSERT_EQ(rig.server->pool.nspans, 0u);
	rig_fini(&rig);
}

TEST(idle__without_it_each_takes_its_own)
{
	struct client client;
	struct rig rig;

	rig_idle(&rig, &client, 0, 0);
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(client_free(&client, alloc(&client, SMALL, 0)),
		    (int)OK);
		ASSERT_EQ(standby(&client), FRAMES);
	}
	ASSERT_EQ(client_tenant(&client)->spans_taken, 10u);
	client_close(&client);
	rig_fini(&rig);
}

/* One frame too many, and half of what may stay is left. */
TEST(idle__more_than_may_stay_goes_but_for_half)
{
	uint64_t buffers[4 * 6];
	struct client client;
	struct rig rig;

	rig_idle(&rig, &client, 4, 0);
	for (size_t i = 0; i < nitems(buffers); i++)
		buffers[i] = alloc(&client, RIG_FRAME / 4, 0);
	ASSERT_EQ(standby(&client), FRAMES - 6);
	for (size_t i = 0; i < nitems(buffers); i++) {
		uint64_t nfree = (i + 1) / 4;

		ASSERT_EQ(client_free(&client, buffers[i]), (int)OK);
		ASSERT_EQ(client_tenant(&client)->idle_bytes,
		    (nfree <= 4 ? nfree : nfree - 3) * RIG_FRAME);
	}
	ASSERT_EQ(standby(&client), FRAMES - 3);
	check_arenas(&rig);
	client_close(&client);
	rig_fini(&rig);
}

TEST(idle__large_buffers_leave_nothing_behind)
{
	const uint64_t sizes[] = {RIG_FRAME / 4 + PAGE, RIG_FRAME / 2,
	    RIG_FRAME - PAGE, RIG_FRAME, RIG_FRAME + PAGE, 5 * RIG_FRAME};
	struct client client;
	struct rig rig;

	rig_idle(&rig, &client, 2, 0);
	for (size_t i = 0; i < nitems(sizes); i++) {
		ASSERT_EQ(client_free(&client, alloc(&client, sizes[i], 0)),
		    (int)OK);
		ASSERT_EQ(standby(&client), FRAMES);
	}
	ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	client_close(&client);
	rig_fini(&rig);
}

/* The tenant's whole frame may be the one it keeps; it goes all the same. */
TEST(idle__a_kept_span_serves_a_whole_frame_too)
{
	struct client client;
	struct rig rig;
	uint64_t buffer;

	rig_idle(&rig, &client, 2, 0);
	leave_one(&client);
	buffer = alloc(&client, RIG_FRAME, 0);
	ASSERT_EQ(client_tenant(&client)->spans_taken, 1u);
	ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	ASSERT_EQ(client_free(&client, buffer), (int)OK);
	ASSERT_EQ(standby(&client), FRAMES);
	client_close(&client);
	rig_fini(&rig);
}

TEST(idle__it_goes_with_the_tenants_last_session_and_no_sooner)
{
	struct client first, second, other;
	struct rig rig;

	rig_idle(&rig, &first, 2, 0);
	client_join(&second, &rig);
	client_join_as(&other, &rig, NOBODY);
	leave_one(&first);
	leave_one(&other);
	client_close(&first);
	ASSERT_EQ(standby(&second), FRAMES - 2);
	client_close(&second);
	ASSERT_EQ(standby(&other), FRAMES - 1);
	ASSERT_EQ(client_pool(&other)->frames_idle, 1u);
	client_close(&other);
	rig_fini(&rig);
}

/* Whoever dies with buffers leaves the pool as it was. */
TEST(idle__clients_that_die_with_small_buffers_leave_nothing)
{
	struct client clients[4];
	struct rig rig;

	rig_idle(&rig, &clients[0], 4, 0);
	for (int c = 1; c < 4; c++)
		client_join(&clients[c], &rig);
	for (int i = 0; i < 60; i++)
		(void)alloc(&clients[i % 4], SMALL << i % 5, 0);
	for (int c = 1; c < 4; c++)
		client_close(&clients[c]);
	rig_settle(&rig);
	check_arenas(&rig);
	client_close(&clients[0]);
	rig_settle(&rig);
	ASSERT_EQ(rig.server->pool.nspans, 0u);
	rig_fini(&rig);
}

/* ---- What it holds ----------------------------------------------- */

TEST(idle__its_next_buffer_reads_zero_if_asked)
{
	struct client client;
	uint64_t seed = test_seed();
	struct rig rig;
	result_t *result;
	size_t offset;
	char *p;

	rig_idle(&rig, &client, 2, 0);
	for (int i = 0; i < 60; i++) {
		uint64_t size = PAGE * (1 + test_random(&seed) % 128);

		if (i % 10 == 9)
			size = RIG_FRAME;
		ASSERT_EQ(client_alloc(&client, size, M_ZERO, &result),
		    (int)OK);
		p = mmap(NULL, result->span_size, PROT_READ | PROT_WRITE,
		    MAP_SHARED, client.fds[0], 0);
		ASSERT_TRUE(p != MAP_FAILED);
		offset = result->offset;
		for (size_t k = 0; k < size; k++)
			ASSERT_EQ(p[offset + k], 0);
		memset(p + offset, 0xaa, size);
		ASSERT_EQ(munmap(p, result->span_size), 0);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	}
	ASSERT_LT(client_tenant(&client)->spans_taken, 20u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(idle__another_tenant_reads_nothing_of_it)
{
	struct client client, other;
	struct rig rig;
	result_t *result;
	uint64_t buffer;
	char *p;

	rig_idle(&rig, &client, 16, 0);
	client_join_as(&other, &rig, NOBODY);
	ASSERT_EQ(client_alloc(&client, SMALL, 0, &result), (int)OK);
	p = mmap(NULL, result->span_size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    client.fds[0], 0);
	ASSERT_TRUE(p != MAP_FAILED);
	memset(p, 0xaa, RIG_FRAME);
	ASSERT_EQ(munmap(p, RIG_FRAME), 0);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_EQ(client_pool(&client)->frames_idle, 1u);
	/* All of the pool, the kept frame with it. */
	buffer = alloc(&other, FRAMES * RIG_FRAME, 0);
	ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	ASSERT_EQ(client_alloc(&other, PAGE, 0, NULL), (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_free(&other, buffer), (int)OK);
	ASSERT_EQ(client_alloc(&other, FRAMES * RIG_FRAME, 0, &result),
	    (int)OK);
	p = mmap(NULL, result->size, PROT_READ, MAP_SHARED, other.fds[0], 0);
	ASSERT_TRUE(p != MAP_FAILED);
	for (size_t k = 0; k < result->size; k += 64)
		ASSERT_EQ(p[k], 0);
	ASSERT_EQ(munmap(p, result->size), 0);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* An object is cleared when it is made: it gets no span that was used. */
TEST(idle__objects_get_frames_of_their_own)
{
	struct client client;
	struct rig rig;
	uint64_t object;

	rig_idle(&rig, &client, 2, 0);
	leave_one(&client);
	ASSERT_EQ(client_object(&client,
		      HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER, RIG_FRAME,
		      &object),
	    (int)OK);
	ASSERT_EQ(standby(&client), FRAMES - 2);
	ASSERT_EQ(client_tenant(&client)->idle_bytes, RIG_FRAME);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Who gets it ------------------------------------------------- */

/* Whatever the flags, it counts as free for others. */
TEST(idle__no_request_of_others_is_refused_for_it)
{
	const uint32_t flags[] = {0, M_NOWAIT, M_WAITOK, M_NORECLAIM};
	struct client client, other;
	struct rig rig;

	rig_idle(&rig, &client, 2, 0);
	client_join_as(&other, &rig, NOBODY);
	for (size_t i = 0; i < nitems(flags); i++) {
		leave_one(&client);
		ASSERT_EQ(client_free(&other,
			      alloc(&other, FRAMES * RIG_FRAME, flags[i])),
		    (int)OK);
		rig_settle(&rig);
		ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	}
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* A request for objects waits for it like any other. */
TEST(idle__an_object_of_another_tenant_gets_it)
{
	struct client client, other;
	struct rig rig;

	rig_idle(&rig, &client, 2, 0);
	client_join_as(&other, &rig, NOBODY);
	leave_one(&client);
	ASSERT_EQ(client_object(&other,
		      HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER,
		      FRAMES * RIG_FRAME, NULL),
	    (int)OK);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* Requests are answered as they would be if nothing were kept. */
TEST(idle__constraints_hold_and_fail_exactly_as_without_it)
{
	Holdfast__V1__ContigAlloc req = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct client with, other;
	uint64_t seed = test_seed(), nops = test_ops(300), nno = 0;
	struct rig rig;
	result_t *result;

	rig_idle(&rig, &with, 4, 0);
	client_join_as(&other, &rig, NOBODY);
	for (uint64_t i = 0; i < nops; i++) {
		uint64_t kept[3];
		bool fits = false;

		for (int k = 0; k < 3; k++)
			kept[k] = alloc(&with, RIG_FRAME / 4, 0);
		for (int k = 0; k < 3; k++)
			ASSERT_EQ(client_free(&with, kept[k]), (int)OK);
		req.size = PAGE * (1 + test_random(&seed) % 4096);
		req.low = RIG_BASE + PAGE * (test_random(&seed) % (16 * 512));
		req.high =
		    req.low + req.size + PAGE * (test_random(&seed) % 4096);
		req.alignment = PAGE << test_random(&seed) % 12;
		req.flags = test_random(&seed) % 2 == 0 ? M_NOWAIT : 0;
		for (uint64_t pa = RIG_BASE;
		     !fits && pa + req.size <= RIG_BASE + FRAMES * RIG_FRAME;
		     pa += PAGE)
			fits = pa >= req.low && pa + req.size <= req.high &&
			       pa % req.alignment == 0;
		if (!fits) {
			ASSERT_EQ(client_alloc_req(&other, &req, NULL),
			    (int)REFUSED(NO_SPACE));
			nno++;
			continue;
		}
		ASSERT_EQ(client_alloc_req(&other, &req, &result), (int)OK);
		ASSERT_EQ(client_free(&other, result->buffer), (int)OK);
		/* What is on its way does not hinder either. */
		if (i % 3 == 0)
			rig_settle(&rig);
	}
	if (nops >= 300)
		ASSERT_GT(nno, 10u);
	client_close(&other);
	client_close(&with);
	rig_fini(&rig);
}

TEST(idle__the_tenants_own_quota_comes_before_it)
{
	const uint32_t flags[] = {0, M_NOWAIT, M_WAITOK};
	struct client client;
	struct rig rig;

	rig_idle(&rig, &client, 2, 3 * RIG_FRAME);
	for (size_t i = 0; i < nitems(flags); i++) {
		uint64_t buffer;

		leave_one(&client);
		buffer = alloc(&client, 3 * RIG_FRAME, flags[i]);
		ASSERT_EQ(client_tenant(&client)->bytes->used, 3 * RIG_FRAME);
		ASSERT_EQ(client_alloc(&client, SMALL, flags[0], NULL),
		    (int)REFUSED(QUOTA));
		ASSERT_EQ(client_free(&client, buffer), (int)OK);
		ASSERT_EQ(standby(&client), FRAMES);
	}
	client_close(&client);
	rig_fini(&rig);
}

/* Another tenant's quota is none of its business. */
TEST(idle__a_quota_of_others_does_not_call_it_in)
{
	struct client client, other;
	struct rig rig;

	rig_idle(&rig, &client, 2, 3 * RIG_FRAME);
	client_join_as(&other, &rig, NOBODY);
	leave_one(&client);
	ASSERT_EQ(client_alloc(&other, 4 * RIG_FRAME, 0, NULL),
	    (int)REFUSED(QUOTA));
	ASSERT_EQ(client_tenant(&client)->idle_bytes, RIG_FRAME);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

/* While somebody waits for frames, none is kept. */
TEST(idle__nothing_stays_while_somebody_waits)
{
	Holdfast__V1__ContigAlloc op = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct client client, other;
	struct rig rig;
	uint64_t buffer;

	rig_idle(&rig, &client, 2, 0);
	client_join_as(&other, &rig, NOBODY);
	buffer = alloc(&client, SMALL, 0);
	op.size = FRAMES * RIG_FRAME;
	op.flags = M_WAITOK;
	(void)client_post_alloc(&other, &op);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->waiting, 1u);
	ASSERT_EQ(client_free(&client, buffer), (int)OK);
	ASSERT_TRUE(client_receive(&other));
	ASSERT_EQ((int)other.packet->replies[0]->status, (int)OK);
	ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(idle__operators_call_it_in)
{
	struct client client;
	struct rig rig;

	rig_idle(&rig, &client, 2, 0);
	leave_one(&client);
	ASSERT_EQ(client_change(&client,
		      HOLDFAST__V1__POOL_ACTION__POOL_ACTION_DRAIN, 0, false,
		      -1, NULL),
	    (int)OK);
	ASSERT_EQ(standby(&client), FRAMES);
	ASSERT_EQ(client_change(&client,
		      HOLDFAST__V1__POOL_ACTION__POOL_ACTION_UNDRAIN, 0, false,
		      -1, NULL),
	    (int)OK);
	leave_one(&client);
	(void)client_change(&client,
	    HOLDFAST__V1__POOL_ACTION__POOL_ACTION_SHRINK, 1, false, -1, NULL);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_idle, 0u);
	client_close(&client);
	rig_fini(&rig);
}

/* One packet, so that the second comes before what the first began ends. */
static void
call_both(struct client *client, request_t *first, request_t *second)
{
	request_t *both[] = {first, second};
	size_t n = 0;

	client_send(client, both, 2);
	while (n < 2) {
		ASSERT_TRUE(client_receive(client));
		for (size_t i = 0; i < client->packet->n_replies; i++, n++)
			if (client->packet->replies[i]->id == first->id)
				ASSERT_EQ(client->packet->replies[i]->status,
				    OK);
	}
	rig_settle(client->rig);
}

TEST(idle__nothing_stays_while_the_pool_is_drained_or_changed)
{
	Holdfast__V1__ContigFree give = HOLDFAST__V1__CONTIG_FREE__INIT;
	request_t giving = HOLDFAST__V1__REQUEST__INIT;
	REQUEST(PoolChange, POOL_CHANGE, pool_change);
	struct client client;
	struct rig rig;
	uint64_t buffer;

	giving.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_FREE;
	giving.contig_free = &give;
	rig_idle(&rig, &client, 2, 0);
	buffer = alloc(&client, SMALL, 0);
	op.action = HOLDFAST__V1__POOL_ACTION__POOL_ACTION_DRAIN;
	ASSERT_EQ(client_call(&client, &request)->status, OK);
	ASSERT_EQ(client_free(&client, buffer), (int)OK);
	ASSERT_EQ(standby(&client), FRAMES);
	op.action = HOLDFAST__V1__POOL_ACTION__POOL_ACTION_UNDRAIN;
	ASSERT_EQ(client_call(&client, &request)->status, OK);
	give.buffer = alloc(&client, SMALL, 0);
	op.action = HOLDFAST__V1__POOL_ACTION__POOL_ACTION_SHRINK;
	op.frames = 1;
	call_both(&client, &request, &giving);
	ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	ASSERT_EQ(standby(&client), FRAMES - 1);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- What is not kept -------------------------------------------- */

/* Its only buffer is given up while a worker still works on it. */
TEST(idle__a_span_that_nobody_has_seen_does_not_stay)
{
	Holdfast__V1__ContigCancel cancel = HOLDFAST__V1__CONTIG_CANCEL__INIT;
	request_t cancelling = HOLDFAST__V1__REQUEST__INIT;
	REQUEST(ContigAlloc, CONTIG_ALLOC, contig_alloc);
	request_t *both[] = {&request, &cancelling};
	struct client client;
	struct rig rig;

	cancelling.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_CANCEL;
	cancelling.contig_cancel = &cancel;
	rig_idle(&rig, &client, 2, 0);
	op.size = SMALL;
	cancel.request = client.next_id;
	client_send(&client, both, 2);
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->replies[0]->status, REFUSED(CANCELLED));
	ASSERT_EQ(standby(&client), FRAMES);
	ASSERT_EQ(client_tenant(&client)->idle_bytes, 0u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(idle__a_changed_span_is_found_out_before_its_next_buffer)
{
	struct client client;
	struct rig rig;
	result_t *result;
	uint64_t span, pa;

	rig_idle(&rig, &client, 2, 0);
	ASSERT_EQ(client_alloc(&client, SMALL, 0, &result), (int)OK);
	span = result->span;
	pa = result->span_pa;
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_TRUE(sim_tamper(rig.arch, pa, SIM_NO_FRAME));
	ASSERT_EQ(client_alloc(&client, SMALL, 0, &result), (int)OK);
	ASSERT_NE(result->span, span);
	rig_settle(&rig);
	ASSERT_EQ(client_tenant(&client)->tampered, 1u);
	ASSERT_EQ(client_pool(&client)->spans, 1u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(idle__a_pass_over_the_memory_sends_a_bad_one_home)
{
	Holdfast__V1__VerifyResult *found;
	struct client client;
	struct rig rig;
	result_t *result;
	uint64_t pa;

	rig_idle(&rig, &client, 2, 0);
	ASSERT_EQ(client_alloc(&client, SMALL, 0, &result), (int)OK);
	pa = result->span_pa;
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_TRUE(sim_poison(rig.arch, pa));
	ASSERT_EQ(client_verify(&client, &found), (int)OK);
	ASSERT_EQ(found->poisoned, 1u);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->spans, 0u);
	ASSERT_EQ(client_pool(&client)->frames_idle, 0u);
	ASSERT_EQ(client_pool(&client)->frames_total, FRAMES - 1);
	client_close(&client);
	rig_fini(&rig);
}

/* Several clients of a tenant have buffers in a span that goes bad. */
TEST(idle__a_bad_span_of_several_clients_serves_them_to_the_end)
{
	Holdfast__V1__VerifyResult *found;
	struct client clients[3];
	uint64_t buffers[3], span, pa;
	struct rig rig;
	result_t *result;

	rig_idle(&rig, &clients[0], 2, 0);
	client_join(&clients[1], &rig);
	client_join(&clients[2], &rig);
	for (int c = 0; c < 3; c++) {
		ASSERT_EQ(client_alloc(&clients[c], SMALL, 0, &result),
		    (int)OK);
		buffers[c] = result->buffer;
	}
	span = result->span;
	pa = result->span_pa;
	ASSERT_TRUE(sim_poison(rig.arch, pa));
	ASSERT_EQ(rig.server->pool.nspans, 1u);
	verify_memory_failure(rig.server);
	rig_settle(&rig);
	for (int c = 0; c < 3; c++) {
		ASSERT_TRUE(client_receive(&clients[c]));
		ASSERT_EQ(clients[c].packet->n_lost, 1u);
	}
	ASSERT_EQ(client_free(&clients[1], buffers[1]), (int)OK);
	for (int c = 0; c < 3; c++) {
		ASSERT_EQ(client_alloc(&clients[c], SMALL, 0, &result),
		    (int)OK);
		ASSERT_NE(result->span, span);
		ASSERT_EQ(client_free(&clients[c], result->buffer), (int)OK);
	}
	check_arenas(&rig);
	ASSERT_EQ(client_free(&clients[0], buffers[0]), (int)OK);
	ASSERT_EQ(client_verify(&clients[0], &found), (int)OK);
	ASSERT_EQ(found->spans, 2u);
	client_close(&clients[2]); /* with the last buffer of it */
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&clients[0])->spans, 1u);
	ASSERT_EQ(client_pool(&clients[0])->frames_idle, 1u);
	ASSERT_EQ(client_pool(&clients[0])->frames_total, FRAMES - 1);
	client_close(&clients[1]);
	client_close(&clients[0]);
	rig_fini(&rig);
}

TEST(idle__memory_of_devices_does_not_stay)
{
	Holdfast__V1__ContigAlloc req = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	struct client client;
	struct rig rig;
	result_t *result;

	rig_idle(&rig, &client, 2, 0);
	req.size = SMALL;
	req.device = true;
	ASSERT_EQ(client_alloc_req(&client, &req, &result), (int)OK);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	ASSERT_EQ(standby(&client), FRAMES);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Memory ------------------------------------------------------ */

/* Fail the 1st, 2nd, ... allocation of metadata, with a span kept or not. */
TEST(idle__no_failing_metadata_leaves_a_trace)
{
	for (unsigned kept = 0; kept < 2; kept++) {
		uint64_t nfailed = 1;

		for (uint64_t nth = 1; nfailed > 0; nth++) {
			uint64_t buffers[40], nlive = 0;
			struct client client, other;
			struct rig rig;
			result_t *result;

			rig_idle(&rig, &client, 2, 0);
			client_join_as(&other, &rig, NOBODY);
			if (kept > 0)
				leave_one(&client);
			sim_fail_nth(rig.arch, nth);
			for (uint64_t i = 0; i < nitems(buffers); i++) {
				int status = client_alloc(&client,
				    SMALL << i % 7, 0, &result);

				if (status == (int)OK)
					buffers[nlive++] = result->buffer;
				else
					ASSERT_EQ(status,
					    (int)REFUSED(RESOURCE_SHORTAGE));
				if (i % 3 == 2 && nlive > 0)
					ASSERT_EQ(client_free(&client,
						      buffers[--nlive]),
					    (int)OK);
			}
			while (nlive > 0)
				ASSERT_EQ(client_free(&client,
					      buffers[--nlive]),
				    (int)OK);
			nfailed = sim_nfailed(rig.arch);
			sim_fail_never(rig.arch);
			check_arenas(&rig);
			ASSERT_LE(client_tenant(&client)->idle_bytes,
			    2 * RIG_FRAME);
			(void)alloc(&other, FRAMES * RIG_FRAME, 0);
			client_close(&other);
			client_close(&client);
			rig_fini(&rig);
			ASSERT_LT(nth, 200u);
		}
	}
}
