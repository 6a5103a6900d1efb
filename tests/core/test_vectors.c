/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The test vectors of the specification that concern the map, as a table.
 *
 * A vector is a list of lines: what is given, the call with what it must
 * answer, and what must be in the map then.  Numbers are hexadecimal.  Where
 * holdfast differs from FreeBSD on purpose the line says the difference
 * (docs/freebsd-names.md has the reasons).
 *
 *	machine NAME PAGE            before map; otherwise x86_64 1000
 *	map MIN MAX                  otherwise 10000 100000
 *	flag WORD, limit KEY VALUE   of the map
 *	object NAME swap|super SIZE [color=PAGES]
 *	insert START END PROT[/MAX] [WORD...] [obj=NAME off=N] = CODE
 *	findspace START LEN = CODE [ADDR]
 *	find ADDR LEN SPACE PROT[/MAX] [WORD...] = CODE [ADDR]
 *	is START-END,PROT[/MAX][,WORD...] ...   the whole map
 *
 * Entries are anonymous and not charged unless a line says `charge`.
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/sim/sim.h"
#include "core/vm_map_int.h"
#include "tests/test.h"

struct vector {
	const char *id;
	const char *rules;
	const char *lines[14];
};

static const struct vector vectors[] = {
    {"A02", "F2",
	{"insert 10000 20000 rw = ok", "findspace 18000 1000 = ok 20000"}},
    {"A03", "F2",
	{"insert 20000 30000 rw = ok", "insert 34000 40000 rw = ok",
	    "findspace 10000 11000 = ok 40000"}},
    {"A04", "F2",
	{"insert 20000 30000 rw = ok", "insert 34000 40000 rw = ok",
	    "findspace 1f000 1000 = ok 1f000"}},
    {"A07", "F3",
	{"findspace 10000 f0000 = ok 10000", "findspace 10000 f1000 = none"}},
    {"A08", "F3", {"findspace 10000 fffffffffffff000 = none"}},
    {"A09", "F3", {"findspace 12000 0 = ok 12000"}},
    {"A12", "F2",
	{"insert 20000 21000 rw = ok", "insert 21000 22000 r = ok",
	    "findspace 20800 0 = ok 21000"}},
    {"A-BUG-1", "F4: the gap behind the last entry is found",
	{"insert 20000 21000 rw = ok", "insert 30000 40000 rw = ok",
	    "findspace 2f000 2000 = ok 40000",
	    "findspace 21000 10000 = ok 40000"}},
    {"A-BUG-9", "F3: a map may end at the last page",
	{"map fffffffffff00000 fffffffffffff000",
	    "findspace fffffffffff00000 ff000 = ok fffffffffff00000",
	    "findspace fffffffffff00000 100000 = none"}},

    {"B01", "S1",
	{"insert 20000 21000 rw = ok", "find 20000 1000 no rw = space 20000"}},
    {"B02", "S1", {"find ff000 2000 no rw = address ff000"}},
    {"B04", "S2",
	{"insert 20000 30000 rw = ok", "find 20000 1000 any rw = ok 30000"}},
    {"B05", "S2; *addr stays",
	{"insert 80000 100000 rw = ok",
	    "find 90000 1000 any rw = space 90000"}},
    {"B08", "S5",
	{"insert 10000 11000 rw = ok",
	    "find 10000 2000 align16 rw = ok 20000"}},
    {"B09", "S5",
	{"insert 10000 11000 rw = ok", "insert 21000 30000 rw = ok",
	    "find 10000 2000 align16 rw = ok 30000"}},
    {"B10", "S5",
	{"insert 10000 f0000 rw = ok",
	    "find 10000 1000 align20 rw = space 10000"}},
    {"B11", "S5",
	{"map 1000 fffffffffffff000", "insert 1000 8000000000001000 rw = ok",
	    "find 1000 1000 align63 rw = space 1000"}},
    {"B12", "S4",
	{"map 1000 40000000", "find 1000 400000 super rw = ok 200000"}},
    {"B13", "S4 S6",
	{"map 1000 40000000", "find 1000 100000 super rw = ok 1000"}},
    {"B14", "S6",
	{"map 1000 40000000", "object O swap 1000000 color=3",
	    "find 1000 800000 super rw obj=O off=10000 = ok 13000"}},
    {"B15", "S6",
	{"map 1000 40000000", "object O swap 1000000 color=0",
	    "find 200000 200000 super rw obj=O off=1ff000 = ok 200000"}},
    {"B16", "S3",
	{"map 1000 40000000", "find 1000 400000 optimal rw = ok 1000"}},
    {"B17", "S3: OPTIMAL falls back to ANY",
	{"map 1000 600000", "object O super 400000",
	    "insert 400000 401000 rw = ok",
	    "find 1000 3ff000 optimal rw obj=O off=0 = ok 1000"}},
    {"B18", "S4: SUPER does not",
	{"map 1000 600000", "object O super 400000",
	    "insert 400000 401000 rw = ok",
	    "find 1000 3ff000 super rw obj=O off=0 = space 1000"}},
    {"B19", "S6",
	{"machine aarch64 1000", "map 1000 40000000",
	    "find 1000 20000 super rw = ok 10000"}},
    {"B23", "S10",
	{"insert 80000 100000 rw = ok",
	    "find_min 90000 1000 a0000 = space 90000"}},
    {"B23b", "S10: the second pass",
	{"insert 80000 100000 rw = ok",
	    "find_min 90000 1000 20000 = ok 20000"}},
    {"B24", "S7",
	{"insert 20000 30000 rw = ok", "find 24000 2000 no r remap = ok 24000",
	    "is 20000-24000,rw 24000-26000,r 26000-30000,rw"}},
    {"B25", "S7, BUG-6b: a range that leaves the map is refused",
	{"fixed 8000 10000 rw = address", "is"}},
    {"B-BUG-6a", "S7: a refused replacement leaves what was there",
	{"flag wxorx", "insert 20000 30000 rw = ok",
	    "fixed 24000 2000 rwx = protection",
	    "find 24000 2000 no rwx remap = protection 24000",
	    "is 20000-30000,rw"}},
    {"B27", "S7",
	{"insert 20000 30000 rw = ok", "fixed 28000 10000 rw excl = space",
	    "is 20000-30000,rw"}},
    {"B-BUG-3", "S9: no anon_loc yet, so the default address counts",
	{"find_min 0 1000 40000 = ok 40000"}},
    {"B-BUG-4", "S: a length beyond the map",
	{"find 10000 fffffffffffff000 any rw = space 10000",
	    "find 10000 fffffffffffff000 align16 rw = space 10000"}},
    {"B-S8", "max_addr bounds the end, equality fits",
	{"find 10000 10000 any rw max_addr=20000 = ok 10000",
	    "find 10000 10000 any rw max_addr=2f000 = space 10000"}},

    {"C01", "I1", {"insert 20000 20000 rw = address"}},
    {"C02", "I1", {"insert 30000 20000 rw = address"}},
    {"C03", "I3",
	{"insert 22000 23000 rw = ok", "insert 20000 24000 rw = space"}},
    {"C04", "I2 I3",
	{"flag wxorx", "insert 20000 21000 rw = ok",
	    "insert 20000 21000 rwx = protection"}},
    {"C05", "I4", {"insert 20000 21000 none/rw guard = argument"}},
    {"C07", "M1",
	{"insert 20000 21000 rw = ok", "insert 21000 22000 rw = ok",
	    "is 20000-22000,rw"}},
    {"C10", "M3",
	{"object O swap 2000", "insert 20000 21000 rw obj=O off=0 = ok",
	    "refs O 2", "insert 21000 22000 rw obj=O off=1000 = ok", "refs O 2",
	    "is 20000-22000,rw"}},
    {"C11", "M3",
	{"object O swap 4000", "insert 20000 21000 rw obj=O off=0 = ok",
	    "insert 21000 22000 rw obj=O off=3000 = ok", "refs O 3",
	    "is 20000-21000,rw 21000-22000,rw"}},
    {"C12", "M4",
	{"insert 20000 21000 rw = ok", "lookup 20000 r = ok",
	    "insert 21000 23000 rw = ok", "is 20000-23000,rw,object=3000"}},
    {"C13", "M5",
	{"insert 20000 21000 none/none guard = ok",
	    "insert 21000 22000 none/none guard = ok",
	    "is 20000-22000,none/none,guard", "size 0"}},
    {"C14", "M5",
	{"insert 20000 21000 rw stack = ok", "insert 21000 22000 rw stack = ok",
	    "is 20000-21000,rw,stack 21000-22000,rw,stack"}},
    {"C17", "A1",
	{"limit overcommit 1", "limit swap 1000",
	    "insert 20000 21000 rw charge = ok",
	    "insert 30000 31000 rw charge = shortage",
	    "insert 40000 41000 r charge = ok",
	    "is 20000-21000,rw 40000-41000,r", "reserved 1000"}},

    {"D01", "D1",
	{"insert 20000 30000 rw = ok", "remove 24000 26000 = ok",
	    "is 20000-24000,rw 26000-30000,rw"}},
    {"D02", "D1", {"remove 0 ffffffffffffffff = ok"}},
    {"D04", "D2; holdfast answers instead of sleeping",
	{"insert 20000 21000 rw = ok", "wire 20000 21000 system = ok",
	    "remove 20000 21000 = block", "is 20000-21000,rw,wired=1"}},
    {"D05", "D2",
	{"insert 20000 21000 rw = ok", "wire 20000 21000 user = ok",
	    "user_wired 1000", "remove 20000 21000 = ok", "is",
	    "user_wired 0"}},
    {"D06", "D3 I5",
	{"map 1000 40000000", "insert 200000 600000 rw boundary1 = ok",
	    "remove 201000 400000 = argument", "is 200000-600000,rw"}},

    {"E01", "P1",
	{"insert 20000 30000 rw/rwx = ok", "protect 24000 28000 r = ok",
	    "is 20000-24000,rw 24000-28000,r 28000-30000,rw",
	    "protect 24000 28000 rw = ok", "is 20000-30000,rw"}},
    {"E02", "P2",
	{"insert 20000 30000 r/r = ok", "protect 20000 30000 rw = protection",
	    "is 20000-30000,r/r"}},
    {"E03", "P2",
	{"insert 20000 21000 rw/rw = ok", "insert 21000 22000 r/r = ok",
	    "protect 20000 22000 rw = protection",
	    "is 20000-21000,rw/rw 21000-22000,r/r"}},
    {"E04", "P3",
	{"insert 20000 30000 rw/rwx = ok", "protect 20000 30000 max=r = ok",
	    "is 20000-30000,r/r"}},
    {"E05", "P3",
	{"insert 20000 30000 r/r = ok",
	    "protect 20000 30000 max=rw = protection", "is 20000-30000,r/r"}},
    {"E06", "P3",
	{"insert 20000 30000 rw/rwx = ok",
	    "protect 20000 30000 rw max=r = bounds", "is 20000-30000,rw/rwx"}},
    {"E07", "P1",
	{"insert 20000 21000 rw = ok", "insert 30000 31000 rw = ok",
	    "protect 20000 31000 r = ok", "is 20000-21000,r 30000-31000,r"}},
    {"E08", "P1 G1",
	{"insert 20000 30000 none/none guard = ok",
	    "protect 20000 30000 rw = ok", "is 20000-30000,none/none,guard"}},
    {"E09", "P4 A1, BUG-7: nothing stays reserved",
	{"limit overcommit 1", "limit swap 1000", "insert 20000 21000 r = ok",
	    "insert 30000 32000 r = ok", "protect 20000 32000 rw = shortage",
	    "is 20000-21000,r 30000-32000,r", "reserved 0"}},
    {"E10", "H1", {"inherit 20000 20000 9 = argument"}},
    {"E11", "H1",
	{"insert 20000 21000 none/none guard = ok",
	    "inherit 20000 21000 3 = ok",
	    "is 20000-21000,none/none,guard,inherit=1"}},
    {"E12", "V1; KERN codes, not errno",
	{"insert 20000 24000 rw = ok", "madvise 21000 22000 8 = ok",
	    "is 20000-21000,rw 21000-22000,rw 22000-24000,rw",
	    "madvise 21000 22000 9 = ok", "is 20000-24000,rw",
	    "madvise 21000 22000 b = argument"}},
    {"E13", "V1",
	{"insert 20000 24000 rw = ok", "madvise 21000 22000 4 = ok",
	    "is 20000-24000,rw"}},
    {"E14", "H1, BUG-2: merged to the left as well",
	{"insert 20000 30000 rw = ok", "inherit 24000 28000 0 = ok",
	    "is 20000-24000,rw 24000-28000,rw,inherit=0 28000-30000,rw",
	    "inherit 24000 28000 1 = ok", "is 20000-30000,rw"}},

    {"F01", "W1",
	{"insert 20000 21000 rw = ok", "wire 20000 22000 user = address",
	    "is 20000-21000,rw,wired=0"}},
    {"F03", "W2",
	{"insert 20000 21000 none = ok", "wire 20000 21000 system = address",
	    "wire 20000 21000 system holes = ok",
	    "is 20000-21000,none,wired=0"}},
    {"F04", "W3",
	{"insert 20000 21000 rw = ok", "wire 20000 21000 user = ok",
	    "is 20000-21000,rw,wired=1", "wire 20000 21000 user = ok",
	    "is 20000-21000,rw,wired=1", "unwire 20000 21000 user = ok",
	    "is 20000-21000,rw,wired=0", "user_wired 0"}},
    {"F06", "W4",
	{"insert 20000 21000 rw = ok", "unwire 20000 21000 user = ok",
	    "unwire 20000 21000 system = argument"}},
    {"F07", "W5",
	{"limit memlock 2000", "insert 20000 21000 rw = ok",
	    "insert 21000 24000 r = ok", "wire 20000 24000 user = shortage",
	    "is 20000-21000,rw,wired=0 21000-24000,r,wired=0", "user_wired 0"}},
    {"F08", "W2",
	{"insert 20000 21000 r = ok",
	    "wire 20000 21000 system write = address"}},
    {"F-BUG-5", "user wiring is counted where it comes and goes",
	{"insert 20000 21000 rw = ok", "wire 20000 21000 system = ok",
	    "wire 20000 21000 user = ok", "user_wired 1000",
	    "unwire 20000 21000 system = ok", "user_wired 1000",
	    "unwire 20000 21000 user = ok", "user_wired 0"}},

    {"G01", "T1",
	{"map 0 40000000", "stack 100000 100000 rw = ok",
	    "is 100000-1e0000,none/none,gap 1e0000-200000,rw,stack",
	    "size 20000"}},
    {"G03", "T1",
	{"map 0 40000000", "stack 100000 10000 rw = ok",
	    "is 100000-101000,none/none,gap 101000-110000,rw,stack"}},
    {"G04", "T2",
	{"map 0 40000000", "stack 100000 100000 rw = ok", "fault 1dfff0 r = ok",
	    "is 100000-1c0000,none/none,gap 1c0000-1e0000,rw,stack "
	    "1e0000-200000,rw,stack"}},
    {"G05", "T2",
	{"map 0 40000000", "stack 100000 100000 rw = ok",
	    "growstack 100010 = space", "fault 100010 r = protection",
	    "is 100000-1e0000,none/none,gap 1e0000-200000,rw,stack"}},
    {"G06", "T2",
	{"map 0 40000000", "stack 100000 100000 rw = ok", "fault 101010 r = ok",
	    "is 100000-101000,none/none,gap 101000-1e0000,rw,stack "
	    "1e0000-200000,rw,stack"}},
    {"G08", "T1",
	{"map 0 40000000", "limit vmem 10000", "stack 100000 100000 rw = space",
	    "is"}},

    {"H01", "Q1",
	{"insert 20000 21000 rw = ok", "insert 21000 22000 r = ok",
	    "check 20000 22000 r = true", "check 20000 22000 rw = false"}},
    {"H02", "Q1",
	{"insert 20000 21000 rw = ok", "check 20000 22000 r = false",
	    "check 30000 30000 r = false"}},
    {"H04", "Y1",
	{"insert 20000 21000 rw = ok", "wire 20000 21000 user = ok",
	    "sync 20000 21000 invalidate = argument", "sync 20000 21000 = ok"}},
    {"H05", "L1",
	{"object O swap 2000", "insert 20000 22000 rw obj=O off=0 cow = ok",
	    "lookup 20000 r = ok r", "is 20000-22000,rw,needs_copy",
	    "lookup 20000 w = ok rw", "is 20000-22000,rw,copied", "refs O 2"}},

    {"J01", "K1",
	{"insert 20000 22000 rw charge = ok", "lookup 20000 r = ok",
	    "fork = ok", "is 20000-22000,rw,needs_copy,refs=2", "child",
	    "is 20000-22000,rw,needs_copy,refs=2"}},
    {"J03", "K3",
	{"insert 20000 21000 rw = ok", "inherit 20000 21000 2 = ok",
	    "insert 30000 31000 rw/rw = ok", "inherit 30000 31000 3 = ok",
	    "lookup 30000 w = ok", "fork = ok", "child",
	    "is 30000-31000,rw/rw,inherit=3,object=0"}},
    {"J04", "K4",
	{"insert 20000 21000 rw = ok", "wire 20000 21000 user = ok",
	    "insert 30000 31000 none/none guard share = ok", "fork = ok",
	    "child", "is 20000-21000,rw,wired=0 30000-31000,none/none,guard",
	    "size 1000"}},
};

/* The state that the lines of one vector work on */

struct bench {
	const char *machine;
	vm_size_t page;
	vm_offset_t min, max;
	struct arch *arch;
	struct pmap pmap;
	vm_map_t map, parent; /* parent: after `child` */
	vm_map_t child;
	struct {
		char name[8];
		vm_object_t object;
	} objects[4];
	size_t nobjects;
	const char *id, *line;
	char *words[24];
	size_t n;
};

_Noreturn static void
wrong(const struct bench *b, const char *what, uint64_t got)
{
	test_fail(__FILE__, __LINE__, "%s: \"%s\": %s %#llx", b->id, b->line,
	    what, (unsigned long long)got);
}

static uint64_t
number(const char *word)
{
	return strtoull(word, NULL, 16);
}

/* The value of `KEY=...` among the words, or NULL. */
static const char *
value_of(const struct bench *b, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < b->n; i++)
		if (strncmp(b->words[i], key, len) == 0 &&
		    b->words[i][len] == '=')
			return b->words[i] + len + 1;
	return NULL;
}

static bool
has_word(const struct bench *b, const char *word)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->words[i], word) == 0)
			return true;
	return false;
}

static vm_prot_t
prot_of(const char *word)
{
	vm_prot_t prot = VM_PROT_NONE;

	if (strncmp(word, "none", 4) == 0)
		return prot;
	for (; *word == 'r' || *word == 'w' || *word == 'x'; word++)
		prot |= *word == 'r'   ? VM_PROT_READ
			: *word == 'w' ? VM_PROT_WRITE
				       : VM_PROT_EXECUTE;
	return prot;
}

/* rw/rwx; without a slash everything is allowed. */
static void
prots_of(const char *word, vm_prot_t *protp, vm_prot_t *maxp)
{
	const char *slash = strchr(word, '/');

	*protp = prot_of(word);
	*maxp = slash != NULL ? prot_of(slash + 1) : VM_PROT_ALL;
}

static int
cow_of(const struct bench *b)
{
	static const struct {
		const char *word;
		int cow;
	} table[] = {{"guard", MAP_CREATE_GUARD}, {"stack", MAP_STACK_AREA},
	    {"cow", MAP_COPY_ON_WRITE}, {"share", MAP_INHERIT_SHARE},
	    {"remap", MAP_REMAP}, {"excl", MAP_CHECK_EXCL},
	    {"boundary1", 1 << MAP_SPLIT_BOUNDARY_SHIFT}};
	int cow = has_word(b, "charge") ? 0 : MAP_ACC_NO_CHARGE;

	for (size_t i = 0; i < nitems(table); i++)
		if (has_word(b, table[i].word))
			cow |= table[i].cow;
	return cow;
}

static vm_object_t
object_of(const struct bench *b, const char *name)
{
	for (size_t i = 0; i < b->nobjects; i++)
		if (name != NULL && strcmp(b->objects[i].name, name) == 0)
			return b->objects[i].object;
	return NULL;
}

static void
expect(const struct bench *b, int rv)
{
	static const struct {
		const char *word;
		int rv;
	} table[] = {{"ok", KERN_SUCCESS}, {"address", KERN_INVALID_ADDRESS},
	    {"protection", KERN_PROTECTION_FAILURE}, {"space", KERN_NO_SPACE},
	    {"argument", KERN_INVALID_ARGUMENT}, {"failure", KERN_FAILURE},
	    {"shortage", KERN_RESOURCE_SHORTAGE},
	    {"bounds", KERN_OUT_OF_BOUNDS}, {"block", KERN_WOULD_BLOCK},
	    {"none", 1}, {"true", 1}, {"false", 0}};

	for (size_t i = 0; i + 1 < b->n; i++)
		if (strcmp(b->words[i], "=") == 0)
			for (size_t j = 0; j < nitems(table); j++)
				if (strcmp(b->words[i + 1], table[j].word) ==
				    0) {
					if (table[j].rv != rv)
						wrong(b, "it answers",
						    (uint64_t)rv);
					return;
				}
	wrong(b, "nothing to expect", 0);
}

/* The word behind the code, if there is one, is the address. */
static void
expect_addr(const struct bench *b, vm_offset_t addr)
{
	for (size_t i = 0; i + 2 < b->n; i++)
		if (strcmp(b->words[i], "=") == 0 &&
		    number(b->words[i + 2]) != addr)
			wrong(b, "the address is", addr);
}

/* What must be there */

static void
is_entry(const struct bench *b, char *token, vm_map_entry_t entry)
{
	struct vm_map_entry_info e;
	char *word, *rest = NULL;
	vm_prot_t prot, max;

	if (entry == NULL)
		wrong(b, "entries are missing", 0);
	vm_map_entry_info(entry, &e);
	word = strtok_r(token, ",", &rest);
	if (e.start != number(word))
		wrong(b, "an entry starts at", e.start);
	if (e.end != number(strchr(word, '-') + 1))
		wrong(b, "an entry ends at", e.end);
	word = strtok_r(NULL, ",", &rest);
	prots_of(word, &prot, &max);
	if (e.protection != prot)
		wrong(b, "the protection is", e.protection);
	if (strchr(word, '/') != NULL && e.max_protection != max)
		wrong(b, "the max protection is", e.max_protection);
	while ((word = strtok_r(NULL, ",", &rest)) != NULL) {
		const char *value = strchr(word, '=');
		uint64_t n = value != NULL ? number(value + 1) : 0;
		uint32_t flag =
		    strcmp(word, "guard") == 0        ? MAP_ENTRY_GUARD
		    : strcmp(word, "gap") == 0        ? MAP_ENTRY_STACK_GAP
		    : strcmp(word, "stack") == 0      ? MAP_ENTRY_GROWS_DOWN
		    : strcmp(word, "needs_copy") == 0 ? MAP_ENTRY_NEEDS_COPY
						      : 0;

		if (flag != 0 && (e.eflags & flag) == 0)
			wrong(b, "the flags are", e.eflags);
		if (strncmp(word, "wired=", 6) == 0 &&
		    (uint64_t)e.wired_count != n)
			wrong(b, "the wired count is", (uint64_t)e.wired_count);
		if (strncmp(word, "inherit=", 8) == 0 &&
		    (uint64_t)e.inheritance != n)
			wrong(b, "the inheritance is", (uint64_t)e.inheritance);
		if (strncmp(word, "object=", 7) == 0 &&
		    (e.object != NULL ? vm_object_size(e.object) : 0) != n)
			wrong(b, "the object has",
			    e.object != NULL ? vm_object_size(e.object) : 0);
		if (strncmp(word, "refs=", 5) == 0 &&
		    vm_object_refs(e.object) != n)
			wrong(b, "its references are",
			    vm_object_refs(e.object));
		if (strcmp(word, "copied") == 0 &&
		    ((e.eflags & MAP_ENTRY_NEEDS_COPY) != 0 ||
			vm_object_backing(e.object) == NULL))
			wrong(b, "it is no copy, flags", e.eflags);
	}
}

static void
line_is(struct bench *b)
{
	vm_map_entry_t entry;

	vm_map_lock_read(b->map);
	entry = vm_map_entry_first(b->map);
	for (size_t i = 1; i < b->n; i++) {
		is_entry(b, b->words[i], entry);
		entry = vm_map_entry_succ(b->map, entry);
	}
	if (entry != NULL)
		wrong(b, "there are entries more, at", entry->start);
	vm_map_unlock_read(b->map);
}

/* The lines */

static void
make_map(struct bench *b)
{
	struct sim_options options = {.machine = b->machine,
	    .page_size = b->page};

	b->arch = sim_create(&options);
	ASSERT_NOT_NULL(b->arch);
	b->pmap.arch = b->arch;
	b->map = vm_map_create(&b->pmap, b->min, b->max);
	ASSERT_NOT_NULL(b->map);
}

static void
line_limit(struct bench *b)
{
	struct vm_map_limits limits;
	uint64_t n = number(b->words[2]);

	vm_map_get_limits(b->map, &limits);
	if (strcmp(b->words[1], "overcommit") == 0)
		limits.overcommit = (int)n;
	else if (strcmp(b->words[1], "swap") == 0)
		limits.swap = n;
	else if (strcmp(b->words[1], "vmem") == 0)
		limits.vmem = n;
	else
		limits.memlock = n;
	vm_map_set_limits(b->map, &limits);
}

static void
line_object(struct bench *b)
{
	const char *color = value_of(b, "color");
	vm_object_t object;

	object = vm_object_allocate(&b->pmap,
	    strcmp(b->words[2], "super") == 0 ? OBJT_SUPER : OBJT_SWAP,
	    number(b->words[3]));
	ASSERT_NOT_NULL(object);
	if (color != NULL)
		vm_object_color(object, number(color));
	(void)snprintf(b->objects[b->nobjects].name, sizeof(b->objects[0].name),
	    "%s", b->words[1]);
	b->objects[b->nobjects++].object = object;
}

static int
space_of(const char *word)
{
	if (strncmp(word, "align", 5) == 0)
		return VMFS_ALIGNED_SPACE(atoi(word + 5));
	return strcmp(word, "any") == 0       ? VMFS_ANY_SPACE
	       : strcmp(word, "super") == 0   ? VMFS_SUPER_SPACE
	       : strcmp(word, "optimal") == 0 ? VMFS_OPTIMAL_SPACE
					      : VMFS_NO_SPACE;
}

/* insert, find, find_min, fixed, stack */
static void
line_enter(struct bench *b)
{
	vm_object_t object = object_of(b, value_of(b, "obj"));
	vm_offset_t one = number(b->words[1]);
	uint64_t two = number(b->words[2]);
	const char *word = value_of(b, "off");
	vm_ooffset_t offset = word != NULL ? number(word) : 0;
	bool find = strcmp(b->words[0], "find") == 0;
	vm_prot_t prot = VM_PROT_RW, max = VM_PROT_ALL;
	int cow = cow_of(b), rv;

	word = value_of(b, "max_addr");
	if (strcmp(b->words[0], "find_min") != 0)
		prots_of(b->words[find ? 4 : 3], &prot, &max);
	vm_object_reference(object);
	if (find)
		rv = vm_map_find(b->map, object, offset, &one, two,
		    word != NULL ? number(word) : 0, space_of(b->words[3]),
		    prot, max, cow);
	else if (strcmp(b->words[0], "find_min") == 0)
		rv = vm_map_find_min(b->map, object, offset, &one, two,
		    number(b->words[3]), 0, VMFS_ANY_SPACE, prot, max, cow);
	else if (strcmp(b->words[0], "fixed") == 0)
		rv = vm_map_fixed(b->map, object, offset, one, two, prot, max,
		    cow);
	else if (strcmp(b->words[0], "stack") == 0)
		rv = vm_map_stack(b->map, one, two, prot, max, MAP_STACK_AREA);
	else {
		vm_map_lock(b->map);
		rv = vm_map_insert(b->map, object, offset, one, two, prot, max,
		    cow);
		vm_map_unlock(b->map);
	}
	if (rv != KERN_SUCCESS)
		vm_object_deallocate(object);
	expect(b, rv);
	expect_addr(b, one);
}

static void
line_protect(struct bench *b, vm_offset_t start, vm_offset_t end)
{
	const char *max = value_of(b, "max");
	int flags = 0;
	vm_prot_t prot = VM_PROT_NONE;

	if (strncmp(b->words[3], "max=", 4) != 0) {
		prot = prot_of(b->words[3]);
		flags |= VM_MAP_PROTECT_SET_PROT;
	}
	if (max != NULL)
		flags |= VM_MAP_PROTECT_SET_MAXPROT;
	expect(b, vm_map_protect(b->map, start, end, prot,
		      max != NULL ? prot_of(max) : VM_PROT_NONE, flags));
}

static void
line_lookup(struct bench *b, bool fault)
{
	vm_map_t map = b->map;
	vm_map_entry_t entry;
	vm_object_t object;
	vm_pindex_t pindex;
	vm_prot_t type = prot_of(b->words[2]), prot;
	bool wired;
	int rv;

	if (fault)
		type |= VM_PROT_FAULT_LOOKUP;
	rv = vm_map_lookup(&map, number(b->words[1]), type, &entry, &object,
	    &pindex, &prot, &wired);
	expect(b, rv);
	if (rv != KERN_SUCCESS)
		return;
	vm_map_lookup_done(map, entry);
	if (b->n > 5 && prot != prot_of(b->words[5]))
		wrong(b, "the rights are", prot);
}

static void
line_findspace(struct bench *b)
{
	vm_offset_t addr = 0;
	int rv;

	vm_map_lock_read(b->map);
	rv = vm_map_findspace(b->map, number(b->words[1]), number(b->words[2]),
	    &addr);
	vm_map_unlock_read(b->map);
	expect(b, rv);
	expect_addr(b, addr);
}

/* Calls on a range. */
static void
line_range(struct bench *b)
{
	vm_offset_t start = number(b->words[1]), end = number(b->words[2]);
	int last = (int)number(b->words[3]), flags = 0;
	const char *verb = b->words[0];

	if (has_word(b, "user"))
		flags |= VM_MAP_WIRE_USER;
	if (has_word(b, "holes"))
		flags |= VM_MAP_WIRE_HOLESOK;
	if (has_word(b, "write"))
		flags |= VM_MAP_WIRE_WRITE;
	if (strcmp(verb, "remove") == 0)
		expect(b, vm_map_remove(b->map, start, end));
	else if (strcmp(verb, "protect") == 0)
		line_protect(b, start, end);
	else if (strcmp(verb, "inherit") == 0)
		expect(b,
		    vm_map_inherit(b->map, start, end, (vm_inherit_t)last));
	else if (strcmp(verb, "madvise") == 0)
		expect(b, vm_map_madvise(b->map, start, end, last));
	else if (strcmp(verb, "wire") == 0)
		expect(b, vm_map_wire(b->map, start, end, flags));
	else if (strcmp(verb, "unwire") == 0)
		expect(b, vm_map_unwire(b->map, start, end, flags));
	else if (strcmp(verb, "sync") == 0)
		expect(b, vm_map_sync(b->map, start, end, true,
			      has_word(b, "invalidate")));
	else {
		vm_map_lock_read(b->map);
		expect(b, vm_map_check_protection(b->map, start, end,
			      prot_of(b->words[3])));
		vm_map_unlock_read(b->map);
	}
}

static void
equal(const struct bench *b, uint64_t got, const char *want)
{
	if (got != number(want))
		wrong(b, "it is", got);
}

static void
run_line(struct bench *b)
{
	static const char *const enter[] = {"insert", "find", "find_min",
	    "fixed", "stack"};
	const char *verb = b->words[0];

	for (size_t i = 0; i < nitems(enter); i++)
		if (strcmp(verb, enter[i]) == 0) {
			line_enter(b);
			return;
		}
	if (strcmp(verb, "flag") == 0) {
		vm_map_lock(b->map);
		vm_map_modflags(b->map, MAP_WXORX, 0);
		vm_map_unlock(b->map);
	} else if (strcmp(verb, "limit") == 0)
		line_limit(b);
	else if (strcmp(verb, "object") == 0)
		line_object(b);
	else if (strcmp(verb, "is") == 0)
		line_is(b);
	else if (strcmp(verb, "size") == 0)
		equal(b, vm_map_size(b->map), b->words[1]);
	else if (strcmp(verb, "refs") == 0)
		equal(b, vm_object_refs(object_of(b, b->words[1])),
		    b->words[2]);
	else if (strcmp(verb, "reserved") == 0)
		equal(b, vm_account_reserved(b->map->account), b->words[1]);
	else if (strcmp(verb, "user_wired") == 0)
		equal(b, b->map->user_wired, b->words[1]);
	else if (strcmp(verb, "findspace") == 0)
		line_findspace(b);
	else if (strcmp(verb, "lookup") == 0 || strcmp(verb, "fault") == 0)
		line_lookup(b, verb[0] == 'f');
	else if (strcmp(verb, "growstack") == 0)
		expect(b, vm_map_growstack(b->map, number(b->words[1])));
	else if (strcmp(verb, "fork") == 0)
		expect(b, vmspace_fork(b->map, NULL, &b->child));
	else if (strcmp(verb, "child") == 0) {
		b->parent = b->map;
		b->map = b->child;
	} else
		line_range(b);
}

static void
split_line(struct bench *b, const char *line)
{
	static char copy[256];
	char *rest = NULL;

	b->line = line;
	ASSERT_LT(strlen(line), sizeof(copy));
	(void)snprintf(copy, sizeof(copy), "%s", line);
	b->n = 0;
	for (char *word = strtok_r(copy, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest)) {
		ASSERT_LT(b->n, nitems(b->words));
		b->words[b->n++] = word;
	}
	for (size_t i = b->n; i < nitems(b->words); i++)
		b->words[i] = (char *)(uintptr_t) "";
}

static void
run_vector(const struct vector *v)
{
	struct bench b = {.machine = "x86_64",
	    .page = 0x1000,
	    .min = 0x10000,
	    .max = 0x100000,
	    .id = v->id};

	for (size_t i = 0; i < nitems(v->lines) && v->lines[i] != NULL; i++) {
		split_line(&b, v->lines[i]);
		if (strcmp(b.words[0], "machine") == 0) {
			b.machine = strdup(b.words[1]);
			b.page = number(b.words[2]);
			continue;
		}
		if (strcmp(b.words[0], "map") == 0) {
			b.min = number(b.words[1]);
			b.max = number(b.words[2]);
			continue;
		}
		if (b.map == NULL)
			make_map(&b);
		run_line(&b);
		vm_map_lock_read(b.map);
		if (vm_map_check(b.map) != NULL)
			test_fail(__FILE__, __LINE__, "%s: \"%s\": %s", b.id,
			    b.line, vm_map_check(b.map));
		vm_map_unlock_read(b.map);
	}
	vm_map_destroy(b.map);
	vm_map_destroy(b.parent);
	for (size_t i = 0; i < b.nobjects; i++)
		vm_object_deallocate(b.objects[i].object);
	ASSERT_EQ(sim_live(b.arch), 0u);
	sim_destroy(b.arch);
	if (strcmp(b.machine, "x86_64") != 0)
		free((void *)(uintptr_t)b.machine);
}

/* Vectors whose id begins with `letter`. */
static void
run_letter(char letter)
{
	size_t n = 0;

	for (size_t i = 0; i < nitems(vectors); i++)
		if (vectors[i].id[0] == letter) {
			run_vector(&vectors[i]);
			n++;
		}
	ASSERT_GT(n, 0u);
}

TEST(vectors_a__findspace)
{
	run_letter('A');
}

TEST(vectors_b__find)
{
	run_letter('B');
}

TEST(vectors_c__insert)
{
	run_letter('C');
}

TEST(vectors_d__delete)
{
	run_letter('D');
}

TEST(vectors_e__protect_inherit_madvise)
{
	run_letter('E');
}

TEST(vectors_f__wire)
{
	run_letter('F');
}

TEST(vectors_g__stacks)
{
	run_letter('G');
}

TEST(vectors_h__check_sync_lookup)
{
	run_letter('H');
}

TEST(vectors_j__fork)
{
	run_letter('J');
}
