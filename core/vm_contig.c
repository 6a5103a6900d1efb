/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/vm_contig.h"
#include "core/kassert.h"
#include "core/vm_param.h"

vm_paddr_t
vm_dmap_to_phys(const struct arch *arch, const void *addr)
{
	const struct arch_machine *machine = arch->machine;
	vm_paddr_t pa = (vm_offset_t)addr - machine->dmap_min;

	KASSERT(pa < machine->dmap_size, "address outside the direct map");

	return pa;
}

void *
vm_phys_to_dmap(const struct arch *arch, vm_paddr_t pa)
{
	const struct arch_machine *machine = arch->machine;

	KASSERT(pa < machine->dmap_size, "memory beyond the direct map");

	return (void *)(uintptr_t)(machine->dmap_min + pa);
}

void
malloc_init(struct malloc_type *type, const char *shortdesc,
    struct vm_phys *phys, const struct arch *arch)
{
	MPASS(shortdesc != NULL && phys != NULL && arch != NULL);

	*type = (struct malloc_type){
	    .ks_shortdesc = shortdesc,
	    .ks_phys = phys,
	    .ks_arch = arch,
	};
}

static void
count_malloc(struct malloc_type_stats *stats, vm_size_t size)
{
	stats->mts_numallocs++;
	stats->mts_memalloced += size;
	stats->mts_highwater = MAX(stats->mts_highwater,
	    stats->mts_memalloced - stats->mts_memfreed);
}

void *
contigmalloc_domain(vm_size_t size, struct malloc_type *type, int domain,
    int flags, vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment,
    vm_paddr_t boundary)
{
	struct contig_req req = {size, low, high, alignment, boundary, domain};
	vm_paddr_t pa;

	KASSERT(size > 0, "contigmalloc: size 0");
	KASSERT(powerof2(alignment), "contigmalloc: alignment");
	KASSERT(powerof2(boundary), "contigmalloc: boundary");
	KASSERT((flags & (M_NOWAIT | M_WAITOK)) != (M_NOWAIT | M_WAITOK),
	    "contigmalloc: M_NOWAIT and M_WAITOK");

	/* Memory beyond the direct map has no address to give. */
	req.high = MIN(high, type->ks_arch->machine->dmap_size);
	if (vm_phys_alloc_contig(type->ks_phys, &req, &pa) != KERN_SUCCESS) {
		type->ks_stats.mts_failures++;
		return NULL;
	}
	count_malloc(&type->ks_stats,
	    roundup2(size, vm_phys_page_size(type->ks_phys)));
	return vm_phys_to_dmap(type->ks_arch, pa);
}

void *
contigmalloc(vm_size_t size, struct malloc_type *type, int flags,
    vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment, vm_paddr_t boundary)
{
	return contigmalloc_domain(size, type, -1, flags, low, high, alignment,
	    boundary);
}

void
contigfree(void *addr, vm_size_t size, struct malloc_type *type)
{
	vm_paddr_t pa;
	int rv;

	if (addr == NULL)
		return;
	KASSERT(size > 0, "contigfree: size 0");
	pa = vm_dmap_to_phys(type->ks_arch, addr);
	size = roundup2(size, vm_phys_page_size(type->ks_phys));
	rv = vm_phys_free_contig(type->ks_phys, pa, pa + size);
	KASSERT(rv == KERN_SUCCESS, "contigfree: not what was allocated");
	if (rv != KERN_SUCCESS)
		return;

	type->ks_stats.mts_numfrees++;
	type->ks_stats.mts_memfreed += size;
}
