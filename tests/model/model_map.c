/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The naive map: entries, clip and merge, insert, delete, fixed, and search.
 *
 * Entries are an array in order of address.  Every search begins at its
 * beginning; free space is found by trying the only addresses at which a first
 * fit can lie: where the search starts, and where entries end.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/model_int.h"

/* Create and destroy */

struct model_map *
model_map_create(const struct arch_machine *machine, vm_offset_t min,
    vm_offset_t max)
{
	struct model_map *map;

	map = model_alloc(1, sizeof(*map));
	map->machine = machine;
	map->min = min;
	map->max = max;
	map->room = 8;
	map->entries = model_alloc(map->room, sizeof(*map->entries));
	map->limits.cluster_anon = 1;
	map->limits.stack_guard = machine->page_size;
	map->account = model_account_new();
	return map;
}

void
model_map_modflags(struct model_map *map, uint32_t set, uint32_t clear)
{
	map->flags = (map->flags | set) & ~clear;
}

void
model_map_set_limits(struct model_map *map, const struct vm_map_limits *limits)
{
	map->limits = *limits;
	map->account->limit = limits->swap;
	map->account->overcommit = limits->overcommit;
}

void
model_map_set_anon_loc(struct model_map *map, vm_offset_t addr)
{
	map->anon_loc = addr;
}

vm_offset_t
model_map_anon_loc(const struct model_map *map)
{
	return map->anon_loc;
}

void
model_map_set_random(struct model_map *map,
    uint64_t (*next)(void *arg, uint64_t bound), void *arg)
{
	map->random = next;
	map->random_arg = arg;
}

/* State */

vm_size_t
model_page(const struct model_map *map)
{
	return map->machine->page_size;
}

vm_size_t
model_entry_size(const struct model_entry *entry)
{
	return entry->end - entry->start;
}

bool
model_entry_is_charged(const struct model_entry *entry)
{
	return entry->charged ||
	       (entry->object != NULL && entry->object->cred != NULL &&
		   (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0);
}

int
model_entry_system_wired(const struct model_entry *entry)
{
	return entry->wired - ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0);
}

/* The page size whose multiples alone may cut the entry; 1 for any. */
vm_size_t
model_entry_boundary(const struct model_map *map,
    const struct model_entry *entry)
{
	uint32_t i = (entry->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) >>
		     MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;

	return i == 0 ? 1 : map->machine->pagesizes[i];
}

vm_size_t
model_map_size(const struct model_map *map)
{
	vm_size_t size = 0;

	for (size_t i = 0; i < map->n; i++)
		if ((map->entries[i].eflags & MAP_ENTRY_GUARD) == 0)
			size += model_entry_size(&map->entries[i]);
	return size;
}

size_t
model_map_nentries(const struct model_map *map)
{
	return map->n;
}

const struct model_entry *
model_map_entry(const struct model_map *map, size_t i)
{
	return i < map->n ? &map->entries[i] : NULL;
}

vm_size_t
model_map_reserved(const struct model_map *map)
{
	return map->account->reserved;
}

vm_size_t
model_map_user_wired(const struct model_map *map)
{
	vm_size_t size = 0;

	for (size_t i = 0; i < map->n; i++)
		if ((map->entries[i].eflags & MAP_ENTRY_USER_WIRED) != 0)
			size += model_entry_size(&map->entries[i]);
	return size;
}

size_t
model_first_above(const struct model_map *map, vm_offset_t addr)
{
	size_t i;

	for (i = 0; i < map->n; i++)
		if (map->entries[i].end > addr)
			break;
	return i;
}

bool
model_map_lookup_entry(const struct model_map *map, vm_offset_t addr,
    size_t *ip)
{
	*ip = model_first_above(map, addr);
	return *ip < map->n && map->entries[*ip].start <= addr;
}

bool
model_range_valid(const struct model_map *map, vm_offset_t start,
    vm_offset_t end)
{
	return start <= end && start >= map->min && end <= map->max;
}

void
model_clamp(const struct model_map *map, vm_offset_t *startp, vm_offset_t *endp)
{
	if (*startp < map->min)
		*startp = map->min;
	if (*endp > map->max)
		*endp = map->max;
	if (*startp > *endp)
		*startp = *endp;
}

/* Is [addr, addr + length) inside the map and free? */
static bool
is_free(const struct model_map *map, vm_offset_t addr, vm_size_t length)
{
	if (addr < map->min || addr > map->max || length > map->max - addr)
		return false;
	for (size_t i = 0; i < map->n; i++)
		if (map->entries[i].start < addr + length &&
		    map->entries[i].end > addr)
			return false;
	return true;
}

/* Link, unlink, clip, merge */

struct model_entry *
model_link(struct model_map *map, const struct model_entry *entry)
{
	size_t i = model_first_above(map, entry->start);

	MODEL_CHECK(entry->start < entry->end);
	MODEL_CHECK(i == map->n || map->entries[i].start >= entry->end);
	if (map->n == map->room) {
		map->room *= 2;
		map->entries =
		    realloc(map->entries, map->room * sizeof(*map->entries));
		MODEL_CHECK(map->entries != NULL);
	}
	memmove(&map->entries[i + 1], &map->entries[i],
	    (map->n - i) * sizeof(*map->entries));
	map->entries[i] = *entry;
	map->n++;
	return &map->entries[i];
}

void
model_unlink(struct model_map *map, size_t i)
{
	map->n--;
	memmove(&map->entries[i], &map->entries[i + 1],
	    (map->n - i) * sizeof(*map->entries));
}

/* Give the entry an anonymous object of its own. */
void
model_back(struct model_map *map, struct model_entry *entry)
{
	entry->object = model_object_anon(model_entry_size(entry),
	    entry->charged ? map->account : NULL);
	entry->offset = 0;
	entry->charged = false;
}

/* Before a split: what the entry was charged for becomes the object's. */
static void
charge_object(struct model_map *map, struct model_entry *entry)
{
	if (entry->object == NULL) {
		if ((entry->eflags & MAP_ENTRY_GUARD) == 0)
			model_back(map, entry);
	} else if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
		   entry->charged) {
		model_release(map->account, model_entry_size(entry));
		model_reserve_force(map->account, entry->object->size);
		model_object_charge(entry->object, map->account);
		entry->charged = false;
	}
}

/* Make `addr` an edge, if it lies inside an entry. */
int
model_clip(struct model_map *map, vm_offset_t addr)
{
	struct model_entry *entry, upper;
	size_t i;

	if (!model_map_lookup_entry(map, addr, &i))
		return KERN_SUCCESS;
	entry = &map->entries[i];
	if (entry->start == addr)
		return KERN_SUCCESS;
	if (addr % model_entry_boundary(map, entry) != 0)
		return KERN_INVALID_ARGUMENT;
	charge_object(map, entry);
	upper = *entry;
	upper.start = addr;
	if (upper.object != NULL) {
		upper.offset += addr - entry->start;
		upper.object->refs++;
	}
	entry->end = addr;
	model_link(map, &upper);
	return KERN_SUCCESS;
}

static bool
may_merge(const struct model_entry *a, const struct model_entry *b)
{
	return (b->eflags & MODEL_NOMERGE) == 0 && a->end == b->start &&
	       a->object == b->object &&
	       (a->object == NULL ||
		   a->offset + model_entry_size(a) == b->offset) &&
	       a->eflags == b->eflags && a->prot == b->prot &&
	       a->max == b->max && a->inherit == b->inherit &&
	       a->wired == b->wired && a->charged == b->charged;
}

/* Merge the two entries that meet at `addr`, if they are alike. */
void
model_merge_at(struct model_map *map, vm_offset_t addr)
{
	size_t i;

	if (!model_map_lookup_entry(map, addr, &i) || i == 0 ||
	    !may_merge(&map->entries[i - 1], &map->entries[i]))
		return;
	map->entries[i - 1].end = map->entries[i].end;
	if (map->entries[i].object != NULL)
		model_object_deallocate(map->entries[i].object);
	model_unlink(map, i);
}

/* Each entry of the range with the one before it, and the one behind. */
void
model_merge_range(struct model_map *map, vm_offset_t start, vm_offset_t end)
{
	size_t i, n;
	vm_offset_t *edges;

	edges = model_alloc(map->n + 1, sizeof(*edges));
	for (i = n = 0; i < map->n; i++)
		if (map->entries[i].start >= start &&
		    map->entries[i].start <= end)
			edges[n++] = map->entries[i].start;
	for (i = 0; i < n; i++)
		model_merge_at(map, edges[i]);
	free(edges);
}

/* Insert */

static uint32_t
eflags_of_cow(int cow)
{
	static const struct {
		int cow;
		uint32_t eflags;
	} table[] = {
	    {MAP_COPY_ON_WRITE, MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY},
	    {MAP_NOFAULT, MAP_ENTRY_NOFAULT},
	    {MAP_DISABLE_SYNCER, MAP_ENTRY_NOSYNC},
	    {MAP_CREATE_GUARD, MAP_ENTRY_GUARD},
	    {MAP_DISABLE_COREDUMP, MAP_ENTRY_NOCOREDUMP},
	    {MAP_WRITECOUNT, MAP_ENTRY_WRITECNT},
	    {MAP_STACK_AREA, MAP_ENTRY_GROWS_DOWN},
	    {MAP_CREATE_STACK_GAP, MAP_ENTRY_STACK_GAP},
	    {MAP_VN_EXEC, MAP_ENTRY_VN_EXEC},
	};
	uint32_t eflags = 0;

	for (size_t i = 0; i < nitems(table); i++)
		if ((cow & table[i].cow) != 0)
			eflags |= table[i].eflags;
	return eflags | ((uint32_t)(cow & MAP_SPLIT_BOUNDARY_MASK) >>
			    MAP_SPLIT_BOUNDARY_SHIFT)
			    << MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;
}

static int
check_boundary(const struct model_map *map, vm_offset_t start, vm_offset_t end,
    int cow)
{
	int i = (cow & MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	vm_size_t size;

	if (i == 0)
		return KERN_SUCCESS;
	if (i >= map->machine->npagesizes)
		return KERN_INVALID_ARGUMENT;
	size = map->machine->pagesizes[i];
	if (size == 0 || start % size != 0 || end % size != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

/* I1 to I5, in their order. */
static int
check_insert(const struct model_map *map, const struct model_object *object,
    vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max, int cow)
{
	if (start == end || !model_range_valid(map, start, end))
		return KERN_INVALID_ADDRESS;
	if ((map->flags & MAP_WXORX) != 0 &&
	    (prot & (VM_PROT_WRITE | VM_PROT_EXECUTE)) ==
		(VM_PROT_WRITE | VM_PROT_EXECUTE))
		return KERN_PROTECTION_FAILURE;
	if (!is_free(map, start, end - start))
		return KERN_NO_SPACE;
	if ((cow & MAP_CREATE_GUARD) != 0 &&
	    (object != NULL || max != VM_PROT_NONE))
		return KERN_INVALID_ARGUMENT;
	return check_boundary(map, start, end, cow);
}

/*
 * M1, M4: let what lies directly below grow.  true: it took the whole range.
 * Otherwise *entry may have become a continuation of its object.
 */
static bool
coalesce(struct model_map *map, struct model_entry *entry)
{
	struct model_account *cred = entry->charged ? map->account : NULL;
	struct model_entry *prev;
	size_t i = model_first_above(map, entry->start);

	if (i == 0)
		return false;
	prev = &map->entries[i - 1];
	if (prev->end != entry->start ||
	    (prev->eflags & ~(uint32_t)MAP_ENTRY_USER_WIRED) != entry->eflags ||
	    (entry->eflags & MODEL_NOMERGE) != 0)
		return false;
	/*
	 * An object's account stands in for the entry's, but not where a copy
	 * is due: FreeBSD then loses what was reserved for the new range.
	 */
	if (prev->charged != entry->charged &&
	    ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 ||
		prev->object == NULL || prev->object->cred != cred))
		return false;
	if (!model_object_coalesce(prev->object, prev->offset,
		model_entry_size(prev), model_entry_size(entry),
		entry->charged && (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0))
		return false;
	if (prev->inherit == entry->inherit && prev->prot == entry->prot &&
	    prev->max == entry->max && prev->wired == 0) {
		prev->end = entry->end;
		return true;
	}
	entry->object = prev->object;
	entry->offset = prev->offset + model_entry_size(prev);
	model_object_reference(entry->object);
	if (entry->charged && entry->object != NULL &&
	    entry->object->cred != NULL &&
	    (prev->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
		entry->charged = false;
	return false;
}

int
model_insert(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
    vm_prot_t max, int cow)
{
	struct model_entry entry = {.start = start,
	    .end = end,
	    .object = object,
	    .offset = object != NULL ? offset : 0,
	    .eflags = eflags_of_cow(cow),
	    .prot = prot,
	    .max = max,
	    .inherit = (cow & MAP_INHERIT_SHARE) != 0 ? VM_INHERIT_SHARE
						      : VM_INHERIT_DEFAULT};
	int rv;

	rv = check_insert(map, object, start, end, prot, max, cow);
	if (rv != KERN_SUCCESS)
		return rv;
	if ((cow & (MAP_ACC_NO_CHARGE | MAP_NOFAULT | MAP_CREATE_GUARD)) == 0 &&
	    ((cow & MAP_ACC_CHARGED) != 0 ||
		((prot & VM_PROT_WRITE) != 0 &&
		    ((cow & MAP_COPY_ON_WRITE) != 0 || object == NULL)))) {
		if ((cow & MAP_ACC_CHARGED) != 0)
			model_reserve_force(map->account, end - start);
		else if (!model_reserve(map->account, end - start))
			return KERN_RESOURCE_SHORTAGE;
		entry.charged = true;
	}
	if (object != NULL) {
		if (model_object_is_anon(object) &&
		    (object->refs > 1 || object->shadows != 0))
			object->onemapping = false;
	} else if (coalesce(map, &entry)) {
		model_merge_at(map, end);
		return KERN_SUCCESS;
	}
	model_link(map, &entry);
	model_merge_at(map, start);
	model_merge_at(map, end);
	return KERN_SUCCESS;
}

int
model_map_insert(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
    vm_prot_t max, int cow)
{
	model_begin(map);
	return model_end(
	    model_insert(map, object, offset, start, end, prot, max, cow));
}

/* Delete */

/* The pages of the entry leave an object that others hold too. */
static void
trim_object(const struct model_entry *entry)
{
	struct model_object *object = entry->object;
	vm_size_t cut;

	if (object == NULL || !model_object_is_anon(object) ||
	    object->refs == 1 || !object->onemapping)
		return;
	model_object_collapse(object);
	if (entry->offset + model_entry_size(entry) < object->size ||
	    entry->offset >= object->size)
		return;
	cut = object->size - entry->offset;
	object->size = entry->offset;
	if (object->cred != NULL)
		model_release(object->cred, cut);
}

/* Take entry i out; its reference goes when the call is over. */
static void
drop_entry(struct model_map *map, size_t i)
{
	struct model_entry entry = map->entries[i];

	if (entry.charged)
		model_release(map->account, model_entry_size(&entry));
	trim_object(&entry);
	model_defer(entry.object);
	model_unlink(map, i);
}

int
model_delete(struct model_map *map, vm_offset_t start, vm_offset_t end)
{
	size_t i;
	int rv;

	if (start == end)
		return KERN_SUCCESS;
	rv = model_clip(map, start);
	if (rv != KERN_SUCCESS)
		return rv;
	for (i = model_first_above(map, start);
	     i < map->n && map->entries[i].start < end; i++)
		if (model_entry_system_wired(&map->entries[i]) != 0)
			return KERN_WOULD_BLOCK;
	rv = model_clip(map, end);
	if (rv != KERN_SUCCESS)
		return rv;

	i = model_first_above(map, start);
	while (i < map->n && map->entries[i].start < end)
		drop_entry(map, i);
	return KERN_SUCCESS;
}

/* As a process that ends removes all of its map, wired or not. */
void
model_map_destroy(struct model_map *map)
{
	if (map == NULL)
		return;
	model_begin(map);
	while (map->n > 0)
		drop_entry(map, 0);
	model_commit();
	model_account_drop(map->account);
	free(map->entries);
	free(map);
}

int
model_map_delete(struct model_map *map, vm_offset_t start, vm_offset_t end)
{
	model_begin(map);
	return model_end(model_delete(map, start, end));
}

int
model_map_remove(struct model_map *map, vm_offset_t start, vm_offset_t end)
{
	model_clamp(map, &start, &end);
	return model_map_delete(map, start, end);
}

/* Fixed */

int
model_map_fixed(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t start, vm_size_t length, vm_prot_t prot,
    vm_prot_t max, int cow)
{
	vm_offset_t end = start + length;
	int rv = KERN_SUCCESS;

	if (!model_range_valid(map, start, end))
		return KERN_INVALID_ADDRESS;
	model_begin(map);
	if ((cow & MAP_CHECK_EXCL) == 0)
		rv = model_delete(map, start, end);
	if (rv == KERN_SUCCESS && (cow & MAP_STACK_AREA) != 0)
		rv = model_stack(map, start, length, prot, max, cow);
	else if (rv == KERN_SUCCESS)
		rv = model_insert(map, object, offset, start, end, prot, max,
		    cow);
	return model_end(rv);
}

/* Search */

int
model_map_findspace(const struct model_map *map, vm_offset_t start,
    vm_size_t length, vm_offset_t *addrp)
{
	vm_offset_t best = 0;
	bool found = false;
	size_t i;

	if (start < map->min)
		start = map->min;
	if (start >= map->max || length > map->max - start)
		return 1;
	if (length == 0) {
		/* F2: start itself, or the end of the entry that holds it. */
		*addrp = model_map_lookup_entry(map, start, &i)
			     ? map->entries[i].end
			     : start;
		return 0;
	}
	if (is_free(map, start, length)) {
		*addrp = start;
		return 0;
	}
	for (i = 0; i < map->n; i++) {
		vm_offset_t addr = map->entries[i].end;

		if (addr >= start && is_free(map, addr, length) &&
		    (!found || addr < best)) {
			found = true;
			best = addr;
		}
	}
	if (found)
		*addrp = best;
	return found ? 0 : 1;
}

/* Is there room for `length` at addr below the bounds? */
static bool
in_bounds(const struct model_map *map, vm_offset_t addr, vm_size_t length,
    vm_offset_t max_addr)
{
	return addr <= map->max && length <= map->max - addr &&
	       (max_addr == 0 || addr + length <= max_addr);
}

/* S4, S6: the next address at or above `addr` congruent to the object. */
static vm_offset_t
super_align(const struct model_map *map, const struct model_object *object,
    vm_ooffset_t offset, vm_offset_t addr, vm_size_t length)
{
	vm_size_t s, head, in_s;

	if (object != NULL && object->colored)
		offset += object->color * model_page(map);
	for (int i = 0; i < map->machine->nsuper; i++) {
		s = map->machine->super[i];
		in_s = offset % s;
		head = (s - in_s) % s;
		if (length < head || length - head < s)
			continue;
		if (addr % s == in_s)
			return addr;
		if (addr % s < in_s)
			return addr - addr % s + in_s;
		return (addr + s - 1) / s * s + in_s;
	}
	return addr;
}

/* S5 */
static int
align_space(const struct model_map *map, const struct model_object *object,
    vm_ooffset_t offset, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, vm_offset_t alignment)
{
	vm_offset_t addr = *addrp, aligned, next;

	for (;;) {
		if (alignment == 0)
			aligned =
			    super_align(map, object, offset, addr, length);
		else if (addr % alignment == 0)
			aligned = addr;
		else
			aligned = addr - addr % alignment + alignment;
		if (aligned == addr)
			break;
		if (aligned < addr)
			return KERN_NO_SPACE;
		if (model_map_findspace(map, aligned, length, &next) != 0 ||
		    !in_bounds(map, next, length, max_addr))
			return KERN_NO_SPACE;
		addr = next;
		if (addr == aligned)
			break;
	}
	*addrp = addr;
	return KERN_SUCCESS;
}

int
model_map_find_aligned(struct model_map *map, vm_offset_t *addrp,
    vm_size_t length, vm_offset_t max_addr, vm_offset_t alignment)
{
	vm_offset_t addr;
	int rv;

	if (model_map_findspace(map, *addrp, length, &addr) != 0 ||
	    !in_bounds(map, addr, length, max_addr))
		return KERN_NO_SPACE;
	rv = align_space(map, NULL, 0, &addr, length, max_addr, alignment);
	if (rv == KERN_SUCCESS)
		*addrp = addr;
	return rv;
}

/* S9 */
static bool
may_cluster(const struct model_map *map, const struct model_object *object,
    vm_offset_t addr, vm_offset_t max_addr, vm_prot_t prot, int cow)
{
	int mode = map->limits.cluster_anon;

	if (mode == 0 || (mode == 1 && addr != 0 && (cow & MAP_NO_HINT) == 0))
		return false;
	return (map->flags & MAP_IS_SUB_MAP) == 0 && max_addr == 0 &&
	       object == NULL &&
	       (cow & (MAP_INHERIT_SHARE | MAP_STACK_AREA)) == 0 &&
	       prot != VM_PROT_NONE;
}

/* One randomised try from `cur`.  false: try again without. */
static bool
aslr_try(const struct model_map *map, vm_offset_t cur, vm_size_t length,
    vm_offset_t max_addr, int fs, vm_offset_t *addrp)
{
	static const vm_size_t wide2[] = {0x1000, 0x10};
	static const vm_size_t wide3[] = {0x1000, 0x1000, 0x10};
	static const vm_size_t small2[] = {0x100, 4};
	static const vm_size_t small3[] = {0x100, 0x100, 4};
	const struct arch_machine *machine = map->machine;
	const vm_size_t *g;
	vm_size_t page, slack;
	vm_offset_t addr;
	bool wide;
	int p = 0;

	if (fs == VMFS_SUPER_SPACE || fs == VMFS_OPTIMAL_SPACE)
		for (int i = 0; i < machine->nsuper; i++)
			if (machine->super[i] <= length) {
				p = machine->nsuper - i;
				break;
			}
	wide = map->max > UINT64_C(1) << 31 &&
	       (max_addr == 0 || max_addr > UINT64_C(1) << 31);
	if (machine->nsuper >= 2)
		g = wide ? wide3 : small3;
	else
		g = wide ? wide2 : small2;
	page =
	    p == 0 ? machine->page_size : machine->super[machine->nsuper - p];
	slack = g[p] * page;
	if (length > UINT64_MAX - slack ||
	    model_map_findspace(map, cur, length + slack, &addr) != 0)
		return false;
	addr += map->random(map->random_arg, g[p]) * page;
	if (max_addr != 0 && addr + length > max_addr)
		return false;
	*addrp = addr;
	return true;
}

/* Where the mapping goes, for every strategy but VMFS_NO_SPACE. */
static int
search(const struct model_map *map, const struct model_object *object,
    vm_ooffset_t offset, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, int fs, bool clustered)
{
	vm_offset_t base = *addrp, addr = 0, cur;
	vm_offset_t align = fs >> 8 != 0 ? (vm_offset_t)1 << (fs >> 8) : 0;
	bool ignstart = (map->flags & MAP_ASLR_IGNSTART) != 0;
	bool aslr = (map->flags & MAP_ASLR) != 0 && map->random != NULL;
	bool update = clustered;
	int try, rv;

	if (length == 0) /* ours: as for insert, whether or not there is room */
		return KERN_INVALID_ADDRESS;
	if (length > map->max - map->min)
		return KERN_NO_SPACE;
	if ((map->flags & MAP_ASLR) != 0 && base == 0 && !clustered && ignstart)
		base = map->min;
	cur = base;
	if (clustered) {
		clustered = map->anon_loc != 0;
		cur = clustered ? map->anon_loc : base;
	}
	for (try = 1;; try++) {
		MODEL_CHECK(try <= 2);
		if (try == 2)
			cur = ignstart ? map->min : base;
		if (try == 1 && aslr && !clustered) {
			if (!aslr_try(map, cur, length, max_addr, fs, &addr))
				continue;
		} else if (model_map_findspace(map, cur, length, &addr) != 0 ||
			   !in_bounds(map, addr, length, max_addr)) {
			if (!clustered)
				return KERN_NO_SPACE;
			clustered = false;
			continue;
		}
		rv = fs == VMFS_ANY_SPACE ? KERN_SUCCESS
					  : align_space(map, object, offset,
						&addr, length, max_addr, align);
		if (rv == KERN_SUCCESS)
			break;
		if (fs != VMFS_OPTIMAL_SPACE)
			return rv;
		fs = VMFS_ANY_SPACE;
		cur = base;
		clustered = update;
		try = 0;
	}
	*addrp = addr;
	return KERN_SUCCESS;
}

/* Enter what was found; with REMAP, in place of what is there. */
static int
enter(struct model_map *map, struct model_object *object, vm_ooffset_t offset,
    vm_offset_t addr, vm_size_t length, vm_prot_t prot, vm_prot_t max, int cow,
    bool replace)
{
	int rv;

	if (replace) {
		if (!model_range_valid(map, addr, addr + length))
			return KERN_INVALID_ADDRESS;
		rv = model_delete(map, addr, addr + length);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	if ((cow & MAP_STACK_AREA) != 0)
		return model_stack(map, addr, length, prot, max, cow);
	return model_insert(map, object, offset, addr, addr + length, prot, max,
	    cow);
}

int
model_map_find(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, int find_space, vm_prot_t prot, vm_prot_t max,
    int cow)
{
	vm_offset_t addr = *addrp;
	bool update = false;
	int rv;

	if (find_space == VMFS_OPTIMAL_SPACE &&
	    (object == NULL || !object->colored))
		find_space = VMFS_ANY_SPACE;
	if (find_space != VMFS_NO_SPACE) {
		update = may_cluster(map, object, addr, max_addr, prot, cow);
		rv = search(map, object, offset, &addr, length, max_addr,
		    find_space, update);
		if (rv != KERN_SUCCESS)
			return rv;
	}
	model_begin(map);
	rv = model_end(enter(map, object, offset, addr, length, prot, max, cow,
	    find_space == VMFS_NO_SPACE && (cow & MAP_REMAP) != 0));
	if (rv != KERN_SUCCESS)
		return rv;
	if (update && (map->anon_loc == 0 || addr < map->anon_loc))
		map->anon_loc = addr;
	*addrp = addr;
	return KERN_SUCCESS;
}

int
model_map_find_min(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t default_addr, vm_offset_t max_addr, int find_space,
    vm_prot_t prot, vm_prot_t max, int cow)
{
	vm_offset_t hint = *addrp, addr;
	int rv;

	if (hint == 0) {
		cow |= MAP_NO_HINT;
		hint = default_addr;
	}
	for (;;) {
		addr = hint;
		rv = model_map_find(map, object, offset, &addr, length,
		    max_addr, find_space, prot, max, cow);
		if (rv == KERN_SUCCESS)
			break;
		if (default_addr >= hint)
			return rv;
		hint = default_addr;
	}
	*addrp = addr;
	return KERN_SUCCESS;
}
