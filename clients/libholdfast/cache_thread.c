/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What threads keep of span caches: bins of free objects, one hot slot.
 *
 * A thread has a tcache for each cache it uses, in a list of its own; the one
 * used last is at hand for the inline code.  Only its thread touches a
 * tcache's objects.  Others may poke it, which sends the thread through
 * tcache_get() at its next call, and disown it when the cache goes.
 *
 * Where a cache is attended to by a thread of its own, that thread takes the
 * objects of others as well, which may sleep for ever.  Then each tcache has a
 * lock, and the inline code never finds one at hand.
 */

#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/cache_int.h"

#define BIN_BYTES (UINT64_C(1) << 20) /* a thread keeps of one class */
#define BIN_MAX   256u
#define BIN_MIN   4u
#define LINE      (64 / sizeof(void *)) /* pointers in a cache line */

/* Stands for all threads that have none; never matches a cache. */
static struct tcache nobody;
__thread struct holdfast_cache_thread *holdfast_cache_mine
    __attribute__((tls_model("initial-exec"))) = &nobody.front;
static __thread struct tcache *list __attribute__((tls_model("initial-exec")));

/* Which caches and tcaches exist.  Taken before any other lock. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct holdfast_cache *all;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

/* Let the inline code have it, or no more. */
static void
tcache_show(struct tcache *t, struct holdfast_cache *cache)
{
	__atomic_store_n(&t->front.cache, cache, __ATOMIC_RELAXED);
}

/* ---- Bins ---------------------------------------- */

static unsigned
bin_cap(unsigned class)
{
	uint64_t n = BIN_BYTES / class_size(class);

	return n > BIN_MAX ? BIN_MAX : n < BIN_MIN ? BIN_MIN : (unsigned)n;
}

/*
 * Pointers in the array of a bin, with the NULL below it: an odd number of
 * lines, so that the tops of bins do not share their place in the L1 cache.
 */
static size_t
bin_stride(unsigned class)
{
	return ((bin_cap(class) + 1 + LINE - 1) / LINE) | 1;
}

static void
tcache_free(struct tcache *t)
{
	(void)pthread_mutex_destroy(&t->lock);
	free(t->arrays);
	free(t);
}

static struct tcache *
tcache_new(struct holdfast_cache *cache)
{
	struct tcache *t = aligned_alloc(64, (sizeof(*t) + 63) / 64 * 64);
	size_t lines = 0;
	void **at;

	if (t == NULL)
		return NULL;
	memset(t, 0, sizeof(*t));
	for (unsigned c = 0; c < NCLASSES; c++)
		lines += bin_stride(c);
	at = t->arrays = aligned_alloc(64, lines * 64);
	if (at == NULL) {
		free(t);
		return NULL;
	}
	memset(at, 0, lines * 64);
	for (unsigned c = 0; c < NCLASSES; c++) {
		struct holdfast_cache_bin *bin = &t->front.bins[c + 1];

		bin->room = bin_cap(c);
		bin->base = bin->top = at + 1;
		bin->full = bin->base + bin->room;
		at += bin_stride(c) * LINE;
	}
	(void)pthread_mutex_init(&t->lock, NULL);
	t->attended = cache->attend.wanted;
	atomic_store(&t->owner, cache);
	if (!t->attended)
		tcache_show(t, cache);
	return t;
}

void
tcache_flush(struct tcache *t)
{
	struct holdfast_cache *cache = atomic_load(&t->owner);
	struct holdfast_cache_thread *front = &t->front;

	if (front->hot_kind != 0)
		depot_put(cache, (unsigned)front->hot_kind - 1, &front->hot, 1);
	front->hot_kind = 0;
	for (unsigned c = 0; c < NCLASSES; c++) {
		struct holdfast_cache_bin *bin = &front->bins[c + 1];
		unsigned n = bin_count(bin);

		bin->top = bin->base;
		if (n > 0)
			depot_put(cache, c, bin->base, n);
	}
}

/* ---- Registry ---------------------------------------- */

static void
tcache_unlink(struct holdfast_cache *cache, struct tcache *t)
{
	struct tcache **p = &cache->tcaches;

	while (*p != t)
		p = &(*p)->sibling;
	*p = t->sibling;
}

/* A thread ends: what it cached goes to the depots. */
static void
thread_ends(void *first)
{
	struct tcache *t = first, *next;

	(void)pthread_mutex_lock(&registry);
	for (; t != NULL; t = next) {
		struct holdfast_cache *owner = atomic_load(&t->owner);

		next = t->next;
		if (owner != NULL) {
			tcache_unlink(owner, t); /* nobody else sees it */
			tcache_flush(t);
		}
		tcache_free(t);
	}
	(void)pthread_mutex_unlock(&registry);
	list = NULL;
	holdfast_cache_mine = &nobody.front;
}

static void
before_fork(void)
{
	(void)pthread_mutex_lock(&registry);
}

static void
after_fork_in_parent(void)
{
	(void)pthread_mutex_unlock(&registry);
}

/* The last access to `t`: its thread may free it from here on. */
static void
tcache_disown(struct tcache *t)
{
	tcache_show(t, NULL);
	atomic_store(&t->owner, NULL);
}

static void
tcaches_disown(struct holdfast_cache *cache)
{
	struct tcache *next;

	for (struct tcache *t = cache->tcaches; t != NULL; t = next) {
		next = t->sibling;
		tcache_disown(t);
	}
	cache->tcaches = NULL;
}

/* The spans are not mapped here, and locks may be in any state. */
static void
after_fork_in_child(void)
{
	for (struct holdfast_cache *c = all; c != NULL; c = c->next) {
		atomic_store(&c->forked, true);
		tcaches_disown(c);
	}
	(void)pthread_mutex_init(&registry, NULL);
}

static void
prepare(void)
{
	(void)pthread_key_create(&key, thread_ends);
	(void)pthread_atfork(before_fork, after_fork_in_parent,
	    after_fork_in_child);
}

void
registry_enter(struct holdfast_cache *cache)
{
	(void)pthread_once(&once, prepare);
	(void)pthread_mutex_lock(&registry);
	cache->next = all;
	all = cache;
	(void)pthread_mutex_unlock(&registry);
}

void
registry_remove(struct holdfast_cache *cache)
{
	struct holdfast_cache **p = &all;

	(void)pthread_mutex_lock(&registry);
	while (*p != cache)
		p = &(*p)->next;
	*p = cache->next;
	tcaches_disown(cache);
	(void)pthread_mutex_unlock(&registry);
}

/* ---- This thread's ---------------------------------------- */

/*
 * Take this thread's tcache of `cache` out of its list, or return NULL.  Those
 * of caches that are gone are freed on the way.
 */
static struct tcache *
tcache_take(struct holdfast_cache *cache)
{
	struct tcache **p = &list, *t;

	while ((t = *p) != NULL) {
		struct holdfast_cache *owner = atomic_load(&t->owner);

		if (owner != NULL && owner != cache) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		if (owner == cache)
			return t;
		if (holdfast_cache_mine == &t->front)
			holdfast_cache_mine = &nobody.front;
		tcache_free(t);
	}
	return NULL;
}

static struct tcache *
tcache_enter(struct holdfast_cache *cache)
{
	struct tcache *t = tcache_new(cache);

	if (t == NULL)
		return NULL;
	(void)pthread_mutex_lock(&registry);
	t->sibling = cache->tcaches;
	cache->tcaches = t;
	(void)pthread_mutex_unlock(&registry);
	return t;
}

/* Not at hand: another cache was used last, or this one never. */
static struct tcache *
tcache_find(struct holdfast_cache *cache)
{
	struct tcache *t;

	if (atomic_load(&cache->forked))
		return NULL;
	t = tcache_take(cache);
	if (t == NULL)
		t = tcache_enter(cache);
	(void)pthread_setspecific(key, t != NULL ? t : list);
	if (t == NULL)
		return NULL;
	t->next = list;
	list = t;
	holdfast_cache_mine = &t->front;
	return t;
}

/* It was poked: what it was poked for. */
static void
tcache_heed(struct tcache *t, struct holdfast_cache *cache)
{
	atomic_store(&t->poked, false);
	if (!t->attended)
		tcache_show(t, cache);
	tcache_flush(t);
	depots_trim(cache);
	blocks_trim(&cache->blocks);
}

struct tcache *
tcache_get(struct holdfast_cache *cache)
{
	struct tcache *t = (struct tcache *)(void *)holdfast_cache_mine;

	if (atomic_load_explicit(&t->owner, memory_order_relaxed) != cache)
		t = tcache_find(cache);
	if (t == NULL)
		return NULL;
	if (t->attended)
		(void)pthread_mutex_lock(&t->lock);
	if (__builtin_expect(t->attended
				 ? atomic_load(&t->poked)
				 : !holdfast_cache_is_mine(&t->front, cache),
		0))
		tcache_heed(t, cache);
	return t;
}

struct tcache *
tcache_get_if_any(struct holdfast_cache *cache)
{
	for (struct tcache *t = list; t != NULL; t = t->next)
		if (atomic_load(&t->owner) == cache)
			return tcache_get(cache);
	return NULL;
}

void
tcaches_flush(struct holdfast_cache *cache, struct tcache *mine)
{
	if (mine != NULL)
		tcache_flush(mine);
	(void)pthread_mutex_lock(&registry);
	for (struct tcache *t = cache->tcaches; t != NULL; t = t->sibling) {
		if (t == mine)
			continue;
		if (t->attended && pthread_mutex_trylock(&t->lock) == 0) {
			tcache_flush(t);
			(void)pthread_mutex_unlock(&t->lock);
			continue;
		}
		atomic_store(&t->poked, true);
		tcache_show(t, NULL);
	}
	(void)pthread_mutex_unlock(&registry);
}
