/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The pages of one object: a search tree by index.
 *
 * A treap whose priorities are a hash of the index, so its shape depends on
 * what is in it alone.  Moving a page to another object needs no memory, which
 * is what lets objects collapse in commits.  The lock of all objects guards
 * everything here.
 */

#include "core/uma.h"
#include "core/vm_page.h"

struct vm_page {
	struct vm_page *left, *right;
	struct vm_pager *pager;
	vm_pindex_t pindex;
	uint64_t frame;
};

struct vm_pager {
	const struct arch *arch;
	const struct vm_pager_ops *ops;
	void *arg;
	struct uma_zone pages;
};

/* An object's; zeroed is empty. */
struct vm_pages {
	struct vm_page *root;
	uint64_t count;
};

/* The page at `pindex`, or NULL. */
struct vm_page *vm_pages_find(const struct vm_pages *pages, vm_pindex_t pindex);

/* The page with the lowest index from `pindex` on, or NULL. */
struct vm_page *vm_pages_next(const struct vm_pages *pages, vm_pindex_t pindex);

/* Add a page at an index that has none. */
void vm_pages_insert(struct vm_pages *pages, struct vm_page *page);

/* Take out those of [first, last); they become a tree of their own. */
void vm_pages_extract(struct vm_pages *pages, vm_pindex_t first,
    vm_pindex_t last, struct vm_pages *outp);

/* Give all of them and their frames back. */
void vm_pages_free(struct vm_pages *pages);

/*
 * Move all pages to `to`, each `shift` pages further down; what would be below
 * 0, at `limit` or above, or where `to` has one, is given back.
 */
void vm_pages_move(struct vm_pages *pages, vm_pindex_t shift, vm_pindex_t limit,
    struct vm_pages *to);

/* A page with a fresh frame, or with a copy of one; in no object yet. */
int vm_page_alloc(struct vm_pager *pager, vm_pindex_t pindex,
    struct vm_page **pagep);
int vm_page_copy(struct vm_pager *pager, vm_pindex_t pindex, vm_object_t source,
    uint64_t frame, struct vm_page **pagep);

/* Indices ascend, priorities are a heap, the count is right. */
bool vm_pages_check(const struct vm_pages *pages, vm_pindex_t limit);
