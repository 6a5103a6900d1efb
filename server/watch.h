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

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "core/vm.h"

struct map;
struct session;

struct watch {
	TAILQ_ENTRY(watch) entry; /* in the map's list */
	struct session *session;  /* borrowed */
	uint64_t id;              /* the session's number for the map */
	bool armed;
	vm_offset_t start, end; /* changed and not told; empty: nothing */
	bool mirrors;           /* barriers wait for its process */
	bool serves; /* it resolves faults for another of the process */
	uint64_t sent, acked; /* barriers that it was told of, has done */
	/* What it is to be told when it has acked what was sent. */
	uint64_t next;
	vm_offset_t next_start, next_end;
	bool next_write_protect;
};

TAILQ_HEAD(watch_list, watch);

/*
 * A change that has to be seen by every process that mirrors the map before
 * something goes on.  One event at a time is on its way to a session, so one
 * that does not answer costs a few words; after a time it is ended.
 */
struct barrier {
	TAILQ_ENTRY(barrier) entry; /* in the map's list */
	struct map *map;
	uint64_t number; /* that the sessions ack */
	pid_t pid;       /* this process need not: it made the change */
	struct session *actor;
	struct event *timer;
	/* Called from the loop, once, when it is out of the list. */
	void (*done)(struct barrier *barrier);
};

TAILQ_HEAD(barrier_list, barrier);

/*
 * Send an event at the next change, or at once if there was one since the
 * last.  -ENOMEM.
 */
int watch_arm(struct map *map, struct session *session, uint64_t id);
/*
 * Barriers wait for the process of this attachment from now on; `serves`: even
 * for changes that another session of the process makes.  -ENOMEM.
 */
int watch_mirror(struct map *map, struct session *session, uint64_t id,
    bool serves);
/* It has carried out everything up to that number. */
void watch_ack(struct map *map, struct session *session, uint64_t id,
    uint64_t number);

/* Prepare one, with `done` set.  -ENOMEM.  fini: zeroed is fine. */
int barrier_init(struct barrier *barrier, struct map *map,
    struct session *actor);
void barrier_fini(struct barrier *barrier);
/*
 * [start, end) has changed; `write_protect`: it is enough if nothing of it can
 * be written.  false: there is nobody to wait for, and `done` is not called.
 */
bool barrier_begin(struct barrier *barrier, vm_offset_t start, vm_offset_t end,
    bool write_protect);
/* Is there a process but the actor's that mirrors the map? */
bool watch_has_others(const struct map *map, const struct session *actor);
/* The map is gone: nothing waits any longer. */
void watch_end_barriers(struct map *map);

/* Forget it, if there is one. */
void watch_drop(struct map *map, const struct session *session, uint64_t id);
/* [start, end) of the map has changed. */
void watch_changed(struct map *map, vm_offset_t start, vm_offset_t end);
