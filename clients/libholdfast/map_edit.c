/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map(9) over the wire: each call asks the daemon, and then does in this
 * process what the daemon did in its map.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/map_int.h"

#define ENTRIES_MAX ((size_t)1 << 24) /* that anybody would believe */

static int
tell_delete(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapDelete op = HOLDFAST__V1__MAP_DELETE__INIT;

	op.map = map->id;
	op.start = start;
	op.end = end;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_DELETE;
	request.map_delete = &op;
	return hf_call_bare(map->h, &request);
}

/* Carry out a new entry here; if that fails it is not to be there either. */
static int
carry_out_new(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	char why[sizeof(map->h->error)];
	int r = hf_map_sync(map, start, end);

	if (r == HF_OK || map->h->broken != 0)
		return r;
	memcpy(why, map->h->error, sizeof(why));
	(void)tell_delete(map, start, end);
	(void)hf_map_forget(map, start, end);
	memcpy(map->h->error, why, sizeof(why));
	return r;
}

int
holdfast_map_insert(struct holdfast_map *map,
    const struct holdfast_map_args *args)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapInsert op = HOLDFAST__V1__MAP_INSERT__INIT;
	int r;

	op.map = map->id;
	op.object = args->object;
	op.offset = args->offset;
	op.start = args->addr;
	op.end = args->addr + args->length; /* the daemon refuses a wrap */
	op.prot = args->prot;
	op.max_prot = args->max_prot;
	op.cow = args->cow;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_INSERT;
	request.map_insert = &op;
	r = hf_call_bare(map->h, &request);
	return r == HF_OK ? carry_out_new(map, op.start, op.end) : r;
}

static void
fill_find(const struct holdfast_map *map, const struct holdfast_map_args *args,
    Holdfast__V1__Request *request, Holdfast__V1__MapFind *op)
{
	holdfast__v1__request__init(request);
	holdfast__v1__map_find__init(op);
	op->map = map->id;
	op->object = args->object;
	op->offset = args->offset;
	op->addr = args->addr;
	op->length = args->length;
	op->max_addr = args->max_addr;
	op->find_space = args->find_space;
	op->prot = args->prot;
	op->max_prot = args->max_prot;
	op->cow = args->cow;
	request->op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIND;
	request->map_find = op;
}

/* Does the found range answer what was asked? */
static int
check_found(struct holdfast_map *map, const struct holdfast_map_args *args,
    uint64_t addr)
{
	if (addr < map->min || addr >= map->max ||
	    args->length > map->max - addr)
		return hf_mistrust(map->h,
		    "the daemon found room at %#llx, "
		    "outside the map",
		    (unsigned long long)addr);
	return 0;
}

int
holdfast_map_find(struct holdfast_map *map,
    const struct holdfast_map_args *args, uint64_t *addrp)
{
	const Holdfast__V1__Reply *reply;
	Holdfast__V1__Request request;
	Holdfast__V1__MapFind op;
	uint64_t addr;
	int r;

	fill_find(map, args, &request, &op);
	r = hf_call(map->h, &request, HOLDFAST__V1__REPLY__RESULT_MAP_FIND, 0,
	    &reply, NULL);
	if (r != HF_OK)
		return r;
	addr = reply->map_find->addr;
	r = check_found(map, args, addr);
	if (r == 0)
		r = carry_out_new(map, addr, addr + args->length);
	if (r == HF_OK)
		*addrp = addr;
	return r;
}

int
holdfast_map_findspace(struct holdfast_map *map, uint64_t start,
    uint64_t length, uint64_t *addrp)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapFindspace op = HOLDFAST__V1__MAP_FINDSPACE__INIT;
	const Holdfast__V1__Reply *reply;
	int r;

	op.map = map->id;
	op.start = start;
	op.length = length;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FINDSPACE;
	request.map_findspace = &op;
	r = hf_call(map->h, &request, HOLDFAST__V1__REPLY__RESULT_MAP_FIND, 0,
	    &reply, NULL);
	if (r == HF_OK)
		*addrp = reply->map_find->addr;
	return r;
}

int
holdfast_map_delete(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	int r = tell_delete(map, start, end);

	return r == HF_OK ? hf_map_forget(map, start, end) : r;
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
	};
}

int
holdfast_map_lookup(struct holdfast_map *map, uint64_t addr,
    uint32_t fault_type, struct holdfast_entry *entryp, uint64_t *pindexp)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapLookup op = HOLDFAST__V1__MAP_LOOKUP__INIT;
	const Holdfast__V1__Reply *reply;
	int r;

	op.map = map->id;
	op.addr = addr;
	op.fault_type = fault_type;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_LOOKUP;
	request.map_lookup = &op;
	r = hf_call(map->h, &request, HOLDFAST__V1__REPLY__RESULT_MAP_LOOKUP, 0,
	    &reply, NULL);
	if (r != HF_OK)
		return r;
	if (reply->map_lookup->entry == NULL)
		return hf_mistrust(map->h, "the daemon found no entry and "
					   "called it success");
	*entryp = entry_from_wire(reply->map_lookup->entry);
	*pindexp = reply->map_lookup->pindex;
	return HF_OK;
}

int
holdfast_map_entries(struct holdfast_map *map, struct holdfast_entry **entriesp,
    size_t *np)
{
	struct holdfast_entry *entries = NULL, *more;
	uint64_t from = map->min;
	size_t n = 0;

	do {
		struct hf_entries page;
		int r = hf_map_entries_page(map, from, 0, false, &page);

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
holdfast_map_check(struct holdfast_map *map)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapCheck op = HOLDFAST__V1__MAP_CHECK__INIT;

	op.map = map->id;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CHECK;
	request.map_check = &op;
	return hf_call_bare(map->h, &request);
}

int
holdfast_map_refresh(struct holdfast_map *map)
{
	int r = hf_usable(map->h);

	return r < 0 ? r : hf_map_sync(map, map->min, map->max);
}

/* ---- Batches ---------------------------------------------------------------
 */

struct batch {
	struct holdfast_map *map;
	const struct holdfast_map_args *args;
	int *rv;
	uint64_t *addr;
};

static int
accept_find(struct holdfast *h, void *arg, size_t nth, int status,
    const Holdfast__V1__Reply *reply, struct hf_fds *fds)
{
	struct batch *batch = arg;

	(void)h;
	(void)fds; /* none can come */
	batch->rv[nth] = status;
	if (status != HF_OK)
		return 0;
	batch->addr[nth] = reply->map_find->addr;
	return check_found(batch->map, &batch->args[nth], batch->addr[nth]);
}

static int
find_some(struct batch *batch, size_t n)
{
	Holdfast__V1__Request requests[HF_BATCH_MAX];
	Holdfast__V1__MapFind ops[HF_BATCH_MAX];
	struct hf_exchange exchange = {
	    .requests = requests,
	    .n = n,
	    .expect = HOLDFAST__V1__REPLY__RESULT_MAP_FIND,
	    .accept = accept_find,
	    .arg = batch,
	};

	for (size_t i = 0; i < n; i++)
		fill_find(batch->map, &batch->args[i], &requests[i], &ops[i]);
	return hf_exchange(batch->map->h, &exchange);
}

/* Carry out here what a batch has found. */
static int
sync_found(struct batch *batch, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t start = batch->addr[i];
		int r;

		if (batch->rv[i] != HF_OK)
			continue;
		r = carry_out_new(batch->map, start,
		    start + batch->args[i].length);
		if (r < 0)
			return r;
		batch->rv[i] = r;
	}
	return 0;
}

int
holdfast_map_find_batch(struct holdfast_map *map,
    const struct holdfast_map_args *args, size_t n, int *rv, uint64_t *addr)
{
	struct batch batch = {map, args, rv, addr};
	int r = hf_usable(map->h);

	if (r == 0 && n > HF_BATCH_MAX)
		r = -E2BIG;
	while (r == 0 && n > 0) {
		size_t some = n < map->h->batch_max ? n : map->h->batch_max;

		r = find_some(&batch, some);
		if (r == 0 && map->mirrored)
			r = sync_found(&batch, some);
		batch.args += some;
		batch.rv += some;
		batch.addr += some;
		n -= some;
	}
	return r;
}
