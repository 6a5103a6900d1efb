/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Physical memory in thousands of pieces, against one record a page.  Places
 * are pages of a window of 16 MiB, which lies across a border between zones;
 * the header's seed chooses which.
 *
 *	seg, unseg, take, give   as they are; give: of what `take` took
 *	madvise start len        take one page in so many, from there on
 *	inherit start len        give taken pieces in there back, one by one
 *	thread n                 how `contig` asks from now on: vm_phys, a set
 *	                         of domains, vm_page without and with an object
 *	contig                   allocate; its flags are the set's policy, or
 *	                         the class of the request
 *	contigfree               give a buffer back
 *	phys                     let go of the object and all of its pages
 *
 * Success exactly where there is a run, within its request; searching finds
 * what allocating takes; what could be met by empty memory is told from what
 * never can; sums, runs and segments are right; failures leave no trace.
 */

#include "arch/sim/sim.h"
#include "core/kassert.h"
#include "core/vm_contig.h"
#include "core/vm_object_int.h"
#include "core/vm_page_contig.h"
#include "core/vm_param.h"
#include "core/vm_phys.h"
#include "fuzz/common.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"

#include <inttypes.h>
#include <string.h>

#define PAGES   4096
#define BORDER  2048 /* the page of the window at the border */
#define COMB    512  /* pieces that one operation takes or gives */
#define RUNS    800  /* free runs at most, so that checking stays quick */
#define NOBODYS 0    /* numbers of pieces */
#define OBJECT  (UINT64_C(1) << 20) /* pages of the object */

enum seen {
	SEEN_SHORTAGE,
	SEEN_NO_SPACE,
	SEEN_MANY, /* more than 600 free runs: three levels */
	SEEN_PART, /* a part of a piece came back */
	SEEN_SET,  /* a domain that was not the set's first */
	SEEN_WAIT, /* only because memory is taken */
	SEEN_NEVER,
	SEEN_PAGES, /* pages went into an object */
	SEEN_CLASS, /* the last pages were kept */
};
static const char *const sometimes[] = {"shortage", "no-space", "many-runs",
    "part", "next-domain", "wait", "never", "object-pages", "class", NULL};

enum how { BY_PHYS, BY_SET, BY_PAGE, BY_OBJECT };

struct buffer {
	vm_paddr_t pa;
	vm_size_t size;
	void *addr; /* NULL: it came without the direct map */
};

struct run {
	struct hf_backend base;
	struct arch *arch;
	struct pmap pmap;
	struct vm_phys *phys;
	struct model_phys *model, *empty; /* `empty`: if nothing were taken */
	struct malloc_type type;
	struct domainset set;
	struct vm_page_source source;
	vm_object_t object;
	struct buffer buf[HF_BUFS];
	uint32_t piece[PAGES]; /* number of the call that took it */
	uint32_t ncalls;
	bool ready; /* the preset's memory is over */
	enum how how;
	vm_paddr_t low;
	vm_size_t size; /* of a page */
	uint64_t nfailed;
	const struct hf_header *header;
	struct fuzz_report *rep;
};

static struct run run;

typedef int handler(const uint64_t *v, struct hf_result *res);

/* ---- Places ---------------------------------------------------------------
 */

static vm_paddr_t
window_end(void)
{
	return run.low + PAGES * run.size;
}

static vm_paddr_t
place(uint64_t v)
{
	return run.low + v / run.size % PAGES * run.size;
}

static size_t
index_of(vm_paddr_t pa)
{
	return (pa - run.low) / run.size;
}

static void
range_of(const uint64_t *v, vm_paddr_t *startp, vm_paddr_t *endp)
{
	vm_paddr_t a = place(v[HF_F_A]), b = place(v[HF_F_B]);

	*startp = MIN(a, b);
	*endp = MAX(a, b);
}

static void
mark(vm_paddr_t start, vm_paddr_t end, uint32_t piece)
{
	for (size_t i = index_of(start); i < index_of(end); i++)
		run.piece[i] = piece;
}

/* Some call's from its first page to its last, or several such. */
static bool
is_whole(vm_paddr_t start, vm_paddr_t end)
{
	size_t s = index_of(start), e = index_of(end);

	return (s == 0 || run.piece[s - 1] != run.piece[s]) &&
	       (e == PAGES || run.piece[e] != run.piece[e - 1]);
}

static bool
is_shortage(int rv)
{
	return rv == KERN_RESOURCE_SHORTAGE &&
	       sim_nfailed(run.arch) != run.nfailed;
}

static bool
same_code(const char *op, int rv, int model)
{
	return rv == model ||
	       fuzz_found(run.rep, "code", op, "%s, the model says %s",
		   hf_status_name(rv), hf_status_name(model));
}

/* ---- Segments and pieces --------------------------------------------------
 */

static int
do_seg(const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t start, end;
	int domain = (int)(v[HF_F_DOMAIN] % (VM_PHYS_DOMAINS + 1)), rv;

	(void)res;
	range_of(v, &start, &end);
	rv = vm_phys_add_seg(run.phys, start, end, domain, NULL);
	if (is_shortage(rv))
		return rv;
	(void)same_code("seg", rv,
	    model_phys_add_seg(run.model, start, end, domain, NULL));
	(void)model_phys_add_seg(run.empty, start, end, domain, NULL);
	return rv;
}

static int
do_unseg(const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t start, end;
	int rv;

	(void)res;
	range_of(v, &start, &end);
	rv = vm_phys_remove_seg(run.phys, start, end);
	if (is_shortage(rv))
		return rv;
	(void)same_code("unseg", rv,
	    model_phys_remove_seg(run.model, start, end));
	if (rv == KERN_SUCCESS)
		(void)model_phys_remove_seg(run.empty, start, end);
	return rv;
}

static int
take(vm_paddr_t start, vm_paddr_t end)
{
	int rv = vm_phys_take(run.phys, start, end);

	if (is_shortage(rv) ||
	    !same_code("take", rv, model_phys_take(run.model, start, end)))
		return rv;
	if (rv == KERN_SUCCESS)
		mark(start, end, ++run.ncalls);
	return rv;
}

static int
do_take(const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t start, end;

	(void)res;
	range_of(v, &start, &end);
	return take(start, end);
}

static uint64_t
runs_free(void)
{
	struct vm_phys_stats stats;

	vm_phys_stats(run.phys, &stats);
	return stats.nruns;
}

static int
do_comb(const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t pa = place(v[HF_F_A]);
	size_t n = v[HF_F_LEN] / run.size % COMB;
	int rv = KERN_SUCCESS;

	(void)res;
	for (; n > 0 && !is_shortage(rv) && pa < window_end(); n--) {
		if (runs_free() > RUNS)
			break;
		rv = take(pa, pa + run.size);
		pa += run.size * (2 + v[HF_F_ADVICE] % 4);
	}
	run.rep->seen |= runs_free() > 600 ? FUZZ_BIT(SEEN_MANY) : 0;
	return rv;
}

static bool
is_buffer(vm_paddr_t start, vm_paddr_t end)
{
	for (unsigned i = 0; i < HF_BUFS; i++)
		if (run.buf[i].size != 0 && run.buf[i].pa < end &&
		    start < run.buf[i].pa + run.buf[i].size)
			return true;
	for (vm_pindex_t i = 0; run.object != NULL && i < OBJECT; i++) {
		struct vm_page *p = vm_pages_next(&run.object->pages, i);

		if (p == NULL)
			break;
		i = p->pindex;
		if (p->frame * run.size >= start && p->frame * run.size < end)
			return true;
	}
	return false;
}

static int
give(vm_paddr_t start, vm_paddr_t end)
{
	bool whole = start < end && is_whole(start, end);
	int rv = whole ? vm_phys_free_contig(run.phys, start, end)
		       : vm_phys_free_part(run.phys, start, end);

	if (whole && rv == KERN_RESOURCE_SHORTAGE)
		(void)fuzz_found(run.rep, "code", "give",
		    "giving back needed memory");
	if (is_shortage(rv))
		return rv;
	if (same_code("give", rv, model_phys_free(run.model, start, end)) &&
	    rv == KERN_SUCCESS) {
		mark(start, end, NOBODYS);
		run.rep->seen |= whole ? 0 : FUZZ_BIT(SEEN_PART);
	}
	return rv;
}

static int
do_give(const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t start, end;

	(void)res;
	range_of(v, &start, &end);
	return is_buffer(start, end) ? KERN_INVALID_ARGUMENT : give(start, end);
}

static int
do_give_many(const uint64_t *v, struct hf_result *res)
{
	size_t first = index_of(place(v[HF_F_A])), n = 0;
	size_t last = MIN(first + v[HF_F_LEN] / run.size % PAGES, PAGES);
	size_t i, step = 1 + v[HF_F_INH] % 3;
	vm_paddr_t pa;

	(void)res;
	for (; first < last && n < COMB; first = i) {
		for (i = first + 1; i < last && run.piece[i] != NOBODYS &&
				    run.piece[i] == run.piece[first];)
			i++;
		pa = run.low + first * run.size;
		if (run.piece[first] == NOBODYS || n++ % step != 0 ||
		    is_buffer(pa, run.low + i * run.size))
			continue;
		if (is_shortage(give(pa, run.low + i * run.size)))
			return KERN_RESOURCE_SHORTAGE;
	}
	return KERN_SUCCESS;
}

/* ---- Allocating -----------------------------------------------------------
 */

static struct contig_req
request(const uint64_t *v)
{
	uint64_t w[HF_NFIELDS];

	memcpy(w, v, sizeof(w));
	w[HF_F_A] = v[HF_F_A] == 0 ? 0 : place(v[HF_F_A]);
	w[HF_F_B] = v[HF_F_B] == 0 || v[HF_F_B] == UINT64_MAX
			? UINT64_MAX
			: place(v[HF_F_B]);
	return core_contig_request(w, run.size);
}

/* It was refused: is there none, by the model? */
static bool
is_none(const struct contig_req *req)
{
	run.rep->seen |= FUZZ_BIT(SEEN_NO_SPACE);
	return !model_phys_feasible(run.model, req) ||
	       fuzz_found(run.rep, "infeasible", "contig", "there is a run");
}

/* Would there be one if nothing were taken? */
static bool
is_verdict_right(const struct contig_req *req, bool possible)
{
	run.rep->seen |= FUZZ_BIT(possible ? SEEN_WAIT : SEEN_NEVER);
	return possible == model_phys_feasible(run.empty, req) ||
	       fuzz_found(run.rep, "code", "possible", "%d", possible);
}

/* The run is the request's; from now on it is taken. */
static bool
take_over(const struct contig_req *req, vm_paddr_t pa)
{
	vm_size_t size = roundup2(req->size, run.size);

	if (!model_phys_fits(run.model, req, pa) ||
	    model_phys_take(run.model, pa, pa + size) != KERN_SUCCESS)
		return fuzz_found(run.rep, "constraint", "contig",
		    "0x%" PRIx64 " is not free or breaks a constraint", pa);
	mark(pa, pa + size, ++run.ncalls);
	return true;
}

static void
keep(const uint64_t *v, vm_paddr_t pa, void *addr, struct hf_result *res)
{
	run.buf[v[HF_F_BUF]] =
	    (struct buffer){pa, roundup2(v[HF_F_LEN], run.size), addr};
	hf_result_out(res, "pa", HF_O_NUM, pa);
}

static int
by_phys(const struct contig_req *req, const uint64_t *v, struct hf_result *res)
{
	vm_paddr_t found = 0, pa = 0;
	int first = vm_phys_find_contig(run.phys, req, &found);
	int rv = vm_phys_alloc_contig(run.phys, req, &pa);

	if (is_shortage(rv))
		return rv;
	if (rv != first || (rv == KERN_SUCCESS && pa != found))
		(void)fuzz_found(run.rep, "out", "contig",
		    "found 0x%" PRIx64 ", taken 0x%" PRIx64, found, pa);
	if (rv == KERN_NO_SPACE && is_none(req))
		(void)is_verdict_right(req, vm_phys_possible(run.phys, req));
	if (rv == KERN_SUCCESS && take_over(req, pa))
		keep(v, pa, NULL, res);
	return rv;
}

/* Whether any domain of the set has, or with nothing taken had, a run. */
static bool
set_feasible(struct model_phys *model, struct contig_req req)
{
	for (int d = 0; d < VM_PHYS_DOMAINS; d++) {
		req.domain = d;
		if ((run.set.ds_mask >> d & 1) != 0 &&
		    model_phys_feasible(model, &req))
			return true;
	}
	return false;
}

/* What a set must do: one of its domains; the preferred one where it can. */
static bool
is_set_right(struct contig_req *req, vm_paddr_t pa)
{
	struct contig_req wish = *req;
	struct vm_phys_run at = {0};

	(void)vm_phys_next_seg(run.phys, pa, &at);
	req->domain = at.domain;
	wish.domain = run.set.ds_prefer;
	if ((run.set.ds_mask >> at.domain & 1) == 0)
		return fuzz_found(run.rep, "constraint", "contig",
		    "domain %d is not in the set", at.domain);
	if (run.set.ds_policy != DOMAINSET_POLICY_PREFER || wish.domain < 0 ||
	    wish.domain >= VM_PHYS_DOMAINS ||
	    (run.set.ds_mask >> wish.domain & 1) == 0 ||
	    at.domain == wish.domain ||
	    sim_nfailed(run.arch) != run.nfailed) /* no memory to look there */
		return true;
	run.rep->seen |= FUZZ_BIT(SEEN_SET);
	return !model_phys_feasible(run.model, &wish) ||
	       fuzz_found(run.rep, "constraint", "contig",
		   "domain %d in place of %d", at.domain, wish.domain);
}

static int
set_policy(int flags)
{
	return (flags & M_NODUMP) != 0        ? DOMAINSET_POLICY_PREFER
	       : (flags & M_USE_RESERVE) != 0 ? DOMAINSET_POLICY_FIRSTTOUCH
	       : (flags & M_NORECLAIM) != 0   ? DOMAINSET_POLICY_INTERLEAVE
					      : DOMAINSET_POLICY_ROUNDROBIN;
}

static int
by_set(struct contig_req *req, const uint64_t *v, struct hf_result *res)
{
	void *addr;
	int rv;

	if (contig_req_check(req, run.size, NULL) != KERN_SUCCESS)
		return KERN_INVALID_ARGUMENT;
	run.set.ds_policy = set_policy((int)v[HF_F_FLAGS]);
	run.set.ds_prefer = req->domain;
	run.set.ds_mask = (uint32_t)(1 + run.rep->nops % 7);
	addr = contigmalloc_domainset(req->size, &run.type, &run.set, 0,
	    req->low, req->high, req->alignment, req->boundary);
	if (addr == NULL && sim_nfailed(run.arch) != run.nfailed)
		return KERN_RESOURCE_SHORTAGE;
	if (addr == NULL) {
		if (set_feasible(run.model, *req))
			(void)fuzz_found(run.rep, "infeasible", "contig",
			    "a domain of the set has a run");
		rv = contigmalloc_verdict(&run.type, &run.set, M_WAITOK, req);
		if ((rv == KERN_RESTART) != set_feasible(run.empty, *req))
			(void)fuzz_found(run.rep, "code", "verdict", "%s",
			    hf_status_name(rv));
		req->domain = -1;
		rv = contigmalloc_verdict(&run.type, NULL, M_WAITOK, req);
		(void)is_verdict_right(req, rv == KERN_RESTART);
		rv = contigmalloc_verdict(&run.type, NULL, 0, req);
		(void)same_code("verdict", rv, KERN_NO_SPACE);
		return KERN_NO_SPACE;
	}
	if (is_set_right(req, vm_dmap_to_phys(run.arch, addr)) &&
	    take_over(req, vm_dmap_to_phys(run.arch, addr)))
		keep(v, vm_dmap_to_phys(run.arch, addr), addr, res);
	return KERN_SUCCESS;
}

static uint64_t
pages_free(void)
{
	struct vm_phys_stats stats;

	vm_phys_stats(run.phys, &stats);
	return stats.free / run.size;
}

/* The pages that a class leaves, as the manual page says. */
static uint64_t
class_leaves(int req)
{
	switch (req & VM_ALLOC_CLASS_MASK) {
	case VM_ALLOC_INTERRUPT:
		return 0;
	case VM_ALLOC_SYSTEM:
		return run.source.vps_interrupt_free_min;
	default:
		return run.source.vps_free_reserved;
	}
}

/* The request of vm_page that a request of contigmalloc stands for. */
static int
page_request(int flags)
{
	int req = VM_ALLOC_NORMAL;

	if ((flags & M_USE_RESERVE) != 0)
		req = VM_ALLOC_INTERRUPT;
	else if ((flags & M_ZERO) != 0)
		req = VM_ALLOC_SYSTEM | VM_ALLOC_SBUSY;
	if ((flags & M_NOWAIT) != 0)
		req |= VM_ALLOC_NOWAIT;
	else if ((flags & M_WAITOK) != 0)
		req |= VM_ALLOC_WAITFAIL;
	if ((flags & M_NODUMP) != 0)
		req |= VM_ALLOC_NODUMP | VM_ALLOC_WIRED;
	/* What the core asserts that nobody asks for stays out. */
	if ((flags & M_NORECLAIM) != 0 && (req & VM_ALLOC_SBUSY) == 0)
		req |= VM_ALLOC_NOBUSY;
	if ((flags & M_NORECLAIM) != 0 && (req & VM_ALLOC_NOWAIT) == 0)
		req |= VM_ALLOC_WAITOK;
	return req;
}

/* A refusal: for want of a run, or of pages that its class may take. */
static bool
is_page_refusal(struct contig_req *req, int how, int rv)
{
	uint64_t need = req->size / run.size;
	bool kept = pages_free() < class_leaves(how) + need;

	req->domain = -1;
	if (contig_req_check(req, run.size, NULL) != KERN_SUCCESS)
		return rv == KERN_NO_SPACE;
	run.rep->seen |= kept ? FUZZ_BIT(SEEN_CLASS) : 0;
	if (rv == KERN_RESTART)
		return (how & (VM_ALLOC_WAITFAIL | VM_ALLOC_WAITOK)) != 0 &&
		       is_verdict_right(req, true);
	return rv == KERN_NO_SPACE && (kept || is_none(req));
}

static int
by_page(struct contig_req *req, const uint64_t *v, struct hf_result *res)
{
	int rv, how = page_request((int)v[HF_F_FLAGS]);
	struct vm_page_run got;

	req->size = roundup2(req->size, run.size);
	req->domain = -1;
	if (req->size == 0 || !powerof2(req->alignment) ||
	    !powerof2(req->boundary))
		return KERN_INVALID_ARGUMENT; /* what it asserts */
	rv = vm_page_alloc_noobj_contig(&run.source, how, req->size / run.size,
	    req->low, req->high, req->alignment, req->boundary, 0, &got);
	if (is_shortage(rv))
		return rv;
	if (rv != KERN_SUCCESS && !is_page_refusal(req, how, rv))
		(void)fuzz_found(run.rep, "code", "contig", "%s",
		    hf_status_name(rv));
	if (rv != KERN_SUCCESS)
		return rv;
	if (pages_free() < class_leaves(how))
		(void)fuzz_found(run.rep, "constraint", "contig",
		    "the last pages are taken");
	if (take_over(req, got.vmr_pa))
		keep(v, got.vmr_pa, NULL, res);
	return rv;
}

static int
by_object(struct contig_req *req, const uint64_t *v)
{
	vm_pindex_t pindex = v[HF_F_A] / run.size % 16;
	uint64_t n = req->size / run.size % 64 + 1;
	struct vm_page *next;
	struct vm_page_run got;
	int rv;

	*req =
	    (struct contig_req){n * run.size, 0, UINT64_MAX, run.size, 0, -1};
	if (run.object == NULL)
		run.object =
		    vm_object_allocate(&run.pmap, OBJT_SWAP, OBJECT * run.size);
	if (run.object == NULL)
		return KERN_RESOURCE_SHORTAGE;
	next = vm_pages_next(&run.object->pages, pindex);
	if (next != NULL && next->pindex == pindex)
		return KERN_INVALID_ARGUMENT;
	rv = vm_page_alloc_contig(&run.source, run.object, pindex,
	    VM_ALLOC_SYSTEM, n, req->low, req->high, req->alignment, 0, 0,
	    &got);
	if (is_shortage(rv))
		return rv;
	if (rv == KERN_FAILURE && (next == NULL || next->pindex >= pindex + n))
		(void)fuzz_found(run.rep, "code", "contig",
		    "no page is in the way");
	if (rv == KERN_NO_SPACE && !is_page_refusal(req, VM_ALLOC_SYSTEM, rv))
		(void)fuzz_found(run.rep, "code", "contig", "no space");
	if (rv == KERN_SUCCESS && take_over(req, got.vmr_pa))
		run.rep->seen |= FUZZ_BIT(SEEN_PAGES);
	return rv;
}

static int
do_contig(const uint64_t *v, struct hf_result *res)
{
	struct contig_req req = request(v);

	switch (run.how) {
	case BY_SET:
		return by_set(&req, v, res);
	case BY_PAGE:
		return by_page(&req, v, res);
	case BY_OBJECT:
		return by_object(&req, v);
	default:
		return by_phys(&req, v, res);
	}
}

static int
do_contigfree(const uint64_t *v, struct hf_result *res)
{
	struct buffer *buf = &run.buf[v[HF_F_BUF]];
	vm_paddr_t end = buf->pa + buf->size;
	int rv = KERN_SUCCESS;

	(void)res;
	if (buf->size == 0) /* its pages are the object's */
		return KERN_SUCCESS;
	if (buf->addr != NULL)
		contigfree(buf->addr, buf->size, &run.type);
	else
		rv = vm_phys_free_contig(run.phys, buf->pa, end);
	(void)same_code("contigfree", rv,
	    model_phys_free(run.model, buf->pa, end));
	mark(buf->pa, end, NOBODYS);
	*buf = (struct buffer){0};
	return rv;
}

static int
do_let_go(const uint64_t *v, struct hf_result *res)
{
	(void)v;
	(void)res;
	vm_object_deallocate(run.object);
	run.object = NULL;
	return KERN_SUCCESS;
}

static int
do_thread(const uint64_t *v, struct hf_result *res)
{
	(void)res;
	run.how = (enum how)(v[HF_F_VALUE] % 4);
	return KERN_SUCCESS;
}

/* ---- Comparing ------------------------------------------------------------
 */

static bool
compare(const char *op)
{
	struct vm_phys_stats stats, sum = {0};
	const char *broken = vm_phys_check(run.phys);

	run.rep->nchecks++;
	if (broken != NULL)
		return fuzz_found(run.rep, "check", op, "%s", broken);
	if (!fuzz_compare_segs(run.rep, op, run.phys, run.model, &sum) ||
	    !fuzz_compare_free(run.rep, op, run.phys, run.model, &sum))
		return false;
	vm_phys_stats(run.phys, &stats);
	return memcmp(&stats, &sum, sizeof(sum)) == 0 ||
	       fuzz_found(run.rep, "statistics", op,
		   "0x%" PRIx64 " free in %" PRIu64 " runs, the model has "
		   "0x%" PRIx64 " in %" PRIu64,
		   stats.free, stats.nruns, sum.free, sum.nruns);
}

/* ---- The world ------------------------------------------------------------
 */

static int
page_in(void *arg, uint64_t *framep)
{
	(void)arg;
	(void)framep;
	return KERN_RESOURCE_SHORTAGE; /* nobody touches the object */
}

static int
page_copy(void *arg, vm_object_t from, uint64_t frame, uint64_t *framep)
{
	(void)from;
	(void)frame;
	return page_in(arg, framep);
}

static void
page_out(void *arg, uint64_t frame)
{
	vm_paddr_t pa = frame * run.size;

	vm_page_free_contig(arg, pa, 1);
	if (pa < run.low || pa >= window_end()) {
		(void)fuzz_found(run.rep, "out", "phys", "a page of nobody");
		return;
	}
	(void)same_code("phys", KERN_SUCCESS,
	    model_phys_free(run.model, pa, pa + run.size));
	mark(pa, pa + run.size, NOBODYS);
}

static const struct vm_pager_ops pager_ops = {page_in, page_copy, page_out};

static bool
add_memory(void)
{
	static const struct {
		unsigned first, last;
		int domain;
	} segs[] = {{0, 2500, 0}, {2500, 3000, 1}, {3000, 4000, 0}};

	for (size_t i = 0; i < nitems(segs); i++) {
		vm_paddr_t start = run.low + segs[i].first * run.size;
		vm_paddr_t end = run.low + segs[i].last * run.size;

		if (vm_phys_add_seg(run.phys, start, end, segs[i].domain,
			NULL) != KERN_SUCCESS)
			return false;
		(void)model_phys_add_seg(run.model, start, end, segs[i].domain,
		    NULL);
		(void)model_phys_add_seg(run.empty, start, end, segs[i].domain,
		    NULL);
	}
	return true;
}

/* In some worlds little memory may be taken by everybody. */
static unsigned
reserve_shift(void)
{
	return (run.header->seed >> 16 & 1) != 0
		   ? 0
		   : 4 + (run.header->seed >> 18 & 1);
}

static int
do_world(const uint64_t *v, struct hf_result *res)
{
	static const vm_paddr_t borders[] = {UINT64_C(1) << 24,
	    UINT64_C(1) << 32, UINT64_C(1) << 41};
	const struct hf_preset *preset = hf_preset(run.header->preset);
	struct sim_options options = {.machine = preset->machine,
	    .page_size = preset->page_size};

	(void)res;
	(void)v;
	if (run.arch != NULL)
		return KERN_INVALID_ARGUMENT;
	options.no_inject = fuzz_is_undisturbed(run.header);
	run.arch = sim_create(&options);
	run.size = run.arch->machine->page_size;
	run.low = MAX(borders[run.header->seed % nitems(borders)],
		      BORDER * run.size) -
		  BORDER * run.size;
	run.pmap.arch = run.arch;
	run.phys = vm_phys_create(run.arch, run.size);
	run.model = model_phys_create(run.low, PAGES, run.size);
	run.empty = model_phys_create(run.low, PAGES, run.size);
	malloc_init(&run.type, "runs", run.phys, run.arch);
	run.set.ds_mask = 1;
	run.source = (struct vm_page_source){.vps_phys = run.phys,
	    .vps_pager = vm_pager_create(run.arch, &pager_ops, &run.source),
	    .vps_interrupt_free_min = 16,
	    .vps_free_reserved = UINT64_C(64) << reserve_shift()};
	return add_memory() ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
}

/* So that places relative to a map mean something. */
static int
do_map(const uint64_t *v, struct hf_result *res)
{
	(void)v;
	(void)res;
	return KERN_SUCCESS;
}

static int
do_inject(const uint64_t *v, struct hf_result *res)
{
	(void)res;
	core_inject(run.arch, v);
	return KERN_SUCCESS;
}

static handler *const handlers[HF_NOPS] = {
    [HF_WORLD] = do_world,
    [HF_MAP] = do_map,
    [HF_SEG] = do_seg,
    [HF_UNSEG] = do_unseg,
    [HF_TAKE] = do_take,
    [HF_GIVE] = do_give,
    [HF_MADVISE] = do_comb,
    [HF_INHERIT] = do_give_many,
    [HF_CONTIG] = do_contig,
    [HF_CONTIGFREE] = do_contigfree,
    [HF_PHYS] = do_let_go,
    [HF_THREAD] = do_thread,
    [HF_INJECT] = do_inject,
};

static void
runs_call(struct hf_backend *base, const struct hf_call *call,
    struct hf_result *res)
{
	(void)base;
	hf_result_set(res, HF_S_UNSUPPORTED);
	if (handlers[call->op] == NULL || (call->op == HF_SEG && !run.ready) ||
	    (call->op != HF_WORLD && run.arch == NULL))
		return;
	if (run.arch != NULL)
		run.nfailed = sim_nfailed(run.arch);
	res->status = handlers[call->op](call->v, res);
}

static const struct hf_backend_ops runs_ops = {.name = "runs",
    .call = runs_call,
    .entries = fuzz_no_entries,
    .nentries = fuzz_no_nentries};

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
	if (res->status == KERN_RESOURCE_SHORTAGE)
		run.rep->seen |= FUZZ_BIT(SEEN_SHORTAGE);
	else if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return true;
	return compare(hf_ops[call->op].name);
}

static void
clear(void)
{
	uint64_t none[HF_NFIELDS] = {0};
	struct hf_result res;

	(void)do_let_go(none, &res);
	if (vm_pager_npages(run.source.vps_pager) != 0)
		(void)fuzz_found(run.rep, "leak", "end", "pages are left");
	if (run.type.ks_stats.mts_numallocs - run.type.ks_stats.mts_numfrees >
	    HF_BUFS)
		(void)fuzz_found(run.rep, "statistics", "end", "contigmalloc");
	vm_pager_destroy(run.source.vps_pager);
	vm_phys_destroy(run.phys);
	model_phys_destroy(run.model);
	model_phys_destroy(run.empty);
	fuzz_sim_end(run.rep, run.arch);
}

static void
run_runs(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.called = called};

	memset(rep, 0, sizeof(*rep));
	memset(&run, 0, sizeof(run));
	run.base.ops = &runs_ops;
	run.rep = rep;
	run.header = &runner.header;
	hf_runner_init(&runner, &run.base, &options, &observer, data, size);
	run.ready = run.arch != NULL;
	hf_run(&runner, data, size);
	if (!rep->found && run.arch != NULL)
		(void)compare("end");
	if (rep->found || run.arch == NULL)
		return; /* what holds the rest is broken: leave it */
	clear();
}

const struct fuzz_target fuzz_target = {.name = "fuzz_runs",
    .ops = FUZZ_OPS_RUNS,
    .run = run_runs,
    .sometimes = sometimes,
    .required = FUZZ_BIT(SEEN_SHORTAGE) | FUZZ_BIT(SEEN_NO_SPACE) |
		FUZZ_BIT(SEEN_MANY) | FUZZ_BIT(SEEN_PART) | FUZZ_BIT(SEEN_SET) |
		FUZZ_BIT(SEEN_WAIT) | FUZZ_BIT(SEEN_NEVER) |
		FUZZ_BIT(SEEN_PAGES) | FUZZ_BIT(SEEN_CLASS)};
