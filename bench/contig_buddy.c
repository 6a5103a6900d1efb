/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Binary buddies over pages, blocks of up to 16 MiB, last in first out.
 *
 * A request takes the smallest block that holds it and gives the tail back; one
 * of more than 16 MiB takes the first sequence of free 16 MiB blocks.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "bench/contig_peers.h"

#define NORDERS 13
#define NOPAGE  UINT32_MAX
#define BIG     (UINT32_C(1) << (NORDERS - 1)) /* pages in the largest block */

struct buddy {
	vm_paddr_t start;
	uint32_t npages;
	uint32_t heads[NORDERS];
	int8_t *order; /* of a page: of the free block it begins, or -1 */
	uint32_t *next, *prev;
};

static void
block_link(struct buddy *b, uint32_t page, unsigned order)
{
	uint32_t head = b->heads[order];

	b->order[page] = (int8_t)order;
	b->next[page] = head;
	b->prev[page] = NOPAGE;
	if (head != NOPAGE)
		b->prev[head] = page;
	b->heads[order] = page;
}

static void
block_unlink(struct buddy *b, uint32_t page)
{
	unsigned order = (unsigned)b->order[page];

	if (b->prev[page] != NOPAGE)
		b->next[b->prev[page]] = b->next[page];
	else
		b->heads[order] = b->next[page];
	if (b->next[page] != NOPAGE)
		b->prev[b->next[page]] = b->prev[page];
	b->order[page] = -1;
}

static void
block_free(struct buddy *b, uint32_t page, unsigned order)
{
	while (order < NORDERS - 1) {
		uint32_t other = page ^ UINT32_C(1) << order;

		if (other >= b->npages || b->order[other] != (int8_t)order)
			break;
		block_unlink(b, other);
		page = MIN(page, other);
		order++;
	}
	block_link(b, page, order);
}

/* [page, page + n) in the largest aligned blocks. */
static void
range_free(struct buddy *b, uint32_t page, uint32_t n)
{
	while (n > 0) {
		unsigned order = NORDERS - 1;

		while ((page & ((UINT32_C(1) << order) - 1)) != 0 ||
		       UINT32_C(1) << order > n)
			order--;
		block_free(b, page, order);
		page += UINT32_C(1) << order;
		n -= UINT32_C(1) << order;
	}
}

static void *
buddy_create(vm_paddr_t start, vm_paddr_t end)
{
	struct buddy *b = calloc(1, sizeof(*b));

	if (b == NULL)
		err(1, "calloc");
	b->start = start;
	b->npages = (uint32_t)((end - start) / PEER_PAGE);
	b->order = malloc(b->npages);
	b->next = calloc(b->npages, sizeof(uint32_t));
	b->prev = calloc(b->npages, sizeof(uint32_t));
	if (b->order == NULL || b->next == NULL || b->prev == NULL)
		err(1, "calloc");
	memset(b->order, -1, b->npages);
	for (unsigned i = 0; i < NORDERS; i++)
		b->heads[i] = NOPAGE;
	range_free(b, 0, b->npages);
	return b;
}

static void
buddy_destroy(void *peer)
{
	struct buddy *b = peer;

	free(b->order);
	free(b->next);
	free(b->prev);
	free(b);
}

/* Does the request fit at the first page of the block? */
static bool
head_fits(struct buddy *b, const struct contig_req *req, vm_size_t size,
    uint32_t page)
{
	vm_paddr_t pa = b->start + page * PEER_PAGE, got;

	return peer_fit(req, size, pa, pa + size, &got);
}

static uint32_t
find_block(struct buddy *b, const struct contig_req *req, vm_size_t size)
{
	uint32_t n = (uint32_t)(size / PEER_PAGE);

	for (unsigned o = 0; o < NORDERS; o++) {
		if (UINT32_C(1) << o < n)
			continue;
		for (uint32_t page = b->heads[o]; page != NOPAGE;
		     page = b->next[page])
			if (head_fits(b, req, size, page))
				return page;
	}
	return NOPAGE;
}

/* The first page of enough neighbouring blocks of 16 MiB. */
static uint32_t
find_sequence(struct buddy *b, const struct contig_req *req, vm_size_t size)
{
	uint32_t n = (uint32_t)(size / PEER_PAGE), from = 0;

	for (uint32_t page = 0; page + BIG <= b->npages; page += BIG) {
		if (b->order[page] != NORDERS - 1) {
			from = page + BIG;
			continue;
		}
		if (page + BIG - from >= n && head_fits(b, req, size, from))
			return from;
	}
	return NOPAGE;
}

static bool
buddy_alloc(void *peer, const struct contig_req *req, vm_paddr_t *pap)
{
	struct buddy *b = peer;
	vm_size_t size = roundup2(req->size, PEER_PAGE);
	uint32_t n, taken = 0, page;

	if (size / PEER_PAGE > b->npages)
		return false;
	n = (uint32_t)(size / PEER_PAGE);
	page =
	    n <= BIG ? find_block(b, req, size) : find_sequence(b, req, size);
	if (page == NOPAGE)
		return false;
	while (taken < n) {
		uint32_t more = UINT32_C(1) << b->order[page + taken];

		block_unlink(b, page + taken);
		taken += more;
	}
	range_free(b, page + n, taken - n);
	*pap = b->start + page * PEER_PAGE;
	return true;
}

static void
buddy_free(void *peer, vm_paddr_t pa, vm_size_t size)
{
	struct buddy *b = peer;

	range_free(b, (uint32_t)((pa - b->start) / PEER_PAGE),
	    (uint32_t)(size / PEER_PAGE));
}

/* The longest run of free pages, whatever blocks they are in. */
static vm_size_t
buddy_largest(void *peer)
{
	struct buddy *b = peer;
	uint32_t run = 0, largest = 0;

	for (uint32_t page = 0; page < b->npages;) {
		if (b->order[page] < 0) {
			run = 0;
			page++;
			continue;
		}
		run += UINT32_C(1) << b->order[page];
		page += UINT32_C(1) << b->order[page];
		largest = MAX(largest, run);
	}
	return largest * PEER_PAGE;
}

const struct peer_ops peer_buddy = {
    "buddy",
    buddy_create,
    buddy_destroy,
    buddy_alloc,
    buddy_free,
    buddy_largest,
};
