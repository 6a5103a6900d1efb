/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc and contigfree over the wire, and the mapping of what came.
 */

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "clients/libholdfast/span_int.h"

#define DEADLINE_MAX (UINT64_C(1) << 40) /* ms; the daemon takes less */

struct hf_buf {
	struct holdfast_buf public; /* first: what the caller has */
	struct hf_span *span;
	struct hf_view *view; /* NULL: not mapped */
	bool device;          /* as it was asked for */
	struct hf_buf *next, *prev;
};

static void
buf_free(struct holdfast *h, struct hf_buf *buf)
{
	if (buf->view != NULL)
		hf_view_put(h, buf->view);
	if (buf->span != NULL)
		hf_span_put(h, buf->span, buf->public.fd_offset,
		    buf->public.size);
	free(buf);
}

static void
list_add(struct holdfast *h, struct hf_buf *buf)
{
	buf->prev = NULL;
	buf->next = h->bufs;
	if (h->bufs != NULL)
		h->bufs->prev = buf;
	h->bufs = buf;
}

static void
list_remove(struct holdfast *h, struct hf_buf *buf)
{
	if (buf->next != NULL)
		buf->next->prev = buf->prev;
	if (buf->prev != NULL)
		buf->prev->next = buf->next;
	else
		h->bufs = buf->next;
}

struct holdfast_buf *
hf_buf_find(struct holdfast *h, uint64_t id)
{
	for (struct hf_buf *buf = h->bufs; buf != NULL; buf = buf->next)
		if (buf->public.id == id)
			return &buf->public;
	return NULL;
}

int
hf_buf_check(struct holdfast *h, const struct holdfast_buf *buf)
{
	return hf_span_check(h, ((const struct hf_buf *)buf)->span);
}

void
hf_bufs_free_all(struct holdfast *h)
{
	while (h->bufs != NULL) {
		struct hf_buf *buf = h->bufs;

		list_remove(h, buf);
		buf_free(h, buf);
	}
}

/* `quiet`: the daemon need not answer. */
static int
tell_free(struct holdfast *h, uint64_t id, bool quiet)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigFree op = HOLDFAST__V1__CONTIG_FREE__INIT;

	op.buffer = id;
	op.quiet = quiet;
	request.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_FREE;
	request.contig_free = &op;
	return quiet ? hf_post(h, &request) : hf_call_bare(h, &request);
}

static bool
domain_is_one_asked_for(const struct holdfast_contig_req *req, int domain)
{
	if (req->domain_set && req->policy == HF_DOMAINSET_BEST)
		return domain == req->domain;
	return req->domains == 0 ||
	       (domain >= 0 && domain < 32 && (req->domains >> domain & 1));
}

/* What is wrong with an answer, seen from the request; NULL: nothing. */
static const char *
answer_fault(const struct holdfast *h, const struct holdfast_contig_req *req,
    const Holdfast__V1__ContigAllocResult *res)
{
	uint64_t last = res->pa + (res->size - 1);

	if ((req->alignment != 0 && !hf_is_power_of_two(req->alignment)) ||
	    (req->boundary != 0 && !hf_is_power_of_two(req->boundary)))
		return "an alignment or boundary that is no power of two";
	if (res->size < req->size || res->size - req->size >= h->info.page_size)
		return "another size";
	if (res->pin < HOLDFAST__V1__PIN__PIN_NONE ||
	    res->pin > HOLDFAST__V1__PIN__PIN_LONGTERM)
		return "no pin";
	if (!domain_is_one_asked_for(req, res->domain))
		return "another domain";
	if (!h->info.addresses_allowed)
		return NULL;
	if (res->pa < req->low || (req->high != 0 && last >= req->high))
		return "an address outside low and high";
	if (req->alignment != 0 && (res->pa & (req->alignment - 1)) != 0)
		return "another alignment";
	if (req->boundary != 0 && ((res->pa ^ last) & -req->boundary) != 0)
		return "an address that crosses the boundary";
	return NULL;
}

static uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Map the span so that the buffer's address looks like its physical one. */
static int
map_buf(struct holdfast *h, const struct holdfast_contig_req *req,
    struct hf_buf *buf)
{
	struct holdfast_buf *pub = &buf->public;
	uint64_t congruence = max_u64(req->alignment, pub->frame_size);
	uint64_t residue = pub->fd_offset;
	int r;

	if (pub->pa_known) {
		congruence = max_u64(congruence, req->boundary);
		residue = pub->pa;
	} else if (req->alignment >= pub->frame_size) {
		residue = 0; /* pa is a multiple of alignment, known or not */
	}
	r = hf_view_get(h, buf->span, pub->fd_offset, congruence, residue,
	    &buf->view);
	if (r < 0 && h->broken == 0) {
		hf_say(h,
		    "%llu bytes at a multiple of %#llx plus %#llx cannot "
		    "be mapped in this process",
		    (unsigned long long)buf->span->size,
		    (unsigned long long)congruence,
		    (unsigned long long)(residue & (congruence - 1)));
	}
	if (r < 0)
		return r;
	pub->addr = buf->view->va + pub->fd_offset;
	return 0;
}

static void
describe(const struct holdfast *h, const Holdfast__V1__ContigAllocResult *res,
    struct hf_buf *buf)
{
	buf->public = (struct holdfast_buf){
	    .size = res->size,
	    .pa = res->pa,
	    .pa_known = h->info.addresses_allowed,
	    .pin = (enum holdfast_pin)res->pin,
	    .verified = res->verified,
	    .domain = res->domain,
	    .fd = buf->span->fd,
	    .fd_offset = res->offset,
	    .span_size = res->span_size,
	    .span_pa = res->span_pa,
	    .frame_size = res->frame_size,
	    .id = res->buffer,
	};
}

/* From an answer to a buffer.  *fdp: -1, or taken on the way. */
static int
buf_new(struct holdfast *h, const struct holdfast_contig_req *req,
    const Holdfast__V1__ContigAllocResult *res, int *fdp, struct hf_buf **bufp)
{
	const char *fault = answer_fault(h, req, res);
	struct hf_buf *buf;
	int r;

	if (fault != NULL)
		return hf_mistrust(h, "the daemon gave a buffer with %s",
		    fault);
	if (*fdp < 0 && !req->no_map) {
		hf_say(h, "the daemon has invented addresses and no memory: "
			  "there is nothing to map");
		return -ENODEV;
	}
	buf = calloc(1, sizeof(*buf));
	if (buf == NULL)
		return -ENOMEM;
	r = hf_span_get(h, res, *fdp, &buf->span);
	if (r < 0) {
		free(buf);
		return r;
	}
	*fdp = -1;
	describe(h, res, buf);
	buf->device = req->device;
	r = req->no_map ? 0 : map_buf(h, req, buf);
	if (r < 0) {
		buf_free(h, buf);
		return r;
	}
	*bufp = buf;
	return 0;
}

/* NUMA node + 1, or 0; the daemon does not know where its client runs. */
static int
wire_domain(const struct holdfast_contig_req *req)
{
	unsigned node = 0;

	if (req->domain_set)
		return req->domain + 1;
	if (req->policy == HF_DOMAINSET_FIRSTTOUCH && getcpu(NULL, &node) == 0)
		return (int)node + 1;
	return 0;
}

static int
call_alloc(struct holdfast *h, const struct holdfast_contig_req *req,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__ContigAlloc op = HOLDFAST__V1__CONTIG_ALLOC__INIT;
	int64_t wait_ms = -1;

	op.size = req->size;
	op.low = req->low;
	op.high = req->high;
	op.alignment = req->alignment;
	op.boundary = req->boundary;
	op.flags = req->flags;
	op.domain = wire_domain(req);
	op.domains = req->domains;
	op.policy = (Holdfast__V1__DomainsetPolicy)req->policy;
	if (req->type != NULL)
		op.type = (char *)(uintptr_t)req->type; /* only read */
	request.op_case = HOLDFAST__V1__REQUEST__OP_CONTIG_ALLOC;
	request.contig_alloc = &op;
	op.device = req->device;
	op.deadline_ms = req->deadline_ms; /* refused without M_WAITOK */
	if ((req->flags & HF_M_WAITOK) == 0)
		return hf_call(h, &request,
		    HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC, 1, replyp, fds);
	/* The daemon keeps the deadline; a timeout finds out that it died. */
	if (req->deadline_ms != 0 && h->conn.timeout_ms >= 0 &&
	    req->deadline_ms <= DEADLINE_MAX)
		wait_ms = (int64_t)req->deadline_ms + h->conn.timeout_ms;
	return hf_call_waiting(h, &request,
	    HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC, 1, wait_ms, replyp, fds);
}

int
holdfast_contigmalloc(struct holdfast *h, const struct holdfast_contig_req *req,
    struct holdfast_buf **bufp)
{
	const Holdfast__V1__Reply *reply;
	struct hf_buf *buf = NULL;
	struct hf_fds fds;
	uint64_t id;
	int r, fd;

	if (req->type != NULL && strlen(req->type) > HF_TYPE_MAX) {
		hf_say(h, "the type's name is longer than %d bytes",
		    HF_TYPE_MAX);
		return HF_INVALID_ARGUMENT;
	}
	if (req->domain_set && (req->domain < 0 || req->domain == INT_MAX)) {
		hf_say(h, "there is no domain %d", req->domain);
		return HF_INVALID_ARGUMENT;
	}
	r = call_alloc(h, req, &reply, &fds);
	if (r != HF_OK)
		return r;
	id = reply->contig_alloc->buffer;
	fd = hf_fds_take(&fds, 0);
	r = buf_new(h, req, reply->contig_alloc, &fd, &buf);
	if (fd >= 0)
		hf_fds_close(&(struct hf_fds){.fd = {fd}, .n = 1});
	if (r != HF_OK) {
		char why[sizeof(h->error)];

		memcpy(why, h->error, sizeof(why));
		(void)tell_free(h, id, false); /* we could not use it */
		memcpy(h->error, why, sizeof(why));
		return r;
	}
	list_add(h, buf);
	*bufp = &buf->public;
	return HF_OK;
}

int
holdfast_contigfree(struct holdfast *h, struct holdfast_buf *pub)
{
	struct hf_buf *buf = (struct hf_buf *)pub;
	uint64_t id;
	bool quiet;
	int r;

	if (pub == NULL)
		return HF_OK;
	if (*h->mine == 0)
		return -EPERM;
	id = pub->id;
	/* One at a time, so that the daemon hears of it before it hears from
	 * whom the caller tells.  What a device writes to is known to be back,
	 * or goes into quarantine with this process. */
	quiet = h->posted == 0 && !buf->device;
	/* Let go first: the daemon need not take what nobody holds. */
	list_remove(h, buf);
	buf_free(h, buf);
	r = hf_usable(h);
	return r < 0 ? r : tell_free(h, id, quiet);
}
