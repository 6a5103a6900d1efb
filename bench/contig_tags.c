/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Allocators of boundary tags: vmem, TLSF, best fit, first fit.  They differ
 * in how they index the free tags.
 */

#include <err.h>
#include <stdlib.h>

#include "bench/contig_peers.h"

#define BUCKETS (UINT64_C(1) << 20)
#define NLISTS  1024

struct tag {
	vm_paddr_t start;
	vm_size_t size;
	bool is_free;
	struct tag *below, *above; /* in order of address */
	struct tag *next, **prevp; /* in its list, or hash chain */
	struct tag *left, *right;  /* treap of free tags */
	vm_size_t longest;         /* in its subtree */
};

struct tags {
	const struct tags_index *index;
	struct tag *lists[NLISTS];
	uint64_t full[NLISTS / 64]; /* lists that are not empty */
	struct tag *root;
	struct tag **buckets;
	struct tag *spare;
};

struct tags_index {
	void (*add)(struct tags *tags, struct tag *tag);
	void (*remove)(struct tags *tags, struct tag *tag);
	struct tag *(*find)(struct tags *tags, const struct contig_req *req,
	    vm_size_t size, vm_paddr_t *pap);
};

/* ---- Lists -------------------------------------------------------------- */

static void
tag_link(struct tag **headp, struct tag *tag)
{
	tag->next = *headp;
	tag->prevp = headp;
	if (tag->next != NULL)
		tag->next->prevp = &tag->next;
	*headp = tag;
}

static void
tag_unlink(struct tag *tag)
{
	*tag->prevp = tag->next;
	if (tag->next != NULL)
		tag->next->prevp = tag->prevp;
}

static void
list_add(struct tags *tags, struct tag *tag, unsigned list)
{
	tag_link(&tags->lists[list], tag);
	tags->full[list / 64] |= UINT64_C(1) << list % 64;
}

static void
list_remove(struct tags *tags, struct tag *tag, unsigned list)
{
	tag_unlink(tag);
	if (tags->lists[list] == NULL)
		tags->full[list / 64] &= ~(UINT64_C(1) << list % 64);
}

/* The first list from `list` on that is not empty, or NLISTS. */
static unsigned
list_next(const struct tags *tags, unsigned list)
{
	while (list < NLISTS) {
		uint64_t word = tags->full[list / 64] >> list % 64;

		if (word != 0)
			return list + (unsigned)__builtin_ctzll(word);
		list = (list / 64 + 1) * 64;
	}
	return NLISTS;
}

static struct tag *
list_fit(struct tags *tags, const struct contig_req *req, vm_size_t size,
    unsigned list, vm_paddr_t *pap)
{
	for (struct tag *tag = tags->lists[list]; tag; tag = tag->next)
		if (tag->size >= size && peer_fit(req, size, tag->start,
					     tag->start + tag->size, pap))
			return tag;
	return NULL;
}

/* vmem: 32 exact classes, then one for each power of two. */

static unsigned
vmem_class(vm_size_t size)
{
	uint64_t npages = size / PEER_PAGE;

	if (npages <= 32)
		return (unsigned)npages - 1;
	return 27 + 63 - (unsigned)__builtin_clzll(npages);
}

static void
vmem_add(struct tags *tags, struct tag *tag)
{
	list_add(tags, tag, vmem_class(tag->size));
}

static void
vmem_remove(struct tags *tags, struct tag *tag)
{
	list_remove(tags, tag, vmem_class(tag->size));
}

static struct tag *
vmem_find(struct tags *tags, const struct contig_req *req, vm_size_t size,
    vm_paddr_t *pap)
{
	unsigned list = vmem_class(size);

	while ((list = list_next(tags, list)) < NLISTS) {
		struct tag *tag = list_fit(tags, req, size, list, pap);

		if (tag != NULL)
			return tag;
		list++;
	}
	return NULL;
}

/* TLSF: 16 lists for each power of two. */

static unsigned
tlsf_list(uint64_t npages)
{
	unsigned log = 63 - (unsigned)__builtin_clzll(npages);

	if (log < 4)
		return (unsigned)npages;
	return (log - 3) * 16 + (unsigned)((npages >> (log - 4)) & 15);
}

static void
tlsf_add(struct tags *tags, struct tag *tag)
{
	list_add(tags, tag, tlsf_list(tag->size / PEER_PAGE));
}

static void
tlsf_remove(struct tags *tags, struct tag *tag)
{
	list_remove(tags, tag, tlsf_list(tag->size / PEER_PAGE));
}

/* Sure to fit first; failing that, whatever does, so that it is exact too. */
static struct tag *
tlsf_find(struct tags *tags, const struct contig_req *req, vm_size_t size,
    vm_paddr_t *pap)
{
	uint64_t npages = (size + req->alignment - 1) / PEER_PAGE;
	unsigned log = 63 - (unsigned)__builtin_clzll(npages);
	unsigned list;

	if (log >= 4)
		npages += (UINT64_C(1) << (log - 4)) - 1;
	list = list_next(tags, tlsf_list(npages));
	if (list < NLISTS &&
	    peer_fit(req, size, tags->lists[list]->start,
		tags->lists[list]->start + tags->lists[list]->size, pap))
		return tags->lists[list];
	list = tlsf_list(size / PEER_PAGE);
	while ((list = list_next(tags, list)) < NLISTS) {
		struct tag *tag = list_fit(tags, req, size, list, pap);

		if (tag != NULL)
			return tag;
		list++;
	}
	return NULL;
}

/* ---- Treaps ------------------------------------------------------------- */

static uint64_t
priority(const struct tag *tag)
{
	uint64_t z = tag->start * UINT64_C(0x9e3779b97f4a7c15);

	return (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* In order of (size, start) for best fit, of start for first fit. */
typedef bool (*less_fn)(const struct tag *a, const struct tag *b);

static bool
less_size(const struct tag *a, const struct tag *b)
{
	return a->size != b->size ? a->size < b->size : a->start < b->start;
}

static bool
less_start(const struct tag *a, const struct tag *b)
{
	return a->start < b->start;
}

static void
measure(struct tag *tag)
{
	tag->longest = tag->size;
	if (tag->left != NULL)
		tag->longest = MAX(tag->longest, tag->left->longest);
	if (tag->right != NULL)
		tag->longest = MAX(tag->longest, tag->right->longest);
}

static void
split(struct tag *root, const struct tag *at, less_fn less, struct tag **leftp,
    struct tag **rightp)
{
	if (root == NULL) {
		*leftp = *rightp = NULL;
	} else if (less(root, at)) {
		split(root->right, at, less, &root->right, rightp);
		*leftp = root;
		measure(root);
	} else {
		split(root->left, at, less, leftp, &root->left);
		*rightp = root;
		measure(root);
	}
}

static struct tag *
merge(struct tag *left, struct tag *right)
{
	if (left == NULL || right == NULL)
		return left != NULL ? left : right;
	if (priority(left) > priority(right)) {
		left->right = merge(left->right, right);
		measure(left);
		return left;
	}
	right->left = merge(left, right->left);
	measure(right);
	return right;
}

static struct tag *
treap_add(struct tag *root, struct tag *tag, less_fn less)
{
	if (root == NULL || priority(tag) > priority(root)) {
		split(root, tag, less, &tag->left, &tag->right);
		measure(tag);
		return tag;
	}
	if (less(tag, root))
		root->left = treap_add(root->left, tag, less);
	else
		root->right = treap_add(root->right, tag, less);
	measure(root);
	return root;
}

static struct tag *
treap_remove(struct tag *root, struct tag *tag, less_fn less)
{
	if (root == tag)
		return merge(tag->left, tag->right);
	if (less(tag, root))
		root->left = treap_remove(root->left, tag, less);
	else
		root->right = treap_remove(root->right, tag, less);
	measure(root);
	return root;
}

static void
best_add(struct tags *tags, struct tag *tag)
{
	tags->root = treap_add(tags->root, tag, less_size);
}

static void
best_remove(struct tags *tags, struct tag *tag)
{
	tags->root = treap_remove(tags->root, tag, less_size);
}

static void
first_add(struct tags *tags, struct tag *tag)
{
	tags->root = treap_add(tags->root, tag, less_start);
}

static void
first_remove(struct tags *tags, struct tag *tag)
{
	tags->root = treap_remove(tags->root, tag, less_start);
}

/* In order of the treap, the first that fits. */
static struct tag *
treap_find(struct tag *root, const struct contig_req *req, vm_size_t size,
    vm_paddr_t *pap)
{
	struct tag *tag;

	if (root == NULL || root->longest < size)
		return NULL;
	tag = treap_find(root->left, req, size, pap);
	if (tag != NULL)
		return tag;
	if (root->size >= size &&
	    peer_fit(req, size, root->start, root->start + root->size, pap))
		return root;
	return treap_find(root->right, req, size, pap);
}

static struct tag *
tree_find(struct tags *tags, const struct contig_req *req, vm_size_t size,
    vm_paddr_t *pap)
{
	return treap_find(tags->root, req, size, pap);
}

/* ---- The tags themselves ------------------------------------------------ */

static struct tag **
bucket(struct tags *tags, vm_paddr_t pa)
{
	uint64_t hash = pa / PEER_PAGE * UINT64_C(0x9e3779b97f4a7c15);

	return &tags->buckets[hash >> 44];
}

/* A tag for [start, start + size) above `below`. */
static struct tag *
tag_new(struct tags *tags, struct tag *below, vm_paddr_t start, vm_size_t size)
{
	struct tag *tag = tags->spare;

	if (tag != NULL)
		tags->spare = tag->next;
	else
		tag = malloc(sizeof(*tag));
	if (tag == NULL)
		err(1, "malloc");
	*tag = (struct tag){.start = start, .size = size, .below = below};
	tag->above = below ? below->above : NULL;
	if (below != NULL)
		below->above = tag;
	if (tag->above != NULL)
		tag->above->below = tag;
	return tag;
}

static void
tag_drop(struct tags *tags, struct tag *tag)
{
	if (tag->below != NULL)
		tag->below->above = tag->above;
	if (tag->above != NULL)
		tag->above->below = tag->below;
	tag->next = tags->spare;
	tags->spare = tag;
}

static void
tag_set_free(struct tags *tags, struct tag *tag)
{
	tag->is_free = true;
	tags->index->add(tags, tag);
}

static void *
tags_create(const struct tags_index *index, vm_paddr_t start, vm_paddr_t end)
{
	struct tags *tags = calloc(1, sizeof(*tags));

	if (tags == NULL ||
	    (tags->buckets = calloc(BUCKETS, sizeof(*tags->buckets))) == NULL)
		err(1, "calloc");
	tags->index = index;
	tag_set_free(tags, tag_new(tags, NULL, start, end - start));
	return tags;
}

static struct tag *
tags_any(struct tags *tags)
{
	unsigned list = list_next(tags, 0);
	struct tag *tag = tags->root;

	if (tag == NULL && list < NLISTS)
		tag = tags->lists[list];
	for (uint64_t i = 0; i < BUCKETS && tag == NULL; i++)
		tag = tags->buckets[i];
	return tag;
}

static void
tags_destroy(void *peer)
{
	struct tags *tags = peer;
	struct tag *tag = tags_any(tags), *next;

	while (tag->below != NULL)
		tag = tag->below;
	for (; tag != NULL; tag = next) {
		next = tag->above;
		free(tag);
	}
	for (tag = tags->spare; tag != NULL; tag = next) {
		next = tag->next;
		free(tag);
	}
	free(tags->buckets);
	free(tags);
}

static bool
tags_alloc(void *peer, const struct contig_req *req, vm_paddr_t *pap)
{
	struct tags *tags = peer;
	vm_size_t size = roundup2(req->size, PEER_PAGE);
	struct tag *tag = tags->index->find(tags, req, size, pap);
	vm_paddr_t end;

	if (tag == NULL)
		return false;
	tags->index->remove(tags, tag);
	end = tag->start + tag->size;
	if (*pap > tag->start) {
		tag->size = *pap - tag->start;
		tag_set_free(tags, tag);
		tag = tag_new(tags, tag, *pap, size);
	}
	tag->size = size;
	tag->is_free = false;
	if (end > *pap + size)
		tag_set_free(tags,
		    tag_new(tags, tag, *pap + size, end - *pap - size));
	tag_link(bucket(tags, tag->start), tag);
	return true;
}

static void
tags_free(void *peer, vm_paddr_t pa, vm_size_t size)
{
	struct tags *tags = peer;
	struct tag *tag = *bucket(tags, pa), *other;

	while (tag != NULL && tag->start != pa)
		tag = tag->next;
	if (tag == NULL || tag->size != size)
		errx(1, "freed what was not allocated");
	tag_unlink(tag);
	if ((other = tag->above) != NULL && other->is_free) {
		tags->index->remove(tags, other);
		tag->size += other->size;
		tag_drop(tags, other);
	}
	if ((other = tag->below) != NULL && other->is_free) {
		tags->index->remove(tags, other);
		other->size += tag->size;
		tag_drop(tags, tag);
		tag = other;
	}
	tag_set_free(tags, tag);
}

static vm_size_t
tags_largest(void *peer)
{
	struct tags *tags = peer;
	vm_size_t largest = tags->root != NULL ? tags->root->longest : 0;

	for (unsigned list = NLISTS; list-- > 0 && largest == 0;)
		for (struct tag *tag = tags->lists[list]; tag; tag = tag->next)
			largest = MAX(largest, tag->size);
	return largest;
}

/* ---- What is offered ---------------------------------------------------- */

#define TAGS_PEER(name, find)                                                  \
	static const struct tags_index name##_index = {name##_add,             \
	    name##_remove, find};                                              \
	static void *name##_create(vm_paddr_t start, vm_paddr_t end)           \
	{                                                                      \
		return tags_create(&name##_index, start, end);                 \
	}                                                                      \
	const struct peer_ops peer_##name = {#name, name##_create,             \
	    tags_destroy, tags_alloc, tags_free, tags_largest}

TAGS_PEER(vmem, vmem_find);
TAGS_PEER(tlsf, tlsf_find);
TAGS_PEER(best, tree_find);
TAGS_PEER(first, tree_find);
