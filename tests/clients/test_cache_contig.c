/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc(9) out of cached spans: windows, alignment, boundaries, sizes
 * beyond a huge page.  That a run is found if there is one: the tests of
 * core/vm_arena.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/clients/cache_fake.h"
#include "tests/test.h"

#define LIVE 24
#define MIB  (UINT64_C(1) << 20)
#define PAGE 4096u

struct want {
	uint64_t size, low, high, alignment, boundary;
};

/* All of it, page by page, is where it has to be; first and last are marked. */
static void
check(struct holdfast_cache *cache, const struct want *w, unsigned char *p)
{
	uint64_t pa = holdfast_cache_vtophys(cache, p);

	ASSERT_GE(pa, w->low);
	if (w->high != 0)
		ASSERT_LE(pa + w->size, w->high);
	if (w->alignment != 0)
		ASSERT_EQ(pa % w->alignment, 0);
	if (w->boundary != 0)
		ASSERT_EQ(pa / w->boundary, (pa + w->size - 1) / w->boundary);
	for (uint64_t off = 0; off < w->size; off += PAGE)
		ASSERT_EQ(holdfast_cache_vtophys(cache, p + off), pa + off);
	if (w->alignment <= FRAME && w->alignment != 0)
		ASSERT_EQ((uintptr_t)p % w->alignment, 0);
}

static struct want
draw(uint64_t *state)
{
	uint64_t r = test_random(state);
	struct want w = {.size = 1 + (r >> 8) % (r % 3 == 0 ? 9 * MIB : 90000)};

	if (r >> 60 < 5) {
		w.low = (r >> 40) % 64 * MIB;
		w.high = w.low + (16 + (r >> 48) % 64) * MIB;
	}
	if (r >> 58 & 1)
		w.alignment = UINT64_C(1) << (r >> 32) % 24;
	if (r >> 57 & 1)
		for (w.boundary = PAGE; w.boundary < w.size + PAGE;)
			w.boundary *= 2;
	return w;
}

TEST(cache_contigmalloc__keeps_what_is_asked_and_never_overlaps)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 16 * MIB, 0);
	static struct fake_object live[LIVE];
	uint64_t state = test_seed(), ops = test_ops(4000), got = 0;

	for (uint64_t i = 0; i < ops; i++) {
		struct fake_object *o = &live[test_random(&state) % LIVE];
		struct want w = draw(&state);
		void *p;

		if (fake_object_free(cache, o))
			continue;
		s.next_low = s.live == 0 ? 0 : s.next_low;
		p = holdfast_cache_contigmalloc(cache, w.size, w.low, w.high,
		    w.alignment, w.boundary);
		if (p == NULL) {
			ASSERT_NE(w.high, 0); /* a window may be full */
			continue;
		}
		got++;
		check(cache, &w, p);
		fake_object_mark(o, p, w.size, (unsigned char)i);
	}
	ASSERT_GT(got, ops / 4);
	for (unsigned k = 0; k < LIVE; k++)
		(void)fake_object_free(cache, &live[k]);
	(void)holdfast_cache_trim(cache);
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

TEST(cache_contigmalloc__cuts_large_buffers_out_of_a_span_that_is_there)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 32 * MIB, 0);
	struct holdfast_cache_stats stats;
	void *p[6];

	for (unsigned i = 0; i < 6; i++) {
		p[i] = holdfast_cache_contigmalloc(cache, 5 * MIB, 0, 0, 0, 0);
		ASSERT_NOT_NULL(p[i]);
	}
	ASSERT_EQ(s.imports, 1);
	holdfast_cache_stats(cache, &stats);
	ASSERT_EQ(stats.slab_bytes, 30 * MIB);
	for (unsigned i = 0; i < 6; i++)
		holdfast_cache_free(cache, p[i]);
	holdfast_cache_stats(cache, &stats);
	ASSERT_EQ(stats.slab_bytes, 0);
	holdfast_cache_destroy(cache);
}

TEST(cache_contigmalloc__imports_what_is_larger_than_a_span)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 * MIB, 0);
	struct want w = {.size = 50 * MIB, .alignment = 8 * MIB};
	unsigned char *p =
	    holdfast_cache_contigmalloc(cache, w.size, 0, 0, w.alignment, 0);

	ASSERT_NOT_NULL(p);
	check(cache, &w, p);
	holdfast_cache_free(cache, p);
	ASSERT_EQ(s.live, 0); /* more than is kept idle */
	holdfast_cache_destroy(cache);
}

TEST(cache_contigmalloc__refuses_what_is_no_request)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 4 * MIB, 64 * MIB);
	static const struct want none[] = {
	    {.size = 0},
	    {.size = 4 * MIB, .alignment = 3 * MIB},
	    {.size = 4 * MIB, .boundary = 3 * MIB},
	    {.size = 4 * MIB, .boundary = 2 * MIB},
	    {.size = PAGE, .low = MIB, .high = MIB},
	    {.size = PAGE, .low = 2 * MIB, .high = MIB},
	    {.size = 4 * MIB, .low = MIB, .high = 2 * MIB},
	    {.size = 65 * MIB},
	    {.size = UINT64_MAX},
	    {.size = UINT64_MAX - PAGE, .alignment = UINT64_C(1) << 63},
	};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ASSERT_NULL(holdfast_cache_contigmalloc(cache, none[i].size,
		    none[i].low, none[i].high, none[i].alignment,
		    none[i].boundary));
	ASSERT_EQ(s.live, 0);
	holdfast_cache_destroy(cache);
}

/* What it cannot see it does not promise. */
TEST(cache_contigmalloc__refuses_constraints_on_addresses_it_is_not_told)
{
	struct source s = {.no_pa = true};
	struct holdfast_cache *cache = fake_cache(&s, 16 * MIB, 0);
	char *p = holdfast_cache_contigmalloc(cache, 5 * MIB, 0, 0, 0, 0);

	ASSERT_NOT_NULL(p);
	p[0] = p[5 * MIB - 1] = 1;
	ASSERT_EQ(holdfast_cache_vtophys(cache, p), 0);
	ASSERT_NULL(
	    holdfast_cache_contigmalloc(cache, PAGE, 0, 64 * MIB, 0, 0));
	ASSERT_NULL(holdfast_cache_contigmalloc(cache, PAGE, 0, 0, 8 * MIB, 0));
	ASSERT_NULL(
	    holdfast_cache_contigmalloc(cache, 3 * MIB, 0, 0, 0, 4 * MIB));
	ASSERT_NOT_NULL(
	    holdfast_cache_contigmalloc(cache, PAGE, 0, 0, PAGE, PAGE));
	holdfast_cache_destroy(cache);
	ASSERT_EQ(s.live, 0);
}

TEST(cache_free__of_the_middle_of_a_large_buffer_stops_the_program)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 16 * MIB, 0);
	char *p = holdfast_cache_contigmalloc(cache, 5 * MIB, 0, 0, 0, 0);
	int status;
	pid_t pid;

	for (size_t off = 16; off <= 1 << 16; off *= 4096) {
		pid = fork();
		if (pid == 0) {
			cache->forked = false;
			holdfast_cache_free(cache, p + off);
			_exit(0);
		}
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	holdfast_cache_free(cache, p);
	holdfast_cache_destroy(cache);
}

TEST(cache_contigmalloc__finds_nothing_in_a_forked_child)
{
	struct source s = {0};
	struct holdfast_cache *cache = fake_cache(&s, 16 * MIB, 0);
	char *p = holdfast_cache_contigmalloc(cache, 5 * MIB, 0, 0, 0, 0);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		void *q =
		    holdfast_cache_contigmalloc(cache, 5 * MIB, 0, 0, 0, 0);

		holdfast_cache_free(cache, p);
		holdfast_cache_destroy(cache);
		_exit(q == NULL && s.live == 1 ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	holdfast_cache_free(cache, p);
	holdfast_cache_destroy(cache);
}

/* A daemon that is wrong about what it gave. */
static struct cache_import lie;

static int
lying_import(void *arg, const struct cache_want *want,
    struct cache_import *importp)
{
	(void)arg;
	*importp = lie;
	if (importp->size == 0)
		importp->size = want->size;
	return 0;
}

static void
lying_release(void *arg, void *handle)
{
	unsigned *released = arg;

	(void)handle;
	(*released)++;
}

TEST(cache_alloc__gives_back_a_span_that_cannot_be)
{
	int fd = memfd_create("lie", MFD_CLOEXEC);
	const struct cache_import lies[] = {
	    {.fd = -1, .pa = FRAME},             /* cannot be mapped */
	    {.fd = fd, .pa = 4096},              /* not a frame */
	    {.fd = fd, .size = 4096},            /* not what was asked for */
	    {.fd = fd, .pa = ~(FRAME - 1)},      /* ends beyond all */
	    {.fd = fd, .pa = UINT64_C(1) << 50}, /* where ours are invented */
	};

	ASSERT_EQ(ftruncate(fd, 64 * MIB), 0);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		unsigned released = 0;
		struct cache_source source = {.import = lying_import,
		    .release = lying_release,
		    .arg = &released};
		struct holdfast_cache *cache;

		lie = lies[i];
		ASSERT_EQ(cache_create_over(&source, NULL, &cache), 0);
		ASSERT_NULL(holdfast_cache_alloc(cache, 100));
		ASSERT_GE(released, 1);
		released = 0;
		lie = (struct cache_import){.fd = fd, .pa = 8 * FRAME};
		ASSERT_NOT_NULL(holdfast_cache_alloc(cache, 100));
		ASSERT_EQ(released, 0);
		holdfast_cache_destroy(cache);
		ASSERT_EQ(released, 1);
	}
	(void)close(fd);
}

TEST(cache_alloc__gives_back_a_span_that_lies_where_another_one_does)
{
	struct holdfast_cache_options options = {.span_size = FRAME};
	unsigned released = 0;
	struct cache_source source = {.import = lying_import,
	    .release = lying_release,
	    .arg = &released};
	struct holdfast_cache *cache;

	lie = (struct cache_import){.fd = memfd_create("lie", MFD_CLOEXEC),
	    .pa = 8 * FRAME};
	ASSERT_EQ(ftruncate(lie.fd, 64 * MIB), 0);
	ASSERT_EQ(cache_create_over(&source, &options, &cache), 0);
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, FRAME));
	ASSERT_EQ(released, 0);
	ASSERT_NULL(holdfast_cache_alloc(cache, FRAME));
	ASSERT_EQ(released, 2); /* tried again after a look for idle slabs */
	lie.pa = 9 * FRAME;
	ASSERT_NOT_NULL(holdfast_cache_alloc(cache, FRAME));
	holdfast_cache_destroy(cache);
	ASSERT_EQ(released, 4);
	(void)close(lie.fd);
}
