/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the files about maps share.
 */

#include <pthread.h>

#include "clients/libholdfast/holdfast_int.h"
#include "clients/libholdfast/mirror.h"

struct hf_service;

struct holdfast_map {
	struct holdfast *h;
	uint64_t id;
	uint64_t min, max;
	uint32_t access; /* HF_MAP_READ, HF_MAP_CHANGE */
	bool faults;     /* the daemon's map was made to be mirrored */
	bool mirrored;
	struct hf_mirror mirror;     /* where mirrored; under the lock */
	pthread_mutex_t lock;        /* recursive; see map_fault.c */
	struct hf_service *service;  /* resolves faults, or NULL */
	struct holdfast_map *serves; /* of a service's handle: whose mirror */
	bool armed;                  /* an event may come */
	bool watched;                /* events are wanted */
	uint64_t changed_start, changed_end; /* by others, not carried out */
	struct holdfast_map *next;
};

/* One packet's worth of entries, checked. */
struct hf_entries {
	Holdfast__V1__Entry **entries; /* until the next exchange */
	size_t n;
	uint64_t next;     /* go on from here; 0: that was all */
	struct hf_fds fds; /* of `entries`; the caller closes them */
};

/*
 * Ask for the entries that reach into [from, end).
 * -EPROTO: they are out of order, outside the map, or lead nowhere.
 */
int hf_map_entries_page(struct holdfast_map *map, uint64_t from, uint64_t end,
    bool want_fds, struct hf_entries *page);

/* The same, counted (holdfast_map_entries_counted()). */
int hf_map_entries_ask(struct holdfast_map *map, uint64_t from, uint64_t end,
    bool want_fds, bool want_counts, struct hf_entries *page);

/*
 * Whose mirror it is: its own, or that of the map that it serves.  While the
 * lock is held nobody else asks the daemon what to map and maps it, so what is
 * newer is never replaced by what is older.
 */
struct holdfast_map *hf_map_shown(struct holdfast_map *map);
void hf_map_lock(struct holdfast_map *map);
void hf_map_unlock(struct holdfast_map *map);

/*
 * Carry out one page of entries, which speaks for [start, end).  Locked.
 */
int hf_map_apply(struct holdfast_map *map, const struct hf_entries *page,
    uint64_t start, uint64_t end);
/* -EPROTO: they cannot be in the map. */
int hf_map_check_entries(struct holdfast_map *map, uint64_t from,
    const struct hf_entries *page);

/* Have the frames of [start, end) now; it is only a wish. */
void hf_map_populate(struct holdfast_map *map, uint64_t start, uint64_t end);
/*
 * Have what may be written in [start, end), and is still to be copied for it,
 * copied now.  As holdfast_map_fault().
 */
int hf_map_copy_now(struct holdfast_map *map, uint64_t start, uint64_t end);

/* Stop resolving faults in the map; none is under way afterwards. */
void hf_service_stop(struct holdfast_map *map);

/* map.c: a handle for what the daemon has answered. */
int hf_map_new(struct holdfast *h, const Holdfast__V1__MapResult *res,
    bool mirror, struct holdfast_map **mapp);

/*
 * Carry out here what the daemon's map holds in [start, end).  Nothing to do
 * where the map is not mirrored.
 */
int hf_map_sync(struct holdfast_map *map, uint64_t start, uint64_t end);
/* Make [start, end) inaccessible here, as far as it lies in the map. */
int hf_map_forget(struct holdfast_map *map, uint64_t start, uint64_t end);
