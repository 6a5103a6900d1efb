/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Objects and accounts of the naive model, and how a call is undone.
 *
 * All objects stand in one list.  Undoing copies the contents of every object
 * and account aside, and copies them back; an object freed meanwhile only
 * dies at the commit.
 */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/model_int.h"

static struct model_object *objects;
static struct model_account *accounts;

/*
 * Kept from call to call.  As large from the start as most programs need:
 * engines mistrust a target that does something else when it runs again.
 */
#define KEEP_FIRST ((size_t)32 << 10)
struct keep {
	union {
		char bytes[KEEP_FIRST];
		max_align_t align;
	} first;
	void *p; /* NULL: `first` is large enough */
	size_t bytes;
};

/* What model_begin() put aside. */
static struct {
	bool active;
	struct model_map *map;
	struct model_map map_copy; /* its entries are in keep_entries */
	struct model_object **object;
	struct model_object *object_copy;
	size_t nobjects;
	struct model_account **account;
	struct model_account *account_copy;
	size_t naccounts;
	struct model_object **deferred;
	size_t ndeferred;
	struct keep keep_entries, keep_object, keep_object_copy, keep_account,
	    keep_account_copy, keep_deferred;
} undo;

void
model_panic(const char *file, int line, const char *text)
{
	fprintf(stderr, "%s:%d: the model is wrong: %s\n", file, line, text);
	abort();
}

void *
model_alloc(size_t n, size_t size)
{
	void *p;

	p = calloc(n > 0 ? n : 1, size);
	if (p == NULL)
		model_panic(__FILE__, __LINE__, "out of memory");
	return p;
}

/* Accounts */

struct model_account *
model_account_new(void)
{
	struct model_account *account;

	account = model_alloc(1, sizeof(*account));
	account->refs = 1;
	account->next = accounts;
	accounts = account;
	return account;
}

void
model_account_drop(struct model_account *account)
{
	MODEL_CHECK(account->refs > 0);
	account->refs--;
}

bool
model_reserve(struct model_account *account, vm_size_t size)
{
	if (account->reserved > UINT64_MAX - size)
		return false; /* no number holds the sum */
	if ((account->overcommit & 1) != 0 && account->limit != 0 &&
	    (size > account->limit ||
		account->reserved > account->limit - size))
		return false;
	model_reserve_force(account, size);
	return true;
}

void
model_reserve_force(struct model_account *account, vm_size_t size)
{
	account->reserved += size;
}

void
model_release(struct model_account *account, vm_size_t size)
{
	MODEL_CHECK(account->reserved >= size);
	account->reserved -= size;
}

/* Free the accounts and objects that nothing needs any more. */
static void
sweep(void)
{
	struct model_object **op, *object;
	struct model_account **ap, *account;

	for (op = &objects; (object = *op) != NULL;) {
		if (object->dead) {
			*op = object->next;
			free(object);
		} else
			op = &object->next;
	}
	for (ap = &accounts; (account = *ap) != NULL;) {
		if (account->refs == 0) {
			*ap = account->next;
			free(account);
		} else
			ap = &account->next;
	}
}

/* Undo */

/* At least n * size bytes; what was in the first of them stays. */
static void *
keep_room(struct keep *keep, size_t n, size_t size)
{
	size_t bytes = n * size;
	void *old = keep->p;

	if (old == NULL && bytes <= KEEP_FIRST)
		return keep->first.bytes;
	if (bytes > keep->bytes) {
		keep->bytes = 2 * bytes;
		keep->p = realloc(old, keep->bytes);
		MODEL_CHECK(keep->p != NULL);
		if (old == NULL)
			memcpy(keep->p, keep->first.bytes, KEEP_FIRST);
	}
	return keep->p;
}

void
model_begin(struct model_map *map)
{
	struct model_object *object;
	struct model_account *account;
	size_t i;

	MODEL_CHECK(!undo.active);
	undo.active = true;
	undo.map = map;
	undo.map_copy = *map;
	undo.map_copy.entries =
	    keep_room(&undo.keep_entries, map->n, sizeof(*map->entries));
	if (map->n > 0)
		memcpy(undo.map_copy.entries, map->entries,
		    map->n * sizeof(*map->entries));

	undo.nobjects = undo.naccounts = 0;
	for (object = objects; object != NULL; object = object->next)
		undo.nobjects++;
	for (account = accounts; account != NULL; account = account->next)
		undo.naccounts++;
	undo.object = keep_room(&undo.keep_object, undo.nobjects,
	    sizeof(struct model_object *));
	undo.object_copy = keep_room(&undo.keep_object_copy, undo.nobjects,
	    sizeof(struct model_object));
	undo.account = keep_room(&undo.keep_account, undo.naccounts,
	    sizeof(struct model_account *));
	undo.account_copy = keep_room(&undo.keep_account_copy, undo.naccounts,
	    sizeof(struct model_account));
	for (i = 0, object = objects; object != NULL; object = object->next) {
		undo.object[i] = object;
		undo.object_copy[i++] = *object;
	}
	for (i = 0, account = accounts; account != NULL;
	     account = account->next) {
		undo.account[i] = account;
		undo.account_copy[i++] = *account;
	}
}

static void
undo_forget(void)
{
	undo.active = false;
	undo.ndeferred = 0;
	sweep();
}

void
model_defer(struct model_object *object)
{
	MODEL_CHECK(undo.active);
	if (object == NULL)
		return;
	undo.deferred = keep_room(&undo.keep_deferred, undo.ndeferred + 1,
	    sizeof(struct model_object *));
	undo.deferred[undo.ndeferred++] = object;
}

void
model_commit(void)
{
	MODEL_CHECK(undo.active);
	for (size_t i = 0; i < undo.ndeferred; i++)
		model_object_deallocate(undo.deferred[i]);
	undo_forget();
}

void
model_abort(void)
{
	struct model_object *object, *first = objects;
	struct model_account *account, *first_account = accounts;
	struct model_entry *entries = undo.map->entries;
	size_t i, room = undo.map->room;

	MODEL_CHECK(undo.active);

	/* New ones stand at the front of the lists. */
	for (object = first;
	     undo.nobjects == 0 ? object != NULL : object != undo.object[0];
	     object = object->next)
		object->dead = true;
	for (account = first_account;
	     undo.naccounts == 0 ? account != NULL : account != undo.account[0];
	     account = account->next)
		account->refs = 0;
	for (i = 0; i < undo.nobjects; i++)
		*undo.object[i] = undo.object_copy[i];
	for (i = 0; i < undo.naccounts; i++)
		*undo.account[i] = undo.account_copy[i];

	MODEL_CHECK(room >= undo.map_copy.n);
	*undo.map = undo.map_copy;
	undo.map->entries = entries;
	undo.map->room = room;
	if (undo.map_copy.n > 0)
		memcpy(entries, undo.map_copy.entries,
		    undo.map_copy.n * sizeof(*entries));
	undo_forget();
}

int
model_end(int rv)
{
	if (rv == KERN_SUCCESS)
		model_commit();
	else
		model_abort();
	return rv;
}

/* Objects */

struct model_object *
model_objects(void)
{
	return objects;
}

bool
model_object_is_anon(const struct model_object *object)
{
	return object->type == OBJT_SWAP;
}

struct model_object *
model_object_allocate(enum obj_type type, vm_size_t size)
{
	struct model_object *object;

	object = model_alloc(1, sizeof(*object));
	object->type = type;
	object->size = size;
	object->refs = 1;
	object->onemapping = type == OBJT_SWAP;
	object->colored = type == OBJT_SUPER;
	object->next = objects;
	objects = object;
	return object;
}

/* The account has been charged for `size` already. */
struct model_object *
model_object_anon(vm_size_t size, struct model_account *cred)
{
	struct model_object *object;

	object = model_object_allocate(OBJT_SWAP, size);
	if (cred != NULL)
		model_object_charge(object, cred);
	return object;
}

void
model_object_charge(struct model_object *object, struct model_account *cred)
{
	MODEL_CHECK(object->cred == NULL);
	object->cred = cred;
	cred->refs++;
}

void
model_object_reference(struct model_object *object)
{
	if (object == NULL)
		return;
	MODEL_CHECK(object->refs > 0);
	object->refs++;
}

/* The object that shadows `object`, when there is exactly one. */
static struct model_object *
sole_shadow(const struct model_object *object)
{
	struct model_object *other;

	for (other = objects; other != NULL; other = other->next)
		if (!other->dead && other->backing == object)
			return other;
	model_panic(__FILE__, __LINE__, "a counted shadow is missing");
}

static void
object_die(struct model_object *object)
{
	MODEL_CHECK(object->shadows == 0);
	object->refs = 0;
	object->dead = true;
	object->backing = NULL;
	if (object->cred != NULL) {
		model_release(object->cred, object->size);
		model_account_drop(object->cred);
		object->cred = NULL;
	}
}

static void
object_drop(struct model_object *object)
{
	struct model_object *backing;

	while (object != NULL) {
		MODEL_CHECK(object->refs > 0);
		object->refs--;
		if (object->refs > 1)
			return;
		if (object->refs == 1) {
			if (!model_object_is_anon(object))
				return;
			if (object->shadows == 0) {
				object->onemapping = true;
				return;
			}
			if (object->shadows > 1)
				return;
			/* Only its shadow holds it: pull it in. */
			object = sole_shadow(object);
			object->refs++;
			model_object_collapse(object);
			continue;
		}
		backing = object->backing;
		if (backing != NULL)
			backing->shadows--;
		object_die(object);
		object = backing;
	}
}

void
model_object_deallocate(struct model_object *object)
{
	object_drop(object);
	if (!undo.active)
		sweep();
}

/* Take over backing objects that nobody else holds. */
void
model_object_collapse(struct model_object *object)
{
	struct model_object *backing;

	while ((backing = object->backing) != NULL &&
	       model_object_is_anon(backing) && backing->refs == 1) {
		object->backing = backing->backing;
		object->backing_offset += backing->backing_offset;
		backing->shadows--;
		object_die(backing);
	}
}

void
model_object_color(struct model_object *object, vm_pindex_t color)
{
	object->colored = true;
	object->color = color;
}

/*
 * Put a new object in front of *objectp, unless nobody else can see that one.
 * The caller's reference moves to the new object's backing.
 */
void
model_object_shadow(struct model_object **objectp, vm_ooffset_t *offsetp,
    vm_size_t size, struct model_account *cred, bool shared)
{
	struct model_object *source = *objectp, *result;

	if (source != NULL && source->refs == 1 && model_object_is_anon(source))
		return;
	result = model_object_anon(size, cred);
	if (source != NULL) {
		result->backing = source;
		result->backing_offset = *offsetp;
		source->shadows++;
		if (source->colored) {
			result->colored = true;
			result->color = source->color;
		}
	}
	if (shared) {
		result->refs++;
		result->onemapping = false;
	}
	*objectp = result;
	*offsetp = 0;
}

/*
 * May `next_size` bytes more follow the part [offset, offset + prev_size) of
 * the object?  If so they are added.  `reserved`: the caller has reserved them
 * and will let the object pay.
 */
bool
model_object_coalesce(struct model_object *object, vm_ooffset_t offset,
    vm_size_t prev_size, vm_size_t next_size, bool reserved)
{
	vm_size_t used = offset + prev_size, growth, paid;

	if (object == NULL)
		return true;
	if (offset > UINT64_MAX - prev_size || used > UINT64_MAX - next_size)
		return false;
	if (!model_object_is_anon(object))
		return false;
	model_object_collapse(object);
	if (object->backing != NULL)
		return false;
	if (object->refs > 1 && object->size != used && !object->onemapping)
		return false;
	growth = used + next_size > object->size
		     ? used + next_size - object->size
		     : 0;
	if (object->cred != NULL) {
		paid = reserved ? next_size : 0;
		/* More, if the entry in front shows what is not there. */
		if (growth > paid &&
		    !model_reserve(object->cred, growth - paid))
			return false;
		if (paid > growth)
			model_release(object->cred, paid - growth);
	}
	object->size += growth;
	return true;
}

void
model_object_bind(struct model_object *object, vm_object_t real)
{
	object->real = real;
}

vm_object_t
model_object_real(const struct model_object *object)
{
	return object->real;
}

unsigned
model_object_refs(const struct model_object *object)
{
	return object->refs;
}

vm_size_t
model_object_size(const struct model_object *object)
{
	return object->size;
}

void
model_reset(void)
{
	struct model_object *object;
	struct model_account *account;

	if (undo.active)
		undo_forget();
	for (object = objects; object != NULL; object = object->next)
		object->dead = true;
	for (account = accounts; account != NULL; account = account->next)
		account->refs = 0;
	sweep();
}
