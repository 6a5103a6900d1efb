/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Programs in files: binary, or text where the name ends in .hfp.
 * On failure both say why on standard error and answer false.
 */

#include "fuzz/prog/prog.h"

bool fuzz_read_program(const char *path, struct hf_buf *program);
bool fuzz_write_program(const char *path, const uint8_t *data, size_t size);
