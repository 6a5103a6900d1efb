/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the files of arch/linux share.
 *
 * Locks: lp_order makes "free a frame, take it elsewhere" one step, because
 * the kernel's free list is a stack; a turn ends when the frame is taken, not
 * when it is zeroed.  lp_lock guards the inventory and is never held over a
 * system call.  Neither is taken while the other is held.
 */

#include <pthread.h>
#include <sys/types.h>

#include "arch/linux/inventory.h"
#include "arch/linux/linux.h"
#include "arch/linux/sys.h"

/* The pin: io_uring rings used only as tables of long-term pinned buffers. */
#define LINUX_RING_SLOTS    16384u      /* IORING_MAX_REG_BUFFERS */
#define LINUX_RING_SLOT_MAX (1ul << 30) /* bytes a slot can pin */
#define LINUX_RINGS         64          /* 2^20 slots */
/*
 * The standby is several files: slot i is frame i / LINUX_SHARDS of file
 * i % LINUX_SHARDS.  hugetlbfs fills one hole of a file at a time, so threads
 * that take frames back work on different files.
 */
#define LINUX_SHARDS        8
/* A gigantic page, which the kernel can take apart into frames. */
#define LINUX_GIGANTIC      (1ul << 30)
#define LINUX_FRAME         (2ul << 20) /* where a configuration names none */
#define LINUX_PER_BIG(cfg)                                                     \
	(LINUX_GIGANTIC /                                                      \
	    ((cfg)->frame_size != 0 ? (cfg)->frame_size : LINUX_FRAME))
/* Frames of others held at most while looking for our own. */
#define LINUX_FOREIGN_MAX 512
/* Frames of the standby that may be in files of their own. */
#define LINUX_OWN_MAX     64
/* NUMA nodes that a pool over all of them can tell apart. */
#define LINUX_NODES       ARCH_LINUX_NODES

/* Whose turn it is to free a frame and take it elsewhere: order.c. */
enum order_state {
	ORDER_IDLE,
	ORDER_HELD,
	ORDER_TAKING,
};

struct order {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	enum order_state state; /* (l) */
	uint64_t turn;          /* (l) of which turn */
	size_t until; /* (l) TAKING: over when fewer huge pages are free */
};

/* Helpers for large spans: team.c. */
#define LINUX_HELPERS 15
#define LINUX_TEAM_FRAMES                                                      \
	4 /* spans of fewer frames are not worth waking one                    \
	   */

struct team_job;

struct team {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t done;
	struct team_job *jobs; /* (l) */
	unsigned wanted;       /* (c) */
	unsigned nthreads;     /* (l) */
	bool failed;           /* (l) no more threads were to be had */
	bool stop;             /* (l) */
	pthread_t threads[LINUX_HELPERS];
};

struct linux_pins {
	pthread_mutex_t lock;
	size_t nrings;          /* (c) */
	int rings[LINUX_RINGS]; /* (c) */
	uint32_t *free;         /* (l) stack of slots nobody uses */
	size_t nfree;           /* (l) */
};

/* Where a frame of a span is. */
enum frame_state {
	FRAME_OUT,     /* in the span, or withheld */
	FRAME_IN_SLOT, /* has not left the standby yet */
	FRAME_BACK,    /* in the standby again, or given up as lost */
};

enum span_state {
	SPAN_LIVE,
	SPAN_LIMBO,
};

/* Whoever has the fd can neither grow nor seal the file: see span.c. */
#define SPAN_SEALS (F_SEAL_GROW | F_SEAL_SEAL)

/*
 * A file for the one frame of a slot, made as a span's is and never shown: it
 * can become the span without another round through the kernel.
 */
struct own_file {
	int fd;
	unsigned char *va; /* NULL: the slot has none */
};

struct arch_span {
	struct arch_span *next;  /* (p) lp_lock; all spans of the pool */
	struct arch_span *prev;  /* (p) */
	struct linux_pool *pool; /* (c) */
	enum span_state state;   /* (p) */
	int fd;               /* (c) the span's memfd; -1: see span_expect() */
	unsigned char *va;    /* where this process maps it, or NULL */
	size_t nframes;       /* (c) */
	vm_paddr_t pa;        /* (c) */
	int domain;           /* (c) */
	enum arch_pin pin;    /* who unpins: the one that recycles */
	bool verified;        /* (c) once assembled */
	size_t nout;          /* (p) frames not yet back in the standby */
	size_t nevents;       /* (p) event records reserved for it */
	unsigned nbusy;       /* searches that did not find all */
	size_t nslots;        /* pin slots in use */
	uint32_t *slots;      /* pin slots */
	uint32_t *from;       /* by frame: the standby slot it came from */
	unsigned char *where; /* (p) by frame: enum frame_state */
};

/* The kernel's books of huge pages on one node. */
struct linux_node {
	int id;         /* (c) NUMA node; -1: the host as a whole */
	int nr_fd;      /* (c) nr_hugepages */
	int free_fd;    /* (c) free_hugepages */
	int big_fd;     /* (c) nr_hugepages of gigantic pages, or -errno */
	int demote_fd;  /* (c) their demote, or -errno */
	bool writable;  /* (c) nr_fd is open for writing */
	ssize_t raised; /* (r) nr_hugepages was raised by so much; below 0:
			 * gigantic pages that were taken apart */
};

struct linux_pool {
	const struct linux_sys *lp_sys; /* (c) */
	vm_size_t lp_frame_size;        /* (c) bytes */
	unsigned lp_page_shift;         /* (c) log2 of the kernel's base page */
	int lp_node;                    /* (c) configured node, or -1 */
	bool lp_numa;                   /* (c) more than one node has memory */
	bool lp_addresses;              /* (c) pagemap tells addresses */
	enum arch_linux_pin_want lp_pin_want; /* (c) */
	enum arch_pin lp_pin;                 /* (c) what spans can get */
	const char *lp_degraded;              /* (c) one sentence, or NULL */

	int lp_standby[LINUX_SHARDS];        /* (c) memfds of the standby */
	unsigned char *lp_map[LINUX_SHARDS]; /* (c) each mapped read-only */
	/* By slot, of whoever has it BUSY; HELD ones (p). */
	struct own_file *lp_own;
	vm_size_t lp_map_size;     /* (c) of each, bytes */
	int lp_pagemap;            /* (c) /proc/self/pagemap, or -errno */
	int lp_kpageflags;         /* (c) /proc/kpageflags, or -errno */
	int lp_zero;               /* (c) /dev/zero */
	int lp_free_fd;            /* (c) free_hugepages of all of it, or -1 */
	bool lp_may_write_nr;      /* (c) nr_hugepages may be changed */
	pthread_mutex_t lp_resize; /* (r) one change of size at a time */
	struct linux_node lp_nodes[LINUX_NODES]; /* its nodes, or the host */
	size_t lp_nnodes;                        /* (c) */
	size_t lp_max;                           /* (c) frames it may grow to */
	bool lp_may_raise;                       /* (c) */
	bool lp_prefer_runs;                     /* (c) */

	struct order lp_order; /* free here, take there */
	/* One search for withheld frames at a time; before the others. */
	pthread_mutex_t lp_search;
	pthread_mutex_t lp_lock;
	struct inventory lp_inv;            /* (p) lp_lock */
	struct arch_span *lp_spans;         /* (p) */
	size_t lp_nspans;                   /* (p) */
	size_t lp_nlimbo;                   /* (p) spans in limbo */
	struct arch_linux_counts lp_counts; /* (p) */
	struct arch_event *lp_events; /* (p) oldest first, from lp_event_head */
	size_t lp_event_head;         /* (p) */
	size_t lp_event_tail;         /* (p) */
	size_t lp_event_cap;          /* (p) records allocated */
	size_t lp_event_reserved;     /* (p) promised to live spans */

	struct linux_pins lp_pins;
	struct team lp_team;

	struct linux_pool *lp_big; /* (c) gigantic pages; NULL: none */
	pthread_mutex_t lp_demote; /* one is taken apart at a time */
};

/* events.c: the queue of what happened on its own.  lp_lock held. */

/* Make sure `n` more events can be pushed.  -ENOMEM. */
int events_reserve_locked(struct linux_pool *lp, size_t n);
void events_unreserve_locked(struct linux_pool *lp, size_t n);
/* Cannot fail: a record was reserved and stays so. */
void events_push_locked(struct linux_pool *lp, enum arch_event_kind kind,
    vm_paddr_t pa, int domain);
bool events_pop_locked(struct linux_pool *lp, struct arch_event *evp);
/* A frame, HELD by now, takes the place of a missing one. */
void events_gained_locked(struct linux_pool *lp, const struct arch_frame *frame,
    bool grown);

/* pagemap.c */

/* Map the pages of [va, va + len) that the file has.  -errno as madvise. */
int pagemap_touch(const struct linux_pool *lp, void *va, size_t len,
    bool writable);
/*
 * Unmap them here; the file keeps them.  What fails (before Linux 5.18) only
 * makes it slower to punch them, which then interrupts other processors.
 */
void pagemap_forget(const struct linux_pool *lp, void *va, size_t len);
/*
 * The frame behind `va`.  -ENODATA: none is mapped there.  -EPERM: the kernel
 * hides addresses.
 */
int pagemap_read(const struct linux_pool *lp, const void *va, vm_paddr_t *pap);

/* Has the kernel retired the frame for a memory error?  false: not known. */
bool pagemap_frame_is_poisoned(const struct linux_pool *lp, vm_paddr_t pa);
/* Is it a huge page still, in use or free?  true: or not known. */
bool pagemap_frame_is_huge(const struct linux_pool *lp, vm_paddr_t pa);

/* memfd.c */

/* A hugetlb memfd of `nframes`, mode 0600.  `seals`: F_SEAL_* or 0. */
int memfd_frames(const struct linux_pool *lp, const char *name, size_t nframes,
    int seals, int *fdp);
int memfd_base(const struct linux_pool *lp, vm_size_t size, int *fdp);
/*
 * Take a frame of the kernel's into the hole at `index`, which is mapped at
 * `va`, `writable` or for reading.  -ENOSPC: none.
 */
int memfd_take(const struct linux_pool *lp, int fd, size_t index, void *va,
    bool writable);
int memfd_punch(const struct linux_pool *lp, int fd, size_t index);
int memfd_cut(const struct linux_pool *lp, int fd, size_t nframes);

/* pin.c */

/* Rings for `nslots` slots.  Needs CAP_IPC_LOCK to be free of the limit. */
int pins_init(struct linux_pool *lp, size_t nslots);
void pins_fini(struct linux_pool *lp);
/* How many frames at a time a span of so many is pinned; at least 1. */
size_t pins_frames(const struct linux_pool *lp, size_t nframes);
/*
 * Pin `n` frames of the span from `first` on, pins_frames() or the rest.  May
 * be called by several threads.  The caller sets span->pin when all are.
 */
int pins_take(struct linux_pool *lp, struct arch_span *span, size_t first,
    size_t n);
/* Unpin all that is pinned. */
void pins_drop(struct linux_pool *lp, struct arch_span *span);

/* numa.c */
bool numa_has_nodes(const struct linux_pool *lp);
/* The nodes that have memory, up to `max`; 0: cannot tell. */
size_t numa_nodes(const struct linux_pool *lp, int *nodes, size_t max);
/* The node of the frame mapped at `va`. */
int numa_node_of(const struct linux_pool *lp, void *va);
/* Let this thread's next frames come from `node` only; -1: as before. */
int numa_bind(const struct linux_pool *lp, int node);

/* sysfs.c: `node` is a NUMA node, or -1 for all that the pool may use. */
int sysfs_open(struct linux_pool *lp);
void sysfs_close(struct linux_pool *lp);
/* May the pool have frames there? */
bool sysfs_has_node(const struct linux_pool *lp, int node);
/* Bit n: the pool may have frames on node n. */
uint64_t sysfs_nodes(const struct linux_pool *lp);
/* How many frames the kernel has free there. */
int sysfs_free(const struct linux_pool *lp, int node, size_t *np);
/* On all nodes, in one call; SIZE_MAX: cannot tell. */
size_t sysfs_nfree(const struct linux_pool *lp);
/* By how much nr_hugepages is above what it was. */
ssize_t sysfs_raised(const struct linux_pool *lp);
/* Raise nr_hugepages until `nframes` are free; notes what must be undone. */
int sysfs_raise(struct linux_pool *lp, int node, size_t nframes);
/*
 * Raise nr_hugepages by at least `nframes` in gigantic pages that are taken
 * apart at once, so that the frames are neighbours.  Returns how many frames
 * came; 0 where the kernel has no gigantic pages to give.
 */
size_t sysfs_raise_runs(struct linux_pool *lp, int node, size_t nframes);
/* Let the kernel take one of its free gigantic pages there apart. */
bool sysfs_take_apart(struct linux_pool *lp, struct linux_pool *big, int node);
/* Undo up to `n` of what was raised there. */
void sysfs_lower(struct linux_pool *lp, int node, size_t n);
/* Leave nr_hugepages as it was. */
void sysfs_restore(struct linux_pool *lp);

/* order.c */
void order_init(struct order *order);
void order_fini(struct order *order);
/* Wait for a turn; from then on this thread may free frames. */
void order_enter(struct linux_pool *lp);
/* This thread has freed what it will; all it still does is take one frame. */
uint64_t order_pass(struct linux_pool *lp);
/* It has taken it, or could not. */
void order_leave(struct linux_pool *lp, uint64_t turn);

/* team.c */
void team_init(struct team *team, unsigned nhelpers);
void team_fini(struct team *team);
/* Call run(arg) here and in each helper; returns when all have returned. */
void team_run(struct team *team, void (*run)(void *arg), void *arg);

/* standby.c: frames in and out of the standby file. */

/*
 * Let the empty slot's next frame come into a file of its own, if there may be
 * another; if not, or where that fails, it comes into the standby's.
 */
void standby_own(struct linux_pool *lp, uint32_t slot);
/* No frame came. */
void standby_disown(struct linux_pool *lp, uint32_t slot);
/* Is the frame at `pa` in the standby, in a file of its own?  lp_lock held. */
bool standby_is_own_locked(const struct linux_pool *lp, vm_paddr_t pa);
/*
 * Make the own file of the first frame's slot the file of the span, which has
 * none yet.  false: the slot has no own file.
 */
bool standby_adopt(struct linux_pool *lp, struct arch_span *span);

/*
 * Move the frame in standby slot `slot` to `span` at `index`: one step as far
 * as this process goes.  Once it has left the slot, whatever is returned, it is
 * FRAME_OUT.  -ENOSPC: another process took it.
 */
int standby_move_out(struct linux_pool *lp, uint32_t slot,
    struct arch_span *span, size_t index);
/*
 * Take one frame into the empty slot `slot`; before that cut `fd` by one frame
 * (unless it is -1): *keepp, which only the owner of a turn may look at, is how
 * many the file has left.  -ENOSPC: the kernel has none.
 */
int standby_move_in(struct linux_pool *lp, uint32_t slot, int domain, int fd,
    size_t *keepp);
/* Which frame did the slot get? */
int standby_identify(struct linux_pool *lp, uint32_t slot,
    struct arch_frame *framep);
/* Give the slot's frame back to the kernel and the slot to the inventory. */
void standby_give_back(struct linux_pool *lp, uint32_t slot);
/* Fill the standby; on an error the caller calls standby_close(). */
int standby_open(struct linux_pool *lp, const struct arch_linux_config *cfg);
void standby_close(struct linux_pool *lp);

/* reclaim.c */

/*
 * Cut the span's file to nothing and take its frames back into the standby.
 * Returns how many are still out.
 */
size_t reclaim_span(struct linux_pool *lp, struct arch_span *span);
/*
 * Take one frame of the kernel's on that node.  1: it is nobody's, its slot is
 * BUSY.  0: it was one of the pool's and is where it belongs.  -ENOSPC: the
 * kernel has none, or there is no slot.
 */
int reclaim_take(struct linux_pool *lp, int node, uint32_t *slotp,
    struct arch_frame *framep);
/* Replace missing frames; returns how many came. */
int reclaim_missing(struct linux_pool *lp);

/* big.c: gigantic pages beside the frames of the pool they belong to. */
void big_pool_info(void *ctx, struct arch_pool_info *infop);
bool big_pool_event(void *ctx, struct arch_event *evp);
int big_pool_refill(void *ctx);
int big_pool_frames(void *ctx, struct arch_frame *frames, size_t max,
    size_t *np);
int big_pool_grow(void *ctx, const struct arch_grow *grow);
int big_pool_shrink(void *ctx, vm_paddr_t pa, size_t nframes);
int big_pool_demote(void *ctx, vm_paddr_t pa);
int big_span_assemble(void *ctx, vm_paddr_t pa, size_t nframes,
    struct arch_span **spanp);

/* linux.c: of one size. */
void linux_pool_info(void *ctx, struct arch_pool_info *infop);
int linux_pool_frames(void *ctx, struct arch_frame *frames, size_t max,
    size_t *np);
bool linux_pool_event(void *ctx, struct arch_event *evp);

/* resize.c */
int linux_pool_grow(void *ctx, const struct arch_grow *grow);
int linux_pool_shrink(void *ctx, vm_paddr_t pa, size_t nframes);

/* fill.c */

/*
 * Move the span's frames from the standby to its file, pin them and read them
 * back; adopts an own file.  After an error some are OUT, and some pinned.
 * -EAGAIN: another process was in the way.
 */
int fill_span(struct linux_pool *lp, struct arch_span *span);

/* span.c */
/* Is the frame at `i` where it was?  -EAGAIN: no.  Others: cannot tell. */
int span_frame_check(const struct linux_pool *lp, const struct arch_span *span,
    size_t i);
int linux_span_assemble(void *ctx, vm_paddr_t pa, size_t nframes,
    struct arch_span **spanp);
void linux_span_info(void *ctx, struct arch_span *span,
    struct arch_span_info *infop);
int linux_span_verify(void *ctx, struct arch_span *span, size_t *nbadp);
int linux_span_zero(void *ctx, struct arch_span *span, vm_size_t off,
    vm_size_t len);
int linux_span_recycle(void *ctx, struct arch_span *span);
/*
 * Frames that are the pool's as soon as the kernel gives them: like a span all
 * of whose frames are out.  -ENOMEM.
 */
int span_expect(struct linux_pool *lp, vm_paddr_t pa, size_t nframes,
    int domain, struct arch_span **spanp);
/* They will not come; it is gone. */
void span_expect_none(struct linux_pool *lp, struct arch_span *span);
/* What is still out is lost; the span is gone. */
void span_give_up(struct linux_pool *lp, struct arch_span *span);
/* Unmap, unpin and close every span that is left. */
void span_close_all(struct linux_pool *lp);
int linux_span_check(void *ctx, struct arch_span *span, size_t first, size_t n,
    unsigned char *states);
/*
 * Frame `i` has left its slot, for the span or for a thief.  Said before the
 * turn passes on: from then on a search may come upon the frame, and has to
 * know whose it is.
 */
void span_frame_left(struct linux_pool *lp, struct arch_span *span, size_t i);
/* Is `pa` a frame of the span that has left the standby?  Its index, or -1. */
ssize_t span_expects(const struct linux_pool *lp, const struct arch_span *span,
    vm_paddr_t pa);
