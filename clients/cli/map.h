/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The verbs of `holdfast map`, one function each.
 */

#include "clients/cli/cli.h"

/* Attach to the named map without mapping it here, or say why not: NULL. */
struct holdfast_map *map_attach(const struct cli *cli, struct holdfast *h,
    const char *name, int *rvp);

/* The one argument of the verb argv[0], or cli_usage(). */
const char *map_name(struct cli *cli, int argc, char **argv);

int map_find(struct cli *cli, int argc, char **argv);
int map_insert(struct cli *cli, int argc, char **argv);
int map_delete(struct cli *cli, int argc, char **argv);
int map_findspace(struct cli *cli, int argc, char **argv);

int map_entries(struct cli *cli, int argc, char **argv);
int map_lookup(struct cli *cli, int argc, char **argv);
int map_check(struct cli *cli, int argc, char **argv);

int map_protect(struct cli *cli, int argc, char **argv);
int map_inherit(struct cli *cli, int argc, char **argv);
int map_madvise(struct cli *cli, int argc, char **argv);
int map_wire(struct cli *cli, int argc, char **argv);
int map_unwire(struct cli *cli, int argc, char **argv);
int map_stack(struct cli *cli, int argc, char **argv);
int map_growstack(struct cli *cli, int argc, char **argv);
