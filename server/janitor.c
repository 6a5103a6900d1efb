/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/cleanup.h"
#include "server/janitor.h"
#include "server/log.h"
#include "server/privilege.h"

/* What it keeps open: standard error, and these. */
enum { JANITOR_PIPE = 3, JANITOR_DIR, JANITOR_NR, JANITOR_NFDS };

struct janitor_message {
	uint64_t raised;
	uint64_t before; /* plus 1; 0: not known */
};

void
janitor_init(struct janitor *janitor)
{
	*janitor = (struct janitor){.pipe = -1};
}

/* ---- nr_hugepages ------------------------------------------------ */

static int
nr_hugepages_open(vm_size_t frame_size, int flags)
{
	char path[96];
	int fd;

	(void)snprintf(path, sizeof(path),
	    "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
	    frame_size >> 10);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fd;
}

static int
nr_hugepages_read(int fd, uint64_t *np)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	*np = strtoull(text, NULL, 10);
	return 0;
}

int
janitor_nr_hugepages(vm_size_t frame_size, uint64_t *np)
{
	_cleanup_(fd_closep) int fd = nr_hugepages_open(frame_size, O_RDONLY);

	if (fd < 0)
		return fd;
	return nr_hugepages_read(fd, np);
}

/*
 * Take off what the daemon added; others may have changed it meanwhile.  In
 * the short time while it is being raised only the value before is known.
 */
static void
nr_hugepages_lower(int fd, const struct janitor_message *message)
{
	uint64_t now, want;
	char text[32];
	int len;

	if ((message->raised == 0 && message->before == 0) ||
	    nr_hugepages_read(fd, &now) < 0)
		return;
	want = message->before - 1;
	if (message->raised != 0)
		want = now > message->raised ? now - message->raised : 0;
	if (want >= now)
		return;
	len = snprintf(text, sizeof(text), "%" PRIu64, want);
	if (pwrite(fd, text, (size_t)len, 0) < 0)
		log_warn("nr_hugepages", "errno=%d", errno);
}

/* ---- The process ------------------------------------------------- */

/* Put `fd` (-1: nothing) at exactly `at`. */
static void
place_fd(int fd, int at)
{
	if (fd < 0)
		(void)close(at);
	else if (fd != at)
		(void)dup2(fd, at);
}

/* Out of the way of 3..5 first, so that no placing overwrites another. */
static int
move_up(int fd)
{
	if (fd < 0)
		return -1;
	return fcntl(fd, F_DUPFD_CLOEXEC, 16);
}

static _Noreturn void
janitor_main(int pipe, const struct listener *listener, int nr)
{
	struct listener mine = *listener;
	struct janitor_message message, last = {0};
	int dir;

	(void)prctl(PR_SET_NAME, "holdfastd-tidy");
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	pipe = move_up(pipe);
	dir = move_up(listener->dirfd);
	nr = move_up(nr);
	place_fd(pipe, JANITOR_PIPE);
	place_fd(dir, JANITOR_DIR);
	place_fd(nr, JANITOR_NR);
	(void)close_range(JANITOR_NFDS, ~0u, 0);
	(void)close(STDIN_FILENO);
	(void)close(STDOUT_FILENO);
	privilege_keep_file_access();

	while (read(JANITOR_PIPE, &message, sizeof(message)) == sizeof(message))
		last = message;
	mine.dirfd = JANITOR_DIR;
	listener_unlink(&mine);
	nr_hugepages_lower(JANITOR_NR, &last);
	_exit(0);
}

int
janitor_start(struct janitor *janitor, const struct listener *listener,
    vm_size_t frame_size)
{
	_cleanup_(fd_closep) int nr = nr_hugepages_open(frame_size, O_RDWR);
	int fds[2];

	/* Without the right to change it, it will not be raised either. */
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_origin(-errno);
	janitor->pid = fork();
	if (janitor->pid < 0) {
		int r = -errno;

		janitor->pid = 0;
		(void)close(fds[0]);
		(void)close(fds[1]);
		return error_origin(r);
	}
	if (janitor->pid == 0) {
		(void)close(fds[1]);
		janitor_main(fds[0], listener, nr);
	}
	(void)close(fds[0]);
	janitor->pipe = fds[1];
	return 0;
}

static int
janitor_tell(struct janitor *janitor, const struct janitor_message *message)
{
	if (janitor->pipe < 0)
		return 0;
	if (write(janitor->pipe, message, sizeof(*message)) != sizeof(*message))
		return error_origin(-EIO);
	return 0;
}

int
janitor_raising(struct janitor *janitor, uint64_t before)
{
	return janitor_tell(janitor,
	    &(struct janitor_message){.before = before + 1});
}

int
janitor_raised(struct janitor *janitor, uint64_t npages)
{
	return janitor_tell(janitor,
	    &(struct janitor_message){.raised = npages});
}

void
janitor_finish(struct janitor *janitor)
{
	fd_closep(&janitor->pipe);
	if (janitor->pid == 0)
		return;
	while (waitpid(janitor->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	janitor->pid = 0;
}
