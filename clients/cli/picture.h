/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The pool as text: one character for so many bytes of a physical segment.
 *
 *	.  free   #  in use   +  partly   x  in limbo   q  quarantined
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "clients/libholdfast/holdfast.h"

#define PICTURE_COLUMNS 64

struct picture {
	const struct holdfast_run *segs, *free, *limbo, *held; /* ascending */
	size_t nsegs, nfree, nlimbo, nheld;
	uint64_t frame_size;
};

/*
 * Bytes a character stands for: one frame, or as many as it takes (a power of
 * two of them) for the picture to have at most `rows` rows.
 */
uint64_t picture_scale(const struct picture *picture, unsigned rows);

/* What a cell [start, end) shows. */
char picture_cell(const struct picture *picture, uint64_t start, uint64_t end);

/* Draw every segment. */
void picture_draw(const struct picture *picture, uint64_t scale, FILE *out);
