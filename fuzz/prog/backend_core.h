/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The core on arch/sim as a back end of operation programs.
 *
 * Unless the world is `compat`, arguments pass core/vm_strict.h first, as the
 * server does it.  In a compat world only what the core asserts is refused.
 */

#include "core/vm_contig.h"
#include "core/vm_map.h"
#include "core/vm_object.h"
#include "fuzz/prog/run.h"

/* A frame that an object of some map has, and what is written in it. */
struct core_frame {
	vm_paddr_t pa;
	uint64_t content; /* 0: zeroes */
	bool live;
	size_t next; /* free ones */
};

/*
 * What is in the memory of an object that does not take frames: a list whose
 * first is no page, and which is the object's handle.
 */
struct core_memory {
	uint64_t number; /* of the object, in the first; 0: none */
	struct core_memory *next;
	vm_pindex_t pindex;
	uint64_t content;
};

struct core_backend {
	struct hf_backend base;
	struct arch *arch; /* arch/sim; NULL until the first world */
	struct pmap pmap;
	struct vm_phys *phys;
	struct malloc_type type;
	vm_map_t maps[HF_MAPS];
	/* Maps with windows to it, one bit each; a submap outlives them. */
	uint8_t parents[HF_MAPS];
	vm_object_t objs[HF_OBJS];
	bool handles;         /* objects have one, with their number */
	bool no_pager;        /* maps have no memory: nothing is touched */
	uint64_t last_object; /* numbers that objects were given */
	struct {
		void *addr; /* NULL: none */
		vm_size_t size;
	} bufs[HF_BUFS];
	struct {
		struct vm_pager *pager;
		struct core_frame *frame; /* [0] is none */
		size_t n, room;
		size_t nlive;
		size_t free; /* head of the list of free records; 0: none */
		uint64_t nwrites;  /* contents given so far */
		uint64_t nrefused; /* no page of physical memory was left */
	} frames;
	vm_prot_t rights; /* to map with, of the last lookup or touch */
	bool compat;
	bool undisturbed; /* nobody asks whether an allocation shall fail */
};

/*
 * `handles`: give every object of the program a handle, as the server does.
 * The core does not treat such objects as anonymous memory: they do not grow
 * or merge.
 */
void core_backend_init(struct core_backend *b, bool handles);

/*
 * Give everything back.  NULL, or what was still there afterwards; the text
 * is static.  Done by every `world` operation and by core_backend_fini().
 */
const char *core_backend_clear(struct core_backend *b);
void core_backend_fini(struct core_backend *b);

/* The request that the operands of `contig` mean; `page` is in bytes. */
struct contig_req core_contig_request(const uint64_t *v, vm_size_t page);
/* The operation `inject`: which allocations of arch/sim fail from now on. */
void core_inject(struct arch *arch, const uint64_t *v);
