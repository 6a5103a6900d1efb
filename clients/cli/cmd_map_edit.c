/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/map.h"

struct arguments {
	const char *name;
	struct holdfast_map_args map;
	enum holdfast_object_kind kind; /* to be made for the entry; 0: none */
	uint64_t default_addr; /* of --default; aligned: the alignment */
	bool default_given;
};

/* HF_ENTER_* by their places. */
static const char *const enter_words[] = {"share", "cow", "nofault", "prefault",
    "prefault-partial", "nosync", "excl", "guard", "nocore", NULL, "writecount",
    "remap", "stack", NULL, NULL, NULL, NULL, NULL, "vn-exec", "split1",
    "split2", "no-hint"};
#define NENTER_WORDS (sizeof(enter_words) / sizeof(enter_words[0]))

static uint32_t
parse_space(const char *text)
{
	static const struct {
		const char *name;
		uint32_t space;
	} spaces[] = {
	    {"none", HF_VMFS_NO_SPACE},
	    {"any", HF_VMFS_ANY_SPACE},
	    {"optimal", HF_VMFS_OPTIMAL_SPACE},
	    {"super", HF_VMFS_SUPER_SPACE},
	};
	unsigned log2;
	char rest;

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (strcmp(text, spaces[i].name) == 0)
			return spaces[i].space;
	if (sscanf(text, "2^%u%c", &log2, &rest) == 1 && log2 < 64)
		return HF_VMFS_ALIGNED_SPACE(log2);
	cli_usage(&cli_map, "--space is any, optimal, super, none or 2^N: %s",
	    text);
}

/* A number that follows the name: what messages call it, where it goes. */
struct number {
	const char *what;
	uint64_t *value;
};

/* Options, the name and `n` numbers in their order, or cli_usage(). */
static void
parse(struct cli *cli, int argc, char **argv, struct arguments *args,
    const struct number *numbers, int nnumbers)
{
	static const struct option options[] = {{"addr", required_argument,
						    NULL, 'A'},
	    {"max-addr", required_argument, NULL, 'M'},
	    {"space", required_argument, NULL, 'S'},
	    {"prot", required_argument, NULL, 'P'},
	    {"max-prot", required_argument, NULL, 'Q'},
	    {"default", required_argument, NULL, 'D'},
	    {"cow", required_argument, NULL, 'C'},
	    {"base", no_argument, NULL, 'B'}, {"super", no_argument, NULL, 'U'},
	    CLI_COMMON_OPTIONS};
	struct holdfast_map_args *map = &args->map;
	bool space_given = false, prot_given = false, max_given = false;
	int n = 0, c;

	args->map.find_space = HF_VMFS_ANY_SPACE;
	args->map.prot = HF_PROT_RW;
	args->map.max_prot = HF_PROT_RW | HF_PROT_EXECUTE;
	for (;;) {
		c = cli_getopt(cli, &cli_map, argc, argv, options);
		if (c == 'A')
			map->addr = cli_size(&cli_map, "--addr", optarg);
		else if (c == 'M')
			map->max_addr =
			    cli_size(&cli_map, "--max-addr", optarg);
		else if (c == 'S') {
			map->find_space = parse_space(optarg);
			space_given = true;
		} else if (c == 'P') {
			map->prot = cli_prot(&cli_map, "--prot", optarg);
			prot_given = true;
		} else if (c == 'Q') {
			map->max_prot =
			    cli_prot(&cli_map, "--max-prot", optarg);
			max_given = true;
		} else if (c == 'D') {
			args->default_addr =
			    cli_size(&cli_map, "--default", optarg);
			args->default_given = true;
		} else if (c == 'C')
			map->cow = map_words(optarg, enter_words, NENTER_WORDS,
			    "flag for --cow");
		else if (c == 'B')
			args->kind = HF_OBJECT_BASE;
		else if (c == 'U')
			args->kind = HF_OBJECT_SUPER;
		else if (c == -1)
			break;
		else if (n++ == 0)
			args->name = optarg;
		else if (n <= nnumbers + 1)
			*numbers[n - 2].value =
			    cli_size(&cli_map, numbers[n - 2].what, optarg);
	}
	if (n != nnumbers + 1)
		cli_usage(&cli_map, "%s takes a name and then %s%s%s", argv[0],
		    numbers[0].what, nnumbers == 2 ? " and " : "",
		    nnumbers == 2 ? numbers[1].what : "");
	if ((map->cow & HF_ENTER_GUARD) != 0) { /* has no rights */
		map->prot = prot_given ? map->prot : 0;
		map->max_prot = max_given ? map->max_prot : 0;
	}
	if (args->kind == HF_OBJECT_SUPER && !space_given)
		map->find_space = HF_VMFS_SUPER_SPACE;
}

static int
print_range(const struct cli *cli, uint64_t start, uint64_t length)
{
	if (cli->json) {
		json_object *o = json_object_new_object();

		cli_set_u64(o, "start", start);
		cli_set_u64(o, "end", start + length);
		cli_print_json(o);
	} else {
		printf("%#llx-%#llx\n", (unsigned long long)start,
		    (unsigned long long)(start + length));
	}
	return CLI_OK;
}

/* Make the object that the entry is to show, if it is to show one. */
static int
make_object(struct holdfast *h, struct arguments *args)
{
	if (args->kind == 0)
		return HF_OK;
	return holdfast_object_create(h, args->kind, args->map.length,
	    &args->map.object);
}

typedef int edit(struct holdfast_map *map, struct arguments *args,
    uint64_t *addrp);

/* Attach, make the object, do it, print the range. */
static int
with_map(struct cli *cli, struct arguments *args, const char *what,
    edit *perform)
{
	struct map_use use;
	uint64_t addr;
	int r;

	map_begin(cli, args->name, &use);
	if (use.map != NULL) {
		r = make_object(use.h, args);
		if (r == HF_OK)
			r = perform(use.map, args, &addr);
		use.rv = r == HF_OK ? print_range(cli, addr, args->map.length)
				    : cli_failed(cli, use.h, r, what);
	}
	return map_end(&use);
}

/* A verb of a name and a length. */
static int
with_length(struct cli *cli, int argc, char **argv, const char *what,
    edit *perform)
{
	struct arguments args = {0};
	const struct number numbers[] = {{"the length", &args.map.length}};

	parse(cli, argc, argv, &args, numbers, 1);
	return with_map(cli, &args, what, perform);
}

/* A verb of a name, an address and a length. */
static int
with_range(struct cli *cli, int argc, char **argv, const char *what,
    edit *perform)
{
	struct arguments args = {0};
	const struct number numbers[] = {{"the address", &args.map.addr},
	    {"the length", &args.map.length}};

	parse(cli, argc, argv, &args, numbers, 2);
	return with_map(cli, &args, what, perform);
}

static int
do_find(struct holdfast_map *map, struct arguments *args, uint64_t *addrp)
{
	return args->default_given ? holdfast_map_find_min(map, &args->map,
					 args->default_addr, addrp)
				   : holdfast_map_find(map, &args->map, addrp);
}

int
map_find(struct cli *cli, int argc, char **argv)
{
	return with_length(cli, argc, argv, "find room", do_find);
}

static int
do_insert(struct holdfast_map *map, struct arguments *args, uint64_t *addrp)
{
	*addrp = args->map.addr;
	return holdfast_map_insert(map, &args->map);
}

int
map_insert(struct cli *cli, int argc, char **argv)
{
	return with_range(cli, argc, argv, "insert", do_insert);
}

static int
do_fixed(struct holdfast_map *map, struct arguments *args, uint64_t *addrp)
{
	*addrp = args->map.addr;
	return holdfast_map_fixed(map, &args->map);
}

int
map_fixed(struct cli *cli, int argc, char **argv)
{
	return with_range(cli, argc, argv, "put it there", do_fixed);
}

static int
do_delete(struct holdfast_map *map, struct arguments *args, uint64_t *addrp)
{
	*addrp = args->map.addr;
	return holdfast_map_delete(map, args->map.addr,
	    args->map.addr + args->map.length);
}

int
map_delete(struct cli *cli, int argc, char **argv)
{
	return with_range(cli, argc, argv, "delete", do_delete);
}

static int
do_findspace(struct holdfast_map *map, struct arguments *args, uint64_t *addrp)
{
	return holdfast_map_findspace(map, args->map.addr, args->map.length,
	    addrp);
}

int
map_findspace(struct cli *cli, int argc, char **argv)
{
	return with_length(cli, argc, argv, "find space", do_findspace);
}

static int
do_aligned(struct holdfast_map *map, struct arguments *args, uint64_t *addrp)
{
	return holdfast_map_find_aligned(map, args->map.addr, args->map.length,
	    args->map.max_addr, args->default_addr, addrp);
}

int
map_aligned(struct cli *cli, int argc, char **argv)
{
	struct arguments args = {0};
	const struct number numbers[] = {{"the length", &args.map.length},
	    {"the alignment", &args.default_addr}};

	parse(cli, argc, argv, &args, numbers, 2);
	return with_map(cli, &args, "find aligned space", do_aligned);
}
