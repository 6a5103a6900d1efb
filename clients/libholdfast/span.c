/* SPDX-License-Identifier: BSD-2-Clause */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "clients/libholdfast/span_int.h"

#define GUARD    ((size_t)64 << 10)  /* inaccessible bytes on either side */
#define SPAN_MAX ((uint64_t)1 << 44) /* bytes that anybody would believe */

static size_t
bitmap_words(uint64_t size, uint64_t page)
{
	return (size_t)((size / page + 63) / 64);
}

/*
 * The words of the bitmap that [offset, offset + size) is in, one after
 * another: *maskp has its bits there.  false: no more.
 */
static bool
next_word(const struct hf_span *span, uint64_t *offsetp, uint64_t end,
    uint64_t *wordp, uint64_t *maskp)
{
	uint64_t page = *offsetp / span->page, last = end / span->page;
	uint64_t n;

	if (page >= last)
		return false;
	n = 64 - page % 64;
	if (n > last - page)
		n = last - page;
	*wordp = page / 64;
	*maskp = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << (page % 64);
	*offsetp += n * span->page;
	return true;
}

static bool
page_is_used(const struct hf_span *span, uint64_t page)
{
	return (span->used[page / 64] >> (page % 64) & 1) != 0;
}

static bool
range_is_free(const struct hf_span *span, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size, word, mask;

	while (next_word(span, &offset, end, &word, &mask))
		if ((span->used[word] & mask) != 0)
			return false;
	return true;
}

static void
mark_range(struct hf_span *span, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size, word, mask;

	while (next_word(span, &offset, end, &word, &mask))
		span->used[word] ^= mask;
}

/* Is it a file of huge pages, or may it be one of base pages? */
static const char *
file_system_fault(const struct hf_span *span)
{
	struct statfs fs;

	if (fstatfs(span->fd, &fs) < 0 ||
	    (fs.f_type != HUGETLBFS_MAGIC &&
		!(!span->pinned && fs.f_type == TMPFS_MAGIC)))
		return "has no huge pages";
	if (fs.f_type == HUGETLBFS_MAGIC && (uint64_t)fs.f_bsize != span->frame)
		return "has huge pages of another size";
	return NULL;
}

static const char *
memfd_fault(const struct hf_span *span)
{
	int seals = fcntl(span->fd, F_GET_SEALS);
	int flags = fcntl(span->fd, F_GETFL);

	if (seals < 0)
		return "is not a memfd";
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
		return "is not open for reading and writing";
	if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0)
		return "is sealed against writing";
	return file_system_fault(span);
}

/*
 * A span is a writable hugetlb memfd of exactly the announced size whose pages
 * are the announced frames.  A simulated daemon, which says that nothing is
 * pinned, may send base pages instead.  Files of one device are of one file
 * system, so the next ones are known by their device; one that turns out not
 * to be writable cannot be mapped.  Looked at before it is mapped: a program
 * that maps it by itself sees what it gets.
 */
static const char *
span_fd_fault(struct holdfast *h, const struct hf_span *span)
{
	const char *fault;
	struct stat st;

	if (fstat(span->fd, &st) < 0)
		return "cannot be looked at";
	if (!S_ISREG(st.st_mode))
		return "is not a memfd";
	if (st.st_size < 0 || (uint64_t)st.st_size != span->size)
		return "has another size";
	if (h->frames_size == span->frame && h->frames_dev == st.st_dev)
		return NULL;
	fault = memfd_fault(span);
	if (fault == NULL && span->pinned) {
		h->frames_dev = st.st_dev;
		h->frames_size = span->frame;
	}
	return fault;
}

int
hf_span_check(struct holdfast *h, const struct hf_span *span)
{
	const char *fault = span->fd >= 0 ? span_fd_fault(h, span) : NULL;

	return fault == NULL ? 0
			     : hf_mistrust(h, "the descriptor of span %llu %s",
				   (unsigned long long)span->id, fault);
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static int
check_numbers(struct holdfast *h, const Holdfast__V1__ContigAllocResult *res)
{
	uint64_t page = h->info.page_size;

	if (!hf_is_power_of_two(res->frame_size) || res->frame_size < page ||
	    res->span_size == 0 || res->span_size > SPAN_MAX ||
	    res->span_size % res->frame_size != 0)
		return hf_mistrust(h,
		    "the daemon sent a span of %llu bytes "
		    "in frames of %llu",
		    (unsigned long long)res->span_size,
		    (unsigned long long)res->frame_size);
	if (res->size == 0 || res->size % page != 0 ||
	    res->offset % page != 0 || res->offset > res->span_size ||
	    res->size > res->span_size - res->offset)
		return hf_mistrust(h,
		    "the daemon sent a buffer of %llu bytes "
		    "at %llu in a span of %llu",
		    (unsigned long long)res->size,
		    (unsigned long long)res->offset,
		    (unsigned long long)res->span_size);
	if (res->span_pa % res->frame_size != 0 ||
	    res->span_pa > UINT64_MAX - res->span_size ||
	    res->pa !=
		(h->info.addresses_allowed ? res->span_pa + res->offset : 0))
		return hf_mistrust(h,
		    "the daemon sent a buffer at physical "
		    "%#llx in a span at %#llx",
		    (unsigned long long)res->pa,
		    (unsigned long long)res->span_pa);
	return 0;
}

/* A span of which the session had no buffer. */
static int
span_new(struct holdfast *h, const Holdfast__V1__ContigAllocResult *res, int fd,
    struct hf_span **spanp)
{
	struct hf_span *span = calloc(1,
	    sizeof(*span) + bitmap_words(res->span_size, h->info.page_size) *
				sizeof(span->used[0]));

	if (span == NULL || hf_index_reserve(&h->spans) < 0) {
		free(span);
		return -ENOMEM;
	}
	*span = (struct hf_span){
	    .id = res->span,
	    .size = res->span_size,
	    .frame = res->frame_size,
	    .pa = res->span_pa,
	    .page = h->info.page_size,
	    .pinned = res->pin != HOLDFAST__V1__PIN__PIN_NONE,
	    .fd = fd,
	};
	hf_index_add(&h->spans, span->id, span);
	*spanp = span;
	return 0;
}

/* The daemon speaks of a span again: it has to say the same as before. */
static int
check_known(struct holdfast *h, const Holdfast__V1__ContigAllocResult *res,
    const struct hf_span *span, int fd)
{
	if (span->size != res->span_size || span->frame != res->frame_size ||
	    span->pa != res->span_pa || (span->fd < 0) != (fd < 0) ||
	    (fd >= 0 && !same_file(fd, span->fd)))
		return hf_mistrust(h,
		    "the daemon says that span %llu has "
		    "become another one",
		    (unsigned long long)span->id);
	if (!range_is_free(span, res->offset, res->size))
		return hf_mistrust(h,
		    "the daemon gave the same bytes of span "
		    "%llu twice",
		    (unsigned long long)span->id);
	return 0;
}

int
hf_span_get(struct holdfast *h, const Holdfast__V1__ContigAllocResult *res,
    int fd, struct hf_span **spanp)
{
	struct hf_span *span;
	int r;

	r = check_numbers(h, res);
	if (r < 0)
		return r;
	span = hf_index_get(&h->spans, res->span);
	if (span != NULL) {
		r = check_known(h, res, span, fd);
		if (r == 0 && fd >= 0)
			(void)close(fd); /* we have the same already */
	} else {
		r = span_new(h, res, fd, &span);
	}
	if (r < 0)
		return r;
	mark_range(span, res->offset, res->size);
	span->nbufs++;
	*spanp = span;
	return 0;
}

void
hf_span_put(struct holdfast *h, struct hf_span *span, uint64_t offset,
    uint64_t size)
{
	mark_range(span, offset, size);
	if (--span->nbufs > 0)
		return;
	hf_index_remove(&h->spans, span->id);
	if (span->fd >= 0)
		(void)close(span->fd);
	free(span);
}

/* Inaccessible address space with [va, va + size) at residue modulo. */
static int
reserve(struct hf_view *view, size_t size, uint64_t congruence,
    uint64_t residue)
{
	size_t ask = size + 2 * GUARD;
	uintptr_t area, va;

	if (congruence > SIZE_MAX / 4 ||
	    __builtin_add_overflow(ask, (size_t)congruence, &ask))
		return -ENOMEM;
	area = (uintptr_t)mmap(NULL, ask, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == (uintptr_t)MAP_FAILED)
		return -errno;
	va = area + GUARD;
	va += (residue - va) & (congruence - 1);
	view->va = (char *)va;
	view->area = view->va - GUARD;
	view->area_size = size + 2 * GUARD;
	/* Give back what is too much; failing that, it only stays reserved. */
	if ((uintptr_t)view->area > area)
		(void)munmap((void *)area, (uintptr_t)view->area - area);
	if (area + ask > (uintptr_t)view->area + view->area_size)
		(void)munmap(view->area + view->area_size,
		    area + ask - ((uintptr_t)view->area + view->area_size));
	return 0;
}

static int
view_new(struct holdfast *h, struct hf_span *span, uint64_t congruence,
    uint64_t residue, struct hf_view **viewp)
{
	struct hf_view *view;
	int r;

	r = hf_span_check(h, span);
	if (r < 0)
		return r;
	view = calloc(1, sizeof(*view));
	if (view == NULL || hf_index_reserve(&h->views) < 0) {
		free(view);
		return -ENOMEM;
	}
	r = reserve(view, (size_t)span->size, congruence, residue);
	if (r < 0) {
		free(view);
		return r;
	}
	/* The frames are in the file already: nothing is to be reserved. */
	if (mmap(view->va, (size_t)span->size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE, span->fd,
		0) == MAP_FAILED) {
		r = -errno;
		(void)munmap(view->area, view->area_size);
		free(view);
		return r;
	}
	view->span = span;
	view->next = span->views;
	span->views = view;
	hf_index_add(&h->views, (uintptr_t)view->va, view);
	*viewp = view;
	return 0;
}

int
hf_view_get(struct holdfast *h, struct hf_span *span, uint64_t offset,
    uint64_t congruence, uint64_t residue, struct hf_view **viewp)
{
	struct hf_view *view;
	int r;

	for (view = span->views; view != NULL; view = view->next)
		if ((((uintptr_t)view->va + offset - residue) &
			(congruence - 1)) == 0)
			break;
	if (view == NULL) {
		r = view_new(h, span, congruence, residue - offset, &view);
		if (r < 0)
			return r;
	}
	view->nbufs++;
	*viewp = view;
	return 0;
}

void
hf_view_put(struct holdfast *h, struct hf_view *view)
{
	struct hf_view **link = &view->span->views;

	if (--view->nbufs > 0)
		return;
	while (*link != view)
		link = &(*link)->next;
	*link = view->next;
	hf_index_remove(&h->views, (uintptr_t)view->va);
	if (h->last == view)
		h->last = NULL;
	(void)munmap(view->area, view->area_size);
	free(view);
}

/* ---- Virtual to physical ------------------------------------------------- */

static bool
view_holds(const struct hf_view *view, uintptr_t va)
{
	return va - (uintptr_t)view->va < view->span->size;
}

int
holdfast_vtophys(struct holdfast *h, const void *p, uint64_t *pap)
{
	uintptr_t va = (uintptr_t)p;
	struct hf_view *view = h->last;
	uint64_t offset;

	if (view == NULL || !view_holds(view, va)) {
		view = hf_index_floor(&h->views, va);
		if (view == NULL || !view_holds(view, va))
			return HF_INVALID_ADDRESS;
		h->last = view;
	}
	offset = va - (uintptr_t)view->va;
	if (!page_is_used(view->span, offset / view->span->page))
		return HF_INVALID_ADDRESS;
	if (!h->info.addresses_allowed)
		return HF_DENIED;
	*pap = view->span->pa + offset;
	return HF_OK;
}
