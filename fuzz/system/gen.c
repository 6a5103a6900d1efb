/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * fuzz/gen.h for the records of the system targets: linked in place of
 * fuzz/gen.c, so that the generator and both mutators serve them too.  `ops`
 * has a bit for each action that the target knows.
 */

#include "fuzz/gen.h"

#include "fuzz/system/sys.h"

#include <string.h>

static uint8_t
nth_action(uint64_t ops, unsigned n)
{
	n %= (unsigned)__builtin_popcountll(ops);
	while (n-- > 0)
		ops &= ops - 1;
	return (uint8_t)__builtin_ctzll(ops);
}

/* Mostly the plain value, often a small one, rarely anything. */
static uint8_t
operand(uint64_t *state)
{
	switch (gen_below(state, 8)) {
	case 0:
	case 1:
	case 2:
		return 0;
	case 3:
	case 4:
		return (uint8_t)gen_below(state, 8);
	case 5:
		return (uint8_t)gen_below(state, 64);
	default:
		return (uint8_t)gen_random(state);
	}
}

/* Half of all records are requests: action 0. */
uint64_t
gen_record(uint64_t *state, uint64_t ops)
{
	uint8_t p[SYS_RECORD];

	p[0] = gen_below(state, 2) == 0 ? nth_action(ops, gen_below(state, 64))
					: nth_action(ops, 0);
	p[1] = (uint8_t)(gen_below(state, 3) |
			 (gen_below(state, 4) == 0 ? gen_below(state, 32) << 3
						   : 0));
	p[2] = (uint8_t)gen_below(state, 64);
	for (unsigned i = 3; i < SYS_RECORD; i++)
		p[i] = operand(state);
	return hf_load(p);
}

static uint64_t
gen_ext(uint64_t *state)
{
	uint8_t p[SYS_RECORD] = {SYS_EXT};

	for (unsigned i = 1; i < SYS_RECORD; i++)
		p[i] = operand(state);
	return hf_load(p);
}

static void
gen_header(uint64_t *state, uint8_t *data)
{
	for (unsigned i = 0; i < SYS_HEADER; i++)
		data[i] = gen_below(state, 2) == 0 ? 0 : operand(state);
	/* What the daemon's contents and its queues depend on. */
	if (gen_below(state, 3) == 0)
		data[3] |= 1;
	if (gen_below(state, 4) == 0)
		data[6] |= 1;
}

/*
 * Few kinds of request, and few actions, make up most of a program: what is
 * given back has to be what was given, and one kind among sixty follows on
 * another too rarely.  Those that belong together mostly stand side by side in
 * the protocol; what belongs to one session mostly comes from one.
 */
#define LIKED 4

struct taste {
	bool whats, acts, one, hows, exts;
	uint8_t what[LIKED], act[LIKED];
	uint8_t who, how; /* the two parts of a record's second byte */
};

static void
gen_taste(uint64_t *state, uint64_t ops, struct taste *t)
{
	t->whats = gen_below(state, 4) != 0;
	t->acts = gen_below(state, 2) == 0;
	t->one = gen_below(state, 3) == 0;
	t->hows = gen_below(state, 2) == 0;
	t->exts = gen_below(state, 2) == 0;
	t->who = (uint8_t)gen_below(state, 3);
	t->how = (uint8_t)gen_below(state, 32);
	for (unsigned i = 0; i < LIKED; i++) {
		t->what[i] = (uint8_t)gen_below(state, 64);
		if (i > 0 && gen_below(state, 2) == 0)
			t->what[i] = (uint8_t)((t->what[i - 1] + 1) % 64);
		t->act[i] = nth_action(ops, gen_below(state, 64));
	}
}

/* Buffers, what most of it is about: of one who asks and gives back, with
 * contents, and nothing fails. */
static void
gen_buffers(struct taste *t, uint8_t *header)
{
	t->whats = t->one = t->exts = true;
	t->what[0] = t->what[1] = SYS_CONTIG_ALLOC;
	t->what[2] = SYS_CONTIG_FREE;
	header[2] = header[4] = header[6] = 0;
	header[3] |= 1;
}

/* Maps: one that somebody enters things into, and changes. */
static void
gen_maps(uint64_t *state, struct taste *t, uint8_t *header)
{
	t->whats = t->one = true;
	t->what[0] = (uint8_t)(SYS_MAP_INSERT + gen_below(state, 2));
	for (unsigned i = 1; i < LIKED; i++)
		t->what[i] = (uint8_t)(SYS_MAP_INSERT +
				       gen_below(state, SYS_MAP_REQUESTS));
	header[2] = header[4] = header[7] = 0;
}

static void
apply_taste(uint64_t *state, const struct taste *t, uint8_t *p)
{
	if (t->acts && gen_below(state, 2) == 0)
		p[0] = t->act[gen_below(state, LIKED)];
	if (t->whats && gen_below(state, 4) != 0)
		p[2] = t->what[gen_below(state, LIKED)];
	if (t->one && gen_below(state, 8) != 0)
		p[1] = (uint8_t)((p[1] & ~3u) | t->who);
	if (t->hows && gen_below(state, 4) == 0)
		p[1] = (uint8_t)((p[1] & 7u) | (unsigned)t->how << 3);
}

size_t
gen_program(uint64_t seed, uint64_t ops, uint8_t *data, size_t max)
{
	uint64_t state = seed, subset = 1;
	size_t off = SYS_HEADER, n;
	struct taste taste;
	bool few;

	if (max < SYS_HEADER)
		return 0;
	gen_header(&state, data);
	gen_taste(&state, ops, &taste);
	switch (gen_below(&state, 6)) {
	case 0:
		gen_buffers(&taste, data);
		break;
	case 1:
		gen_maps(&state, &taste, data);
		break;
	default:
		break;
	}
	for (uint64_t m = ops; m != 0; m &= m - 1)
		if (gen_below(&state, 2) != 0)
			subset |= m & -m;
	n = 4 + gen_below(&state, gen_below(&state, 4) == 0 ? 160 : 40);
	for (; n > 0 && off + 2 * SYS_RECORD <= max; n--) {
		few = gen_below(&state, taste.exts ? 6 : 3) == 0;
		if (few != taste.exts) {
			hf_store(data + off, gen_ext(&state));
			off += SYS_RECORD;
		}
		hf_store(data + off, gen_record(&state, subset & ops));
		apply_taste(&state, &taste, data + off);
		off += SYS_RECORD;
	}
	return off;
}

static void
change(uint64_t *state, uint64_t ops, uint8_t *p)
{
	unsigned at = gen_below(state, SYS_RECORD);

	switch (gen_below(state, 6)) {
	case 0:
		hf_store(p, gen_record(state, ops));
		break;
	case 1:
		p[0] = nth_action(ops, gen_below(state, 64));
		break;
	case 2:
		p[at] = (uint8_t)(p[at] + 1);
		break;
	case 3:
		p[at] ^= (uint8_t)(1u << gen_below(state, 8));
		break;
	default:
		at = 1 + gen_below(state, SYS_RECORD - 1);
		p[at] = operand(state);
		break;
	}
}

static size_t
insert(uint64_t *state, uint64_t ops, uint8_t *body, size_t n, size_t max)
{
	size_t at = gen_below(state, (unsigned)n + 1);

	if ((n + 1) * SYS_RECORD > max)
		return n;
	memmove(body + (at + 1) * SYS_RECORD, body + at * SYS_RECORD,
	    (n - at) * SYS_RECORD);
	hf_store(body + at * SYS_RECORD,
	    gen_below(state, 4) == 0 ? gen_ext(state) : gen_record(state, ops));
	return n + 1;
}

static size_t
copy(uint64_t *state, uint8_t *body, size_t n, size_t max)
{
	size_t from = gen_below(state, (unsigned)n),
	       count = 1 + gen_below(state, 6);

	count = count < n - from ? count : n - from;
	if ((n + count) * SYS_RECORD > max)
		return n;
	memmove(body + n * SYS_RECORD, body + from * SYS_RECORD,
	    count * SYS_RECORD);
	return n + count;
}

static size_t delete (uint64_t *state, uint8_t *body, size_t n)
{
	size_t at = gen_below(state, (unsigned)n),
	       count = 1 + gen_below(state, 3);

	count = count < n - at ? count : n - at;
	memmove(body + at * SYS_RECORD, body + (at + count) * SYS_RECORD,
	    (n - at - count) * SYS_RECORD);
	return n - count;
}

size_t
gen_mutate(uint64_t seed, uint64_t ops, uint8_t *data, size_t size, size_t max)
{
	uint64_t state = seed;
	uint8_t *body = data + SYS_HEADER;
	size_t n;

	if (max < SYS_HEADER)
		return 0;
	/* Now and then something new: small changes rarely lead far. */
	if (gen_below(&state, GEN_FRESH) == 0)
		return gen_program(gen_random(&state), ops, data, max);
	if (size < SYS_HEADER) {
		gen_header(&state, data);
		size = SYS_HEADER;
	}
	if (gen_below(&state, 16) == 0)
		data[gen_below(&state, SYS_HEADER)] = operand(&state);
	n = (size - SYS_HEADER) / SYS_RECORD;
	for (unsigned i = 1 + gen_below(&state, 4); i > 0; i--) {
		unsigned how = gen_below(&state, 8);

		if (n == 0 || how < 2)
			n = insert(&state, ops, body, n, max - SYS_HEADER);
		else if (how == 2)
			n = delete (&state, body, n);
		else if (how == 3)
			n = copy(&state, body, n, max - SYS_HEADER);
		else
			change(&state, ops,
			    body + gen_below(&state, (unsigned)n) * SYS_RECORD);
	}
	return SYS_HEADER + n * SYS_RECORD;
}

size_t
gen_crossover(uint64_t seed, const uint8_t *a, size_t asize, const uint8_t *b,
    size_t bsize, uint8_t *out, size_t max)
{
	uint64_t state = seed;
	size_t na, nb, head, tail, room;

	if (asize < SYS_HEADER || bsize < SYS_HEADER || max < SYS_HEADER)
		return 0;
	na = (asize - SYS_HEADER) / SYS_RECORD;
	nb = (bsize - SYS_HEADER) / SYS_RECORD;
	room = (max - SYS_HEADER) / SYS_RECORD;
	head = gen_below(&state, (unsigned)na + 1);
	head = head < room ? head : room;
	tail = gen_below(&state, (unsigned)nb + 1);
	tail = tail < room - head ? tail : room - head;
	memcpy(out, a, SYS_HEADER + head * SYS_RECORD);
	memcpy(out + SYS_HEADER + head * SYS_RECORD,
	    b + SYS_HEADER + (nb - tail) * SYS_RECORD, tail * SYS_RECORD);
	return SYS_HEADER + (head + tail) * SYS_RECORD;
}
