/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "core/kassert.h"
#include "server/contig.h"
#include "server/dispatch.h"
#include "server/log.h"

#define HELD_PER_REPLY 256

/* ---- Time -------------------------------------------------------- */

/* Wake when the first of them is due. */
static void
quarantine_arm(struct quarantine *quarantine)
{
	uint64_t now = quarantine->now_ms(), first = UINT64_MAX;
	struct quarantined *held;
	struct timeval tv;

	TAILQ_FOREACH (held, &quarantine->held, entry)
		if (held->until_ms != 0)
			first = MIN(first, held->until_ms);
	if (first == UINT64_MAX) {
		(void)evtimer_del(quarantine->timer);
		return;
	}
	first = first > now ? first - now : 0;
	tv.tv_sec = (time_t)(first / 1000);
	tv.tv_usec = (suseconds_t)(first % 1000) * 1000;
	if (evtimer_add(quarantine->timer, &tv) < 0)
		log_error("quarantine", "text=\"timer cannot be set\"");
}

static void
quarantine_ticked(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	quarantine_expire(arg);
}

int
quarantine_init(struct quarantine *quarantine, struct event_base *base,
    const struct quarantine_options *options)
{
	*quarantine = (struct quarantine){
	    .options = *options,
	    .now_ms = server_now_ms,
	};
	TAILQ_INIT(&quarantine->held);
	quarantine->timer = evtimer_new(base, quarantine_ticked, quarantine);
	return quarantine->timer == NULL ? error_origin(-ENOMEM) : 0;
}

void
quarantine_fini(struct quarantine *quarantine)
{
	MPASS(quarantine->n == 0);
	if (quarantine->timer != NULL)
		event_free(quarantine->timer);
	*quarantine = (struct quarantine){0};
}

/* ---- Holding and letting go -------------------------------------- */

static size_t
span_frames(const struct span *span)
{
	return (size_t)((span->end - span->start) / span->pool->frame_size);
}

void
quarantine_bury(struct quarantine *quarantine, struct buffer *buffer)
{
	struct quarantined *held = &buffer->held;
	uint64_t now;

	if (!buffer->device || buffer->state != BUFFER_LIVE ||
	    quarantine->stopped) {
		contig_free(buffer);
		return;
	}
	now = quarantine->now_ms();
	*held = (struct quarantined){
	    .buffer = buffer,
	    .id = ++quarantine->last_id,
	    .since_ms = now,
	    .until_ms = quarantine->options.hold_ms != 0
			    ? now + quarantine->options.hold_ms
			    : 0,
	};
	TAILQ_INSERT_TAIL(&quarantine->held, held, entry);
	quarantine->n++;
	if (buffer->span->nheld++ == 0)
		quarantine->nframes += span_frames(buffer->span);
	log_info("quarantined", "id=%llu tenant=%s size=%llu ms=%llu",
	    (unsigned long long)held->id, buffer->tenant->name,
	    (unsigned long long)buffer->size,
	    (unsigned long long)quarantine->options.hold_ms);
	quarantine_arm(quarantine);
}

static void
held_free(struct quarantine *quarantine, struct quarantined *held)
{
	struct buffer *buffer = held->buffer;

	TAILQ_REMOVE(&quarantine->held, held, entry);
	quarantine->n--;
	MPASS(buffer->span->nheld > 0);
	if (--buffer->span->nheld == 0)
		quarantine->nframes -= span_frames(buffer->span);
	log_info("released", "id=%llu tenant=%s", (unsigned long long)held->id,
	    buffer->tenant->name);
	contig_free(buffer);
}

void
quarantine_expire(struct quarantine *quarantine)
{
	uint64_t now = quarantine->now_ms();
	struct quarantined *held, *next;

	for (held = TAILQ_FIRST(&quarantine->held); held != NULL; held = next) {
		next = TAILQ_NEXT(held, entry);
		if (held->until_ms != 0 && held->until_ms <= now)
			held_free(quarantine, held);
	}
	quarantine_arm(quarantine);
}

bool
quarantine_release(struct quarantine *quarantine, uint64_t id)
{
	struct quarantined *held;

	TAILQ_FOREACH (held, &quarantine->held, entry) {
		if (held->id != id)
			continue;
		held_free(quarantine, held);
		return true;
	}
	return false;
}

size_t
quarantine_release_all(struct quarantine *quarantine)
{
	struct quarantined *held;
	size_t n = 0;

	while ((held = TAILQ_FIRST(&quarantine->held)) != NULL) {
		held_free(quarantine, held);
		n++;
	}
	return n;
}

void
quarantine_stop(struct quarantine *quarantine)
{
	quarantine->stopped = true;
	if (quarantine->n > 0)
		log_warn("quarantine_ends", "buffers=%zu", quarantine->n);
	(void)quarantine_release_all(quarantine);
}

size_t
quarantine_nframes(const struct quarantine *quarantine)
{
	return quarantine->nframes;
}

/* ---- Requests ---------------------------------------------------- */

static Holdfast__V1__Quarantined *
held_on_wire(struct call *call, const struct quarantined *held)
{
	static Holdfast__V1__Quarantined empty =
	    HOLDFAST__V1__QUARANTINED__INIT;
	const struct quarantine *quarantine =
	    &call->session->server->quarantine;
	const struct buffer *buffer = held->buffer;
	uint64_t now = quarantine->now_ms();
	Holdfast__V1__Quarantined *result;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return NULL;
	*result = empty;
	result->id = held->id;
	result->tenant = buffer->tenant->name;
	result->size = buffer->size;
	if (held->until_ms != 0) /* 0 would mean for ever */
		result->left_ms =
		    held->until_ms > now ? held->until_ms - now : 1;
	result->age_ms = now - held->since_ms;
	result->type = buffer->type->name;
	if (call->session->tenant->addresses_allowed)
		result->pa = buffer->pa;
	return result;
}

enum call_outcome
handle_quarantine_list(struct call *call)
{
	static Holdfast__V1__QuarantineListResult empty =
	    HOLDFAST__V1__QUARANTINE_LIST_RESULT__INIT;
	uint64_t from = call->request->quarantine_list->from;
	struct session *session = call->session;
	Holdfast__V1__QuarantineListResult *result;
	bool all = call_is_operator(call);
	struct quarantined *held;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->held = call_alloc(call, HELD_PER_REPLY * sizeof(*result->held));
	if (result->held == NULL)
		return CALL_DONE;
	TAILQ_FOREACH (held, &session->server->quarantine.held, entry) {
		if (held->id < from ||
		    (!all && held->buffer->tenant != session->tenant))
			continue;
		if (result->n_held == HELD_PER_REPLY) {
			result->next = held->id;
			break;
		}
		result->held[result->n_held] = held_on_wire(call, held);
		if (result->held[result->n_held] == NULL)
			return CALL_DONE;
		result->n_held++;
	}
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_QUARANTINE_LIST;
	call->reply.quarantine_list = result;
	return CALL_DONE;
}

enum call_outcome
handle_quarantine_release(struct call *call)
{
	static Holdfast__V1__QuarantineReleaseResult empty =
	    HOLDFAST__V1__QUARANTINE_RELEASE_RESULT__INIT;
	const Holdfast__V1__QuarantineRelease *release =
	    call->request->quarantine_release;
	struct quarantine *quarantine = &call->session->server->quarantine;
	Holdfast__V1__QuarantineReleaseResult *result;

	if (!call_must_be_operator(call))
		return CALL_DONE;
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	if (release->all) {
		result->released = quarantine_release_all(quarantine);
	} else if (quarantine_release(quarantine, release->id)) {
		result->released = 1;
	} else {
		(void)answer_refuse(&call->answer, REFUSED_UNKNOWN_ID,
		    "id must be that of a quarantined buffer; it is %llu",
		    (unsigned long long)release->id);
		return CALL_DONE;
	}
	call->reply.result_case =
	    HOLDFAST__V1__REPLY__RESULT_QUARANTINE_RELEASE;
	call->reply.quarantine_release = result;
	return CALL_DONE;
}
