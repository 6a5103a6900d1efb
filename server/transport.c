/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/kassert.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/transport.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since Linux 6.16 */
#endif

void
transport_refuse_fds(int fd)
{
	int no = 0;

	/* Before Linux 6.16: what comes along is seen on receipt. */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
}

/* Does the kernel refuse the sender what we take no descriptors from? */
static bool
transport_is_deaf(int fd)
{
	int on = 1;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &len) == 0 &&
	       on == 0;
}

void
transport_init(struct transport *transport, int fd)
{
	*transport = (struct transport){
	    .fd = fd,
	    .deaf = transport_is_deaf(fd),
	};
	TAILQ_INIT(&transport->queue);
}

static void
transport_packet_drop(struct transport *transport,
    struct transport_packet *packet)
{
	MPASS(transport->queued_bytes >= packet->len);
	TAILQ_REMOVE(&transport->queue, packet, entry);
	transport->queued_bytes -= packet->len;
	transport->queued_fds -= packet->fds.n;
	fdlist_close(&packet->fds);
	free(packet);
}

void
transport_fini(struct transport *transport)
{
	while (!TAILQ_EMPTY(&transport->queue))
		transport_packet_drop(transport,
		    TAILQ_FIRST(&transport->queue));
}

/* One packet's length, as it was sent.  *fdsp: descriptors came along. */
static ssize_t
transport_recv_once(const struct transport *transport, void *buf, size_t size,
    bool *fdsp)
{
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	*fdsp = false;
	if (transport->deaf) /* the cheaper call */
		return recv(transport->fd, buf, size, MSG_DONTWAIT | MSG_TRUNC);
	n = recvmsg(transport->fd, &msg, MSG_DONTWAIT | MSG_TRUNC);
	*fdsp = (msg.msg_flags & MSG_CTRUNC) != 0;
	return n;
}

enum transport_result
transport_recv(struct transport *transport, void *buf, size_t size,
    size_t *lenp)
{
	ssize_t n;
	bool fds;

	do
		n = transport_recv_once(transport, buf, size, &fds);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? TRANSPORT_AGAIN : TRANSPORT_END;
	/* Control data is looked at before the length: an empty packet may
	 * carry descriptors too. */
	if (fds || (size_t)n > size)
		return TRANSPORT_BROKEN;
	if (n == 0)
		return TRANSPORT_END;
	*lenp = (size_t)n;
	return TRANSPORT_PACKET;
}

/* One packet.  -EAGAIN: the socket takes nothing more now. */
static int
transport_send_now(int fd, const void *buf, size_t len,
    const struct fdlist *fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(HOLDFAST_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fds != NULL && fds->n > 0) {
		size_t bytes = fds->n * sizeof(int);
		struct cmsghdr *cmsg = &control.align;

		memset(&control, 0, CMSG_SPACE(bytes));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(bytes);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(cmsg), fds->fds, bytes);
	}
	do /* send(2) is the cheaper call, and nearly always enough */
		n = msg.msg_controllen == 0
			? send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL)
			: sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return 0;
}

static int
transport_enqueue(struct transport *transport, const void *buf, size_t len,
    const struct fdlist *fds)
{
	size_t nfds = fds == NULL ? 0 : fds->n;
	struct transport_packet *packet;
	int r;

	if (len > TRANSPORT_QUEUE_BYTES - transport->queued_bytes ||
	    nfds > TRANSPORT_QUEUE_FDS - transport->queued_fds)
		return -ENOBUFS;
	packet = memory_alloc(sizeof(*packet) + len);
	if (packet == NULL)
		return error_origin(-ENOMEM);
	fdlist_init(&packet->fds);
	if (nfds > 0) {
		r = fdlist_dup(fds, &packet->fds);
		if (r < 0) {
			free(packet);
			return error_origin(r);
		}
	}
	packet->len = len;
	memcpy(packet->bytes, buf, len);
	TAILQ_INSERT_TAIL(&transport->queue, packet, entry);
	transport->queued_bytes += len;
	transport->queued_fds += nfds;
	return 0;
}

int
transport_send(struct transport *transport, const void *buf, size_t len,
    const struct fdlist *fds)
{
	int r;

	if (!transport_is_blocked(transport)) {
		r = transport_send_now(transport->fd, buf, len, fds);
		if (r != -EAGAIN)
			return r;
	}
	return transport_enqueue(transport, buf, len, fds);
}

int
transport_flush(struct transport *transport)
{
	struct transport_packet *packet;
	int r;

	while ((packet = TAILQ_FIRST(&transport->queue)) != NULL) {
		r = transport_send_now(transport->fd, packet->bytes,
		    packet->len, &packet->fds);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		transport_packet_drop(transport, packet);
	}
	return 0;
}

bool
transport_is_drained(const struct transport *transport)
{
	int outstanding = 0;

	if (transport_is_blocked(transport))
		return false;
	return ioctl(transport->fd, SIOCOUTQ, &outstanding) == 0 &&
	       outstanding == 0;
}
