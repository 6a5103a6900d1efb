/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdbool.h>
#include <stdlib.h>

#include "tests/arch/linux_faulty.h"

const char *const faulty_names[FAULTY_KINDS] = {
    "open",
    "pread",
    "pwrite",
    "read",
    "memfd_create",
    "ftruncate",
    "fallocate",
    "fchmod",
    "add_seals",
    "mmap",
    "madvise",
    "ring_setup",
    "ring_register",
    "calloc",
};

static enum faulty_kind faulty_only;
static unsigned faulty_left;
static bool faulty_every;
static bool faulty_did;
static int faulty_error;
static enum faulty_kind faulty_last;

void
faulty_nth(enum faulty_kind kind, unsigned nth, int error)
{
	faulty_only = kind;
	faulty_left = nth;
	faulty_error = error;
	faulty_every = false;
	faulty_did = false;
}

void
faulty_all(enum faulty_kind kind, int error)
{
	faulty_nth(kind, 1, error);
	faulty_every = true;
}

void
faulty_none(void)
{
	faulty_left = 0;
	faulty_every = false;
}

bool
faulty_fired(void)
{
	return faulty_did;
}

const char *
faulty_what(void)
{
	return faulty_names[faulty_last];
}

/* 0, or the -errno that this call has to return. */
static int
fault(enum faulty_kind kind)
{
	if (faulty_left == 0 ||
	    (faulty_only != FAULTY_KINDS && faulty_only != kind))
		return 0;
	if (!faulty_every && --faulty_left > 0)
		return 0;
	faulty_did = true;
	faulty_last = kind;
	return -faulty_error;
}

#define FAULTY(kind, call)                                                     \
	int error_ = fault(kind);                                              \
	return error_ < 0 ? error_ : (call)

static int
faulty_open(const char *path, int flags)
{
	FAULTY(FAULTY_OPEN, linux_sys_real.open(path, flags));
}

static int
faulty_close(int fd)
{
	return linux_sys_real.close(fd);
}

static ssize_t
faulty_pread(int fd, void *buf, size_t len, off_t off)
{
	FAULTY(FAULTY_PREAD, linux_sys_real.pread(fd, buf, len, off));
}

static ssize_t
faulty_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	FAULTY(FAULTY_PWRITE, linux_sys_real.pwrite(fd, buf, len, off));
}

static ssize_t
faulty_read(int fd, void *buf, size_t len)
{
	FAULTY(FAULTY_READ, linux_sys_real.read(fd, buf, len));
}

static int
faulty_memfd_create(const char *name, unsigned flags)
{
	FAULTY(FAULTY_MEMFD, linux_sys_real.memfd_create(name, flags));
}

static int
faulty_ftruncate(int fd, off_t size)
{
	FAULTY(FAULTY_FTRUNCATE, linux_sys_real.ftruncate(fd, size));
}

static int
faulty_fallocate(int fd, int mode, off_t off, off_t len)
{
	FAULTY(FAULTY_FALLOCATE, linux_sys_real.fallocate(fd, mode, off, len));
}

static int
faulty_fchmod(int fd, mode_t mode)
{
	FAULTY(FAULTY_FCHMOD, linux_sys_real.fchmod(fd, mode));
}

static int
faulty_add_seals(int fd, int seals)
{
	FAULTY(FAULTY_SEALS, linux_sys_real.add_seals(fd, seals));
}

static int
faulty_mmap(void **vap, size_t len, int prot, int flags, int fd)
{
	FAULTY(FAULTY_MMAP, linux_sys_real.mmap(vap, len, prot, flags, fd));
}

static int
faulty_munmap(void *va, size_t len)
{
	return linux_sys_real.munmap(va, len);
}

static int
faulty_madvise(void *va, size_t len, int advice)
{
	FAULTY(FAULTY_MADVISE, linux_sys_real.madvise(va, len, advice));
}

static int
faulty_get_mempolicy(int *nodep, void *va, unsigned long flags)
{
	return linux_sys_real.get_mempolicy(nodep, va, flags);
}

static int
faulty_set_mempolicy(int mode, const unsigned long *mask, unsigned long maxnode)
{
	return linux_sys_real.set_mempolicy(mode, mask, maxnode);
}

static int
faulty_ring_setup(unsigned entries)
{
	FAULTY(FAULTY_RING_SETUP, linux_sys_real.ring_setup(entries));
}

static int
faulty_ring_register(int fd, unsigned op, void *arg, unsigned n)
{
	FAULTY(FAULTY_RING_REGISTER,
	    linux_sys_real.ring_register(fd, op, arg, n));
}

static void *
faulty_calloc(size_t n, size_t size)
{
	return fault(FAULTY_CALLOC) < 0 ? NULL : calloc(n, size);
}

const struct linux_sys faulty_sys = {
    .open = faulty_open,
    .close = faulty_close,
    .pread = faulty_pread,
    .pwrite = faulty_pwrite,
    .read = faulty_read,
    .memfd_create = faulty_memfd_create,
    .ftruncate = faulty_ftruncate,
    .fallocate = faulty_fallocate,
    .fchmod = faulty_fchmod,
    .add_seals = faulty_add_seals,
    .mmap = faulty_mmap,
    .munmap = faulty_munmap,
    .madvise = faulty_madvise,
    .get_mempolicy = faulty_get_mempolicy,
    .set_mempolicy = faulty_set_mempolicy,
    .ring_setup = faulty_ring_setup,
    .ring_register = faulty_ring_register,
    .calloc = faulty_calloc,
};
