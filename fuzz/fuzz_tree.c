/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The entry tree alone, against a sorted array.  The operations of maps stand
 * for those of the tree:
 *
 *	insert start len     enter, where it is free
 *	delete start         take out the entry that holds start
 *	fixed start len      give the entry that holds start these bounds
 *	protect start        cut the entry in two there
 *	inherit start        join the entry with the one in front of it
 *	madvise start len    enter many small ones from start on; behind the
 *			     last, in a deep world: very many, reserved at once
 *	remove start len     take out all that begin in there
 *	find addr len space  the lowest fit; off: its phase
 *	entry addr           the last entry at or below
 *
 * `find` and `entry` search with each instruction set that the processor
 * has; what edits look for is found by them in turn.
 *
 * The whole tree is compared at the program's cadence while it is small, and
 * every sixteenth operation when it is not; in between the entries around the
 * place that the operation named.
 */

#include "arch/sim/sim.h"
#include "core/vm_map_int.h"
#include "fuzz/common.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"
#include "fuzz/prog/run.h"
#include "fuzz/target.h"
#include "tests/model/model_tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY         256  /* entries that one operation enters */
#define ENTRIES      4096 /* at most, so that the model stays quick */
#define SMALL        128  /* entries that are all compared at the cadence */
#define ALL          16   /* operations between comparisons of a larger tree */
#define NEAR         4    /* entries to each side of that place */
#define NISAS        3
/* Of one program in 2^16, by its seed: a tree of three levels. */
#define DEEP         0xdee9
#define DEEP_MANY    512 /* times as many entries */
#define DEEP_ENTRIES (96 * 1024)

enum seen {
	SEEN_SHORTAGE,
	SEEN_LEVEL_1, /* an index level above the leaves */
	SEEN_LEVEL_2,
	SEEN_SHRUNK, /* the tree lost a level */
	SEEN_NO_FIT,
	SEEN_ALIGNED, /* a fit that is not the first free place */
	SEEN_FAR,     /* entries more than 2^44 apart */
	SEEN_JOINED,
};
static const char *const sometimes[] = {"shortage", "one-level", "two-levels",
    "level-lost", "no-fit", "aligned-fit", "far-apart", "joined", NULL};

struct run {
	struct hf_backend base;
	struct arch *arch;
	struct vm_tree tree;
	bool has_tree;
	struct model_tree model;
	struct uma_zone entries;
	const struct vm_tree_isa *isa[NISAS];
	unsigned nisas, edits; /* `edits`: which of them edits use */
	unsigned turn;         /* the next to look for an edit's place */
	vm_offset_t at;        /* the place that the operation named */
	unsigned height;       /* the highest so far */
	const struct hf_header *header;
	struct fuzz_report *rep;
};

typedef int handler(struct run *run, const uint64_t *v, struct hf_result *res);

static struct run *
run_of(struct hf_backend *base)
{
	return (struct run *)base;
}

static vm_size_t
page_size(const struct run *run)
{
	return run->arch->machine->page_size;
}

/* Whatever the operand is, as a page of the tree. */
static vm_offset_t
place(const struct run *run, uint64_t addr)
{
	vm_size_t room = run->model.max - run->model.min;

	return rounddown2(run->model.min + (addr - run->model.min) % room,
	    page_size(run));
}

/* The model's entry that holds `addr`, whose rank is i; or model.n. */
static size_t
holder_of(const struct run *run, size_t i, vm_offset_t addr)
{
	return i > 0 && addr < run->model.range[i - 1].end ? i - 1
							   : run->model.n;
}

static size_t
holder(const struct run *run, vm_offset_t addr)
{
	return holder_of(run, model_tree_rank(&run->model, addr), addr);
}

/*
 * Cost: searches look at a few nodes a level, however many entries there are;
 * a level is at least a quarter of a node's fan-out.
 */
static bool
is_cheap(struct run *run, const char *op, unsigned a_level)
{
	uint64_t max = (uint64_t)a_level * (run->tree.height + 1) + 1;

	return vm_tree_visits <= max ||
	       fuzz_found(run->rep, "cost", op,
		   "%" PRIu64 " nodes looked at in a tree of height %u",
		   vm_tree_visits, run->tree.height);
}

/* Seek what has rank i, in every way that one instruction set has. */
static bool
seek_with(struct run *run, const struct vm_tree_isa *isa, vm_offset_t addr,
    size_t i, struct vm_cursor *cur)
{
	void *want = i > 0 ? run->model.range[i - 1].what : NULL;
	struct vm_map_entry *entry;
	bool is;

	vm_tree_visits = 0;
	isa->seek(&run->tree, addr, cur);
	is = isa->lookup(&run->tree, addr, &entry);
	if (!is_cheap(run, "seek", 2))
		return false;
	if (entry != want || is != (holder_of(run, i, addr) < run->model.n))
		return fuzz_found(run->rep, "out", "lookup",
		    "0x%" PRIx64 " with %s: not entry %zu of %zu", addr,
		    isa->name, i, run->model.n);
	if (vm_cursor_entry(cur) != want)
		return fuzz_found(run->rep, "out", "seek",
		    "0x%" PRIx64 " with %s: not entry %zu of %zu", addr,
		    isa->name, i, run->model.n);
	return (vm_cursor_gap_start(cur) ==
		       model_tree_gap_start(&run->model, i) &&
		   vm_cursor_gap_end(cur) ==
		       model_tree_gap_end(&run->model, i)) ||
	       fuzz_found(run->rep, "out", "seek",
		   "0x%" PRIx64 " with %s: the gap is [0x%" PRIx64
		   ", 0x%" PRIx64 ")",
		   addr, isa->name, vm_cursor_gap_start(cur),
		   vm_cursor_gap_end(cur));
}

/* For an edit: the instruction sets take turns. */
static bool
seek(struct run *run, vm_offset_t addr, size_t i, struct vm_cursor *cur)
{
	run->turn = (run->turn + 1) % run->nisas;
	return seek_with(run, run->isa[run->turn], addr, i, cur);
}

/* ---- Edits ----------------------------------------------------------------
 */

static bool
is_deep(const struct run *run)
{
	return run->header->seed >> 16 == DEEP;
}

static bool
is_full(const struct run *run)
{
	return run->model.n >= (is_deep(run) ? DEEP_ENTRIES : ENTRIES);
}

/* An entry out of the zone; NULL: shortage. */
static struct vm_map_entry *
entry_alloc(struct run *run, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *entry = uma_zalloc(&run->entries);

	if (entry == NULL)
		return NULL;
	memset(entry, 0, sizeof(*entry));
	entry->start = start;
	entry->end = end;
	return entry;
}

/* The same, and room for it in the tree. */
static struct vm_map_entry *
entry_new(struct run *run, vm_offset_t start, vm_offset_t end)
{
	if (vm_tree_reserve(&run->tree, 1) != KERN_SUCCESS)
		return NULL;
	return entry_alloc(run, start, end);
}

static int
enter(struct run *run, vm_offset_t start, vm_offset_t end)
{
	size_t i = model_tree_rank(&run->model, start);
	struct vm_map_entry *entry;
	struct vm_cursor cur;

	if (start < model_tree_gap_start(&run->model, i) ||
	    end > model_tree_gap_end(&run->model, i) || end <= start ||
	    is_full(run))
		return KERN_NO_SPACE;
	if (!seek(run, start, i, &cur))
		return KERN_FAILURE;
	entry = entry_new(run, start, end);
	if (entry == NULL)
		return KERN_RESOURCE_SHORTAGE;
	vm_tree_insert(&run->tree, &cur, entry);
	model_tree_insert(&run->model, i, start, end, entry);
	return vm_cursor_entry(&cur) == entry ? KERN_SUCCESS : KERN_FAILURE;
}

static int
do_insert(struct run *run, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t start = place(run, v[HF_F_A]);

	(void)res;
	return enter(run, start, start + roundup2(v[HF_F_LEN], page_size(run)));
}

static size_t
in_use(const struct uma_zone *zone)
{
	return zone->uz_nitems - zone->uz_nfree;
}

/* What grows at its end leaves leaves and nodes behind that are quite full. */
static bool
is_dense(struct run *run, uint64_t n, size_t leaves, size_t nodes)
{
	uint64_t nleaves = n * 4 / (3 * VM_LEAF_FANOUT) + 2;
	uint64_t nnodes = nleaves * 3 / (2 * VM_NODE_FANOUT) + VM_TREE_DEPTH;

	leaves = in_use(&run->tree.leaves) - leaves;
	nodes = in_use(&run->tree.nodes) - nodes;
	return (leaves <= nleaves && nodes <= nnodes) ||
	       fuzz_found(run->rep, "cost", "madvise",
		   "%zu leaves and %zu nodes for %" PRIu64 " entries", leaves,
		   nodes, n);
}

/*
 * `n` of them behind the last, one behind the other: no more leaves and nodes
 * than were reserved for all of them together.
 */
static int
append(struct run *run, vm_offset_t at, vm_size_t stride, uint64_t n)
{
	vm_size_t page = page_size(run);
	size_t leaves, nodes;
	struct vm_map_entry *entry;
	struct vm_cursor cur;
	uint64_t i;

	n = MIN(n, (run->model.max - at) / stride);
	n = MIN(n, DEEP_ENTRIES - run->model.n);
	if (vm_tree_reserve_append(&run->tree, n) != KERN_SUCCESS)
		return KERN_RESOURCE_SHORTAGE;
	leaves = in_use(&run->tree.leaves);
	nodes = in_use(&run->tree.nodes);
	for (i = 0; i < n; i++, at += stride) {
		entry = entry_alloc(run, at, at + page);
		if (entry == NULL)
			return KERN_RESOURCE_SHORTAGE;
		if (!seek(run, at, run->model.n, &cur))
			return KERN_FAILURE;
		vm_tree_insert(&run->tree, &cur, entry);
		model_tree_insert(&run->model, run->model.n, at, at + page,
		    entry);
	}
	return is_dense(run, n, leaves, nodes) ? KERN_SUCCESS : KERN_FAILURE;
}

static int
do_many(struct run *run, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t at = place(run, v[HF_F_A]);
	vm_size_t page = page_size(run), n = v[HF_F_LEN] / page % MANY;
	vm_size_t stride = page * (1 + v[HF_F_ADVICE] % 4);
	int rv = KERN_SUCCESS;

	(void)res;
	if (is_deep(run) && at < run->model.max &&
	    at >= model_tree_gap_start(&run->model, run->model.n))
		return append(run, at, stride, n * DEEP_MANY);
	for (; n > 0 && rv != KERN_FAILURE && at < run->model.max; n--) {
		rv = enter(run, at, at + page);
		at += stride;
	}
	return rv;
}

static bool
leave(struct run *run, size_t i)
{
	struct vm_map_entry *entry = run->model.range[i].what;
	struct vm_cursor cur;

	if (!seek(run, run->model.range[i].start, i + 1, &cur))
		return false;
	vm_tree_remove(&run->tree, &cur);
	model_tree_remove(&run->model, i);
	uma_zfree(&run->entries, entry);
	return vm_cursor_entry(&cur) ==
		   (i > 0 ? run->model.range[i - 1].what : NULL) ||
	       fuzz_found(run->rep, "out", "delete",
		   "the cursor is not in front of what left");
}

static int
do_delete(struct run *run, const uint64_t *v, struct hf_result *res)
{
	size_t i = holder(run, place(run, v[HF_F_A]));

	(void)res;
	if (i == run->model.n)
		return KERN_INVALID_ADDRESS;
	return leave(run, i) ? KERN_SUCCESS : KERN_FAILURE;
}

static int
do_remove(struct run *run, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t start = place(run, v[HF_F_A]);
	size_t i = model_tree_rank(&run->model, start);

	(void)res;
	while (
	    i < run->model.n && run->model.range[i].start - start < v[HF_F_LEN])
		if (!leave(run, i))
			return KERN_FAILURE;
	return KERN_SUCCESS;
}

static int
do_resize(struct run *run, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t start = place(run, v[HF_F_A]);
	vm_offset_t end = start + roundup2(v[HF_F_LEN], page_size(run));
	size_t i = holder(run, start);
	struct vm_cursor cur;

	(void)res;
	if (i == run->model.n) { /* may begin in the gap in front of it */
		i = model_tree_rank(&run->model, start);
		if (i == run->model.n)
			return KERN_INVALID_ADDRESS;
	}
	if (end <= start || end > model_tree_gap_end(&run->model, i + 1) ||
	    end <= run->model.range[i].start)
		return KERN_NO_SPACE;
	if (!seek(run, run->model.range[i].start, i + 1, &cur))
		return KERN_FAILURE;
	vm_tree_resize(&run->tree, &cur, start, end);
	run->model.range[i].start = start;
	run->model.range[i].end = end;
	return KERN_SUCCESS;
}

static int
do_split(struct run *run, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t at = place(run, v[HF_F_A]), end;
	struct vm_map_entry *entry, *other;
	size_t i = holder(run, at);
	struct vm_cursor cur;

	(void)res;
	if (i == run->model.n || run->model.range[i].start == at ||
	    is_full(run))
		return KERN_INVALID_ADDRESS;
	if (!seek(run, at, i + 1, &cur))
		return KERN_FAILURE;
	end = run->model.range[i].end;
	entry = run->model.range[i].what;
	other = entry_new(run, 0, 0);
	if (other == NULL)
		return KERN_RESOURCE_SHORTAGE;
	run->model.range[i].end = at;
	if (v[HF_F_PROT] % 2 != 0) { /* which of the two is the new one */
		vm_tree_split(&run->tree, &cur, at, entry, other);
		model_tree_insert(&run->model, i + 1, at, end, other);
	} else {
		vm_tree_split(&run->tree, &cur, at, other, entry);
		run->model.range[i].what = other;
		model_tree_insert(&run->model, i + 1, at, end, entry);
	}
	return vm_cursor_entry(&cur) == run->model.range[i].what ? KERN_SUCCESS
								 : KERN_FAILURE;
}

static int
do_merge(struct run *run, const uint64_t *v, struct hf_result *res)
{
	size_t i = holder(run, place(run, v[HF_F_A]));
	struct model_range *range = run->model.range;
	struct vm_cursor cur;

	(void)res;
	if (i == run->model.n || i == 0 || range[i - 1].end != range[i].start)
		return KERN_INVALID_ADDRESS;
	if (!seek(run, range[i].start, i + 1, &cur))
		return KERN_FAILURE;
	vm_tree_merge(&run->tree, &cur);
	if (vm_cursor_entry(&cur) != range[i].what)
		return KERN_FAILURE;
	uma_zfree(&run->entries, range[i - 1].what);
	range[i].start = range[i - 1].start;
	model_tree_remove(&run->model, i - 1);
	run->rep->seen |= FUZZ_BIT(SEEN_JOINED);
	return KERN_SUCCESS;
}

/* ---- Questions ------------------------------------------------------------
 */

static vm_size_t
alignment(const struct run *run, uint64_t space)
{
	if (space >> 8 != 0)
		return UINT64_C(1) << MIN(MAX(space >> 8, (uint64_t)12), 40);
	if (space == VMFS_SUPER_SPACE)
		return run->tree.align[2];
	return space == VMFS_OPTIMAL_SPACE ? run->tree.align[1]
					   : page_size(run);
}

static bool
fit_once(struct run *run, const struct vm_gap_req *req, vm_offset_t want,
    bool is)
{
	struct vm_cursor cur;
	vm_offset_t addr = 0;
	size_t i;

	vm_tree_visits = 0;
	if (vm_tree_fit(&run->tree, req, &cur, &addr) != is ||
	    (is && addr != want))
		return fuzz_found(run->rep, "out", "fit",
		    "%s: 0x%" PRIx64 " instead of 0x%" PRIx64 " for 0x%" PRIx64
		    " bytes at 0x%" PRIx64 " by 0x%" PRIx64,
		    run->tree.isa->name, addr, is ? want : 0, req->length,
		    req->start, req->align);
	for (i = 0; i < VM_TREE_ALIGNS && req->align != run->tree.align[i];)
		i++;
	/* The columns promise nothing for other alignments, and phases. */
	if (req->phase == 0 && i < VM_TREE_ALIGNS && !is_cheap(run, "fit", 4))
		return false;
	i = is ? model_tree_rank(&run->model, want) : 0;
	return !is ||
	       vm_cursor_entry(&cur) ==
		   (i > 0 ? run->model.range[i - 1].what : NULL) ||
	       fuzz_found(run->rep, "out", "fit",
		   "the cursor is not in front of the gap");
}

static int
do_fit(struct run *run, const uint64_t *v, struct hf_result *res)
{
	struct vm_gap_req req = {.start = place(run, v[HF_F_A]),
	    .length =
		MAX(roundup2(v[HF_F_LEN], page_size(run)), page_size(run)),
	    .align = MAX(alignment(run, v[HF_F_SPACE]), page_size(run))};
	vm_offset_t want = 0;
	bool is;

	req.phase = rounddown2(v[HF_F_OFF], page_size(run)) & (req.align - 1);
	is = model_tree_fit(&run->model, req.start, req.length, req.align,
	    req.phase, &want);
	run->rep->seen |= is ? 0 : FUZZ_BIT(SEEN_NO_FIT);
	run->rep->seen |= req.align > page_size(run) && is && want > req.start
			      ? FUZZ_BIT(SEEN_ALIGNED)
			      : 0;
	for (unsigned k = 0; k < run->nisas; k++) {
		run->tree.isa = run->isa[k];
		if (!fit_once(run, &req, want, is))
			return KERN_FAILURE;
	}
	run->tree.isa = run->isa[run->edits];
	if (is)
		hf_result_out(res, "addr", HF_O_ADDR, want);
	return is ? KERN_SUCCESS : KERN_NO_SPACE;
}

static int
do_seek(struct run *run, const uint64_t *v, struct hf_result *res)
{
	vm_offset_t at = place(run, v[HF_F_A]);
	size_t i = model_tree_rank(&run->model, at);
	struct vm_cursor cur;

	(void)res;
	for (unsigned k = 0; k < run->nisas; k++)
		if (!seek_with(run, run->isa[k], at, i, &cur))
			return KERN_FAILURE;
	return KERN_SUCCESS;
}

/* The entry that the cursor is at is number i of the model. */
static bool
same_entry(struct run *run, const char *op, const struct vm_cursor *cur,
    size_t i)
{
	const struct vm_map_entry *e = vm_cursor_entry(cur);
	const struct model_range *m = &run->model.range[i];

	return (i < run->model.n && e == m->what && e->start == m->start &&
		   e->end == m->end && vm_cursor_gap_start(cur) == m->end) ||
	       fuzz_found(run->rep, "state", op,
		   "entry %zu of %zu is [0x%" PRIx64 ", 0x%" PRIx64 ")", i,
		   run->model.n, e->start, e->end);
}

/* Up to n entries from number i on, by steps; there are no more: the end. */
static bool
same_entries(struct run *run, const char *op, struct vm_cursor *cur, size_t i,
    size_t n)
{
	for (; n > 0; n--, i++) {
		if (!vm_tree_next(&run->tree, cur))
			return i == run->model.n ||
			       fuzz_found(run->rep, "state", op,
				   "%zu entries by steps", i);
		if (!same_entry(run, op, cur, i))
			return false;
	}
	return true;
}

/* All of it, by steps in both directions. */
static bool
compare_all(struct run *run, const char *op)
{
	const char *broken = vm_tree_check(&run->tree);
	struct vm_cursor cur;

	run->rep->nchecks++;
	if (broken != NULL)
		return fuzz_found(run->rep, "check", op, "%s", broken);
	vm_tree_seek(&run->tree, run->model.min, &cur);
	while (vm_tree_prev(&run->tree, &cur))
		continue;
	return (vm_cursor_entry(&cur) == NULL ||
		   fuzz_found(run->rep, "state", op, "no header in front")) &&
	       same_entries(run, op, &cur, 0, run->model.n + 1);
}

/* What is around the place that the operation named. */
static bool
compare_near(struct run *run, const char *op)
{
	size_t i = model_tree_rank(&run->model, run->at), back = 0;
	struct vm_cursor cur;

	if (!seek(run, run->at, i, &cur))
		return false;
	while (back < NEAR && vm_tree_prev(&run->tree, &cur))
		back++;
	return (i >= back ||
		   fuzz_found(run->rep, "state", op, "entries in front")) &&
	       same_entries(run, op, &cur, i - back, 2 * NEAR);
}

static bool
compare(struct run *run, const char *op, bool all)
{
	if (run->tree.count != run->model.n)
		return fuzz_found(run->rep, "state", op,
		    "%" PRIu64 " entries, the model has %zu", run->tree.count,
		    run->model.n);
	return all || run->model.n <= SMALL ? compare_all(run, op)
					    : compare_near(run, op);
}

/* ---- The world ------------------------------------------------------------
 */

static void
clear(struct run *run)
{
	if (run->has_tree) {
		vm_tree_fini(&run->tree);
		uma_zone_fini(&run->entries);
		model_tree_fini(&run->model);
	}
	run->has_tree = false;
}

static int
do_world(struct run *run, const uint64_t *v, struct hf_result *res)
{
	static const char *const archs[] = {"x86_64", "aarch64", "riscv64"};
	const struct arch_machine *machine =
	    v[HF_F_ARCH] < nitems(archs)
		? arch_machine_find(archs[v[HF_F_ARCH]], v[HF_F_PAGE])
		: NULL;
	struct sim_options options = {0};

	(void)res;
	if (machine == NULL || run->arch != NULL)
		return KERN_INVALID_ARGUMENT;
	options.machine = machine->name;
	options.page_size = machine->page_size;
	options.no_inject = fuzz_is_undisturbed(run->header);
	run->arch = sim_create(&options);
	return KERN_SUCCESS;
}

static int
do_map(struct run *run, const uint64_t *v, struct hf_result *res)
{
	const struct arch_machine *machine = run->arch->machine;
	vm_size_t page = machine->page_size;
	vm_size_t align[VM_TREE_ALIGNS] = {page, 16 * page, 512 * page};

	(void)res;
	if (v[HF_F_MAP] != 0 || v[HF_F_A] >= v[HF_F_B] ||
	    ((v[HF_F_A] | v[HF_F_B]) & (page - 1)) != 0)
		return KERN_INVALID_ARGUMENT;
	clear(run);
	if (vm_tree_init(&run->tree, run->arch, v[HF_F_A], v[HF_F_B], align) !=
	    KERN_SUCCESS)
		return KERN_RESOURCE_SHORTAGE;
	uma_zone_init(&run->entries, run->arch, sizeof(struct vm_map_entry));
	model_tree_init(&run->model, v[HF_F_A], v[HF_F_B]);
	run->has_tree = true;
	run->height = 0;
	run->edits = run->header->seed % run->nisas;
	run->tree.isa = run->isa[run->edits];
	return KERN_SUCCESS;
}

static int
do_inject(struct run *run, const uint64_t *v, struct hf_result *res)
{
	(void)res;
	core_inject(run->arch, v);
	return KERN_SUCCESS;
}

static handler *const handlers[HF_NOPS] = {
    [HF_WORLD] = do_world,
    [HF_MAP] = do_map,
    [HF_INSERT] = do_insert,
    [HF_DELETE] = do_delete,
    [HF_REMOVE] = do_remove,
    [HF_FIXED] = do_resize,
    [HF_PROTECT] = do_split,
    [HF_INHERIT] = do_merge,
    [HF_MADVISE] = do_many,
    [HF_FIND] = do_fit,
    [HF_ENTRY] = do_seek,
    [HF_INJECT] = do_inject,
};

static void
tree_call(struct hf_backend *base, const struct hf_call *call,
    struct hf_result *res)
{
	struct run *run = run_of(base);
	bool early = call->op == HF_WORLD || call->op == HF_MAP;

	hf_result_set(res, HF_S_UNSUPPORTED);
	if (handlers[call->op] != NULL && (early || run->has_tree))
		res->status = handlers[call->op](run, call->v, res);
}

static size_t
tree_entries(struct hf_backend *base, unsigned map, size_t k,
    struct hf_entry *entries, size_t max)
{
	const struct model_tree *t = &run_of(base)->model;
	size_t n = 0;

	(void)map;
	for (; n < max && k < t->n; n++, k++)
		entries[n] = (struct hf_entry){.start = t->range[k].start,
		    .end = t->range[k].end};
	return n;
}

static size_t
tree_nentries(struct hf_backend *base, unsigned map)
{
	(void)map;
	return run_of(base)->model.n;
}

static const struct hf_backend_ops tree_ops = {.name = "tree",
    .call = tree_call,
    .entries = tree_entries,
    .nentries = tree_nentries};

static void
note_rare(struct run *run, const struct hf_result *res)
{
	const struct model_tree *t = &run->model;
	uint64_t *seen = &run->rep->seen;

	if (!run->has_tree)
		return;
	if (res->status == KERN_RESOURCE_SHORTAGE)
		*seen |= FUZZ_BIT(SEEN_SHORTAGE);
	if (run->tree.height > 0)
		*seen |= FUZZ_BIT(SEEN_LEVEL_1);
	if (run->tree.height > 1)
		*seen |= FUZZ_BIT(SEEN_LEVEL_2);
	if (run->tree.height < run->height)
		*seen |= FUZZ_BIT(SEEN_SHRUNK);
	run->height = MAX(run->height, run->tree.height);
	if (t->n > 1 && (t->range[t->n - 1].end - t->range[0].start) >> 44 != 0)
		*seen |= FUZZ_BIT(SEEN_FAR);
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	struct run *run = arg;

	if (inst != NULL)
		run->rep->nops++;
	fuzz_hash_answer(run->rep, call, res);
	if (run->rep->found)
		return false;
	if (res->status == KERN_FAILURE)
		return fuzz_found(run->rep, "out", hf_ops[call->op].name,
		    "the cursor is not where it should be");
	note_rare(run, res);
	if (!run->has_tree || r->header.cadence == 0xff ||
	    r->nops % r->header.cadence != 0)
		return true;
	run->at = place(run, call->v[HF_F_A]);
	return compare(run, hf_ops[call->op].name, r->nops % ALL == 0);
}

static void
find_isas(struct run *run)
{
	static const char *const names[NISAS] = {"plain", "avx2", "avx512"};

	for (unsigned i = 0; i < NISAS; i++) {
		run->isa[run->nisas] = vm_tree_isa_find(names[i]);
		run->nisas += run->isa[run->nisas] != NULL;
	}
}

static void
run_tree(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	static struct run run;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.called = called, .arg = &run};

	memset(rep, 0, sizeof(*rep));
	memset(&run, 0, sizeof(run));
	run.base.ops = &tree_ops;
	run.rep = rep;
	run.header = &runner.header;
	find_isas(&run);
	hf_runner_init(&runner, &run.base, &options, &observer, data, size);
	hf_run(&runner, data, size);
	if (!rep->found && run.has_tree)
		(void)compare(&run, "end", true);
	if (rep->found)
		return; /* what holds the rest is broken: leave it */
	clear(&run);
	fuzz_sim_end(rep, run.arch);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_tree",
    .ops = FUZZ_OPS_TREE,
    .run = run_tree,
    .sometimes = sometimes,
    .required = FUZZ_BIT(SEEN_SHORTAGE) | FUZZ_BIT(SEEN_LEVEL_1) |
		FUZZ_BIT(SEEN_LEVEL_2) | FUZZ_BIT(SEEN_SHRUNK) |
		FUZZ_BIT(SEEN_NO_FIT) | FUZZ_BIT(SEEN_ALIGNED) |
		FUZZ_BIT(SEEN_FAR) | FUZZ_BIT(SEEN_JOINED)};
