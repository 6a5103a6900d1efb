/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Carrying out operation programs.
 *
 * The runner turns relative operands into numbers, keeps the names (m1, o3,
 * b7) and hands each operation to a back end as a struct hf_call.  A back end
 * is the core, a live daemon or a model; all answer with a struct hf_result,
 * so they can be compared.
 *
 * Exact programs (vmsh) mean what they say: an unknown name is an error of the
 * operation.  Loose ones (fuzzers) take names modulo what is there.
 */

#include "arch/machine.h"
#include "core/vm.h"
#include "fuzz/prog/prog.h"

#define HF_MAPS     8   /* slots of maps */
#define HF_OBJS     64  /* slots of objects; 0 is none */
#define HF_BUFS     128 /* buffers at a time */
#define HF_SEGS     32
#define HF_RESULTS  16
#define HF_OUTS_MAX 12

/* Beside KERN_*: refusals that have no code of their own there. */
enum hf_status {
	HF_S_UNKNOWN_ID = 67,
	HF_S_QUOTA = 68,
	HF_S_DENIED = 69,
	HF_S_EXISTS = 70,
	HF_S_NO_POOL = 71,
	HF_S_UNSUPPORTED = 100, /* this back end has no such operation */
	HF_S_SKIPPED = 101,     /* the swarm took the operation away */
};

/* "KERN_NO_SPACE", "HF_UNKNOWN_ID" ... */
const char *hf_status_name(int status);

/* An operation with every operand a number; fields it has not are 0. */
struct hf_call {
	uint8_t op;
	uint64_t v[HF_NFIELDS];
};

enum hf_out_kind {
	HF_O_ADDR,
	HF_O_NUM,
	HF_O_PROT,
	HF_O_BOOL,
	HF_O_OBJECT,
	HF_O_BUF
};

struct hf_out {
	const char *name; /* static */
	enum hf_out_kind kind;
	uint64_t value;
};

struct hf_result {
	int status;   /* KERN_* or enum hf_status */
	bool refused; /* before the back end proper was asked */
	bool quiet;   /* set by the runner: nobody reads `why` */
	unsigned nouts;
	struct hf_out out[HF_OUTS_MAX];
	char why[200]; /* on a refusal, a sentence; may be "" */
};

struct vm_map_limits;
/* One of a map's limits by its number in the `limit` operation. */
void hf_set_limit(struct vm_map_limits *limits, uint64_t what, uint64_t value);

void hf_result_set(struct hf_result *res, int status);
void hf_result_out(struct hf_result *res, const char *name,
    enum hf_out_kind kind, uint64_t value);
/* The value of an out-parameter; false: it has none of that name. */
bool hf_result_get(const struct hf_result *res, const char *name, uint64_t *vp);

/* One entry as any back end shows it. */
struct hf_entry {
	vm_offset_t start, end;
	uint64_t object; /* whatever tells objects apart; 0: none */
	vm_ooffset_t offset;
	uint32_t eflags;
	uint8_t prot, max;
	uint8_t inherit;
	int wired;
};

struct hf_run {
	vm_paddr_t start, end;
	int domain;
};

struct hf_backend;
struct hf_backend_ops {
	const char *name;
	/*
	 * Carry out one operation.  Slots in the call are sound: maps and
	 * objects exist where the operation needs them and do not where it
	 * makes them.
	 */
	void (*call)(struct hf_backend *b, const struct hf_call *call,
	    struct hf_result *res);
	/* Copy entries k, k+1 ... of a map; answers how many. */
	size_t (*entries)(struct hf_backend *b, unsigned map, size_t k,
	    struct hf_entry *entries, size_t max);
	size_t (*nentries)(struct hf_backend *b, unsigned map);
	/* The same for free physical runs. */
	size_t (*runs)(struct hf_backend *b, size_t k, struct hf_run *runs,
	    size_t max);
	void (*free)(struct hf_backend *b);
};
struct hf_backend {
	const struct hf_backend_ops *ops;
};

/* A machine to start with. */
struct hf_preset {
	const char *name;
	const char *machine;
	vm_size_t page_size; /* 0: the machine's smallest */
	vm_offset_t map_min, map_max;
	struct hf_run segs[6]; /* ends at an empty one */
	vm_size_t unit;        /* bytes of a `p` in operands; 0: a page */
	vm_size_t lead;        /* what `min` is above the start of the map */
};

const struct hf_preset *hf_preset(unsigned i); /* modulo how many there are */
unsigned hf_npresets(void);

struct hf_runner;

/*
 * Told of every operation that the back end carried out.  `inst` is NULL for
 * those that the world itself implies (segments of a preset, the first map).
 */
struct hf_observer {
	/* false: veto; the operation is not carried out.  May be NULL. */
	bool (*before)(void *arg, struct hf_runner *r,
	    const struct hf_call *call);
	/* false: stop the program. */
	bool (*called)(void *arg, struct hf_runner *r,
	    const struct hf_inst *inst, const struct hf_call *call,
	    const struct hf_result *res);
	void *arg;
};

struct hf_options {
	bool loose;        /* whatever the header says */
	bool no_faults;    /* leave fault injection out */
	bool quiet;        /* do not write the sentences of refusals */
	unsigned nops_max; /* 0: no limit */
	uint64_t ops;      /* one bit an operation that may run; 0: all */
};

struct hf_buffer {
	bool live;
	uint64_t id; /* b1, b2 ... */
	vm_paddr_t pa;
	vm_size_t size; /* as asked */
};

/* The names and places a program has made so far. */
struct hf_runner {
	struct hf_backend *backend;
	struct hf_options options;
	struct hf_observer observer;
	struct hf_header header;
	const struct hf_preset *preset;
	const struct arch_machine *machine;
	struct {
		bool live;
		vm_offset_t min, max;
	} maps[HF_MAPS];
	bool objs[HF_OBJS];
	struct hf_buffer bufs[HF_BUFS];
	uint64_t next_buf;
	struct hf_run segs[HF_SEGS];
	unsigned nsegs;
	uint64_t results[HF_RESULTS];
	unsigned nresults;
	bool had_map; /* a map has been made in this world */
	bool stopped;
	uint64_t nops;
};

/* Make the world of the program's header. */
void hf_runner_init(struct hf_runner *r, struct hf_backend *backend,
    const struct hf_options *options, const struct hf_observer *observer,
    const uint8_t *data, size_t size);

/* Carry out one operation. */
void hf_runner_step(struct hf_runner *r, const struct hf_inst *inst);

/* All of it. */
void hf_run(struct hf_runner *r, const uint8_t *data, size_t size);

/* ---- Printing --------------------------------------------------------------
 */

/* Gives objects numbers in the order in which they appear. */
struct hf_printer {
	uint64_t objects[256];
	unsigned nobjects;
	bool reasons; /* print the sentence of a refusal */
};

/* What vmsh prints for an operation: one line, then the lines of a list. */
void hf_print_result(struct hf_printer *p, struct hf_runner *r,
    const struct hf_call *call, const struct hf_result *res,
    struct hf_buf *out);
