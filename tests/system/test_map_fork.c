/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Forked maps and faults in the memory of real, unprivileged processes.  The
 * case tells two or three of them what to do, and looks at what they see and,
 * as root, at which frames they see it in.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/system/live.h"
#include "tests/test.h"

#define PAGE 4096u

static int
connect_as_client(const struct live *live, struct holdfast **hp)
{
	struct holdfast_options options = {.socket_path = live->path};

	return holdfast_connect(&options, hp);
}

/* Ready-made spans come and go by themselves. */
static const char *const no_stock[] = {"--stock", "0", "--stock-min", "0",
    NULL};

/* The daemon learns of an end a moment later. */
static void
await_nfds(const struct live *live, int nfds)
{
	for (int i = 0; live_nfds(live) != nfds && i < 1000; i++)
		(void)usleep(10000);
	ASSERT_EQ(live_nfds(live), nfds);
}

/* ---- A process that does what it is told ----------------------------------
 */

struct order {
	enum {
		CREATE,
		ATTACH,
		HANDLE,
		FIND,
		FIND_SUPER,
		INHERIT,
		FORK,
		DESTROY,
		READ,
		WRITE,
		MAP_CHECK,
		WIRE,
		RESIDENT,
	} what;
	char name[16];
	uint64_t addr, length;
	uint32_t value;
};

struct answer {
	int rv;
	uint64_t value;
	char error[160];
};

struct actor {
	pid_t pid;
	int fd;
};

struct stage {
	struct holdfast *h;
	struct holdfast_map *map, *child;
};

static int
find(struct stage *s, const struct order *order, uint64_t *addrp)
{
	struct holdfast_map_args args = {.length = order->length,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW,
	    .find_space = HF_VMFS_ANY_SPACE,
	    .cow = order->value};
	int rv = HF_OK;

	if (order->what == FIND_SUPER) {
		args.find_space = HF_VMFS_SUPER_SPACE;
		rv = holdfast_object_create(s->h, HF_OBJECT_SUPER, args.length,
		    &args.object);
	}
	return rv == HF_OK ? holdfast_map_find(s->map, &args, addrp) : rv;
}

static uint64_t
count_resident(uint64_t addr, uint64_t length)
{
	unsigned char vec[256];
	uint64_t n = 0;

	ASSERT_EQ(mincore((void *)addr, length, vec), 0);
	for (uint64_t i = 0; i < length / PAGE; i++)
		n += vec[i] & 1;
	return n;
}

static int
obey(struct stage *s, const struct order *order, uint64_t *valuep)
{
	struct holdfast_map_options options = {.name = order->name};
	volatile uint32_t *word = (volatile uint32_t *)order->addr;

	switch (order->what) {
	case CREATE:
		return holdfast_map_create(s->h, &options, &s->map);
	case ATTACH:
		return holdfast_map_attach(s->h, &options, &s->map);
	case HANDLE:
		return holdfast_map_handle_faults(s->map);
	case FIND:
	case FIND_SUPER:
		return find(s, order, valuep);
	case INHERIT:
		return holdfast_map_inherit(s->map, order->addr,
		    order->addr + order->length, order->value);
	case FORK:
		return holdfast_map_fork(s->map, &options, &s->child);
	case DESTROY:
		return holdfast_map_destroy(s->map);
	case READ:
		*valuep = *word;
		return HF_OK;
	case WRITE:
		*word = order->value;
		return HF_OK;
	case MAP_CHECK:
		return holdfast_map_check(s->map);
	case WIRE:
		return holdfast_map_wire(s->map, order->addr,
		    order->addr + order->length, 0);
	case RESIDENT:
		*valuep = count_resident(order->addr, order->length);
		return HF_OK;
	}
	return -EINVAL;
}

struct actor_start {
	const struct live *live;
	int fd;
};

static void
act(void *arg)
{
	const struct actor_start *start = arg;
	struct stage s = {0};
	struct order order;
	struct answer answer;

	ASSERT_EQ(connect_as_client(start->live, &s.h), HF_OK);
	while (read(start->fd, &order, sizeof(order)) == sizeof(order)) {
		memset(&answer, 0, sizeof(answer));
		answer.rv = obey(&s, &order, &answer.value);
		(void)snprintf(answer.error, sizeof(answer.error), "%s",
		    holdfast_error(s.h));
		ASSERT_EQ(write(start->fd, &answer, sizeof(answer)),
		    (ssize_t)sizeof(answer));
	}
	holdfast_close(s.h);
}

static void
actor_start(struct actor *actor, const struct live *live)
{
	struct actor_start start = {.live = live};
	int fds[2];

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds),
	    0);
	start.fd = fds[1];
	actor->fd = fds[0];
	actor->pid = live_spawn(NOBODY, act, &start);
	(void)close(fds[1]);
}

static void
actor_end(struct actor *actor)
{
	/* Later actors have the descriptor, too. */
	ASSERT_EQ(shutdown(actor->fd, SHUT_RDWR), 0);
	(void)close(actor->fd);
	live_wait(actor->pid);
}

static struct answer
ask(struct actor *actor, struct order order)
{
	struct answer answer;

	ASSERT_EQ(write(actor->fd, &order, sizeof(order)),
	    (ssize_t)sizeof(order));
	ASSERT_EQ(read(actor->fd, &answer, sizeof(answer)),
	    (ssize_t)sizeof(answer));
	return answer;
}

/* It has to succeed; what it brings. */
static uint64_t
tell(struct actor *actor, struct order order)
{
	struct answer answer = ask(actor, order);

	if (answer.rv != HF_OK)
		test_fail(__FILE__, __LINE__, "order %d: %s: %s",
		    (int)order.what, holdfast_status_name(answer.rv),
		    answer.error);
	return answer.value;
}

static uint32_t
see(struct actor *actor, uint64_t addr)
{
	return (
	    uint32_t)tell(actor, (struct order){.what = READ, .addr = addr});
}

static void
put(struct actor *actor, uint64_t addr, uint32_t value)
{
	(void)tell(actor,
	    (struct order){.what = WRITE, .addr = addr, .value = value});
}

/* A parent with map "a" of `n` pages that hold their numbers. */
static uint64_t
parent_start(struct actor *parent, const struct live *live, uint64_t n)
{
	uint64_t addr;

	actor_start(parent, live);
	(void)tell(parent, (struct order){.what = CREATE, .name = "a"});
	(void)tell(parent, (struct order){.what = HANDLE});
	addr = tell(parent, (struct order){.what = FIND, .length = n * PAGE});
	for (uint64_t i = 0; i < n; i++)
		put(parent, addr + i * PAGE, (uint32_t)i);
	return addr;
}

static void
child_start(struct actor *child, const struct live *live, const char *name)
{
	struct order order = {.what = ATTACH};

	actor_start(child, live);
	strcpy(order.name, name);
	(void)tell(child, order);
	(void)tell(child, (struct order){.what = HANDLE});
}

static uint64_t
frame_of(const struct actor *actor, uint64_t addr)
{
	return live_pagemap(actor->pid, (void *)addr);
}

/* ---- Fork ------------------------------------------------------------------
 */

TEST(fork__parent_and_child_share_frames_until_one_writes)
{
	struct actor parent, child;
	struct live live;
	uint64_t addr, frame;
	struct holdfast *h;
	int nfds;

	live_start(&live, 32, no_stock);
	h = live_connect(&live);
	live_wait_idle(h);
	nfds = live_nfds(&live);
	addr = parent_start(&parent, &live, 8);
	(void)tell(&parent, (struct order){.what = FORK, .name = "b"});
	child_start(&child, &live, "b");
	for (uint64_t i = 0; i < 8; i++) {
		ASSERT_EQ(see(&child, addr + i * PAGE), (uint32_t)i);
		frame = frame_of(&parent, addr + i * PAGE);
		ASSERT_NE(frame, 0u);
		ASSERT_EQ(frame_of(&child, addr + i * PAGE), frame);
	}
	/* The child writes. */
	frame = frame_of(&parent, addr);
	put(&child, addr, 100);
	ASSERT_EQ(see(&child, addr), 100u);
	ASSERT_EQ(see(&parent, addr), 0u);
	ASSERT_EQ(frame_of(&parent, addr), frame);
	ASSERT_NE(frame_of(&child, addr), frame);
	/* The parent writes. */
	frame = frame_of(&child, addr + PAGE);
	put(&parent, addr + PAGE, 200);
	ASSERT_EQ(see(&parent, addr + PAGE), 200u);
	ASSERT_EQ(see(&child, addr + PAGE), 1u);
	ASSERT_EQ(frame_of(&child, addr + PAGE), frame);
	ASSERT_NE(frame_of(&parent, addr + PAGE), frame);
	/* Nobody wrote. */
	ASSERT_EQ(frame_of(&parent, addr + 2 * PAGE),
	    frame_of(&child, addr + 2 * PAGE));
	(void)tell(&parent, (struct order){.what = MAP_CHECK});
	(void)tell(&child, (struct order){.what = MAP_CHECK});

	/* The parent's map goes first. */
	(void)tell(&parent, (struct order){.what = DESTROY});
	ASSERT_EQ(see(&child, addr), 100u);
	ASSERT_EQ(see(&child, addr + PAGE), 1u);
	ASSERT_EQ(see(&child, addr + 7 * PAGE), 7u);
	put(&child, addr + 7 * PAGE, 700);
	ASSERT_EQ(see(&child, addr + 7 * PAGE), 700u);
	actor_end(&parent);
	ASSERT_EQ(see(&child, addr + 2 * PAGE), 2u);
	actor_end(&child);
	await_nfds(&live, nfds);
	holdfast_close(h);
	live_stop(&live);
}

TEST(fork__processes_that_share_a_map_go_on_to_share_it)
{
	struct actor parent, second, child;
	struct live live;
	uint64_t addr;

	live_start(&live, 32, NULL);
	addr = parent_start(&parent, &live, 4);
	child_start(&second, &live, "a");
	ASSERT_EQ(see(&second, addr + PAGE), 1u);
	put(&second, addr + PAGE, 11);
	ASSERT_EQ(see(&parent, addr + PAGE), 11u);
	/* `second` knows nothing of the fork but what its library is told. */
	(void)tell(&parent, (struct order){.what = FORK, .name = "b"});
	put(&second, addr + PAGE, 12);
	ASSERT_EQ(see(&parent, addr + PAGE), 12u);
	ASSERT_EQ(frame_of(&parent, addr + PAGE),
	    frame_of(&second, addr + PAGE));
	put(&parent, addr + 2 * PAGE, 22);
	ASSERT_EQ(see(&second, addr + 2 * PAGE), 22u);
	put(&second, addr + 2 * PAGE, 23);
	ASSERT_EQ(see(&parent, addr + 2 * PAGE), 23u);
	child_start(&child, &live, "b");
	ASSERT_EQ(see(&child, addr + PAGE), 11u);
	ASSERT_EQ(see(&child, addr + 2 * PAGE), 2u);
	ASSERT_EQ(see(&child, addr + 3 * PAGE), 3u);
	actor_end(&child);
	actor_end(&second);
	actor_end(&parent);
	live_stop(&live);
}

TEST(fork__inheritance_and_a_fork_of_a_fork)
{
	struct actor parent, child, grandchild;
	struct live live;
	uint64_t addr;

	live_start(&live, 32, NULL);
	addr = parent_start(&parent, &live, 4);
	(void)tell(&parent, (struct order){.what = INHERIT,
				.addr = addr + PAGE,
				.length = PAGE,
				.value = HF_INHERIT_SHARE});
	(void)tell(&parent, (struct order){.what = INHERIT,
				.addr = addr + 2 * PAGE,
				.length = PAGE,
				.value = HF_INHERIT_ZERO});
	(void)tell(&parent, (struct order){.what = FORK, .name = "b"});
	child_start(&child, &live, "b");
	ASSERT_EQ(see(&child, addr + 2 * PAGE), 0u);
	put(&child, addr + 2 * PAGE, 33);
	ASSERT_EQ(see(&parent, addr + 2 * PAGE), 2u);
	put(&child, addr + PAGE, 44);
	ASSERT_EQ(see(&parent, addr + PAGE), 44u);
	put(&child, addr + 3 * PAGE, 55);

	(void)tell(&child, (struct order){.what = FORK, .name = "c"});
	child_start(&grandchild, &live, "c");
	ASSERT_EQ(see(&grandchild, addr), 0u);
	ASSERT_EQ(see(&grandchild, addr + PAGE), 44u);
	ASSERT_EQ(see(&grandchild, addr + 2 * PAGE), 0u); /* zero again */
	ASSERT_EQ(see(&grandchild, addr + 3 * PAGE), 55u);
	put(&grandchild, addr + 3 * PAGE, 66);
	put(&child, addr + 3 * PAGE, 56);
	ASSERT_EQ(see(&grandchild, addr + 3 * PAGE), 66u);
	ASSERT_EQ(see(&parent, addr + 3 * PAGE), 3u);
	actor_end(&parent);
	ASSERT_EQ(see(&grandchild, addr), 0u);
	actor_end(&child);
	ASSERT_EQ(see(&grandchild, addr + 3 * PAGE), 66u);
	(void)tell(&grandchild, (struct order){.what = MAP_CHECK});
	actor_end(&grandchild);
	live_stop(&live);
}

TEST(fork__what_is_wired_is_copied_first_and_does_not_move)
{
	struct actor parent, child;
	struct live live;
	uint64_t addr, frame;

	live_start(&live, 32, NULL);
	addr = parent_start(&parent, &live, 4);
	(void)tell(&parent, (struct order){.what = FORK, .name = "b"});
	child_start(&child, &live, "b");
	(void)tell(&child,
	    (struct order){.what = WIRE, .addr = addr, .length = 2 * PAGE});
	frame = frame_of(&child, addr + PAGE);
	ASSERT_NE(frame, 0u);
	ASSERT_NE(frame, frame_of(&parent, addr + PAGE));
	ASSERT_EQ(see(&child, addr + PAGE), 1u);
	put(&child, addr + PAGE, 9);
	ASSERT_EQ(frame_of(&child, addr + PAGE), frame);
	ASSERT_EQ(see(&parent, addr + PAGE), 1u);
	/* A fork of it copies what is wired at once. */
	(void)tell(&child, (struct order){.what = FORK, .name = "c"});
	put(&child, addr + PAGE, 10);
	ASSERT_EQ(frame_of(&child, addr + PAGE), frame);
	actor_end(&child);
	actor_end(&parent);
	live_stop(&live);
}

TEST(lazy__frames_come_with_the_first_touch_or_with_prefault)
{
	struct actor actor;
	struct live live;
	uint64_t addr;

	live_start(&live, 32, NULL);
	(void)parent_start(&actor, &live, 1);
	addr = tell(&actor, (struct order){.what = FIND, .length = 64 * PAGE});
	ASSERT_EQ(tell(&actor, (struct order){.what = RESIDENT,
				   .addr = addr,
				   .length = 64 * PAGE}),
	    0u);
	put(&actor, addr + 5 * PAGE, 1);
	ASSERT_EQ(tell(&actor, (struct order){.what = RESIDENT,
				   .addr = addr,
				   .length = 64 * PAGE}),
	    1u);
	addr = tell(&actor, (struct order){.what = FIND,
				.length = 64 * PAGE,
				.value = HF_ENTER_PREFAULT});
	ASSERT_EQ(tell(&actor, (struct order){.what = RESIDENT,
				   .addr = addr,
				   .length = 64 * PAGE}),
	    64u);
	actor_end(&actor);
	live_stop(&live);
}

TEST(fork__a_superpage_is_copied_into_another)
{
	struct actor parent, child;
	struct holdfast_pool_status before, after;
	struct holdfast *h;
	struct live live;
	uint64_t addr, pa;

	live_start(&live, 32, no_stock);
	h = live_connect(&live);
	live_wait_idle(h);
	ASSERT_EQ(holdfast_pool_status(h, &before), HF_OK);
	actor_start(&parent, &live);
	(void)tell(&parent, (struct order){.what = CREATE, .name = "a"});
	(void)tell(&parent, (struct order){.what = HANDLE});
	addr = tell(&parent,
	    (struct order){.what = FIND_SUPER, .length = 4 * MIB});
	put(&parent, addr + 5 * PAGE, 5);
	put(&parent, addr + 2 * MIB, 6);
	(void)tell(&parent, (struct order){.what = FORK, .name = "b"});
	child_start(&child, &live, "b");
	ASSERT_EQ(see(&child, addr + 5 * PAGE), 5u);
	ASSERT_EQ(frame_of(&child, addr), frame_of(&parent, addr));
	put(&child, addr, 7);
	ASSERT_EQ(see(&child, addr + 5 * PAGE), 5u); /* it came along */
	ASSERT_EQ(see(&parent, addr), 0u);
	ASSERT_EQ(see(&parent, addr + 5 * PAGE), 5u);
	pa = frame_of(&child, addr);
	ASSERT_NE(pa, frame_of(&parent, addr));
	ASSERT_EQ(pa % (2 * MIB), 0u); /* a superpage again */
	ASSERT_EQ(frame_of(&child, addr + 5 * PAGE), pa + 5 * PAGE);
	ASSERT_EQ(see(&child, addr + 2 * MIB), 6u);
	ASSERT_EQ(frame_of(&child, addr + 2 * MIB),
	    frame_of(&parent, addr + 2 * MIB));
	put(&parent, addr + 2 * MIB, 8);
	ASSERT_EQ(see(&child, addr + 2 * MIB), 6u);
	actor_end(&parent);
	ASSERT_EQ(see(&child, addr + 2 * MIB), 6u);
	actor_end(&child);
	live_wait_idle(h);
	ASSERT_EQ(holdfast_pool_status(h, &after), HF_OK);
	ASSERT_EQ(after.free_bytes, before.free_bytes);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Many at once ----------------------------------------------------------
 */

#define CROWD_PAGES 64u

struct crowd {
	const struct live *live;
	const char *name;
	uint64_t seed;
	uint64_t addr;
	uint32_t mark; /* what this process alone writes */
	bool forks;
};

struct crowd_thread {
	const struct crowd *crowd;
	uint64_t seed;
	uint32_t part;
};

/* Each thread has every other page, and no other writes there. */
static void *
crowd_write(void *arg)
{
	struct crowd_thread *t = arg;
	uint32_t value[CROWD_PAGES] = {0};
	uint64_t x = t->seed;

	for (uint32_t i = 0; i < 400; i++) {
		volatile uint32_t *word;
		uint32_t page;

		x = x * 6364136223846793005u + 1442695040888963407u;
		page = ((uint32_t)(x >> 33) % (CROWD_PAGES / 2)) * 2 + t->part;
		word = (volatile uint32_t *)(t->crowd->addr + page * PAGE);
		if (value[page] != 0)
			ASSERT_EQ(*word, value[page]);
		value[page] = t->crowd->mark + i;
		*word = value[page];
		ASSERT_EQ(*word, value[page]);
	}
	return NULL;
}

static void
crowd_work(void *arg)
{
	const struct crowd *crowd = arg;
	struct holdfast_map_options options = {.name = crowd->name};
	struct crowd_thread threads[2];
	struct holdfast_map *map, *child;
	struct holdfast *h;
	pthread_t id[2];
	char name[32];

	ASSERT_EQ(connect_as_client(crowd->live, &h), HF_OK);
	ASSERT_EQ(holdfast_map_attach(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_handle_faults(map), HF_OK);
	for (uint32_t i = 0; i < 2; i++) {
		threads[i] = (struct crowd_thread){crowd,
		    crowd->seed + 7 * i + crowd->mark, i};
		ASSERT_EQ(pthread_create(&id[i], NULL, crowd_write,
			      &threads[i]),
		    0);
	}
	for (int i = 0; crowd->forks && i < 8; i++) {
		(void)snprintf(name, sizeof(name), "%s.%u.%d", crowd->name,
		    crowd->mark, i);
		options.name = name;
		ASSERT_EQ(holdfast_map_fork(map, &options, &child), HF_OK);
		(void)usleep(500);
		ASSERT_EQ(holdfast_map_destroy(child), HF_OK);
	}
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(pthread_join(id[i], NULL), 0);
	ASSERT_EQ(holdfast_map_check(map), HF_OK);
	holdfast_close(h);
}

TEST(fork__threads_that_write_while_maps_are_forked_lose_nothing)
{
	struct crowd crowd[2];
	struct actor parent;
	struct live live;
	uint64_t addr;
	pid_t pids[2];

	live_start(&live, 32, NULL);
	addr = parent_start(&parent, &live, CROWD_PAGES);
	(void)tell(&parent, (struct order){.what = FORK, .name = "b"});
	for (uint32_t i = 0; i < 2; i++) {
		crowd[i] = (struct crowd){&live, i == 0 ? "a" : "b",
		    test_seed(), addr, 1000 * (i + 1), true};
		pids[i] = live_spawn(NOBODY, crowd_work, &crowd[i]);
	}
	for (int i = 0; i < 2; i++)
		live_wait(pids[i]);
	(void)tell(&parent, (struct order){.what = MAP_CHECK});
	actor_end(&parent);
	live_stop(&live);
}

TEST(fork__a_process_killed_anywhere_leaves_nothing_behind)
{
	struct holdfast_map_item *maps;
	struct actor parent;
	struct holdfast *h;
	struct live live;
	uint64_t addr, x = test_seed();
	size_t nmaps;
	int nfds;

	live_start(&live, 32, no_stock);
	h = live_connect(&live);
	addr = parent_start(&parent, &live, CROWD_PAGES);
	nfds = live_nfds(&live);
	for (uint32_t i = 0; i < 8; i++) {
		struct crowd crowd = {&live, "a", test_seed() + i, addr,
		    1000 * (i + 1), true};
		pid_t pid = live_spawn(NOBODY, crowd_work, &crowd);
		int status;

		x = x * 6364136223846793005u + 1442695040888963407u;
		(void)usleep((useconds_t)(x >> 33) % 30000);
		(void)kill(pid, SIGKILL);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		/* The others go on. */
		put(&parent, addr, i + 1);
		ASSERT_EQ(see(&parent, addr), i + 1);
	}
	await_nfds(&live, nfds);
	(void)tell(&parent, (struct order){.what = MAP_CHECK});
	ASSERT_EQ(holdfast_map_list(h, &maps, &nmaps), HF_OK);
	free(maps);
	actor_end(&parent);
	holdfast_close(h);
	live_stop(&live);
}

/* ---- Stacks ----------------------------------------------------------------
 */

#define STACK_SIZE   MIB
#define STACK_BOTTOM UINT64_C(0x7e9000000000)

struct stack_case {
	const struct live *live;
	unsigned depth; /* frames of a page each */
};

static ucontext_t main_context, stack_context;
static unsigned stack_depth, stack_sum;

static unsigned
recurse(unsigned depth)
{
	volatile char frame[PAGE];

	memset((void *)(uintptr_t)frame, (int)depth, sizeof(frame));
	if (depth > 0)
		return recurse(depth - 1) + (unsigned char)frame[depth % PAGE];
	return (unsigned char)frame[0];
}

static void
on_the_stack(void)
{
	stack_sum = recurse(stack_depth);
}

static void
use_stack(void *arg)
{
	static char alternate[65536];
	const struct stack_case *c = arg;
	struct holdfast_map_options options = {0};
	struct holdfast_map_args args = {.addr = STACK_BOTTOM,
	    .length = STACK_SIZE,
	    .prot = HF_PROT_RW,
	    .max_prot = HF_PROT_RW};
	stack_t other = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	const struct rlimit none = {0, 0};
	struct holdfast_map *map;
	struct holdfast *h;
	volatile unsigned sum = 0;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
	ASSERT_EQ(connect_as_client(c->live, &h), HF_OK);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_stack(map, &args), HF_OK);
	ASSERT_EQ(sigaltstack(&other, NULL), 0);
	ASSERT_EQ(holdfast_map_handle_faults(map), HF_OK);
	ASSERT_EQ(getcontext(&stack_context), 0);
	stack_context.uc_stack.ss_sp = (void *)STACK_BOTTOM;
	stack_context.uc_stack.ss_size = STACK_SIZE;
	stack_context.uc_link = &main_context;
	stack_depth = c->depth;
	makecontext(&stack_context, on_the_stack, 0);
	ASSERT_EQ(swapcontext(&main_context, &stack_context), 0);
	for (unsigned i = 0; i <= c->depth; i++)
		sum += (unsigned char)i;
	ASSERT_EQ(stack_sum, sum);
	holdfast_close(h);
}

TEST(stack__of_a_running_function_grows_by_being_touched)
{
	struct stack_case c = {.depth = 180}; /* of about 250 */
	struct live live;

	live_start(&live, 32, NULL);
	c.live = &live;
	live_as(NOBODY, use_stack, &c);
	live_stop(&live);
}

TEST(stack__past_its_limit_is_a_clean_segmentation_fault)
{
	struct stack_case c = {.depth = 400};
	struct live live;
	pid_t pid;
	int status;

	live_start(&live, 32, NULL);
	c.live = &live;
	pid = live_spawn(NOBODY, use_stack, &c);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(WTERMSIG(status), SIGSEGV);
	live_stop(&live);
}

/* ---- The handler -----------------------------------------------------------
 */

static sigjmp_buf landed;
static volatile sig_atomic_t nforeign;

static void
foreign(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	nforeign++;
	siglongjmp(landed, 1);
}

static void
foreign_faults(void *arg)
{
	struct sigaction action = {.sa_sigaction = foreign,
	    .sa_flags = SA_SIGINFO};
	struct holdfast_map_options options = {.name = "mine"};
	struct holdfast_map *map;
	struct holdfast *h;
	volatile char *nothing;
	pid_t pid;
	int status;

	ASSERT_EQ(sigaction(SIGSEGV, &action, NULL), 0);
	ASSERT_EQ(connect_as_client(arg, &h), HF_OK);
	ASSERT_EQ(holdfast_map_create(h, &options, &map), HF_OK);
	ASSERT_EQ(holdfast_map_handle_faults(map), HF_OK);
	ASSERT_EQ(holdfast_map_handle_faults(map), -EEXIST);
	nothing =
	    mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Somebody else's, and one of ours that the daemon refuses. */
	if (sigsetjmp(landed, 1) == 0)
		*nothing = 1;
	ASSERT_EQ(nforeign, 1);
	if (sigsetjmp(landed, 1) == 0)
		*(volatile char *)(holdfast_map_min(map) + PAGE) = 1;
	ASSERT_EQ(nforeign, 2);
	if (sigsetjmp(landed, 1) == 0)
		ASSERT_EQ(raise(SIGSEGV), 0);
	ASSERT_EQ(nforeign, 3);
	/* A child of fork(2) has no thread to ask. */
	pid = fork();
	ASSERT_GE(pid, 0);
	if (pid == 0) {
		if (sigsetjmp(landed, 1) == 0)
			*(volatile char *)holdfast_map_min(map) = 1;
		_exit(nforeign == 4 ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(holdfast_map_detach(map), HF_OK);
	ASSERT_EQ(holdfast_ping(h), HF_OK);
	holdfast_close(h);
}

TEST(handler__passes_on_what_is_not_its_own)
{
	struct live live;

	live_start(&live, 32, NULL);
	live_as(NOBODY, foreign_faults, &live);
	live_stop(&live);
}
