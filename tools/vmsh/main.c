/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vmsh: run an operation program and print what every operation answered.
 * Grammar: docs/programs.md.
 */

#include "fuzz/prog/backend_core.h"
#include "tools/vmsh/vmsh.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_TROUBLE = 1, EXIT_PROGRAM = 2 };

struct options {
	const char *connect;  /* socket of a daemon; NULL: the core */
	const char *assemble; /* write the binary form here */
	bool binary;          /* input is the binary form */
	bool disassemble;     /* print the text form, run nothing */
	bool why;             /* sentences of refusals */
	bool loose;
};

static void
usage(FILE *out)
{
	fputs(
	    "usage: vmsh [OPTION]... [FILE]...\n"
	    "Run operation programs (standard input without FILE) against the\n"
	    "core on an invented machine, or against a live daemon, and print\n"
	    "one line an operation.\n"
	    "\n"
	    "  -c, --connect=SOCKET   run against the daemon at SOCKET\n"
	    "  -w, --why              also print the sentence of a refusal\n"
	    "  -b, --binary           FILE holds the binary form\n"
	    "  -l, --loose            take unknown names modulo what is there\n"
	    "  -d, --disassemble      print the canonical text, run nothing\n"
	    "  -o, --assemble=OUT     write the binary form, run nothing\n"
	    "  -h, --help             this text\n"
	    "\n"
	    "Exit status: 0; 1 where the daemon or a file failed; 2 where the\n"
	    "program or the command line is wrong.\n"
	    "\n"
	    "  echo 'find m addr=0x10000 len=0x4000 space=super' | vmsh\n",
	    out);
}

static bool
read_all(FILE *in, struct hf_buf *out)
{
	char block[4096];
	size_t n;

	while ((n = fread(block, 1, sizeof(block), in)) > 0)
		hf_buf_put(out, block, n);
	hf_buf_put(out, "", 0);
	return ferror(in) == 0;
}

/* One operation was carried out: print it. */
struct sink {
	struct hf_printer printer;
	struct hf_buf text;
};

static bool
print_call(void *arg, struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	struct sink *sink = arg;

	if (inst == NULL)
		return true; /* nothing the program said */
	sink->text.len = 0;
	hf_print_result(&sink->printer, r, call, res, &sink->text);
	fputs(sink->text.p, stdout);
	return true;
}

static int
run(const struct options *o, const struct hf_buf *program)
{
	struct sink sink = {.printer.reasons = o->why};
	struct hf_observer observer = {.called = print_call, .arg = &sink};
	struct hf_options options = {.loose = o->loose};
	struct core_backend core;
	struct hf_backend *backend = &core.base;
	static struct hf_runner runner;
	int trouble = 0;

	if (o->connect == NULL)
		core_backend_init(&core, true);
	else if ((backend = daemon_backend_new(o->connect)) == NULL)
		return EXIT_TROUBLE;
	hf_runner_init(&runner, backend, &options, &observer,
	    (const uint8_t *)program->p, program->len);
	hf_run(&runner, (const uint8_t *)program->p, program->len);
	if (o->connect != NULL)
		trouble = daemon_backend_trouble(backend);
	backend->ops->free(backend);
	hf_buf_free(&sink.text);
	if (fflush(stdout) != 0)
		trouble = 1;
	return trouble != 0 ? EXIT_TROUBLE : EXIT_SUCCESS;
}

static int
disassemble(const struct hf_buf *program)
{
	struct hf_buf text = {0};

	hf_disassemble((const uint8_t *)program->p, program->len, &text);
	fputs(text.p, stdout);
	hf_buf_free(&text);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_TROUBLE;
}

static int
write_file(const char *path, const struct hf_buf *program)
{
	FILE *out = fopen(path, "wb");
	bool bad;

	if (out == NULL) {
		fprintf(stderr, "vmsh: %s: %s\n", path, strerror(errno));
		return EXIT_TROUBLE;
	}
	bad = fwrite(program->p, 1, program->len, out) != program->len;
	if (fclose(out) != 0 || bad) {
		fprintf(stderr, "vmsh: %s: %s\n", path, strerror(errno));
		return EXIT_TROUBLE;
	}
	return EXIT_SUCCESS;
}

static int
one_program(const struct options *o, const char *name, FILE *in)
{
	struct hf_buf input = {0}, program = {0};
	struct hf_error error = {0};
	int status;

	if (!read_all(in, &input)) {
		fprintf(stderr, "vmsh: %s: %s\n", name, strerror(errno));
		hf_buf_free(&input);
		return EXIT_TROUBLE;
	}
	if (o->binary)
		hf_buf_put(&program, input.p, input.len);
	else if (!hf_assemble(input.p, input.len, &program, &error)) {
		fprintf(stderr, "vmsh: %s:%d: %s\n", name, error.line,
		    error.text);
		hf_buf_free(&input);
		hf_buf_free(&program);
		return EXIT_PROGRAM;
	}
	if (o->disassemble)
		status = disassemble(&program);
	else if (o->assemble != NULL)
		status = write_file(o->assemble, &program);
	else
		status = run(o, &program);
	hf_buf_free(&input);
	hf_buf_free(&program);
	return status;
}

static int
all_programs(const struct options *o, char **files, int nfiles)
{
	int status = EXIT_SUCCESS;

	if (nfiles == 0)
		return one_program(o, "-", stdin);
	for (int i = 0; i < nfiles && status == EXIT_SUCCESS; i++) {
		FILE *in =
		    strcmp(files[i], "-") == 0 ? stdin : fopen(files[i], "rb");

		if (in == NULL) {
			fprintf(stderr, "vmsh: %s: %s\n", files[i],
			    strerror(errno));
			return EXIT_TROUBLE;
		}
		status = one_program(o, files[i], in);
		if (in != stdin)
			(void)fclose(in); /* only read */
	}
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"connect", required_argument,
						  NULL, 'c'},
	    {"why", no_argument, NULL, 'w'}, {"binary", no_argument, NULL, 'b'},
	    {"loose", no_argument, NULL, 'l'},
	    {"disassemble", no_argument, NULL, 'd'},
	    {"assemble", required_argument, NULL, 'o'},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct options o = {0};
	int c;

	while ((c = getopt_long(argc, argv, "c:wbldo:h", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o.connect = optarg;
			break;
		case 'w':
			o.why = true;
			break;
		case 'b':
			o.binary = true;
			break;
		case 'l':
			o.loose = true;
			break;
		case 'd':
			o.disassemble = true;
			break;
		case 'o':
			o.assemble = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_PROGRAM;
		}
	}
	return all_programs(&o, argv + optind, argc - optind);
}
