/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/map_strict.h"

#include "core/vm_object_int.h"
#include "core/vm_strict.h"

/* Rules that are broken; arg: KERN_INVALID_ARGUMENT, addr: _ADDRESS. */
struct broken {
	bool arg, addr;
};

typedef struct broken rules(const struct core_backend *core, const uint64_t *v);

static uint64_t
page_of(const struct core_backend *core)
{
	return core->arch->machine->page_size;
}

static bool
aligned(const struct core_backend *core, uint64_t value)
{
	return (value & (page_of(core) - 1)) == 0;
}

static vm_map_t
map_of(const struct core_backend *core, const uint64_t *v)
{
	return core->maps[v[HF_F_MAP]];
}

static struct broken
both(struct broken a, struct broken b)
{
	return (struct broken){a.arg || b.arg, a.addr || b.addr};
}

/* [start, end) of a map; inverted it is nowhere. */
static struct broken
inside(const struct core_backend *core, const uint64_t *v, uint64_t start,
    uint64_t end)
{
	vm_map_t map = map_of(core, v);

	if (end < start)
		return (struct broken){.arg = true};
	return (struct broken){
	    .addr = start < vm_map_min(map) || end > vm_map_max(map)};
}

static struct broken
of_range(const struct core_backend *core, const uint64_t *v)
{
	struct broken b = inside(core, v, v[HF_F_A], v[HF_F_END]);

	b.arg |= !aligned(core, v[HF_F_A] | v[HF_F_END]);
	return b;
}

static struct broken
of_rights(vm_prot_t prot, vm_prot_t max)
{
	return (struct broken){.arg = prot > VM_PROT_ALL || max > VM_PROT_ALL};
}

static struct broken
of_protect(const struct core_backend *core, const uint64_t *v)
{
	const uint32_t known = VM_MAP_PROTECT_SET_PROT |
			       VM_MAP_PROTECT_SET_MAXPROT |
			       VM_MAP_PROTECT_GROWSDOWN;
	struct broken b =
	    of_rights((vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX]);

	b.arg |= ((uint32_t)v[HF_F_SET] | known) != known;
	return both(b, of_range(core, v));
}

static struct broken
of_inherit(const struct core_backend *core, const uint64_t *v)
{
	struct broken b = {.arg = (uint8_t)v[HF_F_INH] > VM_INHERIT_ZERO};

	return both(b, of_range(core, v));
}

static struct broken
of_madvise(const struct core_backend *core, const uint64_t *v)
{
	struct broken b = {.arg = v[HF_F_ADVICE] > VM_MADV_CORE};

	return both(b, of_range(core, v));
}

static struct broken
of_wire(const struct core_backend *core, const uint64_t *v)
{
	struct broken b = {.arg = v[HF_F_FLAGS] > 7};

	return both(b, of_range(core, v));
}

static struct broken
of_check_protection(const struct core_backend *core, const uint64_t *v)
{
	return both(of_rights((vm_prot_t)v[HF_F_PROT], 0), of_range(core, v));
}

static struct broken
of_growstack(const struct core_backend *core, const uint64_t *v)
{
	vm_map_t map = map_of(core, v);

	return (struct broken){.addr = v[HF_F_A] < vm_map_min(map) ||
				       v[HF_F_A] >= vm_map_max(map)};
}

static struct broken
of_lookup(const struct core_backend *core, const uint64_t *v)
{
	const vm_prot_t known =
	    VM_PROT_ALL | VM_PROT_COPY | VM_PROT_FAULT_LOOKUP;
	struct broken b = of_growstack(core, v);

	b.arg = ((vm_prot_t)v[HF_F_TYPE] | known) != known;
	return b;
}

static struct broken
of_findspace(const struct core_backend *core, const uint64_t *v)
{
	vm_map_t map = map_of(core, v);

	return (struct broken){
	    .arg = !aligned(core, v[HF_F_A] | v[HF_F_LEN]) ||
		   v[HF_F_LEN] > vm_map_max(map) - vm_map_min(map)};
}

/* The flags of an insertion, and what does not go with them. */
static bool
bad_cow(const struct core_backend *core, const struct vm_insert_args *a)
{
	const uint32_t never =
	    MAP_ACC_CHARGED | MAP_ACC_NO_CHARGE | MAP_CREATE_STACK_GAP;
	const uint32_t known =
	    MAP_INHERIT_SHARE | MAP_COPY_ON_WRITE | MAP_NOFAULT | MAP_PREFAULT |
	    MAP_PREFAULT_PARTIAL | MAP_DISABLE_SYNCER | MAP_CHECK_EXCL |
	    MAP_CREATE_GUARD | MAP_DISABLE_COREDUMP | MAP_WRITECOUNT |
	    MAP_REMAP | MAP_STACK_AREA | MAP_VN_EXEC | MAP_SPLIT_BOUNDARY_MASK |
	    MAP_NO_HINT;
	uint32_t cow = (uint32_t)a->cow;
	uint32_t split =
	    (cow & MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	bool guard = (cow & MAP_CREATE_GUARD) != 0;
	bool stack = (cow & MAP_STACK_AREA) != 0;
	bool nofault = (cow & MAP_NOFAULT) != 0;

	if ((cow & (never | ~known)) != 0 ||
	    split >= (uint32_t)core->arch->machine->npagesizes)
		return true;
	if (guard && (stack || a->max != VM_PROT_NONE))
		return true;
	return a->object != NULL && (guard || stack || (nofault && split == 0));
}

static bool
bad_args(const struct core_backend *core, vm_map_t map,
    const struct vm_insert_args *a)
{
	vm_size_t span = vm_map_max(map) - vm_map_min(map);

	if (!aligned(core, a->start | a->length | a->offset))
		return true;
	if (a->length == 0 || a->length > span)
		return true;
	if ((__int128)a->offset + a->length > INT64_MAX)
		return true;
	if (a->prot > VM_PROT_ALL || a->max > VM_PROT_ALL ||
	    (a->prot | a->max) != a->max)
		return true;
	return bad_cow(core, a);
}

/* Where exactly it goes. */
static struct broken
of_place(const struct core_backend *core, const uint64_t *v,
    const struct vm_insert_args *a)
{
	const struct arch_machine *machine = core->arch->machine;
	vm_size_t super = machine->super[machine->nsuper - 1];
	struct broken b = inside(core, v, a->start, a->start + a->length);

	if (a->object != NULL && vm_object_type(a->object) == OBJT_SUPER)
		b.arg |= (a->start & (super - 1)) !=
			 (vm_object_phase(a->object, a->offset) & (super - 1));
	return b;
}

static struct vm_insert_args
args_of(const struct core_backend *core, const uint64_t *v)
{
	return (struct vm_insert_args){.object = core->objs[v[HF_F_OBJ]],
	    .offset = v[HF_F_OFF],
	    .start = v[HF_F_A],
	    .length = v[HF_F_LEN],
	    .prot = (vm_prot_t)v[HF_F_PROT],
	    .max = (vm_prot_t)v[HF_F_MAX],
	    .cow = (int)v[HF_F_COW]};
}

static struct broken
of_enter(const struct core_backend *core, const uint64_t *v,
    const struct vm_insert_args *a, bool placed)
{
	struct broken b = {.arg = bad_args(core, map_of(core, v), a)};

	return placed ? both(b, of_place(core, v, a)) : b;
}

static struct broken
of_fixed(const struct core_backend *core, const uint64_t *v)
{
	struct vm_insert_args a = args_of(core, v);

	return of_enter(core, v, &a, true);
}

/* Of start and end: the back end asks whether they are in order. */
static struct broken
of_insert(const struct core_backend *core, const uint64_t *v)
{
	struct broken b = of_fixed(core, v);

	b.addr |= v[HF_F_A] + v[HF_F_LEN] <= v[HF_F_A];
	return b;
}

static struct broken
of_stack(const struct core_backend *core, const uint64_t *v)
{
	struct vm_insert_args a = args_of(core, v);

	a.object = NULL;
	a.offset = 0;
	a.cow |= MAP_STACK_AREA;
	return of_enter(core, v, &a, true);
}

static struct broken
of_find(const struct core_backend *core, const uint64_t *v)
{
	struct vm_insert_args a = args_of(core, v);
	uint64_t space = v[HF_F_SPACE], exponent = space >> 8;
	bool search = space != VMFS_NO_SPACE;
	struct broken b = of_enter(core, v, &a, !search);

	if (exponent == 0 ? space > VMFS_SUPER_SPACE
			  : exponent > 63 || (space & 0xff) != 0)
		b.arg = true;
	if ((a.cow & MAP_REMAP) != 0 &&
	    (search || (a.cow & MAP_STACK_AREA) != 0))
		b.arg = true;
	return b;
}

static struct broken
of_find_min(const struct core_backend *core, const uint64_t *v)
{
	struct broken b = of_find(core, v);

	b.arg |= !aligned(core, v[HF_F_DEF]);
	return b;
}

/* Maps and objects that are made: whatever the world, and of no map yet. */
static struct broken
of_map(const struct core_backend *core, const uint64_t *v)
{
	return (struct broken){
	    .arg = !aligned(core, v[HF_F_A] | v[HF_F_B]) ||
		   v[HF_F_A] >= v[HF_F_B] ||
		   v[HF_F_B] > core->arch->machine->user_max};
}

static struct broken
of_object(const struct core_backend *core, const uint64_t *v)
{
	const struct arch_machine *machine = core->arch->machine;
	vm_size_t super = machine->super[machine->nsuper - 1];
	uint64_t kind = v[HF_F_KIND], size = v[HF_F_LEN];
	bool known = kind == OBJT_SWAP || kind == OBJT_SUPER || kind == OBJT_SG;

	return (struct broken){
	    .arg = !known || size == 0 || size > machine->user_max ||
		   !aligned(core, size) ||
		   (kind == OBJT_SUPER && (size & (super - 1)) != 0)};
}

static rules *const of[HF_NOPS] = {
    [HF_MAP] = of_map,
    [HF_OBJECT] = of_object,
    [HF_INSERT] = of_insert,
    [HF_FIND] = of_find,
    [HF_FIND_MIN] = of_find_min,
    [HF_FIXED] = of_fixed,
    [HF_FINDSPACE] = of_findspace,
    [HF_DELETE] = of_range,
    [HF_REMOVE] = of_range,
    [HF_LOOKUP] = of_lookup,
    [HF_PROTECT] = of_protect,
    [HF_INHERIT] = of_inherit,
    [HF_MADVISE] = of_madvise,
    [HF_WIRE] = of_wire,
    [HF_UNWIRE] = of_wire,
    [HF_SYNC] = of_range,
    [HF_STACK] = of_stack,
    [HF_GROWSTACK] = of_growstack,
    [HF_CHECK_PROTECTION] = of_check_protection,
};

/* Does the strict check look at it at all? */
static bool
is_checked(const struct core_backend *core, const struct hf_call *call,
    const struct hf_result *res)
{
	if (of[call->op] == NULL || core->arch == NULL ||
	    res->status >= HF_S_UNKNOWN_ID)
		return false;
	if (call->op == HF_MAP || call->op == HF_OBJECT)
		return true;
	return !core->compat && call->v[HF_F_MAP] < HF_MAPS &&
	       map_of(core, call->v) != NULL;
}

bool
map_strict_follow(const struct core_backend *core, const struct hf_call *call,
    const struct hf_result *res, struct fuzz_report *rep)
{
	const char *op = hf_ops[call->op].name;
	struct broken b;

	if (!is_checked(core, call, res))
		return true;
	b = of[call->op](core, call->v);
	if (!res->refused && !b.arg && !b.addr)
		return true;
	if (!res->refused)
		return fuzz_found(rep, "strict", op,
		    "%s, though it breaks a rule", hf_status_name(res->status));
	if ((res->status == KERN_INVALID_ARGUMENT && b.arg) ||
	    (res->status == KERN_INVALID_ADDRESS && b.addr))
		return true;
	return fuzz_found(rep, "strict", op, "refused with %s",
	    hf_status_name(res->status));
}
