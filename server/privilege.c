/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/log.h"
#include "server/privilege.h"

/* ---- Capabilities ------------------------------------------------ */

/* Set all three sets to `mask` (of the first 32 capabilities). */
static int
caps_set(uint32_t mask)
{
	struct __user_cap_header_struct header = {
	    .version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
	    {.effective = mask, .permitted = mask},
	};

	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	return 0;
}

static int
caps_are_empty(void)
{
	struct __user_cap_header_struct header = {
	    .version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return (data[0].effective | data[0].permitted | data[0].inheritable |
		   data[1].effective | data[1].permitted |
		   data[1].inheritable) == 0;
}

/* Needs CAP_SETPCAP; the end of the list is where the kernel says EINVAL. */
static void
caps_drop_bounding(void)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			break;
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* ---- User -------------------------------------------------------- */

static int
user_find(const char *user, uid_t *uidp, gid_t *gidp)
{
	const struct passwd *pw;
	char *end;

	if (isdigit((unsigned char)user[0])) {
		unsigned long uid = strtoul(user, &end, 10);

		if (*end != '\0' || uid >= UINT32_MAX)
			return -ENOENT;
		pw = getpwuid((uid_t)uid);
		*uidp = (uid_t)uid;
		*gidp = pw == NULL ? (gid_t)uid : pw->pw_gid;
		return 0;
	}
	pw = getpwnam(user[0] == '\0' ? "nobody" : user);
	if (pw == NULL)
		return -ENOENT;
	*uidp = pw->pw_uid;
	*gidp = pw->pw_gid;
	return 0;
}

static int
user_become(uid_t uid, gid_t gid)
{
	uid_t ruid, euid, suid;

	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return error_origin(-errno);
	if (getresuid(&ruid, &euid, &suid) < 0 || ruid != uid || euid != uid ||
	    suid != uid)
		return error_origin(-EPERM);
	return 0;
}

int
privilege_drop(const char *user, uid_t *uidp)
{
	gid_t gid;
	int r;

	*uidp = getuid();
	if (geteuid() == 0) {
		r = user_find(user, uidp, &gid);
		if (r < 0)
			return error_origin(r);
		caps_drop_bounding();
		r = user_become(*uidp, gid);
		if (r < 0)
			return r;
	}
	r = caps_set(0);
	if (r < 0)
		return error_origin(r);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_origin(-errno);
	return caps_are_empty() ? 0 : error_origin(-EPERM);
}

void
privilege_keep_file_access(void)
{
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* Not root: there is nothing to keep, and the folder is its own. */
	(void)caps_set(geteuid() == 0 ? 1u << CAP_DAC_OVERRIDE : 0);
}

void
privilege_raise_limits(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		log_debug("rlimit", "what=memlock errno=%d", errno);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			log_debug("rlimit", "what=nofile errno=%d", errno);
	}
}

/* ---- Operators --------------------------------------------------- */

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* Supplementary groups; where there are too many to read, none counts. */
static bool
peer_has_group(int fd, gid_t gid)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

bool
privilege_is_operator(const struct operator_policy *policy, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (peer.uid == 0)
		return true;
	for (size_t i = 0; i < policy->nuids; i++)
		if (policy->uids[i] == peer.uid)
			return true;
	return policy->gid_set &&
	       (peer.gid == policy->gid || peer_has_group(fd, policy->gid));
}
