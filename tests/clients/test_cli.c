/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The parts of the CLI that are functions: sizes in and out, the picture.
 * The verbs run against a real daemon in tests/system.
 */

#include <stdio.h>
#include <stdlib.h>

#include "clients/cli/cli.h"
#include "clients/cli/picture.h"
#include "tests/test.h"

TEST(cli_parse_size__reads_what_people_write)
{
	static const struct {
		const char *text;
		uint64_t n;
	} good[] = {{"0", 0}, {"4096", 4096}, {"8K", 8192}, {"8k", 8192},
	    {"64M", 64 << 20}, {"64MiB", 64 << 20}, {"64MB", 64 << 20},
	    {"1G", 1 << 30}, {"0x1000", 4096}, {"0x10K", 16384},
	    {"2T", UINT64_C(2) << 40}, {"18446744073709551615", UINT64_MAX}};
	static const char *const bad[] = {"", "K", "-1", "1Q", "1KK", "1 K",
	    "0x", "18446744073709551616", "16777216T", "1.5G", "+3", " 3"};
	uint64_t n = 77;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ASSERT_TRUE(cli_parse_size(good[i].text, &n));
		ASSERT_EQ(n, good[i].n);
	}
	n = 77;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (cli_parse_size(bad[i], &n))
			test_fail(__FILE__, __LINE__, "%s is a size", bad[i]);
	ASSERT_EQ(n, 77);
}

TEST(cli_size_text__is_exact_where_it_can_be)
{
	ASSERT_STREQ(cli_size_text(0), "0 B");
	ASSERT_STREQ(cli_size_text(1023), "1023 B");
	ASSERT_STREQ(cli_size_text(64 << 20), "64 MiB");
	ASSERT_STREQ(cli_size_text((UINT64_C(7) << 30) / 2), "3.5 GiB");
	ASSERT_STREQ(cli_size_text(UINT64_C(1) << 63), "8 EiB");
	ASSERT_STREQ(cli_prot_text(HF_PROT_RW), "rw-");
}

#define M ((uint64_t)1 << 20)

static const struct holdfast_run segs[] = {{0, 16 * M, 0, false},
    {UINT64_C(4096) * M, UINT64_C(4100) * M, 1, false}};
static const struct holdfast_run free_runs[] = {{2 * M, 4 * M, 0, false},
    {8 * M, 9 * M, 0, false},
    {UINT64_C(4098) * M, UINT64_C(4100) * M, 1, false}};
static const struct holdfast_run limbo[] = {{14 * M, 16 * M, 0, false}};
static const struct picture picture = {
    .segs = segs,
    .nsegs = 2,
    .free = free_runs,
    .nfree = 3,
    .limbo = limbo,
    .nlimbo = 1,
    .frame_size = 2 * M,
};

TEST(picture_draw__shows_free_used_partly_and_limbo)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ASSERT_NOT_NULL(out);
	picture_draw(&picture, picture_scale(&picture, 32), out);
	ASSERT_EQ(fclose(out), 0);
	ASSERT_STREQ(text, "node 0\n"
			   "  0-0x1000000, 16 MiB, 3 MiB free\n"
			   "               0  #.##+##x\n"
			   "node 1\n"
			   "  0x100000000-0x100400000, 4 MiB, 2 MiB free\n"
			   "     0x100000000  #.\n");
	free(text);
}

TEST(picture_scale__keeps_within_the_rows_asked_for)
{
	static const struct holdfast_run big[] = {
	    {0, UINT64_C(1) << 40, 0, false}};
	struct picture p = {.segs = big, .nsegs = 1, .frame_size = 2 * M};
	uint64_t scale = picture_scale(&p, 32);

	ASSERT_EQ((UINT64_C(1) << 40) / scale / PICTURE_COLUMNS, 32);
	ASSERT_EQ(picture_scale(&picture, 1), 2 * M); /* a row a segment */
}

TEST(picture_cell__shows_what_is_quarantined)
{
	static const struct holdfast_run held[] = {{10 * M, 12 * M, 0, false}};
	struct picture p = picture;

	p.held = held;
	p.nheld = 1;
	ASSERT_EQ(picture_cell(&p, 10 * M, 12 * M), 'q');
	ASSERT_EQ(picture_cell(&p, 12 * M, 14 * M), '#');
	ASSERT_EQ(picture_cell(&p, 14 * M, 16 * M), 'x');
}
