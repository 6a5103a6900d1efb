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

/* A pool, a span of it, and another process that holds the span. */
struct scene {
	struct arch arch;
	vm_paddr_t pa;
	size_t nframes;
	struct arch_span *span;
	struct holder holder;
};

/* The holder has taken its first step when this returns; we are nobody. */
static struct scene
scene_begin(size_t pool, size_t nframes, void (*run)(struct holding *))
{
	struct scene scene = {
	    .arch = linux_pool_open(pool),
	    .nframes = nframes,
	};

	scene.pa = linux_pool_run(&scene.arch, nframes);
	scene.holder = holder_spawn(run);
	become_nobody();
	scene.span = linux_pool_span(&scene.arch, scene.pa, nframes);
	holder_give(&scene.holder, &scene.arch, scene.span);
	return scene;
}

/* The span is gone and the holder content: the pool is as it was. */
static void
scene_end(struct scene *scene)
{
	ASSERT_EQ(holder_end(&scene->holder), 0);
	linux_pool_check(&scene->arch);
	ASSERT_EQ(linux_pool_run(&scene->arch, scene->nframes), scene->pa);
	arch_linux_close(&scene->arch);
}

static void
scene_recycle(struct scene *scene)
{
	ASSERT_EQ(recycle_until_done(&scene->arch, scene->span), 0);
}

static int
scene_zero(struct scene *scene, vm_size_t off, vm_size_t len)
{
	return scene->arch.ops->span_zero(scene->arch.ctx, scene->span, off,
	    len);
}

static size_t
scene_verify(struct scene *scene)
{
	size_t nbad = 0;

	ASSERT_EQ(scene->arch.ops->span_verify(scene->arch.ctx, scene->span,
		      &nbad),
	    0);
	return nbad;
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
	struct scene scene = scene_begin(8, 2, stale_holder);
	struct arch_span_info info;
	unsigned char *p;

	scene_recycle(&scene);
	linux_pool_check(&scene.arch);
	/* The same frames for the next one: zeroed, and his alone. */
	scene.span = linux_pool_span(&scene.arch, scene.pa, 2);
	scene.arch.ops->span_info(scene.arch.ctx, scene.span, &info);
	p = linux_map_fd(info.fd, 2);
	for (size_t i = 0; i < 2 * FRAME; i++)
		ASSERT_EQ(p[i], 0);
	memset(p, 0xa7, 2 * FRAME);
	holder_next(&scene.holder);
	for (size_t i = 0; i < 2 * FRAME; i++)
		ASSERT_EQ(p[i], 0xa7);
	munmap(p, 2 * FRAME);
	scene_recycle(&scene);
	scene_end(&scene);
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
	struct scene scene = scene_begin(4, 1, sealing_holder);

	scene_recycle(&scene);
	scene_end(&scene);
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
	struct scene scene = scene_begin(4, 2, pinning_holder);
	const struct arch *arch = &scene.arch;
	struct arch_linux_counts counts;
	struct arch_pool_info info;

	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, scene.span), -EBUSY);
	linux_pool_check(arch);
	arch_linux_counts(arch, &counts);
	ASSERT_EQ(counts.limbo, 1u); /* the other frame is back */
	ASSERT_EQ(counts.standby, 3u);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(info.nlimbo, 1u);
	ASSERT_EQ(info.nspans, 1u);
	ASSERT_EQ(arch->ops->span_recycle(arch->ctx, scene.span), -EBUSY);
	ASSERT_EQ(scene_zero(&scene, 0, 1), -ESTALE);
	holder_next(&scene.holder);
	scene_recycle(&scene);
	arch_linux_counts(arch, &counts);
	ASSERT_EQ(counts.standby, 4u);
	ASSERT_EQ(drain(arch).lost, 0u);
	scene_end(&scene);
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
	struct scene scene = scene_begin(4, 3, punching_holder);
	unsigned char states[3];
	struct tally tally;

	ASSERT_EQ(scene_verify(&scene), 1u);
	ASSERT_EQ(scene.arch.ops->span_check(scene.arch.ctx, scene.span, 0, 3,
		      states),
	    0);
	ASSERT_EQ(states[0], ARCH_FRAME_ELSEWHERE);
	ASSERT_EQ(states[1], ARCH_FRAME_SOUND);
	ASSERT_EQ(states[2], ARCH_FRAME_SOUND);
	ASSERT_EQ(scene.arch.ops->span_check(scene.arch.ctx, scene.span, 2, 2,
		      states),
	    -EINVAL);
	ASSERT_EQ(scene_zero(&scene, 0, 64), -EFAULT);
	ASSERT_EQ(scene_zero(&scene, FRAME, 64), 0);
	scene_recycle(&scene);
	tally = drain(&scene.arch);
	ASSERT_EQ(tally.changed, 1u);
	ASSERT_EQ(tally.lost + tally.gained, 0u);
	scene_end(&scene);
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
	struct scene scene = scene_begin(4, 3, refilling_holder);

	scene_recycle(&scene);
	ASSERT_EQ(drain(&scene.arch).changed, 2u);
	scene_end(&scene);
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
	struct scene scene = scene_begin(4, 2, truncating_holder);

	ASSERT_EQ(scene_zero(&scene, 0, 2 * FRAME), -EFAULT);
	ASSERT_EQ(scene_zero(&scene, FRAME, 1), -EFAULT);
	ASSERT_EQ(scene_zero(&scene, 0, FRAME), 0);
	ASSERT_EQ(scene_verify(&scene), 1u);
	scene_recycle(&scene);
	ASSERT_EQ(drain(&scene.arch).changed, 1u);
	scene_end(&scene);
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
	struct scene scene = scene_begin(4, 2, flapping_holder);
	const struct arch *arch = &scene.arch;
	int busy = 0;
	int r = 0;

	for (int i = 0; i < 200; i++) {
		r = scene_zero(&scene, 0, 2 * FRAME);
		ASSERT_TRUE(r == 0 || r == -EFAULT);
		(void)scene_verify(&scene); /* any number is right */
	}
	for (int i = 0; i < 50 && (r = arch->ops->span_recycle(arch->ctx,
				       scene.span)) == -EBUSY;
	     i++)
		busy++;
	linux_pool_check(arch);
	printf("recycled from a hammering holder after %d refusals\n", busy);
	if (r == -EBUSY) { /* it goes on until it is gone */
		ASSERT_EQ(kill(scene.holder.pid, SIGKILL), 0);
		r = recycle_until_done(arch, scene.span);
		ASSERT_TRUE(WIFSIGNALED(holder_end(&scene.holder)));
	} else {
		ASSERT_EQ(holder_end(&scene.holder), 0);
	}
	ASSERT_EQ(r, 0);
	linux_pool_check(arch);
	ASSERT_EQ(linux_pool_run(arch, 2), scene.pa);
	arch_linux_close(&scene.arch);
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
	struct scene scene = scene_begin(4, 2, dying_holder);

	ASSERT_TRUE(WIFSIGNALED(holder_end(&scene.holder)));
	scene_recycle(&scene);
	ASSERT_EQ(linux_pool_run(&scene.arch, 2), scene.pa);
	arch_linux_close(&scene.arch);
}
