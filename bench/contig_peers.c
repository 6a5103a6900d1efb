/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * holdfast itself and the bitmap behind one interface.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "arch/sim/sim.h"
#include "bench/contig_peers.h"
#include "core/vm_param.h"

/* The lowest place in [start, end) that satisfies the request. */
bool
peer_fit(const struct contig_req *req, vm_size_t size, vm_paddr_t start,
    vm_paddr_t end, vm_paddr_t *pap)
{
	vm_paddr_t pa;

	start = MAX(start, req->low);
	end = MIN(end, req->high);
	pa = roundup2(start, MAX(req->alignment, PEER_PAGE));
	if (req->boundary != 0 &&
	    ((pa ^ (pa + size - 1)) & -req->boundary) != 0)
		pa = roundup2(pa, MAX(req->boundary, req->alignment));
	if (pa >= end || end - pa < size)
		return false;
	*pap = pa;
	return true;
}

/* ---- holdfast ----------------------------------------------------------- */

struct holdfast {
	struct arch *arch;
	struct vm_phys *phys;
};

static void *
holdfast_create(vm_paddr_t start, vm_paddr_t end)
{
	struct holdfast *h = calloc(1, sizeof(*h));

	if (h == NULL)
		err(1, "calloc");
	h->arch = sim_create(&(struct sim_options){.no_inject = true});
	h->phys = h->arch ? vm_phys_create(h->arch, PEER_PAGE) : NULL;
	if (h->phys == NULL ||
	    vm_phys_add_seg(h->phys, start, end, 0, NULL) != KERN_SUCCESS)
		errx(1, "vm_phys: no memory");
	return h;
}

static void
holdfast_destroy(void *peer)
{
	struct holdfast *h = peer;

	vm_phys_destroy(h->phys);
	sim_destroy(h->arch);
	free(h);
}

static bool
holdfast_alloc(void *peer, const struct contig_req *req, vm_paddr_t *pap)
{
	struct holdfast *h = peer;

	return vm_phys_alloc_contig(h->phys, req, pap) == KERN_SUCCESS;
}

static void
holdfast_free(void *peer, vm_paddr_t pa, vm_size_t size)
{
	struct holdfast *h = peer;

	if (vm_phys_free_contig(h->phys, pa, pa + size) != KERN_SUCCESS)
		errx(1, "vm_phys_free_contig refused");
}

static vm_size_t
holdfast_largest(void *peer)
{
	struct holdfast *h = peer;
	struct vm_phys_stats stats;

	vm_phys_stats(h->phys, &stats);
	return stats.largest_run;
}

const struct peer_ops peer_holdfast = {
    "holdfast",
    holdfast_create,
    holdfast_destroy,
    holdfast_alloc,
    holdfast_free,
    holdfast_largest,
};

/* ---- bitmap ------------------------------------------------------------- */

struct bitmap {
	vm_paddr_t start;
	uint64_t npages;
	uint64_t *words; /* a set bit is a page in use */
};

static void *
bitmap_create(vm_paddr_t start, vm_paddr_t end)
{
	struct bitmap *map = calloc(1, sizeof(*map));

	if (map == NULL)
		err(1, "calloc");
	map->start = start;
	map->npages = (end - start) / PEER_PAGE;
	map->words = calloc(map->npages / 64 + 1, sizeof(uint64_t));
	if (map->words == NULL)
		err(1, "calloc");
	return map;
}

static void
bitmap_destroy(void *peer)
{
	struct bitmap *map = peer;

	free(map->words);
	free(map);
}

/* The first page from `i` on, below `end`, whose bit is `set`; else `end`. */
static uint64_t
bitmap_next(const struct bitmap *map, uint64_t i, uint64_t end, bool set)
{
	uint64_t flip = set ? 0 : UINT64_MAX;
	uint64_t word;

	if (i >= end)
		return end;
	word = (map->words[i / 64] ^ flip) & (UINT64_MAX << (i % 64));
	i &= ~UINT64_C(63);
	while (word == 0) {
		i += 64;
		if (i >= end)
			return end;
		word = map->words[i / 64] ^ flip;
	}
	return MIN(end, i + (uint64_t)__builtin_ctzll(word));
}

static void
bitmap_set(struct bitmap *map, uint64_t i, uint64_t n, bool set)
{
	while (n > 0) {
		uint64_t some = MIN(n, 64 - i % 64);
		uint64_t mask = UINT64_MAX >> (64 - some) << (i % 64);

		if (set)
			map->words[i / 64] |= mask;
		else
			map->words[i / 64] &= ~mask;
		i += some;
		n -= some;
	}
}

static bool
bitmap_alloc(void *peer, const struct contig_req *req, vm_paddr_t *pap)
{
	struct bitmap *map = peer;
	vm_size_t size = roundup2(req->size, PEER_PAGE);
	vm_paddr_t end = map->start + map->npages * PEER_PAGE;
	vm_paddr_t from = map->start, pa;

	end = MIN(end, req->high);
	while (peer_fit(req, size, from, end, &pa)) {
		uint64_t i = (pa - map->start) / PEER_PAGE;
		uint64_t n = size / PEER_PAGE;
		uint64_t used = bitmap_next(map, i, i + n, true);

		if (used == i + n) {
			bitmap_set(map, i, n, true);
			*pap = pa;
			return true;
		}
		used = bitmap_next(map, used, map->npages, false);
		from = map->start + used * PEER_PAGE;
	}
	return false;
}

static void
bitmap_free(void *peer, vm_paddr_t pa, vm_size_t size)
{
	struct bitmap *map = peer;

	bitmap_set(map, (pa - map->start) / PEER_PAGE, size / PEER_PAGE, false);
}

static vm_size_t
bitmap_largest(void *peer)
{
	struct bitmap *map = peer;
	uint64_t i = 0, end, largest = 0;

	while ((i = bitmap_next(map, i, map->npages, false)) < map->npages) {
		end = bitmap_next(map, i, map->npages, true);
		largest = MAX(largest, end - i);
		i = end;
	}
	return largest * PEER_PAGE;
}

const struct peer_ops peer_bitmap = {
    "bitmap",
    bitmap_create,
    bitmap_destroy,
    bitmap_alloc,
    bitmap_free,
    bitmap_largest,
};
