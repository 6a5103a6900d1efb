/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <string.h>

#include "clients/cli/map.h"

/* A name, two numbers, and perhaps a word: every verb here takes those. */
struct arguments {
	const char *name;
	uint64_t start, length;
	const char *word;   /* behind the numbers */
	uint32_t prot, max; /* of --prot and --max-prot */
	bool max_given;
	uint32_t wire;   /* --write, --holes, --system */
	uint32_t sync;   /* --io, --invalidate */
	bool grows_down; /* --grows-down */
};

static void
parse(struct cli *cli, int argc, char **argv, bool wants_word,
    struct arguments *args)
{
	static const struct option options[] = {{"prot", required_argument,
						    NULL, 'P'},
	    {"max-prot", required_argument, NULL, 'Q'},
	    {"write", no_argument, NULL, 'W'},
	    {"holes", no_argument, NULL, 'H'},
	    {"system", no_argument, NULL, 'Y'}, {"io", no_argument, NULL, 'I'},
	    {"invalidate", no_argument, NULL, 'V'},
	    {"grows-down", no_argument, NULL, 'G'}, CLI_COMMON_OPTIONS};
	int c, n = 0;

	*args = (struct arguments){.prot = HF_PROT_RW, .max = HF_PROT_RW};
	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'P')
			args->prot = cli_prot(&cli_map, "--prot", optarg);
		else if (c == 'Q') {
			args->max = cli_prot(&cli_map, "--max-prot", optarg);
			args->max_given = true;
		} else if (c == 'W')
			args->wire |= HF_WIRE_WRITE;
		else if (c == 'H')
			args->wire |= HF_WIRE_HOLESOK;
		else if (c == 'Y')
			args->wire |= HF_WIRE_SYSTEM;
		else if (c == 'I')
			args->sync |= HF_SYNC_IO;
		else if (c == 'V')
			args->sync |= HF_SYNC_INVALIDATE;
		else if (c == 'G')
			args->grows_down = true;
		else if (n++ == 0)
			args->name = optarg;
		else if (n == 2)
			args->start = cli_size(&cli_map, "the start", optarg);
		else if (n == 3)
			args->length = cli_size(&cli_map, "the length", optarg);
		else
			args->word = optarg;
	if (n != (wants_word ? 4 : 3))
		cli_usage(&cli_map, "%s takes a name, a start and a length%s",
		    argv[0], wants_word ? ", and what to make of them" : "");
}

typedef int change(struct holdfast_map *map, const struct arguments *args,
    uint32_t value);

static int
with_map(struct cli *cli, const struct arguments *args, const char *what,
    change *perform, uint32_t value)
{
	struct map_use use;
	int r;

	map_begin(cli, args->name, &use);
	if (use.map != NULL) {
		r = perform(use.map, args, value);
		use.rv = map_told(cli, use.h, r, what);
	}
	return map_end(&use);
}

static int
do_protect(struct holdfast_map *map, const struct arguments *args,
    uint32_t value)
{
	uint32_t flags = HF_PROTECT_SET_PROT;

	if (args->max_given)
		flags |= HF_PROTECT_SET_MAXPROT;
	if (args->grows_down)
		flags |= HF_PROTECT_GROWSDOWN;
	return holdfast_map_protect(map, args->start,
	    args->start + args->length, value, args->max, flags);
}

int
map_protect(struct cli *cli, int argc, char **argv)
{
	struct arguments args;
	uint32_t prot;

	parse(cli, argc, argv, true, &args);
	prot = cli_prot(&cli_map, "the protection", args.word);
	return with_map(cli, &args, "protect that", do_protect, prot);
}

static int
do_inherit(struct holdfast_map *map, const struct arguments *args,
    uint32_t value)
{
	return holdfast_map_inherit(map, args->start,
	    args->start + args->length, value);
}

int
map_inherit(struct cli *cli, int argc, char **argv)
{
	static const char *const words[] = {"share", "copy", "none", "zero"};
	struct arguments args;

	parse(cli, argc, argv, true, &args);
	return with_map(cli, &args, "change its inheritance", do_inherit,
	    map_word(args.word, words, 4, "inheritance"));
}

static int
do_madvise(struct holdfast_map *map, const struct arguments *args,
    uint32_t value)
{
	return holdfast_map_madvise(map, args->start,
	    args->start + args->length, value);
}

int
map_madvise(struct cli *cli, int argc, char **argv)
{
	static const char *const words[] = {"normal", "random", "sequential",
	    "willneed", "dontneed", "free", "nosync", "autosync", "nocore",
	    "core"};
	struct arguments args;

	parse(cli, argc, argv, true, &args);
	return with_map(cli, &args, "give that advice", do_madvise,
	    map_word(args.word, words, 10, "advice"));
}

static int
do_wire(struct holdfast_map *map, const struct arguments *args, uint32_t value)
{
	return holdfast_map_wire(map, args->start, args->start + args->length,
	    value | args->wire);
}

int
map_wire(struct cli *cli, int argc, char **argv)
{
	struct arguments args;

	parse(cli, argc, argv, false, &args);
	return with_map(cli, &args, "wire that", do_wire, HF_WIRE_NOHOLES);
}

static int
do_unwire(struct holdfast_map *map, const struct arguments *args,
    uint32_t value)
{
	return holdfast_map_unwire(map, args->start, args->start + args->length,
	    value | args->wire);
}

int
map_unwire(struct cli *cli, int argc, char **argv)
{
	struct arguments args;

	parse(cli, argc, argv, false, &args);
	return with_map(cli, &args, "unwire that", do_unwire, HF_WIRE_NOHOLES);
}

static int
do_stack(struct holdfast_map *map, const struct arguments *args, uint32_t value)
{
	struct holdfast_map_args stack = {
	    .addr = args->start,
	    .length = args->length,
	    .prot = args->prot,
	    .max_prot = args->max,
	};

	(void)value;
	return holdfast_map_stack(map, &stack);
}

int
map_stack(struct cli *cli, int argc, char **argv)
{
	struct arguments args;

	parse(cli, argc, argv, false, &args);
	return with_map(cli, &args, "make that stack", do_stack, 0);
}

static int
do_sync(struct holdfast_map *map, const struct arguments *args, uint32_t value)
{
	(void)value;
	return holdfast_map_sync(map, args->start, args->start + args->length,
	    args->sync);
}

int
map_sync(struct cli *cli, int argc, char **argv)
{
	struct arguments args;

	parse(cli, argc, argv, false, &args);
	return with_map(cli, &args, "sync that", do_sync, 0);
}

/* The other map's name is the word; it is attached for as long as this takes.
 */
int
map_submap(struct cli *cli, int argc, char **argv)
{
	struct holdfast_map *map, *submap = NULL;
	struct arguments args;
	struct holdfast *h;
	int r, rv = CLI_OK;

	parse(cli, argc, argv, true, &args);
	h = cli_connect(cli);
	map = map_attach(cli, h, args.name, &rv);
	if (map != NULL)
		submap = map_attach(cli, h, args.word, &rv);
	if (submap != NULL) {
		r = holdfast_map_submap(map, args.start,
		    args.start + args.length, submap);
		rv = map_told(cli, h, r, "make that window");
	}
	holdfast_close(h);
	return rv;
}

/* ---- A name and an address ------------------------------------------------
 */

/* One call that takes an address and a kind of access, which may be unused. */
typedef int at_address(struct holdfast_map *map, uint64_t addr,
    uint32_t access);

static const struct option no_access[] = {CLI_COMMON_OPTIONS};
static const struct option takes_access[] = {{"access", required_argument, NULL,
						 'A'},
    CLI_COMMON_OPTIONS};

static int
with_address(struct cli *cli, int argc, char **argv, const char *what,
    at_address *perform, const struct option *options)
{
	const char *text[2] = {NULL, NULL};
	uint32_t access = HF_PROT_READ;
	struct map_use use;
	int c, r, n = 0;
	uint64_t addr;

	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'A')
			access = cli_prot(&cli_map, "--access", optarg);
		else if (n++ < 2)
			text[n - 1] = optarg;
	if (n != 2)
		cli_usage(&cli_map, "%s takes a name and an address", argv[0]);
	addr = cli_size(&cli_map, "the address", text[1]);
	map_begin(cli, text[0], &use);
	if (use.map != NULL) {
		r = perform(use.map, addr, access);
		use.rv = map_told(cli, use.h, r, what);
	}
	return map_end(&use);
}

static int
grow_at(struct holdfast_map *map, uint64_t addr, uint32_t access)
{
	(void)access;
	return holdfast_map_growstack(map, addr);
}

static int
simplify_at(struct holdfast_map *map, uint64_t addr, uint32_t access)
{
	(void)access;
	return holdfast_map_simplify(map, addr);
}

int
map_growstack(struct cli *cli, int argc, char **argv)
{
	return with_address(cli, argc, argv, "grow a stack to there", grow_at,
	    no_access);
}

int
map_simplify(struct cli *cli, int argc, char **argv)
{
	return with_address(cli, argc, argv, "simplify what is there",
	    simplify_at, no_access);
}

int
map_fault(struct cli *cli, int argc, char **argv)
{
	return with_address(cli, argc, argv, "resolve that access",
	    holdfast_map_fault, takes_access);
}
