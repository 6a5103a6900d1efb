/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * holdfastd: reads its options, opens what needs privilege, gives it up, runs.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "arch/linux/linux.h"
#include "arch/sim/sim.h"
#include "server/badmem.h"
#include "server/cleanup.h"
#include "server/config.h"
#include "server/hostlock.h"
#include "server/janitor.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/privilege.h"
#include "server/server.h"

#define STOP_TIMEOUT_MS 3000
#define SIM_BASE        (UINT64_C(1) << 32) /* where invented memory begins */
#define SIM_BIG         (UINT64_C(1) << 30)
#define REBALANCE_SLACK 64 /* frames too many while it goes on */

struct daemon {
	struct config config;
	struct listener listener;
	struct janitor janitor;
	struct hostlock locks[JANITOR_SIZES]; /* frames, big frames */
	struct arch linux_arch;               /* in use if the back end is */
	struct arch *arch;                    /* NULL: not open */
	struct server *server;
	int signals; /* signalfd of SIGTERM and SIGINT; -1: not yet */
	struct event *signalled;
	int notify;
	bool raising; /* the janitor was told that it begins */
};

/* ---- Back ends --------------------------------------------------- */

/* One segment for each node, of as many frames as the others. */
static void
sim_spread(const struct config *config, struct sim_segment *segments)
{
	size_t n = config->sim_nodes;
	vm_size_t each = rounddown2(config->pool / n, config->frame_size);

	for (size_t i = 0; i < n; i++) {
		vm_paddr_t start = SIM_BASE + i * each;

		segments[i] = (struct sim_segment){start, start + each, (int)i};
	}
	segments[n - 1].end = SIM_BASE + config->pool;
}

static int
daemon_open_sim(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	vm_paddr_t end = SIM_BASE + config->pool;
	vm_paddr_t big = roundup2(end, SIM_BIG);
	struct sim_segment segments[VM_PHYS_DOMAINS];
	struct sim_segment bigs = {big, big + config->pool_big * SIM_BIG, 0};
	struct sim_options options = {
	    .frame_size = config->frame_size,
	    .segments = segments,
	    .nsegments = config->sim_nodes,
	    .big_size = config->pool_big > 0 ? SIM_BIG : 0,
	    .big_segments = &bigs,
	    .nbig_segments = config->pool_big > 0,
	    .memfd = true,
	    .no_inject = true,
	    .pin = ARCH_PIN_NONE,
	};

	sim_spread(config, segments);
	daemon->arch = sim_create(&options);
	return daemon->arch == NULL ? error_origin(-ENOMEM) : 0;
}

static_assert(JANITOR_NODES == ARCH_LINUX_NODES, "what is told is kept");

/*
 * The janitor has to know what to put right, should we be killed.  Called
 * before and after whatever may change nr_hugepages.
 */
static void
daemon_note(void *arg, bool begins)
{
	struct daemon *daemon = arg;
	struct arch_linux_raised raised[1 + ARCH_LINUX_NODES];
	struct janitor_numbers now;

	if (!daemon->config.set_nr_hugepages && daemon->config.pool_big == 0)
		return; /* nothing changes it */
	if (begins) {
		janitor_now(&daemon->janitor, daemon->config.frame_size, &now);
		(void)janitor_raising(&daemon->janitor, &now); /* logged */
		daemon->raising = true;
		return;
	}
	if (daemon->arch == NULL ||
	    !arch_linux_raised_nodes(daemon->arch, raised))
		return; /* whoever changes it tells afterwards */
	for (int i = 0; i <= JANITOR_NODES; i++) {
		now.of[JANITOR_FRAMES][i] = raised[i].frames;
		now.of[JANITOR_BIG][i] = raised[i].big;
	}
	if (daemon->raising ||
	    memcmp(&now, &daemon->janitor.raised, sizeof(now)) != 0)
		(void)janitor_raised(&daemon->janitor, &now); /* logged */
	daemon->raising = false;
}

static int
daemon_open_linux(struct daemon *daemon)
{
	static const enum arch_linux_pin_want pins[] = {
	    [CONFIG_PIN_PREFER] = ARCH_LINUX_PIN_PREFER,
	    [CONFIG_PIN_REQUIRE] = ARCH_LINUX_PIN_REQUIRE,
	    [CONFIG_PIN_NEVER] = ARCH_LINUX_PIN_NEVER,
	};
	const struct config *config = &daemon->config;
	vm_size_t max = MAX(config->pool, config->server.pool.max);
	struct arch_linux_config want = {
	    .frame_size = config->frame_size,
	    .nframes = (size_t)(config->pool / config->frame_size),
	    .nframes_max = (size_t)(max / config->frame_size) + REBALANCE_SLACK,
	    .nbig = (size_t)config->pool_big,
	    .nbig_max = config->pool_big > 0 ? (size_t)(max >> 30) : 0,
	    .node = config->node,
	    .may_raise = config->set_nr_hugepages,
	    .prefer_runs = config->set_nr_hugepages,
	    .spare_percent = config->set_nr_hugepages ? 25 : 100,
	    .pin = pins[config->pin],
	    .without_addresses = config->without_addresses,
	};
	struct arch_linux_raised raised;
	int r;

	daemon_note(daemon, true);
	r = arch_linux_open(&want, &daemon->linux_arch);
	if (r < 0)
		return r;
	daemon->arch = &daemon->linux_arch;
	daemon_note(daemon, false);
	if (arch_linux_raised(daemon->arch, &raised))
		log_info("nr_hugepages", "raised=%lld big=%lld", raised.frames,
		    raised.big);
	return 0;
}

static void
daemon_close_backend(struct daemon *daemon)
{
	if (daemon->arch == NULL)
		return;
	if (daemon->config.backend == BACKEND_SIM)
		sim_destroy(daemon->arch);
	else
		arch_linux_close(daemon->arch);
	daemon->arch = NULL;
	/* The back end has put nr_hugepages back itself. */
	(void)janitor_raised(&daemon->janitor, &(struct janitor_numbers){0});
}

static const char *
backend_advice(int r)
{
	switch (-r) {
	case ENOSPC:
		return "too few free huge pages; raise nr_hugepages, or use "
		       "--set-nr-hugepages as root";
	case EPERM:
		return "physical addresses or the pin are not to be had; start "
		       "as root, or use --without-addresses, --pin prefer";
	case ENOTSUP:
		return "this kernel has no huge pages of that size";
	default:
		return strerror(-r);
	}
}

static int
daemon_open_backend(struct daemon *daemon)
{
	struct arch_pool_info info;
	int r;

	r = daemon->config.backend == BACKEND_SIM ? daemon_open_sim(daemon)
						  : daemon_open_linux(daemon);
	if (r < 0) {
		log_error("no_pool", "errno=%d text=\"%s\"", -r,
		    backend_advice(r));
		return r;
	}
	daemon->arch->ops->pool_info(daemon->arch->ctx, &info);
	log_info("pool",
	    "backend=%s simulated=%d frame_size=%llu frames=%zu missing=%zu "
	    "addresses=%d pin=%d",
	    daemon->arch->ops->name, info.simulated,
	    (unsigned long long)info.frame_size, info.nstandby, info.nmissing,
	    info.addresses_known, (int)info.pin);
	if (info.degraded != NULL)
		log_warn("degraded", "text=\"%s\"", info.degraded);
	return 0;
}

/*
 * Frames of one size on one node are for one daemon.  What cannot be locked,
 * for want of the file, is not refused: who may not write /run has no
 * privilege to disturb others either.
 */
static int
daemon_lock_frames(struct daemon *daemon, int which, vm_size_t size)
{
	const struct config *config = &daemon->config;
	pid_t pid = 0;
	int r = hostlock_take(&daemon->locks[which], size, config->node, &pid);

	if (r == 0)
		return 0;
	if (r != -EEXIST) {
		log_warn("host_lock", "errno=%d text=\"not locked\"", -r);
		return 0;
	}
	log_error("host_lock",
	    "pid=%d text=\"another holdfastd, process %d, has the host's huge "
	    "pages of %lluK; stop it, give each its own --node, or use "
	    "--share-host\"",
	    (int)pid, (int)pid, (unsigned long long)(size >> 10));
	return r;
}

static int
daemon_lock_host(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	char path[4096];
	int r;

	if (config->backend != BACKEND_LINUX || config->share_host)
		return 0;
	r = daemon_lock_frames(daemon, JANITOR_FRAMES, config->frame_size);
	if (r == 0 && config->pool_big > 0)
		r = daemon_lock_frames(daemon, JANITOR_BIG, UINT64_C(1) << 30);
	if (r < 0)
		return r;
	hostlock_path(path, sizeof(path), "will", config->frame_size);
	(void)janitor_inherit(&daemon->janitor, path, config->frame_size,
	    config->node);
	return 0;
}

/* ---- Signals ----------------------------------------------------- */

static void
daemon_signalled(evutil_socket_t fd, short what, void *arg)
{
	struct signalfd_siginfo info;
	struct daemon *daemon = arg;

	(void)what;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("stopping", "signal=%u", info.ssi_signo);
	notify_send(daemon->notify, "STOPPING=1");
	listener_close(&daemon->listener);
	server_stop(daemon->server, STOP_TIMEOUT_MS);
}

static sigset_t
end_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	return set;
}

/*
 * From the first moment on a request to end is kept until it can be carried
 * out in order: the loop reads it from a descriptor, and no handler runs.
 */
static void
hold_signals(void)
{
	const sigset_t set = end_signals();

	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static int
daemon_watch_signals(struct daemon *daemon)
{
	const sigset_t set = end_signals();

	(void)signal(SIGPIPE, SIG_IGN);
	daemon->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signals < 0)
		return error_origin(-errno);
	daemon->signalled = event_new(daemon->server->base, daemon->signals,
	    EV_READ | EV_PERSIST, daemon_signalled, daemon);
	if (daemon->signalled == NULL || event_add(daemon->signalled, NULL) < 0)
		return error_origin(-ENOMEM);
	return 0;
}

/* ---- Life -------------------------------------------------------- */

/* Everything that needs privilege, in the order that needs it. */
static int
daemon_open(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	int r;

	daemon->notify = notify_open();
	r = listener_open(&daemon->listener, config->socket,
	    config->socket_mode);
	if (r < 0) {
		log_error("no_socket", "path=%s errno=%d text=\"%s\"",
		    config->socket, -r,
		    r == -EADDRINUSE ? "another daemon answers there"
				     : strerror(-r));
		return r;
	}
	r = daemon_lock_host(daemon);
	if (r < 0)
		return r;
	r = janitor_start(&daemon->janitor, &daemon->listener,
	    config->frame_size);
	if (r < 0)
		return r;
	privilege_raise_limits();
	return daemon_open_backend(daemon);
}

static int
daemon_start(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	uid_t uid;
	int r;

	r = privilege_drop(config->user, &uid);
	if (r < 0) {
		log_error("privileges", "user=%s errno=%d text=\"%s\"",
		    config->user, -r, strerror(-r));
		return r;
	}
	if (config->backend == BACKEND_LINUX) {
		daemon->config.server.pool.note = daemon_note;
		daemon->config.server.pool.note_arg = daemon;
	}
	r = server_new(&daemon->server, daemon->arch, &config->server);
	if (r < 0)
		return r;
	r = daemon_watch_signals(daemon);
	if (r == 0)
		r = badmem_watch(daemon->server);
	if (r < 0)
		return r;
	r = listener_start(&daemon->listener, daemon->server);
	if (r < 0)
		return r;
	log_info("ready", "socket=%s pid=%d uid=%u workers=%zu", config->socket,
	    (int)getpid(), uid, config->server.nworkers);
	notify_send(daemon->notify, "READY=1\nSTATUS=serving");
	notify_ready_fd(config->ready_fd);
	return 0;
}

static void
daemon_fini(struct daemon *daemon)
{
	listener_close(&daemon->listener);
	if (daemon->signalled != NULL)
		event_free(daemon->signalled);
	fd_closep(&daemon->signals);
	badmem_unwatch();
	server_free(daemon->server);
	daemon_close_backend(daemon);
	for (int i = 0; i < JANITOR_SIZES; i++)
		hostlock_drop(&daemon->locks[i]);
	/* Without a janitor nobody else removes the file. */
	if (daemon->janitor.pid == 0)
		listener_unlink(&daemon->listener);
	janitor_finish(&daemon->janitor);
	fd_closep(&daemon->listener.dirfd);
	fd_closep(&daemon->notify);
	config_fini(&daemon->config);
}

/* Descriptors that the shell may have left closed. */
static void
open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

/* Nothing that was inherited by accident, but what --ready-fd names. */
static void
close_inherited_fds(int keep)
{
	unsigned first = STDERR_FILENO + 1;

	if (keep > STDERR_FILENO) {
		if ((unsigned)keep > first)
			(void)close_range(first, (unsigned)keep - 1, 0);
		first = (unsigned)keep + 1;
	}
	(void)close_range(first, ~0u, 0);
}

int
main(int argc, char **argv)
{
	struct daemon daemon = {.notify = -1,
	    .signals = -1,
	    .locks = {{-1}, {-1}}};
	int r;

	open_standard_fds();
	listener_init(&daemon.listener);
	janitor_init(&daemon.janitor);
	config_default(&daemon.config);
	switch (config_parse(&daemon.config, argc, argv)) {
	case CONFIG_RUN:
		break;
	case CONFIG_DONE:
		config_fini(&daemon.config);
		return 0;
	case CONFIG_WRONG:
		config_fini(&daemon.config);
		return 2;
	}
	close_inherited_fds(daemon.config.ready_fd);
	log_set_level(daemon.config.log_level);
	hold_signals();
	r = daemon_open(&daemon);
	if (r == 0)
		r = daemon_start(&daemon);
	if (r == 0)
		r = server_run(daemon.server);
	daemon_fini(&daemon);
	if (r < 0)
		return 1;
	log_info("stopped", "code=0");
	return 0;
}
