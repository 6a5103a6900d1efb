/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdbool.h>
#include <string.h>

#include "proto/decode.h"
#include "proto/wire.h"

#define TYPE_VARINT 0 /* of a field on the wire */
#define TYPE_BYTES  2

#define NUMBER_MAX 10 /* bytes of a number */
#define HEAD_MAX   5  /* bytes of a tag or a length, for the library */

struct reader {
	const uint8_t *at, *end;
};

/* In at most `max` bytes. */
static bool
read_long_varint(struct reader *in, unsigned max, uint64_t *valuep)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 7 * max && in->at < in->end;
	     shift += 7) {
		uint8_t byte = *in->at++;

		if (shift == 63 && byte > 1)
			return false; /* more than 64 bits */
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*valuep = value;
			return true;
		}
	}
	return false;
}

static inline bool
read_varint(struct reader *in, unsigned max, uint64_t *valuep)
{
	if (in->at < in->end && *in->at < 0x80) {
		*valuep = *in->at++;
		return true;
	}
	return read_long_varint(in, max, valuep);
}

/* The bytes of a length-delimited field. */
static inline bool
read_bytes(struct reader *in, struct reader *bytes)
{
	uint64_t size;

	if (!read_varint(in, HEAD_MAX, &size) ||
	    size > (size_t)(in->end - in->at))
		return false;
	bytes->at = in->at;
	bytes->end = in->at += size;
	return true;
}

/* Fields come in order of their numbers: go on behind the last one, *nextp. */
static inline const ProtobufCFieldDescriptor *
field_find(const ProtobufCMessageDescriptor *d, uint64_t id, unsigned *nextp)
{
	for (unsigned i = *nextp; i < d->n_fields && d->fields[i].id <= id; i++)
		if (d->fields[i].id == id) {
			*nextp = i + 1;
			return &d->fields[i];
		}
	return NULL;
}

static inline bool
field_is_plain(const ProtobufCFieldDescriptor *field)
{
	return field->label == PROTOBUF_C_LABEL_NONE &&
	       (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0;
}

static inline bool
decode_number(struct reader *in, const ProtobufCFieldDescriptor *field,
    void *member)
{
	uint64_t value;

	if (!field_is_plain(field) || !read_varint(in, NUMBER_MAX, &value))
		return false;
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)member = value;
		return true;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
		*(uint32_t *)member = (uint32_t)value;
		return true;
	case PROTOBUF_C_TYPE_SINT32: /* the sign is in the lowest bit */
		*(uint32_t *)member =
		    (uint32_t)value >> 1 ^ -((uint32_t)value & 1);
		return true;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)member = value != 0;
		return true;
	default:
		return false;
	}
}

static ProtobufCMessage *decode_message(struct wire_arena *arena,
    const ProtobufCMessageDescriptor *d, struct reader in);

/* What a oneof holds; `message` is the one that it is in. */
static inline bool
decode_choice(struct wire_arena *arena, struct reader *in,
    const ProtobufCFieldDescriptor *field, unsigned char *message)
{
	uint32_t *choice = (void *)(message + field->quantifier_offset);
	ProtobufCMessage *inner;
	struct reader bytes;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE ||
	    (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 || *choice != 0 ||
	    !read_bytes(in, &bytes))
		return false;
	inner = decode_message(arena, field->descriptor, bytes);
	if (inner == NULL)
		return false;
	*choice = field->id;
	*(void **)(void *)(message + field->offset) = inner;
	return true;
}

/* A oneof in a oneof nests no deeper than the descriptors do. */
static ProtobufCMessage *
decode_message(struct wire_arena *arena, const ProtobufCMessageDescriptor *d,
    struct reader in)
{
	unsigned char *message = wire_arena_take(arena, d->sizeof_message);
	const ProtobufCFieldDescriptor *field;
	unsigned next = 0;
	uint64_t tag;

	if (message == NULL)
		return NULL;
	d->message_init((ProtobufCMessage *)message);
	while (in.at < in.end) {
		bool ok;

		if (!read_varint(&in, HEAD_MAX, &tag))
			return NULL;
		field = field_find(d, tag >> 3, &next);
		if (field == NULL)
			return NULL;
		if ((tag & 7) == TYPE_VARINT)
			ok = decode_number(&in, field, message + field->offset);
		else
			ok = (tag & 7) == TYPE_BYTES &&
			     decode_choice(arena, &in, field, message);
		if (!ok)
			return NULL;
	}
	return (ProtobufCMessage *)message;
}

/* How many fields a packet of nothing but field 1 has; > max: too many. */
static size_t
count_messages(struct reader in, size_t max)
{
	struct reader bytes;
	size_t n = 0;

	while (in.at < in.end && n <= max) {
		if (*in.at++ != (1 << 3 | TYPE_BYTES) ||
		    !read_bytes(&in, &bytes))
			return max + 1;
		n++;
	}
	return n;
}

static void *
decode_list(struct wire_arena *arena, const ProtobufCMessageDescriptor *d,
    struct reader in, size_t n)
{
	void **list = wire_arena_take(arena, n * sizeof(*list));

	for (size_t i = 0; list != NULL && i < n; i++) {
		struct reader bytes;

		in.at++; /* the tag: counted, so it is there */
		if (!read_bytes(&in, &bytes))
			return NULL;
		list[i] = decode_message(arena, d, bytes);
		if (list[i] == NULL)
			return NULL;
	}
	return list;
}

void *
decode_messages(struct wire_arena *arena, const ProtobufCMessageDescriptor *d,
    const void *buf, size_t len, size_t max, size_t *np)
{
	struct reader in = {buf, (const uint8_t *)buf + len};
	size_t before = arena->used;
	void *list;

	*np = count_messages(in, max);
	if (*np == 0 || *np > max)
		return NULL;
	list = decode_list(arena, d, in, *np);
	if (list == NULL) {
		arena->used = before;
		arena->exhausted = false;
	}
	return list;
}
