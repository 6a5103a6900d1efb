/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/target.h"

#include "fuzz/prog/prog.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * What AddressSanitizer does per allocation would cost half the operations.
 * ASAN_OPTIONS=malloc_context_size=30:quarantine_size_mb=256 for a report
 * with all stacks: runs are deterministic, so it can be had afterwards.
 */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "malloc_context_size=0:max_malloc_fill_size=0:"
	       "quarantine_size_mb=1:thread_local_quarantine_size_kb=32";
}

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

unsigned
fuzz_print_missed(uint64_t seen)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 64; i++)
		if (((fuzz_target.required & ~seen) >> i & 1) != 0) {
			printf("%s: never seen: %s\n", fuzz_target.name,
			    fuzz_target.sometimes[i]);
			n++;
		}
	return n;
}

bool
fuzz_same_answers(struct fuzz_report *first, const struct fuzz_report *second)
{
	return first->hash == second->hash ||
	       fuzz_found(first, "determinism", "end",
		   "two runs answered differently");
}

#define AGAIN_BYTES 32 /* that say whether: the header, and two operations */

void
fuzz_run_again(const uint8_t *data, size_t size, struct fuzz_report *rep)
{
	static struct fuzz_report again;
	uint64_t hash = size;

	for (size_t i = 0; i < size && i < AGAIN_BYTES; i++)
		hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
	if (rep->found || (hash >> 32 & 31) != 0)
		return;
	fuzz_target.run(data, size, &again);
	(void)fuzz_same_answers(rep, &again);
}

/* ---- Counting -------------------------------------------------------------
 */

static struct {
	uint64_t programs, operations, comparisons, seen;
} * count; /* NULL: nobody wants to know */

/* Before an engine looks at what is done, so that every run is alike. */
static __attribute__((constructor)) void
open_count(void)
{
	const char *path = getenv("HOLDFAST_FUZZ_COUNT");
	int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0);
	(void)close(fd);
	if (p != MAP_FAILED)
		count = p;
}

void
fuzz_count(const struct fuzz_report *rep)
{
	if (count == NULL)
		return;
	count->programs++;
	count->operations += rep->nops;
	count->comparisons += rep->nchecks;
	count->seen |= rep->seen;
}

void
fuzz_save(const char *folder, const char *prefix, const uint8_t *data,
    size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	char path[4096];
	FILE *out;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
	(void)snprintf(path, sizeof(path), "%s/%s-%016" PRIx64, folder, prefix,
	    hash);
	out = fopen(path, "wb");
	if (out == NULL || fwrite(data, 1, size, out) != size)
		perror(path);
	else
		fprintf(stderr, "written to %s\n", path);
	if (out != NULL)
		(void)fclose(out); /* a failure showed above */
}

/* ---- Watching -------------------------------------------------------------
 */

static struct {
	const uint8_t *data; /* NULL: nothing runs */
	size_t size;
	const char *folder;
	struct fuzz_report *rep;
} watched;

/* The abort is the program's own, so this is not asynchronous to anything. */
static void
tell_program(void)
{
	const uint8_t *data = watched.data;

	if (data == NULL)
		return;
	watched.data = NULL;
	(void)fuzz_found(watched.rep, "abort", "unknown",
	    "the process aborted");
	fuzz_print(watched.rep, data, watched.size);
	if (watched.folder != NULL)
		fuzz_save(watched.folder, "abort", data, watched.size);
}

static void
on_abort(int sig)
{
	tell_program();
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

/* Sanitizers call this back; plain builds have no such thing. */
void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));

void
fuzz_run_watched(const uint8_t *data, size_t size, const char *folder,
    struct fuzz_report *rep)
{
	static bool ready;

	if (!ready) {
		ready = true;
		(void)signal(SIGABRT, on_abort);
		if (__sanitizer_set_death_callback != NULL)
			__sanitizer_set_death_callback(tell_program);
	}
	watched.folder = folder;
	watched.rep = rep;
	watched.size = size;
	watched.data = data;
	fuzz_target.run(data, size, rep);
	watched.data = NULL;
}
