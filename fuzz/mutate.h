/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Branch mutation: the conditional jumps of the running program itself are
 * inverted one by one, each in a child of its own, which replays programs.
 * x86-64 only.
 */

#include <stddef.h>
#include <stdint.h>

struct mutate_program {
	const uint8_t *data;
	size_t size;
};

/*
 * `sites` is a file of lines "ADDRESS BYTE", both in hexadecimal, relative to
 * where the image begins: a conditional jump, and the byte of it whose lowest
 * bit inverts it.  Prints for each "ADDRESS unreached", "ADDRESS survived", or
 * "ADDRESS killed HOW by N", the program of that number.  0, or -1 where that
 * cannot be done.
 */
int mutate_all(const char *sites, const struct mutate_program *programs,
    size_t n);
