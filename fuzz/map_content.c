/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/map_content.h"

#include "core/vm_fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct cell {
	struct cell *base; /* shown until there is something here */
	uint64_t value;
	bool own;        /* `value` is what it shows */
	bool maybe_zero; /* or zeroes: free advice, or a read made the page */
	bool any;        /* not known: the first read tells */
};

/* A page of an object of the program. */
struct object_page {
	vm_pindex_t pindex;
	struct cell *cell;
	struct object_page *next;
};

struct content {
	struct map_mirror *m;
	bool off; /* a map is too large to follow: what it writes is unknown */
	struct cell **maps[HF_MAPS]; /* [page] */
	size_t npages[HF_MAPS];
	struct object_page *objs[HF_OBJS];
	bool needs_copy[CONTENT_PAGES]; /* before a protect, and wired */
};

static void *
zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		abort();
	return p;
}

/* Cells live as long as the program; their memory serves the next one. */
#define CHUNK 1024
static struct {
	struct cell **chunk;
	size_t nchunks, used;
} pool;

static void
pool_grow(void)
{
	pool.chunk =
	    realloc(pool.chunk, (pool.nchunks + 1) * sizeof(struct cell *));
	if (pool.chunk == NULL)
		abort();
	pool.chunk[pool.nchunks++] = zeroed(CHUNK, sizeof(struct cell));
}

/* As many as most programs need, so that the first run is like the others. */
static __attribute__((constructor)) void
pool_begin(void)
{
	while (pool.nchunks < 16)
		pool_grow();
}

static struct cell *
cell_new(struct cell *base)
{
	struct cell *cell;

	if (pool.used == pool.nchunks * CHUNK)
		pool_grow();
	cell = &pool.chunk[pool.used / CHUNK][pool.used % CHUNK];
	pool.used++;
	*cell = (struct cell){.base = base};
	return cell;
}

/* May a reader of the cell see this?  A cell behind nothing shows zeroes. */
static bool
cell_may_show(const struct cell *cell, uint64_t value)
{
	for (; cell != NULL; cell = cell->base) {
		if (cell->any || (cell->maybe_zero && value == 0))
			return true;
		if (cell->own && value == cell->value)
			return true;
		if (cell->own)
			return false;
	}
	return value == 0;
}

/* What it shows, where there is no doubt. */
static bool
cell_value(const struct cell *cell, uint64_t *vp)
{
	for (; cell != NULL; cell = cell->base) {
		if (cell->any || cell->maybe_zero)
			return false;
		if (cell->own) {
			*vp = cell->value;
			return true;
		}
	}
	*vp = 0;
	return true;
}

static void
cell_set(struct cell *cell, uint64_t value)
{
	cell->own = true;
	cell->value = value;
	cell->any = cell->maybe_zero = false;
}

/* A copy of what the cell shows now, whatever is written to it later. */
static struct cell *
cell_snapshot(struct cell *of)
{
	struct cell *cell = cell_new(NULL);
	uint64_t value;

	if (cell_value(of, &value))
		cell_set(cell, value);
	else
		cell->any = true;
	return cell;
}

/* ---- Pages ----------------------------------------------------------------
 */

static struct cell **
page_at(struct content *c, uint64_t slot, vm_offset_t addr)
{
	struct model_map *map = c->m->maps[slot];
	vm_offset_t min = vm_map_min(c->m->core->maps[slot]);
	size_t i = (addr - min) / c->m->core->arch->machine->page_size;

	if (map == NULL || c->maps[slot] == NULL || addr < min ||
	    i >= c->npages[slot])
		return NULL;
	return &c->maps[slot][i];
}

static struct cell **
object_page(struct content *c, uint64_t slot, vm_pindex_t pindex)
{
	struct object_page *page = c->objs[slot];

	while (page != NULL && page->pindex != pindex)
		page = page->next;
	if (page == NULL) {
		page = zeroed(1, sizeof(*page));
		page->pindex = pindex;
		page->cell = cell_new(NULL);
		page->next = c->objs[slot];
		c->objs[slot] = page;
	}
	return &page->cell;
}

static void
forget_object(struct content *c, uint64_t slot)
{
	struct object_page *page = c->objs[slot], *next;

	for (; page != NULL; page = next) {
		next = page->next;
		free(page);
	}
	c->objs[slot] = NULL;
}

static const struct model_entry *
entry_at(struct content *c, uint64_t slot, vm_offset_t addr)
{
	size_t i;

	return model_map_lookup_entry(c->m->maps[slot], addr, &i)
		   ? model_map_entry(c->m->maps[slot], i)
		   : NULL;
}

/*
 * Fresh pages at `addr`.  Where an object of the program has grown to hold
 * them, whoever maps the object later sees the same ones.
 */
static void
fill_page(struct content *c, const uint64_t *v, vm_offset_t addr,
    vm_ooffset_t offset)
{
	vm_size_t size = c->m->core->arch->machine->page_size;
	uint64_t slot = v[HF_F_MAP], obj = v[HF_F_OBJ];
	struct cell **page = page_at(c, slot, addr), *cell;
	const struct model_entry *e;

	if (page == NULL)
		return;
	if (obj != 0) {
		cell = *object_page(c, obj, offset / size);
		*page = (v[HF_F_COW] & MAP_COPY_ON_WRITE) != 0 ? cell_new(cell)
							       : cell;
		return;
	}
	*page = cell = cell_new(NULL);
	e = entry_at(c, slot, addr);
	for (unsigned k = 1; e != NULL && k < HF_OBJS; k++)
		if (e->object != NULL && e->object == c->m->objs[k])
			*object_page(c, k,
			    (e->offset + (addr - e->start)) / size) = cell;
}

static void
fill(struct content *c, const uint64_t *v, vm_offset_t start, vm_size_t length)
{
	vm_size_t page = c->m->core->arch->machine->page_size;

	if (c->maps[v[HF_F_MAP]] == NULL)
		return;
	for (vm_size_t at = 0; at < length; at += page)
		fill_page(c, v, start + at, v[HF_F_OFF] + at);
}

/* Give each page of a range to `change`, with the model's entry there. */
typedef void changer(struct content *c, struct cell **page,
    const struct model_entry *e, size_t i);

static void
change(struct content *c, const uint64_t *v, vm_offset_t start, vm_offset_t end,
    changer *how)
{
	vm_size_t size = c->m->core->arch->machine->page_size;
	vm_map_t map = c->m->core->maps[v[HF_F_MAP]];
	struct cell **page;

	start = MAX(rounddown2(start, size), vm_map_min(map));
	end = MIN(end, vm_map_max(map));
	for (; start < end; start += size) {
		page = page_at(c, v[HF_F_MAP], start);
		if (page == NULL)
			return;
		if (*page != NULL)
			how(c, page, entry_at(c, v[HF_F_MAP], start),
			    (size_t)(page - c->maps[v[HF_F_MAP]]));
	}
}

static void
clear_page(struct content *c, struct cell **page, const struct model_entry *e,
    size_t i)
{
	(void)c;
	(void)i;
	if (e == NULL)
		*page = NULL;
}

/* After free advice there is what was there, or nothing. */
static void
free_page(struct content *c, struct cell **page, const struct model_entry *e,
    size_t i)
{
	(void)c;
	(void)i;
	(void)e;
	(*page)->maybe_zero = true;
}

static void
note_needs_copy(struct content *c, struct cell **page,
    const struct model_entry *e, size_t i)
{
	(void)page;
	c->needs_copy[i] = e != NULL && e->wired != 0 &&
			   (e->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

/* Wired memory that becomes writable is copied at once. */
static void
copy_wired(struct content *c, struct cell **page, const struct model_entry *e,
    size_t i)
{
	if (c->needs_copy[i] && e != NULL &&
	    (e->eflags & MAP_ENTRY_NEEDS_COPY) == 0)
		*page = cell_snapshot(*page);
	c->needs_copy[i] = false;
}

/* ---- Maps -----------------------------------------------------------------
 */

static void
forget_map(struct content *c, uint64_t slot)
{
	free(c->maps[slot]);
	c->maps[slot] = NULL;
	c->npages[slot] = 0;
}

static void
follow_map(struct content *c, uint64_t slot)
{
	vm_map_t map = c->m->core->maps[slot];
	vm_size_t n = (vm_map_max(map) - vm_map_min(map)) /
		      c->m->core->arch->machine->page_size;

	forget_map(c, slot);
	c->off |= n > CONTENT_PAGES;
	if (n == 0 || c->off)
		return;
	c->maps[slot] = zeroed(n, sizeof(struct cell *));
	c->npages[slot] = n;
}

/* One page of a child, by what its parent's entry was. */
static struct cell *
fork_page(struct cell **page, const struct model_entry *e)
{
	struct cell *parent = *page;

	if (e == NULL || parent == NULL || e->inherit == VM_INHERIT_NONE)
		return NULL;
	if ((e->eflags & MAP_ENTRY_GUARD) == 0) {
		if (e->inherit == VM_INHERIT_SHARE)
			return parent;
		if (e->inherit == VM_INHERIT_ZERO)
			return cell_new(NULL);
		if (e->wired != 0 && (e->prot & VM_PROT_WRITE) != 0)
			return cell_snapshot(parent);
	}
	*page = cell_new(parent);
	return cell_new(parent);
}

/* Inheritance, wiring and rights of the parent do not change by forking. */
static void
follow_fork(struct content *c, const uint64_t *v)
{
	vm_size_t size = c->m->core->arch->machine->page_size;
	uint64_t from = v[HF_F_MAP], to = v[HF_F_MAP2];
	vm_offset_t min = vm_map_min(c->m->core->maps[from]);

	follow_map(c, to);
	for (size_t i = 0; i < c->npages[from]; i++)
		c->maps[to][i] = fork_page(&c->maps[from][i],
		    entry_at(c, from, min + i * size));
}

/* ---- Following ------------------------------------------------------------
 */

bool
content_follows(const struct content *c, const struct hf_call *call)
{
	vm_size_t size = call->v[HF_F_B] - call->v[HF_F_A];

	return size / c->m->core->arch->machine->page_size <= CONTENT_PAGES;
}

void
content_before(struct content *c, const struct hf_call *call)
{
	const uint64_t *v = call->v;

	if (call->op == HF_PROTECT && c->maps[v[HF_F_MAP]] != NULL)
		change(c, v, v[HF_F_A], v[HF_F_END], note_needs_copy);
}

void
content_after(struct content *c, const struct hf_call *call,
    const struct hf_result *res)
{
	const uint64_t *v = call->v;
	uint64_t addr;

	switch (call->op) {
	case HF_MAP:
		follow_map(c, v[HF_F_MAP]);
		break;
	case HF_DESTROY:
		forget_map(c, v[HF_F_MAP]);
		break;
	case HF_FORK:
		follow_fork(c, v);
		break;
	case HF_OBJECT:
	case HF_DEREF:
		forget_object(c, v[HF_F_OBJ]);
		break;
	case HF_FIND:
	case HF_FIND_MIN:
		if (hf_result_get(res, "addr", &addr))
			fill(c, v, addr, v[HF_F_LEN]);
		break;
	case HF_INSERT:
	case HF_FIXED:
	case HF_STACK:
		fill(c, v, v[HF_F_A], v[HF_F_LEN]);
		break;
	case HF_DELETE:
	case HF_REMOVE:
		change(c, v, v[HF_F_A], v[HF_F_END], clear_page);
		break;
	case HF_PROTECT:
		change(c, v, v[HF_F_A], v[HF_F_END], copy_wired);
		break;
	case HF_MADVISE:
		if (v[HF_F_ADVICE] == VM_MADV_FREE)
			change(c, v, v[HF_F_A], v[HF_F_END], free_page);
		break;
	default:
		break;
	}
}

/* A page has come in front of what the cell shows. */
static void
materialise(struct cell *cell, uint64_t value, bool needs_copy)
{
	if (!needs_copy) {
		cell_set(cell, value);
		return;
	}
	/* In which of the objects behind the copy, is not followed. */
	for (; cell != NULL && !cell->own; cell = cell->base)
		cell->maybe_zero = true;
}

bool
content_touch(struct content *c, const struct hf_call *call,
    const struct hf_result *res, struct fuzz_report *rep)
{
	const uint64_t *v = call->v;
	struct cell **page = page_at(c, v[HF_F_MAP], v[HF_F_A]);
	const struct model_entry *e = entry_at(c, v[HF_F_MAP], v[HF_F_A]);
	uint64_t was = 0, now = 0, kind = 0;

	if (c->off)
		return true;
	(void)hf_result_get(res, "was", &was);
	(void)hf_result_get(res, "now", &now);
	(void)hf_result_get(res, "kind", &kind);
	if (page == NULL || *page == NULL || e == NULL)
		return fuzz_found(rep, "content", "touch",
		    "a page where nothing is mapped");
	if (!cell_may_show(*page, was))
		return fuzz_found(rep, "content", "touch",
		    "0x%" PRIx64 " reads %" PRIu64 ", kind %" PRIu64
		    "; its last write was %" PRIu64,
		    v[HF_F_A], was, kind, (*page)->own ? (*page)->value : 0);
	if (was != now)
		cell_set(*page, now);
	else if (kind == VM_FAULT_ZERO || kind == VM_FAULT_COPY)
		materialise(*page, was,
		    (e->eflags & MAP_ENTRY_NEEDS_COPY) != 0);
	return true;
}

struct content *
content_create(struct map_mirror *m)
{
	struct content *c = zeroed(1, sizeof(*c));

	c->m = m;
	return c;
}

void
content_destroy(struct content *c)
{
	for (unsigned i = 0; i < HF_MAPS; i++)
		forget_map(c, i);
	for (unsigned i = 0; i < HF_OBJS; i++)
		forget_object(c, i);
	pool.used = 0;
	free(c);
}
