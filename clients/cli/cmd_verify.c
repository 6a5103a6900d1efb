/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdio.h>
#include <stdlib.h>

#include "clients/cli/cli.h"

static void
print_json(const struct holdfast_verified *v)
{
	json_object *o = json_object_new_object();
	json_object *bad = json_object_new_array();

	cli_set_u64(o, "spans", v->spans);
	cli_set_u64(o, "frames", v->frames);
	cli_set_u64(o, "mismatches", v->mismatches);
	cli_set_u64(o, "poisoned", v->poisoned);
	cli_set_u64(o, "unread", v->unread);
	cli_set_bool(o, "all_tenants", v->all);
	cli_set_u64(o, "ready_spans", v->ready_spans);
	cli_set_u64(o, "ready_frames", v->ready_frames);
	cli_set_u64(o, "ready_mismatches", v->ready_mismatches);
	cli_set_u64(o, "ready_poisoned", v->ready_poisoned);
	for (size_t i = 0; i < v->nbad; i++) {
		json_object *one = json_object_new_object();

		cli_set_text(one, "tenant", v->bad[i].tenant);
		cli_set_u64(one, "span", v->bad[i].span);
		cli_set_u64(one, "frames", v->bad[i].frames);
		cli_set_u64(one, "mismatches", v->bad[i].mismatches);
		cli_set_u64(one, "poisoned", v->bad[i].poisoned);
		cli_set_u64(one, "pa", v->bad[i].pa);
		(void)json_object_array_add(bad, one);
	}
	(void)json_object_object_add(o, "bad", bad);
	cli_print_json(o);
}

static void
print_text(const struct holdfast_verified *v)
{
	printf("%llu frames of %llu live spans of %s: %llu mismatches, %llu "
	       "with bad memory\n",
	    (unsigned long long)v->frames, (unsigned long long)v->spans,
	    v->all ? "every tenant" : "this tenant",
	    (unsigned long long)v->mismatches, (unsigned long long)v->poisoned);
	if (v->ready_spans != 0)
		printf("%llu frames of %llu spans in stock: %llu mismatches, "
		       "%llu with bad memory\n",
		    (unsigned long long)v->ready_frames,
		    (unsigned long long)v->ready_spans,
		    (unsigned long long)v->ready_mismatches,
		    (unsigned long long)v->ready_poisoned);
	if (v->unread != 0)
		printf("%llu spans could not be read\n",
		    (unsigned long long)v->unread);
	for (size_t i = 0; i < v->nbad; i++)
		printf("  %s span %llu: %llu of %llu frames are not where they "
		       "were, %llu have bad memory\n",
		    v->bad[i].tenant, (unsigned long long)v->bad[i].span,
		    (unsigned long long)v->bad[i].mismatches,
		    (unsigned long long)v->bad[i].frames,
		    (unsigned long long)v->bad[i].poisoned);
}

static bool
all_is_well(const struct holdfast_verified *v)
{
	return v->mismatches + v->poisoned + v->ready_mismatches +
		   v->ready_poisoned ==
	       0;
}

static int
run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS};
	struct holdfast_verified verified;
	struct holdfast *h;
	int rv;
	int r;

	if (cli_getopt(cli, &cli_verify, argc, argv, options) != -1)
		cli_usage(&cli_verify, "takes no argument: %s", optarg);
	h = cli_connect(cli);
	r = holdfast_verify(h, &verified);
	if (r != HF_OK) {
		rv = cli_failed(cli, h, r, "verify");
	} else {
		if (cli->json)
			print_json(&verified);
		else
			print_text(&verified);
		rv = all_is_well(&verified) ? CLI_OK : CLI_REFUSED;
	}
	holdfast_close(h);
	return rv;
}

const struct cli_verb cli_verify = {
    .name = "verify",
    .brief = "read the address of every frame in use again",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast verify - read the address of every frame in use again\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast verify [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    The daemon reads the physical address of every frame of every\n"
	"    live span from the kernel and compares it with what it told the\n"
	"    clients: for an operator of all tenants, for others of their "
	"own.\n"
	"    There is a mismatch only where a client punched or truncated its\n"
	"    own span, which harms nobody else; it is counted against its\n"
	"    tenant (holdfast status).  A frame may also have been retired by\n"
	"    the kernel because its memory went bad; its holders are told.\n"
	"    For an operator the same is done for what is in stock, which is\n"
	"    counted apart; what is wrong there is dissolved.\n"
	"\n"
	"EXIT STATUS\n"
	"    0 everything is where it was; 1 something is not, or refused;\n"
	"    2 usage; 3 no connection\n",
};
