/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOLDFAST_MAP_H
#define HOLDFAST_MAP_H

/*
 * libholdfast: address maps, vm_map(9), that processes share.
 *
 * Included by holdfast.h, whose rules on results, ownership, threads and fork
 * hold here too.
 *
 *	struct holdfast_map_options options = { .name = "shared" };
 *	struct holdfast_map_args args = { .length = 65536,
 *	    .prot = HF_PROT_RW, .max_prot = HF_PROT_RW,
 *	    .find_space = HF_VMFS_ANY_SPACE };
 *	struct holdfast_map *map;
 *	uint64_t addr;
 *
 *	if (holdfast_map_create(h, &options, &map) != HF_OK ||
 *	    holdfast_map_find(map, &args, &addr) != HF_OK)
 *		errx(1, "%s", holdfast_error(h));
 *	memset((void *)addr, 0, args.length);
 *
 * Another process of the tenant attaches by name and sees the same bytes at
 * the same address, raw pointers and all.
 */

#include "holdfast.h"

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast_map;

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

/* MAP_* of vm_map_insert(9), for holdfast_map_args.cow. */
#define HF_ENTER_SHARE             0x000001u /* HF_INHERIT_SHARE */
#define HF_ENTER_COPY_ON_WRITE     0x000002u
#define HF_ENTER_NOFAULT           0x000004u
#define HF_ENTER_PREFAULT          0x000008u /* populate it in this process */
#define HF_ENTER_PREFAULT_PARTIAL  0x000010u /* its first 96 pages */
#define HF_ENTER_NOSYNC            0x000020u
#define HF_ENTER_EXCL              0x000040u /* fixed: not over what is there */
#define HF_ENTER_GUARD             0x000080u /* prot and max_prot 0, no object */
#define HF_ENTER_NOCORE            0x000100u
#define HF_ENTER_WRITECOUNT        0x000400u
#define HF_ENTER_REMAP             0x000800u /* with HF_VMFS_NO_SPACE: replace */
#define HF_ENTER_STACK_AREA        0x001000u /* as holdfast_map_stack() */
#define HF_ENTER_VN_EXEC           0x040000u /* merges with nothing */
/* Never to be cut within the machine's page size n: 1 the next after base
 * pages, up to 3. */
#define HF_ENTER_SPLIT_BOUNDARY(n) ((uint32_t)(n) << 19)
#define HF_ENTER_NO_HINT           0x200000u

#define HF_PROTECT_SET_PROT    1u
#define HF_PROTECT_SET_MAXPROT 2u
#define HF_PROTECT_GROWSDOWN   4u
#define HF_WIRE_NOHOLES        0u
#define HF_WIRE_HOLESOK        2u
#define HF_WIRE_WRITE          4u
#define HF_WIRE_SYSTEM         0x100u /* not the user's: nobody can delete it */
#define HF_SYNC_IO             1u
#define HF_SYNC_INVALIDATE     2u
#define HF_ADVICE_NORMAL       0u
#define HF_ADVICE_RANDOM       1u
#define HF_ADVICE_SEQUENTIAL   2u
#define HF_ADVICE_WILLNEED     3u
#define HF_ADVICE_DONTNEED     4u
#define HF_ADVICE_FREE         5u
#define HF_ADVICE_NOSYNC       6u
#define HF_ADVICE_AUTOSYNC     7u
#define HF_ADVICE_NOCORE       8u
#define HF_ADVICE_CORE         9u

/* Flags of a map, for holdfast_map_modflags(). */
#define HF_MAP_WIREFUTURE    0x01u
#define HF_MAP_ASLR          0x08u
#define HF_MAP_ASLR_IGNSTART 0x10u
#define HF_MAP_WXORX         0x40u
#define HF_MAP_ASLR_STACK    0x80u

/* What this session may do to a map: digits of its mode. */
#define HF_MAP_READ   4u
#define HF_MAP_CHANGE 2u

/*
 * A map belongs to the uid that created it and to a group, and has a mode like
 * a file's: of the first class that fits (owner, group, others) `r` lets a
 * session attach and look, `w` change.  uid 0 may everything.
 */
struct holdfast_map_options {
	const char *name; /* NULL: nobody else can attach */
	uint64_t min;     /* 0 with max 0: the service's default range */
	uint64_t max;     /* exclusive */
	bool no_mirror;   /* only talk about it; mmap nothing in this process */
	const char *machine; /* create, with no_mirror: of another machine than
				the daemon's; NULL: the daemon's */
	uint64_t page_size;  /* create, of that machine; 0: its usual one */
	bool mirrored;       /* create, with no_mirror: others will mirror it */
	uint32_t mode;       /* create; 0: 0600; owners keep their 0400 */
	bool group_set;      /* create: else the caller's own group */
	uint32_t group;      /* a gid of the caller's */
	bool owner_set;      /* attach: else a map of the caller's own */
	uint32_t owner;      /* uid */
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
	/* holdfast_map_entries_counted() only; pages, as procstat -v has them
	 */
	uint64_t resident;         /* that there are behind it */
	uint64_t resident_private; /* of those, nobody else's */
	uint32_t refs;             /* to its object */
	uint32_t shadows;          /* of its object */
	bool lost;                 /* some of it shows memory that went bad */
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
	uint32_t cow; /* HF_ENTER_* */
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
 * HF_EXISTS, HF_UNKNOWN_ID (no such name), HF_DENIED (the map's mode, or a
 * group that is not the caller's).  -EEXIST: the range
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
 * HF_DENIED: its owner and uid 0 only.  HF_INVALID_ARGUMENT: it is a submap.
 */
int holdfast_map_destroy(struct holdfast_map *map);

uint64_t holdfast_map_min(const struct holdfast_map *map);
uint64_t holdfast_map_max(const struct holdfast_map *map);
/* HF_MAP_READ, perhaps with HF_MAP_CHANGE; settled when it was attached. */
uint32_t holdfast_map_access(const struct holdfast_map *map);

/*
 * Give it another mode (0400 to 0777, with 0400 in it) or another group (a gid
 * of the caller's).  Sessions that have it attached keep what they may.
 * A map and its forks share one file, so who may attach to one of them can, by
 * its descriptor, reach the bytes of all.
 * HF_DENIED: its owner and uid 0 only; a group that is not the caller's.
 */
int holdfast_map_chmod(struct holdfast_map *map, uint32_t mode);
int holdfast_map_chgrp(struct holdfast_map *map, uint32_t group);

/*
 * What every call below has in common: addresses and lengths are bytes and
 * multiples of the page size; a range is [start, end); a refusal changes
 * nothing, here or in the daemon, and holdfast_error() names the argument and
 * its limit.  HF_DENIED: the map is attached for reading only, and the call
 * would change it.  HF_UNKNOWN_ID: somebody has destroyed it.
 */

/*
 * vm_map_insert(9), vm_map_fixed(9), vm_map_find(9), vm_map_find_min(9),
 * vm_map_remove(9), with their codes, and HF_QUOTA.  fixed takes the place of
 * what is there; find_min takes, where nothing fits at or above args->addr,
 * the lowest place from default_addr on.  What a call changes in the map it
 * has also changed in this process when it returns.  -ENOMEM and other errors
 * of mmap(2): this process could not follow; the map is as it was, but for
 * fixed.  HF_WOULD_BLOCK: a wiring of the system is in the way.
 */
int holdfast_map_insert(struct holdfast_map *map,
    const struct holdfast_map_args *args);
int holdfast_map_fixed(struct holdfast_map *map,
    const struct holdfast_map_args *args);
int holdfast_map_find(struct holdfast_map *map,
    const struct holdfast_map_args *args, uint64_t *addrp);
int holdfast_map_find_min(struct holdfast_map *map,
    const struct holdfast_map_args *args, uint64_t default_addr,
    uint64_t *addrp);
int holdfast_map_delete(struct holdfast_map *map, uint64_t start, uint64_t end);

/*
 * vm_map_findspace(9), vm_map_find_aligned(9): only look for `length` free
 * bytes, at or above an address; aligned to a power of two of at least the
 * page size, below max_addr (0: anywhere).  HF_NO_SPACE.
 */
int holdfast_map_findspace(struct holdfast_map *map, uint64_t start,
    uint64_t length, uint64_t *addrp);
int holdfast_map_find_aligned(struct holdfast_map *map, uint64_t addr,
    uint64_t length, uint64_t max_addr, uint64_t alignment, uint64_t *addrp);

/*
 * vm_map_protect(9), vm_map_inherit(9), vm_map_madvise(9), vm_map_wire(9) and
 * vm_map_unwire(9) with HF_PROTECT_*, HF_INHERIT_*, HF_ADVICE_*, HF_WIRE_*.
 *
 * What they become in this process: mprotect(2); children that are forked
 * later have the range not at all for HF_INHERIT_NONE, zeroes of their own for
 * _ZERO, and share it otherwise (fork(2) cannot copy shared memory:
 * holdfast_map_fork() does); madvise(2) where it has the advice; wiring
 * populates and, base pages, mlock(2)s (-ENOMEM, -EPERM: RLIMIT_MEMLOCK; the
 * range is unwired again).  Other processes that map the range, now or later,
 * do the same; there RLIMIT_MEMLOCK only means that they lock less.
 * Codes: those of the manual page; HF_QUOTA.
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
 * vm_map_sync(9), also known as vm_map_clean, with HF_SYNC_*.  There is no
 * pager: nothing is written, but the range is checked.  HF_INVALID_ADDRESS: a
 * hole.  HF_INVALID_ARGUMENT: to be invalidated, and wired by the user.
 */
int holdfast_map_sync(struct holdfast_map *map, uint64_t start, uint64_t end,
    uint32_t flags);

/*
 * vm_map_submap(9): make [start, end), one entry without an object, a window
 * to the same addresses of `submap`, another map of the same owner, machine
 * and connection.  It lives on at least as long as the map.  In memory a window
 * is inaccessible.  HF_INVALID_ARGUMENT: not such an entry, or windows nest.
 */
int holdfast_map_submap(struct holdfast_map *map, uint64_t start, uint64_t end,
    struct holdfast_map *submap);
/*
 * vm_map_simplify_entry(9): merge the entry that holds `addr` with neighbours
 * that agree with it.  HF_INVALID_ADDRESS: none holds it.
 */
int holdfast_map_simplify(struct holdfast_map *map, uint64_t addr);

/*
 * vm_map_modflags(9) with HF_MAP_WIREFUTURE ...: set first, then clear.
 * HF_INVALID_ARGUMENT: other flags.
 */
int holdfast_map_modflags(struct holdfast_map *map, uint32_t set,
    uint32_t clear);

/* Limits of a map, 0 for none; they bind vm_map(9), beside the quota. */
#define HF_LIMIT_VMEM         0x01u
#define HF_LIMIT_STACK        0x02u
#define HF_LIMIT_MEMLOCK      0x04u
#define HF_LIMIT_SWAP         0x08u
#define HF_LIMIT_NENTRIES     0x10u
#define HF_LIMIT_OVERCOMMIT   0x20u
#define HF_LIMIT_CLUSTER_ANON 0x40u
#define HF_LIMIT_STACK_GUARD  0x80u
struct holdfast_map_limits {
	uint64_t vmem;         /* bytes in entries that are no guards */
	uint64_t stack;        /* bytes a stack may grow to */
	uint64_t memlock;      /* bytes wired by the user */
	uint64_t swap;         /* bytes reserved, where overcommit has bit 0 */
	uint64_t nentries;     /* entries */
	uint32_t overcommit;   /* vm.overcommit of tuning(7): 0 to 7 */
	uint32_t cluster_anon; /* 0 never, 1 without a hint, 2 always */
	uint64_t stack_guard;  /* bytes of guard below a stack, whole pages */
};
/*
 * Set those of *limits that `set` (HF_LIMIT_*) names; then *limits is what the
 * map has.  HF_INVALID_ARGUMENT: overcommit, cluster_anon, stack_guard.
 */
int holdfast_map_limits(struct holdfast_map *map, uint32_t set,
    struct holdfast_map_limits *limits);

/* vm_map_min(9), _max, the time stamp, and the rest of a map as a whole. */
struct holdfast_map_stat {
	char name[HF_NAME_MAX + 1];
	uint64_t min, max;
	uint64_t size; /* bytes in entries that are no guards */
	uint64_t nentries;
	uint64_t timestamp;  /* +1 with each exclusive lock */
	uint64_t reserved;   /* bytes */
	uint64_t user_wired; /* bytes */
	uint64_t sessions;   /* attachments, and windows to it */
	uint32_t owner, group, mode;
	uint32_t access; /* what this session may */
};
int holdfast_map_stat(struct holdfast_map *map,
    struct holdfast_map_stat *statp);

/*
 * vm_map_lookup(9): the entry that holds `addr`, and the page of its object
 * that an access of that type meets.
 * HF_INVALID_ADDRESS: none there.  HF_PROTECTION_FAILURE.
 */
int holdfast_map_lookup(struct holdfast_map *map, uint64_t addr,
    uint32_t fault_type, struct holdfast_entry *entryp, uint64_t *pindexp);
/*
 * vm_map_lookup_entry(9).  *foundp: *entryp holds `addr`; else *entryp is its
 * predecessor, all 0 where there is none.
 */
int holdfast_map_lookup_entry(struct holdfast_map *map, uint64_t addr,
    bool *foundp, struct holdfast_entry *entryp);
/*
 * vm_map_check_protection(9): may all of the range be accessed so?
 * vm_map_check_boundary(9): does it cut no superpage that must stay whole?
 */
int holdfast_map_check_protection(struct holdfast_map *map, uint64_t start,
    uint64_t end, uint32_t prot, bool *truthp);
int holdfast_map_check_boundary(struct holdfast_map *map, uint64_t start,
    uint64_t end, bool *truthp);
/* All entries, in a malloc'ed array that the caller frees. */
int holdfast_map_entries(struct holdfast_map *map,
    struct holdfast_entry **entriesp, size_t *np);
/* The same, counted: slower. */
int holdfast_map_entries_counted(struct holdfast_map *map,
    struct holdfast_entry **entriesp, size_t *np);
/* HF_FAILURE: an invariant is broken; the sentence has its tag. */
int holdfast_map_check(struct holdfast_map *map);
/* Carry out here what others changed since. */
int holdfast_map_refresh(struct holdfast_map *map);

/*
 * Learn of what others change in the map.  From now on holdfast_fd() becomes
 * readable when they do, and holdfast_dispatch() carries it out here.
 */
int holdfast_map_watch(struct holdfast_map *map);
/*
 * Carry out what others have changed in watched maps so far, without waiting.
 * Call it when holdfast_fd() is readable, and, as an event may have come along
 * with another call's reply, when holdfast_pending().  A map that was
 * destroyed becomes all inaccessible.  -EPIPE ...: as any call.
 */
int holdfast_dispatch(struct holdfast *h);
bool holdfast_pending(const struct holdfast *h);

/*
 * vmspace_fork(9): a second map over the same range, entry by entry as
 * inheritance says.  HF_INHERIT_COPY: what either of the two writes from now on
 * the other does not see; pages are shared until then.  The parent must have
 * been created to be mirrored, and be this user's.
 *
 * options->name, mode and group are the child's, by default the parent's mode
 * and group.  The child is attached, but not mapped, here: its addresses are
 * the parent's.  Another process attaches it by name.
 *
 * From now on a write to what is shared is a fault (holdfast_map_fault()) in
 * every process that has one of the two mapped: each calls
 * holdfast_map_handle_faults() first, unless it only reads.  A process with
 * threads that write while it forks must do so, too.
 *
 * When it returns, every process that mirrors the parent has let go of writing
 * to what is shared; one that does not answer in time (with a handler, or in
 * holdfast_dispatch()) was disconnected.
 * HF_EXISTS, HF_QUOTA, HF_RESOURCE_SHORTAGE, HF_DENIED; HF_INVALID_ARGUMENT:
 * not mirrored, or something in it cannot be forked, which the sentence names.
 */
int holdfast_map_fork(struct holdfast_map *map,
    const struct holdfast_map_options *options, struct holdfast_map **childp);

/*
 * vm_fault(9): have an access of type `access` (HF_PROT_*) to `addr` succeed:
 * copy on write, grow a stack, map here what another process has entered.
 * HF_INVALID_ADDRESS, HF_PROTECTION_FAILURE, HF_QUOTA, HF_RESOURCE_SHORTAGE.
 */
int holdfast_map_fault(struct holdfast_map *map, uint64_t addr,
    uint32_t access);

/*
 * Have every access of this process to the map that needs it resolved in that
 * way, from a handler of SIGSEGV; until the map is let go.
 *
 * The handler asks a thread of the library's, which has a connection of its
 * own, and waits.  A fault that is not the map's, or that is refused, goes to
 * the handler that was there before; so install your own before the first call
 * of this, and leave SIGSEGV alone afterwards.  A thread that runs on a stack
 * in the map needs sigaltstack(2).  In a child of fork(2) faults are passed on.
 * -EEXIST: it does already.  -EMFILE: 64 maps do.  HF_INVALID_ARGUMENT: the map
 * is not mirrored here.  As holdfast_connect(), and as pthread_create(3).
 */
int holdfast_map_handle_faults(struct holdfast_map *map);

/*
 * Many finds in one packet.  rv[i] has what holdfast_map_find() would have
 * returned for args[i], addr[i] its address.  n <= 256.
 */
int holdfast_map_find_batch(struct holdfast_map *map,
    const struct holdfast_map_args *args, size_t n, int *rv, uint64_t *addr);

#ifdef __cplusplus
}
#endif

#endif
