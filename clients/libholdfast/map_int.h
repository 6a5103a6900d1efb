/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the files about maps share.
 */

#include "clients/libholdfast/holdfast_int.h"
#include "clients/libholdfast/mirror.h"

struct holdfast_map {
	struct holdfast *h;
	uint64_t id;
	uint64_t min, max;
	uint32_t access; /* HF_MAP_READ, HF_MAP_CHANGE */
	bool mirrored;
	struct hf_mirror mirror;             /* where mirrored */
	bool armed;                          /* an event may come */
	bool watched;                        /* events are wanted */
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

/*
 * Carry out here what the daemon's map holds in [start, end).  Nothing to do
 * where the map is not mirrored.
 */
int hf_map_sync(struct holdfast_map *map, uint64_t start, uint64_t end);
/* Make [start, end) inaccessible here, as far as it lies in the map. */
int hf_map_forget(struct holdfast_map *map, uint64_t start, uint64_t end);
