/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The entry tree against a sorted array, for every instruction set that this
 * processor has; splits, joins, steps, and that searches agree bit for bit.
 * Not covered: what a map makes of it (test_vectors.c, tests/model).
 */

#include <stdlib.h>

#include "arch/sim/sim.h"
#include "core/vm_map_int.h"
#include "tests/test.h"

#define PAGE     ((vm_size_t)4096)
#define MIN_ADDR ((vm_offset_t)0x10000)
#define MAX_ADDR (MIN_ADDR + 4096 * 64 * PAGE)

static const vm_size_t aligns[VM_TREE_ALIGNS] = {4096, 64 << 10, 2 << 20};
static const char *const isas[] = {"plain", "avx2", "avx512"};

/* The tree, and the same entries in order. */
struct pair {
	struct arch *arch;
	struct vm_tree tree;
	struct vm_map_entry **entry;
	size_t n;
	uint64_t seed;
	vm_offset_t max; /* where the tree ends */
	unsigned scale;  /* lengths are up to 2^scale times as large */
};

static void
pair_init_max(struct pair *p, const char *isa, vm_offset_t max, unsigned scale)
{
	const struct sim_options options = {.no_inject = true};

	p->arch = sim_create(&options);
	p->entry = calloc(100000, sizeof(struct vm_map_entry *));
	p->n = 0;
	p->seed = test_seed();
	p->max = max;
	p->scale = scale;
	ASSERT_EQ(vm_tree_init(&p->tree, p->arch, MIN_ADDR, max, aligns),
	    KERN_SUCCESS);
	p->tree.isa = vm_tree_isa_find(isa);
}

static void
pair_init(struct pair *p, const char *isa)
{
	pair_init_max(p, isa, MAX_ADDR, 0);
}

static void
pair_fini(struct pair *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->entry[i]);
	free(p->entry);
	vm_tree_fini(&p->tree);
	ASSERT_EQ(sim_live(p->arch), 0u);
	sim_destroy(p->arch);
}

static void
pair_check(struct pair *p)
{
	const char *bad = vm_tree_check(&p->tree);

	if (bad != NULL)
		test_fail(__FILE__, __LINE__, "%s", bad);
	ASSERT_EQ(p->tree.count, p->n);
}

/* How many entries start at or below `addr`. */
static size_t
pair_rank(struct pair *p, vm_offset_t addr)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (p->entry[mid]->start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static vm_offset_t
gap_start(struct pair *p, size_t i)
{
	return i == 0 ? MIN_ADDR : p->entry[i - 1]->end;
}

static vm_offset_t
gap_end(struct pair *p, size_t i)
{
	return i == p->n ? p->max : p->entry[i]->start;
}

/* The lowest fit, by trying every gap. */
static bool
slow_fit(struct pair *p, const struct vm_gap_req *req, vm_offset_t *addrp)
{
	for (size_t i = pair_rank(p, req->start); i <= p->n; i++) {
		vm_offset_t start = gap_start(p, i), end = gap_end(p, i), pad;

		start = start > req->start ? start : req->start;
		pad = (req->phase - start) & (req->align - 1);
		if (start < end && end - start > pad &&
		    end - start - pad >= req->length) {
			*addrp = start + pad;
			return true;
		}
	}
	return false;
}

static struct vm_map_entry *
entry_new(void)
{
	struct vm_map_entry *entry = aligned_alloc(64, sizeof(*entry));

	*entry = (struct vm_map_entry){0};
	return entry;
}

static void
pair_insert(struct pair *p, struct vm_cursor *cur, vm_offset_t start,
    vm_size_t length)
{
	struct vm_map_entry *entry = entry_new();
	size_t i = pair_rank(p, start);

	entry->start = start;
	entry->end = start + length;
	ASSERT_EQ(vm_tree_reserve(&p->tree, 1), KERN_SUCCESS);
	vm_tree_insert(&p->tree, cur, entry);
	ASSERT_TRUE(vm_cursor_entry(cur) == entry);
	memmove(p->entry + i + 1, p->entry + i,
	    (p->n - i) * sizeof(p->entry[0]));
	p->entry[i] = entry;
	p->n++;
}

static void
pair_remove(struct pair *p, size_t i)
{
	struct vm_map_entry *entry = p->entry[i];
	struct vm_cursor cur;

	vm_tree_seek(&p->tree, entry->start, &cur);
	ASSERT_TRUE(vm_cursor_entry(&cur) == entry);
	vm_tree_remove(&p->tree, &cur);
	ASSERT_TRUE(vm_cursor_entry(&cur) == (i == 0 ? NULL : p->entry[i - 1]));
	memmove(p->entry + i, p->entry + i + 1,
	    (p->n - i - 1) * sizeof(p->entry[0]));
	p->n--;
	free(entry);
}

static struct vm_gap_req
random_req(struct pair *p)
{
	static const vm_size_t align[] = {4096, 4096, 8192, 64 << 10, 1 << 20,
	    2 << 20, 4 << 20};
	struct vm_gap_req req;

	req.align = align[test_random(&p->seed) % nitems(align)];
	req.phase = 0;
	if (test_random(&p->seed) % 4 == 0)
		req.phase = test_random(&p->seed) % (req.align / PAGE) * PAGE;
	req.length = (test_random(&p->seed) % 64 + 1) * PAGE;
	if (test_random(&p->seed) % 8 == 0)
		req.length = (test_random(&p->seed) % 1024 + 1) * PAGE;
	if (p->scale > 0)
		req.length <<= test_random(&p->seed) % p->scale;
	if (p->scale > 0 && test_random(&p->seed) % 8 == 0)
		req.align <<= test_random(&p->seed) % p->scale;
	req.start = MIN_ADDR;
	if (test_random(&p->seed) % 3 == 0)
		req.start +=
		    test_random(&p->seed) % ((p->max - MIN_ADDR) / PAGE) * PAGE;
	return req;
}

/* Insert at the lowest fit, if both agree that there is one. */
static void
step_fit(struct pair *p)
{
	struct vm_gap_req req = random_req(p);
	vm_offset_t want = 0, addr = 0;
	struct vm_cursor cur;
	bool found;

	/* Often where the finger points, if it does. */
	if (test_random(&p->seed) % 2 == 0 && p->tree.finger_end < p->max)
		req.start = p->tree.finger_end;
	found = vm_tree_fit(&p->tree, &req, &cur, &addr);
	ASSERT_EQ(found, slow_fit(p, &req, &want));
	ASSERT_EQ(addr, want);
	if (!found || p->n >= 90000)
		return;
	pair_insert(p, &cur, addr, req.length);
	if (test_random(&p->seed) % 2 == 0) {
		p->tree.finger = cur;
		vm_tree_point(&p->tree);
	}
}

/* Shrink an entry from either end, or grow it into the gaps around it. */
static void
step_resize(struct pair *p, size_t i)
{
	struct vm_map_entry *entry = p->entry[i];
	vm_offset_t start = entry->start, end = entry->end;
	struct vm_cursor cur;

	switch (test_random(&p->seed) % 4) {
	case 0:
		start = gap_start(p, i);
		break;
	case 1:
		/* All of a gap; but not all that a large map has left. */
		end = gap_end(p, i + 1);
		if (p->scale > 0)
			end =
			    entry->end + (end - entry->end) / (4 * PAGE) * PAGE;
		break;
	case 2:
		if (end - start > PAGE)
			start += PAGE;
		break;
	default:
		if (end - start > PAGE)
			end -= PAGE;
	}
	vm_tree_seek(&p->tree, entry->start, &cur);
	vm_tree_resize(&p->tree, &cur, start, end);
	ASSERT_EQ(entry->start, start);
	ASSERT_EQ(entry->end, end);
	vm_tree_seek(&p->tree, start, &cur);
	ASSERT_TRUE(vm_cursor_entry(&cur) == entry);
}

/* Cut an entry in two, and put it together again half of the time. */
static void
step_split(struct pair *p, size_t i)
{
	struct vm_map_entry *entry = p->entry[i], *part;
	vm_offset_t start = entry->start, end = entry->end, at;
	bool lower = test_random(&p->seed) % 2 == 0;
	struct vm_cursor cur;

	if (end - start < 2 * PAGE || p->n > 90000)
		return;
	at = start +
	     (test_random(&p->seed) % ((end - start) / PAGE - 1) + 1) * PAGE;
	part = entry_new();
	vm_tree_seek(&p->tree, start, &cur);
	ASSERT_EQ(vm_tree_reserve(&p->tree, 1), KERN_SUCCESS);
	vm_tree_split(&p->tree, &cur, at, lower ? part : entry,
	    lower ? entry : part);
	ASSERT_TRUE(vm_cursor_entry(&cur) == (lower ? part : entry));
	memmove(p->entry + i + 1, p->entry + i,
	    (p->n - i) * sizeof(p->entry[0]));
	p->entry[i] = lower ? part : entry;
	p->entry[i + 1] = lower ? entry : part;
	p->n++;
	if (test_random(&p->seed) % 2 == 0)
		return;

	ASSERT_TRUE(vm_tree_next(&p->tree, &cur));
	vm_tree_merge(&p->tree, &cur);
	ASSERT_TRUE(vm_cursor_entry(&cur) == p->entry[i + 1]);
	ASSERT_EQ(p->entry[i + 1]->start, start);
	ASSERT_EQ(p->entry[i + 1]->end, end);
	free(p->entry[i]);
	memmove(p->entry + i, p->entry + i + 1,
	    (p->n - i - 1) * sizeof(p->entry[0]));
	p->n--;
}

/* The two in front of entry i + 2 have gone into it. */
static void
pair_absorb(struct pair *p, size_t i)
{
	free(p->entry[i]);
	free(p->entry[i + 1]);
	p->n -= 2;
	memmove(p->entry + i, p->entry + i + 2,
	    (p->n - i) * sizeof(p->entry[0]));
}

/* Cut the middle out of an entry; put it together again half of the time. */
static void
step_carve(struct pair *p, size_t i)
{
	struct vm_map_entry *entry = p->entry[i], *upper;
	vm_offset_t start = entry->start, end = entry->end, from, to;
	size_t npages = (end - start) / PAGE;
	struct vm_cursor cur;

	if (npages < 3 || p->n > 90000)
		return;
	from = start + (test_random(&p->seed) % (npages - 2) + 1) * PAGE;
	to = from +
	     (test_random(&p->seed) % ((end - from) / PAGE - 1) + 1) * PAGE;
	p->n += 2;
	memmove(p->entry + i + 2, p->entry + i,
	    (p->n - i - 2) * sizeof(p->entry[0]));
	p->entry[i] = entry_new();
	p->entry[i + 1] = entry;
	p->entry[i + 2] = upper = entry_new();
	vm_tree_seek(&p->tree, start, &cur);
	ASSERT_EQ(vm_tree_reserve(&p->tree, 2), KERN_SUCCESS);
	vm_tree_carve(&p->tree, &cur, from, to, p->entry[i], upper);
	ASSERT_TRUE(vm_cursor_entry(&cur) == entry);
	ASSERT_EQ(p->entry[i]->start, start);
	ASSERT_EQ(p->entry[i]->end, from);
	ASSERT_EQ(entry->start, from);
	ASSERT_EQ(entry->end, to);
	ASSERT_EQ(upper->start, to);
	ASSERT_EQ(upper->end, end);
	if (test_random(&p->seed) % 2 == 0)
		return;

	if (cur.slot > 0 && cur.slot + 1 < cur.leaf->count) {
		vm_tree_heal(&p->tree, &cur);
	} else {
		vm_tree_merge(&p->tree, &cur);
		ASSERT_TRUE(vm_tree_next(&p->tree, &cur));
		vm_tree_merge(&p->tree, &cur);
	}
	ASSERT_TRUE(vm_cursor_entry(&cur) == upper);
	ASSERT_EQ(upper->start, start);
	ASSERT_EQ(upper->end, end);
	pair_absorb(p, i);
}

static void
churn(const char *isa, vm_offset_t max, unsigned scale, uint64_t ops)
{
	struct pair p;

	pair_init_max(&p, isa, max, scale);
	for (uint64_t op = 0; op < ops; op++) {
		/* Waves of growing and shrinking, so that the height varies. */
		bool grows = op / 4096 % 2 == 0;
		uint64_t what = test_random(&p.seed) % 9;

		if (p.n == 0 || what < (grows ? 5u : 2u))
			step_fit(&p);
		else if (what < 6)
			pair_remove(&p, test_random(&p.seed) % p.n);
		else if (what < 7)
			step_resize(&p, test_random(&p.seed) % p.n);
		else if (what < 8)
			step_split(&p, test_random(&p.seed) % p.n);
		else
			step_carve(&p, test_random(&p.seed) % p.n);
		if (op % 64 == 0)
			pair_check(&p);
	}
	while (p.n > 0) {
		pair_remove(&p, test_random(&p.seed) % p.n);
		if (p.n % 64 == 0)
			pair_check(&p);
	}
	ASSERT_EQ(p.tree.height, 0u);
	pair_fini(&p);
}

TEST(vm_tree__agrees_with_an_array_whatever_the_instruction_set)
{
	for (size_t i = 0; i < nitems(isas); i++)
		if (vm_tree_isa_find(isas[i]) != NULL)
			churn(isas[i], MAX_ADDR, 0, test_ops(20000));
}

/*
 * 32 bits do not hold the gaps of these, nor, from the second on, the bounds
 * in some leaves.
 */
TEST(vm_tree__agrees_with_an_array_where_gaps_and_leaves_are_huge)
{
	for (size_t i = 0; i < nitems(isas); i++) {
		if (vm_tree_isa_find(isas[i]) == NULL)
			continue;
		churn(isas[i], (vm_offset_t)1 << 47, 1, test_ops(10000));
		churn(isas[i], (vm_offset_t)1 << 47, 30, test_ops(10000));
		churn(isas[i], 0 - 2 * PAGE, 40, test_ops(10000));
	}
}

/* A leaf is wide only as long as something in it is far away. */
TEST(vm_tree__counts_in_pages_again_when_what_was_far_away_has_gone)
{
	struct vm_cursor cur;
	struct pair p;

	pair_init_max(&p, "plain", (vm_offset_t)1 << 62, 1);
	for (size_t i = 0; i < 8; i++) {
		vm_tree_seek(&p.tree, MIN_ADDR + 2 * i * PAGE, &cur);
		pair_insert(&p, &cur, MIN_ADDR + 2 * i * PAGE, PAGE);
	}
	ASSERT_FALSE(cur.leaf->wide);
	vm_tree_seek(&p.tree, (vm_offset_t)1 << 60, &cur);
	pair_insert(&p, &cur, (vm_offset_t)1 << 60, PAGE);
	ASSERT_TRUE(cur.leaf->wide);
	pair_check(&p);
	pair_remove(&p, 3);
	ASSERT_TRUE(cur.leaf->wide);
	pair_remove(&p, 7);
	ASSERT_FALSE(cur.leaf->wide);
	pair_check(&p);
	pair_fini(&p);
}

/* A leaf keeps lengths of less than 8 GiB; whoever needs others asks. */
TEST(vm_tree__asks_an_entry_for_a_length_that_its_leaf_has_no_room_for)
{
	const vm_size_t most = VM_ITEM_FAR * PAGE;
	struct vm_map_entry *found;
	struct vm_cursor cur;
	struct pair p;

	pair_init_max(&p, "plain", (vm_offset_t)1 << 40, 1);
	vm_tree_seek(&p.tree, MIN_ADDR, &cur);
	pair_insert(&p, &cur, MIN_ADDR, most - PAGE);
	ASSERT_FALSE(cur.leaf->far);
	pair_insert(&p, &cur, MIN_ADDR + 2 * most, most);
	ASSERT_TRUE(cur.leaf->far);
	ASSERT_FALSE(cur.leaf->wide);
	pair_check(&p);
	ASSERT_TRUE(
	    p.tree.isa->lookup(&p.tree, MIN_ADDR + 3 * most - 1, &found));
	ASSERT_TRUE(found == p.entry[1]);
	ASSERT_FALSE(p.tree.isa->lookup(&p.tree, MIN_ADDR + 3 * most, &found));
	vm_tree_resize(&p.tree, &cur, MIN_ADDR + 2 * most,
	    MIN_ADDR + 3 * most - PAGE);
	ASSERT_FALSE(cur.leaf->far);
	vm_tree_resize(&p.tree, &cur, MIN_ADDR + 2 * most,
	    MIN_ADDR + 3 * most + PAGE);
	ASSERT_TRUE(cur.leaf->far);
	pair_check(&p);
	pair_remove(&p, 1);
	ASSERT_FALSE(cur.leaf->far);
	pair_check(&p);
	pair_fini(&p);
}

/* Found by a benchmark: more pages, but worse aligned, is not a smaller gap. */
TEST(vm_tree__does_not_take_a_saturated_gap_that_grows_for_a_smaller_one)
{
	struct vm_cursor cur;
	struct pair p;

	pair_init_max(&p, "plain", (vm_offset_t)1 << 47, 1);
	for (size_t i = 0; i < 200; i++) {
		vm_tree_seek(&p.tree, MIN_ADDR + 2 * i * PAGE, &cur);
		pair_insert(&p, &cur, MIN_ADDR + 2 * i * PAGE, PAGE);
	}
	ASSERT_GE(p.tree.height, 1u);
	while (p.n > 100) {
		pair_remove(&p, p.n - 1);
		pair_check(&p);
	}
	pair_fini(&p);
}

/* The tests above would agree without a finger too: is it used at all? */
TEST(vm_tree__goes_on_behind_the_last_insert_that_it_was_pointed_to)
{
	struct vm_gap_req req = {.length = PAGE, .align = PAGE};
	struct vm_cursor cur;
	vm_offset_t addr;
	struct pair p;

	pair_init(&p, "plain");
	for (size_t i = 0; i < 500; i++) {
		vm_tree_seek(&p.tree, MIN_ADDR + 4 * i * PAGE, &cur);
		pair_insert(&p, &cur, MIN_ADDR + 4 * i * PAGE, PAGE);
		ASSERT_EQ(p.tree.finger_end, VM_TREE_NOWHERE);
	}
	vm_tree_seek(&p.tree, MIN_ADDR + 400 * PAGE, &p.tree.finger);
	vm_tree_point(&p.tree);
	ASSERT_EQ(p.tree.finger_end, MIN_ADDR + 401 * PAGE);
	pair_check(&p);
	req.start = p.tree.finger_end;
	ASSERT_TRUE(vm_tree_fit_finger(&p.tree, &req, &cur, &addr));
	ASSERT_EQ(addr, req.start);
	ASSERT_EQ(vm_cursor_gap_start(&cur), req.start);
	/* Too long for that gap: the search has to go on from there. */
	req.length = 4 * PAGE;
	ASSERT_FALSE(vm_tree_fit_finger(&p.tree, &req, &cur, &addr));
	ASSERT_TRUE(vm_tree_fit(&p.tree, &req, &cur, &addr));
	ASSERT_EQ(addr, p.entry[p.n - 1]->end);
	/* Any edit makes it stale. */
	pair_remove(&p, 3);
	ASSERT_EQ(p.tree.finger_end, VM_TREE_NOWHERE);
	pair_fini(&p);
}

TEST(vm_tree__always_has_the_plain_instruction_set)
{
	ASSERT_NOT_NULL(vm_tree_isa_find("plain"));
	ASSERT_NOT_NULL(vm_tree_isa_best());
	ASSERT_NULL(vm_tree_isa_find("none such"));
}

TEST(vm_tree__steps_through_all_entries_in_both_directions)
{
	struct vm_cursor cur;
	struct pair p;

	pair_init(&p, "plain");
	for (size_t i = 0; i < 3000; i++) {
		vm_offset_t start = MIN_ADDR + i * 8 * PAGE;

		vm_tree_seek(&p.tree, start, &cur);
		pair_insert(&p, &cur, start, 4 * PAGE);
	}
	ASSERT_GE(p.tree.height, 2u);
	vm_tree_seek(&p.tree, MIN_ADDR, &cur);
	for (size_t i = 0; i < p.n; i++) {
		ASSERT_TRUE(vm_cursor_entry(&cur) == p.entry[i]);
		ASSERT_EQ(vm_tree_next(&p.tree, &cur), i + 1 < p.n);
	}
	for (size_t i = p.n; i-- > 0;) {
		ASSERT_TRUE(vm_cursor_entry(&cur) == p.entry[i]);
		ASSERT_TRUE(vm_tree_prev(&p.tree, &cur));
	}
	ASSERT_NULL(vm_cursor_entry(&cur)); /* the header */
	ASSERT_FALSE(vm_tree_prev(&p.tree, &cur));
	pair_fini(&p);
}

TEST(vm_tree__leaves_full_leaves_behind_when_it_grows_at_its_end)
{
	struct vm_cursor cur;
	struct pair p;
	size_t n = 20000;

	pair_init(&p, "plain");
	ASSERT_EQ(vm_tree_reserve_append(&p.tree, n), KERN_SUCCESS);
	vm_tree_seek(&p.tree, MIN_ADDR, &cur);
	sim_limit_bytes(p.arch, 1); /* the reserve must do */
	for (size_t i = 0; i < n; i++) {
		struct vm_map_entry *entry = entry_new();

		entry->start = MIN_ADDR + i * 2 * PAGE;
		entry->end = entry->start + PAGE;
		vm_tree_insert(&p.tree, &cur, entry);
		p.entry[p.n++] = entry;
	}
	pair_check(&p);
	ASSERT_LE(uma_zone_used(&p.tree.leaves),
	    n * 6 / (5 * VM_LEAF_FANOUT) + 2);
	pair_fini(&p);
}

TEST(vm_tree__uses_the_last_byte_below_the_top_of_the_address_space)
{
	vm_offset_t max = UINT64_MAX - 2 * PAGE + 1, addr;
	struct vm_gap_req req = {.start = PAGE, .align = PAGE};
	const struct sim_options options = {.no_inject = true};
	struct arch *arch = sim_create(&options);

	for (size_t i = 0; i < nitems(isas); i++) {
		struct vm_cursor cur;
		struct vm_tree tree;

		if (vm_tree_isa_find(isas[i]) == NULL)
			continue;
		ASSERT_EQ(vm_tree_init(&tree, arch, PAGE, max, aligns),
		    KERN_SUCCESS);
		tree.isa = vm_tree_isa_find(isas[i]);
		req.length = max - PAGE;
		ASSERT_TRUE(vm_tree_fit(&tree, &req, &cur, &addr));
		ASSERT_EQ(addr, PAGE);
		req.length += PAGE;
		ASSERT_FALSE(vm_tree_fit(&tree, &req, &cur, &addr));
		/* Rounding up must not wrap. */
		req.length = PAGE;
		req.start = max - PAGE;
		req.align = (vm_size_t)1 << 63;
		ASSERT_FALSE(vm_tree_fit(&tree, &req, &cur, &addr));
		req.start = PAGE;
		ASSERT_TRUE(vm_tree_fit(&tree, &req, &cur, &addr));
		ASSERT_EQ(addr, (vm_offset_t)1 << 63);
		req.align = PAGE;
		vm_tree_fini(&tree);
	}
	sim_destroy(arch);
}
