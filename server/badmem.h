/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Hearing of memory that went bad.
 *
 * The kernel sends SIGBUS with BUS_MCEERR_AO to whoever maps a page whose
 * memory it retires and has asked for that early (prctl(2), PR_MCE_KILL); the
 * daemon maps every live span.  Which page it was is not taken from the signal,
 * of which several may be one: every live span is looked at.
 * Design: docs/design/verify.md.
 */

struct server;

/*
 * From now on verify_memory_failure() is called.  Before any thread is
 * started; once in a process.  -errno.
 */
int badmem_watch(struct server *server);
/* No more. */
void badmem_unwatch(void);
