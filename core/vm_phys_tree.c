/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Run trees: ways through them, and edits.
 *
 * An edit changes one leaf, then tells the ancestors what they do not know
 * yet, and stops at the first that does: a class that came or went, a lowest
 * start that moved, a measure that is longer than what was known.  Measures
 * that got shorter are left alone.  Splitting and joining nodes moves what is
 * known about, and changes nothing above.  Nodes come from a reserve, so no
 * edit can fail.
 */

#include "core/vm_phys_node_int.h"

/* ---- Ways ---- */

/*
 * To the last run that starts at or below `pa`, or to position 0 of the first
 * leaf where there is none.
 */
static void
rt_descend(struct rt *rt, vm_paddr_t pa, struct rt_path *path)
{
	void *node = rt->root;
	unsigned n;

	MPASS(rt->height > 0 && rt->height <= RT_HEIGHT && pa < RT_NO_START);

	for (unsigned depth = 0; depth + 1 < rt->height; depth++) {
		struct rt_inner *inner = node;

		n = rt_keys_upto(inner->first, RT_FAN, pa);
		path->inner[depth] = inner;
		path->at[depth] = (uint8_t)(n > 0 ? n - 1 : 0);
		node = inner->child[path->at[depth]];
	}
	path->leaf = node;
	n = rt_keys_upto(path->leaf->start, RT_LEAF, pa);
	leaf_prefetch(path->leaf);
	path->pos = n > 0 ? n - 1 : 0;
}

/* Down the left edge, from the child chosen at `depth - 1`. */
static void
rt_leftmost(struct rt *rt, struct rt_path *path, void *node, unsigned depth)
{
	MPASS(rt->height <= RT_HEIGHT);

	for (; depth < RT_HEIGHT && depth + 1 < rt->height; depth++) {
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
	    depth > 0 && path->at[depth - 1] + 1u == path->inner[depth - 1]->n)
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

/* ---- What ancestors know ---- */

/* The leaf has a run of the class, and perhaps had one before. */
static void
class_came(struct rt *rt, const struct rt_path *path, unsigned cls)
{
	MPASS(cls < RT_NCLASS);

	for (unsigned depth = rt->height - 1; depth-- > 0;) {
		uint64_t *having = inner_having(path->inner[depth], cls);
		uint64_t was = *having;

		*having = was | UINT64_C(1) << path->at[depth];
		if (was != 0)
			return;
	}
	rt->sum.classes |= UINT64_C(1) << cls;
}

/*
 * Is the run at `pos` the only one of its class in the leaf?  Asked before an
 * edit: a class just written could not be read with its neighbours at once.
 */
static bool
class_alone(const struct rt_leaf *leaf, unsigned pos)
{
	MPASS(pos < leaf->n);

	return leaf_of_class(leaf, leaf->cls[pos]) == UINT32_C(1) << pos;
}

/* One run less of the class in the leaf; `alone`: it was the only one. */
static void
class_less(struct rt *rt, const struct rt_path *path, unsigned cls, bool alone)
{
	MPASS(cls < RT_NCLASS);

	for (unsigned depth = rt->height - 1; depth-- > 0;) {
		uint64_t *having = inner_having(path->inner[depth], cls);

		*having &= ~((uint64_t)alone << path->at[depth]);
		if (*having != 0)
			return;
	}
	rt->sum.classes &= ~((uint64_t)alone << cls);
}

/* The leaf begins elsewhere. */
static void
first_moved(struct rt *rt, const struct rt_path *path)
{
	vm_paddr_t first = path->leaf->start[0];

	MPASS(path->leaf->n > 0);

	for (unsigned depth = rt->height - 1; depth-- > 0;) {
		path->inner[depth]->first[path->at[depth]] = first;
		if (path->at[depth] != 0)
			return;
	}
}

/* Slot `at` knows at least `come`.  false: it did already. */
static bool
slot_raise(struct rt_inner *inner, unsigned at, const rt_lanes come[RT_ROW])
{
	rt_lanes known[RT_ROW] = {{0}};

	slot_max(inner, at, known);
	if (!lanes_any((come[0] > known[0]) | (come[1] > known[1])))
		return false;
	for (unsigned v = 0; v < RT_ROW; v++)
		known[v] = lanes_max(known[v], come[v]);
	slot_set_max(inner, at, known);
	return true;
}

/* The run at `pos` may be longer than what is known. */
static void
measure_came(struct rt *rt, const struct rt_path *path, unsigned pos)
{
	rt_lanes come[RT_ROW];

	static_assert(RT_ROW == 2, "both are written out");
	leaf_measures(path->leaf, pos, come);
	for (unsigned depth = rt->height - 1; depth-- > 0;) {
		if (!slot_raise(path->inner[depth], path->at[depth], come))
			return;
	}
	rt->sum.max[0] = lanes_max(rt->sum.max[0], come[0]);
	rt->sum.max[1] = lanes_max(rt->sum.max[1], come[1]);
}

void
rt_resize(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end)
{
	struct rt_leaf *leaf = path->leaf;
	unsigned pos = path->pos, old = leaf->cls[pos];
	bool grown = start < leaf->start[pos] || end > leaf->end[pos];
	bool alone = class_alone(leaf, pos);

	MPASS(start < end && pos < leaf->n);
	MPASS(pos == 0 || leaf->end[pos - 1] <= start);
	MPASS(pos + 1 == leaf->n || end <= leaf->start[pos + 1]);

	leaf->start[pos] = start;
	leaf->end[pos] = end;
	rt_leaf_measure(leaf, pos, store->page_shift);
	if (leaf->cls[pos] != old) {
		class_came(rt, path, leaf->cls[pos]);
		class_less(rt, path, old, alone);
	}
	if (pos == 0)
		first_moved(rt, path);
	if (grown)
		measure_came(rt, path, pos);
}

/* ---- Insertion ---- */

/* Both halves of what was the root. */
static void
rt_grow(struct rt_store *store, struct rt *rt, const struct rt_child *left,
    const struct rt_child *right)
{
	struct rt_inner *root = inner_new(store);

	MPASS(rt->height < RT_HEIGHT);

	inner_insert(root, 0, left);
	inner_insert(root, 1, right);
	rt->root = root;
	rt->height++;
}

/*
 * Put `right` behind slot `at`; what `inner` is now, and its right half, if
 * it had to be split.
 */
static void
inner_add(struct rt_store *store, struct rt_inner *inner, unsigned at,
    struct rt_child *left, struct rt_child *right)
{
	struct rt_inner *half;

	MPASS(at < inner->n);

	slot_set(inner, at, left);
	if (inner->n < RT_FAN) {
		inner_insert(inner, at + 1, right);
		*right = (struct rt_child){0};
		return;
	}
	half = inner_split(store, inner);
	if (at + 1 > RT_FAN / 2)
		inner_insert(half, at + 1 - RT_FAN / 2, right);
	else
		inner_insert(inner, at + 1, right);
	*left = inner_as_child(inner);
	*right = inner_as_child(half);
}

/* Split the leaf of the path; the path leads to the same place afterwards. */
static void
rt_split(struct rt_store *store, struct rt *rt, struct rt_path *path)
{
	struct rt_leaf *leaf = path->leaf, *half = leaf_split(store, leaf);
	struct rt_child left = leaf_as_child(leaf);
	struct rt_child right = leaf_as_child(half);
	unsigned depth = rt->height - 1, pos = path->pos;

	while (depth > 0 && right.node != NULL) {
		depth--;
		inner_add(store, path->inner[depth], path->at[depth], &left,
		    &right);
	}
	if (right.node != NULL)
		rt_grow(store, rt, &left, &right);

	if (pos > RT_LEAF / 2) {
		pos -= RT_LEAF / 2;
		leaf = half;
	}
	rt_descend(rt, leaf->start[0], path);
	MPASS(path->leaf == leaf);
	path->pos = pos;
}

void
rt_insert_at(struct rt_store *store, struct rt *rt, struct rt_path *path,
    vm_paddr_t start, vm_paddr_t end)
{
	struct rt_leaf *leaf = path->leaf;
	unsigned pos = path->pos;

	MPASS(start < end && pos <= leaf->n);
	MPASS(pos == 0 || leaf->end[pos - 1] <= start);
	MPASS(pos == leaf->n || end <= leaf->start[pos]);

	if (leaf->n == RT_LEAF) {
		rt_split(store, rt, path);
		leaf = path->leaf;
		pos = path->pos;
	}
	leaf_insert(leaf, pos, start, end, store->page_shift);
	class_came(rt, path, leaf->cls[pos]);
	if (pos == 0)
		first_moved(rt, path);
	measure_came(rt, path, pos);
}

void
rt_insert(struct rt_store *store, struct rt *rt, vm_paddr_t start,
    vm_paddr_t end)
{
	struct rt_path path;

	MPASS(start < end);

	if (rt->height == 0) {
		rt->root = leaf_new(store);
		rt->height = 1;
	}
	rt_descend(rt, start, &path);
	path.pos = rt_keys_upto(path.leaf->start, RT_LEAF, start);
	rt_insert_at(store, rt, &path, start, end);
}

/* ---- Deletion ---- */

/* A root with one child is one level too many. */
static void
rt_shrink(struct rt_store *store, struct rt *rt)
{
	MPASS(rt->height > 0);

	while (rt->height > 1) {
		struct rt_inner *root = rt->root;

		if (root->n > 1)
			return;
		rt->root = root->child[0];
		rt->height--;
		uma_zfree(&store->inners, root);
	}
}

/* The leaf of the path may have too few runs. */
static void
rt_rebalance(struct rt_store *store, struct rt *rt, const struct rt_path *path)
{
	unsigned depth = rt->height - 1;

	if (path->leaf->n >= RT_LEAF / 2 || depth == 0)
		return;
	inner_fix(store, path->inner[depth - 1], path->at[depth - 1], true);
	while (--depth > 0 && path->inner[depth]->n < RT_FAN / 2)
		inner_fix(store, path->inner[depth - 1], path->at[depth - 1],
		    false);
	rt_shrink(store, rt);
}

void
rt_delete(struct rt_store *store, struct rt *rt, struct rt_path *path)
{
	struct rt_leaf *leaf = path->leaf;
	unsigned old = leaf->cls[path->pos];
	bool alone = class_alone(leaf, path->pos);

	MPASS(path->pos < leaf->n);

	leaf_remove(leaf, path->pos);
	if (leaf->n == 0) {
		MPASS(rt->height == 1);
		uma_zfree(&store->leaves, leaf);
		*rt = (struct rt){0};
		return;
	}
	class_less(rt, path, old, alone);
	if (path->pos == 0)
		first_moved(rt, path);
	rt_rebalance(store, rt, path);
}

void
rt_join(struct rt_store *store, struct rt *rt, struct rt_path *path)
{
	struct rt_leaf *leaf = path->leaf;
	unsigned pos = path->pos, old = leaf->cls[pos], next;

	MPASS(pos + 1 < leaf->n);

	next = leaf->cls[pos + 1];
	leaf->end[pos] = leaf->end[pos + 1];
	rt_leaf_measure(leaf, pos, store->page_shift);
	leaf_remove(leaf, pos + 1);
	class_came(rt, path, leaf->cls[pos]);
	class_less(rt, path, old, leaf_of_class(leaf, old) == 0);
	class_less(rt, path, next, leaf_of_class(leaf, next) == 0);
	measure_came(rt, path, pos);
	rt_rebalance(store, rt, path);
}

/* ---- The longest run ---- */

/* The longest run below a node, if it is longer than `best`. */
static vm_size_t
node_largest(const struct rt_store *store, const void *node, unsigned height,
    vm_size_t best)
{
	const struct rt_inner *inner = node;
	const struct rt_leaf *leaf = node;

	MPASS(height > 0);

	if (height == 1) {
		for (unsigned i = 0; i < leaf->n; i++)
			best = MAX(best, leaf->end[i] - leaf->start[i]);
		return best;
	}
	for (unsigned i = inner->n; i-- > 0;) {
		int16_t most = inner->max[0][i / 8][i % 8];

		/* The measure is a bound, but for the longest. */
		if (most == RT_MAX ||
		    (vm_size_t)most << store->page_shift > best)
			best = node_largest(store, inner->child[i], height - 1,
			    best);
	}
	return best;
}

vm_size_t
rt_largest(const struct rt_store *store, const struct rt *rt)
{
	MPASS((rt->height == 0) == (rt->root == NULL));

	if (rt->height == 0)
		return 0;
	return node_largest(store, rt->root, rt->height, 0);
}
