/* SPDX-License-Identifier: BSD-2-Clause */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "clients/libholdfast/transport.h"

static int64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
hf_fds_close(struct hf_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		if (fds->fd[i] >= 0)
			(void)close(fds->fd[i]);
	fds->n = 0;
}

int
hf_fds_take(struct hf_fds *fds, size_t nth)
{
	int fd;

	if (nth >= fds->n)
		return -1;
	fd = fds->fd[nth];
	fds->fd[nth] = -1;
	return fd;
}

/* Let each system call take at most `ms`; < 0: for ever. */
static int
set_timeouts(int fd, int64_t ms)
{
	struct timeval tv = {0, 0}; /* 0: for ever */

	if (ms >= 0) {
		tv.tv_sec = ms / 1000;
		tv.tv_usec = ms % 1000 * 1000;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
		return -errno;
	return 0;
}

/* After the first wait of a call only what the deadline leaves is left. */
static int
shorten(struct hf_conn *conn)
{
	int64_t left;

	if (conn->deadline == INT64_MAX)
		return 0;
	left = conn->deadline - now_ms();
	if (left <= 0)
		return -ETIMEDOUT;
	conn->shortened = true;
	return set_timeouts(conn->fd, left);
}

int
hf_conn_begin(struct hf_conn *conn)
{
	conn->waited = false;
	conn->deadline =
	    conn->timeout_ms < 0 ? INT64_MAX : now_ms() + conn->timeout_ms;
	if (!conn->shortened)
		return 0;
	conn->shortened = false;
	return set_timeouts(conn->fd, conn->timeout_ms);
}

int
hf_conn_begin_for(struct hf_conn *conn, int64_t ms)
{
	conn->waited = false;
	conn->deadline = ms < 0 ? INT64_MAX : now_ms() + ms;
	conn->shortened = true; /* the next call sets them again */
	return set_timeouts(conn->fd, ms);
}

int
hf_conn_send_now(int fd, const void *data, size_t size)
{
	ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : -errno;
}

static int
connect_until(struct hf_conn *conn, const struct sockaddr_un *sun)
{
	const struct sockaddr *sa = (const struct sockaddr *)sun;

	for (;;) {
		int r = shorten(conn);

		if (r < 0)
			return r;
		if (connect(conn->fd, sa, sizeof(*sun)) == 0)
			return 0;
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
}

int
hf_conn_open(struct hf_conn *conn, const char *path, int timeout_ms)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	int r;

	if (length >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, length);
	conn->timeout_ms = timeout_ms;
	conn->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (conn->fd < 0)
		return -errno;
	r = hf_conn_begin(conn);
	if (r == 0)
		r = connect_until(conn, &sun);
	if (r < 0)
		hf_conn_close(conn);
	return r;
}

void
hf_conn_end(struct hf_conn *conn)
{
	(void)shutdown(conn->fd, SHUT_RDWR); /* it may be gone already */
}

void
hf_conn_close(struct hf_conn *conn)
{
	if (conn->fd < 0)
		return;
	(void)close(conn->fd);
	conn->fd = -1;
}

bool
hf_conn_is_readable(const struct hf_conn *conn)
{
	struct pollfd poll_fd = {.fd = conn->fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) > 0;
}

int
hf_conn_send(struct hf_conn *conn, const void *data, size_t size)
{
	for (;;) {
		ssize_t n = send(conn->fd, data, size, MSG_NOSIGNAL);
		int r;

		if (n >= 0)
			return (size_t)n == size ? 0 : -EPROTO;
		if (errno == ECONNRESET)
			return -EPIPE;
		if (errno == EAGAIN)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
		r = shorten(conn);
		if (r < 0)
			return r;
	}
}

/* Collect every descriptor of every control message before anything else. */
static void
collect_fds(struct msghdr *msg, struct hf_fds *fds)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (fds->n < HOLDFAST_FDS_MAX)
				fds->fd[fds->n++] = fd;
			else
				(void)close(fd);
		}
	}
}

static int
receive_once(int fd, void *data, size_t size, size_t *np, struct hf_fds *fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * HOLDFAST_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr msg = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control),
	};
	ssize_t n;

	fds->n = 0;
	n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	collect_fds(&msg, fds);
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    (n == 0 && fds->n > 0)) {
		hf_fds_close(fds);
		return -EPROTO;
	}
	if (n == 0)
		return -EPIPE;
	*np = (size_t)n;
	return 0;
}

/*
 * The same where no descriptor is due: recv(2) is the cheaper call, and the
 * kernel closes what comes along all the same.
 */
static int
receive_plain(int fd, void *data, size_t size, size_t *np, struct hf_fds *fds)
{
	ssize_t n = recv(fd, data, size, MSG_TRUNC);

	fds->n = 0;
	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	if ((size_t)n > size)
		return -EPROTO;
	*np = (size_t)n;
	return 0;
}

int
hf_conn_receive(struct hf_conn *conn, void *data, size_t size, size_t *np,
    size_t nfds_max, struct hf_fds *fds)
{
	for (;;) {
		int r = conn->waited ? shorten(conn) : 0;

		if (r < 0)
			return r;
		conn->waited = true;
		r = nfds_max == 0 && conn->greeted
			? receive_plain(conn->fd, data, size, np, fds)
			: receive_once(conn->fd, data, size, np, fds);
		if (r == -ECONNRESET)
			return -EPIPE;
		if (r == -EAGAIN)
			return -ETIMEDOUT;
		if (r != -EINTR)
			return r;
	}
}
