/* SPDX-License-Identifier: BSD-2-Clause */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast_pool.h"
#include "tests/system/live.h"
#include "tests/test.h"

#define READY_MS 30000
#define IDLE_MS  60000

static void
need_root(void)
{
	if (getuid() != 0)
		test_skip("needs root");
	if (getenv("HOLDFASTD") == NULL)
		test_skip("HOLDFASTD names no daemon");
}

static void
need(unsigned pool_mib)
{
	unsigned long nfree = 0;
	FILE *f;

	need_root();
	f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
	    "re");
	if (f == NULL || fscanf(f, "%lu", &nfree) != 1)
		test_skip("no huge pages in this kernel");
	(void)fclose(f);
	if (nfree < pool_mib / 2)
		test_skip("%u huge pages wanted, %lu free", pool_mib / 2,
		    nfree);
}

static _Noreturn void
exec_daemon(const struct live *live, unsigned pool_mib, int ready,
    const char *const *options)
{
	const char *argv[32] = {getenv("HOLDFASTD"), "--socket", live->path};
	char pool[32], fd[32];
	size_t n = 3;

	/* If the case dies, the daemon must not outlive it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)snprintf(pool, sizeof(pool), "%uM", pool_mib);
	(void)snprintf(fd, sizeof(fd), "%d", ready);
	argv[n++] = "--pool";
	argv[n++] = pool;
	argv[n++] = "--ready-fd";
	argv[n++] = fd;
	while (options != NULL && *options != NULL && n < 31)
		argv[n++] = *options++;
	(void)execv(argv[0], (char *const *)(uintptr_t)argv);
	perror(argv[0]);
	_exit(127);
}

/* Start it, whatever it needs. */
static void
start(struct live *live, unsigned pool_mib, const char *const *options)
{
	struct pollfd wait = {.events = POLLIN};
	char word[64];
	int fds[2];

	strcpy(live->dir, "/tmp/holdfast-live-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(live->dir));
	ASSERT_EQ(chmod(live->dir, 0755), 0); /* other uids connect */
	(void)snprintf(live->path, sizeof(live->path), "%s/socket", live->dir);
	ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
	live->pid = fork();
	ASSERT_GE(live->pid, 0);
	if (live->pid == 0) {
		(void)close(fds[0]);
		(void)fcntl(fds[1], F_SETFD, 0);
		exec_daemon(live, pool_mib, fds[1], options);
	}
	(void)close(fds[1]);
	wait.fd = fds[0];
	ASSERT_EQ(poll(&wait, 1, READY_MS), 1);
	ASSERT_GT(read(fds[0], word, sizeof(word)), 0); /* 0: it died */
	(void)close(fds[0]);
}

void
live_start(struct live *live, unsigned pool_mib, const char *const *options)
{
	need(pool_mib);
	start(live, pool_mib, options);
}

void
live_start_sim(struct live *live)
{
	static const char *const options[] = {"--backend", "sim", "--log-level",
	    "error", NULL};

	need_root();
	start(live, 64, options);
}

void
live_stop(struct live *live)
{
	int status;

	ASSERT_EQ(kill(live->pid, SIGTERM), 0);
	ASSERT_EQ(waitpid(live->pid, &status, 0), live->pid);
	ASSERT_EQ(status, 0);
	(void)unlink(live->path);
	ASSERT_EQ(rmdir(live->dir), 0); /* nothing else is left in it */
}

struct holdfast *
live_connect(const struct live *live)
{
	struct holdfast_options options = {.socket_path = live->path};
	struct holdfast *h;
	int r = holdfast_connect(&options, &h);

	if (r != HF_OK)
		test_fail(__FILE__, __LINE__, "connect: %s",
		    holdfast_status_name(r));
	return h;
}

/*
 * Spans come and go by themselves, between two readings, too: the pool's
 * figures tell of those.
 */
static bool
is_of_a_span(int dirfd, const char *name)
{
	char target[128] = "";

	if (readlinkat(dirfd, name, target, sizeof(target) - 1) < 0) {
		ASSERT_EQ(errno, ENOENT);
		return true;
	}
	return strstr(target, "memfd:holdfast-span") != NULL;
}

int
live_nfds(const struct live *live)
{
	char path[64];
	DIR *dir;
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)live->pid);
	dir = opendir(path);
	ASSERT_NOT_NULL(dir);
	for (struct dirent *d; (d = readdir(dir)) != NULL;)
		n +=
		    d->d_name[0] != '.' && !is_of_a_span(dirfd(dir), d->d_name);
	(void)closedir(dir);
	return n;
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
drain(struct holdfast *h, enum holdfast_pool_action action)
{
	struct holdfast_pool_change what = {.action = action};
	struct holdfast_pool_changed changed;

	ASSERT_EQ(holdfast_pool_change(h, &what, &changed), HF_OK);
}

void
live_wait_idle(struct holdfast *h)
{
	const struct timespec pause = {0, 5000000};
	int64_t until = now_ms() + IDLE_MS;
	struct holdfast_pool_status s;

	/* What our own tenant keeps for its next buffer, and what is ready. */
	drain(h, HF_POOL_DRAIN);
	for (;;) {
		ASSERT_EQ(holdfast_pool_status(h, &s), HF_OK);
		if (s.frames_in_use == 0 && s.frames_limbo == 0 &&
		    s.frames_ready == 0 && s.spans == 0 && s.sessions == 1)
			break;
		if (now_ms() > until)
			test_fail(__FILE__, __LINE__,
			    "the pool does not come to rest: %llu frames in "
			    "use, %llu ready, %llu in limbo, %llu spans, %llu "
			    "sessions",
			    (unsigned long long)s.frames_in_use,
			    (unsigned long long)s.frames_ready,
			    (unsigned long long)s.frames_limbo,
			    (unsigned long long)s.spans,
			    (unsigned long long)s.sessions);
		(void)nanosleep(&pause, NULL);
	}
	drain(h, HF_POOL_UNDRAIN);
}

void
live_pool_read(struct holdfast *h, struct live_pool *pool)
{
	ASSERT_EQ(holdfast_pool_status(h, &pool->status), HF_OK);
	ASSERT_EQ(holdfast_pool_runs(h, &pool->segs, &pool->nsegs, &pool->free,
		      &pool->nfree),
	    HF_OK);
}

static void
same_runs(const struct holdfast_run *a, size_t n, const struct holdfast_run *b,
    size_t m)
{
	ASSERT_EQ(n, m);
	for (size_t i = 0; i < n; i++) {
		ASSERT_EQ(a[i].start, b[i].start);
		ASSERT_EQ(a[i].end, b[i].end);
		ASSERT_EQ(a[i].domain, b[i].domain);
	}
}

void
live_pool_same(const struct live_pool *a, const struct live_pool *b)
{
	ASSERT_EQ(a->status.frames_total, b->status.frames_total);
	ASSERT_EQ(a->status.frames_standby, b->status.frames_standby);
	ASSERT_EQ(a->status.frames_missing, b->status.frames_missing);
	ASSERT_EQ(a->status.free_bytes, b->status.free_bytes);
	ASSERT_EQ(a->status.largest_run, b->status.largest_run);
	same_runs(a->segs, a->nsegs, b->segs, b->nsegs);
	same_runs(a->free, a->nfree, b->free, b->nfree);
}

void
live_pool_fini(struct live_pool *pool)
{
	free(pool->segs);
	free(pool->free);
}

pid_t
live_spawn(uid_t uid, void (*body)(void *arg), void *arg)
{
	return live_spawn_in(uid, uid, uid, body, arg);
}

pid_t
live_spawn_in(uid_t uid, gid_t gid, gid_t group, void (*body)(void *arg),
    void *arg)
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (uid != 0) {
		ASSERT_EQ(setgroups(group != gid, &group), 0);
		ASSERT_EQ(setresgid(gid, gid, gid), 0);
		ASSERT_EQ(setresuid(uid, uid, uid), 0); /* and no caps */
	}
	body(arg);
	_exit(0);
}

void
live_wait(pid_t pid)
{
	int status;

	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
}

void
live_as(uid_t uid, void (*body)(void *arg), void *arg)
{
	live_wait(live_spawn(uid, body, arg));
}

uint64_t
live_pagemap(pid_t pid, const void *va)
{
	uint64_t word = 0, page = (uintptr_t)va / 4096;
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(pread(fd, &word, sizeof(word), (off_t)(page * 8)), 8);
	(void)close(fd);
	if ((word >> 63) == 0)
		return 0;
	return (word & ((UINT64_C(1) << 55) - 1)) * 4096 + (uintptr_t)va % 4096;
}
