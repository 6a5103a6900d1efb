/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Descriptors on their way to a client, in the order of a packet's replies.
 *
 * A list borrows what is added; fdlist_dup() makes one that owns.  The daemon
 * takes no descriptors in: see transport.h.
 */

#include <stdbool.h>
#include <stddef.h>

#include "proto/limits.h"

struct fdlist {
	size_t n;
	bool owned; /* fdlist_close() closes them */
	int fds[HOLDFAST_FDS_MAX];
};

static inline void
fdlist_init(struct fdlist *list)
{
	list->n = 0;
	list->owned = false;
}

/* Borrow `fd` until the list is sent or emptied.  -ENOSPC: full. */
int fdlist_add(struct fdlist *list, int fd);

/* The position of `fd`, which is added if need be.  -ENOSPC: full. */
int fdlist_index(struct fdlist *list, int fd);

/* Borrow all of `more` too.  -ENOSPC: no room; nothing was added. */
int fdlist_append(struct fdlist *list, const struct fdlist *more);

/* Fill the uninitialised `copy` with duplicates.  -errno: `copy` is empty. */
int fdlist_dup(const struct fdlist *list, struct fdlist *copy);

/* Forget them, and close them if they are owned. */
void fdlist_close(struct fdlist *list);
