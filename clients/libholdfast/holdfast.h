/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOLDFAST_H
#define HOLDFAST_H

/*
 * libholdfast: pinned, physically contiguous memory and shared address maps
 * from holdfastd.
 *
 * This header is the manual.  It needs nothing else of the project.
 *
 *	struct holdfast *h;
 *	struct holdfast_buf *buf;
 *	struct holdfast_contig_req req = { .size = 8 << 20, .flags = HF_M_ZERO
 *};
 *
 *	if (holdfast_connect(NULL, &h) != 0)
 *		err(1, "connect");
 *	if (holdfast_contigmalloc(h, &req, &buf) != HF_OK)
 *		errx(1, "%s", holdfast_error(h));
 *	printf("%p is at physical %#llx\n", buf->addr, buf->pa);
 *
 * Results.  Calls return an int: 0 (HF_OK), a positive enum holdfast_status
 * when the daemon refused (holdfast_error() has the sentence, the connection
 * is fine), or -errno when the connection or this process is in trouble.
 * A failed call leaves everything as it was.  After -EPIPE (the daemon is
 * gone), -ETIMEDOUT (it did not answer in time) and -EPROTO (it broke the
 * protocol, and holdfast_error() says how) the connection is over: every
 * later call returns the same, and holdfast_close() is what is left to do.
 * What is mapped stays mapped until then.
 *
 * The daemon can take its memory back at any time (it revokes what a client
 * that it gave up still has); touching it then is a SIGBUS.
 *
 * Signals are neither caught nor sent; an interrupted call goes on.  The
 * library starts no thread, writes nothing and never ends the process.
 *
 * Ownership.  What a call stores through its last argument belongs to the
 * caller until the matching free; holdfast_close() frees whatever is left,
 * unmaps it and closes its fds.
 *
 * Threads.  A handle may be used by one thread at a time; different handles
 * by different threads.  Fork.  The memory stays mapped in a child, shared with
 * the parent.  The handle is the parent's: in the child every call returns
 * -EPERM, except holdfast_close(), which leaves the parent's memory alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast;

enum holdfast_status {
	HF_OK = 0,
	/* KERN_* with FreeBSD's values. */
	HF_INVALID_ADDRESS = 1,
	HF_PROTECTION_FAILURE = 2,
	HF_NO_SPACE = 3,
	HF_INVALID_ARGUMENT = 4,
	HF_FAILURE = 5,
	HF_RESOURCE_SHORTAGE = 6,
	HF_NOT_RECEIVER = 7,
	HF_NO_ACCESS = 8,
	HF_OUT_OF_BOUNDS = 9,
	HF_RESTART = 10,
	HF_WOULD_BLOCK = 11,
	/* Refusals of the service. */
	HF_VERSION = 64,
	HF_NOT_NEGOTIATED = 65,
	HF_UNKNOWN_REQUEST = 66,
	HF_UNKNOWN_ID = 67,
	HF_QUOTA = 68,
	HF_DENIED = 69,
	HF_EXISTS = 70,
	HF_NO_POOL = 71,
	HF_SHUTTING_DOWN = 72,
	HF_TIMED_OUT = 73, /* its deadline passed while it waited */
	HF_CANCELLED = 74, /* holdfast_contig_cancel() */
};

enum holdfast_pin { HF_PIN_NONE = 1, HF_PIN_MLOCK = 2, HF_PIN_LONGTERM = 3 };

/* malloc(9) flags. */
#define HF_M_NOWAIT 0x0001u
#define HF_M_WAITOK 0x0002u
#define HF_M_ZERO   0x0100u

/* Bounds of what travels. */
#define HF_NAME_MAX  63  /* bytes in the name of a client or a map */
#define HF_TYPE_MAX  31  /* bytes in the name of a malloc type */
#define HF_BATCH_MAX 256 /* finds in one holdfast_map_find_batch() */

/* "KERN_NO_SPACE", "HF_QUOTA", "EPIPE" ... for any return value above. */
const char *holdfast_status_name(int rv);

/* ---- Connection ------------------------------------------------------- */

struct holdfast_options {
	const char *socket_path; /* NULL: $HOLDFAST_SOCKET, or the default */
	const char *name;  /* for the daemon's status; NULL: the program's */
	int timeout_ms;    /* a call may take; 0: 30,000; < 0: for ever */
	char *error;       /* for the sentence of a refused connect */
	size_t error_size; /* bytes there; 0: not wanted */
};

/*
 * Connect and negotiate.  `options` may be NULL.
 * -ENOENT, -ECONNREFUSED, -EACCES ...: as connect(2).  -ENAMETOOLONG: the path
 * or the name.  -EPROTO: not holdfastd.  -EPIPE: it hung up, as it does when
 * the tenant has too many sessions.  -ETIMEDOUT.  HF_VERSION: no common
 * version.
 */
int holdfast_connect(const struct holdfast_options *options,
    struct holdfast **hp);
/*
 * Unmap everything, end the connection and free the handle.  NULL is fine.
 * In a forked child: unmap the child's copies and close its descriptors.
 */
void holdfast_close(struct holdfast *h);

/* What the daemon said when we connected. */
struct holdfast_info {
	uint32_t version;       /* of the protocol */
	uint64_t page_size;     /* bytes */
	uint64_t frame_size;    /* bytes in a huge page of the pool; 0: none */
	bool addresses_allowed; /* this tenant is told physical addresses */
	char machine[32];       /* "x86_64" ... */
};
void holdfast_info(const struct holdfast *h, struct holdfast_info *infop);

/* The sentence of the last refusal on this handle; "" where there is none. */
const char *holdfast_error(const struct holdfast *h);
/* The socket, for poll(2).  Still the handle's. */
int holdfast_fd(const struct holdfast *h);
/* A null round trip. */
int holdfast_ping(struct holdfast *h);

/* ---- Physically contiguous buffers (contigmalloc(9)) ------------------- */

/* Which of several NUMA nodes: domainset(9). */
enum holdfast_domainset_policy {
	HF_DOMAINSET_BEST = 0,       /* where it fits best; with `domains`
				      * given: round robin */
	HF_DOMAINSET_ROUNDROBIN = 1, /* from the one after the last used by
				      * this tenant */
	HF_DOMAINSET_FIRSTTOUCH = 2, /* `domain`, or where the calling thread
				      * runs, first, then in turn */
	HF_DOMAINSET_PREFER = 3,     /* `domain` first, then in turn */
	HF_DOMAINSET_INTERLEAVE = 4, /* round robin, 16 MiB at a time */
};

struct holdfast_contig_req {
	uint64_t size;      /* bytes, > 0; rounded up to pages */
	uint64_t low;       /* first acceptable physical byte */
	uint64_t high;      /* one past the last acceptable; 0: no limit */
	uint64_t alignment; /* power of two; 0: a page */
	uint64_t boundary;  /* power of two not to cross, >= size; 0: none */
	uint32_t flags;     /* HF_M_* */
	int domain;         /* NUMA node, where domain_set */
	bool domain_set;    /* only `domain` will do, or see policy;
			     * otherwise any */
	uint32_t domains;   /* bit n: NUMA node n may be used; 0: all.  With
			     * domain_set but without a policy: 0 */
	enum holdfast_domainset_policy policy;
	const char *type;     /* malloc type for statistics; NULL: "contig" */
	bool no_map;          /* do not map it here: addr will be NULL; then fd
			       * is not looked at either */
	uint64_t deadline_ms; /* with HF_M_WAITOK: from now; 0: none */
	bool device;          /* a device writes there: should this process go
			       * without having freed it, it is quarantined */
};

/*
 * addr is congruent to pa modulo the greatest of alignment, boundary and
 * frame_size; where pa is not told, modulo alignment and frame_size.  Buffers
 * of one span share a mapping of the whole span, with a guard on either side.
 */
struct holdfast_buf {
	void *addr;    /* mapped here, shared; NULL where no_map */
	uint64_t size; /* bytes, whole pages */
	uint64_t pa;   /* physical; 0 where the daemon keeps it to itself */
	bool pa_known;
	enum holdfast_pin pin;
	bool verified;      /* the daemon read pagemap back after pinning */
	int domain;         /* NUMA node */
	int fd;             /* memfd of the span that holds it; the library's */
	uint64_t fd_offset; /* of the buffer in fd */
	uint64_t span_size; /* bytes in fd */
	uint64_t span_pa;   /* physical address of the memfd's first byte */
	uint64_t frame_size; /* bytes in one huge page of it */
	uint64_t id;         /* the daemon's number for it */
};

/*
 * Allocate.  The answer is checked against the request.
 *
 * Where there is nothing for it now: with HF_M_NOWAIT it is refused; without
 * flags it waits for memory that is on its way back, and for what others give
 * back when the daemon asks them.  With HF_M_WAITOK it waits as contigmalloc(9)
 * does: in turn, until there is memory, the deadline passes or it is cancelled;
 * the handle's timeout_ms does not count meanwhile.
 *
 * HF_INVALID_ARGUMENT: the sentence names the argument.  HF_NO_SPACE: no free
 * run satisfies the request.  HF_RESOURCE_SHORTAGE, HF_QUOTA, HF_NO_POOL,
 * HF_SHUTTING_DOWN, HF_TIMED_OUT, HF_CANCELLED.  -ENOMEM: it cannot be mapped
 * here.  -ENODEV: the daemon has invented addresses and no memory; ask with
 * no_map.
 */
int holdfast_contigmalloc(struct holdfast *h,
    const struct holdfast_contig_req *req, struct holdfast_buf **bufp);
/*
 * End a holdfast_contigmalloc() with HF_M_WAITOK that another thread is in, or
 * that a signal interrupted: it returns HF_CANCELLED, unless its memory came
 * first.  The only call that may be made while another is under way; safe in a
 * signal handler.
 * -ENOENT: no such call has begun to wait; one that is just being sent is
 * cancelled all the same.  -EAGAIN: the daemon does not read: try again.
 */
int holdfast_contig_cancel(struct holdfast *h);
/*
 * Unmap and give back.  NULL is fine.  The struct is gone whatever returns.
 * One that follows another call does not wait for the daemon, unless a device
 * writes to the buffer: the memory is back for whoever asks afterwards.  After
 * a holdfast_ping() the daemon has carried it out for certain.
 * In a child that inherited the buffer: -EPERM, and nothing happens.
 */
int holdfast_contigfree(struct holdfast *h, struct holdfast_buf *buf);

/*
 * Physical address of a byte inside any mapped buffer of this handle, without
 * asking the daemon.
 * HF_INVALID_ADDRESS: not in one.  HF_DENIED: addresses are not told.
 */
int holdfast_vtophys(struct holdfast *h, const void *p, uint64_t *pap);

/* ---- Memory that others want ------------------------------------------- */

/*
 * The daemon asks for up to `bytes` back because somebody needs them: free
 * what is idle (holdfast_contigfree(), on this handle too).  Called from
 * holdfast_dispatch() only; when it returns the daemon is told that this was
 * all.
 */
typedef void holdfast_reclaim_fn(struct holdfast *h, uint64_t bytes, void *arg);

/*
 * Offer to give memory back when asked; `fn` NULL: no more.  From then on poll
 * holdfast_fd(), or call holdfast_dispatch() now and then: a daemon that gets
 * no answer within its deadline does without.  A span cache offers it by
 * itself: holdfast_cache_dispatch().
 */
int holdfast_on_reclaim(struct holdfast *h, holdfast_reclaim_fn *fn, void *arg);

/* ---- Status ----------------------------------------------------------- */

struct holdfast_pool_status {
	uint64_t frame_size, frames_total, frames_standby, frames_in_use;
	uint64_t frames_limbo, frames_missing, free_bytes, largest_run;
	uint64_t spans, sessions, tenants, uptime_ms;
	uint64_t frames_ready; /* of frames_standby, in ready-made spans */
	uint64_t spans_ready;
	uint64_t stock_hits, stock_misses; /* requests that found one, or not */
	uint64_t waiting;                  /* requests, for frames */
	uint64_t reclaim_asks; /* times a client was asked for memory */
	enum holdfast_pin pin;
	bool addresses_known, simulated;
	/* frames_* count a big frame as the frames it is as good as. */
	uint64_t big_size; /* bytes in a big frame; 0: there are none */
	uint64_t big_total, big_standby;
	uint64_t pool_max, pool_min; /* bytes that it may grow or shrink to */
	uint64_t frames_quarantined; /* of frames_in_use */
	uint64_t frames_tampered;    /* found changed by their holders, ever */
	uint64_t frames_poisoned;    /* whose memory went bad, ever */
	uint64_t frames_idle;        /* of frames_in_use; tenants keep them */
	bool draining;               /* nothing new is allocated */
	bool is_operator;            /* the caller may change the pool */
	char degraded[256];
};
struct holdfast_quota {
	uint64_t used, limit, highwater; /* limit UINT64_MAX: none */
};
struct holdfast_tenant_status {
	char tenant[64];
	struct holdfast_quota bytes, fds, requests, sessions;
	uint64_t buffers, maps, entries, tampered;
	uint64_t limbo_bytes; /* of bytes.used, withheld by a pin of its own */
	struct holdfast_quota base_bytes, map_entries;
	uint64_t idle_bytes;  /* of bytes.used, in spans without a buffer */
	uint64_t spans_taken; /* from the stock or the pool, ever */
};
struct holdfast_run {
	uint64_t start, end;
	int domain;
	bool big; /* of big frames; known of segments */
};

int holdfast_pool_status(struct holdfast *h,
    struct holdfast_pool_status *statusp);
int holdfast_tenant_status(struct holdfast *h,
    struct holdfast_tenant_status *statusp);
/*
 * Segments and free runs, ascending, in malloc'ed arrays the caller frees.
 * HF_DENIED: addresses are not told.
 */
int holdfast_pool_runs(struct holdfast *h, struct holdfast_run **segsp,
    size_t *nsegsp, struct holdfast_run **freep, size_t *nfreep);
/* The same for runs that a holder's own pin withholds from the pool. */
int holdfast_limbo_runs(struct holdfast *h, struct holdfast_run **runsp,
    size_t *np);

/* The tenant's malloc types and named maps, in malloc'ed arrays. */
struct holdfast_type_stat {
	char type[HF_TYPE_MAX + 1];
	uint64_t allocs, frees, bytes, highwater, failures;
};
struct holdfast_map_item {
	char name[HF_NAME_MAX + 1];
	uint64_t min, max, nentries, size, sessions;
	uint32_t owner, group; /* uid, gid */
	uint32_t mode;
	uint32_t access; /* what the caller may: HF_MAP_READ, HF_MAP_CHANGE */
};
int holdfast_type_stats(struct holdfast *h, struct holdfast_type_stat **typesp,
    size_t *np);
int holdfast_map_list(struct holdfast *h, struct holdfast_map_item **mapsp,
    size_t *np);
/* Also those of others that the caller may attach to. */
int holdfast_map_list_all(struct holdfast *h, struct holdfast_map_item **mapsp,
    size_t *np);

#ifdef __cplusplus
}
#endif

/* Maps (vm_map(9)): the second half of the manual. */
#include "holdfast_map.h"
/* The pool: the third part. */
#include "holdfast_pool.h"

#endif
