/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Packets to messages and back: pure functions over buffers.
 *
 * Nothing here reads or writes a socket.  What unpacking may allocate comes
 * from an arena of fixed size, so that no packet, however it was made, can
 * make its receiver take more memory than that; the arena is reset between
 * packets.  A packet is built by appending one request or reply after another,
 * so that the bound of proto/limits.h is checked as it grows.
 * Design: docs/design/protocol.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/holdfast.pb-c.h"
#include "proto/limits.h"

/* Memory for the messages of one packet.  Not shared between threads. */
struct wire_arena {
	ProtobufCAllocator pb; /* for protobuf-c; its `free` does nothing */
	unsigned char *base;   /* owned */
	size_t size;           /* bytes at `base` */
	size_t used;           /* bytes handed out since the last reset */
	bool exhausted;        /* an allocation failed since the last reset */
};

/* Make an arena of `size` bytes.  -ENOMEM. */
int wire_arena_init(struct wire_arena *arena, size_t size);
/* Free it.  Zeroed memory is fine. */
void wire_arena_fini(struct wire_arena *arena);
/* Forget everything that was handed out. */
void wire_arena_reset(struct wire_arena *arena);
/* Aligned for any type, not cleared; the arena's.  NULL: over its size. */
void *wire_arena_take(struct wire_arena *arena, size_t size);
/* The same, zeroed. */
void *wire_arena_alloc(struct wire_arena *arena, size_t size);

/*
 * Read the packet at `buf`.  The message lives until the arena is reset and
 * shares nothing with `buf`.  NULL: it does not parse, or is larger inside
 * than the arena, or holds more than HOLDFAST_BATCH_MAX messages.
 */
Holdfast__V1__ClientPacket *wire_unpack_client(struct wire_arena *arena,
    const void *buf, size_t len);
Holdfast__V1__ServerPacket *wire_unpack_server(struct wire_arena *arena,
    const void *buf, size_t len);

/* A packet that is being built in the caller's memory. */
struct wire_out {
	uint8_t *buf; /* borrowed */
	size_t size;  /* bytes at `buf` */
	size_t len;   /* bytes of it that are the packet so far */
	size_t n;     /* messages in it */
};

static inline void
wire_out_init(struct wire_out *out, void *buf, size_t size)
{
	*out = (struct wire_out){.buf = buf, .size = size};
}

/*
 * Add one message to the packet.
 * -EMSGSIZE: it does not fit behind what is there; the packet is as it was.
 */
int wire_append_request(struct wire_out *out,
    const Holdfast__V1__Request *request);
int wire_append_reply(struct wire_out *out, const Holdfast__V1__Reply *reply);

/* How many bytes wire_append_reply() would add. */
size_t wire_reply_size(const Holdfast__V1__Reply *reply);
