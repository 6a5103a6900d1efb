/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/prog/backend_core_int.h"

#include "arch/sim/sim.h"
#include "core/vm_fault.h"
#include "core/vm_phys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct core_backend core;

static core *
core_of(struct hf_backend *b)
{
	return (core *)b; /* base is the first member */
}

/* The sentence of a strict refusal. */
void
core_refused(struct hf_result *res, int rv, const struct vm_refusal *why)
{
	hf_result_set(res, rv);
	res->refused = true;
	if (res->quiet)
		return;
	if (why->has_limit)
		(void)snprintf(res->why, sizeof(res->why),
		    "%s is 0x%" PRIx64 " and must %s (0x%" PRIx64 ")", why->arg,
		    why->value, why->rule, why->limit);
	else
		(void)snprintf(res->why, sizeof(res->why),
		    "%s is 0x%" PRIx64 " and must %s", why->arg, why->value,
		    why->rule);
}

void
core_asserted(struct hf_result *res, const char *what)
{
	hf_result_set(res, KERN_INVALID_ARGUMENT);
	res->refused = true;
	if (!res->quiet)
		(void)snprintf(res->why, sizeof(res->why),
		    "the core asserts %s", what);
}

/* ---- The world ------------------------------------------------------------
 */

const char *
core_backend_clear(core *b)
{
	static char text[160];
	size_t live, frames;

	if (b->arch == NULL)
		return NULL;
	sim_fail_never(b->arch);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < HF_MAPS; i++) {
			if (pass == 0 && b->parents[i] != 0)
				continue; /* windows to it go first */
			vm_map_destroy(b->maps[i]);
			b->maps[i] = NULL;
			b->parents[i] = 0;
		}
	for (unsigned i = 0; i < HF_OBJS; i++) {
		vm_object_deallocate(b->objs[i]);
		b->objs[i] = NULL;
	}
	for (unsigned i = 0; i < HF_BUFS; i++) {
		if (b->bufs[i].addr != NULL)
			contigfree(b->bufs[i].addr, b->bufs[i].size, &b->type);
		b->bufs[i].addr = NULL;
	}
	frames = core_frames_fini(b);
	vm_phys_destroy(b->phys);
	b->phys = NULL;
	live = sim_live(b->arch);
	if (frames > 0)
		(void)snprintf(text, sizeof(text),
		    "%zu frames are left at the end", frames);
	else if (live > 0)
		(void)snprintf(text, sizeof(text),
		    "%zu blocks, %zu bytes of metadata are left at the end",
		    live, sim_live_bytes(b->arch));
	sim_destroy(b->arch);
	b->arch = NULL;
	return live > 0 || frames > 0 ? text : NULL;
}

void
core_backend_fini(core *b)
{
	(void)core_backend_clear(b);
}

static const struct arch_machine *
world_machine(const uint64_t *v)
{
	static const char *const archs[] = {"x86_64", "aarch64", "riscv64"};
	uint64_t arch = v[HF_F_ARCH];

	return arch < nitems(archs)
		   ? arch_machine_find(archs[arch], v[HF_F_PAGE])
		   : arch_machine_host();
}

static void
do_world(core *b, const uint64_t *v, struct hf_result *res)
{
	const struct arch_machine *machine = world_machine(v);
	struct sim_options options = {0};
	const char *left;

	if (machine == NULL) {
		hf_result_set(res, KERN_INVALID_ARGUMENT);
		return;
	}
	left = core_backend_clear(b);
	options.machine = machine->name;
	options.page_size = machine->page_size;
	options.no_inject = b->undisturbed;
	b->arch = sim_create(&options);
	b->pmap = (struct pmap){.arch = b->arch};
	b->compat = v[HF_F_COMPAT] != 0;
	b->phys = vm_phys_create(b->arch, machine->page_size);
	malloc_init(&b->type, "vmsh", b->phys, b->arch);
	if (!core_frames_init(b))
		abort(); /* nothing was injected: there is no memory at all */
	hf_result_set(res, left != NULL ? KERN_FAILURE : KERN_SUCCESS);
	if (left != NULL)
		(void)snprintf(res->why, sizeof(res->why), "%s", left);
}

void
core_inject(struct arch *arch, const uint64_t *v)
{
	if (v[HF_F_NTH] == 0)
		sim_fail_never(arch);
	else if (v[HF_F_STICKY] != 0)
		sim_fail_from(arch, v[HF_F_NTH]);
	else
		sim_fail_nth(arch, v[HF_F_NTH]);
}

static void
do_inject(core *b, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, KERN_SUCCESS);
	core_inject(b->arch, v);
}

/* ---- Physical memory ------------------------------------------------------
 */

static void
do_seg(core *b, const uint64_t *v, struct hf_result *res)
{
	uint64_t top = UINT64_C(1) << b->arch->machine->paddr_bits;

	/* What does not fit the direct map cannot be addressed. */
	if (v[HF_F_B] > MIN(top, b->arch->machine->dmap_size)) {
		core_asserted(res, "that memory lies in the direct map");
		return;
	}
	hf_result_set(res, vm_phys_add_seg(b->phys, v[HF_F_A], v[HF_F_B],
			       (int)MIN(v[HF_F_DOMAIN], 99), NULL));
}

static void
do_unseg(core *b, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, vm_phys_remove_seg(b->phys, v[HF_F_A], v[HF_F_B]));
}

static void
do_take(core *b, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, vm_phys_take(b->phys, v[HF_F_A], v[HF_F_B]));
}

/* Only what `take` took: buffers are freed by contigfree. */
static void
do_give(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_size_t page = b->arch->machine->page_size;

	for (unsigned i = 0; i < HF_BUFS; i++) {
		vm_paddr_t pa;

		if (b->bufs[i].addr == NULL)
			continue;
		pa = vm_dmap_to_phys(b->arch, b->bufs[i].addr);
		if (pa < v[HF_F_B] &&
		    pa + roundup2(b->bufs[i].size, page) > v[HF_F_A]) {
			hf_result_set(res, KERN_INVALID_ARGUMENT);
			res->refused = true;
			(void)snprintf(res->why, sizeof(res->why),
			    "a buffer lies there");
			return;
		}
	}
	hf_result_set(res, vm_phys_free_part(b->phys, v[HF_F_A], v[HF_F_B]));
}

struct contig_req
core_contig_request(const uint64_t *v, vm_size_t page)
{
	return (struct contig_req){.size = v[HF_F_LEN],
	    .low = v[HF_F_A],
	    .high = v[HF_F_B] != 0 ? v[HF_F_B] : UINT64_MAX,
	    .alignment = v[HF_F_ALIGN] != 0 ? v[HF_F_ALIGN] : page,
	    .boundary = v[HF_F_BOUNDARY],
	    .domain = (int)MIN((int64_t)v[HF_F_DOMAIN], 99)};
}

static void
do_contig(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_size_t page = b->arch->machine->page_size;
	struct contig_req req = core_contig_request(v, page);
	struct contig_refusal why = {0};
	vm_paddr_t pa;
	void *addr;
	int rv;

	rv = contig_req_check(&req, page, &why);
	if (rv != KERN_SUCCESS) {
		hf_result_set(res, rv);
		res->refused = true;
		(void)snprintf(res->why, sizeof(res->why),
		    why.limit != 0 ? "%s %s 0x%" PRIx64 : "%s %s", why.arg,
		    why.rule, why.limit);
		return;
	}
	if ((v[HF_F_FLAGS] & (M_NOWAIT | M_WAITOK)) == (M_NOWAIT | M_WAITOK)) {
		core_asserted(res, "M_NOWAIT or M_WAITOK, not both");
		return;
	}
	addr = contigmalloc_domain(req.size, &b->type, req.domain,
	    (int)v[HF_F_FLAGS], req.low, req.high, req.alignment, req.boundary);
	if (addr == NULL) {
		rv = vm_phys_find_contig(b->phys, &req, &pa);
		hf_result_set(res,
		    rv == KERN_SUCCESS ? KERN_RESOURCE_SHORTAGE : rv);
		return;
	}
	b->bufs[v[HF_F_BUF]].addr = addr;
	b->bufs[v[HF_F_BUF]].size = req.size;
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "pa", HF_O_ADDR, vm_dmap_to_phys(b->arch, addr));
}

static void
do_contigfree(core *b, const uint64_t *v, struct hf_result *res)
{
	contigfree(b->bufs[v[HF_F_BUF]].addr, b->bufs[v[HF_F_BUF]].size,
	    &b->type);
	b->bufs[v[HF_F_BUF]].addr = NULL;
	hf_result_set(res, KERN_SUCCESS);
}

static void
do_phys(core *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_phys_stats stats;
	const char *broken = vm_phys_check(b->phys);

	(void)v;
	vm_phys_stats(b->phys, &stats);
	hf_result_set(res, broken == NULL ? KERN_SUCCESS : KERN_FAILURE);
	if (broken != NULL)
		(void)snprintf(res->why, sizeof(res->why), "%s", broken);
	hf_result_out(res, "total", HF_O_ADDR, stats.total);
	hf_result_out(res, "free", HF_O_ADDR, stats.free);
	hf_result_out(res, "largest", HF_O_ADDR, stats.largest_run);
}

/* ---- Maps and objects -----------------------------------------------------
 */

static void
do_map(core *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_map(b->arch->machine, v[HF_F_A], v[HF_F_B], &why);
	if (rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	b->maps[v[HF_F_MAP]] = vm_map_create(&b->pmap, v[HF_F_A], v[HF_F_B]);
	if (b->maps[v[HF_F_MAP]] != NULL && !b->no_pager)
		vm_map_set_pager(b->maps[v[HF_F_MAP]], b->frames.pager);
	hf_result_set(res, b->maps[v[HF_F_MAP]] != NULL
			       ? KERN_SUCCESS
			       : KERN_RESOURCE_SHORTAGE);
}

static void
do_destroy(core *b, const uint64_t *v, struct hf_result *res)
{
	if (b->parents[v[HF_F_MAP]] != 0) {
		core_asserted(res, "that no window to the map is left");
		return;
	}
	vm_map_destroy(core_map(b, v));
	b->maps[v[HF_F_MAP]] = NULL;
	for (unsigned i = 0; i < HF_MAPS; i++)
		b->parents[i] &= (uint8_t) ~(1u << v[HF_F_MAP]);
	hf_result_set(res, KERN_SUCCESS);
}

/*
 * With handles, objects that the program made are told apart by a number there;
 * those that a map made for itself have none, as on the wire.
 */
static uint64_t
object_number(const core *b, vm_object_t object)
{
	const struct core_memory *memory;

	if (object == NULL || !b->handles)
		return (uint64_t)(uintptr_t)object;
	memory = vm_object_handle(object);
	return memory != NULL ? memory->number : 0;
}

static void
do_object(core *b, const uint64_t *v, struct hf_result *res)
{
	int type = (int)MIN(v[HF_F_KIND], 99);
	struct vm_refusal why;
	vm_object_t object;
	int rv;

	rv = vm_strict_object(b->arch->machine, type, v[HF_F_LEN], &why);
	if (rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	object = vm_object_allocate(&b->pmap, (enum obj_type)type, v[HF_F_LEN]);
	if (object == NULL) {
		hf_result_set(res, KERN_RESOURCE_SHORTAGE);
		return;
	}
	if (v[HF_F_OFF] != 0)
		vm_object_color(object,
		    v[HF_F_OFF] / b->arch->machine->page_size);
	if (b->handles)
		core_object_memory(object, ++b->last_object);
	else if (type != OBJT_SWAP)
		core_object_memory(object, 0);
	b->objs[v[HF_F_OBJ]] = object;
	hf_result_set(res, KERN_SUCCESS);
}

static void
do_deref(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_object_deallocate(b->objs[v[HF_F_OBJ]]);
	b->objs[v[HF_F_OBJ]] = NULL;
	hf_result_set(res, KERN_SUCCESS);
}

/* ---- Entering -------------------------------------------------------------
 */

struct vm_insert_args
core_insert_args(core *b, const uint64_t *v)
{
	return (struct vm_insert_args){.object = b->objs[v[HF_F_OBJ]],
	    .offset = v[HF_F_OFF],
	    .start = v[HF_F_A],
	    .length = v[HF_F_LEN],
	    .max_addr = v[HF_F_LIM],
	    .find_space = (int)MIN(v[HF_F_SPACE], INT32_MAX),
	    .prot = (vm_prot_t)v[HF_F_PROT],
	    .max = (vm_prot_t)v[HF_F_MAX],
	    .cow = (int)v[HF_F_COW]};
}

/*
 * What the core asserts of an insertion, whatever the world.  The strict
 * checks cover it; a compat world takes only this part of them.  A charge
 * beside an object that does not pay yet is left out, too: it is asserted when
 * the object is to pay.
 */
static bool
insert_asserts(core *b, const struct vm_insert_args *a, struct hf_result *res)
{
	vm_size_t page = b->arch->machine->page_size;
	int split = a->cow & MAP_SPLIT_BOUNDARY_MASK;

	if (((a->start | a->length | a->offset) & (page - 1)) != 0)
		core_asserted(res,
		    "page-aligned addresses, lengths and offsets");
	else if ((a->prot & ~a->max) != 0 || ((a->prot | a->max) & ~7) != 0)
		core_asserted(res, "rights within the maximum");
	else if ((a->cow & MAP_NOFAULT) != 0 && a->object != NULL && split == 0)
		core_asserted(res, "no object with nofault");
	else if ((a->cow & MAP_STACK_AREA) != 0 && a->object != NULL)
		core_asserted(res, "no object with stack");
	else if ((a->cow & (MAP_CREATE_STACK_GAP | MAP_CREATE_GUARD)) ==
		 MAP_CREATE_STACK_GAP)
		core_asserted(res, "a stack gap that is a guard");
	else if ((a->cow & (MAP_ACC_CHARGED | MAP_COPY_ON_WRITE)) ==
		     MAP_ACC_CHARGED &&
		 a->object != NULL)
		core_asserted(res, "no object with charged, but to copy");
	else if ((a->find_space >> 8) > 63 ||
		 (a->find_space > VMFS_SUPER_SPACE &&
		     (a->find_space & 0xff) != 0))
		core_asserted(res, "a strategy or an alignment");
	else if ((a->cow & MAP_REMAP) != 0 &&
		 (a->find_space != VMFS_NO_SPACE ||
		     (a->cow & MAP_STACK_AREA) != 0))
		core_asserted(res,
		    "remap only with a fixed place and no stack");
	else if (a->offset + a->length < a->offset)
		core_asserted(res,
		    "that the offset leaves room for the length");
	else
		return true;
	return false;
}

/* `rv`, `why`: what the strict check says. */
bool
core_may_insert(core *b, const struct vm_insert_args *args, int rv,
    const struct vm_refusal *why, struct hf_result *res)
{
	if (!b->compat && rv != KERN_SUCCESS) {
		core_refused(res, rv, why);
		return false;
	}
	return !b->compat || insert_asserts(b, args, res);
}

/* The entry takes a reference of its own. */
void
core_end_insert(const struct vm_insert_args *args, int rv,
    struct hf_result *res)
{
	if (rv != KERN_SUCCESS)
		vm_object_deallocate(args->object);
	hf_result_set(res, rv);
}

static void
do_insert(core *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_insert_args a = core_insert_args(b, v);
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	int rv;

	a.find_space = VMFS_NO_SPACE;
	/* A call with start and end, whose order it can check itself. */
	if (!b->compat && a.start + a.length <= a.start) {
		why = (struct vm_refusal){"end", "be above start",
		    a.start + a.length, a.start, true};
		core_refused(res, KERN_INVALID_ADDRESS, &why);
		return;
	}
	rv = vm_strict_insert(map, &a, &why);
	if (!core_may_insert(b, &a, rv, &why, res))
		return;
	vm_object_reference(a.object);
	vm_map_lock(map);
	rv = vm_map_insert(map, a.object, a.offset, a.start, a.start + a.length,
	    a.prot, a.max, a.cow);
	vm_map_unlock(map);
	core_end_insert(&a, rv, res);
}

static void
do_find(core *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_insert_args a = core_insert_args(b, v);
	vm_map_t map = core_map(b, v);
	vm_offset_t addr = a.start;
	struct vm_refusal why;
	int rv = vm_strict_find(map, &a, &why);

	if (!core_may_insert(b, &a, rv, &why, res))
		return;
	vm_object_reference(a.object);
	rv = vm_map_find(map, a.object, a.offset, &addr, a.length, a.max_addr,
	    a.find_space, a.prot, a.max, a.cow);
	core_end_insert(&a, rv, res);
	if (rv == KERN_SUCCESS)
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

static void
do_findspace(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	struct vm_refusal why;
	vm_offset_t addr = 0;
	int rv;

	rv = vm_strict_findspace(map, v[HF_F_A], v[HF_F_LEN], &why);
	if (!b->compat && rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	vm_map_lock_read(map);
	rv = vm_map_findspace(map, v[HF_F_A], v[HF_F_LEN], &addr);
	vm_map_unlock_read(map);
	hf_result_set(res, rv == 0 ? KERN_SUCCESS : KERN_NO_SPACE);
	if (rv == 0)
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

/* ---- Ranges ---------------------------------------------------------------
 */

bool
core_may_change(core *b, const uint64_t *v, int rv,
    const struct vm_refusal *why, struct hf_result *res)
{
	vm_size_t page = b->arch->machine->page_size;

	if (!b->compat) {
		if (rv != KERN_SUCCESS)
			core_refused(res, rv, why);
		return rv == KERN_SUCCESS;
	}
	if (((v[HF_F_A] | v[HF_F_END]) & (page - 1)) == 0)
		return true;
	core_asserted(res, "page-aligned ranges");
	return false;
}

static bool
may_delete(core *b, const uint64_t *v, struct hf_result *res)
{
	struct vm_refusal why;
	int rv = vm_strict_range(core_map(b, v), v[HF_F_A], v[HF_F_END], &why);

	return core_may_change(b, v, rv, &why, res);
}

static void
do_delete(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);

	if (!may_delete(b, v, res))
		return;
	if (v[HF_F_END] < v[HF_F_A]) {
		core_asserted(res, "that a range to delete is not inverted");
		return;
	}
	vm_map_lock(map);
	hf_result_set(res, vm_map_delete(map, v[HF_F_A], v[HF_F_END]));
	vm_map_unlock(map);
}

static void
do_remove(core *b, const uint64_t *v, struct hf_result *res)
{
	if (may_delete(b, v, res))
		hf_result_set(res,
		    vm_map_remove(core_map(b, v), v[HF_F_A], v[HF_F_END]));
}

/* ---- Questions ------------------------------------------------------------
 */

static void
out_entry(const core *b, struct hf_result *res,
    const struct vm_map_entry_info *info)
{
	hf_result_out(res, "start", HF_O_ADDR, info->start);
	hf_result_out(res, "end", HF_O_ADDR, info->end);
	hf_result_out(res, "prot", HF_O_PROT, info->protection);
	hf_result_out(res, "max", HF_O_PROT, info->max_protection);
	hf_result_out(res, "object", HF_O_OBJECT,
	    object_number(b, info->object));
	hf_result_out(res, "offset", HF_O_ADDR,
	    object_number(b, info->object) != 0 ? info->offset : 0);
}

static void
do_lookup(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	vm_pindex_t pindex;
	vm_object_t object;
	struct vm_refusal why;
	vm_prot_t prot;
	bool wired;
	int rv;

	rv = vm_strict_lookup(map, v[HF_F_A], (vm_prot_t)v[HF_F_TYPE], &why);
	if (!b->compat && rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	rv = vm_map_lookup(&map, v[HF_F_A], (vm_prot_t)v[HF_F_TYPE], &entry,
	    &object, &pindex, &prot, &wired);
	hf_result_set(res, rv);
	if (rv != KERN_SUCCESS)
		return;
	vm_map_entry_info(entry, &info);
	out_entry(b, res, &info);
	hf_result_out(res, "pindex", HF_O_NUM, pindex);
	b->rights = prot;
	vm_map_lookup_done(map, entry);
}

static void
do_entry(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	bool found;

	vm_map_lock_read(map);
	found = vm_map_lookup_entry(map, v[HF_F_A], &entry);
	hf_result_set(res, found ? KERN_SUCCESS : KERN_INVALID_ADDRESS);
	if (found) {
		vm_map_entry_info(entry, &info);
		out_entry(b, res, &info);
	}
	vm_map_unlock_read(map);
}

static void
do_check(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);
	const char *broken;

	vm_map_lock_read(map);
	broken = vm_map_check(map);
	vm_map_unlock_read(map);
	hf_result_set(res, broken == NULL ? KERN_SUCCESS : KERN_FAILURE);
	if (broken != NULL)
		(void)snprintf(res->why, sizeof(res->why), "%s", broken);
}

static void
do_stat(core *b, const uint64_t *v, struct hf_result *res)
{
	vm_map_t map = core_map(b, v);

	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "size", HF_O_ADDR, vm_map_size(map));
	hf_result_out(res, "nentries", HF_O_NUM, vm_map_nentries(map));
}

static void
do_entries(core *b, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "nentries", HF_O_NUM,
	    vm_map_nentries(core_map(b, v)));
}

/* ---- The table ------------------------------------------------------------
 */

static core_handler *const handlers[HF_NOPS] = {
    [HF_WORLD] = do_world,
    [HF_SEG] = do_seg,
    [HF_UNSEG] = do_unseg,
    [HF_MAP] = do_map,
    [HF_DESTROY] = do_destroy,
    [HF_OBJECT] = do_object,
    [HF_DEREF] = do_deref,
    [HF_INSERT] = do_insert,
    [HF_FIND] = do_find,
    [HF_FINDSPACE] = do_findspace,
    [HF_DELETE] = do_delete,
    [HF_REMOVE] = do_remove,
    [HF_LOOKUP] = do_lookup,
    [HF_ENTRY] = do_entry,
    [HF_ENTRIES] = do_entries,
    [HF_CHECK] = do_check,
    [HF_STAT] = do_stat,
    [HF_CONTIG] = do_contig,
    [HF_CONTIGFREE] = do_contigfree,
    [HF_PHYS] = do_phys,
    [HF_TAKE] = do_take,
    [HF_GIVE] = do_give,
    [HF_INJECT] = do_inject,
    [HF_FIND_MIN] = core_find_min,
    [HF_FIXED] = core_fixed,
    [HF_PROTECT] = core_protect,
    [HF_INHERIT] = core_inherit,
    [HF_MADVISE] = core_madvise,
    [HF_WIRE] = core_wire,
    [HF_UNWIRE] = core_unwire,
    [HF_SYNC] = core_sync,
    [HF_STACK] = core_stack,
    [HF_GROWSTACK] = core_growstack,
    [HF_CHECK_PROTECTION] = core_check_protection,
    [HF_LIMIT] = core_limit,
    [HF_FLAGS] = core_flags,
    [HF_FORK] = core_fork,
    [HF_SUBMAP] = core_submap,
    [HF_TOUCH] = core_touch,
    [HF_FIND_ALIGNED] = core_find_aligned,
    [HF_CHECK_BOUNDARY] = core_check_boundary,
    [HF_SIMPLIFY] = core_simplify,
};

static void
core_call(struct hf_backend *base, const struct hf_call *call,
    struct hf_result *res)
{
	if (handlers[call->op] != NULL)
		handlers[call->op](core_of(base), call->v, res);
	else
		hf_result_set(res, HF_S_UNSUPPORTED);
}

static size_t
core_nentries(struct hf_backend *base, unsigned map)
{
	return vm_map_nentries(core_of(base)->maps[map]);
}

static void
copy_entry(const core *b, const struct vm_map_entry_info *info,
    struct hf_entry *e)
{
	*e = (struct hf_entry){.start = info->start,
	    .end = info->end,
	    .object = object_number(b, info->object),
	    .offset = info->offset,
	    .eflags = info->eflags,
	    .prot = info->protection,
	    .max = info->max_protection,
	    .inherit = (uint8_t)info->inheritance,
	    .wired = info->wired_count};
}

static size_t
core_entries(struct hf_backend *base, unsigned slot, size_t k,
    struct hf_entry *entries, size_t max)
{
	vm_map_t map = core_of(base)->maps[slot];
	struct vm_map_entry_info info;
	size_t n = 0;

	vm_map_lock_read(map);
	for (vm_map_entry_t e = vm_map_entry_first(map); e != NULL && n < max;
	     e = vm_map_entry_succ(map, e)) {
		if (k > 0) {
			k--;
			continue;
		}
		vm_map_entry_info(e, &info);
		copy_entry(core_of(base), &info, &entries[n++]);
	}
	vm_map_unlock_read(map);
	return n;
}

static size_t
core_runs(struct hf_backend *base, size_t k, struct hf_run *runs, size_t max)
{
	struct vm_phys_run run;
	vm_paddr_t pa = 0;
	size_t n = 0;

	while (n < max && vm_phys_next_free(core_of(base)->phys, pa, &run)) {
		pa = run.end;
		if (k > 0)
			k--;
		else
			runs[n++] =
			    (struct hf_run){run.start, run.end, run.domain};
	}
	return n;
}

static void
core_free(struct hf_backend *base)
{
	core_backend_fini(core_of(base));
}

static const struct hf_backend_ops core_ops = {.name = "core",
    .call = core_call,
    .entries = core_entries,
    .nentries = core_nentries,
    .runs = core_runs,
    .free = core_free};

void
core_backend_init(core *b, bool handles)
{
	memset(b, 0, sizeof(*b));
	b->base.ops = &core_ops;
	b->handles = handles;
}
