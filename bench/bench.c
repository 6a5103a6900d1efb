/* SPDX-License-Identifier: BSD-2-Clause */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/bench.h"

double
bench_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void
bench_add(struct bench_samples *samples, double ns)
{
	if (samples->n == samples->room) {
		samples->room = samples->room != 0 ? samples->room * 2 : 1024;
		samples->ns =
		    realloc(samples->ns, samples->room * sizeof(*samples->ns));
		if (samples->ns == NULL) {
			perror("bench");
			exit(1);
		}
	}
	samples->ns[samples->n++] = ns;
}

void
bench_fini(struct bench_samples *samples)
{
	free(samples->ns);
	*samples = (struct bench_samples){0};
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_quantile(struct bench_samples *samples, double q)
{
	if (samples->n == 0)
		return 0;
	qsort(samples->ns, samples->n, sizeof(*samples->ns), compare);
	return samples->ns[(size_t)(q * (double)(samples->n - 1))];
}

void
bench_print_header(void)
{
	printf("%-34s %12s %10s %10s  %s\n", "what", "ops/s", "p50 ns",
	    "p99 ns", "ratio");
}

void
bench_print(const char *name, struct bench_samples *samples, double base_ns,
    const char *base_name)
{
	double p50 = bench_quantile(samples, 0.5);

	printf("%-34s %12.0f %10.0f %10.0f", name, p50 > 0 ? 1e9 / p50 : 0, p50,
	    bench_quantile(samples, 0.99));
	if (base_ns > 0)
		printf("  %.2f x %s", p50 / base_ns, base_name);
	putchar('\n');
	(void)fflush(stdout);
}

bool
bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}
