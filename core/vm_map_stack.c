/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Stacks that grow down.
 *
 *	addrbos                                        addrbos + max_ssize
 *	| guard |            gap              |  stack  |
 *	        <-- grows by whole units ------
 *
 * Guard and gap are one entry, which remembers how much of it is guard, and
 * the rights that what grows into it will have.
 */

#include "core/vm_map_int.h"

int
vm_map_stack_layout(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_size_t growsize, vm_prot_t prot, vm_prot_t max, int cow,
    struct vm_map_stack *stackp)
{
	vm_size_t guard = map->limits.stack_guard, init = growsize;
	vm_offset_t end = addrbos + max_ssize;
	struct vm_map_stack stack;

	MPASS((growsize & (map->pagesize - 1)) == 0);
	KASSERT((prot & ~max) == 0, "rights beyond the maximum");

	if (max_ssize == 0 || !vm_map_range_valid(map, addrbos, end))
		return KERN_INVALID_ADDRESS;
	if (guard >= max_ssize)
		return KERN_INVALID_ARGUMENT;
	if (max_ssize - guard < init)
		init = max_ssize - guard;
	stack = (struct vm_map_stack){
	    .stack =
		{
		    .start = end - init,
		    .end = end,
		    .prot = prot,
		    .max = max,
		    .cow = cow | MAP_STACK_AREA,
		},
	    .gap =
		{
		    .start = addrbos,
		    .end = end - init,
		    .cow = MAP_CREATE_GUARD | MAP_CREATE_STACK_GAP,
		},
	    .has_gap = addrbos < end - init,
	    .guard = guard,
	    .prot = prot,
	    .max = max,
	};
	*stackp = stack;
	return KERN_SUCCESS;
}

void
vm_map_stack_commit(vm_map_t map, const struct vm_map_stack *stack)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	bool isfree;

	isfree = vm_map_is_free(map, stack->gap.start, stack->stack.end, &cur);
	MPASS(isfree);
	vm_map_insert_commit(map, &cur, &stack->stack, stack->charged);
	if (!stack->has_gap)
		return;
	(void)vm_map_seek(map, stack->gap.start, &cur);
	vm_map_insert_commit(map, &cur, &stack->gap, false);
	/* Gaps never merge, so the cursor is still at it. */
	(void)vm_map_seek(map, stack->gap.start, &cur);
	entry = vm_cursor_entry(&cur);
	MPASS((entry->eflags & MAP_ENTRY_STACK_GAP) != 0);
	entry->guard = stack->guard;
	entry->gap_prot = stack->prot;
	entry->gap_max = stack->max;
}

int
vm_map_stack_locked(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_size_t growsize, vm_prot_t prot, vm_prot_t max, int cow)
{
	struct vm_map_stack stack;
	struct vm_cursor cur;
	unsigned n;
	int rv;

	vm_map_assert_wlocked(map);

	rv = vm_map_stack_layout(map, addrbos, max_ssize, growsize, prot, max,
	    cow, &stack);
	if (rv != KERN_SUCCESS)
		return rv;
	if (!vm_map_is_free(map, addrbos, addrbos + max_ssize, &cur))
		return KERN_NO_SPACE;
	rv = vm_map_insert_check(map, &stack.stack);
	if (rv != KERN_SUCCESS)
		return rv;
	n = stack.has_gap ? 2 : 1;
	rv = vm_map_reserve(map, n, n);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_map_insert_charge(map, &stack.stack, &stack.charged);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_map_stack_commit(map, &stack);
	return KERN_SUCCESS;
}

int
vm_map_stack(vm_map_t map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow)
{
	vm_size_t limit, init = MIN(max_ssize, VM_MAP_STACK_GROW);
	int rv;

	vm_map_lock(map);
	limit = map->limits.vmem;
	if (limit != 0 && (init > limit || map->size > limit - init))
		rv = KERN_NO_SPACE;
	else
		rv = vm_map_stack_locked(map, addrbos, max_ssize,
		    VM_MAP_STACK_GROW, prot, max, cow);
	vm_map_unlock(map);
	return rv;
}

/* Bytes of stack in one piece from the entry at the cursor upwards. */
static vm_size_t
stack_grown(vm_map_t map, struct vm_cursor cur)
{
	struct vm_map_entry *entry = vm_cursor_entry(&cur);
	vm_offset_t next = entry->start;
	vm_size_t total = 0;

	MPASS((entry->eflags & MAP_ENTRY_GROWS_DOWN) != 0);

	while (entry != NULL && entry->start == next &&
	       (entry->eflags & MAP_ENTRY_GROWS_DOWN) != 0) {
		total += entry_size(entry);
		next = entry->end;
		entry = vm_map_next(map, &cur);
	}
	return total;
}

/*
 * How many bytes the gap at the cursor must give to the stack above it, so
 * that `addr` is in the stack.  Pure.
 * KERN_FAILURE: no stack is above.  KERN_NO_SPACE: it may not grow so far.
 */
static int
growth(vm_map_t map, struct vm_cursor cur, vm_offset_t addr, vm_size_t *growp)
{
	struct vm_map_entry *gap = vm_cursor_entry(&cur), *stack;
	const struct vm_map_limits *limits = &map->limits;
	vm_size_t room, need, grow, grown;

	stack = vm_map_next(map, &cur);
	if (stack == NULL || stack->start != gap->end ||
	    (stack->eflags & MAP_ENTRY_GROWS_DOWN) == 0)
		return KERN_FAILURE;
	MPASS(gap->start <= addr && addr < gap->end);
	need = roundup2(stack->start - addr, map->pagesize);
	room = entry_size(gap) - MIN(gap->guard, entry_size(gap));
	grown = stack_grown(map, cur);
	if (need > room)
		return KERN_NO_SPACE;
	if (limits->stack != 0 && grown + need > limits->stack)
		return KERN_NO_SPACE;

	grow = MIN(roundup2(need, (vm_size_t)VM_MAP_STACK_GROW), room);
	if (limits->stack != 0 && grown + grow > limits->stack)
		grow = rounddown2(limits->stack, map->pagesize) - grown;
	if ((map->flags & MAP_WIREFUTURE) != 0 && limits->memlock != 0 &&
	    map->user_wired + grow > limits->memlock)
		return KERN_NO_SPACE;
	if (limits->vmem != 0 && map->size + grow > limits->vmem)
		return KERN_NO_SPACE;
	*growp = grow;
	return KERN_SUCCESS;
}

/* What growing takes; the stack's swap, too.  *nomemp: not for want of that. */
static int
grow_reserve(vm_map_t map, const struct vm_map_new *ins, bool all,
    bool *chargedp, vm_object_t *sparep, bool *nomemp)
{
	bool wires = (map->flags & MAP_WIREFUTURE) != 0;
	int rv;

	vm_map_assert_wlocked(map);

	rv = vm_map_reserve(map, 1, all ? 0 : 1);
	if (rv == KERN_SUCCESS)
		rv = vm_object_spare_add(map->pmap->arch, wires, sparep);
	*nomemp = rv != KERN_SUCCESS;
	if (rv == KERN_SUCCESS)
		rv = vm_map_insert_charge(map, ins, chargedp);
	if (rv != KERN_SUCCESS)
		vm_object_spare_fini(sparep);
	return rv;
}

/* Move the border between the gap at the cursor and its stack. */
static int
grow_into_gap(vm_map_t map, struct vm_cursor *cur, vm_size_t grow, bool *nomemp)
{
	struct vm_map_entry *gap = vm_cursor_entry(cur);
	bool all = grow == entry_size(gap);
	struct vm_map_new ins = {
	    .start = gap->end - grow,
	    .end = gap->end,
	    .prot = gap->gap_prot,
	    .max = gap->gap_max,
	    .cow = MAP_STACK_AREA,
	};
	vm_object_t spare = NULL;
	bool charged;
	int rv;

	MPASS(grow > 0 && grow <= entry_size(gap));

	rv = vm_map_insert_check(map, &ins);
	if (rv == KERN_SUCCESS)
		rv = grow_reserve(map, &ins, all, &charged, &spare, nomemp);
	if (rv != KERN_SUCCESS)
		return rv;
	if (all)
		vm_map_entry_delete(map, cur);
	else
		vm_tree_resize(&map->tree, cur, gap->start, ins.start);
	vm_map_insert_commit(map, cur, &ins, charged);
	if ((map->flags & MAP_WIREFUTURE) != 0)
		vm_map_wire_new(map, ins.start, ins.end, &spare);
	vm_object_spare_fini(&spare);
	return KERN_SUCCESS;
}

int
vm_map_growstack_locked(vm_map_t map, vm_offset_t addr, bool *nomemp)
{
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	vm_size_t grow;
	int rv;

	vm_map_assert_wlocked(map);

	*nomemp = false;
	if (addr < map->tree.min || addr >= map->tree.max)
		return KERN_FAILURE;
	entry = vm_map_seek(map, addr, &cur);
	if (entry == NULL)
		return KERN_FAILURE;
	if (!entry_is_guard(entry))
		return KERN_SUCCESS;
	if ((entry->eflags & MAP_ENTRY_STACK_GAP) == 0)
		return KERN_FAILURE;
	rv = growth(map, cur, addr, &grow);
	return rv != KERN_SUCCESS ? rv : grow_into_gap(map, &cur, grow, nomemp);
}

int
vm_map_growstack(vm_map_t map, vm_offset_t addr)
{
	bool nomem;
	int rv;

	vm_map_lock(map);
	rv = vm_map_growstack_locked(map, addr, &nomem);
	vm_map_unlock(map);
	return rv;
}
