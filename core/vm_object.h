/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * vm_object: what a range of a map shows.
 *
 * Reference counted: an entry holds one reference, a creator one.  An object
 * backed by superpages can only be mapped congruent to them.
 * Design: docs/design/vm_object.md.
 */

#include "arch/pmap.h"
#include "core/vm.h"

enum obj_type {
	OBJT_SWAP,  /* anonymous, base pages */
	OBJT_SUPER, /* superpages: one span of the pool */
	OBJT_SG,    /* a physical buffer */
};

/*
 * Create an object of `size` bytes (a multiple of the page size; OBJT_SUPER:
 * of the smallest superpage) with one reference, the caller's.
 * NULL: no memory for it.
 */
vm_object_t vm_object_allocate(pmap_t pmap, enum obj_type type, vm_size_t size);

/* Take one more reference.  NULL is fine. */
void vm_object_reference(vm_object_t object);

/* Drop one; the last one runs the release callback and frees.  NULL is fine. */
void vm_object_deallocate(vm_object_t object);

/*
 * Tie the object to what backs it.  `release(handle)` runs once, when the
 * last reference goes.
 */
void vm_object_set_handle(vm_object_t object, void *handle,
    void (*release)(void *handle));
void *vm_object_handle(vm_object_t object);

/*
 * First physical page of the backing superpage, modulo the superpage: map
 * addresses are congruent to offset + colour.  `color` in pages.
 */
void vm_object_color(vm_object_t object, vm_pindex_t color);

enum obj_type vm_object_type(vm_object_t object);
vm_size_t vm_object_size(vm_object_t object); /* bytes */
unsigned vm_object_refs(vm_object_t object);
vm_object_t vm_object_backing(vm_object_t object); /* shadowed, or NULL */
