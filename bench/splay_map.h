/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What bench_vm_map compares with: ranges in a top-down splay tree that knows
 * the largest gap below each node, the algorithm of FreeBSD's vm_map.
 *
 * Our own code, and less of it than a vm_map has: no locks, no charges, no
 * checks, no objects.  An entry has FreeBSD's 120 bytes.
 */

#include "core/uma.h"

struct splay_entry;

struct splay_map {
	struct splay_entry *root;
	struct splay_entry *head; /* of no length, at min: owns the first gap */
	vm_offset_t min, max;
	size_t nentries;
	struct uma_zone zone;
};

void splay_map_init(struct splay_map *map, const struct arch *arch,
    vm_offset_t min, vm_offset_t max);
void splay_map_fini(struct splay_map *map);

/* The lowest fit at or above `start`; 0: none.  `align`: FreeBSD's loop. */
vm_offset_t splay_map_findspace(struct splay_map *map, vm_offset_t start,
    vm_size_t length, vm_size_t align);

/* [start, end) is free; entries merge only when asked to. */
void splay_map_insert(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    int prot);
void splay_map_remove(struct splay_map *map, vm_offset_t start,
    vm_offset_t end);
bool splay_map_lookup(struct splay_map *map, vm_offset_t addr);
void splay_map_protect(struct splay_map *map, vm_offset_t start,
    vm_offset_t end, int prot);
