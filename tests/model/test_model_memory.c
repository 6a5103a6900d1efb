/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What several maps see in their memory, against the plainest idea of it.
 *
 * The model has no objects, shadows or frames: a page of a map is a pointer to
 * a cell with one number in it.  Fork copies the cell, shares it, or makes a
 * new one.  The core has all the machinery of copy on write; whatever it does,
 * a read must give the number that was written last, and at the end every
 * frame must have come back.
 *
 * Covered: vm_fault with zero fill and copies, fork with each inheritance,
 * delete, replace, protect, wire, in up to four maps; frames and metadata
 * that run out.  Not covered: changing the inheritance of what is shared
 * already, objects with handles.
 */

#include <stdio.h>
#include <stdlib.h>

#include "arch/sim/sim.h"
#include "core/vm_fault.h"
#include "tests/test.h"

#define NMAPS   4
#define NPAGES  48
#define NFRAMES 4096
#define BASE    ((vm_offset_t)0x10000)
#define PAGE    ((vm_size_t)0x1000)

struct cell {
	unsigned refs;
	uint64_t value;
};

struct page {
	struct cell *cell; /* NULL: nothing is mapped */
	vm_prot_t prot;
	vm_inherit_t inherit;
};

static struct arch *arch;
static struct pmap pmap;
static struct vm_pager *pager;
static vm_map_t maps[NMAPS];
static struct page pages[NMAPS][NPAGES];
static uint64_t rng, stamp;

/* Frames: one number each. */
static uint64_t frame_value[NFRAMES];
static bool frame_used[NFRAMES];
static unsigned nused;
static bool frames_fail; /* there are none */

static uint64_t
below(uint64_t n)
{
	return test_random(&rng) % n;
}

static int
frame_alloc(void *arg, uint64_t *framep)
{
	(void)arg;
	if (frames_fail)
		return KERN_RESOURCE_SHORTAGE;
	for (uint64_t i = 0; i < NFRAMES; i++)
		if (!frame_used[i]) {
			frame_used[i] = true;
			frame_value[i] = 0;
			nused++;
			*framep = i;
			return KERN_SUCCESS;
		}
	return KERN_RESOURCE_SHORTAGE;
}

static int
frame_copy(void *arg, vm_object_t source, uint64_t frame, uint64_t *framep)
{
	int rv;

	(void)source;
	ASSERT_TRUE(frame < NFRAMES && frame_used[frame]);
	rv = frame_alloc(arg, framep);
	if (rv == KERN_SUCCESS)
		frame_value[*framep] = frame_value[frame];
	return rv;
}

static void
frame_free(void *arg, uint64_t frame)
{
	(void)arg;
	ASSERT_TRUE(frame < NFRAMES && frame_used[frame]);
	frame_used[frame] = false;
	nused--;
}

static const struct vm_pager_ops frame_ops = {
    .alloc = frame_alloc,
    .copy = frame_copy,
    .free = frame_free,
};

/* Cells */

static struct cell *
cell_new(uint64_t value)
{
	struct cell *cell = calloc(1, sizeof(*cell));

	ASSERT_NOT_NULL(cell);
	cell->refs = 1;
	cell->value = value;
	return cell;
}

static void
page_clear(struct page *page)
{
	if (page->cell != NULL && --page->cell->refs == 0)
		free(page->cell);
	page->cell = NULL;
}

/* What fork makes of a page. */
static void
page_fork(const struct page *from, struct page *to)
{
	*to = *from;
	if (from->cell == NULL || from->inherit == VM_INHERIT_NONE)
		to->cell = NULL;
	else if (from->inherit == VM_INHERIT_SHARE)
		to->cell->refs++;
	else if (from->inherit == VM_INHERIT_COPY)
		to->cell = cell_new(from->cell->value);
	else
		to->cell = cell_new(0);
}

/* Accesses */

static vm_offset_t
addr_of(size_t i)
{
	return BASE + i * PAGE;
}

static int
expected_code(const struct page *page, vm_prot_t type)
{
	if (page->cell == NULL)
		return KERN_INVALID_ADDRESS;
	return (page->prot & type) == type ? KERN_SUCCESS
					   : KERN_PROTECTION_FAILURE;
}

/* Read or write one page of one map, on both sides. */
static void
access_page(size_t m, size_t i, vm_prot_t type)
{
	struct page *page = &pages[m][i];
	struct vm_fault fault;
	int rv;

	rv = vm_fault(maps[m], addr_of(i) + below(PAGE), type, &fault);
	if (frames_fail && rv == KERN_RESOURCE_SHORTAGE)
		return;
	ASSERT_EQ(rv, expected_code(page, type));
	if (rv != KERN_SUCCESS)
		return;
	ASSERT_TRUE(fault.frame < NFRAMES && frame_used[fault.frame]);
	ASSERT_EQ(frame_value[fault.frame], page->cell->value);
	ASSERT_EQ(fault.prot & type, type);
	if (type == VM_PROT_WRITE)
		frame_value[fault.frame] = page->cell->value = ++stamp;
}

static void
read_some(unsigned n)
{
	while (n-- > 0) {
		size_t m = below(NMAPS);

		if (maps[m] != NULL)
			access_page(m, below(NPAGES), VM_PROT_READ);
	}
}

static void
read_all(void)
{
	for (size_t m = 0; m < NMAPS; m++)
		for (size_t i = 0; i < NPAGES && maps[m] != NULL; i++)
			access_page(m, i, VM_PROT_READ);
}

/* Edits */

static void
do_map(size_t m, size_t from, size_t to)
{
	static const vm_inherit_t kinds[] = {VM_INHERIT_COPY, VM_INHERIT_COPY,
	    VM_INHERIT_SHARE, VM_INHERIT_ZERO, VM_INHERIT_NONE};
	vm_inherit_t inherit = kinds[below(5)];

	ASSERT_EQ(vm_map_fixed(maps[m], NULL, 0, addr_of(from),
		      (to - from) * PAGE, VM_PROT_RW, VM_PROT_ALL,
		      inherit == VM_INHERIT_SHARE ? MAP_INHERIT_SHARE : 0),
	    KERN_SUCCESS);
	if (inherit == VM_INHERIT_ZERO || inherit == VM_INHERIT_NONE)
		ASSERT_EQ(vm_map_inherit(maps[m], addr_of(from), addr_of(to),
			      inherit),
		    KERN_SUCCESS);
	for (size_t i = from; i < to; i++) {
		page_clear(&pages[m][i]);
		pages[m][i] = (struct page){.cell = cell_new(0),
		    .prot = VM_PROT_RW,
		    .inherit = inherit};
	}
}

static void
do_remove(size_t m, size_t from, size_t to)
{
	ASSERT_EQ(vm_map_remove(maps[m], addr_of(from), addr_of(to)),
	    KERN_SUCCESS);
	for (size_t i = from; i < to; i++)
		page_clear(&pages[m][i]);
}

static void
do_protect(size_t m, size_t from, size_t to)
{
	vm_prot_t prot = below(3) == 0 ? VM_PROT_READ : VM_PROT_RW;

	ASSERT_EQ(vm_map_protect(maps[m], addr_of(from), addr_of(to), prot, 0,
		      VM_MAP_PROTECT_SET_PROT),
	    KERN_SUCCESS);
	for (size_t i = from; i < to; i++)
		pages[m][i].prot = prot;
}

static void
do_wire(size_t m, size_t from, size_t to)
{
	int flags = VM_MAP_WIRE_USER | VM_MAP_WIRE_HOLESOK;
	int rv;

	if (below(2) == 0)
		rv = vm_map_wire(maps[m], addr_of(from), addr_of(to), flags);
	else
		rv = vm_map_unwire(maps[m], addr_of(from), addr_of(to), flags);
	if (!frames_fail || rv != KERN_RESOURCE_SHORTAGE)
		ASSERT_EQ(rv, KERN_SUCCESS);
}

static void
destroy(size_t m)
{
	vm_map_destroy(maps[m]);
	maps[m] = NULL;
	for (size_t i = 0; i < NPAGES; i++)
		page_clear(&pages[m][i]);
}

static void
do_fork(size_t m)
{
	vm_map_t child;
	size_t c = 0;
	int rv;

	while (c < NMAPS && maps[c] != NULL)
		c++;
	if (c == NMAPS) {
		c = below(NMAPS);
		if (c == m)
			return;
		destroy(c);
	}
	rv = vmspace_fork(maps[m], NULL, &child);
	if (frames_fail && rv == KERN_RESOURCE_SHORTAGE)
		return;
	ASSERT_EQ(rv, KERN_SUCCESS);
	maps[c] = child;
	vm_map_set_pager(child, pager);
	for (size_t i = 0; i < NPAGES; i++)
		page_fork(&pages[m][i], &pages[c][i]);
}

static void
step(void)
{
	size_t m, from = below(NPAGES), to;

	do
		m = below(NMAPS);
	while (maps[m] == NULL);
	to = from + 1 + below(8);
	if (to > NPAGES)
		to = NPAGES;
	frames_fail = below(16) == 0;
	switch (below(16)) {
	case 0:
	case 1:
		frames_fail = false;
		do_map(m, from, to);
		break;
	case 2:
		do_remove(m, from, to);
		break;
	case 3:
		/* A wired page that becomes writable is copied at once. */
		frames_fail = false;
		do_protect(m, from, to);
		break;
	case 4:
		do_wire(m, from, to);
		break;
	case 5:
	case 6:
		do_fork(m);
		break;
	default:
		access_page(m, from, VM_PROT_WRITE);
		break;
	}
	frames_fail = false;
	read_some(3);
}

static void
check_maps(void)
{
	for (size_t m = 0; m < NMAPS; m++) {
		if (maps[m] == NULL)
			continue;
		vm_map_lock_read(maps[m]);
		if (vm_map_check(maps[m]) != NULL)
			test_fail(__FILE__, __LINE__, "%s",
			    vm_map_check(maps[m]));
		vm_map_unlock_read(maps[m]);
	}
}

static void
episode(uint64_t seed)
{
	rng = seed;
	arch = sim_create(NULL);
	ASSERT_NOT_NULL(arch);
	pmap = (struct pmap){.arch = arch};
	pager = vm_pager_create(arch, &frame_ops, NULL);
	ASSERT_NOT_NULL(pager);
	maps[0] = vm_map_create(&pmap, BASE, addr_of(NPAGES));
	ASSERT_NOT_NULL(maps[0]);
	vm_map_set_pager(maps[0], pager);
	for (int i = 0; i < 200; i++)
		step();
	read_all();
	check_maps();
	for (size_t m = 0; m < NMAPS; m++)
		if (maps[m] != NULL)
			destroy(m);
	ASSERT_EQ(nused, 0u);
	vm_pager_destroy(pager);
	ASSERT_EQ(sim_live(arch), 0u);
	sim_destroy(arch);
}

TEST_TIMEOUT(vm_fault__shows_what_was_written_last, 86400)
{
	uint64_t seed = test_seed();

	for (uint64_t i = 0; i < test_ops(100000) / 200 + 1; i++) {
		char *trace = getenv("HOLDFAST_TRACE");

		if (trace != NULL)
			printf("episode seed %llu\n",
			    (unsigned long long)(seed + i));
		episode(seed + i);
	}
}
