/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A million allocations of all kinds by eight processes of two tenants: most
 * through their span caches, the rest asked of the daemon, with constraints,
 * waiting and not.  Afterwards the pool is what it was: its runs, the daemon's
 * descriptors, its spans, and what the tenants are charged.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast_cache.h"
#include "tests/system/live.h"
#include "tests/test.h"

#define PROCESSES 8
#define POOL_MIB  256
#define OBJECTS   512 /* live in the cache, at most */
#define BUFFERS   3   /* live, asked of the daemon */
#define DIRECT    512 /* one in so many is asked of the daemon */

struct load {
	struct live *live;
	uint64_t seed, nallocs;
};

struct load_state {
	struct holdfast *h, *direct;
	struct holdfast_cache *cache;
	uint64_t *objects[OBJECTS];
	uint64_t tags[OBJECTS];
	struct holdfast_buf *bufs[BUFFERS];
	uint64_t seed, nhits, ndirect, nrefused;
};

static uint64_t
any(struct load_state *s, uint64_t n)
{
	return test_random(&s->seed) % n;
}

/* Mostly small, now and then up to a huge page. */
static size_t
any_size(struct load_state *s)
{
	if (any(s, 1000) == 0)
		return 1 + any(s, 2 * MIB);
	return 8 + any(s, (uint64_t)64 << any(s, 9));
}

/* Free what was there, with its tag untouched; allocate another. */
static void
cached(struct load_state *s)
{
	size_t i = any(s, OBJECTS);
	size_t size;

	if (s->objects[i] != NULL) {
		ASSERT_EQ(*s->objects[i], s->tags[i]);
		holdfast_cache_free(s->cache, s->objects[i]);
		s->objects[i] = NULL;
		return;
	}
	size = any_size(s);
	if (any(s, 16) == 0)
		s->objects[i] = holdfast_cache_alloc_aligned(s->cache, size,
		    (size_t)64 << any(s, 7));
	else
		s->objects[i] = holdfast_cache_alloc(s->cache, size);
	if (s->objects[i] == NULL) {
		s->nrefused++;
		return;
	}
	s->tags[i] = test_random(&s->seed);
	*s->objects[i] = s->tags[i];
	s->nhits++;
}

static void
check_buf(const struct holdfast_contig_req *req, const struct holdfast_buf *buf)
{
	uint64_t last = buf->pa + buf->size - 1;

	ASSERT_TRUE(buf->pa_known && buf->verified);
	ASSERT_TRUE(buf->pa >= req->low);
	ASSERT_TRUE(req->high == 0 || last < req->high);
	ASSERT_EQ(buf->pa % req->alignment, 0u);
	ASSERT_TRUE(
	    req->boundary == 0 || ((buf->pa ^ last) & -req->boundary) == 0);
}

static void
direct(struct load_state *s)
{
	static const uint32_t flags[] = {0, HF_M_NOWAIT, HF_M_WAITOK,
	    HF_M_ZERO};
	size_t i = any(s, BUFFERS);
	struct holdfast_contig_req req = {
	    .size = (uint64_t)4096 << any(s, 12),
	    .alignment = (uint64_t)4096 << any(s, 10),
	    .flags = flags[any(s, 4)],
	};
	int r;

	if (any(s, 2) == 0)
		req.boundary = req.size << any(s, 3);
	if (req.flags == HF_M_WAITOK)
		req.deadline_ms = 1 + any(s, 30);
	if (s->bufs[i] != NULL)
		ASSERT_EQ(holdfast_contigfree(s->direct, s->bufs[i]), HF_OK);
	s->bufs[i] = NULL;
	r = holdfast_contigmalloc(s->direct, &req, &s->bufs[i]);
	if (r != HF_OK) {
		s->bufs[i] = NULL;
		s->nrefused++;
		if (r != HF_NO_SPACE && r != HF_TIMED_OUT)
			test_fail(__FILE__, __LINE__, "%s: %s",
			    holdfast_status_name(r), holdfast_error(s->direct));
		return;
	}
	s->ndirect++;
	check_buf(&req, s->bufs[i]);
	((volatile char *)s->bufs[i]->addr)[req.size - 1] = 1;
}

/* Some end as they should, some leave it all to the daemon. */
static void
load_end(struct load_state *s, bool orderly)
{
	if (!orderly)
		return;
	for (size_t i = 0; i < OBJECTS; i++)
		holdfast_cache_free(s->cache, s->objects[i]);
	holdfast_cache_destroy(s->cache);
	holdfast_close(s->direct);
	holdfast_close(s->h);
}

static void
load_process(void *arg)
{
	const struct load *load = arg;
	static struct load_state s;
	struct holdfast_cache_options options = {
	    .span_size = 4 * MIB,
	    .max_bytes = 24 * MIB,
	};

	s.seed = load->seed;
	s.h = live_connect(load->live);
	s.direct = live_connect(load->live);
	ASSERT_EQ(holdfast_cache_create(s.h, &options, &s.cache), HF_OK);
	for (uint64_t n = 0; s.nhits + s.ndirect < load->nallocs; n++) {
		if (n % DIRECT == DIRECT - 1) {
			direct(&s);
			ASSERT_EQ(holdfast_cache_dispatch(s.cache), 0);
		} else {
			cached(&s);
		}
	}
	printf("%llu from the cache, %llu from the daemon, %llu refused\n",
	    (unsigned long long)s.nhits, (unsigned long long)s.ndirect,
	    (unsigned long long)s.nrefused);
	(void)fflush(stdout);
	ASSERT_TRUE(s.nhits > load->nallocs / 3);
	load_end(&s, load->seed % 4 != 0);
}

/* Nothing but this one session is charged to the tenant. */
static void
check_tenant(void *arg)
{
	struct holdfast *h = live_connect(arg);
	struct holdfast_tenant_status t;

	ASSERT_EQ(holdfast_tenant_status(h, &t), HF_OK);
	ASSERT_EQ(t.bytes.used, 0u);
	ASSERT_EQ(t.requests.used, 0u);
	ASSERT_EQ(t.sessions.used, 1u);
	ASSERT_EQ(t.fds.used, 2u);
	ASSERT_EQ(t.buffers, 0u);
	ASSERT_EQ(t.tampered, 0u);
	holdfast_close(h);
}

TEST_TIMEOUT(load__a_million_allocations_leave_the_pool_as_it_was, 240)
{
	static const char *const options[] = {"--allow-addresses", "all",
	    "--log-level", "warn", NULL};
	uint64_t seed = test_seed();
	uint64_t nallocs = test_ops(1000000) / PROCESSES;
	struct load loads[PROCESSES];
	struct live_pool before, after;
	pid_t pids[PROCESSES];
	struct holdfast *h;
	struct live live;
	int nfds;

	live_start(&live, POOL_MIB, options);
	h = live_connect(&live);
	live_as(NOBODY, check_tenant, &live); /* its workers run from now on */
	live_wait_idle(h);
	nfds = live_nfds(&live);
	live_pool_read(h, &before);
	for (size_t i = 0; i < PROCESSES; i++) {
		loads[i] =
		    (struct load){&live, test_random(&seed) * 8 + i, nallocs};
		pids[i] = live_spawn(i % 2 == 0 ? NOBODY : SOMEBODY,
		    load_process, &loads[i]);
	}
	for (size_t i = 0; i < PROCESSES; i++)
		live_wait(pids[i]);
	live_wait_idle(h);
	live_as(NOBODY, check_tenant, &live);
	live_as(SOMEBODY, check_tenant, &live);
	live_wait_idle(h);
	ASSERT_EQ(live_nfds(&live), nfds);
	live_pool_read(h, &after);
	live_pool_same(&before, &after);
	printf("%llu requests found a ready span, %llu did not; clients were "
	       "asked for memory %llu times\n",
	    (unsigned long long)after.status.stock_hits,
	    (unsigned long long)after.status.stock_misses,
	    (unsigned long long)after.status.reclaim_asks);
	live_pool_fini(&before);
	live_pool_fini(&after);
	holdfast_close(h);
	live_stop(&live);
}
