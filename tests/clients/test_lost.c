/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Bad memory as a client hears of it: from a fake daemon that tells of it with
 * the answers to its pings.  Not here: memory that is really bad (the guest).
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/clients/fake.h"
#include "tests/test.h"

#define PING  HOLDFAST__V1__REQUEST__OP_PING
#define ALLOC HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC

/* In the fake daemon's process. */
static uint64_t last_buffer, last_map;

struct told {
	unsigned n, nmaps;
	const struct holdfast_map *map;
	uint64_t addr;
	const struct holdfast_buf *buf;
	uint64_t offset, size;
	bool frees;
};

static void
on_lost(struct holdfast *h, struct holdfast_buf *buf, uint64_t offset,
    uint64_t size, void *arg)
{
	struct told *told = arg;

	told->n++;
	told->buf = buf;
	told->offset = offset;
	told->size = size;
	if (told->frees)
		ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
}

static void
on_map_lost(struct holdfast *h, struct holdfast_map *map, uint64_t addr,
    uint64_t size, void *arg)
{
	struct told *told = arg;

	(void)h;
	told->nmaps++;
	told->map = map;
	told->addr = addr;
	told->size = size;
}

/* One more event before the reply: of a buffer, or of the map. */
static void
add_lost(struct fake_answer *a, uint64_t buffer, uint64_t offset, uint64_t size)
{
	static uint8_t bytes[256];
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__FrameLost lost = HOLDFAST__V1__FRAME_LOST__INIT;
	Holdfast__V1__FrameLost *all[] = {&lost};
	Holdfast__V1__Reply *replies[] = {&a->reply};

	lost.buffer = buffer;
	if (buffer != 0)
		lost.offset = offset;
	else
		lost.addr = offset;
	lost.map = buffer != 0 ? 0 : last_map;
	lost.size = size;
	packet.n_lost = 1;
	packet.lost = all;
	packet.n_replies = 1;
	packet.replies = replies;
	a->raw_size = holdfast__v1__server_packet__pack(&packet, bytes);
	a->raw = bytes;
}

/* What it tells with its first ping; nothing with the others. */
static void
tweak(struct fake_answer *a, const char *what)
{
	if (a->op == ALLOC)
		last_buffer = a->contig.buffer;
	if (a->op == HOLDFAST__V1__REQUEST__OP_MAP_ATTACH)
		last_map = a->map.map;
	if (a->op != PING || a->nth > 0)
		return;
	if (strcmp(what, "a page of it") == 0)
		add_lost(a, last_buffer, 4096, 4096);
	else if (strcmp(what, "another buffer") == 0)
		add_lost(a, last_buffer + 1, 0, 4096);
	else if (strcmp(what, "more than it has") == 0)
		add_lost(a, last_buffer, 4096, 16384);
	else if (strcmp(what, "beyond it") == 0)
		add_lost(a, last_buffer, UINT64_MAX - 4095, 8192);
	else if (strcmp(what, "two pages of the map") == 0)
		add_lost(a, 0, FAKE_MAP_MIN + 4096, 8192);
	else if (strcmp(what, "behind the map") == 0)
		add_lost(a, 0, FAKE_MAP_MIN + FAKE_MAP_SIZE - 4096, 8192);
	else
		_exit(5);
}

struct with {
	struct fake fake;
	struct holdfast *h;
	struct holdfast_buf *buf;
	struct told told;
};

static void
begin(struct with *w, const char *what)
{
	struct holdfast_contig_req req = {.size = 16384, .no_map = true};

	*w = (struct with){0};
	fake_start(&w->fake, tweak, what);
	w->h = fake_connect(&w->fake);
	ASSERT_EQ(holdfast_on_lost(w->h, on_lost, &w->told), HF_OK);
	ASSERT_EQ(holdfast_contigmalloc(w->h, &req, &w->buf), HF_OK);
}

static void
end(struct with *w)
{
	holdfast_close(w->h);
	fake_stop(&w->fake);
}

TEST(lost__is_told_once_and_only_when_the_program_asks)
{
	struct with w;

	begin(&w, "a page of it");
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 0u); /* not in the middle of another call */
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 1u);
	ASSERT_TRUE(w.told.buf == w.buf);
	ASSERT_EQ(w.told.offset, 4096u);
	ASSERT_EQ(w.told.size, 4096u);
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 1u);
	end(&w);
}

TEST(lost__the_callback_may_free_the_buffer)
{
	struct with w;

	begin(&w, "a page of it");
	w.told.frees = true;
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 1u);
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	end(&w);
}

TEST(lost__of_a_buffer_that_was_freed_meanwhile_is_not_told)
{
	struct with w;

	begin(&w, "a page of it");
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_EQ(holdfast_contigfree(w.h, w.buf), HF_OK);
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 0u);
	end(&w);
}

TEST(lost__what_is_in_no_buffer_is_not_told)
{
	static const char *const lies[] = {"another buffer", "more than it has",
	    "beyond it"};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct with w;

		begin(&w, lies[i]);
		ASSERT_EQ(holdfast_ping(w.h), HF_OK);
		ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
		ASSERT_EQ(w.told.n, 0u);
		end(&w);
	}
}

TEST(lost__nobody_is_told_who_does_not_want_to_be)
{
	struct with w;

	begin(&w, "a page of it");
	ASSERT_EQ(holdfast_on_lost(w.h, NULL, NULL), HF_OK);
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	ASSERT_EQ(holdfast_on_lost(w.h, on_lost, &w.told), HF_OK);
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 0u);
	end(&w);
	ASSERT_EQ(holdfast_on_lost(NULL, on_lost, NULL), -EINVAL);
}

static void
map_meets(const char *what, bool detach, unsigned n)
{
	struct holdfast_map_options options = {.name = "m", .no_mirror = true};
	struct holdfast_map *map;
	struct with w;

	begin(&w, what);
	ASSERT_EQ(holdfast_on_map_lost(w.h, on_map_lost, &w.told), HF_OK);
	ASSERT_EQ(holdfast_map_attach(w.h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	if (detach)
		ASSERT_EQ(holdfast_map_detach(map), HF_OK);
	ASSERT_EQ(holdfast_dispatch(w.h), HF_OK);
	ASSERT_EQ(w.told.n, 0u);
	ASSERT_EQ(w.told.nmaps, n);
	if (n > 0) {
		ASSERT_TRUE(w.told.map == map);
		ASSERT_EQ(w.told.addr, FAKE_MAP_MIN + 4096);
		ASSERT_EQ(w.told.size, 8192u);
	}
	end(&w);
}

TEST(lost__in_a_map_is_told_of_where_it_is)
{
	map_meets("two pages of the map", false, 1);
	map_meets("two pages of the map", true, 0);
	map_meets("behind the map", false, 0);
}

/* What it told before it died is of buffers that are gone with it. */
TEST(lost__a_daemon_that_died_tells_nothing_to_who_connects_anew)
{
	struct with w, again;

	begin(&w, "a page of it");
	ASSERT_EQ(holdfast_ping(w.h), HF_OK);
	fake_kill(&w.fake);
	ASSERT_NE(holdfast_ping(w.h), HF_OK);
	ASSERT_EQ(holdfast_dispatch(w.h), -EPIPE);
	ASSERT_EQ(w.told.n, 0u);
	begin(&again, "a page of it");
	ASSERT_EQ(holdfast_dispatch(again.h), HF_OK);
	ASSERT_EQ(again.told.n, 0u);
	ASSERT_EQ(holdfast_ping(again.h), HF_OK);
	ASSERT_EQ(holdfast_dispatch(again.h), HF_OK);
	ASSERT_EQ(again.told.n, 1u);
	ASSERT_TRUE(again.told.buf == again.buf);
	ASSERT_EQ(w.told.n, 0u);
	end(&again);
	holdfast_close(w.h);
}
