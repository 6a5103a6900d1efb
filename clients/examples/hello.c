/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The smallest client: 8 MiB of pinned, physically contiguous memory.
 *
 *	cc hello.c $(pkg-config --cflags --libs holdfast) -o hello && ./hello
 */

#include <err.h>
#include <holdfast.h>
#include <stdio.h>
#include <string.h>

int
main(void)
{
	struct holdfast_contig_req req = {.size = 8 << 20, .flags = HF_M_ZERO};
	struct holdfast_buf *buf;
	struct holdfast *h;
	uint64_t pa;
	int r;

	r = holdfast_connect(NULL, &h);
	if (r != HF_OK)
		errx(3, "cannot connect: %s", holdfast_status_name(r));
	r = holdfast_contigmalloc(h, &req, &buf);
	if (r != HF_OK)
		errx(1, "%s: %s", holdfast_status_name(r), holdfast_error(h));

	(void)strcpy(buf->addr, "hello, contiguous world");
	printf("%s\n%p", (char *)buf->addr, buf->addr);
	if (holdfast_vtophys(h, buf->addr, &pa) == HF_OK)
		printf(" is physical %#llx", (unsigned long long)pa);
	printf(", %llu bytes, pin %s\n", (unsigned long long)buf->size,
	    buf->pin == HF_PIN_LONGTERM ? "longterm" : "none");

	(void)holdfast_contigfree(h, buf);
	holdfast_close(h);
	return 0;
}
