/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Giving up what the daemon does not need.
 */

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
