/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/gen.h"

#include "fuzz/ops.h"

#include <string.h>

#define RECORD HF_RECORD_SIZE
#define HEADER HF_HEADER_SIZE
/* What tells most, where it is. */
#define MAINLY ((UINT64_C(1) << HF_TOUCH) | (UINT64_C(1) << HF_THREAD))
#define ENTERS ((UINT64_C(1) << HF_INSERT) | (UINT64_C(1) << HF_FIXED))
#define SUPER  ((UINT64_C(1) << HF_OBJECT) | (UINT64_C(1) << HF_INSERT))

/* ---- Operands -------------------------------------------------------------
 */

/* Near an entry, near the edge, an old result; rarely far out. */
static uint64_t
gen_addr(uint64_t *state)
{
	static const uint8_t modes[16] = {0, 0, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5,
	    5, 6, 7};
	uint64_t mode = modes[gen_below(state, 16)];
	uint64_t r = gen_random(state);
	uint64_t near = (r >> 32) % 3 - 1; /* -1, 0, 1 */

	switch (mode) {
	case 0:
	case 1:
		r %= (r >> 40) % 4 == 0 ? 8192 : 64;
		break;
	case 2:
	case 3:
	case 5:
		r = (r & 0xff) << 5 |
		    ((r >> 20) % 4 == 0 ? (r >> 8 & 0x1f) : (near & 0x1f));
		break;
	case 4:
		r = (r & 3) << 9 | ((near * 4) & 0x1ff);
		break;
	case 6:
		r = (r & 0xf) << 9 |
		    ((r >> 20) % 2 == 0 ? (near & 0x1f) << 4 : 0) |
		    ((r >> 24) % 8 == 0 ? (r >> 8 & 0xf) : 0);
		break;
	default:
		r = (r & 7) << 3 | ((r >> 20) % 2 == 0 ? (r >> 8 & 7) : 0);
		break;
	}
	return mode << 13 | r;
}

/* In and around the first segments. */
static uint64_t
gen_paddr(uint64_t *state)
{
	static const uint8_t modes[16] = {0, 0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6,
	    7, 4, 5};
	uint64_t mode = modes[gen_below(state, 16)];
	uint64_t r = gen_random(state);

	if (mode == 0)
		r %= (r >> 40) % 4 == 0 ? 8192 : 256;
	else if (mode >= 2 && mode <= 5)
		r = (r & 0xff) << 5 | (r >> 8 & 0x1f);
	return mode << 13 | (r & 0x1fff);
}

static uint64_t
gen_len(uint64_t *state)
{
	unsigned kind = gen_below(state, 16);

	return kind < 10   ? 1 + gen_below(state, 8)
	       : kind < 12 ? gen_below(state, 160)
	       : kind < 14 ? 160 + gen_below(state, 12)
			   : 160 + gen_below(state, 96);
}

/* The bits of one operand, as the schema stores them before flipping. */
static uint64_t
gen_operand(uint64_t *state, const struct hf_fielddef *def)
{
	uint64_t r = gen_random(state), mask = (UINT64_C(1) << def->width) - 1;

	switch (def->type) {
	case HF_T_ADDR:
		return gen_addr(state);
	case HF_T_PADDR:
		return gen_paddr(state);
	case HF_T_LEN:
		return gen_len(state);
	case HF_T_MAP:
		return (r >> 8) % 4 != 0 ? 0 : r & mask;
	case HF_T_OBJ:
		return (r >> 8) % 2 == 0 ? def->flip : r & 7;
	case HF_T_COW: /* a copy on write is what most depends on */
		return (r >> 8) % 4 != 0    ? def->flip
		       : (r >> 10) % 3 == 0 ? 1
					    : r & mask;
	case HF_T_OFF:
	case HF_T_LIM:
	case HF_T_DOMAIN:
	case HF_T_CFLAGS:
		return (r >> 8) % 4 != 0 ? def->flip : r & mask;
	case HF_T_ALIGN:
		return (r >> 8) % 3 != 0 ? def->flip : r & mask;
	case HF_T_PROT: /* mostly the defaults: rw of rwx */
		return (r >> 8) % 3 != 0 ? def->flip : r & mask;
	case HF_T_SPACE:
		return (r >> 8) % 2 != 0 ? def->flip : r & mask;
	case HF_T_INT:
		return def->field == HF_F_NTH ? 1 + r % 12 : r & mask;
	case HF_T_BOOL:
		return (r >> 8) % 4 == 0;
	default:
		return r & mask;
	}
}

static uint64_t
gen_operands(uint64_t *state, unsigned op)
{
	const struct hf_opdef *def = &hf_ops[op];
	uint64_t rec = op;

	for (unsigned i = 0; i < def->nfields; i++)
		rec = hf_set_bits(&def->fields[i], rec,
		    def->fields[i].width > 0
			? gen_operand(state, &def->fields[i])
			: 0);
	return rec;
}

/* The nth operation of a mask that is not empty. */
static unsigned
pick_op(uint64_t ops, unsigned n)
{
	n %= (unsigned)__builtin_popcountll(ops);
	while (n-- > 0)
		ops &= ops - 1;
	return (unsigned)__builtin_ctzll(ops);
}

uint64_t
gen_record(uint64_t *state, uint64_t ops)
{
	return gen_operands(state,
	    pick_op(ops, (unsigned)(gen_random(state) >> 33)));
}

/* ---- Programs -------------------------------------------------------------
 */

/* The presets that suit: physical targets look at every page. */
static unsigned
gen_preset(uint64_t *state, uint64_t ops)
{
	static const uint8_t small[] = {10, 10, 10, 10, 11, 11, 11, 11, 7, 7, 7,
	    7, 12, 12, 12, 8};
	static const uint8_t touched[] = {7, 7, 7, 10, 10, 11, 1};
	static const uint8_t maps[] = {0, 1, 1, 2, 3, 4, 5, 6, 7, 7, 9, 13, 14};

	if ((ops >> HF_TOUCH & 1) != 0)
		return touched[gen_below(state, sizeof(touched))];
	if ((ops >> HF_CONTIG & 1) != 0)
		return small[gen_below(state,
		    gen_below(state, 16) == 0 ? sizeof(small) : 12)];
	return maps[gen_below(state, sizeof(maps))];
}

static void
gen_header(uint64_t *state, uint64_t ops, uint8_t *data)
{
	uint64_t word[2] = {0, 0};
	uint64_t raw[9] = {1, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t cadence[8] = {0, 1, 2, 3, 3, 4, 4, 5};
	unsigned fault = gen_below(state, 8);

	raw[1] = gen_preset(state, ops);
	raw[3] = cadence[gen_below(state, sizeof(cadence))];
	raw[5] = gen_below(state, 3) == 0;
	raw[6] = fault < 4 ? 0 : fault - 4;
	raw[7] = raw[6] != 0 ? 1 + gen_below(state, 24) : 0;
	raw[8] = gen_random(state) & UINT32_MAX;
	for (unsigned i = 0; i < hf_header_def.nfields; i++) {
		const struct hf_fielddef *f = &hf_header_def.fields[i];

		word[f->bit / 64] = hf_set_bits(f, word[f->bit / 64], raw[i]);
	}
	hf_store(data, word[0]);
	hf_store(data + 8, word[1]);
}

/*
 * Crowd the world first: every other page entered, or taken, so that trees
 * grow levels and every gap is small.
 */
static size_t
gen_crowd(uint64_t *state, uint64_t ops, uint8_t *data, size_t off, size_t max)
{
	bool phys = (ops >> HF_TAKE & 1) != 0;
	unsigned op = phys ? HF_TAKE : HF_INSERT;
	unsigned n = 16 + gen_below(state, 96),
		 stride = 2 + gen_below(state, 3);
	uint64_t base = phys ? 16 : 0, at;

	if ((ops >> op & 1) == 0)
		return off;
	for (unsigned i = 0; i < n && off + RECORD <= max; i++) {
		uint64_t rec = gen_operands(state, op);

		at = base + (uint64_t)i * stride;
		rec = hf_set_bits(hf_field((uint8_t)op, HF_F_A), rec, at);
		if (phys)
			rec =
			    hf_set_bits(hf_field(HF_TAKE, HF_F_B), rec, at + 1);
		else
			rec =
			    hf_set_bits(hf_field(HF_INSERT, HF_F_LEN), rec, 1);
		hf_store(data + off, rec);
		off += RECORD;
	}
	return off;
}

/*
 * A few objects of superpages, entered where they fit: by chance one in some
 * hundred inserts is so.
 */
static size_t
gen_super(uint64_t *state, uint8_t *data, size_t off, size_t max)
{
	unsigned n = 1 + gen_below(state, 3);

	for (unsigned i = 0; i < n && off + 2 * RECORD <= max; i++) {
		uint64_t obj = gen_operands(state, HF_OBJECT);
		uint64_t ins = gen_operands(state, HF_INSERT);
		unsigned npages = gen_below(state, 4);

		obj = hf_set_bits(hf_field(HF_OBJECT, HF_F_OBJ), obj, i + 1);
		obj = hf_set_bits(hf_field(HF_OBJECT, HF_F_KIND), obj, 1);
		obj = hf_set_bits(hf_field(HF_OBJECT, HF_F_LEN), obj,
		    161 + npages * 3);
		ins = hf_set_bits(hf_field(HF_INSERT, HF_F_OBJ), ins, i + 1);
		ins = hf_set_bits(hf_field(HF_INSERT, HF_F_A), ins,
		    7 << 13 | (uint64_t)i << 5);
		ins = hf_set_bits(hf_field(HF_INSERT, HF_F_LEN), ins,
		    161 + npages * 3);
		hf_store(data + off, obj);
		hf_store(data + off + RECORD, ins);
		off += 2 * RECORD;
	}
	return off;
}

/*
 * More entries than two levels of a tree of entries hold at least, in strides
 * of one page to four.
 */
static size_t
gen_forest(uint64_t *state, uint8_t *data, size_t off, size_t max)
{
	unsigned n = 7 + gen_below(state, 6);

	for (unsigned i = 0; i < n && off + RECORD <= max; i++) {
		uint64_t rec = gen_operands(state, HF_MADVISE);

		rec = hf_set_bits(hf_field(HF_MADVISE, HF_F_A), rec,
		    (uint64_t)i * 4 * 159);
		rec = hf_set_bits(hf_field(HF_MADVISE, HF_F_LEN), rec, 159);
		hf_store(data + off, rec);
		off += RECORD;
	}
	return off;
}

/*
 * Where an earlier operation went, or began: things that matter happen to one
 * place, or to a part of it.
 * Address and length have their bits in the same place in all operations.
 */
static uint64_t
gen_again(uint64_t *state, uint64_t rec, const uint8_t *data, size_t off)
{
	static const uint8_t places[] = {HF_F_A, HF_F_LEN};
	size_t n = (off - HEADER) / RECORD, back, nplaces;
	uint64_t old;

	if (n == 0)
		return rec;
	back = 1 + gen_below(state, (unsigned)(n < 12 ? n : 12));
	old = hf_load(data + off - back * RECORD);
	nplaces = gen_below(state, 3) == 0 ? 1 : sizeof(places);
	for (unsigned i = 0; i < nplaces; i++) {
		const struct hf_fielddef *to =
		    hf_field(hf_op_of(rec), places[i]);
		const struct hf_fielddef *from =
		    hf_field(hf_op_of(old), places[i]);

		if (to != NULL && from != NULL && to->type == from->type)
			rec = hf_set_bits(to, rec, hf_bits(from, old));
	}
	return rec;
}

/* The operations of a program, each as often as it weighs. */
#define DECK 64
struct deck {
	unsigned op[DECK], n;
};

static void
deck_add(struct deck *deck, unsigned op, unsigned weight)
{
	for (; weight > 0 && deck->n < DECK; weight--)
		deck->op[deck->n++] = op;
}

/* Swarm: leave operations out, give the rest uneven weights. */
static void
gen_swarm(uint64_t *state, uint64_t ops, struct deck *deck)
{
	uint64_t subset = 0;

	for (uint64_t m = ops; m != 0; m &= m - 1)
		if (gen_below(state, 3) != 0)
			subset |= m & -m;
	if (gen_below(state, 8) != 0)
		subset |= ops & MAINLY;
	subset = subset != 0 ? subset : ops;
	for (uint64_t m = subset; m != 0; m &= m - 1)
		deck_add(deck, (unsigned)__builtin_ctzll(m),
		    1 + gen_below(state, 4) + ((m & -m & MAINLY) != 0 ? 6 : 0));
}

/* Few operations, and what enters something for them. */
static void
gen_few(uint64_t *state, uint64_t ops, struct deck *deck)
{
	uint64_t enters = ops & ENTERS;

	for (unsigned i = 2 + gen_below(state, 3); i > 0; i--)
		deck_add(deck, pick_op(ops, gen_below(state, 64)), 3);
	if (enters != 0)
		deck_add(deck, pick_op(enters, gen_below(state, 64)), 3);
	deck_add(deck, pick_op(ops, gen_below(state, 64)), 1);
}

size_t
gen_program(uint64_t seed, uint64_t ops, uint8_t *data, size_t max)
{
	uint64_t state = seed;
	size_t nrecords, off = HEADER;
	struct deck deck = {.n = 0};
	unsigned again;

	if (max < HEADER)
		return 0;
	gen_header(&state, ops, data);
	again = gen_below(&state, 5);
	if (gen_below(&state, 6) == 0)
		gen_few(&state, ops, &deck);
	else
		gen_swarm(&state, ops, &deck);
	if (gen_below(&state, 8) == 0)
		off = gen_crowd(&state, ops, data, off, max);
	else if ((ops & SUPER) == SUPER && gen_below(&state, 12) == 0)
		off = gen_super(&state, data, off, max);
	if (ops == FUZZ_OPS_TREE && gen_below(&state, 64) == 0)
		off = gen_forest(&state, data, off, max);
	nrecords = 4 + gen_below(&state, gen_below(&state, 4) == 0 ? 240 : 60);
	for (; nrecords > 0 && off + RECORD <= max; nrecords--) {
		uint64_t rec =
		    gen_operands(&state, deck.op[gen_below(&state, deck.n)]);

		if (gen_below(&state, 5) < again)
			rec = gen_again(&state, rec, data, off);
		hf_store(data + off, rec);
		off += RECORD;
	}
	return off;
}

/* ---- Mutation -------------------------------------------------------------
 */

static size_t
insert_records(uint64_t *state, uint64_t ops, uint8_t *data, size_t n,
    size_t max)
{
	size_t count = 1 + gen_below(state, 3),
	       at = gen_below(state, (unsigned)n + 1);

	for (; count > 0 && (n + 1) * RECORD <= max; count--, n++) {
		memmove(data + (at + 1) * RECORD, data + at * RECORD,
		    (n - at) * RECORD);
		hf_store(data + at * RECORD, gen_record(state, ops));
	}
	return n;
}

static size_t
delete_records(uint64_t *state, uint8_t *data, size_t n)
{
	size_t at, count;

	if (n == 0)
		return n;
	at = gen_below(state, (unsigned)n);
	count = 1 + gen_below(state, gen_below(state, 4) == 0 ? 16 : 2);
	count = count < n - at ? count : n - at;
	memmove(data + at * RECORD, data + (at + count) * RECORD,
	    (n - at - count) * RECORD);
	return n - count;
}

/* A block of records once more, somewhere. */
static size_t
copy_records(uint64_t *state, uint8_t *data, size_t n, size_t max)
{
	uint8_t block[8 * RECORD];
	size_t from, to, count;

	if (n == 0)
		return n;
	from = gen_below(state, (unsigned)n);
	to = gen_below(state, (unsigned)n + 1);
	count = 1 + gen_below(state, 8);
	count = count < n - from ? count : n - from;
	if ((n + count) * RECORD > max)
		return n;
	memcpy(block, data + from * RECORD, count * RECORD);
	memmove(data + (to + count) * RECORD, data + to * RECORD,
	    (n - to) * RECORD);
	memcpy(data + to * RECORD, block, count * RECORD);
	return n + count;
}

/* Change one operand: anew, by one, or a random bit of the record. */
static void
change_operand(uint64_t *state, uint8_t *p)
{
	uint64_t rec = hf_load(p);
	const struct hf_opdef *def = &hf_ops[hf_op_of(rec)];
	const struct hf_fielddef *f;
	uint64_t v;

	if (def->nfields == 0 || gen_below(state, 16) == 0) {
		hf_store(p, rec ^ UINT64_C(1) << (8 + gen_below(state, 56)));
		return;
	}
	f = &def->fields[gen_below(state, def->nfields)];
	if (f->width == 0)
		return;
	v = hf_bits(f, rec);
	switch (gen_below(state, 4)) {
	case 0:
		v++;
		break;
	case 1:
		v--;
		break;
	default:
		v = gen_operand(state, f);
		break;
	}
	hf_store(p, hf_set_bits(f, rec, v));
}

static void
swap_records(uint64_t *state, uint8_t *data, size_t n)
{
	size_t a = gen_below(state, (unsigned)n),
	       b = gen_below(state, (unsigned)n);
	uint64_t t = hf_load(data + a * RECORD);

	hf_store(data + a * RECORD, hf_load(data + b * RECORD));
	hf_store(data + b * RECORD, t);
}

/* The opcode changes, the operands stay. */
static void
change_op(uint64_t *state, uint64_t ops, uint8_t *p)
{
	p[0] = (uint8_t)pick_op(ops, (unsigned)(gen_random(state) >> 33));
}

static size_t
mutate_once(uint64_t *state, uint64_t ops, uint8_t *data, size_t n, size_t max)
{
	uint8_t *p;

	switch (gen_below(state, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		return insert_records(state, ops, data, n, max);
	case 4:
	case 5:
		return delete_records(state, data, n);
	case 6:
	case 7:
		return copy_records(state, data, n, max);
	default:
		break;
	}
	if (n == 0)
		return n;
	p = data + gen_below(state, (unsigned)n) * RECORD;
	switch (gen_below(state, 8)) {
	case 0:
		change_op(state, ops, p);
		break;
	case 1:
		swap_records(state, data, n);
		break;
	case 2:
		hf_store(p, gen_record(state, ops));
		break;
	default:
		change_operand(state, p);
		break;
	}
	return n;
}

size_t
gen_mutate(uint64_t seed, uint64_t ops, uint8_t *data, size_t size, size_t max)
{
	uint64_t state = seed;
	size_t n;

	if (max < HEADER)
		return 0;
	/* Now and then something new: small changes rarely lead far. */
	if (gen_below(&state, GEN_FRESH) == 0)
		return gen_program(gen_random(&state), ops, data, max);
	if (size < HEADER) {
		gen_header(&state, ops, data);
		size = HEADER;
	}
	if (gen_below(&state, 32) == 0)
		gen_header(&state, ops, data);
	if ((ops >> HF_THREAD & 1) != 0 && gen_below(&state, 4) == 0)
		data[10 + gen_below(&state, 4)] ^= (uint8_t)gen_random(&state);
	n = (size - HEADER) / RECORD;
	for (unsigned i = 1 + gen_below(&state, 4); i > 0; i--)
		n = mutate_once(&state, ops, data + HEADER, n, max - HEADER);
	return HEADER + n * RECORD;
}

size_t
gen_crossover(uint64_t seed, const uint8_t *a, size_t asize, const uint8_t *b,
    size_t bsize, uint8_t *out, size_t max)
{
	uint64_t state = seed;
	size_t na, nb, head, tail;

	if (asize < HEADER || bsize < HEADER || max < HEADER)
		return 0;
	na = (asize - HEADER) / RECORD;
	nb = (bsize - HEADER) / RECORD;
	head = gen_below(&state, (unsigned)na + 1);
	tail = gen_below(&state, (unsigned)nb + 1);
	if (HEADER + head * RECORD > max)
		head = (max - HEADER) / RECORD;
	if (HEADER + (head + tail) * RECORD > max)
		tail = (max - HEADER) / RECORD - head;
	memcpy(out, a, HEADER + head * RECORD);
	memcpy(out + HEADER + head * RECORD, b + HEADER + (nb - tail) * RECORD,
	    tail * RECORD);
	return HEADER + (head + tail) * RECORD;
}
