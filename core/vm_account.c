/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/kassert.h"
#include "core/uma.h"
#include "core/vm_object_int.h"

struct vm_account *
vm_account_create(const struct arch *arch)
{
	struct vm_account *account = uma_malloc(arch, sizeof(*account));

	if (account == NULL)
		return NULL;
	account->arch = arch;
	account->refs = 1;
	account->reserved = 0;
	account->limit = UINT64_MAX;
	return account;
}

void
vm_account_ref(struct vm_account *account)
{
	MPASS(__atomic_load_n(&account->refs, __ATOMIC_RELAXED) > 0);

	__atomic_fetch_add(&account->refs, 1, __ATOMIC_RELAXED);
}

void
vm_account_unref(struct vm_account *account)
{
	if (account == NULL)
		return;
	MPASS(__atomic_load_n(&account->refs, __ATOMIC_RELAXED) > 0);

	if (__atomic_sub_fetch(&account->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	KASSERT(account->reserved == 0, "an account dies with charges");
	uma_free(account->arch, account, sizeof(*account));
}

void
vm_account_set_limit(struct vm_account *account, vm_size_t limit)
{
	MPASS(__atomic_load_n(&account->refs, __ATOMIC_RELAXED) > 0);

	__atomic_store_n(&account->limit, limit, __ATOMIC_RELAXED);
}

bool
vm_account_reserve(struct vm_account *account, vm_size_t bytes)
{
	vm_size_t limit = __atomic_load_n(&account->limit, __ATOMIC_RELAXED);
	vm_size_t old = __atomic_load_n(&account->reserved, __ATOMIC_RELAXED);

	MPASS(__atomic_load_n(&account->refs, __ATOMIC_RELAXED) > 0);

	do {
		if (bytes > limit || old > limit - bytes)
			return false;
	} while (!__atomic_compare_exchange_n(&account->reserved, &old,
	    old + bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

void
vm_account_charge(struct vm_account *account, vm_size_t bytes)
{
	MPASS(__atomic_load_n(&account->refs, __ATOMIC_RELAXED) > 0);

	__atomic_fetch_add(&account->reserved, bytes, __ATOMIC_RELAXED);
}

void
vm_account_release(struct vm_account *account, vm_size_t bytes)
{
	vm_size_t old;

	old = __atomic_fetch_sub(&account->reserved, bytes, __ATOMIC_RELAXED);
	KASSERT(old >= bytes, "more swap released than was reserved");
	(void)old;
}

vm_size_t
vm_account_reserved(const struct vm_account *account)
{
	return __atomic_load_n(&account->reserved, __ATOMIC_RELAXED);
}
