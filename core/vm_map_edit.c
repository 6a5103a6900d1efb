/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Insert, clip, merge, delete.
 *
 * Each public call decides first, without side effects, then sets aside what
 * the commit can use (entries, tree nodes, objects for clipped entries that
 * have none), and then commits in code that cannot fail.
 */

#include "core/vm_map_int.h"

/* Reserves. */

int
vm_map_reserve(vm_map_t map, unsigned n, unsigned net)
{
	uint64_t limit = map->limits.nentries;
	int rv;

	vm_map_assert_wlocked(map);

	if (limit != 0 && net > 0 && map->tree.count + net > limit)
		return KERN_RESOURCE_SHORTAGE;
	rv = uma_zone_reserve(&map->entries, n);
	if (rv == KERN_SUCCESS)
		rv = vm_tree_reserve(&map->tree, n);
	return rv;
}

bool
vm_map_clip_backs(vm_map_t map, const struct vm_map_entry *entry)
{
	return entry->object.vm_object == NULL && !entry_is_guard(entry) &&
	       !vm_map_is_system(map);
}

/* The entry that has `addr` strictly inside it, or NULL. */
static struct vm_map_entry *
entry_across(vm_map_t map, vm_offset_t addr)
{
	struct vm_cursor cur;
	struct vm_map_entry *entry;

	if (addr <= map->tree.min || addr >= map->tree.max)
		return NULL;
	entry = vm_map_seek(map, addr, &cur);
	return entry != NULL && entry->start < addr ? entry : NULL;
}

/* How many objects clipping at `start` and `end` makes. */
static unsigned
clip_objects(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *first = entry_across(map, start);
	struct vm_map_entry *last = entry_across(map, end);
	unsigned n = 0;

	if (last == first)
		last = NULL; /* the first clip makes the object for both */
	n += first != NULL && vm_map_clip_backs(map, first);
	n += last != NULL && vm_map_clip_backs(map, last);
	return n;
}

/* The objects for the clips, and `n` entries, `net` of them to stay. */
static int
reserve_range(vm_map_t map, vm_offset_t start, vm_offset_t end, unsigned n,
    unsigned net, vm_object_t *sparep)
{
	int rv = vm_map_reserve(map, n, net);

	if (rv == KERN_SUCCESS)
		rv = vm_object_spare_add(map->pmap->arch,
		    clip_objects(map, start, end), sparep);
	return rv;
}

int
vm_map_reserve_clips(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_object_t *sparep)
{
	unsigned n = 0;

	n += entry_across(map, start) != NULL;
	n += start != end && entry_across(map, end) != NULL;
	return reserve_range(map, start, end, n, n, sparep);
}

/* Clipping. */

vm_size_t
vm_map_entry_grain(vm_map_t map, const struct vm_map_entry *entry)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	unsigned index = (entry->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) >>
			 MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;

	MPASS(index < VM_MAXPAGESIZES);

	return index == 0 ? 1 : machine->pagesizes[index];
}

int
vm_map_clip_check(vm_map_t map, vm_offset_t addr)
{
	struct vm_map_entry *entry = entry_across(map, addr);

	if (entry != NULL && (addr & (vm_map_entry_grain(map, entry) - 1)) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

void
vm_map_entry_back(vm_map_t map, struct vm_map_entry *entry, vm_object_t *sparep)
{
	vm_object_t object;

	MPASS(entry->object.vm_object == NULL && !entry_is_guard(entry));

	object = vm_object_spare_take(sparep, entry_size(entry));
	entry->object.vm_object = object;
	entry->offset = 0;
	if (entry->cred)
		vm_object_set_charge(object, map->account, entry_size(entry));
	entry->cred = false;
}

void
vm_map_entry_charge_object(vm_map_t map, struct vm_map_entry *entry)
{
	vm_object_t object = entry->object.vm_object;
	vm_size_t bytes = vm_object_size(object);

	MPASS(entry->cred);

	if (bytes > entry_size(entry))
		vm_account_charge(map->account, bytes - entry_size(entry));
	else
		vm_account_release(map->account, entry_size(entry) - bytes);
	vm_object_set_charge(object, map->account, bytes);
	entry->cred = false;
}

/*
 * Two entries are going to share what this one has: let the object, rather
 * than the entry, hold the charge.
 */
static void
clip_charge_object(vm_map_t map, struct vm_map_entry *entry,
    vm_object_t *sparep)
{
	if (vm_map_clip_backs(map, entry))
		vm_map_entry_back(map, entry, sparep);
	else if (entry->cred && entry->object.vm_object != NULL &&
		 (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
		vm_map_entry_charge_object(map, entry);
}

/* A second entry with the same attributes and one more reference. */
static struct vm_map_entry *
entry_clone(vm_map_t map, const struct vm_map_entry *entry)
{
	struct vm_map_entry *clone = uma_zalloc_reserved(&map->entries);

	*clone = *entry;
	clone->pending = false;
	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
		vm_object_reference(clone->object.vm_object);
	return clone;
}

/* An entry moves its beginning: its offset follows, unless it has none. */
static void
entry_advance(struct vm_map_entry *entry, vm_size_t distance)
{
	if (!entry_is_guard(entry))
		entry->offset += distance;
}

void
vm_map_clip_start(vm_map_t map, struct vm_cursor *cur, vm_offset_t addr,
    vm_object_t *sparep)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *lower;

	MPASS(addr < entry->end);

	if (addr <= entry->start)
		return;
	clip_charge_object(map, entry, sparep);
	lower = entry_clone(map, entry);
	entry_advance(entry, addr - entry->start);
	vm_tree_split(&map->tree, cur, addr, lower, entry);
	(void)vm_tree_next(&map->tree, cur);
	map->updates++;
	MPASS(vm_cursor_entry(cur) == entry && entry->start == addr);
}

void
vm_map_clip_end(vm_map_t map, struct vm_cursor *cur, vm_offset_t addr,
    vm_object_t *sparep)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *upper;

	MPASS(addr > entry->start);

	if (addr >= entry->end)
		return;
	clip_charge_object(map, entry, sparep);
	upper = entry_clone(map, entry);
	entry_advance(upper, addr - entry->start);
	vm_tree_split(&map->tree, cur, addr, entry, upper);
	map->updates++;
	MPASS(vm_cursor_entry(cur) == entry && entry->end == addr);
}

/* Merging. */

#define MAP_ENTRY_NOMERGE                                                      \
	(MAP_ENTRY_GROWS_DOWN | MAP_ENTRY_IN_TRANSITION |                      \
	    MAP_ENTRY_IS_SUB_MAP | MAP_ENTRY_VN_EXEC | MAP_ENTRY_STACK_GAP)

bool
vm_map_mergeable(const struct vm_map_entry *prev,
    const struct vm_map_entry *entry)
{
	if ((entry->eflags & MAP_ENTRY_NOMERGE) != 0)
		return false;
	return prev->end == entry->start &&
	       prev->object.vm_object == entry->object.vm_object &&
	       (prev->object.vm_object == NULL ||
		   prev->offset + entry_size(prev) == entry->offset) &&
	       prev->eflags == entry->eflags &&
	       prev->protection == entry->protection &&
	       prev->max_protection == entry->max_protection &&
	       prev->inheritance == entry->inheritance &&
	       prev->wired_count == entry->wired_count &&
	       prev->cred == entry->cred;
}

/* Put what left the tree on the way to its end. */
static void
entry_retire(vm_map_t map, struct vm_map_entry *entry)
{
	if ((entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0 ||
	    entry->object.vm_object == NULL) {
		uma_zfree(&map->entries, entry);
		return;
	}
	entry->next_dead = map->dead;
	map->dead = entry;
}

bool
vm_map_try_merge(vm_map_t map, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur), *prev;
	struct vm_cursor front = *cur;

	if (entry == NULL || !vm_tree_prev(&map->tree, &front))
		return false;
	if (vm_cursor_gap_start(&front) != entry->start)
		return false;
	prev = vm_cursor_entry(&front);
	if (prev == NULL || !vm_map_mergeable(prev, entry))
		return false;

	entry->offset = prev->offset;
	vm_tree_merge(&map->tree, cur);
	entry_retire(map, prev);
	map->updates++;
	MPASS(vm_cursor_entry(cur) == entry);
	return true;
}

void
vm_map_merge_range(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_cursor cur;
	struct vm_map_entry *entry;

	for (entry = vm_map_seek_next(map, start, &cur); entry != NULL;
	     entry = vm_map_next(map, &cur)) {
		bool behind = entry->start >= end;

		(void)vm_map_try_merge(map, &cur);
		if (behind)
			return;
	}
}

/* Inserting. */

/* The bits of the cow word that become bits of the entry. */
static uint32_t
eflags_from_cow(int cow)
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
	uint32_t eflags = 0, boundary;

	for (size_t i = 0; i < nitems(table); i++)
		if ((cow & table[i].cow) != 0)
			eflags |= table[i].eflags;
	boundary = (uint32_t)(cow & MAP_SPLIT_BOUNDARY_MASK) >>
		   MAP_SPLIT_BOUNDARY_SHIFT;
	return eflags | boundary << MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;
}

/* I5: the split boundary, if any, fits the machine and the range. */
static int
boundary_check(vm_map_t map, const struct vm_map_new *new)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	int index =
	    (new->cow &MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	vm_size_t mask;

	if (index == 0)
		return KERN_SUCCESS;
	if (index >= machine->npagesizes)
		return KERN_INVALID_ARGUMENT;
	mask = machine->pagesizes[index] - 1; /* all ones: not supported */
	if (((new->start | new->end) & mask) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

/* I1 and I2: what is refused before the map is looked at. */
static int
insert_check_early(vm_map_t map, const struct vm_map_new *new)
{
	KASSERT((new->prot & ~new->max) == 0, "rights beyond the maximum");
	KASSERT((new->cow &MAP_NOFAULT) == 0 || new->object == NULL ||
		    (new->cow &MAP_SPLIT_BOUNDARY_MASK) != 0,
	    "an object that cannot be faulted");
	KASSERT(((new->start | new->end | new->offset) & (map->pagesize - 1)) ==
		    0,
	    "not page aligned");

	if (new->start == new->end ||
	    !vm_map_range_valid(map, new->start, new->end))
		return KERN_INVALID_ADDRESS;
	if ((map->flags & MAP_WXORX) != 0 &&
	    (new->prot &(VM_PROT_WRITE | VM_PROT_EXECUTE)) ==
		(VM_PROT_WRITE | VM_PROT_EXECUTE))
		return KERN_PROTECTION_FAILURE;
	return KERN_SUCCESS;
}

/* I4 and I5: what is refused when the range is free. */
static int
insert_check_late(vm_map_t map, const struct vm_map_new *new)
{
	if ((new->cow &MAP_CREATE_GUARD) != 0 &&
	    (new->object != NULL || new->max != VM_PROT_NONE))
		return KERN_INVALID_ARGUMENT;
	return boundary_check(map, new);
}

int
vm_map_insert_check(vm_map_t map, const struct vm_map_new *new)
{
	int rv = insert_check_early(map, new);

	return rv != KERN_SUCCESS ? rv : insert_check_late(map, new);
}

bool
vm_map_is_free(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_cursor *cur)
{
	return vm_map_seek(map, start, cur) == NULL &&
	       end <= vm_cursor_gap_end(cur);
}

/* A1: may swap be reserved for this, and must it be? */
static bool
insert_is_chargeable(const struct vm_map_new *new)
{
	return (new->cow &(
		   MAP_ACC_NO_CHARGE | MAP_NOFAULT | MAP_CREATE_GUARD)) == 0;
}

bool
vm_map_insert_charges(const struct vm_map_new *new)
{
	if (!insert_is_chargeable(new))
		return false;
	return (new->cow &MAP_ACC_CHARGED) != 0 ||
	       ((new->prot &VM_PROT_WRITE) != 0 &&
		   ((new->cow &MAP_COPY_ON_WRITE) != 0 || new->object == NULL));
}

int
vm_map_insert_charge(vm_map_t map, const struct vm_map_new *new, bool *chargedp)
{
	vm_size_t bytes = new->end - new->start;
	bool charged = vm_map_insert_charges(new);

	if (charged && (new->cow &MAP_ACC_CHARGED) != 0)
		vm_account_charge(map->account, bytes);
	else if (charged && !vm_map_swap_reserve(map, bytes))
		return KERN_RESOURCE_SHORTAGE;
	*chargedp = charged;
	return KERN_SUCCESS;
}

static vm_inherit_t
insert_inheritance(const struct vm_map_new *new)
{
	return (new->cow &MAP_INHERIT_SHARE) != 0 ? VM_INHERIT_SHARE
						  : VM_INHERIT_DEFAULT;
}

/*
 * M1, M4: may a new anonymous range go on with what `prev` shows?  BUG-14:
 * gaps do not, FreeBSD extends a stale one.
 */
static bool
coalesce_agrees(vm_map_t map, const struct vm_map_entry *prev,
    const struct vm_map_new *new, bool charged)
{
	uint32_t eflags = eflags_from_cow(new->cow);
	struct vm_account *cred = charged ? map->account : NULL;

	if (prev == NULL || prev->end != new->start || new->object != NULL)
		return false;
	if ((prev->eflags & ~(uint32_t)MAP_ENTRY_USER_WIRED) != eflags)
		return false;
	if ((eflags & (MAP_ENTRY_GROWS_DOWN | MAP_ENTRY_VN_EXEC |
			  MAP_ENTRY_STACK_GAP)) != 0)
		return false;
	if (prev->cred == charged)
		return true;
	return (eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
	       prev->object.vm_object != NULL &&
	       vm_object_cred(prev->object.vm_object) == cred;
}

static bool
coalesce_extends(const struct vm_map_entry *prev, const struct vm_map_new *new)
{
	return prev->inheritance == insert_inheritance(new) &&
	       prev->protection == new->prot &&
	       prev->max_protection == new->max && prev->wired_count == 0;
}

/* Make the object of `prev` long enough for the new range too. */
static bool
coalesce_objects(vm_map_t map, struct vm_map_entry *prev,
    const struct vm_map_new *new, bool charged)
{
	bool needs_copy = (new->cow &MAP_COPY_ON_WRITE) != 0;
	struct vm_coalesce how = {
	    .offset = prev->offset,
	    .prev_size = entry_size(prev),
	    .next_size = new->end - new->start,
	    .charged = charged && !needs_copy,
	};

	return vm_object_coalesce(prev->object.vm_object, &how,
	    &map->dead_objects);
}

/* Extend the entry at the cursor over the new range behind it. */
static void
insert_extend(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *new)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);

	MPASS(prev->end == new->start);

	if (!entry_is_guard(prev))
		map->size += new->end - new->start;
	vm_tree_resize(&map->tree, cur, prev->start, new->end);
	map->updates++;
}

static struct vm_map_entry *
entry_create(vm_map_t map, const struct vm_map_new *new, bool charged)
{
	struct vm_map_entry *entry = uma_zalloc_reserved(&map->entries);

	*entry = (struct vm_map_entry){
	    .start = new->start,
	    .end = new->end,
	    .object.vm_object = new->object,
	    .offset = new->offset,
	    .eflags = eflags_from_cow(new->cow),
	    .protection = new->prot,
	    .max_protection = new->max,
	    .inheritance = insert_inheritance(new),
	    .cred = charged,
	};
	return entry;
}

/* Try to merge the entry at the cursor with both its neighbours. */
static void
merge_both(vm_map_t map, struct vm_cursor *cur)
{
	(void)vm_map_try_merge(map, cur);
	if (vm_cursor_gap_start(cur) == vm_cursor_gap_end(cur) &&
	    vm_tree_next(&map->tree, cur))
		(void)vm_map_try_merge(map, cur);
}

static void
insert_link(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *new,
    bool charged)
{
	struct vm_map_entry *entry = entry_create(map, new, charged);

	if (!entry_is_guard(entry))
		map->size += entry_size(entry);
	vm_tree_insert(&map->tree, cur, entry);
	map->updates++;
	merge_both(map, cur);
	if ((new->cow &(MAP_PREFAULT | MAP_PREFAULT_PARTIAL)) != 0)
		vm_map_pmap_enter(map, new->start, new->end, new->prot);
}

void
vm_map_insert_commit(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *new, bool charged)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);
	struct vm_map_new cont = *new;

	vm_map_assert_wlocked(map);

	if (new->object != NULL)
		vm_object_mapped(new->object);
	if (!coalesce_agrees(map, prev, new, charged) ||
	    !coalesce_objects(map, prev, new, charged)) {
		insert_link(map, cur, new, charged);
		return;
	}
	if (coalesce_extends(prev, new)) {
		insert_extend(map, cur, new);
		if (vm_tree_next(&map->tree, cur))
			(void)vm_map_try_merge(map, cur);
		return;
	}
	if (prev->object.vm_object != NULL) {
		cont.object = prev->object.vm_object;
		cont.offset = prev->offset + entry_size(prev);
		vm_object_reference(cont.object);
		/* The object already pays for the new range. */
		if (vm_object_cred(cont.object) != NULL &&
		    (prev->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
			charged = false;
	}
	insert_link(map, cur, &cont, charged);
}

/* Does the new range surely take no entry of its own? */
static bool
insert_extends(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *new, bool charged)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);

	return coalesce_agrees(map, prev, new, charged) &&
	       coalesce_extends(prev, new);
}

int
vm_map_insert_at(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *new)
{
	bool charged = vm_map_insert_charges(new);
	int rv;

	rv = vm_map_reserve(map, 1, !insert_extends(map, cur, new, charged));
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_insert_charge(map, new, &charged);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_insert_commit(map, cur, new, charged);
	return KERN_SUCCESS;
}

int
vm_map_insert(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max, int cow)
{
	struct vm_map_new new = {
	    .object = object,
	    .offset = offset,
	    .start = start,
	    .end = end,
	    .prot = prot,
	    .max = max,
	    .cow = cow,
	};
	struct vm_cursor cur;
	int rv;

	vm_map_assert_wlocked(map);

	rv = insert_check_early(map, &new);
	if (rv != KERN_SUCCESS)
		return rv;
	if (!vm_map_is_free(map, start, end, &cur))
		return KERN_NO_SPACE;
	rv = insert_check_late(map, &new);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_map_insert_at(map, &cur, &new);
}

/* Deleting. */

int
vm_map_delete_check(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	struct vm_cursor cur;
	struct vm_map_entry *entry;
	int rv;

	rv = vm_map_clip_check(map, start);
	if (rv != KERN_SUCCESS)
		return rv;
	if (!vm_map_is_system(map))
		for (entry = vm_map_seek_next(map, start, &cur);
		     entry != NULL && entry->start < end;
		     entry = vm_map_next(map, &cur))
			if (entry_system_wired(entry) > 0)
				return KERN_WOULD_BLOCK;
	return vm_map_clip_check(map, end);
}

int
vm_map_delete_reserve(vm_map_t map, vm_offset_t start, vm_offset_t end,
    unsigned ninserts, vm_object_t *sparep)
{
	unsigned nclips = 0, nremoved = 0, n;
	struct vm_cursor cur;
	struct vm_map_entry *entry;

	nclips += entry_across(map, start) != NULL;
	nclips += entry_across(map, end) != NULL;
	/* More than three need not be counted: they make up for the rest. */
	for (entry = vm_map_seek_next(map, start, &cur);
	     entry != NULL && entry->start < end && nremoved < 4;
	     entry = vm_map_next(map, &cur))
		nremoved++;

	n = nclips + ninserts;
	return reserve_range(map, start, end, n, n - MIN(n, nremoved), sparep);
}

void
vm_map_entry_delete(vm_map_t map, struct vm_cursor *cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(cur);
	vm_size_t size = entry_size(entry);

	if ((entry->eflags & MAP_ENTRY_USER_WIRED) != 0)
		map->user_wired -= size;
	if (!entry_is_guard(entry))
		map->size -= size;
	if (entry->cred)
		vm_account_release(map->account, size);
	vm_map_pmap_remove(map, entry->start, entry->end);
	if (entry->object.vm_object != NULL &&
	    (entry->eflags & MAP_ENTRY_IS_SUB_MAP) == 0)
		vm_object_unmapped(entry->object.vm_object, entry->offset, size,
		    &map->dead_objects);
	vm_tree_remove(&map->tree, cur);
	entry_retire(map, entry);
	map->updates++;
}

void
vm_map_delete_commit(vm_map_t map, vm_offset_t start, vm_offset_t end,
    vm_object_t *sparep)
{
	struct vm_cursor cur;
	struct vm_map_entry *entry;

	vm_map_assert_wlocked(map);

	entry = vm_map_seek_next(map, start, &cur);
	if (entry != NULL && entry->start < start)
		vm_map_clip_start(map, &cur, start, sparep);
	while (entry != NULL && entry->start < end) {
		vm_map_clip_end(map, &cur, end, sparep);
		vm_map_entry_delete(map, &cur);
		entry = vm_map_next(map, &cur);
	}
	vm_object_spare_fini(sparep);
}

int
vm_map_delete(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	vm_object_t spare = NULL;
	int rv;

	vm_map_assert_wlocked(map);

	/* FreeBSD does not clamp here; what is outside has no entries. */
	vm_map_clamp(map, &start, &end);
	if (start == end)
		return KERN_SUCCESS;
	rv = vm_map_delete_check(map, start, end);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_delete_reserve(map, start, end, 0, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_delete_commit(map, start, end, &spare);
	return KERN_SUCCESS;
}

int
vm_map_remove(vm_map_t map, vm_offset_t start, vm_offset_t end)
{
	int rv;

	vm_map_lock(map);
	rv = vm_map_delete(map, start, end);
	vm_map_unlock(map);
	return rv;
}

/* Bytes that cutting the object behind `first` pages would release. */
static vm_size_t
truncation_releases(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_size_t size, bool shared)
{
	vm_pindex_t first = offset / map->pagesize;
	vm_pindex_t last = first + size / map->pagesize;

	if (object->cred != map->account ||
	    (object->flags & OBJ_ONEMAPPING) == 0 ||
	    (object->refs == 1 && !shared) || last < object->size ||
	    first >= object->size)
		return 0;
	return (object->size - first) * map->pagesize;
}

/* Bytes that deleting [start, end) out of one entry gives back at once. */
static vm_size_t
entry_releases(vm_map_t map, const struct vm_map_entry *entry,
    vm_offset_t start, vm_offset_t end)
{
	bool cut = entry->start < start || entry->end > end;
	vm_object_t object = entry->object.vm_object;
	vm_ooffset_t offset = entry->offset;
	vm_size_t own = 0;

	if (entry->start < start)
		offset += start - entry->start;
	start = MAX(start, entry->start);
	end = MIN(end, entry->end);
	MPASS(start < end);

	if (entry->cred) {
		bool moves = object == NULL
				 ? vm_map_clip_backs(map, entry)
				 : (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0;

		/* The clip gives the charge to the object, cut at its end. */
		if (cut && moves)
			return object == NULL && end == entry->end
				   ? end - start
				   : 0;
		own = end - start;
	}
	if (object == NULL || (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
		return own;
	return own + truncation_releases(map, object, offset, end - start, cut);
}

int
vm_map_replace_charge(vm_map_t map, vm_offset_t start, vm_offset_t end,
    const struct vm_map_new *new, bool *chargedp)
{
	vm_size_t bytes = new->end - new->start, back = 0;
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	if (!vm_map_insert_charges(new) || (new->cow &MAP_ACC_CHARGED) != 0)
		return vm_map_insert_charge(map, new, chargedp);
	for (entry = vm_map_seek_next(map, start, &cur);
	     entry != NULL && entry->start < end;
	     entry = vm_map_next(map, &cur))
		back += entry_releases(map, entry, start, end);
	/* Ask as if it were gone, but keep it until the commit. */
	vm_account_release(map->account, back);
	*chargedp = vm_map_swap_reserve(map, bytes);
	vm_account_charge(map->account, back);
	return *chargedp ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
}

void
vm_map_clear(vm_map_t map)
{
	struct vm_cursor cur;

	vm_map_assert_wlocked(map);

	while (vm_map_seek_next(map, map->tree.min, &cur) != NULL)
		vm_map_entry_delete(map, &cur);
}
