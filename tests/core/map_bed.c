/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/core/map_bed.h"
#include "arch/sim/sim.h"
#include "tests/test.h"

static struct arch *arch;
static struct pmap pmap;

vm_map_t
map_bed_make(vm_offset_t min, vm_offset_t max)
{
	vm_map_t map;

	arch = sim_create(NULL);
	pmap.arch = arch;
	map = vm_map_create(&pmap, min, max);
	ASSERT_NOT_NULL(map);
	return map;
}

void
map_bed_free(vm_map_t map)
{
	vm_map_destroy(map);
	ASSERT_EQ(sim_live(arch), 0u);
	sim_destroy(arch);
}

void
map_bed_enter(vm_map_t map, vm_offset_t start, vm_size_t size, vm_prot_t prot,
    int cow)
{
	vm_map_lock(map);
	ASSERT_EQ(vm_map_insert(map, NULL, 0, start, start + size, prot,
		      VM_PROT_ALL, cow),
	    KERN_SUCCESS);
	vm_map_unlock(map);
}
