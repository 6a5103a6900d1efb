/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Codes and flag words, with FreeBSD's names and values.  A leaf header.
 *
 * Values are part of the contract: clients compare them with FreeBSD's.
 */

/* Return codes of vm_map(9). */
#define KERN_SUCCESS            0
#define KERN_INVALID_ADDRESS    1
#define KERN_PROTECTION_FAILURE 2
#define KERN_NO_SPACE           3
#define KERN_INVALID_ARGUMENT   4
#define KERN_FAILURE            5
#define KERN_RESOURCE_SHORTAGE  6
#define KERN_NOT_RECEIVER       7
#define KERN_NO_ACCESS          8
#define KERN_OUT_OF_BOUNDS      9
#define KERN_RESTART            10

/* Ours: the call would have to sleep (see docs/freebsd-names.md). */
#define KERN_WOULD_BLOCK 11

/* Protection. */
#define VM_PROT_NONE         0x00
#define VM_PROT_READ         0x01
#define VM_PROT_WRITE        0x02
#define VM_PROT_EXECUTE      0x04
#define VM_PROT_COPY         0x08 /* lookup, fault: a private writable copy */
#define VM_PROT_FAULT_LOOKUP 0x10
#define VM_PROT_RW           (VM_PROT_READ | VM_PROT_WRITE)
#define VM_PROT_ALL          (VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE)

/* Inheritance. */
#define VM_INHERIT_SHARE   0
#define VM_INHERIT_COPY    1
#define VM_INHERIT_NONE    2
#define VM_INHERIT_ZERO    3
#define VM_INHERIT_DEFAULT VM_INHERIT_COPY

/* The `cow` word of insert, find, fixed and stack. */
#define MAP_INHERIT_SHARE        0x00000001
#define MAP_COPY_ON_WRITE        0x00000002
#define MAP_NOFAULT              0x00000004
#define MAP_PREFAULT             0x00000008
#define MAP_PREFAULT_PARTIAL     0x00000010
#define MAP_DISABLE_SYNCER       0x00000020
#define MAP_CHECK_EXCL           0x00000040
#define MAP_CREATE_GUARD         0x00000080
#define MAP_DISABLE_COREDUMP     0x00000100
#define MAP_PREFAULT_MADVISE     0x00000200
#define MAP_WRITECOUNT           0x00000400
#define MAP_REMAP                0x00000800
#define MAP_STACK_AREA           0x00001000
#define MAP_ACC_CHARGED          0x00004000
#define MAP_ACC_NO_CHARGE        0x00008000
#define MAP_CREATE_STACK_GAP     0x00020000
#define MAP_VN_EXEC              0x00040000
#define MAP_SPLIT_BOUNDARY_MASK  0x00180000
#define MAP_SPLIT_BOUNDARY_SHIFT 19
#define MAP_NO_HINT              0x00200000
#define MAP_STACK_GROWS_DOWN     MAP_STACK_AREA
#define MAP_CREATE_STACK_GAP_DN  MAP_CREATE_STACK_GAP
#define MAP_VN_WRITECOUNT        MAP_WRITECOUNT

/* Entry flags. */
#define MAP_ENTRY_NOSYNC               0x00000001
#define MAP_ENTRY_IS_SUB_MAP           0x00000002
#define MAP_ENTRY_COW                  0x00000004
#define MAP_ENTRY_NEEDS_COPY           0x00000008
#define MAP_ENTRY_NOFAULT              0x00000010
#define MAP_ENTRY_USER_WIRED           0x00000020
#define MAP_ENTRY_BEHAV_NORMAL         0x00000000
#define MAP_ENTRY_BEHAV_SEQUENTIAL     0x00000040
#define MAP_ENTRY_BEHAV_RANDOM         0x00000080
#define MAP_ENTRY_BEHAV_MASK           0x000000c0
#define MAP_ENTRY_IN_TRANSITION        0x00000100
#define MAP_ENTRY_NEEDS_WAKEUP         0x00000200
#define MAP_ENTRY_NOCOREDUMP           0x00000400
#define MAP_ENTRY_VN_EXEC              0x00000800
#define MAP_ENTRY_GROWS_DOWN           0x00001000
#define MAP_ENTRY_WIRE_SKIPPED         0x00004000
#define MAP_ENTRY_WRITECNT             0x00008000
#define MAP_ENTRY_GUARD                0x00010000
#define MAP_ENTRY_STACK_GAP            0x00020000
#define MAP_ENTRY_HEADER               0x00080000
#define MAP_ENTRY_SPLIT_BOUNDARY_MASK  0x00300000
#define MAP_ENTRY_SPLIT_BOUNDARY_SHIFT 20

/* Map flags. */
#define MAP_WIREFUTURE    0x00000001
#define MAP_BUSY_WAKEUP   0x00000002
#define MAP_IS_SUB_MAP    0x00000004
#define MAP_ASLR          0x00000008
#define MAP_ASLR_IGNSTART 0x00000010
#define MAP_REPLENISH     0x00000020
#define MAP_WXORX         0x00000040
#define MAP_ASLR_STACK    0x00000080
#define MAP_NEEDS_WAKEUP  0x40000000
#define MAP_SYSTEM_MAP    0x80000000

/* Where vm_map_find() looks. */
#define VMFS_NO_SPACE         0
#define VMFS_ANY_SPACE        1
#define VMFS_OPTIMAL_SPACE    2
#define VMFS_SUPER_SPACE      3
#define VMFS_ALIGNED_SPACE(x) ((x) << 8)

/* vm_map_wire(), vm_map_unwire(). */
#define VM_MAP_WIRE_SYSTEM  0
#define VM_MAP_WIRE_USER    1
#define VM_MAP_WIRE_NOHOLES 0
#define VM_MAP_WIRE_HOLESOK 2
#define VM_MAP_WIRE_WRITE   4

/* vm_map_protect(). */
#define VM_MAP_PROTECT_SET_PROT    1
#define VM_MAP_PROTECT_SET_MAXPROT 2
#define VM_MAP_PROTECT_GROWSDOWN   4

/* vm_map_madvise(): FreeBSD's MADV_*, renamed because Linux has other values.
 */
#define VM_MADV_NORMAL     0
#define VM_MADV_RANDOM     1
#define VM_MADV_SEQUENTIAL 2
#define VM_MADV_WILLNEED   3
#define VM_MADV_DONTNEED   4
#define VM_MADV_FREE       5
#define VM_MADV_NOSYNC     6
#define VM_MADV_AUTOSYNC   7
#define VM_MADV_NOCORE     8
#define VM_MADV_CORE       9

/* malloc(9) flags that contigmalloc(9) knows. */
#define M_NOWAIT      0x0001
#define M_WAITOK      0x0002
#define M_NORECLAIM   0x0080
#define M_ZERO        0x0100
#define M_NODUMP      0x0800
#define M_USE_RESERVE 0x0400

/* Limits of this implementation. */
#define VM_MAXPAGESIZES   4 /* base page and up to three superpage sizes */
#define VM_PHYS_DOMAINS   8 /* NUMA domains */
#define VM_MAP_STACK_GROW (128u << 10)
