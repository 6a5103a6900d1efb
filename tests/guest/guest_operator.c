/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * In a guest with two nodes, 40 frames on one of them: they are balanced
 * between the nodes; a frame whose memory goes bad is told to its holder, and
 * never given out again.
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

static bool
touch_is_fatal(volatile char *p)
{
	bool fatal = true;

	(void)signal(SIGBUS, caught);
	if (sigsetjmp(bus, 1) == 0) {
		(void)*p;
		fatal = false;
	}
	(void)signal(SIGBUS, SIG_DFL);
	return fatal;
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
	if (n < NFRAMES - 2)
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
	expect(touch_is_fatal((char *)buf->addr + FRAME), 1, "SIGBUS there");
	expect(touch_is_fatal(buf->addr), 0, "SIGBUS before it");
	ask(h, holdfast_verify(h, &verified), "verify");
	expect(verified.poisoned, 1, "poisoned");
	expect(verified.mismatches, 0, "mismatches");
	ask(h, holdfast_contigfree(h, buf), "free");
	avoid(h, bad);
	ask(h, holdfast_pool_status(h, &status), "status");
	expect(status.frames_poisoned, 1, "frames retired");
	expect(status.frames_tampered, 0, "frames tampered with");
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
	struct holdfast_options options = {.socket_path = argv[argc - 1]};
	struct holdfast *h;
	int r;

	if (argc != 2 && !holds)
		errx(2, "usage: guest_operator [--hold] SOCKET");
	r = holdfast_connect(&options, &h);
	if (r != 0)
		errx(1, "connect: %s", holdfast_status_name(r));
	if (holds) {
		hold(h);
	} else {
		balance(h);
		place(h);
		spoil(h);
	}
	holdfast_close(h);
	return 0;
}
