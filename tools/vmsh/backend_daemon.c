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
	    .find_space = (uint32_t)v[HF_F_SPACE],
	    .prot = (uint32_t)v[HF_F_PROT],
	    .max_prot = (uint32_t)v[HF_F_MAX],
	    .cow = (uint32_t)v[HF_F_COW]};
}

static void
do_insert(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);

	(void)answer(d, holdfast_map_insert(map_of(d, v), &args), res);
}

static void
do_find(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	struct holdfast_map_args args = map_args(d, v);
	uint64_t addr;

	if (answer(d, holdfast_map_find(map_of(d, v), &args, &addr), res))
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

static void
do_findspace(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	uint64_t addr;

	if (answer(d,
		holdfast_map_findspace(map_of(d, v), v[HF_F_A], v[HF_F_LEN],
		    &addr),
		res))
		hf_result_out(res, "addr", HF_O_ADDR, addr);
}

static void
do_remove(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	(void)answer(d,
	    holdfast_map_delete(map_of(d, v), v[HF_F_A], v[HF_F_END]), res);
}

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
		    (uint32_t)v[HF_F_TYPE], &entry, &pindex),
		res))
		return;
	out_entry(res, &entry);
	hf_result_out(res, "pindex", HF_O_NUM, pindex);
}

static void
do_entry(struct daemon *d, const uint64_t *v, struct hf_result *res)
{
	fetch_entries(d, (unsigned)v[HF_F_MAP]);
	hf_result_set(res, KERN_INVALID_ADDRESS);
	for (size_t i = 0; i < d->nentries; i++)
		if (d->entries[i].start <= v[HF_F_A] &&
		    v[HF_F_A] < d->entries[i].end) {
			hf_result_set(res, KERN_SUCCESS);
			out_entry(res, &d->entries[i]);
		}
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
	uint64_t size = 0;

	fetch_entries(d, (unsigned)v[HF_F_MAP]);
	for (size_t i = 0; i < d->nentries; i++)
		if ((d->entries[i].eflags & MAP_ENTRY_GUARD) == 0)
			size += d->entries[i].end - d->entries[i].start;
	hf_result_set(res, KERN_SUCCESS);
	hf_result_out(res, "size", HF_O_ADDR, size);
	hf_result_out(res, "nentries", HF_O_NUM, d->nentries);
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
    [HF_FINDSPACE] = do_findspace,
    [HF_DELETE] = do_remove,
    [HF_REMOVE] = do_remove,
    [HF_LOOKUP] = do_lookup,
    [HF_ENTRY] = do_entry,
    [HF_ENTRIES] = do_entries,
    [HF_CHECK] = do_check,
    [HF_STAT] = do_stat,
    [HF_CONTIG] = do_contig,
    [HF_CONTIGFREE] = do_contigfree,
    [HF_PHYS] = do_phys,
};

/* Questions leave the cached entries as they are. */
static bool
is_question(uint8_t op)
{
	return op == HF_ENTRY || op == HF_ENTRIES || op == HF_STAT;
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
