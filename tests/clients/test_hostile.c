/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * libholdfast against a hostile or broken daemon: whatever it sends, a call
 * ends with an error code, in time, and no descriptor is left behind.
 *
 * Each case names a lie and is told by a tweak of one answer of an otherwise
 * honest daemon.  A lie that breaks the protocol ends the connection.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast_cache.h"
#include "tests/clients/fake.h"
#include "tests/test.h"

#define HELLO   HOLDFAST__V1__REQUEST__OP_HELLO
#define PING    HOLDFAST__V1__REQUEST__OP_PING
#define ALLOC   HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC
#define ATTACH  HOLDFAST__V1__REQUEST__OP_MAP_ATTACH
#define ENTRIES HOLDFAST__V1__REQUEST__OP_MAP_ENTRIES
#define FIND    HOLDFAST__V1__REQUEST__OP_MAP_FIND
#define LOOKUP  HOLDFAST__V1__REQUEST__OP_MAP_LOOKUP
#define RUNS    HOLDFAST__V1__REQUEST__OP_POOL_RUNS

/* Replace the answer's first descriptor, or add it where there is none. */
static void
swap_fd(struct fake_answer *a, int fd)
{
	if (a->nfds == 0)
		a->nfds = 1;
	else
		(void)close(a->fds[0]);
	a->fds[0] = fd;
}

static int
a_memfd(unsigned flags, uint64_t size, int seals)
{
	int fd = memfd_create("lie", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (ftruncate(fd, (off_t)size) < 0 ||
	    (seals != 0 && fcntl(fd, F_ADD_SEALS, seals) < 0))
		_exit(4);
	return fd;
}

static int
an_ordinary_file(uint64_t size)
{
	char path[] = "/tmp/holdfast-lie-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	(void)unlink(path);
	if (ftruncate(fd, (off_t)size) < 0)
		_exit(4);
	return fd;
}

static int
reopened_read_only(int fd)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void
raw(struct fake_answer *a, const void *bytes, size_t size)
{
	a->raw = bytes;
	a->raw_size = size;
}

/* ---- What a lie does to any answer ------------------------------------- */

static bool
tweak_any(struct fake_answer *a, const char *lie)
{
	static char big[HOLDFAST_PACKET_MAX + 1];

	if (strcmp(lie, "garbage") == 0)
		raw(a, "\xff\xff\xff\xff", 4);
	else if (strcmp(lie, "truncated") == 0)
		raw(a, "\x0a\x40\x08", 3);
	else if (strcmp(lie, "oversize") == 0)
		raw(a, big, sizeof(big));
	else if (strcmp(lie, "no reply in packet") == 0)
		raw(a, "\x18\x01", 2);
	else if (strcmp(lie, "an event nobody waits for") == 0)
		raw(a, "\x12\x06\x08\x01\x10\x01\x18\x02", 8);
	else if (strcmp(lie, "wants memory that nobody offered") == 0)
		raw(a, "\x1a\x04\x08\x01\x10\x01", 6);
	else if (strcmp(lie, "answers a cancellation nobody sent") == 0)
		a->reply.id = UINT64_C(1) << 63;
	else if (strcmp(lie, "other id") == 0)
		a->reply.id += 1000;
	else if (strcmp(lie, "old id") == 0)
		a->reply.id -= 1;
	else if (strcmp(lie, "status 0") == 0)
		a->reply.status = 0;
	else if (strcmp(lie, "status 40") == 0)
		a->reply.status = (Holdfast__V1__Status)40;
	else if (strcmp(lie, "status 1000000") == 0)
		a->reply.status = (Holdfast__V1__Status)1000000;
	else if (strcmp(lie, "negative status") == 0)
		a->reply.status = (Holdfast__V1__Status)-5;
	else if (strcmp(lie, "wrong result") == 0) {
		a->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LOOKUP;
		a->reply.map_lookup = &a->lookup;
	} else if (strcmp(lie, "fds without data") == 0) {
		swap_fd(a, a_memfd(0, 4096, 0));
		a->empty_packet = true;
	} else if (strcmp(lie, "fd that nobody asked for") == 0) {
		swap_fd(a, a_memfd(0, 4096, 0));
		a->fds[a->nfds++] = a_memfd(0, 4096, 0);
	} else if (strcmp(lie, "fd of no reply") == 0) {
		a->fds[a->nfds++] = a_memfd(0, 4096, 0);
		a->reply.nfds = (uint32_t)a->nfds - 1;
		a->unnumbered = true;
	} else if (strcmp(lie, "fds announced, none sent") == 0) {
		while (a->nfds > 0)
			(void)close(a->fds[--a->nfds]);
		a->reply.nfds = 3;
		a->unnumbered = true;
	} else if (strcmp(lie, "four billion fds announced") == 0) {
		a->reply.nfds = UINT32_MAX;
		a->unnumbered = true;
	} else if (strcmp(lie, "80 fds") == 0) {
		while (a->nfds < 80)
			a->fds[a->nfds++] = a_memfd(0, 4096, 0);
	} else if (strcmp(lie, "fd with a refusal") == 0) {
		a->reply.status = HOLDFAST__V1__STATUS__STATUS_QUOTA;
		swap_fd(a, a_memfd(0, 4096, 0));
	} else
		return false;
	return true;
}

static const char *const lies_of_any[] = {"garbage", "truncated", "oversize",
    "no reply in packet", "an event nobody waits for",
    "wants memory that nobody offered", "answers a cancellation nobody sent",
    "other id", "old id", "status 0", "status 40", "status 1000000",
    "negative status", "wrong result", "fds without data",
    "fd that nobody asked for", "fd of no reply", "fds announced, none sent",
    "four billion fds announced", "80 fds", "fd with a refusal"};

/* ---- Lies about a buffer ----------------------------------------------- */

static bool
tweak_alloc_fd(struct fake_answer *a, const char *lie)
{
	const unsigned huge = MFD_HUGETLB | MFD_HUGE_2MB;

	if (strcmp(lie, "an ordinary file") == 0)
		swap_fd(a, an_ordinary_file(FAKE_SPAN_SIZE));
	else if (strcmp(lie, "a base-page memfd") == 0)
		swap_fd(a, a_memfd(0, FAKE_SPAN_SIZE, F_SEAL_SHRINK));
	else if (strcmp(lie, "a directory") == 0)
		swap_fd(a, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	else if (strcmp(lie, "a device") == 0)
		swap_fd(a, open("/dev/zero", O_RDWR | O_CLOEXEC));
	else if (strcmp(lie, "a pipe") == 0) {
		int fds[2];

		if (pipe2(fds, O_CLOEXEC) < 0)
			_exit(4);
		(void)close(fds[1]);
		swap_fd(a, fds[0]);
	} else if (strcmp(lie, "a short span") == 0)
		swap_fd(a, a_memfd(huge, FAKE_SPAN_SIZE - FAKE_FRAME, 0));
	else if (strcmp(lie, "an empty span") == 0)
		swap_fd(a, a_memfd(huge, 0, 0));
	else if (strcmp(lie, "a read-only span") == 0)
		swap_fd(a, reopened_read_only(a->fds[0]));
	else if (strcmp(lie, "a span sealed against writing") == 0)
		swap_fd(a, a_memfd(huge, FAKE_SPAN_SIZE, F_SEAL_FUTURE_WRITE));
	else if (strcmp(lie, "another frame size") == 0)
		a->contig.frame_size = UINT64_C(1) << 21 << 1;
	else
		return false;
	return true;
}

static const char *const lies_of_alloc_fd[] = {"an ordinary file",
    "a base-page memfd", "a directory", "a device", "a pipe", "a short span",
    "an empty span", "a read-only span", "a span sealed against writing",
    "another frame size"};

static bool
tweak_alloc_numbers(struct fake_answer *a, const char *lie)
{
	Holdfast__V1__ContigAllocResult *c = &a->contig;

	if (strcmp(lie, "size 0") == 0)
		c->size = 0;
	else if (strcmp(lie, "a larger buffer") == 0)
		c->size += 4096;
	else if (strcmp(lie, "size of 2^63") == 0)
		c->size = UINT64_C(1) << 63;
	else if (strcmp(lie, "offset behind the span") == 0)
		c->offset = FAKE_SPAN_SIZE;
	else if (strcmp(lie, "offset that wraps") == 0)
		c->offset = -UINT64_C(4096);
	else if (strcmp(lie, "offset within a page") == 0)
		c->offset = 8;
	else if (strcmp(lie, "span size 0") == 0)
		c->span_size = 0;
	else if (strcmp(lie, "span of 2^62") == 0)
		c->span_size = UINT64_C(1) << 62;
	else if (strcmp(lie, "frame size 0") == 0)
		c->frame_size = 0;
	else if (strcmp(lie, "frame size 3") == 0)
		c->frame_size = 3;
	else if (strcmp(lie, "frame size 2^63") == 0)
		c->frame_size = UINT64_C(1) << 63;
	else if (strcmp(lie, "pa elsewhere") == 0)
		c->pa += FAKE_FRAME;
	else if (strcmp(lie, "span pa within a frame") == 0) {
		c->span_pa += 4096;
		c->pa += 4096;
	} else if (strcmp(lie, "pa below low") == 0) {
		c->span_pa = FAKE_FRAME;
		c->pa = FAKE_FRAME + c->offset;
	} else if (strcmp(lie, "pa above high") == 0) {
		c->span_pa = UINT64_C(1) << 40;
		c->pa = c->span_pa + c->offset;
	} else if (strcmp(lie, "pa that wraps") == 0) {
		c->span_pa = -FAKE_FRAME;
		c->pa = c->span_pa + c->offset;
	} else if (strcmp(lie, "another alignment") == 0) {
		c->offset = 4096;
		c->pa = c->span_pa + 4096;
	} else if (strcmp(lie, "across the boundary") == 0) {
		c->offset = 65536 - 8192;
		c->pa = c->span_pa + c->offset;
	} else if (strcmp(lie, "no pin word") == 0)
		c->pin = 0;
	else if (strcmp(lie, "pin 77") == 0)
		c->pin = (Holdfast__V1__Pin)77;
	else if (strcmp(lie, "another domain") == 0)
		c->domain = 5;
	else
		return false;
	return true;
}

static const char *const lies_of_alloc_numbers[] = {"size 0", "a larger buffer",
    "size of 2^63", "offset behind the span", "offset that wraps",
    "offset within a page", "span size 0", "span of 2^62", "frame size 0",
    "frame size 3", "frame size 2^63", "pa elsewhere", "span pa within a frame",
    "pa below low", "pa above high", "pa that wraps", "another alignment",
    "across the boundary", "no pin word", "pin 77", "another domain"};

static void
tweak_alloc(struct fake_answer *a, const char *lie)
{
	if (a->op != ALLOC)
		return;
	if (!tweak_any(a, lie) && !tweak_alloc_fd(a, lie) &&
	    !tweak_alloc_numbers(a, lie))
		_exit(5); /* a lie nobody knows */
}

/* A client of a daemon that lies, and what there was before. */
struct scene {
	struct fake fake;
	struct holdfast *h;
	const char *lie;
	int nfds;
};

static struct holdfast *
scene_begin(struct scene *scene, fake_tweak *tweak, const char *lie)
{
	scene->lie = lie;
	scene->nfds = test_nfds();
	fake_start(&scene->fake, tweak, lie);
	scene->h = fake_connect(&scene->fake);
	return scene->h;
}

/* No descriptor is left behind. */
static void
scene_end(struct scene *scene)
{
	holdfast_close(scene->h);
	fake_stop(&scene->fake);
	if (test_nfds() != scene->nfds)
		test_fail(__FILE__, __LINE__, "%s: descriptors leak",
		    scene->lie == NULL ? "" : scene->lie);
}

/* The connection is over, and says the same from now on. */
static void
expect_broken(struct holdfast *h, int r)
{
	ASSERT_EQ(holdfast_ping(h), r);
	ASSERT_EQ(holdfast_ping(h), r);
}

/* What the fake daemon can honestly give. */
static const struct holdfast_contig_req full_request = {
    .size = 16384,
    .low = UINT64_C(1) << 28,
    .high = UINT64_C(1) << 34,
    .alignment = 8192,
    .boundary = 65536,
    .domain_set = true,
    .domain = 0,
};

static void
alloc_meets(const char *lie)
{
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct scene scene;
	int r;

	h = scene_begin(&scene, tweak_alloc, lie);
	r = holdfast_contigmalloc(h, &full_request, &buf);
	if (r != -EPROTO)
		test_fail(__FILE__, __LINE__, "%s: %s, not EPROTO", lie,
		    holdfast_status_name(r));
	expect_broken(h, -EPROTO);
	scene_end(&scene);
}

/* A node that the set has not is not believed either. */
TEST(hostile__a_domain_outside_the_set_is_found_out)
{
	struct holdfast_contig_req req = {.size = 4096, .domains = 1 << 4};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, NULL, NULL);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(buf->domain, 4);
	scene_end(&scene);
	h = scene_begin(&scene, tweak_alloc, "another domain"); /* 5 */
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), -EPROTO);
	expect_broken(h, -EPROTO);
	scene_end(&scene);
}

#define EACH(lies, meets)                                                      \
	for (size_t i = 0; i < sizeof(lies) / sizeof((lies)[0]); i++)          \
	meets((lies)[i])

/* Without a lie the same requests are met: it is the lie that is refused. */
TEST(hostile__honesty_is_accepted)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_buf *buf;
	struct holdfast_map *map;
	struct holdfast *h;
	struct scene scene;
	uint64_t addr;

	h = scene_begin(&scene, NULL, NULL);
	ASSERT_EQ(holdfast_contigmalloc(h, &full_request, &buf), HF_OK);
	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_OK);
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	ASSERT_EQ(holdfast_map_refresh(map), HF_OK);
	scene_end(&scene);
}

TEST(hostile__answers_are_refused)
{
	EACH(lies_of_any, alloc_meets);
}

TEST(hostile__descriptors_of_a_span_are_looked_at)
{
	EACH(lies_of_alloc_fd, alloc_meets);
}

/* A cache maps by itself. */
static void
cache_meets(const char *lie)
{
	struct holdfast_cache *cache;
	struct holdfast *h;
	struct scene scene;
	void *p;

	h = scene_begin(&scene, tweak_alloc, lie);
	ASSERT_EQ(holdfast_cache_create(h, NULL, &cache), HF_OK);
	p = holdfast_cache_alloc(cache, 64);
	if (p != NULL)
		test_fail(__FILE__, __LINE__, "%s: a cache maps it", lie);
	expect_broken(h, -EPROTO);
	holdfast_cache_destroy(cache);
	scene_end(&scene);
}

TEST(hostile__descriptors_of_a_cache_are_looked_at)
{
	EACH(lies_of_alloc_fd, cache_meets);
}

static void
tweak_free(struct fake_answer *a, const char *lie)
{
	if (a->op != HOLDFAST__V1__REQUEST__OP_CONTIG_FREE)
		return;
	if (strcmp(lie, "refuses") == 0)
		a->reply.status = HOLDFAST__V1__STATUS__STATUS_UNKNOWN_ID;
	else if (strcmp(lie, "goes away") == 0)
		a->reply.status = HOLDFAST__V1__STATUS__STATUS_SHUTTING_DOWN;
	else if (strcmp(lie, "answers twice") == 0)
		a->repeat = 1;
}

/* A free that is not waited for: what of its answer? */
static int
free_meets(const char *lie)
{
	struct holdfast_contig_req req = {.size = 16384};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct scene scene;
	int r;

	h = scene_begin(&scene, tweak_free, lie);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	r = holdfast_ping(h);
	scene_end(&scene);
	return r;
}

TEST(hostile__a_free_that_is_not_waited_for_is_not_answered_with_lies)
{
	ASSERT_EQ(free_meets("an older daemon answers all"), HF_OK);
	ASSERT_EQ(free_meets("goes away"), HF_OK);
	ASSERT_EQ(free_meets("refuses"), -EPROTO);
	ASSERT_EQ(free_meets("answers twice"), -EPROTO);
}

TEST(hostile__numbers_of_a_buffer_are_checked_against_the_request)
{
	EACH(lies_of_alloc_numbers, alloc_meets);
}

/* ---- A second buffer of a span --------------------------------------------
 */

static void
tweak_second(struct fake_answer *a, const char *lie)
{
	if (a->op != ALLOC || a->nth == 0)
		return;
	if (strcmp(lie, "the same bytes again") == 0) {
		a->contig.offset = 0;
		a->contig.pa = a->contig.span_pa;
	} else if (strcmp(lie, "another file") == 0)
		swap_fd(a,
		    a_memfd(MFD_HUGETLB | MFD_HUGE_2MB, FAKE_SPAN_SIZE, 0));
	else if (strcmp(lie, "another place") == 0) {
		a->contig.span_pa += FAKE_FRAME;
		a->contig.pa += FAKE_FRAME;
	} else if (strcmp(lie, "no file") == 0)
		(void)close(a->fds[--a->nfds]);
	else
		_exit(5);
}

static void
second_meets(const char *lie)
{
	struct holdfast_contig_req req = {.size = 16384, .no_map = true};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, tweak_second, lie);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), -EPROTO);
	ASSERT_HAS(holdfast_error(h), "span 7");
	expect_broken(h, -EPROTO);
	scene_end(&scene);
}

TEST(hostile__a_span_stays_what_it_was)
{
	static const char *const lies[] = {"the same bytes again",
	    "another file", "another place", "no file"};

	EACH(lies, second_meets);
}

static void
tweak_no_fd(struct fake_answer *a, const char *lie)
{
	(void)lie;
	if (a->op == ALLOC)
		(void)close(a->fds[--a->nfds]);
}

TEST(hostile__a_buffer_without_memory_is_given_back)
{
	struct holdfast_contig_req req = {.size = 16384};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, tweak_no_fd, NULL);
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), -ENODEV);
	req.no_map = true;
	ASSERT_EQ(holdfast_contigmalloc(h, &req, &buf), HF_OK);
	ASSERT_EQ(buf->fd, -1);
	scene_end(&scene);
}

/* ---- Hello ------------------------------------------------------------------
 */

static void
tweak_hello(struct fake_answer *a, const char *lie)
{
	if (a->op != HELLO || tweak_any(a, lie))
		return;
	if (strcmp(lie, "version 0") == 0)
		a->hello.version = 0;
	else if (strcmp(lie, "version 9") == 0)
		a->hello.version = 9;
	else if (strcmp(lie, "page size 0") == 0)
		a->hello.page_size = 0;
	else if (strcmp(lie, "page size 12288") == 0)
		a->hello.page_size = 12288;
	else if (strcmp(lie, "page size 512") == 0)
		a->hello.page_size = 512;
	else if (strcmp(lie, "frame size 6000000") == 0)
		a->hello.frame_size = 6000000;
	else
		_exit(5);
}

static void
connect_meets(const char *lie)
{
	int before = test_nfds(), r;
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, tweak_hello, lie);
	r = fake_try_connect(&fake, 5000, &h);
	if (r != -EPROTO)
		test_fail(__FILE__, __LINE__, "%s: %s, not EPROTO", lie,
		    holdfast_status_name(r));
	fake_stop(&fake);
	ASSERT_EQ(test_nfds(), before);
}

TEST(hostile__hello_is_checked)
{
	static const char *const lies[] = {"version 0", "version 9",
	    "page size 0", "page size 12288", "page size 512",
	    "frame size 6000000"};

	EACH(lies, connect_meets);
	EACH(lies_of_any, connect_meets);
}

static void
tweak_tiny_limits(struct fake_answer *a, const char *lie)
{
	(void)lie;
	a->hello.packet_max = 100;
	a->hello.batch_max = UINT32_MAX;
}

TEST(hostile__tiny_packets_are_an_error_before_anything_is_sent)
{
	struct holdfast_map_options options = {.no_mirror = true};
	struct holdfast_map_args args[HF_BATCH_MAX] = {{.length = 4096}};
	uint64_t addr[HF_BATCH_MAX];
	struct holdfast_map *map;
	int rv[HF_BATCH_MAX];
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, tweak_tiny_limits, NULL);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find_batch(map, args, HF_BATCH_MAX, rv, addr),
	    -EMSGSIZE);
	ASSERT_EQ(holdfast_map_find(map, args, addr), HF_OK);
	scene_end(&scene);
}

/* ---- Time --------------------------------------------------------------- */

static void
tweak_time(struct fake_answer *a, const char *lie)
{
	if (a->op != PING)
		return;
	if (strcmp(lie, "silence") == 0)
		a->silent = true;
	else if (strcmp(lie, "hang-up") == 0)
		a->hang_up = true;
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

TEST(hostile__silence_times_out)
{
	int64_t start = now_ms();
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, tweak_time, "silence");
	ASSERT_EQ(fake_try_connect(&fake, 2000, &h), HF_OK);
	ASSERT_EQ(holdfast_ping(h), -ETIMEDOUT);
	ASSERT_GE(now_ms() - start, 200);
	expect_broken(h, -ETIMEDOUT);
	holdfast_close(h);
	fake_stop(&fake);
}

TEST(hostile__hang_up_is_told)
{
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, tweak_time, "hang-up");
	ASSERT_EQ(holdfast_ping(h), -EPIPE);
	expect_broken(h, -EPIPE);
	scene_end(&scene);
}

TEST(hostile__stopped_daemon_times_out_at_connect)
{
	struct holdfast *h;
	struct fake fake;

	fake_start(&fake, NULL, NULL);
	ASSERT_EQ(kill(fake.pid, SIGSTOP), 0);
	ASSERT_EQ(fake_try_connect(&fake, 200, &h), -ETIMEDOUT);
	ASSERT_EQ(kill(fake.pid, SIGCONT), 0);
	fake_stop(&fake);
}

static void
tweak_repeat(struct fake_answer *a, const char *lie)
{
	(void)lie;
	if (a->op == PING)
		a->repeat = 1;
}

TEST(hostile__a_second_answer_ends_the_connection)
{
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, tweak_repeat, NULL);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	ASSERT_EQ(holdfast_ping(h), -EPROTO);
	scene_end(&scene);
}

/* ---- Sentences ---------------------------------------------------------- */

static void
tweak_sentence(struct fake_answer *a, const char *lie)
{
	static char text[4096];

	(void)lie;
	if (a->op != PING)
		return;
	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "\x1b[2J\n\t%s%n", 10);
	a->reply.status = HOLDFAST__V1__STATUS__STATUS_DENIED;
	a->reply.message = text;
}

TEST(hostile__sentences_are_cut_and_made_printable)
{
	struct holdfast *h;
	struct scene scene;

	h = scene_begin(&scene, tweak_sentence, NULL);
	ASSERT_EQ(holdfast_ping(h), HF_DENIED);
	ASSERT_EQ(strlen(holdfast_error(h)), HOLDFAST_MESSAGE_MAX);
	ASSERT_EQ(strncmp(holdfast_error(h), "?[2J??%s%nxxx", 13), 0);
	scene_end(&scene);
}

/* ---- Lies about maps
 * --------------------------------------------------------- */

static void
tweak_map(struct fake_answer *a, const char *lie)
{
	Holdfast__V1__Entry **entries = a->entries.entries;

	if (a->op == ATTACH) {
		if (strcmp(lie, "an inverted map") == 0)
			a->map.max = a->map.min;
		else if (strcmp(lie, "a map within a page") == 0)
			a->map.max -= 8;
		return;
	}
	if (a->op != ENTRIES || a->entries.n_entries < 2)
		return;
	if (strcmp(lie, "an entry below the map") == 0)
		entries[0]->start = FAKE_MAP_MIN - 4096;
	else if (strcmp(lie, "an entry above the map") == 0)
		entries[1]->end = FAKE_MAP_MIN + FAKE_MAP_SIZE + 4096;
	else if (strcmp(lie, "an inverted entry") == 0)
		entries[0]->end = entries[0]->start;
	else if (strcmp(lie, "entries that overlap") == 0)
		entries[0]->end = entries[1]->start + 4096;
	else if (strcmp(lie, "entries out of order") == 0) {
		Holdfast__V1__Entry *first = entries[0];

		entries[0] = entries[1];
		entries[1] = first;
	} else if (strcmp(lie, "an entry within a page") == 0)
		entries[0]->start += 8;
	else if (strcmp(lie, "a list that goes back") == 0)
		a->entries.next = FAKE_MAP_MIN;
	else if (strcmp(lie, "descriptor 9 of 3") == 0)
		entries[0]->fd_index = 9;
	else if (strcmp(lie, "protection 0xff") == 0)
		entries[0]->prot = 0xff;
	else if (strcmp(lie, "offset behind the file") == 0)
		entries[0]->file_offset = UINT64_C(1) << 40;
	else if (strcmp(lie, "offset that wraps") == 0)
		entries[0]->file_offset = -UINT64_C(4096);
	else if (strcmp(lie, "offset within a page") == 0)
		entries[0]->file_offset += 8;
	else if (strcmp(lie, "an unsealed memfd") == 0)
		swap_fd(a, a_memfd(0, FAKE_MAP_SIZE, 0));
	else if (strcmp(lie, "an ordinary file") == 0)
		swap_fd(a, an_ordinary_file(FAKE_MAP_SIZE));
	else if (strcmp(lie, "a short file") == 0)
		swap_fd(a, a_memfd(0, 4096, F_SEAL_SHRINK));
	else if (strcmp(lie, "a device") == 0)
		swap_fd(a, open("/dev/zero", O_RDWR | O_CLOEXEC));
	else if (strcmp(lie, "huge pages cut") == 0)
		swap_fd(a, a_memfd(MFD_HUGETLB | MFD_HUGE_2MB, FAKE_MAP_SIZE,
			       F_SEAL_SHRINK));
}

/* A map with n entries, that is not mapped here. */
static void
enter_quietly(struct holdfast *h, int n, uint64_t *addr)
{
	struct holdfast_map_options quiet = {.name = "m", .no_mirror = true};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_map *editor;

	ASSERT_EQ(holdfast_map_create(h, &quiet, &editor), HF_OK);
	for (int i = 0; i < n; i++)
		ASSERT_EQ(holdfast_map_find(editor, &args, &addr[i]), HF_OK);
}

static void
attach_meets(const char *lie)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map *map;
	int r;
	struct holdfast *h;
	struct scene scene;
	uint64_t addr[5];

	h = scene_begin(&scene, tweak_map, lie);
	enter_quietly(h, 5, addr);
	r = holdfast_map_attach(h, &options, &map);
	if (r != -EPROTO)
		test_fail(__FILE__, __LINE__, "%s: %s, not EPROTO", lie,
		    holdfast_status_name(r));
	expect_broken(h, -EPROTO);
	scene_end(&scene);
}

TEST(hostile__entries_and_their_files_are_checked)
{
	static const char *const lies[] = {"an inverted map",
	    "a map within a page", "an entry below the map",
	    "an entry above the map", "an inverted entry",
	    "entries that overlap", "entries out of order",
	    "an entry within a page", "a list that goes back",
	    "descriptor 9 of 3", "protection 0xff", "offset within a page",
	    "an unsealed memfd", "an ordinary file", "a device",
	    "huge pages cut"};

	EACH(lies, attach_meets);
}

/* Touching it is a SIGSEGV then, not the SIGBUS of a file that is too short. */
static void
short_file_meets(const char *lie)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map *map;
	struct holdfast *h;
	struct scene scene;
	uint64_t addr[3];

	h = scene_begin(&scene, tweak_map, lie);
	enter_quietly(h, 3, addr);
	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_OK);
	ASSERT_EQ(madvise((void *)(addr[0] + 4096), 4096, MADV_POPULATE_READ),
	    -1);
	ASSERT_NE(errno, EFAULT); /* what a file too short gives */
	ASSERT_EQ(madvise((void *)addr[2], 4096, MADV_POPULATE_READ), 0);
	scene_end(&scene);
}

TEST(hostile__nothing_is_mapped_behind_the_end_of_a_file)
{
	static const char *const lies[] = {"offset behind the file",
	    "offset that wraps", "a short file"};

	EACH(lies, short_file_meets);
}

static void
tweak_read_only(struct fake_answer *a, const char *lie)
{
	(void)lie;
	for (size_t i = 0; a->op == ENTRIES && i < a->nfds; i++) {
		int fd = reopened_read_only(a->fds[i]);

		(void)close(a->fds[i]);
		a->fds[i] = fd;
	}
}

/* The daemon did it, this process cannot: nobody has it then. */
TEST(hostile__an_entry_that_cannot_be_carried_out_is_taken_back)
{
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_entry *entries;
	struct holdfast_map *map;
	struct holdfast *h;
	struct scene scene;
	uint64_t addr;
	size_t n;

	h = scene_begin(&scene, tweak_read_only, NULL);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), -EACCES);
	ASSERT_HAS(holdfast_error(h), "cannot be carried out");
	ASSERT_EQ(holdfast_map_entries(map, &entries, &n), HF_OK);
	ASSERT_EQ(n, 0);
	free(entries);
	scene_end(&scene);
}

static void
tweak_found(struct fake_answer *a, const char *lie)
{
	if (a->op == FIND)
		a->find.addr = strcmp(lie, "below") == 0 ? FAKE_MAP_MIN - 4096
			       : strcmp(lie, "above") == 0
				   ? FAKE_MAP_MIN + FAKE_MAP_SIZE - 4096
				   : UINT64_MAX - 4095;
	if (a->op == LOOKUP && strcmp(lie, "no entry") == 0)
		a->lookup.entry = NULL;
	if (a->op == LOOKUP && strcmp(lie, "an entry elsewhere") == 0)
		a->lookup.entry->start += 4096;
	if (a->op == LOOKUP && strcmp(lie, "an inverted entry") == 0)
		a->lookup.entry->end = 0;
	if (a->op == RUNS && strcmp(lie, "runs for ever") == 0)
		a->runs.next = FAKE_SPAN_PA;
	if (a->op == RUNS && strcmp(lie, "an inverted run") == 0)
		a->runs.free[0]->end = 0;
}

static void
find_meets(const char *lie)
{
	struct holdfast_map_options options = {.name = "m", .no_mirror = true};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_map *map;
	struct holdfast *h;
	struct scene scene;
	uint64_t addr;

	h = scene_begin(&scene, tweak_found, lie);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), -EPROTO);
	expect_broken(h, -EPROTO);
	scene_end(&scene);
}

TEST(hostile__a_found_address_lies_in_the_map)
{
	static const char *const lies[] = {"below", "above", "wraps"};

	EACH(lies, find_meets);
}

static void
lookup_meets(const char *lie)
{
	struct holdfast_map_options options = {.name = "m", .no_mirror = true};
	struct holdfast_entry entry;
	struct holdfast_map *map;
	struct scene scene;
	struct holdfast *h;
	uint64_t pindex;

	h = scene_begin(&scene, tweak_found, lie);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_lookup(map, FAKE_MAP_MIN, 1, &entry, &pindex),
	    -EPROTO);
	scene_end(&scene);
}

TEST(hostile__a_looked_up_entry_holds_the_address)
{
	static const char *const lies[] = {"no entry", "an entry elsewhere",
	    "an inverted entry"};

	EACH(lies, lookup_meets);
}

/* What is at the second page of the map, or in front of it. */
static void
tweak_lookup_entry(struct fake_answer *a, const char *lie)
{
	static Holdfast__V1__MapLookupEntryResult result =
	    HOLDFAST__V1__MAP_LOOKUP_ENTRY_RESULT__INIT;
	static Holdfast__V1__Entry entry = HOLDFAST__V1__ENTRY__INIT;

	if (a->op != HOLDFAST__V1__REQUEST__OP_MAP_LOOKUP_ENTRY)
		return;
	result.found = strstr(lie, "found") != NULL;
	result.entry = &entry;
	entry.start = FAKE_MAP_MIN + (result.found ? 4096 : 0);
	entry.end = entry.start + 4096;
	if (strncmp(lie, "later", 5) == 0) {
		entry.start += result.found ? 4096 : 0;
		entry.end += 4096;
	}
	if (strncmp(lie, "empty", 5) == 0)
		entry.start = entry.end;
	if (strncmp(lie, "crooked", 7) == 0)
		entry.start -= 1;
	a->reply.result_case = HOLDFAST__V1__REPLY__RESULT_MAP_LOOKUP_ENTRY;
	a->reply.map_lookup_entry = &result;
}

static void
lookup_entry_meets(const char *lie)
{
	struct holdfast_map_options options = {.name = "m", .no_mirror = true};
	bool honest = strchr(lie, ' ') == NULL, found;
	struct holdfast_entry entry;
	struct holdfast_map *map;
	struct scene scene;
	struct holdfast *h;
	int r;

	h = scene_begin(&scene, tweak_lookup_entry, lie);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	r = holdfast_map_lookup_entry(map, FAKE_MAP_MIN + 4096, &found, &entry);
	if (r != (honest ? HF_OK : -EPROTO))
		test_fail(__FILE__, __LINE__, "%s: %s", lie,
		    holdfast_status_name(r));
	if (!honest)
		expect_broken(h, -EPROTO);
	scene_end(&scene);
}

TEST(hostile__an_entry_holds_the_address_or_is_in_front_of_it)
{
	static const char *const lies[] = {"found", "predecessor",
	    "later found", "empty found", "crooked found", "later predecessor",
	    "empty predecessor", "crooked predecessor"};

	EACH(lies, lookup_entry_meets);
}

TEST(hostile__runs_are_checked)
{
	static const char *const lies[] = {"runs for ever", "an inverted run"};
	struct holdfast_run *segs, *runs;
	struct holdfast *h;
	struct fake fake;
	size_t n, m;

	for (size_t i = 0; i < 2; i++) {
		fake_start(&fake, tweak_found, lies[i]);
		h = fake_connect(&fake);
		ASSERT_EQ(holdfast_pool_runs(h, &segs, &n, &runs, &m), -EPROTO);
		holdfast_close(h);
		fake_stop(&fake);
	}
}

/* A success without what was asked for is none. */
TEST(hostile__questions_need_an_answer)
{
	struct holdfast_map_options options = {.name = "m", .no_mirror = true};
	struct holdfast_map_limits limits = {0};
	struct holdfast_map_stat stat;
	struct holdfast_entry entry;
	bool truth = false;

	for (int i = 0; i < 6; i++) {
		struct holdfast_map *map;
		struct holdfast *h;
		struct fake fake;
		uint64_t addr;
		int r = 0;

		fake_start(&fake, NULL, NULL); /* has no answer to these */
		h = fake_connect(&fake);
		ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
		switch (i) {
		case 0:
			r = holdfast_map_stat(map, &stat);
			break;
		case 1:
			r = holdfast_map_limits(map, 0, &limits);
			break;
		case 2:
			r = holdfast_map_lookup_entry(map, 1, &truth, &entry);
			break;
		case 3:
			r = holdfast_map_check_protection(map, 0, 0, 0, &truth);
			break;
		case 4:
			r = holdfast_map_check_boundary(map, 0, 0, &truth);
			break;
		default:
			r = holdfast_map_find_aligned(map, 0, 1, 0, 1, &addr);
			break;
		}
		ASSERT_EQ(r, -EPROTO);
		expect_broken(h, -EPROTO);
		holdfast_close(h);
		fake_stop(&fake);
	}
}

/* ---- Noise
 * -------------------------------------------------------------------- */

static uint64_t noise_state;

/* Flip some bytes of a good answer. */
static void
tweak_noise(struct fake_answer *a, const char *arg)
{
	static uint8_t packet[HOLDFAST_PACKET_MAX];
	struct wire_out out;

	(void)arg;
	if (a->op == HELLO || test_random(&noise_state) % 3 != 0)
		return;
	a->reply.nfds = (uint32_t)a->nfds;
	wire_out_init(&out, packet, sizeof(packet));
	if (wire_append_reply(&out, &a->reply) != 0)
		_exit(4);
	for (uint64_t n = test_random(&noise_state) % 4 + 1; n > 0; n--)
		packet[test_random(&noise_state) % out.len] =
		    (uint8_t)test_random(&noise_state);
	raw(a, packet, out.len);
}

/* Whatever comes of it: no crash, no hang, no leak. */
static void
live_through_noise(struct holdfast *h)
{
	struct holdfast_contig_req req = {.size = 16384};
	struct holdfast_map_options options = {.name = "m"};
	struct holdfast_map_args args = {.length = 8192, .prot = 3};
	struct holdfast_entry *entries;
	struct holdfast_buf *buf;
	struct holdfast_map *map;
	uint64_t addr;
	size_t n;
	int r;

	for (int i = 0; i < 3; i++)
		(void)holdfast_contigmalloc(h, &req, &buf);
	r = holdfast_map_attach(h, &options, &map);
	for (int i = 0; r == HF_OK && i < 5; i++)
		(void)holdfast_map_find(map, &args, &addr);
	if (r == HF_OK && holdfast_map_entries(map, &entries, &n) == HF_OK)
		free(entries);
	(void)holdfast_ping(h);
}

TEST(hostile__noise_is_survived)
{
	uint64_t rounds = test_ops(150), seed = test_seed();

	for (uint64_t i = 0; i < rounds; i++) {
		int before = test_nfds();
		struct holdfast *h;
		struct fake fake;

		/* Short, because noise is often no answer at all; a busy
		 * machine gets more time to say hello. */
		for (int ms = 50, r = -ETIMEDOUT; r != HF_OK; ms *= 2) {
			noise_state = seed + i;
			fake_start(&fake, tweak_noise, NULL);
			r = fake_try_connect(&fake, ms, &h);
			if (r == HF_OK)
				break;
			ASSERT_EQ(r, -ETIMEDOUT);
			ASSERT_LT(ms, 10000);
			fake_stop(&fake);
		}
		live_through_noise(h);
		holdfast_close(h);
		fake_stop(&fake);
		ASSERT_EQ(test_nfds(), before);
	}
}
