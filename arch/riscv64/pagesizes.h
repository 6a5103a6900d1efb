/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * riscv64 with Sv39, the mode that every 64-bit implementation has: 256 GiB of
 * user addresses, superpages of 2 MiB and 1 GiB.
 */

/* clang-format off */
#define RISCV64_MACHINE                                                        \
	{                                                                      \
		.name = "riscv64",                                             \
		.page_size = UINT64_C(4) << 10,                                \
		.npagesizes = 3,                                               \
		.pagesizes = {UINT64_C(4) << 10, UINT64_C(2) << 20,            \
		    UINT64_C(1) << 30},                                        \
		.nsuper = 1,                                                   \
		.super = {UINT64_C(2) << 20},                                  \
		.nfreeorder = 12,                                              \
		.paddr_bits = 56,                                              \
		.user_min = UINT64_C(4) << 10,                                 \
		.user_max = UINT64_C(1) << 38,                                 \
		.dmap_min = UINT64_C(0xffffffd000000000),                      \
		.dmap_size = UINT64_C(128) << 30,                              \
	}
/* clang-format on */
