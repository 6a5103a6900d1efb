/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * holdfast: the command line over libholdfast.  One file per verb.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"

static const struct cli_verb *const verbs[] = {&cli_status, &cli_pool,
    &cli_alloc, &cli_map, &cli_verify, &cli_release};
#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void
print_help(void)
{
	(void)puts("NAME\n"
		   "    holdfast - memory from holdfastd\n"
		   "\n"
		   "SYNOPSIS\n"
		   "    holdfast [--socket PATH] [--json] VERB [ARGUMENT...]\n"
		   "\n"
		   "VERBS");
	for (size_t i = 0; i < NVERBS; i++)
		printf("    %-8s %s\n", verbs[i]->name, verbs[i]->brief);
	(void)puts("\n"
		   "    'holdfast VERB --help' describes each.\n"
		   "\n"
		   "OPTIONS\n"
		   "    -s, --socket PATH  the daemon's socket; otherwise\n"
		   "                       $HOLDFAST_SOCKET, otherwise\n"
		   "                       /run/holdfast/holdfast.sock\n"
		   "    -j, --json         print JSON; a failure is an object\n"
		   "                       {\"error\": {\"status\", "
		   "\"message\"}}\n"
		   "    -h, --help         this text\n"
		   "        --version      the version\n"
		   "\n"
		   "    Sizes and addresses take K, M, G and T (powers of\n"
		   "    1024) and 0x.  Options stand behind the verb, too.\n"
		   "\n"
		   "EXIT STATUS\n"
		   "    0  done\n"
		   "    1  refused by the daemon, or not possible here\n"
		   "    2  the command line makes no sense\n"
		   "    3  no connection to a daemon, or it went away");
}

static int
usage(void)
{
	(void)fputs("Try 'holdfast --help'.\n", stderr);
	return CLI_USAGE;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'H'},
	    {"json", no_argument, NULL, 'j'},
	    {"socket", required_argument, NULL, 's'},
	    {NULL, 0, NULL, 0},
	};
	struct cli cli = {0};
	int c;

	while ((c = getopt_long(argc, argv, "+hjs:", options, NULL)) != -1)
		switch (c) {
		case 'h':
		case 'H':
			print_help();
			return CLI_OK;
		case 'V':
			(void)puts("holdfast " HOLDFAST_PROJECT_VERSION);
			return CLI_OK;
		case 'j':
			cli.json = true;
			break;
		case 's':
			cli.socket = optarg;
			break;
		default:
			return usage();
		}
	argc -= optind;
	argv += optind;
	optind = 0; /* the verb starts afresh */
	if (argc == 0)
		return usage();
	for (size_t i = 0; i < NVERBS; i++)
		if (strcmp(argv[0], verbs[i]->name) == 0)
			return verbs[i]->run(&cli, argc, argv);
	(void)fprintf(stderr, "holdfast: there is no verb '%s'\n", argv[0]);
	return usage();
}
