/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Depots of the span cache: per class, what threads hand to each other, and
 * the slab that is being cut up.
 *
 * Objects pass in arrays of half a bin, so one lock serves many.  A depot
 * counts of each slab how many of its objects lie in the stack: slabs that are
 * whole there go back to the blocks, before they are many.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/cache_int.h"

#define ROOM_MIN   256u
#define IDLE_SLABS 8 /* objects of so many may lie in a depot */

static int
depot_room(struct depot *d, size_t more)
{
	size_t room = d->room != 0 ? d->room : ROOM_MIN;
	void **objs;

	while (room < d->n + more)
		room *= 2;
	if (room == d->room)
		return 0;
	objs = realloc(d->objs, room * sizeof(*objs));
	if (objs == NULL)
		return -ENOMEM;
	d->objs = objs;
	d->room = room;
	return 0;
}

static unsigned
class_order(unsigned class)
{
	return class < NSMALL ? 0 : class - NSMALL;
}

/* Objects in a slab. */
static size_t
slab_objs(unsigned class)
{
	return (size_t)(CHUNK / class_size(class));
}

/* The depot's lock is held, and there is room. */
static void
depot_push(struct holdfast_cache *cache, unsigned class, void *const *objs,
    size_t n)
{
	struct depot *d = &cache->depots[class];
	size_t whole = slab_objs(class);

	memcpy(&d->objs[d->n], objs, n * sizeof(*objs));
	d->n += n;
	for (size_t i = 0; i < n; i++)
		d->nwhole +=
		    ++cache->blocks
			  .nidle_of[chunk_index(&cache->blocks, objs[i])] ==
		    whole;
}

static void
depot_pop(struct holdfast_cache *cache, unsigned class, void **objs, size_t n)
{
	struct depot *d = &cache->depots[class];
	size_t whole = slab_objs(class);

	d->n -= n;
	memcpy(objs, &d->objs[d->n], n * sizeof(*objs));
	for (size_t i = 0; i < n; i++)
		d->nwhole -= cache->blocks.nidle_of[chunk_index(&cache->blocks,
				 objs[i])]-- == whole;
}

unsigned
depot_get(struct holdfast_cache *cache, unsigned class, void **objs, unsigned n)
{
	struct depot *d = &cache->depots[class];
	uint64_t size = class_size(class);
	unsigned got = 0;

	(void)pthread_mutex_lock(&d->lock);
	while (got < n) {
		if (d->n > 0) {
			unsigned k = d->n < n - got ? (unsigned)d->n : n - got;

			depot_pop(cache, class, &objs[got], k);
			got += k;
		} else if ((uint64_t)(d->cut_end - d->cut) >= size) {
			objs[got++] = d->cut;
			d->cut += size;
		} else if (got > 0 && class >= NSMALL) {
			break; /* no more than asked for of what is large */
		} else {
			d->cut = blocks_alloc(&cache->blocks,
			    class_order(class), (uint8_t) class);
			d->cut_end = d->cut;
			if (d->cut == NULL)
				break;
			d->cut_end += CHUNK << class_order(class);
		}
	}
	(void)pthread_mutex_unlock(&d->lock);
	return got;
}

/*
 * Give back the slabs of which every object is here; the depot is locked.
 * While they are taken out of the stack their counts go on to twice as many:
 * only then is nothing of a slab in it, and somebody else may have it.
 */
static void
depot_trim_locked(struct holdfast_cache *cache, unsigned class)
{
	struct depot *d = &cache->depots[class];
	size_t kept = 0, whole = slab_objs(class);

	for (; d->cut != NULL &&
	       (uint64_t)(d->cut_end - d->cut) >= class_size(class) &&
	       depot_room(d, 1) == 0;
	     d->cut += class_size(class)) {
		void *obj = d->cut;

		depot_push(cache, class, &obj, 1);
	}
	if (d->nwhole == 0)
		return;
	for (size_t i = 0; i < d->n; i++) {
		uint32_t chunk = chunk_index(&cache->blocks, d->objs[i]);
		uint16_t *nidle = &cache->blocks.nidle_of[chunk];

		if (*nidle < whole) {
			d->objs[kept++] = d->objs[i];
		} else if (++*nidle == 2 * whole) {
			*nidle = 0;
			blocks_free(&cache->blocks,
			    cache->blocks.area +
				((uint64_t)chunk << CHUNK_SHIFT),
			    0);
		}
	}
	d->n = kept;
	d->nwhole = 0;
}

static void
depot_trim(struct holdfast_cache *cache, unsigned class)
{
	struct depot *d = &cache->depots[class];

	(void)pthread_mutex_lock(&d->lock);
	depot_trim_locked(cache, class);
	(void)pthread_mutex_unlock(&d->lock);
}

/*
 * Let whole slabs go when they are some, and a good part of what lies here,
 * so that looking for them costs little in the long run.
 */
static void
depot_shed_locked(struct holdfast_cache *cache, unsigned class)
{
	struct depot *d = &cache->depots[class];

	if (d->nwhole >= IDLE_SLABS && d->nwhole * slab_objs(class) >= d->n / 4)
		depot_trim_locked(cache, class);
}

void
depot_put(struct holdfast_cache *cache, unsigned class, void *const *objs,
    unsigned n)
{
	struct depot *d = &cache->depots[class];

	if (class >= NSMALL) {
		for (unsigned i = 0; i < n; i++)
			blocks_free(&cache->blocks, objs[i],
			    class_order(class));
		return;
	}
	(void)pthread_mutex_lock(&d->lock);
	/* Without memory for the stack they wait for the end. */
	if (depot_room(d, n) == 0)
		depot_push(cache, class, objs, n);
	depot_shed_locked(cache, class);
	(void)pthread_mutex_unlock(&d->lock);
}

void
depots_trim(struct holdfast_cache *cache)
{
	for (unsigned c = 0; c < NSMALL; c++)
		depot_trim(cache, c);
}
