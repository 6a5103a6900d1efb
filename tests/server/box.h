/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A real daemon in a folder of its own, for tests of its life.
 * $HOLDFASTD names the program; without it the case is skipped.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

#define WAIT_MS 20000

struct box {
	char dir[64];
	struct sockaddr_un addr;
	char notify[96];
	char log[96];
};

struct daemon {
	pid_t pid;
	char ready[32]; /* what it wrote there before it closed it */
};

void box_init(struct box *box);
/* The daemon must have left nothing but what the test put there. */
void box_fini(struct box *box);
bool socket_is_there(const struct box *box);

/*
 * Start it with more options (NULL-ended, or NULL) and at most `nofile`
 * descriptors (0: as here), and wait until it is ready or gone.
 */
void daemon_start(struct daemon *daemon, const struct box *box,
    const char *const *options, int nofile);
/* Its exit code, or minus the signal that ended it. */
int daemon_wait(struct daemon *daemon);
int daemon_stop(struct daemon *daemon, int number);

/* -1: refused. */
int client_connect(const struct box *box);
/* Say Hello; true if a reply came. */
bool client_greet(int fd);
bool client_works(const struct box *box);
