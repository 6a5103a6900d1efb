/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * libholdfast against an honest daemon that runs inside the test.  Real
 * memory and the real daemon: tests/system.  A dishonest one: test_hostile.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast_cache.h"
#include "tests/clients/fake.h"
#include "tests/test.h"

/* Is the page at `p` mapped in this process, accessible or not? */
static bool
is_mapped(const void *p)
{
	unsigned char vec;
	void *page = (void *)((uintptr_t)p & ~(uintptr_t)4095);

	return mincore(page, 4096, &vec) == 0;
}

static struct holdfast_buf *
alloc(struct holdfast *h, uint64_t size, uint64_t alignment, uint64_t boundary)
{
	struct holdfast_contig_req req = {
	    .size = size,
	    .alignment = alignment,
	    .boundary = boundary,
	};
	struct holdfast_buf *buf;

	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	return buf;
}

TEST(connect__says_what_the_daemon_is)
{
	struct holdfast_info info;
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	holdfast_info(h, &info);
	ASSERT_EQ(info.version, 1);
	ASSERT_EQ(info.page_size, 4096);
	ASSERT_EQ(info.frame_size, FAKE_FRAME);
	ASSERT_STREQ(info.machine, "x86_64");
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	ASSERT_GE(holdfast_fd(h), 0);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(connect__fails_as_connect_does)
{
	struct holdfast_options options = {.socket_path = "/nowhere/socket"};
	char path[200];
	struct holdfast *h;

	ASSERT_EQ(holdfast_connect(&options, &h), -ENOENT);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	options.socket_path = path;
	ASSERT_EQ(holdfast_connect(&options, &h), -ENAMETOOLONG);
	options.socket_path = "/nowhere/socket";
	options.name = path;
	ASSERT_EQ(holdfast_connect(&options, &h), -ENAMETOOLONG);
}

TEST(connect__takes_the_socket_from_the_environment)
{
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, NULL, NULL);
	ASSERT_EQ(setenv("HOLDFAST_SOCKET", fake.path, 1), 0);
	ASSERT_EQ(holdfast_connect(NULL, &h), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(close__takes_null)
{
	holdfast_close(NULL);
	ASSERT_EQ(holdfast_contigfree(NULL, NULL), HF_OK);
	ASSERT_EQ(holdfast_map_detach(NULL), HF_OK);
	ASSERT_EQ(holdfast_ping(NULL), -EINVAL);
	ASSERT_STREQ(holdfast_error(NULL), "");
}

TEST(contigmalloc__maps_congruent_to_the_physical_address)
{
	static const struct {
		uint64_t alignment, boundary;
	} cases[] = {{0, 0}, {4096, 0}, {8192, 1 << 20}, {0, 1 << 20},
	    {1 << 21, 0}, {1 << 22, 1 << 26}, {0, UINT64_C(1) << 32}};
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct holdfast_buf *buf =
		    alloc(h, 12288, cases[i].alignment, cases[i].boundary);
		uint64_t congruence = FAKE_FRAME;

		if (cases[i].alignment > congruence)
			congruence = cases[i].alignment;
		if (cases[i].boundary > congruence)
			congruence = cases[i].boundary;
		ASSERT_EQ(((uintptr_t)buf->addr - buf->pa) % congruence, 0);
		ASSERT_EQ(buf->size, 12288);
		ASSERT_TRUE(buf->pa_known && buf->verified);
		ASSERT_EQ(buf->pin, HF_PIN_LONGTERM);
		ASSERT_EQ(buf->span_pa + buf->fd_offset, buf->pa);
	}
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(contigmalloc__shares_one_mapping_and_one_fd_per_span)
{
	struct holdfast_buf *a, *b;
	struct holdfast *h;
	struct fake fake;
	int before;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	a = alloc(h, 4096, 0, 0);
	before = test_nfds();
	b = alloc(h, 4096, 0, 0);
	ASSERT_EQ(test_nfds(), before);
	ASSERT_EQ(a->fd, b->fd);
	ASSERT_EQ((char *)b->addr - (char *)a->addr, 4096);
	ASSERT_EQ(holdfast_contigfree(h, a), HF_OK);
	ASSERT_TRUE(is_mapped(b->addr));
	ASSERT_EQ(test_nfds(), before);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(contigfree__unmaps_and_closes_with_the_last_buffer)
{
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct fake fake;
	char *addr;
	int before;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	before = test_nfds();
	buf = alloc(h, 65536, 0, 0);
	addr = buf->addr;
	ASSERT_EQ(test_nfds(), before + 1);
	ASSERT_TRUE(is_mapped(addr));
	ASSERT_TRUE(is_mapped(addr - 4096)); /* the guard */
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	ASSERT_EQ(test_nfds(), before);
	ASSERT_FALSE(is_mapped(addr));
	ASSERT_FALSE(is_mapped(addr - 4096));
	holdfast_close(h);
	fake_stop(&fake);
}

/* The fake daemon gives the preferred node, else the lowest of the set. */
TEST(contigmalloc__asks_for_the_domains_of_its_set)
{
	struct holdfast_contig_req req = {.size = 4096};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct fake fake;
	unsigned node = 0;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	req.domains = 1 << 3 | 1 << 5;
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(buf->domain, 3);
	req.policy = HF_DOMAINSET_PREFER;
	req.domain = 5;
	req.domain_set = true;
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(buf->domain, 5);
	/* Where it runs: only the library knows. */
	req = (struct holdfast_contig_req){.size = 4096,
	    .policy = HF_DOMAINSET_FIRSTTOUCH};
	ASSERT_EQ(getcpu(NULL, &node), 0);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(buf->domain, (int)node);
	holdfast_close(h);
	fake_stop(&fake);
}

static int *node_given; /* shared with the daemon */

static void
note_node(struct fake_answer *a, const char *arg)
{
	(void)arg;
	if (a->op == HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC && *node_given < 0)
		*node_given = a->contig.domain;
}

TEST(cache__asks_for_the_domains_of_its_set)
{
	const struct holdfast_cache_options options[] = {
	    {.span_size = FAKE_FRAME, .domains = 1 << 5 | 1 << 6},
	    {.span_size = FAKE_FRAME,
		.domains = 1 << 3 | 1 << 5,
		.policy = HF_DOMAINSET_PREFER,
		.domain = 5,
		.domain_set = true},
	};
	struct holdfast_cache *cache;
	struct holdfast *h;
	struct fake fake;

	node_given = mmap(NULL, sizeof(*node_given), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(node_given != MAP_FAILED);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		*node_given = -1;
		fake_start(&fake, note_node, NULL);
		h = fake_connect(&fake);
		ASSERT_EQ(holdfast_cache_create(h, &options[i], &cache), HF_OK);
		(void)holdfast_cache_alloc(cache, 64); /* there is no frame */
		ASSERT_EQ(*node_given, 5);
		holdfast_cache_destroy(cache);
		holdfast_close(h);
		fake_stop(&fake);
	}
	(void)munmap(node_given, sizeof(*node_given));
}

TEST(contigmalloc__leaves_no_trace_of_a_refusal)
{
	struct holdfast_contig_req req = {.size = 2 * FAKE_SPAN_SIZE};
	struct holdfast_buf *buf = NULL;
	char name[64];
	struct holdfast *h;
	struct fake fake;
	int before;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	before = test_nfds();
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_NO_SPACE);
	ASSERT_STREQ(holdfast_error(h), "the span is full");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	req = (struct holdfast_contig_req){.size = 4096, .type = name};
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_INVALID_ARGUMENT);
	ASSERT_HAS(holdfast_error(h), "type");
	req = (struct holdfast_contig_req){.size = 4096,
	    .domain_set = true,
	    .domain = -3};
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_INVALID_ARGUMENT);
	ASSERT_HAS(holdfast_error(h), "domain -3");
	ASSERT_NULL(buf);
	ASSERT_EQ(test_nfds(), before);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(contigmalloc__does_not_map_when_asked_not_to)
{
	struct holdfast_contig_req req = {.size = 4096, .no_map = true};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_NULL(buf->addr);
	ASSERT_GE(buf->fd, 0);
	ASSERT_EQ(buf->pa, FAKE_SPAN_PA);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(contigmalloc__gives_back_what_cannot_be_mapped)
{
	struct holdfast_contig_req req = {.size = 4096,
	    .boundary = UINT64_C(1) << 62};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct fake fake;
	int before;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	before = test_nfds();
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), -ENOMEM);
	ASSERT_HAS(holdfast_error(h), "cannot be mapped");
	ASSERT_EQ(test_nfds(), before);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(vtophys__knows_buffers_and_nothing_else)
{
	struct holdfast_buf *a, *b, *c;
	struct holdfast *h;
	struct fake fake;
	uint64_t pa = 1;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	a = alloc(h, 8192, 0, 0);
	b = alloc(h, 4096, 16384, 0); /* leaves a hole behind a */
	c = alloc(h, 4096, 1 << 22, 0);
	ASSERT_EQ(holdfast_vtophys(h, (char *)a->addr + 8191, &pa), HF_OK);
	ASSERT_EQ(pa, a->pa + 8191);
	ASSERT_EQ(holdfast_vtophys(h, b->addr, &pa), HF_OK);
	ASSERT_EQ(pa, b->pa);
	ASSERT_EQ(holdfast_vtophys(h, (char *)c->addr + 5, &pa), HF_OK);
	ASSERT_EQ(pa, c->pa + 5);
	ASSERT_EQ(holdfast_vtophys(h, (char *)a->addr + 8192, &pa),
	    HF_INVALID_ADDRESS);
	ASSERT_EQ(holdfast_vtophys(h, &pa, &pa), HF_INVALID_ADDRESS);
	ASSERT_EQ(holdfast_vtophys(h, NULL, &pa), HF_INVALID_ADDRESS);
	ASSERT_EQ(pa, c->pa + 5); /* written on success only */
	ASSERT_EQ(holdfast_contigfree(h, b), HF_OK);
	ASSERT_EQ(holdfast_vtophys(h, (char *)a->addr + 16384, &pa),
	    HF_INVALID_ADDRESS);
	holdfast_close(h);
	fake_stop(&fake);
}

static void
hide_addresses(struct fake_answer *answer, const char *arg)
{
	(void)arg;
	answer->hello.addresses_allowed = false;
	answer->contig.pa = answer->contig.span_pa = 0;
}

TEST(vtophys__is_denied_where_addresses_are_not_told)
{
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct fake fake;
	uint64_t pa;

	fake_start(&fake, hide_addresses, NULL);
	h = fake_connect(&fake);
	buf = alloc(h, 4096, 1 << 22, 0);
	ASSERT_FALSE(buf->pa_known);
	ASSERT_EQ((uintptr_t)buf->addr % (1 << 22), 0);
	ASSERT_EQ(holdfast_vtophys(h, buf->addr, &pa), HF_DENIED);
	holdfast_close(h);
	fake_stop(&fake);
}

/* ---- Fork, signals ---------------------------------------------------- */

TEST(fork__child_closes_without_disturbing_the_parent)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args = {.length = 4096, .prot = 3};
	struct holdfast_map *map;
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct fake fake;
	uint64_t addr;
	int status;
	pid_t pid;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	buf = alloc(h, 4096, 0, 0);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	*(volatile char *)addr = 1;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) {
		uint64_t got;

		ASSERT_EQ(holdfast_ping(h), -EPERM);
		ASSERT_EQ(holdfast_contigfree(h, buf), -EPERM);
		ASSERT_EQ(holdfast_map_find(map, &args, &got), -EPERM);
		ASSERT_EQ(holdfast_map_detach(map), -EPERM);
		ASSERT_EQ(*(volatile char *)addr, 1);
		*(volatile char *)addr = 2;
		holdfast_close(h);
		ASSERT_FALSE(is_mapped((void *)addr));
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(*(volatile char *)addr, 2);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

static void
be_slow(struct fake_answer *answer, const char *arg)
{
	(void)arg;
	if (answer->op == HOLDFAST__V1__REQUEST__OP_PING)
		(void)usleep(300000);
}

static void
on_alarm(int sig)
{
	(void)sig;
}

TEST(call__goes_on_after_a_signal)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval timer = {{0, 20000}, {0, 20000}};
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, be_slow, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(sigaction(SIGALRM, &action, NULL), 0); /* no SA_RESTART */
	ASSERT_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	timer = (struct itimerval){0};
	ASSERT_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
	holdfast_close(h);
	fake_stop(&fake);
}

/* ---- Maps --------------------------------------------------------------- */

TEST(map__mirrors_entries_at_their_addresses)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_map *map;
	struct holdfast *h;
	struct fake fake;
	uint64_t addr[10];

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_min(map), FAKE_MAP_MIN);
	ASSERT_EQ(holdfast_map_max(map), FAKE_MAP_MIN + FAKE_MAP_SIZE);
	for (size_t i = 0; i < 10; i++) {
		ASSERT_EQ(holdfast_map_find(map, &args, &addr[i]), HF_OK);
		memset((void *)addr[i], (int)i + 1, 8192);
	}
	ASSERT_EQ(holdfast_map_delete(map, addr[3], addr[3] + 8192), HF_OK);
	/* The holder cannot touch it any more, but nobody else gets it. */
	ASSERT_TRUE(is_mapped((void *)addr[3]));
	ASSERT_EQ(madvise((void *)addr[3], 4096, MADV_POPULATE_READ), -1);
	ASSERT_EQ(holdfast_map_refresh(map), HF_OK);
	for (size_t i = 0; i < 10; i++)
		if (i != 3)
			ASSERT_EQ(*(volatile char *)addr[i], (int)i + 1);
	ASSERT_EQ(holdfast_map_detach(map), HF_OK);
	ASSERT_FALSE(is_mapped((void *)addr[0]));
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(map__refresh_carries_out_what_another_did)
{
	struct holdfast_map_options options = {.name = "m"},
				    other = {.name = "m", .no_mirror = true};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_map *map, *editor;
	struct holdfast *h;
	struct fake fake;
	uint64_t addr[9];

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_attach(h, &other, &editor), HF_OK);
	for (size_t i = 0; i < 9; i++)
		ASSERT_EQ(holdfast_map_find(editor, &args, &addr[i]), HF_OK);
	ASSERT_EQ(madvise((void *)addr[0], 4096, MADV_POPULATE_READ), -1);
	ASSERT_EQ(holdfast_map_refresh(map), HF_OK);
	for (size_t i = 0; i < 9; i++)
		*(volatile char *)addr[i] = 1;
	ASSERT_EQ(holdfast_map_delete(editor, addr[4], addr[6]), HF_OK);
	*(volatile char *)addr[4] = 2; /* not carried out yet */
	ASSERT_EQ(holdfast_map_refresh(map), HF_OK);
	ASSERT_EQ(madvise((void *)addr[4], 4096, MADV_POPULATE_READ), -1);
	ASSERT_EQ(*(volatile char *)addr[6], 1);
	ASSERT_EQ(holdfast_map_destroy(editor), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(map__names_what_is_in_the_way)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map *map;
	struct holdfast *h;
	struct fake fake;
	void *p = (void *)(FAKE_MAP_MIN + 8192);

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(mmap(p, 4096, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
	    p);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), -EEXIST);
	ASSERT_HAS(holdfast_error(h), "collides with 0x6f0000002000-");
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	ASSERT_EQ(munmap(p, 4096), 0);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(map__lists_entries_over_several_packets)
{
	struct holdfast_map_options options = {.no_mirror = true};
	struct holdfast_map_args args = {.length = 4096, .prot = 3};
	struct holdfast_entry *entries, entry;
	struct holdfast_map *map;
	struct holdfast *h;
	struct fake fake;
	uint64_t addr, pindex;
	size_t n;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	for (size_t i = 0; i < 10; i++)
		ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	ASSERT_EQ(holdfast_map_entries(map, &entries, &n), HF_OK);
	ASSERT_EQ(n, 10);
	for (size_t i = 0; i < n; i++)
		ASSERT_EQ(entries[i].start, FAKE_MAP_MIN + 8192 * i);
	free(entries);
	ASSERT_EQ(holdfast_map_lookup(map, addr, 1, &entry, &pindex), HF_OK);
	ASSERT_EQ(entry.start, addr);
	ASSERT_EQ(pindex, 5);
	ASSERT_FALSE(is_mapped((void *)addr));
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(map__finds_many_in_one_call)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args[20];
	struct holdfast_map *map;
	struct holdfast *h;
	struct fake fake;
	uint64_t addr[20];
	int rv[20];

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	for (size_t i = 0; i < 20; i++)
		args[i] =
		    (struct holdfast_map_args){.length = i == 13
							     ? 2 * FAKE_MAP_SIZE
							     : 4096,
			.prot = 3};
	/* More than the fake's batch_max of 8: several packets. */
	ASSERT_EQ(holdfast_map_find_batch(map, args, 20, rv, addr), 0);
	for (size_t i = 0; i < 20; i++) {
		ASSERT_EQ(rv[i], i == 13 ? HF_NO_SPACE : HF_OK);
		if (i != 13)
			*(volatile char *)addr[i] = 1;
	}
	ASSERT_EQ(holdfast_map_find_batch(map, args, 257, rv, addr), -E2BIG);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(pool_runs__come_in_several_packets)
{
	struct holdfast_run *segs, *runs, *limbo;
	size_t nsegs, nruns, nlimbo;
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, NULL, NULL);
	h = fake_connect(&fake);
	ASSERT_EQ(holdfast_pool_runs(h, &segs, &nsegs, &runs, &nruns), HF_OK);
	ASSERT_EQ(nsegs, 0);
	ASSERT_EQ(nruns, 2);
	ASSERT_EQ(runs[1].start, FAKE_SPAN_PA + FAKE_FRAME);
	free(segs);
	free(runs);
	ASSERT_EQ(holdfast_limbo_runs(h, &limbo, &nlimbo), HF_OK);
	ASSERT_EQ(nlimbo, 0);
	free(limbo);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(status_name__has_a_name_for_every_code)
{
	ASSERT_STREQ(holdfast_status_name(HF_OK), "KERN_SUCCESS");
	ASSERT_STREQ(holdfast_status_name(HF_NO_SPACE), "KERN_NO_SPACE");
	ASSERT_STREQ(holdfast_status_name(HF_QUOTA), "HF_QUOTA");
	ASSERT_STREQ(holdfast_status_name(-EPIPE), "EPIPE");
	ASSERT_STREQ(holdfast_status_name(12345), "unknown");
	ASSERT_STREQ(holdfast_status_name(-12345), "unknown");
}
