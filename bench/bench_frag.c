/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How much contiguous memory is left after a long life.
 *
 * 8 GiB are held 50, 80 and 95 % full through a million allocations of what
 * drivers ask for.  Every thousand of them it is tried whether a buffer of 2,
 * 16, 64 and 256 MiB could be had.  Printed: how often it could, the longest
 * free run on average, and how many of the requests themselves failed.
 *
 *	bench_frag [--quick] [--seed N]
 */

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/contig_peers.h"

#define MEMORY  (UINT64_C(8) << 30)
#define NPROBES 4

static const vm_size_t probe_sizes[NPROBES] = {
    UINT64_C(2) << 20,
    UINT64_C(16) << 20,
    UINT64_C(64) << 20,
    UINT64_C(256) << 20,
};

/* Something drivers ask for. */
struct kind {
	const char *name;
	unsigned weight;    /* of a thousand */
	vm_size_t min, max; /* bytes; spread evenly over powers of two */
	bool natural;       /* a power of two, aligned to its size */
	uint64_t life;      /* mean, in allocations */
};

struct workload {
	const char *name;
	struct kind kinds[6];
};

#define K(n) (UINT64_C(n) << 10)
#define M(n) (UINT64_C(n) << 20)

static const struct workload workloads[] = {
    {"packets",
	{
	    {"jumbo frames", 600, K(12), K(12), false, 3000},
	    {"mbuf chunks", 280, K(64), M(2), false, 20000},
	    {"descriptor rings", 100, K(4), K(256), true, 60000},
	    {"packet pools", 20, M(2), M(16), false, 100000},
	}},
    {"nvme",
	{
	    {"PRP lists", 500, K(4), K(4), true, 500},
	    {"data buffers", 350, K(4), M(1), false, 8000},
	    {"queues", 100, K(16), K(64), true, 150000},
	    {"host memory buffers", 50, M(1), M(8), false, 80000},
	}},
    {"mixed",
	{
	    {"pages", 300, K(4), K(4), false, 20000},
	    {"small", 400, K(4), K(128), false, 4000},
	    {"medium", 220, K(128), M(2), false, 12000},
	    {"rings", 50, K(4), M(1), true, 200000},
	    {"large", 30, M(2), M(32), false, 30000},
	}},
};

struct live {
	uint64_t death; /* number of the allocation before which it goes */
	vm_paddr_t pa;
	vm_size_t size;
};

struct life {
	const struct peer_ops *ops;
	void *peer;
	uint64_t seed, now;
	vm_size_t used;
	struct live *heap; /* soonest death first */
	size_t n, room;
	uint64_t nfailed, nprobes, nfound[NPROBES];
	double longest; /* MiB, sum over the probes */
};

static uint64_t
dice(uint64_t *seed)
{
	uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void
heap_push(struct life *l, struct live item)
{
	size_t i = l->n++;

	if (l->n > l->room) {
		l->room = MAX(2 * l->room, (size_t)4096);
		l->heap = realloc(l->heap, l->room * sizeof(*l->heap));
		if (l->heap == NULL)
			err(1, "realloc");
	}
	for (; i > 0 && l->heap[(i - 1) / 2].death > item.death;
	     i = (i - 1) / 2)
		l->heap[i] = l->heap[(i - 1) / 2];
	l->heap[i] = item;
}

static struct live
heap_pop(struct life *l)
{
	struct live top = l->heap[0], last = l->heap[--l->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < l->n) {
		if (child + 1 < l->n &&
		    l->heap[child + 1].death < l->heap[child].death)
			child++;
		if (last.death <= l->heap[child].death)
			break;
		l->heap[i] = l->heap[child];
		i = child;
	}
	l->heap[i] = last;
	return top;
}

static const struct kind *
some_kind(struct life *l, const struct workload *w)
{
	uint64_t at = dice(&l->seed) % 1000;
	const struct kind *kind = w->kinds;

	for (; at >= kind->weight; kind++)
		at -= kind->weight;
	return kind;
}

static vm_size_t
some_size(struct life *l, const struct kind *kind)
{
	uint64_t octaves = 0, size;

	while (kind->min << octaves < kind->max)
		octaves++;
	size = kind->min << dice(&l->seed) % (octaves + 1);
	if (!kind->natural && size > kind->min)
		size -= dice(&l->seed) % (size / 2);
	return roundup2(MIN(size, kind->max), PEER_PAGE);
}

static void
let_go(struct life *l)
{
	struct live item = heap_pop(l);

	l->ops->free(l->peer, item.pa, item.size);
	l->used -= item.size;
}

/* One allocation; what has lived its life goes before, and, where there is no
 * room, what would have died soonest. */
static void
live_on(struct life *l, const struct workload *w, unsigned percent)
{
	const struct kind *kind = some_kind(l, w);
	vm_size_t size = some_size(l, kind);
	uint64_t life = 1 + kind->life / 2 + dice(&l->seed) % kind->life;
	struct contig_req req = {size, 0, MEMORY,
	    kind->natural ? size : PEER_PAGE, 0, -1};
	vm_paddr_t pa;

	l->now++;
	while (l->n > 0 && (l->heap[0].death <= l->now ||
			       l->used + size > MEMORY / 100 * percent))
		let_go(l);
	if (!l->ops->alloc(l->peer, &req, &pa)) {
		l->nfailed++;
		return;
	}
	l->used += size;
	heap_push(l, (struct live){l->now + life, pa, size});
}

static void
probe(struct life *l)
{
	l->nprobes++;
	l->longest += (double)l->ops->largest(l->peer) / (1 << 20);
	for (unsigned i = 0; i < NPROBES; i++) {
		struct contig_req req = {probe_sizes[i], 0, MEMORY, PEER_PAGE,
		    0, -1};
		vm_paddr_t pa;

		if (!l->ops->alloc(l->peer, &req, &pa))
			continue;
		l->nfound[i]++;
		l->ops->free(l->peer, pa, req.size);
	}
}

static void
run(const struct workload *w, unsigned percent, const struct peer_ops *ops,
    uint64_t seed, uint64_t nops)
{
	struct life l = {.ops = ops, .seed = seed};

	l.peer = ops->create(0, MEMORY);
	while (l.now < nops) {
		live_on(&l, w, percent);
		/* The first third only brings it to its age. */
		if (l.now > nops / 3 && l.now % 1000 == 0)
			probe(&l);
		else if (l.now == nops / 3)
			l.nfailed = 0;
	}
	printf("  %-9s", ops->name);
	for (unsigned i = 0; i < NPROBES; i++)
		printf(" %6.1f", 100.0 * (double)l.nfound[i] /
				     (double)MAX(l.nprobes, UINT64_C(1)));
	printf("  %8.1f  %7.3f %%\n",
	    l.longest / (double)MAX(l.nprobes, UINT64_C(1)),
	    100.0 * (double)l.nfailed / (double)(nops - nops / 3));
	ops->destroy(l.peer);
	free(l.heap);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"quick", no_argument, NULL, 'q'},
	    {"seed", required_argument, NULL, 's'},
	    {NULL, 0, NULL, 0},
	};
	static const struct peer_ops *const peers[] = {&peer_holdfast,
	    &peer_best, &peer_first, &peer_tlsf, &peer_vmem, &peer_buddy};
	static const unsigned fills[] = {50, 80, 95};
	uint64_t seed = 1, nops = 1000000;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'q')
			nops = 60000;
		else if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	printf("8 GiB, %llu allocations; %% of probes that found\n",
	    (unsigned long long)nops);
	for (unsigned i = 0; i < nitems(workloads); i++)
		for (unsigned f = 0; f < nitems(fills); f++) {
			printf("%s, %u %% full\n  %-9s %6s %6s %6s %6s  %8s  "
			       "%s\n",
			    workloads[i].name, fills[f], "", "2M", "16M", "64M",
			    "256M", "longest", "requests failed");
			for (unsigned p = 0; p < nitems(peers); p++)
				run(&workloads[i], fills[f], peers[p], seed,
				    nops);
		}
	return 0;
}
