/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A table of system calls of which the nth fails, or every one of a kind.
 */

#include <stdbool.h>

#include "arch/linux/sys.h"

enum faulty_kind {
	FAULTY_OPEN,
	FAULTY_PREAD,
	FAULTY_PWRITE,
	FAULTY_READ,
	FAULTY_MEMFD,
	FAULTY_FTRUNCATE,
	FAULTY_FALLOCATE,
	FAULTY_FCHMOD,
	FAULTY_SEALS,
	FAULTY_MMAP,
	FAULTY_MADVISE,
	FAULTY_RING_SETUP,
	FAULTY_RING_REGISTER,
	FAULTY_CALLOC,
	FAULTY_KINDS,
};

extern const struct linux_sys faulty_sys;
extern const char *const faulty_names[FAULTY_KINDS];

/* The nth call from now of `kind` (FAULTY_KINDS: of any) fails with `error`;
 * 0: none does.  Returns nothing; faulty_fired() tells whether it came to it.
 */
void faulty_nth(enum faulty_kind kind, unsigned nth, int error);
/* Every call of `kind` fails with `error` until faulty_none(). */
void faulty_all(enum faulty_kind kind, int error);
void faulty_none(void);
bool faulty_fired(void);
/* The name of the call that failed last. */
const char *faulty_what(void);
