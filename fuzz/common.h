/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What several targets do alike: answers into the hash, physical memory beside
 * its model.
 */

#include "fuzz/prog/run.h"
#include "fuzz/target.h"
#include "tests/model/model_phys.h"

struct arch;

/* What an operation answered, into the report's hash. */
void fuzz_hash_answer(struct fuzz_report *rep, const struct hf_call *call,
    const struct hf_result *res);

/*
 * Does the program run where nobody asks whether an allocation shall fail?  One
 * in eight does, by its seed: only there the core takes its short ways past
 * such questions, as it does in production.
 */
bool fuzz_is_undisturbed(const struct hf_header *header);

/* A back end without maps: `entries` and `nentries` of hf_backend_ops. */
size_t fuzz_no_entries(struct hf_backend *base, unsigned map, size_t k,
    struct hf_entry *entries, size_t max);
size_t fuzz_no_nentries(struct hf_backend *base, unsigned map);

/*
 * Free runs, or segments, of both side by side; a difference is a finding
 * (false).  What the model has is added to the fields of `sum`.
 */
bool fuzz_compare_free(struct fuzz_report *rep, const char *op,
    struct vm_phys *phys, const struct model_phys *model,
    struct vm_phys_stats *sum);
bool fuzz_compare_segs(struct fuzz_report *rep, const char *op,
    struct vm_phys *phys, const struct model_phys *model,
    struct vm_phys_stats *sum);

/* Nothing of arch/sim may be left: a finding; then it is destroyed. */
void fuzz_sim_end(struct fuzz_report *rep, struct arch *arch);
