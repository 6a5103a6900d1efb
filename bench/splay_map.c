/* SPDX-License-Identifier: BSD-2-Clause */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bench/splay_map.h"

struct splay_entry {
	struct splay_entry *left, *right; /* children */
	struct splay_entry *prev, *next;  /* in order of address */
	vm_offset_t start, end;
	vm_size_t gap;     /* behind this entry */
	vm_size_t max_gap; /* the largest of this subtree */
	unsigned *object;  /* its references; NULL: none yet */
	vm_ooffset_t offset;
	uint32_t eflags; /* MAP_ENTRY_* */
	vm_prot_t prot, max_prot;
	vm_inherit_t inheritance;
	uint8_t read_ahead;
	int wired_count;
	void *cred, *wiring_thread;
	vm_offset_t next_read;
};

static_assert(sizeof(struct splay_entry) == 120, "what FreeBSD's take");

static vm_size_t
max_gap(const struct splay_entry *entry)
{
	return entry != NULL ? entry->max_gap : 0;
}

static void
update(struct splay_entry *entry)
{
	vm_size_t below = MAX(max_gap(entry->left), max_gap(entry->right));

	entry->max_gap = MAX(entry->gap, below);
}

/*
 * Bring the entry that holds `addr`, or a neighbour of it, to the root.  Nodes
 * passed on the way down hang in two lists by the pointer that led past them;
 * they are put back from the bottom, so every maximum is computed once.
 */
static struct splay_entry *
splay(struct splay_entry *root, vm_offset_t addr)
{
	struct splay_entry *lower = NULL, *upper = NULL, *child, *tree, *next;

	for (;;) {
		if (addr < root->start) {
			child = root->left;
			if (child == NULL)
				break;
			if (addr < child->start && child->left != NULL) {
				root->left = child->right;
				child->right = root;
				update(root);
				root = child->left;
				child->left = upper;
				upper = child;
			} else {
				root->left = upper;
				upper = root;
				root = child;
			}
		} else if (addr >= root->end) {
			child = root->right;
			if (child == NULL)
				break;
			if (addr >= child->end && child->right != NULL) {
				root->right = child->left;
				child->left = root;
				update(root);
				root = child->right;
				child->right = lower;
				lower = child;
			} else {
				root->right = lower;
				lower = root;
				root = child;
			}
		} else {
			break;
		}
	}
	for (tree = root->left; lower != NULL; lower = next) {
		next = lower->right;
		lower->right = tree;
		update(lower);
		tree = lower;
	}
	root->left = tree;
	for (tree = root->right; upper != NULL; upper = next) {
		next = upper->left;
		upper->left = tree;
		update(upper);
		tree = upper;
	}
	root->right = tree;
	update(root);
	return root;
}

/* Splay to the last entry that starts at or below `addr`. */
static struct splay_entry *
seek(struct splay_map *map, vm_offset_t addr)
{
	struct splay_entry *entry = splay(map->root, addr);

	map->root = entry;
	return addr < entry->start ? entry->prev : entry;
}

static struct splay_entry *
to_root(struct splay_map *map, struct splay_entry *entry)
{
	/* The head has no length: its address leads beside it, not to it. */
	map->root = splay(map->root, entry->start);
	if (map->root != entry && entry == map->head) {
		struct splay_entry *root = map->root, *left = root->left;

		while (left != NULL && left != entry) {
			root->left = left->right;
			left->right = root;
			update(root);
			root = left;
			left = root->left;
		}
		if (left == entry) {
			root->left = entry->right;
			entry->right = root;
			update(root);
			update(entry);
			map->root = entry;
		}
	}
	return map->root;
}

void
splay_map_init(struct splay_map *map, const struct arch *arch, vm_offset_t min,
    vm_offset_t max)
{
	memset(map, 0, sizeof(*map));
	map->min = min;
	map->max = max;
	vm_rwlock_init(&map->lock, VM_RANK_MAP);
	uma_zone_init(&map->zone, arch, sizeof(struct splay_entry));
	map->head = uma_zalloc(&map->zone);
	if (map->head == NULL)
		abort();
	*map->head = (struct splay_entry){
	    /* One byte below the map, so that an address can lead to it. */
	    .start = min - 1,
	    .end = min,
	    .gap = max - min,
	    .max_gap = max - min,
	};
	map->root = map->head;
}

void
splay_map_fini(struct splay_map *map)
{
	vm_rwlock_fini(&map->lock);
	uma_zone_fini(&map->zone);
}

/* The lowest fit at or above `start` by size alone. */
static vm_offset_t
first_fit(struct splay_map *map, vm_offset_t start, vm_size_t length)
{
	struct splay_entry *entry = seek(map, start);
	vm_offset_t from = MAX(start, entry->end);

	if (from <= entry->end + entry->gap &&
	    entry->end + entry->gap - from >= length)
		return from;
	/* The lowest gap to the right of it is in the root's right subtree. */
	entry = to_root(map, entry)->right;
	if (max_gap(entry) < length)
		return 0;
	for (;;)
		if (max_gap(entry->left) >= length)
			entry = entry->left;
		else if (entry->gap >= length)
			break;
		else
			entry = entry->right;
	return to_root(map, entry)->end;
}

vm_offset_t
splay_map_findspace(struct splay_map *map, vm_offset_t start, vm_size_t length,
    vm_size_t align)
{
	vm_offset_t addr = first_fit(map, start, length), up;

	while (addr != 0) {
		up = roundup2(addr, align);
		if (up == addr)
			return addr;
		addr = first_fit(map, up, length);
		if (addr == up)
			return addr;
	}
	return 0;
}

static struct splay_entry *
entry_alloc(struct splay_map *map)
{
	struct splay_entry *entry = uma_zalloc(&map->zone);

	if (entry == NULL)
		abort();
	return entry;
}

/* Link an entry, whose bounds are set, behind the root. */
static void
link_behind(struct splay_map *map, struct splay_entry *prev,
    struct splay_entry *entry)
{
	vm_offset_t gap_end = prev->end + prev->gap;

	entry->prev = prev;
	entry->next = prev->next;
	if (prev->next != NULL)
		prev->next->prev = entry;
	prev->next = entry;
	entry->gap = gap_end - entry->end;
	prev->gap = entry->start - prev->end;

	/* prev is the root, or was brought there. */
	entry->left = prev;
	entry->right = prev->right;
	prev->right = NULL;
	update(prev);
	update(entry);
	map->root = entry;
	map->nentries++;
}

#define NOMERGE                                                                \
	(MAP_ENTRY_GROWS_DOWN | MAP_ENTRY_IN_TRANSITION |                      \
	    MAP_ENTRY_IS_SUB_MAP | MAP_ENTRY_VN_EXEC)

static bool
mergeable(const struct splay_entry *prev, const struct splay_entry *entry)
{
	return (entry->eflags & NOMERGE) == 0 && prev->end == entry->start &&
	       prev->object == entry->object &&
	       (prev->object == NULL ||
		   prev->offset + (prev->end - prev->start) == entry->offset) &&
	       prev->eflags == entry->eflags && prev->prot == entry->prot &&
	       prev->max_prot == entry->max_prot &&
	       prev->inheritance == entry->inheritance &&
	       prev->wired_count == entry->wired_count &&
	       prev->cred == entry->cred;
}

static void try_merge(struct splay_map *map, struct splay_entry *entry);

void
splay_map_insert(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, uint32_t eflags)
{
	struct splay_entry *prev = seek(map, start), *entry;

	if (map->root != prev)
		(void)to_root(map, prev);
	entry = entry_alloc(map);
	*entry = (struct splay_entry){
	    .start = start,
	    .end = end,
	    .eflags = eflags,
	    .prot = prot,
	    .max_prot = VM_PROT_ALL,
	    .inheritance = VM_INHERIT_DEFAULT,
	    .next_read = start,
	};
	link_behind(map, prev, entry);
	map->size += end - start;
	try_merge(map, entry);
	if (entry->next != NULL)
		try_merge(map, entry->next);
}

/* Take out an entry; what was in front of it is the root afterwards. */
static void
unlink_entry(struct splay_map *map, struct splay_entry *entry)
{
	struct splay_entry *prev = entry->prev, *root;

	(void)to_root(map, entry);
	root = splay(entry->left, prev->start); /* has no right child then */
	root->right = entry->right;
	prev->gap += entry->end - entry->start + entry->gap;
	prev->next = entry->next;
	if (entry->next != NULL)
		entry->next->prev = prev;
	update(root);
	map->root = root;
	map->nentries--;
	uma_zfree(&map->zone, entry);
}

static void
object_reference(unsigned *object)
{
	if (object != NULL)
		__atomic_fetch_add(object, 1, __ATOMIC_RELAXED);
}

static void
object_drop(unsigned *object)
{
	if (object != NULL &&
	    __atomic_sub_fetch(object, 1, __ATOMIC_ACQ_REL) == 0)
		free(object);
}

/* An object for an entry that is cut; FreeBSD does that too. */
static void
entry_back(struct splay_entry *entry)
{
	entry->object = malloc(sizeof(*entry->object));
	if (entry->object == NULL)
		abort();
	*entry->object = 1;
	entry->offset = 0;
}

/* Cut the entry at `addr`; the upper part, which is new, is the root then. */
static void
cut(struct splay_map *map, struct splay_entry *entry, vm_offset_t addr)
{
	struct splay_entry *upper = entry_alloc(map);

	(void)to_root(map, entry);
	if (entry->object == NULL)
		entry_back(entry);
	*upper = *entry;
	upper->start = addr;
	upper->offset += addr - entry->start;
	object_reference(upper->object);
	entry->gap += entry->end - addr;
	entry->end = addr;
	link_behind(map, entry, upper);
}

void
splay_map_remove(struct splay_map *map, vm_offset_t start, vm_offset_t end)
{
	struct splay_entry *entry = seek(map, start), *next;

	if (entry->end <= start) {
		entry = entry->next;
	} else if (entry->start < start) {
		cut(map, entry, start);
		entry = map->root;
	}
	for (; entry != NULL && entry->start < end; entry = next) {
		if (entry->end > end)
			cut(map, entry, end);
		next = entry->next;
		map->size -= entry->end - entry->start;
		object_drop(entry->object);
		unlink_entry(map, entry);
	}
}

bool
splay_map_lookup(struct splay_map *map, vm_offset_t addr)
{
	struct splay_entry *entry = seek(map, addr);

	return addr < entry->end;
}

/* Merge an entry with the one in front of it, if they touch and agree. */
static void
try_merge(struct splay_map *map, struct splay_entry *entry)
{
	struct splay_entry *prev = entry->prev;
	vm_offset_t end = entry->end;

	if (prev == map->head || !mergeable(prev, entry))
		return;
	object_drop(entry->object);
	unlink_entry(map, entry);
	prev->gap -= end - prev->end;
	prev->end = end;
	update(to_root(map, prev));
}

static bool
protect_locked(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	struct splay_entry *entry = seek(map, start), *first, *next;

	if (entry->end <= start) {
		entry = entry->next;
	} else if (entry->start < start) {
		cut(map, entry, start);
		entry = map->root;
	}
	first = entry;
	for (; entry != NULL && entry->start < end; entry = entry->next)
		if ((prot & ~entry->max_prot) != 0 ||
		    (entry->eflags & MAP_ENTRY_IS_SUB_MAP) != 0)
			return false;
	for (entry = first; entry != NULL && entry->start < end;
	     entry = entry->next)
		if (entry->end > end)
			cut(map, entry, end);
	for (entry = first; entry != NULL && entry->start <= end;
	     entry = next) {
		if (entry->start < end)
			entry->prot = prot;
		next = entry->next;
		try_merge(map, entry);
	}
	return true;
}

bool
splay_map_protect(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot)
{
	bool ok;

	vm_rwlock_wlock(&map->lock);
	map->timestamp++;
	ok = protect_locked(map, start, end, prot);
	vm_rwlock_wunlock(&map->lock);
	return ok;
}
