/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Every system call of arch/linux fails in turn, with each error that it can
 * give.  Afterwards nothing is lost: descriptors, frames, records.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/arch/linux_faulty.h"
#include "tests/arch/linux_pool.h"

#define NFRAMES 8

static const int errors[] = {
    ENOSPC,
    ENOMEM,
    EMFILE,
    EPERM,
    EIO,
};

static const struct arch_linux_config faulty_config = {
    .nframes = NFRAMES,
    .node = -1,
    .may_raise = true,
    .prefer_runs = true,
    .sys = &faulty_sys,
};

static size_t
standby(const struct arch *arch)
{
	struct arch_linux_counts counts;

	arch_linux_counts(arch, &counts);
	return counts.standby;
}

/*
 * After a failure: whatever the pool misses is free in the kernel, so a
 * refill makes it whole.
 */
static void
expect_whole(const struct arch *arch)
{
	struct arch_event event;
	int net = 0;

	linux_pool_check(arch);
	ASSERT_GE(arch->ops->pool_refill(arch->ctx), 0);
	linux_pool_check(arch);
	if (standby(arch) != NFRAMES)
		test_fail(__FILE__, __LINE__, "%zu frames after %s failed",
		    standby(arch), faulty_what());
	while (arch->ops->pool_event(arch->ctx, &event)) {
		net -= event.kind == ARCH_FRAME_LOST;
		net += event.kind == ARCH_FRAME_GAINED;
	}
	ASSERT_EQ(net, 0);
}

/* Descriptors without those that a frame in the standby may have. */
static int
nfds_but_own(const struct arch *arch)
{
	struct arch_linux_counts counts;

	arch_linux_counts(arch, &counts);
	return test_nfds() - (int)counts.own;
}

/* One whole life of a span, of which any step may fail. */
static void
life(const struct arch *arch, vm_paddr_t pa, size_t nframes)
{
	struct arch_span *span;
	int nfds = nfds_but_own(arch);
	size_t nbad = 0;
	int r;

	r = arch->ops->span_assemble(arch->ctx, pa, nframes, &span);
	if (r == 0) {
		(void)arch->ops->span_zero(arch->ctx, span, 0, 100);
		(void)arch->ops->span_verify(arch->ctx, span, &nbad);
		ASSERT_EQ(nbad, 0u);
		r = arch->ops->span_recycle(arch->ctx, span);
		faulty_none();
		if (r == -EBUSY)
			r = recycle_until_done(arch, span);
		ASSERT_EQ(r, 0);
	}
	faulty_none();
	ASSERT_EQ(nfds_but_own(arch), nfds);
}

/* A whole pool of neighbours; frames that were replaced end the run. */
static struct arch
open_with_run(vm_paddr_t *pap)
{
	struct arch arch = linux_pool_open_with(&faulty_config);

	*pap = linux_pool_run(&arch, 3);
	return arch;
}

static unsigned
sweep_life(enum faulty_kind kind, int error, size_t nframes)
{
	unsigned nth = 0;
	bool fired = true;

	while (fired) {
		vm_paddr_t pa;
		struct arch arch = open_with_run(&pa);

		/* Several in one pool: opening one costs more. */
		for (int i = 0; i < 32 && fired; i++) {
			faulty_nth(kind, ++nth, error);
			life(&arch, pa, nframes);
			fired = faulty_fired();
			expect_whole(&arch);
			pa = linux_pool_run(&arch, 3);
		}
		arch_linux_close(&arch);
	}
	return nth - 1;
}

TEST_TIMEOUT(span__leaves_no_trace_whatever_call_fails, 240)
{
	for (size_t i = 0; i < nitems(errors); i++) {
		unsigned n = sweep_life(FAULTY_KINDS, errors[i], 3);

		printf("%s: each of %u calls failed once\n",
		    strerror(errors[i]), n);
		ASSERT_GE(n, 20u);
	}
	/* One frame may come back into a file of its own, and leave in it. */
	ASSERT_GE(sweep_life(FAULTY_KINDS, errors[0], 1), 10u);
}

TEST_TIMEOUT(span__leaves_no_trace_when_every_call_of_a_kind_fails, 240)
{
	for (enum faulty_kind kind = 0; kind < FAULTY_KINDS; kind++) {
		vm_paddr_t pa;
		struct arch arch = open_with_run(&pa);

		for (size_t i = 0; i < nitems(errors); i++) {
			faulty_all(kind, errors[i]);
			life(&arch, pa, 3);
			expect_whole(&arch);
			pa = linux_pool_run(&arch, 3);
		}
		arch_linux_close(&arch);
	}
}

/* It is pinned piece by piece: then what the pieces have is not its pin. */
TEST(span_assemble__promises_no_pin_when_one_piece_has_none)
{
	vm_paddr_t pa;
	struct arch arch = open_with_run(&pa);

	for (unsigned nth = 1; nth <= 3; nth++) {
		struct arch_span_info info;
		struct arch_span *span;

		faulty_nth(FAULTY_RING_REGISTER, nth, ENOMEM);
		span = linux_pool_span(&arch, pa, 3);
		ASSERT_TRUE(faulty_fired());
		faulty_none();
		arch.ops->span_info(arch.ctx, span, &info);
		ASSERT_EQ(info.pin, ARCH_PIN_NONE);
		ASSERT_TRUE(info.verified);
		ASSERT_EQ(recycle_until_done(&arch, span), 0);
		span = linux_pool_span(&arch, pa, 3);
		arch.ops->span_info(arch.ctx, span, &info);
		ASSERT_EQ(info.pin, ARCH_PIN_LONGTERM);
		ASSERT_EQ(recycle_until_done(&arch, span), 0);
	}
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

/*
 * Open and close with the nth call of a kind failing; `before` frames were
 * free.  A closed ring lets go of its pins a little later.
 */
static void
open_with_fault(enum faulty_kind kind, unsigned nth, int error, size_t before)
{
	int nfds = test_nfds();
	struct arch arch;

	faulty_nth(kind, nth, error);
	if (arch_linux_open(&faulty_config, &arch) == 0) {
		linux_pool_check(&arch);
		arch_linux_close(&arch);
	}
	faulty_none();
	ASSERT_EQ(test_nfds(), nfds);
	for (int i = 0; i < 500 && linux_free_hugepages() != before; i++)
		usleep(10000);
	if (linux_free_hugepages() != before)
		test_fail(__FILE__, __LINE__,
		    "%zu frames free, not %zu, after %s number %u failed",
		    linux_free_hugepages(), before, faulty_what(), nth);
}

TEST_TIMEOUT(arch_linux_open__holds_nothing_whatever_call_fails, 240)
{
	size_t before;

	if (geteuid() != 0)
		test_skip("needs root");
	usleep(100000); /* what an earlier case pinned comes back */
	before = linux_free_hugepages();
	for (enum faulty_kind kind = 0; kind < FAULTY_KINDS; kind++)
		for (unsigned nth = 1; nth <= 8; nth++)
			open_with_fault(kind, nth, nth % 2 ? ENOMEM : EPERM,
			    before);
}

TEST(span_assemble__says_that_a_span_is_not_pinned)
{
	vm_paddr_t pa;
	struct arch arch = open_with_run(&pa);
	struct arch_span_info info;
	struct arch_span *span;

	faulty_all(FAULTY_RING_REGISTER, ENOMEM);
	span = linux_pool_span(&arch, pa, 3);
	arch.ops->span_info(arch.ctx, span, &info);
	ASSERT_EQ(info.pin, ARCH_PIN_NONE);
	ASSERT_TRUE(info.verified);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	faulty_none();
	arch_linux_close(&arch);
}

TEST(arch_linux_open__says_that_nothing_can_be_pinned)
{
	struct arch_linux_config config = faulty_config;
	struct arch_pool_info info;
	struct arch arch;

	faulty_all(FAULTY_RING_SETUP, EPERM);
	arch = linux_pool_open_with(&config);
	arch.ops->pool_info(arch.ctx, &info);
	ASSERT_EQ(info.pin, ARCH_PIN_NONE);
	ASSERT_HAS(info.degraded, "not pinned");
	arch_linux_close(&arch);
	config.pin = ARCH_LINUX_PIN_REQUIRE;
	ASSERT_EQ(arch_linux_open(&config, &arch), -EPERM);
}

TEST(arch_linux_open__promises_no_neighbours_where_addresses_are_hidden)
{
	struct arch_linux_config config = {
	    .nframes = 4,
	    .node = -1,
	    .without_addresses = true,
	};
	struct arch_frame frames[4];
	struct arch_span_info info;
	struct arch_pool_info pool;
	struct arch_span *span;
	struct arch arch;
	size_t n;

	if (geteuid() == 0)
		become_nobody();
	if (linux_free_hugepages() < 4)
		test_skip("no huge pages");
	ASSERT_EQ(arch_linux_open(&config, &arch), 0);
	arch.ops->pool_info(arch.ctx, &pool);
	ASSERT_FALSE(pool.addresses_known);
	ASSERT_HAS(pool.degraded, "CAP_SYS_ADMIN");
	ASSERT_EQ(arch.ops->pool_frames(arch.ctx, frames, 4, &n), 0);
	ASSERT_EQ(n, 4u);
	for (size_t i = 1; i < n; i++)
		ASSERT_GT(frames[i].pa, frames[i - 1].pa + FRAME);
	for (size_t i = 0; i < n; i++) {
		span = linux_pool_span(&arch, frames[i].pa, 1);
		arch.ops->span_info(arch.ctx, span, &info);
		ASSERT_FALSE(info.verified);
		linux_pool_check(&arch);
		ASSERT_EQ(recycle_until_done(&arch, span), 0);
	}
	linux_pool_check(&arch);
	arch_linux_close(&arch);
	config.without_addresses = false;
	ASSERT_EQ(arch_linux_open(&config, &arch), -EPERM);
}
