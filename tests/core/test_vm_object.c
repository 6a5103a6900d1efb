/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Objects: references, release, shadow chains and their collapse, charges,
 * coalescing.  What maps do with them is in tests/model.
 */

#include "arch/sim/sim.h"
#include "core/vm_object_int.h"
#include "tests/test.h"

#define PAGE 4096u

static struct arch *arch;
static struct pmap pmap;

static void
setup(void)
{
	arch = sim_create(NULL);
	pmap.arch = arch;
}

static void
teardown(void)
{
	ASSERT_EQ(sim_live(arch), 0u);
	sim_destroy(arch);
}

static void
count_release(void *handle)
{
	(*(int *)handle)++;
}

TEST(vm_object__runs_release_once_when_the_last_reference_goes)
{
	vm_object_t object;
	int released = 0;

	setup();
	object = vm_object_allocate(&pmap, OBJT_SUPER, 4 << 20);
	ASSERT_NOT_NULL(object);
	vm_object_set_handle(object, &released, count_release);
	vm_object_reference(object);
	ASSERT_EQ(vm_object_refs(object), 2u);
	vm_object_deallocate(object);
	ASSERT_EQ(released, 0);
	vm_object_deallocate(object);
	ASSERT_EQ(released, 1);
	vm_object_deallocate(NULL);
	vm_object_reference(NULL);
	teardown();
}

TEST(vm_object__answers_null_when_there_is_no_memory)
{
	vm_object_t spare = NULL;

	setup();
	sim_fail_nth(arch, 1);
	ASSERT_NULL(vm_object_allocate(&pmap, OBJT_SWAP, PAGE));
	/* All or none: what was added before the failure goes back. */
	sim_fail_nth(arch, 3);
	ASSERT_EQ(vm_object_spare_add(arch, 5, &spare), KERN_RESOURCE_SHORTAGE);
	ASSERT_NULL(spare);
	ASSERT_EQ(sim_live(arch), 0u);
	teardown();
}

/* A shadow of `object`, which takes over the caller's reference to it. */
static vm_object_t
shadow_of(vm_object_t object, vm_ooffset_t offset, vm_size_t size)
{
	vm_object_t spare = NULL;

	vm_object_reference(object); /* so that it is not alone */
	ASSERT_EQ(vm_object_spare_add(arch, 1, &spare), KERN_SUCCESS);
	ASSERT_TRUE(vm_object_shadow(&object, &offset, size, &spare));
	ASSERT_EQ(offset, 0u);
	ASSERT_NULL(spare);
	return object;
}

TEST(vm_object__puts_no_shadow_before_what_nobody_else_sees)
{
	vm_object_t object, same, spare = NULL;
	vm_ooffset_t offset = PAGE;

	setup();
	object = same = vm_object_allocate(&pmap, OBJT_SWAP, 4 * PAGE);
	ASSERT_TRUE(vm_object_is_sole(object));
	ASSERT_FALSE(vm_object_shadow(&object, &offset, PAGE, &spare));
	ASSERT_TRUE(object == same);
	ASSERT_EQ(offset, PAGE);
	vm_object_deallocate(object);
	teardown();
}

TEST(vm_object__collapses_into_the_only_shadow_left)
{
	vm_object_t bottom, middle, top;

	setup();
	bottom = vm_object_allocate(&pmap, OBJT_SWAP, 16 * PAGE);
	middle = shadow_of(bottom, 4 * PAGE, 8 * PAGE);
	top = shadow_of(middle, 2 * PAGE, 4 * PAGE);
	ASSERT_TRUE(vm_object_backing(top) == middle);
	ASSERT_TRUE(vm_object_backing(middle) == bottom);
	ASSERT_NULL(vm_object_check(top));

	/* Only its shadow has the middle one: the offsets add up. */
	vm_object_deallocate(middle);
	ASSERT_TRUE(vm_object_backing(top) == bottom);
	ASSERT_EQ(top->backing_offset, 6 * PAGE);
	ASSERT_NULL(vm_object_check(top));
	vm_object_deallocate(bottom);
	ASSERT_NULL(vm_object_backing(top));
	vm_object_deallocate(top);
	teardown();
}

TEST(vm_object__keeps_a_backing_object_that_two_shadows_need)
{
	vm_object_t bottom, a, b;

	setup();
	bottom = vm_object_allocate(&pmap, OBJT_SWAP, 8 * PAGE);
	a = shadow_of(bottom, 0, 8 * PAGE);
	b = shadow_of(bottom, 0, 8 * PAGE);
	vm_object_deallocate(bottom);
	ASSERT_TRUE(vm_object_backing(a) == bottom);
	ASSERT_TRUE(vm_object_backing(b) == bottom);
	ASSERT_EQ(vm_object_refs(bottom), 2u);
	vm_object_deallocate(a);
	ASSERT_NULL(vm_object_backing(b)); /* collapsed */
	vm_object_deallocate(b);
	teardown();
}

TEST(vm_object__never_collapses_what_has_a_handle)
{
	vm_object_t bottom, top;
	int released = 0;

	setup();
	bottom = vm_object_allocate(&pmap, OBJT_SWAP, 8 * PAGE);
	vm_object_set_handle(bottom, &released, count_release);
	top = shadow_of(bottom, 0, 8 * PAGE);
	vm_object_deallocate(bottom);
	ASSERT_TRUE(vm_object_backing(top) == bottom);
	ASSERT_EQ(released, 0);
	vm_object_deallocate(top);
	ASSERT_EQ(released, 1);
	teardown();
}

TEST(vm_object__gives_its_charge_back_when_it_dies)
{
	struct vm_account *account;
	vm_object_t object;

	setup();
	account = vm_account_create(arch);
	vm_account_set_limit(account, 8 * PAGE);
	ASSERT_TRUE(vm_account_reserve(account, 8 * PAGE));
	ASSERT_FALSE(vm_account_reserve(account, PAGE));
	object = vm_object_allocate(&pmap, OBJT_SWAP, 8 * PAGE);
	vm_object_set_charge(object, account, 8 * PAGE);
	vm_account_unref(account); /* the object has one of its own */
	ASSERT_EQ(vm_account_reserved(account), 8 * PAGE);
	vm_object_deallocate(object);
	teardown();
}

TEST(vm_object__pays_only_for_what_coalescing_adds)
{
	struct vm_coalesce how = {.offset = 0,
	    .prev_size = 4 * PAGE,
	    .next_size = 6 * PAGE};
	vm_object_t object, dead = NULL;
	struct vm_account *account;

	setup();
	account = vm_account_create(arch);
	object = vm_object_allocate(&pmap, OBJT_SWAP, 8 * PAGE);
	vm_account_charge(account, 8 * PAGE);
	vm_object_set_charge(object, account, 8 * PAGE);

	/* 4 pages shown, 6 more: 4 of them are paid for, 2 are not. */
	vm_account_set_limit(account, 9 * PAGE);
	ASSERT_FALSE(vm_object_coalesce(object, &how, &dead));
	ASSERT_EQ(vm_object_size(object), 8 * PAGE);
	vm_account_set_limit(account, 10 * PAGE);
	ASSERT_TRUE(vm_object_coalesce(object, &how, &dead));
	ASSERT_EQ(vm_object_size(object), 10 * PAGE);
	ASSERT_EQ(vm_account_reserved(account), 10 * PAGE);

	/* The caller has reserved 6 pages, all of which are paid for. */
	how.charged = true;
	vm_account_charge(account, 6 * PAGE);
	ASSERT_TRUE(vm_object_coalesce(object, &how, &dead));
	ASSERT_EQ(vm_account_reserved(account), 10 * PAGE);
	ASSERT_NULL(dead);
	vm_object_deallocate(object);
	ASSERT_EQ(vm_account_reserved(account), 0u);
	vm_account_unref(account);
	teardown();
}

TEST(vm_object__is_not_coalesced_beyond_the_last_byte_there_is)
{
	struct vm_coalesce how = {.offset = -(vm_ooffset_t)4 * PAGE,
	    .prev_size = 2 * PAGE,
	    .next_size = 2 * PAGE};
	vm_object_t object, dead = NULL;

	setup();
	object = vm_object_allocate(&pmap, OBJT_SWAP, PAGE);
	ASSERT_FALSE(vm_object_coalesce(object, &how, &dead));
	how.prev_size = 5 * PAGE;
	ASSERT_FALSE(vm_object_coalesce(object, &how, &dead));
	ASSERT_EQ(vm_object_size(object), PAGE);
	how.prev_size = 2 * PAGE;
	how.next_size = PAGE;
	ASSERT_TRUE(vm_object_coalesce(object, &how, &dead));
	ASSERT_EQ(vm_object_size(object), -(vm_size_t)PAGE);
	vm_object_deallocate(object);
	teardown();
}

TEST(vm_object__is_congruent_to_its_offset_and_colour)
{
	vm_object_t object;

	setup();
	object = vm_object_allocate(&pmap, OBJT_SWAP, 4 << 20);
	ASSERT_FALSE(vm_object_is_colored(object));
	ASSERT_EQ(vm_object_phase(object, 0x5000), 0x5000u);
	vm_object_color(object, 3);
	ASSERT_TRUE(vm_object_is_colored(object));
	ASSERT_EQ(vm_object_phase(object, 0x5000), 0x8000u);
	ASSERT_FALSE(vm_object_is_colored(NULL));
	vm_object_deallocate(object);
	teardown();
}
