/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Nodes of run trees.
 *
 *	inner	first    0x100000   0x900000   0x4000000
 *		max[]    70 64 0    12 0 0     9000 8999 8704
 *		child    |          |          |
 *	having	class c: one bit for each child that has runs of it
 *	leaf	[start, end) [start, end) ...
 *
 * Everything here changes one node, or two that lie side by side.  Unused
 * places are blank, so that loops need not ask how many are in use.
 */

#include "core/vm_phys_node_int.h"

static_assert(RT_LEAF % 2 == 0 && RT_FAN % 2 == 0, "nodes split in half");
static_assert(RT_FAN == 64, "one bit of `having` for each child");

/* ---- The store ---- */

void
rt_store_init(struct rt_store *store, const struct arch *arch,
    unsigned page_shift)
{
	MPASS(page_shift < 64);

	uma_zone_init(&store->leaves, arch, sizeof(struct rt_leaf));
	uma_zone_init(&store->inners, arch, sizeof(struct rt_inner));
	store->page_shift = page_shift;
}

void
rt_store_fini(struct rt_store *store)
{
	MPASS(store->page_shift < 64);

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

	MPASS(n <= 2 * nruns);

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
	MPASS(nruns == 0 || nleaves > 0 || ntrees == 0);
	return store->leaves.uz_nitems >= nleaves &&
	       store->inners.uz_nitems >= ninners;
}

/* Grow the zone to `nitems`, used ones counted. */
static int
zone_reserve_total(struct uma_zone *zone, uint64_t nitems)
{
	if (zone->uz_nitems >= nitems)
		return KERN_SUCCESS;
	MPASS(nitems > uma_zone_used(zone));
	return uma_zone_reserve(zone, (size_t)nitems - uma_zone_used(zone));
}

int
rt_store_reserve_slow(struct rt_store *store, uint64_t nruns, uint64_t ntrees)
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
	MPASS(rt_store_suffices(store, nruns, ntrees));
	return KERN_SUCCESS;
}

struct rt_leaf *
leaf_new(struct rt_store *store)
{
	struct rt_leaf *leaf = uma_zalloc_reserved(&store->leaves);

	MPASS(((uintptr_t)leaf & 15) == 0);

	memset(leaf, 0, sizeof(*leaf));
	memset(leaf->start, 0xff, sizeof(leaf->start));
	memset(leaf->cls, RT_NCLASS, sizeof(leaf->cls));
	return leaf;
}

struct rt_inner *
inner_new(struct rt_store *store)
{
	struct rt_inner *inner = uma_zalloc_reserved(&store->inners);

	MPASS(((uintptr_t)inner & 15) == 0);

	memset(inner, 0, sizeof(*inner));
	memset(inner->first, 0xff, sizeof(inner->first));
	return inner;
}

/* ---- Measures and summaries ---- */

static int16_t
lanes_longest(rt_lanes lanes)
{
	lanes = lanes_max(lanes,
	    __builtin_shufflevector(lanes, lanes, 4, 5, 6, 7, 0, 1, 2, 3));
	lanes = lanes_max(lanes,
	    __builtin_shufflevector(lanes, lanes, 2, 3, 0, 1, 6, 7, 4, 5));
	return MAX(lanes[0], lanes[1]);
}

int16_t
leaf_longest(const struct rt_leaf *leaf, unsigned level)
{
	int16_t unit = (int16_t)((1 << level) - 1), longest;
	rt_lanes max = {0};

	MPASS(level < RT_LEVELS);

	for (unsigned i = 0; i < RT_LEAF / 8; i++)
		max =
		    lanes_max(max, leaf->length[i] - (leaf->offset[i] & unit));
	longest = lanes_longest(max);
	return MIN(longest, RT_MAX);
}

int16_t
inner_longest(const struct rt_inner *inner, unsigned level)
{
	rt_lanes max = {0};

	MPASS(level < RT_LEVELS);

	for (unsigned v = 0; v < RT_FAN / 8; v++)
		max = lanes_max(max, inner->max[level][v]);
	return lanes_longest(max);
}

void
leaf_measures(const struct rt_leaf *leaf, unsigned i, rt_lanes max[RT_ROW])
{
	static const rt_lanes units[RT_ROW] = {{0, 1, 3, 7, 15, 31, 63, 127},
	    {255, 511}};
	static const rt_lanes used[RT_ROW] = {{-1, -1, -1, -1, -1, -1, -1, -1},
	    {-1, -1}};
	int16_t length = ((const int16_t *)leaf->length)[i];
	int16_t offset = ((const int16_t *)leaf->offset)[i];

	static_assert(RT_LEVELS == 10, "lanes are used up to the tenth");
	MPASS(i < leaf->n && length > 0);

	for (unsigned v = 0; v < RT_ROW; v++) {
		rt_lanes m = length - (offset & units[v]);

		m &= m > 0;
		max[v] = lanes_min(m, RT_MAX) & used[v];
	}
}

static struct rt_sum
leaf_sum(const struct rt_leaf *leaf)
{
	struct rt_sum sum = {0};

	MPASS(leaf->n > 0);

	for (unsigned i = 0; i < leaf->n; i++) {
		rt_lanes max[RT_ROW];

		sum.classes |= UINT64_C(1) << leaf->cls[i];
		leaf_measures(leaf, i, max);
		for (unsigned v = 0; v < RT_ROW; v++)
			sum.max[v] = lanes_max(sum.max[v], max[v]);
	}
	return sum;
}

static struct rt_sum
inner_sum(const struct rt_inner *inner)
{
	struct rt_sum sum = {0};

	MPASS(inner->n > 0);

	for (unsigned c = 0; c < RT_NCLASS; c++)
		sum.classes |= (uint64_t)(inner->having[c / 2][c % 2] != 0)
			       << c;
	for (unsigned l = 0; l < RT_LEVELS; l++)
		*lane(sum.max, l) = inner_longest(inner, l);
	return sum;
}

struct rt_child
leaf_as_child(struct rt_leaf *leaf)
{
	MPASS(leaf->n > 0);

	return (struct rt_child){leaf, leaf->start[0], leaf_sum(leaf)};
}

struct rt_child
inner_as_child(struct rt_inner *inner)
{
	MPASS(inner->n > 0);

	return (struct rt_child){inner, inner->first[0], inner_sum(inner)};
}

/* ---- Runs in a leaf ---- */

static void
leaf_move(void *top, unsigned ti, void *fromp, unsigned fi, unsigned n)
{
	struct rt_leaf *to = top, *from = fromp;

	MPASS(ti + n <= RT_LEAF && fi + n <= RT_LEAF);

	memmove(&to->start[ti], &from->start[fi], n * sizeof(to->start[0]));
	memmove(&to->end[ti], &from->end[fi], n * sizeof(to->end[0]));
	memmove(lane(to->length, ti), lane(from->length, fi),
	    n * sizeof(int16_t));
	memmove(lane(to->offset, ti), lane(from->offset, fi),
	    n * sizeof(int16_t));
	memmove(&to->cls[ti], &from->cls[fi], n);
}

static void
leaf_set_n(void *node, unsigned n)
{
	struct rt_leaf *leaf = node;

	MPASS(n <= RT_LEAF);

	for (unsigned i = n; i < leaf->n; i++) {
		leaf->start[i] = RT_NO_START;
		leaf->end[i] = 0;
		*lane(leaf->length, i) = *lane(leaf->offset, i) = 0;
		leaf->cls[i] = RT_NCLASS;
	}
	leaf->n = n;
}

/*
 * One place up or down, in a leaf.  A memmove() for each array, of a length
 * that nobody can predict, costs more than the moving: so addresses go in
 * pairs, and of the rest each element keeps what it has or takes that of its
 * neighbour.
 */

typedef vm_paddr_t addr_pair __attribute__((vector_size(16), aligned(8)));

static void
pair_move(vm_paddr_t *to, const vm_paddr_t *from)
{
	*(addr_pair *)to = *(const addr_pair *)from;
}

/* Addresses [pos, n) to [pos + 1, n + 1). */
static void
addrs_up(struct rt_leaf *leaf, unsigned pos, unsigned n)
{
	vm_paddr_t start = leaf->start[pos], end = leaf->end[pos];

	MPASS(pos <= n && n < RT_LEAF);

	for (unsigned i = n; i > pos + 1; i -= 2) {
		pair_move(&leaf->start[i - 1], &leaf->start[i - 2]);
		pair_move(&leaf->end[i - 1], &leaf->end[i - 2]);
	}
	leaf->start[MIN(pos + 1, n)] = start;
	leaf->end[MIN(pos + 1, n)] = end;
}

/* Addresses [pos + 1, n) to [pos, n - 1). */
static void
addrs_down(struct rt_leaf *leaf, unsigned pos, unsigned n)
{
	vm_paddr_t start = leaf->start[n - 1], end = leaf->end[n - 1];

	MPASS(pos < n && n <= RT_LEAF);

	for (unsigned i = pos; i + 2 < n; i += 2) {
		pair_move(&leaf->start[i], &leaf->start[i + 1]);
		pair_move(&leaf->end[i], &leaf->end[i + 1]);
	}
	leaf->start[MAX(pos + 2, n) - 2] = start;
	leaf->end[MAX(pos + 2, n) - 2] = end;
}

static const rt_lanes lane_numbers[RT_LEAF / 8] = {{0, 1, 2, 3, 4, 5, 6, 7},
    {8, 9, 10, 11, 12, 13, 14, 15}, {16, 17, 18, 19, 20, 21, 22, 23},
    {24, 25, 26, 27, 28, 29, 30, 31}};
static const rt_bytes byte_numbers[RT_LEAF / 16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8,
							9, 10, 11, 12, 13, 14,
							15},
    {16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}};

/* What the elements take that move: sixteen bytes of the leaf from `at` on. */
#define NEAR(leaf, at, near)                                                   \
	memcpy(&(near), (const char *)(leaf) + (at), sizeof(near))

/* Elements [pos, RT_LEAF - 1) of lanes at `at` to [pos + 1, RT_LEAF). */
static void
lanes_up(struct rt_leaf *leaf, rt_lanes *lanes, size_t at, unsigned pos)
{
	MPASS(pos < RT_LEAF);

	for (unsigned v = RT_LEAF / 8; v-- > 0;) {
		rt_lanes moves = lane_numbers[v] > (int16_t)pos, near;

		NEAR(leaf, at + v * sizeof(near) - sizeof(int16_t), near);
		lanes[v] = (near & moves) | (lanes[v] & ~moves);
	}
}

/* Elements [pos + 1, n) to [pos, n - 1). */
static void
lanes_down(struct rt_leaf *leaf, rt_lanes *lanes, size_t at, unsigned pos,
    unsigned n)
{
	MPASS(pos < n);

	for (unsigned v = 0; v < RT_LEAF / 8; v++) {
		rt_lanes moves = (lane_numbers[v] >= (int16_t)pos) &
				 (lane_numbers[v] < (int16_t)(n - 1));
		rt_lanes near;

		NEAR(leaf, at + v * sizeof(near) + sizeof(int16_t), near);
		lanes[v] = (near & moves) | (lanes[v] & ~moves);
	}
}

static void
classes_up(struct rt_leaf *leaf, unsigned pos)
{
	rt_bytes *cls = (rt_bytes *)leaf->cls;

	MPASS(pos < RT_LEAF);

	for (unsigned v = RT_LEAF / 16; v-- > 0;) {
		rt_bytes moves = byte_numbers[v] > (int8_t)pos, near;

		NEAR(leaf, offsetof(struct rt_leaf, cls) + 16 * v - 1, near);
		cls[v] = (near & moves) | (cls[v] & ~moves);
	}
}

static void
classes_down(struct rt_leaf *leaf, unsigned pos, unsigned n)
{
	rt_bytes *cls = (rt_bytes *)leaf->cls;

	MPASS(pos < n);

	for (unsigned v = 0; v < RT_LEAF / 16; v++) {
		rt_bytes moves = (byte_numbers[v] >= (int8_t)pos) &
				 (byte_numbers[v] < (int8_t)(n - 1));
		rt_bytes near;

		NEAR(leaf, offsetof(struct rt_leaf, cls) + 16 * v + 1, near);
		cls[v] = (near & moves) | (cls[v] & ~moves);
	}
}

void
leaf_insert(struct rt_leaf *leaf, unsigned pos, vm_paddr_t start,
    vm_paddr_t end, unsigned page_shift)
{
	MPASS(leaf->n < RT_LEAF && pos <= leaf->n);

	addrs_up(leaf, pos, leaf->n);
	lanes_up(leaf, leaf->length, offsetof(struct rt_leaf, length), pos);
	lanes_up(leaf, leaf->offset, offsetof(struct rt_leaf, offset), pos);
	classes_up(leaf, pos);
	leaf->start[pos] = start;
	leaf->end[pos] = end;
	rt_leaf_measure(leaf, pos, page_shift);
	leaf->n++;
}

void
leaf_remove(struct rt_leaf *leaf, unsigned pos)
{
	unsigned n = leaf->n;

	MPASS(pos < n);

	addrs_down(leaf, pos, n);
	lanes_down(leaf, leaf->length, offsetof(struct rt_leaf, length), pos,
	    n);
	lanes_down(leaf, leaf->offset, offsetof(struct rt_leaf, offset), pos,
	    n);
	classes_down(leaf, pos, n);
	leaf_set_n(leaf, n - 1);
}

struct rt_leaf *
leaf_split(struct rt_store *store, struct rt_leaf *leaf)
{
	struct rt_leaf *right = leaf_new(store);

	MPASS(leaf->n == RT_LEAF);

	leaf_move(right, 0, leaf, RT_LEAF / 2, RT_LEAF / 2);
	leaf_set_n(right, RT_LEAF / 2);
	leaf_set_n(leaf, RT_LEAF / 2);
	return right;
}

/* ---- Children of an inner node ---- */

/* The bits of `n` children from `fi` on become those from `ti` on. */
static void
having_move(rt_masks *to, unsigned ti, const rt_masks *from, unsigned fi,
    unsigned n)
{
	uint64_t some = UINT64_MAX >> (RT_FAN - n);
	uint64_t there = some << ti;

	MPASS(n > 0 && ti + n <= RT_FAN && fi + n <= RT_FAN);

	for (unsigned v = 0; v < RT_NCLASS / 2; v++)
		to[v] = (to[v] & ~there) | ((from[v] >> fi & some) << ti);
}

static void
inner_move(void *top, unsigned ti, void *fromp, unsigned fi, unsigned n)
{
	struct rt_inner *to = top, *from = fromp;

	MPASS(ti + n <= RT_FAN && fi + n <= RT_FAN);

	if (n == 0)
		return;
	memmove(&to->first[ti], &from->first[fi], n * sizeof(to->first[0]));
	for (unsigned l = 0; l < RT_LEVELS; l++)
		memmove(inner_max(to, l, ti), inner_max(from, l, fi),
		    n * sizeof(int16_t));
	memmove(&to->child[ti], &from->child[fi], n * sizeof(to->child[0]));
	having_move(to->having, ti, from->having, fi, n);
}

void
slot_set(struct rt_inner *inner, unsigned at, const struct rt_child *child)
{
	static const rt_masks has[] = {{0, 0}, {UINT64_MAX, 0}, {0, UINT64_MAX},
	    {UINT64_MAX, UINT64_MAX}};
	uint64_t bit = UINT64_C(1) << at;

	MPASS(at < RT_FAN);

	inner->child[at] = child->node;
	inner->first[at] = child->first;
	slot_set_max(inner, at, child->sum.max);
	for (unsigned v = 0; v < RT_NCLASS / 2; v++)
		inner->having[v] =
		    (inner->having[v] & ~bit) |
		    (has[child->sum.classes >> (2 * v) & 3] & bit);
}

static void
inner_set_n(void *node, unsigned n)
{
	static const struct rt_child nothing = {.first = RT_NO_START};
	struct rt_inner *inner = node;

	MPASS(n <= RT_FAN);

	for (unsigned i = n; i < inner->n; i++)
		slot_set(inner, i, &nothing);
	inner->n = n;
}

void
inner_insert(struct rt_inner *inner, unsigned at, const struct rt_child *child)
{
	MPASS(inner->n < RT_FAN && at <= inner->n);

	inner_move(inner, at + 1, inner, at, inner->n - at);
	slot_set(inner, at, child);
	inner->n++;
}

static void
inner_remove(struct rt_inner *inner, unsigned at)
{
	MPASS(at < inner->n);

	inner_move(inner, at, inner, at + 1, inner->n - at - 1);
	inner_set_n(inner, inner->n - 1);
}

struct rt_inner *
inner_split(struct rt_store *store, struct rt_inner *inner)
{
	struct rt_inner *right = inner_new(store);

	MPASS(inner->n == RT_FAN);

	inner_move(right, 0, inner, RT_FAN / 2, RT_FAN / 2);
	inner_set_n(right, RT_FAN / 2);
	inner_set_n(inner, RT_FAN / 2);
	return right;
}

/* ---- Two neighbours ---- */

/* What the two kinds of node have in common. */
struct node_kind {
	unsigned room;
	unsigned (*count)(const void *node);
	/* As memmove(): `n` elements of `from` from `fi` on, to `ti`. */
	void (
	    *move)(void *to, unsigned ti, void *from, unsigned fi, unsigned n);
	void (*set_n)(void *node, unsigned n); /* blanks what is beyond */
};

static unsigned
leaf_count(const void *node)
{
	MPASS(node != NULL);

	return ((const struct rt_leaf *)node)->n;
}

static unsigned
inner_count(const void *node)
{
	MPASS(node != NULL);

	return ((const struct rt_inner *)node)->n;
}

static const struct node_kind leaf_kind = {RT_LEAF, leaf_count, leaf_move,
    leaf_set_n};
static const struct node_kind inner_kind = {RT_FAN, inner_count, inner_move,
    inner_set_n};

/* All into the left one if they fit (true), or half each. */
static bool
nodes_even_out(const struct node_kind *kind, void *left, void *right)
{
	unsigned nl = kind->count(left), nr = kind->count(right);
	unsigned total = nl + nr;
	unsigned want = total <= kind->room ? total : total / 2;

	MPASS(nl > 0 && nr > 0);

	if (nl < want) {
		unsigned n = want - nl;

		kind->move(left, nl, right, 0, n);
		kind->move(right, 0, right, n, nr - n);
	} else {
		unsigned n = nl - want;

		kind->move(right, n, right, 0, nr);
		kind->move(right, 0, left, want, n);
	}
	kind->set_n(left, want);
	kind->set_n(right, total - want);
	return want == total;
}

static struct rt_child
as_child(void *node, bool leaf)
{
	MPASS(node != NULL);

	return leaf ? leaf_as_child(node) : inner_as_child(node);
}

void
inner_fix(struct rt_store *store, struct rt_inner *inner, unsigned at,
    bool leaves)
{
	unsigned l = at > 0 ? at - 1 : at;
	void *left = inner->child[l], *right = inner->child[l + 1];
	struct rt_child child;

	MPASS(inner->n > 1 && at < inner->n);

	if (nodes_even_out(leaves ? &leaf_kind : &inner_kind, left, right)) {
		inner_remove(inner, l + 1);
		uma_zfree(leaves ? &store->leaves : &store->inners, right);
	} else {
		child = as_child(right, leaves);
		slot_set(inner, l + 1, &child);
	}
	child = as_child(left, leaves);
	slot_set(inner, l, &child);
}
