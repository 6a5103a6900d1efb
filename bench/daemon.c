/* SPDX-License-Identifier: BSD-2-Clause */

#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/daemon.h"

/*
 * The daemon that runs, if .pid is not 0.  However the bench ends, it ends too:
 * its own death signal does not outlive the change to another user.
 */
static struct bench_daemon running;
static pid_t owner; /* who started it; its children leave it alone */

static void
clean_up(const struct bench_daemon *d)
{
	(void)unlink(d->path);
	(void)rmdir(d->dir);
}

/* Also from a handler of signals. */
static void
stop_running(void)
{
	if (running.pid > 0 && getpid() == owner) {
		(void)kill(running.pid, SIGTERM);
		clean_up(&running);
	}
}

static void
on_signal(int sig)
{
	stop_running();
	_exit(128 + sig);
}

static void
leave_none_behind(void)
{
	static bool armed;
	struct sigaction sa = {.sa_handler = on_signal};

	if (armed)
		return;
	armed = true;
	owner = getpid();
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
	if (atexit(stop_running) != 0)
		errx(1, "atexit");
}

static _Noreturn void
exec_daemon(const char *program, const char *const *fixed, size_t nfixed,
    const char *const *options)
{
	const char *argv[32] = {program};
	size_t n = 1;

	for (size_t i = 0; i < nfixed; i++)
		argv[n++] = fixed[i];
	while (options != NULL && *options != NULL && n < 31)
		argv[n++] = *options++;
	(void)execv(program, (char *const *)(uintptr_t)argv);
	err(1, "%s", program);
}

void
bench_daemon_start(struct bench_daemon *d, const char *program,
    const char *backend, const char *pool)
{
	bench_daemon_start_with(d, program, backend, pool, NULL);
}

void
bench_daemon_start_with(struct bench_daemon *d, const char *program,
    const char *backend, const char *pool, const char *const *options)
{
	int ready[2];
	char fd[16], byte;

	leave_none_behind();
	(void)strcpy(d->dir, "/tmp/hf-bench-XXXXXX");
	if (mkdtemp(d->dir) == NULL)
		err(1, "mkdtemp");
	(void)snprintf(d->path, sizeof(d->path), "%s/socket", d->dir);
	if (pipe(ready) < 0)
		err(1, "pipe");
	d->pid = fork();
	if (d->pid < 0)
		err(1, "fork");
	if (d->pid == 0) {
		(void)close(ready[0]);
		(void)snprintf(fd, sizeof(fd), "%d", ready[1]);
		exec_daemon(program,
		    (const char *const[]){"--backend", backend, "--socket",
			d->path, "--pool", pool, "--allow-addresses", "all",
			"--ready-fd", fd, "--log-level", "error"},
		    12, options);
	}
	running = *d;
	(void)close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		errx(1, "%s did not get ready", program);
	(void)close(ready[0]);
}

void
bench_daemon_stop(struct bench_daemon *d)
{
	(void)kill(d->pid, SIGTERM);
	(void)waitpid(d->pid, NULL, 0);
	running.pid = 0;
	clean_up(d);
}
