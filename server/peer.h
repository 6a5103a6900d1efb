/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who is at the other end of a connection, as the kernel had it when they
 * connected: unix(7), SO_PEERCRED and SO_PEERGROUPS.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct peer {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary; owned; NULL: none */
	size_t ngroups;
};

/* -errno: the kernel does not say, or no memory. */
int peer_init(struct peer *peer, int fd);
/* Zeroed memory is fine. */
void peer_fini(struct peer *peer);

bool peer_is_in(const struct peer *peer, gid_t group);

/*
 * What a mode gives them, as a digit of it: the first class that fits counts,
 * owner, group, others; uid 0 has r and w.
 */
unsigned peer_access(const struct peer *peer, uid_t owner, gid_t group,
    unsigned mode);
