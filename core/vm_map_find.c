/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Finding space and inserting: insert, findspace, find, find_min,
 * find_aligned, fixed.
 *
 * Insertion decides first, without side effects, then sets aside what the
 * commit can use, and then commits in code that cannot fail.
 *
 * FreeBSD finds a gap by size, aligns the address in it, and searches again
 * from there when it does not fit any more.  The answer of that loop is the
 * lowest address that is congruent and fits, which the tree finds in one
 * descent; so here alignment is part of the request.
 */

#include "core/vm_map_int.h"

/* Inserting. */

/* The bits of the cow word that become bits of the entry. */
static inline uint32_t
eflags_from_cow(int cow)
{
	uint32_t boundary = (uint32_t)(cow & MAP_SPLIT_BOUNDARY_MASK) >>
			    MAP_SPLIT_BOUNDARY_SHIFT;
	uint32_t eflags = boundary << MAP_ENTRY_SPLIT_BOUNDARY_SHIFT;

#define COW_BIT(from, to) (((cow & (from)) != 0) ? (uint32_t)(to) : 0)
	eflags |=
	    COW_BIT(MAP_COPY_ON_WRITE, MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY);
	eflags |= COW_BIT(MAP_NOFAULT, MAP_ENTRY_NOFAULT);
	eflags |= COW_BIT(MAP_DISABLE_SYNCER, MAP_ENTRY_NOSYNC);
	eflags |= COW_BIT(MAP_CREATE_GUARD, MAP_ENTRY_GUARD);
	eflags |= COW_BIT(MAP_DISABLE_COREDUMP, MAP_ENTRY_NOCOREDUMP);
	eflags |= COW_BIT(MAP_WRITECOUNT, MAP_ENTRY_WRITECNT);
	eflags |= COW_BIT(MAP_STACK_AREA, MAP_ENTRY_GROWS_DOWN);
	eflags |= COW_BIT(MAP_CREATE_STACK_GAP, MAP_ENTRY_STACK_GAP);
	eflags |= COW_BIT(MAP_VN_EXEC, MAP_ENTRY_VN_EXEC);
#undef COW_BIT
	return eflags;
}

/* I5: the split boundary, if any, fits the machine and the range. */
static int
boundary_check(vm_map_t map, const struct vm_map_new *ins)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	int index =
	    (ins->cow & MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	vm_size_t mask;

	MPASS(index >= 0 && index < VM_MAXPAGESIZES);

	if (index == 0)
		return KERN_SUCCESS;
	if (index >= machine->npagesizes)
		return KERN_INVALID_ARGUMENT;
	mask = machine->pagesizes[index] - 1; /* all ones: not supported */
	if (((ins->start | ins->end) & mask) != 0)
		return KERN_INVALID_ARGUMENT;
	return KERN_SUCCESS;
}

/* What callers may not do. */
static inline void
insert_assert(vm_map_t map, const struct vm_map_new *ins)
{
	KASSERT((ins->prot & ~ins->max) == 0, "rights beyond the maximum");
	KASSERT((ins->cow & MAP_NOFAULT) == 0 || ins->object == NULL ||
		    (ins->cow & MAP_SPLIT_BOUNDARY_MASK) != 0,
	    "an object that cannot be faulted");
	KASSERT(((ins->start | ins->end | ins->offset) & (map->pagesize - 1)) ==
		    0,
	    "not page aligned");
}

/* I1 and I2: what is refused before the map is looked at. */
static int
insert_check_early(vm_map_t map, const struct vm_map_new *ins)
{
	insert_assert(map, ins);

	if (ins->start == ins->end ||
	    !vm_map_range_valid(map, ins->start, ins->end))
		return KERN_INVALID_ADDRESS;
	if ((map->flags & MAP_WXORX) != 0 &&
	    (ins->prot & (VM_PROT_WRITE | VM_PROT_EXECUTE)) ==
		(VM_PROT_WRITE | VM_PROT_EXECUTE))
		return KERN_PROTECTION_FAILURE;
	return KERN_SUCCESS;
}

/* I4 and I5: what is refused when the range is free. */
static int
insert_check_late(vm_map_t map, const struct vm_map_new *ins)
{
	if ((ins->cow & MAP_CREATE_GUARD) != 0 &&
	    (ins->object != NULL || ins->max != VM_PROT_NONE))
		return KERN_INVALID_ARGUMENT;
	return boundary_check(map, ins);
}

int
vm_map_insert_check(vm_map_t map, const struct vm_map_new *ins)
{
	int rv = insert_check_early(map, ins);

	return rv != KERN_SUCCESS ? rv : insert_check_late(map, ins);
}

bool
vm_map_is_free(vm_map_t map, vm_offset_t start, vm_offset_t end,
    struct vm_cursor *cur)
{
	MPASS(start <= end);

	return vm_map_seek(map, start, cur) == NULL &&
	       end <= vm_cursor_gap_end(cur);
}

/* A1: may swap be reserved for this, and must it be? */
static bool
insert_is_chargeable(const struct vm_map_new *ins)
{
	return (ins->cow &
		   (MAP_ACC_NO_CHARGE | MAP_NOFAULT | MAP_CREATE_GUARD)) == 0;
}

static inline bool
insert_charges(const struct vm_map_new *ins)
{
	if (!insert_is_chargeable(ins))
		return false;
	return (ins->cow & MAP_ACC_CHARGED) != 0 ||
	       ((ins->prot & VM_PROT_WRITE) != 0 &&
		   ((ins->cow & MAP_COPY_ON_WRITE) != 0 ||
		       ins->object == NULL));
}

/* MAP_ACC_CHARGED: the caller has asked whoever there is to ask. */
static __attribute__((noinline)) void
insert_charge_unasked(vm_map_t map, const struct vm_map_new *ins)
{
	KASSERT((ins->cow & MAP_COPY_ON_WRITE) != 0 ||
		    vm_object_cred(ins->object) == NULL,
	    "a charge beside the object's own");
	vm_account_charge(map->account, ins->end - ins->start);
}

static inline int
insert_charge(vm_map_t map, const struct vm_map_new *ins, bool *chargedp)
{
	vm_size_t bytes = ins->end - ins->start;
	bool charged = insert_charges(ins);

	vm_map_assert_wlocked(map);

	if (charged && (ins->cow & MAP_ACC_CHARGED) != 0)
		insert_charge_unasked(map, ins);
	else if (charged && !vm_map_swap_reserve(map, bytes))
		return KERN_RESOURCE_SHORTAGE;
	*chargedp = charged;
	return KERN_SUCCESS;
}

bool
vm_map_insert_charges(const struct vm_map_new *ins)
{
	return insert_charges(ins);
}

int
vm_map_insert_charge(vm_map_t map, const struct vm_map_new *ins, bool *chargedp)
{
	return insert_charge(map, ins, chargedp);
}

static vm_inherit_t
insert_inheritance(const struct vm_map_new *ins)
{
	return (ins->cow & MAP_INHERIT_SHARE) != 0 ? VM_INHERIT_SHARE
						   : VM_INHERIT_DEFAULT;
}

/*
 * M1, M4: may a new anonymous range go on with what `prev` shows?  BUG-14:
 * gaps do not, FreeBSD extends a stale one.
 */
static inline bool
coalesce_agrees(vm_map_t map, const struct vm_map_entry *prev,
    const struct vm_map_new *ins, uint32_t eflags, bool charged)
{
	const int never = MAP_STACK_AREA | MAP_VN_EXEC | MAP_CREATE_STACK_GAP;
	struct vm_account *cred = charged ? map->account : NULL;

	/* What needs no look at the entry comes first. */
	if (ins->object != NULL || (never & ins->cow) != 0 || prev == NULL ||
	    prev->end != ins->start)
		return false;
	if ((prev->eflags & ~(uint32_t)MAP_ENTRY_USER_WIRED) != eflags)
		return false;
	if (prev->cred == charged)
		return true;
	return (eflags & MAP_ENTRY_NEEDS_COPY) == 0 &&
	       prev->object.vm_object != NULL &&
	       vm_object_cred(prev->object.vm_object) == cred;
}

static bool
coalesce_extends(const struct vm_map_entry *prev, const struct vm_map_new *ins)
{
	return prev->inheritance == insert_inheritance(ins) &&
	       prev->protection == ins->prot &&
	       prev->max_protection == ins->max && prev->wired_count == 0;
}

/* Make the object of `prev` long enough for the new range too. */
static bool
coalesce_objects(vm_map_t map, struct vm_map_entry *prev,
    const struct vm_map_new *ins, bool charged)
{
	bool needs_copy = (ins->cow & MAP_COPY_ON_WRITE) != 0;
	struct vm_coalesce how = {
	    .offset = prev->offset,
	    .prev_size = entry_size(prev),
	    .next_size = ins->end - ins->start,
	    .charged = charged && !needs_copy,
	};

	MPASS(ins->object == NULL && prev->end == ins->start);

	return vm_object_coalesce(prev->object.vm_object, &how,
	    &map->dead_objects);
}

/* Extend the entry at the cursor over the new range behind it. */
static void
insert_extend(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);

	MPASS(prev->end == ins->start);

	if (!entry_is_guard(prev))
		map->size += ins->end - ins->start;
	vm_tree_resize(&map->tree, cur, prev->start, ins->end);
	map->updates++;
}

static inline struct vm_map_entry *
entry_create(vm_map_t map, const struct vm_map_new *ins, uint32_t eflags,
    bool charged)
{
	struct vm_map_entry *entry = uma_zalloc_reserved(&map->entries);

	MPASS(ins->start < ins->end);

	*entry = (struct vm_map_entry){
	    .start = ins->start,
	    .end = ins->end,
	    .object.vm_object = ins->object,
	    .offset = ins->offset,
	    .eflags = eflags,
	    .protection = ins->prot,
	    .max_protection = ins->max,
	    .inheritance = insert_inheritance(ins),
	    .cred = charged,
	};
	entry->bare = vm_entry_is_bare(entry);
	return entry;
}

static inline void
insert_link(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins,
    uint32_t eflags, bool charged)
{
	struct vm_map_entry *entry = entry_create(map, ins, eflags, charged);

	MPASS(vm_cursor_gap_start(cur) <= ins->start);
	MPASS(ins->end <= vm_cursor_gap_end(cur));

	if ((eflags & MAP_ENTRY_GUARD) == 0)
		map->size += ins->end - ins->start;
	vm_tree_insert(&map->tree, cur, entry);
	map->updates++;
	vm_map_merge_both(map, cur);
	if ((ins->cow & (MAP_PREFAULT | MAP_PREFAULT_PARTIAL)) != 0)
		vm_map_pmap_enter(map, ins->start, ins->end, ins->prot);
}

/* Link an entry that goes on with what the object of `prev` has. */
static void
insert_continue(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins, uint32_t eflags, bool charged)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);
	struct vm_map_new cont = *ins;

	MPASS(ins->object == NULL && prev->end == ins->start);

	if (prev->object.vm_object != NULL) {
		cont.object = prev->object.vm_object;
		cont.offset = prev->offset + entry_size(prev);
		vm_object_reference(cont.object);
		/* The object already pays for the new range. */
		if (vm_object_cred(cont.object) != NULL &&
		    (prev->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
			charged = false;
	}
	insert_link(map, cur, &cont, eflags, charged);
}

/*
 * Enter the new range behind the cursor.  Without `room` only the entry in
 * front may grow; false: it cannot, and nothing has changed.
 */
static inline bool
insert_enter(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins,
    bool charged, bool room)
{
	struct vm_map_entry *prev = vm_cursor_entry(cur);
	uint32_t eflags = eflags_from_cow(ins->cow);
	bool agrees, extends;

	vm_map_assert_wlocked(map);

	if (ins->object != NULL)
		vm_object_mapped(ins->object);
	agrees = coalesce_agrees(map, prev, ins, eflags, charged);
	extends = agrees && coalesce_extends(prev, ins);
	if (!extends && !room)
		return false;
	if (!agrees || !coalesce_objects(map, prev, ins, charged)) {
		if (room)
			insert_link(map, cur, ins, eflags, charged);
		return room;
	}
	if (!extends) {
		insert_continue(map, cur, ins, eflags, charged);
		return true;
	}
	insert_extend(map, cur, ins);
	if (vm_cursor_gap_start(cur) == vm_cursor_gap_end(cur) &&
	    vm_tree_next(&map->tree, cur))
		(void)vm_map_try_merge(map, cur);
	return true;
}

void
vm_map_insert_commit(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins, bool charged)
{
	bool entered;

	vm_map_assert_wlocked(map);

	entered = insert_enter(map, cur, ins, charged, true);
	MPASS(entered);
}

static inline int
insert_at(vm_map_t map, struct vm_cursor *cur, const struct vm_map_new *ins)
{
	uint64_t limit = map->limits.nentries;
	bool room = limit == 0 || map->tree.count < limit;
	bool charged;
	int rv;

	vm_map_assert_wlocked(map);

	rv = vm_map_reserve_one(map);
	if (rv == KERN_SUCCESS)
		rv = insert_charge(map, ins, &charged);
	if (rv != KERN_SUCCESS)
		return rv;
	if (insert_enter(map, cur, ins, charged, room))
		return KERN_SUCCESS;
	if (charged)
		vm_account_release(map->account, ins->end - ins->start);
	return KERN_RESOURCE_SHORTAGE;
}

int
vm_map_insert_at(vm_map_t map, struct vm_cursor *cur,
    const struct vm_map_new *ins)
{
	return insert_at(map, cur, ins);
}

int
vm_map_insert(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max, int cow)
{
	struct vm_map_new ins = {
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

	rv = insert_check_early(map, &ins);
	if (rv != KERN_SUCCESS)
		return rv;
	if (!vm_map_is_free(map, start, end, &cur))
		return KERN_NO_SPACE;
	rv = insert_check_late(map, &ins);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_map_insert_at(map, &cur, &ins);
}

/* Finding. */

/* BUG-4: FreeBSD adds slack to the length before it looks at it. */
static bool
length_fits(vm_map_t map, vm_size_t length)
{
	return length <= map->tree.max - map->tree.min;
}

/* The lowest fit at or above `start`.  The cursor is then in front of it. */
static inline bool
fit(vm_map_t map, vm_offset_t start, vm_size_t length, vm_size_t align,
    vm_offset_t phase, struct vm_cursor *cur, vm_offset_t *addrp)
{
	struct vm_gap_req req = {
	    .start = MAX(start, map->tree.min),
	    .length = length,
	    .align = MAX(align, map->pagesize),
	};

	MPASS(powerof2(align));

	if (req.start >= map->tree.max || length > map->tree.max - req.start)
		return false;
	req.phase = phase & (req.align - 1);
	return vm_tree_fit(&map->tree, &req, cur, addrp);
}

int
vm_map_findspace(vm_map_t map, vm_offset_t start, vm_size_t length,
    vm_offset_t *addrp)
{
	struct vm_cursor cur;
	vm_offset_t addr;

	vm_map_assert_locked(map);

	start = MAX(start, map->tree.min);
	if (length == 0) {
		/* F2: behind the very entry that holds it, whatever is there.
		 */
		if (start >= map->tree.max)
			return 1;
		*addrp = vm_map_seek(map, start, &cur) != NULL
			     ? vm_cursor_gap_start(&cur)
			     : start;
		return 0;
	}
	if (start >= map->tree.max || length > map->tree.max - start)
		return 1;
	if ((start & (map->pagesize - 1)) != 0) {
		/* Only here: what comes after it are ends of entries. */
		if (vm_map_is_free(map, start, start + length, &cur)) {
			*addrp = start;
			return 0;
		}
		start = roundup2(start, map->pagesize);
	}
	if (!fit(map, start, length, map->pagesize, 0, &cur, &addr))
		return 1;
	*addrp = addr;
	return 0;
}

/* What a strategy asks of an address: addr % align == phase. */
struct congruence {
	vm_size_t align; /* 1: anything will do */
	vm_offset_t phase;
};

/*
 * S4, S6: congruent to the object at the largest superpage of which at least
 * one whole fits behind the partial head; anything if none does.
 */
static struct congruence
superpage_congruence(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_size_t length)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	vm_offset_t phase = vm_object_phase(object, offset);

	MPASS(length > 0);

	for (int i = 0; i < machine->nsuper; i++) {
		vm_size_t super = machine->super[i];
		vm_size_t head = (super - (phase & (super - 1))) & (super - 1);

		/* BUG-13: the subtraction must not wrap; head < super. */
		if (length >= super && length - head >= super)
			return (struct congruence){super, phase & (super - 1)};
	}
	return (struct congruence){1, 0};
}

static struct congruence
strategy_congruence(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_size_t length, int find_space)
{
	if (find_space == VMFS_ANY_SPACE)
		return (struct congruence){1, 0};
	if ((find_space >> 8) != 0)
		return (
		    struct congruence){(vm_size_t)1 << (find_space >> 8), 0};
	return superpage_congruence(map, object, offset, length);
}

/* One call of vm_map_find(): what was asked, and what the search decides. */
struct find {
	const struct vm_map_new *ins; /* start: the hint; end: not used */
	vm_size_t length;
	vm_offset_t max_addr; /* 0: none */
	int strategy;         /* VMFS_*, as it may have been weakened */
	bool update;          /* anon_loc follows the result */
	struct vm_cursor cur; /* in front of the result */
	vm_offset_t addr;     /* the result */
};

static bool
within_max_addr(const struct find *find, vm_offset_t addr)
{
	return find->max_addr == 0 ||
	       (addr <= find->max_addr &&
		   find->length <= find->max_addr - addr);
}

/* The lowest address from `start` on that the strategy accepts. */
static bool
find_from(vm_map_t map, struct find *find, vm_offset_t start)
{
	const struct vm_map_new *ins = find->ins;
	struct congruence want = strategy_congruence(map, ins->object,
	    ins->offset, find->length, find->strategy);
	vm_offset_t addr;

	MPASS(find->length > 0);

	if (!fit(map, start, find->length, want.align, want.phase, &find->cur,
		&addr) ||
	    !within_max_addr(find, addr))
		return false;
	find->addr = addr;
	return true;
}

/* The same without alignment, and without taking the result. */
static bool
any_from(vm_map_t map, const struct find *find, vm_offset_t start)
{
	struct vm_cursor cur;
	vm_offset_t addr;

	MPASS(find->length > 0 && find->max_addr == 0);

	return fit(map, start, find->length, 1, 0, &cur, &addr);
}

/* S9: does this go where the other anonymous mappings are? */
static bool
clusters(vm_map_t map, const struct find *find)
{
	const struct vm_map_new *ins = find->ins;
	int allowed = map->limits.cluster_anon;

	MPASS(find->strategy != VMFS_NO_SPACE);

	if (allowed == 0 ||
	    (allowed == 1 && ins->start != 0 && (ins->cow & MAP_NO_HINT) == 0))
		return false;
	return (map->flags & MAP_IS_SUB_MAP) == 0 && find->max_addr == 0 &&
	       ins->object == NULL &&
	       (ins->cow & (MAP_INHERIT_SHARE | MAP_STACK_AREA)) == 0 &&
	       ins->prot != VM_PROT_NONE;
}

enum find_result {
	FIND_FOUND,
	FIND_NEXT_TRY, /* no room: try elsewhere */
	FIND_NO_SPACE, /* room, but not aligned: give up */
};

/*
 * ASLR: find room for the range and some slack, and begin somewhere in the
 * slack.  The grain is the superpage that the range is long enough for.
 */
static enum find_result
find_random(vm_map_t map, struct find *find, vm_offset_t start)
{
	const struct arch_machine *machine = map->pmap->arch->machine;
	bool super = find->strategy == VMFS_SUPER_SPACE ||
		     find->strategy == VMFS_OPTIMAL_SPACE;
	vm_offset_t limit = map->tree.max, addr;
	int level = super ? machine->nsuper : 0;
	vm_size_t pagesize, slack;
	struct vm_cursor cur;
	bool wide, coarse;
	unsigned bound;

	MPASS(map->random != NULL);

	if (find->max_addr != 0)
		limit = MIN(limit, find->max_addr);
	while (level > 0 && find->length < machine->pagesizes[level])
		level--;
	wide = limit > (vm_offset_t)1 << 31;
	coarse = level > 0 && level == machine->nsuper;
	bound = wide ? (coarse ? 0x10 : 0x1000) : (coarse ? 4 : 0x100);
	pagesize = machine->pagesizes[level];
	slack = bound * pagesize;
	if (slack > map->tree.max - map->tree.min - find->length ||
	    !fit(map, start, find->length + slack, 1, 0, &cur, &addr))
		return FIND_NEXT_TRY;
	addr += map->random(map->random_arg, bound) * pagesize;
	if (!within_max_addr(find, addr))
		return FIND_NEXT_TRY;
	return find_from(map, find, addr) ? FIND_FOUND : FIND_NO_SPACE;
}

/* S9: near the other anonymous mappings. */
static enum find_result
find_cluster(vm_map_t map, struct find *find)
{
	MPASS(map->anon_loc != 0);

	if (find_from(map, find, map->anon_loc))
		return FIND_FOUND;
	return any_from(map, find, map->anon_loc) ? FIND_NO_SPACE
						  : FIND_NEXT_TRY;
}

/*
 * Where anonymous mappings cluster, or somewhere random; then plainly from the
 * hint.  KERN_NO_SPACE.
 */
static int
find_tries(vm_map_t map, struct find *find)
{
	bool ignstart = (map->flags & MAP_ASLR_IGNSTART) != 0;
	bool aslr = (map->flags & MAP_ASLR) != 0;
	vm_offset_t start = find->ins->start;
	enum find_result first;

	vm_map_assert_wlocked(map);

	if (aslr && start == 0 && !find->update && ignstart)
		start = map->tree.min;
	/* BUG-3: without a place to cluster at, the default address counts. */
	if (find->update && map->anon_loc != 0)
		first = find_cluster(map, find);
	else if (aslr && map->random != NULL)
		first = find_random(map, find, start);
	else
		return find_from(map, find, start) ? KERN_SUCCESS
						   : KERN_NO_SPACE;
	if (first == FIND_NEXT_TRY &&
	    find_from(map, find, ignstart ? map->tree.min : start))
		first = FIND_FOUND;
	return first == FIND_FOUND ? KERN_SUCCESS : KERN_NO_SPACE;
}

/* Decide where: find->addr and the cursor.  KERN_NO_SPACE. */
static int
find_place(vm_map_t map, struct find *find)
{
	int rv;

	if (find->strategy == VMFS_OPTIMAL_SPACE &&
	    !vm_object_is_colored(find->ins->object))
		find->strategy = VMFS_ANY_SPACE;
	find->update = clusters(map, find);
	if (find->length == 0) /* whether or not there is room */
		return KERN_INVALID_ADDRESS;
	if (!length_fits(map, find->length))
		return KERN_NO_SPACE;
	rv = find_tries(map, find);
	if (rv != KERN_SUCCESS && find->strategy == VMFS_OPTIMAL_SPACE) {
		find->strategy = VMFS_ANY_SPACE;
		rv = find_tries(map, find);
	}
	return rv;
}

/* Enter what was found, or a stack there. */
static int
find_create(vm_map_t map, struct find *find)
{
	struct vm_map_new ins = *find->ins;
	int rv;

	MPASS(find->addr >= map->tree.min);

	ins.start = find->addr;
	ins.end = find->addr + find->length;
	if ((ins.cow & MAP_STACK_AREA) != 0)
		return vm_map_stack_locked(map, ins.start, find->length,
		    VM_MAP_STACK_GROW, ins.prot, ins.max, ins.cow);
	rv = vm_map_insert_check(map, &ins);
	if (rv != KERN_SUCCESS)
		return rv;
	return vm_map_insert_at(map, &find->cur, &ins);
}

/*
 * Replace what is in [ins->start, ins->end): all that can fail comes first,
 * so the old entries go only when the new one is certain (BUG-6).
 */
static int
replace(vm_map_t map, const struct vm_map_new *ins)
{
	struct vm_map_range range;
	vm_object_t spare = NULL;
	struct vm_cursor cur;
	bool charged = false, isfree;
	int rv;

	vm_map_range_find(map, ins->start, ins->end, &range);
	rv = vm_map_delete_check(map, &range);
	if (rv == KERN_SUCCESS)
		rv = vm_map_insert_check(map, ins);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_delete_reserve(map, &range, 1, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_replace_charge(map, ins->start, ins->end, ins, &charged);
	if (rv != KERN_SUCCESS) {
		vm_object_spare_fini(&spare);
		return rv;
	}
	vm_map_delete_commit(map, &range, &spare);
	isfree = vm_map_is_free(map, ins->start, ins->end, &cur);
	MPASS(isfree);
	vm_map_insert_commit(map, &cur, ins, charged);
	return KERN_SUCCESS;
}

/* Replace with a stack, which is two entries. */
static int
replace_stack(vm_map_t map, const struct vm_map_new *ins)
{
	struct vm_map_range range;
	vm_object_t spare = NULL;
	struct vm_map_stack stack;
	int rv;

	vm_map_assert_wlocked(map);
	MPASS(ins->object == NULL);

	vm_map_range_find(map, ins->start, ins->end, &range);
	rv = vm_map_delete_check(map, &range);
	if (rv == KERN_SUCCESS)
		rv = vm_map_stack_layout(map, ins->start, ins->end - ins->start,
		    VM_MAP_STACK_GROW, ins->prot, ins->max, ins->cow, &stack);
	if (rv == KERN_SUCCESS)
		rv = vm_map_insert_check(map, &stack.stack);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_delete_reserve(map, &range, 2, &spare);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_replace_charge(map, ins->start, ins->end, &stack.stack,
	    &stack.charged);
	if (rv != KERN_SUCCESS) {
		vm_object_spare_fini(&spare);
		return rv;
	}
	vm_map_delete_commit(map, &range, &spare);
	vm_map_stack_commit(map, &stack);
	return KERN_SUCCESS;
}

/* VMFS_NO_SPACE: exactly there. */
static int
find_exact(vm_map_t map, const struct vm_map_new *ins)
{
	vm_map_assert_wlocked(map);

	if (!vm_map_range_valid(map, ins->start, ins->end))
		return KERN_INVALID_ADDRESS;
	if ((ins->cow & MAP_REMAP) != 0)
		return ins->start == ins->end ? KERN_INVALID_ADDRESS
					      : replace(map, ins);
	if ((ins->cow & MAP_STACK_AREA) != 0)
		return vm_map_stack_locked(map, ins->start,
		    ins->end - ins->start, VM_MAP_STACK_GROW, ins->prot,
		    ins->max, ins->cow);
	return vm_map_insert(map, ins->object, ins->offset, ins->start,
	    ins->end, ins->prot, ins->max, ins->cow);
}

/* Any strategy, object and flags, whatever the flags of the map. */
static __attribute__((noinline)) int
find_general(vm_map_t map, const struct vm_map_new *ins, vm_offset_t *addrp,
    vm_size_t length, vm_offset_t max_addr, int find_space)
{
	struct find find = {
	    .ins = ins,
	    .length = length,
	    .max_addr = max_addr,
	    .strategy = find_space,
	};
	int rv;

	vm_map_assert_wlocked(map);

	rv = find_place(map, &find);
	if (rv == KERN_SUCCESS)
		rv = find_create(map, &find);
	if (rv != KERN_SUCCESS)
		return rv;
	if (find.update && (map->anon_loc == 0 || map->anon_loc > find.addr))
		map->anon_loc = find.addr;
	*addrp = find.addr;
	return KERN_SUCCESS;
}

/*
 * Does this ask for nothing but an address from a hint on, perhaps aligned?
 * Then one search decides, and nothing can be wrong with what is inserted.
 */
static inline bool
find_is_plain(vm_map_t map, const struct vm_map_new *ins, int find_space)
{
	const int special = MAP_STACK_AREA | MAP_CREATE_GUARD | MAP_NO_HINT |
			    MAP_SPLIT_BOUNDARY_MASK;

	return map->flags == 0 && ins->object == NULL &&
	       (ins->cow & special) == 0 && find_space != VMFS_SUPER_SPACE &&
	       map->limits.cluster_anon <= (ins->start != 0 ? 1 : 0);
}

/*
 * find_general() for what find_is_plain().  The cursor is the finger itself: it
 * is often what is behind this one, or this one, that comes next.
 */
static inline int
find_plain(vm_map_t map, struct vm_map_new *ins, vm_offset_t *addrp,
    vm_size_t length, vm_offset_t max_addr, int find_space)
{
	vm_size_t align = (vm_size_t)1 << (find_space >> 8);
	struct vm_cursor *cur = &map->tree.finger;
	bool found;
	int rv;

	if (length == 0)
		return KERN_INVALID_ADDRESS;
	found = fit(map, ins->start, length, align, 0, cur, &ins->start);
	map->tree.finger_end = VM_TREE_NOWHERE;
	if (!found)
		return KERN_NO_SPACE;
	ins->end = ins->start + length;
	if (max_addr != 0 && ins->end > max_addr)
		return KERN_NO_SPACE;
	MPASS(map->tree.min <= ins->start && ins->end <= map->tree.max);
	insert_assert(map, ins);
	rv = insert_at(map, cur, ins);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_tree_point(&map->tree);
	*addrp = ins->start;
	return KERN_SUCCESS;
}

int
vm_map_find_locked(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t *addrp, vm_size_t length, vm_offset_t max_addr, int find_space,
    vm_prot_t prot, vm_prot_t max, int cow)
{
	struct vm_map_new ins = {
	    .object = object,
	    .offset = offset,
	    .start = *addrp,
	    .end = *addrp + length,
	    .prot = prot,
	    .max = max,
	    .cow = cow,
	};

	vm_map_assert_wlocked(map);
	KASSERT((cow & MAP_STACK_AREA) == 0 || object == NULL,
	    "a stack has no object");
	KASSERT((cow & MAP_REMAP) == 0 || (find_space == VMFS_NO_SPACE &&
					      (cow & MAP_STACK_AREA) == 0),
	    "remapping is for a given address");
	KASSERT(find_space <= VMFS_SUPER_SPACE || (find_space & 0xff) == 0,
	    "an alignment and another strategy");
	KASSERT((find_space >> 8) < 64,
	    "an alignment beyond the address space");

	if (find_space == VMFS_NO_SPACE)
		return find_exact(map, &ins);
	if (find_is_plain(map, &ins, find_space))
		return find_plain(map, &ins, addrp, length, max_addr,
		    find_space);
	return find_general(map, &ins, addrp, length, max_addr, find_space);
}

int
vm_map_find(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t *addrp, vm_size_t length, vm_offset_t max_addr, int find_space,
    vm_prot_t prot, vm_prot_t max, int cow)
{
	int rv;

	vm_map_lock(map);
	rv = vm_map_find_locked(map, object, offset, addrp, length, max_addr,
	    find_space, prot, max, cow);
	vm_map_unlock(map);
	return rv;
}

int
vm_map_find_min(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t *addrp, vm_size_t length, vm_offset_t default_addr,
    vm_offset_t max_addr, int find_space, vm_prot_t prot, vm_prot_t max,
    int cow)
{
	vm_offset_t hint = *addrp, addr;
	int rv;

	if (hint == 0) {
		cow |= MAP_NO_HINT;
		hint = default_addr;
	}
	for (;;) {
		addr = hint;
		rv = vm_map_find(map, object, offset, &addr, length, max_addr,
		    find_space, prot, max, cow);
		if (rv == KERN_SUCCESS)
			*addrp = addr;
		if (rv == KERN_SUCCESS || default_addr >= hint)
			return rv;
		hint = default_addr;
	}
}

int
vm_map_find_aligned(vm_map_t map, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, vm_offset_t alignment)
{
	struct vm_cursor cur;
	vm_offset_t addr;

	vm_map_assert_wlocked(map);
	KASSERT(alignment != 0 && powerof2(alignment), "no power of two");

	if (length == 0 || !length_fits(map, length) ||
	    !fit(map, *addrp, length, alignment, 0, &cur, &addr) ||
	    (max_addr != 0 && (addr > max_addr || length > max_addr - addr)))
		return KERN_NO_SPACE;
	*addrp = addr;
	return KERN_SUCCESS;
}

int
vm_map_fixed(vm_map_t map, vm_object_t object, vm_ooffset_t offset,
    vm_offset_t start, vm_size_t length, vm_prot_t prot, vm_prot_t max, int cow)
{
	struct vm_map_new ins = {
	    .object = object,
	    .offset = offset,
	    .start = start,
	    .end = start + length,
	    .prot = prot,
	    .max = max,
	    .cow = cow & ~MAP_REMAP,
	};
	int rv;

	KASSERT((cow & MAP_STACK_AREA) == 0 || object == NULL,
	    "a stack has no object");

	vm_map_lock(map);
	if (!vm_map_range_valid(map, ins.start, ins.end) || length == 0)
		rv = KERN_INVALID_ADDRESS;
	else if ((cow & MAP_CHECK_EXCL) != 0)
		rv = find_exact(map, &ins);
	else if ((cow & MAP_STACK_AREA) != 0)
		rv = replace_stack(map, &ins);
	else
		rv = replace(map, &ins);
	vm_map_unlock(map);
	return rv;
}
