/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A core map and its model, driven side by side.
 *
 * A world holds a few maps and objects, each twice.  An operation is a plain
 * struct with concrete arguments, so a list of them can be run again, cut
 * shorter, and printed.
 */

#include "arch/sim/sim.h"
#include "tests/model/model_map.h"

#define WORLD_MAPS    3
#define WORLD_OBJECTS 6

enum map_op_kind {
	OP_INSERT,
	OP_FINDSPACE,
	OP_FIND_ALIGNED, /* alignment in offset */
	OP_FIND,
	OP_FIND_MIN,
	OP_FIXED,
	OP_DELETE,
	OP_REMOVE,
	OP_LOOKUP_ENTRY,
	OP_CHECK_PROTECTION,
	OP_PROTECT,
	OP_INHERIT,
	OP_MADVISE,
	OP_WIRE,
	OP_UNWIRE,
	OP_SYNC,
	OP_STACK,
	OP_GROWSTACK,
	OP_LOOKUP,
	OP_LOOKUP_LOCKED,
	OP_CHECK_BOUNDARY,
	OP_FORK,
	OP_DESTROY,
	OP_OBJECT, /* make object `object`: type, length, color in offset */
	OP_OBJECT_DROP, /* the creator's reference */
	OP_MODFLAGS,    /* set: flags; clear: cow */
	OP_NKINDS,
};

struct map_op {
	enum map_op_kind kind;
	int map;    /* which map; the fork goes to the first free slot */
	int object; /* -1: none */
	int type;   /* enum obj_type */
	vm_offset_t start, end;
	vm_size_t length;
	vm_ooffset_t offset;
	vm_offset_t max_addr, default_addr;
	int find_space;
	vm_prot_t prot, max;
	int cow;
	int flags;  /* protect, wire, madvise, inherit, sync */
	bool sweep; /* first with each allocation of the core failing in turn */
};

/* How a world begins. */
struct map_setup {
	const struct arch_machine *machine;
	vm_offset_t min, max;
	uint32_t flags; /* of the map */
	struct vm_map_limits limits;
	const char *isa; /* whose instructions search the tree; static */
};

struct world {
	struct map_setup setup;
	struct arch *arch;
	struct pmap pmap;
	vm_map_t real[WORLD_MAPS];
	struct model_map *model[WORLD_MAPS];
	vm_object_t robject[WORLD_OBJECTS];
	struct model_object *mobject[WORLD_OBJECTS];
	uint64_t nops;              /* done so far */
	uint64_t nshort[OP_NKINDS]; /* calls that failed as they were made to */
	uint64_t ncodes[OP_NKINDS][KERN_WOULD_BLOCK + 1];
};

void world_init(struct world *world, const struct map_setup *setup);
/* Take everything down; a sentence when something is left over. */
const char *world_fini(struct world *world);

/*
 * Do `op` on both sides and compare.  NULL: they agree.  Otherwise one
 * sentence.  Operations on a map or object that does not exist do nothing.
 */
const char *world_apply(struct world *world, const struct map_op *op);

const char *map_op_name(enum map_op_kind kind);
/* One line of text. */
void map_op_print(const struct map_op *op);
void map_setup_print(const struct map_setup *setup);
