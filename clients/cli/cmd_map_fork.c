/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * `holdfast map fork`, and `show`, which prints what procstat -v would.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/map.h"
#include "clients/cli/map_mode.h"

/* ---- Fork ------------------------------------------------------------------
 */

static void
print_forked(const struct cli *cli, const char *parent, const char *name,
    const struct holdfast_map *child)
{
	if (cli->json) {
		json_object *o = json_object_new_object();

		cli_set_text(o, "name", name);
		cli_set_text(o, "parent", parent);
		cli_set_u64(o, "min", holdfast_map_min(child));
		cli_set_u64(o, "max", holdfast_map_max(child));
		cli_print_json(o);
		return;
	}
	printf("map %s, forked from %s, held until interrupted\n", name,
	    parent);
	(void)fflush(stdout);
}

static int
fork_and_hold(struct cli *cli, const char *parent,
    const struct holdfast_map_options *options)
{
	struct holdfast_map *child;
	struct map_use use;
	int r;

	cli_prepare_hold();
	map_begin(cli, parent, &use);
	if (use.map != NULL) {
		r = holdfast_map_fork(use.map, options, &child);
		/* The child alone is held. */
		if (r == HF_OK)
			r = holdfast_map_detach(use.map);
		if (r == HF_OK) {
			print_forked(cli, parent, options->name, child);
			use.rv = cli_hold(cli, use.h);
		} else {
			use.rv = cli_failed(cli, use.h, r, "fork the map");
		}
	}
	return map_end(&use);
}

int
map_fork(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"mode", required_argument,
						    NULL, 'O'},
	    {"group", required_argument, NULL, 'R'}, CLI_COMMON_OPTIONS};
	struct holdfast_map_options child = {0};
	const char *names[2] = {NULL, NULL};
	int c, n = 0;

	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'O') {
			if (!map_mode_parse(optarg, &child.mode))
				cli_usage(&cli_map,
				    "--mode is up to 0777, octal: %s", optarg);
		} else if (c == 'R') {
			child.group_set = true;
			child.group = map_mode_gid(optarg);
		} else if (n++ < 2) {
			names[n - 1] = optarg;
		}
	if (n != 2 || *names[1] == '\0')
		cli_usage(&cli_map,
		    "fork takes the map's name and the new one");
	child.name = names[1];
	return fork_and_hold(cli, names[0], &child);
}

/* ---- Show ------------------------------------------------------------------
 */

#define ENTRY_COW        0x00000004u /* MAP_ENTRY_* of vm_map(9) */
#define ENTRY_NEEDS_COPY 0x00000008u
#define ENTRY_USER_WIRED 0x00000020u
#define ENTRY_GROWS_DOWN 0x00001000u
#define ENTRY_GUARD      0x00010000u

/* procstat(1)'s letters, in its order. */
static const char *
flags_of(const struct holdfast_entry *e, char text[6])
{
	bool super = e->object != 0 && e->kind == HF_OBJECT_SUPER;

	text[0] = (e->eflags & ENTRY_COW) != 0 ? 'C' : '-';
	text[1] = (e->eflags & ENTRY_NEEDS_COPY) != 0 ? 'N' : '-';
	text[2] = super ? 'S' : '-';
	text[3] = (e->eflags & ENTRY_GROWS_DOWN) != 0 ? 'D' : '-';
	text[4] = (e->eflags & ENTRY_USER_WIRED) != 0 ? 'W' : '-';
	text[5] = '\0';
	return text;
}

static const char *
type_of(const struct holdfast_entry *e)
{
	if ((e->eflags & ENTRY_GUARD) != 0)
		return "gd";
	if (e->refs == 0)
		return "--";
	return e->object != 0 && e->kind == HF_OBJECT_SUPER ? "ph" : "sw";
}

static void
path_of(const struct holdfast_entry *e, char *text, size_t size)
{
	text[0] = '\0';
	if (e->pa != 0)
		(void)snprintf(text, size, "object %llu at %#llx",
		    (unsigned long long)e->object, (unsigned long long)e->pa);
	else if (e->object != 0)
		(void)snprintf(text, size, "object %llu",
		    (unsigned long long)e->object);
	else if (e->refs != 0)
		(void)snprintf(text, size, "shadow");
}

static json_object *
shown_to_json(const struct holdfast_entry *e)
{
	json_object *o = map_entry_to_json(e);
	char flags[6];

	cli_set_u64(o, "resident", e->resident);
	cli_set_u64(o, "resident_private", e->resident_private);
	cli_set_u64(o, "refs", e->refs);
	cli_set_u64(o, "shadows", e->shadows);
	cli_set_text(o, "procstat_flags", flags_of(e, flags));
	cli_set_text(o, "type", type_of(e));
	return o;
}

static void
print_shown(const struct holdfast_entry *e)
{
	char flags[6], path[64];

	path_of(e, path, sizeof(path));
	printf("%#18llx %#18llx %s %6llu %6llu %3u %3u %s %s %s\n",
	    (unsigned long long)e->start, (unsigned long long)e->end,
	    cli_prot_text(e->prot), (unsigned long long)e->resident,
	    (unsigned long long)e->resident_private, e->refs, e->shadows,
	    flags_of(e, flags), type_of(e), path);
}

int
map_show(struct cli *cli, int argc, char **argv)
{
	return map_list_entries(cli, argc, argv,
	    &(struct map_listing){holdfast_map_entries_counted, shown_to_json,
		"             START                END PRT    RES   PRES REF "
		"SHD FLAG  TP PATH",
		print_shown});
}
