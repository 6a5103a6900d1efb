/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/vm_contig.h"
#include "core/kassert.h"
#include "core/vm_param.h"

#define INTERLEAVE_STRIDE (UINT64_C(16) << 20) /* bytes from one domain */

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

/* What the manual page forbids, and what the machine cannot name. */
static struct contig_req
contig_req(vm_size_t size, const struct malloc_type *type, int flags,
    vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment, vm_paddr_t boundary)
{
	KASSERT(size > 0, "contigmalloc: size 0");
	KASSERT(powerof2(alignment), "contigmalloc: alignment");
	KASSERT(powerof2(boundary), "contigmalloc: boundary");
	KASSERT((flags & (M_NOWAIT | M_WAITOK)) != (M_NOWAIT | M_WAITOK),
	    "contigmalloc: M_NOWAIT and M_WAITOK");

	/* Memory beyond the direct map has no address to give. */
	high = MIN(high, type->ks_arch->machine->dmap_size);
	return (struct contig_req){size, low, high, alignment, boundary, -1};
}

/* Count what came of it. */
static void *
contig_finish(struct malloc_type *type, vm_size_t size, int rv, vm_paddr_t pa)
{
	if (rv != KERN_SUCCESS) {
		type->ks_stats.mts_failures++;
		return NULL;
	}
	count_malloc(&type->ks_stats,
	    roundup2(size, vm_phys_page_size(type->ks_phys)));
	return vm_phys_to_dmap(type->ks_arch, pa);
}

void *
contigmalloc_domain(vm_size_t size, struct malloc_type *type, int domain,
    int flags, vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment,
    vm_paddr_t boundary)
{
	struct contig_req req =
	    contig_req(size, type, flags, low, high, alignment, boundary);
	vm_paddr_t pa = 0;
	int rv;

	req.domain = domain;
	rv = vm_phys_alloc_contig(type->ks_phys, &req, &pa);
	return contig_finish(type, size, rv, pa);
}

/* One of them first, the rest in turn. */
int
domainset_nth(const struct domainset *ds, int n)
{
	bool preferred = (ds->ds_policy == DOMAINSET_POLICY_FIRSTTOUCH ||
			     ds->ds_policy == DOMAINSET_POLICY_PREFER) &&
			 ds->ds_prefer >= 0 && ds->ds_prefer < VM_PHYS_DOMAINS;
	int first = preferred ? ds->ds_prefer : ds->ds_cursor;
	int domain;

	MPASS(first >= 0 && first < VM_PHYS_DOMAINS);
	MPASS(n >= 0 && n < VM_PHYS_DOMAINS);

	domain = (first + n) % VM_PHYS_DOMAINS;
	return (ds->ds_mask >> domain & 1) != 0 ? domain : -1;
}

void
domainset_advance(struct domainset *ds, int domain, vm_size_t size)
{
	if (domain != ds->ds_cursor)
		ds->ds_taken = 0;
	ds->ds_cursor = domain;
	ds->ds_taken += size;
	if (ds->ds_policy == DOMAINSET_POLICY_INTERLEAVE &&
	    ds->ds_taken < INTERLEAVE_STRIDE)
		return;
	ds->ds_cursor = (domain + 1) % VM_PHYS_DOMAINS;
	ds->ds_taken = 0;
}

void *
contigmalloc_domainset(vm_size_t size, struct malloc_type *type,
    struct domainset *ds, int flags, vm_paddr_t low, vm_paddr_t high,
    vm_paddr_t alignment, vm_paddr_t boundary)
{
	struct contig_req req =
	    contig_req(size, type, flags, low, high, alignment, boundary);
	int rv = KERN_NO_SPACE;
	vm_paddr_t pa = 0;

	KASSERT(ds->ds_mask != 0, "contigmalloc_domainset: no domain");

	for (int n = 0; n < VM_PHYS_DOMAINS && rv != KERN_SUCCESS; n++) {
		req.domain = domainset_nth(ds, n);
		if (req.domain >= 0)
			rv = vm_phys_alloc_contig(type->ks_phys, &req, &pa);
	}
	if (rv == KERN_SUCCESS)
		domainset_advance(ds, req.domain, size);
	return contig_finish(type, size, rv, pa);
}

int
contigmalloc_verdict(struct malloc_type *type, const struct domainset *ds,
    int flags, const struct contig_req *req)
{
	struct contig_req in = *req;

	MPASS(type->ks_phys != NULL);

	if ((flags & M_WAITOK) == 0)
		return KERN_NO_SPACE;
	in.high = MIN(req->high, type->ks_arch->machine->dmap_size);
	for (int d = 0; ds != NULL && d < VM_PHYS_DOMAINS; d++) {
		in.domain = d;
		if ((ds->ds_mask >> d & 1) != 0 &&
		    vm_phys_possible(type->ks_phys, &in))
			return KERN_RESTART;
	}
	return ds == NULL && vm_phys_possible(type->ks_phys, &in)
		   ? KERN_RESTART
		   : KERN_NO_SPACE;
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
