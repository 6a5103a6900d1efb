/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Verify, memory that went bad, and the quarantine of device memory.
 */

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "server/quarantine.h"
#include "server/span.h"
#include "server/verify.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define NOBODY 65534

/* ---- Verify ------------------------------------------------------ */

TEST(verify__finds_nothing_in_a_clean_pool)
{
	struct rig_options options = {.nframes = 200};
	Holdfast__V1__VerifyResult *result;
	struct client client;
	struct rig rig;

	rig_init(&rig, &options);
	client_join(&client, &rig);
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->spans, 0u);
	/* More spans than one job reads. */
	for (int i = 0; i < 150; i++)
		ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL), (int)OK);
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->spans, 150u);
	ASSERT_EQ(result->frames, 150u);
	ASSERT_EQ(result->mismatches + result->poisoned + result->unread, 0u);
	ASSERT_TRUE(result->all);
	client_close(&client);
	rig_fini(&rig);
}

TEST(verify__reads_a_span_of_many_slices)
{
	struct rig_options options = {.nframes = 10000};
	Holdfast__V1__VerifyResult *result;
	Holdfast__V1__ContigAllocResult *buffer;
	struct client client;
	struct rig rig;

	rig_init(&rig, &options);
	client_join(&client, &rig);
	ASSERT_EQ(client_alloc(&client, 9000 * RIG_FRAME, 0, &buffer), (int)OK);
	ASSERT_TRUE(
	    sim_tamper(rig.arch, buffer->pa + 8999 * RIG_FRAME, SIM_NO_FRAME));
	ASSERT_TRUE(sim_tamper(rig.arch, buffer->pa, SIM_NO_FRAME));
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->spans, 1u);
	ASSERT_EQ(result->frames, 9000u);
	ASSERT_EQ(result->mismatches, 2u);
	ASSERT_EQ(result->n_bad, 1u);
	ASSERT_EQ(result->bad[0]->mismatches, 2u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(verify__records_what_a_holder_changed_once)
{
	struct rig_options options = {.memfd = true};
	Holdfast__V1__ContigAllocResult *buffer;
	Holdfast__V1__VerifyResult *result;
	struct client client, other;
	struct rig rig;

	rig_init(&rig, &options);
	client_join(&client, &rig);
	client_join_as(&other, &rig, NOBODY);
	ASSERT_EQ(client_alloc(&other, 4 * RIG_FRAME, 0, &buffer), (int)OK);
	/* Cut two frames off, as a holder can. */
	ASSERT_EQ(ftruncate(other.fds[0], 2 * RIG_FRAME), 0);
	for (int pass = 0; pass < 2; pass++) {
		ASSERT_EQ(client_verify(&client, &result), (int)OK);
		ASSERT_EQ(result->mismatches, 2u);
		ASSERT_EQ(result->n_bad, 1u);
		ASSERT_STREQ(result->bad[0]->tenant, "uid:65534");
		ASSERT_EQ(result->bad[0]->frames, 4u);
	}
	ASSERT_EQ(client_pool(&client)->frames_tampered, 2u);
	ASSERT_EQ(client_tenant(&client)->tampered, 0u);
	/* The victim of his own doing sees his part only. */
	ASSERT_EQ(client_verify(&other, &result), (int)OK);
	ASSERT_FALSE(result->all);
	ASSERT_EQ(client_tenant(&other)->tampered, 2u);
	client_close(&other);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_tampered, 2u);
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->spans + result->mismatches, 0u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(verify__survives_clients_that_leave_meanwhile)
{
	struct rig_options options = {.nframes = 64};
	REQUEST(Verify, VERIFY, verify);
	struct client client, asker;
	struct rig rig;

	rig_init(&rig, &options);
	client_join(&client, &rig);
	client_join(&asker, &rig);
	for (int i = 0; i < 40; i++)
		ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, NULL), (int)OK);
	sim_delay_us(rig.arch, 20);
	(void)client_post(&asker, &request);
	rig_turn(&rig);
	client_close(&client);
	client_close(&asker);
	rig_settle(&rig);
	sim_delay_us(rig.arch, 0);
	client_join(&client, &rig);
	ASSERT_EQ(client_pool(&client)->frames_standby, 64u);
	client_close(&client);
	rig_fini(&rig);
}

/* `n` single frames in stock. */
static void
rig_with_stock(struct rig *rig, struct client *client, unsigned n)
{
	struct server_options server;
	struct rig_options options = {.nframes = 800, .server = &server};

	server_options_default(&server);
	server.addresses.all = true;
	server.stock =
	    (struct stock_options){.share = 50, .min = n, .tick_ms = 20};
	rig_init(rig, &options);
	client_join(client, rig);
	while (rig->server->pool.stock.nspans_ready != n) {
		rig_turn(rig);
		(void)usleep(200);
	}
	rig_settle(rig);
}

TEST(verify__reads_the_stock_too_and_dissolves_what_is_not_right)
{
	Holdfast__V1__VerifyResult *result;
	struct client client, other;
	struct pool *pool;
	struct rig rig;

	rig_with_stock(&rig, &client, 300); /* more than one turn reads */
	pool = &rig.server->pool;
	client_join_as(&other, &rig, NOBODY);
	ASSERT_EQ(client_alloc(&other, 100 * RIG_FRAME, 0, NULL), (int)OK);
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->ready_spans, 300u);
	ASSERT_EQ(result->ready_frames, 300u);
	ASSERT_EQ(result->ready_mismatches + result->ready_poisoned, 0u);
	ASSERT_EQ(result->spans, 1u);
	ASSERT_EQ(result->frames, 100u);
	/* They are pinned: nothing else would notice. */
	ASSERT_TRUE(sim_tamper(rig.arch, stock_next_ready(pool, 0)->start,
	    RIG_BASE + 5000 * RIG_FRAME));
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	/* What takes its place may be read, too. */
	ASSERT_GE(result->ready_frames, 300u);
	ASSERT_LE(result->ready_frames, 301u);
	ASSERT_EQ(result->ready_mismatches, 1u);
	ASSERT_EQ(result->mismatches + result->unread, 0u);
	rig_settle(&rig);
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->ready_mismatches, 0u);
	/* Nobody did it. */
	ASSERT_EQ(client_pool(&client)->frames_tampered, 0u);
	/* It is no tenant's business. */
	ASSERT_EQ(client_verify(&other, &result), (int)OK);
	ASSERT_EQ(result->frames, 100u);
	ASSERT_EQ(result->ready_spans + result->ready_frames, 0u);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(verify__retires_what_went_bad_in_stock_and_counts_it)
{
	Holdfast__V1__VerifyResult *result;
	struct vm_phys_run seg;
	struct client client;
	struct rig rig;
	vm_paddr_t bad;

	rig_with_stock(&rig, &client, 3);
	bad = stock_next_ready(&rig.server->pool, 0)->start;
	ASSERT_TRUE(sim_poison(rig.arch, bad));
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->ready_poisoned, 1u);
	ASSERT_EQ(result->poisoned + result->ready_mismatches, 0u);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_poisoned, 1u);
	ASSERT_EQ(client_pool(&client)->frames_total, 799u);
	ASSERT_TRUE(!vm_phys_next_seg(rig.server->pool.phys, bad, &seg) ||
		    seg.start > bad);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Bad memory -------------------------------------------------- */

TEST(memory_failure__is_told_to_the_holder_and_retires_the_frame)
{
	Holdfast__V1__ContigAllocResult *buffer;
	Holdfast__V1__VerifyResult *result;
	struct client client, other;
	struct rig rig;
	uint64_t pa, id;

	rig_init(&rig, NULL);
	client_join(&client, &rig);
	client_join_as(&other, &rig, NOBODY);
	ASSERT_EQ(client_alloc(&other, RIG_FRAME, 0, NULL), (int)OK);
	ASSERT_EQ(client_alloc(&client, 3 * RIG_FRAME, 0, &buffer), (int)OK);
	id = buffer->buffer;
	pa = buffer->pa;
	ASSERT_TRUE(sim_poison(rig.arch, pa + 2 * RIG_FRAME));
	verify_memory_failure(rig.server);
	ASSERT_TRUE(client_receive(&client));
	ASSERT_EQ(client.packet->n_lost, 1u);
	ASSERT_EQ(client.packet->lost[0]->buffer, id);
	ASSERT_EQ(client.packet->lost[0]->offset, 2 * RIG_FRAME);
	ASSERT_EQ(client.packet->lost[0]->size, RIG_FRAME);
	rig_settle(&rig);
	/* Told once; counted once; nobody else heard of it. */
	ASSERT_EQ(client_verify(&client, &result), (int)OK);
	ASSERT_EQ(result->poisoned, 1u);
	ASSERT_EQ(result->mismatches, 0u);
	ASSERT_EQ(client_ping(&other), (int)OK);
	ASSERT_EQ(client_pool(&client)->frames_poisoned, 1u);
	/* No new buffer in its span, and never again in its frame. */
	ASSERT_EQ(client_free(&client, id), (int)OK);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_total, 15u);
	ASSERT_EQ(client_pool(&client)->frames_tampered, 0u);
	for (int i = 0; i < 14; i++) {
		ASSERT_EQ(client_alloc(&client, RIG_FRAME, 0, &buffer),
		    (int)OK);
		ASSERT_NE(buffer->pa, pa + 2 * RIG_FRAME);
	}
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

static Holdfast__V1__MapEntriesResult *
entries_from(struct client *client, uint64_t map, uint64_t from)
{
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapEntries op = HOLDFAST__V1__MAP_ENTRIES__INIT;
	reply_t *reply;

	op.map = map;
	op.from = from;
	op.want_fds = true;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES;
	request.map_entries = &op;
	reply = client_call(client, &request);
	ASSERT_EQ(reply->status, OK);
	return reply->map_entries;
}

/* Four frames in a map that nobody mirrors; two in the midst go bad. */
static uint64_t
spoil_map(struct rig *rig, struct client *client, uint64_t map, uint64_t *pap)
{
	uint64_t object, number, addr;
	struct span *span;

	ASSERT_EQ(client_object(client, 2, 4 * RIG_FRAME, &object), (int)OK);
	ASSERT_EQ(client_map_find(client, map, object, 4 * RIG_FRAME,
		      VMFS_SUPER_SPACE, &addr),
	    (int)OK);
	span = TAILQ_LAST(&rig->server->pool.spans, span_list);
	*pap = span->start;
	number = client_map_entries(client, map, false)->entries[0]->object;
	ASSERT_FALSE(client_map_entries(client, map, false)->entries[0]->lost);
	ASSERT_TRUE(sim_poison(rig->arch, span->start + RIG_FRAME));
	ASSERT_TRUE(sim_poison(rig->arch, span->start + 2 * RIG_FRAME));
	verify_memory_failure(rig->server);
	for (uint64_t i = 1; i <= 2; i++) {
		const Holdfast__V1__FrameLost *lost;

		ASSERT_TRUE(client_receive(client));
		ASSERT_EQ(client->packet->n_lost, 1u);
		lost = client->packet->lost[0];
		ASSERT_EQ(lost->map, map);
		ASSERT_EQ(lost->addr, addr + i * RIG_FRAME);
		ASSERT_EQ(lost->size, RIG_FRAME);
		ASSERT_EQ(lost->object, number);
		ASSERT_EQ(lost->offset, i * RIG_FRAME);
	}
	rig_settle(rig);
	return addr;
}

static void
expect_piece(const Holdfast__V1__Entry *piece, uint64_t addr, uint64_t pa,
    uint64_t first, uint64_t end)
{
	bool lost = first == 1;

	ASSERT_EQ(piece->start, addr + first * RIG_FRAME);
	ASSERT_EQ(piece->end, addr + end * RIG_FRAME);
	ASSERT_EQ(piece->offset, first * RIG_FRAME);
	ASSERT_EQ(piece->pa, pa + first * RIG_FRAME);
	ASSERT_EQ(piece->lost, lost);
	ASSERT_EQ(piece->fd_index, lost ? 0u : 1u);
	if (!lost)
		ASSERT_EQ(piece->file_offset, first * RIG_FRAME);
}

TEST(memory_failure__in_a_map_that_is_not_mirrored_has_no_descriptor)
{
	struct rig_options options = {.memfd = true};
	Holdfast__V1__MapEntriesResult *result;
	struct client client;
	uint64_t map, addr, pa;
	struct rig rig;

	rig_init(&rig, &options);
	client_join(&client, &rig);
	ASSERT_EQ(client_map_create(&client, "plain", &map), (int)OK);
	addr = spoil_map(&rig, &client, map, &pa);
	/* Whole where no descriptors are asked for, and says so. */
	result = client_map_entries(&client, map, false);
	ASSERT_EQ(result->n_entries, 1u);
	ASSERT_TRUE(result->entries[0]->lost);
	ASSERT_EQ(result->entries[0]->end, addr + 4 * RIG_FRAME);
	result = client_map_entries(&client, map, true);
	ASSERT_EQ(result->n_entries, 3u);
	ASSERT_EQ(client.nfds, 1u);
	expect_piece(result->entries[0], addr, pa, 0, 1);
	expect_piece(result->entries[1], addr, pa, 1, 3);
	expect_piece(result->entries[2], addr, pa, 3, 4);
	/* From an address in its midst on, without cutting a frame. */
	result = entries_from(&client, map, addr + 3 * RIG_FRAME - 4096);
	ASSERT_EQ(result->n_entries, 2u);
	ASSERT_TRUE(result->entries[0]->lost);
	ASSERT_EQ(result->entries[0]->start, addr + 2 * RIG_FRAME);
	expect_piece(result->entries[1], addr, pa, 3, 4);
	ASSERT_EQ(client_map_delete(&client, map, addr, addr + 4 * RIG_FRAME),
	    (int)OK);
	client_close(&client);
	rig_settle(&rig);
	client_join(&client, &rig);
	ASSERT_EQ(client_pool(&client)->frames_total, 14u);
	ASSERT_EQ(client_pool(&client)->frames_poisoned, 2u);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Quarantine -------------------------------------------------- */

static uint64_t fake_now;

static uint64_t
fake_clock(void)
{
	return fake_now;
}

static void
rig_with_clock(struct rig *rig, struct client *client, uint64_t hold_ms)
{
	struct server_options server;
	struct rig_options options = {.server = &server};

	server_options_default(&server);
	server.addresses.all = true;
	server.quarantine.hold_ms = hold_ms;
	rig_init(rig, &options);
	fake_now = 1000;
	rig->server->quarantine.now_ms = fake_clock;
	client_join(client, rig);
}

static Holdfast__V1__ContigAllocResult *
alloc_device(struct client *client, uint64_t size)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	Holdfast__V1__ContigAllocResult *result = NULL;

	alloc.size = size;
	alloc.device = true;
	alloc.type = (char *)"ring";
	ASSERT_EQ(client_alloc_req(client, &alloc, &result), (int)OK);
	return result;
}

TEST(quarantine__holds_a_dead_clients_device_memory_for_its_time)
{
	Holdfast__V1__QuarantineListResult *list;
	struct client client, dying;
	struct rig rig;
	uint64_t pa;

	rig_with_clock(&rig, &client, 5000);
	client_join(&dying, &rig);
	pa = alloc_device(&dying, 3 * RIG_FRAME)->pa;
	ASSERT_EQ(client_alloc(&dying, RIG_FRAME, 0, NULL), (int)OK);
	client_close(&dying);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_in_use, 3u);
	ASSERT_EQ(client_pool(&client)->frames_quarantined, 3u);
	fake_now += 4999;
	quarantine_expire(&rig.server->quarantine);
	ASSERT_EQ(client_quarantine(&client, &list), (int)OK);
	ASSERT_EQ(list->n_held, 1u);
	ASSERT_EQ(list->held[0]->left_ms, 1u);
	ASSERT_EQ(list->held[0]->age_ms, 4999u);
	ASSERT_EQ(list->held[0]->pa, pa);
	ASSERT_EQ(list->held[0]->size, 3 * RIG_FRAME);
	ASSERT_STREQ(list->held[0]->type, "ring");
	fake_now++;
	quarantine_expire(&rig.server->quarantine);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_standby, 16u);
	ASSERT_EQ(client_pool(&client)->frames_quarantined, 0u);
	ASSERT_EQ(client_quarantine(&client, &list), (int)OK);
	ASSERT_EQ(list->n_held, 0u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(quarantine__ends_when_an_operator_says_so)
{
	Holdfast__V1__QuarantineListResult *list;
	struct client client, dying;
	struct rig rig;
	uint64_t n = 0, id;

	rig_with_clock(&rig, &client, 0);
	client_join(&dying, &rig);
	(void)alloc_device(&dying, 4096);
	(void)alloc_device(&dying, 8192); /* in the same span */
	(void)alloc_device(&dying, 2 * RIG_FRAME);
	client_close(&dying);
	rig_settle(&rig);
	fake_now += UINT64_C(1) << 40;
	quarantine_expire(&rig.server->quarantine);
	ASSERT_EQ(client_pool(&client)->frames_quarantined, 3u);
	ASSERT_EQ(client_quarantine(&client, &list), (int)OK);
	ASSERT_EQ(list->n_held, 3u);
	ASSERT_EQ(list->held[0]->left_ms, 0u);
	id = list->held[0]->id;
	ASSERT_EQ(client_release(&client, id, &n), (int)OK);
	ASSERT_EQ(n, 1u);
	ASSERT_EQ(client_release(&client, id, NULL), (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_pool(&client)->frames_quarantined, 3u);
	ASSERT_EQ(client_release(&client, 0, &n), (int)OK);
	ASSERT_EQ(n, 2u);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_standby, 16u);
	client_close(&client);
	rig_fini(&rig);
}

TEST(quarantine__is_not_for_who_frees_nor_seen_by_others)
{
	Holdfast__V1__QuarantineListResult *list;
	struct client client, dying, other;
	struct rig rig;
	uint64_t id;

	rig_with_clock(&rig, &client, 0);
	id = alloc_device(&client, RIG_FRAME)->buffer;
	ASSERT_EQ(client_free(&client, id), (int)OK);
	rig_settle(&rig);
	ASSERT_EQ(client_pool(&client)->frames_standby, 16u);
	client_join_as(&dying, &rig, NOBODY);
	(void)alloc_device(&dying, RIG_FRAME);
	client_close(&dying);
	rig_settle(&rig);
	client_join_as(&other, &rig, NOBODY - 1);
	ASSERT_EQ(client_quarantine(&other, &list), (int)OK);
	ASSERT_EQ(list->n_held, 0u);
	ASSERT_EQ(client_release(&other, 0, NULL), (int)REFUSED(DENIED));
	client_close(&other);
	client_join_as(&dying, &rig, NOBODY);
	ASSERT_EQ(client_quarantine(&dying, &list), (int)OK);
	ASSERT_EQ(list->n_held, 1u);
	client_close(&dying);
	client_close(&client);
	rig_fini(&rig); /* the end of the daemon ends it */
}
