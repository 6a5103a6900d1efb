/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "server/cleanup.h"
#include "server/log.h"
#include "server/ticker.h"

static void
ticker_fired(evutil_socket_t fd, short what, void *arg)
{
	struct ticker *ticker = arg;
	uint64_t times;

	(void)what;
	/* Nothing to read: it was disarmed meanwhile. */
	if (read(fd, &times, sizeof(times)) != sizeof(times) || !ticker->armed)
		return;
	ticker->armed = false;
	ticker->fn(ticker->arg);
}

int
ticker_init(struct ticker *ticker, struct event_base *base,
    void (*fn)(void *arg), void *arg)
{
	*ticker = (struct ticker){.fn = fn, .arg = arg};
	ticker->fd =
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (ticker->fd < 0)
		return error_origin(-errno);
	ticker->event = event_new(base, ticker->fd, EV_READ | EV_PERSIST,
	    ticker_fired, ticker);
	if (ticker->event == NULL) {
		fd_closep(&ticker->fd);
		return error_origin(-ENOMEM);
	}
	if (event_add(ticker->event, NULL) < 0)
		return error_origin(-ENOMEM);
	return 0;
}

void
ticker_fini(struct ticker *ticker)
{
	if (ticker->event == NULL)
		return;
	event_free(ticker->event);
	fd_closep(&ticker->fd);
	*ticker = (struct ticker){.fd = -1};
}

static void
ticker_set(struct ticker *ticker, unsigned ms)
{
	const struct itimerspec spec = {
	    .it_value.tv_sec = ms / 1000,
	    .it_value.tv_nsec = (long)(ms % 1000) * 1000000,
	};

	/* It fails for no argument that is given here. */
	if (timerfd_settime(ticker->fd, 0, &spec, NULL) < 0)
		log_error("ticker", "errno=%d", errno);
}

void
ticker_arm(struct ticker *ticker, unsigned ms)
{
	if (ticker->armed || ticker->event == NULL)
		return;
	ticker->armed = true;
	ticker_set(ticker, ms > 0 ? ms : 1);
}

void
ticker_disarm(struct ticker *ticker)
{
	if (!ticker->armed)
		return;
	ticker->armed = false;
	ticker_set(ticker, 0);
}
