/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kassert.h"
#include "core/vm_arena.h"
#include "server/memory.h"
#include "server/span.h"
#include "server/tenant.h"

struct tenant *
tenant_new(uid_t uid, const struct quota_limits *limits, struct pool *pool)
{
	struct tenant *tenant = memory_calloc(1, sizeof(*tenant));

	if (tenant == NULL)
		return NULL;
	tenant->uid = uid;
	(void)snprintf(tenant->name, sizeof(tenant->name), "uid:%u", uid);
	quota_init(&tenant->quota, limits);
	TAILQ_INIT(&tenant->waiters);
	TAILQ_INIT(&tenant->types);
	TAILQ_INIT(&tenant->maps);
	if (pool != NULL) {
		tenant->arena = span_arena_new(pool);
		if (tenant->arena == NULL) {
			free(tenant);
			return NULL;
		}
		tenant->pool = pool;
		TAILQ_INSERT_TAIL(&pool->tenants, tenant, borrower);
	}
	return tenant;
}

vm_size_t
tenant_idle(const struct tenant *tenant)
{
	struct vm_arena_stats stats = {0};

	if (tenant->arena != NULL)
		vm_arena_stats(tenant->arena, &stats);
	return stats.idle_bytes;
}

void
tenant_left(struct tenant *tenant)
{
	if (tenant->arena != NULL && tenant->quota.used[QUOTA_SESSIONS] == 0)
		(void)vm_arena_trim(tenant->arena, 0);
}

void
tenant_free(struct tenant *tenant)
{
	struct tenant_type *type;

	if (tenant == NULL)
		return;
	KASSERT(quota_is_empty(&tenant->quota), "a charge outlives its tenant");
	while ((type = TAILQ_FIRST(&tenant->types)) != NULL) {
		TAILQ_REMOVE(&tenant->types, type, entry);
		free(type);
	}
	if (tenant->pool != NULL)
		TAILQ_REMOVE(&tenant->pool->tenants, tenant, borrower);
	vm_arena_destroy(tenant->arena);
	free(tenant);
}

struct tenant_type *
tenant_type_get(struct tenant *tenant, const char *name)
{
	struct tenant_type *type;

	TAILQ_FOREACH (type, &tenant->types, entry) {
		if (strcmp(type->name, name) == 0)
			return type;
	}
	if (tenant->ntypes == TENANT_TYPES_MAX)
		return NULL;
	type = memory_calloc(1, sizeof(*type));
	if (type == NULL)
		return NULL;
	(void)snprintf(type->name, sizeof(type->name), "%s", name);
	TAILQ_INSERT_TAIL(&tenant->types, type, entry);
	tenant->ntypes++;
	return type;
}

void
tenant_type_alloc(struct tenant_type *type, vm_size_t bytes)
{
	struct malloc_type_stats *stats = &type->stats;
	vm_size_t used;

	stats->mts_numallocs++;
	stats->mts_memalloced += bytes;
	used = stats->mts_memalloced - stats->mts_memfreed;
	if (used > stats->mts_highwater)
		stats->mts_highwater = used;
}

void
tenant_type_free(struct tenant_type *type, vm_size_t bytes)
{
	MPASS(type->stats.mts_numallocs > type->stats.mts_numfrees);
	type->stats.mts_numfrees++;
	type->stats.mts_memfreed += bytes;
}
