/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stddef.h>

#include "core/kassert.h"
#include "server/quota.h"

static const char *const quota_names[QUOTA_NRESOURCES] = {
    [QUOTA_BYTES] = "bytes of spans",
    [QUOTA_BASE_BYTES] = "bytes of base pages",
    [QUOTA_FDS] = "descriptors",
    [QUOTA_QUEUED] = "bytes of unread replies",
    [QUOTA_REQUESTS] = "requests in flight",
    [QUOTA_SESSIONS] = "sessions",
    [QUOTA_BUFFERS] = "buffers",
    [QUOTA_OBJECTS] = "objects",
    [QUOTA_MAPS] = "maps",
    [QUOTA_ENTRIES] = "map entries",
};

void
quota_limits_default(struct quota_limits *limits)
{
	*limits = (struct quota_limits){{
	    [QUOTA_BYTES] = QUOTA_UNLIMITED,
	    [QUOTA_BASE_BYTES] = UINT64_C(1) << 30,
	    [QUOTA_FDS] = 16384,
	    [QUOTA_QUEUED] = 16u << 20,
	    [QUOTA_REQUESTS] = 4096,
	    [QUOTA_SESSIONS] = 4096,
	    [QUOTA_BUFFERS] = UINT64_C(1) << 20,
	    [QUOTA_OBJECTS] = UINT64_C(1) << 16,
	    [QUOTA_MAPS] = 1024,
	    [QUOTA_ENTRIES] = UINT64_C(1) << 22,
	}};
}

void
quota_init(struct quota *quota, const struct quota_limits *limits)
{
	*quota = (struct quota){0};
	for (size_t i = 0; i < QUOTA_NRESOURCES; i++)
		quota->limit[i] = limits->limit[i];
}

int
quota_is_empty(const struct quota *quota)
{
	for (size_t i = 0; i < QUOTA_NRESOURCES; i++) {
		if (quota->used[i] != 0)
			return 0;
	}
	return 1;
}

int
quota_recharge(struct quota_charge *charge, uint64_t amount)
{
	struct quota *quota = charge->quota;
	enum quota_resource resource = charge->resource;
	uint64_t others;

	MPASS(quota != NULL && resource < QUOTA_NRESOURCES);
	MPASS(quota->used[resource] >= charge->amount);
	others = quota->used[resource] - charge->amount;
	/* What is there already stays, whatever the limit became. */
	if (amount > charge->amount &&
	    (others > quota->limit[resource] ||
		amount > quota->limit[resource] - others))
		return -EDQUOT;
	quota->used[resource] = others + amount;
	charge->amount = amount;
	if (quota->used[resource] > quota->highwater[resource])
		quota->highwater[resource] = quota->used[resource];
	return 0;
}

int
quota_charge(struct quota_charge *charge, struct quota *quota,
    enum quota_resource resource, uint64_t amount)
{
	int r;

	KASSERT(charge->amount == 0, "the token already holds a charge");
	*charge = (struct quota_charge){.quota = quota, .resource = resource};
	r = quota_recharge(charge, amount);
	if (r < 0)
		charge->quota = NULL;
	return r;
}

void
quota_discharge(struct quota_charge *charge)
{
	if (charge->quota == NULL)
		return;
	(void)quota_recharge(charge, 0); /* shrinking never fails */
	charge->quota = NULL;
}

const char *
quota_resource_name(enum quota_resource resource)
{
	MPASS(resource < QUOTA_NRESOURCES);
	return quota_names[resource];
}
