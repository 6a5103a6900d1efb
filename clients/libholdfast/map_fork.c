/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vmspace_fork(9) over the wire.
 */

#include <string.h>

#include "clients/libholdfast/map_int.h"
#include "clients/libholdfast/request.h"

int
holdfast_map_fork(struct holdfast_map *map,
    const struct holdfast_map_options *options, struct holdfast_map **childp)
{
	const Holdfast__V1__Reply *reply;
	struct holdfast_map *child;
	int r;
	HF_MAP_REQUEST(map, MapFork, MAP_FORK, map_fork);

	if (options->name != NULL && strlen(options->name) > HF_NAME_MAX) {
		hf_say(map->h, "the map's name is longer than %d bytes",
		    HF_NAME_MAX);
		return HF_INVALID_ARGUMENT;
	}
	if (options->name != NULL)
		op.name = (char *)(uintptr_t)options->name; /* only read */
	op.mode = options->mode;
	if (options->group_set)
		op.group = (uint64_t)options->group + 1;
	r = HF_ASK(map->h, MAP, &reply);
	if (r != HF_OK)
		return r;
	r = hf_map_new(map->h, reply->map, false, &child);
	/* A service has done it before the daemon replied. */
	if (r == HF_OK && map->service == NULL)
		r = hf_map_sync(map, map->min, map->max);
	if (r == HF_OK)
		*childp = child;
	return r;
}
