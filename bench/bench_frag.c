/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How much contiguous memory is left after a long life.
 *
 * 8 GiB are held 50, 80 and 95 % full through many allocations of what
 * drivers ask for.  Now and then buffers of 2, 16, 64 and 256 MiB are asked
 * for, of one size until there is none, and given back: as many as would fit
 * if all that is free lay in one piece are the requests, and what was had of
 * them is the rate of success.  All contestants live through the same seeds.
 * Printed, as a table: that rate, the longest free run on average, and how
 * many of the workload's own requests failed; of the seeds the mean and the
 * range, and what can be said of holdfast beside each of the others: the mean
 * of the differences seed by seed, and whether that is outside of what chance
 * makes of it.
 *
 *	bench_frag [--quick] [--check] [--seed FIRST] [--seeds N] [--ops N]
 *	    [--workload NAME] [--fill PERCENT]
 *
 * With --check the exit status is 1 if another is better: has a higher rate of
 * success over all rows, is ahead in one by more than chance makes of it, or by
 * more than CHECK_SLACK per cent.
 */

#include <err.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/contig_peers.h"

#define CHECK_SLACK 10.0 /* per cent */
#define MEMORY      (UINT64_C(8) << 30)
#define NPROBES     4
#define PROBE_EVERY 2500 /* allocations */

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
	vm_size_t grain; /* of sizes, and of every alignment */
	struct kind kinds[6];
};

#define K(n) (UINT64_C(n) << 10)
#define M(n) (UINT64_C(n) << 20)

static const struct workload workloads[] = {
    {"packets", PEER_PAGE,
	{
	    {"jumbo frames", 600, K(12), K(12), false, 3000},
	    {"mbuf chunks", 280, K(64), M(2), false, 20000},
	    {"descriptor rings", 100, K(4), K(256), true, 60000},
	    {"packet pools", 20, M(2), M(16), false, 100000},
	}},
    {"nvme", PEER_PAGE,
	{
	    {"PRP lists", 500, K(4), K(4), true, 500},
	    {"data buffers", 350, K(4), M(1), false, 8000},
	    {"queues", 100, K(16), K(64), true, 150000},
	    {"host memory buffers", 50, M(1), M(8), false, 80000},
	}},
    {"mixed", PEER_PAGE,
	{
	    {"pages", 300, K(4), K(4), false, 20000},
	    {"small", 400, K(4), K(128), false, 4000},
	    {"medium", 220, K(128), M(2), false, 12000},
	    {"rings", 50, K(4), M(1), true, 200000},
	    {"large", 30, M(2), M(32), false, 30000},
	}},
    {"frames", M(2), /* what a pool of huge pages is asked for */
	{
	    {"frames", 700, M(2), M(2), false, 4000},
	    {"spans", 200, M(4), M(16), false, 8000},
	    {"long spans", 100, M(32), M(64), false, 12000},
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
	uint64_t nfailed, nprobes, nasked[NPROBES], nfound[NPROBES];
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
some_size(struct life *l, const struct kind *kind, vm_size_t grain)
{
	uint64_t octaves = 0, size;

	while (kind->min << octaves < kind->max)
		octaves++;
	size = kind->min << dice(&l->seed) % (octaves + 1);
	if (!kind->natural && size > kind->min)
		size -= dice(&l->seed) % (size / 2);
	return roundup2(MIN(size, kind->max), grain);
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
	vm_size_t size = some_size(l, kind, w->grain);
	uint64_t life = 1 + kind->life / 2 + dice(&l->seed) % kind->life;
	struct contig_req req = {size, 0, MEMORY,
	    kind->natural ? size : w->grain, 0, -1};
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

/* As many of one size as there are; given back the other way round. */
static void
probe_size(struct life *l, vm_size_t grain, unsigned i)
{
	static vm_paddr_t pa[MEMORY / (UINT64_C(2) << 20)];
	struct contig_req req = {probe_sizes[i], 0, MEMORY, grain, 0, -1};
	size_t asked = (size_t)((MEMORY - l->used) / req.size), n = 0;

	while (n < asked && l->ops->alloc(l->peer, &req, &pa[n]))
		n++;
	l->nasked[i] += asked;
	l->nfound[i] += n;
	while (n-- > 0)
		l->ops->free(l->peer, pa[n], req.size);
}

static void
probe(struct life *l, vm_size_t grain)
{
	l->nprobes++;
	l->longest += (double)l->ops->largest(l->peer) / (1 << 20);
	for (unsigned i = 0; i < NPROBES; i++)
		probe_size(l, grain, i);
}

/* What is reported: NPROBES rates, the longest run, requests that failed. */
enum { LONGEST = NPROBES, FAILED, NRESULTS };

#define NPEERS    6
#define SEEDS_MAX 64

struct row {
	double of[NRESULTS][NPEERS][SEEDS_MAX];
};

static const struct peer_ops *const peers[NPEERS] = {&peer_holdfast, &peer_best,
    &peer_first, &peer_tlsf, &peer_vmem, &peer_buddy};

static void
run(const struct workload *w, unsigned percent, const struct peer_ops *ops,
    uint64_t seed, uint64_t nops, double result[NRESULTS])
{
	struct life l = {.ops = ops, .seed = seed};
	double nprobes;

	l.peer = ops->create(0, MEMORY);
	while (l.now < nops) {
		live_on(&l, w, percent);
		/* The first third only brings it to its age. */
		if (l.now > nops / 3 && l.now % PROBE_EVERY == 0)
			probe(&l, w->grain);
		else if (l.now == nops / 3)
			l.nfailed = 0;
	}
	nprobes = (double)MAX(l.nprobes, UINT64_C(1));
	for (unsigned i = 0; i < NPROBES; i++)
		result[i] = 100 * (double)l.nfound[i] /
			    (double)MAX(l.nasked[i], UINT64_C(1));
	result[LONGEST] = l.longest / nprobes;
	result[FAILED] = 100 * (double)l.nfailed / (double)(nops - nops / 3);
	ops->destroy(l.peer);
	free(l.heap);
}

/* ---- What the seeds say ------------------------------------------------- */

struct spread {
	double mean, min, max;
	double error; /* of the mean: what 95 of 100 such means are within */
};

/* Student's factor for `n` values: 1.96 for very many. */
static double
student(unsigned n)
{
	static const double few[] = {0, 0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45,
	    2.36, 2.31, 2.26};

	return n < nitems(few) ? few[n] : 1.96 + 2.7 / (n - 1);
}

static struct spread
spread_of(const double *of, unsigned n)
{
	struct spread s = {.min = of[0], .max = of[0]};
	double squares = 0;

	for (unsigned i = 0; i < n; i++) {
		s.mean += of[i] / n;
		s.min = fmin(s.min, of[i]);
		s.max = fmax(s.max, of[i]);
	}
	for (unsigned i = 0; i < n; i++)
		squares += (of[i] - s.mean) * (of[i] - s.mean);
	s.error = n > 1 ? student(n) * sqrt(squares / (n - 1) / n) : 0;
	return s;
}

enum verdict { BETTER, EQUAL, TIE, BEHIND, NVERDICTS };

static const char *const verdicts[NVERDICTS] = {"better", "equal", "tie",
    "behind"};

/* How much better ours are, seed by seed. */
static enum verdict
compare(const struct row *row, unsigned result, unsigned peer, unsigned n,
    struct spread *s)
{
	double better[SEEDS_MAX] = {0}, sign = result == FAILED ? -1 : 1;

	for (unsigned i = 0; i < n; i++)
		better[i] =
		    sign * (row->of[result][0][i] - row->of[result][peer][i]);
	*s = spread_of(better, n);
	if (s->min == 0 && s->max == 0)
		return EQUAL;
	/* One seed says nothing. */
	if (n == 1 || fabs(s->mean) <= s->error)
		return TIE;
	return s->mean > 0 ? BETTER : BEHIND;
}

static void
print_spread(const struct spread *s, int digits)
{
	if (s->min == s->max)
		printf(" %.*f |", digits, s->mean);
	else
		printf(" %.*f (%.*f\xe2\x80\x93%.*f) |", digits, s->mean,
		    digits, s->min, digits, s->max);
}

/* One line of the table; the worst verdict is what is told. */
static enum verdict
print_result(const struct row *row, const char *name, unsigned percent,
    unsigned result, unsigned n)
{
	static const char *const names[NRESULTS] = {"2 MiB", "16 MiB", "64 MiB",
	    "256 MiB", "longest, MiB", "requests failed"};
	enum verdict worst = BETTER;
	struct spread s, of = {0};
	unsigned by = 0;

	printf("| %s, %u %%, %s |", name, percent, names[result]);
	for (unsigned p = 0; p < NPEERS; p++) {
		s = spread_of(row->of[result][p], n);
		print_spread(&s, result == FAILED ? 2 : 1);
	}
	for (unsigned p = 1; p < NPEERS; p++) {
		enum verdict verdict = compare(row, result, p, n, &s);

		if (verdict > worst ||
		    (verdict == worst && (by == 0 || s.mean < of.mean))) {
			worst = verdict;
			of = s;
			by = p;
		}
	}
	if (worst == EQUAL)
		printf(" %s |\n", verdicts[worst]);
	else
		printf(" %s: %s %+.2f \xc2\xb1 %.2f |\n", verdicts[worst],
		    peers[by]->name, of.mean, of.error);
	return worst;
}

struct options {
	uint64_t seed, nops;
	unsigned nseeds, fill;
	const char *workload;
	bool check;
};

/* Over all rows with probes. */
struct tally {
	unsigned verdicts[NVERDICTS], nrows;
	double rate[NPEERS]; /* sums */
	double behind;       /* per cent, at most so far */
};

static void
tally_row(struct tally *tally, const struct row *row, unsigned nseeds)
{
	for (unsigned r = 0; r < NPROBES; r++, tally->nrows++) {
		double ours = spread_of(row->of[r][0], nseeds).mean;

		for (unsigned p = 0; p < NPEERS; p++) {
			double rate = spread_of(row->of[r][p], nseeds).mean;

			tally->rate[p] += rate;
			tally->behind = fmax(tally->behind, rate - ours);
		}
	}
}

/* 1: another is better. */
static int
tally_print(const struct tally *tally)
{
	bool first = true;

	printf("| all with probes |");
	for (unsigned p = 0; p < NPEERS; p++) {
		printf(" %.1f |", tally->rate[p] / tally->nrows);
		first = first && tally->rate[p] <= tally->rate[0];
	}
	printf(" behind by %.1f at most |\n\nof the rows with probes:",
	    tally->behind);
	for (unsigned v = 0; v < NVERDICTS; v++)
		printf(" %u %s%s", tally->verdicts[v], verdicts[v],
		    v + 1 < NVERDICTS ? "," : "\n");
	return !first || tally->verdicts[BEHIND] > 0 ||
	       tally->behind > CHECK_SLACK;
}

static void
run_row(const struct options *o, const struct workload *w, unsigned fill,
    struct tally *tally)
{
	static struct row row;
	double result[NRESULTS];

	for (unsigned p = 0; p < NPEERS; p++)
		for (unsigned i = 0; i < o->nseeds; i++) {
			run(w, fill, peers[p], o->seed + i, o->nops, result);
			for (unsigned r = 0; r < NRESULTS; r++)
				row.of[r][p][i] = result[r];
		}
	for (unsigned r = 0; r < NRESULTS; r++)
		tally->verdicts[print_result(&row, w->name, fill, r,
		    o->nseeds)] += r < NPROBES;
	tally_row(tally, &row, o->nseeds);
	(void)fflush(stdout);
}

static int
options_read(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
	    {"quick", no_argument, NULL, 'q'},
	    {"check", no_argument, NULL, 'c'},
	    {"seed", required_argument, NULL, 's'},
	    {"seeds", required_argument, NULL, 'n'},
	    {"ops", required_argument, NULL, 'o'},
	    {"workload", required_argument, NULL, 'w'},
	    {"fill", required_argument, NULL, 'f'},
	    {NULL, 0, NULL, 0},
	};

	*o = (struct options){.seed = 1, .nops = 250000, .nseeds = 10};
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		if (c == 'q')
			o->nops = 60000, o->nseeds = 2;
		else if (c == 'c')
			o->check = true;
		else if (c == 's')
			o->seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			o->nseeds = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'o')
			o->nops = strtoull(optarg, NULL, 0);
		else if (c == 'w')
			o->workload = optarg;
		else if (c == 'f')
			o->fill = (unsigned)strtoul(optarg, NULL, 0);
		else
			return -1;
	return o->nseeds > 0 && o->nseeds <= SEEDS_MAX ? 0 : -1;
}

int
main(int argc, char **argv)
{
	static const unsigned fills[] = {50, 80, 95};
	struct tally tally = {0};
	struct options o;
	int rv;

	if (options_read(&o, argc, argv) < 0)
		errx(2,
		    "usage: bench_frag [--quick] [--check] [--seed FIRST] "
		    "[--seeds 1..%d] [--ops N] [--workload NAME] "
		    "[--fill 50|80|95]",
		    SEEDS_MAX);
	printf("8 GiB, %llu allocations, seeds %llu to %llu; of the requests "
	       "that would fit in one piece, %%: mean (range)\n\n| |",
	    (unsigned long long)o.nops, (unsigned long long)o.seed,
	    (unsigned long long)o.seed + o.nseeds - 1);
	for (unsigned p = 0; p < NPEERS; p++)
		printf(" %s |", peers[p]->name);
	printf(" holdfast beside the strongest of the others |\n|");
	for (unsigned p = 0; p < NPEERS + 2; p++)
		printf("---|");
	printf("\n");
	for (unsigned i = 0; i < nitems(workloads); i++)
		for (unsigned f = 0; f < nitems(fills); f++)
			if ((o.workload == NULL ||
				strcmp(o.workload, workloads[i].name) == 0) &&
			    (o.fill == 0 || o.fill == fills[f]))
				run_row(&o, &workloads[i], fills[f], &tally);
	if (tally.nrows == 0)
		errx(2, "there is no such workload or filling");
	rv = tally_print(&tally);
	return o.check ? rv : 0;
}
