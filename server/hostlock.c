/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/hostlock.h"

/* Tests, and whoever has no /run, say where it is. */
void
hostlock_path(char *buf, size_t size, const char *what, vm_size_t frame_size)
{
	const char *dir = getenv("HOLDFAST_LOCK_DIR");

	if (dir == NULL || geteuid() != getuid())
		dir = "/run";
	(void)snprintf(buf, size, "%s/holdfast-pool-%uk.%s", dir,
	    (unsigned)(frame_size >> 10), what);
}

/* Who is in the way?  0: nobody any more. */
static pid_t
hostlock_owner(int fd, struct flock range)
{
	if (fcntl(fd, F_GETLK, &range) < 0 || range.l_type == F_UNLCK)
		return 0;
	return range.l_pid;
}

int
hostlock_take(struct hostlock *lock, vm_size_t frame_size, int node,
    pid_t *pidp)
{
	struct flock range = {
	    .l_type = F_WRLCK,
	    .l_whence = SEEK_SET,
	    .l_start = node < 0 ? 0 : node,
	    .l_len = node < 0 ? 0 : 1, /* 0: to the end */
	};
	char path[4096];
	int fd;

	hostlock_path(path, sizeof(path), "lock", frame_size);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* Once more if he went between the two questions. */
	for (int i = 0; i < 3; i++) {
		if (fcntl(fd, F_SETLK, &range) == 0) {
			lock->fd = fd;
			return 0;
		}
		*pidp = hostlock_owner(fd, range);
		if (*pidp != 0)
			break;
	}
	(void)close(fd);
	return -EEXIST;
}

void
hostlock_drop(struct hostlock *lock)
{
	if (lock->fd >= 0)
		(void)close(lock->fd);
	lock->fd = -1;
}
