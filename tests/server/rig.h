/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A server inside the test: arch/sim below, socketpairs above, and the loop
 * turned by whoever waits for a reply.
 */

#include "arch/sim/sim.h"
#include "server/server.h"
#include "server/session.h"

#define RIG_BASE  (UINT64_C(1) << 32) /* where the pool begins */
#define RIG_FRAME (UINT64_C(2) << 20)
#define RIG_BIG   (UINT64_C(8) << 20)
#define RIG_FDS   64

struct rig {
	struct arch *arch;
	struct server *server;
	int nfds; /* open in this process before the first client */
};

struct rig_options {
	size_t nframes;                      /* 0: 16 */
	size_t nframes_far;                  /* on a second NUMA node */
	size_t nbig;                         /* big frames of RIG_BIG */
	bool memfd;                          /* back spans with memfds */
	bool without_pool;                   /* no frames at all */
	const struct server_options *server; /* NULL: defaults, all told */
};

/* One end of a connection. */
struct client {
	struct rig *rig;
	int fd;
	uint64_t next_id;
	struct wire_arena arena;
	uint8_t *buf;
	Holdfast__V1__ServerPacket *packet; /* the last that came */
	int fds[RIG_FDS]; /* those of the last packet, closed by the next */
	size_t nfds;
};

typedef Holdfast__V1__Request request_t;
typedef Holdfast__V1__Reply reply_t;

void rig_init(struct rig *rig, const struct rig_options *options);
/* Stop the server and check that everything came home. */
void rig_fini(struct rig *rig);
/* Turn the loop until nothing is under way. */
void rig_settle(struct rig *rig);
void rig_turn(struct rig *rig);
/* Called before (true) and after (false) each turn of the loop; or NULL. */
extern void (*rig_around_turn)(bool begins);

/* Connect as this process, or as another uid (skips when not root). */
void client_open(struct client *client, struct rig *rig);
void client_open_as(struct client *client, struct rig *rig, uid_t uid);
/* The same with Hello said. */
void client_join(struct client *client, struct rig *rig);
void client_join_as(struct client *client, struct rig *rig, uid_t uid);
void client_close(struct client *client);

/* Send bytes as one packet, with descriptors. */
void client_send_raw(struct client *client, const void *buf, size_t len,
    const int *fds, size_t nfds);
/* Send requests, numbered from client->next_id on, as one packet. */
void client_send(struct client *client, request_t *const *requests, size_t n);
/* The next packet, in client->packet.  false: the server hung up. */
bool client_receive(struct client *client);
/* true: the server has hung up, or does within a moment. */
bool client_is_cut(struct client *client);

/* Declare `request` and its operation `op`, to be filled in. */
#define REQUEST(Type, TYPE, member)                                            \
	request_t request = HOLDFAST__V1__REQUEST__INIT;                       \
	Holdfast__V1__##Type op = HOLDFAST__V1__##TYPE##__INIT;                \
	request.op_case = HOLDFAST__V1__REQUEST__OP_##TYPE;                    \
	request.member = &op

/* One request, one reply.  Fails the case if the server hangs up. */
reply_t *client_call(struct client *client, request_t *request);
/* One request as a packet, without waiting; its number. */
uint64_t client_post(struct client *client, request_t *request);
/* Has anything come, once nothing moves any more? */
bool client_is_answered(struct client *client);

/* ---- Requests as one-liners: they answer the status -------------- */

#define OK            HOLDFAST__V1__STATUS__STATUS_SUCCESS
#define REFUSED(name) HOLDFAST__V1__STATUS__STATUS_##name

int client_hello(struct client *client, uint32_t min, uint32_t max);
int client_ping(struct client *client);
Holdfast__V1__PoolStatusResult *client_pool(struct client *client);
Holdfast__V1__TenantStatusResult *client_tenant(struct client *client);

/* ContigAlloc of a plain request; the reply's result is in *resultp. */
int client_alloc(struct client *client, uint64_t size, uint32_t flags,
    Holdfast__V1__ContigAllocResult **resultp);
int client_alloc_req(struct client *client,
    const Holdfast__V1__ContigAlloc *alloc,
    Holdfast__V1__ContigAllocResult **resultp);
int client_free(struct client *client, uint64_t buffer);
/* Without waiting for the answer, if there is one: the request's number. */
uint64_t client_post_ping(struct client *client);
uint64_t client_post_alloc(struct client *client,
    const Holdfast__V1__ContigAlloc *alloc);
uint64_t client_post_cancel(struct client *client, uint64_t id);
/*
 * A request of up to `npages` (a power of two) pages somewhere in 16 frames,
 * with random bounds that leave it `slack` pages at most: some can be met.
 */
void random_req(uint64_t *seed, uint64_t npages, uint64_t slack,
    Holdfast__V1__ContigAlloc *alloc);
/* The buffer lies as `alloc` has it. */
void expect_satisfied(const Holdfast__V1__ContigAlloc *alloc,
    const Holdfast__V1__ContigAllocResult *result);

/* PoolChange; `domain`: NUMA node or -1. */
int client_change(struct client *client, int action, uint64_t frames, bool big,
    int domain, Holdfast__V1__PoolChangeResult **resultp);
int client_verify(struct client *client, Holdfast__V1__VerifyResult **resultp);
int client_quarantine(struct client *client,
    Holdfast__V1__QuarantineListResult **resultp);
/* id 0: all; *np: how many were. */
int client_release(struct client *client, uint64_t id, uint64_t *np);

int client_object(struct client *client, int kind, uint64_t size,
    uint64_t *objectp);
int client_object_destroy(struct client *client, uint64_t object);
int client_map_create(struct client *client, const char *name, uint64_t *mapp);
int client_map_attach(struct client *client, const char *name, uint64_t *mapp);
int client_map_detach(struct client *client, uint64_t map);
int client_map_destroy(struct client *client, uint64_t map);
int client_map_insert(struct client *client, uint64_t map, uint64_t object,
    uint64_t start, uint64_t end);
int client_map_find(struct client *client, uint64_t map, uint64_t object,
    uint64_t length, uint32_t space, uint64_t *addrp);
int client_map_delete(struct client *client, uint64_t map, uint64_t start,
    uint64_t end);
Holdfast__V1__MapEntriesResult *client_map_entries(struct client *client,
    uint64_t map, bool want_fds);
int client_map_check(struct client *client, uint64_t map);

/* The sentence of the last reply. */
const char *client_sentence(const struct client *client);
