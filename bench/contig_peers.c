/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * holdfast itself, vmem and the bitmap behind one interface.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "arch/sim/sim.h"
#include "bench/contig_peers.h"
#include "core/vm_param.h"

/* The lowest place in [start, end) that satisfies the request. */
static bool
fit(const struct contig_req *req, vm_size_t size, vm_paddr_t start,
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

/* ---- vmem --------------------------------------------------------------- */

#define VMEM_EXACT   32 /* classes of exactly so many pages */
#define VMEM_NCLASS  (VMEM_EXACT + 48)
#define VMEM_BUCKETS (UINT64_C(1) << 20)

/* A boundary tag. */
struct tag {
	vm_paddr_t start;
	vm_size_t size;
	bool is_free;
	struct tag *below, *above; /* in order of address */
	struct tag *next, **prevp; /* in its class, or hash chain */
};

struct vmem {
	struct tag *classes[VMEM_NCLASS];
	struct tag **buckets;
	struct tag *spare;
};

static unsigned
vmem_class(vm_size_t size)
{
	uint64_t npages = size / PEER_PAGE;

	if (npages <= VMEM_EXACT)
		return (unsigned)npages - 1;
	return VMEM_EXACT - 5 + 63 - (unsigned)__builtin_clzll(npages);
}

static struct tag **
vmem_bucket(struct vmem *vm, vm_paddr_t pa)
{
	uint64_t hash = pa / PEER_PAGE * UINT64_C(0x9e3779b97f4a7c15);

	return &vm->buckets[hash >> 44];
}

static void
tag_link(struct tag **headp, struct tag *tag)
{
	tag->next = *headp;
	tag->prevp = headp;
	if (tag->next != NULL)
		tag->next->prevp = &tag->next;
	*headp = tag;
}

static void
tag_unlink(struct tag *tag)
{
	*tag->prevp = tag->next;
	if (tag->next != NULL)
		tag->next->prevp = tag->prevp;
}

static void
tag_set_free(struct vmem *vm, struct tag *tag)
{
	tag->is_free = true;
	tag_link(&vm->classes[vmem_class(tag->size)], tag);
}

/* A tag for [start, start + size) above `below`. */
static struct tag *
tag_new(struct vmem *vm, struct tag *below, vm_paddr_t start, vm_size_t size)
{
	struct tag *tag = vm->spare;

	if (tag != NULL)
		vm->spare = tag->next;
	else
		tag = malloc(sizeof(*tag));
	if (tag == NULL)
		err(1, "malloc");
	*tag = (struct tag){.start = start, .size = size, .below = below};
	tag->above = below ? below->above : NULL;
	if (below != NULL)
		below->above = tag;
	if (tag->above != NULL)
		tag->above->below = tag;
	return tag;
}

static void
tag_drop(struct vmem *vm, struct tag *tag)
{
	if (tag->below != NULL)
		tag->below->above = tag->above;
	if (tag->above != NULL)
		tag->above->below = tag->below;
	tag->next = vm->spare;
	vm->spare = tag;
}

static void *
vmem_create(vm_paddr_t start, vm_paddr_t end)
{
	struct vmem *vm = calloc(1, sizeof(*vm));

	if (vm == NULL ||
	    (vm->buckets = calloc(VMEM_BUCKETS, sizeof(*vm->buckets))) == NULL)
		err(1, "calloc");
	tag_set_free(vm, tag_new(vm, NULL, start, end - start));
	return vm;
}

static void
free_list(struct tag *tag)
{
	while (tag != NULL) {
		struct tag *next = tag->next;

		free(tag);
		tag = next;
	}
}

static void
vmem_destroy(void *peer)
{
	struct vmem *vm = peer;

	for (unsigned i = 0; i < VMEM_NCLASS; i++)
		free_list(vm->classes[i]);
	for (uint64_t i = 0; i < VMEM_BUCKETS; i++)
		free_list(vm->buckets[i]);
	free_list(vm->spare);
	free(vm->buckets);
	free(vm);
}

static struct tag *
vmem_find(struct vmem *vm, const struct contig_req *req, vm_size_t size,
    vm_paddr_t *pap)
{
	for (unsigned c = vmem_class(size); c < VMEM_NCLASS; c++)
		for (struct tag *tag = vm->classes[c]; tag; tag = tag->next)
			if (tag->size >= size &&
			    fit(req, size, tag->start, tag->start + tag->size,
				pap))
				return tag;
	return NULL;
}

static bool
vmem_alloc(void *peer, const struct contig_req *req, vm_paddr_t *pap)
{
	struct vmem *vm = peer;
	vm_size_t size = roundup2(req->size, PEER_PAGE);
	struct tag *tag = vmem_find(vm, req, size, pap);
	vm_paddr_t end;

	if (tag == NULL)
		return false;
	tag_unlink(tag);
	end = tag->start + tag->size;
	if (*pap > tag->start) {
		tag->size = *pap - tag->start;
		tag_set_free(vm, tag);
		tag = tag_new(vm, tag, *pap, size);
	}
	tag->size = size;
	tag->is_free = false;
	if (end > *pap + size)
		tag_set_free(vm,
		    tag_new(vm, tag, *pap + size, end - *pap - size));
	tag_link(vmem_bucket(vm, tag->start), tag);
	return true;
}

static void
vmem_free(void *peer, vm_paddr_t pa, vm_size_t size)
{
	struct vmem *vm = peer;
	struct tag *tag = *vmem_bucket(vm, pa), *other;

	while (tag != NULL && tag->start != pa)
		tag = tag->next;
	if (tag == NULL || tag->size != size)
		errx(1, "vmem: freed what was not allocated");
	tag_unlink(tag);
	if ((other = tag->above) != NULL && other->is_free) {
		tag_unlink(other);
		tag->size += other->size;
		tag_drop(vm, other);
	}
	if ((other = tag->below) != NULL && other->is_free) {
		tag_unlink(other);
		other->size += tag->size;
		tag_drop(vm, tag);
		tag = other;
	}
	tag_set_free(vm, tag);
}

static vm_size_t
vmem_largest(void *peer)
{
	struct vmem *vm = peer;

	for (unsigned c = VMEM_NCLASS; c-- > 0;) {
		vm_size_t largest = 0;

		for (struct tag *tag = vm->classes[c]; tag; tag = tag->next)
			largest = MAX(largest, tag->size);
		if (largest > 0)
			return largest;
	}
	return 0;
}

const struct peer_ops peer_vmem = {
    "vmem-like",
    vmem_create,
    vmem_destroy,
    vmem_alloc,
    vmem_free,
    vmem_largest,
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
	while (fit(req, size, from, end, &pa)) {
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
