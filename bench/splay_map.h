/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What bench_vm_map compares with: ranges in a top-down splay tree that knows
 * the largest gap below each node, the algorithm of FreeBSD's vm_map.
 *
 * Our own code.  It does what the algorithm has to do for the cases that are
 * measured, and nothing else: entries of FreeBSD's 120 bytes from a zone, with
 * their attributes filled in; insertion looks its place up again, and asks
 * both neighbours whether they merge; protect locks the map, looks at all
 * entries of the range before it changes one, cuts, and merges again; the
 * parts of an entry that is cut share a counted object.  There are no charges,
 * wirings, guards, shadows, and no physical map.
 */

#include "core/lock.h"
#include "core/uma.h"
#include "core/vm_param.h"

struct splay_entry;

struct splay_map {
	struct splay_entry *root;
	struct splay_entry *head; /* of no length, at min: owns the first gap */
	vm_offset_t min, max;
	size_t nentries;
	vm_size_t size;
	struct vm_rwlock lock;
	uint64_t timestamp; /* exclusive locks */
	struct uma_zone zone;
};

void splay_map_init(struct splay_map *map, const struct arch *arch,
    vm_offset_t min, vm_offset_t max);
void splay_map_fini(struct splay_map *map);

/* The lowest fit at or above `start`; 0: none.  `align`: FreeBSD's loop. */
vm_offset_t splay_map_findspace(struct splay_map *map, vm_offset_t start,
    vm_size_t length, vm_size_t align);

/*
 * [start, end) is free.  Locked by the caller, as insert, remove and lookup of
 * the other map are here.
 */
void splay_map_insert(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, uint32_t eflags);
void splay_map_remove(struct splay_map *map, vm_offset_t start,
    vm_offset_t end);
bool splay_map_lookup(struct splay_map *map, vm_offset_t addr);

/* It locks by itself.  false: some entry may not have these rights. */
bool splay_map_protect(struct splay_map *map, vm_offset_t start,
    vm_offset_t end, vm_prot_t prot);
