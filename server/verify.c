/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/contig.h"
#include "server/dispatch.h"
#include "server/log.h"
#include "server/memory.h"

#define SLICE_FRAMES 4096 /* about 4 ms on a worker */
#define SLICE_SPANS  64
#define READY_FRAMES 128 /* about 0.1 ms on the loop */
#define BAD_MAX      64  /* spans in a reply */

/* A part of a span that one job reads. */
struct slice {
	struct span *span; /* used by us */
	size_t first, n;   /* frames, of the span's own size */
	size_t at;         /* their states begin there */
	int r;
};

struct bad_span {
	const struct tenant *tenant;
	uint64_t id;
	size_t nframes, nbad, npoisoned;
	vm_paddr_t pa;
};

struct verify {
	TAILQ_ENTRY(verify) entry;
	struct server *server;
	const struct tenant *only; /* NULL: of every tenant */
	struct call *owner;        /* NULL: gone, or the daemon itself */
	uint64_t last_serial;      /* of the last span to look at */
	struct span *at;           /* the pass has come to here; used by us */
	size_t at_frame;           /* and to here in it; 0: it is through */
	size_t nbad, npoisoned;    /* of the span it is in */
	struct job job;
	struct slice slices[SLICE_SPANS];
	size_t nslices;
	vm_paddr_t ready_from; /* the stock has been read up to here */
	unsigned char states[SLICE_FRAMES];
	/* What was found. */
	uint64_t nspans, nframes, nmismatches, nallpoisoned, nunread;
	uint64_t nready, nready_frames, nready_bad, nready_poisoned;
	struct bad_span bad[BAD_MAX];
	size_t nbads;
};

int
span_count(const struct arch *arch, struct arch_span *frames, size_t n,
    size_t *nbadp, size_t *npoisonedp)
{
	unsigned char states[512];
	size_t nbad = 0, npoisoned = 0;
	int r;

	for (size_t i = 0, some; i < n; i += some) {
		some = MIN(n - i, sizeof(states));
		r = arch->ops->span_check(arch->ctx, frames, i, some, states);
		if (r < 0)
			return r;
		for (size_t k = 0; k < some; k++) {
			nbad += states[k] == ARCH_FRAME_ELSEWHERE;
			npoisoned += states[k] == ARCH_FRAME_POISONED;
		}
	}
	*nbadp = nbad;
	*npoisonedp = npoisoned;
	return 0;
}

/* ---- Telling ----------------------------------------------------- */

static void
tell_session(struct session *session, const struct span *span, vm_paddr_t start,
    vm_paddr_t end)
{
	uint64_t id = 0;
	void *object;

	while (idtable_next(&session->ids, ID_BUFFER, id, &id, &object)) {
		const struct buffer *buffer = object;
		vm_paddr_t from = MAX(buffer->pa, start);
		vm_paddr_t to = MIN(buffer->pa + buffer->size, end);

		if (buffer->span == span && from < to)
			session_send_lost(session, id, from - buffer->pa,
			    to - from);
		id++; /* the index is in its low bits */
	}
}

/* Of its maps, which may be another tenant's. */
static void
tell_of_maps(struct session *session, enum id_kind kind,
    const struct span *span, vm_paddr_t start, vm_paddr_t end)
{
	uint64_t id = 0;
	void *map;

	while (idtable_next(&session->ids, kind, id, &id, &map)) {
		map_tell_lost(map, session, id, span, start, end);
		id++; /* the index is in its low bits */
	}
}

/* Everybody who holds a buffer over that frame, or a map that shows it. */
static void
tell_holders(struct server *server, struct span *span, size_t frame)
{
	vm_paddr_t start = span->start + frame * span->info.frame_size;
	vm_paddr_t end = start + span->info.frame_size;
	struct session *session, *next;
	bool first = span->bad_start == span->bad_end;

	span->bad_start = first ? start : MIN(span->bad_start, start);
	span->bad_end = first ? end : MAX(span->bad_end, end);
	for (session = TAILQ_FIRST(&server->sessions); session != NULL;
	     session = next) {
		next = TAILQ_NEXT(session, entry); /* telling may doom it */
		if (session->tenant == span->tenant)
			tell_session(session, span, start, end);
		tell_of_maps(session, ID_MAP, span, start, end);
		tell_of_maps(session, ID_MAP_READ, span, start, end);
	}
}

/* ---- One slice --------------------------------------------------- */

static void
verify_run(struct job *job)
{
	struct verify *verify =
	    (struct verify *)((char *)job - offsetof(struct verify, job));
	const struct arch *arch = verify->server->arch;

	for (size_t i = 0; i < verify->nslices; i++) {
		struct slice *slice = &verify->slices[i];

		slice->r = arch->ops->span_check(arch->ctx, slice->span->frames,
		    slice->first, slice->n, &verify->states[slice->at]);
	}
}

/* The pass has come to the end of the span. */
static void
verify_span_end(struct verify *verify, struct span *span)
{
	size_t nbad = verify->nbad, npoisoned = verify->npoisoned;

	verify->nbad = verify->npoisoned = 0;
	verify->nspans++;
	span_note_bad(span, nbad, npoisoned);
	if (nbad == 0 && npoisoned == 0)
		return;
	span_taint(span);
	if (verify->nbads == BAD_MAX)
		return;
	verify->bad[verify->nbads++] = (struct bad_span){
	    .tenant = span->tenant,
	    .id = span->id,
	    .nframes = span->info.nframes,
	    .nbad = nbad,
	    .npoisoned = npoisoned,
	    .pa = span->start,
	};
}

static void
verify_settle(struct verify *verify, const struct slice *slice)
{
	struct span *span = slice->span;

	if (slice->r < 0) {
		verify->nunread++;
		verify->nbad = verify->npoisoned = 0;
		return;
	}
	verify->nframes += slice->n;
	for (size_t i = 0; i < slice->n; i++) {
		switch ((enum arch_frame_state)verify->states[slice->at + i]) {
		case ARCH_FRAME_SOUND:
			break;
		case ARCH_FRAME_ELSEWHERE:
			verify->nbad++;
			verify->nmismatches++;
			break;
		case ARCH_FRAME_POISONED:
			verify->npoisoned++;
			verify->nallpoisoned++;
			/* Once: the next passes find as many as are known. */
			if (verify->npoisoned > span->npoisoned)
				tell_holders(verify->server, span,
				    slice->first + i);
			break;
		}
	}
	if (slice->first + slice->n == span->info.nframes)
		verify_span_end(verify, span);
}

/* ---- The pass ---------------------------------------------------- */

static bool
verify_wants(const struct verify *verify, const struct span *span)
{
	return span->state == SPAN_LIVE &&
	       (verify->only == NULL || span->tenant == verify->only);
}

/* The next span it wants after `span` (NULL: of all). */
static struct span *
verify_next_span(const struct verify *verify, struct span *span)
{
	span = span == NULL ? TAILQ_FIRST(&verify->server->pool.spans)
			    : TAILQ_NEXT(span, all);
	while (span != NULL && span->serial <= verify->last_serial &&
	       !verify_wants(verify, span))
		span = TAILQ_NEXT(span, all);
	return span != NULL && span->serial <= verify->last_serial ? span
								   : NULL;
}

/* Fill in the slices of the next job; false: that was all. */
static bool
verify_fill(struct verify *verify)
{
	struct span *span = verify->at_frame != 0
				? verify->at
				: verify_next_span(verify, verify->at);
	size_t nframes = 0;

	verify->nslices = 0;
	while (span != NULL && verify->nslices < SLICE_SPANS &&
	       nframes < SLICE_FRAMES) {
		struct slice *slice = &verify->slices[verify->nslices++];

		*slice = (struct slice){
		    .span = span,
		    .first = verify->at_frame,
		    .n = MIN(span->info.nframes - verify->at_frame,
			SLICE_FRAMES - nframes),
		    .at = nframes,
		};
		span_use(span);
		nframes += slice->n;
		verify->at_frame += slice->n;
		if (verify->at_frame < span->info.nframes)
			break;
		verify->at_frame = 0;
		span = verify_next_span(verify, span);
	}
	return verify->nslices > 0;
}

/* The place in the list stays valid as long as it is used. */
static void
verify_move(struct verify *verify, struct span *span)
{
	struct span *before = verify->at;

	if (span != NULL)
		span_use(span);
	verify->at = span;
	if (before != NULL)
		span_unuse(before);
}

/* ---- The stock --------------------------------------------------- */

/*
 * Read on the loop, where no request can take it meanwhile, and it has no users
 * that could keep it.  What is not what it was made goes.
 */
static void
verify_ready_span(struct verify *verify, struct span *span)
{
	struct server *server = verify->server;
	size_t nbad, npoisoned;

	if (span_count(server->arch, span->frames, span->info.nframes, &nbad,
		&npoisoned) < 0) {
		verify->nunread++;
		return;
	}
	verify->nready++;
	verify->nready_frames += span->info.nframes;
	verify->nready_bad += nbad;
	verify->nready_poisoned += npoisoned;
	if (nbad + npoisoned > 0)
		stock_discard(&server->pool, span);
}

/* Some of what is ready; false: that was all. */
static bool
verify_ready(struct verify *verify)
{
	struct pool *pool = &verify->server->pool;
	struct span *span = NULL;
	size_t nframes = 0;

	if (verify->only != NULL)
		return false;
	while (nframes < READY_FRAMES &&
	       (span = stock_next_ready(pool, verify->ready_from)) != NULL) {
		verify->ready_from = span->end;
		nframes += span->info.nframes;
		verify_ready_span(verify, span);
	}
	return span != NULL;
}

/* ---- The end ----------------------------------------------------- */

static void
verify_reply(struct verify *verify)
{
	static Holdfast__V1__VerifyResult empty =
	    HOLDFAST__V1__VERIFY_RESULT__INIT;
	static Holdfast__V1__BadSpan empty_bad = HOLDFAST__V1__BAD_SPAN__INIT;
	struct call *call = verify->owner;
	Holdfast__V1__VerifyResult *result;
	Holdfast__V1__BadSpan *bad;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return;
	*result = empty;
	result->bad = call_alloc(call, BAD_MAX * sizeof(*result->bad));
	bad = call_alloc(call, BAD_MAX * sizeof(*bad));
	if (result->bad == NULL || bad == NULL)
		return;
	for (size_t i = 0; i < verify->nbads; i++) {
		const struct bad_span *from = &verify->bad[i];

		bad[i] = empty_bad;
		bad[i].tenant = (char *)from->tenant->name;
		bad[i].span = from->id;
		bad[i].frames = from->nframes;
		bad[i].mismatches = from->nbad;
		bad[i].poisoned = from->npoisoned;
		if (call->session->tenant->addresses_allowed)
			bad[i].pa = from->pa;
		result->bad[i] = &bad[i];
	}
	result->n_bad = verify->nbads;
	result->spans = verify->nspans;
	result->frames = verify->nframes;
	result->mismatches = verify->nmismatches;
	result->poisoned = verify->nallpoisoned;
	result->unread = verify->nunread;
	result->all = verify->only == NULL;
	result->ready_spans = verify->nready;
	result->ready_frames = verify->nready_frames;
	result->ready_mismatches = verify->nready_bad;
	result->ready_poisoned = verify->nready_poisoned;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_VERIFY;
	call->reply.verify = result;
}

static void
verify_over(struct verify *verify)
{
	struct server *server = verify->server;

	verify_move(verify, NULL);
	TAILQ_REMOVE(&server->verifies, verify, entry);
	if (verify->nmismatches + verify->nallpoisoned > 0)
		log_warn("verify",
		    "spans=%llu frames=%llu mismatches=%llu poisoned=%llu",
		    (unsigned long long)verify->nspans,
		    (unsigned long long)verify->nframes,
		    (unsigned long long)verify->nmismatches,
		    (unsigned long long)verify->nallpoisoned);
	if (verify->owner != NULL) {
		verify_reply(verify);
		call_finish(verify->owner);
	}
	free(verify);
}

static void
verify_step(struct verify *verify)
{
	/* While some of the stock is left, a job of nothing lets others run. */
	if (!verify->server->stopping &&
	    (verify_fill(verify) || verify_ready(verify)))
		workers_submit(verify->server->workers, &verify->job);
	else
		verify_over(verify);
}

static void
verify_done(struct job *job)
{
	struct verify *verify =
	    (struct verify *)((char *)job - offsetof(struct verify, job));

	for (size_t i = 0; i < verify->nslices; i++)
		verify_settle(verify, &verify->slices[i]);
	if (verify->nslices > 0)
		verify_move(verify, verify->slices[verify->nslices - 1].span);
	for (size_t i = 0; i < verify->nslices; i++)
		span_unuse(verify->slices[i].span);
	verify_step(verify);
}

static struct verify *
verify_new(struct server *server, const struct tenant *only)
{
	struct verify *verify = memory_calloc(1, sizeof(*verify));

	if (verify == NULL)
		return NULL;
	verify->server = server;
	verify->only = only;
	verify->last_serial = server->pool.last_serial;
	verify->job.run = verify_run;
	verify->job.done = verify_done;
	TAILQ_INSERT_TAIL(&server->verifies, verify, entry);
	return verify;
}

void
verify_memory_failure(struct server *server)
{
	struct verify *verify;

	if (server->pool.phys == NULL || server->stopping)
		return;
	verify = verify_new(server, NULL);
	if (verify == NULL) {
		log_error("memory_failure", "text=\"no memory to look\"");
		return;
	}
	log_warn("memory_failure", "text=\"looking for it\"");
	verify_step(verify);
	/* What is in stock need not be looked at: bad frames do not come back
	 * from the kernel, and the others are made ready again. */
	stock_dissolve_all(&server->pool);
}

/* ---- The request ------------------------------------------------- */

/* The pass goes on: what it finds is recorded. */
static void
verify_cancel(struct call *call)
{
	struct verify *verify = call->object;

	verify->owner = NULL;
	call_drop(call);
}

enum call_outcome
handle_verify(struct call *call)
{
	struct session *session = call->session;
	struct server *server = session->server;
	struct verify *verify = NULL;
	struct call *kept;

	if (server->pool.phys == NULL) {
		(void)answer_refuse(&call->answer, REFUSED_NO_POOL,
		    "the daemon has no pool of huge pages");
		return CALL_DONE;
	}
	TAILQ_FOREACH (verify, &server->verifies, entry) {
		if (verify->owner != NULL &&
		    verify->owner->session == session) {
			(void)answer_refuse(&call->answer,
			    KERN_RESOURCE_SHORTAGE,
			    "a session may have one Verify under way");
			return CALL_DONE;
		}
	}
	kept = call_keep(call, verify_cancel);
	if (kept == NULL)
		return CALL_DONE;
	verify =
	    verify_new(server, call_is_operator(call) ? NULL : session->tenant);
	if (verify == NULL) {
		call_drop(kept);
		(void)answer_refuse_errno(&call->answer, -ENOMEM, "verify");
		return CALL_DONE;
	}
	kept->object = verify;
	verify->owner = kept;
	verify_step(verify);
	return CALL_WAITS;
}
