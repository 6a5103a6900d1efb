/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The shortest client: 2 MiB of pinned, contiguous memory, and where it is.
 *
 *	hello [SOCKET]
 */

#include <inttypes.h>
#include <string.h>

#include "clients/examples/example.h"

int
main(int argc, char **argv)
{
	struct holdfast *h = must_connect(argc > 1 ? argv[1] : NULL);
	struct holdfast_contig_req req = {.size = 2 << 20,
	    .flags = HF_M_ZERO,
	    .type = "hello"};
	struct holdfast_buf *buf;

	must(h, holdfast_contigmalloc(h, &req, &buf), "contigmalloc");
	(void)strcpy(buf->addr, "hello, frame");
	printf("\"%s\" stands at %p, which is physical %#" PRIx64 "\n",
	    (const char *)buf->addr, buf->addr, buf->pa);
	must(h, holdfast_contigfree(h, buf), "contigfree");
	holdfast_close(h);
	return 0;
}
