/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/linux/linux_int.h"

/*
 * The kernel checks who may write these files when they are opened, so a
 * descriptor opened as root still raises nr_hugepages after the process has
 * become somebody else (measured on Linux 6.18; the file in /proc/sys does not
 * allow that).  So everything that growing may need is opened at the start.
 *
 * What was raised is kept for each node, because it has to be lowered there:
 * the kernel lets go of free pages only, and of any node's.
 */

/* The file of one node, or (-1) of the whole host. */
static int
hugepages_file(const struct linux_pool *lp, int node, vm_size_t frame_size,
    const char *file, int flags)
{
	unsigned long kib = frame_size >> 10;
	char path[128];

	if (node < 0)
		(void)snprintf(path, sizeof(path),
		    "/sys/kernel/mm/hugepages/hugepages-%lukB/%s", kib, file);
	else
		(void)snprintf(path, sizeof(path),
		    "/sys/devices/system/node/node%d/hugepages/"
		    "hugepages-%lukB/%s",
		    node, kib, file);
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

/* ---- Opening ----------------------------------------------------- */

static void
node_close(const struct linux_pool *lp, struct linux_node *node)
{
	int fds[] = {node->nr_fd, node->free_fd, node->big_fd, node->demote_fd};

	for (size_t i = 0; i < nitems(fds); i++)
		if (fds[i] >= 0)
			(void)lp->lp_sys->close(fds[i]);
}

static int
node_open(struct linux_pool *lp, int id)
{
	struct linux_node *node = &lp->lp_nodes[lp->lp_nnodes];
	vm_size_t size = lp->lp_frame_size;
	int fd;

	*node = (struct linux_node){id, -1, -1, -1, -1, false, 0};
	fd = hugepages_file(lp, id, size, "nr_hugepages", O_RDWR);
	node->writable = fd >= 0;
	if (fd == -EACCES || fd == -EPERM || fd == -EROFS)
		fd = hugepages_file(lp, id, size, "nr_hugepages", O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? -ENOTSUP : fd;
	node->nr_fd = fd;
	lp->lp_nnodes++;
	node->free_fd =
	    hugepages_file(lp, id, size, "free_hugepages", O_RDONLY);
	if (node->free_fd < 0)
		return node->free_fd;
	if (size >= LINUX_GIGANTIC)
		return 0;
	/* Without them runs are shorter. */
	node->big_fd =
	    hugepages_file(lp, id, LINUX_GIGANTIC, "nr_hugepages", O_RDWR);
	node->demote_fd =
	    hugepages_file(lp, id, LINUX_GIGANTIC, "demote", O_WRONLY);
	return 0;
}

int
sysfs_open(struct linux_pool *lp)
{
	int nodes[LINUX_NODES];
	size_t n = 0;
	int r;

	if (lp->lp_node < 0 && lp->lp_numa)
		n = numa_nodes(lp, nodes, LINUX_NODES);
	if (n == 0)
		nodes[n++] = lp->lp_node;
	for (size_t i = 0; i < n; i++) {
		r = node_open(lp, nodes[i]);
		if (r < 0)
			return r;
	}
	lp->lp_may_write_nr = lp->lp_nodes[0].writable;
	/* Without it turns are longer. */
	lp->lp_free_fd = hugepages_file(lp, lp->lp_node, lp->lp_frame_size,
	    "free_hugepages", O_RDONLY);
	return 0;
}

void
sysfs_close(struct linux_pool *lp)
{
	for (size_t i = 0; i < lp->lp_nnodes; i++)
		node_close(lp, &lp->lp_nodes[i]);
	lp->lp_nnodes = 0;
	if (lp->lp_free_fd >= 0)
		(void)lp->lp_sys->close(lp->lp_free_fd);
}

/* ---- Reading ----------------------------------------------------- */

/* Does the record stand for that node? */
static bool
node_is(const struct linux_node *node, int id)
{
	return id < 0 || node->id < 0 || node->id == id;
}

static size_t
nodes_that_are(const struct linux_pool *lp, int id)
{
	size_t n = 0;

	for (size_t i = 0; i < lp->lp_nnodes; i++)
		n += node_is(&lp->lp_nodes[i], id);
	return n;
}

bool
sysfs_has_node(const struct linux_pool *lp, int id)
{
	return nodes_that_are(lp, id) > 0;
}

uint64_t
sysfs_nodes(const struct linux_pool *lp)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < lp->lp_nnodes; i++)
		if (lp->lp_nodes[i].id < 64)
			mask |= UINT64_C(1) << MAX(lp->lp_nodes[i].id, 0);
	return mask;
}

int
sysfs_free(const struct linux_pool *lp, int id, size_t *np)
{
	size_t sum = 0;
	size_t n;
	int r;

	for (size_t i = 0; i < lp->lp_nnodes; i++) {
		if (!node_is(&lp->lp_nodes[i], id))
			continue;
		r = number_read(lp, lp->lp_nodes[i].free_fd, &n);
		if (r < 0)
			return r;
		sum += n;
	}
	*np = sum;
	return 0;
}

size_t
sysfs_nfree(const struct linux_pool *lp)
{
	size_t n;

	if (lp->lp_free_fd < 0 || number_read(lp, lp->lp_free_fd, &n) < 0)
		return SIZE_MAX;
	return n;
}

ssize_t
sysfs_raised(const struct linux_pool *lp)
{
	ssize_t sum = 0;

	for (size_t i = 0; i < lp->lp_nnodes; i++)
		sum += lp->lp_nodes[i].raised;
	return sum;
}

/* ---- Raising ----------------------------------------------------- */

/* Returns how many came, or -errno. */
static ssize_t
node_raise(const struct linux_pool *lp, struct linux_node *node, size_t n)
{
	size_t before;
	size_t after;
	int r;

	if (n == 0)
		return 0;
	r = number_read(lp, node->nr_fd, &before);
	if (r < 0)
		return r;
	r = number_write(lp, node->nr_fd, before + n);
	if (number_read(lp, node->nr_fd, &after) < 0 || after <= before)
		return r;
	node->raised += (ssize_t)(after - before);
	return (ssize_t)(after - before);
}

/*
 * `n` more in gigantic pages that are taken apart.  Gigantic pages that were
 * there already are left alone.
 */
static ssize_t
node_raise_runs(const struct linux_pool *lp, struct linux_node *node, size_t n)
{
	size_t per = LINUX_GIGANTIC / lp->lp_frame_size;
	size_t before;
	size_t after;
	size_t left;

	if (node->big_fd < 0 || node->demote_fd < 0 || n == 0 ||
	    number_read(lp, node->big_fd, &before) < 0 ||
	    number_write(lp, node->big_fd, before + (n + per - 1) / per) < 0 ||
	    number_read(lp, node->big_fd, &after) < 0 || after <= before)
		return 0;
	(void)number_write(lp, node->demote_fd,
	    after - before); /* counted below */
	if (number_read(lp, node->big_fd, &left) < 0)
		return 0;
	/* What could not be taken apart goes back. */
	if (left > before)
		(void)number_write(lp, node->big_fd, before);
	n = per * (after - MAX(left, before));
	node->raised += (ssize_t)n;
	return (ssize_t)n;
}

/*
 * `n` more on the nodes that are `id`: an equal part on each first, then what
 * some of them could not give on the others.  Returns how many came, or -errno
 * where none did.
 */
static ssize_t
nodes_raise(struct linux_pool *lp, int id, size_t n,
    ssize_t (
	*raise)(const struct linux_pool *lp, struct linux_node *node, size_t n))
{
	size_t nnodes = nodes_that_are(lp, id);
	size_t left = n;
	ssize_t r = 0;

	for (size_t k = 0; k < 2 * nnodes && left > 0; k++) {
		size_t i = k % lp->lp_nnodes;
		size_t parts = k < nnodes ? nnodes - k : 1;
		ssize_t came;

		if (nnodes == 1)
			for (i = 0; !node_is(&lp->lp_nodes[i], id); i++)
				continue;
		came = raise(lp, &lp->lp_nodes[i], (left + parts - 1) / parts);
		if (came < 0)
			r = came;
		else
			left -= MIN((size_t)came, left);
		if (nnodes == 1)
			break;
	}
	return left < n ? (ssize_t)(n - left) : r;
}

int
sysfs_raise(struct linux_pool *lp, int id, size_t nframes)
{
	size_t nfree;
	ssize_t n;
	int r;

	r = sysfs_free(lp, id, &nfree);
	if (r < 0 || nfree >= nframes)
		return r;
	n = nodes_raise(lp, id, nframes - nfree, node_raise);
	return n < 0 ? (int)n : 0;
}

size_t
sysfs_raise_runs(struct linux_pool *lp, int id, size_t nframes)
{
	ssize_t before = sysfs_raised(lp);

	(void)nodes_raise(lp, id, nframes, node_raise_runs); /* counted */
	return (size_t)(sysfs_raised(lp) - before);
}

bool
sysfs_take_apart(struct linux_pool *lp, struct linux_pool *big, int id)
{
	size_t i = 0;
	size_t k = 0;

	while (i < lp->lp_nnodes && !node_is(&lp->lp_nodes[i], id))
		i++;
	while (k < big->lp_nnodes && !node_is(&big->lp_nodes[k], id))
		k++;
	if (i == lp->lp_nnodes || k == big->lp_nnodes ||
	    lp->lp_nodes[i].demote_fd < 0 ||
	    number_write(lp, lp->lp_nodes[i].demote_fd, 1) < 0)
		return false;
	lp->lp_nodes[i].raised +=
	    (ssize_t)(big->lp_frame_size / lp->lp_frame_size);
	big->lp_nodes[k].raised--;
	return true;
}

/* ---- Lowering ---------------------------------------------------- */

static void
node_lower(const struct linux_pool *lp, struct linux_node *node, size_t n)
{
	size_t now;

	if (n == 0 || number_read(lp, node->nr_fd, &now) < 0)
		return;
	if (number_write(lp, node->nr_fd, now - MIN(n, now)) == 0)
		node->raised -= (ssize_t)n;
}

void
sysfs_lower(struct linux_pool *lp, int id, size_t n)
{
	for (size_t i = 0; i < lp->lp_nnodes && n > 0; i++) {
		struct linux_node *node = &lp->lp_nodes[i];
		size_t some = n;
		size_t nfree;

		if (!node_is(node, id) || node->raised <= 0)
			continue;
		some = MIN(some, (size_t)node->raised);
		/* Of several nodes, where the free ones are. */
		if (lp->lp_nnodes > 1 &&
		    number_read(lp, node->free_fd, &nfree) == 0)
			some = MIN(some, nfree);
		node_lower(lp, node, some);
		n -= some;
	}
}

void
sysfs_restore(struct linux_pool *lp)
{
	for (size_t i = 0; i < lp->lp_nnodes; i++) {
		struct linux_node *node = &lp->lp_nodes[i];
		size_t now;

		if (node->raised > 0)
			node_lower(lp, node, (size_t)node->raised);
		else if (node->raised < 0 &&
			 number_read(lp, node->nr_fd, &now) == 0)
			(void)number_write(lp, node->nr_fd,
			    now + (size_t)-node->raised); /* best effort */
		node->raised = 0;
	}
}
