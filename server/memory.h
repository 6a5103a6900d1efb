/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Memory of the server's own, which runs out when a test says so.
 *
 * As malloc(3) and its family; free(3) takes it back.  What libevent
 * allocates is not asked for here: event_set_mem_functions().
 */

#include <stdbool.h>
#include <stdlib.h>

/*
 * NULL, or asked before each allocation: true makes it fail.  Set while no
 * server runs; called on its loop's thread.
 */
extern bool (*memory_fails)(void);

static inline bool
memory_may_fail(void)
{
	return memory_fails != NULL && memory_fails();
}

static inline void *
memory_alloc(size_t size)
{
	return memory_may_fail() ? NULL : malloc(size);
}

static inline void *
memory_calloc(size_t n, size_t size)
{
	return memory_may_fail() ? NULL : calloc(n, size);
}

static inline void *
memory_realloc(void *p, size_t n, size_t size)
{
	return memory_may_fail() ? NULL : reallocarray(p, n, size);
}
