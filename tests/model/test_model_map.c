/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The core's map against the naive one: random operations, and after each of
 * them return code, out-parameters and the whole state compared.
 *
 * A run is many short episodes, each with a machine, bounds, flags and limits
 * of its own.  An episode that disagrees is run again with operations left
 * out, until none can be; what is left is printed.  Covered: every call of
 * core/vm_map.h, with and without injected allocation failures.  Not covered:
 * several threads, submaps, pmap hooks.
 *
 *	test_model_map --ops 10000000 --seed 7 --only agrees
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/model/map_world.h"
#include "tests/model/model_int.h"
#include "tests/test.h"

#define EPISODE_OPS 160
#define LONG_OPS    1200 /* of the episodes that fill a map */

struct generator {
	uint64_t rng;
	unsigned issue; /* 2: only what the first client needs */
	bool sweep;     /* make allocations fail */
	bool dense;     /* fill the map: small entries, few removals */
};

static uint64_t
below(struct generator *g, uint64_t n)
{
	return test_random(&g->rng) % n;
}

static bool
one_in(struct generator *g, uint64_t n)
{
	return below(g, n) == 0;
}

/* Setups */

static void
generate_setup(struct generator *g, struct map_setup *setup)
{
	static const char *const isas[] = {"plain", "avx2", "avx512"};
	const struct arch_machine *machine;
	vm_size_t page;
	size_t n = 0;

	while (arch_machine_at(n) != NULL)
		n++;
	machine = arch_machine_at(below(g, n));
	page = machine->page_size;
	memset(setup, 0, sizeof(*setup));
	setup->machine = machine;
	setup->isa = isas[below(g, nitems(isas))];
	switch (g->dense ? 1 : below(g, 6)) {
	case 0: /* the map of the vectors */
		setup->min = 0x10000;
		setup->max = 0x10000 + page * 240;
		break;
	case 1:
		setup->min = page;
		setup->max = UINT64_C(1) << 30;
		break;
	case 2:
		setup->min = 0;
		setup->max = UINT64_C(64) << 20;
		break;
	case 3:
		setup->min = machine->user_min;
		setup->max = machine->user_max;
		break;
	case 4: /* the top of everything */
		setup->min = 0 - (UINT64_C(64) << 20);
		setup->max = 0 - page;
		break;
	default: /* very small */
		setup->min = page * 16;
		setup->max = page * 40;
		break;
	}
	if (one_in(g, 8))
		setup->flags |= MAP_WXORX;
	if (one_in(g, 6))
		setup->flags |= MAP_ASLR;
	if (one_in(g, 8))
		setup->flags |= MAP_ASLR_IGNSTART;
	setup->limits.cluster_anon = one_in(g, 4) ? (int)below(g, 3) : 1;
	setup->limits.stack_guard = one_in(g, 4) ? 0 : page;
	if (!g->dense && one_in(g, 4)) {
		setup->limits.overcommit = 1;
		setup->limits.swap = page * (4 + below(g, 60));
	}
	if (!g->dense && one_in(g, 10))
		setup->limits.nentries = 2 + below(g, 20);
	if (one_in(g, 4))
		setup->limits.memlock = page * (1 + below(g, 20));
	if (one_in(g, 8))
		setup->limits.vmem = page * (1 + below(g, 200));
	if (one_in(g, 8))
		setup->limits.stack = page * (1 + below(g, 200));
}

/* Arguments */

/* Where something is likely to go wrong. */
static vm_offset_t
generate_addr(struct generator *g, const struct model_map *map)
{
	vm_size_t page = model_page(map);
	const struct model_entry *entry;
	vm_offset_t addr;

	if (map->n > 0 && !one_in(g, 4)) {
		entry = &map->entries[below(g, map->n)];
		addr = one_in(g, 2) ? entry->start : entry->end;
		if (one_in(g, 3))
			addr += page * below(g, 4);
		else if (one_in(g, 2))
			addr -= page * below(g, 4);
		return addr;
	}
	switch (below(g, 12)) {
	case 0:
		return map->min;
	case 1:
		return map->max;
	case 2:
		return map->max - page;
	case 3:
		return 0;
	case 4:
		return 0 - page;
	case 5:
		return map->min - page;
	case 6: {
		vm_size_t s = map->machine->super[map->machine->nsuper - 1];

		addr = map->min + s * below(g, 8);
		return addr - addr % s;
	}
	default:
		return map->min + page * below(g, g->dense ? 2048 : 64);
	}
}

/* One that has a good chance to be mapped. */
static vm_offset_t
generate_mapped(struct generator *g, const struct model_map *map)
{
	const struct model_entry *entry;

	if (map->n == 0 || one_in(g, 8))
		return generate_addr(g, map);
	entry = &map->entries[below(g, map->n)];
	if ((entry->eflags & MAP_ENTRY_SPLIT_BOUNDARY_MASK) != 0 &&
	    one_in(g, 2)) {
		vm_size_t size = model_entry_boundary(map, entry);

		return entry->start +
		       below(g, model_entry_size(entry) / size) * size;
	}
	return entry->start +
	       below(g, model_entry_size(entry) / model_page(map)) *
		   model_page(map);
}

static vm_size_t
generate_length(struct generator *g, const struct model_map *map)
{
	vm_size_t page = model_page(map);
	vm_size_t super =
	    map->machine->super[below(g, (uint64_t)map->machine->nsuper)];

	if (g->dense && !one_in(g, 200))
		return page * (1 + below(g, 2));
	switch (below(g, 24)) {
	case 0:
		return super;
	case 1:
		return super + page;
	case 2:
		return super - page;
	case 3:
		return super * 2;
	case 4:
		return map->max - map->min;
	case 5:
		return map->max - map->min + page;
	case 6:
		return map->max - map->min - page;
	case 7:
		return 0 - page;
	case 8:
		return 0;
	default:
		return page * (1 + below(g, 8));
	}
}

static void
generate_range(struct generator *g, const struct model_map *map,
    struct map_op *op)
{
	vm_offset_t swap;

	op->start =
	    one_in(g, 2) ? generate_mapped(g, map) : generate_addr(g, map);
	op->end = one_in(g, g->dense ? 200 : 3)
		      ? generate_addr(g, map)
		      : op->start + generate_length(g, map);
	if (one_in(g, 6))
		op->end = generate_mapped(g, map);
	if (op->end < op->start && !one_in(g, 16)) {
		swap = op->start;
		op->start = op->end;
		op->end = swap;
	}
}

static void
generate_prot(struct generator *g, struct map_op *op)
{
	static const vm_prot_t common[] = {VM_PROT_RW, VM_PROT_RW, VM_PROT_READ,
	    VM_PROT_NONE, VM_PROT_ALL, VM_PROT_READ | VM_PROT_EXECUTE,
	    VM_PROT_WRITE};

	op->prot = common[below(g, nitems(common))];
	op->max = one_in(g, 2) ? VM_PROT_ALL
			       : op->prot | common[below(g, nitems(common))];
}

/* Flags for insert and its like; nothing that the core asserts against. */
static void
generate_cow(struct generator *g, struct map_op *op)
{
	static const int flags[] = {MAP_INHERIT_SHARE, MAP_DISABLE_SYNCER,
	    MAP_DISABLE_COREDUMP, MAP_WRITECOUNT, MAP_VN_EXEC, MAP_NO_HINT,
	    MAP_PREFAULT, MAP_PREFAULT_PARTIAL, MAP_ACC_NO_CHARGE,
	    MAP_ACC_CHARGED};

	op->cow = 0;
	if (one_in(g, 4))
		op->cow |= flags[below(g, nitems(flags))];
	if (one_in(g, 4))
		op->cow |= MAP_COPY_ON_WRITE;
	/* An object that pays for itself is not paid for twice. */
	if (op->object >= 0 && (op->cow & MAP_COPY_ON_WRITE) == 0)
		op->cow &= ~MAP_ACC_CHARGED;
	if (one_in(g, 10)) {
		op->cow = MAP_CREATE_GUARD;
		if (!one_in(g, 8))
			op->prot = op->max = VM_PROT_NONE;
	} else if (one_in(g, 16) && op->object < 0)
		op->cow |= MAP_NOFAULT;
	else if (one_in(g, 16) && op->object < 0)
		op->cow |= MAP_STACK_AREA;
	if (one_in(g, 8))
		op->cow |= (int)below(g, 4) << MAP_SPLIT_BOUNDARY_SHIFT;
}

static int
generate_object(struct generator *g, const struct world *world)
{
	int i = (int)below(g, WORLD_OBJECTS);

	return one_in(g, 2) || world->mobject[i] == NULL ? -1 : i;
}

/* Most of the time a split boundary gets a range that it allows. */
static void
fit_boundary(struct generator *g, const struct model_map *map,
    struct map_op *op)
{
	int i = (op->cow & MAP_SPLIT_BOUNDARY_MASK) >> MAP_SPLIT_BOUNDARY_SHIFT;
	vm_size_t size;

	if (i == 0 || i >= map->machine->npagesizes || one_in(g, 4))
		return;
	size = map->machine->pagesizes[i];
	op->length = size * (1 + below(g, 4));
	op->start = (op->start + size - 1) / size * size;
	op->end = op->start + op->length;
	if (one_in(g, 2) && (op->cow & MAP_REMAP) == 0)
		op->find_space = VMFS_SUPER_SPACE;
}

static void
generate_insert(struct generator *g, const struct world *world,
    const struct model_map *map, struct map_op *op)
{
	static const int spaces[] = {VMFS_ANY_SPACE, VMFS_ANY_SPACE,
	    VMFS_OPTIMAL_SPACE, VMFS_SUPER_SPACE, VMFS_SUPER_SPACE,
	    VMFS_NO_SPACE, VMFS_ALIGNED_SPACE(13), VMFS_ALIGNED_SPACE(16),
	    VMFS_ALIGNED_SPACE(21), VMFS_ALIGNED_SPACE(63)};
	vm_size_t page = model_page(map);

	op->object = generate_object(g, world);
	op->offset = op->object < 0 ? 0 : page * below(g, 8);
	if (op->object >= 0 && one_in(g, 4))
		op->offset = page * below(g, 1024);
	generate_prot(g, op);
	generate_cow(g, op);
	op->start = generate_addr(g, map);
	op->length = generate_length(g, map);
	op->end = op->start + op->length;
	op->find_space = spaces[below(g, nitems(spaces))];
	if (op->kind == OP_FIND && op->find_space == VMFS_NO_SPACE &&
	    (op->cow & MAP_STACK_AREA) == 0 && one_in(g, 2))
		op->cow |= MAP_REMAP;
	if (op->kind == OP_FIXED && one_in(g, 4))
		op->cow |= MAP_CHECK_EXCL;
	op->max_addr = one_in(g, 4) ? generate_addr(g, map) : 0;
	op->default_addr = generate_addr(g, map);
	if (one_in(g, 3))
		op->start = map->min;
	if (one_in(g, 6) && op->kind != OP_INSERT)
		op->start = 0;
	fit_boundary(g, map, op);
	if (g->dense && op->kind == OP_INSERT) {
		op->start = map->min + page * below(g, 4096);
		op->end = op->start + page;
	}
	/* The same again behind what is there: coalescing. */
	if (op->kind == OP_INSERT && map->n > 0 &&
	    one_in(g, g->dense ? 12 : 3)) {
		const struct model_entry *prev =
		    &map->entries[below(g, map->n)];

		op->start = prev->end;
		op->end = op->start + page * (1 + below(g, 4));
		op->prot = prev->prot;
		op->max = prev->max;
		op->cow =
		    prev->inherit == VM_INHERIT_SHARE ? MAP_INHERIT_SHARE : 0;
		op->object = -1;
	}
}

static void
generate_object_op(struct generator *g, const struct world *world,
    struct map_op *op)
{
	const struct arch_machine *machine = world->setup.machine;
	vm_size_t super = machine->super[machine->nsuper - 1];

	op->object = (int)below(g, WORLD_OBJECTS);
	op->type = one_in(g, 3) ? OBJT_SUPER : OBJT_SWAP;
	op->length = op->type == OBJT_SUPER
			 ? super * (1 + below(g, 4))
			 : machine->page_size * (1 + below(g, 16));
	op->offset = one_in(g, 3) ? below(g, super / machine->page_size) : 0;
}

/* Kinds with their weights. */
static enum map_op_kind
generate_kind(struct generator *g)
{
	static const struct {
		enum map_op_kind kind;
		unsigned weight;
	} table2[] = {{OP_INSERT, 8}, {OP_FINDSPACE, 3}, {OP_FIND_ALIGNED, 1},
	    {OP_FIND, 8}, {OP_FIND_MIN, 3}, {OP_FIXED, 3}, {OP_DELETE, 3},
	    {OP_REMOVE, 2}, {OP_LOOKUP_ENTRY, 2}, {OP_OBJECT, 2},
	    {OP_OBJECT_DROP, 1}, {OP_WIRE, 3}, {OP_UNWIRE, 3}, {OP_STACK, 2},
	    {OP_GROWSTACK, 2}},
	  table3[] = {{OP_PROTECT, 6}, {OP_INHERIT, 3}, {OP_MADVISE, 3},
	      {OP_WIRE, 1}, {OP_UNWIRE, 1}, {OP_SYNC, 1}, {OP_LOOKUP, 6},
	      {OP_LOOKUP_LOCKED, 1}, {OP_CHECK_BOUNDARY, 1}, {OP_FORK, 1},
	      {OP_DESTROY, 1}, {OP_MODFLAGS, 1}, {OP_CHECK_PROTECTION, 2}};
	unsigned total2 = 0, total3 = 0;
	uint64_t pick;

	for (size_t i = 0; i < nitems(table2); i++)
		total2 += table2[i].weight;
	for (size_t i = 0; i < nitems(table3); i++)
		total3 += table3[i].weight;
	if (g->dense && !one_in(g, 3))
		return one_in(g, 4) ? OP_FIND : OP_INSERT;
	pick = below(g, g->issue == 2 ? total2 : total2 + total3);
	for (size_t i = 0; i < nitems(table2); i++) {
		if (pick < table2[i].weight)
			return table2[i].kind;
		pick -= table2[i].weight;
	}
	for (size_t i = 0;; i++) {
		if (pick < table3[i].weight)
			return table3[i].kind;
		pick -= table3[i].weight;
	}
}

static void
generate_flags(struct generator *g, const struct model_map *map,
    struct map_op *op)
{
	static const int wires[] = {VM_MAP_WIRE_USER, VM_MAP_WIRE_SYSTEM,
	    VM_MAP_WIRE_USER | VM_MAP_WIRE_HOLESOK,
	    VM_MAP_WIRE_SYSTEM | VM_MAP_WIRE_HOLESOK,
	    VM_MAP_WIRE_USER | VM_MAP_WIRE_WRITE};

	switch (op->kind) {
	case OP_PROTECT:
		op->flags = 1 + (int)below(g, 3);
		if (one_in(g, 8))
			op->flags |= VM_MAP_PROTECT_GROWSDOWN;
		if (one_in(g, 4))
			op->max &= op->prot;
		break;
	case OP_INHERIT:
		op->flags = one_in(g, 10) ? 9 : (int)below(g, 4);
		break;
	case OP_MADVISE:
		op->flags = one_in(g, 16) ? 11 : (int)below(g, 10);
		break;
	case OP_WIRE:
	case OP_UNWIRE:
		op->flags = wires[below(g, nitems(wires))];
		break;
	case OP_SYNC:
		op->flags = (int)below(g, 4);
		break;
	case OP_LOOKUP:
	case OP_LOOKUP_LOCKED:
		op->prot = (vm_prot_t)below(g, 32);
		op->start = generate_mapped(g, map) + below(g, model_page(map));
		break;
	case OP_GROWSTACK:
		op->start = generate_mapped(g, map) + below(g, model_page(map));
		break;
	case OP_STACK:
		op->start = generate_addr(g, map);
		op->length = one_in(g, 2)
				 ? generate_length(g, map)
				 : model_page(map) * (1 + below(g, 100));
		op->cow = one_in(g, 2) ? MAP_STACK_AREA : 0;
		break;
	default:
		break;
	}
}

static void
generate_op(struct generator *g, const struct world *world, struct map_op *op)
{
	const struct model_map *map;

	memset(op, 0, sizeof(*op));
	do
		op->map = (int)below(g, WORLD_MAPS);
	while (world->model[op->map] == NULL);
	if (g->dense && world->model[0] != NULL && !one_in(g, 8))
		op->map = 0;
	map = world->model[op->map];
	op->object = -1;
	op->kind = generate_kind(g);
	generate_prot(g, op);
	switch (op->kind) {
	case OP_INSERT:
	case OP_FINDSPACE:
	case OP_FIND_ALIGNED:
	case OP_FIND:
	case OP_FIND_MIN:
	case OP_FIXED:
		generate_insert(g, world, map, op);
		if (op->kind == OP_FINDSPACE || op->kind == OP_FIND_ALIGNED)
			op->object = -1;
		if (op->kind == OP_FIND_ALIGNED) {
			op->offset = model_page(map) << below(g, 12);
			op->length += op->length == 0 ? model_page(map) : 0;
		}
		break;
	case OP_OBJECT:
	case OP_OBJECT_DROP:
		generate_object_op(g, world, op);
		break;
	case OP_MODFLAGS:
		op->flags = one_in(g, 2) ? MAP_WXORX : MAP_WIREFUTURE;
		op->cow = one_in(g, 2) ? op->flags : 0;
		if (op->cow != 0)
			op->flags = 0;
		break;
	default:
		generate_range(g, map, op);
		generate_flags(g, map, op);
		break;
	}
	if (op->kind == OP_DELETE && op->end < op->start)
		op->end = op->start;
	if (g->sweep && one_in(g, 3))
		op->sweep = true;
}

/* Shrinking */

/* Does this list of operations disagree, crash or leave something? */
static bool
still_fails(const struct map_setup *setup, const struct map_op *ops, size_t n)
{
	static struct world world;
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		world_init(&world, setup);
		for (size_t i = 0; i < n; i++)
			if (world_apply(&world, &ops[i]) != NULL)
				_exit(1);
		_exit(world_fini(&world) != NULL ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Leave out what can be left out: first long stretches, then single ones. */
static size_t
shrink(const struct map_setup *setup, struct map_op *ops, size_t n)
{
	struct map_op *shorter = model_alloc(n, sizeof(*ops));
	bool again = true;

	while (again) {
		again = false;
		for (size_t len = n / 2 > 0 ? n / 2 : 1; len > 0; len /= 2)
			for (size_t at = 0; at + len <= n;) {
				memcpy(shorter, ops, at * sizeof(*ops));
				memcpy(shorter + at, ops + at + len,
				    (n - at - len) * sizeof(*ops));
				if (!still_fails(setup, shorter, n - len)) {
					at += len;
					continue;
				}
				n -= len;
				memcpy(ops, shorter, n * sizeof(*ops));
				again = true;
			}
	}
	free(shorter);
	return n;
}

/* Print the shortest list that still fails, and what it says. */
static void
explain(const struct map_setup *setup, struct map_op *ops, size_t n)
{
	static struct world world;
	const char *why = NULL;
	size_t i;

	if (!still_fails(setup, ops, n)) {
		fprintf(stderr, "the same operations agree when run again\n");
		return;
	}
	n = shrink(setup, ops, n);
	map_setup_print(setup);
	for (i = 0; i < n; i++)
		map_op_print(&ops[i]);
	fflush(stderr);
	world_init(&world, setup);
	for (i = 0; i < n && why == NULL; i++) {
		if (i + 1 == n)
			for (int m = 0; m < WORLD_MAPS; m++)
				if (world.model[m] != NULL)
					model_map_dump(world.model[m]);
		why = world_apply(&world, &ops[i]);
	}
	if (why == NULL)
		why = world_fini(&world);
	else
		for (int m = 0; m < WORLD_MAPS; m++)
			if (world.model[m] != NULL)
				model_map_dump(world.model[m]);
	fprintf(stderr, "%s\n", why != NULL ? why : "it agrees?");
}

/* Runs */

/* Seen by the worker and by the parent that explains its death. */
struct shared {
	uint64_t seed; /* of the episode */
	struct map_setup setup;
	struct map_op ops[LONG_OPS];
	size_t n;        /* the last of them is under way */
	size_t nentries; /* most that a map had */
	uint64_t nshort[OP_NKINDS];
	uint64_t ncodes[OP_NKINDS][KERN_WOULD_BLOCK + 1];
	char why[768];
};

static void
count(struct shared *shared, const struct world *world)
{
	for (int i = 0; i < OP_NKINDS; i++) {
		shared->nshort[i] += world->nshort[i];
		for (int j = 0; j <= KERN_WOULD_BLOCK; j++)
			shared->ncodes[i][j] += world->ncodes[i][j];
	}
}

/* One episode; false: it disagreed. */
static bool
episode(struct shared *shared, struct generator g, size_t nops)
{
	static struct world world;
	const char *why = NULL;

	g.rng = shared->seed;
	generate_setup(&g, &shared->setup);
	shared->n = 0;
	world_init(&world, &shared->setup);
	while (shared->n < nops && why == NULL) {
		generate_op(&g, &world, &shared->ops[shared->n]);
		shared->n++;
		why = world_apply(&world, &shared->ops[shared->n - 1]);
		shared->nentries = MAX(shared->nentries,
		    world.model[0] != NULL ? world.model[0]->n : 0);
	}
	if (why == NULL)
		why = world_fini(&world);
	count(shared, &world);
	if (why != NULL)
		(void)snprintf(shared->why, sizeof(shared->why), "%s", why);
	return why == NULL;
}

/* How often each call gave each code, for who asks. */
static void
print_codes(const struct shared *shared)
{
	if (getenv("HOLDFAST_CODES") == NULL)
		return;
	fprintf(stderr, "at most %zu entries\n", shared->nentries);
	for (int i = 0; i < OP_NKINDS; i++) {
		fprintf(stderr, "%-16s", map_op_name((enum map_op_kind)i));
		for (int j = 0; j <= KERN_WOULD_BLOCK; j++)
			if (shared->ncodes[i][j] != 0)
				fprintf(stderr, " %d:%" PRIu64, j,
				    shared->ncodes[i][j]);
		if (shared->nshort[i] != 0)
			fprintf(stderr, " made to fail:%" PRIu64,
			    shared->nshort[i]);
		fputc('\n', stderr);
	}
}

/*
 * All episodes in a child: an assertion of the core can then be shrunk too.
 * What was counted is in *shared, which the caller unmaps.
 */
static struct shared *
run(struct generator g, uint64_t nops, size_t each)
{
	uint64_t seed = test_seed();
	struct shared *shared;
	pid_t pid;
	int status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(shared != MAP_FAILED);
	fflush(NULL);
	pid = fork();
	ASSERT_TRUE(pid >= 0);
	if (pid == 0) {
		for (uint64_t i = 0; i < nops / each + 1; i++) {
			shared->seed = seed + i;
			if (!episode(shared, g, each))
				_exit(1);
		}
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "seed %" PRIu64 " disagrees: %s\n",
		    shared->seed, shared->why);
		explain(&shared->setup, shared->ops, shared->n);
		test_fail(__FILE__, __LINE__, "seed %" PRIu64, shared->seed);
	}
	print_codes(shared);
	return shared;
}

TEST_TIMEOUT(vm_map__agrees_with_the_model_for_a_first_client, 86400)
{
	struct generator g = {.issue = 2};

	(void)run(g, test_ops(200000), EPISODE_OPS);
}

TEST_TIMEOUT(vm_map__agrees_with_the_model_in_everything, 86400)
{
	struct generator g = {.issue = 3};

	(void)run(g, test_ops(600000), EPISODE_OPS);
}

TEST_TIMEOUT(vm_map__agrees_with_the_model_when_it_is_full, 86400)
{
	struct generator g = {.issue = 3, .dense = true};
	struct shared *shared = run(g, test_ops(100000) / 10, LONG_OPS);

	ASSERT_GT(shared->nentries, 200u);
}

/* Every call that can allocate has to be seen failing. */
TEST_TIMEOUT(vm_map__changes_nothing_when_memory_runs_out, 86400)
{
	static const enum map_op_kind kinds[] = {OP_INSERT, OP_FIND,
	    OP_FIND_MIN, OP_FIXED, OP_DELETE, OP_REMOVE, OP_PROTECT, OP_INHERIT,
	    OP_MADVISE, OP_WIRE, OP_UNWIRE, OP_STACK, OP_GROWSTACK, OP_LOOKUP,
	    OP_FORK};
	struct generator g = {.issue = 3, .sweep = true};
	struct shared *shared = run(g, test_ops(100000), EPISODE_OPS);

	for (size_t i = 0; i < nitems(kinds); i++)
		if (shared->nshort[kinds[i]] == 0)
			test_fail(__FILE__, __LINE__, "%s never failed",
			    map_op_name(kinds[i]));
}
