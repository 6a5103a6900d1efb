/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What others change in a map.
 *
 * The daemon sends one event a map and then waits to be asked again.  We ask
 * before we look, so a change while we look is told again and none is missed.
 */

#include <errno.h>

#include "clients/libholdfast/map_int.h"

#define ACK_PACKET_MAX 64 /* bytes */

struct holdfast_map *
hf_map_find(struct holdfast *h, uint64_t id)
{
	struct holdfast_map *map = h->maps;

	while (map != NULL && map->id != id)
		map = map->next;
	return map;
}

bool
hf_map_holds(const struct holdfast_map *map, uint64_t addr, uint64_t size)
{
	return addr >= map->min && addr < map->max && size <= map->max - addr;
}

static void
note_change(struct holdfast_map *map, const Holdfast__V1__Event *event)
{
	if (map->changed_start >= map->changed_end) {
		map->changed_start = event->start;
		map->changed_end = event->end;
	}
	if (event->start < map->changed_start)
		map->changed_start = event->start;
	if (event->end > map->changed_end)
		map->changed_end = event->end;
	map->h->changed = true;
}

static int
send_ack(struct holdfast_map *map, uint64_t ack)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapAck op = HOLDFAST__V1__MAP_ACK__INIT;
	uint8_t packet[ACK_PACKET_MAX];
	struct wire_out out;
	int r;

	op.map = map->id;
	op.ack = ack;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ACK;
	request.map_ack = &op;
	wire_out_init(&out, packet, sizeof(packet));
	r = wire_append_request(&out, &request);
	if (r == 0)
		r = hf_conn_send(&map->h->conn, out.buf, out.len);
	return r < 0 ? hf_broken(map->h, r) : 0;
}

/*
 * Somebody waits until this process sees a change.  It may come in the middle
 * of another call, so nothing is asked here.  What others may not see any more
 * is made read-only; what has changed is made inaccessible where a service
 * brings it back by a fault, and is left to holdfast_dispatch() elsewhere.
 */
static int
change_at_once(struct holdfast_map *map, const Holdfast__V1__Event *event)
{
	struct holdfast_map *shown = hf_map_shown(map);
	bool served;
	int r = 0;

	hf_map_lock(map);
	served = shown->service != NULL;
	if (shown->mirrored && event->write_protect)
		r = hf_mirror_write_protect(&shown->mirror, event->start,
		    event->end);
	else if (served)
		r = hf_map_forget(map, event->start, event->end);
	hf_map_unlock(map);
	if (r < 0)
		return hf_broken(map->h, r);
	if (!served)
		note_change(map, event);
	return send_ack(map, event->ack);
}

int
hf_map_event(struct holdfast *h, const Holdfast__V1__Event *event)
{
	struct holdfast_map *map = hf_map_find(h, event->map);

	if (event->ack != 0) {
		if (event->start >= event->end)
			return hf_mistrust(h, "the daemon sent a change that "
					      "ends before it begins");
		/* Without a map: it was sent before it knew we let go. */
		return map != NULL ? change_at_once(map, event) : 0;
	}
	if (map == NULL && h->events_stray > 0) {
		h->events_stray--; /* sent before it knew that we let go */
		return 0;
	}
	if (map == NULL || !map->armed || event->start >= event->end)
		return hf_mistrust(h, "the daemon sent an event that nobody "
				      "waits for");
	map->armed = false;
	note_change(map, event);
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
	r = map->watched ? arm(map) : HF_OK;
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
