/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A small daemon inside a test: honest until a case tells it how to lie.
 *
 * It runs in a child process, serves one connection, and needs no huge pages:
 * its span is a hugetlb memfd without a frame in it, which can be mapped and
 * must not be touched.  Its map is backed by an ordinary sealed memfd.  Before
 * an answer leaves, the case's tweak may change anything about it.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "clients/libholdfast/holdfast.h"
#include "proto/wire.h"

#define FAKE_FRAME     ((uint64_t)2 << 20)
#define FAKE_SPAN_SIZE (4 * FAKE_FRAME)
#define FAKE_SPAN_PA   UINT64_C(0x40000000)
#define FAKE_MAP_MIN   UINT64_C(0x6f0000000000)
#define FAKE_MAP_SIZE  ((uint64_t)16 << 20)

/* One answer on its way out. */
struct fake_answer {
	Holdfast__V1__Request__OpCase op; /* what it answers */
	unsigned nth;                     /* 0: the first of that op */
	Holdfast__V1__Reply reply;
	/* The result that `reply` shows, if any. */
	Holdfast__V1__HelloResult hello;
	Holdfast__V1__ContigAllocResult contig;
	Holdfast__V1__MapResult map;
	Holdfast__V1__MapFindResult find;
	Holdfast__V1__MapLookupResult lookup;
	Holdfast__V1__MapEntriesResult entries;
	Holdfast__V1__PoolRunsResult runs;
	int fds[80];
	size_t nfds;
	bool silent;       /* send nothing */
	bool hang_up;      /* close instead */
	bool empty_packet; /* send a 0-byte packet with the descriptors */
	bool unnumbered;   /* leave reply.nfds as the tweak set it */
	unsigned repeat;   /* send so many more of it */
	const void *raw;   /* send these bytes instead */
	size_t raw_size;
};

typedef void fake_tweak(struct fake_answer *answer, const char *arg);

struct fake {
	char dir[64];
	char path[96]; /* of the socket */
	pid_t pid;
};

/* Listen and serve.  `tweak` may be NULL; it runs in the daemon's process. */
void fake_start(struct fake *fake, fake_tweak *tweak, const char *arg);
/* Wait for the daemon to end; it does when its client hangs up. */
void fake_stop(struct fake *fake);
/* End it by SIGKILL, in the middle of whatever it does. */
void fake_kill(struct fake *fake);

/* Connect with a timeout of a few seconds. */
struct holdfast *fake_connect(const struct fake *fake);
int fake_try_connect(const struct fake *fake, int timeout_ms,
    struct holdfast **hp);
