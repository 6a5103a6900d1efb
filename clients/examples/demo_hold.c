/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Hold SIZE MiB until somebody ends us.
 *
 *	demo_hold MIB [SOCKET]
 */

#include <inttypes.h>
#include <string.h>

#include "clients/examples/example.h"

int
main(int argc, char **argv)
{
	struct holdfast_contig_req req = {.type = "hold"};
	struct holdfast_buf *buf;
	struct holdfast *h;

	if (argc < 2)
		errx(2, "usage: demo_hold MIB [SOCKET]");
	req.size = strtoull(argv[1], NULL, 0) << 20;
	h = must_connect(argc > 2 ? argv[2] : NULL);
	must(h, holdfast_contigmalloc(h, &req, &buf), "contigmalloc");
	(void)memset(buf->addr, 0x5a, buf->size);
	printf("%#" PRIx64 " %#" PRIx64 "\n", buf->pa, buf->size);
	fflush(stdout);
	for (;;)
		(void)pause();
}
