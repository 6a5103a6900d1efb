/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Which slot of the standby file holds which frame.  Arithmetic only.
 *
 * A slot is EMPTY (a hole in the file), BUSY (somebody is filling or emptying
 * it) or HELD (it holds a known frame).  The caller locks.
 */

#include "arch/arch.h"

#define INVENTORY_NONE UINT32_MAX

enum slot_state {
	SLOT_EMPTY,
	SLOT_BUSY,
	SLOT_HELD,
};

struct inventory_slot {
	vm_paddr_t pa; /* HELD: its frame */
	int domain;    /* HELD: the frame's node */
	uint32_t next; /* chain of the same hash bucket */
	uint8_t state; /* enum slot_state */
};

struct inventory {
	struct inventory_slot *slots;
	uint32_t *buckets; /* first slot of each chain */
	uint32_t *empty;   /* ring of EMPTY slots, longest empty first */
	uint32_t nslots;
	uint32_t nempty;
	uint32_t first; /* where the ring begins */
	uint32_t nheld;
	uint32_t mask;  /* buckets - 1 */
	unsigned shift; /* log2 of the frame size */
};

/* All slots EMPTY.  -ENOMEM. */
int inventory_init(struct inventory *inv, uint32_t nslots,
    vm_size_t frame_size);
void inventory_fini(struct inventory *inv);

/* The slot that holds the frame at `pa`, or INVENTORY_NONE. */
uint32_t inventory_find(const struct inventory *inv, vm_paddr_t pa);
/* Copy up to `max` held frames, ascending; *np: how many there are.  -ENOMEM.
 */
int inventory_frames(const struct inventory *inv, struct arch_frame *frames,
    size_t max, size_t *np);
/*
 * Reorder `frames` so that the first `want` of them make the longest runs:
 * whole runs, longest first, the lower one of two that are alike.  -ENOMEM.
 */
int inventory_choose(struct arch_frame *frames, size_t n, size_t want,
    vm_size_t frame_size);

/* EMPTY to BUSY, the longest empty one; INVENTORY_NONE when none is. */
uint32_t inventory_grab(struct inventory *inv);
/* BUSY to EMPTY. */
void inventory_drop(struct inventory *inv, uint32_t slot);
/* BUSY to HELD. */
void inventory_hold(struct inventory *inv, uint32_t slot,
    const struct arch_frame *frame);
/* HELD to BUSY. */
void inventory_pull(struct inventory *inv, uint32_t slot);
