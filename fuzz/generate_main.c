/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The engine-free generator: swarm programs from a seed, until an oracle
 * speaks or the budget is used up.
 *
 *	generate_TARGET [-s SEED] [-n PROGRAMS] [-t SECONDS] [-o FOLDER]
 *	generate_TARGET -l
 *
 * -n: how many programs (0: no limit); -o: write what was found there; -l: list
 * the rare states that every campaign has to reach, with their bit.
 * Exit: 0 nothing found, 1 a finding, 2 usage.
 */

#include "fuzz/gen.h"
#include "fuzz/target.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_PROGRAM 2048

static double
clock_of(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts); /* cannot fail */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double
now(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

/* $HOLDFAST_SEED, or one that no run had before. */
static uint64_t
first_seed(void)
{
	const char *env = getenv("HOLDFAST_SEED");

	if (env != NULL)
		return strtoull(env, NULL, 0);
	return (uint64_t)(now() * 1e9) ^ (uint64_t)getpid() << 32;
}

struct budget {
	uint64_t seed, nprograms;
	double seconds;
	const char *folder;
};

static int
generate(const struct budget *b)
{
	static uint8_t data[SIZE_MAX_PROGRAM];
	static struct fuzz_report rep;
	uint64_t nops = 0, nchecks = 0, seen = 0, i;
	double start = now(), spent, cpu;
	size_t size;

	for (i = 0; b->nprograms == 0 || i < b->nprograms; i++) {
		if (b->seconds > 0 && i % 64 == 0 && now() - start > b->seconds)
			break;
		size = gen_program(b->seed + i, fuzz_target.ops, data,
		    sizeof(data));
		fuzz_run_watched(data, size, b->folder, &rep);
		fuzz_run_again(data, size, &rep);
		fuzz_count(&rep);
		nops += rep.nops;
		nchecks += rep.nchecks;
		seen |= rep.seen;
		if (!rep.found)
			continue;
		fuzz_print(&rep, data, size);
		fprintf(stderr,
		    "seed 0x%" PRIx64 ", program %" PRIu64 ", %.3f s\n",
		    b->seed + i, i + 1, now() - start);
		if (b->folder != NULL)
			fuzz_save(b->folder, "gen", data, size);
		return 1;
	}
	spent = now() - start;
	cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	printf("%s: %" PRIu64 " programs, %" PRIu64 " operations, %" PRIu64
	       " comparisons in %.2f s: %.0f operations/s (%.0f in a second of "
	       "processor time)\n",
	    fuzz_target.name, i, nops, nchecks, spent, (double)nops / spent,
	    (double)nops / cpu);
	(void)fuzz_print_missed(seen);
	return 0;
}

static int
list_required(void)
{
	for (unsigned i = 0; i < 64; i++)
		if ((fuzz_target.required >> i & 1) != 0)
			printf("%u %s\n", i, fuzz_target.sometimes[i]);
	return 0;
}

int
main(int argc, char **argv)
{
	struct budget b = {.seed = first_seed(), .nprograms = 100000};
	int c;

	while ((c = getopt(argc, argv, "s:n:t:o:l")) != -1) {
		switch (c) {
		case 's':
			b.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			b.nprograms = strtoull(optarg, NULL, 0);
			break;
		case 't':
			b.seconds = strtod(optarg, NULL);
			b.nprograms = 0;
			break;
		case 'o':
			b.folder = optarg;
			break;
		case 'l':
			return list_required();
		default:
			fprintf(stderr,
			    "usage: %s [-l] [-s SEED] [-n PROGRAMS] "
			    "[-t SECONDS] [-o FOLDER]\n",
			    argv[0]);
			return 2;
		}
	}
	printf("%s: seed 0x%" PRIx64 "\n", fuzz_target.name, b.seed);
	return generate(&b);
}
