/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Where each operand of each operation lies.
 *
 * The same operand has the same place in every operation, so that a mutator
 * that changes an opcode keeps what the operands say:
 *
 *	bits  0..7   opcode
 *	      8..9   map          10..13 object, second map
 *	     16..31  address A    32..47 address B, or four nibbles:
 *	                          offset, space, cow, max_addr
 *	     48..55  length       56..63 protections or other attributes
 */

#include "fuzz/prog/prog.h"

#include <assert.h>

#define F(...)                                                                 \
	{                                                                      \
		__VA_ARGS__                                                    \
	}
#define MAP        F("map", HF_F_MAP, HF_T_MAP, 8, 2, 0, true, true)
#define OBJ        F("obj", HF_F_OBJ, HF_T_OBJ, 10, 4, 0, false, false)
#define ADDR(name) F(name, HF_F_A, HF_T_ADDR, 16, 16, 0, false, true)
#define LEN(name)  F(name, HF_F_LEN, HF_T_LEN, 48, 8, 1, false, true)
#define END        F("end", HF_F_END, HF_T_ADDR, 0, 0, 0, false, false)
#define OFF        F("off", HF_F_OFF, HF_T_OFF, 32, 4, 0, false, false)
#define SPACE      F("space", HF_F_SPACE, HF_T_SPACE, 36, 4, 1, false, true)
#define COW        F("cow", HF_F_COW, HF_T_COW, 40, 4, 0, false, false)
#define LIM        F("max_addr", HF_F_LIM, HF_T_LIM, 44, 4, 0, false, false)
#define PROT       F("prot", HF_F_PROT, HF_T_PROT, 56, 3, 3, false, true)
#define MAX        F("max", HF_F_MAX, HF_T_PROT, 59, 3, 7, false, true)

/* clang-format off */
const struct hf_opdef hf_ops[HF_NOPS] = {
	[HF_NOP] = {"nop", 0, {{0}}},
	[HF_EXT] = {"ext", 4, {
		F("field", 0, HF_T_FIELD, 8, 5, 0, true, true),
		F("unit", 0, HF_T_INT, 13, 2, 0, false, false),
		F("hi", 0, HF_T_BOOL, 15, 1, 0, false, false),
		F("value", 0, HF_T_INT, 16, 48, 0, false, true)}},
	[HF_WORLD] = {"world", 3, {
		F("arch", HF_F_ARCH, HF_T_ARCH, 8, 2, 0, false, true),
		F("page", HF_F_PAGE, HF_T_PAGE, 10, 2, 0, false, false),
		F("compat", HF_F_COMPAT, HF_T_BOOL, 12, 1, 0, false, false)}},
	[HF_SEG] = {"seg", 3, {
		F("start", HF_F_A, HF_T_PADDR, 16, 16, 0, false, true),
		F("end", HF_F_B, HF_T_PADDR, 32, 16, 0, false, true),
		F("domain", HF_F_DOMAIN, HF_T_INT, 8, 3, 0, false, false)}},
	[HF_UNSEG] = {"unseg", 2, {
		F("start", HF_F_A, HF_T_PADDR, 16, 16, 0, false, true),
		F("end", HF_F_B, HF_T_PADDR, 32, 16, 0, false, true)}},
	[HF_MAP] = {"map", 3, {MAP,
		F("min", HF_F_A, HF_T_ADDR, 16, 16, 0, false, false),
		F("max", HF_F_B, HF_T_ADDR, 32, 16, 0x2000, false, false)}},
	[HF_DESTROY] = {"destroy", 1, {MAP}},
	[HF_OBJECT] = {"object", 4, {
		F("obj", HF_F_OBJ, HF_T_OBJ, 10, 4, 1, true, true),
		F("kind", HF_F_KIND, HF_T_KIND, 8, 2, 0, false, false),
		LEN("size"),
		F("color", HF_F_OFF, HF_T_OFF, 32, 4, 0, false, false)}},
	[HF_DEREF] = {"deref", 1, {
		F("obj", HF_F_OBJ, HF_T_OBJ, 10, 4, 1, true, true)}},
	[HF_INSERT] = {"insert", 9, {
		MAP, OBJ, OFF, ADDR("start"), LEN("len"), END, PROT, MAX, COW}},
	[HF_FIND] = {"find", 10, {
		MAP, OBJ, OFF, ADDR("addr"), LEN("len"), LIM, SPACE, PROT, MAX,
		COW}},
	[HF_FIND_MIN] = {"find_min", 11, {
		MAP, OBJ, OFF, ADDR("addr"), LEN("len"),
		F("default", HF_F_DEF, HF_T_LIM, 62, 2, 0, false, false),
		LIM, SPACE, PROT, MAX, COW}},
	[HF_FIXED] = {"fixed", 8, {
		MAP, OBJ, OFF, ADDR("start"), LEN("len"), PROT, MAX, COW}},
	[HF_FINDSPACE] = {"findspace", 3, {MAP, ADDR("start"), LEN("len")}},
	[HF_DELETE] = {"delete", 4, {MAP, ADDR("start"), LEN("len"), END}},
	[HF_REMOVE] = {"remove", 4, {MAP, ADDR("start"), LEN("len"), END}},
	[HF_LOOKUP] = {"lookup", 3, {MAP, ADDR("addr"),
		F("type", HF_F_TYPE, HF_T_FTYPE, 56, 4, 1, false, true)}},
	[HF_ENTRY] = {"entry", 2, {MAP, ADDR("addr")}},
	[HF_ENTRIES] = {"entries", 1, {MAP}},
	[HF_CHECK] = {"check", 1, {MAP}},
	[HF_STAT] = {"stat", 1, {MAP}},
	[HF_CONTIG] = {"contig", 7, {LEN("size"),
		F("low", HF_F_A, HF_T_PADDR, 16, 16, 0, false, false),
		F("high", HF_F_B, HF_T_PADDR, 32, 16, 0xc200, false, false),
		F("align", HF_F_ALIGN, HF_T_ALIGN, 56, 4, 0, false, false),
		F("boundary", HF_F_BOUNDARY, HF_T_ALIGN, 60, 4, 1, false, false),
		F("domain", HF_F_DOMAIN, HF_T_DOMAIN, 8, 3, 0, false, false),
		F("flags", HF_F_FLAGS, HF_T_CFLAGS, 11, 3, 0, false, false)}},
	[HF_CONTIGFREE] = {"contigfree", 1, {
		F("buf", HF_F_BUF, HF_T_BUF, 16, 16, 0, true, true)}},
	[HF_PHYS] = {"phys", 0, {{0}}},
	[HF_TAKE] = {"take", 2, {
		F("start", HF_F_A, HF_T_PADDR, 16, 16, 0, false, true),
		F("end", HF_F_B, HF_T_PADDR, 32, 16, 0, false, true)}},
	[HF_GIVE] = {"give", 2, {
		F("start", HF_F_A, HF_T_PADDR, 16, 16, 0, false, true),
		F("end", HF_F_B, HF_T_PADDR, 32, 16, 0, false, true)}},
	[HF_PROTECT] = {"protect", 7, {
		MAP, ADDR("start"), LEN("len"), END, PROT, MAX,
		F("set", HF_F_SET, HF_T_SET, 62, 2, 0, false, false)}},
	[HF_INHERIT] = {"inherit", 5, {MAP, ADDR("start"), LEN("len"), END,
		F("inherit", HF_F_INH, HF_T_INH, 56, 3, 0, false, true)}},
	[HF_MADVISE] = {"madvise", 5, {MAP, ADDR("start"), LEN("len"), END,
		F("advice", HF_F_ADVICE, HF_T_ADVICE, 56, 4, 0, false, true)}},
	[HF_WIRE] = {"wire", 5, {MAP, ADDR("start"), LEN("len"), END,
		F("flags", HF_F_FLAGS, HF_T_WIRE, 56, 3, 1, false, true)}},
	[HF_UNWIRE] = {"unwire", 5, {MAP, ADDR("start"), LEN("len"), END,
		F("flags", HF_F_FLAGS, HF_T_WIRE, 56, 3, 1, false, true)}},
	[HF_SYNC] = {"sync", 6, {MAP, ADDR("start"), LEN("len"), END,
		F("io", HF_F_SET, HF_T_BOOL, 56, 1, 0, false, false),
		F("invalidate", HF_F_CLEAR, HF_T_BOOL, 57, 1, 0, false,
		    false)}},
	[HF_STACK] = {"stack", 6, {
		MAP, ADDR("addr"), LEN("len"), PROT, MAX, COW}},
	[HF_GROWSTACK] = {"growstack", 2, {MAP, ADDR("addr")}},
	[HF_CHECK_PROTECTION] = {"check_protection", 5, {
		MAP, ADDR("start"), LEN("len"), END, PROT}},
	[HF_FORK] = {"fork", 2, {MAP,
		F("to", HF_F_MAP2, HF_T_MAP, 10, 2, 1, false, true)}},
	[HF_SUBMAP] = {"submap", 5, {MAP, ADDR("start"), LEN("len"), END,
		F("sub", HF_F_MAP2, HF_T_MAP, 10, 2, 1, false, true)}},
	[HF_LIMIT] = {"limit", 3, {MAP,
		F("what", HF_F_KIND, HF_T_WHAT, 10, 3, 0, true, true),
		F("value", HF_F_VALUE, HF_T_LEN, 48, 8, 1, false, true)}},
	[HF_FLAGS] = {"flags", 3, {MAP,
		F("set", HF_F_SET, HF_T_MFLAGS, 32, 3, 0, false, false),
		F("clear", HF_F_CLEAR, HF_T_MFLAGS, 36, 3, 0, false, false)}},
	[HF_INJECT] = {"inject", 2, {
		F("nth", HF_F_NTH, HF_T_INT, 16, 16, 1, false, true),
		F("sticky", HF_F_STICKY, HF_T_BOOL, 8, 1, 0, false, false)}},
	[HF_THREAD] = {"thread", 1, {
		F("n", HF_F_VALUE, HF_T_INT, 8, 2, 0, true, true)}},
	[HF_LOCK] = {"lock", 2, {MAP,
		F("how", HF_F_KIND, HF_T_INT, 56, 3, 0, false, true)}},
	[HF_FIND_ALIGNED] = {"find_aligned", 5, {MAP, ADDR("addr"), LEN("len"),
		LIM, F("align", HF_F_ALIGN, HF_T_ALIGN, 56, 4, 0, false, true)}},
	[HF_CHECK_BOUNDARY] = {"check_boundary", 4, {
		MAP, ADDR("start"), LEN("len"), END}},
	[HF_SIMPLIFY] = {"simplify", 2, {MAP, ADDR("addr")}},
	[HF_TOUCH] = {"touch", 3, {MAP, ADDR("addr"),
		F("type", HF_F_TYPE, HF_T_FTYPE, 56, 4, 1, false, true)}},
};

const struct hf_opdef hf_header_def = {"program", 9, {
	F("version", 0, HF_T_INT, 0, 8, 1, false, false),
	F("preset", 0, HF_T_INT, 8, 8, 0, false, false),
	F("swarm", 0, HF_T_INT, 16, 32, 0, false, false),
	F("cadence", 0, HF_T_CADENCE, 48, 3, 0, false, false),
	F("exact", 0, HF_T_BOOL, 51, 1, 0, false, false),
	F("compat", 0, HF_T_BOOL, 52, 1, 0, false, false),
	F("fault", 0, HF_T_FAULT, 53, 2, 0, false, false),
	F("nth", 0, HF_T_INT, 64, 16, 0, false, false),
	F("seed", 0, HF_T_INT, 80, 32, 0, false, false)}};
/* clang-format on */

static_assert(HF_NFIELDS <= 32, "ext has five bits for a field");
static_assert(HF_NOPS <= 128, "an opcode byte must keep aliases few");

uint8_t hf_field_at[HF_NOPS][HF_NFIELDS];

/* From the table above, before main(). */
__attribute__((constructor)) static void
index_fields(void)
{
	for (unsigned op = 0; op < HF_NOPS; op++)
		for (unsigned i = 0; op != HF_EXT && i < hf_ops[op].nfields;
		     i++)
			hf_field_at[op][hf_ops[op].fields[i].field] =
			    (uint8_t)(i + 1);
}

void
hf_header_read(const uint8_t *data, size_t size, struct hf_header *hp)
{
	static const uint16_t cadence[8] = {1, 2, 4, 8, 16, 64, 128, 0xff};
	uint8_t raw[HF_HEADER_SIZE] = {0};
	uint64_t word[2];
	uint64_t v[9];

	for (size_t i = 0; i < size && i < sizeof(raw); i++)
		raw[i] = data[i];
	word[0] = hf_load(raw);
	word[1] = hf_load(raw + 8);
	for (unsigned i = 0; i < hf_header_def.nfields; i++)
		v[i] = hf_bits(&hf_header_def.fields[i],
		    word[hf_header_def.fields[i].bit / 64]);
	hp->version = (uint8_t)v[0];
	hp->preset = (uint8_t)v[1];
	hp->swarm = (uint32_t)v[2];
	hp->cadence = (uint8_t)cadence[v[3]];
	hp->exact = v[4] != 0;
	hp->compat = v[5] != 0;
	hp->fault = (uint8_t)v[6];
	hp->nth = (uint16_t)v[7];
	hp->seed = (uint32_t)v[8];
}

void
hf_default_header(uint8_t header[HF_HEADER_SIZE])
{
	for (int i = 0; i < HF_HEADER_SIZE; i++)
		header[i] = 0;
	header[6] = 1u << 3; /* exact */
}

/* What an ext record adds. */
static void
ext_add(struct hf_ext *ext, uint64_t rec)
{
	const struct hf_fielddef *def = hf_ops[HF_EXT].fields;
	uint64_t field = hf_bits(&def[0], rec), v = hf_bits(&def[3], rec);
	uint64_t low = (UINT64_C(1) << 48) - 1;

	if (field >= HF_NFIELDS)
		return;
	if (hf_bits(&def[2], rec) != 0) {
		if ((ext->set >> field & 1) == 0)
			ext->value[field] = 0;
		v = (ext->value[field] & low) | v << 48;
	}
	ext->set |= UINT32_C(1) << field;
	ext->unit[field] = (uint8_t)hf_bits(&def[1], rec);
	ext->value[field] = v;
}

bool
hf_next(const uint8_t *data, size_t size, size_t *offp, struct hf_inst *inst)
{
	size_t off = *offp == 0 ? HF_HEADER_SIZE : *offp;

	inst->ext.set = 0;
	for (; off + HF_RECORD_SIZE <= size; off += HF_RECORD_SIZE) {
		inst->rec = hf_load(data + off);
		inst->op = hf_op_of(inst->rec);
		inst->alias = hf_alias_of(inst->rec);
		if (inst->op == HF_EXT) {
			ext_add(&inst->ext, inst->rec);
			continue;
		}
		*offp = off + HF_RECORD_SIZE;
		return true;
	}
	*offp = off;
	return false;
}

void
hf_operand(const struct hf_inst *inst, const struct hf_fielddef *def,
    struct hf_expr *ep)
{
	uint8_t field = def->field;

	if (inst->op != HF_EXT && (inst->ext.set >> field & 1) != 0) {
		*ep = (struct hf_expr){.literal = true};
		switch (inst->ext.unit[field]) {
		case HF_PAGES:
			ep->p = (int64_t)inst->ext.value[field];
			ep->literal = false;
			break;
		case HF_SUPERS:
			ep->s = (int64_t)inst->ext.value[field];
			ep->literal = false;
			break;
		default:
			ep->b = inst->ext.value[field];
			break;
		}
		return;
	}
	hf_expr_of((enum hf_type)def->type, hf_bits(def, inst->rec), ep);
}
