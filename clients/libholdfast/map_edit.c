/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map(9) over the wire: each call asks the daemon, and then does in this
 * process what the daemon did in its map.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/map_int.h"
#include "clients/libholdfast/request.h"

static int
tell_delete(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	HF_RANGE_REQUEST(map, start, end, MapDelete, MAP_DELETE, map_delete);

	return hf_call_bare(map->h, &request);
}

#define PREFAULT_PAGES 96 /* of MAP_PREFAULT_PARTIAL, as in FreeBSD */

/* MAP_PREFAULT; otherwise frames are had at the first touch. */
static void
prefault(struct holdfast_map *map, const struct holdfast_map_args *args,
    uint64_t start)
{
	const uint32_t all = HF_ENTER_PREFAULT;
	uint64_t some = PREFAULT_PAGES * map->h->info.page_size;

	if ((args->cow & (all | HF_ENTER_PREFAULT_PARTIAL)) == 0)
		return;
	if ((args->cow & all) != 0 || some > args->length)
		some = args->length;
	hf_map_populate(map, start, start + some);
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
	int r;
	/* The daemon refuses a wrap. */
	HF_RANGE_REQUEST(map, args->addr, args->addr + args->length, MapInsert,
	    MAP_INSERT, map_insert);

	op.object = args->object;
	op.offset = args->offset;
	op.prot = args->prot;
	op.max_prot = args->max_prot;
	op.cow = args->cow;
	r = hf_call_bare(map->h, &request);
	if (r == HF_OK)
		r = carry_out_new(map, op.start, op.end);
	if (r == HF_OK)
		prefault(map, args, op.start);
	return r;
}

int
holdfast_map_fixed(struct holdfast_map *map,
    const struct holdfast_map_args *args)
{
	int r;
	HF_MAP_REQUEST(map, MapFixed, MAP_FIXED, map_fixed);

	op.object = args->object;
	op.offset = args->offset;
	op.start = args->addr;
	op.length = args->length;
	op.prot = args->prot;
	op.max_prot = args->max_prot;
	op.cow = args->cow;
	r = hf_call_bare(map->h, &request);
	/* What it replaced is gone, whatever this process can follow. */
	if (r == HF_OK)
		r = hf_map_sync(map, op.start, op.start + op.length);
	if (r == HF_OK)
		prefault(map, args, op.start);
	return r;
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

/* Send a find of either kind, and carry out what it found. */
static int
find(struct holdfast_map *map, const struct holdfast_map_args *args,
    Holdfast__V1__Request *request, uint64_t *addrp)
{
	const Holdfast__V1__Reply *reply;
	uint64_t addr;
	int r;

	r = hf_call(map->h, request, HOLDFAST__V1__REPLY__RESULT_MAP_FIND, 0,
	    &reply, NULL);
	if (r != HF_OK)
		return r;
	addr = reply->map_find->addr;
	r = check_found(map, args, addr);
	if (r == 0)
		r = carry_out_new(map, addr, addr + args->length);
	if (r == HF_OK)
		prefault(map, args, addr);
	if (r == HF_OK)
		*addrp = addr;
	return r;
}

int
holdfast_map_find(struct holdfast_map *map,
    const struct holdfast_map_args *args, uint64_t *addrp)
{
	Holdfast__V1__Request request;
	Holdfast__V1__MapFind op;

	fill_find(map, args, &request, &op);
	return find(map, args, &request, addrp);
}

int
holdfast_map_find_min(struct holdfast_map *map,
    const struct holdfast_map_args *args, uint64_t default_addr,
    uint64_t *addrp)
{
	Holdfast__V1__Request inner;
	Holdfast__V1__MapFind first;
	HF_REQUEST(MapFindMin, MAP_FIND_MIN, map_find_min);

	fill_find(map, args, &inner, &first);
	op.find = &first;
	op.default_addr = default_addr;
	return find(map, args, &request, addrp);
}

int
holdfast_map_delete(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	int r = tell_delete(map, start, end);

	return r == HF_OK ? hf_map_forget(map, start, end) : r;
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
		if (r == HF_OK)
			prefault(batch->map, &batch->args[i], start);
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
