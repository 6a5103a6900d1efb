/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/object.h"

#define OBJECT_TRIES 6

static int object_plan(struct object *object, struct answer *answer);

/* Everything but the span: of that it is only a user. */
static void
object_free(struct object *object)
{
	if (object->span != NULL)
		span_unuse(take_ptr(object->span));
	fd_closep(&object->base_fd);
	extent_free(&object->extent);
	quota_discharge(&object->charge);
	quota_discharge(&object->request);
	quota_discharge(&object->fd);
	quota_discharge(&object->bytes);
	free(object);
}

/* The last reference to the vm_object went. */
static void
object_release(void *handle)
{
	object_free(handle);
}

/* The last step, for both kinds: the caller's reference. */
static int
object_complete(struct object *object, struct answer *answer)
{
	object->vm =
	    vm_object_allocate(object->pmap, object->type, object->size);
	if (object->vm == NULL)
		return answer_refuse_kern(answer, KERN_RESOURCE_SHORTAGE,
		    "object");
	vm_object_set_handle(object->vm, object, object_release);
	if (object->type == OBJT_SUPER) {
		/* File offset 0 begins a frame, and maps where one begins. */
		vm_object_color(object->vm, 0);
		object->span->shown = true;
	}
	quota_discharge(&object->request);
	object->number = ++object->tenant->last_object;
	return KERN_SUCCESS;
}

static void
object_tell(struct object *object, struct answer *answer)
{
	if (answer->code != KERN_SUCCESS || object->vm != NULL)
		object->ready(object, answer);
}

static void
object_span_ready(struct span_waiter *waiter, int r)
{
	struct object *object =
	    (struct object *)((char *)waiter -
			      offsetof(struct object, span_waiter));
	struct answer answer;

	answer_init(&answer);
	if (r == 0) {
		(void)object_complete(object, &answer); /* told below */
	} else {
		object->span = NULL;
		if (r == -EAGAIN || r == -ENOENT)
			(void)object_plan(object, &answer);
		else
			(void)answer_refuse_errno(&answer, r,
			    "assembling the span");
	}
	object_tell(object, &answer);
}

static bool
object_retry(struct waiter *waiter)
{
	struct object *object =
	    (struct object *)((char *)waiter - offsetof(struct object, waiter));
	struct answer answer;

	answer_init(&answer);
	object->tries = 0;
	if (object_plan(object, &answer) == KERN_SUCCESS &&
	    object->waiter.waiting)
		return true;
	object_tell(object, &answer);
	return false;
}

static int
object_plan(struct object *object, struct answer *answer)
{
	struct waitq *queue = &object->pool->waitq;
	int rv;

	if (object->tries++ == OBJECT_TRIES)
		return answer_refuse(answer, KERN_RESOURCE_SHORTAGE,
		    "another process keeps taking the frames");
	rv = span_new(&object->span, object->pool, &object->waiter,
	    &object->req, false, answer);
	if ((rv == KERN_NO_SPACE || rv == REFUSED_QUOTA) &&
	    reclaim_begin(object->pool, &object->reclaim, &object->waiter, rv,
		0)) {
		waitq_join(queue, &object->waiter, false);
		answer_init(answer);
		return KERN_SUCCESS;
	}
	waitq_leave(queue, &object->waiter);
	if (rv != KERN_SUCCESS)
		return rv;
	if (object->span->state == SPAN_LIVE)
		return object_complete(object, answer);
	span_wait(object->span, &object->span_waiter);
	return rv;
}

static int
object_charge(struct object *object, struct answer *answer)
{
	struct quota *quota = &object->tenant->quota;

	if (quota_charge(&object->charge, quota, QUOTA_OBJECTS, 1) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_OBJECTS, 1);
	if (quota_charge(&object->request, quota, QUOTA_REQUESTS, 1) < 0)
		return answer_refuse_quota(answer, quota, QUOTA_REQUESTS, 1);
	return KERN_SUCCESS;
}

static int
object_check(struct pool *pool, struct pmap *pmap, enum obj_type type,
    vm_size_t size, struct answer *answer)
{
	struct vm_refusal why;
	int rv;

	rv = vm_strict_object(pmap->arch->machine, (int)type, size, &why);
	if (rv != KERN_SUCCESS)
		return answer_refuse_strict(answer, rv, &why);
	if (type != OBJT_SUPER)
		return rv;
	if (pool->phys == NULL)
		return answer_refuse(answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
	if (size % pool->frame_size != 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "size must be a multiple of the frame size (0x%llx); it "
		    "is 0x%llx",
		    (unsigned long long)pool->frame_size,
		    (unsigned long long)size);
	return rv;
}

int
object_create(struct pool *pool, struct tenant *tenant, struct pmap *pmap,
    enum obj_type type, vm_size_t size,
    void (*ready)(struct object *object, struct answer *answer), void *owner,
    struct object **objectp, struct answer *answer)
{
	struct object *object;
	int rv;

	rv = object_check(pool, pmap, type, size, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	object = memory_calloc(1, sizeof(*object));
	if (object == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "object");
	object->type = type;
	object->size = size;
	object->pool = pool;
	object->tenant = tenant;
	object->pmap = pmap;
	object->base_fd = -1;
	object->ready = ready;
	object->owner = owner;
	object->span_waiter.ready = object_span_ready;
	object->waiter.retry = object_retry;
	object->waiter.tenant = tenant;
	object->waiter.req = &object->req;
	object->req = (struct contig_req){
	    .size = size,
	    .high = UINT64_C(1) << pool->arch->machine->paddr_bits,
	    .alignment = pool->frame_size,
	    .domain = -1,
	};
	rv = object_charge(object, answer);
	if (rv == KERN_SUCCESS && type == OBJT_SUPER)
		rv = object_plan(object, answer);
	else if (rv == KERN_SUCCESS)
		rv = object_complete(object, answer);
	if (rv != KERN_SUCCESS) {
		object_free(object);
		return rv;
	}
	*objectp = object;
	return rv;
}

int
object_create_anon(struct tenant *tenant, struct pmap *pmap,
    struct map_file *file, vm_size_t size, struct object **objectp,
    struct answer *answer)
{
	struct object *object = memory_calloc(1, sizeof(*object));
	int r, rv;

	if (object == NULL)
		return answer_refuse_errno(answer, -ENOMEM, "object");
	object->type = OBJT_SWAP;
	object->size = size;
	object->tenant = tenant;
	object->pmap = pmap;
	object->base_fd = -1;
	r = extent_new(&object->extent, file, size);
	if (r == -EDQUOT)
		rv = answer_refuse_quota(answer, &tenant->quota,
		    QUOTA_BASE_BYTES, size);
	else if (r < 0)
		rv = answer_refuse_errno(answer, r, "extent");
	else
		rv = object_complete(object, answer);
	if (rv != KERN_SUCCESS) {
		object_free(object);
		return rv;
	}
	*objectp = object;
	return rv;
}

void
object_drop(struct object *object)
{
	if (object->vm != NULL) {
		vm_object_deallocate(object->vm);
		return;
	}
	waitq_leave(&object->pool->waitq, &object->waiter);
	if (object->span != NULL)
		span_unwait(object->span, &object->span_waiter);
	object_free(object);
}

struct object *
object_of(vm_object_t vm)
{
	if (vm == NULL)
		return NULL;
	return vm_object_handle(vm);
}

int
object_fd(struct object *object, const struct arch *arch, int *fdp)
{
	struct quota *quota = &object->tenant->quota;
	int r;

	if (object->type == OBJT_SUPER) {
		*fdp = object->span->info.fd;
		return 0;
	}
	if (object->extent.file != NULL) {
		*fdp = object->extent.file->fd;
		return 0;
	}
	if (object->base_fd < 0) {
		r = quota_charge(&object->bytes, quota, QUOTA_BASE_BYTES,
		    object->size);
		if (r < 0)
			return r;
		r = quota_charge(&object->fd, quota, QUOTA_FDS, 1);
		if (r == 0)
			r = arch->ops->base_file(arch->ctx, object->size,
			    &object->base_fd);
		if (r < 0) {
			quota_discharge(&object->bytes);
			quota_discharge(&object->fd);
			return error_origin(r);
		}
	}
	*fdp = object->base_fd;
	return 0;
}

void
object_place(const struct object *object, uint64_t offset, int *fdp,
    uint64_t *placep)
{
	*placep = offset;
	if (object->type == OBJT_SUPER) {
		*fdp = object->span->info.fd;
	} else if (object->extent.file != NULL) {
		*fdp = object->extent.file->fd;
		*placep = object->extent.offset + offset;
	} else {
		*fdp = object->base_fd;
	}
}
