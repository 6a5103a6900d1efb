/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map_check() itself: each invariant is broken by hand, has to be named,
 * and is put right again.  A checker that cannot fail proves nothing.
 */

#include "core/vm_map_int.h"
#include "tests/picture.h"
#include "tests/test.h"

static const char *
verdict(vm_map_t map)
{
	const char *why;

	vm_map_lock_read(map);
	why = vm_map_check(map);
	vm_map_unlock_read(map);
	return why;
}

/* The entry under character `i` of the picture. */
static struct vm_map_entry *
entry_at(vm_map_t map, size_t i)
{
	vm_map_entry_t entry;
	bool found;

	vm_map_lock_read(map);
	found = vm_map_lookup_entry(map, picture_addr(map, i), &entry);
	vm_map_unlock_read(map);
	ASSERT_TRUE(found);
	return entry;
}

/* Put `broken` into an lvalue, expect the tag, and put it right. */
#define BREAK(map, lvalue, broken, tag)                                        \
	do {                                                                   \
		__typeof__(lvalue) break_old_ = (lvalue);                      \
		(lvalue) = (__typeof__(lvalue))(broken);                       \
		ASSERT_HAS(verdict(map), tag);                                 \
		(lvalue) = break_old_;                                         \
		ASSERT_NULL(verdict(map));                                     \
	} while (0)

TEST(vm_map_check__names_rights_that_cannot_be)
{
	vm_map_t map = picture_map("AA.BB.##");
	struct vm_map_entry *e = entry_at(map, 0);

	ASSERT_NULL(verdict(map));
	BREAK(map, e->max_protection, VM_PROT_READ, "[map.rights]");
	BREAK(map, e->protection, 0x28, "[map.rights]");
	BREAK(map, e->inheritance, 7, "[map.rights]");
	picture_free(map);
}

TEST(vm_map_check__names_guards_that_are_none)
{
	vm_map_t map = picture_map("AA.BB.##");
	struct vm_map_entry *guard = entry_at(map, 6);
	vm_object_t object =
	    vm_object_allocate(vm_map_pmap(map), OBJT_SWAP, 0x2000);

	BREAK(map, guard->object.vm_object, object, "[map.guard]");
	BREAK(map, guard->protection, VM_PROT_READ, "[map.");
	BREAK(map, guard->wired_count, 1, "[map.guard]");
	BREAK(map, guard->eflags, MAP_ENTRY_STACK_GAP, "[map.");
	vm_object_deallocate(object);
	picture_free(map);
}

TEST(vm_map_check__names_entries_that_hold_more_than_their_leaf_says)
{
	vm_map_t map = picture_map("AA.BB...");
	vm_offset_t start = picture_addr(map, 6), end = picture_addr(map, 7);
	struct vm_map_entry *e;

	vm_map_lock(map);
	ASSERT_EQ(vm_map_insert(map, NULL, 0, start, end, VM_PROT_READ,
		      VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	vm_map_unlock(map);
	e = entry_at(map, 6);
	ASSERT_TRUE(e->bare);
	BREAK(map, e->wired_count, 1, "[map.bare]");
	BREAK(map, e->bare, false, "[tree.bounds]");
	picture_free(map);
}

TEST(vm_map_check__names_wirings_that_do_not_add_up)
{
	vm_map_t map = picture_map("AA.BB.##");
	struct vm_map_entry *e = entry_at(map, 0);

	BREAK(map, e->wired_count, -1, "[map.wired]");
	BREAK(map, e->eflags, MAP_ENTRY_USER_WIRED, "[map.wired]");
	BREAK(map, e->eflags, MAP_ENTRY_IN_TRANSITION, "[map.wired]");
	BREAK(map, map->user_wired, 0x1000, "[map.wired]");
	picture_free(map);
}

TEST(vm_map_check__names_sums_that_are_wrong)
{
	vm_map_t map = picture_map("AA.BB.##");
	struct vm_map_entry *e = entry_at(map, 0);

	BREAK(map, map->size, 0, "[map.size]");
	BREAK(map, map->tree.count, 7, "[map.count]");
	BREAK(map, e->pending, true, "[map.charge]");
	BREAK(map, map->account->reserved, 0, "[map.charge]");
	picture_free(map);
}

TEST(vm_map_check__names_neighbours_that_should_be_one)
{
	vm_map_t map = picture_map("AAaa"); /* rw, and rw but shared */
	struct vm_map_entry *e = entry_at(map, 2);

	BREAK(map, e->inheritance, VM_INHERIT_COPY, "[map.merge]");
	picture_free(map);
}

TEST(vm_map_check__names_a_tree_that_disagrees_with_its_entries)
{
	vm_map_t map = picture_map("AA.BB.##");
	struct vm_map_entry *e = entry_at(map, 3);

	BREAK(map, e->start, e->start - 0x1000, "[");
	BREAK(map, e->end, e->start, "[");
	BREAK(map, e->end, e->end - 1, "[");
	picture_free(map);
}

TEST(vm_map_check__names_a_leaf_that_does_not_know_its_bounds)
{
	vm_map_t map = picture_map("AA.BB.##..");
	struct vm_leaf *leaf = map->tree.root;

	ASSERT_EQ(map->tree.height, 0u);
	BREAK(map, leaf->start[1], leaf->start[1] + 1, "[");
	BREAK(map, leaf->item[2], leaf->item[2] + 1, "[tree.bounds]");
	BREAK(map, leaf->limit, leaf->limit - 0x1000, "[tree.limit]");
	BREAK(map, leaf->wide, true, "[tree.wide]");
	BREAK(map, leaf->far, true, "[tree.far]");
	BREAK(map, leaf->item[0], leaf->item[1], "[");
	BREAK(map, leaf->count, 0, "[tree.fill]");
	picture_free(map);
}

TEST(vm_map_check__names_a_finger_that_points_elsewhere)
{
	vm_map_t map = picture_map("AA.BB.##");

	vm_map_lock(map);
	(void)vm_map_seek(map, picture_addr(map, 3), &map->tree.finger);
	vm_tree_point(&map->tree);
	vm_map_unlock(map);
	ASSERT_NULL(verdict(map));
	BREAK(map, map->tree.finger.slot, 1, "[tree.finger]");
	BREAK(map, map->tree.finger_end, picture_addr(map, 2), "[tree.finger]");
	picture_free(map);
}

/* Enough entries for index nodes. */
TEST(vm_map_check__names_keys_and_columns_that_are_wrong)
{
	vm_map_t map = picture_map(
	    "Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa."
	    "Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.Aa.");
	struct vm_node *root = map->tree.root;

	ASSERT_EQ(map->tree.height, 1u);
	BREAK(map, root->key[1], root->key[1] + 0x1000, "[tree.key]");
	BREAK(map, root->fit[0][0], root->fit[0][0] + 1, "[tree.fit]");
	BREAK(map, root->fit[1][1], root->fit[1][1] + 1, "[tree.fit]");
	BREAK(map, root->fit[2][1], 7, "[tree.fit]");
	BREAK(map, root->count, 1, "[tree.fill]");
	picture_free(map);
}
