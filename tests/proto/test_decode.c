/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What decode.c reads is what the library reads: messages made from the
 * library's descriptors, whole and mangled, are read by both and compared.
 */

#include <stdlib.h>
#include <string.h>

#include "proto/decode.h"
#include "proto/wire.h"
#include "tests/test.h"

#define ARENA       (256u << 10)
#define MESSAGE_MAX 4096

/* Numbers of every length, 0 among them. */
static uint64_t
some_number(uint64_t *state)
{
	return test_random(state) >> (test_random(state) % 65 % 64);
}

/* One field as any writer may write it: tag, then a number or bytes. */
static size_t
put_varint(uint8_t *p, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		p[n++] = (uint8_t)(value | 0x80);
	p[n++] = (uint8_t)value;
	return n;
}

/* Numbers for some fields of `d`, and one of its inner messages. */
static size_t
put_message(uint8_t *p, const ProtobufCMessageDescriptor *d, uint64_t *state)
{
	unsigned chosen = (unsigned)(test_random(state) % d->n_fields);
	size_t n = 0;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		uint8_t inner[MESSAGE_MAX];
		size_t size;

		if (f->type == PROTOBUF_C_TYPE_MESSAGE && i == chosen) {
			const ProtobufCMessageDescriptor *in = f->descriptor;

			size = in->n_fields == 0
				   ? 0
				   : put_message(inner, in, state);
			n += put_varint(p + n, f->id << 3 | 2);
			n += put_varint(p + n, size);
			memcpy(p + n, inner, size);
			n += size;
		} else if (f->type < PROTOBUF_C_TYPE_STRING &&
			   f->type != PROTOBUF_C_TYPE_DOUBLE &&
			   f->type != PROTOBUF_C_TYPE_FLOAT &&
			   test_random(state) % 4 != 0) {
			n += put_varint(p + n, f->id << 3);
			n += put_varint(p + n, f->type == PROTOBUF_C_TYPE_BOOL
						   ? test_random(state) % 2
						   : some_number(state));
		}
	}
	return n;
}

static size_t
put_packet(uint8_t *p, const ProtobufCMessageDescriptor *d, uint64_t *state)
{
	size_t n = 0;

	for (uint64_t k = 1 + test_random(state) % 4; k > 0; k--) {
		uint8_t inner[MESSAGE_MAX];
		size_t size = put_message(inner, d, state);

		n += put_varint(p + n, 1 << 3 | 2);
		n += put_varint(p + n, size);
		memcpy(p + n, inner, size);
		n += size;
	}
	return n;
}

static void
same_message(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	static uint8_t x[HOLDFAST_PACKET_MAX], y[HOLDFAST_PACKET_MAX];
	size_t n = protobuf_c_message_pack(a, x);

	ASSERT_EQ(protobuf_c_message_pack(b, y), n);
	ASSERT_EQ(memcmp(x, y, n), 0);
}

/* true: decode.c took it, and so did the library, with the same result. */
static bool
same_requests(struct wire_arena *arena, const uint8_t *buf, size_t len)
{
	Holdfast__V1__ClientPacket *packet;
	Holdfast__V1__Request **mine;
	size_t n;

	wire_arena_reset(arena);
	mine = decode_messages(arena, &holdfast__v1__request__descriptor, buf,
	    len, HOLDFAST_BATCH_MAX, &n);
	if (mine == NULL) {
		ASSERT_EQ(arena->used, 0u);
		return false;
	}
	packet = holdfast__v1__client_packet__unpack(NULL, len, buf);
	ASSERT_NOT_NULL(packet);
	ASSERT_EQ(packet->n_requests, n);
	for (size_t i = 0; i < n; i++)
		same_message(&mine[i]->base, &packet->requests[i]->base);
	holdfast__v1__client_packet__free_unpacked(packet, NULL);
	return true;
}

static bool
same_replies(struct wire_arena *arena, const uint8_t *buf, size_t len)
{
	Holdfast__V1__ServerPacket *packet;
	Holdfast__V1__Reply **mine;
	size_t n;

	wire_arena_reset(arena);
	mine = decode_messages(arena, &holdfast__v1__reply__descriptor, buf,
	    len, HOLDFAST_BATCH_MAX, &n);
	if (mine == NULL) {
		ASSERT_EQ(arena->used, 0u);
		return false;
	}
	packet = holdfast__v1__server_packet__unpack(NULL, len, buf);
	ASSERT_NOT_NULL(packet);
	ASSERT_EQ(packet->n_replies, n);
	for (size_t i = 0; i < n; i++)
		same_message(&mine[i]->base, &packet->replies[i]->base);
	holdfast__v1__server_packet__free_unpacked(packet, NULL);
	return true;
}

static void
mangle(uint8_t *buf, size_t *lenp, uint64_t *state)
{
	for (uint64_t k = 1 + test_random(state) % 3; k > 0; k--)
		buf[test_random(state) % *lenp] ^=
		    (uint8_t)(1u << test_random(state) % 8);
	*lenp -= test_random(state) % 3 * (*lenp > 4);
}

TEST(decode__reads_what_the_library_reads)
{
	static uint8_t buf[HOLDFAST_PACKET_MAX];
	uint64_t state = test_seed(), taken = 0, mangled = 0;
	uint64_t n = test_ops(20000);
	struct wire_arena arena;

	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	for (uint64_t i = 0; i < n; i++) {
		const bool client = i % 2 == 0;
		size_t len = put_packet(buf,
		    client ? &holdfast__v1__request__descriptor
			   : &holdfast__v1__reply__descriptor,
		    &state);

		taken += client ? same_requests(&arena, buf, len)
				: same_replies(&arena, buf, len);
		if (len == 0)
			continue;
		mangle(buf, &len, &state);
		mangled += client ? same_requests(&arena, buf, len)
				  : same_replies(&arena, buf, len);
	}
	ASSERT_TRUE(taken > n / 2);
	ASSERT_TRUE(mangled > n / 16 && mangled < n);
	wire_arena_fini(&arena);
}

TEST(decode__leaves_to_the_library_what_is_not_usual)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
	} cases[] = {
	    {{0}, 0},                            /* nothing at all */
	    {{0x12, 0x00}, 2},                   /* another field */
	    {{0x0a, 0x05, 0x08}, 3},             /* cut short */
	    {{0x0a, 0x02, 0x58, 0x01}, 4},       /* a number where none is */
	    {{0x0a, 0x04, 0x1a, 0, 0x1a, 0}, 6}, /* a oneof twice */
	    {{0x0a, 0x04, 0x08, 1, 0x08, 2}, 6}, /* a number twice */
	    {{0x0a, 0x03, 0xfa, 0x7f, 0}, 5},    /* an unknown field */
	    {{0x0a, 0x05, 0x12, 0x03, 0x1a, 1, 'a'}, 7}, /* text */
	    {{0x0a, 0x0b, 0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2},
		13}, /* more than 64 bits */
	};
	struct wire_arena arena;
	size_t n;

	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ASSERT_NULL(
		    decode_messages(&arena, &holdfast__v1__request__descriptor,
			cases[i].bytes, cases[i].len, HOLDFAST_BATCH_MAX, &n));
		ASSERT_EQ(arena.used, 0u);
	}
	wire_arena_fini(&arena);
}

TEST(decode__takes_no_more_messages_and_no_more_memory_than_it_may)
{
	static const uint8_t three[] = {0x0a, 2, 8, 1, 0x0a, 2, 8, 2, 0x0a, 2,
	    8, 3};
	struct wire_arena arena;
	size_t n;

	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	ASSERT_NULL(decode_messages(&arena, &holdfast__v1__request__descriptor,
	    three, sizeof(three), 2, &n));
	ASSERT_NOT_NULL(decode_messages(&arena,
	    &holdfast__v1__request__descriptor, three, sizeof(three), 3, &n));
	ASSERT_EQ(n, 3u);
	wire_arena_fini(&arena);
	for (size_t size = 0; size < 3 * sizeof(Holdfast__V1__Request);
	     size += 8) {
		ASSERT_EQ(wire_arena_init(&arena, size), 0);
		ASSERT_NULL(
		    decode_messages(&arena, &holdfast__v1__request__descriptor,
			three, sizeof(three), 3, &n));
		ASSERT_EQ(arena.used, 0u);
		ASSERT_FALSE(arena.exhausted);
		wire_arena_fini(&arena);
	}
}
