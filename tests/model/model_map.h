/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The slow, obvious vm_map: an oracle for tests and fuzzers.
 *
 * Written from the specification alone: a sorted array searched from its
 * beginning, first fit by trying every candidate.  Each call mirrors the one
 * of core/vm_map.h that has its name (arguments, order of checks, codes,
 * out-parameters, references); struct model_object stands for vm_object_t.
 * Nothing here calls the core except model_map_compare().
 *
 * Driving it: make every object twice (vm_object_allocate and
 * model_object_allocate) and tie the two with model_object_bind(); do every
 * operation on both, compare the codes, then call model_map_compare().
 * Objects that the map makes for itself are tied at the first comparison.
 * A model allocates with malloc and aborts when there is no memory.
 * Design: docs/design/testing.md.
 */

#include "core/vm_map.h"
#include "core/vm_object.h"

struct model_object;
struct model_map;

/* One entry; the array of a map is sorted by start. */
struct model_entry {
	vm_offset_t start, end;
	struct model_object *object; /* NULL: none yet */
	vm_ooffset_t offset;         /* bytes; kept only with an object */
	uint32_t eflags;             /* MAP_ENTRY_* */
	vm_prot_t prot, max;
	vm_inherit_t inherit;
	int wired;
	bool charged;                /* the entry's own swap reservation */
	vm_prot_t gap_prot, gap_max; /* stack gap: rights of later growth */
	vm_size_t gap_guard;         /* stack gap: bytes that stay guard */
};

/* Objects: one reference for the creator, one for each entry. */
struct model_object *model_object_allocate(enum obj_type type, vm_size_t size);
void model_object_reference(struct model_object *object);
void model_object_deallocate(struct model_object *object);
void model_object_color(struct model_object *object, vm_pindex_t color);
void model_object_bind(struct model_object *object, vm_object_t real);
vm_object_t model_object_real(const struct model_object *object);
unsigned model_object_refs(const struct model_object *object);
vm_size_t model_object_size(const struct model_object *object);

/* The machine table is borrowed for the life of the map. */
struct model_map *model_map_create(const struct arch_machine *machine,
    vm_offset_t min, vm_offset_t max);
void model_map_destroy(struct model_map *map);
void model_map_modflags(struct model_map *map, uint32_t set, uint32_t clear);
void model_map_set_limits(struct model_map *map,
    const struct vm_map_limits *limits);

/* Where anonymous mappings cluster (S9); 0: nowhere yet. */
void model_map_set_anon_loc(struct model_map *map, vm_offset_t addr);
vm_offset_t model_map_anon_loc(const struct model_map *map);

/*
 * The generator of ASLR: a number in [0, bound).  Without one the model never
 * randomises, whatever its flags.
 */
void model_map_set_random(struct model_map *map,
    uint64_t (*next)(void *arg, uint64_t bound), void *arg);

/* State. */
vm_size_t model_map_size(const struct model_map *map);
size_t model_map_nentries(const struct model_map *map);
const struct model_entry *model_map_entry(const struct model_map *map,
    size_t i);
vm_size_t model_map_reserved(const struct model_map *map);   /* swap, bytes */
vm_size_t model_map_user_wired(const struct model_map *map); /* bytes */

/* true: *ip is the entry that holds `addr`; false: how many lie below it. */
bool model_map_lookup_entry(const struct model_map *map, vm_offset_t addr,
    size_t *ip);

/* As the calls of core/vm_map.h. */
int model_map_insert(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
    vm_prot_t max, int cow);
int model_map_findspace(const struct model_map *map, vm_offset_t start,
    vm_size_t length, vm_offset_t *addrp);
int model_map_find(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t max_addr, int find_space, vm_prot_t prot, vm_prot_t max,
    int cow);
int model_map_find_min(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t *addrp, vm_size_t length,
    vm_offset_t default_addr, vm_offset_t max_addr, int find_space,
    vm_prot_t prot, vm_prot_t max, int cow);
int model_map_find_aligned(struct model_map *map, vm_offset_t *addrp,
    vm_size_t length, vm_offset_t max_addr, vm_offset_t alignment);
int model_map_fixed(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t start, vm_size_t length, vm_prot_t prot,
    vm_prot_t max, int cow);
int model_map_delete(struct model_map *map, vm_offset_t start, vm_offset_t end);
int model_map_remove(struct model_map *map, vm_offset_t start, vm_offset_t end);
int model_map_protect(struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t new_prot, vm_prot_t new_maxprot, int flags);
int model_map_inherit(struct model_map *map, vm_offset_t start, vm_offset_t end,
    vm_inherit_t new_inheritance);
int model_map_madvise(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int advice);
int model_map_wire(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int flags);
int model_map_unwire(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int flags);
int model_map_sync(struct model_map *map, vm_offset_t start, vm_offset_t end,
    bool syncio, bool invalidate);
bool model_map_check_protection(const struct model_map *map, vm_offset_t start,
    vm_offset_t end, vm_prot_t prot);
int model_map_stack(struct model_map *map, vm_offset_t addrbos,
    vm_size_t max_ssize, vm_prot_t prot, vm_prot_t max, int cow);
int model_map_growstack(struct model_map *map, vm_offset_t addr);

/* What a fault meets; there is no lock to drop. */
int model_map_lookup(struct model_map *map, vm_offset_t addr,
    vm_prot_t fault_type, size_t *ip, struct model_object **objectp,
    vm_pindex_t *pindexp, vm_prot_t *protp, bool *wiredp);

/* Without changing anything; KERN_FAILURE where it would have to. */
int model_map_lookup_locked(struct model_map *map, vm_offset_t addr,
    vm_prot_t fault_type, size_t *ip, struct model_object **objectp,
    vm_pindex_t *pindexp, vm_prot_t *protp, bool *wiredp);

bool model_map_check_boundary(const struct model_map *map, vm_offset_t start,
    vm_offset_t end);

/* vmspace_fork(): a new map, same bounds. */
int model_map_fork(struct model_map *map, struct model_map **childp);

/*
 * Compare everything that can be seen: bounds, size, every entry, and every
 * object by identity, size, references and what it shadows.  NULL: equal.
 * Otherwise one sentence naming the first difference; static, overwritten by
 * the next call.  Ties objects of both sides that have not been tied yet.
 */
const char *model_map_compare(struct model_map *map, vm_map_t real);

/* The same for one object, alone. */
const char *model_object_compare(struct model_object *object, vm_object_t real);

/* Print the entries, one a line, to stderr. */
void model_map_dump(const struct model_map *map);

/*
 * Forget every object and account ever made: call between independent runs
 * when a failed comparison may have left some behind.
 */
void model_reset(void);
