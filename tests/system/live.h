/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A real daemon on real huge pages, for one case.
 *
 * It listens in a temporary directory, says that it is ready through a pipe,
 * and is stopped by its pid.  $HOLDFASTD names the program; a case skips where
 * that, root or the huge pages are missing.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "clients/libholdfast/holdfast.h"

#define NOBODY   65534 /* an unprivileged uid */
#define SOMEBODY 65533 /* another one: another tenant */

#define MIB ((uint64_t)1 << 20)

struct live {
	char dir[64];
	char path[96]; /* of the socket */
	pid_t pid;
};

/*
 * Start it with a pool of so many MiB and further options (NULL at the end;
 * the array may be NULL).  It is ready when this returns.
 */
void live_start(struct live *live, unsigned pool_mib,
    const char *const *options);
/*
 * The same over invented frames: needs no huge pages.  Base pages are real.
 */
void live_start_sim(struct live *live);
/* SIGTERM; it has to end with 0. */
void live_stop(struct live *live);

/* Connect as ourselves. */
struct holdfast *live_connect(const struct live *live);

/* Open descriptors of the daemon, without those of spans: it makes some in
 * advance.  What the pool holds tells whether all spans are home. */
int live_nfds(const struct live *live);

/*
 * Wait until every frame is home (none in use, kept idle, ready or in limbo)
 * and no session but ours, an operator's, is left; fails when that takes too
 * long.  The pool is drained meanwhile: nobody gets anything.
 */
void live_wait_idle(struct holdfast *h);

/* What the pool is made of: to be compared before and after. */
struct live_pool {
	struct holdfast_pool_status status;
	struct holdfast_run *segs, *free;
	size_t nsegs, nfree;
};
void live_pool_read(struct holdfast *h, struct live_pool *pool);
void live_pool_same(const struct live_pool *a, const struct live_pool *b);
void live_pool_fini(struct live_pool *pool);

/*
 * Run `body` in a child with that uid and no capability, and require that it
 * succeeds.  live_spawn() does not wait.
 */
pid_t live_spawn(uid_t uid, void (*body)(void *arg), void *arg);
/* The same with that group, and one more. */
pid_t live_spawn_in(uid_t uid, gid_t gid, gid_t group, void (*body)(void *arg),
    void *arg);
void live_wait(pid_t pid);
void live_as(uid_t uid, void (*body)(void *arg), void *arg);

/*
 * Physical address of `va` in process `pid`, from its pagemap; needs root.
 * 0: not present.
 */
uint64_t live_pagemap(pid_t pid, const void *va);
