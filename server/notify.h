/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Telling whoever started the daemon how far it is: sd_notify(3)'s protocol
 * and a plain descriptor.
 */

/*
 * Connect to $NOTIFY_SOCKET while there is the right to; the variable is
 * removed.  Returns the descriptor, or -1 where nobody wants to know.
 */
int notify_open(void);

/* Send lines such as "READY=1".  fd -1 is fine. */
void notify_send(int fd, const char *state);

/* Write one line to `ready_fd` and close it.  -1 is fine. */
void notify_ready_fd(int ready_fd);
