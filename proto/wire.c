/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "proto/decode.h"
#include "proto/wire.h"

/* Both envelopes hold their messages in field 1, length-delimited. */
#define WIRE_NUMBER_MAX       13 /* bytes of one field: tag and varint */
#define WIRE_ENVELOPE_MAX     (5 * WIRE_NUMBER_MAX)
#define WIRE_TAG              0x0a
#define WIRE_LENGTH_DELIMITED 2
#define WIRE_SHORT            127 /* the longest length of one byte */

#define WIRE_ALIGN alignof(max_align_t)

void *
wire_arena_take(struct wire_arena *arena, size_t size)
{
	size_t start = (arena->used + WIRE_ALIGN - 1) & ~(WIRE_ALIGN - 1);

	if (start > arena->size || size > arena->size - start) {
		arena->exhausted = true;
		return NULL;
	}
	arena->used = start + size;
	return arena->base + start;
}

static void *
wire_arena_pb_alloc(void *data, size_t size)
{
	return wire_arena_take(data, size);
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
	void *p = wire_arena_take(arena, size);

	if (p == NULL)
		return NULL;
	return memset(p, 0, size);
}

/* The usual packet; NULL: let the library read it. */
static Holdfast__V1__ClientPacket *
wire_decode_client(struct wire_arena *arena, const void *buf, size_t len)
{
	Holdfast__V1__ClientPacket *packet;
	size_t n;
	void *requests =
	    decode_messages(arena, &holdfast__v1__request__descriptor, buf, len,
		HOLDFAST_BATCH_MAX, &n);

	if (requests == NULL)
		return NULL;
	packet = wire_arena_take(arena, sizeof(*packet));
	if (packet == NULL)
		return NULL;
	holdfast__v1__client_packet__init(packet);
	packet->n_requests = n;
	packet->requests = requests;
	return packet;
}

static Holdfast__V1__ServerPacket *
wire_decode_server(struct wire_arena *arena, const void *buf, size_t len)
{
	Holdfast__V1__ServerPacket *packet;
	size_t n;
	void *replies = decode_messages(arena, &holdfast__v1__reply__descriptor,
	    buf, len, HOLDFAST_BATCH_MAX, &n);

	if (replies == NULL)
		return NULL;
	packet = wire_arena_take(arena, sizeof(*packet));
	if (packet == NULL)
		return NULL;
	holdfast__v1__server_packet__init(packet);
	packet->n_replies = n;
	packet->replies = replies;
	return packet;
}

Holdfast__V1__ClientPacket *
wire_unpack_client(struct wire_arena *arena, const void *buf, size_t len)
{
	Holdfast__V1__ClientPacket *packet;

	if (len > HOLDFAST_PACKET_MAX)
		return NULL;
	packet = wire_decode_client(arena, buf, len);
	if (packet != NULL)
		return packet;
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
	packet = wire_decode_server(arena, buf, len);
	if (packet != NULL)
		return packet;
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
wire_varint_put(uint8_t *p, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		p[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	p[n++] = (uint8_t)value;
	return n;
}

/* A field of one number, or an empty string, which is not sent. */
static bool
wire_is_number(const ProtobufCFieldDescriptor *field, const void *member)
{
	const char *text;

	if (field->label != PROTOBUF_C_LABEL_NONE)
		return false;
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
		return true;
	case PROTOBUF_C_TYPE_STRING:
		text = *(const char *const *)member;
		return text == NULL || *text == '\0';
	default:
		return false;
	}
}

/*
 * The most that a message of nothing but numbers can take, or 0 where it holds
 * anything else.
 */
static size_t
wire_numbers_bound(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;
	const unsigned char *at = (const unsigned char *)message;

	for (unsigned i = 0; i < d->n_fields; i++)
		if (!wire_is_number(&d->fields[i], at + d->fields[i].offset))
			return 0;
	return (d->n_fields + 1) * WIRE_NUMBER_MAX;
}

/* A field that is a number; 0 is not sent, as proto3 has it. */
static size_t
wire_number_put(uint8_t *p, unsigned field, uint64_t value)
{
	size_t n;

	if (value == 0)
		return 0;
	n = wire_varint_put(p, field << 3);
	return n + wire_varint_put(p + n, value);
}

/* The sign in the lowest bit. */
static uint32_t
wire_zigzag(int32_t value)
{
	return (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0);
}

static uint64_t
wire_number_of(const ProtobufCFieldDescriptor *field, const void *member)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT64:
		return *(const uint64_t *)member;
	case PROTOBUF_C_TYPE_BOOL:
		return *(const protobuf_c_boolean *)member != 0;
	case PROTOBUF_C_TYPE_ENUM: /* an int: its sign goes along */
		return (uint64_t)(int64_t) * (const int32_t *)member;
	case PROTOBUF_C_TYPE_SINT32:
		return wire_zigzag(*(const int32_t *)member);
	case PROTOBUF_C_TYPE_STRING:
		return 0; /* it is empty */
	default:
		return *(const uint32_t *)member;
	}
}

/* A message that wire_numbers_bound() has a bound for; returns its bytes. */
static size_t
wire_numbers_put(uint8_t *p, const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;
	const unsigned char *at = (const unsigned char *)message;
	size_t n = 0;

	for (unsigned i = 0; i < d->n_fields; i++)
		n += wire_number_put(p + n, d->fields[i].id,
		    wire_number_of(&d->fields[i], at + d->fields[i].offset));
	return n;
}

/*
 * The usual small message: its numbers already at `head`, then what its oneof
 * holds, if anything.  The library would walk over every member of the oneof,
 * and would have to be asked for sizes first.  false: too long for lengths of
 * one byte; nothing changed.
 */
static bool
wire_append_small(struct wire_out *out, const uint8_t *head, size_t nhead,
    unsigned field, const ProtobufCMessage *inner)
{
	uint8_t *start = out->buf + out->len + 2, *p = start + nhead;
	size_t size;

	memcpy(start, head, nhead);
	if (inner != NULL) {
		p += wire_varint_put(p, field << 3 | WIRE_LENGTH_DELIMITED);
		size = wire_numbers_put(p + 1, inner);
		if (size > WIRE_SHORT)
			return false;
		*p = (uint8_t)size;
		p += 1 + size;
	}
	size = (size_t)(p - start);
	if (size > WIRE_SHORT)
		return false;
	start[-2] = WIRE_TAG;
	start[-1] = (uint8_t)size;
	out->len += 2 + size;
	out->n++;
	return true;
}

static bool
wire_has_room(const struct wire_out *out, size_t bound)
{
	return out->n < HOLDFAST_BATCH_MAX &&
	       bound + WIRE_ENVELOPE_MAX <= out->size - out->len;
}

static int
wire_append(struct wire_out *out, const ProtobufCMessage *message)
{
	size_t body = protobuf_c_message_get_packed_size(message);
	size_t room = out->size - out->len;

	/* Compared this way round so that no huge `body` can wrap. */
	if (out->n >= HOLDFAST_BATCH_MAX || body > room ||
	    1 + wire_varint_size(body) > room - body)
		return -EMSGSIZE;
	out->buf[out->len++] = WIRE_TAG;
	out->len += wire_varint_put(out->buf + out->len, body);
	out->len += protobuf_c_message_pack(message, out->buf + out->len);
	out->n++;
	return 0;
}

int
wire_append_request(struct wire_out *out, const Holdfast__V1__Request *request)
{
	uint8_t head[WIRE_ENVELOPE_MAX];
	const ProtobufCMessage *op;
	size_t bound;

	if (request->op_case == HOLDFAST__V1__REQUEST__OP__NOT_SET ||
	    request->ping == NULL)
		return wire_append(out, &request->base);
	op = &request->ping->base; /* whatever it is, it begins so */
	bound = wire_numbers_bound(op);
	if (bound != 0 && wire_has_room(out, bound) &&
	    wire_append_small(out, head, wire_number_put(head, 1, request->id),
		(unsigned)request->op_case, op))
		return 0;
	return wire_append(out, &request->base);
}

int
wire_append_reply(struct wire_out *out, const Holdfast__V1__Reply *reply)
{
	const ProtobufCMessage *result = NULL;
	uint8_t head[WIRE_ENVELOPE_MAX];
	size_t bound = WIRE_NUMBER_MAX, n;

	if (reply->message != NULL && reply->message[0] != '\0')
		return wire_append(out, &reply->base);
	if (reply->result_case != HOLDFAST__V1__REPLY__RESULT__NOT_SET &&
	    reply->hello != NULL) {
		result = &reply->hello->base;
		bound = wire_numbers_bound(result);
	}
	if (bound == 0 || !wire_has_room(out, bound))
		return wire_append(out, &reply->base);
	n = wire_number_put(head, 1, reply->id);
	/* An enumeration is an int on the wire: its sign goes along. */
	n += wire_number_put(head + n, 2,
	    (uint64_t)(int64_t)(int32_t)reply->status);
	n += wire_number_put(head + n, 4, reply->nfds);
	if (wire_append_small(out, head, n, (unsigned)reply->result_case,
		result))
		return 0;
	return wire_append(out, &reply->base);
}

size_t
wire_reply_size(const Holdfast__V1__Reply *reply)
{
	size_t body = protobuf_c_message_get_packed_size(&reply->base);

	return 1 + wire_varint_size(body) + body;
}
