/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>

#include "clients/cli/cli.h"
#include "clients/cli/picture.h"

#define ROWS 32 /* of the whole picture, unless --rows says otherwise */

struct pool {
	struct holdfast_pool_status status;
	struct holdfast_run *segs, *free, *limbo;
	size_t nsegs, nfree, nlimbo;
	int runs_rv; /* HF_DENIED: counts only */
};

static void
pool_fini(struct pool *pool)
{
	free(pool->segs);
	free(pool->free);
	free(pool->limbo);
}

static int
pool_read(struct holdfast *h, struct pool *pool)
{
	int r = holdfast_pool_status(h, &pool->status);

	if (r != HF_OK)
		return r;
	pool->runs_rv = holdfast_pool_runs(h, &pool->segs, &pool->nsegs,
	    &pool->free, &pool->nfree);
	if (pool->runs_rv == HF_OK)
		pool->runs_rv =
		    holdfast_limbo_runs(h, &pool->limbo, &pool->nlimbo);
	return pool->runs_rv == HF_DENIED ? HF_OK : pool->runs_rv;
}

static json_object *
runs_to_json(const struct holdfast_run *runs, size_t n)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		cli_set_u64(o, "start", runs[i].start);
		cli_set_u64(o, "end", runs[i].end);
		cli_set_u64(o, "node", (uint64_t)runs[i].domain);
		(void)json_object_array_add(array, o);
	}
	return array;
}

static void
print_json(const struct pool *pool)
{
	json_object *o = json_object_new_object();

	cli_set_u64(o, "frame_size", pool->status.frame_size);
	cli_set_u64(o, "frames_total", pool->status.frames_total);
	cli_set_u64(o, "frames_standby", pool->status.frames_standby);
	cli_set_u64(o, "frames_in_use", pool->status.frames_in_use);
	cli_set_u64(o, "frames_limbo", pool->status.frames_limbo);
	cli_set_u64(o, "free_bytes", pool->status.free_bytes);
	cli_set_u64(o, "largest_run", pool->status.largest_run);
	cli_set_bool(o, "addresses_told", pool->runs_rv == HF_OK);
	if (pool->runs_rv == HF_OK) {
		(void)json_object_object_add(o, "segments",
		    runs_to_json(pool->segs, pool->nsegs));
		(void)json_object_object_add(o, "free",
		    runs_to_json(pool->free, pool->nfree));
		(void)json_object_object_add(o, "limbo",
		    runs_to_json(pool->limbo, pool->nlimbo));
	}
	cli_print_json(o);
}

static void
print_totals(const struct holdfast_pool_status *s)
{
	printf("%s in %llu frames of %s: %llu free, %llu in use, %llu in "
	       "limbo; largest run %s\n",
	    cli_size_text(s->frames_total * s->frame_size),
	    (unsigned long long)s->frames_total, cli_size_text(s->frame_size),
	    (unsigned long long)s->frames_standby,
	    (unsigned long long)s->frames_in_use,
	    (unsigned long long)s->frames_limbo, cli_size_text(s->largest_run));
}

/* A tenant that is not told addresses sees how much, not where. */
static void
print_bar(const struct holdfast_pool_status *s)
{
	uint64_t total = s->frames_total != 0 ? s->frames_total : 1;
	uint64_t nused =
	    (s->frames_in_use * PICTURE_COLUMNS + total - 1) / total;
	uint64_t nlimbo =
	    (s->frames_limbo * PICTURE_COLUMNS + total - 1) / total;

	(void)puts("addresses are not told to this tenant; how much, not "
		   "where:");
	(void)fputs("  ", stdout);
	for (uint64_t i = 0; i < PICTURE_COLUMNS; i++)
		(void)putchar(i < nused ? '#' : i < nused + nlimbo ? 'x' : '.');
	(void)putchar('\n');
}

static void
print_picture(const struct pool *pool, unsigned rows)
{
	const struct picture picture = {
	    .segs = pool->segs,
	    .nsegs = pool->nsegs,
	    .free = pool->free,
	    .nfree = pool->nfree,
	    .limbo = pool->limbo,
	    .nlimbo = pool->nlimbo,
	    .frame_size = pool->status.frame_size,
	};
	uint64_t scale;

	if (pool->nsegs == 0 || picture.frame_size == 0)
		return;
	scale = picture_scale(&picture, rows);
	picture_draw(&picture, scale, stdout);
	printf("one character is %s:  . free  # in use  + partly  x limbo\n",
	    cli_size_text(scale));
}

static int
run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"rows", required_argument,
						    NULL, 'R'},
	    CLI_COMMON_OPTIONS};
	struct pool pool = {0};
	uint64_t rows = ROWS;
	struct holdfast *h;
	int c, r, rv = CLI_OK;

	while ((c = cli_getopt(cli, &cli_pool, argc, argv, options)) != -1)
		if (c == 'R')
			rows = cli_size(&cli_pool, "--rows", optarg);
		else
			cli_usage(&cli_pool, "takes no argument: %s", optarg);
	if (rows == 0 || rows > 100000)
		cli_usage(&cli_pool, "--rows is 1 to 100000");
	h = cli_connect(cli);
	r = pool_read(h, &pool);
	if (r != HF_OK) {
		rv = cli_failed(cli, h, r, "read the pool");
	} else if (cli->json) {
		print_json(&pool);
	} else {
		print_totals(&pool.status);
		if (pool.runs_rv == HF_OK)
			print_picture(&pool, (unsigned)rows);
		else
			print_bar(&pool.status);
	}
	pool_fini(&pool);
	holdfast_close(h);
	return rv;
}

const struct cli_verb cli_pool = {
    .name = "pool",
    .brief = "a picture of physical memory: what is free, and where",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast pool - a picture of physical memory\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast pool [--rows N] [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    Draws the pool's physical segments, NUMA node by NUMA node in\n"
	"    ascending order of address, one character a frame, or as many\n"
	"    frames as it takes to stay within N rows (32):\n"
	"\n"
	"        .  free\n"
	"        #  in use\n"
	"        +  partly in use\n"
	"        x  in limbo: revoked, but withheld by a pin of its holder\n"
	"\n"
	"    A tenant that is not told physical addresses gets the counts.\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection\n",
};
