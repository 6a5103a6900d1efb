/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The daemon's own handling of real huge pages: raising nr_hugepages and
 * putting it back, however it ends.  Runs with the huge-page lock held.
 */

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/server/box.h"
#include "tests/test.h"

#define HUGE_DIR "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static unsigned long
nr_hugepages(void)
{
	FILE *file = fopen(HUGE_DIR "nr_hugepages", "re");
	unsigned long n = 0;

	if (file == NULL)
		test_skip("no huge pages of 2 MiB");
	ASSERT_EQ(fscanf(file, "%lu", &n), 1);
	(void)fclose(file);
	return n;
}

/* With a pool of more than there is, so that it has to be raised. */
static void
start_raising(struct daemon *daemon, struct box *box, unsigned long before)
{
	char pool[32];

	if (getuid() != 0)
		test_skip("needs root");
	box_init(box);
	(void)snprintf(pool, sizeof(pool), "%luM", 2 * (before + 8));
	daemon_start(daemon, box,
	    (const char *[]){"--backend", "linux", "--set-nr-hugepages",
		"--pool", pool, NULL},
	    0);
	if (daemon->ready[0] == '\0') {
		(void)daemon_wait(daemon);
		(void)unlink(box->log);
		(void)rmdir(box->dir);
		ASSERT_EQ(nr_hugepages(), before);
		test_skip("the kernel has no %s for a pool", pool);
	}
	ASSERT_TRUE(nr_hugepages() > before);
	ASSERT_TRUE(client_works(box));
}

static void
expect_tidy(const struct box *box, unsigned long before)
{
	unsigned long after = 0;

	for (int ms = 0; ms < WAIT_MS; ms += 5) {
		after = nr_hugepages();
		if (after == before && !socket_is_there(box))
			break;
		(void)usleep(5000);
	}
	ASSERT_EQ(after, before);
}

static void
check_put_back(int number, int code)
{
	unsigned long before = nr_hugepages();
	struct daemon daemon;
	struct box box;

	start_raising(&daemon, &box, before);
	ASSERT_EQ(daemon_stop(&daemon, number), code);
	expect_tidy(&box, before);
	box_fini(&box);
}

TEST(daemon_pages__are_put_back_at_the_end)
{
	check_put_back(SIGTERM, 0);
}

TEST(daemon_pages__are_put_back_when_it_is_killed)
{
	check_put_back(SIGKILL, -SIGKILL);
}

/* The process that tidies up after that one. */
static pid_t
janitor_of(pid_t daemon)
{
	char path[64];
	pid_t pid = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)daemon, (int)daemon);
	file = fopen(path, "re");
	ASSERT_NOT_NULL(file);
	ASSERT_EQ(fscanf(file, "%d", &pid), 1);
	(void)fclose(file);
	return pid;
}

TEST(daemon_pages__are_put_back_by_the_next_if_the_janitor_was_killed_too)
{
	unsigned long before = nr_hugepages();
	struct daemon daemon;
	struct box box;

	start_raising(&daemon, &box, before);
	ASSERT_EQ(kill(janitor_of(daemon.pid), SIGKILL), 0);
	ASSERT_EQ(daemon_stop(&daemon, SIGKILL), -SIGKILL);
	ASSERT_GT(nr_hugepages(), before);
	daemon_start(&daemon, &box,
	    (const char *[]){"--backend", "linux", "--pool", "2M", NULL}, 0);
	ASSERT_NE(daemon.ready[0], '\0');
	ASSERT_EQ(nr_hugepages(), before);
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	expect_tidy(&box, before);
	box_fini(&box);
}
