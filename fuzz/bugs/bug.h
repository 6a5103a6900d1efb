/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Known bugs in a copy of the tree that fuzz/campaign/bugs.py makes: there
 * each site of fuzz/bugs/catalogue.tsv is one of the two macros below.
 *
 * -DHOLDFAST_BUG=n puts bug n in for good; without it the environment variable
 * HOLDFAST_BUG says which one is in, so that one build serves them all.
 * HOLDFAST_BUG_LOG names a file of 16 bytes, two counters: how often the site
 * was reached, and how often it went wrong there.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct holdfast_bug_log {
	uint64_t reached, triggered;
};

extern int holdfast_bug_number;
extern struct holdfast_bug_log *holdfast_bug_log;
int holdfast_bug_number __attribute__((weak)) = -1;
struct holdfast_bug_log *holdfast_bug_log __attribute__((weak)) = (void *)0;

static __attribute__((constructor, unused)) void
holdfast_bug_choose(void)
{
	const char *number = getenv("HOLDFAST_BUG");
	const char *path = getenv("HOLDFAST_BUG_LOG");
	void *p;
	int fd;

	if (holdfast_bug_number >= 0 || number == (void *)0)
		return;
	holdfast_bug_number = atoi(number);
	fd = path == (void *)0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap((void *)0, sizeof(struct holdfast_bug_log),
	    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		holdfast_bug_log = p;
}

static inline __attribute__((unused)) int
holdfast_bug_reached(int wrong)
{
	if (holdfast_bug_log != (void *)0) {
		holdfast_bug_log->reached++;
		holdfast_bug_log->triggered += wrong != 0;
	}
	return 1;
}

#ifdef HOLDFAST_BUG
#define HOLDFAST_BUG_IS(n) (HOLDFAST_BUG == (n))
#else
#define HOLDFAST_BUG_IS(n) __builtin_expect(holdfast_bug_number == (n), 0)
#endif

/* A scalar that is wrong; neither side may have side effects. */
#define HOLDFAST_BUG_EXPR(n, good, bad)                                        \
	(__extension__({                                                       \
		__typeof__((good) + 0) good_##n = (good);                      \
		if (HOLDFAST_BUG_IS(n)) {                                      \
			__typeof__((good) + 0) bad_##n = (bad);                \
			holdfast_bug_reached(bad_##n != good_##n);             \
			good_##n = bad_##n;                                    \
		}                                                              \
		good_##n;                                                      \
	}))

/* Statements that are wrong; reached is triggered. */
#define HOLDFAST_BUG_STMT(n, good, bad)                                        \
	do {                                                                   \
		if (HOLDFAST_BUG_IS(n)) {                                      \
			holdfast_bug_reached(1);                               \
			bad;                                                   \
		} else {                                                       \
			good;                                                  \
		}                                                              \
	} while (0)
