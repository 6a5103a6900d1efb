/* SPDX-License-Identifier: BSD-2-Clause */

#include "core/kassert.h"
#include "core/vm_page_int.h"
#include "core/vm_param.h"

/* Pagers. */

struct vm_pager *
vm_pager_create(const struct arch *arch, const struct vm_pager_ops *ops,
    void *arg)
{
	struct vm_pager *pager = uma_malloc(arch, sizeof(*pager));

	MPASS(ops->alloc != NULL && ops->copy != NULL && ops->free != NULL);

	if (pager == NULL)
		return NULL;
	*pager = (struct vm_pager){.arch = arch, .ops = ops, .arg = arg};
	uma_zone_init(&pager->pages, arch, sizeof(struct vm_page));
	return pager;
}

void
vm_pager_destroy(struct vm_pager *pager)
{
	if (pager == NULL)
		return;
	KASSERT(uma_zone_used(&pager->pages) == 0, "a pager outlived by pages");
	uma_zone_fini(&pager->pages);
	uma_free(pager->arch, pager, sizeof(*pager));
}

uint64_t
vm_pager_npages(const struct vm_pager *pager)
{
	MPASS(pager != NULL);

	return uma_zone_used(&pager->pages);
}

int
vm_page_alloc(struct vm_pager *pager, vm_pindex_t pindex,
    struct vm_page **pagep)
{
	struct vm_page *page = uma_zalloc(&pager->pages);
	int rv;

	MPASS(pager != NULL);

	if (page == NULL)
		return KERN_RESOURCE_SHORTAGE;
	*page = (struct vm_page){.pager = pager, .pindex = pindex};
	rv = pager->ops->alloc(pager->arg, &page->frame);
	if (rv != KERN_SUCCESS) {
		uma_zfree(&pager->pages, page);
		return rv;
	}
	*pagep = page;
	return KERN_SUCCESS;
}

int
vm_page_copy(struct vm_pager *pager, vm_pindex_t pindex, vm_object_t source,
    uint64_t frame, struct vm_page **pagep)
{
	struct vm_page *page = uma_zalloc(&pager->pages);
	int rv;

	MPASS(pager != NULL && source != NULL);

	if (page == NULL)
		return KERN_RESOURCE_SHORTAGE;
	*page = (struct vm_page){.pager = pager, .pindex = pindex};
	rv = pager->ops->copy(pager->arg, source, frame, &page->frame);
	if (rv != KERN_SUCCESS) {
		uma_zfree(&pager->pages, page);
		return rv;
	}
	*pagep = page;
	return KERN_SUCCESS;
}

static void
page_free(struct vm_page *page)
{
	struct vm_pager *pager = page->pager;

	MPASS(page->left == NULL && page->right == NULL);

	pager->ops->free(pager->arg, page->frame);
	uma_zfree(&pager->pages, page);
}

/* The treap. */

static uint64_t
priority(const struct vm_page *page)
{
	uint64_t x = page->pindex + 0x9e3779b97f4a7c15ull;

	MPASS(page != NULL);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Those below `pindex` to *lowp, the others to *highp. */
static void
treap_split(struct vm_page *page, vm_pindex_t pindex, struct vm_page **lowp,
    struct vm_page **highp)
{
	MPASS(lowp != NULL && highp != NULL);

	while (page != NULL)
		if (page->pindex < pindex) {
			*lowp = page;
			lowp = &page->right;
			page = page->right;
		} else {
			*highp = page;
			highp = &page->left;
			page = page->left;
		}
	*lowp = *highp = NULL;
}

/* Everything in `low` is below everything in `high`. */
static struct vm_page *
treap_join(struct vm_page *low, struct vm_page *high)
{
	struct vm_page *root = NULL, **link = &root;

	while (low != NULL && high != NULL)
		if (priority(low) >= priority(high)) {
			*link = low;
			link = &low->right;
			low = low->right;
		} else {
			*link = high;
			link = &high->left;
			high = high->left;
		}
	*link = low != NULL ? low : high;
	return root;
}

/* Take the page with the lowest index out of a tree that has one. */
static struct vm_page *
treap_pop(struct vm_page **rootp)
{
	struct vm_page *page;

	MPASS(*rootp != NULL);

	while ((*rootp)->left != NULL)
		rootp = &(*rootp)->left;
	page = *rootp;
	*rootp = page->right;
	page->left = page->right = NULL;
	return page;
}

struct vm_page *
vm_pages_find(const struct vm_pages *pages, vm_pindex_t pindex)
{
	struct vm_page *page = pages->root;

	MPASS(pages != NULL);

	while (page != NULL && page->pindex != pindex)
		page = pindex < page->pindex ? page->left : page->right;
	return page;
}

struct vm_page *
vm_pages_next(const struct vm_pages *pages, vm_pindex_t pindex)
{
	struct vm_page *page = pages->root, *best = NULL;

	MPASS(pages != NULL);

	while (page != NULL)
		if (page->pindex < pindex) {
			page = page->right;
		} else {
			best = page;
			page = page->left;
		}
	return best;
}

void
vm_pages_insert(struct vm_pages *pages, struct vm_page *page)
{
	struct vm_page *low, *high;

	KASSERT(vm_pages_find(pages, page->pindex) == NULL,
	    "a second page at one index");

	treap_split(pages->root, page->pindex, &low, &high);
	page->left = page->right = NULL;
	pages->root = treap_join(treap_join(low, page), high);
	pages->count++;
}

static uint64_t
treap_count(const struct vm_page *page)
{
	uint64_t n = 0;

	for (; page != NULL; page = page->right)
		n += 1 + treap_count(page->left);
	return n;
}

void
vm_pages_extract(struct vm_pages *pages, vm_pindex_t first, vm_pindex_t last,
    struct vm_pages *outp)
{
	struct vm_page *low, *rest, *high;

	MPASS(first <= last);

	treap_split(pages->root, first, &low, &rest);
	treap_split(rest, last, &outp->root, &high);
	pages->root = treap_join(low, high);
	outp->count = treap_count(outp->root);
	pages->count -= outp->count;
}

void
vm_pages_free(struct vm_pages *pages)
{
	while (pages->root != NULL)
		page_free(treap_pop(&pages->root));
	pages->count = 0;
}

void
vm_pages_move(struct vm_pages *pages, vm_pindex_t shift, vm_pindex_t limit,
    struct vm_pages *to)
{
	struct vm_page *page;

	MPASS(pages != to);

	while (pages->root != NULL) {
		page = treap_pop(&pages->root);
		if (page->pindex < shift || page->pindex - shift >= limit ||
		    vm_pages_find(to, page->pindex - shift) != NULL) {
			page_free(page);
			continue;
		}
		page->pindex -= shift;
		vm_pages_insert(to, page);
	}
	pages->count = 0;
}

static bool
treap_check(const struct vm_page *page, vm_pindex_t low, vm_pindex_t high)
{
	MPASS(low <= high);

	if (page == NULL)
		return true;
	if (page->pindex < low || page->pindex >= high)
		return false;
	if ((page->left != NULL && priority(page->left) > priority(page)) ||
	    (page->right != NULL && priority(page->right) > priority(page)))
		return false;
	return treap_check(page->left, low, page->pindex) &&
	       treap_check(page->right, page->pindex + 1, high);
}

bool
vm_pages_check(const struct vm_pages *pages, vm_pindex_t limit)
{
	MPASS(pages != NULL);

	return treap_check(pages->root, 0, limit) &&
	       treap_count(pages->root) == pages->count;
}
