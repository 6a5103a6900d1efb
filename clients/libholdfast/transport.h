/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Packets and descriptors over the daemon's socket, within a deadline.
 *
 * The socket blocks; SO_RCVTIMEO and SO_SNDTIMEO bound each system call, so
 * the common round trip is one send and one receive and nothing else.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

/* The descriptors of one packet.  What nobody took is closed with the list. */
struct hf_fds {
	int fd[HOLDFAST_FDS_MAX]; /* -1 where taken */
	size_t n;
};

void hf_fds_close(struct hf_fds *fds);
/* The nth descriptor, which becomes the caller's; -1: taken, or no such. */
int hf_fds_take(struct hf_fds *fds, size_t nth);

struct hf_conn {
	int fd;           /* the socket; -1: none */
	int timeout_ms;   /* of one call; < 0: for ever */
	int64_t deadline; /* CLOCK_MONOTONIC, ms; INT64_MAX: none */
	bool waited;      /* this call has received something already */
	bool shortened;   /* the socket's timeouts are less than timeout_ms */
	bool greeted;     /* what is at the other end speaks our protocol */
};

/*
 * Connect to a SOCK_SEQPACKET socket.  As connect(2); -ETIMEDOUT;
 * -ENAMETOOLONG: `path` does not fit sockaddr_un.
 */
int hf_conn_open(struct hf_conn *conn, const char *path, int timeout_ms);
/* End the connection, for copies of the descriptor elsewhere too. */
void hf_conn_end(struct hf_conn *conn);
void hf_conn_close(struct hf_conn *conn);

/* Start the clock of one call. */
int hf_conn_begin(struct hf_conn *conn);
/* The same for a call that may take `ms`; < 0: for ever. */
int hf_conn_begin_for(struct hf_conn *conn, int64_t ms);
/*
 * Send one packet if there is room for it now.  Any thread, and from a signal
 * handler.  0, -EAGAIN, -EPIPE.
 */
int hf_conn_send_now(int fd, const void *data, size_t size);

/* Is there something to receive, be it the end? */
bool hf_conn_is_readable(const struct hf_conn *conn);

/* 0, -ETIMEDOUT, -EPIPE: the daemon is gone. */
int hf_conn_send(struct hf_conn *conn, const void *data, size_t size);

/*
 * Receive one packet of 1 to `size` bytes.  Where nfds_max is 0 descriptors
 * that come along once the peer has greeted are closed unseen.  The descriptors
 * in *fds are the caller's on success; on failure there are none. -EPIPE: end
 * of file.  -EPROTO: oversize packet, too many descriptors, or descriptors
 * without data.  -ETIMEDOUT.
 */
int hf_conn_receive(struct hf_conn *conn, void *data, size_t size, size_t *np,
    size_t nfds_max, struct hf_fds *fds);
