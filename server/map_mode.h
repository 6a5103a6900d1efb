/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who may do what to a map of somebody else, or of their own.
 *
 * A map belongs to its tenant and to a group, and has a mode of nine bits.
 * `r` lets a session attach and look, `w` change.  What a session may is
 * settled when it attaches, as with an open file; a later chmod leaves it be.
 */

#include "server/map.h"
#include "server/peer.h"
#include "server/session.h"

#define MAP_MODE_DEFAULT 0600u

/* Digits of a mode, as access(2) has them. */
#define MAP_MAY_READ   4u
#define MAP_MAY_CHANGE 2u
#define MAP_MAY_ALL    (MAP_MAY_READ | MAP_MAY_CHANGE)

unsigned map_access(const struct map *map, const struct peer *peer);

/*
 * Set what a new map has: `mode` 0 is MAP_MODE_DEFAULT, `group` a gid + 1, 0
 * for the peer's own.  Nothing is set on a refusal.
 * KERN_INVALID_ARGUMENT, REFUSED_DENIED (a group that is not the peer's).
 */
int map_mode_init(struct map *map, const struct peer *peer, unsigned mode,
    uint64_t group, struct answer *answer);
/* The same for one that is there: by its owner; `group` 0 stays. */
int map_chmod(struct map *map, const struct peer *peer, bool set_mode,
    unsigned mode, uint64_t group, struct answer *answer);

/* REFUSED_DENIED: neither the owner nor uid 0; `what` ends the sentence. */
int map_check_owner(const struct map *map, const struct session *session,
    const char *what, struct answer *answer);
