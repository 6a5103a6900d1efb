/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The shared/exclusive lock is one word: a writer bit, a bit that says that
 * somebody sleeps, and the number of readers.  Whoever leaves the word free
 * while the sleeper bit is set clears the bit and wakes all sleepers, who
 * compete again.  New readers stand behind sleepers, so writers get through.
 *
 * clang's analysis cannot see through the word, so the bodies are exempt; the
 * declarations in lock.h are what it checks callers against.
 */

#include "core/lock.h"
#include "core/kassert.h"

#define RW_WRITER  VM_RW_WRITER
#define RW_SLEEPER VM_RW_SLEEPER
#define RW_READERS VM_RW_READERS

#define VM_NO_TSA VM_TSA(no_thread_safety_analysis)

/* How many locks of each rank this thread holds. */
static _Thread_local unsigned rank_held[VM_RANK_UMA + 1];

void
vm_rank_enter(enum vm_rank rank)
{
	for (unsigned r = (unsigned)rank + 1; r <= VM_RANK_UMA; r++)
		KASSERT(rank_held[r] == 0, "lock order reversed");
	rank_held[rank]++;
}

void
vm_rank_leave(enum vm_rank rank)
{
	KASSERT(rank_held[rank] > 0, "lock released by a thread without it");
	rank_held[rank]--;
}

void
vm_rank_swap(unsigned held[VM_RANK_UMA + 1])
{
	unsigned mine;

	for (unsigned r = 0; r <= VM_RANK_UMA; r++) {
		mine = rank_held[r];
		rank_held[r] = held[r];
		held[r] = mine;
	}
}

const struct vm_lock_hooks *vm_lock_hooks;

static void
mtx_lock(pthread_mutex_t *mtx)
{
	if (VM_INVARIANTS >= 2 && vm_lock_hooks != NULL)
		vm_lock_hooks->lock(mtx);
	else
		pthread_mutex_lock(mtx);
}

static void
mtx_unlock(pthread_mutex_t *mtx)
{
	if (VM_INVARIANTS >= 2 && vm_lock_hooks != NULL)
		vm_lock_hooks->unlock(mtx);
	else
		pthread_mutex_unlock(mtx);
}

static void
cv_wait(pthread_cond_t *cv, pthread_mutex_t *mtx)
{
	if (VM_INVARIANTS >= 2 && vm_lock_hooks != NULL)
		vm_lock_hooks->wait(cv, mtx);
	else
		pthread_cond_wait(cv, mtx);
}

static void
cv_broadcast(pthread_cond_t *cv)
{
	if (VM_INVARIANTS >= 2 && vm_lock_hooks != NULL)
		vm_lock_hooks->wake(cv);
	else
		pthread_cond_broadcast(cv);
}

static void
rank_enter(enum vm_rank rank)
{
	if (VM_INVARIANTS >= 2)
		vm_rank_enter(rank);
}

static void
rank_leave(enum vm_rank rank)
{
	if (VM_INVARIANTS >= 2)
		vm_rank_leave(rank);
}

static uint32_t
rw_load(const struct vm_rwlock *l)
{
	return __atomic_load_n(&l->state, __ATOMIC_RELAXED);
}

/*
 * Sleep until no bit of `busy` is set, then add `add` to the word.
 */
static void
rw_acquire_slow(struct vm_rwlock *l, uint32_t busy, uint32_t add)
{
	MPASS((busy & RW_WRITER) != 0);

	mtx_lock(&l->mtx);
	for (;;) {
		uint32_t s = rw_load(l);

		if ((s & busy) == 0) {
			if (vm_rwlock_swap(l, s, s + add))
				break;
		} else if ((s & RW_SLEEPER) != 0 ||
			   vm_rwlock_swap(l, s, s | RW_SLEEPER)) {
			cv_wait(&l->cv, &l->mtx);
		}
	}
	mtx_unlock(&l->mtx);
}

static void
rw_wake(struct vm_rwlock *l)
{
	mtx_lock(&l->mtx);
	__atomic_fetch_and(&l->state, ~RW_SLEEPER, __ATOMIC_RELAXED);
	cv_broadcast(&l->cv);
	mtx_unlock(&l->mtx);
}

void
vm_rwlock_init(struct vm_rwlock *l, enum vm_rank rank)
{
	MPASS(rank > VM_RANK_NONE && rank <= VM_RANK_UMA);

	l->state = 0;
	l->rank = rank;
	pthread_mutex_init(&l->mtx, NULL);
	pthread_cond_init(&l->cv, NULL);
}

void
vm_rwlock_fini(struct vm_rwlock *l)
{
	KASSERT(rw_load(l) == 0, "lock destroyed while held");

	pthread_cond_destroy(&l->cv);
	pthread_mutex_destroy(&l->mtx);
}

VM_NO_TSA void
vm_rwlock_wlock_slow(struct vm_rwlock *l)
{
	MPASS(l->rank != VM_RANK_NONE);

	rw_acquire_slow(l, RW_WRITER | RW_READERS, RW_WRITER);
}

/* Held exclusively, and the sleeper bit, for one, is set. */
VM_NO_TSA void
vm_rwlock_wunlock_slow(struct vm_rwlock *l)
{
	uint32_t old;

	old = __atomic_fetch_and(&l->state, ~RW_WRITER, __ATOMIC_ACQ_REL);
	KASSERT((old & RW_WRITER) != 0, "not held exclusively");
	if ((old & RW_SLEEPER) != 0)
		rw_wake(l);
}

VM_NO_TSA void
vm_rwlock_rlock(struct vm_rwlock *l)
{
	uint32_t s = rw_load(l);

	rank_enter(l->rank);
	if ((s & (RW_WRITER | RW_SLEEPER)) != 0 || !vm_rwlock_swap(l, s, s + 1))
		rw_acquire_slow(l, RW_WRITER, 1);
}

VM_NO_TSA void
vm_rwlock_runlock(struct vm_rwlock *l)
{
	uint32_t old;

	rank_leave(l->rank);
	if (VM_ALONE() && vm_rwlock_swap(l, 1, 0))
		return;
	old = __atomic_fetch_sub(&l->state, 1, __ATOMIC_ACQ_REL);
	KASSERT((old & RW_READERS) > 0, "not held shared");
	if ((old & RW_SLEEPER) != 0 && (old & RW_READERS) == 1)
		rw_wake(l);
}

VM_NO_TSA bool
vm_rwlock_try_wlock(struct vm_rwlock *l)
{
	if (!vm_rwlock_swap(l, 0, RW_WRITER))
		return false;
	rank_enter(l->rank);
	return true;
}

VM_NO_TSA bool
vm_rwlock_try_rlock(struct vm_rwlock *l)
{
	uint32_t s = rw_load(l);

	while ((s & RW_WRITER) == 0) {
		if (vm_rwlock_swap(l, s, s + 1)) {
			rank_enter(l->rank);
			return true;
		}
		s = rw_load(l);
	}
	return false;
}

bool
vm_rwlock_try_upgrade(struct vm_rwlock *l)
{
	uint32_t s = rw_load(l);

	MPASS((s & RW_READERS) > 0);

	return (s & RW_READERS) == 1 &&
	       vm_rwlock_swap(l, s, (s - 1) | RW_WRITER);
}

void
vm_rwlock_downgrade(struct vm_rwlock *l)
{
	uint32_t old;

	/* One subtraction turns the writer bit into one reader. */
	old = __atomic_fetch_sub(&l->state, RW_WRITER - 1, __ATOMIC_ACQ_REL);
	KASSERT((old & RW_WRITER) != 0, "not held exclusively");
	if ((old & RW_SLEEPER) != 0)
		rw_wake(l);
}
