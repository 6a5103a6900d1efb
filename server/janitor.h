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

/* Sizes of huge pages that the daemon may change the number of. */
enum { JANITOR_FRAMES, JANITOR_BIG, JANITOR_SIZES };

struct janitor {
	pid_t pid;                     /* 0: none */
	int pipe;                      /* writing end; -1 */
	int64_t raised[JANITOR_SIZES]; /* last told */
};

void janitor_init(struct janitor *janitor);

/*
 * Fork it.  Before any thread and before the pool is opened.  Frames are of
 * `frame_size`, big ones of 1 GiB.  -errno.
 */
int janitor_start(struct janitor *janitor, const struct listener *listener,
    vm_size_t frame_size);

/*
 * Tell it what to put right should the daemon be killed: nr_hugepages is about
 * to be changed and is `before` now (UINT64_MAX: not known); or is above what
 * it was by `raised` (below 0: below it).  -errno.
 */
int janitor_raising(struct janitor *janitor,
    const uint64_t before[JANITOR_SIZES]);
int janitor_raised(struct janitor *janitor,
    const int64_t raised[JANITOR_SIZES]);

/* Let it tidy up, and wait until it has. */
void janitor_finish(struct janitor *janitor);

/* nr_hugepages of that size.  -errno. */
int janitor_nr_hugepages(vm_size_t frame_size, uint64_t *np);
