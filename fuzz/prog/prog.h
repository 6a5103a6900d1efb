/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Operation programs: one vocabulary for vmsh, tests, fuzzers and reports.
 *
 * Binary form: a header of 16 bytes, then records of 8.  Every byte string is
 * a program.  Text form: one operation a line.  The two translate into each
 * other without loss: hf_assemble(hf_disassemble(bytes)) gives the same bytes,
 * whatever they are.
 *
 * A record is an opcode and 56 bits of operands, whose places and meanings
 * stand in one table (schema.c).  Operands are small and relative to the state
 * the program has reached: "two pages behind the third entry".  Where that is
 * not enough, `ext` records in front of an operation carry 64-bit values; in
 * the text form they melt into it (`addr=0x10000`).
 *
 * Grammar: docs/programs.md.
 */

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HF_HEADER_SIZE 16
#define HF_RECORD_SIZE 8
#define HF_FIELDS_MAX  13 /* of one operation */

/* Opcodes are for ever: append only. */
enum hf_opcode {
	HF_NOP,
	HF_EXT,
	HF_WORLD,
	HF_SEG,
	HF_UNSEG,
	HF_MAP,
	HF_DESTROY,
	HF_OBJECT,
	HF_DEREF,
	HF_INSERT,
	HF_FIND,
	HF_FIND_MIN,
	HF_FIXED,
	HF_FINDSPACE,
	HF_DELETE,
	HF_REMOVE,
	HF_LOOKUP,
	HF_ENTRY,
	HF_ENTRIES,
	HF_CHECK,
	HF_STAT,
	HF_CONTIG,
	HF_CONTIGFREE,
	HF_PHYS,
	HF_TAKE,
	HF_GIVE,
	HF_PROTECT,
	HF_INHERIT,
	HF_MADVISE,
	HF_WIRE,
	HF_UNWIRE,
	HF_SYNC,
	HF_STACK,
	HF_GROWSTACK,
	HF_CHECK_PROTECTION,
	HF_FORK,
	HF_SUBMAP,
	HF_LIMIT,
	HF_FLAGS,
	HF_INJECT,
	HF_TOUCH,
	HF_THREAD,
	HF_LOCK,
	HF_FIND_ALIGNED,
	HF_CHECK_BOUNDARY,
	HF_SIMPLIFY,
	HF_NOPS,
};

/*
 * An opcode byte that names no operation counts modulo this, for ever: what
 * old byte strings mean is not to change with every operation that is added.
 */
#define HF_NALIASED 43

static inline uint8_t
hf_op_of(uint64_t rec)
{
	uint8_t op = (uint8_t)rec;

	return op < HF_NOPS ? op : op % HF_NALIASED;
}

/* How often HF_NALIASED goes into an opcode byte that names no operation. */
static inline uint8_t
hf_alias_of(uint64_t rec)
{
	uint8_t op = (uint8_t)rec;

	return op < HF_NOPS ? 0 : op / HF_NALIASED;
}

/* What an operand means to the operation; also its number in an ext record. */
enum hf_field {
	HF_F_MAP,
	HF_F_MAP2,
	HF_F_OBJ,
	HF_F_BUF,
	HF_F_A, /* first address: addr, start, low, min */
	HF_F_B, /* second address: high, max, end */
	HF_F_LEN,
	HF_F_END, /* in place of a length */
	HF_F_OFF,
	HF_F_SPACE,
	HF_F_COW,
	HF_F_PROT,
	HF_F_MAX,
	HF_F_LIM, /* max_addr */
	HF_F_DEF, /* default_addr */
	HF_F_KIND,
	HF_F_TYPE,
	HF_F_SET,
	HF_F_INH,
	HF_F_ADVICE,
	HF_F_FLAGS,
	HF_F_CLEAR,
	HF_F_ALIGN,
	HF_F_BOUNDARY,
	HF_F_DOMAIN,
	HF_F_ARCH,
	HF_F_PAGE,
	HF_F_COMPAT,
	HF_F_NTH,
	HF_F_STICKY,
	HF_F_VALUE,
	HF_NFIELDS, /* at most 32: ext has 5 bits for it */
};

/* How the bits of an operand read. */
enum hf_type {
	HF_T_INT,
	HF_T_BOOL,
	HF_T_MAP,
	HF_T_OBJ,
	HF_T_BUF,
	HF_T_ADDR,
	HF_T_PADDR,
	HF_T_LEN,
	HF_T_LIM,
	HF_T_OFF,
	HF_T_ALIGN,
	HF_T_PROT,
	HF_T_INH,
	HF_T_SPACE,
	HF_T_COW,
	HF_T_KIND,
	HF_T_FTYPE,
	HF_T_SET,
	HF_T_ADVICE,
	HF_T_WIRE,
	HF_T_CFLAGS,
	HF_T_DOMAIN,
	HF_T_ARCH,
	HF_T_PAGE,
	HF_T_WHAT,
	HF_T_MFLAGS,
	HF_T_CADENCE,
	HF_T_FAULT,
	HF_T_FIELD,
	HF_NTYPES,
};

/* One operand of one operation: `width` bits from `bit` (0: ext only). */
struct hf_fielddef {
	const char *name;
	uint8_t field; /* enum hf_field */
	uint8_t type;  /* enum hf_type */
	uint8_t bit, width;
	uint16_t flip; /* stored xor this, so that 0 is a good default */
	bool bare;     /* written without its name: `entries m` */
	bool shown;    /* printed even where its bits are 0 */
};

struct hf_opdef {
	const char *name;
	uint8_t nfields;
	struct hf_fielddef fields[HF_FIELDS_MAX];
};

extern const struct hf_opdef hf_ops[HF_NOPS];
extern const struct hf_opdef hf_header_def;

/* Where an operand is anchored. */
enum hf_anchor {
	HF_AN_NONE, /* a number */
	HF_AN_MIN,  /* of the map */
	HF_AN_TOP,
	HF_AN_SUP,   /* first superpage boundary of the map */
	HF_AN_START, /* of entry idx */
	HF_AN_MID,
	HF_AN_END,
	HF_AN_RESULT,    /* address of the idx-th last result */
	HF_AN_EDGE,      /* enum hf_edge in idx */
	HF_AN_SPAN,      /* the map's length, divided by div */
	HF_AN_PA,        /* physical 0 */
	HF_AN_SPA,       /* the same, counted in superpages */
	HF_AN_BUF_START, /* of live buffer idx */
	HF_AN_BUF_END,
	HF_AN_SEG_START, /* of physical segment idx */
	HF_AN_SEG_END,
	HF_NANCHORS,
};

enum hf_edge {
	HF_E_ZERO,
	HF_E_ALL,  /* 2^64 - 1 */
	HF_E_HALF, /* 2^63 */
	HF_E_G2,   /* 2^31 */
	HF_E_G4,   /* 2^32 */
	HF_E_UMIN, /* lowest user address */
	HF_E_UMAX,
	HF_E_MID,   /* middle of the map */
	HF_E_FIRST, /* start of the first entry */
	HF_E_LAST,  /* end of the last entry */
	HF_E_WRAP,  /* 2^64 - page */
	HF_E_M16,   /* 2^24 */
	HF_E_T48,   /* 2^48 */
	HF_E_PTOP,  /* end of the highest segment */
	HF_E_PBOT,  /* start of the lowest segment */
	HF_E_PMAX,  /* end of the machine's physical addresses */
	HF_NEDGES,
};

/* anchor + s superpages + p pages + b bytes. */
struct hf_expr {
	uint8_t anchor;
	uint8_t div;
	bool literal; /* just `b` */
	uint16_t idx;
	int64_t s, p;
	uint64_t b;
};

/* The operands that ext records gave. */
enum hf_unit { HF_BYTES, HF_PAGES, HF_SUPERS };
struct hf_ext {
	uint32_t set; /* one bit a field */
	uint8_t unit[HF_NFIELDS];
	uint64_t value[HF_NFIELDS];
};

/* One operation with what stood in front of it. */
struct hf_inst {
	uint8_t op;
	uint8_t alias; /* how often HF_NALIASED was taken from the opcode */
	uint64_t rec;  /* the record, little endian */
	struct hf_ext ext;
};

struct hf_header {
	uint8_t version;
	uint8_t preset;
	uint32_t swarm;  /* a bit takes every 32nd operation away */
	uint8_t cadence; /* full comparison after every 1, 2, 4, 8 operations;
			    0xff: at the end */
	bool exact;      /* names mean what they say; otherwise modulo */
	bool compat;     /* no strict checks */
	uint8_t fault;   /* 0 none, 1 the nth once, 2 from the nth on,
			    3 every nth */
	uint16_t nth;
	uint32_t seed;
};

/* ---- Binary form ----------------------------------------------------------
 */

void hf_header_read(const uint8_t *data, size_t size, struct hf_header *hp);

/* Walk the operations; *offp starts at 0.  false: no more. */
bool hf_next(const uint8_t *data, size_t size, size_t *offp,
    struct hf_inst *inst);

/* Little endian, whatever the machine. */
static inline uint64_t
hf_load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void
hf_store(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* 1 + the place of each field among those of its operation; 0: it has none. */
extern uint8_t hf_field_at[HF_NOPS][HF_NFIELDS];

/* The field of an operation, or NULL. */
static inline const struct hf_fielddef *
hf_field(uint8_t op, uint8_t field)
{
	unsigned at = hf_field_at[op][field];

	return at != 0 ? &hf_ops[op].fields[at - 1] : NULL;
}

/* Its bits in a record (header: word 0 or 1). */
static inline uint64_t
hf_bits(const struct hf_fielddef *def, uint64_t rec)
{
	if (def->width == 0)
		return 0;
	return (rec >> (def->bit & 63) & ((UINT64_C(1) << def->width) - 1)) ^
	       def->flip;
}

static inline uint64_t
hf_set_bits(const struct hf_fielddef *def, uint64_t rec, uint64_t v)
{
	uint64_t mask;

	if (def->width == 0)
		return rec;
	mask = ((UINT64_C(1) << def->width) - 1) << (def->bit & 63);
	return (rec & ~mask) | (((v ^ def->flip) << (def->bit & 63)) & mask);
}

/* What the operand says, from ext records or from the record's bits. */
void hf_operand(const struct hf_inst *inst, const struct hf_fielddef *def,
    struct hf_expr *ep);

/* Bits to meaning, and back; false: no bits mean that. */
void hf_expr_of(enum hf_type type, uint64_t raw, struct hf_expr *ep);
bool hf_raw_of(enum hf_type type, const struct hf_expr *e, unsigned width,
    uint64_t *rawp);

/* ---- Text form ------------------------------------------------------------
 */

/* A growing string; ends in NUL when `p` is not NULL. */
struct hf_buf {
	char *p;
	size_t len, cap;
};

void hf_buf_put(struct hf_buf *b, const void *p, size_t len);
void hf_buf_printf(struct hf_buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void hf_buf_free(struct hf_buf *b);

struct hf_error {
	int line;       /* from 1 */
	char text[200]; /* what was expected */
};

/* Text of a program, appended to `out`. */
void hf_disassemble(const uint8_t *data, size_t size, struct hf_buf *out);

/* Text of one operation without line end, absolute operands as `ext` had. */
void hf_print_inst(const struct hf_inst *inst, struct hf_buf *out);

/* Bytes of a text, appended to `out`.  false: *errp says where and why. */
bool hf_assemble(const char *text, size_t size, struct hf_buf *out,
    struct hf_error *errp);

/*
 * One line of text: appended as records.  An empty line or a comment appends
 * nothing.  false: errp->text; errp->line is left alone.
 */
bool hf_assemble_line(const char *line, size_t size, struct hf_buf *out,
    struct hf_error *errp);

/* The header that a text without a `program` line has. */
void hf_default_header(uint8_t header[HF_HEADER_SIZE]);

void hf_expr_print(enum hf_type type, const struct hf_expr *e,
    struct hf_buf *out);
/* `token` as an operand of this type; false: not one. */
bool hf_expr_parse(enum hf_type type, const char *token, size_t size,
    struct hf_expr *ep);
/* "an address such as 0x10000, min+4p or @3.end" */
const char *hf_type_hint(enum hf_type type);

/* Name of a value of a type with names ("rw", "super"), or NULL. */
const char *hf_value_name(enum hf_type type, uint64_t value);

/* Number of canonical values of a type that has a table, 0 otherwise. */
unsigned hf_type_nvalues(enum hf_type type);
