/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Faults.
 *
 *	thread that faults            the service's thread
 *	SIGSEGV handler
 *	  put itself in the queue --> wake up, take the queue
 *	  futex wait                  lock the map; MapFault; mmap; unlock
 *	  return, try again      <--  futex wake
 *
 * The handler itself makes three system calls and touches nothing but atomic
 * variables and its own stack.  The thread may be interrupted anywhere, with
 * any lock of the program held but the library's: no code of the library
 * touches memory of a map.
 *
 * The service has a connection of its own, so it can answer the daemon, which
 * waits for every process when a page moves, whatever the program does.  The
 * lock of the map covers asking and mapping: see hf_map_lock().  While the
 * service itself waits for a reply it still takes the daemon's events, which
 * the exchange hands to hf_map_event(): so two processes that fault at the same
 * time do not wait for each other.
 */

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "clients/libholdfast/map_int.h"
#include "clients/libholdfast/request.h"

#define SERVICES_MAX 64
#define AGAIN_MAX    16 /* the same fault: then it is mapped anew */

enum fault_state { FAULT_WAITS, FAULT_RESOLVED, FAULT_REFUSED };

/* One access that faulted, on the stack of its thread. */
struct fault {
	struct fault *next;
	uint64_t addr;
	uint32_t access; /* HF_PROT_*; 0: the machine does not tell */
	_Atomic uint32_t state;
};

struct hf_service {
	struct holdfast *h;
	struct holdfast_map *map;  /* our handle */
	struct holdfast_map *user; /* whose mirror it is */
	uint64_t min, max;
	pid_t pid;
	_Atomic pid_t tid;
	pthread_t thread;
	int wake; /* eventfd */
	atomic_bool stop;
	_Atomic(struct fault *) queue;
	uint64_t last; /* address of the last fault */
	unsigned again;
};

/* What the handler reads. */
static _Atomic(struct hf_service *) services[SERVICES_MAX];
static atomic_uint inside; /* handlers that may use one of them */
static struct sigaction previous;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;

/* ---- In the handler ------------------------------------------------------ */

static uint32_t
access_of(const void *context)
{
#if defined(__x86_64__)
	const ucontext_t *uc = context;
	greg_t error = uc->uc_mcontext.gregs[REG_ERR];

	if ((error & 0x10) != 0)
		return HF_PROT_EXECUTE;
	return (error & 0x2) != 0 ? HF_PROT_WRITE : HF_PROT_READ;
#else
	(void)context;
	return 0;
#endif
}

static struct hf_service *
service_at(uint64_t addr)
{
	for (size_t i = 0; i < SERVICES_MAX; i++) {
		struct hf_service *service = atomic_load(&services[i]);

		if (service != NULL && addr >= service->min &&
		    addr < service->max)
			return service;
	}
	return NULL;
}

static bool
ask_service(struct hf_service *service, uint64_t addr, uint32_t access)
{
	static const uint64_t one = 1;
	struct fault fault = {.addr = addr, .access = access};

	if (service->pid != getpid() ||
	    atomic_load(&service->tid) == (pid_t)syscall(SYS_gettid))
		return false;
	fault.next = atomic_load(&service->queue);
	while (
	    !atomic_compare_exchange_weak(&service->queue, &fault.next, &fault))
		continue;
	if (write(service->wake, &one, sizeof(one)) < 0)
		return false; /* it cannot be full: the thread is gone */
	while (atomic_load(&fault.state) == FAULT_WAITS)
		(void)syscall(SYS_futex, &fault.state, FUTEX_WAIT, FAULT_WAITS,
		    NULL, NULL, 0);
	return atomic_load(&fault.state) == FAULT_RESOLVED;
}

static bool
resolve(uint64_t addr, uint32_t access)
{
	struct hf_service *service;
	bool resolved;

	atomic_fetch_add(&inside, 1);
	service = service_at(addr);
	resolved = service != NULL && ask_service(service, addr, access);
	atomic_fetch_sub(&inside, 1);
	return resolved;
}

/* What would have happened without us. */
static void
pass_on(int number, siginfo_t *info, void *context)
{
	struct sigaction fallback = {.sa_handler = SIG_DFL};

	if ((previous.sa_flags & SA_SIGINFO) != 0) {
		previous.sa_sigaction(number, info, context);
		return;
	}
	if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(number);
		return;
	}
	if (previous.sa_handler == SIG_IGN && info->si_code <= 0)
		return; /* somebody sent it */
	/* The access faults again, and ends the process where it is. */
	(void)sigaction(number, &fallback, NULL);
	if (info->si_code <= 0)
		(void)raise(number);
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
	int before = errno;

	if (info->si_code <= 0 ||
	    !resolve((uint64_t)(uintptr_t)info->si_addr, access_of(context)))
		pass_on(number, info, context);
	errno = before;
}

static int
install(void)
{
	struct sigaction action = {
	    .sa_sigaction = on_fault,
	    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
	};
	int r = 0;

	(void)pthread_mutex_lock(&install_lock);
	(void)sigemptyset(&action.sa_mask);
	if (!installed && sigaction(SIGSEGV, &action, &previous) < 0)
		r = -errno;
	installed = installed || r == 0;
	(void)pthread_mutex_unlock(&install_lock);
	return r;
}

/* ---- Asking the daemon --------------------------------------------------- */

static int
ask_fault(struct holdfast_map *map, uint64_t addr, uint32_t access,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds)
{
	int r;
	HF_MAP_REQUEST(map, MapFault, MAP_FAULT, map_fault);

	op.addr = addr;
	op.access = access;
	r = hf_call(map->h, &request, HOLDFAST__V1__REPLY__RESULT_MAP_FAULT, 1,
	    replyp, fds);
	if (r == HF_OK && (*replyp)->map_fault->piece == NULL) {
		hf_fds_close(fds);
		r = hf_mistrust(map->h, "the daemon resolved a fault and did "
					"not say how");
	}
	return r;
}

int
holdfast_map_fault(struct holdfast_map *map, uint64_t addr, uint32_t access)
{
	const Holdfast__V1__Reply *reply;
	struct hf_fds fds;
	uint64_t start, end;
	int r = ask_fault(map, addr, access, &reply, &fds);

	if (r != HF_OK)
		return r;
	start = reply->map_fault->piece->start;
	end = reply->map_fault->piece->end;
	hf_fds_close(&fds);
	/* Not out of the reply: a service may know better by now. */
	return hf_map_sync(map, start, end);
}

/* The first page of [*atp, end) that is mapped without the right to write. */
static bool
next_read_only(struct holdfast_map *map, uint64_t *atp, uint64_t end)
{
	bool found = false;

	hf_map_lock(map);
	for (size_t i = 0; i < map->mirror.n && !found; i++) {
		const struct hf_piece *piece = &map->mirror.pieces[i];
		uint64_t at = piece->start > *atp ? piece->start : *atp;

		if (at >= piece->end || at >= end ||
		    (piece->prot & PROT_WRITE) != 0)
			continue;
		*atp = at;
		found = true;
	}
	hf_map_unlock(map);
	return found;
}

int
hf_map_copy_now(struct holdfast_map *map, uint64_t start, uint64_t end)
{
	uint64_t at = start;
	int r = HF_OK;

	if (!map->faults || !map->mirrored)
		return r;
	for (; next_read_only(map, &at, end); at += map->h->info.page_size) {
		r = holdfast_map_fault(map, at, HF_PROT_WRITE);
		if (r != HF_OK && r != HF_PROTECTION_FAILURE)
			return r;
	}
	return HF_OK;
}

/* ---- The service --------------------------------------------------------- */

/* Map what the daemon says.  Locked.  false: the access is still not allowed.
 */
static bool
service_map(struct hf_service *service, const struct fault *fault,
    uint32_t access, struct hf_entries *page)
{
	struct holdfast_map *map = service->map;
	Holdfast__V1__Entry *piece = page->entries[0];

	if (hf_map_check_entries(map, map->min, page) < 0 ||
	    fault->addr < piece->start || fault->addr >= piece->end ||
	    (piece->prot & access) != access || piece->fd_index == 0)
		return false;
	if (service->last == fault->addr && ++service->again > AGAIN_MAX)
		(void)hf_map_forget(map, piece->start, piece->end);
	if (service->last != fault->addr || service->again > AGAIN_MAX)
		service->again = 0;
	service->last = fault->addr;
	return hf_map_apply(map, page, piece->start, piece->end) == 0;
}

static bool
service_try(struct hf_service *service, const struct fault *fault,
    uint32_t access)
{
	const Holdfast__V1__Reply *reply;
	struct hf_entries page = {.n = 1};
	bool resolved = false;

	hf_map_lock(service->map);
	if (ask_fault(service->map, fault->addr, access, &reply, &page.fds) ==
	    HF_OK) {
		page.entries = &reply->map_fault->piece;
		resolved = service_map(service, fault, access, &page);
		hf_fds_close(&page.fds);
	}
	hf_map_unlock(service->map);
	return resolved;
}

static void
service_resolve(struct hf_service *service, struct fault *fault)
{
	bool resolved;

	if (fault->access != 0)
		resolved = service_try(service, fault, fault->access);
	else
		resolved = service_try(service, fault, HF_PROT_WRITE) ||
			   service_try(service, fault, HF_PROT_READ);
	atomic_store(&fault->state, resolved ? FAULT_RESOLVED : FAULT_REFUSED);
	/* Its stack may be gone by now; the address is only a name here. */
	(void)syscall(SYS_futex, &fault->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void
service_faults(struct hf_service *service)
{
	struct fault *fault = atomic_exchange(&service->queue, NULL), *next;

	for (; fault != NULL; fault = next) {
		next = fault->next;
		service_resolve(service, fault);
	}
}

static void *
service_run(void *arg)
{
	struct hf_service *service = arg;
	struct pollfd fds[2] = {{.fd = service->wake, .events = POLLIN},
	    {.fd = service->h->conn.fd, .events = POLLIN}};
	uint64_t n;

	atomic_store(&service->tid, (pid_t)syscall(SYS_gettid));
	while (!atomic_load(&service->stop)) {
		(void)poll(fds, 2, -1);
		if (fds[0].revents != 0 &&
		    read(service->wake, &n, sizeof(n)) > 0)
			service_faults(service);
		if (fds[1].revents == 0)
			continue;
		while (hf_take_events(service->h))
			continue;
		if (service->h->broken != 0)
			fds[1].fd = -1; /* faults are refused from now on */
	}
	service_faults(service);
	return NULL;
}

static void
service_free(struct hf_service *service)
{
	holdfast_close(service->h);
	if (service->wake >= 0)
		(void)close(service->wake);
	free(service);
}

/* A connection and a handle of its own for the map of another. */
static int
service_connect(struct hf_service *service)
{
	struct holdfast_map *user = service->user;
	struct holdfast_options options = {
	    .socket_path = user->h->path,
	    .name = "faults",
	    .error = user->h->error,
	    .error_size = sizeof(user->h->error),
	};
	const Holdfast__V1__Reply *reply;
	int r = holdfast_connect(&options, &service->h);
	HF_REQUEST(MapAttach, MAP_ATTACH, map_attach);

	if (r != HF_OK)
		return r;
	op.session = user->h->session;
	op.map = user->id;
	op.mirrors = true;
	r = HF_ASK(service->h, MAP, &reply);
	if (r == HF_OK &&
	    (reply->map->min != user->min || reply->map->max != user->max))
		r = hf_mistrust(service->h, "the daemon attached another map");
	if (r == HF_OK)
		r = hf_map_new(service->h, reply->map, false, &service->map);
	if (r == HF_OK)
		service->map->serves = user;
	else
		hf_say(user->h, "%s", holdfast_error(service->h));
	return r;
}

/* Signals are the program's threads'. */
static int
service_start(struct hf_service *service)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&service->thread, NULL, service_run, service);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static bool
service_publish(struct hf_service *service)
{
	for (size_t i = 0; i < SERVICES_MAX; i++) {
		struct hf_service *none = NULL;

		if (atomic_compare_exchange_strong(&services[i], &none,
			service))
			return true;
	}
	return false;
}

static void
service_hide(struct hf_service *service)
{
	for (size_t i = 0; i < SERVICES_MAX; i++) {
		struct hf_service *this = service;

		if (atomic_compare_exchange_strong(&services[i], &this, NULL))
			break;
	}
	/* Handlers that found it get their answers first. */
	while (service->pid == getpid() && atomic_load(&inside) > 0)
		(void)sched_yield();
}

static void
service_end(struct hf_service *service)
{
	static const uint64_t one = 1;

	service_hide(service);
	if (service->pid != getpid())
		return; /* its thread is the parent's; what is here leaks */
	atomic_store(&service->stop, true);
	(void)write(service->wake, &one, sizeof(one)); /* it cannot be full */
	(void)pthread_join(service->thread, NULL);
	service_free(service);
}

static void
set_service(struct holdfast_map *map, struct hf_service *service)
{
	hf_map_lock(map);
	map->service = service;
	hf_map_unlock(map);
}

void
hf_service_stop(struct holdfast_map *map)
{
	struct hf_service *service = map->service;

	if (service == NULL)
		return;
	service_end(service);
	set_service(map, NULL);
}

int
holdfast_map_handle_faults(struct holdfast_map *map)
{
	struct hf_service *service;
	int r = hf_usable(map->h);

	if (r < 0)
		return r;
	if (map->service != NULL)
		return -EEXIST;
	if (!map->mirrored || !map->faults) {
		hf_say(map->h, "the map is not mirrored in this process");
		return HF_INVALID_ARGUMENT;
	}
	service = calloc(1, sizeof(*service));
	if (service == NULL)
		return -ENOMEM;
	service->user = map;
	service->min = map->min;
	service->max = map->max;
	service->pid = getpid();
	service->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = service->wake < 0 ? -errno : service_connect(service);
	if (r == HF_OK)
		r = install();
	if (r == HF_OK) {
		set_service(map, service);
		r = service_start(service);
	}
	if (r != HF_OK) {
		set_service(map, NULL);
		service_free(service);
		return r;
	}
	if (service_publish(service))
		return HF_OK;
	hf_service_stop(map);
	return -EMFILE;
}
