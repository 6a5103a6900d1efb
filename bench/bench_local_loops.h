/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The loops of bench_local, compiled once for each contestant.
 *
 * Every contestant is called as a program would call it: what its header has
 * inline is inline (the span cache, rte_mempool), what is a function of a
 * library is called (tcmalloc, rte_malloc).  lifo_pointer() alone hides from
 * the compiler whom it calls.
 */

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/bench_local.h"

#define BULK 32u
#define RING 1024u
#define LOOP static inline __attribute__((always_inline))

LOOP unsigned
pairs_of(const struct contestant *c)
{
	return c->pairs_max != 0 && c->pairs_max < local_pairs ? c->pairs_max
							       : local_pairs;
}

LOOP void *
must(void *p)
{
	if (__builtin_expect(p == NULL, 0))
		errx(1, "out of memory in the middle of a benchmark");
	return p;
}

/* One object of the size all have, by whatever the contestant offers. */
LOOP void *
take_fixed(const struct contestant *c)
{
	void *p;

	if (c->alloc != NULL)
		return must(c->alloc(200));
	if (!c->get(&p, 1))
		errx(1, "%s is empty", c->name);
	return p;
}

LOOP void
give_fixed(const struct contestant *c, void *p)
{
	if (c->alloc != NULL)
		c->free(p);
	else
		c->put(&p, 1);
}

LOOP double
lifo(const struct contestant *c, size_t unused)
{
	unsigned n = pairs_of(c);
	double t = bench_now_ns();

	(void)unused;
	for (unsigned i = 0; i < n; i++) {
		void *p = take_fixed(c);

		/* Two loops of one pair are not one of two. */
		__asm__ volatile("" : "+r"(p) : : "memory");
		give_fixed(c, p);
	}
	return (bench_now_ns() - t) / n;
}

LOOP double
lifo_pointer(const struct contestant *c, size_t unused)
{
	void *(*alloc_)(size_t) = c->alloc;
	void (*free_)(void *) = c->free;
	unsigned n = pairs_of(c);
	double t = bench_now_ns();

	(void)unused;
	__asm__("" : "+r"(alloc_), "+r"(free_));
	for (unsigned i = 0; i < n; i++)
		free_(must(alloc_(200)));
	return (bench_now_ns() - t) / n;
}

LOOP double
bulk(const struct contestant *c, size_t unused)
{
	void *objs[BULK];
	unsigned n = pairs_of(c) / BULK;
	double t = bench_now_ns();

	(void)unused;
	for (unsigned i = 0; i < n; i++) {
		if (!c->get(objs, BULK))
			errx(1, "%s is empty", c->name);
		__asm__ volatile("" : : "r"(objs) : "memory");
		c->put(objs, BULK);
	}
	return (bench_now_ns() - t) / n / BULK;
}

LOOP void **
live_new(const struct contestant *c, size_t live)
{
	void **objs = must(calloc(live, sizeof(*objs)));

	for (size_t i = 0; i < live; i++)
		objs[i] = c->alloc != NULL
			      ? must(c->alloc(local_size[i % PICKS]))
			      : take_fixed(c);
	return objs;
}

LOOP void
live_free(const struct contestant *c, void **objs, size_t live)
{
	for (size_t i = 0; i < live; i++)
		give_fixed(c, objs[i]);
	free(objs);
}

/* Free one of them at random, allocate another in its place. */
LOOP void
replace(const struct contestant *c, void **objs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void **p = &objs[local_place[i % PICKS]];

		c->free(*p);
		*p = must(c->alloc(local_size[i % PICKS]));
	}
}

LOOP double
churn(const struct contestant *c, size_t live)
{
	unsigned n = pairs_of(c);
	void **objs = live_new(c, live);
	double t = bench_now_ns();

	replace(c, objs, n);
	t = (bench_now_ns() - t) / n;
	live_free(c, objs, live);
	return t;
}

LOOP double
vtophys(const struct contestant *c, size_t live)
{
	void **objs = live_new(c, live);
	uint64_t sum = 0;
	double t = bench_now_ns();

	for (unsigned i = 0; i < local_pairs; i++)
		sum += c->vtophys(objs[local_place[i % PICKS]]);
	t = (bench_now_ns() - t) / local_pairs;
	__asm__ volatile("" : : "r"(sum));
	live_free(c, objs, live);
	return t;
}

/*
 * A thread on the second processor from its beginning: at real-time priority
 * it would never get past us to move there.
 */
LOOP pthread_t
second_thread(void *(*body)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (pthread_create(&thread, &attr, body, arg) != 0)
		errx(1, "no thread on a second processor");
	(void)pthread_attr_destroy(&attr);
	return thread;
}

/* One thread allocates, another frees. */
struct ring {
	unsigned n;
	void *slot[RING];
	_Alignas(64) unsigned head;
	_Alignas(64) unsigned tail;
};

LOOP void *
ring_drain(const struct contestant *c, struct ring *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		while (__atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == i)
			;
		c->free(r->slot[i % RING]);
		__atomic_store_n(&r->tail, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

LOOP double
ring_fill(const struct contestant *c, struct ring *r, void *(*drain)(void *))
{
	pthread_t thread;
	double t;

	memset(r, 0, sizeof(*r));
	r->n = pairs_of(c);
	thread = second_thread(drain, r);
	t = bench_now_ns();
	for (unsigned i = 0; i < r->n; i++) {
		while (i - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) == RING)
			;
		r->slot[i % RING] = must(c->alloc(local_size[i % PICKS]));
		__atomic_store_n(&r->head, i + 1, __ATOMIC_RELEASE);
	}
	(void)pthread_join(thread, NULL);
	return (bench_now_ns() - t) / r->n;
}

/*
 * Two threads at once, from when both have their objects until both are done:
 * ns of wall clock for one pair of either.
 */
struct pair {
	unsigned n;
	unsigned ready; /* threads that are */
	double end;     /* of the second one */
};

LOOP double
pair_run(const struct contestant *c, struct pair *p, double *startp)
{
	void **objs = live_new(c, 4096);
	double end;

	replace(c, objs, p->n / 8); /* and their caches are warm */
	(void)__atomic_add_fetch(&p->ready, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&p->ready, __ATOMIC_ACQUIRE) < 2)
		;
	*startp = bench_now_ns();
	replace(c, objs, p->n);
	end = bench_now_ns();
	live_free(c, objs, 4096);
	return end;
}

LOOP void *
pair_second(const struct contestant *c, struct pair *p)
{
	double start;

	p->end = pair_run(c, p, &start);
	return NULL;
}

LOOP double
pair_first(const struct contestant *c, void *(*second)(void *))
{
	struct pair p = {.n = pairs_of(c)};
	pthread_t thread = second_thread(second, &p);
	double start, end;

	end = pair_run(c, &p, &start);
	(void)pthread_join(thread, NULL);
	return ((end > p.end ? end : p.end) - start) / p.n / 2;
}

LOOP double
pair_alone(const struct contestant *c)
{
	struct pair p = {.n = pairs_of(c), .ready = 1};
	double start, end;

	end = pair_run(c, &p, &start);
	return (end - start) / p.n;
}

/*
 * The loops of one contestant, `static const struct contestant NAME`, as
 * `NAME_run_LOOP()`.
 */
#define LOCAL_STAMP_FIXED(who)                                                 \
	static double who##_run_lifo(size_t live)                              \
	{                                                                      \
		return lifo(&who, live);                                       \
	}                                                                      \
	static double who##_run_bulk(size_t live)                              \
	{                                                                      \
		return bulk(&who, live);                                       \
	}

#define LOCAL_STAMP_VTOPHYS(who)                                               \
	static double who##_run_vtophys(size_t live)                           \
	{                                                                      \
		return vtophys(&who, live);                                    \
	}

#define LOCAL_STAMP_ANY(who)                                                   \
	static double who##_run_lifo_pointer(size_t live)                      \
	{                                                                      \
		return lifo_pointer(&who, live);                               \
	}                                                                      \
	static double who##_run_churn(size_t live)                             \
	{                                                                      \
		return churn(&who, live);                                      \
	}                                                                      \
	static void *who##_drain(void *ring)                                   \
	{                                                                      \
		return ring_drain(&who, ring);                                 \
	}                                                                      \
	static double who##_run_handover(size_t live)                          \
	{                                                                      \
		static struct ring ring;                                       \
                                                                               \
		(void)live;                                                    \
		return ring_fill(&who, &ring, who##_drain);                    \
	}                                                                      \
	static void *who##_second(void *pair)                                  \
	{                                                                      \
		return pair_second(&who, pair);                                \
	}                                                                      \
	static double who##_run_two_threads(size_t live)                       \
	{                                                                      \
		(void)live;                                                    \
		return pair_first(&who, who##_second);                         \
	}                                                                      \
	static double who##_run_one_thread(size_t live)                        \
	{                                                                      \
		(void)live;                                                    \
		return pair_alone(&who);                                       \
	}
