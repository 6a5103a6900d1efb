/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>

#include "arch/linux/linux_int.h"

/* Nodes that a mask of this file can name. */
#define NUMA_NODES 1024
#define NUMA_WORD  (8 * sizeof(unsigned long))

/* A list such as "0-1,4"; 0: it cannot be read. */
size_t
numa_nodes(const struct linux_pool *lp, int *nodes, size_t max)
{
	char text[256] = "";
	char *at = text;
	size_t count = 0;
	ssize_t n;
	int fd;

	fd = lp->lp_sys->open("/sys/devices/system/node/has_memory",
	    O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = lp->lp_sys->pread(fd, text, sizeof(text) - 1, 0);
	(void)lp->lp_sys->close(fd);
	while (n > 0 && *at >= '0' && *at <= '9') {
		long first = strtol(at, &at, 10);
		long last = *at == '-' ? strtol(at + 1, &at, 10) : first;

		for (long i = first; i <= last && count < max; i++)
			nodes[count++] = (int)i;
		at += *at == ',';
	}
	return count;
}

bool
numa_has_nodes(const struct linux_pool *lp)
{
	int nodes[2];

	return numa_nodes(lp, nodes, 2) > 1;
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
