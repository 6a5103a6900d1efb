/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The verbs of `holdfast map`, one function each.
 */

#include "clients/cli/cli.h"

/*
 * Attach to a map, NAME or OWNER:NAME, without mapping it here, or say why
 * not: NULL.
 */
struct holdfast_map *map_attach(const struct cli *cli, struct holdfast *h,
    const char *name, int *rvp);

/*
 * What a verb about one map goes through: connect and attach, as above; then,
 * where `map` is not NULL, do it and set `rv`; then close and return that.
 */
struct map_use {
	struct holdfast *h;
	struct holdfast_map *map;
	int rv;
};
void map_begin(struct cli *cli, const char *name, struct map_use *use);
int map_end(struct map_use *use);

/*
 * What a verb that prints nothing says at its end: why it could not do `what`,
 * or {} for --json.  Returns the program's exit status.
 */
int map_told(const struct cli *cli, struct holdfast *h, int r,
    const char *what);

/* The one argument of the verb argv[0], or cli_usage(). */
const char *map_name(struct cli *cli, int argc, char **argv);

/* The place of a word in a list, or cli_usage(). */
uint32_t map_word(const char *word, const char *const *words, uint32_t n,
    const char *what);
/* Words joined by '+' as the bits at their places, or cli_usage(). */
uint32_t map_words(const char *text, const char *const *words, uint32_t n,
    const char *what);

int map_find(struct cli *cli, int argc, char **argv);
int map_insert(struct cli *cli, int argc, char **argv);
int map_delete(struct cli *cli, int argc, char **argv);
int map_findspace(struct cli *cli, int argc, char **argv);
int map_fixed(struct cli *cli, int argc, char **argv);
int map_aligned(struct cli *cli, int argc, char **argv);

/* What 'entries' prints of one; the caller's. */
json_object *map_entry_to_json(const struct holdfast_entry *e);

/* How a verb lists the entries of a map. */
struct map_listing {
	int (*list)(struct holdfast_map *map, struct holdfast_entry **entriesp,
	    size_t *np);
	json_object *(*to_json)(const struct holdfast_entry *e);
	const char *head; /* a line */
	void (*print)(const struct holdfast_entry *e);
};

/* All of such a verb: its one argument, the list, the exit status. */
int map_list_entries(struct cli *cli, int argc, char **argv,
    const struct map_listing *how);

int map_fork(struct cli *cli, int argc, char **argv);
int map_show(struct cli *cli, int argc, char **argv);

int map_entries(struct cli *cli, int argc, char **argv);
int map_lookup(struct cli *cli, int argc, char **argv);
int map_check(struct cli *cli, int argc, char **argv);
int map_entry(struct cli *cli, int argc, char **argv);
int map_check_protection(struct cli *cli, int argc, char **argv);
int map_check_boundary(struct cli *cli, int argc, char **argv);

int map_stat(struct cli *cli, int argc, char **argv);
int map_limits(struct cli *cli, int argc, char **argv);
int map_flags(struct cli *cli, int argc, char **argv);
int map_chmod(struct cli *cli, int argc, char **argv);
int map_chgrp(struct cli *cli, int argc, char **argv);

int map_protect(struct cli *cli, int argc, char **argv);
int map_inherit(struct cli *cli, int argc, char **argv);
int map_madvise(struct cli *cli, int argc, char **argv);
int map_wire(struct cli *cli, int argc, char **argv);
int map_unwire(struct cli *cli, int argc, char **argv);
int map_stack(struct cli *cli, int argc, char **argv);
int map_growstack(struct cli *cli, int argc, char **argv);
int map_fault(struct cli *cli, int argc, char **argv);
int map_sync(struct cli *cli, int argc, char **argv);
int map_submap(struct cli *cli, int argc, char **argv);
int map_simplify(struct cli *cli, int argc, char **argv);
