/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Packets and messages: bytes in, bytes out, and the bounds between.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"
#include "tests/test.h"

#define ARENA (256u << 10)

typedef Holdfast__V1__Request request_t;
typedef Holdfast__V1__Reply reply_t;

TEST(wire__requests_survive_the_way_there)
{
	Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ClientPacket *packet;
	struct wire_arena arena;
	struct wire_out out;
	uint8_t buf[256];

	find.map = 3;
	find.length = 1 << 20;
	find.find_space = 3;
	request.id = 77;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIND;
	request.map_find = &find;
	wire_out_init(&out, buf, sizeof(buf));
	ASSERT_EQ(wire_append_request(&out, &request), 0);
	request.id = 78;
	ASSERT_EQ(wire_append_request(&out, &request), 0);
	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	packet = wire_unpack_client(&arena, buf, out.len);
	ASSERT_NOT_NULL(packet);
	ASSERT_EQ(packet->n_requests, 2u);
	ASSERT_EQ(packet->requests[1]->id, 78u);
	ASSERT_EQ(packet->requests[1]->map_find->length, 1u << 20);
	/* Nothing points into the packet. */
	memset(buf, 0xff, sizeof(buf));
	ASSERT_EQ(packet->requests[0]->map_find->find_space, 3u);
	wire_arena_fini(&arena);
}

TEST(wire__what_does_not_fit_leaves_the_packet_as_it_was)
{
	reply_t reply = HOLDFAST__V1__REPLY__INIT;
	struct wire_arena arena;
	struct wire_out out;
	char text[200];
	uint8_t buf[256];
	size_t len;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	reply.message = text;
	wire_out_init(&out, buf, sizeof(buf));
	ASSERT_EQ(wire_append_reply(&out, &reply), 0);
	len = out.len;
	ASSERT_EQ(len, wire_reply_size(&reply));
	ASSERT_EQ(wire_append_reply(&out, &reply), -EMSGSIZE);
	ASSERT_EQ(out.len, len);
	ASSERT_EQ(out.n, 1u);
	/* Exactly full is not too full. */
	wire_out_init(&out, buf, len);
	ASSERT_EQ(wire_append_reply(&out, &reply), 0);
	wire_out_init(&out, buf, len - 1);
	ASSERT_EQ(wire_append_reply(&out, &reply), -EMSGSIZE);
	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	ASSERT_EQ(wire_unpack_server(&arena, buf, len)->n_replies, 1u);
	wire_arena_fini(&arena);
}

TEST(wire__a_packet_holds_a_batch_and_no_more)
{
	reply_t reply = HOLDFAST__V1__REPLY__INIT;
	uint8_t *buf = malloc(HOLDFAST_PACKET_MAX);
	struct wire_arena arena;
	struct wire_out out;

	ASSERT_NOT_NULL(buf);
	wire_out_init(&out, buf, HOLDFAST_PACKET_MAX);
	for (int i = 0; i < HOLDFAST_BATCH_MAX; i++)
		ASSERT_EQ(wire_append_reply(&out, &reply), 0);
	ASSERT_EQ(wire_append_reply(&out, &reply), -EMSGSIZE);
	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	ASSERT_NOT_NULL(wire_unpack_server(&arena, buf, out.len));
	ASSERT_NOT_NULL(wire_unpack_client(&arena, buf, out.len));
	memcpy(buf + out.len, (uint8_t[]){0x0a, 0x00}, 2);
	ASSERT_NULL(wire_unpack_server(&arena, buf, out.len + 2));
	ASSERT_NULL(wire_unpack_client(&arena, buf, out.len + 2));
	wire_arena_fini(&arena);
	free(buf);
}

TEST(wire__unpacking_never_takes_more_than_the_arena)
{
	uint8_t *buf = malloc(HOLDFAST_PACKET_MAX + 1);
	struct wire_arena arena;

	ASSERT_NOT_NULL(buf);
	for (size_t i = 0; i < HOLDFAST_PACKET_MAX; i += 2)
		memcpy(buf + i, (uint8_t[]){0x0a, 0x00}, 2);
	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	ASSERT_NULL(wire_unpack_client(&arena, buf, HOLDFAST_PACKET_MAX));
	ASSERT_TRUE(arena.exhausted);
	ASSERT_TRUE(arena.used <= ARENA);
	ASSERT_NULL(wire_unpack_client(&arena, buf, HOLDFAST_PACKET_MAX + 1));
	wire_arena_reset(&arena);
	ASSERT_FALSE(arena.exhausted);
	ASSERT_EQ(arena.used, 0u);
	wire_arena_fini(&arena);
	free(buf);
}

TEST(wire__arena_memory_is_zero_aligned_and_bounded)
{
	struct wire_arena arena;
	char *p, *q;

	ASSERT_EQ(wire_arena_init(&arena, 256), 0);
	p = wire_arena_alloc(&arena, 3);
	q = wire_arena_alloc(&arena, 100);
	ASSERT_TRUE(p != NULL && q != NULL);
	ASSERT_EQ((uintptr_t)q % 16, 0u);
	memset(q, 0xff, 100);
	wire_arena_reset(&arena);
	p = wire_arena_alloc(&arena, 200);
	for (int i = 0; i < 200; i++)
		ASSERT_EQ(p[i], 0);
	ASSERT_NULL(wire_arena_alloc(&arena, 57));
	ASSERT_NULL(wire_arena_alloc(&arena, SIZE_MAX));
	wire_arena_fini(&arena);
}

/* Any bytes are either a packet or refused: with the sanitizers, the point. */
TEST(wire__survives_mangled_packets)
{
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	uint64_t seed = test_seed(), nparsed = 0;
	struct wire_arena arena;
	struct wire_out out;
	uint8_t good[128], bad[128];

	hello.version_min = hello.version_max = 1;
	hello.name = (char *)"a name";
	request.op_case = HOLDFAST__V1__REQUEST__OP_HELLO;
	request.hello = &hello;
	wire_out_init(&out, good, sizeof(good));
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(wire_append_request(&out, &request), 0);
	ASSERT_EQ(wire_arena_init(&arena, ARENA), 0);
	for (uint64_t i = 0; i < test_ops(20000); i++) {
		size_t len = out.len - test_random(&seed) % 8;

		memcpy(bad, good, out.len);
		for (uint64_t j = test_random(&seed) % 4; j > 0; j--)
			bad[test_random(&seed) % len] ^=
			    (uint8_t)(1u << test_random(&seed) % 8);
		wire_arena_reset(&arena);
		nparsed += wire_unpack_client(&arena, bad, len) != NULL;
		(void)wire_unpack_server(&arena, bad, len);
	}
	ASSERT_TRUE(nparsed > 0);
	wire_arena_fini(&arena);
}

/* Numbers of every length, 0 among them. */
static uint64_t
some_number(uint64_t *state)
{
	return test_random(state) >> (test_random(state) % 65 % 64);
}

static void
same_bytes(const struct wire_out *out, const ProtobufCMessage *packet)
{
	static uint8_t want[HOLDFAST_PACKET_MAX];
	size_t n = protobuf_c_message_pack(packet, want);

	ASSERT_EQ(out->len, n);
	ASSERT_EQ(memcmp(out->buf, want, n), 0);
}

TEST(wire__a_request_has_the_bytes_that_the_library_would_give_it)
{
	uint64_t state = test_seed();
	uint8_t buf[4096];

	for (unsigned i = 0; i < 20000; i++) {
		Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;
		Holdfast__V1__Ping ping = HOLDFAST__V1__PING__INIT;
		Holdfast__V1__MapAttach attach = HOLDFAST__V1__MAP_ATTACH__INIT;
		Holdfast__V1__ContigAlloc contig =
		    HOLDFAST__V1__CONTIG_ALLOC__INIT;
		Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
		Holdfast__V1__Request *requests[] = {&request};
		Holdfast__V1__ClientPacket packet =
		    HOLDFAST__V1__CLIENT_PACKET__INIT;
		char name[200] = "";
		struct wire_out out;

		request.id = some_number(&state);
		find.map = some_number(&state);
		find.addr = some_number(&state);
		find.length = some_number(&state);
		find.max_addr = some_number(&state);
		find.prot = (uint32_t)some_number(&state);
		find.cow = (uint32_t)some_number(&state);
		memset(name, 'n', test_random(&state) % sizeof(name));
		name[sizeof(name) - 1] = '\0';
		attach.name = name;
		contig.size = some_number(&state);
		contig.low = some_number(&state);
		contig.domain = (int32_t)some_number(&state);
		contig.domains = (uint32_t)some_number(&state);
		contig.policy =
		    (Holdfast__V1__DomainsetPolicy)(test_random(&state) % 6);
		contig.device = i % 2 != 0;
		contig.type = i % 3 == 0   ? name
			      : i % 3 == 1 ? NULL
					   : (char *)"";
		switch (i % 5) {
		case 0:
			request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIND;
			request.map_find = &find;
			break;
		case 1:
			request.op_case = HOLDFAST__V1__REQUEST__OP_PING;
			request.ping = &ping;
			break;
		case 2:
			request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ATTACH;
			request.map_attach = &attach;
			break;
		case 3:
			request.op_case =
			    HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC;
			request.contig_alloc = &contig;
			break;
		default:
			break;
		}
		wire_out_init(&out, buf, sizeof(buf));
		ASSERT_EQ(wire_append_request(&out, &request), 0);
		packet.n_requests = 1;
		packet.requests = requests;
		same_bytes(&out, &packet.base);
	}
}

TEST(wire__a_reply_has_the_bytes_that_the_library_would_give_it)
{
	uint64_t state = test_seed();
	uint8_t buf[4096];

	for (unsigned i = 0; i < 20000; i++) {
		Holdfast__V1__ContigAllocResult contig =
		    HOLDFAST__V1__CONTIG_ALLOC_RESULT__INIT;
		Holdfast__V1__MapFindResult find =
		    HOLDFAST__V1__MAP_FIND_RESULT__INIT;
		Holdfast__V1__Reply reply = HOLDFAST__V1__REPLY__INIT;
		Holdfast__V1__Reply *replies[] = {&reply};
		Holdfast__V1__ServerPacket packet =
		    HOLDFAST__V1__SERVER_PACKET__INIT;
		struct wire_out out;

		reply.id = some_number(&state);
		reply.status = (Holdfast__V1__Status)(test_random(&state) % 80);
		reply.nfds = (uint32_t)(test_random(&state) % 3);
		contig.buffer = some_number(&state);
		contig.size = some_number(&state);
		contig.pa = some_number(&state);
		contig.span_pa = some_number(&state);
		contig.domain = (int32_t)some_number(&state);
		find.addr = some_number(&state);
		if (i % 4 == 0) {
			reply.result_case =
			    HOLDFAST__V1__REPLY__RESULT_MAP_FIND;
			reply.map_find = &find;
		} else if (i % 4 == 1) {
			reply.result_case =
			    HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC;
			reply.contig_alloc = &contig;
		} else if (i % 4 == 2) {
			reply.message =
			    (char *)(uintptr_t) "size must not be 0";
		}
		wire_out_init(&out, buf, sizeof(buf));
		ASSERT_EQ(wire_append_reply(&out, &reply), 0);
		packet.n_replies = 1;
		packet.replies = replies;
		same_bytes(&out, &packet.base);
	}
}
