/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A map of 4 KiB pages over arch/sim, one at a time. */

#include "core/vm_map.h"

vm_map_t map_bed_make(vm_offset_t min, vm_offset_t max);
/* Destroys it, and fails the case if any of it is left. */
void map_bed_free(vm_map_t map);
/* Enter anonymous memory with all rights as the most it may have. */
void map_bed_enter(vm_map_t map, vm_offset_t start, vm_size_t size,
    vm_prot_t prot, int cow);
