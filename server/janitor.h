/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A second, tiny process that tidies up when the daemon ends, however it ends.
 *
 * The daemon gives its privileges up, and may be killed; its socket file and a
 * changed nr_hugepages need both to be put right.  The janitor is forked while
 * there is privilege, keeps only CAP_DAC_OVERRIDE, holds the folder of the
 * socket, the kernel's nr_hugepages and the reading end of a pipe, reads
 * nothing else, and acts when the pipe ends.
 */

#include <stddef.h>
#include <sys/types.h>

#include "core/vm.h"
#include "server/listener.h"

/*
 * Numbers of huge pages that the daemon may change: of two sizes, of the host
 * as a whole ([0]) or of NUMA node n ([1 + n]).
 */
enum { JANITOR_FRAMES, JANITOR_BIG, JANITOR_SIZES };
#define JANITOR_NODES 64

struct janitor_numbers {
	int64_t of[JANITOR_SIZES][1 + JANITOR_NODES];
};

struct janitor {
	pid_t pid;                     /* 0: none */
	int pipe;                      /* writing end; -1 */
	int will;                      /* file of wills; -1 */
	int place;                     /* of ours in it */
	vm_size_t frame_size;          /* of what the will is about */
	const char *sysfs;             /* "/sys", or a test's */
	struct janitor_numbers raised; /* last told */
};

void janitor_init(struct janitor *janitor);

/*
 * A will: what the janitor is told stands in the file `path`, too, so that the
 * next daemon can put it right where both were killed.  Opens the file, waits a
 * moment for a janitor at work, and executes the wills of the dead for `node`
 * (-1: every node), if nobody has changed nr_hugepages since.  Call it with the
 * host's lock held (server/hostlock.h), before janitor_start().  -errno: there
 * is no file, and there will be no will.
 */
int janitor_inherit(struct janitor *janitor, const char *path,
    vm_size_t frame_size, int node);

/*
 * Fork it.  Before any thread and before the pool is opened.  Frames are of
 * `frame_size`, big ones of 1 GiB.  -errno.
 */
int janitor_start(struct janitor *janitor, const struct listener *listener,
    vm_size_t frame_size);

/*
 * Tell it what to put right should the daemon be killed: nr_hugepages is about
 * to be changed and is `before` now (-1: not known, or it is not changed); or
 * is above what it was by `raised` (below 0: below it).  -errno.
 */
int janitor_raising(struct janitor *janitor,
    const struct janitor_numbers *before);
int janitor_raised(struct janitor *janitor,
    const struct janitor_numbers *raised);

/* Let it tidy up, and wait until it has. */
void janitor_finish(struct janitor *janitor);

/*
 * What nr_hugepages is now; -1 where it is not known, or there is no such node.
 */
void janitor_now(const struct janitor *janitor, vm_size_t frame_size,
    struct janitor_numbers *nowp);
