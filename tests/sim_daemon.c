/* SPDX-License-Identifier: BSD-2-Clause */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim_daemon.h"
#include "tests/test.h"

const char *
sim_daemon_need(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL)
		test_skip("%s is not set", name);
	return value;
}

void
sim_daemon_start(struct sim_daemon *d)
{
	struct pollfd wait = {.events = POLLIN};
	const char *program = sim_daemon_need("HOLDFASTD");
	char fd[16], word[64];
	int fds[2];

	strcpy(d->dir, "/tmp/daemon-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(d->dir));
	(void)snprintf(d->path, sizeof(d->path), "%s/socket", d->dir);
	ASSERT_EQ(chmod(d->dir, 0755), 0);
	ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
	d->pid = fork();
	ASSERT_GE(d->pid, 0);
	if (d->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)fcntl(fds[1], F_SETFD, 0);
		(void)snprintf(fd, sizeof(fd), "%d", fds[1]);
		(void)execl(program, "holdfastd", "--backend", "sim", "--pool",
		    "64M", "--allow-addresses", "all", "--log-level", "error",
		    "--socket", d->path, "--ready-fd", fd, (char *)NULL);
		_exit(127);
	}
	(void)close(fds[1]);
	wait.fd = fds[0];
	ASSERT_EQ(poll(&wait, 1, 30000), 1);
	ASSERT_GT(read(fds[0], word, sizeof(word)), 0); /* 0: it died */
	(void)close(fds[0]);
}

void
sim_daemon_stop(struct sim_daemon *d)
{
	int status;

	ASSERT_EQ(kill(d->pid, SIGTERM), 0);
	ASSERT_EQ(waitpid(d->pid, &status, 0), d->pid);
	ASSERT_EQ(status, 0);
	(void)unlink(d->path);
	ASSERT_EQ(rmdir(d->dir), 0);
}
