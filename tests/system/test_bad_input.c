/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Everything a client can send that makes no sense, over a bare socket to a
 * real daemon: each gets its status and a sentence, or the connection is
 * closed for what breaks the framing; and the daemon's state and descriptors
 * are as they were.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/wire.h"
#include "tests/send_fds.h"
#include "tests/system/live.h"
#include "tests/test.h"

#define CLOSED (-1) /* the daemon hung up */

#define OP(name) HOLDFAST__V1__REQUEST__OP_##name
#define ST(name) HOLDFAST__V1__STATUS__STATUS_##name

/* ---- A client without a library ------------------------------------------ */

static int
raw_connect(const struct live *live)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval tv = {20, 0};
	int big = 1 << 20;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(sun.sun_path, live->path);
	ASSERT_EQ(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	return fd;
}

/* false: the kernel refused the descriptors, as from Linux 6.16 on it does. */
static bool
raw_send(int conn, const void *data, size_t size, const int *fds, size_t nfds)
{
	if (send_fds(conn, data, size, fds, nfds) == (ssize_t)size)
		return true;
	ASSERT_TRUE(nfds > 0);
	ASSERT_EQ(errno, EPERM);
	return false;
}

/* One reply: its status, or CLOSED.  Descriptors that come are closed. */
struct raw_reply {
	int status;
	uint64_t id; /* of what it made, if anything */
	char message[HOLDFAST_MESSAGE_MAX + 1];
};

static uint64_t
made_id(const Holdfast__V1__Reply *reply)
{
	switch (reply->result_case) {
	case HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC:
		return reply->contig_alloc->buffer;
	case HOLDFAST__V1__REPLY__RESULT_MAP:
		return reply->map->map;
	case HOLDFAST__V1__REPLY__RESULT_OBJECT_CREATE:
		return reply->object_create->object;
	default:
		return 0;
	}
}

static void
close_fds(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
	     c = CMSG_NXTHDR(msg, c))
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / 4; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + 4 * i, sizeof(fd));
			(void)close(fd);
		}
}

static struct raw_reply
raw_receive(int conn)
{
	static uint8_t packet[HOLDFAST_PACKET_MAX];
	struct raw_reply reply = {.status = CLOSED};
	Holdfast__V1__ServerPacket *in;
	struct wire_arena arena;
	char control[CMSG_SPACE(sizeof(int) * HOLDFAST_FDS_MAX)];
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(conn, &msg, MSG_CMSG_CLOEXEC);

	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return reply;
	ASSERT_GT(n, 0); /* a timeout is a daemon that does not answer */
	close_fds(&msg);
	ASSERT_EQ(wire_arena_init(&arena, HOLDFAST_UNPACK_MAX), 0);
	in = wire_unpack_server(&arena, packet, (size_t)n);
	ASSERT_NOT_NULL(in);
	ASSERT_EQ(in->n_replies, 1);
	reply.status = (int)in->replies[0]->status;
	reply.id = made_id(in->replies[0]);
	(void)snprintf(reply.message, sizeof(reply.message), "%s",
	    in->replies[0]->message);
	wire_arena_fini(&arena);
	return reply;
}

static struct raw_reply
raw_call(int conn, const Holdfast__V1__Request *request)
{
	static uint8_t packet[HOLDFAST_PACKET_MAX];
	struct wire_out out;

	wire_out_init(&out, packet, sizeof(packet));
	ASSERT_EQ(wire_append_request(&out, request), 0);
	(void)raw_send(conn, packet, out.len, NULL, 0);
	return raw_receive(conn);
}

static int
raw_hello(int conn)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	request.op_case = OP(HELLO);
	request.hello = &hello;
	return raw_call(conn, &request).status;
}

/* ---- Requests that are refused --------------------------------------------
 */

/* Ids that exist, of this session and of another. */
static struct ids {
	uint64_t map, object, buffer;
} own, foreign;

struct bad {
	const char *what;
	int status;
	/* Fill in; the messages are static. */
	void (*make)(Holdfast__V1__Request *request);
};

static Holdfast__V1__ContigAlloc *
contig(Holdfast__V1__Request *request)
{
	static Holdfast__V1__ContigAlloc op;

	holdfast__v1__contig_alloc__init(&op);
	op.size = 8192;
	request->op_case = OP(CONTIG_ALLOC);
	request->contig_alloc = &op;
	return &op;
}

static Holdfast__V1__MapFind *
find(Holdfast__V1__Request *request)
{
	static Holdfast__V1__MapFind op;

	holdfast__v1__map_find__init(&op);
	op.map = own.map;
	op.length = 4096;
	op.prot = op.max_prot = 3;
	op.find_space = HF_VMFS_ANY_SPACE;
	request->op_case = OP(MAP_FIND);
	request->map_find = &op;
	return &op;
}

static Holdfast__V1__MapInsert *
insert(Holdfast__V1__Request *request)
{
	static Holdfast__V1__MapInsert op;

	holdfast__v1__map_insert__init(&op);
	op.map = own.map;
	op.start = UINT64_C(0x7e8000000000);
	op.end = op.start + 4096;
	op.prot = op.max_prot = 3;
	request->op_case = OP(MAP_INSERT);
	request->map_insert = &op;
	return &op;
}

static Holdfast__V1__MapCreate *
create(Holdfast__V1__Request *request)
{
	static Holdfast__V1__MapCreate op;

	holdfast__v1__map_create__init(&op);
	request->op_case = OP(MAP_CREATE);
	request->map_create = &op;
	return &op;
}

static Holdfast__V1__ObjectCreate *
object(Holdfast__V1__Request *request)
{
	static Holdfast__V1__ObjectCreate op;

	holdfast__v1__object_create__init(&op);
	op.kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE;
	op.size = 4096;
	request->op_case = OP(OBJECT_CREATE);
	request->object_create = &op;
	return &op;
}

static void
contig_free_id(Holdfast__V1__Request *request, uint64_t id)
{
	static Holdfast__V1__ContigFree op;

	holdfast__v1__contig_free__init(&op);
	op.buffer = id;
	request->op_case = OP(CONTIG_FREE);
	request->contig_free = &op;
}

static void
map_entries_id(Holdfast__V1__Request *request, uint64_t id)
{
	static Holdfast__V1__MapEntries op;

	holdfast__v1__map_entries__init(&op);
	op.map = id;
	op.want_fds = true;
	request->op_case = OP(MAP_ENTRIES);
	request->map_entries = &op;
}

static void
map_delete_range(Holdfast__V1__Request *request, uint64_t start, uint64_t end)
{
	static Holdfast__V1__MapDelete op;

	holdfast__v1__map_delete__init(&op);
	op.map = own.map;
	op.start = start;
	op.end = end;
	request->op_case = OP(MAP_DELETE);
	request->map_delete = &op;
}

/* The calls that change a range, each with arguments that are fine but for
 * what a case spoils; nothing is mapped there. */
#define RANGE(function, Type, type, TYPE, field)                               \
	static Holdfast__V1__##Type *function(Holdfast__V1__Request *r)        \
	{                                                                      \
		static Holdfast__V1__##Type op;                                \
                                                                               \
		holdfast__v1__##type##__init(&op);                             \
		op.map = own.map;                                              \
		op.start = UINT64_C(0x7e8000000000);                           \
		op.end = op.start + 4096;                                      \
		r->op_case = OP(TYPE);                                         \
		r->field = &op;                                                \
		return &op;                                                    \
	}

RANGE(protect, MapProtect, map_protect, MAP_PROTECT, map_protect)
RANGE(inherit, MapInherit, map_inherit, MAP_INHERIT, map_inherit)
RANGE(advise, MapMadvise, map_madvise, MAP_MADVISE, map_madvise)
RANGE(wire, MapWire, map_wire, MAP_WIRE, map_wire)
RANGE(unwire, MapUnwire, map_unwire, MAP_UNWIRE, map_unwire)

static Holdfast__V1__MapStack *
stack(Holdfast__V1__Request *request)
{
	static Holdfast__V1__MapStack op;

	holdfast__v1__map_stack__init(&op);
	op.map = own.map;
	op.addrbos = UINT64_C(0x7e8000000000);
	op.max_ssize = 1 << 20;
	op.prot = op.max_prot = 3;
	op.cow = 0x1000;
	request->op_case = OP(MAP_STACK);
	request->map_stack = &op;
	return &op;
}

static Holdfast__V1__MapGrowstack *
growstack(Holdfast__V1__Request *request)
{
	static Holdfast__V1__MapGrowstack op;

	holdfast__v1__map_growstack__init(&op);
	op.map = own.map;
	op.addr = UINT64_C(0x7e8000000000);
	request->op_case = OP(MAP_GROWSTACK);
	request->map_growstack = &op;
	return &op;
}

static void
watch_id(Holdfast__V1__Request *request, uint64_t id)
{
	static Holdfast__V1__MapWatch op;

	holdfast__v1__map_watch__init(&op);
	op.map = id;
	request->op_case = OP(MAP_WATCH);
	request->map_watch = &op;
}

static char *
text(const char *s)
{
	return (char *)(uintptr_t)s;
}

#define BAD(name, ...)                                                         \
	static void name(Holdfast__V1__Request *r)                             \
	{                                                                      \
		__VA_ARGS__;                                                   \
	}

BAD(no_op, (void)r)
BAD(size_0, contig(r)->size = 0)
BAD(size_huge, contig(r)->size = UINT64_MAX)
BAD(size_wraps, contig(r)->size = UINT64_MAX - 100)
BAD(size_over_pool, contig(r)->size = UINT64_C(1) << 40)
BAD(align_3, contig(r)->alignment = 3)
BAD(align_12288, contig(r)->alignment = 12288)
BAD(align_huge, contig(r)->alignment = UINT64_C(1) << 63)
BAD(boundary_3, contig(r)->boundary = 3)
BAD(boundary_small, contig(r)->boundary = 4096)
BAD(low_is_high, contig(r)->high = 1 << 20; r->contig_alloc->low = 1 << 20)
BAD(low_over_high, contig(r)->high = 4096; r->contig_alloc->low = 8192)
BAD(low_at_top, contig(r)->low = UINT64_MAX)
BAD(high_too_low, contig(r)->high = 8192)
BAD(domain_none, contig(r)->domain = 1000)
BAD(domain_negative, contig(r)->domain = -7)
BAD(type_long,
    contig(r)->type = text("a type name that is far too long for anybody"))
BAD(flags_unknown, contig(r)->flags = 0x80000000)
BAD(free_0, contig_free_id(r, 0))
BAD(free_unknown, contig_free_id(r, 123456789))
BAD(free_foreign, contig_free_id(r, foreign.buffer))
BAD(free_a_map, contig_free_id(r, own.map))
BAD(object_0, object(r)->size = 0)
BAD(object_odd, object(r)->size = 4095)
BAD(object_kind_0, object(r)->kind = 0)
BAD(object_kind_9, object(r)->kind = (Holdfast__V1__ObjectKind)9)
BAD(object_super_odd, object(r)->size = 4096;
    r->object_create->kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER)
BAD(map_inverted, create(r)->min = 0x20000000; r->map_create->max = 0x10000000)
BAD(map_empty, create(r)->min = 0x10000000; r->map_create->max = 0x10000000)
BAD(map_odd, create(r)->min = 0x10000001; r->map_create->max = 0x20000000)
BAD(map_name_bad, create(r)->name = text("a/b"))
BAD(map_name_newline, create(r)->name = text("a\nb"))
BAD(map_name_long,
    create(r)->name = text(
	"0123456789012345678901234567890123456789012345678901234567890123"))
BAD(map_machine, create(r)->machine = text("vax"))
BAD(map_taken, create(r)->name = text("taken"))
BAD(find_0, find(r)->length = 0)
BAD(find_odd, find(r)->length = 4095)
BAD(find_huge, find(r)->length = UINT64_C(1) << 50)
BAD(find_wraps, find(r)->length = UINT64_MAX - 4095)
BAD(find_space_9, find(r)->find_space = 9)
BAD(find_align_63, find(r)->find_space = 200 << 8)
BAD(find_prot, find(r)->prot = 0xff)
BAD(find_prot_over_max, find(r)->max_prot = 1)
BAD(find_cow, find(r)->cow = 0xffffffff)
BAD(find_map_0, find(r)->map = 0)
BAD(find_map_unknown, find(r)->map = 987654)
BAD(find_map_foreign, find(r)->map = foreign.map)
BAD(find_object_unknown, find(r)->object = 987654)
BAD(find_object_foreign, find(r)->object = foreign.object)
BAD(find_object_is_buffer, find(r)->object = own.buffer)
BAD(find_offset_odd, find(r)->object = own.object; r->map_find->offset = 5)
BAD(insert_inverted, insert(r)->start += 8192)
BAD(insert_empty, insert(r)->start += 4096)
BAD(insert_odd, insert(r)->start += 8)
BAD(insert_below, insert(r)->start = 4096; r->map_insert->end = 8192)
BAD(insert_above, insert(r)->end = UINT64_MAX - 4095)
BAD(delete_odd, map_delete_range(r, 8, 4096))
BAD(entries_unknown, map_entries_id(r, 555555))
BAD(entries_foreign, map_entries_id(r, foreign.map))
BAD(protect_odd, protect(r)->start += 8; r->map_protect->flags = 1)
BAD(protect_flags, protect(r)->flags = 0xffff)
BAD(protect_prot, protect(r)->prot = 0xff; r->map_protect->flags = 1)
BAD(protect_nothing, protect(r)->map = own.map + 4096)
BAD(protect_foreign, protect(r)->map = foreign.map)
BAD(inherit_9, inherit(r)->inheritance = 9)
BAD(inherit_outside, inherit(r)->start = 4096; r->map_inherit->end = 8192)
BAD(inherit_unknown, inherit(r)->map = 31337)
BAD(advise_77, advise(r)->advice = 77)
BAD(advise_odd, advise(r)->end += 1)
BAD(wire_hole, wire(r)->flags = 1)
BAD(wire_system, wire(r)->flags = 0)
BAD(wire_flags, wire(r)->flags = 0xfff1)
BAD(unwire_hole, unwire(r)->flags = 1)
BAD(unwire_system, unwire(r)->flags = 0)
BAD(stack_0, stack(r)->max_ssize = 0)
BAD(stack_odd, stack(r)->addrbos += 8)
BAD(stack_wraps, stack(r)->max_ssize = UINT64_MAX - 4095)
BAD(stack_outside, stack(r)->addrbos = 4096)
BAD(stack_cow, stack(r)->cow = 0xffffffff)
BAD(growstack_nothing, (void)growstack(r))
BAD(growstack_outside, growstack(r)->addr = 4096)
BAD(growstack_foreign, growstack(r)->map = foreign.map)
BAD(watch_unknown, watch_id(r, 31337))
BAD(watch_foreign, watch_id(r, foreign.map))
BAD(watch_a_buffer, watch_id(r, own.buffer))

static const struct bad bads[] = {
    {"a request without an operation", ST(UNKNOWN_REQUEST), no_op},
    {"size 0", ST(INVALID_ARGUMENT), size_0},
    {"size 2^64-1", ST(INVALID_ARGUMENT), size_huge},
    {"size that wraps when rounded", ST(INVALID_ARGUMENT), size_wraps},
    {"size over the pool", 0, size_over_pool},
    {"alignment 3", ST(INVALID_ARGUMENT), align_3},
    {"alignment 12288", ST(INVALID_ARGUMENT), align_12288},
    {"alignment 2^63", 0, align_huge},
    {"boundary 3", ST(INVALID_ARGUMENT), boundary_3},
    {"boundary below size", ST(INVALID_ARGUMENT), boundary_small},
    {"low = high", ST(INVALID_ARGUMENT), low_is_high},
    {"low > high", ST(INVALID_ARGUMENT), low_over_high},
    {"low 2^64-1", 0, low_at_top},
    {"high below the pool", ST(NO_SPACE), high_too_low},
    {"domain 999", 0, domain_none},
    {"domain -8", ST(INVALID_ARGUMENT), domain_negative},
    {"a long type name", ST(INVALID_ARGUMENT), type_long},
    {"unknown flags", ST(INVALID_ARGUMENT), flags_unknown},
    {"free of id 0", ST(UNKNOWN_ID), free_0},
    {"free of an unknown id", ST(UNKNOWN_ID), free_unknown},
    {"free of another session's id", ST(UNKNOWN_ID), free_foreign},
    {"free of a map", ST(UNKNOWN_ID), free_a_map},
    {"object of size 0", ST(INVALID_ARGUMENT), object_0},
    {"object of 4095 bytes", ST(INVALID_ARGUMENT), object_odd},
    {"object of no kind", ST(INVALID_ARGUMENT), object_kind_0},
    {"object of kind 9", ST(INVALID_ARGUMENT), object_kind_9},
    {"superpage object of 4096 bytes", ST(INVALID_ARGUMENT), object_super_odd},
    {"inverted map", ST(INVALID_ARGUMENT), map_inverted},
    {"empty map", ST(INVALID_ARGUMENT), map_empty},
    {"map within a page", ST(INVALID_ARGUMENT), map_odd},
    {"map name with a slash", ST(INVALID_ARGUMENT), map_name_bad},
    {"map name with a newline", ST(INVALID_ARGUMENT), map_name_newline},
    {"map name of 64 bytes", ST(INVALID_ARGUMENT), map_name_long},
    {"map of a vax", ST(INVALID_ARGUMENT), map_machine},
    {"map name that is taken", ST(EXISTS), map_taken},
    {"find of 0 bytes", 0, find_0},
    {"find of 4095 bytes", ST(INVALID_ARGUMENT), find_odd},
    {"find of 2^50 bytes", 0, find_huge},
    {"find that wraps", 0, find_wraps},
    {"find_space 9", ST(INVALID_ARGUMENT), find_space_9},
    {"alignment 2^200", ST(INVALID_ARGUMENT), find_align_63},
    {"protection 0xff", ST(INVALID_ARGUMENT), find_prot},
    {"protection over its maximum", 0, find_prot_over_max},
    {"every cow flag", ST(INVALID_ARGUMENT), find_cow},
    {"find in map 0", ST(UNKNOWN_ID), find_map_0},
    {"find in an unknown map", ST(UNKNOWN_ID), find_map_unknown},
    {"find in another session's map", ST(UNKNOWN_ID), find_map_foreign},
    {"find with an unknown object", ST(UNKNOWN_ID), find_object_unknown},
    {"find with another session's object", ST(UNKNOWN_ID), find_object_foreign},
    {"find with a buffer for an object", ST(UNKNOWN_ID), find_object_is_buffer},
    {"offset within a page", ST(INVALID_ARGUMENT), find_offset_odd},
    {"inverted insert", 0, insert_inverted},
    {"empty insert", 0, insert_empty},
    {"insert within a page", ST(INVALID_ARGUMENT), insert_odd},
    {"insert below the map", 0, insert_below},
    {"insert above the map", 0, insert_above},
    {"delete within a page", ST(INVALID_ARGUMENT), delete_odd},
    {"protect within a page", ST(INVALID_ARGUMENT), protect_odd},
    {"protect with every flag", ST(INVALID_ARGUMENT), protect_flags},
    {"protect with rights 0xff", ST(INVALID_ARGUMENT), protect_prot},
    {"protect of an unknown map", ST(UNKNOWN_ID), protect_nothing},
    {"protect of another session's map", ST(UNKNOWN_ID), protect_foreign},
    {"inheritance 9", ST(INVALID_ARGUMENT), inherit_9},
    {"inherit outside the map", 0, inherit_outside},
    {"inherit of an unknown map", ST(UNKNOWN_ID), inherit_unknown},
    {"advice 77", ST(INVALID_ARGUMENT), advise_77},
    {"advice within a page", ST(INVALID_ARGUMENT), advise_odd},
    {"wire of nothing", ST(INVALID_ADDRESS), wire_hole},
    {"wire of nothing for the system", ST(INVALID_ADDRESS), wire_system},
    {"wire with every flag", ST(INVALID_ARGUMENT), wire_flags},
    {"unwire of nothing", 0, unwire_hole},
    {"unwire of nothing for the system", 0, unwire_system},
    {"stack of 0 bytes", 0, stack_0},
    {"stack within a page", ST(INVALID_ARGUMENT), stack_odd},
    {"stack that wraps", 0, stack_wraps},
    {"stack outside the map", 0, stack_outside},
    {"stack with every flag", ST(INVALID_ARGUMENT), stack_cow},
    {"growth where no stack is", 0, growstack_nothing},
    {"growth outside the map", 0, growstack_outside},
    {"growth in another session's map", ST(UNKNOWN_ID), growstack_foreign},
    {"watch of an unknown map", ST(UNKNOWN_ID), watch_unknown},
    {"watch of another session's map", ST(UNKNOWN_ID), watch_foreign},
    {"watch of a buffer", ST(UNKNOWN_ID), watch_a_buffer},
    {"entries of an unknown map", ST(UNKNOWN_ID), entries_unknown},
    {"entries of another session's map", ST(UNKNOWN_ID), entries_foreign},
};

static uint64_t
must_make(int conn, const Holdfast__V1__Request *request)
{
	struct raw_reply reply = raw_call(conn, request);

	if (reply.status != ST(SUCCESS))
		test_fail(__FILE__, __LINE__, "status %d: %s", reply.status,
		    reply.message);
	return reply.id;
}

static struct ids
make_ids(int conn, const char *name)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	struct ids ids;

	create(&request)->name = text(name);
	ids.map = must_make(conn, &request);
	(void)object(&request);
	ids.object = must_make(conn, &request);
	(void)contig(&request);
	ids.buffer = must_make(conn, &request);
	return ids;
}

/* 0 in the table: any refusal will do, the manual page's code decides. */
static void
check_bad(int conn, const struct bad *bad)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	struct raw_reply reply;

	request.id = 77;
	bad->make(&request);
	reply = raw_call(conn, &request);
	if (reply.status <= ST(SUCCESS) ||
	    (bad->status != 0 && reply.status != bad->status))
		test_fail(__FILE__, __LINE__, "%s: status %d, not %d: %s",
		    bad->what, reply.status, bad->status, reply.message);
	if (strlen(reply.message) < 10)
		test_fail(__FILE__, __LINE__, "%s: no sentence: \"%s\"",
		    bad->what, reply.message);
}

static void
check_all_bads(const struct live *live, struct holdfast *h)
{
	struct holdfast_tenant_status t0, t1;
	struct live_pool p0, p1;
	int conn = raw_connect(live), other = raw_connect(live), nfds;

	ASSERT_EQ(raw_hello(conn), ST(SUCCESS));
	ASSERT_EQ(raw_hello(other), ST(SUCCESS));
	own = make_ids(conn, "own");
	foreign = make_ids(other, "taken");
	live_pool_read(h, &p0);
	ASSERT_EQ(holdfast_tenant_status(h, &t0), HF_OK);
	nfds = live_nfds(live);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++)
			check_bad(conn, &bads[i]);
	ASSERT_EQ(live_nfds(live), nfds);
	live_pool_read(h, &p1);
	live_pool_same(&p0, &p1);
	ASSERT_EQ(holdfast_tenant_status(h, &t1), HF_OK);
	ASSERT_EQ(t0.bytes.used, t1.bytes.used);
	ASSERT_EQ(t0.fds.used, t1.fds.used);
	ASSERT_EQ(t0.buffers, t1.buffers);
	ASSERT_EQ(t0.maps, t1.maps);
	ASSERT_EQ(t0.entries, t1.entries);
	live_pool_fini(&p0);
	live_pool_fini(&p1);
	(void)close(conn);
	(void)close(other);
}

static const char *const told[] = {"--allow-addresses", "all", NULL};

TEST_TIMEOUT(bad_input__each_bad_argument_is_refused_with_a_sentence, 120)
{
	struct holdfast *h;
	struct live live;

	live_start(&live, 32, told);
	h = live_connect(&live);
	check_all_bads(&live, h);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- What breaks the framing ------------------------------------------- */

static int some_fds[100];

static bool
send_garbage(int conn)
{
	return raw_send(conn, "\xff\xff\xff\xff\xff", 5, NULL, 0);
}

static bool
send_cut_short(int conn)
{
	return raw_send(conn, "\x0a\x7f\x08", 3, NULL, 0);
}

static bool
send_oversize(int conn)
{
	static uint8_t big[HOLDFAST_PACKET_MAX + 1];

	return raw_send(conn, big, sizeof(big), NULL, 0);
}

static bool
send_largest_garbage(int conn)
{
	static uint8_t big[HOLDFAST_PACKET_MAX];

	memset(big, 0x0a, sizeof(big));
	return raw_send(conn, big, sizeof(big), NULL, 0);
}

/* Requests of two bytes each, far more than a batch may hold. */
static bool
send_too_many_requests(int conn)
{
	static uint8_t packet[2 * (HOLDFAST_BATCH_MAX + 1)];

	for (size_t i = 0; i < sizeof(packet); i += 2)
		packet[i] = 0x0a;
	return raw_send(conn, packet, sizeof(packet), NULL, 0);
}

static bool
send_ping_with(int conn, const int *fds, size_t nfds)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Ping ping = HOLDFAST__V1__PING__INIT;
	uint8_t packet[64];
	struct wire_out out;

	request.op_case = OP(PING);
	request.ping = &ping;
	wire_out_init(&out, packet, sizeof(packet));
	ASSERT_EQ(wire_append_request(&out, &request), 0);
	return raw_send(conn, packet, out.len, fds, nfds);
}

static bool
send_one_fd(int conn)
{
	return send_ping_with(conn, some_fds, 1);
}

static bool
send_100_fds(int conn)
{
	return send_ping_with(conn, some_fds, 100);
}

static bool
send_fds_without_data(int conn)
{
	return raw_send(conn, NULL, 0, some_fds, 3);
}

static bool
send_100_fds_without_data(int conn)
{
	return raw_send(conn, NULL, 0, some_fds, 100);
}

static bool
send_nothing(int conn)
{
	return raw_send(conn, NULL, 0, NULL, 0);
}

TEST(bad_input__what_breaks_the_framing_ends_the_connection)
{
	static const struct {
		const char *what;
		bool (*send)(int conn);
	} cases[] = {
	    {"garbage", send_garbage},
	    {"a packet cut short", send_cut_short},
	    {"an oversize packet", send_oversize},
	    {"64 KiB of garbage", send_largest_garbage},
	    {"257 requests", send_too_many_requests},
	    {"a descriptor", send_one_fd},
	    {"100 descriptors", send_100_fds},
	    {"descriptors without data", send_fds_without_data},
	    {"100 descriptors without data", send_100_fds_without_data},
	    {"a packet of no bytes", send_nothing},
	};
	struct holdfast *h;
	struct live live;
	int nfds;

	for (size_t i = 0; i < 100; i++)
		some_fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	live_start(&live, 32, told);
	h = live_connect(&live);
	nfds = live_nfds(&live);
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		int conn = raw_connect(&live);

		if (i % 2 != 0) /* once before Hello, once after */
			ASSERT_EQ(raw_hello(conn), ST(SUCCESS));
		if (cases[i / 2].send(conn) &&
		    raw_receive(conn).status != CLOSED)
			test_fail(__FILE__, __LINE__, "%s: not closed",
			    cases[i / 2].what);
		(void)close(conn);
	}
	live_wait_idle(h);
	ASSERT_EQ(live_nfds(&live), nfds);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	holdfast_close(h);
	live_stop(&live);
	for (size_t i = 0; i < 100; i++)
		(void)close(some_fds[i]);
}

/* ---- Negotiation -------------------------------------------------------- */

TEST(bad_input__hello_comes_first_and_agrees_on_a_version)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;
	struct holdfast *h;
	struct live live;
	int conn;

	live_start(&live, 32, NULL);
	h = live_connect(&live);
	conn = raw_connect(&live);
	(void)contig(&request);
	ASSERT_EQ(raw_call(conn, &request).status, ST(NOT_NEGOTIATED));
	hello.version_min = 90;
	hello.version_max = 99;
	request.op_case = OP(HELLO);
	request.hello = &hello;
	ASSERT_EQ(raw_call(conn, &request).status, ST(VERSION));
	hello.version_min = 5;
	hello.version_max = 1;
	ASSERT_NE(raw_call(conn, &request).status, ST(SUCCESS));
	hello.version_min = 1;
	hello.version_max = 99;
	ASSERT_EQ(raw_call(conn, &request).status, ST(SUCCESS));
	(void)close(conn);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}
