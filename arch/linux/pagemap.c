/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sys/mman.h>

#include "arch/linux/linux_int.h"

/* Documentation/admin-guide/mm/pagemap.rst: 8 bytes a base page. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN     ((1ull << 55) - 1)
/* include/uapi/linux/kernel-page-flags.h: 8 bytes a base page, by number. */
#define KPAGE_HUGE      (1ull << 17)
#define KPAGE_HWPOISON  (1ull << 19)

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

void
pagemap_forget(const struct linux_pool *lp, void *va, size_t len)
{
	(void)lp->lp_sys->madvise(va, len, MADV_DONTNEED);
}

int
pagemap_read(const struct linux_pool *lp, const void *va, vm_paddr_t *pap)
{
	uintptr_t page = (uintptr_t)va >> lp->lp_page_shift;
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
	*pap = (entry & PAGEMAP_PFN) << lp->lp_page_shift;
	return 0;
}

/* Is one of `npages` base pages from `pa` on marked?  At most 512. */
static bool
pages_are_poisoned(const struct linux_pool *lp, vm_paddr_t pa, size_t npages)
{
	uint64_t flags[512];
	ssize_t n;

	n = lp->lp_sys->pread(lp->lp_kpageflags, flags, npages * sizeof(*flags),
	    (off_t)((pa >> lp->lp_page_shift) * sizeof(*flags)));
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*flags); i++)
		if ((flags[i] & KPAGE_HWPOISON) != 0)
			return true;
	return false;
}

bool
pagemap_frame_is_poisoned(const struct linux_pool *lp, vm_paddr_t pa)
{
	vm_paddr_t end = pa + lp->lp_frame_size;
	size_t npages;

	if (lp->lp_kpageflags < 0)
		return false;
	for (; pa < end; pa += (vm_paddr_t)npages << lp->lp_page_shift) {
		npages = MIN((end - pa) >> lp->lp_page_shift, 512);
		if (pages_are_poisoned(lp, pa, npages))
			return true;
	}
	return false;
}

bool
pagemap_frame_is_huge(const struct linux_pool *lp, vm_paddr_t pa)
{
	uint64_t flags;
	ssize_t n;

	if (lp->lp_kpageflags < 0)
		return true;
	n = lp->lp_sys->pread(lp->lp_kpageflags, &flags, sizeof(flags),
	    (off_t)((pa >> lp->lp_page_shift) * sizeof(flags)));
	return n != sizeof(flags) || (flags & KPAGE_HUGE) != 0;
}
