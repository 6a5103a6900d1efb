/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The part of a map that is carried out in this process.
 *
 * A mirror owns the reservation of a map's range and the list of pieces that
 * are mapped in it: what lies where, out of which file, with which rights.
 * Everything else in the range is inaccessible.  Bringing it up to date means
 * giving it the pieces that ought to be there; it changes what differs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One stretch of a file at its place. */
struct hf_piece {
	uint64_t start, end;  /* addresses */
	uint64_t file_offset; /* of `start` */
	uint64_t dev, ino;    /* which file */
	int prot;             /* PROT_* */
	bool copy_on_write;   /* a write is this process's own */
	bool not_in_child;    /* MADV_DONTFORK */
	bool zero_in_child;   /* with it: a child has zeroes there */
	int advice;           /* MADV_NORMAL, _RANDOM, _SEQUENTIAL */
	bool not_in_core;     /* MADV_DONTDUMP */
	bool wired;           /* mlock(2), as far as that is allowed here */
	bool huge;            /* of huge pages: nothing to lock */
	int fd;               /* open while the piece is new, then -1 */
};

struct hf_mirror {
	uint64_t min, max;
	struct hf_piece *pieces; /* ascending, disjoint */
	size_t n, capacity;
	struct hf_mirror *next; /* of the process's, for mirror_fork.c */
};

/*
 * Reserve [min, max) in this process.  -EEXIST: something is there.
 */
int hf_mirror_init(struct hf_mirror *mirror, uint64_t min, uint64_t max);
/* Unmap it all and give the range back.  Zeroed memory is fine. */
void hf_mirror_fini(struct hf_mirror *mirror);

/*
 * Make [start, end) hold exactly the `n` new pieces, which lie in it, in
 * order.  Their descriptors are only used.
 * -ENOMEM ...: as mmap(2); some of the range may be inaccessible then, and
 * the mirror knows which.
 */
int hf_mirror_set(struct hf_mirror *mirror, uint64_t start, uint64_t end,
    const struct hf_piece *pieces, size_t n);

/*
 * Make nothing of [start, end) writable.  -ENOMEM ...: as mprotect(2).
 */
int hf_mirror_write_protect(struct hf_mirror *mirror, uint64_t start,
    uint64_t end);

/*
 * Write what of this process lies in [start, end) to `text`, as a phrase.
 */
void hf_mirror_collision(uint64_t start, uint64_t end, char *text, size_t size);

/* ---- mirror_fork.c: children of fork(2) ---------------------------------- */

/* From now on children find in it what it says; it must not move. */
void hf_mirror_enlist(struct hf_mirror *mirror);
void hf_mirror_delist(struct hf_mirror *mirror);
/* Around every change of a mirror's pieces: no child sees half of it. */
void hf_mirrors_lock(void);
void hf_mirrors_unlock(void);
