/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Inside the naive model: its structures, and what its files share.
 *
 * Operations are written in the obvious order, changing as they go.  A public
 * call takes a copy of everything first, and puts it back when it fails, so
 * "a failed call changes nothing" needs no thought anywhere else.
 */

#include "tests/model/model_map.h"

/* Who pays for reserved swap.  One a map. */
struct model_account {
	unsigned refs; /* the map, and each object charged to it */
	vm_size_t reserved;
	vm_size_t limit; /* bytes; 0: none */
	int overcommit;
	struct model_account *next;
};

struct model_object {
	enum obj_type type;
	vm_size_t size; /* bytes */
	unsigned refs;
	unsigned shadows; /* objects whose backing this is */
	bool onemapping;  /* each page is mapped at most once */
	bool colored;
	vm_pindex_t color;
	struct model_account *cred; /* who is charged for the whole size */
	struct model_object *backing;
	vm_ooffset_t backing_offset;
	vm_object_t real; /* its twin, once known */
	bool dead;        /* freed within the call now running */
	struct model_object *next;
};

struct model_map {
	const struct arch_machine *machine;
	vm_offset_t min, max;
	struct model_entry *entries; /* sorted by start */
	size_t n, room;
	uint32_t flags; /* MAP_WXORX, MAP_ASLR ... */
	vm_offset_t anon_loc;
	struct vm_map_limits limits;
	struct model_account *account;
	uint64_t (*random)(void *arg, uint64_t bound);
	void *random_arg;
};

#define MODEL_NOMERGE                                                          \
	(MAP_ENTRY_GROWS_DOWN | MAP_ENTRY_IN_TRANSITION |                      \
	    MAP_ENTRY_IS_SUB_MAP | MAP_ENTRY_VN_EXEC | MAP_ENTRY_STACK_GAP)

/* Always on, whatever NDEBUG says. */
#define MODEL_CHECK(cond)                                                      \
	do {                                                                   \
		if (!(cond))                                                   \
			model_panic(__FILE__, __LINE__, #cond);                \
	} while (0)
_Noreturn void model_panic(const char *file, int line, const char *text);
void *model_alloc(size_t n, size_t size);

/* Undo: begin, then exactly one of commit and abort. */
void model_begin(struct model_map *map);
void model_commit(void);
void model_abort(void);
/* Commit when rv is KERN_SUCCESS, else abort; returns rv. */
int model_end(int rv);

/*
 * Drop a reference when the call is over, as FreeBSD does when it unlocks the
 * map: what the object was charged is not free before.
 */
void model_defer(struct model_object *object);

/* Accounts. */
struct model_account *model_account_new(void);
void model_account_drop(struct model_account *account);
bool model_reserve(struct model_account *account, vm_size_t size);
void model_reserve_force(struct model_account *account, vm_size_t size);
void model_release(struct model_account *account, vm_size_t size);

/* Objects. */
struct model_object *model_objects(void); /* all, linked by next */
struct model_object *model_object_anon(vm_size_t size,
    struct model_account *cred);
void model_object_charge(struct model_object *object,
    struct model_account *cred);
bool model_object_is_anon(const struct model_object *object);
void model_object_collapse(struct model_object *object);
void model_object_shadow(struct model_object **objectp, vm_ooffset_t *offsetp,
    vm_size_t size, struct model_account *cred, bool shared);
bool model_object_coalesce(struct model_object *object, vm_ooffset_t offset,
    vm_size_t prev_size, vm_size_t next_size, bool reserved);

/* Entries. */
vm_size_t model_page(const struct model_map *map);
vm_size_t model_entry_size(const struct model_entry *entry);
bool model_entry_is_charged(const struct model_entry *entry);
vm_size_t model_entry_boundary(const struct model_map *map,
    const struct model_entry *entry);
int model_entry_system_wired(const struct model_entry *entry);
struct model_entry *model_link(struct model_map *map,
    const struct model_entry *entry);
void model_unlink(struct model_map *map, size_t i);
void model_back(struct model_map *map, struct model_entry *entry);
int model_clip(struct model_map *map, vm_offset_t addr);
void model_merge_at(struct model_map *map, vm_offset_t addr);
void model_merge_range(struct model_map *map, vm_offset_t start,
    vm_offset_t end);
void model_clamp(const struct model_map *map, vm_offset_t *startp,
    vm_offset_t *endp);
/* First entry whose end is above addr; n when none. */
size_t model_first_above(const struct model_map *map, vm_offset_t addr);
bool model_range_valid(const struct model_map *map, vm_offset_t start,
    vm_offset_t end);

/* The inner calls, which leave undoing to their caller. */
int model_insert(struct model_map *map, struct model_object *object,
    vm_ooffset_t offset, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
    vm_prot_t max, int cow);
int model_delete(struct model_map *map, vm_offset_t start, vm_offset_t end);
int model_stack(struct model_map *map, vm_offset_t addrbos, vm_size_t max_ssize,
    vm_prot_t prot, vm_prot_t max, int cow);
int model_wire(struct model_map *map, vm_offset_t start, vm_offset_t end,
    int flags);
/* Resolve what a write (or the first touch) of the entry needs. */
int model_touch(struct model_map *map, struct model_entry *entry, bool write);
/* A private copy of a wired entry's pages, as its own object. */
void model_copy_wired(struct model_map *map, struct model_entry *entry);
