/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/mutate.h"

#include "fuzz/target.h"

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define TRAP        0xcc
#define PAGE        4096
#define SECONDS     20 /* of a child that hangs */
#define MEMORY      (UINT64_C(4) << 30)
#define STACK       (256 << 10)
#define EXIT_GOOD   0
#define EXIT_SPOKE  3 /* an oracle */
#define EXIT_ANSWER 4 /* no oracle; another hash */

extern char __executable_start[];

struct site {
	uint64_t address;
	uint8_t *jump, *byte;
	uint8_t was;  /* the first byte of the jump */
	bool hit;     /* by the program that runs */
	uint64_t *by; /* programs that reach it, a bit each */
};

/* What a child tells, in memory that it shares. */
struct told {
	size_t program;
	char oracle[sizeof(((struct fuzz_report *)0)->oracle)];
	char op[sizeof(((struct fuzz_report *)0)->op)];
};

static struct {
	struct site *sites;
	size_t nsites;
	const struct mutate_program *programs;
	uint64_t *hashes; /* of each program's answers, not mutated */
	size_t *order;    /* the ones that kill often first */
	size_t n;
	struct told *told;
} m;

/* ---- Where the sites are reached ------------------------------------------
 */

static bool
make_writable(uint8_t *at)
{
	uint8_t *page = (uint8_t *)((uintptr_t)at & ~(uintptr_t)(PAGE - 1));

	return mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) ==
	       0;
}

static int
by_address(const void *a, const void *b)
{
	const struct site *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static struct site *
site_of(const uint8_t *jump)
{
	struct site key = {
	    .address = (uint64_t)(jump - (uint8_t *)__executable_start)};

	return bsearch(&key, m.sites, m.nsites, sizeof(key), by_address);
}

static void
on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *rip = &uc->uc_mcontext.gregs[REG_RIP];
	struct site *site = site_of((uint8_t *)(*rip - 1));

	(void)sig;
	(void)info;
	if (site == NULL)
		abort();
	*site->jump = site->was;
	site->hit = true;
	(*rip)--;
}

static void
look(size_t program)
{
	struct fuzz_report rep;

	for (size_t i = 0; i < m.nsites; i++) {
		m.sites[i].hit = false;
		*m.sites[i].jump = TRAP;
	}
	fuzz_target.run(m.programs[program].data, m.programs[program].size,
	    &rep);
	m.hashes[program] = rep.hash;
	for (size_t i = 0; i < m.nsites; i++) {
		*m.sites[i].jump = m.sites[i].was;
		if (m.sites[i].hit)
			m.sites[i].by[program / 64] |= UINT64_C(1)
						       << program % 64;
	}
}

static void
look_all(void)
{
	struct sigaction action = {.sa_sigaction = on_trap,
	    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	stack_t stack = {.ss_sp = malloc(STACK), .ss_size = STACK};

	(void)sigaltstack(&stack, NULL);
	(void)sigaction(SIGTRAP, &action, NULL);
	for (size_t i = 0; i < m.n; i++)
		look(i);
}

/* ---- Mutants --------------------------------------------------------------
 */

static bool
reaches(const struct site *site, size_t program)
{
	return (site->by[program / 64] >> program % 64 & 1) != 0;
}

/* What hangs or eats memory ends, too. */
static void
bound(void)
{
	struct itimerval busy = {.it_value = {.tv_sec = SECONDS}};
	struct rlimit memory = {MEMORY, MEMORY}, core = {0, 0};

	(void)setitimer(ITIMER_PROF, &busy, NULL);
	(void)setrlimit(RLIMIT_AS, &memory);
	(void)setrlimit(RLIMIT_CORE, &core);
	(void)alarm(4 * SECONDS);
	(void)signal(SIGABRT, SIG_DFL);
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(EXIT_GOOD);
}

static _Noreturn void
child(struct site *site)
{
	int status = EXIT_GOOD;
	struct fuzz_report rep;

	bound();
	*site->byte ^= 1;
	for (size_t k = 0; k < m.n; k++) {
		size_t i = m.order[k];

		if (!reaches(site, i))
			continue;
		m.told->program = k;
		fuzz_target.run(m.programs[i].data, m.programs[i].size, &rep);
		if (rep.found) {
			memcpy(m.told->oracle, rep.oracle, sizeof(rep.oracle));
			memcpy(m.told->op, rep.op, sizeof(rep.op));
			_exit(EXIT_SPOKE);
		}
		if (rep.hash != m.hashes[i])
			status = EXIT_ANSWER;
	}
	_exit(status);
}

/* Half way to the front: what killed once kills again. */
static void
prefer(size_t k)
{
	size_t program = m.order[k], to = k / 2;

	memmove(&m.order[to + 1], &m.order[to], (k - to) * sizeof(m.order[0]));
	m.order[to] = program;
}

static void
mutate(struct site *site)
{
	bool reached = false;
	int status = 0;
	size_t by;
	pid_t pid;

	for (size_t i = 0; i < m.n && !reached; i++)
		reached = reaches(site, i);
	if (!reached) {
		printf("%" PRIx64 " unreached\n", site->address);
		return;
	}
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(site);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GOOD) {
		printf("%" PRIx64 " survived\n", site->address);
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ANSWER) {
		printf("%" PRIx64 " answers\n", site->address);
		return;
	}
	by = m.order[m.told->program];
	prefer(m.told->program);
	if (WIFSIGNALED(status))
		printf("%" PRIx64 " killed signal %d by %zu\n", site->address,
		    WTERMSIG(status), by);
	else
		printf("%" PRIx64 " killed %s %s by %zu\n", site->address,
		    m.told->oracle, m.told->op, by);
}

static bool
read_sites(const char *path)
{
	FILE *in = fopen(path, "r");
	uint64_t jump, byte;
	size_t room = 0;

	if (in == NULL)
		return false;
	while (fscanf(in, "%" SCNx64 " %" SCNx64, &jump, &byte) == 2) {
		if (m.nsites == room) {
			room = room * 2 + 64;
			m.sites = realloc(m.sites, room * sizeof(*m.sites));
			if (m.sites == NULL)
				abort();
		}
		m.sites[m.nsites++] = (struct site){.address = jump,
		    .jump = (uint8_t *)__executable_start + jump,
		    .byte = (uint8_t *)__executable_start + byte};
	}
	(void)fclose(in);
	qsort(m.sites, m.nsites, sizeof(*m.sites), by_address);
	return true;
}

static void *
zeroes(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		abort();
	return p;
}

int
mutate_all(const char *sites, const struct mutate_program *programs, size_t n)
{
	m.programs = programs;
	m.n = n;
	if (n == 0 || !read_sites(sites))
		return -1;
	m.told = mmap(NULL, sizeof(*m.told), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	m.hashes = zeroes(n, sizeof(*m.hashes));
	m.order = zeroes(n, sizeof(*m.order));
	for (size_t i = 0; i < n; i++)
		m.order[i] = i;
	for (size_t i = 0; i < m.nsites; i++) {
		m.sites[i].by = zeroes(n / 64 + 1, sizeof(uint64_t));
		m.sites[i].was = *m.sites[i].jump;
		if (!make_writable(m.sites[i].jump))
			return -1;
	}
	look_all();
	for (size_t i = 0; i < m.nsites; i++)
		mutate(&m.sites[i]);
	return 0;
}

#else

int
mutate_all(const char *sites, const struct mutate_program *programs, size_t n)
{
	(void)sites;
	(void)programs;
	(void)n;
	return -1;
}

#endif
