/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The life of a real daemon, on invented memory: start, readiness, what it
 * keeps of its privileges, sockets that are stale or taken, every way to end.
 * Not here: real huge pages (tests/system).
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/server/box.h"
#include "tests/test.h"

/* The value of a line such as "CapEff:" of /proc/PID/status. */
static void
proc_status(pid_t pid, const char *key, char *value, size_t size)
{
	char path[64], line[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	ASSERT_NOT_NULL(file);
	value[0] = '\0';
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(value, size, "%s",
		    line + strlen(key) + strspn(line + strlen(key), " \t"));
	}
	(void)fclose(file);
}

static void
assert_status(pid_t pid, const char *key, const char *want)
{
	char value[128];

	proc_status(pid, key, value, sizeof(value));
	if (strcmp(value, want) != 0)
		test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", key,
		    value, want);
}

/* How often its loop has gone to sleep. */
static unsigned long
naps(pid_t pid)
{
	char value[128];

	proc_status(pid, "voluntary_ctxt_switches:", value, sizeof(value));
	return strtoul(value, NULL, 10);
}

/* ---- Start ------------------------------------------------------- */

/* It has a pool and a client, and had one more. */
TEST(daemon__sleeps_while_nothing_is_due)
{
	struct daemon daemon;
	unsigned long before;
	struct box box;
	int fd, other;

	box_init(&box);
	daemon_start(&daemon, &box, NULL, 0);
	fd = client_connect(&box);
	other = client_connect(&box);
	ASSERT_TRUE(fd >= 0 && client_greet(fd));
	ASSERT_TRUE(other >= 0 && client_greet(other));
	(void)close(other);
	/* One look at the inventory follows the start. */
	(void)usleep(1500 * 1000);
	before = naps(daemon.pid);
	(void)usleep(2500 * 1000);
	ASSERT_EQ(naps(daemon.pid), before);
	ASSERT_TRUE(client_greet(fd));
	while (naps(daemon.pid) == before) /* it can be woken */
		(void)usleep(1000);
	(void)close(fd);
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	box_fini(&box);
}

TEST(daemon__is_ready_serves_and_ends_on_sigterm)
{
	struct daemon daemon;
	struct box box;
	int fd;

	box_init(&box);
	daemon_start(&daemon, &box, NULL, 0);
	ASSERT_EQ(strcmp(daemon.ready, "READY=1\n"), 0);
	fd = client_connect(&box);
	ASSERT_TRUE(fd >= 0 && client_greet(fd));
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	ASSERT_EQ(recv(fd, &(char){0}, 1, 0), 0);
	(void)close(fd);
	ASSERT_FALSE(socket_is_there(&box));
	box_fini(&box);
}

TEST(daemon__tells_at_the_start_what_runs_its_frames_make)
{
	struct daemon daemon;
	struct box box;
	char text[4096];
	FILE *log;
	size_t n;

	box_init(&box);
	daemon_start(&daemon, &box,
	    (const char *[]){"--log-level", "info", "--pool", "34M", NULL}, 0);
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	log = fopen(box.log, "re");
	ASSERT_NOT_NULL(log);
	n = fread(text, 1, sizeof(text) - 1, log);
	text[n] = '\0';
	(void)fclose(log);
	ASSERT_NOT_NULL(strstr(text,
	    "event=pool_runs runs=1 largest=35651584 total=35651584"));
	box_fini(&box);
}

TEST(daemon__as_root_becomes_nobody_without_any_capability)
{
	static const char none[] = "0000000000000000";
	struct daemon daemon;
	struct box box;

	if (getuid() != 0)
		test_skip("needs root");
	box_init(&box);
	daemon_start(&daemon, &box, (const char *[]){"--user", "12345", NULL},
	    0);
	assert_status(daemon.pid, "Uid:", "12345\t12345\t12345\t12345");
	assert_status(daemon.pid, "Gid:", "12345\t12345\t12345\t12345");
	assert_status(daemon.pid, "Groups:", "");
	assert_status(daemon.pid, "CapInh:", none);
	assert_status(daemon.pid, "CapPrm:", none);
	assert_status(daemon.pid, "CapEff:", none);
	assert_status(daemon.pid, "CapBnd:", none);
	assert_status(daemon.pid, "CapAmb:", none);
	assert_status(daemon.pid, "NoNewPrivs:", "1");
	ASSERT_TRUE(client_works(&box));
	ASSERT_EQ(daemon_stop(&daemon, SIGINT), 0);
	ASSERT_FALSE(socket_is_there(&box));
	box_fini(&box);
}

TEST(daemon__an_unknown_user_is_refused_and_leaves_nothing)
{
	struct daemon daemon;
	struct box box;

	if (getuid() != 0)
		test_skip("needs root");
	box_init(&box);
	daemon_start(&daemon, &box,
	    (const char *[]){"--user", "no-such-user", NULL}, 0);
	ASSERT_EQ(daemon.ready[0], '\0');
	ASSERT_EQ(daemon_wait(&daemon), 1);
	ASSERT_FALSE(socket_is_there(&box));
	box_fini(&box);
}

TEST(daemon__tells_the_service_manager)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct daemon daemon;
	struct box box;
	char text[64] = "";
	int fd;

	box_init(&box);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", box.notify);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ASSERT_EQ(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ASSERT_EQ(setenv("NOTIFY_SOCKET", box.notify, 1), 0);
	daemon_start(&daemon, &box, NULL, 0);
	ASSERT_TRUE(recv(fd, text, sizeof(text) - 1, 0) > 0);
	ASSERT_NOT_NULL(strstr(text, "READY=1"));
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	memset(text, 0, sizeof(text));
	ASSERT_TRUE(recv(fd, text, sizeof(text) - 1, 0) > 0);
	ASSERT_NOT_NULL(strstr(text, "STOPPING=1"));
	(void)close(fd);
	box_fini(&box);
}

TEST(daemon__says_what_is_wrong_with_its_options)
{
	static const char *const wrong[][3] = {
	    {"--pool", "0", NULL},
	    {"--pool", "3M", NULL},
	    {"--nonsense", NULL, NULL},
	    {"stray", NULL, NULL},
	    {"--config", "/nonexistent", NULL},
	};
	struct daemon daemon;
	struct stat st;
	struct box box;

	box_init(&box);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		daemon_start(&daemon, &box, wrong[i], 0);
		ASSERT_EQ(daemon_wait(&daemon), 2);
		ASSERT_EQ(stat(box.log, &st), 0);
		ASSERT_TRUE(st.st_size > 0);
		ASSERT_EQ(unlink(box.log), 0);
	}
	ASSERT_FALSE(socket_is_there(&box));
	box_fini(&box);
}

/* ---- The socket -------------------------------------------------- */

TEST(daemon__takes_over_a_stale_socket)
{
	struct daemon daemon;
	struct box box;
	int fd;

	box_init(&box);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ASSERT_EQ(bind(fd, (struct sockaddr *)&box.addr, sizeof(box.addr)), 0);
	(void)close(fd);
	ASSERT_TRUE(socket_is_there(&box));
	daemon_start(&daemon, &box, NULL, 0);
	ASSERT_TRUE(client_works(&box));
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	ASSERT_FALSE(socket_is_there(&box));
	box_fini(&box);
}

TEST(daemon__a_second_one_is_refused_and_harms_nothing)
{
	struct daemon first, second;
	struct box box;

	box_init(&box);
	daemon_start(&first, &box, NULL, 0);
	daemon_start(&second, &box, NULL, 0);
	ASSERT_EQ(second.ready[0], '\0');
	ASSERT_EQ(daemon_wait(&second), 1);
	ASSERT_TRUE(client_works(&box));
	ASSERT_EQ(daemon_stop(&first, SIGTERM), 0);
	ASSERT_FALSE(socket_is_there(&box));
	box_fini(&box);
}

TEST(daemon__a_file_that_is_no_socket_is_left_alone)
{
	struct daemon daemon;
	struct box box;
	int fd;

	box_init(&box);
	fd = open(box.addr.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ASSERT_TRUE(fd >= 0);
	(void)close(fd);
	daemon_start(&daemon, &box, NULL, 0);
	ASSERT_EQ(daemon_wait(&daemon), 1);
	ASSERT_TRUE(socket_is_there(&box));
	ASSERT_EQ(unlink(box.addr.sun_path), 0);
	box_fini(&box);
}

TEST(daemon__the_socket_has_the_mode_that_was_asked_for)
{
	struct daemon daemon;
	struct stat st;
	struct box box;

	box_init(&box);
	daemon_start(&daemon, &box,
	    (const char *[]){"--socket-mode", "640", NULL}, 0);
	ASSERT_EQ(stat(box.addr.sun_path, &st), 0);
	ASSERT_EQ(st.st_mode & 0777, 0640u);
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	box_fini(&box);
}

/* ---- Ends -------------------------------------------------------- */

TEST(daemon__killed_its_socket_goes_all_the_same)
{
	struct daemon daemon;
	struct box box;

	box_init(&box);
	daemon_start(&daemon, &box, NULL, 0);
	ASSERT_EQ(daemon_stop(&daemon, SIGKILL), -SIGKILL);
	for (int ms = 0; ms < WAIT_MS && socket_is_there(&box); ms += 5)
		(void)usleep(5000);
	ASSERT_FALSE(socket_is_there(&box));
	daemon_start(&daemon, &box, NULL, 0);
	ASSERT_TRUE(client_works(&box));
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	box_fini(&box);
}

TEST(daemon__out_of_descriptors_it_sheds_and_recovers)
{
	struct daemon daemon;
	struct box box;
	int fds[100];

	box_init(&box);
	daemon_start(&daemon, &box, NULL, 48);
	ASSERT_EQ(strcmp(daemon.ready, "READY=1\n"), 0);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fds[i] = client_connect(&box);
	/* The last ones were cut off, not left hanging. */
	ASSERT_FALSE(client_greet(fds[99]));
	ASSERT_TRUE(client_greet(fds[0]));
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		(void)close(fds[i]);
	(void)usleep(50000);
	ASSERT_TRUE(client_works(&box));
	ASSERT_EQ(daemon_stop(&daemon, SIGTERM), 0);
	box_fini(&box);
}
