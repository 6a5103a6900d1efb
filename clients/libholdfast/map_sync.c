/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * From the daemon's entries to pieces of a mirror.
 *
 * The daemon sends entries in pages of replies.  Each page speaks for the
 * range from where it was asked to where the next one begins, and is carried
 * out before the next is asked for, so that few descriptors are open at a time.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "clients/libholdfast/map_int.h"

/* MAP_ENTRY_* of vm_map(9) */
#define ENTRY_COW        0x4u
#define ENTRY_SEQUENTIAL 0x40u
#define ENTRY_RANDOM     0x80u
#define ENTRY_NOCOREDUMP 0x400u

struct holdfast_map *
hf_map_shown(struct holdfast_map *map)
{
	return map->serves != NULL ? map->serves : map;
}

void
hf_map_lock(struct holdfast_map *map)
{
	(void)pthread_mutex_lock(&hf_map_shown(map)->lock);
}

void
hf_map_unlock(struct holdfast_map *map)
{
	(void)pthread_mutex_unlock(&hf_map_shown(map)->lock);
}

int
hf_map_check_entries(struct holdfast_map *map, uint64_t from,
    const struct hf_entries *page)
{
	uint64_t mask = map->h->info.page_size - 1, at = 0;

	for (size_t i = 0; i < page->n; i++) {
		const Holdfast__V1__Entry *entry = page->entries[i];

		if (entry->start >= entry->end || entry->start < map->min ||
		    entry->end > map->max || entry->start < at ||
		    ((entry->start | entry->end) & mask) != 0)
			return hf_mistrust(map->h,
			    "the daemon sent an entry [%#llx, %#llx) that "
			    "cannot be in the map",
			    (unsigned long long)entry->start,
			    (unsigned long long)entry->end);
		if (entry->fd_index > page->fds.n || entry->prot > 7 ||
		    entry->max_prot > 7)
			return hf_mistrust(map->h,
			    "the daemon sent an entry with descriptor %u of "
			    "%zu, protection %#x, %#x",
			    entry->fd_index, page->fds.n, entry->prot,
			    entry->max_prot);
		at = entry->end;
	}
	if (page->next != 0 && (page->next <= from || page->next < at))
		return hf_mistrust(map->h,
		    "the daemon's list of entries does not end");
	return 0;
}

int
hf_map_entries_page(struct holdfast_map *map, uint64_t from, uint64_t end,
    bool want_fds, struct hf_entries *page)
{
	return hf_map_entries_ask(map, from, end, want_fds, false, page);
}

int
hf_map_entries_ask(struct holdfast_map *map, uint64_t from, uint64_t end,
    bool want_fds, bool want_counts, struct hf_entries *page)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapEntries op = HOLDFAST__V1__MAP_ENTRIES__INIT;
	const Holdfast__V1__Reply *reply;
	int r;

	op.map = map->id;
	op.from = from;
	op.end = end;
	op.want_fds = want_fds;
	op.want_counts = want_counts;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES;
	request.map_entries = &op;
	r = hf_call(map->h, &request, HOLDFAST__V1__REPLY__RESULT_MAP_ENTRIES,
	    want_fds ? HOLDFAST_FDS_MAX : 0, &reply, &page->fds);
	if (r != HF_OK)
		return r;
	page->entries = reply->map_entries->entries;
	page->n = reply->map_entries->n_entries;
	page->next = reply->map_entries->next;
	r = hf_map_check_entries(map, from, page);
	if (r < 0)
		hf_fds_close(&page->fds);
	return r;
}

/*
 * A file that can back a piece is a memfd, sealed against shrinking if it has
 * base pages, and huge pages only whole.  What lies behind its end is no part
 * of the object: the piece, which may be empty then, ends there.
 */
static const char *
piece_fault(struct hf_piece *piece)
{
	uint64_t page = (uint64_t)getpagesize(), left = 0;
	int seals = fcntl(piece->fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	if (fstat(piece->fd, &st) < 0 || !S_ISREG(st.st_mode) || seals < 0 ||
	    fstatfs(piece->fd, &fs) < 0)
		return "is not a memfd";
	if (st.st_size > 0 && piece->file_offset < (uint64_t)st.st_size)
		left = ((uint64_t)st.st_size - piece->file_offset) & -page;
	piece->huge = fs.f_type == HUGETLBFS_MAGIC;
	if (piece->huge)
		page = (uint64_t)fs.f_bsize;
	else if (fs.f_type != TMPFS_MAGIC || (seals & F_SEAL_SHRINK) == 0)
		return "is not sealed memory";
	if (left < piece->end - piece->start)
		piece->end = piece->start + left;
	if (((piece->start | piece->end | piece->file_offset) & (page - 1)) !=
	    0)
		return "has pages that would be cut";
	piece->dev = st.st_dev;
	piece->ino = st.st_ino;
	return NULL;
}

static int
prot_to_linux(uint32_t prot)
{
	return ((prot & HF_PROT_READ) != 0 ? PROT_READ : 0) |
	       ((prot & HF_PROT_WRITE) != 0 ? PROT_WRITE : 0) |
	       ((prot & HF_PROT_EXECUTE) != 0 ? PROT_EXEC : 0);
}

/*
 * Of a map that was made to be mirrored the daemon says which rights each piece
 * may be mapped with, and copies on write itself.  Otherwise a base page that
 * is copied on write is this process's own once it writes; huge pages are not
 * to be had for copies, so they are only read.
 */
static void
set_rights(const struct holdfast_map *map, struct hf_piece *piece,
    const Holdfast__V1__Entry *entry)
{
	piece->prot = prot_to_linux(entry->prot);
	if ((map->access & HF_MAP_CHANGE) == 0)
		piece->prot &= ~PROT_WRITE; /* its descriptor only reads */
	piece->zero_in_child = entry->inheritance == HF_INHERIT_ZERO;
	piece->not_in_child = entry->inheritance == HF_INHERIT_NONE ||
			      entry->inheritance == HF_INHERIT_ZERO;
	if ((entry->eflags & ENTRY_COW) == 0 || map->faults)
		return;
	if (entry->kind == HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER)
		piece->prot &= ~PROT_WRITE;
	else
		piece->copy_on_write = true;
}

static void
set_advice(struct hf_piece *piece, const Holdfast__V1__Entry *entry)
{
	piece->advice = (entry->eflags & ENTRY_RANDOM) != 0 ? MADV_RANDOM
			: (entry->eflags & ENTRY_SEQUENTIAL) != 0
			    ? MADV_SEQUENTIAL
			    : MADV_NORMAL;
	piece->not_in_core = (entry->eflags & ENTRY_NOCOREDUMP) != 0;
	piece->wired = entry->wired_count > 0;
}

static int
entries_to_pieces(struct holdfast_map *map, const struct hf_entries *page,
    uint64_t start, uint64_t end, struct hf_piece *pieces, size_t *np)
{
	*np = 0;
	for (size_t i = 0; i < page->n; i++) {
		const Holdfast__V1__Entry *entry = page->entries[i];
		struct hf_piece piece = {
		    .start = entry->start,
		    .end = entry->end,
		    .file_offset = entry->file_offset,
		};
		const char *fault;

		if (entry->fd_index == 0 || entry->prot == 0 ||
		    entry->end <= start || entry->start >= end)
			continue; /* nothing there that could be touched */
		piece.fd = page->fds.fd[entry->fd_index - 1];
		set_rights(map, &piece, entry);
		set_advice(&piece, entry);
		fault = piece_fault(&piece);
		if (fault != NULL)
			return hf_mistrust(map->h,
			    "the descriptor of the entry "
			    "at %#llx %s",
			    (unsigned long long)entry->start, fault);
		if (piece.start < start) {
			piece.file_offset += start - piece.start;
			piece.start = start;
		}
		if (piece.end > end)
			piece.end = end;
		if (piece.start < piece.end)
			pieces[(*np)++] = piece;
	}
	return 0;
}

int
hf_map_apply(struct holdfast_map *map, const struct hf_entries *page,
    uint64_t start, uint64_t end)
{
	struct hf_piece *pieces = calloc(page->n + 1, sizeof(*pieces));
	size_t n;
	int r;

	if (pieces == NULL)
		return -ENOMEM;
	r = entries_to_pieces(map, page, start, end, pieces, &n);
	if (r == 0) {
		r = hf_mirror_set(&hf_map_shown(map)->mirror, start, end,
		    pieces, n);
		if (r < 0)
			hf_say(map->h,
			    "the map cannot be carried out between "
			    "%#llx and %#llx",
			    (unsigned long long)start, (unsigned long long)end);
	}
	free(pieces);
	return r;
}

static int
sync_locked(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	while (start < end) {
		struct hf_entries page;
		uint64_t border;
		int r = hf_map_entries_page(map, start, end, true, &page);

		if (r != HF_OK)
			return r;
		border = page.next != 0 && page.next < end ? page.next : end;
		r = hf_map_apply(map, &page, start, border);
		hf_fds_close(&page.fds);
		if (r < 0)
			return r;
		start = border;
	}
	return HF_OK;
}

int
hf_map_sync(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	int r;

	if (!map->mirrored)
		return HF_OK;
	hf_map_lock(map);
	r = sync_locked(map, start > map->min ? start : map->min,
	    end < map->max ? end : map->max);
	hf_map_unlock(map);
	return r;
}

void
hf_map_populate(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	if (map->mirrored)
		(void)madvise((void *)(uintptr_t)start, (size_t)(end - start),
		    MADV_POPULATE_READ);
}

int
hf_map_forget(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	struct holdfast_map *shown = hf_map_shown(map);
	int r = 0;

	if (!shown->mirrored)
		return 0;
	start = start > map->min ? start : map->min;
	end = end < map->max ? end : map->max;
	hf_map_lock(map);
	if (start < end)
		r = hf_mirror_set(&shown->mirror, start, end, NULL, 0);
	hf_map_unlock(map);
	return r;
}
