/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "server/badmem.h"
#include "server/log.h"
#include "server/server.h"

/* The handler has nothing else to go by. */
static int badmem_fd = -1;
static struct event *badmem_event;

/*
 * Any other SIGBUS is the daemon's own fault, and so is a page that it touched
 * itself: with the default action back, the instruction ends it.
 */
static void
badmem_signalled(int number, siginfo_t *info, void *context)
{
	const uint64_t one = 1;
	int saved = errno;

	(void)context;
	if (info->si_code != BUS_MCEERR_AO)
		(void)signal(number, SIG_DFL);
	else
		(void)!write(badmem_fd, &one, sizeof(one)); /* full: it is on */
	errno = saved;
}

static void
badmem_happened(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) == sizeof(n))
		verify_memory_failure(arg);
}

int
badmem_watch(struct server *server)
{
	struct sigaction action = {
	    .sa_sigaction = badmem_signalled,
	    .sa_flags = SA_SIGINFO | SA_RESTART,
	};

	badmem_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (badmem_fd < 0)
		return error_origin(-errno);
	badmem_event = event_new(server->base, badmem_fd, EV_READ | EV_PERSIST,
	    badmem_happened, server);
	if (badmem_event == NULL || event_add(badmem_event, NULL) < 0)
		return error_origin(-ENOMEM);
	(void)sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, NULL) < 0)
		return error_origin(-errno);
	/* Without it, bad memory is found when a span comes back. */
	if (prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) < 0)
		log_debug("memory_failure", "what=unheard errno=%d", errno);
	return 0;
}

void
badmem_unwatch(void)
{
	(void)signal(SIGBUS, SIG_DFL);
	if (badmem_event != NULL)
		event_free(badmem_event);
	if (badmem_fd >= 0)
		(void)close(badmem_fd);
	badmem_event = NULL;
	badmem_fd = -1;
}
