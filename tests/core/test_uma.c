/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Zones: items, the reserve, failure, and that all memory goes back.
 * Not covered: poisoning, which only AddressSanitizer could see.
 */

#include "arch/sim/sim.h"
#include "core/uma.h"
#include "core/vm_param.h"
#include "tests/test.h"

TEST(uma__gives_aligned_items_that_do_not_overlap)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;
	char *items[500];

	uma_zone_init(&zone, arch, 128);
	for (size_t i = 0; i < nitems(items); i++) {
		items[i] = uma_zalloc(&zone);
		ASSERT_NOT_NULL(items[i]);
		ASSERT_EQ((uintptr_t)items[i] % 64, 0u);
		memset(items[i], (int)(i & 0xff), 128);
	}
	for (size_t i = 0; i < nitems(items); i++)
		for (size_t b = 0; b < 128; b++)
			ASSERT_EQ((unsigned char)items[i][b], (i & 0xff));
	ASSERT_EQ(uma_zone_used(&zone), nitems(items));
	for (size_t i = 0; i < nitems(items); i++)
		uma_zfree(&zone, items[i]);
	ASSERT_EQ(uma_zone_used(&zone), 0u);
	uma_zone_fini(&zone);
	ASSERT_EQ(sim_live(arch), 0u);
	sim_destroy(arch);
}

TEST(uma__hands_out_the_item_that_came_back_last)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;
	void *a, *b;

	uma_zone_init(&zone, arch, 48);
	a = uma_zalloc(&zone);
	b = uma_zalloc(&zone);
	ASSERT_TRUE(a != b);
	uma_zfree(&zone, a);
	ASSERT_TRUE(uma_zalloc(&zone) == a);
	/* One by one, whatever the zone has done with the last of them. */
	uma_zfree(&zone, a);
	uma_zfree(&zone, b);
	ASSERT_EQ(uma_zone_used(&zone), 0u);
	ASSERT_TRUE(uma_zalloc(&zone) == b);
	ASSERT_TRUE(uma_zalloc(&zone) == a);
	ASSERT_EQ(uma_zone_used(&zone), 2u);
	uma_zone_fini(&zone);
	sim_destroy(arch);
}

/* The last item is put aside until the next: nobody waits for its line. */
TEST(uma__does_not_write_to_an_item_before_the_next_comes_back)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;
	unsigned char *a, *b;

	uma_zone_init(&zone, arch, 64);
	a = uma_zalloc(&zone);
	b = uma_zalloc(&zone);
	memset(a, 0x5a, 64);
	memset(b, 0x5a, 64);
	uma_zfree(&zone, a);
	ASSERT_TRUE(uma_zalloc(&zone) == a);
	for (size_t i = 0; i < 64; i++)
		ASSERT_EQ(a[i], 0x5a);
	uma_zfree(&zone, a);
	uma_zfree(&zone, b);
	uma_zone_trim(&zone);
	ASSERT_EQ(sim_live(arch), 0u);
	uma_zone_fini(&zone);
	sim_destroy(arch);
}

TEST(uma__keeps_what_it_reserved)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;

	uma_zone_init(&zone, arch, 64);
	ASSERT_EQ(uma_zone_reserve(&zone, 300), KERN_SUCCESS);
	sim_fail_from(arch, 1);
	for (int i = 0; i < 300; i++)
		ASSERT_NOT_NULL(uma_zalloc_reserved(&zone));
	ASSERT_NULL(uma_zalloc(&zone));
	uma_zone_fini(&zone);
	sim_destroy(arch);
}

TEST(uma__asks_before_each_item_even_from_its_cache)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;

	uma_zone_init(&zone, arch, 64);
	ASSERT_EQ(uma_zone_reserve(&zone, 8), KERN_SUCCESS);
	for (uint64_t nth = 1; nth <= 8; nth++) {
		sim_fail_nth(arch, nth);
		ASSERT_EQ(uma_zone_reserve(&zone, 8), KERN_RESOURCE_SHORTAGE);
		ASSERT_EQ(sim_nasked(arch), nth);
	}
	sim_fail_nth(arch, 9);
	ASSERT_EQ(uma_zone_reserve(&zone, 8), KERN_SUCCESS);
	uma_zone_fini(&zone);
	sim_destroy(arch);
}

TEST(uma__trims_only_when_nothing_is_in_use)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;
	void *item;

	uma_zone_init(&zone, arch, 64);
	item = uma_zalloc(&zone);
	uma_zone_trim(&zone);
	ASSERT_EQ(uma_zone_used(&zone), 1u);
	ASSERT_NE(sim_live(arch), 0u);
	uma_zfree(&zone, item);
	uma_zone_trim(&zone);
	ASSERT_EQ(sim_live(arch), 0u);
	ASSERT_NOT_NULL(uma_zalloc(&zone));
	uma_zone_fini(&zone);
	sim_destroy(arch);
}

TEST(uma__answers_null_when_the_machine_has_no_memory)
{
	struct arch *arch = sim_create(NULL);
	struct uma_zone zone;

	uma_zone_init(&zone, arch, 64);
	sim_limit_bytes(arch, 1);
	ASSERT_NULL(uma_zalloc(&zone));
	ASSERT_NULL(uma_malloc(arch, 100));
	sim_limit_bytes(arch, 0);
	ASSERT_NOT_NULL(uma_zalloc(&zone));
	uma_zone_fini(&zone);
	sim_destroy(arch);
}
