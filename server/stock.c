/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>

#include "core/kassert.h"
#include "server/log.h"
#include "server/span.h"
#include "server/stock.h"

#define STOCK_TICK_MS   250
#define STOCK_IDLE_MS   2000 /* nobody asks, and something is lacking */
#define STOCK_REFILL_MS 20   /* not soon: see background_hold() */
#define STOCK_RATE      256  /* one request a tick */
#define STOCK_AHEAD     4    /* ticks whose requests are to be in stock */
#define STOCK_RISE      2    /* the average moves by 1/2 of the difference */
#define STOCK_FALL      32   /* ... or by 1/32: half of it in 6 seconds */

static struct pool *
pool_of(struct stock *stock)
{
	return (struct pool *)((char *)stock - offsetof(struct pool, stock));
}

static size_t
span_frames(const struct pool *pool, const struct span *span)
{
	return (size_t)((span->end - span->start) / pool->frame_size);
}

/* ---- Pure decisions ---------------------------------------------- */

bool
stock_fits(const struct contig_req *req, vm_paddr_t start, vm_paddr_t end,
    vm_paddr_t *pap)
{
	vm_paddr_t pa;

	start = MAX(start, req->low);
	end = MIN(end, req->high);
	pa = roundup2(start, req->alignment);
	if (req->boundary != 0 &&
	    ((pa ^ (pa + req->size - 1)) & -req->boundary) != 0)
		pa = roundup2(pa, MAX(req->boundary, req->alignment));
	if (pa < start || pa >= end || end - pa < req->size)
		return false; /* the first test also catches wrap-around */
	*pap = pa;
	return true;
}

/* An average that rises at once and falls slowly; never quite reaches 0. */
static unsigned
stock_average(unsigned rate, unsigned asked)
{
	unsigned now = MIN(asked, 1u << 20) * STOCK_RATE;

	if (now >= rate)
		return rate + (now - rate + STOCK_RISE - 1) / STOCK_RISE;
	return rate - (rate - now + STOCK_FALL - 1) / STOCK_FALL;
}

/* Spans to have of a class, if nothing else counted. */
static size_t
stock_wanted(const struct stock *stock, const struct stock_class *class)
{
	size_t n =
	    ((size_t) class->rate * STOCK_AHEAD + STOCK_RATE - 1) / STOCK_RATE;

	if (class->nframes == 1)
		n = MAX(n, stock->options.min);
	return n;
}

/* The smallest class with more than `above` frames, or NULL. */
static struct stock_class *
stock_next_class(struct stock *stock, size_t above)
{
	struct stock_class *next = NULL;

	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		struct stock_class *class = &stock->classes[i];

		if (class->nframes > above &&
		    (next == NULL || class->nframes < next->nframes))
			next = class;
	}
	return next;
}

/*
 * Share the stock's frames out: one span for each length that is asked for,
 * then what is wanted, the short ones first.
 */
static void
stock_aim(struct stock *stock)
{
	struct pool *pool = pool_of(stock);
	struct vm_phys_stats stats;
	struct stock_class *class;
	size_t left, spans = STOCK_SPANS_MAX;

	vm_phys_stats(pool->phys, &stats);
	stock->budget = (size_t)(stats.total / pool->frame_size) *
			stock->options.share / 100;
	left = stock->budget;
	for (class = NULL; (class = stock_next_class(stock,
				class == NULL ? 0 : class->nframes)) != NULL;) {
		class->target =
		    stock_wanted(stock, class) > 0 && class->nframes <= left;
		left -= class->target * class->nframes;
		spans -= class->target;
	}
	for (class = NULL; (class = stock_next_class(stock,
				class == NULL ? 0 : class->nframes)) != NULL;) {
		size_t more = stock_wanted(stock, class) - class->target;

		if (class->target == 0)
			continue;
		more = MIN(MIN(more, left / class->nframes), spans);
		class->target += more;
		left -= more * class->nframes;
		spans -= more;
	}
}

/* ---- Classes ----------------------------------------------------- */

static struct stock_class *
stock_class_find(struct stock *stock, size_t nframes)
{
	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		if (stock->classes[i].nframes == nframes)
			return &stock->classes[i];
	}
	return NULL;
}

/* The class of that length, in place of the least used empty one if new. */
static struct stock_class *
stock_class_get(struct stock *stock, size_t nframes)
{
	struct stock_class *class = stock_class_find(stock, nframes);
	struct stock_class *least = NULL;

	if (class != NULL)
		return class;
	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		class = &stock->classes[i];
		if (class->nready > 0 || class->nframes == 1)
			continue;
		if (least == NULL || class->rate < least->rate)
			least = class;
	}
	if (least == NULL)
		return NULL;
	*least = (struct stock_class){.nframes = nframes};
	TAILQ_INIT(&least->ready);
	return least;
}

/* ---- Making and dissolving --------------------------------------- */

/* It leaves the stock's shelves; its frames are still the stock's. */
static void
stock_unshelve(struct stock *stock, struct span *span)
{
	size_t nframes = span_frames(span->pool, span);
	struct stock_class *class = stock_class_find(stock, nframes);

	MPASS(class != NULL && class->nready > 0);
	TAILQ_REMOVE(&class->ready, span, entry);
	class->nready--;
	stock->nspans_ready--;
	stock->nframes_ready -= nframes;
}

static void
stock_dissolve(struct stock *stock, struct span *span)
{
	stock_unshelve(stock, span);
	stock->dissolved++;
	span_dissolve(span);
}

void
stock_gave(struct pool *pool, struct span *span)
{
	stock_unshelve(&pool->stock, span);
	stock_lost(pool, span);
	pool->stock.hits++;
}

void
stock_lost(struct pool *pool, struct span *span)
{
	struct stock *stock = &pool->stock;
	int rv = vm_phys_remove_seg(stock->runs, span->start, span->end);

	KASSERT(rv == KERN_SUCCESS, "a whole segment never needs memory");
	(void)rv;
	MPASS(stock->nframes >= span_frames(pool, span));
	stock->nframes -= span_frames(pool, span);
}

void
stock_made(struct pool *pool, struct span *span, int r)
{
	struct stock *stock = &pool->stock;
	size_t nframes = span_frames(pool, span);
	struct stock_class *class = stock_class_find(stock, nframes);

	MPASS(stock->making == span);
	stock->making = NULL;
	if (r < 0) {
		stock_lost(pool, span);
		return; /* the next tick tries again */
	}
	stock->made++;
	if (stock->unwanted || class == NULL) {
		stock->dissolved++;
		span_dissolve(span);
		return;
	}
	TAILQ_INSERT_HEAD(&class->ready, span, entry);
	class->nready++;
	stock->nspans_ready++;
	stock->nframes_ready += nframes;
	if (pool->waitq.n == 0 && !stock->stopped)
		event_active(stock->more, EV_TIMEOUT, 0);
}

/* What is lacking most, compared with what there should be. */
static struct stock_class *
stock_lacks(struct stock *stock)
{
	struct stock_class *most = NULL;

	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		struct stock_class *class = &stock->classes[i];

		if (class->nready >= class->target ||
		    stock->nframes + class->nframes > stock->budget)
			continue;
		if (most == NULL ||
		    class->nready * most->target < most->nready * class->target)
			most = class;
	}
	return most;
}

/* Make one more, unless somebody waits for frames. */
static void
stock_refill(void *arg)
{
	struct stock *stock = arg;
	struct pool *pool = pool_of(stock);
	struct stock_class *class;
	struct span *span;

	if (stock->stopped || stock->making != NULL || pool->waitq.n > 0 ||
	    pool->draining)
		return;
	class = stock_lacks(stock);
	if (class == NULL)
		return;
	span = span_prepare(pool, class->nframes);
	if (span == NULL)
		return; /* no frames for it, or no memory: at the next tick */
	if (vm_phys_add_seg(stock->runs, span->start, span->end, span->domain,
		span) != KERN_SUCCESS) {
		span_forget(span);
		return;
	}
	stock->nframes += class->nframes;
	stock->making = span;
	stock->unwanted = false;
	span_assemble(span);
}

static void
stock_more(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stock_refill(arg);
}

void
stock_poke(struct pool *pool)
{
	struct stock *stock = &pool->stock;

	if (stock->runs != NULL && !stock->stopped && stock->making == NULL &&
	    stock_lacks(stock) != NULL)
		event_active(stock->more, EV_TIMEOUT, 0);
}

/* One too many a tick goes, so that a pause does not empty the shelves. */
static void
stock_trim(struct stock *stock, struct stock_class *class)
{
	struct span *last;

	if (class->nready <= class->target + class->target / 4)
		return;
	for (size_t n = 1 + class->nready / 16; n > 0; n--) {
		last = TAILQ_LAST(&class->ready, stock_list);
		if (last == NULL || class->nready <= class->target)
			return;
		stock_dissolve(stock, last);
	}
}

static void
stock_ticked(void *arg)
{
	struct stock *stock = arg;
	bool asked = false, lacks = false;

	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		struct stock_class *class = &stock->classes[i];

		class->rate = stock_average(class->rate, class->asked);
		class->asked = 0;
		asked = asked || class->rate > 0;
	}
	stock_aim(stock);
	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		struct stock_class *class = &stock->classes[i];

		stock_trim(stock, class);
		lacks = lacks || class->nready != class->target;
	}
	stock_refill(stock);
	if (!stock->stopped && (asked || lacks))
		ticker_arm(&stock->tick,
		    asked ? stock->options.tick_ms : STOCK_IDLE_MS);
}

/* ---- Demand ------------------------------------------------------ */

/*
 * Is it still what it was when it was made?  Nobody has seen it, so only the
 * kernel can have moved it; with a long-term pin not even that.
 */
static bool
stock_is_sound(const struct pool *pool, struct span *span)
{
	const struct arch *arch = pool->arch;
	size_t nbad = 0;

	return span->info.pin == ARCH_PIN_LONGTERM ||
	       (arch->ops->span_verify(arch->ctx, span->frames, &nbad) == 0 &&
		   nbad == 0);
}

void
stock_discard(struct pool *pool, struct span *span)
{
	log_warn("stock_moved", "frames=%zu", span_frames(pool, span));
	stock_dissolve(&pool->stock, span);
}

struct span *
stock_find(struct pool *pool, const struct contig_req *req, bool again)
{
	struct stock *stock = &pool->stock;
	vm_size_t size = roundup2(req->size, pool->frame_size);
	struct stock_class *class;
	struct span *span, *next;
	vm_paddr_t pa;

	if (stock->runs == NULL || stock->stopped ||
	    size > STOCK_FRAMES_MAX * pool->frame_size)
		return NULL;
	class = stock_class_get(stock, (size_t)(size / pool->frame_size));
	if (class == NULL)
		return NULL;
	class->asked += !again;
	ticker_arm(&stock->refill, STOCK_REFILL_MS);
	ticker_arm(&stock->tick, stock->options.tick_ms);
	for (span = TAILQ_FIRST(&class->ready); span != NULL; span = next) {
		next = TAILQ_NEXT(span, entry);
		if ((req->domain >= 0 && req->domain != span->domain) ||
		    !stock_fits(req, span->start, span->end, &pa))
			continue;
		if (stock_is_sound(pool, span))
			return span;
		stock_discard(pool, span);
	}
	stock->misses += !again;
	return NULL;
}

struct span *
stock_next_ready(struct pool *pool, vm_paddr_t pa)
{
	struct vm_phys_run seg;

	if (pool->stock.runs == NULL)
		return NULL;
	for (; vm_phys_next_seg(pool->stock.runs, pa, &seg); pa = seg.end) {
		struct span *span = seg.owner;

		if (span->state == SPAN_READY)
			return span;
	}
	return NULL;
}

/* ---- Everything that is nobody's --------------------------------- */

/* The first run of either book that ends above `pa`. */
static bool
stock_next_piece(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp)
{
	struct vm_phys_run ready;
	bool found = vm_phys_next_free(pool->phys, pa, runp);

	if (pool->stock.runs != NULL &&
	    vm_phys_next_seg(pool->stock.runs, pa, &ready) &&
	    (!found || ready.start < runp->start)) {
		*runp = ready;
		found = true;
	}
	return found;
}

bool
stock_next_free(struct pool *pool, vm_paddr_t pa, struct vm_phys_run *runp)
{
	struct vm_phys_run piece;

	if (!stock_next_piece(pool, pa, runp))
		return false;
	while (runp->start > 0 &&
	       stock_next_piece(pool, runp->start - 1, &piece) &&
	       piece.end == runp->start && piece.domain == runp->domain)
		runp->start = piece.start;
	while (stock_next_piece(pool, runp->end, &piece) &&
	       piece.start == runp->end && piece.domain == runp->domain)
		runp->end = piece.end;
	return true;
}

vm_size_t
stock_largest_run(struct pool *pool)
{
	struct vm_phys_stats stats;
	struct vm_phys_run seg, run;
	vm_size_t largest;
	vm_paddr_t pa = 0;

	vm_phys_stats(pool->phys, &stats);
	largest = stats.largest_run;
	if (pool->stock.runs == NULL)
		return largest;
	while (vm_phys_next_seg(pool->stock.runs, pa, &seg)) {
		if (!stock_next_free(pool, seg.start, &run))
			break;
		largest = MAX(largest, run.end - run.start);
		pa = run.end;
	}
	return largest;
}

/* ---- Making room ------------------------------------------------- */

/* Frames of the stock in [start, end). */
static size_t
stock_count(struct pool *pool, vm_paddr_t start, vm_paddr_t end)
{
	struct vm_phys_run seg;
	vm_size_t bytes = 0;

	for (vm_paddr_t pa = start;
	     vm_phys_next_seg(pool->stock.runs, pa, &seg) && seg.start < end;
	     pa = seg.end)
		bytes += MIN(seg.end, end) - MAX(seg.start, start);
	return (size_t)(bytes / pool->frame_size);
}

/* Where `req` costs the fewest spans of the stock; 0: nowhere. */
static size_t
stock_place(struct pool *pool, const struct contig_req *req, vm_paddr_t *startp,
    vm_paddr_t *endp)
{
	struct vm_phys_run run;
	vm_paddr_t pa;
	size_t best = 0;

	for (vm_paddr_t at = req->low;
	     stock_next_free(pool, at, &run) && run.start < req->high;
	     at = run.end) {
		vm_paddr_t start, end;
		size_t n;

		if ((req->domain >= 0 && req->domain != run.domain) ||
		    !stock_fits(req, run.start, run.end, &pa))
			continue;
		start = rounddown2(pa, pool->frame_size);
		end = roundup2(pa + req->size, pool->frame_size);
		n = stock_count(pool, start, end);
		if (n == 0 || (best != 0 && n >= best))
			continue;
		best = n;
		*startp = start;
		*endp = end;
	}
	return best;
}

size_t
stock_dissolve_for(struct pool *pool, const struct contig_req *req)
{
	struct stock *stock = &pool->stock;
	vm_paddr_t start = 0, end = 0;
	struct vm_phys_run seg;
	size_t n;

	if (stock->runs == NULL || stock->nframes == 0)
		return 0;
	n = stock_place(pool, req, &start, &end);
	if (n == 0)
		return 0;
	for (vm_paddr_t pa = start;
	     vm_phys_next_seg(stock->runs, pa, &seg) && seg.start < end;
	     pa = seg.end) {
		struct span *span = seg.owner;

		if (span->state == SPAN_READY)
			stock_dissolve(stock, span);
		else if (span == stock->making)
			stock->unwanted = true;
	}
	log_debug("stock_dissolved", "frames=%zu", n);
	return n;
}

void
stock_dissolve_all(struct pool *pool)
{
	struct stock *stock = &pool->stock;
	struct span *span;

	stock->unwanted = true;
	for (size_t i = 0; i < STOCK_CLASSES; i++) {
		while ((span = TAILQ_FIRST(&stock->classes[i].ready)) != NULL)
			stock_dissolve(stock, span);
	}
}

/* ---- Life -------------------------------------------------------- */

int
stock_init(struct stock *stock, struct pool *pool, struct event_base *base,
    const struct stock_options *options)
{
	int r;

	*stock = (struct stock){.options = *options};
	if (options->tick_ms == 0)
		stock->options.tick_ms = STOCK_TICK_MS;
	for (size_t i = 0; i < STOCK_CLASSES; i++)
		TAILQ_INIT(&stock->classes[i].ready);
	if (pool->phys == NULL || options->share == 0)
		return 0;
	stock->classes[0].nframes = 1;
	stock->runs =
	    vm_phys_create(pool->arch, pool->arch->machine->page_size);
	stock->more = event_new(base, -1, 0, stock_more, stock);
	if (stock->runs == NULL || stock->more == NULL)
		return error_origin(-ENOMEM);
	r = ticker_init(&stock->tick, base, stock_ticked, stock);
	if (r == 0)
		r = ticker_init(&stock->refill, base, stock_refill, stock);
	if (r == 0 && options->min > 0)
		ticker_arm(&stock->tick, stock->options.tick_ms);
	return r;
}

void
stock_stop(struct pool *pool)
{
	struct stock *stock = &pool->stock;

	stock->stopped = true;
	if (stock->runs == NULL)
		return;
	ticker_disarm(&stock->tick);
	ticker_disarm(&stock->refill);
	stock_dissolve_all(pool);
}

void
stock_fini(struct stock *stock)
{
	struct span *span = stock->making;

	if (span != NULL) {
		stock_lost(span->pool, span);
		span_forget(span);
	}
	for (size_t i = 0; i < STOCK_CLASSES && stock->runs != NULL; i++) {
		while ((span = TAILQ_FIRST(&stock->classes[i].ready)) != NULL) {
			stock_unshelve(stock, span);
			stock_lost(span->pool, span);
			span_forget(span);
		}
	}
	ticker_fini(&stock->tick);
	ticker_fini(&stock->refill);
	if (stock->more != NULL)
		event_free(stock->more);
	if (stock->runs != NULL)
		vm_phys_destroy(stock->runs);
	*stock = (struct stock){0};
}
