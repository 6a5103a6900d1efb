/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A sorted array from numbers to pointers.  Few entries, many look-ups.
 */

#include <stddef.h>
#include <stdint.h>

struct hf_index_slot {
	uint64_t key;
	void *value;
};

struct hf_index {
	struct hf_index_slot *slots; /* ascending */
	size_t n, capacity;
};

/* Room for one more, so that the next hf_index_add() cannot fail. -ENOMEM. */
int hf_index_reserve(struct hf_index *index);
/* `key` is not in it yet. */
void hf_index_add(struct hf_index *index, uint64_t key, void *value);
void hf_index_remove(struct hf_index *index, uint64_t key);
/* NULL: no such. */
void *hf_index_get(const struct hf_index *index, uint64_t key);
/* The value with the greatest key <= `key`; NULL: none. */
void *hf_index_floor(const struct hf_index *index, uint64_t key);
void hf_index_fini(struct hf_index *index);
