/* SPDX-License-Identifier: BSD-2-Clause */

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/clients/fake.h"
#include "tests/send_fds.h"
#include "tests/test.h"

#define PAGE        UINT64_C(4096)
#define ENTRIES_MAX 64
#define PAGE_OF     3 /* entries in one reply: lists always need several */

struct daemon {
	int conn;
	int span_fd, base_fd;
	uint64_t brk; /* of the span: bytes given out */
	struct {
		uint64_t start, end;
	} entries[ENTRIES_MAX];
	size_t nentries;
	unsigned count[64]; /* answers given, by op */
	fake_tweak *tweak;
	const char *arg;
};

static void
require(bool ok, const char *what)
{
	if (!ok) {
		(void)fprintf(stderr, "fake daemon: %s: %s\n", what,
		    strerror(errno));
		_exit(3);
	}
}

static void
add_fd(struct fake_answer *answer, int fd)
{
	answer->fds[answer->nfds++] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void
answer_contig(struct daemon *d, const Holdfast__V1__ContigAlloc *op,
    struct fake_answer *answer)
{
	Holdfast__V1__ContigAllocResult *res = &answer->contig;
	uint64_t size = (op->size + PAGE - 1) & -PAGE, align = op->alignment;
	uint64_t offset = align > PAGE ? (d->brk + align - 1) & -align : d->brk;

	if (size == 0 || offset + size > FAKE_SPAN_SIZE) {
		answer->reply.status = HOLDFAST__V1__STATUS__STATUS_NO_SPACE;
		answer->reply.message = (char *)(uintptr_t) "the span is full";
		return;
	}
	d->brk = offset + size;
	if (op->policy != 0 && op->domain != 0)
		res->domain = op->domain - 1;
	else if (op->domains != 0)
		res->domain = ffs((int)op->domains) - 1;
	res->buffer = d->count[answer->op] + 1;
	res->size = size;
	res->offset = offset;
	res->span_size = FAKE_SPAN_SIZE;
	res->frame_size = FAKE_FRAME;
	res->span_pa = FAKE_SPAN_PA;
	res->pa = FAKE_SPAN_PA + offset;
	res->pin = HOLDFAST__V1__PIN__PIN_LONGTERM;
	res->verified = true;
	res->span = 7;
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC;
	answer->reply.contig_alloc = res;
	add_fd(answer, d->span_fd);
}

static void
answer_find(struct daemon *d, const Holdfast__V1__MapFind *op,
    struct fake_answer *answer)
{
	uint64_t at = FAKE_MAP_MIN;

	if (d->nentries > 0)
		at = d->entries[d->nentries - 1].end + PAGE;
	if (op->addr > at)
		at = op->addr;
	if (d->nentries == ENTRIES_MAX ||
	    op->length > FAKE_MAP_MIN + FAKE_MAP_SIZE - at) {
		answer->reply.status = HOLDFAST__V1__STATUS__STATUS_NO_SPACE;
		return;
	}
	d->entries[d->nentries].start = at;
	d->entries[d->nentries++].end = at + op->length;
	answer->find.addr = at;
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_FIND;
	answer->reply.map_find = &answer->find;
}

static void
answer_delete(struct daemon *d, const Holdfast__V1__MapDelete *op)
{
	size_t n = 0;

	for (size_t i = 0; i < d->nentries; i++)
		if (d->entries[i].end <= op->start ||
		    d->entries[i].start >= op->end)
			d->entries[n++] = d->entries[i];
	d->nentries = n;
}

static void
answer_entries(struct daemon *d, const Holdfast__V1__MapEntries *op,
    struct fake_answer *answer)
{
	static Holdfast__V1__Entry entries[PAGE_OF];
	static Holdfast__V1__Entry *pointers[PAGE_OF];
	Holdfast__V1__MapEntriesResult *res = &answer->entries;
	uint64_t end = op->end != 0 ? op->end : UINT64_MAX;

	res->entries = pointers;
	for (size_t i = 0; i < d->nentries; i++) {
		Holdfast__V1__Entry *entry = &entries[res->n_entries];

		if (d->entries[i].end <= op->from || d->entries[i].start >= end)
			continue;
		if (res->n_entries == PAGE_OF) {
			res->next = d->entries[i].start;
			break;
		}
		holdfast__v1__entry__init(entry);
		entry->start = d->entries[i].start;
		entry->end = d->entries[i].end;
		entry->prot = entry->max_prot = 3;
		entry->file_offset = entry->start - FAKE_MAP_MIN;
		if (op->want_fds) {
			add_fd(answer, d->base_fd);
			entry->fd_index = (uint32_t)answer->nfds;
		}
		pointers[res->n_entries++] = entry;
	}
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_ENTRIES;
	answer->reply.map_entries = res;
}

static void
answer_runs(const Holdfast__V1__PoolRuns *op, struct fake_answer *answer)
{
	static Holdfast__V1__Run run = HOLDFAST__V1__RUN__INIT;
	static Holdfast__V1__Run *pointers[1] = {&run};

	/* Two pages of one run each. */
	run.start = op->from == 0 ? FAKE_SPAN_PA : op->from;
	run.end = run.start + FAKE_FRAME;
	answer->runs.n_free = 1;
	answer->runs.free = pointers;
	answer->runs.next = op->from == 0 ? run.end : 0;
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_POOL_RUNS;
	answer->reply.pool_runs = &answer->runs;
}

static void
answer_map(struct fake_answer *answer)
{
	answer->map.map = 1;
	answer->map.min = FAKE_MAP_MIN;
	answer->map.max = FAKE_MAP_MIN + FAKE_MAP_SIZE;
	answer->map.page_size = PAGE;
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP;
	answer->reply.map = &answer->map;
}

static void
answer_hello(struct fake_answer *answer)
{
	answer->hello.version = 1;
	answer->hello.page_size = PAGE;
	answer->hello.frame_size = FAKE_FRAME;
	answer->hello.addresses_allowed = true;
	answer->hello.machine = (char *)(uintptr_t) "x86_64";
	answer->hello.packet_max = HOLDFAST_PACKET_MAX;
	answer->hello.batch_max = 8;
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_HELLO;
	answer->reply.hello = &answer->hello;
}

static void
answer_lookup(const Holdfast__V1__MapLookup *op, struct fake_answer *answer)
{
	static Holdfast__V1__Entry entry = HOLDFAST__V1__ENTRY__INIT;

	entry.start = op->addr & -PAGE;
	entry.end = entry.start + PAGE;
	answer->lookup.entry = &entry;
	answer->lookup.pindex = 5;
	answer->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LOOKUP;
	answer->reply.map_lookup = &answer->lookup;
}

static void
make_answer(struct daemon *d, const Holdfast__V1__Request *request,
    struct fake_answer *answer)
{
	*answer = (struct fake_answer){.op = request->op_case};
	holdfast__v1__reply__init(&answer->reply);
	holdfast__v1__hello_result__init(&answer->hello);
	holdfast__v1__contig_alloc_result__init(&answer->contig);
	holdfast__v1__map_result__init(&answer->map);
	answer->map.access = HF_MAP_READ | HF_MAP_CHANGE;
	holdfast__v1__map_find_result__init(&answer->find);
	holdfast__v1__map_lookup_result__init(&answer->lookup);
	holdfast__v1__map_entries_result__init(&answer->entries);
	holdfast__v1__pool_runs_result__init(&answer->runs);
	answer->nth = d->count[answer->op % 64];
	answer->reply.id = request->id;
	answer->reply.status = HOLDFAST__V1__STATUS__STATUS_SUCCESS;
	switch (request->op_case) {
	case HOLDFAST__V1__REQUEST__OP_HELLO:
		answer_hello(answer);
		break;
	case HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC:
		answer_contig(d, request->contig_alloc, answer);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_CREATE:
	case HOLDFAST__V1__REQUEST__OP_MAP_ATTACH:
		answer_map(answer);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_FIND:
		answer_find(d, request->map_find, answer);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_DELETE:
		answer_delete(d, request->map_delete);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_LOOKUP:
		answer_lookup(request->map_lookup, answer);
		break;
	case HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES:
		answer_entries(d, request->map_entries, answer);
		break;
	case HOLDFAST__V1__REQUEST__OP_POOL_RUNS:
		answer_runs(request->pool_runs, answer);
		break;
	default:
		break; /* a bare success */
	}
	d->count[answer->op % 64]++;
}

static void
send_answer(struct daemon *d, struct fake_answer *answer)
{
	static uint8_t packet[HOLDFAST_PACKET_MAX];
	struct wire_out out;

	if (answer->hang_up)
		_exit(0);
	if (!answer->unnumbered)
		answer->reply.nfds = (uint32_t)answer->nfds;
	wire_out_init(&out, packet, sizeof(packet));
	require(wire_append_reply(&out, &answer->reply) == 0, "reply");
	if (answer->raw != NULL) {
		out.buf = (uint8_t *)(uintptr_t)answer->raw;
		out.len = answer->raw_size;
	}
	/* That fails is the client's doing: it may hang up any time. */
	for (unsigned i = 0; i <= answer->repeat && !answer->silent; i++)
		(void)send_fds(d->conn, out.buf,
		    answer->empty_packet ? 0 : out.len, answer->fds,
		    answer->nfds);
	for (size_t i = 0; i < answer->nfds; i++)
		(void)close(answer->fds[i]);
}

static void
serve(struct daemon *d)
{
	static uint8_t packet[HOLDFAST_PACKET_MAX];
	struct wire_arena arena;
	ssize_t n;

	require(wire_arena_init(&arena, HOLDFAST_UNPACK_MAX) == 0, "arena");
	while ((n = recv(d->conn, packet, sizeof(packet), 0)) > 0) {
		Holdfast__V1__ClientPacket *in =
		    wire_unpack_client(&arena, packet, (size_t)n);

		require(in != NULL, "the client's packet");
		for (size_t i = 0; i < in->n_requests; i++) {
			struct fake_answer answer;

			make_answer(d, in->requests[i], &answer);
			if (d->tweak != NULL)
				d->tweak(&answer, d->arg);
			send_answer(d, &answer);
		}
		wire_arena_reset(&arena);
	}
}

static void
make_files(struct daemon *d)
{
	d->span_fd = memfd_create("span",
	    MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB | MFD_ALLOW_SEALING);
	require(d->span_fd >= 0, "hugetlb memfd");
	require(ftruncate(d->span_fd, (off_t)FAKE_SPAN_SIZE) == 0, "span size");
	d->base_fd = memfd_create("base", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	require(d->base_fd >= 0, "memfd");
	require(ftruncate(d->base_fd, (off_t)FAKE_MAP_SIZE) == 0, "base size");
	require(fcntl(d->base_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) ==
		    0,
	    "seals");
}

void
fake_start(struct fake *fake, fake_tweak *tweak, const char *arg)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct daemon d = {.tweak = tweak, .arg = arg};
	int listener;

	strcpy(fake->dir, "/tmp/holdfast-fake-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(fake->dir));
	(void)snprintf(fake->path, sizeof(fake->path), "%s/socket", fake->dir);
	strcpy(sun.sun_path, fake->path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ASSERT_GE(listener, 0);
	ASSERT_EQ(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ASSERT_EQ(listen(listener, 8), 0);
	fake->pid = fork();
	ASSERT_GE(fake->pid, 0);
	if (fake->pid == 0) {
		make_files(&d);
		d.conn = accept(listener, NULL, NULL);
		require(d.conn >= 0, "accept");
		(void)close(listener);
		serve(&d);
		_exit(0);
	}
	(void)close(listener);
}

static void
remove_socket(const struct fake *fake)
{
	(void)unlink(fake->path);
	(void)rmdir(fake->dir);
}

void
fake_stop(struct fake *fake)
{
	int status;

	ASSERT_EQ(waitpid(fake->pid, &status, 0), fake->pid);
	ASSERT_EQ(status, 0);
	remove_socket(fake);
}

void
fake_kill(struct fake *fake)
{
	ASSERT_EQ(kill(fake->pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(fake->pid, NULL, 0), fake->pid);
	remove_socket(fake);
}

int
fake_try_connect(const struct fake *fake, int timeout_ms, struct holdfast **hp)
{
	struct holdfast_options options = {
	    .socket_path = fake->path,
	    .name = "a test",
	    .timeout_ms = timeout_ms,
	};

	return holdfast_connect(&options, hp);
}

struct holdfast *
fake_connect(const struct fake *fake)
{
	struct holdfast *h;

	ASSERT_EQ(fake_try_connect(fake, 5000, &h), HF_OK);
	return h;
}
