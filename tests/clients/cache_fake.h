/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * An invented source of spans for the span cache: ordinary memfds with
 * invented addresses, that can run short, fail, and want memory back.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "clients/libholdfast/cache_int.h"

#define PA_BASE (UINT64_C(0x7) << 32)

struct source {
	atomic_uint live, imports; /* spans */
	unsigned limit;            /* of live; 0: none */
	uint64_t largest;          /* bytes that are to be had; 0: any */
	bool no_pa;
	uint64_t next_low; /* of windows: where the next span lies, at least */
	unsigned fail_nth; /* import, from 1; 0: none */
	bool listens;      /* somebody may ask */
	bool asks_in_import;
	atomic_bool asked;
	atomic_uint looks, answers, ended;
	int fd; /* an eventfd, where set; readable while asked */
};

/* A cache over it, which ends the test if it is not to be had. */
struct holdfast_cache *fake_cache(struct source *s, uint64_t span_size,
    uint64_t max_bytes);
/* The same with all that can be said; what cache_create_over() returns. */
int fake_cache_create(struct source *s,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep);
/* An object that carries its own pattern, so that overlaps show; or none. */
struct fake_object {
	unsigned char *p, mark;
	uint64_t size;
};
void fake_object_mark(struct fake_object *object, void *p, uint64_t size,
    unsigned char mark);
/* Look at it and free it; false: there was none. */
bool fake_object_free(struct holdfast_cache *cache, struct fake_object *object);

/* Want memory back. */
void fake_ask(struct source *s);
