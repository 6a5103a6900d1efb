/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Maps of the system itself: their anonymous entries never get an object, not
 * when they are cut, nor wired, nor looked up.
 */

#include "core/vm_fault.h"
#include "core/vm_map_int.h"
#include "tests/core/map_bed.h"
#include "tests/test.h"

#define PAGE   ((vm_size_t)4096)
#define MIN_VA ((vm_offset_t)0x10000)
#define MAX_VA ((vm_offset_t)0x40000000)
#define AT     ((vm_offset_t)0x100000)

static vm_map_t map;

static void
setup(void)
{
	map = map_bed_make(MIN_VA, MAX_VA);
	vm_map_lock(map);
	vm_map_modflags(map, MAP_SYSTEM_MAP, 0);
	vm_map_unlock(map);
	ASSERT_TRUE(vm_map_is_system(map));
}

static void
teardown(void)
{
	map_bed_free(map);
}

static void
enter(vm_offset_t start, vm_size_t n, vm_prot_t prot, int cow)
{
	map_bed_enter(map, start, n * PAGE, prot, cow);
}

static int
protect(vm_offset_t start, vm_size_t n, vm_prot_t prot)
{
	return vm_map_protect(map, start, start + n * PAGE, prot, 0,
	    VM_MAP_PROTECT_SET_PROT);
}

/* Nothing is broken, and no entry has an object. */
static void
assert_bare(size_t nentries)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	vm_map_lock_read(map);
	ASSERT_NULL(vm_map_check(map));
	ASSERT_EQ(vm_map_nentries(map), nentries);
	for (entry = vm_map_entry_first(map); entry != NULL;
	     entry = vm_map_entry_succ(map, entry)) {
		vm_map_entry_info(entry, &info);
		ASSERT_NULL(info.object);
	}
	vm_map_unlock_read(map);
}

TEST(vm_map_protect__cuts_an_entry_of_the_system_without_an_object)
{
	setup();
	enter(AT, 12, VM_PROT_RW, 0);
	ASSERT_EQ(protect(AT + 4 * PAGE, 4, VM_PROT_READ), KERN_SUCCESS);
	assert_bare(3);
	ASSERT_EQ(vm_map_reserved(map), 12 * PAGE);
	ASSERT_EQ(protect(AT + 4 * PAGE, 4, VM_PROT_RW), KERN_SUCCESS);
	assert_bare(1);
	ASSERT_EQ(vm_map_remove(map, AT, AT + 2 * PAGE), KERN_SUCCESS);
	assert_bare(1);
	ASSERT_EQ(vm_map_reserved(map), 10 * PAGE);
	teardown();
}

TEST(vm_fault__finds_nothing_behind_an_entry_of_the_system)
{
	struct vm_fault fault;

	setup();
	enter(AT, 4, VM_PROT_RW, 0);
	ASSERT_EQ(vm_fault(map, AT, VM_PROT_WRITE, &fault), KERN_FAILURE);
	ASSERT_EQ(vm_fault(map, AT + 4 * PAGE, VM_PROT_WRITE, &fault),
	    KERN_INVALID_ADDRESS);
	assert_bare(1);
	teardown();
}

TEST(vm_map_submap__takes_a_part_of_an_entry_of_the_system)
{
	vm_map_t sub;

	setup();
	sub = vm_map_create(vm_map_pmap(map), MIN_VA, MAX_VA);
	ASSERT_NOT_NULL(sub);
	enter(AT, 12, VM_PROT_NONE, 0);
	ASSERT_EQ(vm_map_submap(map, AT + 4 * PAGE, AT + 8 * PAGE, sub),
	    KERN_SUCCESS);
	vm_map_lock_read(map);
	ASSERT_NULL(vm_map_check(map));
	ASSERT_EQ(vm_map_nentries(map), 3u);
	vm_map_unlock_read(map);
	ASSERT_EQ(vm_map_remove(map, AT, AT + 12 * PAGE), KERN_SUCCESS);
	assert_bare(0);
	vm_map_destroy(sub);
	teardown();
}

/* What is copied then is a page of zeroes: there is nothing to copy. */
TEST(vm_map_protect__copies_nothing_for_a_wired_entry_of_the_system)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	setup();
	enter(AT, 4, VM_PROT_READ, MAP_COPY_ON_WRITE);
	ASSERT_EQ(vm_map_wire(map, AT, AT + 4 * PAGE,
		      VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES),
	    KERN_SUCCESS);
	assert_bare(1);
	ASSERT_EQ(protect(AT, 4, VM_PROT_RW), KERN_SUCCESS);
	vm_map_lock_read(map);
	ASSERT_NULL(vm_map_check(map));
	ASSERT_TRUE(vm_map_lookup_entry(map, AT, &entry));
	vm_map_entry_info(entry, &info);
	ASSERT_NOT_NULL(info.object);
	ASSERT_EQ(vm_object_npages(info.object), 0u);
	vm_map_unlock_read(map);
	ASSERT_EQ(vm_map_reserved(map), 4 * PAGE);
	teardown();
}

TEST(vm_map_check_boundary__accepts_what_is_empty_and_in_the_map)
{
	setup();
	enter(AT, 4, VM_PROT_RW, 0);
	vm_map_lock_read(map);
	ASSERT_TRUE(vm_map_check_boundary(map, AT, AT));
	ASSERT_TRUE(vm_map_check_boundary(map, AT + PAGE, AT + 2 * PAGE));
	ASSERT_FALSE(vm_map_check_boundary(map, AT, AT - PAGE));
	ASSERT_FALSE(vm_map_check_boundary(map, MAX_VA, MAX_VA + PAGE));
	ASSERT_FALSE(vm_map_check_boundary(map, MIN_VA - PAGE, MIN_VA));
	vm_map_unlock_read(map);
	teardown();
}
