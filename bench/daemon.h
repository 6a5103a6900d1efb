/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A daemon of the benchmark's own, on a socket in a temporary directory.
 * Whatever goes wrong ends the program with a sentence.
 */

#include <sys/types.h>

struct bench_daemon {
	pid_t pid;
	char dir[64];
	char path[96]; /* of the socket */
};

/* Start `program` on a back end ("sim", "linux") and wait until it is ready. */
void bench_daemon_start(struct bench_daemon *d, const char *program,
    const char *backend, const char *pool);
/* The same with more options, NULL at the end; the array may be NULL. */
void bench_daemon_start_with(struct bench_daemon *d, const char *program,
    const char *backend, const char *pool, const char *const *options);
void bench_daemon_stop(struct bench_daemon *d);
