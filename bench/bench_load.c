/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A daemon under load: 64 and 256 clients that each have one request in flight,
 * beside a bare SEQPACKET server on epoll with packets of the same sizes; and
 * one client's find with 1,000 others idle and 10^6 live entries, beside
 * the same without them.
 *
 *	bench_load --daemon PATH [--quick]
 *
 * The clients of the first part share a process on processor 1, the server
 * has processor 0; the second part runs on processor 0 alone.
 */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/daemon.h"
#include "clients/libholdfast/holdfast.h"
#include "proto/wire.h"

#define CLIENTS_MAX 256
#define IDLE        1000
#define LENGTH      0x10000u
#define PACKET      256 /* bytes that any packet of this program fits in */

struct client {
	int fd;
	uint8_t find[PACKET], delete[PACKET];
	size_t nfind, ndelete;
	double sent; /* when; ns */
	bool deleting;
};

static struct wire_arena arena;

/* ---- Packets ------------------------------------------------------------ */

static size_t
pack(uint8_t *buf, Holdfast__V1__Request *request)
{
	struct wire_out out;

	wire_out_init(&out, buf, PACKET);
	request->id = 1000;
	if (wire_append_request(&out, request) < 0)
		errx(1, "a request does not fit");
	return out.len;
}

static const Holdfast__V1__Reply *
call(int fd, Holdfast__V1__Request *request)
{
	Holdfast__V1__ServerPacket *packet;
	uint8_t buf[PACKET];
	size_t n = pack(buf, request);
	ssize_t got;

	if (send(fd, buf, n, MSG_NOSIGNAL) < 0)
		err(1, "send");
	got = recv(fd, buf, sizeof(buf), 0);
	if (got <= 0)
		err(1, "recv");
	wire_arena_reset(&arena);
	packet = wire_unpack_server(&arena, buf, (size_t)got);
	if (packet == NULL || packet->n_replies != 1 ||
	    packet->replies[0]->status != HOLDFAST__V1__STATUS__STATUS_SUCCESS)
		errx(1, "a request was refused");
	return packet->replies[0];
}

static int
client_connect(const char *path)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		err(1, "connect");
	hello.version_min = hello.version_max = 1;
	hello.name = (char *)"bench_load";
	request.op_case = HOLDFAST__V1__REQUEST__OP_HELLO;
	request.hello = &hello;
	(void)call(fd, &request);
	return fd;
}

/* A map of its own, and the two requests that it will send for ever. */
static void
client_open(struct client *client, const char *path)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__MapCreate create = HOLDFAST__V1__MAP_CREATE__INIT;
	Holdfast__V1__MapFind find = HOLDFAST__V1__MAP_FIND__INIT;
	Holdfast__V1__MapDelete delete = HOLDFAST__V1__MAP_DELETE__INIT;

	*client = (struct client){.fd = client_connect(path)};
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_CREATE;
	request.map_create = &create;
	find.map = call(client->fd, &request)->map->map;
	delete.map = find.map;
	find.length = LENGTH;
	find.find_space = 1;
	find.prot = find.max_prot = 3;
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_FIND;
	request.map_find = &find;
	delete.start = call(client->fd, &request)->map_find->addr;
	delete.end = delete.start + LENGTH;
	client->nfind = pack(client->find, &request);
	request.op_case = HOLDFAST__V1__REQUEST__OP_MAP_DELETE;
	request.map_delete = &delete;
	(void)call(client->fd, &request);
	client->ndelete = pack(client->delete, &request);
}

static void
client_send(struct client *client)
{
	const uint8_t *packet =
	    client->deleting ? client->delete : client->find;
	size_t n = client->deleting ? client->ndelete : client->nfind;

	client->sent = bench_now_ns();
	if (send(client->fd, packet, n, MSG_NOSIGNAL) < 0)
		err(1, "send");
}

/* ---- The peer: a bare server of packets of the same sizes --------------- */

static _Noreturn void
bare_serve(int listener)
{
	struct epoll_event events[64], event = {.events = EPOLLIN};
	int poll = epoll_create1(EPOLL_CLOEXEC);
	static uint8_t buf[65536];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	event.data.fd = listener;
	if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) < 0)
		_exit(1);
	for (;;) {
		int n = epoll_wait(poll, events, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				event.data.fd = accept(listener, NULL, NULL);
				(void)epoll_ctl(poll, EPOLL_CTL_ADD,
				    event.data.fd, &event);
			} else if (recv(fd, buf, sizeof(buf), 0) <= 0) {
				(void)close(fd);
			} else {
				(void)send(fd, buf, 18, MSG_NOSIGNAL);
			}
		}
	}
}

static pid_t
bare_start(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t pid;

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    listen(listener, CLIENTS_MAX) < 0)
		err(1, "%s", path);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0)
		bare_serve(listener);
	(void)close(listener);
	return pid;
}

static void
bare_open(struct client *client, const struct client *like, const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	*client = *like;
	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (client->fd < 0 ||
	    connect(client->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		err(1, "connect");
}

/* ---- Many at once ------------------------------------------------------- */

/* The samples are the time from one reply to the next, over all clients. */
static void
load_round(struct client *clients, size_t n, size_t replies,
    struct bench_samples *out)
{
	struct epoll_event events[CLIENTS_MAX], event = {.events = EPOLLIN};
	int poll = epoll_create1(EPOLL_CLOEXEC);
	size_t got = 0, sent = n;
	uint8_t buf[PACKET];
	double start;

	for (size_t i = 0; i < n; i++) {
		event.data.ptr = &clients[i];
		if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event) < 0)
			err(1, "epoll_ctl");
		clients[i].deleting = false;
	}
	start = bench_now_ns();
	for (size_t i = 0; i < n; i++)
		client_send(&clients[i]);
	while (got < sent) {
		int k = epoll_wait(poll, events, CLIENTS_MAX, -1);

		for (int i = 0; i < k; i++) {
			struct client *client = events[i].data.ptr;

			if (recv(client->fd, buf, sizeof(buf), 0) <= 0)
				err(1, "recv");
			got++;
			client->deleting = !client->deleting;
			/* Every map is left as empty as it was. */
			if (sent < replies || client->deleting) {
				client_send(client);
				sent++;
			}
		}
	}
	bench_add(out, (bench_now_ns() - start) / (double)got);
	(void)close(poll);
}

static void
load(const char *path, const char *bare, size_t n, bool quick)
{
	static struct client ours[CLIENTS_MAX], theirs[CLIENTS_MAX];
	struct bench_samples us = {0}, them = {0};
	char name[64];

	for (size_t i = 0; i < n; i++) {
		client_open(&ours[i], path);
		bare_open(&theirs[i], &ours[i], bare);
	}
	for (int i = 0; i < (quick ? 3 : 15); i++) {
		load_round(theirs, n, quick ? 4000 : 60000, &them);
		load_round(ours, n, quick ? 4000 : 60000, &us);
	}
	(void)snprintf(name, sizeof(name), "bare server, %zu clients", n);
	bench_print(name, &them, 0, NULL);
	(void)snprintf(name, sizeof(name), "find and delete, %zu clients", n);
	bench_print(name, &us, bench_quantile(&them, 0.5), "bare server");
	for (size_t i = 0; i < n; i++) {
		(void)close(ours[i].fd);
		(void)close(theirs[i].fd);
	}
	bench_fini(&us);
	bench_fini(&them);
}

/* ---- One among many that are idle --------------------------------------- */

static const struct holdfast_map_args any = {.length = LENGTH,
    .find_space = 1,
    .prot = 3,
    .max_prot = 3};

static void
find_round(struct holdfast_map *map, size_t n, struct bench_samples *out)
{
	uint64_t addr;

	for (size_t i = 0; i < n; i++) {
		double t = bench_now_ns();

		if (holdfast_map_find(map, &any, &addr) != HF_OK)
			errx(1, "find was refused");
		bench_add(out, bench_now_ns() - t);
		if (holdfast_map_delete(map, addr, addr + LENGTH) != HF_OK)
			errx(1, "delete was refused");
	}
}

/* Entries that do not merge: every other one with less protection. */
static void
fill(struct holdfast_map *map, size_t live)
{
	struct holdfast_map_args args[64];
	uint64_t addr[64];
	int rv[64];

	for (size_t i = 0; i < 64; i++) {
		args[i] = any;
		args[i].prot = i % 2 != 0 ? 3 : 1;
	}
	for (size_t i = 0; i < live; i += 64)
		if (holdfast_map_find_batch(map, args, 64, rv, addr) != HF_OK)
			errx(1, "fill was refused");
}

static struct holdfast_map *
map_new(struct holdfast *h)
{
	struct holdfast_map_options options = {.no_mirror = true};
	struct holdfast_map *map;

	if (holdfast_map_create(h, &options, &map) != HF_OK)
		errx(1, "map_create: %s", holdfast_error(h));
	return map;
}

static void
idle(const char *path, bool quick)
{
	struct holdfast_options options = {.socket_path = path,
	    .timeout_ms = -1};
	struct bench_samples alone = {0}, crowd = {0};
	struct holdfast_map *small, *large;
	struct holdfast *h;
	static int fds[IDLE];

	if (holdfast_connect(&options, &h) != HF_OK)
		errx(1, "connect");
	small = map_new(h);
	find_round(small, quick ? 500 : 20000, &alone);
	for (size_t i = 0; i < IDLE; i++)
		fds[i] = client_connect(path);
	large = map_new(h);
	fill(large, quick ? 10000 : 1000000);
	find_round(large, quick ? 500 : 20000, &crowd);
	for (size_t i = 0; i < IDLE; i++)
		(void)close(fds[i]);
	(void)holdfast_map_detach(large);
	find_round(small, quick ? 500 : 20000, &alone);
	bench_print("find, an empty daemon", &alone, 0, NULL);
	bench_print(quick ? "find, 1,000 idle, 10^4 live"
			  : "find, 1,000 idle, 10^6 live",
	    &crowd, bench_quantile(&alone, 0.5), "the empty daemon");
	(void)holdfast_map_detach(small);
	holdfast_close(h);
	bench_fini(&alone);
	bench_fini(&crowd);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"daemon", required_argument, NULL, 'd'},
	    {"quick", no_argument, NULL, 'q'},
	    {NULL, 0, NULL, 0},
	};
	const char *program = NULL;
	struct bench_daemon d;
	bool quick = false;
	char bare[104];
	pid_t peer;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'd':
			program = optarg;
			break;
		case 'q':
			quick = true;
			break;
		default:
			return 2;
		}
	if (program == NULL)
		errx(2, "--daemon PATH is wanted");
	if (wire_arena_init(&arena, HOLDFAST_UNPACK_MAX) < 0)
		err(1, "arena");
	if (!bench_pin(0))
		warnx("not pinned: figures will wander");
	bench_daemon_start(&d, program, "sim", "64M");
	(void)snprintf(bare, sizeof(bare), "%s/bare", d.dir);
	peer = bare_start(bare);
	bench_print_header();
	(void)bench_pin(1);
	load(d.path, bare, 64, quick);
	load(d.path, bare, 256, quick);
	(void)bench_pin(0);
	idle(d.path, quick);
	(void)kill(peer, SIGKILL);
	(void)waitpid(peer, NULL, 0);
	(void)unlink(bare);
	bench_daemon_stop(&d);
	wire_arena_fini(&arena);
	return 0;
}
