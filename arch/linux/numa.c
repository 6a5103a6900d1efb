/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <string.h>

#include "arch/linux/linux_int.h"

/* Nodes that a mask of this file can name. */
#define NUMA_NODES 1024
#define NUMA_WORD  (8 * sizeof(unsigned long))

/* "0" has one node; "0-1" or "0,2" have several. */
bool
numa_has_nodes(const struct linux_pool *lp)
{
	char text[64] = "";
	ssize_t n;
	int fd;

	fd = lp->lp_sys->open("/sys/devices/system/node/has_memory",
	    O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = lp->lp_sys->pread(fd, text, sizeof(text) - 1, 0);
	(void)lp->lp_sys->close(fd);
	return n > 0 && strpbrk(text, "-,") != NULL;
}

int
numa_node_of(const struct linux_pool *lp, void *va)
{
	int node = 0;

	if (!lp->lp_numa)
		return 0;
	if (lp->lp_sys->get_mempolicy(&node, va, MPOL_F_NODE | MPOL_F_ADDR) < 0)
		return MAX(lp->lp_node, 0);
	return node;
}

int
numa_bind(const struct linux_pool *lp, int node)
{
	unsigned long mask[NUMA_NODES / NUMA_WORD] = {0};

	if (!lp->lp_numa)
		return 0;
	if (node < 0)
		return lp->lp_sys->set_mempolicy(MPOL_DEFAULT, NULL, 0);
	if (node >= NUMA_NODES)
		return -EINVAL;
	mask[(size_t)node / NUMA_WORD] = 1ul << ((size_t)node % NUMA_WORD);
	return lp->lp_sys->set_mempolicy(MPOL_BIND, mask, NUMA_NODES + 1);
}
