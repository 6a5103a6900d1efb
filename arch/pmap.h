/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * FreeBSD's word for the machine-dependent mapping layer.
 *
 * Here a pmap keeps no page tables.  It names the machine a map is laid out
 * for and where its metadata comes from, and passes on what a page table would
 * have been told, so that whoever mirrors the map in real processes can do it.
 * The caller owns it and keeps it for as long as any map uses it.
 */

#include "arch/arch.h"

struct pmap;

/*
 * Called under the map's write lock, in the order of the changes; must not
 * fail, block or call the map.  Any member may be NULL.
 */
struct pmap_hooks {
	/* [start, end) has no mapping any more. */
	void (*remove)(struct pmap *pmap, vm_offset_t start, vm_offset_t end);
	/* The rights of [start, end) are now `prot`. */
	void (*protect)(struct pmap *pmap, vm_offset_t start, vm_offset_t end,
	    vm_prot_t prot);
	/* Bring in what is resident in [start, end) (prefault, wire). */
	void (*enter)(struct pmap *pmap, vm_offset_t start, vm_offset_t end,
	    vm_prot_t prot);
};

struct pmap {
	const struct arch *arch;
	const struct pmap_hooks *hooks; /* may be NULL */
	void *arg;                      /* for the hooks */
};
