/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A live daemon answers every operation program as the core does: the
 * programs of this folder, those of tests/fuzz, every seed, regression and
 * corpus file of the map fuzzer, and random ones.  What each operation prints,
 * and every map at the end, is compared line by line.
 *
 * Left out is what depends on physical memory (objects of superpages become
 * objects of base pages), and what a daemon cannot be told: physical segments
 * and injected failures.
 *
 * $HOLDFASTD names the daemon, $SOURCE the root of the sources.
 */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/file.h"
#include "fuzz/gen.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"
#include "tests/sim_daemon.h"
#include "tests/tame.h"
#include "tests/test.h"
#include "tools/vmsh/vmsh.h"

/* What both can be told and does not depend on physical memory. */
#define SAME_OPS                                                               \
	(FUZZ_BIT(HF_MAP) | FUZZ_BIT(HF_DESTROY) | FUZZ_BIT(HF_OBJECT) |       \
	    FUZZ_BIT(HF_DEREF) | FUZZ_BIT(HF_INSERT) | FUZZ_BIT(HF_FIND) |     \
	    FUZZ_BIT(HF_FIND_MIN) | FUZZ_BIT(HF_FIXED) |                       \
	    FUZZ_BIT(HF_FINDSPACE) | FUZZ_BIT(HF_DELETE) |                     \
	    FUZZ_BIT(HF_REMOVE) | FUZZ_BIT(HF_LOOKUP) | FUZZ_BIT(HF_ENTRY) |   \
	    FUZZ_BIT(HF_ENTRIES) | FUZZ_BIT(HF_CHECK) | FUZZ_BIT(HF_STAT) |    \
	    FUZZ_BIT(HF_PROTECT) | FUZZ_BIT(HF_INHERIT) |                      \
	    FUZZ_BIT(HF_MADVISE) | FUZZ_BIT(HF_WIRE) | FUZZ_BIT(HF_UNWIRE) |   \
	    FUZZ_BIT(HF_SYNC) | FUZZ_BIT(HF_STACK) | FUZZ_BIT(HF_GROWSTACK) |  \
	    FUZZ_BIT(HF_CHECK_PROTECTION) | FUZZ_BIT(HF_SUBMAP) |              \
	    FUZZ_BIT(HF_FORK) | FUZZ_BIT(HF_LIMIT) | FUZZ_BIT(HF_FLAGS) |      \
	    FUZZ_BIT(HF_FIND_ALIGNED) | FUZZ_BIT(HF_CHECK_BOUNDARY) |          \
	    FUZZ_BIT(HF_SIMPLIFY))

/* ---- Taming ---------------------------------------------------------------
 */

static uint64_t
clear_field(uint64_t rec, uint8_t field)
{
	return hf_set_bits(hf_field((uint8_t)rec, field), rec, 0);
}

/* The daemon makes objects for its own machine: a few whole pages of each. */
static uint64_t
tame_object(uint64_t rec)
{
	rec = clear_field(rec, HF_F_KIND);
	rec = clear_field(rec, HF_F_OFF);
	return tame_length(rec, hf_field(HF_OBJECT, HF_F_LEN));
}

static uint64_t
tame_record(uint64_t rec)
{
	uint8_t op = hf_op_of(rec);
	const struct hf_opdef *def;

	if (op != HF_EXT && op != HF_WORLD && (FUZZ_BIT(op) & SAME_OPS) == 0)
		return HF_NOP;
	rec = (rec & ~UINT64_C(0xff)) | op;
	def = &hf_ops[op];
	for (unsigned i = 0; i < def->nfields; i++)
		if (def->fields[i].type == HF_T_ADDR &&
		    def->fields[i].width > 0)
			rec = tame_address(rec, &def->fields[i]);
	if (op == HF_WORLD)
		rec = clear_field(rec, HF_F_COMPAT);
	return op == HF_OBJECT ? tame_object(rec) : rec;
}

/* Operands given in full stay, but for those of objects. */
static void
tame(uint8_t *data, size_t size)
{
	size_t first = HF_HEADER_SIZE; /* of the ext records in front */

	for (size_t off = first; off + 8 <= size; off += 8) {
		uint64_t rec = tame_record(hf_load(data + off));

		hf_store(data + off, rec);
		if ((rec & 0xff) == HF_EXT)
			continue;
		for (; (rec & 0xff) == HF_OBJECT && first < off; first += 8)
			hf_store(data + first, HF_NOP);
		first = off + 8;
	}
	if (size >= HF_HEADER_SIZE)
		data[6] &= (uint8_t)~0x70u; /* strict, no faults */
}

/* ---- Running --------------------------------------------------------------
 */

struct transcript {
	struct hf_printer printer;
	struct hf_buf text;
	uint64_t succeeded; /* one bit an operation */
	unsigned nunsupported;
};

static bool
note(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	struct transcript *t = arg;

	if (inst == NULL)
		return true; /* the world's own, of which a daemon has less */
	hf_print_result(&t->printer, r, call, res, &t->text);
	if (res->status == KERN_SUCCESS)
		t->succeeded |= FUZZ_BIT(call->op);
	t->nunsupported += res->status == HF_S_UNSUPPORTED;
	return true;
}

/* Every map as it is in the end. */
static void
note_maps(struct transcript *t, struct hf_runner *r)
{
	for (unsigned i = 0; i < HF_MAPS; i++) {
		static const uint8_t ops[] = {HF_STAT, HF_ENTRIES, HF_CHECK};

		for (size_t k = 0; r->maps[i].live && k < sizeof(ops); k++) {
			struct hf_call call = {.op = ops[k]};
			struct hf_result res = {0};

			call.v[HF_F_MAP] = i;
			r->backend->ops->call(r->backend, &call, &res);
			hf_print_result(&t->printer, r, &call, &res, &t->text);
		}
	}
}

static void
run(struct hf_backend *backend, const struct hf_buf *program,
    struct transcript *t)
{
	static const struct hf_options options = {0};
	struct hf_observer observer = {.called = note, .arg = t};
	static struct hf_runner runner;
	const uint8_t *data = (const uint8_t *)program->p;

	memset(&t->printer, 0, sizeof(t->printer));
	t->text.len = 0;
	hf_buf_put(&t->text, "", 0);
	hf_runner_init(&runner, backend, &options, &observer, data,
	    program->len);
	hf_run(&runner, data, program->len);
	note_maps(t, &runner);
}

struct pair {
	struct sim_daemon daemon;
	struct core_backend core;
	struct hf_backend *live;
	struct transcript a, b; /* of the core, of the daemon */
	unsigned nprograms;
	size_t nlines;
};

static void
pair_start(struct pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	sim_daemon_start(&pair->daemon);
	core_backend_init(&pair->core, true);
	/* As maps of a daemon that nobody mirrors: a fork copies no page. */
	pair->core.no_pager = true;
	pair->live = daemon_backend_new(pair->daemon.path);
	ASSERT_NOT_NULL(pair->live);
}

static void
pair_stop(struct pair *pair)
{
	ASSERT_EQ(daemon_backend_trouble(pair->live), 0);
	pair->live->ops->free(pair->live);
	core_backend_fini(&pair->core);
	hf_buf_free(&pair->a.text);
	hf_buf_free(&pair->b.text);
	sim_daemon_stop(&pair->daemon);
}

static size_t
line_length(const char *text)
{
	return strcspn(text, "\n");
}

/* The first line in which they differ, with the program. */
static void
show_difference(const char *name, const struct hf_buf *program, const char *a,
    const char *b)
{
	struct hf_buf text = {0};
	unsigned line = 1;
	size_t n;

	for (; (n = line_length(a)) == line_length(b) &&
	       strncmp(a, b, n) == 0 && a[n] != '\0';
	     line++) {
		a += n + 1;
		b += n + 1;
	}
	hf_disassemble((const uint8_t *)program->p, program->len, &text);
	test_fail(__FILE__, __LINE__,
	    "%s, line %u:\ncore:   %.*s\ndaemon: %.*s\n%s", name, line,
	    (int)line_length(a), a, (int)line_length(b), b, text.p);
}

static void
show_left(const char *name, const struct hf_buf *program, const char *left)
{
	struct hf_buf text = {0};

	hf_disassemble((const uint8_t *)program->p, program->len, &text);
	test_fail(__FILE__, __LINE__, "%s: %s\n%s", name, left, text.p);
}

static void
compare(struct pair *pair, const char *name, struct hf_buf *program)
{
	const char *left;

	tame((uint8_t *)program->p, program->len);
	run(&pair->core.base, program, &pair->a);
	run(pair->live, program, &pair->b);
	if (strcmp(pair->a.text.p, pair->b.text.p) != 0)
		show_difference(name, program, pair->a.text.p, pair->b.text.p);
	left = core_backend_clear(&pair->core);
	if (left != NULL)
		show_left(name, program, left);
	for (const char *p = pair->a.text.p; *p != '\0'; p++)
		pair->nlines += *p == '\n';
	pair->nprograms++;
}

static void
compare_file(struct pair *pair, const char *path)
{
	struct hf_buf program = {0};

	ASSERT_TRUE(fuzz_read_program(path, &program));
	compare(pair, path, &program);
	hf_buf_free(&program);
}

static int
is_program(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && (dot == NULL || dot[1] == 'h');
}

/* Every program of a folder below the root of the sources. */
static void
compare_folder(struct pair *pair, const char *folder)
{
	struct dirent **names;
	char path[1024];
	int n;

	(void)snprintf(path, sizeof(path), "%s/%s", sim_daemon_need("SOURCE"),
	    folder);
	n = scandir(path, &names, is_program, alphasort);
	ASSERT_GT(n, 0);
	for (int i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s/%s",
		    sim_daemon_need("SOURCE"), folder, names[i]->d_name);
		compare_file(pair, path);
		free(names[i]);
	}
	free(names);
}

/* ---- Cases ----------------------------------------------------------------
 */

/* An operation that never succeeds, or that the daemon has not, shows nothing.
 */
static void
check_coverage(const struct pair *pair, uint64_t ops)
{
	for (unsigned op = 0; op < HF_NOPS; op++)
		if ((ops & FUZZ_BIT(op) & ~pair->b.succeeded) != 0)
			test_fail(__FILE__, __LINE__, "no %s succeeded",
			    hf_ops[op].name);
	ASSERT_EQ(pair->b.nunsupported, 0);
}

TEST_TIMEOUT(backends__print_the_same_for_every_program_of_the_tests, 120)
{
	struct pair pair;

	pair_start(&pair);
	compare_folder(&pair, "tests/system/programs");
	check_coverage(&pair, SAME_OPS);
	compare_folder(&pair, "tests/fuzz/programs");
	compare_folder(&pair, "fuzz/seeds/fuzz_map");
	compare_folder(&pair, "fuzz/regressions/fuzz_map");
	compare_folder(&pair, "fuzz/corpus/fuzz_map");
	printf("%u programs, %zu lines\n", pair.nprograms, pair.nlines);
	pair_stop(&pair);
}

TEST_TIMEOUT(backends__print_the_same_for_random_programs, 300)
{
	uint64_t seed = test_seed(), n = test_ops(300);
	static uint8_t data[4096];
	struct hf_buf program = {0}, text = {0};
	struct hf_error error;
	struct pair pair;
	char name[64];

	pair_start(&pair);
	for (uint64_t i = 0; i < n; i++) {
		size_t size =
		    gen_program(seed + i, SAME_OPS, data, sizeof(data));

		/* By way of its text, as people write them. */
		text.len = 0;
		hf_disassemble(data, size, &text);
		program.len = 0;
		ASSERT_TRUE(hf_assemble(text.p, text.len, &program, &error));
		ASSERT_EQ(program.len, size);
		(void)snprintf(name, sizeof(name), "random program %#llx",
		    (unsigned long long)(seed + i));
		compare(&pair, name, &program);
	}
	/* Windows need more luck than there is. */
	check_coverage(&pair, SAME_OPS & ~FUZZ_BIT(HF_SUBMAP));
	printf("%u programs, %zu lines\n", pair.nprograms, pair.nlines);
	hf_buf_free(&program);
	hf_buf_free(&text);
	pair_stop(&pair);
}
