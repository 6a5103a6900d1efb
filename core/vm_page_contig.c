/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/vm_page_contig.h"
#include "core/kassert.h"
#include "core/vm_object_int.h"
#include "core/vm_param.h"

/* Pages that a class must leave. */
static uint64_t
class_keeps(const struct vm_page_source *source, int req)
{
	MPASS(source->vps_interrupt_free_min <= source->vps_free_reserved);

	switch (req & VM_ALLOC_CLASS_MASK) {
	case VM_ALLOC_INTERRUPT:
		return 0;
	case VM_ALLOC_SYSTEM:
		return source->vps_interrupt_free_min;
	default:
		return source->vps_free_reserved;
	}
}

static void
req_assert(int req)
{
	KASSERT((req & VM_ALLOC_CLASS_MASK) != VM_ALLOC_CLASS_MASK,
	    "vm_page_alloc_contig: class");
	KASSERT((req & (VM_ALLOC_NOBUSY | VM_ALLOC_SBUSY)) !=
		    (VM_ALLOC_NOBUSY | VM_ALLOC_SBUSY),
	    "vm_page_alloc_contig: VM_ALLOC_NOBUSY and VM_ALLOC_SBUSY");
	KASSERT((req & VM_ALLOC_NOWAIT) == 0 ||
		    (req & (VM_ALLOC_WAITOK | VM_ALLOC_WAITFAIL)) == 0,
	    "vm_page_alloc_contig: wait and do not wait");
}

/* There is none.  May it wait for some? */
static int
none_now(struct vm_page_source *source, int req, const struct contig_req *creq)
{
	struct vm_phys_stats stats;
	vm_size_t page = vm_phys_page_size(source->vps_phys);

	MPASS(creq->size > 0);

	vm_phys_stats(source->vps_phys, &stats);
	if ((req & (VM_ALLOC_WAITOK | VM_ALLOC_WAITFAIL)) == 0 ||
	    stats.total < creq->size + class_keeps(source, req) * page ||
	    !vm_phys_possible(source->vps_phys, creq))
		return KERN_NO_SPACE;
	return KERN_RESTART;
}

/* The run is taken; what is known of it. */
static struct vm_page_run
run_of(vm_paddr_t pa, uint64_t npages, int req, int memattr)
{
	MPASS(npages > 0);

	return (struct vm_page_run){.vmr_pa = pa,
	    .vmr_npages = npages,
	    .vmr_busy = (req & VM_ALLOC_NOBUSY) != 0  ? VPB_UNBUSIED
			: (req & VM_ALLOC_SBUSY) != 0 ? VPB_SHARED
						      : VPB_EXCLUSIVE,
	    .vmr_memattr = memattr,
	    .vmr_wired = (req & VM_ALLOC_WIRED) != 0,
	    .vmr_nodump = (req & VM_ALLOC_NODUMP) != 0};
}

int
vm_page_alloc_noobj_contig(struct vm_page_source *source, int req,
    uint64_t npages, vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment,
    vm_paddr_t boundary, int memattr, struct vm_page_run *runp)
{
	vm_size_t page = vm_phys_page_size(source->vps_phys);
	struct contig_req creq = {npages * page, low, high, alignment, boundary,
	    -1};
	struct vm_phys_stats stats;
	vm_paddr_t pa;
	int rv;

	req_assert(req);
	KASSERT(npages > 0, "vm_page_alloc_contig: no pages");
	KASSERT(alignment > 0 && powerof2(alignment),
	    "vm_page_alloc_contig: alignment");
	KASSERT(powerof2(boundary), "vm_page_alloc_contig: boundary");

	if (contig_req_check(&creq, page, NULL) != KERN_SUCCESS ||
	    creq.size / page != npages)
		return KERN_NO_SPACE;
	vm_phys_stats(source->vps_phys, &stats);
	if (stats.free / page < class_keeps(source, req) + npages)
		return none_now(source, req, &creq);
	rv = vm_phys_alloc_contig(source->vps_phys, &creq, &pa);
	if (rv == KERN_NO_SPACE)
		return none_now(source, req, &creq);
	if (rv == KERN_SUCCESS)
		*runp = run_of(pa, npages, req, memattr);
	return rv;
}

/* Is an index of [pindex, pindex + npages) taken? */
static bool
index_taken(vm_object_t object, vm_pindex_t pindex, uint64_t npages)
{
	MPASS(npages > 0);

	for (uint64_t i = 0; i < npages; i++)
		if (vm_pages_find(&object->pages, pindex + i) != NULL)
			return true;
	return false;
}

static void
insert_run(struct vm_pager *pager, vm_object_t object, vm_pindex_t pindex,
    const struct vm_page_run *run)
{
	uint64_t first = run->vmr_pa / object->pagesize;

	MPASS(run->vmr_npages > 0);

	for (uint64_t i = 0; i < run->vmr_npages; i++) {
		struct vm_page *page = uma_zalloc_reserved(&pager->pages);

		*page = (struct vm_page){.pager = pager,
		    .pindex = pindex + i,
		    .frame = first + i};
		vm_pages_insert(&object->pages, page);
	}
}

int
vm_page_alloc_contig(struct vm_page_source *source, vm_object_t object,
    vm_pindex_t pindex, int req, uint64_t npages, vm_paddr_t low,
    vm_paddr_t high, vm_paddr_t alignment, vm_paddr_t boundary, int memattr,
    struct vm_page_run *runp)
{
	struct vm_pager *pager = source->vps_pager;
	struct vm_page_run run;
	int rv;

	KASSERT((req & VM_ALLOC_WAITOK) == 0,
	    "vm_page_alloc_contig: VM_ALLOC_WAITOK with an object");
	MPASS(pager != NULL && object->handle == NULL);
	MPASS(object->pagesize == vm_phys_page_size(source->vps_phys));

	rv = vm_page_alloc_noobj_contig(source, req, npages, low, high,
	    alignment, boundary, memattr, &run);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_objects_lock();
	KASSERT(vm_pages_find(&object->pages, pindex) == NULL,
	    "vm_page_alloc_contig: a page at the first index");
	if (index_taken(object, pindex, npages))
		rv = KERN_FAILURE;
	if (rv == KERN_SUCCESS)
		rv = uma_zone_reserve(&pager->pages, npages);
	/* They go one by one: records for all of them now. */
	if (rv == KERN_SUCCESS)
		rv = vm_phys_expect_pieces(source->vps_phys, npages - 1);
	if (rv == KERN_SUCCESS)
		insert_run(pager, object, pindex, &run);
	vm_objects_unlock();
	if (rv != KERN_SUCCESS) {
		vm_page_free_contig(source, run.vmr_pa, npages);
		return rv;
	}
	*runp = run;
	return KERN_SUCCESS;
}

void
vm_page_free_contig(struct vm_page_source *source, vm_paddr_t pa,
    uint64_t npages)
{
	vm_size_t page = vm_phys_page_size(source->vps_phys);
	int rv;

	MPASS(npages > 0);

	rv = vm_phys_free_contig(source->vps_phys, pa, pa + npages * page);
	KASSERT(rv == KERN_SUCCESS, "pages come back once");
	(void)rv;
}
