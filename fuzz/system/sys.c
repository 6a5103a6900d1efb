/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/system/sys.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct sys_env sys_env = {.client_fd = -1};

bool
sys_next(const uint8_t *data, size_t size, size_t *offp, struct sys_record *rec)
{
	const uint8_t *p;

	memset(rec, 0, sizeof(*rec));
	if (*offp < SYS_HEADER)
		*offp = SYS_HEADER;
	for (;;) {
		if (*offp > size || size - *offp < SYS_RECORD)
			return false;
		p = data + *offp;
		*offp += SYS_RECORD;
		if (p[0] != SYS_EXT)
			break;
		memcpy(rec->operand + 5, p + 1, 7);
	}
	rec->action = p[0];
	rec->who = p[1];
	rec->what = p[2];
	memcpy(rec->operand, p + 3, 5);
	return true;
}

void
sys_env_begin(void)
{
	sys_env = (struct sys_env){.active = true,
	    .now_ms = 1000000,
	    .uid = SYS_UID,
	    .client_fd = -1};
}

void
sys_env_end(void)
{
	sys_env.active = false;
}

bool
sys_memory_fails(void)
{
	if (!sys_env.active || sys_env.memory_nth == 0 ||
	    --sys_env.memory_nth > 0)
		return false;
	sys_env.memory_nth = sys_env.memory_sticky ? 1 : 0;
	sys_env.memory_nfailed++;
	return true;
}

unsigned
sys_nfds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

/* ---- Sockets --------------------------------------------------------------
 */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(SYS_FDS_MAX * sizeof(int))];
};

bool
sys_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds)
{
	union control control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);

ssize_t
sys_receive(int fd, void *buf, size_t size, int *fds, size_t *nfdsp)
{
	union control control;
	struct iovec iov = {buf, size};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	ssize_t n = __real_recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*nfdsp = 0;
	if (n < 0)
		return errno == EAGAIN ? -1 : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL;
	     c = CMSG_NXTHDR(&msg, c)) {
		size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		memcpy(fds + *nfdsp, CMSG_DATA(c), k * sizeof(int));
		*nfdsp += k;
	}
	return n;
}

void
sys_close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* ---- Replaced -------------------------------------------------------------
 */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg);

/* No threads: the server does its jobs on the loop then. */
int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg)
{
	if (sys_env.active)
		return EAGAIN;
	return __real_pthread_create(thread, attr, start, arg);
}

/*
 * In libc's place, so that libevent's timers follow it too: they fire when the
 * program turns the clock, and never by themselves.
 */
int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	/* Engines watch the time of day. */
	if (!sys_env.active || clock == CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = (time_t)(sys_env.now_ms / 1000);
	ts->tv_nsec = (long)(sys_env.now_ms % 1000) * 1000000;
	return 0;
}

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

int
__wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int r = __real_getsockopt(fd, level, name, value, len);

	if (sys_env.active && r == 0 && level == SOL_SOCKET &&
	    name == SO_PEERCRED) {
		((struct ucred *)value)->uid = sys_env.uid;
		((struct ucred *)value)->gid = sys_env.uid;
	}
	return r;
}

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

int
__wrap_socket(int domain, int type, int protocol)
{
	if (!sys_env.active || sys_env.client_fd < 0)
		return __real_socket(domain, type, protocol);
	return sys_env.client_fd;
}

int __real_connect(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *sa, socklen_t len);

int
__wrap_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	if (!sys_env.active || fd != sys_env.client_fd)
		return __real_connect(fd, sa, len);
	return 0;
}

/* Where the client would wait, the daemon acts first; then time is up. */
static int
before_receive(int fd, int flags)
{
	if (!sys_env.active || fd != sys_env.client_fd)
		return flags;
	if (sys_env.before_receive != NULL)
		sys_env.before_receive(sys_env.arg);
	return flags | MSG_DONTWAIT;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);

ssize_t
__wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return __real_recvmsg(fd, msg, before_receive(fd, flags));
}

ssize_t __real_recv(int fd, void *buf, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags);

ssize_t
__wrap_recv(int fd, void *buf, size_t size, int flags)
{
	return __real_recv(fd, buf, size, before_receive(fd, flags));
}

ssize_t __real_send(int fd, const void *buf, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t size, int flags);

/* A client whose daemon reads nothing is out of time at once. */
ssize_t
__wrap_send(int fd, const void *buf, size_t size, int flags)
{
	if (sys_env.active && fd == sys_env.client_fd)
		flags |= MSG_DONTWAIT;
	return __real_send(fd, buf, size, flags);
}

/* The server says how it goes; nobody listens but who debugs. */
void __wrap_log_event(int level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void
__wrap_log_event(int level, const char *event, const char *format, ...)
{
	va_list args;

	(void)level;
	if (!sys_is_traced())
		return;
	va_start(args, format);
	fprintf(stderr, "  log: %s ", event);
	(void)vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
}
