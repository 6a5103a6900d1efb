/* SPDX-License-Identifier: BSD-2-Clause */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/server/box.h"
#include "tests/test.h"

void
box_init(struct box *box)
{
	(void)snprintf(box->dir, sizeof(box->dir), "/tmp/holdfast-test-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(box->dir));
	box->addr.sun_family = AF_UNIX;
	(void)snprintf(box->addr.sun_path, sizeof(box->addr.sun_path), "%s/s",
	    box->dir);
	(void)snprintf(box->notify, sizeof(box->notify), "%s/n", box->dir);
	(void)snprintf(box->log, sizeof(box->log), "%s/log", box->dir);
	if (getenv("HOLDFASTD") == NULL)
		test_skip("HOLDFASTD does not name the daemon");
}

bool
socket_is_there(const struct box *box)
{
	struct stat st;

	return lstat(box->addr.sun_path, &st) == 0;
}

void
box_fini(struct box *box)
{
	(void)unlink(box->notify);
	(void)unlink(box->log);
	ASSERT_EQ(rmdir(box->dir), 0);
}

static _Noreturn void
daemon_exec(const struct box *box, int ready, const char *const *options,
    int nofile)
{
	const char *argv[24] = {getenv("HOLDFASTD"), "--backend", "sim",
	    "--pool", "16M", "--socket", box->addr.sun_path, "--ready-fd"};
	char fd[16];
	size_t n = 9;
	int log = open(box->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

	(void)snprintf(fd, sizeof(fd), "%d", ready);
	argv[8] = fd;
	while (options != NULL && *options != NULL && n < 23)
		argv[n++] = *options++;
	(void)dup2(log, STDERR_FILENO);
	if (nofile > 0) {
		struct rlimit limit = {(rlim_t)nofile, (rlim_t)nofile};

		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	(void)execv(argv[0], (char *const *)argv);
	_exit(126);
}

void
daemon_start(struct daemon *daemon, const struct box *box,
    const char *const *options, int nofile)
{
	size_t len = 0;
	int fds[2];
	ssize_t n;

	ASSERT_EQ(pipe(fds), 0);
	(void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	daemon->pid = fork();
	ASSERT_TRUE(daemon->pid >= 0);
	if (daemon->pid == 0)
		daemon_exec(box, fds[1], options, nofile);
	(void)close(fds[1]);
	while ((n = read(fds[0], daemon->ready + len,
		    sizeof(daemon->ready) - 1 - len)) > 0)
		len += (size_t)n;
	daemon->ready[len] = '\0';
	(void)close(fds[0]);
}

int
daemon_wait(struct daemon *daemon)
{
	int status;

	for (int ms = 0; ms < WAIT_MS; ms += 5) {
		if (waitpid(daemon->pid, &status, WNOHANG) == daemon->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status)
						 : -WTERMSIG(status);
		(void)usleep(5000);
	}
	(void)kill(daemon->pid, SIGKILL);
	test_fail(__FILE__, __LINE__, "the daemon does not end");
}

int
daemon_stop(struct daemon *daemon, int number)
{
	ASSERT_EQ(kill(daemon->pid, number), 0);
	return daemon_wait(daemon);
}

int
client_connect(const struct box *box)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ASSERT_TRUE(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&box->addr,
		sizeof(box->addr)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

bool
client_greet(int fd)
{
	static const uint8_t hello[] = {0x0a, 0x08, 0x08, 0x01, 0x12, 0x04,
	    0x08, 0x01, 0x10, 0x01};
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char reply[256];

	return send(fd, hello, sizeof(hello), MSG_NOSIGNAL) ==
		   (ssize_t)sizeof(hello) &&
	       poll(&pfd, 1, WAIT_MS) == 1 &&
	       recv(fd, reply, sizeof(reply), 0) > 0;
}

bool
client_works(const struct box *box)
{
	int fd = client_connect(box);
	bool works = fd >= 0 && client_greet(fd);

	if (fd >= 0)
		(void)close(fd);
	return works;
}
