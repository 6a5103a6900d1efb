/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A daemon that answers a client in this process: honestly, until the program
 * tells it how to lie.  It acts when the client is about to read.
 */

#include "fuzz/system/sys.h"
#include "proto/wire.h"

#define LIAR_MIN     UINT64_C(0x6f0000000000)
#define LIAR_SIZE    (UINT64_C(4) << 20)
#define LIAR_SPAN    (4 * SYS_FRAME)
#define LIAR_ENTRIES 32
#define LIAR_REPLIES HOLDFAST_BATCH_MAX

struct liar {
	int fd;               /* our end; -1: hung up */
	int base_fd, span_fd; /* what backs entries and buffers; -1: not yet */
	uint64_t brk;         /* bytes of the span given out */
	uint64_t last_id;     /* numbers given out */
	struct {
		uint64_t start, end;
	} entries[LIAR_ENTRIES];
	size_t nentries;
	uint8_t how;       /* 0: honest */
	unsigned nth;      /* which reply of the call is the lie */
	unsigned nreplies; /* of this call */
	uint8_t operand[SYS_OPERANDS];
	bool lied; /* since it was connected */
	struct wire_arena arena;
};

/* false: no memory or descriptors. */
bool liar_init(struct liar *liar);
void liar_fini(struct liar *liar);
/* A new connection; the client's end is sys_env.client_fd then. */
bool liar_listen(struct liar *liar);
/* How the next call is answered. */
void liar_told(struct liar *liar, const struct sys_record *rec);
