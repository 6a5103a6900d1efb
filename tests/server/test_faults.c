/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory and descriptors run out at every point in turn: requests are refused
 * or the connection ends, and afterwards everything is as it was.
 *
 * malloc, calloc and realloc of the daemon, the core and arch/sim are wrapped
 * by the linker, and the daemon asks through its own hook; libevent is given
 * the same through its own; fcntl for duplicates and open of files likewise.
 * Only while the loop turns.
 */

#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/memory.h"
#include "tests/server/failing.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define PAGE UINT64_C(4096)

static atomic_bool armed;
atomic_ulong countdown; /* 0: fail nothing */
atomic_ulong nfailed;

static bool
fails(void)
{
	unsigned long n = atomic_load(&countdown);

	if (!atomic_load(&armed) || n == 0)
		return false;
	if (atomic_fetch_sub(&countdown, 1) != 1)
		return false;
	atomic_fetch_add(&nfailed, 1);
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
int __real_memfd_create(const char *name, unsigned flags);
void *__wrap_calloc(size_t n, size_t size);
int __wrap_memfd_create(const char *name, unsigned flags);

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

int
__wrap_memfd_create(const char *name, unsigned flags)
{
	if (!fails())
		return __real_memfd_create(name, flags);
	errno = EMFILE;
	return -1;
}

void
arm(bool begins)
{
	memory_fails = fails; /* twice for most: every point is come to */
	atomic_store(&armed, begins);
}

bool
client_open_failing(struct client *client, struct rig *rig)
{
	bool accepted;
	int fds[2];

	*client = (struct client){.rig = rig, .fd = -1, .next_id = 1};
	ASSERT_EQ(socketpair(AF_UNIX,
		      SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	    0);
	ASSERT_EQ(wire_arena_init(&client->arena, 1 << 20), 0);
	client->buf = malloc(HOLDFAST_PACKET_MAX);
	ASSERT_NOT_NULL(client->buf);
	client->fd = fds[0];
	arm(true);
	accepted = server_accept(rig->server, fds[1]) >= 0;
	arm(false);
	if (!accepted)
		(void)close(fds[1]);
	return accepted;
}

/* ---- One client's life, as far as it gets ------------------------- */

struct life {
	struct client client;
	bool cut;
	uint64_t buffer, object, map;
};

/* The reply if it is a success, else NULL. */
static reply_t *
step(struct life *life, request_t *request)
{
	struct client *client = &life->client;
	reply_t *reply;

	if (life->cut)
		return NULL;
	(void)client_post(client, request);
	if (!client_receive(client)) {
		life->cut = true;
		return NULL;
	}
	reply = client->packet->replies[0];
	if (reply->status == OK)
		return reply;
	ASSERT_EQ(reply->status, REFUSED(RESOURCE_SHORTAGE));
	ASSERT_NE(reply->message[0], '\0');
	return NULL;
}

static void
life_hello(struct life *life)
{
	REQUEST(Hello, HELLO, hello);

	op.version_min = op.version_max = 1;
	if (step(life, &request) == NULL)
		life->cut = true;
}

static void
life_buffers(struct life *life)
{
	REQUEST(ContigAlloc, CONTIG_ALLOC, contig_alloc);
	reply_t *reply;

	op.size = 3 * PAGE;
	op.flags = M_ZERO;
	reply = step(life, &request);
	if (reply != NULL)
		life->buffer = reply->contig_alloc->buffer;
	op.size = 2 * RIG_FRAME;
	op.type = (char *)"large";
	(void)step(life, &request);
}

static void
life_free(struct life *life)
{
	REQUEST(ContigFree, CONTIG_FREE, contig_free);

	op.buffer = life->buffer;
	if (life->buffer != 0)
		(void)step(life, &request);
}

static void
life_objects(struct life *life)
{
	REQUEST(ObjectCreate, OBJECT_CREATE, object_create);
	reply_t *reply;

	op.kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE;
	op.size = 4 * PAGE;
	(void)step(life, &request);
	op.kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_SUPER;
	op.size = RIG_FRAME;
	reply = step(life, &request);
	if (reply != NULL)
		life->object = reply->object_create->object;
}

static void
life_map(struct life *life)
{
	REQUEST(MapCreate, MAP_CREATE, map_create);
	reply_t *reply;

	op.name = (char *)"m";
	reply = step(life, &request);
	if (reply != NULL)
		life->map = reply->map->map;
}

static uint64_t
life_find(struct life *life, uint64_t object)
{
	REQUEST(MapFind, MAP_FIND, map_find);
	reply_t *reply;

	op.map = life->map;
	op.object = object;
	op.length = object != 0 ? RIG_FRAME : 4 * PAGE;
	op.find_space = object != 0 ? VMFS_SUPER_SPACE : VMFS_ANY_SPACE;
	op.prot = op.max_prot = VM_PROT_RW;
	reply = step(life, &request);
	return reply == NULL ? 0 : reply->map_find->addr;
}

static void
life_entries(struct life *life)
{
	REQUEST(MapEntries, MAP_ENTRIES, map_entries);

	op.map = life->map;
	op.want_fds = true;
	(void)step(life, &request);
}

static void
life_delete(struct life *life, uint64_t addr)
{
	REQUEST(MapDelete, MAP_DELETE, map_delete);

	op.map = life->map;
	op.start = addr + PAGE;
	op.end = addr + 2 * PAGE;
	(void)step(life, &request);
}

static void
life_window(struct life *life, uint64_t addr)
{
	REQUEST(MapSubmap, MAP_SUBMAP, map_submap);
	Holdfast__V1__MapCreate create = HOLDFAST__V1__MAP_CREATE__INIT;
	request_t below = HOLDFAST__V1__REQUEST__INIT;
	reply_t *reply;

	below.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CREATE;
	below.map_create = &create;
	reply = step(life, &below);
	if (reply == NULL)
		return;
	op.map = life->map;
	op.submap = reply->map->map;
	op.start = addr;
	op.end = addr + PAGE;
	(void)step(life, &request);
}

static void
life_ask(struct life *life)
{
	REQUEST(MapList, MAP_LIST, map_list);
	Holdfast__V1__MapChmod chmod = HOLDFAST__V1__MAP_CHMOD__INIT;
	request_t other = HOLDFAST__V1__REQUEST__INIT;

	other.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CHMOD;
	other.map_chmod = &chmod;
	chmod.map = life->map;
	chmod.set_mode = true;
	chmod.mode = 0644;
	(void)step(life, &other);
	op.all = true;
	(void)step(life, &request);
}

/* Twice, so that it replaces; away from others, whose object it would share.
 */
static uint64_t
life_fixed(struct life *life)
{
	REQUEST(MapFixed, MAP_FIXED, map_fixed);

	op.map = life->map;
	op.start = MAP_DEFAULT_MIN + 64 * RIG_FRAME;
	op.length = PAGE;
	op.prot = op.max_prot = VM_PROT_READ;
	(void)step(life, &request);
	return step(life, &request) == NULL ? 0 : op.start;
}

/* ---- A mirrored map and its fork ----------------------------------------- */

static uint64_t
life_mirrored(struct life *life)
{
	REQUEST(MapCreate, MAP_CREATE, map_create);
	reply_t *reply;

	op.mirrored = op.mirrors = true;
	reply = step(life, &request);
	return reply == NULL ? 0 : reply->map->map;
}

static uint64_t
life_fork(struct life *life)
{
	REQUEST(MapFork, MAP_FORK, map_fork);
	reply_t *reply;

	op.map = life->map;
	op.name = (char *)"forked";
	reply = step(life, &request);
	return reply == NULL ? 0 : reply->map->map;
}

/* A refused fork leaves nothing that needs a copy. */
static void
life_not_forked(struct life *life)
{
	REQUEST(MapEntries, MAP_ENTRIES, map_entries);
	reply_t *reply;

	op.map = life->map;
	reply = step(life, &request);
	for (size_t i = 0; reply != NULL && i < reply->map_entries->n_entries;
	     i++)
		ASSERT_EQ(reply->map_entries->entries[i]->eflags &
			      MAP_ENTRY_NEEDS_COPY,
		    0u);
}

static bool
life_fault(struct life *life, uint64_t map, uint64_t addr)
{
	REQUEST(MapFault, MAP_FAULT, map_fault);

	op.map = map;
	op.addr = addr;
	op.access = VM_PROT_WRITE;
	return step(life, &request) != NULL;
}

static void
life_stack(struct life *life)
{
	REQUEST(MapStack, MAP_STACK, map_stack);

	op.map = life->map;
	op.addrbos = MAP_DEFAULT_MIN + 128 * RIG_FRAME;
	op.max_ssize = RIG_FRAME;
	op.prot = op.max_prot = VM_PROT_RW;
	op.cow = MAP_STACK_AREA;
	if (step(life, &request) != NULL)
		(void)life_fault(life, life->map, op.addrbos + RIG_FRAME / 2);
}

static void
life_check(struct life *life, uint64_t map)
{
	REQUEST(MapCheck, MAP_CHECK, map_check);

	op.map = map;
	(void)step(life, &request);
}

static void
life_forked(struct life *life)
{
	uint64_t addr, super = 0, child;

	life->map = life_mirrored(life);
	if (life->map == 0)
		return;
	addr = life_find(life, 0);
	if (life->object != 0)
		super = life_find(life, life->object);
	life_stack(life);
	child = life_fork(life);
	if (child == 0)
		life_not_forked(life);
	if (child != 0 && addr != 0 && life_fault(life, child, addr + PAGE))
		(void)life_fault(life, life->map, addr + PAGE);
	if (child != 0 && super != 0)
		(void)life_fault(life, child, super + PAGE);
	life_check(life, life->map);
	if (child != 0)
		life_check(life, child);
	if (addr != 0)
		life_delete(life, addr);
}

static void
live(struct rig *rig)
{
	struct life life = {0};
	uint64_t addr;

	life.cut = !client_open_failing(&life.client, rig);
	life_hello(&life);
	life_buffers(&life);
	life_objects(&life);
	life_map(&life);
	if (life.map != 0) {
		addr = life_find(&life, 0);
		if (life.object != 0)
			(void)life_find(&life, life.object);
		life_entries(&life);
		if (addr != 0) {
			uint64_t fixed = life_fixed(&life);

			life_delete(&life, addr);
			if (fixed != 0)
				life_window(&life, fixed);
		}
		life_ask(&life);
	}
	life_forked(&life);
	life_free(&life);
	client_close(&life.client);
}

/* Everything must come home, if need be after another try. */
static void
check_home(struct rig *rig)
{
	uint64_t end = server_now_ms() + 10000;
	struct vm_phys_stats stats;

	for (;;) {
		struct tenant *tenant = TAILQ_FIRST(&rig->server->tenants);

		rig_settle(rig);
		vm_phys_stats(rig->server->pool.phys, &stats);
		if (stats.free == stats.total && rig->server->nsessions == 0 &&
		    (tenant == NULL || quota_is_empty(&tenant->quota)))
			return;
		if (server_now_ms() > end)
			test_fail(__FILE__, __LINE__, "something is held");
		(void)usleep(1000);
	}
}

TEST_TIMEOUT(faults__no_failing_allocation_leaves_a_trace, 120)
{
	unsigned long nth, clean = 0;
	struct rig rig;
	int nfds;

	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	rig_init(&rig, &(struct rig_options){.memfd = true});
	rig_around_turn = arm;
	live(&rig); /* fill what is cached for ever */
	check_home(&rig);
	nfds = test_nfds();
	/* Workers race, so one clean run is not yet the end. */
	for (nth = 1; nth < 2000 && clean < 3; nth++) {
		atomic_store(&nfailed, 0);
		atomic_store(&countdown, nth);
		live(&rig);
		atomic_store(&countdown, 0);
		check_home(&rig);
		ASSERT_EQ(test_nfds(), nfds);
		clean = atomic_load(&nfailed) == 0 ? clean + 1 : 0;
	}
	ASSERT_EQ(clean, 3u);
	printf("%lu places to fail\n", nth - 4);
	ASSERT_TRUE(nth > 20);
	rig_around_turn = NULL;
	rig_fini(&rig);
}

/* The core's own metadata, which it asks the back end for. */
TEST_TIMEOUT(faults__no_failing_metadata_leaves_a_trace, 120)
{
	uint64_t nth, clean = 0;
	struct rig rig;
	int nfds;

	rig_init(&rig, &(struct rig_options){.memfd = true});
	live(&rig);
	check_home(&rig);
	nfds = test_nfds();
	for (nth = 1; nth < 5000 && clean < 3; nth++) {
		sim_fail_nth(rig.arch, nth);
		live(&rig);
		clean = sim_nfailed(rig.arch) == 0 ? clean + 1 : 0;
		sim_fail_never(rig.arch);
		check_home(&rig);
		ASSERT_EQ(test_nfds(), nfds);
	}
	printf("%llu places to fail\n", (unsigned long long)nth - 4);
	ASSERT_EQ(clean, 3u);
	ASSERT_TRUE(nth > 20);
	rig_fini(&rig);
}
