/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Objects: references, shadow chains, charges.
 *
 *	entry -> object -> backing -> backing's backing
 *	         (a shadow: its pages hide those behind it)
 *
 * An object is dead when the last reference goes; then its reference to what
 * backs it goes too.  When the last reference but one goes, and that one is a
 * shadow's, nobody needs the border between the two: the shadow takes over
 * what it shadows.
 */

#include "core/kassert.h"
#include "core/lock.h"
#include "core/uma.h"
#include "core/vm_object_int.h"

static struct vm_rwlock object_lock = VM_RWLOCK_INIT(VM_RANK_OBJECT);

VM_TSA(acquire_capability(object_lock))
VM_TSA(no_thread_safety_analysis)
static inline void
objects_lock(void)
{
	vm_rwlock_begin(&object_lock);
	vm_rwlock_wlock(&object_lock);
}

VM_TSA(release_capability(object_lock))
VM_TSA(no_thread_safety_analysis)
static inline void
objects_unlock(void)
{
	vm_rwlock_wunlock(&object_lock);
	vm_rwlock_end(&object_lock);
}

VM_TSA(no_thread_safety_analysis) void vm_objects_lock(void)
{
	objects_lock();
}

VM_TSA(no_thread_safety_analysis) void vm_objects_unlock(void)
{
	objects_unlock();
}

/* Under the lock; but vm_object_cred() reads without. */
static void
set_cred(vm_object_t object, struct vm_account *cred)
{
	__atomic_store_n(&object->cred, cred, __ATOMIC_RELEASE);
}

/* Life. */

static void
object_init(vm_object_t object, const struct arch *arch, enum obj_type type,
    vm_size_t size, uint32_t flags)
{
	vm_size_t pagesize = arch->machine->page_size;

	MPASS((size & (pagesize - 1)) == 0);

	*object = (struct vm_object){
	    .arch = arch,
	    .pagesize = pagesize,
	    .type = type,
	    .refs = 1,
	    .flags = flags,
	    .size = size / pagesize,
	};
}

vm_object_t
vm_object_allocate(pmap_t pmap, enum obj_type type, vm_size_t size)
{
	uint32_t flags = type == OBJT_SWAP ? OBJ_ANON | OBJ_ONEMAPPING : 0;
	vm_object_t object;

	MPASS(type == OBJT_SWAP || type == OBJT_SUPER || type == OBJT_SG);
	KASSERT(type != OBJT_SUPER || pmap->arch->machine->nsuper > 0,
	    "a machine without superpages");

	object = uma_malloc(pmap->arch, sizeof(*object));
	if (object == NULL)
		return NULL;
	/* Superpages begin at page 0 of the object until told otherwise. */
	if (type == OBJT_SUPER)
		flags |= OBJ_COLORED;
	object_init(object, pmap->arch, type, size, flags);
	return object;
}

int
vm_object_spare_add(const struct arch *arch, unsigned n, vm_object_t *sparep)
{
	vm_object_t object, added = NULL;

	while (n-- > 0) {
		object = uma_malloc(arch, sizeof(*object));
		if (object == NULL) {
			vm_object_spare_fini(&added);
			return KERN_RESOURCE_SHORTAGE;
		}
		object_init(object, arch, OBJT_SWAP, 0,
		    OBJ_ANON | OBJ_ONEMAPPING);
		object->spare_next = added;
		added = object;
	}
	while ((object = added) != NULL) {
		added = object->spare_next;
		object->spare_next = *sparep;
		*sparep = object;
	}
	return KERN_SUCCESS;
}

void
vm_object_spare_free(vm_object_t *sparep)
{
	vm_object_t object;

	while ((object = *sparep) != NULL) {
		*sparep = object->spare_next;
		MPASS(object->refs == 1 && object->size == 0);
		vm_pages_free(&object->pages);
		uma_free(object->arch, object, sizeof(*object));
	}
}

vm_object_t
vm_object_spare_take(vm_object_t *sparep, vm_size_t size)
{
	vm_object_t object = *sparep;

	KASSERT(object != NULL, "no object was set aside");

	*sparep = object->spare_next;
	object->spare_next = NULL;
	object->size = size / object->pagesize;
	return object;
}

/* Chains. */

static void
chain_attach(vm_object_t object, vm_object_t backing, vm_ooffset_t offset)
{
	MPASS(object->backing == NULL && backing->refs > 0);

	object->backing = backing;
	object->backing_offset = offset;
	object->shadow_next = backing->shadow_first;
	backing->shadow_first = object;
	backing->nshadows++;
}

static vm_object_t
chain_detach(vm_object_t object)
{
	vm_object_t backing = object->backing, *p;

	if (backing == NULL)
		return NULL;
	for (p = &backing->shadow_first; *p != object; p = &(*p)->shadow_next)
		MPASS(*p != NULL);
	*p = object->shadow_next;
	object->shadow_next = NULL;
	object->backing = NULL;
	backing->nshadows--;
	return backing;
}

/* Give back the pages of [first, last). */
static void
object_discard(vm_object_t object, vm_pindex_t first, vm_pindex_t last)
{
	struct vm_pages gone;

	MPASS(first <= last);

	if (object->pages.count == 0)
		return;
	vm_pages_extract(&object->pages, first, last, &gone);
	vm_pages_free(&gone);
}

static void
object_uncharge(vm_object_t object)
{
	MPASS(object->cred != NULL || object->charge == 0);

	if (object->cred == NULL)
		return;
	vm_account_release(object->cred, object->charge);
	vm_account_unref(object->cred);
	set_cred(object, NULL);
	object->charge = 0;
}

/* Nobody has it any more: onto the list with it. */
static void
object_die(vm_object_t object, vm_object_t *deadp)
{
	MPASS(object->refs == 0 && object->nshadows == 0);
	MPASS(object->backing == NULL);

	vm_pages_free(&object->pages);
	object_uncharge(object);
	object->spare_next = *deadp;
	*deadp = object;
}

static void
collapse_locked(vm_object_t object, vm_object_t *deadp)
{
	vm_object_t backing, next;
	vm_ooffset_t offset;

	while ((backing = object->backing) != NULL &&
	       (backing->flags & OBJ_ANON) != 0 && backing->refs == 1) {
		MPASS(backing->nshadows == 1);
		offset = object->backing_offset + backing->backing_offset;
		vm_pages_move(&backing->pages,
		    object->backing_offset / object->pagesize, object->size,
		    &object->pages);
		(void)chain_detach(object);
		next = chain_detach(backing);
		if (next != NULL)
			chain_attach(object, next, offset);
		backing->refs = 0;
		object_die(backing, deadp);
	}
}

void
vm_object_collapse(vm_object_t object, vm_object_t *deadp)
{
	objects_lock();
	collapse_locked(object, deadp);
	objects_unlock();
}

/* One reference less, and what follows from it. */
static void
drop_locked(vm_object_t object, vm_object_t *deadp)
{
	vm_object_t backing;

	while (object != NULL) {
		MPASS(object->refs > 0);
		if (--object->refs == 0) {
			backing = chain_detach(object);
			object_die(object, deadp);
			object = backing;
			continue;
		}
		if (object->refs > 1 || (object->flags & OBJ_ANON) == 0)
			return;
		if (object->nshadows == 0)
			object->flags |= OBJ_ONEMAPPING;
		else
			collapse_locked(object->shadow_first, deadp);
		return;
	}
}

void
vm_object_drop(vm_object_t object, vm_object_t *deadp)
{
	objects_lock();
	drop_locked(object, deadp);
	objects_unlock();
}

void
vm_object_drop_many(vm_object_t object, unsigned n, vm_object_t *deadp)
{
	objects_lock();
	while (n-- > 0)
		drop_locked(object, deadp);
	objects_unlock();
}

void
vm_object_drop_locked(vm_object_t object, vm_object_t *deadp)
{
	drop_locked(object, deadp);
}

void
vm_object_bury(vm_object_t dead)
{
	vm_object_t object;

	while ((object = dead) != NULL) {
		MPASS(object->refs == 0 && object->cred == NULL);
		dead = object->spare_next;
		if (object->release != NULL)
			object->release(object->handle);
		uma_free(object->arch, object, sizeof(*object));
	}
}

void
vm_object_reference_many(vm_object_t object, unsigned n)
{
	if (object == NULL)
		return;
	objects_lock();
	MPASS(object->refs > 0);
	object->refs += n;
	objects_unlock();
}

void
vm_object_reference(vm_object_t object)
{
	vm_object_reference_many(object, 1);
}

void
vm_object_deallocate(vm_object_t object)
{
	vm_object_t dead = NULL;

	vm_object_drop(object, &dead);
	vm_object_bury(dead);
}

static bool
object_has(vm_object_t object, uint32_t flag)
{
	bool has;

	objects_lock();
	has = (object->flags & flag) != 0;
	objects_unlock();
	return has;
}

bool
vm_object_is_sole(vm_object_t object)
{
	bool sole;

	if (object == NULL)
		return false;
	objects_lock();
	sole = (object->flags & OBJ_ANON) != 0 && object->refs == 1;
	objects_unlock();
	return sole;
}

bool
vm_object_shadow(vm_object_t *objectp, vm_ooffset_t *offsetp, vm_size_t size,
    vm_object_t *sparep)
{
	vm_object_t source = *objectp, object;

	MPASS(size > 0);

	if (vm_object_is_sole(source))
		return false;
	object = vm_object_spare_take(sparep, size);
	if (source != NULL) {
		objects_lock();
		chain_attach(object, source, *offsetp);
		if ((source->flags & OBJ_COLORED) != 0) {
			object->flags |= OBJ_COLORED;
			object->color =
			    source->color + *offsetp / source->pagesize;
		}
		objects_unlock();
	}
	*objectp = object;
	*offsetp = 0;
	return true;
}

void
vm_object_split(vm_object_t *objectp, vm_ooffset_t *offsetp, vm_size_t size,
    vm_object_t *sparep, vm_object_t *deadp)
{
	struct vm_pages moved;
	vm_object_t whole = *objectp, part, backing;

	if (vm_object_refs(whole) <= 1)
		return;
	part = vm_object_spare_take(sparep, size);
	objects_lock();
	backing = whole->backing; /* another map may have collapsed it */
	if (whole->cred != NULL) {
		vm_account_ref(whole->cred);
		set_cred(part, whole->cred);
		part->charge = size;
		vm_account_charge(part->cred, size);
	}
	vm_pages_extract(&whole->pages, *offsetp / whole->pagesize,
	    (*offsetp + size) / whole->pagesize, &moved);
	vm_pages_move(&moved, *offsetp / whole->pagesize, part->size,
	    &part->pages);
	if (backing != NULL) {
		chain_attach(part, backing, whole->backing_offset + *offsetp);
		backing->refs++;
	}
	drop_locked(whole, deadp);
	objects_unlock();
	*objectp = part;
	*offsetp = 0;
}

/* What there is to know. */

void
vm_object_set_handle(vm_object_t object, void *handle,
    void (*release)(void *handle))
{
	objects_lock();
	KASSERT(object->release == NULL, "an object has one backing");
	object->handle = handle;
	object->release = release;
	/* Its size is that of what backs it: the map must not extend it. */
	object->flags &= ~(uint32_t)(OBJ_ANON | OBJ_ONEMAPPING);
	objects_unlock();
}

void *
vm_object_handle(vm_object_t object)
{
	return object->handle;
}

void
vm_object_color(vm_object_t object, vm_pindex_t color)
{
	objects_lock();
	object->color = color;
	object->flags |= OBJ_COLORED;
	objects_unlock();
}

bool
vm_object_is_colored(vm_object_t object)
{
	return object != NULL && object_has(object, OBJ_COLORED);
}

vm_offset_t
vm_object_phase(vm_object_t object, vm_ooffset_t offset)
{
	if (object == NULL)
		return offset;
	objects_lock();
	if ((object->flags & OBJ_COLORED) != 0)
		offset += object->color * object->pagesize;
	objects_unlock();
	return offset;
}

enum obj_type
vm_object_type(vm_object_t object)
{
	return object->type;
}

vm_size_t
vm_object_size(vm_object_t object)
{
	vm_pindex_t size;

	objects_lock();
	size = object->size;
	objects_unlock();
	return size * object->pagesize;
}

unsigned
vm_object_refs(vm_object_t object)
{
	unsigned refs;

	objects_lock();
	refs = object->refs;
	objects_unlock();
	return refs;
}

vm_object_t
vm_object_backing(vm_object_t object)
{
	vm_object_t backing;

	objects_lock();
	backing = object->backing;
	objects_unlock();
	return backing;
}

bool
vm_object_is_anon(vm_object_t object)
{
	return object_has(object, OBJ_ANON);
}

bool
vm_object_is_onemapping(vm_object_t object)
{
	return object_has(object, OBJ_ONEMAPPING);
}

/* Charges. */

bool
vm_object_try_charge(vm_object_t object, struct vm_account *account,
    vm_size_t bytes)
{
	bool mine;

	objects_lock();
	mine = object->cred == NULL;
	if (mine) {
		vm_account_ref(account);
		set_cred(object, account);
		object->charge = bytes;
	}
	objects_unlock();
	return mine;
}

void
vm_object_set_charge(vm_object_t object, struct vm_account *account,
    vm_size_t bytes)
{
	objects_lock();
	KASSERT(object->cred == NULL, "an object is charged once");
	vm_account_ref(account);
	set_cred(object, account);
	object->charge = bytes;
	objects_unlock();
}

void
vm_object_clear_charge(vm_object_t object)
{
	objects_lock();
	MPASS(object->cred != NULL);
	vm_account_unref(object->cred);
	set_cred(object, NULL);
	object->charge = 0;
	objects_unlock();
}

struct vm_account *
vm_object_cred(vm_object_t object)
{
	return object != NULL ? __atomic_load_n(&object->cred, __ATOMIC_ACQUIRE)
			      : NULL;
}

/* Mappings. */

void
vm_object_mapped(vm_object_t object)
{
	objects_lock();
	MPASS(object->refs > object->nshadows); /* the caller has one, too */
	if ((object->flags & OBJ_ANON) != 0 && object->refs > 1)
		object->flags &= ~(uint32_t)OBJ_ONEMAPPING;
	objects_unlock();
}

void
vm_object_clear_onemapping(vm_object_t object)
{
	objects_lock();
	MPASS(object->refs > 0);
	object->flags &= ~(uint32_t)OBJ_ONEMAPPING;
	objects_unlock();
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
vm_object_unmapped(vm_object_t object, vm_ooffset_t offset, vm_size_t size,
    vm_object_t *deadp)
{
	vm_pindex_t first = offset / object->pagesize;
	vm_pindex_t last = first + size / object->pagesize;

	objects_lock();
	MPASS(object->refs > 0);
	if ((object->flags & OBJ_ANON) != 0 && object->refs != 1 &&
	    (object->flags & OBJ_ONEMAPPING) != 0) {
		collapse_locked(object, deadp);
		object_discard(object, first, last);
		if (last >= object->size && first < object->size)
			object_truncate(object, first);
	}
	objects_unlock();
}

/* M4: may it become longer behind `end` pages? */
vm_size_t
vm_object_truncation(vm_object_t object, const struct vm_account *account,
    vm_ooffset_t offset, vm_size_t size, bool shared)
{
	vm_pindex_t first = offset / object->pagesize;
	vm_pindex_t last = first + size / object->pagesize;
	vm_size_t bytes = 0;

	objects_lock();
	if (object->cred == account && (object->flags & OBJ_ONEMAPPING) != 0 &&
	    (object->refs != 1 || shared) && last >= object->size &&
	    first < object->size)
		bytes = (object->size - first) * object->pagesize;
	objects_unlock();
	return bytes;
}

static bool
object_can_extend(vm_object_t object, vm_pindex_t end)
{
	MPASS(object->refs > 0);

	if ((object->flags & OBJ_ANON) == 0 || object->backing != NULL)
		return false;
	return object->refs == 1 || object->size == end ||
	       (object->flags & OBJ_ONEMAPPING) != 0;
}

/*
 * A charged object pays for the growth.  What the caller has reserved for the
 * range becomes its; what it paid for already goes back.
 */
static bool
coalesce_pay(vm_object_t object, const struct vm_coalesce *how, vm_size_t grown)
{
	vm_size_t paid = how->charged ? how->next_size : 0;

	MPASS(how->next_size > 0);

	if (object->cred == NULL)
		return true;
	/* An entry may show what lies beyond the object's end: pay up to it. */
	if (grown > paid && !vm_account_reserve(object->cred, grown - paid))
		return false;
	if (paid > grown)
		vm_account_release(object->cred, paid - grown);
	object->charge += grown;
	return true;
}

bool
vm_object_coalesce(vm_object_t object, const struct vm_coalesce *how,
    vm_object_t *deadp)
{
	vm_ooffset_t last = how->offset + how->prev_size;
	vm_pindex_t next, end;
	vm_size_t grown;
	bool ok = false;

	if (object == NULL)
		return true;
	/* Nothing lies behind 2^64. */
	if (last < how->offset || last + how->next_size < last)
		return false;
	next = last / object->pagesize;
	end = next + how->next_size / object->pagesize;

	objects_lock();
	if ((object->flags & OBJ_ANON) != 0)
		collapse_locked(object, deadp);
	grown =
	    end > object->size ? (end - object->size) * object->pagesize : 0;
	if (object_can_extend(object, next) &&
	    coalesce_pay(object, how, grown)) {
		object_discard(object, next, end); /* it shall read as zero */
		object->size = MAX(object->size, end);
		ok = true;
	}
	objects_unlock();
	return ok;
}

void
vm_object_discard(vm_object_t object, vm_ooffset_t offset, vm_size_t size)
{
	vm_pindex_t first = offset / object->pagesize;

	objects_lock();
	MPASS(object->refs > 0);
	if ((object->flags & OBJ_ANON) != 0 && object->backing == NULL &&
	    (object->flags & OBJ_ONEMAPPING) != 0)
		object_discard(object, first, first + size / object->pagesize);
	objects_unlock();
}

const char *
vm_object_check(vm_object_t object)
{
	const char *bad = NULL;

	objects_lock();
	for (; object != NULL && bad == NULL; object = object->backing) {
		unsigned n = 0;

		for (vm_object_t s = object->shadow_first; s != NULL;
		     s = s->shadow_next, n++)
			if (s->backing != object)
				bad = "[object.chain] a shadow of another";
		if (object->refs == 0)
			bad = "[object.refs] a dead object is shown";
		else if (n != object->nshadows)
			bad = "[object.chain] shadows are miscounted";
		else if (object->refs < n)
			bad = "[object.refs] fewer references than shadows";
		else if (!vm_pages_check(&object->pages, object->size))
			bad = "[object.pages] pages are out of order or range";
		else if (object->cred == NULL && object->charge != 0)
			bad = "[object.charge] a charge without an account";
	}
	objects_unlock();
	return bad;
}
