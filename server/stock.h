/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Ready-made spans: assembled, zeroed, pinned and read back in idle time, so
 * that the usual request costs one round trip.
 *
 * For each length in frames that is asked for there is an average of how often
 * (it rises at once and falls slowly), and from it the number of spans to
 * have.  The stock as a whole is a share of the pool at most.  It belongs to
 * nobody: for everybody who asks, its frames count as free, and whatever
 * stands in the way of a request is dissolved first.  Loop thread only.
 * Design: docs/design/stock.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/vm_phys.h"
#include "server/ticker.h"

struct arch;
struct event;
struct event_base;
struct pool;
struct span;

#define STOCK_CLASSES    16   /* lengths that are remembered */
#define STOCK_FRAMES_MAX 32   /* in a span of the stock */
#define STOCK_SPANS_MAX  1024 /* each holds a descriptor and a pin */

TAILQ_HEAD(stock_list, span);

struct stock_options {
	unsigned share;   /* per cent of the pool's frames; 0: no stock */
	unsigned min;     /* spans of one frame, even if nobody asks */
	unsigned tick_ms; /* how often to average; 0: 250 */
};

/* Spans of one length. */
struct stock_class {
	size_t nframes; /* 0: unused */
	unsigned asked; /* times since the last tick */
	unsigned rate;  /* average a tick, in 256ths */
	size_t target;  /* spans to have */
	size_t nready;
	struct stock_list ready; /* the one made last first */
};

struct stock {
	struct stock_options options;
	struct vm_phys *runs; /* of its spans, ready or not: as segments */
	struct ticker tick;   /* while there is anything to average */
	struct ticker refill; /* soon after something was taken */
	struct event *more;   /* now: something is lacking */
	size_t budget;        /* frames it may have */
	size_t nframes;       /* in its spans, whatever their state */
	size_t nframes_ready, nspans_ready;
	struct span *making; /* at most one at a time */
	bool unwanted;       /* that one: dissolve it when it is made */
	bool stopped;
	uint64_t hits, misses, made, dissolved;
	struct stock_class classes[STOCK_CLASSES];
};

/* Zeroed until then: no stock.  -errno. */
int stock_init(struct stock *stock, struct pool *pool, struct event_base *base,
    const struct stock_options *options);
/* Frames came back: fill up, if anything is lacking. */
void stock_poke(struct pool *pool);
/* Dissolve everything, make nothing more. */
void stock_stop(struct pool *pool);
/* After the workers are gone.  Zeroed memory is fine. */
void stock_fini(struct stock *stock);

/*
 * A ready span of exactly the frames that `req` needs, in a place that
 * satisfies it, or NULL.  It is the caller's, in the state SPAN_READY; its
 * frames are still the stock's until stock_gave().  Counts the demand, unless
 * the request is tried `again`.
 */
struct span *stock_find(struct pool *pool, const struct contig_req *req,
    bool again);
void stock_gave(struct pool *pool, struct span *span);

/*
 * Dissolve what stands in the way of `req`: where there would be room for it
 * without the stock.  Returns the frames that are on their way, or will be.
 */
size_t stock_dissolve_for(struct pool *pool, const struct contig_req *req);
void stock_dissolve_all(struct pool *pool);

/*
 * The first ready span that ends above `pa`, or NULL; and one that is not what
 * it was made any more: it goes.
 */
struct span *stock_next_ready(struct pool *pool, vm_paddr_t pa);
void stock_discard(struct pool *pool, struct span *span);

/*
 * From span.c: one was made (r: 0, or -errno and it goes); a dissolved one is
 * the stock's no more.
 */
void stock_made(struct pool *pool, struct span *span, int r);
void stock_lost(struct pool *pool, struct span *span);

/*
 * What belongs to nobody, ready-made or not: the first such run that ends
 * above `pa`, as vm_phys_next_free() has it.
 */
bool stock_next_free(struct pool *pool, vm_paddr_t pa,
    struct vm_phys_run *runp);
/* The largest of them, bytes. */
vm_size_t stock_largest_run(struct pool *pool);

/* Is there a place in [start, end) for `req`?  Domains are not looked at. */
bool stock_fits(const struct contig_req *req, vm_paddr_t start, vm_paddr_t end,
    vm_paddr_t *pap);
