/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a span costs: assembling, pinning, zeroing, recycling, beside the
 * kernel's own fallocate of as many frames, on one thread and on two.
 *
 *	bench_span [--quick]		as root, with 600 free huge pages
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch/linux/linux.h"
#include "bench/bench.h"

#define FRAME  (2ul << 20)
#define POOL   256
#define NSIZES 3

static const size_t sizes[NSIZES] = {1, 32, 128};

enum what {
	W_PLAIN,    /* memfd, fallocate, close */
	W_ASSEMBLE, /* span_assemble */
	W_PIN,      /* one more pin of the same frames */
	W_UNPIN,
	W_VERIFY,  /* span_verify */
	W_ZERO,    /* span_zero */
	W_RECYCLE, /* span_recycle */
	W_PLAIN2,  /* plain, half on each of two threads */
	W_ASSEMBLE2,
	W_RECYCLE2,
	W_MAX,
};

static const char *const names[W_MAX] = {
    "fallocate",
    "assemble",
    "pin",
    "unpin",
    "verify",
    "zero",
    "recycle",
    "fallocate, 2 threads",
    "assemble, 2 threads",
    "recycle, 2 threads",
};

static struct bench_samples samples[NSIZES][W_MAX];
static struct arch arch;
static int ring = -1;

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_span: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
plain(size_t nframes)
{
	int fd = memfd_create("bench", MFD_HUGETLB | MFD_HUGE_2MB);

	must(fd >= 0, "memfd_create");
	must(fallocate(fd, 0, 0, (off_t)(nframes * FRAME)) == 0, "fallocate");
	close(fd);
}

static struct arch_span *
assemble(vm_paddr_t pa, size_t nframes)
{
	struct arch_span *span;
	int r = -EAGAIN;

	/* Another process may be in the way, which is no figure of ours. */
	for (int i = 0; i < 10 && r == -EAGAIN; i++)
		r = arch.ops->span_assemble(arch.ctx, pa, nframes, &span);
	errno = -r;
	must(r == 0, "span_assemble");
	return span;
}

static void
recycle(struct arch_span *span)
{
	int r = arch.ops->span_recycle(arch.ctx, span);

	errno = -r;
	must(r == 0, "span_recycle");
}

static void
ring_open(void)
{
	struct io_uring_params params = {0};
	struct io_uring_rsrc_register table = {
	    .nr = 1,
	    .flags = IORING_RSRC_REGISTER_SPARSE,
	};

	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	must(ring >= 0 &&
		 syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS2,
		     &table, sizeof(table)) == 0,
	    "io_uring");
}

static void
ring_set(void *va, size_t len)
{
	struct iovec iov = {va, len};
	struct io_uring_rsrc_update2 update = {
	    .data = (uintptr_t)&iov,
	    .nr = 1,
	};

	must(syscall(SYS_io_uring_register, ring,
		 IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update)) == 1,
	    "pin");
}

/* Add the time since *tp to the samples and start anew. */
static void
lap(size_t size, enum what what, double *tp)
{
	double now = bench_now_ns();

	bench_add(&samples[size][what], now - *tp);
	*tp = bench_now_ns();
}

static void
round_one(size_t size, vm_paddr_t pa)
{
	size_t n = sizes[size];
	struct arch_span_info info;
	struct arch_span *span;
	size_t nbad;
	void *va;
	double t = bench_now_ns();

	plain(n);
	lap(size, W_PLAIN, &t);
	span = assemble(pa, n);
	lap(size, W_ASSEMBLE, &t);
	arch.ops->span_info(arch.ctx, span, &info);
	va = mmap(NULL, n * FRAME, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, info.fd, 0);
	must(va != MAP_FAILED, "mmap");
	madvise(va, n * FRAME, MADV_POPULATE_WRITE);
	t = bench_now_ns();
	ring_set(va, n * FRAME);
	lap(size, W_PIN, &t);
	ring_set(NULL, 0);
	lap(size, W_UNPIN, &t);
	must(arch.ops->span_verify(arch.ctx, span, &nbad) == 0 && nbad == 0,
	    "span_verify");
	lap(size, W_VERIFY, &t);
	must(arch.ops->span_zero(arch.ctx, span, 0, n * FRAME) == 0,
	    "span_zero");
	lap(size, W_ZERO, &t);
	munmap(va, n * FRAME);
	t = bench_now_ns();
	recycle(span);
	lap(size, W_RECYCLE, &t);
}

struct half {
	enum what what;
	size_t nframes;
	vm_paddr_t pa;
	struct arch_span *span;
};

static void *
half_run(void *arg)
{
	struct half *half = arg;

	if (half->what == W_PLAIN2)
		plain(half->nframes);
	else if (half->what == W_ASSEMBLE2)
		half->span = assemble(half->pa, half->nframes);
	else
		recycle(half->span);
	return NULL;
}

static void
both(struct half *halves, enum what what)
{
	pthread_t thread;

	halves[0].what = halves[1].what = what;
	must(pthread_create(&thread, NULL, half_run, &halves[1]) == 0,
	    "pthread_create");
	half_run(&halves[0]);
	pthread_join(thread, NULL);
}

static void
round_two(size_t size, vm_paddr_t pa)
{
	size_t n = sizes[size] / 2;
	struct half halves[2] = {
	    {.nframes = n, .pa = pa},
	    {.nframes = n, .pa = pa + n * FRAME},
	};
	double t = bench_now_ns();

	both(halves, W_PLAIN2);
	lap(size, W_PLAIN2, &t);
	both(halves, W_ASSEMBLE2);
	lap(size, W_ASSEMBLE2, &t);
	both(halves, W_RECYCLE2);
	lap(size, W_RECYCLE2, &t);
}

static vm_paddr_t
find_run(size_t nframes)
{
	static struct arch_frame frames[POOL];
	size_t run = 0;
	size_t n;

	must(arch.ops->pool_frames(arch.ctx, frames, POOL, &n) == 0, "frames");
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && frames[i].pa != frames[i - 1].pa + FRAME)
			run = 0;
		if (++run == nframes)
			return frames[i + 1 - nframes].pa;
	}
	fprintf(stderr, "skipped: no %zu neighbours\n", nframes);
	exit(77);
}

static void
print(size_t size)
{
	double plain_ns = bench_quantile(&samples[size][W_PLAIN], 0.5);
	double plain2_ns = bench_quantile(&samples[size][W_PLAIN2], 0.5);

	for (enum what what = 0; what < W_MAX; what++) {
		struct bench_samples *s = &samples[size][what];
		char name[64];

		if (s->n == 0)
			continue;
		snprintf(name, sizeof(name), "%zu MiB %s", sizes[size] * 2,
		    names[what]);
		bench_print(name, s, what < W_PLAIN2 ? plain_ns : plain2_ns,
		    what < W_PLAIN2 ? "fallocate" : "fallocate, 2 threads");
		printf("%*s%.1f us a frame, %.1f GB/s\n", 8, "",
		    bench_quantile(s, 0.5) / 1e3 / (double)sizes[size],
		    (double)(sizes[size] * FRAME) / bench_quantile(s, 0.5));
	}
}

int
main(int argc, char **argv)
{
	struct arch_linux_config config = {
	    .nframes = POOL,
	    .node = -1,
	    .may_raise = true,
	    .prefer_runs = true,
	};
	bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	int r = arch_linux_open(&config, &arch);
	vm_paddr_t pa;

	if (r < 0) {
		printf("skipped: no pool: %s\n", strerror(-r));
		return 77;
	}
	ring_open();
	pa = find_run(sizes[NSIZES - 1]);
	for (int i = 0; i < (quick ? 2 : 15); i++)
		for (size_t size = 0; size < NSIZES; size++) {
			for (size_t k = 0; k < MAX(4 / sizes[size], 1); k++)
				round_one(size, pa);
			if (sizes[size] > 1)
				round_two(size, pa);
		}
	bench_print_header();
	for (size_t size = 0; size < NSIZES; size++) {
		print(size);
		for (enum what what = 0; what < W_MAX; what++)
			bench_fini(&samples[size][what]);
	}
	close(ring);
	arch_linux_close(&arch);
	return 0;
}
