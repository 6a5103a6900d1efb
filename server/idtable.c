/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/idtable.h"
#include "server/memory.h"

#define ID_INDEX_BITS 20
#define ID_INDEX_MAX  (1u << ID_INDEX_BITS)
#define ID_MASK       (ID_INDEX_MAX - 1)
#define ID_SERIAL_MAX (1u << 24)

void
idtable_init(struct idtable *table, uint32_t serial)
{
	*table = (struct idtable){.serial = serial % ID_SERIAL_MAX};
}

void
idtable_fini(struct idtable *table)
{
	free(table->slots);
	*table = (struct idtable){0};
}

static uint64_t
idtable_number(const struct idtable *table, uint32_t index)
{
	return (uint64_t)table->serial << (2 * ID_INDEX_BITS) |
	       (uint64_t)table->slots[index].generation << ID_INDEX_BITS |
	       index;
}

static int
idtable_grow(struct idtable *table)
{
	uint32_t size = table->size == 0 ? 16 : table->size * 2;
	struct id_slot *slots;

	if (table->size >= ID_INDEX_MAX)
		return -ENOSPC;
	slots = memory_realloc(table->slots, size, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	table->slots = slots;
	table->size = size;
	return 0;
}

int
idtable_add(struct idtable *table, enum id_kind kind, void *object,
    uint64_t *idp)
{
	struct id_slot *slot;
	uint32_t index;
	int r;

	MPASS(object != NULL && kind != ID_NONE);
	if (table->free != 0) {
		index = table->free - 1;
		table->free = table->slots[index].next_free;
	} else {
		if (table->nslots == table->size) {
			r = idtable_grow(table);
			if (r < 0)
				return r;
		}
		index = table->nslots++;
		table->slots[index] = (struct id_slot){.generation = 1};
	}
	slot = &table->slots[index];
	slot->object = object;
	slot->kind = kind;
	*idp = idtable_number(table, index);
	return 0;
}

void *
idtable_get(const struct idtable *table, enum id_kind kind, uint64_t id)
{
	uint32_t index = (uint32_t)(id & ID_MASK);

	if (index >= table->nslots || table->slots[index].kind != kind ||
	    idtable_number(table, index) != id)
		return NULL;
	return table->slots[index].object;
}

void
idtable_remove(struct idtable *table, uint64_t id)
{
	uint32_t index = (uint32_t)(id & ID_MASK);
	struct id_slot *slot = &table->slots[index];

	MPASS(index < table->nslots && idtable_number(table, index) == id);
	slot->object = NULL;
	slot->kind = ID_NONE;
	/* Generation 0 stays unused, so that no number is 0. */
	slot->generation = (slot->generation + 1) & ID_MASK;
	if (slot->generation == 0)
		slot->generation = 1;
	slot->next_free = table->free;
	table->free = index + 1;
}

bool
idtable_next(const struct idtable *table, enum id_kind kind, uint64_t id,
    uint64_t *idp, void **objectp)
{
	for (uint32_t i = (uint32_t)(id & ID_MASK); i < table->nslots; i++) {
		if (table->slots[i].kind != kind)
			continue;
		*idp = idtable_number(table, i);
		*objectp = table->slots[i].object;
		return true;
	}
	return false;
}
