/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The calls of vm_map(9) that look and change nothing.
 */

#include <errno.h>
#include <stdlib.h>

#include "clients/libholdfast/map_int.h"
#include "clients/libholdfast/request.h"

#define ENTRIES_MAX ((size_t)1 << 24) /* that anybody would believe */

/* ---- Free space --------------------------------------------------------- */

int
holdfast_map_findspace(struct holdfast_map *map, uint64_t start,
    uint64_t length, uint64_t *addrp)
{
	const Holdfast__V1__Reply *reply;
	int r;
	HF_MAP_REQUEST(map, MapFindspace, MAP_FINDSPACE, map_findspace);

	op.start = start;
	op.length = length;
	r = HF_ASK(map->h, MAP_FIND, &reply);
	if (r == HF_OK)
		*addrp = reply->map_find->addr;
	return r;
}

int
holdfast_map_find_aligned(struct holdfast_map *map, uint64_t addr,
    uint64_t length, uint64_t max_addr, uint64_t alignment, uint64_t *addrp)
{
	const Holdfast__V1__Reply *reply;
	int r;
	HF_MAP_REQUEST(map, MapFindAligned, MAP_FIND_ALIGNED, map_find_aligned);

	op.addr = addr;
	op.length = length;
	op.max_addr = max_addr;
	op.alignment = alignment;
	r = HF_ASK(map->h, MAP_FIND, &reply);
	if (r == HF_OK)
		*addrp = reply->map_find->addr;
	return r;
}

/* ---- Looking ------------------------------------------------------------ */

static struct holdfast_entry
entry_from_wire(const Holdfast__V1__Entry *from)
{
	return (struct holdfast_entry){
	    .start = from->start,
	    .end = from->end,
	    .prot = from->prot,
	    .max_prot = from->max_prot,
	    .inheritance = from->inheritance,
	    .wired_count = from->wired_count,
	    .eflags = from->eflags,
	    .object = from->object,
	    .offset = from->offset,
	    .pa = from->pa,
	    .kind = (enum holdfast_object_kind)from->kind,
	    .resident = from->resident,
	    .resident_private = from->resident_private,
	    .refs = from->refs,
	    .shadows = from->shadows,
	    .lost = from->lost,
	};
}

/* It holds the address, or is the one before it. */
static int
check_entry(struct holdfast_map *map, const Holdfast__V1__Entry *entry,
    uint64_t addr, bool found)
{
	uint64_t mask = map->h->info.page_size - 1;

	if (entry->start < entry->end &&
	    ((entry->start | entry->end) & mask) == 0 &&
	    (found ? entry->start <= addr && addr < entry->end
		   : entry->end <= addr))
		return HF_OK;
	return hf_mistrust(map->h,
	    "the daemon sent an entry [%#llx, %#llx) for the address %#llx",
	    (unsigned long long)entry->start, (unsigned long long)entry->end,
	    (unsigned long long)addr);
}

int
holdfast_map_lookup(struct holdfast_map *map, uint64_t addr,
    uint32_t fault_type, struct holdfast_entry *entryp, uint64_t *pindexp)
{
	const Holdfast__V1__Reply *reply;
	int r;
	HF_MAP_REQUEST(map, MapLookup, MAP_LOOKUP, map_lookup);

	op.addr = addr;
	op.fault_type = fault_type;
	r = HF_ASK(map->h, MAP_LOOKUP, &reply);
	if (r != HF_OK)
		return r;
	if (reply->map_lookup->entry == NULL)
		return hf_mistrust(map->h, "the daemon found no entry and "
					   "called it success");
	r = check_entry(map, reply->map_lookup->entry, addr, true);
	if (r != HF_OK)
		return r;
	*entryp = entry_from_wire(reply->map_lookup->entry);
	*pindexp = reply->map_lookup->pindex;
	return HF_OK;
}

int
holdfast_map_lookup_entry(struct holdfast_map *map, uint64_t addr, bool *foundp,
    struct holdfast_entry *entryp)
{
	const Holdfast__V1__MapLookupEntryResult *res;
	const Holdfast__V1__Reply *reply;
	int r;
	HF_MAP_REQUEST(map, MapLookupEntry, MAP_LOOKUP_ENTRY, map_lookup_entry);

	op.addr = addr;
	r = HF_ASK(map->h, MAP_LOOKUP_ENTRY, &reply);
	if (r != HF_OK)
		return r;
	res = reply->map_lookup_entry;
	if (res->found && res->entry == NULL)
		return hf_mistrust(map->h, "the daemon found no entry and "
					   "called it success");
	if (res->entry != NULL)
		r = check_entry(map, res->entry, addr, res->found);
	if (r != HF_OK)
		return r;
	*foundp = res->found;
	*entryp = res->entry != NULL ? entry_from_wire(res->entry)
				     : (struct holdfast_entry){0};
	return HF_OK;
}

static int
list_entries(struct holdfast_map *map, bool counted,
    struct holdfast_entry **entriesp, size_t *np)
{
	struct holdfast_entry *entries = NULL, *more;
	uint64_t from = map->min;
	size_t n = 0;

	do {
		struct hf_entries page;
		int r = hf_map_entries_ask(map, from, 0, false, counted, &page);

		if (r == HF_OK && page.n > ENTRIES_MAX - n)
			r = hf_mistrust(map->h, "the daemon's list of entries "
						"does not end");
		if (r != HF_OK) {
			free(entries);
			return r;
		}
		more = reallocarray(entries, n + page.n + 1, sizeof(*entries));
		if (more == NULL) {
			free(entries);
			return -ENOMEM;
		}
		entries = more;
		for (size_t i = 0; i < page.n; i++)
			entries[n++] = entry_from_wire(page.entries[i]);
		from = page.next;
	} while (from != 0);
	*entriesp = entries;
	*np = n;
	return HF_OK;
}

int
holdfast_map_entries(struct holdfast_map *map, struct holdfast_entry **entriesp,
    size_t *np)
{
	return list_entries(map, false, entriesp, np);
}

int
holdfast_map_entries_counted(struct holdfast_map *map,
    struct holdfast_entry **entriesp, size_t *np)
{
	return list_entries(map, true, entriesp, np);
}

/* ---- Truths -------------------------------------------------------------- */

static int
truth(struct holdfast_map *map, Holdfast__V1__Request *request, bool *truthp)
{
	const Holdfast__V1__Reply *reply;
	int r;

	r = hf_call(map->h, request, HOLDFAST__V1__REPLY__RESULT_MAP_TRUTH, 0,
	    &reply, NULL);
	if (r == HF_OK)
		*truthp = reply->map_truth->truth;
	return r;
}

int
holdfast_map_check_protection(struct holdfast_map *map, uint64_t start,
    uint64_t end, uint32_t prot, bool *truthp)
{
	HF_RANGE_REQUEST(map, start, end, MapCheckProtection,
	    MAP_CHECK_PROTECTION, map_check_protection);

	op.prot = prot;
	return truth(map, &request, truthp);
}

int
holdfast_map_check_boundary(struct holdfast_map *map, uint64_t start,
    uint64_t end, bool *truthp)
{
	HF_RANGE_REQUEST(map, start, end, MapCheckBoundary, MAP_CHECK_BOUNDARY,
	    map_check_boundary);

	return truth(map, &request, truthp);
}

int
holdfast_map_check(struct holdfast_map *map)
{
	HF_MAP_REQUEST(map, MapCheck, MAP_CHECK, map_check);

	return hf_call_bare(map->h, &request);
}

/* ---- The map as a whole ---------------------------------------------------
 */

int
holdfast_map_stat(struct holdfast_map *map, struct holdfast_map_stat *statp)
{
	const Holdfast__V1__MapStatResult *res;
	const Holdfast__V1__Reply *reply;
	int r;
	HF_MAP_REQUEST(map, MapStat, MAP_STAT, map_stat);

	r = HF_ASK(map->h, MAP_STAT, &reply);
	if (r != HF_OK)
		return r;
	res = reply->map_stat;
	*statp = (struct holdfast_map_stat){
	    .min = res->min,
	    .max = res->max,
	    .size = res->size,
	    .nentries = res->nentries,
	    .timestamp = res->timestamp,
	    .reserved = res->reserved,
	    .user_wired = res->user_wired,
	    .sessions = res->sessions,
	    .owner = res->owner,
	    .group = res->group,
	    .mode = res->mode,
	    .access = res->access,
	};
	hf_copy_text(statp->name, sizeof(statp->name), res->name);
	return HF_OK;
}

int
holdfast_map_limits(struct holdfast_map *map, uint32_t set,
    struct holdfast_map_limits *limits)
{
	const Holdfast__V1__MapLimitsResult *res;
	const Holdfast__V1__Reply *reply;
	int r;
	HF_MAP_REQUEST(map, MapLimits, MAP_LIMITS, map_limits);

	op.set = set;
	op.vmem = limits->vmem;
	op.stack = limits->stack;
	op.memlock = limits->memlock;
	op.swap = limits->swap;
	op.nentries = limits->nentries;
	op.overcommit = limits->overcommit;
	op.cluster_anon = limits->cluster_anon;
	op.stack_guard = limits->stack_guard;
	r = HF_ASK(map->h, MAP_LIMITS, &reply);
	if (r != HF_OK)
		return r;
	res = reply->map_limits;
	*limits = (struct holdfast_map_limits){
	    .vmem = res->vmem,
	    .stack = res->stack,
	    .memlock = res->memlock,
	    .swap = res->swap,
	    .nentries = res->nentries,
	    .overcommit = res->overcommit,
	    .cluster_anon = res->cluster_anon,
	    .stack_guard = res->stack_guard,
	};
	return HF_OK;
}
