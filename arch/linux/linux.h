/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Real huge pages: the one header of arch/linux.
 *
 * arch_linux_open() is called once, as root, in the process that will use the
 * pool (after any fork that makes a daemon: the pagemap is that of the process
 * that opened it).  From then on no call needs privilege: the process may
 * change to any uid and drop every capability.  The pool starts threads of its
 * own at the first span of several frames, not before.  Design:
 * docs/design/pool.md.
 */

#include "arch/arch.h"

struct linux_sys;

enum arch_linux_pin_want {
	ARCH_LINUX_PIN_PREFER,  /* pin when it works, say so when it does not */
	ARCH_LINUX_PIN_REQUIRE, /* refuse to open, or to assemble, without */
	ARCH_LINUX_PIN_NEVER,   /* tests, and hosts that forbid io_uring */
};

#define ARCH_LINUX_NO_HELPERS UINT32_MAX

struct arch_linux_config {
	vm_size_t frame_size;   /* bytes; 0: 2 MiB */
	size_t nframes;         /* frames the pool shall have, > 0 */
	size_t nframes_min;     /* fewer than these is an error; 0: nframes */
	size_t nframes_max;     /* it may grow to this later; 0: nframes */
	size_t nbig;            /* gigantic pages (1 GiB) it shall have too */
	size_t nbig_max;        /* it may have later; 0: nbig */
	int node;               /* NUMA node, or -1: any */
	bool may_raise;         /* may raise nr_hugepages; close puts it back */
	bool prefer_runs;       /* with may_raise: ask for gigantic pages and
				 * take them apart, which gives long runs */
	unsigned spare_percent; /* take so many more at first, keep the best
				 * runs, give the rest back */
	enum arch_linux_pin_want pin;
	unsigned helpers; /* threads that help with spans of several frames;
			   * 0: one less than processors, up to 3 */
	bool without_addresses; /* open even if the kernel hides addresses */
	const struct linux_sys *sys; /* NULL: the real calls; tests wrap them */
};

/*
 * Where every frame of the pool is.  standby + spans + limbo + missing ==
 * total at any moment that no call is under way.
 */
struct arch_linux_counts {
	size_t total;   /* frames the pool should have */
	size_t standby; /* owned by nobody */
	size_t spans;   /* in spans that somebody holds */
	size_t limbo;   /* revoked, withheld by the kernel */
	size_t missing; /* taken by another process, to be replaced */
	size_t own;     /* of `standby`: in files of their own */
};

/*
 * Take frames from the kernel and fill in `archp`.
 *
 * -ENOTSUP: no huge pages of that size.  -ENOSPC: fewer than nframes_min are
 * free and nr_hugepages may not be raised, or did not rise.  -EPERM: physical
 * addresses are hidden (open it with CAP_SYS_ADMIN) and without_addresses is
 * false; or the pin is required and not to be had.  -EINVAL: the
 * configuration.  Others as they come; nothing is held then.
 */
int arch_linux_open(const struct arch_linux_config *config, struct arch *archp);

/*
 * Give every frame back to the kernel, close every descriptor, and put
 * nr_hugepages back if it was raised.  Spans that still exist lose their fd;
 * who mapped them keeps the frames until he unmaps.  No call may be under way.
 */
void arch_linux_close(struct arch *archp);

/*
 * By how much nr_hugepages is above what it was, for each size; below 0:
 * gigantic pages that were there have been taken apart.  Any thread.  false: it
 * is being changed just now.
 */
struct arch_linux_raised {
	long long frames;
	long long big;
};
bool arch_linux_raised(const struct arch *arch,
    struct arch_linux_raised *raisedp);
/*
 * The same one by one: nodes[1 + n] is NUMA node n, nodes[0] what was changed
 * of the host as a whole, as is done where one node has memory.
 */
#define ARCH_LINUX_NODES 64
bool arch_linux_raised_nodes(const struct arch *arch,
    struct arch_linux_raised nodes[1 + ARCH_LINUX_NODES]);

/* Big frames are not counted.  Never fails.  Any thread. */
void arch_linux_counts(const struct arch *arch,
    struct arch_linux_counts *countsp);
