/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A zone is a list of slabs and one last-in first-out list through the free
 * items of all of them.  A new slab is a quarter of what the zone has, from
 * SLAB_MIN bytes on, so that little is idle and large zones ask rarely; from
 * half of what the back end has at hand on, it is one of those.  Under
 * AddressSanitizer free items are poisoned.
 */

#include <assert.h>

#include "core/kassert.h"
#include "core/uma.h"
#include "core/vm_param.h"

#define SLAB_ALIGN 64
#define SLAB_MIN   ((size_t)1024)
#define SLAB_MAX   ARCH_META_BLOCK

struct uma_slab {
	struct uma_slab *us_next;
	size_t us_size; /* bytes, this header included */
};

static_assert(sizeof(struct uma_slab) <= SLAB_ALIGN, "items begin after it");

void *
uma_malloc(const struct arch *arch, size_t size)
{
	MPASS(size > 0);

	if (arch->ops->inject != NULL && arch->ops->inject(arch->ctx))
		return NULL;
	return arch->ops->alloc(arch->ctx, size);
}

void
uma_free(const struct arch *arch, void *p, size_t size)
{
	MPASS(size > 0);

	if (p != NULL)
		arch->ops->free(arch->ctx, p, size);
}

void
uma_zone_init(struct uma_zone *zone, const struct arch *arch, size_t size)
{
	MPASS(arch != NULL && arch->ops->alloc != NULL);
	MPASS(size >= sizeof(struct uma_item) && size < SLAB_MAX / 2);

	*zone = (struct uma_zone){
	    .uz_arch = arch,
	    .uz_size = roundup2(size, (size_t)16),
	};
}

static void
zone_free_slabs(struct uma_zone *zone)
{
	struct uma_slab *slab;

	while ((slab = zone->uz_slabs) != NULL) {
		zone->uz_slabs = slab->us_next;
		ASAN_UNPOISON_MEMORY_REGION(slab, slab->us_size);
		zone->uz_arch->ops->free(zone->uz_arch->ctx, slab,
		    slab->us_size);
	}
	zone->uz_free = zone->uz_last = NULL;
	zone->uz_nfree = zone->uz_nitems = zone->uz_bytes = 0;
}

void
uma_zone_fini(struct uma_zone *zone)
{
	MPASS(zone->uz_nfree <= zone->uz_nitems);

	zone_free_slabs(zone);
}

void
uma_zone_trim(struct uma_zone *zone)
{
	MPASS(zone->uz_nfree <= zone->uz_nitems);

	if (zone->uz_nfree == zone->uz_nitems && zone->uz_nitems != 0)
		zone_free_slabs(zone);
}

size_t
uma_zone_used(const struct uma_zone *zone)
{
	MPASS(zone->uz_nfree <= zone->uz_nitems);

	return zone->uz_nitems - zone->uz_nfree;
}

/* Add a slab.  Its items end up on the list in ascending order. */
static bool
zone_grow(struct uma_zone *zone)
{
	size_t size, nitems;
	struct uma_slab *slab;
	char *first;

	MPASS(zone->uz_size > 0);

	size = MAX(zone->uz_bytes / 4, SLAB_MIN);
	size = size > SLAB_MAX / 2 ? SLAB_MAX : size;
	size = MAX(size, SLAB_ALIGN + 2 * zone->uz_size);
	nitems = (size - SLAB_ALIGN) / zone->uz_size;
	slab = zone->uz_arch->ops->alloc(zone->uz_arch->ctx, size);
	if (slab == NULL)
		return false;

	slab->us_size = size;
	slab->us_next = zone->uz_slabs;
	zone->uz_slabs = slab;
	first = (char *)slab + SLAB_ALIGN;
	zone->uz_nitems += nitems;
	for (size_t i = nitems; i-- > 0;)
		uma_zfree(zone, first + i * zone->uz_size);
	uma_zone_settle(zone);
	zone->uz_bytes += size;
	return true;
}

int
uma_zone_reserve_slow(struct uma_zone *zone, size_t n)
{
	const struct arch *arch = zone->uz_arch;

	MPASS(arch != NULL);

	if (arch->ops->inject != NULL)
		for (size_t i = 0; i < n; i++)
			if (arch->ops->inject(arch->ctx))
				return KERN_RESOURCE_SHORTAGE;
	while (zone->uz_nfree < n)
		if (!zone_grow(zone))
			return KERN_RESOURCE_SHORTAGE;
	return KERN_SUCCESS;
}

void *
uma_zalloc(struct uma_zone *zone)
{
	if (uma_zone_reserve(zone, 1) != KERN_SUCCESS)
		return NULL;
	return uma_zalloc_reserved(zone);
}
