/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/sched_model.h"

#include "core/vm_param.h"

#include <assert.h>
#include <string.h>

/* ---- Pages ----------------------------------------------------------------
 */

/* The pages of [start, end), cut to the map. */
static void
cut(const struct sched_world *w, const uint64_t *v, unsigned *fromp,
    unsigned *top)
{
	vm_offset_t max = w->min + w->npages * w->page;
	vm_offset_t start = v[HF_F_A], end = v[HF_F_END];

	start = MIN(MAX(start, w->min), max);
	end = MIN(MAX(end, start), max);
	*fromp = (unsigned)((start - w->min) / w->page);
	*top = (unsigned)((end - w->min + w->page - 1) / w->page);
}

static bool
is_free(const sched_page *page, unsigned from, unsigned to)
{
	for (; from < to; from++)
		if (page[from] != 0)
			return false;
	return true;
}

static void
enter(sched_page *page, unsigned from, unsigned to, const uint64_t *v)
{
	for (; from < to; from++)
		page[from] = sched_page_make(v[HF_F_PROT], VM_INHERIT_DEFAULT);
}

static int
insert(const struct sched_world *w, sched_page *page, const uint64_t *v,
    bool replace)
{
	vm_offset_t max = w->min + w->npages * w->page;
	unsigned from, to;

	if (v[HF_F_A] < w->min || v[HF_F_END] > max || v[HF_F_A] >= v[HF_F_END])
		return KERN_INVALID_ADDRESS;
	cut(w, v, &from, &to);
	if (!replace && !is_free(page, from, to))
		return KERN_NO_SPACE;
	enter(page, from, to, v);
	return KERN_SUCCESS;
}

static int
find(const struct sched_world *w, sched_page *page, const uint64_t *v,
    bool take, uint64_t *valuep)
{
	unsigned n = (unsigned)MIN(v[HF_F_LEN] / w->page, SCHED_PAGES + 1);

	for (unsigned i = 0; i + n <= w->npages; i++)
		if (is_free(page, i, i + n)) {
			*valuep = w->min + i * w->page;
			if (take)
				enter(page, i, i + n, v);
			return KERN_SUCCESS;
		}
	return KERN_NO_SPACE;
}

static int
change(const struct sched_world *w, sched_page *page,
    const struct hf_call *call)
{
	unsigned from, to;

	cut(w, call->v, &from, &to);
	for (; from < to; from++) {
		if (call->op == HF_REMOVE)
			page[from] = 0;
		else if (page[from] != 0 && call->op == HF_PROTECT)
			page[from] = sched_page_make(call->v[HF_F_PROT],
			    sched_page_inherit(page[from]));
		else if (page[from] != 0)
			page[from] =
			    sched_page_make(sched_page_prot(page[from]),
				call->v[HF_F_INH]);
	}
	return KERN_SUCCESS;
}

/* Rights of a whole range: present everywhere, and enough. */
static bool
allows(const struct sched_world *w, const sched_page *page, const uint64_t *v)
{
	unsigned from, to;

	cut(w, v, &from, &to);
	for (; from < to; from++)
		if (page[from] == 0 ||
		    (v[HF_F_PROT] & ~(uint64_t)sched_page_prot(page[from])) !=
			0)
			return false;
	return true;
}

static int
lookup(const struct sched_world *w, const sched_page *page,
    const struct hf_call *call)
{
	unsigned i = (unsigned)((call->v[HF_F_A] - w->min) / w->page);
	uint64_t want = call->v[HF_F_TYPE] & VM_PROT_ALL;

	if (page[i] == 0)
		return KERN_INVALID_ADDRESS;
	if (call->op == HF_ENTRY)
		return KERN_SUCCESS;
	return (want & ~(uint64_t)sched_page_prot(page[i])) != 0 ||
		       sched_page_prot(page[i]) == 0
		   ? KERN_PROTECTION_FAILURE
		   : KERN_SUCCESS;
}

static int
fork_map(struct sched_maps *m, const uint64_t *v)
{
	sched_page *to = m->page[v[HF_F_MAP2]];

	memcpy(to, m->page[v[HF_F_MAP]], sizeof(m->page[0]));
	for (unsigned i = 0; i < SCHED_PAGES; i++)
		if (sched_page_inherit(to[i]) == VM_INHERIT_NONE)
			to[i] = 0;
	return KERN_SUCCESS;
}

int
sched_model_apply(const struct sched_world *w, struct sched_maps *m,
    const struct hf_call *call, uint64_t *valuep)
{
	const uint64_t *v = call->v;
	sched_page *page = m->page[v[HF_F_MAP]];

	*valuep = 0;
	switch (call->op) {
	case HF_INSERT:
	case HF_FIXED:
		return insert(w, page, v, call->op == HF_FIXED);
	case HF_FIND:
	case HF_FINDSPACE:
		return find(w, page, v, call->op == HF_FIND, valuep);
	case HF_REMOVE:
	case HF_PROTECT:
	case HF_INHERIT:
		return change(w, page, call);
	case HF_CHECK_PROTECTION:
		*valuep = allows(w, page, v);
		return KERN_SUCCESS;
	case HF_LOOKUP:
	case HF_ENTRY:
		return lookup(w, page, call);
	default:
		return fork_map(m, v);
	}
}

/* ---- Histories ------------------------------------------------------------
 */

#define STATES_MAX 160

/*
 * One way in which it may have been; no bytes between its members, for it is
 * compared as a whole, and few, for it is copied all the time.
 */
struct config {
	struct sched_maps maps;
	/* Of operations that took effect, and have not returned yet. */
	uint8_t value[SCHED_THREADS]; /* 0, 1, or 2 and the number of a page */
	int8_t status[SCHED_THREADS];
	uint32_t done; /* one bit a thread */
	uint32_t zero;
};
static_assert(sizeof(struct config) ==
		  sizeof(struct sched_maps) + 2 * SCHED_THREADS + 8,
    "configurations are compared as a whole");
static_assert(sizeof(struct config) % 8 == 0, "and are summed up by words");

struct history {
	struct sched_world world;
	struct {
		bool pending;
		struct hf_call call;
	} op[SCHED_THREADS];
	unsigned n, nnext;
	bool lost; /* there were more ways than there is room for */
	struct config *now, *next;
	uint64_t sum[STATES_MAX]; /* of those in `next`, when there are two */
};

struct history *
history_create(const struct sched_world *w)
{
	static struct history one;
	static struct config room[2][STATES_MAX];
	struct history *h = &one;

	for (unsigned t = 0; t < SCHED_THREADS; t++)
		h->op[t].pending = false;
	h->lost = false;
	memset(&room[0][0], 0, sizeof(room[0][0]));
	h->now = room[0];
	h->next = room[1];
	h->world = *w;
	h->n = 1;
	return h;
}

void
history_call(struct history *h, unsigned thread, const struct hf_call *call)
{
	h->op[thread].pending = true;
	h->op[thread].call = *call;
}

/*
 * What follows touches nothing of the core, and AddressSanitizer would make
 * three quarters of it.
 */
#if defined(__clang__)
#define MODEL_ONLY __attribute__((no_sanitize("address")))
#else
#define MODEL_ONLY
#endif

/* Each word times a number of its own, so that none waits for another. */
MODEL_ONLY static uint64_t
sum_of(const struct config *c)
{
	uint64_t word, sum = 0, by = UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < sizeof(*c); i += sizeof(word)) {
		__builtin_memcpy(&word, (const char *)c + i, sizeof(word));
		sum += (word ^ word >> 31) * by;
		by += UINT64_C(0xbf58476d1ce4e5b8);
	}
	return sum;
}

MODEL_ONLY static bool
same_config(const struct config *a, const struct config *b)
{
	uint64_t x, y, differ = 0;

	for (size_t i = 0; i < sizeof(*a); i += sizeof(x)) {
		__builtin_memcpy(&x, (const char *)a + i, sizeof(x));
		__builtin_memcpy(&y, (const char *)b + i, sizeof(y));
		differ |= x ^ y;
	}
	return differ == 0;
}

/* Keep a way, unless it is kept already. */
MODEL_ONLY static void
keep(struct history *h, const struct config *c)
{
	uint64_t sum;

	if (h->nnext == 0) {
		h->next[h->nnext++] = *c;
		return;
	}
	if (h->nnext == 1)
		h->sum[0] = sum_of(&h->next[0]);
	sum = sum_of(c);
	for (unsigned i = 0; i < h->nnext; i++)
		if (h->sum[i] == sum && same_config(&h->next[i], c))
			return;
	if (h->nnext < STATES_MAX) {
		h->sum[h->nnext] = sum;
		h->next[h->nnext++] = *c;
	} else {
		h->lost = true;
	}
}

/* What an operation gave: 0, a truth, or the address of a page. */
static uint8_t
pack(const struct sched_world *w, uint64_t value)
{
	return value < w->min ? (uint8_t)value
			      : (uint8_t)(2 + (value - w->min) / w->page);
}

/* Whatever the core gave: UINT8_MAX where the model gives nothing like it. */
static uint8_t
pack_any(const struct sched_world *w, uint64_t value)
{
	if (value > 1 && (value < w->min || value % w->page != 0 ||
			     value - w->min >= w->npages * w->page))
		return UINT8_MAX;
	return pack(w, value);
}

/* `c` after the operation of thread t took effect. */
MODEL_ONLY static void
take_effect(struct history *h, struct config *c, unsigned t)
{
	uint64_t value;

	c->done |= 1u << t;
	c->status[t] = (int8_t)sched_model_apply(&h->world, &c->maps,
	    &h->op[t].call, &value);
	c->value[t] = pack(&h->world, value);
}

/* `c` after thread t has got its answer. */
MODEL_ONLY static void
forget(struct config *c, unsigned t)
{
	c->done &= ~(1u << t);
	c->status[t] = 0;
	c->value[t] = 0;
}

struct answer {
	unsigned thread;
	int status;
	uint8_t value;
};

MODEL_ONLY static bool
is_answer(const struct config *c, const struct answer *a)
{
	return c->status[a->thread] == a->status &&
	       c->value[a->thread] == a->value;
}

/* All ways on from `c` in which the thread has given this answer. */
MODEL_ONLY static void
extend(struct history *h, const struct config *c, const struct answer *a)
{
	struct config then;

	for (unsigned t = 0; t < SCHED_THREADS; t++) {
		if (!h->op[t].pending || (c->done >> t & 1) != 0)
			continue;
		then = *c;
		take_effect(h, &then, t);
		if (t != a->thread) {
			extend(h, &then, a);
		} else if (is_answer(&then, a)) {
			forget(&then, t);
			keep(h, &then);
		}
	}
}

/* The same for a way in which it may have taken effect already. */
MODEL_ONLY static void
follow(struct history *h, const struct config *c, const struct answer *a)
{
	struct config then;

	if ((c->done >> a->thread & 1) == 0) {
		extend(h, c, a);
	} else if (is_answer(c, a)) {
		then = *c;
		forget(&then, a->thread);
		keep(h, &then);
	}
}

/* Nobody else is under way, and there is one way: on from there. */
MODEL_ONLY static void
go_on(struct history *h, const struct answer *a)
{
	struct config *c = &h->now[0];

	take_effect(h, c, a->thread);
	h->n = is_answer(c, a) ? 1 : 0;
	forget(c, a->thread);
}

/* Is this thread's the only operation under way, and has no effect yet? */
static bool
is_alone(const struct history *h, unsigned thread)
{
	for (unsigned t = 0; t < SCHED_THREADS; t++)
		if (t != thread && h->op[t].pending)
			return false;
	return h->n == 1 && h->now[0].done == 0;
}

bool
history_return(struct history *h, unsigned thread, int status, uint64_t value,
    bool none)
{
	struct answer a = {thread, status, pack_any(&h->world, value)};
	struct config *swap = h->now;

	if (!none && is_alone(h, thread)) {
		go_on(h, &a);
		h->op[thread].pending = false;
		return h->n > 0 || h->lost;
	}
	h->nnext = 0;
	for (unsigned i = 0; i < h->n; i++)
		if (!none)
			follow(h, &h->now[i], &a);
		else if ((h->now[i].done >> thread & 1) == 0)
			keep(h, &h->now[i]);
	h->op[thread].pending = false;
	h->now = h->next;
	h->next = swap;
	h->n = h->nnext;
	return h->n > 0 || h->lost;
}

bool
history_lost(const struct history *h)
{
	return h->lost;
}

unsigned
history_nstates(const struct history *h)
{
	return h->n;
}

const struct sched_maps *
history_state(const struct history *h, unsigned i)
{
	return &h->now[i].maps;
}
