/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A fault or a fork that may have to wait: its turn, until superpages are
 * copied, until the other processes have let go of what they showed.
 *
 *	queued --> run --+--> copying --> run
 *	                 +--> barrier --> run (fault), reply (fork)
 *	                 +--> reply
 *
 * Those of one map take turns, so that none resolves a page while another
 * process may still show the one before.  Loop thread only.
 * Design: docs/design/map_fork.md.
 */

#include "proto/limits.h"
#include "server/map.h"
#include "server/worker.h"

struct call;
struct server;

struct slow {
	TAILQ_ENTRY(slow) entry; /* in the map's queue */
	struct job job;
	struct barrier barrier;
	struct call *call; /* NULL: the session is gone */
	struct server *server;
	struct map *map; /* one attachment is ours */
	uint64_t id;     /* the session's number for it */
	bool is_fork;
	bool queued, passed; /* in the queue; through the barrier */
	/* A fault. */
	vm_offset_t addr;
	vm_prot_t access;
	/* It copies superpages. */
	struct object *copy; /* one reference */
	vm_object_t source;  /* one reference */
	uint64_t source_offset;
	int copied; /* 0, -errno */
	/* A fork. */
	char name[HOLDFAST_NAME_MAX + 1];
	unsigned mode;
	uint64_t group;
	struct map *child; /* one attachment */
};

/* Go on with it, or with its refusal in the call. */
void slow_run(struct slow *slow);
void slow_refused(struct slow *slow);

/* It is not wanted any more: give up what it waits for.  false: too late. */
bool slow_stop_super(struct slow *slow);

/*
 * map_fault_super.c: give the map a copy of the superpage at slow->addr, and
 * go on.
 */
void slow_copy_super(struct slow *slow);
