/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a request is answered: a code and, on a refusal, one sentence.
 *
 * Codes are KERN_* (0 to 11) or REFUSED_*; status.c alone turns them into the
 * Status of the protocol.  Design: docs/design/server.md.
 */

#include "core/vm_contig.h"
#include "core/vm_strict.h"
#include "proto/limits.h"
#include "server/quota.h"

/* Refusals of the service itself; the protocol has the same figures. */
enum {
	REFUSED_VERSION = 64,
	REFUSED_NOT_NEGOTIATED = 65,
	REFUSED_UNKNOWN_REQUEST = 66,
	REFUSED_UNKNOWN_ID = 67,
	REFUSED_QUOTA = 68,
	REFUSED_DENIED = 69,
	REFUSED_EXISTS = 70,
	REFUSED_NO_POOL = 71,
	REFUSED_SHUTTING_DOWN = 72,
	REFUSED_TIMED_OUT = 73,
	REFUSED_CANCELLED = 74,
};

struct answer {
	int code;                        /* 0, KERN_* or REFUSED_* */
	char text[HOLDFAST_MESSAGE_MAX]; /* "" on success */
};

static inline void
answer_init(struct answer *answer)
{
	answer->code = KERN_SUCCESS;
	answer->text[0] = '\0';
}

/* Fill in a refusal; returns `code`. */
int answer_refuse(struct answer *answer, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from the core's checkers, from a code alone, and from an account. */
int answer_refuse_strict(struct answer *answer, int code,
    const struct vm_refusal *why);
int answer_refuse_contig(struct answer *answer, int code,
    const struct contig_refusal *why, const struct contig_req *req);
int answer_refuse_kern(struct answer *answer, int code, const char *what);
int answer_refuse_errno(struct answer *answer, int r, const char *what);
int answer_refuse_quota(struct answer *answer, const struct quota *quota,
    enum quota_resource resource, uint64_t more);

/* The Status on the wire for a code. */
int status_from_code(int code);
/* "KERN_NO_SPACE", "QUOTA" ...: for logs. */
const char *status_name(int code);
