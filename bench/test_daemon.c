/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The daemon that a benchmark starts: however the benchmark ends, it ends too,
 * and its folder goes.  Not here: SIGKILL, which leaves it behind.
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/daemon.h"
#include "tests/test.h"

struct bench {
	pid_t pid;
	struct bench_daemon daemon; /* as the benchmark has it */
};

/* A process that has a daemon and then does as it is told. */
static void
bench_start(struct bench *bench, void (*then)(struct bench_daemon *d))
{
	const char *program = getenv("HOLDFASTD");
	int fds[2];

	if (program == NULL)
		test_skip("HOLDFASTD is not set");
	/* So that the daemon is ours to wait for when the benchmark is gone. */
	ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ASSERT_EQ(pipe(fds), 0);
	bench->pid = fork();
	ASSERT_GE(bench->pid, 0);
	if (bench->pid == 0) {
		struct bench_daemon d;

		bench_daemon_start(&d, program, "sim", "16M");
		if (access(d.dir, F_OK) != 0)
			_exit(8);
		ASSERT_EQ(write(fds[1], &d, sizeof(d)), (ssize_t)sizeof(d));
		then(&d);
		_exit(9);
	}
	(void)close(fds[1]);
	ASSERT_EQ(read(fds[0], &bench->daemon, sizeof(bench->daemon)),
	    (ssize_t)sizeof(bench->daemon));
	(void)close(fds[0]);
}

static void
bench_end(const struct bench *bench, int code)
{
	int status;

	ASSERT_EQ(waitpid(bench->pid, &status, 0), bench->pid);
	ASSERT_TRUE(WIFEXITED(status));
	ASSERT_EQ(WEXITSTATUS(status), code);
	ASSERT_NE(access(bench->daemon.dir, F_OK), 0);
}

/* It came to us when the benchmark ended, and ended well. */
static void
expect_daemon_ended(const struct bench *bench)
{
	int status = -1;

	ASSERT_EQ(waitpid(bench->daemon.pid, &status, 0), bench->daemon.pid);
	ASSERT_EQ(status, 0);
}

static void
wait_for_signals(struct bench_daemon *d)
{
	(void)d;
	for (;;)
		(void)pause();
}

TEST(bench_daemon__ends_with_a_benchmark_that_a_signal_ends)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct bench bench;

		bench_start(&bench, wait_for_signals);
		ASSERT_EQ(kill(bench.pid, signals[i]), 0);
		bench_end(&bench, 128 + signals[i]);
		expect_daemon_ended(&bench);
	}
}

static void
give_up(struct bench_daemon *d)
{
	(void)d;
	exit(3);
}

TEST(bench_daemon__ends_with_a_benchmark_that_gives_up)
{
	struct bench bench;

	bench_start(&bench, give_up);
	bench_end(&bench, 3);
	expect_daemon_ended(&bench);
}

/* Its exit handlers are the benchmark's, too. */
static void
stop_after_a_child(struct bench_daemon *d)
{
	pid_t child = fork();

	if (child == 0)
		exit(0);
	if (waitpid(child, NULL, 0) != child || kill(d->pid, 0) != 0 ||
	    access(d->path, F_OK) != 0)
		_exit(4);
	bench_daemon_stop(d);
	if (kill(d->pid, 0) == 0)
		_exit(5);
	exit(0);
}

TEST(bench_daemon__outlives_its_benchmarks_children_and_stops_when_told)
{
	struct bench bench;

	bench_start(&bench, stop_after_a_child);
	bench_end(&bench, 0);
	ASSERT_EQ(waitpid(bench.daemon.pid, NULL, 0), -1);
	ASSERT_EQ(errno, ECHILD);
}
