/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/kassert.h"
#include "proto/holdfast.pb-c.h"
#include "server/status.h"

#define STATUS(name) HOLDFAST__V1__STATUS__STATUS_##name

static_assert(STATUS(SUCCESS) == KERN_SUCCESS + 1, "KERN_x is x + 1");
static_assert(STATUS(INVALID_ADDRESS) == KERN_INVALID_ADDRESS + 1, "");
static_assert(STATUS(PROTECTION_FAILURE) == KERN_PROTECTION_FAILURE + 1, "");
static_assert(STATUS(NO_SPACE) == KERN_NO_SPACE + 1, "");
static_assert(STATUS(INVALID_ARGUMENT) == KERN_INVALID_ARGUMENT + 1, "");
static_assert(STATUS(FAILURE) == KERN_FAILURE + 1, "");
static_assert(STATUS(RESOURCE_SHORTAGE) == KERN_RESOURCE_SHORTAGE + 1, "");
static_assert(STATUS(WOULD_BLOCK) == KERN_WOULD_BLOCK + 1, "");
static_assert((int)STATUS(VERSION) == REFUSED_VERSION, "same figures");
static_assert((int)STATUS(CANCELLED) == REFUSED_CANCELLED, "");

static const char *const kern_names[] = {
    "KERN_SUCCESS",
    "KERN_INVALID_ADDRESS",
    "KERN_PROTECTION_FAILURE",
    "KERN_NO_SPACE",
    "KERN_INVALID_ARGUMENT",
    "KERN_FAILURE",
    "KERN_RESOURCE_SHORTAGE",
    "KERN_NOT_RECEIVER",
    "KERN_NO_ACCESS",
    "KERN_OUT_OF_BOUNDS",
    "KERN_RESTART",
    "KERN_WOULD_BLOCK",
};

static const char *const refused_names[] = {
    "VERSION",
    "NOT_NEGOTIATED",
    "UNKNOWN_REQUEST",
    "UNKNOWN_ID",
    "QUOTA",
    "DENIED",
    "EXISTS",
    "NO_POOL",
    "SHUTTING_DOWN",
    "TIMED_OUT",
    "CANCELLED",
};

int
status_from_code(int code)
{
	if (code >= REFUSED_VERSION)
		return code;
	return code + 1;
}

const char *
status_name(int code)
{
	if (code >= 0 && (size_t)code < nitems(kern_names))
		return kern_names[code];
	code -= REFUSED_VERSION;
	if (code >= 0 && (size_t)code < nitems(refused_names))
		return refused_names[code];
	return "UNKNOWN";
}

int
answer_refuse(struct answer *answer, int code, const char *format, ...)
{
	va_list args;

	MPASS(code != KERN_SUCCESS);
	answer->code = code;
	va_start(args, format);
	(void)vsnprintf(answer->text, sizeof(answer->text), format, args);
	va_end(args);
	return code;
}

int
answer_refuse_strict(struct answer *answer, int code,
    const struct vm_refusal *why)
{
	if (why->has_limit)
		return answer_refuse(answer, code,
		    "%s must %s (0x%llx); it is 0x%llx", why->arg, why->rule,
		    (unsigned long long)why->limit,
		    (unsigned long long)why->value);
	return answer_refuse(answer, code, "%s must %s; it is 0x%llx", why->arg,
	    why->rule, (unsigned long long)why->value);
}

/* What the argument of that name was. */
static uint64_t
contig_req_value(const struct contig_req *req, const char *arg)
{
	if (strcmp(arg, "size") == 0)
		return req->size;
	if (strcmp(arg, "low") == 0)
		return req->low;
	if (strcmp(arg, "high") == 0)
		return req->high;
	if (strcmp(arg, "alignment") == 0)
		return req->alignment;
	if (strcmp(arg, "boundary") == 0)
		return req->boundary;
	return (uint64_t)req->domain;
}

int
answer_refuse_contig(struct answer *answer, int code,
    const struct contig_refusal *why, const struct contig_req *req)
{
	uint64_t value = contig_req_value(req, why->arg);

	if (why->limit != 0)
		return answer_refuse(answer, code, "%s %s 0x%llx; it is 0x%llx",
		    why->arg, why->rule, (unsigned long long)why->limit,
		    (unsigned long long)value);
	return answer_refuse(answer, code, "%s %s; it is 0x%llx", why->arg,
	    why->rule, (unsigned long long)value);
}

static const char *
kern_sentence(int code)
{
	switch (code) {
	case KERN_INVALID_ADDRESS:
		return "the range is empty, inverted or not in the map";
	case KERN_PROTECTION_FAILURE:
		return "the entry or the map does not allow this access";
	case KERN_NO_SPACE:
		return "no free range fits";
	case KERN_INVALID_ARGUMENT:
		return "an argument is not allowed here";
	case KERN_RESOURCE_SHORTAGE:
		return "the daemon is out of memory, or a limit is reached";
	case KERN_WOULD_BLOCK:
		return "a system wiring is in the way";
	default:
		return "the operation failed";
	}
}

int
answer_refuse_kern(struct answer *answer, int code, const char *what)
{
	return answer_refuse(answer, code, "%s: %s", what, kern_sentence(code));
}

int
answer_refuse_errno(struct answer *answer, int r, const char *what)
{
	return answer_refuse(answer, KERN_RESOURCE_SHORTAGE, "%s: %s", what,
	    strerror(-r));
}

int
answer_refuse_quota(struct answer *answer, const struct quota *quota,
    enum quota_resource resource, uint64_t more)
{
	return answer_refuse(answer, REFUSED_QUOTA,
	    "%s: the tenant's limit is %llu; %llu are in use and %llu more "
	    "were asked for",
	    quota_resource_name(resource),
	    (unsigned long long)quota->limit[resource],
	    (unsigned long long)quota->used[resource],
	    (unsigned long long)more);
}
