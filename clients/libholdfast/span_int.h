/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Spans of this session and where they are mapped.
 *
 * A span is one memfd, known by the daemon's number for it.  Buffers of the
 * session that lie in one span share its descriptor and its mappings; the
 * last of them closes both.  A view is one mapping of a whole span, with a
 * guard on either side; a span has more than one where buffers need other
 * congruences.
 */

#include "clients/libholdfast/holdfast_int.h"

struct hf_view {
	struct hf_span *span;
	char *va;         /* of the span's first byte */
	char *area;       /* the reservation, with the guards */
	size_t area_size; /* bytes */
	size_t nbufs;
	struct hf_view *next; /* of the same span */
};

struct hf_span {
	uint64_t id;
	uint64_t size;  /* bytes, whole frames */
	uint64_t frame; /* bytes */
	uint64_t pa;    /* of the first byte; 0 where not told */
	uint64_t page;  /* bytes, the daemon's */
	int fd;
	bool pinned; /* the daemon says so: then it is of huge pages */
	size_t nbufs;
	struct hf_view *views;
	uint64_t used[]; /* a bit a page: which are in this session's buffers */
};

/*
 * Find or make the span that `result` speaks of, with one more buffer, whose
 * pages are marked used.  Takes the descriptor on success only.
 * -EPROTO: descriptor or numbers are not what they should be.  -ENOMEM.
 */
int hf_span_get(struct holdfast *h,
    const Holdfast__V1__ContigAllocResult *result, int fd,
    struct hf_span **spanp);
/* Is its descriptor what it should be?  -EPROTO: no, and that was said. */
int hf_span_check(struct holdfast *h, const struct hf_span *span);
/* One buffer less: unmark its pages; the last one closes the span. */
void hf_span_put(struct holdfast *h, struct hf_span *span, uint64_t offset,
    uint64_t size);

/*
 * Find or make a view in which byte `offset` of the span lies at an address
 * that is `residue` modulo `congruence`, a power of two >= the frame size.
 * -ENOMEM, or as mmap(2).
 */
int hf_view_get(struct holdfast *h, struct hf_span *span, uint64_t offset,
    uint64_t congruence, uint64_t residue, struct hf_view **viewp);
void hf_view_put(struct holdfast *h, struct hf_view *view);
