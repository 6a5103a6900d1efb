/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the daemon tells of the pool and of the tenant.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/holdfast_int.h"
#include "clients/libholdfast/request.h"

/* What anybody would believe. */
#define RUNS_MAX (1u << 20)
#define LIST_MAX (1u << 20)

void
hf_copy_text(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
			to[i] = '?';
}

int
holdfast_pool_status(struct holdfast *h, struct holdfast_pool_status *statusp)
{
	HF_REQUEST(PoolStatus, POOL_STATUS, pool_status);
	const Holdfast__V1__PoolStatusResult *res;
	const Holdfast__V1__Reply *reply;
	int r;

	r = HF_ASK(h, POOL_STATUS, &reply);
	if (r != HF_OK)
		return r;
	res = reply->pool_status;
	*statusp = (struct holdfast_pool_status){
	    .frame_size = res->frame_size,
	    .frames_total = res->frames_total,
	    .frames_standby = res->frames_standby,
	    .frames_in_use = res->frames_in_use,
	    .frames_limbo = res->frames_limbo,
	    .frames_missing = res->frames_missing,
	    .free_bytes = res->free_bytes,
	    .largest_run = res->largest_run,
	    .spans = res->spans,
	    .sessions = res->sessions,
	    .tenants = res->tenants,
	    .uptime_ms = res->uptime_ms,
	    .frames_idle = res->frames_idle,
	    .frames_ready = res->frames_ready,
	    .spans_ready = res->spans_ready,
	    .stock_hits = res->stock_hits,
	    .stock_misses = res->stock_misses,
	    .waiting = res->waiting,
	    .reclaim_asks = res->reclaim_asks,
	    .big_size = res->big_size,
	    .big_total = res->big_total,
	    .big_standby = res->big_standby,
	    .pool_max = res->pool_max,
	    .pool_min = res->pool_min,
	    .frames_quarantined = res->frames_quarantined,
	    .frames_tampered = res->frames_tampered,
	    .frames_poisoned = res->frames_poisoned,
	    .draining = res->draining,
	    .is_operator = res->is_operator,
	    .pin = (enum holdfast_pin)res->pin,
	    .addresses_known = res->addresses_known,
	    .simulated = res->simulated,
	};
	hf_copy_text(statusp->degraded, sizeof(statusp->degraded),
	    res->degraded);
	return HF_OK;
}

static struct holdfast_quota
quota(const Holdfast__V1__Quota *from)
{
	struct holdfast_quota to = {0};

	if (from != NULL)
		to = (struct holdfast_quota){
		    .used = from->used,
		    .limit = from->limit,
		    .highwater = from->highwater,
		};
	return to;
}

int
holdfast_tenant_status(struct holdfast *h,
    struct holdfast_tenant_status *statusp)
{
	HF_REQUEST(TenantStatus, TENANT_STATUS, tenant_status);
	const Holdfast__V1__TenantStatusResult *res;
	const Holdfast__V1__Reply *reply;
	int r;

	r = HF_ASK(h, TENANT_STATUS, &reply);
	if (r != HF_OK)
		return r;
	res = reply->tenant_status;
	*statusp = (struct holdfast_tenant_status){
	    .bytes = quota(res->bytes),
	    .fds = quota(res->fds),
	    .requests = quota(res->requests),
	    .sessions = quota(res->sessions),
	    .buffers = res->buffers,
	    .maps = res->maps,
	    .entries = res->entries,
	    .tampered = res->tampered,
	    .limbo_bytes = res->limbo_bytes,
	    .base_bytes = quota(res->base_bytes),
	    .map_entries = quota(res->map_entries),
	    .idle_bytes = res->idle_bytes,
	    .spans_taken = res->spans_taken,
	};
	hf_copy_text(statusp->tenant, sizeof(statusp->tenant), res->tenant);
	return HF_OK;
}

/* ---- Runs -------------------------------------------------------------- */

struct runs {
	struct holdfast_run *run;
	size_t n;
};

/*
 * Append what one reply brings; ascending, as promised.  What reaches over the
 * border of two replies comes in both.
 */
static int
runs_append(struct holdfast *h, struct runs *runs, Holdfast__V1__Run **from,
    size_t n)
{
	struct holdfast_run *run;

	if (n > RUNS_MAX - runs->n)
		return hf_mistrust(h, "the daemon tells of too many runs");
	if (n == 0)
		return 0;
	run = reallocarray(runs->run, runs->n + n, sizeof(*run));
	if (run == NULL)
		return -ENOMEM;
	runs->run = run;
	for (size_t i = 0; i < n; i++) {
		struct holdfast_run last = {0}, next = {
						    .start = from[i]->start,
						    .end = from[i]->end,
						    .domain = from[i]->domain,
						    .big = from[i]->big,
						};

		if (runs->n > 0)
			last = run[runs->n - 1];
		if (i == 0 && last.start == next.start && last.end == next.end)
			continue;
		if (next.start >= next.end || next.start < last.end)
			return hf_mistrust(h,
			    "the daemon's runs are not in "
			    "order: %#llx-%#llx behind %#llx-%#llx",
			    (unsigned long long)next.start,
			    (unsigned long long)next.end,
			    (unsigned long long)last.start,
			    (unsigned long long)last.end);
		run[runs->n++] = next;
	}
	return 0;
}

enum { SEGMENTS, FREE, LIMBO, QUARANTINE, NKINDS };

static int
runs_page(struct holdfast *h, uint64_t from, struct runs *runs, uint64_t *nextp)
{
	HF_REQUEST(PoolRuns, POOL_RUNS, pool_runs);
	const Holdfast__V1__PoolRunsResult *res;
	const Holdfast__V1__Reply *reply;
	int r;

	op.from = from;
	r = HF_ASK(h, POOL_RUNS, &reply);
	if (r != HF_OK)
		return r;
	res = reply->pool_runs;
	r = runs_append(h, &runs[SEGMENTS], res->segments, res->n_segments);
	if (r == 0)
		r = runs_append(h, &runs[FREE], res->free, res->n_free);
	if (r == 0)
		r = runs_append(h, &runs[LIMBO], res->limbo, res->n_limbo);
	if (r == 0)
		r = runs_append(h, &runs[QUARANTINE], res->quarantine,
		    res->n_quarantine);
	if (r == 0 && res->next != 0 && res->next <= from)
		r = hf_mistrust(h, "the daemon's list of runs does not end");
	*nextp = res->next;
	return r;
}

static int
runs_all(struct holdfast *h, struct runs *runs)
{
	uint64_t next = 0;
	size_t npages = 0;

	do {
		int r = runs_page(h, next, runs, &next);

		if (r == 0 && ++npages > RUNS_MAX)
			r = hf_mistrust(h, "the daemon's list of runs does "
					   "not end");
		if (r != HF_OK) {
			for (int i = 0; i < NKINDS; i++)
				free(runs[i].run);
			return r;
		}
	} while (next != 0);
	return HF_OK;
}

/* Take one kind; the others are freed. */
static void
runs_take(struct runs *runs, int kind, struct holdfast_run **runsp, size_t *np)
{
	*runsp = runs[kind].run;
	*np = runs[kind].n;
	runs[kind].run = NULL;
}

static void
runs_free(struct runs *runs)
{
	for (int i = 0; i < NKINDS; i++)
		free(runs[i].run);
}

int
holdfast_pool_runs(struct holdfast *h, struct holdfast_run **segsp,
    size_t *nsegsp, struct holdfast_run **freep, size_t *nfreep)
{
	struct runs runs[NKINDS] = {0};
	int r = runs_all(h, runs);

	if (r != HF_OK)
		return r;
	runs_take(runs, SEGMENTS, segsp, nsegsp);
	runs_take(runs, FREE, freep, nfreep);
	runs_free(runs);
	return HF_OK;
}

static int
runs_of_kind(struct holdfast *h, int kind, struct holdfast_run **runsp,
    size_t *np)
{
	struct runs runs[NKINDS] = {0};
	int r = runs_all(h, runs);

	if (r != HF_OK)
		return r;
	runs_take(runs, kind, runsp, np);
	runs_free(runs);
	return HF_OK;
}

int
holdfast_limbo_runs(struct holdfast *h, struct holdfast_run **runsp, size_t *np)
{
	return runs_of_kind(h, LIMBO, runsp, np);
}

int
holdfast_quarantine_runs(struct holdfast *h, struct holdfast_run **runsp,
    size_t *np)
{
	return runs_of_kind(h, QUARANTINE, runsp, np);
}

/* ---- Lists -----------------------------------------------------------------
 */

int
holdfast_type_stats(struct holdfast *h, struct holdfast_type_stat **typesp,
    size_t *np)
{
	HF_REQUEST(TypeStats, TYPE_STATS, type_stats);
	const Holdfast__V1__TypeStatsResult *res;
	struct holdfast_type_stat *types;
	const Holdfast__V1__Reply *reply;
	int r;

	r = HF_ASK(h, TYPE_STATS, &reply);
	if (r != HF_OK)
		return r;
	res = reply->type_stats;
	types = calloc(res->n_types + 1, sizeof(*types));
	if (types == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < res->n_types; i++) {
		const Holdfast__V1__TypeStat *from = res->types[i];

		hf_copy_text(types[i].type, sizeof(types[i].type), from->type);
		types[i].allocs = from->allocs;
		types[i].frees = from->frees;
		types[i].bytes = from->bytes;
		types[i].highwater = from->highwater;
		types[i].failures = from->failures;
	}
	*typesp = types;
	*np = res->n_types;
	return HF_OK;
}

struct map_items {
	bool all; /* also those of others */
	struct holdfast_map_item *item;
	size_t n;
};

static int
map_list_page(struct holdfast *h, uint64_t skip, struct map_items *items,
    uint64_t *nextp)
{
	HF_REQUEST(MapList, MAP_LIST, map_list);
	const Holdfast__V1__MapListResult *res;
	struct holdfast_map_item *item;
	const Holdfast__V1__Reply *reply;
	int r;

	op.skip = skip;
	op.all = items->all;
	r = HF_ASK(h, MAP_LIST, &reply);
	if (r != HF_OK)
		return r;
	res = reply->map_list;
	if ((res->next != 0 && res->next <= skip) || items->n > LIST_MAX)
		return hf_mistrust(h, "the daemon's list of maps does not end");
	item = reallocarray(items->item, items->n + res->n_maps + 1,
	    sizeof(*item));
	if (item == NULL)
		return -ENOMEM;
	items->item = item;
	item += items->n;
	items->n += res->n_maps;
	for (size_t i = 0; i < res->n_maps; i++) {
		const Holdfast__V1__MapListItem *from = res->maps[i];

		hf_copy_text(item[i].name, sizeof(item[i].name), from->name);
		item[i].min = from->min;
		item[i].max = from->max;
		item[i].nentries = from->nentries;
		item[i].size = from->size;
		item[i].sessions = from->sessions;
		item[i].owner = from->owner;
		item[i].group = from->group;
		item[i].mode = from->mode;
		item[i].access = from->access;
	}
	*nextp = res->next;
	return HF_OK;
}

static int
map_list(struct holdfast *h, bool all, struct holdfast_map_item **mapsp,
    size_t *np)
{
	struct map_items items = {.all = all};
	uint64_t next = 0;

	do {
		int r = map_list_page(h, next, &items, &next);

		if (r != HF_OK) {
			free(items.item);
			return r;
		}
	} while (next != 0);
	*mapsp = items.item;
	*np = items.n;
	return HF_OK;
}

int
holdfast_map_list(struct holdfast *h, struct holdfast_map_item **mapsp,
    size_t *np)
{
	return map_list(h, false, mapsp, np);
}

int
holdfast_map_list_all(struct holdfast *h, struct holdfast_map_item **mapsp,
    size_t *np)
{
	return map_list(h, true, mapsp, np);
}
