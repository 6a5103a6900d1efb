/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The first write to a superpage that a fork shares.
 *
 *	before  |------------- object 7, copy on write -------------|
 *	after   |--- object 7 ---| object 9, one frame |- object 7 -|
 *
 * A page table cannot show base pages inside a superpage, so the whole frame is
 * copied, into a span of its own; the entry shows that instead, and needs no
 * copy any more.  A worker copies: it takes as long as zeroing a frame does.
 */

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/dispatch.h"
#include "server/slow.h"

/* What was needed for it; the turn is over. */
static void
super_end(struct slow *slow)
{
	if (slow->copy != NULL)
		object_drop(take_ptr(slow->copy));
	if (slow->source != NULL)
		vm_object_deallocate(take_ptr(slow->source));
	slow->map->copying--;
}

/* ---- Copying ----------------------------------------------------- */

/* On a worker.  Nobody but us has ever had the new span. */
static void
super_copy_run(struct job *job)
{
	struct slow *slow =
	    (struct slow *)((char *)job - offsetof(struct slow, job));
	int to = slow->copy->span->info.fd;
	size_t size = (size_t)slow->copy->size, done = 0;
	ssize_t n = 1;
	char *at;
	int from;
	uint64_t offset;

	slow->copied = 0;
	object_place(object_of(slow->source), slow->source_offset, &from,
	    &offset);
	if (to < 0 || from < 0)
		return; /* invented memory */
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
	if (at == MAP_FAILED) {
		slow->copied = -errno;
		return;
	}
	for (; done < size && n > 0; done += (size_t)n) {
		n = pread(from, at + done, size - done, (off_t)(offset + done));
		if (n < 0)
			slow->copied = -errno;
	}
	(void)munmap(at, size);
}

/* Does the entry still show what was copied? */
static bool
super_still_there(const struct slow *slow, const struct vm_map_entry_info *info,
    vm_offset_t start)
{
	return info->object == slow->source && info->start <= start &&
	       start + slow->copy->size <= info->end &&
	       info->offset + (start - info->start) == slow->source_offset &&
	       (info->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

/* Let the map show the copy. */
static int
super_enter(struct slow *slow, struct answer *answer)
{
	vm_offset_t start = slow->addr & -slow->copy->size;
	vm_offset_t end = start + slow->copy->size;
	struct vm_map_entry_info info = map_entry_at(slow->map, slow->addr);
	struct map *map = slow->map;
	int rv;

	if (!super_still_there(slow, &info, start))
		return KERN_SUCCESS; /* look again */
	rv = map_afford(map, 0, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	vm_object_reference(slow->copy->vm);
	rv = vm_map_fixed(map->vm, slow->copy->vm, 0, start, slow->copy->size,
	    info.protection, info.max_protection, 0);
	if (rv != KERN_SUCCESS) {
		vm_object_deallocate(slow->copy->vm);
		return answer_refuse_kern(answer, rv, "vm_map_fixed");
	}
	(void)vm_map_inherit(map->vm, start, end, info.inheritance);
	map_settle(map);
	return rv;
}

/* Others still show the source: they have to let go before the reply. */
static void
super_entered(struct slow *slow)
{
	vm_offset_t start = slow->addr & -slow->copy->size;
	vm_size_t size = slow->copy->size;

	super_end(slow);
	if (!barrier_begin(&slow->barrier, start, start + size, false))
		slow_run(slow);
}

static void
super_copy_done(struct job *job)
{
	struct slow *slow =
	    (struct slow *)((char *)job - offsetof(struct slow, job));
	int rv = KERN_SUCCESS;

	if (slow->call == NULL || slow->map->vm == NULL) {
		super_end(slow);
		slow_run(slow);
		return;
	}
	if (slow->copied < 0)
		rv = answer_refuse_errno(&slow->call->answer, slow->copied,
		    "copying a superpage");
	if (rv == KERN_SUCCESS)
		rv = super_enter(slow, &slow->call->answer);
	if (rv == KERN_SUCCESS) {
		super_entered(slow);
		return;
	}
	super_end(slow);
	slow_refused(slow);
}

/* ---- A span for it ----------------------------------------------- */

static void
super_copy(struct slow *slow)
{
	slow->job = (struct job){
	    .run = super_copy_run,
	    .done = super_copy_done,
	};
	workers_submit(slow->server->workers, &slow->job);
}

/* The refusal of a span says what it was for. */
static void
super_refused(struct slow *slow, const struct answer *answer)
{
	const struct object *source = object_of(slow->source);

	if (slow->call != NULL)
		(void)answer_refuse(&slow->call->answer, answer->code,
		    "object %llu is of superpages and shared since a fork; no "
		    "frame for a copy: %s",
		    (unsigned long long)source->number, answer->text);
	super_end(slow);
	slow_refused(slow);
}

static void
super_ready(struct object *object, struct answer *answer)
{
	struct slow *slow = object->owner;

	if (answer->code == KERN_SUCCESS) {
		super_copy(slow);
		return;
	}
	super_refused(slow, answer);
}

bool
slow_stop_super(struct slow *slow)
{
	if (slow->copy == NULL || slow->copy->vm != NULL)
		return false;
	super_end(slow);
	return true;
}

void
slow_copy_super(struct slow *slow)
{
	struct vm_map_entry_info info = map_entry_at(slow->map, slow->addr);
	struct object *source = object_of(info.object);
	struct server *server = slow->server;
	vm_size_t frame = source->pool->frame_size;
	vm_offset_t start = slow->addr & -frame;
	struct answer answer;

	MPASS(source->type == OBJT_SUPER && start >= info.start);
	slow->map->copying++;
	slow->source = info.object;
	vm_object_reference(slow->source);
	slow->source_offset = info.offset + (start - info.start);
	answer_init(&answer);
	if (object_create(&server->pool, slow->map->tenant, &server->pmap,
		OBJT_SUPER, frame, super_ready, slow, &slow->copy,
		&answer) != KERN_SUCCESS)
		super_refused(slow, &answer);
	else if (slow->copy->vm != NULL)
		super_copy(slow);
}
