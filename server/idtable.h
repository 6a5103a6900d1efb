/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Numbers for what a session holds.
 *
 * A number is the session's serial (24 bits), a generation (20 bits) and an
 * index (20 bits).  So one of another session, a stale one and a guess are
 * all unknown here.  0 is never one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum id_kind { ID_NONE, ID_BUFFER, ID_OBJECT, ID_MAP, ID_MAP_READ };

struct id_slot {
	void *object; /* borrowed; NULL: free */
	enum id_kind kind;
	uint32_t generation; /* of the next or the present holder */
	uint32_t next_free;  /* index + 1; 0: none */
};

struct idtable {
	struct id_slot *slots;
	uint32_t nslots, size; /* in use at some time; allocated */
	uint32_t free;         /* index + 1 of the first free; 0: none */
	uint32_t serial;
};

void idtable_init(struct idtable *table, uint32_t serial);
void idtable_fini(struct idtable *table);

/* A number for `object`.  -ENOMEM.  -ENOSPC: the session has 2^20 already. */
int idtable_add(struct idtable *table, enum id_kind kind, void *object,
    uint64_t *idp);
/* NULL: not a number of that kind in this table. */
void *idtable_get(const struct idtable *table, enum id_kind kind, uint64_t id);
void idtable_remove(struct idtable *table, uint64_t id);

/*
 * The first holder at or behind `id` (0: from the beginning), of that kind, in
 * order of index.  false: no more.
 */
bool idtable_next(const struct idtable *table, enum id_kind kind, uint64_t id,
    uint64_t *idp, void **objectp);
