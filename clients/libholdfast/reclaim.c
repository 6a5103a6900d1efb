/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory that the daemon wants back.
 *
 * Its request is only noted where it arrives, in the middle of some call; it
 * is carried out from holdfast_dispatch(), or by the span cache between its
 * own steps.
 */

#include <errno.h>

#include "clients/libholdfast/holdfast_int.h"

int
hf_reclaim_event(struct holdfast *h,
    const Holdfast__V1__ReclaimRequest *request)
{
	if (!h->listens || h->reclaim)
		return hf_mistrust(h, "the daemon asked for memory back, which "
				      "was not offered, or twice");
	h->reclaim = true;
	h->reclaim_bytes = request->bytes;
	return 0;
}

int
hf_reclaim_listen(struct holdfast *h, bool listen)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ReclaimListen op = HOLDFAST__V1__RECLAIM_LISTEN__INIT;
	bool before = h->listens;
	int r;

	if (before == listen)
		return HF_OK;
	op.listen = listen;
	request.op_case = HOLDFAST__V1__REQUEST__OP_RECLAIM_LISTEN;
	request.reclaim_listen = &op;
	h->listens = true; /* a request may overtake the reply */
	r = hf_call_bare(h, &request);
	h->listens = r == HF_OK ? listen : before;
	if (!h->listens)
		h->reclaim = false;
	return r;
}

int
hf_reclaim_done(struct holdfast *h)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ReclaimDone op = HOLDFAST__V1__RECLAIM_DONE__INIT;

	if (!h->reclaim)
		return HF_OK;
	request.op_case = HOLDFAST__V1__REQUEST__OP_RECLAIM_DONE;
	request.reclaim_done = &op;
	h->reclaim = false; /* it may ask again before it says that it heard */
	return hf_call_bare(h, &request);
}

int
hf_reclaim_dispatch(struct holdfast *h)
{
	if (!h->reclaim || h->on_reclaim == NULL)
		return HF_OK;
	h->on_reclaim(h, h->reclaim_bytes, h->reclaim_arg);
	return hf_reclaim_done(h);
}

int
holdfast_on_reclaim(struct holdfast *h, holdfast_reclaim_fn *fn, void *arg)
{
	int r = hf_usable(h);

	if (r < 0)
		return r;
	r = hf_reclaim_listen(h, fn != NULL);
	if (r != HF_OK)
		return r;
	h->on_reclaim = fn;
	h->reclaim_arg = arg;
	return HF_OK;
}
