/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdlib.h>

#include "core/vm_param.h"
#include "tests/model/model_phys.h"

struct model_page {
	bool present, free;
	int domain;
	void *owner;
};

struct model_phys {
	vm_paddr_t base;
	size_t npages;
	vm_size_t page_size;
	struct model_page pages[];
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
	return model;
}

void
model_phys_destroy(struct model_phys *model)
{
	free(model);
}

/* The page that begins at `pa`, or NULL where the model has none. */
static const struct model_page *
page_at(const struct model_phys *model, vm_paddr_t pa)
{
	if (pa < model->base ||
	    (pa - model->base) / model->page_size >= model->npages)
		return NULL;
	return &model->pages[(pa - model->base) / model->page_size];
}

static bool
page_present(const struct model_phys *model, vm_paddr_t pa)
{
	const struct model_page *page = page_at(model, pa);

	return page != NULL && page->present;
}

static bool
page_free(const struct model_phys *model, vm_paddr_t pa)
{
	return page_present(model, pa) && page_at(model, pa)->free;
}

/* The page at `pa` and the one below it belong to one segment. */
static bool
page_joined(const struct model_phys *model, vm_paddr_t pa)
{
	const struct model_page *page = page_at(model, pa);
	const struct model_page *below = page_at(model, pa - model->page_size);

	return page != NULL && below != NULL && page->present &&
	       below->present && page->domain == below->domain &&
	       page->owner == below->owner;
}

static bool
range_bad(const struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	return start >= end || start % model->page_size != 0 ||
	       end % model->page_size != 0;
}

/* All of [start, end) is in one segment. */
static bool
one_segment(const struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	if (!page_present(model, start))
		return false;
	for (vm_paddr_t pa = start + model->page_size; pa < end;
	     pa += model->page_size)
		if (!page_joined(model, pa))
			return false;
	return true;
}

static void
set_pages(struct model_phys *model, vm_paddr_t start, vm_paddr_t end,
    struct model_page value)
{
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size)
		model->pages[(pa - model->base) / model->page_size] = value;
}

static void
set_free(struct model_phys *model, vm_paddr_t start, vm_paddr_t end,
    bool is_free)
{
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size)
		model->pages[(pa - model->base) / model->page_size].free =
		    is_free;
}

int
model_phys_add_seg(struct model_phys *model, vm_paddr_t start, vm_paddr_t end,
    int domain, void *owner)
{
	if (range_bad(model, start, end) || domain < 0 ||
	    domain >= VM_PHYS_DOMAINS)
		return KERN_INVALID_ARGUMENT;
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size) {
		if (page_at(model, pa) == NULL)
			abort(); /* the test asked for more than it made */
		if (page_present(model, pa))
			return KERN_INVALID_ARGUMENT;
	}
	set_pages(model, start, end,
	    (struct model_page){true, true, domain, owner});
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
		set_pages(model, start, end, (struct model_page){0});
	return rv;
}

int
model_phys_take(struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	if (range_bad(model, start, end))
		return KERN_INVALID_ARGUMENT;
	if (!one_segment(model, start, end))
		return KERN_NO_SPACE;
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size)
		if (!page_free(model, pa))
			return KERN_NO_SPACE;
	set_free(model, start, end, false);
	return KERN_SUCCESS;
}

int
model_phys_free(struct model_phys *model, vm_paddr_t start, vm_paddr_t end)
{
	if (range_bad(model, start, end))
		return KERN_INVALID_ARGUMENT;
	if (!one_segment(model, start, end))
		return KERN_INVALID_ADDRESS;
	for (vm_paddr_t pa = start; pa < end; pa += model->page_size)
		if (page_free(model, pa))
			return KERN_FAILURE;
	set_free(model, start, end, true);
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
	if (!page_free(model, pa) || !one_segment(model, pa, pa + size))
		return false;
	if (req->domain >= 0 && page_at(model, pa)->domain != req->domain)
		return false;
	for (vm_paddr_t p = pa; p < pa + size; p += model->page_size)
		if (!page_free(model, p))
			return false;
	return true;
}

bool
model_phys_feasible(const struct model_phys *model,
    const struct contig_req *req)
{
	for (size_t i = 0; i < model->npages; i++)
		if (model_phys_fits(model, req,
			model->base + i * model->page_size))
			return true;
	return false;
}

/* The longest stretch from `pa` on with pages like its first. */
static void
stretch(const struct model_phys *model, vm_paddr_t pa, bool only_free,
    struct vm_phys_run *runp)
{
	const struct model_page *page = page_at(model, pa);

	*runp = (struct vm_phys_run){pa, pa, page->domain, page->owner};
	do {
		runp->end += model->page_size;
	} while (page_joined(model, runp->end) &&
		 (!only_free || page_free(model, runp->end)));
}

/* The first page of the stretch that page i is in, or i itself. */
static size_t
stretch_start(const struct model_phys *model, size_t i, bool only_free)
{
	for (; i > 0; i--) {
		vm_paddr_t at = model->base + i * model->page_size;

		if (!page_joined(model, at) ||
		    (only_free &&
			(!page_free(model, at) ||
			    !page_free(model, at - model->page_size))))
			break;
	}
	return i;
}

static bool
next_stretch(const struct model_phys *model, vm_paddr_t pa, bool only_free,
    struct vm_phys_run *runp)
{
	size_t i =
	    pa <= model->base ? 0 : (pa - model->base) / model->page_size;

	i = i < model->npages ? stretch_start(model, i, only_free) : i;
	while (i < model->npages) {
		vm_paddr_t at = model->base + i * model->page_size;

		if (only_free ? !page_free(model, at)
			      : !page_present(model, at)) {
			i++;
			continue;
		}
		stretch(model, at, only_free, runp);
		if (runp->end > pa)
			return true;
		i = (runp->end - model->base) / model->page_size;
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
