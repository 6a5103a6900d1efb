/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Two to four threads over one to three little maps.  `thread n` says whose
 * the operations are that follow; the header's seed is the schedule.
 *
 * What each thread is told has to be what it could have been told if the
 * operations had been done one after the other in some order that agrees with
 * who was done before who began; and the maps have to be what that order
 * leaves.  Nobody writes a map while somebody holds its lock.  Everybody gets
 * to the end.
 */

#include "arch/sim/sim.h"
#include "core/lock.h"
#include "core/vm_map.h"
#include "fuzz/common.h"
#include "fuzz/gen.h"
#include "fuzz/ops.h"
#include "fuzz/sched_model.h"
#include "fuzz/sched_thread.h"
#include "fuzz/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OPS_MAX 24 /* of one thread */

enum seen {
	SEEN_THREE,   /* three threads or more */
	SEEN_WAIT,    /* somebody waited for a lock */
	SEEN_HELD,    /* an operation between lock and unlock */
	SEEN_UPGRADE, /* an upgrade that worked */
	SEEN_BEATEN,  /* an upgrade that did not */
	SEEN_BUSY,    /* a trylock that failed */
	SEEN_FORK,
	SEEN_WAYS, /* more than one order was possible */
};
static const char *const sometimes[] = {"three-threads", "waited", "held",
    "upgraded", "upgrade-beaten", "busy", "fork", "several-orders", NULL};

enum hold { HOLD_NONE, HOLD_READ, HOLD_WRITE };

struct thread {
	struct hf_inst inst[OPS_MAX];
	unsigned n;
	enum hold hold;
	uint64_t map; /* that it holds */
	uint64_t stamp;
};

struct run {
	struct hf_backend base;
	struct arch *arch;
	struct pmap pmap;
	vm_map_t maps[HF_MAPS];
	bool forking[HF_MAPS];
	uint64_t stamp[HF_MAPS]; /* of the last exclusive lock we were given */
	struct hf_runner runner;
	struct thread thread[SCHED_THREADS];
	unsigned nthreads;
	struct sched_world world;
	struct history *history;
	struct fuzz_report *rep;
};

static _Thread_local unsigned self; /* with real threads */
static struct run run;

/* ---- One operation on the core --------------------------------------------
 */

/* Arguments that mean something here. */
static void
tame(struct hf_call *call)
{
	vm_size_t page = run.world.page, room = run.world.npages * page;
	uint64_t *v = call->v;

	if (v[HF_F_A] < run.world.min || v[HF_F_A] >= run.world.min + room)
		v[HF_F_A] = run.world.min + v[HF_F_A] % room;
	v[HF_F_A] = rounddown2(v[HF_F_A], page);
	v[HF_F_LEN] = MAX(rounddown2(v[HF_F_LEN], page) % (room + page), page);
	v[HF_F_END] = v[HF_F_A] + v[HF_F_LEN];
	v[HF_F_PROT] &= VM_PROT_READ | VM_PROT_WRITE;
	v[HF_F_INH] %= VM_INHERIT_ZERO + 1;
	v[HF_F_TYPE] &= VM_PROT_READ | VM_PROT_WRITE;
	if (call->op == HF_FIND || call->op == HF_FINDSPACE)
		v[HF_F_A] = run.world.min;
}

static int
locked_call(vm_map_t map, const struct hf_call *call, uint64_t *valuep)
{
	const uint64_t *v = call->v;
	vm_map_entry_t entry;
	vm_offset_t addr = v[HF_F_A];
	int rv;

	switch (call->op) {
	case HF_INSERT:
		return vm_map_insert(map, NULL, 0, v[HF_F_A], v[HF_F_END],
		    (vm_prot_t)v[HF_F_PROT], VM_PROT_ALL, 0);
	case HF_REMOVE:
		return vm_map_delete(map, v[HF_F_A],
		    MIN(v[HF_F_END], vm_map_max(map)));
	case HF_FIND:
		rv = vm_map_find_locked(map, NULL, 0, &addr, v[HF_F_LEN], 0,
		    VMFS_ANY_SPACE, (vm_prot_t)v[HF_F_PROT], VM_PROT_ALL, 0);
		*valuep = rv == KERN_SUCCESS ? addr : 0;
		return rv;
	case HF_FINDSPACE:
		rv = vm_map_findspace(map, addr, v[HF_F_LEN], &addr);
		*valuep = rv == 0 ? addr : 0;
		return rv == 0 ? KERN_SUCCESS : KERN_NO_SPACE;
	case HF_ENTRY:
		return vm_map_lookup_entry(map, v[HF_F_A], &entry)
			   ? KERN_SUCCESS
			   : KERN_INVALID_ADDRESS;
	default:
		*valuep = vm_map_check_protection(map, v[HF_F_A],
		    MIN(v[HF_F_END], vm_map_max(map)), (vm_prot_t)v[HF_F_PROT]);
		return KERN_SUCCESS;
	}
}

/* What holding the lock is needed for, and how. */
static enum hold
needs(uint8_t op)
{
	switch (op) {
	case HF_INSERT:
	case HF_REMOVE:
	case HF_FIND:
		return HOLD_WRITE;
	case HF_FINDSPACE:
	case HF_ENTRY:
	case HF_CHECK_PROTECTION:
		return HOLD_READ;
	default:
		return HOLD_NONE;
	}
}

static int
lookup(vm_map_t map, const uint64_t *v)
{
	vm_map_entry_t entry;
	vm_pindex_t pindex;
	vm_object_t object;
	vm_prot_t prot;
	bool wired;
	int rv = vm_map_lookup(&map, v[HF_F_A], (vm_prot_t)v[HF_F_TYPE], &entry,
	    &object, &pindex, &prot, &wired);

	if (rv == KERN_SUCCESS)
		vm_map_lookup_done(map, entry);
	return rv;
}

VM_TSA(no_thread_safety_analysis)
static int
core_call(vm_map_t map, const struct hf_call *call, vm_map_t *childp,
    uint64_t *valuep)
{
	const uint64_t *v = call->v;
	int rv;

	switch (call->op) {
	case HF_FIXED:
		return vm_map_fixed(map, NULL, 0, v[HF_F_A], v[HF_F_LEN],
		    (vm_prot_t)v[HF_F_PROT], VM_PROT_ALL, 0);
	case HF_PROTECT:
		return vm_map_protect(map, v[HF_F_A], v[HF_F_END],
		    (vm_prot_t)v[HF_F_PROT], VM_PROT_NONE,
		    VM_MAP_PROTECT_SET_PROT);
	case HF_INHERIT:
		return vm_map_inherit(map, v[HF_F_A], v[HF_F_END],
		    (vm_inherit_t)v[HF_F_INH]);
	case HF_LOOKUP:
		return lookup(map, v);
	case HF_FORK:
		return vmspace_fork(map, NULL, childp);
	default:
		break;
	}
	if (needs(call->op) == HOLD_WRITE)
		vm_map_lock(map);
	else
		vm_map_lock_read(map);
	rv = locked_call(map, call, valuep);
	if (needs(call->op) == HOLD_WRITE)
		vm_map_unlock(map);
	else
		vm_map_unlock_read(map);
	return rv;
}

/* ---- The lock family ------------------------------------------------------
 */

enum how { LOCK_WRITE, LOCK_READ, LOCK_TRY, LOCK_TRY_READ, LOCK_UP, LOCK_DOWN };

/* Nobody wrote since this thread took, or changed, its hold. */
static bool
undisturbed(const struct thread *t)
{
	return vm_map_timestamp(run.maps[t->map]) == t->stamp ||
	       fuzz_found(run.rep, "exclusion", "lock",
		   "the map was written while a thread held it");
}

VM_TSA(no_thread_safety_analysis)
static void
release(struct thread *t)
{
	vm_map_t map = run.maps[t->map];
	enum hold hold = t->hold;

	t->hold = HOLD_NONE;
	sched_leave();
	if (hold == HOLD_WRITE)
		vm_map_unlock(map);
	else if (hold == HOLD_READ)
		vm_map_unlock_read(map);
	sched_enter();
}

VM_TSA(no_thread_safety_analysis)
static enum hold
acquire(vm_map_t map, uint64_t how)
{
	switch (how) {
	case LOCK_WRITE:
		vm_map_lock(map);
		return HOLD_WRITE;
	case LOCK_READ:
		vm_map_lock_read(map);
		return HOLD_READ;
	case LOCK_TRY:
		return vm_map_trylock(map) ? HOLD_WRITE : HOLD_NONE;
	default:
		return vm_map_trylock_read(map) ? HOLD_READ : HOLD_NONE;
	}
}

/* Under an exclusive lock: everybody can tell that there was one. */
static void
note_stamp(struct thread *t)
{
	t->stamp = vm_map_timestamp(run.maps[t->map]);
	if (t->stamp <= run.stamp[t->map])
		(void)fuzz_found(run.rep, "exclusion", "lock",
		    "the timestamp hides an exclusive lock");
	run.stamp[t->map] = t->stamp;
}

VM_TSA(no_thread_safety_analysis)
static void
change_hold(struct thread *t, uint64_t how)
{
	vm_map_t map = run.maps[t->map];
	uint64_t stamp = t->stamp;
	bool failed;

	if (how == LOCK_UP && t->hold == HOLD_READ) {
		sched_leave();
		failed = vm_map_lock_upgrade(map) != 0;
		sched_enter();
		t->hold = failed ? HOLD_NONE : HOLD_WRITE;
		run.rep->seen |= FUZZ_BIT(failed ? SEEN_BEATEN : SEEN_UPGRADE);
		t->stamp = 0;
		if (!failed)
			note_stamp(t);
		if (!failed && t->stamp != stamp + 1)
			(void)fuzz_found(run.rep, "exclusion", "lock",
			    "an upgrade let somebody write");
	} else if (how == LOCK_DOWN && t->hold == HOLD_WRITE) {
		sched_leave();
		vm_map_lock_downgrade(map);
		sched_enter();
		t->hold = HOLD_READ;
	} else {
		release(t);
	}
}

static void
do_lock(struct thread *t, const uint64_t *v)
{
	uint64_t how = v[HF_F_KIND];
	enum hold hold;
	vm_map_t map;

	if (t->hold != HOLD_NONE) {
		if (undisturbed(t))
			change_hold(t, how);
		return;
	}
	if (how > LOCK_TRY_READ)
		return;
	t->map = v[HF_F_MAP];
	map = run.maps[t->map];
	sched_leave();
	hold = acquire(map, how);
	sched_enter();
	t->hold = hold;
	t->stamp = hold != HOLD_NONE ? vm_map_timestamp(map) : 0;
	if (hold == HOLD_WRITE)
		note_stamp(t);
	if (hold == HOLD_NONE)
		run.rep->seen |= FUZZ_BIT(SEEN_BUSY);
}

/* ---- The back end that threads call ---------------------------------------
 */

static unsigned
thread_self(void)
{
	return self;
}

static bool
may_call(struct thread *t, const struct hf_call *call)
{
	const uint64_t *v = call->v;

	if (v[HF_F_MAP] >= SCHED_MAPS || run.maps[v[HF_F_MAP]] == NULL)
		return false;
	if (call->op == HF_FORK &&
	    (v[HF_F_MAP2] >= SCHED_MAPS || run.maps[v[HF_F_MAP2]] != NULL ||
		run.forking[v[HF_F_MAP2]]))
		return false;
	return t->hold == HOLD_NONE ||
	       (t->map == v[HF_F_MAP] && needs(call->op) != HOLD_NONE &&
		   needs(call->op) <= t->hold);
}

static void
do_call(struct thread *t, const struct hf_call *call, struct hf_result *res)
{
	unsigned i = thread_self();
	uint64_t value = 0;
	vm_map_t map = run.maps[call->v[HF_F_MAP]], child = NULL;
	int rv;

	if (call->op == HF_FORK)
		run.forking[call->v[HF_F_MAP2]] = true;
	history_call(run.history, i, call);
	sched_leave();
	sched_yield_here();
	rv = t->hold != HOLD_NONE ? locked_call(map, call, &value)
				  : core_call(map, call, &child, &value);
	sched_enter();
	if (child != NULL)
		run.maps[call->v[HF_F_MAP2]] = child;
	if (t->hold != HOLD_NONE) {
		run.rep->seen |= FUZZ_BIT(SEEN_HELD);
		(void)undisturbed(t);
	}
	if (!history_return(run.history, i, rv, value, false))
		(void)fuzz_found(run.rep, "order", hf_ops[call->op].name,
		    "no order of what overlapped gives %s, 0x%" PRIx64,
		    hf_status_name(rv), value);
	if (history_nstates(run.history) > 1)
		run.rep->seen |= FUZZ_BIT(SEEN_WAYS);
	hf_result_set(res, rv);
	hf_result_out(res, "value", HF_O_NUM, value);
}

static void
sched_call(struct hf_backend *base, const struct hf_call *asked,
    struct hf_result *res)
{
	struct thread *t = &run.thread[thread_self()];
	struct hf_call call = *asked;

	(void)base;
	hf_result_set(res, HF_S_UNSUPPORTED);
	if (call.op == HF_WORLD || call.op == HF_SEG) {
		hf_result_set(res, KERN_SUCCESS);
		return;
	}
	if (run.history == NULL || run.rep->found ||
	    run.maps[call.v[HF_F_MAP] % SCHED_MAPS] == NULL)
		return;
	tame(&call);
	if (call.op == HF_LOCK)
		do_lock(t, call.v);
	else if (may_call(t, &call))
		do_call(t, &call, res);
}

/* Entries as one of the possible states has them, without any lock. */
static size_t
sched_entries(struct hf_backend *base, unsigned map, size_t k,
    struct hf_entry *entries, size_t max)
{
	const sched_page *page;
	unsigned i = 0, from;
	size_t n = 0;

	(void)base;
	if (map >= SCHED_MAPS || run.history == NULL ||
	    history_nstates(run.history) == 0)
		return 0;
	page = history_state(run.history, 0)->page[map];
	while (i < run.world.npages && n < max) {
		from = i++;
		if (page[from] == 0)
			continue;
		while (i < run.world.npages && page[i] == page[from])
			i++;
		if (k > 0) {
			k--;
			continue;
		}
		entries[n++] = (struct hf_entry){.start = run.world.min +
							  from * run.world.page,
		    .end = run.world.min + i * run.world.page};
	}
	return n;
}

static size_t
sched_nentries(struct hf_backend *base, unsigned map)
{
	struct hf_entry entries[SCHED_PAGES];

	return sched_entries(base, map, 0, entries, SCHED_PAGES);
}

static const struct hf_backend_ops sched_ops = {.name = "sched",
    .call = sched_call,
    .entries = sched_entries,
    .nentries = sched_nentries};

/* ---- The threads ----------------------------------------------------------
 */

static void
thread_body(void *arg, unsigned i)
{
	struct thread *t = &run.thread[i];

	(void)arg;
	sched_enter();
	for (unsigned k = 0; k < t->n && !run.rep->found; k++) {
		self = i;
		hf_runner_step(&run.runner, &t->inst[k]);
		sched_leave();
		sched_yield_here();
		sched_enter();
	}
	if (t->hold != HOLD_NONE)
		release(t);
	sched_leave();
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	(void)arg;
	(void)r;
	run.rep->nops += inst != NULL;
#ifndef FUZZ_SCHED_REAL
	fuzz_hash_answer(run.rep, call, res);
	if (inst != NULL)
		fuzz_hash(run.rep, sched_switches());
#else
	(void)call;
	(void)res;
#endif
	return true;
}

/* Whose operations are whose.  They are read where they are to be. */
static void
deal(const uint8_t *data, size_t size)
{
	static struct hf_inst none;
	struct thread *t = &run.thread[0];
	struct hf_inst *inst;
	size_t off = 0;

	for (;;) {
		inst = t->n < OPS_MAX ? &t->inst[t->n] : &none;
		if (!hf_next(data, size, &off, inst))
			return;
		if (inst->op == HF_THREAD)
			t = &run.thread[hf_bits(hf_field(HF_THREAD, HF_F_VALUE),
					    inst->rec) %
					run.nthreads];
		else if (inst != &none &&
			 (fuzz_target.ops >> inst->op & 1) != 0)
			t->n++;
	}
}

/* Each map is what one of the orders has left. */
static bool
state_fits(const struct sched_maps *m)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	sched_page page;
	bool is;

	for (unsigned k = 0; k < SCHED_MAPS; k++)
		for (unsigned i = 0;
		     run.maps[k] != NULL && i < run.world.npages; i++) {
			page = m->page[k][i];
			vm_map_lock_read(run.maps[k]);
			is = vm_map_lookup_entry(run.maps[k],
			    run.world.min + i * run.world.page, &entry);
			if (is)
				vm_map_entry_info(entry, &info);
			vm_map_unlock_read(run.maps[k]);
			if (is != (page != 0) ||
			    (is && sched_page_make(info.protection,
				       (uint64_t)info.inheritance) != page))
				return false;
		}
	return true;
}

static void
compare_end(void)
{
	const char *broken = NULL;
	bool fits = history_lost(run.history);

	run.rep->nchecks++;
	for (unsigned k = 0; k < SCHED_MAPS && broken == NULL; k++) {
		if (run.maps[k] == NULL)
			continue;
		vm_map_lock_read(run.maps[k]);
		broken = vm_map_check(run.maps[k]);
		vm_map_unlock_read(run.maps[k]);
	}
	if (broken != NULL)
		(void)fuzz_found(run.rep, "check", "end", "%s", broken);
	for (unsigned i = 0; i < history_nstates(run.history) && !fits; i++)
		fits = state_fits(history_state(run.history, i));
	if (!fits)
		(void)fuzz_found(run.rep, "state", "end",
		    "no order leaves the maps like that");
}

static void
note_rare(void)
{
	uint64_t *seen = &run.rep->seen;

	if (run.nthreads > 2)
		*seen |= FUZZ_BIT(SEEN_THREE);
	if (sched_waits() > 0)
		*seen |= FUZZ_BIT(SEEN_WAIT);
	if (run.maps[1] != NULL || run.maps[2] != NULL)
		*seen |= FUZZ_BIT(SEEN_FORK);
}

static void
begin(const uint8_t *data, size_t size)
{
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .no_faults = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.called = called};
	struct sim_options machine = {.machine = "x86_64", .no_inject = true};

	run.base.ops = &sched_ops;
	hf_runner_init(&run.runner, &run.base, &options, &observer, data, size);
	run.arch = sim_create(&machine);
	run.pmap = (struct pmap){.arch = run.arch};
	run.world = (struct sched_world){.min = 0x10000,
	    .page = run.arch->machine->page_size,
	    .npages = 8 + run.runner.header.preset % 3U * 12};
	run.runner.machine = run.arch->machine;
	for (unsigned i = 0; i < HF_MAPS; i++) {
		run.runner.maps[i].min = run.world.min;
		run.runner.maps[i].max =
		    run.world.min + run.world.npages * run.world.page;
		run.runner.maps[i].live = i == 0;
	}
	run.runner.had_map = true;
	run.maps[0] =
	    vm_map_create(&run.pmap, run.world.min, run.runner.maps[0].max);
	run.history = history_create(&run.world);
	run.nthreads = 2 + run.runner.header.seed % (SCHED_THREADS - 1);
}

static void
run_sched(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	enum sched_end end;

	memset(rep, 0, sizeof(*rep));
	run.rep = rep;
	run.history = NULL;
	memset(run.maps, 0, sizeof(run.maps));
	memset(run.forking, 0, sizeof(run.forking));
	memset(run.stamp, 0, sizeof(run.stamp));
	for (unsigned i = 0; i < SCHED_THREADS; i++) {
		run.thread[i].n = 0;
		run.thread[i].hold = HOLD_NONE;
		run.thread[i].map = run.thread[i].stamp = 0;
	}
	begin(data, size);
	deal(data, size);
	end =
	    sched_run(run.nthreads, thread_body, NULL, run.runner.header.seed);
	if (!rep->found && end != SCHED_DONE)
		(void)fuzz_found(rep,
		    end == SCHED_DEADLOCK ? "deadlock" : "livelock", "end",
		    "not every thread gets to its end");
	if (rep->found)
		return; /* what holds the rest is broken: leave it */
	note_rare();
	compare_end();
	for (unsigned k = 0; k < SCHED_MAPS; k++)
		vm_map_destroy(run.maps[k]);
	fuzz_sim_end(rep, run.arch);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_sched",
    .ops = FUZZ_OPS_SCHED,
    .run = run_sched,
    .sometimes = sometimes,
    .required = FUZZ_BIT(SEEN_THREE) | FUZZ_BIT(SEEN_WAIT) |
		FUZZ_BIT(SEEN_HELD) | FUZZ_BIT(SEEN_UPGRADE) |
		FUZZ_BIT(SEEN_BEATEN) | FUZZ_BIT(SEEN_BUSY) |
		FUZZ_BIT(SEEN_FORK) | FUZZ_BIT(SEEN_WAYS)};
