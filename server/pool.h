/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The host's pool: the books over every frame that the daemon holds.
 *
 * A vm_phys at page grain whose allocated parts are whole frames: what is free
 * in it is in the standby, what is not belongs to a span.  Frames come and go
 * on their own; the back end's events tell, and are applied here as soon as
 * the books allow.  Big frames, where the back end has them, have books of
 * their own: large requests are served from them first, all others last, and
 * those move the big frame into the books of the others, for the back end to
 * take it apart when it assembles the span.  Loop thread only.
 * Design: docs/design/server.md, docs/design/resize.md.
 */

#include <stdbool.h>
#include <sys/queue.h>

#include "arch/arch.h"
#include "core/vm_phys.h"
#include "server/reclaim.h"
#include "server/status.h"
#include "server/stock.h"
#include "server/waitq.h"

struct event;
struct event_base;
struct span;
struct tenant;
struct workers;
struct resize;

struct pool_options {
	vm_size_t max; /* bytes it may grow to; 0: what it began with */
	vm_size_t min; /* bytes that shrinking leaves */
	unsigned idle; /* frames that each tenant may keep idle; 0: none */
	/*
	 * May be NULL.  Told before (true) and after (false) anything that
	 * may change the kernel's nr_hugepages.
	 */
	void (*note)(void *arg, bool begins);
	void *note_arg;
};

struct pool {
	const struct arch *arch;
	struct workers *workers;
	struct vm_phys *phys; /* NULL: no pool */
	vm_size_t frame_size; /* bytes; 0: no pool */
	struct vm_phys *big;  /* big frames; NULL: none */
	vm_size_t big_size;   /* bytes */
	struct pool_options options;
	bool draining; /* no new allocations: an operator said so */
	TAILQ_HEAD(resize_list, resize) resizes; /* the first is under way */
	TAILQ_HEAD(span_list, span) limbo;
	struct event *limbo_timer;
	unsigned limbo_ms;  /* until the next try */
	struct waitq waitq; /* who waits for frames */
	struct stock stock; /* ready-made spans */
	struct reclaim reclaim;
	TAILQ_HEAD(, span) spans;     /* of tenants, by serial */
	TAILQ_HEAD(, tenant) tenants; /* that have an arena */
	uint64_t last_serial;
	size_t nspans;      /* of tenants, whatever their state */
	size_t nrecycling;  /* on a worker, on their way back */
	uint64_t nrecycled; /* that came back, or went to limbo, ever */
	size_t nlimbo_frames;
	struct arch_event *late; /* events that the books do not allow yet */
	size_t nlate, late_max;
	/* Told when a frame went missing, or an event was put off. */
	void (*lacks)(void *arg);
	void *lacks_arg;
	uint64_t ntampered; /* frames that holders changed, ever */
	uint64_t npoisoned; /* frames whose memory went bad, ever */
	bool closing;       /* spans in limbo are not retried for ever */
};

/* Take stock of the standby.  -errno. */
int pool_init(struct pool *pool, const struct arch *arch,
    struct workers *workers, struct event_base *base,
    const struct pool_options *options);
/* Every span is gone or in limbo.  Zeroed memory is fine. */
void pool_fini(struct pool *pool);

/* Apply what the back end has to tell; after each call that may add to it. */
void pool_drain_events(struct pool *pool);

/*
 * Take the whole frames around a run that satisfies `req`: [*startp, *endp).
 * KERN_NO_SPACE: there is no such run.  KERN_RESOURCE_SHORTAGE.
 */
int pool_take(struct pool *pool, const struct contig_req *req,
    vm_paddr_t *startp, vm_paddr_t *endp, int *domainp);
/* Give whole frames back. */
void pool_give(struct pool *pool, vm_paddr_t start, vm_paddr_t end);

/* Of frames and big frames together. */
void pool_stats(const struct pool *pool, struct vm_phys_stats *statsp);
/* The first segment that ends above `pa`; *bigp: of big frames. */
bool pool_next_seg(const struct pool *pool, vm_paddr_t pa,
    struct vm_phys_run *runp, bool *bigp);

/*
 * The big frame at `pa`, which is free, is frames from now on.
 * KERN_RESOURCE_SHORTAGE: no memory for the records.
 */
int pool_demote(struct pool *pool, vm_paddr_t pa);

/* Tell whoever keeps account of nr_hugepages: before, and after. */
void pool_note(const struct pool *pool, bool begins);
/* Bytes that it may still grow by. */
vm_size_t pool_room(const struct pool *pool);

/*
 * Have what tenants keep idle come back, all of it or one tenant's; bytes that
 * are on their way.
 */
vm_size_t pool_call_idle(struct pool *pool, struct tenant *only);
/* Bytes that they keep so. */
vm_size_t pool_idle(const struct pool *pool);

/*
 * Refuse new allocations, and dissolve what is in stock or kept idle; or no
 * more.
 */
void pool_drain(struct pool *pool, bool on);

/* The numbers of domains, a bit each, as text: "0, 2". */
#define POOL_DOMAINS_TEXT (4 * VM_PHYS_DOMAINS)
void pool_domains_text(uint32_t domains, char text[POOL_DOMAINS_TEXT]);

/*
 * Say why pool_take() found nothing: which argument stands in the way, and
 * what it would have to be.  Names addresses, and limits that tell of them,
 * only if `tell`.
 */
int pool_refuse(struct pool *pool, const struct contig_req *req, bool tell,
    struct answer *answer);

/* Frames may have come: let those who wait try again, soon. */
void pool_wake(struct pool *pool);
