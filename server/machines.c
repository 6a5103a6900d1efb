/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "core/kassert.h"
#include "server/cleanup.h"
#include "server/log.h"
#include "server/machines.h"
#include "server/memory.h"

int
machines_init(struct machines *machines, const struct arch *arch)
{
	size_t n = 0;

	while (arch_machine_at(n) != NULL)
		n++;
	machines->archs = memory_calloc(n, sizeof(*machines->archs));
	if (machines->archs == NULL)
		return error_origin(-ENOMEM);
	machines->n = n;
	for (size_t i = 0; i < n; i++) {
		machines->archs[i] = *arch;
		machines->archs[i].machine = arch_machine_at(i);
	}
	return 0;
}

void
machines_fini(struct machines *machines)
{
	free(take_ptr(machines->archs));
	machines->n = 0;
}

const struct arch *
machines_find(const struct machines *machines,
    const struct arch_machine *machine)
{
	for (size_t i = 0; i < machines->n; i++) {
		if (machines->archs[i].machine == machine)
			return &machines->archs[i];
	}
	KASSERT(false, "a machine that is in no table");
	return NULL;
}
