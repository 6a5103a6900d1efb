/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Bytes to text and back.
 *
 * Every line can be written so that it shows each bit of its records: fields
 * by name, what no field covers as `pad=`, ext records as `ext` lines.  The
 * friendly form melts ext records into their operation; it is used exactly
 * when assembling it gives the same bytes.  So nothing is ever lost.
 */

#include "fuzz/prog/prog.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A growing string -----------------------------------------------------
 */

void
hf_buf_put(struct hf_buf *b, const void *p, size_t len)
{
	if (b->len + len + 1 > b->cap) {
		b->cap = (b->len + len + 64) * 2;
		b->p = realloc(b->p, b->cap);
		if (b->p == NULL)
			abort();
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void
hf_buf_printf(struct hf_buf *b, const char *format, ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n > 0)
		hf_buf_put(b, text,
		    (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void
hf_buf_free(struct hf_buf *b)
{
	free(b->p);
	*b = (struct hf_buf){0};
}

/* ---- Writing --------------------------------------------------------------
 */

/* The bits of word `word` that no field of `def` covers. */
static uint64_t
uncovered(const struct hf_opdef *def, unsigned word)
{
	uint64_t mask = UINT64_MAX;

	for (unsigned i = 0; i < def->nfields; i++)
		if (def->fields[i].bit / 64 == word && def->fields[i].width > 0)
			mask &= ~(((UINT64_C(1) << def->fields[i].width) - 1)
				  << (def->fields[i].bit & 63));
	return mask;
}

static void
print_field(const struct hf_fielddef *def, const struct hf_expr *e,
    struct hf_buf *out)
{
	hf_buf_printf(out, " ");
	if (!def->bare)
		hf_buf_printf(out, "%s=", def->name);
	hf_expr_print((enum hf_type)def->type, e, out);
}

/* Is this operand worth a word? */
static bool
is_printed(const struct hf_inst *inst, const struct hf_fielddef *def)
{
	if (inst->op != HF_EXT && (inst->ext.set >> def->field & 1) != 0)
		return true;
	return def->width > 0 &&
	       (def->shown || (hf_bits(def, inst->rec) ^ def->flip) != 0);
}

/*
 * A length that a given end stands in for is left out, unless its bits say
 * something of their own.
 */
static bool
is_replaced(const struct hf_inst *inst, const struct hf_fielddef *def)
{
	return def->field == HF_F_LEN && inst->op != HF_EXT &&
	       (inst->ext.set >> HF_F_END & 1) != 0 &&
	       (inst->ext.set >> HF_F_LEN & 1) == 0 &&
	       hf_field(inst->op, HF_F_END) != NULL &&
	       (hf_bits(def, inst->rec) ^ def->flip) == 0;
}

void
hf_print_inst(const struct hf_inst *inst, struct hf_buf *out)
{
	const struct hf_opdef *def = &hf_ops[inst->op];
	uint64_t pad = inst->rec & uncovered(def, 0) & ~UINT64_C(0xff);
	struct hf_expr e;

	hf_buf_printf(out, "%s", def->name);
	for (unsigned i = 0; i < def->nfields; i++) {
		if (!is_printed(inst, &def->fields[i]) ||
		    is_replaced(inst, &def->fields[i]))
			continue;
		hf_operand(inst, &def->fields[i], &e);
		print_field(&def->fields[i], &e, out);
	}
	if (inst->alias != 0)
		hf_buf_printf(out, " alias=%u", inst->alias);
	if (pad != 0)
		hf_buf_printf(out, " pad=0x%" PRIx64, pad);
}

/* One record just as it is, ext included. */
static void
print_record(uint64_t rec, struct hf_buf *out)
{
	struct hf_inst inst = {.op = hf_op_of(rec),
	    .alias = hf_alias_of(rec),
	    .rec = rec};

	inst.ext.set = 0;
	hf_print_inst(&inst, out);
	hf_buf_printf(out, "\n");
}

/* The operation that ends a group of records, and its ext records. */
static void
print_group(const uint8_t *group, size_t size, const struct hf_inst *inst,
    struct hf_buf *out)
{
	struct hf_buf line = {0}, back = {0};
	struct hf_error error;

	hf_print_inst(inst, &line);
	if (hf_assemble_line(line.p, line.len, &back, &error) &&
	    back.len == size && memcmp(back.p, group, size) == 0) {
		hf_buf_put(out, line.p, line.len);
		hf_buf_printf(out, "\n");
	} else {
		for (size_t off = 0; off < size; off += HF_RECORD_SIZE)
			print_record(hf_load(group + off), out);
	}
	hf_buf_free(&line);
	hf_buf_free(&back);
}

static void
print_raw(const uint8_t *p, size_t size, struct hf_buf *out)
{
	hf_buf_printf(out, "raw ");
	for (size_t i = 0; i < size; i++)
		hf_buf_printf(out, "%02x", p[i]);
	hf_buf_printf(out, "\n");
}

static void
print_header(const uint8_t *data, struct hf_buf *out)
{
	const struct hf_opdef *def = &hf_header_def;
	uint64_t word[2] = {hf_load(data), hf_load(data + 8)};
	uint8_t normal[HF_HEADER_SIZE];
	struct hf_expr e;
	uint64_t raw;

	hf_default_header(normal);
	if (memcmp(data, normal, sizeof(normal)) == 0)
		return;
	hf_buf_printf(out, "program");
	for (unsigned i = 0; i < def->nfields; i++) {
		raw = hf_bits(&def->fields[i], word[def->fields[i].bit / 64]);
		if (raw == def->fields[i].flip)
			continue;
		hf_expr_of((enum hf_type)def->fields[i].type, raw, &e);
		print_field(&def->fields[i], &e, out);
	}
	for (unsigned w = 0; w < 2; w++)
		if ((word[w] & uncovered(def, w)) != 0)
			hf_buf_printf(out, " pad%s=0x%" PRIx64,
			    w == 0 ? "" : "2", word[w] & uncovered(def, w));
	hf_buf_printf(out, "\n");
}

void
hf_disassemble(const uint8_t *data, size_t size, struct hf_buf *out)
{
	size_t start = HF_HEADER_SIZE, off = 0;
	struct hf_inst inst;

	hf_buf_put(out, "", 0);
	if (size < HF_HEADER_SIZE) {
		print_raw(data, size, out);
		return;
	}
	print_header(data, out);
	while (hf_next(data, size, &off, &inst)) {
		print_group(data + start, off - start, &inst, out);
		start = off;
	}
	for (; start + HF_RECORD_SIZE <= size; start += HF_RECORD_SIZE)
		print_record(hf_load(data + start), out);
	if (start < size)
		print_raw(data + start, size - start, out);
}

/* ---- Reading --------------------------------------------------------------
 */

struct token {
	const char *p;
	size_t len;
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool
next_token(const char **pp, const char *end, struct token *tp)
{
	const char *p = *pp;

	while (p < end && is_space(*p))
		p++;
	if (p == end || *p == '#')
		return false;
	tp->p = p;
	while (p < end && !is_space(*p))
		p++;
	tp->len = (size_t)(p - tp->p);
	*pp = p;
	return true;
}

static bool __attribute__((format(printf, 2, 3)))
fail(struct hf_error *errp, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(errp->text, sizeof(errp->text), format, args);
	va_end(args);
	return false;
}

static bool
token_is(struct token t, const char *word)
{
	return strlen(word) == t.len && memcmp(word, t.p, t.len) == 0;
}

/* The value part of "name=value", or false. */
static bool
named_value(struct token t, const char *name, struct token *vp)
{
	size_t n = strlen(name);

	if (t.len <= n || memcmp(t.p, name, n) != 0 || t.p[n] != '=')
		return false;
	*vp = (struct token){t.p + n + 1, t.len - n - 1};
	return true;
}

/* What a line has said so far. */
struct line {
	const struct hf_opdef *def;
	uint64_t rec[2];
	uint32_t given; /* one bit a field of def */
	uint32_t exts;  /* of those, which need ext records */
	struct {
		uint64_t value;
		uint8_t unit;
	} ext[HF_FIELDS_MAX];
};

/* A number of one unit, which an ext record can carry? */
static bool
ext_of(const struct hf_expr *e, uint64_t *vp, uint8_t *unitp)
{
	if (e->anchor != HF_AN_NONE ||
	    (e->s != 0 && (e->p != 0 || e->b != 0)) || (e->p != 0 && e->b != 0))
		return false;
	*unitp = e->s != 0 ? HF_SUPERS : e->p != 0 ? HF_PAGES : HF_BYTES;
	*vp = e->s != 0 ? (uint64_t)e->s : e->p != 0 ? (uint64_t)e->p : e->b;
	return true;
}

static bool
set_field(struct line *l, unsigned i, struct token value, bool can_ext,
    struct hf_error *errp)
{
	const struct hf_fielddef *def = &l->def->fields[i];
	enum hf_type type = (enum hf_type)def->type;
	struct hf_expr e;
	uint64_t raw;

	if ((l->given >> i & 1) != 0)
		return fail(errp, "%s: %s is given twice", l->def->name,
		    def->name);
	if (!hf_expr_parse(type, value.p, value.len, &e))
		return fail(errp, "%s: expected %s for %s, found \"%.*s\"",
		    l->def->name, hf_type_hint(type), def->name,
		    (int)(value.len < 40 ? value.len : 40), value.p);
	l->given |= UINT32_C(1) << i;
	if (hf_raw_of(type, &e, def->width, &raw)) {
		l->rec[def->bit / 64] =
		    hf_set_bits(def, l->rec[def->bit / 64], raw);
		return true;
	}
	if (!can_ext || !ext_of(&e, &l->ext[i].value, &l->ext[i].unit))
		return fail(errp,
		    "%s: %s=%.*s has no short form; write a number in bytes",
		    l->def->name, def->name,
		    (int)(value.len < 40 ? value.len : 40), value.p);
	l->exts |= UINT32_C(1) << i;
	return true;
}

static bool
parse_u64(struct token t, uint64_t *vp)
{
	struct hf_expr e;

	if (!hf_expr_parse(HF_T_INT, t.p, t.len, &e))
		return false;
	*vp = e.b;
	return true;
}

static bool
set_alias(uint64_t *recp, uint8_t alias)
{
	uint64_t op = (*recp & 0xff) + (uint64_t)alias * HF_NALIASED;

	if (op > 0xff || hf_op_of(op) != (*recp & 0xff) ||
	    hf_alias_of(op) != alias)
		return false;
	*recp += (uint64_t)alias * HF_NALIASED;
	return true;
}

/* alias=, pad=, pad2=: the bits that mean nothing.  0: not one of these. */
static int
set_leftover(struct line *l, struct token t, bool header, struct hf_error *errp)
{
	struct token value;
	uint64_t v = 0;
	unsigned word = 0;

	if (!header && named_value(t, "alias", &value)) {
		if (!parse_u64(value, &v) || v > 0xff / HF_NALIASED ||
		    !set_alias(&l->rec[0], (uint8_t)v)) {
			(void)fail(errp, "%s: no such alias", l->def->name);
			return -1;
		}
		return 1;
	}
	if (header && named_value(t, "pad2", &value))
		word = 1;
	else if (!named_value(t, "pad", &value))
		return 0;
	if (!parse_u64(value, &v) || (v & ~uncovered(l->def, word)) != 0 ||
	    (!header && (v & 0xff) != 0)) {
		(void)fail(errp,
		    "%s: expected bits that no operand has for pad",
		    l->def->name);
		return -1;
	}
	l->rec[word] |= v;
	return 1;
}

/* The names a line may have, for a message. */
static void
list_fields(const struct hf_opdef *def, char *text, size_t size)
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < def->nfields && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s%s",
		    i > 0 ? " " : "", def->fields[i].name,
		    def->fields[i].bare ? "" : "=");
}

static bool
parse_token(struct line *l, struct token t, bool header, struct hf_error *errp)
{
	struct token value;
	char names[140];
	int r = set_leftover(l, t, header, errp);

	if (r != 0)
		return r > 0;
	for (unsigned i = 0; i < l->def->nfields; i++)
		if (named_value(t, l->def->fields[i].name, &value))
			return set_field(l, i, value,
			    !header && l->def != &hf_ops[HF_EXT], errp);
	if (memchr(t.p, '=', t.len) == NULL)
		for (unsigned i = 0; i < l->def->nfields; i++)
			if (l->def->fields[i].bare && (l->given >> i & 1) == 0)
				return set_field(l, i, t,
				    !header && l->def != &hf_ops[HF_EXT], errp);
	list_fields(l->def, names, sizeof(names));
	return fail(errp, "%s: expected %s%s, found \"%.*s\"", l->def->name,
	    names[0] != '\0' ? "one of " : "the end of the line", names,
	    (int)(t.len < 40 ? t.len : 40), t.p);
}

static void
put_record(struct hf_buf *out, uint64_t rec)
{
	uint8_t bytes[HF_RECORD_SIZE];

	hf_store(bytes, rec);
	hf_buf_put(out, bytes, sizeof(bytes));
}

/* The ext records of one operand: the low 48 bits, then the rest. */
static void
put_ext(struct hf_buf *out, uint8_t field, uint8_t unit, uint64_t v)
{
	const struct hf_fielddef *def = hf_ops[HF_EXT].fields;
	uint64_t rec =
	    hf_set_bits(&def[1], hf_set_bits(&def[0], HF_EXT, field), unit);

	put_record(out, hf_set_bits(&def[3], rec, v));
	if (v >> 48 != 0)
		put_record(out, hf_set_bits(&def[2],
				    hf_set_bits(&def[3], rec, v >> 48), 1));
}

static bool
parse_operands(struct line *l, const char *p, const char *end, bool header,
    struct hf_error *errp)
{
	struct token t;

	while (next_token(&p, end, &t))
		if (!parse_token(l, t, header, errp))
			return false;
	return true;
}

bool
hf_assemble_line(const char *line, size_t size, struct hf_buf *out,
    struct hf_error *errp)
{
	const char *p = line, *end = line + size;
	struct line l = {0};
	struct token t;
	unsigned op;

	if (!next_token(&p, end, &t))
		return true;
	for (op = 0; op < HF_NOPS && !token_is(t, hf_ops[op].name); op++)
		;
	if (op == HF_NOPS)
		return fail(errp, "expected an operation, found \"%.*s\"",
		    (int)(t.len < 40 ? t.len : 40), t.p);
	l.def = &hf_ops[op];
	l.rec[0] = op;
	if (!parse_operands(&l, p, end, false, errp))
		return false;
	for (unsigned i = 0; i < l.def->nfields; i++)
		if ((l.exts >> i & 1) != 0)
			put_ext(out, l.def->fields[i].field, l.ext[i].unit,
			    l.ext[i].value);
	put_record(out, l.rec[0]);
	return true;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

static bool
assemble_raw(const char *p, const char *end, struct hf_buf *out,
    struct hf_error *errp)
{
	struct token t;
	int high, low;

	if (!next_token(&p, end, &t))
		return true;
	for (size_t i = 0; i < t.len; i += 2) {
		high = hex_digit(t.p[i]);
		low = i + 1 < t.len ? hex_digit(t.p[i + 1]) : -1;
		if (high < 0 || low < 0)
			return fail(errp, "raw: expected pairs of hex digits");
		hf_buf_put(out, &(uint8_t){(uint8_t)(high << 4 | low)}, 1);
	}
	return true;
}

static bool
assemble_header(const char *p, const char *end, struct hf_buf *out,
    struct hf_error *errp)
{
	struct line l = {.def = &hf_header_def};

	if (!parse_operands(&l, p, end, true, errp))
		return false;
	put_record(out, l.rec[0]);
	put_record(out, l.rec[1]);
	return true;
}

/* What a text has had before the line at hand. */
struct assembly {
	size_t base; /* of the program in the output */
	bool begun;  /* the header is there */
	bool ended;  /* a raw line was */
};

static bool
assemble_one(struct assembly *a, const char *line, const char *end,
    struct hf_buf *out, struct hf_error *errp)
{
	uint8_t header[HF_HEADER_SIZE];
	const char *p = line;
	struct token t;

	if (!next_token(&p, end, &t))
		return true;
	if (a->ended)
		return fail(errp, "expected nothing behind raw");
	if (token_is(t, "program")) {
		if (a->begun)
			return fail(errp,
			    "expected program to be the first line");
		a->begun = true;
		return assemble_header(p, end, out, errp);
	}
	if (token_is(t, "raw")) {
		a->ended = true;
		return assemble_raw(p, end, out, errp);
	}
	if (!a->begun) {
		hf_default_header(header);
		hf_buf_put(out, header, sizeof(header));
		a->begun = true;
	}
	return hf_assemble_line(line, (size_t)(end - line), out, errp);
}

bool
hf_assemble(const char *text, size_t size, struct hf_buf *out,
    struct hf_error *errp)
{
	const char *p = text, *end = text + size, *eol;
	struct assembly a = {.base = out->len};
	uint8_t header[HF_HEADER_SIZE];

	for (errp->line = 1; p < end; p = eol + 1, errp->line++) {
		eol = memchr(p, '\n', (size_t)(end - p));
		if (eol == NULL)
			eol = end;
		if (!assemble_one(&a, p, eol, out, errp))
			return false;
		if (eol == end)
			break;
	}
	if (!a.begun && !a.ended) {
		hf_default_header(header);
		hf_buf_put(out, header, sizeof(header));
	}
	return true;
}
