/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a tenant may make the daemon hold, and the tokens that give it back.
 *
 * Whatever a client can grow is paid for by a struct quota_charge that sits
 * inside the object that holds it: when the object goes, so does the charge.
 * One thread (the event loop).  Design: docs/design/quota.md.
 */

#include <stdint.h>

enum quota_resource {
	QUOTA_BYTES,      /* of spans, from assembling until recycled */
	QUOTA_BASE_BYTES, /* of base pages shown through files */
	QUOTA_FDS,        /* descriptors in this process, or on their way out */
	QUOTA_QUEUED,     /* bytes of replies that a client does not read */
	QUOTA_REQUESTS,   /* waiting for a worker */
	QUOTA_SESSIONS,
	QUOTA_BUFFERS,
	QUOTA_OBJECTS,
	QUOTA_MAPS,
	QUOTA_ENTRIES, /* in all maps */
	QUOTA_NRESOURCES,
};

#define QUOTA_UNLIMITED UINT64_MAX

struct quota_limits {
	uint64_t limit[QUOTA_NRESOURCES];
};

/* One tenant's account. */
struct quota {
	uint64_t used[QUOTA_NRESOURCES];
	uint64_t limit[QUOTA_NRESOURCES];
	uint64_t highwater[QUOTA_NRESOURCES];
};

/* Embedded in what is paid for.  Zeroed: nothing charged. */
struct quota_charge {
	struct quota *quota; /* borrowed; outlives the charge */
	enum quota_resource resource;
	uint64_t amount;
};

/* Limits that suit one host with a handful of tenants. */
void quota_limits_default(struct quota_limits *limits);
void quota_init(struct quota *quota, const struct quota_limits *limits);
/* True when nothing is charged. */
int quota_is_empty(const struct quota *quota);

/*
 * Pay `amount` into an empty token.
 * -EDQUOT: over the limit; nothing is charged.
 */
int quota_charge(struct quota_charge *charge, struct quota *quota,
    enum quota_resource resource, uint64_t amount);
/* Make a token worth `amount`.  -EDQUOT: as it was.  Shrinking never fails. */
int quota_recharge(struct quota_charge *charge, uint64_t amount);
/* Give it all back.  An empty token is fine. */
void quota_discharge(struct quota_charge *charge);

/* "bytes of spans" ...: for sentences. */
const char *quota_resource_name(enum quota_resource resource);
