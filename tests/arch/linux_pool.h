/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the tests of arch/linux share: a pool of real frames, and the process
 * that has become nobody.
 */

#include "arch/linux/linux.h"
#include "tests/test.h"

#define FRAME (2ul << 20)

/*
 * Open a pool of `nframes`; skips the case where there are no huge pages or
 * the caller is not root.
 */
struct arch linux_pool_open(size_t nframes);
struct arch linux_pool_open_with(const struct arch_linux_config *config);

/* A second pool that holds every huge page the kernel has free. */
struct arch linux_ballast_open(void);

/* uid 65534, no group, no capability, no way back. */
void become_nobody(void);

/* Recycle up to `tries` times, 10 ms apart, while it is withheld. */
int recycle_for(const struct arch *arch, struct arch_span *span, int tries);
/* Recycle again until the span is gone or 5 s have passed; the last error. */
int recycle_until_done(const struct arch *arch, struct arch_span *span);

/* standby + spans + limbo + missing == total, and the ops agree. */
void linux_pool_check(const struct arch *arch);

/* The first address of the first `nframes` neighbours; skips without. */
vm_paddr_t linux_pool_run(const struct arch *arch, size_t nframes);

/* Assemble, or fail the case. */
struct arch_span *linux_pool_span(const struct arch *arch, vm_paddr_t pa,
    size_t nframes);

/* Map the span's fd, as a client would. */
unsigned char *linux_map_fd(int fd, size_t nframes);

/* Does touching `p` raise a signal?  Returns it, or 0. */
int touch_signal(volatile unsigned char *p, bool write);

/* free_hugepages and nr_hugepages of the 2 MiB size. */
size_t linux_free_hugepages(void);
size_t linux_nr_hugepages(void);

/* Have the kernel move together what is in use, so that large pages are free.
 */
void linux_make_room(void);
