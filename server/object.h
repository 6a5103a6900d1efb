/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A vm_object of a tenant and what backs it: a file of base pages, or a span.
 *
 * It lives while its vm_object has references: the session that made it, and
 * the entries that show it.  Loop thread only.  Design: docs/design/server.md.
 */

#include "core/vm_object.h"
#include "server/extent.h"
#include "server/span.h"

struct object {
	vm_object_t vm; /* its handle is this; NULL until it is complete */
	enum obj_type type;
	vm_size_t size;  /* bytes */
	uint64_t number; /* within the tenant, for entries */
	struct pool *pool;
	struct tenant *tenant;
	struct span *span;    /* OBJT_SUPER */
	int base_fd;          /* OBJT_SWAP, once somebody asked; or -1 */
	struct extent extent; /* OBJT_SWAP of an anonymous entry */
	bool shared;          /* a fork shows it twice */
	struct quota_charge charge, request, fd, bytes;
	unsigned tries;
	struct pmap *pmap; /* borrowed */
	struct span_waiter span_waiter;
	struct waiter waiter; /* for frames on their way */
	struct contig_req req;
	struct reclaim_try reclaim;
	/* As struct buffer has it; on a refusal the callee calls
	 * object_drop(). */
	void (*ready)(struct object *object, struct answer *answer);
	void *owner;
};

/*
 * Create one.  On KERN_SUCCESS *objectp is the caller's reference: complete
 * (object->vm is set) or going to be.
 */
int object_create(struct pool *pool, struct tenant *tenant, struct pmap *pmap,
    enum obj_type type, vm_size_t size,
    void (*ready)(struct object *object, struct answer *answer), void *owner,
    struct object **objectp, struct answer *answer);

/*
 * The object of one anonymous entry of a mirrored map, with an extent of its
 * file; complete, with the caller's reference.
 */
int object_create_anon(struct tenant *tenant, struct pmap *pmap,
    struct map_file *file, vm_size_t size, struct object **objectp,
    struct answer *answer);

/* Drop the caller's reference, whatever the state. */
void object_drop(struct object *object);

/* The server's half of a vm_object, or NULL where there is none. */
struct object *object_of(vm_object_t vm);

/*
 * The descriptor of what backs it, made if need be.  Still the object's.
 * -EDQUOT: a limit of the tenant; -errno.
 */
int object_fd(struct object *object, const struct arch *arch, int *fdp);

/*
 * Where byte `offset` of it is.  *fdp is -1 where nobody has asked for a file
 * yet, or there is none (invented memory).
 */
void object_place(const struct object *object, uint64_t offset, int *fdp,
    uint64_t *placep);
