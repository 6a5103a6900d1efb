/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Several threads on one pool, and a thief: another process that grabs and
 * frees huge pages of the kernel's while spans come and go.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/arch/linux_pool.h"

#define WORKERS 4
#define POOL    64

struct worker {
	const struct arch *arch;
	uint64_t seed;
	vm_paddr_t pa; /* its own part of the pool */
	size_t nframes;
	size_t rounds;
	size_t nagain; /* races lost */
	size_t nbusy;  /* spans still in limbo at the end */
	struct arch_span *busy[64];
};

/* Every byte of the span is 0, then every byte is `mark`. */
static void
use_span(const struct arch *arch, struct arch_span *span, unsigned char mark)
{
	struct arch_span_info info;
	unsigned char *p;

	arch->ops->span_info(arch->ctx, span, &info);
	ASSERT_TRUE(info.verified);
	p = linux_map_fd(info.fd, info.nframes);
	for (size_t i = 0; i < info.nframes * FRAME; i += 4096)
		ASSERT_EQ(p[i], 0);
	for (size_t i = 0; i < info.nframes * FRAME; i += 4096)
		p[i] = mark;
	ASSERT_EQ(arch->ops->span_zero(arch->ctx, span, 0, 8192), 0);
	ASSERT_EQ(p[4096], 0);
	ASSERT_EQ(p[8192], mark);
	munmap(p, info.nframes * FRAME);
}

/* Assemble, use and recycle random parts of what is the worker's own. */
static void *
worker_run(void *arg)
{
	struct worker *w = arg;
	const struct arch *arch = w->arch;

	for (size_t i = 0; i < w->rounds; i++) {
		size_t n = 1 + test_random(&w->seed) % MIN(w->nframes, 6);
		size_t at = test_random(&w->seed) % (w->nframes - n + 1);
		struct arch_span *span;
		int r;

		r = arch->ops->span_assemble(arch->ctx, w->pa + at * FRAME, n,
		    &span);
		if (r == -EAGAIN || r == -ENOENT) {
			w->nagain++;
			continue;
		}
		ASSERT_EQ(r, 0);
		use_span(arch, span, (unsigned char)(1 + i % 250));
		r = recycle_for(arch, span, 20);
		ASSERT_TRUE(r == 0 || r == -EBUSY);
		if (r == -EBUSY) {
			ASSERT_LT(w->nbusy, nitems(w->busy));
			w->busy[w->nbusy++] = span;
		}
	}
	return NULL;
}

static void
run_workers(const struct arch *arch, struct worker *workers, vm_paddr_t pa,
    size_t rounds)
{
	pthread_t threads[WORKERS];
	uint64_t seed = test_seed();

	for (size_t i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){
		    .arch = arch,
		    .seed = test_random(&seed),
		    .pa = pa + i * (POOL / WORKERS) * FRAME,
		    .nframes = POOL / WORKERS,
		    .rounds = rounds,
		};
		ASSERT_EQ(pthread_create(&threads[i], NULL, worker_run,
			      &workers[i]),
		    0);
	}
	for (size_t i = 0; i < WORKERS; i++)
		ASSERT_EQ(pthread_join(threads[i], NULL), 0);
}

/* Nobody else has huge pages: all that the kernel gave away are the pool's. */
static bool
is_alone(void)
{
	return linux_nr_hugepages() - linux_free_hugepages() == POOL;
}

/* What others took is to be had once they let go: a dead thief's soon is. */
static void
refill(const struct arch *arch, struct arch_linux_counts *countsp)
{
	for (int i = 0;; i++) {
		ASSERT_GE(arch->ops->pool_refill(arch->ctx), 0);
		arch_linux_counts(arch, countsp);
		if (countsp->missing == 0 || i == 1000)
			return;
		(void)usleep(10000);
	}
}

/*
 * In the guest nobody else is in the way; its kernel (6.1) unpins late, which
 * would be as good as a thief.
 */
static struct arch
open_in_guest(void)
{
	struct arch_linux_config config = {
	    .nframes = POOL,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	    .pin = ARCH_LINUX_PIN_NEVER,
	};

	return linux_pool_open_with(&config);
}

TEST_TIMEOUT(span_assemble__works_from_several_threads_at_once, 120)
{
	bool guest = getenv("HOLDFAST_ALONE") != NULL;
	struct arch arch = guest ? open_in_guest() : linux_pool_open(POOL);
	bool alone = guest || is_alone();
	vm_paddr_t pa = linux_pool_run(&arch, POOL);
	struct arch_linux_counts counts;
	struct worker workers[WORKERS];
	struct arch_event event;
	size_t again = 0;

	become_nobody();
	run_workers(&arch, workers, pa, 40);
	for (size_t i = 0; i < WORKERS; i++) {
		ASSERT_EQ(workers[i].nbusy, 0u);
		again += workers[i].nagain;
	}
	printf("%zu requests refused\n", again);
	/* Who is alone loses no race: there is none among our own threads. */
	if (alone && (guest || is_alone()))
		ASSERT_EQ(again, 0u);
	refill(&arch, &counts);
	linux_pool_check(&arch);
	ASSERT_EQ(counts.standby, (size_t)POOL);
	if (again == 0) {
		ASSERT_FALSE(arch.ops->pool_event(arch.ctx, &event));
		ASSERT_EQ(linux_pool_run(&arch, POOL), pa);
	}
	arch_linux_close(&arch);
}

/* Grab whatever is free, one frame at a time, and let go of it again. */
static _Noreturn void
thief_main(int ready)
{
	char c = 0;
	int fd = memfd_create("thief", MFD_HUGETLB | MFD_HUGE_2MB);

	if (fd < 0 || write(ready, &c, 1) != 1)
		_exit(1);
	for (unsigned i = 0;; i = (i + 1) % 16) {
		if (fallocate(fd, 0, (off_t)(i * FRAME), (off_t)FRAME) < 0)
			continue;
		if (i % 4 == 3)
			(void)ftruncate(fd, 0);
	}
}

static pid_t
thief_start(void)
{
	int ready[2];
	pid_t pid;
	char c;

	ASSERT_EQ(pipe(ready), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0)
		thief_main(ready[1]);
	ASSERT_EQ(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/* With frames to spare in the kernel, or with none but the pool's. */
static void
outlive_thief(bool tight)
{
	struct arch ballast = {0};
	struct arch arch;
	vm_paddr_t pa;
	struct arch_linux_counts counts;
	struct worker workers[WORKERS];
	struct arch_event event;
	size_t lost = 0;
	size_t gained = 0;
	size_t again = 0;
	size_t limbo = 0;
	pid_t thief;

	if (tight)
		ballast = linux_ballast_open();
	arch = linux_pool_open(POOL);
	pa = linux_pool_run(&arch, POOL);
	thief = thief_start();
	run_workers(&arch, workers, pa, 30);
	linux_pool_check(&arch);
	arch_linux_counts(&arch, &counts);
	for (size_t i = 0; i < WORKERS; i++)
		again += workers[i].nagain;
	kill(thief, SIGKILL);
	ASSERT_EQ(waitpid(thief, NULL, 0), thief);
	for (size_t i = 0; i < WORKERS; i++)
		for (size_t k = 0; k < workers[i].nbusy; k++, limbo++)
			ASSERT_EQ(recycle_until_done(&arch, workers[i].busy[k]),
			    0);
	refill(&arch, &counts);
	ASSERT_EQ(counts.missing, 0u);
	while (arch.ops->pool_event(arch.ctx, &event)) {
		lost += event.kind == ARCH_FRAME_LOST;
		gained += event.kind == ARCH_FRAME_GAINED;
	}
	ASSERT_EQ(lost, gained);
	linux_pool_check(&arch);
	ASSERT_EQ(counts.limbo + counts.spans, 0u);
	ASSERT_EQ(counts.standby, (size_t)POOL);
	printf("%zu requests refused, %zu frames lost and replaced, "
	       "%zu spans in limbo meanwhile\n",
	    again, lost, limbo);
	arch_linux_close(&arch);
	if (tight)
		arch_linux_close(&ballast);
}

TEST_TIMEOUT(pool__survives_a_thief_where_the_kernel_has_frames_to_spare, 120)
{
	outlive_thief(false);
}

TEST_TIMEOUT(pool__survives_a_thief_who_can_only_take_its_frames, 120)
{
	outlive_thief(true);
}
