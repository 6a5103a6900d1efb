/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Arenas.
 *
 *	span	[-------- quantum --------|-------- quantum --------)
 *	taken	[grain|grain|     |grain|                     |grain)
 *
 * Spans are the segments of a vm_phys, each with itself as the owner, so no
 * run crosses from one to the next.  Everything that is taken is whole grains,
 * so what lies about a run that was found is free out to the grain's edges.
 * Spans on loan of which nobody has anything are in a list, the one that fell
 * idle last in front; they go back from its end.  A closed span is kept from
 * searches by having all of it taken.
 */

#include "core/vm_arena.h"
#include "core/kassert.h"
#include "core/uma.h"
#include "core/vm_param.h"

struct arena_span {
	struct vm_arena_span lent;
	bool lends;     /* on loan, to go back when it lies idle */
	bool closed;    /* nothing more is taken of it */
	vm_size_t used; /* bytes that somebody has */
	/* In the list of the idle ones: fell idle later, earlier. */
	struct arena_span *newer, *older;
};

struct vm_arena {
	struct vm_arena_options options;
	struct vm_arena_source source; /* import NULL: there is none */
	struct vm_phys *phys;
	const struct arch *arch;
	struct uma_zone spans;
	struct arena_span *newest, *oldest; /* idle */
	struct vm_arena_stats stats;        /* but the longest run */
};

/* What is asked for, and what it comes to. */
struct arena_ask {
	const struct contig_req *req;
	vm_size_t unit; /* take whole ones of these */
	bool must;      /* reclaim for it */
	struct vm_arena_cut cut;
};

static vm_size_t
span_size(const struct arena_span *span)
{
	MPASS(span->lent.start < span->lent.end);

	return span->lent.end - span->lent.start;
}

/* ---- Life ---- */

static void
options_assert(const struct vm_arena_options *o)
{
	KASSERT(powerof2(o->page_size) && o->page_size > 0, "page size");
	KASSERT(powerof2(o->grain) && o->grain >= o->page_size, "grain");
	KASSERT(powerof2(o->quantum) && o->quantum >= o->grain, "quantum");
	KASSERT(o->span_size % o->quantum == 0, "span size");
	KASSERT(o->idle_max % o->quantum == 0, "idle_max");
	KASSERT(o->idle_min % o->quantum == 0, "idle_min");
	KASSERT(o->idle_min <= o->idle_max, "idle_min above idle_max");
}

struct vm_arena *
vm_arena_create(const struct arch *arch, const struct vm_arena_options *options,
    const struct vm_arena_source *source)
{
	struct vm_arena *arena;

	MPASS(arch != NULL && options != NULL);

	arena = uma_malloc(arch, sizeof(*arena));
	if (arena == NULL)
		return NULL;
	arena->arch = arch;
	arena->options = *options;
	if (arena->options.grain == 0)
		arena->options.grain = options->page_size;
	options_assert(&arena->options);
	if (source != NULL)
		arena->source = *source;
	MPASS(arena->source.import == NULL || arena->source.release != NULL);
	arena->phys = vm_phys_create(arch, options->page_size);
	if (arena->phys == NULL) {
		uma_free(arch, arena, sizeof(*arena));
		return NULL;
	}
	uma_zone_init(&arena->spans, arch, sizeof(struct arena_span));
	return arena;
}

void
vm_arena_destroy(struct vm_arena *arena)
{
	struct vm_phys_run seg;
	vm_paddr_t pa = 0;

	if (arena == NULL)
		return;
	MPASS(arena->phys != NULL);
	for (; vm_phys_next_seg(arena->phys, pa, &seg); pa = seg.end) {
		struct arena_span *span = seg.owner;

		if (span->lends)
			arena->source.release(arena->source.arg, &span->lent);
	}
	vm_phys_destroy(arena->phys);
	uma_zone_fini(&arena->spans);
	uma_free(arena->arch, arena, sizeof(*arena));
}

/* ---- Idle spans ---- */

/* In the list are those on loan of which nobody has anything. */
static bool
span_is_idle(const struct arena_span *span)
{
	MPASS(span->used <= span_size(span));

	return span->lends && span->used == 0;
}

static void
idle_push(struct vm_arena *arena, struct arena_span *span)
{
	MPASS(span_is_idle(span) && !span->closed);

	span->newer = NULL;
	span->older = arena->newest;
	if (span->older != NULL)
		span->older->newer = span;
	else
		arena->oldest = span;
	arena->newest = span;
	arena->stats.idle_bytes += span_size(span);
}

static void
idle_remove(struct vm_arena *arena, struct arena_span *span)
{
	MPASS(arena->stats.idle_bytes >= span_size(span));

	if (span->newer != NULL)
		span->newer->older = span->older;
	else
		arena->newest = span->older;
	if (span->older != NULL)
		span->older->newer = span->newer;
	else
		arena->oldest = span->newer;
	arena->stats.idle_bytes -= span_size(span);
}

/* ---- Spans come and go ---- */

/* Whatever is taken of it is free again.  Never needs memory. */
static void
span_clear(struct vm_arena *arena, const struct arena_span *span)
{
	vm_paddr_t at = span->lent.start, end = span->lent.end;
	struct vm_phys_run run;

	MPASS(at < end);

	while (at < end) {
		vm_paddr_t next = end, resume = end;
		int rv;

		if (vm_phys_next_free(arena->phys, at, &run) &&
		    run.start < end) {
			next = MAX(run.start, at);
			resume = run.end;
		}
		if (at < next) {
			rv = vm_phys_free_contig(arena->phys, at, next);
			KASSERT(rv == KERN_SUCCESS, "a hole is not free");
			(void)rv;
		}
		at = resume;
	}
}

/* It is in no list.  A whole segment goes without memory. */
static void
span_remove(struct vm_arena *arena, struct arena_span *span)
{
	int rv;

	if (span->closed || span->used > 0)
		span_clear(arena, span);
	rv = vm_phys_remove_seg(arena->phys, span->lent.start, span->lent.end);
	KASSERT(rv == KERN_SUCCESS, "a span of which nothing is taken is free");
	(void)rv;
	MPASS(arena->stats.nspans > 0);
	arena->stats.nreleases += span->lends;
	arena->stats.used_bytes -= span->used;
	arena->stats.span_bytes -= span_size(span);
	arena->stats.nspans--;
	uma_zfree(&arena->spans, span);
}

/* Nobody has anything of it: back to where it is from. */
static void
span_return(struct vm_arena *arena, struct arena_span *span)
{
	struct vm_arena_span lent = span->lent;

	MPASS(span_is_idle(span));

	span_remove(arena, span);
	arena->source.release(arena->source.arg, &lent);
}

static int
span_enter(struct vm_arena *arena, struct arena_span *span,
    const struct vm_arena_span *lent, bool lends)
{
	int rv;

	*span = (struct arena_span){.lent = *lent, .lends = lends};
	rv = vm_phys_add_seg(arena->phys, lent->start, lent->end, lent->domain,
	    span);
	if (rv != KERN_SUCCESS)
		return rv;
	arena->stats.span_bytes += span_size(span);
	arena->stats.nspans++;
	if (lends) {
		arena->stats.nimports++;
		idle_push(arena, span);
	}
	MPASS(arena->stats.span_bytes >= span_size(span));
	return KERN_SUCCESS;
}

static bool
is_whole_quanta(const struct vm_arena *arena, const struct vm_arena_span *lent)
{
	vm_paddr_t rest =
	    (lent->start | lent->end) & (arena->options.quantum - 1);

	MPASS(powerof2(arena->options.quantum));

	return lent->start < lent->end && rest == 0;
}

static int
arena_add(struct vm_arena *arena, const struct vm_arena_span *lent, bool lends)
{
	struct arena_span *span;
	int rv;

	MPASS(lent != NULL);

	if (!is_whole_quanta(arena, lent))
		return KERN_INVALID_ARGUMENT;
	span = uma_zalloc(&arena->spans);
	if (span == NULL)
		return KERN_RESOURCE_SHORTAGE;
	rv = span_enter(arena, span, lent, lends);
	if (rv != KERN_SUCCESS)
		uma_zfree(&arena->spans, span);
	return rv;
}

int
vm_arena_add(struct vm_arena *arena, const struct vm_arena_span *lent)
{
	return arena_add(arena, lent, false);
}

int
vm_arena_lend(struct vm_arena *arena, const struct vm_arena_span *lent)
{
	MPASS(arena->source.release != NULL);

	return arena_add(arena, lent, true);
}

/* The span that `pa` lies in, or NULL. */
static struct arena_span *
span_find(struct vm_arena *arena, vm_paddr_t pa)
{
	struct vm_phys_run seg;

	if (!vm_phys_next_seg(arena->phys, pa, &seg) || seg.start > pa)
		return NULL;
	MPASS(seg.owner != NULL);
	return seg.owner;
}

/* The span that begins there, or NULL. */
static struct arena_span *
span_begins(struct vm_arena *arena, vm_paddr_t start)
{
	struct arena_span *span = span_find(arena, start);

	MPASS(span == NULL || span->lent.start <= start);

	return span != NULL && span->lent.start == start ? span : NULL;
}

int
vm_arena_remove(struct vm_arena *arena, vm_paddr_t start)
{
	struct arena_span *span = span_begins(arena, start);

	if (span == NULL || span->lends)
		return KERN_INVALID_ADDRESS;
	if (span->used > 0)
		return KERN_FAILURE;
	MPASS(!span->lends);
	span_remove(arena, span);
	return KERN_SUCCESS;
}

int
vm_arena_evict(struct vm_arena *arena, vm_paddr_t start,
    struct vm_arena_span *spanp)
{
	struct arena_span *span = span_begins(arena, start);

	MPASS(spanp != NULL);

	if (span == NULL)
		return KERN_INVALID_ADDRESS;
	*spanp = span->lent;
	if (span_is_idle(span))
		idle_remove(arena, span);
	span_remove(arena, span);
	return KERN_SUCCESS;
}

/* What is free in it is taken, by nobody.  false: no memory for all of it. */
static bool
span_fence(struct vm_arena *arena, const struct arena_span *span)
{
	vm_paddr_t at = span->lent.start;
	struct vm_phys_run run;

	MPASS(span->closed);

	while (vm_phys_next_free(arena->phys, at, &run) &&
	       run.start < span->lent.end) {
		if (vm_phys_take(arena->phys, run.start, run.end) !=
		    KERN_SUCCESS)
			return false;
		at = run.end;
	}
	return true;
}

int
vm_arena_close(struct vm_arena *arena, vm_paddr_t start)
{
	struct arena_span *span = span_begins(arena, start);

	if (span == NULL)
		return KERN_INVALID_ADDRESS;
	if (span_is_idle(span)) {
		idle_remove(arena, span);
		span_return(arena, span);
		return KERN_SUCCESS;
	}
	MPASS(!span->lends || span->used > 0);
	span->closed = true;
	(void)span_fence(arena, span); /* else when somebody looks there */
	return KERN_SUCCESS;
}

vm_size_t
vm_arena_trim(struct vm_arena *arena, vm_size_t keep)
{
	vm_size_t before = arena->stats.span_bytes;

	while (arena->stats.idle_bytes > keep) {
		struct arena_span *span = arena->oldest;

		idle_remove(arena, span);
		span_return(arena, span);
	}
	MPASS(arena->stats.span_bytes <= before);
	return before - arena->stats.span_bytes;
}

/* ---- Taking from the arena's own spans ---- */

static void
span_take(struct vm_arena *arena, struct arena_span *span, vm_size_t size)
{
	MPASS(size > 0 && size <= span_size(span) - span->used);

	if (span_is_idle(span))
		idle_remove(arena, span);
	span->used += size;
	arena->stats.used_bytes += size;
}

/* The same request for whole units.  false: there can be none. */
static bool
whole_units(const struct contig_req *req, vm_size_t unit,
    struct contig_req *whole)
{
	MPASS(powerof2(unit));

	*whole = *req;
	whole->size = roundup2(req->size, unit);
	whole->alignment = MAX(req->alignment, unit);
	return whole->size >= req->size &&
	       (req->boundary == 0 || req->boundary >= whole->size);
}

/* The units about a run that is somewhere in them. */
static struct vm_arena_cut
units_about(vm_paddr_t pa, vm_size_t size, vm_size_t unit)
{
	struct vm_arena_cut cut = {.pa = pa,
	    .start = rounddown2(pa, unit),
	    .end = roundup2(pa + size, unit)};

	MPASS(cut.start <= pa && pa < cut.end);
	return cut;
}

int
vm_arena_find_cut(struct vm_phys *phys, const struct contig_req *req,
    vm_size_t unit, struct vm_arena_cut *cutp)
{
	struct contig_req whole;
	vm_paddr_t pa;
	int rv = KERN_NO_SPACE;

	MPASS(cutp != NULL);

	if (whole_units(req, unit, &whole))
		rv = vm_phys_find_contig(phys, &whole, &pa);
	if (rv == KERN_NO_SPACE)
		rv = vm_phys_find_contig(phys, req, &pa);
	if (rv == KERN_SUCCESS)
		*cutp = units_about(pa, req->size, unit);
	return rv;
}

/* Whole units that begin with the run: the usual case. */
static int
take_whole(struct vm_arena *arena, struct arena_ask *ask)
{
	struct contig_req whole;
	vm_paddr_t pa;
	int rv;

	if (!whole_units(ask->req, ask->unit, &whole))
		return KERN_NO_SPACE;
	rv = vm_phys_alloc_contig(arena->phys, &whole, &pa);
	if (rv != KERN_SUCCESS)
		return rv;
	MPASS((pa & (ask->unit - 1)) == 0);
	ask->cut = (struct vm_arena_cut){pa, pa, pa + whole.size};
	return KERN_SUCCESS;
}

/* The run is somewhere in them, because the request leaves no choice. */
static int
take_about(struct vm_arena *arena, struct arena_ask *ask)
{
	vm_paddr_t pa;
	int rv = vm_phys_find_contig(arena->phys, ask->req, &pa);

	MPASS(ask->req->size > 0);

	if (rv != KERN_SUCCESS)
		return rv;
	ask->cut = units_about(pa, ask->req->size, ask->unit);
	return vm_phys_take(arena->phys, ask->cut.start, ask->cut.end);
}

/* From whatever is free. */
static int
take_free(struct vm_arena *arena, struct arena_ask *ask)
{
	int rv = take_whole(arena, ask);

	MPASS(ask->unit >= arena->options.grain);

	if (rv == KERN_NO_SPACE && ask->unit > arena->options.page_size)
		rv = take_about(arena, ask);
	return rv;
}

/* From the spans that are here, and open. */
static int
arena_take(struct vm_arena *arena, struct arena_ask *ask)
{
	struct vm_arena_cut *cut = &ask->cut;
	struct arena_span *span;
	int rv;

	for (;;) {
		rv = take_free(arena, ask);
		if (rv != KERN_SUCCESS)
			return rv;
		span = span_find(arena, cut->start);
		if (!span->closed)
			break;
		/* There was no memory to close all of it. */
		rv = vm_phys_free_contig(arena->phys, cut->start, cut->end);
		KASSERT(rv == KERN_SUCCESS, "it was just taken");
		if (!span_fence(arena, span))
			return KERN_RESOURCE_SHORTAGE;
	}
	span_take(arena, span, cut->end - cut->start);
	return KERN_SUCCESS;
}

/* ---- Importing ---- */

/* Import for `wish`, take what is asked.  A span that does not help goes. */
static int
import_and_take(struct vm_arena *arena, const struct contig_req *wish,
    bool must, struct arena_ask *ask)
{
	struct arena_span *span = uma_zalloc(&arena->spans);
	struct vm_arena_span lent;
	int rv;

	if (span == NULL)
		return KERN_RESOURCE_SHORTAGE;
	rv = arena->source.import(arena->source.arg, wish,
	    arena->options.quantum, must, &lent);
	if (rv != KERN_SUCCESS) {
		uma_zfree(&arena->spans, span);
		return rv;
	}
	KASSERT(is_whole_quanta(arena, &lent), "the source cut a quantum");
	rv = span_enter(arena, span, &lent, true);
	if (rv != KERN_SUCCESS) {
		arena->source.release(arena->source.arg, &lent);
		uma_zfree(&arena->spans, span);
		return rv;
	}
	rv = arena_take(arena, ask);
	if (rv != KERN_SUCCESS) {
		idle_remove(arena, span);
		span_return(arena, span);
	}
	return rv;
}

/* A whole span if there is one, or half, or ...; at last, what is needed. */
static int
arena_grow(struct vm_arena *arena, struct arena_ask *ask)
{
	vm_size_t quantum = arena->options.quantum;
	struct contig_req wish = *ask->req;

	MPASS(wish.size > 0);

	wish.boundary = 0;
	wish.alignment = MAX(wish.alignment, quantum);
	wish.size = arena->options.span_size;
	while (wish.size > ask->req->size && wish.size > quantum) {
		int rv = import_and_take(arena, &wish, false, ask);

		if (rv != KERN_NO_SPACE)
			return rv;
		wish.size = rounddown2(wish.size / 2, quantum);
	}
	return import_and_take(arena, ask->req, ask->must, ask);
}

/* From here or, failing that, from the source. */
static int
arena_alloc(struct vm_arena *arena, struct arena_ask *ask)
{
	int rv = contig_req_check(ask->req, arena->options.page_size, NULL);

	if (rv == KERN_SUCCESS)
		rv = arena_take(arena, ask);
	while (rv == KERN_NO_SPACE && arena->source.import != NULL) {
		rv = arena_grow(arena, ask);
		if (rv != KERN_NO_SPACE || !ask->must ||
		    arena->source.reclaim == NULL ||
		    arena->source.reclaim(arena->source.arg) == 0)
			break;
		/* Some of it may have come back to this arena. */
		rv = arena_take(arena, ask);
	}
	arena->stats.nallocs += rv == KERN_SUCCESS;
	arena->stats.nfailures += rv != KERN_SUCCESS && ask->must;
	MPASS(arena->stats.used_bytes <= arena->stats.span_bytes);
	return rv;
}

int
vm_arena_alloc(struct vm_arena *arena, const struct contig_req *req,
    vm_paddr_t *pap)
{
	struct arena_ask ask = {.req = req,
	    .unit = arena->options.grain,
	    .must = true};
	int rv = arena_alloc(arena, &ask);

	if (rv != KERN_SUCCESS)
		return rv;
	MPASS(ask.cut.pa >= req->low && ask.cut.pa < req->high);
	*pap = ask.cut.pa;
	return rv;
}

/* ---- Giving back ---- */

/* One of a closed span stays taken, for nobody. */
static int
span_give(struct vm_arena *arena, struct arena_span *span, vm_paddr_t start,
    vm_paddr_t end)
{
	int rv = KERN_SUCCESS;

	if (!span->closed)
		rv = vm_phys_free_contig(arena->phys, start, end);
	else if (end - start > span->used)
		rv = KERN_FAILURE;
	if (rv != KERN_SUCCESS)
		return rv;
	MPASS(end - start <= span->used);
	span->used -= end - start;
	arena->stats.used_bytes -= end - start;
	arena->stats.nfrees++;
	return rv;
}

static int
arena_give(struct vm_arena *arena, vm_paddr_t start, vm_paddr_t end)
{
	struct arena_span *span = span_find(arena, start);
	int rv;

	if (span == NULL || end > span->lent.end)
		return KERN_INVALID_ADDRESS;
	rv = span_give(arena, span, start, end);
	if (rv != KERN_SUCCESS || !span_is_idle(span))
		return rv;
	if (span->closed) {
		span_return(arena, span);
		return KERN_SUCCESS;
	}
	idle_push(arena, span);
	/* Not each at once, or a span would come and go all the time. */
	if (arena->stats.idle_bytes > arena->options.idle_max)
		(void)vm_arena_trim(arena, arena->options.idle_min);
	MPASS(arena->stats.idle_bytes <= arena->options.idle_max);
	return KERN_SUCCESS;
}

int
vm_arena_free(struct vm_arena *arena, vm_paddr_t pa, vm_size_t size)
{
	vm_size_t grain = arena->options.grain;

	MPASS(size > 0 && pa + size > pa);

	return arena_give(arena, rounddown2(pa, grain),
	    roundup2(pa + size, grain));
}

/* ---- As the source of another ---- */

int
vm_arena_import(void *arg, const struct contig_req *req, vm_size_t quantum,
    bool must, struct vm_arena_span *spanp)
{
	struct vm_arena *arena = arg;
	struct arena_ask ask = {.req = req,
	    .unit = MAX(quantum, arena->options.grain),
	    .must = must};
	int rv;

	MPASS(powerof2(quantum));

	rv = arena_alloc(arena, &ask);
	if (rv != KERN_SUCCESS)
		return rv;
	*spanp = (struct vm_arena_span){.start = ask.cut.start,
	    .end = ask.cut.end,
	    .domain = span_find(arena, ask.cut.start)->lent.domain};
	return rv;
}

void
vm_arena_release(void *arg, const struct vm_arena_span *lent)
{
	int rv = arena_give(arg, lent->start, lent->end);

	KASSERT(rv == KERN_SUCCESS, "a span comes back once, and whole");
	(void)rv;
}

/* ---- Questions ---- */

bool
vm_arena_span_at(struct vm_arena *arena, vm_paddr_t pa,
    struct vm_arena_span *spanp)
{
	struct arena_span *span = span_find(arena, pa);

	if (span == NULL)
		return false;
	MPASS(span->lent.start <= pa && pa < span->lent.end);
	*spanp = span->lent;
	return true;
}

void
vm_arena_stats(struct vm_arena *arena, struct vm_arena_stats *statsp)
{
	struct vm_phys_stats phys;

	vm_phys_stats(arena->phys, &phys);
	MPASS(phys.total == arena->stats.span_bytes);
	*statsp = arena->stats;
	statsp->largest_run = phys.largest_run;
}

/* Bytes of a segment that are free. */
static vm_size_t
seg_free_bytes(struct vm_arena *arena, const struct vm_phys_run *seg)
{
	struct vm_phys_run run;
	vm_size_t bytes = 0;
	vm_paddr_t pa = seg->start;

	MPASS(seg->start < seg->end);

	for (; vm_phys_next_free(arena->phys, pa, &run) && run.end <= seg->end;
	     pa = run.end)
		bytes += run.end - run.start;
	return bytes;
}

static const char *
check_span(struct vm_arena *arena, const struct vm_phys_run *seg)
{
	const struct arena_span *span = seg->owner;

	if (span->lent.start != seg->start || span->lent.end != seg->end)
		return "[arena.span] segment and span differ";
	if (!is_whole_quanta(arena, &span->lent))
		return "[arena.quantum] span is not whole quanta";
	if (span->closed
		? seg_free_bytes(arena, seg) + span->used > span_size(span)
		: seg_free_bytes(arena, seg) + span->used != span_size(span))
		return "[arena.used] bytes of a span";
	if (span->closed && span_is_idle(span))
		return "[arena.closed] nobody has anything of it";
	if (span->used % arena->options.grain != 0)
		return "[arena.grain] part of a grain is taken";
	return NULL;
}

static const char *
check_idle(const struct vm_arena *arena, uint64_t nidle)
{
	const struct arena_span *span, *newer = NULL;
	vm_size_t bytes = 0;
	uint64_t n = 0;

	for (span = arena->newest; span != NULL; span = span->older) {
		if (span->newer != newer || !span_is_idle(span))
			return "[arena.idle] a span in the list";
		bytes += span_size(span);
		newer = span;
		n++;
	}
	if (newer != arena->oldest || n != nidle ||
	    bytes != arena->stats.idle_bytes)
		return "[arena.idle] the list as a whole";
	return NULL;
}

const char *
vm_arena_check(struct vm_arena *arena)
{
	uint64_t nspans = 0, nidle = 0;
	vm_size_t bytes = 0, used = 0;
	struct vm_phys_run seg;
	const char *broken = vm_phys_check(arena->phys);

	for (vm_paddr_t pa = 0;
	     broken == NULL && vm_phys_next_seg(arena->phys, pa, &seg);
	     pa = seg.end) {
		const struct arena_span *span = seg.owner;

		broken = check_span(arena, &seg);
		nspans++;
		nidle += span_is_idle(span);
		bytes += span_size(span);
		used += span->used;
	}
	if (broken == NULL)
		broken = check_idle(arena, nidle);
	if (broken != NULL)
		return broken;
	if (nspans != arena->stats.nspans || bytes != arena->stats.span_bytes ||
	    used != arena->stats.used_bytes ||
	    nspans != uma_zone_used(&arena->spans))
		return "[arena.count] spans or bytes";
	return NULL;
}
