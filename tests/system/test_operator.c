/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What operators do, on real huge pages: the pool's size at run time while a
 * thief is at work, what is left on the host, tampering that is found, a second
 * daemon that is not let in.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/system/live.h"
#include "tests/test.h"

#define FRAME (2 * MIB)
#define NR    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

static unsigned long
nr_hugepages(void)
{
	unsigned long n = 0;
	FILE *file = fopen(NR, "re");

	ASSERT_NOT_NULL(file);
	ASSERT_EQ(fscanf(file, "%lu", &n), 1);
	(void)fclose(file);
	return n;
}

static struct holdfast_pool_status
status_of(struct holdfast *h)
{
	struct holdfast_pool_status status;

	ASSERT_EQ(holdfast_pool_status(h, &status), HF_OK);
	return status;
}

/* Until the daemon has seen that the others are gone. */
static void
wait_alone(struct holdfast *h)
{
	const struct timespec pause = {0, 5000000};

	while (status_of(h).sessions != 1)
		(void)nanosleep(&pause, NULL);
}

/* Returns how many; the daemon's sentence where it refuses. */
static uint64_t
change(struct holdfast *h, enum holdfast_pool_action action, uint64_t frames)
{
	struct holdfast_pool_change what = {.action = action, .frames = frames};
	struct holdfast_pool_changed changed;
	int r = holdfast_pool_change(h, &what, &changed);
	uint64_t sum = 0;

	if (r != HF_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", holdfast_status_name(r),
		    holdfast_error(h));
	for (size_t i = 0; i < changed.nruns_told; i++)
		sum += changed.runs[i].end - changed.runs[i].start;
	if (changed.nruns_told == changed.nruns)
		ASSERT_EQ(sum, changed.frames * FRAME);
	free(changed.runs);
	return changed.frames;
}

/* Nothing that the kernel has free is left to grow from. */
static int
hold_free_pages(void)
{
	int fd =
	    memfd_create("ballast", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	off_t off = 0;

	ASSERT_GE(fd, 0);
	while (fallocate(fd, 0, off, (off_t)FRAME) == 0)
		off += (off_t)FRAME;
	return fd;
}

static const char *const growing[] = {"--set-nr-hugepages", "--pool-max",
    "192M", "--allow-addresses", "all", NULL};

TEST_TIMEOUT(pool__grows_and_shrinks_and_leaves_the_host_as_it_was, 120)
{
	unsigned long before = nr_hugepages();
	struct holdfast_contig_req req = {.size = 100 * MIB};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct live live;
	int ballast;

	live_start(&live, 64, growing);
	ballast = hold_free_pages();
	h = live_connect(&live);
	ASSERT_EQ(change(h, HF_POOL_GROW, 64), 64u);
	ASSERT_GT(nr_hugepages(), before);
	ASSERT_EQ(status_of(h).frames_total, 96u);
	if (status_of(h).largest_run >= req.size) {
		ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
		ASSERT_TRUE(buf->verified);
		memset(buf->addr, 1, buf->size);
		ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
		live_wait_idle(h);
	}
	ASSERT_EQ(change(h, HF_POOL_SHRINK, 80), 80u);
	ASSERT_EQ(status_of(h).frames_total, 16u);
	ASSERT_EQ(status_of(h).frames_missing, 0u);
	holdfast_close(h);
	live_stop(&live);
	close(ballast);
	ASSERT_EQ(nr_hugepages(), before);
}

TEST_TIMEOUT(pool__that_grew_is_put_back_when_the_daemon_is_killed, 120)
{
	unsigned long before = nr_hugepages();
	struct holdfast *h;
	struct live live;
	int ms = 0, ballast;

	live_start(&live, 64, growing);
	ballast = hold_free_pages();
	h = live_connect(&live);
	ASSERT_EQ(change(h, HF_POOL_GROW, 64), 64u);
	ASSERT_GT(nr_hugepages(), before);
	ASSERT_EQ(kill(live.pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(live.pid, NULL, 0), live.pid);
	for (; ms < 20000 && nr_hugepages() != before; ms += 10)
		(void)usleep(10000);
	ASSERT_EQ(nr_hugepages(), before);
	for (; ms < 20000 && access(live.path, F_OK) == 0; ms += 10)
		(void)usleep(10000);
	close(ballast);
	holdfast_close(h);
	ASSERT_EQ(rmdir(live.dir), 0);
}

/* ---- A thief ----------------------------------------------------- */

/* Grab whatever is free, one frame at a time, and let go of it again. */
static void
steal(void *arg)
{
	int fd = memfd_create("thief", MFD_HUGETLB | MFD_HUGE_2MB);

	(void)arg;
	ASSERT_GE(fd, 0);
	for (unsigned i = 0;; i = (i + 1) % 16) {
		if (fallocate(fd, 0, (off_t)(i * FRAME), (off_t)FRAME) < 0)
			continue;
		if (i % 4 == 3)
			(void)ftruncate(fd, 0);
	}
}

/* The status and the segments, with no frame lost or gained between them. */
static void
read_books(struct holdfast *h, struct live_pool *pool)
{
	live_pool_read(h, pool);
	while (status_of(h).frames_total != pool->status.frames_total) {
		live_pool_fini(pool);
		live_pool_read(h, pool);
	}
}

/* Frames in the segments are those of the status, and none is there twice. */
static void
check_books(struct holdfast *h)
{
	struct holdfast_pool_status status = status_of(h);
	struct live_pool pool;
	uint64_t total = 0;

	read_books(h, &pool);
	for (size_t i = 0; i < pool.nsegs; i++) {
		total += pool.segs[i].end - pool.segs[i].start;
		if (i > 0)
			ASSERT_GE(pool.segs[i].start, pool.segs[i - 1].end);
	}
	ASSERT_EQ(total, pool.status.frames_total * FRAME);
	ASSERT_LE(status.frames_standby + status.frames_in_use +
		      status.frames_limbo,
	    96u);
	live_pool_fini(&pool);
}

TEST_TIMEOUT(pool__grows_and_shrinks_with_a_thief_at_work, 240)
{
	unsigned long before = nr_hugepages();
	struct holdfast_contig_req req = {.size = 3 * FRAME};
	uint64_t seed = test_seed(), want, n;
	struct holdfast_verified verified;
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct live live;
	pid_t thief;

	live_start(&live, 64, growing);
	h = live_connect(&live);
	thief = live_spawn(0, steal, NULL);
	for (int i = 0; i < 20; i++) {
		want = 1 + test_random(&seed) % 24;
		n = status_of(h).frames_total;
		if (n + want <= 96)
			ASSERT_LE(change(h, HF_POOL_GROW, want), want);
		if (holdfast_contigmalloc(h, &req, &buf) == HF_OK) {
			ASSERT_EQ(holdfast_verify(h, &verified), HF_OK);
			ASSERT_EQ(verified.mismatches, 0u);
			ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
		}
		want = 1 + test_random(&seed) % 24;
		if (want <= status_of(h).frames_total)
			ASSERT_LE(change(h, HF_POOL_SHRINK, want), want);
		check_books(h);
	}
	ASSERT_EQ(kill(thief, SIGKILL), 0);
	ASSERT_EQ(waitpid(thief, NULL, 0), thief);
	live_wait_idle(h);
	check_books(h);
	holdfast_close(h);
	live_stop(&live);
	ASSERT_EQ(nr_hugepages(), before);
}

/* ---- Tampering --------------------------------------------------- */

struct tamper {
	const struct live *live;
	int go[2]; /* the parent reads: it is done */
	int end[2];
};

/* A ring that holds a pin on the first frame there; -1: not to be had. */
static int
pin(void *p)
{
	struct io_uring_params params = {0};
	struct iovec iov = {p, FRAME};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring >= 0 && syscall(SYS_io_uring_register, ring,
			     IORING_REGISTER_BUFFERS, &iov, 1) == 0)
		return ring;
	if (ring >= 0)
		(void)close(ring);
	return -1;
}

/*
 * Free what is pinned: it is withheld, from nobody but its own tenant.  false:
 * there are no pins to be had.
 */
static bool
free_pinned(struct holdfast *h)
{
	struct holdfast_contig_req req = {.size = 3 * FRAME};
	struct holdfast_tenant_status tenant;
	struct holdfast_buf *buf;

	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	if (pin(buf->addr) < 0)
		return false;
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	while (status_of(h).frames_limbo != 3)
		(void)usleep(1000);
	ASSERT_EQ(holdfast_tenant_status(h, &tenant), HF_OK);
	ASSERT_EQ(tenant.limbo_bytes, 3 * FRAME);
	ASSERT_EQ(tenant.bytes.used, 9 * FRAME);
	return true;
}

/* Punch, truncate, seal and pin, as far as the seals allow. */
static void
tamper(void *arg)
{
	struct tamper *t = arg;
	struct holdfast *h = live_connect(t->live);
	struct holdfast_contig_req req = {.size = 4 * FRAME};
	struct holdfast_buf *one, *two;
	char c = 0;

	ASSERT_EQ(holdfast_contigmalloc(h, &req, &one), HF_OK);
	req.size = 60 * FRAME; /* in a span of its own */
	ASSERT_NE(holdfast_contigmalloc(h, &req, &two), HF_OK);
	req.size = 2 * FRAME;
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &two), HF_OK);
	ASSERT_EQ(fallocate(one->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)FRAME, (off_t)FRAME),
	    0);
	ASSERT_EQ(ftruncate(two->fd, (off_t)FRAME), 0);
	ASSERT_EQ(fcntl(one->fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
	ASSERT_EQ(errno, EPERM);
	c = free_pinned(h);
	ASSERT_EQ(write(t->go[1], &c, 1), 1);
	ASSERT_EQ(read(t->end[0], &c, 1), 1);
	holdfast_close(h);
}

TEST_TIMEOUT(verify__finds_what_a_client_did_to_its_spans, 120)
{
	struct holdfast_contig_req req = {.size = 2 * FRAME,
	    .flags = HF_M_ZERO};
	const char *const options[] = {"--allow-addresses", "all", NULL};
	struct holdfast_verified verified;
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct tamper t;
	struct live live;
	pid_t pid;
	char c = 0;

	live_start(&live, 32, options);
	h = live_connect(&live);
	if (status_of(h).largest_run < 12 * FRAME) {
		holdfast_close(h);
		live_stop(&live);
		test_skip("the kernel gave no 12 neighbours");
	}
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	memset(buf->addr, 7, buf->size);
	ASSERT_EQ(holdfast_verify(h, &verified), HF_OK);
	ASSERT_EQ(verified.frames, 2u);
	ASSERT_EQ(verified.mismatches, 0u);
	t.live = &live;
	ASSERT_EQ(pipe(t.go), 0);
	ASSERT_EQ(pipe(t.end), 0);
	pid = live_spawn(NOBODY, tamper, &t);
	ASSERT_EQ(read(t.go[0], &c, 1), 1);
	ASSERT_EQ(holdfast_verify(h, &verified), HF_OK);
	ASSERT_EQ(verified.frames, 8u);
	ASSERT_EQ(verified.mismatches, 2u);
	ASSERT_EQ(verified.nbad, 2u);
	for (size_t i = 0; i < 2; i++)
		ASSERT_STREQ(verified.bad[i].tenant, "uid:65534");
	ASSERT_EQ(status_of(h).frames_tampered, 2u);
	ASSERT_EQ(status_of(h).frames_limbo, c ? 3u : 0u);
	ASSERT_EQ(write(t.end[1], &c, 1), 1);
	live_wait(pid);
	wait_alone(h);
	/* It harmed nobody: ours is as it was, and all comes home. */
	for (size_t i = 0; i < buf->size; i += 4096)
		ASSERT_EQ(((unsigned char *)buf->addr)[i], 7);
	ASSERT_EQ(holdfast_verify(h, &verified), HF_OK);
	ASSERT_EQ(verified.mismatches, 0u);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	live_wait_idle(h);
	ASSERT_EQ(status_of(h).frames_total, 16u);
	ASSERT_EQ(status_of(h).frames_tampered, 2u);
	close(t.go[0]);
	close(t.go[1]);
	close(t.end[0]);
	close(t.end[1]);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Two daemons ------------------------------------------------- */

/* Its exit code; what it printed is in `text`. */
static int
second_daemon(const struct live *live, char *text, size_t size)
{
	char path[112];
	ssize_t n = 0, some;
	int fds[2], status;
	pid_t pid;

	(void)snprintf(path, sizeof(path), "%s/second", live->dir);
	ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)dup2(fds[1], STDERR_FILENO);
		(void)execl(getenv("HOLDFASTD"), "holdfastd", "--socket", path,
		    "--pool", "4M", NULL);
		_exit(127);
	}
	(void)close(fds[1]);
	while ((some = read(fds[0], text + n, size - 1 - (size_t)n)) > 0)
		n += some;
	text[n] = '\0';
	(void)close(fds[0]);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_TRUE(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST_TIMEOUT(daemon__lets_no_second_one_at_its_pages, 60)
{
	char text[4096], want[64];
	struct live live;

	live_start(&live, 8, NULL);
	ASSERT_EQ(second_daemon(&live, text, sizeof(text)), 1);
	(void)snprintf(want, sizeof(want), "process %d", (int)live.pid);
	ASSERT_NOT_NULL(strstr(text, "another holdfastd"));
	ASSERT_NOT_NULL(strstr(text, want));
	live_stop(&live);
	/* The lock goes with its owner. */
	live_start(&live, 8, NULL);
	live_stop(&live);
}

TEST_TIMEOUT(daemon__shares_the_host_when_it_is_told_to, 120)
{
	const char *const options[] = {"--share-host", "--allow-addresses",
	    "all", NULL};
	struct holdfast_contig_req req = {.size = FRAME};
	struct holdfast_verified verified;
	struct holdfast *h[2];
	struct live live[2];

	for (int i = 0; i < 2; i++) {
		live_start(&live[i], 16, options);
		h[i] = live_connect(&live[i]);
	}
	/* Each is the other's thief, and both keep their books. */
	for (int i = 0; i < 60; i++) {
		struct holdfast_buf *buf[2] = {NULL, NULL};

		for (int k = 0; k < 2; k++)
			if (holdfast_contigmalloc(h[k], &req, &buf[k]) == HF_OK)
				ASSERT_TRUE(buf[k]->verified);
		for (int k = 0; k < 2; k++) {
			ASSERT_EQ(holdfast_verify(h[k], &verified), HF_OK);
			ASSERT_EQ(verified.mismatches, 0u);
			ASSERT_EQ(holdfast_contigfree(h[k], buf[k]), HF_OK);
		}
	}
	for (int k = 0; k < 2; k++) {
		live_wait_idle(h[k]);
		ASSERT_LE(status_of(h[k]).frames_total, 8u);
		holdfast_close(h[k]);
		live_stop(&live[k]);
	}
}
