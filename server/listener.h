/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The listening socket.
 *
 * A socket file that nobody answers on is replaced; one that somebody answers
 * on is left alone.  Accepting is bounded in each turn of the loop, and goes
 * on when the process runs out of descriptors: a spare one is given up to take
 * the connection and close it.  Loop thread only.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "server/config.h"

struct event;
struct server;

struct listener {
	int fd;    /* listening; -1: closed */
	int dirfd; /* of the folder that the socket file is in */
	int spare; /* a descriptor to give up */
	char name[CONFIG_PATH_MAX]; /* in dirfd */
	ino_t inode;                /* of the socket file */
	struct server *server;
	struct event *event;
};

/* Zero file descriptors held: a listener that was not opened. */
void listener_init(struct listener *listener);

/*
 * Bind and listen.  Makes the folder if it is not there.
 * -EADDRINUSE: a daemon answers there.  -EEXIST: something else is there.
 * -ENAMETOOLONG; -errno.
 */
int listener_open(struct listener *listener, const char *path, mode_t mode);

/* Hand connections to `server`.  -errno. */
int listener_start(struct listener *listener, struct server *server);

/* Stop accepting.  The file stays: see janitor.h. */
void listener_close(struct listener *listener);
/* Remove the file, if it is still ours. */
void listener_unlink(const struct listener *listener);
