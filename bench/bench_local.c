/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Small objects in one process: the span cache over real huge pages from a
 * real holdfastd, beside tcmalloc and DPDK in the same run.  Every contestant
 * is called through the same function pointers.
 *
 *	bench_local --daemon PATH [--quick] [--cpu N]
 *
 * Root and about 600 free huge pages; without DPDK's or tcmalloc's library
 * those rows are missing.
 */

#include <dlfcn.h>
#include <err.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/bench_local.h"
#include "bench/daemon.h"
#include "clients/libholdfast/holdfast.h"
#include "clients/libholdfast/holdfast_cache.h"

#define CONTESTANTS 4
#define PICKS       (1u << 18)
#define BULK        32u
#define RING        1024u

static struct holdfast_cache *cache;
static struct contestant contestants[CONTESTANTS];
static unsigned ncontestants;
static unsigned rounds = 7, pairs = 1u << 20;
static uint32_t pick[PICKS];
static uint16_t size_of[PICKS];

/* ---- Holdfast and tcmalloc ---------------------------------------- */

static void *
cache_alloc(size_t size)
{
	return holdfast_cache_alloc(cache, size);
}

static void
cache_free(void *p)
{
	holdfast_cache_free(cache, p);
}

static bool
cache_get(void **objs, unsigned n)
{
	return holdfast_cache_alloc_bulk(cache, LOCAL_FIXED, objs, n) == n;
}

static void
cache_put(void **objs, unsigned n)
{
	holdfast_cache_free_bulk(cache, LOCAL_FIXED, objs, n);
}

static uint64_t
cache_vtophys(void *p)
{
	return holdfast_cache_vtophys(cache, p);
}

static struct contestant tcmalloc;

static bool
tcmalloc_get(void **objs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((objs[i] = tcmalloc.alloc(LOCAL_FIXED)) == NULL)
			return false;
	return true;
}

static void
tcmalloc_put(void **objs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		tcmalloc.free(objs[i]);
}

static void
enter_all(const char *program)
{
	void *library = dlopen("libtcmalloc_minimal.so.4", RTLD_NOW);

	contestants[ncontestants++] = (struct contestant){.name = "holdfast",
	    .alloc = cache_alloc,
	    .free = cache_free,
	    .get = cache_get,
	    .put = cache_put,
	    .vtophys = cache_vtophys,
	    .vtophys_fixed = cache_vtophys};
	if (library != NULL) {
		tcmalloc = (struct contestant){.name = "tcmalloc",
		    .get = tcmalloc_get,
		    .put = tcmalloc_put};
		*(void **)&tcmalloc.alloc = dlsym(library, "tc_malloc");
		*(void **)&tcmalloc.free = dlsym(library, "tc_free");
		if (tcmalloc.alloc != NULL && tcmalloc.free != NULL)
			contestants[ncontestants++] = tcmalloc;
	} else {
		warnx("no tcmalloc beside it: %s", dlerror());
	}
#ifdef HAVE_DPDK
	ncontestants += dpdk_contestants(program, &contestants[ncontestants]);
#else
	(void)program;
#endif
}

/* ---- Workloads: each returns ns for one pair ------------------------ */

static unsigned
pairs_of(const struct contestant *c)
{
	return c->alloc_rounds != 0 && c->alloc_rounds < pairs ? c->alloc_rounds
							       : pairs;
}

static void *
must(void *p)
{
	if (p == NULL)
		errx(1, "out of memory in the middle of a benchmark");
	return p;
}

static double
lifo(const struct contestant *c, size_t unused)
{
	unsigned n = pairs_of(c);
	double t = bench_now_ns();

	(void)unused;
	if (c->alloc != NULL)
		for (unsigned i = 0; i < n; i++)
			c->free(must(c->alloc(200)));
	else
		for (unsigned i = 0; i < n; i++) {
			void *p;

			if (!c->get(&p, 1))
				errx(1, "%s is empty", c->name);
			c->put(&p, 1);
		}
	return (bench_now_ns() - t) / n;
}

static double
bulk(const struct contestant *c, size_t unused)
{
	void *objs[BULK];
	unsigned n = pairs / BULK;
	double t = bench_now_ns();

	(void)unused;
	for (unsigned i = 0; i < n; i++) {
		if (!c->get(objs, BULK))
			errx(1, "%s is empty", c->name);
		c->put(objs, BULK);
	}
	return (bench_now_ns() - t) / n / BULK;
}

static double
churn(const struct contestant *c, size_t live)
{
	unsigned n = pairs_of(c);
	void **objs = must(calloc(live, sizeof(*objs)));
	double t;

	for (size_t i = 0; i < live; i++)
		objs[i] = must(c->alloc(size_of[i % PICKS]));
	t = bench_now_ns();
	for (unsigned i = 0; i < n; i++) {
		void **p = &objs[pick[i % PICKS] % live];

		c->free(*p);
		*p = must(c->alloc(size_of[i % PICKS]));
	}
	t = (bench_now_ns() - t) / n;
	for (size_t i = 0; i < live; i++)
		c->free(objs[i]);
	free(objs);
	return t;
}

static double
vtophys(const struct contestant *c, size_t live)
{
	uint64_t (*translate)(void *) =
	    c->alloc != NULL ? c->vtophys : c->vtophys_fixed;
	void **objs = must(calloc(live, sizeof(*objs)));
	volatile uint64_t sink = 0;
	double t;

	for (size_t i = 0; i < live; i++)
		if (c->alloc != NULL)
			objs[i] = must(c->alloc(size_of[i % PICKS]));
		else if (!c->get(&objs[i], 1))
			errx(1, "%s is empty", c->name);
	t = bench_now_ns();
	for (unsigned i = 0; i < pairs; i++)
		sink += translate(objs[pick[i % PICKS] % live]);
	t = (bench_now_ns() - t) / pairs;
	for (size_t i = 0; i < live; i++)
		if (c->alloc != NULL)
			c->free(objs[i]);
		else
			c->put(&objs[i], 1);
	free(objs);
	return t;
}

/* One thread allocates, another frees. */
struct ring {
	const struct contestant *c;
	unsigned n;
	void *slot[RING];
	_Alignas(64) unsigned head;
	_Alignas(64) unsigned tail;
};

static void *
other_thread(void *arg)
{
	struct ring *r = arg;

	bench_pin(1);
	for (unsigned i = 0; i < r->n; i++) {
		while (__atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == i)
			;
		r->c->free(r->slot[i % RING]);
		__atomic_store_n(&r->tail, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static double
handover(const struct contestant *c, size_t unused)
{
	static struct ring r;
	pthread_t thread;
	double t;

	(void)unused;
	memset(&r, 0, sizeof(r));
	r.c = c;
	r.n = pairs_of(c);
	if (pthread_create(&thread, NULL, other_thread, &r) != 0)
		errx(1, "no thread");
	t = bench_now_ns();
	for (unsigned i = 0; i < r.n; i++) {
		while (i - __atomic_load_n(&r.tail, __ATOMIC_ACQUIRE) == RING)
			;
		r.slot[i % RING] = must(c->alloc(size_of[i % PICKS]));
		__atomic_store_n(&r.head, i + 1, __ATOMIC_RELEASE);
	}
	(void)pthread_join(thread, NULL);
	return (bench_now_ns() - t) / r.n;
}

static void *
churn_thread(void *arg)
{
	bench_pin(1);
	return churn(arg, 4096) > 0 ? arg : NULL;
}

/* Two threads at once: ns of wall clock for one pair of either. */
static double
two_threads(const struct contestant *c, size_t unused)
{
	pthread_t thread;
	double t = bench_now_ns();

	(void)unused;
	if (pthread_create(&thread, NULL, churn_thread, (void *)c) != 0)
		errx(1, "no thread");
	(void)churn(c, 4096);
	(void)pthread_join(thread, NULL);
	return (bench_now_ns() - t) / pairs_of(c) / 2;
}

static double
one_thread(const struct contestant *c, size_t unused)
{
	double t = bench_now_ns();

	(void)unused;
	(void)churn(c, 4096);
	return (bench_now_ns() - t) / pairs_of(c);
}

/* Up to 64 KiB, page aligned, not crossing 2 MiB, from cached spans. */
static double
contig(const struct contestant *c, size_t live)
{
	size_t largest = live > 10000 ? 4096 : 65536;
	void **objs = must(calloc(live, sizeof(*objs)));
	double t;

	(void)c;
	for (size_t i = 0; i < live; i++)
		objs[i] =
		    must(holdfast_cache_contig(cache, largest, 4096, 2u << 20));
	t = bench_now_ns();
	for (unsigned i = 0; i < pairs; i++) {
		void **p = &objs[pick[i % PICKS] % live];

		holdfast_cache_free(cache, *p);
		*p = must(holdfast_cache_contig(cache,
		    1 + size_of[i % PICKS] * (largest / 4096), 4096, 2u << 20));
	}
	t = (bench_now_ns() - t) / pairs;
	for (size_t i = 0; i < live; i++)
		holdfast_cache_free(cache, objs[i]);
	free(objs);
	(void)holdfast_cache_trim(cache);
	return t;
}

/* ---- Rows ------------------------------------------------------------ */

static const struct workload {
	const char *name;
	double (*run)(const struct contestant *c, size_t live);
	size_t live;
	bool any_size; /* wants alloc() of any size */
	bool bulk;
	bool translates;
	bool ours_only;
} workloads[] = {
    {"LIFO pair", lifo, 0, false, false, false, false},
    {"bulk 32, an object", bulk, 0, false, true, false, false},
    {"random, 4,096 live", churn, 4096, true, false, false, false},
    {"random, 100,000 live", churn, 100000, true, false, false, false},
    {"freed by another thread", handover, 0, true, false, false, false},
    {"one thread", one_thread, 0, true, false, false, false},
    {"two threads, a pair of either", two_threads, 0, true, false, false,
	false},
    {"virtual to physical, 1,000", vtophys, 1000, false, false, true, false},
    {"virtual to physical, 10,000", vtophys, 10000, false, false, true, false},
    {"constrained contiguous, 1,000", contig, 1000, false, false, false, true},
    {"constrained contiguous, 100,000", contig, 100000, false, false, false,
	true},
};

static bool
takes_part(const struct workload *w, const struct contestant *c)
{
	if (w->ours_only)
		return c == &contestants[0];
	if ((w->any_size && c->alloc == NULL) || (w->bulk && c->get == NULL))
		return false;
	if (w->translates && c->alloc == NULL)
		return c->vtophys_fixed != NULL;
	if (w->translates && c->vtophys == NULL)
		return false;
	return c->live_max == 0 || w->live <= c->live_max;
}

static void
run_workload(const struct workload *w)
{
	struct bench_samples samples[CONTESTANTS] = {0};
	double ours;

	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < ncontestants; i++)
			if (takes_part(w, &contestants[i]))
				bench_add(&samples[i],
				    w->run(&contestants[i], w->live));
	ours = bench_quantile(&samples[0], 0.5);
	for (unsigned i = 0; i < ncontestants; i++) {
		double p50 = bench_quantile(&samples[i], 0.5);

		if (samples[i].n > 0) {
			printf("%-32s %-24s %12.0f %9.2f %9.2f", w->name,
			    contestants[i].name, 1e9 / p50, p50,
			    bench_quantile(&samples[i], 0.99));
			if (i > 0)
				printf("  %.3f", ours / p50);
			putchar('\n');
		}
		bench_fini(&samples[i]);
	}
	(void)fflush(stdout);
}

static void
fill_tables(void)
{
	uint64_t x = 88172645463325252ull;

	for (unsigned i = 0; i < PICKS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pick[i] = (uint32_t)(x >> 32);
		size_of[i] = (uint16_t)(64 + x % 1985);
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"daemon", required_argument, NULL, 'd'},
	    {"quick", no_argument, NULL, 'q'},
	    {NULL, 0, NULL, 0},
	};
	struct holdfast_options connect = {.name = "bench_local"};
	struct bench_daemon d;
	const char *program = NULL;
	struct holdfast *h;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'd':
			program = optarg;
			break;
		case 'q':
			rounds = 1;
			pairs = 1u << 15;
			break;
		default:
			return 2;
		}
	if (program == NULL)
		errx(2, "--daemon PATH is wanted");
	bench_daemon_start(&d, program, "linux", "768M");
	connect.socket_path = d.path;
	if (holdfast_connect(&connect, &h) != HF_OK)
		errx(1, "cannot connect to %s", d.path);
	if (holdfast_cache_create(h, NULL, &cache) != HF_OK)
		errx(1, "cache: %s", holdfast_error(h));
	bench_pin(0);
	enter_all(argv[0]);
	fill_tables();
	printf("%-32s %-24s %12s %9s %9s  %s\n", "what", "who", "ops/s",
	    "p50 ns", "p99 ns", "holdfast / this");
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		run_workload(&workloads[i]);
#ifdef HAVE_DPDK
	dpdk_end();
#endif
	holdfast_cache_destroy(cache);
	holdfast_close(h);
	bench_daemon_stop(&d);
	return 0;
}
