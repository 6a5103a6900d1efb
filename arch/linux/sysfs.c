/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/linux/linux_int.h"

/*
 * The kernel checks who may write these files when they are opened, so a
 * descriptor opened as root still raises nr_hugepages after the process has
 * become somebody else (measured on Linux 6.18; the file in /proc/sys does not
 * allow that).
 */

static void
hugepages_path(const struct linux_pool *lp, const char *file, char *path,
    size_t size)
{
	unsigned long kib = lp->lp_frame_size >> 10;

	if (lp->lp_node < 0)
		(void)snprintf(path, size,
		    "/sys/kernel/mm/hugepages/hugepages-%lukB/%s", kib, file);
	else
		(void)snprintf(path, size,
		    "/sys/devices/system/node/node%d/hugepages/"
		    "hugepages-%lukB/%s",
		    lp->lp_node, kib, file);
}

static int
number_read(const struct linux_pool *lp, int fd, size_t *np)
{
	char text[32] = "";
	ssize_t n;

	n = lp->lp_sys->pread(fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return n < 0 ? (int)n : -EIO;
	*np = strtoul(text, NULL, 10);
	return 0;
}

static int
number_write(const struct linux_pool *lp, int fd, size_t number)
{
	char text[32];
	ssize_t n;
	int len;

	len = snprintf(text, sizeof(text), "%zu", number);
	n = lp->lp_sys->pwrite(fd, text, (size_t)len, 0);
	return n < 0 ? (int)n : 0;
}

int
sysfs_open(struct linux_pool *lp)
{
	char path[128];
	int fd;

	hugepages_path(lp, "nr_hugepages", path, sizeof(path));
	fd = lp->lp_sys->open(path, O_RDWR | O_CLOEXEC);
	if (fd == -EACCES || fd == -EPERM || fd == -EROFS)
		fd = lp->lp_sys->open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd == -ENOENT ? -ENOTSUP : fd;
	lp->lp_nr_fd = fd;
	return 0;
}

int
sysfs_free(const struct linux_pool *lp, size_t *np)
{
	char path[128];
	int fd;
	int r;

	hugepages_path(lp, "free_hugepages", path, sizeof(path));
	fd = lp->lp_sys->open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	r = number_read(lp, fd, np);
	(void)lp->lp_sys->close(fd);
	return r;
}

int
sysfs_raise(struct linux_pool *lp, size_t nframes)
{
	size_t nfree;
	size_t before;
	size_t after;
	int r;

	r = sysfs_free(lp, &nfree);
	if (r < 0 || nfree >= nframes)
		return r;
	r = number_read(lp, lp->lp_nr_fd, &before);
	if (r < 0)
		return r;
	r = number_write(lp, lp->lp_nr_fd, before + nframes - nfree);
	if (number_read(lp, lp->lp_nr_fd, &after) == 0 && after > before)
		lp->lp_raised += after - before;
	return r;
}

void
sysfs_lower(struct linux_pool *lp, size_t n)
{
	size_t now;

	n = MIN(n, lp->lp_raised);
	if (n == 0 || number_read(lp, lp->lp_nr_fd, &now) < 0)
		return;
	if (number_write(lp, lp->lp_nr_fd, now - MIN(n, now)) == 0)
		lp->lp_raised -= n;
}
