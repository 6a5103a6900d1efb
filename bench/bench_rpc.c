/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a request costs: a null request and a find, alone and 32 in a packet,
 * through libholdfast and a real holdfastd, beside a bare SEQPACKET ping-pong
 * of packets of the same sizes.  Everything runs on one processor, and the
 * contestants take turns, so that the ratios hold while the machine drifts.
 *
 *	bench_rpc --daemon PATH [--quick] [--live N] [--cpu N]
 */

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/daemon.h"
#include "bench/floor.h"
#include "clients/libholdfast/holdfast.h"
#include "proto/holdfast.pb-c.h"
#include "proto/limits.h"

#define BATCH  32
#define LENGTH 0x10000u

struct sizes {
	size_t request, reply; /* bytes in a packet each way */
};

/* ---- The floor: packets of the same sizes, nothing done with them ------- */

static struct bench_floor
floor_start(struct sizes sizes, bool on_epoll)
{
	return bench_floor_start(sizes.request, sizes.reply, -1, on_epoll);
}

static void
floor_round(const struct bench_floor *f, struct bench_samples *out, size_t n,
    double per)
{
	static char buffer[HOLDFAST_PACKET_MAX];

	for (size_t i = 0; i < n; i++) {
		double t = bench_now_ns();

		if (send(f->fd, buffer, f->request, 0) < 0 ||
		    recv(f->fd, buffer, sizeof(buffer), 0) <= 0)
			err(1, "ping-pong");
		bench_add(out, (bench_now_ns() - t) / per);
	}
}

/* ---- The sizes of the real packets ----------------------------------------
 */

static struct sizes
find_sizes(size_t batch, uint64_t addr)
{
	Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;
	Holdfast__V1__Request requests[BATCH], *request_ptrs[BATCH];
	Holdfast__V1__ClientPacket out = HOLDFAST__V1__CLIENT_PACKET__INIT;
	Holdfast__V1__MapFindResult result =
	    HOLDFAST__V1__MAP_FIND_RESULT__INIT;
	Holdfast__V1__Reply replies[BATCH], *reply_ptrs[BATCH];
	Holdfast__V1__ServerPacket in = HOLDFAST__V1__SERVER_PACKET__INIT;

	find.map = 1;
	find.length = LENGTH;
	find.addr = addr;
	find.find_space = 1;
	find.prot = find.max_prot = 3;
	result.addr = addr;
	for (size_t i = 0; i < batch; i++) {
		holdfast__v1__request__init(&requests[i]);
		requests[i].id = 1000 + i;
		requests[i].op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIND;
		requests[i].map_find = &find;
		request_ptrs[i] = &requests[i];
		holdfast__v1__reply__init(&replies[i]);
		replies[i].id = 1000 + i;
		replies[i].status = HOLDFAST__V1__STATUS__STATUS_SUCCESS;
		replies[i].result_case = HOLDFAST__V1__REPLY__RESULT_MAP_FIND;
		replies[i].map_find = &result;
		reply_ptrs[i] = &replies[i];
	}
	out.n_requests = batch;
	out.requests = request_ptrs;
	in.n_replies = batch;
	in.replies = reply_ptrs;
	return (
	    struct sizes){holdfast__v1__client_packet__get_packed_size(&out),
	    holdfast__v1__server_packet__get_packed_size(&in)};
}

/* ---- Holdfast
 * ------------------------------------------------------------------ */

static void
must(struct holdfast *h, int rv, const char *what)
{
	if (rv != HF_OK)
		errx(1, "%s: %s: %s", what, holdfast_status_name(rv),
		    holdfast_error(h));
}

static const struct holdfast_map_args any = {.length = LENGTH,
    .find_space = 1,
    .prot = 3,
    .max_prot = 3};

static void
ping_round(struct holdfast *h, struct bench_samples *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double t = bench_now_ns();

		must(h, holdfast_ping(h), "ping");
		bench_add(out, bench_now_ns() - t);
	}
}

static void
find_round(struct holdfast *h, struct holdfast_map *map,
    struct bench_samples *out, size_t n)
{
	uint64_t addr;

	for (size_t i = 0; i < n; i++) {
		double t = bench_now_ns();

		must(h, holdfast_map_find(map, &any, &addr), "find");
		bench_add(out, bench_now_ns() - t);
		must(h, holdfast_map_delete(map, addr, addr + LENGTH),
		    "delete");
	}
}

static void
batch_round(struct holdfast *h, struct holdfast_map *map,
    struct bench_samples *out, size_t n)
{
	struct holdfast_map_args args[BATCH];
	uint64_t addr[BATCH];
	int rv[BATCH];

	for (size_t i = 0; i < BATCH; i++)
		args[i] = any;
	for (size_t i = 0; i < n; i++) {
		double t = bench_now_ns();

		must(h, holdfast_map_find_batch(map, args, BATCH, rv, addr),
		    "find_batch");
		bench_add(out, (bench_now_ns() - t) / BATCH);
		for (size_t j = 0; j < BATCH; j++) {
			must(h, rv[j], "find in a batch");
			must(h,
			    holdfast_map_delete(map, addr[j], addr[j] + LENGTH),
			    "delete");
		}
	}
}

/* Entries that do not merge: every other one with less protection. */
static void
fill(struct holdfast *h, struct holdfast_map *map, size_t live)
{
	struct holdfast_map_args args = any;
	uint64_t addr;

	for (size_t i = 0; i < live; i++) {
		args.prot = i % 2 != 0 ? 3 : 1;
		must(h, holdfast_map_find(map, &args, &addr), "fill");
	}
}

static void
run(struct holdfast *h, struct holdfast_map *map, size_t rounds, size_t n)
{
	struct sizes one = find_sizes(1, holdfast_map_min(map) + LENGTH);
	struct sizes many = find_sizes(BATCH, holdfast_map_min(map) + LENGTH);
	struct bench_floor raw = floor_start(one, false);
	struct bench_floor raw_epoll = floor_start(one, true);
	struct bench_floor raw_many = floor_start(many, false);
	struct bench_samples floor = {0}, floor_epoll = {0}, floor_many = {0};
	struct bench_samples ping = {0}, find = {0}, batch = {0};
	double base;

	for (size_t i = 0; i < rounds; i++) {
		floor_round(&raw, &floor, n, 1);
		ping_round(h, &ping, n);
		floor_round(&raw_epoll, &floor_epoll, n, 1);
		find_round(h, map, &find, n);
		floor_round(&raw_many, &floor_many, n / BATCH + 1, BATCH);
		batch_round(h, map, &batch, n / BATCH + 1);
	}
	base = bench_quantile(&floor, 0.5);
	printf("packets: find %zu and %zu bytes, batch of %d %zu and %zu\n",
	    one.request, one.reply, BATCH, many.request, many.reply);
	bench_print_header();
	bench_print("raw SEQPACKET ping-pong", &floor, 0, NULL);
	bench_print("raw, server on epoll", &floor_epoll, base, "raw");
	bench_print("null request", &ping, base, "raw");
	bench_print("find", &find, base, "raw");
	bench_print("find, beside raw on epoll", &find,
	    bench_quantile(&floor_epoll, 0.5), "raw on epoll");
	bench_print("raw, size of a batch, each", &floor_many, 0, NULL);
	bench_print("find in a batch of 32, each", &batch,
	    bench_quantile(&floor_many, 0.5), "raw of that size");
	bench_floor_stop(&raw);
	bench_floor_stop(&raw_epoll);
	bench_floor_stop(&raw_many);
	bench_fini(&floor);
	bench_fini(&floor_epoll);
	bench_fini(&floor_many);
	bench_fini(&ping);
	bench_fini(&find);
	bench_fini(&batch);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"daemon", required_argument, NULL, 'd'},
	    {"quick", no_argument, NULL, 'q'},
	    {"live", required_argument, NULL, 'l'},
	    {"cpu", required_argument, NULL, 'c'},
	    {NULL, 0, NULL, 0},
	};
	const char *program = NULL;
	size_t rounds = 20, n = 2000, live = 1000;
	/* No deadline, as the ping-pong has none. */
	struct holdfast_options connect = {.name = "bench_rpc",
	    .timeout_ms = -1};
	struct holdfast_map_options map_options = {.no_mirror = true};
	struct holdfast_map *map;
	struct holdfast *h;
	struct bench_daemon d;
	int c, cpu = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'd':
			program = optarg;
			break;
		case 'q':
			rounds = 3;
			n = 200;
			break;
		case 'l':
			live = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			cpu = atoi(optarg);
			break;
		default:
			return 2;
		}
	if (program == NULL)
		errx(2, "--daemon PATH is wanted");
	if (!bench_pin(cpu))
		warnx("not pinned: wake-ups of the other core will show");
	bench_daemon_start(&d, program, "sim", "64M");
	connect.socket_path = d.path;
	if (holdfast_connect(&connect, &h) != HF_OK)
		errx(1, "cannot connect to %s", d.path);
	must(h, holdfast_map_create(h, &map_options, &map), "map_create");
	fill(h, map, live);
	printf("%zu live entries, everything on processor %d\n", live, cpu);
	run(h, map, rounds, n);
	(void)holdfast_map_detach(map);
	holdfast_close(h);
	bench_daemon_stop(&d);
	return 0;
}
