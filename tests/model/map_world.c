/* SPDX-License-Identifier: BSD-2-Clause */

#include "tests/model/map_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm_map_int.h"
#include "tests/model/model_int.h"

static char text[768];

__attribute__((format(printf, 1, 2))) static const char *
differ(const char *format, ...)
{
	static char next[sizeof(text)];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(next, sizeof(next), format, ap);
	va_end(ap);
	memcpy(text, next, sizeof(text));
	return text;
}

/* Begin and end */

static void
add_map(struct world *world, int i, vm_map_t real, struct model_map *model)
{
	const struct vm_tree_isa *isa = vm_tree_isa_find(world->setup.isa);

	if (isa != NULL) /* else the processor lacks it */
		real->tree.isa = isa;
	world->real[i] = real;
	world->model[i] = model;
}

/*
 * The generator of ASLR: one number an operation, however often it is asked
 * for; who asks once more than the other is not what is tested.
 */
static uint64_t
next_random(void *arg, uint64_t bound)
{
	const uint64_t *nops = arg;

	return (*nops * UINT64_C(6364136223846793005) >> 33) % bound;
}

static void
make_map(struct world *world, int i)
{
	const struct map_setup *setup = &world->setup;
	vm_map_t real;
	struct model_map *model;

	real = vm_map_create(&world->pmap, setup->min, setup->max);
	MODEL_CHECK(real != NULL);
	model = model_map_create(setup->machine, setup->min, setup->max);
	vm_map_lock(real);
	vm_map_modflags(real, setup->flags, 0);
	vm_map_unlock(real);
	model_map_modflags(model, setup->flags, 0);
	vm_map_set_limits(real, &setup->limits);
	model_map_set_limits(model, &setup->limits);
	if ((setup->flags & MAP_ASLR) != 0) {
		vm_map_set_random(real, next_random, &world->nops);
		model_map_set_random(model, next_random, &world->nops);
	}
	add_map(world, i, real, model);
}

void
world_init(struct world *world, const struct map_setup *setup)
{
	struct sim_options options = {.machine = setup->machine->name,
	    .page_size = setup->machine->page_size};

	memset(world, 0, sizeof(*world));
	model_reset();
	world->setup = *setup;
	world->arch = sim_create(&options);
	MODEL_CHECK(world->arch != NULL);
	world->pmap.arch = world->arch;
	make_map(world, 0);
}

static void
destroy_map(struct world *world, int i)
{
	if (world->real[i] == NULL)
		return;
	vm_map_destroy(world->real[i]);
	model_map_destroy(world->model[i]);
	world->real[i] = NULL;
	world->model[i] = NULL;
}

const char *
world_fini(struct world *world)
{
	const char *why = NULL;

	sim_fail_never(world->arch);
	for (int i = 0; i < WORLD_MAPS; i++)
		destroy_map(world, i);
	for (int i = 0; i < WORLD_OBJECTS; i++)
		if (world->robject[i] != NULL) {
			why = model_object_compare(world->mobject[i],
			    world->robject[i]);
			if (why != NULL)
				break;
			vm_object_deallocate(world->robject[i]);
			model_object_deallocate(world->mobject[i]);
		}
	if (why == NULL && model_objects() != NULL)
		why = differ("objects are left in the model");
	if (why == NULL && sim_live(world->arch) != 0)
		why = differ("%zu blocks of metadata are left",
		    sim_live(world->arch));
	if (why != NULL)
		return why; /* what holds them is broken: leave it */
	sim_destroy(world->arch);
	return NULL;
}

/* Print */

static const char *const kinds[OP_NKINDS] = {"insert", "findspace",
    "find_aligned", "find", "find_min", "fixed", "delete", "remove",
    "lookup_entry", "check_protection", "protect", "inherit", "madvise", "wire",
    "unwire", "sync", "stack", "growstack", "lookup", "lookup_locked",
    "check_boundary", "fork", "destroy", "object", "object_drop", "modflags"};

const char *
map_op_name(enum map_op_kind kind)
{
	return kinds[kind];
}

void
map_op_print(const struct map_op *op)
{
	fprintf(stderr,
	    "%-10s m%d o%d start=%#" PRIx64 " end=%#" PRIx64 " len=%#" PRIx64
	    " off=%#" PRIx64 " max_addr=%#" PRIx64 " default=%#" PRIx64
	    " fs=%#x prot=%x/%x cow=%#x flags=%#x type=%d%s\n",
	    kinds[op->kind], op->map, op->object, op->start, op->end,
	    op->length, op->offset, op->max_addr, op->default_addr,
	    (unsigned)op->find_space, op->prot, op->max, (unsigned)op->cow,
	    (unsigned)op->flags, op->type, op->sweep ? " sweep" : "");
}

void
map_setup_print(const struct map_setup *setup)
{
	fprintf(stderr,
	    "%s %s page %#" PRIx64 " map [%#" PRIx64 ", %#" PRIx64
	    ") flags %#x vmem %#" PRIx64 " stack %#" PRIx64 " memlock %#" PRIx64
	    " swap %#" PRIx64 " entries %" PRIu64
	    " overcommit %d cluster %d guard %#" PRIx64 "\n",
	    setup->machine->name, setup->isa, setup->machine->page_size,
	    setup->min, setup->max, setup->flags, setup->limits.vmem,
	    setup->limits.stack, setup->limits.memlock, setup->limits.swap,
	    setup->limits.nentries, setup->limits.overcommit,
	    setup->limits.cluster_anon, setup->limits.stack_guard);
}

/* Compare beyond what the public interface shows */

static const char *
compare_inside(struct model_map *model, vm_map_t real)
{
	vm_map_entry_t entry = vm_map_entry_first(real);

	for (size_t i = 0; i < model->n; i++) {
		const struct model_entry *e = &model->entries[i];

		if ((e->eflags & MAP_ENTRY_STACK_GAP) != 0 &&
		    (entry->gap_prot != e->gap_prot ||
			entry->gap_max != e->gap_max ||
			entry->guard != e->gap_guard))
			return differ("gap at %#" PRIx64
				      ": %x/%x guard %#" PRIx64
				      ", model %x/%x %#" PRIx64,
			    e->start, entry->gap_prot, entry->gap_max,
			    entry->guard, e->gap_prot, e->gap_max,
			    e->gap_guard);
		entry = vm_map_entry_succ(real, entry);
	}
	if (real->anon_loc != model->anon_loc)
		return differ("anon_loc %#" PRIx64 ", model %#" PRIx64,
		    real->anon_loc, model->anon_loc);
	if (real->user_wired != model_map_user_wired(model))
		return differ("user wired %#" PRIx64 ", model %#" PRIx64,
		    real->user_wired, model_map_user_wired(model));
	if (vm_account_reserved(real->account) != model->account->reserved)
		return differ("reserved %#" PRIx64 ", model %#" PRIx64,
		    vm_account_reserved(real->account),
		    model->account->reserved);
	return NULL;
}

static const char *
compare_all(struct world *world)
{
	const char *why;

	for (int i = 0; i < WORLD_MAPS; i++) {
		if (world->real[i] == NULL)
			continue;
		vm_map_lock_read(world->real[i]);
		why = vm_map_check(world->real[i]);
		if (why == NULL)
			why =
			    model_map_compare(world->model[i], world->real[i]);
		if (why == NULL)
			why = compare_inside(world->model[i], world->real[i]);
		vm_map_unlock_read(world->real[i]);
		if (why != NULL)
			return differ("map %d: %.512s", i, why);
	}
	for (int i = 0; i < WORLD_OBJECTS; i++) {
		if (world->robject[i] == NULL)
			continue;
		why =
		    model_object_compare(world->mobject[i], world->robject[i]);
		if (why != NULL)
			return differ("object %d: %.512s", i, why);
	}
	return NULL;
}

/* Operations: what a call gives back, on one side */

struct answer {
	int rv;
	bool has_addr;
	vm_offset_t addr;
	/* lookup */
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
	void *object;
	/* fork */
	void *child;
};

static void
real_lookup(struct world *world, const struct map_op *op, struct answer *a)
{
	vm_map_t map = world->real[op->map];
	vm_map_entry_t entry;
	vm_object_t object;

	a->rv = vm_map_lookup(&map, op->start, op->prot, &entry, &object,
	    &a->pindex, &a->prot, &a->wired);
	if (a->rv != KERN_SUCCESS)
		return;
	a->object = object;
	a->addr = entry->start;
	a->has_addr = true;
	vm_map_lookup_done(map, entry);
}

static void
real_lookup_locked(vm_map_t map, const struct map_op *op, struct answer *a)
{
	vm_map_entry_t entry;
	vm_object_t object;

	vm_map_lock_read(map);
	a->rv = vm_map_lookup_locked(&map, op->start, op->prot, &entry, &object,
	    &a->pindex, &a->prot, &a->wired);
	if (a->rv == KERN_SUCCESS) {
		a->object = object;
		a->addr = entry->start;
		a->has_addr = true;
	}
	vm_map_unlock_read(map);
}

static void
real_lookup_entry(vm_map_t map, const struct map_op *op, struct answer *a)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	vm_map_lock_read(map);
	a->rv = vm_map_lookup_entry(map, op->start, &entry) ? 1 : 0;
	a->has_addr = true;
	a->addr = UINT64_MAX;
	if (entry != NULL) {
		vm_map_entry_info(entry, &info);
		a->addr = info.start;
	}
	vm_map_unlock_read(map);
}

static bool
gives_address(const struct map_op *op)
{
	return op->kind == OP_FINDSPACE || op->kind == OP_FIND_ALIGNED ||
	       op->kind == OP_FIND || op->kind == OP_FIND_MIN;
}

/* Calls that lock for themselves, and are the same on both sides. */
#define RANGE_CALLS(CALL)                                                      \
	CALL(OP_PROTECT, protect,                                              \
	    (map, op->start, op->end, op->prot, op->max, op->flags))           \
	CALL(OP_INHERIT, inherit,                                              \
	    (map, op->start, op->end, (vm_inherit_t)op->flags))                \
	CALL(OP_MADVISE, madvise, (map, op->start, op->end, op->flags))        \
	CALL(OP_WIRE, wire, (map, op->start, op->end, op->flags))              \
	CALL(OP_UNWIRE, unwire, (map, op->start, op->end, op->flags))          \
	CALL(OP_SYNC, sync,                                                    \
	    (map, op->start, op->end, (op->flags & 1) != 0,                    \
		(op->flags & 2) != 0))                                         \
	CALL(OP_STACK, stack,                                                  \
	    (map, op->start, op->length, op->prot, op->max, op->cow))          \
	CALL(OP_GROWSTACK, growstack, (map, op->start))

#define SPACE_CALLS(CALL)                                                      \
	CALL(OP_FIND, find,                                                    \
	    (map, object, op->offset, &a->addr, op->length, op->max_addr,      \
		op->find_space, op->prot, op->max, op->cow))                   \
	CALL(OP_FIND_MIN, find_min,                                            \
	    (map, object, op->offset, &a->addr, op->length, op->default_addr,  \
		op->max_addr, op->find_space, op->prot, op->max, op->cow))     \
	CALL(OP_FIXED, fixed,                                                  \
	    (map, object, op->offset, op->start, op->length, op->prot,         \
		op->max, op->cow))                                             \
	CALL(OP_REMOVE, remove, (map, op->start, op->end))

#define REAL_CALL(kind, name, args)                                            \
	case kind:                                                             \
		a->rv = vm_map_##name args;                                    \
		break;
#define MODEL_CALL(kind, name, args)                                           \
	case kind:                                                             \
		a->rv = model_map_##name args;                                 \
		break;

/* Calls that change a range, or ask about one. */
static void
do_real_range(struct world *world, const struct map_op *op, struct answer *a)
{
	vm_map_t map = world->real[op->map], child;

	switch (op->kind) {
	case OP_CHECK_PROTECTION:
		vm_map_lock_read(map);
		a->rv =
		    vm_map_check_protection(map, op->start, op->end, op->prot);
		vm_map_unlock_read(map);
		break;
		RANGE_CALLS(REAL_CALL)
	case OP_LOOKUP:
		real_lookup(world, op, a);
		break;
	case OP_LOOKUP_LOCKED:
		real_lookup_locked(map, op, a);
		break;
	case OP_CHECK_BOUNDARY:
		vm_map_lock_read(map);
		a->rv = vm_map_check_boundary(map, op->start, op->end);
		vm_map_unlock_read(map);
		break;
	case OP_FORK:
		a->rv = vmspace_fork(map, NULL, &child);
		if (a->rv == KERN_SUCCESS)
			a->child = child;
		break;
	default:
		break;
	}
}

static void
do_real(struct world *world, const struct map_op *op, vm_object_t object,
    struct answer *a)
{
	vm_map_t map = world->real[op->map];

	a->addr = op->start;
	a->has_addr = gives_address(op);
	switch (op->kind) {
	case OP_INSERT:
		vm_map_lock(map);
		a->rv = vm_map_insert(map, object, op->offset, op->start,
		    op->end, op->prot, op->max, op->cow);
		vm_map_unlock(map);
		break;
	case OP_FINDSPACE:
		vm_map_lock_read(map);
		a->rv = vm_map_findspace(map, op->start, op->length, &a->addr);
		vm_map_unlock_read(map);
		break;
	case OP_FIND_ALIGNED:
		vm_map_lock(map);
		a->rv = vm_map_find_aligned(map, &a->addr, op->length,
		    op->max_addr, op->offset);
		vm_map_unlock(map);
		break;
		SPACE_CALLS(REAL_CALL)
	case OP_DELETE:
		vm_map_lock(map);
		a->rv = vm_map_delete(map, op->start, op->end);
		vm_map_unlock(map);
		break;
	case OP_LOOKUP_ENTRY:
		real_lookup_entry(map, op, a);
		break;
	default:
		do_real_range(world, op, a);
		break;
	}
}

static void
model_do_lookup(struct model_map *map, const struct map_op *op,
    struct answer *a)
{
	struct model_object *object;
	size_t i;

	a->rv = (op->kind == OP_LOOKUP ? model_map_lookup
				       : model_map_lookup_locked)(map,
	    op->start, op->prot, &i, &object, &a->pindex, &a->prot, &a->wired);
	if (a->rv != KERN_SUCCESS)
		return;
	a->object = object;
	a->addr = map->entries[i].start;
	a->has_addr = true;
}

static void
model_do_lookup_entry(struct model_map *map, const struct map_op *op,
    struct answer *a)
{
	size_t i;

	a->rv = model_map_lookup_entry(map, op->start, &i) ? 1 : 0;
	a->has_addr = true;
	a->addr = UINT64_MAX;
	if (a->rv == 1)
		a->addr = map->entries[i].start;
	else if (i > 0)
		a->addr = map->entries[i - 1].start;
}

static void
do_model_range(struct world *world, const struct map_op *op, struct answer *a)
{
	struct model_map *map = world->model[op->map], *child;

	switch (op->kind) {
	case OP_CHECK_PROTECTION:
		a->rv = model_map_check_protection(map, op->start, op->end,
		    op->prot);
		break;
		RANGE_CALLS(MODEL_CALL)
	case OP_CHECK_BOUNDARY:
		a->rv = model_map_check_boundary(map, op->start, op->end);
		break;
	case OP_LOOKUP:
	case OP_LOOKUP_LOCKED:
		model_do_lookup(map, op, a);
		break;
	case OP_FORK:
		a->rv = model_map_fork(map, &child);
		if (a->rv == KERN_SUCCESS)
			a->child = child;
		break;
	default:
		break;
	}
}

static void
do_model(struct world *world, const struct map_op *op,
    struct model_object *object, struct answer *a)
{
	struct model_map *map = world->model[op->map];

	a->addr = op->start;
	a->has_addr = gives_address(op);
	switch (op->kind) {
	case OP_INSERT:
		a->rv = model_map_insert(map, object, op->offset, op->start,
		    op->end, op->prot, op->max, op->cow);
		break;
	case OP_FINDSPACE:
		a->rv =
		    model_map_findspace(map, op->start, op->length, &a->addr);
		break;
	case OP_FIND_ALIGNED:
		a->rv = model_map_find_aligned(map, &a->addr, op->length,
		    op->max_addr, op->offset);
		break;
		SPACE_CALLS(MODEL_CALL)
	case OP_DELETE:
		a->rv = model_map_delete(map, op->start, op->end);
		break;
	case OP_LOOKUP_ENTRY:
		model_do_lookup_entry(map, op, a);
		break;
	default:
		do_model_range(world, op, a);
		break;
	}
}

static const char *
compare_answers(const struct answer *real, const struct answer *model)
{
	if (real->rv != model->rv)
		return differ("code %d, model %d", real->rv, model->rv);
	if (model->has_addr && real->addr != model->addr)
		return differ("address %#" PRIx64 ", model %#" PRIx64,
		    real->addr, model->addr);
	if (real->pindex != model->pindex || real->prot != model->prot ||
	    real->wired != model->wired)
		return differ("pindex %#" PRIx64 " prot %x wired %d, model "
			      "%#" PRIx64 " %x %d",
		    real->pindex, real->prot, real->wired, model->pindex,
		    model->prot, model->wired);
	return NULL;
}

/* Objects and the maps themselves */

static void
apply_object(struct world *world, const struct map_op *op)
{
	vm_object_t real;
	struct model_object *model;

	if (world->robject[op->object] != NULL)
		return;
	real = vm_object_allocate(&world->pmap, (enum obj_type)op->type,
	    op->length);
	MODEL_CHECK(real != NULL);
	model = model_object_allocate((enum obj_type)op->type, op->length);
	model_object_bind(model, real);
	if (op->offset != 0) {
		vm_object_color(real, op->offset);
		model_object_color(model, op->offset);
	}
	world->robject[op->object] = real;
	world->mobject[op->object] = model;
}

static void
apply_object_drop(struct world *world, int i)
{
	if (world->robject[i] == NULL)
		return;
	vm_object_deallocate(world->robject[i]);
	model_object_deallocate(world->mobject[i]);
	world->robject[i] = NULL;
	world->mobject[i] = NULL;
}

static int
free_slot(const struct world *world)
{
	for (int i = 0; i < WORLD_MAPS; i++)
		if (world->real[i] == NULL)
			return i;
	return -1;
}

/* true: `op` was one of these. */
static bool
apply_other(struct world *world, const struct map_op *op)
{
	vm_map_t map = world->real[op->map];
	bool last = true;

	switch (op->kind) {
	case OP_OBJECT:
		apply_object(world, op);
		return true;
	case OP_OBJECT_DROP:
		apply_object_drop(world, op->object);
		return true;
	case OP_MODFLAGS:
		if (map == NULL)
			return true;
		vm_map_lock(map);
		vm_map_modflags(map, (uint32_t)op->flags, (uint32_t)op->cow);
		vm_map_unlock(map);
		model_map_modflags(world->model[op->map], (uint32_t)op->flags,
		    (uint32_t)op->cow);
		return true;
	case OP_DESTROY:
		for (int i = 0; i < WORLD_MAPS; i++)
			if (i != op->map && world->real[i] != NULL)
				last = false;
		destroy_map(world, op->map);
		if (last)
			make_map(world, op->map);
		return true;
	default:
		return false;
	}
}

/* Does a call of this kind take the reference it is given, if it succeeds? */
static bool
keeps_reference(enum map_op_kind kind, int rv)
{
	return rv == KERN_SUCCESS &&
	       (kind == OP_INSERT || kind == OP_FIND || kind == OP_FIND_MIN ||
		   kind == OP_FIXED);
}

/* The core's side, with a reference for the entry that it may make. */
static void
apply_real(struct world *world, const struct map_op *op, vm_object_t object,
    struct answer *a)
{
	memset(a, 0, sizeof(*a));
	vm_object_reference(object);
	do_real(world, op, object, a);
	if (!keeps_reference(op->kind, a->rv))
		vm_object_deallocate(object);
}

/*
 * The core's side again and again, with its first, second, ... allocation
 * failing, until it gets through.  Each failure must be as if never asked.
 */
static const char *
apply_sweep(struct world *world, const struct map_op *op, vm_object_t object,
    struct answer *a)
{
	const char *why;
	bool failed;

	for (uint64_t nth = 1;; nth++) {
		/* A second pass of find_min must not get through either. */
		if (op->kind == OP_FIND_MIN)
			sim_fail_from(world->arch, nth);
		else
			sim_fail_nth(world->arch, nth);
		apply_real(world, op, object, a);
		failed = sim_nfailed(world->arch) != 0;
		sim_fail_never(world->arch);
		if (!failed ||
		    (a->rv != KERN_RESOURCE_SHORTAGE &&
			(op->kind != OP_FIND_MIN || a->rv == KERN_SUCCESS)))
			return NULL;
		world->nshort[op->kind]++;
		if (a->has_addr && a->addr != op->start)
			return differ("*addr changed by a call that failed");
		why = compare_all(world);
		if (why != NULL)
			return differ("allocation %d failed: %.512s", (int)nth,
			    why);
	}
}

/*
 * The model knows no limit on entries.  The core may refuse what could exceed
 * it, before what merges is known; then nothing may have changed.  It may not
 * let the map grow beyond it.
 */
static bool
hits_entry_limit(const struct world *world, int map, uint64_t before,
    const struct answer *a)
{
	uint64_t limit = world->setup.limits.nentries;

	if (limit == 0)
		return false;
	MODEL_CHECK(vm_map_nentries(world->real[map]) <= MAX(limit, before));
	return before + 3 > limit && a->rv == KERN_RESOURCE_SHORTAGE;
}

const char *
world_apply(struct world *world, const struct map_op *op)
{
	struct answer real = {0}, model = {0};
	vm_object_t robject = NULL;
	struct model_object *mobject = NULL;
	const char *why = NULL;
	uint64_t before;
	int slot = -1;

	if (apply_other(world, op))
		return compare_all(world);
	if (world->real[op->map] == NULL)
		return NULL;
	if (op->object >= 0) {
		robject = world->robject[op->object];
		mobject = world->mobject[op->object];
		if (robject == NULL)
			return NULL;
	}
	if (op->kind == OP_FORK) {
		slot = free_slot(world);
		if (slot < 0)
			return NULL;
	}

	world->nops++;
	before = vm_map_nentries(world->real[op->map]);
	/* Refused at its first place it may find another, without an entry. */
	if (op->kind == OP_FIND_MIN && world->setup.limits.nentries != 0 &&
	    before + 3 > world->setup.limits.nentries)
		return NULL;
	if (op->sweep)
		why = apply_sweep(world, op, robject, &real);
	else
		apply_real(world, op, robject, &real);
	if (why != NULL)
		return why;
	if (hits_entry_limit(world, op->map, before, &real))
		return compare_all(world);
	model_object_reference(mobject);
	do_model(world, op, mobject, &model);
	if (!keeps_reference(op->kind, model.rv))
		model_object_deallocate(mobject);
	why = compare_answers(&real, &model);
	if (why != NULL)
		return why;
	if (real.child != NULL)
		add_map(world, slot, real.child, model.child);
	world->ncodes[op->kind][real.rv]++;
	why = compare_all(world);
	if (why == NULL && real.object != NULL &&
	    ((struct model_object *)model.object)->real != real.object)
		why = differ("lookup gave another object");
	return why;
}
