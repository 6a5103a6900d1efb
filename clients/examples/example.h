/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the examples share: connect or end with a sentence, and wait at a gate
 * (a FIFO that somebody opens for writing to let us go on).
 */

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast.h"

/* End the program unless `rv` is HF_OK, with the daemon's own words. */
static inline void
must(struct holdfast *h, int rv, const char *what)
{
	if (rv == HF_OK)
		return;
	errx(1, "%s: %s: %s", what, holdfast_status_name(rv),
	    h != NULL ? holdfast_error(h) : "");
}

static inline struct holdfast *
must_connect(const char *socket_path)
{
	struct holdfast_options options = {.socket_path = socket_path};
	struct holdfast *h;

	must(NULL, holdfast_connect(&options, &h), "connect");
	return h;
}

/* NULL: do not wait. */
static inline void
wait_at(const char *gate)
{
	char byte;
	int fd;

	if (gate == NULL)
		return;
	fd = open(gate, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", gate);
	while (read(fd, &byte, 1) > 0)
		continue;
	close(fd);
}
