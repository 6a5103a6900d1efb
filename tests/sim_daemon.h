/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A daemon of its own for a test: over invented memory of 64 MiB, in a folder
 * of its own, gone with the test.  The environment names the program.
 */

#include <sys/types.h>

struct sim_daemon {
	char dir[64];
	char path[96]; /* of its socket */
	pid_t pid;
};

/* The value of an environment variable; without it the test is skipped. */
const char *sim_daemon_need(const char *name);

/* Start $HOLDFASTD, and wait until it answers. */
void sim_daemon_start(struct sim_daemon *d);
/* Stop it; it must end well and leave nothing. */
void sim_daemon_stop(struct sim_daemon *d);
