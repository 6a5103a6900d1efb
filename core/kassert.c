/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>

#include "core/kassert.h"

_Noreturn void
kassert_panic(const char *file, int line, const char *text)
{
	fprintf(stderr, "panic: %s:%d: %s\n", file, line, text);
	fflush(stderr);
	abort();
}
