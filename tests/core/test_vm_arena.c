/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Arenas at three levels over one pool: a host, two tenants, four clients.
 *
 * Covered: every run within its request, inside one span of its own arena,
 * inside one of its tenant's; no quantum shared by two arenas; "none" only
 * where a search of every page finds none; hysteresis; reclaim; failing
 * allocations leave no trace; giving back never needs memory.
 * Not covered: the daemon and the client library, which have tests of their
 * own.
 */

#include "arch/sim/sim.h"
#include "core/vm_arena.h"
#include "core/vm_param.h"
#include "tests/test.h"

#define PAGE     UINT64_C(4096)
#define QUANTUM  (UINT64_C(64) << 10)
#define BASE     (UINT64_C(1) << 32)
#define NPAGES   1024
#define POOL_END (BASE + NPAGES * PAGE)
#define NTENANTS 2
#define NCLIENTS 4 /* client c is of tenant c % NTENANTS */
#define NLIVE    512

/* Who holds a page, and in which span: told by the sources, not the arenas. */
struct owner {
	int tenant, client;    /* -1: nobody */
	unsigned tspan, cspan; /* number of the span it came in */
	bool closed;           /* that of the client */
};

struct live {
	int client;
	vm_paddr_t pa;
	vm_size_t size;
};

/* A source that writes down what goes through it. */
struct tap {
	struct world *world;
	struct vm_arena *above;
	int tenant, client;
	unsigned nimports;
};

struct world {
	struct arch *arch;
	struct vm_arena *pool, *tenants[NTENANTS], *clients[NCLIENTS];
	struct tap taps[NTENANTS + NCLIENTS];
	struct owner owners[NPAGES];
	bool used[NPAGES]; /* part of a live buffer */
	struct live live[NLIVE];
	size_t nlive;
	unsigned nspans, nreclaims;
	uint64_t seed;
};

static size_t
page_of(vm_paddr_t pa)
{
	ASSERT_LE(BASE, pa);
	ASSERT_LT(pa, POOL_END);
	return (size_t)((pa - BASE) / PAGE);
}

static int
tap_import(void *arg, const struct contig_req *req, vm_size_t quantum,
    bool must, struct vm_arena_span *spanp)
{
	struct tap *tap = arg;
	struct world *w = tap->world;
	int rv = vm_arena_import(tap->above, req, quantum, must, spanp);

	if (rv != KERN_SUCCESS)
		return rv;
	ASSERT_EQ((spanp->start | spanp->end) % QUANTUM, UINT64_C(0));
	tap->nimports++;
	w->nspans++;
	for (size_t i = page_of(spanp->start); i <= page_of(spanp->end - 1);
	     i++) {
		struct owner *o = &w->owners[i];

		if (tap->client < 0) {
			ASSERT_EQ(o->tenant, -1);
			o->tenant = tap->tenant;
			o->tspan = w->nspans;
		} else {
			ASSERT_EQ(o->tenant, tap->tenant);
			ASSERT_EQ(o->client, -1);
			o->client = tap->client;
			o->cspan = w->nspans;
			o->closed = false;
		}
	}
	return rv;
}

static void
tap_release(void *arg, const struct vm_arena_span *span)
{
	struct tap *tap = arg;
	struct world *w = tap->world;

	for (size_t i = page_of(span->start); i <= page_of(span->end - 1);
	     i++) {
		struct owner *o = &w->owners[i];

		ASSERT_EQ(o->tenant, tap->tenant);
		ASSERT_EQ(o->client, tap->client);
		if (tap->client < 0)
			o->tenant = -1;
		else
			o->client = -1;
	}
	vm_arena_release(tap->above, span);
}

/* Everybody gives back what is idle, clients first. */
static vm_size_t
trim_all(struct world *w)
{
	vm_size_t bytes = 0;

	for (unsigned c = 0; c < NCLIENTS; c++)
		if (w->clients[c] != NULL)
			bytes += vm_arena_trim(w->clients[c], 0);
	for (unsigned t = 0; t < NTENANTS; t++)
		if (w->tenants[t] != NULL)
			bytes += vm_arena_trim(w->tenants[t], 0);
	return bytes;
}

static vm_size_t
tap_reclaim(void *arg)
{
	struct tap *tap = arg;

	tap->world->nreclaims++;
	return trim_all(tap->world);
}

static void
check_all(struct world *w)
{
	const char *broken = vm_arena_check(w->pool);

	for (unsigned t = 0; t < NTENANTS && broken == NULL; t++)
		broken = vm_arena_check(w->tenants[t]);
	for (unsigned c = 0; c < NCLIENTS && broken == NULL; c++)
		broken = vm_arena_check(w->clients[c]);
	if (broken != NULL)
		test_fail(__FILE__, __LINE__, "%s", broken);
}

static struct vm_arena *
make_below(struct world *w, unsigned n, struct vm_arena *above, int tenant,
    int client, vm_size_t span, vm_size_t idle_max, vm_size_t idle_min)
{
	struct vm_arena_options options = {.page_size = PAGE,
	    .quantum = QUANTUM,
	    .span_size = span,
	    .idle_max = idle_max,
	    .idle_min = idle_min};
	struct vm_arena_source source = {tap_import, tap_release, tap_reclaim,
	    &w->taps[n]};
	struct vm_arena *arena;

	w->taps[n] = (struct tap){w, above, tenant, client, 0};
	arena = vm_arena_create(w->arch, &options, &source);
	ASSERT_NOT_NULL(arena);
	return arena;
}

static void
world_make(struct world *w)
{
	struct vm_arena_options options = {.page_size = PAGE,
	    .grain = QUANTUM,
	    .quantum = QUANTUM};

	*w = (struct world){.seed = test_seed()};
	for (unsigned i = 0; i < NPAGES; i++)
		w->owners[i] = (struct owner){-1, -1, 0, 0, false};
	w->arch = sim_create(NULL);
	w->pool = vm_arena_create(w->arch, &options, NULL);
	/* Two spans, so that there is a border that no run crosses. */
	ASSERT_EQ(vm_arena_add(w->pool, &(struct vm_arena_span){.start = BASE,
					    .end = BASE + 10 * QUANTUM}),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_arena_add(w->pool,
		      &(struct vm_arena_span){.start = BASE + 10 * QUANTUM,
			  .end = POOL_END}),
	    KERN_SUCCESS);
	for (unsigned t = 0; t < NTENANTS; t++)
		w->tenants[t] = make_below(w, t, w->pool, (int)t, -1,
		    4 * QUANTUM, 8 * QUANTUM, 4 * QUANTUM);
	for (unsigned c = 0; c < NCLIENTS; c++)
		w->clients[c] = make_below(w, NTENANTS + c,
		    w->tenants[c % NTENANTS], (int)(c % NTENANTS), (int)c,
		    2 * QUANTUM, 4 * QUANTUM, 2 * QUANTUM);
}

static void
world_free(struct world *w)
{
	struct vm_arena_stats stats;

	for (unsigned c = 0; c < NCLIENTS; c++) {
		vm_arena_destroy(w->clients[c]);
		w->clients[c] = NULL;
	}
	for (unsigned t = 0; t < NTENANTS; t++) {
		vm_arena_destroy(w->tenants[t]);
		w->tenants[t] = NULL;
	}
	for (unsigned i = 0; i < NPAGES; i++) {
		ASSERT_EQ(w->owners[i].tenant, -1);
		ASSERT_EQ(w->owners[i].client, -1);
	}
	vm_arena_stats(w->pool, &stats);
	ASSERT_EQ(stats.used_bytes, UINT64_C(0));
	ASSERT_EQ(vm_arena_remove(w->pool, BASE), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_remove(w->pool, BASE + 10 * QUANTUM), KERN_SUCCESS);
	ASSERT_NULL(vm_arena_check(w->pool));
	vm_arena_destroy(w->pool);
	ASSERT_EQ(sim_live(w->arch), (size_t)0);
	sim_destroy(w->arch);
}

/* ---- The model: every page ---- */

/* Could a run of this client's be here, or become so? */
static bool
run_possible(const struct world *w, int client, vm_paddr_t pa, vm_size_t size)
{
	size_t first = page_of(pa), last = page_of(pa + size - 1);
	size_t qfirst = page_of(rounddown2(pa, QUANTUM));
	size_t qlast =
	    page_of(rounddown2(pa + size - 1, QUANTUM)) + QUANTUM / PAGE - 1;
	const struct owner *o = &w->owners[first];
	bool mine = true, tenants = true, nobodys = true;

	for (size_t i = first; i <= last; i++)
		mine &= w->owners[i].client == client && !w->used[i] &&
			!w->owners[i].closed && w->owners[i].cspan == o->cspan;
	for (size_t i = qfirst; i <= qlast; i++) {
		tenants &= w->owners[i].client < 0 &&
			   w->owners[i].tenant == client % NTENANTS &&
			   w->owners[i].tspan == o->tspan;
		nobodys &= w->owners[i].tenant < 0;
	}
	/* The pool's own border. */
	nobodys &= (qfirst < 160) == (qlast < 160);
	return mine || tenants || nobodys;
}

static bool
run_meets(const struct contig_req *req, vm_paddr_t pa, vm_size_t size)
{
	return pa >= req->low && pa + size <= req->high &&
	       pa % req->alignment == 0 &&
	       (req->boundary == 0 ||
		   pa / req->boundary == (pa + size - 1) / req->boundary);
}

static bool
feasible(const struct world *w, int client, const struct contig_req *req)
{
	vm_size_t size = roundup2(req->size, PAGE);

	for (vm_paddr_t pa = BASE; pa + size <= POOL_END; pa += PAGE)
		if (run_meets(req, pa, size) &&
		    run_possible(w, client, pa, size))
			return true;
	return false;
}

static uint64_t
below(struct world *w, uint64_t n)
{
	return test_random(&w->seed) % n;
}

static struct contig_req
some_request(struct world *w)
{
	struct contig_req req = {.size = 1 + below(w, 8 * PAGE),
	    .high = UINT64_MAX,
	    .alignment = PAGE,
	    .domain = -1};

	if (below(w, 6) == 0)
		req.size = 1 + below(w, 6 * QUANTUM);
	if (below(w, 3) == 0)
		req.alignment = PAGE << below(w, 7);
	if (below(w, 4) == 0)
		req.boundary = UINT64_C(1) << (12 + below(w, 8));
	if (below(w, 3) == 0) {
		req.low = BASE + below(w, NPAGES) * PAGE;
		req.high =
		    req.low + roundup2(req.size, PAGE) + below(w, 40) * PAGE;
	}
	return req;
}

static void
mark_used(struct world *w, const struct live *live, bool used)
{
	for (size_t i = page_of(live->pa);
	     i <= page_of(live->pa + live->size - 1); i++) {
		ASSERT_EQ(w->used[i], !used);
		ASSERT_EQ(w->owners[i].client, live->client);
		ASSERT_EQ(w->owners[i].cspan,
		    w->owners[page_of(live->pa)].cspan);
		w->used[i] = used;
	}
}

static void
random_alloc(struct world *w)
{
	struct contig_req req = some_request(w);
	struct live live = {.client = (int)below(w, NCLIENTS)};
	struct vm_arena_span span;
	int rv;

	if (w->nlive == NLIVE)
		return;
	rv = vm_arena_alloc(w->clients[live.client], &req, &live.pa);
	live.size = roundup2(req.size, PAGE);
	if (rv == KERN_INVALID_ARGUMENT) {
		ASSERT_EQ(contig_req_check(&req, PAGE, NULL), rv);
		return;
	}
	if (rv != KERN_SUCCESS) {
		ASSERT_EQ(rv, KERN_NO_SPACE);
		ASSERT_FALSE(feasible(w, live.client, &req));
		return;
	}
	ASSERT_TRUE(run_meets(&req, live.pa, live.size));
	ASSERT_TRUE(vm_arena_span_at(w->clients[live.client], live.pa, &span));
	ASSERT_LE(live.pa + live.size, span.end);
	mark_used(w, &live, true);
	w->live[w->nlive++] = live;
}

static void
drop(struct world *w, size_t i)
{
	struct live live = w->live[i];

	mark_used(w, &live, false);
	w->live[i] = w->live[--w->nlive];
	ASSERT_EQ(vm_arena_free(w->clients[live.client], live.pa, live.size),
	    KERN_SUCCESS);
}

/* ---- What others do to spans ---- */

/* Import one by hand, as somebody who is not done when the call returns. */
static void
random_lend(struct world *w)
{
	unsigned c = (unsigned)below(w, NCLIENTS);
	struct tap *tap = &w->taps[NTENANTS + c];
	struct contig_req req = {(1 + below(w, 3)) * QUANTUM, 0, UINT64_MAX,
	    QUANTUM, 0, -1};
	struct vm_arena_span span;

	if (tap_import(tap, &req, QUANTUM, false, &span) != KERN_SUCCESS)
		return;
	span.handle = tap;
	ASSERT_EQ(vm_arena_lend(w->clients[c], &span), KERN_SUCCESS);
}

/* The client's span in which a random buffer lies.  false: there is none. */
static bool
random_span(struct world *w, int *clientp, struct vm_arena_span *spanp)
{
	const struct live *live;

	if (w->nlive == 0)
		return false;
	live = &w->live[below(w, w->nlive)];
	*clientp = live->client;
	ASSERT_TRUE(
	    vm_arena_span_at(w->clients[live->client], live->pa, spanp));
	return true;
}

static void
random_close(struct world *w)
{
	struct vm_arena_span span;
	int c;

	if (!random_span(w, &c, &span))
		return;
	for (vm_paddr_t pa = span.start; pa < span.end; pa += PAGE)
		w->owners[page_of(pa)].closed = true;
	ASSERT_EQ(vm_arena_close(w->clients[c], span.start), KERN_SUCCESS);
}

/* What is in it is void; the span goes back by whoever took it out. */
static void
random_evict(struct world *w)
{
	struct vm_arena_span span, out;
	int c;

	if (!random_span(w, &c, &span))
		return;
	for (size_t i = w->nlive; i-- > 0;) {
		struct live live = w->live[i];

		if (live.pa < span.start || live.pa >= span.end)
			continue;
		mark_used(w, &live, false);
		w->live[i] = w->live[--w->nlive];
	}
	ASSERT_EQ(vm_arena_evict(w->clients[c], span.start, &out),
	    KERN_SUCCESS);
	ASSERT_EQ(out.start, span.start);
	ASSERT_EQ(out.end, span.end);
	ASSERT_TRUE(out.handle == span.handle);
	ASSERT_FALSE(vm_arena_span_at(w->clients[c], span.start, &out));
	tap_release(&w->taps[NTENANTS + c], &span);
}

static void
random_other(struct world *w)
{
	switch (below(w, 8)) {
	case 0:
	case 1:
		random_close(w);
		break;
	case 2:
		random_evict(w);
		break;
	default:
		random_lend(w);
	}
}

TEST(vm_arena__agrees_with_the_model_at_three_levels)
{
	static struct world w;
	uint64_t nops = test_ops(6000), nnone = 0;
	struct vm_arena_stats stats;

	world_make(&w);
	for (uint64_t i = 0; i < nops; i++) {
		uint64_t bias = i / 500 % 2 == 0 ? 7 : 3;

		if (below(&w, 32) == 0)
			random_other(&w);
		else if (below(&w, 10) < bias)
			random_alloc(&w);
		else if (w.nlive > 0)
			drop(&w, below(&w, w.nlive));
		if (i % 16 == 0)
			check_all(&w);
	}
	for (unsigned c = 0; c < NCLIENTS; c++) {
		vm_arena_stats(w.clients[c], &stats);
		ASSERT_GT(stats.nimports, UINT64_C(10));
		ASSERT_GT(stats.nreleases, UINT64_C(0));
		nnone += stats.nfailures;
	}
	if (nops >= 6000) {
		ASSERT_GT(nnone, UINT64_C(10));
		ASSERT_GT(w.nreclaims, 10u);
	}
	while (w.nlive > 0)
		drop(&w, w.nlive - 1);
	check_all(&w);
	world_free(&w);
}

/* What is alive at the end goes with its arena. */
TEST(vm_arena_destroy__gives_every_span_back)
{
	static struct world w;

	world_make(&w);
	for (unsigned i = 0; i < 200; i++)
		random_alloc(&w);
	ASSERT_GT(w.nlive, (size_t)0);
	world_free(&w);
}

/* ---- Small cases ---- */

static vm_paddr_t
take(struct vm_arena *arena, vm_size_t size)
{
	struct contig_req req = {size, 0, UINT64_MAX, 1, 0, -1};
	vm_paddr_t pa = 0;

	ASSERT_EQ(vm_arena_alloc(arena, &req, &pa), KERN_SUCCESS);
	return pa;
}

static struct vm_arena_stats
stats_of(struct vm_arena *arena)
{
	struct vm_arena_stats stats;

	ASSERT_NULL(vm_arena_check(arena));
	vm_arena_stats(arena, &stats);
	return stats;
}

/* As long as idle_max is not exceeded a span that falls idle stays. */
TEST(vm_arena_free__keeps_some_idle_spans_and_then_gives_several_back)
{
	static struct world w;
	struct vm_arena *client;
	vm_paddr_t pa[6];

	world_make(&w);
	client = w.clients[0]; /* spans of 2 quanta, keeps 4, then 2 */
	for (unsigned i = 0; i < 6; i++)
		pa[i] = take(client, 2 * QUANTUM);
	ASSERT_EQ(stats_of(client).nspans, UINT64_C(6));
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ(vm_arena_free(client, pa[i], 2 * QUANTUM),
		    KERN_SUCCESS);
	ASSERT_EQ(stats_of(client).idle_bytes, 4 * QUANTUM);
	ASSERT_EQ(stats_of(client).nreleases, UINT64_C(0));
	ASSERT_EQ(vm_arena_free(client, pa[2], 2 * QUANTUM), KERN_SUCCESS);
	ASSERT_EQ(stats_of(client).idle_bytes, 2 * QUANTUM);
	ASSERT_EQ(stats_of(client).nreleases, UINT64_C(2));
	/* The one that fell idle last is the one that stayed. */
	ASSERT_EQ(take(client, 2 * QUANTUM), pa[2]);
	ASSERT_EQ(stats_of(client).nimports, UINT64_C(6));
	world_free(&w);
}

TEST(vm_arena__does_not_import_and_release_in_turn)
{
	static struct world w;
	vm_paddr_t pa;

	world_make(&w);
	for (unsigned i = 0; i < 1000; i++) {
		pa = take(w.clients[1], PAGE);
		ASSERT_EQ(vm_arena_free(w.clients[1], pa, PAGE), KERN_SUCCESS);
	}
	ASSERT_EQ(stats_of(w.clients[1]).nimports, UINT64_C(1));
	ASSERT_EQ(stats_of(w.tenants[1]).nimports, UINT64_C(1));
	world_free(&w);
}

TEST(vm_arena__cuts_small_buffers_inside_quanta_of_its_own)
{
	static struct world w;
	vm_paddr_t a, b;

	world_make(&w);
	for (unsigned i = 0; i < 40; i++) {
		a = take(w.tenants[0], 8192);
		b = take(w.tenants[1], 8192);
		ASSERT_TRUE(a / QUANTUM != b / QUANTUM);
	}
	ASSERT_EQ(stats_of(w.tenants[0]).nimports, UINT64_C(2));
	ASSERT_EQ(stats_of(w.pool).used_bytes, 16 * QUANTUM);
	world_free(&w);
}

/* One tenant's idle spans serve another where there is nothing else. */
TEST(vm_arena_alloc__asks_others_for_what_they_have_idle)
{
	static struct world w;
	struct contig_req req = {40 * QUANTUM, 0, UINT64_MAX, 1, 0, -1};
	vm_paddr_t pa;

	world_make(&w);
	/* The upper part of the pool is 54 quanta; leave idle ones in it. */
	pa = take(w.clients[0], 30 * QUANTUM);
	take(w.clients[2], PAGE);
	ASSERT_EQ(vm_arena_alloc(w.clients[1], &req, &pa), KERN_NO_SPACE);
	ASSERT_GT(w.nreclaims, 0u);
	check_all(&w);
	req.size = 9 * QUANTUM;
	w.nreclaims = 0;
	ASSERT_EQ(vm_arena_alloc(w.clients[1], &req, &pa), KERN_SUCCESS);
	ASSERT_EQ(w.nreclaims, 0u);
	world_free(&w);
}

TEST(vm_arena_remove__takes_only_added_spans_of_which_nothing_is_out)
{
	static struct world w;
	struct vm_arena_span span;
	vm_paddr_t pa;

	world_make(&w);
	ASSERT_EQ(vm_arena_add(w.pool,
		      &(struct vm_arena_span){.start = POOL_END + PAGE,
			  .end = POOL_END + QUANTUM}),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_arena_add(w.pool, &(struct vm_arena_span){.start = BASE,
					   .end = BASE + QUANTUM}),
	    KERN_INVALID_ARGUMENT);
	pa = take(w.tenants[0], PAGE);
	ASSERT_TRUE(vm_arena_span_at(w.tenants[0], pa, &span));
	ASSERT_EQ(vm_arena_remove(w.tenants[0], span.start),
	    KERN_INVALID_ADDRESS); /* imported */
	ASSERT_EQ(vm_arena_remove(w.pool, BASE + QUANTUM),
	    KERN_INVALID_ADDRESS);
	ASSERT_TRUE(vm_arena_span_at(w.pool, pa, &span));
	ASSERT_EQ(vm_arena_remove(w.pool, span.start), KERN_FAILURE);
	ASSERT_EQ(vm_arena_free(w.tenants[0], pa, PAGE), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_free(w.tenants[0], pa, PAGE), KERN_FAILURE);
	ASSERT_EQ(vm_arena_free(w.tenants[0], BASE - QUANTUM, PAGE),
	    KERN_INVALID_ADDRESS);
	ASSERT_FALSE(vm_arena_span_at(w.pool, BASE - PAGE, &span));
	check_all(&w);
	world_free(&w);
}

/* ---- Spans that somebody else imports ---- */

/* Where what goes back is counted. */
struct depot {
	unsigned nback;
	struct vm_arena_span last;
};

static void
depot_release(void *arg, const struct vm_arena_span *span)
{
	struct depot *depot = arg;

	depot->nback++;
	depot->last = *span;
}

static const struct vm_arena_span lent[3] = {
    {BASE, BASE + QUANTUM, 0, (void *)1},
    {BASE + QUANTUM, BASE + 2 * QUANTUM, 0, (void *)2},
    {BASE + 8 * QUANTUM, BASE + 10 * QUANTUM, 0, (void *)3},
};

/* An arena that asks nobody, keeps two quanta idle, then one. */
static struct vm_arena *
borrower(struct arch *arch, struct depot *depot)
{
	struct vm_arena_options options = {.page_size = PAGE,
	    .quantum = QUANTUM,
	    .idle_max = 2 * QUANTUM,
	    .idle_min = QUANTUM};
	struct vm_arena_source source = {.release = depot_release,
	    .arg = depot};
	struct vm_arena *arena = vm_arena_create(arch, &options, &source);

	*depot = (struct depot){0};
	ASSERT_NOT_NULL(arena);
	return arena;
}

static void
borrower_free(struct arch *arch, struct vm_arena *arena)
{
	ASSERT_NULL(vm_arena_check(arena));
	vm_arena_destroy(arena);
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

TEST(vm_arena_lend__makes_a_span_go_back_when_it_lies_idle)
{
	struct arch *arch = sim_create(NULL);
	struct depot depot;
	struct vm_arena *arena = borrower(arch, &depot);
	struct contig_req req = {PAGE, 0, UINT64_MAX, 1, 0, -1};
	struct vm_arena_span span;
	vm_paddr_t pa = 0, more;

	ASSERT_EQ(vm_arena_alloc(arena, &req, &pa), KERN_NO_SPACE);
	span = (struct vm_arena_span){BASE, BASE + PAGE, 0, NULL};
	ASSERT_EQ(vm_arena_lend(arena, &span), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_arena_lend(arena, &lent[0]), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_lend(arena, &lent[0]), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(stats_of(arena).idle_bytes, QUANTUM);
	ASSERT_EQ(vm_arena_remove(arena, BASE), KERN_INVALID_ADDRESS);
	pa = take(arena, PAGE);
	ASSERT_TRUE(vm_arena_span_at(arena, pa, &span));
	ASSERT_TRUE(span.handle == lent[0].handle);
	/* Another, and a third that is one too many. */
	ASSERT_EQ(vm_arena_lend(arena, &lent[1]), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_lend(arena, &lent[2]), KERN_SUCCESS);
	more = take(arena, 2 * QUANTUM);
	ASSERT_EQ(vm_arena_free(arena, pa, PAGE), KERN_SUCCESS);
	ASSERT_EQ(depot.nback, 0u);
	ASSERT_EQ(vm_arena_free(arena, more, 2 * QUANTUM), KERN_SUCCESS);
	ASSERT_EQ(depot.nback, 3u);
	ASSERT_TRUE(depot.last.handle == lent[2].handle);
	ASSERT_EQ(stats_of(arena).nimports, UINT64_C(3));
	ASSERT_EQ(stats_of(arena).nreleases, UINT64_C(3));
	ASSERT_EQ(stats_of(arena).nspans, UINT64_C(0));
	borrower_free(arch, arena);
}

TEST(vm_arena_lend__leaves_no_trace_when_memory_runs_out)
{
	struct arch *arch = sim_create(NULL);
	struct depot depot;
	struct vm_arena *arena = borrower(arch, &depot);
	int rv = KERN_FAILURE;

	for (unsigned nth = 1; rv != KERN_SUCCESS; nth++) {
		sim_fail_nth(arch, nth);
		rv = vm_arena_lend(arena, &lent[0]);
		sim_fail_never(arch);
		if (rv != KERN_SUCCESS)
			ASSERT_EQ(rv, KERN_RESOURCE_SHORTAGE);
		ASSERT_EQ(stats_of(arena).nspans,
		    (uint64_t)(rv == KERN_SUCCESS));
		ASSERT_EQ(depot.nback, 0u);
		ASSERT_LT(nth, 20u);
	}
	borrower_free(arch, arena);
	ASSERT_EQ(depot.nback, 1u);
}

TEST(vm_arena_close__hands_out_nothing_more_of_a_span)
{
	struct arch *arch = sim_create(NULL);
	struct depot depot;
	struct vm_arena *arena = borrower(arch, &depot);
	struct contig_req req = {PAGE, 0, UINT64_MAX, 1, 0, -1};
	vm_paddr_t a, b, pa = 0;

	ASSERT_EQ(vm_arena_lend(arena, &lent[0]), KERN_SUCCESS);
	a = take(arena, PAGE);
	b = take(arena, 3 * PAGE);
	ASSERT_EQ(vm_arena_close(arena, BASE + PAGE), KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_arena_close(arena, BASE + QUANTUM), KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_arena_close(arena, BASE), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_close(arena, BASE), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_alloc(arena, &req, &pa), KERN_NO_SPACE);
	ASSERT_EQ(vm_arena_free(arena, a, PAGE), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_alloc(arena, &req, &pa), KERN_NO_SPACE);
	ASSERT_EQ(stats_of(arena).used_bytes, 3 * PAGE);
	ASSERT_EQ(vm_arena_free(arena, BASE, 4 * PAGE), KERN_FAILURE);
	/* With the last of it, it goes, however little is idle. */
	ASSERT_EQ(vm_arena_free(arena, b, 3 * PAGE), KERN_SUCCESS);
	ASSERT_EQ(depot.nback, 1u);
	ASSERT_EQ(stats_of(arena).nspans, UINT64_C(0));
	borrower_free(arch, arena);
}

TEST(vm_arena_close__gives_an_idle_span_back_at_once)
{
	struct arch *arch = sim_create(NULL);
	struct depot depot;
	struct vm_arena *arena = borrower(arch, &depot);

	ASSERT_EQ(vm_arena_lend(arena, &lent[1]), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_close(arena, lent[1].start), KERN_SUCCESS);
	ASSERT_EQ(depot.nback, 1u);
	ASSERT_TRUE(depot.last.handle == lent[1].handle);
	ASSERT_EQ(stats_of(arena).span_bytes, UINT64_C(0));
	borrower_free(arch, arena);
}

/* One that stays until it is removed can be removed once all is back. */
TEST(vm_arena_close__leaves_an_added_span_to_be_removed)
{
	struct arch *arch = sim_create(NULL);
	struct depot depot;
	struct vm_arena *arena = borrower(arch, &depot);
	vm_paddr_t pa;

	ASSERT_EQ(vm_arena_add(arena, &lent[2]), KERN_SUCCESS);
	pa = take(arena, PAGE);
	ASSERT_EQ(vm_arena_close(arena, lent[2].start), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_remove(arena, lent[2].start), KERN_FAILURE);
	ASSERT_EQ(vm_arena_free(arena, pa, PAGE), KERN_SUCCESS);
	ASSERT_NULL(vm_arena_check(arena));
	ASSERT_EQ(vm_arena_remove(arena, lent[2].start), KERN_SUCCESS);
	ASSERT_EQ(depot.nback, 0u);
	borrower_free(arch, arena);
}

/* Whatever memory there is, nothing is handed out of a closed span. */
TEST(vm_arena_close__keeps_its_word_without_memory)
{
	static const struct vm_arena_span wide = {BASE, BASE + 64 * QUANTUM, 0,
	    NULL};
	static vm_paddr_t pa[1000];
	struct contig_req req = {PAGE, 0, UINT64_MAX, 1, 0, -1};
	unsigned nshort = 0;

	for (unsigned nth = 1; nth < 12; nth++) {
		struct arch *arch = sim_create(NULL);
		struct depot depot;
		struct vm_arena *arena = borrower(arch, &depot);
		vm_paddr_t got = 0;
		size_t n = 0;
		int rv;

		ASSERT_EQ(vm_arena_lend(arena, &wide), KERN_SUCCESS);
		for (; n < nitems(pa); n++)
			pa[n] = take(arena, PAGE);
		for (size_t i = 0; i < n; i += 2)
			ASSERT_EQ(vm_arena_free(arena, pa[i], PAGE),
			    KERN_SUCCESS);
		sim_fail_from(arch, nth);
		ASSERT_EQ(vm_arena_close(arena, wide.start), KERN_SUCCESS);
		/* It finds memory for the search, and then for no closing. */
		sim_fail_from(arch, 1 + nth % 4);
		rv = vm_arena_alloc(arena, &req, &got);
		ASSERT_TRUE(
		    rv == KERN_NO_SPACE || rv == KERN_RESOURCE_SHORTAGE);
		nshort += rv == KERN_RESOURCE_SHORTAGE;
		sim_fail_never(arch);
		ASSERT_NULL(vm_arena_check(arena));
		ASSERT_EQ(vm_arena_alloc(arena, &req, &got), KERN_NO_SPACE);
		ASSERT_EQ(stats_of(arena).used_bytes, n / 2 * PAGE);
		sim_fail_from(arch, 1);
		for (size_t i = 1; i < n; i += 2)
			ASSERT_EQ(vm_arena_free(arena, pa[i], PAGE),
			    KERN_SUCCESS);
		sim_fail_never(arch);
		ASSERT_EQ(depot.nback, 1u);
		borrower_free(arch, arena);
	}
	ASSERT_GT(nshort, 0u);
}

TEST(vm_arena_evict__takes_a_span_out_with_what_is_in_it)
{
	struct arch *arch = sim_create(NULL);
	struct depot depot;
	struct vm_arena *arena = borrower(arch, &depot);
	struct vm_arena_span span;

	ASSERT_EQ(vm_arena_evict(arena, BASE, &span), KERN_INVALID_ADDRESS);
	for (unsigned round = 0; round < 3; round++) {
		ASSERT_EQ(vm_arena_lend(arena, &lent[0]), KERN_SUCCESS);
		ASSERT_EQ(vm_arena_lend(arena, &lent[1]), KERN_SUCCESS);
		if (round > 0) /* else it is idle */
			for (unsigned i = 0; i < 20; i++)
				take(arena, PAGE);
		if (round > 1)
			ASSERT_EQ(vm_arena_close(arena, BASE), KERN_SUCCESS);
		sim_fail_from(arch, 1);
		ASSERT_EQ(vm_arena_evict(arena, BASE + PAGE, &span),
		    KERN_INVALID_ADDRESS);
		ASSERT_EQ(vm_arena_evict(arena, BASE, &span), KERN_SUCCESS);
		ASSERT_TRUE(span.handle == lent[0].handle);
		ASSERT_EQ(vm_arena_evict(arena, lent[1].start, &span),
		    KERN_SUCCESS);
		sim_fail_never(arch);
		ASSERT_EQ(depot.nback, 0u);
		ASSERT_EQ(stats_of(arena).used_bytes, UINT64_C(0));
		ASSERT_EQ(stats_of(arena).idle_bytes, UINT64_C(0));
	}
	borrower_free(arch, arena);
	ASSERT_EQ(depot.nback, 0u);
}

/* ---- Cutting ---- */

#define CUT_UNITS 24

/* Whole units that begin with a run for `req`, all free, within its bounds. */
static bool
whole_cut_possible(const bool *taken, const struct contig_req *req)
{
	struct contig_req whole = *req;

	whole.size = roundup2(req->size, QUANTUM);
	whole.alignment = MAX(req->alignment, QUANTUM);
	for (size_t first = 0; first < CUT_UNITS; first++) {
		size_t last = first + whole.size / QUANTUM;
		bool free = last <= CUT_UNITS;

		for (size_t i = first; free && i < last; i++)
			free = !taken[i];
		if (free &&
		    run_meets(&whole, BASE + first * QUANTUM, whole.size))
			return true;
	}
	return false;
}

static bool
any_cut_possible(const bool *taken, const struct contig_req *req)
{
	vm_size_t size = roundup2(req->size, PAGE);

	for (vm_paddr_t pa = BASE; pa + size <= BASE + CUT_UNITS * QUANTUM;
	     pa += PAGE) {
		bool free = run_meets(req, pa, size);

		for (vm_paddr_t at = pa; free && at < pa + size; at += PAGE)
			free = !taken[(at - BASE) / QUANTUM];
		if (free)
			return true;
	}
	return false;
}

static struct contig_req
cut_request(uint64_t *seed)
{
	struct contig_req req = {.size = 1 + test_random(seed) % (QUANTUM / 2),
	    .high = BASE + CUT_UNITS * QUANTUM,
	    .alignment = PAGE,
	    .domain = -1};

	if (test_random(seed) % 3 == 0)
		req.size = 1 + test_random(seed) % (4 * QUANTUM);
	if (test_random(seed) % 3 != 0) {
		req.low = BASE + test_random(seed) % (16 * 20) * PAGE;
		req.high = req.low + roundup2(req.size, PAGE) +
			   test_random(seed) % 48 * PAGE;
	}
	if (test_random(seed) % 4 == 0)
		req.boundary = roundup2(req.size, PAGE);
	while (!powerof2(req.boundary))
		req.boundary &= req.boundary - 1;
	if (req.boundary < req.size)
		req.boundary *= 2;
	return req;
}

/*
 * However small the request, units that begin with it and do not reach beyond
 * its bounds come before those that lie about it.
 */
TEST(vm_arena_find_cut__takes_whole_units_within_the_bounds_where_there_are)
{
	struct arch *arch = sim_create(NULL);
	uint64_t seed = test_seed(), nops = test_ops(4000);
	unsigned nwhole = 0, nabout = 0, nnone = 0;

	for (uint64_t i = 0; i < nops; i++) {
		struct vm_phys *phys = vm_phys_create(arch, PAGE);
		struct contig_req req = cut_request(&seed);
		struct vm_arena_cut cut = {0};
		bool taken[CUT_UNITS] = {false}, whole;
		int rv;

		ASSERT_EQ(vm_phys_add_seg(phys, BASE,
			      BASE + CUT_UNITS * QUANTUM, 0, NULL),
		    KERN_SUCCESS);
		for (size_t u = 0; u < CUT_UNITS; u++) {
			taken[u] = test_random(&seed) % 3 == 0;
			if (taken[u])
				ASSERT_EQ(vm_phys_take(phys, BASE + u * QUANTUM,
					      BASE + (u + 1) * QUANTUM),
				    KERN_SUCCESS);
		}
		whole = whole_cut_possible(taken, &req);
		rv = vm_arena_find_cut(phys, &req, QUANTUM, &cut);
		if (rv != KERN_SUCCESS) {
			ASSERT_EQ(rv, KERN_NO_SPACE);
			ASSERT_FALSE(any_cut_possible(taken, &req));
			nnone++;
		} else {
			vm_size_t size = roundup2(req.size, PAGE);

			ASSERT_TRUE(run_meets(&req, cut.pa, size));
			ASSERT_EQ(cut.start, rounddown2(cut.pa, QUANTUM));
			ASSERT_EQ(cut.end, roundup2(cut.pa + size, QUANTUM));
			ASSERT_EQ(vm_phys_take(phys, cut.start, cut.end),
			    KERN_SUCCESS);
			nwhole += whole;
			nabout += !whole;
		}
		if (whole) {
			ASSERT_EQ(cut.pa, cut.start);
			ASSERT_LE(req.low, cut.start);
			ASSERT_LE(cut.end, req.high);
		}
		vm_phys_destroy(phys);
	}
	if (nops >= 4000) {
		ASSERT_GT(nwhole, 500u);
		ASSERT_GT(nabout, 100u);
		ASSERT_GT(nnone, 100u);
	}
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

/* Less than a unit in a window of one and a bit: the one, not the bit. */
TEST(vm_arena_find_cut__rounds_less_than_a_unit_up_to_one)
{
	struct arch *arch = sim_create(NULL);
	struct vm_phys *phys = vm_phys_create(arch, PAGE);
	struct contig_req req = {2 * PAGE, BASE + QUANTUM - 2 * PAGE,
	    BASE + 2 * QUANTUM + 2 * PAGE, PAGE, 0, -1};
	struct vm_arena_cut cut;

	ASSERT_EQ(vm_phys_add_seg(phys, BASE, BASE + 4 * QUANTUM, 0, NULL),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_arena_find_cut(phys, &req, QUANTUM, &cut), KERN_SUCCESS);
	ASSERT_EQ(cut.pa, BASE + QUANTUM);
	ASSERT_EQ(cut.start, BASE + QUANTUM);
	ASSERT_EQ(cut.end, BASE + 2 * QUANTUM);
	/* Without the one, either bit will do. */
	ASSERT_EQ(vm_phys_take(phys, cut.start, cut.end), KERN_SUCCESS);
	ASSERT_EQ(vm_arena_find_cut(phys, &req, QUANTUM, &cut), KERN_SUCCESS);
	ASSERT_EQ(cut.end - cut.start, QUANTUM);
	ASSERT_TRUE(cut.pa == BASE + QUANTUM - 2 * PAGE ||
		    cut.pa == BASE + 2 * QUANTUM);
	vm_phys_destroy(phys);
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

/* A window inside one quantum: the span is the quantum about it. */
TEST(vm_arena_alloc__imports_the_quantum_about_a_narrow_window)
{
	static struct world w;
	vm_paddr_t low = BASE + 5 * QUANTUM + 3 * PAGE, pa = 0;
	struct contig_req req = {2 * PAGE, low, low + 2 * PAGE, 1, 0, -1};
	struct vm_arena_span span;

	world_make(&w);
	ASSERT_EQ(vm_arena_alloc(w.clients[3], &req, &pa), KERN_SUCCESS);
	ASSERT_EQ(pa, low);
	ASSERT_TRUE(vm_arena_span_at(w.clients[3], pa, &span));
	ASSERT_EQ(span.start, BASE + 5 * QUANTUM);
	ASSERT_EQ(span.end, BASE + 6 * QUANTUM);
	ASSERT_EQ(vm_arena_alloc(w.clients[2], &req, &pa), KERN_NO_SPACE);
	ASSERT_EQ(pa, low);
	check_all(&w);
	world_free(&w);
}

TEST(vm_arena_stats__count_bytes_and_calls)
{
	static struct world w;
	struct vm_arena_stats stats;

	world_make(&w);
	take(w.clients[0], PAGE);
	stats = stats_of(w.clients[0]);
	ASSERT_EQ(stats.used_bytes, PAGE);
	ASSERT_EQ(stats.span_bytes, 2 * QUANTUM);
	ASSERT_EQ(stats.largest_run, 2 * QUANTUM - PAGE);
	ASSERT_EQ(stats.nallocs, UINT64_C(1));
	world_free(&w);
}

/* ---- Memory ---- */

TEST(vm_arena_create__leaves_no_trace_when_memory_runs_out)
{
	struct arch *arch = sim_create(NULL);
	struct vm_arena_options options = {.page_size = PAGE,
	    .quantum = QUANTUM};
	struct vm_arena *arena = NULL;

	for (unsigned nth = 1; arena == NULL; nth++) {
		sim_fail_nth(arch, nth);
		arena = vm_arena_create(arch, &options, NULL);
		sim_fail_never(arch);
		if (arena == NULL)
			ASSERT_EQ(sim_live(arch), (size_t)0);
		ASSERT_LT(nth, 10u);
	}
	vm_arena_destroy(arena);
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

/* Fail the 1st, 2nd, ... allocation of metadata at any level in turn. */
TEST(vm_arena_alloc__leaves_no_trace_when_memory_runs_out)
{
	static struct world w;
	struct contig_req req = {3 * PAGE, 0, UINT64_MAX, PAGE, 0, -1};
	vm_paddr_t pa = 0;
	vm_size_t used;
	int rv;

	world_make(&w);
	take(w.clients[0], 2 * QUANTUM); /* so that others have something */
	for (unsigned nth = 1;; nth++) {
		used = stats_of(w.pool).used_bytes;
		sim_fail_nth(w.arch, nth);
		rv = vm_arena_alloc(w.clients[1], &req, &pa);
		sim_fail_never(w.arch);
		check_all(&w);
		if (rv == KERN_SUCCESS)
			break;
		ASSERT_EQ(rv, KERN_RESOURCE_SHORTAGE);
		ASSERT_EQ(pa, UINT64_C(0));
		ASSERT_EQ(stats_of(w.clients[1]).span_bytes, UINT64_C(0));
		trim_all(&w);
		ASSERT_LE(stats_of(w.pool).used_bytes, used);
		ASSERT_LT(nth, 100u);
	}
	ASSERT_EQ(vm_arena_free(w.clients[1], pa, req.size), KERN_SUCCESS);
	world_free(&w);
}

TEST(vm_arena_add__leaves_no_trace_when_memory_runs_out)
{
	struct arch *arch = sim_create(NULL);
	struct vm_arena_options options = {.page_size = PAGE,
	    .quantum = QUANTUM};
	struct vm_arena_span span = {.start = BASE, .end = POOL_END};
	struct vm_arena *arena = vm_arena_create(arch, &options, NULL);
	int rv = KERN_FAILURE;

	for (unsigned nth = 1; rv != KERN_SUCCESS; nth++) {
		sim_fail_nth(arch, nth);
		rv = vm_arena_add(arena, &span);
		sim_fail_never(arch);
		ASSERT_EQ(stats_of(arena).nspans,
		    (uint64_t)(rv == KERN_SUCCESS));
		ASSERT_LT(nth, 20u);
	}
	vm_arena_destroy(arena);
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

/* Spans go back through all levels though there is no memory at all. */
TEST(vm_arena_free__never_needs_memory)
{
	static struct world w;

	world_make(&w);
	for (unsigned i = 0; i < 2000; i++)
		random_alloc(&w);
	sim_fail_from(w.arch, 1);
	sim_limit_bytes(w.arch, 1);
	while (w.nlive > 0)
		drop(&w, below(&w, w.nlive));
	trim_all(&w);
	check_all(&w);
	ASSERT_EQ(stats_of(w.pool).used_bytes, UINT64_C(0));
	sim_fail_never(w.arch);
	sim_limit_bytes(w.arch, 0);
	world_free(&w);
}
