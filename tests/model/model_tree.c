/* SPDX-License-Identifier: BSD-2-Clause */

#include "tests/model/model_tree.h"

#include <stdlib.h>
#include <string.h>

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
	size_t i = 0;

	while (i < t->n && t->range[i].start <= addr)
		i++;
	return i;
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
	for (size_t i = 0; i <= t->n; i++) {
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

void
model_tree_insert(struct model_tree *t, vm_offset_t start, vm_offset_t end,
    void *what)
{
	size_t i = model_tree_rank(t, start);

	if (t->n == t->room) {
		t->room = t->room == 0 ? 64 : 2 * t->room;
		t->range = realloc(t->range, t->room * sizeof(t->range[0]));
		if (t->range == NULL)
			abort();
	}
	memmove(&t->range[i + 1], &t->range[i],
	    (t->n - i) * sizeof(t->range[0]));
	t->range[i] = (struct model_range){start, end, what};
	t->n++;
}

void
model_tree_remove(struct model_tree *t, size_t i)
{
	t->n--;
	memmove(&t->range[i], &t->range[i + 1],
	    (t->n - i) * sizeof(t->range[0]));
}
