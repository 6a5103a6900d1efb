/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_page_alloc_contig(9): each rule of the specification's section 4.7 that
 * can be shown without page structs; what waits is told to.
 */

#include "arch/sim/sim.h"
#include "core/vm_object_int.h"
#include "core/vm_page_contig.h"
#include "core/vm_param.h"
#include "tests/panics.h"
#include "tests/test.h"

#define PAGE   UINT64_C(4096)
#define BASE   (UINT64_C(1) << 30)
#define NPAGES UINT64_C(16)

static struct arch *arch;
static struct pmap pmap;
static struct vm_page_source source;

/* The pager of the source: single pages for faults, and what goes back. */
static int
page_in(void *arg, uint64_t *framep)
{
	struct vm_page_run run;
	int rv = vm_page_alloc_noobj_contig(arg, VM_ALLOC_NORMAL, 1, 0,
	    UINT64_MAX, PAGE, 0, 0, &run);

	if (rv == KERN_SUCCESS)
		*framep = run.vmr_pa / PAGE;
	return rv;
}

static int
page_copy(void *arg, vm_object_t from, uint64_t frame, uint64_t *framep)
{
	(void)from;
	(void)frame;
	return page_in(arg, framep);
}

static void
page_out(void *arg, uint64_t frame)
{
	vm_page_free_contig(arg, frame * PAGE, 1);
}

static const struct vm_pager_ops pager_ops = {page_in, page_copy, page_out};

static void
setup(void)
{
	arch = sim_create(NULL);
	pmap.arch = arch;
	source = (struct vm_page_source){.vps_phys = vm_phys_create(arch, PAGE),
	    .vps_pager = vm_pager_create(arch, &pager_ops, &source),
	    .vps_interrupt_free_min = 2,
	    .vps_free_reserved = 4};
	ASSERT_EQ(vm_phys_add_seg(source.vps_phys, BASE, BASE + NPAGES * PAGE,
		      0, NULL),
	    KERN_SUCCESS);
}

static uint64_t
nfree(void)
{
	struct vm_phys_stats stats;

	ASSERT_NULL(vm_phys_check(source.vps_phys));
	vm_phys_stats(source.vps_phys, &stats);
	return stats.free / PAGE;
}

static void
teardown(void)
{
	ASSERT_EQ(nfree(), NPAGES);
	ASSERT_EQ(vm_pager_npages(source.vps_pager), UINT64_C(0));
	vm_pager_destroy(source.vps_pager);
	vm_phys_destroy(source.vps_phys);
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

static int
noobj(int req, uint64_t npages, struct vm_page_run *runp)
{
	return vm_page_alloc_noobj_contig(&source, req, npages, 0, UINT64_MAX,
	    PAGE, 0, 0, runp);
}

static int
with_object(vm_object_t object, vm_pindex_t pindex, int req, uint64_t npages,
    struct vm_page_run *runp)
{
	return vm_page_alloc_contig(&source, object, pindex, req, npages, 0,
	    UINT64_MAX, PAGE, 0, 7, runp);
}

static vm_object_t
make_object(void)
{
	vm_object_t object = vm_object_allocate(&pmap, OBJT_SWAP, 64 * PAGE);

	ASSERT_NOT_NULL(object);
	return object;
}

TEST(vm_page_alloc_noobj_contig__meets_the_constraints)
{
	struct vm_page_run run;

	setup();
	ASSERT_EQ(vm_page_alloc_noobj_contig(&source, VM_ALLOC_NORMAL, 3,
		      BASE + 2 * PAGE, BASE + 9 * PAGE, 4 * PAGE, 4 * PAGE, 5,
		      &run),
	    KERN_SUCCESS);
	ASSERT_EQ(run.vmr_pa, BASE + 4 * PAGE);
	ASSERT_EQ(run.vmr_npages, UINT64_C(3));
	ASSERT_EQ(run.vmr_memattr, 5);
	ASSERT_EQ(nfree(), UINT64_C(13));
	vm_page_free_contig(&source, run.vmr_pa, 3);
	teardown();
}

TEST(vm_page_alloc_noobj_contig__notes_what_the_pages_are)
{
	struct vm_page_run run;

	setup();
	ASSERT_EQ(noobj(VM_ALLOC_ZERO, 1, &run), KERN_SUCCESS);
	ASSERT_EQ((int)run.vmr_busy, (int)VPB_EXCLUSIVE);
	ASSERT_FALSE(run.vmr_wired || run.vmr_nodump);
	ASSERT_FALSE(run.vmr_zero); /* wanted: the caller must look */
	vm_page_free_contig(&source, run.vmr_pa, 1);
	ASSERT_EQ(noobj(VM_ALLOC_SBUSY | VM_ALLOC_WIRED, 1, &run),
	    KERN_SUCCESS);
	ASSERT_EQ((int)run.vmr_busy, (int)VPB_SHARED);
	ASSERT_TRUE(run.vmr_wired);
	vm_page_free_contig(&source, run.vmr_pa, 1);
	ASSERT_EQ(noobj(VM_ALLOC_NOBUSY | VM_ALLOC_NODUMP | VM_ALLOC_COUNT(9),
		      1, &run),
	    KERN_SUCCESS);
	ASSERT_EQ((int)run.vmr_busy, (int)VPB_UNBUSIED);
	ASSERT_TRUE(run.vmr_nodump);
	vm_page_free_contig(&source, run.vmr_pa, 1);
	teardown();
}

/* 16 pages; normal leaves 4, system 2, interrupt none. */
TEST(vm_page_alloc_noobj_contig__leaves_what_a_class_must_leave)
{
	static const int classes[] = {VM_ALLOC_NORMAL, VM_ALLOC_SYSTEM,
	    VM_ALLOC_INTERRUPT};
	static const uint64_t most[] = {12, 14, 16};
	struct vm_page_run run;

	setup();
	for (unsigned i = 0; i < 3; i++) {
		ASSERT_EQ(noobj(classes[i], most[i] + 1, &run), KERN_NO_SPACE);
		ASSERT_EQ(noobj(classes[i], most[i], &run), KERN_SUCCESS);
		vm_page_free_contig(&source, run.vmr_pa, most[i]);
	}
	teardown();
}

/* Free pages there are, but the run as a whole would take too many. */
TEST(vm_page_alloc_noobj_contig__counts_the_whole_run_at_once)
{
	struct vm_page_run held, run;

	setup();
	ASSERT_EQ(noobj(VM_ALLOC_NORMAL, 10, &held), KERN_SUCCESS);
	ASSERT_EQ(noobj(VM_ALLOC_NORMAL, 3, &run), KERN_NO_SPACE);
	ASSERT_EQ(noobj(VM_ALLOC_NORMAL, 2, &run), KERN_SUCCESS);
	ASSERT_EQ(noobj(VM_ALLOC_NORMAL, 1, &held), KERN_NO_SPACE);
	vm_page_free_contig(&source, run.vmr_pa, 2);
	vm_page_free_contig(&source, held.vmr_pa, 10);
	teardown();
}

TEST(vm_page_alloc_noobj_contig__says_wait_only_where_waiting_can_help)
{
	struct vm_page_run held, run;

	setup();
	ASSERT_EQ(noobj(VM_ALLOC_NORMAL, 10, &held), KERN_SUCCESS);
	ASSERT_EQ(noobj(VM_ALLOC_NORMAL, 8, &run), KERN_NO_SPACE);
	ASSERT_EQ(noobj(VM_ALLOC_NOWAIT, 8, &run), KERN_NO_SPACE);
	ASSERT_EQ(noobj(VM_ALLOC_WAITOK, 8, &run), KERN_RESTART);
	ASSERT_EQ(noobj(VM_ALLOC_WAITFAIL, 8, &run), KERN_RESTART);
	/* More than a normal request can ever have, or there is at all. */
	ASSERT_EQ(noobj(VM_ALLOC_WAITOK, 13, &run), KERN_NO_SPACE);
	ASSERT_EQ(noobj(VM_ALLOC_WAITOK | VM_ALLOC_SYSTEM, 13, &run),
	    KERN_RESTART);
	ASSERT_EQ(noobj(VM_ALLOC_WAITOK | VM_ALLOC_INTERRUPT, 17, &run),
	    KERN_NO_SPACE);
	/* No memory below, whoever gives back what. */
	ASSERT_EQ(vm_page_alloc_noobj_contig(&source, VM_ALLOC_WAITOK, 1, 0,
		      BASE, PAGE, 0, 0, &run),
	    KERN_NO_SPACE);
	/* Never: X4, and a window that is none. */
	ASSERT_EQ(vm_page_alloc_noobj_contig(&source, VM_ALLOC_WAITOK, 2, 0,
		      UINT64_MAX, PAGE, PAGE, 0, &run),
	    KERN_NO_SPACE);
	ASSERT_EQ(vm_page_alloc_noobj_contig(&source, VM_ALLOC_WAITOK, 1, BASE,
		      BASE, PAGE, 0, 0, &run),
	    KERN_NO_SPACE);
	vm_page_free_contig(&source, held.vmr_pa, 10);
	teardown();
}

TEST(vm_page_alloc_contig__makes_the_run_the_objects_pages)
{
	struct vm_page_run run;
	vm_object_t object;

	setup();
	object = make_object();
	ASSERT_EQ(with_object(object, 3, VM_ALLOC_NORMAL, 5, &run),
	    KERN_SUCCESS);
	ASSERT_EQ(run.vmr_memattr, 7);
	ASSERT_EQ(object->pages.count, UINT64_C(5));
	for (uint64_t i = 0; i < 5; i++)
		ASSERT_EQ(vm_pages_find(&object->pages, 3 + i)->frame,
		    run.vmr_pa / PAGE + i);
	ASSERT_NULL(vm_pages_find(&object->pages, 2));
	ASSERT_NULL(vm_pages_find(&object->pages, 8));
	ASSERT_NULL(vm_object_check(object));
	vm_object_deallocate(object);
	teardown();
}

/* Every other page first: the worst order, and no memory for any record. */
TEST(vm_page_alloc_contig__lets_pages_go_one_by_one_without_memory)
{
	struct vm_pages gone;
	struct vm_page_run run;
	vm_object_t object;

	setup();
	ASSERT_EQ(vm_phys_add_seg(source.vps_phys, 2 * BASE,
		      2 * BASE + 4096 * PAGE, 0, NULL),
	    KERN_SUCCESS);
	object = make_object();
	ASSERT_EQ(with_object(object, 0, VM_ALLOC_NORMAL, 4096, &run),
	    KERN_SUCCESS);
	sim_fail_from(arch, 1);
	sim_limit_bytes(arch, 1);
	vm_objects_lock();
	for (vm_pindex_t i = 1; i < 4096; i += 2) {
		vm_pages_extract(&object->pages, i, i + 1, &gone);
		vm_pages_free(&gone);
	}
	vm_objects_unlock();
	ASSERT_EQ(nfree(), 2048 + NPAGES);
	vm_object_deallocate(object);
	sim_fail_never(arch);
	sim_limit_bytes(arch, 0);
	ASSERT_EQ(nfree(), 4096 + NPAGES);
	ASSERT_EQ(vm_phys_remove_seg(source.vps_phys, 2 * BASE,
		      2 * BASE + 4096 * PAGE),
	    KERN_SUCCESS);
	teardown();
}

TEST(vm_page_alloc_contig__undoes_everything_where_a_later_index_is_taken)
{
	struct vm_page_run run = {.vmr_pa = 1};
	vm_object_t object;

	setup();
	object = make_object();
	ASSERT_EQ(with_object(object, 4, VM_ALLOC_NORMAL, 1, &run),
	    KERN_SUCCESS);
	run.vmr_pa = 1;
	ASSERT_EQ(with_object(object, 2, VM_ALLOC_NORMAL, 3, &run),
	    KERN_FAILURE);
	ASSERT_EQ(run.vmr_pa, UINT64_C(1));
	ASSERT_EQ(object->pages.count, UINT64_C(1));
	ASSERT_EQ(nfree(), NPAGES - 1);
	vm_object_deallocate(object);
	teardown();
}

TEST(vm_page_alloc_contig__leaves_no_trace_when_memory_runs_out)
{
	struct vm_page_run run;
	vm_object_t object;
	int rv;

	setup();
	object = make_object();
	for (unsigned nth = 1;; nth++) {
		sim_fail_nth(arch, nth);
		rv = with_object(object, 0, VM_ALLOC_NORMAL, 8, &run);
		sim_fail_never(arch);
		if (rv == KERN_SUCCESS)
			break;
		ASSERT_EQ(rv, KERN_RESOURCE_SHORTAGE);
		ASSERT_EQ(object->pages.count, UINT64_C(0));
		ASSERT_EQ(nfree(), NPAGES);
		ASSERT_LT(nth, 50u);
	}
	vm_object_deallocate(object);
	teardown();
}

TEST(vm_page_alloc_contig__asserts_what_the_manual_page_forbids)
{
	struct vm_page_run run;
	vm_object_t object;

	setup();
	object = make_object();
	ASSERT_PANICS(with_object(object, 0, VM_ALLOC_WAITOK, 1, &run));
	ASSERT_EQ(with_object(object, 0, VM_ALLOC_NORMAL, 1, &run),
	    KERN_SUCCESS);
	ASSERT_PANICS(with_object(object, 0, VM_ALLOC_NORMAL, 1, &run));
	ASSERT_PANICS(noobj(VM_ALLOC_WAITOK | VM_ALLOC_NOWAIT, 1, &run));
	ASSERT_PANICS(noobj(VM_ALLOC_NOBUSY | VM_ALLOC_SBUSY, 1, &run));
	ASSERT_PANICS(noobj(VM_ALLOC_CLASS_MASK, 1, &run));
	ASSERT_PANICS(noobj(VM_ALLOC_NORMAL, 0, &run));
	ASSERT_PANICS(vm_page_alloc_noobj_contig(&source, VM_ALLOC_NORMAL, 1, 0,
	    UINT64_MAX, 3 * PAGE, 0, 0, &run));
	ASSERT_PANICS(vm_page_alloc_noobj_contig(&source, VM_ALLOC_NORMAL, 1, 0,
	    UINT64_MAX, PAGE, 3, 0, &run));
	vm_object_deallocate(object);
	teardown();
}
