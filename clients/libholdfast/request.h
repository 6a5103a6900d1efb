/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A request and its operation, to be filled in and sent.
 *
 *	HF_REQUEST(MapSync, MAP_SYNC, map_sync);
 *
 *	op.start = start;
 *	return hf_call_bare(h, &request);
 */

#include "proto/holdfast.pb-c.h"

/* Declares `request` and `op`; the names are those of proto/holdfast.proto. */
#define HF_REQUEST(Message, MESSAGE, member)                                   \
	Holdfast__V1__##Message op = HOLDFAST__V1__##MESSAGE##__INIT;          \
	Holdfast__V1__Request request = {                                      \
	    PROTOBUF_C_MESSAGE_INIT(&holdfast__v1__request__descriptor),       \
	    .op_case = HOLDFAST__V1__REQUEST__OP_##MESSAGE,                    \
	    .member = &op,                                                     \
	}

/* The same for an operation on a map. */
#define HF_MAP_REQUEST(map_, Message, MESSAGE, member)                         \
	HF_REQUEST(Message, MESSAGE, member);                                  \
	op.map = (map_)->id

/* The same for an operation on a range of it. */
#define HF_RANGE_REQUEST(map_, start_, end_, Message, MESSAGE, member)         \
	HF_MAP_REQUEST(map_, Message, MESSAGE, member);                        \
	op.start = (start_);                                                   \
	op.end = (end_)

/* Send it; the kind of result that a success has. */
#define HF_ASK(h, RESULT, replyp)                                              \
	hf_call(h, &request, HOLDFAST__V1__REPLY__RESULT_##RESULT, 0, replyp,  \
	    NULL)
