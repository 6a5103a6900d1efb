/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A linked list with raw pointers, shared by two processes.
 *
 *	demo_list write NAME GATE [SOCKET]   make map NAME, a region in it on
 *	                                     a 2 MiB boundary, a list in that;
 *	                                     keep it until the gate opens
 *	demo_list read NAME [SOCKET]         attach to NAME and walk the list
 *
 * Both see the region at the same address, so a pointer means the same.
 */

#include <inttypes.h>
#include <string.h>

#include "clients/examples/example.h"

#define REGION (UINT64_C(4) << 20)
#define NODES  1000u

struct node {
	struct node *next;
	uint64_t value;
};

struct head {
	struct node *first;
	uint64_t pid; /* of the writer */
};

/* Nodes are put all over the region, in an order that is not theirs. */
static struct node *
node_at(uint64_t start, uint64_t i)
{
	uint64_t slots = (REGION - 4096) / 4096;

	return (struct node *)(start + 4096 + i * 389 % slots * 4096);
}

static void
write_list(uint64_t start)
{
	struct head *head = (struct head *)start;
	struct node **link = &head->first;

	for (uint64_t i = 0; i < NODES; i++) {
		struct node *node = node_at(start, i);

		node->value = i * i;
		node->next = NULL;
		*link = node;
		link = &node->next;
	}
	head->pid = (uint64_t)getpid();
}

static uint64_t
sum_expected(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < NODES; i++)
		sum += i * i;
	return sum;
}

static int
writer(const char *name, const char *gate, const char *socket_path)
{
	struct holdfast_map_options options = {.name = name};
	struct holdfast_map_args args = {.length = REGION,
	    .find_space = HF_VMFS_SUPER_SPACE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW};
	struct holdfast *h = must_connect(socket_path);
	struct holdfast_map *map;
	uint64_t addr = 0;

	must(h,
	    holdfast_object_create(h, HF_OBJECT_SUPER, REGION, &args.object),
	    "object");
	must(h, holdfast_map_create(h, &options, &map), "map create");
	must(h, holdfast_map_find(map, &args, &addr), "vm_map_find");
	printf("   process %d: vm_map_find(\"%s\", 4M, VMFS_SUPER_SPACE) = "
	       "%#" PRIx64 "\n"
	       "     it writes %u nodes there, linked by plain pointers\n",
	    (int)getpid(), name, addr, NODES);
	if (addr % (2 << 20) != 0)
		errx(1, "%#" PRIx64 " is no multiple of 2 MiB", addr);
	write_list(addr);
	fflush(stdout);
	wait_at(gate);
	must(h, holdfast_map_destroy(map), "map destroy");
	must(h, holdfast_object_destroy(h, args.object), "object destroy");
	holdfast_close(h);
	return 0;
}

static int
walk(const struct holdfast_entry *entry)
{
	const struct head *head = (const struct head *)entry->start;
	const struct node *node = head->first;
	uint64_t n = 0, sum = 0;

	printf("   process %d: finds the entry %#" PRIx64 "-%#" PRIx64
	       ", written by process %" PRIu64 "\n",
	    (int)getpid(), entry->start, entry->end, head->pid);
	for (; node != NULL && n < NODES; node = node->next, n++)
		sum += node->value;
	printf("     it follows the pointers: %" PRIu64 " nodes from %p, the "
	       "squares add up to %" PRIu64 "\n",
	    n, (const void *)head->first, sum);
	if (n != NODES || node != NULL || sum != sum_expected() ||
	    head->pid == (uint64_t)getpid()) {
		printf("     NOT the list that was written\n");
		return 1;
	}
	return 0;
}

static int
reader(const char *name, const char *socket_path)
{
	struct holdfast_map_options options = {.name = name};
	struct holdfast *h = must_connect(socket_path);
	struct holdfast_entry *entries;
	struct holdfast_map *map;
	size_t n;
	int r;

	must(h, holdfast_map_attach(h, &options, &map), "map attach");
	must(h, holdfast_map_entries(map, &entries, &n), "entries");
	if (n != 1)
		errx(1, "%zu entries instead of one", n);
	r = walk(&entries[0]);
	free(entries);
	must(h, holdfast_map_detach(map), "map detach");
	holdfast_close(h);
	return r;
}

int
main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "write") == 0)
		return writer(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
	if (argc >= 3 && strcmp(argv[1], "read") == 0)
		return reader(argv[2], argc > 3 ? argv[3] : NULL);
	errx(2, "usage: demo_list write NAME GATE [SOCKET] | "
		"read NAME [SOCKET]");
}
