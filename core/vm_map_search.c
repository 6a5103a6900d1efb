/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Searching inside the nodes of the entry tree, one instruction set at a time.
 *
 * A node has up to 32 slots.  All sets compare all slots at once and mask what
 * lies beyond `count`; what is read there is garbage, but inside the node.
 * The plain set is what other processors run, and what the tests compare the
 * others with.
 */

#include "core/kassert.h"
#include "core/vm_map_tree_int.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * In a tree that is larger than a cache the lines of a leaf are all misses,
 * and independent: ask for all of them before waiting for one.
 */
static inline void
leaf_prefetch(const struct vm_tree *tree, const void *leaf)
{
	if (tree->height > 2)
		for (size_t i = 0; i < sizeof(struct vm_leaf); i += 64)
			__builtin_prefetch((const char *)leaf + i);
}

/* Plain C. */

static unsigned
rank_plain(const vm_offset_t *keys, unsigned n, vm_offset_t addr)
{
	unsigned base = 0;

	/* keys[0..base) are at or below addr; n slots are undecided. */
	while (n > 0) {
		unsigned half = (n + 1) / 2;

		base += keys[base + half - 1] <= addr ? half : 0;
		n -= half;
	}
	return base;
}

static unsigned
first_plain(const uint32_t *values, unsigned from, unsigned n, uint32_t need)
{
	while (from < n && values[from] < need)
		from++;
	return MIN(from, n);
}

static unsigned
gap_plain(const struct vm_leaf *leaf, unsigned from,
    const struct vm_gap_req *req)
{
	while (from < leaf->count &&
	       vm_gap_usable(leaf->end[from], leaf->start[from + 1], req->align,
		   req->phase) < req->length)
		from++;
	return MIN(from, leaf->count);
}

/* Bytes to saturated pages. */
static uint32_t
fit_pages(const struct vm_tree *tree, vm_size_t bytes)
{
	return (uint32_t)MIN(bytes >> tree->pageshift, UINT32_MAX);
}

static uint32_t
leaf_fit_plain(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned column)
{
	vm_size_t most = 0;

	for (unsigned i = 0; i < leaf->count; i++)
		most = MAX(most, vm_gap_usable(leaf->end[i], leaf->start[i + 1],
				     tree->align[column], 0));
	return fit_pages(tree, most);
}

static uint32_t
max32_plain(const uint32_t *values, unsigned n)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < n; i++)
		most = MAX(most, values[i]);
	return most;
}

#define ISA(name) name##_plain
#define ISA_TARGET
#define ISA_RANK  rank_plain
#define ISA_FIRST first_plain
#define ISA_GAP   gap_plain
#include "core/vm_map_search_int.h"

static const struct vm_tree_isa isa_plain = {
    .name = "plain",
    .seek = seek_plain,
    .fit = fit_plain,
    .leaf_fit = leaf_fit_plain,
    .max32 = max32_plain,
};

#if defined(__x86_64__)

/* The lowest `n` bits, n <= 32. */
static inline uint32_t
low_bits(unsigned n)
{
	return (uint32_t)(((uint64_t)1 << n) - 1);
}

/* The lowest set bit at or above `from` and below `n`, or n. */
static inline unsigned
first_bit(uint32_t mask, unsigned from, unsigned n)
{
	mask &= low_bits(n) & ~low_bits(from);
	return mask != 0 ? (unsigned)__builtin_ctz(mask) : n;
}

/* AVX-512: eight addresses, or sixteen page counts, a register. */

#define AVX512 __attribute__((target("avx512f,bmi,bmi2,popcnt")))

/* The answers of four times eight slots, in order. */
static inline uint32_t
join_bits(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	return (a | b << 8) | (c | d << 8) << 16;
}

AVX512 static inline uint32_t
below_avx512(const vm_offset_t *keys, __m512i addr)
{
	return _mm512_cmple_epu64_mask(_mm512_loadu_si512(keys), addr);
}

AVX512 static inline unsigned
rank_avx512(const vm_offset_t *keys, unsigned n, vm_offset_t addr)
{
	__m512i a = _mm512_set1_epi64((long long)addr);
	uint32_t mask =
	    join_bits(below_avx512(keys, a), below_avx512(keys + 8, a),
		below_avx512(keys + 16, a), below_avx512(keys + 24, a));

	return (unsigned)__builtin_popcount(mask & low_bits(n));
}

AVX512 static inline unsigned
first_avx512(const uint32_t *values, unsigned from, unsigned n, uint32_t need)
{
	__m512i v = _mm512_set1_epi32((int)need);
	uint32_t lo, hi;

	lo = _mm512_cmpge_epu32_mask(_mm512_loadu_si512(values), v);
	hi = _mm512_cmpge_epu32_mask(_mm512_loadu_si512(values + 16), v);
	return first_bit(lo | hi << 16, from, n);
}

/* Usable bytes of the gaps of eight slots from `i` on. */
AVX512 static inline __m512i
usable_avx512(const struct vm_leaf *leaf, unsigned i, __m512i phase,
    __m512i mask)
{
	__m512i end = _mm512_loadu_si512(leaf->end + i);
	__m512i next = _mm512_loadu_si512(leaf->start + i + 1);
	__m512i gap = _mm512_sub_epi64(next, end);
	__m512i pad = _mm512_and_si512(_mm512_sub_epi64(phase, end), mask);

	return _mm512_maskz_sub_epi64(_mm512_cmpgt_epu64_mask(gap, pad), gap,
	    pad);
}

AVX512 static inline unsigned
gap_avx512(const struct vm_leaf *leaf, unsigned from,
    const struct vm_gap_req *req)
{
	__m512i phase = _mm512_set1_epi64((long long)req->phase);
	__m512i mask = _mm512_set1_epi64((long long)(req->align - 1));
	__m512i need = _mm512_set1_epi64((long long)req->length);
	uint32_t fits[4];

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		fits[i] = _mm512_cmpge_epu64_mask(usable_avx512(leaf, 8 * i,
						      phase, mask),
		    need);
	return first_bit(join_bits(fits[0], fits[1], fits[2], fits[3]), from,
	    leaf->count);
}

AVX512 static uint32_t
leaf_fit_avx512(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned column)
{
	__m512i mask = _mm512_set1_epi64((long long)(tree->align[column] - 1));
	__m512i zero = _mm512_setzero_si512(), most[4];
	uint32_t live = low_bits(leaf->count);

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		most[i] = _mm512_maskz_mov_epi64((__mmask8)(live >> (8 * i)),
		    usable_avx512(leaf, 8 * i, zero, mask));
	most[0] = _mm512_max_epu64(most[0], most[1]);
	most[2] = _mm512_max_epu64(most[2], most[3]);
	return fit_pages(tree,
	    _mm512_reduce_max_epu64(_mm512_max_epu64(most[0], most[2])));
}

AVX512 static uint32_t
max32_avx512(const uint32_t *values, unsigned n)
{
	uint32_t live = low_bits(n);
	__m512i lo = _mm512_maskz_loadu_epi32((__mmask16)live, values);
	__m512i hi =
	    _mm512_maskz_loadu_epi32((__mmask16)(live >> 16), values + 16);

	return _mm512_reduce_max_epu32(_mm512_max_epu32(lo, hi));
}

#define ISA(name)  name##_avx512
#define ISA_TARGET AVX512
#define ISA_RANK   rank_avx512
#define ISA_FIRST  first_avx512
#define ISA_GAP    gap_avx512
#include "core/vm_map_search_int.h"

static const struct vm_tree_isa isa_avx512 = {
    .name = "avx512",
    .seek = seek_avx512,
    .fit = fit_avx512,
    .leaf_fit = leaf_fit_avx512,
    .max32 = max32_avx512,
};

/*
 * AVX2: four addresses, or eight page counts, a register.  It compares signed
 * numbers only, so addresses are compared with their top bit turned over.
 */

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))

AVX2 static inline __m256i
flip_avx2(__m256i v)
{
	return _mm256_xor_si256(v, _mm256_set1_epi64x(INT64_MIN));
}

AVX2 static inline uint32_t
bits64_avx2(__m256i v)
{
	return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(v));
}

AVX2 static inline unsigned
rank_avx2(const vm_offset_t *keys, unsigned n, vm_offset_t addr)
{
	__m256i a = flip_avx2(_mm256_set1_epi64x((long long)addr));
	uint32_t above = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < VM_TREE_FANOUT; i += 4) {
		__m256i k = _mm256_loadu_si256((const void *)(keys + i));

		above |= bits64_avx2(_mm256_cmpgt_epi64(flip_avx2(k), a)) << i;
	}
	return (unsigned)__builtin_popcount(~above & low_bits(n));
}

AVX2 static inline unsigned
first_avx2(const uint32_t *values, unsigned from, unsigned n, uint32_t need)
{
	__m256i v = _mm256_set1_epi32((int)need);
	uint32_t mask = 0;

#pragma GCC unroll 4
	for (unsigned i = 0; i < VM_TREE_FANOUT; i += 8) {
		__m256i w = _mm256_loadu_si256((const void *)(values + i));
		__m256i ge = _mm256_cmpeq_epi32(_mm256_max_epu32(w, v), w);

		mask |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(ge))
			<< i;
	}
	return first_bit(mask, from, n);
}

/* Usable bytes of the gaps of four slots from `i` on, top bit turned over. */
AVX2 static inline __m256i
usable_avx2(const struct vm_leaf *leaf, unsigned i, __m256i phase, __m256i mask)
{
	__m256i end = _mm256_loadu_si256((const void *)(leaf->end + i));
	__m256i next = _mm256_loadu_si256((const void *)(leaf->start + i + 1));
	__m256i gap = _mm256_sub_epi64(next, end);
	__m256i pad = _mm256_and_si256(_mm256_sub_epi64(phase, end), mask);
	__m256i some = _mm256_cmpgt_epi64(flip_avx2(gap), flip_avx2(pad));

	return flip_avx2(_mm256_and_si256(_mm256_sub_epi64(gap, pad), some));
}

AVX2 static inline unsigned
gap_avx2(const struct vm_leaf *leaf, unsigned from,
    const struct vm_gap_req *req)
{
	__m256i phase = _mm256_set1_epi64x((long long)req->phase);
	__m256i mask = _mm256_set1_epi64x((long long)(req->align - 1));
	__m256i need = flip_avx2(_mm256_set1_epi64x((long long)req->length));
	uint32_t small = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < VM_TREE_FANOUT; i += 4) {
		__m256i u = usable_avx2(leaf, i, phase, mask);

		small |= bits64_avx2(_mm256_cmpgt_epi64(need, u)) << i;
	}
	return first_bit(~small, from, leaf->count);
}

AVX2 static uint32_t
leaf_fit_avx2(const struct vm_tree *tree, const struct vm_leaf *leaf,
    unsigned column)
{
	__m256i mask = _mm256_set1_epi64x((long long)(tree->align[column] - 1));
	__m256i most = flip_avx2(_mm256_setzero_si256());
	vm_offset_t lane[4];
	vm_size_t max = 0;
	unsigned i;

	for (i = 0; i + 4 <= leaf->count; i += 4) {
		__m256i u = usable_avx2(leaf, i, _mm256_setzero_si256(), mask);

		most = _mm256_blendv_epi8(most, u, _mm256_cmpgt_epi64(u, most));
	}
	_mm256_storeu_si256((void *)lane, flip_avx2(most));
	for (unsigned k = 0; k < 4; k++)
		max = MAX(max, lane[k]);
	for (; i < leaf->count; i++)
		max = MAX(max, vm_gap_usable(leaf->end[i], leaf->start[i + 1],
				   tree->align[column], 0));
	return fit_pages(tree, max);
}

#define ISA(name)  name##_avx2
#define ISA_TARGET AVX2
#define ISA_RANK   rank_avx2
#define ISA_FIRST  first_avx2
#define ISA_GAP    gap_avx2
#include "core/vm_map_search_int.h"

static const struct vm_tree_isa isa_avx2 = {
    .name = "avx2",
    .seek = seek_avx2,
    .fit = fit_avx2,
    .leaf_fit = leaf_fit_avx2,
    .max32 = max32_plain,
};

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
	if (cpu_has_bits() && __builtin_cpu_supports("avx512f"))
		list[n++] = &isa_avx512;
	if (cpu_has_bits() && __builtin_cpu_supports("avx2"))
		list[n++] = &isa_avx2;
#endif
	list[n++] = &isa_plain;
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
