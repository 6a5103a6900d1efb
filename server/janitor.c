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
enum {
	JANITOR_PIPE = 3,
	JANITOR_DIR,
	JANITOR_NR,
	JANITOR_NFDS = JANITOR_NR + JANITOR_SIZES,
};

#define BIG_SIZE (UINT64_C(1) << 30)

struct janitor_message {
	struct {
		int64_t raised;
		uint64_t before; /* UINT64_MAX: not known, or not needed */
	} size[JANITOR_SIZES];
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
 * the short time while it is being changed only what was before is known.
 * Fewer than before there are where big ones were taken apart.
 */
static void
nr_hugepages_restore(int fd, int64_t raised, uint64_t before)
{
	uint64_t now, base;
	int64_t want;
	char text[32];
	int len;

	if (nr_hugepages_read(fd, &now) < 0)
		return;
	base = before != UINT64_MAX ? before : now;
	want = (int64_t)base - raised;
	want = want > 0 ? want : 0;
	if (want == (int64_t)now || (want > (int64_t)now && raised >= 0))
		return;
	len = snprintf(text, sizeof(text), "%" PRId64, want);
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

/* Out of the way of those first, so that no placing overwrites another. */
static int
move_up(int fd)
{
	if (fd < 0)
		return -1;
	return fcntl(fd, F_DUPFD_CLOEXEC, 16);
}

static _Noreturn void
janitor_main(int pipe, const struct listener *listener,
    const int nr[JANITOR_SIZES])
{
	struct listener mine = *listener;
	struct janitor_message message, last;
	int dir, up[JANITOR_SIZES];

	(void)prctl(PR_SET_NAME, "holdfastd-tidy");
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	pipe = move_up(pipe);
	dir = move_up(listener->dirfd);
	for (int i = 0; i < JANITOR_SIZES; i++) {
		up[i] = move_up(nr[i]);
		last.size[i].raised = 0;
		last.size[i].before = UINT64_MAX;
	}
	place_fd(pipe, JANITOR_PIPE);
	place_fd(dir, JANITOR_DIR);
	for (int i = 0; i < JANITOR_SIZES; i++)
		place_fd(up[i], JANITOR_NR + i);
	(void)close_range(JANITOR_NFDS, ~0u, 0);
	(void)close(STDIN_FILENO);
	(void)close(STDOUT_FILENO);
	privilege_keep_file_access();

	while (read(JANITOR_PIPE, &message, sizeof(message)) == sizeof(message))
		last = message;
	mine.dirfd = JANITOR_DIR;
	listener_unlink(&mine);
	for (int i = 0; i < JANITOR_SIZES; i++)
		nr_hugepages_restore(JANITOR_NR + i, last.size[i].raised,
		    last.size[i].before);
	_exit(0);
}

int
janitor_start(struct janitor *janitor, const struct listener *listener,
    vm_size_t frame_size)
{
	/* Without the right to change it, it will not be changed either. */
	_cleanup_(fd_closep) int frames = nr_hugepages_open(frame_size, O_RDWR);
	_cleanup_(fd_closep) int big =
	    frame_size != BIG_SIZE ? nr_hugepages_open(BIG_SIZE, O_RDWR) : -1;
	int fds[2];

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
		janitor_main(fds[0], listener, (const int[]){frames, big});
	}
	(void)close(fds[0]);
	janitor->pipe = fds[1];
	return 0;
}

static int
janitor_tell(struct janitor *janitor, const uint64_t before[JANITOR_SIZES])
{
	struct janitor_message message;

	if (janitor->pipe < 0)
		return 0;
	for (int i = 0; i < JANITOR_SIZES; i++) {
		message.size[i].raised = janitor->raised[i];
		message.size[i].before =
		    before != NULL ? before[i] : UINT64_MAX;
	}
	if (write(janitor->pipe, &message, sizeof(message)) != sizeof(message))
		return error_origin(-EIO);
	return 0;
}

int
janitor_raising(struct janitor *janitor, const uint64_t before[JANITOR_SIZES])
{
	return janitor_tell(janitor, before);
}

int
janitor_raised(struct janitor *janitor, const int64_t raised[JANITOR_SIZES])
{
	memcpy(janitor->raised, raised, sizeof(janitor->raised));
	return janitor_tell(janitor, NULL);
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
