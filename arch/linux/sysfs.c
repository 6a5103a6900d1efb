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

/* The file of this pool's node, or of the whole host. */
static int
hugepages_file(const struct linux_pool *lp, vm_size_t frame_size,
    const char *file, int flags)
{
	unsigned long kib = frame_size >> 10;
	char path[128];

	if (lp->lp_node < 0)
		(void)snprintf(path, sizeof(path),
		    "/sys/kernel/mm/hugepages/hugepages-%lukB/%s", kib, file);
	else
		(void)snprintf(path, sizeof(path),
		    "/sys/devices/system/node/node%d/hugepages/"
		    "hugepages-%lukB/%s",
		    lp->lp_node, kib, file);
	return lp->lp_sys->open(path, flags | O_CLOEXEC);
}

/* What is not put back stays with the host: one failure is not the end. */
#define SYSFS_TRIES 3

static int
number_read(const struct linux_pool *lp, int fd, size_t *np)
{
	char text[32] = "";
	ssize_t n = 0;

	for (int i = 0; i < SYSFS_TRIES && n <= 0; i++)
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
	ssize_t n = -1;
	int len;

	len = snprintf(text, sizeof(text), "%zu", number);
	for (int i = 0; i < SYSFS_TRIES && n < 0; i++)
		n = lp->lp_sys->pwrite(fd, text, (size_t)len, 0);
	return n < 0 ? (int)n : 0;
}

static int
open_free(const struct linux_pool *lp)
{
	return hugepages_file(lp, lp->lp_frame_size, "free_hugepages",
	    O_RDONLY);
}

int
sysfs_open(struct linux_pool *lp)
{
	int fd;

	fd = hugepages_file(lp, lp->lp_frame_size, "nr_hugepages", O_RDWR);
	lp->lp_may_write_nr = fd >= 0;
	if (fd == -EACCES || fd == -EPERM || fd == -EROFS)
		fd = hugepages_file(lp, lp->lp_frame_size, "nr_hugepages",
		    O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? -ENOTSUP : fd;
	lp->lp_nr_fd = fd;
	lp->lp_free_fd = open_free(lp); /* without it turns are longer */
	return 0;
}

int
sysfs_free(const struct linux_pool *lp, size_t *np)
{
	int fd;
	int r;

	fd = open_free(lp);
	if (fd < 0)
		return fd;
	r = number_read(lp, fd, np);
	(void)lp->lp_sys->close(fd);
	return r;
}

size_t
sysfs_nfree(const struct linux_pool *lp)
{
	size_t n;

	if (lp->lp_free_fd < 0 || number_read(lp, lp->lp_free_fd, &n) < 0)
		return SIZE_MAX;
	return n;
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

/* Gigantic pages that were free already are left alone. */
static size_t
gigantic_raise(const struct linux_pool *lp, int nr_fd, int demote_fd,
    size_t want)
{
	size_t before;
	size_t after;

	if (number_read(lp, nr_fd, &before) < 0 ||
	    number_write(lp, nr_fd, before + want) < 0 ||
	    number_read(lp, nr_fd, &after) < 0 || after <= before)
		return 0;
	(void)number_write(lp, demote_fd, after - before); /* counted below */
	if (number_read(lp, nr_fd, &want) < 0)
		return 0;
	/* What could not be taken apart goes back. */
	if (want > before)
		(void)number_write(lp, nr_fd, before);
	return after - MAX(want, before);
}

size_t
sysfs_raise_runs(struct linux_pool *lp, size_t nframes)
{
	size_t per = LINUX_GIGANTIC / lp->lp_frame_size;
	size_t n = 0;
	int demote_fd;
	int nr_fd;

	if (lp->lp_frame_size >= LINUX_GIGANTIC)
		return 0;
	nr_fd = hugepages_file(lp, LINUX_GIGANTIC, "nr_hugepages", O_RDWR);
	demote_fd = hugepages_file(lp, LINUX_GIGANTIC, "demote", O_WRONLY);
	if (nr_fd >= 0 && demote_fd >= 0)
		n = per * gigantic_raise(lp, nr_fd, demote_fd,
			      (nframes + per - 1) / per);
	if (nr_fd >= 0)
		(void)lp->lp_sys->close(nr_fd);
	if (demote_fd >= 0)
		(void)lp->lp_sys->close(demote_fd);
	lp->lp_raised += n;
	return n;
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
