/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Is the core's map the model's map?
 *
 * Objects are compared as a bijection: each model object is tied to at most
 * one real one and the other way round, for as long as it lives.
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/model/model_int.h"

static char text[512];

__attribute__((format(printf, 1, 2))) static const char *
differ(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return text;
}

/* Tie the two, or say why they cannot be twins. */
static const char *
tie(struct model_object *object, vm_object_t real)
{
	struct model_object *other;

	if (object->real == real)
		return NULL;
	if (object->real != NULL)
		return differ("another object than before (size %#" PRIx64
			      ", refs %u)",
		    object->size, object->refs);
	for (other = model_objects(); other != NULL; other = other->next)
		if (other != object && !other->dead && other->real == real)
			return differ("an object that belongs elsewhere "
				      "(model size %#" PRIx64 ", refs %u)",
			    object->size, object->refs);
	object->real = real;
	return NULL;
}

const char *
model_object_compare(struct model_object *object, vm_object_t real)
{
	const char *why;

	for (int depth = 0; object != NULL && real != NULL; depth++) {
		why = tie(object, real);
		if (why != NULL)
			return why;
		if (vm_object_type(real) != object->type)
			return differ("depth %d: type %d, model %d", depth,
			    (int)vm_object_type(real), (int)object->type);
		if (vm_object_size(real) != object->size)
			return differ("depth %d: size %#" PRIx64
				      ", model %#" PRIx64,
			    depth, vm_object_size(real), object->size);
		if (vm_object_refs(real) != object->refs)
			return differ("depth %d: refs %u, model %u", depth,
			    vm_object_refs(real), object->refs);
		object = object->backing;
		real = vm_object_backing(real);
	}
	if (object != NULL)
		return differ("no object, the model has one (size %#" PRIx64
			      ", refs %u)",
		    object->size, object->refs);
	if (real != NULL)
		return differ("an object (size %#" PRIx64
			      ", refs %u), the model has none",
		    vm_object_size(real), vm_object_refs(real));
	return NULL;
}

#define COMPARE(name, core, model)                                             \
	do {                                                                   \
		uint64_t core_ = (uint64_t)(core);                             \
		uint64_t model_ = (uint64_t)(model);                           \
		if (core_ != model_)                                           \
			return differ("entry %zu [%#" PRIx64 ", %#" PRIx64     \
				      "): " name " %#" PRIx64                  \
				      ", model %#" PRIx64,                     \
			    i, e->start, e->end, core_, model_);               \
	} while (0)

static const char *
compare_entry(const struct model_entry *e, size_t i,
    const struct vm_map_entry_info *info)
{
	char copy[sizeof(text) / 2];
	const char *why;

	COMPARE("start", info->start, e->start);
	COMPARE("end", info->end, e->end);
	COMPARE("eflags", info->eflags, e->eflags);
	COMPARE("protection", info->protection, e->prot);
	COMPARE("max_protection", info->max_protection, e->max);
	COMPARE("inheritance", info->inheritance, e->inherit);
	COMPARE("wired_count", info->wired_count, e->wired);
	COMPARE("charge", info->charge, e->charged ? model_entry_size(e) : 0);
	why = model_object_compare(e->object, info->object);
	if (why != NULL) {
		(void)snprintf(copy, sizeof(copy), "%s", why);
		return differ("entry %zu [%#" PRIx64 ", %#" PRIx64 "): %s", i,
		    e->start, e->end, copy);
	}
	if (e->object != NULL)
		COMPARE("offset", info->offset, e->offset);
	return NULL;
}

const char *
model_map_compare(struct model_map *map, vm_map_t real)
{
	struct vm_map_entry_info info;
	vm_map_entry_t entry;
	const char *why;
	size_t i = 0;

	if (vm_map_min(real) != map->min || vm_map_max(real) != map->max)
		return differ("bounds [%#" PRIx64 ", %#" PRIx64 ")",
		    vm_map_min(real), vm_map_max(real));
	for (entry = vm_map_entry_first(real); entry != NULL;
	     entry = vm_map_entry_succ(real, entry), i++) {
		vm_map_entry_info(entry, &info);
		if (i == map->n)
			return differ("entry %zu [%#" PRIx64 ", %#" PRIx64
				      ") is one more than in the model",
			    i, info.start, info.end);
		why = compare_entry(&map->entries[i], i, &info);
		if (why != NULL)
			return why;
	}
	if (i != map->n)
		return differ("%zu entries, model %zu", i, map->n);
	if (vm_map_nentries(real) != map->n)
		return differ("nentries %" PRIu64 ", model %zu",
		    vm_map_nentries(real), map->n);
	if (vm_map_size(real) != model_map_size(map))
		return differ("size %#" PRIx64 ", model %#" PRIx64,
		    vm_map_size(real), model_map_size(map));
	return NULL;
}

void
model_map_dump(const struct model_map *map)
{
	fprintf(stderr, "[%#" PRIx64 ", %#" PRIx64 ") flags %#x\n", map->min,
	    map->max, map->flags);
	for (size_t i = 0; i < map->n; i++) {
		const struct model_entry *e = &map->entries[i];

		fprintf(stderr,
		    "  [%#" PRIx64 ", %#" PRIx64 ") %x/%x inherit %d wired %d "
		    "flags %#x%s",
		    e->start, e->end, e->prot, e->max, e->inherit, e->wired,
		    e->eflags, e->charged ? " charged" : "");
		if (e->object != NULL)
			fprintf(stderr,
			    " object %p+%#" PRIx64 " (size %#" PRIx64
			    ", refs %u, shadows %u%s%s, backing %p)",
			    (void *)e->object, e->offset, e->object->size,
			    e->object->refs, e->object->shadows,
			    e->object->onemapping ? ", onemapping" : "",
			    e->object->cred != NULL ? ", charged" : "",
			    (void *)e->object->backing);
		fputc('\n', stderr);
	}
}
