/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/map_mirror.h"

#include "core/kassert.h"
#include "core/vm_fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MORE_ENTRIES 4 /* that one operation needs at most */

typedef void handler(struct map_mirror *m, const uint64_t *v,
    struct hf_result *res);

static struct model_map *
map_of(struct map_mirror *m, const uint64_t *v)
{
	return m->maps[v[HF_F_MAP]];
}

/* Whatever limits the core has. */
static void
copy_limits(struct map_mirror *m, const uint64_t *v)
{
	struct vm_map_limits limits;

	vm_map_get_limits(m->core->maps[v[HF_F_MAP]], &limits);
	model_map_set_limits(map_of(m, v), &limits);
}

/* ---- Maps and objects -----------------------------------------------------
 */

static void
do_map(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	m->maps[v[HF_F_MAP]] =
	    model_map_create(m->core->arch->machine, v[HF_F_A], v[HF_F_B]);
	copy_limits(m, v);
	hf_result_set(res, KERN_SUCCESS);
}

static void
do_destroy(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	model_map_destroy(map_of(m, v));
	m->maps[v[HF_F_MAP]] = NULL;
	hf_result_set(res, KERN_SUCCESS);
}

static void
do_fork(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res,
	    model_map_fork(map_of(m, v), &m->maps[v[HF_F_MAP2]]));
}

static void
do_object(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	struct model_object *object =
	    model_object_allocate((enum obj_type)v[HF_F_KIND], v[HF_F_LEN]);

	model_object_bind(object, m->core->objs[v[HF_F_OBJ]]);
	if (v[HF_F_OFF] != 0)
		model_object_color(object,
		    v[HF_F_OFF] / m->core->arch->machine->page_size);
	m->objs[v[HF_F_OBJ]] = object;
	hf_result_set(res, KERN_SUCCESS);
}

static void
do_deref(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	model_object_deallocate(m->objs[v[HF_F_OBJ]]);
	m->objs[v[HF_F_OBJ]] = NULL;
	hf_result_set(res, KERN_SUCCESS);
}

/* ---- Entering -------------------------------------------------------------
 */

static struct model_object *
take_object(struct map_mirror *m, const uint64_t *v)
{
	struct model_object *object = m->objs[v[HF_F_OBJ]];

	if (object != NULL)
		model_object_reference(object);
	return object;
}

static void
end_enter(struct model_object *object, int rv, bool has_addr, vm_offset_t addr,
    struct hf_result *res)
{
	if (rv != KERN_SUCCESS && object != NULL)
		model_object_deallocate(object);
	hf_result_set(res, rv);
	if (rv == KERN_SUCCESS && has_addr)
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

static void
do_insert(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	struct model_object *object = take_object(m, v);
	int rv = model_map_insert(map_of(m, v), object, v[HF_F_OFF], v[HF_F_A],
	    v[HF_F_A] + v[HF_F_LEN], (vm_prot_t)v[HF_F_PROT],
	    (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_COW]);

	end_enter(object, rv, false, 0, res);
}

static void
do_find(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	struct model_object *object = take_object(m, v);
	vm_offset_t addr = v[HF_F_A];
	int rv = model_map_find(map_of(m, v), object, v[HF_F_OFF], &addr,
	    v[HF_F_LEN], v[HF_F_LIM], (int)v[HF_F_SPACE],
	    (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_COW]);

	end_enter(object, rv, true, addr, res);
}

static void
do_find_min(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	struct model_object *object = take_object(m, v);
	vm_offset_t addr = v[HF_F_A];
	int rv = model_map_find_min(map_of(m, v), object, v[HF_F_OFF], &addr,
	    v[HF_F_LEN], v[HF_F_DEF], v[HF_F_LIM], (int)v[HF_F_SPACE],
	    (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_COW]);

	end_enter(object, rv, true, addr, res);
}

static void
do_fixed(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	struct model_object *object = take_object(m, v);
	int rv = model_map_fixed(map_of(m, v), object, v[HF_F_OFF], v[HF_F_A],
	    v[HF_F_LEN], (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX],
	    (int)v[HF_F_COW]);

	end_enter(object, rv, false, 0, res);
}

static void
do_stack(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_stack(map_of(m, v), v[HF_F_A], v[HF_F_LEN],
			       (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX],
			       (int)v[HF_F_COW] | MAP_STACK_AREA));
}

static void
do_growstack(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_growstack(map_of(m, v), v[HF_F_A]));
}

/* ---- Ranges ---------------------------------------------------------------
 */

static void
do_delete(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res,
	    model_map_delete(map_of(m, v), v[HF_F_A], v[HF_F_END]));
}

static void
do_remove(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res,
	    model_map_remove(map_of(m, v), v[HF_F_A], v[HF_F_END]));
}

static void
do_protect(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_protect(map_of(m, v), v[HF_F_A],
			       v[HF_F_END], (vm_prot_t)v[HF_F_PROT],
			       (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_SET]));
}

static void
do_inherit(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_inherit(map_of(m, v), v[HF_F_A],
			       v[HF_F_END], (vm_inherit_t)v[HF_F_INH]));
}

static void
do_madvise(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res,
	    model_map_madvise(map_of(m, v), v[HF_F_A], v[HF_F_END],
		(int)MIN(v[HF_F_ADVICE], INT32_MAX)));
}

static void
do_wire(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_wire(map_of(m, v), v[HF_F_A], v[HF_F_END],
			       (int)v[HF_F_FLAGS]));
}

static void
do_unwire(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_unwire(map_of(m, v), v[HF_F_A],
			       v[HF_F_END], (int)v[HF_F_FLAGS]));
}

static void
do_sync(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, model_map_sync(map_of(m, v), v[HF_F_A], v[HF_F_END],
			       v[HF_F_SET] != 0, v[HF_F_CLEAR] != 0));
}

static void
do_check_protection(struct map_mirror *m, const uint64_t *v,
    struct hf_result *res)
{
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "result", HF_O_BOOL,
	    model_map_check_protection(map_of(m, v), v[HF_F_A], v[HF_F_END],
		(vm_prot_t)v[HF_F_PROT]));
}

static void
do_limit(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	copy_limits(m, v);
	hf_result_set(res, KERN_SUCCESS);
}

static void
do_flags(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	model_map_modflags(map_of(m, v), (uint32_t)v[HF_F_SET],
	    (uint32_t)v[HF_F_CLEAR]);
	hf_result_set(res, KERN_SUCCESS);
}

/* ---- Questions ------------------------------------------------------------
 */

static void
do_findspace(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t addr;
	int rv =
	    model_map_findspace(map_of(m, v), v[HF_F_A], v[HF_F_LEN], &addr);

	hf_result_set(res, rv == 0 ? KERN_SUCCESS : KERN_NO_SPACE);
	if (rv == 0)
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

static void
out_entry(struct hf_result *res, const struct model_entry *e)
{
	hf_result_out(res, "start", HF_O_ADDR, e->start);
	hf_result_out(res, "end", HF_O_ADDR, e->end);
	hf_result_out(res, "prot", HF_O_PROT, e->prot);
	hf_result_out(res, "max", HF_O_PROT, e->max);
}

static void
do_lookup(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	struct model_object *object;
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
	size_t i;
	int rv;

	rv = model_map_lookup(map_of(m, v), v[HF_F_A], (vm_prot_t)v[HF_F_TYPE],
	    &i, &object, &pindex, &prot, &wired);
	hf_result_set(res, rv);
	if (rv != KERN_SUCCESS)
		return;
	out_entry(res, model_map_entry(map_of(m, v), i));
	hf_result_out(res, "pindex", HF_O_NUM, pindex);
	m->rights = prot;
}

/* Whether the contents are right, is for map_content.h to say. */
static void
do_touch(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	const struct model_entry *e;
	struct model_object *object;
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
	size_t i;
	int rv;

	rv = model_map_lookup(map_of(m, v), v[HF_F_A],
	    (vm_prot_t)v[HF_F_TYPE] | VM_PROT_FAULT_LOOKUP, &i, &object,
	    &pindex, &prot, &wired);
	e = rv == KERN_SUCCESS ? model_map_entry(map_of(m, v), i) : NULL;
	if (e != NULL &&
	    ((e->eflags & MAP_ENTRY_NOFAULT) != 0 || object == NULL))
		rv = KERN_FAILURE;
	else if (e != NULL && pindex >= model_object_size(object) /
					    m->core->arch->machine->page_size)
		rv = KERN_OUT_OF_BOUNDS;
	else if (e != NULL)
		m->rights = prot;
	hf_result_set(res, rv);
}

static void
do_entry(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	bool found;
	size_t i;

	found = model_map_lookup_entry(map_of(m, v), v[HF_F_A], &i);
	hf_result_set(res, found ? KERN_SUCCESS : KERN_INVALID_ADDRESS);
	if (found)
		out_entry(res, model_map_entry(map_of(m, v), i));
}

static void
do_stat(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "size", HF_O_ADDR, model_map_size(map_of(m, v)));
	hf_result_out(res, "nentries", HF_O_NUM,
	    model_map_nentries(map_of(m, v)));
}

static void
do_entries(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "nentries", HF_O_NUM,
	    model_map_nentries(map_of(m, v)));
}

/* The core's own checker must be content. */
static void
do_check(struct map_mirror *m, const uint64_t *v, struct hf_result *res)
{
	(void)m;
	(void)v;
	hf_result_set(res, KERN_SUCCESS);
}

/* ---- Following ------------------------------------------------------------
 */

static handler *const handlers[HF_NOPS] = {
    [HF_MAP] = do_map,
    [HF_DESTROY] = do_destroy,
    [HF_OBJECT] = do_object,
    [HF_DEREF] = do_deref,
    [HF_INSERT] = do_insert,
    [HF_FIND] = do_find,
    [HF_FIND_MIN] = do_find_min,
    [HF_FIXED] = do_fixed,
    [HF_FINDSPACE] = do_findspace,
    [HF_DELETE] = do_delete,
    [HF_REMOVE] = do_remove,
    [HF_LOOKUP] = do_lookup,
    [HF_ENTRY] = do_entry,
    [HF_ENTRIES] = do_entries,
    [HF_CHECK] = do_check,
    [HF_STAT] = do_stat,
    [HF_PROTECT] = do_protect,
    [HF_INHERIT] = do_inherit,
    [HF_MADVISE] = do_madvise,
    [HF_WIRE] = do_wire,
    [HF_UNWIRE] = do_unwire,
    [HF_SYNC] = do_sync,
    [HF_STACK] = do_stack,
    [HF_GROWSTACK] = do_growstack,
    [HF_CHECK_PROTECTION] = do_check_protection,
    [HF_LIMIT] = do_limit,
    [HF_FLAGS] = do_flags,
    [HF_FORK] = do_fork,
    [HF_TOUCH] = do_touch,
};

/* Every out-parameter the model has; objects are compared with the state. */
static bool
same_answer(const char *op, const struct hf_result *real,
    const struct hf_result *model, struct fuzz_report *rep)
{
	uint64_t v;

	if (real->status != model->status)
		return fuzz_found(rep, "code", op, "%s, the model says %s",
		    hf_status_name(real->status),
		    hf_status_name(model->status));
	for (unsigned i = 0; i < model->nouts; i++) {
		const struct hf_out *o = &model->out[i];

		if (i < real->nouts && real->out[i].value == o->value &&
		    real->out[i].name == o->name)
			continue;
		if (!hf_result_get(real, o->name, &v) || v != o->value)
			return fuzz_found(rep, "out", op,
			    "%s is 0x%" PRIx64 ", the model says 0x%" PRIx64,
			    o->name, v, o->value);
	}
	return true;
}

/*
 * The rights to map a page with: the model's, but a touch may take the right
 * to write away from what shows through.  More, and a copy would be written
 * behind everybody's back.
 */
static bool
same_rights(struct map_mirror *m, const struct hf_call *call,
    const struct hf_result *real, struct fuzz_report *rep)
{
	vm_prot_t got = m->core->rights, want = m->rights;
	uint64_t kind = 0;

	if (call->op == HF_TOUCH)
		want &= got | (vm_prot_t)~VM_PROT_WRITE;
	if (hf_result_get(real, "kind", &kind) && kind == VM_FAULT_SHARED)
		want &= (vm_prot_t)~VM_PROT_WRITE;
	return got == want ||
	       fuzz_found(rep, "rights", hf_ops[call->op].name,
		   "mapped with %u, the model says %u", got, m->rights);
}

/* The limit on the entries of the operation's map; 0: none. */
static uint64_t
entry_limit(struct map_mirror *m, const struct hf_call *call)
{
	struct vm_map_limits limits;
	vm_map_t map = m->core->maps[call->v[HF_F_MAP] % HF_MAPS];

	if (hf_field(call->op, HF_F_MAP) == NULL || map == NULL)
		return 0;
	vm_map_get_limits(map, &limits);
	return limits.nentries;
}

/*
 * The limit on entries is the core's own; the model has none, only what there
 * were before.  May it be what the core was short of?
 */
static bool
hits_limit(struct map_mirror *m, const struct hf_call *call)
{
	uint64_t limit = entry_limit(m, call);

	return limit != 0 &&
	       model_map_nentries(map_of(m, call->v)) + MORE_ENTRIES > limit;
}

/* Nobody goes beyond it who was not there before. */
static bool
keeps_limit(struct map_mirror *m, const struct hf_call *call,
    struct fuzz_report *rep)
{
	uint64_t limit = entry_limit(m, call), n, before;

	if (limit == 0 || call->op == HF_LIMIT || call->op == HF_MAP)
		return true;
	n = vm_map_nentries(m->core->maps[call->v[HF_F_MAP] % HF_MAPS]);
	before = model_map_nentries(map_of(m, call->v));
	return n <= MAX(limit, before) ||
	       fuzz_found(rep, "limit", hf_ops[call->op].name,
		   "%" PRIu64 " entries, %" PRIu64 " before, of %" PRIu64, n,
		   before, limit);
}

/*
 * A touch that was short of something has found its entry or not: what that
 * changes stays if only the page could not be had.
 */
static bool
follow_short_touch(struct map_mirror *m, const struct hf_call *call,
    struct fuzz_report *rep)
{
	static struct fuzz_report before;
	struct hf_result model;

	before = *rep;
	if (map_mirror_compare(m, "touch", &before))
		return true;
	do_touch(m, call->v, &model);
	return map_mirror_compare(m, "touch", rep);
}

bool
map_mirror_follow(struct map_mirror *m, const struct hf_call *call,
    const struct hf_result *res, bool failed, struct fuzz_report *rep)
{
	const char *op = hf_ops[call->op].name;
	struct hf_result model;

	if (handlers[call->op] == NULL || res->refused)
		return true;
	if (!keeps_limit(m, call, rep))
		return false;
	failed |= hits_limit(m, call);
	if (failed && res->status == KERN_RESOURCE_SHORTAGE)
		return call->op == HF_TOUCH ? follow_short_touch(m, call, rep)
					    : map_mirror_compare(m, op, rep);
	handlers[call->op](m, call->v, &model);
	if (!same_answer(op, res, &model, rep))
		return false;
	return res->status != KERN_SUCCESS ||
	       (call->op != HF_LOOKUP && call->op != HF_TOUCH) ||
	       same_rights(m, call, res, rep);
}

static const char *
compare_inside(struct map_mirror *m, unsigned i)
{
	static char text[200];
	vm_map_t real = m->core->maps[i];
	struct model_map *model = m->maps[i];

	if (vm_map_user_wired(real) != model_map_user_wired(model))
		(void)snprintf(text, sizeof(text),
		    "user wired 0x%" PRIx64 ", the model has 0x%" PRIx64,
		    vm_map_user_wired(real), model_map_user_wired(model));
	else if (vm_map_reserved(real) != model_map_reserved(model))
		(void)snprintf(text, sizeof(text),
		    "reserved 0x%" PRIx64 ", the model has 0x%" PRIx64,
		    vm_map_reserved(real), model_map_reserved(model));
	else if (vm_map_anon_loc(real) != model_map_anon_loc(model))
		(void)snprintf(text, sizeof(text),
		    "anon_loc 0x%" PRIx64 ", the model has 0x%" PRIx64,
		    vm_map_anon_loc(real), model_map_anon_loc(model));
	else
		return NULL;
	return text;
}

static bool
compare_map(struct map_mirror *m, unsigned i, const char *op, bool check,
    struct fuzz_report *rep)
{
	const char *broken = NULL, *why = NULL;

	if (m->maps[i] == NULL)
		return true;
	vm_map_lock_read(m->core->maps[i]);
	if (check)
		broken = vm_map_check(m->core->maps[i]);
	if (broken == NULL)
		why = model_map_compare(m->maps[i], m->core->maps[i]);
	if (broken == NULL && why == NULL)
		why = compare_inside(m, i);
	vm_map_unlock_read(m->core->maps[i]);
	if (broken != NULL)
		return fuzz_found(rep, "check", op, "%s", broken);
	if (why != NULL)
		return fuzz_found(rep, "state", op, "m%u: %s", i, why);
	return true;
}

static bool
compare_object(struct map_mirror *m, unsigned i, const char *op,
    struct fuzz_report *rep)
{
	const char *why;

	if (m->objs[i] == NULL)
		return true;
	why = model_object_compare(m->objs[i], m->core->objs[i]);
	return why == NULL || fuzz_found(rep, "state", op, "o%u: %s", i, why);
}

bool
map_mirror_compare(struct map_mirror *m, const char *op,
    struct fuzz_report *rep)
{
	rep->nchecks++;
	for (unsigned i = 0; i < HF_MAPS; i++)
		if (!compare_map(m, i, op, true, rep))
			return false;
	for (unsigned i = 0; i < HF_OBJS; i++)
		if (!compare_object(m, i, op, rep))
			return false;
	return true;
}

bool
map_mirror_compare_call(struct map_mirror *m, const struct hf_call *call,
    struct fuzz_report *rep)
{
	const char *op = hf_ops[call->op].name;
	bool check = VM_INVARIANTS < 2;

	rep->nchecks++;
	if (hf_field(call->op, HF_F_MAP) != NULL &&
	    !compare_map(m, call->v[HF_F_MAP] % HF_MAPS, op, check, rep))
		return false;
	if (hf_field(call->op, HF_F_MAP2) != NULL &&
	    !compare_map(m, call->v[HF_F_MAP2] % HF_MAPS, op, check, rep))
		return false;
	return hf_field(call->op, HF_F_OBJ) == NULL ||
	       compare_object(m, call->v[HF_F_OBJ] % HF_OBJS, op, rep);
}

void
map_mirror_init(struct map_mirror *m, struct core_backend *core)
{
	memset(m, 0, sizeof(*m));
	m->core = core;
}

void
map_mirror_fini(struct map_mirror *m)
{
	for (unsigned i = 0; i < HF_MAPS; i++)
		if (m->maps[i] != NULL)
			model_map_destroy(m->maps[i]);
	for (unsigned i = 0; i < HF_OBJS; i++)
		if (m->objs[i] != NULL)
			model_object_deallocate(m->objs[i]);
	model_reset();
}
