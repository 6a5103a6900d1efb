/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/map_target.h"

#include "arch/sim/sim.h"
#include "core/vm_fault.h"
#include "core/vm_phys.h"
#include "fuzz/common.h"
#include "fuzz/map_content.h"
#include "fuzz/map_strict.h"
#include "fuzz/ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMPARE_ALL 16 /* every so many operations all maps and objects */

const char *const map_sometimes[] = {"shortage", "many-entries", "two-maps",
    "no-space", "protection-failure", "shared-object", "stack-grown",
    "guard-hit", "over-limit", "page-copied", "read-through", "page-of-zeroes",
    "no-frame", "wired-fork", "system-wired", "buffer", "frame-reused", NULL};

struct run {
	struct core_backend core;
	struct map_mirror mirror;
	struct content *content; /* NULL: nothing is touched */
	struct fuzz_report *rep;
	uint64_t nfailed;  /* when the operation began */
	uint64_t nrefused; /* the same, for frames */
	vm_size_t size;    /* the same, of the operation's map */
};

/* ---- Rare states ----------------------------------------------------------
 */

static void
note_touch(struct run *run, const struct hf_result *res)
{
	static const enum map_seen of_kind[] = {[VM_FAULT_SHARED] =
						    SEEN_THROUGH,
	    [VM_FAULT_ZERO] = SEEN_ZERO,
	    [VM_FAULT_COPY] = SEEN_COPIED};
	uint64_t kind;

	if (hf_result_get(res, "kind", &kind) && kind >= VM_FAULT_SHARED &&
	    kind <= VM_FAULT_COPY)
		run->rep->seen |= SEEN(of_kind[kind]);
	if (run->core.frames.free != 0 && kind == VM_FAULT_ZERO)
		run->rep->seen |= SEEN(SEEN_REUSED);
}

/* What the operation's map tells. */
static void
note_map(struct run *run, const struct hf_call *call,
    const struct hf_result *res)
{
	uint64_t *seen = &run->rep->seen;
	vm_map_t map = run->core.maps[call->v[HF_F_MAP]];
	struct vm_map_limits limits;

	if (map == NULL)
		return;
	if (vm_map_nentries(map) > 32)
		*seen |= SEEN(SEEN_MANY);
	if ((call->op == HF_GROWSTACK || call->op == HF_TOUCH) &&
	    vm_map_size(map) > run->size)
		*seen |= SEEN(SEEN_GROWN);
	if (call->op == HF_GROWSTACK && res->status == KERN_NO_SPACE)
		*seen |= SEEN(SEEN_GUARD);
	if (call->op == HF_FORK && vm_map_user_wired(map) > 0)
		*seen |= SEEN(SEEN_WIRED_FORK);
	if (res->status == KERN_WOULD_BLOCK)
		*seen |= SEEN(SEEN_SYSTEM);
	vm_map_get_limits(map, &limits);
	if (res->status == KERN_RESOURCE_SHORTAGE &&
	    (limits.memlock | limits.swap | limits.nentries) != 0)
		*seen |= SEEN(SEEN_LIMIT);
}

static void
note_rare(struct run *run, struct hf_runner *r, const struct hf_call *call,
    const struct hf_result *res, bool failed)
{
	uint64_t *seen = &run->rep->seen;
	unsigned nmaps = 0;
	vm_object_t object;

	for (unsigned i = 0; i < HF_MAPS; i++)
		nmaps += r->maps[i].live;
	if (failed && res->status == KERN_RESOURCE_SHORTAGE)
		*seen |= SEEN(SEEN_SHORTAGE);
	if (nmaps > 1)
		*seen |= SEEN(SEEN_TWO_MAPS);
	if (res->status == KERN_NO_SPACE)
		*seen |= SEEN(SEEN_NO_SPACE);
	if (res->status == KERN_PROTECTION_FAILURE)
		*seen |= SEEN(SEEN_PROTECTION);
	if (call->op == HF_TOUCH && res->status == KERN_SUCCESS)
		note_touch(run, res);
	if (call->op == HF_TOUCH && run->core.frames.nrefused != run->nrefused)
		*seen |= SEEN(SEEN_NO_FRAME);
	if (call->op == HF_CONTIG && res->status == KERN_SUCCESS &&
	    run->core.frames.nlive > 0)
		*seen |= SEEN(SEEN_BUFFER);
	if (hf_field(call->op, HF_F_MAP) != NULL && call->v[HF_F_MAP] < HF_MAPS)
		note_map(run, call, res);
	object = run->core.objs[call->v[HF_F_OBJ] % HF_OBJS];
	if (object != NULL && vm_object_refs(object) > 2)
		*seen |= SEEN(SEEN_SHARED);
}

/* ---- Operations -----------------------------------------------------------
 */

/* May running out of entries fail an operation on any map? */
static bool
is_limited(struct run *run, struct hf_runner *r)
{
	struct vm_map_limits limits;

	for (unsigned i = 0; i < HF_MAPS; i++) {
		if (!r->maps[i].live)
			continue;
		vm_map_get_limits(run->core.maps[i], &limits);
		if (limits.nentries != 0)
			return true;
	}
	return false;
}

static bool
before(void *arg, struct hf_runner *r, const struct hf_call *call)
{
	struct run *run = arg;
	uint64_t slot = call->v[HF_F_MAP];

	/* find_min may fail once and then succeed elsewhere, as it should;
	   the model cannot tell which of its two passes was hit. */
	if (run->content != NULL && call->op == HF_MAP && r->had_map &&
	    !content_follows(run->content, call))
		return false;
	if (call->op == HF_FIND_MIN) {
		if (is_limited(run, r))
			return false;
		sim_fail_never(run->core.arch);
	}
	run->nfailed = run->core.arch != NULL ? sim_nfailed(run->core.arch) : 0;
	run->nrefused = run->core.frames.nrefused;
	run->size = slot < HF_MAPS && run->core.maps[slot] != NULL
			? vm_map_size(run->core.maps[slot])
			: 0;
	return true;
}

/* Every page of physical memory is free, a frame, or in a buffer. */
static bool
conserved(struct run *run, const char *op)
{
	const struct malloc_type_stats *mts = &run->core.type.ks_stats;
	vm_size_t page = run->core.arch->machine->page_size;
	struct vm_phys_stats stats;
	vm_size_t frames = run->core.frames.nlive * page;

	vm_phys_stats(run->core.phys, &stats);
	return stats.free + frames + mts->mts_memalloced - mts->mts_memfreed ==
		   stats.total ||
	       fuzz_found(run->rep, "conservation", op,
		   "0x%" PRIx64 " bytes free and 0x%" PRIx64
		   " in frames of 0x%" PRIx64,
		   stats.free, frames, stats.total);
}

static bool
compare(struct run *run, const char *op)
{
	return map_mirror_compare(&run->mirror, op, run->rep) &&
	       (run->content == NULL || conserved(run, op));
}

/* Buffers and segments: not this model's; they only use memory up. */
static bool
is_phys(uint8_t op)
{
	return op == HF_CONTIG || op == HF_CONTIGFREE || op == HF_SEG;
}

static bool
follow(struct run *run, const struct hf_call *call, const struct hf_result *res,
    bool failed)
{
	bool done = res->status == KERN_SUCCESS && run->content != NULL &&
		    !res->refused;

	if (is_phys(call->op))
		return true;
	if (done)
		content_before(run->content, call);
	if (!map_mirror_follow(&run->mirror, call, res, failed, run->rep))
		return false;
	if (done)
		content_after(run->content, call, res);
	return !done || call->op != HF_TOUCH ||
	       content_touch(run->content, call, res, run->rep);
}

static bool
called(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	struct run *run = arg;
	struct fuzz_report *rep = run->rep;
	bool failed;

	if (inst != NULL)
		rep->nops++;
	fuzz_hash_answer(rep, call, res);
	if (call->op == HF_INJECT || res->status == HF_S_SKIPPED)
		return true;
	failed = sim_nfailed(run->core.arch) != run->nfailed ||
		 run->core.frames.nrefused != run->nrefused;
	note_rare(run, r, call, res, failed);
	if (!map_strict_follow(&run->core, call, res, rep) ||
	    !follow(run, call, res, failed))
		return false;
	if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return true;
	if (r->nops % COMPARE_ALL != 0)
		return map_mirror_compare_call(&run->mirror, call, rep);
	return compare(run, hf_ops[call->op].name);
}

void
map_target_run(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	static struct run run;
	struct hf_header header;
	const char *left;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.before = before,
	    .called = called,
	    .arg = &run};

	memset(rep, 0, sizeof(*rep));
	hf_header_read(data, size, &header);
	core_backend_init(&run.core, false);
	run.core.undisturbed = fuzz_is_undisturbed(&header);
	map_mirror_init(&run.mirror, &run.core);
	run.content = (fuzz_target.ops & FUZZ_BIT(HF_TOUCH)) != 0
			  ? content_create(&run.mirror)
			  : NULL;
	run.rep = rep;
	hf_runner_init(&runner, &run.core.base, &options, &observer, data,
	    size);
	hf_run(&runner, data, size);
	if (!rep->found)
		(void)compare(&run, "end");
	if (run.content != NULL)
		content_destroy(run.content);
	map_mirror_fini(&run.mirror);
	if (rep->found)
		return; /* what holds the rest is broken: leave it */
	left = core_backend_clear(&run.core);
	if (left != NULL)
		(void)fuzz_found(rep, "leak", "end", "%s", left);
}
