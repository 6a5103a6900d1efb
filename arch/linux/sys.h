/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Every call that arch/linux makes into the kernel, in one table.
 *
 * Tests hand in a table of their own that makes the nth call fail.  Each
 * returns what the system call does, or -errno.
 */

#include <stddef.h>
#include <sys/types.h>

struct linux_sys {
	int (*open)(const char *path, int flags);
	int (*close)(int fd);
	ssize_t (*pread)(int fd, void *buf, size_t len, off_t off);
	ssize_t (*pwrite)(int fd, const void *buf, size_t len, off_t off);
	ssize_t (*read)(int fd, void *buf, size_t len);
	int (*memfd_create)(const char *name, unsigned flags);
	int (*ftruncate)(int fd, off_t size);
	int (*fallocate)(int fd, int mode, off_t off, off_t len);
	int (*fchmod)(int fd, mode_t mode);
	int (*add_seals)(int fd, int seals);
	int (*mmap)(void **vap, size_t len, int prot, int flags, int fd);
	int (*munmap)(void *va, size_t len);
	int (*madvise)(void *va, size_t len, int advice);
	int (*get_mempolicy)(int *nodep, void *va, unsigned long flags);
	int (*set_mempolicy)(int mode, const unsigned long *mask,
	    unsigned long maxnode);
	int (*ring_setup)(unsigned entries);
	int (*ring_register)(int fd, unsigned op, void *arg, unsigned n);
	void *(*calloc)(size_t n, size_t size);
};

extern const struct linux_sys linux_sys_real;
