/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The map against the naive model: codes and out-parameters of every
 * operation, the whole state at the program's cadence, the core's checker, and
 * nothing left at the end.  Injected failures leave no trace.
 */

#include "arch/sim/sim.h"
#include "fuzz/map_mirror.h"
#include "fuzz/ops.h"
#include "fuzz/target.h"

#include <stdio.h>
#include <string.h>

#define COMPARE_ALL 16 /* every so many operations all maps and objects */

enum seen {
	SEEN_SHORTAGE, /* an injected failure ended an operation */
	SEEN_MANY,     /* more than 32 entries */
	SEEN_TWO_MAPS,
	SEEN_NO_SPACE,
	SEEN_PROTECTION,
	SEEN_SHARED, /* an object with three references */
};
static const char *const sometimes[] = {"shortage", "many-entries", "two-maps",
    "no-space", "protection-failure", "shared-object", NULL};

struct run {
	struct core_backend core;
	struct map_mirror mirror;
	struct fuzz_report *rep;
	uint64_t nfailed; /* when the operation began */
};

static void
note_rare(struct run *run, struct hf_runner *r, const struct hf_call *call,
    const struct hf_result *res, bool failed)
{
	uint64_t *seen = &run->rep->seen;
	unsigned nmaps = 0;

	for (unsigned i = 0; i < HF_MAPS; i++)
		nmaps += r->maps[i].live;
	if (failed && res->status == KERN_RESOURCE_SHORTAGE)
		*seen |= FUZZ_BIT(SEEN_SHORTAGE);
	if (nmaps > 1)
		*seen |= FUZZ_BIT(SEEN_TWO_MAPS);
	if (res->status == KERN_NO_SPACE)
		*seen |= FUZZ_BIT(SEEN_NO_SPACE);
	if (res->status == KERN_PROTECTION_FAILURE)
		*seen |= FUZZ_BIT(SEEN_PROTECTION);
	if (hf_field(call->op, HF_F_MAP) != NULL &&
	    r->maps[call->v[HF_F_MAP] % HF_MAPS].live &&
	    vm_map_nentries(run->core.maps[call->v[HF_F_MAP] % HF_MAPS]) > 32)
		*seen |= FUZZ_BIT(SEEN_MANY);
	if (call->v[HF_F_OBJ] % HF_OBJS != 0 &&
	    run->core.objs[call->v[HF_F_OBJ] % HF_OBJS] != NULL &&
	    vm_object_refs(run->core.objs[call->v[HF_F_OBJ] % HF_OBJS]) > 2)
		*seen |= FUZZ_BIT(SEEN_SHARED);
}

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

	/* find_min may fail once and then succeed elsewhere, as it should;
	   the model cannot tell which of its two passes was hit. */
	if (call->op == HF_FIND_MIN) {
		if (is_limited(run, r))
			return false;
		sim_fail_never(run->core.arch);
	}
	run->nfailed = run->core.arch != NULL ? sim_nfailed(run->core.arch) : 0;
	return true;
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
	fuzz_hash(rep, (uint64_t)call->op << 32 | (uint64_t)res->status);
	for (unsigned i = 0; i < res->nouts; i++)
		if (res->out[i].kind != HF_O_OBJECT)
			fuzz_hash(rep, res->out[i].value);
	if (call->op == HF_INJECT || res->status == HF_S_SKIPPED)
		return true;
	failed = sim_nfailed(run->core.arch) != run->nfailed;
	note_rare(run, r, call, res, failed);
	if (!map_mirror_follow(&run->mirror, call, res, failed, rep))
		return false;
	if (r->header.cadence == 0xff || r->nops % r->header.cadence != 0)
		return true;
	if (r->nops % COMPARE_ALL != 0)
		return map_mirror_compare_call(&run->mirror, call, rep);
	return map_mirror_compare(&run->mirror, hf_ops[call->op].name, rep);
}

static void
run_map(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct hf_runner runner;
	static struct run run;
	const char *left;
	struct hf_options options = {.loose = true,
	    .quiet = true,
	    .nops_max = FUZZ_OPS_MAX,
	    .ops = fuzz_target.ops};
	struct hf_observer observer = {.before = before,
	    .called = called,
	    .arg = &run};

	memset(rep, 0, sizeof(*rep));
	core_backend_init(&run.core, false);
	map_mirror_init(&run.mirror, &run.core);
	run.rep = rep;
	hf_runner_init(&runner, &run.core.base, &options, &observer, data,
	    size);
	hf_run(&runner, data, size);
	if (!rep->found)
		(void)map_mirror_compare(&run.mirror, "end", rep);
	map_mirror_fini(&run.mirror);
	if (rep->found)
		return; /* what holds the rest is broken: leave it */
	left = core_backend_clear(&run.core);
	if (left != NULL)
		(void)fuzz_found(rep, "leak", "end", "%s", left);
}

const struct fuzz_target fuzz_target = {.name = "fuzz_map",
    .ops = FUZZ_OPS_MAP,
    .run = run_map,
    .sometimes = sometimes};
