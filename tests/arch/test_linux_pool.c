/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The pool as a whole: which frames it takes at start, how it becomes larger
 * and smaller at run time, gigantic frames, and what it leaves behind.
 */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/arch/linux_pool.h"

#define GIANT (1ul << 30)

static size_t
read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	size_t n = 0;

	if (file == NULL)
		return 0;
	ASSERT_EQ(fscanf(file, "%zu", &n), 1);
	fclose(file);
	return n;
}

static size_t
nr_hugepages(void)
{
	return read_number(
	    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
}

/* Events of `kind` in the queue; every other one fails the case. */
static size_t
count_events(const struct arch *arch, enum arch_event_kind kind)
{
	struct arch_event event;
	size_t n = 0;

	while (arch->ops->pool_event(arch->ctx, &event)) {
		ASSERT_EQ(event.kind, kind);
		n++;
	}
	return n;
}

static size_t
total(const struct arch *arch)
{
	struct arch_linux_counts counts;

	arch_linux_counts(arch, &counts);
	return counts.total;
}

static struct arch
open_growing(size_t nframes, size_t max)
{
	struct arch_linux_config config = {
	    .nframes = nframes,
	    .nframes_max = max,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	};

	return linux_pool_open_with(&config);
}

TEST(arch_linux_open__prefers_one_long_run)
{
	struct arch arch = linux_pool_open(128);
	vm_paddr_t pa = linux_pool_run(&arch, 128);

	ASSERT_NE(pa, 0u);
	arch_linux_close(&arch);
}

TEST(arch_linux_close__puts_nr_hugepages_back)
{
	size_t before = nr_hugepages();
	struct arch arch = open_growing(linux_free_hugepages() + 8, 0);

	ASSERT_GE(nr_hugepages(), before + 1);
	arch_linux_close(&arch);
	ASSERT_EQ(nr_hugepages(), before);
}

static int
grow_by(const struct arch *arch, size_t n)
{
	return arch->ops->pool_grow(arch->ctx,
	    &(struct arch_grow){.node = -1, .nframes = n});
}

TEST(pool_grow__brings_frames_also_when_nobody_opened_it)
{
	size_t before = nr_hugepages();
	struct arch arch = open_growing(8, 40);

	become_nobody();
	ASSERT_EQ(grow_by(&arch, 32), 32);
	ASSERT_EQ(count_events(&arch, ARCH_FRAME_GAINED), 32u);
	ASSERT_EQ(total(&arch), 40u);
	linux_pool_check(&arch);
	ASSERT_EQ(grow_by(&arch, 1), -ENOSPC);
	ASSERT_EQ(grow_by(&arch, SIZE_MAX), -ENOSPC);
	ASSERT_EQ(grow_by(&arch, 0), 0);
	ASSERT_EQ(total(&arch), 40u);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
	ASSERT_EQ(nr_hugepages(), before);
}

TEST(pool_shrink__gives_exactly_its_range_up)
{
	struct arch arch = open_growing(16, 0);
	vm_paddr_t pa = linux_pool_run(&arch, 4);
	size_t nfree = linux_free_hugepages();
	size_t raised = nr_hugepages();
	struct arch_span *span;

	become_nobody();
	span = linux_pool_span(&arch, pa, 1);
	ASSERT_EQ(arch.ops->pool_shrink(arch.ctx, pa, 4), -ENOENT);
	ASSERT_EQ(total(&arch), 16u);
	ASSERT_EQ(arch.ops->pool_shrink(arch.ctx, pa + FRAME, 3), 0);
	ASSERT_EQ(total(&arch), 13u);
	linux_pool_check(&arch);
	/* Free in the kernel, or taken off nr_hugepages. */
	ASSERT_EQ(linux_free_hugepages() + raised, nfree + 3 + nr_hugepages());
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, pa + FRAME, 1, &span),
	    -ENOENT);
	ASSERT_EQ(count_events(&arch, ARCH_FRAME_LOST), 0u);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

static void
set_nr_hugepages(size_t n)
{
	FILE *file =
	    fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
		"w");

	ASSERT_NOT_NULL(file);
	ASSERT_GT(fprintf(file, "%zu", n), 0);
	ASSERT_EQ(fclose(file), 0);
}

/* Frames beyond nr_hugepages do not come back to the free list when freed. */
TEST(pool__survives_an_operator_who_takes_its_pages_away)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	size_t before = nr_hugepages();
	struct arch_linux_counts counts;
	struct arch_span *span = NULL;
	struct arch_event event;
	int net = 0;

	set_nr_hugepages(0);
	ASSERT_EQ(arch.ops->span_assemble(arch.ctx, pa, 2, &span), -EAGAIN);
	ASSERT_NULL(span);
	linux_pool_check(&arch);
	arch_linux_counts(&arch, &counts);
	ASSERT_GT(counts.missing, 0u);
	set_nr_hugepages(before);
	ASSERT_EQ(arch.ops->pool_refill(arch.ctx), (int)counts.missing);
	arch_linux_counts(&arch, &counts);
	ASSERT_EQ(counts.standby, 8u);
	while (arch.ops->pool_event(arch.ctx, &event)) {
		net -= event.kind == ARCH_FRAME_LOST;
		net += event.kind == ARCH_FRAME_GAINED;
	}
	ASSERT_EQ(net, 0);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

/* So a span that comes back meanwhile has nothing to wait for. */
TEST(span_recycle__does_not_wait_for_what_is_no_huge_page_any_more)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span *span = linux_pool_span(&arch, pa, 2);
	size_t before = nr_hugepages();
	struct arch_linux_counts counts;
	int r;

	set_nr_hugepages(0);
	r = arch.ops->span_recycle(arch.ctx, span);
	set_nr_hugepages(before);
	ASSERT_EQ(r, 0);
	linux_pool_check(&arch);
	arch_linux_counts(&arch, &counts);
	ASSERT_EQ(counts.limbo, 0u);
	ASSERT_EQ(counts.missing, 2u);
	ASSERT_EQ(count_events(&arch, ARCH_FRAME_LOST), 2u);
	ASSERT_EQ(arch.ops->pool_refill(arch.ctx), 2);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

TEST(span_assemble__works_with_gigantic_frames)
{
	struct arch_linux_config config = {
	    .frame_size = GIANT,
	    .nframes = 1,
	    .node = -1,
	    .may_raise = true,
	};
	struct arch_linux_counts counts;
	struct arch_span_info info;
	struct arch_frame frame;
	struct arch_span *span;
	struct arch arch;
	size_t nbad = 9;
	size_t n;
	int r;

	if (geteuid() != 0)
		test_skip("needs root");
	r = arch_linux_open(&config, &arch);
	if (r < 0) {
		linux_make_room();
		r = arch_linux_open(&config, &arch);
	}
	if (r < 0)
		test_skip("no gigantic page: %s", strerror(-r));
	become_nobody();
	ASSERT_EQ(arch.ops->pool_frames(arch.ctx, &frame, 1, &n), 0);
	ASSERT_EQ(frame.pa % GIANT, 0u);
	span = linux_pool_span(&arch, frame.pa, 1);
	arch.ops->span_info(arch.ctx, span, &info);
	ASSERT_EQ(info.frame_size, GIANT);
	ASSERT_EQ(info.pin, ARCH_PIN_LONGTERM);
	ASSERT_TRUE(info.verified);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, GIANT - 4096, 4096), 0);
	ASSERT_EQ(arch.ops->span_verify(arch.ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, 0u);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	arch_linux_counts(&arch, &counts);
	ASSERT_EQ(counts.standby, 1u);
	arch_linux_close(&arch);
}

static size_t
nr_gigantic(void)
{
	return read_number(
	    "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
}

static vm_paddr_t
first_big(const struct arch *arch)
{
	struct arch_frame frame = {0};
	size_t n;

	ASSERT_EQ(arch->ops->pool_big_frames(arch->ctx, &frame, 1, &n), 0);
	ASSERT_EQ(n, 1u);
	return frame.pa;
}

/* Eight small frames and a big one, and what the host had before. */
struct both {
	struct arch arch;
	size_t nr, nr_big;
	vm_paddr_t pa; /* of the big one */
};

static void
both_open(struct both *both)
{
	struct arch_linux_config config = {
	    .nframes = 8,
	    .nbig = 1,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	};

	both->nr = nr_hugepages();
	both->nr_big = nr_gigantic();
	both->arch = linux_pool_open_with(&config);
	both->pa = first_big(&both->arch);
	become_nobody();
}

/* The pool is whole, and the host gets back what it had. */
static void
both_close(struct both *both)
{
	linux_pool_check(&both->arch);
	ASSERT_EQ(count_events(&both->arch, ARCH_FRAME_GAINED), 0u);
	arch_linux_close(&both->arch);
	ASSERT_EQ(nr_hugepages(), both->nr);
	ASSERT_EQ(nr_gigantic(), both->nr_big);
}

TEST_TIMEOUT(pool__holds_frames_of_both_sizes, 120)
{
	struct both both;
	const struct arch *arch = &both.arch;
	struct arch_pool_info info;
	struct arch_span_info span_info;
	struct arch_span *span;
	struct arch_span *small;

	both_open(&both);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.big_size, GIANT);
	ASSERT_EQ(info.nbig, 1u);
	ASSERT_EQ(info.nstandby, 8u);
	span = linux_pool_span(arch, both.pa, GIANT / FRAME);
	arch->ops->span_info(arch->ctx, span, &span_info);
	ASSERT_EQ(span_info.frame_size, GIANT);
	ASSERT_EQ(span_info.nframes, 1u);
	ASSERT_EQ(span_info.pa, both.pa);
	ASSERT_EQ(span_info.pin, ARCH_PIN_LONGTERM);
	ASSERT_TRUE(span_info.verified);
	small = linux_pool_span(arch, linux_pool_run(arch, 2), 2);
	ASSERT_EQ(recycle_until_done(arch, small), 0);
	ASSERT_EQ(recycle_until_done(arch, span), 0);
	both_close(&both);
}

TEST_TIMEOUT(span_assemble__takes_a_big_frame_apart_for_a_part_of_it, 120)
{
	struct both both;
	const struct arch *arch = &both.arch;
	struct arch_linux_raised raised;
	struct arch_pool_info info;
	struct arch_span_info span_info;
	struct arch_span *span;

	both_open(&both);
	span = linux_pool_span(arch, both.pa + 3 * FRAME, 5);
	arch->ops->span_info(arch->ctx, span, &span_info);
	ASSERT_EQ(span_info.frame_size, FRAME);
	ASSERT_EQ(span_info.nframes, 5u);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.nbig, 0u);
	ASSERT_EQ(info.nstandby, 8 + GIANT / FRAME - 5);
	ASSERT_TRUE(arch_linux_raised(arch, &raised));
	ASSERT_EQ(raised.big, 0);
	ASSERT_EQ(recycle_until_done(arch, span), 0);
	/* All of it is neighbours: one span as long as the page was. */
	span = linux_pool_span(arch, both.pa, GIANT / FRAME);
	ASSERT_EQ(recycle_until_done(arch, span), 0);
	ASSERT_EQ(arch->ops->pool_demote(arch->ctx, both.pa), -ENOENT);
	both_close(&both);
}

TEST_TIMEOUT(pool_demote__makes_neighbours_of_a_big_frame_as_nobody, 120)
{
	struct both both;
	const struct arch *arch = &both.arch;
	struct arch_span_info span_info;
	struct arch_pool_info info;
	struct arch_span *span;

	both_open(&both);
	ASSERT_EQ(arch->ops->pool_demote(arch->ctx, both.pa), 0);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.nbig, 0u);
	ASSERT_EQ(info.nstandby, 8 + GIANT / FRAME);
	span = linux_pool_span(arch, both.pa, GIANT / FRAME);
	arch->ops->span_info(arch->ctx, span, &span_info);
	ASSERT_EQ(span_info.pa, both.pa);
	ASSERT_EQ(span_info.nframes, GIANT / FRAME);
	ASSERT_TRUE(span_info.verified);
	ASSERT_EQ(recycle_until_done(arch, span), 0);
	ASSERT_EQ(arch->ops->pool_demote(arch->ctx, both.pa), -ENOENT);
	both_close(&both);
}
