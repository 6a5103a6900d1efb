/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/linux/linux_int.h"
#include "tests/arch/linux_pool.h"

struct arch
linux_pool_open_with(const struct arch_linux_config *config)
{
	struct arch arch;
	int r;

	if (geteuid() != 0)
		test_skip("needs root");
	r = arch_linux_open(config, &arch);
	if (r == -ENOSPC) {
		linux_make_room();
		r = arch_linux_open(config, &arch);
	}
	if (r == -ENOSPC || r == -ENOTSUP)
		test_skip("no huge pages: %s", strerror(-r));
	ASSERT_EQ(r, 0);
	return arch;
}

struct arch
linux_pool_open(size_t nframes)
{
	struct arch_linux_config config = {
	    .nframes = nframes,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	};

	return linux_pool_open_with(&config);
}

struct arch
linux_ballast_open(void)
{
	struct arch_linux_config config = {
	    .nframes = MAX(linux_free_hugepages(), 1),
	    .nframes_min = 1,
	    .node = -1,
	};

	return linux_pool_open_with(&config);
}

void
become_nobody(void)
{
	struct __user_cap_header_struct head = {
	    .version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];

	ASSERT_EQ(setgroups(0, NULL), 0);
	ASSERT_EQ(setresgid(65534, 65534, 65534), 0);
	ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
	ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ASSERT_EQ(syscall(SYS_capget, &head, caps), 0);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(caps[i].effective | caps[i].permitted |
			      caps[i].inheritable,
		    0u);
}

/* [pool.slot] Own files are those of frames that the standby holds. */
static void
check_own_files(const struct linux_pool *lp, size_t counted)
{
	size_t n = 0;

	for (uint32_t slot = 0; slot < lp->lp_inv.nslots; slot++) {
		if (lp->lp_own[slot].va == NULL)
			continue;
		ASSERT_EQ(lp->lp_inv.slots[slot].state, SLOT_HELD);
		n++;
	}
	ASSERT_EQ(n, counted);
}

void
linux_pool_check(const struct arch *arch)
{
	struct arch_linux_counts counts;
	struct arch_pool_info info;
	size_t n;

	arch_linux_counts(arch, &counts);
	arch->ops->pool_info(arch->ctx, &info);
	ASSERT_EQ(counts.standby + counts.spans + counts.limbo + counts.missing,
	    counts.total);
	ASSERT_EQ(info.nstandby, counts.standby);
	ASSERT_EQ(info.nmissing, counts.missing);
	ASSERT_EQ(arch->ops->pool_frames(arch->ctx, NULL, 0, &n), 0);
	ASSERT_EQ(n, counts.standby);
	check_own_files(arch->ctx, counts.own);
}

vm_paddr_t
linux_pool_run(const struct arch *arch, size_t nframes)
{
	static struct arch_frame frames[4096];
	size_t run = 0;
	size_t n;

	ASSERT_EQ(arch->ops->pool_frames(arch->ctx, frames, nitems(frames), &n),
	    0);
	for (size_t i = 0; i < MIN(n, nitems(frames)); i++) {
		if (i > 0 && frames[i].pa != frames[i - 1].pa + FRAME)
			run = 0;
		if (++run == nframes)
			return frames[i + 1 - nframes].pa;
	}
	test_skip("the kernel gave no %zu neighbours", nframes);
}

struct arch_span *
linux_pool_span(const struct arch *arch, vm_paddr_t pa, size_t nframes)
{
	struct arch_span *span = NULL;

	ASSERT_EQ(arch->ops->span_assemble(arch->ctx, pa, nframes, &span), 0);
	ASSERT_NOT_NULL(span);
	return span;
}

int
recycle_for(const struct arch *arch, struct arch_span *span, int tries)
{
	int r;

	for (;;) {
		r = arch->ops->span_recycle(arch->ctx, span);
		if (r != -EBUSY || --tries <= 0)
			return r;
		usleep(10000); /* only how often, not whether */
	}
}

int
recycle_until_done(const struct arch *arch, struct arch_span *span)
{
	return recycle_for(arch, span, 1000);
}

unsigned char *
linux_map_fd(int fd, size_t nframes)
{
	void *p = mmap(NULL, nframes * FRAME, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);

	ASSERT_TRUE(p != MAP_FAILED);
	return p;
}

static sigjmp_buf touch_jump;

static void
touch_caught(int signo)
{
	siglongjmp(touch_jump, signo);
}

int
touch_signal(volatile unsigned char *p, bool write)
{
	struct sigaction action = {.sa_handler = touch_caught};
	struct sigaction bus;
	struct sigaction segv;
	int signo;

	sigaction(SIGBUS, &action, &bus);
	sigaction(SIGSEGV, &action, &segv);
	signo = sigsetjmp(touch_jump, 1);
	if (signo == 0) {
		if (write)
			*p = 1;
		else
			(void)*p;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return signo;
}

static size_t
hugepages(const char *what)
{
	char path[96];
	FILE *file;
	size_t n = 0;

	(void)snprintf(path, sizeof(path),
	    "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", what);
	file = fopen(path, "r");
	ASSERT_NOT_NULL(file);
	ASSERT_EQ(fscanf(file, "%zu", &n), 1);
	fclose(file);
	return n;
}

size_t
linux_free_hugepages(void)
{
	return hugepages("free_hugepages");
}

size_t
linux_nr_hugepages(void)
{
	return hugepages("nr_hugepages");
}

static void
write_one(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		return; /* then the kernel stays as it is */
	(void)fputs(text, file);
	(void)fclose(file);
}

void
linux_make_room(void)
{
	write_one("/proc/sys/vm/drop_caches", "3");
	write_one("/proc/sys/vm/compact_memory", "1");
}
