/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The object inside.
 *
 * Lock legend: (c) constant after creation, (g) the one lock of all objects,
 * (a) stored under it but atomic, so that it can be read without.
 * Shadow chains tie objects of different maps together, and what is done
 * under the lock is a few pointers: one lock is simpler than an order among
 * many, and costs less.
 */

#include "core/vm_account_int.h"
#include "core/vm_object.h"
#include "core/vm_page_int.h"
#include "core/vm_param.h"

#define OBJ_ANON       0x0001 /* nothing but zeroes was ever behind it */
#define OBJ_ONEMAPPING 0x0002 /* each page is shown by one entry at most */
#define OBJ_COLORED    0x0004 /* `color` means something */

struct vm_object {
	const struct arch *arch; /* (c) where its memory is from */
	vm_size_t pagesize;      /* (c) bytes */
	enum obj_type type;      /* (c) */
	unsigned refs;           /* (g) */
	uint32_t flags;          /* (g) OBJ_* */
	vm_pindex_t size;        /* (g) pages */
	vm_pindex_t color;       /* (g) pages */
	struct vm_account *cred; /* (g), (a) one reference; NULL: not charged */
	vm_size_t charge;        /* (g) bytes that cred holds for it */
	vm_object_t backing;     /* (g) what it shadows; one reference */
	vm_ooffset_t backing_offset; /* (g) bytes */
	vm_object_t shadow_first;    /* (g) an object that shadows it */
	vm_object_t shadow_next;     /* (g) another one of the same backing */
	unsigned nshadows;           /* (g) length of the list */
	struct vm_pages pages;  /* (g) its own; none where there is a handle */
	vm_object_t spare_next; /* on a list of blank or dead objects */
	void *handle;           /* (g) */
	void (*release)(void *handle); /* (g) */
};

/* `n` references more, by somebody who has one.  NULL is fine. */
void vm_object_reference_many(vm_object_t object, unsigned n);

/* The lock of all objects, for those who walk chains. */
void vm_objects_lock(void);
void vm_objects_unlock(void);

/*
 * MADV_FREE: give back the pages that an entry shows, if nobody else could
 * tell: nothing is behind them, and nobody else shows them.
 */
void vm_object_discard(vm_object_t object, vm_ooffset_t offset, vm_size_t size);

/*
 * Blank objects, set aside for a commit that may need `n` of them.
 * KERN_RESOURCE_SHORTAGE: none is added.
 */
int vm_object_spare_add(const struct arch *arch, unsigned n,
    vm_object_t *sparep);
void vm_object_spare_free(vm_object_t *sparep);

static inline void
vm_object_spare_fini(vm_object_t *sparep)
{
	if (*sparep != NULL)
		vm_object_spare_free(sparep);
}

/*
 * One blank object more, at the end *tailp of a list, that already has copies
 * of the pages that `size` bytes at `offset` of an object show.
 * KERN_RESOURCE_SHORTAGE: none is added.
 */
int vm_object_spare_copy(const struct arch *arch, vm_object_t object,
    vm_ooffset_t offset, vm_size_t size, struct vm_pager *pager,
    vm_object_t **tailp);

/* Make an anonymous, zero-filled object of `size` bytes out of a blank one. */
vm_object_t vm_object_spare_take(vm_object_t *sparep, vm_size_t size);

/*
 * Put a new object in front of *objectp, for `size` bytes at *offsetp; the
 * caller's reference becomes the new object's.  Nothing is done where nobody
 * else can see *objectp anyway: false.
 */
bool vm_object_shadow(vm_object_t *objectp, vm_ooffset_t *offsetp,
    vm_size_t size, vm_object_t *sparep);

/* Take over what backs it, as far as nobody else has it. */
void vm_object_collapse(vm_object_t object, vm_object_t *deadp);

/*
 * The part [*offsetp, + size) of an object that is shown once becomes an
 * object of its own; the caller's reference moves to it.
 */
void vm_object_split(vm_object_t *objectp, vm_ooffset_t *offsetp,
    vm_size_t size, vm_object_t *sparep, vm_object_t *deadp);

/* It is shown more than once from now on. */
void vm_object_clear_onemapping(vm_object_t object);
bool vm_object_is_onemapping(vm_object_t object);
bool vm_object_is_anon(vm_object_t object);

/* Anonymous, and nobody has it but the caller: a copy would be pointless. */
bool vm_object_is_sole(vm_object_t object);

/* What vm_object_coalesce() is asked. */
struct vm_coalesce {
	vm_ooffset_t offset; /* where the entry in front begins, bytes */
	vm_size_t prev_size; /* what it shows, bytes */
	vm_size_t next_size; /* what shall follow, bytes */
	bool charged;        /* the caller has reserved next_size */
};

/*
 * Charge `bytes` that are already reserved in `account` to the object, which
 * has no charge yet.
 */
void vm_object_set_charge(vm_object_t object, struct vm_account *account,
    vm_size_t bytes);

/* The same, unless another map was quicker: false, and nothing is charged. */
bool vm_object_try_charge(vm_object_t object, struct vm_account *account,
    vm_size_t bytes);

/* Take the charge off again without releasing it in the account. */
void vm_object_clear_charge(vm_object_t object);

/* The account that pays for it, or NULL. */
struct vm_account *vm_object_cred(vm_object_t object);

/* An entry is about to show it, perhaps beside another. */
void vm_object_mapped(vm_object_t object);

/* An entry stops showing `size` bytes from `offset` on; it is still counted. */
void vm_object_unmapped(vm_object_t object, vm_ooffset_t offset, vm_size_t size,
    vm_object_t *deadp);

/*
 * Bytes of `account` that vm_object_unmapped() would release.  `shared`: by
 * then somebody else holds a reference as well.
 */
vm_size_t vm_object_truncation(vm_object_t object,
    const struct vm_account *account, vm_ooffset_t offset, vm_size_t size,
    bool shared);

/*
 * Extend the object behind what one entry shows of it.  Its account
 * pays for growth.  false: it cannot be extended (not beyond 2^64 either), and
 * is as it was.
 */
bool vm_object_coalesce(vm_object_t object, const struct vm_coalesce *how,
    vm_object_t *deadp);

/*
 * Drop a reference without calling anybody: if it was the last, the object
 * and what dies with it go on the list, for vm_object_bury().
 */
void vm_object_drop(vm_object_t object, vm_object_t *deadp);
/* The same for `n` references. */
void vm_object_drop_many(vm_object_t object, unsigned n, vm_object_t *deadp);
/* The same between vm_objects_lock() and vm_objects_unlock(). */
void vm_object_drop_locked(vm_object_t object, vm_object_t *deadp);
void vm_object_bury(vm_object_t dead);

/* What address is congruent to it at `offset`: bytes, to be taken modulo. */
vm_offset_t vm_object_phase(vm_object_t object, vm_ooffset_t offset);
bool vm_object_is_colored(vm_object_t object);

/* NULL, or the tag and text of what is wrong with the chain from here on. */
const char *vm_object_check(vm_object_t object);
