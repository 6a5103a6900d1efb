/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>

#include "clients/cli/cli.h"

static json_object *
held_to_json(const struct holdfast_quarantined *held, size_t n)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		cli_set_u64(o, "id", held[i].id);
		cli_set_text(o, "tenant", held[i].tenant);
		cli_set_text(o, "type", held[i].type);
		cli_set_u64(o, "size", held[i].size);
		cli_set_u64(o, "age_ms", held[i].age_ms);
		if (held[i].left_ms != 0)
			cli_set_u64(o, "left_ms", held[i].left_ms);
		if (held[i].pa != 0)
			cli_set_u64(o, "pa", held[i].pa);
		(void)json_object_array_add(array, o);
	}
	return array;
}

static void
print_held(const struct holdfast_quarantined *held, size_t n)
{
	if (n == 0)
		(void)puts("nothing is quarantined");
	for (size_t i = 0; i < n; i++) {
		printf("%llu  %s, %s, type %s, for %llu s",
		    (unsigned long long)held[i].id, held[i].tenant,
		    cli_size_text(held[i].size), held[i].type,
		    (unsigned long long)(held[i].age_ms / 1000));
		if (held[i].left_ms != 0)
			printf(", %llu s left\n",
			    (unsigned long long)(held[i].left_ms + 999) / 1000);
		else
			(void)puts(", until it is released");
	}
}

static int
list(struct cli *cli, struct holdfast *h)
{
	struct holdfast_quarantined *held;
	size_t n;
	int r = holdfast_quarantine(h, &held, &n);

	if (r != HF_OK)
		return cli_failed(cli, h, r, "list what is quarantined");
	if (cli->json)
		cli_print_json(held_to_json(held, n));
	else
		print_held(held, n);
	free(held);
	return CLI_OK;
}

static int
release(struct cli *cli, struct holdfast *h, uint64_t id)
{
	uint64_t n;
	int r = holdfast_release(h, id, &n);

	if (r != HF_OK)
		return cli_failed(cli, h, r, "release");
	if (cli->json) {
		json_object *o = json_object_new_object();

		cli_set_u64(o, "released", n);
		cli_print_json(o);
	} else {
		printf("%llu released\n", (unsigned long long)n);
	}
	return CLI_OK;
}

static int
run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"all", no_argument, NULL, 'A'},
	    CLI_COMMON_OPTIONS};
	bool all = false;
	uint64_t id = 0;
	struct holdfast *h;
	int c, rv;

	while ((c = cli_getopt(cli, &cli_release, argc, argv, options)) != -1)
		if (c == 'A') {
			all = true;
		} else {
			if (id != 0)
				cli_usage(&cli_release, "one ID, or --all");
			id = cli_size(&cli_release, "ID", optarg);
			if (id == 0)
				cli_usage(&cli_release, "an ID is not 0");
		}
	if (all && id != 0)
		cli_usage(&cli_release, "an ID, or --all");
	h = cli_connect(cli);
	rv = all || id != 0 ? release(cli, h, id) : list(cli, h);
	holdfast_close(h);
	return rv;
}

const struct cli_verb cli_release = {
    .name = "release",
    .brief = "device memory of processes that are gone",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast release - device memory of processes that are gone\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast release [ID | --all] [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    A buffer asked for as device memory (holdfast alloc --device)\n"
	"    whose process goes without having freed it is quarantined, since\n"
	"    a device may still write there: it stays pinned, and charged to\n"
	"    its tenant, for as long as the daemon's --quarantine says.\n"
	"\n"
	"    Without an argument: list what is quarantined, all of it for an\n"
	"    operator, the tenant's own for others.  With an ID, or --all: "
	"let\n"
	"    it go at once.  For operators, who know that the device is "
	"quiet.\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection\n",
};
