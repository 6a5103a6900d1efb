/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Holders that do not let go, and holders that change what they were given.
 * The pool runs as nobody; the holder is another process with another uid.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/arch/linux_pool.h"

#define SECRET 0x5e

/* A holder process and the socket that orders its steps and ours. */
struct holder {
	pid_t pid;
	int sock;
};

struct holding {
	int sock;
	int fd;
	size_t nframes;
	unsigned char *p; /* mapped, written */
};

/* Say that a step is taken; wait until the next one may be. */
static void
step_done(struct holding *h)
{
	char c;

	if (write(h->sock, "d", 1) != 1 || read(h->sock, &c, 1) != 1)
		_exit(0); /* the other side is through with us */
}

static void
step_wait(const struct holder *holder)
{
	char c;

	ASSERT_EQ(read(holder->sock, &c, 1), 1);
}

static void
holder_next(const struct holder *holder)
{
	ASSERT_EQ(write(holder->sock, "g", 1), 1);
	step_wait(holder);
}

static void
fd_message(struct msghdr *msg, struct iovec *iov, char *control)
{
	*msg = (struct msghdr){
	    .msg_iov = iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = CMSG_SPACE(sizeof(int)),
	};
}

static int
receive_span(int sock, size_t *nframesp)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {nframesp, sizeof(*nframesp)};
	struct msghdr msg;
	int fd;

	fd_message(&msg, &iov, control);
	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) <= 0)
		_exit(0);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static _Noreturn void
holder_main(int sock, void (*run)(struct holding *))
{
	struct holding h = {.sock = sock};

	if (setgroups(0, NULL) < 0 || setresgid(1000, 1000, 1000) < 0 ||
	    setresuid(1000, 1000, 1000) < 0)
		_exit(2);
	h.fd = receive_span(sock, &h.nframes);
	h.p = linux_map_fd(h.fd, h.nframes);
	memset(h.p, SECRET, h.nframes * FRAME);
	run(&h);
	_exit(0);
}

/* Another process with uid 1000, as yet without a span. */
static struct holder
holder_spawn(void (*run)(struct holding *))
{
	int sv[2];
	pid_t pid;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) {
		close(sv[0]);
		holder_main(sv[1], run);
	}
	close(sv[1]);
	return (struct holder){pid, sv[0]};
}

/* Hand the span over; returns after the holder's first step. */
static void
holder_give(const struct holder *holder, const struct arch *arch,
    struct arch_span *span)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct arch_span_info info;
	struct iovec iov;
	struct cmsghdr *cmsg;
	struct msghdr msg;

	arch->ops->span_info(arch->ctx, span, &info);
	iov = (struct iovec){&info.nframes, sizeof(info.nframes)};
	fd_message(&msg, &iov, control);
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &info.fd, sizeof(int));
	ASSERT_EQ(sendmsg(holder->sock, &msg, 0), (ssize_t)iov.iov_len);
	step_wait(holder);
}

static int
holder_end(struct holder *holder)
{
	int status;

	close(holder->sock);
	ASSERT_EQ(waitpid(holder->pid, &status, 0), holder->pid);
	return status;
}

/* Count the events of each kind. */
struct tally {
	size_t lost;
	size_t gained;
	size_t changed;
};

static struct tally
drain(const struct arch *arch)
{
	struct tally tally = {0};
	struct arch_event event;

	while (arch->ops->pool_event(arch->ctx, &event)) {
		tally.lost += event.kind == ARCH_FRAME_LOST;
		tally.gained += event.kind == ARCH_FRAME_GAINED;
		tally.changed += event.kind == ARCH_SPAN_CHANGED;
	}
	return tally;
}

/* Does any byte that can be read at `p` hold the next owner's secret? */
static bool
sees_secret(const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i += 512)
		if (touch_signal((unsigned char *)p + i, false) == 0 &&
		    p[i] == 0xa7)
			return true;
	return false;
}

/* After the recycling: old mapping, new mapping, read(2), grow, reopen. */
static void
stale_holder(struct holding *h)
{
	static unsigned char buf[4096];
	char path[64];
	void *again;

	step_done(h);
	if (touch_signal(h->p, false) != SIGBUS ||
	    touch_signal(h->p + FRAME, true) != SIGBUS)
		_exit(10);
	if (read(h->fd, buf, sizeof(buf)) > 0)
		_exit(11);
	if (ftruncate(h->fd, 2 * FRAME) == 0 || errno != EPERM)
		_exit(12);
	if (fallocate(h->fd, 0, 0, FRAME) == 0)
		_exit(13);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", h->fd);
	if (open(path, O_RDWR) >= 0 || errno != EACCES)
		_exit(14);
	again = mmap(NULL, 2 * FRAME, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, h->fd, 0);
	if (again != MAP_FAILED) {
		/* Grown again, but with frames of the kernel's, or none. */
		if (sees_secret(again, 2 * FRAME))
			_exit(15);
		(void)touch_signal(again, true);
	}
	if (sees_secret(h->p, 2 * FRAME))
		_exit(16);
	step_done(h);
}

TEST(span_recycle__takes_a_span_from_one_who_keeps_fd_and_mapping)
{
	struct arch arch = linux_pool_open(8);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span_info info;
	struct arch_span *span;
	struct holder holder;
	unsigned char *p;

	holder = holder_spawn(stale_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 2);
	holder_give(&holder, &arch, span);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	linux_pool_check(&arch);

	span = linux_pool_span(&arch, pa, 2);
	arch.ops->span_info(arch.ctx, span, &info);
	p = linux_map_fd(info.fd, 2);
	for (size_t i = 0; i < 2 * FRAME; i++)
		ASSERT_EQ(p[i], 0);
	memset(p, 0xa7, 2 * FRAME);
	holder_next(&holder);
	for (size_t i = 0; i < 2 * FRAME; i++)
		ASSERT_EQ(p[i], 0xa7);
	munmap(p, 2 * FRAME);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(holder_end(&holder), 0);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

static void
sealing_holder(struct holding *h)
{
	static const int seals[] = {
	    F_SEAL_SEAL,
	    F_SEAL_SHRINK,
	    F_SEAL_GROW,
	    F_SEAL_WRITE,
	    F_SEAL_FUTURE_WRITE,
	};

	for (size_t i = 0; i < nitems(seals); i++)
		if (fcntl(h->fd, F_ADD_SEALS, seals[i]) == 0 || errno != EPERM)
			_exit(10);
	step_done(h);
}

TEST(span_recycle__cannot_be_prevented_with_seals)
{
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 1);
	struct arch_span *span;
	struct holder holder;

	holder = holder_spawn(sealing_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 1);
	holder_give(&holder, &arch, span);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(holder_end(&holder), 0);
	linux_pool_check(&arch);
	arch_linux_close(&arch);
}

static void
pinning_holder(struct holding *h)
{
	struct io_uring_params params = {0};
	struct iovec iov = {h->p, FRAME};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0 || syscall(SYS_io_uring_register, ring,
			    IORING_REGISTER_BUFFERS, &iov, 1) < 0)
		_exit(77);
	step_done(h);
	/* Its pin ends with the ring. */
	close(ring);
	step_done(h);
}

TEST(span_recycle__puts_a_span_that_its_holder_pins_into_limbo)
{
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_linux_counts counts;
	struct arch_pool_info info;
	struct arch_span *span;
	struct holder holder;

	holder = holder_spawn(pinning_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 2);
	holder_give(&holder, &arch, span);
	ASSERT_EQ(arch.ops->span_recycle(arch.ctx, span), -EBUSY);
	linux_pool_check(&arch);
	arch_linux_counts(&arch, &counts);
	ASSERT_EQ(counts.limbo, 1u); /* the other frame is back */
	ASSERT_EQ(counts.standby, 3u);
	arch.ops->pool_info(arch.ctx, &info);
	ASSERT_EQ(info.nlimbo, 1u);
	ASSERT_EQ(info.nspans, 1u);
	ASSERT_EQ(arch.ops->span_recycle(arch.ctx, span), -EBUSY);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, 0, 1), -ESTALE);
	holder_next(&holder);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	linux_pool_check(&arch);
	arch_linux_counts(&arch, &counts);
	ASSERT_EQ(counts.standby, 4u);
	ASSERT_EQ(linux_pool_run(&arch, 2), pa);
	ASSERT_EQ(drain(&arch).lost, 0u);
	ASSERT_EQ(holder_end(&holder), 0);
	arch_linux_close(&arch);
}

static void
punching_holder(struct holding *h)
{
	if (fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		FRAME) < 0)
		_exit(10);
	step_done(h);
}

TEST(span_verify__finds_the_frame_that_its_holder_punched)
{
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 3);
	struct arch_span *span;
	struct holder holder;
	struct tally tally;
	size_t nbad = 0;

	holder = holder_spawn(punching_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 3);
	holder_give(&holder, &arch, span);
	ASSERT_EQ(arch.ops->span_verify(arch.ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, 1u);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, 0, 64), -EFAULT);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, FRAME, 64), 0);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	tally = drain(&arch);
	ASSERT_EQ(tally.changed, 1u);
	ASSERT_EQ(tally.lost + tally.gained, 0u);
	ASSERT_EQ(holder_end(&holder), 0);
	linux_pool_check(&arch);
	ASSERT_EQ(linux_pool_run(&arch, 3), pa);
	arch_linux_close(&arch);
}

static void
refilling_holder(struct holding *h)
{
	if (fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		2 * FRAME) < 0)
		_exit(10);
	/* Where the kernel has a frame to spare, its own one replaces ours. */
	(void)touch_signal(h->p, true);
	step_done(h);
}

TEST(span_recycle__notices_frames_that_its_holder_replaced)
{
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 3);
	struct arch_span *span;
	struct holder holder;

	holder = holder_spawn(refilling_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 3);
	holder_give(&holder, &arch, span);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(drain(&arch).changed, 2u);
	ASSERT_EQ(holder_end(&holder), 0);
	linux_pool_check(&arch);
	ASSERT_EQ(linux_pool_run(&arch, 3), pa);
	arch_linux_close(&arch);
}

static void
truncating_holder(struct holding *h)
{
	if (ftruncate(h->fd, FRAME) < 0)
		_exit(10);
	step_done(h);
}

TEST(span_zero__returns_efault_where_its_holder_truncated)
{
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span *span;
	struct holder holder;
	size_t nbad = 0;

	holder = holder_spawn(truncating_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 2);
	holder_give(&holder, &arch, span);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, 0, 2 * FRAME), -EFAULT);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, FRAME, 1), -EFAULT);
	ASSERT_EQ(arch.ops->span_zero(arch.ctx, span, 0, FRAME), 0);
	ASSERT_EQ(arch.ops->span_verify(arch.ctx, span, &nbad), 0);
	ASSERT_EQ(nbad, 1u);
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(drain(&arch).changed, 1u);
	ASSERT_EQ(holder_end(&holder), 0);
	linux_pool_check(&arch);
	ASSERT_EQ(linux_pool_run(&arch, 2), pa);
	arch_linux_close(&arch);
}

/* Truncates while we write: the daemon must get EFAULT, never SIGBUS. */
static void *
flapping_thread(void *arg)
{
	struct holding *h = arg;

	for (;;) {
		void *p;

		(void)ftruncate(h->fd, 0);
		p = mmap(NULL, h->nframes * FRAME, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE | MAP_POPULATE, h->fd, 0);
		if (p != MAP_FAILED)
			munmap(p, h->nframes * FRAME);
	}
	return NULL;
}

static void
flapping_holder(struct holding *h)
{
	pthread_t thread;

	signal(SIGBUS, SIG_IGN);
	if (pthread_create(&thread, NULL, flapping_thread, h) != 0)
		_exit(10);
	step_done(h); /* goes on until the other side is closed */
}

TEST(span_zero__survives_a_holder_that_truncates_meanwhile)
{
	/* What it takes can then only be taken from the pool. */
	struct arch ballast = linux_ballast_open();
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span *span;
	struct holder holder;
	size_t nbad;
	int busy = 0;
	int r;

	holder = holder_spawn(flapping_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 2);
	holder_give(&holder, &arch, span);
	for (int i = 0; i < 200; i++) {
		r = arch.ops->span_zero(arch.ctx, span, 0, 2 * FRAME);
		ASSERT_TRUE(r == 0 || r == -EFAULT);
		ASSERT_EQ(arch.ops->span_verify(arch.ctx, span, &nbad), 0);
	}
	for (int i = 0;
	     i < 50 && (r = arch.ops->span_recycle(arch.ctx, span)) == -EBUSY;
	     i++)
		busy++;
	linux_pool_check(&arch);
	printf("recycled from a hammering holder after %d refusals\n", busy);
	ASSERT_EQ(holder_end(&holder), 0);
	if (r == -EBUSY)
		r = recycle_until_done(&arch, span);
	ASSERT_EQ(r, 0);
	linux_pool_check(&arch);
	ASSERT_EQ(linux_pool_run(&arch, 2), pa);
	arch_linux_close(&arch);
	arch_linux_close(&ballast);
}

static void
dying_holder(struct holding *h)
{
	char c = 'd';

	if (write(h->sock, &c, 1) == 1)
		(void)read(h->sock, &c, 1);
	raise(SIGKILL);
}

TEST(span_recycle__works_at_once_after_the_holder_was_killed)
{
	struct arch arch = linux_pool_open(4);
	vm_paddr_t pa = linux_pool_run(&arch, 2);
	struct arch_span *span;
	struct holder holder;

	holder = holder_spawn(dying_holder);
	become_nobody();
	span = linux_pool_span(&arch, pa, 2);
	holder_give(&holder, &arch, span);
	ASSERT_TRUE(WIFSIGNALED(holder_end(&holder)));
	ASSERT_EQ(recycle_until_done(&arch, span), 0);
	ASSERT_EQ(linux_pool_run(&arch, 2), pa);
	arch_linux_close(&arch);
}
