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

/* One way in which it may have been; no bytes between its members. */
struct config {
	struct sched_maps maps;
	/* Of operations that took effect, and have not returned yet. */
	uint64_t value[SCHED_THREADS];
	int32_t status[SCHED_THREADS];
	uint32_t done; /* one bit a thread */
	uint32_t zero;
};
static_assert(sizeof(struct config) ==
		  sizeof(struct sched_maps) + 12 * SCHED_THREADS + 8,
    "configurations are compared byte by byte");

struct history {
	struct sched_world world;
	struct {
		bool pending;
		struct hf_call call;
	} op[SCHED_THREADS];
	unsigned n, nnext;
	bool lost; /* there were more ways than there is room for */
	struct config *now, *next;
	uint64_t sum[STATES_MAX]; /* of those in `next` */
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

static uint64_t
sum_of(const struct config *c)
{
	uint64_t word, sum = 0;

	for (size_t i = 0; i < sizeof(*c); i += sizeof(word)) {
		memcpy(&word, (const char *)c + i, sizeof(word));
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	return sum;
}

/* Keep a way, unless it is kept already. */
static void
keep(struct history *h, const struct config *c)
{
	uint64_t sum = sum_of(c);

	for (unsigned i = 0; i < h->nnext; i++)
		if (h->sum[i] == sum && memcmp(&h->next[i], c, sizeof(*c)) == 0)
			return;
	if (h->nnext < STATES_MAX) {
		h->sum[h->nnext] = sum;
		h->next[h->nnext++] = *c;
	} else {
		h->lost = true;
	}
}

/* `c` after the operation of thread t took effect. */
static void
take_effect(struct history *h, struct config *c, unsigned t)
{
	c->done |= 1u << t;
	c->status[t] = sched_model_apply(&h->world, &c->maps, &h->op[t].call,
	    &c->value[t]);
}

/* `c` after thread t has got its answer. */
static void
forget(struct config *c, unsigned t)
{
	c->done &= ~(1u << t);
	c->status[t] = 0;
	c->value[t] = 0;
}

/* All ways on from `c` in which `thread` has given this answer. */
static void
extend(struct history *h, const struct config *c, unsigned thread, int status,
    uint64_t value)
{
	struct config then;

	for (unsigned t = 0; t < SCHED_THREADS; t++) {
		if (!h->op[t].pending || (c->done >> t & 1) != 0)
			continue;
		then = *c;
		take_effect(h, &then, t);
		if (t != thread) {
			extend(h, &then, thread, status, value);
		} else if (then.status[t] == status && then.value[t] == value) {
			forget(&then, t);
			keep(h, &then);
		}
	}
}

/* The same for a way in which it may have taken effect already. */
static void
follow(struct history *h, const struct config *c, unsigned thread, int status,
    uint64_t value)
{
	struct config then;

	if ((c->done >> thread & 1) == 0) {
		extend(h, c, thread, status, value);
	} else if (c->status[thread] == status && c->value[thread] == value) {
		then = *c;
		forget(&then, thread);
		keep(h, &then);
	}
}

bool
history_return(struct history *h, unsigned thread, int status, uint64_t value,
    bool none)
{
	struct config *swap = h->now;

	h->nnext = 0;
	for (unsigned i = 0; i < h->n; i++)
		if (!none)
			follow(h, &h->now[i], thread, status, value);
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
