/* SPDX-License-Identifier: BSD-2-Clause */

#include "tools/vmsh/vmsh.h"

#include "clients/libholdfast/holdfast.h"
#include "core/vm_param.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct daemon {
	struct hf_backend base;
	struct holdfast *h;
	const struct arch_machine *machine; /* that maps are laid out for */
	struct holdfast_map *maps[HF_MAPS];
	uint64_t objs[HF_OBJS]; /* the daemon's numbers */
	struct holdfast_buf *bufs[HF_BUFS];
	/* Entries of one map, until the next operation. */
	struct holdfast_entry *entries;
	size_t nentries;
	unsigned entries_map; /* HF_MAPS: none */
	int trouble;          /* -errno: the connection is over */
};

typedef void handler(struct daemon *d, const uint64_t *v,
    struct hf_result *res);

static struct daemon *
daemon_of(struct hf_backend *b)
{
	return (struct daemon *)b; /* base is the first member */
}

/* What a call of the library returned; true: it succeeded. */
static bool
answer(struct daemon *d, int rv, struct hf_result *res)
{
	hf_result_set(res, rv < 0 ? KERN_FAILURE : rv);
	if (rv == 0)
		return true;
	(void)snprintf(res->why, sizeof(res->why), "%s", holdfast_error(d->h));
	if (rv < 0 && d->trouble == 0) {
		d->trouble = rv;
		fprintf(stderr, "vmsh: %s: %s\n", holdfast_status_name(rv),
		    holdfast_error(d->h));
	}
	return false;
}

/* As the core's back end takes what is wider than the core's own type. */
static uint32_t
word(uint64_t value)
{
	return (uint32_t)MIN(value, INT32_MAX);
}

static struct holdfast_map *
map_of(struct daemon *d, const uint64_t *v)
{
	return d->maps[v[HF_F_MAP]];
}

static void
forget_entries(struct daemon *d)
{
	free(d->entries);
	d->entries = NULL;
	d->nentries = 0;
	d->entries_map = HF_MAPS;
}

static void
fetch_entries(struct daemon *d, unsigned map)
{
	struct hf_result res;

	if (d->entries_map == map)
		return;
	forget_entries(d);
	if (answer(d,
		holdfast_map_entries(d->maps[map], &d->entries, &d->nentries),
		&res))
		d->entries_map = map;
}

/* ---- The world ------------------------------------------------------------
 */

static void
clear(struct daemon *d)
{
	forget_entries(d);
	for (unsigned i = 0; i < HF_MAPS; i++) {
		(void)holdfast_map_detach(d->maps[i]); /* it is the last one */
		d->maps[i] = NULL;
	}
	for (unsigned i = 0; i < HF_OBJS; i++) {
		if (d->objs[i] != 0)
			(void)holdfast_object_destroy(d->h, d->objs[i]);
		d->objs[i] = 0;
	}
	for (unsigned i = 0; i < HF_BUFS; i++) {
		(void)holdfast_contigfree(d->h, d->bufs[i]);
		d->bufs[i] = NULL;
	}
}

static void
do_world(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	static const char *const archs[] = {"x86_64", "aarch64", "riscv64"};
	uint64_t arch = v[HF_F_ARCH];
	const struct arch_machine *machine =
	    arch < nitems(archs) ? arch_machine_find(archs[arch], v[HF_F_PAGE])
				 : arch_machine_host();

	hf_result_set(res, KERN_INVALID_ARGUMENT);
	if (machine == NULL)
		return;
	if (v[HF_F_COMPAT] != 0) {
		hf_result_set(res, HF_S_UNSUPPORTED);
		(void)snprintf(res->why, sizeof(res->why),
		    "a daemon is always strict");
		return;
	}
	clear(d);
	d->machine = machine;
	hf_result_set(res, KERN_SUCCESS);
}

/* ---- Physical memory ------------------------------------------------------
 */

static void
do_contig(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_contig_req req = {.size = v[HF_F_LEN],
	    .low = v[HF_F_A],
	    .high = v[HF_F_B] == UINT64_MAX ? 0 : v[HF_F_B],
	    .alignment = v[HF_F_ALIGN],
	    .boundary = v[HF_F_BOUNDARY],
	    .flags = (uint32_t)v[HF_F_FLAGS],
	    .domain = (int)v[HF_F_DOMAIN],
	    .domain_set = v[HF_F_DOMAIN] != UINT64_MAX,
	    .no_map = true};
	struct holdfast_buf *buf;

	if (!answer(d, holdfast_contigmalloc(d->h, &req, &buf), res))
		return;
	d->bufs[v[HF_F_BUF]] = buf;
	if (buf->pa_known)
		hf_result_out(res, "pa", HF_O_ADDR, buf->pa);
}

static void
do_contigfree(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d, holdfast_contigfree(d->h, d->bufs[v[HF_F_BUF]]), res);
	d->bufs[v[HF_F_BUF]] = NULL;
}

static void
do_phys(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_pool_status status;

	(void)v;
	if (!answer(d, holdfast_pool_status(d->h, &status), res))
		return;
	hf_result_out(res, "total", HF_O_ADDR,
	    status.frames_total * status.frame_size);
	hf_result_out(res, "free", HF_O_ADDR, status.free_bytes);
	hf_result_out(res, "largest", HF_O_ADDR, status.largest_run);
}

/* ---- Maps and objects -----------------------------------------------------
 */

static void
do_map(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_options options = {.min = v[HF_F_A],
	    .max = v[HF_F_B],
	    .no_mirror = true,
	    .machine = d->machine->name,
	    .page_size = d->machine->page_size};

	/* The wire says "your own range" with these; a program does not. */
	if (options.min == 0 && options.max == 0) {
		hf_result_set(res, KERN_INVALID_ARGUMENT);
		return;
	}
	(void)answer(d,
	    holdfast_map_create(d->h, &options, &d->maps[v[HF_F_MAP]]), res);
}

static void
do_destroy(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	if (answer(d, holdfast_map_destroy(map_of(d, v)), res))
		d->maps[v[HF_F_MAP]] = NULL;
}

static void
do_object(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	enum holdfast_object_kind kind =
	    v[HF_F_KIND] == 1 ? HF_OBJECT_SUPER : HF_OBJECT_BASE;

	if (v[HF_F_KIND] > 1 || v[HF_F_OFF] != 0) {
		hf_result_set(res, HF_S_UNSUPPORTED);
		return;
	}
	(void)answer(d,
	    holdfast_object_create(d->h, kind, v[HF_F_LEN],
		&d->objs[v[HF_F_OBJ]]),
	    res);
}

static void
do_deref(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	if (answer(d, holdfast_object_destroy(d->h, d->objs[v[HF_F_OBJ]]), res))
		d->objs[v[HF_F_OBJ]] = 0;
}

static struct holdfast_map_args
map_args(struct daemon *d, const uint64_t *v)
{
	return (struct holdfast_map_args){.object = d->objs[v[HF_F_OBJ]],
	    .offset = v[HF_F_OFF],
	    .addr = v[HF_F_A],
	    .length = v[HF_F_LEN],
	    .max_addr = v[HF_F_LIM],
	    .find_space = word(v[HF_F_SPACE]),
	    .prot = (vm_prot_t)v[HF_F_PROT],
	    .max_prot = (vm_prot_t)v[HF_F_MAX],
	    .cow = (uint32_t)v[HF_F_COW]};
}

static void
do_insert(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);

	(void)answer(d, holdfast_map_insert(map_of(d, v), &args), res);
}

static void
do_fixed(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);

	(void)answer(d, holdfast_map_fixed(map_of(d, v), &args), res);
}

/* What a search returned, and the address where it succeeded. */
static void
answer_addr(struct daemon *d, int rv, const uint64_t *addr,
    struct hf_result *res)
{
	if (answer(d, rv, res))
		hf_result_out(res, "addr", HF_O_ADDR, *addr);
}

static void
do_find(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);
	uint64_t addr;
	int rv = holdfast_map_find(map_of(d, v), &args, &addr);

	answer_addr(d, rv, &addr, res);
}

static void
do_find_min(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);
	uint64_t addr;
	int rv = holdfast_map_find_min(map_of(d, v), &args, v[HF_F_DEF], &addr);

	answer_addr(d, rv, &addr, res);
}

static void
do_findspace(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	uint64_t addr;
	int rv =
	    holdfast_map_findspace(map_of(d, v), v[HF_F_A], v[HF_F_LEN], &addr);

	answer_addr(d, rv, &addr, res);
}

static void
do_remove(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_delete(map_of(d, v), v[HF_F_A], v[HF_F_END]), res);
}

/* ---- Changing -------------------------------------------------------------
 */

static void
do_protect(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_protect(map_of(d, v), v[HF_F_A], v[HF_F_END],
		(vm_prot_t)v[HF_F_PROT], (vm_prot_t)v[HF_F_MAX],
		(uint32_t)v[HF_F_SET]),
	    res);
}

static void
do_inherit(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_inherit(map_of(d, v), v[HF_F_A], v[HF_F_END],
		(uint32_t)(vm_inherit_t)v[HF_F_INH]),
	    res);
}

static void
do_madvise(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_madvise(map_of(d, v), v[HF_F_A], v[HF_F_END],
		word(v[HF_F_ADVICE])),
	    res);
}

/* The library wires for the user unless it is told otherwise. */
static uint32_t
wire_flags(uint64_t flags)
{
	if (flags > 7)
		return HF_WIRE_SYSTEM << 1; /* for the daemon to refuse */
	return (flags & VM_MAP_WIRE_USER) != 0
		   ? (uint32_t)flags
		   : (uint32_t)flags | HF_WIRE_SYSTEM;
}

static void
do_wire(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_wire(map_of(d, v), v[HF_F_A], v[HF_F_END],
		wire_flags(v[HF_F_FLAGS])),
	    res);
}

static void
do_unwire(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_unwire(map_of(d, v), v[HF_F_A], v[HF_F_END],
		wire_flags(v[HF_F_FLAGS])),
	    res);
}

static void
do_sync(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	uint32_t flags = (v[HF_F_SET] != 0 ? HF_SYNC_IO : 0) |
			 (v[HF_F_CLEAR] != 0 ? HF_SYNC_INVALIDATE : 0);

	(void)answer(d,
	    holdfast_map_sync(map_of(d, v), v[HF_F_A], v[HF_F_END], flags),
	    res);
}

static void
do_stack(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);

	(void)answer(d, holdfast_map_stack(map_of(d, v), &args), res);
}

static void
do_growstack(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d, holdfast_map_growstack(map_of(d, v), v[HF_F_A]), res);
}

static void
do_submap(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_submap(map_of(d, v), v[HF_F_A], v[HF_F_END],
		d->maps[v[HF_F_MAP2]]),
	    res);
}

/* The child of a map that nobody mirrors is only arithmetic, as the core's. */
static void
do_fork(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_options options = {.no_mirror = true};

	(void)answer(d,
	    holdfast_map_fork(map_of(d, v), &options, &d->maps[v[HF_F_MAP2]]),
	    res);
}

static void
do_flags(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_modflags(map_of(d, v), word(v[HF_F_SET]),
		word(v[HF_F_CLEAR])),
	    res);
}

static void
do_limit(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	uint64_t value = v[HF_F_VALUE];
	struct holdfast_map_limits limits = {.vmem = value,
	    .stack = value,
	    .memlock = value,
	    .swap = value,
	    .nentries = value,
	    .overcommit = word(value),
	    .cluster_anon = word(value),
	    .stack_guard = value};

	(void)answer(d,
	    holdfast_map_limits(map_of(d, v), 1u << MIN(v[HF_F_KIND], 7),
		&limits),
	    res);
}

/* ---- Questions ------------------------------------------------------------
 */

static void
out_entry(struct hf_result *res, const struct holdfast_entry *entry)
{
	hf_result_out(res, "start", HF_O_ADDR, entry->start);
	hf_result_out(res, "end", HF_O_ADDR, entry->end);
	hf_result_out(res, "prot", HF_O_PROT, entry->prot);
	hf_result_out(res, "max", HF_O_PROT, entry->max_prot);
	hf_result_out(res, "object", HF_O_OBJECT, entry->object);
	hf_result_out(res, "offset", HF_O_ADDR,
	    entry->object != 0 ? entry->offset : 0);
}

static void
do_lookup(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_entry entry;
	uint64_t pindex;

	if (!answer(d,
		holdfast_map_lookup(map_of(d, v), v[HF_F_A],
		    (vm_prot_t)v[HF_F_TYPE], &entry, &pindex),
		res))
		return;
	out_entry(res, &entry);
	hf_result_out(res, "pindex", HF_O_NUM, pindex);
}

static void
do_entry(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_entry entry;
	bool found;

	if (!answer(d,
		holdfast_map_lookup_entry(map_of(d, v), v[HF_F_A], &found,
		    &entry),
		res))
		return;
	if (found)
		out_entry(res, &entry);
	else
		hf_result_set(res, KERN_INVALID_ADDRESS);
}

static void
do_entries(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	fetch_entries(d, (unsigned)v[HF_F_MAP]);
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "nentries", HF_O_NUM, d->nentries);
}

static void
do_stat(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_stat stat;

	if (!answer(d, holdfast_map_stat(map_of(d, v), &stat), res))
		return;
	hf_result_out(res, "size", HF_O_ADDR, stat.size);
	hf_result_out(res, "nentries", HF_O_NUM, stat.nentries);
}

static void
do_check_protection(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	bool is;

	if (answer(d,
		holdfast_map_check_protection(map_of(d, v), v[HF_F_A],
		    v[HF_F_END], (vm_prot_t)v[HF_F_PROT], &is),
		res))
		hf_result_out(res, "result", HF_O_BOOL, is);
}

static void
do_check_boundary(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	bool is;

	if (answer(d,
		holdfast_map_check_boundary(map_of(d, v), v[HF_F_A],
		    v[HF_F_END], &is),
		res))
		hf_result_out(res, "result", HF_O_BOOL, is);
}

static void
do_find_aligned(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	uint64_t addr = v[HF_F_A], align = v[HF_F_ALIGN];
	int rv;

	if (align == 0)
		align = d->machine->page_size;
	rv = holdfast_map_find_aligned(map_of(d, v), addr, v[HF_F_LEN],
	    v[HF_F_LIM], align, &addr);
	answer_addr(d, rv, &addr, res);
}

static void
do_simplify(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d, holdfast_map_simplify(map_of(d, v), v[HF_F_A]), res);
}

static void
do_check(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d, holdfast_map_check(map_of(d, v)), res);
}

/* ---- The table ------------------------------------------------------------
 */

static handler *const handlers[HF_NOPS] = {
    [HF_WORLD] = do_world,
    [HF_MAP] = do_map,
    [HF_DESTROY] = do_destroy,
    [HF_OBJECT] = do_object,
    [HF_DEREF] = do_deref,
    [HF_INSERT] = do_insert,
    [HF_FIND] = do_find,
    [HF_FIND_MIN] = do_find_min,
    [HF_FIXED] = do_fixed,
    [HF_FINDSPACE] = do_findspace,
    [HF_DELETE] = do_remove,
    [HF_REMOVE] = do_remove,
    [HF_LOOKUP] = do_lookup,
    [HF_ENTRY] = do_entry,
    [HF_ENTRIES] = do_entries,
    [HF_CHECK] = do_check,
    [HF_STAT] = do_stat,
    [HF_PROTECT] = do_protect,
    [HF_INHERIT] = do_inherit,
    [HF_MADVISE] = do_madvise,
    [HF_WIRE] = do_wire,
    [HF_UNWIRE] = do_unwire,
    [HF_SYNC] = do_sync,
    [HF_STACK] = do_stack,
    [HF_GROWSTACK] = do_growstack,
    [HF_CHECK_PROTECTION] = do_check_protection,
    [HF_SUBMAP] = do_submap,
    [HF_FORK] = do_fork,
    [HF_LIMIT] = do_limit,
    [HF_FLAGS] = do_flags,
    [HF_CONTIG] = do_contig,
    [HF_CONTIGFREE] = do_contigfree,
    [HF_PHYS] = do_phys,
    [HF_FIND_ALIGNED] = do_find_aligned,
    [HF_CHECK_BOUNDARY] = do_check_boundary,
    [HF_SIMPLIFY] = do_simplify,
};

/* Questions leave the cached entries as they are. */
static bool
is_question(uint8_t op)
{
	return op == HF_ENTRY || op == HF_ENTRIES || op == HF_STAT ||
	       op == HF_CHECK_PROTECTION || op == HF_CHECK ||
	       op == HF_CHECK_BOUNDARY || op == HF_FIND_ALIGNED;
}

static void
daemon_call(struct hf_backend *base, const struct hf_call *call,
    struct hf_result *res)
{
	struct daemon *d = daemon_of(base);

	if (d->trouble != 0 || handlers[call->op] == NULL) {
		hf_result_set(res,
		    d->trouble != 0 ? KERN_FAILURE : HF_S_UNSUPPORTED);
		return;
	}
	if (!is_question(call->op))
		forget_entries(d);
	handlers[call->op](d, call->v, res);
}

static size_t
daemon_nentries(struct hf_backend *base, unsigned map)
{
	struct daemon *d = daemon_of(base);

	fetch_entries(d, map);
	return d->nentries;
}

static size_t
daemon_entries(struct hf_backend *base, unsigned map, size_t k,
    struct hf_entry *entries, size_t max)
{
	struct daemon *d = daemon_of(base);
	size_t n = 0;

	fetch_entries(d, map);
	for (; n < max && k < d->nentries; k++, n++) {
		const struct holdfast_entry *e = &d->entries[k];

		entries[n] = (struct hf_entry){.start = e->start,
		    .end = e->end,
		    .object = e->object,
		    .offset = e->offset,
		    .eflags = e->eflags,
		    .prot = (uint8_t)e->prot,
		    .max = (uint8_t)e->max_prot,
		    .inherit = (uint8_t)e->inheritance,
		    .wired = (int)e->wired_count};
	}
	return n;
}

static size_t
daemon_runs(struct hf_backend *base, size_t k, struct hf_run *runs, size_t max)
{
	struct daemon *d = daemon_of(base);
	struct holdfast_run *segs = NULL, *frees = NULL;
	size_t nsegs, nfrees = 0, n = 0;
	struct hf_result res;

	if (answer(d, holdfast_pool_runs(d->h, &segs, &nsegs, &frees, &nfrees),
		&res))
		for (; n < max && k < nfrees; k++, n++)
			runs[n] = (struct hf_run){frees[k].start, frees[k].end,
			    frees[k].domain};
	free(segs);
	free(frees);
	return n;
}

static void
daemon_free(struct hf_backend *base)
{
	struct daemon *d = daemon_of(base);

	if (d->trouble == 0)
		clear(d);
	holdfast_close(d->h);
	free(d->entries);
	free(d);
}

static const struct hf_backend_ops daemon_ops = {.name = "daemon",
    .call = daemon_call,
    .entries = daemon_entries,
    .nentries = daemon_nentries,
    .runs = daemon_runs,
    .free = daemon_free};

struct hf_backend *
daemon_backend_new(const char *socket_path)
{
	char error[256] = "";
	struct holdfast_options options = {.socket_path = socket_path,
	    .name = "vmsh",
	    .error = error,
	    .error_size = sizeof(error)};
	struct daemon *d = calloc(1, sizeof(*d));
	int rv;

	if (d == NULL) {
		perror("vmsh");
		return NULL;
	}
	d->base.ops = &daemon_ops;
	d->entries_map = HF_MAPS;
	d->machine = arch_machine_host();
	rv = holdfast_connect(&options, &d->h);
	if (rv != 0) {
		fprintf(stderr, "vmsh: %s: %s%s%s\n", socket_path,
		    holdfast_status_name(rv), error[0] != '\0' ? ": " : "",
		    error);
		free(d);
		return NULL;
	}
	return &d->base;
}

int
daemon_backend_trouble(const struct hf_backend *backend)
{
	return ((const struct daemon *)backend)->trouble;
}
