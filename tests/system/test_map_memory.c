/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the kernel says of an attached map's memory (/proc/self/smaps) after
 * each operation of vm_map(9): rights, advice, wiring, guards, and what a
 * child gets of each inheritance.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/live.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)

struct world {
	struct live live;
	struct holdfast *h;
	struct holdfast_map *map;
	uint64_t addr; /* of 16 pages, rw */
};

static void
world_start(struct world *w)
{
	struct holdfast_map_options options = {.name = "world"};
	struct holdfast_map_args args = {.length = 16 * PAGE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW | HF_PROT_EXECUTE,
	    .find_space = HF_VMFS_ANY_SPACE};

	live_start_sim(&w->live);
	w->h = live_connect(&w->live);
	ASSERT_EQ(holdfast_map_create(w->h, &options, &w->map), HF_OK);
	ASSERT_EQ(holdfast_map_find(w->map, &args, &w->addr), HF_OK);
}

static void
world_stop(struct world *w)
{
	ASSERT_EQ(holdfast_map_check(w->map), HF_OK);
	holdfast_close(w->h);
	live_stop(&w->live);
}

/* ---- What the kernel says --------------------------------------------------
 */

struct vma {
	uint64_t start, end;
	char perms[8];
	char flags[160];                /* " rd wr sh ..." */
	unsigned long long rss, locked; /* KiB */
};

static bool
next_vma(FILE *f, char *line, size_t size, struct vma *vma)
{
	unsigned long long start, end;
	long at;

	*vma = (struct vma){0};
	while (vma->end == 0) {
		if (fgets(line, (int)size, f) == NULL)
			return false;
		if (sscanf(line, "%llx-%llx %7s", &start, &end, vma->perms) ==
		    3) {
			vma->start = start;
			vma->end = end;
		}
	}
	for (;;) {
		at = ftell(f);
		if (fgets(line, (int)size, f) == NULL)
			return true;
		if (sscanf(line, "%llx-%llx %*s", &start, &end) == 2)
			break; /* the next one's head */
		(void)sscanf(line, "Rss: %llu", &vma->rss);
		(void)sscanf(line, "Locked: %llu", &vma->locked);
		(void)sscanf(line, "VmFlags:%158[^\n]", vma->flags);
	}
	return fseek(f, at, SEEK_SET) == 0;
}

/* The mapping that holds `addr`. */
static struct vma
vma_at(uint64_t addr)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	struct vma vma;
	char line[512];

	ASSERT_NOT_NULL(f);
	do {
		if (!next_vma(f, line, sizeof(line), &vma))
			test_fail(__FILE__, __LINE__, "nothing at %#llx",
			    (unsigned long long)addr);
	} while (addr < vma.start || addr >= vma.end);
	(void)fclose(f);
	return vma;
}

/* Has it that flag, two letters of VmFlags? */
static bool
has(const struct vma *vma, const char *flag)
{
	for (const char *p = vma->flags; (p = strstr(p, flag)) != NULL; p++)
		if (p[-1] == ' ' && (p[2] == ' ' || p[2] == '\0'))
			return true;
	return false;
}

static void
expect_perms(uint64_t addr, const char *perms)
{
	struct vma vma = vma_at(addr);

	ASSERT_STREQ(vma.perms, perms);
}

/* Exactly [start, end) has the flag. */
static void
expect_flag(uint64_t start, uint64_t end, const char *flag)
{
	struct vma in, below = vma_at(start - 1), above = vma_at(end);

	ASSERT_FALSE(has(&below, flag));
	ASSERT_FALSE(has(&above, flag));
	for (uint64_t at = start; at < end; at = in.end) {
		in = vma_at(at);
		if (!has(&in, flag))
			test_fail(__FILE__, __LINE__,
			    "%#llx has no flag %s, but%s",
			    (unsigned long long)at, flag, in.flags);
	}
}

/* ---- Rights and advice ------------------------------------------------------
 */

TEST(smaps__rights_are_the_entrys_and_nothing_else_is_accessible)
{
	static const struct {
		uint32_t prot;
		const char *perms;
	} rows[] = {{HF_PROT_READ, "r--s"}, {0, "---"}, {HF_PROT_RW, "rw-s"},
	    {HF_PROT_READ | HF_PROT_EXECUTE, "r-xs"}};
	struct world w;
	struct vma vma;

	world_start(&w);
	expect_perms(w.addr, "rw-s");
	expect_perms(w.addr + 16 * PAGE, "---p");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ASSERT_EQ(holdfast_map_protect(w.map, w.addr + PAGE,
			      w.addr + 3 * PAGE, rows[i].prot, 0,
			      HF_PROTECT_SET_PROT),
		    HF_OK);
		vma = vma_at(w.addr + PAGE);
		ASSERT_EQ(strncmp(vma.perms, rows[i].perms,
			      strlen(rows[i].perms)),
		    0);
		expect_perms(w.addr, "rw-s");
		expect_perms(w.addr + 3 * PAGE, "rw-s");
	}
	ASSERT_EQ(holdfast_map_delete(w.map, w.addr, w.addr + 16 * PAGE),
	    HF_OK);
	expect_perms(w.addr, "---p");
	world_stop(&w);
}

TEST(smaps__a_guard_is_inaccessible)
{
	struct holdfast_map_args args = {.length = 4 * PAGE,
	    .cow = HF_ENTER_GUARD};
	struct world w;

	world_start(&w);
	args.addr = w.addr + 4 * PAGE;
	*(volatile char *)args.addr = 1;
	ASSERT_EQ(holdfast_map_fixed(w.map, &args), HF_OK);
	expect_perms(w.addr + 4 * PAGE, "---p");
	expect_perms(w.addr + 8 * PAGE - 1, "---p");
	expect_perms(w.addr + 3 * PAGE, "rw-s");
	expect_perms(w.addr + 8 * PAGE, "rw-s");
	world_stop(&w);
}

TEST(smaps__advice_is_the_kernels)
{
	static const struct {
		uint32_t advice;
		const char *flag;
		uint32_t undo;
	} rows[] = {{HF_ADVICE_RANDOM, "rr", HF_ADVICE_NORMAL},
	    {HF_ADVICE_SEQUENTIAL, "sr", HF_ADVICE_NORMAL},
	    {HF_ADVICE_NOCORE, "dd", HF_ADVICE_CORE}};
	struct world w;

	world_start(&w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vma vma;

		ASSERT_EQ(holdfast_map_madvise(w.map, w.addr + 2 * PAGE,
			      w.addr + 4 * PAGE, rows[i].advice),
		    HF_OK);
		expect_flag(w.addr + 2 * PAGE, w.addr + 4 * PAGE, rows[i].flag);
		ASSERT_EQ(holdfast_map_madvise(w.map, w.addr + 2 * PAGE,
			      w.addr + 4 * PAGE, rows[i].undo),
		    HF_OK);
		vma = vma_at(w.addr + 2 * PAGE);
		ASSERT_FALSE(has(&vma, rows[i].flag));
	}
	world_stop(&w);
}

/* ---- Wiring
 * ------------------------------------------------------------------ */

/* Sanitizers make mlock(2) do nothing. */
static bool
mlock_works(void)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct vma vma;

	ASSERT_EQ(mlock(page, sizeof(page)), 0);
	vma = vma_at((uint64_t)(uintptr_t)page);
	ASSERT_EQ(munlock(page, sizeof(page)), 0);
	return has(&vma, "lo");
}

TEST(smaps__what_is_wired_is_there_and_locked)
{
	uint64_t start, end;
	struct world w;
	struct vma vma;

	world_start(&w);
	start = w.addr + 4 * PAGE;
	end = w.addr + 12 * PAGE;
	vma = vma_at(start);
	ASSERT_EQ(vma.rss, 0);
	ASSERT_EQ(holdfast_map_wire(w.map, start, end, HF_WIRE_NOHOLES), HF_OK);
	vma = vma_at(start);
	ASSERT_EQ(vma.rss, 32);
	if (mlock_works()) {
		expect_flag(start, end, "lo");
		ASSERT_EQ(vma.locked, 32);
		/* A second wiring keeps it locked when the first goes. */
		ASSERT_EQ(holdfast_map_wire(w.map, start, start + 2 * PAGE,
			      HF_WIRE_SYSTEM),
		    HF_OK);
		ASSERT_EQ(holdfast_map_unwire(w.map, start, end,
			      HF_WIRE_NOHOLES),
		    HF_OK);
		expect_flag(start, start + 2 * PAGE, "lo");
		ASSERT_EQ(holdfast_map_delete(w.map, start, end),
		    HF_WOULD_BLOCK);
		ASSERT_EQ(holdfast_map_unwire(w.map, start, start + 2 * PAGE,
			      HF_WIRE_SYSTEM),
		    HF_OK);
	} else {
		ASSERT_EQ(holdfast_map_unwire(w.map, start, end,
			      HF_WIRE_NOHOLES),
		    HF_OK);
	}
	vma = vma_at(start);
	ASSERT_FALSE(has(&vma, "lo"));
	/* With holes: what is there is wired. */
	ASSERT_EQ(holdfast_map_wire(w.map, start, w.addr + 32 * PAGE,
		      HF_WIRE_NOHOLES),
	    HF_INVALID_ADDRESS);
	ASSERT_EQ(holdfast_map_wire(w.map, start, w.addr + 32 * PAGE,
		      HF_WIRE_HOLESOK),
	    HF_OK);
	vma = vma_at(w.addr + 12 * PAGE);
	ASSERT_EQ(vma.rss, 48);
	world_stop(&w);
}

/* ---- Children
 * ---------------------------------------------------------------- */

/* What a forked child finds at `addr`: the byte, or the negated signal. */
static int
child_reads(uint64_t addr)
{
	int status;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
		_exit(*(volatile unsigned char *)addr);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Let a child write there. */
static void
child_writes(uint64_t addr, unsigned char byte)
{
	int status;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (pid == 0) {
		*(volatile unsigned char *)addr = byte;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
}

TEST(smaps__children_get_what_inheritance_says)
{
	volatile unsigned char *p;
	struct world w;

	world_start(&w);
	p = (volatile unsigned char *)w.addr;
	for (int i = 0; i < 16; i++)
		p[(uint64_t)i * PAGE] = (unsigned char)(i + 1);
	ASSERT_EQ(holdfast_map_inherit(w.map, w.addr, w.addr + PAGE,
		      HF_INHERIT_SHARE),
	    HF_OK);
	ASSERT_EQ(holdfast_map_inherit(w.map, w.addr + 2 * PAGE,
		      w.addr + 3 * PAGE, HF_INHERIT_NONE),
	    HF_OK);
	expect_flag(w.addr + 2 * PAGE, w.addr + 3 * PAGE, "dc");
	ASSERT_EQ(child_reads(w.addr), 1);
	ASSERT_EQ(child_reads(w.addr + 2 * PAGE), -SIGSEGV);
	ASSERT_EQ(child_reads(w.addr + 3 * PAGE), 4);
	/* Zeroes, the child's own. */
	ASSERT_EQ(holdfast_map_inherit(w.map, w.addr + 5 * PAGE,
		      w.addr + 7 * PAGE, HF_INHERIT_ZERO),
	    HF_OK);
	ASSERT_EQ(child_reads(w.addr + 5 * PAGE), 0);
	ASSERT_EQ(child_reads(w.addr + 6 * PAGE), 0);
	ASSERT_EQ(child_reads(w.addr + 7 * PAGE), 8);
	child_writes(w.addr + 6 * PAGE, 99);
	ASSERT_EQ(p[6 * PAGE], 7);
	ASSERT_EQ(holdfast_map_protect(w.map, w.addr + 5 * PAGE,
		      w.addr + 6 * PAGE, 0, 0, HF_PROTECT_SET_PROT),
	    HF_OK);
	ASSERT_EQ(child_reads(w.addr + 5 * PAGE), -SIGSEGV);
	ASSERT_EQ(holdfast_map_inherit(w.map, w.addr + 6 * PAGE,
		      w.addr + 7 * PAGE, HF_INHERIT_SHARE),
	    HF_OK);
	ASSERT_EQ(child_reads(w.addr + 6 * PAGE), 7);
	/* Shared: the child's writes are ours. */
	child_writes(w.addr, 77);
	ASSERT_EQ(p[0], 77);
	/* And back: the parent never lost a byte. */
	ASSERT_EQ(p[2 * PAGE], 3);
	ASSERT_EQ(holdfast_map_inherit(w.map, w.addr + 2 * PAGE,
		      w.addr + 3 * PAGE, HF_INHERIT_COPY),
	    HF_OK);
	ASSERT_EQ(child_reads(w.addr + 2 * PAGE), 3);
	world_stop(&w);
}

/* ---- What is there before it is touched -------------------------------------
 */

TEST(smaps__prefault_populates_whatever_enters_it)
{
	const uint64_t npages = 128;
	struct holdfast_map_args args = {.length = npages * PAGE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .cow = HF_ENTER_PREFAULT,
	    .find_space = HF_VMFS_ANY_SPACE};
	uint64_t at, found[2];
	struct vma vma;
	struct world w;
	int rv[2];

	world_start(&w);
	args.addr = at = w.addr + 1024 * PAGE;
	ASSERT_EQ(holdfast_map_fixed(w.map, &args), HF_OK);
	vma = vma_at(at);
	ASSERT_EQ(vma.rss, 4 * npages);
	args.cow = HF_ENTER_PREFAULT_PARTIAL;
	ASSERT_EQ(holdfast_map_fixed(w.map, &args), HF_OK);
	vma = vma_at(at);
	ASSERT_EQ(vma.rss, 4 * 96);
	/* No further than the entry goes. */
	args.addr = at + npages * PAGE;
	args.cow = HF_ENTER_NOCORE;
	ASSERT_EQ(holdfast_map_fixed(w.map, &args), HF_OK);
	args.addr -= 2 * PAGE;
	args.length = 2 * PAGE;
	args.cow = HF_ENTER_PREFAULT_PARTIAL;
	ASSERT_EQ(holdfast_map_fixed(w.map, &args), HF_OK);
	vma = vma_at(at + npages * PAGE);
	ASSERT_EQ(vma.rss, 0);
	args.addr = w.addr + 2048 * PAGE;
	args.length = 2 * PAGE;
	args.cow = HF_ENTER_PREFAULT | HF_ENTER_NOCORE; /* apart from others */
	ASSERT_EQ(holdfast_map_find_batch(w.map, &args, 1, rv, found), 0);
	ASSERT_EQ(rv[0], HF_OK);
	vma = vma_at(found[0]);
	ASSERT_EQ(vma.rss, 8);
	world_stop(&w);
}

/* ---- Others in the same map -------------------------------------------------
 */

/* Another connection, which mirrors nothing: the map, but not this memory. */
static struct holdfast_map *
other_connect(struct world *w, struct holdfast **hp)
{
	struct holdfast_map_options options = {.name = "world",
	    .no_mirror = true};
	struct holdfast_map *map;

	*hp = live_connect(&w->live);
	ASSERT_EQ(holdfast_map_attach(*hp, &options, &map), HF_OK);
	return map;
}

/* The same memory, given back and had again. */
static void
world_reattach(struct world *w)
{
	struct holdfast_map_options options = {.name = "world"};

	ASSERT_EQ(holdfast_map_detach(w->map), HF_OK);
	ASSERT_EQ(holdfast_map_attach(w->h, &options, &w->map), HF_OK);
}

TEST(smaps__what_others_advise_and_wire_is_carried_out_here)
{
	bool locks = mlock_works();
	struct holdfast_map *other;
	struct holdfast *h;
	uint64_t start, end;
	struct vma vma;
	struct world w;

	world_start(&w);
	other = other_connect(&w, &h);
	start = w.addr + 2 * PAGE;
	end = w.addr + 4 * PAGE;
	ASSERT_EQ(holdfast_map_watch(w.map), HF_OK);
	ASSERT_EQ(holdfast_map_madvise(other, start, end, HF_ADVICE_RANDOM),
	    HF_OK);
	ASSERT_EQ(holdfast_map_madvise(other, start, end, HF_ADVICE_NOCORE),
	    HF_OK);
	ASSERT_EQ(holdfast_map_wire(other, start, end, HF_WIRE_NOHOLES), HF_OK);
	ASSERT_EQ(holdfast_map_stat(w.map, &(struct holdfast_map_stat){0}),
	    HF_OK); /* the event has come before this reply */
	for (int twice = 0; twice < 2; twice++) {
		if (twice == 0)
			ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
		else
			world_reattach(&w);
		expect_flag(start, end, "rr");
		expect_flag(start, end, "dd");
		if (locks)
			expect_flag(start, end, "lo");
	}
	ASSERT_EQ(holdfast_map_unwire(other, start, end, HF_WIRE_NOHOLES),
	    HF_OK);
	ASSERT_EQ(holdfast_map_madvise(other, start, end, HF_ADVICE_CORE),
	    HF_OK);
	ASSERT_EQ(holdfast_map_refresh(w.map), HF_OK);
	vma = vma_at(start);
	ASSERT_TRUE(has(&vma, "rr"));
	ASSERT_FALSE(has(&vma, "dd"));
	ASSERT_FALSE(has(&vma, "lo"));
	holdfast_close(h);
	world_stop(&w);
}

/* A secret that is not to be in a core dump is in none after a copy either. */
TEST(smaps__advice_outlasts_a_copy_and_begins_with_the_entry)
{
	struct holdfast_map_options options = {.name = "child"};
	struct holdfast_map_args args = {.length = 4 * PAGE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .cow = HF_ENTER_NOCORE,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *child;
	struct world w;
	uint64_t at;

	world_start(&w);
	ASSERT_EQ(holdfast_map_find(w.map, &args, &at), HF_OK);
	expect_flag(at, at + 4 * PAGE, "dd");
	*(volatile unsigned char *)at = 1;
	ASSERT_EQ(holdfast_map_fork(w.map, &options, &child), HF_OK);
	expect_perms(at, "r--s");
	ASSERT_EQ(holdfast_map_fault(w.map, at, HF_PROT_WRITE), HF_OK);
	expect_perms(at, "rw-s");
	expect_flag(at, at + 4 * PAGE, "dd");
	ASSERT_EQ(holdfast_map_detach(child), HF_OK);
	world_stop(&w);
}

/* What is copied on write is read-only in memory until it is written. */
TEST(smaps__a_copy_is_mapped_for_writing_once_it_was_made)
{
	struct holdfast_map_args args = {.length = 2 * PAGE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .find_space = HF_VMFS_ANY_SPACE};
	uint64_t shared, copy;
	struct world w;

	world_start(&w);
	ASSERT_EQ(holdfast_object_create(w.h, HF_OBJECT_BASE, 2 * PAGE,
		      &args.object),
	    HF_OK);
	ASSERT_EQ(holdfast_map_find(w.map, &args, &shared), HF_OK);
	*(volatile unsigned char *)shared = 5;
	args.cow = HF_ENTER_COPY_ON_WRITE;
	ASSERT_EQ(holdfast_map_find(w.map, &args, &copy), HF_OK);
	expect_perms(shared, "rw-s");
	expect_perms(copy, "r--s");
	ASSERT_EQ(child_reads(copy), 5);
	ASSERT_EQ(holdfast_map_fault(w.map, copy, HF_PROT_WRITE), HF_OK);
	expect_perms(copy, "rw-s");
	expect_perms(copy + PAGE, "r--s");
	*(volatile unsigned char *)copy = 6;
	ASSERT_EQ(*(volatile unsigned char *)shared, 5);
	ASSERT_EQ(child_reads(copy), 6);
	world_stop(&w);
}
