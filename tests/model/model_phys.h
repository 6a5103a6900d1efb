/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The slow, obvious physical allocator: one record a page, looked at one by
 * one.  It does not choose a place; it says whether there is one, and whether
 * a given one will do.
 */

#include "core/vm_phys.h"

struct model_phys;

/* Pages [base, base + npages * page_size), none of them in a segment yet. */
struct model_phys *model_phys_create(vm_paddr_t base, size_t npages,
    vm_size_t page_size);
void model_phys_destroy(struct model_phys *model);

/* As the calls of core/vm_phys.h, same codes. */
int model_phys_add_seg(struct model_phys *model, vm_paddr_t start,
    vm_paddr_t end, int domain, void *owner);
int model_phys_remove_seg(struct model_phys *model, vm_paddr_t start,
    vm_paddr_t end);
int model_phys_take(struct model_phys *model, vm_paddr_t start, vm_paddr_t end);
int model_phys_free(struct model_phys *model, vm_paddr_t start, vm_paddr_t end);

/* Would a run that begins at `pa` satisfy the request? */
bool model_phys_fits(const struct model_phys *model,
    const struct contig_req *req, vm_paddr_t pa);
/* Is there any? */
bool model_phys_feasible(const struct model_phys *model,
    const struct contig_req *req);

/* The first free run, or segment, that ends above `pa`. */
bool model_phys_next_free(const struct model_phys *model, vm_paddr_t pa,
    struct vm_phys_run *runp);
bool model_phys_next_seg(const struct model_phys *model, vm_paddr_t pa,
    struct vm_phys_run *runp);
