/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"

/* Both envelopes hold their messages in field 1, length-delimited. */
#define WIRE_TAG 0x0a

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
	return wire_append(out, &request->base);
}

int
wire_append_reply(struct wire_out *out, const Holdfast__V1__Reply *reply)
{
	return wire_append(out, &reply->base);
}

size_t
wire_reply_size(const Holdfast__V1__Reply *reply)
{
	size_t body = protobuf_c_message_get_packed_size(&reply->base);

	return 1 + wire_varint_size(body) + body;
}
