/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Makes a finding small: the fewest operations, then the plainest operands,
 * that still give the same signature.
 *
 *	minimize_TARGET [-o OUT] [-t SECONDS] FILE
 *
 * FILE is a program (text with the suffix .hfp).  Prints the signature and
 * the small program as text; -o writes it, as text when OUT ends in .hfp.
 * Every try runs in a child, so that aborts and sanitizer reports are caught.
 * Exit: 0 done, 1 FILE has no finding, 2 usage or a file failed.
 */

#include "fuzz/file.h"
#include "fuzz/target.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD HF_RECORD_SIZE
#define HEADER HF_HEADER_SIZE

struct signature {
	char text[160];
};

struct search {
	struct fuzz_report *shared; /* where children report */
	int err;                    /* their standard error */
	struct signature wanted;
	uint8_t *best;
	size_t size;
	uint64_t tries;
	time_t stop; /* 0: no limit */
};

/* The line of a dead child's last words that says why. */
static void
read_reason(int fd, char *text, size_t size)
{
	static const char *const marks[] = {"ERROR: ", "runtime error: ",
	    "assertion", "panic"};
	char words[16384];
	ssize_t n = pread(fd, words, sizeof(words) - 1, 0);

	(void)snprintf(text, size, "signal");
	if (n <= 0)
		return;
	words[n] = '\0';
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		char *p = strstr(words, marks[i]);

		if (p == NULL)
			continue;
		while (p > words && p[-1] != '\n')
			p--;
		p[strcspn(p, "\n")] = '\0';
		/* Addresses and process numbers vary. */
		for (char *q = p; *q != '\0'; q++)
			if (*q >= '0' && *q <= '9')
				*q = '0';
		(void)snprintf(text, size, "%.140s", p);
		return;
	}
}

/* Run in a child; false: no finding. */
static bool
try_program(struct search *s, const uint8_t *data, size_t size,
    struct signature *sigp)
{
	int status = 0;
	pid_t pid;

	s->tries++;
	memset(s->shared, 0, sizeof(*s->shared));
	if (ftruncate(s->err, 0) != 0 || lseek(s->err, 0, SEEK_SET) != 0)
		return false;
	pid = fork();
	if (pid == 0) {
		(void)dup2(s->err, STDERR_FILENO); /* else it is only noisy */
		alarm(10);
		fuzz_target.run(data, size, s->shared);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		char why[141];

		read_reason(s->err, why, sizeof(why));
		(void)snprintf(sigp->text, sizeof(sigp->text), "abort: %s",
		    why);
		return true;
	}
	(void)snprintf(sigp->text, sizeof(sigp->text), "%s at %s",
	    s->shared->oracle, s->shared->op);
	return s->shared->found;
}

static bool
out_of_time(const struct search *s)
{
	return s->stop != 0 && time(NULL) > s->stop;
}

/* Adopt the program if it fails in the same way. */
static bool
keep_if_same(struct search *s, const uint8_t *data, size_t size)
{
	struct signature sig;

	if (out_of_time(s) || !try_program(s, data, size, &sig) ||
	    strcmp(sig.text, s->wanted.text) != 0)
		return false;
	memmove(s->best, data, size);
	s->size = size;
	return true;
}

static size_t
nrecords(const struct search *s)
{
	return s->size < HEADER ? 0 : (s->size - HEADER) / RECORD;
}

/* Without `count` records from `at`. */
static bool
drop(struct search *s, size_t at, size_t count, uint8_t *work)
{
	size_t head = HEADER + at * RECORD;

	memcpy(work, s->best, head);
	memcpy(work + head, s->best + head + count * RECORD,
	    s->size - head - count * RECORD);
	return keep_if_same(s, work, s->size - count * RECORD);
}

/* Blocks of halving size, until no single record can go. */
static bool
drop_records(struct search *s, uint8_t *work)
{
	bool any = false, again = true;

	for (size_t block = nrecords(s) / 2 + 1; block > 0 || again;) {
		block = block > 0 ? block : 1;
		again = false;
		for (size_t at = 0; at + block <= nrecords(s);)
			if (drop(s, at, block, work))
				any = again = true;
			else
				at += block;
		if (block == 1 && !again)
			break;
		block /= 2;
	}
	return any;
}

/* Every operand to zero bits, which are the plainest value of each type. */
static bool
plain_operands(struct search *s, uint8_t *work)
{
	bool any = false;

	for (size_t i = 0; i < nrecords(s); i++) {
		uint64_t rec = hf_load(s->best + HEADER + i * RECORD);
		const struct hf_opdef *def = &hf_ops[hf_op_of(rec)];

		for (unsigned f = 0; f < def->nfields; f++) {
			uint64_t plain = hf_set_bits(&def->fields[f], rec,
			    def->fields[f].flip);

			if (plain == rec)
				continue;
			memcpy(work, s->best, s->size);
			hf_store(work + HEADER + i * RECORD, plain);
			if (keep_if_same(s, work, s->size)) {
				rec = plain;
				any = true;
			}
		}
	}
	return any;
}

static bool
plain_header(struct search *s, uint8_t *work)
{
	bool any = false;

	for (size_t i = 0; i < HEADER; i++) {
		if (s->best[i] == 0)
			continue;
		memcpy(work, s->best, s->size);
		work[i] = 0;
		any |= keep_if_same(s, work, s->size);
	}
	return any;
}

static bool
minimize(struct search *s)
{
	uint8_t *work = malloc(s->size + 1);

	if (work == NULL)
		return false;
	for (bool smaller = true; smaller && !out_of_time(s);) {
		smaller = drop_records(s, work);
		smaller |= plain_operands(s, work);
		smaller |= plain_header(s, work);
	}
	free(work);
	return true;
}

/*
 * Compare after every operation, so that the signature names the one that
 * broke something instead of the one that happened to be compared.
 */
static void
compare_always(struct search *s)
{
	struct signature sig;
	uint8_t cadence;

	if (s->size < HEADER)
		return;
	cadence = s->best[6];
	s->best[6] &= (uint8_t)~7u;
	if (try_program(s, s->best, s->size, &sig))
		s->wanted = sig;
	else
		s->best[6] = cadence;
}

static bool
prepare(struct search *s, const struct hf_buf *program)
{
	s->shared = mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->err = memfd_create("stderr", MFD_CLOEXEC);
	s->best = malloc(program->len + 1);
	if (s->shared == MAP_FAILED || s->err < 0 || s->best == NULL) {
		perror("minimize");
		return false;
	}
	memcpy(s->best, program->p, program->len);
	s->size = program->len;
	return true;
}

static int
run(struct search *s, const struct hf_buf *program, const char *out)
{
	struct hf_buf text = {0};
	size_t before;
	int status = 0;

	if (!prepare(s, program))
		return 2;
	if (!try_program(s, s->best, s->size, &s->wanted)) {
		fprintf(stderr, "no finding\n");
		return 1;
	}
	compare_always(s);
	before = nrecords(s);
	(void)minimize(s); /* what it reached is in s->best */
	hf_disassemble(s->best, s->size, &text);
	printf("# %s: %s\n# %zu records, %zu before, %" PRIu64 " tries\n%s",
	    fuzz_target.name, s->wanted.text, nrecords(s), before, s->tries,
	    text.p);
	if (out != NULL && !fuzz_write_program(out, s->best, s->size))
		status = 2;
	hf_buf_free(&text);
	return status;
}

int
main(int argc, char **argv)
{
	struct search s = {0};
	struct hf_buf program = {0};
	const char *out = NULL;
	int c, status;

	while ((c = getopt(argc, argv, "o:t:")) != -1) {
		if (c == 'o')
			out = optarg;
		else if (c == 't')
			s.stop = time(NULL) + atol(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: %s [-o OUT] [-t SECONDS] FILE\n",
		    argv[0]);
		return 2;
	}
	if (!fuzz_read_program(argv[optind], &program))
		return 2;
	status = run(&s, &program, out);
	hf_buf_free(&program);
	free(s.best);
	return status;
}
