/* SPDX-License-Identifier: BSD-2-Clause */

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clients/cli/cli.h"

int
cli_getopt(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
    const struct option *options)
{
	for (;;) {
		int at = optind == 0 ? 1 : optind; /* 0: getopt begins */
		int c;

		opterr = 0;
		c = getopt_long(argc, argv, "-:hjs:", options, NULL);
		switch (c) {
		case 'h':
			(void)fputs(verb->help, stdout);
			exit(CLI_OK);
		case 'j':
			cli->json = true;
			break;
		case 's':
			cli->socket = optarg;
			break;
		case ':':
			cli_usage(verb, "%s takes a value", argv[at]);
		case '?':
			cli_usage(verb,
			    "there is no option '%s', or it takes "
			    "no value",
			    argv[at]);
		case -1: /* behind "--" everything is an argument */
			if (optind == argc)
				return -1;
			optarg = argv[optind++];
			return CLI_ARGUMENT;
		default:
			return c;
		}
	}
}

void
cli_usage(const struct cli_verb *verb, const char *format, ...)
{
	va_list args;

	(void)fprintf(stderr, "holdfast %s: ", verb->name);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fprintf(stderr, "\nTry 'holdfast %s --help'.\n", verb->name);
	exit(CLI_USAGE);
}

/* ---- Numbers in -----------------------------------------------------------
 */

bool
cli_parse_size(const char *text, uint64_t *np)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	uint64_t n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno != 0)
		return false;
	if (*end != '\0') {
		unsigned shift;

		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (suffix == NULL)
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
		end++;
		if (strcasecmp(end, "ib") != 0 && strcasecmp(end, "b") != 0 &&
		    *end != '\0')
			return false;
		if (n > UINT64_MAX >> shift)
			return false;
		n <<= shift;
	}
	*np = n;
	return true;
}

uint64_t
cli_size(const struct cli_verb *verb, const char *what, const char *text)
{
	uint64_t n;

	if (!cli_parse_size(text, &n))
		cli_usage(verb, "%s is no number or size: %s", what, text);
	return n;
}

uint32_t
cli_prot(const struct cli_verb *verb, const char *what, const char *text)
{
	uint32_t prot = 0;

	if (strcmp(text, "none") == 0)
		return 0;
	for (const char *p = text; *p != '\0'; p++)
		switch (*p) {
		case 'r':
			prot |= HF_PROT_READ;
			break;
		case 'w':
			prot |= HF_PROT_WRITE;
			break;
		case 'x':
			prot |= HF_PROT_EXECUTE;
			break;
		case '-':
			break;
		default:
			cli_usage(verb, "%s is made of r, w, x and -: %s", what,
			    text);
		}
	return prot;
}

/* ---- Numbers out ----------------------------------------------------------
 */

static char *
turn(void)
{
	static char buffers[4][32];
	static unsigned n;

	return buffers[n++ % 4];
}

const char *
cli_prot_text(uint32_t prot)
{
	char *text = turn();

	(void)snprintf(text, 32, "%c%c%c",
	    (prot & HF_PROT_READ) != 0 ? 'r' : '-',
	    (prot & HF_PROT_WRITE) != 0 ? 'w' : '-',
	    (prot & HF_PROT_EXECUTE) != 0 ? 'x' : '-');
	return text;
}

const char *
cli_size_text(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB",
	    "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t scale = 1;
	char *text = turn();

	while (unit < 6 && bytes / scale >= 1024) {
		scale *= 1024;
		unit++;
	}
	if (bytes % scale == 0)
		(void)snprintf(text, 32, "%llu %s",
		    (unsigned long long)(bytes / scale), units[unit]);
	else
		(void)snprintf(text, 32, "%.1f %s",
		    (double)bytes / (double)scale, units[unit]);
	return text;
}

const char *
cli_pin_text(enum holdfast_pin pin)
{
	return pin == HF_PIN_LONGTERM ? "longterm"
	       : pin == HF_PIN_MLOCK  ? "mlock"
				      : "none";
}

void
cli_print_json(json_object *object)
{
	(void)puts(json_object_to_json_string_ext(object,
	    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
		JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)fflush(stdout);
	(void)json_object_put(object);
}

json_object *
cli_u64(uint64_t n)
{
	return json_object_new_uint64(n);
}

void
cli_set_u64(json_object *to, const char *key, uint64_t n)
{
	(void)json_object_object_add(to, key, json_object_new_uint64(n));
}

void
cli_set_text(json_object *to, const char *key, const char *text)
{
	(void)json_object_object_add(to, key, json_object_new_string(text));
}

void
cli_set_bool(json_object *to, const char *key, bool value)
{
	(void)json_object_object_add(to, key, json_object_new_boolean(value));
}

/* ---- The daemon -----------------------------------------------------------
 */

static int
complain(const struct cli *cli, int rv, const char *what, const char *sentence)
{
	const char *name = holdfast_status_name(rv);
	const char *why = *sentence != '\0' ? sentence
			  : rv < 0          ? strerror(-rv)
					    : "the daemon gives no reason";

	if (cli->json) {
		json_object *object = json_object_new_object();
		json_object *error = json_object_new_object();

		cli_set_text(error, "status", name);
		cli_set_text(error, "message", why);
		(void)json_object_object_add(object, "error", error);
		cli_print_json(object);
	}
	(void)fflush(stdout);
	(void)fprintf(stderr, "holdfast: cannot %s: %s (%s)\n", what, why,
	    name);
	return rv == -EPIPE || rv == -EPROTO || rv == -ETIMEDOUT
		   ? CLI_NO_CONNECTION
		   : CLI_REFUSED;
}

int
cli_failed(const struct cli *cli, const struct holdfast *h, int rv,
    const char *what)
{
	return complain(cli, rv, what, holdfast_error(h));
}

struct holdfast *
cli_connect(const struct cli *cli)
{
	char sentence[512] = "";
	struct holdfast_options options = {
	    .socket_path = cli->socket,
	    .error = sentence,
	    .error_size = sizeof(sentence),
	};
	struct holdfast *h;
	int r = holdfast_connect(&options, &h);

	if (r != HF_OK) {
		(void)complain(cli, r, "connect", sentence);
		exit(r > 0 ? CLI_REFUSED : CLI_NO_CONNECTION);
	}
	return h;
}

/* ---- Holding --------------------------------------------------------------
 */

static void
ending_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGHUP);
}

void
cli_prepare_hold(void)
{
	sigset_t set;

	ending_signals(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* `of` is "offset" in a buffer, or "addr" in a map. */
static void
print_lost(const struct cli *cli, const char *of, uint64_t at, uint64_t size)
{
	json_object *outer, *lost;

	if (!cli->json) {
		printf("%llu bytes from %s %#llx on went bad and are lost\n",
		    (unsigned long long)size, of, (unsigned long long)at);
		(void)fflush(stdout);
		return;
	}
	outer = json_object_new_object();
	lost = json_object_new_object();
	cli_set_u64(lost, of, at);
	cli_set_u64(lost, "size", size);
	(void)json_object_object_add(outer, "lost", lost);
	cli_print_json(outer);
}

static void
on_lost(struct holdfast *h, struct holdfast_buf *buf, uint64_t offset,
    uint64_t size, void *arg)
{
	(void)h;
	(void)buf;
	print_lost(arg, "offset", offset, size);
}

static void
on_map_lost(struct holdfast *h, struct holdfast_map *map, uint64_t addr,
    uint64_t size, void *arg)
{
	(void)h;
	(void)map;
	print_lost(arg, "addr", addr, size);
}

int
cli_hold(const struct cli *cli, struct holdfast *h)
{
	struct pollfd fds[2];
	sigset_t set;
	int r;

	ending_signals(&set);
	fds[0] = (struct pollfd){.fd = signalfd(-1, &set, SFD_CLOEXEC),
	    .events = POLLIN};
	fds[1] =
	    (struct pollfd){.fd = holdfast_fd(h), .events = POLLIN | POLLRDHUP};
	if (fds[0].fd < 0)
		return complain(cli, -errno, "wait", "");
	r = holdfast_on_lost(h, on_lost, (void *)(uintptr_t)cli);
	if (r == HF_OK)
		r = holdfast_on_map_lost(h, on_map_lost,
		    (void *)(uintptr_t)cli);
	while (r == HF_OK && fds[0].revents == 0) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			r = -errno;
		else if ((fds[1].revents & ~POLLIN) != 0)
			r = -EPIPE;
		else if (fds[1].revents != 0)
			r = holdfast_dispatch(h);
	}
	(void)close(fds[0].fd);
	if (fds[0].revents != 0)
		return CLI_OK;
	return complain(cli, r, "go on",
	    r == -EPIPE ? "the daemon is gone" : "");
}
