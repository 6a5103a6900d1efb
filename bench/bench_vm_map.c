/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The map beside a splay tree with FreeBSD's algorithm, in the same run.
 *
 * Each case is timed in batches of 64 operations; p50 and p99 are those of the
 * batches, divided by 64.  Rounds alternate between the two.  The calls of the
 * map are the public ones.  Neither side locks where the API lets the caller
 * lock, both do where it does not (protect); splay_map.h says what the other
 * side does and leaves out.
 *
 * Both take their metadata from the Linux back end, which asks for large pages
 * as a kernel's direct map has them; afterwards the main cases run again with
 * base pages for both, so that everybody sees what the pages are worth.
 *
 *	bench_vm_map [--quick] [--min POWER] [--max POWER] [--isa NAME]
 *	    [--pages huge|base] [--only TEXT] [--ours] [--repeat N]
 *
 * --pages runs everything with such pages, and nothing twice.
 *
 * For a profiler: --only runs the cases whose name contains TEXT, --ours leaves
 * the splay tree out of them, --repeat makes them N times as long.
 */

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch/linux/meta.h"
#include "bench/bench.h"
#include "bench/splay_map.h"
#include "core/vm_map_int.h"

#define PAGE     4096ull
#define BATCH    64
#define NO_MERGE (MAP_VN_EXEC | MAP_ACC_NO_CHARGE)
#define MAP_MIN  0x10000ull
#define MAP_MAX  (1ull << 47)

static uint64_t state = 0x2545f4914f6cdd1dull;
static volatile uint64_t sink;
static const char *isa_name;
static const char *only; /* NULL: every case */
static bool ours_only;
static size_t repeat = 1;
static bool again; /* the main cases, with other pages */

static uint64_t
rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Metadata for both sides: what has been freed is at hand until trimmed. */

static struct linux_meta bench_meta = LINUX_META_INIT;

static void *
bench_alloc(void *ctx, size_t size)
{
	return linux_meta_alloc(ctx, size);
}

static void
bench_free(void *ctx, void *p, size_t size)
{
	linux_meta_free(ctx, p, size);
}

/* How many bytes of this process lie in large pages; -1: nobody knows. */
static long
huge_bytes(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	long kib = -1;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "AnonHugePages: %ld", &kib) == 1)
			break;
	if (f != NULL)
		(void)fclose(f);
	return kib < 0 ? -1 : kib * 1024;
}

static void
print_pages(void)
{
	long huge = huge_bytes();

	if (bench_meta.base_pages)
		printf("metadata in base pages, for both\n");
	else if (huge >= 0)
		printf("metadata in large pages, for both: %.1f MiB of %.1f\n",
		    (double)huge / (1 << 20),
		    (double)bench_meta.bytes / (1 << 20));
}

static const struct arch_ops bench_ops = {
    .name = "bench",
    .alloc = bench_alloc,
    .free = bench_free,
};

/* x86_64, whatever this was compiled for: the ratios are of algorithms. */
static const struct arch_machine bench_machine = {
    .name = "x86_64",
    .page_size = PAGE,
    .npagesizes = 3,
    .pagesizes = {PAGE, 2 << 20, 1 << 30},
    .nsuper = 1,
    .super = {2 << 20},
    .user_max = MAP_MAX,
};

static const struct arch bench_arch = {&bench_ops, &bench_meta, &bench_machine};
static struct pmap bench_pmap = {&bench_arch, NULL, NULL};

struct range {
	vm_offset_t start;
	vm_size_t length;
};

/* One side. */
struct side {
	vm_map_t map;           /* ours */
	struct splay_map splay; /* theirs */
	bool ours;
	struct range *live;
	size_t n;
	vm_offset_t hint; /* where the next search begins */
	size_t pick[BATCH], npicked;
};

static void
side_init(struct side *s, bool ours, size_t room)
{
	*s = (struct side){.ours = ours, .hint = MAP_MIN};
	s->live = malloc(room * sizeof(*s->live));
	if (s->live == NULL)
		abort();
	memset(s->live, 0, room * sizeof(*s->live));
	if (!ours) {
		splay_map_init(&s->splay, &bench_arch, MAP_MIN, MAP_MAX);
		return;
	}
	s->map = vm_map_create(&bench_pmap, MAP_MIN, MAP_MAX);
	if (s->map == NULL)
		abort();
	if (isa_name != NULL)
		s->map->tree.isa = vm_tree_isa_find(isa_name);
	vm_map_lock(s->map);
}

static void
side_fini(struct side *s)
{
	if (s->ours) {
		vm_map_unlock(s->map);
		vm_map_destroy(s->map);
	} else {
		splay_map_fini(&s->splay);
	}
	free(s->live);
}

static vm_offset_t
side_insert(struct side *s, vm_size_t length, unsigned align)
{
	vm_offset_t addr = s->hint;
	int rv;

	if (!s->ours) {
		addr = splay_map_findspace(&s->splay, addr, length,
		    (vm_size_t)1 << align);
		if (addr == 0)
			abort();
		splay_map_insert(&s->splay, addr, addr + length, VM_PROT_RW,
		    MAP_ENTRY_VN_EXEC);
		return addr;
	}
	rv = vm_map_find_locked(s->map, NULL, 0, &addr, length, 0,
	    align > 12 ? VMFS_ALIGNED_SPACE((int)align) : VMFS_ANY_SPACE,
	    VM_PROT_RW, VM_PROT_ALL, NO_MERGE);
	if (rv != KERN_SUCCESS)
		abort();
	return addr;
}

static void
side_remove(struct side *s, vm_offset_t start, vm_offset_t end)
{
	if (!s->ours)
		splay_map_remove(&s->splay, start, end);
	else if (vm_map_delete(s->map, start, end) != KERN_SUCCESS)
		abort();
}

static bool
side_lookup(struct side *s, vm_offset_t addr)
{
	vm_map_entry_t entry;

	if (!s->ours)
		return splay_map_lookup(&s->splay, addr);
	return vm_map_lookup_entry(s->map, addr, &entry);
}

/* Neither side is locked by the caller. */
static void
side_protect(struct side *s, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
	bool ok = s->ours ? vm_map_protect(s->map, start, end, prot, 0,
				VM_MAP_PROTECT_SET_PROT) == KERN_SUCCESS
			  : splay_map_protect(&s->splay, start, end, prot);

	if (!ok)
		abort();
}

static void
pair_unlock(struct side side[2])
{
	vm_map_unlock(side[1].map);
}

static void
pair_lock(struct side side[2])
{
	vm_map_lock(side[1].map);
}

/* Cases: one operation each. */

static size_t
rnd_below(size_t n)
{
	return (size_t)(((unsigned __int128)rnd() * n) >> 64);
}

static vm_size_t
random_length(void)
{
	return (rnd() % 512 + 1) * PAGE;
}

static unsigned
random_align(void)
{
	static const unsigned align[] = {12, 16, 21};

	return align[rnd_below(3)];
}

/* Add or replace the range in slot `i`. */
static void
put(struct side *s, size_t i, unsigned align)
{
	s->live[i].length = random_length();
	if (align == 21)
		s->live[i].length = 2 << 20;
	else if (align == 16)
		s->live[i].length = (rnd() % 32 + 1) << 16;
	s->live[i].start = side_insert(s, s->live[i].length, align);
}

static void
drop(struct side *s, size_t i)
{
	side_remove(s, s->live[i].start, s->live[i].start + s->live[i].length);
}

/*
 * Which ranges a batch works on is chosen before the clock runs, and what the
 * bench itself knows of them is loaded: its cache misses are not the map's.
 */
static void
pick(struct side *s)
{
	for (size_t i = 0; i < BATCH; i++) {
		s->pick[i] = rnd_below(s->n);
		sink += s->live[s->pick[i]].start;
	}
	s->npicked = 0;
}

static size_t
picked(struct side *s)
{
	return s->pick[s->npicked++ % BATCH];
}

static void
op_free_find_insert(struct side *s)
{
	size_t i = picked(s);

	drop(s, i);
	put(s, i, 12);
}

static void
op_aligned(struct side *s)
{
	size_t i = picked(s);

	drop(s, i);
	put(s, i, random_align());
}

static void
op_find_insert_delete(struct side *s)
{
	vm_size_t length = random_length();
	vm_offset_t addr = side_insert(s, length, 12);

	side_remove(s, addr, addr + length);
}

static void
op_hit(struct side *s)
{
	size_t i = picked(s);

	sink += side_lookup(s, s->live[i].start + (rnd() & (PAGE - 1)));
}

static vm_offset_t live_end;

static void
op_any_address(struct side *s)
{
	sink += side_lookup(s, MAP_MIN + rnd_below(live_end - MAP_MIN));
}

static void
op_protect_whole(struct side *s)
{
	size_t i = picked(s);

	side_protect(s, s->live[i].start, s->live[i].start + s->live[i].length,
	    (rnd() & 1) != 0 ? VM_PROT_READ : VM_PROT_RW);
}

/* Ranges of four pages: cut the middle out, and put it back. */
static void
op_protect_split_merge(struct side *s)
{
	size_t i = picked(s);
	vm_offset_t start = s->live[i].start + PAGE;

	side_protect(s, start, start + 2 * PAGE, VM_PROT_READ);
	side_protect(s, start, start + 2 * PAGE, VM_PROT_RW);
}

/* Running a case. */

static void
run(struct side *s, void (*op)(struct side *s), size_t batches,
    struct bench_samples *samples)
{
	double begin;

	for (size_t b = 0; b < batches; b++) {
		pick(s);
		begin = bench_now_ns();
		for (int i = 0; i < BATCH; i++)
			op(s);
		bench_add(samples, (bench_now_ns() - begin) / BATCH);
	}
}

/* What others reach, from docs/performance.md; ns, other machine. */
struct quoted {
	double freebsd[4], maple[4]; /* 10^3 .. 10^6; 0: no figure */
};

static void
compare(const char *name, struct side side[2], void (*op)(struct side *s),
    size_t batches, const struct quoted *quoted, int power)
{
	struct bench_samples samples[2] = {{0}, {0}};
	char label[64];
	double base;

	if ((only != NULL && strstr(name, only) == NULL) ||
	    (again && strcmp(name, "free+find+insert") != 0 &&
		strcmp(name, "lookup, hit") != 0))
		return;
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 2; i++)
			if (side[i].ours || !ours_only)
				run(&side[i], op, batches * repeat / 3 + 1,
				    &samples[i]);
	base = bench_quantile(&samples[0], 0.5);
	(void)snprintf(label, sizeof(label), "10^%d %s, splay", power, name);
	bench_print(label, &samples[0], 0, NULL);
	(void)snprintf(label, sizeof(label), "10^%d %s", power, name);
	bench_print(label, &samples[1], base, "splay");
	if (quoted != NULL && quoted->maple[power - 3] != 0)
		printf("%-44s quoted: FreeBSD %.0f ns, maple tree %.0f ns\n",
		    "", quoted->freebsd[power - 3], quoted->maple[power - 3]);
	bench_fini(&samples[0]);
	bench_fini(&samples[1]);
}

static size_t
power10(int power)
{
	size_t n = 1;

	while (power-- > 0)
		n *= 10;
	return n;
}

static void
pair_init(struct side side[2], size_t n)
{
	for (int i = 0; i < 2; i++)
		side_init(&side[i], i == 1, n);
}

static void
pair_fini(struct side side[2])
{
	side_fini(&side[0]);
	side_fini(&side[1]);
}

/* Processor time: a build is too long to be left alone by other processes. */
static double
cpu_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/*
 * Fill both with the same ranges, in ascending order; ns an entry.  The first
 * time the kernel makes the memory while the clock runs; the second time it
 * is what the first left to the heap.
 */
static void
pair_fill(struct side side[2], size_t n, int power, const char *memory)
{
	for (int i = 0; i < 2; i++) {
		struct side *s = &side[i];
		double t0;

		state = 0x9e3779b97f4a7c15ull;
		t0 = cpu_now_ns();
		for (size_t k = 0; k < n; k++) {
			s->live[k].length = random_length();
			s->hint = k == 0 ? MAP_MIN
					 : s->live[k - 1].start +
					       s->live[k - 1].length;
			s->live[k].start =
			    side_insert(s, s->live[k].length, 12);
		}
		t0 = cpu_now_ns() - t0;
		s->n = n;
		s->hint = MAP_MIN;
		live_end = s->live[n - 1].start + s->live[n - 1].length;
		printf("10^%d build, memory %s%s: %.1f ns an entry\n", power,
		    memory, i == 0 ? ", splay" : "", t0 / (double)n);
	}
}

static void
print_memory(const struct side side[2], int power)
{
	double n = (double)side[1].n;
	double ours = (double)vm_map_metadata(side[1].map);
	double entry = (double)sizeof(struct vm_map_entry);

	printf("10^%d memory: %.1f bytes a range, %.1f of them beside the "
	       "entry; splay %.1f\n",
	    power, ours / n, ours / n - entry,
	    (double)side[0].splay.zone.uz_bytes / n);
	printf("10^%d tree: %u index levels, %zu leaves %.0f %% full\n", power,
	    side[1].map->tree.height, uma_zone_used(&side[1].map->tree.leaves),
	    100 * n /
		((double)uma_zone_used(&side[1].map->tree.leaves) *
		    VM_LEAF_FANOUT));
}

static void
bench_power(int power, bool quick)
{
	static const struct quoted churn = {{320, 478, 1045, 2944},
	    {442, 541, 792, 1421}};
	static const struct quoted lookup = {{41, 100, 360, 1149},
	    {37, 53, 85, 282}};
	size_t n = power10(power), batches = quick ? 150 : 3000;
	struct side side[2];

	linux_meta_trim(&bench_meta);
	pair_init(side, n);
	pair_fill(side, n, power, "from the kernel");
	pair_fini(side);
	pair_init(side, n);
	pair_fill(side, n, power, "at hand");
	print_memory(side, power);
	print_pages();
	if (only != NULL && strcmp(only, "build") == 0) {
		pair_fini(side);
		return;
	}
	/* Fragment: what the fill left is one dense block. */
	for (int i = 0; i < 2; i++) {
		state = 1;
		for (size_t k = 0; k < n; k++) {
			if (k % BATCH == 0)
				pick(&side[i]);
			op_free_find_insert(&side[i]);
		}
	}
	compare("free+find+insert", side, op_free_find_insert, batches, &churn,
	    power);
	compare("find+insert+delete", side, op_find_insert_delete, batches,
	    NULL, power);
	compare("lookup, hit", side, op_hit, batches, &lookup, power);
	compare("lookup, any address", side, op_any_address, batches, &lookup,
	    power);
	pair_unlock(side);
	compare("protect, whole", side, op_protect_whole, batches, NULL, power);
	pair_lock(side);
	print_memory(side, power);
	pair_fini(side);
}

/* Entries of four pages that may merge, and do not touch. */
static void
bench_protect(int power, bool quick)
{
	size_t n = power10(power), batches = quick ? 100 : 2000;
	struct side side[2];

	pair_init(side, n);
	for (size_t k = 0; k < n; k++) {
		vm_offset_t start = MAP_MIN + k * 5 * PAGE;

		side[0].live[k] = side[1].live[k] =
		    (struct range){start, 4 * PAGE};
		splay_map_insert(&side[0].splay, start, start + 4 * PAGE,
		    VM_PROT_RW, 0);
		if (vm_map_insert(side[1].map, NULL, 0, start, start + 4 * PAGE,
			VM_PROT_RW, VM_PROT_ALL,
			MAP_ACC_NO_CHARGE) != KERN_SUCCESS)
			abort();
	}
	side[0].n = side[1].n = n;
	pair_unlock(side);
	compare("protect, split and merge (2 calls)", side,
	    op_protect_split_merge, batches, NULL, power);
	pair_lock(side);
	if (side[0].splay.nentries != n || vm_map_nentries(side[1].map) != n)
		abort();
	pair_fini(side);
}

/* Filled as it is measured: each at the lowest fit from the beginning. */
static void
bench_aligned(int power, bool quick)
{
	static const struct quoted quoted = {{619, 2316, 30626, 0},
	    {496, 591, 871, 0}};
	size_t n = power10(power), batches = quick       ? 30
					     : power > 4 ? 300
							 : 1500;
	struct side side[2];
	vm_offset_t end = 0;
	vm_size_t live = 0;

	pair_init(side, n);
	for (int i = 0; i < 2; i++) {
		state = 77;
		side[i].n = n;
		for (size_t k = 0; k < n; k++)
			put(&side[i], k, random_align());
	}
	/* Both must have found the lowest fit each time. */
	if (memcmp(side[0].live, side[1].live, n * sizeof(struct range)) != 0)
		abort();
	compare("aligned 4K/64K/2M", side, op_aligned, batches, &quoted, power);
	for (size_t k = 0; k < n; k++) {
		live += side[1].live[k].length;
		end = MAX(end, side[1].live[k].start + side[1].live[k].length);
	}
	printf("10^%d aligned: span/live %.3f\n", power,
	    (double)(end - MAP_MIN) / (double)live);
	pair_fini(side);
}

/* Every gap is one page too small: the search must not look at each. */
static void
bench_adversarial(int power, bool quick)
{
	size_t n = power10(power), batches = quick ? 30 : 300;
	struct bench_samples samples = {0};
	struct side s;

	side_init(&s, true, n);
	for (size_t k = 0; k < n; k++) {
		vm_offset_t addr = MAP_MIN + k * 17 * PAGE;

		if (vm_map_insert(s.map, NULL, 0, addr, addr + PAGE, VM_PROT_RW,
			VM_PROT_ALL, NO_MERGE) != KERN_SUCCESS)
			abort();
	}
	for (size_t b = 0; b < batches; b++) {
		double t0 = bench_now_ns();

		for (int i = 0; i < BATCH; i++) {
			vm_offset_t addr = 0;

			if (vm_map_findspace(s.map, MAP_MIN + PAGE, 17 * PAGE,
				&addr) != 0)
				abort();
			sink += addr;
		}
		bench_add(&samples, (bench_now_ns() - t0) / BATCH);
	}
	bench_print(power == 3 ? "10^3 gaps a page too small"
			       : "10^5 gaps a page too small",
	    &samples, 0, NULL);
	bench_fini(&samples);
	/* 16 pages fit everywhere, 16 pages at 64 KiB only here and there. */
	for (size_t b = 0; b < batches; b++) {
		double t0 = bench_now_ns();

		for (int i = 0; i < BATCH; i++) {
			vm_offset_t addr = MAP_MIN + PAGE;

			if (vm_map_find_aligned(s.map, &addr, 16 * PAGE, 0,
				1 << 21) != KERN_SUCCESS)
				abort();
			sink += addr;
		}
		bench_add(&samples, (bench_now_ns() - t0) / BATCH);
	}
	bench_print(power == 3 ? "10^3 gaps big enough, misaligned"
			       : "10^5 gaps big enough, misaligned",
	    &samples, 0, NULL);
	bench_fini(&samples);
	side_fini(&s);
}

int
main(int argc, char **argv)
{
	const char *pages = NULL;
	bool quick = false;
	int min = 3, max = 6;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			quick = true;
		else if (strcmp(argv[i], "--min") == 0 && i + 1 < argc)
			min = atoi(argv[++i]);
		else if (strcmp(argv[i], "--max") == 0 && i + 1 < argc)
			max = atoi(argv[++i]);
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--ours") == 0)
			ours_only = true;
		else if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc)
			repeat = (size_t)atoi(argv[++i]);
		else if (strcmp(argv[i], "--pages") == 0 && i + 1 < argc)
			pages = argv[++i];
		else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
			isa_name = argv[++i];
		else {
			fprintf(stderr,
			    "usage: %s [--quick] [--min POWER] [--max POWER] "
			    "[--isa NAME] [--pages huge|base] "
			    "[--only TEXT] [--ours] [--repeat N]\n",
			    argv[0]);
			return 2;
		}
	}
	if (isa_name != NULL && vm_tree_isa_find(isa_name) == NULL) {
		fprintf(stderr, "%s: not on this processor\n", isa_name);
		return 77;
	}
	min = MAX(min, 3);
	max = MIN(max, quick ? 5 : 6);
	(void)bench_pin(1);
	(void)mallopt(M_MMAP_MAX, 0);
	(void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
	printf("instruction set %s, VM_INVARIANTS=%d, entry %zu bytes\n",
	    isa_name != NULL ? isa_name : vm_tree_isa_best()->name,
	    VM_INVARIANTS, sizeof(struct vm_map_entry));
	bench_print_header();
	bench_meta.keep = SIZE_MAX;
	bench_meta.base_pages = pages != NULL && strcmp(pages, "base") == 0;
	for (int power = min; power <= max; power++)
		bench_power(power, quick);
	for (int power = min; power <= MIN(max, 5); power += 2)
		bench_protect(power, quick);
	for (int power = min; power <= MIN(max, quick ? 4 : 5); power++)
		bench_aligned(power, quick);
	for (int power = min; power <= MIN(max, 5); power += 2)
		bench_adversarial(power, quick);
	if (pages != NULL)
		return 0;
	again = bench_meta.base_pages = true;
	for (int power = min; power <= max; power++)
		bench_power(power, quick);
	return 0;
}
