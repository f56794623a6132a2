/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hash map from 64-bit ids to pointers, for tables of requests, objects, spaces. Owns its slots,
 * never what the pointers point to. Ids should be numbers this program gave out; where a peer
 * chooses them, the map must be that peer's alone, so that collisions only slow its own requests.
 */
#ifndef MUSE_COMMON_BASE_IDMAP_H
#define MUSE_COMMON_BASE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct idmap_slot;

struct idmap {
    struct idmap_slot *slots; /* owned; NULL until the first put */
    size_t n_slots;           /* 0 or a power of two */
    size_t n_used;            /* slots with a pointer */
    size_t n_dead;            /* slots whose pointer was taken, still in a probe path */
};

/**
 * idmap_init() - make an empty map; allocates nothing (a zeroed struct is one, too)
 * @map: to initialize
 */
void idmap_init(struct idmap *map);

/**
 * idmap_done() - free the slots; the pointers in them are forgotten
 * @map: may hold entries; empty and usable afterwards
 */
void idmap_done(struct idmap *map);

/**
 * idmap_put() - add an entry
 * @map: the map
 * @id:  any number
 * @ptr: not NULL (MUST); stays the caller's
 *
 * Return: 0; -EEXIST when @id is there already; -ENOMEM. On error nothing has changed.
 */
MUST_CHECK int idmap_put(struct idmap *map, uint64_t id, void *ptr);

/**
 * idmap_get() - look an id up
 * @map: the map
 * @id:  any number
 *
 * Return: the pointer that was put; NULL when there is none.
 */
void *idmap_get(const struct idmap *map, uint64_t id);

/**
 * idmap_take() - look an id up and remove its entry
 * @map: the map
 * @id:  any number
 *
 * Return: the pointer that was put; NULL when there is none.
 */
void *idmap_take(struct idmap *map, uint64_t id);

/** idmap_count() - how many entries are in @map */
static inline size_t idmap_count(const struct idmap *map)
{
    return map->n_used;
}

/**
 * idmap_next() - walk all entries, in no particular order
 * @map:    the map; entries may be taken during the walk, none may be put
 * @cursor: 0 to begin; kept by the caller between calls
 *
 * Return: the pointer of the next entry; NULL after the last.
 */
void *idmap_next(const struct idmap *map, size_t *cursor);

#endif
