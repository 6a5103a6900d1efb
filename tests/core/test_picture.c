/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Pictures, and the plain cases of the map drawn with them.
 * Covered: drawing and reading back; insert, delete, protect and inherit in
 * their simplest forms.  What is subtle is in the vectors and in the model.
 */

#include "tests/picture.h"
#include "tests/test.h"

TEST(picture__reads_back_what_was_drawn)
{
	static const char *const pictures[] = {"........", "AAAA..BB", "A|A.B",
	    "##..aAbB", "E#E|E.CD", "AAAABBBBCCCCDDDD"};

	for (size_t i = 0; i < sizeof(pictures) / sizeof(*pictures); i++) {
		vm_map_t map = picture_map(pictures[i]);

		ASSERT_STREQ(picture_of(map), pictures[i]);
		picture_free(map);
	}
}

static int
remove_pages(vm_map_t map, size_t from, size_t to)
{
	return vm_map_remove(map, picture_addr(map, from),
	    picture_addr(map, to));
}

TEST(vm_map_remove__cuts_entries_at_both_ends)
{
	vm_map_t map = picture_map("AAAABBBB");

	ASSERT_EQ(remove_pages(map, 2, 6), KERN_SUCCESS);
	ASSERT_STREQ(picture_of(map), "AA....BB");
	ASSERT_EQ(remove_pages(map, 0, 8), KERN_SUCCESS);
	ASSERT_STREQ(picture_of(map), "........");
	ASSERT_EQ(vm_map_nentries(map), 0u);
	picture_free(map);
}

TEST(vm_map_protect__splits_and_merges_back)
{
	vm_map_t map = picture_map("AAAAAA..");

	ASSERT_EQ(vm_map_protect(map, picture_addr(map, 2),
		      picture_addr(map, 4), VM_PROT_READ, 0,
		      VM_MAP_PROTECT_SET_PROT),
	    KERN_SUCCESS);
	ASSERT_STREQ(picture_of(map), "AABBAA..");
	ASSERT_EQ(vm_map_protect(map, picture_addr(map, 0),
		      picture_addr(map, 8), VM_PROT_RW, 0,
		      VM_MAP_PROTECT_SET_PROT),
	    KERN_SUCCESS);
	ASSERT_STREQ(picture_of(map), "AAAAAA..");
	picture_free(map);
}

TEST(vm_map_inherit__marks_only_the_range)
{
	vm_map_t map = picture_map("AAAA#BB.");

	ASSERT_EQ(vm_map_inherit(map, picture_addr(map, 2),
		      picture_addr(map, 7), VM_INHERIT_SHARE),
	    KERN_SUCCESS);
	ASSERT_STREQ(picture_of(map), "AAaa#bb.");
	picture_free(map);
}

TEST(vm_map_find__skips_a_hole_that_is_too_small)
{
	vm_map_t map = picture_map("AA.BB...");
	vm_offset_t addr = picture_addr(map, 0);

	ASSERT_EQ(vm_map_find(map, NULL, 0, &addr, 2 * 0x1000, 0,
		      VMFS_ANY_SPACE, VM_PROT_READ, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_EQ(addr, picture_addr(map, 5));
	picture_free(map);
}
