/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * contigmalloc(9) and its statistics by malloc type.
 *
 * The kernel's version allocates from the machine; ours from the vm_phys that
 * the malloc type was initialised with.  What it returns is an address in the
 * machine's direct map: a number to give back, not a pointer to follow.
 * Design: docs/design/vm_contig.md.
 */

#include "core/vm_phys.h"

struct malloc_type_stats {
	uint64_t mts_numallocs, mts_numfrees;   /* calls that succeeded */
	vm_size_t mts_memalloced, mts_memfreed; /* bytes, whole pages */
	vm_size_t mts_highwater;                /* bytes in use at most */
	uint64_t mts_failures;
};

/* Embedded by its owner; the name is borrowed. */
struct malloc_type {
	const char *ks_shortdesc;
	struct vm_phys *ks_phys; /* where its memory comes from */
	const struct arch *ks_arch;
	struct malloc_type_stats ks_stats;
};

void malloc_init(struct malloc_type *type, const char *shortdesc,
    struct vm_phys *phys, const struct arch *arch);

/*
 * contigmalloc(9): `size` bytes in [low, high), aligned, not crossing a
 * multiple of boundary.  NULL: no such run.  Arguments that the manual page
 * forbids are asserted: check with contig_req_check() first.
 * contigmalloc_domain: in one NUMA domain (-1: any).
 */
void *contigmalloc(vm_size_t size, struct malloc_type *type, int flags,
    vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment, vm_paddr_t boundary);
void *contigmalloc_domain(vm_size_t size, struct malloc_type *type, int domain,
    int flags, vm_paddr_t low, vm_paddr_t high, vm_paddr_t alignment,
    vm_paddr_t boundary);

/*
 * Which NUMA domains, and in what order.  Owned by the caller, who sets the
 * first three; all 0 but the mask is a round robin.
 */
#define DOMAINSET_POLICY_ROUNDROBIN 1 /* from the one after the last used */
#define DOMAINSET_POLICY_FIRSTTOUCH 2 /* ds_prefer: where the caller runs */
#define DOMAINSET_POLICY_PREFER     3 /* ds_prefer first */
#define DOMAINSET_POLICY_INTERLEAVE 4 /* round robin, 16 MiB at a time */
struct domainset {
	uint32_t ds_mask; /* bit d: domain d may be used */
	int ds_policy;    /* 0: round robin */
	int ds_prefer;    /* a domain; not in the mask: as if there were none */
	int ds_cursor;    /* where the next round begins */
	vm_size_t ds_taken; /* bytes from there in this round */
};

/* The n-th domain of its order, n < VM_PHYS_DOMAINS; -1: not in the mask. */
int domainset_nth(const struct domainset *ds, int n);
/* `size` bytes came from `domain`: where the next round begins. */
void domainset_advance(struct domainset *ds, int domain, vm_size_t size);

/* From the first domain, in the set's order, that has such a run. */
void *contigmalloc_domainset(vm_size_t size, struct malloc_type *type,
    struct domainset *ds, int flags, vm_paddr_t low, vm_paddr_t high,
    vm_paddr_t alignment, vm_paddr_t boundary);

/*
 * Why did one of these answer NULL, and what does M_WAITOK mean?  The core
 * never sleeps: whoever can sleep asks here.
 * KERN_RESTART: M_WAITOK was given, and there will be such a run when enough
 * is given back; wait for that, then call again.  KERN_NO_SPACE: M_NOWAIT (or
 * neither) was given, or no run of the memory that is there could ever do.
 * `req` as for vm_phys_alloc_contig(); the set may be NULL: any domain.
 */
int contigmalloc_verdict(struct malloc_type *type, const struct domainset *ds,
    int flags, const struct contig_req *req);

/* Give it back; `size` must be what was asked for.  NULL is fine. */
void contigfree(void *addr, vm_size_t size, struct malloc_type *type);

/* Direct map: address <-> physical address, arithmetic only. */
vm_paddr_t vm_dmap_to_phys(const struct arch *arch, const void *addr);
void *vm_phys_to_dmap(const struct arch *arch, vm_paddr_t pa);
