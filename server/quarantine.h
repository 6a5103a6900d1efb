/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Buffers that a device may still be writing to after their owner is gone.
 *
 * A buffer asked for with `device` that its session left behind is not freed:
 * it is held here, with its span, its pin and its charges, until its time is up
 * or an operator releases it.  Whoever frees such a buffer himself says that
 * his device is quiet.  Loop thread only.  Design: docs/design/quarantine.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct buffer;
struct event;
struct event_base;

struct quarantine_options {
	uint64_t hold_ms; /* 0: until it is released */
};

/* In each buffer. */
struct quarantined {
	TAILQ_ENTRY(quarantined) entry;
	struct buffer *buffer;
	uint64_t id;
	uint64_t since_ms, until_ms; /* until 0: for ever */
};

struct quarantine {
	struct quarantine_options options;
	uint64_t (*now_ms)(void); /* tests have clocks of their own */
	TAILQ_HEAD(quarantine_list, quarantined) held; /* by id */
	size_t n;
	size_t nframes; /* in their spans */
	uint64_t last_id;
	struct event *timer;
	bool stopped;
};

/* -errno. */
int quarantine_init(struct quarantine *quarantine, struct event_base *base,
    const struct quarantine_options *options);
/* Nothing may be held.  Zeroed memory is fine. */
void quarantine_fini(struct quarantine *quarantine);

/* Its session is gone: hold the buffer, or free it. */
void quarantine_bury(struct quarantine *quarantine, struct buffer *buffer);

/* Free those whose time is up. */
void quarantine_expire(struct quarantine *quarantine);
/* Free that one.  false: there is none of that number. */
bool quarantine_release(struct quarantine *quarantine, uint64_t id);
/* Free all; returns how many. */
size_t quarantine_release_all(struct quarantine *quarantine);
/* The daemon ends: free all, hold nothing any more. */
void quarantine_stop(struct quarantine *quarantine);

/* Frames in spans that are held, wholly or in part. */
size_t quarantine_nframes(const struct quarantine *quarantine);
