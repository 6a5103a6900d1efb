/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The life of a map in this process: create, attach, detach, destroy; and the
 * objects that its entries show.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/libholdfast/map_int.h"
#include "clients/libholdfast/request.h"

static void
map_free(struct holdfast_map *map)
{
	struct holdfast_map **link = &map->h->maps;

	hf_service_stop(map);
	while (*link != map)
		link = &(*link)->next;
	*link = map->next;
	if (map->armed)
		map->h->events_stray++;
	hf_mirror_fini(&map->mirror);
	(void)pthread_mutex_destroy(&map->lock);
	free(map);
}

void
hf_maps_free_all(struct holdfast *h)
{
	while (h->maps != NULL)
		map_free(h->maps);
}

uint64_t
holdfast_map_min(const struct holdfast_map *map)
{
	return map->min;
}

uint64_t
holdfast_map_max(const struct holdfast_map *map)
{
	return map->max;
}

uint32_t
holdfast_map_access(const struct holdfast_map *map)
{
	return map->access;
}

static int
tell_detach(struct holdfast *h, uint64_t id)
{
	HF_REQUEST(MapDetach, MAP_DETACH, map_detach);

	op.map = id;
	return hf_call_bare(h, &request);
}

/* Reserve the map's range here and carry out what is in it. */
static int
mirror_map(struct holdfast_map *map)
{
	struct holdfast *h = map->h;
	int r;

	if ((map->min | map->max) % (uint64_t)getpagesize() != 0)
		return hf_mistrust(h, "the daemon's map begins or ends within "
				      "a page");
	r = hf_mirror_init(&map->mirror, map->min, map->max);
	if (r == -EEXIST) {
		char what[256];

		hf_mirror_collision(map->min, map->max, what, sizeof(what));
		hf_say(h, "the map's range %#llx-%#llx collides with %s",
		    (unsigned long long)map->min, (unsigned long long)map->max,
		    what);
	} else if (r < 0) {
		hf_say(h, "the map's range %#llx-%#llx cannot be reserved here",
		    (unsigned long long)map->min, (unsigned long long)map->max);
	}
	if (r < 0)
		return r;
	map->mirrored = true;
	return hf_map_sync(map, map->min, map->max);
}

static void
lock_init(struct holdfast_map *map)
{
	pthread_mutexattr_t attr;

	(void)pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	(void)pthread_mutex_init(&map->lock, &attr);
	(void)pthread_mutexattr_destroy(&attr);
}

/* From the daemon's answer to a handle; on failure the daemon is told. */
int
hf_map_new(struct holdfast *h, const Holdfast__V1__MapResult *res, bool mirror,
    struct holdfast_map **mapp)
{
	char why[sizeof(h->error)];
	struct holdfast_map *map;
	uint64_t id = res->map;
	int r;

	if (res->min >= res->max)
		return hf_mistrust(h, "the daemon's map ends before it begins");
	map = calloc(1, sizeof(*map));
	if (map == NULL) {
		(void)tell_detach(h, id);
		return -ENOMEM;
	}
	*map = (struct holdfast_map){
	    .h = h,
	    .id = id,
	    .min = res->min,
	    .max = res->max,
	    .access = res->access,
	    .faults = res->mirrored,
	    .next = h->maps,
	};
	lock_init(map);
	h->maps = map;
	r = mirror ? mirror_map(map) : HF_OK;
	if (r != HF_OK) {
		memcpy(why, h->error, sizeof(why));
		map_free(map);
		if (h->broken == 0)
			(void)tell_detach(h, id);
		memcpy(h->error, why, sizeof(why));
		return r;
	}
	*mapp = map;
	return HF_OK;
}

static int
call_for_map(struct holdfast *h, Holdfast__V1__Request *request,
    const struct holdfast_map_options *options, struct holdfast_map **mapp)
{
	const Holdfast__V1__Reply *reply;
	int r = hf_usable(h);

	if (r < 0)
		return r;
	if (options->name != NULL && strlen(options->name) > HF_NAME_MAX) {
		hf_say(h, "the map's name is longer than %d bytes",
		    HF_NAME_MAX);
		return HF_INVALID_ARGUMENT;
	}
	r = hf_call(h, request, HOLDFAST__V1__REPLY__RESULT_MAP, 0, &reply,
	    NULL);
	return r == HF_OK ? hf_map_new(h, reply->map, !options->no_mirror, mapp)
			  : r;
}

int
holdfast_map_create(struct holdfast *h,
    const struct holdfast_map_options *options, struct holdfast_map **mapp)
{
	HF_REQUEST(MapCreate, MAP_CREATE, map_create);

	if (options->name != NULL)
		op.name = (char *)(uintptr_t)options->name; /* only read */
	op.min = options->min;
	op.max = options->max;
	if (options->machine != NULL)
		op.machine = (char *)(uintptr_t)options->machine;
	op.page_size = options->page_size;
	op.mirrors = !options->no_mirror;
	op.mirrored = op.mirrors || options->mirrored;
	op.mode = options->mode;
	if (options->group_set)
		op.group = (uint64_t)options->group + 1;
	return call_for_map(h, &request, options, mapp);
}

int
holdfast_map_attach(struct holdfast *h,
    const struct holdfast_map_options *options, struct holdfast_map **mapp)
{
	HF_REQUEST(MapAttach, MAP_ATTACH, map_attach);

	if (options->name != NULL)
		op.name = (char *)(uintptr_t)options->name; /* only read */
	if (options->owner_set)
		op.owner = (uint64_t)options->owner + 1;
	op.mirrors = !options->no_mirror;
	return call_for_map(h, &request, options, mapp);
}

int
holdfast_map_detach(struct holdfast_map *map)
{
	struct holdfast *h;
	uint64_t id;
	int r;

	if (map == NULL)
		return HF_OK;
	h = map->h;
	id = map->id;
	r = hf_usable(h);
	if (r == -EPERM)
		return r;
	map_free(map);
	return r < 0 ? r : tell_detach(h, id);
}

int
holdfast_map_destroy(struct holdfast_map *map)
{
	HF_REQUEST(MapDestroy, MAP_DESTROY, map_destroy);
	int r;

	op.map = map->id;
	r = hf_call_bare(map->h, &request);
	if (r == HF_OK)
		map_free(map);
	return r;
}

/* ---- Objects ----------------------------------------------------------- */

int
holdfast_object_create(struct holdfast *h, enum holdfast_object_kind kind,
    uint64_t size, uint64_t *objectp)
{
	HF_REQUEST(ObjectCreate, OBJECT_CREATE, object_create);
	const Holdfast__V1__Reply *reply;
	int r;

	op.kind = (Holdfast__V1__ObjectKind)kind;
	op.size = size;
	r = HF_ASK(h, OBJECT_CREATE, &reply);
	if (r == HF_OK)
		*objectp = reply->object_create->object;
	return r;
}

int
holdfast_object_destroy(struct holdfast *h, uint64_t object)
{
	HF_REQUEST(ObjectDestroy, OBJECT_DESTROY, object_destroy);

	op.object = object;
	return hf_call_bare(h, &request);
}
