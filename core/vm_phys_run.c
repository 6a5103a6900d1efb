/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Free runs of a vm_phys: in which domain's tree of which zone, and what a
 * range that is taken or comes back does to those beside it.
 *
 * What can be decided before an edit is found out by looking around; the
 * edits themselves cannot fail, and begin where the looking ended.
 */

#include "core/kassert.h"
#include "core/vm_phys_int.h"

static struct rt *
run_tree(struct phys_run *run)
{
	MPASS(run->zone < PHYS_NZONES);

	return &run->domain->rt[run->zone];
}

/* The first run of the domain in a zone from `zone` on. */
static bool
run_first(struct phys_domain *domain, unsigned zone, struct phys_run *run)
{
	unsigned zones = domain->used >> zone << zone;

	MPASS(zone <= PHYS_NZONES);

	if (zones == 0)
		return false;
	run->domain = domain;
	run->zone = (unsigned)__builtin_ctz(zones);
	(void)rt_seek(run_tree(run), 0, &run->path); /* it is not empty */
	phys_run_read(run);
	return true;
}

bool
phys_run_seek(struct phys_domain *domain, vm_paddr_t pa, struct phys_run *run)
{
	unsigned zone = phys_zone(pa);

	run->domain = domain;
	run->zone = zone;
	if (pa == UINT64_MAX)
		return false;
	if (!rt_seek(run_tree(run), pa, &run->path))
		return run_first(domain, zone + 1, run);
	phys_run_read(run);
	return true;
}

/* The run behind `run`. */
static bool
run_next(const struct phys_run *run, struct phys_run *next)
{
	MPASS(run != next);

	*next = *run;
	if (!rt_next(run_tree(next), &next->path))
		return run_first(run->domain, run->zone + 1, next);
	phys_run_read(next);
	return true;
}

static void
run_insert(struct vm_phys *phys, struct phys_domain *domain, vm_paddr_t start,
    vm_paddr_t end)
{
	unsigned zone = phys_zone(end - 1);

	MPASS(start < end);

	rt_insert(&phys->store, &domain->rt[zone], start, end);
	domain->used |= 1u << zone;
	phys->nruns++;
}

/* As run_insert(), right in front of `next`, which is of the same domain. */
static void
run_insert_before(struct vm_phys *phys, struct phys_run *next, vm_paddr_t start,
    vm_paddr_t end)
{
	MPASS(start < end);

	if (phys_zone(end - 1) != next->zone) {
		run_insert(phys, next->domain, start, end);
		return;
	}
	rt_insert_at(&phys->store, run_tree(next), &next->path, start, end);
	phys->nruns++;
}

static void
run_delete(struct vm_phys *phys, struct phys_run *run)
{
	struct rt *rt = run_tree(run);

	MPASS(phys->nruns > 0);

	rt_delete(&phys->store, rt, &run->path);
	if (rt->height == 0)
		run->domain->used &= ~(1u << run->zone);
	phys->nruns--;
}

/* Move the edges of a run; its other neighbours are out of the way. */
static void
run_resize(struct vm_phys *phys, struct phys_run *run, vm_paddr_t start,
    vm_paddr_t end)
{
	MPASS(start < end);

	if (phys_zone(end - 1) == run->zone) {
		rt_resize(&phys->store, run_tree(run), &run->path, start, end);
		return;
	}
	run_delete(phys, run);
	run_insert(phys, run->domain, start, end);
}

static void
count_free(struct vm_phys *phys, struct phys_domain *domain, vm_paddr_t start,
    vm_paddr_t end, bool freed)
{
	vm_size_t size = end - start;

	MPASS(start < end);

	domain->free = freed ? domain->free + size : domain->free - size;
	phys->free = freed ? phys->free + size : phys->free - size;
	MPASS(phys->free <= phys->total);
}

void
phys_run_carve(struct vm_phys *phys, struct phys_run *run, vm_paddr_t start,
    vm_paddr_t end)
{
	MPASS(run->start <= start && start < end && end <= run->end);

	count_free(phys, run->domain, start, end, false);
	if (start == run->start && end == run->end) {
		run_delete(phys, run);
	} else if (end == run->end) {
		run_resize(phys, run, run->start, start);
	} else {
		run_resize(phys, run, end, run->end);
		if (start != run->start)
			run_insert_before(phys, run, run->start, start);
	}
}

/* The run behind the one below, if that lies in the same leaf. */
static bool
near_next(const struct phys_run *run)
{
	MPASS(run->path.pos < run->path.leaf->n);

	return run->path.pos + 1 < run->path.leaf->n;
}

/* The first byte of the run behind `around->at`; all ones: there is none. */
static vm_paddr_t
look_behind(struct phys_around *around)
{
	const struct rt_path *path = &around->at.path;

	around->near = near_next(&around->at);
	if (around->near)
		return path->leaf->start[path->pos + 1];
	if (!run_next(&around->at, &around->next))
		return UINT64_MAX;
	return around->next.start;
}

bool
phys_look_around(struct vm_phys *phys, const struct phys_seg *seg,
    vm_paddr_t start, vm_paddr_t end, struct phys_around *around)
{
	struct phys_domain *domain = phys->domains[seg->domain];
	vm_paddr_t above = UINT64_MAX;

	MPASS(seg->start <= start && start < end && end <= seg->end);

	around->before = around->near = false;
	around->found =
	    phys_run_seek(domain, start > 0 ? start - 1 : 0, &around->at);
	if (around->found && around->at.end <= start && start == seg->start) {
		/* It touches, but in the segment below. */
		around->next = around->at;
		around->found = run_next(&around->next, &around->at);
	}
	if (around->found && around->at.end <= start) {
		around->before = true;
		above = look_behind(around);
	} else if (around->found) {
		above = around->at.start;
	}
	around->after = above == end && end < seg->end;
	return above >= end;
}

/* Both neighbours and what lies between them become one. */
static void
run_bridge(struct vm_phys *phys, struct phys_around *around)
{
	vm_paddr_t first = around->at.start, end;
	struct phys_domain *domain = around->at.domain;

	MPASS(around->before && around->after);

	if (around->near) {
		rt_join(&phys->store, run_tree(&around->at), &around->at.path);
		phys->nruns--;
		return;
	}
	end = around->next.start;
	run_delete(phys, &around->at);
	/* The deletion may have moved it within its tree. */
	(void)phys_run_seek(domain, end, &around->next);
	MPASS(around->next.start == end);
	run_resize(phys, &around->next, first, around->next.end);
}

void
phys_run_release(struct vm_phys *phys, const struct phys_seg *seg,
    vm_paddr_t start, vm_paddr_t end, struct phys_around *around)
{
	struct phys_domain *domain = phys->domains[seg->domain];
	struct phys_run *at = &around->at;

	MPASS(seg->start <= start && start < end && end <= seg->end);

	count_free(phys, domain, start, end, true);
	if (around->before && around->after)
		run_bridge(phys, around);
	else if (around->before)
		run_resize(phys, at, at->start, end);
	else if (around->after)
		run_resize(phys, at, start, at->end);
	else if (around->found)
		run_insert_before(phys, at, start, end);
	else
		run_insert(phys, domain, start, end);
}
