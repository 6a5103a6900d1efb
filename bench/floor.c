/* SPDX-License-Identifier: BSD-2-Clause */
#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/floor.h"
#include "proto/limits.h"

static ssize_t
send_with_fd(int socket, const void *data, size_t size, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr msg = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control),
	};

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	return sendmsg(socket, &msg, MSG_NOSIGNAL);
}

static _Noreturn void
echo(int socket, size_t reply, int fd, bool on_epoll)
{
	static char buffer[HOLDFAST_PACKET_MAX];
	int poll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event) < 0)
		_exit(1);
	memset(buffer, 1, sizeof(buffer));
	for (;;) {
		if (on_epoll && epoll_wait(poll, &event, 1, -1) < 1)
			_exit(1);
		if (recv(socket, buffer, sizeof(buffer), 0) <= 0)
			_exit(0);
		if ((fd < 0 ? send(socket, buffer, reply, MSG_NOSIGNAL)
			    : send_with_fd(socket, buffer, reply, fd)) < 0)
			_exit(0);
	}
}

struct bench_floor
bench_floor_start(size_t request, size_t reply, int fd, bool on_epoll)
{
	struct bench_floor floor = {.request = request};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	floor.pid = fork();
	if (floor.pid < 0)
		err(1, "fork");
	if (floor.pid == 0) {
		(void)close(pair[0]);
		echo(pair[1], reply, fd, on_epoll);
	}
	(void)close(pair[1]);
	floor.fd = pair[0];
	return floor;
}

void
bench_floor_stop(struct bench_floor *floor)
{
	/* Later children hold our end too: no end of file would come. */
	(void)kill(floor->pid, SIGKILL);
	(void)waitpid(floor->pid, NULL, 0);
	(void)close(floor->fd);
}
