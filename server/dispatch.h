/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * From requests to handlers and back to replies.
 *
 * A handler fills in call->answer, and call->reply where it succeeded, and
 * returns CALL_DONE; or keeps a copy of what it needs in a call of its own
 * (call_keep()) and returns CALL_WAITS; or has succeeded in what nobody wants
 * an answer to and returns CALL_QUIET.
 */

#include <limits.h>
#include <sys/queue.h>

#include "proto/holdfast.pb-c.h"
#include "server/fdlist.h"
#include "server/session.h"
#include "server/status.h"

typedef Holdfast__V1__Request pb_request;
typedef Holdfast__V1__Reply pb_reply;

enum call_outcome { CALL_DONE, CALL_WAITS, CALL_QUIET };

/* One request under way. */
struct call {
	TAILQ_ENTRY(call) entry; /* in the session's list while it waits */
	struct session *session;
	uint64_t request_id;
	const pb_request *request; /* NULL once it waits */
	struct answer answer;
	pb_reply reply;
	struct fdlist fds;
	struct fdlist opened;    /* of `fds`, for this reply only; owned */
	struct fdlist originals; /* what those opened read */
	/* For one that waits: end it without a reply, and free it. */
	void (*cancel)(struct call *call);
	void *object; /* what it waits for */
};

/* Carry out every request of a packet, in order. */
void dispatch_packet(struct session *session,
    const Holdfast__V1__ClientPacket *packet);

/*
 * A copy of `call` that lasts, in the session's list.  NULL: no memory; the
 * refusal is filled in.
 */
struct call *call_keep(struct call *call, void (*cancel)(struct call *call));
/* Send the reply of a kept call and free it. */
void call_finish(struct call *call);
/* Free a kept call. */
void call_drop(struct call *call);

/* How memory is pinned, as the wire has it. */
Holdfast__V1__Pin pin_on_wire(enum arch_pin pin);

/* Memory that lasts until the reply is packed.  NULL: refused. */
void *call_alloc(struct call *call, size_t size);

/*
 * The session's map of that number, or NULL with the refusal: one to change;
 * to look at; or even destroyed.
 */
struct map *call_map(struct call *call, uint64_t id);
struct map *call_map_read(struct call *call, uint64_t id);
struct map *call_map_any(struct call *call, uint64_t id);
/* MAP_MAY_*: what the session may do to it. */
unsigned call_access(const struct call *call, uint64_t id);
struct map;
struct vm_map_entry_info;
void entry_on_wire(const struct call *call, const struct map *map,
    const struct vm_map_entry_info *info, Holdfast__V1__Entry *result);
/* Only the piece of it. */
struct map_piece;
void entry_cut(Holdfast__V1__Entry *entry, const struct map_piece *piece);

/*
 * Number an attachment to `map`, which is dropped on a refusal, and answer with
 * it.  `mirrors`: barriers wait for the session.
 */
void call_attached(struct call *call, struct map *map, unsigned access,
    bool mirrors);
/*
 * The position in the reply of `fd`, or of one that only reads the same file,
 * where the session may do no more with its map of that number.  -ENOSPC: the
 * reply is full.  -errno.
 */
int call_add_fd(struct call *call, uint64_t map, int fd);

/* The session's object of that number, or NULL with the refusal. */
void *call_object(struct call *call, enum id_kind kind, uint64_t id,
    const char *arg);

/* Wider fields on the wire: what does not fit is refused by the checks. */
static inline vm_prot_t
prot_from_wire(uint32_t prot)
{
	return prot > UINT8_MAX ? UINT8_MAX : (vm_prot_t)prot;
}

static inline int
int_from_wire(uint32_t value)
{
	return value > INT_MAX ? INT_MAX : (int)value;
}

/* May the caller change the pool?  The second refuses where not. */
bool call_is_operator(const struct call *call);
bool call_must_be_operator(struct call *call);

/* Handlers: handle_session.c, handle_contig.c, handle_map.c. */
enum call_outcome handle_hello(struct call *call);
enum call_outcome handle_ping(struct call *call);
enum call_outcome handle_pool_status(struct call *call);
enum call_outcome handle_tenant_status(struct call *call);
enum call_outcome handle_pool_runs(struct call *call);
enum call_outcome handle_contig_alloc(struct call *call);
enum call_outcome handle_contig_free(struct call *call);
enum call_outcome handle_contig_list(struct call *call);
enum call_outcome handle_type_stats(struct call *call);
enum call_outcome handle_contig_cancel(struct call *call);
enum call_outcome handle_reclaim_listen(struct call *call);
enum call_outcome handle_reclaim_done(struct call *call);
enum call_outcome handle_object_create(struct call *call);
enum call_outcome handle_object_destroy(struct call *call);
enum call_outcome handle_map_create(struct call *call);
enum call_outcome handle_map_attach(struct call *call);
enum call_outcome handle_map_detach(struct call *call);
enum call_outcome handle_map_destroy(struct call *call);
enum call_outcome handle_map_insert(struct call *call);
enum call_outcome handle_map_find(struct call *call);
enum call_outcome handle_map_findspace(struct call *call);
enum call_outcome handle_map_delete(struct call *call);
enum call_outcome handle_map_lookup(struct call *call);
enum call_outcome handle_map_entries(struct call *call);
/* handle_map_edit.c */
enum call_outcome handle_map_protect(struct call *call);
enum call_outcome handle_map_inherit(struct call *call);
enum call_outcome handle_map_madvise(struct call *call);
enum call_outcome handle_map_wire(struct call *call);
enum call_outcome handle_map_unwire(struct call *call);
enum call_outcome handle_map_stack(struct call *call);
enum call_outcome handle_map_growstack(struct call *call);
enum call_outcome handle_map_watch(struct call *call);
enum call_outcome handle_map_fixed(struct call *call);
enum call_outcome handle_map_find_min(struct call *call);
enum call_outcome handle_map_find_aligned(struct call *call);
enum call_outcome handle_map_sync(struct call *call);
enum call_outcome handle_map_submap(struct call *call);
enum call_outcome handle_map_simplify(struct call *call);
enum call_outcome handle_map_flags(struct call *call);
enum call_outcome handle_map_limits(struct call *call);
/* handle_map_query.c */
enum call_outcome handle_map_check_protection(struct call *call);
enum call_outcome handle_map_check_boundary(struct call *call);
enum call_outcome handle_map_lookup_entry(struct call *call);
enum call_outcome handle_map_stat(struct call *call);
enum call_outcome handle_map_chmod(struct call *call);
/* handle_map_fork.c */
enum call_outcome handle_map_fork(struct call *call);
enum call_outcome handle_map_fault(struct call *call);
enum call_outcome handle_map_ack(struct call *call);

enum call_outcome handle_map_check(struct call *call);
enum call_outcome handle_map_list(struct call *call);
/* handle_pool.c, verify.c, quarantine.c */
enum call_outcome handle_pool_change(struct call *call);
enum call_outcome handle_verify(struct call *call);
enum call_outcome handle_quarantine_list(struct call *call);
enum call_outcome handle_quarantine_release(struct call *call);
