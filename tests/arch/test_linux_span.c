/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Spans of real frames: assembled, pinned, read back, zeroed, verified and
 * recycled, all of it as nobody.  Hostile holders are in test_linux_hostile.c,
 * failing system calls in test_linux_fail.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "arch/linux/linux_int.h"
#include "tests/arch/linux_pool.h"

static bool
all_zero(const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0)
			return false;
	return true;
}

TEST(arch_linux_open__knows_the_address_of_every_frame)
{
	struct arch arch = linux_pool_open(16);
	struct arch_frame frames[16];
	struct arch_pool_info info;
	size_t n;

	arch.ops->pool_info(arch.ctx, &info);
	ASSERT_EQ(info.nstandby, 16u);
	ASSERT_EQ(info.frame_size, FRAME);
	ASSERT_TRUE(info.addresses_known);
	ASSERT_FALSE(info.simulated);
	ASSERT_EQ(info.pin, ARCH_PIN_LONGTERM);
	ASSERT_NULL(info.degraded);
	ASSERT_EQ(arch.ops->pool_frames(arch.ctx, frames, 16, &n), 0);
	ASSERT_EQ(n, 16u);
	for (size_t i = 0; i < n; i++) {
		ASSERT_NE(frames[i].pa, 0u);
		ASSERT_EQ(frames[i].pa % FRAME, 0u);
		if (i > 0)
			ASSERT_LT(frames[i - 1].pa, frames[i].pa);
	}
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

TEST(arch_linux_open__says_that_nothing_is_pinned_where_that_was_asked_for)
{
	struct arch_linux_config config = {
	    .nframes = 2,
	    .node = -1,
	    .may_raise = true,
	    .pin = ARCH_LINUX_PIN_NEVER,
	};
	struct arch arch = linux_pool_open_with(&config);
	struct arch_pool_info info;

	arch.ops->pool_info(arch.ctx, &info);
	ASSERT_EQ(info.pin, ARCH_PIN_NONE);
	ASSERT_HAS(info.degraded, "as was asked for");
	arch_linux_close(&arch);
}

TEST(arch_linux_close__gives_every_frame_back)
{
	size_t before = linux_free_hugepages();
	struct arch arch = linux_pool_open(8);

	(void)linux_pool_span(&arch, linux_pool_run(&arch, 1), 1);
	arch_linux_close(&arch);
	/* A closed ring lets go of its pins a little later. */
	for (int i = 0; i < 500 && linux_free_hugepages() != before; i++)
		usleep(10000);
	ASSERT_EQ(linux_free_hugepages(), before);
}

TEST(arch_linux_open__refuses_more_than_there_is_and_holds_nothing)
{
	struct arch_linux_config config = {
	    .nframes = linux_free_hugepages() + 100000,
	    .node = -1,
	};
	struct arch arch;

	if (geteuid() != 0)
		test_skip("needs root");
	ASSERT_EQ(arch_linux_open(&config, &arch), -ENOSPC);
	ASSERT_GE(linux_free_hugepages() + 100000, config.nframes);
}

TEST(span_assemble__gives_a_pinned_ascending_zeroed_file_to_nobody)
{
	struct arch arch = linux_pool_open(16);
	vm_paddr_t pa = linux_pool_run(&arch, 4);
	struct arch_span_info info;
	struct arch_span *span;
	struct stat st;
	unsigned char *p;
	size_t nbad = 99;

	become_nobody();
	span = linux_pool_span(&arch, pa, 4);
	linux_pool_check(&arch);
	arch.ops->span_info(arch.ctx, span, &info);
	ASSERT_EQ(info.pa, pa);
	ASSERT_EQ(info.nframes, 4u);
	ASSERT_EQ(info.pin, ARCH_PIN_LONGTERM);
	ASSERT_TRUE(info.verified);
	ASSERT_EQ(fstat(info.fd, &st), 0);
	ASSERT_EQ((size_t)st.st_size, 4 * FRAME);
	ASSERT_EQ(st.st_mode & 0777, 0600u);
	p = linux_map_fd(info.fd, 4);
	ASSERT_TRUE(all_zero(p, 4 * FRAME));
	memset(p, 0xa5, 4 * FRAME);
	ASSERT_EQ(arch.ops->span_verify(arch.ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, 0u);
	munmap(p, 4 * FRAME);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	linux_pool_check(&arch);
	ASSERT_EQ(linux_pool_run(&arch, 4), pa);
	arch_linux_close(&arch);
}

/* ---- Several hands ------------------------------------------------ */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t second;
	bool counting;
	pthread_t who; /* the first */
	unsigned n;    /* threads seen, 2 at most */
} hands = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .second = PTHREAD_COND_INITIALIZER,
};

/*
 * Whoever has taken the first frame waits for another one to come, 20 s at
 * most: nobody does who works alone.
 */
static int
counted_madvise(void *va, size_t len, int advice)
{
	int r = linux_sys_real.madvise(va, len, advice);
	struct timespec end;

	pthread_mutex_lock(&hands.lock);
	if (hands.counting && advice == MADV_POPULATE_WRITE && hands.n < 2) {
		if (hands.n == 0 || !pthread_equal(hands.who, pthread_self()))
			hands.n++;
		if (hands.n == 2)
			pthread_cond_broadcast(&hands.second);
		else
			hands.who = pthread_self();
		(void)clock_gettime(CLOCK_REALTIME, &end);
		end.tv_sec += 20;
		while (hands.n < 2 && pthread_cond_timedwait(&hands.second,
					  &hands.lock, &end) == 0)
			continue;
		hands.counting = hands.n == 2; /* waited for once */
	}
	pthread_mutex_unlock(&hands.lock);
	return r;
}

static unsigned
hands_for(const struct arch *arch, vm_paddr_t pa, size_t nframes)
{
	struct arch_span *span;

	hands.counting = true;
	hands.n = 0;
	span = linux_pool_span(arch, pa, nframes);
	hands.counting = false;
	ASSERT_EQ(recycle_until_done(arch, span), 0);
	return hands.n;
}

TEST_TIMEOUT(span_assemble__of_a_large_span_is_done_by_several_threads, 60)
{
	struct linux_sys counted = linux_sys_real;
	struct arch_linux_config config = {
	    .nframes = 16,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	    .helpers = 1,
	    .sys = &counted,
	};
	struct arch arch;

	counted.madvise = counted_madvise;
	arch = linux_pool_open_with(&config);
	ASSERT_EQ(hands_for(&arch, linux_pool_run(&arch, 16), 16), 2u);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

TEST(span_assemble__gives_zeroes_after_another_tenant_wrote)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span_info info;
	struct arch_event event;
	struct arch_span *span;
	unsigned char *p;

	become_nobody();
	for (int round = 0; round < 10; round++) {
		span = linux_pool_span(&arch, pa, 2);
		arch.ops->span_info(arch.ctx, span, &info);
		p = linux_map_fd(info.fd, 2);
		ASSERT_TRUE(all_zero(p, 2 * FRAME));
		memset(p, 0xff, 2 * FRAME);
		munmap(p, 2 * FRAME);
		ASSERT_EQ(recycle_until_done(&arch, span), 0);
	}
	ASSERT_FALSE(arch.ops->pool_event(arch.ctx, &event));
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

static struct linux_pool *watched;
static atomic_size_t nwatched; /* frames that were asked for meanwhile */

/*
 * The kernel is asked for the frame that was just given to it, by its last
 * page: then it zeroes upwards.  Other touches map what is in place.
 */
static int
watched_madvise(void *va, size_t len, int advice)
{
	struct arch_span *span = watched != NULL ? watched->lp_spans : NULL;
	size_t i;

	if (span != NULL && advice == MADV_POPULATE_WRITE && len < FRAME) {
		ASSERT_EQ(((uintptr_t)va + len) % FRAME, 0u);
		i = (size_t)((unsigned char *)va - span->va) / FRAME;
		ASSERT_EQ(span->where[i], FRAME_OUT);
		ASSERT_EQ(span_expects(watched, span, span->pa + i * FRAME),
		    (ssize_t)i);
		nwatched++;
	}
	return linux_sys_real.madvise(va, len, advice);
}

TEST(span_assemble__knows_that_a_frame_is_out_before_a_search_can_find_it)
{
	struct linux_sys sys = linux_sys_real;
	struct arch_linux_config config = {
	    .nframes = 8,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	    .sys = &sys,
	};
	struct arch_span *span;
	struct arch arch;

	sys.madvise = watched_madvise;
	arch = linux_pool_open_with(&config);
	watched = arch.ctx;
	span = linux_pool_span(&arch, linux_pool_run(&arch, 4), 4);
	ASSERT_GE(nwatched, 4u);
	watched = NULL;
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

static size_t
own_files(const struct arch *arch)
{
	struct arch_linux_counts counts;

	arch_linux_counts(arch, &counts);
	return counts.own;
}

/* What came back zeroed is not zeroed again, and is nobody's that had it. */
TEST(span_assemble__takes_one_frame_in_the_file_that_it_came_back_in)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 1);
	struct arch_span *span = linux_pool_span(&arch, pa, 1);
	struct arch_span_info info;
	struct stat before, now;
	unsigned char *va;
	int kept;

	arch.ops->span_info(arch.ctx, span, &info);
	kept = dup(info.fd);
	ASSERT_TRUE(kept >= 0);
	va = mmap(NULL, FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0);
	ASSERT_TRUE(va != MAP_FAILED);
	memset(va, 0x5a, FRAME);
	ASSERT_EQ(own_files(&arch), 0u);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(own_files(&arch), 1u);
	linux_pool_check(&arch);
	span = linux_pool_span(&arch, pa, 1);
	ASSERT_EQ(own_files(&arch), 0u);
	arch.ops->span_info(arch.ctx, span, &info);
	ASSERT_TRUE(info.verified);
	ASSERT_EQ(fstat(kept, &before), 0);
	ASSERT_EQ(fstat(info.fd, &now), 0);
	ASSERT_EQ(before.st_size, 0);
	ASSERT_NE(before.st_ino, now.st_ino);
	(void)munmap(va, FRAME);
	va = mmap(NULL, FRAME, PROT_READ, MAP_SHARED, info.fd, 0);
	ASSERT_TRUE(va != MAP_FAILED);
	for (size_t i = 0; i < FRAME; i++)
		ASSERT_EQ(va[i], 0);
	(void)munmap(va, FRAME);
	(void)close(kept);
	/* Into its own file, and out of it to a longer span. */
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(own_files(&arch), 1u);
	pa = linux_pool_run(&arch, 8);
	span = linux_pool_span(&arch, pa, 8);
	ASSERT_EQ(own_files(&arch), 0u);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(own_files(&arch), 0u);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

/* Each costs a descriptor: so many and no more, and none for what leaves. */
TEST(span_recycle__makes_files_of_their_own_up_to_a_limit)
{
	enum { N = LINUX_OWN_MAX + 4 };
	static struct arch_frame frames[N];
	static struct arch_span *spans[N];
	struct arch arch = linux_pool_open(N);
	size_t n;
	int nfds;

	ASSERT_EQ(arch.ops->pool_frames(arch.ctx, frames, N, &n), 0);
	ASSERT_EQ(n, (size_t)N);
	for (size_t i = 0; i < N; i++)
		spans[i] = linux_pool_span(&arch, frames[i].pa, 1);
	nfds = test_nfds() - N; /* without spans */
	for (size_t i = 0; i < N; i++)
		ASSERT_EQ(recycle_until_done(&arch, spans[i]), 0);
	linux_pool_check(&arch);
	ASSERT_EQ(own_files(&arch), (size_t)LINUX_OWN_MAX);
	ASSERT_EQ(test_nfds(), nfds + LINUX_OWN_MAX);
	ASSERT_EQ(arch.ops->pool_frames(arch.ctx, frames, N, &n), 0);
	for (size_t i = 0; i < n; i++)
		ASSERT_EQ(arch.ops->pool_shrink(arch.ctx, frames[i].pa, 1), 0);
	ASSERT_EQ(own_files(&arch), 0u);
	ASSERT_EQ(test_nfds(), nfds);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

TEST(span_assemble__refuses_frames_that_are_not_in_the_standby)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span *span = NULL;
	struct arch_span *taken;
	int nfds;

	taken = linux_pool_span(&arch, pa + FRAME, 1);
	nfds = test_nfds();
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, pa, 2, &span), -ENOENT);
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, 0, 1, &span), -ENOENT);
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, pa + 4096, 1, &span),
	    -ENOENT);
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, pa, 0, &span), -EINVAL);
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, pa, SIZE_MAX, &span),
	    -ENOENT);
	ASSERT_NULL(span);
	ASSERT_EQ(test_nfds(), nfds);
	linux_pool_check(&arch);
	ASSERT_EQ(recycle_until_done(&arch, taken), 0);
	arch_linux_close(&arch);
}

TEST(span_zero__clears_exactly_its_range)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span_info info;
	struct arch_span *span;
	unsigned char *p;

	become_nobody();
	span = linux_pool_span(&arch, pa, 2);
	arch.ops->span_info(arch.ctx, span, &info);
	p = linux_map_fd(info.fd, 2);
	memset(p, 0x77, 2 * FRAME);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, FRAME - 100, 4196), 0);
	ASSERT_EQ(p[FRAME - 101], 0x77);
	ASSERT_TRUE(all_zero(p + FRAME - 100, 4196));
	ASSERT_EQ(p[FRAME + 4096], 0x77);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, 0, 2 * FRAME), 0);
	ASSERT_TRUE(all_zero(p, 2 * FRAME));
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, 2 * FRAME, 0), 0);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, FRAME, FRAME + 1),
	    -EINVAL);
	munmap(p, 2 * FRAME);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	arch_linux_close(&arch);
}

TEST(base_file__is_sparse_sealed_and_private)
{
	struct arch arch = linux_pool_open(1);
	struct stat st;
	int fd = -1;

	become_nobody();
	ASSERT_EQ(arch.ops->base_file(arch.ctx, 1ul << 30, &fd), 0);
	ASSERT_EQ(fstat(fd, &st), 0);
	ASSERT_EQ(st.st_size, 1l << 30);
	ASSERT_EQ(st.st_blocks, 0);
	ASSERT_EQ(st.st_mode & 0777, 0600u);
	ASSERT_EQ(ftruncate(fd, 0), -1);
	ASSERT_EQ(errno, EPERM);
	ASSERT_EQ(ftruncate(fd, 2l << 30), -1);
	ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ASSERT_EQ(arch.ops->base_file(arch.ctx, 0, &fd), -EINVAL);
	close(fd);
	arch_linux_close(&arch);
}

TEST(alloc__is_zeroed_and_aligned_small_and_large)
{
	static const size_t sizes[] = {1, 64, 100, 4096, 1u << 20, 3u << 20};
	struct arch arch = linux_pool_open(1);

	for (size_t i = 0; i < nitems(sizes); i++) {
		unsigned char *p = arch.ops->alloc(arch.ctx, sizes[i]);

		ASSERT_NOT_NULL(p);
		ASSERT_EQ((uintptr_t)p % 64, 0u);
		ASSERT_TRUE(all_zero(p, sizes[i]));
		memset(p, 1, sizes[i]);
		arch.ops->free(arch.ctx, p, sizes[i]);
	}
	arch.ops->free(arch.ctx, NULL, 64);
	arch_linux_close(&arch);
}
