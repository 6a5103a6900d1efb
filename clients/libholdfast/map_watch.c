/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What others change in a map.
 *
 * The daemon sends one event a map and then waits to be asked again.  We ask
 * before we look, so a change while we look is told again and none is missed.
 */

#include <errno.h>

#include "clients/libholdfast/map_int.h"

static struct holdfast_map *
map_by_id(struct holdfast *h, uint64_t id)
{
	struct holdfast_map *map = h->maps;

	while (map != NULL && map->id != id)
		map = map->next;
	return map;
}

int
hf_map_event(struct holdfast *h, const Holdfast__V1__Event *event)
{
	struct holdfast_map *map = map_by_id(h, event->map);

	if (map == NULL && h->events_stray > 0) {
		h->events_stray--; /* sent before it knew that we let go */
		return 0;
	}
	if (map == NULL || !map->armed || event->start >= event->end)
		return hf_mistrust(h, "the daemon sent an event that nobody "
				      "waits for");
	map->armed = false;
	if (map->changed_start >= map->changed_end) {
		map->changed_start = event->start;
		map->changed_end = event->end;
	}
	if (event->start < map->changed_start)
		map->changed_start = event->start;
	if (event->end > map->changed_end)
		map->changed_end = event->end;
	h->changed = true;
	return 0;
}

/* Ask for the next event. */
static int
arm(struct holdfast_map *map)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapWatch op = HOLDFAST__V1__MAP_WATCH__INIT;
	int r;

	if (map->armed)
		return HF_OK;
	op.map = map->id;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_WATCH;
	request.map_watch = &op;
	map->armed = true; /* the event may overtake the reply */
	r = hf_call_bare(map->h, &request);
	if (r != HF_OK)
		map->armed = false;
	return r;
}

int
holdfast_map_watch(struct holdfast_map *map)
{
	int r = arm(map);

	if (r == HF_OK)
		map->watched = true;
	return r;
}

bool
holdfast_pending(const struct holdfast *h)
{
	return h->changed || h->reclaim || h->nlost > 0;
}

static int
carry_out_changes(struct holdfast_map *map)
{
	uint64_t start = map->changed_start, end = map->changed_end;
	int r;

	if (start >= end)
		return HF_OK;
	r = arm(map);
	if (r == HF_OK)
		r = hf_map_sync(map, start, end);
	if (r == HF_UNKNOWN_ID) { /* destroyed */
		map->watched = false;
		r = hf_map_forget(map, map->min, map->max);
	}
	if (r != HF_OK)
		return r;
	/* A new event while we looked stands for a new look. */
	if (!map->armed && map->watched)
		return HF_OK;
	map->changed_start = map->changed_end = 0;
	return HF_OK;
}

int
holdfast_dispatch(struct holdfast *h)
{
	int r = hf_usable(h);

	if (r < 0)
		return r;
	while (hf_take_events(h))
		continue;
	if (h->broken != 0)
		return h->broken;
	hf_lost_dispatch(h);
	r = hf_reclaim_dispatch(h);
	if (r < 0)
		return r;
	h->changed = false;
	for (struct holdfast_map *map = h->maps; map != NULL; map = map->next) {
		r = carry_out_changes(map);
		if (map->changed_start < map->changed_end)
			h->changed = true;
		if (r != HF_OK)
			return r;
	}
	return HF_OK;
}
