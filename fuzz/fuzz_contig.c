/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc and vm_phys against one record a page: success exactly where
 * some run is feasible, every run within its constraints, free runs and
 * segments the same, statistics in whole pages, nothing left at the end.
 * Which feasible run is taken is not contractual.
 */

#include "arch/sim/sim.h"
#include "core/kassert.h"
#include "core/vm_phys.h"
#include "fuzz/common.h"
#include "fuzz/ops.h"
#include "fuzz/prog/backend_core.h"

#include <inttypes.h>
#include <string.h>

#define WINDOW_MAX 4400 /* pages that the model looks at one by one */

enum seen {
	SEEN_SHORTAGE,
	SEEN_NO_SPACE,  /* infeasible, and the model agrees */
	SEEN_BOUNDARY,  /* a run that had a boundary to respect */
	SEEN_DOMAIN,    /* from a domain that was asked for */
	SEEN_SEG_LEFT,  /* a segment was removed */
	SEEN_FRAGMENTS, /* more than 16 free runs */
};
static const char *const sometimes[] = {"shortage", "no-space", "boundary",
    "domain", "segment-removed", "fragments", NULL};

struct run {
	struct core_backend core;
	struct model_phys *model;
	struct fuzz_report *rep;
	vm_paddr_t low, high; /* the model's window */
	uint64_t nfailed;
	vm_size_t in_use;  /* bytes of live buffers, whole pages */
	bool segs_changed; /* since they were compared */
};

static vm_size_t
page_size(const struct run *run)
{
	return run->core.arch->machine->page_size;
}

/* The pages of the preset's segments, and some around them. */
static bool
set_window(struct run *run, const struct hf_preset *preset)
{
	vm_size_t page = preset->page_size != 0 ? preset->page_size : 4096;
	vm_paddr_t low = UINT64_MAX, high = 0;

	for (size_t i = 0; i < nitems(preset->segs); i++) {
		if (preset->segs[i].end == 0)
			break;
		low = MIN(low, preset->segs[i].start);
		high = MAX(high, preset->segs[i].end);
	}
	run->low = low > 64 * page ? low - 64 * page : 0;
	run->high = high + 64 * page;
	if (low >= high || (run->high - run->low) / page > WINDOW_MAX)
		return false;
	run->model =
	    model_phys_create(run->low, (run->high - run->low) / page, page);
	return true;
}

static bool
before(void *arg, struct hf_runner *r, const struct hf_call *call)
{
	struct run *run = arg;

	(void)r;
	run->nfailed = run->core.arch != NULL ? sim_nfailed(run->core.arch) : 0;
	return call->op != HF_SEG ||
	       (call->v[HF_F_A] >= run->low && call->v[HF_F_B] <= run->high);
}

static bool
follow_contig(struct run *run, const uint64_t *v, const struct hf_result *res)
{
	struct contig_req req = core_contig_request(v, page_size(run));
	vm_size_t size = roundup2(req.size, page_size(run));
	uint64_t pa = 0;

	if (res->status != KERN_SUCCESS) {
		run->rep->seen |= FUZZ_BIT(SEEN_NO_SPACE);
		return !model_phys_feasible(run->model, &req) ||
		       fuzz_found(run->rep, "infeasible", "contig",
			   "%s, but there is a run",
			   hf_status_name(res->status));
	}
	(void)hf_result_get(res, "pa", &pa);
	if (req.boundary != 0)
		run->rep->seen |= FUZZ_BIT(SEEN_BOUNDARY);
	if (req.domain >= 0)
		run->rep->seen |= FUZZ_BIT(SEEN_DOMAIN);
	if (!model_phys_fits(run->model, &req, pa))
		return fuzz_found(run->rep, "constraint", "contig",
		    "0x%" PRIx64 " is not free or breaks a constraint", pa);
	if (model_phys_take(run->model, pa, pa + size) != KERN_SUCCESS)
		return fuzz_found(run->rep, "constraint", "contig",
		    "the model cannot take 0x%" PRIx64, pa);
	run->in_use += size;
	return true;
}

/* The buffer is still known to the runner, which forgets it afterwards. */
static bool
follow_free(struct run *run, struct hf_runner *r, const uint64_t *v)
{
	const struct hf_buffer *buf = &r->bufs[v[HF_F_BUF]];
	vm_size_t size = roundup2(buf->size, page_size(run));

	run->in_use -= size;
	return model_phys_free(run->model, buf->pa, buf->pa + size) ==
		   KERN_SUCCESS ||
	       fuzz_found(run->rep, "code", "contigfree",
		   "the model cannot free 0x%" PRIx64, buf->pa);
}

static bool
follow(struct run *run, struct hf_runner *r, const struct hf_call *call,
    const struct hf_result *res)
{
	const uint64_t *v = call->v;
	int rv;

	switch (call->op) {
	case HF_SEG:
		run->segs_changed = true;
		rv = model_phys_add_seg(run->model, v[HF_F_A], v[HF_F_B],
		    (int)MIN(v[HF_F_DOMAIN], 99), NULL);
		break;
	case HF_UNSEG:
		run->segs_changed = true;
		rv = model_phys_remove_seg(run->model, v[HF_F_A], v[HF_F_B]);
		if (rv == KERN_SUCCESS)
			run->rep->seen |= FUZZ_BIT(SEEN_SEG_LEFT);
		break;
	case HF_TAKE:
		rv = model_phys_take(run->model, v[HF_F_A], v[HF_F_B]);
		break;
	case HF_GIVE:
		rv = model_phys_free(run->model, v[HF_F_A], v[HF_F_B]);
		break;
	case HF_CONTIG:
		return follow_contig(run, v, res);
	case HF_CONTIGFREE:
		return follow_free(run, r, v);
	default:
		rv = KERN_SUCCESS;
		break;
	}
	return rv == res->status ||
	       fuzz_found(run->rep, "code", hf_ops[call->op].name,
		   "%s, the model says %s", hf_status_name(res->status),
		   hf_status_name(rv));
}

static bool
compare(struct run *run, const char *op)
{
	const struct malloc_type_stats *stats = &run->core.type.ks_stats;
	struct vm_phys_stats real, sum = {0};
	const char *broken = NULL;

	/* Otherwise the core has done so after each edit. */
	if (VM_INVARIANTS < 2 || strcmp(op, "end") == 0)
		broken = vm_phys_check(run->core.phys);
	run->rep->nchecks++;
	if (broken != NULL)
		return fuzz_found(run->rep, "check", op, "%s", broken);
	if (stats->mts_memalloced - stats->mts_memfreed != run->in_use)
		return fuzz_found(run->rep, "statistics", op,
		    "0x%" PRIx64 " bytes in use, not 0x%" PRIx64,
		    stats->mts_memalloced - stats->mts_memfreed, run->in_use);
	if (!fuzz_compare_free(run->rep, op, run->core.phys, run->model, &sum))
		return false;
	vm_phys_stats(run->core.phys, &real);
	if (real.free != sum.free || real.nruns != sum.nruns ||
	    real.largest_run != sum.largest_run)
		return fuzz_found(run->rep, "statistics", op,
		    "0x%" PRIx64 " free, the longest run 0x%" PRIx64
		    ", the model has 0x%" PRIx64 " and 0x%" PRIx64,
		    real.free, real.largest_run, sum.free, sum.largest_run);
	if (sum.nruns > 16)
		run->rep->seen |= FUZZ_BIT(SEEN_FRAGMENTS);
	if (run->segs_changed &&
	    !fuzz_compare_segs(run->rep, op, run->core.phys, run->model, &sum))
		return false;
	run->segs_changed = false;
	return true;
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	struct run *run = arg;
	const char *op = hf_ops[call->op].name;
	bool failed;

	if (inst != NULL)
		run->rep->nops++;
	fuzz_hash_answer(run->rep, call, res);
	if (res->refused || call->op == HF_INJECT || call->op == HF_WORLD)
		return true;
	failed = sim_nfailed(run->core.arch) != run->nfailed;
	if (failed && res->status == KERN_RESOURCE_SHORTAGE) {
		run->rep->seen |= FUZZ_BIT(SEEN_SHORTAGE);
		return compare(run, op);
	}
	if (!follow(run, r, call, res))
		return false;
	if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return true;
	return compare(run, op);
}

static void
run_contig(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	static struct run run;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.before = before,
	    .called = called,
	    .arg = &run};
	struct hf_header header;
	const char *left;

	memset(rep, 0, sizeof(*rep));
	memset(&run, 0, sizeof(run));
	hf_header_read(data, size, &header);
	if (!set_window(&run, hf_preset(header.preset)))
		return;
	core_backend_init(&run.core, false);
	run.core.undisturbed = fuzz_is_undisturbed(&header);
	run.rep = rep;
	hf_runner_init(&runner, &run.core.base, &options, &observer, data,
	    size);
	hf_run(&runner, data, size);
	if (!rep->found)
		(void)compare(&run, "end");
	model_phys_destroy(run.model);
	if (rep->found)
		return; /* what holds the rest is broken: leave it */
	left = core_backend_clear(&run.core);
	if (left != NULL)
		(void)fuzz_found(rep, "leak", "end", "%s", left);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_contig",
    .ops = FUZZ_OPS_CONTIG,
    .run = run_contig,
    .sometimes = sometimes,
    .required = FUZZ_BIT(SEEN_SHORTAGE) | FUZZ_BIT(SEEN_NO_SPACE) |
		FUZZ_BIT(SEEN_BOUNDARY) | FUZZ_BIT(SEEN_DOMAIN) |
		FUZZ_BIT(SEEN_SEG_LEFT) | FUZZ_BIT(SEEN_FRAGMENTS)};
