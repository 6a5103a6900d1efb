/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A live daemon as a back end of operation programs, through libholdfast.
 */

#include "fuzz/prog/run.h"

/* Connect; NULL after a sentence on standard error. */
struct hf_backend *daemon_backend_new(const char *socket_path);

/* -errno where the connection broke, which a sentence told; or 0. */
int daemon_backend_trouble(const struct hf_backend *backend);
