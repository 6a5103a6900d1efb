/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/peer.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#define FEW_GROUPS 64

/* The kernel says how much room it wants when it is too little. */
static int
peer_read_groups(struct peer *peer, int fd)
{
	socklen_t len = FEW_GROUPS * sizeof(gid_t);

	for (int tries = 0; tries < 2; tries++) {
		gid_t *groups = memory_alloc(len);

		if (groups == NULL)
			return error_origin(-ENOMEM);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) ==
		    0) {
			peer->groups = groups;
			peer->ngroups = len / sizeof(gid_t);
			return 0;
		}
		free(groups);
		if (errno == ENODATA)
			return 0; /* none were noted */
		if (errno != ERANGE)
			break;
	}
	return error_origin(-errno);
}

int
peer_init(struct peer *peer, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return error_origin(-errno);
	*peer = (struct peer){.uid = cred.uid, .gid = cred.gid};
	return peer_read_groups(peer, fd);
}

void
peer_fini(struct peer *peer)
{
	free(take_ptr(peer->groups));
	peer->ngroups = 0;
}

bool
peer_is_in(const struct peer *peer, gid_t group)
{
	if (peer->gid == group)
		return true;
	for (size_t i = 0; i < peer->ngroups; i++) {
		if (peer->groups[i] == group)
			return true;
	}
	return false;
}

unsigned
peer_access(const struct peer *peer, uid_t owner, gid_t group, unsigned mode)
{
	MPASS((mode & ~0777u) == 0);
	if (peer->uid == 0)
		return 6;
	if (peer->uid == owner)
		return mode >> 6;
	return (peer_is_in(peer, group) ? mode >> 3 : mode) & 7;
}
