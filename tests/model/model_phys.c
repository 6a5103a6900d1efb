/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdlib.h>

#include "core/vm_param.h"
#include "tests/model/model_phys.h"

#define KINDS_MAX 1024

/* Whose a page may be. */
struct kind {
	int domain;
	void *owner;
};

/* One number a page: 0 absent, otherwise 2 * its kind + (free ? 1 : 0). */
struct model_phys {
	vm_paddr_t base;
	size_t npages;
	vm_size_t page_size;
	unsigned shift;
	unsigned nkinds; /* kind 0 is nobody's */
	struct kind kinds[KINDS_MAX];
	uint16_t pages[];
};

struct model_phys *
model_phys_create(vm_paddr_t base, size_t npages, vm_size_t page_size)
{
	struct model_phys *model =
	    calloc(1, sizeof(*model) + npages * sizeof(model->pages[0]));

	if (model == NULL)
		abort();
	model->base = base;
	model->npages = npages;
	model->page_size = page_size;
	model->shift = (unsigned)__builtin_ctzll(page_size);
	model->nkinds = 1;
	return model;
}

void
model_phys_destroy(struct model_phys *model)
{
	free(model);
}

static unsigned
kind_of(struct model_phys *model, int domain, void *owner)
{
	unsigned k = 1;

	while (k < model->nkinds && (model->kinds[k].domain != domain ||
					model->kinds[k].owner != owner))
		k++;
	if (k == KINDS_MAX)
		abort(); /* the test has too many owners */
	model->kinds[k] = (struct kind){domain, owner};
	model->nkinds = MAX(model->nkinds, k + 1);
	return k;
}

/* The page that begins at `pa`; 0 where the model has none. */
static unsigned
page_at(const struct model_phys *model, vm_paddr_t pa)
{
	size_t i = (pa - model->base) >> model->shift;

	return pa >= model->base && i < model->npages ? model->pages[i] : 0;
}

static bool
page_present(const struct model_phys *model, vm_paddr_t pa)
{
	return page_at(model, pa) != 0;
}

static bool
page_free(const struct model_phys *model, vm_paddr_t pa)
{
	return (page_at(model, pa) & 1) != 0;
}

static bool
range_bad(const struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	return start >= end || start % model->page_size != 0 ||
	       end % model->page_size != 0;
}

/* All of [start, end) is in one segment, and, if asked, free. */
static bool
one_segment(const struct model_phys *model, vm_paddr_t start, vm_paddr_t end,
    bool only_free)
{
	unsigned first = page_at(model, start), mask = only_free ? 0 : 1;
	size_t i = (start - model->base) >> model->shift;
	size_t n = (end - start) >> model->shift;

	if (first == 0 || (only_free && (first & 1) == 0) ||
	    n > model->npages - i)
		return false;
	for (first |= mask; n > 0; i++, n--)
		if ((model->pages[i] | mask) != first || model->pages[i] == 0)
			return false;
	return true;
}

static void
set_pages(struct model_phys *model, vm_paddr_t start, vm_paddr_t end,
    unsigned value)
{
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size)
		model->pages[(pa - model->base) >> model->shift] =
		    (uint16_t)value;
}

int
model_phys_add_seg(struct model_phys *model, vm_paddr_t start, vm_paddr_t end,
    int domain, void *owner)
{
	if (range_bad(model, start, end) || domain < 0 ||
	    domain >= VM_PHYS_DOMAINS)
		return KERN_INVALID_ARGUMENT;
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size) {
		if (pa < model->base ||
		    (pa - model->base) >> model->shift >= model->npages)
			abort(); /* the test asked for more than it made */
		if (page_present(model, pa))
			return KERN_INVALID_ARGUMENT;
	}
	set_pages(model, start, end, 2 * kind_of(model, domain, owner) + 1);
	return KERN_SUCCESS;
}

int
model_phys_remove_seg(struct model_phys *model, vm_paddr_t start,
    vm_paddr_t end)
{
	int rv = KERN_SUCCESS;

	if (range_bad(model, start, end))
		return KERN_INVALID_ARGUMENT;
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size) {
		if (!page_present(model, pa))
			return KERN_INVALID_ADDRESS;
		if (!page_free(model, pa))
			rv = KERN_FAILURE;
	}
	if (rv == KERN_SUCCESS)
		set_pages(model, start, end, 0);
	return rv;
}

int
model_phys_take(struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	if (range_bad(model, start, end))
		return KERN_INVALID_ARGUMENT;
	if (!one_segment(model, start, end, true))
		return KERN_NO_SPACE;
	set_pages(model, start, end, page_at(model, start) & ~1u);
	return KERN_SUCCESS;
}

int
model_phys_free(struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	if (range_bad(model, start, end))
		return KERN_INVALID_ARGUMENT;
	if (!one_segment(model, start, end, false))
		return KERN_INVALID_ADDRESS;
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size)
		if (page_free(model, pa))
			return KERN_FAILURE;
	set_pages(model, start, end, page_at(model, start) | 1);
	return KERN_SUCCESS;
}

bool
model_phys_fits(const struct model_phys *model, const struct contig_req *req,
    vm_paddr_t pa)
{
	vm_size_t size = (req->size + model->page_size - 1) / model->page_size *
			 model->page_size;
	vm_paddr_t last = pa + size - 1;

	if (pa % model->page_size != 0 || pa % req->alignment != 0)
		return false;
	if (pa < req->low || last < pa || last >= req->high)
		return false;
	if (req->boundary != 0 && pa / req->boundary != last / req->boundary)
		return false;
	if (req->domain >= 0 &&
	    model->kinds[page_at(model, pa) / 2].domain != req->domain)
		return false;
	return one_segment(model, pa, pa + size, true);
}

bool
model_phys_feasible(const struct model_phys *model,
    const struct contig_req *req)
{
	for (size_t i = 0; i < model->npages; i++)
		if ((model->pages[i] & 1) != 0 &&
		    model_phys_fits(model, req,
			model->base + i * model->page_size))
			return true;
	return false;
}

/*
 * The stretch of pages like page i around it; i moves behind it.  Pages of one
 * kind are alike whether free or not, unless only free ones are looked for.
 */
static void
stretch(const struct model_phys *model, size_t *ip, bool only_free,
    struct vm_phys_run *runp)
{
	unsigned mask = only_free ? 0 : 1, like = model->pages[*ip] | mask;
	const struct kind *kind = &model->kinds[like / 2];
	size_t first = *ip, end = *ip;

	while (first > 0 && (model->pages[first - 1] | mask) == like &&
	       model->pages[first - 1] != 0)
		first--;
	while (end < model->npages && (model->pages[end] | mask) == like &&
	       model->pages[end] != 0)
		end++;
	*runp = (struct vm_phys_run){model->base +
					 ((vm_paddr_t)first << model->shift),
	    model->base + ((vm_paddr_t)end << model->shift), kind->domain,
	    kind->owner};
	*ip = end;
}

static bool
next_stretch(const struct model_phys *model, vm_paddr_t pa, bool only_free,
    struct vm_phys_run *runp)
{
	size_t i = pa <= model->base ? 0 : (pa - model->base) >> model->shift;

	while (i < model->npages) {
		if (only_free ? (model->pages[i] & 1) == 0
			      : model->pages[i] == 0) {
			i++;
			continue;
		}
		stretch(model, &i, only_free, runp);
		if (runp->end > pa)
			return true;
	}
	return false;
}

bool
model_phys_next_free(const struct model_phys *model, vm_paddr_t pa,
    struct vm_phys_run *runp)
{
	return next_stretch(model, pa, true, runp);
}

bool
model_phys_next_seg(const struct model_phys *model, vm_paddr_t pa,
    struct vm_phys_run *runp)
{
	return next_stretch(model, pa, false, runp);
}
