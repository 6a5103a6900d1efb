/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who wants to know when a map changes.
 *
 * A watch belongs to one attachment: a session and its number for the map.  It
 * sends at most one event until it is armed again, and keeps in the meantime
 * the smallest range that holds all changes; so a session that does not read
 * costs a few words.  The session that makes a change is not told of it.
 * Loop thread only.  Design: docs/design/server.md.
 */

#include <stdbool.h>
#include <sys/queue.h>

#include "core/vm.h"

struct map;
struct session;

struct watch {
	TAILQ_ENTRY(watch) entry; /* in the map's list */
	struct session *session;  /* borrowed */
	uint64_t id;              /* the session's number for the map */
	bool armed;
	vm_offset_t start, end; /* changed and not told; empty: nothing */
};

TAILQ_HEAD(watch_list, watch);

/*
 * Send an event at the next change, or at once if there was one since the
 * last.  -ENOMEM.
 */
int watch_arm(struct map *map, struct session *session, uint64_t id);
/* Forget it, if there is one. */
void watch_drop(struct map *map, const struct session *session, uint64_t id);
/* [start, end) of the map has changed. */
void watch_changed(struct map *map, vm_offset_t start, vm_offset_t end);
