/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Where the base pages of mirrored maps are: one sparse file for a map and all
 * that are forked from it.
 *
 *	| extent | extent | page page | extent | page | ... never reached
 *	         places are handed out upward, and once only -->
 *
 * An anonymous object has an extent; a page that was copied on write has a
 * place of its own, a frame of the file's pager.  A place is never used again,
 * so a mapping that is late to go shows old bytes or zeroes, never another's;
 * what is freed is punched out.  Loop thread only, but for the punching.
 * Design: docs/design/map_fork.md.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/vm_page.h"
#include "server/quota.h"

struct tenant;
struct workers;

#define MAP_FILE_SIZE (UINT64_C(1) << 60) /* bytes; sparse */
#define MAP_FILE_RUNS 64                  /* freed and not yet punched */

struct file_run {
	uint64_t offset, size; /* bytes */
};

/* Who waits until everything freed so far is with the kernel. */
struct file_waiter {
	TAILQ_ENTRY(file_waiter) entry;
	void (*done)(struct file_waiter *waiter);
};

struct map_file {
	unsigned refs;      /* maps, extents, punching under way */
	unsigned nmaps;     /* of the references */
	unsigned npunching; /* workers under way */
	TAILQ_HEAD(, file_waiter) waiters;
	int fd;
	uint64_t next; /* bytes handed out */
	vm_size_t pagesize;
	struct tenant *tenant;   /* borrowed */
	struct workers *workers; /* borrowed */
	struct vm_pager *pager;
	char *buffer; /* one page */
	struct file_run runs[MAP_FILE_RUNS];
	size_t nruns;
	struct quota_charge fds;
	struct quota_charge bytes; /* of pages, until they are punched */
};

/* What one object has of a file.  Zeroed: nothing. */
struct extent {
	struct map_file *file; /* one reference */
	uint64_t offset, size; /* bytes */
	struct quota_charge bytes;
};

/* With one map.  -EDQUOT; -ENOMEM, -EMFILE ... */
int map_file_new(struct map_file **filep, const struct arch *arch,
    struct tenant *tenant, struct workers *workers);
/*
 * One map more, and one less: first before its entries go, so that the last
 * one's need not be punched out, then after.  leave: NULL is fine.
 */
void map_file_join(struct map_file *file);
void map_file_leave_soon(struct map_file *file);
void map_file_leave(struct map_file *file);

/*
 * Give back to the kernel what the pager was told to free.  Called after
 * everything that may have freed objects.
 */
void map_file_flush(struct map_file *file);

/*
 * Call `done` from the loop when no worker punches any more.  false: none does.
 */
bool map_file_wait(struct map_file *file, struct file_waiter *waiter);
/* It waits no longer. */
void map_file_unwait(struct map_file *file, struct file_waiter *waiter);

/* Pages of the file that copies have. */
uint64_t map_file_npages(const struct map_file *file);

/* -EDQUOT, -ENOSPC: the extent is as it was, zeroed. */
int extent_new(struct extent *extent, struct map_file *file, uint64_t size);
/* All of it is shown no more.  Zeroed is fine. */
void extent_free(struct extent *extent);
/* [offset, offset + size) of it is shown no more, for good. */
void extent_trim(struct extent *extent, uint64_t offset, uint64_t size);

/*
 * Copy a page of `source`, from `offset` of it on, to `to` of the file.
 * Zeroes stay a hole.  -errno.
 */
int map_file_copy(struct map_file *file, int source, uint64_t offset,
    uint64_t to);
