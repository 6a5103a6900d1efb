/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/memory.h"
#include "server/worker.h"

#define BACKGROUND_NICE 5
#define HOLD_MS         1  /* without a request: then it is idle time */
#define HOLD_TIMES      10 /* and no job is held longer than so often that */

enum worker_kind { WORKER_SMALL, WORKER_ANY, WORKER_BACKGROUND };

struct worker {
	struct workers *workers;
	pthread_t thread;
	enum worker_kind kind;
	bool runs; /* loop thread only */
};

struct workers {
	pthread_mutex_t lock; /* over the lists, job states and `stop` */
	pthread_cond_t wake;
	pthread_cond_t wake_background;
	struct job_list small, large, background, ran;
	bool hurry;        /* hold background jobs back no more */
	_Atomic bool busy; /* a request came; the loop sets it */
	bool stop;
	int eventfd;
	struct event *event;
	size_t pending;     /* loop thread only */
	size_t nbackground; /* of them in the background; loop thread only */
	size_t n;           /* threads that run, without the next */
	size_t n_max;       /* of them that may run */
	struct worker background_worker;
	struct worker worker[];
};

static struct job_list *
workers_list(struct workers *workers, const struct job *job)
{
	if (job->background && workers->background_worker.runs)
		return &workers->background;
	return job->small ? &workers->small : &workers->large;
}

/* The next job that this worker may take, or NULL.  Locked. */
static struct job *
worker_next(struct worker *worker)
{
	struct workers *workers = worker->workers;
	struct job *job;

	job = TAILQ_FIRST(&workers->small);
	if (job == NULL && worker->kind == WORKER_ANY)
		job = TAILQ_FIRST(&workers->large);
	if (job != NULL)
		TAILQ_REMOVE(job->list, job, entry);
	return job;
}

static void
workers_notify(struct workers *workers)
{
	uint64_t one = 1;

	/* Only a full counter makes this fail, and that wakes the loop too. */
	if (write(workers->eventfd, &one, sizeof(one)) < 0)
		return;
}

/* Run a job that was taken from its list.  Locked, but not meanwhile. */
static void
worker_run(struct workers *workers, struct job *job)
{
	job->state = JOB_RUNNING;
	(void)pthread_mutex_unlock(&workers->lock);
	job->run(job);
	(void)pthread_mutex_lock(&workers->lock);
	job->state = JOB_RAN;
	TAILQ_INSERT_TAIL(&workers->ran, job, entry);
	workers_notify(workers);
}

static void *
worker_main(void *arg)
{
	struct worker *worker = arg;
	struct workers *workers = worker->workers;
	struct job *job;

	(void)pthread_mutex_lock(&workers->lock);
	while (!workers->stop) {
		job = worker_next(worker);
		if (job == NULL)
			(void)pthread_cond_wait(&workers->wake, &workers->lock);
		else
			worker_run(workers, job);
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return NULL;
}

/* ---- Idle time --------------------------------------------------- */

/*
 * Wait for a moment without requests, or until there is no time for that.  The
 * loop has no timer for it: while one is due soon, each wait for a request
 * would have to set the processor's clock.  Locked, but not meanwhile.
 */
static void
background_hold(struct workers *workers)
{
	for (unsigned i = 0; i < HOLD_TIMES && !workers->stop; i++) {
		struct timespec until;

		if (workers->hurry || !atomic_load(&workers->busy))
			return;
		atomic_store(&workers->busy, false);
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += HOLD_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		(void)pthread_cond_clockwait(&workers->wake_background,
		    &workers->lock, CLOCK_MONOTONIC, &until);
	}
}

static void *
background_main(void *arg)
{
	struct worker *worker = arg;
	struct workers *workers = worker->workers;
	struct job *job;

	/* Of this thread only; where it may not, it is less polite. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), BACKGROUND_NICE);
	(void)pthread_mutex_lock(&workers->lock);
	while (!workers->stop) {
		if (TAILQ_EMPTY(&workers->background)) {
			workers->hurry = false;
			(void)pthread_cond_wait(&workers->wake_background,
			    &workers->lock);
			background_hold(workers);
			continue;
		}
		job = TAILQ_FIRST(&workers->background);
		TAILQ_REMOVE(job->list, job, entry);
		worker_run(workers, job);
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return NULL;
}

void
workers_busy(struct workers *workers)
{
	atomic_store_explicit(&workers->busy, true, memory_order_relaxed);
}

bool
workers_hurry(struct workers *workers)
{
	if (workers->nbackground == 0)
		return false;
	(void)pthread_mutex_lock(&workers->lock);
	if (!TAILQ_EMPTY(&workers->background)) {
		workers->hurry = true;
		(void)pthread_cond_signal(&workers->wake_background);
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return true;
}

/* ---- The loop side ----------------------------------------------- */

static void
workers_count(struct workers *workers, const struct job *job)
{
	workers->pending++;
	workers->nbackground += job->background;
}

static void
workers_forget(struct workers *workers, const struct job *job)
{
	MPASS(workers->pending > 0);
	workers->pending--;
	workers->nbackground -= job->background;
}

/* The loop side: call `done` for every job that ran. */
static void
workers_readable(evutil_socket_t fd, short what, void *arg)
{
	struct workers *workers = arg;
	struct job_list ran = TAILQ_HEAD_INITIALIZER(ran);
	struct job *job;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("worker_eventfd", "errno=%d", errno);
	(void)pthread_mutex_lock(&workers->lock);
	TAILQ_CONCAT(&ran, &workers->ran, entry);
	(void)pthread_mutex_unlock(&workers->lock);
	while ((job = TAILQ_FIRST(&ran)) != NULL) {
		TAILQ_REMOVE(&ran, job, entry);
		job->state = JOB_IDLE;
		workers_forget(workers, job);
		job->done(job);
	}
}

/* ---- Life -------------------------------------------------------- */

/* Threads take no signals: those are the loop's. */
static int
worker_start(struct worker *worker)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&worker->thread, NULL,
	    worker->kind == WORKER_BACKGROUND ? background_main : worker_main,
	    worker);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

void
workers_free(struct workers *workers)
{
	if (workers == NULL)
		return;
	(void)pthread_mutex_lock(&workers->lock);
	workers->stop = true;
	(void)pthread_cond_broadcast(&workers->wake);
	(void)pthread_cond_broadcast(&workers->wake_background);
	(void)pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->n; i++)
		(void)pthread_join(workers->worker[i].thread, NULL);
	if (workers->background_worker.runs)
		(void)pthread_join(workers->background_worker.thread, NULL);
	if (workers->event != NULL)
		event_free(workers->event);
	if (workers->eventfd >= 0)
		(void)close(workers->eventfd);
	(void)pthread_cond_destroy(&workers->wake);
	(void)pthread_cond_destroy(&workers->wake_background);
	(void)pthread_mutex_destroy(&workers->lock);
	free(workers);
}

static void
workers_freep(struct workers **workersp)
{
	workers_free(*workersp);
}

int
workers_new(struct workers **workersp, struct event_base *base, size_t n)
{
	_cleanup_(workers_freep) struct workers *workers = NULL;

	MPASS(n > 0);
	workers =
	    memory_calloc(1, sizeof(*workers) + n * sizeof(workers->worker[0]));
	if (workers == NULL)
		return error_origin(-ENOMEM);
	(void)pthread_mutex_init(&workers->lock, NULL);
	(void)pthread_cond_init(&workers->wake, NULL);
	(void)pthread_cond_init(&workers->wake_background, NULL);
	TAILQ_INIT(&workers->small);
	TAILQ_INIT(&workers->large);
	TAILQ_INIT(&workers->background);
	TAILQ_INIT(&workers->ran);
	workers->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (workers->eventfd < 0)
		return error_origin(-errno);
	workers->event = event_new(base, workers->eventfd, EV_READ | EV_PERSIST,
	    workers_readable, workers);
	if (workers->event == NULL || event_add(workers->event, NULL) < 0)
		return error_origin(-ENOMEM);
	workers->n_max = n;
	*workersp = take_ptr(workers);
	return 0;
}

/*
 * The threads start with the first job: a daemon that only keeps maps stays a
 * process of one thread, and its system calls are cheaper.
 */
static bool
workers_start_one(struct workers *workers, struct worker *worker,
    enum worker_kind kind)
{
	int r;

	worker->workers = workers;
	worker->kind = kind;
	r = worker_start(worker);
	if (r < 0)
		log_error("worker_start", "errno=%d", -r);
	worker->runs = r == 0;
	return worker->runs;
}

static void
workers_start(struct workers *workers)
{
	while (workers->n < workers->n_max &&
	       workers_start_one(workers, &workers->worker[workers->n],
		   workers->n == 0 && workers->n_max > 1 ? WORKER_SMALL
							 : WORKER_ANY))
		workers->n++;
}

/* Without a thread for it the loop does the job itself, and is held up. */
static void
workers_run_here(struct workers *workers, struct job *job)
{
	job->run(job);
	(void)pthread_mutex_lock(&workers->lock);
	job->state = JOB_RAN;
	TAILQ_INSERT_TAIL(&workers->ran, job, entry);
	(void)pthread_mutex_unlock(&workers->lock);
	workers_notify(workers);
	workers_count(workers, job);
}

void
workers_submit(struct workers *workers, struct job *job)
{
	bool first;

	if (workers->n < workers->n_max)
		workers_start(workers);
	if (job->background && !workers->background_worker.runs)
		(void)workers_start_one(workers, &workers->background_worker,
		    WORKER_BACKGROUND);
	MPASS(job->state == JOB_IDLE);
	job->list = workers_list(workers, job);
	/* The first thread takes no large job where there should be others. */
	if (job->list != &workers->background &&
	    (workers->n == 0 ||
		(workers->n < 2 && workers->n_max > 1 && !job->small))) {
		workers_run_here(workers, job);
		return;
	}
	workers_count(workers, job);
	(void)pthread_mutex_lock(&workers->lock);
	first = TAILQ_EMPTY(job->list);
	job->state = JOB_QUEUED;
	TAILQ_INSERT_TAIL(job->list, job, entry);
	/* All of them: the one woken might not be allowed to take it. */
	if (job->list != &workers->background)
		(void)pthread_cond_broadcast(&workers->wake);
	else if (first)
		(void)pthread_cond_signal(&workers->wake_background);
	(void)pthread_mutex_unlock(&workers->lock);
}

bool
workers_cancel(struct workers *workers, struct job *job)
{
	bool cancelled;

	(void)pthread_mutex_lock(&workers->lock);
	cancelled = job->state == JOB_QUEUED;
	if (cancelled) {
		TAILQ_REMOVE(job->list, job, entry);
		job->state = JOB_IDLE;
	}
	(void)pthread_mutex_unlock(&workers->lock);
	if (cancelled)
		workers_forget(workers, job);
	return cancelled;
}

size_t
workers_pending(const struct workers *workers)
{
	return workers->pending;
}
