/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vm_map(9) and vm_object on the wire: reading requests, writing replies.
 * What the operations mean is in server/map.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cleanup.h"
#include "server/dispatch.h"
#include "server/log.h"
#include "server/map.h"
#include "server/map_mode.h"
#include "server/memory.h"

#define MAPS_PER_REPLY 256

typedef Holdfast__V1__Entry pb_entry;

/* ---- Objects ----------------------------------------------------- */

static void
object_create_succeed(struct call *call, struct object *object)
{
	static Holdfast__V1__ObjectCreateResult empty =
	    HOLDFAST__V1__OBJECT_CREATE_RESULT__INIT;
	Holdfast__V1__ObjectCreateResult *result;
	int r;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL) {
		object_drop(object);
		return;
	}
	*result = empty;
	r = idtable_add(&call->session->ids, ID_OBJECT, object,
	    &result->object);
	if (r < 0) {
		object_drop(object);
		(void)answer_refuse_errno(&call->answer, r, "object");
		return;
	}
	if (object->span != NULL && object->tenant->addresses_allowed)
		result->pa = object->span->start;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_OBJECT_CREATE;
	call->reply.object_create = result;
}

static void
object_create_ready(struct object *object, struct answer *answer)
{
	struct call *call = object->owner;

	call->answer = *answer;
	if (answer->code == KERN_SUCCESS)
		object_create_succeed(call, object);
	else
		object_drop(object);
	call_finish(call);
}

static void
object_create_cancel(struct call *call)
{
	object_drop(call->object);
	call_drop(call);
}

static bool
object_create_type(struct call *call, enum obj_type *typep)
{
	const Holdfast__V1__ObjectCreate *create = call->request->object_create;

	if (create->map[0] != '\0') {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "map must be empty");
		return false;
	}
	switch (create->kind) {
	case HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE:
		*typep = OBJT_SWAP;
		return true;
	case HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER:
		*typep = OBJT_SUPER;
		return true;
	default:
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "kind must be BASE (1) or SUPER (2); it is %d",
		    (int)create->kind);
		return false;
	}
}

enum call_outcome
handle_object_create(struct call *call)
{
	struct session *session = call->session;
	struct server *server = session->server;
	struct object *object;
	enum obj_type type;
	struct call *kept;

	if (!object_create_type(call, &type) ||
	    object_create(&server->pool, session->tenant, &server->pmap, type,
		call->request->object_create->size, object_create_ready, NULL,
		&object, &call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	if (object->vm != NULL) {
		object_create_succeed(call, object);
		return CALL_DONE;
	}
	kept = call_keep(call, object_create_cancel);
	if (kept == NULL) {
		object_drop(object);
		return CALL_DONE;
	}
	kept->object = object;
	object->owner = kept;
	return CALL_WAITS;
}

enum call_outcome
handle_object_destroy(struct call *call)
{
	uint64_t id = call->request->object_destroy->object;
	struct object *object = call_object(call, ID_OBJECT, id, "object");

	if (object == NULL)
		return CALL_DONE;
	idtable_remove(&call->session->ids, id);
	object_drop(object);
	return CALL_DONE;
}

/* ---- Life of maps ------------------------------------------------ */

void
call_attached(struct call *call, struct map *map, unsigned access, bool mirrors)
{
	static Holdfast__V1__MapResult empty = HOLDFAST__V1__MAP_RESULT__INIT;
	Holdfast__V1__MapResult *result = call_alloc(call, sizeof(*result));
	int r;

	if (result == NULL) {
		map_detach(map);
		return;
	}
	*result = empty;
	r = idtable_add(&call->session->ids,
	    (access & MAP_MAY_CHANGE) != 0 ? ID_MAP : ID_MAP_READ, map,
	    &result->map);
	if (r == 0 && mirrors) {
		bool serves = call->request != NULL &&
			      call->request->op_case ==
				  HOLDFAST__V1__REQUEST__OP_MAP_ATTACH &&
			      call->request->map_attach->session != 0;

		r = watch_mirror(map, call->session, result->map, serves);
		if (r < 0)
			idtable_remove(&call->session->ids, result->map);
	}
	if (r < 0) {
		map_detach(map);
		(void)answer_refuse_errno(&call->answer, r, "map");
		return;
	}
	result->min = map->min;
	result->max = map->max;
	result->page_size = map->arch->machine->page_size;
	result->timestamp = vm_map_timestamp(map->vm);
	result->access = access;
	result->mirrored = map->file != NULL;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP;
	call->reply.map = result;
}

/* Who asks; false: refused. */
static bool
call_peer(struct call *call, struct peer *peer)
{
	int r = peer_init(peer, call->session->fd);

	if (r < 0)
		(void)answer_refuse_errno(&call->answer, r, "credentials");
	return r == 0;
}

enum call_outcome
handle_map_create(struct call *call)
{
	const Holdfast__V1__MapCreate *create = call->request->map_create;
	struct map_params params = {
	    .name = create->name,
	    .min = create->min,
	    .max = create->max,
	    .machine = create->machine,
	    .page_size = create->page_size,
	    .mirrored = create->mirrored,
	    .workers = call->session->server->workers,
	};
	_cleanup_(peer_fini) struct peer peer = {0};
	struct map *map;

	if (!call_peer(call, &peer) ||
	    map_create(call->session->tenant, call->session->server->arch,
		&call->session->server->machines, &params, &map,
		&call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	if (map_mode_init(map, &peer, create->mode, create->group,
		&call->answer) == KERN_SUCCESS)
		call_attached(call, map, MAP_MAY_ALL, create->mirrors);
	else
		map_detach(map);
	return CALL_DONE;
}

/* The tenant of that uid + 1, or the caller's for 0; NULL: nobody. */
static struct tenant *
call_owner(struct call *call, uint64_t owner)
{
	struct session *session = call->session;
	struct tenant *tenant;

	if (owner == 0)
		return session->tenant;
	TAILQ_FOREACH (tenant, &session->server->tenants, entry) {
		if ((uint64_t)tenant->uid + 1 == owner)
			return tenant;
	}
	(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_ID,
	    "owner must be somebody who has a map; uid %llu has none",
	    (unsigned long long)(owner - 1));
	return NULL;
}

/* What another session of the same user has, with its rights. */
static enum call_outcome
attach_as(struct call *call, const Holdfast__V1__MapAttach *attach)
{
	struct session *session;
	struct map *map = NULL;
	unsigned access = MAP_MAY_ALL;

	TAILQ_FOREACH (session, &call->session->server->sessions, entry) {
		if (session->serial == attach->session)
			break;
	}
	if (session != NULL && session->tenant == call->session->tenant) {
		map = idtable_get(&session->ids, ID_MAP, attach->map);
		if (map == NULL) {
			access = MAP_MAY_READ;
			map = idtable_get(&session->ids, ID_MAP_READ,
			    attach->map);
		}
	}
	if (map == NULL || map->vm == NULL) {
		(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_ID,
		    "session and map must be those of a map that another "
		    "session of this user has");
		return CALL_DONE;
	}
	map->attached++;
	call_attached(call, map, access, attach->mirrors);
	return CALL_DONE;
}

enum call_outcome
handle_map_attach(struct call *call)
{
	const Holdfast__V1__MapAttach *attach = call->request->map_attach;
	_cleanup_(peer_fini) struct peer peer = {0};
	struct tenant *owner;
	struct map *map;
	unsigned access;

	if (attach->session != 0)
		return attach_as(call, attach);
	owner = call_owner(call, attach->owner);
	if (owner == NULL || !call_peer(call, &peer) ||
	    map_attach(owner, attach->name, &map, &call->answer) !=
		KERN_SUCCESS)
		return CALL_DONE;
	access = map_access(map, &peer);
	if ((access & MAP_MAY_READ) != 0) {
		call_attached(call, map, access, attach->mirrors);
		return CALL_DONE;
	}
	(void)answer_refuse(&call->answer, REFUSED_DENIED,
	    "map must be one that the caller (uid %u) may read: it is of uid "
	    "%u, group %u, mode 0%o",
	    (unsigned)peer.uid, (unsigned)owner->uid, (unsigned)map->group,
	    map->mode);
	map_detach(map);
	return CALL_DONE;
}

enum call_outcome
handle_map_detach(struct call *call)
{
	uint64_t id = call->request->map_detach->map;
	struct map *map = call_map_any(call, id);

	if (map == NULL)
		return CALL_DONE;
	idtable_remove(&call->session->ids, id);
	watch_drop(map, call->session, id);
	map_detach(map);
	return CALL_DONE;
}

enum call_outcome
handle_map_destroy(struct call *call)
{
	uint64_t id = call->request->map_destroy->map;
	struct map *map = call_map_read(call, id);

	if (map == NULL || map_check_owner(map, call->session, "destroy it",
			       &call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	if (map->nparents > 0) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "map must not be a submap: %u maps have windows to it",
		    map->nparents);
		return CALL_DONE;
	}
	idtable_remove(&call->session->ids, id);
	watch_drop(map, call->session, id);
	map_destroy(map);
	map_detach(map);
	return CALL_DONE;
}

enum call_outcome
handle_map_check(struct call *call)
{
	struct map *map = call_map_read(call, call->request->map_check->map);
	const char *broken;

	if (map == NULL)
		return CALL_DONE;
	vm_map_lock_read(map->vm);
	broken = vm_map_check(map->vm);
	vm_map_unlock_read(map->vm);
	if (broken != NULL)
		(void)answer_refuse(&call->answer, KERN_FAILURE, "%s", broken);
	return CALL_DONE;
}

static void
map_list_item(const struct map *map, unsigned access,
    Holdfast__V1__MapListItem *item)
{
	static Holdfast__V1__MapListItem empty =
	    HOLDFAST__V1__MAP_LIST_ITEM__INIT;

	*item = empty;
	item->name = (char *)(uintptr_t)map->name; /* only read */
	item->min = map->min;
	item->max = map->max;
	item->nentries = vm_map_nentries(map->vm);
	item->size = vm_map_size(map->vm);
	item->sessions = map->attached;
	item->owner = map->tenant->uid;
	item->group = map->group;
	item->mode = map->mode;
	item->access = access;
}

/* What a listing has come to. */
struct listing {
	const struct peer *peer;
	uint64_t skip, n;
	Holdfast__V1__MapListResult *result;
	Holdfast__V1__MapListItem *items;
};

/* Those maps of a tenant that the caller may see.  false: it is full. */
static bool
map_list_tenant(struct listing *list, const struct tenant *tenant)
{
	Holdfast__V1__MapListResult *result = list->result;
	struct map *map;

	TAILQ_FOREACH (map, &tenant->maps, entry) {
		Holdfast__V1__MapListItem *item = &list->items[result->n_maps];
		unsigned access = map_access(map, list->peer);

		if ((access & MAP_MAY_READ) == 0 || list->n++ < list->skip)
			continue;
		if (result->n_maps == MAPS_PER_REPLY) {
			result->next = list->n - 1;
			return false;
		}
		map_list_item(map, access, item);
		result->maps[result->n_maps++] = item;
	}
	return true;
}

enum call_outcome
handle_map_list(struct call *call)
{
	static Holdfast__V1__MapListResult empty =
	    HOLDFAST__V1__MAP_LIST_RESULT__INIT;
	const Holdfast__V1__MapList *op = call->request->map_list;
	_cleanup_(peer_fini) struct peer peer = {0};
	struct listing list = {.peer = &peer, .skip = op->skip};
	struct tenant *tenant;

	list.result = call_alloc(call, sizeof(*list.result));
	if (list.result == NULL || !call_peer(call, &peer))
		return CALL_DONE;
	*list.result = empty;
	list.result->maps =
	    call_alloc(call, MAPS_PER_REPLY * sizeof(*list.result->maps));
	list.items = call_alloc(call, MAPS_PER_REPLY * sizeof(*list.items));
	if (list.result->maps == NULL || list.items == NULL)
		return CALL_DONE;
	if (!op->all)
		(void)map_list_tenant(&list, call->session->tenant);
	else
		TAILQ_FOREACH (tenant, &call->session->server->tenants, entry) {
			if (!map_list_tenant(&list, tenant))
				break;
		}
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LIST;
	call->reply.map_list = list.result;
	return CALL_DONE;
}

/* ---- Entering ---------------------------------------------------- */

/* The object of an insertion: NULL for 0.  false: refused. */
static bool
call_insert_object(struct call *call, const struct map *map, uint64_t id,
    struct map_enter *enter)
{
	enter->object = NULL;
	enter->args.object = NULL;
	if (id == 0)
		return true;
	enter->object = call_object(call, ID_OBJECT, id, "object");
	if (enter->object == NULL)
		return false;
	if (enter->object->tenant != map->tenant) {
		(void)answer_refuse(&call->answer, REFUSED_DENIED,
		    "object must be of uid %u, who owns the map",
		    (unsigned)map->tenant->uid);
		return false;
	}
	enter->args.object = enter->object->vm;
	return true;
}

enum call_outcome
handle_map_insert(struct call *call)
{
	const Holdfast__V1__MapInsert *insert = call->request->map_insert;
	struct map *map = call_map(call, insert->map);
	struct map_enter enter = {
	    .how = ENTER_INSERT,
	    .args =
		{
		    .offset = insert->offset,
		    .start = insert->start,
		    .length = insert->end - insert->start,
		    .prot = prot_from_wire(insert->prot),
		    .max = prot_from_wire(insert->max_prot),
		    .cow = int_from_wire(insert->cow),
		},
	};
	vm_offset_t addr;

	if (map == NULL ||
	    !call_insert_object(call, map, insert->object, &enter))
		return CALL_DONE;
	if (insert->end <= insert->start) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ADDRESS,
		    "end must be above start (0x%llx); it is 0x%llx",
		    (unsigned long long)insert->start,
		    (unsigned long long)insert->end);
		return CALL_DONE;
	}
	(void)map_enter(map, &enter, &addr, &call->answer);
	return CALL_DONE;
}

enum call_outcome
handle_map_fixed(struct call *call)
{
	const Holdfast__V1__MapFixed *fixed = call->request->map_fixed;
	struct map *map = call_map(call, fixed->map);
	struct map_enter enter = {
	    .how = ENTER_FIXED,
	    .args =
		{
		    .offset = fixed->offset,
		    .start = fixed->start,
		    .length = fixed->length,
		    .prot = prot_from_wire(fixed->prot),
		    .max = prot_from_wire(fixed->max_prot),
		    .cow = int_from_wire(fixed->cow),
		},
	};
	vm_offset_t addr;

	if (map != NULL && call_insert_object(call, map, fixed->object, &enter))
		(void)map_enter(map, &enter, &addr, &call->answer);
	return CALL_DONE;
}

/* The reply of everything that finds. */
static void
map_found(struct call *call, vm_offset_t addr)
{
	static Holdfast__V1__MapFindResult empty =
	    HOLDFAST__V1__MAP_FIND_RESULT__INIT;
	Holdfast__V1__MapFindResult *result = call_alloc(call, sizeof(*result));

	if (result == NULL)
		return;
	*result = empty;
	result->addr = addr;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_FIND;
	call->reply.map_find = result;
}

static void
map_find(struct call *call, const Holdfast__V1__MapFind *find,
    struct map_enter *enter)
{
	struct map *map = call_map(call, find->map);
	vm_offset_t addr = 0;

	enter->args = (struct vm_insert_args){
	    .offset = find->offset,
	    .start = find->addr,
	    .length = find->length,
	    .max_addr = find->max_addr,
	    .find_space = int_from_wire(find->find_space),
	    .prot = prot_from_wire(find->prot),
	    .max = prot_from_wire(find->max_prot),
	    .cow = int_from_wire(find->cow),
	};
	if (map != NULL && call_insert_object(call, map, find->object, enter) &&
	    map_enter(map, enter, &addr, &call->answer) == KERN_SUCCESS)
		map_found(call, addr);
}

enum call_outcome
handle_map_find(struct call *call)
{
	struct map_enter enter = {.how = ENTER_FIND};

	map_find(call, call->request->map_find, &enter);
	return CALL_DONE;
}

enum call_outcome
handle_map_find_min(struct call *call)
{
	const Holdfast__V1__MapFindMin *op = call->request->map_find_min;
	struct map_enter enter = {
	    .how = ENTER_FIND_MIN,
	    .default_addr = op->default_addr,
	};

	if (op->find != NULL)
		map_find(call, op->find, &enter);
	else
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "find must be there");
	return CALL_DONE;
}

enum call_outcome
handle_map_find_aligned(struct call *call)
{
	const Holdfast__V1__MapFindAligned *op =
	    call->request->map_find_aligned;
	struct map *map = call_map_read(call, op->map);
	vm_offset_t addr = op->addr;

	if (map != NULL &&
	    map_find_aligned(map, &addr, op->length, op->max_addr,
		op->alignment, &call->answer) == KERN_SUCCESS)
		map_found(call, addr);
	return CALL_DONE;
}

enum call_outcome
handle_map_findspace(struct call *call)
{
	const Holdfast__V1__MapFindspace *find = call->request->map_findspace;
	struct map *map = call_map_read(call, find->map);
	vm_offset_t addr = 0;

	if (map == NULL)
		return CALL_DONE;
	if (map_findspace(map, find->start, find->length, &addr,
		&call->answer) == KERN_SUCCESS)
		map_found(call, addr);
	return CALL_DONE;
}

/* ---- Deleting ---------------------------------------------------- */

/*
 * A deletion that gives much memory back: a worker punches it out of the file
 * while the entries still keep others from using the range.
 */
struct large_delete {
	struct job job;
	struct call *call; /* NULL: the session is gone */
	struct workers *workers;
	struct map *map; /* one attachment is ours */
	vm_offset_t start, end;
};

static void
large_delete_run(struct job *job)
{
	struct large_delete *d = (struct large_delete *)job;

	map_punch(d->map, d->start, d->end);
}

static void
large_delete_done(struct job *job)
{
	struct large_delete *d = (struct large_delete *)job;

	if (d->call != NULL) {
		/* Another session may have destroyed the map meanwhile. */
		if (d->map->vm != NULL)
			(void)map_delete(d->map, d->start, d->end,
			    &d->call->answer);
		call_finish(d->call);
	}
	d->map->punching--;
	map_detach(d->map);
	free(d);
}

static void
large_delete_cancel(struct call *call)
{
	struct large_delete *d = call->object;

	d->call = NULL;
	call_drop(call);
	if (workers_cancel(d->workers, &d->job)) {
		d->map->punching--;
		map_detach(d->map);
		free(d);
	}
}

static enum call_outcome
large_delete_start(struct call *call, struct map *map, vm_offset_t start,
    vm_offset_t end)
{
	struct large_delete *d = memory_calloc(1, sizeof(*d));

	if (d == NULL) {
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "delete");
		return CALL_DONE;
	}
	d->call = call_keep(call, large_delete_cancel);
	if (d->call == NULL) {
		free(d);
		return CALL_DONE;
	}
	d->call->object = d;
	d->workers = call->session->server->workers;
	d->map = map;
	d->start = start;
	d->end = end;
	d->job.run = large_delete_run;
	d->job.done = large_delete_done;
	map->attached++;
	map->punching++;
	workers_submit(d->workers, &d->job);
	return CALL_WAITS;
}

/*
 * The reply to one that gives much memory back comes when the kernel has it,
 * so that nothing is charged for it any more.
 */
struct emptied {
	struct file_waiter waiter;
	struct call *call;
	struct map *map; /* one attachment is ours, so its file stays */
	struct map_file *file;
};

static void
emptied_end(struct emptied *emptied)
{
	map_detach(emptied->map);
	free(emptied);
}

static void
emptied_done(struct file_waiter *waiter)
{
	struct emptied *emptied = (struct emptied *)waiter;

	call_finish(emptied->call);
	emptied_end(emptied);
}

static void
emptied_cancel(struct call *call)
{
	struct emptied *emptied = call->object;

	map_file_unwait(emptied->file, &emptied->waiter);
	call_drop(call);
	emptied_end(emptied);
}

/* Without memory to wait with it does not wait. */
static enum call_outcome
reply_when_empty(struct call *call, struct map *map)
{
	struct emptied *emptied;

	if (map->file == NULL || map->file->npunching == 0)
		return CALL_DONE;
	emptied = memory_calloc(1, sizeof(*emptied));
	if (emptied == NULL)
		return CALL_DONE;
	emptied->call = call_keep(call, emptied_cancel);
	if (emptied->call == NULL) {
		answer_init(&call->answer);
		free(emptied);
		return CALL_DONE;
	}
	emptied->call->object = emptied;
	emptied->waiter.done = emptied_done;
	emptied->map = map;
	emptied->file = map->file;
	map->attached++;
	(void)map_file_wait(map->file, &emptied->waiter); /* seen above */
	return CALL_WAITS;
}

enum call_outcome
handle_map_delete(struct call *call)
{
	const Holdfast__V1__MapDelete *del = call->request->map_delete;
	struct map *map = call_map(call, del->map);

	if (map == NULL)
		return CALL_DONE;
	if (map_delete_check(map, del->start, del->end, &call->answer) !=
	    KERN_SUCCESS)
		return CALL_DONE;
	if (map_delete_is_large(map, del->start, del->end))
		return large_delete_start(call, map, del->start, del->end);
	map_punch(map, del->start, del->end);
	if (map_delete(map, del->start, del->end, &call->answer) !=
	    KERN_SUCCESS)
		return CALL_DONE;
	return reply_when_empty(call, map);
}

/* ---- Looking ----------------------------------------------------- */

void
entry_on_wire(const struct call *call, const struct map *map,
    const struct vm_map_entry_info *info, Holdfast__V1__Entry *result)
{
	static pb_entry empty = HOLDFAST__V1__ENTRY__INIT;
	const struct object *object = object_of(info->object);
	vm_offset_t start, end;

	*result = empty;
	result->start = info->start;
	result->end = info->end;
	result->prot = info->protection;
	result->max_prot = info->max_protection;
	result->inheritance = (uint32_t)info->inheritance;
	result->wired_count = (uint32_t)info->wired_count;
	result->eflags = info->eflags;
	result->offset = info->offset;
	result->kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE;
	if (object == NULL)
		return;
	result->object = object->number;
	result->lost = map_is_lost(info, &start, &end);
	if (object->type == OBJT_SUPER) {
		result->kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER;
		if (map->tenant->addresses_allowed &&
		    call->session->tenant->addresses_allowed)
			result->pa = object->span->start + info->offset;
	}
}

enum call_outcome
handle_map_lookup(struct call *call)
{
	static Holdfast__V1__MapLookupResult empty =
	    HOLDFAST__V1__MAP_LOOKUP_RESULT__INIT;
	const Holdfast__V1__MapLookup *look = call->request->map_lookup;
	/* To write may take a shadow object. */
	struct map *map = (look->fault_type & VM_PROT_WRITE) != 0
			      ? call_map(call, look->map)
			      : call_map_read(call, look->map);
	Holdfast__V1__MapLookupResult *result;
	struct map_lookup lookup;

	if (map == NULL)
		return CALL_DONE;
	if (map_lookup(map, look->addr, prot_from_wire(look->fault_type),
		&lookup, &call->answer) != KERN_SUCCESS)
		return CALL_DONE;
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->entry = call_alloc(call, sizeof(*result->entry));
	if (result->entry == NULL)
		return CALL_DONE;
	entry_on_wire(call, map, &lookup.info, result->entry);
	result->pindex = lookup.pindex;
	result->prot = lookup.prot;
	result->wired = lookup.wired;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LOOKUP;
	call->reply.map_lookup = result;
	return CALL_DONE;
}

enum entry_outcome { ENTRY_ADDED, ENTRY_NO_ROOM, ENTRY_REFUSED };

int
call_add_fd(struct call *call, uint64_t map, int fd)
{
	char path[sizeof("/proc/self/fd/") + 10];
	int index, fd_read;

	if (call_access(call, map) == MAP_MAY_ALL)
		return fdlist_index(&call->fds, fd);
	index = fdlist_index(&call->originals, fd);
	if (index < 0 || (size_t)index < call->fds.n)
		return index;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd_read = open(path, O_RDONLY | O_CLOEXEC);
	if (fd_read < 0)
		return error_origin(-errno);
	call->opened.fds[call->opened.n++] =
	    fd_read; /* as full as the others */
	return fdlist_index(&call->fds, fd_read);
}

static void
entry_counts_on_wire(const struct map *map,
    const struct vm_map_entry_info *info, pb_entry *entry)
{
	struct map_counts counts;

	map_count(map, info, &counts);
	entry->resident = counts.resident;
	entry->resident_private = counts.resident_private;
	entry->refs = counts.refs;
	entry->shadows = counts.shadows;
}

void
entry_cut(pb_entry *entry, const struct map_piece *piece)
{
	entry->offset += piece->start - entry->start;
	if (entry->pa != 0)
		entry->pa += piece->start - entry->start;
	entry->start = piece->start;
	entry->end = piece->end;
	entry->prot = piece->prot;
	entry->lost = piece->lost;
}

/*
 * What backs it from `at` on, all of it or a piece, as the next descriptor of
 * the reply or an earlier.
 */
static enum entry_outcome
entry_add_fd(struct call *call, struct map *map,
    const struct vm_map_entry_info *info, vm_offset_t at, pb_entry *entry)
{
	struct map_piece piece;
	int index;

	if (map_piece_at(map, info, at, &piece, &call->answer) != KERN_SUCCESS)
		return ENTRY_REFUSED;
	entry_cut(entry, &piece);
	if (piece.fd < 0)
		return ENTRY_ADDED;
	index = call_add_fd(call, call->request->map_entries->map, piece.fd);
	if (index == -ENOSPC)
		return ENTRY_NO_ROOM;
	if (index < 0) {
		(void)answer_refuse_errno(&call->answer, index, "descriptor");
		return ENTRY_REFUSED;
	}
	entry->fd_index = (uint32_t)index + 1;
	entry->file_offset = piece.offset;
	return ENTRY_ADDED;
}

/*
 * Where to begin with an entry in whose midst `from` is: there, where it comes
 * in pieces, but cut no superpage.
 */
static vm_offset_t
entry_begin(const struct map *map, const struct vm_map_entry_info *info,
    vm_offset_t from)
{
	const struct object *object = object_of(info->object);
	vm_size_t grain = map->arch->machine->page_size;
	vm_offset_t start, end;

	if (from <= info->start ||
	    (map->file == NULL && !map_is_lost(info, &start, &end)))
		return info->start;
	if (object != NULL && object->type == OBJT_SUPER)
		grain = object->pool->frame_size;
	return MAX(info->start, from & -grain);
}

/* Add one entry, or its pieces in [from, end).  false: that was all. */
static bool
entries_add(struct call *call, struct map *map,
    const struct vm_map_entry_info *info, vm_offset_t from, vm_offset_t end,
    Holdfast__V1__MapEntriesResult *result, pb_entry *entries)
{
	const Holdfast__V1__MapEntries *want = call->request->map_entries;
	vm_offset_t at = info->start;

	if (want->want_fds)
		at = entry_begin(map, info, from);
	for (; at < info->end && at < end;) {
		pb_entry *next = &entries[result->n_entries];
		enum entry_outcome outcome = ENTRY_ADDED;

		if (result->n_entries == HOLDFAST_ENTRIES_MAX) {
			result->next = at;
			return false;
		}
		entry_on_wire(call, map, info, next);
		if (want->want_counts)
			entry_counts_on_wire(map, info, next);
		if (want->want_fds)
			outcome = entry_add_fd(call, map, info, at, next);
		if (outcome == ENTRY_NO_ROOM)
			result->next = at;
		if (outcome != ENTRY_ADDED)
			return false;
		result->entries[result->n_entries++] = next;
		at = next->end;
	}
	return true;
}

/* The entries from `from` on, until the reply is full.  Read-locked. */
static void
entries_fill(struct call *call, struct map *map, vm_offset_t from,
    vm_offset_t end, Holdfast__V1__MapEntriesResult *result, pb_entry *entries)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;

	if (!vm_map_lookup_entry(map->vm, from, &entry))
		entry = entry == NULL ? vm_map_entry_first(map->vm)
				      : vm_map_entry_succ(map->vm, entry);
	for (; entry != NULL; entry = vm_map_entry_succ(map->vm, entry)) {
		vm_map_entry_info(entry, &info);
		if (info.start >= end ||
		    !entries_add(call, map, &info, from, end, result, entries))
			return;
	}
}

enum call_outcome
handle_map_entries(struct call *call)
{
	static Holdfast__V1__MapEntriesResult empty =
	    HOLDFAST__V1__MAP_ENTRIES_RESULT__INIT;
	const Holdfast__V1__MapEntries *want = call->request->map_entries;
	struct map *map = call_map_read(call, want->map);
	Holdfast__V1__MapEntriesResult *result;
	pb_entry *entries;

	if (map == NULL)
		return CALL_DONE;
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->entries =
	    call_alloc(call, HOLDFAST_ENTRIES_MAX * sizeof(*result->entries));
	entries = call_alloc(call, HOLDFAST_ENTRIES_MAX * sizeof(*entries));
	if (result->entries == NULL || entries == NULL)
		return CALL_DONE;
	vm_map_lock_read(map->vm);
	entries_fill(call, map, want->from,
	    want->end == 0 ? map->max : want->end, result, entries);
	result->timestamp = vm_map_timestamp(map->vm);
	vm_map_unlock_read(map->vm);
	result->size = vm_map_size(map->vm);
	result->nentries = vm_map_nentries(map->vm);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_ENTRIES;
	call->reply.map_entries = result;
	return CALL_DONE;
}
