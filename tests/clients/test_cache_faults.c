/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The span cache while what it needs fails: memory for its tables, maps,
 * imports, the thread that attends to it.  Each is made to fail in turn, at
 * each place where it is asked for.  Not covered: locks, which do not fail.
 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/clients/cache_fake.h"
#include "tests/test.h"

#define N 1200u

/* Which of the following calls fails; 0: none.  `failed`: it did. */
static unsigned nth;
static bool failed;

static bool
fails(void)
{
	if (nth == 0 || --nth != 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_mmap(void *at, size_t size, int prot, int flags, int fd,
    off_t off);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd,
    off_t off);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*body)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*body)(void *), void *arg);
int __real_eventfd(unsigned n, int flags);
int __wrap_eventfd(unsigned n, int flags);

void *
__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *
__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t off)
{
	return fails() ? MAP_FAILED
		       : __real_mmap(at, size, prot, flags, fd, off);
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*body)(void *), void *arg)
{
	return fails() ? EAGAIN
		       : __real_pthread_create(thread, attr, body, arg);
}

int
__wrap_eventfd(unsigned n, int flags)
{
	return fails() ? -1 : __real_eventfd(n, flags);
}

/* Whatever could be allocated holds its pattern, and can be freed. */
static void
use(struct holdfast_cache *cache)
{
	static unsigned char *p[N];
	static size_t size[N];

	for (unsigned i = 0; i < N; i++) {
		size[i] = i % 100 == 0 ? 100000 + i : 16 + i * 37 % 9000;
		p[i] = holdfast_cache_alloc(cache, size[i]);
		if (p[i] == NULL)
			continue;
		p[i][0] = p[i][size[i] - 1] = (unsigned char)(i * 7);
	}
	for (unsigned i = 0; i < N; i++) {
		if (p[i] == NULL)
			continue;
		ASSERT_EQ(p[i][0], (unsigned char)(i * 7));
		ASSERT_EQ(p[i][size[i] - 1], (unsigned char)(i * 7));
		holdfast_cache_free(cache, p[i]);
	}
	(void)holdfast_cache_trim(cache);
}

/* Fail the 1st, 2nd, ... until a whole life gets through. */
static unsigned
sweep(const struct holdfast_cache_options *options, bool listens)
{
	unsigned at = 0;

	do {
		struct source s = {.listens = listens};
		struct holdfast_cache *cache = NULL;
		int r;

		if (listens)
			s.fd = __real_eventfd(0, EFD_CLOEXEC);
		nth = ++at;
		failed = false;
		r = fake_cache_create(&s, options, &cache);
		if (r == 0) {
			use(cache);
			nth = 0;
			use(cache); /* and it is as good as new */
			ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 100));
			holdfast_cache_destroy(cache);
		} else {
			ASSERT_LT(r, 0);
			ASSERT_TRUE(failed);
		}
		ASSERT_EQ(s.live, 0);
		ASSERT_EQ(s.ended, 1);
		if (listens)
			(void)close(s.fd);
	} while (failed);
	nth = 0;
	return at;
}

TEST(cache__survives_each_failure_of_memory_and_maps)
{
	struct holdfast_cache_options options = {.span_size = 8 << 20};
	unsigned places = sweep(&options, false);

	ASSERT_GT(places, 30); /* tables, bins, spans, stacks of depots */
}

TEST(cache__survives_each_failure_while_it_is_attended_to)
{
	struct holdfast_cache_options options = {.span_size = 8 << 20,
	    .attend = true};
	unsigned places = sweep(&options, true);

	ASSERT_GT(places, 32);
}

TEST(cache_create__says_why_there_is_no_thread)
{
	struct holdfast_cache_options options = {.attend = true};
	struct source s = {.listens = true, .fd = -1};
	struct holdfast_cache *cache = NULL;
	unsigned tables = 0;
	int r;

	/* The last thing that creation asks for is the thread. */
	do {
		nth = ++tables;
		failed = false;
		r = fake_cache_create(&s, &options, &cache);
	} while (r == -ENOMEM);
	nth = 0;
	ASSERT_EQ(r, -EAGAIN);
	ASSERT_NULL(cache);
}

TEST(cache_alloc__survives_each_import_that_fails)
{
	for (unsigned at = 1; at < 12; at++) {
		struct source s = {.fail_nth = at};
		struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);

		use(cache);
		s.fail_nth = 0;
		use(cache);
		ASSERT_EQ(s.live, 0);
		holdfast_cache_destroy(cache);
	}
}

TEST(cache_alloc__without_any_span_answers_null_and_recovers)
{
	struct source s = {.largest = 1};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);

	ASSERT_NULL(holdfast_cache_alloc(cache, 100));
	ASSERT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	s.largest = 0;
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 100));
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	holdfast_cache_destroy(cache);
	ASSERT_EQ(s.live, 0);
}
