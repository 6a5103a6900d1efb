/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The structure-aware mutator for AFL++, a shared object of its own:
 * mutation, cross-over with the other input, and trimming record by record.
 *
 * HOLDFAST_FUZZ_TARGET names the target, so that only its operations appear;
 * HOLDFAST_FUZZ_OPS gives them as a number instead.
 */

#include "fuzz/gen.h"
#include "fuzz/ops.h"

#include <stdlib.h>
#include <string.h>

struct afl_state;

struct mutator {
	uint64_t state;
	uint64_t ops;
	uint8_t *out; /* what a call hands to the engine */
	size_t cap;
	/* Trimming: records that are left, in blocks of `block`. */
	uint8_t *trim;
	size_t trim_size;
	size_t at, block, cut;
	int steps;
};

void *afl_custom_init(struct afl_state *afl, unsigned seed);
void afl_custom_deinit(void *data);
size_t afl_custom_fuzz(void *data, uint8_t *buf, size_t size, uint8_t **outp,
    uint8_t *other, size_t other_size, size_t max);
int32_t afl_custom_init_trim(void *data, uint8_t *buf, size_t size);
size_t afl_custom_trim(void *data, uint8_t **outp);
int32_t afl_custom_post_trim(void *data, uint8_t success);

static uint64_t
target_ops(void)
{
	static const struct {
		const char *name;
		uint64_t ops;
	} targets[] = {{"fuzz_map", FUZZ_OPS_MAP},
	    {"fuzz_contig", FUZZ_OPS_CONTIG}, {"fuzz_stack", FUZZ_OPS_STACK},
	    {"fuzz_wire", FUZZ_OPS_WIRE}, {"fuzz_world", FUZZ_OPS_WORLD},
	    {"fuzz_tree", FUZZ_OPS_TREE}, {"fuzz_sched", FUZZ_OPS_SCHED},
	    {"fuzz_phys", FUZZ_OPS_PHYS}, {"fuzz_relate", FUZZ_OPS_RELATE},
	    {"fuzz_runs", FUZZ_OPS_RUNS}, {"fuzz_calls", FUZZ_OPS_CALLS}};
	const char *name = getenv("HOLDFAST_FUZZ_TARGET");

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		if (name != NULL && strcmp(name, targets[i].name) == 0)
			return targets[i].ops;
	return FUZZ_OPS_MAP;
}

static int
make_room(struct mutator *m, size_t size)
{
	uint8_t *p;

	if (size <= m->cap)
		return 1;
	p = realloc(m->out, size);
	if (p == NULL)
		return 0;
	m->out = p;
	m->cap = size;
	return 1;
}

void *
afl_custom_init(struct afl_state *afl, unsigned seed)
{
	struct mutator *m = calloc(1, sizeof(*m));

	(void)afl;
	if (m != NULL) {
		m->state = seed;
		m->ops = target_ops();
	}
	return m;
}

void
afl_custom_deinit(void *data)
{
	struct mutator *m = data;

	free(m->out);
	free(m->trim);
	free(m);
}

size_t
afl_custom_fuzz(void *data, uint8_t *buf, size_t size, uint8_t **outp,
    uint8_t *other, size_t other_size, size_t max)
{
	struct mutator *m = data;
	uint64_t r = gen_random(&m->state);
	size_t n = 0;

	if (!make_room(m, max > size ? max : size)) {
		*outp = buf;
		return size;
	}
	if (r % 8 == 0 && other != NULL)
		n = gen_crossover(r, buf, size, other, other_size, m->out, max);
	if (n == 0) {
		n = size < max ? size : max;
		memcpy(m->out, buf, n);
		n = gen_mutate(r, m->ops, m->out, n, max);
	}
	*outp = m->out;
	return n;
}

/* ---- Trimming -------------------------------------------------------------
 */

static size_t
nrecords(const struct mutator *m)
{
	return m->trim_size < HF_HEADER_SIZE
		   ? 0
		   : (m->trim_size - HF_HEADER_SIZE) / HF_RECORD_SIZE;
}

int32_t
afl_custom_init_trim(void *data, uint8_t *buf, size_t size)
{
	struct mutator *m = data;

	free(m->trim);
	m->trim = malloc(size > 0 ? size : 1);
	if (m->trim == NULL || !make_room(m, size > 0 ? size : 1))
		return 0;
	memcpy(m->trim, buf, size);
	m->trim_size = size;
	m->at = 0;
	m->block = nrecords(m) / 4;
	m->block = m->block > 0 ? m->block : 1;
	m->steps = 0;
	return nrecords(m) > 0 ? 64 : 0;
}

/* The program without the block at hand. */
size_t
afl_custom_trim(void *data, uint8_t **outp)
{
	struct mutator *m = data;
	size_t n = nrecords(m), head;

	if (m->at >= n) {
		m->at = 0;
		m->block = m->block > 1 ? m->block / 2 : 1;
	}
	m->cut = m->block < n - m->at ? m->block : n - m->at;
	head = HF_HEADER_SIZE + m->at * HF_RECORD_SIZE;
	memcpy(m->out, m->trim, head);
	memcpy(m->out + head, m->trim + head + m->cut * HF_RECORD_SIZE,
	    m->trim_size - head - m->cut * HF_RECORD_SIZE);
	*outp = m->out;
	return m->trim_size - m->cut * HF_RECORD_SIZE;
}

int32_t
afl_custom_post_trim(void *data, uint8_t success)
{
	struct mutator *m = data;

	if (success != 0) {
		m->trim_size -= m->cut * HF_RECORD_SIZE;
		memcpy(m->trim, m->out, m->trim_size);
	} else {
		m->at += m->cut;
	}
	return nrecords(m) == 0 ? 64 : ++m->steps;
}
