/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_phys against the slow model: every free pattern of a small memory with
 * every request, and long random sequences with segments that come and go.
 *
 * Covered: exactness of the search, codes, free runs, segments, invariants.
 * Not covered: running out of memory (test_vm_phys.c), speed (bench_contig).
 */

#include <stdio.h>

#include "arch/sim/sim.h"
#include "core/vm_param.h"
#include "core/vm_phys_int.h"
#include "tests/model/model_phys.h"
#include "tests/test.h"

#define PAGE  UINT64_C(4096)
#define NPAGE 10 /* of the exhaustive test: 2^10 patterns */

static void
check_same(struct vm_phys *phys, const struct model_phys *model)
{
	struct vm_phys_run run, want;
	vm_paddr_t pa = 0;
	const char *broken = vm_phys_check(phys);

	if (broken != NULL)
		test_fail(__FILE__, __LINE__, "%s", broken);
	while (model_phys_next_free(model, pa, &want)) {
		ASSERT_TRUE(vm_phys_next_free(phys, pa, &run));
		ASSERT_EQ(run.start, want.start);
		ASSERT_EQ(run.end, want.end);
		ASSERT_EQ(run.domain, want.domain);
		ASSERT_EQ(run.owner, want.owner);
		pa = run.end;
	}
	ASSERT_FALSE(vm_phys_next_free(phys, pa, &run));
	for (pa = 0; model_phys_next_seg(model, pa, &want); pa = run.end) {
		ASSERT_TRUE(vm_phys_next_seg(phys, pa, &run));
		ASSERT_EQ(run.start, want.start);
		ASSERT_EQ(run.end, want.end);
		ASSERT_EQ(run.owner, want.owner);
	}
	ASSERT_FALSE(vm_phys_next_seg(phys, pa, &run));
}

/* A request against both; found or not, nothing changes. */
static void
check_request(struct vm_phys *phys, const struct model_phys *model,
    const struct contig_req *req)
{
	vm_paddr_t pa = UINT64_MAX;
	int rv = vm_phys_find_contig(phys, req, &pa);

	if (rv == KERN_INVALID_ARGUMENT) {
		ASSERT_EQ(contig_req_check(req, PAGE, NULL), rv);
		ASSERT_EQ(pa, UINT64_MAX);
	} else if (rv == KERN_NO_SPACE) {
		ASSERT_EQ(pa, UINT64_MAX);
		if (model_phys_feasible(model, req))
			test_fail(__FILE__, __LINE__,
			    "missed: size %#llx [%#llx, %#llx) alignment %#llx "
			    "boundary %#llx",
			    (unsigned long long)req->size,
			    (unsigned long long)req->low,
			    (unsigned long long)req->high,
			    (unsigned long long)req->alignment,
			    (unsigned long long)req->boundary);
	} else {
		ASSERT_EQ(rv, KERN_SUCCESS);
		ASSERT_TRUE(model_phys_fits(model, req, pa));
	}
}

static void
check_all_requests(struct vm_phys *phys, const struct model_phys *model,
    vm_paddr_t base)
{
	for (unsigned n = 1; n <= 5; n++)
		for (vm_paddr_t align = PAGE; align <= 8 * PAGE; align *= 2)
			for (vm_paddr_t bound = 0; bound <= 8 * PAGE;
			     bound = bound ? bound * 2 : PAGE)
				for (unsigned lo = 0; lo <= NPAGE; lo += 3)
					for (unsigned hi = lo; hi <= NPAGE;
					     hi += 2) {
						struct contig_req req =
						    {n * PAGE, base + lo * PAGE,
							base + hi * PAGE, align,
							bound, -1};

						check_request(phys, model,
						    &req);
					}
}

/* Take the pages whose bits are clear, one at a time. */
static void
make_pattern(struct vm_phys *phys, struct model_phys *model, vm_paddr_t base,
    unsigned pattern)
{
	for (unsigned i = 0; i < NPAGE; i++) {
		vm_paddr_t pa = base + i * PAGE;

		if ((pattern >> i & 1) != 0)
			continue;
		ASSERT_EQ(vm_phys_take(phys, pa, pa + PAGE), KERN_SUCCESS);
		ASSERT_EQ(model_phys_take(model, pa, pa + PAGE), KERN_SUCCESS);
	}
}

/* Twice: in low memory, and across the first border between two zones. */
static void
every_pattern(vm_paddr_t base)
{
	struct arch *arch = sim_create(NULL);

	for (unsigned pattern = 0; pattern < 1u << NPAGE; pattern++) {
		struct vm_phys *phys = vm_phys_create(arch, PAGE);
		struct model_phys *model = model_phys_create(base, NPAGE, PAGE);

		ASSERT_EQ(vm_phys_add_seg(phys, base, base + NPAGE * PAGE, 0,
			      NULL),
		    KERN_SUCCESS);
		ASSERT_EQ(model_phys_add_seg(model, base, base + NPAGE * PAGE,
			      0, NULL),
		    KERN_SUCCESS);
		make_pattern(phys, model, base, pattern);
		check_same(phys, model);
		check_all_requests(phys, model, base);
		vm_phys_destroy(phys);
		model_phys_destroy(model);
	}
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

TEST(vm_phys_find_contig__is_exact_for_every_pattern_of_ten_pages)
{
	every_pattern(0);
}

TEST(vm_phys_find_contig__is_exact_across_a_zone_border)
{
	every_pattern(phys_zone_top(0) - 6 * PAGE);
}

/*
 * Everything there is to ask of eight pages, in every pattern: each size, each
 * alignment and boundary up to sixteen pages, each window, its ends on pages
 * and a byte beside them.
 */
#define NSMALL 8

static void
check_windows(struct vm_phys *phys, const struct model_phys *model,
    vm_paddr_t base, struct contig_req req)
{
	for (unsigned lo = 0; lo <= NSMALL; lo++)
		for (unsigned hi = lo; hi <= NSMALL; hi++) {
			req.low = base + lo * PAGE;
			req.high = base + hi * PAGE;
			check_request(phys, model, &req);
			if (lo == hi)
				continue;
			req.low++;
			check_request(phys, model, &req);
			req.high--;
			req.low--;
			check_request(phys, model, &req);
		}
}

static void
check_everything(struct vm_phys *phys, const struct model_phys *model,
    vm_paddr_t base)
{
	for (unsigned n = 1; n <= NSMALL; n++)
		for (vm_paddr_t align = PAGE; align <= 16 * PAGE; align *= 2)
			for (vm_paddr_t bound = 0; bound <= 16 * PAGE;
			     bound = bound ? bound * 2 : PAGE)
				check_windows(phys, model, base,
				    (struct contig_req){.size = n * PAGE,
					.alignment = align,
					.boundary = bound,
					.domain = -1});
}

/* The upper half is another segment where `two`. */
static void
every_request(vm_paddr_t base, bool two)
{
	struct arch *arch = sim_create(NULL);
	vm_paddr_t middle = base + NSMALL / 2 * PAGE;
	int owners[2];

	for (unsigned pattern = 0; pattern < 1u << NSMALL; pattern++) {
		struct vm_phys *phys = vm_phys_create(arch, PAGE);
		struct model_phys *model =
		    model_phys_create(base, NSMALL, PAGE);

		for (unsigned half = 0; half < 2; half++) {
			vm_paddr_t from = half == 0 ? base : middle;
			vm_paddr_t upto = from + NSMALL / 2 * PAGE;
			void *owner = &owners[two ? half : 0];

			ASSERT_EQ(vm_phys_add_seg(phys, from, upto, 0, owner),
			    KERN_SUCCESS);
			ASSERT_EQ(model_phys_add_seg(model, from, upto, 0,
				      owner),
			    KERN_SUCCESS);
		}
		for (unsigned i = 0; i < NSMALL; i++) {
			vm_paddr_t pa = base + i * PAGE;

			if ((pattern >> i & 1) != 0)
				continue;
			ASSERT_EQ(vm_phys_take(phys, pa, pa + PAGE),
			    KERN_SUCCESS);
			ASSERT_EQ(model_phys_take(model, pa, pa + PAGE),
			    KERN_SUCCESS);
		}
		check_everything(phys, model, base);
		vm_phys_destroy(phys);
		model_phys_destroy(model);
	}
	ASSERT_EQ(sim_live(arch), (size_t)0);
	sim_destroy(arch);
}

TEST(vm_phys_find_contig__is_exact_for_all_that_can_be_asked_of_eight_pages)
{
	every_request(4 * PAGE, false);
}

TEST(vm_phys_find_contig__is_exact_where_two_segments_of_four_pages_touch)
{
	every_request(phys_zone_top(1) - 4 * PAGE, true);
}

/* Random sequences. */

struct run_taken {
	vm_paddr_t start, end;
};

struct world {
	struct arch *arch;
	struct vm_phys *phys;
	struct model_phys *model;
	uint64_t seed;
	vm_paddr_t base;
	size_t npages;
	int owners[3];
	struct run_taken taken[4096];
	size_t ntaken;
};

static uint64_t
below(struct world *w, uint64_t n)
{
	return test_random(&w->seed) % n;
}

/* Mostly small, now and then large. */
static uint64_t
some_pages(struct world *w)
{
	uint64_t most = UINT64_C(1) << below(w, 10);

	return 1 + below(w, MIN(most, w->npages));
}

static vm_paddr_t
some_page(struct world *w)
{
	return w->base + below(w, w->npages) * PAGE;
}

static void
random_request(struct world *w, struct contig_req *req)
{
	*req = (struct contig_req){
	    .size = some_pages(w) * PAGE - below(w, PAGE),
	    .high = UINT64_MAX,
	    .alignment = 1,
	    .domain = below(w, 4) == 0 ? (int)below(w, 2) : -1,
	};
	if (below(w, 2) == 0)
		req->alignment = UINT64_C(1) << below(w, 23);
	if (below(w, 3) == 0)
		req->boundary = UINT64_C(1) << (12 + below(w, 12));
	if (below(w, 2) == 0)
		req->low = some_page(w) + below(w, 3) - 1;
	if (below(w, 2) == 0)
		req->high = some_page(w) + below(w, 3) * 2048;
	if (below(w, 4) == 0) { /* a window hardly larger than the run */
		req->low = some_page(w);
		req->high = req->low + req->size + below(w, 6) * PAGE;
	}
}

static void
random_alloc(struct world *w)
{
	struct contig_req req;
	vm_paddr_t pa = 0;
	vm_size_t size;

	random_request(w, &req);
	check_request(w->phys, w->model, &req);
	if (w->ntaken == nitems(w->taken) ||
	    vm_phys_alloc_contig(w->phys, &req, &pa) != KERN_SUCCESS)
		return;
	size = roundup2(req.size, PAGE);
	ASSERT_TRUE(model_phys_fits(w->model, &req, pa));
	ASSERT_EQ(model_phys_take(w->model, pa, pa + size), KERN_SUCCESS);
	w->taken[w->ntaken++] = (struct run_taken){pa, pa + size};
}

/* Whole or in part, from the end so that the rest is in the books. */
static void
random_free(struct world *w)
{
	size_t i;
	struct run_taken *t;
	vm_paddr_t from;

	if (w->ntaken == 0)
		return;
	i = below(w, w->ntaken);
	t = &w->taken[i];
	from = t->start;
	if (below(w, 8) == 0)
		from += below(w, (t->end - t->start) / PAGE) * PAGE;
	if (from == t->start)
		ASSERT_EQ(vm_phys_free_contig(w->phys, from, t->end),
		    KERN_SUCCESS);
	else
		ASSERT_EQ(vm_phys_free_part(w->phys, from, t->end),
		    KERN_SUCCESS);
	ASSERT_EQ(model_phys_free(w->model, from, t->end), KERN_SUCCESS);
	t->end = from;
	if (t->start == t->end)
		*t = w->taken[--w->ntaken];
}

/* Arbitrary ranges: mostly refused, with the model's code. */
static void
random_range(struct world *w)
{
	vm_paddr_t start = some_page(w), end;
	int domain = (int)below(w, 2);
	void *owner = &w->owners[below(w, 3)];
	int rv;

	end = start + some_pages(w) * PAGE;
	end = MIN(end, w->base + w->npages * PAGE);
	if (below(w, 16) == 0)
		end -= 1 + below(w, PAGE);
	switch (below(w, 4)) {
	case 0:
		rv = model_phys_add_seg(w->model, start, end, domain, owner);
		ASSERT_EQ(vm_phys_add_seg(w->phys, start, end, domain, owner),
		    rv);
		break;
	case 1:
		rv = model_phys_remove_seg(w->model, start, end);
		ASSERT_EQ(vm_phys_remove_seg(w->phys, start, end), rv);
		break;
	case 2:
		rv = model_phys_take(w->model, start, end);
		ASSERT_EQ(vm_phys_take(w->phys, start, end), rv);
		if (rv != KERN_SUCCESS)
			break;
		ASSERT_LT(w->ntaken, nitems(w->taken));
		w->taken[w->ntaken++] = (struct run_taken){start, end};
		break;
	case 3: /* only what must fail: the rest is in `taken` */
		rv = model_phys_free(w->model, start, end);
		ASSERT_EQ(vm_phys_free_part(w->phys, start, end), rv);
		if (rv != KERN_SUCCESS)
			break;
		rv = model_phys_take(w->model, start, end);
		ASSERT_EQ(rv, KERN_SUCCESS);
		ASSERT_EQ(vm_phys_take(w->phys, start, end), KERN_SUCCESS);
		break;
	}
}

/* Take all that is free. */
static void
take_all(struct vm_phys *phys)
{
	struct vm_phys_run run;

	while (vm_phys_next_free(phys, 0, &run))
		ASSERT_EQ(vm_phys_take(phys, run.start, run.end), KERN_SUCCESS);
}

/* Memory of which everything is taken, beside the same of which nothing is. */
TEST(vm_phys_possible__is_what_could_be_had_of_free_memory)
{
	static struct world w;
	struct vm_phys *full;
	uint64_t nops = test_ops(3000), npossible = 0;

	w = (struct world){.seed = test_seed(), .base = 0, .npages = 512};
	w.base = phys_zone_top(0) - 100 * PAGE;
	w.arch = sim_create(NULL);
	w.phys = vm_phys_create(w.arch, PAGE);
	full = vm_phys_create(w.arch, PAGE);
	for (unsigned i = 0; i < 12; i++) {
		vm_paddr_t start = some_page(&w), end;
		int domain = (int)below(&w, 2);
		void *owner = &w.owners[below(&w, 3)];

		end = MIN(start + some_pages(&w) * PAGE,
		    w.base + w.npages * PAGE);
		ASSERT_EQ(vm_phys_add_seg(w.phys, start, end, domain, owner),
		    vm_phys_add_seg(full, start, end, domain, owner));
	}
	take_all(full);
	for (uint64_t i = 0; i < nops; i++) {
		struct contig_req req;
		vm_paddr_t pa;
		bool free_fits;

		random_request(&w, &req);
		free_fits =
		    vm_phys_find_contig(w.phys, &req, &pa) == KERN_SUCCESS;
		ASSERT_EQ(vm_phys_possible(full, &req), free_fits);
		ASSERT_NE(vm_phys_find_contig(full, &req, &pa), KERN_SUCCESS);
		npossible += free_fits;
	}
	ASSERT_GT(npossible, nops / 20);
	vm_phys_destroy(w.phys);
	vm_phys_destroy(full);
	ASSERT_EQ(sim_live(w.arch), (size_t)0);
	sim_destroy(w.arch);
}

/* Make many short runs, so that trees have three levels. */
static void
riddle(struct world *w)
{
	for (size_t i = 0; i + 1 < w->npages / 2; i++) {
		vm_paddr_t start = w->base + i * PAGE;

		if (below(w, 3) != 0)
			continue;
		ASSERT_EQ(vm_phys_take(w->phys, start, start + PAGE),
		    KERN_SUCCESS);
		ASSERT_EQ(model_phys_take(w->model, start, start + PAGE),
		    KERN_SUCCESS);
		w->taken[w->ntaken++] = (struct run_taken){start, start + PAGE};
	}
}

static void
random_world(vm_paddr_t base, size_t npages, uint64_t nops)
{
	static struct world w;
	uint64_t nalloc = 0;

	w = (struct world){.seed = test_seed(), .base = base, .npages = npages};
	w.arch = sim_create(NULL);
	w.phys = vm_phys_create(w.arch, PAGE);
	w.model = model_phys_create(base, npages, PAGE);
	ASSERT_EQ(model_phys_add_seg(w.model, base, base + npages / 2 * PAGE, 0,
		      &w.owners[0]),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_phys_add_seg(w.phys, base, base + npages / 2 * PAGE, 0,
		      &w.owners[0]),
	    KERN_SUCCESS);
	if (npages > 2048)
		riddle(&w);
	for (uint64_t i = 0; i < nops; i++) {
		/* It breathes: fuller for a while, then emptier. */
		uint64_t bias = i / 512 % 2 == 0 ? 6 : 3;
		uint64_t what = below(&w, 10);

		if (what == 9)
			random_range(&w);
		else if (what < bias)
			random_alloc(&w), nalloc++;
		else
			random_free(&w);
		if (i % 16 == 0)
			check_same(w.phys, w.model);
	}
	ASSERT_GT(nalloc, (uint64_t)0);
	while (w.ntaken > 0)
		random_free(&w);
	check_same(w.phys, w.model);
	vm_phys_destroy(w.phys);
	model_phys_destroy(w.model);
	ASSERT_EQ(sim_live(w.arch), (size_t)0);
	sim_destroy(w.arch);
}

TEST(vm_phys__agrees_with_the_model_on_random_sequences)
{
	random_world(UINT64_C(0x100000), 256, test_ops(6000));
}

TEST(vm_phys__agrees_with_the_model_across_16_mib)
{
	random_world(phys_zone_top(0) - 500 * PAGE, 1024, test_ops(3000));
}

TEST(vm_phys__agrees_with_the_model_across_4_gib)
{
	random_world(phys_zone_top(1) - 500 * PAGE, 1024, test_ops(3000));
}

TEST(vm_phys__agrees_with_the_model_when_trees_are_deep)
{
	random_world(UINT64_C(1) << 32, 4096, test_ops(4000));
}
