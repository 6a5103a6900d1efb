/* SPDX-License-Identifier: BSD-2-Clause */

#include "tests/picture.h"

#include <stdlib.h>

#include "arch/sim/sim.h"
#include "core/kassert.h"
#include "core/vm_object.h"

#define PICTURE_MAX_PAGES 4096

static const vm_prot_t rights[] = {VM_PROT_RW, VM_PROT_READ,
    VM_PROT_READ | VM_PROT_EXECUTE, VM_PROT_ALL, VM_PROT_NONE};

static vm_size_t
page_of(vm_map_t map)
{
	return vm_map_pmap(map)->arch->machine->page_size;
}

/* Enter the run of `c` over [start, end). */
static void
draw(vm_map_t map, char c, vm_offset_t start, vm_offset_t end, bool own)
{
	vm_object_t object = NULL;
	vm_prot_t prot = VM_PROT_NONE, max = VM_PROT_NONE;
	int cow = MAP_CREATE_GUARD, rv;

	if (c != '#') {
		bool share = c >= 'a';
		size_t i = (size_t)(share ? c - 'a' : c - 'A');

		KASSERT(i < nitems(rights), "no such letter in a picture");
		prot = rights[i];
		max = VM_PROT_ALL;
		cow = share ? MAP_INHERIT_SHARE : 0;
		if (own) {
			object = vm_object_allocate(vm_map_pmap(map), OBJT_SWAP,
			    end - start);
			KASSERT(object != NULL, "no memory for a picture");
		}
	}
	vm_map_lock(map);
	rv = vm_map_insert(map, object, 0, start, end, prot, max, cow);
	vm_map_unlock(map);
	KASSERT(rv == KERN_SUCCESS, "a picture cannot be drawn");
	(void)rv;
}

vm_map_t
picture_map(const char *picture)
{
	struct pmap *pmap;
	vm_map_t map;
	vm_size_t page;
	vm_offset_t at = PICTURE_MIN;
	size_t npages = 0, len;
	bool own = false;

	for (const char *p = picture; *p != '\0'; p++)
		npages += *p != '|';
	pmap = calloc(1, sizeof(*pmap));
	KASSERT(pmap != NULL, "no memory for a picture");
	pmap->arch = sim_create(NULL);
	KASSERT(pmap->arch != NULL, "no machine for a picture");
	page = pmap->arch->machine->page_size;
	map = vm_map_create(pmap, PICTURE_MIN, PICTURE_MIN + npages * page);
	KASSERT(map != NULL, "no map for a picture");
	for (const char *p = picture; *p != '\0'; p += len) {
		for (len = 1; p[len] == *p && *p != '|'; len++)
			continue;
		if (*p == '|') {
			own = true;
			continue;
		}
		if (*p != '.')
			draw(map, *p, at, at + len * page, own);
		own = false;
		at += len * page;
	}
	return map;
}

void
picture_free(vm_map_t map)
{
	struct pmap *pmap = vm_map_pmap(map);
	struct arch *arch = picture_arch(map);

	vm_map_destroy(map);
	sim_destroy(arch);
	free(pmap);
}

struct arch *
picture_arch(vm_map_t map)
{
	return (struct arch *)(uintptr_t)vm_map_pmap(map)->arch;
}

static char
letter_of(const struct vm_map_entry_info *e)
{
	if ((e->eflags & MAP_ENTRY_STACK_GAP) != 0)
		return '~';
	if ((e->eflags & MAP_ENTRY_GUARD) != 0)
		return '#';
	if ((e->eflags & MAP_ENTRY_GROWS_DOWN) != 0)
		return 's';
	for (size_t i = 0; i < nitems(rights); i++)
		if (rights[i] == e->protection)
			return (char)(e->inheritance == VM_INHERIT_SHARE
					  ? 'a' + (int)i
					  : 'A' + (int)i);
	return '?';
}

const char *
picture_of(vm_map_t map)
{
	static char text[2 * PICTURE_MAX_PAGES + 1];
	struct vm_map_entry_info e;
	vm_map_entry_t entry;
	vm_offset_t at = vm_map_min(map);
	vm_size_t page = page_of(map);
	size_t n = 0;
	char c;

	KASSERT((vm_map_max(map) - at) / page <= PICTURE_MAX_PAGES,
	    "the map is too large for a picture");
	vm_map_lock_read(map);
	for (entry = vm_map_entry_first(map); entry != NULL;
	     entry = vm_map_entry_succ(map, entry)) {
		vm_map_entry_info(entry, &e);
		c = letter_of(&e);
		if (at == e.start && n > 0 && text[n - 1] == c)
			text[n++] = '|';
		for (; at < e.start; at += page)
			text[n++] = '.';
		for (; at < e.end; at += page)
			text[n++] = c;
	}
	vm_map_unlock_read(map);
	for (; at < vm_map_max(map); at += page)
		text[n++] = '.';
	text[n] = '\0';
	return text;
}

vm_offset_t
picture_addr(vm_map_t map, size_t i)
{
	return vm_map_min(map) + i * page_of(map);
}
