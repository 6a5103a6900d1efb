/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * "AAAA..BB" to a map and back: a test draws its case.
 *
 * One character is one page, the first at PICTURE_MIN.
 *
 *	.       free
 *	A       rw      B r      C rx     D rwx     E no rights
 *	a to e  the same rights, inheritance SHARE
 *	#       a guard
 *	s ~     a stack; the gap below it (only read back, never drawn)
 *	|       no page: an edge between two entries that look alike
 *
 * A run of one letter is one entry; entries that touch and look alike, with a
 * bar between them, have objects of their own.  Max protection is everything.
 */

#include "core/vm_map.h"

#define PICTURE_MIN 0x10000

/*
 * A map on an invented machine with the default page that holds what is drawn.
 * Free it with picture_free().
 */
vm_map_t picture_map(const char *picture);
void picture_free(vm_map_t map);

/* What a map looks like.  Static, overwritten by the next call. */
const char *picture_of(vm_map_t map);

/* The machine that the map of a picture lives on. */
struct arch *picture_arch(vm_map_t map);

/* Address of the page under character `i`, bars not counted. */
vm_offset_t picture_addr(vm_map_t map, size_t i);
