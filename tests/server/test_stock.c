/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Ready-made spans: who gets them, what they must never do, how the stock
 * follows demand.  Times are the server's own; nothing is decided by ours.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)

static struct server_options options;

/* A server with a stock of `share` per cent of `nframes`, `min` always. */
static void
stock_rig(struct rig *rig, size_t nframes, unsigned share, unsigned min)
{
	server_options_default(&options);
	options.addresses.all = true;
	options.stock = (struct stock_options){
	    .share = share,
	    .min = min,
	    .tick_ms = 20,
	};
	rig_init(rig, &(struct rig_options){
			  .nframes = nframes,
			  .memfd = true,
			  .server = &options,
		      });
}

static struct stock *
stock_of(struct rig *rig)
{
	return &rig->server->pool.stock;
}

/* Turn the loop until so many spans are ready. */
static void
wait_ready(struct rig *rig, size_t n)
{
	uint64_t end = server_now_ms() + 20000;

	while (stock_of(rig)->nspans_ready != n) {
		rig_turn(rig);
		(void)usleep(500);
		if (server_now_ms() > end)
			test_fail(__FILE__, __LINE__,
			    "%zu spans are ready, not %zu",
			    stock_of(rig)->nspans_ready, n);
	}
	rig_settle(rig);
}

TEST(stock__a_few_single_frames_are_ready_before_anybody_asks)
{
	Holdfast__V1__ContigAllocResult *result;
	Holdfast__V1__PoolStatusResult *status;
	struct client client;
	struct rig rig;
	uint64_t made;

	stock_rig(&rig, 16, 25, 3);
	client_join(&client, &rig);
	wait_ready(&rig, 3);
	status = client_pool(&client);
	ASSERT_EQ(status->frames_ready, 3u);
	ASSERT_EQ(status->frames_standby, 16u);
	ASSERT_EQ(status->frames_in_use, 0u);
	ASSERT_EQ(status->spans, 0u);
	ASSERT_EQ(status->largest_run, 16 * RIG_FRAME);
	made = sim_ncalls(rig.arch, SIM_ASSEMBLE);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_ZERO, &result), (int)OK);
	ASSERT_TRUE(result->verified);
	ASSERT_EQ(client.nfds, 1u);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_ASSEMBLE), made);
	ASSERT_EQ(client_pool(&client)->stock_hits, 1u);
	ASSERT_EQ(client_tenant(&client)->bytes->used, RIG_FRAME);
	ASSERT_EQ(client_pool(&client)->frames_in_use, 1u);
	wait_ready(&rig, 3);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__what_is_asked_for_is_ready_the_next_time_and_forgotten_later)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;
	uint64_t made;

	stock_rig(&rig, 64, 50, 0);
	client_join(&client, &rig);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(client_alloc(&client, 3 * RIG_FRAME, 0, &result),
		    (int)OK);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
		rig_settle(&rig);
	}
	while (stock_of(&rig)->nspans_ready == 0) {
		rig_turn(&rig);
		(void)usleep(1000);
	}
	rig_settle(&rig);
	ASSERT_LE(stock_of(&rig)->nframes, 32u);
	made = sim_ncalls(rig.arch, SIM_ASSEMBLE);
	ASSERT_EQ(client_alloc(&client, 3 * RIG_FRAME, 0, &result), (int)OK);
	ASSERT_EQ(sim_ncalls(rig.arch, SIM_ASSEMBLE), made);
	ASSERT_EQ(result->span_size, 3 * RIG_FRAME);
	ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	wait_ready(&rig, 0); /* the average falls to nothing */
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__its_share_of_the_pool_is_never_exceeded)
{
	Holdfast__V1__ContigAllocResult *result;
	uint64_t seed = test_seed();
	uint64_t end;
	struct client client;
	struct rig rig;

	stock_rig(&rig, 64, 25, 2);
	client_join(&client, &rig);
	end = server_now_ms() + 1200;
	while (server_now_ms() < end) {
		uint64_t n = 1 + test_random(&seed) % 6;

		ASSERT_EQ(client_alloc(&client, n * RIG_FRAME, 0, &result),
		    (int)OK);
		ASSERT_LE(stock_of(&rig)->nframes_ready, 16u);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	}
	ASSERT_TRUE(stock_of(&rig)->hits > 0);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__a_request_that_would_fit_without_it_fits)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;

	stock_rig(&rig, 16, 50, 5);
	client_join(&client, &rig);
	for (int i = 0; i < 3; i++) {
		wait_ready(&rig, 5);
		ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME,
			      i == 0 ? M_NOWAIT : 0, &result),
		    (int)OK);
		ASSERT_EQ(stock_of(&rig)->nframes, 0u);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	}
	client_close(&client);
	rig_fini(&rig);
}

/* The part of the stock that is in nobody's way stays. */
TEST(stock__only_what_stands_in_the_way_is_dissolved)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *result;
	struct vm_phys_run seg;
	struct client client;
	struct rig rig;

	stock_rig(&rig, 16, 50, 4);
	client_join(&client, &rig);
	wait_ready(&rig, 4);
	ASSERT_TRUE(vm_phys_next_seg(stock_of(&rig)->runs, 0, &seg));
	/* One byte beyond the span's end: it does not satisfy this. */
	alloc.size = 2 * RIG_FRAME;
	alloc.low = seg.start >= RIG_BASE + RIG_FRAME ? seg.start - RIG_FRAME
						      : seg.start;
	alloc.high = alloc.low + alloc.size;
	alloc.flags = M_NOWAIT;
	ASSERT_EQ(client_alloc_req(&client, &alloc, &result), (int)OK);
	ASSERT_EQ(result->pa, alloc.low);
	ASSERT_GE(stock_of(&rig)->nspans_ready, 2u);
	ASSERT_TRUE(stock_of(&rig)->dissolved > 0);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__constraints_hold_and_fail_exactly_as_without_it)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *result;
	struct client with, without;
	struct server_options bare;
	uint64_t seed = test_seed();
	struct rig rig, plain;
	int status[2], nfds, none = test_nfds();

	server_options_default(&bare);
	bare.addresses.all = true;
	bare.pool.idle = 0;
	stock_rig(&rig, 16, 50, 6);
	client_join(&with, &rig);
	wait_ready(&rig, 6);
	nfds = test_nfds();
	rig_init(&plain, &(struct rig_options){.memfd = true, .server = &bare});
	plain.nfds += none - nfds; /* the other one's are gone by then */
	client_join(&without, &plain);
	rig.nfds += test_nfds() - nfds;
	for (int i = 0; i < 300; i++) {
		if (i % 8 == 0)
			wait_ready(&rig, 6);
		random_req(&seed, 2048, 4096, &alloc);
		alloc.flags = test_random(&seed) % 2 == 0 ? M_NOWAIT : 0;
		rig_settle(&plain);
		rig_settle(&rig);
		status[1] = client_alloc_req(&without, &alloc, &result);
		if (status[1] == (int)OK)
			ASSERT_EQ(client_free(&without, result->buffer),
			    (int)OK);
		status[0] = client_alloc_req(&with, &alloc, &result);
		ASSERT_EQ(status[0], status[1]);
		if (status[0] != (int)OK)
			continue;
		expect_satisfied(&alloc, result);
		ASSERT_EQ(client_free(&with, result->buffer), (int)OK);
	}
	ASSERT_EQ(client_ping(&without), (int)OK); /* drops descriptors */
	rig_settle(&plain);
	client_close(&with);
	rig_fini(&rig);
	client_close(&without);
	rig_fini(&plain);
}

TEST(stock__the_next_owner_sees_zeroes_and_the_last_one_nothing)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client, other;
	uint64_t buffer, size = RIG_FRAME;
	char *mine, *theirs, byte;
	struct rig rig;
	int fd;

	stock_rig(&rig, 4, 100, 4);
	client_join(&client, &rig);
	client_join_as(&other, &rig, 4711);
	wait_ready(&rig, 4);
	for (int i = 0; i < 12; i++) {
		ASSERT_EQ(client_alloc(&client, size, 0, &result), (int)OK);
		buffer = result->buffer;
		mine = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    client.fds[0], 0);
		ASSERT_TRUE(mine != MAP_FAILED);
		memset(mine, 0x5a, size);
		fd = dup(client.fds[0]);
		ASSERT_EQ(client_free(&client, buffer), (int)OK);
		wait_ready(&rig, 4);
		ASSERT_EQ(client_alloc(&other, size, 0, &result), (int)OK);
		buffer = result->buffer;
		theirs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    other.fds[0], 0);
		ASSERT_TRUE(theirs != MAP_FAILED);
		for (size_t k = 0; k < size; k += 64)
			ASSERT_EQ(theirs[k], 0);
		/* The old descriptor shows nothing of it. */
		memset(theirs, 0x33, size);
		ASSERT_EQ(pread(fd, &byte, 1, 0), 0);
		ASSERT_EQ(close(fd), 0);
		ASSERT_EQ(munmap(mine, size), 0);
		ASSERT_EQ(munmap(theirs, size), 0);
		ASSERT_EQ(client_free(&other, buffer), (int)OK);
		wait_ready(&rig, 4);
	}
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__a_refusal_by_quota_leaves_the_span_in_stock)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;

	server_options_default(&options);
	options.stock = (struct stock_options){.share = 50, .min = 3};
	options.limits.limit[QUOTA_BYTES] = RIG_FRAME;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	wait_ready(&rig, 3);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, &result), (int)OK);
	wait_ready(&rig, 3);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_NOWAIT, NULL),
	    (int)REFUSED(QUOTA));
	ASSERT_EQ(stock_of(&rig)->nspans_ready, 3u);
	ASSERT_EQ(client_tenant(&client)->bytes->used, RIG_FRAME);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__what_cannot_be_made_is_tried_again_and_harms_nobody)
{
	static const int errors[] = {EAGAIN, EMFILE, ENOMEM, ENOENT};
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	uint64_t buffer;
	struct rig rig;

	stock_rig(&rig, 16, 25, 2);
	client_join(&client, &rig);
	for (size_t i = 0; i < nitems(errors); i++) {
		ASSERT_EQ(client_alloc(&client, 16 * RIG_FRAME, 0, &result),
		    (int)OK);
		buffer = result->buffer;
		ASSERT_EQ(stock_of(&rig)->nframes, 0u);
		sim_fail_call(rig.arch, SIM_ASSEMBLE, errors[i], 1);
		ASSERT_EQ(client_free(&client, buffer), (int)OK);
		wait_ready(&rig, 2);
		ASSERT_NULL(vm_phys_check(rig.server->pool.phys));
	}
	client_close(&client);
	rig_fini(&rig);
}

/* Nobody holds a ready span, but a kernel may still be slow to give it up. */
TEST(stock__a_span_that_cannot_be_dissolved_yet_waits_in_limbo)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	uint64_t buffer;
	struct rig rig;

	stock_rig(&rig, 8, 50, 3);
	client_join(&client, &rig);
	wait_ready(&rig, 3);
	sim_fail_call(rig.arch, SIM_RECYCLE, EBUSY, 2);
	ASSERT_EQ(client_alloc(&client, 8 * RIG_FRAME, M_WAITOK, &result),
	    (int)OK);
	buffer = result->buffer;
	ASSERT_EQ(client_pool(&client)->frames_limbo, 0u);
	ASSERT_EQ(client_free(&client, buffer), (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__no_failing_metadata_leaves_a_trace)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;
	uint64_t nth;

	stock_rig(&rig, 8, 50, 2);
	client_join(&client, &rig);
	for (nth = 1; nth < 400; nth++) {
		wait_ready(&rig, 2);
		sim_fail_nth(rig.arch, nth);
		for (int i = 0; i < 2; i++) {
			if (client_alloc(&client,
				i == 0 ? RIG_FRAME : 8 * RIG_FRAME, 0,
				&result) == (int)OK)
				ASSERT_EQ(client_free(&client, result->buffer),
				    (int)OK);
		}
		while (client_pool(&client)->frames_standby != 8) {
			rig_turn(&rig);
			(void)usleep(1000);
		}
		if (sim_nfailed(rig.arch) == 0)
			break;
		sim_fail_never(rig.arch);
		ASSERT_EQ(client_tenant(&client)->bytes->used, 0u);
		ASSERT_NULL(vm_phys_check(rig.server->pool.phys));
		ASSERT_NULL(vm_phys_check(stock_of(&rig)->runs));
	}
	sim_fail_never(rig.arch);
	ASSERT_TRUE(nth > 4 && nth < 400);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__a_span_that_the_kernel_moved_is_not_handed_out)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;
	struct span *span;
	vm_paddr_t moved;

	stock_rig(&rig, 16, 50, 4);
	client_join(&client, &rig);
	wait_ready(&rig, 4);
	span = TAILQ_FIRST(&stock_of(&rig)->classes[0].ready);
	moved = span->start;
	ASSERT_TRUE(sim_tamper(rig.arch, moved, moved + 64 * RIG_FRAME));
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, &result), (int)OK);
	ASSERT_NE(result->pa, moved);
	ASSERT_EQ(stock_of(&rig)->dissolved, 1u);
	ASSERT_EQ(stock_of(&rig)->hits, 1u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__bad_memory_in_it_is_never_handed_out)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;
	vm_paddr_t bad;

	stock_rig(&rig, 8, 50, 4);
	client_join(&client, &rig);
	wait_ready(&rig, 4);
	bad = TAILQ_FIRST(&stock_of(&rig)->classes[0].ready)->start;
	ASSERT_TRUE(sim_poison(rig.arch, bad));
	verify_memory_failure(rig.server);
	ASSERT_EQ(stock_of(&rig)->nspans_ready, 0u);
	rig_settle(&rig);
	for (int i = 0; i < 7; i++) {
		ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, &result),
		    (int)OK);
		ASSERT_NE(result->pa, bad);
	}
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_NOWAIT, &result),
	    (int)REFUSED(NO_SPACE));
	client_close(&client);
	rig_fini(&rig);
}

/* What is freed is zeroed in idle time; who needs it does not wait for that. */
TEST(stock__frames_held_back_for_idle_time_can_be_had_at_once)
{
	Holdfast__V1__ContigAllocResult *result;
	struct client client;
	struct rig rig;

	stock_rig(&rig, 4, 0, 0);
	client_join(&client, &rig);
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(client_alloc(&client, 4 * RIG_FRAME,
			      i % 2 == 0 ? M_NOWAIT : 0, &result),
		    (int)OK);
		ASSERT_EQ(client_free(&client, result->buffer), (int)OK);
	}
	ASSERT_EQ(client_alloc(&client, 4 * RIG_FRAME, M_NOWAIT, &result),
	    (int)OK);
	ASSERT_EQ(client_alloc(&client, RIG_FRAME, M_NOWAIT, &result),
	    (int)REFUSED(NO_SPACE));
	client_close(&client);
	rig_fini(&rig);
}

TEST(stock__a_daemon_with_a_full_stock_ends_in_order)
{
	struct client client;
	struct rig rig;

	for (int i = 0; i < 5; i++) {
		stock_rig(&rig, 16, 100, 8);
		sim_delay_us(rig.arch, 2000);
		client_join(&client, &rig);
		if (i > 0)
			wait_ready(&rig, 8);
		for (int k = 0; k < i; k++)
			ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL),
			    (int)OK);
		client_close(&client);
		rig_fini(&rig);
	}
}
