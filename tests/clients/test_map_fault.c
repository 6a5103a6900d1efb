/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Faults, forks and events that want an answer, from a daemon that lies or says
 * no.  What is true is in tests/system/test_map_fork.c.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/clients/fake.h"
#include "tests/test.h"

#define IS(op_) (a->op == HOLDFAST__V1__REQUEST__OP_##op_)

/* Send an event in front of the answer to Ping. */
static void
put_event(struct fake_answer *a, const Holdfast__V1__Event *event)
{
	static uint8_t bytes[256];
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__Event copy = *event;
	Holdfast__V1__Event *events[1] = {&copy};
	Holdfast__V1__Reply *replies[1] = {&a->reply};

	packet.n_events = packet.n_replies = 1;
	packet.events = events;
	packet.replies = replies;
	a->raw_size = holdfast__v1__server_packet__pack(&packet, bytes);
	a->raw = bytes;
}

static void
lie_about_faults(struct fake_answer *a, const char *lie)
{
	static Holdfast__V1__MapFaultResult fault =
	    HOLDFAST__V1__MAP_FAULT_RESULT__INIT;
	static Holdfast__V1__Entry piece = HOLDFAST__V1__ENTRY__INIT;
	static Holdfast__V1__Event event = HOLDFAST__V1__EVENT__INIT;

	if (IS(MAP_CREATE))
		a->map.mirrored = true;
	event.map = a->map.map != 0 ? a->map.map : event.map;
	if (IS(MAP_ACK))
		a->silent = true;
	if (IS(MAP_FAULT) && strcmp(lie, "a refusal") == 0) {
		a->reply.status =
		    HOLDFAST__V1__STATUS__STATUS_PROTECTION_FAILURE;
		a->reply.message = (char *)"a guard";
	} else if (IS(MAP_FAULT)) {
		piece.start = FAKE_MAP_MIN;
		piece.end = FAKE_MAP_MIN + 4096;
		if (strcmp(lie, "no piece") != 0)
			fault.piece = &piece;
		a->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_FAULT;
		a->reply.map_fault = &fault;
	}
	if (!IS(PING))
		return;
	event.ack = 1;
	event.start = FAKE_MAP_MIN;
	event.end = FAKE_MAP_MIN + FAKE_MAP_SIZE;
	event.write_protect = strcmp(lie, "a fork") == 0;
	if (strcmp(lie, "an inverted change") == 0)
		event.start = event.end;
	if (strcmp(lie, "a change of a stranger's") == 0)
		event.map += 77;
	put_event(a, &event);
}

struct world {
	struct fake fake;
	struct holdfast *h;
	struct holdfast_map *map;
	uint64_t addr;
	int nfds;
};

static void
world_start(struct world *w, const char *lie)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_options where = {0};

	w->nfds = test_nfds();
	fake_start(&w->fake, lie_about_faults, lie);
	where.socket_path = w->fake.path;
	ASSERT_EQ(holdfast_connect(&where, &w->h), HF_OK);
	ASSERT_EQ(holdfast_map_create(w->h, &options, &w->map), HF_OK);
	ASSERT_EQ(holdfast_map_find(w->map, &args, &w->addr), HF_OK);
}

static void
world_stop(struct world *w)
{
	holdfast_close(w->h);
	fake_stop(&w->fake);
	ASSERT_EQ(test_nfds(), w->nfds);
}

TEST(fault__a_refusal_is_passed_on_with_its_sentence)
{
	struct world w;

	world_start(&w, "a refusal");
	ASSERT_EQ(holdfast_map_fault(w.map, w.addr, HF_PROT_WRITE),
	    HF_PROTECTION_FAILURE);
	ASSERT_EQ(strcmp(holdfast_error(w.h), "a guard"), 0);
	world_stop(&w);
}

TEST(fault__a_success_without_a_piece_ends_the_connection)
{
	struct world w;

	world_start(&w, "no piece");
	ASSERT_EQ(holdfast_map_fault(w.map, w.addr, HF_PROT_WRITE), -EPROTO);
	ASSERT_EQ(holdfast_ping(w.h), -EPROTO);
	world_stop(&w);
}

/* Is the page mapped, and can it be written? */
static bool
is_writable(uint64_t addr)
{
	int fds[2];
	bool writable;

	ASSERT_EQ(pipe(fds), 0);
	ASSERT_EQ(write(fds[1], "x", 1), 1);
	writable = read(fds[0], (void *)addr, 1) == 1; /* else EFAULT */
	(void)close(fds[0]);
	(void)close(fds[1]);
	return writable;
}

TEST(change__a_fork_of_others_takes_the_right_to_write_in_any_call)
{
	struct world w;

	world_start(&w, "a fork");
	ASSERT_TRUE(is_writable(w.addr));
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_FALSE(is_writable(w.addr));
	ASSERT_EQ(*(volatile char *)w.addr, 'x'); /* what was there stays */
	ASSERT_TRUE(holdfast_pending(w.h));
	/* It asks what the rights are now; this daemon knows of no fork. */
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_FALSE(holdfast_pending(w.h));
	ASSERT_TRUE(is_writable(w.addr));
	world_stop(&w);
}

TEST(change__of_a_map_that_is_not_ours_is_ignored)
{
	struct world w;

	world_start(&w, "a change of a stranger's");
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_FALSE(holdfast_pending(w.h));
	ASSERT_TRUE(is_writable(w.addr));
	world_stop(&w);
}

TEST(change__that_ends_before_it_begins_ends_the_connection)
{
	struct world w;

	world_start(&w, "an inverted change");
	ASSERT_EQ(holdfast_ping(w.h), -EPROTO);
	world_stop(&w);
}

TEST(handler__without_a_second_connection_is_refused_and_leaves_nothing)
{
	struct holdfast_map_options quiet = {.no_mirror = true};
	struct holdfast_map *other;
	struct world w;

	world_start(&w, "");
	ASSERT_EQ(unlink(w.fake.path), 0);
	ASSERT_EQ(holdfast_map_handle_faults(w.map), -ENOENT);
	ASSERT_EQ(holdfast_map_create(w.h, &quiet, &other), HF_OK);
	ASSERT_EQ(holdfast_map_handle_faults(other), HF_INVALID_ARGUMENT);
	ASSERT_GT(strlen(holdfast_error(w.h)), 10);
	world_stop(&w);
}
