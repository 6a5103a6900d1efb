/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * uma: zones of equal-sized metadata items.
 *
 * A zone takes slabs from arch->ops->alloc and cuts them into items; nothing
 * in core/ has memory from anywhere else.  The reserve is what makes commits
 * infallible: ask for everything a commit can use, then take it with
 * uma_zalloc_reserved(), which cannot fail.
 *
 * The owner of a zone serialises calls on it.  All calls are O(1), except that
 * a reserve which needs memory is linear in the items it adds.
 */

#include "arch/arch.h"
#include "core/kassert.h"
#include "core/vm.h"

#if defined(__SANITIZE_ADDRESS__)
#define UMA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UMA_ASAN 1
#endif
#endif

/* Under AddressSanitizer free items are poisoned. */
#ifdef UMA_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#endif

struct uma_slab;

/* An item in nobody's hands. */
struct uma_item {
	struct uma_item *ui_next;
};

struct uma_zone {
	const struct arch *uz_arch;
	struct uma_item *uz_free; /* items in nobody's hands, but the last */
	struct uma_item *uz_last; /* freed last, and not touched for that */
	struct uma_slab *uz_slabs;
	size_t uz_size;   /* bytes in an item */
	size_t uz_nfree;  /* in nobody's hands */
	size_t uz_nitems; /* items cut so far, free or not */
	size_t uz_bytes;  /* taken from arch */
};

/*
 * Make an empty zone of items of `size` bytes.  Items are aligned to 16
 * bytes, or to 64 where size is a multiple of 64.
 */
void uma_zone_init(struct uma_zone *zone, const struct arch *arch, size_t size);

/* Give every slab back.  Items still in use must not be touched again. */
void uma_zone_fini(struct uma_zone *zone);

/*
 * Make sure that the next `n` uma_zalloc_reserved() succeed.
 * KERN_RESOURCE_SHORTAGE: no memory, or arch->ops->inject said so.
 */
int uma_zone_reserve_slow(struct uma_zone *zone, size_t n);

static inline int
uma_zone_reserve(struct uma_zone *zone, size_t n)
{
	if (zone->uz_nfree >= n && zone->uz_arch->ops->inject == NULL)
		return 0; /* KERN_SUCCESS */
	return uma_zone_reserve_slow(zone, n);
}

/* Take one item out of the reserve.  Its contents are undefined. */
static inline void *
uma_zalloc_reserved(struct uma_zone *zone)
{
	struct uma_item *item = zone->uz_last;

	KASSERT(zone->uz_nfree > 0, "uma: the reserve is empty");

	zone->uz_last = NULL;
	if (item == NULL) {
		item = zone->uz_free;
		ASAN_UNPOISON_MEMORY_REGION(item, sizeof(*item));
		zone->uz_free = item->ui_next;
	}
	ASAN_UNPOISON_MEMORY_REGION(item, zone->uz_size);
	zone->uz_nfree--;
	return item;
}

/* Reserve and take one.  NULL: no memory. */
void *uma_zalloc(struct uma_zone *zone);

/* Inside: the item freed last goes to the others. */
static inline void
uma_zone_settle(struct uma_zone *zone)
{
	struct uma_item *item = zone->uz_last;

	if (item == NULL)
		return;
	ASAN_UNPOISON_MEMORY_REGION(item, sizeof(*item));
	item->ui_next = zone->uz_free;
	ASAN_POISON_MEMORY_REGION(item, sizeof(*item));
	zone->uz_free = item;
	zone->uz_last = NULL;
}

/*
 * Put an item back.  NULL is fine.  It is not written to before the next one
 * comes: whoever frees what is not in a cache need not wait for it.
 */
static inline void
uma_zfree(struct uma_zone *zone, void *p)
{
	struct uma_item *item = p;

	MPASS(zone->uz_nfree < zone->uz_nitems);

	if (item == NULL)
		return;
	uma_zone_settle(zone);
	zone->uz_last = item;
	zone->uz_nfree++;
	ASAN_POISON_MEMORY_REGION(item, zone->uz_size);
}

/* Give the slabs back if no item is in use. */
void uma_zone_trim(struct uma_zone *zone);

/* Items in use. */
size_t uma_zone_used(const struct uma_zone *zone);

/*
 * Single zeroed pieces, aligned to 64 bytes, for what there is one of.
 * NULL: no memory, or arch->ops->inject said so.
 */
void *uma_malloc(const struct arch *arch, size_t size);
void uma_free(const struct arch *arch, void *p, size_t size);
