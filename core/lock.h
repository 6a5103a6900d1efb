/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Ranked locks: a mutex, and a shared/exclusive lock for maps.
 *
 * The enum is the lock order: a thread may take a lock only if every lock it
 * holds has a lower rank (objects of one shadow chain: the same rank, front
 * to back).  VM_INVARIANTS=2 asserts it.  An uncontended pair is two atomic
 * operations, or two stores while the process has but one thread (VM_ALONE,
 * which the C library keeps); a contended one sleeps on a condition variable.
 */

#include <pthread.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define VM_ALONE() (__libc_single_threaded != 0)
#else
#define VM_ALONE() false
#endif

#include "core/kassert.h"
#include "core/vm.h"

#if defined(__clang__)
#define VM_TSA(x) __attribute__((x))
#else
#define VM_TSA(x)
#endif

enum vm_rank {
	VM_RANK_NONE,
	VM_RANK_MAP,    /* struct vm_map */
	VM_RANK_OBJECT, /* struct vm_object */
	VM_RANK_PAGE,   /* page pools */
	VM_RANK_PHYS,   /* struct vm_phys, where its owner has threads */
	VM_RANK_UMA,    /* zones that threads share */
};

struct VM_TSA(capability("rwlock")) vm_rwlock {
	uint32_t state;      /* VM_RW_*; atomic */
	enum vm_rank rank;   /* (c) */
	pthread_mutex_t mtx; /* sleepers only */
	pthread_cond_t cv;
};

/* One with static storage. */
#define VM_RWLOCK_INIT(r)                                                      \
	{                                                                      \
		.rank = (r), .mtx = PTHREAD_MUTEX_INITIALIZER,                 \
		.cv = PTHREAD_COND_INITIALIZER                                 \
	}

void vm_rwlock_init(struct vm_rwlock *l, enum vm_rank rank);
void vm_rwlock_fini(struct vm_rwlock *l);
static void vm_rwlock_wlock(struct vm_rwlock *l) VM_TSA(acquire_capability(l));
static void vm_rwlock_wunlock(struct vm_rwlock *l)
    VM_TSA(release_capability(l));
void vm_rwlock_rlock(struct vm_rwlock *l) VM_TSA(acquire_shared_capability(l));
void vm_rwlock_runlock(struct vm_rwlock *l)
    VM_TSA(release_shared_capability(l));
bool vm_rwlock_try_wlock(struct vm_rwlock *l)
    VM_TSA(try_acquire_capability(true, l));
bool vm_rwlock_try_rlock(struct vm_rwlock *l)
    VM_TSA(try_acquire_shared_capability(true, l));

/*
 * Read to write without letting go.  true: the caller was the only reader and
 * now holds it exclusively.  false: it still holds it shared.
 */
bool vm_rwlock_try_upgrade(struct vm_rwlock *l);

/* Write to read without letting go. */
void vm_rwlock_downgrade(struct vm_rwlock *l);

/* Inside: what the word of a vm_rwlock holds. */
#define VM_RW_WRITER  0x80000000u
#define VM_RW_SLEEPER 0x40000000u
#define VM_RW_READERS 0x3fffffffu /* how many there are */

/* What the fast paths below leave to lock.c: waiting, waking, the order. */
void vm_rwlock_wlock_slow(struct vm_rwlock *l);
void vm_rwlock_wunlock_slow(struct vm_rwlock *l);
void vm_rank_enter(enum vm_rank rank);
void vm_rank_leave(enum vm_rank rank);

/*
 * How a test runs threads that are none: its own way to lock, sleep and wake,
 * in every place where this module would.  Consulted with VM_INVARIANTS=2
 * only; NULL: the real thing.  Set while nobody holds a lock.
 */
struct vm_lock_hooks {
	void (*lock)(pthread_mutex_t *mtx);
	void (*unlock)(pthread_mutex_t *mtx);
	void (*wait)(pthread_cond_t *cv, pthread_mutex_t *mtx);
	void (*wake)(pthread_cond_t *cv);
};
extern const struct vm_lock_hooks *vm_lock_hooks;

/*
 * A lock that nobody waits for has no such place.  These make one of its
 * beginning and its end.
 */
static inline void
vm_rwlock_begin(struct vm_rwlock *l)
{
	if (VM_INVARIANTS >= 2 && vm_lock_hooks != NULL)
		vm_lock_hooks->lock(&l->mtx);
}

static inline void
vm_rwlock_end(struct vm_rwlock *l)
{
	if (VM_INVARIANTS >= 2 && vm_lock_hooks != NULL)
		vm_lock_hooks->unlock(&l->mtx);
}

/* Exchange what this thread is known to hold, by rank. */
void vm_rank_swap(unsigned held[VM_RANK_UMA + 1]);

/* Somebody holds it exclusively; somebody holds it in either way. */
static inline bool
vm_rwlock_is_wlocked(const struct vm_rwlock *l)
{
	return (__atomic_load_n(&l->state, __ATOMIC_RELAXED) & VM_RW_WRITER) !=
	       0;
}

static inline bool
vm_rwlock_is_locked(const struct vm_rwlock *l)
{
	return (__atomic_load_n(&l->state, __ATOMIC_RELAXED) &
		   (VM_RW_WRITER | VM_RW_READERS)) != 0;
}

/*
 * The word from `old` to `new`; false: it is another.  A thread that is alone
 * needs no locked instruction: those to come begin behind what it stored.
 */
static inline bool
vm_rwlock_swap(struct vm_rwlock *l, uint32_t old, uint32_t new)
{
	if (VM_ALONE()) {
		if (__atomic_load_n(&l->state, __ATOMIC_ACQUIRE) != old)
			return false;
		__atomic_store_n(&l->state, new, __ATOMIC_RELEASE);
		return true;
	}
	return __atomic_compare_exchange_n(&l->state, &old, new, false,
	    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

VM_TSA(no_thread_safety_analysis)
static inline void
vm_rwlock_wlock(struct vm_rwlock *l)
{
	if (VM_INVARIANTS >= 2)
		vm_rank_enter(l->rank);
	if (!vm_rwlock_swap(l, 0, VM_RW_WRITER))
		vm_rwlock_wlock_slow(l);
}

VM_TSA(no_thread_safety_analysis)
static inline void
vm_rwlock_wunlock(struct vm_rwlock *l)
{
	KASSERT(vm_rwlock_is_wlocked(l), "not held exclusively");

	if (VM_INVARIANTS >= 2)
		vm_rank_leave(l->rank);
	if (!vm_rwlock_swap(l, VM_RW_WRITER, 0))
		vm_rwlock_wunlock_slow(l);
}
