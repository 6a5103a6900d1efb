/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Every operation string up to a length over a map of a few pages.
 *
 *	exhaust [-d DEPTH] [-t SECONDS] [-j JOBS] [-p PAGES]
 *
 * Strings share their prefixes: all metadata of the core lies in one arena,
 * which is copied aside at each depth and copied back before each letter.
 * After each letter the code is compared, then every page, every search for
 * space, the size, and the core's checker.  The model is one byte a page.
 *
 * Prints one line of JSON.  -t: stop there and say how much was done (0:
 * never); the first letters are tried in turn, so that what is left out is
 * spread.
 * Exit: 0 nothing found in all of them, 1 a finding (its string is printed),
 * 2 usage, 3 stopped before all were done.
 */

#include "core/kassert.h"
#include "core/vm_map.h"
#include "core/vm_param.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE      ((vm_offset_t)4096)
#define LOW       ((vm_offset_t)0x10000)
#define PAGES_MAX 8u
#define DEPTH_MAX 8
#define LETTERS   512

/* ---- The arena ------------------------------------------------------------
 */

#define ARENA   (64 << 10)
#define CLASSES 16

struct arena {
	size_t used; /* bytes from the beginning */
	struct {
		size_t size;
		void *free; /* blocks of this size; each begins with the next */
	} class[CLASSES];
} __attribute__((aligned(64)));

static union {
	struct arena head;
	unsigned char bytes[ARENA];
} arena __attribute__((aligned(4096)));

static void *
arena_alloc(void *ctx, size_t size)
{
	struct arena *a = ctx;
	void *p;

	size = roundup2(size, (size_t)64);
	for (unsigned i = 0; i < CLASSES; i++)
		if (a->class[i].size == size && a->class[i].free != NULL) {
			p = a->class[i].free;
			memcpy(&a->class[i].free, p, sizeof(void *));
			memset(p, 0, size);
			return p;
		}
	if (a->used + size > ARENA)
		return NULL;
	p = arena.bytes + a->used;
	a->used += size;
	memset(p, 0, size);
	return p;
}

static void
arena_free(void *ctx, void *p, size_t size)
{
	struct arena *a = ctx;

	size = roundup2(size, (size_t)64);
	for (unsigned i = 0; i < CLASSES; i++)
		if (a->class[i].size == size || a->class[i].size == 0) {
			a->class[i].size = size;
			memcpy(p, &a->class[i].free, sizeof(void *));
			a->class[i].free = p;
			return;
		}
	abort(); /* more sizes than the core has structures */
}

static const struct arch_ops arena_ops = {.name = "arena",
    .alloc = arena_alloc,
    .free = arena_free};

/* ---- Letters --------------------------------------------------------------
 */

enum kind { L_INSERT, L_REMOVE, L_PROTECT, L_FIND };

struct letter {
	enum kind kind;
	vm_offset_t start, end;
	unsigned first, n; /* the same in pages */
	vm_prot_t prot;
};

/* What a page shows: 0 nothing, otherwise 1 + its rights. */
struct model {
	uint8_t page[PAGES_MAX];
};

struct state {
	struct model model;
	vm_map_t map;
	unsigned npages;
	const char *why; /* NULL: nothing found */
	char text[160];
};

static struct letter letters[LETTERS];
static unsigned nletters;

static void
add_letter(enum kind kind, unsigned first, unsigned n, vm_prot_t prot)
{
	letters[nletters++] = (struct letter){.kind = kind,
	    .start = LOW + first * PAGE,
	    .end = LOW + (first + n) * PAGE,
	    .first = first,
	    .n = n,
	    .prot = prot};
}

static void
make_letters(unsigned npages)
{
	vm_prot_t r = VM_PROT_READ, rw = VM_PROT_READ | VM_PROT_WRITE;

	for (unsigned first = 0; first < npages; first++)
		for (unsigned n = 1; first + n <= npages; n++) {
			add_letter(L_INSERT, first, n, r);
			add_letter(L_INSERT, first, n, rw);
			add_letter(L_REMOVE, first, n, 0);
			add_letter(L_PROTECT, first, n, r);
			add_letter(L_PROTECT, first, n, rw);
		}
	for (unsigned n = 1; n <= 3; n++)
		add_letter(L_FIND, 0, n, rw);
}

static void
print_letter(const struct letter *l)
{
	static const char *const names[] = {"insert", "remove", "protect",
	    "find"};

	fprintf(stderr, "  %s pages %u..%u%s\n", names[l->kind], l->first,
	    l->first + l->n - 1,
	    (l->prot & VM_PROT_WRITE) != 0 ? " rw"
	    : l->prot != 0                 ? " r"
					   : "");
}

/* ---- The model ------------------------------------------------------------
 */

static bool
all_free(const struct model *m, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		if (m->page[i] != 0)
			return false;
	return true;
}

/* The first page with n free ones from there on; npages: none. */
static unsigned
first_fit(const struct state *s, unsigned n)
{
	for (unsigned i = 0; i + n <= s->npages; i++)
		if (all_free(&s->model, i, n))
			return i;
	return s->npages;
}

static void
set_pages(struct model *m, unsigned first, unsigned n, unsigned value)
{
	for (unsigned i = first; i < MIN(first + n, PAGES_MAX); i++)
		m->page[i] = (uint8_t)value;
}

static int
model_apply(struct state *s, const struct letter *l, unsigned *atp)
{
	struct model *m = &s->model;

	switch (l->kind) {
	case L_INSERT:
		if (!all_free(m, l->first, l->n))
			return KERN_NO_SPACE;
		set_pages(m, l->first, l->n, 1u + l->prot);
		break;
	case L_REMOVE:
		set_pages(m, l->first, l->n, 0);
		break;
	case L_PROTECT:
		for (unsigned i = l->first; i < MIN(l->first + l->n, PAGES_MAX);
		     i++)
			if (m->page[i] != 0)
				m->page[i] = (uint8_t)(1u + l->prot);
		break;
	case L_FIND:
		*atp = first_fit(s, l->n);
		if (*atp == s->npages)
			return KERN_NO_SPACE;
		set_pages(m, *atp, l->n, 1u + l->prot);
		break;
	}
	return KERN_SUCCESS;
}

/* ---- The core -------------------------------------------------------------
 */

static int
core_apply(vm_map_t map, const struct letter *l, vm_offset_t *addrp)
{
	int rv;

	switch (l->kind) {
	case L_INSERT:
		vm_map_lock(map);
		rv = vm_map_insert(map, NULL, 0, l->start, l->end, l->prot,
		    VM_PROT_ALL, 0);
		vm_map_unlock(map);
		return rv;
	case L_REMOVE:
		return vm_map_remove(map, l->start, l->end);
	case L_PROTECT:
		return vm_map_protect(map, l->start, l->end, l->prot,
		    VM_PROT_NONE, VM_MAP_PROTECT_SET_PROT);
	default:
		*addrp = LOW;
		return vm_map_find(map, NULL, 0, addrp, l->end - l->start, 0,
		    VMFS_ANY_SPACE, l->prot, VM_PROT_ALL, 0);
	}
}

static bool
found(struct state *s, const char *what, unsigned page)
{
	(void)snprintf(s->text, sizeof(s->text), "%s (page %u)", what, page);
	s->why = s->text;
	return false;
}

/* One page through vm_map_lookup_entry(). */
static bool
page_is_same(struct state *s, unsigned i, unsigned *sizep)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	bool is = vm_map_lookup_entry(s->map, LOW + i * PAGE, &entry);

	if (is != (s->model.page[i] != 0))
		return found(s, is ? "an entry too many" : "no entry", i);
	if (!is)
		return true;
	*sizep += 1;
	vm_map_entry_info(entry, &info);
	if (info.protection != s->model.page[i] - 1 ||
	    info.max_protection != VM_PROT_ALL || info.wired_count != 0 ||
	    info.inheritance != VM_INHERIT_DEFAULT)
		return found(s, "rights", i);
	return true;
}

static bool
compare(struct state *s)
{
	const char *broken;
	vm_offset_t addr;
	unsigned size = 0, at;

	for (unsigned i = 0; i < s->npages; i++)
		if (!page_is_same(s, i, &size))
			return false;
	for (unsigned n = 1; n <= 3; n++) {
		at = first_fit(s, n);
		if (vm_map_findspace(s->map, LOW, n * PAGE, &addr) == 0
			? addr != LOW + at * PAGE
			: at != s->npages)
			return found(s, "another place than the first fit", at);
	}
	if (vm_map_size(s->map) != size * PAGE)
		return found(s, "the size", size);
	/* With invariants=2 the core has done so at the unlock. */
	broken = VM_INVARIANTS < 2 ? vm_map_check(s->map) : NULL;
	return broken == NULL || found(s, broken, 0);
}

static bool
apply(struct state *s, const struct letter *l)
{
	vm_offset_t addr = 0;
	unsigned at = 0;
	int want = model_apply(s, l, &at), rv = core_apply(s->map, l, &addr);
	bool same;

	if (rv != want)
		return found(s, "another code", (unsigned)rv);
	if (l->kind == L_FIND && rv == KERN_SUCCESS && addr != LOW + at * PAGE)
		return found(s, "found at another place", at);
	vm_map_lock_read(s->map);
	same = compare(s);
	vm_map_unlock_read(s->map);
	return same;
}

/* ---- Enumerating ----------------------------------------------------------
 */

struct level {
	struct model model;
	size_t used;
	unsigned char bytes[ARENA];
};

/* Shared between jobs. */
struct shared {
	uint64_t next;     /* the next pair of first letters; atomic */
	uint64_t strings;  /* done, each of any length; atomic */
	uint64_t findings; /* atomic */
};

static struct level *levels;
static struct shared *shared;
static struct timespec began;
static double budget;

static double
elapsed(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return (double)(now.tv_sec - began.tv_sec) +
	       (double)(now.tv_nsec - began.tv_nsec) / 1e9;
}

static void
save(struct state *s, struct level *level)
{
	level->model = s->model;
	level->used = arena.head.used;
	memcpy(level->bytes, arena.bytes, level->used);
}

static void
restore(struct state *s, const struct level *level)
{
	s->model = level->model;
	memcpy(arena.bytes, level->bytes, level->used);
}

static void
report(struct state *s, const unsigned *string, unsigned n)
{
	fprintf(stderr, "FINDING exhaust: %s after\n", s->why);
	for (unsigned i = 0; i < n; i++)
		print_letter(&letters[string[i]]);
	__atomic_fetch_add(&shared->findings, 1, __ATOMIC_RELAXED);
}

/* All strings that begin with string[0..n). */
static bool
enumerate(struct state *s, unsigned *string, unsigned n, unsigned depth,
    uint64_t *nstringsp)
{
	save(s, &levels[n]);
	for (unsigned i = 0; i < nletters; i++) {
		if (i > 0)
			restore(s, &levels[n]);
		string[n] = i;
		*nstringsp += 1;
		if (!apply(s, &letters[i])) {
			report(s, string, n + 1);
			return false;
		}
		if (n + 1 < depth &&
		    !enumerate(s, string, n + 1, depth, nstringsp))
			return false;
	}
	return true;
}

/* Strings that begin with one pair of letters; those may be shorter. */
static bool
one_pair(struct state *s, uint64_t pair, unsigned depth, uint64_t *nstringsp)
{
	unsigned string[DEPTH_MAX] = {(unsigned)(pair % nletters),
	    (unsigned)(pair / nletters)};

	restore(s, &levels[0]);
	for (unsigned n = 0; n < MIN(2u, depth); n++) {
		if (n == 1 || string[1] == 0)
			*nstringsp += 1;
		if (!apply(s, &letters[string[n]])) {
			report(s, string, n + 1);
			return false;
		}
		if (n == 0 && depth == 1)
			return true;
	}
	return depth <= 2 || enumerate(s, string, 2, depth, nstringsp);
}

static void
job(struct state *s, unsigned depth)
{
	uint64_t npairs = (uint64_t)nletters * (depth > 1 ? nletters : 1);
	uint64_t pair, nstrings;

	/* Neighbouring numbers are strings that differ in the first letter. */
	for (;;) {
		pair = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
		if (pair >= npairs ||
		    __atomic_load_n(&shared->findings, __ATOMIC_RELAXED) > 0)
			return;
		if (budget > 0 && elapsed() > budget)
			return;
		nstrings = 0;
		(void)one_pair(s, pair, depth, &nstrings);
		__atomic_fetch_add(&shared->strings, nstrings,
		    __ATOMIC_RELAXED);
	}
}

static void
start(struct state *s, unsigned npages)
{
	static struct arch arch = {.ops = &arena_ops, .ctx = &arena.head};
	static struct pmap pmap = {.arch = &arch};

	arch.machine = arch_machine_find("x86_64", PAGE);
	arena.head.used = roundup2(sizeof(struct arena), (size_t)64);
	s->npages = npages;
	s->map = vm_map_create(&pmap, LOW, LOW + npages * PAGE);
	if (s->map == NULL)
		abort();
	save(s, &levels[0]);
}

static void *
share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

/* Strings of one to `depth` letters. */
static uint64_t
all_strings(unsigned depth)
{
	uint64_t all = 0;

	while (depth-- > 0)
		all = (all + 1) * nletters;
	return all;
}

/* One line of JSON, and a sentence where something is missing. */
static int
finish(unsigned npages, unsigned depth, unsigned jobs, bool died)
{
	double seconds = elapsed(), spent;
	uint64_t all = all_strings(depth);
	bool complete =
	    !died && shared->findings == 0 && shared->strings == all;
	struct rusage used;

	(void)getrusage(RUSAGE_CHILDREN, &used); /* cannot fail */
	spent = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	printf("{\"exhaust\": \"edit\", \"pages\": %u, \"letters\": %u, "
	       "\"depth\": %u, \"strings\": %" PRIu64 ", \"all\": %" PRIu64
	       ", \"complete\": %s, \"findings\": %" PRIu64
	       ", \"jobs\": %u, \"seconds\": %.2f, \"cpu_seconds\": %.2f, "
	       "\"strings_per_second\": %.0f}\n",
	    npages, nletters, depth, shared->strings, all,
	    complete ? "true" : "false", shared->findings, jobs, seconds, spent,
	    (double)shared->strings / seconds);
	if (died || shared->findings > 0)
		return 1;
	if (complete)
		return 0;
	printf("STOPPED after %.0f s: %" PRIu64 " of %" PRIu64
	       " strings done, %.1f %%\n",
	    seconds, shared->strings, all,
	    100.0 * (double)shared->strings / (double)all);
	return 3;
}

static int
run(unsigned npages, unsigned depth, unsigned jobs)
{
	static struct state s;
	int status, bad = 0;

	make_letters(npages);
	shared = share(sizeof(*shared));
	levels = calloc(depth + 1, sizeof(*levels));
	if (levels == NULL)
		return 2;
	(void)clock_gettime(CLOCK_MONOTONIC, &began); /* cannot fail */
	start(&s, npages);
	for (unsigned i = 0; i < jobs; i++)
		if (fork() == 0) {
			job(&s, depth);
			_exit(0);
		}
	while (wait(&status) > 0)
		bad |= status;
	return finish(npages, depth, jobs, bad != 0);
}

int
main(int argc, char **argv)
{
	unsigned long depth = 4, jobs = 2, npages = 6;
	int c;

	while ((c = getopt(argc, argv, "d:t:j:p:")) != -1) {
		switch (c) {
		case 'd':
			depth = strtoul(optarg, NULL, 0);
			break;
		case 't':
			budget = strtod(optarg, NULL);
			break;
		case 'j':
			jobs = strtoul(optarg, NULL, 0);
			break;
		case 'p':
			npages = strtoul(optarg, NULL, 0);
			break;
		default:
			depth = 0;
			break;
		}
	}
	if (depth == 0 || depth > DEPTH_MAX || jobs == 0 || jobs > 64 ||
	    npages < 3 || npages > PAGES_MAX) {
		fprintf(stderr,
		    "usage: %s [-d DEPTH] [-t SECONDS] [-j JOBS] "
		    "[-p PAGES]\n",
		    argv[0]);
		return 2;
	}
	return run((unsigned)npages, (unsigned)depth, (unsigned)jobs);
}
