/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Operands of random programs, made such as any daemon can be told. */

#include "fuzz/prog/prog.h"
#include "tests/test.h"

/* A place that depends on physical memory becomes one that does not. */
static inline uint64_t
tame_address(uint64_t rec, const struct hf_fielddef *def)
{
	struct hf_expr e;
	uint64_t raw;

	hf_expr_of((enum hf_type)def->type, hf_bits(def, rec), &e);
	if (e.anchor != HF_AN_EDGE ||
	    (e.idx != HF_E_PTOP && e.idx != HF_E_PBOT))
		return rec;
	e.idx = HF_E_MID;
	ASSERT_TRUE(hf_raw_of((enum hf_type)def->type, &e, def->width, &raw));
	return hf_set_bits(def, rec, raw);
}

/* A daemon has one machine, and refuses what that one cannot show. */
static inline uint64_t
tame_length(uint64_t rec, const struct hf_fielddef *def)
{
	struct hf_expr e;

	hf_expr_of((enum hf_type)def->type, hf_bits(def, rec), &e);
	return e.anchor == HF_AN_EDGE ? hf_set_bits(def, rec, 0) : rec;
}
