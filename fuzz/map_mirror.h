/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The naive map model beside the core back end: does again, on the model, what
 * the core did, and compares answers and state.
 */

#include "fuzz/prog/backend_core.h"
#include "fuzz/target.h"
#include "tests/model/model_map.h"

struct map_mirror {
	struct core_backend *core;
	struct model_map *maps[HF_MAPS];
	struct model_object *objs[HF_OBJS];
	uint64_t failed;  /* sim_nfailed() before the operation */
	vm_prot_t rights; /* that the model's last lookup or touch gives */
};

void map_mirror_init(struct map_mirror *m, struct core_backend *core);
void map_mirror_fini(struct map_mirror *m);

/*
 * Follow one operation.  `failed`: an injected failure hit it, so that a
 * shortage means "as if never asked".  false: reported.
 */
bool map_mirror_follow(struct map_mirror *m, const struct hf_call *call,
    const struct hf_result *res, bool failed, struct fuzz_report *rep);

/*
 * Compare all maps and objects.  false: reported.  compare_call: only what the
 * operation names; the core's own checker runs at each unlock anyway.
 */
bool map_mirror_compare(struct map_mirror *m, const char *op,
    struct fuzz_report *rep);
bool map_mirror_compare_call(struct map_mirror *m, const struct hf_call *call,
    struct fuzz_report *rep);
