/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Why the pool has nothing for a request: which argument stands in the way,
 * and what it would have to be.  Searches only; a request that is refused can
 * be made again with the limit that it was told.
 */

#include <stdio.h>

#include "server/pool.h"
#include "server/status.h"

/* What there is, whether free or not. */
struct extent_of_pool {
	vm_paddr_t low, high;
	uint32_t domains; /* a bit for each */
};

static bool
why_measure(const struct pool *pool, struct extent_of_pool *all)
{
	struct vm_phys_run seg;
	bool big;

	*all = (struct extent_of_pool){.low = UINT64_MAX};
	for (vm_paddr_t pa = 0; pool_next_seg(pool, pa, &seg, &big);
	     pa = seg.end) {
		all->low = MIN(all->low, seg.start);
		all->high = seg.end;
		all->domains |= UINT32_C(1) << seg.domain;
	}
	return all->domains != 0;
}

/* Would free frames do? */
static bool
why_fits(const struct pool *pool, const struct contig_req *req)
{
	vm_paddr_t pa;

	return vm_phys_find_contig(pool->phys, req, &pa) == KERN_SUCCESS ||
	       (pool->big != NULL &&
		   vm_phys_find_contig(pool->big, req, &pa) == KERN_SUCCESS);
}

/* The largest size that would do; 0: none. */
static vm_size_t
why_size(const struct pool *pool, struct contig_req req)
{
	vm_size_t page = vm_phys_page_size(pool->phys);
	vm_size_t does = 0, fails = req.size / page;

	while (fails - does > 1) {
		vm_size_t n = does + (fails - does) / 2;

		req.size = n * page;
		if (why_fits(pool, &req))
			does = n;
		else
			fails = n;
	}
	return does * page;
}

/* The largest alignment that would do. */
static vm_paddr_t
why_alignment(const struct pool *pool, struct contig_req req)
{
	do {
		req.alignment /= 2;
	} while (req.alignment > vm_phys_page_size(pool->phys) &&
		 !why_fits(pool, &req));
	return req.alignment;
}

/* The smallest boundary that would do; 0: only none. */
static vm_paddr_t
why_boundary(const struct pool *pool, struct contig_req req)
{
	do {
		req.boundary *= 2;
	} while (req.boundary != 0 && !why_fits(pool, &req));
	return req.boundary;
}

/* " between low and high of domain 1", as far as the request says so. */
static void
why_where(const struct contig_req *req, const struct extent_of_pool *all,
    char *text, size_t size)
{
	bool window = req->low > all->low || req->high < all->high;
	int n =
	    snprintf(text, size, "%s", window ? " between low and high" : "");

	if (req->domain >= 0)
		(void)snprintf(text + n, size - (size_t)n, " of domain %d",
		    req->domain);
}

/* What it is that no free run satisfies. */
static int
why_run(const struct pool *pool, const struct contig_req *req,
    const struct extent_of_pool *all, struct answer *answer)
{
	struct contig_req wide = *req;
	unsigned long long limit;
	char where[64];

	why_where(req, all, where, sizeof(where));
	wide.alignment = vm_phys_page_size(pool->phys);
	wide.boundary = 0;
	if (!why_fits(pool, &wide)) {
		limit = why_size(pool, wide);
		if (limit == 0)
			return answer_refuse(answer, KERN_NO_SPACE,
			    "size is 0x%llx, but there is no free memory%s",
			    (unsigned long long)req->size, where);
		return answer_refuse(answer, KERN_NO_SPACE,
		    "size must be at most 0x%llx, the %slargest free run%s; "
		    "it is 0x%llx",
		    limit, *where == '\0' ? "pool's " : "", where,
		    (unsigned long long)req->size);
	}
	wide.alignment = req->alignment;
	if (!why_fits(pool, &wide))
		return answer_refuse(answer, KERN_NO_SPACE,
		    "alignment must be at most 0x%llx for a free run of "
		    "0x%llx bytes%s; it is 0x%llx",
		    (unsigned long long)why_alignment(pool, wide),
		    (unsigned long long)req->size, where,
		    (unsigned long long)req->alignment);
	limit = why_boundary(pool, *req);
	if (limit == 0)
		return answer_refuse(answer, KERN_NO_SPACE,
		    "boundary must be 0 for a free run of 0x%llx bytes%s; it "
		    "is 0x%llx",
		    (unsigned long long)req->size, where,
		    (unsigned long long)req->boundary);
	return answer_refuse(answer, KERN_NO_SPACE,
	    "boundary must be 0 or at least 0x%llx for a free run of 0x%llx "
	    "bytes%s; it is 0x%llx",
	    limit, (unsigned long long)req->size, where,
	    (unsigned long long)req->boundary);
}

/* The end that has nothing of the pool beyond it. */
static int
why_end(const char *arg, const char *rule, const char *of, vm_paddr_t limit,
    vm_paddr_t value, bool tell, struct answer *answer)
{
	if (tell)
		return answer_refuse(answer, KERN_NO_SPACE,
		    "%s must be %s 0x%llx, %s; it is 0x%llx", arg, rule,
		    (unsigned long long)limit, of, (unsigned long long)value);
	return answer_refuse(answer, KERN_NO_SPACE,
	    "%s must be %s %s; it is 0x%llx", arg, rule, of,
	    (unsigned long long)value);
}

void
pool_domains_text(uint32_t domains, char text[POOL_DOMAINS_TEXT])
{
	size_t n = 0;

	*text = '\0';
	for (int i = 0; i < VM_PHYS_DOMAINS; i++)
		if ((domains >> i & 1) != 0)
			n += (size_t)snprintf(text + n, POOL_DOMAINS_TEXT - n,
			    "%s%d", n == 0 ? "" : ", ", i);
}

int
pool_refuse(struct pool *pool, const struct contig_req *req, bool tell,
    struct answer *answer)
{
	struct vm_phys_stats stats;
	char domains[POOL_DOMAINS_TEXT], where[64];
	struct extent_of_pool all;

	if (pool->phys == NULL)
		return answer_refuse(answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
	if (pool->draining)
		return answer_refuse(answer, KERN_RESOURCE_SHORTAGE,
		    "the pool is drained by an operator: nothing new is "
		    "allocated");
	if (!why_measure(pool, &all))
		return answer_refuse(answer, REFUSED_NO_POOL,
		    "the daemon's pool of huge pages is empty");
	if (req->domain >= 0 && (all.domains >> req->domain & 1) == 0) {
		pool_domains_text(all.domains, domains);
		return answer_refuse(answer, KERN_NO_SPACE,
		    "domain must be one in which the pool has memory (%s); it "
		    "is %d",
		    domains, req->domain);
	}
	if (req->high <= all.low)
		return why_end("high", "above", "the pool's lowest address",
		    all.low, req->high, tell, answer);
	if (req->low >= all.high)
		return why_end("low", "below", "the end of the pool", all.high,
		    req->low, tell, answer);
	if (tell && !why_fits(pool, req))
		return why_run(pool, req, &all, answer);
	pool_stats(pool, &stats);
	if (req->size > stats.largest_run)
		return answer_refuse(answer, KERN_NO_SPACE,
		    "size must be at most 0x%llx, the pool's largest free "
		    "run; it is 0x%llx",
		    (unsigned long long)stats.largest_run,
		    (unsigned long long)req->size);
	why_where(req, &all, where, sizeof(where));
	return answer_refuse(answer, KERN_NO_SPACE,
	    "no free run of 0x%llx bytes%s satisfies low, high, alignment and "
	    "boundary together",
	    (unsigned long long)req->size, where);
}
