/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"

/* Both envelopes hold their messages in field 1, length-delimited. */
#define WIRE_NUMBER_MAX   13 /* bytes of one field: tag and varint */
#define WIRE_ENVELOPE_MAX (5 * WIRE_NUMBER_MAX)
#define WIRE_TAG          0x0a

#define WIRE_ALIGN alignof(max_align_t)

static void *
wire_arena_pb_alloc(void *data, size_t size)
{
	struct wire_arena *arena = data;
	size_t start = (arena->used + WIRE_ALIGN - 1) & ~(WIRE_ALIGN - 1);

	if (start > arena->size || size > arena->size - start) {
		arena->exhausted = true;
		return NULL;
	}
	arena->used = start + size;
	return arena->base + start;
}

static void
wire_arena_pb_free(void *data, void *p)
{
	/* Freed all at once by wire_arena_reset(). */
	(void)data;
	(void)p;
}

int
wire_arena_init(struct wire_arena *arena, size_t size)
{
	*arena = (struct wire_arena){.size = size};
	arena->pb = (ProtobufCAllocator){
	    .alloc = wire_arena_pb_alloc,
	    .free = wire_arena_pb_free,
	    .allocator_data = arena,
	};
	arena->base = malloc(size);
	if (arena->base == NULL)
		return -ENOMEM;
	return 0;
}

void
wire_arena_fini(struct wire_arena *arena)
{
	free(arena->base);
	*arena = (struct wire_arena){0};
}

void
wire_arena_reset(struct wire_arena *arena)
{
	arena->used = 0;
	arena->exhausted = false;
}

void *
wire_arena_alloc(struct wire_arena *arena, size_t size)
{
	void *p = wire_arena_pb_alloc(arena, size);

	if (p == NULL)
		return NULL;
	return memset(p, 0, size);
}

Holdfast__V1__ClientPacket *
wire_unpack_client(struct wire_arena *arena, const void *buf, size_t len)
{
	Holdfast__V1__ClientPacket *packet;

	if (len > HOLDFAST_PACKET_MAX)
		return NULL;
	packet = holdfast__v1__client_packet__unpack(&arena->pb, len, buf);
	if (packet == NULL || packet->n_requests > HOLDFAST_BATCH_MAX)
		return NULL;
	return packet;
}

Holdfast__V1__ServerPacket *
wire_unpack_server(struct wire_arena *arena, const void *buf, size_t len)
{
	Holdfast__V1__ServerPacket *packet;

	if (len > HOLDFAST_PACKET_MAX)
		return NULL;
	packet = holdfast__v1__server_packet__unpack(&arena->pb, len, buf);
	if (packet == NULL || packet->n_replies > HOLDFAST_BATCH_MAX)
		return NULL;
	return packet;
}

/* Bytes that `value` takes as a varint. */
static size_t
wire_varint_size(size_t value)
{
	size_t n = 1;

	while (value >= 0x80) {
		value >>= 7;
		n++;
	}
	return n;
}

static size_t
wire_varint_put(uint8_t *p, size_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		p[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	p[n++] = (uint8_t)value;
	return n;
}

/*
 * The most that a message of nothing but numbers can take, or 0 where it holds
 * anything else.
 */
static size_t
wire_numbers_bound(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++)
		if (d->fields[i].label == PROTOBUF_C_LABEL_REPEATED ||
		    d->fields[i].type >= PROTOBUF_C_TYPE_STRING)
			return 0;
	return (d->n_fields + 1) * WIRE_NUMBER_MAX;
}
static_assert(PROTOBUF_C_TYPE_BYTES > PROTOBUF_C_TYPE_STRING &&
		  PROTOBUF_C_TYPE_MESSAGE > PROTOBUF_C_TYPE_STRING &&
		  PROTOBUF_C_TYPE_BOOL < PROTOBUF_C_TYPE_STRING,
    "numbers come first");

/* Tag and length of the packet's element, then its body, `body` bytes. */
static void
wire_head(struct wire_out *out, size_t body)
{
	out->buf[out->len++] = WIRE_TAG;
	out->len += wire_varint_put(out->buf + out->len, body);
}

/* The usual small message: packed at once, without asking for its size. */
static int
wire_append_small(struct wire_out *out, const ProtobufCMessage *message)
{
	uint8_t *at = out->buf + out->len + 2;
	size_t body = protobuf_c_message_pack(message, at);

	if (wire_varint_size(body) > 1)
		memmove(at - 1 + wire_varint_size(body), at, body);
	wire_head(out, body);
	out->len += body;
	out->n++;
	return 0;
}

/* `bound`: what the message takes at most; 0: not known without counting. */
static int
wire_append(struct wire_out *out, const ProtobufCMessage *message, size_t bound)
{
	size_t room = out->size - out->len, body;

	if (bound != 0 && bound + WIRE_NUMBER_MAX <= room &&
	    out->n < HOLDFAST_BATCH_MAX)
		return wire_append_small(out, message);
	body = protobuf_c_message_get_packed_size(message);
	/* Compared this way round so that no huge `body` can wrap. */
	if (out->n >= HOLDFAST_BATCH_MAX || body > room ||
	    1 + wire_varint_size(body) > room - body)
		return -EMSGSIZE;
	wire_head(out, body);
	out->len += protobuf_c_message_pack(message, out->buf + out->len);
	out->n++;
	return 0;
}

int
wire_append_request(struct wire_out *out, const Holdfast__V1__Request *request)
{
	size_t bound = 0;

	if (request->op_case != HOLDFAST__V1__REQUEST__OP__NOT_SET &&
	    request->ping != NULL)
		bound = wire_numbers_bound(&request->ping->base);
	return wire_append(out, &request->base,
	    bound != 0 ? bound + WIRE_ENVELOPE_MAX : 0);
}

int
wire_append_reply(struct wire_out *out, const Holdfast__V1__Reply *reply)
{
	size_t bound = 0;

	if (reply->result_case == HOLDFAST__V1__REPLY__RESULT__NOT_SET)
		bound = WIRE_NUMBER_MAX;
	else if (reply->hello != NULL)
		bound = wire_numbers_bound(&reply->hello->base);
	if (reply->message != NULL && reply->message[0] != '\0')
		bound = 0;
	return wire_append(out, &reply->base,
	    bound != 0 ? bound + WIRE_ENVELOPE_MAX : 0);
}

size_t
wire_reply_size(const Holdfast__V1__Reply *reply)
{
	size_t body = protobuf_c_message_get_packed_size(&reply->base);

	return 1 + wire_varint_size(body) + body;
}
