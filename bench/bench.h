/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What every benchmark shares: a clock, samples, and one way to print them.
 *
 * Figures are taken in rounds that alternate between the things compared, so
 * a ratio holds when the machine's speed drifts; the median round is quoted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing set of nanosecond samples.  Zeroed is empty. */
struct bench_samples {
	double *ns;
	size_t n, room;
};

double bench_now_ns(void); /* CLOCK_MONOTONIC */
void bench_add(struct bench_samples *samples, double ns);
void bench_fini(struct bench_samples *samples);

/* The q-th quantile (0 to 1); sorts the samples.  0 where there are none. */
double bench_quantile(struct bench_samples *samples, double q);

/*
 * One line: name, ops/s, p50, p99 in ns and, where `base_ns` is not 0, the
 * ratio of p50 to it and what it is.
 */
void bench_print_header(void);
void bench_print(const char *name, struct bench_samples *samples,
    double base_ns, const char *base_name);

/* Keep this process on one processor; false where that is not to be had. */
bool bench_pin(int cpu);
