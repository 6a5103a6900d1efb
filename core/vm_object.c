/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/kassert.h"
#include "core/uma.h"
#include "core/vm_object_int.h"

static vm_object_t
object_create(const struct arch *arch, enum obj_type type, vm_size_t size,
    uint32_t flags)
{
	vm_object_t object;
	vm_size_t pagesize = arch->machine->page_size;

	MPASS((size & (pagesize - 1)) == 0);

	object = uma_malloc(arch, sizeof(*object));
	if (object == NULL)
		return NULL;
	*object = (struct vm_object){
	    .arch = arch,
	    .pagesize = pagesize,
	    .type = type,
	    .refs = 1,
	    .flags = flags,
	    .size = size / pagesize,
	};
	vm_mutex_init(&object->lock, VM_RANK_OBJECT);
	return object;
}

vm_object_t
vm_object_allocate(pmap_t pmap, enum obj_type type, vm_size_t size)
{
	uint32_t flags = type == OBJT_SWAP ? OBJ_ANON | OBJ_ONEMAPPING : 0;

	MPASS(type == OBJT_SWAP || type == OBJT_SUPER || type == OBJT_SG);
	KASSERT(type != OBJT_SUPER || pmap->arch->machine->nsuper > 0,
	    "a machine without superpages");

	/* Superpages begin at page 0 of the object until told otherwise. */
	if (type == OBJT_SUPER)
		flags |= OBJ_COLORED;
	return object_create(pmap->arch, type, size, flags);
}

vm_object_t
vm_object_allocate_anon(const struct arch *arch, vm_size_t size)
{
	return object_create(arch, OBJT_SWAP, size, OBJ_ANON | OBJ_ONEMAPPING);
}

void
vm_object_reference(vm_object_t object)
{
	if (object == NULL)
		return;
	vm_mutex_lock(&object->lock);
	MPASS(object->refs > 0);
	object->refs++;
	vm_mutex_unlock(&object->lock);
}

/* The last reference is gone: nobody else can see the object any more. */
static void
object_settle(vm_object_t object)
{
	MPASS(object->refs == 0 && object->nshadows == 0);

	if (object->cred != NULL) {
		vm_account_release(object->cred, object->charge);
		vm_account_unref(object->cred);
		object->cred = NULL;
	}
}

void
vm_object_drop(vm_object_t object, vm_object_t *deadp)
{
	vm_object_t backing;

	for (; object != NULL; object = backing) {
		vm_mutex_lock(&object->lock);
		MPASS(object->refs > 0);
		if (--object->refs > 0) {
			if (object->refs == 1 && object->nshadows == 0 &&
			    (object->flags & OBJ_ANON) != 0)
				object->flags |= OBJ_ONEMAPPING;
			vm_mutex_unlock(&object->lock);
			return;
		}
		vm_mutex_unlock(&object->lock);

		backing = object->backing;
		object->backing = NULL;
		if (backing != NULL) {
			vm_mutex_lock(&backing->lock);
			backing->nshadows--;
			vm_mutex_unlock(&backing->lock);
		}
		object_settle(object);
		object->dead_next = *deadp;
		*deadp = object;
	}
}

void
vm_object_bury(vm_object_t dead)
{
	vm_object_t object;

	while ((object = dead) != NULL) {
		MPASS(object->refs == 0);
		dead = object->dead_next;
		if (object->release != NULL)
			object->release(object->handle);
		vm_mutex_fini(&object->lock);
		uma_free(object->arch, object, sizeof(*object));
	}
}

void
vm_object_deallocate(vm_object_t object)
{
	vm_object_t dead = NULL;

	vm_object_drop(object, &dead);
	vm_object_bury(dead);
}

void
vm_object_set_handle(vm_object_t object, void *handle,
    void (*release)(void *handle))
{
	vm_mutex_lock(&object->lock);
	KASSERT(object->release == NULL, "an object has one backing");
	object->handle = handle;
	object->release = release;
	/* Its size is that of what backs it: the map must not extend it. */
	object->flags &= ~(uint32_t)(OBJ_ANON | OBJ_ONEMAPPING);
	vm_mutex_unlock(&object->lock);
}

void *
vm_object_handle(vm_object_t object)
{
	return object->handle;
}

void
vm_object_color(vm_object_t object, vm_pindex_t color)
{
	vm_mutex_lock(&object->lock);
	object->color = color;
	object->flags |= OBJ_COLORED;
	vm_mutex_unlock(&object->lock);
}

bool
vm_object_is_colored(vm_object_t object)
{
	return object != NULL && (object->flags & OBJ_COLORED) != 0;
}

vm_offset_t
vm_object_phase(vm_object_t object, vm_ooffset_t offset)
{
	if (!vm_object_is_colored(object))
		return offset;
	return offset + object->color * object->pagesize;
}

enum obj_type
vm_object_type(vm_object_t object)
{
	return object->type;
}

vm_size_t
vm_object_size(vm_object_t object)
{
	vm_size_t size;

	vm_mutex_lock(&object->lock);
	size = object->size * object->pagesize;
	vm_mutex_unlock(&object->lock);
	return size;
}

unsigned
vm_object_refs(vm_object_t object)
{
	unsigned refs;

	vm_mutex_lock(&object->lock);
	refs = object->refs;
	vm_mutex_unlock(&object->lock);
	return refs;
}

vm_object_t
vm_object_backing(vm_object_t object)
{
	return object->backing;
}

void
vm_object_set_charge(vm_object_t object, struct vm_account *account,
    vm_size_t bytes)
{
	vm_mutex_lock(&object->lock);
	KASSERT(object->cred == NULL, "an object is charged once");
	vm_account_ref(account);
	object->cred = account;
	object->charge = bytes;
	vm_mutex_unlock(&object->lock);
}

void
vm_object_clear_charge(vm_object_t object)
{
	vm_mutex_lock(&object->lock);
	MPASS(object->cred != NULL);
	vm_account_unref(object->cred);
	object->cred = NULL;
	object->charge = 0;
	vm_mutex_unlock(&object->lock);
}

struct vm_account *
vm_object_cred(vm_object_t object)
{
	return object == NULL ? NULL : object->cred;
}

void
vm_object_mapped(vm_object_t object)
{
	vm_mutex_lock(&object->lock);
	MPASS(object->refs > 0);
	if ((object->flags & OBJ_ANON) != 0 &&
	    (object->refs > 1 || object->nshadows > 0))
		object->flags &= ~(uint32_t)OBJ_ONEMAPPING;
	vm_mutex_unlock(&object->lock);
}

/* Cut the object to `size` pages and give back the charge of the rest. */
static void
object_truncate(vm_object_t object, vm_pindex_t size)
{
	vm_size_t bytes;

	MPASS(size < object->size);

	bytes = MIN((object->size - size) * object->pagesize, object->charge);
	if (object->cred != NULL) {
		vm_account_release(object->cred, bytes);
		object->charge -= bytes;
	}
	object->size = size;
}

void
vm_object_unmapped(vm_object_t object, vm_ooffset_t offset, vm_size_t size)
{
	vm_pindex_t first = offset / object->pagesize;
	vm_pindex_t last = first + size / object->pagesize;

	vm_mutex_lock(&object->lock);
	MPASS(object->refs > 0);
	if ((object->flags & OBJ_ANON) != 0 && object->refs != 1 &&
	    (object->flags & OBJ_ONEMAPPING) != 0 && last >= object->size &&
	    first < object->size)
		object_truncate(object, first);
	vm_mutex_unlock(&object->lock);
}

static bool
object_can_extend(vm_object_t object, vm_pindex_t end)
{
	if ((object->flags & OBJ_ANON) == 0 || object->backing != NULL)
		return false;
	return object->refs == 1 || object->size == end ||
	       (object->flags & OBJ_ONEMAPPING) != 0;
}

bool
vm_object_coalesce(vm_object_t object, const struct vm_coalesce *how,
    bool (*reserve)(void *arg, struct vm_account *cred, vm_size_t bytes),
    void *arg)
{
	vm_size_t pagesize, grown, overlap;
	vm_pindex_t next, end;
	bool ok = false;

	if (object == NULL)
		return true;
	pagesize = object->pagesize;
	next = (how->offset + how->prev_size) / pagesize;
	end = next + how->next_size / pagesize;

	vm_mutex_lock(&object->lock);
	if (!object_can_extend(object, next))
		goto out;
	grown = end > object->size ? (end - object->size) * pagesize : 0;
	if (object->cred != NULL && how->chargeable) {
		if (how->charged) {
			overlap = how->next_size - MIN(grown, how->next_size);
			vm_account_release(object->cred, overlap);
			object->charge += how->next_size - overlap;
		} else {
			if (grown > 0 && !reserve(arg, object->cred, grown))
				goto out;
			object->charge += grown;
		}
	}
	object->size = MAX(object->size, end);
	ok = true;
out:
	vm_mutex_unlock(&object->lock);
	return ok;
}
