/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * hf_dpdk_fwd: a DPDK program on holdfast's memory, that needs no privilege.
 *
 * It makes a malloc heap of a buffer from holdfastd, asks it (and DPDK's own
 * heap beside it) for physically contiguous memzones, forwards packets
 * between two ports from an mbuf pool in it, and compares the address in
 * every mbuf with the one that holdfast gave.
 */

#include "clients/dpdk/fwd.h"
#include "clients/libholdfast/holdfast.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_version.h>

#define EAL_ARGS_MAX 64

static const char usage_text[] =
    "usage: hf_dpdk_fwd [options] [-- EAL-ARGUMENT...]\n"
    "\n"
    "Run DPDK on memory from holdfastd, as any user.\n"
    "\n"
    "  -s, --socket PATH   the daemon's socket\n"
    "  -S, --size BYTES    of the heap; K, M, G and T count (64M)\n"
    "  -z, --zone BYTES    the largest contiguous memzone to ask for (8M)\n"
    "  -n, --packets N     to forward (1000000)\n"
    "  -m, --mbufs N       in the pool (8192)\n"
    "  -p, --ports KIND    null or ring (null)\n"
    "      --scatter       take several runs where no run is long enough\n"
    "      --json          one JSON object instead of text\n"
    "  -h, --help\n"
    "\n"
    "Exit code 0: all is as it should be.  1: something is not.  2: usage.\n";

static const struct option long_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"size", required_argument, NULL, 'S'},
    {"zone", required_argument, NULL, 'z'},
    {"packets", required_argument, NULL, 'n'},
    {"mbufs", required_argument, NULL, 'm'},
    {"ports", required_argument, NULL, 'p'},
    {"scatter", no_argument, NULL, 'x'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* ---- Arguments
 * ---------------------------------------------------------------- */

static int
parse_number(const char *text, uint64_t max, uint64_t *valuep)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned int shift = 0;
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (end == text || errno != 0 || text[0] == '-')
		return -1;
	if (*end != '\0') {
		suffix = strchr(suffixes, *end);
		if (suffix == NULL || end[1] != '\0')
			return -1;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	}
	if (value == 0 || value > max >> shift)
		return -1;
	*valuep = value << shift;
	return 0;
}

static int
parse_ports(const char *text, enum fwd_ports *portsp)
{
	if (strcmp(text, "null") == 0)
		*portsp = FWD_PORTS_NULL;
	else if (strcmp(text, "ring") == 0)
		*portsp = FWD_PORTS_RING;
	else
		return -1;
	return 0;
}

static int
parse_option(int option, struct fwd_options *o)
{
	uint64_t value;
	int r;

	switch (option) {
	case 's':
		o->socket_path = optarg;
		return 0;
	case 'S':
		return parse_number(optarg, UINT64_C(1) << 46, &o->size);
	case 'z':
		return parse_number(optarg, UINT64_C(1) << 46, &o->zone);
	case 'n':
		return parse_number(optarg, UINT64_C(1) << 40, &o->packets);
	case 'm':
		r = parse_number(optarg, 1 << 24, &value);
		if (r == 0)
			o->mbufs = (unsigned int)value;
		return r;
	case 'p':
		return parse_ports(optarg, &o->ports);
	case 'x':
		o->scatter = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	default:
		return -1;
	}
}

/* 0: go on; otherwise exit with the code less one. */
static int
parse(int argc, char **argv, struct fwd_options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "s:S:z:n:m:p:h", long_options,
		    NULL)) != -1) {
		if (c == 'h') {
			fputs(usage_text, stdout);
			return 1;
		}
		if (parse_option(c, o) == 0)
			continue;
		if (c != '?')
			fprintf(stderr, "hf_dpdk_fwd: -%c does not take %s\n",
			    c, optarg);
		fputs(usage_text, stderr);
		return 3;
	}
	return 0;
}

/* ---- Steps
 * ---------------------------------------------------------------------- */

/*
 * EAL makes a folder for its records even where it keeps none, and leaves it.
 * Let it have one of our own; dpdk/rte is what it makes inside.
 */
static void
runtime_folder(const char *parent, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/hf_dpdk_fwd.XXXXXX", parent);
	if (getenv("RUNTIME_DIRECTORY") != NULL || mkdtemp(path) == NULL)
		path[0] = '\0';
	else
		(void)setenv("RUNTIME_DIRECTORY", path, 1);
}

/* It is empty under --in-memory; where it is not, it stays. */
static void
runtime_folder_remove(const char *path)
{
	static const char *const inside[] = {"/dpdk/rte", "/dpdk", ""};
	char name[PATH_MAX];

	if (path[0] == '\0')
		return;
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, inside[i]);
		(void)rmdir(name);
	}
}

/* Start EAL with what the program needs and the user's arguments after. */
static int
start_eal(const struct fwd_options *options, char *program, int argc,
    char **argv)
{
	char *args[EAL_ARGS_MAX] = {program, "--in-memory", "--no-telemetry",
	    "--no-pci", "--log-level=*:error"};
	char lcore[32], folder[64];
	int n = 5, cpu = sched_getcpu(), r;

	(void)snprintf(lcore, sizeof(lcore), "--lcores=0@%d",
	    cpu < 0 ? 0 : cpu);
	args[n++] = lcore;
	for (const char *const *p = fwd_port_args(options->ports); *p; p++)
		args[n++] = (char *)(uintptr_t)*p; /* EAL only reads them */
	for (int i = 0; i < argc; i++) {
		if (n == EAL_ARGS_MAX - 1) {
			fprintf(stderr, "hf_dpdk_fwd: too many arguments\n");
			return -1;
		}
		args[n++] = argv[i];
	}
	runtime_folder("/tmp", folder, sizeof(folder));
	r = rte_eal_init(n, args);
	runtime_folder_remove(folder);
	if (r < 0) {
		fprintf(stderr, "hf_dpdk_fwd: EAL does not start: %s\n",
		    rte_strerror(rte_errno));
		return -1;
	}
	return 0;
}

static int
use_pool(const struct fwd_options *options, struct holdfast_dpdk_heap *heap,
    struct fwd_result *result)
{
	int socket_id = holdfast_dpdk_heap_socket_id(heap);
	struct rte_mempool *mp;
	int r;

	mp = rte_pktmbuf_pool_create("holdfast", options->mbufs, 256, 0,
	    RTE_MBUF_DEFAULT_BUF_SIZE, socket_id);
	if (mp == NULL) {
		fprintf(stderr, "hf_dpdk_fwd: no pool of %u mbufs: %s\n",
		    options->mbufs, rte_strerror(rte_errno));
		return -1;
	}
	r = fwd_forward(options, mp, socket_id, &result->forward);
	fwd_print_forward(options, result);
	result->verified =
	    holdfast_dpdk_heap_verify(heap, mp, &result->verdict) == 0;
	if (!result->verified)
		fprintf(stderr, "hf_dpdk_fwd: %s\n", holdfast_dpdk_error(NULL));
	fwd_print_verdict(options, result);
	rte_mempool_free(mp);
	return r == 0 && result->verified ? 0 : -1;
}

static int
use_heap(const struct fwd_options *options, struct holdfast *h)
{
	uint32_t flags = options->scatter ? HOLDFAST_DPDK_SCATTER : 0;
	struct fwd_result result = {0};
	struct holdfast_dpdk_heap *heap;
	bool pass = true;

	if (holdfast_dpdk_heap_create(h, "holdfast", options->size, flags,
		&heap) != 0) {
		fprintf(stderr, "hf_dpdk_fwd: %s\n", holdfast_dpdk_error(h));
		return -1;
	}
	fwd_print_memory(options, heap);
	if (fwd_zones(options, heap, &result) != 0)
		pass = false;
	fwd_print_zones(options, &result);
	if (use_pool(options, heap, &result) != 0)
		pass = false;
	fwd_print_json(options, heap, &result, pass);
	if (holdfast_dpdk_heap_destroy(heap) != 0) {
		fprintf(stderr, "hf_dpdk_fwd: %s\n", holdfast_dpdk_error(h));
		return -1;
	}
	return pass ? 0 : -1;
}

static int
use_daemon(const struct fwd_options *options)
{
	struct holdfast_options how = {.socket_path = options->socket_path};
	struct holdfast *h;
	int rv;

	rv = holdfast_connect(&how, &h);
	if (rv != 0) {
		fprintf(stderr, "hf_dpdk_fwd: cannot reach holdfastd: %s\n",
		    holdfast_status_name(rv));
		return -1;
	}
	rv = use_heap(options, h);
	holdfast_close(h);
	return rv;
}

int
main(int argc, char **argv)
{
	struct fwd_options options = {
	    .size = 64 << 20,
	    .zone = 8 << 20,
	    .packets = 1000000,
	    .mbufs = 8192,
	};
	int r;

	r = parse(argc, argv, &options);
	if (r != 0)
		return r - 1;
	if (start_eal(&options, argv[0], argc - optind, argv + optind) != 0)
		return 1;
	if (!options.json)
		printf("%s, uid %u, IOVA as %s\n\n", rte_version(), getuid(),
		    rte_eal_iova_mode() == RTE_IOVA_PA ? "PA" : "VA");
	r = use_daemon(&options);
	if (rte_eal_cleanup() != 0)
		r = -1;
	if (!options.json)
		printf("%s\n",
		    r == 0 ? "all as it should be" : "NOT as it should be");
	return r == 0 ? 0 : 1;
}
