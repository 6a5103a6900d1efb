/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What an instruction set fixes: page sizes, address widths, colours.
 *
 * Constants only, one table a (name, base page) pair; any process may use any
 * of them, whatever it runs on, so aarch64's rules are tested on x86-64.
 * Source: FreeBSD vmparam.h and param.h of each architecture (section 7 of
 * docs/freebsd-names.md says where ours differ).
 */

#include "core/vm.h"
#include "core/vm_param.h"

struct arch_machine {
	const char *name;    /* "x86_64", "aarch64", "riscv64" */
	vm_size_t page_size; /* bytes; PAGE_SIZE */
	int npagesizes;      /* entries of pagesizes[] in use */
	vm_size_t pagesizes[VM_MAXPAGESIZES]; /* [0] base; ascending; 0: none */
	int nsuper;                           /* entries of super[] in use */
	vm_size_t super[2]; /* levels VMFS_SUPER_SPACE tries, large to small */
	int nfreeorder;     /* VM_NFREEORDER: largest block is 2^(n-1) pages */
	int paddr_bits;     /* physical address width */
	vm_offset_t user_min; /* lowest user address, inclusive */
	vm_offset_t user_max; /* exclusive */
	vm_offset_t dmap_min; /* where the direct map begins */
	vm_size_t dmap_size;  /* bytes */
};

/*
 * The table for `name` with base page `page_size` (0: its smallest), or NULL.
 */
const struct arch_machine *arch_machine_find(const char *name,
    vm_size_t page_size);

/* The table of the instruction set that this program was compiled for. */
const struct arch_machine *arch_machine_host(void);

/* The i-th known table, or NULL past the last. */
const struct arch_machine *arch_machine_at(size_t i);
