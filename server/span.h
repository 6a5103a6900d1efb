/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A span in the daemon: whole frames that belong to one tenant, or to the
 * stock until somebody asks for them.
 *
 *	ASSEMBLING --> LIVE --> RECYCLING --> gone
 *	   |   |        ^        ^  |  ^
 *	   |   v        |        |  v  |
 *	   | READY -----+--------+ LIMBO
 *	   +--> gone (failed)
 *
 * Its addresses are known from the start, so it can be lent to the tenant's
 * arena and allocated from while a worker still assembles it; what needs the
 * memfd waits.  It lives as long as it has users, of which the arena is one,
 * and pays for its bytes and its descriptor until its frames are back in the
 * pool.  Loop thread only.
 * Design: docs/design/server.md.
 */

#include <stdbool.h>

#include "server/pool.h"
#include "server/tenant.h"
#include "server/worker.h"

enum span_state {
	SPAN_ASSEMBLING,
	SPAN_READY, /* in stock, nobody's */
	SPAN_LIVE,
	SPAN_RECYCLING,
	SPAN_LIMBO,
};

struct span_waiter {
	TAILQ_ENTRY(span_waiter) entry;
	/* r: 0, or what span_assemble() answered; then the span is gone. */
	void (*ready)(struct span_waiter *waiter, int r);
	bool waiting;
};

struct span {
	TAILQ_ENTRY(span) entry; /* in limbo, or in stock */
	TAILQ_ENTRY(span) all;   /* of tenants, by serial */
	uint64_t serial;
	struct pool *pool;
	struct tenant *tenant; /* NULL: the stock's */
	enum span_state state;
	uint64_t id; /* within the tenant */
	vm_paddr_t start, end;
	int domain;
	unsigned users;
	bool in_arena;  /* lent to the tenant's arena, which uses it */
	unsigned ncut;  /* buffers that are cut from it there */
	bool shown;     /* its memfd was given to a client */
	bool withheld;  /* it has been in limbo */
	unsigned nheld; /* buffers of it that are quarantined */
	size_t ntampered, npoisoned;       /* frames known to be so */
	vm_paddr_t dirty_start, dirty_end; /* may hold a buffer's old bytes */
	vm_paddr_t bad_start, bad_end;     /* all frames whose memory is bad */
	struct arch_span *frames;          /* NULL while assembling */
	struct arch_span_info info;        /* once live */
	struct quota_charge bytes, fd;
	TAILQ_HEAD(span_waiter_list, span_waiter) waiters;
	struct job job;
	int r;          /* of the job */
	size_t nbad;    /* of the job: frames that were not where they were */
	size_t nbadmem; /* of the job: frames whose memory is bad */
};

/*
 * Take a ready-made span for `req`, which is live at once, or frames that
 * satisfy it, and start assembling.  `self` waits for it, or might.  One user:
 * the caller.  With `share` what it has beyond req->size is for the tenant's
 * other buffers: then its run is in the tenant's arena, all of it free.
 * REFUSED_QUOTA, REFUSED_NO_POOL, KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE: see
 * the sentence.
 */
int span_new(struct span **spanp, struct pool *pool, const struct waiter *self,
    const struct contig_req *req, bool share, struct answer *answer);

/*
 * true: frames or quota may come back by themselves, so that a request that
 * span_new() refused is worth another try.
 */
bool span_may_come(const struct pool *pool, const struct tenant *tenant);

/*
 * For the stock: take the frames of a span of `nframes` for nobody (NULL:
 * none, or no memory); then either assemble it, which ends in stock_made(), or
 * forget it.  What is READY is dissolved, which ends in stock_lost().
 */
struct span *span_prepare(struct pool *pool, size_t nframes);
void span_assemble(struct span *span);
void span_forget(struct span *span);
void span_dissolve(struct span *span);

void span_use(struct span *span);
/* The last one sends the frames back to the pool. */
void span_unuse(struct span *span);

/* Wait until an assembling span is live, or has failed. */
void span_wait(struct span *span, struct span_waiter *waiter);
void span_unwait(struct span *span, struct span_waiter *waiter);

/* So many of its frames were found changed, and poisoned: record what is new.
 */
void span_note_bad(struct span *span, size_t nbad, size_t npoisoned);
/* No new buffers in it: its holder punched or moved its frames. */
void span_taint(struct span *span);

/* An arena for a tenant, of spans of the pool.  NULL: no memory. */
struct vm_arena *span_arena_new(const struct pool *pool);
/*
 * A buffer for `req` in the arena's own spans: *spanp gets a user.
 * Codes as vm_arena_alloc() has them.
 */
int span_cut(struct tenant *tenant, const struct contig_req *req,
    struct span **spanp, vm_paddr_t *pap);
/*
 * Give the cut of a span back, and be its user no more.  `keep`: the span may
 * stay in the arena for the next one, though this was the last.
 */
void span_uncut(struct span *span, vm_paddr_t pa, vm_size_t size, bool keep);
/* A buffer [start, end) of it was freed and keeps its bytes. */
void span_soil(struct span *span, vm_paddr_t start, vm_paddr_t end);

/* Try again to get back what was withheld. */
void span_retry_limbo(struct pool *pool);
/* At the end: forget spans in limbo and what they are charged for. */
void span_abandon_limbo(struct pool *pool);
