/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A timer that costs the loop nothing while it runs.
 *
 * While a timer of libevent's is pending, every wait of the loop has to tell
 * the kernel until when, which takes half a microsecond of each request.  The
 * kernel keeps this one's time by itself, in a descriptor.  For what is pending
 * under load; where a system call to set it is more, evtimer_add() will do.
 */

#include <stdbool.h>

struct event;
struct event_base;

struct ticker {
	int fd;              /* a timerfd; -1 */
	struct event *event; /* NULL: not to be used */
	bool armed;
	void (*fn)(void *arg);
	void *arg;
};

/* -errno: no descriptor, no memory; it may be given to ticker_fini(). */
int ticker_init(struct ticker *ticker, struct event_base *base,
    void (*fn)(void *arg), void *arg);
/* Zeroed memory is fine. */
void ticker_fini(struct ticker *ticker);

/* Call `fn` once, in `ms`, unless that is to be already. */
void ticker_arm(struct ticker *ticker, unsigned ms);
/* Not any more. */
void ticker_disarm(struct ticker *ticker);
