/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Mirrors in a child of fork(2).
 *
 * What is not to be inherited is left out by the kernel (MADV_DONTFORK), which
 * leaves holes where the child would be given other memory.  The kernel has
 * MADV_WIPEONFORK for private anonymous memory only, and that of maps is
 * neither.  So the child fills the holes itself, before anything else runs in
 * it: with zeroes of its own for VM_INHERIT_ZERO, else with nothing.  It makes
 * system calls only, and is the only thread.
 */

#include <pthread.h>
#include <sys/mman.h>

#include "clients/libholdfast/mirror.h"

/* Held while any mirror changes, and over fork(2). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hf_mirror *mirrors;

static void
before_fork(void)
{
	(void)pthread_mutex_lock(&lock);
}

static void
in_parent(void)
{
	(void)pthread_mutex_unlock(&lock);
}

static void
in_child(void)
{
	for (struct hf_mirror *m = mirrors; m != NULL; m = m->next)
		for (size_t i = 0; i < m->n; i++) {
			const struct hf_piece *piece = &m->pieces[i];

			if (!piece->not_in_child)
				continue;
			/* Where it fails a hole is left: as inaccessible. */
			(void)mmap((void *)(uintptr_t)piece->start,
			    (size_t)(piece->end - piece->start),
			    piece->zero_in_child ? piece->prot : PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
				MAP_FIXED,
			    -1, 0);
		}
	(void)pthread_mutex_unlock(&lock);
}

static void
register_handlers(void)
{
	(void)pthread_atfork(before_fork, in_parent, in_child);
}

void
hf_mirror_enlist(struct hf_mirror *mirror)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, register_handlers);
	hf_mirrors_lock();
	mirror->next = mirrors;
	mirrors = mirror;
	hf_mirrors_unlock();
}

void
hf_mirror_delist(struct hf_mirror *mirror)
{
	struct hf_mirror **link = &mirrors;

	hf_mirrors_lock();
	while (*link != mirror)
		link = &(*link)->next;
	*link = mirror->next;
	hf_mirrors_unlock();
}

void
hf_mirrors_lock(void)
{
	(void)pthread_mutex_lock(&lock);
}

void
hf_mirrors_unlock(void)
{
	(void)pthread_mutex_unlock(&lock);
}
