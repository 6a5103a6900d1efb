/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Assertions for programmer errors.  A leaf header.
 *
 * VM_INVARIANTS: 0 off (the condition is still compiled), 1 cheap, 2 also
 * runs the full checker after each edit.  What a client sent is refused,
 * never asserted.
 *
 * KASSERT_OFF looks at the conditions and asks nothing of them: for builds
 * that measure coverage, where a failing side would never run.
 */

#ifndef VM_INVARIANTS
#define VM_INVARIANTS 1
#endif

/* Report and abort.  Defined in core/kassert.c; tests may look for the text. */
_Noreturn void kassert_panic(const char *file, int line, const char *text);

#if VM_INVARIANTS > 0 && !defined(KASSERT_OFF)
#define KASSERT(cond, text)                                                    \
	do {                                                                   \
		if (__builtin_expect(!(cond), 0))                              \
			kassert_panic(__FILE__, __LINE__, text);               \
	} while (0)
#elif defined(KASSERT_OFF)
#define KASSERT(cond, text) ((void)(cond))
#else
#define KASSERT(cond, text)                                                    \
	do {                                                                   \
		(void)sizeof((cond) ? 1 : 0);                                  \
	} while (0)
#endif

#define MPASS(cond) KASSERT(cond, "assertion " #cond " failed")
