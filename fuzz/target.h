/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What every fuzz target is: a function over bytes that answers with a report.
 *
 * A target source defines `fuzz_target`; it is linked with one front end: an
 * engine (entry.c), the replayer, the generator, the reducer.  Runs are
 * independent and deterministic: no clock, no randomness, nothing kept.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUZZ_OPS_MAX 256 /* operations of one program that are carried out */

struct fuzz_report {
	bool found;       /* an oracle spoke */
	char oracle[24];  /* "code", "out", "state", "check", "leak" ... */
	char op[24];      /* the operation at which it spoke */
	unsigned at;      /* its number, from 1 */
	char text[600];   /* what it said */
	uint64_t nops;    /* operations carried out */
	uint64_t nchecks; /* full comparisons */
	uint64_t hash;    /* of everything that operations answered */
	uint64_t seen;    /* one bit a rare state that was reached */
};

struct fuzz_target {
	const char *name;
	uint64_t ops; /* operations that mean something to it; a bit each */
	void (*run)(const uint8_t *data, size_t size, struct fuzz_report *rep);
	/* Names of the bits of `seen`, ending in NULL; may be NULL. */
	const char *const *sometimes;
	/* Those of them that the corpus has to reach, and every campaign. */
	uint64_t required;
};

extern const struct fuzz_target fuzz_target;

/* Record a finding; the first one stands.  Always false, for `return`. */
bool fuzz_found(struct fuzz_report *rep, const char *oracle, const char *op,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Run the target on a program; when the process aborts meanwhile (an
 * assertion, a sanitizer), print the program and keep it in `folder` (NULL:
 * do not).  For front ends that no engine watches.
 */
void fuzz_run_watched(const uint8_t *data, size_t size, const char *folder,
    struct fuzz_report *rep);

/*
 * Run one program in 32 again, chosen by its bytes so that every engine sees
 * the same; another answer than in `rep` is a finding there.
 */
void fuzz_run_again(const uint8_t *data, size_t size, struct fuzz_report *rep);

/* The second run of a program has to answer as the first. */
bool fuzz_same_answers(struct fuzz_report *first,
    const struct fuzz_report *second);

/*
 * Add a run to the file of 32 bytes that $HOLDFAST_FUZZ_COUNT names: programs,
 * operations, comparisons, and all rare states that were seen.  Whoever leads
 * a campaign looks there, whatever the engine is.
 */
void fuzz_count(const struct fuzz_report *rep);

/* Write a program to FOLDER/PREFIX-HASH. */
void fuzz_save(const char *folder, const char *prefix, const uint8_t *data,
    size_t size);

/* Mix a number into the report's hash. */
void fuzz_hash(struct fuzz_report *rep, uint64_t v);

/* Print the required rare states that were not seen; how many. */
unsigned fuzz_print_missed(uint64_t seen);

/* Print a finding: signature, text, and the program that led to it. */
void fuzz_print(const struct fuzz_report *rep, const uint8_t *data,
    size_t size);
