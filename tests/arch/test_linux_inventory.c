/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The inventory's arithmetic, on invented addresses: no huge page is touched.
 */

#include <stdlib.h>

#include "arch/linux/inventory.h"
#include "tests/test.h"

#define FRAME (2ul << 20)

static struct arch_frame
frame_at(size_t i)
{
	return (struct arch_frame){(1ul << 32) + i * FRAME, 0};
}

TEST(inventory_grab__gives_every_slot_once)
{
	struct inventory inv;
	bool seen[8] = {false};

	ASSERT_EQ(inventory_init(&inv, 8, FRAME), 0);
	for (int i = 0; i < 8; i++) {
		uint32_t slot = inventory_grab(&inv);

		ASSERT_LT(slot, 8u);
		ASSERT_FALSE(seen[slot]);
		seen[slot] = true;
	}
	ASSERT_EQ(inventory_grab(&inv), INVENTORY_NONE);
	inventory_drop(&inv, 3);
	ASSERT_EQ(inventory_grab(&inv), 3u);
	inventory_fini(&inv);
}

/* Random frames come and go; a plain array says what must be there. */
TEST(inventory_find__agrees_with_a_plain_array)
{
	enum { SLOTS = 64, FRAMES = 200 };
	struct inventory inv;
	uint32_t where[FRAMES];
	uint64_t seed = test_seed();
	size_t held = 0;

	ASSERT_EQ(inventory_init(&inv, SLOTS, FRAME), 0);
	for (size_t i = 0; i < FRAMES; i++)
		where[i] = INVENTORY_NONE;
	for (uint64_t op = 0; op < test_ops(20000); op++) {
		size_t i = test_random(&seed) % FRAMES;
		struct arch_frame frame = frame_at(i);
		uint32_t slot = inventory_find(&inv, frame.pa);

		ASSERT_EQ(slot, where[i]);
		if (slot != INVENTORY_NONE) {
			inventory_pull(&inv, slot);
			inventory_drop(&inv, slot);
			where[i] = INVENTORY_NONE;
			held--;
		} else if ((slot = inventory_grab(&inv)) != INVENTORY_NONE) {
			inventory_hold(&inv, slot, &frame);
			where[i] = slot;
			held++;
		} else {
			ASSERT_EQ(held, (size_t)SLOTS);
		}
	}
	inventory_fini(&inv);
}

TEST(inventory_frames__come_in_ascending_order)
{
	struct inventory inv;
	struct arch_frame out[16];
	size_t n;

	ASSERT_EQ(inventory_init(&inv, 16, FRAME), 0);
	for (size_t i = 0; i < 10; i++) {
		struct arch_frame frame = frame_at(i * 7 % 10 * 3);

		inventory_hold(&inv, inventory_grab(&inv), &frame);
	}
	ASSERT_EQ(inventory_frames(&inv, out, 4, &n), 0);
	ASSERT_EQ(n, 10u);
	for (size_t i = 0; i < 4; i++)
		ASSERT_EQ(out[i].pa, frame_at(i * 3).pa);
	ASSERT_EQ(inventory_frames(&inv, NULL, 0, &n), 0);
	ASSERT_EQ(n, 10u);
	inventory_fini(&inv);
}

/* Frames as a picture: one character each, '#' is a frame. */
static size_t
frames_from_picture(const char *picture, struct arch_frame *frames)
{
	size_t n = 0;

	for (size_t i = 0; picture[i] != '\0'; i++)
		if (picture[i] == '#')
			frames[n++] = frame_at(i);
	return n;
}

static void
expect_choice(const char *have, size_t want, const char *keep)
{
	struct arch_frame frames[64];
	struct arch_frame kept[64];
	size_t n = frames_from_picture(have, frames);
	size_t nkept = frames_from_picture(keep, kept);
	bool found;

	ASSERT_EQ(nkept, want);
	ASSERT_EQ(inventory_choose(frames, n, want, FRAME), 0);
	for (size_t i = 0; i < want; i++) {
		found = false;
		for (size_t k = 0; k < nkept; k++)
			found |= frames[i].pa == kept[k].pa;
		if (!found)
			test_fail(__FILE__, __LINE__, "%s keeps frame %zu",
			    have,
			    (size_t)((frames[i].pa - frame_at(0).pa) / FRAME));
	}
}

TEST(inventory_choose__keeps_the_longest_runs)
{
	expect_choice("#.##.###.#", 3, ".....###..");
	expect_choice("#.##.###.#", 5, "..##.###..");
	expect_choice("#.##.###.#", 6, "#.##.###..");
	expect_choice("##.##.##", 2, "##......");
	expect_choice("####", 2, "##..");
	expect_choice("#.#", 2, "#.#");
}
