/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Relations that hold whatever the right answer is: two maps, one of which is
 * asked in another way.
 *
 *	one range                  =  its two halves, one after the other
 *	insert                     =  insert, remove, insert
 *	find, which answers an address  =  insert there
 *
 * Afterwards both show the same rights at the same addresses.  In every fourth
 * program (by its seed) the naive model is put through the same, so this tests
 * the model too.
 */

#include "core/vm_map.h"
#include "core/vm_param.h"
#include "fuzz/common.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"
#include "fuzz/target.h"
#include "tests/model/model_map.h"

#include <inttypes.h>
#include <string.h>

#define RUNS 1024

enum seen { SEEN_HALVES, SEEN_AGAIN, SEEN_PLACED, SEEN_WIRED, SEEN_MANY };
static const char *const sometimes[] = {"halves", "insert-again", "placed",
    "wired", "many-runs", NULL};

/* A stretch of addresses that look alike. */
struct stretch {
	vm_offset_t start, end;
	uint32_t eflags;
	vm_prot_t prot, max;
	vm_inherit_t inherit;
	int wired;
};

struct view {
	struct stretch run[RUNS];
	size_t n;
};

struct run {
	struct core_backend core; /* its first map is asked as it stands */
	vm_map_t other;
	struct model_map *model, *model_other;
	bool models; /* is the model put through it as well? */
	struct fuzz_report *rep;
};

/* ---- Views ----------------------------------------------------------------
 */

static void
view_add(struct view *view, const struct stretch *s)
{
	struct stretch *last = view->n > 0 ? &view->run[view->n - 1] : NULL;

	if (last != NULL && last->end == s->start &&
	    last->eflags == s->eflags && last->prot == s->prot &&
	    last->max == s->max && last->inherit == s->inherit &&
	    last->wired == s->wired)
		last->end = s->end;
	else if (view->n < RUNS)
		view->run[view->n++] = *s;
}

/* Flags that say what an address is; not how it came about. */
#define SHOWN                                                                  \
	(MAP_ENTRY_GUARD | MAP_ENTRY_NOSYNC | MAP_ENTRY_NOCOREDUMP |           \
	    MAP_ENTRY_USER_WIRED | MAP_ENTRY_NOFAULT)

static void
view_core(struct view *view, vm_map_t map)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	view->n = 0;
	vm_map_lock_read(map);
	for (entry = vm_map_entry_first(map); entry != NULL;
	     entry = vm_map_entry_succ(map, entry)) {
		vm_map_entry_info(entry, &info);
		view_add(view,
		    &(struct stretch){info.start, info.end, info.eflags & SHOWN,
			info.protection, info.max_protection, info.inheritance,
			info.wired_count});
	}
	vm_map_unlock_read(map);
}

static void
view_model(struct view *view, const struct model_map *map)
{
	const struct model_entry *e;

	view->n = 0;
	for (size_t i = 0; i < model_map_nentries(map); i++) {
		e = model_map_entry(map, i);
		view_add(view,
		    &(struct stretch){e->start, e->end, e->eflags & SHOWN,
			e->prot, e->max, e->inherit, e->wired});
	}
}

static bool
same_view(struct run *run, const char *op, const char *what,
    const struct view *a, const struct view *b)
{
	for (size_t i = 0; i < a->n || i < b->n; i++) {
		const struct stretch *x = &a->run[i], *y = &b->run[i];

		if (i < a->n && i < b->n && x->start == y->start &&
		    x->end == y->end && x->eflags == y->eflags &&
		    x->prot == y->prot && x->max == y->max &&
		    x->inherit == y->inherit && x->wired == y->wired)
			continue;
		return fuzz_found(run->rep, "relation", op,
		    "%s: run %zu of %zu and %zu differs, at 0x%" PRIx64, what,
		    i, a->n, b->n, i < a->n ? x->start : y->start);
	}
	return true;
}

static bool
compare(struct run *run, const char *op)
{
	static struct view a, b;
	const char *broken = NULL;

	if (run->other == NULL || run->core.maps[0] == NULL)
		return true;
	run->rep->nchecks++;
	view_core(&a, run->core.maps[0]);
	view_core(&b, run->other);
	if (!same_view(run, op, "the core", &a, &b))
		return false;
	run->rep->seen |= a.n > 8 ? FUZZ_BIT(SEEN_MANY) : 0;
	if (run->models) {
		view_model(&a, run->model);
		view_model(&b, run->model_other);
		if (!same_view(run, op, "the model", &a, &b))
			return false;
	}
	/* With invariants=2 the core has done so at the unlock. */
	if (VM_INVARIANTS < 2) {
		vm_map_lock_read(run->other);
		broken = vm_map_check(run->other);
		vm_map_unlock_read(run->other);
	}
	return broken == NULL ||
	       fuzz_found(run->rep, "check", op, "%s", broken);
}

/* ---- One call, on either side ---------------------------------------------
 */

static int
core_insert(vm_map_t map, const uint64_t *v, vm_offset_t at)
{
	int rv;

	vm_map_lock(map);
	rv = vm_map_insert(map, NULL, 0, at, at + v[HF_F_LEN],
	    (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_COW]);
	vm_map_unlock(map);
	return rv;
}

static int
core_range(vm_map_t map, uint8_t op, const uint64_t *v, vm_offset_t start,
    vm_offset_t end)
{
	switch (op) {
	case HF_REMOVE:
		return vm_map_remove(map, start, end);
	case HF_PROTECT:
		return vm_map_protect(map, start, end, (vm_prot_t)v[HF_F_PROT],
		    (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_SET]);
	case HF_INHERIT:
		return vm_map_inherit(map, start, end,
		    (vm_inherit_t)v[HF_F_INH]);
	case HF_MADVISE:
		return vm_map_madvise(map, start, end, (int)v[HF_F_ADVICE]);
	case HF_WIRE:
		return vm_map_wire(map, start, end, (int)v[HF_F_FLAGS]);
	default:
		return vm_map_unwire(map, start, end, (int)v[HF_F_FLAGS]);
	}
}

static int
model_insert_at(struct model_map *map, const uint64_t *v, vm_offset_t at)
{
	return model_map_insert(map, NULL, 0, at, at + v[HF_F_LEN],
	    (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX], (int)v[HF_F_COW]);
}

static int
model_range(struct model_map *map, uint8_t op, const uint64_t *v,
    vm_offset_t start, vm_offset_t end)
{
	switch (op) {
	case HF_REMOVE:
		return model_map_remove(map, start, end);
	case HF_PROTECT:
		return model_map_protect(map, start, end,
		    (vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX],
		    (int)v[HF_F_SET]);
	case HF_INHERIT:
		return model_map_inherit(map, start, end,
		    (vm_inherit_t)v[HF_F_INH]);
	case HF_MADVISE:
		return model_map_madvise(map, start, end, (int)v[HF_F_ADVICE]);
	case HF_WIRE:
		return model_map_wire(map, start, end, (int)v[HF_F_FLAGS]);
	default:
		return model_map_unwire(map, start, end, (int)v[HF_F_FLAGS]);
	}
}

/* ---- The relations --------------------------------------------------------
 */

static bool
expect(struct run *run, const char *op, const char *what, int rv)
{
	return rv == KERN_SUCCESS || fuzz_found(run->rep, "relation", op,
					 "%s: %s", what, hf_status_name(rv));
}

static bool
relate_range_core(struct run *run, const struct hf_call *call, vm_offset_t mid)
{
	const char *op = hf_ops[call->op].name;
	vm_offset_t start = call->v[HF_F_A], end = call->v[HF_F_END];

	return expect(run, op, "the first half",
		   core_range(run->other, call->op, call->v, start, mid)) &&
	       (mid == end ||
		   expect(run, op, "the second half",
		       core_range(run->other, call->op, call->v, mid, end)));
}

static bool
relate_range_model(struct run *run, const struct hf_call *call, vm_offset_t mid)
{
	const char *op = hf_ops[call->op].name;
	vm_offset_t start = call->v[HF_F_A], end = call->v[HF_F_END];
	struct model_map *other = run->model_other;

	return expect(run, op, "the whole, by the model",
		   model_range(run->model, call->op, call->v, start, end)) &&
	       expect(run, op, "the first half, by the model",
		   model_range(other, call->op, call->v, start, mid)) &&
	       (mid == end ||
		   expect(run, op, "the second half, by the model",
		       model_range(other, call->op, call->v, mid, end)));
}

static bool
relate_range(struct run *run, const struct hf_call *call)
{
	vm_size_t page = run->core.arch->machine->page_size;
	vm_offset_t start = call->v[HF_F_A], end = call->v[HF_F_END];
	vm_offset_t low = MAX(start, vm_map_min(run->other));
	vm_offset_t high = MIN(end, vm_map_max(run->other)), mid = end;

	/* Halves of what is in the map; a range may begin in front of it. */
	if (low < high && high - low >= 2 * page) {
		mid = rounddown2(low + (high - low) / 2, page);
		run->rep->seen |= FUZZ_BIT(SEEN_HALVES);
	}
	if (call->op == HF_WIRE)
		run->rep->seen |= FUZZ_BIT(SEEN_WIRED);
	return relate_range_core(run, call, mid) &&
	       (!run->models || relate_range_model(run, call, mid));
}

static bool
relate_insert_model(struct run *run, const struct hf_call *call, vm_offset_t at)
{
	const char *op = hf_ops[call->op].name;
	struct model_map *other = run->model_other;
	const uint64_t *v = call->v;

	return expect(run, op, "the same, by the model",
		   model_insert_at(run->model, v, at)) &&
	       expect(run, op, "insert, by the model",
		   model_insert_at(other, v, at)) &&
	       expect(run, op, "remove it, by the model",
		   model_map_remove(other, at, at + v[HF_F_LEN])) &&
	       expect(run, op, "insert it again, by the model",
		   model_insert_at(other, v, at));
}

static bool
relate_insert(struct run *run, const struct hf_call *call, vm_offset_t at)
{
	const char *op = hf_ops[call->op].name;
	const uint64_t *v = call->v;

	run->rep->seen |=
	    FUZZ_BIT(call->op == HF_FIND ? SEEN_PLACED : SEEN_AGAIN);
	return expect(run, op, "insert", core_insert(run->other, v, at)) &&
	       expect(run, op, "remove it",
		   vm_map_remove(run->other, at, at + v[HF_F_LEN])) &&
	       expect(run, op, "insert it again",
		   core_insert(run->other, v, at)) &&
	       (!run->models || relate_insert_model(run, call, at));
}

static void
forget(struct run *run)
{
	vm_map_destroy(run->other);
	run->other = NULL;
	if (run->model != NULL) {
		model_map_destroy(run->model);
		model_map_destroy(run->model_other);
	}
	run->model = run->model_other = NULL;
}

static void
begin(struct run *run, const uint64_t *v)
{
	const struct arch_machine *machine = run->core.arch->machine;

	forget(run);
	run->other = vm_map_create(&run->core.pmap, v[HF_F_A], v[HF_F_B]);
	if (!run->models)
		return;
	run->model = model_map_create(machine, v[HF_F_A], v[HF_F_B]);
	run->model_other = model_map_create(machine, v[HF_F_A], v[HF_F_B]);
}

static bool
follow(struct run *run, const struct hf_call *call, const struct hf_result *res)
{
	uint64_t addr = call->v[HF_F_A];

	if (res->status != KERN_SUCCESS || res->refused)
		return true;
	switch (call->op) {
	case HF_MAP:
		begin(run, call->v);
		return true;
	case HF_INSERT:
		return relate_insert(run, call, addr);
	case HF_FIND:
		(void)hf_result_get(res, "addr", &addr);
		return relate_insert(run, call, addr);
	case HF_REMOVE:
	case HF_PROTECT:
	case HF_INHERIT:
	case HF_MADVISE:
	case HF_WIRE:
	case HF_UNWIRE:
		return relate_range(run, call);
	default:
		return true;
	}
}

/* Only what the relations are about: no object, no stacks, no grain. */
static bool
before(void *arg, struct hf_runner *r, const struct hf_call *call)
{
	const uint64_t *v = call->v;
	int cow = MAP_STACK_AREA | MAP_CREATE_STACK_GAP | MAP_REMAP |
		  MAP_SPLIT_BOUNDARY_MASK;

	(void)arg;
	(void)r;
	if (call->op == HF_PROTECT)
		return (v[HF_F_SET] & VM_MAP_PROTECT_GROWSDOWN) == 0;
	return v[HF_F_OBJ] == 0 && ((int)v[HF_F_COW] & cow) == 0;
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	struct run *run = arg;

	if (inst != NULL)
		run->rep->nops++;
	fuzz_hash_answer(run->rep, call, res);
	if (!follow(run, call, res))
		return false;
	if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return true;
	return compare(run, hf_ops[call->op].name);
}

static void
run_relate(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	static struct run run;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .no_faults = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.before = before,
	    .called = called,
	    .arg = &run};
	const char *left;

	memset(rep, 0, sizeof(*rep));
	memset(&run, 0, sizeof(run));
	core_backend_init(&run.core, false);
	run.rep = rep;
	hf_runner_init(&runner, &run.core.base, &options, &observer, data,
	    size);
	run.models = runner.header.seed % 4 == 0;
	hf_run(&runner, data, size);
	if (!rep->found)
		(void)compare(&run, "end");
	if (rep->found) {
		model_reset();
		return; /* what holds the rest is broken: leave it */
	}
	forget(&run);
	model_reset();
	left = core_backend_clear(&run.core);
	if (left != NULL)
		(void)fuzz_found(rep, "leak", "end", "%s", left);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_relate",
    .ops = FUZZ_OPS_RELATE,
    .run = run_relate,
    .sometimes = sometimes,
    .required = FUZZ_BIT(SEEN_HALVES) | FUZZ_BIT(SEEN_AGAIN) |
		FUZZ_BIT(SEEN_PLACED) | FUZZ_BIT(SEEN_WIRED) |
		FUZZ_BIT(SEEN_MANY)};
