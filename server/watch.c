/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/map.h"
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

int
watch_arm(struct map *map, struct session *session, uint64_t id)
{
	struct watch *watch = watch_find(map, session, id);

	if (watch == NULL) {
		watch = calloc(1, sizeof(*watch));
		if (watch == NULL)
			return -ENOMEM;
		watch->session = session;
		watch->id = id;
		TAILQ_INSERT_TAIL(&map->watches, watch, entry);
	}
	watch->armed = true;
	watch_fire(watch);
	return 0;
}

void
watch_drop(struct map *map, const struct session *session, uint64_t id)
{
	struct watch *watch = watch_find(map, session, id);

	if (watch == NULL)
		return;
	TAILQ_REMOVE(&map->watches, watch, entry);
	free(watch);
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
