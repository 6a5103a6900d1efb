/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The server's back end once for every machine that a map can be laid out for.
 *
 * What the core makes for a map (its account, shadow objects) can outlive the
 * map, and remembers the arch that it came from: so that lives as long as the
 * server.  Loop thread only.
 */

#include <stddef.h>

#include "arch/arch.h"

struct machines {
	struct arch *archs; /* owned */
	size_t n;
};

/* -ENOMEM. */
int machines_init(struct machines *machines, const struct arch *arch);
/* Zeroed memory is fine. */
void machines_fini(struct machines *machines);
/* `machine` is one of arch_machine_at(). */
const struct arch *machines_find(const struct machines *machines,
    const struct arch_machine *machine);
