/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A tenant: a trust boundary.  One for each uid that connects.
 *
 * Owns its account, its arena (which the spans that it shares out are lent to),
 * its malloc types and the list of its named maps.  Sessions of one tenant
 * share spans; different tenants never do.  Loop thread only.
 * Design: docs/design/server.md.
 */

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "core/vm_contig.h"
#include "proto/limits.h"
#include "server/quota.h"
#include "server/waitq.h"

#define TENANT_TYPES_MAX 256 /* names of malloc types */

struct map;
struct pool;
struct vm_arena;

/* Statistics of one malloc type, kept while the tenant is known. */
struct tenant_type {
	TAILQ_ENTRY(tenant_type) entry;
	char name[HOLDFAST_TYPE_MAX + 1];
	struct malloc_type_stats stats;
};

struct tenant {
	TAILQ_ENTRY(tenant) entry;
	TAILQ_ENTRY(tenant) ring;     /* in the queue, while it has waiters */
	TAILQ_ENTRY(tenant) borrower; /* of the pool's, if it has an arena */
	struct pool *pool;            /* NULL where there is none */
	struct waiter_list waiters;   /* patient ones, in the order they came */
	uid_t uid;
	char name[24]; /* "uid:1000" */
	bool addresses_allowed;
	struct quota quota;
	struct vm_arena *arena; /* NULL where there is no pool */
	struct domainset turn;  /* where the next round of domains begins */
	TAILQ_HEAD(, tenant_type) types;
	size_t ntypes;
	TAILQ_HEAD(, map) maps; /* those with a name */
	size_t nrecycling;      /* spans on their way back to the pool */
	vm_size_t limbo_bytes;
	uint64_t tampered;               /* frames found changed */
	uint64_t last_span, last_object; /* numbers given out */
};

TAILQ_HEAD(tenant_list, tenant);

/* NULL: no memory.  `pool` is what its arena is fed from; NULL: no arena. */
struct tenant *tenant_new(uid_t uid, const struct quota_limits *limits,
    struct pool *pool);
/* Bytes of spans that it keeps though nothing is cut from them. */
vm_size_t tenant_idle(const struct tenant *tenant);
/* A session of it ended: with the last, what is idle goes back to the pool. */
void tenant_left(struct tenant *tenant);
/* NULL is fine.  Nothing may be charged to it. */
void tenant_free(struct tenant *tenant);

/* The record of that malloc type, made if need be.  NULL: one too many. */
struct tenant_type *tenant_type_get(struct tenant *tenant, const char *name);
void tenant_type_alloc(struct tenant_type *type, vm_size_t bytes);
void tenant_type_free(struct tenant_type *type, vm_size_t bytes);
