/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The tables of each instruction set: what FreeBSD's headers say, and that
 * they hang together.
 */

#include "arch/machine.h"
#include "tests/test.h"

#define K(n) (UINT64_C(n) << 10)
#define M(n) (UINT64_C(n) << 20)
#define G(n) (UINT64_C(n) << 30)

static void
expect_pages(const char *name, vm_size_t page, const vm_size_t *sizes, int n,
    int nfreeorder)
{
	const struct arch_machine *machine = arch_machine_find(name, page);

	ASSERT_NOT_NULL(machine);
	ASSERT_STREQ(machine->name, name);
	ASSERT_EQ(machine->page_size, page);
	ASSERT_EQ(machine->npagesizes, n);
	for (int i = 0; i < n; i++)
		ASSERT_EQ(machine->pagesizes[i], sizes[i]);
	for (int i = n; i < VM_MAXPAGESIZES; i++)
		ASSERT_EQ(machine->pagesizes[i], UINT64_C(0));
	ASSERT_EQ(machine->nfreeorder, nfreeorder);
}

TEST(machine__has_the_page_sizes_of_freebsd)
{
	expect_pages("x86_64", K(4), (vm_size_t[]){K(4), M(2), G(1)}, 3, 13);
	expect_pages("aarch64", K(4), (vm_size_t[]){K(4), K(64), M(2), G(1)}, 4,
	    13);
	expect_pages("aarch64", K(16), (vm_size_t[]){K(16), M(2), M(32)}, 3,
	    12);
	expect_pages("aarch64", K(64), (vm_size_t[]){K(64), M(2), M(512)}, 3,
	    14);
	expect_pages("riscv64", K(4), (vm_size_t[]){K(4), M(2), G(1)}, 3, 12);
}

TEST(machine__has_the_address_spaces_of_freebsd)
{
	const struct arch_machine *machine;

	machine = arch_machine_find("x86_64", 0);
	ASSERT_EQ(machine->user_max, UINT64_C(0x800000000000));
	ASSERT_EQ(machine->dmap_min, UINT64_C(0xfffff80000000000));
	machine = arch_machine_find("aarch64", 0);
	ASSERT_EQ(machine->user_max, UINT64_C(1) << 48);
	ASSERT_EQ(machine->dmap_min, UINT64_C(0xffffa00000000000));
	machine = arch_machine_find("riscv64", 0);
	ASSERT_EQ(machine->user_max, UINT64_C(1) << 38);
	ASSERT_EQ(machine->dmap_min, UINT64_C(0xffffffd000000000));
}

TEST(machine_find__takes_the_smallest_page_for_0_and_knows_no_others)
{
	ASSERT_EQ(arch_machine_find("aarch64", 0)->page_size, K(4));
	ASSERT_EQ(arch_machine_find("aarch64", 16384)->page_size, K(16));
	ASSERT_NULL(arch_machine_find("aarch64", K(8)));
	ASSERT_NULL(arch_machine_find("x86_64", K(16)));
	ASSERT_NULL(arch_machine_find("vax", 0));
	ASSERT_NULL(arch_machine_find("", 0));
}

TEST(machine_host__is_one_of_the_tables)
{
	const struct arch_machine *host = arch_machine_host();

	ASSERT_NOT_NULL(host);
	for (size_t i = 0; arch_machine_at(i) != NULL; i++)
		if (arch_machine_at(i) == host)
			return;
	test_fail(__FILE__, __LINE__, "the host's table is not listed");
}

static void
check_super(const struct arch_machine *m)
{
	ASSERT_GE(m->nsuper, 1);
	ASSERT_LE(m->nsuper, 2);
	for (int i = 0; i < m->nsuper; i++) {
		bool known = false;

		for (int j = 1; j < m->npagesizes; j++)
			known |= m->super[i] == m->pagesizes[j];
		ASSERT_TRUE(known);
		ASSERT_TRUE(i == 0 || m->super[i] < m->super[i - 1]);
	}
}

TEST(machine__tables_hang_together)
{
	for (size_t i = 0; arch_machine_at(i) != NULL; i++) {
		const struct arch_machine *m = arch_machine_at(i);

		ASSERT_EQ(m->pagesizes[0], m->page_size);
		for (int j = 0; j < m->npagesizes; j++) {
			ASSERT_TRUE(powerof2(m->pagesizes[j]));
			ASSERT_TRUE(
			    j == 0 || m->pagesizes[j] > m->pagesizes[j - 1]);
		}
		check_super(m);
		ASSERT_LT(m->user_min, m->user_max);
		ASSERT_EQ(m->user_min % m->page_size, UINT64_C(0));
		ASSERT_EQ(m->user_max % m->page_size, UINT64_C(0));
		/* The direct map lies above user space and does not wrap. */
		ASSERT_GT(m->dmap_min, m->user_max);
		ASSERT_LE(m->dmap_size, UINT64_MAX - m->dmap_min + 1);
		ASSERT_LE(m->dmap_size, UINT64_C(1) << m->paddr_bits);
	}
}
