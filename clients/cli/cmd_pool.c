/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/picture.h"

#define ROWS 32 /* of the whole picture, unless --rows says otherwise */

struct pool {
	struct holdfast_pool_status status;
	struct holdfast_run *segs, *free, *limbo, *held;
	size_t nsegs, nfree, nlimbo, nheld;
	int runs_rv; /* HF_DENIED: counts only */
};

static void
pool_fini(struct pool *pool)
{
	free(pool->segs);
	free(pool->free);
	free(pool->limbo);
	free(pool->held);
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
	if (pool->runs_rv == HF_OK)
		pool->runs_rv =
		    holdfast_quarantine_runs(h, &pool->held, &pool->nheld);
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
		if (runs[i].big)
			cli_set_bool(o, "big", true);
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
	cli_set_u64(o, "big_size", pool->status.big_size);
	cli_set_u64(o, "big_total", pool->status.big_total);
	cli_set_u64(o, "big_standby", pool->status.big_standby);
	cli_set_u64(o, "frames_quarantined", pool->status.frames_quarantined);
	cli_set_bool(o, "draining", pool->status.draining);
	cli_set_bool(o, "addresses_told", pool->runs_rv == HF_OK);
	if (pool->runs_rv == HF_OK) {
		(void)json_object_object_add(o, "segments",
		    runs_to_json(pool->segs, pool->nsegs));
		(void)json_object_object_add(o, "free",
		    runs_to_json(pool->free, pool->nfree));
		(void)json_object_object_add(o, "limbo",
		    runs_to_json(pool->limbo, pool->nlimbo));
		(void)json_object_object_add(o, "quarantine",
		    runs_to_json(pool->held, pool->nheld));
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
	if (s->big_size != 0)
		printf("of them %llu big frames of %s, %llu free\n",
		    (unsigned long long)s->big_total,
		    cli_size_text(s->big_size),
		    (unsigned long long)s->big_standby);
	if (s->draining)
		(void)puts("drained: nothing new is allocated");
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
	    .held = pool->held,
	    .nheld = pool->nheld,
	    .frame_size = pool->status.frame_size,
	};
	uint64_t scale;

	if (pool->nsegs == 0 || picture.frame_size == 0)
		return;
	scale = picture_scale(&picture, rows);
	picture_draw(&picture, scale, stdout);
	printf("one character is %s:  . free  # in use  + partly  x limbo%s\n",
	    cli_size_text(scale), pool->nheld != 0 ? "  q quarantined" : "");
}

static int
show(struct cli *cli, struct holdfast *h, unsigned rows)
{
	struct pool pool = {0};
	int rv = CLI_OK;
	int r = pool_read(h, &pool);

	if (r != HF_OK) {
		rv = cli_failed(cli, h, r, "read the pool");
	} else if (cli->json) {
		print_json(&pool);
	} else {
		print_totals(&pool.status);
		if (pool.runs_rv == HF_OK)
			print_picture(&pool, rows);
		else
			print_bar(&pool.status);
	}
	pool_fini(&pool);
	return rv;
}

/* ---- Changing it --------------------------------------------------- */

struct verb {
	const char *name;
	enum holdfast_pool_action action;
	bool counted; /* takes how many */
	const char *what;
	const char *done; /* "12 of 16 frames ..." */
};

static const struct verb verbs[] = {
    {"grow", HF_POOL_GROW, true, "grow the pool", "came"},
    {"shrink", HF_POOL_SHRINK, true, "shrink the pool", "went"},
    {"drain", HF_POOL_DRAIN, false, "drain the pool", NULL},
    {"undrain", HF_POOL_UNDRAIN, false, "undrain the pool", NULL},
    {"rebalance", HF_POOL_REBALANCE, false, "rebalance the pool", "moved"},
    {"demote", HF_POOL_DEMOTE, true, "take big frames apart",
	"were taken apart"},
};
#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *
verb_find(const char *name)
{
	for (size_t i = 0; i < NVERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static void
changed_json(const struct verb *verb, const struct holdfast_pool_change *change,
    const struct holdfast_pool_changed *changed)
{
	json_object *o = json_object_new_object();

	cli_set_text(o, "action", verb->name);
	if (verb->counted)
		cli_set_u64(o, "asked", change->frames);
	if (verb->done != NULL) {
		cli_set_u64(o, "frames", changed->frames);
		cli_set_u64(o, "nruns", changed->nruns);
		cli_set_u64(o, "largest_run", changed->largest_run);
		(void)json_object_object_add(o, "runs",
		    runs_to_json(changed->runs, changed->nruns_told));
	}
	cli_print_json(o);
}

static void
changed_text(const struct verb *verb, const struct holdfast_pool_change *change,
    const struct holdfast_pool_changed *changed)
{
	if (verb->done == NULL)
		return;
	printf("%llu ", (unsigned long long)changed->frames);
	if (verb->counted)
		printf("of %llu ", (unsigned long long)change->frames);
	printf("frames %s", verb->done);
	if (changed->nruns > 0 && verb->action != HF_POOL_REBALANCE)
		printf(", in %llu runs, the largest %s",
		    (unsigned long long)changed->nruns,
		    cli_size_text(changed->largest_run));
	(void)putchar('\n');
	for (size_t i = 0; i < changed->nruns_told; i++)
		printf("  %#llx-%#llx, node %d, %s\n",
		    (unsigned long long)changed->runs[i].start,
		    (unsigned long long)changed->runs[i].end,
		    changed->runs[i].domain,
		    cli_size_text(
			changed->runs[i].end - changed->runs[i].start));
}

static int
change(struct cli *cli, struct holdfast *h, const struct verb *verb,
    const struct holdfast_pool_change *change)
{
	struct holdfast_pool_changed changed;
	int r = holdfast_pool_change(h, change, &changed);

	if (r != HF_OK)
		return cli_failed(cli, h, r, verb->what);
	if (cli->json)
		changed_json(verb, change, &changed);
	else
		changed_text(verb, change, &changed);
	free(changed.runs);
	return CLI_OK;
}

/* ---- The command line ----------------------------------------------- */

struct args {
	const struct verb *verb; /* NULL: show */
	bool named;              /* a word was given */
	bool counted;
	uint64_t rows;
	struct holdfast_pool_change change;
};

static void
take_argument(struct args *args, const char *text)
{
	if (!args->named) {
		args->named = true;
		args->verb = verb_find(text);
		if (args->verb == NULL && strcmp(text, "show") != 0)
			cli_usage(&cli_pool, "there is no 'pool %s'", text);
		return;
	}
	if (args->verb == NULL || !args->verb->counted || args->counted)
		cli_usage(&cli_pool, "one argument too many: %s", text);
	args->counted = true;
	args->change.frames = cli_size(&cli_pool, "N", text);
}

static void
take_arguments(struct cli *cli, int argc, char **argv, struct args *args)
{
	static const struct option options[] = {{"rows", required_argument,
						    NULL, 'R'},
	    {"node", required_argument, NULL, 'N'},
	    {"1g", no_argument, NULL, 'G'}, CLI_COMMON_OPTIONS};
	int c;

	while ((c = cli_getopt(cli, &cli_pool, argc, argv, options)) != -1)
		if (c == 'R') {
			args->rows = cli_size(&cli_pool, "--rows", optarg);
		} else if (c == 'N') {
			args->change.domain_set = true;
			args->change.domain =
			    (int)cli_size(&cli_pool, "--node", optarg);
		} else if (c == 'G') {
			args->change.big = true;
		} else {
			take_argument(args, optarg);
		}
	if (args->rows == 0 || args->rows > 100000)
		cli_usage(&cli_pool, "--rows is 1 to 100000");
	if (args->verb != NULL && args->verb->counted && !args->counted)
		cli_usage(&cli_pool, "%s how many frames?", args->verb->name);
	if (args->verb != NULL)
		args->change.action = args->verb->action;
}

static int
run(struct cli *cli, int argc, char **argv)
{
	struct args args = {.rows = ROWS};
	struct holdfast *h;
	int rv;

	take_arguments(cli, argc, argv, &args);
	h = cli_connect(cli);
	rv = args.verb == NULL ? show(cli, h, (unsigned)args.rows)
			       : change(cli, h, args.verb, &args.change);
	holdfast_close(h);
	return rv;
}

const struct cli_verb cli_pool = {
    .name = "pool",
    .brief = "a picture of physical memory; changing the pool",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast pool - a picture of physical memory; changing the pool\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast pool [show] [--rows N]\n"
	"    holdfast pool grow N|shrink N [--node NODE] [--1g]\n"
	"    holdfast pool drain|undrain|rebalance\n"
	"    holdfast pool demote N\n"
	"    and [--socket PATH] [--json] with each\n"
	"\n"
	"DESCRIPTION\n"
	"    show draws the pool's physical segments, NUMA node by NUMA node\n"
	"    in ascending order of address, one character a frame, or as many\n"
	"    frames as it takes to stay within N rows (32):\n"
	"\n"
	"        .  free\n"
	"        #  in use\n"
	"        +  partly in use\n"
	"        x  in limbo: revoked, but withheld by a pin of its holder\n"
	"        q  quarantined: see holdfast release\n"
	"\n"
	"    A tenant that is not told physical addresses gets the counts.\n"
	"\n"
	"    The others are for operators: root, and whom the daemon's\n"
	"    --operators and --operator-group name.  They print how many\n"
	"    frames there were, which may be fewer than asked for.\n"
	"\n"
	"    grow N       take N frames from the kernel, preferring long "
	"runs;\n"
	"                 up to the daemon's --pool-max\n"
	"    shrink N     give N free frames back, from the shortest runs; "
	"down\n"
	"                 to --pool-min\n"
	"    drain        refuse every new allocation; undrain ends it\n"
	"    rebalance    move free frames until NUMA nodes have the same\n"
	"    demote N     take N free pages of 1 GiB apart, into 512 frames "
	"each\n"
	"\n"
	"    --node NODE  grow or shrink on that NUMA node\n"
	"    --1g         grow or shrink by N pages of 1 GiB\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection\n",
};
