/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * libholdfast against a daemon that lies: every call ends with an error code
 * or keeps its promise, whatever came back, and leaves no descriptor behind.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/holdfast.h"
#include "fuzz/system/liar.h"

#define RECORDS_MAX 128
#define BUFS        8
#define MAPS        3

enum action {
	A_ALLOC, /* half of what the generator does */
	A_PING,
	A_FREE,
	A_CREATE,
	A_ATTACH,
	A_DETACH,
	A_FIND,
	A_INSERT,
	A_DELETE,
	A_PROTECT,
	A_LOOKUP,
	A_ENTRIES,
	A_REFRESH,
	A_WATCH,
	A_DISPATCH,
	A_STATUS,
	A_TENANT,
	A_RUNS,
	A_TYPES,
	A_LIST,
	A_BATCH,
	A_STACK,
	A_GROW,
	A_VTOPHYS,
	A_OBJECT,
	A_DROP,
	A_CONNECT,
	A_INHERIT,
	A_WIRE,
	NACTIONS
};

static const char *const names[] = {"alloc", "ping", "free", "create", "attach",
    "detach", "find", "insert", "delete", "protect", "lookup", "entries",
    "refresh", "watch", "dispatch", "status", "tenant", "runs", "types", "list",
    "batch", "stack", "grow", "vtophys", "object", "drop", "connect", "inherit",
    "wire"};

enum seen { SEEN_BROKEN, SEEN_MIRROR, SEEN_BUFFER, SEEN_LIED_TO, SEEN_REFUSED };
static const char *const sometimes[] = {"broken-connection", "mirror", "buffer",
    "lied-to", "refused", NULL};

struct victim {
	struct fuzz_report *rep;
	struct liar liar;
	struct holdfast *h; /* NULL: not connected */
	struct holdfast_buf *bufs[BUFS];
	unsigned nbufs;
	struct holdfast_map *maps[MAPS];
	unsigned nmaps;
	bool broken;
};

static void
let_go(struct victim *v)
{
	holdfast_close(v->h);
	v->h = NULL;
	v->nbufs = v->nmaps = 0;
	v->broken = false;
	sys_env.client_fd = -1;
}

static void
join(struct victim *v)
{
	struct holdfast_options options = {.socket_path = "/liar",
	    .name = "victim",
	    .timeout_ms = 1000};
	int r;

	let_go(v);
	if (!liar_listen(&v->liar))
		return;
	r = holdfast_connect(&options, &v->h);
	v->rep->nchecks++; /* sessions */
	if (r != HF_OK)
		v->h = NULL;
	if (r != HF_OK && !v->liar.lied)
		(void)fuzz_found(v->rep, "honest", "connect", "%s",
		    holdfast_status_name(r));
	fuzz_hash(v->rep, (uint64_t)(unsigned)r);
}

/* ---- Promises -------------------------------------------------------------
 */

static void
check_buffer(struct victim *v, const struct holdfast_contig_req *req,
    const struct holdfast_buf *b)
{
	uint64_t last = b->pa + b->size - 1;

	if (b->size < req->size || b->size % SYS_PAGE != 0 ||
	    (b->addr == NULL) != req->no_map || (b->fd < 0 && !req->no_map) ||
	    b->fd_offset > b->span_size ||
	    b->size > b->span_size - b->fd_offset)
		(void)fuzz_found(v->rep, "promise", "contig",
		    "%#llx bytes for %#llx", (unsigned long long)b->size,
		    (unsigned long long)req->size);
	if (!b->pa_known)
		return;
	if (b->pa < req->low || (req->high != 0 && last >= req->high) ||
	    (req->alignment != 0 && b->pa % req->alignment != 0) ||
	    (req->boundary != 0 && ((b->pa ^ last) & -req->boundary) != 0))
		(void)fuzz_found(v->rep, "promise", "contig",
		    "%#llx breaks what was asked", (unsigned long long)b->pa);
}

/* Nobody else of the process was given these bytes. */
static void
check_alone(struct victim *v, const struct holdfast_buf *b)
{
	for (unsigned i = 0; i < v->nbufs && b->fd >= 0; i++) {
		const struct holdfast_buf *other = v->bufs[i];

		if (other->fd == b->fd &&
		    other->fd_offset < b->fd_offset + b->size &&
		    b->fd_offset < other->fd_offset + other->size)
			(void)fuzz_found(v->rep, "promise", "contig",
			    "bytes %#llx of a span are in two buffers",
			    (unsigned long long)b->fd_offset);
	}
}

static void
check_within(struct victim *v, const struct holdfast_map *map, uint64_t start,
    uint64_t end)
{
	if (start < holdfast_map_min(map) || end > holdfast_map_max(map) ||
	    start >= end || start % SYS_PAGE != 0)
		(void)fuzz_found(v->rep, "promise", "map",
		    "%#llx..%#llx is not in the map", (unsigned long long)start,
		    (unsigned long long)end);
}

/* ---- Calls ----------------------------------------------------------------
 */

/* The smallest boundary that a buffer of so many bytes can keep to. */
static uint64_t
boundary_for(uint64_t size)
{
	uint64_t boundary = SYS_PAGE;

	while (boundary < size)
		boundary <<= 1;
	return boundary;
}

/* An end of the memory that is asked for: its whole, or somewhere in it. */
static uint64_t
high_for(uint64_t size, uint8_t b)
{
	return SYS_POOL +
	       (b < 0x40 ? LIAR_SPAN : SYS_PAGE * (b & 0x3f) + 2 * size);
}

static int
do_alloc(struct victim *v, const struct sys_record *rec)
{
	const uint8_t *o = rec->operand;
	uint64_t size = SYS_PAGE * (1u + rec->what % 24) - (rec->what & 1);
	struct holdfast_contig_req req = {
	    .size = size,
	    .low = (o[5] & 1) != 0 ? SYS_POOL : 0,
	    .high = (o[5] & 2) != 0 ? high_for(size, o[8]) : 0,
	    .alignment = o[6] == 0 ? 0 : UINT64_C(1) << (o[6] % 22),
	    .boundary = o[7] == 0 ? 0 : boundary_for(size) << (o[7] & 3),
	    .no_map = (o[5] & 4) != 0,
	    .domain_set = (o[5] & 8) != 0,
	};
	struct holdfast_buf *buf = NULL;
	int r = holdfast_contigmalloc(v->h, &req, &buf);

	if (r != HF_OK)
		return r;
	v->rep->seen |= 1u << SEEN_BUFFER;
	check_buffer(v, &req, buf);
	check_alone(v, buf);
	if (v->nbufs < BUFS)
		v->bufs[v->nbufs++] = buf;
	return r;
}

static int
do_free(struct victim *v, unsigned n)
{
	struct holdfast_buf *buf;

	if (v->nbufs == 0)
		return HF_OK;
	n %= v->nbufs;
	buf = v->bufs[n];
	v->bufs[n] = v->bufs[--v->nbufs];
	return holdfast_contigfree(v->h, buf);
}

static int
do_vtophys(struct victim *v, unsigned n)
{
	const struct holdfast_buf *b;
	uint64_t pa = 0;
	int r;

	if (v->nbufs == 0 || v->bufs[n % v->nbufs]->addr == NULL)
		return HF_OK;
	b = v->bufs[n % v->nbufs];
	r = holdfast_vtophys(v->h, (char *)b->addr + 8, &pa);
	if (r == HF_OK && pa != b->pa + 8)
		(void)fuzz_found(v->rep, "promise", "vtophys",
		    "%#llx, not %#llx", (unsigned long long)pa,
		    (unsigned long long)b->pa + 8);
	return r;
}

static int
do_map(struct victim *v, const struct sys_record *rec, bool create)
{
	struct holdfast_map_options options = {
	    .name = "m",
	    .no_mirror = (rec->what & 1) != 0,
	};
	int r;

	if (v->nmaps == MAPS)
		return HF_OK;
	r = create ? holdfast_map_create(v->h, &options, &v->maps[v->nmaps])
		   : holdfast_map_attach(v->h, &options, &v->maps[v->nmaps]);
	if (r != HF_OK)
		return r;
	if (!options.no_mirror)
		v->rep->seen |= 1u << SEEN_MIRROR;
	v->nmaps++;
	return r;
}

static int
do_detach(struct victim *v, const struct sys_record *rec)
{
	unsigned n = rec->operand[5] % v->nmaps;
	struct holdfast_map *map = v->maps[n];

	v->maps[n] = v->maps[--v->nmaps];
	return (rec->what & 1) != 0 ? holdfast_map_detach(map)
				    : holdfast_map_destroy(map);
}

static int
do_find(struct victim *v, struct holdfast_map *map,
    const struct holdfast_map_args *args)
{
	uint64_t addr = 0;
	int r = holdfast_map_find(map, args, &addr);

	if (r == HF_OK)
		check_within(v, map, addr, addr + args->length);
	return r;
}

static int
do_batch(struct victim *v, struct holdfast_map *map,
    const struct holdfast_map_args *args, unsigned n)
{
	struct holdfast_map_args many[8];
	uint64_t addr[8] = {0};
	int rv[8] = {0}, r;

	n = 1 + n % 8;
	for (unsigned i = 0; i < n; i++)
		many[i] = *args;
	r = holdfast_map_find_batch(map, many, n, rv, addr);
	for (unsigned i = 0; r == HF_OK && i < n; i++)
		if (rv[i] == HF_OK)
			check_within(v, map, addr[i], addr[i] + args->length);
	return r;
}

static int
do_lookup(struct victim *v, struct holdfast_map *map, uint64_t addr)
{
	struct holdfast_entry e;
	uint64_t pindex;
	int r = holdfast_map_lookup(map, addr, HF_PROT_READ, &e, &pindex);

	if (r == HF_OK && (addr < e.start || addr >= e.end))
		(void)fuzz_found(v->rep, "promise", "lookup",
		    "%#llx is not in %#llx..%#llx", (unsigned long long)addr,
		    (unsigned long long)e.start, (unsigned long long)e.end);
	return r;
}

static int
do_entries(struct victim *v, struct holdfast_map *map)
{
	struct holdfast_entry *entries = NULL;
	size_t n = 0;
	int r = holdfast_map_entries(map, &entries, &n);

	for (size_t i = 0; r == HF_OK && i < n; i++) {
		check_within(v, map, entries[i].start, entries[i].end);
		if (i > 0 && entries[i].start < entries[i - 1].end)
			(void)fuzz_found(v->rep, "promise", "entries",
			    "entry %zu is behind the next", i - 1);
	}
	free(entries);
	return r;
}

static int
on_map(struct victim *v, const struct sys_record *rec, enum action action)
{
	struct holdfast_map *map = v->maps[rec->operand[5] % v->nmaps];
	uint64_t start = LIAR_MIN + SYS_PAGE * (rec->what & 0x3f);
	uint64_t end = start + SYS_PAGE * (1u + (rec->operand[6] & 0x0f));
	struct holdfast_map_args args = {.addr = start,
	    .length = end - start,
	    .find_space = HF_VMFS_ANY_SPACE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW};

	switch (action) {
	case A_DETACH:
		return do_detach(v, rec);
	case A_FIND:
		return do_find(v, map, &args);
	case A_BATCH:
		return do_batch(v, map, &args, rec->operand[7]);
	case A_INSERT:
		return holdfast_map_insert(map, &args);
	case A_DELETE:
		return holdfast_map_delete(map, start, end);
	case A_PROTECT:
		return holdfast_map_protect(map, start, end, HF_PROT_READ, 0,
		    HF_PROTECT_SET_PROT);
	case A_INHERIT:
		return holdfast_map_inherit(map, start, end, HF_INHERIT_SHARE);
	case A_WIRE:
		return (rec->operand[7] & 1) == 0
			   ? holdfast_map_wire(map, start, end, HF_WIRE_NOHOLES)
			   : holdfast_map_unwire(map, start, end,
				 HF_WIRE_HOLESOK);
	case A_LOOKUP:
		return do_lookup(v, map, start);
	case A_ENTRIES:
		return do_entries(v, map);
	case A_REFRESH:
		return holdfast_map_refresh(map);
	case A_WATCH:
		return holdfast_map_watch(map);
	case A_STACK:
		return holdfast_map_stack(map, &args);
	default:
		return holdfast_map_growstack(map, start);
	}
}

static int
do_lists(struct victim *v, enum action action)
{
	struct holdfast_pool_status pool;
	struct holdfast_tenant_status tenant;
	struct holdfast_run *segs = NULL, *runs = NULL;
	struct holdfast_type_stat *types = NULL;
	struct holdfast_map_item *maps = NULL;
	size_t n = 0, m = 0;
	int r;

	switch (action) {
	case A_STATUS:
		return holdfast_pool_status(v->h, &pool);
	case A_TENANT:
		return holdfast_tenant_status(v->h, &tenant);
	case A_RUNS:
		r = holdfast_pool_runs(v->h, &segs, &n, &runs, &m);
		break;
	case A_TYPES:
		r = holdfast_type_stats(v->h, &types, &n);
		break;
	default:
		r = holdfast_map_list(v->h, &maps, &n);
		break;
	}
	if (r == HF_OK) {
		free(segs);
		free(runs);
		free(types);
		free(maps);
	}
	return r;
}

static int
do_call(struct victim *v, const struct sys_record *rec, enum action action)
{
	uint64_t object;

	switch (action) {
	case A_PING:
		return holdfast_ping(v->h);
	case A_ALLOC:
		return do_alloc(v, rec);
	case A_FREE:
		return do_free(v, rec->what);
	case A_VTOPHYS:
		return do_vtophys(v, rec->what);
	case A_CREATE:
		return do_map(v, rec, true);
	case A_ATTACH:
		return do_map(v, rec, false);
	case A_DISPATCH:
		return holdfast_dispatch(v->h);
	case A_OBJECT:
		return holdfast_object_create(v->h, HF_OBJECT_BASE,
		    SYS_PAGE * (1u + rec->what), &object);
	case A_DROP:
		return holdfast_object_destroy(v->h, rec->what);
	case A_STATUS:
	case A_TENANT:
	case A_RUNS:
	case A_TYPES:
	case A_LIST:
		return do_lists(v, action);
	default:
		return v->nmaps > 0 ? on_map(v, rec, action) : HF_OK;
	}
}

static void
judge(struct victim *v, enum action action, int r)
{
	uint64_t *seen = &v->rep->seen;

	fuzz_hash(v->rep, (uint64_t)action << 32 | (unsigned)r);
	if (sys_is_traced())
		fprintf(stderr, "  %s (%s)\n", holdfast_status_name(r),
		    v->h == NULL ? "" : holdfast_error(v->h));
	if (strcmp(holdfast_status_name(r), "unknown") == 0)
		(void)fuzz_found(v->rep, "code", names[action],
		    "%d means nothing", r);
	if (v->liar.lied)
		*seen |= 1u << SEEN_LIED_TO;
	if (r > 0)
		*seen |= 1u << SEEN_REFUSED;
	if (r == -EPROTO || r == -EPIPE || r == -ETIMEDOUT) {
		*seen |= 1u << SEEN_BROKEN;
		v->broken = true;
	}
	if (r == HF_OK && v->broken && action == A_PING)
		(void)fuzz_found(v->rep, "promise", "ping",
		    "a connection that was over serves again");
	if (r < 0 && !v->liar.lied && r != -ENOMEM && r != -EINVAL &&
	    r != -EEXIST && r != -ERANGE)
		(void)fuzz_found(v->rep, "honest", names[action], "%s: %s",
		    holdfast_status_name(r), holdfast_error(v->h));
}

static void
act(struct victim *v, const struct sys_record *rec)
{
	enum action action = (enum action)(rec->action % NACTIONS);

	v->rep->nops++;
	if (sys_is_traced())
		fprintf(stderr, "%s %u lie %u\n", names[action], rec->what,
		    rec->who >> 3);
	liar_told(&v->liar, rec);
	if (action == A_CONNECT || v->h == NULL)
		join(v);
	if (v->h == NULL || action == A_CONNECT)
		return;
	judge(v, action, do_call(v, rec, action));
}

static void
run_hostile(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct victim v;
	unsigned nfds = sys_nfds(), n = 0;
	struct sys_record rec;
	size_t off = 0;

	memset(rep, 0, sizeof(*rep));
	memset(&v, 0, sizeof(v));
	v.rep = rep;
	sys_env_begin();
	if (liar_init(&v.liar))
		while (!rep->found && n++ < RECORDS_MAX &&
		       sys_next(data, size, &off, &rec))
			act(&v, &rec);
	let_go(&v);
	liar_fini(&v.liar);
	sys_env_end();
	if (sys_nfds() != nfds)
		(void)fuzz_found(rep, "leak", "fds", "%u descriptors, not %u",
		    sys_nfds(), nfds);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_hostile",
    .ops = (UINT64_C(1) << NACTIONS) - 1,
    .run = run_hostile,
    .sometimes = sometimes};
