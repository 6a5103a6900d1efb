/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Messages from operands, by the descriptors of the protocol: a field that is
 * added tomorrow is filled tomorrow.
 */

#include "fuzz/system/sys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned
sys_nchoices(const ProtobufCMessageDescriptor *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_fields; i++)
		n += d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE;
	return n;
}

const ProtobufCFieldDescriptor *
sys_choice(const ProtobufCMessageDescriptor *d, unsigned n)
{
	n %= sys_nchoices(d);
	for (unsigned i = 0; i < d->n_fields; i++)
		if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && n-- == 0)
			return &d->fields[i];
	return NULL; /* not reached */
}

uint64_t
sys_figure(uint8_t operand)
{
	static const uint64_t odd[16] = {0, 1, SYS_PAGE - 1, SYS_PAGE + 1,
	    SYS_FRAME, SYS_FRAME + SYS_PAGE, SYS_POOL, SYS_POOL - SYS_PAGE,
	    UINT64_MAX, UINT64_MAX - SYS_PAGE + 1, UINT64_C(1) << 63,
	    UINT64_C(1) << 47, UINT64_C(1) << 32, UINT32_MAX, SYS_PAGE << 9 | 1,
	    8};

	return odd[operand % 16];
}

enum way {
	WAY_ID,
	WAY_ADDR,
	WAY_ADDR_END,
	WAY_LOW,
	WAY_HIGH,
	WAY_SIZE,
	WAY_OFFSET,
	WAY_POWER,
	WAY_PROT,
	WAY_ONE,
	WAY_ZERO,
	WAY_FLAGS,
	WAY_RARE,
	WAY_MODE,
	WAY_COW,
	WAY_NODE,
	WAY_NODES,
	WAY_POLICY,
	WAY_PLAIN
};

static const struct {
	const char *name;
	enum way way;
} ways[] = {
    {"map", WAY_ID},
    {"object", WAY_ID},
    {"buffer", WAY_ID},
    {"start", WAY_ADDR},
    {"addr", WAY_ADDR},
    {"addrbos", WAY_ADDR},
    {"end", WAY_ADDR_END},
    {"max_addr", WAY_ZERO},
    {"min", WAY_ZERO},
    {"max", WAY_ZERO},
    {"from", WAY_ZERO},
    {"skip", WAY_ZERO},
    {"low", WAY_LOW},
    {"high", WAY_HIGH},
    {"length", WAY_SIZE},
    {"size", WAY_SIZE},
    {"max_ssize", WAY_SIZE},
    {"offset", WAY_OFFSET},
    {"alignment", WAY_POWER},
    {"boundary", WAY_POWER},
    {"prot", WAY_PROT},
    {"max_prot", WAY_PROT},
    {"fault_type", WAY_PROT},
    {"version_min", WAY_ONE},
    {"version_max", WAY_ONE},
    {"kind", WAY_ONE},
    {"find_space", WAY_ONE},
    {"flags", WAY_FLAGS},
    {"page_size", WAY_RARE},
    {"group", WAY_RARE},
    {"deadline_ms", WAY_RARE},
    {"mode", WAY_MODE},
    {"cow", WAY_COW},
    {"domain", WAY_NODE},
    {"domains", WAY_NODES},
    {"policy", WAY_POLICY},
};

static enum way
way_of(const char *name)
{
	for (size_t i = 0; i < nitems_of(ways); i++)
		if (strcmp(ways[i].name, name) == 0)
			return ways[i].way;
	return WAY_PLAIN;
}

static uint64_t
an_id(const struct sys_fill *fill, const char *name, uint8_t b)
{
	enum sys_id kind = name[0] == 'm'   ? SYS_ID_MAP
			   : name[0] == 'o' ? SYS_ID_OBJECT
					    : SYS_ID_BUFFER;

	return fill->id(fill->arg, kind, b);
}

static uint64_t
a_size(uint8_t b)
{
	if (b >= 0x80)
		return SYS_FRAME * (1 + (b & 3)) + (b & 0x40 ? SYS_PAGE : 0);
	return SYS_PAGE * (1 + (b & 0x1f)) - (b & 0x40 ? 1 : 0);
}

static uint64_t
number(const struct sys_fill *fill, const char *name, uint8_t b)
{
	enum way way = way_of(name);

	if (b >= 0xf0 && way != WAY_ID)
		return sys_figure(b);
	switch (way) {
	case WAY_ID:
		return an_id(fill, name, b);
	case WAY_ADDR:
		return fill->base + SYS_PAGE * (b & 0x3f) +
		       (b & 0x40 ? SYS_FRAME : 0) + (b & 0x80 ? b & 7 : 0);
	case WAY_ADDR_END:
		return fill->base + SYS_PAGE * (1 + (b & 0x3f)) +
		       (b & 0x40 ? SYS_FRAME : 0);
	case WAY_LOW:
		return b == 0 ? 0 : SYS_POOL + SYS_PAGE * 16 * (b & 0x7f);
	case WAY_HIGH:
		return b == 0 ? 0 : SYS_POOL + SYS_PAGE * 64 * b;
	case WAY_SIZE:
		return a_size(b);
	case WAY_OFFSET:
		return SYS_PAGE * (b & 0x0f);
	case WAY_POWER:
		return b < 0x60 ? 0 : UINT64_C(1) << (12 + b % 13);
	case WAY_PROT:
		return b == 0 ? 3 : b & 7;
	case WAY_ONE:
		return 1 ^ (b & 0x0f);
	case WAY_ZERO:
		return b < 0xc0 ? 0 : fill->base + SYS_PAGE * b;
	case WAY_RARE:
		return b < 0xc0 ? 0 : SYS_PAGE << (b & 3);
	case WAY_MODE:
		return b < 0x80 ? 0 : 0400u | b;
	case WAY_COW: /* some low bits, or any one */
		return b < 0x80 ? b : UINT64_C(1) << (b & 0x1f);
	case WAY_NODE: /* + 1, of the two there are */
		return b < 0x10 ? b : b < 0xa0 ? 0 : b & 3;
	case WAY_NODES:
		return b < 0xa0 ? 0 : b & 7;
	case WAY_POLICY:
		return b < 0x80 ? 0 : b % 6;
	case WAY_FLAGS: /* M_ZERO is 0x100 */
		return (b >= 0x10 && b < 0x80 ? 0u : b & 7) |
		       (b >= 0x10 ? 0x100 : 0);
	default:
		return b;
	}
}

static char long_one[100];
static bool traced;

/* Once, and not in the first run: engines compare it with the others. */
static __attribute__((constructor)) void
prepare(void)
{
	memset(long_one, 'x', sizeof(long_one) - 1);
	traced = getenv("HOLDFAST_FUZZ_TRACE") != NULL;
}

static char *
text(const char *name, uint8_t b)
{
	static char empty[] = "", a[] = "a", shared[] = "shared",
		    odd[] = "a b/c", high[] = "\xc3\xa9",
		    *const words[] = {empty, a, shared, odd, high, long_one};

	if (strcmp(name, "machine") == 0 || strcmp(name, "map") == 0)
		return b < 0xc0 ? empty : a;
	return words[b < 0x80 ? b % 3 : b % nitems_of(words)];
}

void
sys_fill(const struct sys_fill *fill, union sys_message *message,
    const ProtobufCMessageDescriptor *d, const uint8_t *operand)
{
	if (d->sizeof_message > sizeof(*message))
		__builtin_trap(); /* the union has to grow */
	d->message_init(&message->base);
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		char *at = message->bytes + f->offset;
		uint8_t b = i < SYS_OPERANDS ? operand[i] : 0;
		bool is_number = f->type != PROTOBUF_C_TYPE_STRING &&
				 f->type != PROTOBUF_C_TYPE_MESSAGE;
		uint64_t v = is_number ? number(fill, f->name, b) : 0;
		uint32_t v32 = (uint32_t)v;
		protobuf_c_boolean truth = b & 1;
		char *word = text(f->name, b);

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			continue;
		switch (f->type) {
		case PROTOBUF_C_TYPE_UINT64:
			memcpy(at, &v, sizeof(v));
			break;
		case PROTOBUF_C_TYPE_UINT32:
		case PROTOBUF_C_TYPE_INT32:
		case PROTOBUF_C_TYPE_SINT32:
		case PROTOBUF_C_TYPE_ENUM:
			memcpy(at, &v32, sizeof(v32));
			break;
		case PROTOBUF_C_TYPE_BOOL:
			memcpy(at, &truth, sizeof(truth));
			break;
		case PROTOBUF_C_TYPE_STRING:
			memcpy(at, &word, sizeof(word));
			break;
		default:
			break;
		}
	}
}

bool
sys_is_traced(void)
{
	return traced;
}

static void
print_field(const ProtobufCFieldDescriptor *f, const char *at)
{
	uint64_t v = 0;
	const char *word;

	if (f->label == PROTOBUF_C_LABEL_REPEATED ||
	    f->type == PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		memcpy(&word, at, sizeof(word));
		if (word != NULL && word[0] != '\0')
			fprintf(stderr, " %s=\"%s\"", f->name, word);
		return;
	}
	memcpy(&v, at, f->type == PROTOBUF_C_TYPE_UINT64 ? 8 : 4);
	if (v != 0)
		fprintf(stderr, " %s=0x%" PRIx64, f->name, v);
}

void
sys_print(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *d = message->descriptor;

	fprintf(stderr, "%s", d->short_name);
	for (unsigned i = 0; i < d->n_fields; i++)
		print_field(&d->fields[i],
		    (const char *)message + d->fields[i].offset);
}
