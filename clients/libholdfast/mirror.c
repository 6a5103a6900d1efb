/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Old and new pieces of a range are walked together from border to border:
 *
 *	old   |--- a ---|      |-- b --|
 *	new        |------ a ------|
 *	steps |unmap| keep| map a  |unmap|
 *
 * Between two borders either side is one piece or nothing.  Equal: keep.
 * The same bytes with other rights: mprotect.  Otherwise one mmap over what
 * was there, of the new piece or of nothing, so no other thread of the process
 * ever finds the range free.  Clipping and
 * merging of entries in the daemon's map changes borders and no mapping.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clients/libholdfast/mirror.h"

int
hf_mirror_init(struct hf_mirror *mirror, uint64_t min, uint64_t max)
{
	void *want = (void *)(uintptr_t)min;
	void *got = mmap(want, (size_t)(max - min), PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
	    -1, 0);

	if (got == MAP_FAILED)
		return -errno;
	if (got != want) { /* before Linux 4.17 the flag was only a hint */
		(void)munmap(got, (size_t)(max - min));
		return -EEXIST;
	}
	*mirror = (struct hf_mirror){.min = min, .max = max};
	hf_mirror_enlist(mirror);
	return 0;
}

void
hf_mirror_fini(struct hf_mirror *mirror)
{
	if (mirror->max > mirror->min) {
		hf_mirror_delist(mirror);
		(void)munmap((void *)(uintptr_t)mirror->min,
		    (size_t)(mirror->max - mirror->min));
	}
	free(mirror->pieces);
	*mirror = (struct hf_mirror){0};
}

/* Do both show the same bytes of the same file at `at`? */
static bool
same_bytes(const struct hf_piece *a, const struct hf_piece *b, uint64_t at)
{
	return a != NULL && b != NULL && a->dev == b->dev && a->ino == b->ino &&
	       a->copy_on_write == b->copy_on_write &&
	       a->file_offset + (at - a->start) ==
		   b->file_offset + (at - b->start);
}

/* And with the same rights? */
static bool
same(const struct hf_piece *a, const struct hf_piece *b, uint64_t at)
{
	if (a == NULL || b == NULL)
		return a == b;
	return same_bytes(a, b, at) && a->prot == b->prot &&
	       a->not_in_child == b->not_in_child &&
	       a->zero_in_child == b->zero_in_child && a->advice == b->advice &&
	       a->not_in_core == b->not_in_core && a->wired == b->wired;
}

static int
map_nothing(uint64_t start, uint64_t end)
{
	void *got =
	    mmap((void *)(uintptr_t)start, (size_t)(end - start), PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	return got == MAP_FAILED ? -errno : 0;
}

/*
 * What only advises the kernel, or may be refused for want of RLIMIT_MEMLOCK:
 * the map is as it should be without.
 */
static void
advise(void *at, size_t length, const struct hf_piece *old,
    const struct hf_piece *new)
{
	if (old->advice != new->advice)
		(void)madvise(at, length, new->advice);
	if (old->not_in_core != new->not_in_core)
		(void)madvise(at, length,
		    new->not_in_core ? MADV_DONTDUMP : MADV_DODUMP);
	if (old->wired == new->wired || new->huge)
		return;
	if (new->wired)
		(void)mlock(at, length);
	else
		(void)munlock(at, length);
}

/* Change [start, end) from what `old` says to what `new` says. */
static int
carry_out(uint64_t start, uint64_t end, const struct hf_piece *old,
    const struct hf_piece *new)
{
	void *at = (void *)(uintptr_t)start;
	size_t length = (size_t)(end - start);
	struct hf_piece was = {.advice = MADV_NORMAL};

	if (new == NULL)
		return map_nothing(start, end);
	if (same_bytes(old, new, start)) {
		was = *old;
		if (mprotect(at, length, new->prot) < 0)
			return -errno;
	} else if (mmap(at, length, new->prot,
		       (new->copy_on_write ? MAP_PRIVATE : MAP_SHARED) |
			   MAP_FIXED | MAP_NORESERVE,
		       new->fd,
		       (off_t)(new->file_offset + (start - new->start))) ==
		   MAP_FAILED) {
		return -errno;
	}
	if (was.not_in_child != new->not_in_child &&
	    madvise(at, length,
		new->not_in_child ? MADV_DONTFORK : MADV_DOFORK) < 0)
		return -errno;
	advise(at, length, &was, new);
	return 0;
}

/* A walk along pieces from a place upward. */
struct walk {
	const struct hf_piece *next, *end;
};

/* What is at `at`, and in *borderp where that ends, unless it is later. */
static const struct hf_piece *
walk_to(struct walk *walk, uint64_t at, uint64_t *borderp)
{
	uint64_t border;

	while (walk->next < walk->end && walk->next->end <= at)
		walk->next++;
	if (walk->next == walk->end)
		return NULL;
	border = walk->next->start > at ? walk->next->start : walk->next->end;
	if (border < *borderp)
		*borderp = border;
	return walk->next->start > at ? NULL : walk->next;
}

/* Add [start, end) of `from` to the list, joined to its end if it goes on. */
static void
append(struct hf_mirror *list, const struct hf_piece *from, uint64_t start,
    uint64_t end)
{
	struct hf_piece *last = list->n > 0 ? &list->pieces[list->n - 1] : NULL;

	if (last != NULL && last->end == start && same(last, from, start)) {
		last->end = end;
		return;
	}
	list->pieces[list->n] = *from;
	list->pieces[list->n].file_offset += start - from->start;
	list->pieces[list->n].start = start;
	list->pieces[list->n].end = end;
	list->pieces[list->n].fd = -1;
	list->n++;
}

/* How many pieces end at or below `addr`. */
static size_t
below(const struct hf_mirror *mirror, uint64_t addr)
{
	size_t low = 0, high = mirror->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (mirror->pieces[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Put `with` in the place of pieces [low, high).  There is room. */
static void
splice(struct hf_mirror *mirror, size_t low, size_t high,
    const struct hf_mirror *with)
{
	struct hf_piece *at = mirror->pieces + low;

	memmove(at + with->n, mirror->pieces + high,
	    (mirror->n - high) * sizeof(*at));
	memcpy(at, with->pieces, with->n * sizeof(*at));
	mirror->n = mirror->n - (high - low) + with->n;
}

/* Room for `n` more pieces, so that splice() cannot fail. */
static int
reserve(struct hf_mirror *mirror, size_t n)
{
	size_t capacity = 2 * (mirror->n + n);
	struct hf_piece *pieces;

	if (mirror->n + n <= mirror->capacity)
		return 0;
	pieces = reallocarray(mirror->pieces, capacity, sizeof(*pieces));
	if (pieces == NULL)
		return -ENOMEM;
	mirror->pieces = pieces;
	mirror->capacity = capacity;
	return 0;
}

/* Walk [start, end), carry out what differs, and list in *list what is there
 * then.  From the first failure on, what was there stays. */
static int
update(struct walk was, struct walk will, uint64_t start, uint64_t end,
    struct hf_mirror *list)
{
	int r = 0;

	for (uint64_t at = start, border; at < end; at = border) {
		const struct hf_piece *old, *new;

		border = end;
		old = walk_to(&was, at, &border);
		new = r == 0 ? walk_to(&will, at, &border) : old;
		if (!same(old, new, at)) {
			r = carry_out(at, border, old, new);
			if (r < 0)
				new = NULL;
			if (r < 0 && map_nothing(at, border) < 0)
				new = old;
		}
		if (new != NULL)
			append(list, new, at, border);
	}
	return r;
}

static int
set_locked(struct hf_mirror *mirror, uint64_t start, uint64_t end,
    const struct hf_piece *pieces, size_t n)
{
	size_t low = below(mirror, start), high = low, room;
	struct hf_mirror list = {0};
	int r;

	while (high < mirror->n && mirror->pieces[high].start < end)
		high++;
	/* A step ends at a border; the pieces cut at either end come on top. */
	room = 2 * (high - low + n) + 3;
	if (reserve(mirror, room) < 0)
		return -ENOMEM;
	list.pieces = calloc(room, sizeof(*list.pieces));
	if (list.pieces == NULL)
		return -ENOMEM;
	if (low < high && mirror->pieces[low].start < start)
		append(&list, &mirror->pieces[low], mirror->pieces[low].start,
		    start);
	r = update((struct walk){mirror->pieces + low, mirror->pieces + high},
	    (struct walk){pieces, n > 0 ? pieces + n : pieces}, start, end,
	    &list);
	if (low < high && mirror->pieces[high - 1].end > end)
		append(&list, &mirror->pieces[high - 1], end,
		    mirror->pieces[high - 1].end);
	splice(mirror, low, high, &list);
	free(list.pieces);
	return r;
}

int
hf_mirror_set(struct hf_mirror *mirror, uint64_t start, uint64_t end,
    const struct hf_piece *pieces, size_t n)
{
	int r;

	hf_mirrors_lock();
	r = set_locked(mirror, start, end, pieces, n);
	hf_mirrors_unlock();
	return r;
}

int
hf_mirror_write_protect(struct hf_mirror *mirror, uint64_t start, uint64_t end)
{
	size_t low = below(mirror, start), high = low, n = 0;
	struct hf_piece *pieces;
	int r;

	while (high < mirror->n && mirror->pieces[high].start < end)
		high++;
	if (low == high)
		return 0;
	pieces = calloc(high - low, sizeof(*pieces));
	if (pieces == NULL)
		return -ENOMEM;
	for (; low < high; low++, n++) {
		struct hf_piece *piece = &pieces[n];

		*piece = mirror->pieces[low];
		piece->prot &= ~PROT_WRITE;
		if (piece->start < start) {
			piece->file_offset += start - piece->start;
			piece->start = start;
		}
		if (piece->end > end)
			piece->end = end;
	}
	r = hf_mirror_set(mirror, start, end, pieces, n);
	free(pieces);
	return r;
}

/* ---- What is in the way ---------------------------------------------------
 */

void
hf_mirror_collision(uint64_t start, uint64_t end, char *text, size_t size)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	(void)snprintf(text, size, "a mapping of this process");
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		uint64_t low, high;
		int at = 0;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %*s %n",
			&low, &high, &at) < 2 ||
		    low >= end || high <= start)
			continue;
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(text, size, "%#" PRIx64 "-%#" PRIx64 " (%s)",
		    low, high,
		    at > 0 && line[at] != '\0' ? line + at : "anonymous");
		break;
	}
	if (maps != NULL)
		(void)fclose(maps);
}
