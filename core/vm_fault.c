/* SPDX-License-Identifier: BSD-2-Clause */

/*
 *	object  |  -  |  A  |  -  |      the access is to one index here
 *	backing |  B  |  b  |  -  |      found here: B shows through, A hides b
 *
 * A read of B maps B without the right to write; a write copies it into the
 * object in front.  What no object has is zeroes, and those belong to the
 * object in front too.
 */

#include "core/vm_fault.h"
#include "core/vm_map_int.h"

void
vm_map_set_pager(vm_map_t map, struct vm_pager *pager)
{
	vm_map_lock(map);
	map->pager = pager;
	vm_map_unlock(map);
}

/* Where a page was found. */
struct found {
	vm_object_t object; /* NULL: nowhere */
	vm_pindex_t pindex;
	uint64_t frame;
	bool handle; /* in the memory that a handle stands for */
};

/* Does the object have its own memory at every index? */
static bool
object_has_handle(vm_object_t object)
{
	return object->type != OBJT_SWAP || object->release != NULL;
}

/* Look through the chain.  Under the lock of all objects. */
static struct found
chain_find(vm_object_t object, vm_pindex_t pindex)
{
	struct vm_page *page;

	for (; object != NULL && pindex < object->size;
	     object = object->backing) {
		if (object_has_handle(object))
			return (struct found){object, pindex, pindex, true};
		page = vm_pages_find(&object->pages, pindex);
		if (page != NULL)
			return (
			    struct found){object, pindex, page->frame, false};
		pindex += object->backing_offset / object->pagesize;
	}
	return (struct found){NULL, 0, 0, false};
}

/*
 * The first index from `pindex` on where the chain may show something; `end`
 * if there is none before it.  So that nobody walks over what is not there:
 * an object may have more indices than anybody can count.
 */
static vm_pindex_t
chain_next(vm_object_t object, vm_pindex_t pindex, vm_pindex_t end)
{
	vm_pindex_t shift = 0, next = end; /* the index there is + shift */
	struct vm_page *page;

	MPASS(pindex <= end);

	for (; object != NULL && pindex + shift < object->size;
	     object = object->backing) {
		if (object_has_handle(object))
			return pindex;
		page = vm_pages_next(&object->pages, pindex + shift);
		if (page != NULL)
			next = MIN(next, page->pindex - shift);
		shift += object->backing_offset / object->pagesize;
	}
	return next;
}

/* Copies of the pages that [first, first + n) shows, as pages of `to`. */
static int
copy_pages(vm_object_t object, vm_pindex_t first, vm_pindex_t n,
    struct vm_pager *pager, vm_object_t to)
{
	vm_pindex_t end = first + n;
	struct vm_page *page;
	struct found found;
	int rv;

	MPASS(to->refs == 1 && to->size == 0);

	for (vm_pindex_t i = chain_next(object, first, end); i < end;
	     i = chain_next(object, i + 1, end)) {
		found = chain_find(object, i);
		if (found.object == NULL)
			continue;
		rv = vm_page_copy(pager, i - first, found.object, found.frame,
		    &page);
		if (rv != KERN_SUCCESS)
			return rv;
		vm_pages_insert(&to->pages, page);
	}
	return KERN_SUCCESS;
}

int
vm_object_spare_copy(const struct arch *arch, vm_object_t object,
    vm_ooffset_t offset, vm_size_t size, struct vm_pager *pager,
    vm_object_t **tailp)
{
	vm_object_t copy = NULL;
	int rv;

	MPASS(size > 0 && **tailp == NULL);

	rv = vm_object_spare_add(arch, 1, &copy);
	if (rv == KERN_SUCCESS && object != NULL && pager != NULL) {
		vm_objects_lock();
		rv = copy_pages(object, offset / object->pagesize,
		    size / object->pagesize, pager, copy);
		vm_objects_unlock();
	}
	if (rv != KERN_SUCCESS) {
		vm_object_spare_fini(&copy);
		return rv;
	}
	**tailp = copy;
	*tailp = &copy->spare_next;
	return KERN_SUCCESS;
}

/* The object in front gets a page: zeroes, or a copy of what was found. */
static int
front_fill(struct vm_pager *pager, const struct found *found,
    struct vm_fault *fault)
{
	struct vm_page *page;
	int rv;

	MPASS(!object_has_handle(fault->object));

	if (pager == NULL)
		return KERN_FAILURE;
	if (found->object == NULL)
		rv = vm_page_alloc(pager, fault->pindex, &page);
	else
		rv = vm_page_copy(pager, fault->pindex, found->object,
		    found->frame, &page);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_pages_insert(&fault->object->pages, page);
	fault->frame = page->frame;
	fault->kind = found->object == NULL ? VM_FAULT_ZERO : VM_FAULT_COPY;
	return KERN_SUCCESS;
}

/* Resolve in the objects.  Under the lock of all objects. */
static int
fault_object(struct vm_pager *pager, bool write, struct vm_fault *fault)
{
	struct found found;

	MPASS(fault->object != NULL && fault->object->refs > 0);

	if (fault->pindex >= fault->object->size)
		return KERN_OUT_OF_BOUNDS;
	found = chain_find(fault->object, fault->pindex);
	if (found.object == fault->object) {
		fault->kind =
		    found.handle ? VM_FAULT_HANDLE : VM_FAULT_RESIDENT;
		fault->frame = found.frame;
		return KERN_SUCCESS;
	}
	if (found.object == NULL || write)
		return front_fill(pager, &found, fault);

	fault->kind = found.handle ? VM_FAULT_HANDLE : VM_FAULT_SHARED;
	fault->object = found.object;
	fault->pindex = found.pindex;
	fault->frame = found.frame;
	fault->prot &= (vm_prot_t)~VM_PROT_WRITE;
	return KERN_SUCCESS;
}

int
vm_fault(vm_map_t map, vm_offset_t addr, vm_prot_t fault_type,
    struct vm_fault *faultp)
{
	struct vm_fault fault = {0};
	vm_map_entry_t entry;
	bool write;
	int rv;

	rv = vm_map_lookup(&map, addr, fault_type | VM_PROT_FAULT_LOOKUP,
	    &entry, &fault.object, &fault.pindex, &fault.prot, &fault.wired);
	if (rv != KERN_SUCCESS)
		return rv;
	write = (fault_type & (VM_PROT_WRITE | VM_PROT_COPY)) != 0 ||
		(fault.wired && (fault.prot & VM_PROT_WRITE) != 0);
	if ((entry->eflags & MAP_ENTRY_NOFAULT) != 0 || fault.object == NULL) {
		rv = KERN_FAILURE;
	} else {
		vm_objects_lock();
		rv = fault_object(map->pager, write, &fault);
		vm_objects_unlock();
	}
	vm_map_lookup_done(map, entry);
	if (rv == KERN_SUCCESS)
		*faultp = fault;
	return rv;
}

uint64_t
vm_object_npages(vm_object_t object)
{
	uint64_t n;

	vm_objects_lock();
	n = object->pages.count;
	vm_objects_unlock();
	return n;
}
