/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Mirrored maps through the wire: where anonymous memory is, faults, forks,
 * and the order in which other processes have to follow.  The sessions of one
 * test process pose as several: their pid is changed behind the server's back.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/span.h"
#include "server/verify.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE     UINT64_C(4096)
#define MIN_ADDR MAP_DEFAULT_MIN

struct fixture {
	struct rig rig;
	struct client client;
	uint64_t map;
	int fd; /* of the file of base pages */
};

/* ---- Requests ---------------------------------------------------- */

static int
create(struct client *client, const char *name, bool mirrors, uint64_t *mapp)
{
	REQUEST(MapCreate, MAP_CREATE, map_create);
	reply_t *reply;

	op.name = (char *)(uintptr_t)name;
	op.mirrored = true;
	op.mirrors = mirrors;
	reply = client_call(client, &request);
	if (reply->status == OK) {
		ASSERT_TRUE(reply->map->mirrored);
		*mapp = reply->map->map;
	}
	return (int)reply->status;
}

static uint64_t
attach(struct client *client, const char *name)
{
	REQUEST(MapAttach, MAP_ATTACH, map_attach);
	reply_t *reply;

	op.name = (char *)(uintptr_t)name;
	op.mirrors = true;
	reply = client_call(client, &request);
	ASSERT_EQ(reply->status, OK);
	return reply->map->map;
}

static int
fork_map(struct client *client, uint64_t map, const char *name,
    uint64_t *childp)
{
	REQUEST(MapFork, MAP_FORK, map_fork);
	reply_t *reply;

	op.map = map;
	op.name = (char *)(uintptr_t)name;
	reply = client_call(client, &request);
	if (reply->status == OK && childp != NULL)
		*childp = reply->map->map;
	return (int)reply->status;
}

/* Send a request and do not wait. */
static void
send_fork(struct client *client, uint64_t map, const char *name)
{
	REQUEST(MapFork, MAP_FORK, map_fork);

	op.map = map;
	op.name = (char *)(uintptr_t)name;
	(void)client_post(client, &request);
}

static void
send_fault(struct client *client, uint64_t map, uint64_t addr, uint32_t access)
{
	REQUEST(MapFault, MAP_FAULT, map_fault);

	op.map = map;
	op.addr = addr;
	op.access = access;
	(void)client_post(client, &request);
}

static void
send_ack(struct client *client, uint64_t map, uint64_t ack)
{
	REQUEST(MapAck, MAP_ACK, map_ack);

	op.map = map;
	op.ack = ack;
	(void)client_post(client, &request);
}

static int
fault(struct client *client, uint64_t map, uint64_t addr, uint32_t access,
    Holdfast__V1__MapFaultResult **resultp)
{
	REQUEST(MapFault, MAP_FAULT, map_fault);
	reply_t *reply;

	op.map = map;
	op.addr = addr;
	op.access = access;
	reply = client_call(client, &request);
	if (resultp != NULL)
		*resultp = reply->map_fault;
	return (int)reply->status;
}

static int
set_inheritance(struct client *client, uint64_t map, uint64_t start,
    uint64_t end, uint32_t how)
{
	REQUEST(MapInherit, MAP_INHERIT, map_inherit);

	op.map = map;
	op.start = start;
	op.end = end;
	op.inheritance = how;
	return (int)client_call(client, &request)->status;
}

/* Where the page at `addr` is, and with which rights it is to be mapped. */
static uint64_t
place(struct client *client, uint64_t map, uint64_t addr, uint32_t *protp)
{
	Holdfast__V1__MapEntriesResult *result =
	    client_map_entries(client, map, true);

	for (size_t i = 0; i < result->n_entries; i++) {
		Holdfast__V1__Entry *e = result->entries[i];

		if (addr < e->start || addr >= e->end)
			continue;
		ASSERT_NE(e->fd_index, 0u);
		if (protp != NULL)
			*protp = e->prot;
		return e->file_offset + (addr - e->start);
	}
	test_fail(__FILE__, __LINE__, "nothing is at %#llx",
	    (unsigned long long)addr);
	return 0;
}

static void
put(struct fixture *f, uint64_t offset, char byte)
{
	ASSERT_EQ(pwrite(f->fd, &byte, 1, (off_t)offset), 1);
}

static char
get(struct fixture *f, uint64_t offset)
{
	char byte = '?';

	ASSERT_EQ(pread(f->fd, &byte, 1, (off_t)offset), 1);
	return byte;
}

static uint64_t
pages_in_file(struct fixture *f)
{
	struct stat st;

	ASSERT_EQ(fstat(f->fd, &st), 0);
	return (uint64_t)st.st_blocks * 512 / PAGE;
}

/* A mirrored map with `n` pages at its start, each with a letter. */
static void
fixture_init(struct fixture *f, uint64_t n)
{
	static const struct rig_options backed = {.memfd = true};
	uint64_t offset;

	rig_init(&f->rig, &backed);
	client_join(&f->client, &f->rig);
	ASSERT_EQ(create(&f->client, "a", true, &f->map), (int)OK);
	ASSERT_EQ(client_map_insert(&f->client, f->map, 0, MIN_ADDR,
		      MIN_ADDR + n * PAGE),
	    (int)OK);
	offset = place(&f->client, f->map, MIN_ADDR, NULL);
	f->fd = dup(f->client.fds[0]);
	ASSERT_GE(f->fd, 0);
	ASSERT_EQ(pages_in_file(f), 0u); /* nothing before it is touched */
	for (uint64_t i = 0; i < n; i++)
		put(f, offset + i * PAGE, (char)('a' + i));
	f->rig.nfds++;
}

static void
fixture_fini(struct fixture *f)
{
	client_close(&f->client);
	rig_settle(&f->rig);
	(void)close(f->fd);
	f->rig.nfds--;
	rig_fini(&f->rig);
}

/* ---- Where anonymous memory is ----------------------------------- */

TEST(mirrored__anonymous_entries_have_places_of_their_own)
{
	Holdfast__V1__MapEntriesResult *result;
	uint64_t first, second;
	struct fixture f;

	fixture_init(&f, 2);
	first = place(&f.client, f.map, MIN_ADDR, NULL);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + 2 * PAGE,
		      MIN_ADDR + 4 * PAGE),
	    (int)OK);
	second = place(&f.client, f.map, MIN_ADDR + 2 * PAGE, NULL);
	ASSERT_TRUE(second >= first + 2 * PAGE);
	result = client_map_entries(&f.client, f.map, false);
	ASSERT_EQ(result->n_entries, 2u); /* two objects are not one entry */
	ASSERT_NE(result->entries[0]->object, 0u);
	ASSERT_NE(result->entries[1]->object, result->entries[0]->object);
	/* A place is never used again. */
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR,
		      MIN_ADDR + 4 * PAGE),
	    (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(pages_in_file(&f), 0u);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR,
		      MIN_ADDR + PAGE),
	    (int)OK);
	ASSERT_TRUE(
	    place(&f.client, f.map, MIN_ADDR, NULL) >= second + 2 * PAGE);
	fixture_fini(&f);
}

TEST(mirrored__memory_is_paid_for_when_promised_and_had_when_touched)
{
	struct fixture f;

	fixture_init(&f, 4);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 4 * PAGE);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + 16 * PAGE,
		      MIN_ADDR + 1040 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 1028 * PAGE);
	ASSERT_EQ(pages_in_file(&f), 4u);
	/* It goes to a worker, and the reply waits for that. */
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR + 16 * PAGE,
		      MIN_ADDR + 1040 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 4 * PAGE);
	/* A part of an entry is given back, too, */
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR + PAGE,
		      MIN_ADDR + 3 * PAGE),
	    (int)OK);
	ASSERT_EQ(pages_in_file(&f), 2u);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 2 * PAGE);
	/* and each of the parts that are left. */
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR,
		      MIN_ADDR + PAGE),
	    (int)OK);
	ASSERT_EQ(pages_in_file(&f), 1u);
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR,
		      MIN_ADDR + 4 * PAGE),
	    (int)OK);
	ASSERT_EQ(pages_in_file(&f), 0u);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 0u);
	fixture_fini(&f);
}

TEST(mirrored__a_map_of_another_machine_cannot_be)
{
	REQUEST(MapCreate, MAP_CREATE, map_create);
	struct fixture f;

	fixture_init(&f, 1);
	op.mirrored = true;
	op.machine = (char *)"aarch64";
	ASSERT_EQ(client_call(&f.client, &request)->status,
	    REFUSED(INVALID_ARGUMENT));
	ASSERT_NOT_NULL(strstr(client_sentence(&f.client), "machine"));
	fixture_fini(&f);
}

/* ---- Faults ------------------------------------------------------ */

TEST(fault__answers_what_to_map_and_refuses_with_a_sentence)
{
	Holdfast__V1__MapFaultResult *result;
	struct fixture f;
	uint64_t plain;

	fixture_init(&f, 4);
	ASSERT_EQ(fault(&f.client, f.map, MIN_ADDR + PAGE + 7, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	ASSERT_EQ(f.client.nfds, 1u);
	ASSERT_EQ(result->piece->start, MIN_ADDR);
	ASSERT_EQ(result->piece->end, MIN_ADDR + 4 * PAGE);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(get(&f, result->piece->file_offset + PAGE), 'b');
	ASSERT_EQ(fault(&f.client, f.map, MIN_ADDR + 4 * PAGE, VM_PROT_READ,
		      NULL),
	    (int)REFUSED(INVALID_ADDRESS));
	ASSERT_EQ(fault(&f.client, f.map, 0, VM_PROT_READ, NULL),
	    (int)REFUSED(INVALID_ADDRESS));
	ASSERT_EQ(fault(&f.client, f.map, MIN_ADDR, VM_PROT_EXECUTE, NULL),
	    (int)REFUSED(PROTECTION_FAILURE));
	ASSERT_EQ(fault(&f.client, f.map, MIN_ADDR, 0x400, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(fault(&f.client, 99, MIN_ADDR, VM_PROT_READ, NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_create(&f.client, "plain", &plain), (int)OK);
	ASSERT_EQ(fault(&f.client, plain, MIN_ADDR, VM_PROT_READ, NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_NOT_NULL(strstr(client_sentence(&f.client), "mirrored"));
	fixture_fini(&f);
}

static int
make_stack(struct client *client, uint64_t map, uint64_t bottom, uint64_t size)
{
	REQUEST(MapStack, MAP_STACK, map_stack);

	op.map = map;
	op.addrbos = bottom;
	op.max_ssize = size;
	op.prot = op.max_prot = VM_PROT_RW;
	op.cow = MAP_STACK_AREA;
	return (int)client_call(client, &request)->status;
}

TEST(fault__grows_a_stack_up_to_its_limit)
{
	const uint64_t bottom = MIN_ADDR + (1u << 20), size = 1u << 20;
	Holdfast__V1__MapFaultResult *result;
	struct fixture f;

	fixture_init(&f, 1);
	ASSERT_EQ(make_stack(&f.client, f.map, bottom, size), (int)OK);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used,
	    PAGE + VM_MAP_STACK_GROW);
	ASSERT_EQ(fault(&f.client, f.map,
		      bottom + size - VM_MAP_STACK_GROW - PAGE, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->piece->end, bottom + size - VM_MAP_STACK_GROW);
	ASSERT_EQ(result->piece->start, bottom + size - 2 * VM_MAP_STACK_GROW);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used,
	    PAGE + 2 * VM_MAP_STACK_GROW);
	ASSERT_EQ(fault(&f.client, f.map, bottom, VM_PROT_WRITE, NULL),
	    (int)REFUSED(PROTECTION_FAILURE)); /* the guard */
	ASSERT_EQ(fault(&f.client, f.map, bottom + PAGE, VM_PROT_WRITE, NULL),
	    (int)OK);
	ASSERT_EQ(client_map_check(&f.client, f.map), (int)OK);
	ASSERT_EQ(fault(&f.client, f.map, bottom - PAGE, VM_PROT_WRITE, NULL),
	    (int)REFUSED(INVALID_ADDRESS));
	fixture_fini(&f);
}

/* ---- Fork -------------------------------------------------------- */

TEST(fork__shares_until_one_of_the_two_writes)
{
	Holdfast__V1__MapFaultResult *result;
	uint64_t child, origin, copy;
	struct fixture f;
	uint32_t prot;

	fixture_init(&f, 4);
	origin = place(&f.client, f.map, MIN_ADDR, NULL);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(place(&f.client, child, MIN_ADDR, &prot), origin);
	ASSERT_EQ(prot, (uint32_t)VM_PROT_READ);
	ASSERT_EQ(place(&f.client, f.map, MIN_ADDR, &prot), origin);
	ASSERT_EQ(prot, (uint32_t)VM_PROT_READ);
	ASSERT_EQ(pages_in_file(&f), 4u);

	/* A read shows what is shared. */
	ASSERT_EQ(fault(&f.client, child, MIN_ADDR + PAGE, VM_PROT_READ,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_READ);
	ASSERT_EQ(result->piece->file_offset + MIN_ADDR + PAGE -
		      result->piece->start,
	    origin + PAGE);
	/* A write in the child copies one page, for the child alone. */
	ASSERT_EQ(fault(&f.client, child, MIN_ADDR + PAGE, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->kind, 3u);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(result->piece->start, MIN_ADDR + PAGE);
	ASSERT_EQ(result->piece->end, MIN_ADDR + 2 * PAGE);
	copy = result->piece->file_offset;
	ASSERT_NE(copy, origin + PAGE);
	ASSERT_EQ(get(&f, copy), 'b');
	put(&f, copy, 'B');
	ASSERT_EQ(get(&f, origin + PAGE), 'b');
	ASSERT_EQ(pages_in_file(&f), 5u);
	ASSERT_EQ(place(&f.client, child, MIN_ADDR + PAGE, &prot), copy);
	ASSERT_EQ(prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(place(&f.client, child, MIN_ADDR, &prot), origin);
	ASSERT_EQ(place(&f.client, f.map, MIN_ADDR + PAGE, NULL),
	    origin + PAGE);
	/* And in the parent. */
	ASSERT_EQ(fault(&f.client, f.map, MIN_ADDR + PAGE, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	ASSERT_EQ(get(&f, result->piece->file_offset), 'b');
	ASSERT_NE(result->piece->file_offset, copy);
	ASSERT_EQ(client_map_check(&f.client, f.map), (int)OK);
	ASSERT_EQ(client_map_check(&f.client, child), (int)OK);

	/* What only the child had goes with it. */
	ASSERT_EQ(pages_in_file(&f), 6u);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 6 * PAGE);
	ASSERT_EQ(client_map_destroy(&f.client, child), (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(pages_in_file(&f), 5u);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 5 * PAGE);
	fixture_fini(&f);
}

TEST(fork__of_a_fork_and_without_the_parent)
{
	Holdfast__V1__MapFaultResult *result;
	uint64_t child, grandchild, copy;
	struct fixture f;

	fixture_init(&f, 3);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(fault(&f.client, child, MIN_ADDR, VM_PROT_WRITE, &result),
	    (int)OK);
	put(&f, result->piece->file_offset, 'A');
	ASSERT_EQ(fork_map(&f.client, child, "c", &grandchild), (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, f.map), (int)OK);
	ASSERT_EQ(get(&f, place(&f.client, child, MIN_ADDR + PAGE, NULL)), 'b');
	ASSERT_EQ(get(&f, place(&f.client, grandchild, MIN_ADDR, NULL)), 'A');
	ASSERT_EQ(fault(&f.client, grandchild, MIN_ADDR, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	copy = result->piece->file_offset;
	ASSERT_EQ(get(&f, copy), 'A');
	put(&f, copy, 'Z');
	ASSERT_EQ(get(&f, place(&f.client, child, MIN_ADDR, NULL)), 'A');
	ASSERT_EQ(client_map_destroy(&f.client, child), (int)OK);
	ASSERT_EQ(get(&f, place(&f.client, grandchild, MIN_ADDR, NULL)), 'Z');
	ASSERT_EQ(get(&f,
		      place(&f.client, grandchild, MIN_ADDR + 2 * PAGE, NULL)),
	    'c');
	ASSERT_EQ(client_map_check(&f.client, grandchild), (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, grandchild), (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(client_tenant(&f.client)->base_bytes->used, 0u);
	ASSERT_EQ(client_tenant(&f.client)->maps, 0u);
	fixture_fini(&f);
}

TEST(fork__a_map_that_is_alone_again_writes_where_it_is)
{
	Holdfast__V1__MapFaultResult *result;
	uint64_t child, origin;
	struct fixture f;

	fixture_init(&f, 4);
	origin = place(&f.client, f.map, MIN_ADDR, NULL);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, child), (int)OK);
	ASSERT_EQ(fault(&f.client, f.map, MIN_ADDR, VM_PROT_WRITE, &result),
	    (int)OK);
	ASSERT_EQ(result->piece->file_offset, origin);
	ASSERT_EQ(result->piece->end, MIN_ADDR + 4 * PAGE);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(client_map_check(&f.client, f.map), (int)OK);
	/* A part that goes is given back again. */
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_ADDR,
		      MIN_ADDR + PAGE),
	    (int)OK);
	ASSERT_EQ(pages_in_file(&f), 3u);
	fixture_fini(&f);
}

TEST(fork__inheritance_shares_leaves_out_and_zeroes)
{
	uint64_t child, at[4];
	struct fixture f;
	uint32_t prot;

	fixture_init(&f, 4);
	for (uint64_t i = 0; i < 4; i++)
		at[i] = MIN_ADDR + i * PAGE;
	ASSERT_EQ(set_inheritance(&f.client, f.map, at[1], at[2],
		      VM_INHERIT_SHARE),
	    (int)OK);
	ASSERT_EQ(set_inheritance(&f.client, f.map, at[2], at[3],
		      VM_INHERIT_NONE),
	    (int)OK);
	ASSERT_EQ(set_inheritance(&f.client, f.map, at[3], at[3] + PAGE,
		      VM_INHERIT_ZERO),
	    (int)OK);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(place(&f.client, child, at[1], &prot),
	    place(&f.client, f.map, at[1], NULL));
	ASSERT_EQ(prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(fault(&f.client, child, at[2], VM_PROT_READ, NULL),
	    (int)REFUSED(INVALID_ADDRESS));
	ASSERT_EQ(get(&f, place(&f.client, child, at[3], &prot)), 0);
	ASSERT_EQ(prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(get(&f, place(&f.client, f.map, at[3], NULL)), 'd');
	/* It stays shared when one of the two writes. */
	ASSERT_EQ(fault(&f.client, child, at[1], VM_PROT_WRITE, NULL), (int)OK);
	ASSERT_EQ(place(&f.client, child, at[1], NULL),
	    place(&f.client, f.map, at[1], NULL));
	ASSERT_EQ(client_map_check(&f.client, child), (int)OK);
	fixture_fini(&f);
}

TEST(fork__names_rights_and_quotas_refuse_without_a_trace)
{
	struct server_options options;
	struct client client, stranger;
	struct rig rig;
	uint64_t map;

	server_options_default(&options);
	options.limits.limit[QUOTA_MAPS] = 2;
	options.limits.limit[QUOTA_BASE_BYTES] = 5 * PAGE;
	options.limits.limit[QUOTA_ENTRIES] = 7;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	client_join_as(&stranger, &rig, 4711);
	ASSERT_EQ(create(&client, "a", true, &map), (int)OK);
	for (uint64_t i = 0; i < 4; i++)
		ASSERT_EQ(client_map_insert(&client, map, 0,
			      MIN_ADDR + 2 * i * PAGE,
			      MIN_ADDR + (2 * i + 1) * PAGE),
		    (int)OK);
	ASSERT_EQ(fork_map(&client, map, "b", NULL), (int)REFUSED(QUOTA));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "entries"));
	ASSERT_EQ(client_map_delete(&client, map, MIN_ADDR,
		      MIN_ADDR + 4 * PAGE),
	    (int)OK);
	ASSERT_EQ(fork_map(&client, map, "a", NULL), (int)REFUSED(EXISTS));
	ASSERT_EQ(fork_map(&client, map, "a/b", NULL),
	    (int)REFUSED(INVALID_ARGUMENT));
	ASSERT_EQ(fork_map(&stranger, map, "b", NULL),
	    (int)REFUSED(UNKNOWN_ID));
	ASSERT_EQ(client_map_insert(&client, map, 0, MIN_ADDR,
		      MIN_ADDR + 3 * PAGE),
	    (int)OK);
	ASSERT_EQ(set_inheritance(&client, map, MIN_ADDR, MIN_ADDR + 3 * PAGE,
		      VM_INHERIT_ZERO),
	    (int)OK);
	/* Zeroes are promised to the child, and would have to be paid for. */
	ASSERT_EQ(fork_map(&client, map, "b", NULL), (int)REFUSED(QUOTA));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "base pages"));
	ASSERT_EQ(client_map_check(&client, map), (int)OK);
	ASSERT_EQ(client_tenant(&client)->maps, 1u);
	ASSERT_EQ(client_tenant(&client)->entries, 3u);
	ASSERT_EQ(client_tenant(&client)->base_bytes->used, 5 * PAGE);
	ASSERT_EQ(set_inheritance(&client, map, MIN_ADDR, MIN_ADDR + 3 * PAGE,
		      VM_INHERIT_COPY),
	    (int)OK);
	ASSERT_EQ(fork_map(&client, map, "b", NULL), (int)OK);
	ASSERT_EQ(fork_map(&client, map, "c", NULL), (int)REFUSED(QUOTA));
	client_close(&stranger);
	client_close(&client);
	rig_fini(&rig);
}

TEST(fork__a_copy_over_the_quota_is_refused_and_can_be_had_later)
{
	struct server_options options;
	struct client client;
	struct rig rig;
	uint64_t map, child;

	server_options_default(&options);
	options.limits.limit[QUOTA_BASE_BYTES] = 3 * PAGE;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	ASSERT_EQ(create(&client, "a", true, &map), (int)OK);
	ASSERT_EQ(client_map_insert(&client, map, 0, MIN_ADDR,
		      MIN_ADDR + 2 * PAGE),
	    (int)OK);
	ASSERT_EQ(fork_map(&client, map, "b", &child), (int)OK);
	ASSERT_EQ(fault(&client, child, MIN_ADDR, VM_PROT_WRITE, NULL),
	    (int)OK);
	ASSERT_EQ(fault(&client, child, MIN_ADDR + PAGE, VM_PROT_WRITE, NULL),
	    (int)REFUSED(QUOTA));
	ASSERT_NOT_NULL(strstr(client_sentence(&client), "base pages"));
	ASSERT_EQ(client_map_check(&client, child), (int)OK);
	ASSERT_EQ(client_map_delete(&client, child, MIN_ADDR, MIN_ADDR + PAGE),
	    (int)OK);
	ASSERT_EQ(fault(&client, child, MIN_ADDR + PAGE, VM_PROT_WRITE, NULL),
	    (int)OK);
	client_close(&client);
	rig_fini(&rig);
}

/* ---- Order ------------------------------------------------------- */

/* Let the sessions be those of other processes. */
static void
pose_as(struct rig *rig, unsigned serial, pid_t pid)
{
	struct session *session;

	TAILQ_FOREACH (session, &rig->server->sessions, entry) {
		if (session->serial == serial)
			session->pid = pid;
	}
}

struct pair {
	struct fixture f;
	struct client other;
	uint64_t other_map;
};

static void
pair_init(struct pair *p)
{
	fixture_init(&p->f, 4);
	client_join(&p->other, &p->f.rig);
	pose_as(&p->f.rig, 2, 4242);
	p->other_map = attach(&p->other, "a");
}

static void
pair_fini(struct pair *p)
{
	client_close(&p->other);
	fixture_fini(&p->f);
}

static bool
has_packet(struct client *client)
{
	char byte;

	for (int i = 0; i < 50; i++)
		rig_turn(client->rig);
	return recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static const Holdfast__V1__Event *
take_event(struct client *client)
{
	ASSERT_TRUE(client_receive(client));
	ASSERT_EQ(client->packet->n_events, 1u);
	ASSERT_EQ(client->packet->n_replies, 0u);
	return client->packet->events[0];
}

static void
send_hello(struct client *client)
{
	REQUEST(Hello, HELLO, hello);

	op.version_min = op.version_max = 1;
	op.sequential = true;
	ASSERT_EQ(client_call(client, &request)->status, OK);
}

/* One that waits for its answers: what follows its request is read too. */
TEST(fork__an_answer_to_a_change_is_heard_behind_a_request)
{
	struct pair p;

	pair_init(&p);
	send_hello(&p.other);
	send_fork(&p.f.client, p.f.map, "b");
	ASSERT_FALSE(has_packet(&p.f.client));
	(void)client_post_ping(&p.other);
	send_ack(&p.other, p.other_map, take_event(&p.other)->ack);
	ASSERT_TRUE(client_receive(&p.f.client));
	ASSERT_EQ(p.f.client.packet->replies[0]->status, OK);
	ASSERT_TRUE(client_receive(&p.other));
	pair_fini(&p);
}

TEST(fork__replies_when_every_process_has_let_go_of_writing)
{
	const Holdfast__V1__Event *event;
	struct pair p;
	uint64_t ack;

	pair_init(&p);
	send_fork(&p.f.client, p.f.map, "b");
	ASSERT_FALSE(has_packet(&p.f.client));
	event = take_event(&p.other);
	ASSERT_EQ(event->map, p.other_map);
	ASSERT_EQ(event->start, MAP_DEFAULT_MIN);
	ASSERT_EQ(event->end, MAP_DEFAULT_MAX);
	ASSERT_TRUE(event->write_protect);
	ack = event->ack;
	ASSERT_NE(ack, 0u);
	send_ack(&p.other, p.other_map, ack + 1); /* never sent */
	send_ack(&p.other, p.other_map + 1, ack);
	ASSERT_FALSE(has_packet(&p.f.client));
	/* It can look, to carry it out, but faults wait. */
	ASSERT_EQ(client_map_entries(&p.other, p.other_map, true)
		      ->entries[0]
		      ->prot,
	    (uint32_t)VM_PROT_READ);
	send_fault(&p.other, p.other_map, MIN_ADDR, VM_PROT_WRITE);
	ASSERT_FALSE(has_packet(&p.other));
	send_ack(&p.other, p.other_map, ack);
	ASSERT_TRUE(client_receive(&p.f.client));
	ASSERT_EQ(p.f.client.packet->replies[0]->status, OK);
	/* Now it is copied for `other`, and `client` has to let go first. */
	ASSERT_FALSE(client_is_cut(&p.other));
	event = take_event(&p.f.client);
	ASSERT_EQ(event->start, MIN_ADDR);
	ASSERT_EQ(event->end, MIN_ADDR + PAGE);
	ASSERT_FALSE(event->write_protect);
	ASSERT_FALSE(has_packet(&p.other));
	send_ack(&p.f.client, p.f.map, event->ack);
	ASSERT_TRUE(client_receive(&p.other));
	ASSERT_EQ(p.other.packet->replies[0]->status, OK);
	ASSERT_EQ(p.other.packet->replies[0]->map_fault->piece->start,
	    MIN_ADDR);
	pair_fini(&p);
}

TEST(fork__who_does_not_answer_is_ended)
{
	struct server_options options;
	struct client client, other;
	struct rig rig;
	uint64_t map;

	server_options_default(&options);
	options.ack_timeout_ms = 50;
	rig_init(&rig,
	    &(struct rig_options){.memfd = true, .server = &options});
	client_join(&client, &rig);
	client_join(&other, &rig);
	pose_as(&rig, 2, 4242);
	ASSERT_EQ(create(&client, "a", true, &map), (int)OK);
	ASSERT_EQ(client_map_insert(&client, map, 0, MIN_ADDR, MIN_ADDR + PAGE),
	    (int)OK);
	(void)attach(&other, "a");
	ASSERT_EQ(fork_map(&client, map, "b", NULL), (int)OK);
	ASSERT_EQ(rig.server->nsessions, 1u);
	client_close(&other);
	client_close(&client);
	rig_fini(&rig);
}

TEST(fork__the_death_of_any_side_lets_the_others_go_on)
{
	struct pair p;
	struct client third;
	uint64_t child;

	/* Of the one that has to answer. */
	pair_init(&p);
	send_fork(&p.f.client, p.f.map, "b");
	(void)take_event(&p.other);
	client_close(&p.other);
	ASSERT_TRUE(client_receive(&p.f.client));
	ASSERT_EQ(p.f.client.packet->replies[0]->status, OK);
	fixture_fini(&p.f);

	/* Of the one that forks. */
	pair_init(&p);
	send_fork(&p.f.client, p.f.map, "b");
	(void)take_event(&p.other);
	client_close(&p.f.client);
	rig_settle(&p.f.rig);
	send_fault(&p.other, p.other_map, MIN_ADDR, VM_PROT_WRITE);
	ASSERT_FALSE(has_packet(&p.other)); /* still its own turn to answer */
	send_ack(&p.other, p.other_map, 1);
	ASSERT_TRUE(client_receive(&p.other));
	ASSERT_EQ(p.other.packet->replies[0]->status, OK);
	ASSERT_EQ(client_tenant(&p.other)->maps, 1u); /* no child is left */
	client_close(&p.other);
	rig_settle(&p.f.rig);
	(void)close(p.f.fd);
	p.f.rig.nfds--;
	rig_fini(&p.f.rig);

	/* Of the map. */
	pair_init(&p);
	client_join(&third, &p.f.rig);
	pose_as(&p.f.rig, 3, 4243);
	(void)attach(&third, "a");
	ASSERT_EQ(client_map_destroy(&third, attach(&third, "a")), (int)OK);
	ASSERT_EQ(fork_map(&p.f.client, p.f.map, "b", &child),
	    (int)REFUSED(UNKNOWN_ID));
	client_close(&third);
	pair_fini(&p);
}

/* ---- Superpages -------------------------------------------------- */

TEST(fork__a_superpage_is_copied_whole)
{
	Holdfast__V1__MapFaultResult *result;
	Holdfast__V1__MapEntriesResult *entries;
	uint64_t object, addr, child;
	struct fixture f;
	char byte = 'q';

	fixture_init(&f, 1);
	ASSERT_EQ(client_object(&f.client, 2, 3 * RIG_FRAME, &object), (int)OK);
	ASSERT_EQ(client_map_find(&f.client, f.map, object, 3 * RIG_FRAME,
		      VMFS_SUPER_SPACE, &addr),
	    (int)OK);
	ASSERT_EQ(client_object_destroy(&f.client, object), (int)OK);
	ASSERT_EQ(fault(&f.client, f.map, addr + RIG_FRAME, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	ASSERT_EQ(pwrite(f.client.fds[0], &byte, 1, (off_t)RIG_FRAME + 77), 1);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 13u);
	ASSERT_EQ(fault(&f.client, child, addr + RIG_FRAME + 5 * PAGE,
		      VM_PROT_WRITE, &result),
	    (int)OK);
	ASSERT_EQ(result->piece->start, addr + RIG_FRAME);
	ASSERT_EQ(result->piece->end, addr + 2 * RIG_FRAME);
	ASSERT_EQ(result->piece->kind, 2u);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(pread(f.client.fds[0], &byte, 1, 77), 1);
	ASSERT_EQ(byte, 'q');
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 12u);
	entries = client_map_entries(&f.client, child, false);
	ASSERT_EQ(entries->n_entries, 4u);
	ASSERT_NE(entries->entries[2]->object, entries->entries[1]->object);
	ASSERT_EQ(entries->entries[3]->object, entries->entries[1]->object);
	ASSERT_EQ(client_map_check(&f.client, child), (int)OK);
	/* A read of the next one shows what is shared. */
	ASSERT_EQ(fault(&f.client, child, addr, VM_PROT_READ, &result),
	    (int)OK);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_READ);
	/* Alone again, nothing more is copied. */
	ASSERT_EQ(client_map_destroy(&f.client, child), (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 13u);
	ASSERT_EQ(fault(&f.client, f.map, addr, VM_PROT_WRITE, &result),
	    (int)OK);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 13u);
	fixture_fini(&f);
}

/* Three frames at *addrp, the memory of the second of which goes bad. */
static void
lose_second_frame(struct fixture *f, uint64_t *addrp)
{
	struct span *span;
	uint64_t object;

	ASSERT_EQ(client_object(&f->client, 2, 3 * RIG_FRAME, &object),
	    (int)OK);
	ASSERT_EQ(client_map_find(&f->client, f->map, object, 3 * RIG_FRAME,
		      VMFS_SUPER_SPACE, addrp),
	    (int)OK);
	ASSERT_EQ(client_object_destroy(&f->client, object), (int)OK);
	span = TAILQ_LAST(&f->rig.server->pool.spans, span_list);
	ASSERT_TRUE(sim_poison(f->rig.arch, span->start + RIG_FRAME));
	verify_memory_failure(f->rig.server);
}

static void
expect_lost(struct client *client, uint64_t map, uint64_t addr)
{
	ASSERT_TRUE(client_receive(client));
	ASSERT_EQ(client->packet->n_lost, 1u);
	ASSERT_EQ(client->packet->lost[0]->buffer, 0u);
	ASSERT_EQ(client->packet->lost[0]->map, map);
	ASSERT_EQ(client->packet->lost[0]->addr, addr);
	ASSERT_EQ(client->packet->lost[0]->size, RIG_FRAME);
	ASSERT_EQ(client->packet->lost[0]->offset, RIG_FRAME);
	ASSERT_NE(client->packet->lost[0]->object, 0u);
}

TEST(map__who_attached_it_is_told_of_bad_memory_and_gets_it_no_more)
{
	Holdfast__V1__MapEntriesResult *entries;
	Holdfast__V1__MapFaultResult *result;
	struct client other;
	uint64_t addr, theirs;
	struct fixture f;

	fixture_init(&f, 1);
	client_join(&other, &f.rig);
	theirs = attach(&other, "a");
	lose_second_frame(&f, &addr);
	expect_lost(&f.client, f.map, addr + RIG_FRAME);
	expect_lost(&other, theirs, addr + RIG_FRAME);
	rig_settle(&f.rig);
	ASSERT_EQ(fault(&other, theirs, addr + RIG_FRAME + 3 * PAGE,
		      VM_PROT_READ, &result),
	    (int)REFUSED(FAILURE));
	ASSERT_NOT_NULL(strstr(client_sentence(&other), "went bad"));
	/* The rest is as it was. */
	ASSERT_EQ(fault(&other, theirs, addr + 3 * PAGE, VM_PROT_WRITE,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->piece->end, addr + RIG_FRAME);
	ASSERT_EQ(fault(&other, theirs, addr + 2 * RIG_FRAME, VM_PROT_READ,
		      &result),
	    (int)OK);
	ASSERT_EQ(result->piece->start, addr + 2 * RIG_FRAME);
	entries = client_map_entries(&other, theirs, true);
	for (size_t i = 0; i < entries->n_entries; i++)
		ASSERT_EQ(entries->entries[i]->fd_index == 0,
		    entries->entries[i]->start == addr + RIG_FRAME ||
			entries->entries[i]->object == 0);
	/* Deleted, the frame is retired and the others come back. */
	ASSERT_EQ(client_map_delete(&other, theirs, addr, addr + 3 * RIG_FRAME),
	    (int)OK);
	rig_settle(&f.rig);
	ASSERT_EQ(client_pool(&other)->frames_total, 15u);
	ASSERT_EQ(client_pool(&other)->frames_standby, 15u);
	client_close(&other);
	fixture_fini(&f);
}

TEST(fork__a_superpage_that_has_no_frame_for_a_copy_is_named)
{
	struct fixture f;
	uint64_t object, other, addr, child;

	fixture_init(&f, 1);
	ASSERT_EQ(client_object(&f.client, 2, 8 * RIG_FRAME, &object), (int)OK);
	ASSERT_EQ(client_object(&f.client, 2, 8 * RIG_FRAME, &other), (int)OK);
	ASSERT_EQ(client_map_find(&f.client, f.map, object, RIG_FRAME,
		      VMFS_SUPER_SPACE, &addr),
	    (int)OK);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_NE(fault(&f.client, child, addr, VM_PROT_WRITE, NULL), (int)OK);
	ASSERT_NOT_NULL(strstr(client_sentence(&f.client), "object 2 "));
	ASSERT_EQ(client_object_destroy(&f.client, other), (int)OK);
	ASSERT_EQ(fault(&f.client, child, addr, VM_PROT_WRITE, NULL), (int)OK);
	fixture_fini(&f);
}

TEST(fork__shared_superpages_are_written_where_they_are)
{
	Holdfast__V1__MapFaultResult *result;
	uint64_t object, addr, child;
	struct fixture f;

	fixture_init(&f, 1);
	ASSERT_EQ(client_object(&f.client, 2, RIG_FRAME, &object), (int)OK);
	ASSERT_EQ(client_map_find(&f.client, f.map, object, RIG_FRAME,
		      VMFS_SUPER_SPACE, &addr),
	    (int)OK);
	ASSERT_EQ(set_inheritance(&f.client, f.map, addr, addr + RIG_FRAME,
		      VM_INHERIT_SHARE),
	    (int)OK);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(fault(&f.client, child, addr, VM_PROT_WRITE, &result),
	    (int)OK);
	ASSERT_EQ(result->piece->prot, (uint32_t)VM_PROT_RW);
	ASSERT_EQ(client_pool(&f.client)->frames_standby, 15u);
	fixture_fini(&f);
}

/* ---- Counting ---------------------------------------------------- */

TEST(entries__counts_are_those_of_procstat)
{
	REQUEST(MapEntries, MAP_ENTRIES, map_entries);
	Holdfast__V1__Entry *entry;
	struct fixture f;
	uint64_t child;

	fixture_init(&f, 4);
	ASSERT_EQ(client_map_insert(&f.client, f.map, 0, MIN_ADDR + 8 * PAGE,
		      MIN_ADDR + 12 * PAGE),
	    (int)OK);
	op.map = f.map;
	op.want_counts = true;
	entry = client_call(&f.client, &request)->map_entries->entries[0];
	ASSERT_EQ(entry->resident, 4u);
	ASSERT_EQ(entry->resident_private, 4u);
	ASSERT_EQ(entry->refs, 1u);
	ASSERT_EQ(entry->shadows, 0u);
	entry = client_call(&f.client, &request)->map_entries->entries[1];
	ASSERT_EQ(entry->resident, 0u);
	ASSERT_EQ(fork_map(&f.client, f.map, "b", &child), (int)OK);
	ASSERT_EQ(fault(&f.client, child, MIN_ADDR, VM_PROT_WRITE, NULL),
	    (int)OK);
	entry = client_call(&f.client, &request)->map_entries->entries[0];
	ASSERT_EQ(entry->refs, 2u);
	ASSERT_EQ(entry->shadows, 1u);
	ASSERT_EQ(entry->resident_private, 0u);
	op.map = child;
	entry = client_call(&f.client, &request)->map_entries->entries[0];
	ASSERT_EQ(entry->resident, 4u);
	ASSERT_EQ(entry->resident_private, 1u);
	ASSERT_EQ(entry->refs, 1u);
	fixture_fini(&f);
}
