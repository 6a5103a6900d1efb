/* SPDX-License-Identifier: BSD-2-Clause */

#include "arch/machine.h"
#include "arch/aarch64/pagesizes.h"
#include "arch/riscv64/pagesizes.h"
#include "arch/x86_64/pagesizes.h"

#include <string.h>

/* Of one name, the smallest page first: it is the default. */
static const struct arch_machine machines[] = {
    X86_64_MACHINE,
    AARCH64_4K_MACHINE,
    AARCH64_16K_MACHINE,
    AARCH64_64K_MACHINE,
    RISCV64_MACHINE,
};

#if defined(__x86_64__)
#define HOST "x86_64"
#elif defined(__aarch64__)
#define HOST "aarch64"
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST "riscv64"
#else
#error "no table for this instruction set: see arch/README.md"
#endif

const struct arch_machine *
arch_machine_find(const char *name, vm_size_t page_size)
{
	for (size_t i = 0; i < nitems(machines); i++)
		if (strcmp(machines[i].name, name) == 0 &&
		    (page_size == 0 || machines[i].page_size == page_size))
			return &machines[i];
	return NULL;
}

const struct arch_machine *
arch_machine_host(void)
{
	return arch_machine_find(HOST, 0);
}

const struct arch_machine *
arch_machine_at(size_t i)
{
	return i < nitems(machines) ? &machines[i] : NULL;
}
