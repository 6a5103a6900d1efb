/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>

#include "clients/cli/cli.h"

/* What operators care for. */
static void
pool_limits_to_json(json_object *o, const struct holdfast_pool_status *p)
{
	cli_set_u64(o, "big_size", p->big_size);
	cli_set_u64(o, "big_total", p->big_total);
	cli_set_u64(o, "big_standby", p->big_standby);
	cli_set_u64(o, "pool_max", p->pool_max);
	cli_set_u64(o, "pool_min", p->pool_min);
	cli_set_u64(o, "frames_quarantined", p->frames_quarantined);
	cli_set_u64(o, "frames_tampered", p->frames_tampered);
	cli_set_u64(o, "frames_poisoned", p->frames_poisoned);
	cli_set_bool(o, "draining", p->draining);
	cli_set_bool(o, "operator", p->is_operator);
}

static json_object *
pool_to_json(const struct holdfast_pool_status *p)
{
	json_object *o = json_object_new_object();

	cli_set_u64(o, "frame_size", p->frame_size);
	cli_set_u64(o, "frames_total", p->frames_total);
	cli_set_u64(o, "frames_standby", p->frames_standby);
	cli_set_u64(o, "frames_in_use", p->frames_in_use);
	cli_set_u64(o, "frames_limbo", p->frames_limbo);
	cli_set_u64(o, "frames_missing", p->frames_missing);
	cli_set_u64(o, "free_bytes", p->free_bytes);
	cli_set_u64(o, "largest_run", p->largest_run);
	cli_set_text(o, "pin", cli_pin_text(p->pin));
	cli_set_bool(o, "addresses_known", p->addresses_known);
	cli_set_bool(o, "simulated", p->simulated);
	cli_set_text(o, "degraded", p->degraded);
	cli_set_u64(o, "spans", p->spans);
	cli_set_u64(o, "sessions", p->sessions);
	cli_set_u64(o, "tenants", p->tenants);
	cli_set_u64(o, "uptime_ms", p->uptime_ms);
	cli_set_u64(o, "frames_idle", p->frames_idle);
	cli_set_u64(o, "frames_ready", p->frames_ready);
	cli_set_u64(o, "spans_ready", p->spans_ready);
	cli_set_u64(o, "stock_hits", p->stock_hits);
	cli_set_u64(o, "stock_misses", p->stock_misses);
	cli_set_u64(o, "waiting", p->waiting);
	cli_set_u64(o, "reclaim_asks", p->reclaim_asks);
	pool_limits_to_json(o, p);
	return o;
}

static void
set_quota(json_object *to, const char *key, struct holdfast_quota quota)
{
	json_object *o = json_object_new_object();

	cli_set_u64(o, "used", quota.used);
	if (quota.limit != UINT64_MAX)
		cli_set_u64(o, "limit", quota.limit);
	cli_set_u64(o, "highwater", quota.highwater);
	(void)json_object_object_add(to, key, o);
}

static json_object *
tenant_to_json(const struct holdfast_tenant_status *t)
{
	json_object *o = json_object_new_object();

	cli_set_text(o, "tenant", t->tenant);
	set_quota(o, "bytes", t->bytes);
	set_quota(o, "fds", t->fds);
	set_quota(o, "requests", t->requests);
	set_quota(o, "sessions", t->sessions);
	cli_set_u64(o, "buffers", t->buffers);
	cli_set_u64(o, "maps", t->maps);
	cli_set_u64(o, "entries", t->entries);
	cli_set_u64(o, "tampered", t->tampered);
	cli_set_u64(o, "limbo_bytes", t->limbo_bytes);
	set_quota(o, "base_bytes", t->base_bytes);
	set_quota(o, "map_entries", t->map_entries);
	cli_set_u64(o, "idle_bytes", t->idle_bytes);
	cli_set_u64(o, "spans_taken", t->spans_taken);
	return o;
}

static json_object *
types_to_json(const struct holdfast_type_stat *types, size_t n)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		cli_set_text(o, "type", types[i].type);
		cli_set_u64(o, "allocs", types[i].allocs);
		cli_set_u64(o, "frees", types[i].frees);
		cli_set_u64(o, "bytes", types[i].bytes);
		cli_set_u64(o, "highwater", types[i].highwater);
		cli_set_u64(o, "failures", types[i].failures);
		(void)json_object_array_add(array, o);
	}
	return array;
}

/* What there is only sometimes. */
static void
print_pool_more(const struct holdfast_pool_status *p)
{
	if (p->big_size != 0)
		printf("          of them %llu big frames of %s, %llu free\n",
		    (unsigned long long)p->big_total,
		    cli_size_text(p->big_size),
		    (unsigned long long)p->big_standby);
	if (p->frames_quarantined != 0)
		printf("          %llu quarantined after a death: holdfast "
		       "release\n",
		    (unsigned long long)p->frames_quarantined);
	if (p->frames_tampered != 0)
		printf("          %llu were changed by their holders\n",
		    (unsigned long long)p->frames_tampered);
	if (p->frames_poisoned != 0)
		printf("          %llu were retired: their memory is bad\n",
		    (unsigned long long)p->frames_poisoned);
	if (p->draining)
		puts("          drained: nothing new is allocated");
}

static void
print_pool(const struct holdfast_pool_status *p)
{
	printf("pool      %s: %llu frames of %s%s\n",
	    cli_size_text(p->frames_total * p->frame_size),
	    (unsigned long long)p->frames_total, cli_size_text(p->frame_size),
	    p->simulated ? ", simulated: invented addresses, no memory" : "");
	printf("          %llu free, %llu in use by %llu spans, %llu in limbo, "
	       "%llu missing\n",
	    (unsigned long long)p->frames_standby,
	    (unsigned long long)p->frames_in_use, (unsigned long long)p->spans,
	    (unsigned long long)p->frames_limbo,
	    (unsigned long long)p->frames_missing);
	if (p->frames_idle != 0)
		printf("          %llu of those in use are kept idle by "
		       "tenants\n",
		    (unsigned long long)p->frames_idle);
	printf("          %s free, the largest run %s\n",
	    cli_size_text(p->free_bytes), cli_size_text(p->largest_run));
	printf("stock     %llu of the free frames in %llu ready-made spans; "
	       "%llu requests found one, %llu did not\n",
	    (unsigned long long)p->frames_ready,
	    (unsigned long long)p->spans_ready,
	    (unsigned long long)p->stock_hits,
	    (unsigned long long)p->stock_misses);
	if (p->waiting != 0 || p->reclaim_asks != 0)
		printf("waiting   %llu requests; clients were asked for memory "
		       "%llu times\n",
		    (unsigned long long)p->waiting,
		    (unsigned long long)p->reclaim_asks);
	print_pool_more(p);
	printf("pin       %s\n", cli_pin_text(p->pin));
	printf("addresses %s\n", p->addresses_known ? "known" : "not known");
	if (*p->degraded != '\0')
		printf("degraded  %s\n", p->degraded);
}

static void
print_quota(const char *name, struct holdfast_quota quota, bool bytes)
{
	char text[3][32];
	uint64_t n[3] = {quota.used, quota.limit, quota.highwater};

	for (int i = 0; i < 3; i++)
		if (n[i] == UINT64_MAX)
			(void)snprintf(text[i], sizeof(text[i]), "any number");
		else if (bytes)
			(void)snprintf(text[i], sizeof(text[i]), "%s",
			    cli_size_text(n[i]));
		else
			(void)snprintf(text[i], sizeof(text[i]), "%llu",
			    (unsigned long long)n[i]);
	printf("  %-9s %s of %s, at most so far %s\n", name, text[0], text[1],
	    text[2]);
}

static void
print_tenant(const struct holdfast_tenant_status *t,
    const struct holdfast_type_stat *types, size_t ntypes)
{
	printf("tenant    %s\n", t->tenant);
	print_quota("bytes", t->bytes, true);
	print_quota("fds", t->fds, false);
	print_quota("requests", t->requests, false);
	print_quota("sessions", t->sessions, false);
	print_quota("base", t->base_bytes, true);
	print_quota("entries", t->map_entries, false);
	printf("  %llu buffers, %llu maps with %llu entries\n",
	    (unsigned long long)t->buffers, (unsigned long long)t->maps,
	    (unsigned long long)t->entries);
	printf("  %llu spans taken so far, %s kept idle\n",
	    (unsigned long long)t->spans_taken, cli_size_text(t->idle_bytes));
	if (t->tampered != 0)
		printf("  %llu frames came back changed\n",
		    (unsigned long long)t->tampered);
	if (t->limbo_bytes != 0)
		printf("  %s withheld by a pin of its own\n",
		    cli_size_text(t->limbo_bytes));
	for (size_t i = 0; i < ntypes; i++)
		printf("  type %-10s %s in use, %llu allocations, %llu "
		       "refused\n",
		    types[i].type, cli_size_text(types[i].bytes),
		    (unsigned long long)types[i].allocs,
		    (unsigned long long)types[i].failures);
}

static void
print_daemon(const struct holdfast *h, const struct holdfast_pool_status *p,
    const struct holdfast_info *info)
{
	(void)h;
	printf("daemon    protocol %u on %s, up %llu.%llu s, %llu sessions of "
	       "%llu tenants\n",
	    info->version, info->machine,
	    (unsigned long long)(p->uptime_ms / 1000),
	    (unsigned long long)(p->uptime_ms / 100 % 10),
	    (unsigned long long)p->sessions, (unsigned long long)p->tenants);
}

static int
status(struct cli *cli, struct holdfast *h)
{
	struct holdfast_tenant_status tenant;
	struct holdfast_pool_status pool;
	struct holdfast_type_stat *types;
	struct holdfast_info info;
	size_t ntypes;
	int r;

	r = holdfast_pool_status(h, &pool);
	if (r != HF_OK)
		return cli_failed(cli, h, r, "read the pool's status");
	r = holdfast_tenant_status(h, &tenant);
	if (r != HF_OK)
		return cli_failed(cli, h, r, "read the tenant's status");
	r = holdfast_type_stats(h, &types, &ntypes);
	if (r != HF_OK)
		return cli_failed(cli, h, r, "read the malloc types");
	holdfast_info(h, &info);
	if (cli->json) {
		json_object *o = json_object_new_object();

		cli_set_u64(o, "version", info.version);
		cli_set_text(o, "machine", info.machine);
		cli_set_u64(o, "page_size", info.page_size);
		cli_set_bool(o, "addresses_allowed", info.addresses_allowed);
		(void)json_object_object_add(o, "pool", pool_to_json(&pool));
		(void)json_object_object_add(o, "tenant",
		    tenant_to_json(&tenant));
		(void)json_object_object_add(o, "types",
		    types_to_json(types, ntypes));
		cli_print_json(o);
	} else {
		print_daemon(h, &pool, &info);
		print_pool(&pool);
		print_tenant(&tenant, types, ntypes);
	}
	free(types);
	return CLI_OK;
}

static int
run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	struct holdfast *h;
	int rv;

	if (cli_getopt(cli, &cli_status, argc, argv, options) != -1)
		cli_usage(&cli_status, "takes no argument: %s", optarg);
	h = cli_connect(cli);
	rv = status(cli, h);
	holdfast_close(h);
	return rv;
}

const struct cli_verb cli_status = {
    .name = "status",
    .brief = "the daemon, its pool, and what this tenant holds",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast status - the daemon, its pool, and what this tenant "
	"holds\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast status [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    Prints what the daemon says of itself: the pool's frames (free,\n"
	"    in use, withheld in limbo, missing), its largest run, what pin a\n"
	"    buffer gets, what is quarantined, was tampered with or retired,\n"
	"    whether physical addresses are known, and in one\n"
	"    sentence what is not to be had here.  Then the limits of the\n"
	"    calling tenant, what it uses of them, and its malloc types.\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection\n",
};
