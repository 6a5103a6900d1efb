/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/common.h"

#include "arch/sim/sim.h"
#include "core/vm_param.h"

#include <inttypes.h>

void
fuzz_hash_answer(struct fuzz_report *rep, const struct hf_call *call,
    const struct hf_result *res)
{
	fuzz_hash(rep, (uint64_t)call->op << 32 | (uint64_t)res->status);
	/* How objects are numbered is nobody's promise. */
	for (unsigned i = 0; i < res->nouts; i++)
		if (res->out[i].kind != HF_O_OBJECT)
			fuzz_hash(rep, res->out[i].value);
}

bool
fuzz_is_undisturbed(const struct hf_header *header)
{
	return (header->seed >> 4 & 7) == 6;
}

size_t
fuzz_no_entries(struct hf_backend *base, unsigned map, size_t k,
    struct hf_entry *entries, size_t max)
{
	(void)base;
	(void)map;
	(void)k;
	(void)entries;
	(void)max;
	return 0;
}

size_t
fuzz_no_nentries(struct hf_backend *base, unsigned map)
{
	(void)base;
	(void)map;
	return 0;
}

static bool
same_run(const struct vm_phys_run *a, const struct vm_phys_run *b)
{
	return a->start == b->start && a->end == b->end &&
	       a->domain == b->domain;
}

static bool
runs_differ(struct fuzz_report *rep, const char *op, const char *what,
    const struct vm_phys_run *real, const struct vm_phys_run *model)
{
	return fuzz_found(rep, "state", op,
	    "%s [0x%" PRIx64 ", 0x%" PRIx64 ") %d, the model has [0x%" PRIx64
	    ", 0x%" PRIx64 ") %d",
	    what, real->start, real->end, real->domain, model->start,
	    model->end, model->domain);
}

bool
fuzz_compare_free(struct fuzz_report *rep, const char *op, struct vm_phys *phys,
    const struct model_phys *model, struct vm_phys_stats *sum)
{
	struct vm_phys_run real = {0}, run = {0};
	bool r, m;

	for (vm_paddr_t pa = 0;; pa = real.end) {
		r = vm_phys_next_free(phys, pa, &real);
		m = model_phys_next_free(model, pa, &run);
		if (!r && !m)
			return true;
		if (r != m || !same_run(&real, &run))
			return runs_differ(rep, op, "free run", &real, &run);
		sum->nruns++;
		sum->free += real.end - real.start;
		sum->largest_run = MAX(sum->largest_run, real.end - real.start);
	}
}

bool
fuzz_compare_segs(struct fuzz_report *rep, const char *op, struct vm_phys *phys,
    const struct model_phys *model, struct vm_phys_stats *sum)
{
	struct vm_phys_run real = {0}, seg = {0};
	bool r, m;

	for (vm_paddr_t pa = 0;; pa = real.end) {
		r = vm_phys_next_seg(phys, pa, &real);
		m = model_phys_next_seg(model, pa, &seg);
		if (!r && !m)
			return true;
		if (r != m || !same_run(&real, &seg))
			return runs_differ(rep, op, "segment", &real, &seg);
		sum->nsegs++;
		sum->total += real.end - real.start;
	}
}

void
fuzz_sim_end(struct fuzz_report *rep, struct arch *arch)
{
	if (arch != NULL && sim_live(arch) != 0)
		(void)fuzz_found(rep, "leak", "end",
		    "%zu blocks of metadata are left", sim_live(arch));
	sim_destroy(arch);
}
