/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/kassert.h"
#include "server/fdlist.h"

int
fdlist_add(struct fdlist *list, int fd)
{
	MPASS(fd >= 0 && !list->owned);
	if (list->n == HOLDFAST_FDS_MAX)
		return -ENOSPC;
	list->fds[list->n++] = fd;
	return 0;
}

int
fdlist_index(struct fdlist *list, int fd)
{
	int r;

	for (size_t i = 0; i < list->n; i++) {
		if (list->fds[i] == fd)
			return (int)i;
	}
	r = fdlist_add(list, fd);
	if (r < 0)
		return r;
	return (int)list->n - 1;
}

int
fdlist_append(struct fdlist *list, const struct fdlist *more)
{
	MPASS(!list->owned);
	if (more->n > HOLDFAST_FDS_MAX - list->n)
		return -ENOSPC;
	memcpy(list->fds + list->n, more->fds, more->n * sizeof(int));
	list->n += more->n;
	return 0;
}

int
fdlist_dup(const struct fdlist *list, struct fdlist *copy)
{
	fdlist_init(copy);
	copy->owned = true;
	for (size_t i = 0; i < list->n; i++) {
		int fd = fcntl(list->fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			int r = -errno;

			fdlist_close(copy);
			return r;
		}
		copy->fds[copy->n++] = fd;
	}
	return 0;
}

void
fdlist_close(struct fdlist *list)
{
	if (list->owned) {
		for (size_t i = 0; i < list->n; i++)
			(void)close(list->fds[i]); /* only a duplicate */
	}
	fdlist_init(list);
}
