/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The map in several threads, for TSan and for what only concurrency breaks.
 *
 * Covered: writers that each own a part of one map beside readers of all of
 * it; the lock family's promises about upgrades and the time stamp; maps that
 * are forked, written to and destroyed at once, so that shadow chains grow and
 * collapse from several sides.  What the calls answer one after another is
 * the differential test's matter.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "arch/sim/sim.h"
#include "core/vm_map_int.h"
#include "tests/test.h"

#define PAGE     UINT64_C(0x1000)
#define NWRITERS 3
#define NREADERS 2
#define PART     (64 * PAGE) /* what one writer owns */

struct arena {
	struct arch *arch;
	struct pmap pmap;
	vm_map_t map;
	atomic_bool stop;
	atomic_int wrong; /* a thread saw what it must not see */
	int rounds;
};

struct worker {
	struct arena *arena;
	pthread_t thread;
	uint64_t seed;
	unsigned index;
};

static void
arena_init(struct arena *a, int rounds)
{
	memset(a, 0, sizeof(*a));
	a->arch = sim_create(NULL);
	ASSERT_NOT_NULL(a->arch);
	a->pmap.arch = a->arch;
	a->map = vm_map_create(&a->pmap, 0x10000, 0x10000 + NWRITERS * PART);
	ASSERT_NOT_NULL(a->map);
	a->rounds = rounds;
}

static void
arena_fini(struct arena *a)
{
	ASSERT_EQ(atomic_load(&a->wrong), 0);
	vm_map_lock_read(a->map);
	ASSERT_NULL(vm_map_check(a->map));
	vm_map_unlock_read(a->map);
	ASSERT_EQ(vm_map_remove(a->map, vm_map_min(a->map), vm_map_max(a->map)),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_reserved(a->map), 0u);
	vm_map_destroy(a->map);
	ASSERT_EQ(sim_live(a->arch), 0u);
	sim_destroy(a->arch);
}

static void
start(struct worker *w, struct arena *a, unsigned index, void *(*run)(void *))
{
	w->arena = a;
	w->index = index;
	w->seed = test_seed() + index;
	ASSERT_EQ(pthread_create(&w->thread, NULL, run, w), 0);
}

static void
check(struct arena *a, bool ok)
{
	if (!ok)
		atomic_fetch_add(&a->wrong, 1);
}

/* One change of the writer's own part. */
static void
write_once(struct worker *w, vm_offset_t min)
{
	vm_map_t map = w->arena->map;
	vm_offset_t from = min + test_random(&w->seed) % 48 * PAGE;
	vm_offset_t to = from + (1 + test_random(&w->seed) % 16) * PAGE;
	int rv;

	switch (test_random(&w->seed) % 8) {
	case 0:
	case 1:
	case 2:
		rv = vm_map_fixed(map, NULL, 0, from, to - from, VM_PROT_RW,
		    VM_PROT_ALL, 0);
		check(w->arena, rv == KERN_SUCCESS);
		break;
	case 3:
		check(w->arena, vm_map_remove(map, from, to) == KERN_SUCCESS);
		break;
	case 4:
		rv = vm_map_protect(map, from, to, VM_PROT_READ, 0,
		    VM_MAP_PROTECT_SET_PROT);
		check(w->arena, rv == KERN_SUCCESS);
		break;
	case 5:
		rv = vm_map_inherit(map, from, to, VM_INHERIT_SHARE);
		check(w->arena, rv == KERN_SUCCESS);
		break;
	case 6:
		rv = vm_map_wire(map, from, to,
		    VM_MAP_WIRE_USER | VM_MAP_WIRE_HOLESOK);
		check(w->arena, rv == KERN_SUCCESS);
		break;
	default:
		rv = vm_map_madvise(map, from, to, VM_MADV_RANDOM);
		check(w->arena, rv == KERN_SUCCESS);
		break;
	}
}

static void *
writer(void *arg)
{
	struct worker *w = arg;
	vm_offset_t min = 0x10000 + w->index * PART;
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	for (int i = 0; i < w->arena->rounds; i++) {
		write_once(w, min);
		/* Nobody else writes here: what is here does not change. */
		vm_map_lock_read(w->arena->map);
		if (vm_map_lookup_entry(w->arena->map, min, &entry)) {
			vm_map_entry_info(entry, &info);
			check(w->arena, vm_map_check_protection(w->arena->map,
					    min, min + PAGE, info.protection));
		}
		vm_map_unlock_read(w->arena->map);
	}
	return NULL;
}

/* Walk the whole map: in order, disjoint, and as many as it says. */
static void
read_once(struct arena *a)
{
	struct vm_map_entry_info info;
	vm_offset_t last;
	uint64_t n = 0;

	vm_map_lock_read(a->map);
	last = vm_map_min(a->map);
	for (vm_map_entry_t e = vm_map_entry_first(a->map); e != NULL;
	     e = vm_map_entry_succ(a->map, e)) {
		vm_map_entry_info(e, &info);
		check(a, info.start >= last && info.end > info.start);
		last = info.end;
		n++;
	}
	check(a, n == vm_map_nentries(a->map));
	vm_map_unlock_read(a->map);
}

static void
fault_once(struct worker *w)
{
	vm_map_t map = w->arena->map;
	vm_map_entry_t entry;
	vm_object_t object;
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
	vm_offset_t addr = 0x10000 + test_random(&w->seed) % (NWRITERS * PART);
	vm_prot_t type =
	    test_random(&w->seed) % 2 != 0 ? VM_PROT_READ : VM_PROT_WRITE;

	if (vm_map_lookup(&map, addr, type, &entry, &object, &pindex, &prot,
		&wired) != KERN_SUCCESS)
		return;
	check(w->arena, entry->start <= addr && addr < entry->end);
	check(w->arena, object != NULL && (prot & type) == type);
	vm_map_lookup_done(map, entry);
}

static void *
reader(void *arg)
{
	struct worker *w = arg;
	vm_offset_t addr;

	while (!atomic_load(&w->arena->stop)) {
		read_once(w->arena);
		fault_once(w);
		vm_map_lock_read(w->arena->map);
		(void)vm_map_findspace(w->arena->map, 0x10000, 4 * PAGE, &addr);
		vm_map_unlock_read(w->arena->map);
	}
	return NULL;
}

TEST(vm_map__keeps_its_order_under_readers_and_writers)
{
	struct worker writers[NWRITERS], readers[NREADERS];
	struct arena a;

	arena_init(&a, 2000);
	for (unsigned i = 0; i < NWRITERS; i++)
		start(&writers[i], &a, i, writer);
	for (unsigned i = 0; i < NREADERS; i++)
		start(&readers[i], &a, NWRITERS + i, reader);
	for (unsigned i = 0; i < NWRITERS; i++)
		ASSERT_EQ(pthread_join(writers[i].thread, NULL), 0);
	atomic_store(&a.stop, true);
	for (unsigned i = 0; i < NREADERS; i++)
		ASSERT_EQ(pthread_join(readers[i].thread, NULL), 0);
	arena_fini(&a);
}

/* Upgrade, change, and count what the time stamp must have moved by. */
static void *
upgrader(void *arg)
{
	struct worker *w = arg;
	vm_map_t map = w->arena->map;
	uint64_t before;

	for (int i = 0; i < w->arena->rounds; i++) {
		vm_map_lock_read(map);
		before = vm_map_timestamp(map);
		if (vm_map_lock_upgrade(map) != 0)
			continue; /* somebody else wrote: not locked at all */
		check(w->arena, vm_map_timestamp(map) == before + 1);
		check(w->arena, vm_map_locked(map));
		vm_map_lock_downgrade(map);
		check(w->arena, vm_map_timestamp(map) == before + 1);
		vm_map_unlock_read(map);
	}
	return NULL;
}

TEST(vm_map_lock_upgrade__sees_every_other_writer)
{
	struct worker workers[4];
	struct arena a;

	arena_init(&a, 4000);
	for (unsigned i = 0; i < 4; i++)
		start(&workers[i], &a, i, upgrader);
	for (unsigned i = 0; i < 4; i++)
		ASSERT_EQ(pthread_join(workers[i].thread, NULL), 0);
	arena_fini(&a);
}

/* Write to random pages of a map, so that copies are made. */
static void
dirty(struct worker *w, vm_map_t map)
{
	vm_map_entry_t entry;
	vm_object_t object;
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
	vm_offset_t addr = 0x10000 + test_random(&w->seed) % PART;

	if (vm_map_lookup(&map, addr, VM_PROT_WRITE, &entry, &object, &pindex,
		&prot, &wired) == KERN_SUCCESS)
		vm_map_lookup_done(map, entry);
}

/* Wire, which makes all copies at once, and let go again. */
static void
wire_and_unwire(struct worker *w, vm_map_t map)
{
	vm_offset_t from =
	    0x10000 + test_random(&w->seed) % (PART / PAGE) * PAGE;
	int rv;

	rv = vm_map_wire(map, from, 0x10000 + PART,
	    VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES);
	check(w->arena, rv == KERN_SUCCESS);
	rv = vm_map_unwire(map, from, 0x10000 + PART,
	    VM_MAP_WIRE_USER | VM_MAP_WIRE_NOHOLES);
	check(w->arena, rv == KERN_SUCCESS);
}

/* The last map that shows what its account pays for: nothing may stay. */
static void
end_last(struct worker *w, vm_map_t map)
{
	check(w->arena, vm_map_remove(map, vm_map_min(map), vm_map_max(map)) ==
			    KERN_SUCCESS);
	check(w->arena, vm_map_reserved(map) == 0);
	vm_map_destroy(map);
}

/* Fork the common map, fork the fork, write to all of them, throw them away. */
static void *
forker(void *arg)
{
	struct worker *w = arg;
	vm_map_t child, grandchild;

	for (int i = 0; i < w->arena->rounds; i++) {
		if (vmspace_fork(w->arena->map, NULL, &child) != KERN_SUCCESS) {
			check(w->arena, false);
			break;
		}
		dirty(w, child);
		dirty(w, w->arena->map);
		if (vmspace_fork(child, NULL, &grandchild) != KERN_SUCCESS) {
			check(w->arena, false);
			vm_map_destroy(child);
			break;
		}
		dirty(w, grandchild);
		wire_and_unwire(w, i % 2 == 0 ? child : grandchild);
		vm_map_lock_read(grandchild);
		check(w->arena, vm_map_check(grandchild) == NULL);
		vm_map_unlock_read(grandchild);
		if (test_random(&w->seed) % 2 == 0) {
			vm_map_destroy(child);
			dirty(w, grandchild);
			end_last(w, grandchild);
		} else {
			vm_map_destroy(grandchild);
			dirty(w, child);
			end_last(w, child);
		}
	}
	return NULL;
}

TEST(vmspace_fork__may_happen_everywhere_at_once)
{
	struct worker workers[4];
	struct arena a;
	vm_offset_t addr = 0x10000;

	arena_init(&a, 200);
	ASSERT_EQ(vm_map_find(a.map, NULL, 0, &addr, PART, 0, VMFS_ANY_SPACE,
		      VM_PROT_RW, VM_PROT_ALL, 0),
	    KERN_SUCCESS);
	ASSERT_EQ(vm_map_inherit(a.map, addr, addr + 8 * PAGE,
		      VM_INHERIT_SHARE),
	    KERN_SUCCESS);
	for (unsigned i = 0; i < 4; i++)
		start(&workers[i], &a, i, forker);
	for (unsigned i = 0; i < 4; i++)
		ASSERT_EQ(pthread_join(workers[i].thread, NULL), 0);
	arena_fini(&a);
}

struct protector {
	pthread_t thread;
	pthread_barrier_t *barrier;
	vm_map_t map;
	int rv;
};

static void *
protect_at_once(void *arg)
{
	struct protector *p = arg;

	(void)pthread_barrier_wait(p->barrier);
	p->rv = vm_map_protect(p->map, 0x10000, 0x10000 + 4 * PAGE, VM_PROT_RW,
	    0, VM_MAP_PROTECT_SET_PROT);
	return NULL;
}

/* Two maps show one object that nobody pays for yet, and want to write. */
static void
protect_both(struct arena *a)
{
	vm_offset_t addr = 0x10000;
	struct protector p[2];
	pthread_barrier_t barrier;
	vm_map_t other;

	ASSERT_EQ(vm_map_find(a->map, NULL, 0, &addr, 4 * PAGE, 0,
		      VMFS_ANY_SPACE, VM_PROT_READ, VM_PROT_ALL,
		      MAP_INHERIT_SHARE),
	    KERN_SUCCESS);
	ASSERT_EQ(vmspace_fork(a->map, NULL, &other), KERN_SUCCESS);
	ASSERT_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
	for (int i = 0; i < 2; i++) {
		p[i].map = i == 0 ? a->map : other;
		p[i].barrier = &barrier;
		ASSERT_EQ(pthread_create(&p[i].thread, NULL, protect_at_once,
			      &p[i]),
		    0);
	}
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(pthread_join(p[i].thread, NULL), 0);
		ASSERT_EQ(p[i].rv, KERN_SUCCESS);
	}
	ASSERT_EQ(vm_map_reserved(a->map) + vm_map_reserved(other), 4 * PAGE);
	vm_map_destroy(other);
	ASSERT_EQ(vm_map_remove(a->map, addr, addr + 4 * PAGE), KERN_SUCCESS);
	(void)pthread_barrier_destroy(&barrier);
}

TEST(vm_map_protect__charges_a_shared_object_once)
{
	struct arena a;

	arena_init(&a, 0);
	for (int i = 0; i < 1000; i++)
		protect_both(&a);
	arena_fini(&a);
}
