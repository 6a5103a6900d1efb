/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Checks for callers that do not trust their arguments: the server, vmsh.
 *
 * FreeBSD asserts or clamps; a service refuses.  Each function is pure, and
 * answers KERN_SUCCESS or the code to refuse with; then *whyp says which
 * argument broke which limit.  They are the only place that knows these rules.
 * Source of the rules: docs/freebsd-names.md, "strict".
 */

#include "core/vm_map.h"

struct vm_refusal {
	const char *arg;  /* name of the argument; static */
	const char *rule; /* what it must be, a phrase after "must"; static */
	uint64_t value;   /* what it was */
	uint64_t limit;   /* the figure that the rule names */
	bool has_limit;
};

/* What any call that enters something into a map is given. */
struct vm_insert_args {
	vm_object_t object; /* NULL: none */
	vm_ooffset_t offset;
	vm_offset_t start; /* insert, fixed: exact; find: lowest */
	vm_size_t length;
	vm_offset_t max_addr; /* find; 0: none */
	int find_space;       /* find: VMFS_* */
	vm_prot_t prot, max;
	int cow;
};

int vm_strict_map(const struct arch_machine *machine, vm_offset_t min,
    vm_offset_t max, struct vm_refusal *whyp);
int vm_strict_insert(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp);
int vm_strict_find(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp);
int vm_strict_findspace(vm_map_t map, vm_offset_t start, vm_size_t length,
    struct vm_refusal *whyp);
/* The same, and `alignment`. */
int vm_strict_find_aligned(vm_map_t map, vm_offset_t start, vm_size_t length,
    vm_offset_t alignment, struct vm_refusal *whyp);
/* [start, end) of delete, protect, inherit, madvise, wire, sync ... */
int vm_strict_range(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_refusal *whyp);
int vm_strict_object(const struct arch_machine *machine, int type,
    vm_size_t size, struct vm_refusal *whyp);

/* As vm_map_insert, but what is there is replaced. */
int vm_strict_fixed(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp);
int vm_strict_find_min(vm_map_t map, const struct vm_insert_args *args,
    vm_offset_t default_addr, struct vm_refusal *whyp);
int vm_strict_stack(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow, struct vm_refusal *whyp);

/*
 * The range and the remaining arguments of the calls that change or ask it.
 * vm_strict_wire is for wire and unwire.
 */
int vm_strict_protect(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t new_prot, vm_prot_t new_maxprot, int flags,
    struct vm_refusal *whyp);
int vm_strict_inherit(vm_map_t map, vm_offset_t start, vm_offset_t end,
    int new_inheritance, struct vm_refusal *whyp);
int vm_strict_madvise(vm_map_t map, vm_offset_t start, vm_offset_t end,
    int advice, struct vm_refusal *whyp);
int vm_strict_wire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags,
    struct vm_refusal *whyp);
int vm_strict_check_protection(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, struct vm_refusal *whyp);

/* lookup, growstack: any byte of the map.  `fault_type`: 0 for growstack. */
int vm_strict_lookup(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    struct vm_refusal *whyp);

/* Limits that a map can be given. */
int vm_strict_limits(vm_map_t map, const struct vm_map_limits *limits,
    struct vm_refusal *whyp);
