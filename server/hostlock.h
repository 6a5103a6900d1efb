/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One daemon for the huge pages of a NUMA node.
 *
 * Two daemons that free and take frames of one size on one node are each
 * other's thief (docs/design/pool.md).  So each holds a record lock, for as
 * long as it lives, on the bytes of a file that stand for its nodes; the kernel
 * knows whose it is.
 */

#include <sys/types.h>

#include "core/vm.h"

/*
 * Where the file `what` of those who use frames of that size is: "lock", or
 * "will" (server/janitor.h).  In /run, or where $HOLDFAST_LOCK_DIR says.
 */
void hostlock_path(char *buf, size_t size, const char *what,
    vm_size_t frame_size);

struct hostlock {
	int fd; /* -1: not held */
};

/*
 * Lock the frames of `frame_size` on `node` (-1: every node).  As long as it
 * is held no descriptor of that file may be closed but this one.
 * -EEXIST: *pidp has them, or some of them.  -EACCES and others: there can be
 * no lock, because the file cannot be had.
 */
int hostlock_take(struct hostlock *lock, vm_size_t frame_size, int node,
    pid_t *pidp);
void hostlock_drop(struct hostlock *lock);
