/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A daemon comes and goes.
 */

#include "fuzz/system/daemon.h"
#include "server/memory.h"
#include "server/session.h"

#define HOUR_MS 3600000u

/* ---- Life -----------------------------------------------------------------
 */

static void
small_quota(struct quota_limits *limits, uint8_t b)
{
	for (unsigned i = 0; i < QUOTA_NRESOURCES && b != 0; i++) {
		if ((b >> (i % 7) & 1) == 0)
			continue;
		limits->limit[i] = 4u + (b >> 4);
		if (i == QUOTA_BYTES)
			limits->limit[i] = 3 * SYS_FRAME;
		else if (i == QUOTA_BASE_BYTES)
			limits->limit[i] = 32 * SYS_PAGE;
		else if (i == QUOTA_QUEUED)
			limits->limit[i] = 4096;
	}
}

/* The generator, which does not know the protocol, has the number right. */
static void
check_number(unsigned n, unsigned id)
{
	if (sys_choice(&holdfast__v1__request__descriptor, n)->id != id)
		__builtin_trap();
}

bool
daemon_begin(struct daemon *d, const uint8_t *header)
{
	static uid_t told[] = {SYS_UID};
	struct sim_segment segments[2] = {{SYS_POOL, SYS_POOL, 0}};
	struct sim_options sim = {.segments = segments, .nsegments = 1};
	struct server_options options;

	check_number(SYS_CONTIG_FREE, HOLDFAST__V1__REQUEST__OP_CONTIG_FREE);
	check_number(SYS_MAP_INSERT, HOLDFAST__V1__REQUEST__OP_MAP_INSERT);
	segments[0].end += SYS_FRAME * (4 + (header[0] & 0x0f));
	if ((header[0] & 0x30) == 0x30) { /* the last two on another node */
		segments[1] =
		    (struct sim_segment){segments[0].end - 2 * SYS_FRAME,
			segments[0].end, 1};
		segments[0].end = segments[1].start;
		sim.nsegments = 2;
	}
	sim.memfd = d->memfd = (header[3] & 1) != 0;
	d->short_queues = (header[6] & 1) != 0;
	d->own_maps = (header[7] & 1) == 0;
	if ((header[0] & 0xc0) == 0xc0)
		sim.nsegments = 0;
	d->arch = sim_create(&sim);
	memory_fails = sys_memory_fails;
	server_options_default(&options);
	options.addresses.all = (header[1] & 3) == 0;
	options.addresses.uids = told;
	options.addresses.nuids = header[1] & 1;
	small_quota(&options.limits, header[2]);
	if (d->arch == NULL || server_new(&d->server, d->arch, &options) < 0)
		return false;
	if (header[4] != 0 && header[4] % 3 == 1)
		sim_fail_nth(d->arch, header[5]);
	else if (header[4] != 0 && header[4] % 3 == 2)
		sim_fail_from(d->arch, header[5]);
	return true;
}

/* Let go of what holders withheld, as they do when they end. */
static void
release_withheld(struct daemon *d)
{
	for (unsigned i = 0; i < 64; i++) {
		struct arch_span *span =
		    sim_span_at(d->arch, SYS_POOL + SYS_FRAME * i);

		if (span != NULL)
			sim_withhold(d->arch, span, false);
	}
}

void
daemon_end(struct daemon *d)
{
	sim_fail_never(d->arch);
	sys_env.memory_nth = 0;
	for (unsigned i = 0; i < SIM_NCALLS; i++)
		sim_fail_call(d->arch, (enum sim_call)i, 0, 0);
	for (unsigned i = 0; i < DAEMON_CLIENTS; i++)
		daemon_close(d, &d->clients[i]);
	release_withheld(d);
	daemon_settle(d);
	(void)quarantine_release_all(&d->server->quarantine);
	/* What was in limbo comes home when its timer fires. */
	for (unsigned i = 0; i < 4; i++) {
		sys_env.now_ms += HOUR_MS;
		daemon_settle(d);
	}
	stock_stop(&d->server->pool);
	daemon_settle(d);
	daemon_check_end(d);
}

void
daemon_free(struct daemon *d)
{
	server_free(d->server);
	if (d->arch != NULL && sim_live(d->arch) != 0)
		(void)fuzz_found(d->rep, "leak", "end",
		    "%zu blocks of the core", sim_live(d->arch));
	sim_destroy(d->arch);
	wire_arena_fini(&d->arena);
}
