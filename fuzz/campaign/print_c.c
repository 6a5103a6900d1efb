/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A program as a C file that calls the core's public functions, for a report:
 *
 *	print_c FILE >OUT.c
 *	cc -I ROOT OUT.c libcore.a libarch_sim.a libarch.a -lpthread
 *
 * The program runs here, so that every operand is a number; what the core
 * answered last, and what its maps were, is written down too.  OUT exits with
 * 1 while it still gets those answers, 0 when they have changed, and aborts
 * where the core does.
 */

#include "arch/sim/sim.h"
#include "fuzz/file.h"
#include "fuzz/prog/backend_core.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const prelude =
    "#include \"arch/sim/sim.h\"\n"
    "#include \"core/vm_contig.h\"\n"
    "#include \"core/vm_map.h\"\n"
    "#include \"core/vm_object.h\"\n"
    "#include \"core/vm_phys.h\"\n"
    "#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n\n"
    "static struct arch *arch;\nstatic struct pmap pmap;\n"
    "static struct vm_phys *phys;\nstatic struct malloc_type type;\n"
    "static vm_map_t m[8];\nstatic vm_object_t o[64];\n"
    "static void *b[128];\n\n"
    "static void\ncheck(int line)\n{\n"
    "\tfor (int i = 0; i < 8; i++) {\n\t\tconst char *broken = NULL;\n\n"
    "\t\tif (m[i] == NULL)\n\t\t\tcontinue;\n"
    "\t\tvm_map_lock_read(m[i]);\n\t\tbroken = vm_map_check(m[i]);\n"
    "\t\tvm_map_unlock_read(m[i]);\n"
    "\t\tif (broken != NULL) {\n"
    "\t\t\tprintf(\"line %d: %s\\n\", line, broken);\n\t\t\texit(1);\n"
    "\t\t}\n\t}\n"
    "\tif (phys != NULL && vm_phys_check(phys) != NULL) {\n"
    "\t\tprintf(\"line %d: %s\\n\", line, vm_phys_check(phys));\n"
    "\t\texit(1);\n\t}\n}\n\n"
    "static uint64_t\nmix(uint64_t h, uint64_t v)\n{\n"
    "\treturn (h ^ v) * UINT64_C(0x100000001b3);\n}\n\n"
    "static uint64_t\nstate(void)\n{\n\tuint64_t h = 1;\n\n"
    "\tfor (int i = 0; i < 8; i++) {\n\t\tif (m[i] == NULL)\n"
    "\t\t\tcontinue;\n\t\tvm_map_lock_read(m[i]);\n"
    "\t\tfor (vm_map_entry_t e = vm_map_entry_first(m[i]); e != NULL;\n"
    "\t\t     e = vm_map_entry_succ(m[i], e)) {\n"
    "\t\t\tstruct vm_map_entry_info f;\n\n"
    "\t\t\tvm_map_entry_info(e, &f);\n"
    "\t\t\th = mix(mix(mix(h, f.start), f.end), f.offset);\n"
    "\t\t\th = mix(mix(h, f.protection), f.max_protection);\n"
    "\t\t\th = mix(mix(h, f.eflags), (uint64_t)f.inheritance);\n"
    "\t\t\th = mix(h, (uint64_t)f.wired_count);\n\t\t}\n"
    "\t\tvm_map_unlock_read(m[i]);\n\t}\n\treturn h;\n}\n\n"
    "int\nmain(void)\n{\n\tuint64_t addr = 0;\n\tint rv = 0;\n\n";

struct printer {
	struct core_backend core;
	struct hf_backend_ops ops; /* the core's, but for `call` */
	void (*call)(struct hf_backend *b, const struct hf_call *call,
	    struct hf_result *res);
	char pending[2048]; /* the call that is being made */
	int rv;             /* of the last one */
	uint64_t addr;
};
static struct printer printer;

static uint64_t
mix(uint64_t h, uint64_t v)
{
	return (h ^ v) * UINT64_C(0x100000001b3);
}

/* As the printed program's. */
static uint64_t
state(void)
{
	uint64_t h = 1;

	for (int i = 0; i < HF_MAPS; i++) {
		vm_map_t map = printer.core.maps[i];

		if (map == NULL)
			continue;
		vm_map_lock_read(map);
		for (vm_map_entry_t e = vm_map_entry_first(map); e != NULL;
		     e = vm_map_entry_succ(map, e)) {
			struct vm_map_entry_info f;

			vm_map_entry_info(e, &f);
			h = mix(mix(mix(h, f.start), f.end), f.offset);
			h = mix(mix(h, f.protection), f.max_protection);
			h = mix(mix(h, f.eflags), (uint64_t)f.inheritance);
			h = mix(h, (uint64_t)f.wired_count);
		}
		vm_map_unlock_read(map);
	}
	return h;
}

static void
flush(void)
{
	printf("%s", printer.pending);
	printer.pending[0] = '\0';
}

static void
on_abort(int sig)
{
	flush();
	printf("\t/* the core aborts here */\n\treturn 0;\n}\n");
	(void)fflush(stdout);
	(void)sig;
	_exit(0);
}

static void put(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
put(const char *format, ...)
{
	size_t len = strlen(printer.pending);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(printer.pending + len, sizeof(printer.pending) - len,
	    format, args);
	va_end(args);
}

#define X(field) ((unsigned long long)v[HF_F_##field])
#define M        ((unsigned)v[HF_F_MAP])
#define O        ((unsigned)v[HF_F_OBJ])

/* The arguments that insert, find and their kin have in common. */
static void
put_entering(const char *call, const uint64_t *v, const char *end)
{
	put("\tvm_object_reference(o[%u]);\n", O);
	put("\trv = %s", call);
	put("%s", end);
	put(", %#llx, %#llx, %#x);\n", X(PROT), X(MAX), (unsigned)v[HF_F_COW]);
	put("\tif (rv != KERN_SUCCESS)\n\t\tvm_object_deallocate(o[%u]);\n", O);
}

static void
print_world(const uint64_t *v)
{
	const struct arch *arch = printer.core.arch;

	(void)v;
	put("\tarch = sim_create(&(struct sim_options){.machine = \"%s\",\n"
	    "\t    .page_size = %#llx});\n"
	    "\tpmap = (struct pmap){.arch = arch};\n"
	    "\tphys = vm_phys_create(arch, %#llx);\n"
	    "\tmalloc_init(&type, \"repro\", phys, arch);\n",
	    arch->machine->name, (unsigned long long)arch->machine->page_size,
	    (unsigned long long)arch->machine->page_size);
}

static void
print_entering(uint8_t op, const uint64_t *v)
{
	char head[200], tail[300];

	(void)snprintf(head, sizeof(head), "vm_map_%s(m[%u], o[%u], %#llx",
	    hf_ops[op].name, M, O, X(OFF));
	switch (op) {
	case HF_INSERT:
		put("\tvm_map_lock(m[%u]);\n", M);
		(void)snprintf(tail, sizeof(tail), ", %#llx, %#llx", X(A),
		    (unsigned long long)(v[HF_F_A] + v[HF_F_LEN]));
		put_entering(head, v, tail);
		put("\tvm_map_unlock(m[%u]);\n", M);
		return;
	case HF_FIXED:
		(void)snprintf(tail, sizeof(tail), ", %#llx, %#llx", X(A),
		    X(LEN));
		break;
	case HF_FIND:
		put("\taddr = %#llx;\n", X(A));
		(void)snprintf(tail, sizeof(tail), ", &addr, %#llx, %#llx, %d",
		    X(LEN), X(LIM), (int)v[HF_F_SPACE]);
		break;
	default: /* find_min */
		put("\tsim_fail_never(arch);\n\taddr = %#llx;\n", X(A));
		(void)snprintf(tail, sizeof(tail),
		    ", &addr, %#llx, %#llx, %#llx, %d", X(LEN), X(DEF), X(LIM),
		    (int)v[HF_F_SPACE]);
		break;
	}
	put_entering(head, v, tail);
}

static void
print_range(uint8_t op, const uint64_t *v)
{
	put("\trv = vm_map_%s(m[%u], %#llx, %#llx", hf_ops[op].name, M, X(A),
	    X(END));
	switch (op) {
	case HF_PROTECT:
		put(", %#llx, %#llx, %d", X(PROT), X(MAX), (int)v[HF_F_SET]);
		break;
	case HF_INHERIT:
		put(", (vm_inherit_t)%#llx", X(INH));
		break;
	case HF_MADVISE:
		put(", %d", (int)v[HF_F_ADVICE]);
		break;
	case HF_WIRE:
	case HF_UNWIRE:
		put(", %d", (int)v[HF_F_FLAGS]);
		break;
	case HF_SYNC:
		put(", %d, %d", v[HF_F_SET] != 0, v[HF_F_CLEAR] != 0);
		break;
	case HF_CHECK_PROTECTION:
		put(", %#llx", X(PROT));
		break;
	default:
		break;
	}
	put(");\n");
}

static void
print_locked(uint8_t op, const uint64_t *v, const char *kind)
{
	put("\tvm_map_lock%s(m[%u]);\n", kind, M);
	print_range(op, v);
	put("\tvm_map_unlock%s(m[%u]);\n", kind, M);
}

static void
print_limit(const uint64_t *v)
{
	static const char *const names[] = {"vmem", "stack", "memlock", "swap",
	    "nentries", "overcommit", "cluster_anon", "stack_guard"};

	put("\t{\n\t\tstruct vm_map_limits limits;\n\n"
	    "\t\tvm_map_get_limits(m[%u], &limits);\n\t\tlimits.%s = %#llx;\n"
	    "\t\tvm_map_set_limits(m[%u], &limits);\n\t}\n",
	    M, names[v[HF_F_KIND] < 7 ? v[HF_F_KIND] : 7], X(VALUE), M);
}

static unsigned long long
alignment(const uint64_t *v)
{
	return v[HF_F_ALIGN] != 0 ? X(ALIGN)
				  : printer.core.arch->machine->page_size;
}

static void
print_contig(const uint64_t *v)
{
	put("\tb[%u] = contigmalloc_domain(%#llx, &type, %d, %#x, %#llx,\n"
	    "\t    %#llx, %#llx, %#llx);\n\trv = b[%u] == NULL;\n",
	    (unsigned)v[HF_F_BUF], X(LEN), (int)v[HF_F_DOMAIN],
	    (unsigned)v[HF_F_FLAGS], X(A),
	    v[HF_F_B] != 0 ? X(B) : (unsigned long long)UINT64_MAX,
	    alignment(v), X(BOUNDARY), (unsigned)v[HF_F_BUF]);
	put("\tif (b[%u] != NULL)\n\t\taddr = vm_dmap_to_phys(arch, b[%u]);\n",
	    (unsigned)v[HF_F_BUF], (unsigned)v[HF_F_BUF]);
}

static void
print_memory(uint8_t op, const uint64_t *v)
{
	switch (op) {
	case HF_SEG:
		put("\trv = vm_phys_add_seg(phys, %#llx, %#llx, %d, NULL);\n",
		    X(A), X(B), (int)v[HF_F_DOMAIN]);
		break;
	case HF_UNSEG:
		put("\trv = vm_phys_remove_seg(phys, %#llx, %#llx);\n", X(A),
		    X(B));
		break;
	case HF_TAKE:
		put("\trv = vm_phys_take(phys, %#llx, %#llx);\n", X(A), X(B));
		break;
	case HF_GIVE:
		put("\trv = vm_phys_free_part(phys, %#llx, %#llx);\n", X(A),
		    X(B));
		break;
	case HF_CONTIGFREE:
		put("\tcontigfree(b[%u], %#llx, &type);\n",
		    (unsigned)v[HF_F_BUF],
		    (unsigned long long)printer.core.bufs[v[HF_F_BUF]].size);
		break;
	case HF_INJECT:
		put(v[HF_F_NTH] == 0      ? "\tsim_fail_never(arch);\n"
		    : v[HF_F_STICKY] != 0 ? "\tsim_fail_from(arch, %llu);\n"
					  : "\tsim_fail_nth(arch, %llu);\n",
		    X(NTH));
		break;
	default:
		print_contig(v);
		break;
	}
}

static void
print_write_locked(uint8_t op, const uint64_t *v)
{
	if (op == HF_FIND_ALIGNED)
		put("\taddr = %#llx;\n\tvm_map_lock(m[%u]);\n"
		    "\trv = vm_map_find_aligned(m[%u], &addr, %#llx, %#llx,\n"
		    "\t    %#llx);\n\tvm_map_unlock(m[%u]);\n",
		    X(A), M, M, X(LEN), X(LIM), alignment(v), M);
	else
		put("\t{\n\t\tvm_map_entry_t e;\n\n\t\tvm_map_lock(m[%u]);\n"
		    "\t\tif (vm_map_lookup_entry(m[%u], %#llx, &e))\n"
		    "\t\t\tvm_map_simplify_entry(m[%u], e);\n"
		    "\t\tvm_map_unlock(m[%u]);\n\t}\n",
		    M, M, X(A), M, M);
}

static void
print_map(uint8_t op, const uint64_t *v)
{
	switch (op) {
	case HF_MAP:
		put("\tm[%u] = vm_map_create(&pmap, %#llx, %#llx);\n", M, X(A),
		    X(B));
		break;
	case HF_DESTROY:
		put("\tvm_map_destroy(m[%u]);\n\tm[%u] = NULL;\n", M, M);
		break;
	case HF_OBJECT:
		put("\to[%u] = vm_object_allocate(&pmap, (enum obj_type)%d, "
		    "%#llx);\n",
		    O, (int)v[HF_F_KIND], X(LEN));
		if (v[HF_F_OFF] != 0)
			put("\tif (o[%u] != NULL)\n\t\tvm_object_color(o[%u], "
			    "%#llx / arch->machine->page_size);\n",
			    O, O, X(OFF));
		break;
	case HF_DEREF:
		put("\tvm_object_deallocate(o[%u]);\n\to[%u] = NULL;\n", O, O);
		break;
	case HF_FINDSPACE:
		put("\tvm_map_lock_read(m[%u]);\n"
		    "\trv = vm_map_findspace(m[%u], %#llx, %#llx, &addr);\n"
		    "\tvm_map_unlock_read(m[%u]);\n",
		    M, M, X(A), X(LEN), M);
		break;
	case HF_FIND_ALIGNED:
	case HF_SIMPLIFY:
		print_write_locked(op, v);
		break;
	case HF_STACK:
		put("\trv = vm_map_stack(m[%u], %#llx, %#llx, %#llx, %#llx, "
		    "%#x);\n",
		    M, X(A), X(LEN), X(PROT), X(MAX),
		    (unsigned)v[HF_F_COW] | MAP_STACK_AREA);
		break;
	case HF_GROWSTACK:
		put("\trv = vm_map_growstack(m[%u], %#llx);\n", M, X(A));
		break;
	case HF_FLAGS:
		put("\tvm_map_lock(m[%u]);\n\tvm_map_modflags(m[%u], %#x, "
		    "%#x);\n\tvm_map_unlock(m[%u]);\n",
		    M, M, (unsigned)v[HF_F_SET], (unsigned)v[HF_F_CLEAR], M);
		break;
	case HF_FORK:
		put("\trv = vmspace_fork(m[%u], NULL, &m[%u]);\n", M,
		    (unsigned)v[HF_F_MAP2]);
		break;
	case HF_SUBMAP:
		put("\trv = vm_map_submap(m[%u], %#llx, %#llx, m[%u]);\n", M,
		    X(A), X(END), (unsigned)v[HF_F_MAP2]);
		break;
	case HF_LOOKUP:
		put("\t{\n\t\tvm_map_t map = m[%u];\n\t\tvm_map_entry_t e;\n"
		    "\t\tvm_object_t object;\n\t\tvm_pindex_t pindex;\n"
		    "\t\tvm_prot_t prot;\n\t\tbool wired;\n\n"
		    "\t\trv = vm_map_lookup(&map, %#llx, %#llx, &e, &object,\n"
		    "\t\t    &pindex, &prot, &wired);\n"
		    "\t\tif (rv == KERN_SUCCESS)\n"
		    "\t\t\tvm_map_lookup_done(map, e);\n\t}\n",
		    M, X(A), X(TYPE));
		break;
	case HF_LIMIT:
		print_limit(v);
		break;
	default:
		put("\t/* %s changes nothing */\n", hf_ops[op].name);
		break;
	}
}

/* One operation, as the core's back end would carry it out. */
static void
print_call(const struct hf_call *call)
{
	const uint64_t *v = call->v;

	printer.pending[0] = '\0';
	switch (call->op) {
	case HF_WORLD:
		break; /* once it is made */
	case HF_INSERT:
	case HF_FIXED:
	case HF_FIND:
	case HF_FIND_MIN:
		print_entering(call->op, v);
		break;
	case HF_DELETE:
		print_locked(call->op, v, "");
		break;
	case HF_CHECK_PROTECTION:
	case HF_CHECK_BOUNDARY:
		print_locked(call->op, v, "_read");
		break;
	case HF_REMOVE:
	case HF_PROTECT:
	case HF_INHERIT:
	case HF_MADVISE:
	case HF_WIRE:
	case HF_UNWIRE:
	case HF_SYNC:
		print_range(call->op, v);
		break;
	case HF_SEG:
	case HF_UNSEG:
	case HF_TAKE:
	case HF_GIVE:
	case HF_CONTIG:
	case HF_CONTIGFREE:
	case HF_INJECT:
		print_memory(call->op, v);
		break;
	default:
		print_map(call->op, v);
		break;
	}
	if (call->op != HF_WORLD)
		put("\tcheck(__LINE__);\n");
}

/* In the core's place: every operand is final here. */
static void
call_printed(struct hf_backend *base, const struct hf_call *call,
    struct hf_result *res)
{
	uint64_t addr;

	if (call->op == HF_FIND_MIN && printer.core.arch != NULL)
		sim_fail_never(printer.core.arch);
	print_call(call);
	printer.call(base, call, res);
	if (res->refused || res->status == HF_S_UNSUPPORTED) {
		printer.pending[0] = '\0';
		return;
	}
	if (call->op == HF_WORLD)
		print_world(call->v);
	if (strstr(printer.pending, "rv =") != NULL)
		printer.rv = call->op == HF_FINDSPACE || call->op == HF_CONTIG
				 ? res->status != KERN_SUCCESS
			     : call->op == HF_CHECK_PROTECTION ||
				     call->op == HF_CHECK_BOUNDARY
				 ? (int)res->out[0].value
				 : res->status;
	flush();
	printf("\t/* %s */\n", hf_status_name(res->status));
	if (hf_result_get(res, "addr", &addr) ||
	    hf_result_get(res, "pa", &addr))
		printer.addr = addr; /* where it failed, nothing is written */
}

int
main(int argc, char **argv)
{
	static struct hf_runner runner;
	struct hf_options options = {.loose = true, .nops_max = 256};
	struct hf_buf program = {0};

	if (argc != 2 || !fuzz_read_program(argv[1], &program)) {
		fprintf(stderr, "usage: %s FILE\n", argv[0]);
		return 2;
	}
	(void)signal(SIGABRT, on_abort);
	printf("/* Made by print_c from %s. */\n\n%s",
	    strrchr(argv[1], '/') != NULL ? strrchr(argv[1], '/') + 1 : argv[1],
	    prelude);
	core_backend_init(&printer.core, false);
	printer.ops = *printer.core.base.ops;
	printer.call = printer.ops.call;
	printer.ops.call = call_printed;
	printer.core.base.ops = &printer.ops;
	hf_runner_init(&runner, &printer.core.base, &options, NULL,
	    (const uint8_t *)program.p, program.len);
	hf_run(&runner, (const uint8_t *)program.p, program.len);
	printf("\tprintf(\"rv=%%d addr=%%#llx state=%%016llx\\n\", rv,\n"
	       "\t    (unsigned long long)addr, (unsigned long long)state());\n"
	       "\treturn rv == %d && addr == %#llx &&\n"
	       "\t    state() == UINT64_C(%#llx);\n}\n",
	    printer.rv, (unsigned long long)printer.addr,
	    (unsigned long long)state());
	hf_buf_free(&program);
	return 0;
}
