/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/map_mode.h"

unsigned
map_access(const struct map *map, const struct peer *peer)
{
	return peer_access(peer, map->tenant->uid, map->group, map->mode) &
	       MAP_MAY_ALL;
}

/* A mode that its owner can still change. */
static int
map_check_mode(unsigned mode, struct answer *answer)
{
	if ((mode & ~0777u) != 0 || (mode & 0400u) == 0)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "mode must be at most 0777 and let the owner read (0400); "
		    "it is 0%o",
		    mode);
	return KERN_SUCCESS;
}

static int
map_check_group(const struct peer *peer, uint64_t group, struct answer *answer)
{
	if (group > UINT32_MAX)
		return answer_refuse(answer, KERN_INVALID_ARGUMENT,
		    "group must be a gid + 1, below 2^32; it is 0x%llx",
		    (unsigned long long)group);
	if (peer->uid != 0 && !peer_is_in(peer, (gid_t)(group - 1)))
		return answer_refuse(answer, REFUSED_DENIED,
		    "group must be one of the caller's; %u is not",
		    (unsigned)(group - 1));
	return KERN_SUCCESS;
}

int
map_mode_init(struct map *map, const struct peer *peer, unsigned mode,
    uint64_t group, struct answer *answer)
{
	int rv;

	if (mode == 0)
		mode = MAP_MODE_DEFAULT;
	if (group == 0)
		group = (uint64_t)peer->gid + 1;
	rv = map_check_mode(mode, answer);
	if (rv == KERN_SUCCESS)
		rv = map_check_group(peer, group, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	map->mode = mode;
	map->group = (gid_t)(group - 1);
	return rv;
}

int
map_check_owner(const struct map *map, const struct session *session,
    const char *what, struct answer *answer)
{
	uid_t uid = session->tenant->uid;

	if (uid == 0 || uid == map->tenant->uid)
		return KERN_SUCCESS;
	return answer_refuse(answer, REFUSED_DENIED,
	    "only uid %u, who owns the map, can %s; the caller is uid %u",
	    (unsigned)map->tenant->uid, what, (unsigned)uid);
}

int
map_chmod(struct map *map, const struct peer *peer, bool set_mode,
    unsigned mode, uint64_t group, struct answer *answer)
{
	int rv = KERN_SUCCESS;

	if (set_mode)
		rv = map_check_mode(mode, answer);
	if (rv == KERN_SUCCESS && group != 0)
		rv = map_check_group(peer, group, answer);
	if (rv != KERN_SUCCESS)
		return rv;
	if (set_mode)
		map->mode = mode;
	if (group != 0)
		map->group = (gid_t)(group - 1);
	return rv;
}
