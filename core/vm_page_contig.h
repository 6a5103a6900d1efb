/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * vm_page_alloc_contig(9): physically contiguous pages, with or without an
 * object.
 *
 * FreeBSD takes them from the machine; here a source says from which vm_phys,
 * and how many pages it keeps back for whom.  There are no page structs: what
 * FreeBSD notes in each page of a run stands once, in the run.  The core does
 * not sleep: what may wait is told to wait (KERN_RESTART).
 * Source of the rules: vm_page_alloc(9), vm_page_alloc_contig(9).  Design:
 * docs/design/vm_contig.md.
 */

#include "core/vm_page.h"
#include "core/vm_phys.h"

/* Classes: who may use the last pages. */
#define VM_ALLOC_NORMAL     0x0000 /* leaves free_reserved */
#define VM_ALLOC_INTERRUPT  0x0001 /* leaves none */
#define VM_ALLOC_SYSTEM     0x0002 /* leaves interrupt_free_min */
#define VM_ALLOC_CLASS_MASK 0x0003
/* What to do where there is none: by default, and with NOWAIT, say so. */
#define VM_ALLOC_WAITOK     0x0008 /* wait, and try again; not with an object */
#define VM_ALLOC_WAITFAIL   0x0010 /* wait, but do not try again */
#define VM_ALLOC_NOWAIT     0x8000
/* What the pages are. */
#define VM_ALLOC_WIRED      0x0020
#define VM_ALLOC_ZERO       0x0040 /* wanted: vmr_zero says if they are zero */
#define VM_ALLOC_NOBUSY     0x0200 /* by default they are exclusively busy */
#define VM_ALLOC_SBUSY      0x4000
#define VM_ALLOC_NODUMP     0x2000
/* So many more are to follow: a hint, of which nothing comes here. */
#define VM_ALLOC_COUNT(n)   ((n) << 16)

enum vm_page_busy { VPB_UNBUSIED, VPB_SHARED, VPB_EXCLUSIVE };

/* Where pages come from.  Embedded by its owner, who serialises calls. */
struct vm_page_source {
	struct vm_phys *vps_phys;
	struct vm_pager *vps_pager; /* of pages that go into objects; its frames
				     * are page numbers, and its free() gives
				     * them to vm_page_free_contig() */
	uint64_t vps_interrupt_free_min, vps_free_reserved; /* pages */
};

/* What was allocated. */
struct vm_page_run {
	vm_paddr_t vmr_pa;
	uint64_t vmr_npages;
	enum vm_page_busy vmr_busy;
	int vmr_memattr;
	bool vmr_wired, vmr_nodump;
	bool vmr_zero; /* known to be zeroes: never, the core touches none */
};

/*
 * `npages` pages, physically contiguous, in [low, high), aligned, not crossing
 * a multiple of boundary.  The whole run counts against the class at once.
 * KERN_NO_SPACE: there are none.  KERN_RESTART: none now, but VM_ALLOC_WAITOK
 * or VM_ALLOC_WAITFAIL was given and some could come of what is handed out.
 * KERN_RESOURCE_SHORTAGE: no memory for records.  What the manual page forbids
 * is asserted.
 */
int vm_page_alloc_noobj_contig(struct vm_page_source *source, int req,
    uint64_t npages, vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment,
    vm_paddr_t boundary, int memattr, struct vm_page_run *runp);

/*
 * The same, and the pages become those of `object` at `pindex` and on.  The
 * first index must be free (asserted), as must VM_ALLOC_WAITOK not be given: it
 * would drop the object's lock.  KERN_FAILURE: a later index is taken; as for
 * all failures, nothing is left behind.  The pages go one by one with the
 * object's.
 */
int vm_page_alloc_contig(struct vm_page_source *source, vm_object_t object,
    vm_pindex_t pindex, int req, uint64_t npages, vm_paddr_t low,
    vm_paddr_t high, vm_paddr_t alignment, vm_paddr_t boundary, int memattr,
    struct vm_page_run *runp);

/*
 * Give pages back that have no object: what one call allocated.  From a
 * pager's free(): one page of an object's.  Never needs memory.
 */
void vm_page_free_contig(struct vm_page_source *source, vm_paddr_t pa,
    uint64_t npages);
