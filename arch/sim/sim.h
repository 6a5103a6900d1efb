/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The invented machine: addresses and counters instead of memory.
 *
 * Implements every call of struct arch_ops.  The caller says which physical
 * segments there are; frames are the whole, aligned frames inside them.  What
 * real machines do now and then happens here when asked: the nth allocation
 * fails, a frame is lost, a span comes back with other frames, a span's frames
 * are withheld, a span call fails.
 *
 * Each instance stands alone and has its own lock: every function may be
 * called from any thread.
 */

#include "arch/arch.h"

struct sim_segment {
	vm_paddr_t start, end; /* half-open, any grain */
	int domain;
};

struct sim_options {
	const char *machine;  /* NULL: "x86_64" */
	vm_size_t page_size;  /* base page, bytes; 0: the machine's smallest */
	vm_size_t frame_size; /* bytes, power of two; 0: 2 MiB */
	vm_size_t big_size;   /* bytes, of big frames; 0: there are none */
	const struct sim_segment *big_segments; /* of big frames; borrowed */
	size_t nbig_segments;
	const struct sim_segment *segments; /* borrowed during sim_create() */
	size_t nsegments;
	/* Back spans with sparse memfds of ordinary pages, so that they can be
	 * mapped, zeroed and revoked; off: a span's fd is -1. */
	bool memfd;
	bool no_inject;    /* no inject hook: for benches */
	bool no_address;   /* report that addresses cannot be read */
	enum arch_pin pin; /* what spans get */
};

/*
 * Make one.  NULL options: x86_64, no segments.  The caller frees it with
 * sim_destroy().  NULL: unknown machine, frame size that is no power of two,
 * overlapping segments, or no memory.
 */
struct arch *sim_create(const struct sim_options *options);
void sim_destroy(struct arch *arch); /* live spans too; NULL is fine */

/* Of the metadata that core/ asked for. */
size_t sim_live(struct arch *arch);       /* blocks not yet freed */
size_t sim_live_bytes(struct arch *arch); /* bytes in them */
uint64_t sim_nasked(struct arch *arch);   /* inject questions since the last
					     sim_fail_*() */
uint64_t sim_nfailed(struct arch *arch);  /* of those, answered by failure */

/*
 * Fail one core allocation, the nth from now (1: the next one); every one
 * from the nth on; none.  All three reset sim_nasked() and sim_nfailed().
 */
void sim_fail_nth(struct arch *arch, uint64_t n);
void sim_fail_from(struct arch *arch, uint64_t n);
void sim_fail_never(struct arch *arch);
/* Let `alloc` itself answer NULL beyond this many live bytes; 0: no limit. */
void sim_limit_bytes(struct arch *arch, size_t bytes);

enum sim_call {
	SIM_ASSEMBLE,
	SIM_VERIFY,
	SIM_ZERO,
	SIM_RECYCLE,
	SIM_BASE_FILE,
	SIM_POOL_FRAMES,
	SIM_REFILL,
	SIM_GROW,
	SIM_SHRINK,
	SIM_DEMOTE,
	SIM_NCALLS,
};

/*
 * Make the next `times` calls of this kind answer -error, changing nothing
 * (-EBUSY from SIM_RECYCLE does what it says: revokes, limbo).
 */
void sim_fail_call(struct arch *arch, enum sim_call call, int error,
    unsigned times);
uint64_t sim_ncalls(struct arch *arch, enum sim_call call);
/* Let every span call take this long, without holding the lock. */
void sim_delay_us(struct arch *arch, unsigned delay_us);

/* The span that holds the frame at `pa`, or NULL. */
struct arch_span *sim_span_at(struct arch *arch, vm_paddr_t pa);

/*
 * Withhold the frames of a span (somebody's own pin): recycling it answers
 * -EBUSY until it is released.
 */
void sim_withhold(struct arch *arch, struct arch_span *span, bool withheld);

/*
 * The frame that a span has at `pa` is really at `now` (NO_FRAME: nowhere), as
 * after a holder punched it.  Verifying counts it; recycling queues
 * ARCH_SPAN_CHANGED and ARCH_FRAME_LOST for `pa`, ARCH_FRAME_GAINED for `now`.
 * false: no span has it, it was tampered with before, or `now` is in use.
 */
#define SIM_NO_FRAME UINT64_MAX
bool sim_tamper(struct arch *arch, vm_paddr_t pa, vm_paddr_t now);

/*
 * The memory of the frame that a span has at `pa` goes bad: checking finds it
 * poisoned, recycling loses it.  false: no span has it.
 */
bool sim_poison(struct arch *arch, vm_paddr_t pa);

/* The next time the pool grows it gets at most so many frames. */
void sim_limit_growth(struct arch *arch, size_t nframes);

/*
 * A standby frame goes away, or comes, by itself; an event tells.
 * false: not in the standby; already there or not frame aligned.
 */
bool sim_lose_frame(struct arch *arch, vm_paddr_t pa);
bool sim_gain_frame(struct arch *arch, vm_paddr_t pa, int domain);
