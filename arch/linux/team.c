/* SPDX-License-Identifier: BSD-2-Clause */
#include <signal.h>
#include <stdlib.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * Threads that help with large spans, so that one request zeroes memory on
 * several processors.  They are started by the first large span, not when the
 * pool is opened: by then the process has dropped its privileges, of which
 * some are a thread's own.
 */

struct team_job {
	struct team_job *next;
	void (*run)(void *arg); /* until there is nothing left to do */
	void *arg;
	unsigned active; /* helpers inside run() */
	bool listed;
};

static void
unlist_locked(struct team *team, struct team_job *job)
{
	struct team_job **link = &team->jobs;

	if (!job->listed)
		return;
	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	job->listed = false;
}

static void *
helper_main(void *arg)
{
	struct team *team = arg;
	struct team_job *job;

	pthread_mutex_lock(&team->lock);
	while (!team->stop) {
		job = team->jobs;
		if (job == NULL) {
			pthread_cond_wait(&team->work, &team->lock);
			continue;
		}
		job->active++;
		pthread_mutex_unlock(&team->lock);
		job->run(job->arg);
		pthread_mutex_lock(&team->lock);
		unlist_locked(team, job);
		if (--job->active == 0)
			pthread_cond_broadcast(&team->done);
	}
	pthread_mutex_unlock(&team->lock);
	return NULL;
}

/* As many as wanted, or as can be had; signals are for others. */
static void
start_locked(struct team *team)
{
	sigset_t all;
	sigset_t old;

	if (team->nthreads == team->wanted || team->failed)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (team->nthreads < team->wanted && !team->failed) {
		if (pthread_create(&team->threads[team->nthreads], NULL,
			helper_main, team) == 0)
			team->nthreads++;
		else
			team->failed = true;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
team_init(struct team *team, unsigned nhelpers)
{
	*team = (struct team){.wanted = MIN(nhelpers, LINUX_HELPERS)};
	pthread_mutex_init(&team->lock, NULL);
	pthread_cond_init(&team->work, NULL);
	pthread_cond_init(&team->done, NULL);
}

void
team_fini(struct team *team)
{
	pthread_mutex_lock(&team->lock);
	MPASS(team->jobs == NULL);
	team->stop = true;
	pthread_cond_broadcast(&team->work);
	pthread_mutex_unlock(&team->lock);
	while (team->nthreads > 0)
		pthread_join(team->threads[--team->nthreads], NULL);
	pthread_cond_destroy(&team->work);
	pthread_cond_destroy(&team->done);
	pthread_mutex_destroy(&team->lock);
}

void
team_run(struct team *team, void (*run)(void *arg), void *arg)
{
	struct team_job job = {.run = run, .arg = arg, .listed = true};

	pthread_mutex_lock(&team->lock);
	start_locked(team);
	job.next = team->jobs;
	team->jobs = &job;
	pthread_cond_broadcast(&team->work);
	pthread_mutex_unlock(&team->lock);
	run(arg);
	pthread_mutex_lock(&team->lock);
	unlist_locked(team, &job);
	while (job.active > 0)
		pthread_cond_wait(&team->done, &team->lock);
	pthread_mutex_unlock(&team->lock);
}
