/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/send_fds.h"
#include "tests/server/rig.h"
#include "tests/test.h"

#define RIG_WAIT_MS 20000

void (*rig_around_turn)(bool begins);

/* ---- The server -------------------------------------------------- */

void
rig_init(struct rig *rig, const struct rig_options *options)
{
	static const struct rig_options plain = {0};
	struct server_options defaults;
	struct sim_segment segments[2] = {{RIG_BASE, RIG_BASE, 0}};
	struct sim_segment big = {2 * RIG_BASE, 2 * RIG_BASE, 0};
	struct sim_options sim = {.segments = segments, .nsegments = 2};

	if (options == NULL)
		options = &plain;
	segments[0].end +=
	    RIG_FRAME * (options->nframes == 0 ? 16 : options->nframes);
	segments[1].start = segments[0].end + RIG_FRAME;
	segments[1].end = segments[1].start + RIG_FRAME * options->nframes_far;
	segments[1].domain = 1;
	if (options->nframes_far == 0)
		sim.nsegments = 1;
	if (options->nbig > 0) {
		big.end += RIG_BIG * options->nbig;
		sim.big_size = RIG_BIG;
		sim.big_segments = &big;
		sim.nbig_segments = 1;
	}
	sim.memfd = options->memfd;
	if (options->without_pool)
		sim.nsegments = 0;
	rig->arch = sim_create(&sim);
	ASSERT_NOT_NULL(rig->arch);
	server_options_default(&defaults);
	defaults.addresses.all = true;
	ASSERT_EQ(server_new(&rig->server, rig->arch,
		      options->server != NULL ? options->server : &defaults),
	    0);
	rig->nfds = test_nfds();
}

void
rig_turn(struct rig *rig)
{
	struct pollfd pfd = {.fd = -1};

	if (rig_around_turn != NULL)
		rig_around_turn(true);
	(void)event_base_loop(rig->server->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	if (rig_around_turn != NULL)
		rig_around_turn(false);
	(void)poll(&pfd, 0, 0);
}

void
rig_settle(struct rig *rig)
{
	uint64_t end = server_now_ms() + RIG_WAIT_MS;

	do {
		for (int i = 0; i < 4; i++)
			rig_turn(rig);
		if (server_now_ms() > end)
			test_fail(__FILE__, __LINE__, "the server is not done");
	} while (workers_pending(rig->server->workers) > 0 ||
		 !TAILQ_EMPTY(&rig->server->doomed));
}

void
rig_fini(struct rig *rig)
{
	struct vm_phys_stats stats = {0};
	struct tenant *tenant;

	server_stop(rig->server, 100);
	ASSERT_EQ(server_run(rig->server), 0);
	ASSERT_EQ(rig->server->nsessions, 0u);
	ASSERT_EQ(test_nfds(), rig->nfds);
	if (rig->server->pool.phys != NULL) {
		vm_phys_stats(rig->server->pool.phys, &stats);
		if (TAILQ_EMPTY(&rig->server->pool.limbo)) {
			ASSERT_EQ(stats.free, stats.total);
		}
		ASSERT_NULL(vm_phys_check(rig->server->pool.phys));
	}
	if (TAILQ_EMPTY(&rig->server->pool.limbo)) {
		TAILQ_FOREACH (tenant, &rig->server->tenants, entry)
			ASSERT_TRUE(quota_is_empty(&tenant->quota));
	}
	server_free(rig->server);
	ASSERT_EQ(sim_live(rig->arch), 0u);
	sim_destroy(rig->arch);
}

/* ---- Clients ----------------------------------------------------- */

void
client_open(struct client *client, struct rig *rig)
{
	int fds[2];

	*client = (struct client){.rig = rig, .fd = -1, .next_id = 1};
	ASSERT_EQ(socketpair(AF_UNIX,
		      SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	    0);
	ASSERT_EQ(wire_arena_init(&client->arena, 1 << 20), 0);
	client->buf = malloc(HOLDFAST_PACKET_MAX);
	ASSERT_NOT_NULL(client->buf);
	client->fd = fds[0];
	ASSERT_EQ(server_accept(rig->server, fds[1]), 0);
}

void
client_open_as(struct client *client, struct rig *rig, uid_t uid)
{
	if (getuid() != 0)
		test_skip("only root can pose as another uid");
	/* The kernel notes the effective uid when the pair is made. */
	ASSERT_EQ(seteuid(uid), 0);
	client_open(client, rig);
	ASSERT_EQ(seteuid(0), 0);
}

void
client_join(struct client *client, struct rig *rig)
{
	client_open(client, rig);
	ASSERT_EQ(client_hello(client, 1, 1), (int)OK);
}

void
client_join_as(struct client *client, struct rig *rig, uid_t uid)
{
	client_open_as(client, rig, uid);
	ASSERT_EQ(client_hello(client, 1, 1), (int)OK);
}

static void
client_close_fds(struct client *client)
{
	for (size_t i = 0; i < client->nfds; i++)
		(void)close(client->fds[i]);
	client->nfds = 0;
}

void
client_close(struct client *client)
{
	client_close_fds(client);
	(void)close(client->fd);
	wire_arena_fini(&client->arena);
	free(client->buf);
	client->fd = -1;
}

void
client_send_raw(struct client *client, const void *buf, size_t len,
    const int *fds, size_t nfds)
{
	ASSERT_EQ(send_fds(client->fd, buf, len, fds, nfds), (ssize_t)len);
}

void
client_send(struct client *client, request_t *const *requests, size_t n)
{
	struct wire_out out;

	wire_out_init(&out, client->buf, HOLDFAST_PACKET_MAX);
	for (size_t i = 0; i < n; i++) {
		requests[i]->id = client->next_id++;
		ASSERT_EQ(wire_append_request(&out, requests[i]), 0);
	}
	client_send_raw(client, out.buf, out.len, NULL, 0);
}

static void
client_take_fds(struct client *client, struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		ASSERT_EQ(cmsg->cmsg_type, SCM_RIGHTS);
		ASSERT_TRUE(client->nfds + n <= RIG_FDS);
		memcpy(client->fds + client->nfds, CMSG_DATA(cmsg),
		    n * sizeof(int));
		client->nfds += n;
	}
}

/* -EAGAIN: nothing there yet.  0: hung up. */
static ssize_t
client_try_receive(struct client *client)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(RIG_FDS * sizeof(int))];
	} control;
	struct iovec iov = {client->buf, HOLDFAST_PACKET_MAX};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(client->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	ASSERT_EQ(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
	if (n > 0) {
		client_close_fds(client);
		client_take_fds(client, &msg);
	}
	return n;
}

bool
client_receive(struct client *client)
{
	uint64_t end = server_now_ms() + RIG_WAIT_MS;
	ssize_t n;

	while ((n = client_try_receive(client)) == -EAGAIN) {
		rig_turn(client->rig);
		if (server_now_ms() > end)
			test_fail(__FILE__, __LINE__, "no reply came");
	}
	if (n == 0)
		return false;
	ASSERT_TRUE(n > 0);
	wire_arena_reset(&client->arena);
	client->packet =
	    wire_unpack_server(&client->arena, client->buf, (size_t)n);
	ASSERT_NOT_NULL(client->packet);
	return true;
}

bool
client_is_cut(struct client *client)
{
	ssize_t n = -EAGAIN;

	for (int i = 0; i < 200 && n == -EAGAIN; i++) {
		rig_turn(client->rig);
		n = client_try_receive(client);
	}
	return n == 0;
}

uint64_t
client_post(struct client *client, request_t *request)
{
	client_send(client, &request, 1);
	return request->id;
}

bool
client_is_answered(struct client *client)
{
	struct pollfd pfd = {.fd = client->fd, .events = POLLIN};

	rig_settle(client->rig);
	for (int i = 0; i < 20; i++)
		rig_turn(client->rig);
	return poll(&pfd, 1, 0) == 1;
}

reply_t *
client_call(struct client *client, request_t *request)
{
	(void)client_post(client, request);
	if (!client_receive(client))
		test_fail(__FILE__, __LINE__, "the server hung up");
	ASSERT_EQ(client->packet->n_replies, 1u);
	ASSERT_EQ(client->packet->replies[0]->id, request->id);
	ASSERT_EQ(client->packet->replies[0]->nfds, client->nfds);
	return client->packet->replies[0];
}

const char *
client_sentence(const struct client *client)
{
	return client->packet->replies[0]->message;
}

/* ---- Requests ---------------------------------------------------- */

static int
call_status(struct client *client, request_t *request, reply_t **replyp)
{
	reply_t *reply = client_call(client, request);

	/* Refusals say why; successes say nothing. */
	ASSERT_EQ(reply->message[0] != '\0', reply->status != OK);
	if (replyp != NULL)
		*replyp = reply;
	return (int)reply->status;
}

int
client_hello(struct client *client, uint32_t min, uint32_t max)
{
	REQUEST(Hello, HELLO, hello);

	op.version_min = min;
	op.version_max = max;
	op.name = (char *)"test";
	return call_status(client, &request, NULL);
}

uint64_t
client_post_ping(struct client *client)
{
	REQUEST(Ping, PING, ping);

	return client_post(client, &request);
}

int
client_ping(struct client *client)
{
	REQUEST(Ping, PING, ping);

	return call_status(client, &request, NULL);
}

Holdfast__V1__PoolStatusResult *
client_pool(struct client *client)
{
	REQUEST(PoolStatus, POOL_STATUS, pool_status);
	reply_t *reply;

	ASSERT_EQ(call_status(client, &request, &reply), (int)OK);
	return reply->pool_status;
}

Holdfast__V1__TenantStatusResult *
client_tenant(struct client *client)
{
	REQUEST(TenantStatus, TENANT_STATUS, tenant_status);
	reply_t *reply;

	ASSERT_EQ(call_status(client, &request, &reply), (int)OK);
	return reply->tenant_status;
}

uint64_t
client_post_alloc(struct client *client, const Holdfast__V1__ContigAlloc *alloc)
{
	REQUEST(ContigAlloc, CONTIG_ALLOC, contig_alloc);

	op = *alloc;
	return client_post(client, &request);
}

uint64_t
client_post_cancel(struct client *client, uint64_t id)
{
	REQUEST(ContigCancel, CONTIG_CANCEL, contig_cancel);

	op.request = id;
	return client_post(client, &request);
}

int
client_alloc_req(struct client *client, const Holdfast__V1__ContigAlloc *alloc,
    Holdfast__V1__ContigAllocResult **resultp)
{
	REQUEST(ContigAlloc, CONTIG_ALLOC, contig_alloc);
	reply_t *reply;
	int status;

	op = *alloc;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && resultp != NULL)
		*resultp = reply->contig_alloc;
	return status;
}

int
client_alloc(struct client *client, uint64_t size, uint32_t flags,
    Holdfast__V1__ContigAllocResult **resultp)
{
	Holdfast__V1__ContigAlloc alloc = HOLDFAST__V1__CONTIG_ALLOC__INIT;

	alloc.size = size;
	alloc.flags = flags;
	return client_alloc_req(client, &alloc, resultp);
}

void
random_req(uint64_t *seed, uint64_t npages, uint64_t slack,
    Holdfast__V1__ContigAlloc *alloc)
{
	const uint64_t page = 4096, inside = 16 * RIG_FRAME / page;

	alloc->size = page * (1 + test_random(seed) % npages);
	alloc->low = RIG_BASE + page * (test_random(seed) % inside);
	alloc->high =
	    alloc->low + alloc->size + page * (test_random(seed) % slack);
	alloc->alignment = page << test_random(seed) % 12;
	alloc->boundary = 0;
	if (test_random(seed) % 2 != 0)
		alloc->boundary = (page * npages) << test_random(seed) % 4;
}

void
expect_satisfied(const Holdfast__V1__ContigAlloc *alloc,
    const Holdfast__V1__ContigAllocResult *result)
{
	ASSERT_GE(result->pa, alloc->low);
	ASSERT_LE(result->pa + result->size, alloc->high);
	ASSERT_EQ(result->pa % alloc->alignment, 0u);
	if (alloc->boundary != 0)
		ASSERT_EQ(result->pa / alloc->boundary,
		    (result->pa + result->size - 1) / alloc->boundary);
}

int
client_free(struct client *client, uint64_t buffer)
{
	REQUEST(ContigFree, CONTIG_FREE, contig_free);

	op.buffer = buffer;
	return call_status(client, &request, NULL);
}

int
client_change(struct client *client, int action, uint64_t frames, bool big,
    int domain, Holdfast__V1__PoolChangeResult **resultp)
{
	REQUEST(PoolChange, POOL_CHANGE, pool_change);
	reply_t *reply;
	int status;

	op.action = (Holdfast__V1__PoolAction)action;
	op.frames = frames;
	op.big = big;
	op.domain = domain + 1;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && resultp != NULL)
		*resultp = reply->pool_change;
	return status;
}

int
client_verify(struct client *client, Holdfast__V1__VerifyResult **resultp)
{
	REQUEST(Verify, VERIFY, verify);
	reply_t *reply;
	int status;

	status = call_status(client, &request, &reply);
	if (status == (int)OK && resultp != NULL)
		*resultp = reply->verify;
	return status;
}

int
client_quarantine(struct client *client,
    Holdfast__V1__QuarantineListResult **resultp)
{
	REQUEST(QuarantineList, QUARANTINE_LIST, quarantine_list);
	reply_t *reply;
	int status;

	status = call_status(client, &request, &reply);
	if (status == (int)OK && resultp != NULL)
		*resultp = reply->quarantine_list;
	return status;
}

int
client_release(struct client *client, uint64_t id, uint64_t *np)
{
	REQUEST(QuarantineRelease, QUARANTINE_RELEASE, quarantine_release);
	reply_t *reply;
	int status;

	op.id = id;
	op.all = id == 0;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && np != NULL)
		*np = reply->quarantine_release->released;
	return status;
}

int
client_object(struct client *client, int kind, uint64_t size, uint64_t *objectp)
{
	REQUEST(ObjectCreate, OBJECT_CREATE, object_create);
	reply_t *reply;
	int status;

	op.kind = (Holdfast__V1__ObjectKind)kind;
	op.size = size;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && objectp != NULL)
		*objectp = reply->object_create->object;
	return status;
}

int
client_object_destroy(struct client *client, uint64_t object)
{
	REQUEST(ObjectDestroy, OBJECT_DESTROY, object_destroy);

	op.object = object;
	return call_status(client, &request, NULL);
}

int
client_map_create(struct client *client, const char *name, uint64_t *mapp)
{
	REQUEST(MapCreate, MAP_CREATE, map_create);
	reply_t *reply;
	int status;

	op.name = (char *)name;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && mapp != NULL)
		*mapp = reply->map->map;
	return status;
}

int
client_map_attach(struct client *client, const char *name, uint64_t *mapp)
{
	REQUEST(MapAttach, MAP_ATTACH, map_attach);
	reply_t *reply;
	int status;

	op.name = (char *)name;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && mapp != NULL)
		*mapp = reply->map->map;
	return status;
}

int
client_map_detach(struct client *client, uint64_t map)
{
	REQUEST(MapDetach, MAP_DETACH, map_detach);

	op.map = map;
	return call_status(client, &request, NULL);
}

int
client_map_destroy(struct client *client, uint64_t map)
{
	REQUEST(MapDestroy, MAP_DESTROY, map_destroy);

	op.map = map;
	return call_status(client, &request, NULL);
}

int
client_map_insert(struct client *client, uint64_t map, uint64_t object,
    uint64_t start, uint64_t end)
{
	REQUEST(MapInsert, MAP_INSERT, map_insert);

	op.map = map;
	op.object = object;
	op.start = start;
	op.end = end;
	op.prot = VM_PROT_RW;
	op.max_prot = VM_PROT_RW;
	return call_status(client, &request, NULL);
}

int
client_map_find(struct client *client, uint64_t map, uint64_t object,
    uint64_t length, uint32_t space, uint64_t *addrp)
{
	REQUEST(MapFind, MAP_FIND, map_find);
	reply_t *reply;
	int status;

	op.map = map;
	op.object = object;
	op.length = length;
	op.find_space = space;
	op.prot = VM_PROT_RW;
	op.max_prot = VM_PROT_RW;
	status = call_status(client, &request, &reply);
	if (status == (int)OK && addrp != NULL)
		*addrp = reply->map_find->addr;
	return status;
}

int
client_map_delete(struct client *client, uint64_t map, uint64_t start,
    uint64_t end)
{
	REQUEST(MapDelete, MAP_DELETE, map_delete);

	op.map = map;
	op.start = start;
	op.end = end;
	return call_status(client, &request, NULL);
}

Holdfast__V1__MapEntriesResult *
client_map_entries(struct client *client, uint64_t map, bool want_fds)
{
	REQUEST(MapEntries, MAP_ENTRIES, map_entries);
	reply_t *reply;

	op.map = map;
	op.want_fds = want_fds;
	ASSERT_EQ(call_status(client, &request, &reply), (int)OK);
	return reply->map_entries;
}

int
client_map_check(struct client *client, uint64_t map)
{
	REQUEST(MapCheck, MAP_CHECK, map_check);

	op.map = map;
	return call_status(client, &request, NULL);
}
