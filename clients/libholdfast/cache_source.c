/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Spans of a cache from the daemon: whole frames, not mapped by the library,
 * because the cache gives them their place.
 */

#include <errno.h>
#include <stdlib.h>

#include "clients/libholdfast/cache_int.h"
#include "clients/libholdfast/holdfast_int.h"

struct daemon_source {
	struct holdfast *h;
	struct holdfast_cache_options options;
};

static int
daemon_import(void *arg, const struct cache_want *want,
    struct cache_import *importp)
{
	struct daemon_source *s = arg;
	uint64_t bound = s->options.high;
	uint64_t high = bound != 0 && bound < want->high ? bound : want->high;
	struct holdfast_contig_req req = {
	    .size = want->size,
	    .low = want->low > s->options.low ? want->low : s->options.low,
	    .high = high,
	    .alignment = want->alignment,
	    .boundary = want->boundary,
	    .domain = s->options.domain,
	    .domain_set = s->options.domain_set,
	    .domains = s->options.domains,
	    .policy = (enum holdfast_domainset_policy)s->options.policy,
	    .type = s->options.type != NULL ? s->options.type : "cache",
	    .no_map = true,
	};
	struct holdfast_buf *buf;
	int rv = holdfast_contigmalloc(s->h, &req, &buf);

	if (rv == HF_OK)
		rv = hf_buf_check(s->h, buf); /* -EPROTO: that ends it all */
	if (rv != HF_OK)
		return rv;
	*importp = (struct cache_import){
	    .fd = buf->fd,
	    .offset = buf->fd_offset,
	    .size = want->size,
	    .pa = buf->pa_known ? buf->pa : 0,
	    .handle = buf,
	};
	return 0;
}

/* Nothing to be done about a failure: the daemon cleans up after us. */
static void
daemon_release(void *arg, void *handle)
{
	struct daemon_source *s = arg;

	(void)holdfast_contigfree(s->h, handle);
}

static int
daemon_listen(void *arg, bool *askedp)
{
	struct daemon_source *s = arg;
	int r = hf_usable(s->h);

	while (r == 0 && hf_take_events(s->h))
		r = s->h->broken;
	*askedp = r == 0 && s->h->reclaim;
	return r;
}

static bool
daemon_heard(void *arg)
{
	struct daemon_source *s = arg;

	return s->h->reclaim;
}

static int
daemon_answer(void *arg)
{
	struct daemon_source *s = arg;

	return hf_reclaim_done(s->h);
}

int
holdfast_cache_create(struct holdfast *h,
    const struct holdfast_cache_options *options,
    struct holdfast_cache **cachep)
{
	struct daemon_source *s = calloc(1, sizeof(*s));
	struct cache_source source = {
	    .import = daemon_import,
	    .release = daemon_release,
	    .fini = free,
	    .arg = s,
	};

	if (s == NULL)
		return -ENOMEM;
	s->h = h;
	if (options != NULL)
		s->options = *options;
	if (hf_reclaim_listen(h, true) == HF_OK) { /* else nobody asks */
		source.listen = daemon_listen;
		source.heard = daemon_heard;
		source.answer = daemon_answer;
		source.fd = holdfast_fd(h);
	}
	return cache_create_over(&source, options, cachep);
}
