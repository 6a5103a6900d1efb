/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * vmsh as people run it: what it prints for programs of this folder, what it
 * says of bad ones, and that a live daemon (on invented memory) answers every
 * program as the core does.
 *
 * $VMSH and $HOLDFASTD name the programs, $PROGRAMS the folder.
 */

#include "fuzz/gen.h"
#include "fuzz/ops.h"
#include "tests/sim_daemon.h"
#include "tests/tame.h"
#include "tests/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What does not depend on physical memory, and what a daemon can be told. */
#define DAEMON_OPS                                                             \
	((FUZZ_OPS_MAP | FUZZ_BIT(HF_ENTRIES) | FUZZ_BIT(HF_SUBMAP)) &         \
	    ~FUZZ_BIT(HF_INJECT))

/* ---- Running --------------------------------------------------------------
 */

/* Everything that a descriptor gives until its end. */
static void
read_all(int fd, struct hf_buf *out)
{
	char block[4096];
	ssize_t n;

	hf_buf_put(out, "", 0);
	while ((n = read(fd, block, sizeof(block))) > 0)
		hf_buf_put(out, block, (size_t)n);
	ASSERT_EQ(n, 0);
	(void)close(fd);
}

/* Run vmsh with these arguments; its exit status. */
static int
vmsh(const char *const *args, struct hf_buf *out, struct hf_buf *err)
{
	const char *argv[8] = {sim_daemon_need("VMSH")};
	int status, outs[2], errs[2];
	pid_t pid;

	for (int i = 0; args[i] != NULL; i++)
		argv[i + 1] = args[i];
	ASSERT_EQ(pipe2(outs, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(errs, O_CLOEXEC), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)dup2(outs[1], STDOUT_FILENO);
		(void)dup2(errs[1], STDERR_FILENO);
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(outs[1]);
	(void)close(errs[1]);
	read_all(outs[0], out);
	read_all(errs[0], err);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_TRUE(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
run_good(const char *const *args, struct hf_buf *out)
{
	struct hf_buf err = {0};
	int status = vmsh(args, out, &err);

	if (status != 0 || err.len != 0)
		test_fail(__FILE__, __LINE__, "vmsh ended with %d: %s", status,
		    err.p);
	hf_buf_free(&err);
}

/* Both back ends print the same. */
static void
compare(const struct sim_daemon *d, const char *option, const char *path)
{
	const char *core[] = {path, option, NULL};
	const char *live[] = {"--connect", d->path, path, option, NULL};
	struct hf_buf a = {0}, b = {0};

	run_good(core, &a);
	run_good(live, &b);
	if (strcmp(a.p, b.p) != 0)
		test_fail(__FILE__, __LINE__,
		    "%s:\n---- core ----\n%s---- daemon ----\n%s", path, a.p,
		    b.p);
	hf_buf_free(&a);
	hf_buf_free(&b);
}

/* ---- Cases ----------------------------------------------------------------
 */

static void
check_golden(const char *name)
{
	struct hf_buf want = {0}, got = {0};
	char program[512], output[512];
	const char *args[] = {program, NULL};
	int fd;

	(void)snprintf(program, sizeof(program), "%s/%s.hfp",
	    sim_daemon_need("PROGRAMS"), name);
	(void)snprintf(output, sizeof(output), "%s/%s.out",
	    sim_daemon_need("PROGRAMS"), name);
	fd = open(output, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	read_all(fd, &want);
	run_good(args, &got);
	ASSERT_STREQ(got.p, want.p);
	hf_buf_free(&want);
	hf_buf_free(&got);
}

TEST(vmsh__prints_what_the_programs_of_this_folder_answer)
{
	static const char *const names[] = {"maps", "refused", "machines",
	    "contig", "full", "touch"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		check_golden(names[i]);
}

TEST(vmsh__answers_the_same_on_a_live_daemon)
{
	static const char *const names[] = {"maps", "refused", "machines"};
	struct sim_daemon d;
	char path[512];

	sim_daemon_start(&d);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s.hfp",
		    sim_daemon_need("PROGRAMS"), names[i]);
		compare(&d, NULL, path);
	}
	sim_daemon_stop(&d);
}

/* Objects that a daemon makes from nothing: base pages, no colour. */
static void
tame(uint8_t *data, size_t size)
{
	for (size_t off = HF_HEADER_SIZE; off + 8 <= size; off += 8) {
		uint64_t rec = hf_load(data + off);
		const struct hf_opdef *def = &hf_ops[rec & 0xff];

		for (unsigned i = 0; i < def->nfields; i++)
			if (def->fields[i].type == HF_T_ADDR &&
			    def->fields[i].width > 0)
				rec = tame_address(rec, &def->fields[i]);
		if ((rec & 0xff) == HF_OBJECT) {
			rec =
			    hf_set_bits(hf_field(HF_OBJECT, HF_F_KIND), rec, 0);
			rec =
			    hf_set_bits(hf_field(HF_OBJECT, HF_F_OFF), rec, 0);
			rec = tame_length(rec, hf_field(HF_OBJECT, HF_F_LEN));
		}
		hf_store(data + off, rec);
	}
	data[6] &= (uint8_t)~0x70u; /* strict, no faults */
}

TEST_TIMEOUT(vmsh__answers_random_programs_the_same_on_a_live_daemon, 120)
{
	uint64_t seed = test_seed(), n = test_ops(60);
	static uint8_t data[2048];
	struct sim_daemon d;
	char path[128];
	size_t size;
	FILE *out;

	sim_daemon_start(&d);
	(void)snprintf(path, sizeof(path), "%s/program", d.dir);
	for (uint64_t i = 0; i < n; i++) {
		size = gen_program(seed + i, DAEMON_OPS, data, sizeof(data));
		tame(data, size);
		out = fopen(path, "wbe");
		ASSERT_NOT_NULL(out);
		ASSERT_EQ(fwrite(data, 1, size, out), size);
		ASSERT_EQ(fclose(out), 0);
		compare(&d, "-lb", path);
	}
	ASSERT_EQ(unlink(path), 0);
	sim_daemon_stop(&d);
}

static void
expect_bad(const char *text, const char *part)
{
	struct hf_buf out = {0}, err = {0};
	char path[] = "/tmp/vmsh-XXXXXX";
	const char *args[] = {path, NULL};
	int fd = mkstemp(path);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	ASSERT_EQ(vmsh(args, &out, &err), 2);
	(void)unlink(path);
	ASSERT_STREQ(out.p, "");
	ASSERT_HAS(err.p, part);
	hf_buf_free(&out);
	hf_buf_free(&err);
}

TEST(vmsh__runs_nothing_of_a_program_with_an_error)
{
	expect_bad("check m\nfind m addr=here\n",
	    ":2: find: expected an address such as");
	expect_bad("frobnicate\n", ":1: expected an operation");
}

TEST(vmsh__says_what_is_wrong_with_its_arguments)
{
	static const char *const bad[] = {"--frob", NULL};
	static const char *const none[] = {"/nonexistent/program", NULL};
	static const char *const away[] = {"--connect", "/nonexistent/socket",
	    "/dev/null", NULL};
	static const char *const help[] = {"--help", NULL};
	struct hf_buf out = {0}, err = {0};

	ASSERT_EQ(vmsh(bad, &out, &err), 2);
	ASSERT_HAS(err.p, "usage: vmsh");
	ASSERT_EQ(vmsh(none, &out, &err), 1);
	ASSERT_HAS(err.p, "No such file");
	ASSERT_EQ(vmsh(away, &out, &err), 1);
	ASSERT_HAS(err.p, "/nonexistent/socket: ENOENT");
	ASSERT_EQ(vmsh(help, &out, &err), 0);
	ASSERT_HAS(out.p, "usage: vmsh");
	hf_buf_free(&out);
	hf_buf_free(&err);
}

TEST(vmsh__turns_text_into_bytes_and_back)
{
	char bytes[] = "/tmp/vmsh-XXXXXX", path[512];
	const char *to[] = {"--assemble", bytes, path, NULL};
	const char *back[] = {"-bd", bytes, NULL};
	const char *canon[] = {"-d", path, NULL};
	struct hf_buf a = {0}, b = {0}, c = {0};
	int fd = mkstemp(bytes);

	ASSERT_GE(fd, 0);
	(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s/maps.hfp",
	    sim_daemon_need("PROGRAMS"));
	run_good(to, &a);
	run_good(back, &b);
	run_good(canon, &c);
	ASSERT_STREQ(b.p, c.p);
	(void)unlink(bytes);
	hf_buf_free(&a);
	hf_buf_free(&b);
	hf_buf_free(&c);
}
