/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Every operation on a map through the wire: carried out, refused with bad
 * arguments (the sentence names the argument, and the map is as it was), and
 * denied to who attached for reading only.  Then owners, groups and modes.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE  UINT64_C(4096)
#define MIN_A UINT64_C(0x10000000)
#define MAX_A UINT64_C(0x50000000)
#define AT    UINT64_C(0x20000000) /* where the entry of the fixture is */

#define MODE_OWNER  4711u
#define MODE_FRIEND 4712u
#define MODE_GROUP  5000u
#define MODE_OTHERS 4713u

#define HAS(text, part)                                                        \
	do {                                                                   \
		if (strstr(text, part) == NULL)                                \
			test_fail(__FILE__, __LINE__,                          \
			    "\"%s\" does not say \"%s\"", text, part);         \
	} while (0)

struct fixture {
	struct rig rig;
	struct client client;
	uint64_t map;
};

static int
create(struct client *client, const char *name, unsigned mode, uint64_t group,
    uint64_t *mapp)
{
	reply_t *reply;
	REQUEST(MapCreate, MAP_CREATE, map_create);

	op.name = (char *)(uintptr_t)name; /* only read */
	op.min = MIN_A;
	op.max = MAX_A;
	op.mode = mode;
	op.group = group;
	reply = client_call(client, &request);
	if (reply->status == OK)
		*mapp = reply->map->map;
	return (int)reply->status;
}

/* Eight pages at AT, rw, at most rw. */
static void
fixture_init(struct fixture *f)
{
	reply_t *reply;
	REQUEST(MapInsert, MAP_INSERT, map_insert);

	rig_init(&f->rig, &(struct rig_options){.memfd = true});
	client_join(&f->client, &f->rig);
	ASSERT_EQ(create(&f->client, "m", 0666, 0, &f->map), (int)OK);
	op.map = f->map;
	op.start = AT;
	op.end = AT + 8 * PAGE;
	op.prot = VM_PROT_RW;
	op.max_prot = VM_PROT_RW;
	reply = client_call(&f->client, &request);
	ASSERT_EQ(reply->status, OK);
}

static void
fixture_fini(struct fixture *f)
{
	ASSERT_EQ(client_map_check(&f->client, f->map), (int)OK);
	client_close(&f->client);
	rig_fini(&f->rig);
}

/* Everything that a map shows, as text. */
static void
describe(struct client *client, uint64_t map, char *text, size_t size)
{
	Holdfast__V1__MapEntriesResult *all =
	    client_map_entries(client, map, false);
	size_t at = 0;

	for (size_t i = 0; i < all->n_entries; i++) {
		const Holdfast__V1__Entry *e = all->entries[i];

		at += (size_t)snprintf(text + at, size - at,
		    "%llx %llx %x %x %x %u %x %llu;",
		    (unsigned long long)e->start, (unsigned long long)e->end,
		    e->prot, e->max_prot, e->inheritance, e->wired_count,
		    e->eflags, (unsigned long long)e->object);
		ASSERT_LT(at, size);
	}
}

/* It is refused so, says so, and changes nothing. */
static void
refused(struct fixture *f, request_t *request, int status, const char *part)
{
	char before[1024], after[1024], why[512];
	reply_t *reply;

	describe(&f->client, f->map, before, sizeof(before));
	reply = client_call(&f->client, request);
	ASSERT_EQ((int)reply->status, status);
	(void)snprintf(why, sizeof(why), "%s", reply->message);
	HAS(why, part);
	describe(&f->client, f->map, after, sizeof(after));
	ASSERT_STREQ(before, after);
}

static reply_t *
accepted(struct fixture *f, request_t *request)
{
	reply_t *reply = client_call(&f->client, request);

	if (reply->status != OK)
		test_fail(__FILE__, __LINE__, "refused: %s", reply->message);
	return reply;
}

#define INVALID    ((int)REFUSED(INVALID_ARGUMENT))
#define ADDRESS    ((int)REFUSED(INVALID_ADDRESS))
#define PROTECTION ((int)REFUSED(PROTECTION_FAILURE))
#define DENIED     ((int)REFUSED(DENIED))
#define UNKNOWN    ((int)REFUSED(UNKNOWN_ID))
#define BLOCKED    ((int)REFUSED(WOULD_BLOCK))

/* ---- Places -------------------------------------------------------------- */

TEST(map_fixed__replaces_and_refuses_bad_places)
{
	struct fixture f;
	REQUEST(MapFixed, MAP_FIXED, map_fixed);

	fixture_init(&f);
	op.map = f.map;
	op.start = AT + 2 * PAGE;
	op.length = 2 * PAGE;
	op.prot = VM_PROT_READ;
	op.max_prot = VM_PROT_READ;
	(void)accepted(&f, &request);
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 3u);
	op.start = AT + 1;
	refused(&f, &request, INVALID, "start");
	op.start = MAX_A - PAGE;
	refused(&f, &request, ADDRESS, "end must be at or below the end");
	op.start = MIN_A - PAGE;
	refused(&f, &request, ADDRESS, "start must be at or above");
	op.start = AT;
	op.length = 0;
	refused(&f, &request, INVALID, "length must not be 0");
	op.length = UINT64_MAX - PAGE + 1;
	refused(&f, &request, INVALID, "length");
	op.length = PAGE;
	op.prot = VM_PROT_RW;
	refused(&f, &request, INVALID, "prot must be a subset");
	op.prot = 0x101;
	refused(&f, &request, INVALID, "prot");
	op.prot = VM_PROT_READ;
	op.cow = 0x80000000u;
	refused(&f, &request, INVALID, "cow");
	op.cow = 0;
	op.object = 77;
	refused(&f, &request, UNKNOWN, "object");
	op.object = 0;
	op.map = 77;
	refused(&f, &request, UNKNOWN, "map");
	fixture_fini(&f);
}

TEST(map_find_min__falls_back_to_the_default_address)
{
	struct fixture f;
	Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;
	REQUEST(MapFindMin, MAP_FIND_MIN, map_find_min);

	fixture_init(&f);
	refused(&f, &request, INVALID, "find must be there");
	op.find = &find;
	find.map = f.map;
	find.addr = MAX_A - PAGE;
	find.length = 4 * PAGE;
	find.find_space = VMFS_ANY_SPACE;
	find.prot = VM_PROT_READ;
	find.max_prot = VM_PROT_RW;
	op.default_addr = AT;
	ASSERT_EQ(accepted(&f, &request)->map_find->addr, AT + 8 * PAGE);
	op.default_addr = 3;
	refused(&f, &request, INVALID, "default_addr");
	op.default_addr = AT;
	find.find_space = 0x4000;
	refused(&f, &request, INVALID, "find_space");
	find.find_space = VMFS_ANY_SPACE;
	find.length = MAX_A;
	refused(&f, &request, INVALID, "length must be at most the span");
	find.length = MAX_A - MIN_A;
	refused(&f, &request, (int)REFUSED(NO_SPACE), "no free range");
	fixture_fini(&f);
}

TEST(map_find_aligned__looks_and_takes_nothing)
{
	struct fixture f;
	REQUEST(MapFindAligned, MAP_FIND_ALIGNED, map_find_aligned);

	fixture_init(&f);
	op.map = f.map;
	op.addr = AT;
	op.length = PAGE;
	op.alignment = 1 << 20;
	ASSERT_EQ(accepted(&f, &request)->map_find->addr, AT + (1 << 20));
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 1u);
	op.max_addr = AT + (1 << 20);
	refused(&f, &request, (int)REFUSED(NO_SPACE), "no free range");
	op.max_addr = 0;
	op.alignment = 3 * PAGE;
	refused(&f, &request, INVALID, "alignment must be a power of two");
	op.alignment = 8;
	refused(&f, &request, INVALID, "alignment must be a power of two");
	op.alignment = 0;
	refused(&f, &request, INVALID, "alignment must be a power of two");
	op.alignment = PAGE;
	op.length = 0;
	refused(&f, &request, INVALID, "length must not be 0");
	op.length = PAGE + 1;
	refused(&f, &request, INVALID, "length");
	op.length = PAGE;
	op.addr = 5;
	refused(&f, &request, INVALID, "start");
	fixture_fini(&f);
}

/* ---- Changing -------------------------------------------------------------
 */

/* What every call on a range refuses; `startp` and `endp` are in the request.
 */
static void
refuses_bad_ranges(struct fixture *f, request_t *request, uint64_t *startp,
    uint64_t *endp)
{
	uint64_t start = *startp, end = *endp;

	*startp = start + 1;
	refused(f, request, INVALID, "start must be a multiple of the page");
	*startp = start;
	*endp = end + 1;
	refused(f, request, INVALID, "end must be a multiple of the page");
	*endp = start - PAGE;
	refused(f, request, INVALID, "end must not be below start");
	*endp = MAX_A + PAGE;
	refused(f, request, ADDRESS, "end must be at or below the end");
	*endp = end;
	*startp = MIN_A - PAGE;
	refused(f, request, ADDRESS, "start must be at or above the start");
	*startp = start;
}

TEST(map_protect__refuses_what_it_may_not)
{
	struct fixture f;
	REQUEST(MapProtect, MAP_PROTECT, map_protect);

	fixture_init(&f);
	op.map = f.map;
	op.start = AT;
	op.end = AT + PAGE;
	op.prot = VM_PROT_READ;
	op.flags = VM_MAP_PROTECT_SET_PROT;
	refuses_bad_ranges(&f, &request, &op.start, &op.end);
	op.prot = VM_PROT_ALL;
	refused(&f, &request, PROTECTION, "maximum");
	op.prot = 8;
	refused(&f, &request, INVALID, "prot");
	op.prot = 0;
	op.max_prot = 0x1000;
	refused(&f, &request, INVALID, "max");
	op.max_prot = VM_PROT_READ;
	op.flags = 8;
	refused(&f, &request, INVALID, "flags");
	op.prot = VM_PROT_RW;
	op.flags = VM_MAP_PROTECT_SET_PROT | VM_MAP_PROTECT_SET_MAXPROT;
	refused(&f, &request, (int)REFUSED(OUT_OF_BOUNDS), "within max");
	op.prot = VM_PROT_READ;
	(void)accepted(&f, &request);
	op.prot = VM_PROT_RW;
	op.flags = VM_MAP_PROTECT_SET_PROT;
	refused(&f, &request, PROTECTION, "maximum");
	fixture_fini(&f);
}

TEST(map_inherit_and_madvise__refuse_what_is_none_of_theirs)
{
	struct fixture f;

	fixture_init(&f);
	{
		REQUEST(MapInherit, MAP_INHERIT, map_inherit);

		op.map = f.map;
		op.start = AT;
		op.end = AT + PAGE;
		op.inheritance = VM_INHERIT_NONE;
		refuses_bad_ranges(&f, &request, &op.start, &op.end);
		op.inheritance = 4;
		refused(&f, &request, INVALID, "inheritance must be");
		op.inheritance = UINT32_MAX;
		refused(&f, &request, INVALID, "inheritance must be");
		op.inheritance = VM_INHERIT_NONE;
		(void)accepted(&f, &request);
	}
	{
		REQUEST(MapMadvise, MAP_MADVISE, map_madvise);

		op.map = f.map;
		op.start = AT;
		op.end = AT + PAGE;
		refuses_bad_ranges(&f, &request, &op.start, &op.end);
		op.advice = 99;
		refused(&f, &request, INVALID, "advice must be");
		op.advice = VM_MADV_RANDOM;
		(void)accepted(&f, &request);
	}
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 2u);
	fixture_fini(&f);
}

static void
read_only(struct fixture *f, uint64_t start, uint64_t end)
{
	REQUEST(MapProtect, MAP_PROTECT, map_protect);

	op.map = f->map;
	op.start = start;
	op.end = end;
	op.prot = VM_PROT_READ;
	op.flags = VM_MAP_PROTECT_SET_PROT;
	(void)accepted(f, &request);
}

static void
set_memlock(struct fixture *f, uint64_t bytes)
{
	REQUEST(MapLimits, MAP_LIMITS, map_limits);

	op.map = f->map;
	op.set = 0x4;
	op.memlock = bytes;
	(void)accepted(f, &request);
}

TEST(map_wire__of_the_system_keeps_its_range_from_being_deleted)
{
	struct fixture f;
	char before[1024], after[1024];
	REQUEST(MapWire, MAP_WIRE, map_wire);

	fixture_init(&f);
	op.map = f.map;
	op.start = AT + PAGE;
	op.end = AT + 2 * PAGE;
	refuses_bad_ranges(&f, &request, &op.start, &op.end);
	op.flags = 8;
	refused(&f, &request, INVALID, "flags");
	op.flags = VM_MAP_WIRE_USER;
	op.end = AT + 16 * PAGE;
	refused(&f, &request, ADDRESS, "nothing is at 0x20008000");
	op.end = AT + 2 * PAGE;
	read_only(&f, op.start, op.end);
	op.flags = VM_MAP_WIRE_USER | VM_MAP_WIRE_WRITE;
	refused(&f, &request, ADDRESS, "what is at 0x20001000 is not");
	set_memlock(&f, PAGE - 1);
	op.flags = VM_MAP_WIRE_USER;
	refused(&f, &request, (int)REFUSED(RESOURCE_SHORTAGE),
	    "limits.memlock (0xfff)");
	op.flags = VM_MAP_WIRE_SYSTEM;
	(void)accepted(&f, &request);
	describe(&f.client, f.map, before, sizeof(before));
	ASSERT_EQ(client_map_delete(&f.client, f.map, AT, AT + 8 * PAGE),
	    BLOCKED);
	HAS(client_sentence(&f.client), "wiring of the system");
	ASSERT_EQ(client_map_delete(&f.client, f.map, MIN_A, MAX_A), BLOCKED);
	describe(&f.client, f.map, after, sizeof(after));
	ASSERT_STREQ(before, after);
	ASSERT_EQ(client_map_delete(&f.client, f.map, AT, AT + PAGE), (int)OK);
	{
		Holdfast__V1__MapUnwire un = HOLDFAST__V1__MAP_UNWIRE__INIT;
		request_t out = HOLDFAST__V1__REQUEST__INIT;

		out.op_case = HOLDFAST__V1__REQUEST__OP_MAP_UNWIRE;
		out.map_unwire = &un;
		un.map = f.map;
		un.start = AT + PAGE;
		un.end = AT + 3 * PAGE;
		refused(&f, &out, INVALID, "is at 0x20002000 is not");
		un.end = AT + 2 * PAGE;
		(void)accepted(&f, &out);
	}
	ASSERT_EQ(client_map_delete(&f.client, f.map, AT, AT + 8 * PAGE),
	    (int)OK);
	fixture_fini(&f);
}

TEST(map_sync__checks_its_range)
{
	struct fixture f;
	REQUEST(MapSync, MAP_SYNC, map_sync);

	fixture_init(&f);
	op.map = f.map;
	op.start = AT;
	op.end = AT + 8 * PAGE;
	op.syncio = true;
	op.invalidate = true;
	(void)accepted(&f, &request);
	refuses_bad_ranges(&f, &request, &op.start, &op.end);
	op.end = AT + 9 * PAGE;
	refused(&f, &request, ADDRESS, "must be all mapped");
	op.start = AT + 64 * PAGE;
	op.end = AT + 65 * PAGE;
	refused(&f, &request, ADDRESS, "must be all mapped");
	{
		Holdfast__V1__MapWire wire = HOLDFAST__V1__MAP_WIRE__INIT;
		request_t in = HOLDFAST__V1__REQUEST__INIT;

		in.op_case = HOLDFAST__V1__REQUEST__OP_MAP_WIRE;
		in.map_wire = &wire;
		wire.map = f.map;
		wire.start = AT;
		wire.end = AT + PAGE;
		wire.flags = VM_MAP_WIRE_USER;
		(void)accepted(&f, &in);
	}
	op.start = AT;
	op.end = AT + PAGE;
	refused(&f, &request, INVALID, "wired by the user");
	op.invalidate = false;
	(void)accepted(&f, &request);
	fixture_fini(&f);
}

TEST(map_stack__refuses_and_growstack_says_why_not)
{
	struct fixture f;

	fixture_init(&f);
	{
		REQUEST(MapStack, MAP_STACK, map_stack);

		op.map = f.map;
		op.addrbos = AT + 64 * PAGE;
		op.max_ssize = 64 * PAGE;
		op.prot = VM_PROT_RW;
		op.max_prot = VM_PROT_RW;
		op.cow = MAP_STACK_AREA;
		op.max_ssize = 0;
		refused(&f, &request, INVALID, "length must not be 0");
		op.max_ssize = 64 * PAGE;
		op.prot = 0xff;
		refused(&f, &request, INVALID, "prot");
		op.prot = VM_PROT_RW;
		op.addrbos = AT;
		refused(&f, &request, (int)REFUSED(NO_SPACE),
		    "something is at 0x20000000");
		op.addrbos = AT + 64 * PAGE;
		op.max_ssize = PAGE;
		refused(&f, &request, INVALID, "limits.stack_guard (0x1000)");
		op.max_ssize = 64 * PAGE;
		(void)accepted(&f, &request);
	}
	{
		REQUEST(MapGrowstack, MAP_GROWSTACK, map_growstack);

		op.map = f.map;
		op.addr = MAX_A;
		refused(&f, &request, ADDRESS, "addr must be below the end");
		op.addr = AT + 32 * PAGE;
		refused(&f, &request, (int)REFUSED(FAILURE),
		    "in the gap of a stack");
		op.addr = AT + 64 * PAGE;
		refused(&f, &request, (int)REFUSED(NO_SPACE),
		    "end above its guard");
		op.addr = AT + 70 * PAGE;
		(void)accepted(&f, &request);
	}
	fixture_fini(&f);
}

TEST(map_simplify__needs_an_entry)
{
	struct fixture f;
	REQUEST(MapSimplify, MAP_SIMPLIFY, map_simplify);

	fixture_init(&f);
	op.map = f.map;
	op.addr = AT + PAGE;
	(void)accepted(&f, &request);
	op.addr = AT - 1;
	refused(&f, &request, ADDRESS, "nothing is at");
	op.addr = 0;
	refused(&f, &request, ADDRESS, "addr must be at or above the start");
	op.addr = UINT64_MAX;
	refused(&f, &request, ADDRESS, "addr must be below the end");
	fixture_fini(&f);
}

/* ---- The map as a whole ----------------------------------------------------
 */

/* One more entry than the limit. */
static void
cut_is_refused(struct fixture *f)
{
	REQUEST(MapInherit, MAP_INHERIT, map_inherit);

	op.map = f->map;
	op.start = AT;
	op.end = AT + PAGE;
	op.inheritance = VM_INHERIT_NONE;
	refused(f, &request, (int)REFUSED(RESOURCE_SHORTAGE),
	    "limits.nentries (0x1)");
}

TEST(map_limits__are_set_one_by_one_and_bind)
{
	struct fixture f;
	Holdfast__V1__MapLimitsResult *limits;
	REQUEST(MapLimits, MAP_LIMITS, map_limits);

	fixture_init(&f);
	op.map = f.map;
	op.vmem = 7 * PAGE;
	op.nentries = 1;
	op.overcommit = 9;
	limits = accepted(&f, &request)->map_limits;
	ASSERT_EQ(limits->nentries, 0u); /* nothing was named */
	op.set = 0x100;
	refused(&f, &request, INVALID, "set must name limits");
	op.set = 0x20;
	refused(&f, &request, INVALID, "overcommit must");
	op.set = 0x40;
	op.cluster_anon = 3;
	refused(&f, &request, INVALID, "cluster_anon must");
	op.set = 0x80;
	op.stack_guard = 5;
	refused(&f, &request, INVALID, "stack_guard must");
	op.set = 0x11;
	limits = accepted(&f, &request)->map_limits;
	ASSERT_EQ(limits->vmem, 7 * PAGE);
	ASSERT_EQ(limits->nentries, 1u);
	ASSERT_EQ(limits->overcommit, 0u);
	cut_is_refused(&f);
	fixture_fini(&f);
}

static void
writable_code_is_refused(struct fixture *f)
{
	REQUEST(MapInsert, MAP_INSERT, map_insert);

	op.map = f->map;
	op.start = AT + 64 * PAGE;
	op.end = op.start + PAGE;
	op.prot = VM_PROT_ALL;
	op.max_prot = VM_PROT_ALL;
	refused(f, &request, PROTECTION, "MAP_WXORX");
}

TEST(map_flags__are_only_those_of_a_caller)
{
	struct fixture f;
	REQUEST(MapFlags, MAP_FLAGS, map_flags);

	fixture_init(&f);
	op.map = f.map;
	op.set = MAP_WXORX | MAP_WIREFUTURE;
	(void)accepted(&f, &request);
	op.set = MAP_SYSTEM_MAP;
	refused(&f, &request, INVALID, "set and clear must hold only");
	op.set = 0;
	op.clear = MAP_IS_SUB_MAP;
	refused(&f, &request, INVALID, "set and clear must hold only");
	writable_code_is_refused(&f);
	fixture_fini(&f);
}

TEST(map_stat__tells_of_the_map)
{
	Holdfast__V1__MapStatResult *stat;
	struct fixture f;
	REQUEST(MapStat, MAP_STAT, map_stat);

	fixture_init(&f);
	op.map = f.map;
	stat = accepted(&f, &request)->map_stat;
	ASSERT_STREQ(stat->name, "m");
	ASSERT_EQ(stat->min, MIN_A);
	ASSERT_EQ(stat->max, MAX_A);
	ASSERT_EQ(stat->size, 8 * PAGE);
	ASSERT_EQ(stat->nentries, 1u);
	ASSERT_EQ(stat->owner, getuid());
	ASSERT_EQ(stat->mode, 0666u);
	ASSERT_EQ(stat->access, 6u);
	ASSERT_EQ(stat->sessions, 1u);
	op.map = 1;
	refused(&f, &request, UNKNOWN, "map");
	fixture_fini(&f);
}

/* ---- Questions -------------------------------------------------------------
 */

TEST(map_check_protection_and_boundary__answer_yes_or_no)
{
	struct fixture f;

	fixture_init(&f);
	{
		REQUEST(MapCheckProtection, MAP_CHECK_PROTECTION,
		    map_check_protection);

		op.map = f.map;
		op.start = AT;
		op.end = AT + 8 * PAGE;
		op.prot = VM_PROT_RW;
		ASSERT_TRUE(accepted(&f, &request)->map_truth->truth);
		op.prot = VM_PROT_EXECUTE;
		ASSERT_FALSE(accepted(&f, &request)->map_truth->truth);
		refuses_bad_ranges(&f, &request, &op.start, &op.end);
		op.prot = 0x20;
		refused(&f, &request, INVALID, "prot");
	}
	{
		REQUEST(MapCheckBoundary, MAP_CHECK_BOUNDARY,
		    map_check_boundary);

		op.map = f.map;
		op.start = AT;
		op.end = AT + PAGE;
		ASSERT_TRUE(accepted(&f, &request)->map_truth->truth);
		refuses_bad_ranges(&f, &request, &op.start, &op.end);
	}
	fixture_fini(&f);
}

TEST(map_lookup_entry__finds_it_or_its_predecessor)
{
	Holdfast__V1__MapLookupEntryResult *res;
	struct fixture f;
	REQUEST(MapLookupEntry, MAP_LOOKUP_ENTRY, map_lookup_entry);

	fixture_init(&f);
	op.map = f.map;
	op.addr = AT + 8 * PAGE - 1;
	res = accepted(&f, &request)->map_lookup_entry;
	ASSERT_TRUE(res->found);
	ASSERT_EQ(res->entry->start, AT);
	op.addr = UINT64_MAX;
	res = accepted(&f, &request)->map_lookup_entry;
	ASSERT_FALSE(res->found);
	ASSERT_EQ(res->entry->end, AT + 8 * PAGE);
	op.addr = AT - 1;
	res = accepted(&f, &request)->map_lookup_entry;
	ASSERT_FALSE(res->found);
	ASSERT_NULL(res->entry);
	fixture_fini(&f);
}

/* ---- Windows ---------------------------------------------------------------
 */

TEST(map_submap__holds_its_map_and_does_not_nest)
{
	struct fixture f;
	uint64_t below, nested;
	REQUEST(MapSubmap, MAP_SUBMAP, map_submap);

	fixture_init(&f);
	ASSERT_EQ(create(&f.client, "below", 0, 0, &below), (int)OK);
	op.map = f.map;
	op.start = AT;
	op.end = AT + 8 * PAGE;
	op.submap = f.map;
	refused(&f, &request, INVALID, "windows do not nest");
	op.submap = 99;
	refused(&f, &request, UNKNOWN, "map");
	op.submap = below;
	refuses_bad_ranges(&f, &request, &op.start, &op.end);
	op.end = AT + 9 * PAGE;
	refused(&f, &request, INVALID, "one entry without an object");
	op.end = AT + 8 * PAGE;
	(void)accepted(&f, &request);
	refused(&f, &request, INVALID, "one entry without an object");
	ASSERT_EQ(create(&f.client, "nested", 0, 0, &nested), (int)OK);
	op.map = below;
	op.submap = nested;
	refused(&f, &request, INVALID, "windows do not nest");
	/* It outlives its last session, and goes with the map. */
	ASSERT_EQ(client_map_destroy(&f.client, below), INVALID);
	HAS(client_sentence(&f.client), "windows to it");
	ASSERT_EQ(client_map_detach(&f.client, below), (int)OK);
	ASSERT_EQ(client_map_attach(&f.client, "below", &below), (int)OK);
	ASSERT_EQ(client_map_detach(&f.client, below), (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, f.map), (int)OK);
	ASSERT_EQ(client_map_attach(&f.client, "below", &below), UNKNOWN);
	client_close(&f.client);
	rig_fini(&f.rig);
}

/* A second entry, over an object of its own. */
static void
show_object(struct fixture *f)
{
	uint64_t object;
	REQUEST(MapInsert, MAP_INSERT, map_insert);

	ASSERT_EQ(client_object(&f->client,
		      HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE, PAGE,
		      &object),
	    (int)OK);
	op.map = f->map;
	op.object = object;
	op.start = AT + 64 * PAGE;
	op.end = AT + 65 * PAGE;
	op.prot = VM_PROT_RW;
	op.max_prot = VM_PROT_RW;
	(void)accepted(f, &request);
}

TEST(map_fork__of_a_map_that_is_not_mirrored_is_arithmetic)
{
	struct fixture f;
	uint64_t child;
	reply_t *reply;
	REQUEST(MapFork, MAP_FORK, map_fork);

	fixture_init(&f);
	show_object(&f);
	op.map = f.map;
	op.name = (char *)(uintptr_t) "m"; /* only read */
	refused(&f, &request, (int)REFUSED(EXISTS), "\"m\" exists");
	op.name = (char *)(uintptr_t) "child";
	reply = client_call(&f.client, &request);
	ASSERT_EQ(reply->status, OK);
	ASSERT_FALSE(reply->map->mirrored);
	child = reply->map->map;
	ASSERT_EQ(client_map_entries(&f.client, child, false)->n_entries, 2u);
	/* COPY, by inheritance: needs a copy in both. */
	for (int i = 0; i < 2; i++) {
		uint64_t map = i == 0 ? f.map : child;
		Holdfast__V1__MapEntriesResult *all =
		    client_map_entries(&f.client, map, false);
		uint32_t both = MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY;

		ASSERT_EQ(all->entries[1]->eflags & both, both);
		ASSERT_EQ(client_map_check(&f.client, map), (int)OK);
	}
	ASSERT_EQ(client_map_delete(&f.client, child, AT, AT + 8 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_entries(&f.client, f.map, false)->n_entries, 2u);
	fixture_fini(&f);
}

/* What a map reserved for an object is given back after the map is gone. */
TEST(map__an_object_outlives_the_map_that_it_was_charged_to)
{
	struct fixture f;
	uint64_t object;
	REQUEST(MapInsert, MAP_INSERT, map_insert);

	fixture_init(&f);
	ASSERT_EQ(client_object(&f.client,
		      HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE, 8 * PAGE,
		      &object),
	    (int)OK);
	op.map = f.map;
	op.object = object;
	op.start = AT + 64 * PAGE;
	op.end = AT + 72 * PAGE;
	op.prot = VM_PROT_RW;
	op.max_prot = VM_PROT_RW;
	(void)accepted(&f, &request);
	ASSERT_EQ(client_map_delete(&f.client, f.map, AT + 66 * PAGE,
		      AT + 67 * PAGE),
	    (int)OK);
	ASSERT_EQ(client_map_destroy(&f.client, f.map), (int)OK);
	ASSERT_EQ(client_object_destroy(&f.client, object), (int)OK);
	client_close(&f.client);
	rig_fini(&f.rig);
}

/* ---- Reading only
 * ------------------------------------------------------------ */

static int
attach(struct client *client, const char *name, uint64_t owner, uint64_t *mapp,
    uint32_t *accessp)
{
	reply_t *reply;
	REQUEST(MapAttach, MAP_ATTACH, map_attach);

	op.name = (char *)(uintptr_t)name; /* only read */
	op.owner = owner;
	reply = client_call(client, &request);
	if (reply->status == OK) {
		*mapp = reply->map->map;
		*accessp = reply->map->access;
	}
	return (int)reply->status;
}

static int
chmod_map(struct client *client, uint64_t map, bool set, unsigned mode,
    uint64_t group)
{
	REQUEST(MapChmod, MAP_CHMOD, map_chmod);

	op.map = map;
	op.set_mode = set;
	op.mode = mode;
	op.group = group;
	return (int)client_call(client, &request)->status;
}

/* Each row changes a map; nothing else of it matters: access is asked first. */
#define DENY(client, map_, Type, TYPE, member)                                 \
	do {                                                                   \
		REQUEST(Type, TYPE, member);                                   \
		op.map = map_;                                                 \
		ASSERT_EQ((int)client_call(client, &request)->status, DENIED); \
		HAS(client_sentence(client), "may change");                    \
	} while (0)

TEST(map__attached_for_reading_changes_nothing)
{
	struct client reader;
	struct fixture f;
	uint64_t map = 0;
	uint32_t access = 0;
	char before[1024], after[1024];
	Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;

	fixture_init(&f);
	ASSERT_EQ(chmod_map(&f.client, f.map, true, 0644, 0), (int)OK);
	client_join_as(&reader, &f.rig, MODE_OTHERS);
	ASSERT_EQ(attach(&reader, "m", 1, &map, &access), (int)OK);
	ASSERT_EQ(access, 4u);
	describe(&f.client, f.map, before, sizeof(before));
	DENY(&reader, map, MapInsert, MAP_INSERT, map_insert);
	DENY(&reader, map, MapFind, MAP_FIND, map_find);
	DENY(&reader, map, MapFixed, MAP_FIXED, map_fixed);
	DENY(&reader, map, MapDelete, MAP_DELETE, map_delete);
	DENY(&reader, map, MapProtect, MAP_PROTECT, map_protect);
	DENY(&reader, map, MapInherit, MAP_INHERIT, map_inherit);
	DENY(&reader, map, MapMadvise, MAP_MADVISE, map_madvise);
	DENY(&reader, map, MapWire, MAP_WIRE, map_wire);
	DENY(&reader, map, MapUnwire, MAP_UNWIRE, map_unwire);
	DENY(&reader, map, MapStack, MAP_STACK, map_stack);
	DENY(&reader, map, MapGrowstack, MAP_GROWSTACK, map_growstack);
	DENY(&reader, map, MapSync, MAP_SYNC, map_sync);
	DENY(&reader, map, MapSubmap, MAP_SUBMAP, map_submap);
	DENY(&reader, map, MapSimplify, MAP_SIMPLIFY, map_simplify);
	DENY(&reader, map, MapFlags, MAP_FLAGS, map_flags);
	{
		REQUEST(MapFindMin, MAP_FIND_MIN, map_find_min);

		op.find = &find;
		find.map = map;
		ASSERT_EQ((int)client_call(&reader, &request)->status, DENIED);
	}
	{
		REQUEST(MapLimits, MAP_LIMITS, map_limits);

		op.map = map;
		ASSERT_EQ((int)client_call(&reader, &request)->status, (int)OK);
		op.set = 1;
		ASSERT_EQ((int)client_call(&reader, &request)->status, DENIED);
	}
	{
		REQUEST(MapLookup, MAP_LOOKUP, map_lookup);

		op.map = map;
		op.addr = AT;
		op.fault_type = VM_PROT_READ;
		ASSERT_EQ((int)client_call(&reader, &request)->status, (int)OK);
		op.fault_type = VM_PROT_WRITE;
		ASSERT_EQ((int)client_call(&reader, &request)->status, DENIED);
	}
	ASSERT_EQ(client_map_destroy(&reader, map), DENIED);
	HAS(client_sentence(&reader), "can destroy it");
	ASSERT_EQ(chmod_map(&reader, map, true, 0666, 0), DENIED);
	ASSERT_EQ(client_map_check(&reader, map), (int)OK);
	describe(&reader, map, after, sizeof(after));
	ASSERT_STREQ(before, after);
	ASSERT_EQ(client_map_detach(&reader, map), (int)OK);
	ASSERT_EQ(client_map_detach(&reader, map), UNKNOWN);
	client_close(&reader);
	fixture_fini(&f);
}

TEST(map__descriptors_for_a_reader_only_read)
{
	struct client reader;
	struct fixture f;
	uint64_t map = 0;
	uint32_t access = 0;
	int flags;

	fixture_init(&f);
	client_join_as(&reader, &f.rig, MODE_OTHERS);
	ASSERT_EQ(attach(&reader, "m", 1, &map, &access), (int)OK);
	ASSERT_EQ(access, 6u);
	ASSERT_EQ(client_map_entries(&reader, map, true)->n_entries, 1u);
	ASSERT_EQ(reader.nfds, 1u);
	flags = fcntl(reader.fds[0], F_GETFL);
	ASSERT_EQ(flags & O_ACCMODE, O_RDWR);
	/* The attachment keeps what it has; the next one gets less. */
	ASSERT_EQ(chmod_map(&f.client, f.map, true, 0644, 0), (int)OK);
	ASSERT_EQ(client_map_entries(&reader, map, true)->n_entries, 1u);
	ASSERT_EQ(fcntl(reader.fds[0], F_GETFL) & O_ACCMODE, O_RDWR);
	ASSERT_EQ(client_map_detach(&reader, map), (int)OK);
	ASSERT_EQ(attach(&reader, "m", 1, &map, &access), (int)OK);
	ASSERT_EQ(access, 4u);
	for (int i = 0; i < 300; i++) {
		ASSERT_EQ(client_map_entries(&reader, map, true)->n_entries,
		    1u);
		ASSERT_EQ(reader.nfds, 1u);
		flags = fcntl(reader.fds[0], F_GETFL);
		ASSERT_EQ(flags & O_ACCMODE, O_RDONLY);
	}
	client_close(&reader);
	fixture_fini(&f);
}

/* ---- Owners, groups, modes
 * ---------------------------------------------------- */

/* Join as that uid, gid, and one more group. */
static void
join_in(struct client *client, struct rig *rig, uid_t uid, gid_t gid,
    gid_t other)
{
	gid_t before[64];
	int n = getgroups(64, before);

	if (getuid() != 0)
		test_skip("only root can pose as another uid");
	ASSERT_GE(n, 0);
	ASSERT_EQ(setgroups(1, &other), 0);
	ASSERT_EQ(setegid(gid), 0);
	client_join_as(client, rig, uid);
	ASSERT_EQ(setegid(0), 0);
	ASSERT_EQ(setgroups((size_t)n, before), 0);
}

TEST(map_mode__decides_by_the_first_class_that_fits)
{
	static const struct {
		unsigned mode;
		uint32_t owner, member, others; /* 0: may not attach */
	} rows[] = {
	    {0600, 6, 0, 0},
	    {0400, 4, 0, 0},
	    {0640, 6, 4, 0},
	    {0660, 6, 6, 0},
	    {0604, 6, 0, 4},
	    {0606, 6, 0, 6},
	    {0620, 6, 0, 0}, /* to change without reading is nothing */
	    {0464, 4, 6, 4},
	    {0777, 6, 6, 6},
	};
	struct client owner, member, primary, others, root;
	struct rig rig;
	uint64_t map, other;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	join_in(&owner, &rig, MODE_OWNER, MODE_GROUP, 1);
	join_in(&member, &rig, MODE_FRIEND, 9, MODE_GROUP);
	join_in(&primary, &rig, MODE_FRIEND, MODE_GROUP, 9);
	join_in(&others, &rig, MODE_OTHERS, 9, 10);
	client_join(&root, &rig);
	ASSERT_EQ(create(&owner, "m", 0, 0, &map), (int)OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct {
			struct client *who;
			uint32_t may;
		} cases[] = {{&owner, rows[i].owner}, {&member, rows[i].member},
		    {&primary, rows[i].member}, {&others, rows[i].others},
		    {&root, 6}};

		ASSERT_EQ(chmod_map(&owner, map, true, rows[i].mode, 0),
		    (int)OK);
		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
			uint32_t access = 0;
			int status = attach(cases[k].who, "m", MODE_OWNER + 1,
			    &other, &access);

			ASSERT_EQ(status, cases[k].may != 0 ? (int)OK : DENIED);
			ASSERT_EQ(access, cases[k].may);
			if (status == (int)OK)
				ASSERT_EQ(client_map_detach(cases[k].who,
					      other),
				    (int)OK);
			else
				HAS(client_sentence(cases[k].who),
				    "may read: it is of uid 4711, group 5000");
		}
	}
	client_close(&owner);
	client_close(&member);
	client_close(&primary);
	client_close(&others);
	client_close(&root);
	rig_fini(&rig);
}

TEST(map_chmod__is_the_owners_with_a_group_of_theirs)
{
	struct client owner, others;
	struct rig rig;
	uint64_t map, other;
	uint32_t access;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	join_in(&owner, &rig, MODE_OWNER, 9, MODE_GROUP);
	join_in(&others, &rig, MODE_OTHERS, 9, 10);
	ASSERT_EQ(create(&owner, "m", 01000, 0, &map), INVALID);
	HAS(client_sentence(&owner), "mode must be at most 0777");
	ASSERT_EQ(create(&owner, "m", 0066, 0, &map), INVALID);
	ASSERT_EQ(create(&owner, "m", 0660, 77 + 1, &map), DENIED);
	HAS(client_sentence(&owner), "group must be one of the caller's");
	ASSERT_EQ(create(&owner, "m", 0660, UINT64_MAX, &map), INVALID);
	ASSERT_EQ(create(&owner, "m", 0666, MODE_GROUP + 1, &map), (int)OK);
	ASSERT_EQ(chmod_map(&owner, map, true, 0100, 0), INVALID);
	ASSERT_EQ(chmod_map(&owner, map, false, 0, 77 + 1), DENIED);
	ASSERT_EQ(chmod_map(&owner, map, false, 0, 9 + 1), (int)OK);
	ASSERT_EQ(attach(&others, "m", MODE_OWNER + 1, &other, &access),
	    (int)OK);
	/* To change what is in it is not to change whose it is. */
	ASSERT_EQ(access, 6u);
	ASSERT_EQ(chmod_map(&others, other, true, 0600, 0), DENIED);
	HAS(client_sentence(&others), "only uid 4711");
	ASSERT_EQ(client_map_destroy(&others, other), DENIED);
	/* The owner attaches for reading and can still put it right. */
	ASSERT_EQ(chmod_map(&owner, map, true, 0400, 0), (int)OK);
	ASSERT_EQ(client_map_detach(&owner, map), (int)OK);
	ASSERT_EQ(attach(&owner, "m", 0, &map, &access), (int)OK);
	ASSERT_EQ(access, 4u);
	ASSERT_EQ(chmod_map(&owner, map, true, 0600, 0), (int)OK);
	ASSERT_EQ(client_map_destroy(&owner, map), (int)OK);
	ASSERT_EQ(client_map_check(&others, other), UNKNOWN);
	client_close(&owner);
	client_close(&others);
	rig_fini(&rig);
}

TEST(map__what_others_enter_is_charged_to_its_owner)
{
	struct client owner, others;
	struct rig rig;
	uint64_t map, other, object;
	uint32_t access;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	join_in(&owner, &rig, MODE_OWNER, 9, 9);
	join_in(&others, &rig, MODE_OTHERS, 10, 10);
	ASSERT_EQ(create(&owner, "m", 0666, 0, &map), (int)OK);
	ASSERT_EQ(attach(&others, "m", MODE_OWNER + 1, &other, &access),
	    (int)OK);
	ASSERT_EQ(client_map_find(&others, other, 0, 4 * PAGE, VMFS_ANY_SPACE,
		      NULL),
	    (int)OK);
	ASSERT_EQ(client_map_entries(&others, other, true)->n_entries, 1u);
	ASSERT_EQ(client_tenant(&owner)->entries, 1u);
	ASSERT_EQ(client_tenant(&owner)->base_bytes->used, 4 * PAGE);
	ASSERT_EQ(client_tenant(&others)->entries, 0u);
	ASSERT_EQ(client_tenant(&others)->maps, 0u);
	/* So what they pay for themselves is no part of it. */
	ASSERT_EQ(client_object(&others,
		      HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE, PAGE,
		      &object),
	    (int)OK);
	ASSERT_EQ(client_map_find(&others, other, object, PAGE, VMFS_ANY_SPACE,
		      NULL),
	    DENIED);
	HAS(client_sentence(&others), "object must be of uid 4711");
	/* The map stays for the one who still has it. */
	client_close(&owner);
	rig_settle(&rig);
	ASSERT_EQ(client_map_entries(&others, other, false)->n_entries, 1u);
	client_close(&others);
	rig_fini(&rig);
}

TEST(map_list__shows_ones_own_and_all_that_can_be_attached)
{
	struct client owner, others;
	Holdfast__V1__MapListResult *list;
	struct rig rig;
	uint64_t map, id;
	REQUEST(MapList, MAP_LIST, map_list);

	rig_init(&rig, NULL);
	join_in(&owner, &rig, MODE_OWNER, 9, 9);
	join_in(&others, &rig, MODE_OTHERS, 10, 10);
	ASSERT_EQ(create(&owner, "open", 0644, 0, &map), (int)OK);
	ASSERT_EQ(create(&owner, "closed", 0660, 0, &map), (int)OK);
	ASSERT_EQ(create(&others, "mine", 0600, 0, &id), (int)OK);
	list = client_call(&others, &request)->map_list;
	ASSERT_EQ(list->n_maps, 1u);
	ASSERT_STREQ(list->maps[0]->name, "mine");
	ASSERT_EQ(list->maps[0]->owner, MODE_OTHERS);
	ASSERT_EQ(list->maps[0]->group, 10u);
	op.all = true;
	list = client_call(&others, &request)->map_list;
	ASSERT_EQ(list->n_maps, 2u);
	ASSERT_STREQ(list->maps[0]->name, "open");
	ASSERT_EQ(list->maps[0]->mode, 0644u);
	ASSERT_EQ(list->maps[0]->access, 4u);
	ASSERT_EQ(list->maps[1]->access, 6u);
	op.skip = 1;
	list = client_call(&others, &request)->map_list;
	ASSERT_EQ(list->n_maps, 1u);
	ASSERT_STREQ(list->maps[0]->name, "mine");
	client_close(&owner);
	client_close(&others);
	rig_fini(&rig);
}
