/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Small objects in one process: the span cache over real huge pages from a
 * real holdfastd, beside tcmalloc and DPDK in the same run.
 *
 *	bench_local --daemon PATH [--quick] [--only TEXT]
 *
 * --only: the rows whose name has that text in it.
 *
 * Root and about 600 free huge pages; without DPDK's or tcmalloc's library
 * those rows are missing.
 */

#include <dlfcn.h>
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench_local_loops.h"
#include "bench/daemon.h"
#include "clients/libholdfast/holdfast.h"
#include "clients/libholdfast/holdfast_cache.h"

#define ENTRANTS 4

unsigned local_pairs = 1u << 20;
uint32_t local_place[PICKS];
uint16_t local_size[PICKS];

static struct holdfast_cache *cache;
static unsigned rounds = 7;
static uint32_t pick[PICKS];

/* ---- Holdfast ------------------------------------------------------- */

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

static const struct contestant ours = {.name = "holdfast",
    .alloc = cache_alloc,
    .free = cache_free,
    .get = cache_get,
    .put = cache_put,
    .vtophys = cache_vtophys};

LOCAL_STAMP_FIXED(ours)
LOCAL_STAMP_VTOPHYS(ours)
LOCAL_STAMP_ANY(ours)

/* Up to 64 KiB, page aligned, not crossing 2 MiB, from cached spans. */
static double
ours_run_contig(size_t live)
{
	size_t largest = live > 10000 ? 4096 : 65536;
	void **objs = must(calloc(live, sizeof(*objs)));
	double t;

	for (size_t i = 0; i < live; i++)
		objs[i] =
		    must(holdfast_cache_contig(cache, largest, 4096, 2u << 20));
	t = bench_now_ns();
	for (unsigned i = 0; i < local_pairs; i++) {
		void **p = &objs[local_place[i % PICKS]];

		holdfast_cache_free(cache, *p);
		*p = must(holdfast_cache_contig(cache,
		    1 + local_size[i % PICKS] * (largest / 4096), 4096,
		    2u << 20));
	}
	t = (bench_now_ns() - t) / local_pairs;
	live_free(&ours, objs, live);
	(void)holdfast_cache_trim(cache);
	return t;
}

/* Up to 1 MiB in a window, so out of the arena each time. */
static double
ours_run_window(size_t live)
{
	void **objs = must(calloc(live, sizeof(*objs)));
	unsigned n = local_pairs / 8;
	uint64_t high = UINT64_C(1) << 52;
	double t;

	for (size_t i = 0; i < live; i++)
		objs[i] = must(holdfast_cache_contigmalloc(cache, 1u << 19, 0,
		    high, 4096, 0));
	t = bench_now_ns();
	for (unsigned i = 0; i < n; i++) {
		void **p = &objs[local_place[i % PICKS]];

		holdfast_cache_free(cache, *p);
		*p = must(holdfast_cache_contigmalloc(cache,
		    local_size[i % PICKS] * 512u, 0, high, 65536, 2u << 20));
	}
	t = (bench_now_ns() - t) / n;
	live_free(&ours, objs, live);
	(void)holdfast_cache_trim(cache);
	return t;
}

static const struct entrant our_entrant = {.c = &ours,
    .run = {[LOOP_LIFO] = ours_run_lifo,
	[LOOP_LIFO_POINTER] = ours_run_lifo_pointer,
	[LOOP_BULK] = ours_run_bulk,
	[LOOP_CHURN] = ours_run_churn,
	[LOOP_HANDOVER] = ours_run_handover,
	[LOOP_ONE_THREAD] = ours_run_one_thread,
	[LOOP_TWO_THREADS] = ours_run_two_threads,
	[LOOP_VTOPHYS] = ours_run_vtophys,
	[LOOP_CONTIG] = ours_run_contig,
	[LOOP_WINDOW] = ours_run_window}};

/* ---- tcmalloc ------------------------------------------------------- */

static void *(*tc_malloc)(size_t size);
static void (*tc_free)(void *p);

static void *
tcmalloc_alloc(size_t size)
{
	return tc_malloc(size);
}

static void
tcmalloc_free(void *p)
{
	tc_free(p);
}

static bool
tcmalloc_get(void **objs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((objs[i] = tc_malloc(LOCAL_FIXED)) == NULL)
			return false;
	return true;
}

static void
tcmalloc_put(void **objs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		tc_free(objs[i]);
}

static const struct contestant tcmalloc = {.name = "tcmalloc",
    .alloc = tcmalloc_alloc,
    .free = tcmalloc_free,
    .get = tcmalloc_get,
    .put = tcmalloc_put};

LOCAL_STAMP_FIXED(tcmalloc)
LOCAL_STAMP_ANY(tcmalloc)

static const struct entrant tcmalloc_entrant = {.c = &tcmalloc,
    .run = {[LOOP_LIFO] = tcmalloc_run_lifo,
	[LOOP_LIFO_POINTER] = tcmalloc_run_lifo_pointer,
	[LOOP_BULK] = tcmalloc_run_bulk,
	[LOOP_CHURN] = tcmalloc_run_churn,
	[LOOP_HANDOVER] = tcmalloc_run_handover,
	[LOOP_ONE_THREAD] = tcmalloc_run_one_thread,
	[LOOP_TWO_THREADS] = tcmalloc_run_two_threads}};

static bool
tcmalloc_load(void)
{
	void *library = dlopen("libtcmalloc_minimal.so.4", RTLD_NOW);

	if (library == NULL) {
		warnx("no tcmalloc beside it: %s", dlerror());
		return false;
	}
	*(void **)&tc_malloc = dlsym(library, "tc_malloc");
	*(void **)&tc_free = dlsym(library, "tc_free");
	return tc_malloc != NULL && tc_free != NULL;
}

/* ---- Rows ------------------------------------------------------------ */

static struct entrant entrants[ENTRANTS];
static unsigned nentrants;

static const struct row {
	const char *name;
	enum local_loop loop;
	size_t live;
} rows[] = {
    {"LIFO pair", LOOP_LIFO, 0},
    {"LIFO pair, through a pointer", LOOP_LIFO_POINTER, 0},
    {"bulk 32, an object", LOOP_BULK, 0},
    {"random, 4,096 live", LOOP_CHURN, 4096},
    {"random, 100,000 live", LOOP_CHURN, 100000},
    {"freed by another thread", LOOP_HANDOVER, 0},
    {"one thread", LOOP_ONE_THREAD, 4096},
    {"two threads, a pair of either", LOOP_TWO_THREADS, 4096},
    {"virtual to physical, 1,000", LOOP_VTOPHYS, 1000},
    {"virtual to physical, 10,000", LOOP_VTOPHYS, 10000},
    {"constrained contiguous, 1,000", LOOP_CONTIG, 1000},
    {"constrained contiguous, 100,000", LOOP_CONTIG, 100000},
    {"in a window, to 1 MiB, 400", LOOP_WINDOW, 400},
};

static void
enter_all(const char *program)
{
	entrants[nentrants++] = our_entrant;
	if (tcmalloc_load())
		entrants[nentrants++] = tcmalloc_entrant;
#ifdef HAVE_DPDK
	nentrants += dpdk_entrants(program, &entrants[nentrants]);
#else
	(void)program;
#endif
}

static bool
takes_part(const struct row *row, const struct entrant *e)
{
	return e->run[row->loop] != NULL &&
	       (e->c->live_max == 0 || row->live <= e->c->live_max);
}

static void
run_row(const struct row *row)
{
	struct bench_samples samples[ENTRANTS] = {0};
	double base;

	if (row->live != 0)
		local_place_among(row->live);
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < nentrants; i++)
			if (takes_part(row, &entrants[i]))
				bench_add(&samples[i],
				    entrants[i].run[row->loop](row->live));
	base = bench_quantile(&samples[0], 0.5);
	for (unsigned i = 0; i < nentrants; i++) {
		double p50 = bench_quantile(&samples[i], 0.5);

		if (samples[i].n > 0) {
			printf("%-32s %-24s %12.0f %9.2f %9.2f", row->name,
			    entrants[i].c->name, 1e9 / p50, p50,
			    bench_quantile(&samples[i], 0.99));
			if (i > 0)
				printf("  %.3f", base / p50);
			putchar('\n');
		}
		bench_fini(&samples[i]);
	}
	(void)fflush(stdout);
}

void
local_place_among(size_t live)
{
	for (unsigned i = 0; i < PICKS; i++)
		local_place[i] = (uint32_t)(pick[i] % live);
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
		local_size[i] = (uint16_t)(64 + x % 1985);
	}
}

static void
run_rows(const char *program, const char *only)
{
	(void)bench_pin(0);
	enter_all(program);
	fill_tables();
	printf("%-32s %-24s %12s %9s %9s  %s\n", "what", "who", "ops/s",
	    "p50 ns", "p99 ns", "holdfast / this");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strstr(rows[i].name, only) != NULL)
			run_row(&rows[i]);
#ifdef HAVE_DPDK
	dpdk_end();
#endif
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"daemon", required_argument, NULL, 'd'},
	    {"only", required_argument, NULL, 'o'},
	    {"quick", no_argument, NULL, 'q'},
	    {NULL, 0, NULL, 0},
	};
	struct holdfast_options connect = {.name = "bench_local"};
	const char *program = NULL, *only = "";
	struct bench_daemon d;
	struct holdfast *h;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'd':
			program = optarg;
			break;
		case 'o':
			only = optarg;
			break;
		case 'q':
			rounds = 1;
			local_pairs = 1u << 15;
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
	run_rows(argv[0], only);
	holdfast_cache_destroy(cache);
	holdfast_close(h);
	bench_daemon_stop(&d);
	return 0;
}
