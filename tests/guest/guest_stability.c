/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What moves and what does not, on a machine with two NUMA nodes.
 *
 * The same attacks on two mappings of 16 huge pages each: a plain one that is
 * populated and mlock()ed, and a span of holdfast's.  The first moves, which
 * shows that the attack is one; the second must not.  Each attack prints how
 * many frames are elsewhere afterwards.
 *
 * Runs as root inside the guest; 77 where it has no second node.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/linux/linux.h"

#define FRAME              (UINT64_C(2) << 20)
#define NFRAMES            16u
#define MPOL_MF_MOVE_ALL   4
#define MADV_SOFT_OFFLINE_ 101
#define NODES              2

struct target {
	const char *name;
	char *va;
	uint64_t pa[NFRAMES];
};

static int pagemap;

static uint64_t
pa_of(const char *va)
{
	uint64_t word;

	if (pread(pagemap, &word, 8, (off_t)((uintptr_t)va / 4096 * 8)) != 8)
		err(1, "pagemap");
	return (word & ((UINT64_C(1) << 55) - 1)) * 4096;
}

static void
note(struct target *target)
{
	for (unsigned i = 0; i < NFRAMES; i++)
		target->pa[i] = pa_of(target->va + i * FRAME);
}

static unsigned
moved(const struct target *target)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NFRAMES; i++)
		n += pa_of(target->va + i * FRAME) != target->pa[i];
	return n;
}

static void
set_pages(int node, unsigned n)
{
	char path[128], text[16];
	int fd;

	(void)snprintf(path, sizeof(path),
	    "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/"
	    "nr_hugepages",
	    node);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		printf("skipped: no node %d\n", node);
		exit(77);
	}
	(void)snprintf(text, sizeof(text), "%u", n);
	if (write(fd, text, strlen(text)) < 0)
		err(1, "%s", path);
	(void)close(fd);
}

/* Every frame to the other node, and back. */
static void
attack_move_pages(struct target *target)
{
	void *pages[NFRAMES];
	int nodes[NFRAMES], status[NFRAMES];

	for (int node = 0; node < NODES; node++) {
		for (unsigned i = 0; i < NFRAMES; i++) {
			pages[i] = target->va + i * FRAME;
			nodes[i] = node;
		}
		(void)syscall(SYS_move_pages, 0, (unsigned long)NFRAMES, pages,
		    nodes, status, MPOL_MF_MOVE_ALL);
		if (moved(target) != 0)
			return;
	}
}

static void
attack_migrate_pages(struct target *target)
{
	for (unsigned long from = 0; from < NODES; from++) {
		unsigned long old = 1ul << from, to = 1ul << (1 - from);

		(void)syscall(SYS_migrate_pages, 0, 64ul, &old, &to);
		if (moved(target) != 0)
			return;
	}
}

static void
attack_soft_offline(struct target *target)
{
	(void)madvise(target->va, 4096, MADV_SOFT_OFFLINE_);
	(void)madvise(target->va + FRAME, 4096, MADV_SOFT_OFFLINE_);
}

/* Ask the kernel to empty the memory block that holds the first frame. */
static void
attack_memory_offline(struct target *target)
{
	char path[128], text[32] = "";
	unsigned long long block = 0;
	int fd;

	fd = open("/sys/devices/system/memory/block_size_bytes", O_RDONLY);
	if (fd >= 0) {
		(void)!read(fd, text, sizeof(text) - 1);
		block = strtoull(text, NULL, 16);
		(void)close(fd);
	}
	if (block == 0)
		return;
	(void)snprintf(path, sizeof(path),
	    "/sys/devices/system/memory/memory%llu/state",
	    (unsigned long long)target->pa[0] / block);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return;
	if (write(fd, "offline", 7) < 0)
		printf("  (offline of that block: %s)\n", strerror(errno));
	else
		(void)!write(fd, "online", 6);
	(void)close(fd);
}

static const struct attack {
	const char *name;
	void (*run)(struct target *target);
	bool must_move_plain; /* false: the kernel may refuse that one, too */
} attacks[] = {
    {"move_pages", attack_move_pages, true},
    {"migrate_pages", attack_migrate_pages, true},
    {"soft-offline", attack_soft_offline, true},
    {"memory offline", attack_memory_offline, false},
};

static char *
map(int fd)
{
	void *va = mmap(NULL, NFRAMES * FRAME, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_POPULATE, fd, 0);

	if (va == MAP_FAILED)
		err(1, "mmap");
	return va;
}

static void
plain_open(struct target *target)
{
	int fd =
	    memfd_create("plain", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);

	if (fd < 0 || fallocate(fd, 0, 0, (off_t)(NFRAMES * FRAME)) < 0)
		err(1, "a plain huge page file");
	target->name = "plain, mlocked";
	target->va = map(fd);
	(void)close(fd);
	if (mlock(target->va, NFRAMES * FRAME) < 0)
		err(1, "mlock");
}

int
main(void)
{
	struct arch_linux_config config = {.frame_size = FRAME,
	    .nframes = 40,
	    .node = -1};
	struct target plain = {0}, span = {.name = "holdfast's span"};
	struct arch_span_info info;
	struct arch_frame frames[64];
	struct arch_span *s = NULL;
	struct arch arch;
	size_t n, bad;
	int failed = 0, r;

	set_pages(0, 60);
	set_pages(1, 60);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		err(1, "pagemap");
	r = arch_linux_open(&config, &arch);
	if (r < 0)
		errx(1, "arch_linux_open: %s", strerror(-r));
	r = arch.ops->pool_frames(arch.ctx, frames, 64, &n);
	if (r < 0)
		errx(1, "pool_frames: %s", strerror(-r));
	for (size_t i = 0; s == NULL && i + NFRAMES <= n; i++)
		if (frames[i + NFRAMES - 1].pa - frames[i].pa ==
		    (NFRAMES - 1) * FRAME)
			(void)arch.ops->span_assemble(arch.ctx, frames[i].pa,
			    NFRAMES, &s);
	if (s == NULL)
		errx(1, "no span of %u frames among %zu", NFRAMES, n);
	arch.ops->span_info(arch.ctx, s, &info);
	printf("span pin: %s\n",
	    info.pin == ARCH_PIN_LONGTERM ? "longterm" : "none");
	span.va = map(info.fd);
	for (size_t i = 0; i < nitems(attacks); i++) {
		unsigned a, b;

		plain_open(&plain);
		note(&plain);
		note(&span);
		attacks[i].run(&plain);
		a = moved(&plain);
		attacks[i].run(&span);
		b = moved(&span);
		printf("%-15s moved %2u of %u plain mlocked frames, %u of "
		       "holdfast's\n",
		    attacks[i].name, a, NFRAMES, b);
		if (b != 0 || (attacks[i].must_move_plain && a == 0))
			failed = 1;
		(void)munmap(plain.va, NFRAMES * FRAME);
	}
	r = arch.ops->span_verify(arch.ctx, s, &bad);
	printf("verify: %s, %zu frames elsewhere\n", r == 0 ? "ok" : "failed",
	    bad);
	(void)munmap(span.va, NFRAMES * FRAME);
	failed |= r != 0 || bad != 0;
	/* Linux 6.1 lets go of a pin from a work queue: limbo until then. */
	for (int i = 0; i < 100; i++) {
		struct timespec pause = {.tv_nsec = 100000000};

		r = arch.ops->span_recycle(arch.ctx, s);
		if (r != -EBUSY)
			break;
		(void)nanosleep(&pause, NULL);
	}
	printf("recycle: %s\n", r == 0 ? "ok" : strerror(-r));
	failed |= r != 0;
	arch_linux_close(&arch);
	return failed;
}
