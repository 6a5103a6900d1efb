/* SPDX-License-Identifier: BSD-2-Clause */

#include "tests/model/model_tree.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 64 /* ranges that are moved at a time */

void
model_tree_init(struct model_tree *t, vm_offset_t min, vm_offset_t max)
{
	*t = (struct model_tree){.min = min, .max = max};
}

void
model_tree_fini(struct model_tree *t)
{
	free(t->range);
	t->range = NULL;
	t->n = t->room = 0;
}

size_t
model_tree_rank(const struct model_tree *t, vm_offset_t addr)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (t->range[mid].start <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

vm_offset_t
model_tree_gap_start(const struct model_tree *t, size_t i)
{
	return i == 0 ? t->min : t->range[i - 1].end;
}

vm_offset_t
model_tree_gap_end(const struct model_tree *t, size_t i)
{
	return i == t->n ? t->max : t->range[i].start;
}

bool
model_tree_fit(const struct model_tree *t, vm_offset_t start, vm_size_t length,
    vm_size_t align, vm_offset_t phase, vm_offset_t *addrp)
{
	for (size_t i = model_tree_rank(t, start); i <= t->n; i++) {
		vm_offset_t at = model_tree_gap_start(t, i);
		vm_offset_t end = model_tree_gap_end(t, i);

		if (at < start)
			at = start;
		if (at >= end)
			continue;
		while (at % align != phase % align && at < end) {
			vm_offset_t pad = (phase - at) & (align - 1);

			if (pad >= end - at)
				at = end;
			else
				at += pad;
		}
		if (end - at >= length) {
			*addrp = at;
			return true;
		}
	}
	return false;
}

/*
 * Move n ranges up by one, the last ones first.  AddressSanitizer checks
 * memmove() byte by byte, and memcpy() at once.
 */
static void
move_up(struct model_range *range, size_t n)
{
	static struct model_range block[BLOCK];

	while (n > 0) {
		size_t m = MIN(n, (size_t)BLOCK);

		n -= m;
		memcpy(block, &range[n], m * sizeof(block[0]));
		memcpy(&range[n + 1], block, m * sizeof(block[0]));
	}
}

/* Move n ranges down by one, the first ones first. */
static void
move_down(struct model_range *range, size_t n)
{
	static struct model_range block[BLOCK];

	for (; n > 0; n -= MIN(n, (size_t)BLOCK), range += BLOCK) {
		size_t m = MIN(n, (size_t)BLOCK);

		memcpy(block, range, m * sizeof(block[0]));
		memcpy(range - 1, block, m * sizeof(block[0]));
	}
}

void
model_tree_insert(struct model_tree *t, size_t i, vm_offset_t start,
    vm_offset_t end, void *what)
{
	if (t->n == t->room) {
		t->room = t->room == 0 ? 64 : 2 * t->room;
		t->range = realloc(t->range, t->room * sizeof(t->range[0]));
		if (t->range == NULL)
			abort();
	}
	move_up(&t->range[i], t->n - i);
	t->range[i] = (struct model_range){start, end, what};
	t->n++;
}

void
model_tree_remove(struct model_tree *t, size_t i)
{
	t->n--;
	move_down(&t->range[i + 1], t->n - i);
}
