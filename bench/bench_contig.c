/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a constrained contiguous allocation costs, and how often it fails.
 *
 * Memory of each size is filled to 75 %, then every step makes one request and
 * gives back as much as it got, at random.  Sizes are spread evenly over the
 * powers of two from 4 KiB to 2 MiB.  Of ten requests six are plain, two are
 * aligned (up to 2 MiB), one must lie in the lowest sixteenth of memory, and
 * one in a random eighth of it.  All contestants see the same dice, and take
 * turns.
 *
 *	bench_contig [--quick] [--seed N] [--memory GIB] [--only NAME]
 *	    [--steps N]
 *
 * --steps: so many in a round, whatever they cost: for counting instructions.
 */

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "bench/contig_peers.h"

#define FILL_PERCENT 75
#define NROUNDS      5

enum kind { PLAIN, ALIGNED, LOW, WINDOW, NKINDS };

static const char *const kind_names[] = {"plain", "aligned", "low", "window"};

struct live {
	vm_paddr_t pa;
	vm_size_t size;
};

struct options {
	uint64_t seed;
	bool quick;
	uint64_t memory;  /* GiB; 0: each of the usual sizes */
	const char *only; /* one contestant; NULL: those that can keep up */
	unsigned nsteps;  /* in a round; 0: so that it takes its time */
};

/* One contestant with its memory. */
struct contest {
	const struct peer_ops *ops;
	void *peer;
	vm_size_t memory, used;
	struct live *live;
	size_t nlive, room;
	uint64_t seed;
	uint64_t nasked[NKINDS], nfailed[NKINDS];
	struct bench_samples means, steps; /* ns: of a round, of a step */
};

static uint64_t
dice(uint64_t *seed)
{
	uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static vm_size_t
some_size(uint64_t *seed)
{
	uint64_t most = UINT64_C(1) << dice(seed) % 10;

	/* From just above the power of two below, to it: 1 to 512 pages. */
	return (most / 2 + 1 + dice(seed) % MAX(most / 2, 1)) * PEER_PAGE;
}

static enum kind
some_request(struct contest *c, struct contig_req *req)
{
	uint64_t tenth = dice(&c->seed) % 10, at = dice(&c->seed);

	*req = (struct contig_req){
	    .size = some_size(&c->seed),
	    .high = UINT64_MAX,
	    .alignment = PEER_PAGE,
	    .domain = -1,
	};
	if (tenth < 6)
		return PLAIN;
	if (tenth < 8) {
		req->alignment = PEER_PAGE << at % 10;
		return ALIGNED;
	}
	if (tenth == 8) {
		req->high = c->memory / 16;
		return LOW;
	}
	req->low = rounddown2(at % (c->memory / 8 * 7), PEER_PAGE);
	req->high = req->low + c->memory / 8;
	return WINDOW;
}

static void
keep(struct contest *c, vm_paddr_t pa, vm_size_t size)
{
	if (c->nlive == c->room) {
		c->room = MAX(c->room * 2, (size_t)1024);
		c->live = realloc(c->live, c->room * sizeof(*c->live));
		if (c->live == NULL)
			err(1, "realloc");
	}
	c->live[c->nlive++] = (struct live){pa, size};
	c->used += size;
}

static void
drop(struct contest *c)
{
	struct live *live = &c->live[dice(&c->seed) % c->nlive];

	c->ops->free(c->peer, live->pa, live->size);
	c->used -= live->size;
	*live = c->live[--c->nlive];
}

static void
step(struct contest *c)
{
	struct contig_req req;
	enum kind kind = some_request(c, &req);
	vm_paddr_t pa;

	c->nasked[kind]++;
	if (c->ops->alloc(c->peer, &req, &pa))
		keep(c, pa, req.size);
	else
		c->nfailed[kind]++;
	while (c->used > c->memory / 100 * FILL_PERCENT)
		drop(c);
}

static void
contest_open(struct contest *c, const struct peer_ops *ops, vm_size_t memory,
    uint64_t seed)
{
	*c = (struct contest){.ops = ops, .memory = memory, .seed = seed};
	c->peer = ops->create(0, memory);
	while (c->used < memory / 100 * (FILL_PERCENT - 1))
		step(c);
	/* Until what was laid down at first has been replaced. */
	for (size_t i = c->nlive; i-- > 0;)
		step(c);
	memset(c->nasked, 0, sizeof(c->nasked));
	memset(c->nfailed, 0, sizeof(c->nfailed));
}

static void
contest_close(struct contest *c)
{
	c->ops->destroy(c->peer);
	free(c->live);
	bench_fini(&c->means);
	bench_fini(&c->steps);
}

/* Processor time: neighbours on this machine do not count. */
static double
cpu_now_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0)
		err(1, "clock_gettime");
	return 1e9 * (double)ts.tv_sec + (double)ts.tv_nsec;
}

/* The dice themselves and the books cost some ns; they count for everybody. */
static void
contest_round(struct contest *c, unsigned nsteps)
{
	double start = cpu_now_ns();

	for (unsigned i = 0; i < nsteps; i++)
		step(c);
	bench_add(&c->means, (cpu_now_ns() - start) / nsteps);
	for (unsigned i = 0; i < nsteps / 4; i++) {
		start = bench_now_ns();
		step(c);
		bench_add(&c->steps, bench_now_ns() - start);
	}
}

static double
percent(uint64_t part, uint64_t of)
{
	return of != 0 ? 100 * (double)part / (double)of : 0;
}

static void
contest_print(struct contest *c, double base_ns)
{
	double ns = bench_quantile(&c->means, 0.5);
	uint64_t nasked = 0, nfailed = 0;

	for (unsigned k = 0; k < NKINDS; k++) {
		nasked += c->nasked[k];
		nfailed += c->nfailed[k];
	}
	printf("  %-10s %9.0f ops/s %8.0f ns  p50 %7.0f  p99 %8.0f  "
	       "fails %5.2f %% (",
	    c->ops->name, 1e9 / ns, ns, bench_quantile(&c->steps, 0.5),
	    bench_quantile(&c->steps, 0.99), percent(nfailed, nasked));
	for (unsigned k = 0; k < NKINDS; k++)
		printf("%s%s %.2f", k > 0 ? ", " : "", kind_names[k],
		    percent(c->nfailed[k], c->nasked[k]));
	printf(")  x %.3f\n", ns / base_ns);
}

/* Steps in a round: slow contestants get fewer. */
static unsigned
steps_for(struct contest *c, bool quick)
{
	double start = bench_now_ns(), ns;
	unsigned n = 0;

	do {
		step(c);
		n++;
		ns = (bench_now_ns() - start) / n;
	} while (n < 1000 && ns * n < 50e6);
	return (unsigned)MIN(MAX((quick ? 20e6 : 200e6) / ns, 100), 200000);
}

static void
run(vm_size_t memory, const struct peer_ops *const *peers, unsigned npeers,
    const struct options *o)
{
	struct contest contests[8];
	unsigned nsteps[8];
	double base_ns = 0;

	printf("%llu GiB, %d %% full\n", (unsigned long long)(memory >> 30),
	    FILL_PERCENT);
	for (unsigned i = 0; i < npeers; i++) {
		contest_open(&contests[i], peers[i], memory, o->seed);
		nsteps[i] = o->nsteps != 0 ? o->nsteps
					   : steps_for(&contests[i], o->quick);
	}
	for (unsigned r = 0; r < NROUNDS; r++)
		for (unsigned i = 0; i < npeers; i++)
			contest_round(&contests[i], nsteps[i]);
	for (unsigned i = 0; i < npeers; i++)
		if (peers[i] == &peer_vmem)
			base_ns = bench_quantile(&contests[i].means, 0.5);
	if (base_ns == 0)
		base_ns = bench_quantile(&contests[0].means, 0.5);
	for (unsigned i = 0; i < npeers; i++) {
		contest_print(&contests[i], base_ns);
		contest_close(&contests[i]);
	}
}

static const struct peer_ops *const all_peers[] = {&peer_holdfast, &peer_vmem,
    &peer_bitmap};

static void
run_some(const struct options *o, uint64_t gib, unsigned npeers)
{
	const struct peer_ops *peers[nitems(all_peers)];
	unsigned n = 0;

	for (unsigned i = 0; i < nitems(all_peers); i++)
		if (o->only != NULL ? strcmp(o->only, all_peers[i]->name) == 0
				    : i < npeers)
			peers[n++] = all_peers[i];
	if (n == 0)
		errx(2, "nobody is called %s", o->only);
	run(gib << 30, peers, n, o);
}

static int
options_read(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
	    {"quick", no_argument, NULL, 'q'},
	    {"seed", required_argument, NULL, 's'},
	    {"memory", required_argument, NULL, 'm'},
	    {"only", required_argument, NULL, 'o'},
	    {"steps", required_argument, NULL, 'n'},
	    {NULL, 0, NULL, 0},
	};

	*o = (struct options){.seed = 1};
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		if (c == 'q')
			o->quick = true;
		else if (c == 's')
			o->seed = strtoull(optarg, NULL, 0);
		else if (c == 'm')
			o->memory = strtoull(optarg, NULL, 0);
		else if (c == 'o')
			o->only = optarg;
		else if (c == 'n')
			o->nsteps = (unsigned)strtoul(optarg, NULL, 0);
		else
			return -1;
	return 0;
}

int
main(int argc, char **argv)
{
	struct options o;

	if (options_read(&o, argc, argv) < 0)
		errx(2, "usage: bench_contig [--quick] [--seed N] "
			"[--memory GIB] [--only holdfast|vmem|bitmap] "
			"[--steps N]");
	(void)bench_pin(1); /* or not; the figures only get noisier */
	printf("one request and as much given back, ns; x: ratio to vmem\n");
	if (o.memory != 0) {
		run_some(&o, o.memory, 2);
		return 0;
	}
	run_some(&o, 1, 3);
	run_some(&o, 16, o.quick ? 2 : 3);
	if (o.quick)
		return 0;
	run_some(&o, 256, 2);
	run_some(&o, 1024, 1);
	return 0;
}
