/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Clients of a real daemon on real huge pages: what they get, what they share,
 * and that nothing of them is left when they are gone.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/system/live.h"
#include "tests/test.h"

static const char *const told[] = {"--allow-addresses", "all", NULL};

static struct holdfast_buf *
alloc(struct holdfast *h, uint64_t size, uint32_t flags)
{
	struct holdfast_contig_req req = {.size = size, .flags = flags};
	struct holdfast_buf *buf;
	int r = holdfast_contigmalloc(h, &req, &buf);

	if (r != HF_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", holdfast_status_name(r),
		    holdfast_error(h));
	return buf;
}

/* ---- Contiguity, seen from outside -------------------------------------- */

/* What a client tells the case, which looks at it as root. */
struct shown {
	void *addr;
	uint64_t size, pa;
	enum holdfast_pin pin;
	bool verified;
};

struct show {
	struct live *live;
	uint64_t size;
	int say[2], go[2]; /* pipes: child to case, case to child */
};

static void
show_buffer(void *arg)
{
	struct show *show = arg;
	struct holdfast *h = live_connect(show->live);
	struct holdfast_buf *buf = alloc(h, show->size, HF_M_ZERO);
	struct shown shown = {buf->addr, buf->size, buf->pa, buf->pin,
	    buf->verified};
	uint64_t *words = buf->addr;
	char go;

	ASSERT_EQ(getuid(), NOBODY);
	ASSERT_TRUE(buf->pa_known);
	for (uint64_t i = 0; i < show->size / 8; i++)
		ASSERT_EQ(words[i], 0);
	for (uint64_t i = 0; i < show->size / 8; i += 512)
		words[i] = i;
	for (uint64_t at = 0; at < show->size; at += 4096) {
		uint64_t pa;

		ASSERT_EQ(holdfast_vtophys(h, (char *)buf->addr + at, &pa),
		    HF_OK);
		ASSERT_EQ(pa, buf->pa + at);
		ASSERT_EQ(words[at / 8], at / 8);
	}
	/* Readable by root whatever the change of uid made of us. */
	ASSERT_EQ(write(show->say[1], &shown, sizeof(shown)),
	    (ssize_t)sizeof(shown));
	ASSERT_EQ(read(show->go[0], &go, 1), 1);
	holdfast_close(h);
}

static void
check_shown(uint64_t size)
{
	struct show show = {.size = size};
	struct shown shown;
	struct live live;
	pid_t pid;

	live_start(&live, 256, told);
	show.live = &live;
	ASSERT_EQ(pipe2(show.say, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(show.go, O_CLOEXEC), 0);
	pid = live_spawn(NOBODY, show_buffer, &show);
	(void)close(show.say[1]);
	ASSERT_EQ(read(show.say[0], &shown, sizeof(shown)),
	    (ssize_t)sizeof(shown));
	ASSERT_EQ(shown.size, size);
	ASSERT_TRUE(shown.verified);
	ASSERT_NE(shown.pa, 0);
	ASSERT_EQ(((uintptr_t)shown.addr ^ shown.pa) & (2 * MIB - 1), 0);
	for (uint64_t at = 0; at < size; at += 4096)
		ASSERT_EQ(live_pagemap(pid, (char *)shown.addr + at),
		    shown.pa + at);
	ASSERT_EQ(write(show.go[1], "x", 1), 1);
	live_wait(pid);
	(void)close(show.say[0]);
	(void)close(show.go[0]);
	(void)close(show.go[1]);
	live_stop(&live);
}

TEST(unprivileged__64_mib_are_contiguous_as_pagemap_has_it)
{
	check_shown(64 * MIB);
}

TEST(unprivileged__one_page_is_where_it_is_said_to_be)
{
	check_shown(4096);
}

/* The manual page's example, with `high` in the middle of the pool. */
static void
ask_within_bounds(void *arg)
{
	struct live *live = arg;
	struct holdfast *h = live_connect(live);
	struct holdfast_run *segs, *runs;
	struct holdfast_contig_req req = {.size = 8192,
	    .flags = HF_M_ZERO,
	    .alignment = 32 << 10,
	    .boundary = 1 << 20};
	struct holdfast_buf *buf;
	size_t nsegs, nruns;

	ASSERT_EQ(holdfast_pool_runs(h, &segs, &nsegs, &runs, &nruns), HF_OK);
	req.high = (segs[0].start + segs[nsegs - 1].end) / 2;
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(buf->pa % (32 << 10), 0);
	ASSERT_LE(buf->pa + 8192, req.high);
	ASSERT_EQ((uintptr_t)buf->addr % (1 << 20), buf->pa % (1 << 20));
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	req.high = 1 << 22;
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_NO_SPACE);
	ASSERT_GT(strlen(holdfast_error(h)), 0);
	free(segs);
	free(runs);
	holdfast_close(h);
}

TEST(unprivileged__bounds_alignment_and_boundary_hold)
{
	struct live live;

	live_start(&live, 64, told);
	live_as(NOBODY, ask_within_bounds, &live);
	live_stop(&live);
}

static void
ask_in_the_dark(void *arg)
{
	struct live *live = arg;
	struct holdfast *h = live_connect(live);
	struct holdfast_buf *buf = alloc(h, 4 * MIB, 0);
	struct holdfast_run *segs, *runs;
	size_t nsegs, nruns;
	uint64_t pa;

	ASSERT_FALSE(buf->pa_known);
	ASSERT_EQ(buf->pa | buf->span_pa, 0);
	ASSERT_EQ(holdfast_vtophys(h, buf->addr, &pa), HF_DENIED);
	ASSERT_EQ(holdfast_pool_runs(h, &segs, &nsegs, &runs, &nruns),
	    HF_DENIED);
	memset(buf->addr, 1, buf->size);
	holdfast_close(h);
}

TEST(unprivileged__addresses_are_not_told_unless_configured)
{
	struct live live;

	live_start(&live, 64, NULL);
	live_as(NOBODY, ask_in_the_dark, &live);
	live_stop(&live);
}

/* ---- The end of clients ------------------------------------------------- */

/* Allocate, free and map until killed. */
static void
churn(void *arg)
{
	const struct live *live = arg;
	uint64_t state = test_seed() ^ (uint64_t)getpid();
	struct holdfast *h = live_connect(live);
	struct holdfast_map_options options = {0};
	struct holdfast_buf *bufs[8] = {NULL};
	struct holdfast_map *map;
	uint64_t addr;

	(void)holdfast_map_create(h, &options, &map);
	for (;;) {
		size_t i = test_random(&state) % 8;
		struct holdfast_contig_req req = {
		    .size = UINT64_C(4096) << test_random(&state) % 10,
		    .flags = test_random(&state) % 2 != 0 ? HF_M_ZERO : 0,
		};
		struct holdfast_map_args args = {.length = req.size,
		    .prot = 3,
		    .max_prot = 3,
		    .find_space = HF_VMFS_ANY_SPACE};

		if (bufs[i] != NULL) {
			(void)holdfast_contigfree(h, bufs[i]);
			bufs[i] = NULL;
		} else if (holdfast_contigmalloc(h, &req, &bufs[i]) == HF_OK) {
			*(volatile char *)bufs[i]->addr = 1;
		} else {
			bufs[i] = NULL;
		}
		if (i == 0)
			(void)holdfast_map_find(map, &args, &addr);
	}
}

/* Kill `n` clients at random moments, `width` at a time. */
static void
kill_clients(struct live *live, uint64_t n, size_t width)
{
	uint64_t state = test_seed(), started = 0, ended = 0;
	pid_t pids[16] = {0};

	while (ended < n) {
		size_t i = test_random(&state) % width;
		struct timespec pause = {0,
		    (long)(test_random(&state) % 3000000)};
		int status;

		if (pids[i] != 0) {
			ASSERT_EQ(kill(pids[i], SIGKILL), 0);
			ASSERT_EQ(waitpid(pids[i], &status, 0), pids[i]);
			ASSERT_TRUE(WIFSIGNALED(status));
			pids[i] = 0;
			ended++;
		} else if (started < n) {
			pids[i] =
			    live_spawn(started % 2 != 0 ? NOBODY : SOMEBODY,
				churn, live);
			started++;
		}
		(void)nanosleep(&pause, NULL);
	}
}

TEST_TIMEOUT(killed__1000_clients_leave_the_pool_as_it_was, 240)
{
	struct live_pool before, after;
	struct holdfast *h;
	struct live live;
	int nfds;

	live_start(&live, 64, told);
	h = live_connect(&live);
	live_pool_read(h, &before);
	nfds = live_nfds(&live);
	kill_clients(&live, test_ops(1000), 8);
	live_wait_idle(h);
	live_pool_read(h, &after);
	live_pool_same(&before, &after);
	ASSERT_EQ(live_nfds(&live), nfds);
	live_pool_fini(&before);
	live_pool_fini(&after);
	holdfast_close(h);
	live_stop(&live);
}

static void
exit_with_everything(void *arg)
{
	struct holdfast_map_options options = {.name = "left-behind"};
	struct holdfast *h = live_connect(arg);
	struct holdfast_map_args args = {.length = MIB,
	    .prot = 3,
	    .max_prot = 3,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *map;
	uint64_t addr, object;

	(void)alloc(h, 8 * MIB, 0);
	(void)alloc(h, 4096, 0);
	ASSERT_EQ(holdfast_object_create(h, HF_OBJECT_SUPER, 4 * MIB, &object),
	    HF_OK);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	memset((void *)addr, 1, MIB);
}

static void
half_close(void *arg)
{
	struct holdfast *h = live_connect(arg);

	(void)alloc(h, 8 * MIB, 0);
	ASSERT_EQ(shutdown(holdfast_fd(h), SHUT_WR), 0);
	/* We live on, with the socket open to read. */
	(void)pause();
}

/* The child keeps the socket and the mapping; the client itself is gone. */
static void
fork_and_exit(void *arg)
{
	struct holdfast *h = live_connect(arg);
	pid_t pid;

	(void)alloc(h, 8 * MIB, 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
}

static void
check_end(void (*client)(void *arg), bool lives_on)
{
	struct live_pool before, after;
	struct holdfast *h;
	struct live live;
	pid_t pid;
	int nfds;

	live_start(&live, 64, told);
	h = live_connect(&live);
	live_pool_read(h, &before);
	nfds = live_nfds(&live);
	pid = live_spawn(NOBODY, client, &live);
	if (lives_on) {
		struct holdfast_pool_status s;

		do /* it holds something before it lets go */
			ASSERT_EQ(holdfast_pool_status(h, &s), HF_OK);
		while (s.sessions == 1 &&
		       s.frames_standby == before.status.frames_standby);
	} else {
		live_wait(pid);
	}
	live_wait_idle(h);
	live_pool_read(h, &after);
	live_pool_same(&before, &after);
	ASSERT_EQ(live_nfds(&live), nfds);
	if (lives_on) {
		ASSERT_EQ(kill(pid, SIGKILL), 0);
		ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	}
	live_pool_fini(&before);
	live_pool_fini(&after);
	holdfast_close(h);
	live_stop(&live);
}

TEST(exit__gives_everything_back)
{
	check_end(exit_with_everything, false);
}

TEST(half_close__gives_everything_back_while_the_client_lives)
{
	check_end(half_close, true);
}

TEST(forked_child__does_not_keep_its_parents_memory)
{
	check_end(fork_and_exit, false);
}

/* ---- Isolation ----------------------------------------------------------- */

struct stale {
	struct live *live;
	int say[2], go[2];
};

static volatile sig_atomic_t faulted;

static void
on_bus(int sig)
{
	(void)sig;
	faulted = 1;
	_exit(42);
}

/* Try one access in a child: true if it was a SIGBUS. */
static bool
access_faults(volatile char *p, bool write)
{
	int status;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)signal(SIGBUS, on_bus);
		if (write)
			*p = 0x66;
		else
			(void)*p;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_TRUE(WIFEXITED(status));
	return WEXITSTATUS(status) == 42;
}

/*
 * hugetlbfs may let the holder map the emptied file again; what he meets are
 * faults, or frames that are nobody's and zeroed.
 */
static void
try_fresh_mapping(int fd, uint64_t size)
{
	volatile char *p =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return;
	for (uint64_t at = 0; at < size; at += 4096) {
		if (at % (2 * MIB) == 0 && access_faults(p + at, false)) {
			at += 2 * MIB - 4096;
			continue;
		}
		ASSERT_EQ(p[at], 0);
		p[at] = 0x66;
	}
	ASSERT_EQ(munmap((void *)(uintptr_t)p, size), 0);
}

/* Free, but keep a descriptor and a mapping, and try to see the next owner. */
static void
keep_after_free(void *arg)
{
	struct stale *stale = arg;
	struct holdfast *h = live_connect(stale->live);
	struct holdfast_buf *buf = alloc(h, 4 * MIB, 0);
	uint64_t size = buf->span_size;
	int fd = dup(buf->fd);
	volatile char *p =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char go;

	ASSERT_TRUE(p != MAP_FAILED);
	memset((void *)(uintptr_t)p, 0x11, size);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	holdfast_close(h);
	ASSERT_EQ(write(stale->say[1], "f", 1), 1);
	ASSERT_EQ(read(stale->go[0], &go, 1), 1); /* the next owner has it */
	for (uint64_t at = 0; at < size; at += 2 * MIB) {
		ASSERT_TRUE(access_faults(p + at, false));
		ASSERT_TRUE(access_faults(p + at, true));
	}
	/* Nor by growing the file, or by mapping it again. */
	ASSERT_NE(ftruncate(fd, (off_t)size), 0);
	ASSERT_NE(fallocate(fd, 0, 0, (off_t)size), 0);
	try_fresh_mapping(fd, size);
	ASSERT_EQ(write(stale->say[1], "d", 1), 1);
	(void)close(fd);
}

struct owner {
	struct live *live;
	struct stale *stale;
};

/* Every frame of the pool, in as many buffers as it takes. */
static size_t
alloc_all(struct holdfast *h, struct holdfast_buf **bufs, size_t max)
{
	struct holdfast_pool_status s;
	size_t n = 0;

	for (;;) {
		ASSERT_EQ(holdfast_pool_status(h, &s), HF_OK);
		if (s.largest_run == 0)
			return n;
		ASSERT_LT(n, max);
		bufs[n++] = alloc(h, s.largest_run, HF_M_ZERO);
	}
}

static void
own_next(void *arg)
{
	struct owner *owner = arg;
	struct holdfast *h = live_connect(owner->live);
	struct holdfast_buf *bufs[64];
	size_t n = alloc_all(h, bufs, 64);
	char done;

	for (size_t b = 0; b < n; b++) {
		uint64_t *words = bufs[b]->addr;

		for (uint64_t i = 0; i < bufs[b]->size / 8; i++)
			ASSERT_EQ(words[i], 0); /* nothing of the last owner */
		memset(words, 0x5e, bufs[b]->size);
	}
	ASSERT_EQ(write(owner->stale->go[1], "g", 1), 1);
	ASSERT_EQ(read(owner->stale->say[0], &done, 1), 1);
	ASSERT_EQ(done, 'd');
	for (size_t b = 0; b < n; b++) {
		uint64_t *words = bufs[b]->addr;

		for (uint64_t i = 0; i < bufs[b]->size / 8; i++)
			ASSERT_EQ(words[i], UINT64_C(0x5e5e5e5e5e5e5e5e));
	}
	holdfast_close(h);
}

TEST(isolation__a_kept_fd_and_mapping_see_nothing_of_the_next_owner)
{
	struct stale stale;
	struct owner owner;
	struct holdfast *h;
	struct live live;
	pid_t holder;
	char freed;

	live_start(&live, 64, told);
	h = live_connect(&live);
	stale.live = &live;
	owner = (struct owner){&live, &stale};
	ASSERT_EQ(pipe2(stale.say, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(stale.go, O_CLOEXEC), 0);
	holder = live_spawn(NOBODY, keep_after_free, &stale);
	ASSERT_EQ(read(stale.say[0], &freed, 1), 1);
	ASSERT_EQ(freed, 'f');
	live_wait_idle(h); /* the holder lives, and yet the frames are back */
	live_as(SOMEBODY, own_next, &owner);
	live_wait(holder);
	for (int i = 0; i < 2; i++) {
		(void)close(stale.say[i]);
		(void)close(stale.go[i]);
	}
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Sharing ------------------------------------------------------------- */

#define SECRET UINT64_C(0x686f6c6466617374)

struct meeting {
	struct live *live;
	int say[2], go[2];
};

static void
attach_and_answer(void *arg)
{
	struct meeting *m = arg;
	struct holdfast *h = live_connect(m->live);
	struct holdfast_map_options options = {.name = "meeting"};
	struct holdfast_map *map;
	uint64_t addr;

	ASSERT_EQ(read(m->say[0], &addr, sizeof(addr)), (ssize_t)sizeof(addr));
	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_OK);
	ASSERT_EQ(*(volatile uint64_t *)addr, SECRET);
	*(volatile uint64_t *)(addr + 8) = SECRET + 1;
	/* The same frames, too: physical memory is shared, not copied. */
	ASSERT_EQ(write(m->go[1], "x", 1), 1);
	ASSERT_EQ(read(m->say[0], &addr, 1), 1);
	holdfast_close(h);
}

static void
create_and_ask(void *arg)
{
	struct meeting *m = arg;
	struct holdfast *h = live_connect(m->live);
	struct holdfast_map_options options = {.name = "meeting"};
	struct holdfast_map_args args = {.length = 4 * MIB,
	    .prot = 3,
	    .max_prot = 3,
	    .find_space = HF_VMFS_SUPER_SPACE};
	struct holdfast_map *map;
	uint64_t addr;
	char go;

	ASSERT_EQ(holdfast_object_create(h, HF_OBJECT_SUPER, 4 * MIB,
		      &args.object),
	    HF_OK);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	ASSERT_EQ(addr % (2 * MIB), 0);
	*(volatile uint64_t *)addr = SECRET;
	ASSERT_EQ(write(m->say[1], &addr, sizeof(addr)), (ssize_t)sizeof(addr));
	ASSERT_EQ(read(m->go[0], &go, 1), 1);
	ASSERT_EQ(*(volatile uint64_t *)(addr + 8), SECRET + 1);
	ASSERT_EQ(holdfast_map_delete(map, addr, addr + 4 * MIB), HF_OK);
	ASSERT_EQ(madvise((void *)addr, 2 * MIB, MADV_POPULATE_READ), -1);
	ASSERT_EQ(write(m->say[1], "x", 1), 1);
	holdfast_close(h);
}

TEST(map__two_processes_see_a_superpage_region_at_the_same_address)
{
	struct meeting m;
	struct holdfast *h;
	struct live live;
	pid_t a, b;

	live_start(&live, 64, NULL);
	m.live = &live;
	ASSERT_EQ(pipe2(m.say, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(m.go, O_CLOEXEC), 0);
	a = live_spawn(NOBODY, create_and_ask, &m);
	b = live_spawn(NOBODY, attach_and_answer, &m);
	live_wait(a);
	live_wait(b);
	for (int i = 0; i < 2; i++) {
		(void)close(m.say[i]);
		(void)close(m.go[i]);
	}
	h = live_connect(&live);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

/* A list with raw pointers in base pages, built by two. */
struct node {
	struct node *next;
	uint64_t value;
};

static void
extend_list(void *arg)
{
	struct meeting *m = arg;
	struct holdfast *h = live_connect(m->live);
	struct holdfast_map_options options = {.name = "list"};
	struct holdfast_map_args args = {.length = 65536,
	    .prot = 3,
	    .max_prot = 3,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *map;
	struct node *head, *node;
	uint64_t addr;

	ASSERT_EQ(read(m->say[0], &head, sizeof(head)), (ssize_t)sizeof(head));
	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_OK);
	ASSERT_EQ(head->value, 1);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	node = (struct node *)addr;
	*node = (struct node){NULL, 2};
	head->next = node;
	ASSERT_EQ(write(m->go[1], "x", 1), 1);
	ASSERT_EQ(read(m->say[0], &addr, 1), 1);
	holdfast_close(h);
}

static void
begin_list(void *arg)
{
	struct meeting *m = arg;
	struct holdfast *h = live_connect(m->live);
	struct holdfast_map_options options = {.name = "list"};
	struct holdfast_map_args args = {.length = 65536,
	    .prot = 3,
	    .max_prot = 3,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *map;
	struct node *head;
	uint64_t addr;
	char go;

	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	head = (struct node *)addr;
	*head = (struct node){NULL, 1};
	ASSERT_EQ(write(m->say[1], &head, sizeof(head)), (ssize_t)sizeof(head));
	ASSERT_EQ(read(m->go[0], &go, 1), 1);
	ASSERT_EQ(holdfast_map_refresh(map), HF_OK);
	ASSERT_NOT_NULL(head->next);
	ASSERT_EQ(head->next->value, 2);
	ASSERT_EQ(write(m->say[1], "x", 1), 1);
	holdfast_close(h);
}

TEST(map__two_unprivileged_processes_build_a_list_with_raw_pointers)
{
	struct meeting m;
	struct live live;
	pid_t a, b;

	live_start(&live, 32, NULL);
	m.live = &live;
	ASSERT_EQ(pipe2(m.say, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(m.go, O_CLOEXEC), 0);
	a = live_spawn(NOBODY, begin_list, &m);
	b = live_spawn(NOBODY, extend_list, &m);
	live_wait(a);
	live_wait(b);
	for (int i = 0; i < 2; i++) {
		(void)close(m.say[i]);
		(void)close(m.go[i]);
	}
	live_stop(&live);
}

static void
attach_in_vain(void *arg)
{
	struct holdfast_map_options options = {.name = "private"};
	struct holdfast *h = live_connect(arg);
	struct holdfast_map *map;

	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_UNKNOWN_ID);
	holdfast_close(h);
}

TEST(map__another_tenant_does_not_even_learn_that_it_exists)
{
	struct holdfast_map_options options = {.name = "private"};
	struct holdfast_map *map;
	struct holdfast *h;
	struct live live;

	live_start(&live, 32, NULL);
	h = live_connect(&live);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	live_as(NOBODY, attach_in_vain, &live);
	holdfast_close(h);
	live_stop(&live);
}
