/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The parts of hf_dpdk_fwd: what was asked, what came out, and one call a
 * step.  Each step returns 0, or a negative number after it has said why on
 * stderr.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/dpdk/holdfast_dpdk.h"

struct rte_mempool;

enum fwd_ports { FWD_PORTS_NULL, FWD_PORTS_RING };

struct fwd_options {
	const char *socket_path; /* NULL: the default */
	uint64_t size;           /* bytes of the heap */
	uint64_t packets;        /* to forward */
	uint64_t zone;           /* bytes of the largest memzone */
	unsigned int mbufs;
	enum fwd_ports ports;
	bool scatter;
	bool json;
};

/* One IOVA-contiguous memzone, asked of one heap. */
struct fwd_zone {
	uint64_t size;
	bool granted;
	char error[48];  /* why not */
	uint64_t iova;   /* what DPDK says */
	bool physical;   /* iova is known to be a physical address */
	bool contiguous; /* and every huge page of it follows the last */
};

#define FWD_ZONES 3

struct fwd_forward {
	const char *driver;
	uint64_t packets; /* received and sent on */
	uint64_t damaged; /* that came out other than they went in */
	uint64_t lost;    /* that did not come out; ring ports only */
	double seconds;
};

struct fwd_result {
	struct fwd_zone ours[FWD_ZONES];
	struct fwd_zone theirs[FWD_ZONES];
	struct fwd_forward forward;
	struct holdfast_dpdk_verdict verdict;
	bool verified;
};

/*
 * Ask both heaps for zones of 1 MiB, 3 MiB and `options->zone`, note what
 * they said, and free them.  -1: holdfast's heap refused one, or gave one
 * that is not where holdfast says.
 */
int fwd_zones(const struct fwd_options *options,
    const struct holdfast_dpdk_heap *heap, struct fwd_result *result);

/* The EAL arguments that make the two ports. */
const char *const *fwd_port_args(enum fwd_ports ports);

/*
 * Start both ports on `mp` and `socket_id`, forward, stop and close them.
 * -1: a port does not start, too few packets came through, or one of them
 * was lost or damaged.
 */
int fwd_forward(const struct fwd_options *options, struct rte_mempool *mp,
    int socket_id, struct fwd_forward *forward);

/* The report: a text for people, or one JSON object. */
void fwd_print_memory(const struct fwd_options *options,
    const struct holdfast_dpdk_heap *heap);
void fwd_print_zones(const struct fwd_options *options,
    const struct fwd_result *result);
void fwd_print_forward(const struct fwd_options *options,
    const struct fwd_result *result);
void fwd_print_verdict(const struct fwd_options *options,
    const struct fwd_result *result);
void fwd_print_json(const struct fwd_options *options,
    const struct holdfast_dpdk_heap *heap, const struct fwd_result *result,
    bool pass);
