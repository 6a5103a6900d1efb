/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Memory and descriptors that run out while the loop turns (test_faults.c).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

extern atomic_ulong countdown; /* fail the nth from now; 0: none */
extern atomic_ulong nfailed;   /* that failed since it was last set to 0 */

/* For rig_around_turn: only what the server does fails. */
void arm(bool begins);

struct client;
struct rig;

/*
 * A client that the server may cut off at any moment, and that waits for no
 * answer.  false: it was cut off at once; it is to be closed all the same.
 */
bool client_open_failing(struct client *client, struct rig *rig);

/* For event_set_mem_functions(). */
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);
