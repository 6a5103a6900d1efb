/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/clients/cache_fake.h"
#include "tests/test.h"

struct span {
	struct source *source;
	int fd;
};

static uint64_t
up(uint64_t x, uint64_t alignment)
{
	return (x + alignment - 1) & ~(alignment - 1);
}

/* An address that is wanted, and was never given before; 0: none. */
static uint64_t
invent(struct source *s, const struct cache_want *want)
{
	uint64_t pa = PA_BASE + s->imports * (UINT64_C(1) << 30);

	ASSERT_EQ(want->size % FRAME, 0);
	ASSERT_LE(want->alignment, UINT64_C(1) << 30);
	if (want->high == UINT64_MAX)
		return pa;
	pa = up(want->low > s->next_low ? want->low : s->next_low,
	    want->alignment);
	if (want->boundary != 0 &&
	    pa / want->boundary != (pa + want->size - 1) / want->boundary)
		pa = up(pa, want->boundary);
	if (pa + want->size > want->high)
		return 0;
	s->next_low = pa + want->size;
	return pa;
}

static int
import(void *arg, const struct cache_want *want, struct cache_import *importp)
{
	struct source *s = arg;
	uint64_t size = want->size, pa;
	struct span *span;

	if (s->asks_in_import)
		atomic_store(&s->asked, true);
	if ((s->limit != 0 && s->live == s->limit) ||
	    (s->largest != 0 && size > s->largest) ||
	    (s->fail_nth != 0 && --s->fail_nth == 0))
		return 3;
	pa = invent(s, want);
	if (pa == 0)
		return 3;
	span = malloc(sizeof(*span));
	ASSERT_NOT_NULL(span);
	span->source = s;
	span->fd = memfd_create("span", MFD_CLOEXEC);
	ASSERT_GE(span->fd, 0);
	ASSERT_EQ(ftruncate(span->fd, (off_t)size), 0);
	*importp = (struct cache_import){
	    .fd = span->fd,
	    .size = size,
	    .pa = s->no_pa ? 0 : pa,
	    .handle = span,
	};
	s->live++;
	s->imports++;
	return 0;
}

static void
release(void *arg, void *handle)
{
	struct source *s = arg;
	struct span *span = handle;

	ASSERT_TRUE(span->source == s);
	s->live--;
	(void)close(span->fd);
	free(span);
}

static void
end(void *arg)
{
	struct source *s = arg;

	s->ended++;
}

static int
hear(void *arg, bool *askedp)
{
	struct source *s = arg;

	s->looks++;
	*askedp = atomic_load(&s->asked);
	return 0;
}

static bool
heard(void *arg)
{
	struct source *s = arg;

	return atomic_load(&s->asked);
}

static int
answer(void *arg)
{
	struct source *s = arg;
	eventfd_t n;

	if (s->fd > 0)
		(void)eventfd_read(s->fd, &n);
	if (atomic_exchange(&s->asked, false))
		s->answers++;
	return 0;
}

void
fake_ask(struct source *s)
{
	atomic_store(&s->asked, true);
	if (s->fd > 0)
		ASSERT_EQ(eventfd_write(s->fd, 1), 0);
}

int
fake_cache_create(struct source *s,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep)
{
	struct cache_source source = {.import = import,
	    .release = release,
	    .fini = end,
	    .arg = s};

	if (s->listens) {
		source.listen = hear;
		source.heard = heard;
		source.answer = answer;
		source.fd = s->fd;
	}
	return cache_create_over(&source, options, cachep);
}

struct holdfast_cache *
fake_cache(struct source *s, uint64_t span_size, uint64_t max_bytes)
{
	struct holdfast_cache_options options = {.span_size = span_size,
	    .max_bytes = max_bytes};
	struct holdfast_cache *cache;

	ASSERT_EQ(fake_cache_create(s, &options, &cache), 0);
	return cache;
}

void
fake_object_mark(struct fake_object *object, void *p, uint64_t size,
    unsigned char mark)
{
	*object = (struct fake_object){.p = p, .mark = mark, .size = size};
	object->p[0] = object->p[size - 1] = mark;
}

bool
fake_object_free(struct holdfast_cache *cache, struct fake_object *object)
{
	if (object->p == NULL)
		return false;
	ASSERT_EQ(object->p[0], object->mark);
	ASSERT_EQ(object->p[object->size - 1], object->mark);
	holdfast_cache_free(cache, object->p);
	object->p = NULL;
	return true;
}
