/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * x86-64 as FreeBSD's amd64 sees it: four-level tables (LA48), 4 KiB pages,
 * superpages of 2 MiB (a page directory entry) and 1 GiB.
 * Only the 2 MiB level is tried for VMFS_SUPER_SPACE.
 */

/* clang-format off */
#define X86_64_MACHINE                                                         \
	{                                                                      \
		.name = "x86_64",                                              \
		.page_size = UINT64_C(4) << 10,                                \
		.npagesizes = 3,                                               \
		.pagesizes = {UINT64_C(4) << 10, UINT64_C(2) << 20,            \
		    UINT64_C(1) << 30},                                        \
		.nsuper = 1,                                                   \
		.super = {UINT64_C(2) << 20},                                  \
		.nfreeorder = 13,                                              \
		.paddr_bits = 52,                                              \
		.user_min = UINT64_C(4) << 10,                                 \
		.user_max = UINT64_C(1) << 47,                                 \
		.dmap_min = UINT64_C(0xfffff80000000000),                      \
		.dmap_size = UINT64_C(4) << 40,                                \
	}
/* clang-format on */
