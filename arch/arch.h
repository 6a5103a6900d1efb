/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The operating system on one page: where metadata and frames come from.
 *
 * A back end is a table of calls and a context.  arch/linux holds real huge
 * pages, arch/sim invents addresses and counts.  core/ uses only the metadata
 * calls; the server uses all of them, the span calls on worker threads.
 * Design: docs/design/pool.md.
 *
 * Every call returns 0 or -errno.  A frame is one huge page.  Spans are opaque
 * here; struct arch_span_info says what is known of one.  A pool may have big
 * frames beside the others: huge pages of a larger size, each as good as
 * big_size / frame_size consecutive frames.
 */

#include "arch/machine.h"
#include "core/vm.h"

struct arch_span;

enum arch_pin {
	ARCH_PIN_NONE,     /* nothing holds the frames in place */
	ARCH_PIN_MLOCK,    /* mlock(2) only: base pages stay resident */
	ARCH_PIN_LONGTERM, /* FOLL_LONGTERM: the kernel will not move them */
};

struct arch_frame {
	vm_paddr_t pa; /* first byte */
	int domain;    /* NUMA node */
};

enum arch_event_kind {
	ARCH_FRAME_LOST,   /* left the standby without our doing */
	ARCH_FRAME_GAINED, /* came to the standby in place of another */
	ARCH_SPAN_CHANGED, /* a span came back with other frames than it had */
};

struct arch_event {
	enum arch_event_kind kind;
	struct arch_frame frame;
	vm_size_t size; /* bytes in the frame */
	bool grown;     /* GAINED: because of pool_grow() */
};

/* What span_check() finds of one frame. */
enum arch_frame_state {
	ARCH_FRAME_SOUND,     /* where it was when the span was assembled */
	ARCH_FRAME_ELSEWHERE, /* punched, truncated or moved by a holder */
	ARCH_FRAME_POISONED,  /* the kernel retired it: its memory is bad */
};

/* What pool_grow() is asked for. */
struct arch_grow {
	vm_size_t frame_size; /* bytes; 0: the pool's frame_size */
	int node;             /* NUMA node; -1: any */
	size_t nframes;
};

struct arch_pool_info {
	vm_size_t frame_size; /* bytes */
	size_t nstandby;      /* frames nobody owns */
	size_t nspans;        /* spans that exist, limbo included */
	size_t nlimbo;        /* spans whose frames the kernel withholds */
	size_t nmissing;      /* frames the pool should have and has not */
	enum arch_pin pin;    /* what span_assemble can reach */
	bool addresses_known; /* physical addresses can be read */
	vm_size_t big_size;   /* bytes in a big frame; 0: there are none */
	size_t nbig;          /* big frames nobody owns */
	size_t nbig_missing;  /* that the pool should have and has not */
	uint64_t nodes;       /* bit n: it may have frames on NUMA node n */
	bool simulated;       /* invented addresses, no memory */
	const char *degraded; /* one sentence on what is missing, or NULL */
};

struct arch_span_info {
	int fd; /* the span's memfd; owned by the span; -1 in sim */
	vm_size_t frame_size; /* bytes */
	size_t nframes;
	vm_paddr_t pa; /* of the first frame; the rest follow it */
	int domain;
	enum arch_pin pin; /* what this span really has */
	bool verified;     /* pagemap was read back after pinning */
};

/*
 * Bytes: 32 of these make a large page, with what its keeper writes beside
 * them.  Who takes a lot of metadata asks for blocks of this size.
 */
#define ARCH_META_BLOCK ((size_t)(64 << 10) - 64)

struct arch_ops {
	const char *name; /* "linux", "sim" */

	/*
	 * Metadata memory for core/: zeroed, aligned to 64 bytes.
	 * NULL: none left.  Any thread.
	 */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);

	/*
	 * May be NULL.  Asked before each core allocation of any kind, cached
	 * or not; true makes that allocation fail.  This is how tests and
	 * fuzzers fail the nth one.
	 */
	bool (*inject)(void *ctx);

	/* Never fails.  Any thread. */
	void (*pool_info)(void *ctx, struct arch_pool_info *infop);

	/*
	 * Copy up to `max` standby frames in ascending order of address and
	 * store how many there are in all.
	 */
	int (*pool_frames)(void *ctx, struct arch_frame *frames, size_t max,
	    size_t *np);

	/*
	 * Take the next thing that happened to the inventory on its own.
	 * false: nothing more.  Every call below may add events; its caller
	 * drains them on the thread that owns the inventory.
	 */
	bool (*pool_event)(void *ctx, struct arch_event *evp);

	/*
	 * May be NULL.  Replace missing frames by whatever the kernel has
	 * free; ARCH_FRAME_GAINED events tell what came.  Returns how many, or
	 * -errno when none could be asked for.  Any thread; takes as long as
	 * zeroing them.
	 */
	int (*pool_refill)(void *ctx);

	/*
	 * May be NULL: no big frames.  As pool_frames() for big frames in the
	 * standby.
	 */
	int (*pool_big_frames)(void *ctx, struct arch_frame *frames, size_t max,
	    size_t *np);

	/*
	 * May be NULL.  Let the pool have more frames, of those that the
	 * kernel can give the ones with the longest runs; each comes with an
	 * ARCH_FRAME_GAINED event.  Returns how many came, which may be fewer.
	 * -ENOSPC: it may not become so large.  -EINVAL: no such frame size or
	 * node.  Any thread, slow.
	 */
	int (*pool_grow)(void *ctx, const struct arch_grow *grow);

	/*
	 * May be NULL.  Give the standby frames [pa, pa + nframes *
	 * frame_size) up for good; no events.  Whole big frames, or none.
	 * -ENOENT: one of them is not in the standby; nothing was given up.
	 * Any thread.
	 */
	int (*pool_shrink)(void *ctx, vm_paddr_t pa, size_t nframes);

	/*
	 * May be NULL.  Take the big standby frame at `pa` apart: from then on
	 * it is frames of frame_size; ARCH_FRAME_LOST tells of any that
	 * another process took.  -ENOENT: no such big frame in the standby.
	 * -EIO: the kernel could not; it is a big frame still.  Any thread,
	 * slow.
	 */
	int (*pool_demote)(void *ctx, vm_paddr_t pa);

	/*
	 * Move the standby frames [pa, pa + nframes * frame_size) into a span
	 * of their own, ascending, zeroed, pinned, read back.  Any thread;
	 * takes 60-300 us a frame.  A range of whole big frames becomes a span
	 * of big frames; one that holds part of a big frame has its big frames
	 * taken apart first.
	 * -EAGAIN: another process raced for a frame; what is still ours is
	 * in the standby, events tell the difference.
	 * -ENOENT: some frame of the range is not in the standby.
	 * -EMFILE, -ENFILE, -ENOMEM: as they come; the pool is as it was.
	 */
	int (*span_assemble)(void *ctx, vm_paddr_t pa, size_t nframes,
	    struct arch_span **spanp);

	void (*span_info)(void *ctx, struct arch_span *span,
	    struct arch_span_info *infop);

	/*
	 * Read the addresses again.  Store how many frames are not where they
	 * were (punched, truncated, moved) in *nbadp.  Any thread.
	 */
	int (*span_verify)(void *ctx, struct arch_span *span, size_t *nbadp);

	/*
	 * The same for the frames [first, first + n), in units of the span's
	 * own frame_size, one enum arch_frame_state each.  -ESTALE: the span
	 * is revoked.  Any thread.
	 */
	int (*span_check)(void *ctx, struct arch_span *span, size_t first,
	    size_t n, unsigned char *states);

	/*
	 * Write zeroes to [off, off + len) without ever taking a SIGBUS.  Any
	 * thread.  -EFAULT: the holder punched or truncated the span.
	 */
	int (*span_zero)(void *ctx, struct arch_span *span, vm_size_t off,
	    vm_size_t len);

	/*
	 * Unpin, revoke, close, and take the frames back into the standby,
	 * zeroed.  Consumes the span on 0; events tell of frames that came
	 * back as others.  Any thread.
	 * -EBUSY: somebody's own pin withholds the frames.  The span is
	 * revoked and in limbo, still the caller's; call again later.
	 */
	int (*span_recycle)(void *ctx, struct arch_span *span);

	/*
	 * A file of base pages for map entries that have no superpages: sealed
	 * against growing and shrinking, sparse, mode 0600.  The caller owns
	 * the fd.
	 */
	int (*base_file)(void *ctx, vm_size_t size, int *fdp);
};

/* A back end in use: what is handed to core/ and server/. */
struct arch {
	const struct arch_ops *ops;
	void *ctx;
	const struct arch_machine *machine;
};
