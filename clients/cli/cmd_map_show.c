/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/map.h"

/* MAP_ENTRY_* of vm_map(9), in the words of procstat(1) where it has one. */
static const struct {
	uint32_t flag;
	const char *name;
} entry_flags[] = {
    {0x00000001, "nosync"},
    {0x00000002, "submap"},
    {0x00000004, "cow"},
    {0x00000008, "needs-copy"},
    {0x00000010, "nofault"},
    {0x00000020, "user-wired"},
    {0x00000040, "sequential"},
    {0x00000080, "random"},
    {0x00000400, "nocore"},
    {0x00000800, "exec"},
    {0x00001000, "grows-down"},
    {0x00008000, "writecount"},
    {0x00010000, "guard"},
    {0x00020000, "stack-gap"},
};
#define NFLAGS (sizeof(entry_flags) / sizeof(entry_flags[0]))

static void
flags_text(uint32_t eflags, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < NFLAGS && at < size; i++)
		if ((eflags & entry_flags[i].flag) != 0)
			at += (size_t)snprintf(text + at, size - at, "%s%s",
			    at > 0 ? "," : "", entry_flags[i].name);
	if (at == 0)
		(void)snprintf(text, size, "-");
}

static const char *
inheritance_text(uint32_t inheritance)
{
	static const char *const names[] = {"share", "copy", "none", "zero"};

	return inheritance < 4 ? names[inheritance] : "?";
}

static const char *
kind_text(enum holdfast_object_kind kind)
{
	return kind == HF_OBJECT_SUPER  ? "super"
	       : kind == HF_OBJECT_BASE ? "base"
					: "none";
}

json_object *
map_entry_to_json(const struct holdfast_entry *e)
{
	json_object *o = json_object_new_object();
	char flags[160];

	flags_text(e->eflags, flags, sizeof(flags));
	cli_set_u64(o, "start", e->start);
	cli_set_u64(o, "end", e->end);
	cli_set_text(o, "prot", cli_prot_text(e->prot));
	cli_set_text(o, "max_prot", cli_prot_text(e->max_prot));
	cli_set_text(o, "inheritance", inheritance_text(e->inheritance));
	cli_set_u64(o, "wired_count", e->wired_count);
	cli_set_u64(o, "eflags", e->eflags);
	cli_set_text(o, "flags", flags);
	cli_set_u64(o, "object", e->object);
	cli_set_text(o, "kind", kind_text(e->kind));
	cli_set_u64(o, "offset", e->offset);
	if (e->pa != 0)
		cli_set_u64(o, "pa", e->pa);
	cli_set_bool(o, "lost", e->lost);
	return o;
}

static void
print_entry(const struct holdfast_entry *e)
{
	char flags[160];

	flags_text(e->eflags, flags, sizeof(flags));
	printf("%#16llx %#16llx %s %s %-5s %3u %-6s %6llu %#10llx %s",
	    (unsigned long long)e->start, (unsigned long long)e->end,
	    cli_prot_text(e->prot), cli_prot_text(e->max_prot),
	    inheritance_text(e->inheritance), e->wired_count,
	    kind_text(e->kind), (unsigned long long)e->object,
	    (unsigned long long)e->offset, flags);
	if (e->pa != 0)
		printf(" pa=%#llx", (unsigned long long)e->pa);
	if (e->lost)
		printf(" bad memory");
	(void)putchar('\n');
}

static void
print_entries(const struct cli *cli, const struct holdfast_map *map,
    const char *name, const struct map_listing *how,
    const struct holdfast_entry *entries, size_t n)
{
	if (cli->json) {
		json_object *o = json_object_new_object();
		json_object *array = json_object_new_array();

		cli_set_text(o, "name", name);
		cli_set_u64(o, "min", holdfast_map_min(map));
		cli_set_u64(o, "max", holdfast_map_max(map));
		for (size_t i = 0; i < n; i++)
			(void)json_object_array_add(array,
			    how->to_json(&entries[i]));
		(void)json_object_object_add(o, "entries", array);
		cli_print_json(o);
		return;
	}
	printf("map %s, %#llx-%#llx, %zu entries\n", name,
	    (unsigned long long)holdfast_map_min(map),
	    (unsigned long long)holdfast_map_max(map), n);
	if (n > 0)
		(void)puts(how->head);
	for (size_t i = 0; i < n; i++)
		how->print(&entries[i]);
}

int
map_list_entries(struct cli *cli, int argc, char **argv,
    const struct map_listing *how)
{
	const char *name = map_name(cli, argc, argv);
	struct holdfast_entry *entries;
	struct map_use use;
	int r;
	size_t n;

	map_begin(cli, name, &use);
	if (use.map != NULL) {
		r = how->list(use.map, &entries, &n);
		if (r == HF_OK) {
			print_entries(cli, use.map, name, how, entries, n);
			free(entries);
		} else {
			use.rv = cli_failed(cli, use.h, r, "list the entries");
		}
	}
	return map_end(&use);
}

int
map_entries(struct cli *cli, int argc, char **argv)
{
	return map_list_entries(cli, argc, argv,
	    &(struct map_listing){holdfast_map_entries, map_entry_to_json,
		"           START              END PRT MAX INH   WIR KIND   "
		"OBJECT     OFFSET FLAGS",
		print_entry});
}

int
map_lookup(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"access", required_argument,
						    NULL, 'A'},
	    CLI_COMMON_OPTIONS};
	const char *text[2] = {NULL, NULL};
	uint32_t access = HF_PROT_READ;
	struct holdfast_entry entry;
	struct map_use use;
	uint64_t addr, pindex;
	int c, r, n = 0;

	while ((c = cli_getopt(cli, &cli_map, argc, argv, options)) != -1)
		if (c == 'A')
			access = cli_prot(&cli_map, "--access", optarg);
		else if (n++ < 2)
			text[n - 1] = optarg;
	if (n != 2)
		cli_usage(&cli_map, "lookup takes a name and an address");
	addr = cli_size(&cli_map, "the address", text[1]);
	map_begin(cli, text[0], &use);
	if (use.map != NULL) {
		r = holdfast_map_lookup(use.map, addr, access, &entry, &pindex);
		if (r != HF_OK)
			use.rv = cli_failed(cli, use.h, r, "look that up");
		else if (cli->json) {
			json_object *o = map_entry_to_json(&entry);

			cli_set_u64(o, "pindex", pindex);
			cli_print_json(o);
		} else {
			print_entry(&entry);
			printf("page %llu of its object\n",
			    (unsigned long long)pindex);
		}
	}
	return map_end(&use);
}

int
map_check(struct cli *cli, int argc, char **argv)
{
	const char *name = map_name(cli, argc, argv);
	struct map_use use;
	int r;

	map_begin(cli, name, &use);
	if (use.map != NULL) {
		r = holdfast_map_check(use.map);
		if (r != HF_OK) {
			use.rv = cli_failed(cli, use.h, r, "vouch for the map");
		} else if (cli->json) {
			json_object *o = json_object_new_object();

			cli_set_text(o, "name", name);
			cli_set_bool(o, "sound", true);
			cli_print_json(o);
		} else {
			printf("%s: every invariant holds\n", name);
		}
	}
	return map_end(&use);
}

/* ---- Questions with short answers -----------------------------------------
 */

int
map_entry(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	const char *text[2] = {NULL, NULL};
	struct holdfast_entry entry;
	struct map_use use;
	int r, n = 0;
	bool found;

	while (cli_getopt(cli, &cli_map, argc, argv, options) != -1)
		if (n++ < 2)
			text[n - 1] = optarg;
	if (n != 2)
		cli_usage(&cli_map, "entry takes a name and an address");
	map_begin(cli, text[0], &use);
	if (use.map != NULL) {
		r = holdfast_map_lookup_entry(use.map,
		    cli_size(&cli_map, "the address", text[1]), &found, &entry);
		if (r != HF_OK) {
			use.rv = cli_failed(cli, use.h, r, "look for an entry");
		} else if (cli->json) {
			json_object *o = json_object_new_object();

			cli_set_bool(o, "found", found);
			if (entry.end != 0)
				(void)json_object_object_add(o,
				    found ? "entry" : "predecessor",
				    map_entry_to_json(&entry));
			cli_print_json(o);
		} else {
			if (!found)
				(void)puts(entry.end != 0
					       ? "none; its predecessor is"
					       : "none, and none below");
			if (entry.end != 0)
				print_entry(&entry);
		}
	}
	return map_end(&use);
}

/* What holdfast_map_check_protection() and _boundary() are asked. */
struct truth {
	const char *name;
	uint64_t start, end;
	uint32_t prot;
};

static int
ask_protection(struct holdfast_map *map, const struct truth *t, bool *truthp)
{
	return holdfast_map_check_protection(map, t->start, t->end, t->prot,
	    truthp);
}

static int
ask_boundary(struct holdfast_map *map, const struct truth *t, bool *truthp)
{
	return holdfast_map_check_boundary(map, t->start, t->end, truthp);
}

static int
print_truth(struct cli *cli, const struct truth *t,
    int (*ask)(struct holdfast_map *map, const struct truth *t, bool *truthp))
{
	struct map_use use;
	int r;
	bool truth;

	map_begin(cli, t->name, &use);
	if (use.map != NULL) {
		r = ask(use.map, t, &truth);
		if (r != HF_OK) {
			use.rv = cli_failed(cli, use.h, r, "check that");
		} else if (cli->json) {
			json_object *o = json_object_new_object();

			cli_set_bool(o, "result", truth);
			cli_print_json(o);
		} else {
			(void)puts(truth ? "yes" : "no");
		}
	}
	return map_end(&use);
}

/* NAME START LENGTH, and a word where `wordp` is not NULL. */
static void
parse_truth(struct cli *cli, int argc, char **argv, struct truth *t,
    const char **wordp)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	const char *text[4] = {NULL, NULL, NULL, NULL};
	int n = 0, want = wordp != NULL ? 4 : 3;

	while (cli_getopt(cli, &cli_map, argc, argv, options) != -1)
		if (n++ < 4)
			text[n - 1] = optarg;
	if (n != want)
		cli_usage(&cli_map, "%s takes a name, a start and a length%s",
		    argv[0], wordp != NULL ? ", and rights" : "");
	*t = (struct truth){.name = text[0],
	    .start = cli_size(&cli_map, "the start", text[1])};
	t->end = t->start + cli_size(&cli_map, "the length", text[2]);
	if (wordp != NULL)
		*wordp = text[3];
}

int
map_check_protection(struct cli *cli, int argc, char **argv)
{
	const char *word;
	struct truth t;

	parse_truth(cli, argc, argv, &t, &word);
	t.prot = cli_prot(&cli_map, "the protection", word);
	return print_truth(cli, &t, ask_protection);
}

int
map_check_boundary(struct cli *cli, int argc, char **argv)
{
	struct truth t;

	parse_truth(cli, argc, argv, &t, NULL);
	return print_truth(cli, &t, ask_boundary);
}
