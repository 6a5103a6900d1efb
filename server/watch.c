/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/map.h"
#include "server/memory.h"
#include "server/session.h"
#include "server/watch.h"

static struct watch *
watch_find(struct map *map, const struct session *session, uint64_t id)
{
	struct watch *watch;

	TAILQ_FOREACH (watch, &map->watches, entry) {
		if (watch->session == session && watch->id == id)
			return watch;
	}
	return NULL;
}

static void barriers_poke(struct map *map);

/* Tell what there is to tell, if it is wanted now. */
static void
watch_fire(struct watch *watch)
{
	vm_offset_t start = watch->start, end = watch->end;

	if (!watch->armed || start >= end)
		return;
	watch->armed = false;
	watch->start = watch->end = 0;
	session_send_event(watch->session, watch->id, start, end);
}

/* The watch of an attachment, made if need be.  NULL: no memory. */
static struct watch *
watch_get(struct map *map, struct session *session, uint64_t id)
{
	struct watch *watch = watch_find(map, session, id);

	if (watch != NULL)
		return watch;
	watch = memory_calloc(1, sizeof(*watch));
	if (watch == NULL)
		return NULL;
	watch->session = session;
	watch->id = id;
	watch->sent = watch->acked = map->last_ack;
	TAILQ_INSERT_TAIL(&map->watches, watch, entry);
	return watch;
}

int
watch_arm(struct map *map, struct session *session, uint64_t id)
{
	struct watch *watch = watch_get(map, session, id);

	if (watch == NULL)
		return -ENOMEM;
	watch->armed = true;
	watch_fire(watch);
	return 0;
}

/* ---- Barriers ---------------------------------------------------- */

/* Is it one whose memory shows what the barrier's actor changed? */
static bool
barrier_concerns(const struct barrier *barrier, const struct watch *watch)
{
	const struct session *session = watch->session;

	if (!watch->mirrors || session == barrier->actor)
		return false;
	return watch->serves || barrier->pid == 0 ||
	       session->pid != barrier->pid;
}

/* Has it, or another session of its process, carried the change out? */
static bool
barrier_is_acked(const struct barrier *barrier, const struct watch *watch)
{
	const struct watch *other;

	if (watch->acked >= barrier->number)
		return true;
	TAILQ_FOREACH (other, &barrier->map->watches, entry) {
		if (other->acked >= barrier->number && other->mirrors &&
		    other->session->pid == watch->session->pid &&
		    watch->session->pid != 0)
			return true;
	}
	return false;
}

static bool
barrier_is_done(const struct barrier *barrier)
{
	const struct watch *watch;

	if (barrier->map->vm == NULL)
		return true;
	TAILQ_FOREACH (watch, &barrier->map->watches, entry) {
		if (barrier_concerns(barrier, watch) &&
		    !barrier_is_acked(barrier, watch))
			return false;
	}
	return true;
}

/* Have those that are done end in the loop: here others are in the middle. */
static void
barriers_poke(struct map *map)
{
	struct barrier *barrier;

	TAILQ_FOREACH (barrier, &map->barriers, entry) {
		if (barrier_is_done(barrier))
			event_active(barrier->timer, EV_TIMEOUT, 0);
	}
}

/* Send what waits to be told, if everything sent has been acked. */
static void
watch_tell(struct watch *watch)
{
	if (watch->next == 0 || watch->acked < watch->sent)
		return;
	watch->sent = watch->next;
	watch->next = 0;
	session_send_change(watch->session, watch->id, watch->next_start,
	    watch->next_end, watch->sent, watch->next_write_protect);
}

static void
watch_add(struct watch *watch, const struct barrier *barrier, vm_offset_t start,
    vm_offset_t end, bool write_protect)
{
	bool first = watch->next == 0;

	watch->next = barrier->number;
	watch->next_start = first ? start : MIN(start, watch->next_start);
	watch->next_end = first ? end : MAX(end, watch->next_end);
	watch->next_write_protect =
	    write_protect && (first || watch->next_write_protect);
	watch_tell(watch);
}

/* It is done, or has waited long enough. */
static void
barrier_fired(evutil_socket_t fd, short what, void *arg)
{
	struct barrier *barrier = arg;
	struct watch *watch;

	(void)fd;
	(void)what;
	if (barrier_is_done(barrier)) {
		TAILQ_REMOVE(&barrier->map->barriers, barrier, entry);
		(void)event_del(barrier->timer);
		barrier->done(barrier);
		return;
	}
	TAILQ_FOREACH (watch, &barrier->map->watches, entry) {
		if (barrier_concerns(barrier, watch) &&
		    !barrier_is_acked(barrier, watch))
			session_doom(watch->session, "no_ack");
	}
}

bool
watch_has_others(const struct map *map, const struct session *actor)
{
	const struct barrier barrier = {
	    .actor = (struct session *)(uintptr_t)actor, /* only compared */
	    .pid = actor->pid,
	};
	const struct watch *watch;

	TAILQ_FOREACH (watch, &map->watches, entry) {
		if (barrier_concerns(&barrier, watch))
			return true;
	}
	return false;
}

int
barrier_init(struct barrier *barrier, struct map *map, struct session *actor)
{
	barrier->map = map;
	barrier->actor = actor;
	barrier->pid = actor->pid;
	barrier->timer =
	    evtimer_new(actor->server->base, barrier_fired, barrier);
	return barrier->timer == NULL ? -ENOMEM : 0;
}

void
barrier_fini(struct barrier *barrier)
{
	if (barrier->timer != NULL)
		event_free(take_ptr(barrier->timer));
}

bool
barrier_begin(struct barrier *barrier, vm_offset_t start, vm_offset_t end,
    bool write_protect)
{
	unsigned ms = barrier->actor->server->options.ack_timeout_ms;
	struct timeval tv = {
	    .tv_sec = ms / 1000,
	    .tv_usec = (suseconds_t)(ms % 1000) * 1000,
	};
	struct map *map = barrier->map;
	struct watch *watch;

	MPASS(start < end);
	barrier->number = ++map->last_ack;
	TAILQ_FOREACH (watch, &map->watches, entry) {
		if (barrier_concerns(barrier, watch))
			watch_add(watch, barrier, start, end, write_protect);
	}
	if (barrier_is_done(barrier))
		return false;
	TAILQ_INSERT_TAIL(&map->barriers, barrier, entry);
	if (evtimer_add(barrier->timer, &tv) < 0)
		event_active(barrier->timer, EV_TIMEOUT, 0); /* no patience */
	return true;
}

void
watch_ack(struct map *map, struct session *session, uint64_t id,
    uint64_t number)
{
	struct watch *watch = watch_find(map, session, id);

	/* What was not sent cannot have been done. */
	if (watch == NULL || number > watch->sent || number <= watch->acked)
		return;
	watch->acked = number;
	watch_tell(watch);
	barriers_poke(map);
}

void
watch_end_barriers(struct map *map)
{
	struct barrier *barrier;

	TAILQ_FOREACH (barrier, &map->barriers, entry)
		event_active(barrier->timer, EV_TIMEOUT, 0);
}

void
watch_drop(struct map *map, const struct session *session, uint64_t id)
{
	struct watch *watch = watch_find(map, session, id);

	if (watch == NULL)
		return;
	TAILQ_REMOVE(&map->watches, watch, entry);
	free(watch);
	barriers_poke(map);
}

int
watch_mirror(struct map *map, struct session *session, uint64_t id, bool serves)
{
	struct watch *watch = watch_get(map, session, id);

	if (watch == NULL)
		return -ENOMEM;
	watch->mirrors = true;
	watch->serves = serves;
	watch->sent = watch->acked = map->last_ack;
	return 0;
}

void
watch_changed(struct map *map, vm_offset_t start, vm_offset_t end)
{
	struct watch *watch;

	MPASS(start < end);
	TAILQ_FOREACH (watch, &map->watches, entry) {
		if (watch->session->server->acting == watch->session)
			continue;
		if (watch->start >= watch->end) {
			watch->start = start;
			watch->end = end;
		}
		watch->start = start < watch->start ? start : watch->start;
		watch->end = end > watch->end ? end : watch->end;
		watch_fire(watch);
	}
}
