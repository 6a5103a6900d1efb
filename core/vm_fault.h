/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * vm_fault: what a map answers for an access to an address.
 *
 * It grows stacks, makes shadows for copy on write, fills with zeroes and
 * copies, and says which page to map with which rights.  It maps nothing:
 * that is done by whoever mirrors the map.
 * Design: docs/design/vm_map.md, docs/design/vm_object.md.
 */

#include "core/vm_map.h"
#include "core/vm_page.h"

enum vm_fault_kind {
	VM_FAULT_RESIDENT, /* the object had the page */
	VM_FAULT_SHARED,   /* an object behind it has, and still shares it */
	VM_FAULT_ZERO,     /* a fresh frame */
	VM_FAULT_COPY,     /* a fresh frame with the contents of another */
	VM_FAULT_HANDLE,   /* page `pindex` of what the object's handle means */
};

struct vm_fault {
	enum vm_fault_kind kind;
	vm_object_t object; /* where the page is; borrowed from the entry */
	vm_pindex_t pindex; /* its index there */
	uint64_t frame;     /* the pager's number; HANDLE: pindex again */
	vm_prot_t prot;     /* the rights to map it with */
	bool wired;
};

/* Who hands out frames for what this map makes; NULL: nobody.  Borrowed. */
void vm_map_set_pager(vm_map_t map, struct vm_pager *pager);

/*
 * Resolve an access: VM_PROT_READ, _WRITE, _EXECUTE, or _COPY for a private
 * copy.  What comes back stays true until the map is edited.
 * KERN_INVALID_ADDRESS: nothing is there.
 * KERN_PROTECTION_FAILURE: not allowed, a guard, or a stack that may not grow.
 * KERN_OUT_OF_BOUNDS: behind the end of the object.
 * KERN_FAILURE: the range may not be faulted, or there is no pager.
 * KERN_RESOURCE_SHORTAGE: metadata, swap or frames.
 */
int vm_fault(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    struct vm_fault *faultp);

/*
 * The pages that an object shows from one index on, as far as they lie
 * together.
 */
struct vm_run {
	vm_object_t object; /* has them; NULL: nobody has, they are zeroes */
	bool handle;        /* they are in what its handle stands for */
	bool front;         /* it is the object that was asked */
	uint64_t frame;     /* of the first, as in struct vm_fault */
	vm_pindex_t npages; /* 1 or more */
};

/* Look, and change nothing.  `max` > 0 pages at most. */
void vm_object_run(vm_object_t object, vm_pindex_t pindex, vm_pindex_t max,
    struct vm_run *runp);

/* Objects that shadow it. */
unsigned vm_object_nshadows(vm_object_t object);

/* Anonymous pages that the object itself has. */
uint64_t vm_object_npages(vm_object_t object);
