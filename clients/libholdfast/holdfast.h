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
struct holdfast_map;

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
};

enum holdfast_pin { HF_PIN_NONE = 1, HF_PIN_MLOCK = 2, HF_PIN_LONGTERM = 3 };

/* malloc(9) flags. */
#define HF_M_NOWAIT 0x0001u
#define HF_M_WAITOK 0x0002u
#define HF_M_ZERO   0x0100u

/* VM_PROT_*, VM_INHERIT_* and VMFS_* of vm_map(9), with FreeBSD's values. */
#define HF_PROT_READ                0x01u
#define HF_PROT_WRITE               0x02u
#define HF_PROT_EXECUTE             0x04u
#define HF_PROT_RW                  (HF_PROT_READ | HF_PROT_WRITE)
#define HF_INHERIT_SHARE            0u
#define HF_INHERIT_COPY             1u
#define HF_INHERIT_NONE             2u
#define HF_INHERIT_ZERO             3u
#define HF_VMFS_NO_SPACE            0u
#define HF_VMFS_ANY_SPACE           1u
#define HF_VMFS_OPTIMAL_SPACE       2u
#define HF_VMFS_SUPER_SPACE         3u
#define HF_VMFS_ALIGNED_SPACE(log2) ((uint32_t)(log2) << 8)

#define HF_PROTECT_SET_PROT    1u
#define HF_PROTECT_SET_MAXPROT 2u
#define HF_WIRE_NOHOLES        0u
#define HF_WIRE_HOLESOK        2u
#define HF_WIRE_WRITE          4u
#define HF_ADVICE_NORMAL       0u
#define HF_ADVICE_RANDOM       1u
#define HF_ADVICE_SEQUENTIAL   2u
#define HF_ADVICE_WILLNEED     3u
#define HF_ADVICE_DONTNEED     4u
#define HF_ADVICE_FREE         5u
#define HF_ADVICE_NOCORE       8u
#define HF_ADVICE_CORE         9u

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

struct holdfast_contig_req {
	uint64_t size;      /* bytes, > 0; rounded up to pages */
	uint64_t low;       /* first acceptable physical byte */
	uint64_t high;      /* one past the last acceptable; 0: no limit */
	uint64_t alignment; /* power of two; 0: a page */
	uint64_t boundary;  /* power of two not to cross, >= size; 0: none */
	uint32_t flags;     /* HF_M_* */
	int domain;         /* NUMA node, where domain_set */
	bool domain_set;    /* only `domain` will do; otherwise any */
	const char *type;   /* malloc type for statistics; NULL: "contig" */
	bool no_map;        /* do not map it here: addr will be NULL */
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
 * HF_INVALID_ARGUMENT: the sentence names the argument.  HF_NO_SPACE: no free
 * run satisfies the request.  HF_RESOURCE_SHORTAGE, HF_QUOTA, HF_NO_POOL,
 * HF_SHUTTING_DOWN.  -ENOMEM: it cannot be mapped here.  -ENODEV: the daemon
 * has invented addresses and no memory; ask with no_map.
 */
int holdfast_contigmalloc(struct holdfast *h,
    const struct holdfast_contig_req *req, struct holdfast_buf **bufp);
/*
 * Unmap and give back.  NULL is fine.  The struct is gone whatever returns.
 * In a child that inherited the buffer: -EPERM, and nothing happens.
 */
int holdfast_contigfree(struct holdfast *h, struct holdfast_buf *buf);

/*
 * Physical address of a byte inside any mapped buffer of this handle, without
 * asking the daemon.
 * HF_INVALID_ADDRESS: not in one.  HF_DENIED: addresses are not told.
 */
int holdfast_vtophys(struct holdfast *h, const void *p, uint64_t *pap);

/* ---- Maps (vm_map(9)) ---------------------------------------------------- */

struct holdfast_map_options {
	const char *name; /* NULL: nobody else can attach */
	uint64_t min;     /* 0 with max 0: the service's default range */
	uint64_t max;     /* exclusive */
	bool no_mirror;   /* only talk about it; mmap nothing in this process */
	const char *machine; /* create, with no_mirror: of another machine than
				the daemon's; NULL: the daemon's */
	uint64_t page_size;  /* create, of that machine; 0: its usual one */
};

enum holdfast_object_kind { HF_OBJECT_BASE = 1, HF_OBJECT_SUPER = 2 };

/* An entry as vm_map(9) has it. */
struct holdfast_entry {
	uint64_t start, end;
	uint32_t prot, max_prot;
	uint32_t inheritance;
	uint32_t wired_count;
	uint32_t eflags;
	uint64_t object; /* 0: none */
	uint64_t offset;
	uint64_t pa;                    /* superpage entries, where told */
	enum holdfast_object_kind kind; /* of the object; 0: none */
};

/*
 * What insert and find take; zero what you do not need.  An entry without an
 * object shows zeroed base pages, which every process that has the map
 * attached shares.  An entry over a superpage object has to lie congruent to
 * the object: HF_VMFS_SUPER_SPACE finds such a place.
 */
struct holdfast_map_args {
	uint64_t object; /* id of holdfast_object_create(); 0: anonymous */
	uint64_t offset;
	uint64_t addr; /* insert: start; find: lowest wanted, 0: any */
	uint64_t length;
	uint64_t max_addr;
	uint32_t find_space; /* VMFS_* */
	uint32_t prot, max_prot;
	uint32_t cow; /* MAP_* of vm_map_insert(9) */
};

/*
 * An object of `size` bytes, whole pages or, SUPER, whole frames, physically
 * consecutive, taken from the pool at once.  Destroying it drops this
 * session's reference; entries that show it keep theirs.
 * HF_INVALID_ARGUMENT, HF_NO_SPACE, HF_QUOTA, HF_NO_POOL; HF_UNKNOWN_ID.
 */
int holdfast_object_create(struct holdfast *h, enum holdfast_object_kind kind,
    uint64_t size, uint64_t *objectp);
int holdfast_object_destroy(struct holdfast *h, uint64_t object);

/*
 * Create or attach.  Unless no_mirror is set the map's range is reserved in
 * this process and every entry is mapped at its own address.
 * HF_EXISTS, HF_UNKNOWN_ID (no such name), HF_DENIED.  -EEXIST: the range
 * collides with a mapping of this process; the sentence says with which.
 */
int holdfast_map_create(struct holdfast *h,
    const struct holdfast_map_options *options, struct holdfast_map **mapp);
int holdfast_map_attach(struct holdfast *h,
    const struct holdfast_map_options *options, struct holdfast_map **mapp);
/*
 * Unmap and let go; the handle is gone whatever returns.  NULL is fine.  A map
 * lives as long as a session has it.
 */
int holdfast_map_detach(struct holdfast_map *map);
/*
 * Remove it for everybody.  Refused: the map is as it was, and still attached.
 */
int holdfast_map_destroy(struct holdfast_map *map);

uint64_t holdfast_map_min(const struct holdfast_map *map);
uint64_t holdfast_map_max(const struct holdfast_map *map);

/*
 * vm_map_insert(9), vm_map_find(9), vm_map_findspace(9), vm_map_remove(9),
 * with their codes, and HF_QUOTA.  What a call changes in the map it has also
 * changed in this process when it returns.  -ENOMEM and other errors of
 * mmap(2): this process could not follow; the map is as it was.
 */
int holdfast_map_insert(struct holdfast_map *map,
    const struct holdfast_map_args *args);
int holdfast_map_find(struct holdfast_map *map,
    const struct holdfast_map_args *args, uint64_t *addrp);
int holdfast_map_findspace(struct holdfast_map *map, uint64_t start,
    uint64_t length, uint64_t *addrp);
int holdfast_map_delete(struct holdfast_map *map, uint64_t start, uint64_t end);

/*
 * vm_map_protect(9), vm_map_inherit(9), vm_map_madvise(9), vm_map_wire(9) and
 * vm_map_unwire(9) with HF_PROTECT_*, HF_INHERIT_*, HF_ADVICE_*, HF_WIRE_*.
 *
 * What they become in this process: mprotect(2); for HF_INHERIT_NONE and _ZERO
 * the range is not in children that are forked later, else it is shared with
 * them; madvise(2) where it has the advice; wiring populates and, base pages,
 * mlock(2)s (-ENOMEM, -EPERM: RLIMIT_MEMLOCK; the range is unwired again).
 */
int holdfast_map_protect(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t prot, uint32_t max_prot, uint32_t flags);
int holdfast_map_inherit(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t inheritance);
int holdfast_map_madvise(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t advice);
int holdfast_map_wire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags);
int holdfast_map_unwire(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags);

/*
 * vm_map_stack(9): a stack that may grow down to args->addr, length bytes in
 * all (args has addr, length, prot, max_prot).  What lies below its mapped
 * part is inaccessible until holdfast_map_growstack() is told of an address
 * there.  HF_NO_SPACE: something is there.
 */
int holdfast_map_stack(struct holdfast_map *map,
    const struct holdfast_map_args *args);
int holdfast_map_growstack(struct holdfast_map *map, uint64_t addr);

/*
 * vm_map_lookup(9): the entry that holds `addr`, and the page of its object
 * that an access of that type meets.
 * HF_INVALID_ADDRESS: none there.  HF_PROTECTION_FAILURE.
 */
int holdfast_map_lookup(struct holdfast_map *map, uint64_t addr,
    uint32_t fault_type, struct holdfast_entry *entryp, uint64_t *pindexp);
/* All entries, in a malloc'ed array that the caller frees. */
int holdfast_map_entries(struct holdfast_map *map,
    struct holdfast_entry **entriesp, size_t *np);
/* HF_FAILURE: an invariant is broken; the sentence has its tag. */
int holdfast_map_check(struct holdfast_map *map);
/* Carry out here what others changed since. */
int holdfast_map_refresh(struct holdfast_map *map);

/*
 * Many finds in one packet.  rv[i] has what holdfast_map_find() would have
 * returned for args[i], addr[i] its address.  n <= 256.
 */
int holdfast_map_find_batch(struct holdfast_map *map,
    const struct holdfast_map_args *args, size_t n, int *rv, uint64_t *addr);

/* ---- Status ----------------------------------------------------------- */

struct holdfast_pool_status {
	uint64_t frame_size, frames_total, frames_standby, frames_in_use;
	uint64_t frames_limbo, frames_missing, free_bytes, largest_run;
	uint64_t spans, sessions, tenants, uptime_ms;
	enum holdfast_pin pin;
	bool addresses_known, simulated;
	char degraded[256];
};
struct holdfast_quota {
	uint64_t used, limit, highwater; /* limit UINT64_MAX: none */
};
struct holdfast_tenant_status {
	char tenant[64];
	struct holdfast_quota bytes, fds, requests, sessions;
	uint64_t buffers, maps, entries, tampered;
};
struct holdfast_run {
	uint64_t start, end;
	int domain;
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
};
int holdfast_type_stats(struct holdfast *h, struct holdfast_type_stat **typesp,
    size_t *np);
int holdfast_map_list(struct holdfast *h, struct holdfast_map_item **mapsp,
    size_t *np);

#ifdef __cplusplus
}
#endif

#endif
