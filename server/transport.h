/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Packets over one SOCK_SEQPACKET socket, descriptors out only.
 *
 * A descriptor that a client sends is never installed here.  From Linux 6.16 on
 * the kernel refuses the sender (EPERM, unix(7) SO_PASSRIGHTS); before, it has
 * no room for control data, drops it and says so, and the connection ends.
 * Sending tries at once; what the socket does not take
 * is queued with duplicates of its descriptors, up to a bound.
 * One thread.  Design: docs/design/server.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "server/fdlist.h"

#define TRANSPORT_QUEUE_BYTES (512u << 10) /* of packets waiting to leave */
#define TRANSPORT_QUEUE_FDS   256          /* in them */

enum transport_result {
	TRANSPORT_PACKET, /* one packet, at least a byte, was read */
	TRANSPORT_AGAIN,  /* nothing there now */
	TRANSPORT_END,    /* the peer is done, or the socket failed */
	TRANSPORT_BROKEN, /* oversize, empty, or descriptors came along */
};

struct transport_packet {
	TAILQ_ENTRY(transport_packet) entry;
	struct fdlist fds; /* owned */
	size_t len;
	uint8_t bytes[];
};

struct transport {
	int fd;    /* borrowed */
	bool deaf; /* the kernel lets nobody send it descriptors */
	TAILQ_HEAD(, transport_packet) queue;
	size_t queued_bytes, queued_fds;
};

/* Have the kernel refuse descriptors that are sent to `fd`, or to what it
 * accepts, where it can. */
void transport_refuse_fds(int fd);
void transport_init(struct transport *transport, int fd);
/* Drop what is queued. */
void transport_fini(struct transport *transport);

/* Read one packet into `buf`; its length goes to *lenp with TRANSPORT_PACKET.
 */
enum transport_result transport_recv(struct transport *transport, void *buf,
    size_t size, size_t *lenp);

/*
 * Send a packet with the descriptors of `fds` (borrowed; NULL: none), or
 * queue it behind what waits.  -ENOBUFS: the queue is full.  Other -errno:
 * the connection is lost.
 */
int transport_send(struct transport *transport, const void *buf, size_t len,
    const struct fdlist *fds);

/* Send what is queued, as far as it goes.  -errno: the connection is lost. */
int transport_flush(struct transport *transport);

static inline bool
transport_is_blocked(const struct transport *transport)
{
	return !TAILQ_EMPTY(&transport->queue);
}

/* True when the peer has read all that was sent. */
bool transport_is_drained(const struct transport *transport);
