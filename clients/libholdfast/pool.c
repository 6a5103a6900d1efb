/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The pool: changing it, checking it, device memory, memory that went bad.
 */

#include <errno.h>
#include <stdlib.h>

#include "clients/libholdfast/holdfast_int.h"
#include "clients/libholdfast/request.h"

#define HELD_MAX (1u << 20) /* what anybody would believe */

/* ---- Changing it --------------------------------------------------------- */

static int
copy_runs(struct holdfast *h, const Holdfast__V1__PoolChangeResult *res,
    struct holdfast_pool_changed *changed)
{
	if (res->n_runs == 0)
		return HF_OK;
	changed->runs = calloc(res->n_runs, sizeof(*changed->runs));
	if (changed->runs == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < res->n_runs; i++) {
		const Holdfast__V1__Run *from = res->runs[i];

		if (from->start >= from->end) {
			free(changed->runs);
			return hf_mistrust(h, "the daemon tells of a run "
					      "without bytes");
		}
		changed->runs[i] = (struct holdfast_run){
		    .start = from->start,
		    .end = from->end,
		    .domain = from->domain,
		    .big = from->big,
		};
	}
	changed->nruns_told = res->n_runs;
	return HF_OK;
}

int
holdfast_pool_change(struct holdfast *h,
    const struct holdfast_pool_change *change,
    struct holdfast_pool_changed *changedp)
{
	HF_REQUEST(PoolChange, POOL_CHANGE, pool_change);
	struct holdfast_pool_changed changed = {0};
	const Holdfast__V1__PoolChangeResult *res;
	const Holdfast__V1__Reply *reply;
	int r;

	op.action = (Holdfast__V1__PoolAction)change->action;
	op.frames = change->frames;
	op.big = change->big;
	op.domain = change->domain_set ? change->domain + 1 : 0;
	r = HF_ASK(h, POOL_CHANGE, &reply);
	if (r != HF_OK)
		return r;
	res = reply->pool_change;
	changed.frames = res->frames;
	changed.nruns = res->nruns;
	changed.largest_run = res->largest_run;
	r = copy_runs(h, res, &changed);
	if (r == HF_OK)
		*changedp = changed;
	return r;
}

/* ---- Truth ----------------------------------------------------------------
 */

int
holdfast_verify(struct holdfast *h, struct holdfast_verified *verifiedp)
{
	HF_REQUEST(Verify, VERIFY, verify);
	const Holdfast__V1__VerifyResult *res;
	const Holdfast__V1__Reply *reply;
	int r;

	r = HF_ASK(h, VERIFY, &reply);
	if (r != HF_OK)
		return r;
	res = reply->verify;
	if (res->n_bad > HF_BAD_SPANS_MAX)
		return hf_mistrust(h, "the daemon tells of too many spans");
	*verifiedp = (struct holdfast_verified){
	    .spans = res->spans,
	    .frames = res->frames,
	    .mismatches = res->mismatches,
	    .poisoned = res->poisoned,
	    .unread = res->unread,
	    .all = res->all,
	    .nbad = res->n_bad,
	    .ready_spans = res->ready_spans,
	    .ready_frames = res->ready_frames,
	    .ready_mismatches = res->ready_mismatches,
	    .ready_poisoned = res->ready_poisoned,
	};
	for (size_t i = 0; i < res->n_bad; i++) {
		const Holdfast__V1__BadSpan *from = res->bad[i];
		struct holdfast_bad_span *to = &verifiedp->bad[i];

		hf_copy_text(to->tenant, sizeof(to->tenant), from->tenant);
		to->span = from->span;
		to->frames = from->frames;
		to->mismatches = from->mismatches;
		to->poisoned = from->poisoned;
		to->pa = from->pa;
	}
	return HF_OK;
}

/* ---- Bad memory ----------------------------------------------------------
 */

/* Kept until holdfast_dispatch(); when there are too many the oldest go. */
void
hf_lost_event(struct holdfast *h, const Holdfast__V1__FrameLost *lost)
{
	if (lost->map != 0 ? h->on_map_lost == NULL : h->on_lost == NULL)
		return;
	h->lost[h->nlost++ % HF_LOST_MAX] = (struct hf_lost){
	    .buffer = lost->buffer,
	    .offset = lost->offset,
	    .size = lost->size,
	    .map = lost->map,
	    .addr = lost->addr,
	};
}

/* It may have been freed since. */
static void
tell_of_buffer(struct holdfast *h, const struct hf_lost *lost)
{
	struct holdfast_buf *buf = hf_buf_find(h, lost->buffer);

	if (h->on_lost != NULL && buf != NULL && lost->offset < buf->size &&
	    lost->size <= buf->size - lost->offset)
		h->on_lost(h, buf, lost->offset, lost->size, h->lost_arg);
}

static void
tell_of_map(struct holdfast *h, const struct hf_lost *lost)
{
	struct holdfast_map *map = hf_map_find(h, lost->map);

	if (h->on_map_lost != NULL && map != NULL &&
	    hf_map_holds(map, lost->addr, lost->size))
		h->on_map_lost(h, map, lost->addr, lost->size, h->map_lost_arg);
}

void
hf_lost_dispatch(struct holdfast *h)
{
	size_t n = h->nlost < HF_LOST_MAX ? h->nlost : HF_LOST_MAX;
	size_t first = h->nlost - n;
	struct hf_lost lost[HF_LOST_MAX];

	/* The callback may free buffers, and be told of more meanwhile. */
	for (size_t i = 0; i < n; i++)
		lost[i] = h->lost[(first + i) % HF_LOST_MAX];
	h->nlost = 0;
	for (size_t i = 0; i < n; i++) {
		if (lost[i].map != 0)
			tell_of_map(h, &lost[i]);
		else
			tell_of_buffer(h, &lost[i]);
	}
}

int
holdfast_on_lost(struct holdfast *h, holdfast_lost_fn *fn, void *arg)
{
	int r = hf_usable(h);

	if (r < 0)
		return r;
	h->on_lost = fn;
	h->lost_arg = arg;
	return HF_OK;
}

int
holdfast_on_map_lost(struct holdfast *h, holdfast_map_lost_fn *fn, void *arg)
{
	int r = hf_usable(h);

	if (r < 0)
		return r;
	h->on_map_lost = fn;
	h->map_lost_arg = arg;
	return HF_OK;
}

/* ---- Device memory ------------------------------------------------------- */

struct held {
	struct holdfast_quarantined *held;
	size_t n;
};

static int
held_page(struct holdfast *h, uint64_t from, struct held *held, uint64_t *nextp)
{
	HF_REQUEST(QuarantineList, QUARANTINE_LIST, quarantine_list);
	const Holdfast__V1__QuarantineListResult *res;
	struct holdfast_quarantined *all;
	const Holdfast__V1__Reply *reply;
	int r;

	op.from = from;
	r = HF_ASK(h, QUARANTINE_LIST, &reply);
	if (r != HF_OK)
		return r;
	res = reply->quarantine_list;
	if ((res->next != 0 && res->next <= from) || held->n > HELD_MAX)
		return hf_mistrust(h, "the daemon's list of what it holds "
				      "does not end");
	all = reallocarray(held->held, held->n + res->n_held + 1, sizeof(*all));
	if (all == NULL)
		return -ENOMEM;
	held->held = all;
	for (size_t i = 0; i < res->n_held; i++) {
		const Holdfast__V1__Quarantined *one = res->held[i];
		struct holdfast_quarantined *to = &all[held->n++];

		*to = (struct holdfast_quarantined){
		    .id = one->id,
		    .size = one->size,
		    .age_ms = one->age_ms,
		    .left_ms = one->left_ms,
		    .pa = one->pa,
		};
		hf_copy_text(to->tenant, sizeof(to->tenant), one->tenant);
		hf_copy_text(to->type, sizeof(to->type), one->type);
	}
	*nextp = res->next;
	return HF_OK;
}

int
holdfast_quarantine(struct holdfast *h, struct holdfast_quarantined **heldp,
    size_t *np)
{
	struct held held = {0};
	uint64_t next = 0;

	do {
		int r = held_page(h, next, &held, &next);

		if (r != HF_OK) {
			free(held.held);
			return r;
		}
	} while (next != 0);
	*heldp = held.held;
	*np = held.n;
	return HF_OK;
}

int
holdfast_release(struct holdfast *h, uint64_t id, uint64_t *np)
{
	HF_REQUEST(QuarantineRelease, QUARANTINE_RELEASE, quarantine_release);
	const Holdfast__V1__Reply *reply;
	int r;

	op.id = id;
	op.all = id == 0;
	r = HF_ASK(h, QUARANTINE_RELEASE, &reply);
	if (r == HF_OK && np != NULL)
		*np = reply->quarantine_release->released;
	return r;
}
