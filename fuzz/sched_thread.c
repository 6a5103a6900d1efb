/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/sched_thread.h"

#include "core/lock.h"
#include "fuzz/gen.h"

#include <stdlib.h>
#include <string.h>

#define THREADS 4

static uint64_t nswitches, nwaits;

uint64_t
sched_switches(void)
{
	return nswitches;
}

uint64_t
sched_waits(void)
{
	return nwaits;
}

#ifdef FUZZ_SCHED_REAL

/* ---- Real threads ---------------------------------------------------------
 */

#include <sched.h>

static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;

struct real {
	void (*body)(void *arg, unsigned i);
	void *arg;
	unsigned i;
	pthread_t thread;
};

void
sched_enter(void)
{
	pthread_mutex_lock(&big);
}

void
sched_leave(void)
{
	pthread_mutex_unlock(&big);
}

void
sched_yield_here(void)
{
	(void)sched_yield(); /* cannot fail */
}

static void *
real_main(void *arg)
{
	struct real *real = arg;

	real->body(real->arg, real->i);
	return NULL;
}

enum sched_end
sched_run(unsigned n, void (*body)(void *arg, unsigned i), void *arg,
    uint64_t seed)
{
	struct real real[THREADS];

	(void)seed;
	nswitches = nwaits = 1; /* not known */
	for (unsigned i = 0; i < n; i++) {
		real[i] = (struct real){.body = body, .arg = arg, .i = i};
		if (pthread_create(&real[i].thread, NULL, real_main,
			&real[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(real[i].thread, NULL);
	return SCHED_DONE;
}

#else

/* ---- Stacks ---------------------------------------------------------------
 *
 * swapcontext() is two system calls, and AddressSanitizer clears the shadow of
 * the whole stack at each: where we know how, only registers are changed.
 */

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SCHED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SCHED_ASAN 1
#endif
#endif
#ifdef SCHED_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#define __sanitizer_start_switch_fiber(save, bottom, size)                     \
	((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(fake, bottom, size)                    \
	((void)(fake), (void)(bottom), (void)(size))
#endif

#define STACK ((size_t)256 << 10)

static unsigned char stacks[THREADS][STACK] __attribute__((aligned(64)));

#if defined(__x86_64__)

typedef void *context; /* where its stack ends; registers lie there */

/* Registers that calls keep onto this stack, and those of another off it. */
void sched_swap(context *from, const context *to) __asm__("sched_swap");
__asm__(".pushsection .text\n"
	".type sched_swap, @function\n"
	"sched_swap:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size sched_swap, . - sched_swap\n"
	".popsection\n");

static void
context_make(context *c, unsigned char *stack, void (*entry)(void))
{
	void **top = (void **)(stack + STACK);

	/* Downwards: nowhere to return to, the entry, six registers. */
	memset(top - 8, 0, 8 * sizeof(*top));
	memcpy(top - 2, &entry, sizeof(*top));
	*c = top - 8;
}

#else

typedef ucontext_t context;

static void
context_make(context *c, unsigned char *stack, void (*entry)(void))
{
	(void)getcontext(c); /* cannot fail */
	c->uc_stack.ss_sp = stack;
	c->uc_stack.ss_size = STACK;
	makecontext(c, entry, 0);
}

static void
sched_swap(context *from, const context *to)
{
	(void)swapcontext(from, to); /* cannot fail */
}

#endif

/* ---- Turns ----------------------------------------------------------------
 */

struct thread {
	context context;
	bool done;
	const void *waits; /* for a mutex or a condition; NULL: can run */
	unsigned held[VM_RANK_UMA + 1]; /* while somebody else runs */
	void *fake;                     /* what AddressSanitizer keeps for it */
};

static struct {
	struct thread thread[THREADS];
	unsigned n, now;
	context home;
	void *home_fake;
	const void *home_bottom;
	size_t home_size;
	bool running;
	uint64_t random;
	void (*body)(void *arg, unsigned i);
	void *arg;
	/* Mutexes that are held. */
	const void *mutex[64];
	unsigned nmutexes;
} s;
static bool stack_in_use[THREADS]; /* a thread did not get to its end */

void
sched_enter(void)
{
}

void
sched_leave(void)
{
}

/* From the thread whose turn it is back to the loop. */
static void
go_home(bool last)
{
	struct thread *t = &s.thread[s.now];

	vm_rank_swap(t->held);
	__sanitizer_start_switch_fiber(last ? NULL : &t->fake, s.home_bottom,
	    s.home_size);
	sched_swap(&t->context, &s.home);
	__sanitizer_finish_switch_fiber(t->fake, &s.home_bottom, &s.home_size);
	vm_rank_swap(t->held);
}

static void
thread_main(void)
{
	__sanitizer_finish_switch_fiber(NULL, &s.home_bottom, &s.home_size);
	vm_rank_swap(s.thread[s.now].held);
	s.body(s.arg, s.now);
	s.thread[s.now].done = true;
	stack_in_use[s.now] = false;
	go_home(true);
	abort();
}

static void
give_turn(unsigned i)
{
	struct thread *t = &s.thread[i];

	s.now = i;
	nswitches++;
	__sanitizer_start_switch_fiber(&s.home_fake, stacks[i], STACK);
	sched_swap(&s.home, &t->context);
	__sanitizer_finish_switch_fiber(s.home_fake, NULL, NULL);
}

void
sched_yield_here(void)
{
	if (s.running && gen_random(&s.random) % 2 == 0)
		go_home(false);
}

static void
wait_for(const void *what)
{
	nwaits++;
	s.thread[s.now].waits = what;
	go_home(false);
}

static void
wake_all(const void *what)
{
	for (unsigned i = 0; i < s.n; i++)
		if (s.thread[i].waits == what)
			s.thread[i].waits = NULL;
}

static unsigned
mutex_at(const void *mtx)
{
	unsigned i = 0;

	while (i < s.nmutexes && s.mutex[i] != mtx)
		i++;
	return i;
}

static void
hook_lock(pthread_mutex_t *mtx)
{
	if (!s.running)
		return;
	sched_yield_here();
	while (mutex_at(mtx) < s.nmutexes)
		wait_for(mtx);
	s.mutex[s.nmutexes++] = mtx;
}

static void
drop(const void *mtx)
{
	unsigned i = mutex_at(mtx);

	if (i == s.nmutexes)
		abort(); /* unlocked by somebody who has not locked it */
	s.mutex[i] = s.mutex[--s.nmutexes];
	wake_all(mtx);
}

static void
hook_unlock(pthread_mutex_t *mtx)
{
	if (!s.running)
		return;
	drop(mtx);
	sched_yield_here();
}

static void
hook_wait(pthread_cond_t *cv, pthread_mutex_t *mtx)
{
	drop(mtx);
	wait_for(cv);
	while (mutex_at(mtx) < s.nmutexes)
		wait_for(mtx);
	s.mutex[s.nmutexes++] = mtx;
}

static void
hook_wake(pthread_cond_t *cv)
{
	if (s.running)
		wake_all(cv);
}

static const struct vm_lock_hooks hooks = {.lock = hook_lock,
    .unlock = hook_unlock,
    .wait = hook_wait,
    .wake = hook_wake};

/* The thread whose turn it is next; THREADS: nobody can run. */
static unsigned
pick(void)
{
	unsigned can[THREADS], n = 0;

	for (unsigned i = 0; i < s.n; i++)
		if (!s.thread[i].done && s.thread[i].waits == NULL)
			can[n++] = i;
	return n == 0 ? THREADS : can[(gen_random(&s.random) >> 20) % n];
}

static enum sched_end
turns(void)
{
	unsigned next;

	while ((next = pick()) != THREADS) {
		if (nswitches == SCHED_SWITCHES)
			return SCHED_LIVELOCK;
		give_turn(next);
	}
	for (unsigned i = 0; i < s.n; i++)
		if (!s.thread[i].done)
			return SCHED_DEADLOCK;
	return SCHED_DONE;
}

enum sched_end
sched_run(unsigned n, void (*body)(void *arg, unsigned i), void *arg,
    uint64_t seed)
{
	enum sched_end end;

	memset(&s, 0, sizeof(s));
	s.n = n;
	s.body = body;
	s.arg = arg;
	s.random = seed;
	nswitches = nwaits = 0;
	for (unsigned i = 0; i < n; i++) {
		if (stack_in_use[i])
			ASAN_UNPOISON_MEMORY_REGION(stacks[i], STACK);
		stack_in_use[i] = true;
		context_make(&s.thread[i].context, stacks[i], thread_main);
	}
	vm_lock_hooks = &hooks;
	s.running = true;
	end = turns();
	s.running = false;
	vm_lock_hooks = NULL;
	return end;
}

#endif
