/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The in-process daemon and its clients, as the daemon target sees them.
 */

#include "arch/sim/sim.h"
#include "fuzz/system/sys.h"
#include "proto/wire.h"
#include "server/server.h"

#define DAEMON_CLIENTS 4
#define DAEMON_TENANTS 3
#define DAEMON_BUFFERS 32 /* a client remembers */
#define DAEMON_IDS     16
#define DAEMON_PENDING 64
#define DAEMON_DEAD    8 /* numbers given back lately */
#define DAEMON_INODES  256

struct buffer_seen {
	uint64_t id, pa, size;
	int fd; /* a duplicate of ours, or -1 */
	uint64_t offset;
};

/* A request whose reply has not come. */
struct pending {
	uint64_t id; /* 0: free */
	uint32_t op;
	unsigned step; /* at which it was sent */
	bool known;    /* its numbers were this session's when it was sent */
	union sys_message body;
};

struct daemon_client {
	int fd; /* -1: not connected */
	unsigned tenant;
	bool greeted, paused;
	bool wild; /* sent what we cannot follow */
	uint64_t next_id;
	struct wire_out out; /* requests of a packet that is being built */
	struct buffer_seen buffers[DAEMON_BUFFERS];
	unsigned nbuffers;
	uint64_t ids[SYS_NIDS][DAEMON_IDS]; /* objects and maps */
	unsigned nids[SYS_NIDS];
	uint64_t dead[DAEMON_DEAD];
	unsigned ndead;
	struct pending pending[DAEMON_PENDING];
};

/* What a request that succeeded must have done, read back at once. */
struct readback {
	bool wanted, asked;
	const struct daemon_client *by; /* whose question that is */
	uint64_t id;                    /* and its number */
	uint32_t op;                    /* of the request */
	uint64_t map, start, end;
	uint32_t prot, max_prot, inheritance;
	bool check_prot, check_max, check_offset;
	uint64_t offset;
};

struct daemon {
	struct arch *arch;
	struct server *server;
	struct fuzz_report *rep;
	unsigned step;     /* records carried out */
	unsigned npackets; /* sent, and perhaps not read by the server */
	struct daemon_client clients[DAEMON_CLIENTS];
	struct { /* whose each file is */
		uint64_t inode;
		unsigned tenant;
	} inodes[DAEMON_INODES];
	unsigned ninodes;
	bool memfd;
	bool short_queues;
	bool own_maps; /* each client makes one when it joins */
	bool spoiled;  /* frames were taken away or changed on purpose */
	struct readback readback;
	struct wire_arena arena;
};

/* daemon_life.c: make it as the header says; false: it could not be made. */
bool daemon_begin(struct daemon *d, const uint8_t *header);
/* End every session, let everything settle, and see whether it is home. */
void daemon_end(struct daemon *d);
/* Nothing of the core's may be left behind. */
void daemon_free(struct daemon *d);

/* daemon_client.c */
void daemon_open(struct daemon *d, unsigned slot, unsigned tenant, bool hello);
void daemon_close(struct daemon *d, struct daemon_client *c);
/* Append one request; `rec` says which and with what. */
void daemon_request(struct daemon *d, struct daemon_client *c,
    const struct sys_record *rec);
/* Ask for the entries that `d->readback` is about. */
void daemon_ask_entries(struct daemon *d, struct daemon_client *c);
/* Send what has been appended, with descriptors. */
void daemon_flush(struct daemon *d, struct daemon_client *c, unsigned nfds);
/* Turn the loop until nothing is under way, and read every reply. */
void daemon_settle(struct daemon *d);

/* daemon_check.c: a reply came; `p` NULL: to nothing that we know of. */
void daemon_check_reply(struct daemon *d, struct daemon_client *c,
    const struct pending *p, const Holdfast__V1__Reply *reply, const int *fds,
    size_t nfds);
/* No two live buffers share memory. */
void daemon_check_buffers(struct daemon *d);
/* No account is over its limit. */
void daemon_check_quotas(struct daemon *d);
/* Everything is home. */
void daemon_check_end(struct daemon *d);
/* Write a secret into a buffer, and look for others'. */
void daemon_touch(struct daemon *d, struct daemon_client *c, unsigned n);
