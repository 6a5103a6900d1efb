/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/map.h"

struct holdfast_map *
map_attach(const struct cli *cli, struct holdfast *h, const char *name,
    int *rvp)
{
	struct holdfast_map_options options = {.name = name, .no_mirror = true};
	struct holdfast_map *map;
	int r = holdfast_map_attach(h, &options, &map);

	if (r == HF_OK)
		return map;
	*rvp = cli_failed(cli, h, r, "attach to the map");
	return NULL;
}

const char *
map_name(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	const char *name;

	if (cli_getopt(cli, &cli_map, argc, argv, options) == -1)
		cli_usage(&cli_map, "%s takes the map's name", argv[0]);
	name = optarg;
	if (cli_getopt(cli, &cli_map, argc, argv, options) != -1)
		cli_usage(&cli_map, "%s takes one name", argv[0]);
	return name;
}

static void
print_created(const struct cli *cli, const char *name,
    const struct holdfast_map *map)
{
	if (cli->json) {
		json_object *o = json_object_new_object();

		cli_set_text(o, "name", name);
		cli_set_u64(o, "min", holdfast_map_min(map));
		cli_set_u64(o, "max", holdfast_map_max(map));
		cli_print_json(o);
		return;
	}
	printf("map %s, %#llx-%#llx, held until interrupted\n", name,
	    (unsigned long long)holdfast_map_min(map),
	    (unsigned long long)holdfast_map_max(map));
	(void)fflush(stdout);
}

static int
map_create(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"min", required_argument, NULL,
						    'N'},
	    {"max", required_argument, NULL, 'X'}, CLI_COMMON_OPTIONS};
	struct holdfast_map_options create = {.no_mirror = true};
	struct holdfast_map *map;
	struct holdfast *h;
	int c, r, rv;

	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'N')
			create.min = cli_size(&cli_map, "--min", optarg);
		else if (c == 'X')
			create.max = cli_size(&cli_map, "--max", optarg);
		else if (create.name == NULL)
			create.name = optarg;
		else
			cli_usage(&cli_map, "one name is enough: %s", optarg);
	if (create.name == NULL)
		cli_usage(&cli_map, "create takes the map's name");
	cli_prepare_hold();
	h = cli_connect(cli);
	r = holdfast_map_create(h, &create, &map);
	if (r == HF_OK) {
		print_created(cli, create.name, map);
		rv = cli_hold(cli, h);
	} else {
		rv = cli_failed(cli, h, r, "create the map");
	}
	holdfast_close(h);
	return rv;
}

static int
map_destroy(struct cli *cli, int argc, char **argv)
{
	const char *name = map_name(cli, argc, argv);
	struct holdfast_map *map;
	struct holdfast *h;
	int r, rv = CLI_OK;

	h = cli_connect(cli);
	map = map_attach(cli, h, name, &rv);
	if (map != NULL) {
		r = holdfast_map_destroy(map);
		if (r != HF_OK)
			rv = cli_failed(cli, h, r, "destroy the map");
	}
	holdfast_close(h);
	return rv;
}

static json_object *
list_to_json(const struct holdfast_map_item *maps, size_t n)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		cli_set_text(o, "name", maps[i].name);
		cli_set_u64(o, "min", maps[i].min);
		cli_set_u64(o, "max", maps[i].max);
		cli_set_u64(o, "nentries", maps[i].nentries);
		cli_set_u64(o, "size", maps[i].size);
		cli_set_u64(o, "sessions", maps[i].sessions);
		(void)json_object_array_add(array, o);
	}
	return array;
}

static void
print_list(const struct holdfast_map_item *maps, size_t n)
{
	if (n == 0)
		(void)puts("this tenant has no named map");
	for (size_t i = 0; i < n; i++)
		printf("%-20s %#llx-%#llx  %llu entries, %s, %llu sessions\n",
		    maps[i].name, (unsigned long long)maps[i].min,
		    (unsigned long long)maps[i].max,
		    (unsigned long long)maps[i].nentries,
		    cli_size_text(maps[i].size),
		    (unsigned long long)maps[i].sessions);
}

static int
map_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	struct holdfast_map_item *maps;
	struct holdfast *h;
	int r, rv = CLI_OK;
	size_t n;

	if (cli_getopt(cli, &cli_map, argc, argv, options) != -1)
		cli_usage(&cli_map, "list takes no argument: %s", optarg);
	h = cli_connect(cli);
	r = holdfast_map_list(h, &maps, &n);
	if (r != HF_OK) {
		rv = cli_failed(cli, h, r, "list the maps");
	} else {
		if (cli->json)
			cli_print_json(list_to_json(maps, n));
		else
			print_list(maps, n);
		free(maps);
	}
	holdfast_close(h);
	return rv;
}

/* ---- The verb ------------------------------------------------------------ */

static const struct {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv);
} verbs[] = {
    {"create", map_create},
    {"list", map_list},
    {"destroy", map_destroy},
    {"find", map_find},
    {"insert", map_insert},
    {"delete", map_delete},
    {"findspace", map_findspace},
    {"entries", map_entries},
    {"show", map_entries},
    {"lookup", map_lookup},
    {"check", map_check},
    {"protect", map_protect},
    {"inherit", map_inherit},
    {"madvise", map_madvise},
    {"wire", map_wire},
    {"unwire", map_unwire},
    {"stack", map_stack},
    {"growstack", map_growstack},
};

static int
run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};

	if (cli_getopt(cli, &cli_map, argc, argv, options) == -1)
		cli_usage(&cli_map, "which of its verbs?");
	argc -= optind - 1;
	argv += optind - 1;
	optind = 0;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[0], verbs[i].name) == 0)
			return verbs[i].run(cli, argc, argv);
	cli_usage(&cli_map, "there is no verb '%s'", argv[0]);
}

const struct cli_verb cli_map = {
    .name = "map",
    .brief = "named address maps that processes share",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast map - named address maps that processes share\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast map create NAME [--min ADDR] [--max ADDR]\n"
	"    holdfast map list\n"
	"    holdfast map show NAME             (or: entries NAME)\n"
	"    holdfast map find NAME LENGTH [--addr ADDR] [--max-addr ADDR]\n"
	"        [--space any|optimal|super|none|2^N] [--base | --super]\n"
	"        [--prot rwx] [--max-prot rwx]\n"
	"    holdfast map insert NAME START LENGTH [--base | --super]\n"
	"        [--prot rwx] [--max-prot rwx]\n"
	"    holdfast map delete NAME START LENGTH\n"
	"    holdfast map findspace NAME LENGTH [--addr ADDR]\n"
	"    holdfast map lookup NAME ADDR [--access rwx]\n"
	"    holdfast map protect NAME START LENGTH PROT [--max-prot rwx]\n"
	"    holdfast map inherit NAME START LENGTH share|copy|none|zero\n"
	"    holdfast map madvise NAME START LENGTH ADVICE\n"
	"    holdfast map wire NAME START LENGTH [--write]\n"
	"    holdfast map unwire NAME START LENGTH\n"
	"    holdfast map stack NAME BOTTOM LENGTH [--prot rw]\n"
	"    holdfast map growstack NAME ADDR\n"
	"    holdfast map check NAME\n"
	"    holdfast map destroy NAME\n"
	"    each with [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    A map lives as long as a session has it: 'create' holds it until\n"
	"    interrupted.  The other verbs attach to it by name, do one "
	"thing,\n"
	"    and let go; what they enter stays.  Nothing is mapped into the\n"
	"    command's own process.  Semantics and codes are those of\n"
	"    vm_map(9).\n"
	"\n"
	"    --addr ADDR      lowest address wanted\n"
	"    --max-addr ADDR  exclusive end of what is acceptable\n"
	"    --space          VMFS_ANY_SPACE (default), VMFS_OPTIMAL_SPACE,\n"
	"                     VMFS_SUPER_SPACE, VMFS_NO_SPACE, or\n"
	"                     VMFS_ALIGNED_SPACE(N)\n"
	"    --base           back it with an object of base pages\n"
	"    --super          back it with one of physically consecutive huge\n"
	"                     pages; --space is super then, unless given\n"
	"    --prot           rights, such as rw (default) or none\n"
	"    --max-prot       the most they may become (default rwx)\n"
	"\n"
	"    ADVICE is normal, random, sequential, willneed, dontneed, free,\n"
	"    nosync, autosync, nocore or core.\n"
	"\n"
	"    'show' prints an entry a line: start, end, protection, maximum,\n"
	"    inheritance, wirings, flags, object, offset.\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection\n",
};
