/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_fault() and pages: zero fill, copy on write across forks, collapse,
 * stacks, wiring, handles, and that every frame comes back.  The pager here
 * remembers one number a frame, so the cases see whose data is whose.
 */

#include <stdlib.h>

#include "arch/sim/sim.h"
#include "core/vm_fault.h"
#include "core/vm_map_int.h"
#include "tests/test.h"

#define PAGE    ((vm_size_t)4096)
#define MIN_VA  ((vm_offset_t)0x10000)
#define MAX_VA  ((vm_offset_t)0x40000000)
#define NFRAMES 512

static struct arch *arch;
static struct pmap pmap;
static struct vm_pager *pager;
static vm_map_t map;

static int frame_data[NFRAMES]; /* what is written in it */
static bool frame_used[NFRAMES];

static int
frame_alloc(void *arg, uint64_t *framep)
{
	(void)arg;
	for (uint64_t i = 0; i < NFRAMES; i++)
		if (!frame_used[i]) {
			frame_used[i] = true;
			frame_data[i] = 0;
			*framep = i;
			return KERN_SUCCESS;
		}
	return KERN_RESOURCE_SHORTAGE;
}

static int
frame_copy(void *arg, vm_object_t source, uint64_t frame, uint64_t *framep)
{
	int rv = frame_alloc(arg, framep);

	/* What a handle stands for holds 1000 + its index here. */
	if (rv == KERN_SUCCESS)
		frame_data[*framep] = vm_object_type(source) == OBJT_SWAP
					  ? frame_data[frame]
					  : 1000 + (int)frame;
	return rv;
}

static void
frame_free(void *arg, uint64_t frame)
{
	(void)arg;
	ASSERT_TRUE(frame < NFRAMES && frame_used[frame]);
	frame_used[frame] = false;
}

static const struct vm_pager_ops pager_ops = {
    .alloc = frame_alloc,
    .copy = frame_copy,
    .free = frame_free,
};

static size_t
frames_used(void)
{
	size_t n = 0;

	for (size_t i = 0; i < NFRAMES; i++)
		n += frame_used[i];
	return n;
}

static void
setup(void)
{
	arch = sim_create(NULL);
	pmap.arch = arch;
	pager = vm_pager_create(arch, &pager_ops, NULL);
	map = vm_map_create(&pmap, MIN_VA, MAX_VA);
	ASSERT_NOT_NULL(map);
	vm_map_set_pager(map, pager);
}

static void
teardown(void)
{
	vm_map_destroy(map);
	ASSERT_EQ(frames_used(), 0u);
	ASSERT_EQ(vm_pager_npages(pager), 0u);
	vm_pager_destroy(pager);
	ASSERT_EQ(sim_live(arch), 0u);
	sim_destroy(arch);
}

static void
enter(vm_map_t m, vm_offset_t start, vm_size_t size, int cow)
{
	vm_map_lock(m);
	ASSERT_EQ(vm_map_insert(m, NULL, 0, start, start + size, VM_PROT_RW,
		      VM_PROT_ALL, cow),
	    KERN_SUCCESS);
	vm_map_unlock(m);
}

/* Access like a processor would: fault, then use what the answer allows. */
static struct vm_fault
must_fault(vm_map_t m, vm_offset_t addr, vm_prot_t type)
{
	struct vm_fault fault;

	ASSERT_EQ(vm_fault(m, addr, type, &fault), KERN_SUCCESS);
	ASSERT_EQ(type & ~fault.prot & VM_PROT_ALL, 0);
	return fault;
}

static void
store(vm_map_t m, vm_offset_t addr, int value)
{
	struct vm_fault fault = must_fault(m, addr, VM_PROT_WRITE);

	ASSERT_TRUE(fault.kind != VM_FAULT_SHARED);
	frame_data[fault.frame] = value;
}

static int
load(vm_map_t m, vm_offset_t addr)
{
	return frame_data[must_fault(m, addr, VM_PROT_READ).frame];
}

TEST(vm_fault__fills_with_zeroes_once)
{
	struct vm_fault fault;

	setup();
	enter(map, 0x20000, 4 * PAGE, 0);
	fault = must_fault(map, 0x21234, VM_PROT_READ);
	ASSERT_EQ(fault.kind, VM_FAULT_ZERO);
	ASSERT_EQ(fault.pindex, 1u);
	ASSERT_EQ(fault.prot, VM_PROT_RW);
	ASSERT_EQ(vm_object_npages(fault.object), 1u);
	ASSERT_EQ(must_fault(map, 0x21000, VM_PROT_WRITE).kind,
	    VM_FAULT_RESIDENT);
	ASSERT_EQ(frames_used(), 1u);
	teardown();
}

TEST(vm_fault__refuses_what_is_not_there_or_not_allowed)
{
	struct vm_fault fault;

	setup();
	enter(map, 0x20000, 4 * PAGE, 0);
	vm_map_lock(map);
	ASSERT_EQ(vm_map_insert(map, NULL, 0, 0x30000, 0x31000, VM_PROT_NONE,
		      VM_PROT_NONE, MAP_CREATE_GUARD),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_insert(map, NULL, 0, 0x40000, 0x41000, VM_PROT_RW,
		      VM_PROT_RW, MAP_NOFAULT),
	    KERN_SUCCESS);
	vm_map_unlock(map);
	ASSERT_EQ(vm_fault(map, 0x25000, VM_PROT_READ, &fault),
	    KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_fault(map, 0x1000, VM_PROT_READ, &fault),
	    KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_fault(map, 0x20000, VM_PROT_EXECUTE, &fault),
	    KERN_PROTECTION_FAILURE);
	ASSERT_EQ(vm_fault(map, 0x30000, VM_PROT_READ, &fault),
	    KERN_PROTECTION_FAILURE);
	ASSERT_EQ(vm_fault(map, 0x40000, VM_PROT_READ, &fault), KERN_FAILURE);
	vm_map_set_pager(map, NULL);
	ASSERT_EQ(vm_fault(map, 0x20000, VM_PROT_READ, &fault), KERN_FAILURE);
	ASSERT_EQ(frames_used(), 0u);
	teardown();
}

TEST(vm_fault__shares_frames_with_a_child_until_one_of_them_writes)
{
	vm_map_t child;

	setup();
	enter(map, 0x20000, 4 * PAGE, 0);
	store(map, 0x20000, 1);
	store(map, 0x21000, 2);
	ASSERT_EQ(vmspace_fork(map, NULL, &child), KERN_SUCCESS);
	ASSERT_EQ(must_fault(map, 0x20000, VM_PROT_READ).frame,
	    must_fault(child, 0x20000, VM_PROT_READ).frame);
	ASSERT_EQ(must_fault(child, 0x20000, VM_PROT_READ).prot, VM_PROT_READ);
	ASSERT_EQ(frames_used(), 2u);

	store(child, 0x20000, 10);
	store(map, 0x21000, 20);
	ASSERT_EQ(load(map, 0x20000), 1);
	ASSERT_EQ(load(child, 0x20000), 10);
	ASSERT_EQ(load(map, 0x21000), 20);
	ASSERT_EQ(load(child, 0x21000), 2);
	/* What neither had is each one's own. */
	store(map, 0x22000, 3);
	ASSERT_EQ(load(child, 0x22000), 0);

	vm_map_destroy(map);
	map = child; /* what is left collapses, and its data with it */
	ASSERT_EQ(load(map, 0x20000), 10);
	ASSERT_EQ(load(map, 0x21000), 2);
	ASSERT_EQ(load(map, 0x22000), 0);
	teardown();
}

TEST(vm_fault__shows_shared_writes_to_both_and_zeroes_to_the_child)
{
	vm_map_t child;

	setup();
	enter(map, 0x20000, PAGE, 0);
	enter(map, 0x30000, PAGE, 0);
	enter(map, 0x40000, PAGE, 0);
	for (vm_offset_t a = 0x20000; a <= 0x40000; a += 0x10000)
		store(map, a, 7);
	ASSERT_EQ(vm_map_inherit(map, 0x20000, 0x21000, VM_INHERIT_SHARE),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_inherit(map, 0x30000, 0x31000, VM_INHERIT_ZERO),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_inherit(map, 0x40000, 0x41000, VM_INHERIT_NONE),
	    KERN_SUCCESS);
	ASSERT_EQ(vmspace_fork(map, NULL, &child), KERN_SUCCESS);
	store(child, 0x20000, 8);
	ASSERT_EQ(load(map, 0x20000), 8);
	ASSERT_EQ(load(child, 0x30000), 0);
	ASSERT_EQ(load(map, 0x30000), 7);
	ASSERT_EQ(vm_map_nentries(child), 2u);
	vm_map_destroy(child);
	teardown();
}

TEST(vm_fault__copies_wired_pages_when_the_map_forks)
{
	vm_map_t child;

	setup();
	enter(map, 0x20000, 2 * PAGE, 0);
	store(map, 0x20000, 5);
	ASSERT_EQ(vm_map_wire(map, 0x20000, 0x22000, VM_MAP_WIRE_USER),
	    KERN_SUCCESS);
	ASSERT_EQ(vmspace_fork(map, NULL, &child), KERN_SUCCESS);
	ASSERT_EQ(frames_used(), 2u); /* copied at once */
	ASSERT_EQ(load(child, 0x20000), 5);
	ASSERT_TRUE(must_fault(map, 0x20000, VM_PROT_WRITE).wired);
	ASSERT_FALSE(must_fault(child, 0x20000, VM_PROT_READ).wired);
	store(map, 0x20000, 6);
	ASSERT_EQ(load(child, 0x20000), 5);
	vm_map_destroy(child);
	teardown();
}

TEST(vm_fault__grows_a_stack_but_not_into_its_guard)
{
	vm_offset_t bos = 0x100000;
	struct vm_fault fault;

	setup();
	ASSERT_EQ(vm_map_stack(map, bos, 1 << 20, VM_PROT_RW, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	store(map, bos + (1 << 20) - 16, 1);
	store(map, bos + 0x1010, 2); /* the lowest page that may grow */
	ASSERT_EQ(load(map, bos + (1 << 20) - 16), 1);
	ASSERT_EQ(vm_fault(map, bos + 0x10, VM_PROT_WRITE, &fault),
	    KERN_PROTECTION_FAILURE);
	teardown();
}

TEST(vm_fault__names_the_page_of_what_a_handle_stands_for)
{
	vm_object_t object;
	struct vm_fault fault;
	vm_offset_t addr = 0x200000;

	setup();
	object = vm_object_allocate(&pmap, OBJT_SUPER, 2 << 20);
	vm_object_reference(object);
	vm_map_lock(map);
	ASSERT_EQ(vm_map_insert(map, object, 0x3000, addr, addr + 2 * PAGE,
		      VM_PROT_RW, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_insert(map, object, 0x5000, addr + 0x10000,
		      addr + 0x10000 + 2 * PAGE, VM_PROT_RW, VM_PROT_ALL,
		      MAP_COPY_ON_WRITE),
	    KERN_SUCCESS);
	vm_map_unlock(map);
	fault = must_fault(map, addr + PAGE, VM_PROT_WRITE);
	ASSERT_EQ(fault.kind, VM_FAULT_HANDLE);
	ASSERT_EQ(fault.pindex, 4u);
	ASSERT_TRUE(fault.object == object);

	/* A private view of it: read through, copied at the first write. */
	fault = must_fault(map, addr + 0x10000, VM_PROT_READ);
	ASSERT_EQ(fault.kind, VM_FAULT_HANDLE);
	ASSERT_EQ(fault.prot, VM_PROT_READ);
	fault = must_fault(map, addr + 0x10000, VM_PROT_WRITE);
	ASSERT_EQ(fault.kind, VM_FAULT_COPY);
	ASSERT_EQ(frame_data[fault.frame], 1005);
	teardown();
}

TEST(vm_fault__gives_pages_back_with_what_showed_them)
{
	setup();
	enter(map, 0x20000, 8 * PAGE, 0);
	for (vm_offset_t a = 0x20000; a < 0x28000; a += PAGE)
		store(map, a, (int)a);
	ASSERT_EQ(frames_used(), 8u);
	ASSERT_EQ(vm_map_remove(map, 0x22000, 0x24000), KERN_SUCCESS);
	ASSERT_EQ(frames_used(), 6u);
	ASSERT_EQ(load(map, 0x25000), 0x25000);

	ASSERT_EQ(vm_map_madvise(map, 0x20000, 0x21000, VM_MADV_DONTNEED),
	    KERN_SUCCESS);
	ASSERT_EQ(load(map, 0x20000), 0x20000);
	ASSERT_EQ(vm_map_madvise(map, 0x20000, 0x21000, VM_MADV_FREE),
	    KERN_SUCCESS);
	ASSERT_EQ(frames_used(), 5u);
	ASSERT_EQ(load(map, 0x20000), 0);
	teardown();
}

TEST(vm_fault__answers_out_of_bounds_behind_the_object)
{
	vm_object_t object;
	struct vm_fault fault;

	setup();
	object = vm_object_allocate(&pmap, OBJT_SWAP, PAGE);
	vm_map_lock(map);
	ASSERT_EQ(vm_map_insert(map, object, 0, 0x20000, 0x22000, VM_PROT_RW,
		      VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	vm_map_unlock(map);
	(void)must_fault(map, 0x20000, VM_PROT_READ);
	ASSERT_EQ(vm_fault(map, 0x21000, VM_PROT_READ, &fault),
	    KERN_OUT_OF_BOUNDS);
	teardown();
}

/* Fail each allocation in turn: no frame is lost, and none is seen. */
TEST(vm_fault__leaves_no_frame_behind_when_memory_runs_out)
{
	vm_map_t child;
	size_t used;
	int rv;

	setup();
	enter(map, 0x20000, 4 * PAGE, 0);
	store(map, 0x20000, 1);
	ASSERT_EQ(vm_map_wire(map, 0x20000, 0x22000, VM_MAP_WIRE_SYSTEM),
	    KERN_SUCCESS);
	store(map, 0x21000, 2);
	used = frames_used();
	for (uint64_t nth = 1;; nth++) {
		sim_fail_nth(arch, nth);
		rv = vmspace_fork(map, NULL, &child);
		sim_fail_never(arch);
		if (rv == KERN_SUCCESS)
			break;
		ASSERT_EQ(rv, KERN_RESOURCE_SHORTAGE);
		ASSERT_EQ(frames_used(), used);
	}
	ASSERT_EQ(load(child, 0x21000), 2);
	for (uint64_t nth = 1;; nth++) {
		struct vm_fault fault;

		sim_fail_nth(arch, nth);
		rv = vm_fault(child, 0x23000, VM_PROT_WRITE, &fault);
		sim_fail_never(arch);
		if (rv == KERN_SUCCESS)
			break;
		ASSERT_EQ(rv, KERN_RESOURCE_SHORTAGE);
	}
	vm_map_destroy(child);
	ASSERT_EQ(vm_map_unwire(map, 0x20000, 0x22000, VM_MAP_WIRE_SYSTEM),
	    KERN_SUCCESS);
	teardown();
}

/*
 * Random stores, forks, removals and destructions of up to four maps, against
 * an array of what each should read.
 */
TEST(vm_fault__keeps_every_maps_data_apart)
{
	enum { NMAPS = 4, NPAGES = 24 };
	static int want[NMAPS][NPAGES];
	vm_map_t maps[NMAPS] = {NULL};
	uint64_t seed = test_seed(), ops = test_ops(4000);

	setup();
	maps[0] = map;
	enter(map, MIN_VA, NPAGES * PAGE, 0);
	for (uint64_t op = 0; op < ops; op++) {
		size_t m = test_random(&seed) % NMAPS;
		size_t to = test_random(&seed) % NMAPS;
		size_t i = test_random(&seed) % NPAGES;
		vm_offset_t a = MIN_VA + i * PAGE;

		if (maps[m] == NULL)
			continue;
		switch (test_random(&seed) % 12) {
		case 0:
			if (maps[to] != NULL)
				break;
			ASSERT_EQ(vmspace_fork(maps[m], NULL, &maps[to]),
			    KERN_SUCCESS);
			memcpy(want[to], want[m], sizeof(want[m]));
			break;
		case 1:
			if (m == 0)
				break;
			vm_map_destroy(maps[m]);
			maps[m] = NULL;
			break;
		case 2:
			/* Fresh zeroes in place of what was there. */
			ASSERT_EQ(vm_map_fixed(maps[m], NULL, 0, a, PAGE,
				      VM_PROT_RW, VM_PROT_ALL, 0),
			    KERN_SUCCESS);
			want[m][i] = 0;
			break;
		case 3:
		case 4:
		case 5:
			store(maps[m], a, want[m][i] = (int)op + 1);
			break;
		default:
			ASSERT_EQ(load(maps[m], a), want[m][i]);
		}
	}
	for (size_t m = 0; m < NMAPS; m++)
		for (size_t i = 0; maps[m] != NULL && i < NPAGES; i++)
			ASSERT_EQ(load(maps[m], MIN_VA + i * PAGE), want[m][i]);
	for (size_t m = 1; m < NMAPS; m++)
		vm_map_destroy(maps[m]);
	teardown();
}
