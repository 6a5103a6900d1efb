/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A target that fails once it has seen a find behind an insert: whatever does
 * not report it reports nothing.
 */

#include "fuzz/ops.h"
#include "fuzz/prog/prog.h"
#include "fuzz/target.h"

#include <string.h>

static void
run_canary(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	bool inserted = false;
	struct hf_inst inst;
	size_t off = 0;

	memset(rep, 0, sizeof(*rep));
	while (!rep->found && hf_next(data, size, &off, &inst)) {
		rep->nops++;
		fuzz_hash(rep, inst.op);
		if (inserted && inst.op == HF_FIND)
			(void)fuzz_found(rep, "canary", "find", "as it should");
		inserted |= inst.op == HF_INSERT;
	}
}

const struct fuzz_target fuzz_target = {.name = "canary",
    .ops = FUZZ_OPS_MAP,
    .run = run_canary};
