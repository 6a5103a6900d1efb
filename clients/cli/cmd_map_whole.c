/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A map as a whole: its figures, limits, flags, owner and mode.
 */

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/map.h"
#include "clients/cli/map_mode.h"

/* ---- Owners, groups, modes ------------------------------------------------
 */

bool
map_mode_parse(const char *text, uint32_t *modep)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (text[0] < '0' || text[0] > '7' || *end != '\0' || mode > 0777)
		return false;
	*modep = (uint32_t)mode;
	return true;
}

static bool
parse_number(const char *text, uint32_t *np)
{
	uint64_t n;

	if (!cli_parse_size(text, &n) || n >= UINT32_MAX)
		return false;
	*np = (uint32_t)n;
	return true;
}

uint32_t
map_mode_uid(const char *text)
{
	const struct passwd *user;
	uint32_t uid;

	if (parse_number(text, &uid))
		return uid;
	user = getpwnam(text);
	if (user == NULL)
		cli_usage(&cli_map, "there is no user '%s'", text);
	return user->pw_uid;
}

uint32_t
map_mode_gid(const char *text)
{
	const struct group *group;
	uint32_t gid;

	if (parse_number(text, &gid))
		return gid;
	group = getgrnam(text);
	if (group == NULL)
		cli_usage(&cli_map, "there is no group '%s'", text);
	return group->gr_gid;
}

/* ---- One call on the whole map ------------------------------------------- */

/* The name in argv[1], and `n` words behind it; or cli_usage(). */
static const char *
parse_words(struct cli *cli, int argc, char **argv, int n, const char **words,
    const char *what)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	const char *name = NULL;
	int at = 0;

	while (cli_getopt(cli, &cli_map, argc, argv, options) != -1)
		if (at++ == 0)
			name = optarg;
		else if (at <= n + 1)
			words[at - 2] = optarg;
	if (at != n + 1)
		cli_usage(&cli_map, "%s takes %s", argv[0], what);
	return name;
}

typedef int call(struct holdfast_map *map, uint32_t value);

static int
with_map(struct cli *cli, const char *name, const char *what, call *perform,
    uint32_t value)
{
	struct map_use use;
	int r;

	map_begin(cli, name, &use);
	if (use.map != NULL) {
		r = perform(use.map, value);
		use.rv = map_told(cli, use.h, r, what);
	}
	return map_end(&use);
}

int
map_chmod(struct cli *cli, int argc, char **argv)
{
	const char *word, *name = parse_words(cli, argc, argv, 1, &word,
			      "the map's name and a mode");
	uint32_t mode;

	if (!map_mode_parse(word, &mode))
		cli_usage(&cli_map, "a mode is up to 0777, octal: %s", word);
	return with_map(cli, name, "give it that mode", holdfast_map_chmod,
	    mode);
}

int
map_chgrp(struct cli *cli, int argc, char **argv)
{
	const char *word, *name = parse_words(cli, argc, argv, 1, &word,
			      "the map's name and a group");

	return with_map(cli, name, "give it that group", holdfast_map_chgrp,
	    map_mode_gid(word));
}

/* `+word` sets, `-word` clears. */
static const char *const flag_words[] = {"wirefuture", NULL, NULL, "aslr",
    "aslr-ignstart", NULL, "wxorx", "aslr-stack"};

static int
set_flags(struct holdfast_map *map, uint32_t flags)
{
	return holdfast_map_modflags(map, flags, 0);
}

static int
clear_flags(struct holdfast_map *map, uint32_t flags)
{
	return holdfast_map_modflags(map, 0, flags);
}

int
map_flags(struct cli *cli, int argc, char **argv)
{
	const char *words[2],
	    *name = parse_words(cli, argc, argv, 2, words,
		"the map's name, 'set' or 'clear', and flags");
	static const char *const how[] = {"set", "clear"};
	uint32_t flags = map_words(words[1], flag_words, 8, "flag");

	return with_map(cli, name, "change its flags",
	    map_word(words[0], how, 2, "way") == 0 ? set_flags : clear_flags,
	    flags);
}

/* ---- Figures ------------------------------------------------------------- */

void
map_mode_text(uint32_t mode, char text[MAP_MODE_TEXT])
{
	for (int i = 0; i < 9; i++)
		text[i] = (mode & (0400u >> i)) != 0 ? "rwx"[i % 3] : '-';
	text[9] = '\0';
}

static json_object *
stat_to_json(const struct holdfast_map_stat *stat)
{
	json_object *o = json_object_new_object();
	char mode[MAP_MODE_TEXT];

	map_mode_text(stat->mode, mode);
	cli_set_text(o, "name", stat->name);
	cli_set_u64(o, "min", stat->min);
	cli_set_u64(o, "max", stat->max);
	cli_set_u64(o, "size", stat->size);
	cli_set_u64(o, "nentries", stat->nentries);
	cli_set_u64(o, "timestamp", stat->timestamp);
	cli_set_u64(o, "reserved", stat->reserved);
	cli_set_u64(o, "user_wired", stat->user_wired);
	cli_set_u64(o, "sessions", stat->sessions);
	cli_set_u64(o, "owner", stat->owner);
	cli_set_u64(o, "group", stat->group);
	cli_set_text(o, "mode", mode);
	cli_set_bool(o, "may_change", (stat->access & HF_MAP_CHANGE) != 0);
	return o;
}

static void
print_stat(const struct holdfast_map_stat *stat)
{
	char mode[MAP_MODE_TEXT];

	map_mode_text(stat->mode, mode);
	printf("map       %s, %#llx-%#llx\n"
	       "mode      %s of uid %u, group %u; here to %s\n"
	       "holds     %llu entries, %s; %s reserved, %s wired by the user\n"
	       "changed   %llu times; %llu sessions and windows have it\n",
	    stat->name, (unsigned long long)stat->min,
	    (unsigned long long)stat->max, mode, stat->owner, stat->group,
	    (stat->access & HF_MAP_CHANGE) != 0 ? "change" : "look at",
	    (unsigned long long)stat->nentries, cli_size_text(stat->size),
	    cli_size_text(stat->reserved), cli_size_text(stat->user_wired),
	    (unsigned long long)stat->timestamp,
	    (unsigned long long)stat->sessions);
}

int
map_stat(struct cli *cli, int argc, char **argv)
{
	const char *name = map_name(cli, argc, argv);
	struct holdfast_map_stat stat;
	struct map_use use;
	int r;

	map_begin(cli, name, &use);
	if (use.map != NULL) {
		r = holdfast_map_stat(use.map, &stat);
		if (r != HF_OK)
			use.rv = cli_failed(cli, use.h, r, "ask about the map");
		else if (cli->json)
			cli_print_json(stat_to_json(&stat));
		else
			print_stat(&stat);
	}
	return map_end(&use);
}

/* ---- Limits ---------------------------------------------------------------
 */

/* In the order of HF_LIMIT_*. */
static const char *const limit_words[] = {"vmem", "stack", "memlock", "swap",
    "nentries", "overcommit", "cluster-anon", "stack-guard"};
#define NLIMITS 8

/* Limit n, wherever it is: read it, or put it there. */
static uint64_t
limit_at(const struct holdfast_map_limits *limits, uint32_t n)
{
	const uint64_t values[NLIMITS] = {limits->vmem, limits->stack,
	    limits->memlock, limits->swap, limits->nentries, limits->overcommit,
	    limits->cluster_anon, limits->stack_guard};

	return values[n];
}

static void
limit_put(struct holdfast_map_limits *limits, uint32_t n, uint64_t value)
{
	uint64_t *const wide[NLIMITS] = {&limits->vmem, &limits->stack,
	    &limits->memlock, &limits->swap, &limits->nentries, NULL, NULL,
	    &limits->stack_guard};
	uint32_t *narrow = n == 5 ? &limits->overcommit : &limits->cluster_anon;

	if (wide[n] != NULL)
		*wide[n] = value;
	else
		*narrow = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void
print_limits(const struct cli *cli, const struct holdfast_map_limits *limits)
{
	json_object *o = cli->json ? json_object_new_object() : NULL;

	for (uint32_t n = 0; n < NLIMITS; n++)
		if (o != NULL)
			cli_set_u64(o, limit_words[n], limit_at(limits, n));
		else
			printf("%-13s %llu\n", limit_words[n],
			    (unsigned long long)limit_at(limits, n));
	if (o != NULL)
		cli_print_json(o);
}

int
map_limits(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	struct holdfast_map_limits limits = {0};
	const char *name = NULL;
	struct map_use use;
	uint32_t set = 0;
	int r;

	while (cli_getopt(cli, &cli_map, argc, argv, options) != -1) {
		char *value = strchr(optarg, '=');
		uint32_t n;

		if (name == NULL) {
			name = optarg;
			continue;
		}
		if (value == NULL)
			cli_usage(&cli_map, "a limit is LIMIT=VALUE: %s",
			    optarg);
		*value++ = '\0';
		n = map_word(optarg, limit_words, NLIMITS, "limit");
		set |= 1u << n;
		limit_put(&limits, n, cli_size(&cli_map, optarg, value));
	}
	if (name == NULL)
		cli_usage(&cli_map, "limits takes the map's name");
	map_begin(cli, name, &use);
	if (use.map != NULL) {
		r = holdfast_map_limits(use.map, set, &limits);
		if (r != HF_OK)
			use.rv = cli_failed(cli, use.h, r, "set those limits");
		else
			print_limits(cli, &limits);
	}
	return map_end(&use);
}
