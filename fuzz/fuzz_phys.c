/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Physical memory at three levels: a pool, two tenants, four clients, each an
 * arena that imports whole quanta from the one above.
 *
 *	thread n             who asks from now on: 0 the pool ... 6 a client
 *	contig, contigfree   allocate there; give back where it is from
 *	seg, unseg           add memory to the pool; remove what begins there
 *	  asked by a tenant  import a span by hand and lend it; close the one
 *	                     there, or take it out with what is in it
 *	give start end       give idle spans back but for so many bytes
 *	phys                 check everything
 *
 * The model is one record a page, written by what passes between the levels:
 * every run within its request and in one span, nothing in two places, refusal
 * only where no placement exists, sums right, failures leave no trace, nothing
 * is left.
 */

#include "arch/sim/sim.h"
#include "core/vm_arena.h"
#include "core/vm_param.h"
#include "fuzz/common.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NARENAS 7
#define POOL    0
#define TENANTS                                                                \
	2 /* 1 and 2; clients 3, 5 are of the first, 4, 6 of the other */
#define PAGES   2048
#define QUANTUM 8 /* pages */
#define NOBODY  0xff

enum seen {
	SEEN_SHORTAGE,
	SEEN_NO_SPACE,
	SEEN_IMPORT,  /* a client's span came from the pool */
	SEEN_RELEASE, /* a span went back */
	SEEN_TRIM,
	SEEN_BOUNDARY,
	SEEN_DOMAIN,
	SEEN_REMOVED, /* a span of the pool */
	SEEN_BUSY,    /* one that could not be removed */
	SEEN_MANY,    /* five hold something */
	SEEN_LENT,    /* a tenant was lent a span */
	SEEN_CLOSED,  /* one of which something was out */
	SEEN_EVICTED, /* ... was taken out */
};
static const char *const sometimes[] = {"shortage", "no-space", "import",
    "release", "trim", "boundary", "domain", "removed", "busy-span",
    "five-hold", "lent", "closed", "evicted", NULL};

/* What a page is to each level. */
struct page {
	uint16_t span[3]; /* of pool, tenant, client; 0: none */
	uint8_t who[3];   /* whose that span is */
	uint8_t domain;
	uint8_t user; /* who has handed it out; NOBODY */
	bool closed;  /* the tenant's span */
};

struct tap {
	struct vm_arena *above;
	uint8_t who;
};

struct buffer {
	uint8_t who;
	vm_paddr_t pa;
	vm_size_t size;
};

struct run {
	struct hf_backend base;
	struct arch *arch;
	struct vm_arena *arena[NARENAS];
	struct tap tap[NARENAS];
	/* What each was asked, and how it ended. */
	uint64_t nallocs[NARENAS], nfailures[NARENAS];
	struct buffer buf[HF_BUFS];
	struct page page[PAGES];
	size_t npages; /* that are looked at */
	vm_paddr_t low;
	vm_size_t size; /* of a page */
	uint16_t nspans;
	uint8_t now;
	uint64_t nfailed;
	struct fuzz_report *rep;
};

static struct run run;

/* ---- The model ------------------------------------------------------------
 */

static unsigned
level(unsigned who)
{
	return who == POOL ? 0 : who <= TENANTS ? 1 : 2;
}

static unsigned
above(unsigned who)
{
	return level(who) == 2 ? 1 + (who - 3) % TENANTS : POOL;
}

/* Bytes in which an arena hands out. */
static vm_size_t
grain(unsigned who)
{
	return level(who) == 2 ? run.size : QUANTUM * run.size;
}

/* The page's record, or NULL where none can be. */
static struct page *
page_at(vm_paddr_t pa)
{
	size_t i = (pa - run.low) / run.size;

	return pa >= run.low && i < run.npages ? &run.page[i] : NULL;
}

/* A span comes to, or leaves, somebody: all of it, and all alike. */
static bool
move_span(vm_paddr_t start, vm_paddr_t end, unsigned who, bool in, int domain)
{
	unsigned lv = level(who);
	uint16_t span = in ? ++run.nspans : 0;
	struct page *page;

	if (((start | end) % (QUANTUM * run.size)) != 0 || start >= end)
		return fuzz_found(run.rep, "span", "import",
		    "[0x%" PRIx64 ", 0x%" PRIx64 ") is not whole quanta", start,
		    end);
	for (vm_paddr_t pa = start; pa < end; pa += run.size) {
		page = page_at(pa);
		if (page == NULL || page->who[lv] != (in ? NOBODY : who) ||
		    page->user != NOBODY ||
		    (lv > 0 && page->who[lv - 1] != above(who)) ||
		    (lv < 2 && page->who[lv + 1] != NOBODY))
			return fuzz_found(run.rep, "span",
			    in ? "import" : "release",
			    "page 0x%" PRIx64 " is somebody else's", pa);
		page->span[lv] = span;
		page->who[lv] = in ? (uint8_t)who : NOBODY;
		if (lv == 1)
			page->closed = false;
		if (lv == 0)
			page->domain = (uint8_t)domain;
	}
	return true;
}

/* Can [start, end) be handed out at this level, by the model? */
static bool
can_take(vm_paddr_t start, vm_paddr_t end, unsigned lv, unsigned who)
{
	const struct page *first = page_at(start), *page;

	if (first == NULL || first->who[lv] != who)
		return false;
	for (vm_paddr_t pa = start; pa < end; pa += run.size) {
		page = page_at(pa);
		if (page == NULL || page->who[lv] != who ||
		    page->span[lv] != first->span[lv] || page->user != NOBODY ||
		    (lv == 1 && page->closed) ||
		    (lv < 2 && page->who[lv + 1] != NOBODY))
			return false;
	}
	return true;
}

static bool
meets(const struct contig_req *req, vm_paddr_t pa)
{
	vm_size_t size = roundup2(req->size, run.size);
	const struct page *page = page_at(pa);
	vm_paddr_t last = pa + size - 1;

	return pa % run.size == 0 && pa % req->alignment == 0 &&
	       pa >= req->low && last >= pa && last < req->high &&
	       (req->boundary == 0 ||
		   pa / req->boundary == last / req->boundary) &&
	       (req->domain < 0 ||
		   (page != NULL && page->domain == req->domain));
}

/* From its own spans, or by a span that each level above can give. */
static bool
feasible_at(const struct contig_req *req, unsigned who, vm_paddr_t pa)
{
	vm_paddr_t end = pa + roundup2(req->size, run.size);
	vm_size_t g = grain(who);

	if (!meets(req, pa))
		return false;
	for (unsigned holder = who;; holder = above(holder)) {
		if (can_take(rounddown2(pa, g), roundup2(end, g), level(holder),
			holder))
			return true;
		if (holder == POOL)
			return false;
		g = QUANTUM * run.size;
	}
}

static bool
feasible(const struct contig_req *req, unsigned who)
{
	if (req->size > run.npages * run.size)
		return false; /* sums of addresses would wrap */
	for (size_t i = 0; i < run.npages; i++)
		if (run.page[i].who[0] != NOBODY &&
		    feasible_at(req, who, run.low + i * run.size))
			return true;
	return false;
}

static void
set_user(const struct buffer *buf, uint8_t user)
{
	vm_size_t g = grain(buf->who);
	vm_paddr_t end = roundup2(buf->pa + buf->size, g);

	for (vm_paddr_t pa = rounddown2(buf->pa, g); pa < end; pa += run.size)
		page_at(pa)->user = user;
}

/* ---- Between the levels ---------------------------------------------------
 */

/* An arena has been asked; what need not be does not fail. */
static void
tally(unsigned who, int rv, bool must)
{
	run.nallocs[who] += rv == KERN_SUCCESS;
	run.nfailures[who] += rv != KERN_SUCCESS && must;
}

static int
tap_import(void *arg, const struct contig_req *req, vm_size_t quantum,
    bool must, struct vm_arena_span *spanp)
{
	struct tap *tap = arg;
	int rv = vm_arena_import(tap->above, req, quantum, must, spanp);

	tally(above(tap->who), rv, must);
	if (rv != KERN_SUCCESS)
		return rv;
	(void)move_span(spanp->start, spanp->end, tap->who, true, 0);
	if (level(tap->who) == 2)
		run.rep->seen |= FUZZ_BIT(SEEN_IMPORT);
	return rv;
}

static void
tap_release(void *arg, const struct vm_arena_span *span)
{
	struct tap *tap = arg;

	(void)move_span(span->start, span->end, tap->who, false, 0);
	vm_arena_release(tap->above, span);
	run.rep->seen |= FUZZ_BIT(SEEN_RELEASE);
}

/* What the sibling has idle goes to the level above. */
static vm_size_t
tap_reclaim(void *arg)
{
	const struct tap *tap = arg;
	unsigned other = tap->who == 1 ? 2 : tap->who + TENANTS;

	return vm_arena_trim(run.arena[other], 0);
}

/* ---- Comparing ------------------------------------------------------------
 */

/* Pages by the model: in each arena's spans, and handed out of them. */
static void
sums(size_t spans[NARENAS], size_t used[NARENAS])
{
	memset(spans, 0, NARENAS * sizeof(spans[0]));
	memset(used, 0, NARENAS * sizeof(used[0]));
	for (size_t i = 0; i < run.npages; i++) {
		const struct page *page = &run.page[i];

		for (unsigned lv = 0; lv < 3 && page->who[lv] != NOBODY; lv++) {
			spans[page->who[lv]]++;
			used[page->who[lv]] +=
			    page->user == page->who[lv] ||
			    (lv < 2 && page->who[lv + 1] != NOBODY);
		}
	}
}

static bool
compare(const char *op)
{
	struct vm_arena_stats stats;
	const char *broken;
	size_t spans[NARENAS], used[NARENAS];

	run.rep->nchecks++;
	sums(spans, used);
	for (unsigned who = 0; who < NARENAS; who++) {
		broken = vm_arena_check(run.arena[who]);
		if (broken != NULL)
			return fuzz_found(run.rep, "check", op, "%u: %s", who,
			    broken);
		vm_arena_stats(run.arena[who], &stats);
		if (stats.span_bytes != spans[who] * run.size ||
		    stats.used_bytes != used[who] * run.size)
			return fuzz_found(run.rep, "conservation", op,
			    "%u: 0x%" PRIx64 " in spans, 0x%" PRIx64
			    " used; the model has %zu and %zu pages",
			    who, stats.span_bytes, stats.used_bytes, spans[who],
			    used[who]);
		if (stats.nallocs != run.nallocs[who] ||
		    stats.nfailures != run.nfailures[who])
			return fuzz_found(run.rep, "statistics", op,
			    "%u: %" PRIu64 " allocations and %" PRIu64
			    " failures, not %" PRIu64 " and %" PRIu64,
			    who, stats.nallocs, stats.nfailures,
			    run.nallocs[who], run.nfailures[who]);
	}
	return true;
}

/* The spans that an arena names are those of the model, and stay. */
static bool
compare_spans(unsigned who)
{
	struct vm_arena_span span;

	for (size_t i = 0; i < run.npages; i++) {
		vm_paddr_t pa = run.low + i * run.size;
		bool has = vm_arena_span_at(run.arena[who], pa, &span);

		if (has != (run.page[i].who[level(who)] == who) ||
		    (has && (pa < span.start || pa >= span.end)))
			return fuzz_found(run.rep, "out", "phys",
			    "%u: a span at 0x%" PRIx64, who, pa);
		if (has && pa == span.start && who != POOL &&
		    vm_arena_remove(run.arena[who], pa) != KERN_INVALID_ADDRESS)
			return fuzz_found(run.rep, "code", "phys",
			    "an imported span was removed");
	}
	return true;
}

/* ---- Operations -----------------------------------------------------------
 */

typedef int handler(const uint64_t *v, struct hf_result *res);

/* A span from the pool, for the tenant who asks. */
static int
do_lend(const uint64_t *v)
{
	vm_size_t q = QUANTUM * run.size;
	struct contig_req req = {.size = q * (1 + v[HF_F_B] / run.size % 4),
	    .low = rounddown2(v[HF_F_A], q),
	    .high = UINT64_MAX,
	    .alignment = q,
	    .domain = -1};
	struct vm_arena_span span;
	int rv;

	if (contig_req_check(&req, run.size, NULL) != KERN_SUCCESS)
		return KERN_INVALID_ARGUMENT;
	rv = vm_arena_import(run.arena[POOL], &req, q, false, &span);
	tally(POOL, rv, false);
	if (rv != KERN_SUCCESS)
		return rv;
	rv = vm_arena_lend(run.arena[run.now], &span);
	if (rv != KERN_SUCCESS) {
		vm_arena_release(run.arena[POOL], &span);
		return rv;
	}
	(void)move_span(span.start, span.end, run.now, true, 0);
	run.rep->seen |= FUZZ_BIT(SEEN_LENT);
	return rv;
}

/* Pages [*firstp, *lastp] of the span of the tenant that has `at`. */
static bool
tenant_span(vm_paddr_t at, size_t *firstp, size_t *lastp)
{
	const struct page *page = page_at(at);
	size_t first, last;

	if (page == NULL || page->who[1] != run.now)
		return false;
	first = last = (size_t)(page - run.page);
	while (first > 0 && run.page[first - 1].span[1] == page->span[1])
		first--;
	while (last + 1 < run.npages &&
	       run.page[last + 1].span[1] == page->span[1])
		last++;
	*firstp = first;
	*lastp = last;
	return true;
}

static int
do_close(size_t first, size_t last)
{
	bool idle = true;
	int rv;

	for (size_t i = first; i <= last; i++) {
		run.page[i].closed = true;
		idle = idle && run.page[i].user == NOBODY &&
		       run.page[i].who[2] == NOBODY;
	}
	rv = vm_arena_close(run.arena[run.now], run.low + first * run.size);
	if (rv != KERN_SUCCESS || (run.page[first].who[1] == NOBODY) != idle)
		(void)fuzz_found(run.rep, "code", "unseg",
		    "%s to close a span that is %s", hf_status_name(rv),
		    idle ? "idle" : "used");
	if (!idle)
		run.rep->seen |= FUZZ_BIT(SEEN_CLOSED);
	return rv;
}

/* What its owner has of it is void; what others imported must be back. */
static int
do_evict(size_t first, size_t last)
{
	vm_paddr_t start = run.low + first * run.size;
	struct vm_arena_span span;
	int rv;

	for (size_t i = first; i <= last; i++)
		if (run.page[i].who[2] != NOBODY)
			return KERN_FAILURE;
	for (size_t i = 0; i < HF_BUFS; i++)
		if (run.buf[i].size != 0 && run.buf[i].who == run.now &&
		    run.buf[i].pa >= start &&
		    run.buf[i].pa <= run.low + last * run.size &&
		    page_at(run.buf[i].pa)->user == run.now) {
			set_user(&run.buf[i], NOBODY);
			run.buf[i].size = 0;
			run.rep->seen |= FUZZ_BIT(SEEN_EVICTED);
		}
	rv = vm_arena_evict(run.arena[run.now], start, &span);
	if (rv != KERN_SUCCESS || span.start != start ||
	    span.end != run.low + (last + 1) * run.size)
		(void)fuzz_found(run.rep, "code", "unseg",
		    "%s to take a span out", hf_status_name(rv));
	else
		tap_release(&run.tap[run.now], &span);
	return rv;
}

static int
do_seg(const uint64_t *v, struct hf_result *res)
{
	vm_size_t q = QUANTUM * run.size;
	struct vm_arena_span span = {.start = roundup2(v[HF_F_A], q),
	    .end = rounddown2(v[HF_F_B], q),
	    .domain = (int)(v[HF_F_DOMAIN] % VM_PHYS_DOMAINS)};
	struct vm_arena_span odd;
	bool overlaps = false;
	int rv;

	(void)res;
	if (level(run.now) == 1)
		return do_lend(v);
	if (span.start < run.low || span.start >= span.end ||
	    (span.end - run.low) / run.size > run.npages)
		return HF_S_UNSUPPORTED;
	for (vm_paddr_t pa = span.start; pa < span.end; pa += run.size)
		overlaps |= page_at(pa)->who[0] != NOBODY;
	odd = span;
	odd.end -= run.size;
	if (vm_arena_add(run.arena[POOL], &odd) != KERN_INVALID_ARGUMENT)
		(void)fuzz_found(run.rep, "code", "seg", "half a quantum");
	rv = vm_arena_add(run.arena[POOL], &span);
	if (rv == KERN_SUCCESS)
		(void)move_span(span.start, span.end, POOL, true, span.domain);
	else if (rv == KERN_INVALID_ARGUMENT && !overlaps)
		(void)fuzz_found(run.rep, "code", "seg", "nothing is there");
	return rv;
}

static int
do_unseg(const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t start = roundup2(v[HF_F_A], QUANTUM * run.size), end;
	const struct page *first = page_at(start);
	bool begins, idle;
	size_t from, to;
	int rv, want;

	(void)res;
	if (level(run.now) == 1) {
		if (!tenant_span(v[HF_F_A], &from, &to))
			return KERN_INVALID_ADDRESS;
		return run.rep->nops % 3 == 0 ? do_evict(from, to)
					      : do_close(from, to);
	}
	begins = first != NULL && first->who[0] != NOBODY &&
		 (start == run.low || first[-1].span[0] != first->span[0]);
	for (end = start; begins && page_at(end) != NULL &&
			  page_at(end)->span[0] == first->span[0];
	     end += run.size)
		continue;
	idle = begins && can_take(start, end, 0, POOL);
	want = !begins ? KERN_INVALID_ADDRESS
	       : idle  ? KERN_SUCCESS
		       : KERN_FAILURE;
	rv = vm_arena_remove(run.arena[POOL], start);
	if (rv != want)
		(void)fuzz_found(run.rep, "code", "unseg",
		    "%s, the model says %s", hf_status_name(rv),
		    hf_status_name(want));
	else if (rv == KERN_SUCCESS)
		(void)move_span(start, end, POOL, false, 0);
	run.rep->seen |= rv == KERN_SUCCESS   ? FUZZ_BIT(SEEN_REMOVED)
			 : rv == KERN_FAILURE ? FUZZ_BIT(SEEN_BUSY)
					      : 0;
	return rv;
}

static int
do_contig(const uint64_t *v, struct hf_result *res)
{
	struct contig_req req = core_contig_request(v, run.size);
	struct buffer *buf = &run.buf[v[HF_F_BUF]];
	struct contig_refusal why;
	vm_size_t g = grain(run.now);
	vm_paddr_t pa = 0;
	int rv;

	if (contig_req_check(&req, run.size, &why) != KERN_SUCCESS)
		return KERN_INVALID_ARGUMENT;
	rv = vm_arena_alloc(run.arena[run.now], &req, &pa);
	tally(run.now, rv, true);
	if (rv == KERN_NO_SPACE && feasible(&req, run.now))
		(void)fuzz_found(run.rep, "infeasible", "contig",
		    "arena %u has no space, but there is a run", run.now);
	if (rv != KERN_SUCCESS)
		return rv;
	*buf = (struct buffer){run.now, pa, roundup2(req.size, run.size)};
	if (!meets(&req, pa) ||
	    !can_take(rounddown2(pa, g), roundup2(pa + buf->size, g),
		level(run.now), run.now)) {
		(void)fuzz_found(run.rep, "constraint", "contig",
		    "arena %u: 0x%" PRIx64 " is not free, or not within",
		    run.now, pa);
		return rv;
	}
	set_user(buf, run.now);
	run.rep->seen |= req.boundary != 0 ? FUZZ_BIT(SEEN_BOUNDARY) : 0;
	run.rep->seen |= req.domain >= 0 ? FUZZ_BIT(SEEN_DOMAIN) : 0;
	hf_result_out(res, "pa", HF_O_ADDR, pa);
	return rv;
}

static int
do_contigfree(const uint64_t *v, struct hf_result *res)
{
	struct buffer *buf = &run.buf[v[HF_F_BUF]];
	bool closed;
	int rv;

	(void)res;
	if (buf->size == 0)
		return KERN_INVALID_ADDRESS; /* void */
	closed = level(buf->who) == 1 && page_at(buf->pa)->closed;
	if (vm_arena_free(run.arena[buf->who], buf->pa, UINT64_C(1) << 40) !=
	    KERN_INVALID_ADDRESS)
		(void)fuzz_found(run.rep, "code", "contigfree",
		    "more than the span was given back");
	set_user(buf, NOBODY);
	rv = vm_arena_free(run.arena[buf->who], buf->pa, buf->size);
	/* Of a closed span only the sum is known. */
	if (!closed && vm_arena_free(run.arena[buf->who], buf->pa, buf->size) ==
			   KERN_SUCCESS)
		(void)fuzz_found(run.rep, "code", "contigfree",
		    "given back twice");
	if (rv != KERN_SUCCESS)
		(void)fuzz_found(run.rep, "code", "contigfree",
		    "%s for what was handed out", hf_status_name(rv));
	return rv;
}

static int
do_give(const uint64_t *v, struct hf_result *res)
{
	vm_size_t q = QUANTUM * run.size;
	vm_size_t keep = rounddown2(v[HF_F_B] - v[HF_F_A], q) % (8 * q);
	struct vm_arena_stats stats;

	(void)res;
	if (run.now == POOL)
		return HF_S_UNSUPPORTED;
	(void)vm_arena_trim(run.arena[run.now], keep);
	vm_arena_stats(run.arena[run.now], &stats);
	if (stats.idle_bytes > keep)
		(void)fuzz_found(run.rep, "code", "give",
		    "0x%" PRIx64 " bytes are idle still", stats.idle_bytes);
	run.rep->seen |= FUZZ_BIT(SEEN_TRIM);
	return KERN_SUCCESS;
}

static int
do_thread(const uint64_t *v, struct hf_result *res)
{
	static const uint8_t who[4] = {3, 4, 1, 0};

	(void)res;
	/* Four say who; where there is a second client, take turns. */
	run.now = who[v[HF_F_VALUE] % 4];
	if (run.now >= 3 && run.rep->nops % 2 != 0)
		run.now = (uint8_t)(run.now + TENANTS);
	else if (run.now == 1 && run.rep->nops % 2 != 0)
		run.now = 2;
	return KERN_SUCCESS;
}

static int
do_phys(const uint64_t *v, struct hf_result *res)
{
	(void)v;
	(void)res;
	for (unsigned who = 0; who < NARENAS; who++)
		if (!compare_spans(who))
			return KERN_FAILURE;
	return compare("phys") ? KERN_SUCCESS : KERN_FAILURE;
}

static int
do_inject(const uint64_t *v, struct hf_result *res)
{
	(void)res;
	core_inject(run.arch, v);
	return KERN_SUCCESS;
}

static bool
arena_new(unsigned who)
{
	struct vm_arena_options options = {.page_size = run.size,
	    .grain = grain(who),
	    .quantum = QUANTUM * run.size,
	    .span_size = who % 2 * 2 * QUANTUM * run.size,
	    .idle_max = who % 3 * 2 * QUANTUM * run.size,
	    .idle_min = who % 3 * QUANTUM * run.size};
	struct vm_arena_source source = {.import = tap_import,
	    .release = tap_release,
	    .reclaim = who == 1 || who == 3 ? tap_reclaim : NULL,
	    .arg = &run.tap[who]};

	run.tap[who] =
	    (struct tap){.above = who == POOL ? NULL : run.arena[above(who)],
		.who = (uint8_t)who};
	run.arena[who] =
	    vm_arena_create(run.arch, &options, who == POOL ? NULL : &source);
	return run.arena[who] != NULL;
}

static int
do_world(const uint64_t *v, struct hf_result *res)
{
	struct sim_options options = {.machine = "x86_64"};

	(void)v;
	(void)res;
	if (run.arch != NULL)
		return HF_S_UNSUPPORTED;
	run.arch = sim_create(&options);
	run.size = run.arch->machine->page_size;
	run.now = 3;
	memset(run.page, 0, sizeof(run.page));
	for (size_t i = 0; i < run.npages; i++)
		memset(run.page[i].who, NOBODY, sizeof(run.page[i].who));
	for (size_t i = 0; i < run.npages; i++)
		run.page[i].user = NOBODY;
	for (unsigned who = 0; who < NARENAS; who++)
		if (!arena_new(who))
			return KERN_RESOURCE_SHORTAGE;
	return KERN_SUCCESS;
}

static handler *const handlers[HF_NOPS] = {
    [HF_WORLD] = do_world,
    [HF_SEG] = do_seg,
    [HF_UNSEG] = do_unseg,
    [HF_CONTIG] = do_contig,
    [HF_CONTIGFREE] = do_contigfree,
    [HF_GIVE] = do_give,
    [HF_PHYS] = do_phys,
    [HF_THREAD] = do_thread,
    [HF_INJECT] = do_inject,
};

static void
phys_call(struct hf_backend *base, const struct hf_call *call,
    struct hf_result *res)
{
	(void)base;
	hf_result_set(res, HF_S_UNSUPPORTED);
	if (handlers[call->op] != NULL && !run.rep->found)
		res->status = handlers[call->op](call->v, res);
}

static const struct hf_backend_ops phys_ops = {.name = "arenas",
    .call = phys_call,
    .entries = fuzz_no_entries,
    .nentries = fuzz_no_nentries};

static void
note_rare(const struct hf_result *res)
{
	unsigned holders = 0;

	if (res->status == KERN_RESOURCE_SHORTAGE)
		run.rep->seen |= FUZZ_BIT(SEEN_SHORTAGE);
	if (res->status == KERN_NO_SPACE)
		run.rep->seen |= FUZZ_BIT(SEEN_NO_SPACE);
	for (size_t i = 0; i < run.npages; i++)
		if (run.page[i].user != NOBODY)
			holders |= 1U << run.page[i].user;
	if (__builtin_popcount(holders) > 4)
		run.rep->seen |= FUZZ_BIT(SEEN_MANY);
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	(void)arg;
	if (inst != NULL)
		run.rep->nops++;
	fuzz_hash_answer(run.rep, call, res);
	if (run.rep->found)
		return false;
	if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return res->status != KERN_RESOURCE_SHORTAGE ||
		       run.arena[NARENAS - 1] == NULL ||
		       compare(hf_ops[call->op].name);
	note_rare(res);
	return run.arena[NARENAS - 1] == NULL || compare(hf_ops[call->op].name);
}

/* Everything back, from below; then nothing may be left. */
static void
finish(void)
{
	struct vm_arena_stats stats;

	sim_fail_never(run.arch);
	for (unsigned i = 0; i < HF_BUFS && !run.rep->found; i++)
		if (run.buf[i].size != 0 && page_at(run.buf[i].pa) != NULL &&
		    page_at(run.buf[i].pa)->user != NOBODY) {
			uint64_t v[HF_NFIELDS] = {[HF_F_BUF] = i};
			struct hf_result res;

			(void)do_contigfree(v, &res);
		}
	if (run.rep->found || !compare("end"))
		return;
	for (unsigned who = NARENAS; who-- > 1;)
		vm_arena_destroy(run.arena[who]);
	vm_arena_stats(run.arena[POOL], &stats);
	if (stats.used_bytes != 0)
		(void)fuzz_found(run.rep, "leak", "end",
		    "0x%" PRIx64 " bytes of the pool did not come back",
		    stats.used_bytes);
	vm_arena_destroy(run.arena[POOL]);
	fuzz_sim_end(run.rep, run.arch);
}

static void
run_phys(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.called = called};
	const struct hf_preset *preset;
	struct hf_header header;

	memset(rep, 0, sizeof(*rep));
	memset(&run, 0, sizeof(run));
	hf_header_read(data, size, &header);
	preset = hf_preset(header.preset);
	run.rep = rep;
	run.base.ops = &phys_ops;
	run.low = rounddown2(preset->segs[0].start, UINT64_C(1) << 20);
	for (size_t i = 0; i < nitems(preset->segs); i++)
		if (preset->segs[i].end > run.low)
			run.npages = MIN(PAGES,
			    (preset->segs[i].end - run.low) / 4096 + QUANTUM);
	hf_runner_init(&runner, &run.base, &options, &observer, data, size);
	hf_run(&runner, data, size);
	if (!rep->found && run.arena[NARENAS - 1] != NULL)
		finish();
}

const struct fuzz_target fuzz_target = {.name = "fuzz_phys",
    .ops = FUZZ_OPS_PHYS,
    .run = run_phys,
    .sometimes = sometimes,
    .required =
	FUZZ_BIT(SEEN_SHORTAGE) | FUZZ_BIT(SEEN_NO_SPACE) |
	FUZZ_BIT(SEEN_IMPORT) | FUZZ_BIT(SEEN_RELEASE) | FUZZ_BIT(SEEN_TRIM) |
	FUZZ_BIT(SEEN_BOUNDARY) | FUZZ_BIT(SEEN_DOMAIN) |
	FUZZ_BIT(SEEN_REMOVED) | FUZZ_BIT(SEEN_BUSY) | FUZZ_BIT(SEEN_MANY) |
	FUZZ_BIT(SEEN_LENT) | FUZZ_BIT(SEEN_CLOSED) | FUZZ_BIT(SEEN_EVICTED)};
