/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * contigmalloc(9) for tenants: buffers cut from spans.
 *
 * A request is first tried in the tenant's arena; then a ready-made span, or
 * whole frames around a satisfying run, become a new span.  What needs a worker
 * (assembling, zeroing, reading addresses back) makes the buffer wait, and its
 * owner is told.  Where there are no frames it waits for those on their way,
 * and with M_WAITOK in a queue until there are.  Loop thread only.
 * Design: docs/design/server.md, docs/design/stock.md.
 */

#include "server/quarantine.h"
#include "server/span.h"

/* A request, its constraints as contigmalloc(9) has them. */
struct contig_params {
	struct contig_req req; /* checked by contig_alloc() */
	/* Without a mask req.domain says it; else that is not looked at. */
	struct domainset domains;
	uint32_t flags;   /* M_* */
	const char *type; /* name of the malloc type; borrowed */
	bool device;      /* quarantine it after its owner's death */
	/* With M_WAITOK: refuse it after so long; 0: never. */
	uint64_t deadline_ms;
	const struct session *asker; /* not asked for memory; may be NULL */
};

enum buffer_state {
	BUFFER_STARVED,   /* waits in the pool's queue */
	BUFFER_WAITING,   /* for its span to be assembled */
	BUFFER_PREPARING, /* a worker zeroes or reads back */
	BUFFER_LIVE,
	BUFFER_ORPHAN, /* freed while a worker was at it */
};

struct buffer {
	enum buffer_state state;
	struct pool *pool;
	struct tenant *tenant;
	struct tenant_type *type;
	struct span *span; /* one of its users; NULL while starved */
	bool cut;          /* from it in the tenant's arena, not all of it */
	struct contig_req req; /* its domain: the one tried, or taken */
	struct domainset domains;
	bool device;
	struct quarantined held; /* while it is quarantined */
	uint32_t flags;
	unsigned tries;
	vm_paddr_t pa;
	vm_size_t size; /* bytes, whole pages */
	struct quota_charge charge, request;
	struct span_waiter span_waiter;
	struct waiter waiter;
	struct reclaim_try reclaim;
	struct event *deadline; /* owned; NULL: none */
	uint64_t deadline_ms;
	struct job job;
	int r; /* of the job */
	size_t nbad;
	vm_size_t zero_offset, zero_size; /* bytes of the span to clear */
	/*
	 * Called once, on the loop, if the buffer was not live when
	 * contig_alloc() returned.  On a refusal the callee frees the buffer.
	 */
	void (*ready)(struct buffer *buffer, struct answer *answer);
	void *owner; /* for `ready` */
};

/*
 * Allocate.  On KERN_SUCCESS *bufferp is the caller's: live, or going to be.
 * KERN_INVALID_ARGUMENT, KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE, REFUSED_QUOTA,
 * REFUSED_NO_POOL: nothing has changed.  REFUSED_TIMED_OUT comes later only.
 */
int contig_alloc(struct pool *pool, struct tenant *tenant,
    struct event_base *base, const struct contig_params *params,
    void (*ready)(struct buffer *buffer, struct answer *answer), void *owner,
    struct buffer **bufferp, struct answer *answer);

/* Give it back, whatever its state; `ready` will not be called any more. */
void contig_free(struct buffer *buffer);

/* It is not live: refuse it now, through `ready`, with REFUSED_CANCELLED. */
void contig_cancel(struct buffer *buffer);

/* Where it begins in its span's memfd, bytes. */
static inline vm_size_t
buffer_offset(const struct buffer *buffer)
{
	return buffer->pa - buffer->span->start;
}
