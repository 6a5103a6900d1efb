/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cleanup.h"
#include "server/config.h"

#define CONFIG_VERSION "0.1.0"

/* ---- Values ------------------------------------------------------ */

int
config_parse_size(const char *text, uint64_t *sizep)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned shift = 0;
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno != 0)
		return -ERANGE;
	if (*end != '\0') {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (suffix == NULL || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (shift != 0 && value >> (64 - shift) != 0)
		return -ERANGE;
	*sizep = value << shift;
	return 0;
}

/* The most that the option allows which is being set, for the complaint. */
static uint64_t option_max;

static int
parse_number(const char *text, uint64_t max, uint64_t *valuep)
{
	int r = config_parse_size(text, valuep);

	option_max = max;
	if (r == 0 && *valuep > max)
		return -ERANGE;
	return r;
}

/* One word of a list; its place in it. */
static int
parse_word(const char *text, const char *const *words, size_t n, int *placep)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text, words[i]) == 0) {
			*placep = (int)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int
parse_bool(const char *text, bool *valuep)
{
	static const char *const words[] = {"no", "yes", "false", "true", "0",
	    "1"};
	int place, r;

	if (text == NULL) {
		*valuep = true;
		return 0;
	}
	r = parse_word(text, words, nitems(words), &place);
	if (r == 0)
		*valuep = place % 2 == 1;
	return r;
}

/* "all", "none", or uids with commas. */
static int
parse_addresses(const char *text, struct address_policy *policy)
{
	free(policy->uids);
	*policy = (struct address_policy){0};
	if (strcmp(text, "none") == 0)
		return 0;
	if (strcmp(text, "all") == 0) {
		policy->all = true;
		return 0;
	}
	while (*text != '\0') {
		char *end;
		unsigned long uid;
		uid_t *uids;

		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		uid = strtoul(text, &end, 10);
		if (uid >= UINT32_MAX || (*end != ',' && *end != '\0'))
			return -EINVAL;
		uids =
		    realloc(policy->uids, (policy->nuids + 1) * sizeof(*uids));
		if (uids == NULL)
			return -ENOMEM;
		policy->uids = uids;
		uids[policy->nuids++] = (uid_t)uid;
		text = *end == ',' ? end + 1 : end;
	}
	return policy->nuids > 0 ? 0 : -EINVAL;
}

static int
parse_text(const char *text, char *buf, size_t size)
{
	if (text[0] == '\0' || strlen(text) >= size)
		return -EINVAL;
	memcpy(buf, text, strlen(text) + 1);
	return 0;
}

/* ---- Options ----------------------------------------------------- */

struct option_rule {
	const char *name;
	const char *value; /* how --help shows it; NULL: a switch */
	const char *help;
	int (*set)(struct config *config, const char *value);
};

static int
set_socket(struct config *config, const char *value)
{
	return parse_text(value, config->socket, sizeof(config->socket));
}

static int
set_socket_mode(struct config *config, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (end == value || *end != '\0' || mode > 0777)
		return -EINVAL;
	config->socket_mode = (mode_t)mode;
	return 0;
}

static int
set_pool(struct config *config, const char *value)
{
	return config_parse_size(value, &config->pool);
}

static int
set_pool_max(struct config *config, const char *value)
{
	return config_parse_size(value, &config->server.pool.max);
}

static int
set_pool_min(struct config *config, const char *value)
{
	return config_parse_size(value, &config->server.pool.min);
}

static int
set_pool_1g(struct config *config, const char *value)
{
	return parse_number(value, UINT16_MAX, &config->pool_big);
}

static int
set_share_host(struct config *config, const char *value)
{
	return parse_bool(value, &config->share_host);
}

static int
set_operators(struct config *config, const char *value)
{
	struct address_policy list = {0};
	int r = parse_addresses(value, &list);

	if (r == 0 && list.all)
		r = -EINVAL;
	if (r < 0) {
		free(list.uids);
		return r;
	}
	free(config->server.operators.uids);
	config->server.operators.uids = list.uids;
	config->server.operators.nuids = list.nuids;
	return 0;
}

static int
set_operator_group(struct config *config, const char *value)
{
	const struct group *group = getgrnam(value);
	uint64_t gid;

	if (group != NULL)
		gid = group->gr_gid;
	else if (parse_number(value, UINT32_MAX - 1, &gid) < 0)
		return -EINVAL;
	config->server.operators.gid = (gid_t)gid;
	config->server.operators.gid_set = true;
	return 0;
}

static int
set_quarantine(struct config *config, const char *value)
{
	uint64_t seconds;
	int r = parse_number(value, 366 * 24 * 3600, &seconds);

	if (r == 0)
		config->server.quarantine.hold_ms = 1000 * seconds;
	return r;
}

static int
set_frame_size(struct config *config, const char *value)
{
	int r = config_parse_size(value, &config->frame_size);

	if (r == 0 &&
	    (config->frame_size == 0 || !powerof2(config->frame_size)))
		return -EINVAL;
	return r;
}

static int
set_backend(struct config *config, const char *value)
{
	static const char *const words[] = {"linux", "sim"};
	int place, r;

	r = parse_word(value, words, nitems(words), &place);
	if (r == 0)
		config->backend = (enum config_backend)place;
	return r;
}

static int
set_pin(struct config *config, const char *value)
{
	static const char *const words[] = {"prefer", "require", "never"};
	int place, r;

	r = parse_word(value, words, nitems(words), &place);
	if (r == 0)
		config->pin = (enum config_pin)place;
	return r;
}

static int
set_node(struct config *config, const char *value)
{
	uint64_t node;
	int r = parse_number(value, VM_PHYS_DOMAINS - 1, &node);

	if (r == 0)
		config->node = (int)node;
	return r;
}

static int
set_sim_nodes(struct config *config, const char *value)
{
	int r = parse_number(value, VM_PHYS_DOMAINS, &config->sim_nodes);

	return r == 0 && config->sim_nodes == 0 ? -EINVAL : r;
}

static int
set_set_nr_hugepages(struct config *config, const char *value)
{
	return parse_bool(value, &config->set_nr_hugepages);
}

static int
set_without_addresses(struct config *config, const char *value)
{
	return parse_bool(value, &config->without_addresses);
}

static int
set_user(struct config *config, const char *value)
{
	return parse_text(value, config->user, sizeof(config->user));
}

static int
set_ready_fd(struct config *config, const char *value)
{
	uint64_t fd;
	int r = parse_number(value, 1 << 20, &fd);

	if (r == 0)
		config->ready_fd = (int)fd;
	return r;
}

static int
set_log_level(struct config *config, const char *value)
{
	return log_level_parse(value, &config->log_level);
}

static int
set_allow_addresses(struct config *config, const char *value)
{
	return parse_addresses(value, &config->server.addresses);
}

static int
set_workers(struct config *config, const char *value)
{
	uint64_t n;
	int r = parse_number(value, 64, &n);

	if (r == 0 && n == 0)
		return -EINVAL;
	if (r == 0)
		config->server.nworkers = (size_t)n;
	return r;
}

static int
set_limit(struct config *config, enum quota_resource resource,
    const char *value)
{
	if (strcmp(value, "none") == 0) {
		config->server.limits.limit[resource] = QUOTA_UNLIMITED;
		return 0;
	}
	return config_parse_size(value, &config->server.limits.limit[resource]);
}

static int
set_quota_bytes(struct config *config, const char *value)
{
	return set_limit(config, QUOTA_BYTES, value);
}

static int
set_quota_base_bytes(struct config *config, const char *value)
{
	return set_limit(config, QUOTA_BASE_BYTES, value);
}

static int
set_quota_fds(struct config *config, const char *value)
{
	return set_limit(config, QUOTA_FDS, value);
}

static int
set_quota_requests(struct config *config, const char *value)
{
	return set_limit(config, QUOTA_REQUESTS, value);
}

static int
set_quota_sessions(struct config *config, const char *value)
{
	return set_limit(config, QUOTA_SESSIONS, value);
}

static int
set_quota_entries(struct config *config, const char *value)
{
	return set_limit(config, QUOTA_ENTRIES, value);
}

static int
set_timeout(unsigned *ms, const char *value)
{
	uint64_t n;
	int r = parse_number(value, 3600 * 1000, &n);

	if (r == 0 && n == 0)
		return -EINVAL;
	if (r == 0)
		*ms = (unsigned)n;
	return r;
}

static int
set_hello_timeout(struct config *config, const char *value)
{
	return set_timeout(&config->server.hello_timeout_ms, value);
}

static int
set_stall_timeout(struct config *config, const char *value)
{
	return set_timeout(&config->server.stall_timeout_ms, value);
}

static int
set_unsigned(unsigned *np, uint64_t max, const char *value)
{
	uint64_t n;
	int r = parse_number(value, max, &n);

	if (r == 0)
		*np = (unsigned)n;
	return r;
}

static int
set_stock(struct config *config, const char *value)
{
	return set_unsigned(&config->server.stock.share, 100, value);
}

static int
set_stock_min(struct config *config, const char *value)
{
	return set_unsigned(&config->server.stock.min, STOCK_SPANS_MAX, value);
}

static int
set_tenant_idle(struct config *config, const char *value)
{
	return set_unsigned(&config->server.pool.idle, 1024, value);
}

static int
set_reclaim_timeout(struct config *config, const char *value)
{
	return set_unsigned(&config->server.reclaim.deadline_ms, 3600 * 1000,
	    value);
}

static int
set_reclaim_grow(struct config *config, const char *value)
{
	return parse_bool(value, &config->server.reclaim.grow);
}

static const struct option_rule option_rules[] = {
    {"socket", "PATH", "where to listen (" HOLDFAST_SOCKET_PATH ")",
	set_socket},
    {"socket-mode", "MODE", "its mode, octal (666)", set_socket_mode},
    {"pool", "SIZE", "memory of the pool, such as 256M (256M)", set_pool},
    {"pool-max", "SIZE", "what operators may let it grow to (its size)",
	set_pool_max},
    {"pool-min", "SIZE", "what they may not shrink it below (0)", set_pool_min},
    {"pool-1g", "N", "pages of 1 GiB held beside it (0)", set_pool_1g},
    {"frame-size", "SIZE", "of one huge page (2M)", set_frame_size},
    {"node", "N", "NUMA node of the pool (any)", set_node},
    {"backend", "NAME",
	"linux: huge pages; sim: invented addresses over ordinary memory",
	set_backend},
    {"sim-nodes", "N", "NUMA nodes of a simulated pool (1)", set_sim_nodes},
    {"pin", "HOW", "prefer, require or never pin for the long term (prefer)",
	set_pin},
    {"without-addresses", NULL, "run even if the kernel hides addresses",
	set_without_addresses},
    {"set-nr-hugepages", NULL,
	"raise the kernel's nr_hugepages as needed, put it back at exit",
	set_set_nr_hugepages},
    {"share-host", NULL,
	"start even if another daemon uses the same huge pages",
	set_share_host},
    {"operators", "WHO",
	"uids, with commas, that may change the pool, beside root (none)",
	set_operators},
    {"operator-group", "GROUP", "name or gid of a group that may, too",
	set_operator_group},
    {"quarantine", "SECONDS",
	"a dead client's device memory is held so long; 0: until `holdfast "
	"release' (60)",
	set_quarantine},
    {"user", "NAME", "user or uid to run as (nobody, when started as root)",
	set_user},
    {"allow-addresses", "WHO",
	"who is told physical addresses: uids with commas, all, none (none)",
	set_allow_addresses},
    {"quota-bytes", "SIZE", "of spans, for each tenant (none)",
	set_quota_bytes},
    {"quota-base-bytes", "SIZE", "of base pages shown by maps (1G)",
	set_quota_base_bytes},
    {"quota-fds", "N", "descriptors (16384)", set_quota_fds},
    {"quota-requests", "N", "requests in flight (4096)", set_quota_requests},
    {"quota-sessions", "N", "connections (4096)", set_quota_sessions},
    {"quota-entries", "N", "map entries (4194304)", set_quota_entries},
    {"stock", "PERCENT", "of the pool in ready-made spans at most (25)",
	set_stock},
    {"stock-min", "N", "ready-made spans of one frame before anybody asks (0)",
	set_stock_min},
    {"tenant-idle", "N",
	"frames that a tenant may keep though it has no buffer in them (2)",
	set_tenant_idle},
    {"reclaim-timeout", "MS",
	"for clients to give back idle memory; 0: do not ask (250)",
	set_reclaim_timeout},
    {"reclaim-grow", NULL,
	"let the pool grow for a request that finds no memory",
	set_reclaim_grow},
    {"workers", "N", "threads that assemble, zero and recycle (2)",
	set_workers},
    {"hello-timeout", "MS", "until a client must have said Hello (10000)",
	set_hello_timeout},
    {"stall-timeout", "MS", "a client may leave replies unread (10000)",
	set_stall_timeout},
    {"ready-fd", "FD", "write a line there when ready, and close it",
	set_ready_fd},
    {"log-level", "LEVEL", "error, warn, info or debug (info)", set_log_level},
    {"config", "FILE", "read more options from there: name = value",
	config_read},
};

int
config_set(struct config *config, const char *name, const char *value)
{
	for (size_t i = 0; i < nitems(option_rules); i++) {
		const struct option_rule *rule = &option_rules[i];
		int r = -EINVAL;

		if (strcmp(rule->name, name) != 0)
			continue;
		option_max = UINT64_MAX;
		if (value != NULL || rule->value == NULL)
			r = rule->set(config, value);
		if (r == -ERANGE)
			(void)fprintf(stderr,
			    "holdfastd: %s must be at most %llu; it is "
			    "\"%s\"\n",
			    name, (unsigned long long)option_max, value);
		else if (r < 0)
			(void)fprintf(stderr,
			    "holdfastd: %s takes %s, not \"%s\": %s\n", name,
			    rule->value == NULL ? "yes or no" : rule->value,
			    value == NULL ? "" : value, strerror(-r));
		return r;
	}
	(void)fprintf(stderr, "holdfastd: there is no option \"%s\"\n", name);
	return -EINVAL;
}

/* ---- The file ---------------------------------------------------- */

/* Cut blanks off both ends. */
static char *
trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

static int
config_line(struct config *config, char *line)
{
	char *value;

	line[strcspn(line, "#")] = '\0';
	line = trim(line);
	if (*line == '\0')
		return 0;
	value = strchr(line, '=');
	if (value != NULL)
		*value++ = '\0';
	line = trim(line);
	if (strcmp(line, "config") == 0)
		return -EINVAL; /* no file within a file */
	return config_set(config, line, value == NULL ? NULL : trim(value));
}

static void
fclosep(FILE **filep)
{
	if (*filep != NULL)
		(void)fclose(*filep); /* was only read */
}

int
config_read(struct config *config, const char *path)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	char line[1024];
	int r;

	if (file == NULL)
		return -errno;
	for (unsigned number = 1; fgets(line, sizeof(line), file) != NULL;
	     number++) {
		r = config_line(config, line);
		if (r < 0) {
			(void)fprintf(stderr, "holdfastd: %s:%u is wrong\n",
			    path, number);
			return r;
		}
	}
	return 0;
}

/* ---- The command line -------------------------------------------- */

void
config_default(struct config *config)
{
	*config = (struct config){
	    .socket = HOLDFAST_SOCKET_PATH,
	    .socket_mode = 0666,
	    .pool = UINT64_C(256) << 20,
	    .frame_size = UINT64_C(2) << 20,
	    .node = -1,
	    .sim_nodes = 1,
	    .ready_fd = -1,
	    .log_level = LOG_LEVEL_INFO,
	};
	server_options_default(&config->server);
	config->server.stock = (struct stock_options){.share = 25};
}

void
config_fini(struct config *config)
{
	free(take_ptr(config->server.addresses.uids));
	free(take_ptr(config->server.operators.uids));
}

static void
config_help(void)
{
	(void)printf("usage: holdfastd [OPTION...]\n"
		     "\n"
		     "Hold huge pages and serve them over a Unix socket as "
		     "pinned, physically\n"
		     "contiguous buffers and as shared address maps.\n\n");
	for (size_t i = 0; i < nitems(option_rules); i++) {
		const struct option_rule *rule = &option_rules[i];
		char text[64];

		(void)snprintf(text, sizeof(text), "--%s%s%s", rule->name,
		    rule->value == NULL ? "" : " ",
		    rule->value == NULL ? "" : rule->value);
		(void)printf("  %-24s %s\n", text, rule->help);
	}
	(void)printf("  %-24s %s\n  %-24s %s\n", "--version",
	    "print the version and exit", "--help", "print this and exit");
}

/* `format` has two figures, the limit and what it is. */
__attribute__((format(printf, 1, 0))) static bool
config_complain(const char *format, unsigned long long limit,
    unsigned long long is)
{
	(void)fputs("holdfastd: ", stderr);
	(void)fprintf(stderr, format, limit, is);
	(void)fputc('\n', stderr);
	return false;
}

static bool
config_check(const struct config *config)
{
	uint64_t size = config->pool + (config->pool_big << 30);
	const struct pool_options *pool = &config->server.pool;

	if (config->pool == 0 || config->pool % config->frame_size != 0)
		return config_complain("pool must be a multiple of frame-size, "
				       "%llu, and not 0; it is %llu",
		    config->frame_size, config->pool);
	if (pool->max != 0 && pool->max < size)
		return config_complain("pool-max must be at least the pool's "
				       "size, %llu; it is %llu",
		    size, pool->max);
	if (pool->min > size)
		return config_complain("pool-min must be at most the pool's "
				       "size, %llu; it is %llu",
		    size, pool->min);
	if (config->sim_nodes > config->pool / config->frame_size)
		return config_complain("sim-nodes must be at most the number "
				       "of frames, %llu; it is %llu",
		    config->pool / config->frame_size, config->sim_nodes);
	if (config->pool_big > 0 && config->frame_size >= UINT64_C(1) << 30)
		return config_complain("pool-1g needs a frame-size below %llu; "
				       "it is %llu",
		    UINT64_C(1) << 30, config->frame_size);
	return true;
}

enum config_result
config_parse(struct config *config, int argc, char **argv)
{
	struct option options[nitems(option_rules) + 3] = {0};
	const size_t n = nitems(option_rules);
	int index, c;

	for (size_t i = 0; i < n; i++)
		options[i] = (struct option){option_rules[i].name,
		    option_rules[i].value == NULL ? no_argument
						  : required_argument,
		    NULL, 'o'};
	options[n] = (struct option){"help", no_argument, NULL, 'h'};
	options[n + 1] = (struct option){"version", no_argument, NULL, 'v'};
	while ((c = getopt_long(argc, argv, "h", options, &index)) != -1) {
		switch (c) {
		case 'o':
			if (config_set(config, options[index].name, optarg) < 0)
				return CONFIG_WRONG;
			break;
		case 'h':
			config_help();
			return CONFIG_DONE;
		case 'v':
			(void)printf("holdfastd %s\n", CONFIG_VERSION);
			return CONFIG_DONE;
		default:
			return CONFIG_WRONG;
		}
	}
	if (optind != argc) {
		(void)fprintf(stderr, "holdfastd: \"%s\" is not an option\n",
		    argv[optind]);
		return CONFIG_WRONG;
	}
	return config_check(config) ? CONFIG_RUN : CONFIG_WRONG;
}
