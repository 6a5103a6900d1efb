/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Maps and objects through the wire: life, sharing, entering, deleting,
 * looking, and the descriptors that back entries.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE     UINT64_C(4096)
#define MIN_ADDR MAP_DEFAULT_MIN
#define MAX_ADDR MAP_DEFAULT_MAX

static const struct rig_options backed = {.memfd = true};

struct fixture {
	struct rig rig;
	struct client client;
	uint64_t map;
};

static void
fixture_init(struct fixture *f)
{
	rig_init(&f->rig, &backed);
	client_join(&f->client, &f->rig);
	ASSERT_EQ(client_map_create(&f->client, "m", &f->map), (int)OK);
}

static void
fixture_fini(struct fixture *f)
{
	client_close(&f->client);
	rig_fini(&f->rig);
}

/* ---- Life -------------------------------------------------------- */

TEST(map__is_shared_by_name_within_a_tenant)
{
	struct client other, stranger;
	uint64_t addr, map;
	struct fixture f;

	fixture_init(&f);
	client_join(&other, &f.rig);
	client_join_as(&stranger, &f.rig, 4711);
	ASSERT_EQ(client_map_attach(&stranger, "m", NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_attach(&other, "none", NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_attach(&other, "", NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_attach(&other, "m", &map), (int)OK);
	ASSERT_EQ(client_map_find(&other, map, 0, PAGE, VMFS_ANY_SPACE, &addr),
	    (int)OK);
	ASSERT_EQ(addr, MIN_ADDR);
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 1u);
	/* The number is the session's own. */
	ASSERT_EQ(client_map_check(&other, f.map), (int)REFUSED(UNKNOWN_ID));
	client_close(&f.client);
	rig_settle(&f.rig);
	ASSERT_EQ(client_map_entries(&other, map, false)->n_entries, 1u);
	ASSERT_EQ(client_map_detach(&other, map), (int)OK);
	ASSERT_EQ(client_map_attach(&other, "m", NULL),
	    (int)REFUSED(UNKNOWN_ID));
	client_close(&stranger);
	client_close(&other);
	rig_fini(&f.rig);
}

TEST(map__names_are_checked_and_taken_once)
{
	char name[HOLDFAST_NAME_MAX + 2];
	struct fixture f;

	fixture_init(&f);
	ASSERT_EQ(client_map_create(&f.client, "m", NULL),
	    (int)REFUSED(EXISTS));
	ASSERT_EQ(client_map_create(&f.client, "a/b", NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ASSERT_EQ(client_map_create(&f.client, name, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	name[HOLDFAST_NAME_MAX] = '\0';
	ASSERT_EQ(client_map_create(&f.client, name, NULL), (int)OK);
	ASSERT_EQ(client_map_create(&f.client, "", NULL), (int)OK);
	ASSERT_EQ(client_map_create(&f.client, "", NULL), (int)OK);
	fixture_fini(&f);
}

TEST(map__destroyed_for_everybody_is_gone_for_everybody)
{
	struct client other;
	struct fixture f;
	uint64_t map;

	fixture_init(&f);
	client_join(&other, &f.rig);
	ASSERT_EQ(client_map_attach(&other, "m", &map), (int)OK);
	ASSERT_EQ(client_map_find(&other, map, 0, PAGE, VMFS_ANY_SPACE, NULL),
	    (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, f.map), (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, f.map),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_find(&other, map, 0, PAGE, VMFS_ANY_SPACE, NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_create(&f.client, "m", NULL), (int)OK);
	ASSERT_EQ(client_map_detach(&other, map), (int)OK);
	ASSERT_EQ(client_map_detach(&other, map), (int)REFUSED(UNKNOWN_ID));
	client_close(&other);
	fixture_fini(&f);
}

TEST(map__machine_and_range_are_checked)
{
	Holdfast__V1__MapCreate op = HOLDFAST__V1__MAP_CREATE__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	struct fixture f;

	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CREATE;
	request.map_create = &op;
	fixture_init(&f);
	op.min = 0x10000;
	op.max = 0x8000;
	ASSERT_EQ(client_call(&f.client, &request)->status,
	    REFUSED(INVALID_ARGUMENT));
	op.max = 0x10001;
	ASSERT_EQ(client_call(&f.client, &request)->status,
	    REFUSED(INVALID_ARGUMENT));
	op.max = 0x100000;
	op.machine = (char *)"vax";
	ASSERT_EQ(client_call(&f.client, &request)->status,
	    REFUSED(INVALID_ARGUMENT));
	op.machine = (char *)"aarch64";
	op.page_size = 65536;
	ASSERT_EQ(client_call(&f.client, &request)->status, OK);
	ASSERT_EQ(f.client.packet->replies[0]->map->page_size, 65536u);
	fixture_fini(&f);
}

/* ---- Entering and looking ---------------------------------------- */

TEST(map__insert_find_findspace_and_lookup_agree)
{
	Holdfast__V1__MapFindspace space = HOLDFAST__V1__MAP_FINDSPACE__INIT;
	Holdfast__V1__MapLookup look = HOLDFAST__V1__MAP_LOOKUP__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapLookupResult *found;
	struct fixture f;
	uint64_t addr;

	fixture_init(&f);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + PAGE,
		      MIN_ADDR + 3 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + 2 * PAGE,
		      MIN_ADDR + 4 * PAGE),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, 2 * PAGE, VMFS_ANY_SPACE,
		      &addr),
	    (int)OK);
	ASSERT_EQ(addr, MIN_ADDR + 3 * PAGE);

	space.map = f.map;
	space.start = MIN_ADDR;
	space.length = PAGE;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FINDSPACE;
	request.map_findspace = &space;
	ASSERT_EQ(client_call(&f.client, &request)->map_find->addr, MIN_ADDR);
	space.length = MAX_ADDR - MIN_ADDR;
	ASSERT_EQ(client_call(&f.client, &request)->status, REFUSED(NO_SPACE));

	look.map = f.map;
	look.addr = MIN_ADDR + 2 * PAGE + 5;
	look.fault_type = VM_PROT_WRITE;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_LOOKUP;
	request.map_lookup = &look;
	found = client_call(&f.client, &request)->map_lookup;
	ASSERT_TRUE(found->entry->start <= look.addr);
	ASSERT_TRUE(look.addr < found->entry->end);
	ASSERT_EQ(found->prot, (uint32_t)VM_PROT_RW);
	look.fault_type = VM_PROT_EXECUTE;
	ASSERT_EQ(client_call(&f.client, &request)->status,
	    REFUSED(PROTECTION_FAILURE));
	look.addr = MIN_ADDR;
	ASSERT_EQ(client_call(&f.client, &request)->status,
	    REFUSED(INVALID_ADDRESS));
	ASSERT_EQ(client_map_check(&f.client, f.map), (int)OK);
	fixture_fini(&f);
}

struct bad_insert {
	const char *argument;
	uint64_t start, end;
	uint32_t prot, max;
	uint32_t cow;
	int status;
};

TEST(map__bad_insertions_are_named_and_leave_no_trace)
{
	static const struct bad_insert bad[] = {
	    {"end", MIN_ADDR, MIN_ADDR, 3, 3, 0, REFUSED(INVALID_ADDRESS)},
	    {"end", MIN_ADDR + PAGE, MIN_ADDR, 3, 3, 0,
		REFUSED(INVALID_ADDRESS)},
	    {"start", MIN_ADDR + 1, MIN_ADDR + PAGE + 1, 3, 3, 0,
		REFUSED(INVALID_ARGUMENT)},
	    {"length", MIN_ADDR, MIN_ADDR + 100, 3, 3, 0,
		REFUSED(INVALID_ARGUMENT)},
	    {"start", PAGE, 2 * PAGE, 3, 3, 0, REFUSED(INVALID_ADDRESS)},
	    {"end", MAX_ADDR - PAGE, MAX_ADDR + PAGE, 3, 3, 0,
		REFUSED(INVALID_ADDRESS)},
	    {"", UINT64_MAX - PAGE + 1, UINT64_MAX, 3, 3, 0, 0},
	    {"prot", MIN_ADDR, MIN_ADDR + PAGE, 7, 3, 0,
		REFUSED(INVALID_ARGUMENT)},
	    {"prot", MIN_ADDR, MIN_ADDR + PAGE, 0x100, 7, 0,
		REFUSED(INVALID_ARGUMENT)},
	    {"max", MIN_ADDR, MIN_ADDR + PAGE, 3, 0xffffffff, 0,
		REFUSED(INVALID_ARGUMENT)},
	    {"cow", MIN_ADDR, MIN_ADDR + PAGE, 3, 3, 0x80000000, 0},
	    {"cow", MIN_ADDR, MIN_ADDR + PAGE, 3, 3, MAP_CREATE_STACK_GAP,
		REFUSED(INVALID_ARGUMENT)},
	};
	Holdfast__V1__MapInsert op = HOLDFAST__V1__MAP_INSERT__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	struct fixture f;
	reply_t *reply;

	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_INSERT;
	request.map_insert = &op;
	fixture_init(&f);
	for (size_t i = 0; i < nitems(bad); i++) {
		op.map = f.map;
		op.start = bad[i].start;
		op.end = bad[i].end;
		op.prot = bad[i].prot;
		op.max_prot = bad[i].max;
		op.cow = bad[i].cow;
		reply = client_call(&f.client, &request);
		if (reply->status == OK ||
		    (bad[i].status != 0 &&
			(int)reply->status != bad[i].status) ||
		    strstr(reply->message, bad[i].argument) == NULL)
			test_fail(__FILE__, __LINE__, "case %zu: %d \"%s\"", i,
			    (int)reply->status, reply->message);
		ASSERT_EQ(client_map_entries(&f.client, f.map, false)
			      ->n_entries,
		    0u);
	}
	fixture_fini(&f);
}

TEST(map__bad_searches_are_refused)
{
	struct fixture f;

	fixture_init(&f);
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, 0, VMFS_ANY_SPACE, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, PAGE + 1, VMFS_ANY_SPACE,
		      NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, UINT64_MAX - PAGE + 1,
		      VMFS_ANY_SPACE, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, PAGE, 99, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, PAGE, UINT32_MAX, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_map_find(&f.client, f.map, 77, PAGE, VMFS_ANY_SPACE,
		      NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_find(&f.client, 77, 0, PAGE, VMFS_ANY_SPACE, NULL),
	    (int)REFUSED(UNKNOWN_ID));
	fixture_fini(&f);
}

TEST(map__delete_leaves_the_rest_and_is_refused_outside)
{
	struct fixture f;

	fixture_init(&f);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR,
		      MIN_ADDR + 4 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR + PAGE,
		      MIN_ADDR + 2 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 2u);
	ASSERT_EQ(client_tenant(&f.client)->entries, 2u);
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR, MIN_ADDR + 7),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 2u);
	fixture_fini(&f);
}

TEST(map__entries_come_in_pages_of_replies)
{
	Holdfast__V1__MapEntries op = HOLDFAST__V1__MAP_ENTRIES__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapEntriesResult *result;
	uint64_t last = 0;
	struct fixture f;
	size_t n = 0;

	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES;
	request.map_entries = &op;
	fixture_init(&f);
	for (uint64_t i = 0; i < 700; i++)
		ASSERT_EQ(client_map_insert(&f.client, f.map, 0,
			      MIN_ADDR + 2 * i * PAGE,
			      MIN_ADDR + (2 * i + 1) * PAGE),
		    (int)OK);
	op.map = f.map;
	do {
		result = client_call(&f.client, &request)->map_entries;
		ASSERT_EQ(result->nentries, 700u);
		for (size_t i = 0; i < result->n_entries; i++) {
			ASSERT_TRUE(result->entries[i]->start >= last);
			last = result->entries[i]->end;
		}
		n += result->n_entries;
		op.from = result->next;
	} while (op.from != 0);
	ASSERT_EQ(n, 700u);
	op.from = MIN_ADDR + 20 * PAGE;
	op.end = MIN_ADDR + 25 * PAGE;
	result = client_call(&f.client, &request)->map_entries;
	ASSERT_EQ(result->n_entries, 3u);
	ASSERT_EQ(result->next, 0u);
	fixture_fini(&f);
}

/* ---- Objects ----------------------------------------------------- */

TEST(object__kinds_and_sizes_are_checked)
{
	uint64_t object;
	struct fixture f;

	fixture_init(&f);
	ASSERT_EQ(client_object(&f.client, 0, PAGE, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_object(&f.client, 9, PAGE, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_object(&f.client, 1, 0, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_object(&f.client, 2, RIG_FRAME + PAGE, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(client_object(&f.client, 2, 99 * RIG_FRAME, NULL),
	    (int)REFUSED(NO_SPACE));
	ASSERT_EQ(client_object(&f.client, 1, PAGE, &object), (int)OK);
	ASSERT_EQ(client_object_destroy(&f.client, object), (int)OK);
	ASSERT_EQ(client_object_destroy(&f.client, object),
	    (int)REFUSED(UNKNOWN_ID));
	rig_settle(&f.rig);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 16u);
	fixture_fini(&f);
}

TEST(object__superpages_are_entered_congruent_or_not_at_all)
{
	Holdfast__V1__MapEntriesResult *entries;
	uint64_t object, addr;
	struct fixture f;

	fixture_init(&f);
	ASSERT_EQ(client_object(&f.client, 2, 2 * RIG_FRAME, &object), (int)OK);
	ASSERT_EQ(client_map_find(&f.client, f.map, 0, PAGE, VMFS_ANY_SPACE,
		      NULL),
	    (int)OK);
	ASSERT_EQ(client_map_find(&f.client, f.map, object, 2 * RIG_FRAME,
		      VMFS_ANY_SPACE, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_NOT_NULL(strstr(client_sentence(&f.client), "VMFS_SUPER_SPACE"));
	ASSERT_EQ(client_map_insert(&f.client, f.map, object,
		      MIN_ADDR + 64 * PAGE, MIN_ADDR + 64 * PAGE + RIG_FRAME),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_NOT_NULL(strstr(client_sentence(&f.client), "VMFS_SUPER_SPACE"));
	ASSERT_EQ(client_map_find(&f.client, f.map, object, 2 * RIG_FRAME,
		      VMFS_SUPER_SPACE, &addr),
	    (int)OK);
	ASSERT_EQ(addr % RIG_FRAME, 0u);
	entries = client_map_entries(&f.client, f.map, true);
	ASSERT_EQ(entries->n_entries, 2u);
	ASSERT_EQ(f.client.nfds, 2u);
	ASSERT_EQ(entries->entries[0]->kind, 1u);
	ASSERT_EQ(entries->entries[0]->file_offset, 0u);
	ASSERT_EQ(entries->entries[1]->kind, 2u);
	ASSERT_EQ(entries->entries[1]->fd_index, 2u);
	ASSERT_TRUE(entries->entries[1]->pa >= RIG_BASE);
	ASSERT_EQ(client_map_delete(&f.client, f.map, addr, addr + PAGE),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_NOT_NULL(strstr(client_sentence(&f.client), "superpage"));
	ASSERT_EQ(client_map_delete(&f.client, f.map, addr, addr + RIG_FRAME),
	    (int)OK);
	fixture_fini(&f);
}

TEST(object__lives_while_an_entry_shows_it)
{
	uint64_t object, addr;
	struct fixture f;

	fixture_init(&f);
	ASSERT_EQ(client_object(&f.client, 2, RIG_FRAME, &object), (int)OK);
	ASSERT_EQ(client_map_find(&f.client, f.map, object, RIG_FRAME,
		      VMFS_SUPER_SPACE, &addr),
	    (int)OK);
	ASSERT_EQ(client_object_destroy(&f.client, object), (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 15u);
	ASSERT_EQ(client_map_delete(&f.client, f.map, addr, addr + RIG_FRAME),
	    (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 16u);
	fixture_fini(&f);
}

/* ---- What backs entries ------------------------------------------ */

TEST(map__anonymous_entries_share_one_sealed_file)
{
	Holdfast__V1__MapEntriesResult *entries;
	uint64_t offset;
	struct fixture f;
	char byte = 'x';

	fixture_init(&f);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + PAGE,
		      MIN_ADDR + 2 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + 8 * PAGE,
		      MIN_ADDR + 9 * PAGE),
	    (int)OK);
	entries = client_map_entries(&f.client, f.map, true);
	ASSERT_EQ(f.client.nfds, 1u);
	ASSERT_EQ(entries->entries[0]->fd_index, 1u);
	ASSERT_EQ(entries->entries[1]->fd_index, 1u);
	offset = entries->entries[0]->file_offset;
	ASSERT_EQ(offset, PAGE);
	ASSERT_EQ(ftruncate(f.client.fds[0], 0), -1);
	ASSERT_EQ(pwrite(f.client.fds[0], &byte, 1, (off_t)offset), 1);
	/* What is deleted reads zero when something is there again. */
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR + PAGE,
		      MIN_ADDR + 2 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + PAGE,
		      MIN_ADDR + 2 * PAGE),
	    (int)OK);
	(void)client_map_entries(&f.client, f.map, true);
	ASSERT_EQ(pread(f.client.fds[0], &byte, 1, (off_t)offset), 1);
	ASSERT_EQ(byte, 0);
	fixture_fini(&f);
}

/* Every flag alone: an entry that may not be faulted, a stack, a guard ... */
TEST(map__anonymous_entries_of_any_kind_are_entered_or_refused)
{
	Holdfast__V1__MapInsert insert = HOLDFAST__V1__MAP_INSERT__INIT;
	Holdfast__V1__MapFixed fixed = HOLDFAST__V1__MAP_FIXED__INIT;
	Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;
	Holdfast__V1__MapCreate create = HOLDFAST__V1__MAP_CREATE__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	struct fixture f;
	uint64_t map;

	fixture_init(&f);
	create.mirrored = true;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CREATE;
	request.map_create = &create;
	map = client_call(&f.client, &request)->map->map;
	insert.map = fixed.map = find.map = map;
	insert.prot = fixed.prot = find.prot = 3;
	insert.max_prot = fixed.max_prot = find.max_prot = 3;
	find.find_space = 1;
	find.length = fixed.length = 16 * PAGE;
	for (unsigned bit = 0; bit < 32; bit++) {
		insert.start = MIN_ADDR + 64 * bit * PAGE;
		insert.end = insert.start + 16 * PAGE;
		fixed.start = insert.start + 8 * PAGE;
		insert.cow = fixed.cow = find.cow = UINT32_C(1) << bit;
		request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_INSERT;
		request.map_insert = &insert;
		(void)client_call(&f.client, &request);
		request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIXED;
		request.map_fixed = &fixed;
		(void)client_call(&f.client, &request);
		request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIND;
		request.map_find = &find;
		(void)client_call(&f.client, &request);
		ASSERT_EQ(client_map_check(&f.client, map), (int)OK);
	}
	fixture_fini(&f);
}

TEST(map__large_deletions_go_through_a_worker)
{
	const uint64_t length = 64 * MAP_PUNCH_INLINE;
	struct client other;
	struct fixture f;
	uint64_t map;

	fixture_init(&f);
	client_join(&other, &f.rig);
	ASSERT_EQ(client_map_attach(&other, "m", &map), (int)OK);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR,
			      MIN_ADDR + length),
		    (int)OK);
		(void)client_map_entries(&f.client, f.map, true);
		ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, length);
		ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR,
			      MIN_ADDR + length),
		    (int)OK);
		ASSERT_EQ(client_map_entries(&f.client, f.map, false)
			      ->n_entries,
		    0u);
	}
	client_close(&other);
	fixture_fini(&f);
}

TEST(map__quota_of_base_bytes_and_entries_hold)
{
	Holdfast__V1__MapEntries op = HOLDFAST__V1__MAP_ENTRIES__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	struct server_options options;
	struct client client;
	struct rig rig;
	uint64_t map;

	server_options_default(&options);
	options.limits.limit[QUOTA_BASE_BYTES] = 4 * PAGE;
	options.limits.limit[QUOTA_ENTRIES] = 4;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	ASSERT_EQ(client_map_create(&client, "m", &map), (int)OK);
	ASSERT_EQ(client_map_insert(&client, map, 0, MIN_ADDR,
		      MIN_ADDR + 5 * PAGE),
	    (int)OK);
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES;
	request.map_entries = &op;
	op.map = map;
	op.want_fds = true;
	ASSERT_EQ(client_call(&client, &request)->status, REFUSED(QUOTA));
	ASSERT_EQ(client_map_delete(&client, map, MIN_ADDR,
		      MIN_ADDR + 2 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_call(&client, &request)->status, OK);
	ASSERT_EQ(client_map_insert(&client, map, 0, MIN_ADDR + 8 * PAGE,
		      MIN_ADDR + 10 * PAGE),
	    (int)REFUSED(QUOTA));
	for (uint64_t i = 0; i < 2; i++)
		ASSERT_EQ(client_map_insert(&client, map, 0,
			      MIN_ADDR + (20 + 2 * i) * PAGE,
			      MIN_ADDR + (20 + 2 * i) * PAGE),
		    (int)REFUSED(INVALID_ADDRESS));
	client_close(&client);
	rig_fini(&rig);
}

TEST(map__list_names_the_tenants_maps)
{
	Holdfast__V1__MapList op = HOLDFAST__V1__MAP_LIST__INIT;
	request_t request = HOLDFAST__V1__REQUEST__INIT;
	struct client stranger;
	struct fixture f;
	char name[16];
	size_t n = 0;

	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_LIST;
	request.map_list = &op;
	fixture_init(&f);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "map%d", i);
		ASSERT_EQ(client_map_create(&f.client, name, NULL), (int)OK);
	}
	do {
		reply_t *reply = client_call(&f.client, &request);

		n += reply->map_list->n_maps;
		op.skip = reply->map_list->next;
	} while (op.skip != 0);
	ASSERT_EQ(n, 301u);
	client_join_as(&stranger, &f.rig, 4711);
	ASSERT_EQ(client_call(&stranger, &request)->map_list->n_maps, 0u);
	client_close(&stranger);
	fixture_fini(&f);
}
