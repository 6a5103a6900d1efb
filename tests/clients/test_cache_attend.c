/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Giving memory back when somebody else wants it: from calls that pass by,
 * from a thread of the cache's own, and from threads that sleep.  With the
 * daemon behind it: tests/system/test_reclaim.c.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/clients/cache_fake.h"
#include "tests/test.h"

#define MANY 4000u

/*
 * A cache on a source somebody may ask, with a descriptor that says so; with
 * `attend` it has a thread that looks there.
 */
static struct holdfast_cache *
begin(struct source *s, bool attend)
{
	struct holdfast_cache_options options = {.span_size = 4 << 20,
	    .attend = attend};
	struct holdfast_cache *cache;

	*s = (struct source){.listens = true};
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_GT(s->fd, 0);
	ASSERT_EQ(fake_cache_create(s, &options, &cache), 0);
	return cache;
}

static void
end(struct source *s, struct holdfast_cache *cache)
{
	holdfast_cache_destroy(cache);
	ASSERT_EQ(s->live, 0);
	(void)close(s->fd);
}

/* Allocate many of all sizes, and free them all. */
static void
burst(struct holdfast_cache *cache)
{
	static __thread void *p[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		p[i] = holdfast_cache_alloc(cache, 16 + i * 11 % 5000);
		ASSERT_NOT_NULL(p[i]);
		*(unsigned char *)p[i] = (unsigned char)i;
	}
	for (unsigned i = 0; i < MANY; i++) {
		ASSERT_EQ(*(unsigned char *)p[i], (unsigned char)i);
		holdfast_cache_free(cache, p[i]);
	}
}

static void
nap(void)
{
	const struct timespec ts = {.tv_nsec = 1000000};

	(void)nanosleep(&ts, NULL);
}

TEST(cache_attend__a_program_that_only_allocates_and_frees_gives_back)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, false);

	for (unsigned i = 0; i < 3; i++) {
		unsigned before = s.answers;

		burst(cache);
		ASSERT_GT(s.live, 1);
		fake_ask(&s);
		while (s.answers == before)
			burst(cache);
	}
	ASSERT_EQ(s.answers, 3);
	end(&s, cache);
}

TEST(cache_attend__a_program_of_large_buffers_gives_back)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, false);

	fake_ask(&s);
	while (s.answers == 0)
		holdfast_cache_free(cache,
		    holdfast_cache_contigmalloc(cache, 3 << 20, 0, 0, 0, 0));
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	end(&s, cache);
}

TEST(cache_attend__calls_that_pass_by_look_now_and_then_only)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, false);
	struct timespec a, b;
	int64_t ms;

	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < 200; i++)
		burst(cache);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	ASSERT_GE(s.looks, 1);
	ASSERT_LE(s.looks, ms / 10 + 2); /* of 200 * 4,000 allocations */
	end(&s, cache);
}

TEST(cache_attend__a_request_that_comes_during_an_import_is_answered_after_it)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, false);
	char *p;

	s.asks_in_import = true;
	p = holdfast_cache_alloc(cache, 1000);
	ASSERT_NOT_NULL(p);
	ASSERT_EQ(s.answers, 1);
	ASSERT_EQ(s.live, 1); /* it is in use */
	*p = 1;
	end(&s, cache);
}

TEST(cache_dispatch__gives_everything_idle_back_and_answers_once)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, false);

	burst(cache);
	ASSERT_EQ(holdfast_cache_dispatch(cache), 0);
	ASSERT_GT(s.live, 0); /* nobody asked */
	fake_ask(&s);
	ASSERT_EQ(holdfast_cache_dispatch(cache), 0);
	ASSERT_EQ(s.live, 0);
	ASSERT_EQ(s.answers, 1);
	ASSERT_EQ(holdfast_cache_dispatch(cache), 0);
	ASSERT_EQ(s.answers, 1);
	end(&s, cache);
}

/* This thread holds objects in its bins, and does nothing. */
TEST(cache_attend__a_program_that_does_nothing_gives_all_of_it_back)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, true);

	for (unsigned i = 0; i < 3; i++) {
		burst(cache);
		ASSERT_GT(s.live, 0);
		fake_ask(&s);
		while (s.answers == i)
			nap();
		ASSERT_EQ(s.live, 0);
	}
	end(&s, cache);
	ASSERT_EQ(s.ended, 1);
}

static atomic_bool enough;

static void *
work(void *arg)
{
	do
		burst(arg);
	while (!enough);
	return NULL;
}

TEST(cache_attend__objects_in_use_stay_while_it_is_asked_again_and_again)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, true);
	pthread_t threads[2];

	enough = false;
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, work, cache), 0);
	for (unsigned i = 0; i < 100; i++) {
		fake_ask(&s);
		while (s.answers == i)
			(void)sched_yield();
	}
	enough = true;
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ(pthread_join(threads[i], NULL), 0);
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	end(&s, cache);
}

TEST(cache_attend__serves_every_call_of_the_cache_as_without)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, true);
	void *p[40];

	ASSERT_EQ(holdfast_cache_alloc_bulk(cache, 200, p, 40), 40);
	ASSERT_GT(holdfast_cache_vtophys(cache, p[3]), PA_BASE - 1);
	holdfast_cache_free_bulk(cache, 200, p, 40);
	p[0] = holdfast_cache_contig(cache, 5000, 4096, 65536);
	ASSERT_NOT_NULL(p[0]);
	holdfast_cache_free(cache, p[0]);
	holdfast_cache_free(cache, NULL);
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	end(&s, cache);
}

TEST(cache_attend__a_forked_child_has_no_cache_and_no_thread)
{
	struct source s;
	struct holdfast_cache *cache = begin(&s, true);
	int status;
	pid_t pid;
	void *p;

	p = holdfast_cache_alloc(cache, 100);
	ASSERT_NOT_NULL(p);
	pid = fork();
	if (pid == 0) {
		bool ok = holdfast_cache_alloc(cache, 100) == NULL &&
			  holdfast_cache_dispatch(cache) == -EPERM &&
			  holdfast_cache_trim(cache) == 0;

		holdfast_cache_free(cache, p);
		holdfast_cache_destroy(cache);
		_exit(ok && s.live == 1 ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	holdfast_cache_free(cache, p);
	fake_ask(&s);
	while (s.answers == 0)
		nap();
	ASSERT_EQ(s.live, 0);
	end(&s, cache);
}

/* ---- Threads that are sent through the library ---------------------- */

struct sleeper {
	struct holdfast_cache *cache;
	pthread_barrier_t barrier;
};

static void *
sleep_and_call(void *arg)
{
	struct sleeper *sleeper = arg;
	void *p;

	burst(sleeper->cache);
	(void)pthread_barrier_wait(&sleeper->barrier); /* it has objects */
	(void)pthread_barrier_wait(&sleeper->barrier); /* they trimmed */
	p = holdfast_cache_alloc(sleeper->cache, 100);
	holdfast_cache_free(sleeper->cache, p);
	(void)pthread_barrier_wait(&sleeper->barrier); /* it called */
	(void)pthread_barrier_wait(&sleeper->barrier);
	return NULL;
}

TEST(cache_trim__takes_what_another_thread_caches_when_that_calls_next)
{
	struct source s = {0};
	struct sleeper sleeper = {.cache = fake_cache(&s, 4 << 20, 0)};
	unsigned before;
	pthread_t thread;

	(void)pthread_barrier_init(&sleeper.barrier, NULL, 2);
	ASSERT_EQ(pthread_create(&thread, NULL, sleep_and_call, &sleeper), 0);
	(void)pthread_barrier_wait(&sleeper.barrier);
	(void)holdfast_cache_trim(sleeper.cache);
	before = s.live;
	ASSERT_GT(before, 1); /* the other one still has them */
	(void)pthread_barrier_wait(&sleeper.barrier);
	(void)pthread_barrier_wait(&sleeper.barrier);
	ASSERT_EQ(s.live, 1); /* of the one object it had since */
	(void)pthread_barrier_wait(&sleeper.barrier);
	ASSERT_EQ(pthread_join(thread, NULL), 0);
	(void)holdfast_cache_trim(sleeper.cache);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(sleeper.cache);
	(void)pthread_barrier_destroy(&sleeper.barrier);
}
