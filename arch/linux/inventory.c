/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/linux/inventory.h"
#include "core/kassert.h"

static uint32_t *
bucket_of(const struct inventory *inv, vm_paddr_t pa)
{
	uint64_t hash = (pa >> inv->shift) * 0x9e3779b97f4a7c15u;

	return &inv->buckets[(hash >> 32) & inv->mask];
}

static uint32_t
buckets_for(uint32_t nslots)
{
	uint32_t n = 16;

	while (n < nslots)
		n *= 2;
	return n;
}

int
inventory_init(struct inventory *inv, uint32_t nslots, vm_size_t frame_size)
{
	uint32_t nbuckets = buckets_for(nslots);

	MPASS(nslots > 0 && nslots < INVENTORY_NONE / 2);
	MPASS(powerof2(frame_size));
	*inv = (struct inventory){.nslots = nslots, .mask = nbuckets - 1};
	inv->shift = (unsigned)__builtin_ctzll(frame_size);
	inv->slots = calloc(nslots, sizeof(*inv->slots));
	inv->buckets = calloc(nbuckets, sizeof(*inv->buckets));
	inv->empty = calloc(nslots, sizeof(*inv->empty));
	if (inv->slots == NULL || inv->buckets == NULL || inv->empty == NULL) {
		inventory_fini(inv);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < nbuckets; i++)
		inv->buckets[i] = INVENTORY_NONE;
	for (uint32_t i = 0; i < nslots; i++)
		inv->empty[inv->nempty++] = i;
	return 0;
}

void
inventory_fini(struct inventory *inv)
{
	free(inv->slots);
	free(inv->buckets);
	free(inv->empty);
	*inv = (struct inventory){0};
}

uint32_t
inventory_find(const struct inventory *inv, vm_paddr_t pa)
{
	uint32_t slot = *bucket_of(inv, pa);

	while (slot != INVENTORY_NONE && inv->slots[slot].pa != pa)
		slot = inv->slots[slot].next;
	return slot;
}

static int
frame_compare(const void *a, const void *b)
{
	const struct arch_frame *x = a;
	const struct arch_frame *y = b;

	return x->pa < y->pa ? -1 : x->pa > y->pa;
}

int
inventory_frames(const struct inventory *inv, struct arch_frame *frames,
    size_t max, size_t *np)
{
	struct arch_frame *all;
	size_t n = 0;

	*np = inv->nheld;
	if (max == 0 || inv->nheld == 0)
		return 0;
	all = calloc(inv->nheld, sizeof(*all));
	if (all == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < inv->nslots; i++) {
		const struct inventory_slot *slot = &inv->slots[i];

		if (slot->state == SLOT_HELD)
			all[n++] = (struct arch_frame){slot->pa, slot->domain};
	}
	MPASS(n == inv->nheld);
	qsort(all, n, sizeof(*all), frame_compare);
	memcpy(frames, all, MIN(n, max) * sizeof(*all));
	free(all);
	return 0;
}

struct run {
	size_t first;
	size_t n;
};

static int
run_compare(const void *a, const void *b)
{
	const struct run *x = a;
	const struct run *y = b;

	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* Store the runs of `frames`, which ascend; returns how many. */
static size_t
find_runs(const struct arch_frame *frames, size_t n, vm_size_t frame_size,
    struct run *runs)
{
	size_t nruns = 0;

	for (size_t i = 0; i < n; i++) {
		if (i == 0 || frames[i].pa != frames[i - 1].pa + frame_size)
			runs[nruns++] = (struct run){i, 0};
		runs[nruns - 1].n++;
	}
	return nruns;
}

int
inventory_choose(struct arch_frame *frames, size_t n, size_t want,
    vm_size_t frame_size)
{
	struct arch_frame *sorted;
	struct run *runs;
	size_t nruns;
	size_t out = 0;

	MPASS(want <= n);
	if (n == want)
		return 0;
	sorted = calloc(n, sizeof(*sorted));
	runs = calloc(n, sizeof(*runs));
	if (sorted != NULL && runs != NULL) {
		memcpy(sorted, frames, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), frame_compare);
		nruns = find_runs(sorted, n, frame_size, runs);
		qsort(runs, nruns, sizeof(*runs), run_compare);
		for (size_t i = 0; i < nruns; i++)
			for (size_t k = 0; k < runs[i].n; k++)
				frames[out++] = sorted[runs[i].first + k];
	}
	free(sorted);
	free(runs);
	return out == n ? 0 : -ENOMEM;
}

uint32_t
inventory_grab(struct inventory *inv)
{
	uint32_t slot;

	if (inv->nempty == 0)
		return INVENTORY_NONE;
	slot = inv->empty[inv->first];
	inv->first = (inv->first + 1) % inv->nslots;
	inv->nempty--;
	MPASS(inv->slots[slot].state == SLOT_EMPTY);
	inv->slots[slot].state = SLOT_BUSY;
	return slot;
}

void
inventory_drop(struct inventory *inv, uint32_t slot)
{
	MPASS(inv->slots[slot].state == SLOT_BUSY);
	MPASS(inv->nempty < inv->nslots);
	inv->slots[slot].state = SLOT_EMPTY;
	inv->empty[(inv->first + inv->nempty++) % inv->nslots] = slot;
}

void
inventory_hold(struct inventory *inv, uint32_t slot,
    const struct arch_frame *frame)
{
	struct inventory_slot *s = &inv->slots[slot];
	uint32_t *bucket = bucket_of(inv, frame->pa);

	MPASS(s->state == SLOT_BUSY);
	MPASS(inventory_find(inv, frame->pa) == INVENTORY_NONE);
	s->pa = frame->pa;
	s->domain = frame->domain;
	s->state = SLOT_HELD;
	s->next = *bucket;
	*bucket = slot;
	inv->nheld++;
}

void
inventory_pull(struct inventory *inv, uint32_t slot)
{
	struct inventory_slot *s = &inv->slots[slot];
	uint32_t *link = bucket_of(inv, s->pa);

	MPASS(s->state == SLOT_HELD);
	while (*link != slot) {
		MPASS(*link != INVENTORY_NONE);
		link = &inv->slots[*link].next;
	}
	*link = s->next;
	s->state = SLOT_BUSY;
	inv->nheld--;
}
