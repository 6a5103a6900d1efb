/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Answering the daemon when it wants memory back.
 *
 * Its request is a packet on the socket, so somebody has to look: the program,
 * by holdfast_cache_dispatch(); any thread that passes through a depot, at
 * most once in LOOK_MS; or a thread of the cache's own, where the program
 * wants one.  A request that arrives in the middle of an import is heard by
 * the importing thread, and answered when it has what it came for.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clients/libholdfast/cache_int.h"

#define LOOK_MS    10 /* the daemon waits some hundred */
#define STACK_SIZE (UINT64_C(256) << 10)

/* Has the source been asked?  0, or why nobody can ask any more. */
static int
listen_locked(struct blocks *b, bool *askedp)
{
	int r = b->source.listen(b->source.arg, askedp);

	atomic_store(&b->asked, r == 0 && *askedp);
	return r;
}

/* Give back what there is, and say so. */
static int
answer(struct holdfast_cache *cache, struct tcache *mine)
{
	struct blocks *b = &cache->blocks;
	int r;

	(void)cache_give_back(cache, mine);
	(void)pthread_mutex_lock(&b->lock);
	r = b->source.answer(b->source.arg);
	atomic_store(&b->asked, false);
	(void)pthread_mutex_unlock(&b->lock);
	return r;
}

int
holdfast_cache_dispatch(struct holdfast_cache *cache)
{
	struct blocks *b = &cache->blocks;
	struct tcache *mine;
	bool asked = false;
	int r;

	if (atomic_load(&cache->forked))
		return -EPERM;
	if (b->source.listen == NULL)
		return 0; /* nobody ever asks */
	(void)pthread_mutex_lock(&b->lock);
	r = listen_locked(b, &asked);
	(void)pthread_mutex_unlock(&b->lock);
	if (r < 0 || !asked)
		return r;
	mine = tcache_get_if_any(cache);
	r = answer(cache, mine);
	tcache_put(mine);
	return r;
}

/* The clock of the system's ticks: read without a system call. */
static uint64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Is it time to look, and are we the one who does? */
static bool
attend_is_due(struct attend *a)
{
	uint64_t due = atomic_load_explicit(&a->due_ms, memory_order_relaxed);
	uint64_t now = now_ms();

	return now >= due &&
	       atomic_compare_exchange_strong(&a->due_ms, &due, now + LOOK_MS);
}

void
attend_look(struct holdfast_cache *cache, struct tcache *mine)
{
	struct blocks *b = &cache->blocks;
	bool asked = false;

	if (b->source.listen == NULL || !attend_is_due(&cache->attend))
		return;
	/* Who holds the lock talks to the daemon, and hears it himself. */
	if (pthread_mutex_trylock(&b->lock) != 0)
		return;
	(void)listen_locked(b, &asked); /* broken: imports will say so */
	(void)pthread_mutex_unlock(&b->lock);
	if (asked)
		(void)answer(cache, mine);
}

void
attend_heard(struct holdfast_cache *cache, struct tcache *mine)
{
	if (atomic_exchange(&cache->blocks.asked, false))
		(void)answer(cache, mine);
}

/* ---- A thread for it ---------------------------------------- */

static void *
attend_main(void *arg)
{
	struct holdfast_cache *cache = arg;
	struct pollfd fds[2] = {
	    {.fd = cache->attend.stop_fd, .events = POLLIN},
	    {.fd = cache->blocks.source.fd, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents != 0)
			return NULL;
		if (fds[1].revents != 0 && holdfast_cache_dispatch(cache) < 0)
			return NULL; /* the connection is over */
	}
}

/* No signal of the program's is delivered to it. */
static int
thread_start(struct holdfast_cache *cache, const pthread_attr_t *attr)
{
	sigset_t every, before;
	int r;

	(void)sigfillset(&every);
	(void)pthread_sigmask(SIG_SETMASK, &every, &before);
	r = pthread_create(&cache->attend.thread, attr, attend_main, cache);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int
attend_start(struct holdfast_cache *cache)
{
	struct attend *a = &cache->attend;
	pthread_attr_t attr;
	int r;

	if (cache->blocks.source.listen == NULL)
		return 0;
	r = pthread_attr_init(&attr);
	if (r != 0)
		return -r;
	a->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (a->stop_fd < 0) {
		r = -errno;
	} else {
		(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
		r = thread_start(cache, &attr);
		if (r < 0)
			(void)close(a->stop_fd);
	}
	a->runs = r == 0;
	(void)pthread_attr_destroy(&attr);
	return r;
}

void
attend_stop(struct holdfast_cache *cache)
{
	const uint64_t one = 1;

	if (!cache->attend.runs)
		return;
	if (!atomic_load(&cache->forked)) {
		(void)!write(cache->attend.stop_fd, &one, sizeof(one));
		(void)pthread_join(cache->attend.thread, NULL);
	}
	(void)close(cache->attend.stop_fd);
	cache->attend.runs = false;
}
