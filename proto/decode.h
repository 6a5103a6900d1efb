/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The usual message, read without the library.
 *
 * protobuf-c goes over each message twice and remembers every field between;
 * three levels deep that was the largest part of a request's time in user
 * space.  What both sides really send is simpler: singular numbers, and one
 * message in a oneof.  That is read here in one pass, driven by the library's
 * own descriptors; everything else (text, bytes, lists, unknown fields, a field
 * of a oneof twice, 10-byte numbers out of range) is left to the library, and
 * what is read here is what the library would have read.
 * Design: docs/design/protocol.md.
 */

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct wire_arena;

/*
 * Read a packet of nothing but messages of type `d` in field 1, at most `max`.
 * Returns the array of pointers to them, *np long, all of it the arena's until
 * that is reset, sharing nothing with `buf`.  NULL: not of the usual kind, or
 * malformed, or larger than the arena; the arena is as it was.
 */
void *decode_messages(struct wire_arena *arena,
    const ProtobufCMessageDescriptor *d, const void *buf, size_t len,
    size_t max, size_t *np);
