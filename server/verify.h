/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Reading every frame of every live span again, and of every ready one.
 *
 * A pass goes through the pool's list of spans in slices, each of them a job
 * for a worker, and holds a span only while a slice of it is read.  Spans that
 * are made during the pass are not looked at.  What it finds is recorded
 * against the tenant, taints the span, and holders of bad memory are told.
 * Loop thread only, but for span_count().  Design: docs/design/verify.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct arch;
struct arch_span;
struct server;
struct span;
struct verify;

TAILQ_HEAD(verify_list, verify);

/* The memory somewhere went bad: find out where. */
void verify_memory_failure(struct server *server);

/*
 * Frames of a span that are not where they were, and frames whose memory is
 * bad.  Any thread that has the span.  -errno: it cannot be read.
 */
int span_count(const struct arch *arch, struct arch_span *frames, size_t n,
    size_t *nbadp, size_t *npoisonedp);
