/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A second, tiny process that tidies up when the daemon ends, however it ends.
 *
 * The daemon gives its privileges up, and may be killed; its socket file and a
 * raised nr_hugepages need both to be put right.  The janitor is forked while
 * there is privilege, keeps only CAP_DAC_OVERRIDE, holds the folder of the
 * socket, the kernel's nr_hugepages and the reading end of a pipe, reads
 * nothing else, and acts when the pipe ends.
 */

#include <stddef.h>
#include <sys/types.h>

#include "core/vm.h"
#include "server/listener.h"

struct janitor {
	pid_t pid; /* 0: none */
	int pipe;  /* writing end; -1 */
};

void janitor_init(struct janitor *janitor);

/* Fork it.  Before any thread and before the pool is opened.  -errno. */
int janitor_start(struct janitor *janitor, const struct listener *listener,
    vm_size_t frame_size);

/*
 * Tell it what to put right should the daemon be killed: nr_hugepages is about
 * to be raised and is `before` now; or was raised by `npages` (0: it has been
 * put back).  -errno.
 */
int janitor_raising(struct janitor *janitor, uint64_t before);
int janitor_raised(struct janitor *janitor, uint64_t npages);

/* Let it tidy up, and wait until it has. */
void janitor_finish(struct janitor *janitor);

/* nr_hugepages of that size.  -errno. */
int janitor_nr_hugepages(vm_size_t frame_size, uint64_t *np);
