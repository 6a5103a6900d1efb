/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the bits of an operand mean, and which bits mean a given thing.
 *
 * Types with few values have a table.  The three that have arithmetic:
 *
 *	address   mode:3, then	min+Np | top-Np | @K.start+Dp | $K+Dp |
 *	          @K.end+Dp | @K.mid+Dp | edge.E+Dp+Bb | sup+Ns+Dp
 *	physical  mode:3, then	pa+Np | spa+Ns+Dp | bK.start+Dp | bK.end+Dp |
 *	          segK.start+Dp | segK.end+Dp | edge.E+Dp+Bb | $K+Dp
 *	length    0..159 pages, 1..16 superpages -1..+1 page, then a table
 *
 * D and B are signed, modes and tables are for ever: append only.
 */

#include "core/vm_param.h"
#include "fuzz/prog/prog.h"

#include <string.h>

#define LIT(v)                                                                 \
	{                                                                      \
		.literal = true, .b = (v)                                      \
	}
#define PAGE(n)                                                                \
	{                                                                      \
		.p = (n)                                                       \
	}
#define SUP(n)                                                                 \
	{                                                                      \
		.s = (n)                                                       \
	}

static const struct hf_expr lim_table[16] = {
    LIT(0),
    {.anchor = HF_AN_TOP},
    {.anchor = HF_AN_EDGE, .idx = HF_E_MID},
    {.anchor = HF_AN_RESULT},
    {.anchor = HF_AN_EDGE, .idx = HF_E_G2},
    {.anchor = HF_AN_EDGE, .idx = HF_E_G4},
    {.anchor = HF_AN_TOP, .p = -1},
    {.anchor = HF_AN_MIN, .p = 16},
    {.anchor = HF_AN_MIN, .p = 64},
    {.anchor = HF_AN_SUP, .s = 1},
    {.anchor = HF_AN_SUP, .s = 2},
    {.anchor = HF_AN_EDGE, .idx = HF_E_LAST},
    {.anchor = HF_AN_RESULT, .p = 1},
    {.anchor = HF_AN_RESULT, .p = 16},
    {.anchor = HF_AN_EDGE, .idx = HF_E_ALL},
    {.anchor = HF_AN_MIN},
};

static const struct hf_expr off_table[16] = {
    PAGE(0),
    PAGE(1),
    PAGE(2),
    PAGE(3),
    PAGE(8),
    SUP(1),
    {.s = 1, .p = 1},
    {.s = 1, .p = -1},
    SUP(2),
    PAGE(511),
    PAGE(16),
    PAGE(5),
    PAGE(32),
    {.b = 1},
    PAGE(-1),
    SUP(-1),
};

static const struct hf_expr align_table[16] = {
    PAGE(1),
    PAGE(0),
    PAGE(2),
    PAGE(4),
    PAGE(8),
    PAGE(16),
    SUP(1),
    PAGE(64),
    PAGE(256),
    SUP(2),
    SUP(8),
    PAGE(3),
    {.b = 1},
    PAGE(32),
    {.anchor = HF_AN_EDGE, .idx = HF_E_HALF},
    SUP(4),
};

/* The lengths behind pages and superpages: raw 208 and up. */
static const struct hf_expr len_table[48] = {
    {.b = 1},
    {.b = 2},
    {.b = 100},
    {.b = 4095},
    {.b = 4097},
    {.b = 8191},
    {.p = 1, .b = 8},
    {.p = 2, .b = (uint64_t)-1},
    PAGE(255),
    PAGE(256),
    PAGE(257),
    PAGE(511),
    PAGE(513),
    PAGE(1024),
    PAGE(4096),
    PAGE(5000),
    {.anchor = HF_AN_SPAN, .div = 1},
    {.anchor = HF_AN_SPAN, .div = 1, .p = -1},
    {.anchor = HF_AN_SPAN, .div = 1, .p = 1},
    {.anchor = HF_AN_SPAN, .div = 1, .p = -2},
    {.anchor = HF_AN_SPAN, .div = 2},
    {.anchor = HF_AN_SPAN, .div = 2, .p = 1},
    {.anchor = HF_AN_SPAN, .div = 2, .p = -1},
    {.anchor = HF_AN_SPAN, .div = 3},
    {.anchor = HF_AN_SPAN, .div = 4},
    {.anchor = HF_AN_SPAN, .div = 8},
    {.anchor = HF_AN_SPAN, .div = 16},
    {.anchor = HF_AN_SPAN, .div = 32},
    {.anchor = HF_AN_SPAN, .div = 64},
    {.anchor = HF_AN_SPAN, .div = 128},
    {.anchor = HF_AN_SPAN, .div = 1, .s = -1},
    {.anchor = HF_AN_SPAN, .div = 1, .p = -16},
    {.anchor = HF_AN_EDGE, .idx = HF_E_ALL},
    {.anchor = HF_AN_EDGE, .idx = HF_E_HALF},
    {.anchor = HF_AN_EDGE, .idx = HF_E_G2},
    {.anchor = HF_AN_EDGE, .idx = HF_E_G4},
    {.anchor = HF_AN_EDGE, .idx = HF_E_T48},
    {.anchor = HF_AN_EDGE, .idx = HF_E_M16},
    {.anchor = HF_AN_EDGE, .idx = HF_E_PMAX},
    PAGE(-1),
    PAGE(-2),
    SUP(-1),
    SUP(-2),
    SUP(17),
    SUP(24),
    SUP(32),
    SUP(64),
    SUP(127),
};

static const uint64_t space_values[16] = {0, 1, 2, 3, 12 << 8, 13 << 8, 16 << 8,
    21 << 8, 22 << 8, 30 << 8, 14 << 8, 63 << 8, 64 << 8, 12 << 8 | 1, 4,
    17 << 8};
static const uint64_t cow_values[16] = {0, MAP_COPY_ON_WRITE, MAP_INHERIT_SHARE,
    MAP_NOFAULT, MAP_CREATE_GUARD, MAP_STACK_AREA, MAP_CHECK_EXCL, MAP_REMAP,
    MAP_ACC_NO_CHARGE, MAP_PREFAULT, MAP_COPY_ON_WRITE | MAP_PREFAULT_PARTIAL,
    MAP_DISABLE_COREDUMP, 1 << MAP_SPLIT_BOUNDARY_SHIFT, MAP_NO_HINT,
    MAP_COPY_ON_WRITE | MAP_INHERIT_SHARE, MAP_DISABLE_SYNCER};
static const uint64_t inh_values[8] = {VM_INHERIT_COPY, VM_INHERIT_SHARE,
    VM_INHERIT_NONE, VM_INHERIT_ZERO, 4, 9, 127, 255};
static const uint64_t set_values[4] = {VM_MAP_PROTECT_SET_PROT,
    VM_MAP_PROTECT_SET_MAXPROT,
    VM_MAP_PROTECT_SET_PROT | VM_MAP_PROTECT_SET_MAXPROT,
    VM_MAP_PROTECT_SET_PROT | VM_MAP_PROTECT_GROWSDOWN};
static const uint64_t cflag_values[8] = {0, M_ZERO, M_NOWAIT, M_ZERO | M_NOWAIT,
    M_WAITOK, M_NODUMP, M_NORECLAIM, M_USE_RESERVE | M_NOWAIT};
static const uint64_t domain_values[8] = {UINT64_MAX, 0, 1, 2, 3, 4, 5, 6};
static const uint64_t page_values[4] = {0, 4096, 16384, 65536};
static const uint64_t mflag_values[8] = {0, MAP_WXORX, MAP_WIREFUTURE, MAP_ASLR,
    MAP_ASLR | MAP_ASLR_IGNSTART, MAP_WXORX | MAP_WIREFUTURE, MAP_ASLR_STACK,
    MAP_ASLR_IGNSTART};
static const uint64_t cadence_values[8] = {1, 2, 4, 8, 16, 64, 128, 0xff};

/* Types whose raw value is an index into a table of numbers. */
static const struct {
	const uint64_t *values;
	unsigned n;
} value_tables[HF_NTYPES] = {
    [HF_T_SPACE] = {space_values, 16},
    [HF_T_COW] = {cow_values, 16},
    [HF_T_INH] = {inh_values, 8},
    [HF_T_SET] = {set_values, 4},
    [HF_T_CFLAGS] = {cflag_values, 8},
    [HF_T_DOMAIN] = {domain_values, 8},
    [HF_T_PAGE] = {page_values, 4},
    [HF_T_MFLAGS] = {mflag_values, 8},
    [HF_T_CADENCE] = {cadence_values, 8},
};

/* The low `width` bits of v as a signed number. */
static int
sign(uint64_t v, unsigned width)
{
	uint64_t half = UINT64_C(1) << (width - 1);

	v &= half * 2 - 1;
	return (v & half) != 0 ? (int)v - (int)(half * 2) : (int)v;
}

static void
entry_expr(uint8_t anchor, uint64_t raw, struct hf_expr *ep)
{
	*ep = (struct hf_expr){.anchor = anchor,
	    .idx = raw >> 5 & 0xff,
	    .p = sign(raw, 5)};
}

static void
edge_expr(uint64_t raw, struct hf_expr *ep)
{
	*ep = (struct hf_expr){.anchor = HF_AN_EDGE,
	    .idx = raw >> 9 & 0xf,
	    .p = sign(raw >> 4, 5),
	    .b = (uint64_t)(int64_t)sign(raw, 4)};
}

static void
result_expr(uint64_t raw, struct hf_expr *ep)
{
	*ep = (struct hf_expr){.anchor = HF_AN_RESULT,
	    .idx = raw >> 9 & 0xf,
	    .p = sign(raw, 9)};
}

static void
super_expr(uint8_t anchor, uint64_t raw, struct hf_expr *ep)
{
	*ep = (struct hf_expr){.anchor = anchor,
	    .s = raw >> 3 & 0x3ff,
	    .p = sign(raw, 3)};
}

static void
page_expr(uint8_t anchor, int64_t p, struct hf_expr *ep)
{
	*ep = (struct hf_expr){.anchor = anchor, .p = p};
}

static void
addr_expr(uint64_t raw, struct hf_expr *ep)
{
	switch (raw >> 13 & 7) {
	case 0:
		page_expr(HF_AN_MIN, raw & 0x1fff, ep);
		break;
	case 1:
		page_expr(HF_AN_TOP, -(int64_t)(raw & 0x1fff), ep);
		break;
	case 2:
		entry_expr(HF_AN_START, raw, ep);
		break;
	case 3:
		entry_expr(HF_AN_END, raw, ep);
		break;
	case 4:
		result_expr(raw, ep);
		break;
	case 5:
		entry_expr(HF_AN_MID, raw, ep);
		break;
	case 6:
		edge_expr(raw, ep);
		break;
	default:
		super_expr(HF_AN_SUP, raw, ep);
		break;
	}
}

static void
paddr_expr(uint64_t raw, struct hf_expr *ep)
{
	switch (raw >> 13 & 7) {
	case 0:
		page_expr(HF_AN_PA, raw & 0x1fff, ep);
		break;
	case 1:
		super_expr(HF_AN_SPA, raw, ep);
		break;
	case 2:
		entry_expr(HF_AN_BUF_START, raw, ep);
		break;
	case 3:
		entry_expr(HF_AN_BUF_END, raw, ep);
		break;
	case 4:
		entry_expr(HF_AN_SEG_START, raw, ep);
		break;
	case 5:
		entry_expr(HF_AN_SEG_END, raw, ep);
		break;
	case 6:
		edge_expr(raw, ep);
		break;
	default:
		result_expr(raw, ep);
		break;
	}
}

static void
len_expr(uint64_t raw, struct hf_expr *ep)
{
	raw &= 0xff;
	if (raw < 160)
		*ep = (struct hf_expr){.p = (int64_t)raw};
	else if (raw < 208)
		*ep = (struct hf_expr){.s = (int64_t)(raw - 160) / 3 + 1,
		    .p = (int64_t)(raw - 160) % 3 - 1};
	else
		*ep = len_table[raw - 208];
}

void
hf_expr_of(enum hf_type type, uint64_t raw, struct hf_expr *ep)
{
	switch (type) {
	case HF_T_ADDR:
		addr_expr(raw, ep);
		return;
	case HF_T_PADDR:
		paddr_expr(raw, ep);
		return;
	case HF_T_LEN:
		len_expr(raw, ep);
		return;
	case HF_T_LIM:
		*ep = lim_table[raw & 0xf];
		return;
	case HF_T_OFF:
		*ep = off_table[raw & 0xf];
		return;
	case HF_T_ALIGN:
		*ep = align_table[raw & 0xf];
		return;
	default:
		break;
	}
	*ep = (struct hf_expr){.literal = true, .b = raw};
	if (value_tables[type].values != NULL)
		ep->b = value_tables[type].values[raw % value_tables[type].n];
}

static bool
expr_equal(const struct hf_expr *a, const struct hf_expr *b)
{
	return a->anchor == b->anchor && a->div == b->div &&
	       a->literal == b->literal && a->idx == b->idx && a->s == b->s &&
	       a->p == b->p && a->b == b->b;
}

/* The raw address or physical address that might mean `e`, by its anchor. */
static uint64_t
addr_guess(enum hf_type type, const struct hf_expr *e)
{
	static const uint8_t modes[2][HF_NANCHORS] = {
	    {[HF_AN_MIN] = 0,
		[HF_AN_TOP] = 1,
		[HF_AN_START] = 2,
		[HF_AN_END] = 3,
		[HF_AN_RESULT] = 4,
		[HF_AN_MID] = 5,
		[HF_AN_EDGE] = 6,
		[HF_AN_SUP] = 7},
	    {[HF_AN_PA] = 0,
		[HF_AN_SPA] = 1,
		[HF_AN_BUF_START] = 2,
		[HF_AN_BUF_END] = 3,
		[HF_AN_SEG_START] = 4,
		[HF_AN_SEG_END] = 5,
		[HF_AN_EDGE] = 6,
		[HF_AN_RESULT] = 7},
	};
	uint64_t mode = modes[type == HF_T_PADDR][e->anchor] << 13;
	uint64_t p = (uint64_t)e->p, idx = e->idx;

	switch (e->anchor) {
	case HF_AN_MIN:
	case HF_AN_PA:
		return mode | (p & 0x1fff);
	case HF_AN_TOP:
		return mode | (-p & 0x1fff);
	case HF_AN_RESULT:
		return mode | (idx & 0xf) << 9 | (p & 0x1ff);
	case HF_AN_EDGE:
		return mode | (idx & 0xf) << 9 | (p & 0x1f) << 4 | (e->b & 0xf);
	case HF_AN_SUP:
	case HF_AN_SPA:
		return mode | ((uint64_t)e->s & 0x3ff) << 3 | (p & 7);
	default:
		return mode | (idx & 0xff) << 5 | (p & 0x1f);
	}
}

bool
hf_raw_of(enum hf_type type, const struct hf_expr *e, unsigned width,
    uint64_t *rawp)
{
	struct hf_expr got;
	uint64_t raw;

	if (width == 0)
		return false;
	if (type == HF_T_ADDR || type == HF_T_PADDR) {
		raw = addr_guess(type, e);
		hf_expr_of(type, raw, &got);
		if (!expr_equal(&got, e))
			return false;
		*rawp = raw;
		return true;
	}
	if (width > 8) {
		if (!e->literal || e->b >> width != 0)
			return false;
		*rawp = e->b;
		return true;
	}
	for (raw = 0; raw < UINT64_C(1) << width; raw++) {
		hf_expr_of(type, raw, &got);
		if (expr_equal(&got, e)) {
			*rawp = raw;
			return true;
		}
	}
	return false;
}

unsigned
hf_type_nvalues(enum hf_type type)
{
	return value_tables[type].n;
}
