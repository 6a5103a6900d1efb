/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Pages: which frame an anonymous object has at an index, and who hands out
 * frames.
 *
 * A frame is a number that means something to the pager alone: an offset in a
 * file, an index in a pool.  A pager serves any number of maps; it is created
 * before them and destroyed after the last object that has a page of it.
 * Design: docs/design/vm_object.md.
 */

#include "arch/arch.h"
#include "core/vm.h"

/*
 * Called under locks: they must not block, nor call the map or an object.
 * alloc: a frame of zeroes.  copy: a new frame with the contents of another,
 * which is `frame` of the same pager or, where `source` has a handle, page
 * `frame` of what that stands for.  Both: KERN_SUCCESS, or
 * KERN_RESOURCE_SHORTAGE.
 */
struct vm_pager_ops {
	int (*alloc)(void *arg, uint64_t *framep);
	int (*copy)(void *arg, vm_object_t source, uint64_t frame,
	    uint64_t *framep);
	void (*free)(void *arg, uint64_t frame);
};

struct vm_pager;

/* NULL: no memory.  `ops` and `arg` are borrowed. */
struct vm_pager *vm_pager_create(const struct arch *arch,
    const struct vm_pager_ops *ops, void *arg);

/* NULL is fine.  No object may have a page of it any more. */
void vm_pager_destroy(struct vm_pager *pager);

/* Frames that objects have. */
uint64_t vm_pager_npages(const struct vm_pager *pager);
