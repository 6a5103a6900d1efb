/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/target.h"

#include "fuzz/prog/prog.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool
fuzz_found(struct fuzz_report *rep, const char *oracle, const char *op,
    const char *format, ...)
{
	va_list args;

	if (rep->found)
		return false;
	rep->found = true;
	rep->at = (unsigned)rep->nops;
	(void)snprintf(rep->oracle, sizeof(rep->oracle), "%s", oracle);
	(void)snprintf(rep->op, sizeof(rep->op), "%s", op);
	va_start(args, format);
	(void)vsnprintf(rep->text, sizeof(rep->text), format, args);
	va_end(args);
	return false;
}

void
fuzz_hash(struct fuzz_report *rep, uint64_t v)
{
	rep->hash = (rep->hash ^ v) * UINT64_C(0x100000001b3);
	rep->hash ^= rep->hash >> 29;
}

void
fuzz_print(const struct fuzz_report *rep, const uint8_t *data, size_t size)
{
	struct hf_buf text = {0};

	hf_disassemble(data, size, &text);
	fprintf(stderr,
	    "FINDING %s: %s at %s (operation %u): %s\n"
	    "---- program ----\n%s-----------------\n",
	    fuzz_target.name, rep->oracle, rep->op, rep->at, rep->text, text.p);
	hf_buf_free(&text);
}
