/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Swap accounts: who pays for writable private memory.
 *
 * Each map has one; an object that is charged holds a reference to the account
 * that pays for it, because it may outlive the map.  All calls are atomic.
 */

#include "core/vm.h"

struct arch;

struct vm_account {
	const struct arch *arch; /* where its own memory is from */
	unsigned refs;
	vm_size_t reserved; /* bytes */
	vm_size_t limit;    /* bytes that reserving may reach */
};

struct vm_account *vm_account_create(const struct arch *arch);
void vm_account_ref(struct vm_account *account);
void vm_account_unref(struct vm_account *account); /* NULL is fine */

/* What reserving may reach; UINT64_MAX: anything.  More may be reserved. */
void vm_account_set_limit(struct vm_account *account, vm_size_t limit);

/* Reserve if the total stays within the limit. */
bool vm_account_reserve(struct vm_account *account, vm_size_t bytes);

/* Reserve whatever the total; give back. */
void vm_account_charge(struct vm_account *account, vm_size_t bytes);
void vm_account_release(struct vm_account *account, vm_size_t bytes);

vm_size_t vm_account_reserved(const struct vm_account *account);
