/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Locals that own something give it back at the end of their scope.
 */

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Hand over what a cleanup variable owns. */
#define take_ptr(p)                                                            \
	({                                                                     \
		__typeof__(p) take_ptr_ = (p);                                 \
		(p) = NULL;                                                    \
		take_ptr_;                                                     \
	})

static inline int
take_fd(int *fdp)
{
	int fd = *fdp;

	*fdp = -1;
	return fd;
}

static inline void
fd_closep(int *fdp)
{
	if (*fdp >= 0)
		(void)close(*fdp); /* nothing of ours is left to write */
	*fdp = -1;
}

static inline void
freep(void *p)
{
	free(*(void **)p);
}
