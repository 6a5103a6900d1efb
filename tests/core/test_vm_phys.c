/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_phys: the vectors of the specification, segments, domains, owners,
 * zones, refusals, and what happens when memory runs out.
 *
 * Exactness of the search is in test_vm_phys_model.c.
 */

#include "arch/sim/sim.h"
#include "core/vm_param.h"
#include "core/vm_phys_node_int.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)
#define K(n) (UINT64_C(n) << 10)
#define M(n) (UINT64_C(n) << 20)
#define G(n) (UINT64_C(n) << 30)
#define NONE UINT64_MAX /* no such run */

static struct arch *arch;

/* One with [start, end) pairs as segments of domain 0; the list ends at 0. */
static struct vm_phys *
make(const vm_paddr_t *ranges)
{
	struct vm_phys *phys;

	if (arch == NULL)
		arch = sim_create(NULL);
	phys = vm_phys_create(arch, PAGE);
	ASSERT_NOT_NULL(phys);
	for (; ranges[1] != 0; ranges += 2)
		ASSERT_EQ(vm_phys_add_seg(phys, ranges[0], ranges[1], 0, NULL),
		    KERN_SUCCESS);
	return phys;
}

#define MAKE(...) make((const vm_paddr_t[]){__VA_ARGS__, 0, 0})

/* One segment, the first pair, of which all is taken but the others. */
static struct vm_phys *
make_holes(const vm_paddr_t *ranges)
{
	struct vm_phys *phys = MAKE(ranges[0], ranges[1]);

	ASSERT_EQ(vm_phys_take(phys, ranges[0], ranges[1]), KERN_SUCCESS);
	for (ranges += 2; ranges[1] != 0; ranges += 2)
		ASSERT_EQ(vm_phys_free_part(phys, ranges[0], ranges[1]),
		    KERN_SUCCESS);
	return phys;
}

#define MAKE_HOLES(...) make_holes((const vm_paddr_t[]){__VA_ARGS__, 0, 0})

static void
check(struct vm_phys *phys)
{
	const char *broken = vm_phys_check(phys);

	if (broken != NULL)
		test_fail(__FILE__, __LINE__, "%s", broken);
}

static void
done(struct vm_phys *phys)
{
	check(phys);
	vm_phys_destroy(phys);
	ASSERT_EQ(sim_live(arch), (size_t)0);
}

static vm_paddr_t
alloc(struct vm_phys *phys, struct contig_req req)
{
	vm_paddr_t pa = NONE;
	int rv = vm_phys_alloc_contig(phys, &req, &pa);

	if (rv == KERN_SUCCESS) {
		ASSERT_EQ(pa % req.alignment, UINT64_C(0));
		ASSERT_GE(pa, req.low);
		ASSERT_LE(pa + req.size, req.high);
	} else {
		ASSERT_EQ(rv, KERN_NO_SPACE);
		ASSERT_EQ(pa, NONE);
	}
	check(phys);
	return pa;
}

static vm_paddr_t
alloc_plain(struct vm_phys *phys, vm_size_t size)
{
	return alloc(phys, (struct contig_req){size, 0, UINT64_MAX, 1, 0, -1});
}

static void
give(struct vm_phys *phys, vm_paddr_t start, vm_size_t size)
{
	ASSERT_EQ(vm_phys_free_contig(phys, start, start + size), KERN_SUCCESS);
	check(phys);
}

static struct vm_phys_stats
stats(struct vm_phys *phys)
{
	struct vm_phys_stats s;

	vm_phys_stats(phys, &s);
	return s;
}

/* The vectors of the specification, section 8. */

TEST(vm_phys_alloc_contig__meets_the_example_of_the_manual_page) /* L01 */
{
	struct vm_phys *phys = MAKE(0, M(16));
	vm_paddr_t pa =
	    alloc(phys, (struct contig_req){K(8), 0, M(4), K(32), M(1), -1});

	ASSERT_LE(pa + K(8), M(4));
	ASSERT_EQ(pa / M(1), (pa + K(8) - 1) / M(1));
	done(phys);
}

TEST(vm_phys_alloc_contig__takes_high_as_the_end_of_the_run) /* L03, L04 */
{
	struct vm_phys *phys = MAKE(0, M(16));

	ASSERT_EQ(alloc(phys, (struct contig_req){PAGE, 0, 0xfff, 1, 0, -1}),
	    NONE);
	ASSERT_EQ(alloc(phys, (struct contig_req){PAGE, 0, 0x1000, 1, 0, -1}),
	    UINT64_C(0));
	done(phys);
}

TEST(vm_phys_alloc_contig__finds_low_inside_a_run) /* X5 */
{
	struct vm_phys *phys = MAKE(0, M(16));

	ASSERT_EQ(alloc(phys,
		      (struct contig_req){M(4), M(4), M(8), PAGE, 0, -1}),
	    M(4));
	done(phys);
}

TEST(vm_phys_alloc_contig__takes_memory_from_the_highest_segment) /* L09 */
{
	struct vm_phys *phys = MAKE(0, M(16), M(32), M(48));

	ASSERT_GE(alloc_plain(phys, PAGE), M(32));
	done(phys);
}

TEST(vm_phys_alloc_contig__spans_any_number_of_pages) /* L10 */
{
	struct vm_phys *phys = MAKE(0, M(64));
	vm_paddr_t pa = alloc_plain(phys, 5000 * PAGE);

	ASSERT_NE(pa, NONE);
	ASSERT_EQ(stats(phys).free, M(64) - 5000 * PAGE);
	give(phys, pa, 5000 * PAGE);
	ASSERT_EQ(stats(phys).largest_run, M(64));
	done(phys);
}

TEST(vm_phys_free_contig__joins_what_touches) /* L11 */
{
	struct vm_phys *phys = MAKE(0, M(16));
	vm_paddr_t pa = alloc_plain(phys, 3 * PAGE);

	give(phys, pa, 3 * PAGE);
	ASSERT_EQ(stats(phys).nruns, UINT64_C(1));
	ASSERT_EQ(stats(phys).largest_run, M(16));
	done(phys);
}

/* Refusals. */

static void
expect_refusal(struct contig_req req, const char *arg)
{
	struct vm_phys *phys = MAKE(0, M(16));
	struct contig_refusal why = {0};
	vm_paddr_t pa = NONE;

	ASSERT_EQ(contig_req_check(&req, PAGE, &why), KERN_INVALID_ARGUMENT);
	ASSERT_STREQ(why.arg, arg);
	ASSERT_NOT_NULL(why.rule);
	ASSERT_EQ(vm_phys_alloc_contig(phys, &req, &pa), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_find_contig(phys, &req, &pa), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(pa, NONE);
	ASSERT_EQ(stats(phys).free, M(16));
	done(phys);
}

TEST(contig_req_check__names_the_argument_that_is_wrong) /* L05, L06, L12 */
{
	expect_refusal((struct contig_req){0, 0, M(1), 1, 0, -1}, "size");
	expect_refusal((struct contig_req){UINT64_MAX, 0, UINT64_MAX, 1, 0, -1},
	    "size");
	expect_refusal((struct contig_req){PAGE, 0, M(1), 3 * PAGE, 0, -1},
	    "alignment");
	expect_refusal((struct contig_req){PAGE, 0, M(1), 0, 0, -1},
	    "alignment");
	expect_refusal((struct contig_req){PAGE, 0, M(1), 1, 3, -1},
	    "boundary");
	expect_refusal((struct contig_req){2 * PAGE, 0, M(1), 1, PAGE, -1},
	    "boundary");
	/* The rounded size counts. */
	expect_refusal((struct contig_req){100, 0, M(1), 1, 2048, -1},
	    "boundary");
	expect_refusal((struct contig_req){PAGE, M(8), M(8), 1, 0, -1}, "low");
	expect_refusal((struct contig_req){PAGE, M(9), M(8), 1, 0, -1}, "low");
	expect_refusal((struct contig_req){PAGE, 0, 0, 1, 0, -1}, "low");
	expect_refusal((struct contig_req){PAGE, 0, M(1), 1, 0, -2}, "domain");
	expect_refusal((struct contig_req){PAGE, 0, M(1), 1, 0,
			   VM_PHYS_DOMAINS},
	    "domain");
}

TEST(contig_req_check__accepts_the_limits_themselves)
{
	struct contig_req req = {PAGE, 0, UINT64_MAX, UINT64_C(1) << 63,
	    UINT64_C(1) << 63, VM_PHYS_DOMAINS - 1};

	ASSERT_EQ(contig_req_check(&req, PAGE, NULL), KERN_SUCCESS);
	req =
	    (struct contig_req){UINT64_MAX - PAGE + 1, 0, UINT64_MAX, 1, 0, -1};
	ASSERT_EQ(contig_req_check(&req, PAGE, NULL), KERN_SUCCESS);
	req = (struct contig_req){100, 0, 1, 1, PAGE, -1};
	ASSERT_EQ(contig_req_check(&req, PAGE, NULL), KERN_SUCCESS);
}

TEST(vm_phys_alloc_contig__finds_nothing_where_the_window_is_too_small)
{
	struct vm_phys *phys = MAKE(0, M(16));

	ASSERT_EQ(alloc(phys,
		      (struct contig_req){PAGE, 1, 2 * PAGE - 1, 1, 0, -1}),
	    NONE);
	ASSERT_EQ(alloc(phys, (struct contig_req){PAGE, UINT64_MAX - 1,
				  UINT64_MAX, 1, 0, -1}),
	    NONE);
	ASSERT_EQ(alloc_plain(phys, UINT64_MAX - PAGE + 1), NONE);
	done(phys);
}

/* Segments. */

TEST(vm_phys_add_seg__refuses_bad_ranges_and_overlap)
{
	struct vm_phys *phys = MAKE(M(1), M(2));

	ASSERT_EQ(vm_phys_add_seg(phys, M(4), M(4), 0, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, M(5), M(4), 0, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, M(4) + 1, M(5), 0, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, M(4), M(5), VM_PHYS_DOMAINS, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, M(4), M(5), -1, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, 0, M(1) + PAGE, 0, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, M(2) - PAGE, M(3), 0, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_add_seg(phys, 0, M(3), 0, NULL),
	    KERN_INVALID_ARGUMENT);
	ASSERT_EQ(stats(phys).total, M(1));
	done(phys);
}

TEST(vm_phys_add_seg__joins_neighbours_of_one_owner_only)
{
	int a, b;
	struct vm_phys *phys = MAKE(0, 0);

	ASSERT_EQ(vm_phys_add_seg(phys, 0, M(1), 0, &a), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_add_seg(phys, M(2), M(3), 0, &a), KERN_SUCCESS);
	ASSERT_EQ(stats(phys).nsegs, UINT64_C(2));
	ASSERT_EQ(vm_phys_add_seg(phys, M(1), M(2), 0, &a), KERN_SUCCESS);
	ASSERT_EQ(stats(phys).nsegs, UINT64_C(1));
	ASSERT_EQ(stats(phys).largest_run, M(3));
	ASSERT_EQ(vm_phys_add_seg(phys, M(3), M(4), 0, &b), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_add_seg(phys, M(4), M(5), 1, &b), KERN_SUCCESS);
	ASSERT_EQ(stats(phys).nsegs, UINT64_C(3));
	ASSERT_EQ(stats(phys).largest_run, M(3));
	done(phys);
}

TEST(vm_phys_alloc_contig__never_crosses_from_one_owner_to_the_next)
{
	int a, b;
	struct vm_phys *phys = MAKE(0, 0);
	vm_paddr_t pa;

	ASSERT_EQ(vm_phys_add_seg(phys, 0, M(2), 0, &a), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_add_seg(phys, M(2), M(4), 0, &b), KERN_SUCCESS);
	ASSERT_EQ(alloc_plain(phys, M(2) + PAGE), NONE);
	ASSERT_EQ(vm_phys_take(phys, M(1), M(3)), KERN_NO_SPACE);
	pa = alloc_plain(phys, M(2));
	ASSERT_EQ(pa % M(2), UINT64_C(0));
	ASSERT_EQ(vm_phys_free_contig(phys, M(1), M(3)), KERN_INVALID_ADDRESS);
	give(phys, pa, M(2));
	/* Both are whole again, and still two. */
	ASSERT_EQ(stats(phys).nruns, UINT64_C(2));
	done(phys);
}

TEST(vm_phys_remove_seg__takes_only_free_memory_that_is_there)
{
	struct vm_phys *phys = MAKE(0, M(4));

	ASSERT_EQ(vm_phys_take(phys, M(1), M(1) + PAGE), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, 0, M(2)), KERN_FAILURE);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(3), M(5)), KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(2), M(2)), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(2), M(3)), KERN_SUCCESS);
	check(phys);
	ASSERT_EQ(stats(phys).total, M(3));
	ASSERT_EQ(stats(phys).nsegs, UINT64_C(2));
	ASSERT_EQ(vm_phys_free_contig(phys, M(2), M(2) + PAGE),
	    KERN_INVALID_ADDRESS);
	give(phys, M(1), PAGE);
	ASSERT_EQ(vm_phys_remove_seg(phys, 0, M(2)), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(3), M(4)), KERN_SUCCESS);
	ASSERT_EQ(stats(phys).total, UINT64_C(0));
	ASSERT_EQ(stats(phys).nruns, UINT64_C(0));
	done(phys);
}

TEST(vm_phys_remove_seg__may_cover_several_segments)
{
	int a, b;
	struct vm_phys *phys = MAKE(0, 0);

	ASSERT_EQ(vm_phys_add_seg(phys, 0, M(2), 0, &a), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_add_seg(phys, M(2), M(4), 1, &b), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(1), M(3)), KERN_SUCCESS);
	check(phys);
	ASSERT_EQ(stats(phys).total, M(2));
	ASSERT_EQ(stats(phys).nsegs, UINT64_C(2));
	done(phys);
}

TEST(vm_phys_segs__come_and_go_by_the_thousand)
{
	static int owners[1000];
	struct vm_phys *phys = MAKE(0, 0);
	uint64_t seed = test_seed();
	struct vm_phys_run run;
	size_t n = 0;

	for (size_t i = 0; i < nitems(owners); i++) {
		vm_paddr_t pa = (i * 617 % nitems(owners)) * M(2);

		ASSERT_EQ(vm_phys_add_seg(phys, pa, pa + M(2), 0, &owners[i]),
		    KERN_SUCCESS);
	}
	check(phys);
	for (vm_paddr_t pa = 0; vm_phys_next_seg(phys, pa, &run); pa = run.end)
		n++;
	ASSERT_EQ(n, nitems(owners));
	for (size_t i = 0; i < nitems(owners); i++) {
		if (test_random(&seed) % 2 == 0)
			ASSERT_EQ(vm_phys_remove_seg(phys, i * M(2),
				      (i + 1) * M(2)),
			    KERN_SUCCESS);
	}
	done(phys);
}

TEST(vm_phys__works_next_to_the_last_address)
{
	vm_paddr_t top = UINT64_MAX - PAGE + 1;
	struct vm_phys *phys = MAKE(top - M(1), top);
	struct vm_phys_run run;

	ASSERT_EQ(alloc_plain(phys, PAGE), top - PAGE);
	ASSERT_EQ(alloc(phys, (struct contig_req){PAGE, 0, UINT64_MAX,
				  UINT64_C(1) << 63, 0, -1}),
	    NONE);
	ASSERT_FALSE(vm_phys_next_free(phys, UINT64_MAX, &run));
	ASSERT_FALSE(vm_phys_next_seg(phys, UINT64_MAX, &run));
	give(phys, top - PAGE, PAGE);
	ASSERT_EQ(stats(phys).largest_run, M(1));
	done(phys);
}

/* Domains. */

TEST(vm_phys_alloc_contig__keeps_to_the_domain_asked_for)
{
	struct vm_phys *phys = MAKE(0, 0);
	struct contig_req req = {M(1), 0, UINT64_MAX, 1, 0, 0};

	ASSERT_EQ(vm_phys_add_seg(phys, 0, M(2), 0, NULL), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_add_seg(phys, M(2), M(4), 1, NULL), KERN_SUCCESS);
	ASSERT_LT(alloc(phys, req), M(2));
	ASSERT_LT(alloc(phys, req), M(2));
	ASSERT_EQ(alloc(phys, req), NONE);
	req.domain = 7;
	ASSERT_EQ(alloc(phys, req), NONE);
	req.domain = -1;
	ASSERT_GE(alloc(phys, req), M(2));
	req.domain = 1;
	ASSERT_GE(alloc(phys, req), M(2));
	ASSERT_EQ(alloc(phys, req), NONE);
	done(phys);
}

/* Placement. */

TEST(vm_phys_alloc_contig__spends_low_memory_last)
{
	struct vm_phys *phys = MAKE(0, G(1));
	vm_paddr_t pa = UINT64_MAX;

	for (vm_size_t left = G(1); left > 0; left -= M(16)) {
		pa = alloc_plain(phys, M(16));
		ASSERT_GE(pa, left - M(16));
	}
	ASSERT_EQ(pa, UINT64_C(0));
	done(phys);
}

TEST(vm_phys_alloc_contig__spares_memory_below_4_gib_where_much_lies_above)
{
	struct vm_phys *phys = MAKE(0, G(80));

	/* Of what is left, the hole that fits lies below. */
	ASSERT_EQ(vm_phys_take(phys, M(64), M(65)), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_take(phys, M(66), G(4)), KERN_SUCCESS);
	ASSERT_EQ(alloc_plain(phys, M(1)), G(80) - M(1));
	ASSERT_EQ(vm_phys_take(phys, G(4), G(80) - M(1)), KERN_SUCCESS);
	ASSERT_EQ(alloc_plain(phys, M(1)), M(65));
	ASSERT_EQ(alloc_plain(phys, M(1)), M(63));
	done(phys);
}

/* Holes of 24 and 40 MiB: the highest, or the one that fits best. */
TEST(vm_phys_alloc_contig__takes_the_highest_run_for_very_long_requests)
{
	struct vm_phys *phys = MAKE_HOLES(G(1), G(2), G(1) + M(100),
	    G(1) + M(124), G(1) + M(300), G(1) + M(340));

	ASSERT_EQ(alloc_plain(phys, M(24)), G(1) + M(316));
	ASSERT_EQ(alloc_plain(phys, M(24) - PAGE), G(1) + M(100) + PAGE);
	done(phys);
}

/* Taken but for three runs of one class: the shortest is in the middle. */
static struct vm_phys *
make_three(vm_size_t low, vm_size_t middle, vm_size_t high)
{
	return MAKE_HOLES(G(1), G(2), G(1) + M(100), G(1) + M(100) + low,
	    G(1) + M(200), G(1) + M(200) + middle, G(1) + M(300),
	    G(1) + M(300) + high);
}

TEST(vm_phys_alloc_contig__takes_the_shortest_of_a_class_from_1_mib_on)
{
	struct vm_phys *phys = make_three(270 * PAGE, 258 * PAGE, 280 * PAGE);

	ASSERT_EQ(alloc_plain(phys, 256 * PAGE), G(1) + M(200) + 2 * PAGE);
	ASSERT_EQ(alloc_plain(phys, 256 * PAGE), G(1) + M(100) + 14 * PAGE);
	ASSERT_EQ(alloc_plain(phys, 256 * PAGE), G(1) + M(300) + 24 * PAGE);
	done(phys);
	phys = make_three(270 * PAGE, 258 * PAGE, 280 * PAGE);
	ASSERT_EQ(alloc_plain(phys, 255 * PAGE), G(1) + M(300) + 25 * PAGE);
	done(phys);
}

TEST(vm_phys_alloc_contig__takes_the_highest_of_a_class_from_12_mib_on)
{
	struct vm_phys *phys =
	    make_three(M(12) + 9 * PAGE, M(12), M(12) + 8 * PAGE);

	ASSERT_EQ(alloc_plain(phys, M(12) - PAGE), G(1) + M(200) + PAGE);
	done(phys);
	phys = make_three(M(12) + 9 * PAGE, M(12), M(12) + 8 * PAGE);
	ASSERT_EQ(alloc_plain(phys, M(12)), G(1) + M(300) + 8 * PAGE);
	done(phys);
}

/* Nothing of 64 MiB is free, or something is. */
TEST(vm_phys_alloc_contig__fills_small_holes_with_what_is_aligned_when_scarce)
{
	struct contig_req req = {M(1), 0, UINT64_MAX, M(1), 0, -1};
	struct vm_phys *phys = make_three(M(64) - PAGE, M(1), M(2));

	ASSERT_EQ(alloc(phys, req), G(1) + M(200));
	done(phys);
	phys = make_three(M(64), M(1), M(2));
	ASSERT_EQ(alloc(phys, req), G(1) + M(301));
	done(phys);
	/* Half a MiB does without in any case. */
	req.size = req.alignment = M(1) / 2;
	phys = make_three(M(63), M(1) / 2, M(2));
	ASSERT_EQ(alloc(phys, req), G(1) + M(302) - M(1) / 2);
	done(phys);
}

TEST(vm_phys_alloc_contig__finds_whole_frames_the_smallest_hole)
{
	/* Of 8, 4, 6 and 2 MiB, from low to high. */
	struct vm_phys *phys = MAKE_HOLES(G(1), G(2), G(1) + M(100),
	    G(1) + M(108), G(1) + M(200), G(1) + M(204), G(1) + M(300),
	    G(1) + M(306), G(1) + M(400), G(1) + M(402));
	struct contig_req req = {M(4), 0, UINT64_MAX, M(2), 0, -1};

	ASSERT_EQ(alloc(phys, req), G(1) + M(200));
	ASSERT_EQ(alloc(phys, req), G(1) + M(302));
	req.size = M(2);
	ASSERT_EQ(alloc(phys, req), G(1) + M(400));
	ASSERT_EQ(alloc(phys, req), G(1) + M(300));
	ASSERT_EQ(alloc(phys, req), G(1) + M(106));
	done(phys);
}

/* Of 18, 17 and 19 frames, which are one class of lengths, the shortest. */
TEST(vm_phys_alloc_contig__finds_whole_frames_the_shortest_run_of_a_class)
{
	struct vm_phys *phys = make_three(M(36), M(34), M(38));
	struct contig_req req = {M(32), 0, UINT64_MAX, M(2), 0, -1};

	ASSERT_EQ(alloc(phys, req), G(1) + M(202));
	ASSERT_EQ(alloc(phys, req), G(1) + M(104));
	ASSERT_EQ(alloc(phys, req), G(1) + M(306));
	/* Of two that are equally long the higher. */
	req.size = M(2);
	ASSERT_EQ(alloc(phys, req), G(1) + M(200));
	ASSERT_EQ(alloc(phys, req), G(1) + M(102));
	done(phys);
}

TEST(vm_phys_alloc_contig__fills_the_smallest_hole_that_fits)
{
	/* Of 8, 2 and 4 pages, from low to high, and none below. */
	struct vm_phys *phys = MAKE_HOLES(M(16), M(32), M(17), M(17) + 8 * PAGE,
	    M(18), M(18) + 2 * PAGE, M(19), M(19) + 4 * PAGE);

	ASSERT_EQ(alloc_plain(phys, 2 * PAGE), M(18));
	ASSERT_EQ(alloc_plain(phys, 4 * PAGE), M(19));
	ASSERT_EQ(alloc_plain(phys, 2 * PAGE), M(17) + 6 * PAGE);
	done(phys);
}

TEST(vm_phys_alloc_contig__depends_on_what_is_free_and_not_on_how_it_came)
{
	struct vm_phys *a = MAKE(0, M(64)), *b = MAKE(0, M(64));
	uint64_t seed = test_seed();
	static vm_paddr_t got[512];

	/* b: everything taken, then given back in another order. */
	for (unsigned i = 0; i < nitems(got); i++)
		got[i] = alloc_plain(b, M(64) / nitems(got));
	for (unsigned i = 0; i < nitems(got); i++)
		give(b, got[i * 211 % nitems(got)], M(64) / nitems(got));
	for (unsigned i = 0; i < nitems(got); i++) {
		vm_size_t size = (1 + test_random(&seed) % 40) * PAGE;

		got[i] = alloc_plain(a, size);
		ASSERT_EQ(alloc_plain(b, size), got[i]);
		if (got[i] != NONE && i % 3 == 0) {
			give(a, got[i], size);
			give(b, got[i], size);
		}
	}
	vm_phys_destroy(b);
	done(a);
}

TEST(vm_phys_find_contig__says_where_without_taking_it)
{
	struct vm_phys *phys = MAKE(0, M(16));
	struct contig_req req = {K(64), 0, M(8), K(64), 0, -1};
	vm_paddr_t pa = NONE;

	ASSERT_EQ(vm_phys_find_contig(phys, &req, &pa), KERN_SUCCESS);
	ASSERT_EQ(stats(phys).free, M(16));
	ASSERT_EQ(alloc(phys, req), pa);
	done(phys);
}

TEST(vm_phys_free_contig__refuses_what_is_free_or_elsewhere)
{
	struct vm_phys *phys = MAKE(M(1), M(2));

	ASSERT_EQ(vm_phys_take(phys, M(1), M(1) + K(64)), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_free_contig(phys, M(1), M(1) + K(64) + PAGE),
	    KERN_FAILURE);
	ASSERT_EQ(vm_phys_free_contig(phys, 0, PAGE), KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_phys_free_contig(phys, M(1), M(3)), KERN_INVALID_ADDRESS);
	ASSERT_EQ(vm_phys_free_contig(phys, M(1), M(1)), KERN_INVALID_ARGUMENT);
	ASSERT_EQ(vm_phys_free_contig(phys, M(1) + 1, M(1) + PAGE),
	    KERN_INVALID_ARGUMENT);
	give(phys, M(1), K(64));
	ASSERT_EQ(vm_phys_free_contig(phys, M(1), M(1) + K(64)), KERN_FAILURE);
	done(phys);
}

/* Lengths and summaries. */

TEST(rt_class__grows_with_the_length_and_is_exact_up_to_seven)
{
	unsigned last = 0;

	for (uint64_t n = 1; n < UINT64_C(1) << 20; n++) {
		unsigned c = rt_class(n);

		ASSERT_GE(c, last);
		ASSERT_LE(c, last + 1);
		ASSERT_LT(c, (unsigned)RT_NCLASS);
		if (n <= 8)
			ASSERT_EQ(c, (unsigned)n - 1);
		last = c;
	}
	ASSERT_EQ(rt_class(UINT64_MAX >> 12), RT_NCLASS - 1u);
}

/* What the machine does in an instruction is what the plain code says. */
TEST(lanes_mask__has_a_bit_for_each_lane)
{
	uint64_t seed = test_seed();

	for (unsigned n = 0; n < 2000; n++) {
		unsigned want = (unsigned)(test_random(&seed) & 0xffff);
		rt_lanes low, high;
		rt_bytes bytes;

		for (unsigned i = 0; i < 8; i++) {
			low[i] = (int16_t) - (int)(want >> i & 1);
			high[i] = (int16_t) - (int)(want >> (8 + i) & 1);
		}
		for (unsigned i = 0; i < 16; i++)
			bytes[i] = (int8_t) - (int)(want >> i & 1);
		ASSERT_EQ(lanes_mask_plain(low, high), want);
		ASSERT_EQ(lanes_mask(low, high), want);
		ASSERT_EQ(bytes_mask_plain(bytes), want);
		ASSERT_EQ(bytes_mask(bytes), want);
	}
}

TEST(vm_phys__handles_runs_longer_than_the_measure)
{
	/* 2^33 pages: max[] is clamped to 2^32 - 1. */
	vm_size_t size = UINT64_C(1) << 45;
	struct vm_phys *phys = MAKE(size, 2 * size, 3 * size, 5 * size);

	ASSERT_EQ(stats(phys).largest_run, 2 * size);
	ASSERT_EQ(alloc_plain(phys, 2 * size), 3 * size);
	ASSERT_EQ(alloc_plain(phys, size + PAGE), NONE);
	ASSERT_EQ(alloc_plain(phys, size), size);
	done(phys);
}

TEST(vm_phys_check__tells_a_broken_summary)
{
	struct vm_phys *phys = MAKE(0, M(16));
	struct rt *rt = &phys->domains[0]->rt[phys_zone(M(16) - 1)];

	/* What is known may be too much, but never too little. */
	rt->sum.max[0][1]--;
	ASSERT_HAS(vm_phys_check(phys), "[phys.sum]");
	rt->sum.max[0][1]++;
	rt->sum.classes ^= 1;
	ASSERT_HAS(vm_phys_check(phys), "[phys.sum]");
	rt->sum.classes ^= 1;
	phys->free += PAGE;
	ASSERT_HAS(vm_phys_check(phys), "[phys.count]");
	phys->free -= PAGE;
	phys->ntaken = 1000000;
	ASSERT_HAS(vm_phys_check(phys), "[phys.reserve]");
	phys->ntaken = 0;
	((struct rt_leaf *)rt->root)->end[0] += PAGE;
	ASSERT_NOT_NULL(vm_phys_check(phys));
	((struct rt_leaf *)rt->root)->end[0] -= PAGE;
	done(phys);
}

/* Memory. */

static struct vm_phys_stats
sweep_stats(struct vm_phys *phys)
{
	check(phys);
	return stats(phys);
}

TEST(vm_phys_create__leaves_no_trace_when_memory_runs_out)
{
	struct vm_phys *phys = NULL;

	arch = sim_create(NULL);
	for (unsigned nth = 1; phys == NULL; nth++) {
		ASSERT_LT(nth, 10u);
		sim_fail_nth(arch, nth);
		phys = vm_phys_create(arch, PAGE);
		sim_fail_never(arch);
		ASSERT_TRUE(phys != NULL || sim_live(arch) == 0);
	}
	done(phys);
}

TEST(vm_phys__leaves_no_trace_when_memory_runs_out)
{
	struct contig_req req = {PAGE, 0, UINT64_MAX, 2 * PAGE, 0, -1};
	struct vm_phys *phys = MAKE(0, 0);
	vm_paddr_t pa = NONE;
	int rv = KERN_FAILURE;

	for (unsigned nth = 1; rv != KERN_SUCCESS; nth++) {
		sim_fail_nth(arch, nth);
		rv = vm_phys_add_seg(phys, 0, M(16), 3, NULL);
		sim_fail_never(arch);
		ASSERT_TRUE(
		    rv == KERN_SUCCESS || (rv == KERN_RESOURCE_SHORTAGE &&
					      sweep_stats(phys).total == 0));
	}
	rv = KERN_FAILURE;
	for (unsigned nth = 1; rv != KERN_SUCCESS; nth++) {
		sim_fail_nth(arch, nth);
		rv = vm_phys_alloc_contig(phys, &req, &pa);
		sim_fail_never(arch);
		ASSERT_TRUE(rv == KERN_SUCCESS ||
			    (rv == KERN_RESOURCE_SHORTAGE && pa == NONE &&
				sweep_stats(phys).free == M(16)));
		ASSERT_TRUE(nth > 1 || rv != KERN_SUCCESS);
	}
	rv = KERN_FAILURE;
	for (unsigned nth = 1; rv != KERN_SUCCESS; nth++) {
		sim_fail_nth(arch, nth);
		rv = vm_phys_take(phys, M(1), M(2));
		sim_fail_never(arch);
		ASSERT_TRUE(rv == KERN_SUCCESS ||
			    (rv == KERN_RESOURCE_SHORTAGE &&
				sweep_stats(phys).free == M(16) - PAGE));
	}
	rv = KERN_FAILURE;
	for (unsigned nth = 1; rv != KERN_SUCCESS; nth++) {
		sim_fail_nth(arch, nth);
		rv = vm_phys_remove_seg(phys, M(3), M(4));
		sim_fail_never(arch);
		ASSERT_TRUE(rv == KERN_SUCCESS ||
			    (rv == KERN_RESOURCE_SHORTAGE &&
				sweep_stats(phys).total == M(16)));
	}
	done(phys);
}

TEST(vm_phys_remove_seg__needs_no_memory_but_in_the_middle)
{
	struct vm_phys *phys = MAKE(0, M(16), M(32), M(48));

	sim_fail_from(arch, 1);
	sim_limit_bytes(arch, 1);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(4), M(8)), KERN_RESOURCE_SHORTAGE);
	check(phys);
	ASSERT_EQ(stats(phys).total, M(32));
	ASSERT_EQ(vm_phys_remove_seg(phys, 0, M(4)), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(12), M(16)), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(4), M(12)), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_remove_seg(phys, M(32), M(48)), KERN_SUCCESS);
	sim_fail_never(arch);
	sim_limit_bytes(arch, 0);
	ASSERT_EQ(stats(phys).total, UINT64_C(0));
	done(phys);
}

/* Every page taken on its own, then given back in the worst order. */
TEST(vm_phys_free_contig__never_needs_memory_for_what_was_taken_whole)
{
	struct vm_phys *phys = MAKE(0, M(32));
	vm_size_t npages = M(32) / PAGE;

	for (vm_size_t i = 0; i < npages; i++) {
		vm_paddr_t pa = NONE;
		struct contig_req req = {PAGE, 0, UINT64_MAX, 1, 0, -1};

		ASSERT_EQ(vm_phys_alloc_contig(phys, &req, &pa), KERN_SUCCESS);
	}
	ASSERT_EQ(stats(phys).free, UINT64_C(0));
	sim_fail_from(arch, 1);
	sim_limit_bytes(arch, 1);
	for (vm_size_t i = 0; i < npages; i += 2)
		ASSERT_EQ(vm_phys_free_contig(phys, i * PAGE, (i + 1) * PAGE),
		    KERN_SUCCESS);
	check(phys);
	ASSERT_EQ(stats(phys).nruns, npages / 2);
	for (vm_size_t i = 1; i < npages; i += 2)
		ASSERT_EQ(vm_phys_free_contig(phys, i * PAGE, (i + 1) * PAGE),
		    KERN_SUCCESS);
	sim_fail_never(arch);
	sim_limit_bytes(arch, 0);
	ASSERT_EQ(stats(phys).nruns, UINT64_C(1));
	done(phys);
}

/*
 * Single pages, so many that trees have inner nodes below inner nodes; fewer
 * where each edit ends with a check of all.
 */
#define TALL_BASE  G(1) /* all in one zone */
#define TALL_PAGES (VM_INVARIANTS > 1 ? UINT64_C(8192) : UINT64_C(65536))

struct tall {
	struct vm_phys *phys;
	uint64_t seed;
	bool taken[65536];
	vm_size_t ntaken;
};

/* Take the page if it is free, or else give it back. */
static void
tall_flip(struct tall *t, vm_size_t page)
{
	vm_paddr_t pa = TALL_BASE + page * PAGE;

	ASSERT_EQ(t->taken[page] ? vm_phys_free_contig(t->phys, pa, pa + PAGE)
				 : vm_phys_take(t->phys, pa, pa + PAGE),
	    KERN_SUCCESS);
	t->taken[page] = !t->taken[page];
	t->ntaken += t->taken[page] ? 1 : UINT64_MAX;
	ASSERT_EQ(stats(t->phys).free, (TALL_PAGES - t->ntaken) * PAGE);
}

/* Is there a free page in a narrow window?  As the array has it. */
static void
tall_find(struct tall *t)
{
	vm_size_t first = test_random(&t->seed) % (TALL_PAGES - 3), i;
	vm_paddr_t low = TALL_BASE + first * PAGE;
	struct contig_req req = {PAGE, low, low + 3 * PAGE, 1, 0, -1};
	vm_paddr_t pa = NONE;
	int rv = vm_phys_find_contig(t->phys, &req, &pa);

	for (i = first + 3; i > first && t->taken[i - 1]; i--)
		;
	ASSERT_EQ(rv, i > first ? KERN_SUCCESS : KERN_NO_SPACE);
	if (rv == KERN_SUCCESS)
		ASSERT_FALSE(t->taken[(pa - TALL_BASE) / PAGE]);
}

TEST(vm_phys__keeps_tall_trees_through_random_edits)
{
	static struct tall t;

	t = (struct tall){.phys =
			      MAKE(TALL_BASE, TALL_BASE + TALL_PAGES * PAGE),
	    .seed = test_seed()};
	for (uint64_t i = 0; i < TALL_PAGES; i++) {
		tall_flip(&t, test_random(&t.seed) % TALL_PAGES);
		tall_find(&t);
		if (i % 8192 == 0)
			check(t.phys);
	}
	ASSERT_GE(t.phys->domains[0]->rt[1].height, 3u);
	for (vm_size_t i = 0; i < TALL_PAGES; i++) {
		/* Odd multipliers visit each page once. */
		vm_size_t page = i * 40503 % TALL_PAGES;

		if (t.taken[page])
			tall_flip(&t, page);
		if (i % 8192 == 0)
			check(t.phys);
	}
	ASSERT_EQ(stats(t.phys).nruns, UINT64_C(1));
	done(t.phys);
}

/* Piece by piece, as far as memory goes; then the rest, whole again. */
static vm_paddr_t
give_every_other(struct vm_phys *phys, vm_paddr_t pa, vm_paddr_t end)
{
	int rv = KERN_SUCCESS;

	for (; pa < end && rv == KERN_SUCCESS; pa += 2 * PAGE)
		rv = vm_phys_free_part(phys, pa, pa + PAGE);
	ASSERT_TRUE(rv == KERN_SUCCESS || rv == KERN_RESOURCE_SHORTAGE);
	return rv == KERN_SUCCESS ? end : pa - 2 * PAGE;
}

TEST(vm_phys_free_part__may_refuse_further_pieces_without_memory)
{
	struct vm_phys *phys = MAKE(0, M(16));
	vm_paddr_t upto;

	ASSERT_EQ(vm_phys_take(phys, 0, M(16)), KERN_SUCCESS);
	sim_fail_from(arch, 1);
	sim_limit_bytes(arch, 1);
	upto = give_every_other(phys, PAGE, M(16));
	ASSERT_LT(upto, M(16));
	check(phys);
	/* What could not come back as a piece comes back whole. */
	ASSERT_EQ(vm_phys_free_contig(phys, upto - PAGE, M(16)), KERN_SUCCESS);
	check(phys);
	sim_fail_never(arch);
	sim_limit_bytes(arch, 0);
	done(phys);
}

/* fuzz/regressions/fuzz_contig/give-in-pieces.hfp, and to the bitter end. */
TEST(vm_phys_free_part__leaves_the_reserve_of_others_alone)
{
	struct vm_phys *phys = MAKE(0, M(16));
	vm_paddr_t upto;

	/* Others' single pages in the upper half. */
	for (vm_paddr_t pa = M(8); pa < M(16); pa += PAGE)
		ASSERT_EQ(vm_phys_take(phys, pa, pa + PAGE), KERN_SUCCESS);
	ASSERT_EQ(vm_phys_take(phys, 0, M(8)), KERN_SUCCESS);
	sim_fail_from(arch, 1);
	sim_limit_bytes(arch, 1);
	upto = give_every_other(phys, PAGE, M(8));
	for (vm_paddr_t pa = M(8) + PAGE; pa < M(16); pa += 2 * PAGE)
		ASSERT_EQ(vm_phys_free_contig(phys, pa, pa + PAGE),
		    KERN_SUCCESS);
	check(phys);
	for (vm_paddr_t pa = 0; pa < upto; pa += 2 * PAGE)
		if (pa + PAGE < upto)
			ASSERT_EQ(vm_phys_free_contig(phys, pa, pa + PAGE),
			    KERN_SUCCESS);
	check(phys);
	sim_fail_never(arch);
	sim_limit_bytes(arch, 0);
	done(phys);
}

/* Several takings side by side come back in one call. */
TEST(vm_phys_free_contig__takes_neighbours_together)
{
	struct vm_phys *phys = MAKE(0, M(16));

	for (vm_paddr_t pa = 0; pa < M(16); pa += M(1))
		ASSERT_EQ(vm_phys_take(phys, pa, pa + M(1)), KERN_SUCCESS);
	sim_fail_from(arch, 1);
	sim_limit_bytes(arch, 1);
	ASSERT_EQ(vm_phys_free_contig(phys, M(3), M(9)), KERN_SUCCESS);
	check(phys);
	for (vm_paddr_t pa = 0; pa < M(16); pa += M(1))
		if (pa < M(3) || pa >= M(9))
			ASSERT_EQ(vm_phys_free_contig(phys, pa, pa + M(1)),
			    KERN_SUCCESS);
	check(phys);
	sim_fail_never(arch);
	sim_limit_bytes(arch, 0);
	ASSERT_EQ(stats(phys).nruns, UINT64_C(1));
	done(phys);
}
