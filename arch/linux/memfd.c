/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include "arch/linux/linux_int.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

static off_t
offset_of(const struct linux_pool *lp, size_t index)
{
	return (off_t)(index * lp->lp_frame_size);
}

/* Without the executable bit where the kernel knows how (Linux 6.3). */
static int
memfd_new(const struct linux_pool *lp, const char *name, unsigned flags)
{
	int fd;

	flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
	fd = lp->lp_sys->memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd == -EINVAL)
		fd = lp->lp_sys->memfd_create(name, flags);
	return fd;
}

/* Size, mode and seals; the fd is closed when one of them fails. */
static int
memfd_finish(const struct linux_pool *lp, int fd, off_t size, int seals)
{
	int r;

	r = lp->lp_sys->ftruncate(fd, size);
	if (r == 0)
		r = lp->lp_sys->fchmod(fd, 0600);
	if (r == 0 && seals != 0)
		r = lp->lp_sys->add_seals(fd, seals);
	if (r < 0)
		(void)lp->lp_sys->close(fd); /* nothing is in it yet */
	return r;
}

int
memfd_frames(const struct linux_pool *lp, const char *name, size_t nframes,
    int seals, int *fdp)
{
	unsigned order = (unsigned)__builtin_ctzll(lp->lp_frame_size);
	int fd;
	int r;

	fd = memfd_new(lp, name, MFD_HUGETLB | order << MFD_HUGE_SHIFT);
	if (fd < 0)
		return fd;
	r = memfd_finish(lp, fd, offset_of(lp, nframes), seals);
	if (r < 0)
		return r;
	*fdp = fd;
	return 0;
}

int
memfd_base(const struct linux_pool *lp, vm_size_t size, int *fdp)
{
	int fd;
	int r;

	fd = memfd_new(lp, "holdfast-base", 0);
	if (fd < 0)
		return fd;
	r = memfd_finish(lp, fd, (off_t)size,
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	if (r < 0)
		return r;
	*fdp = fd;
	return 0;
}

/* A signal that waits for this thread makes hugetlbfs give up: try again. */
static int
fallocate_frame(const struct linux_pool *lp, int fd, int mode, size_t index)
{
	int r;

	do
		r = lp->lp_sys->fallocate(fd, mode, offset_of(lp, index),
		    (off_t)lp->lp_frame_size);
	while (r == -EINTR);
	return r;
}

/*
 * fallocate fills one hole of a file at a time; faults at different offsets
 * run side by side.  But a fault holds the address space's lock for as long as
 * the zeroing takes, so a gigantic frame is not taken in this way.
 */
#define MEMFD_FAULT_MAX (64ul << 20)

/*
 * The kernel zeroes a frame towards the page that was touched, which comes
 * last, so that it is still in the cache.  Touching the last one makes it go
 * upwards through memory, which takes half as long as downwards (and
 * fallocate goes downwards): docs/design/pool.md, section 6.
 */
int
memfd_take(const struct linux_pool *lp, int fd, size_t index, void *va,
    bool writable)
{
	size_t page = (size_t)1 << lp->lp_page_shift;
	int r;

	if (lp->lp_frame_size > MEMFD_FAULT_MAX)
		return fallocate_frame(lp, fd, 0, index);
	r = pagemap_touch(lp, (char *)va + lp->lp_frame_size - page, page,
	    writable);
	return r == -EFAULT ? -ENOSPC : r; /* where a touch gives SIGBUS */
}

int
memfd_punch(const struct linux_pool *lp, int fd, size_t index)
{
	return fallocate_frame(lp, fd,
	    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, index);
}

int
memfd_cut(const struct linux_pool *lp, int fd, size_t nframes)
{
	return lp->lp_sys->ftruncate(fd, offset_of(lp, nframes));
}
