/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the pool does where a machine has two nodes and memory that goes bad.
 * Runs as root inside the guest, which has free huge pages on both nodes.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/arch/linux_pool.h"

#define MADV_HWPOISON_ 100

/* Free huge pages on each node, once for all cases. */
__attribute__((constructor)) static void
set_pages(void)
{
	for (int node = 0; node < 2; node++) {
		char path[128];
		FILE *file;

		(void)snprintf(path, sizeof(path),
		    "/sys/devices/system/node/node%d/hugepages/"
		    "hugepages-2048kB/nr_hugepages",
		    node);
		file = fopen(path, "w");
		if (file == NULL)
			continue;
		(void)fprintf(file, "%d", 40);
		(void)fclose(file);
	}
}

static int
node_of(void *va)
{
	void *pages[1] = {va};
	int status = -1;

	ASSERT_EQ(syscall(SYS_move_pages, 0, 1ul, pages, NULL, &status, 0), 0);
	return status;
}

static struct arch
open_on(int node, size_t nframes)
{
	struct arch_linux_config config = {
	    .nframes = nframes,
	    .node = node,
	};

	return linux_pool_open_with(&config);
}

/* Frames of the pool, one span each, are where they say they are. */
static void
expect_placement(const struct arch *arch, size_t nframes)
{
	struct arch_frame frames[64];
	size_t n;

	ASSERT_EQ(arch->ops->pool_frames(arch->ctx, frames, 64, &n), 0);
	ASSERT_EQ(n, nframes);
	for (size_t i = 0; i < n; i += 5) {
		struct arch_span *span = linux_pool_span(arch, frames[i].pa, 1);
		struct arch_span_info info;
		unsigned char *p;

		arch->ops->span_info(arch->ctx, span, &info);
		ASSERT_EQ(info.domain, frames[i].domain);
		p = linux_map_fd(info.fd, 1);
		p[0] = 1;
		ASSERT_EQ(node_of(p), frames[i].domain);
		munmap(p, FRAME);
		ASSERT_EQ(recycle_until_done(arch, span), 0);
	}
	linux_pool_check(arch);
}

TEST(pool__takes_its_frames_from_the_node_that_was_asked_for)
{
	for (int node = 0; node < 2; node++) {
		struct arch arch = open_on(node, 16);
		struct arch_frame frames[16];
		size_t n;

		ASSERT_EQ(arch.ops->pool_frames(arch.ctx, frames, 16, &n), 0);
		for (size_t i = 0; i < n; i++)
			ASSERT_EQ(frames[i].domain, node);
		expect_placement(&arch, 16);
		arch_linux_close(&arch);
	}
}

TEST_TIMEOUT(pool__keeps_frames_of_two_nodes_apart, 200)
{
	struct arch arch = open_on(-1, 60);
	struct arch_frame frames[60];
	size_t on[2] = {0, 0};
	size_t n;

	ASSERT_EQ(arch.ops->pool_frames(arch.ctx, frames, 60, &n), 0);
	for (size_t i = 0; i < n; i++)
		on[frames[i].domain]++;
	ASSERT_GE(on[0], 20u); /* neither node has 60 */
	ASSERT_GE(on[1], 20u);
	become_nobody();
	expect_placement(&arch, 60);
	arch_linux_close(&arch);
}

static bool
holds(const struct arch *arch, vm_paddr_t pa)
{
	struct arch_frame frames[64];
	size_t n;

	ASSERT_EQ(arch->ops->pool_frames(arch->ctx, frames, 64, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (frames[i].pa == pa)
			return true;
	return false;
}

struct tally {
	size_t lost;
	size_t gained;
};

static struct tally
drain(const struct arch *arch)
{
	struct tally tally = {0};
	struct arch_event event;

	while (arch->ops->pool_event(arch->ctx, &event)) {
		tally.lost += event.kind == ARCH_FRAME_LOST;
		tally.gained += event.kind == ARCH_FRAME_GAINED;
	}
	return tally;
}

/* The frame at `pa` is gone for good and another one has its place. */
static void
expect_replaced(const struct arch *arch, vm_paddr_t pa, size_t nframes)
{
	struct arch_linux_counts counts;
	struct tally tally;

	ASSERT_GE(arch->ops->pool_refill(arch->ctx), 0);
	tally = drain(arch);
	ASSERT_EQ(tally.lost, 1u);
	ASSERT_EQ(tally.gained, 1u);
	ASSERT_FALSE(holds(arch, pa));
	arch_linux_counts(arch, &counts);
	ASSERT_EQ(counts.standby, nframes);
	ASSERT_EQ(counts.missing, 0u);
	linux_pool_check(arch);
}

/* The kernel refuses to spoil a frame that is pinned, so this one is not. */
TEST(span_recycle__retires_a_frame_whose_memory_went_bad)
{
	struct arch_linux_config config = {
	    .nframes = 8,
	    .pin = ARCH_LINUX_PIN_NEVER,
	};
	struct arch arch = linux_pool_open_with(&config);
	vm_paddr_t pa = linux_pool_run(&arch, 1);
	struct arch_span_info info;
	struct arch_span *span;
	unsigned char *p;
	size_t nbad = 0;

	span = linux_pool_span(&arch, pa, 1);
	arch.ops->span_info(arch.ctx, span, &info);
	p = linux_map_fd(info.fd, 1);
	p[4096] = 1;
	if (madvise(p + 4096, 4096, MADV_HWPOISON_) < 0)
		test_skip("this kernel cannot make memory bad");
	ASSERT_EQ(touch_signal(p + 4096, false), SIGBUS);
	ASSERT_EQ(arch.ops->span_verify(arch.ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, 1u);
	ASSERT_LT(arch.ops->span_zero(arch.ctx, span, 0, FRAME), 0);
	munmap(p, FRAME);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	expect_replaced(&arch, pa, 8);
	arch_linux_close(&arch);
}

TEST(span_assemble__says_so_when_a_free_frame_went_bad)
{
	struct arch arch = open_on(0, 8);
	vm_paddr_t pa = linux_pool_run(&arch, 1);
	struct arch_linux_counts counts;
	struct arch_span *span = NULL;
	FILE *file = fopen("/sys/devices/system/memory/hard_offline_page", "w");

	if (file == NULL)
		test_skip("this kernel cannot take a page offline");
	(void)fprintf(file, "%#llx", (unsigned long long)pa);
	if (fclose(file) != 0)
		test_skip("the kernel did not take the page offline");
	ASSERT_LT(arch.ops->span_assemble(arch.ctx, pa, 1, &span), 0);
	ASSERT_NULL(span);
	arch_linux_counts(&arch, &counts);
	ASSERT_EQ(counts.missing, 1u);
	linux_pool_check(&arch);
	expect_replaced(&arch, pa, 8);
	arch_linux_close(&arch);
}
