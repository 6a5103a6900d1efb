/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The floor under a request: a process that answers each packet with one of a
 * given size, does nothing with it, and ends with this one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct bench_floor {
	int fd; /* SOCK_SEQPACKET, ours */
	pid_t pid;
	size_t request; /* bytes of what it is to be sent */
};

/*
 * Answers have `reply` bytes, at most HOLDFAST_PACKET_MAX, and carry the
 * descriptor `fd` if it is not -1.  on_epoll: it waits in epoll_wait(2) for
 * each, as a daemon does.  Ends the program where that cannot be had.
 */
struct bench_floor bench_floor_start(size_t request, size_t reply, int fd,
    bool on_epoll);
void bench_floor_stop(struct bench_floor *floor);
