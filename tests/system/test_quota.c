/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Limits of a tenant, met by a real client: the refusal names the limit,
 * nothing is half done, other tenants notice nothing, and what is given back
 * can be had again.
 */

#include <errno.h>
#include <stdlib.h>

#include "tests/system/live.h"
#include "tests/test.h"

static int
try_alloc(struct holdfast *h, uint64_t size, struct holdfast_buf **bufp)
{
	struct holdfast_contig_req req = {.size = size};

	return holdfast_contigmalloc(h, &req, bufp);
}

static void
meet_byte_quota(void *arg)
{
	struct holdfast *h = live_connect(arg);
	struct holdfast_tenant_status before, after;
	struct holdfast_buf *bufs[5], *more;

	for (int i = 0; i < 4; i++)
		ASSERT_EQ(try_alloc(h, 2 * MIB, &bufs[i]), HF_OK);
	ASSERT_EQ(holdfast_tenant_status(h, &before), HF_OK);
	ASSERT_EQ(before.bytes.used, 8 * MIB);
	ASSERT_EQ(before.bytes.limit, 8 * MIB);
	ASSERT_EQ(try_alloc(h, 2 * MIB, &more), HF_QUOTA);
	ASSERT_HAS(holdfast_error(h), "bytes");
	ASSERT_EQ(try_alloc(h, 4096, &more), HF_QUOTA);
	ASSERT_EQ(holdfast_tenant_status(h, &after), HF_OK);
	ASSERT_EQ(after.bytes.used, 8 * MIB);
	ASSERT_EQ(after.buffers, before.buffers);
	ASSERT_EQ(after.fds.used, before.fds.used);
	ASSERT_EQ(holdfast_contigfree(h, bufs[3]), HF_OK);
	/* The span may still be on its way home: M_WAITOK waits for it. */
	ASSERT_EQ(try_alloc(h, 2 * MIB, &bufs[3]), HF_OK);
	holdfast_close(h);
}

static void
notice_nothing(void *arg)
{
	struct holdfast *h = live_connect(arg);
	struct holdfast_buf *buf;

	ASSERT_EQ(try_alloc(h, 8 * MIB, &buf), HF_OK);
	holdfast_close(h);
}

TEST(quota__bytes_of_spans_are_limited_for_each_tenant)
{
	static const char *const options[] = {"--quota-bytes", "8M", NULL};
	struct holdfast_buf *buf;
	struct holdfast *h;
	struct live live;

	live_start(&live, 64, options);
	h = live_connect(&live);
	ASSERT_EQ(try_alloc(h, 8 * MIB, &buf), HF_OK);
	live_as(NOBODY, meet_byte_quota, &live);
	live_as(SOMEBODY, notice_nothing, &live);
	ASSERT_EQ(holdfast_contigfree(h, buf), HF_OK);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

static void
meet_session_quota(void *arg)
{
	struct live *live = arg;
	struct holdfast_options options = {.socket_path = live->path};
	struct holdfast *h[3], *more;
	int r;

	for (int i = 0; i < 3; i++)
		h[i] = live_connect(live);
	r = holdfast_connect(&options, &more);
	ASSERT_TRUE(r == HF_QUOTA || r == -EPIPE);
	ASSERT_EQ(holdfast_ping(h[0]), HF_OK);
	for (int i = 0; i < 3; i++)
		holdfast_close(h[i]);
}

TEST(quota__sessions_are_limited_for_each_tenant)
{
	static const char *const options[] = {"--quota-sessions", "3", NULL};
	struct holdfast *h;
	struct live live;

	live_start(&live, 32, options);
	h = live_connect(&live);
	live_as(NOBODY, meet_session_quota, &live);
	live_wait_idle(h);
	live_as(NOBODY, meet_session_quota, &live);
	live_wait_idle(h);
	holdfast_close(h);
	live_stop(&live);
}

TEST(quota__entries_are_limited)
{
	static const char *const options[] = {"--quota-entries", "64", NULL};
	struct holdfast_map_options create = {.no_mirror = true};
	struct holdfast_map_args args = {.length = 4096,
	    .prot = 1,
	    .max_prot = 3,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *map;
	struct holdfast *h;
	struct live live;
	uint64_t addr, first = 0;
	int r = HF_OK, n = 0;

	live_start(&live, 32, options);
	h = live_connect(&live);
	ASSERT_EQ(holdfast_map_create(h, &create, &map), HF_OK);
	for (; n < 100 && r == HF_OK; n++) {
		args.prot ^= 3; /* neighbours must not merge */
		r = holdfast_map_find(map, &args, &addr);
		first = first == 0 ? addr : first;
	}
	ASSERT_EQ(r, HF_QUOTA);
	ASSERT_HAS(holdfast_error(h), "entries");
	ASSERT_LE(n, 65);
	ASSERT_GE(n, 60);
	ASSERT_EQ(holdfast_map_check(map), HF_OK);
	ASSERT_EQ(holdfast_map_delete(map, first, first + 8 * 4096), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	holdfast_close(h);
	live_stop(&live);
}

TEST(quota__base_bytes_are_limited)
{
	static const char *const options[] = {"--quota-base-bytes", "1M", NULL};
	struct holdfast_map_options create = {0};
	struct holdfast_map_args args = {.length = MIB,
	    .prot = 3,
	    .max_prot = 3,
	    .find_space = HF_VMFS_ANY_SPACE};
	struct holdfast_map *map;
	struct holdfast *h;
	struct live live;
	uint64_t addr, more;

	live_start(&live, 32, options);
	h = live_connect(&live);
	ASSERT_EQ(holdfast_map_create(h, &create, &map), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
	*(volatile char *)addr = 1;
	args.length = 4096;
	ASSERT_EQ(holdfast_map_find(map, &args, &more), HF_QUOTA);
	ASSERT_HAS(holdfast_error(h), "base pages");
	ASSERT_EQ(*(volatile char *)addr, 1);
	ASSERT_EQ(holdfast_map_delete(map, addr, addr + MIB), HF_OK);
	ASSERT_EQ(holdfast_map_find(map, &args, &more), HF_OK);
	holdfast_close(h);
	live_stop(&live);
}
