/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
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
	JANITOR_WILL,
	JANITOR_NR,
	JANITOR_NFILES = JANITOR_SIZES * (1 + JANITOR_NODES),
};

#define BIG_SIZE (UINT64_C(1) << 30)

struct janitor_message {
	struct janitor_numbers raised;
	struct janitor_numbers before; /* -1: not known, or not needed */
};
static_assert(sizeof(struct janitor_message) <= PIPE_BUF,
    "a message comes whole, or not at all");

/* One for each node, and in front of them that of a daemon for all nodes. */
struct janitor_will {
	uint64_t magic; /* WILL_MAGIC; 0: there is none */
	struct janitor_message left;
	struct janitor_numbers after; /* nr_hugepages when it was written */
};
#define WILL_MAGIC   (UINT64_C(0x686677696c6c0000) + sizeof(struct janitor_will))
#define WILL_WAIT_MS 3000 /* for a janitor that is at work */

void
janitor_init(struct janitor *janitor)
{
	*janitor = (struct janitor){.pipe = -1, .will = -1, .sysfs = "/sys"};
}

/* ---- nr_hugepages ------------------------------------------------ */

/* Of one node, or (-1) of the host. */
static int
nr_hugepages_open(const struct janitor *janitor, vm_size_t frame_size, int node,
    int flags)
{
	char path[512], where[64] = "kernel/mm";
	int fd;

	if (node >= 0)
		(void)snprintf(where, sizeof(where),
		    "devices/system/node/node%d", node);
	(void)snprintf(path, sizeof(path),
	    "%s/%s/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
	    janitor->sysfs, where, frame_size >> 10);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fd;
}

/* The files of one size; -1 where there is none. */
static void
files_open(const struct janitor *janitor, vm_size_t frame_size, int flags,
    int files[1 + JANITOR_NODES])
{
	for (int i = 0; i <= JANITOR_NODES; i++)
		files[i] = nr_hugepages_open(janitor, frame_size, i - 1, flags);
}

static void
files_close(int files[1 + JANITOR_NODES])
{
	for (int i = 0; i <= JANITOR_NODES; i++)
		if (files[i] >= 0)
			(void)close(files[i]);
}

static int
nr_hugepages_read(int fd, int64_t *np)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	*np = strtoll(text, NULL, 10);
	return 0;
}

void
janitor_now(const struct janitor *janitor, vm_size_t frame_size,
    struct janitor_numbers *nowp)
{
	const vm_size_t sizes[JANITOR_SIZES] = {frame_size, BIG_SIZE};
	int files[1 + JANITOR_NODES];

	for (int i = 0; i < JANITOR_SIZES; i++) {
		files_open(janitor, sizes[i], O_RDONLY, files);
		for (int k = 0; k <= JANITOR_NODES; k++)
			if (files[k] < 0 ||
			    nr_hugepages_read(files[k], &nowp->of[i][k]) < 0)
				nowp->of[i][k] = -1;
		files_close(files);
	}
}

/*
 * Take off what the daemon added; others may have changed it meanwhile.  In
 * the short time while it is being changed only what was before is known.
 * Fewer than before there are where big ones were taken apart.
 */
static void
nr_hugepages_restore(int fd, int64_t raised, int64_t before)
{
	int64_t now, want;
	char text[32];
	int len;

	if (nr_hugepages_read(fd, &now) < 0)
		return;
	want = (before >= 0 ? before : now) - raised;
	want = want > 0 ? want : 0;
	if (want == now || (want > now && raised >= 0))
		return;
	len = snprintf(text, sizeof(text), "%" PRId64 "\n", want);
	if (pwrite(fd, text, (size_t)len, 0) < 0)
		log_warn("nr_hugepages", "errno=%d", errno);
}

/*
 * Each node by itself, then the host, which is right already unless it was
 * changed as a whole: what it was is counted with what all were raised by.
 */
static void
files_restore(const int files[1 + JANITOR_NODES],
    const int64_t raised[1 + JANITOR_NODES],
    const int64_t before[1 + JANITOR_NODES])
{
	int64_t sum = raised[0];

	for (int i = 1; i <= JANITOR_NODES; i++) {
		nr_hugepages_restore(files[i], raised[i], before[i]);
		sum += raised[i];
	}
	nr_hugepages_restore(files[0], before[0] >= 0 ? sum : raised[0],
	    before[0]);
}

/* ---- Wills ------------------------------------------------------- */

static bool
is_nothing(const struct janitor_message *message)
{
	static const struct janitor_numbers none;

	return memcmp(&message->raised, &none, sizeof(none)) == 0 &&
	       message->before.of[JANITOR_FRAMES][0] < 0 &&
	       message->before.of[JANITOR_BIG][0] < 0;
}

/* No will is no worse than it was without: a failure is not told. */
static void
will_write(int fd, int place, const struct janitor_will *will)
{
	(void)!pwrite(fd, will, sizeof(*will), place * (off_t)sizeof(*will));
}

/* Only what is finished can be told from what others do to it later. */
static void
will_leave(const struct janitor *janitor, const struct janitor_message *left)
{
	struct janitor_will will = {0};

	if (janitor->will < 0)
		return;
	if (!is_nothing(left)) {
		will = (struct janitor_will){WILL_MAGIC, .left = *left};
		janitor_now(janitor, janitor->frame_size, &will.after);
	}
	will_write(janitor->will, janitor->place, &will);
}

/* The janitor holds the place of its will while it lives. */
static int
will_lock(int fd, int place, short type)
{
	struct flock range = {
	    .l_type = type,
	    .l_whence = SEEK_SET,
	    .l_start = place * (off_t)sizeof(struct janitor_will),
	    .l_len = sizeof(struct janitor_will),
	};

	return fcntl(fd, F_SETLK, &range);
}

static void
will_execute(const struct janitor *janitor, const struct janitor_will *will)
{
	const vm_size_t sizes[JANITOR_SIZES] = {janitor->frame_size, BIG_SIZE};
	const struct janitor_message *left = &will->left;
	struct janitor_numbers now;
	int files[1 + JANITOR_NODES];

	janitor_now(janitor, janitor->frame_size, &now);
	if (left->before.of[JANITOR_FRAMES][0] >= 0 ||
	    memcmp(&now, &will->after, sizeof(now)) != 0) {
		log_warn("nr_hugepages",
		    "text=\"a daemon that was killed left it raised, and it "
		    "was changed since: left alone\"");
		return;
	}
	for (int i = 0; i < JANITOR_SIZES; i++) {
		files_open(janitor, sizes[i], O_RDWR, files);
		files_restore(files, left->raised.of[i], left->before.of[i]);
		files_close(files);
	}
	log_info("nr_hugepages",
	    "text=\"put back what a daemon that was killed left raised\"");
}

static void
will_open(const struct janitor *janitor, int place)
{
	struct janitor_will will = {0}, none = {0};

	for (int ms = 0; will_lock(janitor->will, place, F_WRLCK) < 0; ms++) {
		if (ms == WILL_WAIT_MS)
			return; /* it will do it */
		(void)usleep(1000);
	}
	if (pread(janitor->will, &will, sizeof(will),
		place * (off_t)sizeof(will)) == sizeof(will) &&
	    will.magic == WILL_MAGIC) {
		will_execute(janitor, &will);
		will_write(janitor->will, place, &none);
	}
	(void)will_lock(janitor->will, place, F_UNLCK);
}

int
janitor_inherit(struct janitor *janitor, const char *path, vm_size_t frame_size,
    int node)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	janitor->will = fd;
	janitor->place = MAX(node, -1) + 1;
	janitor->frame_size = frame_size;
	for (int place = 0; place <= JANITOR_NODES; place++)
		if (node < 0 || place == 0 || place == janitor->place)
			will_open(janitor, place);
	return 0;
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

/*
 * Of all descriptors only those of `files` that are there, the pipe, the folder
 * and the will stay open, one behind the other.  They move out of the way of
 * those places first, so that no placing overwrites another.
 */
static void
keep_fds(int pipe, int dir, int will, int files[JANITOR_NFILES])
{
	int n = JANITOR_NR, at = JANITOR_NR;

	for (int i = 0; i < JANITOR_NFILES; i++)
		n += files[i] >= 0;
	pipe = fcntl(pipe, F_DUPFD_CLOEXEC, n);
	dir = dir < 0 ? -1 : fcntl(dir, F_DUPFD_CLOEXEC, n);
	will = will < 0 ? -1 : fcntl(will, F_DUPFD_CLOEXEC, n);
	for (int i = 0; i < JANITOR_NFILES; i++)
		if (files[i] >= 0)
			files[i] = fcntl(files[i], F_DUPFD_CLOEXEC, n);
	place_fd(pipe, JANITOR_PIPE);
	place_fd(dir, JANITOR_DIR);
	place_fd(will, JANITOR_WILL);
	for (int i = 0; i < JANITOR_NFILES; i++)
		if (files[i] >= 0) {
			place_fd(files[i], at);
			files[i] = at++;
		}
	(void)close_range((unsigned)at, ~0u, 0);
	(void)close(STDIN_FILENO);
	(void)close(STDOUT_FILENO);
}

static _Noreturn void
janitor_main(const struct janitor *janitor, int pipe,
    const struct listener *listener, int files[JANITOR_NFILES])
{
	const struct janitor_will none = {0};
	struct listener mine = *listener;
	struct janitor_message message, last;

	(void)prctl(PR_SET_NAME, "holdfastd-tidy");
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	keep_fds(pipe, listener->dirfd, janitor->will, files);
	(void)will_lock(JANITOR_WILL, janitor->place, F_WRLCK);
	privilege_keep_file_access();
	memset(&last.raised, 0, sizeof(last.raised));
	memset(&last.before, -1, sizeof(last.before));

	while (read(JANITOR_PIPE, &message, sizeof(message)) == sizeof(message))
		last = message;
	mine.dirfd = JANITOR_DIR;
	listener_unlink(&mine);
	for (int i = 0; i < JANITOR_SIZES; i++)
		files_restore(files + i * (1 + JANITOR_NODES),
		    last.raised.of[i], last.before.of[i]);
	/* Else the next daemon may have written its own by now. */
	if (!is_nothing(&last))
		will_write(JANITOR_WILL, janitor->place, &none);
	_exit(0);
}

static int
janitor_fork(struct janitor *janitor, const struct listener *listener,
    int files[JANITOR_NFILES])
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_origin(-errno);
	janitor->pid = fork();
	if (janitor->pid < 0) {
		r = -errno;
		janitor->pid = 0;
		(void)close(fds[0]);
		(void)close(fds[1]);
		return error_origin(r);
	}
	if (janitor->pid == 0) {
		(void)close(fds[1]);
		janitor_main(janitor, fds[0], listener, files);
	}
	(void)close(fds[0]);
	janitor->pipe = fds[1];
	return 0;
}

int
janitor_start(struct janitor *janitor, const struct listener *listener,
    vm_size_t frame_size)
{
	int files[JANITOR_NFILES], *big = files + 1 + JANITOR_NODES, r;

	/* Without the right to change it, it will not be changed either. */
	files_open(janitor, frame_size, O_RDWR, files);
	memset(big, -1, (1 + JANITOR_NODES) * sizeof(*big));
	if (frame_size != BIG_SIZE)
		files_open(janitor, BIG_SIZE, O_RDWR, big);
	r = janitor_fork(janitor, listener, files);
	files_close(files);
	files_close(big);
	return r;
}

static int
janitor_tell(struct janitor *janitor, const struct janitor_numbers *before)
{
	struct janitor_message message = {.raised = janitor->raised};

	memset(&message.before, -1, sizeof(message.before));
	if (before != NULL)
		message.before = *before;
	will_leave(janitor, &message);
	if (janitor->pipe < 0)
		return 0;
	if (write(janitor->pipe, &message, sizeof(message)) != sizeof(message))
		return error_origin(-EIO);
	return 0;
}

int
janitor_raising(struct janitor *janitor, const struct janitor_numbers *before)
{
	return janitor_tell(janitor, before);
}

int
janitor_raised(struct janitor *janitor, const struct janitor_numbers *raised)
{
	janitor->raised = *raised;
	return janitor_tell(janitor, NULL);
}

void
janitor_finish(struct janitor *janitor)
{
	fd_closep(&janitor->will);
	fd_closep(&janitor->pipe);
	if (janitor->pid == 0)
		return;
	while (waitpid(janitor->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	janitor->pid = 0;
}
