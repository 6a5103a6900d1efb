/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the janitor puts right when the daemon is gone: on a host with two NUMA
 * nodes that is a folder.  Not here: real huge pages (test_daemon_pages).
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/janitor.h"
#include "tests/test.h"

#define FRAME (UINT64_C(2) << 20)
#define NODES 2

static const char *const where[1 + NODES] = {"kernel/mm",
    "devices/system/node/node0", "devices/system/node/node1"};
static const unsigned long sizes[JANITOR_SIZES] = {2048, 1048576};

struct host {
	char sys[64];
	struct janitor janitor;
};

static void
nr_path(const struct host *host, int size, int i, char *path, size_t max)
{
	(void)snprintf(path, max,
	    "%s/%s/hugepages/hugepages-%lukB/nr_hugepages", host->sys, where[i],
	    sizes[size]);
}

static long
nr_of(const struct host *host, int size, int i)
{
	char path[256];
	FILE *file;
	long n = -1;

	nr_path(host, size, i, path, sizeof(path));
	file = fopen(path, "re");
	ASSERT_NOT_NULL(file);
	ASSERT_EQ(fscanf(file, "%ld", &n), 1);
	(void)fclose(file);
	return n;
}

/* The kernel would keep the sum; here whoever sets a node sets that too. */
static void
nr_set(const struct host *host, int size, int i, long n)
{
	char path[256];
	FILE *file;

	nr_path(host, size, i, path, sizeof(path));
	file = fopen(path, "we");
	ASSERT_NOT_NULL(file);
	ASSERT_GT(fprintf(file, "%ld\n", n), 0);
	ASSERT_EQ(fclose(file), 0);
}

static void
host_init(struct host *host)
{
	char command[1024];

	janitor_init(&host->janitor);
	(void)strcpy(host->sys, "/tmp/hf-janitor-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(host->sys));
	for (int i = 0; i <= NODES; i++)
		for (int size = 0; size < JANITOR_SIZES; size++) {
			(void)snprintf(command, sizeof(command),
			    "mkdir -p %s/%s/hugepages/hugepages-%lukB",
			    host->sys, where[i], sizes[size]);
			ASSERT_EQ(system(command), 0);
			nr_set(host, size, i, 0);
		}
	host->janitor.sysfs = host->sys;
}

static void
host_fini(struct host *host)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -r %s", host->sys);
	ASSERT_EQ(system(command), 0);
}

static void
start(struct host *host)
{
	struct listener listener;

	listener_init(&listener);
	ASSERT_EQ(janitor_start(&host->janitor, &listener, FRAME), 0);
}

TEST(janitor__puts_each_node_right)
{
	struct janitor_numbers raised = {0};
	struct host host;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 0, 40);
	nr_set(&host, JANITOR_FRAMES, 1, 10);
	nr_set(&host, JANITOR_FRAMES, 2, 30);
	nr_set(&host, JANITOR_BIG, 2, 1);
	start(&host);
	raised.of[JANITOR_FRAMES][1] = 3;
	raised.of[JANITOR_FRAMES][2] = 20;
	raised.of[JANITOR_BIG][2] = -1; /* one was taken apart */
	ASSERT_EQ(janitor_raised(&host.janitor, &raised), 0);
	janitor_finish(&host.janitor);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 7);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 2), 10);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 0), 40); /* the kernel's sum */
	ASSERT_EQ(nr_of(&host, JANITOR_BIG, 2), 2);
	ASSERT_EQ(nr_of(&host, JANITOR_BIG, 1), 0);
	host_fini(&host);
}

/* Killed in the middle of a change, when only what was before is known. */
TEST(janitor__undoes_a_change_that_was_not_finished_on_either_node)
{
	struct janitor_numbers raised = {0}, before;
	struct host host;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 0, 15);
	nr_set(&host, JANITOR_FRAMES, 1, 10);
	nr_set(&host, JANITOR_FRAMES, 2, 5);
	start(&host);
	raised.of[JANITOR_FRAMES][2] = 5;
	ASSERT_EQ(janitor_raised(&host.janitor, &raised), 0);
	janitor_now(&host.janitor, FRAME, &before);
	ASSERT_EQ(before.of[JANITOR_FRAMES][0], 15);
	ASSERT_EQ(before.of[JANITOR_FRAMES][1], 10);
	ASSERT_EQ(before.of[JANITOR_FRAMES][2], 5);
	ASSERT_EQ(before.of[JANITOR_FRAMES][3], -1); /* no such node */
	ASSERT_EQ(janitor_raising(&host.janitor, &before), 0);
	nr_set(&host, JANITOR_FRAMES, 1, 12);
	nr_set(&host, JANITOR_FRAMES, 2, 50);
	nr_set(&host, JANITOR_FRAMES, 0, 62);
	janitor_finish(&host.janitor);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 10);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 2), 0);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 0), 10);
	host_fini(&host);
}

TEST(janitor__puts_a_host_right_that_was_changed_as_a_whole)
{
	struct janitor_numbers raised = {0};
	struct host host;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 0, 40);
	nr_set(&host, JANITOR_FRAMES, 1, 40);
	start(&host);
	raised.of[JANITOR_FRAMES][0] = 30;
	ASSERT_EQ(janitor_raised(&host.janitor, &raised), 0);
	janitor_finish(&host.janitor);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 0), 10);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 40);
	host_fini(&host);
}

TEST(janitor__leaves_alone_what_was_not_changed)
{
	struct host host;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 0, 9);
	nr_set(&host, JANITOR_FRAMES, 1, 9);
	start(&host);
	nr_set(&host, JANITOR_FRAMES, 1, 4); /* somebody else */
	janitor_finish(&host.janitor);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 0), 9);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 4);
	host_fini(&host);
}

/* ---- Wills ------------------------------------------------------- */

static void
inherit(struct host *host, int node)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/will", host->sys);
	ASSERT_EQ(janitor_inherit(&host->janitor, path, FRAME, node), 0);
}

/* A daemon raises it on node 0 from 10 to 30. */
static void
start_and_raise(struct host *host, int node)
{
	struct janitor_numbers raised = {0};

	inherit(host, node);
	start(host);
	nr_set(host, JANITOR_FRAMES, 0, 30);
	nr_set(host, JANITOR_FRAMES, 1, 30);
	raised.of[JANITOR_FRAMES][1] = 20;
	ASSERT_EQ(janitor_raised(&host->janitor, &raised), 0);
}

/* The janitor, then the daemon: what is left is what another one finds. */
static void
kill_both(struct host *host)
{
	const char *sysfs = host->janitor.sysfs;

	ASSERT_EQ(kill(host->janitor.pid, SIGKILL), 0);
	janitor_finish(&host->janitor);
	janitor_init(&host->janitor);
	host->janitor.sysfs = sysfs;
}

static void
expect_after(int killed_node, int next_node, long n)
{
	struct host host;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 1, 10);
	start_and_raise(&host, killed_node);
	kill_both(&host);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 30);
	inherit(&host, next_node);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), n);
	/* Once. */
	nr_set(&host, JANITOR_FRAMES, 1, 30);
	janitor_finish(&host.janitor);
	inherit(&host, next_node);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 30);
	janitor_finish(&host.janitor);
	host_fini(&host);
}

TEST(janitor__killed_with_its_daemon_leaves_a_will_for_the_next)
{
	expect_after(-1, -1, 10);
	expect_after(-1, 0, 10);
	expect_after(0, 0, 10);
	expect_after(0, -1, 10);
	expect_after(0, 1, 30); /* another node's, which may well live */
}

TEST(janitor__a_will_is_not_executed_where_somebody_changed_it_since)
{
	struct host host;

	host_init(&host);
	start_and_raise(&host, -1);
	kill_both(&host);
	nr_set(&host, JANITOR_FRAMES, 1, 25);
	inherit(&host, -1);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 25);
	janitor_finish(&host.janitor);
	host_fini(&host);
}

TEST(janitor__that_tidied_up_leaves_no_will)
{
	struct host host;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 1, 10);
	start_and_raise(&host, -1);
	janitor_finish(&host.janitor);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 10);
	nr_set(&host, JANITOR_FRAMES, 0, 30);
	nr_set(&host, JANITOR_FRAMES, 1, 30); /* as it was, by chance */
	inherit(&host, -1);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 30);
	janitor_finish(&host.janitor);
	host_fini(&host);
}

TEST(janitor__what_is_no_will_is_left_alone)
{
	char path[128], text[6000];
	struct host host;
	FILE *file;

	host_init(&host);
	nr_set(&host, JANITOR_FRAMES, 1, 30);
	(void)snprintf(path, sizeof(path), "%s/will", host.sys);
	file = fopen(path, "we");
	ASSERT_NOT_NULL(file);
	memset(text, 1, sizeof(text));
	ASSERT_EQ(fwrite(text, sizeof(text), 1, file), 1u);
	ASSERT_EQ(fclose(file), 0);
	inherit(&host, -1);
	ASSERT_EQ(nr_of(&host, JANITOR_FRAMES, 1), 30);
	janitor_finish(&host.janitor);
	host_fini(&host);
}
