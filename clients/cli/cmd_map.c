/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/map.h"
#include "clients/cli/map_mode.h"

struct holdfast_map *
map_attach(const struct cli *cli, struct holdfast *h, const char *name,
    int *rvp)
{
	struct holdfast_map_options options = {.name = name, .no_mirror = true};
	const char *colon = strchr(name, ':');
	struct holdfast_map *map;
	char owner[64];
	int r;

	if (colon != NULL) {
		(void)snprintf(owner, sizeof(owner), "%.*s",
		    (int)(colon - name), name);
		options.name = colon + 1;
		options.owner_set = true;
		options.owner = map_mode_uid(owner);
	}
	r = holdfast_map_attach(h, &options, &map);
	if (r == HF_OK)
		return map;
	*rvp = cli_failed(cli, h, r, "attach to the map");
	return NULL;
}

void
map_begin(struct cli *cli, const char *name, struct map_use *use)
{
	use->rv = CLI_OK;
	use->h = cli_connect(cli);
	use->map = map_attach(cli, use->h, name, &use->rv);
}

int
map_end(struct map_use *use)
{
	holdfast_close(use->h);
	return use->rv;
}

int
map_told(const struct cli *cli, struct holdfast *h, int r, const char *what)
{
	if (r != HF_OK)
		return cli_failed(cli, h, r, what);
	if (cli->json)
		cli_print_json(json_object_new_object());
	return CLI_OK;
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
	    {"max", required_argument, NULL, 'X'},
	    {"mode", required_argument, NULL, 'O'},
	    {"group", required_argument, NULL, 'R'}, CLI_COMMON_OPTIONS};
	struct holdfast_map_options create = {.no_mirror = true,
	    .mirrored = true};
	struct holdfast_map *map;
	struct holdfast *h;
	int c, r, rv;

	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'N')
			create.min = cli_size(&cli_map, "--min", optarg);
		else if (c == 'X')
			create.max = cli_size(&cli_map, "--max", optarg);
		else if (c == 'O') {
			if (!map_mode_parse(optarg, &create.mode))
				cli_usage(&cli_map,
				    "--mode is up to 0777, octal: %s", optarg);
		} else if (c == 'R') {
			create.group_set = true;
			create.group = map_mode_gid(optarg);
		} else if (create.name == NULL)
			create.name = optarg;
		else
			cli_usage(&cli_map, "one name is enough: %s", optarg);
	if (create.name == NULL || *create.name == '\0')
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
	struct map_use use;
	int r;

	map_begin(cli, name, &use);
	if (use.map != NULL) {
		r = holdfast_map_destroy(use.map);
		if (r != HF_OK)
			use.rv = cli_failed(cli, use.h, r, "destroy the map");
	}
	return map_end(&use);
}

static json_object *
list_to_json(const struct holdfast_map_item *maps, size_t n)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object();
		char mode[MAP_MODE_TEXT];

		map_mode_text(maps[i].mode, mode);
		cli_set_text(o, "name", maps[i].name);
		cli_set_u64(o, "owner", maps[i].owner);
		cli_set_u64(o, "group", maps[i].group);
		cli_set_text(o, "mode", mode);
		cli_set_bool(o, "may_change",
		    (maps[i].access & HF_MAP_CHANGE) != 0);
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
print_list(const struct holdfast_map_item *maps, size_t n, bool all)
{
	char mode[MAP_MODE_TEXT];

	if (n == 0)
		(void)puts(all ? "nobody has a named map to attach to"
			       : "this tenant has no named map");
	else
		printf("%-9s %6s %6s %-20s %s\n", "MODE", "OWNER", "GROUP",
		    "NAME", "RANGE");
	for (size_t i = 0; i < n; i++) {
		map_mode_text(maps[i].mode, mode);
		printf("%s %6u %6u %-20s %#llx-%#llx  %llu entries, %s, "
		       "%llu sessions\n",
		    mode, maps[i].owner, maps[i].group, maps[i].name,
		    (unsigned long long)maps[i].min,
		    (unsigned long long)maps[i].max,
		    (unsigned long long)maps[i].nentries,
		    cli_size_text(maps[i].size),
		    (unsigned long long)maps[i].sessions);
	}
}

static int
map_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"all", no_argument, NULL, 'A'},
	    CLI_COMMON_OPTIONS};
	struct holdfast_map_item *maps;
	struct holdfast *h;
	int c, r, rv = CLI_OK;
	bool all = false;
	size_t n;

	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'A')
			all = true;
		else
			cli_usage(&cli_map, "list takes no argument: %s",
			    optarg);
	h = cli_connect(cli);
	r = all ? holdfast_map_list_all(h, &maps, &n)
		: holdfast_map_list(h, &maps, &n);
	if (r != HF_OK) {
		rv = cli_failed(cli, h, r, "list the maps");
	} else {
		if (cli->json)
			cli_print_json(list_to_json(maps, n));
		else
			print_list(maps, n, all);
		free(maps);
	}
	holdfast_close(h);
	return rv;
}

/* ---- Words ----------------------------------------------------------------
 */

uint32_t
map_word(const char *word, const char *const *words, uint32_t n,
    const char *what)
{
	for (uint32_t i = 0; i < n; i++)
		if (words[i] != NULL && strcmp(word, words[i]) == 0)
			return i;
	cli_usage(&cli_map, "there is no %s '%s'", what, word);
}

uint32_t
map_words(const char *text, const char *const *words, uint32_t n,
    const char *what)
{
	uint32_t bits = 0;
	char word[32];

	for (;;) {
		size_t length = strcspn(text, "+");

		(void)snprintf(word, sizeof(word), "%.*s", (int)length, text);
		bits |= 1u << map_word(word, words, n, what);
		if (text[length] == '\0')
			return bits;
		text += length + 1;
	}
}

/* ---- The verb ------------------------------------------------------------ */

static const struct {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv);
} verbs[] = {
    {"create", map_create},
    {"list", map_list},
    {"ls", map_list},
    {"destroy", map_destroy},
    {"find", map_find},
    {"insert", map_insert},
    {"fixed", map_fixed},
    {"delete", map_delete},
    {"remove", map_delete},
    {"findspace", map_findspace},
    {"aligned", map_aligned},
    {"entries", map_entries},
    {"show", map_show},
    {"fork", map_fork},
    {"lookup", map_lookup},
    {"entry", map_entry},
    {"check-protection", map_check_protection},
    {"check-boundary", map_check_boundary},
    {"check", map_check},
    {"protect", map_protect},
    {"inherit", map_inherit},
    {"madvise", map_madvise},
    {"wire", map_wire},
    {"unwire", map_unwire},
    {"stack", map_stack},
    {"growstack", map_growstack},
    {"fault", map_fault},
    {"sync", map_sync},
    {"clean", map_sync},
    {"submap", map_submap},
    {"simplify", map_simplify},
    {"stat", map_stat},
    {"limits", map_limits},
    {"flags", map_flags},
    {"chmod", map_chmod},
    {"chgrp", map_chgrp},
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
	"    holdfast map create NAME [--min ADDR] [--max ADDR] [--mode MODE]\n"
	"        [--group GROUP]\n"
	"    holdfast map ls [--all]            (or: list)\n"
	"    holdfast map show NAME\n"
	"    holdfast map entries NAME\n"
	"    holdfast map fork NAME NEW [--mode MODE] [--group GROUP]\n"
	"    holdfast map stat NAME\n"
	"    holdfast map chmod NAME MODE\n"
	"    holdfast map chgrp NAME GROUP\n"
	"    holdfast map destroy NAME\n"
	"    holdfast map find NAME LENGTH [--addr ADDR] [--max-addr ADDR]\n"
	"        [--default ADDR] [--space any|optimal|super|none|2^N]\n"
	"        [--base | --super] [--prot rwx] [--max-prot rwx] [--cow "
	"WORDS]\n"
	"    holdfast map insert NAME START LENGTH [--base | --super]\n"
	"        [--prot rwx] [--max-prot rwx] [--cow WORDS]\n"
	"    holdfast map fixed NAME START LENGTH [--base | --super]\n"
	"        [--prot rwx] [--max-prot rwx] [--cow WORDS]\n"
	"    holdfast map delete NAME START LENGTH   (or: remove)\n"
	"    holdfast map findspace NAME LENGTH [--addr ADDR]\n"
	"    holdfast map aligned NAME LENGTH ALIGN [--addr ADDR] [--max-addr "
	"ADDR]\n"
	"    holdfast map lookup NAME ADDR [--access rwx]\n"
	"    holdfast map entry NAME ADDR\n"
	"    holdfast map protect NAME START LENGTH PROT [--max-prot rwx]\n"
	"        [--grows-down]\n"
	"    holdfast map inherit NAME START LENGTH share|copy|none|zero\n"
	"    holdfast map madvise NAME START LENGTH ADVICE\n"
	"    holdfast map wire NAME START LENGTH [--write] [--holes] "
	"[--system]\n"
	"    holdfast map unwire NAME START LENGTH [--holes] [--system]\n"
	"    holdfast map stack NAME BOTTOM LENGTH [--prot rwx]\n"
	"        [--max-prot rwx]\n"
	"    holdfast map growstack NAME ADDR\n"
	"    holdfast map fault NAME ADDR [--access rwx]\n"
	"    holdfast map sync NAME START LENGTH [--io] [--invalidate]  (or: "
	"clean)\n"
	"    holdfast map submap NAME START LENGTH SUBMAP\n"
	"    holdfast map simplify NAME ADDR\n"
	"    holdfast map check-protection NAME START LENGTH PROT\n"
	"    holdfast map check-boundary NAME START LENGTH\n"
	"    holdfast map limits NAME [LIMIT=VALUE]...\n"
	"    holdfast map flags NAME set|clear FLAGS\n"
	"    holdfast map check NAME\n"
	"    each with [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    A map lives as long as a session has it: 'create' holds it until\n"
	"    interrupted.  The other verbs attach to it by name, do one "
	"thing,\n"
	"    and let go; what they enter stays.  Nothing is mapped into the\n"
	"    command's own process.  Semantics and codes are those of "
	"vm_map(9).\n"
	"\n"
	"    NAME is one of the caller's own maps; OWNER:NAME is somebody\n"
	"    else's, OWNER a user's name or number.  A map has a mode like a\n"
	"    file's: r lets a user of that class attach and look, w change.\n"
	"    Only its owner can change mode and group, and destroy it.\n"
	"\n"
	"    --mode MODE      octal (default 600)\n"
	"    --group GROUP    name or number of a group of the caller's\n"
	"    --all            also maps of others that the caller may attach "
	"to\n"
	"    --addr ADDR      lowest address wanted\n"
	"    --max-addr ADDR  exclusive end of what is acceptable\n"
	"    --default ADDR   where nothing fits there: from here on\n"
	"                     (vm_map_find_min)\n"
	"    --space          VMFS_ANY_SPACE (default), VMFS_OPTIMAL_SPACE,\n"
	"                     VMFS_SUPER_SPACE, VMFS_NO_SPACE, or\n"
	"                     VMFS_ALIGNED_SPACE(N)\n"
	"    --base           back it with an object of base pages\n"
	"    --super          back it with one of physically consecutive huge\n"
	"                     pages; --space is super then, unless given\n"
	"    --prot           rights, such as rw (default) or none\n"
	"    --max-prot       the most they may become (default rwx)\n"
	"    --cow WORDS      flags of vm_map_insert(9), joined by '+': share "
	"cow\n"
	"                     nofault prefault prefault-partial nosync excl\n"
	"                     guard nocore writecount remap stack vn-exec\n"
	"                     split1 split2 no-hint; prefault is for who maps\n"
	"                     it, which this command does not\n"
	"    --grows-down     VM_MAP_PROTECT_GROWSDOWN\n"
	"    --holes          holes in the range are fine\n"
	"    --system         a wiring of the system, which nobody can delete\n"
	"\n"
	"    ADVICE is normal, random, sequential, willneed, dontneed, free,\n"
	"    nosync, autosync, nocore or core.  LIMIT is vmem, stack, "
	"memlock,\n"
	"    swap, nentries, overcommit, cluster-anon or stack-guard; 0 is "
	"none.\n"
	"    FLAGS are wirefuture, aslr, aslr-ignstart, wxorx and aslr-stack,\n"
	"    joined by '+'.\n"
	"\n"
	"    'show' prints an entry a line as procstat -v does: start, end,\n"
	"    protection, resident pages, those that nobody else has, "
	"references\n"
	"    to the object, objects that shadow it, flags (C copy on write, N\n"
	"    needs copy, S superpages, D grows down, W wired by the user), "
	"type\n"
	"    (sw base pages, ph superpages, gd guard, -- nothing yet), "
	"object.\n"
	"    'entries' prints what vm_map(9) has: maximum, inheritance, "
	"wirings,\n"
	"    kind, object, offset, flags in words.\n"
	"\n"
	"    'fault' has an access (r unless --access says more) to ADDR "
	"succeed,\n"
	"    as vm_fault(9) would: grow a stack, copy what is shared.\n"
	"\n"
	"    'fork' makes NEW out of NAME, entry by entry as inheritance "
	"says;\n"
	"    what is copied is shared until one of the two writes.  It holds\n"
	"    NEW until interrupted.\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection\n",
};
