/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The core back end: touching memory.
 *
 * A frame is a page of the world's physical memory with one number for its
 * contents; 0 stands for zeroes, and every write gives a number that no write
 * gave before.  So whoever reads can tell whose write it was.
 */

#include "fuzz/prog/backend_core_int.h"

#include "core/vm_fault.h"
#include "core/vm_phys.h"

#include <stdlib.h>

#define FREED UINT64_C(0xdeadbeefdeadbeef) /* what a free frame contains */

/* A record; 0: out of memory. */
static size_t
new_record(struct core_backend *b)
{
	size_t i = b->frames.free;

	if (i != 0) {
		b->frames.free = b->frames.frame[i].next;
		return i;
	}
	if (b->frames.n == b->frames.room) {
		size_t room = MAX(2 * b->frames.room, 64);
		struct core_frame *grown =
		    realloc(b->frames.frame, room * sizeof(*grown));

		if (grown == NULL)
			return 0;
		b->frames.frame = grown;
		b->frames.room = room;
	}
	if (b->frames.n == 0)
		b->frames.n = 1; /* the record that is none */
	return b->frames.n++;
}

static int
frame_new(struct core_backend *b, uint64_t content, uint64_t *framep)
{
	vm_size_t page = b->arch->machine->page_size;
	struct contig_req req = {.size = page,
	    .high = UINT64_MAX,
	    .alignment = page,
	    .domain = -1};
	vm_paddr_t pa;
	size_t i;

	if (vm_phys_alloc_contig(b->phys, &req, &pa) != KERN_SUCCESS) {
		b->frames.nrefused++;
		return KERN_RESOURCE_SHORTAGE;
	}
	i = new_record(b);
	if (i == 0)
		abort();
	b->frames.frame[i] =
	    (struct core_frame){.pa = pa, .content = content, .live = true};
	b->frames.nlive++;
	*framep = i;
	return KERN_SUCCESS;
}

static int
frame_alloc(void *arg, uint64_t *framep)
{
	return frame_new(arg, 0, framep);
}

/* The contents of page `pindex` of what an object without frames stands for. */
static uint64_t *
memory_at(vm_object_t object, vm_pindex_t pindex, bool make)
{
	struct core_memory *head = vm_object_handle(object), *m;

	if (head == NULL)
		return NULL;
	for (m = head->next; m != NULL; m = m->next)
		if (m->pindex == pindex)
			return &m->content;
	if (!make)
		return NULL;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		abort();
	m->pindex = pindex;
	m->next = head->next;
	head->next = m;
	return &m->content;
}

static void
memory_release(void *handle)
{
	struct core_memory *m = handle, *next;

	for (; m != NULL; m = next) {
		next = m->next;
		free(m);
	}
}

void
core_object_memory(vm_object_t object, uint64_t number)
{
	struct core_memory *head = calloc(1, sizeof(*head));

	if (head == NULL)
		abort();
	head->number = number;
	vm_object_set_handle(object, head, memory_release);
}

static int
frame_copy(void *arg, vm_object_t source, uint64_t frame, uint64_t *framep)
{
	struct core_backend *b = arg;
	uint64_t content, *memory;

	if (vm_object_handle(source) == NULL) {
		content = b->frames.frame[frame].content;
	} else {
		memory = memory_at(source, frame, false);
		content = memory != NULL ? *memory : 0;
	}
	return frame_new(b, content, framep);
}

static void
frame_free(void *arg, uint64_t frame)
{
	struct core_backend *b = arg;
	struct core_frame *f = &b->frames.frame[frame];
	vm_size_t page = b->arch->machine->page_size;

	/* A frame that is freed twice, or one that is nobody's. */
	if (!f->live ||
	    vm_phys_free_contig(b->phys, f->pa, f->pa + page) != KERN_SUCCESS)
		abort();
	f->live = false;
	f->content = FREED;
	f->next = b->frames.free;
	b->frames.free = (size_t)frame;
	b->frames.nlive--;
}

static const struct vm_pager_ops frame_ops = {.alloc = frame_alloc,
    .copy = frame_copy,
    .free = frame_free};

bool
core_frames_init(struct core_backend *b)
{
	b->frames.pager = vm_pager_create(b->arch, &frame_ops, b);
	return b->frames.pager != NULL;
}

size_t
core_frames_fini(struct core_backend *b)
{
	size_t live = b->frames.nlive;

	if (b->frames.pager != NULL && live == 0)
		vm_pager_destroy(b->frames.pager);
	free(b->frames.frame);
	b->frames = (typeof(b->frames)){0};
	return live;
}

/* Where the contents of a page are that a fault has answered with. */
static uint64_t *
contents(struct core_backend *b, const struct vm_fault *fault)
{
	if (fault->kind == VM_FAULT_HANDLE)
		return memory_at(fault->object, fault->pindex, true);
	if (fault->frame >= b->frames.n || !b->frames.frame[fault->frame].live)
		return NULL;
	return &b->frames.frame[fault->frame].content;
}

/* Access a page: `was`: what was in it before, `now`: afterwards. */
void
core_touch(struct core_backend *b, const uint64_t *v, struct hf_result *res)
{
	vm_prot_t type = (vm_prot_t)v[HF_F_TYPE];
	vm_map_t map = core_map(b, v);
	struct vm_fault fault = {0};
	struct vm_refusal why;
	uint64_t *p, was;
	int rv;

	rv = vm_strict_lookup(map, v[HF_F_A], type, &why);
	if (!b->compat && rv != KERN_SUCCESS) {
		core_refused(res, rv, &why);
		return;
	}
	rv = vm_fault(map, v[HF_F_A], type, &fault);
	hf_result_set(res, rv);
	if (rv != KERN_SUCCESS)
		return;
	b->rights = fault.prot;
	p = contents(b, &fault);
	was = p != NULL ? *p : FREED;
	if (p != NULL && (type & VM_PROT_WRITE) != 0)
		*p = ++b->frames.nwrites;
	hf_result_out(res, "kind", HF_O_NUM, fault.kind);
	hf_result_out(res, "prot", HF_O_PROT, fault.prot);
	hf_result_out(res, "was", HF_O_NUM, was);
	hf_result_out(res, "now", HF_O_NUM, p != NULL ? *p : FREED);
}
