/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The entry tree as a sorted array; gaps are looked at one by one.
 */

#include "core/vm.h"

struct model_range {
	vm_offset_t start, end;
	void *what; /* whatever tells the entries apart */
};

struct model_tree {
	vm_offset_t min, max;
	struct model_range *range;
	size_t n, room;
};

void model_tree_init(struct model_tree *t, vm_offset_t min, vm_offset_t max);
void model_tree_fini(struct model_tree *t);

/* How many entries start at or below `addr`; the last of them may hold it. */
size_t model_tree_rank(const struct model_tree *t, vm_offset_t addr);

/* The gap in front of entry i, or behind the last. */
vm_offset_t model_tree_gap_start(const struct model_tree *t, size_t i);
vm_offset_t model_tree_gap_end(const struct model_tree *t, size_t i);

/* The lowest address from `start` on, congruent to `phase`, with room. */
bool model_tree_fit(const struct model_tree *t, vm_offset_t start,
    vm_size_t length, vm_size_t align, vm_offset_t phase, vm_offset_t *addrp);

/* Enter as number i, which is the rank of `start`. */
void model_tree_insert(struct model_tree *t, size_t i, vm_offset_t start,
    vm_offset_t end, void *what);
void model_tree_remove(struct model_tree *t, size_t i);
