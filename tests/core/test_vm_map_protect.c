/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map_protect() of one entry, or a part of one: its short path must do what
 * the long one does, to entries, charges and neighbours.
 */

#include "core/vm_map_int.h"
#include "tests/core/map_bed.h"
#include "tests/panics.h"
#include "tests/test.h"

#define PAGE   ((vm_size_t)4096)
#define MIN_VA ((vm_offset_t)0x10000)
#define MAX_VA ((vm_offset_t)0x40000000)

static vm_map_t map;

static void
setup(void)
{
	map = map_bed_make(MIN_VA, MAX_VA);
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
	int rv = vm_map_protect(map, start, start + n * PAGE, prot, 0,
	    VM_MAP_PROTECT_SET_PROT);

	vm_map_lock_read(map);
	ASSERT_NULL(vm_map_check(map));
	vm_map_unlock_read(map);
	return rv;
}

static struct vm_map_entry_info
info_at(vm_offset_t addr)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	vm_map_lock_read(map);
	ASSERT_TRUE(vm_map_lookup_entry(map, addr, &entry));
	vm_map_entry_info(entry, &info);
	vm_map_unlock_read(map);
	return info;
}

/* The object that the cut makes takes the charge that the entry had. */
TEST(vm_map_protect__charges_the_part_that_needs_a_copy_and_is_cut_out)
{
	setup();
	enter(MIN_VA, 2, VM_PROT_RW, MAP_COPY_ON_WRITE);
	ASSERT_EQ(protect(MIN_VA, 2, VM_PROT_NONE), KERN_SUCCESS);
	ASSERT_EQ(vm_map_reserved(map), 2 * PAGE);

	ASSERT_EQ(protect(MIN_VA, 1, VM_PROT_RW), KERN_SUCCESS);
	ASSERT_EQ(info_at(MIN_VA).charge, PAGE);
	ASSERT_EQ(info_at(MIN_VA + PAGE).charge, 0u);
	ASSERT_EQ(vm_map_reserved(map), 3 * PAGE);
	teardown();
}

/* Unless it shows a copy: that is not what the object pays for. */
TEST(vm_map_insert__asserts_that_no_entry_is_charged_beside_its_object)
{
	const vm_offset_t start = MIN_VA + 8 * PAGE;
	vm_object_t object;

	setup();
	enter(MIN_VA, 2, VM_PROT_RW, 0);
	ASSERT_EQ(protect(MIN_VA, 1, VM_PROT_READ), KERN_SUCCESS);
	object = info_at(MIN_VA).object;
	ASSERT_NOT_NULL(vm_object_cred(object));
	vm_object_reference(object);
	vm_map_lock(map);
	ASSERT_PANICS(vm_map_insert(map, object, 0, start, start + PAGE,
	    VM_PROT_RW, VM_PROT_ALL, MAP_ACC_CHARGED));
	ASSERT_EQ(vm_map_insert(map, object, 0, start, start + PAGE, VM_PROT_RW,
		      VM_PROT_ALL, MAP_ACC_CHARGED | MAP_COPY_ON_WRITE),
	    KERN_SUCCESS);
	ASSERT_NULL(vm_map_check(map));
	vm_map_unlock(map);
	ASSERT_EQ(vm_map_reserved(map), 3 * PAGE);
	teardown();
}

TEST(vm_map_protect__pays_for_a_whole_entry_or_changes_nothing)
{
	struct vm_map_limits limits;

	setup();
	vm_map_get_limits(map, &limits);
	limits.swap = 4 * PAGE;
	limits.overcommit = 1;
	vm_map_set_limits(map, &limits);
	enter(MIN_VA, 3, VM_PROT_READ, 0);
	enter(MIN_VA + 8 * PAGE, 2, VM_PROT_READ, 0);
	ASSERT_EQ(vm_map_reserved(map), 0u);

	ASSERT_EQ(protect(MIN_VA, 3, VM_PROT_RW), KERN_SUCCESS);
	ASSERT_EQ(info_at(MIN_VA).charge, 3 * PAGE);
	ASSERT_EQ(protect(MIN_VA + 8 * PAGE, 2, VM_PROT_RW),
	    KERN_RESOURCE_SHORTAGE);
	ASSERT_EQ(info_at(MIN_VA + 8 * PAGE).protection, VM_PROT_READ);
	ASSERT_EQ(vm_map_reserved(map), 3 * PAGE);

	/* It stays paid for, whatever it may do. */
	ASSERT_EQ(protect(MIN_VA, 3, VM_PROT_READ), KERN_SUCCESS);
	ASSERT_EQ(protect(MIN_VA, 3, VM_PROT_RW), KERN_SUCCESS);
	ASSERT_EQ(vm_map_reserved(map), 3 * PAGE);
	teardown();
}

TEST(vm_map_protect__charges_the_object_of_a_part_as_a_whole)
{
	struct vm_map_limits limits;

	setup();
	enter(MIN_VA, 4, VM_PROT_READ, 0);
	ASSERT_EQ(protect(MIN_VA + PAGE, 2, VM_PROT_NONE), KERN_SUCCESS);
	ASSERT_EQ(vm_map_nentries(map), 3u);
	ASSERT_EQ(vm_map_reserved(map), 0u);

	vm_map_get_limits(map, &limits);
	limits.swap = 3 * PAGE;
	limits.overcommit = 1;
	vm_map_set_limits(map, &limits);
	ASSERT_EQ(protect(MIN_VA + PAGE, 2, VM_PROT_RW),
	    KERN_RESOURCE_SHORTAGE);
	limits.swap = 4 * PAGE;
	vm_map_set_limits(map, &limits);
	ASSERT_EQ(protect(MIN_VA + PAGE, 2, VM_PROT_RW), KERN_SUCCESS);
	ASSERT_EQ(vm_map_reserved(map), 4 * PAGE);
	ASSERT_EQ(info_at(MIN_VA + PAGE).charge, 0u);
	teardown();
}

/* In whatever slot of a leaf it is, and however full the leaf. */
TEST(vm_map_protect__cuts_the_middle_out_and_puts_it_back_wherever_it_is)
{
	struct vm_map_entry_info info;
	vm_offset_t start;
	unsigned n = 100;

	setup();
	for (unsigned i = 0; i < n; i++)
		enter(MIN_VA + 5 * i * PAGE, 4, VM_PROT_RW, 0);
	for (unsigned i = 0; i < n; i++) {
		start = MIN_VA + 5 * i * PAGE;
		ASSERT_EQ(protect(start + PAGE, 2, VM_PROT_READ), KERN_SUCCESS);
		ASSERT_EQ(vm_map_nentries(map), n + 2);
		ASSERT_EQ(info_at(start).end, start + PAGE);
		info = info_at(start + PAGE);
		ASSERT_EQ(info.end, start + 3 * PAGE);
		ASSERT_EQ(info.offset, PAGE);
		ASSERT_EQ(info_at(start + 3 * PAGE).offset, 3 * PAGE);
		ASSERT_EQ(vm_object_refs(info.object), 3u);

		ASSERT_EQ(protect(start + PAGE, 2, VM_PROT_RW), KERN_SUCCESS);
		info = info_at(start + 3 * PAGE);
		ASSERT_EQ(info.start, start);
		ASSERT_EQ(info.end, start + 4 * PAGE);
		ASSERT_EQ(info.offset, 0u);
		ASSERT_EQ(vm_object_refs(info.object), 1u);
		ASSERT_TRUE(vm_object_is_onemapping(info.object));
	}
	/* All cut at once, and half of the borders healed with one side. */
	for (unsigned i = 0; i < n; i++)
		ASSERT_EQ(protect(MIN_VA + (5 * i + 1) * PAGE, 2, VM_PROT_READ),
		    KERN_SUCCESS);
	ASSERT_EQ(vm_map_nentries(map), 3 * n);
	for (unsigned i = 0; i < n; i++)
		ASSERT_EQ(protect(MIN_VA + 5 * i * PAGE, 1, VM_PROT_READ),
		    KERN_SUCCESS);
	ASSERT_EQ(vm_map_nentries(map), 2 * n);
	ASSERT_EQ(vm_map_reserved(map), 4 * n * PAGE);
	teardown();
}

/* Others do not see the map between them, and the time stamp moves once. */
TEST(vm_map_wire_locked__wires_under_the_lock_of_its_caller)
{
	uint64_t before;

	setup();
	enter(MIN_VA, 4, VM_PROT_RW, 0);
	before = vm_map_timestamp(map);
	vm_map_lock(map);
	ASSERT_EQ(vm_map_wire_locked(map, MIN_VA + PAGE, MIN_VA + 2 * PAGE,
		      VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_wire_locked(map, MIN_VA + 3 * PAGE, MIN_VA + 5 * PAGE,
		      VM_MAP_WIRE_SYSTEM | VM_MAP_WIRE_NOHOLES),
	    KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_map_wire_locked(map, 0, 0, VM_MAP_WIRE_USER),
	    KERN_SUCCESS);
	vm_map_unlock(map);
	ASSERT_EQ(vm_map_timestamp(map), before + 1);
	ASSERT_EQ(vm_map_user_wired(map), PAGE);
	ASSERT_EQ(info_at(MIN_VA + PAGE).wired_count, 1);
	ASSERT_EQ(info_at(MIN_VA + 3 * PAGE).wired_count, 0);
	ASSERT_EQ(vm_map_clean(map, MIN_VA, MIN_VA + 4 * PAGE, false, true),
	    KERN_INVALID_ARGUMENT); /* what is wired is not invalidated */
	teardown();
}

/* What came last is removed without a search: it must be that, exactly. */
TEST(vm_map_delete__of_what_came_last_takes_that_or_what_it_became)
{
	vm_offset_t addr = MIN_VA, next = MIN_VA;

	setup();
	ASSERT_EQ(vm_map_find(map, NULL, 0, &addr, 4 * PAGE, 0, VMFS_ANY_SPACE,
		      VM_PROT_RW, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_find(map, NULL, 0, &next, 2 * PAGE, 0, VMFS_ANY_SPACE,
		      VM_PROT_RW, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_EQ(next, addr + 4 * PAGE);
	ASSERT_EQ(vm_map_nentries(map), 1u); /* it went on with the first */
	ASSERT_EQ(vm_map_remove(map, next, next + 2 * PAGE), KERN_SUCCESS);
	ASSERT_EQ(vm_map_size(map), 4 * PAGE);

	/* The last one ends there, but does not begin there. */
	next = addr;
	ASSERT_EQ(vm_map_find(map, NULL, 0, &next, 4 * PAGE, 0, VMFS_ANY_SPACE,
		      VM_PROT_READ, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_remove(map, next + PAGE, next + 4 * PAGE),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_size(map), 5 * PAGE);
	ASSERT_EQ(info_at(next).end, next + PAGE);

	/* Found and removed, again and again, in one place. */
	for (unsigned i = 0; i < 100; i++) {
		next = MIN_VA;
		ASSERT_EQ(vm_map_find(map, NULL, 0, &next, (i % 7 + 1) * PAGE,
			      0, VMFS_ANY_SPACE, VM_PROT_READ, VM_PROT_ALL,
			      MAP_VN_EXEC),
		    KERN_SUCCESS);
		ASSERT_EQ(next, addr + 5 * PAGE);
		ASSERT_EQ(vm_map_remove(map, next, next + (i % 7 + 1) * PAGE),
		    KERN_SUCCESS);
		ASSERT_EQ(vm_map_size(map), 5 * PAGE);
		vm_map_lock_read(map);
		ASSERT_NULL(vm_map_check(map));
		vm_map_unlock_read(map);
	}
	teardown();
}

/* The leaf of an entry that holds nothing says so: it has to unlearn that. */
TEST(vm_map_delete__minds_what_an_entry_got_after_it_was_entered)
{
	const vm_offset_t end = MIN_VA + 2 * PAGE;
	vm_map_entry_t entry;
	vm_object_t object;
	vm_pindex_t pindex;
	vm_prot_t prot;
	vm_map_t found;
	bool wired;

	setup();
	found = map;
	enter(MIN_VA, 2, VM_PROT_READ, 0);
	ASSERT_EQ(vm_map_reserved(map), 0u);
	vm_map_lock_read(map);
	ASSERT_TRUE(vm_map_lookup_entry(map, MIN_VA, &entry));
	ASSERT_TRUE(entry->bare);
	vm_map_unlock_read(map);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, end), KERN_SUCCESS);
	ASSERT_EQ(vm_map_size(map), 0u);

	/* A charge. */
	enter(MIN_VA, 2, VM_PROT_READ, 0);
	ASSERT_EQ(protect(MIN_VA, 2, VM_PROT_RW), KERN_SUCCESS);
	ASSERT_EQ(vm_map_reserved(map), 2 * PAGE);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, end), KERN_SUCCESS);
	ASSERT_EQ(vm_map_reserved(map), 0u);

	/* A wiring of the system, which is in the way, and one of a user. */
	enter(MIN_VA, 2, VM_PROT_READ, 0);
	ASSERT_EQ(vm_map_wire(map, MIN_VA, end, VM_MAP_WIRE_SYSTEM),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, end), KERN_WOULD_BLOCK);
	ASSERT_EQ(vm_map_unwire(map, MIN_VA, end, VM_MAP_WIRE_SYSTEM),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, end), KERN_SUCCESS);
	enter(MIN_VA, 2, VM_PROT_READ, 0);
	ASSERT_EQ(vm_map_wire(map, MIN_VA, end, VM_MAP_WIRE_USER),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_user_wired(map), 2 * PAGE);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, end), KERN_SUCCESS);
	ASSERT_EQ(vm_map_user_wired(map), 0u);

	/* An object, of which teardown() would see what is left. */
	enter(MIN_VA, 2, VM_PROT_READ, 0);
	ASSERT_EQ(vm_map_lookup(&found, MIN_VA, VM_PROT_READ, &entry, &object,
		      &pindex, &prot, &wired),
	    KERN_SUCCESS);
	ASSERT_NOT_NULL(object);
	ASSERT_NULL(vm_map_check(map));
	vm_map_lookup_done(found, entry);
	ASSERT_EQ(vm_map_remove(map, MIN_VA, end), KERN_SUCCESS);
	teardown();
}

/* And one that another shares a cut with is not what it was either. */
TEST(vm_map_delete__takes_one_half_of_what_was_cut)
{
	setup();
	enter(MIN_VA, 4, VM_PROT_READ, 0);
	ASSERT_EQ(protect(MIN_VA + PAGE, 1, VM_PROT_NONE), KERN_SUCCESS);
	ASSERT_EQ(vm_map_nentries(map), 3u);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ(vm_map_remove(map, MIN_VA + i * PAGE,
			      MIN_VA + (i + 1) * PAGE),
		    KERN_SUCCESS);
	ASSERT_EQ(vm_map_size(map), 2 * PAGE);
	ASSERT_EQ(info_at(MIN_VA + 2 * PAGE).start, MIN_VA + 2 * PAGE);
	teardown();
}
