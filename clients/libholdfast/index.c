/* SPDX-License-Identifier: BSD-2-Clause */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/index.h"

int
hf_index_reserve(struct hf_index *index)
{
	struct hf_index_slot *slots;
	size_t capacity = index->capacity != 0 ? 2 * index->capacity : 8;

	if (index->n < index->capacity)
		return 0;
	slots = reallocarray(index->slots, capacity, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	index->slots = slots;
	index->capacity = capacity;
	return 0;
}

/* How many keys are <= `key`. */
static size_t
upper(const struct hf_index *index, uint64_t key)
{
	size_t low = 0, high = index->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (index->slots[middle].key <= key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
hf_index_add(struct hf_index *index, uint64_t key, void *value)
{
	size_t at = upper(index, key);

	memmove(&index->slots[at + 1], &index->slots[at],
	    (index->n - at) * sizeof(*index->slots));
	index->slots[at] = (struct hf_index_slot){key, value};
	index->n++;
}

void
hf_index_remove(struct hf_index *index, uint64_t key)
{
	size_t at = upper(index, key);

	if (at == 0 || index->slots[at - 1].key != key)
		return;
	memmove(&index->slots[at - 1], &index->slots[at],
	    (index->n - at) * sizeof(*index->slots));
	index->n--;
}

void *
hf_index_get(const struct hf_index *index, uint64_t key)
{
	size_t at = upper(index, key);

	if (at == 0 || index->slots[at - 1].key != key)
		return NULL;
	return index->slots[at - 1].value;
}

void *
hf_index_floor(const struct hf_index *index, uint64_t key)
{
	size_t at = upper(index, key);

	return at == 0 ? NULL : index->slots[at - 1].value;
}

void
hf_index_fini(struct hf_index *index)
{
	free(index->slots);
	*index = (struct hf_index){0};
}
