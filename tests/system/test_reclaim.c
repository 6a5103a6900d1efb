/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Ready-made spans, requests that wait, and memory that is asked back, on real
 * huge pages with a second client in a process of its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast_cache.h"
#include "tests/system/live.h"
#include "tests/test.h"

static struct live live;

static void
nap(long ms)
{
	const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	(void)nanosleep(&ts, NULL);
}

static struct holdfast_pool_status
pool_of(struct holdfast *h)
{
	struct holdfast_pool_status status;

	ASSERT_EQ(holdfast_pool_status(h, &status), HF_OK);
	return status;
}

/* Wait until the daemon's figure is that. */
#define WAIT_FOR(h, cond)                                                      \
	for (int i_ = 0;; i_++) {                                              \
		struct holdfast_pool_status pool = pool_of(h);                 \
                                                                               \
		if (cond)                                                      \
			break;                                                 \
		if (i_ > 2000)                                                 \
			test_fail(__FILE__, __LINE__, "never: %s", #cond);     \
		nap(10);                                                       \
	}

static struct holdfast_buf *
take(struct holdfast *h, uint64_t bytes, uint32_t flags)
{
	struct holdfast_contig_req req = {.size = bytes, .flags = flags};
	struct holdfast_buf *buf;
	int r = holdfast_contigmalloc(h, &req, &buf);

	if (r != HF_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", holdfast_status_name(r),
		    holdfast_error(h));
	return buf;
}

/* Every frame there is, one by one: neighbours are not to be counted on. */
static struct holdfast_buf *
take_all(struct holdfast *h)
{
	struct holdfast_contig_req req = {.size = 2 * MIB};
	struct holdfast_buf *buf = NULL, *last = NULL;
	int r;

	while ((r = holdfast_contigmalloc(h, &req, &buf)) == HF_OK)
		last = buf;
	ASSERT_EQ(r, HF_NO_SPACE);
	ASSERT_NOT_NULL(last);
	return last;
}

/* ---- A second process that does what it is told ------------------- */

struct second {
	int to[2], from[2];
	pid_t pid;
	void (*body)(struct second *second);
};

static void
second_main(void *arg)
{
	struct second *second = arg;

	(void)close(second->to[1]);
	(void)close(second->from[0]);
	second->body(second);
}

static void
second_say(int fd)
{
	ASSERT_EQ(write(fd, "x", 1), 1);
}

/* What it says: a byte.  0: it is gone. */
static bool
second_hear(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 1;
}

static void
second_start(struct second *second, uid_t uid,
    void (*body)(struct second *second))
{
	second->body = body;
	ASSERT_EQ(pipe(second->to), 0);
	ASSERT_EQ(pipe(second->from), 0);
	second->pid = live_spawn(uid, second_main, second);
	(void)close(second->to[0]);
	(void)close(second->from[1]);
	ASSERT_TRUE(
	    second_hear(second->from[0])); /* it is where it should be */
}

static void
second_end(struct second *second)
{
	(void)close(second->to[1]);
	live_wait(second->pid);
	(void)close(second->from[0]);
}

/* ---- Stock -------------------------------------------------------- */

TEST(stock__serves_zeroed_pinned_spans_and_no_old_byte)
{
	static const char *const options[] = {"--stock", "50", "--stock-min",
	    "8", "--allow-addresses", "all", NULL};
	struct holdfast_verified verified;
	struct holdfast_buf *buf;
	struct holdfast *h;
	uint64_t pa;

	live_start(&live, 32, options);
	h = live_connect(&live);
	WAIT_FOR(h, pool.frames_ready == 8);
	ASSERT_EQ(holdfast_verify(h, &verified), HF_OK);
	ASSERT_EQ(verified.ready_frames, 8u);
	ASSERT_EQ(verified.ready_mismatches + verified.ready_poisoned, 0u);
	ASSERT_EQ(pool_of(h).frames_standby, 16u);
	for (int i = 0; i < 40; i++) {
		buf = take(h, 2 * MIB, 0);
		ASSERT_EQ(buf->pin, HF_PIN_LONGTERM);
		ASSERT_TRUE(buf->verified);
		for (size_t k = 0; k < 2 * MIB; k += 64)
			ASSERT_EQ(((char *)buf->addr)[k], 0);
		pa = live_pagemap(getpid(), buf->addr);
		ASSERT_EQ(pa, buf->pa);
		memset(buf->addr, 0x5a, 2 * MIB);
		ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	}
	ASSERT_TRUE(pool_of(h).stock_hits > 0);
	live_wait_idle(h);
	/* The largest run, whatever is in stock. */
	WAIT_FOR(h, pool.frames_ready >= 8);
	buf = take(h, pool_of(h).largest_run, HF_M_NOWAIT);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

/* One process keeps what it freed; the next owner's bytes are not in it. */
static void
peeping(struct second *second)
{
	struct holdfast *h = live_connect(&live);
	struct holdfast_buf *buf = take(h, 2 * MIB, 0);
	int fd = dup(buf->fd);
	char *map =
	    mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char byte = 0;
	int fds[2];

	ASSERT_TRUE(map != MAP_FAILED);
	memset(map, 0x5a, 2 * MIB);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	second_say(second->from[1]);
	(void)second_hear(second->to[0]);
	ASSERT_EQ(pread(fd, &byte, 1, 0), 0);
	/* What would be a SIGBUS here is EFAULT for the kernel. */
	ASSERT_EQ(pipe(fds), 0);
	ASSERT_EQ(write(fds[1], map, 1), -1);
	ASSERT_EQ(errno, EFAULT);
	second_say(second->from[1]);
	(void)second_hear(second->to[0]);
}

TEST(stock__whoever_kept_a_descriptor_sees_nothing_of_the_next_owner)
{
	static const char *const options[] = {"--stock", "100", "--stock-min",
	    "4", NULL};
	struct holdfast_buf *buf[4];
	struct second second;
	struct holdfast *h;

	live_start(&live, 8, options);
	second_start(&second, NOBODY, peeping);
	h = live_connect(&live);
	for (int i = 0; i < 4; i++) {
		buf[i] = take(h, 2 * MIB, HF_M_WAITOK);
		for (size_t k = 0; k < 2 * MIB; k += 64)
			ASSERT_EQ(((char *)buf[i]->addr)[k], 0);
		memset(buf[i]->addr, 0x33, 2 * MIB);
	}
	second_say(second.to[1]);
	ASSERT_TRUE(second_hear(second.from[0]));
	for (int i = 0; i < 4; i++) {
		for (size_t k = 0; k < 2 * MIB; k += 64)
			ASSERT_EQ(((char *)buf[i]->addr)[k], 0x33);
	}
	second_end(&second);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- What tenants keep --------------------------------------------- */

/* Every frame of the pool, and not a byte of whoever had them before. */
static void
take_four(void *arg)
{
	struct holdfast *h = live_connect(&live);

	(void)arg;
	for (int i = 0; i < 4; i++) {
		struct holdfast_buf *buf = take(h, 2 * MIB, 0);

		for (size_t k = 0; k < 2 * MIB; k += 64)
			ASSERT_EQ(((char *)buf->addr)[k], 0);
	}
	holdfast_close(h);
}

TEST(idle__a_real_span_is_kept_for_small_buffers_until_another_tenant_asks)
{
	static const char *const options[] = {"--stock", "0",
	    "--allow-addresses", "all", NULL};
	struct holdfast_tenant_status tenant;
	struct holdfast *h;

	live_start(&live, 8, options);
	h = live_connect(&live);
	for (int i = 0; i < 50; i++) {
		struct holdfast_buf *buf =
		    take(h, 8192, i % 2 == 0 ? HF_M_ZERO : 0);

		ASSERT_EQ(buf->pin, HF_PIN_LONGTERM);
		ASSERT_TRUE(buf->verified);
		ASSERT_EQ(live_pagemap(getpid(), buf->addr), buf->pa);
		for (size_t k = 0; i % 2 == 0 && k < 8192; k++)
			ASSERT_EQ(((char *)buf->addr)[k], 0);
		memset(buf->addr, 0x5a, 8192);
		ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	}
	ASSERT_EQ(holdfast_tenant_status(h, &tenant), HF_OK);
	ASSERT_EQ(tenant.spans_taken, 1u);
	ASSERT_EQ(tenant.idle_bytes, 2 * MIB);
	ASSERT_EQ(pool_of(h).frames_idle, 1u);
	live_as(NOBODY, take_four, NULL);
	ASSERT_EQ(pool_of(h).frames_idle, 0u);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

/* Small buffers of all sizes come and go, until somebody ends it. */
static void
come_and_go(struct second *second)
{
	struct holdfast *h = live_connect(&live);
	struct holdfast_buf *bufs[16] = {NULL};

	second_say(second->from[1]);
	for (unsigned i = 0;; i++) {
		ASSERT_EQ(holdfast_contigfree(h, bufs[i % 16]), HF_OK);
		bufs[i % 16] = take(h, UINT64_C(4096) << i % 7, 0);
	}
}

TEST(idle__clients_killed_in_the_middle_leave_the_pool_as_it_was)
{
	static const char *const options[] = {"--allow-addresses", "all", NULL};
	struct live_pool before, after;
	struct second seconds[4];
	struct holdfast *h;
	int status;

	live_start(&live, 48, options);
	h = live_connect(&live);
	live_wait_idle(h);
	live_pool_read(h, &before);
	for (int i = 0; i < 4; i++)
		second_start(&seconds[i], i % 2 == 0 ? NOBODY : SOMEBODY,
		    come_and_go);
	nap(50);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(kill(seconds[i].pid, SIGKILL), 0);
		ASSERT_EQ(waitpid(seconds[i].pid, &status, 0), seconds[i].pid);
		ASSERT_TRUE(WIFSIGNALED(status));
		(void)close(seconds[i].to[1]);
		(void)close(seconds[i].from[0]);
	}
	live_wait_idle(h);
	ASSERT_EQ(pool_of(h).spans, 0u);
	live_pool_read(h, &after);
	live_pool_same(&before, &after);
	live_pool_fini(&before);
	live_pool_fini(&after);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Waiting ------------------------------------------------------ */

struct waiting {
	struct holdfast *h;
	int r;
};

static void *
wait_main(void *arg)
{
	struct waiting *waiting = arg;
	struct holdfast_contig_req req = {
	    .size = 2 * MIB,
	    .flags = HF_M_WAITOK,
	};
	struct holdfast_buf *buf;

	waiting->r = holdfast_contigmalloc(waiting->h, &req, &buf);
	return NULL;
}

TEST(waiting__another_thread_cancels_a_call_under_way)
{
	struct holdfast *h, *other;
	struct waiting waiting;
	struct holdfast_buf *buf;
	pthread_t thread;

	live_start(&live, 64, NULL);
	h = live_connect(&live);
	other = live_connect(&live);
	buf = take_all(h);
	waiting.h = other;
	ASSERT_EQ(holdfast_contig_cancel(other), -ENOENT);
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(pthread_create(&thread, NULL, wait_main, &waiting),
		    0);
		/* At any moment: before it is sent, and after. */
		if (i % 2 == 0)
			WAIT_FOR(h, pool.waiting == 1);
		do { /* -ENOENT: it has not begun, or has ended already */
			(void)holdfast_contig_cancel(other);
			(void)usleep(50);
		} while (pthread_tryjoin_np(thread, NULL) != 0);
		ASSERT_EQ(waiting.r, HF_CANCELLED);
		ASSERT_EQ(holdfast_ping(other), HF_OK);
	}
	/* And one that gets what it waits for. */
	ASSERT_EQ(pthread_create(&thread, NULL, wait_main, &waiting), 0);
	WAIT_FOR(h, pool.waiting == 1);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	ASSERT_EQ(pthread_join(thread, NULL), 0);
	ASSERT_EQ(waiting.r, HF_OK);
	holdfast_close(other);
	holdfast_close(h);
	h = live_connect(&live);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

static void
wait_for_ever(struct second *second)
{
	struct waiting waiting = {.h = live_connect(&live)};

	second_say(second->from[1]);
	(void)wait_main(&waiting);
}

TEST(waiting__a_killed_clients_request_vanishes)
{
	struct second second;
	struct holdfast_buf *buf;
	struct holdfast *h;
	int status;

	live_start(&live, 64, NULL);
	h = live_connect(&live);
	buf = take_all(h);
	second_start(&second, NOBODY, wait_for_ever);
	WAIT_FOR(h, pool.waiting == 1);
	ASSERT_EQ(kill(second.pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(second.pid, &status, 0), second.pid);
	WAIT_FOR(h, pool.waiting == 0);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	holdfast_close(h);
	h = live_connect(&live);
	live_wait_idle(h);
	(void)close(second.to[1]);
	(void)close(second.from[0]);
	holdfast_close(h);
	live_stop(&live);
}

TEST(waiting__a_deadline_answers_with_a_sentence)
{
	struct holdfast_contig_req req = {
	    .size = 2 * MIB,
	    .flags = HF_M_WAITOK,
	    .deadline_ms = 40,
	};
	struct holdfast_buf *buf;
	struct holdfast *h;

	live_start(&live, 64, NULL);
	h = live_connect(&live);
	(void)take_all(h);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_TIMED_OUT);
	ASSERT_HAS(holdfast_error(h), "40 ms");
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Memory asked back -------------------------------------------- */

/* A process with a cache that holds most of the pool, nearly all of it idle. */
static void
hoard(struct second *second)
{
	struct holdfast_cache_options options = {.span_size = 2 * MIB};
	struct holdfast *h = live_connect(&live);
	struct holdfast_cache *cache;
	void *objects[33];
	size_t n = 0;
	struct pollfd fds[2] = {
	    {.fd = second->to[0], .events = POLLIN},
	    {.fd = holdfast_fd(h), .events = POLLIN},
	};

	ASSERT_EQ(holdfast_cache_create(h, &options, &cache), HF_OK);
	while (n < 33 &&
	       (objects[n] = holdfast_cache_alloc(cache, 2 * MIB)) != NULL)
		n++;
	ASSERT_TRUE(n > 16 && n < 33);
	memset(objects[--n], 0x77, 2 * MIB);
	/* Freed objects keep no more spans idle than the cache likes to: hold
	 * them until the daemon asks. */
	second_say(second->from[1]);
	while (poll(fds, 2, -1) > 0 && fds[0].revents == 0) {
		for (size_t i = 0; i < n; i++) {
			holdfast_cache_free(cache, objects[i]);
			objects[i] = NULL;
		}
		ASSERT_EQ(holdfast_cache_dispatch(cache), 0);
	}
	for (size_t k = 0; k < 2 * MIB; k++)
		ASSERT_EQ(((char *)objects[n])[k], 0x77);
	holdfast_cache_destroy(cache);
	holdfast_close(h);
}

TEST(reclaim__idle_spans_of_another_clients_cache_come_back_when_asked)
{
	static const char *const options[] = {"--reclaim-timeout", "20000",
	    NULL};
	struct second second;
	struct holdfast_buf *buf;
	struct holdfast *h;

	live_start(&live, 64, options);
	second_start(&second, NOBODY, hoard);
	h = live_connect(&live);
	ASSERT_EQ(pool_of(h).frames_standby, 0u);
	buf = take(h, 2 * MIB, 0); /* without M_WAITOK, and it fits */
	ASSERT_TRUE(pool_of(h).reclaim_asks > 0);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	second_end(&second);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Caches that nobody dispatches -------------------------------- */

/* A cache that has used much of the pool, and now needs nothing of it. */
static struct holdfast_cache *
used_cache(struct holdfast *h, bool attend)
{
	struct holdfast_cache_options options = {.span_size = 8 * MIB,
	    .attend = attend};
	struct holdfast_cache *cache;
	void *objects[24];

	ASSERT_EQ(holdfast_cache_create(h, &options, &cache), 0);
	for (size_t i = 0; i < 24; i++) {
		objects[i] = holdfast_cache_alloc(cache, 2 * MIB);
		ASSERT_NOT_NULL(objects[i]);
	}
	for (size_t i = 0; i < 24; i++)
		holdfast_cache_free(cache, objects[i]);
	return cache;
}

static void
burst(struct holdfast_cache *cache)
{
	void *objects[1000];

	for (size_t i = 0; i < 1000; i++) {
		objects[i] = holdfast_cache_alloc(cache, 1000);
		ASSERT_NOT_NULL(objects[i]);
	}
	for (size_t i = 0; i < 1000; i++)
		holdfast_cache_free(cache, objects[i]);
}

/* Allocates and frees until it is told to end. */
static void
churn(struct second *second)
{
	struct holdfast *h = live_connect(&live);
	struct holdfast_cache *cache = used_cache(h, false);
	struct pollfd end = {.fd = second->to[0], .events = POLLIN};

	burst(cache);
	second_say(second->from[1]);
	while (poll(&end, 1, 0) == 0)
		burst(cache);
	holdfast_cache_destroy(cache);
	holdfast_close(h);
}

/* Does nothing until it is told to end. */
static void
sleep_attended(struct second *second)
{
	struct holdfast *h = live_connect(&live);
	struct holdfast_cache *cache = used_cache(h, true);

	second_say(second->from[1]);
	(void)second_hear(second->to[0]);
	holdfast_cache_destroy(cache);
	holdfast_close(h);
}

/* All but `keep` frames of the pool are to be had, because it gives back. */
static void
expect_gives(void (*body)(struct second *second), uint64_t keep)
{
	static const char *const options[] = {"--reclaim-timeout", "20000",
	    NULL};
	struct second second;
	struct holdfast *h;
	uint64_t asks, idle;

	live_start(&live, 64, options);
	second_start(&second, NOBODY, body);
	h = live_connect(&live);
	asks = pool_of(h).reclaim_asks;
	idle = pool_of(h).frames_standby;
	ASSERT_LT(idle, 32 - keep); /* it holds more than it needs */
	for (uint64_t i = 0; i < 32 - keep; i++)
		(void)take(h, 2 * MIB, 0);
	ASSERT_GT(pool_of(h).reclaim_asks, asks);
	second_end(&second);
	holdfast_close(h);
	live_stop(&live);
}

TEST(reclaim__a_cache_that_only_allocates_and_frees_gives_back)
{
	expect_gives(churn, 4); /* the span it works in */
}

TEST(reclaim__an_attended_cache_of_a_sleeping_program_gives_all_back)
{
	expect_gives(sleep_attended, 0);
}

/* With real addresses: windows and sizes beyond a span, and all comes back. */
TEST(cache_contigmalloc__keeps_windows_of_real_memory)
{
	static const char *const options[] = {"--allow-addresses", "all", NULL};
	struct holdfast_cache_options small = {.span_size = 2 * MIB};
	struct holdfast_cache *cache;
	struct holdfast *h;
	uint64_t pa, high;
	char *p, *q;

	live_start(&live, 64, options);
	h = live_connect(&live);
	ASSERT_EQ(holdfast_cache_create(h, &small, &cache), 0);
	p = holdfast_cache_contigmalloc(cache, 5000, 0, 0, 0, 0);
	ASSERT_NOT_NULL(p);
	pa = holdfast_cache_vtophys(cache, p);
	high = pa + 6 * MIB; /* where there is memory, as we have seen */
	q = holdfast_cache_contigmalloc(cache, 100000, pa - pa % MIB, high,
	    65536, 1 << 20);
	ASSERT_NOT_NULL(q);
	pa = holdfast_cache_vtophys(cache, q);
	ASSERT_TRUE(pa % 65536 == 0 && pa + 100000 <= high);
	ASSERT_EQ(pa >> 20, (pa + 99999) >> 20);
	memset(q, 0x5a, 100000);
	holdfast_cache_free(cache, q);
	holdfast_cache_free(cache, p);
	/* Larger than a span of this cache, where frames are neighbours. */
	if (pool_of(h).largest_run >= 4 * MIB) {
		p = holdfast_cache_contigmalloc(cache, 4 * MIB, 0, 0, 0, 0);
		ASSERT_NOT_NULL(p);
		memset(p, 0x5a, 4 * MIB);
		ASSERT_EQ(holdfast_cache_vtophys(cache, p) + 4 * MIB - 1,
		    holdfast_cache_vtophys(cache, p + 4 * MIB - 1));
	}
	ASSERT_NULL(holdfast_cache_contigmalloc(cache, 5000, 1, 4096, 0, 0));
	holdfast_cache_destroy(cache);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

/* A plain client with a callback. */
struct plain {
	struct holdfast_buf *bufs[6];
	int nasked;
};

static void
give_back(struct holdfast *h, uint64_t bytes, void *arg)
{
	struct plain *plain = arg;

	plain->nasked++;
	for (size_t i = 0; i < 6 && bytes > 0; i++) {
		uint64_t size;

		if (plain->bufs[i] == NULL)
			continue;
		size = plain->bufs[i]->size;
		ASSERT_EQ(holdfast_contigfree(h, plain->bufs[i]), HF_OK);
		plain->bufs[i] = NULL;
		bytes -= size < bytes ? size : bytes;
	}
}

static void
serve_callback(struct second *second)
{
	struct holdfast *h = live_connect(&live);
	struct plain plain = {0};
	struct pollfd fds[2] = {
	    {.fd = second->to[0], .events = POLLIN},
	    {.fd = holdfast_fd(h), .events = POLLIN},
	};

	for (int i = 0; i < 6; i++)
		plain.bufs[i] = take(h, 2 * MIB, 0);
	(void)take_all(h);
	ASSERT_EQ(holdfast_on_reclaim(h, give_back, &plain), HF_OK);
	second_say(second->from[1]);
	while (poll(fds, 2, -1) > 0 && fds[0].revents == 0) {
		ASSERT_EQ(holdfast_dispatch(h), HF_OK);
		ASSERT_FALSE(holdfast_pending(h));
	}
	ASSERT_EQ(plain.nasked, 1);
	ASSERT_NOT_NULL(plain.bufs[5]); /* only what was asked for */
	holdfast_close(h);
}

TEST(reclaim__a_callback_gives_back_what_is_asked_for)
{
	static const char *const options[] = {"--reclaim-timeout", "20000",
	    NULL};
	struct second second;
	struct holdfast *h;

	live_start(&live, 64, options);
	second_start(&second, SOMEBODY, serve_callback);
	h = live_connect(&live);
	(void)take(h, 2 * MIB, HF_M_WAITOK);
	second_end(&second);
	holdfast_close(h);
	live_stop(&live);
}
