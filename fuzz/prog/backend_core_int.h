/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the parts of the core back end share.
 */

#include "core/vm_strict.h"
#include "fuzz/prog/backend_core.h"

typedef void core_handler(struct core_backend *b, const uint64_t *v,
    struct hf_result *res);

static inline vm_map_t
core_map(struct core_backend *b, const uint64_t *v)
{
	return b->maps[v[HF_F_MAP]];
}

/* A refusal before the core is called, with its sentence. */
void core_refused(struct hf_result *res, int rv, const struct vm_refusal *why);
void core_asserted(struct hf_result *res, const char *what);

/* `rv`, `why`: what the strict check says.  true: go on and call the core. */
bool core_may_insert(struct core_backend *b, const struct vm_insert_args *args,
    int rv, const struct vm_refusal *why, struct hf_result *res);
struct vm_insert_args core_insert_args(struct core_backend *b,
    const uint64_t *v);
/* Drop the reference that the entry did not take. */
void core_end_insert(const struct vm_insert_args *args, int rv,
    struct hf_result *res);

/* The same for a call on a range. */
bool core_may_change(struct core_backend *b, const uint64_t *v, int rv,
    const struct vm_refusal *why, struct hf_result *res);

core_handler core_find_min, core_fixed, core_protect, core_inherit,
    core_madvise, core_wire, core_unwire, core_sync, core_stack, core_growstack,
    core_check_protection, core_check_boundary, core_find_aligned,
    core_simplify, core_limit, core_flags, core_fork, core_submap, core_touch;

/* backend_core_page.c: frames, taken from `phys` page by page. */
bool core_frames_init(struct core_backend *b);
/* How many are still in use. */
size_t core_frames_fini(struct core_backend *b);
/* Give an object a handle: memory to look into, and a number. */
void core_object_memory(vm_object_t object, uint64_t number);
