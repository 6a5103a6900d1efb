/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc(9) over vm_phys: addresses, statistics, what is asserted.
 */

#include "arch/sim/sim.h"
#include "core/vm_contig.h"
#include "core/vm_param.h"
#include "tests/panics.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)
#define M(n) (UINT64_C(n) << 20)

struct bed {
	struct arch *arch;
	struct vm_phys *phys;
	struct malloc_type type;
};

static void
bed_make(struct bed *bed, vm_paddr_t start, vm_paddr_t end)
{
	bed->arch = sim_create(NULL);
	bed->phys = vm_phys_create(bed->arch, PAGE);
	ASSERT_EQ(vm_phys_add_seg(bed->phys, start, end, 0, NULL),
	    KERN_SUCCESS);
	malloc_init(&bed->type, "devbuf", bed->phys, bed->arch);
}

static void
bed_free(struct bed *bed)
{
	ASSERT_NULL(vm_phys_check(bed->phys));
	vm_phys_destroy(bed->phys);
	ASSERT_EQ(sim_live(bed->arch), (size_t)0);
	sim_destroy(bed->arch);
}

TEST(contigmalloc__gives_an_address_in_the_direct_map)
{
	struct bed bed;
	void *addr;
	vm_paddr_t pa;

	bed_make(&bed, 0, M(16));
	addr = contigmalloc(8192, &bed.type, M_ZERO, 0, 1 << 22, 32 << 10,
	    1 << 20);
	ASSERT_NOT_NULL(addr);
	pa = vm_dmap_to_phys(bed.arch, addr);
	ASSERT_LE(pa + 8192, UINT64_C(1) << 22);
	ASSERT_EQ(pa % (32 << 10), UINT64_C(0));
	ASSERT_TRUE(vm_phys_to_dmap(bed.arch, pa) == addr);
	ASSERT_EQ((vm_offset_t)addr - pa, bed.arch->machine->dmap_min);
	contigfree(addr, 8192, &bed.type);
	bed_free(&bed);
}

/* Address 0 is memory like any other, and its name is not NULL. */
TEST(contigmalloc__tells_physical_address_0_from_failure)
{
	struct bed bed;
	void *addr;

	bed_make(&bed, 0, PAGE);
	addr = contigmalloc(PAGE, &bed.type, M_NOWAIT, 0, PAGE, PAGE, 0);
	ASSERT_NOT_NULL(addr);
	ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), UINT64_C(0));
	ASSERT_NULL(
	    contigmalloc(PAGE, &bed.type, M_NOWAIT, 0, UINT64_MAX, 1, 0));
	contigfree(addr, PAGE, &bed.type);
	bed_free(&bed);
}

TEST(contigmalloc__counts_whole_pages) /* L13 */
{
	struct bed bed;
	void *addr, *more;

	bed_make(&bed, 0, M(1));
	addr = contigmalloc(100, &bed.type, 0, 0, UINT64_MAX, 1, 0);
	ASSERT_EQ(bed.type.ks_stats.mts_numallocs, UINT64_C(1));
	ASSERT_EQ(bed.type.ks_stats.mts_memalloced, PAGE);
	more = contigmalloc(PAGE + 1, &bed.type, 0, 0, UINT64_MAX, 1, 0);
	ASSERT_EQ(bed.type.ks_stats.mts_memalloced, 3 * PAGE);
	contigfree(addr, 100, &bed.type);
	ASSERT_EQ(bed.type.ks_stats.mts_numfrees, UINT64_C(1));
	ASSERT_EQ(bed.type.ks_stats.mts_memfreed, PAGE);
	contigfree(more, PAGE + 1, &bed.type);
	ASSERT_EQ(bed.type.ks_stats.mts_memfreed, 3 * PAGE);
	ASSERT_EQ(bed.type.ks_stats.mts_highwater, 3 * PAGE);
	ASSERT_EQ(bed.type.ks_stats.mts_failures, UINT64_C(0));
	bed_free(&bed);
}

TEST(contigmalloc__counts_only_the_failure_when_it_fails)
{
	struct bed bed;

	bed_make(&bed, 0, M(1));
	ASSERT_NULL(
	    contigmalloc(M(2), &bed.type, M_WAITOK, 0, UINT64_MAX, 1, 0));
	/* What is never satisfiable is NULL, not a panic: L06, L12. */
	ASSERT_NULL(
	    contigmalloc(2 * PAGE, &bed.type, 0, 0, UINT64_MAX, 1, PAGE));
	ASSERT_NULL(contigmalloc(PAGE, &bed.type, 0, M(1), M(1), 1, 0));
	ASSERT_EQ(bed.type.ks_stats.mts_failures, UINT64_C(3));
	ASSERT_EQ(bed.type.ks_stats.mts_numallocs, UINT64_C(0));
	ASSERT_EQ(bed.type.ks_stats.mts_memalloced, UINT64_C(0));
	bed_free(&bed);
}

/* X1: 100 bytes are a page, and that page has to satisfy everything. */
TEST(contigmalloc__holds_whole_pages_against_high_and_boundary)
{
	struct bed bed;
	void *addr;

	bed_make(&bed, 0, M(1));
	ASSERT_NULL(contigmalloc(100, &bed.type, 0, 0, PAGE - 1, 1, 0));
	ASSERT_NULL(contigmalloc(100, &bed.type, 0, 0, UINT64_MAX, 1, 2048));
	ASSERT_NULL(
	    contigmalloc(PAGE + 1, &bed.type, 0, 0, UINT64_MAX, 1, PAGE));
	/* Low is inclusive, high the exclusive end: X2. */
	addr = contigmalloc(100, &bed.type, 0, PAGE, 2 * PAGE, 1, PAGE);
	ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), PAGE);
	contigfree(addr, 100, &bed.type);
	bed_free(&bed);
}

/* X3: below a page nothing is asked for; 0 is no alignment. */
TEST(contigmalloc__takes_alignments_below_a_page_and_refuses_0)
{
	struct bed bed;
	void *addr;

	bed_make(&bed, 0, M(1));
	for (vm_paddr_t align = 1; align <= PAGE; align *= 2) {
		addr =
		    contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, align, 0);
		ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), M(1) - PAGE);
		contigfree(addr, PAGE, &bed.type);
	}
	ASSERT_NULL(contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, 0, 0));
	bed_free(&bed);
}

/* Rounding, or an end, that wraps is no run. */
TEST(contigmalloc__does_not_wrap)
{
	struct bed bed;

	bed_make(&bed, 0, M(1));
	ASSERT_NULL(
	    contigmalloc(UINT64_MAX, &bed.type, 0, 0, UINT64_MAX, 1, 0));
	ASSERT_NULL(contigmalloc(UINT64_MAX - PAGE + 1, &bed.type, 0, 0,
	    UINT64_MAX, 1, 0));
	ASSERT_NULL(contigmalloc(PAGE, &bed.type, 0, UINT64_MAX - PAGE,
	    UINT64_MAX, 1, 0));
	bed_free(&bed);
}

/* 4.3: M_NODUMP, M_USE_RESERVE, M_ZERO, M_FIRSTFIT, M_BESTFIT, M_EXEC and
 * M_NEXTFIT, by FreeBSD's numbers: the place is the same. */
TEST(contigmalloc__takes_flags_that_change_nothing)
{
	static const int flags[] = {M_NODUMP, M_NOWAIT | M_USE_RESERVE, M_ZERO,
	    0x1000, 0x2000, 0x4000, 0x8000, M_WAITOK, M_NOWAIT};
	struct bed bed;

	bed_make(&bed, 0, M(1));
	for (size_t i = 0; i < nitems(flags); i++) {
		void *addr = contigmalloc(PAGE, &bed.type, flags[i], 0,
		    UINT64_MAX, 1, 0);

		ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), M(1) - PAGE);
		contigfree(addr, PAGE, &bed.type);
	}
	bed_free(&bed);
}

TEST(contigmalloc__leaves_no_trace_when_memory_runs_out)
{
	struct bed bed;
	void *addr = NULL;

	bed_make(&bed, 0, M(1));
	for (unsigned nth = 1; addr == NULL; nth++) {
		struct vm_phys_stats stats;

		sim_fail_nth(bed.arch, nth);
		addr = contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, 1, 0);
		sim_fail_never(bed.arch);
		vm_phys_stats(bed.phys, &stats);
		ASSERT_EQ(stats.free, addr != NULL ? M(1) - PAGE : M(1));
	}
	ASSERT_GE(bed.type.ks_stats.mts_failures, UINT64_C(1));
	contigfree(addr, PAGE, &bed.type);
	bed_free(&bed);
}

TEST(contigmalloc_domain__keeps_to_its_domain)
{
	struct bed bed;
	void *addr;

	bed_make(&bed, 0, M(1));
	ASSERT_EQ(vm_phys_add_seg(bed.phys, M(4), M(5), 2, NULL), KERN_SUCCESS);
	ASSERT_NULL(
	    contigmalloc_domain(PAGE, &bed.type, 1, 0, 0, UINT64_MAX, 1, 0));
	addr = contigmalloc_domain(M(1), &bed.type, 0, 0, 0, UINT64_MAX, 1, 0);
	ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), UINT64_C(0));
	contigfree(addr, M(1), &bed.type);
	addr = contigmalloc_domain(M(1), &bed.type, 2, 0, 0, UINT64_MAX, 1, 0);
	ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), M(4));
	contigfree(addr, M(1), &bed.type);
	bed_free(&bed);
}

/* The domain that an allocation of `size` comes from; -1: none does. */
static int
domain_of(struct bed *bed, struct domainset *ds, vm_size_t size)
{
	void *addr = contigmalloc_domainset(size, &bed->type, ds, 0, 0,
	    UINT64_MAX, 1, 0);

	/* bed_make_numa() puts domain d at [64 d, 64 d + 48) MiB. */
	return addr != NULL ? (int)(vm_dmap_to_phys(bed->arch, addr) / M(64))
			    : -1;
}

static void
bed_make_numa(struct bed *bed)
{
	bed_make(bed, 0, M(48));
	for (int d = 1; d < 3; d++)
		ASSERT_EQ(vm_phys_add_seg(bed->phys, (vm_paddr_t)d * M(64),
			      (vm_paddr_t)d * M(64) + M(48), d, NULL),
		    KERN_SUCCESS);
}

TEST(contigmalloc_domainset__takes_turns)
{
	struct bed bed;
	struct domainset ds = {.ds_mask = 5};

	bed_make_numa(&bed);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 0);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 2);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 0);
	ds.ds_mask = 2;
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 1);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 1);
	bed_free(&bed);
}

TEST(contigmalloc_domainset__prefers_one_and_falls_back_to_the_others)
{
	struct bed bed;
	struct domainset ds = {.ds_mask = 7,
	    .ds_policy = DOMAINSET_POLICY_PREFER,
	    .ds_prefer = 1};

	bed_make_numa(&bed);
	ASSERT_EQ(domain_of(&bed, &ds, M(20)), 1);
	ASSERT_EQ(domain_of(&bed, &ds, M(20)), 1);
	ASSERT_EQ(domain_of(&bed, &ds, M(20)), 2);
	ASSERT_EQ(domain_of(&bed, &ds, M(48)), 0);
	ASSERT_EQ(domain_of(&bed, &ds, M(48)), -1);
	ASSERT_EQ(bed.type.ks_stats.mts_failures, UINT64_C(1));
	ASSERT_EQ(bed.type.ks_stats.mts_numallocs, UINT64_C(4));
	bed_free(&bed);
}

TEST(contigmalloc_domainset__takes_turns_where_no_domain_has_that_number)
{
	struct bed bed;
	struct domainset ds = {.ds_mask = 7,
	    .ds_policy = DOMAINSET_POLICY_PREFER,
	    .ds_prefer = VM_PHYS_DOMAINS};

	bed_make_numa(&bed);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 0);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 1);
	ds.ds_prefer = -1;
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), 2);
	bed_free(&bed);
}

TEST(contigmalloc_domainset__interleaves_by_16_mib)
{
	struct bed bed;
	struct domainset ds = {.ds_mask = 3,
	    .ds_policy = DOMAINSET_POLICY_INTERLEAVE};

	bed_make_numa(&bed);
	ASSERT_EQ(domain_of(&bed, &ds, M(8)), 0);
	ASSERT_EQ(domain_of(&bed, &ds, M(8)), 0);
	ASSERT_EQ(domain_of(&bed, &ds, M(12)), 1);
	ASSERT_EQ(domain_of(&bed, &ds, M(12)), 1);
	ASSERT_EQ(domain_of(&bed, &ds, M(8)), 0);
	bed_free(&bed);
}

/* 4.5: they are skipped, whatever the policy says of the order. */
TEST(contigmalloc_domainset__skips_domains_without_memory_in_the_window)
{
	static const int policies[] = {DOMAINSET_POLICY_ROUNDROBIN,
	    DOMAINSET_POLICY_FIRSTTOUCH, DOMAINSET_POLICY_PREFER,
	    DOMAINSET_POLICY_INTERLEAVE};
	struct bed bed;

	bed_make_numa(&bed);
	for (size_t i = 0; i < nitems(policies); i++) {
		struct domainset ds = {.ds_mask = 0xff,
		    .ds_policy = policies[i],
		    .ds_prefer = 1,
		    .ds_cursor = 5};
		void *addr = contigmalloc_domainset(PAGE, &bed.type, &ds, 0,
		    M(128), M(128) + PAGE, 1, 0);

		ASSERT_EQ(vm_dmap_to_phys(bed.arch, addr), M(128));
		contigfree(addr, PAGE, &bed.type);
		ASSERT_NULL(contigmalloc_domainset(PAGE, &bed.type, &ds, 0,
		    M(48), M(64), 1, 0));
	}
	bed_free(&bed);
}

/* Preferred is one that is not in the mask: the others in turn. */
TEST(contigmalloc_domainset__keeps_to_its_mask)
{
	struct bed bed;
	struct domainset ds = {.ds_mask = 5,
	    .ds_policy = DOMAINSET_POLICY_PREFER,
	    .ds_prefer = 1};

	bed_make_numa(&bed);
	ASSERT_EQ(domainset_nth(&ds, 0), -1);
	ASSERT_EQ(domainset_nth(&ds, 1), 2);
	ASSERT_EQ(domainset_nth(&ds, 7), 0);
	ASSERT_EQ(domain_of(&bed, &ds, M(48)), 2);
	ASSERT_EQ(domain_of(&bed, &ds, M(48)), 0);
	ASSERT_EQ(domain_of(&bed, &ds, PAGE), -1);
	bed_free(&bed);
}

TEST(contigmalloc__does_not_hand_out_what_the_direct_map_cannot_name)
{
	struct bed bed;
	vm_size_t dmap = UINT64_C(4) << 40; /* x86_64 */

	bed_make(&bed, dmap - PAGE, dmap + M(1));
	ASSERT_NULL(contigmalloc(2 * PAGE, &bed.type, 0, 0, UINT64_MAX, 1, 0));
	ASSERT_NOT_NULL(contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, 1, 0));
	bed_free(&bed);
}

/* M_WAITOK and M_NOWAIT differ only in what the caller does after NULL. */
TEST(contigmalloc_verdict__says_wait_only_where_waiting_can_help)
{
	struct contig_req req = {M(1), 0, UINT64_MAX, 1, 0, -1};
	struct domainset second = {.ds_mask = 2};
	struct bed bed;
	void *addr;

	bed_make(&bed, 0, M(1));
	addr = contigmalloc(PAGE, &bed.type, M_WAITOK, 0, UINT64_MAX, 1, 0);
	ASSERT_NULL(
	    contigmalloc(M(1), &bed.type, M_WAITOK, 0, UINT64_MAX, 1, 0));
	ASSERT_EQ(contigmalloc_verdict(&bed.type, NULL, M_WAITOK, &req),
	    KERN_RESTART);
	ASSERT_EQ(contigmalloc_verdict(&bed.type, NULL, M_NOWAIT, &req),
	    KERN_NO_SPACE);
	ASSERT_EQ(contigmalloc_verdict(&bed.type, NULL, 0, &req),
	    KERN_NO_SPACE);
	/* There is no memory in domain 1, nor so much, nor above. */
	ASSERT_EQ(contigmalloc_verdict(&bed.type, &second, M_WAITOK, &req),
	    KERN_NO_SPACE);
	second.ds_mask = 3;
	ASSERT_EQ(contigmalloc_verdict(&bed.type, &second, M_WAITOK, &req),
	    KERN_RESTART);
	req.size = M(1) + 1;
	ASSERT_EQ(contigmalloc_verdict(&bed.type, NULL, M_WAITOK, &req),
	    KERN_NO_SPACE);
	req = (struct contig_req){PAGE, M(1), UINT64_MAX, 1, 0, -1};
	ASSERT_EQ(contigmalloc_verdict(&bed.type, NULL, M_WAITOK, &req),
	    KERN_NO_SPACE);
	/* X4: FreeBSD's reclaimer does not end (BUG-10). */
	req = (struct contig_req){2 * PAGE, 0, UINT64_MAX, 1, PAGE, -1};
	ASSERT_EQ(contigmalloc_verdict(&bed.type, NULL, M_WAITOK, &req),
	    KERN_NO_SPACE);
	contigfree(addr, PAGE, &bed.type);
	bed_free(&bed);
}

TEST(contigfree__accepts_null)
{
	struct bed bed;

	bed_make(&bed, 0, M(1));
	contigfree(NULL, PAGE, &bed.type);
	contigfree(NULL, 0, &bed.type);
	ASSERT_EQ(bed.type.ks_stats.mts_numfrees, UINT64_C(0));
	bed_free(&bed);
}

TEST(contigmalloc__asserts_what_the_manual_page_forbids) /* L05 */
{
	struct bed bed;
	void *addr;

	bed_make(&bed, 0, M(1));
	ASSERT_PANICS(contigmalloc(0, &bed.type, 0, 0, UINT64_MAX, 1, 0));
	ASSERT_PANICS(
	    contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, 3 * PAGE, 0));
	ASSERT_PANICS(contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, 1, 3));
	ASSERT_PANICS(contigmalloc(PAGE, &bed.type, M_NOWAIT | M_WAITOK, 0,
	    UINT64_MAX, 1, 0));
	addr = contigmalloc(PAGE, &bed.type, 0, 0, UINT64_MAX, 1, 0);
	ASSERT_PANICS((contigfree(addr, 2 * PAGE, &bed.type), 0));
	contigfree(addr, PAGE, &bed.type);
	ASSERT_PANICS((contigfree(addr, PAGE, &bed.type), 0));
	ASSERT_PANICS((contigfree((void *)4096, PAGE, &bed.type), 0));
	bed_free(&bed);
}
