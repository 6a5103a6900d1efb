/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/resize.h"

/* Frames that a rebalance moves at a time: so many more than the pool may have
 * it has meanwhile. */
#define REBALANCE_STEP 64

static void resize_step(struct resize *resize);

/* ---- Runs -------------------------------------------------------- */

/* false: no memory; the count is right all the same. */
static bool
runs_add(struct resize *resize, vm_paddr_t start, vm_paddr_t end, int domain)
{
	struct vm_phys_run *runs = resize->runs;
	size_t max = MAX(2 * resize->runs_max, 16);

	if (resize->nruns == resize->runs_max) {
		runs = memory_realloc(runs, max, sizeof(*runs));
		if (runs == NULL)
			return false;
		resize->runs = runs;
		resize->runs_max = max;
	}
	runs[resize->nruns++] = (struct vm_phys_run){
	    .start = start,
	    .end = end,
	    .domain = domain,
	};
	return true;
}

static int
run_compare(const void *a, const void *b)
{
	const struct vm_phys_run *x = a;
	const struct vm_phys_run *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void
runs_merge(struct resize *resize)
{
	struct vm_phys_run *runs = resize->runs;
	size_t n = 0;

	if (resize->nruns == 0)
		return;
	qsort(runs, resize->nruns, sizeof(*runs), run_compare);
	for (size_t i = 1; i < resize->nruns; i++) {
		if (runs[i].start == runs[n].end &&
		    runs[i].domain == runs[n].domain)
			runs[n].end = runs[i].end;
		else
			runs[++n] = runs[i];
	}
	resize->nruns = n + 1;
}

void
resize_gained(struct pool *pool, const struct arch_event *event)
{
	struct resize *resize = TAILQ_FIRST(&pool->resizes);
	vm_paddr_t pa = event->frame.pa;

	if (!event->grown || resize == NULL || resize->kind != RESIZE_GROW ||
	    event->size != resize->grow.frame_size)
		return;
	(void)runs_add(resize, pa, pa + event->size, event->frame.domain);
}

/* ---- Growing ----------------------------------------------------- */

static void
grow_run(struct job *job)
{
	struct resize *resize =
	    (struct resize *)((char *)job - offsetof(struct resize, job));
	const struct arch *arch = resize->pool->arch;
	int r = arch->ops->pool_grow(arch->ctx, &resize->grow);

	resize->came = (size_t)MAX(r, 0);
	resize->r = MIN(r, 0);
}

/* ---- Shrinking --------------------------------------------------- */

static vm_size_t
resize_frame(const struct resize *resize)
{
	return resize->big ? resize->pool->big_size : resize->pool->frame_size;
}

static struct vm_phys *
resize_books(const struct resize *resize)
{
	return resize->big ? resize->pool->big : resize->pool->phys;
}

static int
run_compare_size(const void *a, const void *b)
{
	const struct vm_phys_run *x = a;
	const struct vm_phys_run *y = b;
	vm_size_t p = x->end - x->start, q = y->end - y->start;

	if (p != q)
		return p < q ? -1 : 1;
	return x->start > y->start ? -1 : x->start < y->start;
}

/* The free runs of the node, shortest first.  NULL: none, or no memory. */
static struct vm_phys_run *
free_runs(struct vm_phys *phys, int domain, size_t *np)
{
	struct vm_phys_run *runs;
	struct vm_phys_stats stats;
	struct vm_phys_run run;
	vm_paddr_t at = 0;
	size_t n = 0;

	vm_phys_stats(phys, &stats);
	runs = memory_calloc(stats.nruns + 1, sizeof(*runs));
	if (runs == NULL)
		return NULL;
	for (; n < stats.nruns && vm_phys_next_free(phys, at, &run);
	     at = run.end)
		if (domain < 0 || run.domain == domain)
			runs[n++] = run;
	qsort(runs, n, sizeof(*runs), run_compare_size);
	*np = n;
	return runs;
}

/*
 * Take up to `want` free frames out of the books, so that the longest runs
 * stay whole.  Returns how many; their runs are noted.
 */
static size_t
shrink_books(struct resize *resize, int domain, size_t want)
{
	vm_size_t size = resize_frame(resize);
	struct vm_phys *phys = resize_books(resize);
	struct vm_phys_run *runs;
	size_t n = 0, got = 0;

	runs = free_runs(phys, domain, &n);
	for (size_t i = 0; i < n && got < want; i++) {
		size_t some = (size_t)((runs[i].end - runs[i].start) / size);
		vm_paddr_t start;

		some = MIN(some, want - got);
		start = runs[i].end - some * size;
		if (vm_phys_remove_seg(phys, start, runs[i].end) !=
		    KERN_SUCCESS)
			continue;
		if (runs_add(resize, start, runs[i].end, runs[i].domain))
			got += some;
		else if (vm_phys_add_seg(phys, start, runs[i].end,
			     runs[i].domain, NULL) != KERN_SUCCESS)
			log_error("inventory", "what=\"frames dropped\"");
	}
	free(runs);
	return got;
}

/* What the back end would not give up is marked by an empty run. */
static void
shrink_run(struct job *job)
{
	struct resize *resize =
	    (struct resize *)((char *)job - offsetof(struct resize, job));
	const struct arch *arch = resize->pool->arch;
	vm_size_t size = resize->pool->frame_size;
	int r;

	for (size_t i = resize->first; i < resize->nruns; i++) {
		struct vm_phys_run *run = &resize->runs[i];

		r = arch->ops->pool_shrink(arch->ctx, run->start,
		    (size_t)((run->end - run->start) / size));
		run->owner = r < 0 ? run : NULL;
		if (r < 0)
			resize->r = r;
	}
}

/* Those go back to the books; an event tells what became of them. */
static void
shrink_settle(struct resize *resize)
{
	struct vm_phys *phys = resize_books(resize);
	size_t n = resize->first;

	resize->came = 0;
	for (size_t i = resize->first; i < resize->nruns; i++) {
		struct vm_phys_run run = resize->runs[i];

		if (run.owner != NULL) {
			if (vm_phys_add_seg(phys, run.start, run.end,
				run.domain, NULL) != KERN_SUCCESS)
				log_error("inventory",
				    "what=\"frames dropped\"");
			continue;
		}
		resize->came +=
		    (size_t)((run.end - run.start) / resize_frame(resize));
		resize->runs[n++] = run;
	}
	resize->nruns = n;
}

/* ---- Taking apart ------------------------------------------------ */

/* Free big frames become frames in the books; the job does the rest. */
static size_t
demote_books(struct resize *resize)
{
	struct pool *pool = resize->pool;
	struct vm_phys_run run;
	size_t got = 0;

	while (got < resize->asked && vm_phys_next_free(pool->big, 0, &run)) {
		if (!runs_add(resize, run.start, run.start + pool->big_size,
			run.domain))
			break;
		if (pool_demote(pool, run.start) != KERN_SUCCESS) {
			resize->nruns--;
			break;
		}
		got++;
	}
	return got;
}

/* What fails is taken apart when a span needs a part of it. */
static void
demote_run(struct job *job)
{
	struct resize *resize =
	    (struct resize *)((char *)job - offsetof(struct resize, job));
	const struct arch *arch = resize->pool->arch;

	resize->came = 0;
	for (size_t i = 0; i < resize->nruns; i++) {
		int r =
		    arch->ops->pool_demote(arch->ctx, resize->runs[i].start);

		/* -ENOENT: a span came first. */
		if (r == 0 || r == -ENOENT)
			resize->came++;
		else
			resize->r = r;
	}
}

/* ---- Balance ----------------------------------------------------- */

size_t
resize_plan(const struct resize_node *nodes, uint64_t mask, int *fromp,
    int *top)
{
	size_t sum = 0, n = 0, mean;
	int from = -1, to = -1;

	for (int i = 0; i < VM_PHYS_DOMAINS; i++) {
		if ((mask >> i & 1) == 0)
			continue;
		sum += nodes[i].total;
		n++;
		if (to < 0 || nodes[i].total < nodes[to].total)
			to = i;
		if (nodes[i].free > 0 &&
		    (from < 0 || nodes[i].total > nodes[from].total))
			from = i;
	}
	mean = n > 0 ? sum / n : 0;
	if (from < 0 || from == to || nodes[from].total <= mean ||
	    nodes[to].total >= mean)
		return 0;
	*fromp = from;
	*top = to;
	return MIN(nodes[from].free,
	    MIN(nodes[from].total - mean, mean - nodes[to].total));
}

static void
nodes_count(struct pool *pool, struct resize_node *nodes)
{
	struct vm_phys_run run;
	vm_paddr_t at;

	for (at = 0; vm_phys_next_seg(pool->phys, at, &run); at = run.end)
		nodes[run.domain].total +=
		    (size_t)((run.end - run.start) / pool->frame_size);
	for (at = 0; vm_phys_next_free(pool->phys, at, &run); at = run.end)
		nodes[run.domain].free +=
		    (size_t)((run.end - run.start) / pool->frame_size);
}

/* Grow where there is least; 0: there is nothing to do. */
static size_t
balance_next(struct resize *resize)
{
	struct resize_node nodes[VM_PHYS_DOMAINS] = {0};
	const struct arch *arch = resize->pool->arch;
	struct arch_pool_info info;
	size_t n;
	int to;

	nodes_count(resize->pool, nodes);
	arch->ops->pool_info(arch->ctx, &info);
	n = resize_plan(nodes, info.nodes, &resize->from, &to);
	resize->grow = (struct arch_grow){
	    .frame_size = resize->pool->frame_size,
	    .node = to,
	    .nframes = MIN(n, REBALANCE_STEP),
	};
	return n;
}

/* ---- Steps ------------------------------------------------------- */

static void
resize_over(struct resize *resize)
{
	struct pool *pool = resize->pool;
	struct resize *next;

	TAILQ_REMOVE(&pool->resizes, resize, entry);
	next = TAILQ_FIRST(&pool->resizes);
	runs_merge(resize);
	log_info("resize",
	    "kind=%d big=%d domain=%d asked=%zu done=%zu errno=%d",
	    (int)resize->kind, resize->big, resize->domain, resize->asked,
	    resize->done, -resize->r);
	resize->ready(resize);
	if (next != NULL)
		resize_step(next);
	pool_wake(pool);
}

static void
resize_done(struct job *job)
{
	struct resize *resize =
	    (struct resize *)((char *)job - offsetof(struct resize, job));
	struct pool *pool = resize->pool;
	bool balance = resize->kind == RESIZE_REBALANCE;

	if (resize->step == RESIZE_SHRINK)
		shrink_settle(resize);
	pool_drain_events(pool);
	pool_note(pool, false);
	if (!balance || resize->step == RESIZE_SHRINK)
		resize->done += resize->came;
	if (!balance || resize->came == 0) {
		resize_over(resize);
		return;
	}
	resize->step =
	    resize->step == RESIZE_GROW ? RESIZE_SHRINK : RESIZE_GROW;
	resize_step(resize);
}

static void
resize_submit(struct resize *resize, void (*run)(struct job *job))
{
	resize->job.run = run;
	resize->job.done = resize_done;
	pool_note(resize->pool, true);
	workers_submit(resize->pool->workers, &resize->job);
}

static void
resize_step(struct resize *resize)
{
	bool balance = resize->kind == RESIZE_REBALANCE;
	size_t n = 0;

	resize->first = resize->nruns;
	switch (resize->step) {
	case RESIZE_GROW:
		n = balance ? balance_next(resize) : resize->asked;
		if (n > 0)
			resize_submit(resize, grow_run);
		break;
	case RESIZE_SHRINK:
		n = balance
			? shrink_books(resize, resize->from, resize->came)
			: shrink_books(resize, resize->domain, resize->asked);
		if (n > 0)
			resize_submit(resize, shrink_run);
		break;
	case RESIZE_DEMOTE:
		n = demote_books(resize);
		if (n > 0)
			resize_submit(resize, demote_run);
		break;
	case RESIZE_REBALANCE:
		MPASS(false);
		break;
	}
	if (n == 0)
		resize_over(resize);
}

/* ---- From outside ------------------------------------------------ */

static int
check_grow(const struct pool *pool, const struct resize *resize,
    struct answer *answer)
{
	vm_size_t size = resize_frame(resize), room = pool_room(pool);

	if (resize->asked > room / size)
		return answer_refuse(answer, REFUSED_DENIED,
		    "the pool may grow by 0x%llx bytes at most, to pool-max "
		    "0x%llx",
		    (unsigned long long)room,
		    (unsigned long long)pool->options.max);
	return KERN_SUCCESS;
}

static int
check_shrink(const struct pool *pool, const struct resize *resize,
    struct answer *answer)
{
	vm_size_t size = resize_frame(resize), room;
	struct vm_phys_stats stats;

	pool_stats(pool, &stats);
	room = stats.total - MIN(pool->options.min, stats.total);
	if (resize->asked > room / size)
		return answer_refuse(answer, REFUSED_DENIED,
		    "the pool may shrink by 0x%llx bytes at most, to pool-min "
		    "0x%llx",
		    (unsigned long long)room,
		    (unsigned long long)pool->options.min);
	return KERN_SUCCESS;
}

static int
resize_check(struct pool *pool, const struct resize *resize,
    struct answer *answer)
{
	const struct arch_ops *ops = pool->arch->ops;
	char domains[POOL_DOMAINS_TEXT];
	struct arch_pool_info info;

	ops->pool_info(pool->arch->ctx, &info);
	if (ops->pool_grow == NULL || ops->pool_shrink == NULL)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "this daemon's pool cannot change its size");
	if ((resize->big || resize->kind == RESIZE_DEMOTE) && pool->big == NULL)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "%s: the pool has no frames of 1 GiB, which the daemon "
		    "takes at its start (--pool-1g)",
		    resize->big ? "big must be false" : "frames must be 0");
	if (resize->domain >= VM_PHYS_DOMAINS ||
	    (resize->domain >= 0 && (info.nodes >> resize->domain & 1) == 0)) {
		pool_domains_text((uint32_t)info.nodes, domains);
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "domain must be a NUMA node that the pool may use (%s); "
		    "it is %d",
		    domains, resize->domain);
	}
	if (resize->kind != RESIZE_REBALANCE && resize->asked == 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "frames must be at least 1; it is 0");
	if (resize->kind == RESIZE_GROW)
		return check_grow(pool, resize, answer);
	if (resize->kind == RESIZE_SHRINK)
		return check_shrink(pool, resize, answer);
	return KERN_SUCCESS;
}

int
resize_begin(struct pool *pool, struct resize *resize, struct answer *answer)
{
	int rv;

	resize->pool = pool;
	if (resize->kind != RESIZE_GROW)
		(void)pool_call_idle(pool, NULL);
	rv = resize_check(pool, resize, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	resize->step =
	    resize->kind == RESIZE_REBALANCE ? RESIZE_GROW : resize->kind;
	resize->grow = (struct arch_grow){
	    .frame_size = resize_frame(resize),
	    .node = resize->domain,
	    .nframes = resize->asked,
	};
	TAILQ_INSERT_TAIL(&pool->resizes, resize, entry);
	if (TAILQ_FIRST(&pool->resizes) == resize)
		resize_step(resize);
	return KERN_SUCCESS;
}

void
resize_free(struct resize *resize)
{
	if (resize == NULL)
		return;
	free(resize->runs);
	free(resize);
}
