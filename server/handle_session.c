/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Hello, Ping and the tenant's status.
 */

#include <stdio.h>
#include <string.h>

#include "server/dispatch.h"

enum call_outcome
handle_hello(struct call *call)
{
	static Holdfast__V1__HelloResult empty =
	    HOLDFAST__V1__HELLO_RESULT__INIT;
	const Holdfast__V1__Hello *hello = call->request->hello;
	struct session *session = call->session;
	struct server *server = session->server;
	Holdfast__V1__HelloResult *result;

	if (hello->version_min == 0 ||
	    hello->version_min > hello->version_max) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "version_min must be from 1 to version_max; it is %u",
		    hello->version_min);
		return CALL_DONE;
	}
	if (hello->version_min > HOLDFAST_VERSION_MAX ||
	    hello->version_max < HOLDFAST_VERSION_MIN) {
		(void)answer_refuse(&call->answer, REFUSED_VERSION,
		    "the versions must meet %d to %d; they are %u to %u",
		    HOLDFAST_VERSION_MIN, HOLDFAST_VERSION_MAX,
		    hello->version_min, hello->version_max);
		return CALL_DONE;
	}
	if (strlen(hello->name) > HOLDFAST_NAME_MAX) {
		(void)answer_refuse(&call->answer, KERN_INVALID_ARGUMENT,
		    "name must be at most %d bytes", HOLDFAST_NAME_MAX);
		return CALL_DONE;
	}
	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->version = HOLDFAST_VERSION_MAX;
	result->page_size = server->arch->machine->page_size;
	result->frame_size = server->pool.frame_size;
	result->addresses_allowed = session->tenant->addresses_allowed;
	result->machine = (char *)server->arch->machine->name;
	result->packet_max = HOLDFAST_PACKET_MAX;
	result->batch_max = HOLDFAST_BATCH_MAX;
	result->session = session->serial;
	(void)snprintf(session->name, sizeof(session->name), "%s", hello->name);
	session->negotiated = true;
	if (hello->sequential && !session->sequential)
		session_one_by_one(session);
	if (!transport_is_blocked(&session->transport))
		(void)event_del(session->timer);
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_HELLO;
	call->reply.hello = result;
	return CALL_DONE;
}

enum call_outcome
handle_ping(struct call *call)
{
	(void)call; /* a success without a result */
	return CALL_DONE;
}

/* What an account says of one resource. */
static Holdfast__V1__Quota *
quota_on_wire(struct call *call, enum quota_resource resource)
{
	static Holdfast__V1__Quota empty = HOLDFAST__V1__QUOTA__INIT;
	const struct quota *quota = &call->session->tenant->quota;
	Holdfast__V1__Quota *result = call_alloc(call, sizeof(*result));

	if (result == NULL)
		return NULL;
	*result = empty;
	result->used = quota->used[resource];
	result->limit = quota->limit[resource];
	result->highwater = quota->highwater[resource];
	return result;
}

enum call_outcome
handle_tenant_status(struct call *call)
{
	static Holdfast__V1__TenantStatusResult empty =
	    HOLDFAST__V1__TENANT_STATUS_RESULT__INIT;
	struct tenant *tenant = call->session->tenant;
	Holdfast__V1__TenantStatusResult *result;

	result = call_alloc(call, sizeof(*result));
	if (result == NULL)
		return CALL_DONE;
	*result = empty;
	result->tenant = tenant->name;
	result->bytes = quota_on_wire(call, QUOTA_BYTES);
	result->base_bytes = quota_on_wire(call, QUOTA_BASE_BYTES);
	result->fds = quota_on_wire(call, QUOTA_FDS);
	result->requests = quota_on_wire(call, QUOTA_REQUESTS);
	result->sessions = quota_on_wire(call, QUOTA_SESSIONS);
	result->map_entries = quota_on_wire(call, QUOTA_ENTRIES);
	result->buffers = tenant->quota.used[QUOTA_BUFFERS];
	result->maps = tenant->quota.used[QUOTA_MAPS];
	result->entries = tenant->quota.used[QUOTA_ENTRIES];
	result->tampered = tenant->tampered;
	result->limbo_bytes = tenant->limbo_bytes;
	result->idle_bytes = tenant_idle(tenant);
	result->spans_taken = tenant->last_span;
	call->reply.result_case = HOLDFAST__V1__REPLY__RESULT_TENANT_STATUS;
	call->reply.tenant_status = result;
	return CALL_DONE;
}
