/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How operands are written: names of values, anchors and edges.
 */

#include "core/vm_param.h"
#include "fuzz/prog/prog.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct name {
	const char *name;
	uint64_t value;
};

static const struct name bools[] = {{"no", 0}, {"yes", 1}, {NULL, 0}};
static const struct name inhs[] = {{"share", VM_INHERIT_SHARE},
    {"copy", VM_INHERIT_COPY}, {"none", VM_INHERIT_NONE},
    {"zero", VM_INHERIT_ZERO}, {NULL, 0}};
static const struct name spaces[] = {{"none", VMFS_NO_SPACE},
    {"any", VMFS_ANY_SPACE}, {"optimal", VMFS_OPTIMAL_SPACE},
    {"super", VMFS_SUPER_SPACE}, {NULL, 0}};
static const struct name kinds[] = {{"swap", 0}, {"super", 1}, {"sg", 2},
    {NULL, 0}};
static const struct name advices[] = {{"normal", 0}, {"random", 1},
    {"sequential", 2}, {"willneed", 3}, {"dontneed", 4}, {"free", 5},
    {"nosync", 6}, {"autosync", 7}, {"nocore", 8}, {"core", 9}, {NULL, 0}};
static const struct name domains[] = {{"any", UINT64_MAX}, {NULL, 0}};
static const struct name archs[] = {{"x86_64", 0}, {"aarch64", 1},
    {"riscv64", 2}, {"host", 3}, {NULL, 0}};
static const struct name pages[] = {{"default", 0}, {"4k", 4096},
    {"16k", 16384}, {"64k", 65536}, {NULL, 0}};
static const struct name whats[] = {{"vmem", 0}, {"stack", 1}, {"memlock", 2},
    {"swap", 3}, {"nentries", 4}, {"overcommit", 5}, {"cluster_anon", 6},
    {"stack_guard", 7}, {NULL, 0}};
static const struct name cadences[] = {{"end", 0xff}, {NULL, 0}};
static const struct name faults[] = {{"none", 0}, {"once", 1}, {"from", 2},
    {"every", 3}, {NULL, 0}};
static const struct name lims[] = {{"none", 0}, {NULL, 0}};

static const struct name fields[] = {{"map", HF_F_MAP}, {"map2", HF_F_MAP2},
    {"obj", HF_F_OBJ}, {"buf", HF_F_BUF}, {"a", HF_F_A}, {"b", HF_F_B},
    {"len", HF_F_LEN}, {"end", HF_F_END}, {"off", HF_F_OFF},
    {"space", HF_F_SPACE}, {"cow", HF_F_COW}, {"prot", HF_F_PROT},
    {"max", HF_F_MAX}, {"max_addr", HF_F_LIM}, {"default", HF_F_DEF},
    {"kind", HF_F_KIND}, {"type", HF_F_TYPE}, {"set", HF_F_SET},
    {"inherit", HF_F_INH}, {"advice", HF_F_ADVICE}, {"flags", HF_F_FLAGS},
    {"clear", HF_F_CLEAR}, {"align", HF_F_ALIGN}, {"boundary", HF_F_BOUNDARY},
    {"domain", HF_F_DOMAIN}, {"arch", HF_F_ARCH}, {"page", HF_F_PAGE},
    {"compat", HF_F_COMPAT}, {"nth", HF_F_NTH}, {"sticky", HF_F_STICKY},
    {"value", HF_F_VALUE}, {NULL, 0}};

/* Words of bits, written with + between them. */
static const struct name cows[] = {{"share", MAP_INHERIT_SHARE},
    {"cow", MAP_COPY_ON_WRITE}, {"nofault", MAP_NOFAULT},
    {"prefault", MAP_PREFAULT}, {"prefault_partial", MAP_PREFAULT_PARTIAL},
    {"nosync", MAP_DISABLE_SYNCER}, {"excl", MAP_CHECK_EXCL},
    {"guard", MAP_CREATE_GUARD}, {"nocore", MAP_DISABLE_COREDUMP},
    {"prefault_madvise", MAP_PREFAULT_MADVISE}, {"writecount", MAP_WRITECOUNT},
    {"remap", MAP_REMAP}, {"stack", MAP_STACK_AREA},
    {"charged", MAP_ACC_CHARGED}, {"nocharge", MAP_ACC_NO_CHARGE},
    {"stack_gap", MAP_CREATE_STACK_GAP}, {"vn_exec", MAP_VN_EXEC},
    {"split1", 1u << MAP_SPLIT_BOUNDARY_SHIFT},
    {"split2", 2u << MAP_SPLIT_BOUNDARY_SHIFT}, {"no_hint", MAP_NO_HINT},
    {NULL, 0}};
static const struct name sets[] = {{"prot", VM_MAP_PROTECT_SET_PROT},
    {"max", VM_MAP_PROTECT_SET_MAXPROT},
    {"growsdown", VM_MAP_PROTECT_GROWSDOWN}, {NULL, 0}};
static const struct name wires[] = {{"user", VM_MAP_WIRE_USER},
    {"holesok", VM_MAP_WIRE_HOLESOK}, {"write", VM_MAP_WIRE_WRITE}, {NULL, 0}};
static const struct name cflags[] = {{"zero", M_ZERO}, {"nowait", M_NOWAIT},
    {"waitok", M_WAITOK}, {"nodump", M_NODUMP}, {"noreclaim", M_NORECLAIM},
    {"use_reserve", M_USE_RESERVE}, {NULL, 0}};
static const struct name mflags[] = {{"wirefuture", MAP_WIREFUTURE},
    {"aslr", MAP_ASLR}, {"aslr_ignstart", MAP_ASLR_IGNSTART},
    {"wxorx", MAP_WXORX}, {"aslr_stack", MAP_ASLR_STACK}, {NULL, 0}};

static const struct name *const value_names[HF_NTYPES] = {
    [HF_T_BOOL] = bools,
    [HF_T_INH] = inhs,
    [HF_T_SPACE] = spaces,
    [HF_T_KIND] = kinds,
    [HF_T_ADVICE] = advices,
    [HF_T_DOMAIN] = domains,
    [HF_T_ARCH] = archs,
    [HF_T_PAGE] = pages,
    [HF_T_WHAT] = whats,
    [HF_T_CADENCE] = cadences,
    [HF_T_FAULT] = faults,
    [HF_T_FIELD] = fields,
    [HF_T_LIM] = lims,
};

static const struct {
	const struct name *bits;
	const char *zero;
} word_names[HF_NTYPES] = {
    [HF_T_COW] = {cows, "0"},
    [HF_T_SET] = {sets, "0"},
    [HF_T_WIRE] = {wires, "system"},
    [HF_T_CFLAGS] = {cflags, "0"},
    [HF_T_MFLAGS] = {mflags, "0"},
};

static const char *const edges[HF_NEDGES] = {"zero", "all", "half", "2g", "4g",
    "umin", "umax", "mid", "first", "last", "wrap", "16m", "256t", "ptop",
    "pbot", "pmax"};

static const struct {
	const char *head, *tail; /* around the index */
	bool indexed;
} anchors[HF_NANCHORS] = {
    [HF_AN_MIN] = {"min", "", false},
    [HF_AN_TOP] = {"top", "", false},
    [HF_AN_SUP] = {"sup", "", false},
    [HF_AN_START] = {"@", ".start", true},
    [HF_AN_MID] = {"@", ".mid", true},
    [HF_AN_END] = {"@", ".end", true},
    [HF_AN_RESULT] = {"$", "", true},
    [HF_AN_PA] = {"pa", "", false},
    [HF_AN_SPA] = {"spa", "", false},
    [HF_AN_BUF_START] = {"b", ".start", true},
    [HF_AN_BUF_END] = {"b", ".end", true},
    [HF_AN_SEG_START] = {"seg", ".start", true},
    [HF_AN_SEG_END] = {"seg", ".end", true},
};

const char *
hf_type_hint(enum hf_type type)
{
	static const char *const hints[HF_NTYPES] = {
	    [HF_T_INT] = "a number",
	    [HF_T_BOOL] = "yes or no",
	    [HF_T_MAP] = "a map: m, m1, m2 ...",
	    [HF_T_OBJ] = "an object: o1, o2 ..., or none",
	    [HF_T_BUF] = "a buffer: b1, b2 ...",
	    [HF_T_ADDR] = "an address such as 0x10000, min+4p or @3.end",
	    [HF_T_PADDR] =
		"a physical address such as 0x1000000, 4g, pa+4p or seg0.end",
	    [HF_T_LEN] = "a length such as 0x4000, 16k, 4p or span/2",
	    [HF_T_LIM] = "an address or none",
	    [HF_T_OFF] = "an offset such as 0x1000, 3p or 1s",
	    [HF_T_ALIGN] = "a power of two such as 0x1000, 64k, 4p or 1s",
	    [HF_T_PROT] = "rights: none, or letters of rwx",
	    [HF_T_INH] = "share, copy, none, zero or a number",
	    [HF_T_SPACE] = "none, any, optimal, super, alignedN or a number",
	    [HF_T_COW] = "words joined by +: share cow nofault guard stack "
			 "excl remap nocharge ..., or a number",
	    [HF_T_KIND] = "swap, super or sg",
	    [HF_T_FTYPE] = "rights: none, or letters of rwxc",
	    [HF_T_SET] = "words joined by +: prot max growsdown",
	    [HF_T_ADVICE] = "normal, random, sequential, willneed, dontneed, "
			    "free, nosync, autosync, nocore, core or a number",
	    [HF_T_WIRE] = "system, or words joined by +: user holesok write",
	    [HF_T_CFLAGS] = "words joined by +: zero nowait waitok nodump ...",
	    [HF_T_DOMAIN] = "any or the number of a domain",
	    [HF_T_ARCH] = "x86_64, aarch64, riscv64 or host",
	    [HF_T_PAGE] = "default, 4k, 16k or 64k",
	    [HF_T_WHAT] = "vmem, stack, memlock, swap, nentries, overcommit, "
			  "cluster_anon or stack_guard",
	    [HF_T_MFLAGS] = "words joined by +: wirefuture wxorx aslr ...",
	    [HF_T_CADENCE] = "1, 2, 4, 8, 16, 64, 128 or end",
	    [HF_T_FAULT] = "none, once, from or every",
	    [HF_T_FIELD] = "the name of an operand",
	};

	return hints[type];
}

const char *
hf_value_name(enum hf_type type, uint64_t value)
{
	for (const struct name *n = value_names[type]; n != NULL && n->name;
	     n++)
		if (n->value == value)
			return n->name;
	return NULL;
}

static void
print_number(uint64_t v, struct hf_buf *out)
{
	hf_buf_printf(out, v < 10 ? "%" PRIu64 : "0x%" PRIx64, v);
}

static void
print_prot(uint64_t v, struct hf_buf *out)
{
	if (v == 0)
		hf_buf_printf(out, "none");
	else if (v < 16)
		hf_buf_printf(out, "%s%s%s%s", (v & 1) != 0 ? "r" : "",
		    (v & 2) != 0 ? "w" : "", (v & 4) != 0 ? "x" : "",
		    (v & 8) != 0 ? "c" : "");
	else
		print_number(v, out);
}

/* Names of the bits; what has no name as a number. */
static void
print_word(enum hf_type type, uint64_t v, struct hf_buf *out)
{
	const char *plus = "";

	if (v == 0) {
		hf_buf_printf(out, "%s", word_names[type].zero);
		return;
	}
	for (const struct name *n = word_names[type].bits; n->name; n++) {
		if ((v & n->value) == 0)
			continue;
		hf_buf_printf(out, "%s%s", plus, n->name);
		v &= ~n->value;
		plus = "+";
	}
	if (v != 0) {
		hf_buf_printf(out, "%s", plus);
		hf_buf_printf(out, "0x%" PRIx64, v);
	}
}

static void
print_literal(enum hf_type type, uint64_t v, struct hf_buf *out)
{
	const char *name = hf_value_name(type, v);

	if (name != NULL)
		hf_buf_printf(out, "%s", name);
	else if (type == HF_T_MAP && v == 0)
		hf_buf_printf(out, "m");
	else if (type == HF_T_MAP)
		hf_buf_printf(out, "m%" PRIu64, v);
	else if (type == HF_T_OBJ && v == 0)
		hf_buf_printf(out, "none");
	else if (type == HF_T_OBJ)
		hf_buf_printf(out, "o%" PRIu64, v);
	else if (type == HF_T_BUF)
		hf_buf_printf(out, "b%" PRIu64, v);
	else if (type == HF_T_PROT || type == HF_T_FTYPE)
		print_prot(v, out);
	else if (type == HF_T_SPACE && (v & 0xff) == 0 && v >> 8 < 100)
		hf_buf_printf(out, "aligned%" PRIu64, v >> 8);
	else if (word_names[type].bits != NULL)
		print_word(type, v, out);
	else if (type == HF_T_CADENCE)
		hf_buf_printf(out, "%" PRIu64, v);
	else
		print_number(v, out);
}

/* One term: a sign where something stands before it. */
static void
print_term(int64_t v, char unit, bool *firstp, struct hf_buf *out)
{
	hf_buf_printf(out, "%s%" PRId64 "%c", *firstp || v < 0 ? "" : "+", v,
	    unit);
	*firstp = false;
}

void
hf_expr_print(enum hf_type type, const struct hf_expr *e, struct hf_buf *out)
{
	bool first = e->anchor == HF_AN_NONE;

	if (e->literal) {
		print_literal(type, e->b, out);
		return;
	}
	if (e->anchor == HF_AN_EDGE)
		hf_buf_printf(out, "edge.%s", edges[e->idx % HF_NEDGES]);
	else if (e->anchor == HF_AN_SPAN && e->div == 1)
		hf_buf_printf(out, "span");
	else if (e->anchor == HF_AN_SPAN)
		hf_buf_printf(out, "span/%u", e->div);
	else if (!first && anchors[e->anchor].indexed)
		hf_buf_printf(out, "%s%u%s", anchors[e->anchor].head, e->idx,
		    anchors[e->anchor].tail);
	else if (!first)
		hf_buf_printf(out, "%s", anchors[e->anchor].head);
	if (e->s != 0)
		print_term(e->s, 's', &first, out);
	if (e->p != 0 || (first && e->b == 0))
		print_term(e->p, 'p', &first, out);
	if (e->b != 0)
		print_term((int64_t)e->b, 'b', &first, out);
}

/* ---- Reading --------------------------------------------------------------
 */

struct cursor {
	const char *p, *end;
};

static bool
take_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return false;
	c->p += n;
	return true;
}

static int
digit(char ch, unsigned base)
{
	int d = ch >= '0' && ch <= '9'   ? ch - '0'
		: ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
		: ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
					 : -1;

	return d >= 0 && (unsigned)d < base ? d : -1;
}

/* A decimal or hexadecimal number below 2^64. */
static bool
take_number(struct cursor *c, uint64_t *vp)
{
	unsigned base = 10;
	struct cursor at = *c;
	uint64_t v = 0;
	int d, n = 0;

	if (take_word(&at, "0x"))
		base = 16;
	for (; at.p < at.end && (d = digit(*at.p, base)) >= 0; at.p++, n++)
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return false;
	if (n == 0)
		return false;
	*c = at;
	*vp = v;
	return true;
}

/* A whole token that is a number, perhaps with k, m, g or t behind it. */
static bool
parse_literal(struct cursor c, uint64_t *vp)
{
	static const char suffix[] = "kmgt";
	bool minus = take_word(&c, "-");
	const char *s;
	uint64_t v;

	if (!take_number(&c, &v))
		return false;
	if (c.p < c.end && (s = strchr(suffix, *c.p)) != NULL) {
		unsigned shift = (unsigned)(s - suffix + 1) * 10;

		if (v >> (64 - shift) != 0)
			return false;
		v <<= shift;
		c.p++;
	}
	if (c.p != c.end)
		return false;
	*vp = minus ? -v : v;
	return true;
}

static bool
parse_word(enum hf_type type, struct cursor c, uint64_t *vp)
{
	const struct name *n;
	uint64_t v = 0, extra;

	if ((size_t)(c.end - c.p) == strlen(word_names[type].zero) &&
	    take_word(&c, word_names[type].zero)) {
		*vp = 0;
		return true;
	}
	for (;;) {
		struct cursor part = c;

		while (c.p < c.end && *c.p != '+')
			c.p++;
		part.end = c.p;
		for (n = word_names[type].bits; n->name != NULL; n++)
			if (strlen(n->name) == (size_t)(part.end - part.p) &&
			    memcmp(n->name, part.p, strlen(n->name)) == 0)
				break;
		if (n->name != NULL)
			v |= n->value;
		else if (parse_literal(part, &extra))
			v |= extra;
		else
			return false;
		if (c.p == c.end)
			break;
		c.p++;
	}
	*vp = v;
	return true;
}

static bool
parse_prot(struct cursor c, uint64_t *vp)
{
	static const char letters[] = "rwxc";
	const char *s;
	uint64_t v = 0;

	if (take_word(&c, "none")) {
		*vp = 0;
		return c.p == c.end;
	}
	for (; c.p < c.end; c.p++) {
		s = strchr(letters, *c.p);
		if (s == NULL || (v >> (s - letters) & 1) != 0)
			return false;
		v |= UINT64_C(1) << (s - letters);
	}
	*vp = v;
	return v != 0;
}

/* "m3", "o3", "b3" */
static bool
parse_slot(struct cursor c, const char *letter, uint64_t *vp)
{
	return take_word(&c, letter) && take_number(&c, vp) && c.p == c.end;
}

static bool
parse_named(enum hf_type type, struct cursor c, uint64_t *vp)
{
	size_t size = (size_t)(c.end - c.p);

	for (const struct name *n = value_names[type]; n != NULL && n->name;
	     n++)
		if (strlen(n->name) == size &&
		    memcmp(n->name, c.p, size) == 0) {
			*vp = n->value;
			return true;
		}
	switch (type) {
	case HF_T_MAP:
		*vp = 0;
		return (size == 1 && *c.p == 'm') || parse_slot(c, "m", vp);
	case HF_T_OBJ:
		*vp = 0;
		return (size == 4 && memcmp(c.p, "none", 4) == 0) ||
		       parse_slot(c, "o", vp);
	case HF_T_BUF:
		return parse_slot(c, "b", vp);
	case HF_T_PROT:
	case HF_T_FTYPE:
		return parse_prot(c, vp);
	case HF_T_SPACE:
		if (!parse_slot(c, "aligned", vp) || *vp >> 56 != 0)
			return false;
		*vp <<= 8;
		return true;
	default:
		return word_names[type].bits != NULL && parse_word(type, c, vp);
	}
}

static bool
take_anchor(struct cursor *c, struct hf_expr *e)
{
	struct cursor at = *c;
	uint64_t v = 0;

	if (take_word(&at, "edge.")) {
		const char *name = at.p;

		while (at.p < at.end && *at.p != '+' && *at.p != '-')
			at.p++;
		for (e->idx = 0; e->idx < HF_NEDGES; e->idx++)
			if (strlen(edges[e->idx]) == (size_t)(at.p - name) &&
			    memcmp(edges[e->idx], name,
				strlen(edges[e->idx])) == 0)
				break;
		e->anchor = HF_AN_EDGE;
		*c = at;
		return e->idx < HF_NEDGES;
	}
	if (take_word(&at, "span")) {
		e->anchor = HF_AN_SPAN;
		e->div = 1;
		if (take_word(&at, "/")) {
			if (!take_number(&at, &v) || v == 0 || v > 255)
				return false;
			e->div = (uint8_t)v;
		}
		*c = at;
		return true;
	}
	for (unsigned i = 1; i < HF_NANCHORS; i++) {
		at = *c;
		if (anchors[i].head == NULL || !take_word(&at, anchors[i].head))
			continue;
		if (anchors[i].indexed &&
		    (!take_number(&at, &v) || v > UINT16_MAX ||
			!take_word(&at, anchors[i].tail)))
			continue;
		e->anchor = (uint8_t)i;
		e->idx = (uint16_t)v;
		*c = at;
		return true;
	}
	return true; /* no anchor: terms only */
}

static bool
take_term(struct cursor *c, struct hf_expr *e, bool first)
{
	bool minus = take_word(c, "-");
	uint64_t v;

	if (!minus && !take_word(c, "+") && !first)
		return false;
	if (!take_number(c, &v) || c->p == c->end)
		return false;
	v = minus ? -v : v;
	switch (*c->p++) {
	case 's':
		e->s += (int64_t)v;
		return true;
	case 'p':
		e->p += (int64_t)v;
		return true;
	case 'b':
		e->b += v;
		return true;
	default:
		return false;
	}
}

bool
hf_expr_parse(enum hf_type type, const char *token, size_t size,
    struct hf_expr *ep)
{
	struct cursor c = {token, token + size};
	bool address = type == HF_T_ADDR || type == HF_T_PADDR ||
		       type == HF_T_LEN || type == HF_T_LIM ||
		       type == HF_T_OFF || type == HF_T_ALIGN;
	uint64_t v;

	*ep = (struct hf_expr){0};
	if (parse_named(type, c, &v) ||
	    (type != HF_T_MAP && type != HF_T_BUF && type != HF_T_OBJ &&
		type != HF_T_BOOL && parse_literal(c, &v))) {
		ep->literal = true;
		ep->b = v;
		return true;
	}
	if (!address || size == 0 || !take_anchor(&c, ep))
		return false;
	for (bool first = ep->anchor == HF_AN_NONE; c.p < c.end; first = false)
		if (!take_term(&c, ep, first))
			return false;
	return true;
}
