/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Threads for what takes long: assembling, zeroing, recycling.
 *
 * A job is embedded in what it works for.  `run` is called on a worker and
 * may touch only what the loop leaves alone meanwhile; `done` is called on
 * the loop afterwards.  The first worker takes small jobs only, so those never
 * wait behind large ones.
 *
 * Background jobs are for idle time: they are held back while requests come in,
 * for some milliseconds at most, and have a thread of their own, which yields
 * the processor to everybody else.  Design: docs/design/server.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct event_base;
struct workers;

enum job_state { JOB_IDLE, JOB_QUEUED, JOB_RUNNING, JOB_RAN };

TAILQ_HEAD(job_list, job);

struct job {
	TAILQ_ENTRY(job) entry;
	struct job_list *list; /* that it is in, while queued */
	void (*run)(struct job *job);
	void (*done)(struct job *job);
	enum job_state state; /* under the workers' lock */
	bool small;           /* takes well under a millisecond */
	bool background;      /* nobody waits for it; (c) from submit to done */
};

/*
 * Up to `n` threads, at least 1, and one for the background; they start with
 * the first job.  Where none can be had, jobs run on the loop.  -errno: no
 * memory, no descriptor.
 */
int workers_new(struct workers **workersp, struct event_base *base, size_t n);

/*
 * Wait for running jobs, forget queued ones without `done`, join the threads.
 * NULL is fine.
 */
void workers_free(struct workers *workers);

/* A request came that background jobs should not be in the way of. */
void workers_busy(struct workers *workers);
/* Hold background jobs back no more.  true: some have yet to be done. */
bool workers_hurry(struct workers *workers);

/* Queue an idle job.  Never fails.  Loop thread. */
void workers_submit(struct workers *workers, struct job *job);

/*
 * Take a job back before it runs.  true: it is idle again and `done` will not
 * be called.  false: too late, or it was idle.
 */
bool workers_cancel(struct workers *workers, struct job *job);

/* Jobs that were submitted and whose `done` has not been called. */
size_t workers_pending(const struct workers *workers);
