/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a span from the daemon costs.
 *
 * One frame from stock, beside a bare SEQPACKET round trip of packets of the
 * same sizes whose answer carries one descriptor, which its receiver closes;
 * the whole life of a zeroed 2 MiB buffer, with and without mapping and
 * touching it; a 64 MiB span that is not in stock, beside as much memory taken
 * by two threads with fallocate(2), and by touching the last page of each
 * frame, which makes the kernel zero it upwards: the most it can do.
 *
 * Client and loop share a processor, workers are free to run elsewhere.  The
 * contestants take turns of ten.  A free is not answered, so that the daemon
 * carries it out later: whole lives are timed ten at a time, with a null
 * request at the end that comes back when the last is over.  Between rounds
 * the stock fills up again: that is the idle time it is made in.
 *
 *	bench_alloc --daemon PATH [--quick] [--cpu N]
 *	as root, with 360 free huge pages
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/daemon.h"
#include "bench/floor.h"
#include "clients/libholdfast/holdfast.h"
#include "proto/holdfast.pb-c.h"
#include "proto/limits.h"

#define FRAME  (2ul << 20)
#define READY  64 /* spans in stock at the beginning of a round */
#define TURN   10 /* samples of one contestant at a time */
#define TURNS  2  /* of each in a round */
#define LARGE  (64ul << 20)
#define PAGE   4096ul
#define NLARGE 8

/* ---- The floor ----------------------------------------------------------- */

/* A floor whose answers carry a file of huge pages. */
static struct bench_floor
floor_start(size_t request, size_t reply, bool on_epoll)
{
	int memfd = memfd_create("floor", MFD_CLOEXEC | MFD_HUGETLB);
	struct bench_floor f;

	if (memfd < 0)
		err(1, "floor");
	f = bench_floor_start(request, reply, memfd, on_epoll);
	(void)close(memfd);
	return f;
}

static void
floor_once(const struct bench_floor *f, struct bench_samples *out)
{
	static char buffer[HOLDFAST_PACKET_MAX];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {buffer, sizeof(buffer)};
	struct msghdr msg = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control),
	};
	double t = bench_now_ns();
	int fd = -1;

	if (send(f->fd, buffer, f->request, 0) < 0 ||
	    recvmsg(f->fd, &msg, MSG_CMSG_CLOEXEC) <= 0)
		err(1, "ping-pong");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	if (close(fd) < 0)
		err(1, "no descriptor came");
	bench_add(out, bench_now_ns() - t);
}

/* Bytes of the request, and of the reply for such a buffer. */
static void
packet_sizes(const struct holdfast_buf *buf, size_t *requestp, size_t *replyp)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigAllocResult result =
	    HOLDFAST__V1__CONTIG_ALLOC_RESULT__INIT;
	Holdfast__V1__Reply reply = HOLDFAST__V1__REPLY__INIT;

	alloc.size = FRAME;
	alloc.flags = HF_M_ZERO;
	request.id = 1000;
	request.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC;
	request.contig_alloc = &alloc;
	result.buffer = buf->id;
	result.size = buf->size;
	result.span_size = buf->span_size;
	result.frame_size = buf->frame_size;
	result.pa = buf->pa;
	result.span_pa = buf->span_pa;
	result.pin = HOLDFAST__V1__PIN__PIN_LONGTERM;
	result.verified = true;
	result.span = 100;
	result.congruence = FRAME;
	reply.id = 1000;
	reply.status = HOLDFAST__V1__STATUS__STATUS_SUCCESS;
	reply.nfds = 1;
	reply.result_case = HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC;
	reply.contig_alloc = &result;
	*requestp = 2 + holdfast__v1__request__get_packed_size(&request);
	*replyp = 2 + holdfast__v1__reply__get_packed_size(&reply);
}

/* ---- The daemon ---------------------------------------------------------- */

static struct holdfast *
connect_to(const struct bench_daemon *daemon)
{
	struct holdfast_options options = {.socket_path = daemon->path};
	struct holdfast *h;
	int r = holdfast_connect(&options, &h);

	if (r != HF_OK)
		errx(1, "connect: %s", holdfast_status_name(r));
	return h;
}

static struct holdfast_buf *
take(struct holdfast *h, uint64_t size, bool no_map)
{
	struct holdfast_contig_req req = {
	    .size = size,
	    .flags = HF_M_ZERO,
	    .no_map = no_map,
	};
	struct holdfast_buf *buf;
	int r = holdfast_contigmalloc(h, &req, &buf);

	if (r != HF_OK)
		errx(1, "%s: %s", holdfast_status_name(r), holdfast_error(h));
	return buf;
}

static void
give(struct holdfast *h, struct holdfast_buf *buf)
{
	if (holdfast_contigfree(h, buf) != HF_OK)
		errx(1, "contigfree");
}

/* Wait until so many frames are in stock and nothing is in use. */
static struct holdfast_pool_status
settle(struct holdfast *h, uint64_t ready)
{
	struct holdfast_pool_status status;

	for (int i = 0; i < 20000; i++) {
		if (holdfast_pool_status(h, &status) != HF_OK)
			errx(1, "status");
		if (status.frames_ready >= ready && status.frames_in_use == 0)
			return status;
		(void)usleep(500);
	}
	errx(1, "the stock does not fill up: %llu of %llu",
	    (unsigned long long)status.frames_ready, (unsigned long long)ready);
}

/* ---- One frame ----------------------------------------------------------- */

struct small {
	struct bench_samples raw, raw_epoll, alloc, free, pair, mapped;
};

static void
must_ping(struct holdfast *h)
{
	if (holdfast_ping(h) != HF_OK)
		errx(1, "ping");
}

/* Each call by itself; nothing is left to do when the next one begins. */
static void
calls_turn(struct holdfast *h, struct small *out)
{
	for (int i = 0; i < TURN; i++) {
		struct holdfast_buf *buf;
		double t = bench_now_ns(), u;

		buf = take(h, FRAME, true);
		u = bench_now_ns();
		bench_add(&out->alloc, u - t);
		give(h, buf);
		must_ping(h);
		bench_add(&out->free, bench_now_ns() - u);
	}
}

static void
pairs_turn(struct holdfast *h, bool no_map, struct bench_samples *out)
{
	double t = bench_now_ns();

	for (int i = 0; i < TURN; i++) {
		struct holdfast_buf *buf = take(h, FRAME, no_map);

		if (!no_map)
			((volatile char *)buf->addr)[0] = 1;
		give(h, buf);
	}
	must_ping(h);
	bench_add(out, (bench_now_ns() - t) / TURN);
}

static void
small_round(struct holdfast *h, const struct bench_floor *raw,
    const struct bench_floor *raw_epoll, struct small *out)
{
	for (int k = 0; k < TURNS; k++) {
		for (int i = 0; i < TURN; i++)
			floor_once(raw, &out->raw);
		for (int i = 0; i < TURN; i++)
			floor_once(raw_epoll, &out->raw_epoll);
		calls_turn(h, out);
		pairs_turn(h, true, &out->pair);
	}
}

static void
mapped_round(struct holdfast *h, struct small *out)
{
	for (int k = 0; k < TURNS; k++)
		pairs_turn(h, false, &out->mapped);
}

static void
small_print(struct small *s, uint64_t hits, uint64_t misses)
{
	double raw = bench_quantile(&s->raw, 0.5);

	bench_print("raw round trip with one fd", &s->raw, 0, NULL);
	bench_print("the same, server on epoll", &s->raw_epoll, raw, "raw");
	bench_print("one ready frame", &s->alloc, raw, "raw");
	bench_print("giving it back, until it is done", &s->free, raw, "raw");
	bench_print("zeroed 2 MiB, alloc + free", &s->pair, raw, "raw");
	bench_print("the same, mapped and touched", &s->mapped, raw, "raw");
	printf("%llu from stock, %llu not\n", (unsigned long long)hits,
	    (unsigned long long)misses);
}

static void
small(const char *program, int cpu, int rounds)
{
	static const char *const options[] = {"--stock", "75", "--stock-min",
	    "64", NULL};
	struct holdfast_pool_status before, after;
	struct small samples = {0};
	struct bench_floor raw, raw_epoll;
	struct bench_daemon daemon;
	struct holdfast_buf *buf;
	size_t request, reply;
	struct holdfast *h;
	cpu_set_t set;

	bench_daemon_start_with(&daemon, program, "linux", "256M", options);
	h = connect_to(&daemon);
	(void)settle(h, READY);
	/* The loop's thread only: the workers run already. */
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(daemon.pid, sizeof(set), &set) < 0 ||
	    !bench_pin(cpu))
		err(1, "cannot pin to processor %d", cpu);
	buf = take(h, FRAME, true);
	packet_sizes(buf, &request, &reply);
	give(h, buf);
	raw = floor_start(request, reply, false);
	raw_epoll = floor_start(request, reply, true);
	before = settle(h, READY);
	for (int i = 0; i < rounds; i++) {
		small_round(h, &raw, &raw_epoll, &samples);
		(void)settle(h, READY);
		mapped_round(h, &samples);
		(void)settle(h, READY);
	}
	after = settle(h, READY);
	printf("packets of %zu and %zu bytes\n", request, reply);
	small_print(&samples, after.stock_hits - before.stock_hits,
	    after.stock_misses - before.stock_misses);
	bench_floor_stop(&raw);
	bench_floor_stop(&raw_epoll);
	holdfast_close(h);
	bench_daemon_stop(&daemon);
	bench_fini(&samples.raw);
	bench_fini(&samples.raw_epoll);
	bench_fini(&samples.alloc);
	bench_fini(&samples.free);
	bench_fini(&samples.pair);
	bench_fini(&samples.mapped);
}

/* ---- 64 MiB ----------------------------------------------------------------
 */

struct half {
	int fd;
	char *va; /* NULL: to be filled by fallocate */
};

static void *
plain_half(void *arg)
{
	struct half *half = arg;

	if (half->va == NULL && fallocate(half->fd, 0, 0, LARGE / 2) < 0)
		err(1, "fallocate");
	for (size_t end = FRAME; half->va != NULL && end <= LARGE / 2;
	     end += FRAME)
		if (madvise(half->va + end - PAGE, PAGE, MADV_POPULATE_WRITE) <
		    0)
			err(1, "MADV_POPULATE_WRITE");
	return NULL;
}

static struct half
half_open(bool touch)
{
	struct half half = {.va = NULL};

	half.fd =
	    memfd_create("plain", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	if (half.fd < 0 || ftruncate(half.fd, LARGE / 2) < 0)
		err(1, "memfd_create");
	if (touch)
		half.va = mmap(NULL, LARGE / 2, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, half.fd, 0);
	if (half.va == MAP_FAILED)
		err(1, "mmap");
	return half;
}

static void
half_close(const struct half *half)
{
	if (half->va != NULL)
		(void)munmap(half->va, LARGE / 2);
	(void)close(half->fd);
}

static void
plain(struct bench_samples *out, bool touch)
{
	double t = bench_now_ns();
	struct half halves[2] = {half_open(touch), half_open(touch)};
	pthread_t thread;

	if (pthread_create(&thread, NULL, plain_half, &halves[0]) != 0)
		errx(1, "pthread_create");
	(void)plain_half(&halves[1]);
	(void)pthread_join(thread, NULL);
	bench_add(out, bench_now_ns() - t);
	half_close(&halves[0]);
	half_close(&halves[1]);
}

static void
speed_print(const char *name, struct bench_samples *samples, double base)
{
	bench_print(name, samples, base, "fallocate");
	printf("%*s%.1f GB/s\n", 8, "",
	    (double)LARGE / bench_quantile(samples, 0.5));
}

static void
large(const char *program, int rounds)
{
	static const char *const options[] = {"--stock", "0", NULL};
	struct bench_samples ours = {0}, theirs = {0}, upwards = {0};
	struct bench_daemon daemon;
	struct holdfast *h;

	bench_daemon_start_with(&daemon, program, "linux", "256M", options);
	h = connect_to(&daemon);
	for (int i = 0; i < rounds; i++) {
		struct holdfast_buf *buf;
		double t;

		plain(&theirs, false);
		plain(&upwards, true);
		t = bench_now_ns();
		buf = take(h, LARGE, true);
		if (i > 0) /* the first one starts threads */
			bench_add(&ours, bench_now_ns() - t);
		give(h, buf);
		(void)settle(h, 0);
	}
	speed_print("64 MiB by fallocate, two threads", &theirs, 0);
	speed_print("64 MiB touched from the end, two threads", &upwards,
	    bench_quantile(&theirs, 0.5));
	speed_print("64 MiB from the daemon, no stock", &ours,
	    bench_quantile(&theirs, 0.5));
	holdfast_close(h);
	bench_daemon_stop(&daemon);
	bench_fini(&ours);
	bench_fini(&theirs);
	bench_fini(&upwards);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"daemon", required_argument,
						    NULL, 'd'},
	    {"quick", no_argument, NULL, 'q'},
	    {"cpu", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
	const char *program = NULL;
	bool quick = false;
	int c, cpu = 1;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'd')
			program = optarg;
		else if (c == 'q')
			quick = true;
		else if (c == 'c')
			cpu = atoi(optarg);
		else
			return 2;
	if (program == NULL)
		errx(2, "--daemon PATH is missing");
	bench_print_header();
	large(program, quick ? 3 : NLARGE * 3); /* before we are pinned */
	small(program, cpu, quick ? 3 : 40);
	return 0;
}
