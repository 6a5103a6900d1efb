/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "core/vm_fault.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/map.h"
#include "server/memory.h"

/* ---- Life -------------------------------------------------------- */

static void
map_free(struct map *map)
{
	map_destroy(map);
	MPASS(TAILQ_EMPTY(&map->watches));
	quota_discharge(&map->charge);
	free(map);
}

void
map_destroy(struct map *map)
{
	if (map->name[0] != '\0') {
		TAILQ_REMOVE(&map->tenant->maps, map, entry);
		map->name[0] = '\0';
	}
	if (map->vm != NULL)
		watch_changed(map, map->min, map->max);
	watch_end_barriers(map);
	if (map->file != NULL)
		map_file_leave_soon(map->file);
	vm_map_destroy(take_ptr(map->vm));
	map_file_leave(take_ptr(map->file));
	map_drop_submaps(map);
	quota_discharge(&map->entries);
	quota_discharge(&map->bytes);
	if (map->punching > 0)
		return; /* a worker uses the file; the last detach closes it */
	fd_closep(&map->base_fd);
	quota_discharge(&map->fd);
}

void
map_detach(struct map *map)
{
	MPASS(map->attached > 0);
	if (--map->attached == 0)
		map_free(map);
}

static bool
name_is_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t len = strlen(name);

	return len <= HOLDFAST_NAME_MAX && strspn(name, letters) == len;
}

static struct map *
map_by_name(struct tenant *tenant, const char *name)
{
	struct map *map;

	TAILQ_FOREACH (map, &tenant->maps, entry) {
		if (strcmp(map->name, name) == 0)
			return map;
	}
	return NULL;
}

/* The range that a map gets when the client names none. */
static void
map_default_range(const struct arch_machine *machine, vm_offset_t *minp,
    vm_offset_t *maxp)
{
	if (MAP_DEFAULT_MIN >= machine->user_min &&
	    MAP_DEFAULT_MAX <= machine->user_max) {
		*minp = MAP_DEFAULT_MIN;
		*maxp = MAP_DEFAULT_MAX;
		return;
	}
	*minp = machine->user_max / 2;
	*maxp = machine->user_max / 4 * 3;
}

static int
map_check_params(struct tenant *tenant, const struct arch *arch,
    const struct map_params *params, const struct arch_machine **machinep,
    struct answer *answer)
{
	const struct arch_machine *machine = arch->machine;

	if (!name_is_valid(params->name))
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "name must be at most %d of the characters A-Z, a-z, 0-9, "
		    "'_', '.' and '-'",
		    HOLDFAST_NAME_MAX);
	if (params->name[0] != '\0' &&
	    map_by_name(tenant, params->name) != NULL)
		return answer_refuse(answer, REFUSED_EXISTS,
		    "name must not be that of another map: \"%s\" exists",
		    params->name);
	if (params->machine[0] != '\0' || params->page_size != 0)
		machine = arch_machine_find(params->machine[0] != '\0'
						? params->machine
						: machine->name,
		    params->page_size);
	if (machine == NULL)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "machine and page_size must name a known machine");
	*machinep = machine;
	return KERN_SUCCESS;
}

/* The file of one that is mirrored. */
static int
map_init_file(struct map *map, const struct map_params *params,
    struct answer *answer)
{
	int r;

	if (!params->mirrored)
		return KERN_SUCCESS;
	if (!map->host)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "machine must be the daemon's own for a map that is "
		    "mirrored");
	r = map_file_new(&map->file, map->arch, map->tenant, params->workers);
	if (r == -EDQUOT)
		return answer_refuse_quota(answer, &map->tenant->quota,
		    QUOTA_FDS, 1);
	if (r < 0)
		return answer_refuse_errno(answer, r, "file of base pages");
	return KERN_SUCCESS;
}

/* The range, the vm_map, and the account. */
static int
map_init(struct map *map, const struct map_params *params,
    struct answer *answer)
{
	struct quota *quota = &map->tenant->quota;
	const struct arch_machine *machine = map->arch->machine;
	struct vm_refusal why;
	int rv;

	map->min = params->min;
	map->max = params->max;
	if (params->min == 0 && params->max == 0)
		map_default_range(machine, &map->min, &map->max);
	rv = vm_strict_map(machine, map->min, map->max, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	if (quota_charge(&map->charge, quota, QUOTA_MAPS, 1) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_MAPS, 1);
	if (quota_charge(&map->entries, quota, QUOTA_ENTRIES, 0) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_ENTRIES, 0);
	rv = map_init_file(map, params, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	map->vm = vm_map_create(&map->pmap, map->min, map->max);
	if (map->vm == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "map");
	if (map->file != NULL)
		vm_map_set_pager(map->vm, map->file->pager);
	return rv;
}

/* An empty shell with one attachment.  NULL: no memory. */
static struct map *
map_new(struct tenant *tenant, const struct arch *arch)
{
	struct map *map = memory_calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	TAILQ_INIT(&map->watches);
	TAILQ_INIT(&map->barriers);
	TAILQ_INIT(&map->slow);
	map->tenant = tenant;
	map->base_fd = -1;
	map->arch = arch;
	map->pmap.arch = arch;
	map->attached = 1;
	return map;
}

static void
map_set_name(struct map *map, const char *name)
{
	if (name[0] == '\0')
		return;
	(void)snprintf(map->name, sizeof(map->name), "%s", name);
	TAILQ_INSERT_TAIL(&map->tenant->maps, map, entry);
}

int
map_create(struct tenant *tenant, const struct arch *arch,
    const struct machines *machines, const struct map_params *params,
    struct map **mapp, struct answer *answer)
{
	const struct arch_machine *machine = arch->machine;
	struct map *map;
	int rv;

	rv = map_check_params(tenant, arch, params, &machine, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	map = map_new(tenant, machines_find(machines, machine));
	if (map == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "map");
	map->host = strcmp(machine->name, arch->machine->name) == 0 &&
		    machine->page_size == arch->machine->page_size;
	rv = map_init(map, params, answer);
	if (rv != KERN_SUCCESS) {
		map_free(map);
		return rv;
	}
	map_set_name(map, params->name);
	*mapp = map;
	return rv;
}

/* ---- Fork -------------------------------------------------------- */

/* What the child counts against, once it is there. */
static int
child_charge(struct map *child, uint64_t nentries, struct answer *answer)
{
	struct quota *quota = &child->tenant->quota;

	if (quota_charge(&child->charge, quota, QUOTA_MAPS, 1) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_MAPS, 1);
	if (quota_charge(&child->entries, quota, QUOTA_ENTRIES, nentries) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_ENTRIES,
		    nentries);
	return KERN_SUCCESS;
}

static int
child_fork(struct map *child, struct map *parent, struct answer *answer)
{
	struct answer unsaid;
	int rv;

	rv = child_charge(child, vm_map_nentries(parent->vm), answer);
	if (rv == KERN_SUCCESS && parent->file != NULL)
		rv = map_fork_check(parent, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	if (parent->file != NULL)
		map_file_join(parent->file);
	child->file = parent->file;
	rv = vmspace_fork(parent->vm, &child->pmap, &child->vm);
	if (rv == KERN_INVALID_ARGUMENT)
		return answer_refuse(answer, rv,
		    "map must not have a window to a submap");
	if (rv != KERN_SUCCESS)
		return answer_refuse_kern(answer, rv, "vmspace_fork");
	if (parent->file == NULL)
		return rv; /* only arithmetic: nobody's memory */
	map_fork_shared(parent);
	/* Without an object it is filled page by page, by faults. */
	(void)map_back_anonymous(child, child->min, child->max, &unsaid);
	return rv;
}

int
map_fork(struct map *parent, const char *name, struct map **childp,
    struct answer *answer)
{
	struct map_params params = {.name = name, .machine = ""};
	const struct arch_machine *machine = NULL;
	struct map *child;
	int rv;

	rv = map_check_params(parent->tenant, parent->arch, &params, &machine,
	    answer);
	if (rv != KERN_SUCCESS)
		return rv;
	child = map_new(parent->tenant, parent->arch);
	if (child == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "map");
	child->host = parent->host;
	child->min = parent->min;
	child->max = parent->max;
	child->group = parent->group;
	child->mode = parent->mode;
	rv = child_fork(child, parent, answer);
	map_settle(parent);
	if (rv != KERN_SUCCESS) {
		map_free(child);
		return rv;
	}
	map_settle(child);
	map_set_name(child, name);
	*childp = child;
	return rv;
}

int
map_attach(struct tenant *tenant, const char *name, struct map **mapp,
    struct answer *answer)
{
	struct map *map = name[0] == '\0' ? NULL : map_by_name(tenant, name);

	if (map == NULL)
		return answer_refuse(answer, REFUSED_UNKNOWN_ID,
		    "name must be that of a map of this tenant");
	map->attached++;
	*mapp = map;
	return KERN_SUCCESS;
}

/* ---- Account ----------------------------------------------------- */

int
map_afford(struct map *map, vm_size_t length, struct answer *answer)
{
	struct quota *quota = &map->tenant->quota;

	if (quota->limit[QUOTA_ENTRIES] - MAP_ENTRIES_PER_OP <
		quota->used[QUOTA_ENTRIES] ||
	    quota->limit[QUOTA_ENTRIES] < MAP_ENTRIES_PER_OP)
		return answer_refuse_quota(answer, quota, QUOTA_ENTRIES,
		    MAP_ENTRIES_PER_OP);
	if (map->bytes.quota != NULL) {
		vm_size_t before = map->bytes.amount;

		if (quota_recharge(&map->bytes, before + length) < 0)
			return answer_refuse_quota(answer, quota,
			    QUOTA_BASE_BYTES, length);
		(void)quota_recharge(&map->bytes, before); /* only a probe */
	}
	return KERN_SUCCESS;
}

void
map_settle(struct map *map)
{
	int r;

	r = quota_recharge(&map->entries, vm_map_nentries(map->vm));
	if (r == 0 && map->bytes.quota != NULL)
		r = quota_recharge(&map->bytes, vm_map_size(map->vm));
	KASSERT(r == 0, "map_afford() made sure of it");
	map_file_flush(map->file);
}

/* ---- Entering ---------------------------------------------------- */

/* An entry over superpages shows whole frames, or could not be mapped. */
static int
map_check_super(struct map *map, const struct vm_insert_args *args,
    struct object *object, bool exact, struct answer *answer)
{
	vm_size_t frame;

	if (object == NULL || object->type != OBJT_SUPER)
		return KERN_SUCCESS;
	frame = object->pool->frame_size;
	if (!map->host)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "object must be one of base pages: the map is of another "
		    "machine than the pool");
	if (args->offset % frame != 0 || args->length % frame != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "offset and length must be multiples of the frame size "
		    "(0x%llx) for an object of superpages",
		    (unsigned long long)frame);
	if (exact && args->start % frame != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "start must be congruent to the object's superpages, a "
		    "multiple of 0x%llx; it is 0x%llx: ask vm_map_find with "
		    "VMFS_SUPER_SPACE for an address that is",
		    (unsigned long long)frame, (unsigned long long)args->start);
	return KERN_SUCCESS;
}

/* Only some searches give congruent addresses. */
static int
map_check_super_find(struct map *map, const struct vm_insert_args *args,
    struct object *object, struct answer *answer)
{
	bool exact = args->find_space == VMFS_NO_SPACE;
	int rv = map_check_super(map, args, object, exact, answer);

	if (rv != KERN_SUCCESS || object == NULL || object->type != OBJT_SUPER)
		return rv;
	if (args->find_space == VMFS_ANY_SPACE)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "find_space must be VMFS_SUPER_SPACE for an object of "
		    "superpages: any other address is not congruent to it");
	return rv;
}

static int
map_refuse_insert(struct map *map, int rv, const struct map_enter *enter,
    struct answer *answer)
{
	const struct vm_insert_args *args = &enter->args;

	if (rv == KERN_NO_SPACE && args->find_space != VMFS_NO_SPACE)
		return answer_refuse(answer, rv,
		    "no free range of 0x%llx bytes lies at or above 0x%llx",
		    (unsigned long long)args->length,
		    (unsigned long long)args->start);
	if (rv == KERN_NO_SPACE)
		return answer_refuse(answer, rv,
		    "something is in [0x%llx, 0x%llx) already",
		    (unsigned long long)args->start,
		    (unsigned long long)(args->start + args->length));
	if (rv == KERN_WOULD_BLOCK)
		return answer_refuse(answer, rv,
		    "[0x%llx, 0x%llx) must hold no wiring of the system",
		    (unsigned long long)args->start,
		    (unsigned long long)(args->start + args->length));
	return map_refuse_enter(map, rv, answer);
}

/* The checks of one of the calls that enter something. */
static int
map_enter_check(struct map *map, const struct map_enter *enter,
    struct answer *answer)
{
	const struct vm_insert_args *args = &enter->args;
	struct vm_refusal why;
	int rv;

	switch (enter->how) {
	case ENTER_INSERT:
		rv = vm_strict_insert(map->vm, args, &why);
		break;
	case ENTER_FIXED:
		rv = vm_strict_fixed(map->vm, args, &why);
		break;
	case ENTER_FIND:
		rv = vm_strict_find(map->vm, args, &why);
		break;
	case ENTER_FIND_MIN:
	default:
		rv = vm_strict_find_min(map->vm, args, enter->default_addr,
		    &why);
		break;
	}
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	if (enter->how == ENTER_FIND || enter->how == ENTER_FIND_MIN)
		rv = map_check_super_find(map, args, enter->object, answer);
	else
		rv = map_check_super(map, args, enter->object, true, answer);
	if (rv == KERN_SUCCESS && enter->how == ENTER_FIXED) {
		vm_offset_t end = args->start + args->length;

		rv = map_check_cut(map, args->start, "start", answer);
		if (rv == KERN_SUCCESS)
			rv = map_check_cut(map, end, "end", answer);
	}
	return rv == KERN_SUCCESS ? map_afford(map, args->length, answer) : rv;
}

static int
map_enter_core(struct map *map, const struct map_enter *enter,
    vm_offset_t *addrp)
{
	const struct vm_insert_args *a = &enter->args;
	int rv;

	switch (enter->how) {
	case ENTER_INSERT:
		vm_map_lock(map->vm);
		rv = vm_map_insert(map->vm, a->object, a->offset, a->start,
		    a->start + a->length, a->prot, a->max, a->cow);
		vm_map_unlock(map->vm);
		return rv;
	case ENTER_FIXED:
		return vm_map_fixed(map->vm, a->object, a->offset, a->start,
		    a->length, a->prot, a->max, a->cow);
	case ENTER_FIND:
		return vm_map_find(map->vm, a->object, a->offset, addrp,
		    a->length, a->max_addr, a->find_space, a->prot, a->max,
		    a->cow);
	case ENTER_FIND_MIN:
	default:
		return vm_map_find_min(map->vm, a->object, a->offset, addrp,
		    a->length, enter->default_addr, a->max_addr, a->find_space,
		    a->prot, a->max, a->cow);
	}
}

/*
 * What an anonymous entry of a mirrored map is to show, if there is ever
 * anything to see.  Nothing is behind it, so there is nothing to copy from.
 * Where nobody may fault there never is; a stack gets its own when it is there.
 */
static int
map_enter_anonymous(struct map *map, struct map_enter *enter,
    struct answer *answer)
{
	const int without = MAP_CREATE_GUARD | MAP_CREATE_STACK_GAP |
			    MAP_NOFAULT | MAP_STACK_AREA;
	struct vm_insert_args *args = &enter->args;
	struct object *object;
	int rv;

	if (map->file == NULL || args->object != NULL ||
	    args->max == VM_PROT_NONE || (args->cow & without) != 0)
		return KERN_SUCCESS;
	rv = object_create_anon(map->tenant, &map->pmap, map->file,
	    args->length, &object, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	args->object = object->vm;
	args->offset = 0;
	args->cow &= ~MAP_COPY_ON_WRITE;
	return rv;
}

/* Enter what has been checked; the reference to its object is used up. */
static int
map_enter_commit(struct map *map, const struct map_enter *enter,
    vm_offset_t *addrp, struct answer *answer)
{
	const struct vm_insert_args *args = &enter->args;
	struct map_trims trims = {0};
	int r, rv;

	if (enter->how == ENTER_FIXED) {
		r = map_trims_collect(map, args->start,
		    args->start + args->length, &trims);
		if (r < 0) {
			vm_object_deallocate(args->object);
			return answer_refuse_errno(answer, r, "entry");
		}
	}
	rv = map_enter_core(map, enter, addrp);
	map_trims_end(&trims, rv == KERN_SUCCESS);
	if (rv == KERN_SUCCESS)
		return rv;
	vm_object_deallocate(args->object);
	return map_refuse_insert(map, rv, enter, answer);
}

int
map_enter(struct map *map, const struct map_enter *wanted, vm_offset_t *addrp,
    struct answer *answer)
{
	struct map_enter copy = *wanted, *enter = &copy;
	const struct vm_insert_args *args = &enter->args;
	struct object *object = enter->object;
	vm_offset_t addr = args->start;
	int rv;

	rv = map_enter_check(map, enter, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_object_reference(args->object);
	rv = map_enter_anonymous(map, enter, answer);
	if (rv == KERN_SUCCESS)
		rv = map_enter_commit(map, enter, &addr, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	if (object != NULL && object->type == OBJT_SUPER &&
	    addr % object->pool->frame_size != 0) {
		/* Without VMFS_SUPER_SPACE any address is as good. */
		rv = vm_map_remove(map->vm, addr, addr + args->length);
		MPASS(rv == KERN_SUCCESS);
		return answer_refuse(answer, KERN_NO_SPACE,
		    "find_space (0x%x) found 0x%llx, which is not congruent to "
		    "the object's superpages, a multiple of 0x%llx: only "
		    "VMFS_SUPER_SPACE looks for one that is",
		    (unsigned)args->find_space, (unsigned long long)addr,
		    (unsigned long long)object->pool->frame_size);
	}
	if (enter->how == ENTER_FIXED)
		map_punch(map, addr, addr + args->length);
	if (map->file != NULL && (args->cow & MAP_STACK_AREA) != 0) {
		struct answer unsaid;

		/* Without an object it is filled page by page, by faults. */
		(void)map_back_anonymous(map, addr, addr + args->length,
		    &unsaid);
	}
	map_settle(map);
	watch_changed(map, addr, addr + args->length);
	*addrp = addr;
	return rv;
}

int
map_findspace(struct map *map, vm_offset_t start, vm_size_t length,
    vm_offset_t *addrp, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_findspace(map->vm, start, length, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	vm_map_lock_read(map->vm);
	rv = vm_map_findspace(map->vm, start, length, addrp);
	vm_map_unlock_read(map->vm);
	if (rv != 0)
		return answer_refuse(answer, KERN_NO_SPACE,
		    "no free range of 0x%llx bytes lies at or above 0x%llx",
		    (unsigned long long)length, (unsigned long long)start);
	return KERN_SUCCESS;
}

/* ---- Deleting ---------------------------------------------------- */

int
map_check_cut(struct map *map, vm_offset_t at, const char *arg,
    struct answer *answer)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	struct object *object = NULL;
	vm_size_t frame;

	vm_map_lock_read(map->vm);
	if (vm_map_lookup_entry(map->vm, at, &entry)) {
		vm_map_entry_info(entry, &info);
		object = object_of(info.object);
	}
	vm_map_unlock_read(map->vm);
	if (object == NULL || object->type != OBJT_SUPER)
		return KERN_SUCCESS;
	frame = object->pool->frame_size;
	if (at % frame == 0)
		return KERN_SUCCESS;
	return answer_refuse(answer, KERN_INVALID_ARGUMENT,
	    "%s must not cut a superpage, a multiple of 0x%llx; it is 0x%llx",
	    arg, (unsigned long long)frame, (unsigned long long)at);
}

/* Does one entry reach over both ends, so that two are left of it? */
static bool
map_delete_splits(struct map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry_info info = {0};
	vm_map_entry_t entry;
	bool found;

	vm_map_lock_read(map->vm);
	found = vm_map_lookup_entry(map->vm, start, &entry);
	if (found)
		vm_map_entry_info(entry, &info);
	vm_map_unlock_read(map->vm);
	return found && info.start < start && end < info.end;
}

/*
 * Is there a wiring of the system, which keeps what it covers?  Asked first,
 * as the contents go before the entries.
 */
static bool
map_is_held(struct map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry_info info = {0};
	vm_map_entry_t entry;
	bool held = false;

	vm_map_lock_read(map->vm);
	if (!vm_map_lookup_entry(map->vm, start, &entry))
		entry = vm_map_entry_succ(map->vm, entry);
	for (; entry != NULL && !held;
	     entry = vm_map_entry_succ(map->vm, entry)) {
		bool user;

		vm_map_entry_info(entry, &info);
		if (info.start >= end)
			break;
		user = (info.eflags & MAP_ENTRY_USER_WIRED) != 0;
		held = info.wired_count > (user ? 1 : 0);
	}
	vm_map_unlock_read(map->vm);
	return held;
}

int
map_delete_check(struct map *map, vm_offset_t start, vm_offset_t end,
    struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_range(map->vm, start, end, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	if (map_is_held(map, start, end))
		return answer_refuse(answer, KERN_WOULD_BLOCK,
		    "[0x%llx, 0x%llx) must hold no wiring of the system",
		    (unsigned long long)start, (unsigned long long)end);
	rv = map_check_cut(map, start, "start", answer);
	if (rv == KERN_SUCCESS)
		rv = map_check_cut(map, end, "end", answer);
	/* A tenant at its limit can still make room. */
	if (rv == KERN_SUCCESS && map_delete_splits(map, start, end))
		rv = map_afford(map, 0, answer);
	return rv;
}

bool
map_delete_is_large(const struct map *map, vm_offset_t start, vm_offset_t end)
{
	return map->base_fd >= 0 && end - start > MAP_PUNCH_INLINE;
}

void
map_punch(const struct map *map, vm_offset_t start, vm_offset_t end)
{
	if (map->base_fd < 0)
		return;
	if (fallocate(map->base_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)(start - map->min), (off_t)(end - start)) < 0)
		log_error("map_punch", "tenant=%s errno=%d", map->tenant->name,
		    errno);
}

int
map_delete(struct map *map, vm_offset_t start, vm_offset_t end,
    struct answer *answer)
{
	struct map_trims trims = {0};
	int r, rv;

	r = map_trims_collect(map, start, end, &trims);
	if (r < 0)
		return answer_refuse_errno(answer, r, "delete");
	rv = vm_map_remove(map->vm, start, end);
	map_trims_end(&trims, rv == KERN_SUCCESS);
	if (rv != KERN_SUCCESS)
		return answer_refuse_kern(answer, rv, "vm_map_remove");
	map_settle(map);
	if (start < end)
		watch_changed(map, start, end);
	return rv;
}

/* ---- Looking ----------------------------------------------------- */

int
map_lookup(struct map *map, vm_offset_t addr, vm_prot_t fault_type,
    struct map_lookup *lookupp, struct answer *answer)
{
	vm_map_t vm = map->vm;
	struct vm_refusal why;
	vm_map_entry_t entry;
	vm_object_t object;
	int rv;

	rv = vm_strict_lookup(vm, addr, fault_type, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	rv = vm_map_lookup(&vm, addr, fault_type, &entry, &object,
	    &lookupp->pindex, &lookupp->prot, &lookupp->wired);
	if (rv == KERN_INVALID_ADDRESS)
		return answer_refuse(answer, rv, "nothing is at 0x%llx",
		    (unsigned long long)addr);
	if (rv != KERN_SUCCESS)
		return answer_refuse_kern(answer, rv, "vm_map_lookup");
	vm_map_entry_info(entry, &lookupp->info);
	vm_map_lookup_done(vm, entry);
	return rv;
}

static int
map_base_fd(struct map *map, struct answer *answer)
{
	struct quota *quota = &map->tenant->quota;
	vm_size_t bytes = vm_map_size(map->vm);
	int r;

	if (map->base_fd >= 0)
		return KERN_SUCCESS;
	if (quota_charge(&map->bytes, quota, QUOTA_BASE_BYTES, bytes) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_BASE_BYTES,
		    bytes);
	if (quota_charge(&map->fd, quota, QUOTA_FDS, 1) < 0) {
		quota_discharge(&map->bytes);
		return answer_refuse_quota(answer, quota, QUOTA_FDS, 1);
	}
	r = map->arch->ops->base_file(map->arch->ctx, map->max - map->min,
	    &map->base_fd);
	if (r < 0) {
		map->base_fd = -1;
		quota_discharge(&map->bytes);
		quota_discharge(&map->fd);
		return answer_refuse_errno(answer, r, "file of base pages");
	}
	return KERN_SUCCESS;
}

int
map_entry_fd(struct map *map, const struct vm_map_entry_info *info, int *fdp,
    uint64_t *offsetp, struct answer *answer)
{
	struct object *object = object_of(info->object);
	int r, rv;

	*fdp = -1;
	*offsetp = 0;
	if ((info->eflags & (MAP_ENTRY_GUARD | MAP_ENTRY_IS_SUB_MAP)) != 0 ||
	    !map->host)
		return KERN_SUCCESS;
	if (object == NULL) {
		rv = map_base_fd(map, answer);
		if (rv != KERN_SUCCESS)
			return rv;
		*fdp = map->base_fd;
		*offsetp = info->start - map->min;
		return rv;
	}
	r = object_fd(object, map->arch, fdp);
	if (r == -EDQUOT)
		return answer_refuse_quota(answer, &map->tenant->quota,
		    QUOTA_BASE_BYTES, object->size);
	if (r < 0)
		return answer_refuse_errno(answer, r, "file of base pages");
	*offsetp = info->offset;
	return KERN_SUCCESS;
}
