/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sys/mman.h>

#include "arch/linux/linux_int.h"

/* Documentation/admin-guide/mm/pagemap.rst: 8 bytes a base page. */
#define PAGEMAP_PAGE_SHIFT 12
#define PAGEMAP_PRESENT    (1ull << 63)
#define PAGEMAP_PFN        ((1ull << 55) - 1)
/* include/uapi/linux/kernel-page-flags.h: 8 bytes a base page, by number. */
#define KPAGE_HWPOISON     (1ull << 19)

int
pagemap_touch(const struct linux_pool *lp, void *va, size_t len, bool writable)
{
	int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
	int r;

	do
		r = lp->lp_sys->madvise(va, len, advice);
	while (r == -EINTR || r == -EAGAIN);
	return r;
}

int
pagemap_read(const struct linux_pool *lp, const void *va, vm_paddr_t *pap)
{
	uintptr_t page = (uintptr_t)va >> PAGEMAP_PAGE_SHIFT;
	uint64_t entry;
	ssize_t n;

	if (lp->lp_pagemap < 0)
		return lp->lp_pagemap;
	n = lp->lp_sys->pread(lp->lp_pagemap, &entry, sizeof(entry),
	    (off_t)(page * sizeof(entry)));
	if (n < 0)
		return (int)n;
	if (n != sizeof(entry))
		return -EIO;
	if ((entry & PAGEMAP_PRESENT) == 0)
		return -ENODATA;
	if ((entry & PAGEMAP_PFN) == 0)
		return -EPERM;
	*pap = (entry & PAGEMAP_PFN) << PAGEMAP_PAGE_SHIFT;
	return 0;
}

bool
pagemap_frame_is_poisoned(const struct linux_pool *lp, vm_paddr_t pa)
{
	vm_paddr_t end = pa + lp->lp_frame_size;
	uint64_t flags[512];
	ssize_t n;
	off_t at;

	for (; pa < end; pa += nitems(flags) << PAGEMAP_PAGE_SHIFT) {
		at = (off_t)((pa >> PAGEMAP_PAGE_SHIFT) * sizeof(*flags));
		n = lp->lp_kpageflags < 0 ? -1
					  : lp->lp_sys->pread(lp->lp_kpageflags,
						flags, sizeof(flags), at);
		if (n != (ssize_t)sizeof(flags))
			return false;
		for (size_t i = 0; i < nitems(flags); i++)
			if ((flags[i] & KPAGE_HWPOISON) != 0)
				return true;
	}
	return false;
}
