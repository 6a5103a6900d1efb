/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Two ports and a burst loop between them.
 *
 *	net_null   an endless source and a sink: what port 0 receives goes out
 *	           of port 1, and the other way round
 *	net_ring   each port hands back what it was sent: a fixed set of
 *	           packets, each stamped with its number, goes round and round
 *	           and is read again at the end
 */

#include "clients/dpdk/fwd.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define BURST     32
#define RING_LOAD 512 /* packets going round */
#define LENGTH    64  /* bytes of a packet */

struct stamp {
	uint64_t number;
	uint64_t mixed[(LENGTH - 8) / 8];
};

static const char *const null_args[] = {"--vdev=net_null0,size=64,copy=1",
    "--vdev=net_null1,size=64,copy=1", NULL};
static const char *const ring_args[] = {"--vdev=net_ring0", "--vdev=net_ring1",
    NULL};

const char *const *
fwd_port_args(enum fwd_ports ports)
{
	return ports == FWD_PORTS_NULL ? null_args : ring_args;
}

/* ---- Ports
 * ------------------------------------------------------------------- */

static int
port_start(uint16_t port, struct rte_mempool *mp, unsigned int socket_id)
{
	static const struct rte_eth_conf conf;
	int r;

	r = rte_eth_dev_configure(port, 1, 1, &conf);
	if (r == 0)
		r = rte_eth_rx_queue_setup(port, 0, 512, socket_id, NULL, mp);
	if (r == 0)
		r = rte_eth_tx_queue_setup(port, 0, 512, socket_id, NULL);
	if (r == 0)
		r = rte_eth_dev_start(port);
	if (r != 0)
		fprintf(stderr, "hf_dpdk_fwd: port %u: %s\n", port,
		    rte_strerror(-r));
	return r;
}

static void
port_stop(uint16_t port)
{
	/* The process is about to end; there is nobody to act on an error. */
	(void)rte_eth_dev_stop(port);
	(void)rte_eth_dev_close(port);
}

/* Send all or free the rest, and say how many went. */
static uint16_t
port_send(uint16_t port, struct rte_mbuf **burst, uint16_t n)
{
	uint16_t sent = rte_eth_tx_burst(port, 0, burst, n);

	for (uint16_t i = sent; i < n; i++)
		rte_pktmbuf_free(burst[i]);
	return sent;
}

/* ---- Stamped packets
 * ----------------------------------------------------------- */

static void
stamp_write(struct stamp *stamp, uint64_t number)
{
	stamp->number = number;
	for (size_t i = 0; i < sizeof(stamp->mixed) / 8; i++)
		stamp->mixed[i] = (number + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool
stamp_is_intact(const struct rte_mbuf *m)
{
	const struct stamp *stamp = rte_pktmbuf_mtod(m, const struct stamp *);
	struct stamp want;

	stamp_write(&want, stamp->number);
	return rte_pktmbuf_pkt_len(m) == sizeof(want) &&
	       stamp->number < RING_LOAD &&
	       memcmp(stamp, &want, sizeof(want)) == 0;
}

static int
ring_load(struct rte_mempool *mp, uint16_t port)
{
	for (uint64_t i = 0; i < RING_LOAD; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(mp);

		if (m == NULL) {
			fprintf(stderr,
			    "hf_dpdk_fwd: the pool ran out after "
			    "%llu packets\n",
			    (unsigned long long)i);
			return -1;
		}
		stamp_write((void *)rte_pktmbuf_append(m, LENGTH), i);
		if (port_send(port, &m, 1) != 1) {
			fprintf(stderr, "hf_dpdk_fwd: the ring is full\n");
			return -1;
		}
	}
	return 0;
}

/* Read back what is in the rings: each number once, each byte as written. */
static void
ring_unload(struct fwd_forward *forward)
{
	struct rte_mbuf *burst[BURST];
	bool seen[RING_LOAD] = {false};
	uint64_t good = 0;
	uint16_t n;

	for (uint16_t port = 0; port < 2; port++)
		while ((n = rte_eth_rx_burst(port, 0, burst, BURST)) > 0)
			for (uint16_t i = 0; i < n; i++) {
				uint64_t number =
				    rte_pktmbuf_mtod(burst[i], struct stamp *)
					->number;

				if (stamp_is_intact(burst[i]) &&
				    !seen[number]) {
					seen[number] = true;
					good++;
				} else {
					forward->damaged++;
				}
				rte_pktmbuf_free(burst[i]);
			}
	forward->lost = RING_LOAD - good - forward->damaged;
}

/* ---- The loop
 * -------------------------------------------------------------------- */

/* 0, or -1 where a million empty turns say that nothing flows. */
static int
pump(uint64_t packets, struct fwd_forward *forward)
{
	struct rte_mbuf *burst[BURST];
	unsigned int idle = 0;

	while (forward->packets < packets) {
		for (uint16_t port = 0; port < 2; port++) {
			uint16_t n = rte_eth_rx_burst(port, 0, burst, BURST);

			if (n == 0 && ++idle > 1000000)
				return -1;
			if (n == 0)
				continue;
			idle = 0;
			forward->packets += port_send(port ^ 1, burst, n);
		}
	}
	return 0;
}

static double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int
run(const struct fwd_options *options, struct rte_mempool *mp,
    struct fwd_forward *forward)
{
	double start;
	int r;

	if (options->ports == FWD_PORTS_RING && ring_load(mp, 0) != 0)
		return -1;
	start = now();
	r = pump(options->packets, forward);
	forward->seconds = now() - start;
	if (options->ports == FWD_PORTS_RING)
		ring_unload(forward);
	if (r != 0)
		fprintf(stderr, "hf_dpdk_fwd: no packet flows any more\n");
	if (forward->damaged > 0 || forward->lost > 0) {
		fprintf(stderr,
		    "hf_dpdk_fwd: %llu packets damaged, %llu lost\n",
		    (unsigned long long)forward->damaged,
		    (unsigned long long)forward->lost);
		r = -1;
	}
	return r;
}

int
fwd_forward(const struct fwd_options *options, struct rte_mempool *mp,
    int socket_id, struct fwd_forward *forward)
{
	int r;

	*forward = (struct fwd_forward){
	    .driver =
		options->ports == FWD_PORTS_NULL ? "net_null" : "net_ring",
	};
	if (rte_eth_dev_count_avail() < 2) {
		fprintf(stderr,
		    "hf_dpdk_fwd: two ports are needed, there are "
		    "%u\n",
		    rte_eth_dev_count_avail());
		return -1;
	}
	r = port_start(0, mp, (unsigned int)socket_id);
	if (r == 0)
		r = port_start(1, mp, (unsigned int)socket_id);
	if (r == 0)
		r = run(options, mp, forward);
	port_stop(0);
	port_stop(1);
	return r == 0 ? 0 : -1;
}
