/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/linux/sys.h"

static long
checked(long r)
{
	return r < 0 ? -errno : r;
}

static int
real_open(const char *path, int flags)
{
	return (int)checked(open(path, flags));
}

static int
real_close(int fd)
{
	return (int)checked(close(fd));
}

static ssize_t
real_pread(int fd, void *buf, size_t len, off_t off)
{
	return checked(pread(fd, buf, len, off));
}

static ssize_t
real_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	return checked(pwrite(fd, buf, len, off));
}

static ssize_t
real_read(int fd, void *buf, size_t len)
{
	/*
	 * Not read(2): the C library's is an interceptor under a sanitizer,
	 * and the buffer may be memory that has no shadow.
	 */
	return checked(syscall(SYS_read, fd, buf, len));
}

static int
real_memfd_create(const char *name, unsigned flags)
{
	return (int)checked(memfd_create(name, flags));
}

static int
real_ftruncate(int fd, off_t size)
{
	return (int)checked(ftruncate(fd, size));
}

static int
real_fallocate(int fd, int mode, off_t off, off_t len)
{
	return (int)checked(fallocate(fd, mode, off, len));
}

static int
real_fchmod(int fd, mode_t mode)
{
	return (int)checked(fchmod(fd, mode));
}

static int
real_add_seals(int fd, int seals)
{
	return (int)checked(fcntl(fd, F_ADD_SEALS, seals));
}

static int
real_mmap(void **vap, size_t len, int prot, int flags, int fd)
{
	void *va = mmap(NULL, len, prot, flags, fd, 0);

	if (va == MAP_FAILED)
		return -errno;
	*vap = va;
	return 0;
}

static int
real_munmap(void *va, size_t len)
{
	return (int)checked(munmap(va, len));
}

static int
real_madvise(void *va, size_t len, int advice)
{
	return (int)checked(madvise(va, len, advice));
}

static int
real_get_mempolicy(int *nodep, void *va, unsigned long flags)
{
	return (int)checked(
	    syscall(SYS_get_mempolicy, nodep, NULL, 0, va, flags));
}

static int
real_set_mempolicy(int mode, const unsigned long *mask, unsigned long maxnode)
{
	return (int)checked(syscall(SYS_set_mempolicy, mode, mask, maxnode));
}

static int
real_ring_setup(unsigned entries)
{
	struct io_uring_params params;

	memset(&params, 0, sizeof(params));
	return (int)checked(syscall(SYS_io_uring_setup, entries, &params));
}

static int
real_ring_register(int fd, unsigned op, void *arg, unsigned n)
{
	return (int)checked(syscall(SYS_io_uring_register, fd, op, arg, n));
}

const struct linux_sys linux_sys_real = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .read = real_read,
    .memfd_create = real_memfd_create,
    .ftruncate = real_ftruncate,
    .fallocate = real_fallocate,
    .fchmod = real_fchmod,
    .add_seals = real_add_seals,
    .mmap = real_mmap,
    .munmap = real_munmap,
    .madvise = real_madvise,
    .get_mempolicy = real_get_mempolicy,
    .set_mempolicy = real_set_mempolicy,
    .ring_setup = real_ring_setup,
    .ring_register = real_ring_register,
    .calloc = calloc,
};
