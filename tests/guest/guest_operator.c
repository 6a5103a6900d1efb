/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * In a guest with two nodes, 40 frames on one of them: they are balanced
 * between the nodes; a frame whose memory goes bad is told to its holder, or to
 * whoever has the map attached that shows it, and never given out again.
 *
 *	guest_operator SOCKET
 *	guest_operator --hold SOCKET	a buffer, while HELD is there
 */

#include <err.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast.h"

#define MADV_HWPOISON_ 100
#define FRAME          (2ul << 20)
#define NFRAMES        40
#define HELD           "/tmp/ready/held"

static void
ask(struct holdfast *h, int r, const char *what)
{
	if (r != HF_OK)
		errx(1, "%s: %s %s", what, holdfast_status_name(r),
		    holdfast_error(h));
}

static void
expect(uint64_t got, uint64_t want, const char *what)
{
	printf("%s: %llu\n", what, (unsigned long long)got);
	if (got != want)
		errx(1, "%s is %llu, not %llu", what, (unsigned long long)got,
		    (unsigned long long)want);
}

static void
count_nodes(struct holdfast *h, uint64_t *on)
{
	struct holdfast_run *segs, *free_runs;
	size_t nsegs, nfree;

	ask(h, holdfast_pool_runs(h, &segs, &nsegs, &free_runs, &nfree),
	    "runs");
	on[0] = on[1] = 0;
	for (size_t i = 0; i < nsegs; i++)
		on[segs[i].domain] += (segs[i].end - segs[i].start) / FRAME;
	free(segs);
	free(free_runs);
}

static void
balance(struct holdfast *h)
{
	struct holdfast_pool_change change = {.action = HF_POOL_REBALANCE};
	struct holdfast_pool_changed changed;
	uint64_t on[2], many;

	count_nodes(h, on);
	expect(on[0] + on[1], NFRAMES, "frames");
	many = on[0] > on[1] ? on[0] : on[1];
	if (many < NFRAMES / 2 + 4)
		errx(1, "they are balanced already");
	ask(h, holdfast_pool_change(h, &change, &changed), "rebalance");
	free(changed.runs);
	expect(changed.frames, many - NFRAMES / 2, "frames moved");
	count_nodes(h, on);
	expect(on[0], NFRAMES / 2, "frames on node 0 after");
	expect(on[1], NFRAMES / 2, "frames on node 1 after");
}

/* A buffer on each node lies there. */
static void
place(struct holdfast *h)
{
	for (int node = 0; node < 2; node++) {
		struct holdfast_contig_req req = {.size = FRAME,
		    .domain = node,
		    .domain_set = true};
		struct holdfast_buf *buf;

		ask(h, holdfast_contigmalloc(h, &req, &buf), "a node's frame");
		expect((uint64_t)buf->domain, (uint64_t)node, "its node");
		ask(h, holdfast_contigfree(h, buf), "free");
	}
}

/* ---- Bad memory --------------------------------------------------- */

struct told {
	const struct holdfast_buf *buf;
	uint64_t offset, size, times;
};

static void
tell(struct holdfast *h, struct holdfast_buf *buf, uint64_t offset,
    uint64_t size, void *arg)
{
	struct told *told = arg;

	(void)h;
	*told = (struct told){buf, offset, size, told->times + 1};
}

static sigjmp_buf bus;

static void
caught(int number)
{
	siglongjmp(bus, number);
}

/* The signal that reading there gives; 0: none. */
static uint64_t
touch(volatile char *p)
{
	int number;

	(void)signal(SIGBUS, caught);
	(void)signal(SIGSEGV, caught);
	number = sigsetjmp(bus, 1);
	if (number == 0)
		(void)*p;
	(void)signal(SIGBUS, SIG_DFL);
	(void)signal(SIGSEGV, SIG_DFL);
	return (uint64_t)number;
}

static void
wait_until_told(struct holdfast *h, const struct told *told)
{
	struct pollfd pfd = {.fd = holdfast_fd(h), .events = POLLIN};

	while (told->times == 0) {
		if (poll(&pfd, 1, 30000) <= 0)
			errx(1, "nobody tells");
		ask(h, holdfast_dispatch(h), "dispatch");
	}
}

/* Every frame that is left, none of which is `bad`. */
static void
avoid(struct holdfast *h, uint64_t bad)
{
	struct holdfast_contig_req req = {.size = FRAME, .alignment = FRAME};
	struct holdfast_buf *buf;
	uint64_t n = 0;

	while (holdfast_contigmalloc(h, &req, &buf) == HF_OK) {
		n++;
		if (buf->pa == bad)
			errx(1, "the bad frame was given out again");
	}
	printf("%llu other frames were given out\n", (unsigned long long)n);
	if (n < NFRAMES - 4)
		errx(1, "too few");
}

static void
spoil(struct holdfast *h)
{
	struct holdfast_contig_req req = {.size = 2 * FRAME};
	struct holdfast_pool_status status;
	struct holdfast_verified verified;
	struct told told = {0};
	struct holdfast_buf *buf;
	uint64_t bad;

	ask(h, holdfast_on_lost(h, tell, &told), "on_lost");
	ask(h, holdfast_contigmalloc(h, &req, &buf), "two frames");
	memset(buf->addr, 1, buf->size);
	bad = buf->pa + FRAME;
	if (madvise((char *)buf->addr + FRAME + 4096, 4096, MADV_HWPOISON_) <
	    0) {
		warn("this kernel cannot make memory bad");
		return;
	}
	wait_until_told(h, &told);
	expect(told.buf == buf, 1, "it is our buffer");
	expect(told.offset, FRAME, "offset told");
	expect(told.size, FRAME, "size told");
	expect(told.times, 1, "times told");
	expect(touch((char *)buf->addr + FRAME), SIGBUS, "signal there");
	expect(touch(buf->addr), 0, "signal before it");
	ask(h, holdfast_verify(h, &verified), "verify");
	expect(verified.poisoned, 1, "poisoned");
	expect(verified.mismatches, 0, "mismatches");
	ask(h, holdfast_contigfree(h, buf), "free");
	avoid(h, bad);
	ask(h, holdfast_pool_status(h, &status), "status");
	expect(status.frames_poisoned, 2, "frames retired");
	expect(status.frames_tampered, 0, "frames tampered with");
}

/* ---- Bad memory in a map ------------------------------------------ */

#define MAP_FRAMES 3

static const struct holdfast_map_options shared = {.name = "shared"};

/* Another process, forked before this one connects or maps anything. */
struct helper {
	pid_t pid;
	int there[2], back[2];
};

static void
say(int fd, uint64_t what)
{
	if (write(fd, &what, sizeof(what)) != sizeof(what))
		err(1, "say");
}

static uint64_t
hear(int fd)
{
	uint64_t what;

	if (read(fd, &what, sizeof(what)) != sizeof(what))
		errx(1, "the other process is gone");
	return what;
}

static struct holdfast *
join(const char *socket)
{
	struct holdfast_options options = {.socket_path = socket};
	struct holdfast *h;
	int r = holdfast_connect(&options, &h);

	if (r != 0)
		errx(1, "connect: %s", holdfast_status_name(r));
	return h;
}

static void
helper_start(struct helper *helper,
    void (*run)(struct helper *helper, struct holdfast *h, uint64_t addr),
    const char *socket)
{
	uint64_t addr;

	if (pipe(helper->there) < 0 || pipe(helper->back) < 0)
		err(1, "pipe");
	helper->pid = fork();
	if (helper->pid != 0)
		return;
	addr = hear(helper->there[0]);
	run(helper, join(socket), addr);
	exit(0);
}

static void
helper_end(const struct helper *helper, const char *what)
{
	int status = -1;

	(void)waitpid(helper->pid, &status, 0);
	expect((uint64_t)status, 0, what);
}

struct map_told {
	uint64_t addr, size, times;
};

static void
tell_map(struct holdfast *h, struct holdfast_map *map, uint64_t addr,
    uint64_t size, void *arg)
{
	struct map_told *told = arg;

	(void)h;
	(void)map;
	*told = (struct map_told){addr, size, told->times + 1};
}

static struct holdfast_map *
attach(struct holdfast *h)
{
	struct holdfast_map *map;

	ask(h, holdfast_map_attach(h, &shared, &map), "attach");
	return map;
}

/* Three frames at `addr`, the second of which is lost. */
static void
expect_rest(uint64_t addr, uint64_t number)
{
	char *p = (char *)(uintptr_t)addr;

	expect(touch(p + FRAME), number, "signal in the second frame");
	expect(touch(p) + touch(p + 2 * FRAME), 0, "signals beside it");
	expect((uint64_t)(p[0] + p[2 * FRAME]), 2, "bytes beside it");
}

static void
wait_until_map_told(struct holdfast *h, const struct map_told *told,
    uint64_t addr)
{
	struct pollfd pfd = {.fd = holdfast_fd(h), .events = POLLIN};

	while (told->times == 0) {
		if (poll(&pfd, 1, 30000) <= 0)
			errx(1, "nobody tells of the map");
		ask(h, holdfast_dispatch(h), "dispatch");
	}
	expect(told->addr - addr, FRAME, "lost in the map, at");
	expect(told->size, FRAME, "lost in the map");
}

/* Has it attached when its memory goes bad. */
static void
holder(struct helper *helper, struct holdfast *h, uint64_t addr)
{
	struct map_told told = {0};

	ask(h, holdfast_on_map_lost(h, tell_map, &told), "on_map_lost");
	(void)attach(h);
	expect(touch((char *)(uintptr_t)addr + FRAME), 0, "signal before");
	say(helper->back[1], 0);
	wait_until_map_told(h, &told, addr);
	expect_rest(addr, SIGBUS);
	holdfast_close(h);
}

/* Attaches it afterwards. */
static void
latecomer(struct helper *helper, struct holdfast *h, uint64_t addr)
{
	struct holdfast_map *map = attach(h);
	struct holdfast_entry *entries;
	size_t n;

	(void)helper;
	expect_rest(addr, SIGSEGV);
	expect((uint64_t)holdfast_map_fault(map, addr + FRAME, HF_PROT_READ),
	    HF_FAILURE, "what a fault there answers");
	ask(h, holdfast_map_entries(map, &entries, &n), "entries");
	expect(n, 1, "entries");
	expect(entries[0].lost, 1, "marked");
	free(entries);
	holdfast_close(h);
}

static uint64_t
enter(struct holdfast *h, struct holdfast_map *map, uint64_t nframes,
    uint64_t *pap)
{
	struct holdfast_map_args args = {.length = nframes * FRAME,
	    .find_space = HF_VMFS_SUPER_SPACE,
	    .prot = HF_PROT_READ | HF_PROT_WRITE,
	    .max_prot = HF_PROT_READ | HF_PROT_WRITE};
	struct holdfast_entry entry;
	uint64_t addr, pindex;

	if (holdfast_object_create(h, HF_OBJECT_SUPER, nframes * FRAME,
		&args.object) != HF_OK)
		return 0;
	ask(h, holdfast_map_find(map, &args, &addr), "find");
	ask(h, holdfast_map_lookup(map, addr, HF_PROT_READ, &entry, &pindex),
	    "lookup");
	ask(h, holdfast_object_destroy(h, args.object), "destroy");
	*pap = entry.pa;
	return addr;
}

/* Whatever the map gets from now on, it is never that frame. */
static void
avoid_in_map(struct holdfast *h, struct holdfast_map *map, uint64_t bad)
{
	uint64_t n = 0, pa;

	while (enter(h, map, 1, &pa) != 0) {
		n++;
		if (pa == bad)
			errx(1, "the map has the bad frame again");
	}
	printf("%llu other frames were mapped\n", (unsigned long long)n);
	if (n < NFRAMES - 4)
		errx(1, "too few");
	ask(h,
	    holdfast_map_delete(map, holdfast_map_min(map),
		holdfast_map_max(map)),
	    "delete");
}

static void
spoil_map(struct holdfast *h, struct helper *holds, struct helper *comes)
{
	struct holdfast_pool_status status;
	struct map_told told = {0};
	struct holdfast_map *map;
	uint64_t addr, pa;
	char *p;

	ask(h, holdfast_on_map_lost(h, tell_map, &told), "on_map_lost");
	ask(h, holdfast_map_create(h, &shared, &map), "create");
	addr = enter(h, map, MAP_FRAMES, &pa);
	p = (char *)(uintptr_t)addr;
	memset(p, 1, MAP_FRAMES * FRAME);
	say(holds->there[1], addr);
	(void)hear(holds->back[0]);
	if (madvise(p + FRAME + 4096, 4096, MADV_HWPOISON_) < 0)
		err(1, "this kernel cannot make memory bad");
	wait_until_map_told(h, &told, addr);
	helper_end(holds, "who has the map");
	say(comes->there[1], addr);
	helper_end(comes, "who comes later");
	expect_rest(addr, SIGBUS);
	ask(h, holdfast_map_delete(map, addr, addr + MAP_FRAMES * FRAME),
	    "delete");
	avoid_in_map(h, map, pa + FRAME);
	expect(told.times, 1, "times told of the map");
	ask(h, holdfast_pool_status(h, &status), "status");
	expect(status.frames_poisoned, 1, "frames retired");
	ask(h, holdfast_map_destroy(map), "destroy");
}

/* ---- A daemon that is killed -------------------------------------- */

/* What it holds is its own however the daemon ends. */
static void
hold(struct holdfast *h)
{
	struct holdfast_contig_req req = {.size = 2 * FRAME};
	struct holdfast_buf *buf;
	FILE *file;

	ask(h, holdfast_contigmalloc(h, &req, &buf), "two frames");
	memset(buf->addr, 0x5a, buf->size);
	file = fopen(HELD, "w");
	if (file == NULL || fclose(file) != 0)
		err(1, HELD);
	while (access(HELD, F_OK) == 0)
		(void)usleep(10000);
	for (size_t i = 0; i < buf->size; i += 64)
		if (((const char *)buf->addr)[i] != 0x5a)
			errx(1, "the buffer has changed");
	if (holdfast_ping(h) == HF_OK)
		errx(1, "the daemon lives");
}

int
main(int argc, char **argv)
{
	bool holds = argc == 3 && strcmp(argv[1], "--hold") == 0;
	const char *socket = argv[argc - 1];
	struct helper has_map, comes_late;
	struct holdfast *h;

	if (argc != 2 && !holds)
		errx(2, "usage: guest_operator [--hold] SOCKET");
	if (holds) {
		h = join(socket);
		hold(h);
		holdfast_close(h);
		return 0;
	}
	helper_start(&has_map, holder, socket);
	helper_start(&comes_late, latecomer, socket);
	h = join(socket);
	balance(h);
	place(h);
	spoil_map(h, &has_map, &comes_late);
	spoil(h);
	holdfast_close(h);
	return 0;
}
