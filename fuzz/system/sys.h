/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the system targets share: records, messages filled from bytes, and the
 * parts of the system that a deterministic run has to replace.
 *
 * A program is 16 bytes of header and records of 8, as everywhere else, but a
 * record means something of its own here:
 *
 *	byte 0     what is done (modulo how many actions there are)
 *	byte 1     who does it: session in bits 0-2, options above
 *	byte 2     which request or reply, or a number
 *	bytes 3-7  operands; a record SYS_EXT before it gives seven more
 *
 * Linked with -Wl,--wrap=... (tests/fuzz/system/meson.build): threads, the
 * clock, credentials and the client's socket calls are ours while a run lasts.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuzz/target.h"

#define SYS_HEADER       16
#define SYS_RECORD       8
#define SYS_OPERANDS     12
#define SYS_CONTIG_ALLOC 5 /* as sys_choice() counts requests */
#define SYS_CONTIG_FREE  6
#define SYS_MAP_INSERT   18
#define SYS_MAP_REQUESTS 34   /* from there on, of maps */
#define SYS_EXT          0xff /* action of a record that only holds operands */
#define SYS_PAGE         UINT64_C(4096)
#define SYS_FRAME        (UINT64_C(2) << 20)
#define SYS_POOL         (UINT64_C(1) << 32) /* where the pool begins */
#define SYS_FDS_MAX      64
#define SYS_UID          ((uid_t)1000) /* of tenant 0 */
#define nitems_of(a)     (sizeof(a) / sizeof((a)[0]))

struct sys_record {
	uint8_t action, who, what;
	uint8_t operand[SYS_OPERANDS];
};

/* The next record with the operands of the SYS_EXT before it.  false: end. */
bool sys_next(const uint8_t *data, size_t size, size_t *offp,
    struct sys_record *rec);

/* ---- Messages (fill.c) ----------------------------------------------------
 */

enum sys_id { SYS_ID_BUFFER, SYS_ID_OBJECT, SYS_ID_MAP, SYS_NIDS };

/* Where values come from. */
struct sys_fill {
	/* A number of that kind for an operand; 0 operand: the latest. */
	uint64_t (*id)(void *arg, enum sys_id kind, uint8_t operand);
	void *arg;
	uint64_t base; /* lowest address of maps */
};

#define SYS_MESSAGE_MAX 512
union sys_message {
	ProtobufCMessage base;
	uint64_t align;
	char bytes[SYS_MESSAGE_MAX];
};

/* Messages that a oneof holds: how many, and the field of the nth. */
unsigned sys_nchoices(const ProtobufCMessageDescriptor *d);
const ProtobufCFieldDescriptor *sys_choice(const ProtobufCMessageDescriptor *d,
    unsigned n);

/*
 * Fill a message's scalar fields and strings by their names and types; the
 * nth field takes the nth operand, those beyond take 0.  0 is always a value
 * that makes sense.  Repeated fields and submessages stay empty.
 */
void sys_fill(const struct sys_fill *fill, union sys_message *message,
    const ProtobufCMessageDescriptor *d, const uint8_t *operand);

/* "MapFind map=1 length=0x1000": fields that are not 0. */
void sys_print(const ProtobufCMessage *message);
/* $HOLDFAST_FUZZ_TRACE: say on stderr what happens, for people who debug. */
bool sys_is_traced(void);

/* A number that breaks things, for 16 operands. */
uint64_t sys_figure(uint8_t operand);

/* ---- What is replaced while a run lasts (sys.c) ---------------------------
 */

struct sys_env {
	bool active;
	uint64_t now_ms; /* the clock */
	uid_t uid;       /* whom SO_PEERCRED names */
	/* The server's own memory: the nth allocation from now fails, with
	 * `memory_sticky` all from there on; 0: none does. */
	unsigned memory_nth;
	bool memory_sticky;
	unsigned memory_nfailed;
	/* The client's side, where it is under test: its socket, and what
	 * happens before it reads. */
	int client_fd; /* -1: none */
	void (*before_receive)(void *arg);
	void *arg;
};
extern struct sys_env sys_env;

/* Take over; give back. */
void sys_env_begin(void);
void sys_env_end(void);

/* For the server's `memory_fails`: counts down, and says whether to fail. */
bool sys_memory_fails(void);

/* Descriptors open in this process. */
unsigned sys_nfds(void);

/* Send a packet with descriptors.  false: not taken. */
bool sys_send(int fd, const void *buf, size_t len, const int *fds, size_t nfds);
/* Read one: > 0 its bytes, 0 hung up, < 0 nothing there.  Fills fds. */
ssize_t sys_receive(int fd, void *buf, size_t size, int *fds, size_t *nfdsp);
void sys_close_all(int *fds, size_t n);
