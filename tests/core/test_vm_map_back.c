/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map_back() and vm_object_run(): what a mirror asks of the core.  Frames
 * ascend, so runs can be seen to join and to end.
 */

#include "arch/sim/sim.h"
#include "core/vm_fault.h"
#include "core/vm_map_int.h"
#include "tests/test.h"

#define PAGE   ((vm_size_t)4096)
#define MIN_VA ((vm_offset_t)0x10000)
#define MAX_VA ((vm_offset_t)0x40000000)

static struct arch *arch;
static struct pmap pmap;
static struct vm_pager *pager;
static vm_map_t map;
static uint64_t next_frame;
static unsigned released;
static int nframes;

static int
frame_alloc(void *arg, uint64_t *framep)
{
	(void)arg;
	nframes++;
	*framep = next_frame++;
	return KERN_SUCCESS;
}

static int
frame_copy(void *arg, vm_object_t source, uint64_t frame, uint64_t *framep)
{
	(void)source;
	(void)frame;
	return frame_alloc(arg, framep);
}

static void
frame_free(void *arg, uint64_t frame)
{
	(void)arg;
	(void)frame;
	nframes--;
}

static const struct vm_pager_ops pager_ops = {
    .alloc = frame_alloc,
    .copy = frame_copy,
    .free = frame_free,
};

static void
release(void *handle)
{
	(void)handle;
	released++;
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
	next_frame = 100;
}

static void
teardown(void)
{
	vm_map_destroy(map);
	ASSERT_EQ(nframes, 0);
	vm_pager_destroy(pager);
	ASSERT_EQ(sim_live(arch), 0u);
	sim_destroy(arch);
}

/* An anonymous entry of `n` pages with an object that is known. */
static vm_object_t
enter(vm_offset_t start, vm_size_t n)
{
	vm_object_t object = vm_object_allocate(&pmap, OBJT_SWAP, n * PAGE);
	vm_map_entry_t entry;

	vm_object_set_handle(object, &released, release);
	vm_map_lock(map);
	ASSERT_EQ(vm_map_insert(map, NULL, 0, start, start + n * PAGE,
		      VM_PROT_RW, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_TRUE(vm_map_lookup_entry(map, start, &entry));
	vm_map_back(map, entry, object);
	ASSERT_NULL(vm_map_check(map));
	vm_map_unlock(map);
	return object;
}

static vm_object_t
object_at(vm_map_t m, vm_offset_t addr)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	vm_map_lock_read(m);
	ASSERT_TRUE(vm_map_lookup_entry(m, addr, &entry));
	vm_map_entry_info(entry, &info);
	vm_map_unlock_read(m);
	return info.object;
}

TEST(vm_map_back__takes_over_the_reference_and_gives_back_the_charge)
{
	setup();
	(void)enter(MIN_VA, 4);
	ASSERT_EQ(vm_map_reserved(map), 0u);
	ASSERT_EQ(vm_object_refs(object_at(map, MIN_VA)), 1u);
	ASSERT_EQ(vm_map_remove(map, MIN_VA + PAGE, MIN_VA + 2 * PAGE),
	    KERN_SUCCESS);
	ASSERT_EQ(released, 0u);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, MIN_VA + 4 * PAGE), KERN_SUCCESS);
	ASSERT_EQ(released, 1u);
	teardown();
}

TEST(vm_map_back__neighbours_with_objects_of_their_own_stay_apart)
{
	setup();
	(void)enter(MIN_VA, 4);
	(void)enter(MIN_VA + 4 * PAGE, 4);
	ASSERT_EQ(vm_map_nentries(map), 2u);
	vm_map_lock_read(map);
	ASSERT_NULL(vm_map_check(map));
	vm_map_unlock_read(map);
	teardown();
}

TEST(vm_object_run__is_whole_where_a_handle_is_and_broken_where_copies_are)
{
	struct vm_fault fault;
	struct vm_run run;
	vm_object_t object;
	vm_map_t child;

	setup();
	object = enter(MIN_VA, 8);
	vm_object_run(object, 2, 100, &run);
	ASSERT_TRUE(run.handle && run.front && run.object == object);
	ASSERT_EQ(run.frame, 2u);
	ASSERT_EQ(run.npages, 6u);
	vm_object_run(object, 8, 3, &run); /* behind its end */
	ASSERT_NULL(run.object);
	ASSERT_EQ(run.npages, 3u);

	ASSERT_EQ(vmspace_fork(map, NULL, &child), KERN_SUCCESS);
	for (vm_offset_t i = 3; i < 5; i++)
		ASSERT_EQ(vm_fault(child, MIN_VA + i * PAGE, VM_PROT_WRITE,
			      &fault),
		    KERN_SUCCESS);
	ASSERT_TRUE(object_at(child, MIN_VA) != object);
	ASSERT_EQ(vm_object_nshadows(object), 1u);
	vm_object_run(object_at(child, MIN_VA), 0, 8, &run);
	ASSERT_TRUE(run.handle && !run.front && run.object == object);
	ASSERT_EQ(run.npages, 3u);
	vm_object_run(object_at(child, MIN_VA), 3, 5, &run);
	ASSERT_TRUE(!run.handle && run.front);
	ASSERT_EQ(run.frame, 100u);
	ASSERT_EQ(run.npages, 2u);
	vm_object_run(object_at(child, MIN_VA), 3, 1, &run);
	ASSERT_EQ(run.npages, 1u);
	vm_object_run(object_at(child, MIN_VA), 5, 3, &run);
	ASSERT_TRUE(run.handle && !run.front);
	ASSERT_EQ(run.frame, 5u);
	ASSERT_EQ(run.npages, 3u);

	/* Frames that do not follow each other end a run. */
	next_frame = 200;
	ASSERT_EQ(vm_fault(child, MIN_VA + 5 * PAGE, VM_PROT_WRITE, &fault),
	    KERN_SUCCESS);
	vm_object_run(object_at(child, MIN_VA), 3, 5, &run);
	ASSERT_EQ(run.npages, 2u);
	vm_map_destroy(child);
	teardown();
}
