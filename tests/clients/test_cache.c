/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The span cache over an invented source: ordinary memfds with invented
 * addresses.  With the daemon behind it: tests/system.
 */

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/clients/cache_fake.h"
#include "tests/test.h"

TEST(class_of_size__is_the_smallest_class_that_holds_the_size)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);

	for (uint64_t size = 1; size <= HOLDFAST_CACHE_MAX;
	     size += size < 4096 ? 1 : 509) {
		unsigned class = class_of_size(cache, size);

		ASSERT_LT(class, NCLASSES);
		ASSERT_GE(class_size(class), size);
		if (class > 0)
			ASSERT_LT(class_size(class - 1), size);
	}
	for (unsigned class = 0; class < NCLASSES; class ++)
		ASSERT_EQ(class_of_size(cache, class_size(class)), class);
	holdfast_cache_destroy(cache);
}

TEST(cache_alloc__refuses_a_size_out_of_bounds)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);

	ASSERT_NULL(holdfast_cache_alloc(cache, 0));
	ASSERT_NULL(holdfast_cache_alloc(cache, HOLDFAST_CACHE_MAX + 1));
	ASSERT_NULL(holdfast_cache_alloc(cache, SIZE_MAX));
	ASSERT_NULL(holdfast_cache_alloc_aligned(cache, 64, 48));
	ASSERT_NULL(holdfast_cache_contig(cache, 8192, 0, 4096));
	ASSERT_NULL(holdfast_cache_contig(cache, 8192, 0, 12288));
	ASSERT_EQ(s.imports, 0);
	holdfast_cache_destroy(cache);
}

TEST(cache_alloc__gives_aligned_memory_inside_one_frame_at_a_known_address)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 8 << 20, 0);

	for (size_t size = 1; size <= HOLDFAST_CACHE_MAX; size = size * 3 + 1)
		for (size_t align = 1; align <= 65536; align *= 4) {
			char *p =
			    holdfast_cache_alloc_aligned(cache, size, align);
			uint64_t pa = holdfast_cache_vtophys(cache, p);

			ASSERT_NOT_NULL(p);
			ASSERT_EQ((uintptr_t)p % align, 0);
			ASSERT_EQ(pa % align, 0);
			ASSERT_EQ(pa / FRAME, (pa + size - 1) / FRAME);
			ASSERT_EQ(holdfast_cache_vtophys(cache, p + size - 1),
			    pa + size - 1);
			memset(p, 0x5a, size);
		}
	holdfast_cache_destroy(cache);
	ASSERT_EQ(s.live, 0);
}

TEST(cache_contig__never_crosses_the_boundary)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 8 << 20, 0);

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t size = 1 + i * 37 % 60000, boundary = 65536, pa;
		void *p = holdfast_cache_contig(cache, size, 4096, boundary);

		ASSERT_NOT_NULL(p);
		pa = holdfast_cache_vtophys(cache, p);
		ASSERT_EQ(pa % 4096, 0);
		ASSERT_EQ(pa / boundary, (pa + size - 1) / boundary);
		if (i % 3 == 0)
			holdfast_cache_free(cache, p);
	}
	holdfast_cache_destroy(cache);
}

TEST(cache_vtophys__is_zero_where_addresses_are_not_told)
{
	struct source s = {.no_pa = true};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	void *p = holdfast_cache_alloc(cache, 100);

	ASSERT_EQ(holdfast_cache_vtophys(cache, p), 0);
	ASSERT_EQ(holdfast_cache_vtophys(cache, &s), 0);
	holdfast_cache_destroy(cache);
}

/* Every live object carries its own pattern: overlaps show. */
TEST(cache__random_objects_never_overlap)
{
	enum { LIVE = 2000 };
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 16 << 20, 0);
	static struct fake_object live[LIVE];
	uint64_t state = test_seed(), ops = test_ops(200000);

	for (uint64_t i = 0; i < ops; i++) {
		uint64_t r = test_random(&state);
		size_t size = 1 + (r >> 16) % ((r >> 60) == 0 ? 300000 : 3000);
		void *p;

		if (fake_object_free(cache, &live[r % LIVE]))
			continue;
		p = holdfast_cache_alloc(cache, size);
		ASSERT_NOT_NULL(p);
		fake_object_mark(&live[r % LIVE], p, size,
		    (unsigned char)(r >> 40));
	}
	for (unsigned k = 0; k < LIVE; k++)
		(void)fake_object_free(cache, &live[k]);
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

TEST(cache_trim__gives_every_span_back_when_all_is_free)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	struct holdfast_cache_stats stats;
	void *p[3000];

	for (unsigned i = 0; i < 3000; i++) {
		p[i] = holdfast_cache_alloc(cache, 16 + i * 7);
		ASSERT_NOT_NULL(p[i]);
	}
	ASSERT_GT(s.live, 4);
	for (unsigned i = 0; i < 3000; i++)
		holdfast_cache_free(cache, p[i]);
	holdfast_cache_stats(cache, &stats);
	ASSERT_GT(stats.span_bytes, 0);
	ASSERT_EQ(holdfast_cache_trim(cache), stats.span_bytes);
	ASSERT_EQ(holdfast_cache_trim(cache), 0);
	holdfast_cache_stats(cache, &stats);
	ASSERT_EQ(stats.span_bytes, 0);
	ASSERT_EQ(stats.slab_bytes, 0);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

/* Nobody asks, nobody trims: what lies idle goes back by itself. */
TEST(cache_free__gives_spans_back_when_most_of_it_lies_idle)
{
	enum { N = 65536 };
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	void **p = calloc(N, sizeof(*p));

	ASSERT_NOT_NULL(p);
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < N; i++) {
			p[i] = holdfast_cache_alloc(cache, 1024);
			ASSERT_NOT_NULL(p[i]);
		}
		ASSERT_GE(s.live, 16);
		for (unsigned i = 0; i < N; i += 2)
			holdfast_cache_free(cache, p[i]);
		ASSERT_GE(s.live, 16); /* no slab is whole yet */
		for (unsigned i = 1; i < N; i += 2)
			holdfast_cache_free(cache, p[i]);
		ASSERT_LE(s.live, 5);
	}
	free(p);
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

/* Going up and down by a span brings and returns nothing: hysteresis. */
TEST(cache_free__does_not_import_and_release_a_span_in_turn)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 2 << 20, 0);
	void *p[12];
	unsigned imports = 0;

	for (unsigned i = 0; i < 12; i++) {
		p[i] = holdfast_cache_alloc(cache, 2 << 20);
		ASSERT_NOT_NULL(p[i]);
	}
	for (unsigned i = 2; i < 12; i++)
		holdfast_cache_free(cache, p[i]);
	ASSERT_LE(s.live, 2 + 2 + 5); /* in use, idle, in the bin and hot */
	for (unsigned turn = 0; turn < 50; turn++) {
		if (turn == 2)
			imports = s.imports;
		for (unsigned i = 2; i < 8; i++)
			p[i] = holdfast_cache_alloc(cache, 2 << 20);
		for (unsigned i = 2; i < 8; i++)
			holdfast_cache_free(cache, p[i]);
	}
	ASSERT_EQ(s.imports, imports);
	holdfast_cache_destroy(cache);
}

TEST(cache_alloc__takes_smaller_spans_when_large_ones_run_out)
{
	struct source s = {.largest = 4 << 20};
	struct holdfast_cache *cache = fake_cache(&s, 32 << 20, 0);

	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	ASSERT_EQ(s.live, 2);
	holdfast_cache_destroy(cache);
}

TEST(cache_alloc__returns_null_at_its_limit_and_recovers)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 6 << 20);
	void *p[4];

	for (unsigned i = 0; i < 3; i++) {
		p[i] = holdfast_cache_alloc(cache, 2 << 20);
		ASSERT_NOT_NULL(p[i]);
	}
	ASSERT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	ASSERT_NULL(holdfast_cache_alloc(cache, 64));
	holdfast_cache_free(cache, p[1]);
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 2 << 20));
	holdfast_cache_destroy(cache);
	ASSERT_EQ(s.live, 0);
}

TEST(cache_bulk__gives_and_takes_many_at_once)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	void *p[1000];

	for (unsigned turn = 0; turn < 50; turn++) {
		unsigned n = 1 + turn * 19;

		ASSERT_EQ(holdfast_cache_alloc_bulk(cache, 200, p, n), n);
		for (unsigned i = 0; i < n; i++)
			memset(p[i], (int)i, 200);
		for (unsigned i = 0; i < n; i++)
			ASSERT_EQ(((unsigned char *)p[i])[199],
			    (unsigned char)i);
		holdfast_cache_free_bulk(cache, 200, p, n);
	}
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

/* What the compiler cannot put in its place is in the library. */
TEST(cache__functions_by_pointer_do_what_the_inline_bodies_do)
{
	void *(*volatile alloc_)(struct holdfast_cache *, size_t) =
	    holdfast_cache_alloc;
	void (*volatile free_)(struct holdfast_cache *, void *) =
	    holdfast_cache_free;
	uint64_t (*volatile vtophys)(const struct holdfast_cache *,
	    const void *) = holdfast_cache_vtophys;
	unsigned (*volatile alloc_bulk)(struct holdfast_cache *, size_t,
	    void **, unsigned) = holdfast_cache_alloc_bulk;
	void (*volatile free_bulk)(struct holdfast_cache *, size_t,
	    void *const *, unsigned) = holdfast_cache_free_bulk;
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	void *p[40], *q;

	for (size_t size = 1; size <= HOLDFAST_CACHE_MAX; size *= 3) {
		q = alloc_(cache, size);
		ASSERT_NOT_NULL(q);
		ASSERT_EQ(vtophys(cache, q), holdfast_cache_vtophys(cache, q));
		free_(cache, q);
		ASSERT_TRUE(holdfast_cache_alloc(cache, size) == q);
		holdfast_cache_free(cache, q);
		ASSERT_TRUE(alloc_(cache, size) == q);
		free_(cache, q);
	}
	ASSERT_EQ(alloc_bulk(cache, 100, p, 40), 40);
	holdfast_cache_free_bulk(cache, 100, p, 40);
	ASSERT_EQ(holdfast_cache_alloc_bulk(cache, 100, p, 40), 40);
	free_bulk(cache, 100, p, 40);
	ASSERT_NULL(alloc_(cache, 0));
	free_(cache, NULL);
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

/* One thread allocates, the other frees, through a ring. */
#define RING  1024u
#define TOTAL 200000u

struct ring {
	struct holdfast_cache *cache;
	void *slot[RING];
	unsigned head, tail;
};

static void *
consumer(void *arg)
{
	struct ring *r = arg;

	for (unsigned i = 0; i < TOTAL; i++) {
		while (__atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == i)
			(void)sched_yield();
		holdfast_cache_free(r->cache, r->slot[i % RING]);
		__atomic_store_n(&r->tail, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

TEST(cache_free__takes_what_another_thread_allocated)
{
	struct source s = {0};
	static struct ring r;
	pthread_t thread;

	r.cache = fake_cache(&s, 4 << 20, 16 << 20);
	ASSERT_EQ(pthread_create(&thread, NULL, consumer, &r), 0);
	for (unsigned i = 0; i < TOTAL; i++) {
		while (i - __atomic_load_n(&r.tail, __ATOMIC_ACQUIRE) == RING)
			(void)sched_yield();
		r.slot[i % RING] = holdfast_cache_alloc(r.cache, 64 + i % 900);
		ASSERT_NOT_NULL(r.slot[i % RING]);
		__atomic_store_n(&r.head, i + 1, __ATOMIC_RELEASE);
	}
	ASSERT_EQ(pthread_join(thread, NULL), 0);
	(void)holdfast_cache_trim(r.cache);
	ASSERT_EQ(s.live, 0); /* the thread's own went back when it ended */
	holdfast_cache_destroy(r.cache);
}

TEST(cache__is_empty_in_a_forked_child_and_whole_in_the_parent)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	char *p = holdfast_cache_alloc(cache, 1000);
	int status;
	pid_t pid;

	ASSERT_NOT_NULL(p);
	*p = 'a';
	pid = fork();
	if (pid == 0) {
		bool ok = holdfast_cache_alloc(cache, 1000) == NULL;

		holdfast_cache_free(cache, p);
		holdfast_cache_destroy(cache);
		_exit(ok && s.live == 1 ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(*p, 'a');
	holdfast_cache_free(cache, p);
	ASSERT_TRUE(holdfast_cache_alloc(cache, 1000) == p);
	holdfast_cache_destroy(cache);
}

TEST(cache_free__of_a_foreign_pointer_stops_the_program)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 << 20, 0);
	char *p = holdfast_cache_alloc(cache, 1000);
	void *foreign[] = {&s, p + (3 << 20)};
	int status;

	for (unsigned i = 0; i < 2; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			cache->forked = false;
			holdfast_cache_free(cache, foreign[i]);
			_exit(0);
		}
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	holdfast_cache_destroy(cache);
}
