/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Maps of one user that others attach: three unprivileged uids against a real
 * daemon, which itself runs as a fourth.  What a mode allows is seen in memory:
 * a reader shares the owner's bytes at their address and cannot write them.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/libholdfast/map_int.h"
#include "tests/system/live.h"
#include "tests/test.h"

#define OWNER  60001u
#define FRIEND 60002u
#define OTHER  60003u
#define TEAM   60100u

/* The processes take turns by passing one byte along. */
struct play {
	struct live live;
	int to_owner[2], to_guest[2];
	uint64_t *addr; /* shared with them all */
};

static void
pass(int fd)
{
	ASSERT_EQ(write(fd, "x", 1), 1);
}

static void
await(int fd)
{
	char x;

	ASSERT_EQ(read(fd, &x, 1), 1);
}

static struct holdfast_map *
attach(struct holdfast *h, uid_t owner)
{
	struct holdfast_map_options options = {.name = "shared",
	    .owner_set = true,
	    .owner = owner};
	struct holdfast_map *map;
	int r = holdfast_map_attach(h, &options, &map);

	if (r != HF_OK)
		test_fail(__FILE__, __LINE__, "%s: %s", holdfast_status_name(r),
		    holdfast_error(h));
	return map;
}

/* The signal that an access in a child ends with; 0: none. */
static int
touch(uint64_t addr, bool write)
{
	volatile char *p = (volatile char *)addr;
	int status;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
		if (write)
			*p = 1;
		else
			(void)*p;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static const struct holdfast_map_args four_pages = {.length = 4 * 4096,
    .prot = HF_PROT_RW,
    .max_prot = HF_PROT_RW,
    .find_space = HF_VMFS_ANY_SPACE};

/* Create with a mode for the team, write, and follow what others do. */
static void
be_owner(void *arg)
{
	struct play *play = arg;
	struct holdfast_map_options options = {.name = "shared",
	    .mode = 0640,
	    .group_set = true,
	    .group = TEAM};
	struct holdfast *h = live_connect(&play->live);
	struct holdfast_tenant_status status;
	struct holdfast_map *map;
	uint64_t before;

	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_access(map), HF_MAP_READ | HF_MAP_CHANGE);
	ASSERT_EQ(holdfast_map_find(map, &four_pages, play->addr), HF_OK);
	strcpy((char *)*play->addr, "of the owner");
	pass(play->to_guest[1]);

	await(play->to_owner[0]); /* who reads has read, who is nobody tried */
	ASSERT_EQ(holdfast_map_chmod(map, 0666), HF_OK);
	ASSERT_EQ(holdfast_tenant_status(h, &status), HF_OK);
	before = status.entries;
	pass(play->to_guest[1]);

	await(play->to_owner[0]); /* somebody has entered something */
	ASSERT_EQ(holdfast_tenant_status(h, &status), HF_OK);
	ASSERT_EQ(status.entries, before + 1);
	ASSERT_EQ(holdfast_map_refresh(map), HF_OK);
	ASSERT_STREQ((char *)*play->addr, "of a guest");
	ASSERT_EQ(holdfast_map_chgrp(map, 12345), HF_DENIED);
	ASSERT_HAS(holdfast_error(h), "group must be one of the caller's");
	ASSERT_EQ(holdfast_map_destroy(map), HF_OK);
	holdfast_close(h);
	pass(play->to_guest[1]);
}

/* A descriptor of the reader's, opened again for writing. */
static void
reopen_in_vain(struct holdfast_map *map)
{
	struct hf_entries page;
	char path[64];
	int flags;

	ASSERT_EQ(hf_map_entries_page(map, map->min, 0, true, &page), HF_OK);
	ASSERT_GE(page.fds.n, 1);
	flags = fcntl(page.fds.fd[0], F_GETFL);
	ASSERT_EQ(flags & O_ACCMODE, O_RDONLY);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", page.fds.fd[0]);
	errno = 0;
	ASSERT_EQ(open(path, O_RDWR | O_CLOEXEC), -1);
	ASSERT_EQ(errno, EACCES);
	ASSERT_TRUE(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			page.fds.fd[0], 0) == MAP_FAILED);
	hf_fds_close(&page.fds);
}

/* Of the group: look at everything, change nothing. */
static void
be_reader(void *arg)
{
	struct play *play = arg;
	struct holdfast *h = live_connect(&play->live);
	struct holdfast_map *map = attach(h, OWNER);
	uint64_t addr = *play->addr, got;

	ASSERT_EQ(holdfast_map_access(map), HF_MAP_READ);
	ASSERT_STREQ((char *)addr, "of the owner");
	ASSERT_EQ(touch(addr, true), SIGSEGV);
	ASSERT_EQ(mprotect((void *)addr, 4096, PROT_READ | PROT_WRITE), -1);
	reopen_in_vain(map);
	ASSERT_EQ(holdfast_map_find(map, &four_pages, &got), HF_DENIED);
	ASSERT_HAS(holdfast_error(h), "map must be one that the caller may");
	ASSERT_EQ(holdfast_map_delete(map, addr, addr + 4096), HF_DENIED);
	ASSERT_EQ(holdfast_map_protect(map, addr, addr + 4096, 0, 0,
		      HF_PROTECT_SET_PROT),
	    HF_DENIED);
	ASSERT_EQ(holdfast_map_chmod(map, 0666), HF_DENIED);
	ASSERT_EQ(holdfast_map_destroy(map), HF_DENIED);
	ASSERT_STREQ((char *)addr, "of the owner");
	holdfast_close(h);
}

static void
be_stranger(void *arg)
{
	struct play *play = arg;
	struct holdfast_map_options options = {.name = "shared",
	    .owner_set = true,
	    .owner = OWNER};
	struct holdfast *h = live_connect(&play->live);
	struct holdfast_map_item *maps;
	struct holdfast_map *map;
	size_t n;

	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_DENIED);
	ASSERT_HAS(holdfast_error(h), "of uid 60001, group 60100, mode 0640");
	options.owner = 4711;
	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_UNKNOWN_ID);
	ASSERT_EQ(holdfast_map_list_all(h, &maps, &n), HF_OK);
	ASSERT_EQ(n, 0);
	free(maps);
	/* The name is free among one's own. */
	options = (struct holdfast_map_options){.name = "shared",
	    .no_mirror = true,
	    .group_set = true,
	    .group = TEAM};
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_DENIED);
	options.group_set = false;
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	holdfast_close(h);
}

/* When everybody may: change it, and see one's own bytes at its address. */
static void
be_guest(void *arg)
{
	struct play *play = arg;
	struct holdfast *h = live_connect(&play->live);
	struct holdfast_map *map = attach(h, OWNER);
	struct holdfast_tenant_status status;
	struct holdfast_map_item *maps;
	uint64_t addr;
	size_t n;

	ASSERT_EQ(holdfast_map_access(map), HF_MAP_READ | HF_MAP_CHANGE);
	ASSERT_STREQ((char *)*play->addr, "of the owner");
	ASSERT_EQ(holdfast_map_delete(map, *play->addr, *play->addr + 4 * 4096),
	    HF_OK);
	for (int i = 0; i < 2; i++) { /* two entries, of different rights */
		struct holdfast_map_args args = four_pages;

		args.prot = i == 0 ? HF_PROT_RW : HF_PROT_READ;
		ASSERT_EQ(holdfast_map_find(map, &args, &addr), HF_OK);
		if (i == 0)
			*play->addr = addr;
	}
	strcpy((char *)*play->addr, "of a guest");
	ASSERT_EQ(holdfast_tenant_status(h, &status), HF_OK);
	ASSERT_EQ(status.entries, 0);
	ASSERT_EQ(holdfast_map_list_all(h, &maps, &n), HF_OK);
	ASSERT_EQ(n, 1);
	ASSERT_EQ(maps[0].owner, OWNER);
	ASSERT_EQ(maps[0].group, TEAM);
	ASSERT_EQ(maps[0].mode, 0666);
	free(maps);
	pass(play->to_owner[1]);
	await(play->to_guest[0]);
	/* It was destroyed by its owner. */
	ASSERT_EQ(holdfast_map_check(map), HF_UNKNOWN_ID);
	holdfast_close(h);
}

TEST(map__is_its_owners_and_for_others_what_its_mode_says)
{
	struct play play = {.addr = NULL};
	pid_t owner, guest;

	live_start_sim(&play.live);
	play.addr = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(play.addr != MAP_FAILED);
	ASSERT_EQ(pipe2(play.to_owner, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(play.to_guest, O_CLOEXEC), 0);
	owner = live_spawn_in(OWNER, OWNER, TEAM, be_owner, &play);
	await(play.to_guest[0]);
	live_wait(live_spawn_in(FRIEND, FRIEND, TEAM, be_reader, &play));
	live_wait(live_spawn_in(FRIEND, TEAM, FRIEND, be_reader, &play));
	live_as(OTHER, be_stranger, &play);
	pass(play.to_owner[1]);
	await(play.to_guest[0]);
	guest = live_spawn(OTHER, be_guest, &play);
	live_wait(owner);
	live_wait(guest);
	for (int i = 0; i < 2; i++) {
		(void)close(play.to_owner[i]);
		(void)close(play.to_guest[i]);
	}
	ASSERT_EQ(munmap(play.addr, 4096), 0);
	live_stop(&play.live);
}
