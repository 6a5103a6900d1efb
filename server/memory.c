/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/memory.h"

bool (*memory_fails)(void);
