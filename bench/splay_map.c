/* SPDX-License-Identifier: BSD-2-Clause */

#include <stdlib.h>
#include <string.h>

#include "bench/splay_map.h"

struct splay_entry {
	struct splay_entry *left, *right; /* children */
	struct splay_entry *prev, *next;  /* in order of address */
	vm_offset_t start, end;
	vm_size_t gap;     /* behind this entry */
	vm_size_t max_gap; /* the largest of this subtree */
	int prot;
	char rest[120 - 68]; /* the other attributes */
};

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
link_behind(struct splay_map *map, struct splay_entry *prev, vm_offset_t start,
    vm_offset_t end, int prot)
{
	struct splay_entry *entry = uma_zalloc(&map->zone);
	vm_offset_t gap_end = prev->end + prev->gap;

	if (entry == NULL)
		abort();
	memset(entry, 0, sizeof(*entry));
	entry->start = start;
	entry->end = end;
	entry->prot = prot;
	entry->prev = prev;
	entry->next = prev->next;
	if (prev->next != NULL)
		prev->next->prev = entry;
	prev->next = entry;
	entry->gap = gap_end - end;
	prev->gap = start - prev->end;

	/* prev is the root, or was brought there. */
	entry->left = prev;
	entry->right = prev->right;
	prev->right = NULL;
	update(prev);
	update(entry);
	map->root = entry;
	map->nentries++;
	return entry;
}

void
splay_map_insert(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    int prot)
{
	struct splay_entry *prev = seek(map, start);

	if (map->root != prev)
		(void)to_root(map, prev);
	(void)link_behind(map, prev, start, end, prot);
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

/* Cut the entry at the root at `addr`; the upper part is the root then. */
static void
cut(struct splay_map *map, struct splay_entry *entry, vm_offset_t addr)
{
	vm_offset_t end = entry->end;

	(void)to_root(map, entry);
	entry->end = addr;
	entry->gap += end - addr;
	(void)link_behind(map, entry, addr, end, entry->prot);
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
merge(struct splay_map *map, struct splay_entry *entry)
{
	struct splay_entry *prev = entry->prev;
	vm_offset_t end = entry->end;

	if (prev == map->head || prev->end != entry->start ||
	    prev->prot != entry->prot)
		return;
	unlink_entry(map, entry);
	prev->gap -= end - prev->end;
	prev->end = end;
	update(to_root(map, prev));
}

void
splay_map_protect(struct splay_map *map, vm_offset_t start, vm_offset_t end,
    int prot)
{
	struct splay_entry *entry = seek(map, start), *first, *next;

	if (entry->end <= start) {
		entry = entry->next;
	} else if (entry->start < start) {
		cut(map, entry, start);
		entry = map->root;
	}
	first = entry;
	for (; entry != NULL && entry->start < end; entry = entry->next) {
		if (entry->end > end)
			cut(map, entry, end);
		entry->prot = prot;
	}
	for (entry = first; entry != NULL && entry->start <= end;
	     entry = next) {
		next = entry->next;
		merge(map, entry);
	}
}
