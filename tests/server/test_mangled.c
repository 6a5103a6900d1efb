/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Packets that were legal once: every operation with figures at random, then
 * bits turned over.  The server answers or cuts off, another client is served
 * all the while, the maps stay sound, and at the end everything is home.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)

static uint64_t state;

static uint64_t
dice(uint64_t n)
{
	return test_random(&state) % n;
}

/* Figures of the kind that break things. */
static uint64_t
figure(void)
{
	static const uint64_t odd[] = {0, 1, PAGE - 1, PAGE, PAGE + 1,
	    RIG_FRAME, RIG_FRAME + PAGE, RIG_BASE, UINT64_MAX,
	    UINT64_MAX - PAGE + 1, UINT64_C(1) << 63, MAP_DEFAULT_MIN,
	    MAP_DEFAULT_MAX, MAP_DEFAULT_MAX - PAGE};

	switch (dice(4)) {
	case 0:
		return odd[dice(nitems(odd))];
	case 1:
		return MAP_DEFAULT_MIN + PAGE * dice(64);
	case 2:
		return PAGE * dice(2048);
	default:
		return dice(8);
	}
}

/* Numbers that may be of something: low serials, generations and indices. */
static uint64_t
number(struct client *client)
{
	struct session *session =
	    TAILQ_LAST(&client->rig->server->sessions, session_list);
	uint64_t id = 0;
	void *object;

	if (session != NULL && dice(8) != 0 &&
	    idtable_next(&session->ids, (enum id_kind)(1 + dice(4)), dice(8),
		&id, &object))
		return id;
	return figure();
}

/*
 * Fill the scalar fields of any message by its descriptor, so that a new
 * operation is covered the day it is added.
 */
static void
fill(struct client *client, ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &d->fields[i];
		char *at = (char *)message + field->offset;
		bool is_number = strcmp(field->name, "map") == 0 ||
				 strcmp(field->name, "submap") == 0 ||
				 strcmp(field->name, "object") == 0 ||
				 strcmp(field->name, "buffer") == 0;

		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			continue;
		switch (field->type) {
		case PROTOBUF_C_TYPE_UINT64: {
			uint64_t v = is_number ? number(client) : figure();

			memcpy(at, &v, sizeof(v));
			break;
		}
		case PROTOBUF_C_TYPE_UINT32:
		case PROTOBUF_C_TYPE_SINT32:
		case PROTOBUF_C_TYPE_INT32:
		case PROTOBUF_C_TYPE_ENUM: {
			uint32_t v =
			    (uint32_t)(dice(3) == 0 ? figure() : dice(8));

			memcpy(at, &v, sizeof(v));
			break;
		}
		case PROTOBUF_C_TYPE_BOOL: {
			protobuf_c_boolean v = dice(2) == 0;

			memcpy(at, &v, sizeof(v));
			break;
		}
		default:
			break;
		}
	}
}

/* Append one request with an operation drawn from all there are. */
static void
append(struct client *client, struct wire_out *out)
{
	const ProtobufCMessageDescriptor *d =
	    &holdfast__v1__request__descriptor;
	const ProtobufCFieldDescriptor *field;
	const ProtobufCMessageDescriptor *op;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	union {
		ProtobufCMessage base;
		char bytes[1024];
		uint64_t align;
	} body;

	do
		field = &d->fields[dice(d->n_fields)];
	while (field->type != PROTOBUF_C_TYPE_MESSAGE);
	op = field->descriptor;
	ASSERT_TRUE(op->sizeof_message <= sizeof(body));
	op->message_init(&body.base);
	fill(client, &body.base);
	request.id = client->next_id++;
	request.op_case = (Holdfast__V1__Request__OpCase)field->id;
	request.ping = (void *)&body; /* one pointer for all operations */
	(void)wire_append_request(out, &request); /* full is fine */
}

static void
mangle(uint8_t *buf, size_t len)
{
	for (uint64_t n = dice(3) == 0 ? 1 + dice(3) : 0; n > 0; n--)
		buf[dice(len)] ^= (uint8_t)(1u << dice(8));
}

/* Read what is there; false: cut off. */
static bool
drain(struct client *client)
{
	ssize_t n;

	for (int i = 0; i < 3; i++) {
		rig_turn(client->rig);
		do {
			char control[CMSG_SPACE(RIG_FDS * sizeof(int))];
			struct iovec iov = {client->buf, HOLDFAST_PACKET_MAX};
			struct msghdr msg = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};
			struct cmsghdr *cmsg;

			n = recvmsg(client->fd, &msg, MSG_DONTWAIT);
			if (n <= 0)
				break;
			cmsg = CMSG_FIRSTHDR(&msg);
			for (size_t j = 0;
			     cmsg != NULL &&
			     CMSG_LEN((j + 1) * sizeof(int)) <= cmsg->cmsg_len;
			     j++)
				(void)close(((int *)CMSG_DATA(cmsg))[j]);
		} while (true);
		if (n == 0)
			return false;
	}
	return true;
}

TEST_TIMEOUT(mangled__packets_harm_nobody_else, 120)
{
	uint8_t *buf = malloc(HOLDFAST_PACKET_MAX);
	struct client client, polite;
	Holdfast__V1__PoolStatusResult *pool;
	struct wire_out out;
	uint64_t map, ops;
	struct rig rig;

	ASSERT_NOT_NULL(buf);
	state = test_seed();
	rig_init(&rig, &(struct rig_options){.memfd = true});
	client_join(&polite, &rig);
	ASSERT_EQ(client_map_create(&polite, "", &map), (int)OK);
	client_join(&client, &rig);
	ops = test_ops(3000);
	for (uint64_t i = 0; i < ops; i++) {
		wire_out_init(&out, buf, HOLDFAST_PACKET_MAX);
		for (uint64_t n = 1 + dice(6); n > 0; n--)
			append(&client, &out);
		mangle(buf, out.len);
		client_send_raw(&client, buf, out.len, NULL, 0);
		if (!drain(&client)) {
			client_close(&client);
			client_join(&client, &rig);
		}
		if (i % 64 == 0) {
			ASSERT_EQ(client_ping(&polite), (int)OK);
			ASSERT_EQ(client_map_check(&polite, map), (int)OK);
		}
	}
	client_close(&client);
	rig_settle(&rig);
	/* As root it may have changed the pool, and left device memory. */
	ASSERT_EQ(client_release(&polite, 0, NULL), (int)OK);
	rig_settle(&rig);
	pool = client_pool(&polite);
	ASSERT_LE(pool->frames_total, 16u);
	ASSERT_EQ(pool->frames_standby, pool->frames_total);
	ASSERT_EQ(client_tenant(&polite)->buffers, 0u);
	client_close(&polite);
	rig_fini(&rig);
	free(buf);
}
