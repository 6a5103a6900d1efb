/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Searching and shifting inside the nodes of the entry tree, one instruction
 * set at a time.
 *
 * All sets but the plain one look at all slots of a node at once and mask what
 * lies beyond `count`; what is read there is garbage, but inside the node.
 * The plain set is what other processors run, and what the tests compare the
 * others with.
 */

#include "core/vm_map_isa_int.h"

_Thread_local uint64_t vm_tree_visits;

/* Wide and far leaves: by the entries, whatever the instruction set. */

vm_offset_t
vm_leaf_start_wide(const struct vm_leaf *leaf, unsigned slot)
{
	const struct vm_map_entry *entry = vm_leaf_entry(leaf, slot);

	MPASS(slot < leaf->count && (entry != NULL || slot == 0));

	return entry != NULL ? entry->start : leaf->base;
}

vm_offset_t
vm_leaf_end_wide(const struct vm_leaf *leaf, unsigned slot)
{
	const struct vm_map_entry *entry = vm_leaf_entry(leaf, slot);

	MPASS(slot < leaf->count && (entry != NULL || slot == 0));

	return entry != NULL ? entry->end : leaf->base;
}

void
vm_leaf_narrow_slow(struct vm_leaf *leaf)
{
	leaf->wide = vm_leaf_reaches(leaf, vm_leaf_end(leaf, leaf->count - 1));
	leaf->far = false;
	for (unsigned i = 0; i < leaf->count; i++)
		leaf->far |= vm_item_is_far(leaf->item[i]);
}

unsigned
vm_leaf_slot_wide(const struct vm_leaf *leaf, vm_offset_t addr)
{
	unsigned base = 0, n = leaf->count;

	/* Slots below base start at or below addr; n are undecided. */
	while (n > 0) {
		unsigned half = (n + 1) / 2;

		if (vm_leaf_start(leaf, base + half - 1) <= addr)
			base += half;
		n -= half;
	}
	MPASS(base > 0);
	return base - 1;
}

bool
vm_leaf_lookup_wide(const struct vm_leaf *leaf, vm_offset_t addr,
    struct vm_map_entry **entryp)
{
	unsigned slot = vm_leaf_slot_wide(leaf, addr);

	MPASS(leaf->wide || leaf->far);

	*entryp = vm_leaf_entry(leaf, slot);
	return addr < vm_leaf_end(leaf, slot);
}

unsigned
vm_leaf_gap_wide(const struct vm_leaf *leaf, unsigned from,
    const struct vm_gap_req *req)
{
	MPASS(leaf->count > 0);

	while (from < leaf->count && !gap_holds(vm_leaf_end(leaf, from),
					 vm_leaf_gap_end(leaf, from), req))
		from++;
	return MIN(from, leaf->count);
}

/* The largest fits of a leaf without those of the gap behind one slot. */
struct vm_fit
vm_leaf_fit_wide(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned except)
{
	struct vm_fit fit = vm_fit_all(0);

	MPASS((leaf->wide || leaf->far) && leaf->count > 0);

	for (unsigned i = 0; i < leaf->count; i++)
		if (i != except)
			fit = vm_fit_max(fit,
			    vm_gap_fit(tree, vm_leaf_end(leaf, i),
				vm_leaf_gap_end(leaf, i)));
	return fit;
}

/* Plain C. */

/*
 * Ranks without branches that depend on what is looked for, over whole arrays:
 * compilers make vectors of them.  Gaps are short to look through one by one.
 */

static inline unsigned
rank8_plain(const vm_offset_t *keys, vm_offset_t addr)
{
	unsigned rank = 0;

	for (unsigned i = 0; i < 8; i++)
		rank += keys[i] <= addr ? 1 : 0;
	return rank;
}

static inline unsigned
rank_leaf_plain(const struct vm_leaf *leaf, uint32_t page)
{
	uint32_t rank = 0;

	for (uint32_t i = 0; i < VM_LEAF_FANOUT; i++)
		rank += (leaf->start[i] <= page ? 1u : 0u) &
			(i < leaf->count ? 1u : 0u);
	return rank;
}

static inline unsigned
first_plain(const uint32_t *values, unsigned from, uint32_t need)
{
	while (from < VM_NODE_FANOUT && values[from] < need)
		from++;
	return from;
}

static inline unsigned
gap_plain(const struct vm_leaf *leaf, unsigned from, unsigned n,
    const struct gap_want *want)
{
	uint32_t phase = leaf_phase(leaf, want->phase);

	/* Below 2^31 each, need and pad do not wrap together. */
	for (; from < n; from++) {
		uint32_t end = leaf_end_page(leaf, from);

		if (leaf->start[from + 1] - end >=
		    want->need + ((phase - end) & want->mask))
			break;
	}
	return from;
}

static inline struct vm_fit
inner_fit_plain(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned except)
{
	uint32_t zero = leaf_phase(leaf, 0), most[VM_TREE_ALIGNS] = {0};

	for (unsigned i = 0; i + 1 < leaf->count; i++) {
		uint32_t end = leaf_end_page(leaf, i);
		uint32_t gap = i != except ? leaf->start[i + 1] - end : 0;

		for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
			uint32_t pad = (zero - end) & (uint32_t)tree->pad[a];
			uint32_t fit = gap > pad ? gap - pad : 0;

			most[a] = MAX(most[a], fit);
		}
	}
	return fit_make(most);
}

static inline struct vm_fit
children_fit_plain(const struct vm_node *node, unsigned slot, struct vm_fit fit)
{
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
		const uint32_t *pages = node->fit[a];
		int32_t most = fit.pages[a];

		for (unsigned i = 0; i < slot; i++)
			most = MAX(most, (int32_t)pages[i]);
		for (unsigned i = slot + 1; i < node->count; i++)
			most = MAX(most, (int32_t)pages[i]);
		fit.pages[a] = most;
	}
	fit.pages[VM_TREE_ALIGNS] = fit.pages[0];
	return fit;
}

#define ISA(name) name##_plain
#define ISA_NAME  "plain"
#define ISA_TARGET
#define ISA_RANK8     rank8_plain
#define ISA_RANK_LEAF rank_leaf_plain
#define ISA_FIRST     first_plain
#define ISA_GAP       gap_plain
#define ISA_CHILDREN  children_fit_plain
#define ISA_INNER     inner_fit_plain
#define ISA_SURE      0
#define ISA_OPEN      leaf_open_plain
#define ISA_CLOSE     leaf_close_plain
#define ISA_CUT       leaf_cut_plain
#define ISA_JOIN      leaf_join_plain
#include "core/vm_map_search_int.h"

#if defined(__x86_64__)
static bool
cpu_has_bits(void)
{
	return __builtin_cpu_supports("popcnt") &&
	       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif /* __x86_64__ */

/* Best first; what the processor lacks is left out. */
static size_t
isa_list(const struct vm_tree_isa **list)
{
	size_t n = 0;

#if defined(__x86_64__)
	__builtin_cpu_init();
	if (cpu_has_bits() && __builtin_cpu_supports("avx512f") &&
	    __builtin_cpu_supports("avx512dq"))
		list[n++] = &vm_tree_isa_avx512;
	if (cpu_has_bits() && __builtin_cpu_supports("avx2"))
		list[n++] = &vm_tree_isa_avx2;
#endif
	list[n++] = &vm_tree_isa_plain;
	return n;
}

const struct vm_tree_isa *
vm_tree_isa_best(void)
{
	const struct vm_tree_isa *list[3];

	(void)isa_list(list); /* never empty */
	return list[0];
}

const struct vm_tree_isa *
vm_tree_isa_find(const char *name)
{
	const struct vm_tree_isa *list[3];
	size_t n = isa_list(list);

	for (size_t i = 0; i < n; i++)
		if (__builtin_strcmp(list[i]->name, name) == 0)
			return list[i];
	return NULL;
}
