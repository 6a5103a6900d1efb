/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What becomes of an attached map's memory when its entries change: rights,
 * inheritance, wiring, advice, stacks, copies on write.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/live.h"
#include "tests/test.h"

struct world {
	struct live live;
	struct holdfast *h;
	struct holdfast_map *map;
};

static void
world_start(struct world *w)
{
	struct holdfast_map_options options = {.name = "world"};

	live_start(&w->live, 32, NULL);
	w->h = live_connect(&w->live);
	ASSERT_EQ(holdfast_map_create(w->h, &options, &w->map), HF_OK);
}

static void
world_stop(struct world *w)
{
	ASSERT_EQ(holdfast_map_check(w->map), HF_OK);
	holdfast_close(w->h);
	live_stop(&w->live);
}

static uint64_t
find(struct world *w, uint64_t length)
{
	struct holdfast_map_args args = {.length = length,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .find_space = HF_VMFS_ANY_SPACE};
	uint64_t addr;
	int r = holdfast_map_find(w->map, &args, &addr);

	if (r != HF_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", holdfast_status_name(r),
		    holdfast_error(w->h));
	return addr;
}

/* The signal that an access in a child ends with; 0: none. */
static int
touch(uint64_t addr, bool write)
{
	volatile char *p = (volatile char *)addr;
	int status;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
		(void)signal(SIGBUS, SIG_DFL);
		if (write)
			*p = 1;
		else
			(void)*p;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(protect__is_mprotect_and_keeps_the_contents)
{
	struct world w;
	uint64_t addr;

	world_start(&w);
	addr = find(&w, 16 * 4096);
	memset((void *)addr, 7, 16 * 4096);
	ASSERT_EQ(holdfast_map_protect(w.map, addr + 4096, addr + 8192,
		      HF_PROT_READ, 0, HF_PROTECT_SET_PROT),
	    HF_OK);
	ASSERT_EQ(touch(addr + 4096, true), SIGSEGV);
	ASSERT_EQ(touch(addr + 4096, false), 0);
	ASSERT_EQ(touch(addr, true), 0);
	ASSERT_EQ(touch(addr + 8192, true), 0);
	ASSERT_EQ(holdfast_map_protect(w.map, addr + 4096, addr + 8192, 0, 0,
		      HF_PROTECT_SET_PROT),
	    HF_OK);
	ASSERT_EQ(touch(addr + 4096, false), SIGSEGV);
	ASSERT_EQ(holdfast_map_protect(w.map, addr + 4096, addr + 8192,
		      HF_PROT_RW, 0, HF_PROTECT_SET_PROT),
	    HF_OK);
	ASSERT_EQ(*(volatile char *)(addr + 4096), 7);
	/* More than the maximum, and where nothing is. */
	ASSERT_EQ(holdfast_map_protect(w.map, addr, addr + 4096,
		      HF_PROT_RW | HF_PROT_EXECUTE, 0, HF_PROTECT_SET_PROT),
	    HF_PROTECTION_FAILURE);
	ASSERT_GT(strlen(holdfast_error(w.h)), 10);
	ASSERT_NE(holdfast_map_protect(w.map, addr + 3, addr + 4096, 1, 0,
		      HF_PROTECT_SET_PROT),
	    HF_OK);
	ASSERT_EQ(touch(addr, true), 0);
	world_stop(&w);
}

TEST(inherit__none_is_not_in_children)
{
	struct world w;
	uint64_t addr;

	world_start(&w);
	addr = find(&w, 2 * 4096);
	*(volatile char *)addr = 5;
	ASSERT_EQ(holdfast_map_inherit(w.map, addr, addr + 4096,
		      HF_INHERIT_NONE),
	    HF_OK);
	ASSERT_EQ(touch(addr, false), SIGSEGV);
	ASSERT_EQ(touch(addr + 4096, false), 0);
	ASSERT_EQ(*(volatile char *)addr, 5);
	ASSERT_EQ(holdfast_map_inherit(w.map, addr, addr + 4096,
		      HF_INHERIT_SHARE),
	    HF_OK);
	ASSERT_EQ(touch(addr, true), 0);
	ASSERT_EQ(*(volatile char *)addr, 1); /* the child's write */
	ASSERT_EQ(holdfast_map_inherit(w.map, addr, addr + 4096, 9),
	    HF_INVALID_ARGUMENT);
	world_stop(&w);
}

static uint64_t
locked_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[256];

	ASSERT_NOT_NULL(f);
	while (fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "VmLck: %llu", &kib);
	(void)fclose(f);
	return kib;
}

/* Sanitizers make mlock(2) do nothing. */
static bool
mlock_works(void)
{
	static char page[4096] __attribute__((aligned(4096)));
	uint64_t before = locked_kib(), after;

	ASSERT_EQ(mlock(page, sizeof(page)), 0);
	after = locked_kib();
	ASSERT_EQ(munlock(page, sizeof(page)), 0);
	return after > before;
}

TEST(wire__populates_and_locks_and_unwire_undoes_it)
{
	struct holdfast_entry *entries;
	struct world w;
	unsigned char vec[16];
	uint64_t addr, before;
	size_t n;

	world_start(&w);
	before = locked_kib();
	addr = find(&w, 16 * 4096);
	ASSERT_EQ(holdfast_map_wire(w.map, addr, addr + 16 * 4096, 0), HF_OK);
	ASSERT_EQ(mincore((void *)addr, 16 * 4096, vec), 0);
	for (size_t i = 0; i < 16; i++)
		ASSERT_TRUE((vec[i] & 1) != 0);
	if (mlock_works())
		ASSERT_EQ(locked_kib(), before + 64);
	ASSERT_EQ(holdfast_map_entries(w.map, &entries, &n), HF_OK);
	ASSERT_EQ(entries[0].wired_count, 1);
	free(entries);
	ASSERT_EQ(holdfast_map_unwire(w.map, addr, addr + 16 * 4096, 0), HF_OK);
	ASSERT_EQ(locked_kib(), before);
	ASSERT_NE(holdfast_map_wire(w.map, addr + MIB, addr + 2 * MIB, 0),
	    HF_OK);
	world_stop(&w);
}

TEST(madvise__is_passed_on_and_keeps_the_contents)
{
	struct world w;
	uint64_t addr;

	world_start(&w);
	addr = find(&w, MIB);
	memset((void *)addr, 9, MIB);
	for (uint32_t advice = 0; advice < 10; advice++)
		ASSERT_EQ(holdfast_map_madvise(w.map, addr, addr + MIB, advice),
		    HF_OK);
	for (uint64_t at = 0; at < MIB; at += 4096)
		ASSERT_EQ(*(volatile char *)(addr + at), 9);
	ASSERT_EQ(holdfast_map_madvise(w.map, addr, addr + MIB, 77),
	    HF_INVALID_ARGUMENT);
	world_stop(&w);
}

TEST(stack__grows_when_told_and_not_below_its_limit)
{
	struct holdfast_map_args args = {.length = MIB,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW};
	struct world w;
	uint64_t top, at;

	world_start(&w);
	args.addr = holdfast_map_min(w.map) + 16 * MIB;
	top = args.addr + MIB;
	ASSERT_EQ(holdfast_map_stack(w.map, &args), HF_OK);
	memset((void *)(top - 4096), 3, 4096);
	ASSERT_EQ(touch(args.addr + 512 * 1024, true), SIGSEGV);
	at = args.addr + 512 * 1024;
	ASSERT_EQ(holdfast_map_growstack(w.map, at), HF_OK);
	memset((void *)at, 4, top - 4096 - at);
	ASSERT_EQ(*(volatile char *)(top - 1), 3);
	ASSERT_NE(holdfast_map_growstack(w.map, args.addr - 4096), HF_OK);
	ASSERT_EQ(touch(args.addr - 4096, true), SIGSEGV);
	ASSERT_EQ(holdfast_map_stack(w.map, &args), HF_NO_SPACE);
	world_stop(&w);
}

TEST(copy_on_write__is_a_fault_and_keeps_writes_from_the_object)
{
	struct holdfast_map_args args = {.length = 8192,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct world w;
	uint64_t shared, copy;

	world_start(&w);
	ASSERT_EQ(holdfast_object_create(w.h, HF_OBJECT_BASE, 8192,
		      &args.object),
	    HF_OK);
	ASSERT_EQ(holdfast_map_find(w.map, &args, &shared), HF_OK);
	*(volatile char *)shared = 1;
	args.cow = 2; /* MAP_COPY_ON_WRITE */
	ASSERT_EQ(holdfast_map_find(w.map, &args, &copy), HF_OK);
	ASSERT_EQ(*(volatile char *)copy, 1);
	ASSERT_EQ(touch(copy, true), SIGSEGV);
	ASSERT_EQ(holdfast_map_fault(w.map, copy, HF_PROT_WRITE), HF_OK);
	*(volatile char *)copy = 2;
	ASSERT_EQ(*(volatile char *)shared, 1);
	world_stop(&w);
}

/* ---- Watching ------------------------------------------------------------ */

static bool
told(struct world *w, int timeout_ms)
{
	struct pollfd fds = {.fd = holdfast_fd(w->h), .events = POLLIN};

	return poll(&fds, 1, timeout_ms) == 1;
}

/* Wait for the event and carry it out. */
static void
follow(struct world *w)
{
	ASSERT_TRUE(told(w, 10000));
	do
		ASSERT_EQ(holdfast_dispatch(w->h), HF_OK);
	while (holdfast_pending(w->h));
}

TEST(watch__changes_of_others_are_pushed_and_carried_out)
{
	struct holdfast_map_options quiet = {.name = "world",
	    .no_mirror = true};
	struct holdfast_map_args args = {.length = 8192,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *editor;
	struct holdfast *other;
	struct world w;
	uint64_t addr, first = 0;

	world_start(&w);
	other = live_connect(&w.live);
	ASSERT_EQ(holdfast_map_attach(other, &quiet, &editor), HF_OK);
	ASSERT_EQ(holdfast_map_watch(w.map), HF_OK);
	ASSERT_FALSE(told(&w, 0));

	ASSERT_EQ(holdfast_map_find(editor, &args, &addr), HF_OK);
	follow(&w);
	*(volatile char *)addr = 1;
	ASSERT_EQ(holdfast_map_protect(editor, addr, addr + 8192, HF_PROT_READ,
		      0, HF_PROTECT_SET_PROT),
	    HF_OK);
	follow(&w);
	ASSERT_EQ(touch(addr, true), SIGSEGV);
	ASSERT_EQ(touch(addr, false), 0);
	ASSERT_EQ(holdfast_map_delete(editor, addr, addr + 8192), HF_OK);
	follow(&w);
	ASSERT_EQ(touch(addr, false), SIGSEGV);

	/* Many changes, one event; what it left out comes with the next. */
	for (int i = 0; i < 300; i++) {
		ASSERT_EQ(holdfast_map_find(editor, &args, &addr), HF_OK);
		first = i == 0 ? addr : first;
	}
	follow(&w);
	if (told(&w, 0))
		follow(&w);
	memset((void *)first, 1, 300 * 8192);

	/* Our own changes are no news. */
	while (told(&w, 0))
		follow(&w);
	(void)find(&w, 4096);
	ASSERT_FALSE(told(&w, 100));

	ASSERT_EQ(holdfast_map_destroy(editor), HF_OK);
	follow(&w);
	ASSERT_EQ(touch(first, false), SIGSEGV);
	ASSERT_EQ(holdfast_map_find(w.map, &args, &addr), HF_UNKNOWN_ID);
	ASSERT_EQ(holdfast_map_detach(w.map), HF_OK);
	holdfast_close(other);
	holdfast_close(w.h);
	live_stop(&w.live);
}

/* A watcher that never reads costs the others nothing. */
TEST(watch__a_watcher_that_sleeps_is_no_burden)
{
	struct holdfast_map_options quiet = {.name = "world",
	    .no_mirror = true};
	struct holdfast_map_args args = {.length = 4096,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *editor;
	struct holdfast *other;
	struct world w;
	uint64_t addr;
	int nfds;

	world_start(&w);
	other = live_connect(&w.live);
	ASSERT_EQ(holdfast_map_attach(other, &quiet, &editor), HF_OK);
	ASSERT_EQ(holdfast_map_watch(w.map), HF_OK);
	nfds = live_nfds(&w.live);
	for (int i = 0; i < 5000; i++) {
		ASSERT_EQ(holdfast_map_find(editor, &args, &addr), HF_OK);
		ASSERT_EQ(holdfast_map_delete(editor, addr, addr + 4096),
		    HF_OK);
	}
	ASSERT_EQ(live_nfds(&w.live), nfds);
	follow(&w);
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	holdfast_close(other);
	world_stop(&w);
}
