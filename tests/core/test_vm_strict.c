/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a service refuses before the core can assert it.
 *
 * Covered: each rule of core/vm_strict.h by one refused and one accepted
 * argument, the code, and the name of the argument in the refusal; that what
 * is accepted does not trip an assertion of the core.
 */

#include "arch/sim/sim.h"
#include "core/vm_object.h"
#include "core/vm_strict.h"
#include "tests/picture.h"
#include "tests/test.h"

#define PAGE  UINT64_C(0x1000)
#define SUPER UINT64_C(0x200000)

static vm_map_t
empty_map(void)
{
	return picture_map("................................");
}

/* Arguments that nobody can object to. */
static struct vm_insert_args
fine(void)
{
	return (struct vm_insert_args){.start = PICTURE_MIN,
	    .length = PAGE,
	    .find_space = VMFS_ANY_SPACE,
	    .prot = VM_PROT_RW,
	    .max = VM_PROT_ALL};
}

static void
refused_insert(vm_map_t map, const struct vm_insert_args *args, int rv,
    const char *arg)
{
	struct vm_refusal why = {0};

	ASSERT_EQ(vm_strict_insert(map, args, &why), rv);
	ASSERT_STREQ(why.arg, arg);
	ASSERT_NOT_NULL(why.rule);
	ASSERT_EQ(vm_strict_fixed(map, args, &why), rv);
}

static void
refused_find(vm_map_t map, const struct vm_insert_args *args, int rv,
    const char *arg)
{
	struct vm_refusal why = {0};

	ASSERT_EQ(vm_strict_find(map, args, &why), rv);
	ASSERT_STREQ(why.arg, arg);
	ASSERT_NOT_NULL(why.rule);
}

TEST(vm_strict_map__wants_aligned_bounds_in_order)
{
	const struct arch_machine *machine = arch_machine_find("x86_64", 0);
	struct vm_refusal why = {0};

	ASSERT_EQ(vm_strict_map(machine, PAGE, 2 * PAGE, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_map(machine, 0, PAGE, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_map(machine, PAGE, PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "max");
	ASSERT_EQ(why.limit, PAGE);
	ASSERT_TRUE(why.has_limit);
	ASSERT_EQ(vm_strict_map(machine, PAGE + 1, 2 * PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "min");
	ASSERT_EQ(vm_strict_map(machine, PAGE, 2 * PAGE + 1, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "max");
	ASSERT_EQ(vm_strict_map(machine, PAGE, machine->user_max, &why),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_strict_map(machine, PAGE, machine->user_max + PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(why.limit, machine->user_max);
	ASSERT_EQ(vm_strict_map(arch_machine_find("aarch64", 0x4000), 0x1000,
		      0x8000, &why),
	    KERN_INVALID_ARGUMENT);
}

TEST(vm_strict_insert__accepts_what_the_map_holds)
{
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();
	struct vm_refusal why;

	ASSERT_EQ(vm_strict_insert(map, &args, &why), KERN_SUCCESS);
	args.start = vm_map_max(map) - PAGE;
	ASSERT_EQ(vm_strict_insert(map, &args, &why), KERN_SUCCESS);
	args.start = vm_map_min(map);
	args.length = vm_map_max(map) - vm_map_min(map);
	ASSERT_EQ(vm_strict_insert(map, &args, &why), KERN_SUCCESS);
	picture_free(map);
}

TEST(vm_strict_insert__refuses_lengths_and_alignment)
{
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();

	args.length = 0;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "length");
	args.length = PAGE + 1;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "length");
	args.length = vm_map_max(map) - vm_map_min(map) + PAGE;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "length");
	args.length = 0 - PAGE;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "length");
	args = fine();
	args.start += 1;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "start");
	args = fine();
	args.offset = 0x800;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "offset");
	args.offset = 0 - PAGE;
	args.length = 2 * PAGE;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "offset");
	picture_free(map);
}

TEST(vm_strict_insert__refuses_ranges_outside_the_map)
{
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();

	args.start = PICTURE_MIN - PAGE;
	refused_insert(map, &args, KERN_INVALID_ADDRESS, "start");
	args.start = vm_map_max(map);
	refused_insert(map, &args, KERN_INVALID_ADDRESS, "end");
	args.start = vm_map_max(map) - PAGE;
	args.length = 2 * PAGE;
	refused_insert(map, &args, KERN_INVALID_ADDRESS, "end");
	args.start = 0 - PAGE; /* wraps */
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "length");
	picture_free(map);
}

TEST(vm_strict_insert__refuses_rights_beyond_the_maximum)
{
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();

	args.max = VM_PROT_READ;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "prot");
	args.prot = 0x20;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "prot");
	args = fine();
	args.max = 0x80 | VM_PROT_RW;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "max");
	picture_free(map);
}

TEST(vm_strict_insert__refuses_flags_that_speak_for_the_map)
{
	static const int bad[] = {MAP_ACC_CHARGED, MAP_ACC_NO_CHARGE,
	    MAP_CREATE_STACK_GAP, MAP_PREFAULT_MADVISE, 0x2000, 0x40000000,
	    3 << MAP_SPLIT_BOUNDARY_SHIFT, MAP_STACK_AREA | MAP_CREATE_GUARD};
	vm_map_t map = empty_map();
	struct vm_insert_args args;

	for (size_t i = 0; i < nitems(bad); i++) {
		args = fine();
		args.cow = bad[i];
		refused_insert(map, &args, KERN_INVALID_ARGUMENT, "cow");
	}
	args = fine();
	args.cow = MAP_CREATE_GUARD;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "max");
	picture_free(map);
}

TEST(vm_strict_insert__refuses_objects_where_there_can_be_none)
{
	vm_map_t map = empty_map();
	vm_object_t object =
	    vm_object_allocate(vm_map_pmap(map), OBJT_SWAP, PAGE);
	struct vm_insert_args args = fine();
	struct vm_refusal why;

	args.object = object;
	ASSERT_EQ(vm_strict_insert(map, &args, &why), KERN_SUCCESS);
	args.cow = MAP_NOFAULT;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "object");
	args.cow = MAP_STACK_AREA;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "object");
	vm_object_deallocate(object);
	picture_free(map);
}

TEST(vm_strict_insert__wants_superpage_objects_congruent)
{
	struct arch *arch = sim_create(NULL);
	struct pmap pmap = {.arch = arch};
	vm_map_t map = vm_map_create(&pmap, PAGE, 16 * SUPER);
	vm_object_t object = vm_object_allocate(&pmap, OBJT_SUPER, 4 * SUPER);
	struct vm_insert_args args = fine();
	struct vm_refusal why;

	args.object = object;
	args.length = SUPER;
	args.start = 2 * SUPER;
	ASSERT_EQ(vm_strict_insert(map, &args, &why), KERN_SUCCESS);
	args.start = 2 * SUPER + PAGE;
	refused_insert(map, &args, KERN_INVALID_ARGUMENT, "start");
	args.offset = PAGE;
	ASSERT_EQ(vm_strict_insert(map, &args, &why), KERN_SUCCESS);
	args.offset = 0;
	args.find_space = VMFS_NO_SPACE;
	refused_find(map, &args, KERN_INVALID_ARGUMENT, "start");
	(void)vm_strict_find(map, &args, &why);
	ASSERT_HAS(why.rule, "VMFS_SUPER_SPACE");
	args.find_space = VMFS_SUPER_SPACE; /* the search takes care */
	ASSERT_EQ(vm_strict_find(map, &args, &why), KERN_SUCCESS);
	vm_map_destroy(map);
	vm_object_deallocate(object);
	sim_destroy(arch);
}

TEST(vm_strict_find__knows_the_strategies)
{
	static const int good[] = {VMFS_NO_SPACE, VMFS_ANY_SPACE,
	    VMFS_OPTIMAL_SPACE, VMFS_SUPER_SPACE, VMFS_ALIGNED_SPACE(12),
	    VMFS_ALIGNED_SPACE(63)};
	static const int bad[] = {4, 0xff, VMFS_ALIGNED_SPACE(64),
	    VMFS_ALIGNED_SPACE(12) | 1, -1, -0x100};
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();
	struct vm_refusal why;

	for (size_t i = 0; i < nitems(good); i++) {
		args.find_space = good[i];
		ASSERT_EQ(vm_strict_find(map, &args, &why), KERN_SUCCESS);
	}
	for (size_t i = 0; i < nitems(bad); i++) {
		args.find_space = bad[i];
		refused_find(map, &args, KERN_INVALID_ARGUMENT, "find_space");
	}
	picture_free(map);
}

TEST(vm_strict_find__takes_a_hint_from_anywhere_but_a_place_only_inside)
{
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();
	struct vm_refusal why;

	args.start = 0;
	ASSERT_EQ(vm_strict_find(map, &args, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_find_min(map, &args, PAGE, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_find_min(map, &args, 1, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "default_addr");
	args.find_space = VMFS_NO_SPACE;
	refused_find(map, &args, KERN_INVALID_ADDRESS, "start");
	picture_free(map);
}

TEST(vm_strict_find__replaces_only_at_a_given_address)
{
	vm_map_t map = empty_map();
	struct vm_insert_args args = fine();
	struct vm_refusal why;

	args.cow = MAP_REMAP;
	refused_find(map, &args, KERN_INVALID_ARGUMENT, "cow");
	args.find_space = VMFS_NO_SPACE;
	ASSERT_EQ(vm_strict_find(map, &args, &why), KERN_SUCCESS);
	args.cow = MAP_REMAP | MAP_STACK_AREA;
	refused_find(map, &args, KERN_INVALID_ARGUMENT, "cow");
	picture_free(map);
}

TEST(vm_strict_range__wants_pages_inside_the_map)
{
	vm_map_t map = empty_map();
	vm_offset_t min = vm_map_min(map), max = vm_map_max(map);
	struct vm_refusal why;

	ASSERT_EQ(vm_strict_range(map, min, max, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_range(map, min, min, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_range(map, min + 1, max, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "start");
	ASSERT_EQ(vm_strict_range(map, min, max - 1, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "end");
	ASSERT_EQ(vm_strict_range(map, max, min, &why), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_range(map, 0, max, &why), KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_strict_range(map, min, 0 - PAGE, &why),
	    KERN_INVALID_ADDRESS);
	picture_free(map);
}

TEST(vm_strict_find_aligned__wants_a_power_of_two_and_some_length)
{
	struct vm_refusal why;
	vm_map_t map = empty_map();

	ASSERT_EQ(vm_strict_find_aligned(map, 0, PAGE, PAGE, &why),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_strict_find_aligned(map, 0, PAGE, UINT64_C(1) << 63, &why),
	    KERN_SUCCESS);
	for (unsigned i = 0; i < 3; i++) {
		const vm_offset_t wrong[] = {0, PAGE / 2, 3 * PAGE};

		ASSERT_EQ(vm_strict_find_aligned(map, 0, PAGE, wrong[i], &why),
		    KERN_INVALID_ARGUMENT);
		ASSERT_STREQ(why.arg, "alignment");
		ASSERT_EQ(why.limit, PAGE);
	}
	ASSERT_EQ(vm_strict_find_aligned(map, 0, 0, PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "length");
	ASSERT_EQ(vm_strict_find_aligned(map, 1, PAGE, PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "start");
	picture_free(map);
}

TEST(vm_strict_findspace__bounds_the_length)
{
	vm_map_t map = empty_map();
	vm_size_t span = vm_map_max(map) - vm_map_min(map);
	struct vm_refusal why;

	ASSERT_EQ(vm_strict_findspace(map, 0, span, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_findspace(map, 0, 0, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_findspace(map, 0, span + PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_findspace(map, 0, 0 - PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_findspace(map, 1, PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	picture_free(map);
}

TEST(vm_strict_object__wants_whole_pages_or_superpages)
{
	const struct arch_machine *machine = arch_machine_find("x86_64", 0);
	struct vm_refusal why;

	ASSERT_EQ(vm_strict_object(machine, OBJT_SWAP, PAGE, &why),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_strict_object(machine, OBJT_SUPER, SUPER, &why),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_strict_object(machine, OBJT_SUPER, SUPER + PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_object(machine, OBJT_SWAP, 0, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_object(machine, OBJT_SWAP, 0 - PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_object(machine, OBJT_SWAP, PAGE / 2, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_object(machine, 17, PAGE, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "type");
}

/* Each call on a range refuses a word it does not know, and the range. */
TEST(vm_strict__refuses_unknown_words_of_the_range_calls)
{
	vm_map_t map = empty_map();
	vm_offset_t a = vm_map_min(map), b = a + PAGE;
	struct vm_refusal why;
	int bad = KERN_INVALID_ARGUMENT;

	ASSERT_EQ(vm_strict_protect(map, a, b, 7, 7, 3, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_protect(map, a, b, 8, 7, 1, &why), bad);
	ASSERT_EQ(vm_strict_protect(map, a, b, 7, 8, 1, &why), bad);
	ASSERT_EQ(vm_strict_protect(map, a, b, 7, 7, 8, &why), bad);
	ASSERT_EQ(vm_strict_protect(map, a + 1, b, 7, 7, 1, &why), bad);
	ASSERT_EQ(vm_strict_inherit(map, a, b, 3, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_inherit(map, a, b, 4, &why), bad);
	ASSERT_EQ(vm_strict_inherit(map, a, b, -1, &why), bad);
	ASSERT_EQ(vm_strict_madvise(map, a, b, 9, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_madvise(map, a, b, 10, &why), bad);
	ASSERT_EQ(vm_strict_wire(map, a, b, 7, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_wire(map, a, b, 8, &why), bad);
	ASSERT_EQ(vm_strict_check_protection(map, a, b, 7, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_check_protection(map, a, b, 8, &why), bad);
	ASSERT_EQ(vm_strict_lookup(map, a + 5, 0x1f, &why), KERN_SUCCESS);
	ASSERT_EQ(vm_strict_lookup(map, a, 0x20, &why), bad);
	ASSERT_EQ(vm_strict_lookup(map, vm_map_max(map), 1, &why),
	    KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_strict_lookup(map, a - 1, 1, &why), KERN_INVALID_ADDRESS);
	picture_free(map);
}

TEST(vm_strict_stack__is_an_insert_without_an_object)
{
	vm_map_t map = empty_map();
	vm_offset_t a = vm_map_min(map);
	struct vm_refusal why;

	ASSERT_EQ(vm_strict_stack(map, a, 8 * PAGE, VM_PROT_RW, VM_PROT_ALL, 0,
		      &why),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_strict_stack(map, a, 0, VM_PROT_RW, VM_PROT_ALL, 0, &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_stack(map, a, 64 * PAGE, VM_PROT_RW, VM_PROT_ALL, 0,
		      &why),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_strict_stack(map, a, 8 * PAGE, VM_PROT_RW, VM_PROT_READ, 0,
		      &why),
	    KERN_INVALID_ARGUMENT);
	picture_free(map);
}

TEST(vm_strict_limits__knows_the_modes)
{
	vm_map_t map = empty_map();
	struct vm_map_limits limits = {.cluster_anon = 2,
	    .overcommit = 7,
	    .stack_guard = PAGE};
	struct vm_refusal why;

	ASSERT_EQ(vm_strict_limits(map, &limits, &why), KERN_SUCCESS);
	limits.cluster_anon = 3;
	ASSERT_EQ(vm_strict_limits(map, &limits, &why), KERN_INVALID_ARGUMENT);
	limits.cluster_anon = 1;
	limits.overcommit = 8;
	ASSERT_EQ(vm_strict_limits(map, &limits, &why), KERN_INVALID_ARGUMENT);
	limits.overcommit = 0;
	limits.stack_guard = 1;
	ASSERT_EQ(vm_strict_limits(map, &limits, &why), KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, "stack_guard");
	picture_free(map);
}
