/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A vm_map of a tenant, shared by the sessions that are attached to it.
 *
 * Lives until it is destroyed and the last session let go, or until the last
 * session goes.  Calls check what the core would assert, keep the tenant's
 * account, and answer.  Anonymous entries are backed by one sparse file a map,
 * made when somebody first wants to map them; what is deleted is punched out
 * of it.  Loop thread only.  Design: docs/design/server.md.
 */

#include "core/vm_map.h"
#include "proto/limits.h"
#include "server/extent.h"
#include "server/machines.h"
#include "server/object.h"
#include "server/watch.h"

/* Where maps lie unless the client says otherwise; see docs/design/server.md.
 */
#define MAP_DEFAULT_MIN UINT64_C(0x7e8000000000)
#define MAP_DEFAULT_MAX UINT64_C(0x7ec000000000)

/* An operation adds at most this many entries (two clips of one entry). */
#define MAP_ENTRIES_PER_OP 2

#define MAP_PUNCH_INLINE (UINT64_C(1) << 20) /* bytes punched on the loop */

struct map {
	struct watch_list watches; /* of sessions that attached it */
	TAILQ_ENTRY(map) entry;    /* in the tenant's list, if it has a name */
	struct tenant *tenant;
	char name[HOLDFAST_NAME_MAX + 1]; /* "": none */
	vm_map_t vm;                      /* NULL: destroyed */
	struct pmap pmap;
	const struct arch *arch; /* the server's, with the map's machine */
	bool host; /* its machine is this one: it can be mirrored */
	gid_t group;
	unsigned mode; /* nine bits; see server/map_mode.h */
	vm_offset_t min, max;
	unsigned attached;     /* ids that name it, plus calls under way */
	unsigned punching;     /* workers that use base_fd */
	int base_fd;           /* of anonymous entries, or -1 */
	struct map_file *file; /* of a mirrored map, or NULL */
	struct barrier_list barriers; /* changes that wait for processes */
	uint64_t last_ack;            /* number of the last barrier */
	TAILQ_HEAD(, slow) slow; /* faults and forks that wait their turn */
	unsigned copying;        /* superpages, for one of them */
	struct map **subs; /* shown through windows; one attachment each */
	size_t nsubs;
	unsigned nparents; /* maps whose windows show it */
	struct quota_charge charge, entries, bytes, fd;
};

struct map_params {
	const char *name; /* "": none; borrowed */
	vm_offset_t min, max;
	const char *machine; /* "": the host's */
	vm_size_t page_size; /* 0: the machine's smallest */
	bool mirrored;       /* anonymous entries get objects */
	struct workers *workers;
};

/* Create with one attachment. */
int map_create(struct tenant *tenant, const struct arch *arch,
    const struct machines *machines, const struct map_params *params,
    struct map **mapp, struct answer *answer);
/* One more attachment.  REFUSED_UNKNOWN_ID. */
int map_attach(struct tenant *tenant, const char *name, struct map **mapp,
    struct answer *answer);
/* One less; the last removes it. */
void map_detach(struct map *map);
/* Remove entries and name now; ids of it stay until they are detached. */
void map_destroy(struct map *map);

/*
 * Fork: `parent` is of this tenant and mirrored.  One attachment is the
 * caller's.  What the parent shows stays writable until the caller sees to it.
 */
int map_fork(struct map *parent, const char *name, struct map **childp,
    struct answer *answer);

/* One of the calls of vm_map(9) that enter something. */
struct map_enter {
	enum { ENTER_INSERT, ENTER_FIXED, ENTER_FIND, ENTER_FIND_MIN } how;
	struct vm_insert_args args; /* find_space: VMFS_NO_SPACE of the first */
	vm_offset_t default_addr;   /* ENTER_FIND_MIN */
	struct object *object;      /* stays the caller's; NULL: none */
};
int map_enter(struct map *map, const struct map_enter *enter,
    vm_offset_t *addrp, struct answer *answer);

int map_findspace(struct map *map, vm_offset_t start, vm_size_t length,
    vm_offset_t *addrp, struct answer *answer);

/* What a deletion needs before it is carried out. */
int map_delete_check(struct map *map, vm_offset_t start, vm_offset_t end,
    struct answer *answer);
/* true: so much lies in the file that a worker should punch it first. */
bool map_delete_is_large(const struct map *map, vm_offset_t start,
    vm_offset_t end);
/* Any thread.  Give [start, end) of the anonymous file back to the kernel. */
void map_punch(const struct map *map, vm_offset_t start, vm_offset_t end);
int map_delete(struct map *map, vm_offset_t start, vm_offset_t end,
    struct answer *answer);

struct map_lookup {
	struct vm_map_entry_info info;
	vm_pindex_t pindex;
	vm_prot_t prot;
	bool wired;
};
int map_lookup(struct map *map, vm_offset_t addr, vm_prot_t fault_type,
    struct map_lookup *lookupp, struct answer *answer);

/*
 * The descriptor and file offset of what an entry shows.  *fdp is -1 where
 * there is nothing to map (a guard, invented memory).
 */
int map_entry_fd(struct map *map, const struct vm_map_entry_info *info,
    int *fdp, uint64_t *offsetp, struct answer *answer);

/* Room for what one operation may add: two clips, and `length` base bytes. */
int map_afford(struct map *map, vm_size_t length, struct answer *answer);
/* Bring the account up to what the map now holds. */
void map_settle(struct map *map);
/* Refuse a cut through a superpage, which would leave what cannot be mapped. */
int map_check_cut(struct map *map, vm_offset_t at, const char *arg,
    struct answer *answer);

/* ---- map_edit.c: the rest of vm_map(9), with its codes ----------- */

int map_protect(struct map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, vm_prot_t max, int flags, struct answer *answer);
int map_inherit(struct map *map, vm_offset_t start, vm_offset_t end,
    int inheritance, struct answer *answer);
int map_madvise(struct map *map, vm_offset_t start, vm_offset_t end, int advice,
    struct answer *answer);
int map_wire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer);
int map_unwire(struct map *map, vm_offset_t start, vm_offset_t end, int flags,
    struct answer *answer);
int map_stack(struct map *map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow, struct answer *answer);
int map_growstack(struct map *map, vm_offset_t addr, struct answer *answer);
int map_sync(struct map *map, vm_offset_t start, vm_offset_t end, bool syncio,
    bool invalidate, struct answer *answer);
/* vm_map_simplify_entry() on the entry that holds `addr`. */
int map_simplify(struct map *map, vm_offset_t addr, struct answer *answer);
/* Only look: the address wanted, then the address that is free. */
int map_find_aligned(struct map *map, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, vm_offset_t alignment, struct answer *answer);
int map_set_limits(struct map *map, const struct vm_map_limits *limits,
    struct answer *answer);
int map_modflags(struct map *map, uint32_t set, uint32_t clear,
    struct answer *answer);
/* `submap` gets one attachment for as long as the map is there. */
int map_submap(struct map *map, vm_offset_t start, vm_offset_t end,
    struct map *submap, struct answer *answer);
/* Let go of every submap; no entry shows one any more. */
void map_drop_submaps(struct map *map);

/* ---- map_why.c: why the core refused, as a sentence -------------- */

/* Each puts code and sentence into `answer`, and returns the code. */
int map_refuse_enter(struct map *map, int rv, struct answer *answer);
int map_refuse_edit(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    const char *what, struct answer *answer);
/* `asked`: all rights that the call named. */
int map_refuse_protect(struct map *map, int rv, vm_offset_t start,
    vm_offset_t end, vm_prot_t asked, struct answer *answer);
int map_refuse_wire(struct map *map, int rv, vm_offset_t start, vm_offset_t end,
    int flags, struct answer *answer);
int map_refuse_unwire(struct map *map, int rv, vm_offset_t start,
    vm_offset_t end, int flags, struct answer *answer);
int map_refuse_stack(struct map *map, int rv, vm_offset_t addrbos,
    vm_size_t max_ssize, struct answer *answer);
int map_refuse_growstack(struct map *map, int rv, vm_offset_t addr,
    struct answer *answer);

/* ---- map_lost.c -------------------------------------------------- */

/*
 * The memory of [start, end) of the span went bad: tell the session where its
 * map `id` shows it.
 */
void map_tell_lost(struct map *map, struct session *session, uint64_t id,
    const struct span *span, vm_paddr_t start, vm_paddr_t end);
/* Does the entry show bad memory, and where is all of it? */
bool map_is_lost(const struct vm_map_entry_info *info, vm_offset_t *startp,
    vm_offset_t *endp);

/* ---- map_piece.c: where the bytes of a map are ------------------- */

/*
 * A stretch of an entry whose bytes lie together in one file.  Of a map that
 * is not mirrored that is all of it, but for bad memory.
 */
struct map_piece {
	vm_offset_t start, end;
	int fd;          /* borrowed; -1: nothing is there yet, or lost */
	bool lost;       /* its memory went bad: it is not to be mapped */
	uint64_t offset; /* of start in the file, bytes */
	vm_prot_t prot;  /* to map it with */
};

/* The piece from `addr`, a page of the entry, on. */
int map_piece_at(struct map *map, const struct vm_map_entry_info *info,
    vm_offset_t addr, struct map_piece *piecep, struct answer *answer);

/* Pages and references of an entry, as procstat -v counts them. */
struct map_counts {
	uint64_t resident, resident_private;
	unsigned refs, shadows;
};
void map_count(const struct map *map, const struct vm_map_entry_info *info,
    struct map_counts *countsp);

/*
 * Give every anonymous entry in [start, end) that has no object one of its
 * own.  A refusal leaves some of them without.
 */
int map_back_anonymous(struct map *map, vm_offset_t start, vm_offset_t end,
    struct answer *answer);

/*
 * Take the object of the anonymous entry [start, end) away again, which nobody
 * has touched, or will: for a window.  Codes of vm_map_fixed().
 */
int map_unback(struct map *map, vm_offset_t start, vm_offset_t end);

/*
 * What becomes unreachable when [start, end) is deleted, of objects that stay:
 * collected before, given back to the kernel after.  -ENOMEM.
 */
struct map_trim {
	vm_object_t object; /* one reference */
	uint64_t offset, size;
};
struct map_trims {
	struct map_trim *trims;
	size_t n;
};
int map_trims_collect(struct map *map, vm_offset_t start, vm_offset_t end,
    struct map_trims *trims);
/* `commit`: it has been deleted.  Empty afterwards; empty is fine. */
void map_trims_end(struct map_trims *trims, bool commit);

/* ---- map_fork.c -------------------------------------------------- */

/* What keeps a map from being forked, named. */
int map_fork_check(struct map *parent, struct answer *answer);
/* There is no child after all: nothing need be copied. */
void map_fork_failed(struct map *parent);
/* Its objects are shown more than once from now on. */
void map_fork_shared(struct map *parent);

/* ---- map_fault.c ------------------------------------------------- */

struct map_faulted {
	struct map_piece piece;
	struct vm_map_entry_info info;
	unsigned kind; /* enum vm_fault_kind */
	bool moved;    /* others may still show another page there */
};

/* The entry at `addr`, or nothing with start == end.  Takes the map's lock. */
struct vm_map_entry_info map_entry_at(struct map *map, vm_offset_t addr);

/*
 * Resolve an access.  Codes of vm_fault(), REFUSED_QUOTA.  KERN_RESTART,
 * without an answer: it would write to superpages that are shared by copy on
 * write; see map_fault_super.c.
 */
int map_fault(struct map *map, vm_offset_t addr, vm_prot_t access,
    struct map_faulted *faultedp, struct answer *answer);
