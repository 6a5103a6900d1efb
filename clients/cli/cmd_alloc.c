/* SPDX-License-Identifier: BSD-2-Clause */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/cli/cli.h"

struct arguments {
	struct holdfast_contig_req req;
	char **exec; /* NULL: hold */
	bool once;   /* neither hold nor exec */
	bool wait;   /* until there is memory, or until interrupted */
};

static int
parse_node(const char *text)
{
	uint64_t node = cli_size(&cli_alloc, "--node", text);

	if (node > 1023)
		cli_usage(&cli_alloc, "there is no node %s", text);
	return (int)node;
}

/* "0,2": a bit for each. */
static uint32_t
parse_nodes(const char *text)
{
	uint32_t nodes = 0;
	const char *at = text;

	for (;;) {
		char *end;
		unsigned long node = strtoul(at, &end, 10);

		if (*at < '0' || *at > '9' || node > 31 ||
		    (*end != ',' && *end != '\0'))
			cli_usage(&cli_alloc,
			    "--nodes takes numbers up to 31 and commas, not %s",
			    text);
		nodes |= UINT32_C(1) << node;
		if (*end == '\0')
			return nodes;
		at = end + 1;
	}
}

static enum holdfast_domainset_policy
parse_policy(const char *text)
{
	static const struct {
		const char *name;
		enum holdfast_domainset_policy policy;
	} policies[] = {{"round-robin", HF_DOMAINSET_ROUNDROBIN},
	    {"first-touch", HF_DOMAINSET_FIRSTTOUCH},
	    {"prefer", HF_DOMAINSET_PREFER},
	    {"interleave", HF_DOMAINSET_INTERLEAVE}};

	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (strcmp(policies[i].name, text) == 0)
			return policies[i].policy;
	cli_usage(&cli_alloc,
	    "--policy takes round-robin, first-touch, prefer or interleave, "
	    "not %s",
	    text);
}

static uint64_t
parse_seconds(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= 0.001) ||
	    seconds > 604800)
		cli_usage(&cli_alloc,
		    "--wait takes seconds, up to a week, not %s", text);
	return (uint64_t)(seconds * 1000);
}

static const struct option options[] = {{"low", required_argument, NULL, 'L'},
    {"high", required_argument, NULL, 'H'},
    {"align", required_argument, NULL, 'A'},
    {"boundary", required_argument, NULL, 'B'},
    {"zero", no_argument, NULL, 'Z'}, {"nowait", no_argument, NULL, 'N'},
    {"wait", optional_argument, NULL, 'W'},
    {"type", required_argument, NULL, 'T'},
    {"node", required_argument, NULL, 'D'},
    {"nodes", required_argument, NULL, 'S'},
    {"policy", required_argument, NULL, 'P'},
    {"device", no_argument, NULL, 'V'}, {"once", no_argument, NULL, 'O'},
    {"exec", no_argument, NULL, 'X'}, CLI_COMMON_OPTIONS};

static void
parse(struct cli *cli, int argc, char **argv, struct arguments *args)
{
	const struct cli_verb *verb = &cli_alloc;
	struct holdfast_contig_req *req = &args->req;
	bool have_size = false;
	int c;

	while (args->exec == NULL &&
	       (c = cli_getopt(cli, verb, argc, argv, options)) != -1)
		switch (c) {
		case 'L':
			req->low = cli_size(verb, "--low", optarg);
			break;
		case 'H':
			req->high = cli_size(verb, "--high", optarg);
			break;
		case 'A':
			req->alignment = cli_size(verb, "--align", optarg);
			break;
		case 'B':
			req->boundary = cli_size(verb, "--boundary", optarg);
			break;
		case 'Z':
			req->flags |= HF_M_ZERO;
			break;
		case 'N':
			req->flags |= HF_M_NOWAIT;
			break;
		case 'W':
			req->flags |= HF_M_WAITOK;
			args->wait = true;
			if (optarg != NULL)
				req->deadline_ms = parse_seconds(optarg);
			break;
		case 'T':
			req->type = optarg;
			break;
		case 'D':
			req->domain = parse_node(optarg);
			req->domain_set = true;
			break;
		case 'S':
			req->domains = parse_nodes(optarg);
			break;
		case 'P':
			req->policy = parse_policy(optarg);
			break;
		case 'V':
			req->device = true;
			break;
		case 'O':
			args->once = true;
			break;
		case 'X':
			args->exec = argv + optind;
			break;
		default:
			if (have_size)
				cli_usage(verb, "one size is enough: %s",
				    optarg);
			req->size = cli_size(verb, "the size", optarg);
			have_size = true;
		}
	if (!have_size)
		cli_usage(verb, "how much?");
	if (args->wait && (req->flags & HF_M_NOWAIT) != 0)
		cli_usage(verb, "--wait and --nowait exclude each other");
	if (args->exec != NULL && *args->exec == NULL)
		cli_usage(verb, "--exec wants a command");
}

/* ---- Output ------------------------------------------------------------ */

static json_object *
buf_to_json(const struct holdfast_buf *buf)
{
	json_object *o = json_object_new_object();

	cli_set_u64(o, "size", buf->size);
	cli_set_u64(o, "va", (uint64_t)(uintptr_t)buf->addr);
	if (buf->pa_known)
		cli_set_u64(o, "pa", buf->pa);
	cli_set_text(o, "pin", cli_pin_text(buf->pin));
	cli_set_bool(o, "verified", buf->verified);
	cli_set_u64(o, "node", (uint64_t)buf->domain);
	cli_set_u64(o, "fd_offset", buf->fd_offset);
	cli_set_u64(o, "span_size", buf->span_size);
	if (buf->pa_known)
		cli_set_u64(o, "span_pa", buf->span_pa);
	cli_set_u64(o, "frame_size", buf->frame_size);
	cli_set_u64(o, "id", buf->id);
	return o;
}

static void
print_buf(const struct holdfast_buf *buf)
{
	printf("buffer    %s, physically contiguous\n",
	    cli_size_text(buf->size));
	if (buf->addr != NULL)
		printf("virtual   %#llx-%#llx\n",
		    (unsigned long long)(uintptr_t)buf->addr,
		    (unsigned long long)((uintptr_t)buf->addr + buf->size));
	else
		printf("virtual   not mapped: the daemon is simulated\n");
	if (buf->pa_known)
		printf("physical  %#llx-%#llx\n", (unsigned long long)buf->pa,
		    (unsigned long long)(buf->pa + buf->size));
	else
		printf("physical  not told to this tenant\n");
	printf("pin       %s\n", cli_pin_text(buf->pin));
	printf("verified  %s\n",
	    buf->verified ? "yes, addresses read back after pinning" : "no");
	printf("node      %d\n", buf->domain);
	printf("span      %s in frames of %s, this at offset %#llx\n",
	    cli_size_text(buf->span_size), cli_size_text(buf->frame_size),
	    (unsigned long long)buf->fd_offset);
}

/* ---- --exec ------------------------------------------------------------ */

static void
set_env(const char *name, unsigned long long value, const char *format)
{
	char text[32];

	(void)snprintf(text, sizeof(text), format, value);
	(void)setenv(name, text, 1);
}

static _Noreturn void
exec_child(const struct holdfast_buf *buf, char **command)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (buf->fd >= 0) {
		(void)fcntl(buf->fd, F_SETFD, 0);
		set_env("HOLDFAST_FD", (unsigned)buf->fd, "%llu");
	}
	set_env("HOLDFAST_SIZE", buf->size, "%llu");
	if (buf->pa_known)
		set_env("HOLDFAST_PA", buf->pa, "%#llx");
	set_env("HOLDFAST_FD_OFFSET", buf->fd_offset, "%llu");
	set_env("HOLDFAST_SPAN_SIZE", buf->span_size, "%llu");
	set_env("HOLDFAST_FRAME_SIZE", buf->frame_size, "%llu");
	(void)setenv("HOLDFAST_PIN", cli_pin_text(buf->pin), 1);
	(void)execvp(command[0], command);
	(void)fprintf(stderr, "holdfast: cannot run %s: %s\n", command[0],
	    strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Run the command, pass signals on to it, and end as it ended. */
static int
run_command(const struct holdfast_buf *buf, char **command)
{
	sigset_t set;
	pid_t pid;
	int status, sig;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("holdfast: fork");
		return CLI_REFUSED;
	}
	if (pid == 0)
		exec_child(buf, command);
	while (waitpid(pid, &status, WNOHANG) != pid)
		if (sigwait(&set, &sig) == 0 && sig != SIGCHLD)
			(void)kill(pid, sig);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- Waiting ------------------------------------------------------------ */

static struct holdfast *waiting_on;

/* Too early for there to be anything to cancel: again in a second. */
static void
interrupted(int sig)
{
	int saved = errno;

	(void)sig;
	if (holdfast_contig_cancel(waiting_on) < 0)
		(void)alarm(1);
	errno = saved;
}

/* As holdfast_contigmalloc(), but that signals cancel it. */
static int
alloc_waiting(struct holdfast *h, const struct holdfast_contig_req *req,
    struct holdfast_buf **bufp)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};
	struct sigaction action = {.sa_handler = interrupted}, old[4];
	sigset_t set, before;
	int r;

	waiting_on = h;
	(void)sigemptyset(&set);
	for (int i = 0; i < 4; i++) {
		(void)sigaddset(&set, signals[i]);
		(void)sigaction(signals[i], &action, &old[i]);
	}
	(void)sigprocmask(SIG_UNBLOCK, &set, &before);
	r = holdfast_contigmalloc(h, req, bufp);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	(void)alarm(0);
	for (int i = 0; i < 4; i++)
		(void)sigaction(signals[i], &old[i], NULL);
	return r;
}

/* ---- The verb ---------------------------------------------------------- */

static int
alloc(struct holdfast *h, const struct arguments *args,
    struct holdfast_buf **bufp)
{
	return args->wait ? alloc_waiting(h, &args->req, bufp)
			  : holdfast_contigmalloc(h, &args->req, bufp);
}

static int
use_buf(struct cli *cli, struct holdfast *h, const struct arguments *args,
    const struct holdfast_buf *buf)
{
	if (args->exec != NULL)
		return run_command(buf, args->exec);
	if (cli->json)
		cli_print_json(buf_to_json(buf));
	else
		print_buf(buf);
	if (args->once)
		return CLI_OK;
	if (!cli->json)
		(void)puts("held until interrupted");
	(void)fflush(stdout);
	return cli_hold(cli, h);
}

static int
run(struct cli *cli, int argc, char **argv)
{
	struct arguments args = {0};
	struct holdfast_buf *buf;
	struct holdfast *h;
	int r, rv;

	parse(cli, argc, argv, &args);
	if (args.exec == NULL && !args.once)
		cli_prepare_hold();
	h = cli_connect(cli);
	r = alloc(h, &args, &buf);
	if (r == -ENODEV) { /* simulated: addresses to show, no memory */
		args.req.no_map = true;
		r = alloc(h, &args, &buf);
	}
	if (r == HF_OK) {
		rv = use_buf(cli, h, &args, buf);
		(void)holdfast_contigfree(h, buf); /* close does it too */
	} else {
		rv = cli_failed(cli, h, r, "allocate");
	}
	holdfast_close(h);
	return rv;
}

const struct cli_verb cli_alloc = {
    .name = "alloc",
    .brief = "a pinned, physically contiguous buffer",
    .run = run,
    .help =
	"NAME\n"
	"    holdfast alloc - a pinned, physically contiguous buffer\n"
	"\n"
	"SYNOPSIS\n"
	"    holdfast alloc SIZE [--low ADDR] [--high ADDR] [--align N]\n"
	"        [--boundary N] [--zero] [--nowait | --wait[=SECONDS]]\n"
	"        [--type NAME] [--node N] [--nodes N,...] [--policy POLICY]\n"
	"        [--device]\n"
	"        [--once | --exec COMMAND [ARGUMENT...]]\n"
	"        [--socket PATH] [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    Asks for SIZE bytes with the constraints of contigmalloc(9),\n"
	"    prints where the buffer lies, and holds it until interrupted.\n"
	"    Tells meanwhile of memory in it that goes bad.\n"
	"\n"
	"    --low ADDR      first acceptable physical byte\n"
	"    --high ADDR     one past the last acceptable; 0: no limit\n"
	"    --align N       power of two\n"
	"    --boundary N    power of two not to be crossed, at least SIZE\n"
	"    --zero          M_ZERO: every byte reads 0\n"
	"    --nowait        M_NOWAIT: refuse rather than wait\n"
	"    --wait[=SECONDS]  M_WAITOK: wait until there is memory, so long "
	"at\n"
	"                    most; Ctrl-C cancels the request\n"
	"    --type NAME     malloc type for the statistics\n"
	"    --node N        NUMA node; otherwise any\n"
	"    --nodes N,...   only these NUMA nodes\n"
	"    --policy POLICY  the order of nodes, as in domainset(9):\n"
	"                    round-robin; first-touch (where this runs, then\n"
	"                    the others); prefer (--node, then the others);\n"
	"                    interleave (round robin, 16 MiB at a time)\n"
	"    --device        a device writes there: if the process is killed,\n"
	"                    quarantine it (holdfast release)\n"
	"    --once          print and give back at once\n"
	"    --exec COMMAND  run it with the buffer; everything behind is "
	"its.\n"
	"                    The exit status is the command's\n"
	"\n"
	"ENVIRONMENT of COMMAND\n"
	"    HOLDFAST_FD          descriptor of the span, open in COMMAND\n"
	"    HOLDFAST_FD_OFFSET   where in it the buffer begins, bytes\n"
	"    HOLDFAST_SIZE        bytes\n"
	"    HOLDFAST_PA          physical address; unset where not told\n"
	"    HOLDFAST_SPAN_SIZE   bytes in the span\n"
	"    HOLDFAST_FRAME_SIZE  bytes in a huge page; map multiples of it\n"
	"    HOLDFAST_PIN         longterm, mlock or none\n"
	"\n"
	"EXAMPLE\n"
	"    holdfast alloc 8K --zero --align 32K --boundary 1M --high 4G\n"
	"\n"
	"EXIT STATUS\n"
	"    0 done, 1 refused, 2 usage, 3 no connection; --exec: COMMAND's\n",
};
