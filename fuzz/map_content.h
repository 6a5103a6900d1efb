/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a reader of each page of each map has to find there.
 *
 * The naive model of contents knows nothing of objects that shadow each
 * other.  Each page of a map shows a cell; mappings that share memory show the
 * same cell; a private copy is a cell of its own that shows another one until
 * it is written to.  Only maps of a few hundred pages are followed.
 */

#include "fuzz/map_mirror.h"

#define CONTENT_PAGES 1024 /* with a larger map nothing is followed */

struct content;

struct content *content_create(struct map_mirror *m);
void content_destroy(struct content *c);

/* Is the map that the operation makes small enough? */
bool content_follows(const struct content *c, const struct hf_call *call);

/* Before the mirror follows an operation, and after it has, with success. */
void content_before(struct content *c, const struct hf_call *call);
void content_after(struct content *c, const struct hf_call *call,
    const struct hf_result *res);

/* A touch that succeeded: was the right thing there?  false: reported. */
bool content_touch(struct content *c, const struct hf_call *call,
    const struct hf_result *res, struct fuzz_report *rep);
