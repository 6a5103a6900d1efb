/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * contigmalloc(9) from an ordinary process, each promise looked at.
 *
 *	demo_contig --high ADDRESS [--socket PATH] [--proof FILE --gate FIFO]
 *
 * With --proof it writes one line a buffer, "VA PA SIZE", for somebody with
 * more rights to compare with the kernel, and waits at the gate.  Exit code
 * 0: every call did what the manual page says.
 */

#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "clients/examples/example.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static unsigned int faults;

static void
expect(bool good, const char *what)
{
	if (good)
		return;
	faults++;
	printf("     NOT TRUE: %s\n", what);
}

static const char *
pin_name(enum holdfast_pin pin)
{
	return pin == HF_PIN_LONGTERM ? "long-term"
	       : pin == HF_PIN_MLOCK  ? "mlock only"
				      : "not";
}

static void
print_buf(const struct holdfast_buf *buf)
{
	printf("     physical %#" PRIx64 " - %#" PRIx64 ", mapped at %p\n",
	    buf->pa, buf->pa + buf->size, buf->addr);
	printf("     pinned: %s; addresses %s by the daemon after pinning\n",
	    pin_name(buf->pin), buf->verified ? "read back" : "NOT read back");
}

/* ---- Contents ---------------------------------------------------------------
 */

static bool
is_zero(const struct holdfast_buf *buf)
{
	const uint64_t *words = buf->addr;

	for (uint64_t i = 0; i < buf->size / sizeof(*words); i++)
		if (words[i] != 0)
			return false;
	return true;
}

/* Every word says where it is. */
static bool
write_and_read(const struct holdfast_buf *buf)
{
	volatile uint64_t *words = buf->addr;
	uint64_t n = buf->size / sizeof(*words);

	for (uint64_t i = 0; i < n; i++)
		words[i] = buf->pa + i * sizeof(*words);
	for (uint64_t i = 0; i < n; i++)
		if (words[i] != buf->pa + i * sizeof(*words))
			return false;
	return true;
}

static void
check_contents(struct holdfast *h, const struct holdfast_buf *buf)
{
	uint64_t pa = 0;
	const char *last = (const char *)buf->addr + buf->size - 1;
	bool zero = is_zero(buf), same = write_and_read(buf);

	expect(zero, "M_ZERO gives zeroes");
	expect(same, "what was written can be read back");
	expect(holdfast_vtophys(h, last, &pa) == HF_OK &&
		   pa == buf->pa + buf->size - 1,
	    "the last byte's physical address follows from the first's");
	printf("     %" PRIu64 " bytes: %s, %s\n", buf->size,
	    zero ? "zeroed" : "NOT zeroed",
	    same ? "written and read back" : "NOT read back as written");
}

/* ---- Steps
 * ------------------------------------------------------------------- */

static struct holdfast_buf *
constrained(struct holdfast *h, uint64_t high)
{
	struct holdfast_contig_req req = {.size = 8192,
	    .high = high,
	    .alignment = 32 * KIB,
	    .boundary = MIB,
	    .flags = HF_M_ZERO,
	    .type = "devbuf"};
	struct holdfast_buf *buf;

	printf("   contigmalloc(8192, M_DEVBUF, M_ZERO, 0, %#" PRIx64
	       ", 32K, 1M)\n",
	    high);
	must(h, holdfast_contigmalloc(h, &req, &buf), "contigmalloc");
	print_buf(buf);
	expect(buf->pa + buf->size <= high, "the run ends below HIGH");
	expect(buf->pa % (32 * KIB) == 0, "it begins at a multiple of 32 KiB");
	expect(buf->pa / MIB == (buf->pa + buf->size - 1) / MIB,
	    "it does not cross a multiple of 1 MiB");
	expect((uintptr_t)buf->addr % (32 * KIB) == 0,
	    "so does its virtual address");
	check_contents(h, buf);
	return buf;
}

/* The manual page's example wants memory below 4 MiB, where no pool is. */
static void
refused(struct holdfast *h)
{
	struct holdfast_contig_req req = {.size = 8192,
	    .high = 1 << 22,
	    .alignment = 32 * KIB,
	    .boundary = MIB,
	    .flags = HF_M_ZERO,
	    .type = "devbuf"};
	struct holdfast_run *segs, *runs;
	struct holdfast_buf *buf;
	size_t nsegs, nruns;
	char lowest[32];
	int rv;

	must(h, holdfast_pool_runs(h, &segs, &nsegs, &runs, &nruns), "runs");
	(void)snprintf(lowest, sizeof(lowest), "0x%" PRIx64,
	    nsegs > 0 ? segs[0].start : 0);
	free(segs);
	free(runs);

	printf("\n   the manual page's own example, "
	       "contigmalloc(8192, M_DEVBUF, M_ZERO, 0, 1 << 22, 32K, 1M)\n");
	rv = holdfast_contigmalloc(h, &req, &buf);
	expect(rv > 0, "it is refused");
	if (rv == HF_OK) {
		(void)holdfast_contigfree(h, buf);
		return;
	}
	printf("     refused, %s: \"%s\"\n", holdfast_status_name(rv),
	    holdfast_error(h));
	expect(strstr(holdfast_error(h), lowest) != NULL,
	    "the sentence names the pool's lowest address");
}

static struct holdfast_buf *
large(struct holdfast *h, uint64_t size)
{
	struct holdfast_contig_req req = {.size = size,
	    .flags = HF_M_ZERO,
	    .type = "devbuf"};
	struct holdfast_buf *buf;

	printf("\n   contigmalloc(%" PRIu64 "M): one physical run of %" PRIu64
	       " huge pages\n",
	    size / MIB, size / MIB / 2);
	must(h, holdfast_contigmalloc(h, &req, &buf), "contigmalloc");
	print_buf(buf);
	check_contents(h, buf);
	return buf;
}

static void
write_proof(const char *path, struct holdfast_buf *const *bufs, size_t n)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		err(1, "%s", path);
	for (size_t i = 0; i < n; i++)
		fprintf(file, "%#" PRIx64 " %#" PRIx64 " %#" PRIx64 "\n",
		    (uint64_t)(uintptr_t)bufs[i]->addr, bufs[i]->pa,
		    bufs[i]->size);
	if (fclose(file) != 0)
		err(1, "%s", path);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"socket", required_argument,
						    NULL, 's'},
	    {"high", required_argument, NULL, 'h'},
	    {"proof", required_argument, NULL, 'p'},
	    {"gate", required_argument, NULL, 'g'}, {0}};
	const char *socket_path = NULL, *proof = NULL, *gate = NULL;
	struct holdfast_buf *bufs[3];
	uint64_t high = 0;
	struct holdfast *h;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			socket_path = optarg;
		else if (c == 'h')
			high = strtoull(optarg, NULL, 0);
		else if (c == 'p')
			proof = optarg;
		else if (c == 'g')
			gate = optarg;
		else
			errx(2, "see the top of demo_contig.c");
	}
	h = must_connect(socket_path);
	bufs[0] = constrained(h, high);
	refused(h);
	bufs[1] = large(h, 8 * MIB);
	bufs[2] = large(h, 64 * MIB);
	fflush(stdout);
	if (proof != NULL)
		write_proof(proof, bufs, 3);
	wait_at(gate);
	for (size_t i = 0; i < 3; i++)
		must(h, holdfast_contigfree(h, bufs[i]), "contigfree");
	holdfast_close(h);
	return faults == 0 ? 0 : 1;
}
