/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The core back end: operations that change or ask a range, stacks, limits.
 */

#include "fuzz/prog/backend_core_int.h"

void
core_find_min(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_insert_args a = core_insert_args(b, v);
	vm_offset_t addr = a.start, by_default = v[HF_F_DEF];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	rv = vm_strict_find_min(map, &a, by_default, &why);
	if (!core_may_insert(b, &a, rv, &why, res))
		return;
	if (by_default % b->arch->machine->page_size != 0) {
		core_asserted(res, "a page-aligned default address");
		return;
	}
	vm_object_reference(a.object);
	rv = vm_map_find_min(map, a.object, a.offset, &addr, a.length,
	    by_default, a.max_addr, a.find_space, a.prot, a.max, a.cow);
	core_end_insert(&a, rv, res);
	if (rv == KERN_SUCCESS)
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

void
core_fixed(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_insert_args a = core_insert_args(b, v);
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	a.find_space = VMFS_NO_SPACE;
	rv = vm_strict_fixed(map, &a, &why);
	if (!core_may_insert(b, &a, rv, &why, res))
		return;
	vm_object_reference(a.object);
	rv = vm_map_fixed(map, a.object, a.offset, a.start, a.length, a.prot,
	    a.max, a.cow);
	core_end_insert(&a, rv, res);
}

void
core_protect(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_prot_t prot = (vm_prot_t)v[HF_F_PROT], max = (vm_prot_t)v[HF_F_MAX];
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	int flags = (int)v[HF_F_SET];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	rv = vm_strict_protect(map, start, end, prot, max, flags, &why);
	if (core_may_change(b, v, rv, &why, res))
		hf_result_set(res,
		    vm_map_protect(map, start, end, prot, max, flags));
}

void
core_inherit(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_inherit_t inherit = (vm_inherit_t)v[HF_F_INH];
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	rv = vm_strict_inherit(map, start, end, inherit, &why);
	if (core_may_change(b, v, rv, &why, res))
		hf_result_set(res, vm_map_inherit(map, start, end, inherit));
}

void
core_madvise(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	int advice = (int)MIN(v[HF_F_ADVICE], INT32_MAX);
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	rv = vm_strict_madvise(map, start, end, advice, &why);
	if (core_may_change(b, v, rv, &why, res))
		hf_result_set(res, vm_map_madvise(map, start, end, advice));
}

static void
wire_or_unwire(struct core_backend *b, const uint64_t *v, bool wire,
    struct hf_result *res)
{
	int flags = (int)MIN(v[HF_F_FLAGS], INT32_MAX);
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	rv = vm_strict_wire(map, start, end, flags, &why);
	if (!core_may_change(b, v, rv, &why, res))
		return;
	if ((flags & ~7) != 0)
		core_asserted(res, "known flags");
	else
		hf_result_set(res, wire
				       ? vm_map_wire(map, start, end, flags)
				       : vm_map_unwire(map, start, end, flags));
}

void
core_wire(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	wire_or_unwire(b, v, true, res);
}

void
core_unwire(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	wire_or_unwire(b, v, false, res);
}

void
core_sync(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv = vm_strict_range(map, start, end, &why);

	if (core_may_change(b, v, rv, &why, res))
		hf_result_set(res, vm_map_sync(map, start, end,
				       v[HF_F_SET] != 0, v[HF_F_CLEAR] != 0));
}

void
core_stack(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_insert_args a = core_insert_args(b, v);
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	a.cow |= MAP_STACK_AREA;
	rv =
	    vm_strict_stack(map, a.start, a.length, a.prot, a.max, a.cow, &why);
	if (core_may_insert(b, &a, rv, &why, res))
		hf_result_set(res,
		    vm_map_stack(map, a.start, a.length, a.prot, a.max, a.cow));
}

void
core_growstack(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv = vm_strict_lookup(map, v[HF_F_A], 0, &why);

	if (!b->compat && rv != KERN_SUCCESS)
		core_refused(res, rv, &why);
	else
		hf_result_set(res, vm_map_growstack(map, v[HF_F_A]));
}

void
core_check_protection(struct core_backend *b, const uint64_t *v,
    struct hf_result *res)
{
	vm_prot_t prot = (vm_prot_t)v[HF_F_PROT];
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	bool is;
	int rv;

	rv = vm_strict_check_protection(map, start, end, prot, &why);
	if (!core_may_change(b, v, rv, &why, res))
		return;
	vm_map_lock_read(map);
	is = vm_map_check_protection(map, start, end, prot);
	vm_map_unlock_read(map);
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "result", HF_O_BOOL, is);
}

void
core_check_boundary(struct core_backend *b, const uint64_t *v,
    struct hf_result *res)
{
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv = vm_strict_range(map, start, end, &why);
	bool is;

	if (!core_may_change(b, v, rv, &why, res))
		return;
	vm_map_lock_read(map);
	is = vm_map_check_boundary(map, start, end);
	vm_map_unlock_read(map);
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "result", HF_O_BOOL, is);
}

/* Strict whatever the world says: the core asserts what it refuses. */
void
core_find_aligned(struct core_backend *b, const uint64_t *v,
    struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	vm_size_t page = b->arch->machine->page_size;
	vm_offset_t addr = v[HF_F_A];
	vm_offset_t align = v[HF_F_ALIGN] != 0 ? v[HF_F_ALIGN] : page;
	struct vm_refusal why;
	int rv;

	rv = vm_strict_find_aligned(map, addr, v[HF_F_LEN], align, &why);
	if (rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	vm_map_lock(map);
	rv = vm_map_find_aligned(map, &addr, v[HF_F_LEN], v[HF_F_LIM], align);
	vm_map_unlock(map);
	hf_result_set(res, rv);
	if (rv == KERN_SUCCESS)
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

void
core_simplify(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	vm_offset_t addr = v[HF_F_A];
	struct vm_refusal why;
	vm_map_entry_t entry;
	bool found;
	int rv = vm_strict_lookup(map, addr, 0, &why);

	if (rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	vm_map_lock(map);
	found = vm_map_lookup_entry(map, addr, &entry);
	if (found)
		vm_map_simplify_entry(map, entry);
	vm_map_unlock(map);
	hf_result_set(res, found ? KERN_SUCCESS : KERN_INVALID_ADDRESS);
}

/* One of the limits of a map; the others stay. */
void
hf_set_limit(struct vm_map_limits *limits, uint64_t what, uint64_t value)
{
	switch (what) {
	case 0:
		limits->vmem = value;
		break;
	case 1:
		limits->stack = value;
		break;
	case 2:
		limits->memlock = value;
		break;
	case 3:
		limits->swap = value;
		break;
	case 4:
		limits->nentries = value;
		break;
	case 5:
		limits->overcommit = (int)MIN(value, INT32_MAX);
		break;
	case 6:
		limits->cluster_anon = (int)MIN(value, INT32_MAX);
		break;
	default:
		limits->stack_guard = value;
		break;
	}
}

void
core_limit(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	struct vm_map_limits limits;
	struct vm_refusal why;
	int rv;

	vm_map_get_limits(map, &limits);
	hf_set_limit(&limits, v[HF_F_KIND], v[HF_F_VALUE]);
	rv = vm_strict_limits(map, &limits, &why);
	if (rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	vm_map_set_limits(map, &limits);
	hf_result_set(res, KERN_SUCCESS);
}

void
core_flags(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	uint64_t known = MAP_WIREFUTURE | MAP_ASLR | MAP_ASLR_IGNSTART |
			 MAP_WXORX | MAP_ASLR_STACK;
	vm_map_t map = core_map(b, v);

	if (((v[HF_F_SET] | v[HF_F_CLEAR]) & ~known) != 0) {
		core_asserted(res, "flags that a caller may set");
		return;
	}
	vm_map_lock(map);
	vm_map_modflags(map, (uint32_t)v[HF_F_SET], (uint32_t)v[HF_F_CLEAR]);
	vm_map_unlock(map);
	hf_result_set(res, KERN_SUCCESS);
}

void
core_fork(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res,
	    vmspace_fork(core_map(b, v), NULL, &b->maps[v[HF_F_MAP2]]));
}

/* A map that shows through a window lives as long as the window's map. */
void
core_submap(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v), sub = b->maps[v[HF_F_MAP2]];
	struct vm_refusal why;
	int rv = vm_strict_range(map, v[HF_F_A], v[HF_F_END], &why);

	if (!core_may_change(b, v, rv, &why, res))
		return;
	if (map == sub || b->parents[v[HF_F_MAP]] != 0) {
		core_asserted(res, "that submaps do not nest");
		return;
	}
	rv = vm_map_submap(map, v[HF_F_A], v[HF_F_END], sub);
	hf_result_set(res, rv);
	if (rv == KERN_SUCCESS)
		b->parents[v[HF_F_MAP2]] |= (uint8_t)(1u << v[HF_F_MAP]);
}
