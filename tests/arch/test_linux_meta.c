/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory for metadata: zeroed, aligned, given back.  Whether the kernel really
 * gives huge pages is its own business, and not asked.
 */

#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/linux/meta.h"
#include "tests/test.h"

#define MANY 100 /* blocks: four chunks */

static bool
is_zero(const char *p, size_t size)
{
	return p[0] == 0 && memcmp(p, p + 1, size - 1) == 0;
}

TEST(linux_meta__gives_zeroed_and_aligned_memory_of_any_size)
{
	const size_t sizes[] = {1, 64, 1000, ARCH_META_BLOCK / 2 - 1,
	    ARCH_META_BLOCK / 2, ARCH_META_BLOCK, ARCH_META_BLOCK + 1,
	    (1 << 20) - 1, 1 << 20, 3 << 20};
	struct linux_meta meta = LINUX_META_INIT;

	for (size_t i = 0; i < nitems(sizes); i++)
		for (int round = 0; round < 3; round++) {
			char *p = linux_meta_alloc(&meta, sizes[i]);

			ASSERT_NOT_NULL(p);
			ASSERT_EQ((uintptr_t)p % 64, 0u);
			ASSERT_TRUE(is_zero(p, sizes[i]));
			memset(p, 0xa5, sizes[i]);
			linux_meta_free(&meta, p, sizes[i]);
		}
	linux_meta_free(&meta, NULL, ARCH_META_BLOCK);
	linux_meta_trim(&meta);
	ASSERT_EQ(meta.bytes, 0u);
}

TEST(linux_meta__takes_no_chunk_for_what_is_small)
{
	struct linux_meta meta = LINUX_META_INIT;
	void *p = linux_meta_alloc(&meta, ARCH_META_BLOCK / 2 - 1);

	ASSERT_EQ(meta.bytes, 0u);
	linux_meta_free(&meta, p, ARCH_META_BLOCK / 2 - 1);
}

/* Blocks do not overlap, whatever pages they have and in whatever order. */
TEST(linux_meta__gives_every_block_to_one_holder_at_a_time)
{
	for (int base = 0; base < 2; base++) {
		struct linux_meta meta = LINUX_META_INIT;
		uint64_t seed = test_seed();
		char *block[MANY] = {NULL};
		char seen[MANY] = {0};

		meta.base_pages = base != 0;
		for (unsigned op = 0; op < 20 * MANY; op++) {
			size_t i = test_random(&seed) % MANY;

			if (block[i] == NULL) {
				block[i] =
				    linux_meta_alloc(&meta, ARCH_META_BLOCK);
				ASSERT_NOT_NULL(block[i]);
				ASSERT_TRUE(is_zero(block[i], ARCH_META_BLOCK));
				seen[i] = (char)(op % 127 + 1);
				memset(block[i], seen[i], ARCH_META_BLOCK);
				continue;
			}
			ASSERT_EQ(block[i][0], seen[i]);
			ASSERT_EQ(block[i][ARCH_META_BLOCK - 1], seen[i]);
			linux_meta_free(&meta, block[i], ARCH_META_BLOCK);
			block[i] = NULL;
		}
		for (size_t i = 0; i < MANY; i++)
			linux_meta_free(&meta, block[i], ARCH_META_BLOCK);
		ASSERT_EQ(meta.bytes, meta.idle);
		linux_meta_trim(&meta);
		ASSERT_EQ(meta.bytes, 0u);
	}
}

TEST(linux_meta__keeps_one_chunk_for_the_next_and_gives_the_others_back)
{
	struct linux_meta meta = LINUX_META_INIT;
	void *block[MANY];

	for (size_t i = 0; i < MANY; i++)
		block[i] = linux_meta_alloc(&meta, ARCH_META_BLOCK);
	ASSERT_EQ(meta.bytes, 4 * LINUX_META_CHUNK);
	ASSERT_EQ(meta.idle, 0u);
	for (size_t i = 0; i < MANY; i++)
		linux_meta_free(&meta, block[i], ARCH_META_BLOCK);
	ASSERT_EQ(meta.bytes, LINUX_META_CHUNK);
	ASSERT_EQ(meta.idle, LINUX_META_CHUNK);
	linux_meta_trim(&meta);
	ASSERT_EQ(meta.bytes, 0u);
}
