/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Memory for metadata: what arch_ops.alloc gives, and how it is backed.
 *
 * A kernel serves its metadata from a direct map of large pages; a process has
 * to ask for them.  Blocks of about ARCH_META_BLOCK bytes come out of chunks
 * of 2 MiB, aligned to 2 MiB, for which transparent huge pages are asked for:
 * one page fault and one TLB entry for 32 of them.  Where the kernel refuses,
 * chunks have base pages, and blocks are filled in one call each.  What is
 * smaller comes from the heap, so that who needs little has no chunk at all;
 * what is larger has a mapping of its own.
 *
 * Nothing here needs privilege or reserved pages.  Any thread.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct meta_chunk;

struct linux_meta {
	pthread_mutex_t lock;
	struct meta_chunk *room; /* (lock) chunks with a free block */
	size_t bytes;            /* (lock) in chunks */
	size_t idle;             /* (lock) bytes in chunks without a block */
	size_t keep;             /* (c) as many of those stay */
	bool base_pages;         /* (c) ask for no huge pages */
};

#define LINUX_META_CHUNK ((size_t)2 << 20) /* bytes */
#define LINUX_META_INIT                                                        \
	{                                                                      \
		.lock = PTHREAD_MUTEX_INITIALIZER, .keep = LINUX_META_CHUNK,   \
	}

/* `size` bytes, > 0, zeroed and aligned to 64.  NULL: none left. */
void *linux_meta_alloc(struct linux_meta *meta, size_t size);

/* Give them back; `size` as before.  NULL is fine. */
void linux_meta_free(struct linux_meta *meta, void *p, size_t size);

/* Give chunks without a block back to the kernel, all of them. */
void linux_meta_trim(struct linux_meta *meta);
