/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/vm_strict.h"
#include "core/kassert.h"

#include "core/vm_object_int.h"

/*
 * What a caller may put into the `cow` word.  Left out is what speaks for the
 * map itself: reservations made elsewhere, gaps, the kernel's own prefault.
 */
#define STRICT_COW                                                             \
	(MAP_INHERIT_SHARE | MAP_COPY_ON_WRITE | MAP_NOFAULT | MAP_PREFAULT |  \
	    MAP_PREFAULT_PARTIAL | MAP_DISABLE_SYNCER | MAP_CHECK_EXCL |       \
	    MAP_CREATE_GUARD | MAP_DISABLE_COREDUMP | MAP_WRITECOUNT |         \
	    MAP_REMAP | MAP_STACK_AREA | MAP_VN_EXEC |                         \
	    MAP_SPLIT_BOUNDARY_MASK | MAP_NO_HINT)

static int
refuse(struct vm_refusal *whyp, int rv, const char *arg, const char *rule,
    uint64_t value)
{
	MPASS(rv != KERN_SUCCESS && arg != NULL && rule != NULL);

	*whyp = (struct vm_refusal){.arg = arg, .rule = rule, .value = value};
	return rv;
}

static int
refuse_limit(struct vm_refusal *whyp, int rv, const char *arg, const char *rule,
    uint64_t value, uint64_t limit)
{
	MPASS(rv != KERN_SUCCESS);

	(void)refuse(whyp, rv, arg, rule, value);
	whyp->limit = limit;
	whyp->has_limit = true;
	return rv;
}

static const struct arch_machine *
machine_of(vm_map_t map)
{
	MPASS(map != NULL);

	return vm_map_pmap(map)->arch->machine;
}

static int
check_aligned(vm_size_t page, const char *arg, uint64_t value,
    struct vm_refusal *whyp)
{
	MPASS(page > 0 && powerof2(page));

	if (value % page != 0)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, arg,
		    "be a multiple of the page size", value, page);
	return KERN_SUCCESS;
}

/* Only bits of `known`. */
static int
check_bits(uint64_t known, const char *arg, const char *rule, uint64_t value,
    struct vm_refusal *whyp)
{
	MPASS(known != 0 && arg != NULL);

	if ((value & ~known) != 0)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, arg, rule,
		    value, known);
	return KERN_SUCCESS;
}

static int
check_prot(vm_prot_t prot, vm_prot_t max, struct vm_refusal *whyp)
{
	int rv;

	MPASS(whyp != NULL);

	rv = check_bits(VM_PROT_ALL, "prot", "hold only the rights r, w and x",
	    prot, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_bits(VM_PROT_ALL, "max", "hold only the rights r, w and x",
	    max, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	if ((prot & max) != prot)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "prot",
		    "be a subset of max", prot, max);
	return KERN_SUCCESS;
}

/* A length: a multiple of the page, not 0, no more than the map holds. */
static int
check_length(vm_map_t map, vm_size_t length, struct vm_refusal *whyp)
{
	vm_size_t span = vm_map_max(map) - vm_map_min(map);

	MPASS(vm_map_min(map) < vm_map_max(map));

	if (length == 0)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "length", "not be 0",
		    length);
	if (length > span)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "length",
		    "be at most the span of the map", length, span);
	return check_aligned(machine_of(map)->page_size, "length", length,
	    whyp);
}

/* [start, start + length), exactly there, inside the map. */
static int
check_exact(vm_map_t map, vm_offset_t start, vm_size_t length,
    struct vm_refusal *whyp)
{
	MPASS(map != NULL && whyp != NULL);

	if (start + length < start)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "length",
		    "not run past the last address", length,
		    UINT64_MAX - start);
	if (start < vm_map_min(map))
		return refuse_limit(whyp, KERN_INVALID_ADDRESS, "start",
		    "be at or above the start of the map", start,
		    vm_map_min(map));
	if (start + length > vm_map_max(map))
		return refuse_limit(whyp, KERN_INVALID_ADDRESS, "end",
		    "be at or below the end of the map", start + length,
		    vm_map_max(map));
	return KERN_SUCCESS;
}

/* MAP_NOFAULT, MAP_STACK_AREA and the boundary, as FreeBSD asserts them. */
static int
check_cow(const struct arch_machine *machine, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	int index =
	    (args->cow & MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	int rv;

	MPASS(machine != NULL && args != NULL);

	rv = check_bits(STRICT_COW, "cow",
	    "hold only flags that a caller may set", (uint32_t)args->cow, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	if (index >= machine->npagesizes)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "cow",
		    "name a page size of the machine as split boundary",
		    (uint64_t)index, (uint64_t)machine->npagesizes);
	if ((args->cow & MAP_NOFAULT) != 0 && args->object != NULL &&
	    index == 0)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "object",
		    "be absent with MAP_NOFAULT", 1);
	if ((args->cow & MAP_STACK_AREA) != 0 && args->object != NULL)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "object",
		    "be absent with MAP_STACK_AREA", 1);
	if ((args->cow & (MAP_STACK_AREA | MAP_CREATE_GUARD)) ==
	    (MAP_STACK_AREA | MAP_CREATE_GUARD))
		return refuse(whyp, KERN_INVALID_ARGUMENT, "cow",
		    "not ask for a stack and a guard at once",
		    (uint32_t)args->cow);
	if ((args->cow & MAP_CREATE_GUARD) != 0 &&
	    (args->object != NULL || args->max != VM_PROT_NONE))
		return refuse(whyp, KERN_INVALID_ARGUMENT, "max",
		    "be none, and the object absent, for a guard", args->max);
	return KERN_SUCCESS;
}

/* A superpage object shows whole superpages: its addresses must agree. */
static int
check_congruent(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	const struct arch_machine *machine = machine_of(map);
	vm_size_t super = machine->super[machine->nsuper - 1];

	MPASS(map != NULL && args != NULL);

	if (args->object == NULL || vm_object_type(args->object) != OBJT_SUPER)
		return KERN_SUCCESS;
	if ((args->start - vm_object_phase(args->object, args->offset)) %
		super !=
	    0)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "start",
		    "be congruent to the superpages of the object, as "
		    "VMFS_SUPER_SPACE finds it",
		    args->start, super);
	return KERN_SUCCESS;
}

/* Exactly there, and fit for the object. */
static int
check_place(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	int rv;

	MPASS(map != NULL && args != NULL);

	rv = check_exact(map, args->start, args->length, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return check_congruent(map, args, whyp);
}

/* What insert, find and fixed are given alike; not where it goes. */
static int
check_insert_args(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	const struct arch_machine *machine = machine_of(map);
	int rv;

	MPASS(args != NULL);

	rv = check_length(map, args->length, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_aligned(machine->page_size, "start", args->start, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_aligned(machine->page_size, "offset", args->offset, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	/* FreeBSD's vm_ooffset_t has a sign; coalescing adds to it. */
	if (args->offset > (uint64_t)INT64_MAX - args->length)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "offset",
		    "leave room for the length below 2^63", args->offset,
		    (uint64_t)INT64_MAX - args->length);
	rv = check_prot(args->prot, args->max, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return check_cow(machine, args, whyp);
}

int
vm_strict_map(const struct arch_machine *machine, vm_offset_t min,
    vm_offset_t max, struct vm_refusal *whyp)
{
	int rv;

	MPASS(machine != NULL && powerof2(machine->page_size));

	rv = check_aligned(machine->page_size, "min", min, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_aligned(machine->page_size, "max", max, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	if (min >= max)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "max",
		    "be above min", max, min);
	/* Beyond, sums of what its entries reserve would not fit 64 bits. */
	if (max > machine->user_max)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "max",
		    "be at or below the machine's last user address", max,
		    machine->user_max);
	return KERN_SUCCESS;
}

int
vm_strict_insert(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	int rv;

	MPASS(map != NULL && args != NULL && whyp != NULL);

	rv = check_insert_args(map, args, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return check_place(map, args, whyp);
}

int
vm_strict_fixed(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	MPASS(map != NULL && args != NULL && whyp != NULL);

	return vm_strict_insert(map, args, whyp);
}

/* One of VMFS_*, and an alignment that an address can have. */
static int
check_find_space(int find_space, struct vm_refusal *whyp)
{
	int exponent = find_space >> 8;

	MPASS(whyp != NULL);

	if (find_space < 0 || (find_space & 0xff) > VMFS_SUPER_SPACE)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "find_space",
		    "be one of the VMFS_ values", (uint32_t)find_space,
		    VMFS_SUPER_SPACE);
	if (exponent != 0 && (find_space & 0xff) != 0)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "find_space",
		    "not name an alignment and a strategy at once",
		    (uint32_t)find_space);
	if (exponent > 63)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "find_space",
		    "name an alignment of at most 2^63", (uint64_t)exponent,
		    63);
	return KERN_SUCCESS;
}

int
vm_strict_find(vm_map_t map, const struct vm_insert_args *args,
    struct vm_refusal *whyp)
{
	bool search = args->find_space != VMFS_NO_SPACE;
	int rv;

	MPASS(map != NULL && args != NULL && whyp != NULL);

	rv = check_find_space(args->find_space, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_insert_args(map, args, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	if ((args->cow & MAP_REMAP) != 0 &&
	    (search || (args->cow & MAP_STACK_AREA) != 0))
		return refuse(whyp, KERN_INVALID_ARGUMENT, "cow",
		    "hold MAP_REMAP only with VMFS_NO_SPACE and no stack",
		    (uint32_t)args->cow);
	if (search)
		return KERN_SUCCESS;
	return check_place(map, args, whyp);
}

int
vm_strict_find_min(vm_map_t map, const struct vm_insert_args *args,
    vm_offset_t default_addr, struct vm_refusal *whyp)
{
	int rv;

	MPASS(map != NULL && args != NULL && whyp != NULL);

	rv = check_aligned(machine_of(map)->page_size, "default_addr",
	    default_addr, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_strict_find(map, args, whyp);
}

int
vm_strict_findspace(vm_map_t map, vm_offset_t start, vm_size_t length,
    struct vm_refusal *whyp)
{
	vm_size_t page = machine_of(map)->page_size;
	vm_size_t span = vm_map_max(map) - vm_map_min(map);
	int rv;

	MPASS(map != NULL && whyp != NULL);

	rv = check_aligned(page, "start", start, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	if (length > span)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "length",
		    "be at most the span of the map", length, span);
	return check_aligned(page, "length", length, whyp);
}

int
vm_strict_find_aligned(vm_map_t map, vm_offset_t start, vm_size_t length,
    vm_offset_t alignment, struct vm_refusal *whyp)
{
	vm_size_t page = machine_of(map)->page_size;

	MPASS(map != NULL && whyp != NULL);

	if (!powerof2(alignment) || alignment < page)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "alignment",
		    "be a power of two of at least the page size", alignment,
		    page);
	if (length == 0)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "length", "not be 0",
		    0);
	return vm_strict_findspace(map, start, length, whyp);
}

int
vm_strict_range(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_refusal *whyp)
{
	vm_size_t page = machine_of(map)->page_size;
	int rv;

	MPASS(map != NULL && whyp != NULL);

	rv = check_aligned(page, "start", start, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_aligned(page, "end", end, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	if (end < start)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "end",
		    "not be below start", end, start);
	return check_exact(map, start, end - start, whyp);
}

int
vm_strict_object(const struct arch_machine *machine, int type, vm_size_t size,
    struct vm_refusal *whyp)
{
	vm_size_t super;

	MPASS(machine != NULL && whyp != NULL);

	if (type != OBJT_SWAP && type != OBJT_SUPER && type != OBJT_SG)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "type",
		    "be a known kind of object", (uint32_t)type);
	if (size == 0)
		return refuse(whyp, KERN_INVALID_ARGUMENT, "size", "not be 0",
		    size);
	if (size > machine->user_max) /* no map could show it */
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "size",
		    "be at most the machine's user addresses", size,
		    machine->user_max);
	if (type == OBJT_SUPER) {
		super = machine->super[machine->nsuper - 1];
		if (size % super != 0)
			return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "size",
			    "be a multiple of the superpage size", size, super);
	}
	return check_aligned(machine->page_size, "size", size, whyp);
}

int
vm_strict_stack(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow, struct vm_refusal *whyp)
{
	struct vm_insert_args args = {.start = addrbos,
	    .length = max_ssize,
	    .prot = prot,
	    .max = max,
	    .cow = cow | MAP_STACK_AREA};

	MPASS(map != NULL && whyp != NULL);

	return vm_strict_insert(map, &args, whyp);
}

int
vm_strict_protect(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t new_prot, vm_prot_t new_maxprot, int flags,
    struct vm_refusal *whyp)
{
	int rv;

	MPASS(map != NULL && whyp != NULL);

	rv = vm_strict_range(map, start, end, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_bits(VM_PROT_ALL, "prot", "hold only the rights r, w and x",
	    new_prot, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = check_bits(VM_PROT_ALL, "max", "hold only the rights r, w and x",
	    new_maxprot, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return check_bits(VM_MAP_PROTECT_SET_PROT | VM_MAP_PROTECT_SET_MAXPROT |
			      VM_MAP_PROTECT_GROWSDOWN,
	    "flags", "hold only VM_MAP_PROTECT_ flags", (uint32_t)flags, whyp);
}

int
vm_strict_inherit(vm_map_t map, vm_offset_t start, vm_offset_t end,
    int new_inheritance, struct vm_refusal *whyp)
{
	MPASS(map != NULL && whyp != NULL);

	if (new_inheritance < VM_INHERIT_SHARE ||
	    new_inheritance > VM_INHERIT_ZERO)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "inheritance",
		    "be share, copy, none or zero", (uint32_t)new_inheritance,
		    VM_INHERIT_ZERO);
	return vm_strict_range(map, start, end, whyp);
}

int
vm_strict_madvise(vm_map_t map, vm_offset_t start, vm_offset_t end, int advice,
    struct vm_refusal *whyp)
{
	MPASS(map != NULL && whyp != NULL);

	if (advice < VM_MADV_NORMAL || advice > VM_MADV_CORE)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "advice",
		    "be one of the VM_MADV_ values", (uint32_t)advice,
		    VM_MADV_CORE);
	return vm_strict_range(map, start, end, whyp);
}

int
vm_strict_wire(vm_map_t map, vm_offset_t start, vm_offset_t end, int flags,
    struct vm_refusal *whyp)
{
	int rv;

	MPASS(map != NULL && whyp != NULL);

	rv = check_bits(VM_MAP_WIRE_USER | VM_MAP_WIRE_HOLESOK |
			    VM_MAP_WIRE_WRITE,
	    "flags", "hold only VM_MAP_WIRE_ flags", (uint32_t)flags, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_strict_range(map, start, end, whyp);
}

int
vm_strict_check_protection(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, struct vm_refusal *whyp)
{
	int rv;

	MPASS(map != NULL && whyp != NULL);

	rv = check_bits(VM_PROT_ALL, "prot", "hold only the rights r, w and x",
	    prot, whyp);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_strict_range(map, start, end, whyp);
}

int
vm_strict_lookup(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    struct vm_refusal *whyp)
{
	MPASS(map != NULL && whyp != NULL);

	if (addr < vm_map_min(map))
		return refuse_limit(whyp, KERN_INVALID_ADDRESS, "addr",
		    "be at or above the start of the map", addr,
		    vm_map_min(map));
	if (addr >= vm_map_max(map))
		return refuse_limit(whyp, KERN_INVALID_ADDRESS, "addr",
		    "be below the end of the map", addr, vm_map_max(map));
	return check_bits(VM_PROT_ALL | VM_PROT_COPY | VM_PROT_FAULT_LOOKUP,
	    "fault_type", "hold only r, w, x, copy and the fault mark",
	    fault_type, whyp);
}

int
vm_strict_limits(vm_map_t map, const struct vm_map_limits *limits,
    struct vm_refusal *whyp)
{
	MPASS(map != NULL && limits != NULL && whyp != NULL);

	if (limits->overcommit < 0 || limits->overcommit > 7)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "overcommit",
		    "hold only bits 0, 1 and 2", (uint32_t)limits->overcommit,
		    7);
	if (limits->cluster_anon < 0 || limits->cluster_anon > 2)
		return refuse_limit(whyp, KERN_INVALID_ARGUMENT, "cluster_anon",
		    "be 0, 1 or 2", (uint32_t)limits->cluster_anon, 2);
	return check_aligned(machine_of(map)->page_size, "stack_guard",
	    limits->stack_guard, whyp);
}
