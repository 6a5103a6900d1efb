/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The types every layer shares.  A leaf header: it includes nothing of ours.
 *
 * Addresses are numbers.  Nothing below clients/ turns a vm_offset_t or a
 * vm_paddr_t into a pointer it follows.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t vm_offset_t;  /* virtual address, bytes */
typedef uint64_t vm_size_t;    /* length, bytes */
typedef uint64_t vm_paddr_t;   /* physical address, bytes */
typedef uint64_t vm_ooffset_t; /* offset into an object, bytes */
typedef uint64_t vm_pindex_t;  /* page index into an object */
typedef uint8_t vm_prot_t;     /* VM_PROT_* */
typedef int8_t vm_inherit_t;   /* VM_INHERIT_* */

struct pmap;
struct vm_map;
struct vm_map_entry;
struct vm_object;
struct vm_phys;
struct malloc_type;

typedef struct pmap *pmap_t;
typedef struct vm_map *vm_map_t;
typedef struct vm_map_entry *vm_map_entry_t;
typedef struct vm_object *vm_object_t;

#define powerof2(x)      ((((x)-1) & (x)) == 0)
#define rounddown2(x, y) ((x) & ~((y)-1))
#define roundup2(x, y)   (((x) + ((y)-1)) & ~((y)-1))
#ifndef MIN
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#endif
#ifndef MAX
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif
#define nitems(a) (sizeof(a) / sizeof((a)[0]))
