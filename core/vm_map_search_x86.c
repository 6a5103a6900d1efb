/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Searching and shifting inside the nodes of the entry tree with AVX-512 and
 * with AVX2.  Nothing here runs before the processor was asked.
 */

#include "core/vm_map_isa_int.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define BITS __attribute__((target("bmi,bmi2,popcnt")))

/* Only the lowest `n` bits, n <= 64. */
BITS static inline uint64_t
low_bits(uint64_t mask, unsigned n)
{
	return _bzhi_u64(mask, n);
}

/* The lowest set bit at or above `from` and below `n`, or n. */
BITS static inline unsigned
first_bit(uint64_t mask, unsigned from, unsigned n)
{
	mask = low_bits(mask, n) & ~low_bits(UINT64_MAX, from);
	return mask != 0 ? (unsigned)__builtin_ctzll(mask) : n;
}

BITS static inline unsigned
count_bits(uint64_t mask, unsigned n)
{
	return (unsigned)__builtin_popcountll(low_bits(mask, n));
}

/* The slots with a gap that ends at another entry, but `except`. */
BITS static inline uint64_t
inner_slots(const struct vm_leaf *leaf, unsigned except)
{
	uint64_t all = low_bits(UINT64_MAX, leaf->count - 1);

	return except < VM_LEAF_FANOUT ? all & ~((uint64_t)1 << except) : all;
}

/* Four partial maxima for each alignment to a column. */
__attribute__((target("sse4.1"))) static inline struct vm_fit
fit_join(__m128i a, __m128i b, __m128i c)
{
	__m128i ab =
	    _mm_max_epu32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
	__m128i ca =
	    _mm_max_epu32(_mm_unpacklo_epi32(c, a), _mm_unpackhi_epi32(c, a));
	__m128i all = _mm_max_epu32(_mm_unpacklo_epi64(ab, ca),
	    _mm_unpackhi_epi64(ab, ca));

	return (struct vm_fit){
	    (vm_lanes)_mm_min_epu32(all, _mm_set1_epi32(VM_FIT_MAX))};
}

/* AVX-512: eight addresses, or sixteen page counts, a register. */

#define AVX512 __attribute__((target("avx512f,avx512dq,bmi,bmi2,popcnt")))

AVX512 static inline unsigned
rank8_avx512(const vm_offset_t *keys, vm_offset_t addr)
{
	return (unsigned)__builtin_popcount(
	    _mm512_cmple_epu64_mask(_mm512_load_si512(keys),
		_mm512_set1_epi64((long long)addr)));
}

AVX512 static inline unsigned
rank_leaf_avx512(const struct vm_leaf *leaf, uint32_t page)
{
	__m512i p = _mm512_set1_epi32((int)page);
	uint64_t low =
	    (uint64_t)_mm512_cmple_epu32_mask(_mm512_load_si512(leaf->start),
		p);
	uint64_t high = (uint64_t)_mm512_cmple_epu32_mask(_mm512_load_si512(
							      leaf->start + 16),
	    p);

	return count_bits(low | high << 16, leaf->count);
}

AVX512 static inline unsigned
first_avx512(const uint32_t *values, unsigned from, uint32_t need)
{
	__m512i v = _mm512_set1_epi32((int)need);
	uint64_t mask = 0;

#pragma GCC unroll 4
	for (unsigned i = 0; i < VM_NODE_FANOUT; i += 16)
		mask |= (uint64_t)_mm512_cmpge_epu32_mask(_mm512_load_si512(
							      values + i),
			    v)
			<< i;
	return first_bit(mask, from, VM_NODE_FANOUT);
}

/* A leaf in registers; lanes from count on are garbage. */
struct leaf_avx512 {
	__m512i end[2];  /* where each entry ends */
	__m512i next[2]; /* where the next one starts */
};

AVX512 static inline struct leaf_avx512
leaf_load_avx512(const struct vm_leaf *leaf)
{
	const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16,
	    18, 20, 22, 24, 26, 28, 30);
	__m512i mask = _mm512_set1_epi32((int)VM_ITEM_FAR);
	__m512i low = _mm512_load_si512(leaf->start),
		high = _mm512_load_si512(leaf->start + 16);
	__m512i item[4], pages[2];

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		item[i] = _mm512_load_si512(leaf->item + 8 * i);
	pages[0] = _mm512_permutex2var_epi32(item[0], even, item[1]);
	pages[1] = _mm512_permutex2var_epi32(item[2], even, item[3]);
	return (struct leaf_avx512){
	    .end = {_mm512_add_epi32(low, _mm512_and_si512(pages[0], mask)),
		_mm512_add_epi32(high, _mm512_and_si512(pages[1], mask))},
	    .next = {_mm512_alignr_epi32(high, low, 1),
		_mm512_alignr_epi32(high, high, 1)},
	};
}

AVX512 static inline unsigned
gap_avx512(const struct vm_leaf *leaf, unsigned from, unsigned n,
    const struct gap_want *want)
{
	__m512i phase = _mm512_set1_epi32((int)leaf_phase(leaf, want->phase));
	__m512i mask = _mm512_set1_epi32((int)want->mask);
	__m512i need = _mm512_set1_epi32((int)want->need);
	struct leaf_avx512 l = leaf_load_avx512(leaf);
	uint64_t fits = 0;

#pragma GCC unroll 2
	for (unsigned i = 0; i < 2; i++) {
		__m512i pad =
		    _mm512_and_si512(_mm512_sub_epi32(phase, l.end[i]), mask);

		fits |= (uint64_t)
			    _mm512_cmpge_epu32_mask(_mm512_sub_epi32(l.next[i],
							l.end[i]),
				_mm512_add_epi32(pad, need))
			<< 16 * i;
	}
	return first_bit(fits, from, n);
}

/* The largest of each four lanes that are four apart. */
AVX512 static inline __m128i
quarter_avx512(__m512i v)
{
	__m256i half = _mm256_max_epu32(_mm512_castsi512_si256(v),
	    _mm512_extracti64x4_epi64(v, 1));

	return _mm_max_epu32(_mm256_castsi256_si128(half),
	    _mm256_extracti128_si256(half, 1));
}

AVX512 static inline struct vm_fit
join_avx512(const __m512i most[VM_TREE_ALIGNS])
{
	return fit_join(quarter_avx512(most[0]), quarter_avx512(most[1]),
	    quarter_avx512(most[2]));
}

AVX512 static inline struct vm_fit
inner_fit_avx512(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned except)
{
	__m512i zero = _mm512_set1_epi32((int)leaf_phase(leaf, 0));
	uint64_t slots = inner_slots(leaf, except);
	struct leaf_avx512 l = leaf_load_avx512(leaf);
	__m512i most[VM_TREE_ALIGNS], mask[VM_TREE_ALIGNS];

	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
		most[a] = _mm512_setzero_si512();
		mask[a] = _mm512_set1_epi32(tree->pad[a]);
	}
#pragma GCC unroll 2
	for (unsigned i = 0; i < 2; i++) {
		__mmask16 live = (__mmask16)(slots >> 16 * i);
		__m512i gap = _mm512_maskz_sub_epi32(live, l.next[i], l.end[i]);
		__m512i neg = _mm512_sub_epi32(zero, l.end[i]), pad;

		most[0] = _mm512_max_epu32(most[0], gap);
#pragma GCC unroll 2
		for (unsigned a = 1; a < VM_TREE_ALIGNS; a++) {
			pad = _mm512_and_si512(neg, mask[a]);
			most[a] = _mm512_max_epu32(most[a],
			    _mm512_sub_epi32(_mm512_max_epu32(gap, pad), pad));
		}
	}
	return join_avx512(most);
}

AVX512 static inline struct vm_fit
children_fit_avx512(const struct vm_node *node, unsigned slot,
    struct vm_fit fit)
{
	uint64_t others = ~((uint64_t)1 << slot);
	__m512i most[VM_TREE_ALIGNS];

#pragma GCC unroll 3
	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
		most[a] =
		    _mm512_maskz_load_epi32((__mmask16)others, node->fit[a]);
#pragma GCC unroll 3
		for (unsigned i = 16; i < VM_NODE_FANOUT; i += 16)
			most[a] = _mm512_max_epu32(most[a],
			    _mm512_maskz_load_epi32((__mmask16)(others >> i),
				node->fit[a] + i));
	}
	return vm_fit_max(fit, join_avx512(most));
}

/*
 * Lanes above `slot` take what was one below, and that lane takes the new
 * value: in the register, because a search that loads what was stored piece by
 * piece has to wait for it.
 */
AVX512 static inline void
leaf_open_avx512(struct vm_leaf *leaf, unsigned slot, struct vm_leaf_slot with)
{
	uint64_t above = ~low_bits(UINT64_MAX, slot + 1);
	uint64_t at = (uint64_t)1 << slot;
	__m512i old, below = _mm512_setzero_si512(), v;

	MPASS(slot <= leaf->count && leaf->count < VM_LEAF_FANOUT);

#pragma GCC unroll 2
	for (unsigned i = 0; i < 2; i++) {
		old = _mm512_load_si512(leaf->start + 16 * i);
		v = _mm512_mask_alignr_epi32(old, (__mmask16)(above >> 16 * i),
		    old, below, 15);
		v = _mm512_mask_set1_epi32(v, (__mmask16)(at >> 16 * i),
		    (int)with.start);
		_mm512_store_si512(leaf->start + 16 * i, v);
		below = old;
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		old = _mm512_load_si512(leaf->item + 8 * i);
		v = _mm512_mask_alignr_epi64(old, (__mmask8)(above >> 8 * i),
		    old, below, 7);
		v = _mm512_mask_set1_epi64(v, (__mmask8)(at >> 8 * i),
		    (long long)with.item);
		_mm512_store_si512(leaf->item + 8 * i, v);
		below = old;
	}
}

/* Lanes from `slot` on take what was one above. */
AVX512 static inline void
leaf_close_avx512(struct vm_leaf *leaf, unsigned slot)
{
	uint64_t from = ~low_bits(UINT64_MAX, slot);
	__m512i low = _mm512_load_si512(leaf->start),
		high = _mm512_load_si512(leaf->start + 16);
	__m512i item[5];

	MPASS(slot < leaf->count);

	_mm512_store_si512(leaf->start,
	    _mm512_mask_alignr_epi32(low, (__mmask16)from, high, low, 1));
	_mm512_store_si512(leaf->start + 16,
	    _mm512_mask_alignr_epi32(high, (__mmask16)(from >> 16), high, high,
		1));
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		item[i] = _mm512_load_si512(leaf->item + 8 * i);
	item[4] = item[3];
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		_mm512_store_si512(leaf->item + 8 * i,
		    _mm512_mask_alignr_epi64(item[i], (__mmask8)(from >> 8 * i),
			item[i + 1], item[i], 1));
}

/* Lanes behind `slot` + 2 take what was two below; those between the cut. */
AVX512 static void
leaf_cut_avx512(struct vm_leaf *leaf, unsigned slot,
    const struct vm_leaf_cut *cut)
{
	uint64_t above = ~low_bits(UINT64_MAX, slot + 3);
	uint64_t at = (uint64_t)1 << slot;
	__m512i old, below = _mm512_setzero_si512(), v;

	MPASS(slot < leaf->count && leaf->count + 2 <= VM_LEAF_FANOUT);

#pragma GCC unroll 2
	for (unsigned i = 0; i < 2; i++) {
		old = _mm512_load_si512(leaf->start + 16 * i);
		v = _mm512_mask_alignr_epi32(old, (__mmask16)(above >> 16 * i),
		    old, below, 14);
		v = _mm512_mask_set1_epi32(v, (__mmask16)(at << 1 >> 16 * i),
		    (int)cut->start[0]);
		v = _mm512_mask_set1_epi32(v, (__mmask16)(at << 2 >> 16 * i),
		    (int)cut->start[1]);
		_mm512_store_si512(leaf->start + 16 * i, v);
		below = old;
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		old = _mm512_load_si512(leaf->item + 8 * i);
		v = _mm512_mask_alignr_epi64(old, (__mmask8)(above >> 8 * i),
		    old, below, 6);
#pragma GCC unroll 3
		for (unsigned part = 0; part < 3; part++)
			v = _mm512_mask_set1_epi64(v,
			    (__mmask8)(at << part >> 8 * i),
			    (long long)cut->item[part]);
		_mm512_store_si512(leaf->item + 8 * i, v);
		below = old;
	}
}

/* Lanes behind `slot` take what was two above. */
AVX512 static inline void
leaf_join2_avx512(struct vm_leaf *leaf, unsigned slot, uint64_t with)
{
	uint64_t behind = ~low_bits(UINT64_MAX, slot + 1);
	uint64_t at = (uint64_t)1 << slot;
	__m512i low = _mm512_load_si512(leaf->start), item[5], v;
	__m512i high = _mm512_load_si512(leaf->start + 16);

	_mm512_store_si512(leaf->start,
	    _mm512_mask_alignr_epi32(low, (__mmask16)behind, high, low, 2));
	_mm512_store_si512(leaf->start + 16,
	    _mm512_mask_alignr_epi32(high, (__mmask16)(behind >> 16), high,
		high, 2));
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		item[i] = _mm512_load_si512(leaf->item + 8 * i);
	item[4] = item[3];
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		v = _mm512_mask_alignr_epi64(item[i],
		    (__mmask8)(behind >> 8 * i), item[i + 1], item[i], 2);
		v = _mm512_mask_set1_epi64(v, (__mmask8)(at >> 8 * i),
		    (long long)with);
		_mm512_store_si512(leaf->item + 8 * i, v);
	}
}

AVX512 static void
leaf_join_avx512(struct vm_leaf *leaf, unsigned slot, unsigned n, uint64_t item)
{
	MPASS((n == 1 || n == 2) && slot + n < leaf->count);

	if (n == 2) {
		leaf_join2_avx512(leaf, slot, item);
		return;
	}
	leaf_close_avx512(leaf, slot + 1);
	leaf->item[slot] = item;
}

#define ISA(name)     name##_avx512
#define ISA_NAME      "avx512"
#define ISA_TARGET    AVX512
#define ISA_RANK8     rank8_avx512
#define ISA_RANK_LEAF rank_leaf_avx512
#define ISA_FIRST     first_avx512
#define ISA_GAP       gap_avx512
#define ISA_CHILDREN  children_fit_avx512
#define ISA_INNER     inner_fit_avx512
#define ISA_SURE      2
#define ISA_OPEN      leaf_open_avx512
#define ISA_CLOSE     leaf_close_avx512
#define ISA_CUT       leaf_cut_avx512
#define ISA_JOIN      leaf_join_avx512
#include "core/vm_map_search_int.h"

/*
 * AVX2: four addresses, or eight page counts, a register.  It compares signed
 * numbers only, so addresses are compared with their top bit turned over, and
 * pages by what their maximum is.
 */

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))

AVX2 static inline __m256i
load_avx2(const void *p)
{
	return _mm256_loadu_si256(p);
}

AVX2 static inline unsigned
rank8_avx2(const vm_offset_t *keys, vm_offset_t addr)
{
	__m256i top = _mm256_set1_epi64x(INT64_MIN);
	__m256i a = _mm256_xor_si256(_mm256_set1_epi64x((long long)addr), top);
	__m256i low =
	    _mm256_cmpgt_epi64(_mm256_xor_si256(load_avx2(keys), top), a);
	__m256i high =
	    _mm256_cmpgt_epi64(_mm256_xor_si256(load_avx2(keys + 4), top), a);
	int above = _mm256_movemask_ps(
	    _mm256_castsi256_ps(_mm256_packs_epi32(low, high)));

	return 8 - (unsigned)__builtin_popcount((unsigned)above);
}

/* Lanes where x >= y. */
AVX2 static inline uint64_t
ge32_avx2(__m256i x, __m256i y)
{
	__m256i ge = _mm256_cmpeq_epi32(_mm256_max_epu32(x, y), x);

	return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(ge));
}

AVX2 static inline unsigned
rank_leaf_avx2(const struct vm_leaf *leaf, uint32_t page)
{
	__m256i p = _mm256_set1_epi32((int)page);
	uint64_t mask = 0;

#pragma GCC unroll 4
	for (unsigned i = 0; i < VM_LEAF_FANOUT; i += 8)
		mask |= ge32_avx2(p, load_avx2(leaf->start + i)) << i;
	return count_bits(mask, leaf->count);
}

/* Where eight entries end. */
AVX2 static inline __m256i
ends_avx2(const struct vm_leaf *leaf, unsigned i)
{
	__m256 low = _mm256_castsi256_ps(load_avx2(leaf->item + i));
	__m256 high = _mm256_castsi256_ps(load_avx2(leaf->item + i + 4));
	__m256i even = _mm256_castps_si256(
	    _mm256_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));
	__m256i pages = _mm256_and_si256(_mm256_permute4x64_epi64(even,
					     _MM_SHUFFLE(3, 1, 2, 0)),
	    _mm256_set1_epi32((int)VM_ITEM_FAR));

	return _mm256_add_epi32(load_avx2(leaf->start + i), pages);
}

AVX2 static inline unsigned
first_avx2(const uint32_t *values, unsigned from, uint32_t need)
{
	__m256i v = _mm256_set1_epi32((int)need);
	uint64_t mask = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < VM_NODE_FANOUT; i += 8)
		mask |= ge32_avx2(load_avx2(values + i), v) << i;
	return first_bit(mask, from, VM_NODE_FANOUT);
}

AVX2 static inline unsigned
gap_avx2(const struct vm_leaf *leaf, unsigned from, unsigned n,
    const struct gap_want *want)
{
	__m256i phase = _mm256_set1_epi32((int)leaf_phase(leaf, want->phase));
	__m256i mask = _mm256_set1_epi32((int)want->mask);
	__m256i need = _mm256_set1_epi32((int)want->need);
	uint64_t fits = 0;

#pragma GCC unroll 4
	for (unsigned i = 0; i < VM_LEAF_FANOUT; i += 8) {
		__m256i end = ends_avx2(leaf, i);
		__m256i gap =
		    _mm256_sub_epi32(load_avx2(leaf->start + i + 1), end);
		__m256i pad =
		    _mm256_and_si256(_mm256_sub_epi32(phase, end), mask);

		fits |= ge32_avx2(gap, _mm256_add_epi32(pad, need)) << i;
	}
	return first_bit(fits, from, n);
}

AVX2 static inline __m128i
quarter_avx2(__m256i v)
{
	return _mm_max_epu32(_mm256_castsi256_si128(v),
	    _mm256_extracti128_si256(v, 1));
}

AVX2 static inline struct vm_fit
inner_fit_avx2(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned except)
{
	__m256i zero = _mm256_set1_epi32((int)leaf_phase(leaf, 0));
	__m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
	uint64_t slots = inner_slots(leaf, except);
	__m256i most[VM_TREE_ALIGNS];

	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		most[a] = _mm256_setzero_si256();
	for (unsigned i = 0; i + 1 < leaf->count; i += 8) {
		__m256i end = ends_avx2(leaf, i);
		__m256i neg = _mm256_sub_epi32(zero, end);
		__m256i bits = _mm256_set1_epi32((int)(slots >> i));
		__m256i live =
		    _mm256_cmpeq_epi32(_mm256_and_si256(bits, lane), lane);
		__m256i gap = _mm256_and_si256(live,
		    _mm256_sub_epi32(load_avx2(leaf->start + i + 1), end));

		for (unsigned a = 0; a < VM_TREE_ALIGNS; a++) {
			__m256i pad = _mm256_and_si256(neg,
			    _mm256_set1_epi32(tree->pad[a]));

			most[a] = _mm256_max_epu32(most[a],
			    _mm256_sub_epi32(_mm256_max_epu32(gap, pad), pad));
		}
	}
	return fit_join(quarter_avx2(most[0]), quarter_avx2(most[1]),
	    quarter_avx2(most[2]));
}

AVX2 static inline struct vm_fit
children_fit_avx2(const struct vm_node *node, unsigned slot, struct vm_fit fit)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i most[VM_TREE_ALIGNS];

	for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
		most[a] = _mm256_setzero_si256();
	for (unsigned i = 0; i < VM_NODE_FANOUT; i += 8) {
		__m256i at = _mm256_cmpeq_epi32(lane,
		    _mm256_set1_epi32((int)slot - (int)i));

		for (unsigned a = 0; a < VM_TREE_ALIGNS; a++)
			most[a] = _mm256_max_epu32(most[a],
			    _mm256_andnot_si256(at,
				load_avx2(node->fit[a] + i)));
	}
	return vm_fit_max(fit,
	    fit_join(quarter_avx2(most[0]), quarter_avx2(most[1]),
		quarter_avx2(most[2])));
}

#define ISA(name)     name##_avx2
#define ISA_NAME      "avx2"
#define ISA_TARGET    AVX2
#define ISA_RANK8     rank8_avx2
#define ISA_RANK_LEAF rank_leaf_avx2
#define ISA_FIRST     first_avx2
#define ISA_GAP       gap_avx2
#define ISA_CHILDREN  children_fit_avx2
#define ISA_INNER     inner_fit_avx2
#define ISA_SURE      2
#define ISA_OPEN      leaf_open_plain
#define ISA_CLOSE     leaf_close_plain
#define ISA_CUT       leaf_cut_plain
#define ISA_JOIN      leaf_join_plain
#include "core/vm_map_search_int.h"
#endif /* __x86_64__ */
