/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the files of libholdfast share: the handle and one exchange with the
 * daemon.  Nothing here is exported; hf_ names are the library's own.
 *
 * The daemon is not trusted.  What it sends passes through hf_exchange(),
 * which checks the shape of replies, and through the caller, which checks
 * what they say.  A violation ends the connection: hf_broken().
 * Design: docs/design/libholdfast.md.
 */

#include <stdatomic.h>

#include "clients/libholdfast/holdfast.h"
#include "clients/libholdfast/index.h"
#include "clients/libholdfast/transport.h"
#include "proto/wire.h"

struct hf_buf;

#define HF_LOST_MAX 64

struct hf_lost {
	uint64_t buffer, offset, size;
	uint64_t map, addr; /* of a map, where that is not 0 */
};

struct holdfast {
	struct hf_conn conn;
	int broken;       /* 0, or the -errno that every later call returns */
	uint64_t next_id; /* of a request */
	uint64_t posted;  /* the last one that wants no answer; 0: none */
	const volatile uint8_t *mine; /* reads 0 in a forked child */
	struct holdfast_info info;
	char *path;              /* of the socket */
	uint32_t session;        /* our number, as the daemon has it */
	uint32_t packet_max;     /* bytes the daemon accepts */
	uint32_t batch_max;      /* requests the daemon accepts in one packet */
	uint8_t *packet;         /* HOLDFAST_PACKET_MAX bytes, out and in */
	struct wire_arena arena; /* for the replies of one packet */
	uint64_t frames_dev, frames_size; /* known for huge pages */
	struct hf_index spans; /* struct hf_span by the daemon's id */
	struct hf_index views; /* struct hf_view by address */
	struct hf_view *last;  /* view of the last holdfast_vtophys() hit */
	struct hf_buf *bufs;
	struct holdfast_map *maps;
	unsigned events_stray; /* of maps that we let go while armed */
	bool changed; /* an event waits in one of them to be carried out */
	/* A call that may be cancelled, from other threads and handlers. */
	_Atomic uint64_t waiting; /* the request's number; 0: none */
	atomic_uint cancels;      /* whose answers are on their way */
	atomic_bool cancel;       /* asked for */
	/* Memory that the daemon wants back. */
	holdfast_reclaim_fn *on_reclaim;
	void *reclaim_arg;
	bool listens; /* the daemon knows that we can give back */
	bool reclaim; /* asked, and not answered */
	uint64_t reclaim_bytes;
	/* Bad memory that the callback has yet to hear of. */
	holdfast_lost_fn *on_lost;
	void *lost_arg;
	holdfast_map_lost_fn *on_map_lost;
	void *map_lost_arg;
	struct hf_lost lost[HF_LOST_MAX]; /* a ring */
	size_t nlost;                     /* told since the last dispatch */
	char error[HOLDFAST_MESSAGE_MAX + 1];
};

/* 0; -EINVAL: NULL; -EPERM: the handle is the parent process's; broken. */
int hf_usable(const struct holdfast *h);

/* End the connection for good because of `r` (-errno), and return `r`. */
int hf_broken(struct holdfast *h, int r);

/* Set holdfast_error(). */
void hf_say(struct holdfast *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* hf_say() what the daemon did wrong, end the connection, return -EPROTO. */
int hf_mistrust(struct holdfast *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * One exchange: n requests in one packet, until the last of their replies.
 *
 * `requests` have their op set; ids are given here.  `accept` is called once
 * for each, in any order, with the status (>= 0) and, on success, the reply
 * and its descriptors; what it does not take is closed.  The reply is gone when
 * it returns.  It returns 0, or -errno, which ends the exchange and is
 * returned; after that, or any other failure, the connection is broken.
 */
struct hf_exchange {
	Holdfast__V1__Request *requests;
	size_t n;
	Holdfast__V1__Reply__ResultCase expect; /* 0: a bare success */
	size_t nfds_max;                        /* a successful reply brings */
	int (*accept)(struct holdfast *h, void *arg, size_t nth, int status,
	    const Holdfast__V1__Reply *reply, struct hf_fds *fds);
	void *arg;
	/* Where set: it may be cancelled, and may take so long; < 0: for
	 * ever. */
	bool waits;
	int64_t wait_ms;
};
int hf_exchange(struct holdfast *h, const struct hf_exchange *exchange);

/*
 * One request.  HF_OK: *replyp and *fds (where nfds_max > 0) are valid until
 * the next exchange; the caller closes *fds.  A positive status: refused.
 */
int hf_call(struct holdfast *h, Holdfast__V1__Request *request,
    Holdfast__V1__Reply__ResultCase expect, size_t nfds_max,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds);
/* hf_call() of a request that waits (struct hf_exchange). */
int hf_call_waiting(struct holdfast *h, Holdfast__V1__Request *request,
    Holdfast__V1__Reply__ResultCase expect, size_t nfds_max, int64_t wait_ms,
    const Holdfast__V1__Reply **replyp, struct hf_fds *fds);
/* The same for a request whose success says nothing else. */
int hf_call_bare(struct holdfast *h, Holdfast__V1__Request *request);
/*
 * Send a request whose success the daemon does not answer, and wait for
 * nothing.  Failing that, the connection is broken.
 */
int hf_post(struct holdfast *h, Holdfast__V1__Request *request);

/*
 * An event of a map arrived.  -EPROTO: nobody had asked for one.
 */
int hf_map_event(struct holdfast *h, const Holdfast__V1__Event *event);
/* The map of that number, or NULL; are those addresses in it? */
struct holdfast_map *hf_map_find(struct holdfast *h, uint64_t id);
bool hf_map_holds(const struct holdfast_map *map, uint64_t addr, uint64_t size);
/* Take one packet of events, if one is there.  false: none, or broken. */
bool hf_take_events(struct holdfast *h);

/* The daemon wants memory back.  -EPROTO: from us, who did not offer. */
int hf_reclaim_event(struct holdfast *h,
    const Holdfast__V1__ReclaimRequest *request);
/* Offer to give memory back, or no more. */
int hf_reclaim_listen(struct holdfast *h, bool listen);
/* Say that we gave back what we could. */
int hf_reclaim_done(struct holdfast *h);
/* Call the callback, if the daemon has asked. */
int hf_reclaim_dispatch(struct holdfast *h);

/* Memory under one of our buffers went bad. */
void hf_lost_event(struct holdfast *h, const Holdfast__V1__FrameLost *lost);
/* Call the callback for each. */
void hf_lost_dispatch(struct holdfast *h);
/* The buffer of that number, or NULL. */
struct holdfast_buf *hf_buf_find(struct holdfast *h, uint64_t id);

/*
 * One that the library does not map (no_map): is its descriptor what it should
 * be?  -EPROTO: no; the connection is broken, and the buffer the handle's.
 */
int hf_buf_check(struct holdfast *h, const struct holdfast_buf *buf);

/* Copy what the daemon sent into `size` bytes: cut, and printable. */
void hf_copy_text(char *to, size_t size, const char *from);

/* Free what the handle still has; `over`: by its own process. */
void hf_bufs_free_all(struct holdfast *h);
void hf_maps_free_all(struct holdfast *h);

static inline bool
hf_is_power_of_two(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}
