/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the strict check must refuse, said once more and in another way: which
 * rules an operation breaks, whatever their order.
 */

#include "fuzz/prog/backend_core.h"
#include "fuzz/target.h"

/*
 * After an operation that took `call` to `res`: it is refused exactly when it
 * breaks a rule, and with the code of one that it breaks.  Operations that the
 * back end itself may refuse are left out.  false: reported.
 */
bool map_strict_follow(const struct core_backend *core,
    const struct hf_call *call, const struct hf_result *res,
    struct fuzz_report *rep);
