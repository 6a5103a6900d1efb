/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A mirror against the slow obvious version: after each random change, every
 * page of the range shows what an array of pages says, or is inaccessible.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients/libholdfast/mirror.h"
#include "tests/test.h"

#define PAGE   UINT64_C(4096)
#define NPAGES 64
#define MIN    UINT64_C(0x6e0000000000)
#define NFILES 3
#define FPAGES 128

struct file {
	int fd;
	struct stat st;
};

/* What a page ought to show; file -1: nothing. */
struct page {
	int file;
	uint64_t at; /* page in the file */
	int prot;
};

static struct file files[NFILES];
static struct page model[NPAGES];

/* Page n of file f begins with the number f * FPAGES + n. */
static void
make_files(void)
{
	for (int f = 0; f < NFILES; f++) {
		files[f].fd = memfd_create("mirror", MFD_CLOEXEC);
		ASSERT_EQ(ftruncate(files[f].fd, FPAGES * (off_t)PAGE), 0);
		ASSERT_EQ(fstat(files[f].fd, &files[f].st), 0);
		for (uint64_t n = 0; n < FPAGES; n++) {
			uint64_t word = (uint64_t)f * FPAGES + n;

			ASSERT_EQ(pwrite(files[f].fd, &word, 8,
				      (off_t)(n * PAGE)),
			    8);
		}
	}
}

/* Random pieces for [start, end), which the model takes over. */
static size_t
make_pieces(uint64_t *state, uint64_t start, uint64_t end,
    struct hf_piece *pieces)
{
	uint64_t at = start;
	size_t n = 0;

	for (uint64_t p = start; p < end; p++)
		model[p] = (struct page){.file = -1};
	while (at < end) {
		uint64_t length = 1 + test_random(state) % (end - at);
		int f = (int)(test_random(state) % NFILES);
		uint64_t first = test_random(state) % (FPAGES - NPAGES);
		int prot = test_random(state) % 2 != 0 ? PROT_READ
						       : PROT_READ | PROT_WRITE;

		if (test_random(state) % 3 == 0) {
			at += length; /* a hole */
			continue;
		}
		pieces[n++] = (struct hf_piece){
		    .start = MIN + at * PAGE,
		    .end = MIN + (at + length) * PAGE,
		    .file_offset = first * PAGE,
		    .dev = files[f].st.st_dev,
		    .ino = files[f].st.st_ino,
		    .prot = prot,
		    .fd = files[f].fd,
		};
		for (uint64_t i = 0; i < length; i++)
			model[at + i] = (struct page){f, first + i, prot};
		at += length;
	}
	return n;
}

static void
check_pieces(const struct hf_mirror *mirror)
{
	uint64_t at = MIN;

	for (size_t i = 0; i < mirror->n; i++) {
		ASSERT_GE(mirror->pieces[i].start, at);
		ASSERT_LT(mirror->pieces[i].start, mirror->pieces[i].end);
		at = mirror->pieces[i].end;
	}
	ASSERT_LE(at, MIN + NPAGES * PAGE);
}

static void
check_memory(void)
{
	for (uint64_t p = 0; p < NPAGES; p++) {
		void *at = (void *)(MIN + p * PAGE);
		bool readable = madvise(at, PAGE, MADV_POPULATE_READ) == 0;
		bool writable = madvise(at, PAGE, MADV_POPULATE_WRITE) == 0;

		ASSERT_EQ(readable, model[p].file >= 0);
		ASSERT_EQ(writable, (model[p].prot & PROT_WRITE) != 0);
		if (readable)
			ASSERT_EQ(*(volatile uint64_t *)at,
			    (uint64_t)model[p].file * FPAGES + model[p].at);
	}
}

TEST(mirror__shows_what_it_was_last_given)
{
	uint64_t state = test_seed(), rounds = test_ops(2000);
	struct hf_piece pieces[NPAGES];
	struct hf_mirror mirror;

	make_files();
	ASSERT_EQ(hf_mirror_init(&mirror, MIN, MIN + NPAGES * PAGE), 0);
	for (uint64_t p = 0; p < NPAGES; p++)
		model[p].file = -1;
	while (rounds-- > 0) {
		uint64_t start = test_random(&state) % NPAGES;
		uint64_t end =
		    start + 1 + test_random(&state) % (NPAGES - start);
		size_t n = make_pieces(&state, start, end, pieces);

		ASSERT_EQ(hf_mirror_set(&mirror, MIN + start * PAGE,
			      MIN + end * PAGE, pieces, n),
		    0);
		check_pieces(&mirror);
		check_memory();
	}
	hf_mirror_fini(&mirror);
	for (int f = 0; f < NFILES; f++)
		(void)close(files[f].fd);
}

/* A descriptor that cannot be mapped: inaccessible there, the rest as it was.
 */
TEST(mirror__knows_what_failed)
{
	struct hf_piece good = {.start = MIN,
	    .end = MIN + 8 * PAGE,
	    .prot = PROT_READ};
	struct hf_piece bad = {.start = MIN + 2 * PAGE,
	    .end = MIN + 4 * PAGE,
	    .prot = PROT_READ,
	    .ino = 1,
	    .fd = -1};
	struct hf_mirror mirror;

	make_files();
	good.fd = files[0].fd;
	good.dev = files[0].st.st_dev;
	good.ino = files[0].st.st_ino;
	ASSERT_EQ(hf_mirror_init(&mirror, MIN, MIN + NPAGES * PAGE), 0);
	ASSERT_EQ(hf_mirror_set(&mirror, MIN, MIN + 8 * PAGE, &good, 1), 0);
	ASSERT_EQ(hf_mirror_set(&mirror, MIN + 2 * PAGE, MIN + 4 * PAGE, &bad,
		      1),
	    -EBADF);
	for (uint64_t p = 0; p < NPAGES; p++)
		model[p] = (struct page){p < 2 || (p >= 4 && p < 8) ? 0 : -1, p,
		    PROT_READ};
	check_pieces(&mirror);
	check_memory();
	/* The next attempt puts it right. */
	ASSERT_EQ(hf_mirror_set(&mirror, MIN, MIN + 8 * PAGE, &good, 1), 0);
	model[2] = (struct page){0, 2, PROT_READ};
	model[3] = (struct page){0, 3, PROT_READ};
	check_memory();
	ASSERT_EQ(mirror.n, 1);
	hf_mirror_fini(&mirror);
	for (int f = 0; f < NFILES; f++)
		(void)close(files[f].fd);
}

TEST(mirror__does_not_take_a_range_that_is_used)
{
	void *at = (void *)(MIN + 3 * PAGE);
	struct hf_mirror mirror;
	char text[128];

	ASSERT_EQ(mmap(at, PAGE, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
	    at);
	ASSERT_EQ(hf_mirror_init(&mirror, MIN, MIN + NPAGES * PAGE), -EEXIST);
	hf_mirror_collision(MIN, MIN + NPAGES * PAGE, text, sizeof(text));
	ASSERT_STREQ(text, "0x6e0000003000-0x6e0000004000 (anonymous)");
}
