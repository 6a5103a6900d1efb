/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Runs programs through a target without any engine: files, folders, in the
 * binary form or, with the suffix .hfp, as text.
 *
 *	replay_TARGET [-v] [-x] [-r] [-m SITES] PATH...
 *
 * Each program runs twice, and has to answer the same: -v prints a line a
 * file, -x expects a finding in every file (to test the oracles themselves),
 * -r that all of them together reach every rare state the target requires.
 * -m runs nothing twice, but mutants of the program itself (mutate.h).
 * Exit: 0 as expected, 1 not, 2 usage.
 */

#include "fuzz/file.h"
#include "fuzz/mutate.h"
#include "fuzz/target.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct replay {
	bool verbose, expect, reach;
	unsigned nfiles, nbad;
	uint64_t nops, nchecks, hash, seen;
	const char *sites; /* NULL: no mutants */
	struct mutate_program *kept;
	size_t nkept;
};

/* A program for later. */
static void
keep(struct replay *r, struct hf_buf *program)
{
	r->kept = realloc(r->kept, (r->nkept + 1) * sizeof(*r->kept));
	if (r->kept == NULL)
		abort();
	r->kept[r->nkept++] =
	    (struct mutate_program){(const uint8_t *)program->p, program->len};
}

static void
replay_file(struct replay *r, const char *path)
{
	struct fuzz_report first, second;
	struct hf_buf program = {0};

	r->nfiles++;
	if (!fuzz_read_program(path, &program)) {
		r->nbad++;
		hf_buf_free(&program);
		return;
	}
	if (r->sites != NULL) {
		keep(r, &program);
		return;
	}
	fuzz_run_watched((const uint8_t *)program.p, program.len, NULL, &first);
	fuzz_run_watched((const uint8_t *)program.p, program.len, NULL,
	    &second);
	(void)fuzz_same_answers(&first, &second);
	if (first.found && !r->expect)
		fuzz_print(&first, (const uint8_t *)program.p, program.len);
	if (first.found != r->expect) {
		r->nbad++;
		fprintf(stderr, "%s: %s\n", path,
		    first.found ? "a finding" : "no finding");
	}
	if (r->verbose)
		printf("%s: %" PRIu64 " operations, hash %016" PRIx64 "\n",
		    path, first.nops, first.hash);
	r->nops += first.nops;
	r->nchecks += first.nchecks;
	r->hash = r->hash * 31 + first.hash;
	r->seen |= first.seen;
	hf_buf_free(&program);
}

static int
skip_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Names in order, so that the hash of all means something. */
static void
replay_path(struct replay *r, const char *path)
{
	struct dirent **names;
	struct stat st = {0}; /* MemorySanitizer does not know stat() */
	char sub[4096];
	int n;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		replay_file(r, path);
		return;
	}
	n = scandir(path, &names, skip_hidden, alphasort);
	if (n < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		r->nbad++;
		return;
	}
	for (int i = 0; i < n; i++) {
		(void)snprintf(sub, sizeof(sub), "%s/%s", path,
		    names[i]->d_name);
		replay_path(r, sub);
		free(names[i]);
	}
	free(names);
}

int
main(int argc, char **argv)
{
	struct replay r = {0};
	unsigned missed;
	int c;

	while ((c = getopt(argc, argv, "vxrm:")) != -1) {
		if (c == 'v')
			r.verbose = true;
		else if (c == 'x')
			r.expect = true;
		else if (c == 'r')
			r.reach = true;
		else if (c == 'm')
			r.sites = optarg;
		else
			return 2;
	}
	if (optind == argc) {
		fprintf(stderr, "usage: %s [-v] [-x] [-r] [-m SITES] PATH...\n",
		    argv[0]);
		return 2;
	}
	for (int i = optind; i < argc; i++)
		replay_path(&r, argv[i]);
	if (r.sites != NULL)
		return mutate_all(r.sites, r.kept, r.nkept) == 0 ? 0 : 1;
	printf("%s: %u files, %u bad, %" PRIu64 " operations, %" PRIu64
	       " comparisons, hash %016" PRIx64 "\n",
	    fuzz_target.name, r.nfiles, r.nbad, r.nops, r.nchecks, r.hash);
	missed = fuzz_print_missed(r.seen);
	return r.nbad == 0 && (missed == 0 || !r.reach) ? 0 : 1;
}
