/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Runs the registered cases, each in a child of its own.
 *
 * A child tells its parent how it ended by its exit status: 0 passed, 77
 * skipped, anything else failed.  Descriptors are counted in the child itself,
 * after the case, so a leak is the case's own failure.
 */

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/test.h"

#define TIMEOUT_S 60

static struct test_case *cases, **cases_tail = &cases;
static uint64_t the_seed, the_ops;
static bool in_process;

void
test_register(struct test_case *test)
{
	*cases_tail = test;
	cases_tail = &test->next;
}

uint64_t
test_seed(void)
{
	return the_seed;
}

uint64_t
test_ops(uint64_t otherwise)
{
	return the_ops != 0 ? the_ops : otherwise;
}

uint64_t
test_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int
test_nfds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (dir == NULL)
		return -1;
	for (struct dirent *d; (d = readdir(dir)) != NULL;)
		n += d->d_name[0] != '.';
	(void)closedir(dir);
	return n - 1; /* the directory's own */
}

void
test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	(void)fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	(void)fflush(NULL);
	if (in_process)
		abort(); /* a debugger is looking */
	_exit(1);
}

void
test_skip(const char *format, ...)
{
	va_list args;

	(void)fputs("skipped: ", stdout);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
	(void)fflush(NULL);
	_exit(77);
}

static _Noreturn void
child(const struct test_case *test)
{
	int before = test_nfds(), after;

	(void)setpgid(0, 0); /* so that a timeout takes helpers along */
	test->run();
	after = test_nfds();
	if (after != before)
		test_fail(test->file, 0, "%s: %d descriptors before, %d after",
		    test->name, before, after);
	exit(0); /* not _exit: the leak checker runs at exit */
}

/* 0 passed, 77 skipped, other failed. */
static int
run_case(const struct test_case *test)
{
	int limit = test->timeout_s != 0 ? test->timeout_s : TIMEOUT_S, status;
	sigset_t chld;
	siginfo_t info;
	struct timespec until = {.tv_sec = limit};
	pid_t pid;

	(void)fflush(NULL);
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid == 0) {
		(void)sigprocmask(SIG_UNBLOCK, &chld, NULL);
		child(test);
	}
	(void)setpgid(pid, pid);
	while (waitpid(pid, &status, WNOHANG) == 0)
		if (sigtimedwait(&chld, &info, &until) < 0 && errno == EAGAIN) {
			(void)fprintf(stderr, "%s: no end after %d s\n",
			    test->name, limit);
			(void)kill(-pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return 1;
		}
	(void)kill(-pid, SIGKILL); /* whatever the case left running */
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	(void)fprintf(stderr, "%s: %s\n", test->name,
	    strsignal(WTERMSIG(status)));
	return 1;
}

static uint64_t
number(const char *text, const char *what)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*text == '\0' || *end != '\0') {
		(void)fprintf(stderr, "%s: not a number: %s\n", what, text);
		exit(2);
	}
	return n;
}

static const char *
parse(int argc, char **argv, bool *listp)
{
	static const struct option options[] = {
	    {"list", no_argument, NULL, 'l'},
	    {"only", required_argument, NULL, 'o'},
	    {"seed", required_argument, NULL, 's'},
	    {"ops", required_argument, NULL, 'n'},
	    {"no-fork", no_argument, NULL, 'f'},
	    {NULL, 0, NULL, 0},
	};
	const char *only = "", *env;
	int c;

	if (getrandom(&the_seed, sizeof(the_seed), 0) != sizeof(the_seed))
		the_seed = (uint64_t)time(NULL);
	if ((env = getenv("HOLDFAST_SEED")) != NULL)
		the_seed = number(env, "HOLDFAST_SEED");
	if ((env = getenv("HOLDFAST_OPS")) != NULL)
		the_ops = number(env, "HOLDFAST_OPS");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'l':
			*listp = true;
			break;
		case 'o':
			only = optarg;
			break;
		case 's':
			the_seed = number(optarg, "--seed");
			break;
		case 'n':
			the_ops = number(optarg, "--ops");
			break;
		case 'f':
			in_process = true;
			break;
		default:
			exit(2);
		}
	return only;
}

int
main(int argc, char **argv)
{
	bool list = false;
	const char *only = parse(argc, argv, &list);
	unsigned passed = 0, failed = 0, skipped = 0;

	if (!list)
		printf("seed %#llx\n", (unsigned long long)the_seed);
	for (struct test_case *t = cases; t != NULL; t = t->next) {
		int rv;

		if (strstr(t->name, only) == NULL)
			continue;
		if (list) {
			puts(t->name);
			continue;
		}
		if (in_process) {
			t->run();
			rv = 0;
		} else {
			rv = run_case(t);
		}
		printf("%s %s\n",
		    rv == 0    ? "ok     "
		    : rv == 77 ? "skipped"
			       : "FAILED ",
		    t->name);
		passed += rv == 0;
		skipped += rv == 77;
		failed += rv != 0 && rv != 77;
	}
	if (list)
		return 0;
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	if (passed + failed + skipped == 0)
		return 2; /* --only matched nothing: not a pass */
	return failed != 0 ? 1 : passed == 0 ? 77 : 0;
}
