/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The invented machine: every call of the contract, and everything that a
 * test can make happen.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/sim/sim.h"
#include "tests/test.h"

#define FRAME (UINT64_C(2) << 20)

/* Frames 8 to 11 in domain 0, and 16 and 17 in domain 1. */
static const struct sim_segment segments[] = {
    {8 * FRAME, 12 * FRAME, 0},
    {16 * FRAME, 18 * FRAME, 1},
};

static struct arch *
make(bool memfd)
{
	struct sim_options options = {
	    .segments = segments,
	    .nsegments = nitems(segments),
	    .memfd = memfd,
	    .pin = ARCH_PIN_LONGTERM,
	};
	struct arch *arch = sim_create(&options);

	ASSERT_NOT_NULL(arch);
	return arch;
}

static struct arch_pool_info
pool_info(struct arch *arch)
{
	struct arch_pool_info info;

	arch->ops->pool_info(arch->ctx, &info);
	return info;
}

static struct arch_span *
assemble(struct arch *arch, vm_paddr_t pa, size_t nframes)
{
	struct arch_span *span = NULL;

	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, pa, nframes, &span), 0);
	return span;
}

static void
expect_event(struct arch *arch, enum arch_event_kind kind, vm_paddr_t pa)
{
	struct arch_event event;

	ASSERT_TRUE(arch->ops->pool_event(arch->ctx, &event));
	ASSERT_EQ(event.kind, kind);
	ASSERT_EQ(event.frame.pa, pa);
}

static void
expect_no_event(struct arch *arch)
{
	struct arch_event event;

	ASSERT_FALSE(arch->ops->pool_event(arch->ctx, &event));
}

TEST(sim_create__refuses_what_makes_no_sense)
{
	struct sim_segment twice[] = {{0, 4 * FRAME, 0},
	    {2 * FRAME, 6 * FRAME, 0}};

	ASSERT_NULL(sim_create(&(struct sim_options){.machine = "vax"}));
	ASSERT_NULL(sim_create(&(struct sim_options){.frame_size = 3000}));
	ASSERT_NULL(sim_create(
	    &(struct sim_options){.segments = twice, .nsegments = 2}));
}

TEST(sim_pool_frames__are_the_whole_frames_of_the_segments)
{
	struct sim_segment ragged[] = {{FRAME / 2, 3 * FRAME + 4096, 5}};
	struct sim_options options = {.segments = ragged, .nsegments = 1};
	struct arch *arch = sim_create(&options);
	struct arch_frame frames[8];
	size_t n = 0;

	ASSERT_EQ(arch->ops->pool_frames(arch->ctx, frames, 8, &n), 0);
	ASSERT_EQ(n, (size_t)2);
	ASSERT_EQ(frames[0].pa, FRAME);
	ASSERT_EQ(frames[1].pa, 2 * FRAME);
	ASSERT_EQ(frames[1].domain, 5);
	sim_destroy(arch);
}

TEST(sim_pool_frames__counts_what_it_has_no_room_for)
{
	struct arch *arch = make(false);
	struct arch_frame frames[2] = {0};
	size_t n = 0;

	ASSERT_EQ(arch->ops->pool_frames(arch->ctx, frames, 1, &n), 0);
	ASSERT_EQ(n, (size_t)6);
	ASSERT_EQ(frames[0].pa, 8 * FRAME);
	ASSERT_EQ(frames[1].pa, UINT64_C(0));
	sim_destroy(arch);
}

TEST(sim_span__takes_frames_and_gives_them_back)
{
	struct arch *arch = make(false);
	struct arch_span_info info;
	struct arch_span *span = assemble(arch, 9 * FRAME, 2), *other;

	ASSERT_EQ(pool_info(arch).nstandby, (size_t)4);
	ASSERT_EQ(pool_info(arch).nspans, (size_t)1);
	arch->ops->span_info(arch->ctx, span, &info);
	ASSERT_EQ(info.pa, 9 * FRAME);
	ASSERT_EQ(info.nframes, (size_t)2);
	ASSERT_EQ(info.fd, -1);
	ASSERT_EQ(info.pin, ARCH_PIN_LONGTERM);
	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 8 * FRAME, 2, &other),
	    -ENOENT);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)6);
	ASSERT_EQ(pool_info(arch).nspans, (size_t)0);
	expect_no_event(arch);
	sim_destroy(arch);
}

TEST(sim_span_assemble__refuses_frames_that_are_not_there)
{
	struct arch *arch = make(false);
	struct arch_span *span = NULL;

	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 11 * FRAME, 2, &span),
	    -ENOENT);
	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 8 * FRAME, 0, &span),
	    -ENOENT);
	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 8 * FRAME + 4096, 1,
		      &span),
	    -ENOENT);
	ASSERT_NULL(span);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)6);
	sim_destroy(arch);
}

TEST(sim_span__can_be_mapped_zeroed_and_revoked)
{
	struct arch *arch = make(true);
	struct arch_span *span = assemble(arch, 8 * FRAME, 2);
	struct arch_span_info info;
	unsigned char *p;
	int copy;

	arch->ops->span_info(arch->ctx, span, &info);
	p = mmap(NULL, 2 * FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, info.fd,
	    0);
	ASSERT_TRUE(p != MAP_FAILED);
	memset(p, 0xa5, 3 * 4096);
	ASSERT_EQ(arch->ops->span_zero(arch->ctx, span, 100, 4096), 0);
	ASSERT_EQ(p[99], 0xa5);
	ASSERT_EQ(p[100], 0);
	ASSERT_EQ(p[4195], 0);
	ASSERT_EQ(p[4196], 0xa5);
	ASSERT_EQ(arch->ops->span_zero(arch->ctx, span, FRAME, FRAME + 1),
	    -EINVAL);

	/* Revoked, a copy of the descriptor shows nothing. */
	copy = dup(info.fd);
	munmap(p, 2 * FRAME);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	ASSERT_EQ(lseek(copy, 0, SEEK_END), (off_t)0);
	ASSERT_TRUE(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, copy,
			0) == MAP_FAILED);
	ASSERT_TRUE(ftruncate(copy, 4096) < 0);
	close(copy);
	sim_destroy(arch);
}

TEST(sim_span_zero__says_when_the_holder_truncated_it)
{
	struct arch *arch = make(true);
	struct arch_span *span = assemble(arch, 8 * FRAME, 2);
	struct arch_span_info info;
	size_t nbad = 0;

	arch->ops->span_info(arch->ctx, span, &info);
	ASSERT_EQ(ftruncate(info.fd, (off_t)FRAME), 0);
	ASSERT_EQ(arch->ops->span_zero(arch->ctx, span, FRAME, 4096), -EFAULT);
	ASSERT_EQ(arch->ops->span_zero(arch->ctx, span, 0, 4096), 0);
	ASSERT_EQ(arch->ops->span_verify(arch->ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, (size_t)1);
	sim_destroy(arch);
}

TEST(sim_tamper__shows_when_verified_and_when_recycled)
{
	struct arch *arch = make(false);
	struct arch_span *span = assemble(arch, 8 * FRAME, 3);
	size_t nbad = 9;

	ASSERT_EQ(arch->ops->span_verify(arch->ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, (size_t)0);
	ASSERT_TRUE(sim_tamper(arch, 9 * FRAME, 40 * FRAME));
	ASSERT_FALSE(sim_tamper(arch, 9 * FRAME, 41 * FRAME));    /* twice */
	ASSERT_FALSE(sim_tamper(arch, 8 * FRAME, 40 * FRAME));    /* used */
	ASSERT_FALSE(sim_tamper(arch, 8 * FRAME, 16 * FRAME));    /* standby */
	ASSERT_FALSE(sim_tamper(arch, 11 * FRAME, SIM_NO_FRAME)); /* no span */
	ASSERT_TRUE(sim_tamper(arch, 10 * FRAME, SIM_NO_FRAME));
	ASSERT_EQ(arch->ops->span_verify(arch->ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, (size_t)2);

	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	expect_event(arch, ARCH_SPAN_CHANGED, 10 * FRAME);
	expect_event(arch, ARCH_FRAME_LOST, 10 * FRAME);
	expect_event(arch, ARCH_SPAN_CHANGED, 9 * FRAME);
	expect_event(arch, ARCH_FRAME_LOST, 9 * FRAME);
	expect_event(arch, ARCH_FRAME_GAINED, 40 * FRAME);
	expect_no_event(arch);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)5);
	ASSERT_EQ(pool_info(arch).nmissing, (size_t)1);
	sim_destroy(arch);
}

TEST(sim_withhold__puts_a_span_in_limbo_until_it_is_released)
{
	struct arch *arch = make(true);
	struct arch_span *span = assemble(arch, 8 * FRAME, 1);

	ASSERT_TRUE(sim_span_at(arch, 8 * FRAME + 12345) == span);
	ASSERT_NULL(sim_span_at(arch, 9 * FRAME));
	sim_withhold(arch, span, true);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), -EBUSY);
	ASSERT_EQ(pool_info(arch).nlimbo, (size_t)1);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)5);
	sim_withhold(arch, span, false);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	ASSERT_EQ(pool_info(arch).nlimbo, (size_t)0);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)6);
	sim_destroy(arch);
}

TEST(sim_frames__are_lost_gained_and_refilled_with_events)
{
	struct arch *arch = make(false);

	ASSERT_TRUE(sim_lose_frame(arch, 8 * FRAME));
	ASSERT_FALSE(sim_lose_frame(arch, 8 * FRAME));
	ASSERT_TRUE(sim_lose_frame(arch, 17 * FRAME));
	ASSERT_EQ(pool_info(arch).nmissing, (size_t)2);
	ASSERT_FALSE(sim_gain_frame(arch, 9 * FRAME, 0));
	ASSERT_FALSE(sim_gain_frame(arch, 100 * FRAME + 1, 0));
	ASSERT_TRUE(sim_gain_frame(arch, 3 * FRAME, 2));
	expect_event(arch, ARCH_FRAME_LOST, 8 * FRAME);
	expect_event(arch, ARCH_FRAME_LOST, 17 * FRAME);
	expect_event(arch, ARCH_FRAME_GAINED, 3 * FRAME);
	ASSERT_EQ(arch->ops->pool_refill(arch->ctx), 1);
	expect_event(arch, ARCH_FRAME_GAINED, 8 * FRAME);
	expect_no_event(arch);
	ASSERT_EQ(pool_info(arch).nmissing, (size_t)0);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)6);
	sim_destroy(arch);
}

TEST(sim_fail_call__fails_as_often_as_told)
{
	struct arch *arch = make(false);
	struct arch_span *span = NULL;
	int fd = -1;

	sim_fail_call(arch, SIM_ASSEMBLE, EAGAIN, 2);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 8 * FRAME, 1,
			      &span),
		    -EAGAIN);
	span = assemble(arch, 8 * FRAME, 1);
	sim_fail_call(arch, SIM_RECYCLE, EBUSY, 1);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), -EBUSY);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	sim_fail_call(arch, SIM_BASE_FILE, EMFILE, 1);
	ASSERT_EQ(arch->ops->base_file(arch->ctx, 4096, &fd), -EMFILE);
	ASSERT_EQ(fd, -1);
	ASSERT_EQ(sim_ncalls(arch, SIM_ASSEMBLE), UINT64_C(3));
	sim_destroy(arch);
}

TEST(sim_base_file__is_sealed_sparse_and_private)
{
	struct arch *arch = make(false);
	struct stat st;
	int fd = -1;

	ASSERT_EQ(arch->ops->base_file(arch->ctx, 1 << 20, &fd), 0);
	ASSERT_EQ(fstat(fd, &st), 0);
	ASSERT_EQ(st.st_size, (off_t)(1 << 20));
	ASSERT_EQ(st.st_blocks, 0);
	ASSERT_EQ(st.st_mode & 0777u, 0600u);
	ASSERT_TRUE(ftruncate(fd, 0) < 0);
	ASSERT_TRUE(ftruncate(fd, 2 << 20) < 0);
	ASSERT_TRUE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	ASSERT_TRUE((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
	sim_destroy(arch);
}

TEST(sim_alloc__counts_and_stops_at_a_limit)
{
	struct arch *arch = make(false);
	unsigned char *p = arch->ops->alloc(arch->ctx, 100);

	ASSERT_NOT_NULL(p);
	ASSERT_EQ((uintptr_t)p % 64, (uintptr_t)0);
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(p[i], 0);
	ASSERT_EQ(sim_live(arch), (size_t)1);
	ASSERT_EQ(sim_live_bytes(arch), (size_t)100);
	sim_limit_bytes(arch, 150);
	ASSERT_NULL(arch->ops->alloc(arch->ctx, 51));
	sim_limit_bytes(arch, 0);
	arch->ops->free(arch->ctx, p, 100);
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

/* The answers to five questions, one bit each. */
static unsigned
answers(struct arch *arch)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 5; i++)
		bits |= (unsigned)arch->ops->inject(arch->ctx) << i;
	return bits;
}

TEST(sim_inject__fails_the_nth_or_all_from_the_nth_or_none)
{
	struct arch *arch = make(false), *other = make(false);

	ASSERT_EQ(answers(arch), 0u);
	sim_fail_nth(arch, 2);
	ASSERT_EQ(answers(other), 0u); /* each instance stands alone */
	ASSERT_EQ(answers(arch), 2u);
	ASSERT_EQ(sim_nasked(arch), UINT64_C(5));
	ASSERT_EQ(sim_nfailed(arch), UINT64_C(1));
	sim_fail_from(arch, 4);
	ASSERT_EQ(answers(arch), 24u);
	sim_fail_never(arch);
	ASSERT_EQ(answers(arch), 0u);
	sim_destroy(arch);
	sim_destroy(other);
}

/* Four threads, with the same dice, fight for four frames. */
static void *
churn(void *arg)
{
	struct arch *arch = arg;
	uint64_t seed = test_seed();

	for (int i = 0; i < 2000; i++) {
		vm_paddr_t pa = (8 + test_random(&seed) % 4) * FRAME;
		struct arch_span *span;
		size_t nbad;

		if (arch->ops->span_assemble(arch->ctx, pa, 1, &span) < 0)
			continue;
		ASSERT_EQ(arch->ops->span_verify(arch->ctx, span, &nbad), 0);
		ASSERT_EQ(nbad, (size_t)0);
		ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	}
	return NULL;
}

TEST(sim_span__calls_may_come_from_any_thread)
{
	struct arch *arch = make(false);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, churn, arch), 0);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(pthread_join(threads[i], NULL), 0);
	ASSERT_EQ(pool_info(arch).nstandby, (size_t)6);
	expect_no_event(arch);
	sim_destroy(arch);
}

static int
grow_sim(struct arch *arch, size_t nframes)
{
	return arch->ops->pool_grow(arch->ctx,
	    &(struct arch_grow){.node = -1, .nframes = nframes});
}

TEST(sim_pool__grows_and_shrinks)
{
	struct sim_segment segment = {FRAME, 5 * FRAME, 0};
	struct sim_options options = {.segments = &segment, .nsegments = 1};
	struct arch *arch = sim_create(&options);
	struct arch_pool_info info;
	struct arch_event event;

	ASSERT_EQ(grow_sim(arch, 2), 2);
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(arch->ops->pool_event(arch->ctx, &event));
		ASSERT_EQ(event.kind, ARCH_FRAME_GAINED);
		ASSERT_EQ(event.size, FRAME);
	}
	ASSERT_EQ(arch->ops->pool_shrink(arch->ctx, 2 * FRAME, 3), 0);
	ASSERT_EQ(arch->ops->pool_shrink(arch->ctx, 2 * FRAME, 1), -ENOENT);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.nstandby, 3u);
	sim_limit_growth(arch, 1);
	ASSERT_EQ(grow_sim(arch, 2), 1);
	sim_fail_call(arch, SIM_GROW, ENOSPC, 1);
	ASSERT_EQ(grow_sim(arch, 2), -ENOSPC);
	sim_destroy(arch);
}

TEST(sim_pool__has_big_frames_that_can_be_taken_apart)
{
	struct sim_segment segment = {4 * FRAME, 12 * FRAME, 0};
	struct sim_options options = {
	    .big_size = 4 * FRAME,
	    .big_segments = &segment,
	    .nbig_segments = 1,
	};
	struct arch *arch = sim_create(&options);
	struct arch_pool_info info;
	struct arch_span_info span_info;
	struct arch_span *span;

	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 4 * FRAME, 4, &span), 0);
	arch->ops->span_info(arch->ctx, span, &span_info);
	ASSERT_EQ(span_info.frame_size, 4 * FRAME);
	ASSERT_EQ(span_info.nframes, 1u);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.nbig, 2u);
	ASSERT_EQ(info.nstandby, 0u);
	ASSERT_EQ(arch->ops->pool_demote(arch->ctx, 4 * FRAME), 0);
	ASSERT_EQ(arch->ops->pool_demote(arch->ctx, 4 * FRAME), -ENOENT);
	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, 9 * FRAME, 1, &span), 0);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.nbig, 0u);
	ASSERT_EQ(info.nstandby, 7u);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	sim_destroy(arch);
}

TEST(sim_poison__loses_the_frame_for_good)
{
	struct sim_segment segment = {FRAME, 5 * FRAME, 0};
	struct sim_options options = {.segments = &segment, .nsegments = 1};
	struct arch *arch = sim_create(&options);
	unsigned char states[2];
	struct arch_span *span;
	struct arch_event event;

	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, FRAME, 2, &span), 0);
	ASSERT_TRUE(sim_poison(arch, 2 * FRAME));
	ASSERT_EQ(arch->ops->span_check(arch->ctx, span, 0, 2, states), 0);
	ASSERT_EQ(states[0], ARCH_FRAME_SOUND);
	ASSERT_EQ(states[1], ARCH_FRAME_POISONED);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, span), 0);
	ASSERT_TRUE(arch->ops->pool_event(arch->ctx, &event));
	ASSERT_EQ(event.kind, ARCH_FRAME_LOST);
	ASSERT_EQ(event.frame.pa, 2 * FRAME);
	ASSERT_EQ(arch->ops->pool_refill(arch->ctx), 0);
	sim_destroy(arch);
}
