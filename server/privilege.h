/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Giving up what the daemon does not need.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Raise what only root may: locked memory without limit, descriptors up to
 * the hard limit.  What is refused stays as it is.
 */
void privilege_raise_limits(void);

/*
 * Become `user` (a name or a uid; "": nobody) with its group and no other,
 * drop every capability from every set, and let no program gain any.  Not as
 * root: only the last two.  Checks that it happened.  -ENOENT: no such user;
 * -EPERM and others.
 */
int privilege_drop(const char *user, uid_t *uidp);

/* For the janitor: no capability but to reach files whoever owns them. */
void privilege_keep_file_access(void);

/* Who may change the pool, beside uid 0. */
struct operator_policy {
	uid_t *uids; /* owned by whoever made it */
	size_t nuids;
	gid_t gid;
	bool gid_set; /* members of `gid` are operators */
};

/*
 * Is the process at the other end of the connected Unix socket one?  What
 * counts is who it was when it connected.
 */
bool privilege_is_operator(const struct operator_policy *policy, int fd);
