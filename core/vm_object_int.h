/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The object inside.
 *
 * Lock legend: (c) constant after creation, (o) the object's lock.  A shadow
 * is locked before what it shadows.
 */

#include "core/lock.h"
#include "core/vm_account_int.h"
#include "core/vm_object.h"
#include "core/vm_param.h"

#define OBJ_ANON       0x0001 /* nothing but zeroes was ever behind it */
#define OBJ_ONEMAPPING 0x0002 /* each page is shown by one entry at most */
#define OBJ_COLORED    0x0004 /* `color` means something */

struct vm_object {
	struct vm_mutex lock;        /* rank VM_RANK_OBJECT */
	const struct arch *arch;     /* (c) where its memory is from */
	vm_size_t pagesize;          /* (c) bytes */
	enum obj_type type;          /* (c) */
	unsigned refs;               /* (o) */
	uint32_t flags;              /* (o) OBJ_* */
	vm_pindex_t size;            /* (o) pages */
	vm_pindex_t color;           /* (o) pages */
	struct vm_account *cred;     /* (o) one reference; NULL: not charged */
	vm_size_t charge;            /* (o) bytes that cred holds for it */
	vm_object_t backing;         /* (o) what it shadows; one reference */
	vm_ooffset_t backing_offset; /* (o) bytes */
	unsigned nshadows;           /* (o) objects that shadow it */
	vm_object_t dead_next;       /* on a list of objects nobody has */
	void *handle;                /* (o) */
	void (*release)(void *handle); /* (o) */
};

/* What vm_object_coalesce() is asked. */
struct vm_coalesce {
	vm_ooffset_t offset; /* where the entry in front begins, bytes */
	vm_size_t prev_size; /* what it shows, bytes */
	vm_size_t next_size; /* what shall follow, bytes */
	bool chargeable;     /* the new range may be charged at all */
	bool charged;        /* the caller has reserved next_size */
};

/* Anonymous, zero filled; no charge.  NULL: no memory. */
vm_object_t vm_object_allocate_anon(const struct arch *arch, vm_size_t size);

/*
 * Charge `bytes` that are already reserved in `account` to the object, which
 * has no charge yet.
 */
void vm_object_set_charge(vm_object_t object, struct vm_account *account,
    vm_size_t bytes);

/* Take the charge off again without releasing it in the account. */
void vm_object_clear_charge(vm_object_t object);

/* The account that pays for it, or NULL. */
struct vm_account *vm_object_cred(vm_object_t object);

/* An entry is about to show it, perhaps beside another. */
void vm_object_mapped(vm_object_t object);

/* An entry stops showing `size` bytes from `offset` on; it is still counted. */
void vm_object_unmapped(vm_object_t object, vm_ooffset_t offset,
    vm_size_t size);

/*
 * Extend the object behind what one entry shows of it.  `reserve` is asked
 * for bytes if growth has to be paid for.  false: it cannot be extended, and
 * is as it was.
 */
bool vm_object_coalesce(vm_object_t object, const struct vm_coalesce *how,
    bool (*reserve)(void *arg, struct vm_account *cred, vm_size_t bytes),
    void *arg);

/*
 * Drop a reference without calling anybody: if it was the last, the object
 * and what dies with it go on the list, for vm_object_bury().
 */
void vm_object_drop(vm_object_t object, vm_object_t *deadp);
void vm_object_bury(vm_object_t dead);

/* What address is congruent to it at `offset`: bytes, to be taken modulo. */
vm_offset_t vm_object_phase(vm_object_t object, vm_ooffset_t offset);
bool vm_object_is_colored(vm_object_t object);
