/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the verbs of `holdfast` share: options, connection, output, exit codes.
 */

#include <getopt.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/libholdfast/holdfast.h"

/* Exit codes, which --help promises. */
enum {
	CLI_OK = 0,
	CLI_REFUSED = 1,       /* by the daemon, or not possible here */
	CLI_USAGE = 2,         /* the command line makes no sense */
	CLI_NO_CONNECTION = 3, /* no daemon, or it went away */
};

struct cli {
	const char *socket; /* NULL: the library's choice */
	bool json;
};

struct cli_verb {
	const char *name;
	const char *brief; /* for the list of verbs */
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *help; /* what --help prints */
};

extern const struct cli_verb cli_status, cli_alloc, cli_pool, cli_map,
    cli_verify, cli_release;

/* Options every verb takes; a verb's own begin at 'A'. */
#define CLI_COMMON_OPTIONS                                                     \
	{"help", no_argument, NULL, 'h'}, {"json", no_argument, NULL, 'j'},    \
	    {"socket", required_argument, NULL, 's'},                          \
	{                                                                      \
		NULL, 0, NULL, 0                                               \
	}

/*
 * getopt_long() that deals with the common options itself: --help prints and
 * exits 0, an unknown option exits 2.  CLI_ARGUMENT: optarg is an argument
 * that is no option.  -1: no more.
 */
#define CLI_ARGUMENT 1
int cli_getopt(struct cli *cli, const struct cli_verb *verb, int argc,
    char **argv, const struct option *options);

/* Say what is wrong with the command line, point to --help, and exit 2. */
_Noreturn void cli_usage(const struct cli_verb *verb, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * A number with an optional suffix K, M, G, T (powers of 1024, KiB and KB too)
 * in decimal, 0x or octal.  false: it is none, or too large.
 */
bool cli_parse_size(const char *text, uint64_t *np);
/* The same, or cli_usage() with the name of the argument. */
uint64_t cli_size(const struct cli_verb *verb, const char *what,
    const char *text);
/* "rwx", "r-x", "none" to HF_PROT_*, or cli_usage(). */
uint32_t cli_prot(const struct cli_verb *verb, const char *what,
    const char *text);
/* HF_PROT_* as "rw-", in a static buffer of four that take turns. */
const char *cli_prot_text(uint32_t prot);

/* "64 MiB", "12 KiB", "3.5 GiB", in a static buffer of four. */
const char *cli_size_text(uint64_t bytes);
const char *cli_pin_text(enum holdfast_pin pin);

/* Connect, or say why not and exit. */
struct holdfast *cli_connect(const struct cli *cli);

/*
 * Say why a call failed (in JSON too, where asked) and return the exit code.
 * `what` completes "cannot ...".
 */
int cli_failed(const struct cli *cli, const struct holdfast *h, int rv,
    const char *what);

/* Print and free. */
void cli_print_json(json_object *object);
json_object *cli_u64(uint64_t n);
/* Set fields, by chains of calls that read like the object. */
void cli_set_u64(json_object *to, const char *key, uint64_t n);
void cli_set_text(json_object *to, const char *key, const char *text);
void cli_set_bool(json_object *to, const char *key, bool value);

/*
 * Wait for SIGINT, SIGTERM or SIGHUP (CLI_OK), or for the daemon to hang up
 * (CLI_NO_CONNECTION, after saying so).  Prints what memory of a buffer or a
 * map goes bad meanwhile.
 */
int cli_hold(const struct cli *cli, struct holdfast *h);
/* Call before anything is printed, so that no signal is missed. */
void cli_prepare_hold(void);
