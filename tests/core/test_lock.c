/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The shared/exclusive lock: what excludes what, upgrade and downgrade, and
 * that sleepers wake.  Not covered: fairness.
 */

#include <pthread.h>

#include "core/lock.h"
#include "tests/test.h"

/* clang follows locks by name; these cases break its rules on purpose. */
#define UNCHECKED VM_TSA(no_thread_safety_analysis)

UNCHECKED static void
exclusion(void)
{
	struct vm_rwlock l;

	vm_rwlock_init(&l, VM_RANK_MAP);
	ASSERT_FALSE(vm_rwlock_is_locked(&l));
	vm_rwlock_rlock(&l);
	ASSERT_TRUE(vm_rwlock_is_locked(&l));
	ASSERT_FALSE(vm_rwlock_is_wlocked(&l));
	ASSERT_TRUE(vm_rwlock_try_rlock(&l));
	ASSERT_FALSE(vm_rwlock_try_wlock(&l));
	vm_rwlock_runlock(&l);
	ASSERT_FALSE(vm_rwlock_try_wlock(&l));
	vm_rwlock_runlock(&l);
	ASSERT_TRUE(vm_rwlock_try_wlock(&l));
	ASSERT_TRUE(vm_rwlock_is_wlocked(&l));
	ASSERT_FALSE(vm_rwlock_try_rlock(&l));
	ASSERT_FALSE(vm_rwlock_try_wlock(&l));
	vm_rwlock_wunlock(&l);
	vm_rwlock_fini(&l);
}

TEST(vm_rwlock__admits_readers_together_and_a_writer_alone)
{
	exclusion();
}

UNCHECKED static void
upgrade(void)
{
	struct vm_rwlock l;

	vm_rwlock_init(&l, VM_RANK_MAP);
	vm_rwlock_rlock(&l);
	vm_rwlock_rlock(&l);
	ASSERT_FALSE(vm_rwlock_try_upgrade(&l)); /* still held twice */
	vm_rwlock_runlock(&l);
	ASSERT_TRUE(vm_rwlock_try_upgrade(&l));
	ASSERT_TRUE(vm_rwlock_is_wlocked(&l));
	vm_rwlock_downgrade(&l);
	ASSERT_FALSE(vm_rwlock_is_wlocked(&l));
	ASSERT_TRUE(vm_rwlock_try_rlock(&l));
	vm_rwlock_runlock(&l);
	vm_rwlock_runlock(&l);
	ASSERT_FALSE(vm_rwlock_is_locked(&l));
	vm_rwlock_fini(&l);
}

TEST(vm_rwlock__upgrades_only_the_last_reader)
{
	upgrade();
}

#define NTHREADS 4
#define ROUNDS   20000

static struct vm_rwlock shared;
static uint64_t value, copy; /* always equal outside the write lock */

UNCHECKED static void *
contend(void *arg)
{
	uint64_t state = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15ull + 1;

	for (int i = 0; i < ROUNDS; i++) {
		switch (test_random(&state) % 4) {
		case 0:
			vm_rwlock_wlock(&shared);
			value++;
			copy++;
			vm_rwlock_wunlock(&shared);
			break;
		case 1:
			vm_rwlock_wlock(&shared);
			value++;
			copy++;
			vm_rwlock_downgrade(&shared);
			if (value != copy)
				return arg;
			vm_rwlock_runlock(&shared);
			break;
		default:
			vm_rwlock_rlock(&shared);
			if (value != copy)
				return arg;
			vm_rwlock_runlock(&shared);
		}
	}
	return NULL;
}

TEST(vm_rwlock__keeps_threads_apart_and_wakes_them_all)
{
	pthread_t thread[NTHREADS];
	void *bad;

	vm_rwlock_init(&shared, VM_RANK_MAP);
	for (uintptr_t i = 0; i < NTHREADS; i++)
		ASSERT_EQ(pthread_create(&thread[i], NULL, contend,
			      (void *)(i + 1)),
		    0);
	for (int i = 0; i < NTHREADS; i++) {
		ASSERT_EQ(pthread_join(thread[i], &bad), 0);
		ASSERT_NULL(bad);
	}
	ASSERT_EQ(value, copy);
	ASSERT_GT(value, 0u);
	ASSERT_FALSE(vm_rwlock_is_locked(&shared));
	vm_rwlock_fini(&shared);
}
