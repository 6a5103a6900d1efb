/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Run trees.
 *
 *	inner	first    0x100000   0x900000   0x4000000
 *		classes  ..1..1.1   ....1..1   1........
 *		max[]    70 64 0    12 0 0     9000 8999 8704
 *		           |           |           |
 *	leaf	[start, end) [start, end) ...
 *
 * An edit changes one leaf, then carries the summary of each changed node to
 * its parent and stops at the first parent that does not notice.  Nodes come
 * from a reserve, so no edit can fail.
 */

#include <assert.h>
#include <string.h>

#include "core/kassert.h"
#include "core/vm_phys_int.h"

#define NO_START UINT64_MAX

static_assert(RT_LEAF % 2 == 0 && RT_FAN % 2 == 0, "nodes split in half");

/*
 * Lengths up to 7 pages have a class each; above there are four to a power of
 * two, and the last has everything from 2^17 pages.
 */
unsigned
rt_class(uint64_t npages)
{
	unsigned log;

	MPASS(npages > 0);

	if (npages < 4)
		return (unsigned)npages - 1;
	log = 63 - (unsigned)__builtin_clzll(npages);
	if (log >= 17)
		return RT_NCLASS - 1;
	return 4 * (log - 2) + (unsigned)((npages >> (log - 2)) & 3) + 3;
}

/* Reserve. */

void
rt_store_init(struct rt_store *store, const struct arch *arch,
    unsigned page_shift)
{
	uma_zone_init(&store->leaves, arch, sizeof(struct rt_leaf));
	uma_zone_init(&store->inners, arch, sizeof(struct rt_inner));
	store->page_shift = page_shift;
}

void
rt_store_fini(struct rt_store *store)
{
	uma_zone_fini(&store->leaves);
	uma_zone_fini(&store->inners);
}

/*
 * At most how many nodes `nruns` runs can need: every node is half full but
 * for one a level in each tree, and a tree ends where a level has one node.
 */
static void
nodes_bound(uint64_t nruns, uint64_t ntrees, uint64_t *nleavesp,
    uint64_t *ninnersp)
{
	uint64_t n = nruns / (RT_LEAF / 2) + MIN(ntrees, nruns);

	*nleavesp = n;
	*ninnersp = 0;
	while (n > 1) {
		n = n / (RT_FAN / 2) + MIN(ntrees, n / 2);
		*ninnersp += n;
	}
}

bool
rt_store_suffices(const struct rt_store *store, uint64_t nruns, uint64_t ntrees)
{
	uint64_t nleaves, ninners;

	nodes_bound(nruns, ntrees, &nleaves, &ninners);
	return store->leaves.uz_nitems >= nleaves &&
	       store->inners.uz_nitems >= ninners;
}

/* Grow the zone to `nitems`, used ones counted. */
static int
zone_reserve_total(struct uma_zone *zone, uint64_t nitems)
{
	if (zone->uz_nitems >= nitems)
		return KERN_SUCCESS;
	return uma_zone_reserve(zone, (size_t)nitems - uma_zone_used(zone));
}

int
rt_store_reserve(struct rt_store *store, uint64_t nruns, uint64_t ntrees)
{
	uint64_t nleaves, ninners, enough = nruns + nruns / 4;
	int rv;

	/* Ask even when there is enough, so that tests can fail any call. */
	rv = uma_zone_reserve(&store->leaves, 1);
	if (rv != KERN_SUCCESS ||
	    (nruns <= store->nruns && ntrees <= store->ntrees))
		return rv;
	/* A quarter more, so that this is rare. */
	nodes_bound(enough, ntrees, &nleaves, &ninners);
	rv = zone_reserve_total(&store->leaves, nleaves);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = zone_reserve_total(&store->inners, ninners);
	if (rv != KERN_SUCCESS)
		return rv;
	store->nruns = enough;
	store->ntrees = ntrees;
	return KERN_SUCCESS;
}

static struct rt_leaf *
leaf_new(struct rt_store *store)
{
	struct rt_leaf *leaf = uma_zalloc_reserved(&store->leaves);

	memset(leaf, 0, sizeof(*leaf));
	memset(leaf->start, 0xff, sizeof(leaf->start));
	memset(leaf->cls, RT_NCLASS, sizeof(leaf->cls));
	return leaf;
}

static struct rt_inner *
inner_new(struct rt_store *store)
{
	struct rt_inner *inner = uma_zalloc_reserved(&store->inners);

	memset(inner, 0, sizeof(*inner));
	memset(inner->first, 0xff, sizeof(inner->first));
	return inner;
}

/* Summaries. */

/* Element i of what is stored as lanes. */
static int16_t *
lane(rt_lanes *lanes, unsigned i)
{
	return (int16_t *)lanes + i;
}

void
rt_leaf_measure(struct rt_leaf *leaf, unsigned i, unsigned page_shift)
{
	uint64_t from = leaf->start[i] >> page_shift;
	uint64_t npages = (leaf->end[i] >> page_shift) - from;

	MPASS(leaf->start[i] < leaf->end[i]);

	*lane(leaf->length, i) = (int16_t)MIN(npages, INT16_MAX);
	*lane(leaf->offset, i) =
	    (int16_t)(-from & ((1u << (RT_LEVELS - 1)) - 1));
	leaf->cls[i] = (uint8_t)rt_class(npages);
}

/* Written lane by lane: both compilers make one instruction of it. */
static rt_lanes
lanes_max(rt_lanes a, rt_lanes b)
{
	for (unsigned i = 0; i < 8; i++)
		a[i] = MAX(a[i], b[i]);
	return a;
}

static rt_lanes
lanes_min(rt_lanes a, int16_t b)
{
	for (unsigned i = 0; i < 8; i++)
		a[i] = MIN(a[i], b);
	return a;
}

static int16_t
lanes_longest(rt_lanes lanes)
{
	lanes = lanes_max(lanes,
	    __builtin_shufflevector(lanes, lanes, 4, 5, 6, 7, 0, 1, 2, 3));
	lanes = lanes_max(lanes,
	    __builtin_shufflevector(lanes, lanes, 2, 3, 0, 1, 6, 7, 4, 5));
	return MAX(lanes[0], lanes[1]);
}

/* The longest run of a leaf at a level. */
static int16_t
leaf_longest(const struct rt_leaf *leaf, unsigned level)
{
	int16_t unit = (int16_t)((1 << level) - 1), longest;
	rt_lanes max = {0};

	for (unsigned i = 0; i < RT_LEAF / 8; i++)
		max =
		    lanes_max(max, leaf->length[i] - (leaf->offset[i] & unit));
	longest = lanes_longest(max);
	return MIN(longest, RT_MAX);
}

static struct rt_sum
leaf_sum(const struct rt_leaf *leaf)
{
	struct rt_sum sum = {0};

	for (unsigned i = 0; i < leaf->n; i++)
		sum.classes |= UINT64_C(1) << leaf->cls[i];
	for (unsigned l = 0; l < RT_LEVELS; l++)
		*lane(sum.max, l) = leaf_longest(leaf, l);
	return sum;
}

static struct rt_sum
inner_sum(const struct rt_inner *inner)
{
	struct rt_sum sum = {0};

	RT_UNROLL
	for (unsigned i = 0; i < RT_FAN; i++) {
		sum.classes |= inner->classes[i];
		for (unsigned v = 0; v < RT_ROW; v++)
			sum.max[v] = lanes_max(sum.max[v], inner->max[i][v]);
	}
	return sum;
}

static void
slot_set(struct rt_inner *inner, unsigned i, void *child, vm_paddr_t first,
    const struct rt_sum *sum)
{
	inner->child[i] = child;
	inner->first[i] = first;
	inner->classes[i] = sum->classes;
	for (unsigned v = 0; v < RT_ROW; v++)
		inner->max[i][v] = sum->max[v];
}

static bool
slot_is(const struct rt_inner *inner, unsigned i, vm_paddr_t first,
    const struct rt_sum *sum)
{
	return inner->first[i] == first && inner->classes[i] == sum->classes &&
	       memcmp(inner->max[i], sum->max, sizeof(sum->max)) == 0;
}

/* Nodes: moving runs and slots about. */

static void
leaf_move(struct rt_leaf *to, unsigned ti, struct rt_leaf *from, unsigned fi,
    unsigned n)
{
	memmove(&to->start[ti], &from->start[fi], n * sizeof(to->start[0]));
	memmove(&to->end[ti], &from->end[fi], n * sizeof(to->end[0]));
	memmove(lane(to->length, ti), lane(from->length, fi),
	    n * sizeof(int16_t));
	memmove(lane(to->offset, ti), lane(from->offset, fi),
	    n * sizeof(int16_t));
	memmove(&to->cls[ti], &from->cls[fi], n);
}

static void
leaf_set_n(struct rt_leaf *leaf, unsigned n)
{
	for (unsigned i = n; i < leaf->n; i++) {
		leaf->start[i] = NO_START;
		*lane(leaf->length, i) = *lane(leaf->offset, i) = 0;
		leaf->cls[i] = RT_NCLASS;
	}
	leaf->n = n;
}

static void
inner_move(struct rt_inner *to, unsigned ti, struct rt_inner *from, unsigned fi,
    unsigned n)
{
	memmove(&to->first[ti], &from->first[fi], n * sizeof(to->first[0]));
	memmove(&to->classes[ti], &from->classes[fi],
	    n * sizeof(to->classes[0]));
	memmove(&to->max[ti], &from->max[fi], n * sizeof(to->max[0]));
	memmove(&to->child[ti], &from->child[fi], n * sizeof(to->child[0]));
}

static void
inner_set_n(struct rt_inner *inner, unsigned n)
{
	static const struct rt_sum nothing;

	for (unsigned i = n; i < inner->n; i++)
		slot_set(inner, i, NULL, NO_START, &nothing);
	inner->n = n;
}

/* Ways through a tree. */

/*
 * How many of the keys are at most `pa`; unused keys are all ones.  The last
 * key of each eight first, then the eight that it leads to.
 */
static inline unsigned
keys_upto(const vm_paddr_t *keys, unsigned nkeys, vm_paddr_t pa)
{
	unsigned eights = 0, n;

	RT_UNROLL
	for (unsigned i = 7; i + 8 < nkeys; i += 8)
		eights += keys[i] <= pa;
	n = 8 * eights;
	RT_UNROLL
	for (unsigned i = 0; i < 8; i++)
		n += keys[8 * eights + i] <= pa;
	return n;
}

/*
 * To the last run that starts at or below `pa`, or to position 0 of the first
 * leaf where there is none.
 */
static void
rt_descend(struct rt *rt, vm_paddr_t pa, struct rt_path *path)
{
	void *node = rt->root;
	unsigned n;

	MPASS(rt->height > 0 && rt->height <= RT_HEIGHT && pa < NO_START);

	for (unsigned depth = 0; depth + 1 < rt->height; depth++) {
		struct rt_inner *inner = node;

		n = keys_upto(inner->first, RT_FAN, pa);
		path->inner[depth] = inner;
		path->at[depth] = n > 0 ? n - 1 : 0;
		node = inner->child[path->at[depth]];
	}
	path->leaf = node;
	n = keys_upto(path->leaf->start, RT_LEAF, pa);
	path->pos = n > 0 ? n - 1 : 0;
}

/* Down the left edge, from the child chosen at `depth - 1`. */
static void
rt_leftmost(struct rt *rt, struct rt_path *path, void *node, unsigned depth)
{
	for (; depth + 1 < rt->height; depth++) {
		path->inner[depth] = node;
		path->at[depth] = 0;
		node = path->inner[depth]->child[0];
	}
	path->leaf = node;
	path->pos = 0;
}

bool
rt_next(struct rt *rt, struct rt_path *path)
{
	unsigned depth = rt->height - 1;

	MPASS(rt->height > 0);

	if (path->pos + 1 < path->leaf->n) {
		path->pos++;
		return true;
	}
	while (
	    depth > 0 && path->at[depth - 1] + 1 == path->inner[depth - 1]->n)
		depth--;
	if (depth == 0)
		return false;
	path->at[depth - 1]++;
	rt_leftmost(rt, path,
	    path->inner[depth - 1]->child[path->at[depth - 1]], depth);
	return true;
}

bool
rt_seek(struct rt *rt, vm_paddr_t pa, struct rt_path *path)
{
	if (rt->height == 0)
		return false;
	rt_descend(rt, pa, path);
	if (path->leaf->end[path->pos] > pa)
		return true;
	return rt_next(rt, path);
}

/* Bit l: lane l is not 0. */
static unsigned
levels_of(const rt_lanes *lanes)
{
	const rt_lanes bits = {1, 2, 4, 8, 16, 32, 64, 128};
	unsigned mask = 0;

	for (unsigned v = 0; v < RT_ROW; v++) {
		rt_lanes some = (lanes[v] != 0) & bits;
		uint64_t words[2];

		memcpy(words, &some, sizeof(words));
		words[0] |= words[1];
		words[0] |= words[0] >> 32;
		mask |= (unsigned)((words[0] | words[0] >> 16) & 0xff)
			<< (8 * v);
	}
	return mask;
}

static struct rt_sum
slot_sum(const struct rt_inner *inner, unsigned i)
{
	struct rt_sum sum = {.classes = inner->classes[i]};

	memcpy(sum.max, inner->max[i], sizeof(sum.max));
	return sum;
}

/* What is known of the node at `depth`, with its parent or with the tree. */
static struct rt_sum
node_known(const struct rt *rt, const struct rt_path *path, unsigned depth)
{
	if (depth == 0)
		return rt->sum;
	return slot_sum(path->inner[depth - 1], path->at[depth - 1]);
}

/*
 * Take `come` into what is known of a node.  The levels, as bits, where
 * `gone`, which it replaces, may have been the longest: there all must be
 * looked at.
 */
static unsigned
max_replace(rt_lanes *known, const rt_lanes *gone, const rt_lanes *come)
{
	rt_lanes lost[RT_ROW];

	for (unsigned v = 0; v < RT_ROW; v++) {
		lost[v] = (gone[v] == known[v]) & (come[v] < gone[v]);
		known[v] = lanes_max(known[v], come[v]);
	}
	return levels_of(lost);
}

/* Carry a changed summary of a leaf upward until nobody notices. */
static void
rt_refresh(struct rt *rt, struct rt_path *path, struct rt_sum sum)
{
	vm_paddr_t first = path->leaf->start[0];

	for (unsigned depth = rt->height - 1; depth-- > 0;) {
		struct rt_inner *inner = path->inner[depth];
		unsigned at = path->at[depth];
		struct rt_sum old = slot_sum(inner, at);
		struct rt_sum known = node_known(rt, path, depth);

		if (slot_is(inner, at, first, &sum))
			return;
		slot_set(inner, at, inner->child[at], first, &sum);
		first = inner->first[0];
		known.classes |= sum.classes;
		if ((old.classes & ~sum.classes) != 0 ||
		    max_replace(known.max, old.max, sum.max) != 0)
			known = inner_sum(inner);
		sum = known;
	}
	rt->sum = sum;
}

/* What a run adds to a summary. */
struct measure {
	unsigned cls; /* RT_NCLASS: there is no run */
	rt_lanes max[RT_ROW];
};

static const struct measure no_run = {.cls = RT_NCLASS};

static struct measure
leaf_measure(struct rt_leaf *leaf, unsigned i)
{
	static const rt_lanes units[RT_ROW] = {{0, 1, 3, 7, 15, 31, 63, 127},
	    {255, 511}};
	static const rt_lanes used[RT_ROW] = {{-1, -1, -1, -1, -1, -1, -1, -1},
	    {-1, -1}};
	struct measure m = {.cls = leaf->cls[i]};
	int16_t length = *lane(leaf->length, i);
	int16_t offset = *lane(leaf->offset, i);

	static_assert(RT_LEVELS == 10, "lanes are used up to the tenth");
	for (unsigned v = 0; v < RT_ROW; v++) {
		rt_lanes max = length - (offset & units[v]);

		max &= max > 0;
		max = lanes_min(max, RT_MAX);
		m.max[v] = max & used[v];
	}
	return m;
}

/*
 * The leaf's summary when one run went and one came.  All of the leaf is
 * looked at only for the levels where what went may have been the longest.
 */
static struct rt_sum
leaf_resum(const struct rt *rt, const struct rt_path *path,
    const struct measure *gone, const struct measure *come)
{
	const struct rt_leaf *leaf = path->leaf;
	struct rt_sum sum = node_known(rt, path, rt->height - 1);
	unsigned lost;

	if (gone->cls != come->cls && gone->cls < RT_NCLASS &&
	    memchr(leaf->cls, (int)gone->cls, RT_LEAF) == NULL)
		sum.classes &= ~(UINT64_C(1) << gone->cls);
	if (come->cls < RT_NCLASS)
		sum.classes |= UINT64_C(1) << come->cls;
	lost = max_replace(sum.max, gone->max, come->max);
	for (; lost != 0; lost &= lost - 1) {
		unsigned l = (unsigned)__builtin_ctz(lost);

		*lane(sum.max, l) = leaf_longest(leaf, l);
	}
	return sum;
}

void
rt_resize(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end)
{
	struct rt_leaf *leaf = path->leaf;
	unsigned pos = path->pos;
	struct measure gone = leaf_measure(leaf, pos), come;

	MPASS(start < end && pos < leaf->n);
	MPASS(pos == 0 || leaf->end[pos - 1] <= start);
	MPASS(pos + 1 == leaf->n || end <= leaf->start[pos + 1]);

	leaf->start[pos] = start;
	leaf->end[pos] = end;
	rt_leaf_measure(leaf, pos, store->page_shift);
	come = leaf_measure(leaf, pos);
	rt_refresh(rt, path, leaf_resum(rt, path, &gone, &come));
}

/* Insertion. */

/* A right half that its parent does not know yet. */
struct carry {
	void *node; /* NULL: none */
	vm_paddr_t first;
	struct rt_sum sum;
};

/* Move the upper half of a full leaf into a new one. */
static struct rt_leaf *
leaf_split(struct rt_store *store, struct rt_leaf *leaf)
{
	struct rt_leaf *right = leaf_new(store);

	MPASS(leaf->n == RT_LEAF);

	leaf_move(right, 0, leaf, RT_LEAF / 2, RT_LEAF / 2);
	right->n = RT_LEAF / 2;
	leaf_set_n(leaf, RT_LEAF / 2);
	return right;
}

static void
leaf_insert(struct rt_store *store, struct rt_leaf *leaf, unsigned pos,
    vm_paddr_t start, vm_paddr_t end)
{
	MPASS(leaf->n < RT_LEAF && pos <= leaf->n);

	leaf_move(leaf, pos + 1, leaf, pos, leaf->n - pos);
	leaf->start[pos] = start;
	leaf->end[pos] = end;
	rt_leaf_measure(leaf, pos, store->page_shift);
	leaf->n++;
}

static void
inner_insert(struct rt_inner *inner, unsigned at, const struct carry *carry)
{
	MPASS(inner->n < RT_FAN && at <= inner->n);

	inner_move(inner, at + 1, inner, at, inner->n - at);
	slot_set(inner, at, carry->node, carry->first, &carry->sum);
	inner->n++;
}

/* Put the carried child behind slot `at`; what is carried on, if anything. */
static struct carry
inner_add(struct rt_store *store, struct rt_inner *inner, unsigned at,
    const struct carry *carry)
{
	struct rt_inner *right;

	if (inner->n < RT_FAN) {
		inner_insert(inner, at + 1, carry);
		return (struct carry){0};
	}
	right = inner_new(store);
	inner_move(right, 0, inner, RT_FAN / 2, RT_FAN / 2);
	right->n = RT_FAN / 2;
	inner_set_n(inner, RT_FAN / 2);
	if (at + 1 > RT_FAN / 2)
		inner_insert(right, at + 1 - RT_FAN / 2, carry);
	else
		inner_insert(inner, at + 1, carry);
	return (struct carry){right, right->first[0], inner_sum(right)};
}

static void
rt_grow(struct rt_store *store, struct rt *rt, vm_paddr_t first,
    const struct carry *carry)
{
	struct rt_inner *root = inner_new(store);

	MPASS(rt->height < RT_HEIGHT);

	slot_set(root, 0, rt->root, first, &rt->sum);
	root->n = 1;
	inner_insert(root, 1, carry);
	rt->root = root;
	rt->height++;
	rt->sum = inner_sum(root);
}

/* As rt_refresh(), with a new child to hand to the parent. */
static void
rt_refresh_carry(struct rt_store *store, struct rt *rt, struct rt_path *path,
    struct carry carry)
{
	struct rt_sum sum = leaf_sum(path->leaf);
	vm_paddr_t first = path->leaf->start[0];

	for (unsigned depth = rt->height - 1; depth-- > 0;) {
		struct rt_inner *inner = path->inner[depth];
		unsigned at = path->at[depth];

		slot_set(inner, at, inner->child[at], first, &sum);
		if (carry.node != NULL)
			carry = inner_add(store, inner, at, &carry);
		first = inner->first[0];
		sum = inner_sum(inner);
	}
	rt->sum = sum;
	if (carry.node != NULL)
		rt_grow(store, rt, first, &carry);
}

/* The leaf of the path is full. */
static void
insert_split(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end)
{
	struct rt_leaf *right = leaf_split(store, path->leaf);

	if (path->pos > RT_LEAF / 2)
		leaf_insert(store, right, path->pos - RT_LEAF / 2, start, end);
	else
		leaf_insert(store, path->leaf, path->pos, start, end);
	rt_refresh_carry(store, rt, path,
	    (struct carry){right, right->start[0], leaf_sum(right)});
}

void
rt_insert_at(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end)
{
	struct rt_leaf *leaf = path->leaf;
	unsigned pos = path->pos;
	struct measure come;

	MPASS(start < end && pos <= leaf->n);
	MPASS(pos == 0 || leaf->end[pos - 1] <= start);
	MPASS(pos == leaf->n || end <= leaf->start[pos]);

	if (leaf->n == RT_LEAF) {
		insert_split(store, rt, path, start, end);
		return;
	}
	leaf_insert(store, leaf, pos, start, end);
	come = leaf_measure(leaf, pos);
	rt_refresh(rt, path, leaf_resum(rt, path, &no_run, &come));
}

void
rt_insert(struct rt_store *store, struct rt *rt, vm_paddr_t start,
    vm_paddr_t end)
{
	struct rt_path path;

	if (rt->height == 0) {
		rt->root = leaf_new(store);
		rt->height = 1;
	}
	rt_descend(rt, start, &path);
	path.pos = keys_upto(path.leaf->start, RT_LEAF, start);
	rt_insert_at(store, rt, &path, start, end);
}

/* Deletion. */

/* Of two neighbours take the fewer, or let both have half. */
static bool
leaves_join(struct rt_leaf *left, struct rt_leaf *right)
{
	unsigned total = left->n + right->n, half = total / 2;

	if (total <= RT_LEAF) {
		leaf_move(left, left->n, right, 0, right->n);
		left->n = total;
		return true;
	}
	if (left->n < half) {
		unsigned n = half - left->n;

		leaf_move(left, left->n, right, 0, n);
		leaf_move(right, 0, right, n, right->n - n);
		leaf_set_n(right, right->n - n);
	} else {
		unsigned n = left->n - half;

		leaf_move(right, n, right, 0, right->n);
		leaf_move(right, 0, left, half, n);
		right->n += n;
		leaf_set_n(left, half);
	}
	left->n = half;
	return false;
}

static bool
inners_join(struct rt_inner *left, struct rt_inner *right)
{
	unsigned total = left->n + right->n, half = total / 2;

	if (total <= RT_FAN) {
		inner_move(left, left->n, right, 0, right->n);
		left->n = total;
		return true;
	}
	if (left->n < half) {
		unsigned n = half - left->n;

		inner_move(left, left->n, right, 0, n);
		inner_move(right, 0, right, n, right->n - n);
		inner_set_n(right, right->n - n);
	} else {
		unsigned n = left->n - half;

		inner_move(right, n, right, 0, right->n);
		inner_move(right, 0, left, half, n);
		right->n += n;
		inner_set_n(left, half);
	}
	left->n = half;
	return false;
}

static void
slot_drop(struct rt_inner *inner, unsigned at)
{
	inner_move(inner, at, inner, at + 1, inner->n - at - 1);
	inner_set_n(inner, inner->n - 1);
}

/* The child at `at`, a leaf, has too few: even it out with a neighbour. */
static void
inner_fix_leaf(struct rt_store *store, struct rt_inner *inner, unsigned at)
{
	unsigned l = at > 0 ? at - 1 : at;
	struct rt_leaf *left = inner->child[l], *right = inner->child[l + 1];
	bool joined = leaves_join(left, right);
	struct rt_sum sum = leaf_sum(left);

	slot_set(inner, l, left, left->start[0], &sum);
	if (joined) {
		slot_drop(inner, l + 1);
		uma_zfree(&store->leaves, right);
		return;
	}
	sum = leaf_sum(right);
	slot_set(inner, l + 1, right, right->start[0], &sum);
}

static void
inner_fix_inner(struct rt_store *store, struct rt_inner *inner, unsigned at)
{
	unsigned l = at > 0 ? at - 1 : at;
	struct rt_inner *left = inner->child[l], *right = inner->child[l + 1];
	bool joined = inners_join(left, right);
	struct rt_sum sum = inner_sum(left);

	slot_set(inner, l, left, left->first[0], &sum);
	if (joined) {
		slot_drop(inner, l + 1);
		uma_zfree(&store->inners, right);
		return;
	}
	sum = inner_sum(right);
	slot_set(inner, l + 1, right, right->first[0], &sum);
}

/* A root with one child is one level too many. */
static void
rt_shrink(struct rt_store *store, struct rt *rt)
{
	while (rt->height > 1) {
		struct rt_inner *root = rt->root;

		if (root->n > 1)
			return;
		rt->root = root->child[0];
		rt->height--;
		uma_zfree(&store->inners, root);
	}
}

/* The leaf of `path` has too few runs, and there are others. */
static void
rt_rebalance(struct rt_store *store, struct rt *rt, struct rt_path *path)
{
	unsigned depth = rt->height - 2;
	struct rt_sum sum;

	inner_fix_leaf(store, path->inner[depth], path->at[depth]);
	while (depth-- > 0) {
		struct rt_inner *inner = path->inner[depth];
		struct rt_inner *child = path->inner[depth + 1];

		if (child->n < RT_FAN / 2) {
			inner_fix_inner(store, inner, path->at[depth]);
			continue;
		}
		sum = inner_sum(child);
		slot_set(inner, path->at[depth], child, child->first[0], &sum);
	}
	rt->sum = inner_sum(rt->root);
	rt_shrink(store, rt);
}

void
rt_delete(struct rt_store *store, struct rt *rt, struct rt_path *path)
{
	struct rt_leaf *leaf = path->leaf;
	struct measure gone = leaf_measure(leaf, path->pos);

	MPASS(path->pos < leaf->n);

	leaf_move(leaf, path->pos, leaf, path->pos + 1,
	    leaf->n - path->pos - 1);
	leaf_set_n(leaf, leaf->n - 1);
	if (leaf->n == 0) {
		MPASS(rt->height == 1);
		uma_zfree(&store->leaves, leaf);
		*rt = (struct rt){0};
	} else if (rt->height > 1 && leaf->n < RT_LEAF / 2) {
		rt_rebalance(store, rt, path);
	} else {
		rt_refresh(rt, path, leaf_resum(rt, path, &gone, &no_run));
	}
}

/* The longest run below a node whose longest measures `npages`. */
static vm_size_t
node_largest(const void *node, unsigned height, int16_t npages)
{
	const struct rt_inner *inner = node;
	const struct rt_leaf *leaf = node;
	vm_size_t largest = 0;

	if (height == 1) {
		for (unsigned i = 0; i < leaf->n; i++)
			largest = MAX(largest, leaf->end[i] - leaf->start[i]);
		return largest;
	}
	for (unsigned i = 0; i < inner->n; i++) {
		if (inner->max[i][0][0] != npages)
			continue;
		largest = MAX(largest,
		    node_largest(inner->child[i], height - 1, npages));
		if (npages != RT_MAX)
			break; /* the measure is exact */
	}
	return largest;
}

vm_size_t
rt_largest(const struct rt *rt)
{
	if (rt->height == 0)
		return 0;
	return node_largest(rt->root, rt->height, rt_sum_max(&rt->sum, 0));
}
