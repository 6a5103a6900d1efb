/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What other targets over maps never call: windows to submaps, address
 * randomisation, mappings of the machine (pmap hooks), and what mirrors ask.
 * The model knows nothing of these, so each answers to a relation:
 *
 *	the machine never has rights that the map has not (or has no more)
 *	a search finds an aligned, free place, and none lower by itself
 *	looking under the caller's lock = looking
 *	looking through a window = looking into what it shows
 *	a run of pages = its pages one by one
 *	merging what is merged already changes nothing
 *
 * Beside the operations of maps:
 *
 *	lock m how    0 randomise, 1 do not, 2 anonymous memory goes to where
 *	              the last result was, 3 back the entry there with an
 *	              object, 4 own it, 5 merge it, 6 no hooks, 7 hooks
 */

#include "arch/sim/sim.h"
#include "core/vm_fault.h"
#include "core/vm_map_int.h"
#include "core/vm_object_int.h"
#include "core/vm_phys.h"
#include "fuzz/common.h"
#include "fuzz/map_strict.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"
#include "fuzz/target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SHADOW 4096 /* pages of the first map whose translation is followed */

enum seen {
	SEEN_SHORTAGE,
	SEEN_WINDOW, /* looked through one */
	SEEN_RANDOM,
	SEEN_CLUSTER,
	SEEN_HOOKS, /* the machine had rights, and lost some */
	SEEN_BACKED,
	SEEN_OWNED,
	SEEN_RUN, /* of more than one page */
};
static const char *const sometimes[] = {"shortage", "window", "random",
    "cluster", "hooks", "backed", "owned", "run", NULL};

struct run {
	struct core_backend core;
	struct fuzz_report *rep;
	struct hf_runner *runner;
	uint64_t ndraws, drawn; /* for address randomisation */
	vm_prot_t shadow[SHADOW];
	bool mapped[SHADOW];
	vm_offset_t low;  /* of the map that `shadow` follows */
	bool alone;       /* no other map uses the same pmap */
	uint64_t nevents; /* of the hooks */
	uint64_t nfailed;
};

static struct run run;

static vm_size_t
page_size(void)
{
	return run.core.arch->machine->page_size;
}

/* ---- The machine ----------------------------------------------------------
 */

enum event { REMOVE, PROTECT, ENTER };

static void
event(vm_offset_t start, vm_offset_t end, enum event what, vm_prot_t prot)
{
	vm_size_t page = page_size();
	vm_offset_t high = run.low + SHADOW * page;

	run.nevents++;
	if (start >= end || ((start | end) & (page - 1)) != 0)
		(void)fuzz_found(run.rep, "hook", "pmap",
		    "[0x%" PRIx64 ", 0x%" PRIx64 ")", start, end);
	for (vm_offset_t at = MAX(start, run.low); at < MIN(end, high);
	     at += page) {
		size_t i = (at - run.low) / page;

		if (what == REMOVE)
			run.mapped[i] = false;
		else if (what == ENTER)
			run.mapped[i] = true;
		if (what != REMOVE)
			run.shadow[i] = prot;
	}
}

static void
on_remove(struct pmap *pmap, vm_offset_t start, vm_offset_t end)
{
	(void)pmap;
	event(start, end, REMOVE, VM_PROT_NONE);
}

static void
on_protect(struct pmap *pmap, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	(void)pmap;
	event(start, end, PROTECT, prot);
}

static void
on_enter(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
	(void)pmap;
	event(start, end, ENTER, prot);
}

static const struct pmap_hooks all_hooks = {on_remove, on_protect, on_enter};
static const struct pmap_hooks no_hooks;

/* No page is mapped where no entry is, or with more than its rights. */
static bool
compare_shadow(vm_map_t map)
{
	vm_size_t page = page_size();
	vm_map_entry_t entry;

	for (size_t i = 0; i < SHADOW; i++) {
		vm_offset_t at = run.low + i * page;

		if (!run.mapped[i])
			continue;
		if (!vm_map_lookup_entry(map, at, &entry))
			return fuzz_found(run.rep, "hook", "pmap",
			    "0x%" PRIx64 " is mapped and not in the map", at);
		if ((run.shadow[i] & ~entry->protection) != 0)
			return fuzz_found(run.rep, "hook", "pmap",
			    "0x%" PRIx64 " has rights %d of %d", at,
			    run.shadow[i], entry->protection);
		run.rep->seen |= FUZZ_BIT(SEEN_HOOKS);
	}
	return true;
}

/* A page was touched: the machine has it now, with the rights it was told. */
static void
note_touch(vm_map_t map, vm_offset_t addr)
{
	size_t i = (addr - run.low) / page_size();
	vm_map_entry_t entry;
	bool is;

	if (run.core.pmap.hooks != &all_hooks || addr < run.low || i >= SHADOW)
		return;
	vm_map_lock_read(map);
	is = vm_map_lookup_entry(map, addr, &entry) &&
	     (entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0;
	vm_map_unlock_read(map);
	if (!is)
		return;
	run.mapped[i] = true;
	run.shadow[i] = run.core.rights;
}

static bool
is_alone(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < HF_MAPS; i++)
		n += run.core.maps[i] != NULL;
	return n == 1 && run.core.maps[0] != NULL;
}

/* ---- Changes --------------------------------------------------------------
 */

static uint64_t
draw(void *arg, uint64_t bound)
{
	(void)arg;
	run.ndraws++;
	run.rep->seen |= FUZZ_BIT(SEEN_RANDOM);
	run.drawn = run.drawn * UINT64_C(6364136223846793005) + 1;
	if (bound == 0)
		(void)fuzz_found(run.rep, "out", "random", "bound 0");
	return (run.drawn >> 33) % MAX(bound, 1);
}

static bool
can_back(vm_map_entry_t entry)
{
	return (entry->eflags & (MAP_ENTRY_IS_SUB_MAP | MAP_ENTRY_GUARD)) ==
		   0 &&
	       entry->object.vm_object == NULL && !entry_is_guard(entry);
}

static void
release(void *handle)
{
	free(handle);
}

static void
back(vm_map_t map, vm_map_entry_t entry)
{
	vm_size_t size = entry_size(entry);
	vm_size_t before = vm_map_reserved(map), paid = entry->cred ? size : 0;
	vm_object_t object;

	if (!can_back(entry) || size > UINT64_C(1) << 40)
		return;
	object = vm_object_allocate(&run.core.pmap, OBJT_SWAP, size);
	if (object == NULL)
		return;
	vm_object_set_handle(object, calloc(1, 64), release);
	vm_map_back(map, entry, object);
	run.rep->seen |= FUZZ_BIT(SEEN_BACKED);
	if (vm_map_reserved(map) + paid != before)
		(void)fuzz_found(run.rep, "out", "back",
		    "0x%" PRIx64 " reserved, 0x%" PRIx64 " before",
		    vm_map_reserved(map), before);
}

/* Nobody else has the memory behind a handle that the entry would copy. */
static bool
can_own(vm_map_entry_t entry)
{
	const struct vm_object *object = entry->object.vm_object;

	return (entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0 &&
	       (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 && object != NULL &&
	       object->release != NULL && object->refs == 1;
}

static void
own(vm_map_t map, vm_map_entry_t entry)
{
	bool needed = (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
	bool can = can_own(entry);
	vm_size_t before = vm_map_reserved(map);
	vm_size_t paid = entry->cred ? entry_size(entry) : 0;

	vm_map_own(map, entry);
	if (((entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0) != (!needed || can))
		(void)fuzz_found(run.rep, "out", "own",
		    can ? "it was not taken over" : "somebody else has it");
	if (!needed || (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
		paid = 0;
	else
		run.rep->seen |= FUZZ_BIT(SEEN_OWNED);
	if (vm_map_reserved(map) + paid != before)
		(void)fuzz_found(run.rep, "out", "own",
		    "0x%" PRIx64 " reserved, 0x%" PRIx64 " before",
		    vm_map_reserved(map), before);
}

/* Edits keep entries merged, so this finds nothing to do. */
static void
simplify(vm_map_t map, vm_map_entry_t entry)
{
	struct vm_map_entry before = *entry;
	size_t n = map->tree.count;

	vm_map_simplify_entry(map, entry);
	if (map->tree.count == n && entry->start != before.start)
		(void)fuzz_found(run.rep, "out", "simplify", "it moved");
}

static void
change(vm_map_t map, uint64_t how, vm_offset_t addr)
{
	vm_map_entry_t entry;

	switch (how) {
	case 0:
		vm_map_set_random(map, draw, NULL);
		return;
	case 1:
		vm_map_set_random(map, NULL, NULL);
		return;
	case 2:
		vm_map_set_anon_loc(map, rounddown2(addr, page_size()));
		run.rep->seen |= FUZZ_BIT(SEEN_CLUSTER);
		return;
	case 6:
		run.core.pmap.hooks = &no_hooks;
		memset(run.mapped, 0, sizeof(run.mapped));
		return;
	case 7:
		run.core.pmap.hooks = &all_hooks;
		return;
	default:
		break;
	}
	vm_map_lock(map);
	if (!vm_map_locked(map))
		(void)fuzz_found(run.rep, "out", "locked", "it is not");
	if (vm_map_lookup_entry(map, addr, &entry)) {
		if (how == 3)
			back(map, entry);
		else if (how == 4)
			own(map, entry);
		else
			simplify(map, entry);
	}
	vm_map_unlock(map);
}

/* ---- Questions ------------------------------------------------------------
 */

struct looked {
	vm_map_t map;
	vm_map_entry_t entry;
	vm_object_t object;
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
};

/* Under one's own lock: the same answer, or that something must change. */
static bool
ask_lookup(vm_map_t map, vm_offset_t addr, vm_prot_t type)
{
	struct looked a = {.map = map}, b = {.map = map};
	int first, rv;

	vm_map_lock_read(map);
	first = vm_map_lookup_locked(&a.map, addr, type, &a.entry, &a.object,
	    &a.pindex, &a.prot, &a.wired);
	vm_map_unlock_read(map);
	rv = vm_map_lookup(&b.map, addr, type, &b.entry, &b.object, &b.pindex,
	    &b.prot, &b.wired);
	if (rv == KERN_SUCCESS)
		vm_map_lookup_done(b.map, b.entry);
	if (rv == KERN_SUCCESS && b.map != map)
		run.rep->seen |= FUZZ_BIT(SEEN_WINDOW);
	if (first == KERN_FAILURE)
		return true;
	return first == rv &&
		       (rv != KERN_SUCCESS ||
			   (a.map == b.map && a.entry == b.entry &&
			       a.object == b.object && a.pindex == b.pindex &&
			       a.prot == b.prot && a.wired == b.wired))
		   ? true
		   : fuzz_found(run.rep, "relation", "lookup",
			 "%s under a lock, %s without", hf_status_name(first),
			 hf_status_name(rv));
}

/* What the window at `addr` shows; NULL: there is none. */
static vm_map_t
window_at(vm_map_t map, vm_offset_t addr)
{
	vm_map_entry_t entry;
	vm_map_t sub = NULL;

	vm_map_lock_read(map);
	if (vm_map_lookup_entry(map, addr, &entry) &&
	    (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		sub = entry->object.sub_map;
	vm_map_unlock_read(map);
	return sub;
}

/* Looking through a window is looking into what it shows. */
static bool
ask_window(vm_map_t map, vm_offset_t addr, vm_prot_t type)
{
	struct looked a = {.map = map}, b = {.map = window_at(map, addr)};
	int through, into;

	if (b.map == NULL)
		return true;
	through = vm_map_lookup(&a.map, addr, type, &a.entry, &a.object,
	    &a.pindex, &a.prot, &a.wired);
	if (through == KERN_SUCCESS)
		vm_map_lookup_done(a.map, a.entry);
	into = vm_map_lookup(&b.map, addr, type, &b.entry, &b.object, &b.pindex,
	    &b.prot, &b.wired);
	if (into == KERN_SUCCESS)
		vm_map_lookup_done(b.map, b.entry);
	if (through == KERN_RESOURCE_SHORTAGE || into == KERN_RESOURCE_SHORTAGE)
		return true;
	return (through == into &&
		   a.map == (into == KERN_SUCCESS ? b.map : map) &&
		   a.entry == b.entry && a.object == b.object &&
		   a.pindex == b.pindex && a.prot == b.prot) ||
	       fuzz_found(run.rep, "relation", "window",
		   "%s through it, %s behind it", hf_status_name(through),
		   hf_status_name(into));
}

static bool
ask_aligned(vm_map_t map, vm_offset_t addr, vm_size_t length, unsigned shift)
{
	vm_offset_t align = page_size() << shift % 10, got = addr, plain;
	vm_offset_t max = shift % 3 == 0 ? addr + 64 * page_size() : 0;
	vm_map_entry_t entry;
	int rv, space;

	vm_map_lock(map);
	rv = vm_map_find_aligned(map, &got, length, max, align);
	space = vm_map_findspace(map, addr, length, &plain);
	if (rv == KERN_SUCCESS &&
	    (got < addr || got % align != 0 || space != 0 || got < plain ||
		vm_map_lookup_entry(map, got, &entry) ||
		(max != 0 && got + length > max)))
		(void)fuzz_found(run.rep, "relation", "find_aligned",
		    "0x%" PRIx64 ", and plainly 0x%" PRIx64, got, plain);
	if (rv != KERN_SUCCESS && space == 0 && max == 0 && length != 0 &&
	    plain % align == 0 && addr >= vm_map_min(map))
		(void)fuzz_found(run.rep, "relation", "find_aligned",
		    "0x%" PRIx64 " would do", plain);
	vm_map_unlock(map);
	return !run.rep->found;
}

static bool
same_place(const struct vm_run *of, vm_pindex_t i, const struct vm_run *one)
{
	return of->object == one->object && of->handle == one->handle &&
	       (of->object == NULL || of->frame + i == one->frame);
}

/* A run, page by page; and that it ends where it does. */
static bool
ask_run(vm_object_t object, vm_pindex_t pindex)
{
	struct vm_run all, one;

	if (pindex >= object->size)
		return true;
	vm_object_run(object, pindex, 16, &all);
	for (vm_pindex_t i = 0; i < all.npages; i++) {
		vm_object_run(object, pindex + i, 1, &one);
		if (!same_place(&all, i, &one))
			return fuzz_found(run.rep, "relation", "run",
			    "page %" PRIu64 " of %" PRIu64 " is elsewhere", i,
			    all.npages);
	}
	if (all.npages < 16 && pindex + all.npages < object->size) {
		vm_object_run(object, pindex + all.npages, 1, &one);
		if (all.object == object && all.object == one.object &&
		    all.frame + all.npages == one.frame)
			return fuzz_found(run.rep, "relation", "run",
			    "it goes on behind page %" PRIu64, all.npages);
	}
	run.rep->seen |= all.npages > 1 ? FUZZ_BIT(SEEN_RUN) : 0;
	return vm_object_npages(object) == object->pages.count &&
	       (object->shadow_first == NULL) ==
		   (vm_object_nshadows(object) == 0);
}

/*
 * Whoever has a colour and shadows something has it from there.  What was cut
 * off has none.
 */
static bool
has_color(const struct vm_object *object)
{
	const struct vm_object *back = object->backing;

	return back == NULL || (object->flags & OBJ_COLORED) == 0 ||
	       ((back->flags & OBJ_COLORED) != 0 &&
		   object->color ==
		       back->color + object->backing_offset / page_size());
}

static bool
ask_entry(vm_map_t map, vm_offset_t addr)
{
	vm_map_entry_t entry, next, before;
	vm_object_t object = NULL;
	vm_pindex_t pindex = 0;
	bool good = true, is;

	vm_map_lock_read(map);
	is = vm_map_lookup_entry(map, addr, &entry);
	if (entry != NULL) {
		next = vm_map_entry_succ(map, entry);
		before = vm_map_entry_pred(map, entry);
		good =
		    (next == NULL || vm_map_entry_pred(map, next) == entry) &&
		    vm_map_entry_succ(map, before) == entry;
	}
	if (is && (entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0) {
		object = entry->object.vm_object;
		pindex = (entry->offset + (addr - entry->start)) / page_size();
	}
	if (vm_map_check_boundary(map, addr, addr + page_size()) &&
	    (addr < vm_map_min(map) || addr >= vm_map_max(map)))
		good = false;
	if (vm_map_check_boundary(map, addr, addr) !=
	    (addr >= vm_map_min(map) && addr <= vm_map_max(map)))
		good = false;
	if (object != NULL)
		good = ask_run(object, pindex) && has_color(object) && good;
	vm_map_unlock_read(map);
	return good || fuzz_found(run.rep, "relation", "entry",
			   "neighbours do not know each other");
}

/* Looking may give an entry its object: only where the program would. */
static bool
is_fault(uint8_t op)
{
	return op == HF_LOOKUP || op == HF_TOUCH || op == HF_PROTECT ||
	       op == HF_GROWSTACK;
}

static bool
ask(vm_map_t map, const struct hf_call *call, vm_offset_t addr)
{
	vm_size_t used = vm_map_metadata(map), page = page_size();
	vm_size_t length = roundup2(call->v[HF_F_LEN], page);
	const char *broken;

	if (used < vm_map_nentries(map) * sizeof(struct vm_map_entry))
		return fuzz_found(run.rep, "out", "metadata", "0x%" PRIx64,
		    (uint64_t)used);
	if (call->op != HF_TOUCH &&
	    !ask_aligned(map, addr, length,
		(unsigned)(call->v[HF_F_OFF] + run.runner->nops)))
		return false;
	if ((is_fault(call->op) &&
		(!ask_lookup(map, addr, (vm_prot_t)call->v[HF_F_TYPE] & 7) ||
		    !ask_window(map, addr,
			(vm_prot_t)call->v[HF_F_TYPE] & 7))) ||
	    !ask_entry(map, rounddown2(addr, page)))
		return false;
	vm_map_lock_read(map);
	broken = vm_map_check(map);
	if (broken == NULL && map == run.core.maps[0] && run.alone)
		(void)compare_shadow(map);
	vm_map_unlock_read(map);
	return broken == NULL ? !run.rep->found
			      : fuzz_found(run.rep, "check",
				    hf_ops[call->op].name, "%s", broken);
}

/* ---- Running --------------------------------------------------------------
 */

/* What has no map, and where the new address space is not the old one. */
static void
follow_maps(void)
{
	bool alone = is_alone();

	if (alone && run.low == vm_map_min(run.core.maps[0]) && run.alone)
		return;
	memset(run.mapped, 0, sizeof(run.mapped));
	run.alone = alone;
	run.low = alone ? vm_map_min(run.core.maps[0]) : 0;
}

static bool
before(void *arg, struct hf_runner *r, const struct hf_call *call)
{
	(void)arg;
	(void)r;
	if (call->op != HF_LOCK || call->v[HF_F_MAP] >= HF_MAPS ||
	    run.core.maps[call->v[HF_F_MAP]] == NULL)
		return true;
	change(run.core.maps[call->v[HF_F_MAP]], call->v[HF_F_KIND] % 8,
	    r->results[(r->nresults - 1) % HF_RESULTS]);
	return !run.rep->found;
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	uint64_t addr = call->v[HF_F_A], slot = call->v[HF_F_MAP];

	(void)arg;
	if (inst != NULL)
		run.rep->nops++;
	fuzz_hash_answer(run.rep, call, res);
	if (run.rep->found)
		return false;
	if (inst != NULL && !map_strict_follow(&run.core, call, res, run.rep))
		return false;
	follow_maps();
	if (inst == NULL || hf_field(call->op, HF_F_MAP) == NULL ||
	    slot >= HF_MAPS || run.core.maps[slot] == NULL)
		return true;
	if (res->status == KERN_RESOURCE_SHORTAGE)
		run.rep->seen |= FUZZ_BIT(SEEN_SHORTAGE);
	if (call->op == HF_TOUCH && res->status == KERN_SUCCESS && slot == 0)
		note_touch(run.core.maps[0], addr);
	(void)hf_result_get(res, "addr", &addr);
	if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return true;
	run.rep->nchecks++;
	return ask(run.core.maps[slot], call, addr);
}

static void
run_calls(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.before = before, .called = called};
	struct hf_header header;
	const char *left;

	memset(rep, 0, sizeof(*rep));
	memset(&run, 0, sizeof(run));
	hf_header_read(data, size, &header);
	core_backend_init(&run.core, (header.seed & 1) != 0);
	run.core.undisturbed = fuzz_is_undisturbed(&header);
	run.rep = rep;
	run.runner = &runner;
	run.drawn = header.seed;
	hf_runner_init(&runner, &run.core.base, &options, &observer, data,
	    size);
	run.core.pmap.hooks = (header.seed & 2) != 0 ? &all_hooks : NULL;
	hf_run(&runner, data, size);
	if (rep->found)
		return; /* what holds the rest is broken: leave it */
	left = core_backend_clear(&run.core);
	if (left != NULL)
		(void)fuzz_found(rep, "leak", "end", "%s", left);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_calls",
    .ops = FUZZ_OPS_CALLS,
    .run = run_calls,
    .sometimes = sometimes,
    .required = FUZZ_BIT(SEEN_SHORTAGE) | FUZZ_BIT(SEEN_WINDOW) |
		FUZZ_BIT(SEEN_RANDOM) | FUZZ_BIT(SEEN_CLUSTER) |
		FUZZ_BIT(SEEN_HOOKS) | FUZZ_BIT(SEEN_BACKED) |
		FUZZ_BIT(SEEN_OWNED) | FUZZ_BIT(SEEN_RUN)};
