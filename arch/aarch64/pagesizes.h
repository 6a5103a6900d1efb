/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * aarch64 with its three granules, 48-bit virtual and physical addresses.
 *
 *	granule   contiguous entries   block          third level
 *	4 KiB     64 KiB (16)          2 MiB          1 GiB
 *	16 KiB    2 MiB (128)          32 MiB         -
 *	64 KiB    2 MiB (32)           512 MiB        -
 *
 * FreeBSD runs with the first two and keeps the third as constants only; its
 * largest free block, which nobody measured there, is one block here.
 */

#define AARCH64_COMMON                                                         \
	.name = "aarch64", .paddr_bits = 48, .user_max = UINT64_C(1) << 48,    \
	.dmap_min = UINT64_C(0xffffa00000000000),                              \
	.dmap_size = UINT64_C(95) << 40

/* clang-format off */
#define AARCH64_4K_MACHINE                                                     \
	{                                                                      \
		AARCH64_COMMON,                                                \
		.page_size = UINT64_C(4) << 10,                                \
		.npagesizes = 4,                                               \
		.pagesizes = {UINT64_C(4) << 10, UINT64_C(64) << 10,           \
		    UINT64_C(2) << 20, UINT64_C(1) << 30},                     \
		.nsuper = 2,                                                   \
		.super = {UINT64_C(2) << 20, UINT64_C(64) << 10},              \
		.nfreeorder = 13,                                              \
		.user_min = UINT64_C(4) << 10,                                 \
	}

#define AARCH64_16K_MACHINE                                                    \
	{                                                                      \
		AARCH64_COMMON,                                                \
		.page_size = UINT64_C(16) << 10,                               \
		.npagesizes = 3,                                               \
		.pagesizes = {UINT64_C(16) << 10, UINT64_C(2) << 20,           \
		    UINT64_C(32) << 20},                                       \
		.nsuper = 2,                                                   \
		.super = {UINT64_C(32) << 20, UINT64_C(2) << 20},              \
		.nfreeorder = 12,                                              \
		.user_min = UINT64_C(16) << 10,                                \
	}

#define AARCH64_64K_MACHINE                                                    \
	{                                                                      \
		AARCH64_COMMON,                                                \
		.page_size = UINT64_C(64) << 10,                               \
		.npagesizes = 3,                                               \
		.pagesizes = {UINT64_C(64) << 10, UINT64_C(2) << 20,           \
		    UINT64_C(512) << 20},                                      \
		.nsuper = 2,                                                   \
		.super = {UINT64_C(512) << 20, UINT64_C(2) << 20},             \
		.nfreeorder = 14,                                              \
		.user_min = UINT64_C(64) << 10,                                \
	}
/* clang-format on */
