/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The two forms of operation programs and the way between them.
 *
 * Covered: that no byte is lost on the way to text and back, that text is
 * stable, that every operand's bits have one meaning and every meaning one
 * spelling, and what the assembler says of bad text.  What operations do is
 * tested elsewhere.
 */

#include "fuzz/prog/prog.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

/* bytes -> text -> the same bytes; text -> bytes -> the same text. */
static void
round_trip(const uint8_t *data, size_t size)
{
	struct hf_buf text = {0}, bytes = {0}, again = {0};
	struct hf_error error = {0};

	hf_disassemble(data, size, &text);
	if (!hf_assemble(text.p, text.len, &bytes, &error))
		test_fail(__FILE__, __LINE__, "line %d: %s in:\n%s", error.line,
		    error.text, text.p);
	ASSERT_EQ(bytes.len, size);
	if (size > 0)
		ASSERT_TRUE(memcmp(bytes.p, data, size) == 0);
	hf_disassemble((const uint8_t *)bytes.p, bytes.len, &again);
	ASSERT_STREQ(text.p, again.p);
	hf_buf_free(&text);
	hf_buf_free(&bytes);
	hf_buf_free(&again);
}

/* The canonical text of a text. */
static void
canonical(const char *text, struct hf_buf *out)
{
	struct hf_buf bytes = {0};
	struct hf_error error = {0};

	if (!hf_assemble(text, strlen(text), &bytes, &error))
		test_fail(__FILE__, __LINE__, "line %d: %s", error.line,
		    error.text);
	hf_disassemble((const uint8_t *)bytes.p, bytes.len, out);
	hf_buf_free(&bytes);
}

static void
expect_same(const char *text)
{
	struct hf_buf out = {0};

	canonical(text, &out);
	ASSERT_STREQ(out.p, text);
	hf_buf_free(&out);
}

static void
expect_error(const char *text, int line, const char *part)
{
	struct hf_buf bytes = {0};
	struct hf_error error = {0};

	ASSERT_FALSE(hf_assemble(text, strlen(text), &bytes, &error));
	ASSERT_EQ(error.line, line);
	ASSERT_HAS(error.text, part);
	hf_buf_free(&bytes);
}

TEST(prog__random_bytes_survive_the_way_to_text_and_back)
{
	uint64_t state = test_seed(), n = test_ops(20000);
	uint8_t data[160];

	for (uint64_t i = 0; i < n; i++) {
		size_t size = test_random(&state) % (sizeof(data) + 1);

		for (size_t j = 0; j < size; j++)
			data[j] = (uint8_t)test_random(&state);
		round_trip(data, size);
	}
}

TEST(prog__random_canonical_records_survive_too)
{
	uint64_t state = test_seed() + 1, n = test_ops(20000);
	uint8_t data[HF_HEADER_SIZE + 12 * HF_RECORD_SIZE];

	for (uint64_t i = 0; i < n; i++) {
		for (size_t j = 0; j < sizeof(data); j++)
			data[j] = (uint8_t)test_random(&state);
		hf_default_header(data);
		for (size_t j = HF_HEADER_SIZE; j < sizeof(data);
		     j += HF_RECORD_SIZE) {
			uint64_t r = test_random(&state);

			/* Many ext records, so that groups form. */
			data[j] =
			    (uint8_t)(r % 3 == 0 ? HF_EXT : (r >> 8) % HF_NOPS);
		}
		round_trip(data, sizeof(data));
	}
}

TEST(prog__each_bit_alone_survives)
{
	uint8_t data[HF_HEADER_SIZE + HF_RECORD_SIZE];

	for (unsigned op = 0; op < HF_NOPS; op++)
		for (unsigned bit = 0; bit < sizeof(data) * 8; bit++) {
			memset(data, 0, sizeof(data));
			data[HF_HEADER_SIZE] = (uint8_t)op;
			data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			round_trip(data, sizeof(data));
		}
}

/* What a corpus means is not to change when an operation is added. */
TEST(prog__an_opcode_byte_without_an_operation_means_what_it_always_did)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		unsigned op = byte < HF_NOPS ? byte : byte % 43;

		ASSERT_EQ(hf_op_of(UINT64_C(0xabcd00) | byte), op);
		ASSERT_EQ(op + hf_alias_of(byte) * 43u, byte);
	}
}

TEST(prog__an_empty_and_a_short_program_survive)
{
	static const uint8_t data[HF_HEADER_SIZE + 11] = {1, 2, 3};

	for (size_t size = 0; size <= sizeof(data); size++)
		round_trip(data, size);
}

/* Bits -> meaning -> bits, and bits -> text -> bits, for all bits. */
static void
check_type(enum hf_type type, unsigned width)
{
	struct hf_buf text = {0};
	struct hf_expr e, back;
	uint64_t raw;

	for (uint64_t v = 0; v < UINT64_C(1) << width; v++) {
		hf_expr_of(type, v, &e);
		ASSERT_TRUE(hf_raw_of(type, &e, width, &raw));
		ASSERT_EQ(raw, v);
		text.len = 0;
		hf_expr_print(type, &e, &text);
		if (!hf_expr_parse(type, text.p, text.len, &back))
			test_fail(__FILE__, __LINE__, "type %d: %s", type,
			    text.p);
		if (!hf_raw_of(type, &back, width, &raw) || raw != v)
			test_fail(__FILE__, __LINE__,
			    "type %d: %#llx is %s is not the same", type,
			    (unsigned long long)v, text.p);
	}
	hf_buf_free(&text);
}

TEST(prog__every_operand_has_one_spelling_for_each_value)
{
	for (unsigned op = 0; op < HF_NOPS; op++)
		for (unsigned i = 0; i < hf_ops[op].nfields; i++)
			if (hf_ops[op].fields[i].width > 0 &&
			    hf_ops[op].fields[i].width <= 16)
				check_type((enum hf_type)hf_ops[op]
					       .fields[i]
					       .type,
				    hf_ops[op].fields[i].width);
}

TEST(prog__operands_of_an_operation_do_not_overlap)
{
	for (unsigned op = 0; op < HF_NOPS; op++) {
		const struct hf_opdef *def = &hf_ops[op];
		uint64_t seen = 0xff; /* the opcode */
		uint32_t fields = 0;

		ASSERT_NOT_NULL(def->name);
		for (unsigned i = 0; i < def->nfields; i++) {
			uint64_t mask = hf_set_bits(&def->fields[i], 0,
			    UINT64_MAX ^ def->fields[i].flip);

			ASSERT_NOT_NULL(def->fields[i].name);
			ASSERT_EQ(seen & mask, (uint64_t)0);
			seen |= mask;
			if (op == HF_EXT)
				continue;
			ASSERT_EQ(fields >> def->fields[i].field & 1, 0u);
			fields |= UINT32_C(1) << def->fields[i].field;
		}
	}
}

TEST(prog__canonical_text_is_stable)
{
	expect_same("find m addr=0x10000 len=0x4000 space=super prot=rw "
		    "max=rwx\n");
	expect_same("program preset=3 swarm=0x60 cadence=4 fault=once nth=7 "
		    "seed=0x1234\n"
		    "insert m obj=o2 off=1p start=@3.end+1p len=2s-1p prot=r "
		    "max=rw cow=guard\n"
		    "lookup m1 addr=$0+3p type=rwc\n"
		    "entries m\n");
	expect_same("world arch=aarch64 page=16k\n"
		    "seg start=0x1000000 end=0x5000000 domain=1\n"
		    "contig size=0x2000 high=0x400000 align=0x8000 "
		    "boundary=0x100000 flags=zero\n"
		    "contigfree b1\n");
	expect_same(
	    "delete m start=0xffffffffffff1000 end=0x123456789abcdef\n");
}

TEST(prog__text_is_brought_into_canonical_form)
{
	struct hf_buf out = {0};

	canonical("# a comment\n\n  find m  prot=wr len=16k addr=65536 max=0x7 "
		  "space=any # behind\n",
	    &out);
	ASSERT_STREQ(out.p,
	    "find m addr=0x10000 len=0x4000 space=any prot=rw max=rwx\n");
	hf_buf_free(&out);
}

TEST(prog__bad_text_is_answered_with_line_and_expectation)
{
	expect_error("check m\nfrob m\n", 2, "expected an operation");
	expect_error("find m addr=zebra\n", 1, "an address such as");
	expect_error("find m adr=1\n", 1, "expected one of map");
	expect_error("find m prot=rwy\n", 1, "rights");
	expect_error("find m prot=r prot=w\n", 1, "given twice");
	expect_error("find m addr=min+9000p\n", 1, "no short form");
	expect_error("phys m\n", 1, "end of the line");
	expect_error("check m\nprogram preset=1\n", 2, "first line");
	expect_error("program preset=300\n", 1, "no short form");
	expect_error("raw 0g\n", 1, "hex digits");
	expect_error("raw 00\ncheck m\n", 2, "nothing behind raw");
	expect_error("find m len=18446744073709551616\n", 1, "a length");
	expect_error("check m alias=99\n", 1, "alias");
	expect_error("check m pad=1\n", 1, "pad");
}

TEST(prog__absolute_values_of_64_bits_reach_the_operation)
{
	static const char text[] = "find m addr=0x7fff12345000 "
				   "len=0xfffffffffffff000 max_addr=200p\n";
	struct hf_buf bytes = {0};
	struct hf_error error;
	struct hf_inst inst;
	struct hf_expr e;
	size_t off = 0;

	ASSERT_TRUE(hf_assemble(text, strlen(text), &bytes, &error));
	ASSERT_TRUE(hf_next((const uint8_t *)bytes.p, bytes.len, &off, &inst));
	ASSERT_EQ(inst.op, HF_FIND);
	hf_operand(&inst, hf_field(HF_FIND, HF_F_A), &e);
	ASSERT_EQ(e.b, UINT64_C(0x7fff12345000));
	hf_operand(&inst, hf_field(HF_FIND, HF_F_LEN), &e);
	ASSERT_EQ(e.b, UINT64_C(0xfffffffffffff000));
	hf_operand(&inst, hf_field(HF_FIND, HF_F_LIM), &e);
	ASSERT_EQ(e.p, 200);
	ASSERT_FALSE(hf_next((const uint8_t *)bytes.p, bytes.len, &off, &inst));
	hf_buf_free(&bytes);
}
