/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the daemon is told: the command line and, if asked, a file.
 *
 * A file has one `name = value` a line, the names of the long options without
 * the dashes; '#' begins a comment.  What stands later wins.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/vm.h"
#include "server/log.h"
#include "server/server.h"

#define CONFIG_PATH_MAX 108 /* sun_path */

enum config_backend { BACKEND_LINUX, BACKEND_SIM };
enum config_pin { CONFIG_PIN_PREFER, CONFIG_PIN_REQUIRE, CONFIG_PIN_NEVER };

struct config {
	char socket[CONFIG_PATH_MAX];
	mode_t socket_mode;
	vm_size_t pool;       /* bytes */
	vm_size_t frame_size; /* bytes */
	uint64_t pool_big;    /* pages of 1 GiB beside it */
	bool share_host;      /* another daemon may use the same pages */
	enum config_backend backend;
	enum config_pin pin;
	int node;           /* NUMA node; -1: any */
	uint64_t sim_nodes; /* that a simulated pool is spread over */
	bool set_nr_hugepages;
	bool without_addresses;
	char user[64]; /* "": nobody, when started as root */
	int ready_fd;  /* -1: none */
	enum log_level log_level;
	struct server_options server;
};

enum config_result {
	CONFIG_RUN,   /* go on */
	CONFIG_DONE,  /* --help or --version was answered */
	CONFIG_WRONG, /* the message has been printed */
};

void config_default(struct config *config);
/* Free what config_parse() allocated. */
void config_fini(struct config *config);
/* Reads argv and prints to stdout and stderr. */
enum config_result config_parse(struct config *config, int argc, char **argv);

/* One option; also what a line of the file does.  -EINVAL: said why. */
int config_set(struct config *config, const char *name, const char *value);
/* -EINVAL: a line is wrong.  Other -errno: it cannot be read. */
int config_read(struct config *config, const char *path);

/* "4096", "0x1000", "64K", "256M", "1G".  -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *sizep);
