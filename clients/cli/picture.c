/* SPDX-License-Identifier: BSD-2-Clause */

#include "clients/cli/picture.h"
#include "clients/cli/cli.h"

uint64_t
picture_scale(const struct picture *picture, unsigned rows)
{
	uint64_t scale = picture->frame_size;

	for (;; scale *= 2) {
		uint64_t used = 0;

		for (size_t i = 0; i < picture->nsegs; i++) {
			uint64_t size =
			    picture->segs[i].end - picture->segs[i].start;

			used += (size - 1) / (scale * PICTURE_COLUMNS) + 1;
		}
		if (used <= rows || used <= picture->nsegs)
			return scale;
	}
}

/* Bytes of [start, end) that the runs cover. */
static uint64_t
covered(const struct holdfast_run *runs, size_t n, uint64_t start, uint64_t end)
{
	size_t low = 0, high = n;
	uint64_t sum = 0;

	while (low < high) { /* the first that ends above start */
		size_t middle = low + (high - low) / 2;

		if (runs[middle].end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < n && runs[low].start < end; low++) {
		uint64_t a = runs[low].start > start ? runs[low].start : start;
		uint64_t b = runs[low].end < end ? runs[low].end : end;

		sum += b - a;
	}
	return sum;
}

char
picture_cell(const struct picture *picture, uint64_t start, uint64_t end)
{
	uint64_t nfree = covered(picture->free, picture->nfree, start, end);

	if (covered(picture->limbo, picture->nlimbo, start, end) > 0)
		return 'x';
	if (covered(picture->held, picture->nheld, start, end) > 0)
		return 'q';
	if (nfree == 0)
		return '#';
	return nfree == end - start ? '.' : '+';
}

static void
draw_segment(const struct picture *picture, const struct holdfast_run *seg,
    uint64_t scale, FILE *out)
{
	for (uint64_t at = seg->start; at < seg->end;) {
		(void)fprintf(out, "  %#14llx  ", (unsigned long long)at);
		for (int i = 0; i < PICTURE_COLUMNS && at < seg->end; i++) {
			uint64_t left = seg->end - at;
			uint64_t next = at + (left < scale ? left : scale);

			(void)fputc(picture_cell(picture, at, next), out);
			at = next;
		}
		(void)fputc('\n', out);
	}
}

void
picture_draw(const struct picture *picture, uint64_t scale, FILE *out)
{
	int domain = -1;

	for (size_t i = 0; i < picture->nsegs; i++) {
		const struct holdfast_run *seg = &picture->segs[i];

		if (seg->domain != domain)
			(void)fprintf(out, "node %d\n", seg->domain);
		domain = seg->domain;
		(void)fprintf(out, "  %#llx-%#llx, %s, %s free%s\n",
		    (unsigned long long)seg->start,
		    (unsigned long long)seg->end,
		    cli_size_text(seg->end - seg->start),
		    cli_size_text(covered(picture->free, picture->nfree,
			seg->start, seg->end)),
		    seg->big ? ", big frames" : "");
		draw_segment(picture, seg, scale, out);
	}
}
